//! A line's interrupt and the timer's tick where nothing is in the way: see [`super::fast`], and
//! [`super::notify`] for who is in which register.

use super::fast::{Core, code, out, ring_3, settle, swap};
use super::notify::wake;
use super::switch::resumed;
use core::arch::naked_asm;
use core::mem::offset_of;
use core::sync::atomic::AtomicU16;
use kernel_core::layout::{self, register};
use kernel_core::thread::{FLOAT, STEP, TrapFrame, WHOLE};

/// Which lines are masked at the 8259s. The assembly masks some itself.
pub static MASK: AtomicU16 = AtomicU16::new(0xffff);

/// The five registers that a tick uses, in the interrupted thread's frame, of which the processor has pushed five words.
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

/// The timer's line: a tick while a thread runs, before which no deadline has come and after which it goes on. From ring 0, which is idle
/// then, it takes the general path.
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
        // The period goes on, and nobody is to get a new slice or to return from where it waited for one.
        "cmp rbp, [rbx + {look_at}]",
        "jae 9f",
        // There is something left for the running thread.
        "mov ecx, [rcx + {budget}]",
        "mov rax, rbp",
        "sub rax, [rbx + {charged_to}]",
        "mov rdx, [rbx + rcx + {left}]",
        "sub rdx, rax",
        "jle 9f",
        "mov [rbx + {charged_to}], rbp",
        "mov [rbx + rcx + {left}], rdx",
        "inc qword ptr [rbx + {interrupts}]",
        "mov al, {end}",
        out!("{command}"),
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
        end = const C::END,
        command = const C::PIC[0],
    )
}

/// A line that is a driver's, by its vector.
#[unsafe(naked)]
pub extern "C" fn line<C: Core, const VECTOR: u8>() {
    naked_asm!("push 0", "push {vector}", "jmp {line_common}", vector = const VECTOR, line_common = sym line_common::<C>)
}

/// Masks and ends the line, and counts it: what the general path does, the check for spurious interrupts left out, as lines that can have them
/// do not come here. Masked until the driver acknowledges: a storm stops here, and a dead driver's line stays closed.
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
        "sub ecx, {base}",
        "bts word ptr [rip + {pic_mask}], cx",
        "movzx eax, word ptr [rip + {pic_mask}]",
        "cmp ecx, 8",
        "jae 3f",
        out!("{command} + 1"),
        "2:",
        "mov al, {end}",
        out!("{command}"),
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
        // The driver is busy; it takes the bits when it comes to that.
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
        "3:",
        // The second controller; with all its lines the first one's to it is masked too.
        "mov al, ah",
        out!("{command2} + 1"),
        "inc al",
        "jnz 4f",
        "or byte ptr [rip + {pic_mask}], 1 << 2",
        "mov al, [rip + {pic_mask}]",
        out!("{command} + 1"),
        "4:",
        "mov al, {end}",
        out!("{command2}"),
        "jmp 2b";
        common = sym C::common,
        base = const C::LINES,
        pic_mask = sym MASK,
        command = const C::PIC[0],
        command2 = const C::PIC[1],
        end = const C::END,
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
