//! The lock of what the threads of a task share: the runtime's own data, the heap, and what programs put in a [`crate::sync::Mutex`].
//!
//! Nobody in the way, locking and unlocking are one compare-and-swap each, without a system call. Who finds it held enters itself and waits
//! on a notification of its own, at no cost to anybody; who unlocks hands the lock on to the next in turn. So a
//! thread of lower priority that holds it gets on with its work, and none that waits is passed over: it has its turn when each of the others has
//! had at most one. Waiting allocates nothing, which is why the heap can use it.
//!
//! A thread on a stack that [`crate::thread::spawn`] did not make has no place to be entered at, and so has one for which the quota has no
//! notification left: these try again and again, and let others run in between.

use crate::parker;
use crate::thread::{PLACES, place};
use allocators::lock_api::{self, GuardSend};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The lock is held. It is free only where nobody waits, so that 0 is the state of a free lock.
const HELD: u32 = 1;
/// One waiter: above that bit they are counted.
const WAITER: u32 = 2;

const WORDS: usize = PLACES.div_ceil(u64::BITS as usize);

/// The raw lock.
#[derive(Debug)]
pub struct ThreadLock {
    state: AtomicU32,
    /// The place that it was handed to last.
    turn: AtomicU32,
    /// Who waits, by place. Who takes a bit out has handed the lock to that thread.
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
                // First the bit, then the count: who hands on looks for a bit only where one is counted.
                word.fetch_or(bit, Ordering::SeqCst);
                let entered = self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |state| {
                    Some(if state & HELD == 0 { state | HELD } else { state + WAITER })
                });
                if entered.is_ok_and(|before| before & HELD == 0) {
                    // It was free after all. Only a holder takes bits out, so ours is still there.
                    word.fetch_and(!bit, Ordering::SeqCst);
                    return;
                }
                // It is unparked by who hands the lock to us, and by nobody else: once, then, and not at all before that.
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

    /// Hands the lock on to the next in turn. It stays held throughout.
    #[cold]
    fn hand_on(&self) {
        let turn = self.turn.load(Ordering::Relaxed) as usize;
        let mut places = (turn + 1..PLACES).chain(0..=turn.min(PLACES - 1));
        // Somebody is counted, so there is a bit: of that one, or of one who will be counted in a moment.
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

/// In which word of the set a place has its bit.
fn word_of(place: usize) -> (usize, u64) {
    let bits = u64::BITS as usize;
    (place / bits, 1 << (place % bits))
}

// SAFETY: a thread holds the lock from the exchange by which it set `HELD`, or from being handed it by the holder, until it clears `HELD`
// or hands it on; `HELD` stays set in between, and one thread is handed it at a time.
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

/// A value behind such a lock.
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

    /// Where all come back at once, they have it in turn. Inside, each waits until all others have come back.
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
        // The first one took the lock before the others came, so that was not its turn, and it is done one round before the others.
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
