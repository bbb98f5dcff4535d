//! Which system call comes next, with which arguments; and what is to be remembered of its results.

use crate::Random;
use crate::Registers;
use crate::pool::{Handles, Kind, Pool, message};
use crate::values::{any, bits, edge, length};
use abi::message::{Header, Lease, MAX_LEASES, Rights};
use abi::{Status, Syscall, TaskId};

/// Bytes of the memory at which calls may read and write what they like.
pub const SCRATCH: usize = 4 * abi::PAGE_SIZE;

/// What the threads of a fuzzer share.
pub struct Shared {
    /// Handles it has or had.
    pub handles: Handles,
    /// Callers it has not answered, or has.
    pub tokens: Pool<12>,
    /// Callers that it has surely answered.
    pub answered: Pool<12>,
    /// Addresses at which it has mapped something, or had.
    pub mappings: Pool<12>,
}

impl Shared {
    /// With nothing in it.
    #[allow(clippy::new_without_default, reason = "it is only ever a static")]
    pub const fn new() -> Self {
        Shared { handles: Handles::new(), tokens: Pool::new(), answered: Pool::new(), mappings: Pool::new() }
    }
}

/// How often each call comes up, of the sum of all. What is not in it comes up too: see [`number`].
const OFTEN: [(Syscall, u64); 17] = [
    (Syscall::Call, 8),
    (Syscall::Recv, 2),
    (Syscall::Reply, 8),
    (Syscall::ReplyRecv, 4),
    (Syscall::Send, 6),
    (Syscall::Signal, 12),
    (Syscall::Wait, 1),
    (Syscall::Poll, 4),
    (Syscall::Yield, 4),
    (Syscall::ThreadCreate, 4),
    (Syscall::MemoryMap, 3),
    (Syscall::MemoryUnmap, 3),
    (Syscall::TimerArm, 3),
    (Syscall::HandleClose, 8),
    (Syscall::HandleDup, 3),
    (Syscall::LeaseRead, 3),
    (Syscall::LeaseWrite, 3),
];

/// Calls that end the thread or the task, flood the log, or do to another what ends it: now and then is enough.
const SELDOM: [Syscall; 7] = [
    Syscall::Exit,
    Syscall::Panic,
    Syscall::ThreadExit,
    Syscall::LogWrite,
    Syscall::DebugWrite,
    Syscall::DebugSetRegisters,
    Syscall::DebugPort,
];

/// The next call's number: of one in fifty nobody knows what it is.
pub fn number(random: &mut Random) -> u64 {
    if random.once_in(50) {
        // Numbers that the table leaves out, and those beyond it.
        return if random.once_in(2) { random.below(80) } else { any(random) };
    }
    if random.once_in(2) {
        let mut left = random.below(OFTEN.iter().map(|(_, often)| often).sum());
        for (call, often) in OFTEN {
            match left.checked_sub(often) {
                Some(less) => left = less,
                None => return call as u64,
            }
        }
    }
    let call = random.pick(Syscall::TABLE).map_or(Syscall::Yield, |(call, ..)| *call);
    let spared = match call {
        // Too many that wait, and nobody is left to wake them.
        Syscall::Recv | Syscall::Wait | Syscall::ReplyRecv => !random.once_in(4),
        call => SELDOM.contains(&call) && !random.once_in(24),
    };
    if spared { Syscall::Poll as u64 } else { call as u64 }
}

/// An address of scratch memory, or one where something ends, or any.
fn address(random: &mut Random, scratch: u64) -> u64 {
    match random.below(12) {
        0 => any(random),
        1 => edge(random),
        // Over the end, into whatever lies there.
        2 => scratch + SCRATCH as u64 - random.below(64),
        3 => (address as *const () as u64).wrapping_add(random.below(64)),
        _ => scratch + random.below(SCRATCH as u64 - 2048),
    }
}

