//! Names for the addresses in a kernel panic's report, from the kernel's debug information.

use anyhow::{Result, anyhow};
use std::path::Path;

/// Resolves addresses of one program.
pub struct Symbols {
    loader: addr2line::Loader,
}

impl Symbols {
    /// Reads a program that was not stripped.
    ///
    /// # Errors
    /// When it is not there or no ELF.
    pub fn load(program: &Path) -> Result<Self> {
        let loader = addr2line::Loader::new(program)
            .map_err(|error| anyhow!("cannot read the symbols of {}: {error}", program.display()))?;
        Ok(Self { loader })
    }

    /// Function and source line of an address, if it lies in the program.
    #[must_use]
    pub(crate) fn name(&self, address: u64) -> Option<String> {
        let function = self.loader.find_symbol(address)?;
        let mut name = format!("{:#}", rustc_demangle::demangle(function));
        if let Ok(Some(place)) = self.loader.find_location(address)
            && let (Some(file), Some(line)) = (place.file, place.line)
        {
            let short: Vec<_> = file.rsplit('/').take(3).collect();
            let short = short.into_iter().rev().collect::<Vec<_>>().join("/");
            name = format!("{name} at {short}:{line}");
        }
        Some(name)
    }

    /// The text with a name behind each address of the program.
    #[must_use]
    pub fn annotate(&self, text: &str) -> String {
        annotate(text, |address| self.name(address))
    }
}

/// Appends names to the hexadecimal numbers of a text for which there are any. A number after `rip` is where the
/// processor was; all others are taken for return addresses, which stand behind the call: behind a call that never
/// returns, that can be another function already.
fn annotate(text: &str, name: impl Fn(u64) -> Option<String>) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut rest = line;
        while let Some(start) = rest.find("0x") {
            let digits = rest[start + 2..].bytes().take_while(|byte| byte.is_ascii_hexdigit() || *byte == b'_').count();
            let end = start + 2 + digits;
            out.push_str(&rest[..end]);
            let number = rest[start + 2..end].replace('_', "");
            let before = rest[..start].trim_end_matches([' ', '=', ':']).to_ascii_lowercase();
            let back = u64::from(!before.ends_with("rip"));
            let address = u64::from_str_radix(&number, 16).ok().and_then(|number| number.checked_sub(back));
            if let Some(name) = address.and_then(&name) {
                out.push_str(" <");
                out.push_str(&name);
                out.push('>');
            }
            rest = &rest[end..];
        }
        out.push_str(rest);
        out.push('\n');
    }
    out
}

/// The part of a log that reports a kernel panic: from the first line that says so to the end.
#[must_use]
pub fn panic_report(log: &str) -> Option<&str> {
    let mut from = 0;
    for line in log.split_inclusive('\n') {
        let lower = line.to_ascii_lowercase();
        if lower.contains("kernel panic") || lower.contains("panicked at") {
            return log.get(from..);
        }
        from += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_names() {
        let name = |address| match address {
            0xffff_ffff_8000_1233 => Some("caller at a.rs:1".to_owned()),
            0xffff_ffff_8000_1234 => Some("next at b.rs:2".to_owned()),
            _ => None,
        };
        assert_eq!(
            annotate("RIP: 0xffffffff80001234, cr2 0x0\nat 0xffffffff_80001234", name),
            "RIP: 0xffffffff80001234 <next at b.rs:2>, cr2 0x0\nat 0xffffffff_80001234 <caller at a.rs:1>\n"
        );
        assert_eq!(annotate("0x 0xzz 0x12345678901234567890", name), "0x 0xzz 0x12345678901234567890\n");
    }

    #[test]
    fn the_report_begins_where_the_panic_is_named() {
        assert_eq!(panic_report("a\nKERNEL PANIC: no\nb\n"), Some("KERNEL PANIC: no\nb\n"));
        assert_eq!(panic_report("all is well\n"), None);
    }

    #[inline(never)]
    fn known_function() -> u64 {
        known_function as *const () as u64
    }

    #[test]
    fn our_own_program_can_be_resolved() {
        let program = std::env::current_exe().expect("a path");
        let symbols = Symbols::load(&program).expect("an ELF");
        // This program is loaded at a random address: look from its start.
        let maps = std::fs::read_to_string("/proc/self/maps").expect("a map");
        let start = maps.lines().find(|line| line.contains(&*program.to_string_lossy())).expect("our own mapping");
        let base = u64::from_str_radix(start.split('-').next().expect("an address"), 16).expect("a number");
        let name = symbols.name(known_function() - base).expect("a symbol");
        assert!(name.contains("known_function"), "{name}");
    }
}
