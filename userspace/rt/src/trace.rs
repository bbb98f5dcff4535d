//! The heap of a task whose allocations are recorded: each is told to a debug port, for `cargo xtask bench heap --record`.
//!
//! A line for each: `+ADDRESS SIZE ALIGN`, `-ADDRESS`, `=ADDRESS ADDRESS SIZE` (moved or not), in hexadecimal. It goes to the first of
//! [`PORTS`] that the task has, straight and without system calls, so that recording the console does not give the console work.
//! A task that has none of them allocates as ever.

use crate::heap::Choice;
use crate::lock::{Mutex, ThreadLock};
use crate::port::{IoPorts, Port};
use crate::print::Cut;
use core::alloc::{GlobalAlloc, Layout};
use core::fmt::{self, Write};

/// Where xtask listens.
const PORTS: [u16; 2] = [0xEA, 0xEB];

/// A heap that tells.
#[derive(Debug)]
pub struct Global<C: Choice> {
    heap: allocators::Locked<ThreadLock, C::Heap>,
    /// Held while a line is written.
    line: Mutex<()>,
}

impl<C: Choice> Global<C> {
    /// As that of [`allocators::Locked`].
    pub const fn new(heap: C::Heap) -> Self {
        Self { heap: allocators::Locked::new(heap), line: Mutex::new(()) }
    }

    fn tell(&self, what: fmt::Arguments<'_>) {
        let _whole = self.line.lock();
        let Some(mut port) = PORTS.into_iter().find_map(|port| IoPorts::granted(port, 1)) else { return };
        let mut line = Cut::<64>::new();
        // Three numbers fit.
        let _ = line.write_fmt(what);
        for byte in line.as_str().bytes() {
            port.write8(0, byte);
        }
    }
}

// SAFETY: every block comes from the heap inside, and goes back there.
unsafe impl<C: Choice> GlobalAlloc for Global<C> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller vouches.
        let block = unsafe { self.heap.alloc(layout) };
        if !block.is_null() {
            self.tell(format_args!("+{:x} {:x} {:x}\n", block.addr(), layout.size(), layout.align()));
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // Before it can be somebody else's.
        self.tell(format_args!("-{:x}\n", block.addr()));
        // SAFETY: as the caller vouches.
        unsafe { self.heap.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as the caller vouches.
        let new = unsafe { self.heap.realloc(block, layout, new_size) };
        if !new.is_null() {
            self.tell(format_args!("={:x} {:x} {new_size:x}\n", block.addr(), new.addr()));
        }
        new
    }
}
