//! What a task does that wants to hurt the others: it hurts itself. The names say which of the demands of `docs/security.md` they show.

use crate::faults::death_of;
use crate::memory::ring;
use crate::support::{
    Background, Context, Helper, Life, Outcome, ask, boss, call_beside, check, eventually, peer, row, same, status,
    want,
};
use abi::error::DeathKind;
use abi::message::{Header, Lease};
use abi::{Status, Syscall};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use assist::raw::{Registers, syscall};
use assist::tricks::{EXCEPTIONS, HOLD_UPS, LEFTOVERS, Trick, WAYS_BACK};
use assist::{Flood, role};
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use rt::ipc::{CallError, Endpoint};
use rt::syscall as sys;
use rt::time::{now_ns, sleep_ms};

const MS: u64 = 1_000_000;

/// The kernel's image.
const KERNEL_ADDRESS: u64 = 0xffff_ffff_8000_0000;

/// What one answer may take on a busy emulated machine while others do their worst, in milliseconds: several of the scheduler's periods.
const SLOW_MS: u64 = 500;

/// Each of them ends the life that tries it, with one of its exceptions.
fn all_end(tricks: &[Trick]) -> Outcome {
    let mut wrong = alloc::string::String::new();
    for trick in tricks {
        let record = death_of("assist", &format!("{} {}", role::TRICK, trick.name)).context(trick.name)?;
        let (kind, vector) = (DeathKind::from_u32(record.kind), record.vector);
        if kind != DeathKind::Exception || !trick.vectors.contains(&vector) {
            let _ = write!(
                wrong,
                "{} ended as {kind:?}, vector {vector} at {:#x}, address {:#x}, code {:x?}, instead of {:?}; ",
                trick.name, record.rip, record.address, record.code, trick.vectors
            );
        }
    }
    check!(wrong.is_empty(), "{wrong}");
    Ok(())
}

pub fn d01_every_exception() -> Outcome {
    all_end(EXCEPTIONS)
}

pub fn d07_no_way_to_another_ring() -> Outcome {
    all_end(WAYS_BACK)
}

pub fn d07_flags_are_sanitised() -> Outcome {
    let record = death_of("assist", role::FLAGS)?;
    same!(DeathKind::from_u32(record.kind), DeathKind::Exited, "kind of death");
    same!(record.error_code as u32, 0, "exit code");
    Ok(())
}

pub fn d09_nobody_holds_the_processor() -> Outcome {
    all_end(HOLD_UPS)
}

pub fn d21_nothing_left_over_is_usable() -> Outcome {
    all_end(LEFTOVERS)
}

/// Ring 3 may call the breakpoint's vector and no other of the 256.
pub fn d21_every_interrupt_number() -> Outcome {
    for number in 0..=u8::MAX {
        let record = death_of("assist", &format!("{} {number}", role::INTERRUPT)).context("int")?;
        let wanted = if number == 3 { 3 } else { 13 };
        let found = (DeathKind::from_u32(record.kind), record.vector);
        same!(found, (DeathKind::Exception, wanted), "int {number}");
    }
    Ok(())
}

/// User code and user data, with each of the four privilege levels that one may ask for, are all that ring 3 can use of 65,536 selectors.
pub fn d21_two_segments_are_all() -> Outcome {
    same!(assist::tricks::usable_selectors(), (8, (0x20..0x24).chain(0x28..0x2c).sum()), "selectors and their sum");
    Ok(())
}

/// The longest of `count` requests to the server, in milliseconds; the suite sleeps between them.
fn slowest(count: u64) -> Result<u64, alloc::string::String> {
    let server = peer("server")?;
    let mut slowest = 0;
    for i in 0..count {
        let start = now_ns();
        same!(ask(server, assist::ECHO, [i; 4])?, [i; 4], "echo {i}");
        slowest = slowest.max(now_ns() - start);
        sleep_ms(10);
    }
    Ok(slowest / MS)
}

