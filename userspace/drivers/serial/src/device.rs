//! The UART: set-up, interrupts, and the recovery of the byte that was in transfer when the last
//! life ended.
//!
//! Register numbers and bits: National Semiconductor PC16550D data sheet (1995), section 8; typed
//! by the `uart_16550` crate.
//!
//! # Exactly once
//! Sending a byte takes two steps, the `out` and the store that counts it; so does receiving one.
//! If the driver died between the two, the next life would send the byte twice or lose it. The UART
//! does not tell afterwards whether a byte was sent, so both steps are made one instruction, with
//! the help of the Interrupt Enable Register, which is beside the data register:
//!
//! - **Sending** writes 16 bits to the data register: the byte, and in the upper half a new value
//!   for the IER, in which the bit for line status interrupts is the lowest bit of the number of
//!   bytes sent. The next life reads the IER back: if the bit disagrees with the count in memory,
//!   the last byte was sent and not counted. (The bit is free for this use: line errors are read
//!   with each byte anyway.)
//! - **Receiving** reads 16 bits straight from the ports into the ring (`insw`). The upper half is
//!   the IER, in which the bit for received data is set: a slot that is not zero holds a byte,
//!   counted or not.
//!
//! The bus splits such an access into one per register, low address first (ISA: data size mismatch
//! cycles; Intel LPC interface specification 1.1, section 5: I/O cycles are 8 bits, larger ones are
//! broken up). The first set-up tests this on the divisor latch. If the bus does not, two
//! instructions remain, and a life that ends between them doubles the byte being sent, or loses the
//! byte being received.

use crate::keep::{Keep, WIDE};
use core::sync::atomic::{AtomicU16, Ordering, compiler_fence};
use rt::port::Port;
use uart_16550::spec::registers::{FifoTriggerLevel, IER, ISR, InterruptType, LCR, LSR, MCR, offsets};
use uart_16550::spec::{FIFO_SIZE, NUM_REGISTERS};
use uart_16550::{BaudRate, Config};

const DATA: u16 = offsets::DATA as u16;
const INTERRUPTS: u16 = offsets::IER as u16;
const CAUSE: u16 = offsets::ISR as u16;
const LINE: u16 = offsets::LCR as u16;
const MODEM: u16 = offsets::MCR as u16;
const STATUS: u16 = offsets::LSR as u16;
const MODEM_STATUS: u16 = offsets::MSR as u16;

/// How many ports the UART has.
pub const PORTS: u16 = NUM_REGISTERS as u16;

/// The divisor latch for 115200 baud: 1.8432 MHz / 16 / 115200 (PC16550D, table III).
const DIVISOR: u16 = 1;

/// The FIFO control register: FIFOs on, interrupt at eight bytes received (PC16550D, section 8.5).
const FIFOS: u8 = 0x81;

/// Most interrupt causes handled at once.
const MOST_CAUSES: usize = 64;

/// Most times that the transmitter's FIFO is filled at once.
const MOST_BURSTS: usize = 64;

/// Most reads of the line status during set-up while waiting for the transmitter to become empty;
/// 16 bytes take 1.4 ms at 115200 baud, or 17 ms at the 9600 baud that firmware may have left, and
/// a port access takes about a microsecond.
const PATIENCE: u32 = 40_000;

rt::words! {
    /// Errors on the line since the driver's start. The counters saturate.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Errors {
        /// The UART's receive FIFO overflowed: a byte is lost.
        pub overruns: u16,
        /// A byte came with a wrong parity bit.
        pub parity: u16,
        /// A byte came without its stop bit.
        pub framing: u16,
        /// The other side held the line in the space state (a break); read as a zero byte.
        pub breaks: u16,
    }
}

impl Errors {
    /// How many bytes were lost or damaged since the counters had the values `before`. Breaks do
    /// not count: they are sent on purpose.
    pub fn bytes_since(self, before: Errors) -> u32 {
        let pairs = [(self.overruns, before.overruns), (self.parity, before.parity), (self.framing, before.framing)];
        pairs.into_iter().map(|(now, before)| u32::from(now.saturating_sub(before))).sum()
    }
}

/// The result of [`Uart::service`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Serviced {
    /// Whether there is more to do: call `service` again before the interrupt is acknowledged.
    pub more: bool,
    /// Whether bytes were received.
    pub received: bool,
    /// Whether bytes were sent: there is room in the transmit ring.
    pub sent: bool,
}

/// The UART and the rings between it and the clients.
pub struct Uart<P> {
    port: P,
    keep: &'static Keep,
    wide: bool,
    present: bool,
    warm: bool,
    interrupts: IER,
    errors: Errors,
}

