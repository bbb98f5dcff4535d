//! The heap of a task whose allocations are recorded: each is written to a debug port, for
//! `cargo xtask bench heap --record`.
//!
//! There is a line for each: `+ADDRESS SIZE ALIGN`, `-ADDRESS`, `=ADDRESS ADDRESS SIZE` (moved or
//! not), in hexadecimal. It is written to the first of [`PORTS`] that the task has, directly and
//! without system calls, so that recording the console causes no work for the console. If the task
//! has none of them, nothing is recorded.

use crate::heap::Choice;
use crate::lock::{Mutex, ThreadLock};
use crate::port::{IoPorts, Port};
use crate::print::Cut;
use core::alloc::{GlobalAlloc, Layout};
use core::fmt::{self, Write};

/// The ports that xtask records.
const PORTS: [u16; 2] = [0xEA, 0xEB];

/// A heap that records its operations.
#[derive(Debug)]
pub struct Global<C: Choice> {
    heap: allocators::Locked<ThreadLock, C::Heap>,
    /// Held while a line is written, so that lines of several threads do not mix.
    line: Mutex<()>,
}

impl<C: Choice> Global<C> {
    /// A recording heap around `heap`: see [`allocators::Locked`].
    pub const fn new(heap: C::Heap) -> Self {
        Self { heap: allocators::Locked::new(heap), line: Mutex::new(()) }
    }

    fn tell(&self, what: fmt::Arguments<'_>) {
        let _whole = self.line.lock();
        let Some(mut port) = PORTS.into_iter().find_map(|port| IoPorts::granted(port, 1)) else { return };
        let mut line = Cut::<64>::new();
        // Three numbers fit into the buffer.
        let _ = line.write_fmt(what);
        for byte in line.as_str().bytes() {
            port.write8(0, byte);
        }
    }
}

// SAFETY: every block comes from the inner heap, and is returned to it.
unsafe impl<C: Choice> GlobalAlloc for Global<C> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the caller's promise.
        let block = unsafe { self.heap.alloc(layout) };
        if !block.is_null() {
            self.tell(format_args!("+{:x} {:x} {:x}\n", block.addr(), layout.size(), layout.align()));
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // Recorded before the block can be allocated again.
        self.tell(format_args!("-{:x}\n", block.addr()));
        // SAFETY: by the caller's promise.
        unsafe { self.heap.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: by the caller's promise.
        let new = unsafe { self.heap.realloc(block, layout, new_size) };
        if !new.is_null() {
            self.tell(format_args!("={:x} {:x} {new_size:x}\n", block.addr(), new.addr()));
        }
        new
    }
}
