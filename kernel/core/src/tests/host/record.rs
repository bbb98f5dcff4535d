//! What the assembly finds around it on the host: a core's record, which gs leads to, and exits that store the registers there.

use super::fast::{Core, General};
use crate::thread::TrapFrame;
use core::arch::{asm, naked_asm};
use core::mem::offset_of;

/// What gs leads to: the core's record, and the registers as they come out.
#[repr(C)]
#[derive(Default)]
pub struct Record {
    pub frame_end: u64,
    pub system: u64,
    pub threads: u64,
    pub slots: u64,
    pub endpoints: u64,
    pub notifications: u64,
    pub extras: u64,
    pub now: u64,
    /// The base of the ports' bitmap, and whose ports are clear in it.
    pub iomap: u16,
    pub owner: u16,
    pub kernel: u64,
    pub space_switches: u64,
    /// Where the kernel's own stack ends.
    pub kernel_stack: u64,
    /// The stack pointer of whoever runs the assembly.
    pub rsp_of_host: u64,
    /// Where the piece is.
    pub piece: u64,
    /// By which exit it went on.
    pub exit: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rbx: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
}

pub const OUT: u64 = 1;
pub const EXTRAS: u64 = 2;
pub const REFUSED: u64 = 3;
pub const GENERAL: u64 = 4;
/// Of the assembly of `notify`, `interrupt` and `switch`: to the way out with the frame in `rax`.
pub const LEAVE: u64 = 5;
/// To the general path of a system call with the frame in `rdi`.
pub const DECLINED: u64 = 6;
/// To prepare more for who runs; the rest is in its frame.
pub const ENTER: u64 = 7;
/// To the general path of an interrupt, as if nothing had happened; of a line, which has been masked, with the frame in `rdi`.
pub const INTERRUPT: u64 = 8;
pub const LINE: u64 = 9;

pub struct Host;

macro_rules! register_asm {
    ($($line:expr),*; $($operand:tt)*) => {
        naked_asm!(
            $($line,)*
            rax = const offset_of!(Record, rax),
            rcx = const offset_of!(Record, rcx),
            rdx = const offset_of!(Record, rdx),
            rbx = const offset_of!(Record, rbx),
            rbp = const offset_of!(Record, rbp),
            rsp = const offset_of!(Record, rsp),
            rsi = const offset_of!(Record, rsi),
            rdi = const offset_of!(Record, rdi),
            r8 = const offset_of!(Record, r8),
            r9 = const offset_of!(Record, r9),
            r10 = const offset_of!(Record, r10),
            r11 = const offset_of!(Record, r11),
            r12 = const offset_of!(Record, r12),
            r13 = const offset_of!(Record, r13),
            r14 = const offset_of!(Record, r14),
            r15 = const offset_of!(Record, r15),
            rsp_of_host = const offset_of!(Record, rsp_of_host),
            $($operand)*
        )
    };
}

macro_rules! exit {
    ($name:ident($($argument:ty),*) $(-> $result:ty)?, $number:expr) => {
        #[unsafe(naked)]
        extern "C" fn $name($(_: $argument),*) $(-> $result)? {
            naked_asm!(
                "mov qword ptr gs:[{exit}], {number}",
                "jmp {stored}",
                exit = const offset_of!(Record, exit),
                number = const $number,
                stored = sym stored,
            )
        }
    };
}

// SAFETY: no function returns to the assembly: each stores the registers in the record and returns
// to the caller of `run`.
unsafe impl General for Host {
    exit!(on_syscall(&TrapFrame) -> *const TrapFrame, DECLINED);
    exit!(enter_current(&TrapFrame, &mut Host) -> *const TrapFrame, ENTER);
    exit!(line_from_user(&TrapFrame, &mut Host) -> *const TrapFrame, LINE);
}

