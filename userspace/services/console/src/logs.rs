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
    credit: [u64; MAX_TASKS],
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
        Logs { positions, first: 0, within: [false; MAX_TASKS], credit: [BURST; MAX_TASKS], reckoned_ns: 0 }
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
            self.credit.iter_mut().for_each(|credit| *credit = (*credit + earned).min(BURST));
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
                if credit < CHUNK as u64 && !rings.is_trusted(index) {
                    held_back |= rings.read(index, position, &mut [0]).is_ok_and(|(len, _)| len > 0);
                    continue;
                }
                let Ok((len, at)) = rings.read(index, position, &mut buf) else {
                    continue;
                };
                let text = buf.get(..len).unwrap_or_default();
                let mut within = self.within.get(index).copied().unwrap_or_default();
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
                if let Some(credit) = self.credit.get_mut(index) {
                    *credit = credit.saturating_sub(len as u64);
                }
                any = true;
                budget = budget.saturating_sub(len);
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
mod tests {
    use super::*;
    use alloc::collections::VecDeque;
    use alloc::vec::Vec;
    use alloc::{format, vec};
    use proptest::prelude::*;

    /// Rings as the kernel keeps them: the newest `size` bytes.
    struct Fake {
        size: usize,
        rings: Vec<(VecDeque<u8>, u64)>,
        names: Vec<String>,
        reads: usize,
    }

    impl Fake {
        fn new(names: &[&str], size: usize) -> Fake {
            Fake {
                size,
                rings: vec![(VecDeque::new(), 0); names.len()],
                names: names.iter().map(|name| String::from(*name)).collect(),
                reads: 0,
            }
        }

        fn write(&mut self, index: usize, text: &str) {
            self.write_bytes(index, text.as_bytes());
        }

        fn write_bytes(&mut self, index: usize, text: &[u8]) {
            let (ring, start) = &mut self.rings[index];
            ring.extend(text);
            while ring.len() > self.size {
                ring.pop_front();
                *start += 1;
            }
        }
    }

    impl Rings for Fake {
        fn count(&self) -> usize {
            self.names.len()
        }
        fn name(&self, index: usize) -> &str {
            &self.names[index]
        }
        fn is_trusted(&self, index: usize) -> bool {
            self.names[index] == "supervisor"
        }
        fn read(&mut self, index: usize, position: u64, buf: &mut [u8]) -> Result<(usize, u64), Status> {
            self.reads += 1;
            let (ring, start) = &self.rings[index];
            let at = position.max(*start);
            let skip = usize::try_from(at - start).unwrap().min(ring.len());
            let len = buf.len().min(ring.len() - skip);
            for (slot, byte) in buf.iter_mut().zip(ring.iter().skip(skip)) {
                *slot = *byte;
            }
            Ok((len, at))
        }
    }

    /// A turn so long after the last one that everybody may print again.
    fn turn(logs: &mut Logs, fake: &mut Fake) -> (String, bool) {
        let now_ns = logs.reckoned_ns + BURST / RATE * 1_000_000_000;
        turn_at(logs, fake, now_ns)
    }

    fn turn_at(logs: &mut Logs, fake: &mut Fake, now_ns: u64) -> (String, bool) {
        let mut out = String::new();
        let more = logs.turn(fake, now_ns, &mut out);
        (out, more)
    }

    fn logs() -> Logs {
        Logs::new([0; MAX_TASKS])
    }

    #[test]
    fn lines_are_tagged_and_come_once() {
        let (mut fake, mut logs) = (Fake::new(&["vga", "shell"], 4096), logs());
        fake.write(0, "one\ntwo\n");
        fake.write(1, "three\r\n");
        assert_eq!(turn(&mut logs, &mut fake), ("[vga] one\n[vga] two\n[shell] three\n".into(), false));
        assert_eq!(turn(&mut logs, &mut fake), (String::new(), false));
        fake.write(1, "\n");
        assert_eq!(turn(&mut logs, &mut fake).0, "[shell] \n");
    }

    #[test]
    fn a_line_waits_for_its_end() {
        let (mut fake, mut logs) = (Fake::new(&["a"], 4096), logs());
        fake.write(0, "whole\nha");
        assert_eq!(turn(&mut logs, &mut fake).0, "[a] whole\n");
        assert_eq!(turn(&mut logs, &mut fake).0, "");
        fake.write(0, "lf\n");
        assert_eq!(turn(&mut logs, &mut fake).0, "[a] half\n");
    }

    #[test]
    fn what_the_ring_has_lost_is_counted() {
        let (mut fake, mut logs) = (Fake::new(&["a"], 32), logs());
        fake.write(0, &"0123456789\n".repeat(10));
        // 110 bytes written, 32 kept: "9\n" and what is before it are lost, two whole lines and "0123456789\n" remain.
        assert_eq!(turn(&mut logs, &mut fake).0, "[a] ... 88 bytes skipped\n[a] 0123456789\n[a] 0123456789\n");
        assert_eq!(logs.positions()[0], 110);
    }

