//! Allocations as data: those that were recorded, and the usual synthetic ones.

use alloc::vec::Vec;

/// One step of a trace. Blocks are named by slots; a new one has the lowest slot that is free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Size and alignment.
    Allocate(u32, u32),
    /// Slot.
    Free(u32),
    /// Slot and new size.
    Resize(u32, u32),
}

/// Reads a recorded trace: lines `a SIZE ALIGN`, `f SLOT`, `r SLOT SIZE`.
pub fn parse(text: &str) -> Option<Vec<Step>> {
    text.lines().filter(|line| !line.starts_with('#')).map(step).collect()
}

fn step(line: &str) -> Option<Step> {
    let mut words = line.split(' ');
    let what = words.next()?;
    let mut number = || words.next()?.parse().ok();
    match what {
        "a" => Some(Step::Allocate(number()?, number()?)),
        "f" => Some(Step::Free(number()?)),
        "r" => Some(Step::Resize(number()?, number()?)),
        _ => None,
    }
}

/// A name and how the trace is made.
pub type Synthetic = (&'static str, fn() -> Vec<Step>);

/// The synthetic traces.
pub const SYNTHETIC: [Synthetic; 6] =
    [("boxes", boxes), ("stack", stack), ("queue", queue), ("mixed", mixed), ("vectors", vectors), ("comb", comb)];

/// One box at a time, beside one that lives.
fn boxes() -> Vec<Step> {
    let mut steps = alloc::vec![Step::Allocate(32, 8)];
    for _ in 0..2000 {
        steps.extend([Step::Allocate(32, 8), Step::Free(1)]);
    }
    steps
}

/// 500 blocks of rising sizes, freed in reverse order, twice.
fn stack() -> Vec<Step> {
    let once = (0..500).map(|i| Step::Allocate(16 + i, 8)).chain((0..500).rev().map(Step::Free));
    once.clone().chain(once).collect()
}

/// 256 messages of 24 to 150 bytes in flight; the oldest goes when the next comes.
fn queue() -> Vec<Step> {
    let mut random = Random(1);
    let mut steps: Vec<_> = (0..256).map(|_| Step::Allocate(24 + random.below(127), 8)).collect();
    for i in 0..2000 {
        steps.extend([Step::Free(i % 256), Step::Allocate(24 + random.below(127), 8)]);
    }
    steps
}

/// Up to 256 blocks of 1 to 2000 bytes, small ones being frequent; a random one goes when the next comes.
fn mixed() -> Vec<Step> {
    let mut random = Random(2);
    let mut size = || {
        let order = random.below(8);
        1 + random.below(16 << order).min(1999)
    };
    let mut steps: Vec<_> = (0..256).map(|_| Step::Allocate(size(), 8)).collect();
    let mut which = Random(3);
    for _ in 0..3000 {
        steps.extend([Step::Free(which.below(256)), Step::Allocate(size(), 8)]);
    }
    steps
}

/// Four vectors that grow by doubling from 16 bytes to 32 KiB, in turns, eight times.
fn vectors() -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..8 {
        steps.extend([Step::Allocate(16, 8); 4]);
        for order in 5..=15 {
            steps.extend((0..4).map(|slot| Step::Resize(slot, 1 << order)));
        }
        steps.extend((0..4).map(Step::Free));
    }
    steps
}

/// 2000 blocks of 64 bytes, every second one freed; then 500 of 128 bytes, which fit none of the holes.
fn comb() -> Vec<Step> {
    let fill = (0..2000).map(|_| Step::Allocate(64, 8));
    let holes = (0..1000).map(|i| Step::Free(2 * i));
    fill.chain(holes).chain((0..500).map(|_| Step::Allocate(128, 8))).collect()
}

/// A linear congruential generator (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(bound)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every step names a block that lives, so that a replay is sound.
    fn whole(steps: &[Step]) {
        let mut live: Vec<bool> = Vec::new();
        for step in steps {
            match *step {
                Step::Allocate(size, align) => {
                    assert!(size > 0 && align.is_power_of_two());
                    match live.iter().position(|used| !used) {
                        Some(free) => live[free] = true,
                        None => live.push(true),
                    }
                }
                Step::Free(slot) => assert!(core::mem::take(&mut live[slot as usize]), "slot {slot} is free"),
                Step::Resize(slot, size) => assert!(live[slot as usize] && size > 0, "slot {slot} is free"),
            }
        }
    }

    #[test]
    fn traces_are_whole() {
        for (_, make) in SYNTHETIC {
            whole(&make());
        }
        for (name, text) in crate::TRACES {
            let steps = parse(text).expect(name);
            assert!(steps.len() > 500, "{name} has {} steps", steps.len());
            whole(&steps);
        }
    }

    #[test]
    fn what_is_no_step_is_refused() {
        assert_eq!(
            parse("# shell\na 8 4\nr 0 9\nf 0"),
            Some([Step::Allocate(8, 4), Step::Resize(0, 9), Step::Free(0)].into())
        );
        assert_eq!((parse("a 8"), parse("x 1"), parse("f one")), (None, None, None));
    }
}
