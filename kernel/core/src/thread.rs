//! Threads: a register file, a priority and a state.

use crate::account::Account;
use crate::account::Budget;
use crate::addr::AddressSpace;
use crate::arena::{Id, Index};
use crate::endpoint::Endpoint;
use crate::notify::Notification;
use crate::number::HandleNumber;
use crate::queue::{Link, Queue};
use crate::row::Row;
use crate::step::Step;
use abi::TaskId;
use abi::message::{Lease, MAX_LEASES, ReplyToken};

/// A thread's registers, in the order in which the entry stubs push them. The processor itself
/// pushes the last five words (Intel SDM vol. 3A, section 6.14.2). TSS.RSP0 points to the end of
/// the running thread's frame, which must be aligned to 16 bytes.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are the registers of these names")]
pub struct TrapFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rax: u64,
    /// Exception or interrupt vector, or [`TrapFrame::SYSCALL`].
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

const _: () = assert!(size_of::<TrapFrame>() == 176);

impl TrapFrame {
    /// The value of [`TrapFrame::vector`] in a frame that the `syscall` entry saved: the kernel may
    /// return from it by `sysret`.
    pub const SYSCALL: u64 = 0x100;

    /// The bits of RFLAGS that a task may set for itself: CF PF AF ZF SF TF DF OF AC ID (Intel SDM
    /// vol. 1, section 3.4.3). NT, IOPL, RF and the virtual-8086 bits are not among them.
    pub const USER_FLAGS: u32 = 0x0024_0dd5;
    /// The bits of RFLAGS that are always set in ring 3: the interrupt flag and reserved bit 1.
    pub const USER_FLAGS_SET: u32 = 0x202;

    /// Sets the registers with which a `recv` or `call` returns a message: `sender`, `token` and
    /// `handle` are 0 where there is none. The status is Ok, and no notification bits are returned.
    #[inline(always)]
    pub(crate) fn receive(&mut self, sender: u64, header: u64, words: [u64; 4], token: u64, handle: u64) {
        (self.rax, self.rdi, self.rsi) = (abi::Status::Ok as u64, sender, header);
        self.set_words(words);
        (self.rdx, self.r8, self.r9, self.r10) = (0, token, 0, handle);
    }

    /// The handle that is the first argument of the thread's system call.
    #[inline(always)]
    pub(crate) const fn handle(&self) -> HandleNumber {
        HandleNumber::from_register(self.rdi)
    }

    /// The general registers in the order of [`abi::task::Registers::general`].
    #[inline(never)]
    pub fn general_mut(&mut self) -> [&mut u64; 15] {
        let TrapFrame { rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15, .. } = self;
        [rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15]
    }

    /// The four data words of a message.
    #[inline]
    pub fn words(&self) -> [u64; 4] {
        [self.r12, self.r13, self.r14, self.r15]
    }

    /// Sets the four data words.
    #[inline]
    pub fn set_words(&mut self, words: [u64; 4]) {
        [self.r12, self.r13, self.r14, self.r15] = words;
    }
}

/// A thread's x87 and SSE registers, as FXSAVE64 stores them (Intel SDM vol. 1, section 10.5.1).
/// Only threads of tasks with floating point in the task table have one.
#[repr(C, align(16))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FloatState(pub [u8; 512]);

impl FloatState {
    /// The initial state: all registers zero, every exception masked, round to nearest. FCW is
    /// 0x37F as FNINIT sets it, MXCSR is 0x1F80 as at reset.
    pub const fn new() -> Self {
        let mut bytes = [0; 512];
        (bytes[0], bytes[1]) = (0x7f, 0x03);
        (bytes[24], bytes[25]) = (0x80, 0x1f);
        FloatState(bytes)
    }
}

impl Default for FloatState {
    fn default() -> Self {
        Self::new()
    }
}