/// Leases for a call.
pub fn leases(random: &mut Random, scratch: u64) -> [Lease; MAX_LEASES] {
    [(); MAX_LEASES].map(|()| Lease {
        addr: address(random, scratch),
        len: length(random) as u32,
        access: random.below(4) as u32 | if random.once_in(30) { random.next() as u32 } else { 0 },
    })
}

/// A system call: structured, so that it often gets far; each argument may still be anything. `scratch` is where [`SCRATCH`] bytes are, `leases`
/// where four leases are. What a new thread needs, the caller adds.
pub fn call(random: &mut Random, shared: &Shared, scratch: u64, leases: u64) -> Registers {
    let mut regs = Registers::new(number(random));
    let Shared { handles, tokens, mappings, .. } = shared;
    for place in [&mut regs.rdi, &mut regs.rsi, &mut regs.rdx, &mut regs.r10, &mut regs.r8, &mut regs.r9] {
        *place = any(random);
    }
    for place in [&mut regs.r12, &mut regs.r13, &mut regs.r14, &mut regs.r15] {
        *place = any(random);
    }
    let Some(call) = Syscall::from_u64(regs.rax).filter(|_| !random.once_in(25)) else { return regs };
    let wild = regs;
    let pick = |random: &mut Random, kind| handles.pick(random, kind);
    match call {
        Syscall::Yield | Syscall::Exit | Syscall::ThreadExit => {}
        Syscall::Panic | Syscall::LogWrite => {
            (regs.rdi, regs.rsi) = (address(random, scratch), random.below(24));
        }
        Syscall::ThreadCreate => regs.r10 = random.below(34),
        Syscall::ThreadPriority => {
            regs.rdi = if random.once_in(2) { abi::syscall::THIS_THREAD } else { pick(random, Kind::Thread) };
            regs.rsi = random.below(34);
        }
        Syscall::Call | Syscall::Send => {
            regs.rdi = pick(random, Kind::Endpoint);
            (regs.rsi, regs.r10) = message(random, handles, call == Syscall::Call);
            regs.r8 = leases;
        }
        Syscall::Recv => {
            // Mostly the own one: everyone else's is refused.
            regs.rdi = if random.once_in(3) { pick(random, Kind::Endpoint) } else { abi::info::ENDPOINT.into() };
            regs.rsi = bits(random);
        }
        Syscall::Reply | Syscall::ReplyRecv => {
            (regs.rsi, regs.r10) = message(random, handles, false);
            let token = tokens.pick(random);
            if call == Syscall::Reply {
                regs.rdi = token;
            } else {
                regs.rdi = if random.once_in(3) { pick(random, Kind::Endpoint) } else { abi::info::ENDPOINT.into() };
                (regs.r8, regs.r9) = (token, bits(random));
            }
        }
        Syscall::LeaseRead | Syscall::LeaseWrite | Syscall::LeaseInfo => {
            let from = if random.once_in(6) { &shared.answered } else { tokens };
            (regs.rdi, regs.rsi) = (from.pick(random), random.below(5));
            (regs.rdx, regs.r10, regs.r8) = (length(random) / 4, address(random, scratch), length(random));
        }
        Syscall::EndpointCreate | Syscall::NotificationCreate => {}
        Syscall::EndpointTakes => {
            regs.rdi = if random.once_in(3) { pick(random, Kind::Endpoint) } else { abi::info::ENDPOINT.into() };
            regs.rsi = if random.once_in(6) { any(random) } else { random.below(16) & !1 };
        }
        Syscall::EndpointBind => {
            (regs.rdi, regs.rsi) = (pick(random, Kind::Endpoint), pick(random, Kind::Notification));
        }
        Syscall::Signal | Syscall::Wait | Syscall::Poll => {
            let own = call == Syscall::Wait && !random.once_in(4);
            regs.rdi = if own { abi::info::NOTIFICATION.into() } else { pick(random, Kind::Notification) };
            regs.rsi = bits(random);
        }
        Syscall::MemoryCreate => (regs.rdi, regs.rsi) = (random.below(6), random.below(2)),
        Syscall::MemoryMap => {
            regs.rdi = pick(random, Kind::Memory);
            regs.rsi = match random.below(4) {
                0 => mappings.pick(random).wrapping_add(random.below(3) * abi::PAGE_SIZE as u64),
                1 => any(random) & !(abi::PAGE_SIZE as u64 - 1),
                _ => 0,
            };
            regs.rdx = random.below(2);
        }
        Syscall::MemoryUnmap => regs.rdi = mappings.pick(random),
        Syscall::MemoryInfo => regs.rdi = pick(random, Kind::Memory),
        Syscall::IrqAck => regs.rdi = pick(random, Kind::Interrupt),
        Syscall::TimerCreate => (regs.rdi, regs.rsi) = (pick(random, Kind::Notification), random.below(62)),
        Syscall::TimerArm | Syscall::TimerDisarm => {
            regs.rdi = pick(random, Kind::Timer);
            // In the past, soon, or whenever.
            regs.rsi = match random.below(3) {
                0 => random.below(1 << 20),
                1 => rt::time::now_ns().wrapping_add(random.below(5_000_000)),
                _ => any(random),
            };
        }
        Syscall::HandleClose => {
            regs.rdi = handles.any(random).0;
            // Those that it begins with it would never have again.
            if regs.rdi < 16 && !random.once_in(60) {
                regs.rdi = any(random);
            }
        }
        Syscall::HandleDup => {
            regs.rdi = handles.any(random).0;
            regs.rsi = if random.once_in(3) { random.next() } else { u64::MAX };
            // A badge, or a set of bits.
            regs.rdx = if random.once_in(2) { 0 } else { any(random) >> random.below(64) };
        }
        Syscall::LogRead => {
            regs.rdi = pick(random, Kind::System);
            regs.rsi = if random.once_in(4) { abi::syscall::KERNEL_LOG } else { random.below(10) };
            (regs.rdx, regs.r10, regs.r8) = (any(random), address(random, scratch), length(random));
        }
        Syscall::TaskSpawn => {
            regs.rdi = pick(random, Kind::System);
            (regs.rsi, regs.rdx, regs.r10) = (random.below(10), address(random, scratch), random.below(140));
        }
        Syscall::TaskKill | Syscall::TaskReap | Syscall::TaskSetRestart | Syscall::TaskSignal => {
            (regs.rdi, regs.rsi) = (pick(random, Kind::System), random.below(10));
        }
        Syscall::TaskStatus | Syscall::TaskFault => {
            (regs.rdi, regs.rsi) = (pick(random, Kind::System), random.below(10));
            regs.rdx = address(random, scratch);
        }
        Syscall::SystemInfo => (regs.rdi, regs.rsi) = (pick(random, Kind::System), address(random, scratch)),
        Syscall::DebugRead
        | Syscall::DebugWrite
        | Syscall::DebugRegisters
        | Syscall::DebugSetRegisters
        | Syscall::DebugInterrupt
        | Syscall::DebugPort => {
            regs.rdi = victim(random);
            (regs.rsi, regs.rdx, regs.r10) = match call {
                Syscall::DebugRead | Syscall::DebugWrite => {
                    (address(random, scratch), address(random, scratch), length(random))
                }
                Syscall::DebugInterrupt => (random.below(34), random.below(4), 0),
                Syscall::DebugPort => (0x2f0 + random.below(32), random.below(5) | random.below(2) << 8, any(random)),
                _ => (address(random, scratch), 0, 0),
            };
        }
    }
    // One argument of a few calls is anything after all.
    if random.once_in(12) {
        match random.below(6) {
            0 => regs.rdi = wild.rdi,
            1 => regs.rsi = wild.rsi,
            2 => regs.rdx = wild.rdx,
            3 => regs.r10 = wild.r10,
            4 => regs.r8 = wild.r8,
            _ => regs.r9 = wild.r9,
        }
    }
    regs
}

