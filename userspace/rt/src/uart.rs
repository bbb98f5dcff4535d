//! An adapter of ports for the `uart_16550` crate. The crate's interface is `unsafe`, which a
//! driver's crate need not be.

use crate::port::Port;
use uart_16550::Uart16550;
use uart_16550::backend::Backend;
use uart_16550::spec::registers::{LSR, offsets};

/// The registers of a UART behind ports. `uart_16550` waits for the transmitter without a bound;
/// here the wait ends.
#[derive(Debug)]
pub struct Registers<P> {
    ports: P,
    patience: u32,
}

impl<P: Port> Backend for Registers<P> {
    unsafe fn read(&mut self, register: u8) -> u8 {
        let value = self.ports.read8(register.into());
        if usize::from(register) != offsets::LSR {
            return value;
        }
        self.patience = self.patience.saturating_sub(1);
        if self.patience == 0 { value | LSR::TRANSMITTER_EMPTY.bits() } else { value }
    }

    unsafe fn write(&mut self, register: u8, value: u8) {
        self.ports.write8(register.into(), value);
    }
}

/// The UART behind these ports, from offset 0 on. After `patience` reads of the line status the
/// transmitter is reported as empty.
pub fn uart<P: Port>(ports: P, patience: u32) -> Uart16550<Registers<P>> {
    // SAFETY: the contract requires access to all eight registers for as long as the value exists.
    // `ports` is a `Port`, whose accesses are safe at any offset, and it is owned (or borrowed
    // exclusively).
    unsafe { Uart16550::new_with_backend(Registers { ports, patience }) }
}
