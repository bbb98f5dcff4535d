//! The crash report: a task's fault record as text for people.
//!
//! A line has at most [`WIDTH`] columns, so that it fits on an 80-column screen after the tag of
//! the log.

use crate::lines::{Line, Lines};
use crate::{decode, lines, symbols};
use abi::TaskId;
use abi::error::{BACKTRACE_LEN, DeathKind, FaultRecord, exception_name};
use abi::task::{INFO_ADDR, STACK_TOP, USER_END};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Most columns of a line: 80 less the tag `[supervisor] `.
pub const WIDTH: usize = 66;

/// Bits of a page fault's error code (Intel SDM vol. 3A, section 4.7): the page is present, it was
/// a write, it was an instruction fetch.
const PF_PRESENT: u64 = 1 << 0;
const PF_WRITE: u64 = 1 << 1;
const PF_FETCH: u64 = 1 << 4;

/// First address of the upper canonical half, which is the kernel's.
const KERNEL_START: u64 = 0xffff_8000_0000_0000;

/// A page fault at most this many bytes from the stack pointer counts as a stack overflow.
const NEAR_STACK: u64 = 2 * abi::PAGE_SIZE as u64;

const REGISTERS: [&str; 15] =
    ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
const RDX: usize = 3;

/// What the supervisor does with the task after the death.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// The task is started again after this many milliseconds.
    Restart {
        /// Milliseconds from now on.
        delay_ms: u64,
    },
    /// The task stays dead, as its restart policy says.
    Stay,
    /// The task stays dead, because it died too often.
    GivenUp,
}

/// The input of a report.
pub struct Crash<'a> {
    /// The task's name.
    pub name: &'a str,
    /// The kernel's record of the task's death.
    pub record: &'a FaultRecord,
    /// The task's `sym/NAME` table, empty if there is none.
    pub symbols: &'a [u8],
    /// The task's `lines/NAME` table, empty if there is none.
    pub lines: &'a [u8],
    /// Size of the task's first stack, in bytes.
    pub stack_bytes: u64,
    /// What the supervisor does after the death.
    pub next: Next,
    /// Names of the system's tasks, by row of the task table.
    pub tasks: &'a [&'a str],
}

