//! The decoder of scan codes to key events: a state machine whose whole state fits one word.

use crate::event::{Key, KeyEvent, Mods, Special};
use crate::layout::{Accent, Layout, Table};
use pc_keyboard::{DecodedKey, HandleControl, KeyCode, KeyState, KeyboardLayout, Modifiers, PS2Keyboard, ScancodeSet1};

/// Most events of one scan code: an accent by itself, and the character after it.
pub const MOST_EVENTS: usize = 2;

/// First byte of a two-byte code (IBM PS/2 Hardware Interface Technical Reference, "Keyboard", scan
/// code set 1).
const EXTENDED: u8 = 0xe0;

/// First byte of the pause key's code, which is longer.
const EXTENDED_MORE: u8 = 0xe1;

/// Second byte of the pause key's code while control is held (Break), which the library does not
/// know.
const BREAK: u8 = 0x46;

/// Bits of the state word, from the modifiers on.
const LSHIFT: u32 = 1 << 0;
const RSHIFT: u32 = 1 << 1;
const LCTRL: u32 = 1 << 2;
const RCTRL: u32 = 1 << 3;
const LALT: u32 = 1 << 4;
const RALT: u32 = 1 << 5;
const PAUSE: u32 = 1 << 6;
const CAPS: u32 = 1 << 7;
/// Set while num lock is off: it is on after the keyboard's reset.
const NO_NUM: u32 = 1 << 8;
const PREFIX_SHIFT: u32 = 9;
const ACCENT_SHIFT: u32 = 11;
/// The lock keys themselves are held: they repeat then, and must not toggle again.
const CAPS_HELD: u32 = 1 << 14;
const NUM_HELD: u32 = 1 << 15;

/// How many bits a state word has.
pub const STATE_BITS: u32 = 16;

/// The decoder's state: keys held and locked, the prefix of an unfinished scan code, the waiting
/// accent. 0 at the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct State(u32);

impl State {
    /// The state in a word, which may have any value.
    pub const fn from_bits(bits: u32) -> Self {
        State(bits & ((1 << STATE_BITS) - 1))
    }

    /// The state as a word.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The state without the held keys and the prefix of a scan code, for when codes were lost,
    /// which may have been of released keys. Locks and accent stay.
    pub const fn released(self) -> Self {
        State(self.0 & (CAPS | NO_NUM | 7 << ACCENT_SHIFT))
    }

    fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }

    fn held(self) -> u32 {
        self.0 & (CAPS_HELD | NUM_HELD)
    }

    fn prefix(self) -> u32 {
        self.0 >> PREFIX_SHIFT & 3
    }

    fn accent(self) -> Option<Accent> {
        Accent::from_u8((self.0 >> ACCENT_SHIFT & 7) as u8)
    }

    fn new(modifiers: &Modifiers, held: u32, prefix: u32, accent: Option<Accent>) -> Self {
        let flags = [
            (LSHIFT, modifiers.lshift),
            (RSHIFT, modifiers.rshift),
            (LCTRL, modifiers.lctrl),
            (RCTRL, modifiers.rctrl),
            (LALT, modifiers.lalt),
            (RALT, modifiers.ralt),
            (PAUSE, modifiers.rctrl2),
            (CAPS, modifiers.capslock),
            (NO_NUM, !modifiers.numlock),
        ];
        let flags = flags.into_iter().filter(|(_, set)| *set).fold(0, |bits, (bit, _)| bits | bit);
        State(flags | held | prefix << PREFIX_SHIFT | accent.map_or(0, |accent| accent as u32) << ACCENT_SHIFT)
    }
}

/// The decoder, for one layout.
pub struct Decoder {
    keyboard: PS2Keyboard<Table, ScancodeSet1>,
    layout: Layout,
    state: State,
}

