//! [`Frames`] and chains against sets of numbers.

use super::frames;
use crate::frames::Frame;
use crate::frames::{Chain, Frames, Link};
use proptest::prelude::*;
use std::collections::BTreeSet;

#[test]
fn ranges_are_added_once() {
    let mut f = Frames::new(Box::leak(vec![Link::default(); 32].into_boxed_slice()));
    assert_eq!((f.free(), f.total()), (0, 0));
    f.add(4..12);
    f.add(8..16);
    assert_eq!((f.free(), f.total()), (12, 12));
    f.add(0..3);
    assert_eq!((f.free(), f.total()), (12, 12), "what lies below is left out");
    f.add(30..99);
    f.add(40..50);
    let (end, start) = (31, 32);
    f.add(start..end);
    assert_eq!((f.free(), f.total()), (14, 14));
    let mut chain = Chain::default();
    while f.alloc(&mut chain).is_some() {}
    f.add(0..32);
    assert_eq!((f.free(), f.total()), (0, 14), "what was in use is not added again");
    let mut got: Vec<_> = f.iter(&chain).collect();
    got.sort();
    assert_eq!(got, (4..16).chain(30..32).map(Frame::new).collect::<Vec<_>>());
}

#[test]
fn an_empty_chain_frees_nothing() {
    let mut f = frames(4);
    let mut chain = Chain::default();
    assert_eq!((f.free_first(&mut chain), chain.first(), chain.len()), (None, None, 0));
    assert!(chain.is_empty());
    assert_eq!(f.alloc_contiguous(&mut chain, 0), None);
    assert_eq!((chain.len(), f.free()), (0, 4));
}

#[test]
fn more_than_there_is_is_refused_and_nothing_is_taken() {
    let mut f = frames(8);
    let mut chain = Chain::default();
    for count in [9, 16, 1 << 31, (1 << 31) + 1, u32::MAX] {
        assert_eq!(f.alloc_contiguous(&mut chain, count), None, "{count}");
    }
    assert_eq!((f.free(), chain.len()), (8, 0));
    assert_eq!(f.alloc_contiguous(&mut chain, 8), Some(Frame::new(0)));
    assert_eq!((f.free(), f.alloc(&mut chain)), (0, None));
}

#[test]
fn a_frame_is_never_freed_twice() {
    let mut f = frames(8);
    let mut chain = Chain::default();
    f.alloc(&mut chain).unwrap();
    f.alloc(&mut chain).unwrap();
    // Nobody can copy a chain. Had the kernel a mistake that did, the second to be freed would find its frames free.
    let mut again = Chain::default();
    f.join(&mut again, &mut chain);
    assert!(chain.is_empty() && f.free_first(&mut chain).is_none());
    assert!(f.free_first(&mut again).is_some() && f.free_first(&mut again).is_some());
    assert_eq!((f.free_first(&mut again), f.free()), (None, 8));
}

#[test]
fn links_lead_through_a_chain() {
    let mut f = frames(16);
    let mut chain = Chain::default();
    f.alloc_contiguous(&mut chain, 3).unwrap();
    f.alloc(&mut chain).unwrap();
    let walked: Vec<_> = core::iter::successors(chain.first(), |&frame| f.next(frame)).collect();
    assert_eq!(walked, f.iter(&chain).collect::<Vec<_>>());
    assert_eq!(walked.len(), 4);
    assert_eq!((f.next(Frame::new(15)), f.next(Frame::new(99)), f.is_free(Frame::new(99))), (None, None, false));
}

#[derive(Clone, Debug)]
enum Op {
    Alloc(usize),
    Contiguous(usize, u32),
    Free(usize),
    Join(usize, usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0usize..3).prop_map(Op::Alloc),
        2 => (0usize..3, 0u32..9).prop_map(|(c, n)| Op::Contiguous(c, n)),
        4 => (0usize..3).prop_map(Op::Free),
        1 => (0usize..3, 0usize..3).prop_map(|(a, b)| Op::Join(a, b)),
    ]
}

proptest! {
    #[test]
    fn do_what_sets_do(ops in prop::collection::vec(op(), 0..200)) {
        const COUNT: u32 = 37;
        let mut f = frames(COUNT as usize);
        let mut chains: [Chain; 3] = Default::default();
        let mut model: [Vec<u32>; 3] = Default::default();
        for op in ops {
            let used: BTreeSet<u32> = model.iter().flatten().copied().collect();
            match op {
                Op::Alloc(c) => {
                    let got = f.alloc(&mut chains[c]).map(|fresh| fresh.frame().number());
                    prop_assert_eq!(got.is_some(), used.len() < COUNT as usize);
                    prop_assert!(got.is_none_or(|g| g < COUNT && !used.contains(&g)), "{:?} is in use", got);
                    model[c].extend(got);
                }
                Op::Contiguous(c, n) => {
                    // An aligned block of the next power of two must be found where there is one.
                    let size = n.next_power_of_two();
                    let fits = |at: u32| at + size <= COUNT && (at..at + size).all(|i| !used.contains(&i));
                    let possible = n != 0 && (0..COUNT).step_by(size as usize).any(fits);
                    let got = f.alloc_contiguous(&mut chains[c], n).map(Frame::number);
                    prop_assert_eq!(got.is_some(), possible);
                    if let Some(first) = got {
                        prop_assert!(first + n <= COUNT && (first..first + n).all(|i| !used.contains(&i)));
                        model[c].extend(first..first + n);
                    }
                }
                Op::Free(c) => {
                    let expected = (!model[c].is_empty()).then(|| model[c].remove(0));
                    prop_assert_eq!(f.free_first(&mut chains[c]).map(Frame::number), expected);
                }
                Op::Join(a, b) if a != b => {
                    let mut from = core::mem::take(&mut chains[b]);
                    f.join(&mut chains[a], &mut from);
                    prop_assert!(from.is_empty());
                    let moved = core::mem::take(&mut model[b]);
                    model[a].extend(moved);
                }
                Op::Join(..) => {}
            }
            let used: BTreeSet<u32> = model.iter().flatten().copied().collect();
            for (chain, model) in chains.iter().zip(&model) {
                prop_assert_eq!(&f.iter(chain).map(Frame::number).collect::<Vec<_>>(), model);
                prop_assert_eq!(chain.len() as usize, model.len());
                prop_assert_eq!(chain.first().map(Frame::number), model.first().copied());
            }
            prop_assert_eq!(f.free(), u64::from(COUNT) - used.len() as u64);
            prop_assert!((0..COUNT).all(|i| f.is_free(Frame::new(i)) != used.contains(&i)));
        }
    }
}
