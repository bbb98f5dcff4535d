//! Log rings: the newest text of each task, and of the kernel. A flood overwrites only its own ring, and is refused before long.

use abi::Status;
use abi::task::{LOG_AGAIN, LOG_BURST, LOG_PER_MS};
use alloc::vec;
use alloc::vec::Vec;

/// Bytes that a ring keeps.
pub const RING_SIZE: usize = 4096;

/// A ring of text.
pub struct Ring {
    bytes: Vec<u8>,
    written: u64,
}

impl Default for Ring {
    fn default() -> Self {
        Ring { bytes: vec![0; RING_SIZE], written: 0 }
    }
}

impl Ring {
    /// Appends text; the oldest makes room.
    pub fn write(&mut self, text: &[u8]) {
        for &byte in text {
            self.bytes[(self.written % RING_SIZE as u64) as usize] = byte;
            self.written += 1;
        }
    }

    /// Copies text from `position` (bytes ever written before it) on. Returns the bytes copied and the position of the first of
    /// them, which is later than asked for where older text is lost.
    pub fn read(&self, position: u64, into: &mut [u8]) -> (usize, u64) {
        let oldest = self.written.saturating_sub(RING_SIZE as u64);
        let start = position.clamp(oldest, self.written);
        let count = into.len().min((self.written - start) as usize);
        for (offset, byte) in into.iter_mut().take(count).enumerate() {
            *byte = self.bytes[((start + offset as u64) % RING_SIZE as u64) as usize];
        }
        (count, start)
    }

    /// Bytes ever written.
    pub fn written(&self) -> u64 {
        self.written
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
    /// Takes so many bytes, or nothing. Errors: QuotaLog.
    pub fn take(&mut self, bytes: usize, now_ms: u64) -> Result<(), Status> {
        let back = now_ms.saturating_sub(self.at_ms).saturating_mul(LOG_PER_MS.into());
        self.at_ms = now_ms;
        self.used = self.used.saturating_sub(u32::try_from(back).unwrap_or(u32::MAX));
        let used = self.used.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.mute = used > LOG_BURST || self.mute && self.used > LOG_BURST - LOG_AGAIN;
        if self.mute {
            return Err(Status::QuotaLog);
        }
        self.used = used;
        Ok(())
    }
}
