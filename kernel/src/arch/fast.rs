//! What the assembly of the fast paths is written in: [`Core`] says where it finds its data and
//! where it goes on, [`General`] what it calls, and the macros below are the pieces that several of
//! its functions have. Where the parts of the kernel's state are, [`kernel_core::layout`] says.
//!
//! `message` has calls and their answers, `notify` polls and signals, `interrupt` lines and the
//! timer's tick, and `switch` has `yield`, and the ways by which a thread goes on. All do what
//! their twins in [`kernel_core::direct`] do, and leave everything else to Rust. All are generic
//! over who runs them: the kernel, and a host test of `kernel-core`, which has these five files
//! compiled into it and runs assembly and twins side by side.

use kernel_core::thread::TrapFrame;

/// The general path in Rust, as far as assembly of the fast paths calls it.
///
/// All are called in ring 0, on the core's own stack, with interrupts off and the flags DF and AC
/// clear. `rbp` is 0, where a backtrace ends. No lock is held, as the processor comes from ring 3.
/// `kernel` is the state, to which [`Core::STATE`] leads. They return the frame to leave with.
///
/// # Safety
/// What they return must be the frame of a thread for which the core is ready: its address space
/// and its ports are in use, and its frame end is where the processor saves registers. The state is
/// not locked then. The core leaves to ring 3 with it. [`Core::STATE`] leads to a state before the
/// first thread runs.
pub unsafe trait General: Sized {
    /// Any system call, of which nothing has been done. `frame` has all registers of the running
    /// thread.
    extern "C" fn on_syscall(frame: &TrapFrame) -> *const TrapFrame;

    /// The state's running thread is to go on, and needs more than the assembly prepares:
    /// floating-point registers, ports, or a step of its system call. `frame` has all its
    /// registers. The core is still as the thread left it that ran before.
    extern "C" fn enter_current(frame: &TrapFrame, kernel: &mut Self) -> *const TrapFrame;

    /// A line has interrupted ring 3: it has been masked, ended and counted, and its bits are to be
    /// set. `frame` has all registers of the running thread, and the line's vector.
    extern "C" fn line_from_user(frame: &TrapFrame, kernel: &mut Self) -> *const TrapFrame;
}

/// The core's record, which gs leads to, and where the pieces go on, by a jump.
///
/// # Safety
/// All functions are naked and take the registers as described. The places are those of eight bytes
/// each (`EXTRAS`: of one, `IOMAP` and `OWNER`: of two) in the record.
pub unsafe trait Core: General {
    /// Whether this is ring 0. Else the time is read at `USER_STACK` of the record, and who is handed the core goes on at [`Core::out`].
    const RING_0: bool;
    /// The running thread's frame end: TSS.RSP0.
    const FRAME_END: usize;
    /// Top of the stack on which Rust runs.
    const KERNEL_STACK: usize;
    /// The address of the state that [`General`] is called with.
    const STATE: usize;
    /// The address of the [`kernel_core::System`].
    const SYSTEM: usize;
    /// The frame end of the first slot of the threads.
    const THREADS: usize;
    /// How many slots there are.
    const SLOTS: usize;
    /// The address of the first slot of the endpoints.
    const ENDPOINTS: usize;
    /// The address of the first slot of the notifications.
    const NOTIFICATIONS: usize;
    /// What is prepared besides the address space.
    const EXTRAS: usize;
    /// How often the address space has changed.
    const SPACE_SWITCHES: usize;
    /// A word that is not used otherwise meanwhile.
    const USER_STACK: usize;
    /// Where the TSS says where its bitmap of ports begins.
    const IOMAP: usize;
    /// The row whose ports are clear in the bitmap.
    const OWNER: usize;

    /// Where the bitmap is in the TSS, and what says that there is none.
    const BITMAP: usize;
    /// See [`Core::BITMAP`].
    const NO_BITMAP: u16;
    /// The vector of line 0.
    const LINES: u8;
    /// The command ports of the two 8259s; the port behind each is that of its mask.
    const PIC: [u16; 2];
    /// What ends an interrupt there.
    const END: u8;

