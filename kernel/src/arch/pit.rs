//! The 8254 interval timer (Intel 8254 data sheet): channel 0 interrupts when a time is over;
//! channel 2 serves to measure the frequency of the time-stamp counter.

use super::{cpu, ports};
use x86_64::instructions::port::Port;

/// The input frequency in hertz.
pub const HERTZ: u64 = 1_193_182;

/// The length of a measurement in input cycles: 10 ms.
const CALIBRATION: u16 = (HERTZ / 100) as u16;
/// The number of measurements that may fail before the frequency is assumed.
const TRIES: u32 = 20;
/// The frequency in hertz that is assumed if it cannot be measured.
const ASSUMED_TSC: u64 = 1_000_000_000;

/// Channel 2, which counts down once from 65,535 (mode 0) in 55 ms, while its gate is on.
struct Channel2 {
    command: Port<u8>,
    data: Port<u8>,
    control: Port<u8>,
}

impl Channel2 {
    fn start() -> Self {
        let mut this = Channel2 { command: Port::new(0x43), data: Port::new(0x42), control: Port::new(0x61) };
        // SAFETY: nothing else uses channel 2 and its gate at this time; the speaker stays off (bit
        // 1 is clear).
        unsafe {
            let before = this.control.read();
            this.control.write(before & !2 | 1);
            // Channel 2, both bytes, mode 0: the output rises when the count reaches 0.
            this.command.write(0b1011_0000);
            this.data.write(0xff);
            this.data.write(0xff);
        }
        this
    }

    /// The count, and the time-stamp counter before and after it was latched.
    #[unsafe(link_section = "boot_text")]
    fn sample(&mut self) -> (u16, u64, u64) {
        // SAFETY: nothing else uses channel 2. The latch command only holds the value to be read;
        // the count continues.
        unsafe {
            let before = cpu::now();
            self.command.write(0b1000_0000);
            let after = cpu::now();
            (u16::from_le_bytes([self.data.read(), self.data.read()]), before, after)
        }
    }

    /// The count and time of the sample with the least time between its two readings, since a
    /// hypervisor may suspend the processor between them.
    #[unsafe(link_section = "boot_text")]
    fn narrow_sample(&mut self) -> (u16, u64) {
        let mut best = self.sample();
        for _ in 0..8 {
            let next = self.sample();
            if next.2.wrapping_sub(next.1) < best.2.wrapping_sub(best.1) {
                best = next;
            }
        }
        (best.0, best.1)
    }

    fn is_over(&mut self) -> bool {
        // SAFETY: reads a status port.
        unsafe { self.control.read() & 0x20 != 0 }
    }

    fn stop(mut self) {
        // SAFETY: nothing else uses channel 2; gate and speaker are turned off.
        unsafe {
            let before = self.control.read();
            self.control.write(before & !3);
        }
    }
}

/// The frequency of the time-stamp counter in hertz. It is measured over 10 ms, or longer if the
/// processor was suspended meanwhile: both counters are read at the same times, whenever these are.
pub fn measure_tsc() -> u64 {
    for _ in 0..TRIES {
        let mut channel = Channel2::start();
        let (first, start) = channel.narrow_sample();
        // An iteration has three port accesses, which take over a microsecond, so all together take
        // longer than the 55 ms of the whole count.
        for _ in 0..1 << 16 {
            if first.wrapping_sub(channel.sample().0) >= CALIBRATION || channel.is_over() {
                break;
            }
        }
        let (last, end) = channel.narrow_sample();
        let over = channel.is_over();
        channel.stop();
        let counted = u64::from(first.wrapping_sub(last));
        if !over && counted >= u64::from(CALIBRATION) {
            return end.wrapping_sub(start).saturating_mul(HERTZ) / counted;
        }
    }
    ASSUMED_TSC
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
