//! The reports that wait to be printed. Many tasks can die in one moment, and the log takes only so much at once: a death that cannot be
//! reported now is kept and reported later, and one for which there is no room either is counted. So each has its report, or is told of.

use crate::report::Next;
use abi::TaskId;
use abi::error::FaultRecord;
use abi::task::{LOG_BURST, LOG_PER_MS};
use alloc::collections::VecDeque;

/// Most deaths that wait for their report.
pub const MOST: usize = 64;

/// Bytes of reports that are printed at once: what the kernel takes of a task's log, less what the supervisor has to say besides.
pub const BURST: i64 = (LOG_BURST / 4 * 3) as i64;
/// Bytes of reports that are printed in a millisecond in the long run.
pub const PER_MS: i64 = (LOG_PER_MS / 4 * 3) as i64;

const NS_PER_MS: u64 = 1_000_000;

/// A life that has ended.
#[derive(Clone)]
pub struct Death {
    /// What the kernel recorded.
    pub record: FaultRecord,
    /// What follows.
    pub next: Next,
}

impl Death {
    /// The life.
    pub fn id(&self) -> TaskId {
        TaskId::from_u32(self.record.task)
    }
}

/// What is due to be printed.
#[expect(
    clippy::large_enum_variant,
    reason = "it is handed on at once and never kept: a box would be an allocation for each death"
)]
pub enum Due {
    /// The report of this death.
    Report(Death),
    /// That so many deaths of the task of this row have no report.
    Unreported {
        /// Its row in the task table.
        row: u16,
        /// How many.
        count: u32,
    },
}

/// Deaths in their order.
pub struct Reports {
    waiting: VecDeque<Death>,
    /// By row: deaths for which there was no room.
    unreported: [u32; abi::task::MAX_TASKS],
    /// Bytes that may be printed now; a report is not cut, so it can be less than nothing afterwards.
    credit: i64,
    /// Up to when that was reckoned, in nanoseconds since boot.
    reckoned_ns: u64,
}

impl Default for Reports {
    fn default() -> Self {
        Reports {
            waiting: VecDeque::with_capacity(MOST),
            unreported: [0; abi::task::MAX_TASKS],
            credit: BURST,
            reckoned_ns: 0,
        }
    }
}

impl Reports {
    /// A life has ended.
    pub fn add(&mut self, death: Death) {
        // After the first that has no room none has, until that was said: the order stays as it was.
        if self.waiting.len() < MOST && self.unreported.iter().all(|&count| count == 0) {
            self.waiting.push_back(death);
        } else if let Some(count) = self.unreported.get_mut(usize::from(death.id().index)) {
            *count = count.saturating_add(1);
        }
    }

    /// What to print next, if anything may be printed now; [`Reports::printed`] is to be told how much that was.
    pub fn due(&mut self, now_ns: u64) -> Option<Due> {
        let ms = now_ns.saturating_sub(self.reckoned_ns) / NS_PER_MS;
        self.reckoned_ns += ms * NS_PER_MS;
        self.credit = self.credit.saturating_add(PER_MS.saturating_mul(ms.min(1 << 32) as i64)).min(BURST);
        if self.credit <= 0 {
            return None;
        }
        if let Some(death) = self.waiting.pop_front() {
            return Some(Due::Report(death));
        }
        let row = self.unreported.iter().position(|&count| count > 0)?;
        let count = core::mem::take(&mut self.unreported[row]);
        Some(Due::Unreported { row: row as u16, count })
    }

