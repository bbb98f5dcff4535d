//! Lives that end before every single store, or before every pair of them.

use super::*;
use abi::TaskId;
use alloc::vec;
use alloc::vec::Vec;
use core::convert::Infallible;

mod large;
mod promise;
mod records;
mod turns;

crate::kept! {
    /// A store with a journal, and an inbox.
    pub struct Store {
        writes: Journal<8>,
        inbox: Inbox<u16, 16>,
        out: Ring<u8, 16>,
    }
}

const ALICE: TaskId = TaskId { index: 1, generation: 1 };
const BOB: TaskId = TaskId { index: 2, generation: 7 };

/// One life's part in a numbered write, a few bytes at a time; false where it gave way to another client in between.
fn write(store: &Store, task: TaskId, number: u64, text: &[u8], most: usize, world: &mut Vec<u8>) -> bool {
    let Begin::From(mut progress) = store.writes.begin(task, number, store.out.head()) else { return true };
    let mut goes = 0;
    while let Some(rest) = text.get(progress as usize..).filter(|rest| !rest.is_empty()) {
        if goes == most {
            return false;
        }
        goes += 1;
        progress += store.out.push(&rest[..rest.len().min(3)]) as u32;
        take(store, world);
    }
    store.writes.end(task, number);
    true
}

/// A device that is told where each byte belongs, so that doing it twice is as good as once.
fn take(store: &Store, world: &mut Vec<u8>) {
    while let Some(byte) = store.out.first() {
        let at = store.out.tail() as usize;
        world.resize(world.len().max(at + 1), 0);
        world[at] = byte;
        store.out.advance();
    }
}

/// Alice and Bob write at once; Bob comes between Alice's pieces where a life ended. Both repeat what was not answered.
fn writes_with_deaths(deaths: &[u64]) -> bool {
    let store = damage::memory::<Store>(0);
    store.clear();
    store.set_ready(3);
    let mut world = Vec::new();
    let mut answered = [0; 2];
    let texts: [&[&[u8]]; 2] = [&[b"alpha beta", b"gamma"], &[b"1234567", b"89"]];
    let mut whole = false;
    for (turn, death) in deaths.iter().map(|steps| Some(*steps)).chain([None]).enumerate() {
        whole = fuse::live(death, || {
            assert!(store.is_sound() && store.flags() == 3);
            // Who comes first differs from life to life.
            for who in [turn % 2, (turn + 1) % 2, turn % 2, (turn + 1) % 2] {
                let task = [ALICE, BOB][who];
                while let Some(text) = texts[who].get(answered[who]) {
                    assert!(write(store, task, answered[who] as u64 + 1, text, usize::MAX, &mut world));
                    // The answer is a step of its own: a death before it loses it.
                    fuse::tick();
                    answered[who] += 1;
                }
            }
        });
        if whole {
            break;
        }
    }
    assert!(whole);
    take(store, &mut world);
    // Each client's text is there once, whole and in order; between the pieces of one may be the other's.
    let of = |digits: bool| -> Vec<u8> { world.iter().copied().filter(|b| b.is_ascii_digit() == digits).collect() };
    assert_eq!(of(false), b"alpha betagamma", "died before {deaths:?}");
    assert_eq!(of(true), b"123456789", "died before {deaths:?}");
    deaths.first().is_none_or(|_| deaths.len() > 1)
}

/// Steps of a whole life of [`writes_with_deaths`].
const STEPS: u64 = 110;

#[test]
fn writes_are_done_once_whenever_lives_end() {
    writes_with_deaths(&[]);
    for first in 0..STEPS {
        writes_with_deaths(&[first]);
        for second in 0..STEPS {
            writes_with_deaths(&[first, second]);
        }
    }
    for first in (0..STEPS).step_by(3) {
        for second in (0..STEPS / 2).step_by(3) {
            for third in (0..40).step_by(2) {
                writes_with_deaths(&[first, second, third]);
            }
        }
    }
}

#[test]
fn a_life_has_no_more_steps_than_the_tests_end_it_before() {
    let store = damage::memory::<Store>(0);
    store.clear();
    let mut world = Vec::new();
    let life = || {
        for (task, number, text) in
            [(ALICE, 1, &b"alpha beta"[..]), (ALICE, 2, b"gamma"), (BOB, 1, b"1234567"), (BOB, 2, b"89")]
        {
            write(store, task, number, text, usize::MAX, &mut world);
            fuse::tick();
        }
    };
    assert!(fuse::live(Some(STEPS), life), "the tests must reach to its end");
}

