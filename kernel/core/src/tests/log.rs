//! [`Ring`] against the whole text.

use crate::log::{RING_SIZE, Ring};
use proptest::prelude::*;

#[test]
fn an_empty_ring_has_nothing_to_read() {
    let ring = Ring::default();
    let mut buffer = [9; 4];
    assert_eq!(ring.read(0, &mut buffer), (0, 0));
    assert_eq!(ring.read(u64::MAX, &mut buffer), (0, 0));
    assert_eq!((buffer, ring.written()), ([9; 4], 0));
}

#[test]
fn the_oldest_text_makes_room() {
    let mut ring = Ring::default();
    ring.write(&[b'a'; RING_SIZE]);
    ring.write(b"end");
    let mut buffer = [0; 2];
    assert_eq!(ring.read(0, &mut buffer), (2, 3));
    assert_eq!(ring.read(RING_SIZE as u64 + 1, &mut buffer), (2, RING_SIZE as u64 + 1));
    assert_eq!(&buffer, b"nd");
}

proptest! {
    #[test]
    fn keeps_the_newest(lengths in prop::collection::vec(0usize..3_000, 0..8), position in 0u64..12_000, room in 0usize..5_000) {
        let mut ring = Ring::default();
        let mut all = Vec::new();
        for (i, len) in lengths.into_iter().enumerate() {
            let text: Vec<u8> = (0..len).map(|j| (i * 31 + j * 7) as u8).collect();
            ring.write(&text);
            all.extend(text);
        }
        prop_assert_eq!(ring.written(), all.len() as u64);
        let start = (position as usize).clamp(all.len().saturating_sub(RING_SIZE), all.len());
        let expected = &all[start..all.len().min(start + room)];
        let mut buffer = vec![0; room];
        let (count, from) = ring.read(position, &mut buffer);
        prop_assert_eq!((&buffer[..count], from), (expected, start as u64));
    }
}
