//! The system calls: one table, from which numbers, names, decoding and documentation come.
//!
//! The number goes in `rax`, arguments in `rdi rsi rdx r10 r8 r9`; the [`crate::Status`] comes
//! back in `rax`, values in the registers named below. `rcx` and `r11` are lost to the `syscall` instruction (Intel SDM
//! vol. 2B, SYSCALL); every other register keeps its value unless it is named as a result.
//!
//! A **message** travels as: `rsi` header ([`crate::message::Header`]), `r12 r13 r14 r15` data words, `r10` the transferred handle
//! ([`crate::message::pack_transfer`]: the sender's with the rights to pass on, the receiver's with those that it has). Whom it goes to is in
//! `rdi`: an endpoint, or the reply token of `reply`. Beside it `call` takes the address of its leases in `r8`, `reply_recv` a token in `r8` and a
//! mask in `r9`. The words are in registers that functions keep (System V ABI, AMD64, section 3.2.1): so the kernel's functions keep them
//! without knowing of them. `call`, `recv` and `reply_recv` lose `rdi rdx r8 r9 r10` where these are no result: what is in there then
//! is 0, or what was there before.
//!
//! **A handle travels** only to who takes one of its kind: a server says so of its endpoint ([`Syscall::EndpointTakes`]), a caller in the
//! header of its call, for the answer. The header names the kind, and the kernel sees that it is true.

