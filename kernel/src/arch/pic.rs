//! The two 8259 interrupt controllers (Intel 8259A data sheet). Lines are masked, end-of-interrupt is sent at once, and a line
//! opens again when its driver acknowledges.

use super::interrupt::MASK;
use super::ports;
use core::sync::atomic::Ordering::Relaxed;
use pic8259::ChainedPics;
use x86_64::instructions::port::Port;

/// Vector of line 0.
pub const BASE: u8 = 32;
/// The controllers' command ports; the port behind each is that of its mask.
pub(super) const COMMAND: [u16; 2] = [0x20, 0xa0];
/// OCW2: a non-specific end of interrupt.
pub(super) const END: u8 = 0x20;
/// OCW3: read the in-service register.
const READ_ISR: u8 = 0x0b;

/// The controllers, as the kernel drives them.
pub struct Pic {
    chips: ChainedPics,
}

impl Pic {
    /// Sets both up with every line masked.
    pub fn new() -> Self {
        // SAFETY: the vectors 32 to 47 are free for them, and no one else drives the controllers.
        let mut chips = unsafe { ChainedPics::new(BASE, BASE + 8) };
        // SAFETY: the IDT has a handler for all of these vectors by now, and interrupts are off.
        unsafe { chips.initialize() };
        let mut pic = Pic { chips };
        pic.write_mask(0xffff);
        pic
    }

    fn write_mask(&mut self, mask: u16) {
        MASK.store(mask, Relaxed);
        ports::count(2);
        let [low, high] = mask.to_le_bytes();
        // SAFETY: masking lines has no effect but that they do not fire.
        unsafe { self.chips.write_masks(low, high) };
    }

    /// Keeps a line from firing.
    pub fn mask(&mut self, line: u8) {
        self.mask_all(1 << line);
    }

    /// Keeps several lines from firing.
    pub fn mask_all(&mut self, lines: u16) {
        let mut mask = MASK.load(Relaxed) | lines;
        if mask & 0xff00 == 0xff00 {
            mask |= 1 << 2;
        }
        self.write_mask(mask);
    }

    /// Lets a line fire. A line of the second controller opens the cascade too.
    pub fn unmask(&mut self, line: u8) {
        let mut mask = MASK.load(Relaxed) & !(1 << line);
        if line >= 8 {
            mask &= !(1 << 2);
        }
        self.write_mask(mask);
    }

    /// Whether an interrupt on line 7 or 15 is real: a spurious one is not in service (8259A data sheet, "default IR level 7").
    /// A spurious one on the second controller still needs the first one's cascade line ended.
    pub fn is_real(&mut self, line: u8) -> bool {
        if line != 7 && line != 15 {
            return true;
        }
        ports::count(3);
        let second = line >= 8;
        let mut port = Port::<u8>::new(if second { COMMAND[1] } else { COMMAND[0] });
        // SAFETY: OCW3 only selects which register the next read returns.
        let in_service = unsafe {
            port.write(READ_ISR);
            port.read()
        };
        let real = in_service & 0x80 != 0;
        if !real && second {
            // SAFETY: a non-specific end of interrupt for the cascade line, which is in service.
            unsafe { Port::<u8>::new(COMMAND[0]).write(END) };
        }
        real
    }

    /// Tells the controllers that an interrupt is taken.
    pub fn end(&mut self, line: u8) {
        ports::count(2);
        // SAFETY: called once for each real interrupt, with its vector.
        unsafe { self.chips.notify_end_of_interrupt(BASE + line) };
    }
}

impl Default for Pic {
    fn default() -> Self {
        Self::new()
    }
}