// SAFETY: the places are those of the record; all exits store the registers there and return to the caller of `run`.
unsafe impl Core for Host {
    const RING_0: bool = false;
    const FRAME_END: usize = offset_of!(Record, frame_end);
    const KERNEL_STACK: usize = offset_of!(Record, kernel_stack);
    const STATE: usize = offset_of!(Record, kernel);
    const SYSTEM: usize = offset_of!(Record, system);
    const THREADS: usize = offset_of!(Record, threads);
    const SLOTS: usize = offset_of!(Record, slots);
    const ENDPOINTS: usize = offset_of!(Record, endpoints);
    const NOTIFICATIONS: usize = offset_of!(Record, notifications);
    const EXTRAS: usize = offset_of!(Record, extras);
    const SPACE_SWITCHES: usize = offset_of!(Record, space_switches);
    const USER_STACK: usize = offset_of!(Record, now);
    const IOMAP: usize = offset_of!(Record, iomap);
    const OWNER: usize = offset_of!(Record, owner);
    const BITMAP: usize = 104;
    const NO_BITMAP: u16 = 0xffff;
    exit!(general(), GENERAL);
    exit!(message(), GENERAL);
    exit!(poll(), REFUSED);
    exit!(refused(), REFUSED);
    exit!(extras(), EXTRAS);
    exit!(extras_of_message(), EXTRAS);
    exit!(leave() -> !, LEAVE);
    exit!(common(), INTERRUPT);
    exit!(out(), OUT);
}

/// Loads the registers from the record, which is what gs leads to, and jumps to a piece.
#[unsafe(naked)]
unsafe extern "sysv64" fn run(record: *mut Record, piece: extern "C" fn()) {
    register_asm!(
        "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
        "mov gs:[{rsp_of_host}], rsp",
        "mov gs:[{piece}], rsi",
        "mov rax, gs:[{rax}]",
        "mov rcx, gs:[{rcx}]",
        "mov rdx, gs:[{rdx}]",
        "mov rbx, gs:[{rbx}]",
        "mov rbp, gs:[{rbp}]",
        "mov rsp, gs:[{rsp}]",
        "mov rsi, gs:[{rsi}]",
        "mov rdi, gs:[{rdi}]",
        "mov r8, gs:[{r8}]",
        "mov r9, gs:[{r9}]",
        "mov r10, gs:[{r10}]",
        "mov r11, gs:[{r11}]",
        "mov r12, gs:[{r12}]",
        "mov r13, gs:[{r13}]",
        "mov r14, gs:[{r14}]",
        "mov r15, gs:[{r15}]",
        "jmp gs:[{piece}]";
        piece = const offset_of!(Record, piece),
    )
}

/// Stores the registers, and returns to the caller of [`run`].
#[unsafe(naked)]
extern "C" fn stored() {
    register_asm!(
        "mov gs:[{rax}], rax",
        "mov gs:[{rcx}], rcx",
        "mov gs:[{rdx}], rdx",
        "mov gs:[{rbx}], rbx",
        "mov gs:[{rbp}], rbp",
        "mov gs:[{rsp}], rsp",
        "mov gs:[{rsi}], rsi",
        "mov gs:[{rdi}], rdi",
        "mov gs:[{r8}], r8",
        "mov gs:[{r9}], r9",
        "mov gs:[{r10}], r10",
        "mov gs:[{r11}], r11",
        "mov gs:[{r12}], r12",
        "mov gs:[{r13}], r13",
        "mov gs:[{r14}], r14",
        "mov gs:[{r15}], r15",
        "mov rsp, gs:[{rsp_of_host}]",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
        "ret";
    )
}

/// Has gs lead to a record, for this thread of the host.
fn set_gs(record: *mut Record) {
    const ARCH_PRCTL: u64 = 158;
    const ARCH_SET_GS: u64 = 0x1001;
    let result: i64;
    // SAFETY: on this host nothing else uses gs (System V ABI, AMD64, section 3.4.2: thread-local storage is reached by fs).
    unsafe {
        asm!("syscall", inlateout("rax") ARCH_PRCTL => result, in("rdi") ARCH_SET_GS, in("rsi") record, lateout("rcx") _, lateout("r11") _);
    }
    assert_eq!(result, 0, "gs cannot be set");
}

/// Runs a piece of assembly with these registers.
pub fn execute(r: &mut Record, piece: extern "C" fn()) {
    let mut stack = [0_u128; 32];
    r.kernel_stack = stack.as_mut_ptr_range().end as u64;
    let record = &raw mut *r;
    set_gs(record);
    // SAFETY: the system, which whoever calls has borrowed alone, is where the record says, with its parts, and `run` keeps the registers that
    // its caller wants kept.
    unsafe { run(record, piece) };
    set_gs(core::ptr::null_mut());
}
