//! What stands at an address: instruction and function, from a program's disassembly.

use crate::toolchain::find_objdump;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
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

    /// The instruction at this address.
    #[must_use]
    pub fn at(&self, address: u64) -> Option<&Instruction> {
        self.0.get(&address)
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
}
