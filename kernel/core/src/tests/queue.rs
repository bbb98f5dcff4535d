//! [`Queue`] against a `VecDeque`.

use crate::Row;
use crate::addr::AddressSpace;
use crate::arena::Arena;
use crate::queue::{Link, Queue};
use crate::thread::{Thread, ThreadIndex};
use proptest::prelude::*;
use std::collections::VecDeque;

const THREADS: u16 = 8;

fn threads() -> Arena<Thread> {
    let mut arena = Arena::new(THREADS);
    (0..THREADS).for_each(|_| assert!(arena.insert(Thread::new(Row::new(0), AddressSpace::OF_TESTS, 0)).is_some()));
    arena
}

fn contents(queue: &Queue, threads: &Arena<Thread>) -> Vec<ThreadIndex> {
    core::iter::successors(queue.front(), |&i| queue.next(threads, i)).collect()
}

#[test]
fn an_empty_queue_gives_nothing() {
    let mut threads = threads();
    let mut queue = Queue::default();
    assert!(queue.is_empty());
    assert_eq!((queue.front(), queue.pop(&mut threads)), (None, None));
}

#[test]
fn the_middle_can_be_taken_out() {
    let mut threads = threads();
    let mut queue = Queue::default();
    let [one, three, four] = [1, 3, 4].map(ThreadIndex::new);
    [three, one, four].into_iter().for_each(|i| queue.push(&mut threads, i));
    queue.remove(&mut threads, one);
    assert_eq!(contents(&queue, &threads), [three, four]);
    assert_eq!(threads.at(one).unwrap().link, Link::UNLINKED);
    queue.push_front(&mut threads, one);
    assert_eq!(contents(&queue, &threads), [one, three, four]);
    assert_eq!(queue.backwards(&threads), [four, three, one]);
}

proptest! {
    #[test]
    fn does_what_a_deque_does(ops in prop::collection::vec((0u8..4, 0usize..2, 0..THREADS), 0..300)) {
        let mut threads = threads();
        let mut queues = [Queue::default(); 2];
        let mut models: [VecDeque<ThreadIndex>; 2] = Default::default();
        for (op, which, index) in ops {
            let index = ThreadIndex::new(index);
            let queued = models.iter().any(|m| m.contains(&index));
            let (queue, model) = (&mut queues[which], &mut models[which]);
            match op {
                0 if !queued => {
                    queue.push(&mut threads, index);
                    model.push_back(index);
                }
                1 if !queued => {
                    queue.push_front(&mut threads, index);
                    model.push_front(index);
                }
                2 => prop_assert_eq!(queue.pop(&mut threads), model.pop_front()),
                _ if model.contains(&index) => {
                    queue.remove(&mut threads, index);
                    model.retain(|&i| i != index);
                }
                _ => {}
            }
            for (queue, model) in queues.iter().zip(&models) {
                prop_assert_eq!(contents(queue, &threads), model.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(queue.is_empty(), model.is_empty());
                prop_assert_eq!(queue.front(), model.front().copied());
                prop_assert_eq!(queue.backwards(&threads), model.iter().rev().copied().collect::<Vec<_>>());
            }
            for (id, t) in threads.iter() {
                let queued = models.iter().any(|m| m.contains(&id.index()));
                prop_assert!(queued || t.link == Link::UNLINKED);
            }
        }
    }
}
