//! Helpers for test kernels: verdict lines on the debug port, the exit code, and continuing after a
//! panic report that the test provoked.
//!
//! The kernel itself never waits for a report; `panic.rs` only asks whether a test does.

use crate::arch::debugcon;
use crate::arch::timer::Timer;
use crate::kernel::Kernel;
use crate::loader;
use crate::panic::{Exit, exit};
use crate::start::Ready;
use abi::manifest::TaskRecord;
use alloc::string::String;
use core::arch::naked_asm;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use kernel_core::System;
use kernel_core::clock::Clock;
use spin::Mutex;

/// A kernel as [`start::run`](crate::start::run) makes it, but with the given task table and
/// archive, and no running task.
pub fn kernel(ready: Ready, records: &[TaskRecord], archive: &'static [u8], clock: Clock) -> Kernel {
    let Ready { core, mut controller, frames, frames_kernel, features, .. } = ready;
    let sys = System::new(records, frames, clock);
    let programs = loader::programs(sys.tasks(), archive);
    let timer = Timer::new(&clock, &mut controller);
    Kernel { sys, core, controller, timer, features, archive, programs, archive_memory: None, frames_kernel }
}

struct Port;

impl Write for Port {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        debugcon::write(s.as_bytes());
        Ok(())
    }
}

/// A writer to the debug port that replaces line ends by spaces, because a verdict is one line.
struct OneLine;

impl Write for OneLine {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for (n, piece) in s.split('\n').enumerate() {
            debugcon::write(if n == 0 { b"" } else { b" " });
            debugcon::write(piece.as_bytes());
        }
        Ok(())
    }
}

/// The name of the running test.
static CURRENT: Mutex<Option<&'static str>> = Mutex::new(None);

