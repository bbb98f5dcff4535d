//! Numbers that are likely to hurt: bounds, addresses of all sorts, and whatever comes.

use crate::Random;
use abi::PAGE_SIZE;
use abi::task::{INFO_ADDR, MAP_BASE, STACK_TOP, USER_END};

/// Numbers beside which something begins or ends.
const EDGES: [u64; 20] = [
    0,
    1,
    2,
    16,
    32,
    64,
    128,
    256,
    0xffff,
    0x1_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    PAGE_SIZE as u64,
    MAP_BASE,
    INFO_ADDR,
    STACK_TOP,
    USER_END,
    // The first address that is not canonical, and the first of the kernel's half; the kernel's map of all memory; the kernel.
    0x0000_8000_0000_0000,
    0xffff_8000_0000_0000,
    0xffff_ffff_8000_0000,
];

/// Any number.
pub fn any(random: &mut Random) -> u64 {
    match random.below(5) {
        0 => random.below(64),
        1 => random.next() >> random.below(64),
        2 => edge(random).wrapping_add(random.below(9)).wrapping_sub(4),
        3 => u64::MAX - random.below(16),
        _ => random.next(),
    }
}

/// One of the edges.
pub fn edge(random: &mut Random) -> u64 {
    random.pick(&EDGES).copied().unwrap_or_default()
}

/// A length: mostly short, now and then of whole pages, or anything.
pub fn length(random: &mut Random) -> u64 {
    match random.below(8) {
        0..=3 => random.below(48),
        4 | 5 => random.below(600),
        6 => random.below(4) * PAGE_SIZE as u64 + random.below(16),
        _ => any(random),
    }
}

/// Bits of a notification or a mask: one, a few, all, or none.
pub fn bits(random: &mut Random) -> u64 {
    match random.below(8) {
        0..=2 => u64::MAX,
        3 | 4 => 1 << random.below(64),
        5 => random.next() & random.next(),
        6 => random.next(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_come_up() {
        let mut random = Random::new(3);
        let mut seen = [false; 4];
        for _ in 0..2000 {
            let value = any(&mut random);
            seen[0] |= value == 0;
            seen[1] |= (USER_END - 4..USER_END + 5).contains(&value);
            seen[2] |= value == u64::MAX;
            seen[3] |= value > 1 << 60;
        }
        assert_eq!(seen, [true; 4]);
        assert!((0..500).map(|_| length(&mut random)).filter(|&len| len < 700).count() > 300);
    }
}