/// What a thread is doing. The assembly depends on this layout: a tag of two bytes, then a payload
/// of two. A thread that waits for an object is woken before the object is removed.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The thread is the running one.
    Running = 0,
    /// The thread is in a ready queue.
    Ready = 1,
    /// The thread is in a call, and waits in this endpoint's queue of senders.
    Sending(Index<Endpoint>) = 2,
    /// The thread is in a call that the task in this row has received and not answered.
    Replying(Row) = 3,
    /// The thread is in `recv`, and waits in this endpoint's queue of receivers.
    Receiving(Index<Endpoint>) = 4,
    /// The thread waits on this notification.
    Waiting(Index<Notification>) = Self::WAITING,
}

impl State {
    /// The tag of [`State::Running`].
    pub(crate) const RUNNING: u16 = 0;
    /// The tag of [`State::Ready`].
    pub(crate) const READY: u16 = 1;
    /// The tag of [`State::Waiting`].
    pub(crate) const WAITING: u16 = 5;

    /// Whether the thread is in a call that the task in `row` has received and not answered.
    #[inline(always)]
    pub(crate) fn is_replying(self, row: Row) -> bool {
        matches!(self, State::Replying(server) if server == row)
    }
}

/// A lookup of a handle, so that its next use needs none: what the handle was found to name, and
/// when. It is valid while the task has closed no handle since.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lookup {
    /// The number of the handle; [`u64::MAX`] if nothing is cached.
    pub handle: HandleNumber,
    /// The value of [`Account::closed`] at the time of the lookup.
    pub closed: u64,
    /// The [`Id::place`] of the object.
    pub place: u32,
    /// The [`Id::name`] of the object; 0, which no object has, if nothing is cached.
    pub name: u64,
}

impl Lookup {
    /// No lookup. Its `closed` never matches, as no task closes so many handles.
    pub(crate) const NONE: Lookup =
        Lookup { handle: HandleNumber::from_register(u64::MAX), closed: u64::MAX, place: 0, name: 0 };

    /// The lookup of a handle of the task with this account, which was just found to name `id`.
    pub(crate) fn of<T>(handle: HandleNumber, account: Option<&Account>, id: Id<T>) -> Lookup {
        let closed = account.map_or(0, Account::closed);
        Lookup { handle, closed, place: id.place(), name: id.name() }
    }
}

/// A cached lookup: the endpoint that a handle was found to name. It is valid while its [`Lookup`]
/// is and the endpoint still exists.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndpointCache {
    /// The lookup.
    pub found: Lookup,
    /// The sender value that the server is given with a call through this handle.
    pub tells: u64,
    /// The state of a thread that waits at the endpoint: [`State::Sending`] in a cached lookup for
    /// calls, [`State::Receiving`] in one for receiving.
    pub waits: State,
}

impl EndpointCache {
    /// No cached lookup.
    pub(crate) const NONE: EndpointCache = EndpointCache { found: Lookup::NONE, tells: 0, waits: State::Ready };

    /// The endpoint that the handle was found to name.
    #[inline(always)]
    pub(crate) fn endpoint(&self) -> Id<Endpoint> {
        Id::of(self.found.name)
    }
}

/// A cached lookup: the notification that a handle was found to name. It is valid while its
/// [`Lookup`] is.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotificationCache {
    /// The lookup.
    pub found: Lookup,
    /// The bits that cannot be set through the handle.
    pub never: u64,
}

impl NotificationCache {
    /// No cached lookup.
    pub(crate) const NONE: NotificationCache = NotificationCache { found: Lookup::NONE, never: u64::MAX };

    /// The notification that the handle was found to name.
    #[inline(always)]
    pub(crate) fn to(&self) -> Id<Notification> {
        Id::of(self.found.name)
    }
}

/// Bit of [`Thread::extras`]: the thread has floating-point registers.
pub const FLOAT: u8 = 1;
/// Bit of [`Thread::extras`]: the thread's task has I/O ports.
pub const PORTS: u8 = 2;
/// Bit of [`Thread::extras`]: the thread's system call is not done; see [`crate::step`].
pub const STEP: u8 = 4;

