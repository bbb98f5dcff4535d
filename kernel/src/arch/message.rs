//! `call` and `reply_recv` with one waiting partner: two straight pieces of assembly, from the
//! system call to the other thread's next instruction. Cases that they do not handle are left to
//! Rust.
//!
//! Their specification, which says how they change the state, is `System::direct_call` and
//! `System::direct_reply` in [`kernel_core::system::direct`]; [`layout`] has the offsets in the
//! state. The message stays in its registers; all other registers of a thread that continues are
//! its own or zero. Selectors of data segments stay as they are between two tasks that exchange a
//! message: see docs/security.md.
//!
//! The instructions that a round trip between two address spaces takes in the kernel:
//!
//! | | `call` | `reply_recv` |
//! |---|---|---|
//! | entry: `swapgs`, table | 4 | 4 |
//! | check for a label alone; saving registers | 9 | 8 |
//! | time, account | 6 | 6 |
//! | cached lookup of the handle, the endpoint | 10 | 10 |
//! | the partner; bits; token, awaited state | 5 | 15 |
//! | budget, timer, importance | 9 | 9 |
//! | the call's token, last messages | 9 | - |
//! | states, queue, mask, current thread, counter | 6 | 8 |
//! | extras, RSP0, CR3, counter | 9 | 9 |
//! | registers, exit | 11 | 13 |
//!
//! [`super::fast`] describes the places at which they continue, and the host test that runs them
//! and compares them with their specification; the few instructions that only ring 0 may execute
//! are left out there.

use super::fast::Core;
use core::arch::naked_asm;
use core::mem::offset_of;
use kernel_core::layout::{self, register};
use kernel_core::system::direct::LABEL;
use kernel_core::thread::TrapFrame;

/// Assembly with names for all operands. The piece's own operands follow after a semicolon.
macro_rules! piece {
    ($($line:expr),+ $(,)?; $($operand:tt)*) => {
        naked_asm!(
            $($line,)+
            general = sym C::message,
            refused = sym C::refused,
            extras = sym C::extras,
            out = sym C::out,
            ring_0 = const C::RING_0 as u8,
            frame_end = const C::FRAME_END,
            system = const C::SYSTEM,
            threads = const C::THREADS,
            endpoints = const C::ENDPOINTS,
            core_extras = const C::EXTRAS,
            now = const C::USER_STACK,
            rsp = const register(offset_of!(TrapFrame, rsp)),
            rip = const register(offset_of!(TrapFrame, rip)),
            rflags = const register(offset_of!(TrapFrame, rflags)),
            rbx = const register(offset_of!(TrapFrame, rbx)),
            rbp = const register(offset_of!(TrapFrame, rbp)),
            label = const LABEL,
            slot = const layout::THREAD_SLOT,
            budget = const layout::BUDGET,
            effective = const layout::EFFECTIVE,
            token = const layout::TOKEN,
            state = const layout::STATE,
            running = const layout::RUNNING,
            awaited = const layout::AWAITED,
            space = const layout::SPACE,
            thread_extras = const layout::EXTRAS,
            lookup_handle = const layout::LOOKUP_HANDLE,
            lookup_closed = const layout::LOOKUP_CLOSED,
            lookup_place = const layout::LOOKUP_PLACE,
            lookup_name = const layout::LOOKUP_NAME,
            queues = const layout::QUEUES,
            name = const layout::ENDPOINT_NAME,
            left = const layout::LEFT,
            closed = const layout::CLOSED,
            deadline = const layout::DEADLINE,
            charged_to = const layout::CHARGED_TO,
            levels = const layout::LEVELS,
            current = const layout::CURRENT,
            switches = const layout::SWITCHES,
            space_switches = const C::SPACE_SWITCHES,
            $($operand)*
        )
    };
}

/// Saves the registers that the piece overwrites; the frame end is in `r10` afterwards. If the
/// message is more than a label, nothing has changed.
macro_rules! save {
    ($($more:literal)?) => {
        concat!(
            "cmp rsi, {label}
            ja {general}
            mov r10, gs:[{frame_end}]
            mov [r10 + {rsp}], rsp
            mov [r10 + {rflags}], r11
            mov [r10 + {rip}], rcx
            mov [r10 + {rbx}], rbx
            mov [r10 + {rbp}], rbp\n", $($more)?
        )
    };
}

/// Charges the time to the running thread. Afterwards the offset of its budget is in `r11` and the
/// system's address in `rbp`; `eax rcx rdx` are overwritten. The upper half of the time is left for
/// the general path: no thread runs that long without an interrupt of the timer.
macro_rules! charge {
    () => {
        "mov rbp, gs:[{system}]
        .if {ring_0}
        rdtsc
        .else
        mov eax, gs:[{now}]
        .endif
        sub eax, [rbp + {charged_to}]
        add [rbp + {charged_to}], rax
        mov r11d, [r10 + {budget}]
        sub [rbp + r11 + {left}], rax"
    };
}

/// Puts the address of the endpoint's slot in `r11`, by a cached lookup of the running thread;
/// jumps to 9 if that is not valid.
macro_rules! endpoint {
    () => {
        "cmp rdi, [r10 + {cache} + {lookup_handle}]
        jne 9f
        mov rcx, [r10 + {cache} + {lookup_closed}]
        cmp rcx, [rbp + r11 + {closed}]
        jne 9f
        mov r11d, [r10 + {cache} + {lookup_place}]
        add r11, gs:[{endpoints}]
        mov rcx, [r10 + {cache} + {lookup_name}]
        cmp rcx, [r11 + {name}]
        jne 9f"
    };
}

