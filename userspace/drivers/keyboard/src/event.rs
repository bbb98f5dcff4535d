//! Key events in the form in which clients get them.

bitflags::bitflags! {
    /// Keys held, or locked, at the time of an event.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Mods: u8 {
        /// Either shift key.
        const SHIFT = 1 << 0;
        /// Either control key.
        const CTRL = 1 << 1;
        /// The left alt key.
        const ALT = 1 << 2;
        /// The right alt key, labelled AltGr on many keyboards.
        const ALTGR = 1 << 3;
        /// Caps lock is on.
        const CAPS = 1 << 4;
    }
}

/// Bit of [`KeyEvent::code`] for a key that is not a character; the other bits are a [`Special`].
pub const SPECIAL: u32 = 0x8000_0000;

macro_rules! specials {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal,)*) => {
        /// Keys that are not characters.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u32)]
        pub enum Special { $($(#[doc = $doc])* $name = $code,)* }

        impl Special {
            /// All these keys, in the order of their codes.
            pub const ALL: &'static [Special] = &[$(Special::$name,)*];

            /// The key with this code.
            pub const fn from_u32(code: u32) -> Option<Special> {
                match code { $($code => Some(Special::$name),)* _ => None }
            }
        }
    };
}

specials! {
    /// Arrow up.
    Up = 1,
    /// Arrow down.
    Down = 2,
    /// Arrow left.
    Left = 3,
    /// Arrow right.
    Right = 4,
    /// Home.
    Home = 5,
    /// End.
    End = 6,
    /// Page up.
    PageUp = 7,
    /// Page down.
    PageDown = 8,
    /// Insert.
    Insert = 9,
    /// Delete, to the right of the cursor; backspace is the character 8.
    Delete = 10,
    /// Print screen.
    PrintScreen = 11,
    /// Pause.
    Pause = 12,
    /// The menu key.
    Menu = 13,
    /// F1.
    F1 = 17,
    /// F2.
    F2 = 18,
    /// F3.
    F3 = 19,
    /// F4.
    F4 = 20,
    /// F5.
    F5 = 21,
    /// F6.
    F6 = 22,
    /// F7.
    F7 = 23,
    /// F8.
    F8 = 24,
    /// F9.
    F9 = 25,
    /// F10.
    F10 = 26,
    /// F11.
    F11 = 27,
    /// F12.
    F12 = 28,
}

/// The meaning of a key press.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// A character. Enter is `'\n'`, backspace `'\u{8}'`, tab `'\t'`, escape `'\u{1b}'`; a letter
    /// with control is its control character, such as `'\u{3}'` for control-C.
    Char(char),
    /// A key that is not a character.
    Special(Special),
}

/// One press of a key, or one repeat of a held key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyEvent {
    /// The meaning of the press.
    pub key: Key,
    /// The modifier keys that were held or locked.
    pub mods: Mods,
}

impl KeyEvent {
    /// Length of an event in the answer to a read, in bytes: the code, little endian, then the
    /// modifiers, then three zeros.
    pub const LEN: usize = 8;

    /// The code: a Unicode scalar value, or [`SPECIAL`] and a [`Special`].
    pub const fn code(self) -> u32 {
        match self.key {
            Key::Char(char) => char as u32,
            Key::Special(special) => SPECIAL | special as u32,
        }
    }

    /// The event in one word, whose little-endian bytes are those that a read gives.
    pub const fn to_u64(self) -> u64 {
        (self.mods.bits() as u64) << 32 | self.code() as u64
    }

    /// The inverse of [`KeyEvent::to_u64`]; `None` if the code is not valid.
    pub fn from_u64(raw: u64) -> Option<Self> {
        let code = raw as u32;
        let key = if code & SPECIAL != 0 {
            Key::Special(Special::from_u32(code & !SPECIAL)?)
        } else {
            Key::Char(char::from_u32(code)?)
        };
        Some(KeyEvent { key, mods: Mods::from_bits_truncate((raw >> 32) as u8) })
    }
}
