//! The crash report: what a task's fault record says, in lines for people.
//!
//! A line has at most [`WIDTH`] columns, so that it fits on an 80-column screen behind the tag that the log puts before it.

use crate::{decode, symbols};
use abi::TaskId;
use abi::error::{BACKTRACE_LEN, DeathKind, FaultRecord, exception_name};
use abi::task::{INFO_ADDR, STACK_TOP, USER_END};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Most columns of a line: 80 less the tag `[supervisor] `.
pub const WIDTH: usize = 66;

/// Page-fault error code bits (Intel SDM vol. 3A, section 4.7): the page is present, it was a write, it was an instruction fetch.
const PF_PRESENT: u64 = 1 << 0;
const PF_WRITE: u64 = 1 << 1;
const PF_FETCH: u64 = 1 << 4;

/// First address of the upper canonical half, where the kernel lives.
const KERNEL_START: u64 = 0xffff_8000_0000_0000;

/// A fault this close to the stack pointer, in bytes, is taken for the stack's end.
const NEAR_STACK: u64 = 2 * abi::PAGE_SIZE as u64;

const REGISTERS: [&str; 15] =
    ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
const RDX: usize = 3;

/// What will happen to the task now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Started again after so many milliseconds.
    Restart {
        /// Milliseconds from now on.
        delay_ms: u64,
    },
    /// Left dead, as its restart policy says.
    Stay,
    /// Left dead, because it died too often.
    GivenUp,
}

/// Everything that a report is made of.
pub struct Crash<'a> {
    /// The task's name.
    pub name: &'a str,
    /// The record of its death.
    pub record: &'a FaultRecord,
    /// Its `sym/NAME` table, empty where there is none.
    pub symbols: &'a [u8],
    /// Bytes of its first stack.
    pub stack_bytes: u64,
    /// What comes next.
    pub next: Next,
    /// Names of the system's tasks, by row.
    pub tasks: &'a [&'a str],
}

