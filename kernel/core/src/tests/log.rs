//! [`Ring`] against the whole text.

use super::{NOTE, OWN, kill, reap, record, recv, run, sound, spawn, state, system, woken};
use crate::Row;
use crate::System;
use crate::log::{Allowance, RING_SIZE, Ring};
use crate::step::Tell;
use crate::task::Task;
use crate::thread::{State, ThreadIndex};
use abi::Status;
use abi::manifest::TaskRecord;
use abi::message::bits;
use abi::task::{LOG_AGAIN, LOG_BURST, LOG_LEAST, LOG_PER_MS};
use proptest::prelude::*;
use zerocopy::FromZeros;

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

/// The reports of fifty deaths in one moment are there until somebody reads them.
#[test]
fn who_reports_deaths_is_heard_even_later() {
    let mut record = TaskRecord::new_zeroed();
    assert_eq!(kept(Task::new(record)), RING_SIZE);
    record.flags = TaskRecord::CONTROL;
    assert_eq!(kept(Task::new(record)), LOG_BURST as usize);
}

fn kept(mut task: Task) -> usize {
    (0..100).for_each(|_| task.log.write(&[b'x'; 1024]));
    task.log.read(0, &mut [0; 100 * 1024]).0
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

/// A byte at a time is no cheaper way to have readers woken.
#[test]
fn d25_a_write_is_charged_however_short_it_is() {
    for bytes in [0, 1, 2, LOG_LEAST as usize] {
        let mut allowance = Allowance::default();
        let at_once = (0..=LOG_BURST).take_while(|_| allowance.take(bytes, 5).is_ok()).count();
        assert_eq!(at_once, (LOG_BURST / LOG_LEAST) as usize, "writes of {bytes} bytes");
        // In a second, so many.
        let written = (6..1006).map(|ms| (0..100).filter(|_| allowance.take(bytes, ms).is_ok()).count()).sum::<usize>();
        assert!(written <= (1000 * LOG_PER_MS / LOG_LEAST) as usize, "{written} writes of {bytes} bytes in a second");
    }
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
    fn keeps_the_newest(
        lengths in prop::collection::vec(0usize..3_000, 0..8), position in 0u64..12_000, room in 0usize..5_000, size in 0u32..14,
    ) {
        let size = 1 << size;
        let mut ring = Ring::new(size);
        let mut all = Vec::new();
        for (i, len) in lengths.into_iter().enumerate() {
            let text: Vec<u8> = (0..len).map(|j| (i * 31 + j * 7) as u8).collect();
            ring.write(&text);
            all.extend(text);
        }
        prop_assert_eq!(ring.written(), all.len() as u64);
        let start = (position as usize).clamp(all.len().saturating_sub(size), all.len());
        let expected = &all[start..all.len().min(start + room)];
        let mut buffer = vec![0; room];
        let (count, from) = ring.read(position, &mut buffer);
        prop_assert_eq!((&buffer[..count], from), (expected, start as u64));
    }
}

/// A reader of logs in row 0, who waits for bits, and two who write; and their threads.
fn readers() -> (System, [ThreadIndex; 3]) {
    let mut records = [record("console", 2, &[]), record("shell", 5, &[]), record("loud", 31, &[])];
    for r in &mut records[..2] {
        r.flags = TaskRecord::LOGS;
    }
    let mut s = system(&records);
    let threads = [0, 1, 2].map(|row| spawn(&mut s, row));
    (s, threads)
}

/// A task has written something.
fn written(s: &mut System) {
    let mut tell = Tell { rows: s.take_log_listeners(), value: 0 };
    while !s.tell_some(&mut tell, 1) {}
}

#[test]
fn d25_a_reader_of_logs_is_told_once_until_it_looks() {
    let (mut s, [console, shell, loud]) = readers();
    let mut wakes = 0;
    for round in 0..1000 {
        run(&mut s, console);
        recv(&mut s, console, OWN, u64::MAX).unwrap();
        // It does not look, whatever it is told, but every hundredth time.
        written(&mut s);
        if woken(&s, console).is_none() {
            s.signal_task(Row::new(0), 1);
            assert_eq!(woken(&s, console), Some(Status::Ok));
        } else {
            wakes += 1;
        }
        if round % 100 == 99 {
            s.log_looked_at(Row::new(0));
        }
    }
    assert_eq!(wakes, 10);
    // The shell, who never looks, was told once.
    assert_eq!(s.poll(shell, NOTE, u64::MAX), Ok(bits::LOG));
    written(&mut s);
    assert_eq!(s.poll(shell, NOTE, u64::MAX), Ok(0));
    // Who may not read logs is never told, though it tries to look.
    s.log_looked_at(Row::new(2));
    written(&mut s);
    assert_eq!(s.poll(loud, NOTE, u64::MAX), Ok(0));
    // A new life is told from its beginning.
    kill(&mut s, 1);
    reap(&mut s, 1);
    let shell = spawn(&mut s, 1);
    written(&mut s);
    assert_eq!(s.poll(shell, NOTE, u64::MAX), Ok(bits::LOG));
    sound(&s);
}

/// A task's text on its way to the port comes before that of others: their threads show the rest of it, in its time.
#[test]
fn d25_what_a_thread_does_for_another_task_is_charged_to_that() {
    let (mut s, [console, shell, _]) = readers();
    run(&mut s, shell);
    let before = [0, 1].map(|row| s.cpu(Row::new(row)));
    s.set_now(s.now() + 100);
    s.charge();
    s.set_now(s.now() + 5000);
    s.charge_to(Row::new(0));
    s.set_now(s.now() + 10);
    s.charge();
    let spent = [0, 1].map(|row| s.cpu(Row::new(row)) - before[row as usize]);
    assert_eq!(spent, [5000, 110], "of the console, and of the shell, which ran");
    assert_eq!(state(&s, console), State::Ready);
    sound(&s);
}
