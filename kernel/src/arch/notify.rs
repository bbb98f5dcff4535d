//! `poll`, `signal`, an interrupt of a line, `yield` and the timer's tick where no special case
//! applies: assembly that does what the Rust functions in [`kernel_core::direct`] specify, and
//! leaves everything else to Rust. [`layout`] has the offsets in the state.
//!
//! A thread is referred to by its frame end: `r13` is that of the running thread, `rbp` that of the
//! next one; `r15` is the system's address. All registers of a thread that continues are its own,
//! the bits that it gets, or zero.
//!
//! Like [`super::message`], this file is also compiled into a host test of `kernel-core`, with
//! other modules around it.

use super::entry::{self, RING_0, USER_FLAGS, USER_FLAGS_SET, general, leave, stub};
use super::percore::{self, FRAME_END, KERNEL_STACK};
use super::{gdt, pic, pit};
use abi::message::{Header, bits};
use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::mem::offset_of;
use kernel_core::layout::{self, register};
use kernel_core::thread::{FLOAT, STEP, TrapFrame, WHOLE};

/// The vector of the timer's interrupt.
const TIMER: u8 = pic::BASE + pit::LINE;

/// Takes the place of an endpoint's slot for a notification that is bound to none: no thread
/// receives there, and nobody reads its bits.
#[repr(C)]
pub(super) struct Nowhere(UnsafeCell<[u64; layout::ENDPOINT_WORDS]>);
// SAFETY: only the assembly here uses it, on one core with interrupts off.
unsafe impl Sync for Nowhere {}
static NOWHERE: Nowhere =
    Nowhere(UnsafeCell::new([layout::NOBODY as u64 | (layout::NOBODY as u64) << 32; layout::ENDPOINT_WORDS]));

