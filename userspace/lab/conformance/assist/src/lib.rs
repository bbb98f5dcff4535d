//! The protocol of the suite's assistant, which serves and misbehaves on request, and raw system calls for hostile arguments.
//!
//! Its argument decides what a life of it does (see [`role`]); as a server it knows the requests below. Statuses travel as
//! [`abi::Status`] numbers.
#![no_std]
#![warn(missing_docs)]

pub mod raw;
pub mod threads;
pub mod tricks;

/// What a life does, by the first word of its argument. Without one it serves.
pub mod role {
    /// Serves.
    pub const SERVE: &str = "serve";
    /// Commits the fault of the kind that follows ([`fault::KINDS`]).
    pub const FAULT: &str = "fault";
    /// Does the trick that follows ([`super::tricks`]).
    pub const TRICK: &str = "trick";
    /// Executes `int` with the number that follows.
    pub const INTERRUPT: &str = "interrupt";
    /// Of the task `owner` alone, which has a device's range: maps it, and hands the kernel addresses in it as the word that follows says.
    /// `frame`: dies with rbp in there; `stack`: with rsp in there; `panic`: panics with a message in there.
    pub const DEVICE: &str = "device";
    /// Of the task `owner` alone, which has a range of 256 MiB: maps it and takes it away, for ever.
    pub const WIDE: &str = "wide";
    /// Exits with code 0 where the kernel sanitises the flags with which it returns.
    pub const FLAGS: &str = "flags";
    /// Computes for ever in as many threads as follow.
    pub const CROWD: &str = "crowd";
    /// Writes text for ever that looks like other tasks' lines, with the word that follows in it.
    pub const FORGE: &str = "forge";
    /// Computes for ever, and takes no messages.
    pub const SPIN: &str = "spin";
    /// Exits with the code that follows.
    pub const EXIT: &str = "exit";
    /// Calls the task `server` with the label and the first word that follow, exits with code 0 once it has an answer.
    pub const CALL: &str = "call";
    /// Maps fresh memory with whatever access the kernel grants, writes code there, and calls it.
    pub const JUMP_MAPPED: &str = "jump-mapped";
    /// Reads memory after having unmapped it.
    pub const USE_UNMAPPED: &str = "use-unmapped";
    /// Calls address 0.
    pub const JUMP_NULL: &str = "jump-null";
    /// Pushes to a stack at a non-canonical address.
    pub const BAD_STACK: &str = "bad-stack";
    /// Allocates until there is nothing left.
    pub const EAT_HEAP: &str = "eat-heap";
    /// Allocates until the heap says no, gives all back, and does it again; exits with code 0 where it got as many bytes as follow, both times.
    pub const EAT_POLITELY: &str = "eat-politely";
    /// Of the task `frugal` alone: exits with the distance of two blocks of 129 bytes.
    pub const DISTANCE: &str = "distance";
    /// Panics with a message at an address that the kernel must not read.
    pub const PANIC_BAD_POINTER: &str = "panic-bad-pointer";
    /// Fills as many pages as follow with [`super::CANARY`], and exits.
    pub const CANARY: &str = "canary";
    /// Prints on the uppermost row of the screen, again and again.
    pub const PRINT: &str = "print";
    /// Writes as many lines as follow to its log, numbered, and exits.
    pub const LOG: &str = "log";
}

/// Every word of the memory that role [`role::CANARY`] fills.
pub const CANARY: u64 = 0x0dd_ca11_5ea5_1de5;

