//! The text that a display has not printed yet. Its driver may be busy, dead, hung, or wait for a
//! line that is not read: the other displays do not wait for it.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;

/// Most bytes that are kept for a display. Further text is left out until all kept text is printed;
/// then a message says how much was left out.
pub const KEPT: usize = 64 * 1024;

/// Most bytes of a piece, unless it was added as one.
pub const PIECE: usize = 1024;

/// What a piece counts in addition to its text, in bytes: about its size in memory.
const COST: usize = 64;

/// How long a display may take to print a piece, in nanoseconds, before it counts as late: then
/// text is kept for it without waiting. A serial line at 115,200 baud takes 89 ms.
pub const LATE_NS: u64 = 300_000_000;

/// A piece of output for a display.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Text to print.
    Text(String),
    /// Foreground and background of future text, 0 to 15 as VGA numbers them.
    Color(u8, u8),
    /// Wait until all earlier output has left the device.
    Flush,
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Piece::Text(text) => text.len(),
            Piece::Color(..) | Piece::Flush => 0,
        }
    }
}

/// The pieces that wait, the piece being printed, and a count of what was left out. Times are
/// nanoseconds since boot.
#[derive(Debug, Default)]
pub struct Outbox {
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// Whether a piece is being printed.
    busy: bool,
    /// When the display last finished a piece, or got one after it had none.
    moved_ns: u64,
    late: bool,
    left_out: u64,
    /// The last colours that were set by the pieces that were left out.
    color: Option<(u8, u8)>,
    gone: bool,
    /// Whether the device was asked in its present life what it can do.
    asked: bool,
}

impl Outbox {
    /// Whether everything is printed.
    pub fn is_idle(&self) -> bool {
        self.pieces.is_empty() && !self.busy
    }

    /// Appends a piece, or counts it as left out. Returns whether it was appended.
    pub fn push(&mut self, piece: Piece, now_ns: u64) -> bool {
        if self.gone {
            return false;
        }
        let len = piece.len();
        if self.left_out > 0 || self.bytes.saturating_add(len + COST) > KEPT {
            self.left_out = self.left_out.saturating_add(len as u64);
            if let Piece::Color(foreground, background) = piece {
                self.color = Some((foreground, background));
            }
            return false;
        }
        if self.is_idle() {
            self.moved_ns = now_ns;
        }
        self.bytes += len;
        match (self.pieces.back_mut(), piece) {
            (Some(Piece::Text(last)), Piece::Text(text)) if last.len() + len <= PIECE => last.push_str(&text),
            (_, piece) => {
                self.bytes += COST;
                self.pieces.push_back(piece);
            }
        }
        true
    }

    /// The next piece to print; call [`Outbox::done`] after it.
    pub fn take(&mut self) -> Option<Piece> {
        let piece = self.pieces.pop_front()?;
        self.bytes = self.bytes.saturating_sub(piece.len() + COST);
        self.busy = true;
        Some(piece)
    }

    /// To be called when the piece taken is printed. Returns how many bytes were left out, once,
    /// when all text that was kept before them is printed.
    pub fn done(&mut self, now_ns: u64) -> Option<u64> {
        self.busy = false;
        // A display that prints in time again is waited for again.
        if now_ns.saturating_sub(self.moved_ns) < LATE_NS || self.pieces.is_empty() {
            self.late = false;
        }
        self.moved_ns = now_ns;
        let left_out = if self.pieces.is_empty() { core::mem::take(&mut self.left_out) } else { 0 };
        if self.pieces.is_empty()
            && let Some((foreground, background)) = self.color.take()
        {
            self.push(Piece::Color(foreground, background), now_ns);
        }
        (left_out > 0).then_some(left_out)
    }

    /// The time until which a caller waits for the display, which may take `limit_ns` to print a
    /// piece; `None` if there is nothing to wait for.
    pub fn wait_until(&mut self, now_ns: u64, limit_ns: u64) -> Option<u64> {
        let until = self.moved_ns.saturating_add(limit_ns);
        self.late |= !self.is_idle() && now_ns >= until;
        (!self.is_idle() && !self.late).then_some(until)
    }

    /// Whether the display is late, so that no caller waits for it.
    pub fn is_late(&self) -> bool {
        self.late
    }

    /// The device does not come back: nothing is kept for it until [`Outbox::renew`].
    pub fn give_up(&mut self) {
        *self = Outbox { gone: true, ..Outbox::default() };
    }

    /// The device may have come back, or have begun a new life.
    pub fn renew(&mut self) {
        self.gone = false;
        self.asked = false;
    }

    /// Whether the device must be asked what it can do: once in each of its lives.
    pub fn asks(&mut self) -> bool {
        !self.gone && !core::mem::replace(&mut self.asked, true)
    }

