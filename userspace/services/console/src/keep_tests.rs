//! What a next life finds, after a life that ended anywhere.

use super::*;
use crate::key::Key;
use crate::typed::Source;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;
use rt::keep::damage;
use rt::keep::fuse::live;

fn id(index: u16, generation: u32) -> TaskId {
    TaskId { index, generation }
}

fn typed_text(text: &str) -> TypeAhead {
    let mut typed = TypeAhead::default();
    text.chars().filter_map(Key::from_char).for_each(|key| typed.push(Source::Serial, key));
    typed
}

fn done(number: u64) -> Progress {
    Progress { number, screen: 5, serial: 4, finished: true }
}

fn keep() -> &'static Keep {
    let keep = damage::memory::<Keep>(0);
    assert!(!keep.resume());
    keep.set_ready(0);
    keep
}

/// Everything that is kept of an input, to be compared.
#[derive(Clone, PartialEq, Debug)]
struct Seen {
    draft: Draft,
    ending: Option<Ending>,
    given: Option<(TaskId, u32)>,
    typed: Vec<u32>,
    skipping: u32,
    positions: [u32; 2],
    decoder: SerialDecoder,
    missed: bool,
}

fn seen(input: &Input) -> Seen {
    let Input { draft, ending, given, typed, positions, decoder, missed } = input;
    Seen {
        draft: draft.clone(),
        ending: *ending,
        given: *given,
        typed: typed.codes_from(0).collect(),
        skipping: typed.skipping(),
        positions: *positions,
        decoder: decoder.clone(),
        missed: *missed,
    }
}

fn an_input() -> Input {
    let mut decoder = SerialDecoder::default();
    b"\x1b[12;".iter().for_each(|byte| decoder.feed(*byte, |_| {}));
    Input {
        draft: Draft { text: "half a línea".into(), cursor: 4, is_cut: true },
        ending: Some(Ending::EndOfInput),
        given: Some((id(4, 2), 77)),
        typed: typed_text("ahead\n"),
        positions: [3, u32::MAX],
        decoder,
        missed: true,
    }
}

#[test]
fn the_first_life_finds_nothing_and_the_second_everything() {
    let keep = keep();
    assert_eq!(seen(&keep.input()), seen(&Input::default()));
    assert_eq!((keep.history().as_str(), keep.positions()), ("", [0; MAX_TASKS]));
    keep.set_input(&an_input());
    keep.set_history("one\ntwo\n");
    keep.set_positions(&core::array::from_fn(|i| i as u64 * 3));
    keep.set_writer(id(4, 2), done(9));
    assert!(keep.resume());
    assert_eq!(seen(&keep.input()), seen(&an_input()));
    assert_eq!((keep.history().as_str(), keep.positions()[63]), ("one\ntwo\n", 189));
    assert_eq!(keep.writer(id(4, 2)), Some(done(9)));
    assert_eq!(keep.writer(id(4, 3)), None, "another life is another client");
    assert_eq!(keep.writer(id(0, 0)), None);
}

#[test]
fn rubbish_of_another_layout_is_wiped() {
    let keep = damage::memory::<Keep>(0xa5);
    assert!(!keep.resume());
    assert_eq!(keep.positions(), [0; MAX_TASKS]);
    assert_eq!(seen(&keep.input()), seen(&Input::default()));
    assert_eq!(keep.writer(id(1, 1)), None);
}

#[test]
fn each_task_has_a_place_for_its_last_write() {
    let keep = keep();
    for index in 0..MAX_TASKS as u16 {
        keep.set_writer(id(index, 1), done(1));
    }
    keep.set_writer(id(0, 1), done(2));
    keep.set_writer(id(u16::MAX, 1), done(1));
    assert_eq!(keep.writer(id(u16::MAX, 1)), None, "there is no such task");
    assert_eq!(keep.writer(id(0, 1)), Some(done(2)));
    keep.set_writer(id(0, 2), done(1));
    assert_eq!(keep.writer(id(0, 1)), None);
    assert!((1..MAX_TASKS as u16).all(|index| keep.writer(id(index, 1)) == Some(done(1))));
}

/// A number of before with the progress of after would leave out text.
#[test]
fn a_death_leaves_the_progress_of_before_or_that_of_after() {
    let after = Progress { number: 2, screen: 1, serial: 0, finished: false };
    for steps in 0..5 {
        let keep = keep();
        keep.set_writer(id(4, 2), done(1));
        assert!(!live(Some(steps), || keep.set_writer(id(4, 2), after)));
        assert_eq!(keep.writer(id(4, 2)), Some(done(1)), "died before {steps}");
        keep.set_writer(id(4, 2), after);
        assert_eq!(keep.writer(id(4, 2)), Some(after));
    }
}

