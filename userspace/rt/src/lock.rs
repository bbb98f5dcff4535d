//! The lock of everything that threads of a task share: the runtime's own data, the heap, and the
//! values in a [`crate::sync::Mutex`].
//!
//! Without contention, locking and unlocking are one compare-and-swap each, without a system call.
//! A thread that finds it held enters itself and waits on a notification of its own; the thread
//! that unlocks passes the lock on to the next waiter in turn. So a thread of lower priority that
//! holds the lock can proceed, and no waiter is overtaken more than once by each of the others.
//! Waiting allocates nothing, so the heap can use the lock.
//!
//! A thread on a stack that [`crate::thread::spawn`] did not make has no place at which it could be
//! entered. Such a thread, and one for which the quota has no notification left, tries again and
//! again, and yields in between.

use crate::parker;
use crate::thread::{PLACES, place};
use allocators::lock_api::{self, GuardSend};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Set while the lock is held. A lock without waiters that is released has state 0.
const HELD: u32 = 1;
/// One waiter; the bits from this one on count the waiters.
const WAITER: u32 = 2;

const WORDS: usize = PLACES.div_ceil(u64::BITS as usize);

/// The raw lock.
#[derive(Debug)]
pub struct ThreadLock {
    state: AtomicU32,
    /// The place to which the lock was passed last.
    turn: AtomicU32,
    /// The bit set of waiters, by place. Removing a bit passes the lock to that thread.
    waiting: [AtomicU64; WORDS],
}

impl ThreadLock {
    #[cold]
    fn lock_slow(&self) {
        let parker = place().and_then(|place| parker::of(place).map(|parker| (place, parker)));
        match parker {
            Some((place, parker)) if parker.prepare() => {
                let (word, bit) = word_of(place);
                let Some(word) = self.waiting.get(word) else { return self.lock_yielding() };
                // The bit must be set before the waiter is counted, since a thread that passes the
                // lock on looks for bits only if a waiter is counted.
                word.fetch_or(bit, Ordering::SeqCst);
                let entered = self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |state| {
                    Some(if state & HELD == 0 { state | HELD } else { state + WAITER })
                });
                if entered.is_ok_and(|before| before & HELD == 0) {
                    // The lock was free after all. Only a holder removes bits, so this thread's is
                    // still set.
                    word.fetch_and(!bit, Ordering::SeqCst);
                    return;
                }
                // Only the thread that passes the lock on unparks this one: exactly once, and not
                // before.
                parker.wait();
            }
            _ => self.lock_yielding(),
        }
    }

    fn lock_yielding(&self) {
        while !lock_api::RawMutex::try_lock(self) {
            crate::syscall::yield_now();
        }
    }

    /// Passes the lock on to the next waiter in turn. The lock stays held throughout.
    #[cold]
    fn hand_on(&self) {
        let turn = self.turn.load(Ordering::Relaxed) as usize;
        let mut places = (turn + 1..PLACES).chain(0..=turn.min(PLACES - 1));
        // A waiter is counted, so there is a bit: of that waiter, or of one that is about to be
        // counted.
        let next = places.find(|&place| {
            let (word, bit) = word_of(place);
            self.waiting.get(word).is_some_and(|word| {
                word.load(Ordering::SeqCst) & bit != 0 && word.fetch_and(!bit, Ordering::SeqCst) & bit != 0
            })
        });
        if let Some(next) = next {
            self.turn.store(next as u32, Ordering::Relaxed);
            self.state.fetch_sub(WAITER, Ordering::SeqCst);
            if let Some(parker) = parker::of(next) {
                parker.unpark();
            }
        }
    }
}

/// The index of the word of the bit set that has a place's bit, and the bit.
fn word_of(place: usize) -> (usize, u64) {
    let bits = u64::BITS as usize;
    (place / bits, 1 << (place % bits))
}

// SAFETY: a thread holds the lock from the exchange that sets `HELD`, or from the moment at which
// the holder passes it on, until it clears `HELD` or passes it on; `HELD` stays set in between, and
// the lock is passed to one thread at a time.
unsafe impl lock_api::RawMutex for ThreadLock {
    #[allow(clippy::declare_interior_mutable_const, reason = "the initial value, as the trait wants it")]
    const INIT: ThreadLock =
        ThreadLock { state: AtomicU32::new(0), turn: AtomicU32::new(0), waiting: [const { AtomicU64::new(0) }; WORDS] };
    type GuardMarker = GuardSend;

