//! The system calls: one table with their numbers, names and documentation.
//!
//! The number is in `rax`, arguments are in `rdi rsi rdx r10 r8 r9`. The [`crate::Status`] is
//! returned in `rax`, values in the registers named below. The `syscall` instruction overwrites
//! `rcx` and `r11` (Intel SDM vol. 2B, SYSCALL); every other register keeps its value unless it is
//! named as a result.
//!
//! A **message** is passed in registers: `rsi` header ([`crate::message::Header`]),
//! `r12 r13 r14 r15` data words, `r10` the handle that is sent ([`crate::message::pack_transfer`]:
//! from the sender with the rights to pass on, to the receiver with the rights that the new handle
//! has). The destination is in `rdi`: an endpoint, or for `reply` the reply token. In addition,
//! `call` takes the address of its leases in `r8`, and `reply_recv` a token in `r8` and a mask in
//! `r9`. The words are in callee-saved registers (System V ABI, AMD64, section 3.2.1), so the
//! kernel's functions preserve them without handling them. `call`, `recv` and `reply_recv`
//! overwrite `rdi rdx r8 r9 r10`, even where these are no results: each then holds 0, or its old
//! value.
//!
//! A **handle is received** only by a task that takes handles of its kind: a server sets the kinds
//! for its endpoint ([`Syscall::EndpointTakes`]), a client sets one in the header of its call, for
//! the reply. The header of a message names the kind of the handle that it brings, and the kernel
//! checks that it is true.