/// Two hundred threads of one task, which is more important than the suite, compute for ever: together they have one task's share at their
/// priority, and the suite gets its own.
pub fn d09_a_crowd_loses_only_its_share() -> Outcome {
    const THREADS: u32 = 200;
    /// Of the time in the test, in hundredths: less than the suite's slice is of a period.
    const LEAST: u64 = 3;
    let index = row("crowd")?;
    let life = Life::start("crowd", &format!("{} {THREADS}", role::CROWD))?;
    eventually("a crowd", 5_000, || Ok(status(index)?.threads == THREADS))?;
    let took = slowest(40)?;
    check!(took < SLOW_MS, "an answer took {took} ms beside {THREADS} threads");
    let own = || status(rt::me().index.into()).map(|status| status.cpu_ns);
    let (start, before) = (now_ns(), own()?);
    while now_ns() - start < 1_000 * MS {
        core::hint::spin_loop();
    }
    let (passed, had) = (now_ns() - start, own()? - before);
    check!(had * 100 / passed >= LEAST, "the suite had {} of {} ms beside {THREADS} threads", had / MS, passed / MS);
    life.kill()?;
    same!(DeathKind::from_u32(life.record()?.kind), DeathKind::Killed, "kind of death");
    Ok(())
}

/// A lease table of one entry, which threads change while the kernel reads it: an address, and behind it length and access.
#[repr(C)]
struct Table {
    addr: AtomicU64,
    rest: AtomicU64,
}

impl Table {
    const fn new() -> Table {
        Table { addr: AtomicU64::new(0), rest: AtomicU64::new((Lease::READ as u64) << 32 | ONES.len() as u64) }
    }

    /// Calls with the table as it is at that moment; returns status and first word.
    fn call(&self, server: Endpoint, label: u16, word: u64) -> (u64, u64) {
        let registers = Registers {
            rdi: server.0.into(),
            rsi: Header::new(label).with_leases(1).0,
            r12: word,
            r8: (&raw const *self) as u64,
            ..Registers::default()
        };
        // SAFETY: the table only ever lends constants, to be read, or what the kernel must refuse.
        let outcome = unsafe { syscall(Syscall::Call as u64, registers) };
        (outcome.code, outcome.word)
    }
}

const _: () = assert!(size_of::<Table>() == size_of::<Lease>());

static ONES: [u8; 100] = [1; 100];
static TWOS: [u8; 100] = [2; 100];

/// What is changed after the call was made is changed in vain: the server gets what was lent then, however late it looks.
pub fn d03_leases_are_fetched_once() -> Outcome {
    static TABLE: Table = Table::new();
    let server = peer("server")?;
    for changed in [TWOS.as_ptr() as u64, KERNEL_ADDRESS, 0] {
        TABLE.addr.store(ONES.as_ptr() as u64, Ordering::Relaxed);
        let caller = Background::run(move || TABLE.call(server, assist::SUM_LATER, 100))?;
        sleep_ms(30);
        TABLE.addr.store(changed, Ordering::Relaxed);
        let found = caller.finish("a call of 100 ms")?;
        same!(found, (0, 100), "status and sum, the address having become {changed:#x}");
    }
    Ok(())
}

/// One thread changes the table all the time while another calls with it: every call lends one thing or the other, and never the kernel's.
pub fn d03_a_table_that_changes_is_never_mixed() -> Outcome {
    static TABLE: Table = Table::new();
    let server = peer("server")?;
    let stop = Arc::new(AtomicBool::new(false));
    let racing = stop.clone();
    let places = [ONES.as_ptr() as u64, TWOS.as_ptr() as u64, KERNEL_ADDRESS];
    let racer = Background::run(move || {
        let mut changes = 0;
        for place in places.into_iter().cycle() {
            TABLE.addr.store(place, Ordering::Relaxed);
            changes += 1_u64;
            if changes.is_multiple_of(61) {
                sys::yield_now();
            }
            if racing.load(Ordering::Relaxed) {
                break;
            }
        }
        changes
    })?;
    let mut seen = [0_u32; 3];
    let mut odd = None;
    for _ in 0..5_000 {
        sys::yield_now();
        match TABLE.call(server, assist::SUM, 0) {
            (0, 100) => seen[0] += 1,
            (0, 200) => seen[1] += 1,
            (0, 0) => seen[2] += 1,
            other => odd = Some(other),
        }
    }
    stop.store(true, Ordering::Relaxed);
    let changes = racer.finish("the racing thread")?;
    same!(odd, None, "status and sum of a call that brought something else");
    check!(changes > 100 && seen.iter().all(|&count| count > 0), "{changes} changes, {seen:?} calls with each");
    Ok(())
}

