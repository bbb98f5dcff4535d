//! [`Ring`] against the whole text.

use crate::log::{Allowance, RING_SIZE, Ring};
use abi::Status;
use abi::task::{LOG_AGAIN, LOG_BURST, LOG_PER_MS};
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

#[test]
fn whoever_writes_too_much_is_refused_and_heard_again_in_pieces() {
    let mut allowance = Allowance::default();
    let chunk = 1024;
    let all = |allowance: &mut Allowance, now| (0..).take_while(|_| allowance.take(chunk, now).is_ok()).count();
    assert_eq!(all(&mut allowance, 5), LOG_BURST as usize / chunk);
    assert_eq!(allowance.take(1, 5), Err(Status::QuotaLog), "a single byte is too much then");
    let wait = u64::from(LOG_AGAIN / LOG_PER_MS);
    for ms in 1..wait {
        assert_eq!(allowance.take(1, 5 + ms), Err(Status::QuotaLog), "after {ms} ms");
    }
    assert_eq!(all(&mut allowance, 5 + wait), LOG_AGAIN as usize / chunk);
    // Long afterwards there is all of it, and no more than that; a clock that stands still or goes back gives nothing.
    for now in [u64::MAX / 2, u64::MAX] {
        assert_eq!(all(&mut allowance, now), LOG_BURST as usize / chunk);
        assert_eq!(allowance.take(0, 0), Err(Status::QuotaLog));
    }
    assert_eq!(Allowance::default().take(usize::MAX, u64::MAX), Err(Status::QuotaLog));
}

#[test]
fn whoever_keeps_to_the_rate_is_never_refused() {
    let mut allowance = Allowance::default();
    for ms in 0..10_000 {
        assert_eq!(allowance.take(LOG_PER_MS as usize, ms), Ok(()), "at {ms} ms");
    }
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
