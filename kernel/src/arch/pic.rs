//! The two 8259 interrupt controllers (Intel 8259A data sheet). An interrupt of a line masks the
//! line, and is ended at the controllers at once; the line is unmasked when its driver acknowledges
//! the interrupt.

use super::interrupt::MASK;
use super::ports;
use core::sync::atomic::Ordering::Relaxed;
use pic8259::ChainedPics;
use x86_64::instructions::port::Port;

/// The vector of line 0.
pub const BASE: u8 = 32;
/// The command ports of the controllers; the mask register is at the next port.
pub(super) const COMMAND: [u16; 2] = [0x20, 0xa0];
/// OCW2: non-specific end of interrupt.
pub(super) const END: u8 = 0x20;
/// OCW3: read the in-service register.
const READ_ISR: u8 = 0x0b;

/// The controllers.
pub struct Pic {
    chips: ChainedPics,
}

impl Pic {
    /// Initialises both controllers with every line masked.
    pub fn new() -> Self {
        // SAFETY: no other interrupt uses the vectors 32 to 47, and nobody else drives the
        // controllers.
        let mut chips = unsafe { ChainedPics::new(BASE, BASE + 8) };
        // SAFETY: the IDT has a handler for each of these vectors, and interrupts are off.
        unsafe { chips.initialize() };
        let mut pic = Pic { chips };
        pic.write_mask(0xffff);
        pic
    }

    fn write_mask(&mut self, mask: u16) {
        MASK.store(mask, Relaxed);
        ports::count(2);
        let [low, high] = mask.to_le_bytes();
        // SAFETY: masking only decides which lines interrupt.
        unsafe { self.chips.write_masks(low, high) };
    }

    /// Masks a line.
    pub fn mask(&mut self, line: u8) {
        self.mask_all(1 << line);
    }

    /// Masks a bit set of lines.
    pub fn mask_all(&mut self, lines: u16) {
        let mut mask = MASK.load(Relaxed) | lines;
        if mask & 0xff00 == 0xff00 {
            mask |= 1 << 2;
        }
        self.write_mask(mask);
    }

    /// Unmasks a line. For a line of the second controller the cascade is unmasked, too.
    pub fn unmask(&mut self, line: u8) {
        let mut mask = MASK.load(Relaxed) & !(1 << line);
        if line >= 8 {
            mask &= !(1 << 2);
        }
        self.write_mask(mask);
    }

    /// Whether an interrupt is real: on lines 7 and 15 it may be spurious, and is then not in
    /// service (8259A data sheet, "default IR level 7"). After a spurious interrupt of the second
    /// controller, the cascade line is ended at the first.
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

    /// Ends an interrupt at the controllers.
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