/// A device puts elements into the slot, a reader numbers its reads.
fn reads_with_deaths(deaths: &[u64]) {
    let store = damage::memory::<Store>(0);
    store.clear();
    let (mut next, mut got, mut number) = (1_u16, Vec::new(), 1);
    for death in deaths.iter().map(|steps| Some(*steps)).chain([None]) {
        fuse::live(death, || {
            // What was in the slot when the last life ended is counted, or was.
            store.inbox.accept();
            for _ in 0..200 {
                if got.len() >= 40 {
                    break;
                }
                for _ in 0..5 {
                    if store.inbox.room() > 0 && next <= 40 {
                        // One instruction moves it from the device: no step lies between.
                        fuse::tick();
                        store.inbox.slot().atomic().store(next, Ordering::Release);
                        next += 1;
                        store.inbox.accept();
                    }
                }
                let mut answer = Vec::new();
                let read = store.inbox.read(BOB, number, 7, |at, part| {
                    assert_eq!(at, answer.len());
                    answer.extend_from_slice(part);
                    Ok::<(), Infallible>(())
                });
                assert_eq!(read, Ok(answer.len()));
                fuse::tick();
                got.extend(answer);
                number += 1;
            }
        });
    }
    assert_eq!(got, (1..=40).collect::<Vec<u16>>(), "died before {deaths:?}");
}

#[test]
fn elements_are_read_once_whenever_lives_end() {
    reads_with_deaths(&[]);
    for first in 0..220 {
        reads_with_deaths(&[first]);
        for second in (0..60).chain([100, 150]) {
            reads_with_deaths(&[first, second]);
        }
    }
}

crate::kept! {
    /// What a reader keeps: how far it has read, and a sum of what it did with each element. Both count by one store.
    pub struct ReaderStore {
        seen: Double<Progress>,
    }
}

crate::kept! {
    part struct Progress {
        position: Cell<u32>,
        sum: Cell<u64>,
    }
}

/// A driver and its reader, each of which may end before any of its steps, on one thread: a read that the driver dies over is asked again.
fn reads_by_position_with_deaths(deaths: &[u64]) {
    let (store, reader) = (damage::memory::<Store>(0), damage::memory::<ReaderStore>(0));
    store.set_ready(0);
    reader.set_ready(0);
    // One is always before a store of the other's, so both lives end with the fuse: as if machine-wide, which is the worst.
    for death in deaths.iter().map(|steps| Some(*steps)).chain([None]) {
        fuse::live(death, || {
            assert!(store.is_sound());
            loop {
                let current = reader.seen.current();
                let (mut position, mut sum) = (current.position.get(), current.sum.get());
                let mut taken = Vec::new();
                let give = |_: usize, part: &[u16]| {
                    taken.extend_from_slice(part);
                    Ok::<(), Infallible>(())
                };
                let Ok(run) = store.inbox.read_from(position, 5, give);
                assert_eq!((run.first, run.count as usize), (position, taken.len()));
                for element in taken {
                    // Each is the number of its place: none is missing, none comes twice.
                    assert_eq!(u32::from(element), position + 1);
                    position += 1;
                    sum = sum.wrapping_mul(31).wrapping_add(element.into());
                    let spare = reader.seen.spare();
                    spare.position.put(position);
                    spare.sum.put(sum);
                    reader.seen.turn();
                }
                let head = store.inbox.ring().head();
                if head == 40 && position == 40 {
                    break;
                }
                for number in head..40 {
                    if store.inbox.room() == 0 {
                        break;
                    }
                    store.inbox.slot().put(number as u16 + 1);
                    store.inbox.accept();
                }
            }
        });
    }
    let sum = (1..=40).fold(0_u64, |sum, element| sum.wrapping_mul(31).wrapping_add(element));
    let seen = reader.seen.current();
    assert_eq!((seen.position.get(), seen.sum.get()), (40, sum));
}