/// Answers with the words that came.
pub const ECHO: u16 = 1;
/// Answers with the label in word 0 and the words in reverse order.
pub const LABEL: u16 = 2;
/// Lease 0 (READ): word 0 the sum of its bytes, 1 its length, 2 how many bytes it could read.
pub const SUM: u16 = 3;
/// Lease 0 (WRITE): fills word 2 bytes from offset word 1 with byte word 0. Word 0 bytes written, 1 the status.
pub const FILL: u16 = 4;
/// Uses lease 0 (READ) and lease 1 (WRITE) as nobody may. Words: status of writing the first, of reading the second, of reading
/// a third, of reading the first from one past its end.
pub const ABUSE_LEASES: u16 = 5;
/// Keeps the caller waiting under the number in word 0.
pub const KEEP: u16 = 6;
/// Answers the caller kept under the number in word 0, with that number and word 1. Word 0 of the own answer: the status, or
/// `u64::MAX` where nobody is kept under it.
pub const RELEASE: u16 = 7;
/// Word 0: how many callers are kept.
pub const KEPT: u16 = 8;
/// Answers twice: first with words, then again with others.
pub const ANSWER_TWICE: u16 = 9;
/// Word 0: the status of the second answer of [`ANSWER_TWICE`].
pub const SECOND_STATUS: u16 = 10;
/// Sleeps for word 0 milliseconds; then commits the fault of row word 1 of [`fault::KINDS`].
pub const DIE: u16 = 11;
/// Sleeps for word 0 milliseconds, then answers.
pub const SLEEP: u16 = 12;
/// Takes a notification handle. Words: status of signalling bit word 0, of taking bits, of duplicating; and the status of
/// closing it twice in the last (the second one).
pub const TAKE_HANDLE: u16 = 13;
/// Answers with a memory object of a page, to be read only, that begins with word 0.
pub const GIVE_MEMORY: u16 = 14;
/// Makes objects of the kind in word 0 ([`Flood`]) until it is refused. Word 0 how many, 1 the status.
pub const FLOOD: u16 = 15;
/// Word 0: the raw [`abi::TaskId`] of this life.
pub const WHO: u16 = 16;
/// Copies word 2 bytes between lease 0 and the address in word 0 of its own space, by `lease_read` (word 1 = 0) or
/// `lease_write` (word 1 = 1). Word 0: the status.
pub const COPY_WILD: u16 = 17;
/// How many sent messages ([`NOTE`]) arrived: word 0; the first word of the last: word 1.
pub const NOTES: u16 = 18;
/// A message to be sent, not called.
pub const NOTE: u16 = 19;
/// Takes an endpoint handle and calls it. Word 0: the status of that call.
pub const CALL_BACK: u16 = 20;
/// Word 0: which request of this kind it is in this life, from 1 on; the other words come back.
pub const COUNT: u16 = 21;
/// Answers with the raw reply token of the caller kept under the number in word 0, or 0.
pub const TOKEN: u16 = 22;
/// As [`SUM`], word 0 milliseconds later.
pub const SUM_LATER: u16 = 25;
/// Answers the raw reply token in word 0. Word 0 of the own answer: the status.
pub const FORGE_REPLY: u16 = 23;
/// Sends word 0 messages to an endpoint at which nobody receives. Word 0: how many were refused for that.
pub const FLOOD_SENDS: u16 = 24;
/// Prints `said` and word 0.
pub const SAY: u16 = 26;

/// Answers with a handle of the [`abi::message::Kind`] in word 0, each time of the same object: an endpoint, a notification, or a memory object
/// of a MiB. The words come back.
pub const GIVE: u16 = 27;

/// Takes a notification handle and tries to set each of the 64 bits by it. Words: the bits that it could set by signalling, by a timer, by a copy that
/// it made with all bits; and the status of signalling all at once.
pub const RING: u16 = 28;

/// Requests to `patient`, a server on the executor.
pub mod patient {
    /// Answers with the words that came, word 0 milliseconds later.
    pub const LATER: u16 = 1;
    /// Lease 0 (WRITE): fills it with byte word 1, word 0 milliseconds later. Word 0 bytes written.
    pub const FILL_LATER: u16 = 2;
    /// Word 0: how many callers it holds, 1: the most that it has held.
    pub const HELD: u16 = 3;
}

/// Requests to `typist`, which puts what is typed on the screen.
pub mod typist {
    /// Words: how many characters are on the screen, and what [`fold`] makes of them.
    pub const TYPED: u16 = 1;
    /// Reads no keys for word 0 milliseconds, from the next one on.
    pub const PAUSE: u16 = 2;

    /// One more character: differs where one is lost, doubled, or in another place.
    pub fn fold(before: u64, character: char) -> u64 {
        (before ^ u64::from(u32::from(character))).wrapping_mul(0x100_0000_01b3)
    }
}

/// What [`FLOOD`] makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Flood {
    /// Endpoints.
    Endpoints = 0,
    /// Notifications.
    Notifications = 1,
    /// Timers.
    Timers = 2,
    /// Memory objects of one page.
    SmallMemory = 3,
    /// Memory objects of 256 pages.
    LargeMemory = 4,
    /// Handles of one notification.
    Handles = 5,
    /// Mappings of one memory object.
    Mappings = 6,
    /// Threads.
    Threads = 7,
    /// Calls that nobody receives, each by a thread of its own.
    Calls = 8,
    /// Lines for the log.
    Log = 9,
}

impl Flood {
    /// Every kind, in the order of its number.
    pub const ALL: [Flood; 10] = [
        Flood::Endpoints,
        Flood::Notifications,
        Flood::Timers,
        Flood::SmallMemory,
        Flood::LargeMemory,
        Flood::Handles,
        Flood::Mappings,
        Flood::Threads,
        Flood::Calls,
        Flood::Log,
    ];

    /// The kind of this number.
    pub fn from_u64(raw: u64) -> Option<Flood> {
        usize::try_from(raw).ok().and_then(|raw| Flood::ALL.get(raw)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::{Flood, tricks};

    #[test]
    fn every_trick_is_found_by_its_own_name() {
        let all = || [tricks::EXCEPTIONS, tricks::WAYS_BACK, tricks::HOLD_UPS].into_iter().flatten();
        for trick in all() {
            assert!(tricks::trick(trick.name).is_some_and(|found| found.vectors == trick.vectors), "{}", trick.name);
            assert_eq!(all().filter(|other| other.name == trick.name).count(), 1, "{}", trick.name);
        }
        assert!(tricks::trick("").is_none());
    }

    #[test]
    fn floods_survive_the_wire() {
        for kind in Flood::ALL {
            assert_eq!(Flood::from_u64(kind as u64), Some(kind));
        }
        assert_eq!(Flood::from_u64(Flood::ALL.len() as u64), None);
    }
}