    /// Nothing has changed: a system call, its registers as after `syscall`, but that `swapgs` is
    /// done.
    extern "C" fn general();
    /// The same, of `call` or `reply_recv` that brings more than a label.
    extern "C" fn message();
    /// The same, of `poll`.
    extern "C" fn poll();
    /// `call` or `reply_recv`, of which nothing has been done but to charge the time: the number of
    /// the system call in `eax`, the running thread's frame end in `r10`, in whose frame `rip`,
    /// `rsp`, flags, `rbx` and `rbp` are. `rbx rbp rcx rdx r11` and the flags hold nothing. All
    /// others are as they were.
    extern "C" fn refused();
    /// Another thread runs, for which more is to be prepared: its frame end in `rdx`. Its message is in `rdi rsi r12 r13 r14 r15 r8`, as after the system
    /// call; `rax rbx rbp rcx r9 r10 r11` and the flags hold nothing.
    extern "C" fn extras();
    /// The same, of which `switch` has found that it does not prepare it.
    extern "C" fn extras_of_message();
    /// Another thread runs, or the same, and everything is prepared: the frame with all its
    /// registers in `rax`.
    extern "C" fn leave() -> !;
    /// Nothing has changed: a tick of the timer, as after the interrupt.
    extern "C" fn timer();
    /// Nothing has changed: an interrupt, as after it, but that 0 for an error code and the vector
    /// are pushed.
    extern "C" fn common();
    /// Where it is not ring 0: another thread runs, with its registers.
    extern "C" fn out();
}

/// Assembly in which everything has its place by name. Behind a semicolon come further operands.
macro_rules! code {
    ($($line:expr),+ $(,)?; $($operand:tt)*) => {
        naked_asm!(
            $($line,)+
            // All of them are used by some piece, and here by each.
            "# {r15}{r14}{r13}{r12}{r10}{r9}{r8}{rdi}{rsi}{rbp}{rbx}{rdx}{rcx}{rax}{vector}{syscall}{rip}{rflags}{rsp}{flags}{flags_set}{size}",
            "# {frame_end}{kernel_stack}{kernel}{system}{threads}{endpoints}{notes}{core_extras}{iomap}{owner}{bitmap}{no_bitmap}{special}{task}",
            "# {slot}{budget}{left}{closed}{charged_to}{effective}{levels}{ready}{current}{alone}{state}{running}{is_ready}{mask}{space}{extras}",
            "# {nobody}{queues}{bits}{note_generation}{word}{waiter}{bound}{releasing}{signals}{polls}",
            "# {notification_cache_handle}{notification_cache_closed}{notification_cache_place}{notification_cache_generation}{notification_cache_never}",
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

/// The kernel's gs base, or the task's again.
macro_rules! swap {
    () => {
        ".if {ring_0}
        swapgs
        .endif"
    };
}

/// On in ring 3 by this instruction, behind [`swap`].
macro_rules! ring_3 {
    ($by:literal) => {
        concat!(".if {ring_0}\n", $by, "\n.else\njmp {out}\n.endif")
    };
}

/// To a port.
macro_rules! out {
    ($port:literal) => {
        concat!(".if {ring_0}\nout ", $port, ", al\n.endif")
    };
}

/// Saves where the system call came from; `rax` is the thread's frame end then.
macro_rules! note_origin {
    () => {
        "mov rax, gs:[{frame_end}]
        mov [rax + {rip}], rcx
        mov [rax + {rflags}], r11"
    };
}

/// Saves all else, with the success of the system call: `r13` is the frame end then, `r15` the system's address, and all but `rcx r11` are free.
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

/// Charges the time to the running thread `r13`, as in `message`. The flags say what is left; `rax
/// rdx r9` are lost.
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

/// On to 9 unless something is left for the thread `rbp`; then its level is in `r8d`; `r9` is lost.
macro_rules! awake {
    () => {
        "mov r9d, [rbp + {budget}]
        cmp qword ptr [r15 + r9 + {left}], 0
        jle 9f
        movzx r8d, byte ptr [rbp + {effective}]"
    };
}

/// The core is the thread's `rbp` from here on: where its registers will be saved, address space, ports. Where that is not all, it goes on at
/// 9, and nothing has happened. `rbx rcx` are lost; `eax` is 0 then.
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

/// The part of `enter` that is seldom needed, behind all others: ports go with the bitmap where it is the task's already, and without it
/// where the task has none. All else is nothing for here.
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

/// On in Rust, with the frame in `rdi`: the kernel's stack, and flags of its own: an interrupt leaves AC and DF as the task had them, and SMAP
/// holds only without AC (Intel SDM vol. 3A, section 4.6).
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

pub(super) use {awake, charge, code, enter, enter_ports, note_origin, out, ring_3, save_all, settle, swap};
