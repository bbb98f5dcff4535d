//! Ten thousand lives, each killed at another moment with other things in its hands: afterwards everything is as it was.

use crate::bench::{Context, Outcome, begin, is_over, kill, row};
use abi::error::DeathKind;
use abi::message::bits;
use abi::task::Activity;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use rt::syscall::yield_now;

const LIVES: u64 = 10_000;
/// Lives before counting begins, so that what is made once and stays is there.
const FIRST: u64 = 300;
/// As in the subject.
const STEPS: u64 = 16;
const ENDS: u64 = 8;

/// Every counter that tells what there is, of the machine and of each task.
fn counters(rows: &[usize]) -> Result<Vec<(String, u64)>, String> {
    let info = rt::task::system_info().context("system_info")?;
    let mut all: Vec<(String, u64)> = [
        ("free frames", info.frames_free),
        ("bytes of the kernel's heap", info.heap_used),
        ("tasks", info.tasks.into()),
        ("threads", info.threads.into()),
        ("endpoints", info.endpoints.into()),
        ("notifications", info.notifications.into()),
        ("memory objects", info.memories.into()),
        ("timers", info.timers.into()),
        ("spurious interrupts", info.spurious),
    ]
    .map(|(name, value)| (name.into(), value))
    .into();
    for &row in rows {
        let status = rt::task::status(row).context("task_status")?;
        for (name, value) in [
            ("frames", status.frames),
            ("handles", status.handles),
            ("objects", status.objects),
            ("threads", status.threads),
            ("state", status.state),
            ("activity", status.activity),
        ] {
            all.push((format!("{name} of row {row}"), value.into()));
        }
    }
    Ok(all)
}

/// One life of the holder, from its begin to its burial. Returns how many kernel objects it held when it was killed.
fn life(holder: usize, number: u64) -> Result<u64, String> {
    // Both walk through all their values, in no step with each other.
    let (from, count) = (number % (STEPS * ENDS), number / 3 % (STEPS + 1));
    begin(holder, &format!("hold {from} {count}"))?;
    // The holder is more important than this thread: it has run until it waits, or takes its steps in between.
    for _ in 0..number / 7 % (STEPS + 4) {
        if is_over(holder)? {
            break;
        }
        yield_now();
    }
    let held = rt::task::status(holder).context("task_status")?.objects;
    if is_over(holder)? {
        // It ended as it was told, with all its steps behind it.
        let record = rt::task::fault(holder).context("task_fault")?;
        match (DeathKind::from_u32(record.kind), record.error_code as u32, record.vector) {
            (DeathKind::Exited, 0, _) | (DeathKind::Exception, _, 6) => {}
            other => return Err(format!("hold {from} {count} ended as {other:?}")),
        }
    }
    kill(holder)?;
    Ok(held.into())
}

pub fn ten_thousand_lives() -> Outcome {
    let [keeper, deaf, holder, client] = [row("keeper")?, row("deaf")?, row("holder")?, row("client")?];
    let rows: Vec<usize> = (0..=12).filter(|&row| rt::task::status(row).is_ok()).collect();
    // The holder's next life always comes, so that its client waits for it.
    rt::task::expect(holder, true).context("task_set_restart")?;
    begin(keeper, "keep")?;
    begin(deaf, "deaf")?;
    begin(client, "client")?;
    rt::thread::set_own_priority(31).context("priority")?;
    let done = || {
        (0..FIRST).try_for_each(|number| life(holder, number).map(drop))?;
        settle();
        let before = counters(&rows)?;
        let start = rt::time::now_ns();
        let mut held = 0;
        for number in 0..LIVES {
            held += life(holder, number).map_err(|error| format!("life {number}: {error}"))?;
        }
        rt::println!("{LIVES} lives with {held} objects took {} ms", (rt::time::now_ns() - start) / 1_000_000);
        if held < 4 * LIVES {
            return Err(format!("they held {held} objects only when they were killed"));
        }
        settle();
        let after = counters(&rows)?;
        match before.iter().zip(&after).find(|(before, after)| before != after) {
            Some(((what, before), (_, after))) => Err(format!("{what}: {after} instead of {before}")),
            None => Ok(()),
        }
    };
    let outcome = done();
    rt::thread::set_own_priority(rt::info().priority as u8).context("priority")?;
    for row in [client, keeper, deaf] {
        if outcome.is_ok() && is_over(row)? {
            return Err(format!("row {row} did not live through it"));
        }
        kill(row)?;
    }
    outcome
}

/// Lives that hold as much as a task can: what it takes to release one is done in many steps, between which everyone else goes on; its caller hears
/// of its death, and all comes back.
pub fn large_lives() -> Outcome {
    const KINDS: u64 = 4;
    let [keeper, deaf, hoard, patron] = [row("keeper")?, row("deaf")?, row("hoard")?, row("patron")?];
    let rows = [keeper, deaf, hoard, patron];
    begin(keeper, "keep")?;
    begin(deaf, "deaf")?;
    rt::task::expect(hoard, true).context("task_set_restart")?;
    begin(patron, "client hoard")?;
    let mut before = None;
    for number in 0..4 * KINDS {
        let (kind, end) = (number % KINDS, number / KINDS);
        let at = |what: &str| format!("kind {kind}, end {end}: {what}");
        begin(hoard, &format!("hoard {kind}"))?;
        rest();
        let held = rt::task::status(hoard).context("task_status")?;
        if is_over(hoard)? || held.objects < held.object_quota.min(1_000) && held.handles < 4_000 {
            return Err(at(&format!("it holds {} objects and {} handles only", held.objects, held.handles)));
        }
        let called =
            || rt::task::status(patron).map(|s| s.activity == Activity::Replying as u32).context("task_status");
        if !called()? {
            return Err(at("its caller does not wait for it"));
        }
        match end {
            0 | 1 => rt::task::signal(hoard, 1 << (50 + end)).context("task_signal")?,
            _ => rt::task::kill(abi::TaskId::from_u32(held.id), DeathKind::Killed).context("task_kill")?,
        }
        while !is_over(hoard)? {
            rt::notify::Notification::own().wait(bits::TASK_EVENT);
        }
        let mut steps = 1;
        while rt::task::reap(hoard).context("task_reap")? != 0 {
            steps += 1;
            match end {
                // Everybody else has a turn in between.
                3 => rt::time::sleep_ms(1),
                _ => yield_now(),
            }
            if steps == 3 && rt::task::spawn(hoard, "").is_ok() {
                return Err(at("a next life began beside the last one's remains"));
            }
        }
        if steps < 20 {
            return Err(at(&format!("as much as that was released in {steps} steps")));
        }
        rest();
        if is_over(patron)? || called()? {
            return Err(at("its caller has not heard of its death"));
        }
        let now = counters(&rows)?;
        let before = before.get_or_insert_with(|| now.clone());
        if let Some(((what, before), (_, now))) = before.iter().zip(&now).find(|(before, now)| before != now) {
            return Err(at(&format!("{what}: {now} instead of {before}")));
        }
    }
    for row in [patron, keeper, deaf] {
        kill(row)?;
    }
    Ok(())
}

/// Lets everyone do what there is to do.
fn rest() {
    rt::time::sleep_ms(100);
    settle();
}

/// Lets everyone come to rest, and frames be freed, which happens a few at a time.
fn settle() {
    for _ in 0..20 {
        rt::time::sleep_ms(5);
        for _ in 0..50 {
            yield_now();
        }
    }
}
