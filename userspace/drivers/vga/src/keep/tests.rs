use super::*;
use alloc::vec::Vec;
use proptest::prelude::*;
use rt::keep::damage;
use rt::keep::fuse::live;

const CLIENT: TaskId = TaskId { index: 5, generation: 1 };
const OTHER: TaskId = TaskId { index: 6, generation: 1 };

/// A session over memory of a first boot.
fn fresh() -> Session {
    Session::open(damage::memory(0)).0
}

/// The driver's part of one write, in pieces.
fn write(session: &mut Session, task: TaskId, sequence: u64, text: &[u8], piece: usize) {
    let Begin::From(mut at) = session.begin(task, sequence) else {
        return;
    };
    loop {
        let end = (at + piece).min(text.len());
        session.feed(task, sequence, at, &text[at.min(end)..end], end == text.len());
        at = end;
        if at == text.len() {
            break;
        }
    }
}

fn life(texts: &[Vec<u8>], piece: usize) -> Screen {
    let mut session = fresh();
    for (i, text) in texts.iter().enumerate() {
        write(&mut session, CLIENT, i as u64 + 1, text, piece);
    }
    clean(session.screen().clone())
}

fn clean(mut screen: Screen) -> Screen {
    screen.take_dirty();
    screen
}

/// Writes the texts in lives of `lifetimes` stores each (then without end); every write that a life did not finish is repeated in
/// the next. Returns the screen, and how many lives it took.
fn lives(texts: &[Vec<u8>], piece: usize, lifetimes: &mut dyn Iterator<Item = usize>) -> (Screen, usize) {
    let keep = damage::memory(0);
    let mut next = 0;
    for count in 1.. {
        let mut screen = None;
        let whole = live(lifetimes.next().map(|steps| steps as u64), || {
            let (mut session, _) = Session::open(keep);
            while next < texts.len() {
                write(&mut session, CLIENT, next as u64 + 1, &texts[next], piece);
                next += 1;
            }
            screen = Some(clean(session.screen().clone()));
        });
        if whole && let Some(screen) = screen {
            return (screen, count);
        }
    }
    unreachable!()
}

