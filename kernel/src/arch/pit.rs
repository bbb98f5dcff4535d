//! The 8254 interval timer (Intel 8254 data sheet): channel 0 interrupts when a time is over;
//! channel 2 serves to measure the frequency of the time-stamp counter.

use super::ports;
use super::tsc::Counter;
use x86_64::instructions::port::Port;

/// The input frequency in hertz.
pub const HERTZ: u64 = 1_193_182;

/// Channel 2, which counts down once from 65,535 (mode 0) in 55 ms, while its gate is on.
pub struct Channel2 {
    command: Port<u8>,
    data: Port<u8>,
    control: Port<u8>,
}

impl Channel2 {
    /// The channel, which nothing else uses.
    #[unsafe(link_section = "boot_text")]
    #[expect(clippy::new_without_default, reason = "it is the machine's")]
    pub fn new() -> Self {
        Channel2 { command: Port::new(0x43), data: Port::new(0x42), control: Port::new(0x61) }
    }
}

impl Counter for Channel2 {
    fn hertz(&self) -> u64 {
        HERTZ
    }

    fn mask(&self) -> u64 {
        0xffff
    }

    fn start(&mut self) {
        // SAFETY: nothing else uses channel 2 and its gate at this time; the speaker stays off (bit
        // 1 is clear).
        unsafe {
            let before = self.control.read();
            self.control.write(before & !2 | 1);
            // Channel 2, both bytes, mode 0: the output rises when the count reaches 0.
            self.command.write(0b1011_0000);
            self.data.write(0xff);
            self.data.write(0xff);
        }
    }

    /// What it has counted. The latch command only holds the value to be read; the count continues.
    fn read(&mut self) -> u64 {
        // SAFETY: nothing else uses channel 2.
        unsafe {
            self.command.write(0b1000_0000);
            u64::from(!u16::from_le_bytes([self.data.read(), self.data.read()]))
        }
    }

    fn is_over(&mut self) -> bool {
        // SAFETY: reads a status port.
        unsafe { self.control.read() & 0x20 != 0 }
    }

    fn stop(&mut self) {
        // SAFETY: nothing else uses channel 2; gate and speaker are turned off.
        unsafe {
            let before = self.control.read();
            self.control.write(before & !3);
        }
    }
}

/// Has channel 0 count down and interrupt once (mode 0) when it is given a count.
pub fn start() {
    // SAFETY: channel 0 belongs to the kernel.
    unsafe { Port::<u8>::new(0x43).write(0b0011_0000) };
}

/// Has channel 0 interrupt once after so many input cycles, counted from now. It does not interrupt
/// for a count that it was given before.
pub fn count_down(cycles: u16) {
    ports::count(2);
    let mut data = Port::<u8>::new(0x40);
    for byte in cycles.max(1).to_le_bytes() {
        // SAFETY: channel 0 belongs to the kernel. The first byte of a count stops it, the second
        // starts it with the new count.
        unsafe { data.write(byte) };
    }
}
