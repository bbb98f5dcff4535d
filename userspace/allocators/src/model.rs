//! Every heap against a model of what is allocated: random programs of allocations, frees and
//! changes of size, on sources that are generous or tight, whose pieces touch each other or not.

use crate::peers::{Buddy, List, Talc};
use crate::{Bump, FixedBlocks, Heap, LinkedList, Locked, Source, UNIT};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};
use proptest::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;
use std::vec::Vec;

/// All that a test's source can ever give.
const ROOM: usize = 1 << 20;

/// How a source behaves.
#[derive(Clone, Copy, Debug)]
struct Habit {
    /// Pieces are multiples of this many bytes.
    grain: usize,
    /// Bytes left out before each piece.
    gap: usize,
    /// Bytes that it gives in all.
    limit: usize,
}

/// Memory from the host, given away piece by piece.
struct Arena {
    base: NonNull<u8>,
    used: usize,
    habit: Habit,
    given: Given,
}

/// What a source has given away: first and last address of each stretch, pieces that touch each
/// other taken as one.
#[derive(Clone, Default)]
struct Given(Rc<RefCell<Vec<(usize, usize)>>>);

impl Given {
    fn bytes(&self) -> usize {
        self.0.borrow().iter().map(|(start, end)| end - start).sum()
    }

    fn add(&self, start: usize, len: usize) {
        let mut pieces = self.0.borrow_mut();
        match pieces.last_mut() {
            Some(last) if last.1 == start => last.1 += len,
            _ => pieces.push((start, start + len)),
        }
    }

    fn holds(&self, block: &Block) -> bool {
        self.0.borrow().iter().any(|&(start, end)| start <= block.at.addr().get() && block.end() <= end)
    }
}

impl Arena {
    const LAYOUT: Layout = match Layout::from_size_align(ROOM, 4096) {
        Ok(layout) => layout,
        Err(_) => panic!("that is a layout"),
    };

    fn new(habit: Habit) -> (Arena, Given) {
        // SAFETY: the layout is not empty.
        let base = unsafe { std::alloc::alloc(Self::LAYOUT) };
        let base = NonNull::new(base).expect("memory for the test");
        // SAFETY: that is the whole of the memory, which is the arena's. Heaps are not to count on
        // zeroes.
        unsafe { base.write_bytes(0xa5, ROOM) };
        let given = Given::default();
        (Arena { base, used: 0, habit, given: given.clone() }, given)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; the heap that used it is gone.
        unsafe { std::alloc::dealloc(self.base.as_ptr(), Self::LAYOUT) };
    }
}

// SAFETY: pieces are taken from the front of what is left, so they are nobody else's; gap and grain
// are multiples of `UNIT`.
unsafe impl Source for Arena {
    fn more(&mut self, bytes: usize) -> Option<NonNull<[u8]>> {
        let start = self.used + self.habit.gap;
        let len = bytes.checked_next_multiple_of(self.habit.grain)?;
        let given = self.given.bytes().checked_add(len)?;
        if given > self.habit.limit || start.checked_add(len)? > ROOM {
            return None;
        }
        self.given.add(self.base.addr().get() + start, len);
        self.used = start + len;
        // SAFETY: the check above says that the piece lies in the arena.
        Some(NonNull::slice_from_raw_parts(unsafe { self.base.add(start) }, len))
    }
}

/// A lock for tests with one thread: it fails where anyone would have to wait.
struct Alone(AtomicBool);

// SAFETY: only whose exchange succeeded holds it.
unsafe impl lock_api::RawMutex for Alone {
    #[allow(clippy::declare_interior_mutable_const, reason = "the initial value, as the trait wants it")]
    const INIT: Alone = Alone(AtomicBool::new(false));
    type GuardMarker = lock_api::GuardNoSend;

    fn lock(&self) {
        assert!(self.try_lock(), "the heap is used while it is in use");
    }

    fn try_lock(&self) -> bool {
        !self.0.swap(true, Ordering::Acquire)
    }