/// Computes the frame end of the thread in the slot number `ebx`, in `rdx`.
macro_rules! partner {
    () => {
        "imul rdx, rbx, {slot}
        add rdx, gs:[{threads}]"
    };
}

/// Jumps to 9 unless the task of thread `rdx` has processor time left until the timer interrupts,
/// and no ready thread is as important.
macro_rules! may_follow {
    () => {
        "mov ecx, [rdx + {budget}]
        mov rax, [rbp + {deadline}]
        sub rax, [rbp + {charged_to}]
        cmp [rbp + rcx + {left}], rax
        jl 9f
        movzx ecx, byte ptr [rdx + {effective}]
        bsf rax, [rbp + {levels}]
        cmp ecx, eax
        jae 9f"
    };
}

/// Switches from the thread `r10` to the thread `rdx`, whose slot number is in `ebx`.
macro_rules! go {
    ($($clear:literal)?) => {
        concat!(
            "mov word ptr [rdx + {state}], {running}
            mov [rbp + {current}], bx
            inc qword ptr [rbp + {switches}]
            movzx ecx, byte ptr [rdx + {thread_extras}]
            or cl, gs:[{core_extras}]
            jnz 7f
            mov gs:[{frame_end}], rdx
            mov rcx, [rdx + {space}]
            cmp rcx, [r10 + {space}]
            je 8f
            .if {ring_0}
            mov cr3, rcx
            inc qword ptr gs:[{space_switches}]
            .endif
            8:
            mov rcx, [rdx + {rip}]
            mov r11d, [rdx + {rflags}]
            mov rsp, [rdx + {rsp}]
            mov rbx, [rdx + {rbx}]
            mov rbp, [rdx + {rbp}]
            xor eax, eax
            xor edx, edx
            xor r9d, r9d
            xor r10d, r10d\n", $($clear,)?
            "
            .if {ring_0}
            swapgs
            sysretq
            .else
            jmp {out}
            .endif
            7:\n", $($clear,)?
            "
            jmp {extras}
            9:
            mov eax, {number}
            jmp {refused}"
        )
    };
}

/// The entry of `call`: handle in `rdi`, header in `rsi`, words in `r12` to `r15`.
#[unsafe(naked)]
pub extern "C" fn call<C: Core>() {
    piece!(
        save!("mov [r10 + {rsi}], rsi"),
        charge!(),
        endpoint!(),
        // Exactly one thread waits at the endpoint.
        "movzx ebx, word ptr [r11 + {queues}]",
        "cmp bx, [r11 + {tail}]",
        "jne 9f",
        partner!(),
        may_follow!(),
        // The call gets its token.
        "mov r8, [r10 + {token}]",
        "add r8, 0x10000",
        "jc 9f",
        "mov [r10 + {token}], r8",
        "mov [r10 + {last_sent}], si",
        "mov [r10 + {last_sent} + 4], edi",
        "mov rdi, [r10 + {cache} + {endpoint_cache_tells}]",
        "mov [rdx + {last_received}], si",
        "mov [rdx + {last_received} + 4], edi",
        // The caller waits for the reply of the receiver.
        "mov ecx, [rdx + {awaited}]",
        "mov [r10 + {state}], ecx",
        "mov dword ptr [r11 + {queues}], {nobody}",
        go!();
        cache = const layout::CALLS,
        rsi = const register(offset_of!(TrapFrame, rsi)),
        tail = const layout::TAIL,
        nobody = const layout::NOBODY,
        last_sent = const layout::LAST_SENT,
        last_received = const layout::LAST_RECEIVED,
        endpoint_cache_tells = const layout::ENDPOINT_CACHE_TELLS,
        number = const abi::Syscall::Call as u32,
    )
}

/// The entry of `reply_recv`: the endpoint's handle in `rdi`, header in `rsi`, words in `r12` to
/// `r15`, token in `r8`, mask in `r9`.
#[unsafe(naked)]
pub extern "C" fn reply_recv<C: Core>() {
    piece!(
        save!(),
        charge!(),
        endpoint!(),
        // The endpoint's queues are empty, and no bit of the mask is set.
        "mov rcx, {nobody}",
        "cmp [r11 + {queues}], rcx",
        "jne 9f",
        "test [r11 + {bits}], r9",
        "jnz 9f",
        // The token must name a thread in that call, which waits for this task.
        "movzx ebx, r8w",
        "cmp rbx, gs:[{slots}]",
        "jae 9f",
        partner!(),
        "test byte ptr [rdx + {thread_generation}], 1",
        "jz 9f",
        "cmp r8, [rdx + {token}]",
        "jne 9f",
        "mov ecx, [r10 + {awaited}]",
        "cmp ecx, [rdx + {state}]",
        "jne 9f",
        may_follow!(),
        // This thread waits for a message, the other runs.
        "mov [r10 + {mask}], r9",
        "mov ecx, [r10 + {cache} + {endpoint_cache_waits}]",
        "mov [r10 + {state}], ecx",
        "mov ecx, [r10 + {alone}]",
        "mov [r11 + {queues}], ecx",
        go!("xor edi, edi\nxor r8d, r8d");
        cache = const layout::RECEIVES,
        nobody = const (layout::NOBODY as u64) << 32 | layout::NOBODY as u64,
        bits = const layout::BITS,
        slots = const C::SLOTS,
        thread_generation = const layout::THREAD_GENERATION,
        mask = const layout::MASK,
        endpoint_cache_waits = const layout::ENDPOINT_CACHE_WAITS,
        alone = const layout::ALONE,
        number = const abi::Syscall::ReplyRecv as u32,
    )
}