macro_rules! syscalls {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal, $text:literal;)*) => {
        /// A system call.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u64)]
        pub enum Syscall { $($(#[doc = $doc])* $name = $number,)* }

        impl Syscall {
            /// Every system call with its name and its documentation, in the order of the numbers.
            pub const TABLE: &'static [(Syscall, &'static str, &'static str)] =
                &[$((Syscall::$name, $text, concat!($($doc, "\n"),*)),)*];

            /// The system call with this number.
            #[inline]
            pub const fn from_u64(number: u64) -> Option<Syscall> {
                match number { $($number => Some(Syscall::$name),)* _ => None }
            }

            /// The name of the system call, as traces and documents use it.
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
    /// Ends the task as panicked. `rdi` address and `rsi` length of the message (cut to
    /// [`crate::error::MESSAGE_LEN`]). Does not return. If the address is bad, the message is
    /// omitted.
    Panic = 2, "panic";
    /// Starts a thread in this task. `rdi` entry address, `rsi` stack pointer, `rdx` argument
    /// (passed to the thread in `rdi`), `r10` priority. Returns `rdx` a handle (MANAGE). Errors:
    /// BadAddress, Ceiling, QuotaObjects, QuotaHandles.
    ThreadCreate = 3, "thread_create";
    /// Ends the calling thread. The task ends with its last thread, with exit code 0. Does not
    /// return.
    ThreadExit = 4, "thread_exit";
    /// Sets a thread's priority. `rdi` thread handle or `u64::MAX` for the caller, `rsi` priority
    /// 0..=31, not more important than the task's own (its ceiling). Errors: BadHandle, WrongKind,
    /// Ceiling, BadArgument.
    ThreadPriority = 5, "thread_priority";

    /// Calls an endpoint and waits for the reply. `rdi` endpoint (CALL), message; `r8` address of
    /// the leases. Returns the reply's message; the label in its header is the outcome, as client
    /// and server agree. A handle that the reply brings is received if the header of the call wants
    /// one of its kind. Otherwise the reply is received without it, with HANDLE_REFUSED in its
    /// header. Errors: BadHandle, WrongKind, NoRights (these three also for the handle that is
    /// sent), BadArgument (header), BadAddress (leases), CallOrder, HandleRefused (the server does
    /// not take this kind, and nothing is sent), PeerDied (the server died after it had received
    /// the call: `r12` is the generation that died), PeerGone.
    Call = 8, "call";
    /// Sends a message without waiting: it is delivered only if a receiver waits now. `rdi`
    /// endpoint (CALL), message without leases, whose header wants no handle, as there is no reply.
    /// Errors: BadHandle, WrongKind, NoRights (these three also for the handle that is sent),
    /// BadArgument (header), HandleRefused, PeerGone, WouldBlock (no receiver waits). Priorities
    /// do not matter, as they do for `call`, because the sender waits for nobody.
    Send = 9, "send";
    /// Waits for a call, a sent message or a notification. `rdi` endpoint (RECV), `rsi` which bits
    /// of the bound notification to take. Returns `rdi` the sender ([`crate::message::Sender`]),
    /// the message, `r8` the reply token (0 for a sent message). A notification is returned as
    /// header NOTIFICATION with the bits in `r12`, and takes precedence over messages. Threads that
    /// wait for bits get messages before threads that do not. Errors: BadHandle, WrongKind,
    /// NoRights, Busy (with a mask, if [`crate::message::LISTENERS`] threads already wait for bits
    /// there).
    Recv = 10, "recv";
    /// Answers a caller. `rdi` reply token, message without leases. A handle that the caller does
    /// not want or has no room for is not received, which is no error here; the sender keeps its
    /// own in any case. The header of the call says what the caller wants. Errors: StaleReply,
    /// BadArgument, and for the handle that is sent BadHandle, WrongKind, NoRights.
    Reply = 11, "reply";
    /// Answers a caller like Reply, then waits like Recv, in one step. `rdi` endpoint (RECV), `r8`
    /// reply token (0: none), message (the reply), `r9` notification bits to take. A reply that is
    /// too late is dropped without an error. Returns what Recv returns. Errors: BadHandle,
    /// WrongKind, NoRights, BadArgument, Busy.
    ReplyRecv = 12, "reply_recv";
    /// Copies from a caller's lease. `rdi` reply token, `rsi` lease number, `rdx` offset, `r10`
    /// destination, `r8` length (at most [`crate::message::MAX_COPY`] are copied). Returns `rdx`
    /// bytes copied. Errors: StaleReply, LeaseBounds, LeaseFault, BadAddress.
    LeaseRead = 13, "lease_read";
    /// Copies to a caller's lease. `rdi` reply token, `rsi` lease number, `rdx` offset, `r10`
    /// source, `r8` length (at most [`crate::message::MAX_COPY`] are copied). Returns `rdx` bytes
    /// copied. Errors: StaleReply, LeaseBounds, LeaseFault, BadAddress.
    LeaseWrite = 14, "lease_write";
    /// Describes a caller's lease. `rdi` reply token, `rsi` lease number. Returns `rdx` length,
    /// `rsi` access. Errors: StaleReply, LeaseBounds.
    LeaseInfo = 15, "lease_info";

    /// Makes an endpoint. Returns `rdx` a handle (CALL, RECV, GRANT). It ends with the task.
    /// Errors: QuotaObjects, QuotaHandles.
    EndpointCreate = 16, "endpoint_create";
    /// Binds a notification to an endpoint, so that Recv returns its bits, too. `rdi` endpoint
    /// (RECV), `rsi` notification (WAIT). Errors: BadHandle, WrongKind, NoRights (also if the task
    /// has not made both), Busy (a thread waits on one of them, the notification is bound, or one
    /// of them is permanent).
    EndpointBind = 17, "endpoint_bind";
    /// Makes a notification. Returns `rdx` a handle (SIGNAL, WAIT, GRANT). It ends with the task.
    /// Errors: QuotaObjects, QuotaHandles.
    NotificationCreate = 18, "notification_create";
    /// Sets bits of a notification. `rdi` notification (SIGNAL), `rsi` bits. Errors: BadHandle,
    /// WrongKind, NoRights (also if the handle does not allow one of the bits: then none is set).
    Signal = 19, "signal";
    /// Waits until one of the bits is set, and takes those that are set. `rdi` notification (WAIT),
    /// `rsi` mask (not 0). Returns `rdx` the bits. Errors: BadHandle, WrongKind, NoRights,
    /// BadArgument, Busy (another thread waits on it).
    Wait = 20, "wait";
    /// Takes the bits that are set without waiting. `rdi` notification (WAIT), `rsi` mask. Returns
    /// `rdx` the bits, 0 if none is set. Errors: BadHandle, WrongKind, NoRights.
    Poll = 21, "poll";

    /// Sets which kinds of handles requests may bring to an endpoint; none at first. `rdi` endpoint
    /// (RECV), `rsi` a set of [`crate::message::Kinds`]. A call or sent message that brings another
    /// kind is refused to its sender. A call that was queued before the endpoint was first used for
    /// receiving is received without its handle (HANDLE_REFUSED). A permanent endpoint keeps its
    /// set over all lives of the task. Errors: BadHandle, WrongKind, NoRights, BadArgument (a kind
    /// that cannot be sent).
    EndpointTakes = 22, "endpoint_takes";

    /// Makes a memory object of zeroed frames. `rdi` pages (1..=256), `rsi` 1 for physically
    /// contiguous. Returns `rdx` a handle (READ, WRITE, GRANT). Every handle to it is charged its
    /// frames, to the task that holds the handle. Errors: BadArgument, QuotaFrames, QuotaHandles,
    /// OutOfMemory.
    MemoryCreate = 24, "memory_create";
    /// Maps a whole memory object, never executable. `rdi` handle, `rsi` page-aligned address or 0
    /// to let the kernel choose, `rdx` 1 for writable. Returns `rdx` the address. Errors:
    /// BadHandle, WrongKind, NoRights, BadAddress, QuotaFrames (page tables), QuotaObjects,
    /// OutOfMemory.
    MemoryMap = 25, "memory_map";
    /// Removes a mapping. `rdi` its address. Errors: BadAddress, Busy (another thread maps or
    /// unmaps it).
    MemoryUnmap = 26, "memory_unmap";
    /// Describes a memory object. `rdi` handle. Returns `rdx` pages, `rsi` the physical address if
    /// it was made contiguous or is a range, else `u64::MAX`. Errors: BadHandle, WrongKind.
    MemoryInfo = 27, "memory_info";

    /// Acknowledges an interrupt: unmasks its line. `rdi` handle (MANAGE). Errors: BadHandle,
    /// WrongKind.
    IrqAck = 28, "irq_ack";
    /// Makes a timer. `rdi` notification (SIGNAL), `rsi` bit number 0 to 59. Returns `rdx` a handle
    /// (MANAGE). Errors: BadHandle, WrongKind, NoRights (also if the handle does not allow the
    /// bit), BadArgument, QuotaObjects, QuotaHandles.
    TimerCreate = 29, "timer_create";
    /// Arms a timer, or changes the deadline of an armed one. `rdi` handle, `rsi` deadline in
    /// nanoseconds since boot; if it has passed, the timer expires at the next tick. Errors:
    /// BadHandle, WrongKind.
    TimerArm = 30, "timer_arm";
    /// Disarms a timer; a bit that it has set stays set. `rdi` handle. Errors: BadHandle,
    /// WrongKind.
    TimerDisarm = 31, "timer_disarm";

    /// Closes a handle; an object without handles is freed. `rdi` handle. The number of the handle
    /// recurs only after its slot has been used as often as the bits of the number beside the slot
    /// can count: 2^26 times in a table of 64 handles, 2^18 in one of 16,384. The slot that has
    /// been free longest is used next. Errors: BadHandle, Busy (a mapped memory object).
    HandleClose = 32, "handle_close";
    /// Duplicates a handle with the same or fewer rights. `rdi` handle (GRANT), `rsi` rights, `rdx`
    /// for an endpoint the copy's badge (only if the handle has badge 0), for a notification the
    /// bits that the copy allows, of those that the handle allows; 0 keeps badge or bits. No copy,
    /// and no handle that is sent, allows bits of a permanent notification other than
    /// [`crate::message::bits::FREE_MASK`]. A copy is valid as long as the object exists: what a
    /// life made ends with it, but a permanent endpoint or notification is also that of the next
    /// life, and so are badges and bits of copies that were given away. Returns `rdx` the copy.
    /// Errors: BadHandle, NoRights, BadArgument, QuotaHandles, QuotaFrames.
    HandleDup = 33, "handle_dup";

    /// Appends text to the task's log ring, overwriting the oldest. `rdi` address, `rsi` length (at
    /// most 1024 bytes are taken). Returns `rdx` bytes taken. Tasks that may read logs are
    /// signalled by [`crate::message::bits::LOG`], once until they read again; nobody is signalled
    /// for an empty text. Errors: BadAddress, QuotaLog (the allowance of [`crate::task::LOG_BURST`]
    /// bytes is used up, and nothing is taken: the task may write again when
    /// [`crate::task::LOG_AGAIN`] bytes are restored, at [`crate::task::LOG_PER_MS`] per
    /// millisecond; a text of less than [`crate::task::LOG_LEAST`] bytes counts as that many).
    LogWrite = 34, "log_write";
    /// Reads a log ring from a position on. `rdi` system handle (LOGS), `rsi` row of the task or
    /// [`KERNEL_LOG`], `rdx` position (bytes ever written before it), `r10` buffer, `r8` length.
    /// Returns `rdx` bytes, `rsi` the position of the first of them, which is later than asked for
    /// if older text was overwritten. Errors: BadHandle, WrongKind, NoRights, BadArgument,
    /// BadAddress.
    LogRead = 35, "log_read";

    /// Starts a task of the table. `rdi` system handle (CONTROL), `rsi` row of the task, `rdx`
    /// address and `r10` length (at most [`crate::info::ARG_LEN`]) of its argument. Returns `rdx`
    /// its TaskId. If a quota or memory is exhausted on the way, a dead life is left to be reaped.
    /// Errors: NoRights, NoSuchTask (also if another thread has ended it meanwhile),
    /// AlreadyRunning, NotReaped, BadImage (`rdx` the loader's reason), Busy (the row is disabled,
    /// as a range of it reaches RAM or a reserved device on this machine), NoMoreLives (it has had
    /// [`crate::TaskId::LAST`] lives), QuotaFrames, QuotaHandles, QuotaObjects, OutOfMemory,
    /// BadAddress, BadArgument.
    TaskSpawn = 40, "task_spawn";
    /// Kills a task. `rdi` system handle (CONTROL), `rsi` TaskId, `rdx` the
    /// [`crate::error::DeathKind`] to record (Killed or Hung). Errors: NoRights, NoSuchTask,
    /// BadArgument.
    TaskKill = 41, "task_kill";
    /// Continues the release of what a dead task held: its threads, callers that wait for its
    /// answer (they get PeerDied), mappings, handles, and objects that it made; then frames. `rdi`
    /// system handle (CONTROL), `rsi` row of the task. Returns `rdx` how much is left; the caller
    /// repeats the call until that is 0. Everything but the frames of an ordinary task is released
    /// by its death itself. Errors: NoRights, NoSuchTask (not dead).
    TaskReap = 42, "task_reap";
    /// Sets whether a task will have another life. `rdi` system handle (CONTROL), `rsi` row of the
    /// task, `rdx` 1: callers may wait for it, 0: callers get PeerGone, also those that wait now.
    /// Errors: NoRights, NoSuchTask.
    TaskSetRestart = 43, "task_set_restart";
    /// Sets bits in a task's permanent notification. `rdi` system handle (CONTROL), `rsi` row of
    /// the task, `rdx` bits. Errors: NoRights, NoSuchTask.
    TaskSignal = 44, "task_signal";
    /// Reads a task's status. `rdi` system handle (INSPECT), `rsi` row of the task, `rdx` address
    /// of a [`crate::task::TaskStatus`]. Errors: NoRights, NoSuchTask, BadAddress.
    TaskStatus = 45, "task_status";
    /// Reads the record of a task's last death. `rdi` system handle (INSPECT), `rsi` row of the
    /// task, `rdx` address of a [`crate::error::FaultRecord`]. Errors: NoRights, NoSuchTask,
    /// WouldBlock (no record), BadAddress.
    TaskFault = 46, "task_fault";
    /// Reads the counters of the system. `rdi` system handle (INSPECT), `rsi` address of a
    /// [`crate::task::SystemInfo`]. Errors: NoRights, BadAddress.
    SystemInfo = 47, "system_info";

    /// Reads the memory of a task that the caller may debug
    /// ([`crate::manifest::TaskRecord::may_debug`]). `rdi` its TaskId, `rsi` source in that task,
    /// `rdx` destination, `r10` length (at most [`crate::message::MAX_DEBUG_COPY`] are copied).
    /// Returns `rdx` bytes copied. Errors: NoRights, NoSuchTask, BadAddress (of either side; device
    /// memory is not accessible).
    DebugRead = 56, "debug_read";
    /// Writes the memory of a task that the caller may debug: the task's own pages, even if the
    /// task itself may only read or execute them, and mapped memory objects that the task may
    /// write. `rdi` its TaskId, `rsi` destination in that task, `rdx` source, `r10` length (at most
    /// [`crate::message::MAX_DEBUG_COPY`] are copied). Returns `rdx` bytes copied. Errors:
    /// NoRights, NoSuchTask, BadAddress.
    DebugWrite = 57, "debug_write";
    /// Reads the registers of the first thread of a task that the caller may debug. `rdi` its
    /// TaskId, `rsi` address of a [`crate::task::Registers`]. Errors: NoRights, NoSuchTask,
    /// BadAddress.
    DebugRegisters = 58, "debug_registers";
    /// Sets the registers of the first thread of a task that the caller may debug. They take effect
    /// when the thread continues. A call in which it waits still returns its own results, and keeps
    /// its header (`rsi`) and the handle that it sends (`r10`). Flags are sanitised. `rdi` its
    /// TaskId, `rsi` address of a [`crate::task::Registers`]. Errors: NoRights, NoSuchTask, Busy
    /// (the thread is the caller), BadAddress (also for an `rip` or `rsp` that no task may have).
    DebugSetRegisters = 59, "debug_set_registers";
    /// Repeats or drops an interrupt of a task that the caller may debug. `rdi` its TaskId, `rsi`
    /// the line's notification bit (0 to 31), `rdx` [`INTERRUPT_AGAIN`]: sets the bit once more;
    /// [`INTERRUPT_DROP`]: clears the bit if it is set, else drops the line's next interrupt.
    /// Errors: NoRights, NoSuchTask, BadArgument (the task has no such line, or `rdx` is neither).
    DebugInterrupt = 60, "debug_interrupt";
    /// Accesses a port of a task that the caller may debug. `rdi` its TaskId, `rsi` port, `rdx`
    /// width in bytes (1, 2 or 4), plus [`PORT_WRITE`] to write, `r10` value to write. Returns
    /// `rdx` the value read. Errors: NoRights, NoSuchTask, BadArgument (`rdx`, or ports that are
    /// not the task's).
    DebugPort = 61, "debug_port";
}

/// For [`Syscall::DebugInterrupt`]: deliver the interrupt once more.
pub const INTERRUPT_AGAIN: u64 = 1;
/// For [`Syscall::DebugInterrupt`]: drop an interrupt.
pub const INTERRUPT_DROP: u64 = 2;

/// For [`Syscall::DebugPort`]: added to the width of an access that writes.
pub const PORT_WRITE: u64 = 1 << 8;

/// For [`Syscall::LogRead`]: stands for the kernel's own log.
pub const KERNEL_LOG: u64 = u64::MAX;

/// For [`Syscall::ThreadPriority`]: the handle argument that stands for the calling thread.
pub const THIS_THREAD: u64 = u64::MAX;

/// The number of a system call beyond the table that makes the kernel check its own state, and
/// panic if that is inconsistent. It exists only in a kernel built with the feature `verify`, for
/// the task with the control right.
pub const VERIFY_CHECK: u64 = 1 << 32;

/// The number of a system call beyond the table that exists only in a kernel built with the feature
/// `latency`, for the task with the control right. `rdi` is a cause below [`LATENCY_CAUSES`]: a
/// system call's number, [`LATENCY_OTHER`] for unknown numbers, or [`LATENCY_VECTORS`] plus the
/// vector of an exception or interrupt. Returns `rdx` the longest stretch with interrupts off that
/// had this cause since the last such call, in instructions, and `rsi` the most port accesses in
/// one.
pub const LATENCY_READ: u64 = VERIFY_CHECK + 2;
/// For [`LATENCY_READ`]: the cause of system calls with unknown numbers.
pub const LATENCY_OTHER: u64 = 64;
/// For [`LATENCY_READ`]: the cause of vector 0.
pub const LATENCY_VECTORS: u64 = LATENCY_OTHER + 1;
/// For [`LATENCY_READ`]: the number of causes.
pub const LATENCY_CAUSES: u64 = LATENCY_VECTORS + 256;

/// The number of a system call beyond the table that exists where [`VERIFY_CHECK`] does. Returns
/// `rdx` the number of system calls made by the general path, `rsi` a checksum of their results.
pub const VERIFY_TALLY: u64 = VERIFY_CHECK + 1;
