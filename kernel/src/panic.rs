//! The report of a kernel panic: cause, location, registers and backtrace, on the debug port and on
//! COM1, which the kernel takes over from its driver. `cargo xtask`, which has the symbols,
//! resolves the addresses to functions.

use crate::arch::{cpu, debugcon};
use crate::testing;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};
use kernel_core::thread::TrapFrame;
use x86_64::instructions::port::Port;

/// The value for QEMU's isa-debug-exit device: QEMU's exit code is twice this plus one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Exit {
    /// A test kernel succeeded.
    Success = 0x10,
    /// A test kernel failed.
    Failure = 0x11,
    /// The kernel panicked.
    Panic = 0x12,
}

/// Ends QEMU by its isa-debug-exit device, or halts for good where there is none. If a test waits
/// for a panic report, continues the test instead.
pub fn exit(code: Exit) -> ! {
    if code == Exit::Panic && testing::waits() {
        REPORTING.store(false, Ordering::Relaxed);
        testing::reported();
    }
    // SAFETY: port 0xF4 belongs to the debug device; on other machines no device uses it.
    unsafe { Port::<u32>::new(0xf4).write(code as u32) };
    cpu::stop()
}

/// The debug port and COM1 (16550D data sheet). COM1 is polled, since the report must not depend on
/// anything else.
struct Out;

const COM1: u16 = 0x3f8;

impl Write for Out {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        debugcon::write(s.as_bytes());
        testing::overhear(s);
        let (mut data, mut status) = (Port::<u8>::new(COM1), Port::<u8>::new(COM1 + 5));
        for byte in s.bytes() {
            for byte in [b'\r', byte].into_iter().skip(usize::from(byte != b'\n')) {
                // SAFETY: the machine is about to stop, so the serial driver no longer needs the
                // port. A missing chip reads as 0xFF, which counts as ready; a stuck one delays
                // each byte by a bounded number of reads.
                unsafe {
                    for _ in 0..100_000 {
                        if status.read() & 0x20 != 0 {
                            break;
                        }
                    }
                    data.write(byte);
                }
            }
        }
        Ok(())
    }
}

fn take_com1() {
    let set = |offset: u16, value: u8| {
        // SAFETY: the port belongs to the kernel from now on, as the machine is about to stop.
        unsafe { Port::<u8>::new(COM1 + offset).write(value) }
    };
    // Interrupts off; divisor 1 (115,200 baud); eight bits, no parity, one stop bit; FIFO on.
    set(1, 0);
    set(3, 0x80);
    set(0, 1);
    set(1, 0);
    set(3, 0x03);
    set(2, 0x01);
}

static REPORTING: AtomicBool = AtomicBool::new(false);

/// Prints the report of a panic and ends the machine. `frame` has the registers if an exception is
/// the cause.
pub fn report(cause: fmt::Arguments<'_>, frame: Option<&TrapFrame>) -> ! {
    x86_64::instructions::interrupts::disable();
    if REPORTING.swap(true, Ordering::Relaxed) {
        debugcon::write(b"\nKERNEL PANIC: again, while reporting\n");
        exit(Exit::Panic);
    }
    take_com1();
    let _ = writeln!(Out, "\nKERNEL PANIC: {cause}");
    let mut rbp: u64;
    // SAFETY: reads a register.
    unsafe { core::arch::asm!("mov {}, rbp", out(reg) rbp, options(nomem, nostack, preserves_flags)) };
    if let Some(f) = frame {
        let _ = writeln!(
            Out,
            "vector {} error {:#x} cr2 {:#x}",
            f.vector,
            f.error,
            x86_64::registers::control::Cr2::read_raw()
        );
        let _ = writeln!(
            Out,
            "rip {:#018x} cs {:#x} rflags {:#x} rsp {:#018x} ss {:#x}",
            f.rip, f.cs, f.rflags, f.rsp, f.ss
        );
        let _ = writeln!(Out, "rax {:#018x} rbx {:#018x} rcx {:#018x} rdx {:#018x}", f.rax, f.rbx, f.rcx, f.rdx);
        let _ = writeln!(Out, "rsi {:#018x} rdi {:#018x} rbp {:#018x} r8  {:#018x}", f.rsi, f.rdi, f.rbp, f.r8);
        let _ = writeln!(Out, "r9  {:#018x} r10 {:#018x} r11 {:#018x} r12 {:#018x}", f.r9, f.r10, f.r11, f.r12);
        let _ = writeln!(Out, "r13 {:#018x} r14 {:#018x} r15 {:#018x}", f.r13, f.r14, f.r15);
        let _ = writeln!(Out, "backtrace:\n  at {:#018x}", f.rip);
        rbp = f.rbp;
    } else {
        let _ = writeln!(Out, "backtrace:");
    }
    for _ in 0..24 {
        // A frame pointer must point to one of the kernel's stacks, or the chain ends. The stacks
        // are mapped except for their guard pages, which two words from a valid frame pointer on do
        // not reach.
        let on_stack = crate::arch::stacks::holds(rbp) || crate::boot_stack_holds(rbp);
        if !on_stack || !rbp.is_multiple_of(8) {
            break;
        }
        // SAFETY: it was just checked that both words lie on a mapped kernel stack.
        let (next, from) = unsafe { ((rbp as *const u64).read(), (rbp as *const u64).add(1).read()) };
        if from == 0 {
            break;
        }
        let _ = writeln!(Out, "  at {from:#018x}");
        if next <= rbp {
            break;
        }
        rbp = next;
    }
    let _ = writeln!(Out, "The machine is stopped. `cargo xtask run` names the functions behind these addresses.");
    exit(Exit::Panic)
}

/// The panic handler of the kernel. `main.rs` and every test kernel have a `#[panic_handler]` that
/// calls this or a similar function.
pub fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    report(format_args!("{info}"), None)
}