    unsafe fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// One step of a random program. Blocks are named by their place among those that live.
#[derive(Clone, Debug)]
enum Step {
    Allocate { size: usize, align: usize },
    Free { which: usize },
    Resize { which: usize, size: usize },
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![5 => 1_usize..64, 3 => 64_usize..600, 2 => 600_usize..5000, 1 => Just(16), 1 => Just(2048), 1 => Just(4096)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (size(), prop_oneof![6 => 0_u32..5, 1 => 5_u32..9]).prop_map(|(size, log)| Step::Allocate { size, align: 1 << log }),
        3 => any::<usize>().prop_map(|which| Step::Free { which }),
        2 => (any::<usize>(), size()).prop_map(|(which, size)| Step::Resize { which, size }),
    ]
}

fn habit(touching: bool) -> impl Strategy<Value = Habit> {
    let gap = if touching { 0_usize..1 } else { 0..3 };
    (prop_oneof![Just(16_usize), Just(256), Just(4096)], gap, prop_oneof![Just(24_usize << 10), Just(ROOM / 2)])
        .prop_map(|(grain, gap, limit)| Habit { grain, gap: gap * UNIT, limit })
}

/// A block that lives, as the model knows it: filled with one byte.
#[derive(Clone, Copy)]
struct Block {
    at: NonNull<u8>,
    layout: Layout,
    fill: u8,
}

impl Block {
    fn end(&self) -> usize {
        self.at.addr().get() + self.layout.size()
    }

    /// Whether the first `len` bytes are still what they were filled with.
    fn holds(&self, len: usize) -> bool {
        // SAFETY: the heap says that these bytes are allocated, and they were filled.
        unsafe { core::slice::from_raw_parts(self.at.as_ptr(), len) }.iter().all(|&byte| byte == self.fill)
    }