/// A line without the position of its last byte would be typed twice; a position without the line,
/// never.
#[test]
fn a_death_leaves_the_input_of_before_or_that_of_after() {
    let before = Input { draft: "ec".into(), positions: [0, 2], typed: typed_text("later\n"), ..Input::default() };
    let mut after = Input { typed: typed_text("later\n"), ..an_input() };
    (0..4).for_each(|_| _ = after.typed.pop());
    "and more\n".chars().filter_map(Key::from_char).for_each(|key| after.typed.push(Source::Keyboard, key));
    let mut steps = 0;
    loop {
        let keep = keep();
        keep.set_input(&before);
        let ended = live(Some(steps), || keep.set_input(&after));
        assert_eq!(seen(&keep.input()), seen(if ended { &after } else { &before }), "died before {steps}");
        if ended {
            break;
        }
        keep.set_input(&after);
        assert_eq!(seen(&keep.input()), seen(&after));
        steps += 1;
    }
    assert!(steps > 20, "{steps} steps");
    let history = || {
        let keep = keep();
        keep.set_history("one\n");
        keep
    };
    for steps in 0..10 {
        let keep = history();
        let ended = live(Some(steps), || keep.set_history("one\ntwo\n"));
        assert_eq!(keep.history(), if ended { "one\ntwo\n" } else { "one\n" });
    }
}

#[test]
fn what_is_too_long_is_not_kept() {
    let keep = keep();
    keep.set_history("x\n");
    keep.set_history(&"y".repeat(MAX_BYTES + 1));
    assert_eq!(keep.history(), "");
    keep.set_input(&Input { draft: Draft::from("z".repeat(MAX_LINE).as_str()), ..Input::default() });
    assert_eq!(keep.input().draft.text.len(), MAX_LINE);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Each life of a console types, takes and forgets keys, and ends anywhere; the next one has
    /// what was there before or after.
    #[test]
    fn keys_typed_ahead_outlive_any_number_of_lives(
        lives in prop::collection::vec((prop::collection::vec((0..5_u8, any::<bool>(), 0..600_usize), 0..5), 0..400_u64), 1..5),
    ) {
        let keep = keep();
        for (steps, end) in lives {
            let mut input = keep.input();
            for (what, serial, count) in steps {
                let source = if serial { Source::Serial } else { Source::Keyboard };
                match what {
                    0 => input.typed.clear(source),
                    1 => (0..count).for_each(|_| _ = input.typed.pop()),
                    _ => {
                        for n in 0..count * 8 {
                            input.typed.push(source, if n % 97 == 96 { Key::Enter } else { Key::Char('x') });
                            if keep.is_far(&input.typed) {
                                keep.set_input(&input);
                            }
                        }
                    }
                }
                keep.set_input(&input);
                prop_assert_eq!(seen(&keep.input()), seen(&input));
            }
            let before = seen(&input);
            input.typed.push(Source::Keyboard, Key::Enter);
            (0..70).for_each(|_| _ = input.typed.pop());
            (0..200).for_each(|_| input.typed.push(Source::Serial, Key::Char('y')));
            let ended = live(Some(end), || keep.set_input(&input));
            prop_assert_eq!(seen(&keep.input()), if ended { seen(&input) } else { before });
        }
    }

    #[test]
    fn any_memory_is_read_without_harm(memory in prop::collection::vec(any::<u8>(), 12 * 1024)) {
        let keep = damage::memory::<Keep>(0xc3);
        damage::fill(keep, memory);
        keep.set_ready(0);
        // Whether or not it fits together.
        for _ in 0..2 {
            let mut input = keep.input();
            prop_assert!(input.draft.text.len() <= MAX_LINE);
            prop_assert!(keep.history().len() <= MAX_BYTES);
            prop_assert!(input.typed.len() <= MOST_AHEAD);
            for byte in 0..=255 {
                input.decoder.feed(byte, |_| {});
            }
            for index in 0..70 {
                keep.writer(id(index, 1));
            }
            keep.set_writer(id(3, 3), done(7));
            prop_assert_eq!(keep.writer(id(3, 3)), Some(done(7)));
            input.draft = "fine".into();
            keep.set_input(&input);
            prop_assert_eq!(seen(&keep.input()), seen(&input));
            keep.resume();
        }
    }

    /// A decoder that goes on from its words does as one that never stopped.
    #[test]
    fn a_sequence_goes_on_in_the_next_life(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b"\x1b[]O;1$ PM\\\r\n\x9b\xc3\xa4\xe2\x82\xac"[..])], 0..40),
        cut in 0..40_usize,
    ) {
        let (mut one, mut other) = (SerialDecoder::default(), SerialDecoder::default());
        let (mut keys, mut again) = (vec![], vec![]);
        for (number, byte) in bytes.into_iter().enumerate() {
            if number == cut {
                other = SerialDecoder::from_words(one.to_words());
                prop_assert_eq!(&other, &one);
                again = keys.clone();
            }
            let before = keys.len();
            one.feed(byte, |key| keys.push(key));
            other.feed(byte, |key| again.push(key));
            // Only the last key of a byte ends a line, or is told to somebody: what comes of the
            // byte before that counts along with it.
            let all_but_last = keys.get(before..keys.len().saturating_sub(1)).unwrap_or_default();
            prop_assert!(!all_but_last.iter().any(|key| matches!(key, Key::Enter | Key::Ctrl(_))));
        }
        if cut < keys.len() {
            prop_assert!(again.len() <= keys.len());
        }
        prop_assert_eq!(&one, &other);
    }
}