/// An answer to a caller that has just been received, so that it does not wait for ever.
pub fn answer(random: &mut Random, shared: &Shared, token: u64) -> Registers {
    let mut regs = Registers::new(Syscall::Reply as u64);
    (regs.rsi, regs.r10) = message(random, &shared.handles, false);
    (regs.rdi, regs.r8) = (token, token);
    if random.once_in(3) {
        (regs.rax, regs.rdi, regs.r9) = (Syscall::ReplyRecv as u64, abi::info::ENDPOINT.into(), u64::MAX);
    }
    (regs.r12, regs.r13, regs.r14, regs.r15) = (any(random), any(random), any(random), any(random));
    regs
}

/// A task as a debugger names it: row and life, mostly of the one that may be debugged.
fn victim(random: &mut Random) -> u64 {
    let row = if random.once_in(4) { random.below(10) as u16 } else { 4 };
    TaskId { index: row, generation: random.below(60) as u32 + 1 }.to_u32().into()
}

/// What a call must not succeed with: rights that its handle, the one in `rdi`, would need.
fn needs(asked: &Registers) -> Rights {
    match Syscall::from_u64(asked.rax) {
        Some(Syscall::Call | Syscall::Send) => Rights::CALL,
        Some(Syscall::Recv | Syscall::ReplyRecv | Syscall::EndpointTakes | Syscall::EndpointBind) => Rights::RECV,
        Some(Syscall::Signal | Syscall::TimerCreate) => Rights::SIGNAL,
        Some(Syscall::Wait | Syscall::Poll) => Rights::WAIT,
        Some(Syscall::MemoryMap) if asked.rdx == 1 => Rights::READ | Rights::WRITE,
        Some(Syscall::MemoryMap) => Rights::READ,
        Some(Syscall::HandleDup) => Rights::GRANT,
        Some(Syscall::LogRead) => Rights::LOGS,
        Some(Syscall::TaskStatus | Syscall::TaskFault | Syscall::SystemInfo) => Rights::INSPECT,
        Some(
            Syscall::TaskSpawn | Syscall::TaskKill | Syscall::TaskReap | Syscall::TaskSetRestart | Syscall::TaskSignal,
        ) => Rights::CONTROL,
        _ => Rights::empty(),
    }
}