/// Assembly with names for all operands. Further operands follow after a semicolon.
macro_rules! code {
    ($($line:expr),+ $(,)?; $($operand:tt)*) => {
        naked_asm!(
            $($line,)+
            // Each piece uses some of the operands; these comments use all of them.
            "# {r15}{r14}{r13}{r12}{r10}{r9}{r8}{rdi}{rsi}{rbp}{rbx}{rdx}{rcx}{rax}{vector}{syscall}{rip}{rflags}{rsp}{flags}{flags_set}{size}",
            "# {frame_end}{kernel_stack}{kernel}{system}{threads}{endpoints}{notes}{core_extras}{iomap}{owner}{bitmap}{no_bitmap}{special}{task}",
            "# {slot}{budget}{left}{closed}{charged_to}{effective}{levels}{ready}{current}{alone}{state}{running}{is_ready}{mask}{space}{extras}",
            "# {nobody}{queues}{bits}{note_generation}{word}{waiter}{bound}{nowhere}{releasing}{signals}{polls}",
            "# {notification_cache_handle}{notification_cache_closed}{notification_cache_place}{notification_cache_generation}{notification_cache_never}",
            "# {ring_0}{now}{out}{switches}{space_switches}",
            ring_0 = const RING_0 as u8,
            now = const percore::USER_STACK,
            out = sym entry::out,
            switches = const layout::SWITCHES,
            space_switches = const percore::SPACE_SWITCHES,
            r15 = const register(offset_of!(TrapFrame, r15)),
            r14 = const register(offset_of!(TrapFrame, r14)),
            r13 = const register(offset_of!(TrapFrame, r13)),
            r12 = const register(offset_of!(TrapFrame, r12)),
            r10 = const register(offset_of!(TrapFrame, r10)),
            r9 = const register(offset_of!(TrapFrame, r9)),
            r8 = const register(offset_of!(TrapFrame, r8)),
            rdi = const register(offset_of!(TrapFrame, rdi)),
            rsi = const register(offset_of!(TrapFrame, rsi)),
            rbp = const register(offset_of!(TrapFrame, rbp)),
            rbx = const register(offset_of!(TrapFrame, rbx)),
            rdx = const register(offset_of!(TrapFrame, rdx)),
            rcx = const register(offset_of!(TrapFrame, rcx)),
            rax = const register(offset_of!(TrapFrame, rax)),
            vector = const register(offset_of!(TrapFrame, vector)),
            syscall = const TrapFrame::SYSCALL,
            rip = const register(offset_of!(TrapFrame, rip)),
            rflags = const register(offset_of!(TrapFrame, rflags)),
            rsp = const register(offset_of!(TrapFrame, rsp)),
            flags = const USER_FLAGS,
            flags_set = const USER_FLAGS_SET,
            size = const size_of::<TrapFrame>(),
            frame_end = const FRAME_END,
            kernel_stack = const KERNEL_STACK,
            kernel = const percore::KERNEL,
            system = const percore::SYSTEM,
            threads = const percore::THREADS,
            endpoints = const percore::ENDPOINTS,
            notes = const percore::NOTIFICATIONS,
            core_extras = const percore::EXTRAS,
            iomap = const percore::TABLES + gdt::IOMAP,
            owner = const percore::TABLES + gdt::OWNER,
            bitmap = const gdt::TSS_BODY,
            no_bitmap = const gdt::NO_BITMAP,
            special = const FLOAT | STEP | WHOLE,
            task = const layout::TASK,
            slot = const layout::THREAD_SLOT,
            budget = const layout::BUDGET,
            left = const layout::LEFT,
            closed = const layout::CLOSED,
            charged_to = const layout::CHARGED_TO,
            effective = const layout::EFFECTIVE,
            levels = const layout::LEVELS,
            ready = const layout::READY,
            current = const layout::CURRENT,
            alone = const layout::ALONE,
            state = const layout::STATE,
            running = const layout::RUNNING,
            is_ready = const layout::IS_READY,
            mask = const layout::MASK,
            space = const layout::SPACE,
            extras = const layout::EXTRAS,
            nobody = const layout::NOBODY,
            queues = const layout::QUEUES,
            bits = const layout::BITS,
            note_generation = const layout::NOTE_GENERATION,
            word = const layout::NOTE_WORD,
            waiter = const layout::NOTE_WAITER,
            bound = const layout::NOTE_BOUND,
            nowhere = sym NOWHERE,
            releasing = const layout::RELEASING,
            signals = const layout::SIGNALS,
            polls = const layout::POLLS,
            notification_cache_handle = const layout::NOTIFICATION_CACHE_HANDLE,
            notification_cache_closed = const layout::NOTIFICATION_CACHE_CLOSED,
            notification_cache_place = const layout::NOTIFICATION_CACHE_PLACE,
            notification_cache_generation = const layout::NOTIFICATION_CACHE_GENERATION,
            notification_cache_never = const layout::NOTIFICATION_CACHE_NEVER,
            $($operand)*
        )
    };
}

/// Switches between the kernel's gs base and the task's.
macro_rules! swap {
    () => {
        ".if {ring_0}
        swapgs
        .endif"
    };
}

/// Returns to ring 3 by this instruction, after [`swap`].
macro_rules! ring_3 {
    ($by:literal) => {
        concat!(".if {ring_0}\n", $by, "\n.else\njmp {out}\n.endif")
    };
}

/// Writes `al` to a port.
macro_rules! out {
    ($port:literal) => {
        concat!(".if {ring_0}\nout ", $port, ", al\n.endif")
    };
}

/// Saves the return address and the flags of the system call; `rax` is the thread's frame end
/// afterwards.
macro_rules! note_origin {
    () => {
        "mov rax, gs:[{frame_end}]
        mov [rax + {rip}], rcx
        mov [rax + {rflags}], r11"
    };
}