impl<P: Port> Uart<P> {
    /// Sets the UART up to 115200 baud, 8 data bits, no parity, one stop bit, with its FIFOs on. If
    /// `keep` holds the state of an earlier life, continues from there and leaves the FIFOs as they
    /// are. Call [`Uart::service`] next.
    pub fn start(port: P, keep: &'static Keep) -> Self {
        let warm = keep.resume();
        let mut uart =
            Uart { port, keep, wide: false, present: true, warm, interrupts: IER::empty(), errors: Errors::default() };
        if warm {
            uart.resume();
        } else {
            uart.set_up();
        }
        uart.write_interrupts();
        uart
    }

    fn set_up(&mut self) {
        self.port.write8(INTERRUPTS, 0);
        self.wide = self.try_wide();
        let mut uart = rt::uart::uart(&mut self.port, PATIENCE);
        let config = Config {
            baud_rate: BaudRate::Baud115200,
            fifo_trigger_level: Some(FifoTriggerLevel::Eight),
            ..Config::DEFAULT
        };
        self.present = uart.init(config).is_ok();
        if self.present {
            self.keep.set_ready(if self.wide { WIDE } else { 0 });
        }
    }

    /// Whether a 16-bit access reaches two registers: tested on the two halves of the divisor
    /// latch.
    fn try_wide(&mut self) -> bool {
        const PATTERN: u16 = 0x1234;
        self.port.write8(LINE, LCR::DLAB.bits());
        self.port.write16(DATA, PATTERN);
        let [low, high] = PATTERN.to_le_bytes();
        let slot = AtomicU16::new(0);
        self.port.read16_into(DATA, &slot);
        let wide = self.port.read8(DATA) == low
            && self.port.read8(INTERRUPTS) == high
            && slot.load(Ordering::Acquire) == PATTERN;
        let [low, high] = DIVISOR.to_le_bytes();
        self.port.write8(DATA, low);
        self.port.write8(INTERRUPTS, high);
        self.port.write8(LINE, 0);
        wide
    }

    /// Takes over a UART that an earlier life has set up, and finds out whether the byte in
    /// transfer in each direction was counted.
    fn resume(&mut self) {
        self.wide = self.keep.flags() & WIDE != 0;
        self.restore();
        self.port.write8(MODEM, (MCR::DTR | MCR::RTS | MCR::OUT_2_INT_ENABLE).bits());
        let marked = IER::from_bits_retain(self.port.read8(INTERRUPTS));
        if marked.contains(IER::RECEIVER_LINE_STATUS) != odd(self.keep.tx.tail()) {
            self.keep.tx.advance();
        }
        self.keep.rx.accept();
        // An empty transmitter causes an interrupt when its interrupt is enabled, so it must have
        // been disabled before.
        self.interrupts = mark(IER::empty(), self.keep.tx.tail());
        self.port.write8(INTERRUPTS, self.interrupts.bits());
    }

    /// Sets the registers to the values of the set-up, as the last life may have changed them in
    /// its last moments. Registers with the right value are not written, so that no byte in
    /// transfer is damaged.
    fn restore(&mut self) {
        let mode = LCR::WORD_LENGTH0.union(LCR::WORD_LENGTH1);
        self.port.write8(LINE, mode.union(LCR::DLAB).bits());
        if [self.port.read8(DATA), self.port.read8(INTERRUPTS)] != DIVISOR.to_le_bytes() {
            let [low, high] = DIVISOR.to_le_bytes();
            self.port.write8(DATA, low);
            self.port.write8(INTERRUPTS, high);
        }
        self.port.write8(LINE, mode.bits());
        // The bytes in the FIFOs stay if the FIFOs are enabled already (PC16550D, section 8.5).
        self.port.write8(CAUSE, FIFOS);
    }

    /// Enables the interrupts wanted now: received data if there is room for it, transmitter empty
    /// if there is something to send.
    fn write_interrupts(&mut self) {
        let mut wanted = mark(IER::empty(), self.keep.tx.tail());
        wanted.set(IER::DATA_READY, self.keep.rx.room() > 0);
        wanted.set(IER::THR_EMPTY, !self.keep.tx.is_empty());
        if self.present && wanted != self.interrupts {
            self.interrupts = wanted;
            self.port.write8(INTERRUPTS, wanted.bits());
        }
    }

    /// Handles interrupt causes until none is pending, up to a bounded number; `more` tells if
    /// there may be more.
    ///
    /// The line to the interrupt controller is edge-triggered: it must have been seen low before
    /// the interrupt is acknowledged.
    pub fn service(&mut self) -> Serviced {
        let mut serviced = Serviced::default();
        if !self.present {
            return serviced;
        }
        for _ in 0..MOST_CAUSES {
            let cause = ISR::from_bits_retain(self.port.read8(CAUSE)).interrupt_type();
            match cause {
                None => return serviced,
                Some(InterruptType::ReceivedDataReady) => serviced.received |= self.receive(),
                Some(InterruptType::ReceptionTimeout) => {
                    let received = self.receive();
                    serviced.received |= received;
                    if !received && self.keep.rx.room() > 0 {
                        // Some UARTs report a timeout with an empty FIFO; only a read clears it.
                        let _ = self.port.read8(DATA);
                    }
                }
                Some(InterruptType::TransmitterHoldingRegisterEmpty) => serviced.sent |= self.transmit(),
                Some(InterruptType::ReceiverLineStatus) => {
                    self.line_status();
                }
                Some(_) => {
                    let _ = self.port.read8(MODEM_STATUS);
                }
            }
            self.write_interrupts();
        }
        serviced.more = true;
        serviced
    }

