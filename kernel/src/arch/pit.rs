//! The 8254 interval timer (Intel 8254 data sheet): channel 0 ticks, channel 2 measures the time-stamp counter.

use super::cpu;
use x86_64::instructions::port::Port;

/// Input frequency in hertz.
const HERTZ: u64 = 1_193_182;
/// Ticks in a second.
pub const TICK_HERTZ: u64 = 1000;
/// Line of channel 0.
pub const LINE: u8 = 0;

/// How long channel 2 counts to measure the time-stamp counter, in input cycles: 5 ms.
const CALIBRATION: u16 = (HERTZ / 200) as u16;

/// The frequency of the time-stamp counter in hertz, measured over 5 ms.
pub fn measure_tsc() -> u64 {
    let mut command = Port::<u8>::new(0x43);
    let mut data = Port::<u8>::new(0x42);
    let mut control = Port::<u8>::new(0x61);
    // SAFETY: channel 2 and its gate belong to nobody else at this time; the speaker stays off (bit 1 clear).
    unsafe {
        let before = control.read();
        control.write(before & !3);
        // Channel 2, both bytes, mode 0: the output rises when the count is over.
        command.write(0b1011_0000);
        data.write(CALIBRATION.to_le_bytes()[0]);
        data.write(CALIBRATION.to_le_bytes()[1]);
        control.write(before & !3 | 1);
        let start = cpu::now();
        // 2^24 polls are far more than 5 ms on any machine: where the channel is missing, boot goes on with a wrong clock.
        for _ in 0..1 << 24 {
            if control.read() & 0x20 != 0 {
                break;
            }
        }
        let cycles = cpu::now().wrapping_sub(start);
        control.write(before & !3);
        cycles.saturating_mul(HERTZ) / u64::from(CALIBRATION)
    }
}

/// Starts the tick on line 0.
pub fn start() {
    let divisor = (HERTZ / TICK_HERTZ) as u16;
    let mut command = Port::<u8>::new(0x43);
    let mut data = Port::<u8>::new(0x40);
    // SAFETY: channel 0 is the kernel's; its line is masked until the kernel is ready for it.
    unsafe {
        // Channel 0, both bytes, mode 2: periodic.
        command.write(0b0011_0100);
        data.write(divisor.to_le_bytes()[0]);
        data.write(divisor.to_le_bytes()[1]);
    }
}
