//! Messages: header, leases, reply tokens, and the rights of handles.
//!
//! A message is a header and [`WORDS`] data words, all in registers. Larger data is lent: see
//! [`Lease`].

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The number of data words of a message.
pub const WORDS: usize = 4;

/// The most threads that may wait for notification bits in `recv` at one endpoint, so that setting
/// a bit takes a bounded number of steps. The number of threads that wait for messages only is not
/// limited.
pub const LISTENERS: usize = 32;

/// The most leases of one call.
pub const MAX_LEASES: usize = 4;

/// The most bytes that one [`crate::Syscall::LeaseRead`] or [`crate::Syscall::LeaseWrite`] copies;
/// longer copies take several calls.
pub const MAX_COPY: usize = 64 * 1024;
/// The most bytes that one [`crate::Syscall::DebugRead`] or [`crate::Syscall::DebugWrite`] copies.
pub const MAX_DEBUG_COPY: usize = 4096;

/// The kind of object that a handle names, as a message header encodes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// An endpoint.
    Endpoint = 1,
    /// A notification.
    Notification = 2,
    /// A memory object.
    Memory = 3,
    /// An interrupt line. Its handle cannot be sent.
    Interrupt = 4,
    /// A timer. Its handle cannot be sent.
    Timer = 5,
    /// A thread. Its handle cannot be sent.
    Thread = 6,
    /// The system: spawning, states, logs. Its handle cannot be sent.
    System = 7,
}

impl Kind {
    /// The kind with this number; `None` for 0 and numbers above 7.
    pub const fn from_u64(raw: u64) -> Option<Kind> {
        Some(match raw {
            1 => Kind::Endpoint,
            2 => Kind::Notification,
            3 => Kind::Memory,
            4 => Kind::Interrupt,
            5 => Kind::Timer,
            6 => Kind::Thread,
            7 => Kind::System,
            _ => return None,
        })
    }
}

bitflags::bitflags! {
    /// The kinds of handles that a server takes with requests: [`crate::Syscall::EndpointTakes`].
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Kinds: u8 {
        /// Endpoints.
        const ENDPOINT = 1 << Kind::Endpoint as u8;
        /// Notifications.
        const NOTIFICATION = 1 << Kind::Notification as u8;
        /// Memory objects.
        const MEMORY = 1 << Kind::Memory as u8;
    }
}

impl Kinds {
    /// The set of one kind; empty for `None`, and for a kind that cannot be sent.
    pub const fn of(kind: Option<Kind>) -> Kinds {
        match kind {
            Some(kind) => Kinds::from_bits_truncate(1 << kind as u8),
            None => Kinds::empty(),
        }
    }
}

/// The header of a message: what it asks for (or, in a reply, the outcome), and what is sent
/// besides the words.
///
/// | bits | meaning | who may set it |
/// |---|---|---|
/// | 0 to 15 | label | all senders |
/// | 16 to 19 | number of leases | `call` |
/// | 20 to 22 | [`Kind`] of the handle that travels along; 0: none | all senders; the kernel checks that the handle is of that kind |
/// | 23 to 25 | [`Kind`] of the handle that may come with the answer; 0: none | `call` |
/// | 28 | not a message at all but notification bits | the kernel |
/// | 29 | a handle was sent, and the receiver's table or quota had no room for it | the kernel |
/// | 30 | a handle was sent, and the receiver had not said that it takes one of this kind | the kernel |
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Header(pub u64);

impl Header {
    /// The bits for the kind of the handle that is sent.
    pub const HANDLE: u64 = 7 << 20;
    /// The bits for the kind of the handle that the reply may bring.
    pub const WANTS: u64 = 7 << 23;
    /// Set if this is a notification, not a message.
    pub const NOTIFICATION: u64 = 1 << 28;
    /// Set if a handle was sent, and the receiver had no room or no quota for it.
    pub const HANDLE_LOST: u64 = 1 << 29;
    /// Set if a handle was sent that the receiver does not take: a client with the reply, or a
    /// server that had not set which kinds it takes.
    pub const HANDLE_REFUSED: u64 = 1 << 30;
    /// The bits that the header of a `call` may have.
    pub const CALL_MASK: u64 = Self::SEND_MASK | 0xf << 16 | Self::WANTS;
    /// The bits that the header of a `send` or `reply` may have.
    pub const SEND_MASK: u64 = 0xffff | Self::HANDLE;

    /// A header with this label, and nothing else.
    pub const fn new(label: u16) -> Self {
        Header(label as u64)
    }

    /// The header with `count` leases; the kernel refuses a count above [`MAX_LEASES`].
    pub const fn with_leases(self, count: usize) -> Self {
        Header(self.0 & !(0xf << 16) | (count as u64 & 0xf) << 16)
    }

    /// The header for a message that brings a handle of this kind.
    pub const fn with_handle(self, kind: Kind) -> Self {
        Header(self.0 & !Self::HANDLE | (kind as u64) << 20)
    }

    /// The header for a call whose reply may bring a handle of this kind.
    pub const fn wanting(self, kind: Kind) -> Self {
        Header(self.0 & !Self::WANTS | (kind as u64) << 23)
    }

    /// The label: the operation or, in a reply, its outcome.
    pub const fn label(self) -> u16 {
        self.0 as u16
    }

    /// The number of leases.
    pub const fn leases(self) -> usize {
        (self.0 >> 16 & 0xf) as usize
    }

