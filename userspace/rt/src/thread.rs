//! Threads of the task, which share its memory and handles, and have a stack each.

use crate::ipc::close;
use crate::notify::Notification;
use crate::syscall;
use abi::{PAGE_SIZE, Status};
use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering};

/// The address range of the stacks. Each is at the upper end of a slot of [`SLOT`] bytes, so that
/// at least 1 MiB below every stack is unmapped: an overflow faults. The range is above the heap's,
/// under the same third-level page table.
const STACKS: u64 = abi::task::MAP_BASE + (384 << 30);
const SLOT: u64 = 2 * 1024 * 1024;

/// The most pages of a stack, which is the most of one memory object.
pub const MAX_STACK_PAGES: usize = 256;

/// The slots in use, one bit each.
static SLOTS: Slots = [const { AtomicU64::new(0) }; 2];

/// The number of threads besides the first one, including those that have ended and were not
/// joined.
pub(crate) fn spawned() -> usize {
    SLOTS.iter().map(|slots| slots.load(Ordering::SeqCst).count_ones() as usize).sum()
}

type Slots = [AtomicU64; 2];

/// The number of places, by which the runtime tells threads apart: one for each slot, and one for
/// the first thread.
pub(crate) const PLACES: usize = 2 * u64::BITS as usize + 1;

/// The calling thread's place, found by the address of its stack. `None` if it runs on a stack of
/// another origin.
#[cfg(target_os = "none")]
pub(crate) fn place() -> Option<usize> {
    let here = 0_u8;
    place_of(&raw const here as u64)
}

/// Whether the calling thread is the task's first one.
pub(crate) fn is_first() -> bool {
    place() == Some(PLACES - 1)
}

/// The place of the thread whose stack contains this address.
#[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "threads of the host have stacks elsewhere"))]
fn place_of(address: u64) -> Option<usize> {
    let slots = PLACES as u64 - 1;
    match address.checked_sub(STACKS).map(|offset| offset / SLOT) {
        Some(slot) if slot < slots => Some(slot as usize),
        // The first thread's stack ends at `STACK_TOP`, and no quota allows one this large.
        _ if (abi::task::STACK_TOP - (4 << 30)..abi::task::STACK_TOP).contains(&address) => Some(slots as usize),
        _ => None,
    }
}

