//! Threads: a register file, a priority and a state.

use crate::account::Budget;
use crate::addr::AddressSpace;
use crate::arena::Id;
use crate::notify::Notification;
use crate::queue::{Link, Queue};
use crate::row::Row;
use crate::step::Step;
use crate::system::Endpoint;
use abi::TaskId;
use abi::message::{Lease, MAX_LEASES, ReplyToken};

/// A thread's registers, in the order in which the entry stubs push them. The processor itself pushes the last five words
/// (Intel SDM vol. 3A, section 6.14.2): TSS.RSP0 points to the end of the running thread's frame, which must be 16-byte aligned.
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
    /// `vector` of a frame saved by the `syscall` entry: it may be left by `sysret`.
    pub const SYSCALL: u64 = 0x100;

    /// RFLAGS that a task may have when it is resumed: CF PF AF ZF SF TF DF OF AC ID (Intel SDM vol. 1, section 3.4.3). NT, IOPL, RF and the
    /// virtual-8086 bits are not among them.
    pub const USER_FLAGS: u32 = 0x0024_0dd5;
    /// RFLAGS that are always set: the interrupt flag and reserved bit 1.
    pub const USER_FLAGS_SET: u32 = 0x202;

    /// Ends a `recv` or `call` with this: sender or 0, header, words, token or 0, handle or 0.
    #[inline(always)]
    pub(crate) fn receive(&mut self, sender: u64, header: u64, words: [u64; 4], token: u64, handle: u64) {
        (self.rax, self.rdi, self.rsi) = (abi::Status::Ok as u64, sender, header);
        self.set_words(words);
        (self.rdx, self.r8, self.r9, self.r10) = (0, token, 0, handle);
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

/// A thread's x87 and SSE registers, as FXSAVE64 stores them (Intel SDM vol. 1, section 10.5.1). Only threads of tasks that ask for
/// floating point in the manifest have one.
#[repr(C, align(16))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FloatState(pub [u8; 512]);

impl FloatState {
    /// All registers zero, every exception masked, round to nearest: what FNINIT sets in FCW (0x37F), and MXCSR's value at reset (0x1F80).
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

/// What a thread is doing. The assembly knows this layout: a tag of two bytes, and what follows it in six.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Is the current thread.
    Running = 0,
    /// In a ready queue.
    Ready = 1,
    /// In a call: in the endpoint's queue of senders.
    Sending(Id<Endpoint>) = 2,
    /// In a call: received by this task (row) and not answered.
    Replying(Row) = 3,
    /// In `recv`: in the endpoint's queue of receivers.
    Receiving(Id<Endpoint>) = 4,
    /// Waits on a notification.
    Waiting(Id<Notification>) = Self::WAITING,
}

impl State {
    /// The tag of [`State::Running`].
    pub(crate) const RUNNING: u16 = 0;
    /// The tag of [`State::Ready`].
    pub(crate) const READY: u16 = 1;
    /// The tag of [`State::Waiting`].
    pub(crate) const WAITING: u16 = 5;

    /// Whether a call is received by this task and not answered.
    #[inline(always)]
    pub(crate) fn is_replying(self, row: Row) -> bool {
        matches!(self, State::Replying(server) if server == row)
    }
}

/// A cached lookup: where a handle was found to lead to an endpoint, so that the next use of it need not look again. It is good while the task has closed no handle, and
/// the endpoint is there.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndpointCache {
    /// The handle's number.
    pub handle: u64,
    /// [`Account::closed`](crate::account::Account::closed) when it was found.
    pub closed: u64,
    /// [`Id::place`] of the endpoint, and its generation.
    pub place: u32,
    pub generation: u32,
    /// What the server is told of who calls.
    pub tells: u64,
    /// The state of who waits there: [`State::Sending`] for one to call by, [`State::Receiving`] for one to receive by.
    pub waits: State,
}

