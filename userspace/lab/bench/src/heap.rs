//! Replays allocations on every heap design, and prints what each step cost and how much memory it all took.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::alloc::{GlobalAlloc, Layout};
use alloc::vec::Vec;
use bench::arena::{self, Arena};
use bench::replay::{SYNTHETIC, Step, parse};
use bench::{TRACES, calibrate};
use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering};
use rt::heap::{Choice, Global};
use rt::ipc::Endpoint;
use rt::println;
use rt::time::ticks;

rt::entry!(run);

/// The row of the task table, as heap.toml has it.
const POWER: usize = 1;

macro_rules! designs {
    ($($name:ident = $heap:path;)*) => {
        /// The designs, each over the arena.
        mod designs {
            use super::*;
            $(
                pub struct $name;
                impl Choice for $name {
                    type Heap = $heap;
                    const EMPTY: Self::Heap = <$heap>::new(Arena);
                }
            )*
        }

        /// Replays the trace on all of them.
        fn all(trace: &str, steps: &[Step]) -> Result<(), &'static str> {
            $(one::<designs::$name>(stringify!($name), trace, steps)?;)*
            Ok(())
        }
    };
}

designs! {
    Bump = allocators::Bump<Arena>;
    LinkedList = allocators::LinkedList<Arena>;
    FixedBlocks = allocators::FixedBlocks<Arena>;
    Talc = allocators::peers::Talc<Arena>;
    Buddy = allocators::peers::Buddy<Arena>;
    List = allocators::peers::List<Arena>;
}

fn run() {
    calibrate::print();
    OVERHEAD.store(calibrate::pair(), Ordering::Relaxed);
    if let Err(reason) = traces() {
        println!("failed {reason}");
    }
    println!("done");
    if rt::task::spawn(POWER, "").is_ok()
        && let Some(power) = Endpoint::peer("power")
    {
        let Err(error) = driver_power::Client::new(power).shutdown();
        println!("failed power {error}");
    }
}

fn traces() -> Result<(), &'static str> {
    for (name, text) in TRACES {
        all(name, &parse(text).ok_or("a trace cannot be read")?)?;
    }
    for (name, make) in SYNTHETIC {
        all(name, &make())?;
    }
    Ok(())
}

/// A block that the heap under measurement has handed out.
struct Block {
    at: *mut u8,
    layout: Layout,
}

/// Instructions of one kind of step: how often, in all, and the most.
#[derive(Default)]
struct Cost {
    count: u64,
    total: u64,
    most: u64,
}

impl Cost {
    fn add(&mut self, ticks: u64) {
        self.count += 1;
        self.total += ticks;
        self.most = self.most.max(ticks);
    }
}

/// What two readings of the counter with nothing between them cost, as `calibrate` finds it.
static OVERHEAD: AtomicU64 = AtomicU64::new(0);

/// Runs `operation`; returns its result and its instructions.
#[inline(always)]
fn timed<T>(operation: impl FnOnce() -> T) -> (T, u64) {
    let before = ticks();
    let value = black_box(operation());
    (value, (ticks() - before).saturating_sub(OVERHEAD.load(Ordering::Relaxed)))
}

/// How often a trace is replayed: of the costs of a step the least counts, so that no timer tick does.
const PASSES: usize = 3;

/// Replays a trace on a design, and prints `heap DESIGN TRACE ALLOCS TOTAL MOST FREES TOTAL MOST RESIZES TOTAL MOST LIVE TAKEN REFUSED`: LIVE
/// bytes at the most, TAKEN from the arena. What the arena's source does is counted, what a kernel would do for it is not.
fn one<C: Choice>(design: &str, trace: &str, steps: &[Step]) -> Result<(), &'static str> {
    let mut least = alloc::vec![u64::MAX; steps.len()];
    let mut replay = Replay::default();
    for _ in 0..PASSES {
        arena::reset()?;
        let heap = Global::<C>::new(C::EMPTY);
        replay = Replay::default();
        for (step, least) in steps.iter().zip(&mut least) {
            *least = replay.step(&heap, *step)?.min(*least);
        }
    }
    let mut costs = [Cost::default(), Cost::default(), Cost::default()];
    let [allocated, freed, resized] = &mut costs;
    for (step, least) in steps.iter().zip(least) {
        match step {
            Step::Allocate(..) => allocated.add(least),
            Step::Free(_) => freed.add(least),
            Step::Resize(..) => resized.add(least),
        }
    }
    let [a, f, r] = costs.map(|cost| (cost.count, cost.total, cost.most));
    let (live, taken, refused) = (replay.most, arena::taken(), replay.refused);
    println!(
        "heap {design} {trace} {} {} {} {} {} {} {} {} {} {live} {taken} {refused}",
        a.0, a.1, a.2, f.0, f.1, f.2, r.0, r.1, r.2
    );
    Ok(())
}

