//! The queue of reports to be printed. Many tasks can die at the same time, and the kernel limits
//! how fast a log is written: a death that cannot be reported now is kept and reported later. Each
//! task has room of its own for one death, and all share a queue: so the first unreported death of
//! a task is always reported, however many other tasks die. Later deaths for which the queue has no
//! room are counted, and their number is reported. All memory is allocated at the beginning.

use crate::report::Next;
use abi::TaskId;
use abi::error::FaultRecord;
use abi::task::{LOG_BURST, LOG_PER_MS, log_cost};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Most deaths in the common queue.
pub const MOST: usize = 64;

/// Most bytes of reports that are printed at once: the part of the kernel's limit for a log that
/// the supervisor's other messages do not need.
pub const BURST: i64 = (LOG_BURST / 4 * 3) as i64;
/// Most bytes of reports that are printed per millisecond in the long run.
pub const PER_MS: i64 = (LOG_PER_MS / 4 * 3) as i64;

const NS_PER_MS: u64 = 1_000_000;

/// The cost of a line that the task `name` prints, in bytes of its log allowance. Each line is
/// written by a call of its own, and short lines cost more than they are long.
pub fn cost(name: &str, line: &str) -> usize {
    // One more for the line feed.
    log_cost(name.len(), line.as_bytes()) as usize + 1
}

/// The end of a life.
#[derive(Clone)]
pub struct Death {
    /// The kernel's record of the death.
    pub record: FaultRecord,
    /// What the supervisor does after the death.
    pub next: Next,
}

impl Death {
    /// The life that has ended.
    pub fn id(&self) -> TaskId {
        TaskId::from_u32(self.record.task)
    }
}

/// The next text to print.
#[expect(
    clippy::large_enum_variant,
    reason = "it is handed on at once and never kept: a box would be an allocation for each death"
)]
pub enum Due {
    /// The report of this death.
    Report(Death),
    /// A number of deaths of one task that have no report.
    Unreported {
        /// The task's row in the task table.
        row: u16,
        /// How many deaths have no report.
        count: u32,
    },
}

/// The deaths of a row of the task table that are to be reported.
#[derive(Clone, Default)]
struct Row {
    /// The oldest death, with its number: if the row has no other unreported death, the next one is
    /// stored here.
    oldest: Option<(u64, Death)>,
    /// How many deaths of the row are in the common queue.
    queued: u32,
    /// Deaths without a report, all later than those with one: the number of the first, and how
    /// many there are.
    unreported: Option<(u64, u32)>,
}

impl Row {
    fn is_told(&self) -> bool {
        self.oldest.is_none() && self.queued == 0 && self.unreported.is_none()
    }
}

/// Where the next text to print is.
#[derive(Clone, Copy)]
enum Place {
    Oldest(usize),
    Queue,
    Unreported(usize),
}

/// The unreported deaths, in their order.
pub struct Reports {
    rows: Vec<Row>,
    /// Deaths, with their numbers, of rows that had an unreported death already.
    queue: VecDeque<(u64, Death)>,
    /// How many deaths there were: the number of the next one.
    deaths: u64,
    /// How many bytes may be printed now; a report is not cut, so this can be negative afterwards.
    credit: i64,
    /// The time as of which `credit` was computed, in nanoseconds since boot.
    reckoned_ns: u64,
}

impl Reports {
    /// An empty queue for a table of this many tasks.
    pub fn new(tasks: usize) -> Self {
        Reports {
            rows: alloc::vec![Row::default(); tasks],
            queue: VecDeque::with_capacity(MOST),
            deaths: 0,
            credit: BURST,
            reckoned_ns: 0,
        }
    }

    /// Adds a death.
    pub fn add(&mut self, death: Death) {
        let Some(row) = self.rows.get_mut(usize::from(death.id().index)) else { return };
        let number = self.deaths;
        self.deaths += 1;
        if row.is_told() {
            row.oldest = Some((number, death));
        } else if row.unreported.is_none() && self.queue.len() < MOST {
            row.queued += 1;
            self.queue.push_back((number, death));
        } else {
            // After the first death without room, no death of the row is queued until their number
            // was reported: this keeps the order.
            let (_, count) = row.unreported.get_or_insert((number, 0));
            *count = count.saturating_add(1);
        }
    }

