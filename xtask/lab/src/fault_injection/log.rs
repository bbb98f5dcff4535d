//! What the chaos system prints: the kernel marks the lines of each task, so nobody speaks for another.

use super::line::Window;
use ::fault_injection::Driver;
use ::fault_injection::fault::Kind;
use std::fmt;

/// What lines of the task that injects begin with, and those of the painter.
const CHAOS: &str = "[chaos] ";
const PAINTER: &str = "[painter] row ";

/// A fault and what came of it. Times are in nanoseconds of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which driver.
    pub driver: Driver,
    /// What.
    pub kind: Kind,
    /// How it was found out.
    pub found: String,
    /// After what time.
    pub found_ns: u64,
    /// After what time the driver served again.
    pub back_ns: u64,
    /// The longest that the driver's client waited.
    pub pause_ns: u64,
    /// Lines or keys lost and extra before the repair.
    pub damage: [u32; 2],
    /// Answers that the driver never gives.
    pub refused: u32,
    /// The first and the last window in the serial line; 0 for none.
    pub windows: [u32; 2],
}

/// Counters before and after the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// Whose.
    pub who: String,
    /// Which.
    pub what: String,
    /// Before, after.
    pub values: [i64; 2],
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}: {} before, {} after", self.what, self.who, self.values[0], self.values[1])
    }
}

/// The whole log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The faults, in the order in which they were dealt with.
    pub faults: Vec<Fault>,
    /// The windows in the serial line.
    pub windows: Vec<Window>,
    /// Rows of the screen as they should be.
    pub rows: Vec<String>,
    /// What did not come back.
    pub leaks: Vec<Leak>,
    /// Lines typed, received, received again.
    pub keys: [u32; 3],
    /// Unrecovered, stalled, refused.
    pub drivers: [u32; 3],
    /// Keys lost and doubled; rows lost and doubled.
    pub bytes: [u32; 4],
    /// Lines that are news of something gone wrong.
    pub news: Vec<String>,
    /// How many faults were done, by its own account.
    pub done: Option<u32>,
    /// Whether it has come to its end.
    pub over: bool,
}

impl Log {
    /// Reads it.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut log = Self::default();
        for line in text.lines().map(str::trim_end) {
            if let Some(row) = line.strip_prefix(PAINTER) {
                log.rows.push(row.split_once(' ').unwrap_or((row, "")).1.to_owned());
            } else if let Some(line) = line.strip_prefix(CHAOS)
                && log.line(line).is_none()
            {
                log.news.push(line.to_owned());
            }
        }
        log
    }

    /// `None` where the line is no line of an ordinary run.
    fn line(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(" | ").next().unwrap_or(line).split_whitespace().collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u32>().ok());
        match *words.first()? {
            "begin" | "rehearsal" => {}
            "fault" => self.faults.push(fault(&words)?),
            "window" => self.windows.push(Window { number: number(1)?, arrived: number(2)?, next: number(3)? }),
            "leak" => {
                let value = |at: usize| words.get(at)?.parse().ok();
                let [who, what] = [words.get(1)?, words.get(2)?].map(|word| (*word).to_owned());
                self.leaks.push(Leak { who, what, values: [value(3)?, value(4)?] });
            }
            "keys" => self.keys = [number(1)?, number(2)?, number(3)?],
            "zero" => match *words.get(1)? {
                "unrecovered" => self.drivers = [number(2)?, number(4)?, number(6)?],
                "keyboard" => (self.bytes[0], self.bytes[1]) = (number(3)?, number(5)?),
                "vga" => (self.bytes[2], self.bytes[3]) = (number(3)?, number(5)?),
                _ => return None,
            },
            "end" => self.done = number(1),
            "over" => self.over = true,
            _ => return None,
        }
        Some(())
    }
}

fn fault(words: &[&str]) -> Option<Fault> {
    let text = |at: usize| words.get(at).copied();
    let number = |at: usize| text(at)?.parse::<u64>().ok();
    let small = |at: usize| text(at)?.parse::<u32>().ok();
    Some(Fault {
        driver: Driver::named(text(2)?)?,
        kind: Kind::named(text(3)?)?,
        found: text(6)?.to_owned(),
        found_ns: number(7)?,
        back_ns: number(9)?,
        pause_ns: number(11)?,
        damage: [small(13)?, small(14)?],
        refused: small(16)?,
        windows: [small(18)?, small(19)?],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read() {
        let text = "Enigma\n[chaos] begin 1 500\n[chaos] rehearsal 1 vga kill 1 found kill 0 back 5 pause 6 damage 0 0 refused 0 windows 0 0 | \n\
            [chaos] fault 1 vga wild-register 77 found exception 5 back 600 pause 7 damage 1 2 refused 3 windows 4 5 | rax 0x1->0x2\n\
            [vga] fault 2 vga kill 1 found kill 0 back 5 pause 6 damage 0 0 refused 0 windows 0 0 | \n\
            [chaos] window 1 17 20\n[chaos] leak vga frames 4 5\n[chaos] keys 9 9 2\n[chaos] zero unrecovered 0 stalled 1 refused 2\n\
            [chaos] zero keyboard lost 3 doubled 4\n[chaos] zero vga lost 5 doubled 6\n[chaos] end 1 1\n[painter] row 0 abc def\n[chaos] over\n";
        let log = Log::read(text);
        let fault = &log.faults[0];
        assert_eq!((log.faults.len(), fault.kind, fault.driver), (1, Kind::WildRegister, Driver::Vga));
        assert_eq!((fault.found.as_str(), fault.found_ns, fault.back_ns, fault.pause_ns), ("exception", 5, 600, 7));
        assert_eq!((fault.damage, fault.refused, fault.windows), ([1, 2], 3, [4, 5]));
        assert_eq!(log.windows, [Window { number: 1, arrived: 17, next: 20 }]);
        assert_eq!((log.keys, log.drivers, log.bytes), ([9, 9, 2], [0, 1, 2], [3, 4, 5, 6]));
        assert_eq!((log.rows.as_slice(), log.done, log.over), (["abc def".to_owned()].as_slice(), Some(1), true));
        assert_eq!((log.leaks.len(), log.leaks[0].to_string()), (1, "frames of vga: 4 before, 5 after".to_owned()));
        assert!(log.news.is_empty());
    }

    #[test]
    fn what_is_not_ordinary_is_news() {
        let log = Log::read("[chaos] wrong screen, 1 missing, 0 doubled\n[chaos] stalled vga\n[chaos] fault 1 vga\n");
        assert_eq!(log.news.len(), 3);
    }
}
