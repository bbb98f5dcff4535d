//! Messages: the header word, leases, reply tokens, handle rights.
//!
//! A message is a header and [`WORDS`] data words, all in registers. Anything larger is lent: see [`Lease`].

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Data words in a message.
pub const WORDS: usize = 4;

/// Most threads that wait for bits in `recv` at one endpoint, so that setting a bit takes a bounded number of steps. Any number may wait there for
/// messages alone.
pub const LISTENERS: usize = 32;

/// Leases that one call can carry.
pub const MAX_LEASES: usize = 4;

/// Most bytes that one [`crate::Syscall::LeaseRead`] or [`crate::Syscall::LeaseWrite`] copies; longer copies take several calls.
pub const MAX_COPY: usize = 64 * 1024;
/// Most bytes that a debugger copies in one system call.
pub const MAX_DEBUG_COPY: usize = 4096;

/// What kind of object a handle names, as a header tells it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// An endpoint.
    Endpoint = 1,
    /// A notification.
    Notification = 2,
    /// A memory object.
    Memory = 3,
    /// An interrupt line. Never travels.
    Interrupt = 4,
    /// A timer. Never travels.
    Timer = 5,
    /// A thread. Never travels.
    Thread = 6,
    /// The system: spawning, states, logs. Never travels.
    System = 7,
}

impl Kind {
    /// The kind of this number; 0 and what is above 7 are none.
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
    /// The set of one kind; empty where there is none, or one that never travels.
    pub const fn of(kind: Option<Kind>) -> Kinds {
        match kind {
            Some(kind) => Kinds::from_bits_truncate(1 << kind as u8),
            None => Kinds::empty(),
        }
    }
}

/// The header of a message: what it asks for (or, in a reply, how that went), and what travels beside the words.
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
    /// The kind of the handle that travels along.
    pub const HANDLE: u64 = 7 << 20;
    /// The kind of the handle that may come with the answer.
    pub const WANTS: u64 = 7 << 23;
    /// This is a notification, not a message.
    pub const NOTIFICATION: u64 = 1 << 28;
    /// A handle was sent, and lost for want of room or quota at the receiver.
    pub const HANDLE_LOST: u64 = 1 << 29;
    /// A handle was sent that the receiver had not said it takes: the caller of its answer, the server before it said anything.
    pub const HANDLE_REFUSED: u64 = 1 << 30;
    /// The bits that `call` may set.
    pub const CALL_MASK: u64 = Self::SEND_MASK | 0xf << 16 | Self::WANTS;
    /// The bits that `send` and `reply` may set.
    pub const SEND_MASK: u64 = 0xffff | Self::HANDLE;

    /// A header with this label and nothing else.
    pub const fn new(label: u16) -> Self {
        Header(label as u64)
    }

    /// This header with `count` leases; a count above [`MAX_LEASES`] is refused by the kernel.
    pub const fn with_leases(self, count: usize) -> Self {
        Header(self.0 & !(0xf << 16) | (count as u64 & 0xf) << 16)
    }

    /// This header with a handle of that kind travelling along.
    pub const fn with_handle(self, kind: Kind) -> Self {
        Header(self.0 & !Self::HANDLE | (kind as u64) << 20)
    }

    /// This header with the wish for a handle of that kind in the answer.
    pub const fn wanting(self, kind: Kind) -> Self {
        Header(self.0 & !Self::WANTS | (kind as u64) << 23)
    }

    /// Operation, or in a reply its outcome.
    pub const fn label(self) -> u16 {
        self.0 as u16
    }

    /// How many leases came along.
    pub const fn leases(self) -> usize {
        (self.0 >> 16 & 0xf) as usize
    }

    /// The kind of the handle that came along, if one did.
    pub const fn handle(self) -> Option<Kind> {
        Kind::from_u64((self.0 & Self::HANDLE) >> 20)
    }

    /// The kind of the handle that the caller takes with the answer, if it takes one.
    pub const fn wants(self) -> Option<Kind> {
        Kind::from_u64((self.0 & Self::WANTS) >> 23)
    }

    /// Whether a handle came along.
    pub const fn has_handle(self) -> bool {
        self.0 & Self::HANDLE != 0
    }

    /// Whether this is a notification: the bits are in the first data word.
    pub const fn is_notification(self) -> bool {
        self.0 & Self::NOTIFICATION != 0
    }
}

