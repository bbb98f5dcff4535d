//! The interface of an interrupt controller, and the one place where the kernel's is chosen.
//! Everything else uses only what this file names. So another controller is a file like [`pic`],
//! and its name here instead of `pic`.
//!
//! Besides [`InterruptController`] a controller's file has the assembly of the fast paths that is
//! its own, as a macro, because it must be inside them:
//!
//! - `assembly!(mask_and_end)`, in the entry of a line from ring 3: masks line `rcx`, which is
//!   neither internal nor may be spurious, and ends its interrupt. It must leave `rcx r13 r15 rsp`
//!   as they are.
//! - `assembly!(rest)`, behind that entry: code to which `mask_and_end` may jump, and which jumps
//!   back; or nothing.
//!
//! `{controller}` in it is the address of `STATE`, a static of that file. Its labels are 20 to 29.
//! Host tests of `kernel-core` run it, too: what is only possible in ring 0 is between `.if
//! {ring_0}` and `.endif`.

#[path = "pic.rs"]
mod pic;

#[cfg(not(test))]
pub use pic::Pic as Controller;
pub(super) use pic::{STATE, assembly};

use kernel_core::lines::Line;
#[cfg(not(test))]
use kernel_core::lines::{LINES, LineSet};
#[cfg(not(test))]
use x86_64::structures::paging::{FrameAllocator, Size4KiB};

/// The vector of line 0: the first that is not an exception's (Intel SDM vol. 3A, section 6.2). The
/// others follow in the order of lines.
const FIRST: u8 = 32;

/// The vector of a line.
pub const fn vector(line: Line) -> u8 {
    FIRST + line.number()
}

/// The line with a vector that is not an exception's.
#[cfg(not(test))]
#[inline(always)]
pub const fn line(vector: u64) -> Line {
    Line::new((vector - FIRST as u64) as u8)
}

/// An interrupt controller, with the lines 0 to 15 of a PC. The functions are called with
/// interrupts off.
#[cfg(not(test))]
pub trait InterruptController: Sized {
    /// The lines that no device has, and that are never given to a task.
    const INTERNAL: LineSet;

    /// The lines whose interrupts may be spurious. Their entries, and those of `INTERNAL`, take the
    /// general path, which asks [`is_real`](Self::is_real).
    const SPURIOUS: LineSet;

    /// The number of vectors: one for each line, and at most one more, for spurious interrupts that
    /// have a vector of their own. That is a line with the number [`LINES`], and in `SPURIOUS`.
    const VECTORS: usize = LINES;

    /// The most port accesses of `assembly!(mask_and_end)`.
    const STUB_PORTS: u64;

    /// Initialises the controller with every line masked. The IDT has a handler for each vector,
    /// and nobody else drives the controller. `frames` provides page tables, if it has registers in
    /// memory, for [`map_kernel`](super::paging::map_kernel).
    fn new(frames: &mut impl FrameAllocator<Size4KiB>) -> Self;

    /// Masks lines.
    fn mask(&mut self, lines: LineSet);

    /// Unmasks a line. If its device began to interrupt while it was masked, and still does, the
    /// interrupt arrives now.
    fn unmask(&mut self, line: Line);

    /// Whether the interrupt of a line that has arrived is real. A spurious one needs nothing more.
    fn is_real(&mut self, line: Line) -> bool;

    /// Ends a real interrupt, once.
    fn end(&mut self, line: Line);

    /// The lines that cannot interrupt, as the controller's registers say: for test kernels.
    fn masked(&mut self) -> LineSet;
}
