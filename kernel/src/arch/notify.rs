//! `poll` and `signal` where no special case applies: see [`super::fast`].
//!
//! A thread is referred to by its frame end: `r13` is that of the running thread, `rbp` that of the
//! next one; `r15` is the system's address. All registers of a thread that continues are its own,
//! the bits that it gets, or zero. The same is true in `interrupt` and `switch`.

use super::fast::{Core, awake, charge, code, note_origin, ring_3, save_all, swap};
use super::switch::{declined, handed_over, resumed};
use abi::message::{Header, bits};
use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::mem::offset_of;
use kernel_core::layout::{self, register};
use kernel_core::thread::{FLOAT, STEP, TrapFrame, WHOLE};

/// Takes the place of an endpoint's slot for a notification that is bound to none: no thread
/// receives there, and nobody reads its bits.
#[repr(C)]
struct Nowhere(UnsafeCell<[u64; layout::ENDPOINT_WORDS]>);
// SAFETY: only the assembly here uses it, on one core with interrupts off.
unsafe impl Sync for Nowhere {}
static NOWHERE: Nowhere =
    Nowhere(UnsafeCell::new([layout::NOBODY as u64 | (layout::NOBODY as u64) << 32; layout::ENDPOINT_WORDS]));

/// The entry of `poll`, for the case that no bit of the mask is set: handle in `rdi`, mask in
/// `rsi`. Not while a dead life is being released, whose notifications still have a slot but no
/// longer exist.
#[unsafe(naked)]
pub extern "C" fn poll<C: Core>() {
    code!(
        "mov gs:[{user_stack}], rdx",
        "mov rax, gs:[{frame_end}]",
        "mov rdx, gs:[{system}]",
        "cmp dword ptr [rdx + {releasing}], 0",
        "jne 9f",
        // The cached lookup of the handle, and the notification.
        "cmp rdi, [rax + {polls} + {lookup_handle}]",
        "jne 9f",
        "mov edx, [rax + {budget}]",
        "add rdx, gs:[{system}]",
        "mov rdx, [rdx + {closed}]",
        "cmp rdx, [rax + {polls} + {lookup_closed}]",
        "jne 9f",
        "mov edx, [rax + {polls} + {lookup_place}]",
        "add rdx, gs:[{notes}]",
        "mov rax, [rax + {polls} + {lookup_name}]",
        "cmp rax, [rdx + {note_name}]",
        "jne 9f",
        "test [rdx + {word}], rsi",
        "jnz 9f",
        "xor edx, edx",
        "xor eax, eax",
        swap!(),
        ring_3!("sysretq"),
        "9:",
        "mov rdx, gs:[{user_stack}]",
        "mov eax, {number}",
        "jmp {refused}";
        user_stack = const C::USER_STACK,
        number = const abi::Syscall::Poll as u32,
        refused = sym C::poll,
    )
}

/// The entry of `signal`: handle in `rdi`, bits in `rsi`. Not while a dead life is being released,
/// as its threads may be waiting.
#[unsafe(naked)]
pub extern "C" fn signal<C: Core>() {
    code!(
        note_origin!(),
        "mov rcx, gs:[{system}]",
        "cmp dword ptr [rcx + {releasing}], 0",
        "jne 9f",
        // The cached lookup of a handle that allows each of the bits, and the notification.
        "cmp rdi, [rax + {signals} + {lookup_handle}]",
        "jne 9f",
        "test [rax + {signals} + {notification_cache_never}], rsi",
        "jnz 9f",
        "mov r11d, [rax + {budget}]",
        "mov r11, [rcx + r11 + {closed}]",
        "cmp r11, [rax + {signals} + {lookup_closed}]",
        "jne 9f",
        "mov r11d, [rax + {signals} + {lookup_place}]",
        "add r11, gs:[{notes}]",
        "mov rcx, [rax + {signals} + {lookup_name}]",
        "cmp rcx, [r11 + {note_name}]",
        "jne 9f",
        // The endpoint to which it is bound.
        "mov ecx, [r11 + {bound}]",
        "cmp ecx, -1",
        "je 5f",
        "add rcx, gs:[{endpoints}]",
        "6:",
        "cmp dword ptr [r11 + {waiter}], {nobody}",
        "jne 2f",
        "cmp dword ptr [rcx + {queues}], {nobody}",
        "jne 2f",
        // No thread waits.
        "or [r11 + {word}], rsi",
        "mov r11, [r11 + {word}]",
        "mov [rcx + {bits}], r11",
        "mov rcx, [rax + {rip}]",
        "mov r11d, [rax + {rflags}]",
        "xor eax, eax",
        swap!(),
        ring_3!("sysretq"),
        "5:",
        "lea rcx, [rip + {nowhere}]",
        "jmp 6b",
        "2:",
        save_all!(),
        "lea r14, [rip + 3f]",
        "jmp {wake}",
        "3:",
        "mov qword ptr [r13 + {rax}], {number}",
        "jmp {declined}",
        "9:",
        "mov r11, [rax + {rflags}]",
        "mov rcx, [rax + {rip}]",
        "mov eax, {number}",
        "jmp {general}";
        wake = sym wake::<C>,
        nowhere = sym NOWHERE,
        number = const abi::Syscall::Signal as u32,
        declined = sym declined::<C>,
        general = sym C::general,
    )
}