    fn refill(&mut self, fill: u8) {
        self.fill = fill;
        // SAFETY: the heap says that these bytes are allocated to this block.
        unsafe { self.at.write_bytes(fill, self.layout.size()) };
    }
}

/// Checks a block that the heap has just handed out against all others, and against what the source
/// gave.
fn fresh(live: &[Block], block: &Block, given: &Given) -> Result<(), TestCaseError> {
    let start = block.at.addr().get();
    prop_assert!(start.is_multiple_of(block.layout.align()), "{start:#x} for {:?}", block.layout);
    prop_assert!(given.holds(block), "{start:#x} {:?} lies outside of what the source gave", block.layout);
    for other in live {
        let apart = block.end() <= other.at.addr().get() || other.end() <= start;
        prop_assert!(apart, "{start:#x} {:?} overlaps {:p} {:?}", block.layout, other.at, other.layout);
    }
    Ok(())
}

/// Runs the program on the heap. Returns what is left alive, and how often there was no memory.
fn run<H: Heap>(heap: &Locked<Alone, H>, steps: &[Step], given: &Given) -> Result<(Vec<Block>, usize), TestCaseError> {
    let mut live: Vec<Block> = Vec::new();
    let mut refused = 0;
    for (number, step) in steps.iter().enumerate() {
        let fill = number as u8;
        match *step {
            Step::Allocate { size, align } => {
                let layout = Layout::from_size_align(size, align).expect("a layout");
                // SAFETY: the size is not 0.
                match NonNull::new(unsafe { heap.alloc(layout) }) {
                    Some(at) => {
                        let mut block = Block { at, layout, fill };
                        fresh(&live, &block, given)?;
                        block.refill(fill);
                        live.push(block);
                    }
                    None => refused += 1,
                }
            }
            Step::Free { which } if !live.is_empty() => {
                let block = live.swap_remove(which % live.len());
                prop_assert!(block.holds(block.layout.size()), "a block was written to by somebody else");
                // SAFETY: the model says that it lives, and forgets it.
                unsafe { heap.dealloc(block.at.as_ptr(), block.layout) };
            }
            Step::Resize { which, size } if !live.is_empty() => {
                let old = live.swap_remove(which % live.len());
                // SAFETY: the model says that it lives.
                let new = unsafe { heap.realloc(old.at.as_ptr(), old.layout, size) };
                let Some(at) = NonNull::new(new) else {
                    refused += 1;
                    prop_assert!(old.holds(old.layout.size()), "a block that stayed was changed");
                    live.push(old);
                    continue;
                };
                let layout = Layout::from_size_align(size, old.layout.align()).expect("a layout");
                let mut block = Block { at, layout, fill: old.fill };
                fresh(&live, &block, given)?;
                prop_assert!(block.holds(size.min(old.layout.size())), "a block lost what was in it");
                block.refill(fill);
                live.push(block);
            }
            Step::Free { .. } | Step::Resize { .. } => {}
        }
    }
    for block in &live {
        prop_assert!(block.holds(block.layout.size()), "a block was written to by somebody else");
    }
    Ok((live, refused))
}

fn free_all<H: Heap>(heap: &Locked<Alone, H>, live: Vec<Block>) {
    for block in live {
        // SAFETY: the model says that it lives, and forgets it.
        unsafe { heap.dealloc(block.at.as_ptr(), block.layout) };
    }
}

/// How often a program is run again, to see that the heap uses again what was freed.
const AGAIN: usize = 8;

/// The program runs as the model says. Running it again takes about as much memory as once: blocks
/// that grow where they lie may find other neighbours, so it is not the same to the byte. It
/// refuses only where the source has less than `slack` left.
fn check<H: Heap>(make: fn(Arena) -> H, habit: Habit, steps: &[Step], slack: usize) -> Result<(), TestCaseError> {
    let (arena, given) = Arena::new(habit);
    let heap = Locked::<Alone, H>::new(make(arena));
    prop_assert_eq!(given.bytes(), 0, "memory was taken before it was needed");
    let (live, refused) = run(&heap, steps, &given)?;
    prop_assert!(refused == 0 || given.bytes() + slack > habit.limit, "refused with {} bytes given", given.bytes());
    free_all(&heap, live);
    let once = given.bytes();
    for _ in 0..AGAIN {
        let (live, _) = run(&heap, steps, &given)?;
        free_all(&heap, live);
    }
    if refused == 0 && habit.gap == 0 {
        prop_assert!(given.bytes() <= 2 * once + (8 << 10), "{} bytes instead of {once}", given.bytes());
    }
    Ok(())
}

/// Fills the heap with blocks of one size until it refuses, twice; returns how many there were. The
/// second time there must be as many.
fn exhaust<H: Heap>(make: fn(Arena) -> H, size: usize) -> usize {
    let (arena, given) = Arena::new(Habit { grain: 4096, gap: 0, limit: 128 << 10 });
    let heap = Locked::<Alone, H>::new(make(arena));
    let steps: Vec<_> = std::iter::repeat_n(Step::Allocate { size, align: 8 }, (128 << 10) / size + 10).collect();
    let (live, refused) = run(&heap, &steps, &given).expect("as the model says");
    assert!(refused >= 10, "{} blocks of {size} bytes in 128 KiB", live.len());
    assert!(given.bytes() <= 128 << 10);
    let count = live.len();
    free_all(&heap, live);
    let (live, _) = run(&heap, &steps, &given).expect("as the model says");
    assert_eq!(live.len(), count, "the second time");
    free_all(&heap, live);
    // A size that no source has is refused, and harms nobody.
    for size in [ROOM, 1 << 40, isize::MAX as usize - 4095] {
        for align in [1, 4096] {
            let Ok(layout) = Layout::from_size_align(size, align) else { continue };
            // SAFETY: the size is not 0.
            assert!(unsafe { heap.alloc(layout) }.is_null(), "{layout:?}");
        }
    }
    let (live, _) = run(&heap, &steps, &given).expect("as the model says");
    assert_eq!(live.len(), count, "after refusals");
    free_all(&heap, live);
    count
}

macro_rules! heaps {
    ($($module:ident $make:expr, touching: $touching:expr, slack: $slack:expr, small: $small:expr;)*) => {$(
        mod $module {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

                #[test]
                fn random_programs_run_as_in_the_model(
                    habit in habit($touching), steps in prop::collection::vec(step(), 1..200),
                ) {
                    check($make, habit, &steps, $slack)?;
                }
            }

            #[test]
            fn exhaustion_is_refused_and_passes() {
                let few = exhaust($make, 3000);
                assert!(few >= 20, "{few} blocks of 3000 bytes");
                let many = exhaust($make, 24);
                assert!(many >= $small, "{many} blocks of 24 bytes");
            }
        }
    )*};
}

heaps! {
    bump Bump::new, touching: false, slack: 12 << 10, small: (128 << 10) / 24 - 10;
    list LinkedList::new, touching: false, slack: 12 << 10, small: (128 << 10) / 32;
    blocks FixedBlocks::new, touching: false, slack: 12 << 10, small: (128 << 10) / 32;
    talc Talc::new, touching: false, slack: 12 << 10, small: (128 << 10) / 40;
    buddy Buddy::new, touching: false, slack: 25 << 10, small: (128 << 10) / 32;
    peer_list List::new, touching: true, slack: 12 << 10, small: (128 << 10) / 28;
}

/// An arena of whole pages without gaps, for the examples below.
fn plain() -> (Arena, Given) {
    Arena::new(Habit { grain: 4096, gap: 0, limit: ROOM })
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).expect("a layout")
}

