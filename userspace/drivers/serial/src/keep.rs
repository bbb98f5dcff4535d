//! What outlives the driver: bytes not yet sent, bytes not yet read, and how far each client's last write got.
//!
//! Which bytes went through the hardware when a life ended is found out in [`crate::device`].

use abi::TaskId;
use rt::keep::{Begin, Inbox, Journal, MAX_TASKS, Ring};

/// Bytes that can wait to be sent.
pub const TX_SIZE: u32 = 8192;

/// Slots for bytes that wait to be read; one of them is always empty.
pub const RX_SIZE: u32 = 2048;

/// Flag: a 16-bit port access reaches two registers of the UART (see [`crate::device`]).
pub const WIDE: u32 = 1;

rt::kept! {
    /// The kept state.
    pub struct Keep {
        /// Whose write is being put into the transmit ring; its steps are the ring's head.
        writes: Journal<MAX_TASKS>,
        /// Bytes that came in, with any bit of the upper half set.
        pub rx: Inbox<u16, { RX_SIZE as usize }>,
        /// Bytes to send. Its tail counts those sent.
        pub tx: Ring<u8, { TX_SIZE as usize }>,
    }
}

impl Keep {
    /// Begins a write, or takes up one that the driver's death cut off.
    pub fn begin_write(&self, task: TaskId, number: u64) -> Begin {
        self.writes.begin(task, number, self.tx.head())
    }

    /// Ends a write of which all bytes are in the transmit ring.
    pub fn end_write(&self, task: TaskId, number: u64) {
        self.writes.end(task, number);
    }

    /// Ends the running write where it is: its client is gone, or lent no memory.
    pub fn drop_write(&self) {
        self.writes.abandon();
    }

    /// Puts a valid stamp before arbitrary positions.
    #[cfg(test)]
    pub fn scramble(&self, positions: &[u32]) {
        let [head, tail, rx_head, given, rx_tail, start, ..] = *positions else { panic!("six positions") };
        self.tx.scramble(head, tail);
        self.rx.scramble(rx_head, given, rx_tail);
        self.writes.scramble(start);
        self.set_ready(WIDE);
    }
}
