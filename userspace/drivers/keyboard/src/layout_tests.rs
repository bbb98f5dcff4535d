//! Scan codes to events, layout by layout.

use crate::decode::{Decoder, State};
use crate::{Key, KeyEvent, Layout, Mods, Special};
use proptest::prelude::*;
use std::string::String;
use std::vec::Vec;

const SHIFT: u8 = 0x2a;
const CTRL: u8 = 0x1d;
const ALT: u8 = 0x38;
const CAPS: u8 = 0x3a;
const UP: u8 = 0x80;

fn events(layout: Layout, bytes: &[u8]) -> Vec<KeyEvent> {
    let mut decoder = Decoder::new(layout, State::default());
    bytes.iter().flat_map(|byte| decoder.add(*byte)).flatten().collect()
}

/// The characters that the bytes make; anything else is a failure.
fn typed(layout: Layout, bytes: &[u8]) -> String {
    let char = |event: KeyEvent| match event.key {
        Key::Char(char) => char,
        Key::Special(special) => panic!("{special:?} is no character"),
    };
    events(layout, bytes).into_iter().map(char).collect()
}

/// A key pressed and let go.
fn tap(code: u8) -> [u8; 2] {
    [code, code | UP]
}

fn with(modifier: u8, code: u8) -> [u8; 4] {
    [modifier, code, code | UP, modifier | UP]
}

fn alt_gr(code: u8) -> [u8; 6] {
    [0xe0, ALT, code, code | UP, 0xe0, ALT | UP]
}

fn specials(bytes: &[u8]) -> Vec<Special> {
    let special = |event: KeyEvent| match event.key {
        Key::Special(special) => special,
        Key::Char(char) => panic!("{char:?} is a character"),
    };
    events(Layout::Us, bytes).into_iter().map(special).collect()
}

#[test]
fn us() {
    assert_eq!(typed(Layout::Us, &[tap(0x10), tap(0x1e), tap(0x2c), tap(0x03), tap(0x29)].concat()), "qaz2`");
    assert_eq!(typed(Layout::Us, &with(SHIFT, 0x03)), "@");
    assert_eq!(typed(Layout::Us, &with(SHIFT, 0x28)), "\"");
    assert_eq!(typed(Layout::Us, &with(SHIFT, 0x2b)), "|");
    assert_eq!(typed(Layout::Us, &tap(0x56)), "<", "the extra key of a European keyboard");
    assert_eq!(typed(Layout::Us, &with(SHIFT, 0x56)), ">");
}

#[test]
fn uk() {
    assert_eq!(typed(Layout::Uk, &with(SHIFT, 0x03)), "\"");
    assert_eq!(typed(Layout::Uk, &with(SHIFT, 0x04)), "£");
    assert_eq!(typed(Layout::Uk, &with(SHIFT, 0x28)), "@");
    assert_eq!(typed(Layout::Uk, &tap(0x2b)), "#");
    assert_eq!(typed(Layout::Uk, &tap(0x56)), "\\");
    assert_eq!(typed(Layout::Uk, &with(SHIFT, 0x56)), "|");
    assert_eq!(typed(Layout::Uk, &alt_gr(0x05)), "€");
}

#[test]
fn german() {
    assert_eq!(typed(Layout::De, &[tap(0x15), tap(0x2c)].concat()), "zy");
    assert_eq!(typed(Layout::De, &[tap(0x1a), tap(0x27), tap(0x28), tap(0x0c)].concat()), "üöäß");
    assert_eq!(typed(Layout::De, &with(SHIFT, 0x1a)), "Ü");
    assert_eq!(typed(Layout::De, &alt_gr(0x10)), "@");
    assert_eq!(typed(Layout::De, &alt_gr(0x12)), "€");
    let brackets = [alt_gr(0x08), alt_gr(0x09), alt_gr(0x0a), alt_gr(0x0b), alt_gr(0x0c), alt_gr(0x56), alt_gr(0x1b)];
    assert_eq!(typed(Layout::De, &brackets.concat()), "{[]}\\|~");
    assert_eq!(typed(Layout::De, &with(SHIFT, 0x08)), "/");
    assert_eq!(typed(Layout::De, &with(SHIFT, 0x29)), "°", "not every key of the accent is dead");
}