    /// The kind of the handle that the message brings, if it brings one.
    pub const fn handle(self) -> Option<Kind> {
        Kind::from_u64((self.0 & Self::HANDLE) >> 20)
    }

    /// The kind of the handle that the reply may bring, if any.
    pub const fn wants(self) -> Option<Kind> {
        Kind::from_u64((self.0 & Self::WANTS) >> 23)
    }

    /// Whether the message brings a handle.
    pub const fn has_handle(self) -> bool {
        self.0 & Self::HANDLE != 0
    }

    /// Whether this is a notification, whose bits are in the first data word.
    pub const fn is_notification(self) -> bool {
        self.0 & Self::NOTIFICATION != 0
    }
}

/// Memory that a caller lends to a server during one call. The caller is blocked meanwhile; the
/// server accesses the memory only through the kernel, which checks bounds and access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Lease {
    /// The first address, in the caller's address space.
    pub addr: u64,
    /// The length in bytes.
    pub len: u32,
    /// The access: [`Lease::READ`], [`Lease::WRITE`] or both.
    pub access: u32,
}

impl Lease {
    /// The server may read the memory.
    pub const READ: u32 = 1;
    /// The server may write to the memory.
    pub const WRITE: u32 = 2;
}

/// The name of one received call that waits for its reply: the calling thread, and the number of
/// its call. A server may keep the token and answer later. It is valid for one reply, and void when
/// either side dies. Zero is no token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct ReplyToken(pub u64);

impl ReplyToken {
    /// No token: [`crate::Syscall::ReplyRecv`] with it only receives.
    pub const NONE: ReplyToken = ReplyToken(0);

    /// The token of a thread's call. `call` is the number of the call, which starts at 1.
    pub const fn new(thread: u16, call: u64) -> Self {
        ReplyToken(call << 16 | thread as u64)
    }

    /// The index of the calling thread.
    pub const fn thread(self) -> u16 {
        self.0 as u16
    }

    /// The number of the call, of 48 bits. The calls of a new thread are numbered on from those of
    /// earlier threads, so even at ten million calls a second no number recurs for 325 days.
    pub const fn call(self) -> u64 {
        self.0 >> 16
    }
}

/// The sender of a received message. The kernel guarantees that it is true.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sender {
    /// The sending task, in its life.
    pub task: crate::TaskId,
    /// The badge of the handle that it used; 0 unless the handle was duplicated with another. A
    /// badge of a permanent endpoint may have been given by an earlier life of the server.
    pub badge: u32,
}

impl Sender {
    /// The sender in one register, with the badge in the upper 32 bits.
    pub const fn to_u64(self) -> u64 {
        (self.badge as u64) << 32 | self.task.to_u32() as u64
    }

    /// The sender from one register, the inverse of [`Sender::to_u64`].
    pub const fn from_u64(raw: u64) -> Self {
        Sender { task: crate::TaskId::from_u32(raw as u32), badge: (raw >> 32) as u32 }
    }
}

bitflags::bitflags! {
    /// The operations that a handle allows.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Rights: u32 {
        /// Endpoint: call and send.
        const CALL = 1 << 0;
        /// Endpoint: receive.
        const RECV = 1 << 1;
        /// Notification: set bits, if the handle allows them ([`crate::Syscall::HandleDup`]).
        const SIGNAL = 1 << 2;
        /// Notification: wait for and take bits.
        const WAIT = 1 << 3;
        /// Memory: map readable.
        const READ = 1 << 4;
        /// Memory: map writable.
        const WRITE = 1 << 5;
        /// Any object: send and duplicate the handle.
        const GRANT = 1 << 6;
        /// Interrupt, timer, thread: operate on the object.
        const MANAGE = 1 << 7;
        /// System: spawn, kill and reap tasks.
        const CONTROL = 1 << 8;
        /// System: read states, fault records and machine counters.
        const INSPECT = 1 << 9;
        /// System: read the log rings.
        const LOGS = 1 << 10;
    }
}

/// A handle that is sent with a message, packed in a register: its number in the lower 32 bits, its
/// rights in the upper. The sender gives the rights to pass on; the receiver gets those of its new
/// handle.
pub const fn pack_transfer(handle: u32, rights: Rights) -> u64 {
    (rights.bits() as u64) << 32 | handle as u64
}

/// The bits of a task's permanent notification that have a fixed meaning. Interrupts, timers and
/// other tasks use the rest.
pub mod bits {
    /// A task has died. Set for the holder of the control right.
    pub const TASK_EVENT: u64 = 1 << 63;
    /// A log ring has new text. Set for holders of the logs right, once until they read a log.
    pub const LOG: u64 = 1 << 62;
    /// The supervisor asks for a sign of life. Taking the bit is the answer; nothing else needs to
    /// be done.
    pub const HEARTBEAT: u64 = 1 << 61;
    /// A peer that the task may call has begun a new life, so a subscription there must be renewed.
    pub const PEER: u64 = 1 << 60;
    /// The runtime's own timer, for sleeping.
    pub const RUNTIME: u64 = 1 << 59;
    /// The bits that a task may let others set: for timers and subscriptions. No other task can set
    /// the remaining bits.
    pub const FREE_MASK: u64 = 0x07ff_ffff_0000_0000;
    /// The bits that the task table may give to interrupts: 0 to 31.
    pub const IRQ_MASK: u64 = 0xffff_ffff;
}

const _: () = assert!(size_of::<Lease>() == 16);