    /// Starts to send the bytes in the transmit ring. Returns whether bytes were sent.
    pub fn kick(&mut self) -> bool {
        let sent = self.present && !self.keep.tx.is_empty() && self.transmit();
        self.write_interrupts();
        sent
    }

    /// To be called after bytes were taken out of the receive ring: enables reception of more.
    pub fn received_room(&mut self) {
        self.write_interrupts();
    }

    /// Whether the byte at `position` (a position of the transmit ring's head) and all before it
    /// have left the UART.
    pub fn flushed(&mut self, position: u32) -> bool {
        let since = self.keep.tx.tail().wrapping_sub(position);
        if !self.present {
            return true;
        }
        // A difference that is negative as a signed number: the position is still ahead.
        if since > u32::MAX / 2 {
            return false;
        }
        since as usize > FIFO_SIZE || self.line_status().contains(LSR::TRANSMITTER_EMPTY)
    }

    /// Whether a UART answers.
    pub fn is_present(&self) -> bool {
        self.present
    }

    /// Whether this life continued from an earlier one's state.
    pub fn is_warm(&self) -> bool {
        self.warm
    }

    /// Whether a death at any instant neither doubles nor loses a byte: see the module's
    /// documentation.
    pub fn is_exact(&self) -> bool {
        self.wide
    }

    /// Errors on the line since the driver's start.
    pub fn errors(&self) -> Errors {
        self.errors
    }

    /// Reads the line status and counts the errors in it, which the read clears.
    fn line_status(&mut self) -> LSR {
        let status = LSR::from_bits_retain(self.port.read8(STATUS));
        let errors = &mut self.errors;
        for (bit, counter) in [
            (LSR::OVERRUN_ERROR, &mut errors.overruns),
            (LSR::PARITY_ERROR, &mut errors.parity),
            (LSR::FRAMING_ERROR, &mut errors.framing),
            (LSR::BREAK_INTERRUPT, &mut errors.breaks),
        ] {
            if status.contains(bit) {
                *counter = counter.saturating_add(1);
            }
        }
        status
    }

    /// Takes bytes from the receive FIFO, as far as the ring has room. The rest stays in the UART.
    fn receive(&mut self) -> bool {
        let mut received = false;
        for _ in 0..2 * FIFO_SIZE {
            if self.keep.rx.room() == 0 || !self.line_status().contains(LSR::DATA_READY) {
                break;
            }
            self.take_byte();
            received |= self.keep.rx.accept();
        }
        received
    }

    /// Fills the transmit FIFO, repeatedly if it is empty at once, as an emulated one is.
    fn transmit(&mut self) -> bool {
        let mut sent = false;
        for _ in 0..MOST_BURSTS {
            if self.keep.tx.is_empty() || !self.line_status().contains(LSR::THR_EMPTY) {
                break;
            }
            for _ in 0..FIFO_SIZE {
                let Some(byte) = self.keep.tx.first() else {
                    break;
                };
                self.put_byte(byte);
                sent = true;
            }
        }
        sent
    }

    /// Sends one byte to the transmitter, marked in the IER, and counts it.
    fn put_byte(&mut self, byte: u8) {
        let marked = mark(self.interrupts, self.keep.tx.tail().wrapping_add(1));
        compiler_fence(Ordering::SeqCst);
        if self.wide {
            self.port.write16(DATA, u16::from_le_bytes([byte, marked.bits()]));
        } else {
            self.port.write8(DATA, byte);
            self.port.write8(INTERRUPTS, marked.bits());
        }
        self.interrupts = marked;
        self.keep.tx.advance();
    }

    /// Reads one byte from the receiver into the free slot. The interrupt for received data must be
    /// enabled: it marks the slot as filled.
    fn take_byte(&mut self) {
        compiler_fence(Ordering::SeqCst);
        if self.wide && self.interrupts.contains(IER::DATA_READY) {
            self.port.read16_into(DATA, self.keep.rx.slot().atomic());
        } else {
            let byte = self.port.read8(DATA);
            self.keep.rx.slot().put(0x100 | byte as u16);
        }
        compiler_fence(Ordering::SeqCst);
    }
}

fn odd(count: u32) -> bool {
    count % 2 == 1
}

/// `interrupts` with the mark for this number of sent bytes.
fn mark(mut interrupts: IER, sent: u32) -> IER {
    interrupts.set(IER::RECEIVER_LINE_STATUS, odd(sent));
    interrupts
}
