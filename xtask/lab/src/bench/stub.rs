//! A small client of QEMU's gdb server: goes on, steps, reads registers and memory.
//!
//! Source: *Debugging with GDB*, appendix "gdb Remote Serial Protocol". QEMU holds interrupts and timers back while it steps
//! (`qqemu.sstepbits`), so that a step is always the next instruction.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long the machine may take to come to a breakpoint.
const PATIENCE: Duration = Duration::from_secs(120);

/// The general registers and the instruction pointer, in the order in which the server sends them.
pub const REGISTERS: [&str; 17] = [
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip",
];

/// What [`REGISTERS`] hold.
pub type Registers = [u64; 17];

/// A connection to a machine that stands still.
pub struct Stub {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Stub {
    /// Connects, and stops the machine.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).context("cannot reach QEMU's gdb server")?;
        stream.set_read_timeout(Some(PATIENCE)).context("cannot set a time limit on QEMU's gdb server")?;
        let mut stub = Self { stream, received: Vec::new() };
        stub.ask("?")?;
        Ok(stub)
    }

    /// Stops at this address from now on, or no more.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn breakpoint(&mut self, at: u64, set: bool) -> Result<()> {
        match self.ask(&format!("{}1,{at:x},1", if set { 'Z' } else { 'z' }))?.as_str() {
            "OK" => Ok(()),
            said => bail!("QEMU's gdb server refuses a breakpoint: {said}"),
        }
    }

    /// Goes on to the next breakpoint.
    ///
    /// # Errors
    /// When there comes none.
    pub fn go(&mut self) -> Result<()> {
        self.stop("c").context("the machine came to no breakpoint")
    }

    /// Does one instruction.
    ///
    /// # Errors
    /// When the machine has ended.
    pub fn step(&mut self) -> Result<()> {
        self.stop("s")
    }

    fn stop(&mut self, how: &str) -> Result<()> {
        let said = self.ask(how)?;
        if said.starts_with('T') || said.starts_with('S') { Ok(()) } else { bail!("the machine has ended ({said})") }
    }

    /// The registers.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn registers(&mut self) -> Result<Registers> {
        let bytes = unhex(&self.ask("g")?)?;
        let mut registers = [0; REGISTERS.len()];
        for (register, chunk) in registers.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *register = u64::from_le_bytes(*chunk);
        }
        if bytes.len() < REGISTERS.len() * 8 { bail!("QEMU's gdb server tells of no registers") } else { Ok(registers) }
    }

    /// Memory, as the running task sees it.
    ///
    /// # Errors
    /// When there is none.
    pub fn memory(&mut self, at: u64, len: usize) -> Result<Vec<u8>> {
        unhex(&self.ask(&format!("m{at:x},{len:x}"))?).with_context(|| format!("cannot read memory at {at:#x}"))
    }

    /// Sends a packet, and returns what the next one from the server holds.
    fn ask(&mut self, what: &str) -> Result<String> {
        let sum = what.bytes().fold(0_u8, u8::wrapping_add);
        self.stream.write_all(format!("${what}#{sum:02x}").as_bytes()).context("QEMU's gdb server has gone")?;
        loop {
            if let Some((text, len)) = packet(&self.received) {
                self.received.drain(..len);
                self.stream.write_all(b"+").context("QEMU's gdb server has gone")?;
                return Ok(text);
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer).context("QEMU's gdb server does not answer")? {
                0 => bail!("QEMU's gdb server has gone"),
                count => self.received.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

/// The text of the first whole packet, and where it ends.
fn packet(bytes: &[u8]) -> Option<(String, usize)> {
    let start = bytes.iter().position(|byte| *byte == b'$')? + 1;
    let len = bytes.get(start..)?.iter().position(|byte| *byte == b'#')?;
    let end = start + len + 3;
    (bytes.len() >= end).then(|| (String::from_utf8_lossy(&bytes[start..start + len]).into_owned(), end))
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let digits = text.as_bytes().as_chunks::<2>().0;
    // What the server does not know of a register it writes as `x`.
    let byte = |pair: &[u8; 2]| match pair {
        b"xx" => Some(0),
        pair => u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok(),
    };
    digits.iter().map(byte).collect::<Option<_>>().with_context(|| format!("QEMU's gdb server says {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_found_in_what_comes() {
        assert_eq!(packet(b"+$OK#9a"), Some(("OK".to_owned(), 7)));
        assert_eq!(packet(b"$T05thread:01;#07$OK"), Some(("T05thread:01;".to_owned(), 17)));
        assert_eq!((packet(b"+$OK#9"), packet(b"+"), packet(b"")), (None, None, None));
        assert_eq!(unhex("00ffxx").expect("hexadecimal"), [0, 255, 0]);
        assert!(unhex("E14x").is_err());
    }
}
