//! What becomes of a driver that faults were done to: from the first of them until it serves again, and all is repaired.

use crate::victim::Done;
use abi::TaskId;
use abi::error::DeathKind;
use alloc::vec::Vec;
use rt::println;

/// How a fault was found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// A processor exception ended the driver.
    Exception,
    /// It panicked: a check of its own.
    Panic,
    /// It exited.
    Exit,
    /// It missed its heartbeats.
    Heartbeat,
    /// It was killed: that was the fault.
    Killed,
    /// Its client got no answer any more.
    Watchdog,
    /// Not at all, until the driver was replaced all the same.
    Never,
    /// Nothing was to be found out: the driver goes on.
    Harmless,
}

impl Found {
    const fn name(self) -> &'static str {
        match self {
            Found::Exception => "exception",
            Found::Panic => "panic",
            Found::Exit => "exit",
            Found::Heartbeat => "heartbeat",
            Found::Killed => "kill",
            Found::Watchdog => "watchdog",
            Found::Never => "never",
            Found::Harmless => "harmless",
        }
    }

    /// From what the supervisor knows of a death.
    pub const fn from_death(kind: DeathKind) -> Found {
        match kind {
            DeathKind::Exception => Found::Exception,
            DeathKind::Panicked => Found::Panic,
            DeathKind::Exited => Found::Exit,
            DeathKind::Hung => Found::Heartbeat,
            DeathKind::Killed | DeathKind::Alive => Found::Killed,
        }
    }
}

/// A fault that was done.
pub struct Hit {
    pub number: u32,
    /// Not counted: from before the counters were read.
    pub rehearsal: bool,
    pub done: Done,
    pub life: TaskId,
    pub at_ns: u64,
    /// How it was found out, and when.
    pub found: Option<(Found, u64)>,
}

/// Where the case is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The life that was hit last may still run.
    Open,
    /// It has ended, or nothing needs to be done: the driver is to serve again. Since when.
    Recovering(u64),
    /// It serves; its client does over what may have been damaged.
    Repairing,
}

/// The faults that were done to a driver since it was well.
pub struct Case {
    pub hits: Vec<Hit>,
    pub stage: Stage,
    /// When the life that was hit is replaced if nobody has noticed anything.
    pub until_ns: u64,
    /// A life that we had killed, and why.
    pub killed: Option<(TaskId, Found)>,
    /// When the driver first served after it.
    pub served_ns: Option<u64>,
    /// The longest that its client waited meanwhile.
    pub pause_ns: u64,
    /// What the client has surely got through before it began.
    pub arrived: u32,
    /// What was damaged: lines or keys lost, extra.
    pub damage: (u32, u32),
    /// The first and the last window of it in what the serial line carried; 0 for none.
    pub windows: (u32, u32),
    /// Answers that the driver never gives.
    pub refused: u32,
    /// Tries at killing it because it does not come back.
    pub tries: u32,
    /// How often the repair was begun.
    pub repairs: u32,
    /// When the last of them was, and in which life.
    pub repair_ns: u64,
    pub repaired: Option<TaskId>,
    /// It has not helped.
    pub still_wrong: bool,
}

impl Case {
    pub fn new(arrived: u32) -> Case {
        Case {
            hits: Vec::new(),
            stage: Stage::Open,
            until_ns: 0,
            killed: None,
            served_ns: None,
            pause_ns: 0,
            arrived,
            damage: (0, 0),
            windows: (0, 0),
            refused: 0,
            tries: 0,
            repairs: 0,
            repair_ns: 0,
            repaired: None,
            still_wrong: false,
        }
    }

    pub fn corrupts(&self) -> bool {
        self.hits.iter().any(|hit| hit.done.kind.corrupts())
    }

    /// The newest life that was hit.
    pub fn life(&self) -> Option<TaskId> {
        self.hits.last().map(|hit| hit.life)
    }

    /// Whether that life is to be replaced.
    pub fn lasts(&self) -> bool {
        let life = self.life();
        self.hits.iter().any(|hit| Some(hit.life) == life && hit.done.kind.lasts())
    }

    /// Prints what the host makes its table of. Times are in nanoseconds.
    pub fn print(&self, driver: &str) {
        for (place, hit) in self.hits.iter().enumerate() {
            // What was damaged counts once.
            let first = u32::from(place == 0);
            let (found, found_ns) = hit.found.unwrap_or((Found::Never, hit.at_ns));
            let back_ns = self.served_ns.unwrap_or(hit.at_ns).saturating_sub(hit.at_ns);
            println!(
                "{} {} {driver} {} {} found {} {} back {back_ns} pause {} damage {} {} refused {} windows {} {} | {}",
                if hit.rehearsal { "rehearsal" } else { "fault" },
                hit.number,
                hit.done.kind.name(),
                hit.at_ns,
                found.name(),
                found_ns.saturating_sub(hit.at_ns),
                self.pause_ns,
                self.damage.0 * first,
                self.damage.1 * first,
                self.refused * first,
                self.windows.0 * first,
                self.windows.1 * first,
                hit.done.detail,
            );
        }
    }
}