impl Decoder {
    /// A decoder in the state `state`.
    pub fn new(layout: Layout, state: State) -> Self {
        let mut keyboard = PS2Keyboard::new(ScancodeSet1::new(), layout.table(), HandleControl::MapLettersToUnicode);
        // The library has no setter for its state: it is set by keys.
        let keys = [
            (LSHIFT, KeyCode::LShift),
            (RSHIFT, KeyCode::RShift),
            (LCTRL, KeyCode::LControl),
            (RCTRL, KeyCode::RControl),
            (LALT, KeyCode::LAlt),
            (RALT, KeyCode::RAltGr),
            (CAPS, KeyCode::CapsLock),
            (NO_NUM, KeyCode::NumpadLock),
            // This must be the last one: it makes num lock mean pause.
            (PAUSE, KeyCode::RControl2),
        ];
        for (bit, code) in keys {
            if state.has(bit) {
                let _ = keyboard.process_keyevent(pc_keyboard::KeyEvent::new(code, KeyState::Down));
            }
        }
        let prefix = match state.prefix() {
            1 => Some(EXTENDED),
            2 => Some(EXTENDED_MORE),
            _ => None,
        };
        if let Some(byte) = prefix {
            let _ = keyboard.add_byte(byte);
        }
        // Invalid parts of the state, such as an unknown accent, are dropped here.
        let prefix = prefix.map_or(0, |_| state.prefix());
        let state = State::new(keyboard.get_modifiers(), state.held(), prefix, state.accent());
        Decoder { keyboard, layout, state }
    }

    /// The state, for [`Decoder::new`].
    pub fn state(&self) -> State {
        self.state
    }

    /// The layout.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Takes one byte from the keyboard (scan code set 1) and returns its events. Never panics,
    /// whatever the byte.
    pub fn add(&mut self, byte: u8) -> [Option<KeyEvent>; MOST_EVENTS] {
        let prefix = match (self.state.prefix(), byte) {
            (0, EXTENDED) => 1,
            (0, EXTENDED_MORE) => 2,
            _ => 0,
        };
        let mut accent = self.state.accent();
        let mut held = self.state.held();
        let mut events = [None; MOST_EVENTS];
        let is_break = (self.state.prefix(), byte) == (1, BREAK);
        // The library returns an error for an unknown code, which is ignored.
        let event = self.keyboard.add_byte(byte).unwrap_or_default();
        let event =
            if is_break { Some(pc_keyboard::KeyEvent::new(KeyCode::PauseBreak, KeyState::Down)) } else { event };
        if let Some(event) = event {
            let code = event.code;
            let lock = match code {
                KeyCode::CapsLock => CAPS_HELD,
                KeyCode::NumpadLock => NUM_HELD,
                _ => 0,
            };
            let repeats = event.state == KeyState::Down && held & lock != 0;
            held = if event.state == KeyState::Down { held | lock } else { held & !lock };
            if !repeats
                && let Some(decoded) = self.keyboard.process_keyevent(event)
                && let Some(event) = self.meaning(code, decoded)
            {
                events = self.compose(code, event, &mut accent);
            }
        }
        self.state = State::new(self.keyboard.get_modifiers(), held, prefix, accent);
        events
    }

    /// The character on a key with these modifiers.
    fn printed(&self, code: KeyCode, modifiers: &Modifiers) -> DecodedKey {
        self.layout.table().map_keycode(code, modifiers, HandleControl::MapLettersToUnicode)
    }

    /// The modifiers that apply to this key:
    ///
    /// - Shift inverts num lock for the number pad (IBM PS/2 Hardware Interface Technical
    ///   Reference, "Keyboard").
    /// - Windows, and with it QEMU and VNC viewers that run there, send AltGr as left control and
    ///   AltGr. If the layout has AltGr characters, that control key does not count.
    /// - Control and left alt together are AltGr for a key that has a character for it, as on
    ///   Windows.
    fn modifiers(&self, code: KeyCode) -> Modifiers {
        let mut held = self.keyboard.get_modifiers().clone();
        held.numlock ^= held.is_shifted();
        if held.ralt && self.layout.has_alt_gr() {
            held.lctrl = false;
        }
        if held.is_altgr() {
            let alt_gr = Modifiers { lctrl: false, rctrl: false, lalt: false, ralt: true, ..held.clone() };
            let without = Modifiers { ralt: false, ..alt_gr.clone() };
            if self.printed(code, &alt_gr) != self.printed(code, &without) {
                return alt_gr;
            }
        }
        held
    }

