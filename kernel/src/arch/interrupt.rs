//! An interrupt of a line where no special case applies: see [`super::fast`].
//! [`super::notify`] says which register holds which thread.

use super::controller;
use super::fast::{Core, code, settle, swap};
use super::notify::wake;
use super::switch::resumed;
use core::arch::naked_asm;
use core::mem::offset_of;
use kernel_core::layout::{self, register};
use kernel_core::lines::Line;
use kernel_core::thread::{FLOAT, STEP, TrapFrame, WHOLE};

/// The entries of interrupts of drivers' lines, with the assembly of a controller.
macro_rules! entries {
    ($name:ident, $refuses:literal) => {
        /// The entries for this controller.
        pub mod $name {
            use super::*;
            use controller::$name::{STATE, assembly};

            /// The entry of an interrupt of a driver's line, by its vector.
            #[unsafe(naked)]
            pub extern "C" fn line<C: Core, const VECTOR: u8>() {
                naked_asm!(
                    $refuses,
                    "push 0",
                    "push {vector}",
                    "jmp {line_common}",
                    "9:",
                    "push 0",
                    "push {vector}",
                    "jmp {common}",
                    "# {controller} {bit}",
                    vector = const VECTOR,
                    controller = sym STATE,
                    bit = const VECTOR - controller::vector(Line::new(0)),
                    common = sym C::common,
                    line_common = sym line_common::<C>,
                )
            }

            /// Holds the line, ends its interrupt, and counts it, as the general path does. The
            /// line is held until its driver acknowledges the interrupt, which ends an interrupt
            /// storm; the line of a dead driver stays masked.
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
                    "# {controller}{registers}",
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
                    registers = const controller::apic::REGISTERS,
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
        }
    };
}

// The general path masks a line that is held already.
entries!(apic, "test dword ptr [rip + {controller}], 1 << {bit}\njnz 9f");
entries!(pic, "");
