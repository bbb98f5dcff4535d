//! Interrupts of lines: the timer's, and the drivers'.

use super::{Stubs, TIMER, save_five, stub_asm};
use crate::arch::entry::{USER_FLAGS, USER_FLAGS_SET, common, stub};
use crate::arch::percore::{EXTRAS, FRAME_END, KERNEL_STACK, SPACE, SPACE_SWITCHES, SYSTEM};
use crate::arch::{gdt, pic};
use core::arch::naked_asm;
use core::mem::offset_of;
use kernel_core::fast::{self, at, register};
use kernel_core::thread::{FLOAT, Frame, PORTS, STEP, Thread};

/// The timer's line. From ring 0, which is idle then, it takes the general path.
#[unsafe(naked)]
pub extern "C" fn timer() {
    stub_asm!(
        "test byte ptr [rsp + 8], 3",
        "jz {general}",
        "swapgs",
        save_five!(),
        "lea rcx, [rsp + 40]",
        "mov rbx, gs:[{system}]",
        "rdtsc",
        "shl rdx, 32",
        "or rax, rdx",
        "jmp {path}";
        general = sym stub::<TIMER>,
        path = sym fast::tick::<Stubs>,
    )
}

/// A line that is a driver's, by its vector.
#[unsafe(naked)]
pub extern "C" fn line<const VECTOR: u8>() {
    naked_asm!("push 0", "push {vector}", "jmp {line_common}", vector = const VECTOR, line_common = sym line_common)
}

/// Masks and ends the line, and counts it: what the general path does, the check for spurious interrupts left out, as lines that can have them
/// do not come here. Masked until the driver acknowledges: a storm stops here, and a dead driver's line stays closed.
#[unsafe(naked)]
extern "C" fn line_common() {
    stub_asm!(
        "test byte ptr [rsp + 24], 3",
        "jz {common}",
        "swapgs",
        "push rax", "push rcx", "push rdx", "push rbx", "push rbp", "push rsi", "push rdi",
        "push r8", "push r9", "push r10", "push r11", "push r12", "push r13", "push r14", "push r15",
        "lea r13, [rsp + {size}]",
        "mov r15, gs:[{system}]",
        "mov ecx, [r13 + {vector}]",
        "sub ecx, {base}",
        "bts word ptr [rip + {mask}], cx",
        "movzx eax, word ptr [rip + {mask}]",
        "cmp ecx, 8",
        "jae 3f",
        "out {command} + 1, al",
        "2:",
        "mov al, {end}",
        "out {command}, al",
        "inc qword ptr [r15 + {interrupts}]",
        "imul ecx, ecx, {way}",
        "lea r14, [r15 + rcx + {ways}]",
        "rdtsc",
        "shl rdx, 32",
        "or rax, rdx",
        "jmp {path}",
        "3:",
        // The second controller; with all its lines the first one's to it is masked too.
        "mov al, ah",
        "out {command2} + 1, al",
        "inc al",
        "jnz 4f",
        "or byte ptr [rip + {mask}], 1 << 2",
        "mov al, [rip + {mask}]",
        "out {command} + 1, al",
        "4:",
        "mov al, {end}",
        "out {command2}, al",
        "jmp 2b";
        common = sym common,
        base = const pic::BASE,
        mask = sym pic::MASK,
        command = const pic::COMMAND[0],
        command2 = const pic::COMMAND[1],
        end = const pic::END,
        interrupts = const fast::INTERRUPTS,
        ways = const fast::WAYS,
        way = const fast::WAY_WORDS * 8,
        path = sym fast::interrupt::<Stubs>,
    )
}
