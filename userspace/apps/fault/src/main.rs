//! `fault KIND`: commits a fault of that kind. Without one it lists the kinds.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use rt::println;

rt::entry!(run);

/// Exit code where no kind was given, or one that does not exist.
const USAGE: i32 = 2;
/// Exit code where the fault passed without consequences.
const SURVIVED: i32 = 3;

fn run() {
    let name = rt::arg().trim();
    let Some(kind) = fault::kind(name) else {
        if !name.is_empty() {
            println!("fault: no such kind: {name}");
        }
        println!("kinds of fault:");
        for kind in fault::KINDS {
            println!("  {:<15} {}", kind.name, kind.what);
        }
        rt::exit(USAGE);
    };
    (kind.commit)();
    println!("fault: {name} passed without an exception");
    rt::exit(SURVIVED);
}
