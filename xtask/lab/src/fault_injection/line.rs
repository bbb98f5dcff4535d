//! The judge of the serial line: what the writer wrote, and what came out of the line.
//!
//! The line must carry just what was written, byte by byte, but for the windows: from what had surely arrived when something was done to the
//! driver that may have it do wrong, to the mark by which the writer says that it begins anew. What the windows hold is damage,
//! and is counted. What an application makes of the whole must be every line, once.

use ::fault_injection::client::lines;
use ::fault_injection::line::Receiver;

/// Where the line may carry anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its number, as the mark has it.
    pub number: u32,
    /// All lines before this one had surely arrived: the writer goes back to it.
    pub arrived: u32,
    /// All lines before this one were written.
    pub next: u32,
}

/// What a window held instead of what it should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// The window's number.
    pub window: u32,
    /// Lines that did not come whole.
    pub lost: u32,
    /// Lines that came more than once.
    pub doubled: u32,
    /// Bytes in pieces that are no lines.
    pub garbage: u32,
}

/// The verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Lines written.
    pub lines: u32,
    /// Lines that the application never got.
    pub lost: u32,
    /// Lines that it got more than once, because they came twice without having been written twice.
    pub doubled: u32,
    /// Where the line differs from what was written outside the windows.
    pub wrong: Vec<String>,
    /// What the windows held.
    pub damage: Vec<Damage>,
}

/// Judges a whole run.
#[must_use]
pub fn judge(carried: &[u8], windows: &[Window]) -> Verdict {
    let mut verdict = Verdict::default();
    let (mut rest, mut from) = (carried, 0);
    for window in windows {
        let count = window.arrived.saturating_sub(from);
        rest = verdict.exactly(rest, &lines(from, count), &format!("line {from} to window {}", window.number));
        let mark = format!("\n!{} {} {}\n", window.number, window.arrived, window.next);
        let Some(at) = rest.windows(mark.len()).position(|part| part == mark.as_bytes()) else {
            verdict.wrong.push(format!("the mark of window {} never came", window.number));
            return verdict;
        };
        verdict.damage.push(damage(window.number, &rest[..at], from + count, window.next));
        (rest, from) = (&rest[at + mark.len()..], window.arrived);
    }
    let Some((inside, mark, behind)) = cut(rest, "\n.") else {
        verdict.wrong.push("the last mark never came".to_owned());
        return verdict;
    };
    verdict.lines = mark.parse().unwrap_or(0);
    let wanted = lines(from, verdict.lines.saturating_sub(from));
    let left = verdict.exactly(inside, &wanted, &format!("line {from} to the end"));
    for extra in [left, behind].into_iter().filter(|extra| !extra.is_empty()) {
        verdict.wrong.push(format!("{} bytes too many at the end", extra.len()));
    }
    verdict.received(carried);
    verdict
}

/// What comes before a mark, the rest of the mark's line, and what comes behind that.
fn cut<'a>(bytes: &'a [u8], mark: &str) -> Option<(&'a [u8], String, &'a [u8])> {
    let at = bytes.windows(mark.len()).position(|part| part == mark.as_bytes())?;
    let behind = &bytes[at + mark.len()..];
    let end = behind.iter().position(|&byte| byte == b'\n')?;
    Some((&bytes[..at], String::from_utf8_lossy(&behind[..end]).into_owned(), &behind[end + 1..]))
}

/// What lines `first..next` have become.
fn damage(window: u32, inside: &[u8], first: u32, next: u32) -> Damage {
    let mut damage = Damage { window, ..Damage::default() };
    let mut seen = vec![0; next.saturating_sub(first) as usize];
    for piece in inside.split(|&byte| byte == b'\n').filter(|piece| !piece.is_empty()) {
        let place = ::fault_injection::line::number(piece).and_then(|number| number.checked_sub(first));
        match place.and_then(|place| seen.get_mut(place as usize)) {
            Some(count) => *count += 1,
            None => damage.garbage += piece.len() as u32,
        }
    }
    damage.lost = seen.iter().filter(|&&count| count == 0).count() as u32;
    damage.doubled = seen.iter().map(|&count: &u32| count.saturating_sub(1)).sum();
    damage
}