    #[test]
    fn a_turn_is_bounded_and_fair() {
        let (mut fake, mut logs) = (Fake::new(&["noisy", "quiet"], 1 << 20), logs());
        fake.write(0, &"noise noise noise\n".repeat(5000));
        fake.write(1, "still heard\n");
        let (text, more) = turn(&mut logs, &mut fake);
        assert!(more);
        assert!(text.contains("[quiet] still heard\n"));
        assert!(text.len() < 4 * TURN_BYTES, "{}", text.len());
        let mut turns = 1;
        let mut lines = text.lines().count();
        loop {
            let (text, more) = turn(&mut logs, &mut fake);
            lines += text.lines().count();
            turns += 1;
            if !more {
                break;
            }
        }
        assert_eq!(lines, 5001, "nothing is lost while the ring holds it");
        assert!(turns >= 90_000 / TURN_BYTES);
    }

    #[test]
    fn a_flood_is_shown_in_part_and_keeps_nobody_from_being_heard() {
        let (mut fake, mut logs) = (Fake::new(&["noisy", "supervisor", "quiet"], 8192), logs());
        let mut shown = [0; 3];
        // Ten seconds, in which the first two print 100 bytes a millisecond, and the third a line a second.
        for ms in 0..10_000_u64 {
            let line = format!("{}\n", "n".repeat(99));
            fake.write(0, &line);
            fake.write(1, &line);
            if ms % 1000 == 0 {
                fake.write(2, "heard\n");
            }
            if ms % 20 == 0 {
                let (text, _) = turn_at(&mut logs, &mut fake, ms * 1_000_000);
                for line in text.lines().filter(|line| !line.contains("skipped")) {
                    let who = fake.names.iter().position(|name| line.starts_with(&format!("[{name}]"))).unwrap();
                    shown[who] += line.len() as u64;
                }
            }
        }
        assert!((BURST..BURST + 11 * RATE + 2 * CHUNK as u64).contains(&shown[0]), "{shown:?}");
        assert!(shown[1] > 10 * 90_000, "all of the trusted one: {shown:?}");
        assert_eq!(shown[2], 10 * "[quiet] heard".len() as u64);
        // What was held back is not forgotten when the flood is over.
        let mut rest = String::new();
        while {
            let (text, more) = turn(&mut logs, &mut fake);
            rest.push_str(&text);
            more
        } {}
        assert!(rest.contains("[noisy] ... ") && rest.contains("[noisy] nnn"), "{rest}");
    }

    #[test]
    fn endless_lines_come_in_pieces() {
        let (mut fake, mut logs) = (Fake::new(&["a", "b"], 1 << 20), logs());
        fake.write(0, &"x".repeat(CHUNK - 1));
        // Neither the character nor the line is cut, but by the rows.
        fake.write(0, &format!("ä{}\n\n", "y".repeat(10)));
        fake.write(1, "between\n");
        let (text, _) = turn(&mut logs, &mut fake);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!((rows[0], rows[1]), (&*format!("[a] {}", "x".repeat(75)), &*format!("[a]> {}", "x".repeat(74))));
        assert_eq!(
            rows[rows.len() - 4..],
            [&format!("[a]> {}", "x".repeat(60)), "[b] between", "[a]> äyyyyyyyyyy", "[a] "]
        );
        // A line that ends with a piece has ended.
        fake.write(0, &"z".repeat(CHUNK));
        assert!(turn(&mut logs, &mut fake).0.starts_with("[a] zzz"));
        fake.write(0, "\nnew\n");
        assert_eq!(turn(&mut logs, &mut fake).0, "[a] new\n");
    }

    #[test]
    fn nothing_a_task_prints_commands_the_terminal() {
        let (mut fake, mut logs) = (Fake::new(&["evil"], 4096), logs());
        fake.write(0, "\x1b[2J\x07a\tb\u{9b}\u{202e}\n");
        assert_eq!(turn(&mut logs, &mut fake).0, "[evil] ?[2J?a    b??\n");
    }

    #[test]
    fn the_pace_slows_down_for_a_flood_alone() {
        let mut pace = Pace::default();
        assert_eq!(pace.after_turn(5, true, false), None, "a line now and then is shown at once");
        assert_eq!(pace.after_turn(5 + PAUSE_NS, true, false), None);
        assert_eq!(pace.after_turn(6 + PAUSE_NS, false, false), None, "nothing new");
        assert_eq!(pace.after_turn(7 + PAUSE_NS, true, false), Some(7 + 2 * PAUSE_NS));
        assert!(pace.is_paused());
        assert_eq!(pace.after_turn(8 + 2 * PAUSE_NS, true, false), None, "after the pause");
        assert!(!pace.is_paused());
        assert_eq!(pace.after_turn(9 + 9 * PAUSE_NS, true, true), Some(9 + 10 * PAUSE_NS), "more to come");
    }