/// On the host: the lowest place that no live thread has.
#[cfg(not(target_os = "none"))]
pub(crate) fn place() -> Option<usize> {
    struct Place(Option<usize>);
    static TAKEN: std::sync::Mutex<[bool; PLACES]> = std::sync::Mutex::new([false; PLACES]);
    fn with<T>(f: impl FnOnce(&mut [bool; PLACES]) -> T) -> T {
        f(&mut TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
    impl Drop for Place {
        fn drop(&mut self) {
            with(|taken| self.0.and_then(|place| taken.get_mut(place)).map(|taken| *taken = false));
        }
    }
    std::thread_local! {
        static PLACE: Place = Place(with(|taken| {
            let place = taken.iter().position(|taken| !taken)?;
            taken.get_mut(place).map(|taken| *taken = true)?;
            Some(place)
        }));
    }
    // The place of a thread that is ending is already free.
    PLACE.try_with(|place| place.0).ok().flatten()
}

/// A thread that can be waited for. Dropping this lets the thread run on; its stack stays until the
/// task ends.
#[derive(Debug)]
pub struct JoinHandle {
    thread: u32,
    done: Notification,
    stack: Stack,
}

/// Runs `f` on a new thread with a stack of `stack_pages` pages, 1 to [`MAX_STACK_PAGES`].
/// `priority` is 0 (most important) to 31, and not more important than the task's own. Threads that
/// share locks should have the same priority.
///
/// # Errors
/// [`Status::BadArgument`] (stack), [`Status::Ceiling`], [`Status::QuotaFrames`],
/// [`Status::QuotaObjects`], [`Status::QuotaHandles`] (also if there are 128 threads),
/// [`Status::OutOfMemory`].
pub fn spawn(f: impl FnOnce() + Send + 'static, stack_pages: usize, priority: u8) -> Result<JoinHandle, Status> {
    let stack = Stack::new(stack_pages)?;
    let done = match Notification::create() {
        Ok(done) => done,
        Err(status) => {
            // SAFETY: no thread was started on the stack.
            unsafe { stack.free() };
            return Err(status);
        }
    };
    let start = Box::into_raw(Box::new(Start { f: Box::new(f), done }));
    // SAFETY: `trampoline` takes ownership of the `Start`, and the stack is mapped and not used
    // otherwise.
    match unsafe { syscall::thread_create(trampoline as *const () as u64, stack.top(), start as u64, priority) } {
        Ok(thread) => Ok(JoinHandle { thread, done, stack }),
        Err(status) => {
            // SAFETY: no thread was made, so nobody else owns the box.
            drop(unsafe { Box::from_raw(start) });
            // SAFETY: no thread was made, so nobody runs on the stack.
            unsafe { stack.free() };
            let _ = close(done.0);
            Err(status)
        }
    }
}

impl JoinHandle {
    /// Waits until the thread has ended, and frees its stack and handles.
    pub fn join(self) {
        self.done.wait(1);
        // If a handle cannot be closed, nothing can be done about it here.
        let _ = close(self.done.0);
        let _ = close(self.thread);
        // SAFETY: setting the bit is the last thing that the thread does before it ends, and it
        // does not access its stack afterwards.
        unsafe { self.stack.free() };
    }

    /// Sets the thread's priority, which may not be more important than the task's own.
    ///
    /// # Errors
    /// [`Status::Ceiling`], [`Status::BadArgument`], [`Status::BadHandle`] if the thread has ended.
    pub fn set_priority(&self, priority: u8) -> Result<(), Status> {
        syscall::thread_priority(self.thread as u64, priority)
    }
}

/// Sets the calling thread's priority, which may not be more important than the task's own.
///
/// # Errors
/// [`Status::Ceiling`], [`Status::BadArgument`].
pub fn set_own_priority(priority: u8) -> Result<(), Status> {
    syscall::thread_priority(abi::syscall::THIS_THREAD, priority)
}

/// The data that a new thread starts with.
#[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "no thread starts on the host"))]
struct Start {
    f: Box<dyn FnOnce() + Send>,
    done: Notification,
}

/// A mapped stack in its slot.
#[derive(Debug)]
struct Stack {
    slot: u32,
    memory: u32,
    pages: usize,
}

impl Stack {
    fn new(pages: usize) -> Result<Stack, Status> {
        if pages == 0 || pages > MAX_STACK_PAGES {
            return Err(Status::BadArgument);
        }
        let memory = syscall::memory_create(pages, false)?;
        let Some(slot) = take_slot(&SLOTS) else {
            let _ = close(memory);
            return Err(Status::QuotaHandles);
        };
        let stack = Stack { slot, memory, pages };
        // SAFETY: the object is new, and only this stack has the slot.
        if let Err(status) = unsafe { syscall::memory_map(memory, stack.bottom(), true) } {
            free_slot(&SLOTS, slot);
            let _ = close(memory);
            return Err(status);
        }
        Ok(stack)
    }

    fn top(&self) -> u64 {
        STACKS + (self.slot as u64 + 1) * SLOT
    }

    fn bottom(&self) -> u64 {
        self.top() - (self.pages * PAGE_SIZE) as u64
    }

    /// Unmaps the stack and frees its slot.
    ///
    /// # Safety
    /// No thread may run on the stack any more.
    unsafe fn free(self) {
        // SAFETY: nobody runs on the stack, by this function's contract.
        if unsafe { syscall::memory_unmap(self.bottom()) }.is_ok() {
            let _ = close(self.memory);
            // A parker is unparked only while its thread waits, so no late signal can reach the
            // next owner of the slot.
            if let Some(parker) = crate::parker::of(self.slot as usize) {
                parker.close();
            }
            free_slot(&SLOTS, self.slot);
        }
    }
}

/// Takes the lowest free slot.
fn take_slot(slots: &Slots) -> Option<u32> {
    let take = |slots: &AtomicU64| {
        slots
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| (used != u64::MAX).then(|| used | (used + 1)))
            .map(u64::trailing_ones)
    };
    slots.iter().zip(0..).find_map(|(word, number)| take(word).ok().map(|slot| number * u64::BITS + slot))
}

fn free_slot(slots: &Slots, slot: u32) {
    if let Some(word) = slots.get((slot / u64::BITS) as usize) {
        word.fetch_and(!(1 << (slot % u64::BITS)), Ordering::Relaxed);
    }
}

/// The first instructions of a thread: the chain of frame pointers ends here, and the stack is
/// aligned for a call (System V ABI, AMD64, section 3.2.2).
#[cfg(target_os = "none")]
#[unsafe(naked)]
extern "C" fn trampoline() -> ! {
    core::arch::naked_asm!("xor ebp, ebp", "and rsp, -16", "call {run}", "ud2", run = sym run)
}

#[cfg(not(target_os = "none"))]
extern "C" fn trampoline() -> ! {
    unreachable!("there are no threads on the host")
}

/// Runs the closure, signals the end of the thread, and ends it.
#[cfg(target_os = "none")]
extern "C" fn run(start: *mut Start) -> ! {
    // SAFETY: `spawn` made the box for this thread and gave it away.
    let Start { f, done } = *unsafe { Box::from_raw(start) };
    f();
    // SAFETY: registers as `abi::syscall` lists them for `signal` and `thread_exit`. After the
    // first of the two the joining thread may unmap this stack, so nothing here accesses it: the
    // kernel keeps a thread's registers in its own memory.
    unsafe {
        core::arch::asm!(
            "syscall",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            exit = const abi::Syscall::ThreadExit as u32,
            in("rax") abi::Syscall::Signal as u64,
            in("rdi") done.0 as u64,
            in("rsi") 1_u64,
            options(noreturn),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_taken_from_the_bottom_and_given_back() {
        let slots = Slots::default();
        assert_eq!((take_slot(&slots), take_slot(&slots), take_slot(&slots)), (Some(0), Some(1), Some(2)));
        free_slot(&slots, 1);
        assert_eq!((take_slot(&slots), take_slot(&slots)), (Some(1), Some(3)));
        let full = [u64::MAX; 2].map(AtomicU64::new);
        assert_eq!(take_slot(&full), None);
        for slot in [63, 64, 127] {
            free_slot(&full, slot);
            assert_eq!((take_slot(&full), take_slot(&full)), (Some(slot), None));
        }
    }

    #[test]
    fn stacks_lie_apart_and_below_the_end_of_user_space() {
        let stack = |slot| Stack { slot, memory: 0, pages: MAX_STACK_PAGES };
        assert!(stack(1).bottom() >= stack(0).top() + 1024 * 1024);
        assert_eq!(stack(0).top() % 16, 0);
        assert!(stack(127).top() < abi::task::MAP_BASE + (512 << 30));
        assert!(stack(0).bottom() > crate::heap::END);
    }

    #[test]
    fn a_thread_is_known_by_its_stack() {
        let stack = |slot| Stack { slot, memory: 0, pages: MAX_STACK_PAGES };
        for slot in [0, 1, 63, 64, 127] {
            assert_eq!(place_of(stack(slot).top() - 1), Some(slot as usize));
            assert_eq!(place_of(stack(slot).bottom()), Some(slot as usize));
        }
        let first = abi::task::STACK_TOP;
        assert_eq!((place_of(first - 8), place_of(first - 0x10_0000), place_of(first)), (Some(128), Some(128), None));
        assert_eq!((place_of(stack(127).top()), place_of(0), place_of(crate::heap::END)), (None, None, None));
    }

    #[test]
    fn a_thread_without_a_stack_is_refused() {
        assert_eq!(spawn(|| {}, 0, 1).err(), Some(Status::BadArgument));
        assert_eq!(spawn(|| {}, MAX_STACK_PAGES + 1, 1).err(), Some(Status::BadArgument));
        assert_eq!(spawn(|| {}, 1, 1).err(), Some(Status::BadSyscall));
    }
}