impl Verdict {
    /// What must come next. Returns what comes behind it.
    fn exactly<'a>(&mut self, bytes: &'a [u8], wanted: &[u8], where_: &str) -> &'a [u8] {
        let same = bytes.iter().zip(wanted).take_while(|(a, b)| a == b).count();
        if same == wanted.len() {
            return &bytes[same..];
        }
        let part = |bytes: &[u8]| {
            let from = same.saturating_sub(20);
            String::from_utf8_lossy(bytes.get(from..bytes.len().min(same + 40)).unwrap_or_default()).into_owned()
        };
        self.wrong.push(format!(
            "{where_}: differs after {same} of {} bytes: {:?} instead of {:?}",
            wanted.len(),
            part(bytes),
            part(wanted)
        ));
        // Lost and doubled lines, for the sums.
        let text = String::from_utf8_lossy(wanted).into_owned();
        for line in text.lines() {
            let times = bytes.split(|&byte| byte == b'\n').filter(|piece| *piece == line.as_bytes()).count();
            self.doubled += times.saturating_sub(1) as u32;
        }
        bytes.get(wanted.len()..).unwrap_or_default()
    }

    /// What the application gets: each line by its number, once.
    fn received(&mut self, carried: &[u8]) {
        let mut receiver = Receiver::default();
        carried.iter().for_each(|&byte| receiver.take(byte));
        self.lost = self.lines.saturating_sub(receiver.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines 0 to 9, a window from line 6 on, lines 6 to 19 again, the end.
    fn run() -> (Vec<u8>, Vec<Window>) {
        let mut bytes = lines(0, 10);
        bytes.extend(b"\n!1 6 10\n");
        bytes.extend(lines(6, 14));
        bytes.extend(b"\n.20\n");
        (bytes, vec![Window { number: 1, arrived: 6, next: 10 }])
    }

    #[test]
    fn a_good_run_is_good() {
        let (bytes, windows) = run();
        let verdict = judge(&bytes, &windows);
        let damage = vec![Damage { window: 1, ..Damage::default() }];
        assert_eq!(verdict, Verdict { lines: 20, damage, ..Verdict::default() });
    }

    #[test]
    fn a_lost_a_doubled_and_a_changed_byte_are_noticed_everywhere_outside_the_window() {
        let (bytes, windows) = run();
        let window = lines(0, 6).len()..lines(0, 10).len() + 1;
        for at in (0..bytes.len()).filter(|at| !window.contains(at)) {
            let mut lost = bytes.clone();
            let byte = lost.remove(at);
            let mut doubled = bytes.clone();
            doubled.insert(at, byte);
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            // The second of two line ends before the window lies in it.
            let doubled = if at + 1 == window.start { changed.clone() } else { doubled };
            for (what, bytes) in [("lost", lost), ("doubled", doubled), ("changed", changed)] {
                let verdict = judge(&bytes, &windows);
                assert!(!verdict.wrong.is_empty() || verdict.lost > 0, "byte {at} {what} and not noticed: {verdict:?}");
            }
        }
    }

    #[test]
    fn a_window_may_hold_anything_and_its_damage_is_counted() {
        let (bytes, windows) = run();
        let start = lines(0, 6).len();
        let end = lines(0, 10).len();
        let mut broken = bytes[..start].to_vec();
        broken.extend(lines(6, 1));
        broken.extend(lines(6, 2));
        broken.extend(b"what is this");
        broken.extend(&bytes[end..]);
        let verdict = judge(&broken, &windows);
        assert_eq!((verdict.wrong, verdict.lost), (vec![], 0));
        assert_eq!(verdict.damage, [Damage { window: 1, lost: 2, doubled: 1, garbage: 12 }]);
    }

    #[test]
    fn what_was_never_repaired_is_lost() {
        let mut bytes = lines(0, 6);
        bytes.extend(b"\n!1 8 10\n");
        bytes.extend(lines(8, 12));
        bytes.extend(b"\n.20\n");
        let verdict = judge(&bytes, &[Window { number: 1, arrived: 8, next: 10 }]);
        assert!(!verdict.wrong.is_empty());
    }

    #[test]
    fn a_line_that_came_twice_is_counted() {
        let mut bytes = lines(0, 5);
        bytes.extend(lines(4, 6));
        bytes.extend(b"\n.10\n");
        let verdict = judge(&bytes, &[]);
        assert_eq!((verdict.doubled, verdict.wrong.is_empty()), (1, false));
    }

    #[test]
    fn a_missing_end_is_noticed() {
        let (bytes, windows) = run();
        assert!(!judge(&bytes[..bytes.len() - 3], &windows).wrong.is_empty());
        assert!(!judge(&bytes, &[Window { number: 2, arrived: 6, next: 10 }]).wrong.is_empty());
    }
}
