//! The shell's task: reads lines and runs them.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod system;

use abi::message::bits;
use console::{Client, Error, Line};
use rt::archive::Archive;
use rt::notify::Notification;
use rt::println;
use shell::commands::completions;
use shell::shell::{PROMPT, Shell};
use system::System;

rt::entry!(run);

/// Milliseconds until the next request after the console refused one.
const RETRY_MS: u64 = 1000;

fn run() {
    let Some(mut console) = Client::peer() else {
        println!("no console: add it to `calls` of [task.shell] in userspace/system.toml");
        return;
    };
    let archive = Archive::map();
    let list = completions(archive.as_ref().map_or(&[], Archive::tasks));
    if let Err(error) = console.set_completions(list) {
        println!("Tab will not complete: {error}");
    }
    let mut system = System::new(&console, archive);
    let mut shell = Shell::new(&mut system);
    loop {
        shell.world.begin();
        match console.read_line(PROMPT) {
            Ok(Line::Text(line)) => shell.run(&line),
            Ok(Line::Interrupted) => {}
            Ok(Line::EndOfInput) => {
                shell.world.print("There is nothing to log out of: `shutdown` turns the machine off.\n");
            }
            Err(error) => {
                println!("cannot read a line: {error}");
                if error == Error::Call(rt::ipc::CallError::Gone) {
                    // Waits until a peer begins a new life, which may be the console.
                    Notification::own().wait(bits::PEER);
                } else {
                    rt::time::sleep_ms(RETRY_MS);
                }
            }
        }
    }
}
