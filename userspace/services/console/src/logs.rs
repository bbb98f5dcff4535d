//! The text that tasks log: their log rings are read from the position where the last turn ended, a
//! bounded piece at a time.

use crate::text::unfinished;
use abi::Status;
use abi::task::MAX_TASKS;
use alloc::format;
use alloc::string::String;
use rt::print::push_tagged;

/// Most bytes of log text that one turn prints. If a task logs faster than that, text is left out,
/// which is shown; no task waits.
pub const TURN_BYTES: usize = 4096;

/// Most bytes of one task's text that are taken at once, before the next task's turn.
pub const CHUNK: usize = 1024;

/// Nanoseconds between two turns at the logs while tasks log all the time. Notifications are
/// delivered before messages, so without a pause, a task that logs whenever the console waits for a
/// device would keep the console from its clients for ever.
pub const PAUSE_NS: u64 = 20_000_000;

/// Most bytes of a task that are printed at once. A task that logs more than that and [`RATE`] is
/// printed in part, and the bytes left out are counted: a person can still type meanwhile, and the
/// command `log` shows the newest text.
pub const BURST: u64 = 16_384;
/// Most bytes of a task that are printed per second in the long run: see [`BURST`].
pub const RATE: u64 = 512;

/// Decides when the logs may be read.
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

    /// To be called after a turn that ended at `now_ns` (nanoseconds since boot); `had_work` if a
    /// notification announced text or some was found, `more` if text was left. Returns when to read
    /// again even without a notification; until then the logs wait. A part of a line counts as work
    /// though it prints nothing, so that a task that logs single bytes causes no more turns than
    /// one that logs lines.
    pub fn after_turn(&mut self, now_ns: u64, had_work: bool, more: bool) -> Option<u64> {
        let soon = self.last_ns.is_some_and(|last| now_ns.saturating_sub(last) < PAUSE_NS);
        self.until_ns = (more || (had_work && soon)).then(|| now_ns.saturating_add(PAUSE_NS));
        if had_work {
            self.last_ns = Some(now_ns);
        }
        self.until_ns
    }
}

/// The position up to which each log has been printed.
#[derive(Debug)]
pub struct Logs {
    positions: [u64; MAX_TASKS],
    /// The task whose turn is first.
    first: usize,
    /// Whether the task's text printed last ended within a line, which the next text continues.
    within: [bool; MAX_TASKS],
    /// How many bytes of each task may be printed now, as of `reckoned_ns`; less than none after a
    /// chunk that was more than that.
    credit: [i64; MAX_TASKS],
    reckoned_ns: u64,
}

/// The logs to read. A log whose read fails is left out of the turn.
pub trait Rings {
    /// How many tasks there are.
    fn count(&self) -> usize;
    /// The name of a task.
    fn name(&self, index: usize) -> &str;
    /// Whether all text of the task is printed, without a limit of its rate.
    fn is_trusted(&self, index: usize) -> bool;
    /// Reads from a position on: returns the number of bytes, and the position of the first of
    /// them.
    fn read(&mut self, index: usize, position: u64, buf: &mut [u8]) -> Result<(usize, u64), Status>;
}

impl Logs {
    /// Begins at these positions.
    pub fn new(positions: [u64; MAX_TASKS]) -> Logs {
        Logs { positions, first: 0, within: [false; MAX_TASKS], credit: [BURST as i64; MAX_TASKS], reckoned_ns: 0 }
    }

    /// The position up to which each task's log is printed or left out.
    pub fn positions(&self) -> &[u64; MAX_TASKS] {
        &self.positions
    }

    /// Adds to every task's credit for the time since the previous call.
    fn reckon(&mut self, now_ns: u64) {
        let earned = now_ns.saturating_sub(self.reckoned_ns).saturating_mul(RATE) / 1_000_000_000;
        if earned > 0 {
            self.reckoned_ns = now_ns;
            let earned = i64::try_from(earned).unwrap_or(i64::MAX);
            self.credit.iter_mut().for_each(|credit| *credit = credit.saturating_add(earned).min(BURST as i64));
        }
    }

    /// Appends the new text to `out`, in rows as [`push_tagged`] makes them. Returns whether there
    /// is more for another turn.
    pub fn turn(&mut self, rings: &mut impl Rings, now_ns: u64, out: &mut String) -> bool {
        let count = rings.count().min(MAX_TASKS);
        if count == 0 {
            return false;
        }
        self.reckon(now_ns);
        let mut buf = [0; CHUNK];
        let mut budget = TURN_BYTES;
        let mut held_back = false;
        // In rounds, so that the tasks' text is interleaved and none waits for all of another's.
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

/// Prints the whole lines of `text`, which begins at position `at` though `position` was asked for.
/// `within` tells whether the text before it ended within a line. Returns the position from which
/// to continue.
fn take(name: &str, text: &[u8], position: u64, at: u64, full: bool, within: &mut bool, out: &mut String) -> u64 {
    let lost = at.saturating_sub(position);
    let mut start = 0;
    if lost > 0 {
        // The text begins in the middle of a line: the rest of that line is dropped, too.
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
        // A line longer than a chunk is printed in several pieces, cut between characters.
        None if full && start == 0 => rest.len() - unfinished(rest),
        None => 0,
    };
    let lines = rest.get(..whole).unwrap_or_default();
    if whole > 0 {
        let ended = lines.last() == Some(&b'\n');
        let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
        for line in lines.split(|b| *b == b'\n') {
            let continued = core::mem::take(within);
            // If the beginning of a line filled its piece exactly, its empty end needs no row.
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