#[test]
fn elements_are_read_once_by_position_whenever_both_lives_end() {
    for first in 0..400 {
        reads_by_position_with_deaths(&[first]);
        reads_by_position_with_deaths(&[first, first / 2, 7]);
        reads_by_position_with_deaths(&[7, first, first]);
    }
}

#[test]
fn a_position_where_nothing_lies_begins_with_what_there_is() {
    let store = damage::memory::<Store>(0);
    let fill = |elements: &[u16]| {
        for element in elements {
            store.inbox.slot().put(*element);
            assert!(store.inbox.accept());
        }
    };
    let read = |position: u32, capacity| {
        let mut taken = Vec::new();
        let Ok(run) = store.inbox.read_from(position, capacity, |_, part| {
            taken.extend_from_slice(part);
            Ok::<(), Infallible>(())
        });
        (run.first, taken)
    };
    fill(&[1, 2, 3, 4]);
    assert_eq!(read(1000, 2), (0, vec![1, 2]), "the driver has begun anew");
    assert_eq!(read(2, 8), (2, vec![3, 4]));
    assert_eq!(read(1, 8), (2, vec![3, 4]), "another reader has taken it");
    assert_eq!(read(4, 8), (4, vec![]));
    assert!(store.inbox.is_empty());
    fill(&[5]);
    // A numbered reader takes what that one was given.
    assert_eq!(read(4, 8), (4, vec![5]));
    let Ok(count) = store.inbox.read(ALICE, 1, 8, |_, _| Ok::<(), Infallible>(()));
    assert_eq!((count, store.inbox.ring().tail()), (0, 5));
    // Positions wrap.
    let end = u32::MAX - 1;
    store.inbox.scramble(end, end, end);
    fill(&[6, 7, 8]);
    assert_eq!(read(end, 2), (end, vec![6, 7]));
    assert_eq!(read(end.wrapping_add(2), 2), (0, vec![8]));
    assert_eq!(read(1, 2), (1, vec![]));
}

#[test]
fn what_is_left_is_taken_up_and_anything_else_starts_clean() {
    crate::kept! {
        pub struct Other {
            writes: Journal<8>,
            inbox: Inbox<u16, 16>,
            out: Ring<u8, 32>,
        }
    }
    let store = damage::memory::<Store>(0);
    assert_eq!(store.found(), Found::Nothing, "a first boot");
    assert!(!store.resume());
    store.set_ready(5);
    store.out.push(b"kept");
    assert_eq!((store.found(), store.flags()), (Found::Same, 5));
    assert!(store.resume() && Store::is_stamp(store.stamp.get()) && !Other::is_stamp(store.stamp.get()));
    for bit in 0..64 {
        damage::flip(store, bit);
        assert_eq!(store.found(), Found::Other, "bit {bit} of the stamp");
        damage::flip(store, bit);
    }
    assert_eq!(store.out.len(), 4);
    store.out.scramble(17, 0);
    assert_eq!(store.found(), Found::Damaged);
    assert!(!store.resume());
    assert_eq!((store.found(), store.out.len()), (Found::Nothing, 0), "it starts clean");
    let other = damage::memory::<Other>(0);
    other.set_ready(1);
    other.out.push(b"forgotten");
    let store = damage::again::<Other, Store>(other);
    assert_eq!(store.found(), Found::Other);
    assert!(!store.resume() && store.out.is_empty());
}

mod grown {
    use super::*;

    crate::kept! {
        /// What [`Store`] may become.
        pub struct Store {
            writes: Journal<8>,
            inbox: Inbox<u16, 16>,
            out: Ring<u8, 16>,
            pub name: Blob<8>,
            pub count: Cell<u32>,
        }
    }

    impl Store {
        pub fn text(&self) -> Vec<u8> {
            (0..self.out.len()).map(|at| self.out.cell(self.out.tail() + at).get()).collect()
        }
    }
}