/// Memory that a caller lends to a server for the length of one call. The caller is blocked meanwhile; the server reaches
/// the memory only through the kernel, which checks bounds and access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Lease {
    /// First byte, in the caller's address space.
    pub addr: u64,
    /// Length in bytes: less than 2^32.
    pub len: u32,
    /// [`Lease::READ`], [`Lease::WRITE`] or both.
    pub access: u32,
}

impl Lease {
    /// The server may read it.
    pub const READ: u32 = 1;
    /// The server may write it.
    pub const WRITE: u32 = 2;
}

/// Names one received call that waits for its reply: which thread called, and which of its calls. A server may keep it and
/// answer later; it is good for one reply, and void when either side dies. Zero names none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct ReplyToken(pub u64);

impl ReplyToken {
    /// No caller: [`crate::Syscall::ReplyRecv`] with it only receives.
    pub const NONE: ReplyToken = ReplyToken(0);

    /// From the caller's thread index and the number of its call, which starts at 1.
    pub const fn new(thread: u16, call: u64) -> Self {
        ReplyToken(call << 16 | thread as u64)
    }

    /// The caller's thread index.
    pub const fn thread(self) -> u16 {
        self.0 as u16
    }

    /// The number of the call, 48 bits: counted over all calls of all threads, so that at ten million calls a second none comes back for 325 days.
    pub const fn call(self) -> u64 {
        self.0 >> 16
    }
}

/// The sender of a received message, as the kernel vouches for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sender {
    /// Which task, in which life.
    pub task: crate::TaskId,
    /// The badge of the handle that it used: 0 unless the handle was minted with another.
    pub badge: u32,
}

impl Sender {
    /// Both in one register: badge in the upper half.
    pub const fn to_u64(self) -> u64 {
        (self.badge as u64) << 32 | self.task.to_u32() as u64
    }

    /// The inverse of [`Sender::to_u64`].
    pub const fn from_u64(raw: u64) -> Self {
        Sender { task: crate::TaskId::from_u32(raw as u32), badge: (raw >> 32) as u32 }
    }
}

bitflags::bitflags! {
    /// What a handle allows.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Rights: u32 {
        /// Endpoint: call and send.
        const CALL = 1 << 0;
        /// Endpoint: receive.
        const RECV = 1 << 1;
        /// Notification: set bits, those that the handle is for ([`crate::Syscall::HandleDup`]).
        const SIGNAL = 1 << 2;
        /// Notification: wait for and take bits.
        const WAIT = 1 << 3;
        /// Memory: map readable.
        const READ = 1 << 4;
        /// Memory: map writable.
        const WRITE = 1 << 5;
        /// Any: pass on and duplicate.
        const GRANT = 1 << 6;
        /// Interrupt, timer, thread: operate it.
        const MANAGE = 1 << 7;
        /// System: spawn, kill and reap tasks.
        const CONTROL = 1 << 8;
        /// System: read states, fault records and machine counters.
        const INSPECT = 1 << 9;
        /// System: read the log rings.
        const LOGS = 1 << 10;
    }
}

/// A handle that travels with a message, as a register holds it: the number in the lower half, in the upper half the rights: those to pass on,
/// and for the receiver those that it has.
pub const fn pack_transfer(handle: u32, rights: Rights) -> u64 {
    (rights.bits() as u64) << 32 | handle as u64
}

/// Notification bits of a task's own notification that have a fixed meaning. Interrupts, timers and doorbells use the others.
pub mod bits {
    /// A task changed state: died. Goes to the holder of the control right.
    pub const TASK_EVENT: u64 = 1 << 63;
    /// A log ring has new text. Goes to the holder of the logs right, once until it has read one.
    pub const LOG: u64 = 1 << 62;
    /// The supervisor asks for a sign of life. Taking the bit is the answer: nothing else is to be done.
    pub const HEARTBEAT: u64 = 1 << 61;
    /// A peer that the task may call has begun a new life: what was subscribed there is to be subscribed again.
    pub const PEER: u64 = 1 << 60;
    /// The runtime's own timer (sleeping).
    pub const RUNTIME: u64 = 1 << 59;
    /// The bits that a task gives away as it likes: timers, doorbells. Others of its own notification nobody else can set.
    pub const FREE_MASK: u64 = 0x07ff_ffff_0000_0000;
    /// The bits that a manifest may give to interrupts: 0..32.
    pub const IRQ_MASK: u64 = 0xffff_ffff;
}

const _: () = assert!(size_of::<Lease>() == 16);