/// One pass over a trace.
#[derive(Default)]
struct Replay {
    blocks: Vec<Option<Block>>,
    free: Vec<usize>,
    live: usize,
    most: usize,
    refused: u64,
}

impl Replay {
    /// Does a step; returns its instructions. A block for which there was no room costs nothing from then on.
    fn step(&mut self, heap: &impl GlobalAlloc, step: Step) -> Result<u64, &'static str> {
        let ticks = match step {
            Step::Allocate(size, align) => self.allocate(heap, size as usize, align as usize),
            Step::Free(slot) => self.deallocate(heap, slot as usize),
            Step::Resize(slot, size) => self.resize(heap, slot as usize, size as usize),
        };
        self.most = self.most.max(self.live);
        ticks
    }

    fn allocate(&mut self, heap: &impl GlobalAlloc, size: usize, align: usize) -> Result<u64, &'static str> {
        let layout = Layout::from_size_align(size, align).map_err(|_| "no layout")?;
        // SAFETY: no trace has a size of zero.
        let (at, ticks) = timed(|| unsafe { heap.alloc(black_box(layout)) });
        // The lowest slot that is free.
        let lowest = self.free.iter().enumerate().min_by_key(|(_, slot)| **slot).map(|(place, _)| place);
        let slot = lowest.map(|place| self.free.swap_remove(place)).unwrap_or_else(|| {
            self.blocks.push(None);
            self.blocks.len() - 1
        });
        self.refused += u64::from(at.is_null());
        self.live += layout.size();
        if !at.is_null() {
            // SAFETY: the block has at least a byte.
            unsafe { at.write(slot as u8) };
        }
        *self.blocks.get_mut(slot).ok_or("no slot")? = Some(Block { at, layout });
        Ok(ticks)
    }

    fn deallocate(&mut self, heap: &impl GlobalAlloc, slot: usize) -> Result<u64, &'static str> {
        let Block { at, layout } = self.blocks.get_mut(slot).and_then(Option::take).ok_or("no block")?;
        self.free.push(slot);
        self.live -= layout.size();
        if at.is_null() {
            return Ok(0);
        }
        // SAFETY: it was written when the block was allocated.
        if unsafe { at.read() } != slot as u8 {
            return Err("a block was overwritten");
        }
        // SAFETY: the block is the heap's, of this layout, and forgotten.
        Ok(timed(|| unsafe { heap.dealloc(at, layout) }).1)
    }

    fn resize(&mut self, heap: &impl GlobalAlloc, slot: usize, size: usize) -> Result<u64, &'static str> {
        let block = self.blocks.get_mut(slot).and_then(Option::as_mut).ok_or("no block")?;
        self.live = self.live + size - block.layout.size();
        let new = Layout::from_size_align(size, block.layout.align()).map_err(|_| "no layout")?;
        let old = core::mem::replace(&mut block.layout, new);
        if block.at.is_null() {
            return Ok(0);
        }
        // SAFETY: the block is the heap's, of the old layout, and the new size is a layout's.
        let (at, ticks) = timed(|| unsafe { heap.realloc(block.at, old, size) });
        if at.is_null() {
            self.refused += 1;
            // SAFETY: a block that cannot be resized stays as it was.
            unsafe { heap.dealloc(block.at, old) };
        }
        block.at = at;
        Ok(ticks)
    }
}
