//! Quotas of frames on a machine that has fewer.

use super::{frames, record};
use crate::Row;
use crate::System;
use crate::clock::Clock;
use crate::system::{heap_needed, most_that_fits};
use abi::manifest::TaskRecord;

/// A system of tasks with these quotas and kept frames, on a machine with so many frames besides the reserve.
fn system(there: usize, tasks: &[(u32, u32)]) -> System {
    let records: Vec<_> = tasks
        .iter()
        .map(|&(quota, keep)| {
            let mut r = record("task", 1, &[]);
            (r.frame_quota, r.keep_frames) = (quota, keep);
            r
        })
        .collect();
    System::new(&records, frames(there + 256), Clock::new(0, super::HERTZ))
}

fn limits(s: &System) -> Vec<u32> {
    s.tasks.iter().map(|t| t.frames.limit()).collect()
}

#[test]
fn quotas_that_fit_stay() {
    let mut s = system(100, &[(50, 10), (40, 0)]);
    assert_eq!(s.fit_quotas(), None);
    assert_eq!(limits(&s), [50, 40]);
}

#[test]
fn only_the_largest_are_lowered_and_all_together_fit() {
    let mut s = system(100, &[(20, 4), (1_000_000, 0), (30, 0), (500, 10)]);
    assert_eq!(s.fit_quotas(), Some(25), "24 + 25 + 25 + 25 are there, 24 + 26 + 26 + 26 are not");
    assert_eq!(limits(&s), [20, 25, 25, 15]);
}

#[test]
fn one_that_keeps_too_much_cannot_start_and_harms_nobody() {
    let mut s = system(100, &[(20, 0), (10, 100_000), (20, 4)]);
    assert_eq!(s.fit_quotas(), Some(56));
    assert_eq!(limits(&s), [20, 0, 20]);
}

#[test]
fn no_memory_at_all_is_no_quota() {
    let mut s = system(0, &[(20, 0), (20, 0)]);
    assert_eq!(s.fit_quotas(), Some(0));
    assert_eq!(limits(&s), [0, 0]);
}

/// Bytes that the parts of a system take, each as a power of two, and the largest once more, because a block has to lie at a multiple of its size.
#[test]
fn the_heap_that_is_asked_for_holds_the_tables() {
    for (tasks, objects, handles) in [(1, 8, 8), (8, 64, 64), (3, 1024, 1024), (64, 64, 64), (60, 128, 256)] {
        let mut r = record("task", 1, &[]);
        (r.object_quota, r.handle_quota) = (objects, handles);
        r.flags |= TaskRecord::FLOAT;
        let records = vec![r; tasks];
        let s = System::new(&records, frames(300), Clock::new(0, super::HERTZ));
        let blocks = s.blocks();
        let needed = blocks.iter().map(|b| b.next_power_of_two()).sum::<usize>()
            + blocks.iter().max().unwrap().next_power_of_two();
        let given = heap_needed(&records, u16::MAX) as usize;
        assert!(needed <= given, "{tasks} tasks, {objects} objects, {handles} handles: {needed} of {given}");
        assert!(given <= 8 * needed, "much too much: {given} for {needed}");
    }
}

#[test]
fn tables_that_do_not_fit_are_lowered_and_whoever_stays_below_keeps_all() {
    let quotas = |handles, objects| {
        let mut r = record("task", 1, &[]);
        (r.handle_quota, r.object_quota) = (handles, objects);
        r
    };
    let records = [quotas(64, 64), quotas(10_000, 4000), quotas(64, 4000), quotas(4000, 32)];
    let asked = heap_needed(&records, u16::MAX);
    assert_eq!(most_that_fits(&records, asked), u16::MAX);
    let most = most_that_fits(&records, asked / 4);
    assert!(heap_needed(&records, most) <= asked / 4 && heap_needed(&records, most + 1) > asked / 4, "{most}");
    let s = System::with_most(&records, most, frames(300), Clock::new(0, super::HERTZ));
    let given = |row: u16| (s.tasks[Row::new(row)].handles.quota(), s.tasks[Row::new(row)].objects.limit());
    let most_objects = u32::from(most);
    assert_eq!(
        [given(0), given(1), given(2), given(3)],
        [(64, 64), (most, most_objects), (64, most_objects), (most, 32)]
    );
    assert_eq!(most_that_fits(&records, 0), 0);
}

/// What others ask for, on however small a machine, is never at the cost of the task that starts the rest.
#[test]
fn the_task_with_control_keeps_its_quotas() {
    let mut first = record("first", 1, &[]);
    first.flags |= TaskRecord::CONTROL;
    (first.frame_quota, first.keep_frames) = (20, 5);
    let mut greedy = record("greedy", 2, &[]);
    (greedy.frame_quota, greedy.handle_quota, greedy.object_quota) = (1_000_000, 60_000, 60_000);
    let mut s = System::with_most(&[first, greedy, greedy], 1, frames(100 + 256), Clock::new(0, super::HERTZ));
    assert_eq!(s.fit_quotas(), Some(37));
    assert_eq!(limits(&s), [20, 37, 37]);
    assert_eq!(s.tasks[Row::new(0)].handles.quota(), first.handle_quota);
    assert_eq!(s.tasks[Row::new(0)].objects.limit(), u32::from(first.object_quota));
    assert_eq!((s.tasks[Row::new(1)].handles.quota(), s.tasks[Row::new(1)].objects.limit()), (1, 1));
    // Among many, of whom each gets less.
    let mut s =
        System::new(&[first, greedy, greedy, greedy, greedy, greedy], frames(100 + 256), Clock::new(0, super::HERTZ));
    assert_eq!((s.fit_quotas(), limits(&s)), (Some(15), vec![20, 15, 15, 15, 15, 15]));
    // One that asks for more than a quarter itself gets what others get.
    first.frame_quota = 1_000_000;
    let mut s = System::new(&[first, greedy, record("modest", 2, &[])], frames(100 + 256), Clock::new(0, super::HERTZ));
    assert_eq!((s.fit_quotas(), limits(&s)), (Some(42), vec![37, 42, 16]));
}