/// Sets the bits `rsi` of the notification in the slot `r11`, which is bound to the endpoint in the
/// slot `rcx`, and switches to the one thread that waits. If that is not possible, nothing changes
/// but the account, and the code continues at the address in `r14`. All registers must be saved,
/// and no dead life may be in release.
#[unsafe(naked)]
pub extern "C" fn wake<C: Core>() {
    code!(
        charge!(),
        // One thread waits, in `wait` or in `recv`.
        "lea r10, [rcx + {queues}]",
        "cmp dword ptr [r11 + {waiter}], {nobody}",
        "je 2f",
        "cmp dword ptr [r10], {nobody}",
        "jne 9f",
        "lea r10, [r11 + {waiter}]",
        "2:",
        "movzx ebx, word ptr [r10]",
        "cmp bx, [r10 + 2]",
        "jne 9f",
        "imul rbp, rbx, {slot}",
        "add rbp, gs:[{threads}]",
        // It waits for some of the bits, and the heartbeat is not among them.
        "mov rdx, [rbp + {mask}]",
        "mov r9, [r11 + {word}]",
        "or r9, rsi",
        "mov r12, rdx",
        "and rdx, r9",
        "jz 9f",
        "bt rdx, {heartbeat}",
        "jc 9f",
        "not r12",
        "and r12, r9",
        awake!(),
        // It is more important than the running thread, at whose level no thread is ready.
        "movzx edi, byte ptr [r13 + {effective}]",
        "cmp r8d, edi",
        "jae 9f",
        "mov r9, [r15 + {levels}]",
        "bts r9, rdi",
        "jc 9f",
        // The running thread stays the first of its level.
        "mov [r15 + {levels}], r9",
        "mov r8d, [r13 + {alone}]",
        "mov [r15 + rdi * 4 + {ready}], r8d",
        "mov word ptr [r13 + {state}], {is_ready}",
        // The bits are taken, and the other thread runs.
        "mov [r11 + {word}], r12",
        "mov [rcx + {bits}], r12",
        "mov dword ptr [r10], {nobody}",
        "inc qword ptr [r15 + {switches}]",
        "cmp word ptr [rbp + {state}], {is_waiting}",
        "mov word ptr [rbp + {state}], {running}",
        "mov [r15 + {current}], bx",
        "je 3f",
        "mov r12, rdx",
        "xor edi, edi",
        "mov esi, {notification}",
        "xor r13d, r13d",
        "xor r14d, r14d",
        "xor r15d, r15d",
        "xor r8d, r8d",
        "jmp {handed_over}",
        "3:",
        "mov [rbp + {rdx}], rdx",
        "mov qword ptr [rbp + {rax}], 0",
        "jmp {resumed}",
        "9:",
        "jmp r14";
        is_waiting = const layout::IS_WAITING,
        heartbeat = const bits::HEARTBEAT.trailing_zeros(),
        notification = const Header::NOTIFICATION,
        handed_over = sym handed_over::<C>,
        resumed = sym resumed::<C>,
    )
}
