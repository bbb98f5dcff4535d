//! What is printed of logs, cut anywhere, and when.

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
    // 110 bytes written, 32 kept: "9\n" and what is before it are lost, two whole lines and
    // "0123456789\n" remain.
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
    // Ten seconds, in which the first two print 100 bytes a millisecond, and the third a line a
    // second.
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

/// One that writes a byte each microsecond and never ends its line: told of each, the console looks
/// some times in each pause, not thousands.
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

    /// Whatever tasks print and however they split it: on a terminal of eighty columns, of either
    /// kind, every row begins with the name of a task, and holds nothing but what that task
    /// printed.
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

/// A line feed is one byte in a task's log and a row of twenty on a screen and a serial line.
#[test]
fn d25_empty_lines_are_a_flood_too() {
    let mut fake = Fake::new(&["flood"], 4096);
    let mut logs = Logs::new([0; MAX_TASKS]);
    let mut shown = 0;
    for ms in 0..10_000_u64 {
        fake.write(0, "\n\n\n\n\n\n\n\n\n\n");
        if ms % 20 == 0 {
            shown += turn_at(&mut logs, &mut fake, ms * 1_000_000).0.len() as u64;
        }
    }
    // A chunk that is taken whole may be more than there was credit for; what is too much is waited for.
    let row = "[flood] \n".len() as u64;
    assert!((BURST..BURST + 11 * RATE + CHUNK as u64 * row + 1000).contains(&shown), "{shown} bytes in ten seconds");
}