#[test]
fn french() {
    assert_eq!(typed(Layout::Fr, &[tap(0x10), tap(0x11), tap(0x1e), tap(0x2c), tap(0x27)].concat()), "azqwm");
    assert_eq!(typed(Layout::Fr, &[tap(0x03), tap(0x08), tap(0x0a), tap(0x0b)].concat()), "éèçà");
    assert_eq!(typed(Layout::Fr, &with(SHIFT, 0x02)), "1");
    assert_eq!(typed(Layout::Fr, &[alt_gr(0x0b), alt_gr(0x05), alt_gr(0x09)].concat()), "@{\\");
}

#[test]
fn dvorak() {
    assert_eq!(typed(Layout::Dvorak, &[tap(0x1f), tap(0x20), tap(0x10), tap(0x2c)].concat()), "oe';");
    assert_eq!(typed(Layout::Dvorak, &with(SHIFT, 0x33)), "W");
    assert_eq!(typed(Layout::Dvorak, &with(CTRL, 0x17)), "\u{3}", "control-C lies where C does");
}

#[test]
fn dead_keys_compose() {
    let (circumflex, acute) = (tap(0x29), tap(0x0d));
    let grave = with(SHIFT, 0x0d);
    let de = |parts: &[&[u8]]| typed(Layout::De, &parts.concat());
    assert_eq!(de(&[&circumflex]), "", "waits");
    assert_eq!(de(&[&circumflex, &tap(0x1e)]), "â");
    assert_eq!(de(&[&acute, &with(SHIFT, 0x12)]), "É");
    assert_eq!(de(&[&grave, &tap(0x18)]), "ò");
    assert_eq!(de(&[&circumflex, &tap(0x39)]), "^");
    assert_eq!(de(&[&circumflex, &circumflex]), "^");
    assert_eq!(de(&[&circumflex, &acute, &tap(0x1e)]), "^á");
    assert_eq!(de(&[&grave, &tap(0x31)]), "`n", "no such letter: both");
    assert_eq!(de(&[&circumflex, &tap(0x0e), &tap(0x1e)]), "a", "backspace takes the accent back");
    assert_eq!(de(&[&circumflex, &with(CTRL, 0x2e), &tap(0x1e)]), "\u{3}a");
    let fr = |parts: &[&[u8]]| typed(Layout::Fr, &parts.concat());
    assert_eq!(fr(&[&tap(0x1a), &tap(0x12)]), "ê");
    assert_eq!(fr(&[&with(SHIFT, 0x1a), &tap(0x17)]), "ï");
    assert_eq!(typed(Layout::Us, &[circumflex, tap(0x1e)].concat()), "`a", "no dead keys there");
}

#[test]
fn modifiers_and_locks() {
    let caps = [&tap(CAPS)[..], &tap(0x1e), &with(SHIFT, 0x1e), &tap(0x02), &tap(CAPS), &tap(0x1e)].concat();
    assert_eq!(typed(Layout::Us, &caps), "Aa1a");
    let held = [&[CAPS, CAPS, CAPS, CAPS | UP][..], &tap(0x1e)].concat();
    assert_eq!(typed(Layout::Us, &held), "A", "a lock key that repeats is pressed once");
    let event = |bytes: &[u8]| *events(Layout::Us, bytes).first().expect("an event");
    assert_eq!(event(&with(CTRL, 0x2e)), KeyEvent { key: Key::Char('\u{3}'), mods: Mods::CTRL });
    assert_eq!(event(&with(CTRL, 0x1a)), KeyEvent { key: Key::Char('\u{1b}'), mods: Mods::CTRL });
    assert_eq!(event(&with(ALT, 0x21)), KeyEvent { key: Key::Char('f'), mods: Mods::ALT });
    assert_eq!(event(&alt_gr(0x21)), KeyEvent { key: Key::Char('f'), mods: Mods::ALTGR });
    let both = [0xe0, CTRL, 0x36, 0x20];
    assert_eq!(event(&both), KeyEvent { key: Key::Char('\u{4}'), mods: Mods::CTRL | Mods::SHIFT });
    assert_eq!(events(Layout::Us, &[SHIFT, SHIFT | UP, CTRL, CTRL | UP, ALT, ALT | UP, CAPS, CAPS | UP]), []);
}

