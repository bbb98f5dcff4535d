//! What tasks print: their log rings, read from where the last turn ended, a bounded piece at a time.

use crate::text::unfinished;
use abi::Status;
use abi::task::MAX_TASKS;
use alloc::format;
use alloc::string::String;
use rt::print::push_tagged;

/// Most bytes of log text that one turn prints; a task that prints faster than that loses text here, visibly, and nobody waits for it.
pub const TURN_BYTES: usize = 4096;

/// Most bytes of one task's text taken at once: then it is the next one's turn.
pub const CHUNK: usize = 1024;

/// Nanoseconds between two looks at the logs while tasks print all the time. Notifications go before messages, so a task that
/// prints whenever the console waits for a device would keep it from its clients for ever.
pub const PAUSE_NS: u64 = 20_000_000;

/// Bytes that a task may have printed at once, and bytes that it may print a second in the long run. One that writes more is shown in
/// part, and what is left out is counted: a person can still type beside a flood, and `log` has the newest of it.
pub const BURST: u64 = 16_384;
/// See [`BURST`].
pub const RATE: u64 = 512;

/// Decides when the logs may be looked at.
#[derive(Default, Debug)]
pub struct Pace {
    last_ns: Option<u64>,
    until_ns: Option<u64>,
}

impl Pace {
    /// Whether the logs have to wait for the timer.
    pub fn is_paused(&self) -> bool {
        self.until_ns.is_some()
    }

    /// After a turn that ended at `now_ns` (nanoseconds since boot), had something to look for or not (it was told so, or found something), and left
    /// something or not: when to look again even if nobody says that there is more. Until then the logs wait. Half a line is work and prints
    /// nothing: who writes a byte at a time is looked at no more often than who writes lines.
    pub fn after_turn(&mut self, now_ns: u64, had_work: bool, more: bool) -> Option<u64> {
        let soon = self.last_ns.is_some_and(|last| now_ns.saturating_sub(last) < PAUSE_NS);
        self.until_ns = (more || (had_work && soon)).then(|| now_ns.saturating_add(PAUSE_NS));
        if had_work {
            self.last_ns = Some(now_ns);
        }
        self.until_ns
    }
}

/// How far each log has been printed.
#[derive(Debug)]
pub struct Logs {
    positions: [u64; MAX_TASKS],
    /// Whose turn it is first.
    first: usize,
    /// Whose text printed last ended within a line: what comes next goes on with it.
    within: [bool; MAX_TASKS],
    /// What each task may print now, in bytes, and until when it was reckoned, in nanoseconds since boot.
    credit: [i64; MAX_TASKS],
    reckoned_ns: u64,
}

/// A log to read: [`Status`] other than `Ok` leaves it out this time.
pub trait Rings {
    /// How many tasks there are.
    fn count(&self) -> usize;
    /// The name of a task.
    fn name(&self, index: usize) -> &str;
    /// Whether all that a task prints is to be shown, however much it is.
    fn is_trusted(&self, index: usize) -> bool;
    /// Reads from a position on: bytes read, and the position of the first of them.
    fn read(&mut self, index: usize, position: u64, buf: &mut [u8]) -> Result<(usize, u64), Status>;
}

impl Logs {
    /// Begins where the positions say.
    pub fn new(positions: [u64; MAX_TASKS]) -> Logs {
        Logs { positions, first: 0, within: [false; MAX_TASKS], credit: [BURST as i64; MAX_TASKS], reckoned_ns: 0 }
    }

    /// How many bytes of each task's log are done with.
    pub fn positions(&self) -> &[u64; MAX_TASKS] {
        &self.positions
    }

    /// Gives every task what it may print more since the last time.
    fn reckon(&mut self, now_ns: u64) {
        let earned = now_ns.saturating_sub(self.reckoned_ns).saturating_mul(RATE) / 1_000_000_000;
        if earned > 0 {
            self.reckoned_ns = now_ns;
            let earned = i64::try_from(earned).unwrap_or(i64::MAX);
            self.credit.iter_mut().for_each(|credit| *credit = credit.saturating_add(earned).min(BURST as i64));
        }
    }

    /// Appends to `out` what is new, in rows as [`push_tagged`] makes them. Returns whether there is more for another turn.
    pub fn turn(&mut self, rings: &mut impl Rings, now_ns: u64, out: &mut String) -> bool {
        let count = rings.count().min(MAX_TASKS);
        if count == 0 {
            return false;
        }
        self.reckon(now_ns);
        let mut buf = [0; CHUNK];
        let mut budget = TURN_BYTES;
        let mut held_back = false;
        // Round after round, so that lines of several tasks come in pieces and nobody waits behind a flood.
        loop {
            let mut any = false;
            for step in 0..count {
                let index = (self.first + step) % count;
                let position = self.positions.get(index).copied().unwrap_or_default();
                let credit = self.credit.get(index).copied().unwrap_or_default();
                if credit < CHUNK as i64 && !rings.is_trusted(index) {
                    held_back |= rings.read(index, position, &mut [0]).is_ok_and(|(len, _)| len > 0);
                    continue;
                }
                let Ok((len, at)) = rings.read(index, position, &mut buf) else {
                    continue;
                };
                let text = buf.get(..len).unwrap_or_default();
                let mut within = self.within.get(index).copied().unwrap_or_default();
                let before = out.len();
                let next = take(rings.name(index), text, position, at, len == CHUNK, &mut within, out);
                if let Some(slot) = self.within.get_mut(index) {
                    *slot = within;
                }
                if next == position {
                    continue;
                }
                if let Some(slot) = self.positions.get_mut(index) {
                    *slot = next;
                }
                // What is printed counts, tags included: a line feed alone is a row of twenty bytes.
                let printed = (out.len() - before).max(len);
                if let Some(credit) = self.credit.get_mut(index) {
                    *credit = credit.saturating_sub(i64::try_from(printed).unwrap_or(i64::MAX));
                }
                any = true;
                budget = budget.saturating_sub(printed);
                if budget == 0 {
                    self.first = (index + 1) % count;
                    return true;
                }
            }
            if !any {
                return held_back;
            }
        }
    }
}

/// Prints the whole lines of `text`, which stands at `at` where `position` was asked for. `within` says whether the text before it ended within a
/// line. Returns the position to go on from.
fn take(name: &str, text: &[u8], position: u64, at: u64, full: bool, within: &mut bool, out: &mut String) -> u64 {
    let lost = at.saturating_sub(position);
    let mut start = 0;
    if lost > 0 {
        // The text begins in the middle of a line: that line is lost as well.
        match text.iter().position(|b| *b == b'\n') {
            Some(end) => start = end + 1,
            None if full => start = text.len(),
            None => return position,
        }
        *within = false;
        push_tagged(name, &format!("... {} bytes skipped", lost + start as u64), false, out);
    }
    let rest = text.get(start..).unwrap_or_default();
    let whole = match rest.iter().rposition(|b| *b == b'\n') {
        Some(end) => end + 1,
        // A line longer than a chunk comes in several, cut between characters.
        None if full && start == 0 => rest.len() - unfinished(rest),
        None => 0,
    };
    let lines = rest.get(..whole).unwrap_or_default();
    if whole > 0 {
        let ended = lines.last() == Some(&b'\n');
        let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
        for line in lines.split(|b| *b == b'\n') {
            let continued = core::mem::take(within);
            // The end of a line whose beginning filled its piece to the last byte needs no row.
            if !(continued && line.is_empty()) {
                push_tagged(name, &String::from_utf8_lossy(line), continued, out);
            }
        }
        *within = !ended;
    }
    at + (start + whole) as u64
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;
