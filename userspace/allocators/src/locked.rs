//! A heap behind a lock, as a `GlobalAlloc`.

use crate::Heap;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{NonNull, null_mut};
use lock_api::{Mutex, RawMutex};

/// A heap that any thread may use. The lock is held for one allocation or one freeing, never while
/// bytes are copied.
///
/// The cost on top of the heap's own is that of the lock. The lock must not allocate, nor may the
/// heap's source.
#[derive(Debug)]
pub struct Locked<R: RawMutex, H>(Mutex<R, H>);

impl<R: RawMutex, H> Locked<R, H> {
    /// Puts a heap behind a lock.
    pub const fn new(heap: H) -> Self {
        Self(Mutex::const_new(R::INIT, heap))
    }

    /// Locks the heap, after waiting for its other users.
    pub fn lock(&self) -> lock_api::MutexGuard<'_, R, H> {
        self.0.lock()
    }
}

// SAFETY: `Heap` promises of its blocks what `GlobalAlloc` does, and the lock admits one user at a
// time.
unsafe impl<R: RawMutex, H: Heap> GlobalAlloc for Locked<R, H> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.lock().allocate(layout).map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller vouches that the block is one of ours, so its address is not null.
        let block = unsafe { NonNull::new_unchecked(block) };
        // SAFETY: the caller vouches for the rest too.
        unsafe { self.0.lock().deallocate(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller vouches that the block is one of ours, so its address is not null.
        let old = unsafe { NonNull::new_unchecked(block) };
        // SAFETY: the caller vouches that the rounded size does not overflow, and the alignment was
        // good before.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        let new = {
            let mut heap = self.0.lock();
            // SAFETY: the caller vouches for the block, its layout and the new size.
            if unsafe { heap.resize(old, layout, new_size) } {
                return block;
            }
            heap.allocate(new_layout)
        };
        let Some(new) = new else { return null_mut() };
        // SAFETY: both blocks are as large as that and, being two, apart.
        unsafe { new.copy_from_nonoverlapping(old, layout.size().min(new_size)) };
        // SAFETY: the caller gave the block up in exchange for the new one.
        unsafe { self.0.lock().deallocate(old, layout) };
        new.as_ptr()
    }
}
