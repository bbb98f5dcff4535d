//! What the kernel's finished program holds. Lints keep panics out of its sources (`kernel/core/src/lib.rs`); what the compiler and libraries put
//! in, overflows, divisions by zero and failed assertions, shows only here.

use anyhow::{Context, Result, ensure};
use goblin::elf::{Elf, section_header::SHF_ALLOC};
use lab::bench::code::Code;
use machine::build::{Config, build, with_loader};
use machine::harness::{Report, Wanted};
use machine::loader::Firmware;
use std::path::Path;

const PANICS: &str = "system::program::d20_what_the_kernel_can_panic_with_is_known";
const SMAP: &str = "system::program::d03_nothing_suspends_smap";

/// How messages of panics begin that the compiler and the standard library put into a program.
const MESSAGES: [&str; 9] = [
    "attempt to ",
    "assertion failed",
    "assertion `",
    "called `Option::",
    "called `Result::",
    "already borrowed",
    "already mutably borrowed",
    "not implemented",
    "not yet implemented",
];

/// Those that are in the kernel all the same, and why no input of a task reaches them.
const ARGUED_FOR: [(&str, &str); 4] = [
    ("assertion failed: start <= end", "buddy_system_allocator, when the heap is made, at boot"),
    ("assertion failed: addr.is_aligned(Size4KiB::SIZE)", "x86_64, when the direct map is made, at boot"),
    ("assertion failed: mem::size_of::<T>() <= input.len()", "xmas-elf: kernel_core::image looks at the length first"),
    (
        "assertion failed: (addr & (mem::align_of::<T>() - 1)) == 0",
        "xmas-elf: kernel_core::image looks at the alignment first",
    ),
];

/// Runs those that are wanted.
///
/// # Errors
/// When the kernel does not build, or the logs cannot be kept.
pub fn run(config: &Config, wanted: &Wanted, report: &Report) -> Result<()> {
    if ![PANICS, SMAP].iter().any(|name| wanted.matches(name)) {
        return Ok(());
    }
    let (_, built) = with_loader(config, Firmware::Pvh, || build(config))?;
    for (name, look) in [(PANICS, messages as fn(&Path) -> Result<Vec<String>>), (SMAP, suspending)] {
        if wanted.matches(name) {
            report.perform(name, |_| {
                let found = look(&built.kernel)?;
                ensure!(found.is_empty(), "{}", found.join("\n"));
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// The messages in a program that nobody has argued for, each with what follows it.
fn messages(program: &Path) -> Result<Vec<String>> {
    let file = std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let elf = Elf::parse(&file).with_context(|| format!("{} is no program", program.display()))?;
    let sections = elf.section_headers.iter().filter(|s| s.sh_flags & u64::from(SHF_ALLOC) != 0);
    Ok(sections.filter_map(|s| file.get(s.file_range()?)).flat_map(unargued).collect())
}

/// Those in some bytes of it.
fn unargued(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for at in 0..bytes.len() {
        let rest = &bytes[at..];
        let argued = || ARGUED_FOR.iter().any(|(text, _)| rest.starts_with(text.as_bytes()));
        if MESSAGES.iter().any(|message| rest.starts_with(message.as_bytes())) && !argued() {
            let text = String::from_utf8_lossy(&rest[..rest.len().min(80)]);
            found.push(format!(
                "the kernel can panic with \"{text}...\": take it out, or argue in {} why no task reaches it",
                file!()
            ));
        }
    }
    found
}

/// Instructions that let ring 0 reach user memory (Intel SDM vol. 2B, STAC).
fn suspending(program: &Path) -> Result<Vec<String>> {
    let code = Code::load(program)?;
    let stac = code.instructions().filter(|(_, instruction)| instruction.text.trim() == "stac");
    Ok(stac.map(|(address, i)| format!("`stac` at {address:#x}, in {}: SMAP is never suspended", i.function)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_but_those_that_are_argued_for() {
        assert_eq!(unargued(b"no message"), Vec::<String>::new());
        for (text, _) in ARGUED_FOR {
            assert_eq!(unargued(text.as_bytes()), Vec::<String>::new());
        }
        for message in MESSAGES {
            let found = unargued(format!("before it{message}x, and behind").as_bytes());
            assert_eq!(found.len(), 1, "{message}");
            assert!(found[0].contains(&format!("\"{message}x, and behind")), "{found:?}");
        }
    }
}
