//! The common parts of the fast paths' assembly: [`Core`] has the offsets of its data and the code
//! at which it continues, [`General`] has the Rust functions that it calls, and the macros are
//! pieces of code that several of its functions contain. [`kernel_core::layout`] has the offsets in
//! the kernel's state.
//!
//! The file `message` has calls and replies, `notify` has polls and signals, `interrupt` has the
//! interrupts of lines, and `switch` has `yield` and the ways in which a thread continues. All of
//! them do what the Rust functions in [`kernel_core::system::direct`] specify, and leave everything
//! else to Rust. All are generic over the environment in which they run: the kernel, or a host test
//! of `kernel-core`, into which these five files are also compiled (with the controllers' assembly,
//! see [`super::controller`]), and which compares the assembly with its specification.

use kernel_core::thread::TrapFrame;

/// The functions of the general path in Rust that the assembly of the fast paths calls.
///
/// All functions are called in ring 0, on the core's own stack, with interrupts off and the flags
/// DF and AC clear. `rbp` is 0, which ends a backtrace. No lock is held, as the processor comes
/// from ring 3. `kernel` is the state, whose address is at [`Core::STATE`]. The functions return
/// the frame with which the core returns to ring 3.
///
/// # Safety
/// The functions must return the frame of a thread for which the core is prepared: its address
/// space and its ports are in use, and the processor saves registers at its frame end. The state
/// must be unlocked then. The address at [`Core::STATE`] must be that of a state before the first
/// thread runs.
pub unsafe trait General: Sized {
    /// Performs any system call, of which nothing has been done yet. `frame` has all registers of
    /// the running thread.
    extern "C" fn on_syscall(frame: &TrapFrame) -> *const TrapFrame;

    /// Prepares the core for the state's running thread, which needs more than the assembly
    /// prepares: floating-point registers, ports, or a step of its system call. `frame` has all
    /// registers of that thread. The core is still prepared for the thread that ran before.
    extern "C" fn enter_current(frame: &TrapFrame, kernel: &mut Self) -> *const TrapFrame;

    /// Sets the bits of a line that has interrupted ring 3; the interrupt has been masked, ended
    /// and counted. `frame` has all registers of the running thread, and the line's vector.
    extern "C" fn line_from_user(frame: &TrapFrame, kernel: &mut Self) -> *const TrapFrame;
}

/// The core's record, to which gs points, and the code at which the pieces continue by a jump.
///
/// # Safety
/// All functions must be naked and take the registers as described. The constants of type `usize`,
/// except `BITMAP`, must be the offsets in the record of fields of eight bytes each (`EXTRAS`: of
/// one; `IOMAP` and `OWNER`: of two).
pub unsafe trait Core: General {
    /// Whether this is ring 0. If not, the time is read from `USER_STACK` of the record, and a
    /// thread that is switched to continues at [`Core::out`].
    const RING_0: bool;
    /// Offset of the running thread's frame end: TSS.RSP0.
    const FRAME_END: usize;
    /// Offset of the top of the stack on which Rust runs.
    const KERNEL_STACK: usize;
    /// Offset of the address of the state that the functions of [`General`] get.
    const STATE: usize;
    /// Offset of the address of the [`kernel_core::System`].
    const SYSTEM: usize;
    /// Offset of the address of the frame end of the first thread slot.
    const THREADS: usize;
    /// Offset of the number of thread slots.
    const SLOTS: usize;
    /// Offset of the address of the first endpoint slot.
    const ENDPOINTS: usize;
    /// Offset of the address of the first notification slot.
    const NOTIFICATIONS: usize;
    /// Offset of what the core is prepared for besides the address space.
    const EXTRAS: usize;
    /// Offset of the number of changes of the address space.
    const SPACE_SWITCHES: usize;
    /// Offset of a word that is not used otherwise meanwhile.
    const USER_STACK: usize;
    /// Offset of the field of the TSS with the offset of its port bitmap.
    const IOMAP: usize;
    /// Offset of the row whose ports are allowed in the bitmap.
    const OWNER: usize;

    /// The value of `IOMAP` if the bitmap is enabled: its offset in the TSS.
    const BITMAP: usize;
    /// The value of `IOMAP` if the bitmap is disabled.
    const NO_BITMAP: u16;

