//! The two 8259 interrupt controllers (Intel 8259A data sheet). An interrupt of a line masks the
//! line, and is ended at the controllers at once; the line is unmasked when its driver acknowledges
//! the interrupt.

use core::sync::atomic::AtomicU16;

/// The bit set of lines that are masked. The assembly masks some lines itself.
pub static STATE: AtomicU16 = AtomicU16::new(0xffff);

/// The assembly, and the numbers in it: see [`super`].
macro_rules! assembly {
    // The ports of commands and of the mask register, of the first controller and the second.
    (COMMAND_1) => { 0x20 };
    (MASK_1) => { 0x21 };
    (COMMAND_2) => { 0xa0 };
    (MASK_2) => { 0xa1 };
    // OCW2: non-specific end of interrupt.
    (END) => { 0x20 };
    // The line of the first controller to which the second is attached.
    (CASCADE) => { 2 };
    (out $port:ident) => { concat!(".if {ring_0}\nout ", assembly!($port), ", al\n.endif\n") };
    (mask_and_end) => {
        concat!(
            "bts word ptr [rip + {controller}], cx
            movzx eax, word ptr [rip + {controller}]
            cmp ecx, 8
            jae 20f\n",
            assembly!(out MASK_1),
            "21:
            mov al, ", assembly!(END), "\n",
            assembly!(out COMMAND_1),
        )
    };
    // A line of the second controller: if all its lines are masked, the cascade line of the first
    // is masked, too.
    (rest) => {
        concat!(
            "20:
            mov al, ah\n",
            assembly!(out MASK_2),
            "inc al
            jnz 22f
            or byte ptr [rip + {controller}], 1 << ", assembly!(CASCADE), "
            mov al, [rip + {controller}]\n",
            assembly!(out MASK_1),
            "22:
            mov al, ", assembly!(END), "\n",
            assembly!(out COMMAND_2),
            "jmp 21b",
        )
    };
}

pub(crate) use assembly;

#[cfg(not(test))]
pub use driver::Pic;

/// The part in Rust, which host tests of the assembly leave out.
#[cfg(not(test))]
mod driver {
    use super::STATE;
    use crate::arch::controller::{Entries, InterruptController, vector};
    use crate::arch::{ports, timer};
    use core::sync::atomic::Ordering::Relaxed;
    use kernel_core::lines::{LINES, Line, LineSet};
    use pic8259::ChainedPics;
    use x86_64::instructions::port::Port;

    /// The first line of the second controller.
    const SECOND: Line = Line::new(8);
    /// The bit of the line to which the second controller is attached.
    const CASCADE: u16 = 1 << assembly!(CASCADE);
    const CASCADE_LINE: LineSet = LineSet::of(Line::new(assembly!(CASCADE)));
    /// The last line of each controller, whose interrupts may be spurious (8259A data sheet,
    /// "default IR level 7").
    const SPURIOUS: LineSet = LineSet::of(Line::new(7)).with(LineSet::of(Line::new(15)));
    /// OCW3: read the in-service register.
    const READ_ISR: u8 = 0x0b;

    /// The controllers.
    pub struct Pic {
        chips: ChainedPics,
    }

    impl Pic {
        /// Initialises the controllers with every line masked. The IDT has a handler for each
        /// vector, and nobody else drives them.
        pub fn new() -> Self {
            // SAFETY: no other interrupt uses the lines' vectors, and nobody else drives the
            // controllers.
            let mut chips = unsafe { ChainedPics::new(vector(Line::new(0)), vector(SECOND)) };
            // SAFETY: the IDT has a handler for each of these vectors, and interrupts are off.
            unsafe { chips.initialize() };
            let mut pic = Pic { chips };
            pic.write_mask(0xffff);
            pic
        }

        fn write_mask(&mut self, mask: u16) {
            STATE.store(mask, Relaxed);
            ports::count(2);
            let [low, high] = mask.to_le_bytes();
            // SAFETY: masking only decides which lines interrupt.
            unsafe { self.chips.write_masks(low, high) };
        }
    }

    impl InterruptController for Pic {
        fn internal(&self) -> LineSet {
            CASCADE_LINE
        }

        fn fast(&self) -> Option<(Entries, LineSet)> {
            let all = LineSet::from_bits((1 << LINES) - 1);
            let lines = all.without(SPURIOUS).without(CASCADE_LINE).without(LineSet::of(timer::LINE));
            Some((Entries::Pic, lines))
        }

        fn stub_ports(&self) -> u64 {
            4
        }

        fn hold(&mut self, line: Line) -> bool {
            self.mask(LineSet::of(line));
            self.end(line);
            true
        }

        /// If all lines of the second controller are masked then, the cascade is masked, too.
        fn mask(&mut self, lines: LineSet) {
            let mut mask = STATE.load(Relaxed) | lines.bits() as u16;
            if mask & 0xff00 == 0xff00 {
                mask |= CASCADE;
            }
            self.write_mask(mask);
        }

        /// For a line of the second controller the cascade is unmasked, too.
        fn unmask(&mut self, line: Line) -> bool {
            let mut mask = STATE.load(Relaxed) & !(1 << line.number());
            if line >= SECOND {
                mask &= !CASCADE;
            }
            self.write_mask(mask);
            false
        }

        /// A spurious interrupt is not in service. After one of the second controller, the cascade
        /// line is ended at the first.
        fn is_real(&mut self, line: Line) -> bool {
            if !SPURIOUS.contains(line) {
                return line != super::super::SPURIOUS;
            }
            ports::count(3);
            let second = line >= SECOND;
            let mut port = Port::<u8>::new(if second { assembly!(COMMAND_2) } else { assembly!(COMMAND_1) });
            // SAFETY: OCW3 only selects which register the next read returns.
            let in_service = unsafe {
                port.write(READ_ISR);
                port.read()
            };
            let real = in_service & 0x80 != 0;
            if !real && second {
                // SAFETY: a non-specific end of interrupt for the cascade line, which is in
                // service.
                unsafe { Port::<u8>::new(assembly!(COMMAND_1)).write(assembly!(END)) };
            }
            real
        }

        fn end(&mut self, line: Line) {
            ports::count(2);
            // SAFETY: called once for each real interrupt, with its vector.
            unsafe { self.chips.notify_end_of_interrupt(vector(line)) };
        }

        fn masked(&mut self) -> LineSet {
            // SAFETY: reads the mask registers.
            let mask = u16::from_le_bytes(unsafe { self.chips.read_masks() });
            // While the cascade is masked, no line of the second controller can interrupt.
            LineSet::from_bits((mask | if mask & CASCADE != 0 { 0xff00 } else { 0 }).into())
        }
    }
}
