//! What is done when: follows from the seed alone.

use crate::MS;
use crate::config::Config;
use alloc::vec::Vec;
use fault_injection::fault::Kind;
use fault_injection::{Driver, Random};

/// Faults that are done before the counters are read for the first time, so that heaps are as large as they get.
const REHEARSALS: u32 = 30;
/// Most time between two faults that have nothing to do with each other.
const MOST_GAP_MS: u64 = 14;
/// One fault in so many is followed by another in the same driver, while that is being recovered from or right afterwards.
const BURST_IN: u64 = 5;
/// How long after the first that may be.
const BURST_MS: u64 = 30;
/// One fault in so many is done together with one in another driver.
const TWIN_IN: u64 = 6;

/// A fault that is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    pub kind: Kind,
    /// Not before.
    pub due_ns: u64,
}

/// Which part of the run it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The clients begin.
    Start,
    /// Faults are done that do not count.
    Rehearse,
    /// The clients stop, the drivers are replaced.
    Settle,
    /// The drivers come to rest.
    Rest,
    /// Faults are done.
    Work,
    /// As [`Phase::Settle`], for the second time.
    SettleAgain,
    /// The drivers come to rest for the second time.
    RestAgain,
    /// The clients end.
    End,
    /// All is over.
    Over,
}

/// The plan.
pub struct Plan {
    pub phase: Phase,
    /// Since when.
    pub since_ns: u64,
    pub random: Random,
    drivers: Vec<Driver>,
    count: u32,
    done: u32,
    rehearsed: u32,
    next_ns: u64,
    /// What is to be done to each driver next.
    pub pending: [Option<Planned>; 3],
}

impl Plan {
    pub fn new(config: &Config) -> Plan {
        Plan {
            phase: Phase::Start,
            since_ns: 0,
            random: Random::new(config.seed),
            drivers: config.drivers.clone(),
            count: config.count,
            done: 0,
            rehearsed: 0,
            next_ns: 0,
            pending: [None; 3],
        }
    }

    /// Faults done that count.
    pub fn done(&self) -> u32 {
        self.done
    }

    /// Whether the clients are to wait.
    pub fn holds(&self) -> bool {
        !matches!(self.phase, Phase::Start | Phase::Rehearse | Phase::Work)
    }

    /// Whether all faults of this part are done.
    pub fn is_exhausted(&self) -> bool {
        let (done, count) = self.progress();
        done >= count && self.pending.iter().all(Option::is_none)
    }

    fn progress(&self) -> (u32, u32) {
        if self.phase == Phase::Work { (self.done, self.count) } else { (self.rehearsed, REHEARSALS) }
    }

    /// Faults of this part that are not even planned.
    fn left(&self) -> u32 {
        let (done, count) = self.progress();
        count.saturating_sub(done + self.pending.iter().flatten().count() as u32)
    }

    /// Plans what is due. `free` says which drivers are well.
    pub fn plan(&mut self, now_ns: u64, free: [bool; 3]) {
        if now_ns < self.next_ns {
            return;
        }
        self.next_ns = now_ns + self.random.below(MOST_GAP_MS * MS);
        self.strike(now_ns, free);
        if self.random.once_in(TWIN_IN) {
            self.strike(now_ns, free);
        }
    }

    fn strike(&mut self, now_ns: u64, free: [bool; 3]) {
        let ready = |driver: &Driver| free[*driver as usize] && self.pending[*driver as usize].is_none();
        let drivers: Vec<Driver> = self.drivers.iter().copied().filter(ready).collect();
        if let Some(&driver) = self.random.pick(&drivers)
            && self.left() > 0
        {
            let kind = self.kind(driver);
            self.pending[driver as usize] = Some(Planned { kind, due_ns: now_ns });
        }
    }

    fn kind(&mut self, driver: Driver) -> Kind {
        let kinds: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| kind.fits(driver)).collect();
        self.random.pick(&kinds).copied().unwrap_or(Kind::Kill)
    }

    /// A fault was done to a driver: its number, and whether it does not count. Perhaps another one is to follow.
    pub fn struck(&mut self, driver: Driver, now_ns: u64) -> (u32, bool) {
        let rehearsal = self.phase != Phase::Work;
        let count = if rehearsal { &mut self.rehearsed } else { &mut self.done };
        *count += 1;
        let number = *count;
        self.pending[driver as usize] = None;
        if self.random.once_in(BURST_IN) && self.left() > 0 {
            let kind = self.kind(driver);
            self.pending[driver as usize] = Some(Planned { kind, due_ns: now_ns + self.random.below(BURST_MS * MS) });
        }
        (number, rehearsal)
    }
}