    /// One that writes a byte each microsecond and never ends its line: told of each, the console looks some times in each pause, not thousands.
    #[test]
    fn d25_half_a_line_at_a_time_is_a_flood_too() {
        let (mut pace, mut timer_ns, mut looks) = (Pace::default(), u64::MAX, 0);
        for now_ns in (0..1_000_000_000).step_by(1000) {
            let timer = now_ns >= timer_ns;
            if timer || !pace.is_paused() {
                looks += 1;
                timer_ns = pace.after_turn(now_ns, true, false).unwrap_or(u64::MAX);
            }
        }
        assert!(looks <= 3 * 1_000_000_000 / PAUSE_NS, "{looks} looks in a second");
    }

    #[test]
    fn positions_carry_on() {
        let (mut fake, mut logs) = (Fake::new(&["a"], 4096), logs());
        fake.write(0, "old\n");
        turn(&mut logs, &mut fake);
        let mut logs = Logs::new(*logs.positions());
        fake.write(0, "new\n");
        assert_eq!(turn(&mut logs, &mut fake).0, "[a] new\n");
    }

    #[test]
    fn a_position_ahead_of_the_ring_is_harmless() {
        let mut fake = Fake::new(&["a"], 4096);
        fake.write(0, "text\n");
        assert_eq!(turn(&mut Logs::new([u64::MAX; MAX_TASKS]), &mut fake), (String::new(), false));
    }

    proptest! {
        #[test]
        fn every_line_is_printed_or_counted(
            size in 40usize..3000,
            writes in prop::collection::vec((0usize..3, "[a-z \n]{0,200}", any::<bool>()), 0..60),
        ) {
            let mut fake = Fake::new(&["a", "b", "c"], size);
            let mut logs = logs();
            let mut written = 0;
            let mut printed = String::new();
            for (index, text, drain) in &writes {
                fake.write(*index, text);
                written += text.len();
                if *drain {
                    printed.push_str(&turn_at(&mut logs, &mut fake, 0).0);
                }
            }
            for index in 0..3 {
                fake.write(index, "\n");
                written += 1;
            }
            loop {
                let (text, more) = turn(&mut logs, &mut fake);
                printed.push_str(&text);
                if !more {
                    break;
                }
            }
            let mut seen = 0;
            for line in printed.lines() {
                prop_assert!(line.starts_with('[') && (&line[2..4] == "] " || &line[2..5] == "]> "), "{:?}", line);
                if let Some(rest) = line[2..].strip_prefix("]> ") {
                    seen += rest.len();
                    continue;
                }
                match line[4..].strip_prefix("... ").and_then(|rest| rest.strip_suffix(" bytes skipped")) {
                    Some(count) => seen += count.parse::<usize>().unwrap(),
                    None => seen += line.len() - 4 + 1,
                }
            }
            prop_assert_eq!(seen, written);
        }

        /// Whatever tasks print and however they split it: on a terminal of eighty columns, of either kind, every row begins with the name of
        /// a task, and holds nothing but what that task printed.
        #[test]
        fn no_row_of_the_screen_passes_for_another_tasks(
            writes in prop::collection::vec((0usize..3, prop_oneof![
                "([ -~]|\\[a\\] |\\[b\\] |\u{301}|\u{200b}|一|ä|\t|\r|\n|\u{1b}|\u{202e}){0,200}".prop_map(String::into_bytes),
                (60usize..90, 0usize..3).prop_map(|(n, of)| format!("{}[{}] FORGED\n", " ".repeat(n), ["a", "b", "c"][of]).into_bytes()),
                prop::collection::vec(any::<u8>(), 0..1500),
            ], any::<bool>()), 0..40),
            eager in any::<bool>(),
        ) {
            let mut fake = Fake::new(&["a", "b", "c"], 4096);
            let (mut logs, mut session, mut out) = (logs(), crate::session::Session::default(), String::new());
            for (index, bytes, drain) in &writes {
                // Who wrote what is told by a letter that nobody else has, nor a note of skipped bytes.
                let own: Vec<u8> = bytes.iter().map(|&b| if matches!(b, b'X'..=b'Z') { b'X' + *index as u8 } else { b }).collect();
                fake.write_bytes(*index, &own);
                if *drain {
                    session.print_apart(&turn(&mut logs, &mut fake).0, &mut out);
                }
            }
            while {
                let (text, more) = turn(&mut logs, &mut fake);
                session.print_apart(&text, &mut out);
                more
            } {}
            let mut terminal = crate::terminal::Terminal::new(80, eager);
            terminal.feed(&out);
            for row in terminal.text() {
                let owner = ["[a]", "[b]", "[c]"].iter().position(|tag| row.starts_with(tag));
                prop_assert!(owner.is_some(), "{:?}", row);
                let others = ['X', 'Y', 'Z'].into_iter().enumerate().filter(|(i, _)| Some(*i) != owner);
                prop_assert!(!others.into_iter().any(|(_, letter)| row.contains(letter)), "{:?}", row);
            }
        }
    }
}