impl Crash<'_> {
    /// The report's lines.
    pub fn lines(&self) -> Vec<String> {
        let mut out = Vec::new();
        let record = self.record;
        let kind = DeathKind::from_u32(record.kind);
        let life = TaskId::from_u32(record.task).generation;
        push(&mut out, 0, &format!("{} (life {life}) {}", self.name, self.headline(kind)));
        match kind {
            DeathKind::Exception => {
                for line in self.circumstances() {
                    push(&mut out, 2, &line);
                }
                self.place(&mut out, record.rip);
                self.registers(&mut out);
                self.backtrace(&mut out);
                self.messages(&mut out);
            }
            DeathKind::Panicked => {
                for line in record.message().lines() {
                    push(&mut out, 2, line);
                }
                self.place(&mut out, self.culprit());
                self.backtrace(&mut out);
                self.messages(&mut out);
            }
            DeathKind::Hung => {
                self.place(&mut out, record.rip);
                self.registers(&mut out);
                self.backtrace(&mut out);
                self.messages(&mut out);
            }
            DeathKind::Alive | DeathKind::Exited | DeathKind::Killed => {}
        }
        push(&mut out, 2, &self.outlook());
        out
    }

    fn headline(&self, kind: DeathKind) -> Cow<'static, str> {
        let record = self.record;
        match kind {
            DeathKind::Alive => "ended without a record".into(),
            DeathKind::Exited => format!("exited with code {}", record.error_code as u32 as i32).into(),
            DeathKind::Killed => "was killed on request".into(),
            DeathKind::Panicked => "panicked".into(),
            DeathKind::Hung => "hung: it missed its heartbeat and was killed".into(),
            DeathKind::Exception => format!("crashed: {}", exception_name(record.vector)).into(),
        }
    }

    /// What an exception means, in words.
    fn circumstances(&self) -> Vec<String> {
        let record = self.record;
        let code = record.code.get(..record.code_len as usize).unwrap_or(&record.code);
        let decoded = || decode::refused(code, record.registers[RDX]);
        let bytes =
            || format!("code at rip:{}", code.iter().fold(String::new(), |text, b| text + &format!(" {b:02x}")));
        match record.vector {
            14 => self.page_fault(),
            0 => alloc::vec!["division by zero, or the quotient is too large".into()],
            3 => alloc::vec!["int3: no debugger is attached".into()],
            6 => match decoded() {
                Some(text) if text.starts_with("ud") => alloc::vec![text],
                _ => alloc::vec!["no such instruction".into(), bytes()],
            },
            12 => alloc::vec!["the stack address is not canonical".into(), bytes()],
            13 => match decoded() {
                Some(text) => alloc::vec![text],
                None => alloc::vec!["a non-canonical address, or more privilege than a task has".into(), bytes()],
            },
            17 => alloc::vec!["misaligned access with RFLAGS.AC set".into()],
            _ => alloc::vec![bytes()],
        }
    }

    fn page_fault(&self) -> Vec<String> {
        let FaultRecord { error_code, address, .. } = *self.record;
        let access = match error_code {
            e if e & PF_FETCH != 0 => "execute at",
            e if e & PF_WRITE != 0 => "write to",
            _ => "read from",
        };
        let why = match (error_code & PF_PRESENT != 0, error_code & PF_FETCH != 0) {
            (false, _) => "nothing is mapped there",
            (true, true) => "the page is not executable",
            (true, false) if address >= USER_END => "the page is the kernel's",
            (true, false) if error_code & PF_WRITE != 0 => "the page is read-only",
            (true, false) => "the page forbids it",
        };
        let mut lines = alloc::vec![format!("{access} {address:#018x}: {why}")];
        lines.extend(self.hint().map(Into::into));
        lines
    }

    /// What the address of a page fault suggests.
    fn hint(&self) -> Option<&'static str> {
        let FaultRecord { error_code, address, rsp, .. } = *self.record;
        let absent = error_code & PF_PRESENT == 0;
        let stack_end = STACK_TOP.saturating_sub(self.stack_bytes);
        let guard = stack_end.saturating_sub(abi::PAGE_SIZE as u64)..stack_end;
        if address < abi::PAGE_SIZE as u64 {
            Some("a null pointer, or a field at a null pointer")
        } else if address >= KERNEL_START {
            Some("a kernel address")
        } else if absent && guard.contains(&address) {
            Some("the stack's guard page: stack overflow")
        } else if absent && address.abs_diff(rsp) <= NEAR_STACK {
            Some("next to the stack pointer: stack overflow?")
        } else if (INFO_ADDR..INFO_ADDR + abi::PAGE_SIZE as u64).contains(&address) {
            Some("the task's info page, which is read-only")
        } else {
            None
        }
    }

    /// The function to blame for a panic: the innermost one that is neither the language's nor the runtime's.
    fn culprit(&self) -> u64 {
        let machinery = |address: u64| {
            symbols::find(self.symbols, address.wrapping_sub(1)).is_none_or(|place| {
                let name = place.name.trim_start_matches('<');
                ["core::", "alloc::", "rt::", "__rust", "rust_", "_R", "compiler_builtins"]
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
            })
        };
        self.frames().iter().copied().find(|&address| !machinery(address)).unwrap_or(self.record.rip)
    }

    fn frames(&self) -> &[u64] {
        let count = (self.record.backtrace_len as usize).min(BACKTRACE_LEN);
        self.record.backtrace.get(..count).unwrap_or_default()
    }

    fn place(&self, out: &mut Vec<String>, address: u64) {
        push_tail(out, "  at ", &self.named(address, address));
    }

    fn registers(&self, out: &mut Vec<String>) {
        let record = self.record;
        let all = REGISTERS.iter().copied().zip(record.registers).chain([("rsp", record.rsp), ("rfl", record.rflags)]);
        let cells: Vec<String> = all.map(|(name, value)| format!("{name:<3} {value:016x}")).collect();
        for row in cells.chunks(3) {
            push(out, 2, &row.join(" "));
        }
    }

    fn backtrace(&self, out: &mut Vec<String>) {
        for (i, &address) in self.frames().iter().enumerate() {
            let head = if i == 0 { "  called from " } else { "              " };
            // A return address may be the first byte of the next function: the call is before it.
            push_tail(out, head, &self.named(address, address.wrapping_sub(1)));
        }
    }

    /// `address`, with the function that `looked_up` lies in.
    fn named(&self, address: u64, looked_up: u64) -> String {
        match symbols::find(self.symbols, looked_up) {
            Some(place) => {
                format!("{address:#x} {}+{:#x}", place.name, place.offset.wrapping_add(address.wrapping_sub(looked_up)))
            }
            None => format!("{address:#x} (no function)"),
        }
    }

    fn messages(&self, out: &mut Vec<String>) {
        let [label, sender] = self.record.last_received;
        if sender != 0 {
            let id = TaskId::from_u32(sender);
            let name = self.tasks.get(usize::from(id.index)).copied().unwrap_or("?");
            push(out, 2, &format!("last received: label {label} from {name} (life {})", id.generation));
        }
        let [label, handle] = self.record.last_sent;
        if label != 0 || handle != 0 {
            push(out, 2, &format!("last sent: label {label} on handle {handle}"));
        }
    }

    fn outlook(&self) -> String {
        match self.next {
            Next::Restart { delay_ms: 0 } => "restarting now".into(),
            Next::Restart { delay_ms } => format!("restarting in {delay_ms} ms"),
            Next::Stay => "not restarted".into(),
            Next::GivenUp => "given up: it died too often".into(),
        }
    }
}

/// Appends `text` behind `indent` spaces, broken into lines of at most [`WIDTH`] columns, at spaces where there are any.
/// What a task could put into its message to forge lines becomes question marks.
fn push(out: &mut Vec<String>, indent: usize, text: &str) {
    let clean: Vec<char> = text.chars().map(|c| if rt::print::is_plain(c) { c } else { '?' }).collect();
    let mut rest = clean.as_slice();
    let mut indent = indent;
    while !rest.is_empty() {
        let room = WIDTH - indent;
        let cut = match rest.get(..room + 1) {
            None => rest.len(),
            Some(window) => window.iter().rposition(|&c| c == ' ').filter(|&at| at > 0).unwrap_or(room),
        };
        let (line, after) = rest.split_at(cut);
        out.push(core::iter::repeat_n(' ', indent).chain(line.iter().copied()).collect());
        rest = match after {
            [' ', next @ ..] => next,
            other => other,
        };
        indent = indent.max(4);
    }
}

/// Appends `head` and `text` in one line; where that is too long, the middle of `text` goes: an address stands first and the
/// function's own name last, and both matter more than the modules between them.
fn push_tail(out: &mut Vec<String>, head: &str, text: &str) {
    let room = WIDTH - head.len();
    let chars: Vec<char> = text.chars().map(|c| if rt::print::is_plain(c) { c } else { '?' }).collect();
    if chars.len() <= room {
        out.push(head.chars().chain(chars).collect());
        return;
    }
    let keep_front = chars.iter().position(|&c| c == ' ').map_or(0, |at| at + 1).min(room / 2);
    let keep_back = room - keep_front - 2;
    let front = chars.iter().take(keep_front);
    let back = chars.iter().skip(chars.len() - keep_back);
    out.push(head.chars().chain(front.copied()).chain("..".chars()).chain(back.copied()).collect());
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