/// Saves all other registers, with status Ok for the system call. Afterwards `r13` is the frame
/// end, `r15` the system's address, and all registers but `rcx r11` are free.
macro_rules! save_all {
    () => {
        "mov [rax + {rsp}], rsp
        mov qword ptr [rax + {vector}], {syscall}
        mov qword ptr [rax + {rax}], 0
        mov [rax + {rbx}], rbx
        mov [rax + {rbp}], rbp
        mov [rax + {rdi}], rdi
        mov [rax + {rsi}], rsi
        mov [rax + {rdx}], rdx
        mov [rax + {r8}], r8
        mov [rax + {r9}], r9
        mov [rax + {r10}], r10
        mov [rax + {r12}], r12
        mov [rax + {r13}], r13
        mov [rax + {r14}], r14
        mov [rax + {r15}], r15
        mov r13, rax
        mov r15, gs:[{system}]"
    };
}

/// Charges the time to the running thread `r13`, as [`super::message`] does. The flags tell what is
/// left; `rax rdx r9` are overwritten.
macro_rules! charge {
    () => {
        ".if {ring_0}
        rdtsc
        .else
        mov eax, gs:[{now}]
        .endif
        sub eax, [r15 + {charged_to}]
        add [r15 + {charged_to}], rax
        mov r9d, [r13 + {budget}]
        sub [r15 + r9 + {left}], rax"
    };
}

/// Jumps to 9 unless the task of thread `rbp` has processor time left; otherwise puts its level in
/// `r8d`. `r9` is overwritten.
macro_rules! awake {
    () => {
        "mov r9d, [rbp + {budget}]
        cmp qword ptr [r15 + r9 + {left}], 0
        jle 9f
        movzx r8d, byte ptr [rbp + {effective}]"
    };
}

/// Prepares the core for the thread `rbp`: the place where its registers will be saved, its address
/// space, its ports. If that does not suffice, jumps to 9 with nothing changed. `rbx rcx` are
/// overwritten; `eax` is 0 afterwards.
macro_rules! enter {
    () => {
        "movzx ecx, byte ptr [rbp + {extras}]
        or cl, gs:[{core_extras}]
        jnz 7f
        6:
        mov rcx, gs:[{frame_end}]
        mov gs:[{frame_end}], rbp
        xor eax, eax
        mov rbx, [rbp + {space}]
        cmp rbx, [rcx + {space}]
        je 8f
        .if {ring_0}
        mov cr3, rbx
        inc qword ptr gs:[{space_switches}]
        mov ds, eax
        mov es, eax
        mov fs, eax
        .endif
        8:"
    };
}

/// The rarely needed part of `enter`, which comes after all others: enables the bitmap if it is
/// that of the task already, or disables it if the task has no ports. Everything else is left to
/// Rust.
macro_rules! enter_ports {
    () => {
        "7:
        test cl, {special}
        jnz 9f
        movzx ecx, byte ptr [rbp + {extras}]
        mov eax, {no_bitmap}
        jecxz 5f
        movzx eax, word ptr [rbp + {task}]
        cmp ax, gs:[{owner}]
        jne 9f
        mov eax, {bitmap}
        5:
        mov gs:[{iomap}], ax
        mov gs:[{core_extras}], cl
        jmp 6b"
    };
}

/// Continues in Rust with the frame in `rdi`, on the kernel's stack and with the kernel's flags: an
/// interrupt leaves AC and DF as the task had them, and SMAP is effective only without AC (Intel
/// SDM vol. 3A, section 4.6).
macro_rules! settle {
    () => {
        "mov rsi, gs:[{kernel}]
        mov rsp, gs:[{kernel_stack}]
        push 2
        popfq
        xor ebp, ebp
        call {handler}
        jmp {leave}"
    };
}

