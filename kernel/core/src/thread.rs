//! Threads: a register file, a priority and a state.

use crate::account::Budget;
use crate::arena::Id;
use crate::notify::Notification;
use crate::queue::{Link, Queue};
use crate::step::Step;
use crate::system::Endpoint;
use abi::TaskId;
use abi::message::{Lease, MAX_LEASES, ReplyToken};

/// A thread's registers, in the order in which the entry stubs push them. The processor itself pushes the last five words
/// (Intel SDM vol. 3A, section 6.14.2): TSS.RSP0 points to the end of the running thread's frame, which must be 16-byte aligned.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Frame {
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
    /// Exception or interrupt vector, or [`Frame::SYSCALL`].
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

const _: () = assert!(size_of::<Frame>() == 176);

impl Frame {
    /// `vector` of a frame saved by the `syscall` entry: it may be left by `sysret`.
    pub const SYSCALL: u64 = 0x100;

    /// The general registers in the order of [`abi::task::Registers::general`].
    #[inline(never)]
    pub fn general_mut(&mut self) -> [&mut u64; 15] {
        let Frame { rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15, .. } = self;
        [rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15]
    }

    /// The four data words of a message.
    #[inline]
    pub fn words(&self) -> [u64; 4] {
        [self.rdx, self.r10, self.r8, self.r9]
    }

    /// Sets the four data words.
    #[inline]
    pub fn set_words(&mut self, words: [u64; 4]) {
        [self.rdx, self.r10, self.r8, self.r9] = words;
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

/// What a thread is doing. [`crate::fast`] knows this layout: see [`State::bits`].
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
    Replying(u16) = 3,
    /// In `recv`: in the endpoint's queue of receivers.
    Receiving(Id<Endpoint>) = 4,
    /// Waits on a notification.
    Waiting(Id<Notification>) = 5,
}

impl State {
    /// The tag of [`State::Running`].
    pub(crate) const RUNNING: u16 = 0;
    /// The tag of [`State::Ready`].
    pub(crate) const READY: u16 = 1;

    /// Whether a call is received by this task and not answered.
    #[inline(always)]
    pub(crate) fn is_replying(self, row: u16) -> bool {
        matches!(self, State::Replying(server) if server == row)
    }

    /// What the first eight bytes are: the tag, and the row or the three words of the name that follow it.
    pub(crate) fn bits(self) -> u64 {
        let [tag, a, b, c] = match self {
            State::Running => [Self::RUNNING, 0, 0, 0],
            State::Ready => [Self::READY, 0, 0, 0],
            State::Sending(id) => id.after(2),
            State::Replying(row) => [3, row, 0, 0],
            State::Receiving(id) => id.after(4),
            State::Waiting(id) => id.after(5),
        };
        u64::from(tag) | u64::from(a) << 16 | u64::from(b) << 32 | u64::from(c) << 48
    }
}

/// Where a handle or an interrupt line was found to lead, so that the next use of it need not look again; good while
/// [`crate::System::epoch`] stands. `crate::fast` goes by it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Route {
    /// The epoch in which it was found; 0 before all.
    pub epoch: u64,
    /// The handle's number; of a line, the bits that it sets.
    pub handle: u64,
    /// The address of the endpoint it leads to. Of a notification, that of the endpoint to which it is bound, or of an empty queue.
    pub endpoint: u64,
    /// To call: what the server is told of the sender. To receive: the address of the word of the notification that is bound to the endpoint.
    /// Of a notification: its address.
    pub tells: u64,
    /// To receive: the state of a thread that waits there. To signal: the bits that cannot be set by the handle.
    pub waiting: u64,
}

impl core::fmt::Debug for Route {
    /// Nothing: a route says nothing that the handle table does not.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Route")
    }
}

/// Of [`Thread::extras`]: it has floating-point registers.
pub const FLOAT: u8 = 1;
/// Of [`Thread::extras`]: its task has I/O ports.
pub const PORTS: u8 = 2;
/// Of [`Thread::extras`]: its system call is not done; see [`crate::step`].
pub const STEP: u8 = 4;

/// A thread.
#[derive(Debug)]
pub struct Thread {
    /// Registers while it is not running, and where they are saved when it enters the kernel.
    pub frame: Frame,
    /// Its floating-point registers while they are not in the processor; `None` in a task without floating point.
    pub float: Option<Id<FloatState>>,
    /// Its index, which is in the tokens of its calls.
    pub index: u64,
    /// A queue of this thread alone.
    pub(crate) alone: Queue,
    /// The first half of the state of a thread that waits for its reply.
    pub(crate) awaited: u32,
    /// Row of its task.
    pub task: u16,
    /// Its task's name in this life.
    pub id: TaskId,
    /// Its task's top page table.
    pub root: u64,
    /// The value of CR3 for its task's address space: the physical address of the top page table.
    pub space: u64,
    /// Whether its task has I/O ports.
    pub ports: bool,
    /// For what the core must be prepared besides its address space, and whether the kernel goes on first: [`PORTS`], [`FLOAT`], [`STEP`].
    pub extras: u8,
    /// What it does.
    pub state: State,
    /// Its priority level.
    pub priority: u8,
    /// The level at which it runs or is queued: below all priorities while its task's slice is used up. Of a thread that waits for something
    /// else, the last one.
    pub effective: u8,
    /// What it runs on, at that level.
    pub(crate) budget: Budget,
    /// Its place in a queue.
    pub link: Link,
    /// Names its latest call.
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
    pub(crate) calls: Route,
    /// Where it last received.
    pub(crate) receives: Route,
    /// What it last signalled.
    pub(crate) signals: Route,
    /// What it last polled.
    pub(crate) polls: Route,
    /// What is left of its system call, if it is not done.
    pub step: Option<Step>,
}

impl Thread {
    /// A thread with zeroed registers, not yet in any queue.
    pub fn new(task: u16, priority: u8) -> Self {
        Thread {
            frame: Frame::default(),
            float: None,
            index: 0,
            alone: Queue::default(),
            awaited: State::Replying(task).bits() as u32,
            task,
            id: TaskId { index: task, generation: 0 },
            root: 0,
            space: 0,
            ports: false,
            extras: 0,
            state: State::Ready,
            priority,
            effective: priority,
            budget: Budget::nothing(),
            link: Link::UNLINKED,
            token: ReplyToken::NONE,
            sender: 0,
            leases: [Lease::default(); MAX_LEASES],
            mask: 0,
            last_received: [0; 2],
            last_sent: [0; 2],
            calls: Route::default(),
            receives: Route::default(),
            signals: Route::default(),
            polls: Route::default(),
            step: None,
        }
    }
}
