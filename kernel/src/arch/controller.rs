//! The interface of an interrupt controller, and the one place where the machine's is chosen.
//! Everything else uses only what this file names. Another controller is a file like [`pic`], and a
//! variant of [`Controller`].
//!
//! Besides [`InterruptController`] a controller's file may have assembly of its own for the fast
//! path of an interrupt, as a macro, because it must be inside that. Then it has entries in
//! [`super::interrupt`] and in the table of [`super::idt`], too:
//!
//! - `assembly!(mask_and_end)`, in the entry of a line from ring 3: does for line `rcx`, which is in
//!   [`InterruptController::fast`] and not held, what [`InterruptController::hold`] does. It must
//!   leave `rcx r13 r15 rsp` as they are.
//! - `assembly!(rest)`, behind that entry: code to which `mask_and_end` may jump, and which jumps
//!   back; or nothing.
//!
//! `{controller}` in it is the address of `STATE`, a static of that file, and `{registers}` that of
//! registers. Its labels are 20 to 29. Host tests of `kernel-core` run it, too: what is only
//! possible in ring 0 is between `.if {ring_0}` and `.endif`.

#[path = "apic.rs"]
pub mod apic;
#[path = "pic.rs"]
pub(super) mod pic;

#[cfg(not(test))]
use kernel_core::lines::LINES;
use kernel_core::lines::Line;

/// The vector of line 0: the first that is not an exception's (Intel SDM vol. 3A, section 6.2). The
/// others follow in the order of lines.
const FIRST: u8 = 32;

/// A line behind the last one, for interrupts that a controller says are spurious by a vector of
/// their own.
#[cfg(not(test))]
pub const SPURIOUS: Line = Line::new(LINES as u8);

/// The vector of a line.
pub const fn vector(line: Line) -> u8 {
    FIRST + line.number()
}

#[cfg(not(test))]
pub use chosen::{Controller, Entries, InterruptController, line};

#[cfg(not(test))]
mod chosen {
    use super::FIRST;
    use super::apic::Apic;
    use super::pic::Pic;
    use kernel_core::acpi::Platform;
    use kernel_core::lines::{Line, LineSet};
    use x86_64::structures::paging::{FrameAllocator, Size4KiB};

    /// The line with a vector that is not an exception's.
    #[inline(always)]
    pub const fn line(vector: u64) -> Line {
        Line::new((vector - FIRST as u64) as u8)
    }

    /// An interrupt controller, with the lines 0 to 15 of a PC. Line 0 is the timer's. The
    /// functions are called with interrupts off.
    pub trait InterruptController {
        /// The lines that no device has, and that are never given to a task.
        fn internal(&self) -> LineSet;

        /// The entries with the controller's assembly, and the lines that have them, whose
        /// interrupts are never spurious. A controller without assembly has none: its lines take
        /// the general path.
        fn fast(&self) -> Option<(Entries, LineSet)> {
            None
        }

        /// The most port accesses of `assembly!(mask_and_end)`.
        fn stub_ports(&self) -> u64 {
            0
        }

        /// Whether the interrupt of a line that has arrived is real. A spurious one needs nothing
        /// more.
        fn is_real(&mut self, line: Line) -> bool;

        /// Ends a real interrupt of a line, once, and holds the line until
        /// [`unmask`](Self::unmask): it interrupts at most once more until then. Returns false for
        /// that one, which `unmask` tells of.
        #[must_use]
        fn hold(&mut self, line: Line) -> bool;

        /// Ends a real interrupt of a line, once, which interrupts again at once if its device
        /// does.
        fn end(&mut self, line: Line);

        /// Masks lines.
        fn mask(&mut self, lines: LineSet);

        /// Unmasks a line, which is not held any more. If its device began to interrupt while it
        /// was held or masked, and still does, the interrupt arrives now; or true is returned, and
        /// it has arrived, and holds the line.
        #[must_use]
        fn unmask(&mut self, line: Line) -> bool;

        /// The lines that cannot interrupt, as the controller's registers say: for test kernels.
        fn masked(&mut self) -> LineSet;
    }

    /// The entries of interrupts of lines that [`interrupt`](crate::arch::interrupt) has.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Entries {
        /// Those with the assembly of the 8259s.
        Pic,
        /// Those with the assembly of the local APIC.
        Apic,
    }

    /// The machine's interrupt controller.
    #[expect(clippy::large_enum_variant, reason = "there is one, in the kernel's state")]
    pub enum Controller {
        /// Two 8259s.
        Pic(Pic),
        /// A local APIC, and I/O APICs.
        Apic(Apic),
    }

    impl Controller {
        /// Initialises the controller that the machine has, according to its firmware's tables,
        /// with every line masked. The IDT has a handler for each vector, and nobody else drives
        /// the controllers. `frames` provides page tables.
        #[unsafe(link_section = "boot_text")]
        pub fn new(platform: &Platform, frames: &mut impl FrameAllocator<Size4KiB>) -> Self {
            // Masked even where it is not used.
            let pic = Pic::new();
            match Apic::new(platform, frames) {
                Some(apic) => Controller::Apic(apic),
                None => Controller::Pic(pic),
            }
        }

        /// Whether interrupts that come while a line is held are told once more (see
        /// [`InterruptController::unmask`]), rather than kept by the controller: for test kernels.
        pub fn tells_again(&self) -> bool {
            matches!(self, Controller::Apic(_))
        }

        /// Its name, for the log.
        pub fn name(&self) -> &'static str {
            match self {
                Controller::Pic(_) => "8259",
                Controller::Apic(_) => "APIC",
            }
        }
    }

    macro_rules! chosen {
        ($($name:ident($self:ty $(, $argument:ident: $type:ty)?) $(-> $result:ty)?;)*) => {
            impl InterruptController for Controller {
                $(fn $name(self: $self $(, $argument: $type)?) $(-> $result)? {
                    match self {
                        Controller::Pic(pic) => pic.$name($($argument)?),
                        Controller::Apic(apic) => apic.$name($($argument)?),
                    }
                })*
            }
        };
    }

    chosen! {
        internal(&Self) -> LineSet;
        fast(&Self) -> Option<(Entries, LineSet)>;
        stub_ports(&Self) -> u64;
        is_real(&mut Self, line: Line) -> bool;
        hold(&mut Self, line: Line) -> bool;
        end(&mut Self, line: Line);
        mask(&mut Self, lines: LineSet);
        unmask(&mut Self, line: Line) -> bool;
        masked(&mut Self) -> LineSet;
    }
}