    /// Continues here if the assembly cannot do a system call: nothing has changed, and the
    /// registers are as after `syscall`, except that `swapgs` is done.
    extern "C" fn general();
    /// Continues here if `call` or `reply_recv` brings more than a label: nothing has changed, and
    /// the registers are as after `syscall`, except that `swapgs` is done.
    extern "C" fn message();
    /// Continues here if the assembly cannot do `poll`: nothing has changed, and the registers are
    /// as after `syscall`, except that `swapgs` is done.
    extern "C" fn poll();
    /// Continues here if the assembly cannot do `call` or `reply_recv`: nothing has changed but the
    /// account. The number of the system call is in `eax`, the running thread's frame end in `r10`,
    /// and that frame has `rip`, `rsp`, flags, `rbx` and `rbp`. `rbx rbp rcx rdx r11` and the flags
    /// hold nothing; all other registers are as they were.
    extern "C" fn refused();
    /// Continues here if another thread runs for which more must be prepared: its frame end is in
    /// `rdx`, its message in `rdi rsi r12 r13 r14 r15 r8` as after the system call;
    /// `rax rbx rbp rcx r9 r10 r11` and the flags hold nothing.
    extern "C" fn extras();
    /// Continues here if another thread runs for which more must be prepared than `switch` can:
    /// its frame end is in `rdx`, its message in `rdi rsi r12 r13 r14 r15 r8` as after the system
    /// call; `rax rbx rbp rcx r9 r10 r11` and the flags hold nothing.
    extern "C" fn extras_of_message();
    /// Returns to ring 3, to another thread or the same one, for which everything is prepared: the
    /// address of the frame with all its registers is in `rax`.
    extern "C" fn leave() -> !;
    /// Continues here if the assembly cannot handle an interrupt: nothing has changed, and
    /// registers and stack are as after the interrupt, except that 0 for an error code and the
    /// vector are pushed.
    extern "C" fn common();
    /// Continues here outside ring 0: another thread runs, with its registers.
    extern "C" fn out();
}

/// Assembly with names for all operands. Further operands follow after a semicolon.
macro_rules! code {
    ($($line:expr),+ $(,)?; $($operand:tt)*) => {
        naked_asm!(
            $($line,)+
            // Each piece uses some of the operands; these comments use all of them.
            "# {r15}{r14}{r13}{r12}{r10}{r9}{r8}{rdi}{rsi}{rbp}{rbx}{rdx}{rcx}{rax}{vector}{syscall}{rip}{rflags}{rsp}{flags}{flags_set}{size}",
            "# {frame_end}{kernel_stack}{kernel}{system}{threads}{endpoints}{notes}{core_extras}{iomap}{owner}{bitmap}{no_bitmap}{special}{task}",
            "# {slot}{budget}{left}{closed}{charged_to}{deadline}{effective}{levels}{ready}{current}{alone}{state}{running}{is_ready}{mask}{space}{extras}",
            "# {nobody}{queues}{bits}{note_name}{word}{waiter}{bound}{releasing}{signals}{polls}",
            "# {lookup_handle}{lookup_closed}{lookup_place}{lookup_name}{notification_cache_never}",
            "# {ring_0}{now}{out}{switches}{space_switches}",
            ring_0 = const C::RING_0 as u8,
            now = const C::USER_STACK,
            out = sym C::out,
            switches = const layout::SWITCHES,
            space_switches = const C::SPACE_SWITCHES,
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
            flags = const TrapFrame::USER_FLAGS,
            flags_set = const TrapFrame::USER_FLAGS_SET,
            size = const size_of::<TrapFrame>(),
            frame_end = const C::FRAME_END,
            kernel_stack = const C::KERNEL_STACK,
            kernel = const C::STATE,
            system = const C::SYSTEM,
            threads = const C::THREADS,
            endpoints = const C::ENDPOINTS,
            notes = const C::NOTIFICATIONS,
            core_extras = const C::EXTRAS,
            iomap = const C::IOMAP,
            owner = const C::OWNER,
            bitmap = const C::BITMAP,
            no_bitmap = const C::NO_BITMAP,
            special = const FLOAT | STEP | WHOLE,
            task = const layout::TASK,
            slot = const layout::THREAD_SLOT,
            budget = const layout::BUDGET,
            left = const layout::LEFT,
            closed = const layout::CLOSED,
            charged_to = const layout::CHARGED_TO,
            deadline = const layout::DEADLINE,
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
            note_name = const layout::NOTE_NAME,
            word = const layout::NOTE_WORD,
            waiter = const layout::NOTE_WAITER,
            bound = const layout::NOTE_BOUND,
            releasing = const layout::RELEASING,
            signals = const layout::SIGNALS,
            polls = const layout::POLLS,
            lookup_handle = const layout::LOOKUP_HANDLE,
            lookup_closed = const layout::LOOKUP_CLOSED,
            lookup_place = const layout::LOOKUP_PLACE,
            lookup_name = const layout::LOOKUP_NAME,
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

/// Charges the time to the running thread `r13`, as `message` does. The flags tell what is left;
/// `rax rdx r9` are overwritten.
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

/// Jumps to 9 unless the task of thread `rbp` has processor time left until the timer interrupts;
/// otherwise puts the thread's level in `r8d`. `r9` is overwritten.
macro_rules! awake {
    () => {
        "mov r9d, [rbp + {budget}]
        mov r8, [r15 + {deadline}]
        sub r8, [r15 + {charged_to}]
        cmp [r15 + r9 + {left}], r8
        jl 9f
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

pub(super) use {awake, charge, code, enter, enter_ports, note_origin, ring_3, save_all, settle, swap};
