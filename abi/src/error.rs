//! Status codes, and the record of a task's death.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! statuses {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal,)*) => {
        /// The outcome of a system call, returned in `rax`. Values are returned in other registers,
        /// so a value is never mistaken for an error.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u32)]
        pub enum Status { $($(#[doc = $doc])* $name = $code,)* }

        impl Status {
            /// Every status, in the order of the codes.
            pub const ALL: &'static [Status] = &[$(Status::$name,)*];

            /// The status with this code.
            pub const fn from_u32(code: u32) -> Option<Status> {
                match code { $($code => Some(Status::$name),)* _ => None }
            }

            /// The meaning as a sentence for people.
            pub const fn describe(self) -> &'static str {
                match self {
                    $(Status::$name => {
                        // The compiler trims it, so that only the sentences are part of a program.
                        const SENTENCE: &str = concat!($($doc),*).trim_ascii();
                        SENTENCE
                    })*
                }
            }
        }
    };
}

statuses! {
    /// Done.
    Ok = 0,
    /// There is no system call of this number.
    BadSyscall = 1,
    /// The handle names nothing, or its object is gone.
    BadHandle = 2,
    /// The handle names an object of another kind.
    WrongKind = 3,
    /// The handle lacks the right that this needs.
    NoRights = 4,
    /// An argument is out of its range.
    BadArgument = 5,
    /// An address is null, not the task's, not mapped, or not mapped for this access.
    BadAddress = 6,
    /// The task's quota of frames is used up.
    QuotaFrames = 7,
    /// The task's quota of handles is used up.
    QuotaHandles = 8,
    /// The task's quota of kernel objects is used up.
    QuotaObjects = 9,
    /// The machine has no free frame.
    OutOfMemory = 10,
    /// Nothing to take now, or nobody waiting: try later.
    WouldBlock = 11,
    /// The server died after it had received the request; it may be asked again.
    PeerDied = 12,
    /// The server is dead and will not come back.
    PeerGone = 13,
    /// The reply came too late: the caller is gone, or was answered.
    StaleReply = 14,
    /// The caller's leased memory cannot be reached.
    LeaseFault = 15,
    /// The caller lent no such lease, or not for this access, or less than this.
    LeaseBounds = 16,
    /// There is no such task, or it is another life of it.
    NoSuchTask = 17,
    /// The task runs already.
    AlreadyRunning = 18,
    /// The task's last life is not reaped yet.
    NotReaped = 19,
    /// The program file is missing or is refused by the loader.
    BadImage = 20,
    /// The object is in use.
    Busy = 21,
    /// The priority is above the task's ceiling.
    Ceiling = 22,
    /// The call was refused: the server's priority is not above the caller's.
    CallOrder = 23,
    /// The task has written more to its log than it may, and is refused for a moment.
    QuotaLog = 24,
    /// The receiver does not take a handle of this kind.
    HandleRefused = 25,
    /// The task has had as many lives as can be told apart, and does not start again.
    NoMoreLives = 26,
}

impl core::fmt::Display for Status {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.describe())
    }
}

impl core::error::Error for Status {}

/// Why a task's life ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum DeathKind {
    /// The life has not ended.
    Alive = 0,
    /// The task called [`crate::Syscall::Exit`]; its exit code is in [`FaultRecord::error_code`].
    Exited = 1,
    /// The holder of the control right killed the task.
    Killed = 2,
    /// The task panicked; its message is in [`FaultRecord::message`].
    Panicked = 3,
    /// The task raised a processor exception; its vector is in [`FaultRecord::vector`].
    Exception = 4,
    /// The task did not answer its heartbeat in time, and was killed.
    Hung = 5,
}

impl DeathKind {
    /// The kind with this number; [`DeathKind::Alive`] for unknown numbers.
    pub const fn from_u32(raw: u32) -> Self {
        match raw {
            1 => Self::Exited,
            2 => Self::Killed,
            3 => Self::Panicked,
            4 => Self::Exception,
            5 => Self::Hung,
            _ => Self::Alive,
        }
    }
}

/// The most return addresses in a [`FaultRecord`].
pub const BACKTRACE_LEN: usize = 16;

/// The most bytes of a panic message in a [`FaultRecord`].
pub const MESSAGE_LEN: usize = 192;

/// The record of a task's death, which is kept until its next life begins. The registers are those
/// of the thread at fault.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FaultRecord {
    /// The cause, a [`DeathKind`].
    pub kind: u32,
    /// The exception vector (Intel SDM vol. 3A, table 6-1).
    pub vector: u32,
    /// The processor's error code of an exception, or the exit code.
    pub error_code: u64,
    /// The address that a page fault accessed (CR2), otherwise 0.
    pub address: u64,
    /// The instruction pointer.
    pub rip: u64,
    /// The stack pointer.
    pub rsp: u64,
    /// The flags.
    pub rflags: u64,
    /// The general registers: rax rbx rcx rdx rsi rdi rbp r8 r9 r10 r11 r12 r13 r14 r15.
    pub registers: [u64; 15],
    /// The return addresses found through the chain of frame pointers, innermost first.
    pub backtrace: [u64; BACKTRACE_LEN],
    /// How many entries of `backtrace` are valid; [`BACKTRACE_LEN`] + 1 if there were more callers.
    pub backtrace_len: u32,
    /// The life that ended, as [`crate::TaskId::to_u32`].
    pub task: u32,
    /// The code bytes from `rip` on, as far as they could be read.
    pub code: [u8; 16],
    /// How many bytes of `code` are valid.
    pub code_len: u32,
    /// How many bytes of `message` are valid.
    pub message_len: u32,
    /// The panic message, cut at a character boundary.
    pub message: [u8; MESSAGE_LEN],
    /// The last message that the thread received: its label, and the sender as
    /// [`crate::TaskId::to_u32`].
    pub last_received: [u32; 2],
    /// The last message that the thread sent: its label, and the handle of the endpoint.
    pub last_sent: [u32; 2],
    /// The time of death in nanoseconds since boot.
    pub time_ns: u64,
}

impl FaultRecord {
    /// The panic message as text.
    pub fn message(&self) -> &str {
        let bytes = self.message.get(..self.message_len as usize).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_else(|e| {
            core::str::from_utf8(bytes.get(..e.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        })
    }
}

const _: () = assert!(size_of::<FaultRecord>() == 544);

/// The name of an exception vector (Intel SDM vol. 3A, table 6-1), as crash reports print it.
pub const fn exception_name(vector: u32) -> &'static str {
    match vector {
        0 => "divide error (#DE)",
        1 => "debug (#DB)",
        3 => "breakpoint (#BP)",
        4 => "overflow (#OF)",
        5 => "bound range exceeded (#BR)",
        6 => "invalid opcode (#UD)",
        7 => "device not available (#NM)",
        8 => "double fault (#DF)",
        10 => "invalid TSS (#TS)",
        11 => "segment not present (#NP)",
        12 => "stack-segment fault (#SS)",
        13 => "general protection (#GP)",
        14 => "page fault (#PF)",
        16 => "x87 floating-point error (#MF)",
        17 => "alignment check (#AC)",
        18 => "machine check (#MC)",
        19 => "SIMD floating-point exception (#XM)",
        20 => "virtualization exception (#VE)",
        21 => "control protection (#CP)",
        _ => "unknown exception",
    }
}