    /// The meaning of a key that was pressed; `None` for one without a meaning of its own.
    /// `decoded` is the library's result.
    fn meaning(&self, code: KeyCode, decoded: DecodedKey) -> Option<KeyEvent> {
        let held = self.modifiers(code);
        let mods = mods(&held);
        // The library tells the pause key, which it reports as num lock, by the code before it.
        let decoded = if code == KeyCode::NumpadLock { decoded } else { self.printed(code, &held) };
        let key = match decoded {
            // The middle key of the number pad has no arrow.
            DecodedKey::Unicode(_) if code == KeyCode::Numpad5 && !held.numlock => return None,
            DecodedKey::Unicode('.') if code == KeyCode::NumpadPeriod => Key::Char(self.layout.decimal()),
            DecodedKey::Unicode('\u{7f}') => Key::Special(Special::Delete),
            DecodedKey::Unicode(char) if mods.contains(Mods::CTRL) => Key::Char(control(char)),
            DecodedKey::Unicode(char) => Key::Char(char),
            // The key between left shift and Z, which the library's layouts for keyboards without
            // it leave out.
            DecodedKey::RawKey(KeyCode::Oem5) => Key::Char(if mods.contains(Mods::SHIFT) { '>' } else { '<' }),
            DecodedKey::RawKey(KeyCode::PauseBreak) if code == KeyCode::NumpadLock => Key::Special(Special::Pause),
            DecodedKey::RawKey(raw) => Key::Special(special(raw)?),
        };
        Some(KeyEvent { key, mods })
    }

    /// Combines a waiting accent with a letter. Before any other character the accent becomes an
    /// event of its own; a space, or the accent's own key again, makes it a character.
    fn compose(&self, code: KeyCode, event: KeyEvent, waiting: &mut Option<Accent>) -> [Option<KeyEvent>; MOST_EVENTS] {
        let KeyEvent { key, mods } = event;
        let with = |char| Some(KeyEvent { key: Key::Char(char), mods });
        let plain = !mods.intersects(Mods::CTRL | Mods::ALT | Mods::ALTGR);
        let dead = match key {
            Key::Char(char) if plain => self.layout.dead(code, char),
            _ => None,
        };
        match (waiting.take(), dead, key) {
            (None, Some(accent), _) => {
                *waiting = Some(accent);
                [None, None]
            }
            (None, None, _) => [Some(event), None],
            (Some(accent), Some(next), _) if accent == next => [with(accent.alone()), None],
            (Some(accent), Some(next), _) => {
                *waiting = Some(next);
                [with(accent.alone()), None]
            }
            (Some(accent), None, Key::Char(' ')) => [with(accent.alone()), None],
            (Some(accent), None, Key::Char(char)) if plain && accent.on(char).is_some() => {
                [accent.on(char).and_then(with), None]
            }
            // Backspace and escape take back the accent alone.
            (Some(_), None, Key::Char('\u{8}' | '\u{1b}')) => [None, None],
            (Some(accent), None, Key::Char(_)) if plain => [with(accent.alone()), Some(event)],
            // The key is a command: the accent is dropped.
            (Some(_), None, _) => [Some(event), None],
        }
    }
}

fn mods(modifiers: &Modifiers) -> Mods {
    let mut mods = Mods::empty();
    mods.set(Mods::SHIFT, modifiers.is_shifted());
    mods.set(Mods::CTRL, modifiers.is_ctrl());
    mods.set(Mods::ALT, modifiers.lalt);
    mods.set(Mods::ALTGR, modifiers.ralt);
    mods.set(Mods::CAPS, modifiers.capslock);
    mods
}

/// The control characters that are not on letters (ECMA-48, C0 set): `@ [ \ ] ^ _` less 64.
fn control(char: char) -> char {
    match char {
        '@' | '['..='_' => (char as u8 & 0x1f) as char,
        other => other,
    }
}

fn special(code: KeyCode) -> Option<Special> {
    Some(match code {
        KeyCode::ArrowUp => Special::Up,
        KeyCode::ArrowDown => Special::Down,
        KeyCode::ArrowLeft => Special::Left,
        KeyCode::ArrowRight => Special::Right,
        KeyCode::Home => Special::Home,
        KeyCode::End => Special::End,
        KeyCode::PageUp => Special::PageUp,
        KeyCode::PageDown => Special::PageDown,
        KeyCode::Insert => Special::Insert,
        KeyCode::Delete => Special::Delete,
        KeyCode::PrintScreen | KeyCode::SysRq => Special::PrintScreen,
        KeyCode::PauseBreak => Special::Pause,
        KeyCode::Apps => Special::Menu,
        KeyCode::F1 => Special::F1,
        KeyCode::F2 => Special::F2,
        KeyCode::F3 => Special::F3,
        KeyCode::F4 => Special::F4,
        KeyCode::F5 => Special::F5,
        KeyCode::F6 => Special::F6,
        KeyCode::F7 => Special::F7,
        KeyCode::F8 => Special::F8,
        KeyCode::F9 => Special::F9,
        KeyCode::F10 => Special::F10,
        KeyCode::F11 => Special::F11,
        KeyCode::F12 => Special::F12,
        _ => return None,
    })
}
