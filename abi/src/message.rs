//! Messages: the header word, leases, reply tokens, handle rights.
//!
//! A message is a header and [`WORDS`] data words, all in registers. Anything larger is lent: see [`Lease`].

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Data words in a message.
pub const WORDS: usize = 4;

/// Leases that one call can carry.
pub const MAX_LEASES: usize = 4;

/// Most bytes that one [`crate::Syscall::LeaseRead`] or [`crate::Syscall::LeaseWrite`] copies; longer copies take several calls.
pub const MAX_COPY: usize = 64 * 1024;

/// The header of a message: what it asks for (or, in a reply, how that went), and what travels beside the words.
///
/// Bits 0..16: label. Bits 16..20: number of leases. Bit 20: a handle travels along. Bit 21: not a message at all but
/// notification bits (set by the kernel only). Bit 22: a handle was sent but the receiver's table had no room (set by the kernel only).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Header(pub u64);

impl Header {
    /// A handle travels along.
    pub const HANDLE: u64 = 1 << 20;
    /// This is a notification, not a message.
    pub const NOTIFICATION: u64 = 1 << 21;
    /// A handle was sent, and lost for want of room or quota at the receiver.
    pub const HANDLE_LOST: u64 = 1 << 22;
    /// The bits a sender may set.
    pub const SENDER_MASK: u64 = 0xffff | 0xf << 16 | Self::HANDLE;

    /// A header with this label and nothing else.
    pub const fn new(label: u16) -> Self {
        Header(label as u64)
    }

    /// The same with `count` leases; a count above [`MAX_LEASES`] is refused by the kernel.
    pub const fn with_leases(self, count: usize) -> Self {
        Header(self.0 & !(0xf << 16) | (count as u64 & 0xf) << 16)
    }

    /// The same with a handle travelling along.
    pub const fn with_handle(self) -> Self {
        Header(self.0 | Self::HANDLE)
    }

    /// Operation, or in a reply its outcome.
    pub const fn label(self) -> u16 {
        self.0 as u16
    }

    /// How many leases came along.
    pub const fn leases(self) -> usize {
        (self.0 >> 16 & 0xf) as usize
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

    /// The number of the call, 48 bits.
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
        /// Notification: set bits.
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

/// A handle that travels with a message, as the sender's register holds it: handle in the lower half, rights to keep in the upper.
pub const fn pack_transfer(handle: u32, rights: Rights) -> u64 {
    (rights.bits() as u64) << 32 | handle as u64
}

/// Notification bits of a task's own notification that have a fixed meaning. Interrupts, timers and doorbells use the others.
pub mod bits {
    /// A task changed state: died. Goes to the holder of the control right.
    pub const TASK_EVENT: u64 = 1 << 63;
    /// A log ring has new text. Goes to the holder of the logs right.
    pub const LOG: u64 = 1 << 62;
    /// The supervisor asks for a sign of life. Taking the bit is the answer: nothing else is to be done.
    pub const HEARTBEAT: u64 = 1 << 61;
    /// A peer that the task may call has begun a new life: what was subscribed there is to be subscribed again.
    pub const PEER: u64 = 1 << 60;
    /// The runtime's own timer (sleeping).
    pub const RUNTIME: u64 = 1 << 59;
    /// The bits that a task gives away as it likes: timers, doorbells.
    pub const FREE_MASK: u64 = 0x07ff_ffff_0000_0000;
    /// The bits that a manifest may give to interrupts: 0..32.
    pub const IRQ_MASK: u64 = 0xffff_ffff;
}

const _: () = assert!(size_of::<Lease>() == 16);