/// Requests that wait while the server dies are answered by its next life, each once.
pub fn d13_the_next_life_answers_once() -> Outcome {
    const CALLERS: u64 = 8;
    let server = peer("server")?;
    let invalid = fault::KINDS.iter().position(|kind| kind.name == "invalid-opcode").unwrap_or_default() as u64;
    let killer = call_beside(server, assist::DIE, [300, invalid, 0, 0])?;
    sleep_ms(50);
    let mut queued = Vec::new();
    for i in 0..CALLERS {
        queued.push(call_beside(server, assist::COUNT, [0, i, i + 1, i + 2])?);
    }
    let killed = killer.finish("the call that kills")?.map(|reply| reply.label);
    check!(matches!(killed, Err(CallError::Died { .. })), "the call that kills: {killed:?}");
    let mut numbers = 0_u64;
    for (i, call) in (0..).zip(queued) {
        let words = call.finish("a queued call")?.context("queued call")?.words;
        same!(words[1..], [i, i + 1, i + 2], "whose answer caller {i} got");
        check!((1..=CALLERS).contains(&words[0]), "caller {i} was number {}", words[0]);
        numbers |= 1 << words[0];
    }
    same!(numbers.count_ones(), CALLERS as u32, "different numbers");
    same!(ask(server, assist::COUNT, [0; 4])?[0], CALLERS + 1, "requests that the next life has had");
    Ok(())
}

/// A reply token is good for the caller that waits under it, in the hands of who received it, and for nothing else.
pub fn d14_tokens_are_worth_nothing_elsewhere() -> Outcome {
    let server = peer("server")?;
    let kept = call_beside(server, assist::KEEP, [900, 0, 0, 0])?;
    let mut token = 0;
    eventually("a kept caller", 2_000, || {
        token = ask(server, assist::TOKEN, [900, 0, 0, 0])?[0];
        Ok(token != 0)
    })?;
    let old = {
        let helper = Helper::start()?;
        for guess in
            [token, token + 1, token - 1, token ^ 1 << 16, token + (1 << 16), token - (1 << 16), 0, 1, u64::MAX]
        {
            let status = helper.ask(assist::FORGE_REPLY, [guess, 0, 0, 0])?[0];
            want(status, Status::StaleReply, &format!("another task's reply to token {guess:#x}"))?;
        }
        let own = call_beside(helper.endpoint, assist::KEEP, [901, 0, 0, 0])?;
        let mut old = 0;
        eventually("a second kept caller", 2_000, || {
            old = helper.ask(assist::TOKEN, [901, 0, 0, 0])?[0];
            Ok(old != 0)
        })?;
        helper.life.kill()?;
        let result = own.finish("the kept call")?.map(|reply| reply.label);
        same!(result, Err(CallError::Died { generation: helper.life.id.generation }), "the kept call");
        old
    };
    // The next life holds its predecessor's token while a caller waits, perhaps in the same thread's place.
    let helper = Helper::start()?;
    let again = call_beside(helper.endpoint, assist::KEEP, [902, 0, 0, 0])?;
    eventually("a third kept caller", 2_000, || Ok(helper.ask(assist::KEPT, [0; 4])?[0] == 1))?;
    want(helper.ask(assist::FORGE_REPLY, [old, 0, 0, 0])?[0], Status::StaleReply, "a reply to the last life's token")?;
    want(helper.ask(assist::RELEASE, [902, 7, 0, 0])?[0], Status::Ok, "the right reply")?;
    same!(again.finish("the third kept call")?.context("kept call")?.words, [902, 7, 0, 0], "its answer");
    want(ask(server, assist::RELEASE, [900, 8, 0, 0])?[0], Status::Ok, "the first caller's reply")?;
    same!(kept.finish("the first kept call")?.context("kept call")?.words, [900, 8, 0, 0], "its answer");
    Ok(())
}

/// Messages that nobody takes are refused, one like the other, and lie nowhere.
pub fn d15_sends_take_nothing() -> Outcome {
    const SENDS: u64 = 100_000;
    let helper = Helper::start()?;
    let index = helper.life.id.index.into();
    let used = || status(index).map(|status| [status.handles, status.objects, status.frames]);
    let info = || rt::task::system_info().map(|info| info.heap_used).context("system_info");
    helper.ask(assist::FLOOD_SENDS, [10, 0, 0, 0])?;
    let before = (used()?, info()?);
    same!(helper.ask(assist::FLOOD_SENDS, [SENDS, 0, 0, 0])?[0], SENDS, "messages that were refused");
    same!((used()?, info()?), before, "handles, objects, frames, and bytes of the kernel's heap");
    Ok(())
}