impl EndpointCache {
    /// By no handle: no task ever closes so many.
    pub(crate) const NONE: EndpointCache =
        EndpointCache { handle: u64::MAX, closed: u64::MAX, place: 0, generation: 0, tells: 0, waits: State::Ready };

    /// The endpoint to which it leads.
    #[inline(always)]
    pub(crate) fn endpoint(&self) -> Option<Id<Endpoint>> {
        match self.waits {
            State::Sending(id) | State::Receiving(id) => Some(id),
            _ => None,
        }
    }
}

/// A cached lookup: where a handle was found to lead to a notification. It is good while the task has closed no handle.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotificationCache {
    /// The handle's number.
    pub handle: u64,
    /// As [`EndpointCache::closed`].
    pub closed: u64,
    /// [`Id::place`] of the notification, and its generation.
    pub place: u32,
    pub generation: u32,
    /// The bits that cannot be set by the handle.
    pub never: u64,
}

impl NotificationCache {
    /// By no handle.
    pub(crate) const NONE: NotificationCache =
        NotificationCache { handle: u64::MAX, closed: u64::MAX, place: 0, generation: 0, never: u64::MAX };

    /// The notification to which it leads.
    #[inline(always)]
    pub(crate) fn to(&self) -> Id<Notification> {
        Id::at_place(self.place, self.generation)
    }
}

/// Of [`Thread::extras`]: it has floating-point registers.
pub const FLOAT: u8 = 1;
/// Of [`Thread::extras`]: its task has I/O ports.
pub const PORTS: u8 = 2;
/// Of [`Thread::extras`]: its system call is not done; see [`crate::step`].
pub const STEP: u8 = 4;

/// Of [`Thread::extras`]: it goes on with its whole frame, as a debugger has set registers that the short way out does not load.
pub const WHOLE: u8 = 8;

/// A thread.
#[derive(Debug)]
pub struct Thread {
    /// Registers while it is not running, and where they are saved when it enters the kernel.
    pub frame: TrapFrame,
    /// Its floating-point registers while they are not in the processor; `None` in a task without floating point.
    pub float: Option<Id<FloatState>>,
    /// A queue of this thread alone.
    pub(crate) alone: Queue,
    /// The state of a thread that waits for its reply.
    pub(crate) awaited: State,
    /// Row of its task.
    pub task: Row,
    /// Its task's name in this life.
    pub id: TaskId,
    /// Its task's address space.
    pub space: AddressSpace,
    /// Whether its task has I/O ports.
    pub ports: bool,
    /// For what the core must be prepared besides its address space, and whether the kernel goes on first: [`PORTS`], [`FLOAT`], [`STEP`],
    /// [`WHOLE`].
    pub extras: u8,
    /// What it does.
    pub state: State,
    /// Its priority level.
    pub priority: u8,
    /// The level at which it runs or is queued: below all priorities while its task's slice is used up. Of a thread that waits for something
    /// else, the last one.
    pub effective: u8,
    /// What it runs on, at that level, where it runs or waits for something else than processor time.
    pub(crate) budget: Budget,
    /// Its place in a queue.
    pub link: Link,
    /// Names its latest call: the thread's index, and the number of the call in the upper 48 bits. The next one's is one more.
    pub token: ReplyToken,
    /// What the receiver of its latest message is told of it.
    pub sender: u64,
    /// What it lends for the length of its call.
    pub leases: [Lease; MAX_LEASES],
    /// Bits it takes in `recv` or `wait`.
    pub mask: u64,
    /// Label and sender of the last message received.
    pub last_received: [u32; 2],
    /// Label and handle of the last message sent.
    pub last_sent: [u32; 2],
    /// Where its last call went.
    pub(crate) calls: EndpointCache,
    /// Where it last received.
    pub(crate) receives: EndpointCache,
    /// What it last signalled.
    pub(crate) signals: NotificationCache,
    /// What it last polled.
    pub(crate) polls: NotificationCache,
    /// What is left of its system call, if it is not done.
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
