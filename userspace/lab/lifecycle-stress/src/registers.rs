//! Floating-point registers, and interrupt lines.

use crate::bench::{Context, Outcome, begin, end, exit_code, kill, live, row};
use abi::error::DeathKind;
use alloc::format;

/// Turns of each of the six threads that keep a pattern.
const TURNS: u64 = 180_000;

/// Six threads of three tasks, each with a pattern of its own, over a million switches; lives that begin between them find nothing of it.
pub fn a_million_switches() -> Outcome {
    let switches = || rt::task::system_info().context("system_info").map(|info| info.switches);
    let rows = [row("float-a")?, row("float-b")?, row("float-c")?];
    // A task that asked for no such registers can look into none.
    let thief = row("holder")?;
    let before = switches()?;
    for (seed, row) in (1..).zip(rows) {
        begin(row, &format!("float {seed} {TURNS}"))?;
    }
    for _ in 0..20 {
        rt::time::sleep_ms(5);
        begin(thief, "steal")?;
        let record = end(thief)?;
        if DeathKind::from_u32(record.kind) != DeathKind::Exception || record.vector != 7 {
            return Err(format!(
                "a task without such registers used them: kind {}, vector {}",
                record.kind, record.vector
            ));
        }
    }
    for row in rows {
        let code = exit_code(&end(row)?)?;
        if code != 0 {
            return Err(format!("a pattern did not stay: code {code} from row {row}"));
        }
    }
    let switches = switches()? - before;
    if switches < 1_000_000 {
        return Err(format!("only {switches} switches"));
    }
    // New lives, with the rest of the old ones' still in the processor or not: they begin with nothing.
    for round in 0..50 {
        begin(rows[0], &format!("float {round} 1000000"))?;
        for row in [rows[1], rows[2]] {
            let code = live(row, "fresh")?;
            if code != 0 {
                return Err(format!("a new life found something: code {code} from row {row}"));
            }
        }
        kill(rows[0])?;
        if live(rows[0], "fresh")? != 0 {
            return Err("a next life found something of the last".into());
        }
    }
    Ok(())
}

/// A driver that never acknowledges gets one interrupt of a clock that has a thousand a second; the line is another life's after that, and
/// of one that died in the middle of it.
pub fn storm() -> Outcome {
    let stormy = row("stormy")?;
    let often = |code: i32, what: &str| match code {
        20.. => Ok(()),
        few => Err(format!("{what} had {few} interrupts in 300 ms")),
    };
    often(live(stormy, "storm 1 300")?, "a driver that acknowledges")?;
    for _ in 0..3 {
        let came = live(stormy, "storm 0 300")?;
        if came != 1 {
            return Err(format!("a driver that never acknowledges had {came} interrupts"));
        }
        often(live(stormy, "storm 1 300")?, "the next life")?;
        begin(stormy, "storm 1 60000")?;
        rt::time::sleep_ms(50);
        kill(stormy)?;
    }
    often(live(stormy, "storm 1 300")?, "a life after one that was killed")
}