#[test]
fn repeats_are_reported_and_releases_are_not() {
    assert_eq!(typed(Layout::Us, &[0x1e, 0x1e, 0x1e, 0x9e]), "aaa");
}

#[test]
fn keys_that_are_no_letters() {
    assert_eq!(typed(Layout::Us, &[tap(0x1c), tap(0x0e), tap(0x0f), tap(0x01)].concat()), "\n\u{8}\t\u{1b}");
    let extended = [0x48, 0x50, 0x4b, 0x4d, 0x47, 0x4f, 0x49, 0x51, 0x52, 0x53, 0x5d];
    let bytes: Vec<u8> = extended.into_iter().flat_map(|code| [0xe0, code, 0xe0, code | UP]).collect();
    use Special::*;
    assert_eq!(specials(&bytes), [Up, Down, Left, Right, Home, End, PageUp, PageDown, Insert, Delete, Menu]);
    let functions: Vec<u8> = (0x3b..=0x44).chain([0x57, 0x58]).flat_map(tap).collect();
    assert_eq!(specials(&functions), [F1, F2, F3, F4, F5, F6, F7, F8, F9, F10, F11, F12]);
    // With the shift codes that a keyboard puts around them for the sake of old programs.
    assert_eq!(specials(&[0xe0, 0x2a, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0xaa]), [PrintScreen]);
    assert_eq!(specials(&[0xe0, 0xb6, 0xe0, 0x4b, 0xe0, 0xcb, 0xe0, 0x36]), [Left]);
}

#[test]
fn pause_is_one_key() {
    let pause = [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5];
    assert_eq!(specials(&pause), [Special::Pause]);
    // It neither holds control nor toggles num lock.
    assert_eq!(typed(Layout::Us, &[&pause[..], &tap(0x2e), &tap(0x48)].concat()[6..]), "c8");
    let after = events(Layout::Us, &[&pause[..], &tap(0x2e), &tap(0x48)].concat());
    assert_eq!(
        after[1..],
        [KeyEvent { key: Key::Char('c'), mods: Mods::empty() }, KeyEvent { key: Key::Char('8'), mods: Mods::empty() }]
    );
}

#[test]
fn the_number_pad_follows_its_lock() {
    assert_eq!(typed(Layout::Us, &[tap(0x47), tap(0x53)].concat()), "7.");
    assert_eq!(specials(&[tap(0x45), tap(0x47), tap(0x53)].concat()), [Special::Home, Special::Delete]);
}

/// The number pad: scan codes, the characters with num lock, and what the keys are without it.
const PAD: [(&[u8], char, Option<Special>); 16] = [
    (&[0x52], '0', Some(Special::Insert)),
    (&[0x4f], '1', Some(Special::End)),
    (&[0x50], '2', Some(Special::Down)),
    (&[0x51], '3', Some(Special::PageDown)),
    (&[0x4b], '4', Some(Special::Left)),
    (&[0x4c], '5', None),
    (&[0x4d], '6', Some(Special::Right)),
    (&[0x47], '7', Some(Special::Home)),
    (&[0x48], '8', Some(Special::Up)),
    (&[0x49], '9', Some(Special::PageUp)),
    (&[0x53], '.', Some(Special::Delete)),
    (&[0xe0, 0x35], '/', None),
    (&[0x37], '*', None),
    (&[0x4a], '-', None),
    (&[0x4e], '+', None),
    (&[0xe0, 0x1c], '\n', None),
];

