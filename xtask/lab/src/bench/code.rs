//! What stands at an address: instruction and function, from a program's disassembly.

use anyhow::{Context, Result, bail};
use machine::toolchain::find_objdump;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

/// An instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// In Intel's syntax.
    pub text: String,
    /// The function that it stands in.
    pub function: Rc<str>,
    /// Where the next one begins.
    pub next: u64,
}

impl Instruction {
    /// The numbers in it, as addresses: targets of jumps, pointers, and what lies at a distance from the next instruction.
    fn addresses(&self) -> impl Iterator<Item = u64> + '_ {
        let near = self.text.contains("[rip");
        let words = self.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|word| !word.is_empty());
        let mut minus = false;
        words.filter_map(move |word| {
            let negative = std::mem::replace(&mut minus, word == "-") || word.starts_with('-');
            let number = u64::from_str_radix(word.trim_start_matches('-').strip_prefix("0x")?, 16).ok()?;
            let number = if negative { number.wrapping_neg() } else { number };
            Some(if near { self.next.wrapping_add(number) } else { number })
        })
    }
}

/// A program's instructions by their addresses.
#[derive(Debug, Default)]
pub struct Code(BTreeMap<u64, Instruction>);

impl Code {
    /// Reads a program with its symbols.
    ///
    /// # Errors
    /// When llvm-objdump is missing or fails.
    pub fn load(program: &Path) -> Result<Self> {
        let objdump = find_objdump().context(
            "llvm-objdump is not installed, which says what each instruction is (Debian: package llvm; rustup: component llvm-tools)",
        )?;
        let done = Command::new(objdump)
            .args(["--disassemble", "--demangle", "--no-show-raw-insn", "-M", "intel"])
            .arg(program)
            .output()
            .context("cannot run llvm-objdump")?;
        if !done.status.success() {
            bail!("llvm-objdump cannot read {}: {}", program.display(), String::from_utf8_lossy(&done.stderr).trim());
        }
        Ok(Self::parse(&String::from_utf8_lossy(&done.stdout)))
    }

    fn parse(text: &str) -> Self {
        let mut function: Rc<str> = Rc::from("");
        let mut code: BTreeMap<u64, Instruction> = BTreeMap::new();
        let mut last = None;
        for line in text.lines() {
            if let Some(name) = line.strip_suffix(">:").and_then(|line| line.split_once('<')) {
                function = Rc::from(name.1);
            } else if let Some((address, rest)) = line.split_once(':')
                && let Ok(address) = u64::from_str_radix(address.trim(), 16)
            {
                if let Some(before) = last.and_then(|last| code.get_mut(&last)) {
                    before.next = address;
                }
                let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
                let text = rest.split_whitespace().collect::<Vec<_>>().join(" ");
                code.insert(address, Instruction { text, function: function.clone(), next: address });
                last = Some(address);
            }
        }
        Self(code)
    }

    /// All of them, by their addresses.
    pub fn instructions(&self) -> impl Iterator<Item = (&u64, &Instruction)> {
        self.0.iter()
    }

    /// The instruction at this address.
    #[must_use]
    pub fn at(&self, address: u64) -> Option<&Instruction> {
        self.0.get(&address)
    }

    /// The instructions outside of a part of the code that name an address in it, each with its function.
    #[must_use]
    pub fn leading_into(&self, part: &Range<u64>) -> Vec<String> {
        let outside = self.0.iter().filter(|(address, _)| !part.contains(address));
        outside
            .filter(|(_, instruction)| instruction.addresses().any(|address| part.contains(&address)))
            .map(|(_, instruction)| format!("{}: {}", instruction.function, instruction.text))
            .collect()
    }

    /// Where a function begins.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|(_, instruction)| &*instruction.function == name).map(|(address, _)| *address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disassembly_is_read() {
        let code = Code::parse(
            "\nk:\tfile format elf64-x86-64\n\nffffffff80001000 <kernel::go>:\nffffffff80001000:      \tswapgs\n\
             ffffffff80001003:      \tmov\trax, qword ptr [rip + 0x12] # 0xffffffff8000101c <x>\n\nffffffff80002000 <end>:\nffffffff80002000: \tret\n",
        );
        let second = code.at(0xffff_ffff_8000_1003).expect("it is there");
        assert_eq!((second.text.as_str(), &*second.function), ("mov rax, qword ptr [rip + 0x12]", "kernel::go"));
        assert_eq!((second.next, code.function("end")), (0xffff_ffff_8000_2000, Some(0xffff_ffff_8000_2000)));
        assert_eq!(code.at(0xffff_ffff_8000_1001), None);
    }

    #[test]
    fn what_leads_into_a_part_is_found_in_every_form() {
        let part = 0xffff_ffff_8000_2000..0xffff_ffff_8000_3000;
        for (instruction, leads) in [
            ("call\t0xffffffff80002abc <there>", true),
            ("jne\t0xffffffff80002000 <there>", true),
            ("jmp\t0xffffffff80003000 <behind>", false),
            ("lea\trax, [rip + 0xff8] # 0xffffffff80002000 <there>", true),
            ("lea\trax, [rip + 0xff7]", false),
            ("lea\trax, [rip - 0x10]", false),
            ("mov\trdi, -0x7fffdf00", true),
            ("cmp\tqword ptr [8*rcx - 0x7fffdf00], 0x10", true),
            ("mov\trdi, 0x2abc", false),
        ] {
            let text = format!(
                "ffffffff80001000 <go>:\nffffffff80001000:\t{instruction}\nffffffff80001008:\tret\n\n\
                 ffffffff80002000 <there>:\nffffffff80002000:\tjmp\t0xffffffff80002000 <there>\n"
            );
            assert_eq!(!Code::parse(&text).leading_into(&part).is_empty(), leads, "{instruction}");
        }
    }
}
