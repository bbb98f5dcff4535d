//! The kernel's heap: one arena of fixed size for the tables and arenas that are made at boot,
//! large enough for all quotas. Nothing is allocated afterwards.

use buddy_system_allocator::Heap;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use spin::Mutex;

struct KernelHeap(Mutex<Heap<32>>);

// SAFETY: the buddy allocator returns blocks that are free, aligned and large enough for the
// layout, or null; the lock makes each operation atomic.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.lock().alloc(layout).map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        if let Some(ptr) = NonNull::new(ptr) {
            // SAFETY: by the contract of `GlobalAlloc::dealloc`, `alloc` returned this block for
            // this layout.
            unsafe { self.0.lock().dealloc(ptr, layout) };
        }
    }
}

#[cfg_attr(target_os = "none", global_allocator)]
static HEAP: KernelHeap = KernelHeap(Mutex::new(Heap::new()));

/// Gives the heap its arena, `size` bytes at address `start`.
///
/// # Safety
/// The memory must be unused and permanently mapped.
pub unsafe fn init(start: usize, size: usize) {
    // SAFETY: by this function's contract.
    unsafe { HEAP.0.lock().init(start, size) };
}

/// The number of bytes in use, and of the whole heap.
pub fn usage() -> (usize, usize) {
    let heap = HEAP.0.lock();
    (heap.stats_alloc_actual(), heap.stats_total_bytes())
}