#[test]
fn the_number_pad_in_every_layout_with_and_without_its_lock_and_shift() {
    const NUM: u8 = 0x45;
    let decimals = [('.', Layout::Us), ('.', Layout::Uk), (',', Layout::De), ('.', Layout::Fr), ('.', Layout::Dvorak)];
    assert_eq!(decimals.map(|(_, layout)| layout), Layout::ALL.map(|(layout, _)| layout));
    for (decimal, layout) in decimals {
        for ((code, digit, other), lock, caps, shift) in PAD
            .into_iter()
            .flat_map(|key| [(key, true), (key, false)])
            .flat_map(|(key, lock)| [(key, lock, true), (key, lock, false)])
            .flat_map(|(key, lock, caps)| [None, Some(SHIFT), Some(0x36)].map(|shift| (key, lock, caps, shift)))
        {
            let mut bytes = Vec::new();
            bytes.extend(if lock { [].as_slice() } else { &[NUM, NUM | UP] });
            bytes.extend(if caps { [CAPS, CAPS | UP].as_slice() } else { &[] });
            bytes.extend(shift);
            bytes.extend(code);
            bytes.extend(code.iter().map(|byte| byte | UP));
            bytes.extend(shift.map(|code| code | UP));
            let is_number = digit.is_ascii_digit() || digit == '.';
            let expected = match (is_number, lock == shift.is_none(), other) {
                (true, false, other) => other.map(Key::Special),
                (true, true, _) if digit == '.' => Some(Key::Char(decimal)),
                _ => Some(Key::Char(digit)),
            };
            let made: Vec<Key> = events(layout, &bytes).into_iter().map(|event| event.key).collect();
            assert_eq!(made, expected.as_slice(), "{layout:?} {bytes:x?}");
        }
    }
}

/// Every single-byte code of a key that is no modifier and no lock.
fn plain_codes() -> impl Iterator<Item = u8> {
    (0x01..=0x58).filter(|code| ![SHIFT, 0x36, CTRL, ALT, CAPS, 0x45].contains(code))
}

#[test]
fn alt_gr_sent_with_a_left_control_is_alt_gr_on_every_key() {
    for (layout, _) in Layout::ALL {
        let mut third = 0;
        for (code, caps, shift) in
            plain_codes().flat_map(|code| [(0, 0), (0, SHIFT), (CAPS, 0), (CAPS, SHIFT)].map(|(c, s)| (code, c, s)))
        {
            let make = |held: &[u8]| {
                let caps = if caps != 0 { [CAPS, CAPS | UP].as_slice() } else { &[] };
                let shift = if shift != 0 { [SHIFT].as_slice() } else { &[] };
                events(layout, &[caps, shift, held, &[code, code | UP]].concat())
            };
            let plain: Vec<Key> = make(&[]).iter().map(|event| event.key).collect();
            let alone = make(&[0xe0, ALT]);
            // A dead key says nothing by itself, and with AltGr the accent, which is no third
            // character.
            let differs = !plain.is_empty() && alone.iter().map(|event| event.key).ne(plain);
            let has_third = differs && layout.has_alt_gr();
            third += usize::from(has_third);
            if layout.has_alt_gr() {
                // In the order in which Windows sends them, and in the other one.
                for held in [[CTRL, 0xe0, ALT], [0xe0, ALT, CTRL]] {
                    assert_eq!(make(&held), alone, "{layout:?} {code:x} {held:x?}");
                }
            }
            if has_third {
                assert_eq!(make(&[CTRL, ALT]), alone, "{layout:?} {code:x}");
                assert_eq!(make(&[0xe0, CTRL, ALT]), alone, "{layout:?} {code:x}");
                assert!(alone.iter().all(|event| !event.mods.intersects(Mods::CTRL | Mods::ALT)));
            } else if code == 0x2e {
                // Control is control where alt has nothing to say.
                let [event] = make(&[0xe0, CTRL, 0xe0, ALT])[..] else { panic!("one event") };
                assert!(event.mods.contains(Mods::CTRL), "{layout:?} {event:?}");
            }
        }
        assert_eq!(third > 0, layout.has_alt_gr(), "{layout:?}");
    }
    assert_eq!(typed(Layout::De, &[CTRL, 0xe0, ALT, 0x10, 0x90, CTRL | UP, 0xe0, ALT | UP, 0x10]), "@q");
    assert_eq!(typed(Layout::De, &[CTRL, 0xe0, ALT, 0x2e, 0xae]), "c", "no Ctrl-C by a slip of the finger");
    assert_eq!(typed(Layout::Us, &[CTRL, 0xe0, ALT, 0x2e, 0xae]), "\u{3}", "there it is a second alt key");
}