    #[inline]
    fn lock(&self) {
        if !self.try_lock() {
            self.lock_slow();
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        self.state.compare_exchange(0, HELD, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    #[inline]
    unsafe fn unlock(&self) {
        if self.state.compare_exchange(HELD, 0, Ordering::SeqCst, Ordering::Relaxed).is_err() {
            self.hand_on();
        }
    }
}

/// A value behind this lock.
pub type Mutex<T> = lock_api::Mutex<ThreadLock, T>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parker::calls;
    use alloc::vec::Vec;
    use core::time::Duration;
    use std::sync::Barrier;
    use std::thread;

    #[test]
    fn nobody_in_the_way_it_takes_no_system_call() {
        let lock = Mutex::new(0);
        let before = calls();
        for _ in 0..1000 {
            *lock.lock() += 1;
            assert!(lock.try_lock().is_some());
        }
        assert_eq!((calls(), *lock.lock()), (before, 1000));
    }

    #[test]
    fn who_waits_does_not_spin() {
        let lock = Mutex::new(());
        let guard = lock.lock();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let before = calls();
                drop(lock.lock());
                calls() - before
            });
            thread::sleep(Duration::from_millis(100));
            assert!(lock.try_lock().is_none());
            drop(guard);
            assert_eq!(waiter.join().expect("it ends"), 1, "waits, however long it took");
        });
    }

    /// Many threads, and a count that comes out right only where one of them at a time is inside.
    #[test]
    fn one_at_a_time() {
        const THREADS: usize = 8;
        const TURNS: usize = 20_000;
        for round in 0..4_usize {
            let (lock, start) = (Mutex::new([0_usize; 2]), Barrier::new(THREADS));
            thread::scope(|scope| {
                for number in 0..THREADS {
                    let (lock, start) = (&lock, &start);
                    scope.spawn(move || {
                        start.wait();
                        for turn in 0..TURNS {
                            let mut both = lock.lock();
                            let [first, second] = *both;
                            assert_eq!(first, second, "somebody else was inside");
                            both[0] = first + 1;
                            if (turn + number).is_multiple_of(97 + round) {
                                thread::yield_now();
                            }
                            both[1] = second + 1;
                        }
                    });
                }
            });
            assert_eq!(*lock.lock(), [THREADS * TURNS; 2]);
        }
    }

    /// Where all come back at once, they have it in turn. Inside, each waits until all others have
    /// come back.
    #[test]
    fn nobody_is_passed_over() {
        const THREADS: usize = 6;
        const TURNS: usize = 200;
        let (lock, left) = (Mutex::new(Vec::new()), AtomicU32::new(THREADS as u32));
        thread::scope(|scope| {
            for number in 0..THREADS {
                let (lock, left) = (&lock, &left);
                scope.spawn(move || {
                    for turn in 1..=TURNS {
                        let mut order = lock.lock();
                        order.push(number);
                        if turn == TURNS {
                            left.fetch_sub(1, Ordering::SeqCst);
                        }
                        // SAFETY: the state is looked at, and the lock not touched.
                        let state = &unsafe { lock.raw() }.state;
                        let others = || left.load(Ordering::SeqCst) - u32::from(turn != TURNS);
                        while state.load(Ordering::SeqCst) / WAITER < others() {
                            thread::yield_now();
                        }
                    }
                });
            }
        });
        let order = lock.into_inner();
        assert_eq!(order.len(), THREADS * TURNS);
        // The first one took the lock before the others came, so that was not its turn, and it is
        // done one round before the others.
        for (at, turns) in order[..THREADS * (TURNS - 1)].windows(THREADS).enumerate().skip(1) {
            let mut sorted = turns.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), THREADS, "turns {at} and following: {turns:?}");
        }
    }

    #[test]
    fn without_a_place_it_works_all_the_same() {
        let lock = Mutex::new(0);
        thread::scope(|scope| {
            for _ in 0..PLACES + 8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        *lock.lock() += 1;
                        thread::yield_now();
                    }
                });
            }
        });
        assert_eq!(*lock.lock(), (PLACES + 8) * 50);
    }
}
