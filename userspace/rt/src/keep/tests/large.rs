//! A driver with a large kept state has no more steps than one with a small one.

use crate::ipc::{Loan, Request};
use crate::keep::{Bytes, Cell, Ring, damage};
use crate::testing::{Harness, every_death};
use crate::{Answer, Driver};
use alloc::vec::Vec;
use std::time::{Duration, Instant};

crate::kept! {
    /// 128 sectors of 512 bytes; the number of those that are valid.
    pub struct Keep {
        sectors: [Bytes<512>; 128],
        valid: Cell<u32>,
        log: Ring<u8, 4096>,
    }
}

/// Stores the sector that is lent with request 1, numbered by word 0 from 0 on.
struct Store(&'static Keep);

impl Driver for Store {
    fn init() -> Self {
        let keep = crate::keep::open::<Keep>();
        if !keep.resume() {
            keep.set_ready(0);
        }
        Store(keep)
    }

    fn request(&mut self, request: &Request) -> Answer {
        let [number, ..] = request.words;
        let mut sector = [0; 512];
        if request.read(0, 0, &mut sector) != Ok(512) {
            return Answer::refuse(1);
        }
        if u64::from(self.0.valid.get()) == number {
            self.0.sectors[number as usize].put(&sector);
            self.0.log.advance_to(self.0.log.head());
            self.0.log.push(&[number as u8; 4000]);
            self.0.valid.put(number as u32 + 1);
        }
        // What is valid is whole, whichever life has stored it.
        let whole = (0..=number).all(|at| self.0.sectors[at as usize].get() == [at as u8 + 1; 512]);
        Answer::ok([whole.into(), self.0.log.len().into(), 0, 0])
    }
}

#[test]
fn large_kept_values_take_few_steps() {
    let begun = Instant::now();
    let steps = every_death(|deaths| {
        let driver = Harness::new("store").keep(size_of::<Keep>()).deaths(deaths).start::<Store>();
        for number in 0..3_u8 {
            let sector = [number + 1; 512];
            let words = [number.into(), 0, 0, 0];
            let reply = driver.client(0).call_retrying(1, words, &mut [Loan::Read(&sector)]).expect("an answer");
            assert_eq!(reply.words[..2], [1, 4000]);
        }
        assert_eq!(driver.lives() as usize, 1 + deaths.count());
    });
    // Before the stamp is set, and for each request: three steps for the sector, three for the
    // log's elements, those that make them valid, and the system calls.
    assert!((20..60).contains(&steps), "{steps} steps");
    assert!(begun.elapsed() < Duration::from_secs(1), "{steps} steps took {:?}", begun.elapsed());
}

#[test]
fn a_large_field_of_another_layout_is_cleared_in_two_steps() {
    crate::kept! {
        pub struct Other {
            count: Cell<u64>,
        }
    }
    // The stamp is taken back, the fields are cleared as two steps, and there is one step after.
    for steps in 0..=4 {
        let keep = damage::memory::<Keep>(0xff);
        damage::again::<Keep, Other>(keep).set_ready(0);
        let whole = super::fuse::live(Some(steps), || {
            assert!(!keep.resume());
            keep.valid.put(1);
        });
        assert_eq!(whole, steps == 4, "died before {steps}");
        assert!(!keep.resume(), "died before {steps}");
        let all: Vec<_> = keep.sectors.iter().map(Bytes::get).collect();
        assert!(all.iter().all(|sector| *sector == [0; 512]) && keep.valid.get() == 0);
    }
}