/// While a task holds all that it can get of one kind, the others get theirs.
pub fn d15_others_go_on_beside_a_flood() -> Outcome {
    for kind in Flood::ALL {
        let helper = Helper::start()?;
        helper.ask(assist::FLOOD, [kind as u64, 0, 0, 0])?;
        let one_of_each = || {
            let endpoint = sys::endpoint_create()?;
            let note = sys::notification_create()?;
            let timer = sys::timer_create(note, 3)?;
            let memory = sys::memory_create(256, false)?;
            // SAFETY: mapped where the kernel likes; nothing refers to it.
            let address = unsafe { sys::memory_map(memory, 0, true) }?;
            // SAFETY: as above.
            unsafe { sys::memory_unmap(address) }?;
            for handle in [timer, note, endpoint, memory] {
                sys::handle_close(handle)?;
            }
            Ok::<(), Status>(())
        };
        one_of_each().context("an object of each kind").map_err(|error| format!("{kind:?}: {error}"))?;
        let took = slowest(5)?;
        check!(took < SLOW_MS, "{kind:?}: an answer took {took} ms");
        same!(Background::run(|| 5)?.finish("a thread")?, 5, "{kind:?}: what a thread of the suite's says");
    }
    Ok(())
}

/// Only the table's tasks run, and each once: who asks for more is told so, as often as it asks.
pub fn d15_spawns_are_refused() -> Outcome {
    let boss = boss()?;
    let before = rt::task::system_info().context("system_info")?;
    for i in 0..1_000 {
        let found = boss.spawn("server", "");
        check!(found.is_err(), "spawn {i} of a task that runs: {found:?}");
    }
    let after = rt::task::system_info().context("system_info")?;
    same!((after.tasks, after.frames_free), (before.tasks, before.frames_free), "tasks and free frames");
    Ok(())
}

/// The supervisor waits for nobody: it answers at once while a task that it watches hangs, and ends that.
pub fn d18_the_supervisor_answers_while_a_driver_hangs() -> Outcome {
    let boss = boss()?;
    let life = Life::start("watched", role::SPIN)?;
    let (index, start) = (usize::from(life.id.index), now_ns());
    let mut asked = 0;
    while status(index)?.id == life.id.to_u32() && status(index)?.state == abi::task::TaskState::Running as u32 {
        let before = now_ns();
        boss.state(index).context("state")?;
        let took = (now_ns() - before) / MS;
        check!(took < SLOW_MS, "the supervisor took {took} ms");
        asked += 1;
        check!(now_ns() - start < 5_000 * MS, "a task that hangs lives on after 5 s and {asked} questions");
        sleep_ms(10);
    }
    check!(asked > 3, "the supervisor was asked {asked} times only");
    same!(DeathKind::from_u32(life.record()?.kind), DeathKind::Hung, "kind of death");
    Ok(())
}

/// Text for ever, made to look like the suite's. What of it reached the kernel's log as a line of the suite's would be read there as the
/// verdict of a test that failed.
pub fn d20_a_flood_neither_starves_nor_forges() -> Outcome {
    let index = row("assist")?;
    let life = Life::start("assist", &format!("{} counterfeit", role::FORGE))?;
    eventually("a flood", 5_000, || Ok(ring(index, 0)?.0.contains("counterfeit")))?;
    for line in 0..40 {
        rt::println!("genuine {line:02} {}", "0123456789abcdef");
    }
    let (own, _) = ring(rt::me().index.into(), 0)?;
    let numbers: Vec<u32> = own.lines().filter_map(|l| l.strip_prefix("genuine ")?.get(..2)?.parse().ok()).collect();
    check!((0..40).eq(numbers.iter().copied()), "the suite's lines are {numbers:?}");
    let took = slowest(20)?;
    check!(took < SLOW_MS, "an answer took {took} ms beside a flood");
    for (what, log) in [("the suite's", rt::me().index.into()), ("the kernel's", rt::task::KERNEL_LOG)] {
        check!(!ring(log, 0)?.0.contains("counterfeit"), "the flood is in {what} log");
    }
    life.kill()?;
    same!(DeathKind::from_u32(life.record()?.kind), DeathKind::Killed, "kind of death");
    Ok(())
}
