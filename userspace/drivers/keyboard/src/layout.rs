//! Keyboard layouts, and the dead keys that some of them have.

use pc_keyboard::KeyCode;
/// The keys of a layout, as the decoder has them.
pub(crate) use pc_keyboard::layouts::AnyLayout as Table;
use pc_keyboard::layouts::{Azerty, De105Key, Dvorak104Key, Uk105Key, Us104Key};

rt::words! {
    /// A keyboard layout: the characters on the keys.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    #[repr(u32)]
    pub enum Layout {
        /// United States.
        #[default]
        Us = 0,
        /// United Kingdom.
        Uk = 1,
        /// German.
        De = 2,
        /// French (AZERTY).
        Fr = 3,
        /// Dvorak, United States.
        Dvorak = 4,
    }
}

impl Layout {
    /// All layouts with their names, in the order of their numbers.
    pub const ALL: [(Layout, &'static str); 5] =
        [(Layout::Us, "us"), (Layout::Uk, "uk"), (Layout::De, "de"), (Layout::Fr, "fr"), (Layout::Dvorak, "dvorak")];

    /// The layout with this number.
    pub fn from_u32(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).map(|(layout, _)| *layout)
    }

    /// The layout with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(layout, _)| *layout)
    }

    /// The layout's name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(layout, _)| *layout == self).map_or("?", |(_, name)| name)
    }

    pub(crate) fn table(self) -> Table {
        match self {
            Layout::Us => Table::Us104Key(Us104Key),
            Layout::Uk => Table::Uk105Key(Uk105Key),
            Layout::De => Table::De105Key(De105Key),
            Layout::Fr => Table::Azerty(Azerty),
            Layout::Dvorak => Table::Dvorak104Key(Dvorak104Key),
        }
    }

    /// Whether keys have a third character, which the right alt key selects.
    pub(crate) fn has_alt_gr(self) -> bool {
        match self {
            Layout::Uk | Layout::De | Layout::Fr => true,
            Layout::Us | Layout::Dvorak => false,
        }
    }

    /// The character of the number pad's decimal key, as Windows and X have it for these layouts.
    pub(crate) fn decimal(self) -> char {
        match self {
            Layout::De => ',',
            Layout::Us | Layout::Uk | Layout::Fr | Layout::Dvorak => '.',
        }
    }

    /// The accent of this key, if it is a dead key.
    pub(crate) fn dead(self, key: KeyCode, accent: char) -> Option<Accent> {
        let dead = match self {
            Layout::De => matches!(key, KeyCode::Oem8 | KeyCode::OemPlus),
            Layout::Fr => key == KeyCode::Oem4,
            Layout::Us | Layout::Uk | Layout::Dvorak => false,
        };
        Accent::ALL.into_iter().find(|known| dead && known.alone() == accent)
    }
}

/// An accent that waits for its letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Accent {
    Circumflex = 1,
    Acute = 2,
    Grave = 3,
    Diaeresis = 4,
}

impl Accent {
    pub(crate) const ALL: [Accent; 4] = [Accent::Circumflex, Accent::Acute, Accent::Grave, Accent::Diaeresis];

    pub(crate) fn from_u8(raw: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|accent| *accent as u8 == raw)
    }

    /// The accent as a character of its own.
    pub(crate) fn alone(self) -> char {
        match self {
            Accent::Circumflex => '^',
            Accent::Acute => '´',
            Accent::Grave => '`',
            Accent::Diaeresis => '¨',
        }
    }

    /// `letter` with the accent; `None` if Latin-1 has no such letter.
    pub(crate) fn on(self, letter: char) -> Option<char> {
        const LETTERS: &str = "aeiouyAEIOUY";
        // In the order of LETTERS; a space if Latin-1 has no such letter.
        let accented = match self {
            Accent::Circumflex => "âêîôû ÂÊÎÔÛ ",
            Accent::Acute => "áéíóúýÁÉÍÓÚÝ",
            Accent::Grave => "àèìòù ÀÈÌÒÙ ",
            Accent::Diaeresis => "äëïöüÿÄËÏÖÜ ",
        };
        let place = LETTERS.chars().position(|known| known == letter)?;
        accented.chars().nth(place).filter(|found| *found != ' ')
    }
}