    /// So many bytes were printed.
    pub fn printed(&mut self, bytes: usize) {
        self.credit = self.credit.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// When there is something to print, in nanoseconds since boot; `None` where nothing waits.
    pub fn next_ns(&self) -> Option<u64> {
        let waits = !self.waiting.is_empty() || self.unreported.iter().any(|&count| count > 0);
        let ms = (1_i64.saturating_sub(self.credit).max(0) as u64).div_ceil(PER_MS as u64);
        waits.then(|| self.reckoned_ns.saturating_add(ms.saturating_mul(NS_PER_MS)))
    }

    /// Whether the report of this life's end is still to be printed.
    pub fn holds(&self, id: TaskId) -> bool {
        self.waiting.iter().any(|death| death.id() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use zerocopy::FromZeros;

    const REPORT: usize = 1100;

    fn death(index: u16, generation: u32) -> Death {
        let mut record = FaultRecord::new_zeroed();
        record.task = TaskId { index, generation }.to_u32();
        Death { record, next: Next::Stay }
    }

    /// Prints what is due at a time: the lives with a report, and how many without.
    fn print(reports: &mut Reports, now_ns: u64) -> (Vec<(u16, u32)>, u32) {
        let (mut lives, mut without) = (Vec::new(), 0);
        while let Some(due) = reports.due(now_ns) {
            match due {
                Due::Report(death) => lives.push((death.id().index, death.id().generation)),
                Due::Unreported { count, .. } => without += count,
            }
            reports.printed(REPORT);
        }
        (lives, without)
    }

    #[test]
    fn a_death_is_reported_at_once() {
        let mut reports = Reports::default();
        reports.add(death(3, 1));
        assert!(reports.holds(TaskId { index: 3, generation: 1 }) && reports.next_ns() == Some(0));
        assert_eq!(print(&mut reports, 0), ([(3, 1)].into(), 0));
        assert_eq!((reports.next_ns(), reports.holds(TaskId { index: 3, generation: 1 })), (None, false));
    }

    /// However many die in one moment, each has its report, in their order, within the kernel's bound for a log.
    #[test]
    fn a_burst_is_reported_whole() {
        for count in [5, 50, MOST as u16] {
            let mut reports = Reports::default();
            (0..count).for_each(|row| reports.add(death(row, 1)));
            let (mut all, mut now, mut bytes) = (Vec::new(), 0, 0);
            while let Some(next_ns) = reports.next_ns() {
                assert!(all.is_empty() || next_ns > now, "it goes on: {next_ns}");
                now = next_ns;
                let (lives, without) = print(&mut reports, now);
                assert_eq!(without, 0);
                bytes += lives.len() * REPORT;
                assert!(bytes as u64 <= u64::from(LOG_BURST) + now / NS_PER_MS * u64::from(LOG_PER_MS));
                all.extend(lives);
            }
            assert_eq!(all, (0..count).map(|row| (row, 1)).collect::<Vec<_>>());
            assert!(now < 1_000_000_000, "{now}");
        }
    }

    /// More than can be kept are counted by their tasks, and nothing comes before the count that happened after it.
    #[test]
    fn what_has_no_report_is_counted() {
        let mut reports = Reports::default();
        for life in 1..=500 {
            reports.add(death((life % 3) as u16, life));
        }
        let (mut reported, mut without, mut now) = (0, 0, 0);
        while let Some(next_ns) = reports.next_ns() {
            now = next_ns;
            let (lives, more) = print(&mut reports, now);
            if reported < MOST {
                assert!(more == 0 || lives.len() + reported == MOST, "reports come first");
            }
            reported += lives.len();
            without += more;
        }
        assert_eq!((reported, without), (MOST, 500 - MOST as u32));
        // Afterwards it is as it was.
        reports.add(death(1, 501));
        now += 10_000_000_000;
        assert_eq!(print(&mut reports, now), ([(1, 501)].into(), 0));
    }

    #[test]
    fn times_and_rows_that_make_no_sense_do_no_harm() {
        let mut reports = Reports::default();
        (0..MOST + 2).for_each(|_| reports.add(death(500, 1)));
        assert!(reports.due(u64::MAX).is_some() && reports.due(0).is_some());
        reports.printed(usize::MAX >> 2);
        assert!(reports.due(u64::MAX).is_none());
        assert!(reports.next_ns().is_some());
    }
}