macro_rules! syscalls {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal, $text:literal;)*) => {
        /// A system call.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u64)]
        pub enum Syscall { $($(#[doc = $doc])* $name = $number,)* }

        impl Syscall {
            /// Every call with its name and its documentation, in the order of the numbers.
            pub const TABLE: &'static [(Syscall, &'static str, &'static str)] =
                &[$((Syscall::$name, $text, concat!($($doc, "\n"),*)),)*];

            /// The call of this number.
            #[inline]
            pub const fn from_u64(number: u64) -> Option<Syscall> {
                match number { $($number => Some(Syscall::$name),)* _ => None }
            }

            /// Its name, as traces and documents spell it.
            pub const fn name(self) -> &'static str {
                match self { $(Syscall::$name => $text,)* }
            }
        }
    };
}

syscalls! {
    /// Lets the next thread of the same priority run. No arguments, no errors.
    Yield = 0, "yield";
    /// Ends the task, all its threads included. `rdi` exit code. Does not return.
    Exit = 1, "exit";
    /// Ends the task as panicked. `rdi` address and `rsi` length of the message (cut to [`crate::error::MESSAGE_LEN`]). Does not return;
    /// a bad address only loses the message.
    Panic = 2, "panic";
    /// Starts a thread in this task. `rdi` entry address, `rsi` stack pointer, `rdx` argument (in its `rdi`), `r10` priority.
    /// Returns `rdx` a handle (MANAGE). Errors: BadAddress, Ceiling, QuotaObjects, QuotaHandles.
    ThreadCreate = 3, "thread_create";
    /// Ends the calling thread; the task ends with its last thread, code 0. Does not return.
    ThreadExit = 4, "thread_exit";
    /// Sets a thread's priority. `rdi` thread handle or `u64::MAX` for the caller, `rsi` priority 0..=31, never above the task's ceiling.
    /// Errors: BadHandle, WrongKind, Ceiling, BadArgument.
    ThreadPriority = 5, "thread_priority";

    /// Calls an endpoint and waits for the reply. `rdi` endpoint (CALL), message; `r8` address of the leases.
    /// Returns the reply's message; its header's label is the outcome, as client and server agree.
    /// A handle that comes with the reply arrives where the call's header wants one of its kind; else the reply arrives without it, with
    /// HANDLE_REFUSED in its header, and costs the caller nothing.
    /// Errors: BadHandle, WrongKind, NoRights (each also of the transferred handle), BadArgument (header), BadAddress (leases), CallOrder,
    /// HandleRefused (the server does not take this kind; nothing has happened), PeerDied (received, then the server died: `r12`
    /// holds the generation that died), PeerGone.
    Call = 8, "call";
    /// Sends a message without waiting: it arrives only if a receiver waits now. `rdi` endpoint (CALL), message without leases.
    /// Errors: as Call, and WouldBlock where nobody waits. Its header wants nothing: there is no answer.
    Send = 9, "send";
    /// Waits for a call, a sent message or a notification. `rdi` endpoint (RECV), `rsi` which bits of the bound notification to take.
    /// Returns `rdi` the sender ([`crate::message::Sender`]), the message, `r8` the reply token (0 for a sent message). A notification
    /// arrives as header NOTIFICATION with the bits in `r12`, and goes before messages. Who waits for bits gets messages before who does not.
    /// Errors: BadHandle, WrongKind, NoRights, Busy (with a mask, where [`crate::message::LISTENERS`] threads wait there for bits already).
    Recv = 10, "recv";
    /// Answers a caller. `rdi` reply token, message without leases. A handle that the caller does not want, or has no room for, does not
    /// arrive: that is no error here, the sender keeps its own in any case. What the caller wants is in the header of its call.
    /// Errors: StaleReply, BadArgument, and of the transferred handle BadHandle, WrongKind, NoRights.
    Reply = 11, "reply";
    /// Reply, then Recv, in one step. `rdi` endpoint (RECV), `r8` reply token (0: none), message (the reply), `r9` notification
    /// bits to take. A reply that comes too late is dropped silently here. Returns as Recv. Errors: as Recv and Reply but StaleReply.
    ReplyRecv = 12, "reply_recv";
    /// Copies from a caller's lease. `rdi` reply token, `rsi` lease number, `rdx` offset, `r10` destination, `r8` length (at most
    /// [`crate::message::MAX_COPY`] are copied). Returns `rdx` bytes copied. Errors: StaleReply, LeaseBounds, LeaseFault, BadAddress.
    LeaseRead = 13, "lease_read";
    /// Copies to a caller's lease. `r10` is the source; the rest as LeaseRead.
    LeaseWrite = 14, "lease_write";
    /// Asks about a caller's lease. `rdi` reply token, `rsi` lease number. Returns `rdx` length, `rsi` access. Errors: StaleReply, LeaseBounds.
    LeaseInfo = 15, "lease_info";

    /// Makes an endpoint. Returns `rdx` a handle (CALL, RECV, GRANT). It dies with the task. Errors: QuotaObjects, QuotaHandles.
    EndpointCreate = 16, "endpoint_create";
    /// Binds a notification to an endpoint, so that Recv returns both. `rdi` endpoint (RECV), `rsi` notification (WAIT).
    /// Errors: BadHandle, WrongKind, NoRights, Busy (someone waits on either).
    EndpointBind = 17, "endpoint_bind";
    /// Makes a notification. Returns `rdx` a handle (SIGNAL, WAIT, GRANT). It dies with the task. Errors: QuotaObjects, QuotaHandles.
    NotificationCreate = 18, "notification_create";
    /// Sets bits. `rdi` notification (SIGNAL), `rsi` bits. Errors: BadHandle, WrongKind, NoRights (also where one of the bits cannot be set by
    /// this handle: then none is).
    Signal = 19, "signal";
    /// Waits until one of the bits is set, and takes those that are. `rdi` notification (WAIT), `rsi` mask (not 0). Returns `rdx` the bits.
    /// Errors: BadHandle, WrongKind, NoRights, BadArgument, Busy (another thread waits on it).
    Wait = 20, "wait";
    /// Takes the set bits of a notification without waiting. `rdi` notification (WAIT), `rsi` mask (not 0). Returns `rdx` the bits, 0 where none is set. Errors: BadHandle, WrongKind, NoRights.
    Poll = 21, "poll";

    /// Says which handles requests may bring to an endpoint. `rdi` endpoint (RECV), `rsi` a set of [`crate::message::Kinds`], none at first.
    /// A call or sent message that brings another is refused to its sender; one that was queued before the endpoint was first
    /// received at arrives without its handle (HANDLE_REFUSED). A task's own endpoint keeps its set over its lives.
    /// Errors: BadHandle, WrongKind, NoRights, BadArgument (a kind that never travels).
    EndpointTakes = 22, "endpoint_takes";

    /// Makes a memory object of zeroed frames. `rdi` pages (1..=256), `rsi` 1 for physically contiguous. Returns `rdx` a handle
    /// (READ, WRITE, GRANT). Every task that holds a handle to it is charged its frames. Errors: BadArgument, QuotaFrames, QuotaHandles, OutOfMemory.
    MemoryCreate = 24, "memory_create";
    /// Maps a memory object, whole, never executable. `rdi` handle, `rsi` page-aligned address or 0 for the kernel's choice, `rdx` 1 for writable.
    /// Returns `rdx` the address. Errors: BadHandle, WrongKind, NoRights, BadAddress, QuotaFrames (page tables), QuotaObjects, OutOfMemory.
    MemoryMap = 25, "memory_map";
    /// Takes a mapping away. `rdi` its address. Errors: BadAddress, Busy (another thread maps it, or takes it away).
    MemoryUnmap = 26, "memory_unmap";
    /// Asks about a memory object. `rdi` handle. Returns `rdx` pages, `rsi` physical address where it is contiguous, else `u64::MAX`.
    /// Errors: BadHandle, WrongKind.
    MemoryInfo = 27, "memory_info";

    /// Lets an interrupt line fire again. `rdi` handle (MANAGE). Errors: BadHandle, WrongKind.
    IrqAck = 28, "irq_ack";
    /// Makes a timer. `rdi` notification (SIGNAL), `rsi` bit number 0 to 59. Returns `rdx` a handle (MANAGE). Errors: BadHandle, WrongKind,
    /// NoRights (also where the bit cannot be set by this handle), BadArgument, QuotaObjects, QuotaHandles.
    TimerCreate = 29, "timer_create";
    /// Sets a timer. `rdi` handle, `rsi` deadline in nanoseconds since boot; in the past: fires at the next tick. An armed timer is moved.
    /// Errors: BadHandle, WrongKind.
    TimerArm = 30, "timer_arm";
    /// Stops a timer; a bit it has set stays. `rdi` handle. Errors: BadHandle, WrongKind.
    TimerDisarm = 31, "timer_disarm";

    /// Gives a handle up; an object without handles is freed. `rdi` handle. Its number is used again when its slot has been used as many
    /// times as 32 bits hold beside the slot's own number: 2^26 times in a table of 64 handles, 2^18 in one of 16,384. Of the free slots the
    /// one that has been free longest is used next. Errors: BadHandle, Busy (a mapped memory object).
    HandleClose = 32, "handle_close";
    /// Makes a second handle with the same or fewer rights. `rdi` handle (GRANT), `rsi` rights, `rdx` of an endpoint the copy's badge (only
    /// where the handle has badge 0), of a notification the bits that can be set by the copy: those of them that can be set by the
    /// handle. 0 leaves badge or bits as they are. By no copy, and by nothing that travels, can bits of a task's own notification be set but
    /// [`crate::message::bits::FREE_MASK`]. Returns `rdx`. Errors: BadHandle, NoRights, BadArgument, QuotaHandles, QuotaFrames.
    HandleDup = 33, "handle_dup";

    /// Appends text to the task's log ring; the oldest text makes room. `rdi` address, `rsi` length (at most 1024 are taken).
    /// Returns `rdx` bytes taken. Who may read logs is told by [`crate::message::bits::LOG`], once until it reads again; of no text, nobody is.
    /// Errors: BadAddress, QuotaLog (nothing is taken: the task has used up [`crate::task::LOG_BURST`], and is
    /// heard again when [`crate::task::LOG_AGAIN`] bytes of it are back, [`crate::task::LOG_PER_MS`] in each millisecond; less text than
    /// [`crate::task::LOG_LEAST`] bytes counts as so many).
    LogWrite = 34, "log_write";
    /// Reads a log ring from a position on. `rdi` system handle (LOGS), `rsi` task index or [`KERNEL_LOG`], `rdx` position (bytes ever
    /// written before it), `r10` buffer, `r8` length. Returns `rdx` bytes, `rsi` the position of the first of them: later than asked
    /// for where older text is lost. Errors: BadHandle, WrongKind, NoRights, BadArgument, BadAddress.
    LogRead = 35, "log_read";

    /// Starts a task of the table. `rdi` system handle (CONTROL), `rsi` task index, `rdx` address and `r10` length (at most
    /// [`crate::info::ARG_LEN`]) of its argument. Returns `rdx` its TaskId. Where quotas or memory end half-way, a dead life is left, to be reaped.
    /// Errors: NoRights, NoSuchTask (or another thread has ended it meanwhile), AlreadyRunning, NotReaped, BadImage (`rdx` the loader's reason),
    /// Busy (it would have a line of another task's, or a range that reaches RAM on this machine),
    /// NoMoreLives (it has had [`crate::TaskId::LAST`] lives: the next would have the number of an earlier one),
    /// QuotaFrames, QuotaHandles, QuotaObjects, OutOfMemory, BadAddress, BadArgument.
    TaskSpawn = 40, "task_spawn";
    /// Ends a task. `rdi` system handle (CONTROL), `rsi` TaskId, `rdx` [`crate::error::DeathKind`] to record (Killed or Hung).
    /// Errors: NoRights, NoSuchTask, BadArgument.
    TaskKill = 41, "task_kill";
    /// Goes on with the release of what a dead task held: its threads, those who wait for its answer (they get PeerDied), mappings, handles, what it
    /// made; then frames. `rdi` system handle (CONTROL), `rsi` task index. Returns `rdx` how much is left: again until 0. An ordinary task is released by its
    /// death but for its frames. Errors: NoRights, NoSuchTask (not dead).
    TaskReap = 42, "task_reap";
    /// Says whether a task will have a next life. `rdi` system handle (CONTROL), `rsi` task index, `rdx` 1: callers may wait for it,
    /// 0: callers get PeerGone, those that wait now included. Errors: NoRights, NoSuchTask.
    TaskSetRestart = 43, "task_set_restart";
    /// Sets bits in a task's notification. `rdi` system handle (CONTROL), `rsi` task index, `rdx` bits. Errors: NoRights, NoSuchTask.
    TaskSignal = 44, "task_signal";
    /// Reads a task's state. `rdi` system handle (INSPECT), `rsi` task index, `rdx` address of a [`crate::task::TaskStatus`].
    /// Errors: NoRights, NoSuchTask, BadAddress.
    TaskStatus = 45, "task_status";
    /// Reads a dead task's record. `rdi` system handle (INSPECT), `rsi` task index, `rdx` address of a [`crate::error::FaultRecord`].
    /// Errors: NoRights, NoSuchTask, WouldBlock (no record), BadAddress.
    TaskFault = 46, "task_fault";
    /// Reads the machine's counters. `rdi` system handle (INSPECT), `rsi` address of a [`crate::task::SystemInfo`]. Errors: NoRights, BadAddress.
    SystemInfo = 47, "system_info";

    /// Reads the memory of a task that the caller may debug ([`crate::manifest::TaskRecord::may_debug`]). `rdi` its TaskId, `rsi` its address,
    /// `rdx` destination, `r10` length (at most [`crate::message::MAX_DEBUG_COPY`] are copied). Returns `rdx` bytes copied.
    /// Errors: NoRights, NoSuchTask, BadAddress (either side; memory of a device cannot be reached).
    DebugRead = 56, "debug_read";
    /// Writes the memory of a task that the caller may debug: what is the task's own, also where the task itself may only read or execute
    /// it, and of mapped memory objects those that the task may write. `rdx` is the source; the rest, and the errors, as DebugRead.
    DebugWrite = 57, "debug_write";
    /// Reads the registers of the first thread of a task that the caller may debug. `rdi` its TaskId, `rsi` address of a
    /// [`crate::task::Registers`]. Errors: NoRights, NoSuchTask, BadAddress.
    DebugRegisters = 58, "debug_registers";
    /// Sets them. They hold when the thread goes on; a call in which it waits still ends with its own results, and keeps its header
    /// (`rsi`) and the handle that it brings (`r10`). Flags are sanitised.
    /// `rdi` TaskId, `rsi` address of a [`crate::task::Registers`]. Errors: NoRights, NoSuchTask, BadAddress (also for an `rip` or
    /// `rsp` that no task may have).
    DebugSetRegisters = 59, "debug_set_registers";
    /// Meddles with an interrupt line of a task that the caller may debug. `rdi` its TaskId, `rsi` the line's notification bit (0 to 31),
    /// `rdx` [`INTERRUPT_AGAIN`]: set the bit once more; [`INTERRUPT_DROP`]: take the bit away if it is set, else lose the
    /// next interrupt of the line. Errors: NoRights, NoSuchTask, BadArgument (the task has no such line, or no such `rdx`).
    DebugInterrupt = 60, "debug_interrupt";
    /// Accesses a port of a task that the caller may debug. `rdi` its TaskId, `rsi` port, `rdx` bytes (1, 2 or 4), to which
    /// [`PORT_WRITE`] is added to write, `r10` value to write. Returns `rdx` the value read. Errors: NoRights, NoSuchTask, BadArgument (`rdx`, or
    /// ports that are not the task's).
    DebugPort = 61, "debug_port";
}

/// Have a task's interrupt come twice, for [`Syscall::DebugInterrupt`].
pub const INTERRUPT_AGAIN: u64 = 1;
/// Have a task's interrupt be lost, for [`Syscall::DebugInterrupt`].
pub const INTERRUPT_DROP: u64 = 2;

/// Added to the width of an access that writes, for [`Syscall::DebugPort`].
pub const PORT_WRITE: u64 = 1 << 8;

/// The log that is the kernel's own, for [`Syscall::LogRead`].
pub const KERNEL_LOG: u64 = u64::MAX;

/// Handle argument that means the calling thread, for [`Syscall::ThreadPriority`].
pub const THIS_THREAD: u64 = u64::MAX;

/// Beyond the table, known only to a kernel built with the feature `verify`, and only for the task with the control right: has the kernel check
/// its own state. It panics where that is broken.
pub const VERIFY_CHECK: u64 = 1 << 32;

/// Beyond the table, known only to a kernel built with the feature `latency`, and only for the task with the control right. `rdi` a cause
/// below [`LATENCY_CAUSES`]: a system call's number, [`LATENCY_OTHER`] for all others, or [`LATENCY_VECTORS`] plus the vector of an exception or
/// interrupt. Returns `rdx` the longest stretch with interrupts off that began so since it was last asked for, in instructions, and `rsi` the
/// most port accesses of one.
pub const LATENCY_READ: u64 = VERIFY_CHECK + 2;
/// For [`LATENCY_READ`]: system calls of no known number.
pub const LATENCY_OTHER: u64 = 64;
/// For [`LATENCY_READ`]: the first vector.
pub const LATENCY_VECTORS: u64 = LATENCY_OTHER + 1;
/// For [`LATENCY_READ`]: how many causes there are.
pub const LATENCY_CAUSES: u64 = LATENCY_VECTORS + 256;

/// As [`VERIFY_CHECK`]: returns `rdx` how many system calls were made by the general path, `rsi` a sum over their results.
pub const VERIFY_TALLY: u64 = VERIFY_CHECK + 1;
