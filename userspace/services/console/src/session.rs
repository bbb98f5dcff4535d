//! The session: one line being edited, the text printed above it, and the keys typed ahead.

use crate::editor::{Draft, Editor, Outcome};
use crate::key::Key;
use crate::typed::{Source, TypeAhead};
use alloc::string::String;

/// Sequence that clears the display and puts the cursor in its first cell.
pub const CLEAR: &str = "\x1b[2J\x1b[H";

/// The state of the session.
#[derive(Default, Debug)]
pub struct Session {
    /// The line being edited, and the history.
    pub editor: Editor,
    reading: bool,
    /// Keys that were typed while no task read a line.
    pub typed: TypeAhead,
    /// Whether the cursor is not in the first column. Only meaningful while no line is read.
    mid_row: bool,
    scan: Scan,
}

/// State of the scanner of printed text.
#[derive(Default, Debug)]
struct Scan {
    after_cr: bool,
    sequence: Sequence,
}

/// Whether the text printed last ends in the middle of an escape sequence.
#[derive(Clone, Copy, Default, Debug)]
enum Sequence {
    #[default]
    None,
    Escape,
    Control,
    /// In a string for the terminal alone (ECMA-48, section 8.3.89, OSC), up to BEL or to ESC \\.
    String,
}

/// The result of a key that must be reported to a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The reader gets a line.
    Line(String),
    /// The reader gets an interrupt.
    Interrupted,
    /// The reader gets the end of input.
    EndOfInput,
    /// Ctrl-C while no task reads a line.
    Signal,
}

impl Session {
    /// A session after a restart: the cursor may be anywhere.
    pub fn resumed() -> Session {
        Session { mid_row: true, ..Session::default() }
    }

    /// Whether a line is being read.
    pub fn is_reading(&self) -> bool {
        self.reading
    }

    /// Whether keys of this source are wanted now, or must wait at the device.
    pub fn takes(&self, source: Source) -> bool {
        self.reading || self.typed.has_room(source)
    }

    /// Begins to read a line with `draft` as its text, with Enter already if `entered`. The keys
    /// typed ahead are then used, which may complete the line at once.
    pub fn read_line(&mut self, prompt: &str, draft: &Draft, entered: bool, out: &mut String) -> Option<Event> {
        self.stop(out);
        if core::mem::take(&mut self.mid_row) {
            out.push_str("\r\n");
        }
        self.reading = true;
        self.editor.begin(prompt, draft, out);
        if entered {
            return self.edit(Key::Enter, out);
        }
        loop {
            let (_, key) = self.typed.pop()?;
            if let Some(event) = self.edit(key, out) {
                return Some(event);
            }
        }
    }

    /// Ends the reading of a line, because its reader has died; the line stays on the display as it
    /// is.
    pub fn stop(&mut self, out: &mut String) {
        if core::mem::take(&mut self.reading) {
            self.editor.set_cursor(usize::MAX, out);
            self.mid_row = true;
        }
    }

    /// Takes a key; returns the event that it causes.
    pub fn key(&mut self, source: Source, key: Key, out: &mut String) -> Option<Event> {
        if self.reading {
            return self.edit(key, out);
        }
        if key == Key::Ctrl('c') {
            self.typed.clear(source);
            out.push_str("^C\r\n");
            self.mid_row = false;
            return Some(Event::Signal);
        }
        self.typed.push(source, key);
        None
    }

    /// Takes a key of the line being read.
    fn edit(&mut self, key: Key, out: &mut String) -> Option<Event> {
        let event = match self.editor.key(key, out) {
            Outcome::Editing => return None,
            Outcome::Line(line) => Event::Line(line),
            Outcome::Interrupted => Event::Interrupted,
            Outcome::EndOfInput => Event::EndOfInput,
        };
        self.reading = false;
        self.mid_row = false;
        Some(event)
    }

    /// Prints text unchanged, escape sequences included, except that line feeds become CR LF. If a
    /// line is being read, the text is printed above it.
    pub fn print(&mut self, text: &str, out: &mut String) {
        if !text.is_empty() {
            self.print_begin(out);
            self.print_part(text, out);
            self.print_end(out);
        }
    }

    /// Begins to print text in parts: hides the line being read.
    pub fn print_begin(&mut self, out: &mut String) {
        if self.reading {
            self.editor.hide(out);
            self.mid_row = false;
        }
        self.scan = Scan::default();
    }

    /// Prints a part, which may end between any two characters.
    pub fn print_part(&mut self, text: &str, out: &mut String) {
        for c in text.chars() {
            if c == '\n' && !self.scan.after_cr {
                out.push('\r');
            }
            out.push(c);
            self.scan(c);
        }
    }

    /// Ends the printing in parts: shows the line being read again.
    pub fn print_end(&mut self, out: &mut String) {
        if self.reading {
            if core::mem::take(&mut self.mid_row) {
                out.push_str("\r\n");
            }
            self.editor.show(out);
        }
    }