    /// The place of the earliest unreported death.
    fn first(&self) -> Option<Place> {
        let of_row = |(index, row): (usize, &Row)| {
            let oldest = row.oldest.as_ref().map(|(number, _)| (*number, Place::Oldest(index)));
            oldest.into_iter().chain(row.unreported.map(|(number, _)| (number, Place::Unreported(index))))
        };
        let queued = self.queue.front().map(|(number, _)| (*number, Place::Queue));
        let all = self.rows.iter().enumerate().flat_map(of_row).chain(queued);
        all.min_by_key(|(number, _)| *number).map(|(_, place)| place)
    }

    /// Takes the next text to print, if anything may be printed now; call [`Reports::printed`] with
    /// its length afterwards.
    pub fn due(&mut self, now_ns: u64) -> Option<Due> {
        let ms = now_ns.saturating_sub(self.reckoned_ns) / NS_PER_MS;
        self.reckoned_ns += ms * NS_PER_MS;
        self.credit = self.credit.saturating_add(PER_MS.saturating_mul(ms.min(1 << 32) as i64)).min(BURST);
        if self.credit <= 0 {
            return None;
        }
        match self.first()? {
            Place::Oldest(row) => self.rows.get_mut(row)?.oldest.take().map(|(_, death)| Due::Report(death)),
            Place::Queue => {
                let (_, death) = self.queue.pop_front()?;
                self.rows.get_mut(usize::from(death.id().index))?.queued -= 1;
                Some(Due::Report(death))
            }
            Place::Unreported(row) => {
                let (_, count) = self.rows.get_mut(row)?.unreported.take()?;
                Some(Due::Unreported { row: row as u16, count })
            }
        }
    }