/// The entry of `poll`, for the case that no bit of the mask is set: handle in `rdi`, mask in
/// `rsi`. Not while a dead life is being released, whose notifications still have a slot but no
/// longer exist.
#[unsafe(naked)]
pub(super) extern "C" fn poll() {
    code!(
        "mov gs:[{user_stack}], rdx",
        "mov rax, gs:[{frame_end}]",
        "mov rdx, gs:[{system}]",
        "cmp dword ptr [rdx + {releasing}], 0",
        "jne 9f",
        // The cached lookup of the handle, and the notification.
        "cmp rdi, [rax + {polls} + {notification_cache_handle}]",
        "jne 9f",
        "mov edx, [rax + {budget}]",
        "add rdx, gs:[{system}]",
        "mov rdx, [rdx + {closed}]",
        "cmp rdx, [rax + {polls} + {notification_cache_closed}]",
        "jne 9f",
        "mov edx, [rax + {polls} + {notification_cache_place}]",
        "add rdx, gs:[{notes}]",
        "mov eax, [rax + {polls} + {notification_cache_generation}]",
        "cmp eax, [rdx + {note_generation}]",
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
        user_stack = const percore::USER_STACK,
        number = const abi::Syscall::Poll as u32,
        refused = sym entry::poll,
    )
}

/// The entry of `signal`: handle in `rdi`, bits in `rsi`. Not while a dead life is being released,
/// as its threads may be waiting.
#[unsafe(naked)]
pub(super) extern "C" fn signal() {
    code!(
        note_origin!(),
        "mov rcx, gs:[{system}]",
        "cmp dword ptr [rcx + {releasing}], 0",
        "jne 9f",
        // The cached lookup of a handle that allows each of the bits, and the notification.
        "cmp rdi, [rax + {signals} + {notification_cache_handle}]",
        "jne 9f",
        "test [rax + {signals} + {notification_cache_never}], rsi",
        "jnz 9f",
        "mov r11d, [rax + {budget}]",
        "mov r11, [rcx + r11 + {closed}]",
        "cmp r11, [rax + {signals} + {notification_cache_closed}]",
        "jne 9f",
        "mov r11d, [rax + {signals} + {notification_cache_place}]",
        "add r11, gs:[{notes}]",
        "mov ecx, [rax + {signals} + {notification_cache_generation}]",
        "cmp ecx, [r11 + {note_generation}]",
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
        wake = sym wake,
        number = const abi::Syscall::Signal as u32,
        declined = sym declined,
        general = sym general,
    )
}

/// Sets the bits `rsi` of the notification in the slot `r11`, which is bound to the endpoint in the
/// slot `rcx`, and switches to the one thread that waits. If that is not possible, nothing changes
/// but the account, and the code continues at the address in `r14`. All registers must be saved,
/// and no dead life may be in release.
#[unsafe(naked)]
extern "C" fn wake() {
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
        handed_over = sym handed_over,
        resumed = sym resumed,
    )
}

/// The entry of `yield`, where at most one other thread is ready at the same level.
#[unsafe(naked)]
pub(super) extern "C" fn give_way() {
    code!(
        note_origin!(),
        save_all!(),
        // The running thread's task has processor time left.
        charge!(),
        "jle 9f",
        // No dead thread is ready.
        "cmp dword ptr [r15 + {releasing}], 0",
        "jne 9f",
        // It runs at its priority, and at most one thread of its level is ready.
        "movzx edx, byte ptr [r13 + {effective}]",
        "cmp edx, {returning}",
        "jae 9f",
        "lea rdx, [r15 + rdx * 4 + {ready}]",
        "cmp dword ptr [rdx], {nobody}",
        "je 2f",
        "movzx ebx, word ptr [rdx]",
        "cmp bx, [rdx + 2]",
        "jne 9f",
        "imul rbp, rbx, {slot}",
        "add rbp, gs:[{threads}]",
        awake!(),
        // The two threads change places.
        "mov ecx, [r13 + {alone}]",
        "mov [rdx], ecx",
        "mov word ptr [r13 + {state}], {is_ready}",
        "mov word ptr [rbp + {state}], {running}",
        "mov [r15 + {current}], bx",
        "inc qword ptr [r15 + {switches}]",
        "jmp {resumed}",
        "2:",
        "mov rbp, r13",
        "jmp {resumed}",
        "9:",
        "mov qword ptr [r13 + {rax}], {number}",
        "jmp {declined}";
        returning = const layout::RETURNING,
        resumed = sym resumed,
        number = const abi::Syscall::Yield as u32,
        declined = sym declined,
    )
}