#[test]
fn a_bump_heap_takes_its_last_block_back() {
    let (arena, given) = plain();
    let mut heap = Bump::new(arena);
    let [first, second] = [100, 200].map(|size| heap.allocate(layout(size)).expect("room"));
    // SAFETY: allocated above with that layout.
    unsafe { heap.deallocate(second, layout(200)) };
    let third = heap.allocate(layout(300)).expect("room");
    assert_eq!(third, second);
    // SAFETY: allocated above with that layout.
    assert!(unsafe { heap.resize(third, layout(300), 3000) }, "the last block grows where it lies");
    // SAFETY: allocated above with that layout.
    assert!(!unsafe { heap.resize(first, layout(100), 101) }, "no other does");
    assert_eq!(given.bytes(), 4096);
}

#[test]
fn a_list_joins_what_is_freed() {
    let (arena, given) = plain();
    let mut heap = LinkedList::new(arena);
    let blocks: Vec<_> = (0..64).map(|_| heap.allocate(layout(64)).expect("room")).collect();
    assert_eq!(given.bytes(), 4096);
    // Every second one first, so that holes appear on both sides of those that follow.
    for block in blocks.iter().step_by(2).chain(blocks.iter().skip(1).step_by(2)) {
        // SAFETY: allocated above with that layout.
        unsafe { heap.deallocate(*block, layout(64)) };
    }
    assert_eq!(heap.allocate(layout(4096)), blocks.first().copied(), "the whole page is one hole again");
}

#[test]
fn a_list_keeps_what_lies_before_an_aligned_block() {
    let (arena, given) = plain();
    let mut heap = LinkedList::new(arena);
    let first = heap.allocate(layout(16)).expect("room");
    let aligned = heap.allocate(Layout::from_size_align(64, 1024).expect("a layout")).expect("room");
    let between = heap.allocate(layout(1008)).expect("room");
    assert_eq!((between.addr().get(), aligned.addr().get()), (first.addr().get() + 16, first.addr().get() + 1024));
    assert_eq!(given.bytes(), 4096);
}

#[test]
fn a_list_grows_a_block_into_the_hole_behind_it() {
    let (arena, given) = plain();
    let mut heap = LinkedList::new(arena);
    let [first, second, third] = [64, 64, 64].map(|size| heap.allocate(layout(size)).expect("room"));
    // SAFETY: allocated above with that layout.
    unsafe { heap.deallocate(second, layout(64)) };
    // SAFETY: allocated above with that layout.
    assert!(!unsafe { heap.resize(first, layout(64), 129) }, "the third block is in the way");
    // SAFETY: allocated above with that layout.
    assert!(unsafe { heap.resize(first, layout(64), 128) });
    // SAFETY: the layout is that of the block since it grew.
    assert!(unsafe { heap.resize(first, layout(128), 48) });
    let again = heap.allocate(layout(80)).expect("room");
    assert_eq!(again.addr().get(), first.addr().get() + 48, "what was shrunk away is used again");
    assert!(third > again && given.bytes() == 4096);
}

#[test]
fn a_fixed_block_is_used_again_for_its_size_only() {
    let (arena, _) = plain();
    let mut heap = FixedBlocks::new(arena);
    let small = heap.allocate(layout(500)).expect("room");
    // SAFETY: allocated above with that layout.
    unsafe { heap.deallocate(small, layout(500)) };
    assert_ne!(heap.allocate(layout(200)), Some(small), "another size");
    assert_eq!(heap.allocate(layout(510)), Some(small), "the same class");
}

#[test]
fn nothing_is_lost_when_a_source_runs_dry() {
    let (arena, given) = Arena::new(Habit { grain: 16, gap: 0, limit: 4096 });
    let mut heap = LinkedList::new(arena);
    let block = heap.allocate(layout(4000)).expect("room");
    assert_eq!(heap.allocate(layout(200)), None);
    assert!(heap.allocate(layout(96)).is_some(), "what the source still has is good for less");
    assert_eq!(given.bytes(), 4096);
    // SAFETY: allocated above with that layout.
    unsafe { heap.deallocate(block, layout(4000)) };
    assert_eq!(heap.allocate(layout(200)), Some(block));
}

#[test]
fn fixed_blocks_end_with_the_last_that_fits() {
    let (arena, given) = Arena::new(Habit { grain: 16, gap: 0, limit: 256 + 3 * 64 });
    let mut heap = FixedBlocks::new(arena);
    // A run of four blocks at first; then there is no room for a run, but for three single blocks.
    let blocks = (0..7).filter(|_| heap.allocate(layout(64)).is_some()).count();
    assert_eq!((blocks, given.bytes()), (7, 256 + 3 * 64));
    assert_eq!(heap.allocate(layout(64)), None);
}
