//! `fault KIND`: causes a fault of that kind. Without an argument it lists the kinds.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use rt::println;

rt::entry!(run);

/// Exit code if no kind was given, or an unknown one.
const USAGE: i32 = 2;
/// Exit code if the fault did not end the task.
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
