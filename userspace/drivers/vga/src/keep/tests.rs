use super::*;
use alloc::vec::Vec;
use proptest::prelude::*;

const CLIENT: TaskId = TaskId { index: 5, generation: 1 };
const OTHER: TaskId = TaskId { index: 6, generation: 1 };

/// Memory whose owner dies after a number of byte stores: later ones do not happen. A word is stored whole or not at all.
struct Mortal {
    bytes: Vec<u8>,
    left: usize,
}

impl Mortal {
    fn new(left: usize) -> Mortal {
        Mortal { bytes: alloc::vec![0; KEEP_LEN], left }
    }
}

impl Store for Mortal {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let n = bytes.len().min(self.left);
        self.bytes[offset..offset + n].copy_from_slice(&bytes[..n]);
        self.left -= n;
    }
    fn publish(&mut self, offset: usize, word: u32) {
        assert_eq!(offset % 4, 0);
        if self.left > 0 {
            self.bytes[offset..offset + 4].copy_from_slice(&word.to_le_bytes());
            self.left -= 1;
        }
    }
}

/// The driver's part of one write, in pieces.
fn write<S: Store>(session: &mut Session<S>, task: TaskId, sequence: u64, text: &[u8], piece: usize) {
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
    let (mut session, _) = Session::open(Mortal::new(usize::MAX)).unwrap();
    for (i, text) in texts.iter().enumerate() {
        write(&mut session, CLIENT, i as u64 + 1, text, piece);
    }
    clean(session.screen().clone())
}

fn clean(mut screen: Screen) -> Screen {
    screen.take_dirty();
    screen
}