#[test]
fn false_shifts_and_the_longer_codes_leave_nothing_behind() {
    let wrapped: [(&[u8], Special); 6] = [
        (&[0xe0, 0x2a, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0xaa], Special::PrintScreen),
        (&[0xe0, 0x37, 0xe0, 0xb7], Special::PrintScreen),
        (&[0xe0, 0xaa, 0xe0, 0x47, 0xe0, 0xc7, 0xe0, 0x2a], Special::Home),
        (&[0xe0, 0xb6, 0xe0, 0x53, 0xe0, 0xd3, 0xe0, 0x36], Special::Delete),
        (&[0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5], Special::Pause),
        (&[0xe0, 0x46, 0xe0, 0xc6], Special::Pause),
    ];
    for (bytes, special) in wrapped {
        for shift in [&[][..], &[SHIFT], &[0x36]] {
            let after = [0x1e, 0x47];
            let mut made = events(Layout::Us, &[shift, bytes, &after].concat()).into_iter().map(|event| event.key);
            assert_eq!(made.next(), Some(Key::Special(special)), "{bytes:x?}");
            let expected = match shift {
                [] => [Key::Char('a'), Key::Char('7')],
                _ => [Key::Char('A'), Key::Special(Special::Home)],
            };
            assert_eq!(made.collect::<Vec<_>>(), expected, "{bytes:x?} after {shift:x?}");
        }
    }
    // Codes of keys let go that were pressed before anybody listened.
    for code in 0x01..=0x58_u8 {
        for bytes in [&[code | UP][..], &[0xe0, code | UP]] {
            assert_eq!(events(Layout::Us, bytes), [], "{bytes:x?}");
            assert_eq!(typed(Layout::Us, &[bytes, &tap(0x1e)].concat()), "a", "{bytes:x?}");
        }
    }
}

#[test]
fn layouts_have_names_and_numbers() {
    for (number, (layout, name)) in Layout::ALL.into_iter().enumerate() {
        assert_eq!(Layout::from_u32(number as u32), Some(layout));
        assert_eq!(layout as usize, number);
        assert_eq!(Layout::from_name(name), Some(layout));
        assert_eq!(layout.name(), name);
    }
    assert_eq!(Layout::from_u32(5), None);
    assert_eq!(Layout::from_name("klingon"), None);
}

#[test]
fn events_survive_their_word() {
    for special in Special::ALL {
        let event = KeyEvent { key: Key::Special(*special), mods: Mods::all() };
        assert_eq!(KeyEvent::from_u64(event.to_u64()), Some(event));
    }
    let event = KeyEvent { key: Key::Char('€'), mods: Mods::ALTGR };
    assert_eq!(KeyEvent::from_u64(event.to_u64()), Some(event));
    assert_eq!(KeyEvent::from_u64(0xd800), None);
    assert_eq!(KeyEvent::from_u64(0x8000_0000), None);
}

fn any_layout() -> impl Strategy<Value = Layout> {
    (0..5_u32).prop_map(|number| Layout::from_u32(number).unwrap())
}

proptest! {
    #[test]
    fn garbage_is_survived(layout in any_layout(), start: u32, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut decoder = Decoder::new(layout, State::from_bits(start));
        for byte in bytes {
            for event in decoder.add(byte).into_iter().flatten() {
                prop_assert_eq!(KeyEvent::from_u64(event.to_u64()), Some(event));
            }
            prop_assert_eq!(State::from_bits(decoder.state().bits()), decoder.state());
        }
        // All keys up, no prefix, locks and accents aside: the next key is a key.
        for byte in [0x00, 0xaa, 0xb6, 0x9d, 0xe0, 0x9d, 0xe1, 0x9d, 0xb8, 0xe0, 0xb8] {
            decoder.add(byte);
        }
        prop_assert_eq!(decoder.add(0x3b)[0].map(|event| event.mods - Mods::CAPS), Some(Mods::empty()));
    }

    #[test]
    fn a_decoder_rebuilt_after_any_byte_goes_on_as_the_first(layout in any_layout(), bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut one = Decoder::new(layout, State::default());
        let mut state = State::default();
        for byte in bytes {
            let mut again = Decoder::new(layout, state);
            prop_assert_eq!(again.state(), state);
            prop_assert_eq!(one.add(byte), again.add(byte));
            state = again.state();
            prop_assert_eq!(one.state(), state);
        }
    }
}