#[test]
fn a_field_that_is_appended_forgets_nothing() {
    // Memory of the size that the task table grants, whatever the program needs of it.
    let memory = || damage::memory::<grown::Store>(0);
    let filled = |memory| {
        let old = damage::again::<grown::Store, Store>(memory);
        old.resume();
        old.set_ready(9);
        old.out.push(b"old");
        old
    };
    let new = memory();
    filled(new);
    // Where the new fields will lie, there may be anything.
    new.count.put(u32::MAX);
    assert_eq!(new.found(), Found::Grown(3));
    assert!(new.resume());
    assert_eq!((new.found(), new.flags()), (Found::Same, 9));
    assert_eq!((new.text(), new.name.get(), new.count.get()), (b"old".to_vec(), Vec::new(), 0));
    // The program of before does not know what the new fields mean: it starts clean.
    assert_eq!(damage::again::<grown::Store, Store>(new).found(), Found::Other);
    // A life may end while it takes it up.
    for steps in 0..20 {
        let new = memory();
        filled(new);
        new.count.put(u32::MAX);
        let whole = fuse::live(Some(steps), || _ = new.resume());
        assert!(new.resume(), "died before {steps}");
        assert_eq!((new.text(), new.count.get()), (b"old".to_vec(), 0), "died before {steps}");
        assert!(whole || steps < 10);
    }
    // A damaged field is damage, also where others were appended.
    let new = memory();
    filled(new).out.scramble(17, 0);
    assert_eq!(new.found(), Found::Damaged);
}

crate::kept! {
    /// A state of many places.
    pub part struct Picture {
        rows: [Bytes<16>; 3],
        title: Blob<12>,
    }
}

crate::kept! {
    pub struct Gallery {
        picture: Double<Picture>,
        done: LastDone<8>,
    }
}

#[test]
fn a_double_shows_the_state_before_or_the_one_after_whenever_lives_end() {
    let paint = |gallery: &Gallery, color: u8| {
        if gallery.done.is_done(ALICE, color.into()) {
            return;
        }
        let spare = gallery.picture.spare();
        spare.rows.iter().for_each(|row| row.put(&[color; 16]));
        assert!(spare.title.set(&[color; 12][..color as usize]));
        gallery.picture.turn();
        gallery.done.set(ALICE, color.into());
    };
    for steps in 0..80 {
        let gallery = damage::memory::<Gallery>(0);
        gallery.clear();
        gallery.set_ready(0);
        paint(gallery, 1);
        paint(gallery, 2);
        let whole = fuse::live(Some(steps), || paint(gallery, 3));
        assert!(gallery.resume());
        let current = gallery.picture.current();
        let color = current.rows[0].get()[0];
        assert!(color == 2 || color == 3);
        assert!(current.rows.iter().all(|row| row.get() == [color; 16]), "died before {steps}");
        assert_eq!(current.title.get(), vec![color; color as usize], "died before {steps}");
        assert!(whole || steps < 60);
        paint(gallery, 3);
        assert_eq!(gallery.picture.current().title.get(), [3; 3]);
    }
}

#[test]
fn a_blob_is_whole_or_empty() {
    let gallery = damage::memory::<Gallery>(0);
    let title = &gallery.picture.current().title;
    assert!(title.set(b"twelve bytes"));
    assert_eq!(title.text(), "twelve bytes");
    for steps in 0..8 {
        assert!(title.set(b"before"));
        let whole = fuse::live(Some(steps), || _ = title.set(b"after"));
        let text = title.text();
        assert!(
            text == if whole {
                "after"
            } else if steps == 0 {
                "before"
            } else {
                ""
            },
            "{steps}: {text}"
        );
    }
    assert!(!title.set(b"thirteen byte"));
    assert_eq!(title.text(), "");
    assert!(title.set(&[0xff]));
    assert_eq!((title.text().as_str(), title.get()), ("", vec![0xff]));
    for bit in 0..32 {
        damage::flip(title, bit);
        assert!(title.get().len() <= 12);
        damage::flip(title, bit);
    }
}

#[test]
fn whatever_the_memory_holds_nothing_leads_outside() {
    for fill in [0x00, 0x55, 0xaa, 0xff] {
        for bit in (0..size_of::<Store>() * 8).step_by(7) {
            let store = damage::memory::<Store>(fill);
            store.set_ready(0);
            damage::flip(store, bit);
            store.out.push(b"abc");
            store.out.first();
            store.out.advance();
            store.inbox.accept();
            store.writes.begin(ALICE, 1, store.out.head());
            store.writes.end(TaskId { index: 900, generation: 1 }, 1);
            let _ = store.inbox.read(ALICE, 1, 5, |_, _| Ok::<(), Infallible>(()));
        }
    }
}