/// Why a call must not succeed, as far as a fuzzer can know before it makes it: nobody here has control, a copy of a handle has the rights
/// that were asked for at most, and who has been answered is nobody's caller any more.
pub fn forbidden(shared: &Shared, asked: &Registers) -> Option<&'static str> {
    if needs(asked).intersects(shared.handles.lacks(asked.rdi) | Rights::CONTROL) {
        return Some("without the right");
    }
    let token = match Syscall::from_u64(asked.rax) {
        Some(Syscall::Reply | Syscall::LeaseRead | Syscall::LeaseWrite | Syscall::LeaseInfo) => asked.rdi,
        _ => 0,
    };
    shared.answered.has(token).then_some("for a caller that was answered")
}

/// Remembers what came of a call.
pub fn learn(random: &mut Random, shared: &Shared, asked: &Registers, got: &Registers) {
    let Shared { handles, tokens, answered, mappings } = shared;
    if got.rax != Status::Ok as u64 {
        // A handle that names nothing is tried again only now and then.
        if got.rax == Status::BadHandle as u64 && !random.once_in(8) {
            handles.forget(asked.rdi & 0xffff_ffff);
        }
        return;
    }
    let Some(call) = Syscall::from_u64(asked.rax) else { return };
    match call {
        Syscall::EndpointCreate => handles.put(random, Kind::Endpoint, got.rdx, Rights::empty()),
        Syscall::NotificationCreate => handles.put(random, Kind::Notification, got.rdx, Rights::empty()),
        Syscall::MemoryCreate => handles.put(random, Kind::Memory, got.rdx, Rights::empty()),
        Syscall::TimerCreate => handles.put(random, Kind::Timer, got.rdx, Rights::empty()),
        Syscall::ThreadCreate => handles.put(random, Kind::Thread, got.rdx, Rights::empty()),
        Syscall::HandleDup => {
            let lacks = handles.lacks(asked.rdi) | !Rights::from_bits_truncate(asked.rsi as u32) | Rights::RECV;
            handles.put(random, Kind::Unknown, got.rdx, lacks);
        }
        Syscall::HandleClose => handles.forget(asked.rdi),
        Syscall::MemoryMap => mappings.put(random, got.rdx),
        Syscall::MemoryUnmap => mappings.forget(asked.rdi),
        Syscall::Call | Syscall::Recv | Syscall::ReplyRecv => {
            if let Some(kind) = Header(got.rsi).handle() {
                let lacks = !Rights::from_bits_truncate((got.r10 >> 32) as u32);
                handles.put(random, Kind::of(kind), got.r10 & 0xffff_ffff, lacks);
            }
            if call != Syscall::Call && got.r8 != 0 {
                tokens.put(random, got.r8);
            }
        }
        Syscall::Reply => {
            tokens.forget(asked.rdi);
            answered.put(random, asked.rdi);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_comes_up_and_some_that_are_none() {
        let mut random = Random::new(5);
        let mut count = [0_u32; 64];
        let mut none = 0;
        for _ in 0..200_000 {
            let number = number(&mut random);
            match Syscall::from_u64(number) {
                Some(_) => count[number as usize] += 1,
                None => none += 1,
            }
        }
        for (call, name, _) in Syscall::TABLE {
            assert!(count[*call as usize] > 60, "{name}: {}", count[*call as usize]);
        }
        assert!(none > 2000);
        assert!(count[Syscall::Exit as usize] < 300, "a fuzzer lives for some thousand calls");
    }

    #[test]
    fn what_was_made_is_used() {
        static SHARED: Shared = Shared::new();
        let mut random = Random::new(9);
        let asked = Registers::new(Syscall::MemoryCreate as u64);
        learn(&mut random, &SHARED, &asked, &Registers { rdx: 77, ..Registers::default() });
        let uses = |random: &mut Random| {
            let regs = call(random, &SHARED, 0x10_0000, 0x20_0000);
            regs.rax == Syscall::MemoryMap as u64 && regs.rdi == 77
        };
        assert!((0..2000).any(|_| uses(&mut random)));
    }

    #[test]
    fn what_must_fail_is_known() {
        static SHARED: Shared = Shared::new();
        let mut random = Random::new(9);
        let asked = |call: Syscall, rdi, rsi| Registers { rdi, rsi, ..Registers::new(call as u64) };
        let done = Registers { rdx: 0x1_0005, ..Registers::default() };
        learn(&mut random, &SHARED, &asked(Syscall::NotificationCreate, 0, 0), &Registers { rdx: 4, ..done });
        assert_eq!(forbidden(&SHARED, &asked(Syscall::Signal, 4, 1)), None);
        learn(&mut random, &SHARED, &asked(Syscall::HandleDup, 4, Rights::WAIT.bits().into()), &done);
        assert_eq!(forbidden(&SHARED, &asked(Syscall::Wait, 0x1_0005, 1)), None);
        for call in [Syscall::Signal, Syscall::HandleDup, Syscall::TimerCreate] {
            assert_eq!(forbidden(&SHARED, &asked(call, 0x1_0005, 1)), Some("without the right"), "{call:?}");
        }
        assert!(forbidden(&SHARED, &asked(Syscall::TaskKill, 77, 0)).is_some(), "nobody has control");
        assert_eq!(forbidden(&SHARED, &asked(Syscall::Reply, 0x7_0001, 0)), None);
        learn(&mut random, &SHARED, &asked(Syscall::Reply, 0x7_0001, 0), &done);
        for call in [Syscall::Reply, Syscall::LeaseRead] {
            assert!(forbidden(&SHARED, &asked(call, 0x7_0001, 0)).is_some(), "{call:?}");
        }
    }
}
