//! The keys of a line editor, independent of the device.

/// One key press, from the PS/2 keyboard or from the terminal on the serial line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// A character to insert.
    Char(char),
    /// Finishes the line.
    Enter,
    /// Completes.
    Tab,
    /// Completes the word before the cursor.
    Backspace,
    /// Removes the character under the cursor.
    Delete,
    /// Moves the cursor one character to the left.
    Left,
    /// Moves the cursor one character to the right.
    Right,
    /// Shows the previous line of the history.
    Up,
    /// Shows the next line of the history.
    Down,
    /// Moves the cursor to the beginning of the line.
    Home,
    /// Moves the cursor to the end of the line.
    End,
    /// Moves the cursor one word to the left.
    WordLeft,
    /// Moves the cursor one word to the right.
    WordRight,
    /// Ctrl with this lower-case letter, unless that is one of the other keys.
    Ctrl(char),
    /// The escape key by itself.
    Escape,
}

impl Key {
    /// The key for this character, control characters included (ASCII, ANSI X3.4-1986, section
    /// 5.2): for Ctrl and a letter, a terminal sends the letter's number in the alphabet.
    pub fn from_char(c: char) -> Option<Key> {
        Some(match c {
            '\r' | '\n' => Key::Enter,
            '\t' => Key::Tab,
            '\u{8}' | '\u{7f}' => Key::Backspace,
            '\u{1b}' => Key::Escape,
            '\u{1}'..='\u{1a}' => Key::Ctrl(char::from(b'a' - 1 + c as u8)),
            c if c.is_control() => return None,
            c => Key::Char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn control_characters_are_keys() {
        assert_eq!(Key::from_char('\r'), Some(Key::Enter));
        assert_eq!(Key::from_char('\n'), Some(Key::Enter));
        assert_eq!(Key::from_char('\u{3}'), Some(Key::Ctrl('c')));
        assert_eq!(Key::from_char('\u{1a}'), Some(Key::Ctrl('z')));
        assert_eq!(Key::from_char('\u{7f}'), Some(Key::Backspace));
        assert_eq!(Key::from_char('\u{8}'), Some(Key::Backspace));
        assert_eq!(Key::from_char('\u{1b}'), Some(Key::Escape));
        assert_eq!(Key::from_char('\0'), None);
        assert_eq!(Key::from_char('\u{1c}'), None);
        assert_eq!(Key::from_char('ß'), Some(Key::Char('ß')));
    }
}
