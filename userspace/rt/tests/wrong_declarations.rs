//! What the compiler says of declarations that are wrong: each names what is wrong and how it is meant.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A protocol with these operations, and nothing else wrong with it.
fn operations(operations: &str) -> String {
    protocol(&format!("pub protocol lamp; refusals {{ Broken(hours: u32) = 1 \"broken, {{hours}}\" }} {operations}"))
}

fn protocol(declaration: &str) -> String {
    format!("use rt::notify::Notification; rt::protocol! {{ {declaration} }}")
}

/// The compiler for the same toolchain, and the runtime that this test was built with.
struct Compiler {
    deps: PathBuf,
    /// Where the procedural macros are: with `--target`, cargo keeps what runs while it builds apart.
    macros: PathBuf,
    rt: PathBuf,
    dir: PathBuf,
}

impl Compiler {
    fn new() -> Compiler {
        let exe = std::env::current_exe().expect("this test has a path");
        let deps = exe.parent().expect("and lies in a directory").to_owned();
        let built = |path: &Path| path.metadata().and_then(|meta| meta.modified()).expect("it was built");
        let files = deps.read_dir().expect("a directory").map(|entry| entry.expect("an entry").path());
        let rts = files.filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("librt-") && name.ends_with(".rlib")
        });
        // Another may be built at this moment, with other features: this test's was there before it.
        let rts = rts.filter(|path| built(path) <= built(&exe));
        let rt = rts.max_by_key(|path| built(path)).expect("the runtime was built");
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("wrong-declarations-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory to write to");
        let profile = deps.parent().and_then(Path::file_name).expect("target/[TRIPLE/]PROFILE/deps");
        let above = dir.ancestors().filter(|above| above.join("CACHEDIR.TAG").exists()).last();
        let above = above.expect("it is below target/");
        let macros = above.join(profile).join("deps");
        Compiler { deps, macros, rt, dir }
    }

    /// What the compiler says of this source: nothing where it has nothing to say.
    fn says(&self, number: usize, source: &str) -> String {
        let file = self.dir.join(format!("case{number}.rs"));
        std::fs::write(&file, format!("#![allow(unused)]\n{source}\n")).expect("a file");
        let output = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
            .args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "--color", "never", "--out-dir"])
            .arg(&self.dir)
            .arg("-L")
            .arg(format!("dependency={}", self.deps.display()))
            .arg("-L")
            .arg(format!("dependency={}", self.macros.display()))
            .arg("--extern")
            .arg(format!("rt={}", self.rt.display()))
            .arg(&file)
            .output()
            .expect("rustc runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

impl Drop for Compiler {
    fn drop(&mut self) {
        // It is below target/: what stays is no harm.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn each_says_what_is_wrong_and_what_is_meant() {
    let cases = [
        (protocol("pub lamp; refusals {}"), "a protocol begins with its name, as in `pub protocol lamp;`"),
        (protocol("pub protocol lamp; [1 once] fn on();"), "protocol `lamp`: after its name come `refusals { ... }`"),
        (protocol("pub protocol lamp; refusals { Broken = 1 }"), "refusal `Broken`: it is declared as `Broken = NUMBER \"text\",`"),
        (protocol("pub protocol lamp; refusals { A = 1 \"a\", B = 1 \"b\" }"), "two refusals have the same number"),
        (protocol("pub protocol lamp; refusals { A = 0 \"a\" }"), "or one has that of no refusal (0)"),
        (protocol("pub protocol lamp; refusals { A = 0xfffd \"a\" }"), "of every protocol's (0xfffc to 0xffff)"),
        (operations("[1 once] fn on(); [1 once] fn off();"), "two operations have the same label"),
        (operations("[0xffff once] fn on();"), "or one has 0xffff"),
        (operations("fn on();"), "operation `on`: before `fn` come label and policy, as in `[1 idempotent] fn on`"),
        (operations("[1 twice] fn on();"), "`twice` is no policy: `once`, `idempotent`, `idempotent(TRIES)`, `numbered` or `numbered(TRIES)`"),
        (operations("[1 once latter] fn on();"), "`latter`: after the policy comes `later`, or nothing"),
        (operations("[once] fn on();"), "`[once]` is not a label, a policy and perhaps `later`, as in `[1 numbered later]`"),
        (operations("[1 once] fn on(percent);"), "operation `on`, argument `percent`: it is declared as `percent: Type`"),
        (operations("[1 once] fn on(text: &str);"), "operation `on`, argument `text`: memory is lent as `&[u8]`"),
        (operations("[1 once] fn on(text: &[u16]);"), "memory is lent as bytes, `&[u8]` or `&mut [u8]`, not as `&[u16]`"),
        (operations("[1 once] fn on(text: String);"), "`String` does not travel in the words of a message"),
        (operations("[1 once] fn on() -> String;"), "`String` does not travel in the words of a message"),
        (operations("[1 once] fn on(a: u64, b: u64, c: u64, d: u64, e: u8);"), "the arguments take more than four words: on"),
        (operations("[1 numbered] fn on(a: u64, b: u64, c: u64, d: u64);"), "the arguments take more than four words: on"),
        (operations("[1 once] fn on(a: &[u8], b: &[u8], c: &[u8], d: &[u8], e: &[u8]);"), "too many leases: on"),
        (operations("[1 once] fn on() -> Filled;"), "`Filled` speaks of one `&mut [u8]`: on"),
        (operations("[1 once] fn on() passing bell: Notification;"), "operation `on`: a handle is passed as in `passing bell: Notification[SIGNAL]`"),
        (operations("[1 once] fn on() passing bell: Notification[RING];"), "no associated item named `RING`"),
        (operations("[1 once] fn on() passing bell: u32[SIGNAL];"), "`u32` cannot be passed with a request"),
        (operations("[1 once] fn on() -> u8"), "operation `on`: behind its arguments come `-> Answer`"),
        (operations("[1 once] fn on() -> core::time::Duration;"), "operation `on`: behind its arguments come `-> Answer`"),
        (operations("on();"), "an operation is declared as `[LABEL POLICY] fn name(argument: Type) -> Answer;`, not as `on();`"),
        ("rt::words! { pub struct Pair(u8, u8); }".into(), "what travels in words is declared as"),
        ("rt::words! { pub struct Name { name: String } }".into(), "`String` does not travel in the words of a message"),
        ("rt::words! { pub struct A { a: u64, b: u64, c: u64, d: u64, e: u8 } }".into(), "more than four words: A"),
        ("rt::kept! { pub struct Keep(u8); }".into(), "kept memory is declared as `pub struct Keep { field: Type, ... }`"),
        ("rt::kept! { pub struct Keep { names: Vec<u8> } }".into(), "`Vec<u8>` cannot be kept"),
        ("use rt::keep::Ring; rt::kept! { pub struct Keep { a: Ring<u8, 100> } } pub fn f(k: &Keep) -> u32 { k.a.room() }".into(), "a ring's size is a power of two"),
        ("const B: rt::Bit = rt::Bit::new(64);".into(), "a notification has the bits 0 to 63"),
    ];
    let compiler = Compiler::new();
    let right = operations(
        "/// Text.\n[1 idempotent(3) later] fn on(percent: u8, text: &[u8; 1..=4], out: &mut [u8]) passing bell: Notification[SIGNAL] -> Filled;",
    );
    assert_eq!(compiler.says(0, &right), "", "a right one");
    let mut wrong = Vec::new();
    for (number, (source, expected)) in cases.iter().enumerate() {
        let said = compiler.says(number + 1, source);
        if !said.contains(expected) {
            wrong.push(format!("{source}\n  should say: {expected}\n  says: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