/// Leaves the system call to the general path: all registers are in the frame of `r13`.
#[unsafe(naked)]
extern "C" fn declined() {
    code!(
        "lea rdi, [r13 - {size}]",
        settle!();
        handler = sym entry::on_syscall,
        leave = sym leave,
    )
}

/// Completes the switch to another thread, whose frame end is in `rbp` and whose message is in
/// `rdi rsi r12 r13 r14 r15 r8`, as after the system call.
#[unsafe(naked)]
pub(super) extern "C" fn handed_over() {
    code!(
        enter!(),
        "mov rcx, [rbp + {rip}]",
        "mov r11d, [rbp + {rflags}]",
        "mov rbx, [rbp + {rbx}]",
        "mov rsp, [rbp + {rsp}]",
        "mov rbp, [rbp + {rbp}]",
        "xor r10d, r10d",
        "xor r9d, r9d",
        "xor edx, edx",
        swap!(),
        // This completes what `clear_user_selectors` does; the rest is above.
        ring_3!("mov gs, eax\nsysretq"),
        enter_ports!(),
        "9:",
        "mov rdx, rbp",
        "jmp {extras_of_message}";
        extras_of_message = sym entry::extras_of_message,
    )
}

/// Resumes a thread whose frame end is in `rbp` and all of whose registers are in its frame.
#[unsafe(naked)]
pub(super) extern "C" fn resumed() {
    code!(
        enter!(),
        ".if {ring_0}",
        "swapgs",
        "mov gs, eax",
        "swapgs",
        ".endif",
        "lea rax, [rbp - {size}]",
        "jmp {leave}",
        enter_ports!(),
        "9:",
        "lea rdi, [rbp - {size}]",
        settle!();
        handler = sym entry::enter_current,
        leave = sym leave,
    )
}

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
pub(super) extern "C" fn timer() {
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
        general = sym stub::<TIMER>,
        base = const layout::CLOCK_BASE,
        mult = const layout::CLOCK_MULT,
        first = const layout::TIMERS_FIRST,
        look_at = const layout::LOOK_AT,
        interrupts = const layout::INTERRUPTS,
        end = const pic::END,
        command = const pic::COMMAND[0],
    )
}

/// The entry of an interrupt of a driver's line, by its vector.
#[unsafe(naked)]
pub(super) extern "C" fn line<const VECTOR: u8>() {
    naked_asm!("push 0", "push {vector}", "jmp {line_common}", vector = const VECTOR, line_common = sym line_common)
}

/// Masks and ends the interrupt, and counts it, as the general path does; it is not checked for
/// being spurious, as lines that may be spurious do not come here. The line stays masked until its
/// driver acknowledges the interrupt, which ends an interrupt storm; the line of a dead driver
/// stays masked.
#[unsafe(naked)]
extern "C" fn line_common() {
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
        "3:",
        // A line of the second controller: if all its lines are masked, the cascade line of the
        // first is masked, too.
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
        common = sym entry::common,
        base = const pic::BASE,
        pic_mask = sym pic::MASK,
        command = const pic::COMMAND[0],
        command2 = const pic::COMMAND[1],
        end = const pic::END,
        interrupts = const layout::INTERRUPTS,
        line_caches = const layout::LINE_CACHES,
        line_cache_bits = const layout::LINE_BITS,
        line_cache_place = const layout::LINE_PLACE,
        wake = sym wake,
        resumed = sym resumed,
        handler = sym entry::line_from_user,
        leave = sym leave,
    )
}