    /// Follows the printed text, to know where it leaves the cursor.
    fn scan(&mut self, c: char) {
        self.scan.after_cr = c == '\r';
        match self.scan.sequence {
            Sequence::None if c == '\x1b' => self.scan.sequence = Sequence::Escape,
            Sequence::None if c == '\n' => self.mid_row = false,
            Sequence::None => self.mid_row |= !c.is_control(),
            Sequence::Escape if c == '[' => self.scan.sequence = Sequence::Control,
            Sequence::Escape if c == ']' => self.scan.sequence = Sequence::String,
            Sequence::String => match c {
                '\x07' => self.scan.sequence = Sequence::None,
                '\x1b' => self.scan.sequence = Sequence::Escape,
                _ => {}
            },
            Sequence::Control if !('@'..='~').contains(&c) => {}
            Sequence::Escape | Sequence::Control => {
                // The cursor's home position, usually together with clearing the screen.
                if c == 'H' {
                    self.mid_row = false;
                }
                self.scan.sequence = Sequence::None;
            }
        }
    }

    /// Prints whole lines that are independent of the text on the display: they begin in a row of
    /// their own.
    pub fn print_apart(&mut self, lines: &str, out: &mut String) {
        if !lines.is_empty() && !self.reading && core::mem::take(&mut self.mid_row) {
            out.push_str("\r\n");
        }
        self.print(lines, out);
    }