/// Bit of [`Thread::extras`]: all registers must be loaded from the frame, as a debugger has set
/// some that the fast exit does not load.
pub const WHOLE: u8 = 8;

/// The slot of a thread.
pub type ThreadIndex = Index<Thread>;

/// A thread, whether it runs, is queued or is blocked.
#[derive(Debug)]
pub struct Thread {
    /// The registers while the thread does not run. The kernel's entries save them here.
    pub frame: TrapFrame,
    /// The floating-point registers while they are not in the processor; `None` in a task without
    /// floating point.
    pub float: Option<Id<FloatState>>,
    /// A queue that holds this thread alone.
    pub(crate) alone: Queue,
    /// The state that a caller of this thread's task takes on while it waits for the reply:
    /// [`State::Replying`] with this thread's row.
    pub(crate) awaited: State,
    /// The row of the thread's task.
    pub task: Row,
    /// The identifier of the thread's task in this life.
    pub id: TaskId,
    /// The address space of the thread's task.
    pub space: AddressSpace,
    /// Whether the thread's task has I/O ports.
    pub ports: bool,
    /// What must be done before the thread can continue, besides entering its address space: the
    /// bits [`PORTS`], [`FLOAT`], [`STEP`], [`WHOLE`].
    pub extras: u8,
    /// What the thread is doing.
    pub state: State,
    /// The priority of the thread; smaller numbers are more important.
    pub priority: u8,
    /// The level at which the thread runs or is queued: a level below all priorities while its
    /// task's slice is used up. Of a blocked thread, the level at which it last ran.
    pub effective: u8,
    /// The budget that the thread is charged to at that level. It is current while the thread runs,
    /// and while it is blocked on something else than processor time.
    pub(crate) budget: Budget,
    /// The thread's neighbours in the queue in which it is.
    pub link: Link,
    /// The reply token of the thread's latest call: the thread's index, and the number of the call
    /// in the upper 48 bits, which grows by one with each call.
    pub token: ReplyToken,
    /// The sender value that the receiver of the thread's latest message is given.
    pub sender: u64,
    /// The memory that the thread lends until its call is answered.
    pub leases: [Lease; MAX_LEASES],
    /// The notification bits that the thread takes in `recv` or `wait`.
    pub mask: u64,
    /// Label and sender of the last message that the thread received.
    pub last_received: [u32; 2],
    /// Label and handle of the last message that the thread sent.
    pub last_sent: [u32; 2],
    /// The cached lookup of the endpoint that the thread last called.
    pub(crate) calls: EndpointCache,
    /// The cached lookup of the endpoint at which the thread last received.
    pub(crate) receives: EndpointCache,
    /// The cached lookup of the notification that the thread last signalled.
    pub(crate) signals: NotificationCache,
    /// The cached lookup of the notification that the thread last polled.
    pub(crate) polls: NotificationCache,
    /// What is left of the thread's system call, if it is not done.
    pub step: Option<Step>,
}

impl Thread {
    /// A thread with zeroed registers, not yet in any queue.
    pub fn new(task: Row, space: AddressSpace, priority: u8) -> Self {
        Thread {
            frame: TrapFrame::default(),
            float: None,
            alone: Queue::default(),
            awaited: State::Replying(task),
            task,
            id: TaskId { index: task.number(), generation: 0 },
            space,
            ports: false,
            extras: 0,
            state: State::Ready,
            priority,
            effective: priority,
            budget: Budget::of(task, false),
            link: Link::UNLINKED,
            token: ReplyToken::NONE,
            sender: 0,
            leases: [Lease::default(); MAX_LEASES],
            mask: 0,
            last_received: [0; 2],
            last_sent: [0; 2],
            calls: EndpointCache::NONE,
            receives: EndpointCache::NONE,
            signals: NotificationCache::NONE,
            polls: NotificationCache::NONE,
            step: None,
        }
    }
}
