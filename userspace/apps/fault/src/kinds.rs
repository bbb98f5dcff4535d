//! The functions that cause faults. They are written in assembly because each must be exactly the
//! instruction after which it is named: for the compiler most of them would be undefined behaviour,
//! and it could leave them out.

use core::arch::asm;
use core::hint::black_box;
use core::sync::atomic::AtomicU64;

/// A kind of fault.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name, as the `fault` command takes it.
    pub name: &'static str,
    /// What it does, in a few words.
    pub what: &'static str,
    /// Does it.
    pub commit: fn(),
}

/// Every kind.
pub const KINDS: &[Kind] = &[
    Kind { name: "null-read", what: "read from address 0", commit: read_the_null_page },
    Kind { name: "write-code", what: "overwrite an instruction", commit: write_to_code },
    Kind { name: "jump-data", what: "execute a variable", commit: execute_data },
    Kind { name: "divide", what: "divide by zero", commit: divide_by_zero },
    Kind { name: "invalid-opcode", what: "execute ud2", commit: execute_no_instruction },
    Kind { name: "port", what: "read a port that is not granted", commit: read_a_foreign_port },
    Kind { name: "cli", what: "turn interrupts off", commit: turn_interrupts_off },
    Kind { name: "kernel-read", what: "read the kernel's memory", commit: read_the_kernel },
    Kind { name: "stack-overflow", what: "recurse without end", commit: overflow_the_stack },
    Kind { name: "breakpoint", what: "execute int3", commit: hit_a_breakpoint },
    Kind { name: "alignment", what: "misaligned access with RFLAGS.AC set", commit: access_misaligned },
    Kind { name: "panic", what: "panic!", commit: give_up_with_a_panic },
];

/// First port of the first serial line, which belongs to its driver.
const FOREIGN_PORT: u16 = 0x3f8;

/// The kernel's image is in the upper 2 GiB of the address space.
const KERNEL_ADDRESS: u64 = 0xffff_ffff_8000_0000;

/// RFLAGS.AC (Intel SDM vol. 3A, section 2.3).
const ALIGNMENT_CHECK: u64 = 1 << 18;

/// Machine code in a variable: eight `ret` instructions.
static CODE_IN_DATA: AtomicU64 = AtomicU64::new(0xc3c3_c3c3_c3c3_c3c3);

/// Reads a byte from address 0: #PF.
#[inline(never)]
pub fn read_the_null_page() {
    // SAFETY: nothing of Rust's lies at address 0, and the value is dropped; the page fault is the
    // purpose.
    unsafe {
        asm!("mov {value}, byte ptr [{address}]", address = in(reg) 0_u64, value = out(reg_byte) _, options(readonly, nostack))
    };
}

/// Overwrites this function's first byte with itself: #PF.
#[inline(never)]
pub fn write_to_code() {
    let address = write_to_code as fn() as *const u8;
    // SAFETY: the byte written is the byte read, so that even a writable code page would keep its
    // code; the page fault is the purpose.
    unsafe {
        asm!("mov {value}, byte ptr [{address}]", "mov byte ptr [{address}], {value}", address = in(reg) address, value = out(reg_byte) _, options(nostack))
    };
}

/// Calls a variable that holds `ret` instructions: #PF by an instruction fetch.
#[inline(never)]
pub fn execute_data() {
    // SAFETY: were the page executable, the `ret` there would come straight back and change
    // nothing; the page fault is the purpose.
    unsafe { asm!("call {target}", target = in(reg) CODE_IN_DATA.as_ptr()) };
}

/// Divides by zero: #DE.
#[inline(never)]
pub fn divide_by_zero() {
    // SAFETY: only registers that are declared here would change; the exception is the purpose.
    unsafe {
        asm!("div {zero:e}", zero = in(reg) 0, inout("eax") 1 => _, inout("edx") 0 => _, options(nomem, nostack))
    };
}

/// Executes `ud2`: #UD.
#[inline(never)]
pub fn execute_no_instruction() {
    // SAFETY: `ud2` does nothing but raise the exception, which is the purpose.
    unsafe { asm!("ud2", options(nomem, nostack)) };
}

/// Reads a port that no task table grants to this task: #GP.
#[inline(never)]
pub fn read_a_foreign_port() {
    // SAFETY: reads a register of a device into a register; the exception is the purpose.
    unsafe { asm!("in al, dx", in("dx") FOREIGN_PORT, out("al") _, options(nomem, nostack)) };
}

/// Executes `cli`: #GP.
#[inline(never)]
pub fn turn_interrupts_off() {
    // SAFETY: touches no memory; the exception is the purpose.
    unsafe { asm!("cli", options(nomem, nostack)) };
}

/// Reads a byte of the kernel's memory: #PF.
#[inline(never)]
pub fn read_the_kernel() {
    // SAFETY: only reads, and drops the value; the page fault is the purpose.
    unsafe {
        asm!("mov {value}, byte ptr [{address}]", address = in(reg) KERNEL_ADDRESS, value = out(reg_byte) _, options(readonly, nostack))
    };
}

/// Recurses until the stack is used up: #PF in the guard page.
#[inline(never)]
pub fn overflow_the_stack() {
    recurse_without_end(0);
}

#[inline(never)]
#[allow(unconditional_recursion, reason = "the fault is the purpose")]
fn recurse_without_end(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    // Used after the call, so that no frame can be dropped before it.
    recurse_without_end(depth + 1) + black_box(frame)[0]
}

/// Executes `int3`: #BP.
#[inline(never)]
pub fn hit_a_breakpoint() {
    // SAFETY: touches nothing; the exception is the purpose.
    unsafe { asm!("int3", options(nomem, nostack)) };
}

/// Reads at a misaligned address with RFLAGS.AC set: #AC, as the kernel sets CR0.AM (Intel SDM vol.
/// 3A, section 6.15, #AC).
///
/// QEMU's TCG has no alignment check (tested with 7.2, ring 3, AM and AC set: the access just
/// succeeds), so a misaligned `cmpxchg16b` follows, which TCG does check: #GP there. On hardware
/// the first access already ends the task.
#[inline(never)]
pub fn access_misaligned() {
    #[repr(align(16))]
    struct Aligned([u64; 4]);
    let mut buffer = Aligned([0; 4]);
    let base = buffer.0.as_mut_ptr();
    // SAFETY: every access lies within `buffer`: 8 bytes at offset 1, 16 bytes at offset 8; flags
    // and stack pointer are put back. `cmpxchg16b` may write rbx there, whatever that holds. An
    // exception is the purpose.
    unsafe {
        asm!(
            "pushfq",
            "pushfq",
            "or qword ptr [rsp], {ac}",
            "popfq",
            "mov rax, qword ptr [{base} + 1]",
            "cmpxchg16b xmmword ptr [{base} + 8]",
            "popfq",
            ac = const ALIGNMENT_CHECK,
            base = in(reg) base,
            inout("rax") 0_u64 => _,
            inout("rdx") 0_u64 => _,
            inout("rcx") 0_u64 => _,
        );
    }
    black_box(&buffer.0);
}

/// Panics with a message.
#[inline(never)]
pub fn give_up_with_a_panic() {
    panic!("the task was asked to panic");
}