    /// Clears the display; a line being read is shown again at the top.
    pub fn clear(&mut self, out: &mut String) {
        out.push_str(CLEAR);
        self.mid_row = false;
        if self.reading {
            self.editor.show(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::editor::tests::any_key;
    use crate::terminal::Terminal;
    use crate::typed::SERIAL_AHEAD;
    use alloc::vec;
    use proptest::prelude::*;

    const SERIAL: Source = Source::Serial;

    fn begin(session: &mut Session) -> (Terminal, Option<Event>) {
        let mut terminal = Terminal::new(80, false);
        let mut out = String::new();
        let event = session.read_line("enigma> ", &"".into(), false, &mut out);
        terminal.feed(&out);
        (terminal, event)
    }

    fn type_text(session: &mut Session, text: &str, terminal: &mut Terminal) -> Option<Event> {
        let mut out = String::new();
        let mut last = None;
        for c in text.chars() {
            last = session.key(SERIAL, Key::from_char(c).expect("a key"), &mut out);
        }
        terminal.feed(&out);
        last
    }

    #[test]
    fn text_goes_above_the_line_being_typed() {
        let mut session = Session::default();
        let (mut terminal, _) = begin(&mut session);
        type_text(&mut session, "ec", &mut terminal);
        let mut out = String::new();
        session.print_apart("[vga] hello\n[vga] again\n", &mut out);
        session.print("no line end", &mut out);
        terminal.feed(&out);
        assert_eq!(terminal.text(), vec!["[vga] hello", "[vga] again", "no line end", "enigma> ec"]);
        terminal.check("enigma> ", "ec", 2);
        assert_eq!(type_text(&mut session, "ho\r", &mut terminal), Some(Event::Line("echo".into())));
    }

    #[test]
    fn a_string_for_the_terminal_takes_no_place() {
        for (text, apart) in
            [("ab\n\x1b]133;D;0\x1b\\", false), ("ab\n\x1b]133;D;0\x07", false), ("\x1b]0;t\x07ab", true)]
        {
            // The text is cut at any byte.
            for at in 0..=text.len() {
                let (mut session, mut out) = (Session::default(), String::new());
                session.print_begin(&mut out);
                session.print_part(&text[..at], &mut out);
                session.print_part(&text[at..], &mut out);
                session.print_end(&mut out);
                out.clear();
                session.read_line("> ", &"".into(), false, &mut out);
                assert_eq!(out.starts_with("\r\n"), apart, "{text:?} {out:?}");
            }
        }
    }

    #[test]
    fn the_prompt_begins_in_the_first_column() {
        let mut session = Session::default();
        let mut terminal = Terminal::new(80, false);
        let mut out = String::new();
        session.print("partial", &mut out);
        session.print_apart("[a] log\n", &mut out);
        session.print("\x1b[1mrest\x1b[0m", &mut out);
        session.read_line("> ", &"".into(), false, &mut out);
        terminal.feed(&out.replace("\x1b[1m", "").replace("\x1b[0m", ""));
        assert_eq!(terminal.text(), vec!["partial", "[a] log", "rest", ">"]);
    }

    #[test]
    fn the_cursor_is_followed_through_escape_sequences() {
        for (text, mid_row) in [
            ("", false),
            ("a", true),
            ("a\n\x1b[31mb", true),
            ("a\n\x1b[31m", false),
            ("abc\x1b[2J\x1b[H", false),
            ("\x1b[", false),
            ("\x1bcx", true),
            ("abc\r\n", false),
        ] {
            let (mut session, mut out) = (Session::default(), String::new());
            session.print(text, &mut out);
            assert_eq!(session.mid_row, mid_row, "{text:?}");
            // The output does not depend on the cut.
            for cut in 0..=text.len() {
                let (mut session, mut parts) = (Session::default(), String::new());
                session.print_begin(&mut parts);
                session.print_part(&text[..cut], &mut parts);
                session.print_part(&text[cut..], &mut parts);
                session.print_end(&mut parts);
                assert_eq!((&parts, session.mid_row), (&out, mid_row), "{text:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn keys_typed_ahead_are_kept_in_order() {
        let mut session = Session::default();
        let mut nowhere = Terminal::new(80, false);
        assert_eq!(type_text(&mut session, "one\rtwo\rth", &mut nowhere), None);
        assert!(nowhere.text().is_empty(), "nothing is echoed before it is read");
        assert_eq!(begin(&mut session).1, Some(Event::Line("one".into())));
        assert_eq!(begin(&mut session).1, Some(Event::Line("two".into())));
        let (terminal, event) = begin(&mut session);
        assert_eq!(event, None);
        terminal.check("enigma> ", "th", 2);
    }

    #[test]
    fn ctrl_c_signals_while_nobody_reads() {
        let mut session = Session::default();
        let mut terminal = Terminal::new(80, false);
        type_text(&mut session, "lost", &mut terminal);
        assert_eq!(type_text(&mut session, "\u{3}", &mut terminal), Some(Event::Signal));
        let (mut terminal, event) = begin(&mut session);
        assert_eq!(event, None);
        terminal.check("enigma> ", "", 0);
        assert_eq!(type_text(&mut session, "x\u{3}", &mut terminal), Some(Event::Interrupted));
        begin(&mut session);
        assert_eq!(type_text(&mut session, "\u{4}", &mut terminal), Some(Event::EndOfInput));
    }

    #[test]
    fn who_types_ahead_waits_until_somebody_reads() {
        let mut session = Session::default();
        let mut out = String::new();
        for _ in 0..=SERIAL_AHEAD {
            if session.takes(SERIAL) {
                session.key(SERIAL, Key::Char('x'), &mut out);
            }
        }
        assert_eq!(session.typed.len(), SERIAL_AHEAD);
        assert!(session.takes(Source::Keyboard));
        begin(&mut session);
        assert!(session.takes(SERIAL) && session.typed.is_empty());
    }

    #[test]
    fn a_line_that_reached_nobody_is_entered_again() {
        let mut session = Session::default();
        let mut out = String::new();
        type_text(&mut session, "two\r", &mut Terminal::new(80, false));
        let event = session.read_line("enigma> ", &"one".into(), true, &mut out);
        assert_eq!(event, Some(Event::Line("one".into())));
        assert_eq!(begin(&mut session).1, Some(Event::Line("two".into())));
    }

    #[test]
    fn a_new_reader_after_the_old_one_is_gone() {
        let mut session = Session::default();
        let (mut terminal, _) = begin(&mut session);
        type_text(&mut session, "abandoned", &mut terminal);
        let mut out = String::new();
        session.read_line("enigma> ", &"".into(), false, &mut out);
        terminal.feed(&out);
        assert_eq!(terminal.text(), vec!["enigma> abandoned", "enigma>"]);
        terminal.check("enigma> ", "", 0);
    }

    #[test]
    fn a_line_is_carried_over_a_restart() {
        let mut session = Session::resumed();
        let mut out = String::new();
        session.read_line("enigma> ", &"typed before".into(), false, &mut out);
        assert!(out.starts_with("\r\nenigma> typed before"));
        assert_eq!(session.key(SERIAL, Key::Enter, &mut out), Some(Event::Line("typed before".into())));
    }

    #[test]
    fn clearing_keeps_the_line() {
        let mut session = Session::default();
        let (mut terminal, _) = begin(&mut session);
        type_text(&mut session, "abc", &mut terminal);
        let mut out = String::new();
        session.print("x\ny\n", &mut out);
        session.clear(&mut out);
        terminal.feed(&out);
        assert_eq!(terminal.text(), vec!["enigma> abc"]);
    }

    proptest! {
        #[test]
        fn printing_at_any_time_leaves_the_line_whole(
            steps in prop::collection::vec(prop_oneof![
                3 => any_key().prop_map(Ok),
                1 => "[ -~\n]{0,100}".prop_map(Err),
            ], 0..80),
        ) {
            let mut session = Session::default();
            let (mut terminal, _) = begin(&mut session);
            for step in steps {
                let mut out = String::new();
                let event = match step {
                    Ok(key) => session.key(SERIAL, key, &mut out),
                    Err(text) => {
                        session.print_apart(&text, &mut out);
                        None
                    }
                };
                if event.is_some() {
                    prop_assert!(!session.is_reading());
                    prop_assert_eq!(session.read_line("enigma> ", &"".into(), false, &mut out), None);
                }
                terminal.feed(&out);
                terminal.check("enigma> ", &session.editor.text(), session.editor.cursor());
            }
        }
    }
}
