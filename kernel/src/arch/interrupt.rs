//! An interrupt of a line and the timer's tick where no special case applies: see [`super::fast`].
//! [`super::notify`] says which register holds which thread.

use super::controller::{self, STATE, assembly};
use super::fast::{Core, code, ring_3, settle, swap};
use super::notify::wake;
use super::switch::resumed;
use core::arch::naked_asm;
use core::mem::offset_of;
use kernel_core::layout::{self, register};
use kernel_core::lines::Line;
use kernel_core::thread::{FLOAT, STEP, TrapFrame, WHOLE};

/// Saves the five registers that a tick uses in the interrupted thread's frame, to which the
/// processor has pushed five words.
macro_rules! save_five {
    () => {
        "mov [rsp + 40 + {rax}], rax
        mov [rsp + 40 + {rcx}], rcx
        mov [rsp + 40 + {rdx}], rdx
        mov [rsp + 40 + {rbx}], rbx
        mov [rsp + 40 + {rbp}], rbp"
    };
}

macro_rules! restore_five {
    () => {
        "mov rax, [rsp + 40 + {rax}]
        mov rcx, [rsp + 40 + {rcx}]
        mov rdx, [rsp + 40 + {rdx}]
        mov rbx, [rsp + 40 + {rbx}]
        mov rbp, [rsp + 40 + {rbp}]"
    };
}

/// The entry of the timer's interrupt, for a tick in ring 3 at which no timer is due and after
/// which the same thread runs on. In ring 0, in the idle loop, the general path handles it.
#[unsafe(naked)]
pub extern "C" fn timer<C: Core>() {
    code!(
        "test byte ptr [rsp + 8], 3",
        "jz {general}",
        swap!(),
        save_five!(),
        "lea rcx, [rsp + 40]",
        "mov rbx, gs:[{system}]",
        ".if {ring_0}",
        "rdtsc",
        "shl rdx, 32",
        "or rax, rdx",
        ".else",
        "mov rax, gs:[{now}]",
        ".endif",
        // No timer is due: see `Clock::ns`.
        "mov rbp, rax",
        "sub rax, [rbx + {base}]",
        "mul qword ptr [rbx + {mult}]",
        "shrd rax, rdx, 32",
        "cmp rax, [rbx + {first}]",
        "jae 9f",
        // The period goes on, and no task is waiting for a new slice or for the return of its
        // threads.
        "cmp rbp, [rbx + {look_at}]",
        "jae 9f",
        // The running thread's task has processor time left.
        "mov ecx, [rcx + {budget}]",
        "mov rax, rbp",
        "sub rax, [rbx + {charged_to}]",
        "mov rdx, [rbx + rcx + {left}]",
        "sub rdx, rax",
        "jle 9f",
        "mov [rbx + {charged_to}], rbp",
        "mov [rbx + rcx + {left}], rdx",
        "inc qword ptr [rbx + {interrupts}]",
        assembly!(end_tick),
        "# {controller}",
        "and dword ptr [rsp + 16], {flags}",
        "or dword ptr [rsp + 16], {flags_set}",
        restore_five!(),
        swap!(),
        ring_3!("iretq"),
        "9:",
        restore_five!(),
        swap!(),
        "jmp {general}";
        general = sym C::timer,
        base = const layout::CLOCK_BASE,
        mult = const layout::CLOCK_MULT,
        first = const layout::TIMERS_FIRST,
        look_at = const layout::LOOK_AT,
        interrupts = const layout::INTERRUPTS,
        controller = sym STATE,
    )
}

/// The entry of an interrupt of a driver's line, by its vector.
#[unsafe(naked)]
pub extern "C" fn line<C: Core, const VECTOR: u8>() {
    naked_asm!("push 0", "push {vector}", "jmp {line_common}", vector = const VECTOR, line_common = sym line_common::<C>)
}

/// Masks and ends the interrupt, and counts it, as the general path does; it is not checked for
/// being spurious, as lines that may be spurious do not come here. The line stays masked until its
/// driver acknowledges the interrupt, which ends an interrupt storm; the line of a dead driver
/// stays masked.
#[unsafe(naked)]
extern "C" fn line_common<C: Core>() {
    code!(
        "test byte ptr [rsp + 24], 3",
        "jz {common}",
        swap!(),
        "push rax", "push rcx", "push rdx", "push rbx", "push rbp", "push rsi", "push rdi",
        "push r8", "push r9", "push r10", "push r11", "push r12", "push r13", "push r14", "push r15",
        "lea r13, [rsp + {size}]",
        "mov r15, gs:[{system}]",
        "mov ecx, [r13 + {vector}]",
        "sub ecx, {first_line}",
        assembly!(mask_and_end),
        "# {controller}",
        "inc qword ptr [r15 + {interrupts}]",
        "shl ecx, 4",
        "mov rsi, [r15 + rcx + {line_caches} + {line_cache_bits}]",
        "mov r11, [r15 + rcx + {line_caches} + {line_cache_place}]",
        "cmp r11, -1",
        "je 9f",
        "cmp dword ptr [r15 + {releasing}], 0",
        "jne 9f",
        "add r11, gs:[{notes}]",
        "mov ecx, [r11 + {bound}]",
        "add rcx, gs:[{endpoints}]",
        "cmp dword ptr [r11 + {waiter}], {nobody}",
        "jne 7f",
        "cmp dword ptr [rcx + {queues}], {nobody}",
        "jne 7f",
        // The driver is busy, and takes the bits later.
        "or [r11 + {word}], rsi",
        "mov r8, [r11 + {word}]",
        "mov [rcx + {bits}], r8",
        "mov rbp, r13",
        "jmp {resumed}",
        "7:",
        "lea r14, [rip + 9f]",
        "jmp {wake}",
        "9:",
        "lea rdi, [r13 - {size}]",
        settle!(),
        assembly!(rest);
        common = sym C::common,
        first_line = const controller::vector(Line::new(0)),
        controller = sym STATE,
        interrupts = const layout::INTERRUPTS,
        line_caches = const layout::LINE_CACHES,
        line_cache_bits = const layout::LINE_BITS,
        line_cache_place = const layout::LINE_PLACE,
        wake = sym wake::<C>,
        resumed = sym resumed::<C>,
        handler = sym C::line_from_user,
        leave = sym C::leave,
    )
}
