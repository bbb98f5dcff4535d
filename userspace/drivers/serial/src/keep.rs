//! The state that outlives the driver: unsent bytes, unread bytes, and the progress of each
//! client's last write.
//!
//! [`crate::device`] finds out which bytes had passed through the hardware when a life ended.

use abi::TaskId;
use rt::keep::{Begin, Inbox, Journal, MAX_TASKS, Ring};

/// Most bytes that wait to be sent.
pub const TX_SIZE: u32 = 8192;

/// Slots for bytes that wait to be read; one of them is always empty.
pub const RX_SIZE: u32 = 2048;

/// Flag: a 16-bit port access reaches two registers of the UART (see [`crate::device`]).
pub const WIDE: u32 = 1;

rt::kept! {
    /// The kept state.
    pub struct Keep {
        /// The write that is being copied into the transmit ring; its steps are the ring's head.
        writes: Journal<MAX_TASKS>,
        /// Received bytes, each with a bit of the upper half set.
        pub rx: Inbox<u16, { RX_SIZE as usize }>,
        /// Bytes to send. The ring's tail counts the sent bytes.
        pub tx: Ring<u8, { TX_SIZE as usize }>,
    }
}

impl Keep {
    /// Begins a write, or continues one that the driver's death interrupted.
    pub fn begin_write(&self, task: TaskId, number: u64) -> Begin {
        self.writes.begin(task, number, self.tx.head())
    }

    /// Ends a write all of whose bytes are in the transmit ring.
    pub fn end_write(&self, task: TaskId, number: u64) {
        self.writes.end(task, number);
    }

    /// Ends the current write at its present length: its client died, or lent no memory.
    pub fn drop_write(&self) {
        self.writes.abandon();
    }

    /// Marks arbitrary positions as valid.
    #[cfg(test)]
    pub fn scramble(&self, positions: &[u32]) {
        let [head, tail, rx_head, given, rx_tail, start, ..] = *positions else { panic!("six positions") };
        self.tx.scramble(head, tail);
        self.rx.scramble(rx_head, given, rx_tail);
        self.writes.scramble(start);
        self.set_ready(WIDE);
    }
}