    /// Counts printed bytes against the limit.
    pub fn printed(&mut self, bytes: usize) {
        self.credit = self.credit.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// When the next text may be printed, in nanoseconds since boot; `None` if there is none.
    pub fn next_ns(&self) -> Option<u64> {
        let ms = (1_i64.saturating_sub(self.credit).max(0) as u64).div_ceil(PER_MS as u64);
        self.first().map(|_| self.reckoned_ns.saturating_add(ms.saturating_mul(NS_PER_MS)))
    }

    /// Whether the report of this life's end is not printed yet.
    pub fn holds(&self, id: TaskId) -> bool {
        let own = self.rows.get(usize::from(id.index)).and_then(|row| row.oldest.as_ref());
        own.into_iter().chain(&self.queue).any(|(_, death)| death.id() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::task::MAX_TASKS;
    use proptest::prelude::*;
    use zerocopy::FromZeros;

    const REPORT: usize = 1100;

    fn reports() -> Reports {
        Reports::new(MAX_TASKS)
    }

    fn death(index: u16, generation: u32) -> Death {
        let mut record = FaultRecord::new_zeroed();
        record.task = TaskId { index, generation }.to_u32();
        Death { record, next: Next::Stay }
    }

    /// What is taken for less than it costs is refused, and lost.
    #[test]
    fn a_line_is_not_taken_for_less_than_the_kernel_charges() {
        for len in 0..200 {
            let line = "x".repeat(len);
            assert!(cost("supervisor", &line) >= log_cost(10, alloc::format!("{line}\n").as_bytes()) as usize, "{len}");
        }
        assert!(cost("supervisor", "  | a") >= 32);
    }

    /// A text that was printed: a row and a life, or a row and how many deaths without a report.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Said {
        Life(u16, u32),
        More(u16, u32),
    }

    /// Takes everything that may be printed at this time.
    fn print(reports: &mut Reports, now_ns: u64) -> Vec<Said> {
        let mut said = Vec::new();
        while let Some(due) = reports.due(now_ns) {
            said.push(match due {
                Due::Report(death) => Said::Life(death.id().index, death.id().generation),
                Due::Unreported { row, count } => Said::More(row, count),
            });
            reports.printed(REPORT);
        }
        said
    }

    /// Takes everything, each as soon as it may be printed. Returns it, and the time at the end.
    fn print_all(reports: &mut Reports) -> (Vec<Said>, u64) {
        let (mut said, mut now) = (Vec::new(), 0);
        while let Some(next_ns) = reports.next_ns() {
            assert!(said.is_empty() || next_ns > now, "it goes on: {next_ns}");
            now = next_ns;
            said.extend(print(reports, now));
            assert!((said.len() * REPORT) as u64 <= u64::from(LOG_BURST) + now / NS_PER_MS * u64::from(LOG_PER_MS));
        }
        (said, now)
    }

    /// Checks that each death of a row is reported once, in order: by a report, or by a count after
    /// the reports of those before it; and the first by a report.
    fn judge(said: &[Said], deaths: &[u32]) {
        for (row, &count) in deaths.iter().enumerate() {
            let mut told = 0;
            for one in said {
                match *one {
                    Said::Life(index, life) if usize::from(index) == row => {
                        assert_eq!(life, told + 1, "row {row}: reported in the order of the deaths, each once");
                        told = life;
                    }
                    Said::More(index, more) if usize::from(index) == row => {
                        assert!(told > 0, "row {row}: the first death has no report");
                        told += more;
                    }
                    _ => {}
                }
            }
            assert_eq!(told, count, "row {row}: told of each death");
        }
    }

    #[test]
    fn a_death_is_reported_at_once() {
        let mut reports = reports();
        reports.add(death(3, 1));
        assert!(reports.holds(TaskId { index: 3, generation: 1 }) && reports.next_ns() == Some(0));
        assert_eq!(print(&mut reports, 0), [Said::Life(3, 1)]);
        assert_eq!((reports.next_ns(), reports.holds(TaskId { index: 3, generation: 1 })), (None, false));
    }

    /// Each of many simultaneous deaths has its report, in order, within the kernel's limit for a
    /// log.
    #[test]
    fn a_burst_is_reported_whole() {
        for count in [5, 50, MOST as u16] {
            let mut reports = reports();
            (0..count).for_each(|row| reports.add(death(row, 1)));
            let (said, now) = print_all(&mut reports);
            assert_eq!(said, (0..count).map(|row| Said::Life(row, 1)).collect::<Vec<_>>());
            assert!(now < 1_000_000_000, "{now}");
        }
    }

    /// A task that dies again and again does not prevent another task's first report.
    #[test]
    fn the_first_death_of_every_task_is_reported_whatever_others_do() {
        let mut reports = reports();
        let lives = 500;
        (1..=lives).for_each(|life| reports.add(death(7, life)));
        for row in (0..MAX_TASKS as u16).filter(|&row| row != 7) {
            (1..=3).for_each(|life| reports.add(death(row, life)));
        }
        let (said, _) = print_all(&mut reports);
        for row in 0..MAX_TASKS as u16 {
            assert!(said.contains(&Said::Life(row, 1)), "row {row}");
        }
        assert!(said.contains(&Said::More(7, lives - 1 - MOST as u32)) && said.contains(&Said::More(8, 2)));
        judge(&said, &core::array::from_fn::<u32, MAX_TASKS, _>(|row| if row == 7 { lives } else { 3 }));
        // Afterwards deaths are reported as before.
        reports.add(death(7, lives + 1));
        assert_eq!(print(&mut reports, u64::MAX), [Said::Life(7, lives + 1)]);
    }

    proptest! {
        #[test]
        fn each_death_is_told_once_and_nothing_grows(steps in proptest::collection::vec((0_u16..6, 0_u64..4), 0..600)) {
            let mut reports = Reports::new(6);
            let room = reports.queue.capacity();
            let (mut deaths, mut said, mut now) = ([0; 6], Vec::new(), 0);
            for (row, ms) in steps {
                deaths[usize::from(row)] += 1;
                reports.add(death(row, deaths[usize::from(row)]));
                now += ms * NS_PER_MS;
                if ms > 1 {
                    said.extend(print(&mut reports, now));
                }
            }
            said.extend(print(&mut reports, u64::MAX));
            while reports.next_ns().is_some() {
                reports.credit = BURST;
                said.extend(print(&mut reports, u64::MAX));
            }
            judge(&said, &deaths);
            prop_assert_eq!((reports.queue.capacity(), reports.rows.len()), (room, 6));
        }
    }

    #[test]
    fn times_and_rows_that_make_no_sense_do_no_harm() {
        let mut reports = reports();
        (0..MOST + 2).for_each(|_| reports.add(death(500, 1)));
        assert!(reports.due(u64::MAX).is_none() && reports.next_ns().is_none());
        reports.add(death(1, 1));
        reports.add(death(1, 2));
        assert!(reports.due(u64::MAX).is_some() && reports.due(0).is_some());
        reports.add(death(1, 3));
        reports.printed(usize::MAX >> 2);
        assert!(reports.due(u64::MAX).is_none());
        assert!(reports.next_ns().is_some());
    }
}
