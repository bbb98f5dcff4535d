//! Log rings, which hold the newest text of each task and of the kernel. A task that floods its log
//! overwrites only its own ring, and is soon refused.

use abi::Status;
use abi::task::{LOG_AGAIN, LOG_BURST, LOG_LEAST, LOG_PER_MS};
use alloc::vec;
use alloc::vec::Vec;

/// Size of an ordinary task's ring in bytes. Every ring's size is a power of two.
pub const RING_SIZE: usize = 4096;

/// Size in bytes of the ring of the task with control: as much as a task may write at once. That
/// task reports each death, in a thousand bytes or more, and many tasks can die before anyone has
/// read the first report.
pub const CONTROL_RING_SIZE: usize = LOG_BURST as usize;

const _: () = assert!(RING_SIZE.is_power_of_two() && CONTROL_RING_SIZE.is_power_of_two());

/// How much of a text can be written in at most `most` bytes, when each line begins with a tag of
/// `tag` bytes (except the first where a line is already `open`). Returns the bytes of the text,
/// and the bytes that are written.
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

/// A ring buffer of text.
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
    /// A ring of `size` bytes, which must be a power of two.
    pub fn new(size: usize) -> Self {
        Ring { bytes: vec![0; size], written: 0 }
    }

    /// The index in the buffer of the byte at a position.
    fn place(&self, position: u64) -> usize {
        position as usize & (self.bytes.len() - 1)
    }

    /// Appends text, and overwrites the oldest.
    pub fn write(&mut self, text: &[u8]) {
        // Of a text that is larger than the ring, only the end is kept.
        let lost = text.len().saturating_sub(self.bytes.len());
        let text = text.get(lost..).unwrap_or_default();
        let at = self.place(self.written + lost as u64);
        self.written += (lost + text.len()) as u64;
        let mut from = text.iter();
        let after = self.bytes.get_mut(at..).unwrap_or_default();
        after.iter_mut().zip(&mut from).for_each(|(to, from)| *to = *from);
        self.bytes.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    }

    /// Copies text from `position` on, counted in bytes ever written. Returns the number of bytes
    /// copied and the position of the first of them, which is later than `position` if older text
    /// has been overwritten.
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

    /// The number of bytes ever written.
    pub fn written(&self) -> u64 {
        self.written
    }
}

/// How much of its log allowance a task has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    used: u32,
    /// The time for which `used` was last computed, in milliseconds since boot.
    at_ms: u64,
    mute: bool,
}

impl Allowance {
    /// Takes an allowance of `bytes` bytes, at least [`LOG_LEAST`], or nothing. `now_ms` is the
    /// time in milliseconds since boot. Errors: QuotaLog.
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