impl Crash<'_> {
    /// The lines of the report.
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
                self.backtrace(&mut out, self.frames());
                self.messages(&mut out);
            }
            DeathKind::Panicked => {
                // The task's own text, marked so that it cannot look like another part of the
                // report.
                for line in record.message().lines() {
                    push_marked(&mut out, "  | ", "  | ", line);
                }
                let callers = self.culprit(&mut out);
                self.backtrace(&mut out, callers);
                self.messages(&mut out);
            }
            DeathKind::Hung => {
                self.place(&mut out, record.rip);
                self.registers(&mut out);
                self.backtrace(&mut out, self.frames());
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

    /// Explains the exception, in words.
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

    /// A likely cause, by the address of a page fault.
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

    /// Shows the function that caused a panic: the innermost one that does not belong to the
    /// language or the runtime, which may be inlined there. Returns the frames that called it.
    fn culprit(&self, out: &mut Vec<String>) -> &[u64] {
        for (index, &address) in self.frames().iter().enumerate() {
            // A return address may be the first byte of the next function: the address before it is
            // in the call.
            let call = address.wrapping_sub(1);
            let mut lines = lines::find(self.lines, call);
            let found = match lines.clone().next() {
                Some(_) => loop {
                    match lines.clone().next() {
                        Some(line) if is_machinery(line.function) => _ = lines.next(),
                        Some(_) => break true,
                        None => break false,
                    }
                },
                None => symbols::find(self.symbols, call).is_some_and(|place| !is_machinery(place.name)),
            };
            if found {
                self.frame(out, "  at ", address, call, lines, 1);
                return self.frames().get(index + 1..).unwrap_or_default();
            }
        }
        self.place(out, self.record.rip);
        self.frames()
    }

    fn frames(&self) -> &[u64] {
        let count = (self.record.backtrace_len as usize).min(BACKTRACE_LEN);
        self.record.backtrace.get(..count).unwrap_or_default()
    }

    /// Shows the address at which the exception was raised.
    fn place(&self, out: &mut Vec<String>, address: u64) {
        self.frame(out, "  at ", address, address, lines::find(self.lines, address), 1);
    }

    /// Shows one frame after `head`: the source lines in `lines`, or the function that contains
    /// `looked_up`; and how many times it repeats.
    fn frame(&self, out: &mut Vec<String>, head: &str, address: u64, looked_up: u64, lines: Lines<'_>, times: usize) {
        let times = if times > 1 { format!(", {times} times") } else { String::new() };
        let mut head = format!("{head}{address:#x} ");
        if lines.clone().next().is_none() {
            let name = match symbols::find(self.symbols, looked_up) {
                Some(place) => {
                    format!("{}+{:#x}", place.name, place.offset.wrapping_add(address.wrapping_sub(looked_up)))
                }
                None => "(no function)".into(),
            };
            push_cut(out, &head, &name, &times);
            return;
        }
        for (index, line) in lines.enumerate() {
            let times = if index == 0 { times.as_str() } else { "" };
            push_place(out, &head, &line, times);
            head = core::iter::repeat_n(' ', head.len() - format!("{address:#x} ").len())
                .chain("inlined in ".chars())
                .collect();
        }
    }

    fn registers(&self, out: &mut Vec<String>) {
        let record = self.record;
        let all = REGISTERS.iter().copied().zip(record.registers).chain([("rsp", record.rsp), ("rfl", record.rflags)]);
        let cells: Vec<String> = all.map(|(name, value)| format!("{name:<3} {value:016x}")).collect();
        for row in cells.chunks(3) {
            push(out, 2, &row.join(" "));
        }
    }

    /// Shows return addresses, the innermost first; frames that repeat, as in recursion, are shown
    /// once.
    fn backtrace(&self, out: &mut Vec<String>, frames: &[u64]) {
        let mut rest = frames;
        let mut head = "  called from ";
        while !rest.is_empty() {
            let (period, times) = repetition(rest);
            for &address in rest.iter().take(period) {
                let call = address.wrapping_sub(1);
                let times = if period == 1 { times } else { 1 };
                self.frame(out, head, address, call, lines::find(self.lines, call), times);
                head = "         from ";
            }
            if period > 1 && times > 1 {
                out.push(format!("         (these {period} callers {times} times)"));
            }
            rest = rest.get(period * times..).unwrap_or_default();
        }
        if self.record.backtrace_len as usize > BACKTRACE_LEN {
            out.push("         and more, which were not recorded".into());
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

/// Whether a function belongs to the language or the runtime, between a panic and its message.
fn is_machinery(name: &str) -> bool {
    let name = name.trim_start_matches('<');
    let machinery = ["core::", "alloc::", "rt::", "__rust", "rust_", "_R", "compiler_builtins"];
    machinery.iter().any(|prefix| name.starts_with(prefix))
}

/// Most frames of a cycle of calls that is recognised as repeating.
const MOST_PERIOD: usize = 4;

/// How many of the first frames repeat, and how many times: (1, 1) if they do not.
fn repetition(frames: &[u64]) -> (usize, usize) {
    let count = |period: usize| {
        let (first, _) = frames.split_at_checked(period)?;
        Some(frames.chunks_exact(period).take_while(|chunk| *chunk == first).count())
    };
    let found = (1..=MOST_PERIOD).filter_map(|period| count(period).map(|times| (period, times)));
    found
        .filter(|&(_, times)| times > 1)
        .max_by_key(|&(period, times)| (period * times, usize::MAX - period))
        .unwrap_or((1, 1))
}

/// A text with the characters replaced that a report must not show.
fn clean(text: &str) -> Vec<char> {
    text.chars().map(|c| if rt::print::is_plain(c) { c } else { '?' }).collect()
}

/// Appends `text` after `indent` spaces, broken into lines of at most [`WIDTH`] columns, at spaces
/// if possible.
fn push(out: &mut Vec<String>, indent: usize, text: &str) {
    let spaces = |count: usize| core::iter::repeat_n(' ', count).collect::<String>();
    push_marked(out, &spaces(indent), &spaces(indent.max(4)), text);
}

/// Appends `text` in lines of at most [`WIDTH`] columns, broken at spaces if possible, with `first`
/// before the first line and `mark` before all others. Characters that could forge lines become
/// question marks.
fn push_marked(out: &mut Vec<String>, first: &str, mark: &str, text: &str) {
    let clean = clean(text);
    let mut rest = clean.as_slice();
    let mut mark_now = first;
    while !rest.is_empty() {
        let room = WIDTH.saturating_sub(mark_now.len()).max(1);
        let cut = match rest.get(..room + 1) {
            None => rest.len(),
            Some(window) => window.iter().rposition(|&c| c == ' ').filter(|&at| at > 0).unwrap_or(room),
        };
        let (line, after) = rest.split_at(cut);
        out.push(mark_now.chars().chain(line.iter().copied()).collect());
        rest = match after {
            [' ', next @ ..] => next,
            other => other,
        };
        mark_now = mark;
    }
}

/// Appends `head`, `name` and `tail` in one line; if that is too long, the middle of the name is
/// cut: its end is the function's own name, and matters more than the modules before it.
fn push_cut(out: &mut Vec<String>, head: &str, name: &str, tail: &str) {
    let room = WIDTH.saturating_sub(head.len() + tail.len());
    let name = clean(name);
    let line = head.chars();
    out.push(match name.len().checked_sub(room) {
        None | Some(0) => line.chain(name).chain(tail.chars()).collect(),
        Some(excess) => line.chain("..".chars()).chain(name.into_iter().skip(excess + 2)).chain(tail.chars()).collect(),
    });
}

/// Appends a function and its line: in one row, if the path of the file fits or can be shortened;
/// otherwise in two.
fn push_place(out: &mut Vec<String>, head: &str, line: &Line<'_>, tail: &str) {
    let at = |file: &str| format!(" ({file}:{}){tail}", line.line);
    if line.file.is_empty() {
        return push_cut(out, head, line.function, tail);
    }
    let room = WIDTH.saturating_sub(head.len() + line.function.chars().count());
    let starts = line.file.rmatch_indices('/').map(|(start, _)| start + 1);
    // At least one directory is kept: most drivers have a main.rs.
    let shorter: Vec<&str> = starts.skip(1).filter_map(|start| line.file.get(start..)).collect();
    let files = core::iter::once(line.file).chain(shorter.into_iter().rev());
    match files.map(at).find(|place| place.chars().count() <= room) {
        Some(place) => out.push(clean(&format!("{head}{}{place}", line.function)).into_iter().collect()),
        None => {
            push_cut(out, head, line.function, "");
            push_cut(out, "     (", line.file, &format!(":{}){tail}", line.line));
        }
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