fn texts() -> Vec<Vec<u8>> {
    [
        &b"hello\x1b[1;3"[..],
        b"1m red\n\x1b[0mK\xc3\xa4se \xe2\x94",
        b"\x80\x1b]0;ti",
        b"tle\x07done\n",
        b"\x1b[25;1Hscroll\nmore\n",
        b"\x1b[2J\x1b[5;5Hx\x1b7\x1b[?25l\x1b[3;9r",
        b"",
        &[b'y'; 100],
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

/// Every store of one numbered write in three pieces: between setting out on it and its being finished, there is no bad moment.
#[test]
fn death_after_every_store_of_a_write_changes_nothing() {
    let text = b"\x1b[33m\xe2\x94\x80 a\x1b[1";
    // What a life leaves that has written one text; the slots are equal: small commits from the start.
    let before = || {
        let mut before = fresh();
        before.feed(CLIENT, 1, 0, b"before\n", true);
        before.change(|_| {});
        before.change(|_| {});
        let (mut session, _) = Session::open(before.keep);
        session.behind = Changes::default();
        session.screen.take_dirty();
        session
    };
    let whole = {
        let mut s = before();
        write(&mut s, CLIENT, 2, text, 6);
        s
    };
    let mut deaths = 0;
    let mut progress = alloc::collections::BTreeSet::new();
    for left in 0.. {
        let mut s = before();
        let keep = s.keep;
        if live(Some(left), || write(&mut s, CLIENT, 2, text, 6)) {
            break;
        }
        deaths += 1;
        let (mut s, _) = Session::open(keep);
        progress.insert(match s.begin(CLIENT, 2) {
            Begin::From(at) => at,
            Begin::Done => text.len(),
        });
        write(&mut s, CLIENT, 2, text, 6);
        assert_eq!(clean(s.screen().clone()), clean(whole.screen().clone()), "death before store {left}");
        assert_eq!(s.records, whole.records);
    }
    // Of each piece: three stores of the state, three of the record, and the one that makes them valid.
    assert!(deaths > 3 * 7, "{deaths}");
    // A death before the last word finds the last piece undone.
    assert!(progress.into_iter().eq([0, 6, 12]));
}

#[test]
fn death_anywhere_in_a_long_story_changes_nothing() {
    let texts = texts();
    for (piece, stride) in [(1, 23), (7, 3), (512, 1)] {
        let expected = life(&texts, piece);
        let mut deaths = 0;
        for lifetime in (0..).map(|i| i * stride) {
            let (screen, count) = lives(&texts, piece, &mut [lifetime].into_iter());
            assert_eq!(screen, expected, "piece {piece}, death after {lifetime} stores");
            if count == 1 {
                // It lived through the whole story.
                break;
            }
            deaths += 1;
        }
        assert!(deaths > 15, "{deaths}");
    }
}

#[test]
fn the_first_boot_is_told_from_a_restart() {
    let (session, restored) = Session::open(damage::memory(0));
    assert!(!restored);
    let (_, restored) = Session::open(session.keep);
    assert!(restored);
}

#[test]
fn numbers_are_obeyed() {
    let mut s = fresh();
    assert_eq!(s.begin(CLIENT, 1), Begin::From(0));
    s.feed(CLIENT, 1, 0, b"abc", false);
    assert_eq!(s.begin(CLIENT, 1), Begin::From(3));
    assert_eq!(s.begin(CLIENT, 0), Begin::From(0));
    assert_eq!(s.begin(OTHER, 1), Begin::From(0));
    s.feed(CLIENT, 1, 3, b"d", true);
    assert_eq!(s.begin(CLIENT, 1), Begin::Done);
    assert_eq!(s.begin(CLIENT, 2), Begin::From(0));
    s.feed(CLIENT, 2, 0, b"", true);
    // A client repeats its last write and none before: else a bit that changes in what is kept could have all later writes dropped.
    assert_eq!(s.begin(CLIENT, 1), Begin::From(0));
    // A write without a number leaves the numbers alone.
    s.feed(CLIENT, 0, 0, b"e", true);
    assert_eq!(s.begin(CLIENT, 2), Begin::Done);
    // The client's next life counts from 1 again.
    let reborn = TaskId { generation: 2, ..CLIENT };
    assert_eq!(s.begin(reborn, 1), Begin::From(0));
    s.feed(reborn, 1, 0, b"f", true);
    assert_eq!(s.begin(CLIENT, 3), Begin::From(0));
    assert_eq!(s.screen().cursor(), (6, 0));
}

#[test]
fn clients_do_not_get_into_each_others_sequences() {
    let mut s = fresh();
    s.feed(CLIENT, 1, 0, b"\x1b[3", true);
    s.feed(OTHER, 1, 0, b"1m\xc3", true);
    s.feed(CLIENT, 2, 0, b";5H", true);
    s.feed(OTHER, 2, 0, b"\xa4", true);
    assert_eq!(s.screen().row(2)[4] as u8, 0x84);
    // A new life of a client does not inherit half a sequence.
    s.feed(CLIENT, 3, 0, b"\x1b[", true);
    s.feed(TaskId { generation: 2, ..CLIENT }, 1, 0, b"H", true);
    assert_eq!(s.screen().row(2)[5] as u8, b'H');
}

fn content(slot: &Slot) -> Vec<u8> {
    let records = slot.records.iter().flat_map(Bytes::get);
    slot.state.get().into_iter().chain(records).chain(slot.rows.iter().flat_map(Bytes::get)).collect()
}

#[test]
fn both_slots_agree_after_two_commits_without_changes() {
    let mut s = fresh();
    for (i, text) in texts().iter().enumerate() {
        write(&mut s, CLIENT, i as u64 + 1, text, 5);
        s.change(|_| {});
        s.change(|_| {});
        assert!(content(s.keep.slots.current()) == content(s.keep.slots.spare()), "after text {i}");
    }
}

#[test]
fn what_was_written_is_there_in_the_next_life() {
    let mut s = fresh();
    s.feed(CLIENT, 1, 0, b"kept", true);
    let screen = clean(s.screen().clone());
    let (s, restored) = Session::open(s.keep);
    assert!(restored);
    assert_eq!(clean(s.screen().clone()), screen);
    assert_eq!(s.begin(CLIENT, 1), Begin::Done);
}

#[test]
fn with_any_bit_of_kept_memory_changed_the_driver_comes_up_and_serves() {
    const HEAD: usize = size_of::<Keep>() - 2 * size_of::<Slot>();
    let used = || {
        let mut s = fresh();
        write(&mut s, CLIENT, 1, b"\x1b[31mfirst\x1b[", 5);
        s.feed(CLIENT, 2, 0, b"3;", false);
        s.keep
    };
    let keep = used();
    let before = damage::bytes(keep);
    // Head, terminal and records of both slots bit by bit; of the cells, which are no more than cells, some.
    let state = |slot: usize| {
        let at = HEAD + slot * size_of::<Slot>();
        at * 8..(at + STATE_LEN + 10 * RECORD) * 8
    };
    let all = size_of::<Keep>() * 8;
    for bit in (0..HEAD * 8).chain(state(0)).chain(state(1)).chain((0..all).step_by(1009)) {
        damage::fill(keep, before.iter().copied());
        damage::flip(keep, bit);
        let (mut s, _) = Session::open(keep);
        // The write that was cut off is repeated; then, as a client repaints: whatever was begun is ended, and everything is set back.
        for (number, text) in [(2, &b"3;5H"[..]), (3, b"\x18\x1bc"), (4, b"hello\n"), (5, b"world")] {
            write(&mut s, CLIENT, number, text, 64);
        }
        let mut fresh = Screen::default();
        Stream::default().feed(&mut fresh, b"hello\nworld");
        assert!(clean(s.screen().clone()) == clean(fresh), "bit {bit}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_number_of_deaths_changes_nothing(
        texts in prop::collection::vec(crate::stream::tests::traffic(), 1..5),
        piece in 1usize..40,
        lifetimes in prop::collection::vec(0usize..30_000, 0..8),
    ) {
        let expected = life(&texts, piece);
        let (screen, _) = lives(&texts, piece, &mut lifetimes.into_iter());
        prop_assert_eq!(screen, expected);
    }

    /// The slot not in use may hold anything at all: that covers every order of the stores of a commit.
    #[test]
    fn the_slot_not_in_use_does_not_count(
        text in crate::stream::tests::traffic(),
        cut in any::<prop::sample::Index>(),
        rubbish in prop::collection::vec(any::<u8>(), 64),
    ) {
        let expected = life(core::slice::from_ref(&text), 512);
        let cut = cut.index(text.len() + 1);
        let mut s = fresh();
        s.feed(CLIENT, 1, 0, &text[..cut], false);
        damage::fill(s.keep.slots.spare(), rubbish.iter().copied().cycle());
        let (mut s, _) = Session::open(s.keep);
        write(&mut s, CLIENT, 1, &text, 512);
        prop_assert_eq!(clean(s.screen().clone()), expected);
        s.change(|_| {});
        s.change(|_| {});
        prop_assert!(content(s.keep.slots.current()) == content(s.keep.slots.spare()));
    }

    /// Kept memory that something spoilt gives some screen, never a panic.
    #[test]
    fn any_memory_opens(seed in prop::collection::vec(any::<u8>(), 251), text in crate::stream::tests::traffic()) {
        let keep = damage::memory::<Keep>(0);
        damage::fill(keep, seed.iter().copied().cycle());
        keep.set_ready(0);
        let (mut s, restored) = Session::open(keep);
        prop_assert!(restored);
        for index in 0..MAX_TASKS as u16 {
            for record in &s.records {
                prop_assert!(record.pending.bytes().len() <= PENDING_MAX);
            }
            write(&mut s, TaskId { index, generation: 1 }, u64::MAX, &text[..text.len().min(9)], 3);
        }
    }
}