    /// What keeps the display from printing, in words, if anything does.
    pub fn trouble(&self) -> Option<String> {
        match (self.gone, self.late) {
            (true, _) => Some(String::from("is gone; what would be printed there is left out")),
            (_, true) => Some(format!(
                "has taken nothing for a while: {} bytes wait, {} are left out",
                self.bytes, self.left_out
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    #[test]
    fn small_texts_are_joined_and_order_is_kept() {
        let mut outbox = Outbox::default();
        for piece in [text("a"), text("b"), Piece::Color(1, 2), text("c"), Piece::Flush, text("d")] {
            assert!(outbox.push(piece, 0));
        }
        let mut order = Vec::new();
        while let Some(piece) = outbox.take() {
            assert_eq!(outbox.done(0), None);
            order.push(piece);
        }
        assert_eq!(order, [text("ab"), Piece::Color(1, 2), text("c"), Piece::Flush, text("d")]);
        assert!(outbox.is_idle() && outbox.bytes == 0);
    }

    #[test]
    fn a_display_that_stands_still_is_waited_for_once() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.wait_until(5, LATE_NS), None, "nothing to wait for");
        outbox.push(text("x"), 1_000);
        assert_eq!(outbox.wait_until(1_000, LATE_NS), Some(1_000 + LATE_NS));
        outbox.take();
        assert_eq!(outbox.wait_until(LATE_NS, LATE_NS), Some(1_000 + LATE_NS));
        assert_eq!(outbox.wait_until(1_000 + LATE_NS, LATE_NS), None);
        assert!(outbox.is_late() && !outbox.is_idle());
        outbox.push(text("y"), 3 * LATE_NS);
        assert_eq!(outbox.wait_until(3 * LATE_NS, LATE_NS), None, "later text does not wait again");
        // The display prints, but slowly.
        outbox.push(text(&"z".repeat(PIECE)), 3 * LATE_NS);
        outbox.done(4 * LATE_NS);
        assert!(outbox.is_late());
        // Then it prints in time.
        outbox.take();
        outbox.done(4 * LATE_NS + 5);
        assert!(!outbox.is_late());
        assert_eq!(outbox.wait_until(4 * LATE_NS + 6, LATE_NS), Some(5 * LATE_NS + 5));
    }

    #[test]
    fn what_is_left_out_is_one_gap_that_is_told() {
        let mut outbox = Outbox::default();
        outbox.push(text("first"), 0);
        outbox.take();
        let line = text(&"k".repeat(PIECE));
        (0..KEPT / (PIECE + COST)).for_each(|_| assert!(outbox.push(line.clone(), 0)));
        assert!(!outbox.push(line.clone(), 0));
        assert!(!outbox.push(Piece::Color(3, 4), 0));
        assert_eq!(outbox.done(1), None);
        assert_eq!(outbox.take(), Some(line.clone()));
        assert!(!outbox.push(text("also lost"), 0), "there is room, but the order would be another");
        let mut told = outbox.done(2);
        while told.is_none()
            && let Some(piece) = outbox.take()
        {
            assert_eq!(piece, line);
            told = outbox.done(3);
        }
        assert_eq!(told, Some(PIECE as u64 + 9));
        assert_eq!((outbox.take(), outbox.done(3)), (Some(Piece::Color(3, 4)), None));
        assert!(outbox.push(text("heard"), 4));
        assert_eq!((outbox.take(), outbox.done(5)), (Some(text("heard")), None));
    }

    #[test]
    fn what_is_wrong_is_said_as_long_as_it_is() {
        let mut outbox = Outbox::default();
        assert!(outbox.asks() && !outbox.asks());
        outbox.push(text("heard"), 0);
        outbox.take();
        outbox.push(text("waits"), 0);
        assert_eq!((outbox.wait_until(LATE_NS - 1, LATE_NS).is_some(), outbox.trouble()), (true, None));
        outbox.wait_until(LATE_NS, LATE_NS);
        let late = outbox.trouble().expect("it is late");
        assert!(late.contains("taken nothing for a while: 69 bytes wait"), "{late}");
        outbox.done(LATE_NS + 1);
        outbox.take();
        outbox.done(LATE_NS + 2);
        assert_eq!(outbox.trouble(), None);
        outbox.give_up();
        assert!(outbox.trouble().is_some_and(|gone| gone.contains("is gone")) && !outbox.asks());
        outbox.renew();
        assert!(outbox.trouble().is_none() && outbox.asks());
    }

    #[test]
    fn a_device_that_is_gone_keeps_nobody_waiting() {
        let mut outbox = Outbox::default();
        outbox.push(text("x"), 0);
        outbox.take();
        outbox.give_up();
        assert!(outbox.is_idle() && !outbox.push(text("y"), 0) && outbox.take().is_none());
        outbox.renew();
        assert!(outbox.push(text("z"), 0));
        assert_eq!(outbox.take(), Some(text("z")));
    }

    proptest! {
        #[test]
        fn every_byte_is_printed_or_told(steps in prop::collection::vec((any::<bool>(), 0..3000_usize), 0..400)) {
            let mut outbox = Outbox::default();
            let (mut pushed, mut printed, mut told) = (0, 0, 0);
            let mut finish = |outbox: &mut Outbox| {
                if let Some(piece) = outbox.take() {
                    printed += piece.len() as u64;
                    told += outbox.done(0).unwrap_or(0);
                }
                printed + told
            };
            for (push, len) in steps {
                if push {
                    pushed += len as u64;
                    outbox.push(text(&"b".repeat(len)), 0);
                } else {
                    finish(&mut outbox);
                }
                prop_assert!(outbox.bytes <= KEPT);
            }
            while !outbox.is_idle() {
                finish(&mut outbox);
            }
            prop_assert_eq!(finish(&mut outbox), pushed);
        }
    }
}