/// Runs tests by name, prints a line for each, and ends the machine with success. A test fails by
/// panicking: see [`failed`].
pub fn run(tests: &[(&'static str, &dyn Fn())]) -> ! {
    for (name, test) in tests {
        // What the test logs goes between these two lines, so that the verdict is on a line of its
        // own.
        let _ = writeln!(Port, "begin {name}");
        *CURRENT.lock() = Some(name);
        test();
        let _ = writeln!(Port, "test {name} ... ok");
    }
    exit(Exit::Success)
}

/// The panic handler of a test kernel: reports that the running test has failed, unless the test
/// waits for this panic's report.
pub fn failed(info: &core::panic::PanicInfo<'_>) -> ! {
    if waits() {
        crate::panic::panicked(info);
    }
    let name = CURRENT.try_lock().and_then(|name| *name).unwrap_or("boot");
    let _ = write!(Port, "test {name} ... FAILED: ");
    let _ = write!(OneLine, "{}", info.message());
    if let Some(at) = info.location() {
        let _ = write!(Port, " (at {at})");
    }
    let _ = writeln!(Port);
    exit(Exit::Failure)
}

/// Prints the verdict of a test that succeeds by reaching this call, and ends the machine.
pub fn succeeded(name: &str) -> ! {
    let _ = writeln!(Port, "test {name} ... ok");
    exit(Exit::Success)
}

/// The report of a kernel panic, as it was written to the debug port and COM1.
pub struct Report {
    /// The whole text.
    pub text: String,
    /// The stack pointer at the end of the report.
    pub stack: u64,
}

impl Report {
    /// Whether the report contains these words.
    pub fn says(&self, words: &str) -> bool {
        self.text.contains(words)
    }

    /// The hexadecimal number that follows a word and a space, as in `cr2 0x1000`.
    ///
    /// # Panics
    /// If there is none.
    pub fn number(&self, word: &str) -> u64 {
        let mut words = self.text.split_ascii_whitespace().skip_while(|w| *w != word).skip(1);
        let found = words.next().and_then(|n| u64::from_str_radix(n.strip_prefix("0x")?, 16).ok());
        found.unwrap_or_else(|| panic!("the report has no {word}: {}", self.text))
    }

    /// The addresses of the backtrace, innermost first.
    pub fn backtrace(&self) -> impl Iterator<Item = u64> + '_ {
        let lines = self.text.lines().skip_while(|line| *line != "backtrace:").skip(1);
        lines.map_while(|line| u64::from_str_radix(line.trim_start().strip_prefix("at 0x")?, 16).ok())
    }
}

/// Size of the buffer for a report in bytes; a longer report is cut.
const MOST_TEXT: usize = 4096;
static TEXT: [AtomicU8; MOST_TEXT] = [const { AtomicU8::new(0) }; MOST_TEXT];
static LEN: AtomicUsize = AtomicUsize::new(0);
/// The stack pointer to continue with after a report; 0 if no test waits for one.
static RESUME: AtomicU64 = AtomicU64::new(0);
static STACK: AtomicU64 = AtomicU64::new(0);

/// Runs code that must end in a panic report, and returns the report instead of stopping the
/// machine. The code may destroy its stack, as execution never returns to it; what it owns is not
/// dropped.
///
/// # Panics
/// If there is no report.
pub fn expect_report<F: FnOnce()>(f: F) -> Report {
    extern "C" fn call<F: FnOnce()>(f: *mut Option<F>) {
        // SAFETY: `expect_report` passes the address of its own local variable, which nobody else
        // uses until this returns.
        if let Some(f) = unsafe { (*f).take() } {
            f();
        }
    }
    LEN.store(0, Relaxed);
    STACK.store(0, Relaxed);
    let mut f = Some(f);
    let reported = call_or_resume((&raw mut f).cast(), call::<F> as *const () as u64, RESUME.as_ptr());
    RESUME.store(0, Relaxed);
    // After a report, no stack that is still in use refers to the closure.
    core::mem::forget(f);
    assert!(reported, "no exception and no panic: the code ran to its end");
    let bytes = TEXT.iter().take(LEN.load(Relaxed)).map(|b| b.load(Relaxed));
    Report { text: bytes.map(char::from).collect(), stack: STACK.load(Relaxed) }
}

/// Whether a test waits for a report.
pub(crate) fn waits() -> bool {
    RESUME.load(Relaxed) != 0
}

/// Appends a piece of a report that a test waits for to the buffer.
pub(crate) fn overhear(text: &str) {
    if waits() {
        let from = LEN.load(Relaxed).min(MOST_TEXT);
        for (slot, byte) in TEXT[from..].iter().zip(text.bytes()) {
            slot.store(byte, Relaxed);
            LEN.fetch_add(1, Relaxed);
        }
    }
}

/// Continues the test that waits for a report, at its end. Returns if none does.
pub(crate) fn reported() {
    let resume = RESUME.load(Relaxed);
    if resume != 0 {
        let rsp: u64;
        // SAFETY: reads a register.
        unsafe { core::arch::asm!("mov {}, rsp", out(reg) rsp, options(nomem, nostack, preserves_flags)) };
        STACK.store(rsp, Relaxed);
        // SAFETY: `call_or_resume` stored this stack pointer and has not returned: `expect_report`
        // clears it then.
        unsafe { go_on(resume) }
    }
}

/// Calls `f(arg)` and returns false; or returns true when [`go_on`] is called with the stack
/// pointer that this stores in `resume`.
#[unsafe(naked)]
extern "C" fn call_or_resume(arg: *mut u8, f: u64, resume: *mut u64) -> bool {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        // With this one, seven words, and eight with the return address: the stack is aligned for
        // the call.
        "pushfq",
        "mov [rdx], rsp",
        "call rsi",
        "xor eax, eax",
        "popfq",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// Returns from `call_or_resume` a second time. It uses `iretq`, which unblocks NMIs (Intel SDM
/// vol. 3A, section 6.7.1).
///
/// # Safety
/// The stack pointer must be one that `call_or_resume` stored, in a call that has not returned.
#[unsafe(naked)]
unsafe extern "C" fn go_on(rsp: u64) -> ! {
    naked_asm!(
        "mov eax, ss",
        "push rax",
        "push rdi",
        "pushfq",
        "mov eax, cs",
        "push rax",
        "lea rax, [rip + 2f]",
        "push rax",
        "iretq",
        "2:",
        "mov eax, 1",
        "popfq",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}
