//! Log rings: the newest text of each task, and of the kernel. A flood overwrites only its own ring, and is refused before long.

use crate::row::{Row, RowSet};
use crate::system::System;
use abi::Status;
use abi::task::{LOG_AGAIN, LOG_BURST, LOG_LEAST, LOG_PER_MS};
use alloc::vec;
use alloc::vec::Vec;

/// Bytes that a ring keeps; a power of two, as is every ring's size.
pub const RING_SIZE: usize = 4096;

/// Bytes that the ring of the task with control keeps: all that a task may write at once. It reports each death, a thousand bytes or more, and
/// many tasks can die in the same moment, before anybody has read the first report.
pub const CONTROL_RING_SIZE: usize = LOG_BURST as usize;

const _: () = assert!(RING_SIZE.is_power_of_two() && CONTROL_RING_SIZE.is_power_of_two());

/// How many bytes of a text, in which lines begin with a tag of `tag` bytes, and the first where no line is `open`, go out in at most `most`; and
/// in how many.
pub fn fitting(text: &[u8], tag: usize, mut open: bool, most: usize) -> (usize, usize) {
    let mut out = 0;
    for (count, &byte) in text.iter().enumerate() {
        let next = out + 1 + if open { 0 } else { tag };
        if next > most {
            return (count, out);
        }
        (out, open) = (next, byte != b'\n');
    }
    (text.len(), out)
}

/// A ring of text.
pub struct Ring {
    bytes: Vec<u8>,
    written: u64,
}

impl Default for Ring {
    fn default() -> Self {
        Ring::new(RING_SIZE)
    }
}

impl Ring {
    /// A ring that keeps so many bytes, a power of two.
    pub fn new(size: usize) -> Self {
        Ring { bytes: vec![0; size], written: 0 }
    }

    /// Where the byte at a position lies.
    fn place(&self, position: u64) -> usize {
        position as usize & (self.bytes.len() - 1)
    }

    /// Appends text; the oldest makes room.
    pub fn write(&mut self, text: &[u8]) {
        // Of more than fits the end stays.
        let lost = text.len().saturating_sub(self.bytes.len());
        let text = text.get(lost..).unwrap_or_default();
        let at = self.place(self.written + lost as u64);
        self.written += (lost + text.len()) as u64;
        let mut from = text.iter();
        let after = self.bytes.get_mut(at..).unwrap_or_default();
        after.iter_mut().zip(&mut from).for_each(|(to, from)| *to = *from);
        self.bytes.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    }

    /// Copies text from `position` (bytes ever written before it) on. Returns the bytes copied and the position of the first of
    /// them, which is later than asked for where older text is lost.
    pub fn read(&self, position: u64, into: &mut [u8]) -> (usize, u64) {
        let oldest = self.written.saturating_sub(self.bytes.len() as u64);
        let start = position.clamp(oldest, self.written);
        let count = into.len().min((self.written - start) as usize);
        let (before, after) = self.bytes.split_at(self.place(start));
        let into = into.get_mut(..count).unwrap_or_default();
        into.iter_mut().zip(after).for_each(|(to, from)| *to = *from);
        let rest = into.get_mut(after.len()..).unwrap_or_default();
        rest.iter_mut().zip(before).for_each(|(to, from)| *to = *from);
        (count, start)
    }

    /// Bytes ever written.
    pub fn written(&self) -> u64 {
        self.written
    }
}

impl System {
    /// Who is to hear that there is new text: each once, until it reads again. So whoever writes a byte at a time wakes nobody
    /// more often than that one looks.
    pub fn take_log_listeners(&mut self) -> RowSet {
        core::mem::take(&mut self.log_listeners)
    }

    /// A task reads logs: it is told of what comes from now on.
    pub fn log_looked_at(&mut self, row: Row) {
        if self.log_readers.contains(row) {
            self.log_listeners.insert(row);
        }
    }
}

/// What of its share a task has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    used: u32,
    /// Up to when that was reckoned, in milliseconds since boot.
    at_ms: u64,
    mute: bool,
}

impl Allowance {
    /// Takes so many bytes, [`LOG_LEAST`] at the least, or nothing. Errors: QuotaLog.
    pub fn take(&mut self, bytes: usize, now_ms: u64) -> Result<(), Status> {
        let back = now_ms.saturating_sub(self.at_ms).saturating_mul(LOG_PER_MS.into());
        self.at_ms = now_ms;
        self.used = self.used.saturating_sub(u32::try_from(back).unwrap_or(u32::MAX));
        let used = self.used.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX).max(LOG_LEAST));
        self.mute = used > LOG_BURST || self.mute && self.used > LOG_BURST - LOG_AGAIN;
        if self.mute {
            return Err(Status::QuotaLog);
        }
        self.used = used;
        Ok(())
    }
}