/// Writes the texts in lives of `lifetimes` byte stores each (then without end); every write that a life did not finish is repeated in
/// the next. Returns the screen, and how many lives it took.
fn lives(texts: &[Vec<u8>], piece: usize, lifetimes: &mut dyn Iterator<Item = usize>) -> (Screen, usize) {
    let mut bytes = alloc::vec![0; KEEP_LEN];
    let mut next = 0;
    for count in 1.. {
        let left = lifetimes.next().unwrap_or(usize::MAX);
        let (mut session, _) = Session::open(Mortal { bytes, left }).unwrap();
        while next < texts.len() {
            write(&mut session, CLIENT, next as u64 + 1, &texts[next], piece);
            // Whoever died before the end of the write did not answer.
            if session.store.left == 0 {
                break;
            }
            next += 1;
        }
        if next == texts.len() {
            return (clean(session.screen().clone()), count);
        }
        bytes = session.store.bytes;
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
    let mut before = Session::open(Mortal::new(usize::MAX)).unwrap().0;
    before.feed(CLIENT, 1, 0, b"before\n", true);
    before.change(|_| {});
    before.change(|_| {});
    let whole = {
        let (mut s, _) = Session::open(Mortal { bytes: before.store.bytes.clone(), left: usize::MAX }).unwrap();
        s.behind = Changes::default();
        s.screen.take_dirty();
        write(&mut s, CLIENT, 2, text, 6);
        s
    };
    let mut deaths = 0;
    let mut progress = alloc::collections::BTreeSet::new();
    for left in 0.. {
        let (mut s, _) = Session::open(Mortal { bytes: before.store.bytes.clone(), left }).unwrap();
        // The slots are equal: small commits from the start.
        s.behind = Changes::default();
        s.screen.take_dirty();
        write(&mut s, CLIENT, 2, text, 6);
        if s.store.left > 0 {
            break;
        }
        deaths += 1;
        let (mut s, _) = Session::open(Mortal { bytes: s.store.bytes, left: usize::MAX }).unwrap();
        progress.insert(match s.begin(CLIENT, 2) {
            Begin::From(at) => at,
            Begin::Done => text.len(),
        });
        write(&mut s, CLIENT, 2, text, 6);
        assert_eq!(clean(s.screen().clone()), clean(whole.screen().clone()), "death after {left} stores");
        assert_eq!(s.records, whole.records);
    }
    assert!(deaths > 3 * (STATE_LEN + RECORD), "{deaths}");
    assert!(progress.into_iter().eq([0, 6, 12, text.len()]));
}

#[test]
fn death_anywhere_in_a_long_story_changes_nothing() {
    let texts = texts();
    for (piece, stride) in [(1, 1999), (7, 997), (512, 499)] {
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
    let (session, restored) = Session::open(Mortal::new(usize::MAX)).unwrap();
    assert!(!restored);
    let (_, restored) = Session::open(session.store).unwrap();
    assert!(restored);
    assert!(Session::open(Mortal { bytes: alloc::vec![0; KEEP_LEN - 1], left: 0 }).is_none());
}

#[test]
fn numbers_are_obeyed() {
    let (mut s, _) = Session::open(Mortal::new(usize::MAX)).unwrap();
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
    let (mut s, _) = Session::open(Mortal::new(usize::MAX)).unwrap();
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

#[test]
fn both_slots_agree_after_two_commits_without_changes() {
    let (mut s, _) = Session::open(Mortal::new(usize::MAX)).unwrap();
    for (i, text) in texts().iter().enumerate() {
        write(&mut s, CLIENT, i as u64 + 1, text, 5);
        s.change(|_| {});
        s.change(|_| {});
        let slot = |n: usize| &s.store.bytes[HEAD + n * SLOT..][..SLOT];
        assert!(slot(0) == slot(1), "after text {i}");
    }
}

#[test]
fn mapped_memory_is_a_store() {
    #[repr(align(4096))]
    struct Pages([u8; KEEP_LEN]);
    let mut pages = Pages([0; KEEP_LEN]);
    let (mut s, _) = Session::open(&mut pages.0[..]).unwrap();
    s.feed(CLIENT, 1, 0, b"kept", true);
    let screen = clean(s.screen().clone());
    let (s, restored) = Session::open(&mut pages.0[..]).unwrap();
    assert!(restored);
    assert_eq!(clean(s.screen().clone()), screen);
    assert_eq!(s.begin(CLIENT, 1), Begin::Done);
}

#[test]
fn with_any_bit_of_kept_memory_changed_the_driver_comes_up_and_serves() {
    let (mut s, _) = Session::open(Mortal::new(usize::MAX)).unwrap();
    write(&mut s, CLIENT, 1, b"\x1b[31mfirst\x1b[", 5);
    s.feed(CLIENT, 2, 0, b"3;", false);
    let bytes = s.store.bytes;
    // Head, terminal and records of both slots bit by bit; of the cells, which are no more than cells, some.
    let state = |slot: usize| (HEAD + slot * SLOT) * 8..(HEAD + slot * SLOT + RECORDS_AT + 10 * RECORD) * 8;
    for bit in (0..HEAD * 8).chain(state(0)).chain(state(1)).chain((0..KEEP_LEN * 8).step_by(1009)) {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let (mut s, _) = Session::open(Mortal { bytes, left: usize::MAX }).unwrap();
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
        let (mut s, _) = Session::open(Mortal::new(usize::MAX)).unwrap();
        s.feed(CLIENT, 1, 0, &text[..cut], false);
        let mut bytes = s.store.bytes;
        let other = HEAD + (1 - s.in_use) * SLOT;
        for (i, b) in bytes[other..other + SLOT].iter_mut().enumerate() {
            *b = rubbish[i % rubbish.len()];
        }
        let (mut s, _) = Session::open(Mortal { bytes, left: usize::MAX }).unwrap();
        write(&mut s, CLIENT, 1, &text, 512);
        prop_assert_eq!(clean(s.screen().clone()), expected);
        s.change(|_| {});
        s.change(|_| {});
        let slot = |n: usize| &s.store.bytes[HEAD + n * SLOT..][..SLOT];
        prop_assert!(slot(0) == slot(1));
    }

    /// Kept memory that something spoilt gives some screen, never a panic.
    #[test]
    fn any_memory_opens(seed in prop::collection::vec(any::<u8>(), 251), text in crate::stream::tests::traffic()) {
        let mut bytes: Vec<u8> = seed.iter().copied().cycle().take(KEEP_LEN).collect();
        bytes[..4].copy_from_slice(&VERSION.to_le_bytes());
        let (mut s, restored) = Session::open(Mortal { bytes, left: usize::MAX }).unwrap();
        prop_assert!(restored);
        for index in 0..MAX_TASKS as u16 {
            for record in &s.records {
                prop_assert!(record.pending.bytes().len() <= PENDING_MAX);
            }
            write(&mut s, TaskId { index, generation: 1 }, u64::MAX, &text[..text.len().min(9)], 3);
        }
    }
}
