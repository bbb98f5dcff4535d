//! The editor against small models of the terminals that it must suit.

use super::*;
use crate::terminal::Terminal;
use alloc::vec;
use proptest::prelude::*;

const PROMPT: &str = "enigma> ";

struct Rig {
    editor: Editor,
    terminals: Vec<Terminal>,
}

impl Rig {
    fn new() -> Rig {
        let terminals = vec![Terminal::new(80, false), Terminal::new(80, true), Terminal::new(132, false)];
        let mut rig = Rig { editor: Editor::default(), terminals };
        rig.editor.completions = Completions::parse("help\nkill\nkeymap\nkill vga\nkill serial\nkill shell");
        rig.begin();
        rig
    }

    fn show(&mut self, out: &str) {
        self.terminals.iter_mut().for_each(|terminal| terminal.feed(out));
    }

    fn begin(&mut self) {
        let mut out = String::new();
        self.editor.begin(PROMPT, &Draft::default(), &mut out);
        self.show(&out);
    }

    fn key(&mut self, key: Key) -> Outcome {
        let mut out = String::new();
        let outcome = self.editor.key(key, &mut out);
        self.show(&out);
        outcome
    }

    fn type_text(&mut self, text: &str) {
        for c in text.chars() {
            assert_eq!(self.key(Key::Char(c)), Outcome::Editing);
        }
    }

    fn check(&self) {
        for terminal in &self.terminals {
            terminal.check(PROMPT, &self.editor.text(), self.editor.cursor());
        }
    }

    fn expect(&self, text: &str, cursor: usize) {
        assert_eq!((self.editor.text().as_str(), self.editor.cursor()), (text, cursor));
        self.check();
    }
}

#[test]
fn typing_at_the_end_costs_one_character_of_output() {
    let mut editor = Editor::default();
    let mut out = String::new();
    editor.begin(PROMPT, &Draft::default(), &mut out);
    assert_eq!(out, PROMPT);
    out.clear();
    editor.key(Key::Char('x'), &mut out);
    assert_eq!(out, "x");
}

#[test]
fn editing_in_the_middle() {
    let mut rig = Rig::new();
    rig.type_text("helo wrld");
    (0..3).for_each(|_| drop(rig.key(Key::Left)));
    rig.type_text("o");
    rig.expect("helo world", 7);
    rig.key(Key::Home);
    (0..3).for_each(|_| drop(rig.key(Key::Right)));
    rig.type_text("l");
    rig.expect("hello world", 4);
    rig.key(Key::Delete);
    rig.expect("hell world", 4);
    rig.key(Key::Backspace);
    rig.expect("hel world", 3);
    rig.key(Key::Ctrl('e'));
    rig.key(Key::Ctrl('w'));
    rig.expect("hel ", 4);
    rig.key(Key::Ctrl('a'));
    rig.key(Key::Ctrl('d'));
    rig.expect("el ", 0);
    rig.key(Key::Right);
    rig.key(Key::Ctrl('k'));
    rig.expect("e", 1);
    rig.type_text("fg");
    rig.key(Key::Left);
    rig.key(Key::Ctrl('u'));
    rig.expect("g", 0);
}

#[test]
fn edges_are_harmless() {
    let mut rig = Rig::new();
    for key in [
        Key::Backspace,
        Key::Delete,
        Key::Left,
        Key::Right,
        Key::Up,
        Key::Down,
        Key::WordLeft,
        Key::WordRight,
        Key::Ctrl('w'),
        Key::Ctrl('k'),
        Key::Ctrl('u'),
        Key::Ctrl('z'),
        Key::Escape,
    ] {
        assert_eq!(rig.key(key), Outcome::Editing);
        rig.expect("", 0);
    }
}

#[test]
fn words() {
    let mut rig = Rig::new();
    rig.type_text("one  two three");
    rig.key(Key::WordLeft);
    rig.expect("one  two three", 9);
    rig.key(Key::WordLeft);
    rig.key(Key::WordLeft);
    rig.expect("one  two three", 0);
    rig.key(Key::WordRight);
    rig.key(Key::WordRight);
    rig.expect("one  two three", 8);
    rig.key(Key::Ctrl('w'));
    rig.expect("one   three", 5);
    rig.key(Key::Ctrl('w'));
    rig.expect(" three", 0);
}

#[test]
fn lines_wrap_and_shrink_again() {
    let mut rig = Rig::new();
    let long = "x".repeat(71);
    rig.type_text(&long);
    rig.expect(&long, 71);
    rig.type_text("yz");
    rig.check();
    (0..5).for_each(|_| drop(rig.key(Key::Backspace)));
    rig.expect(&"x".repeat(68), 68);
    rig.type_text(&"w".repeat(200));
    rig.key(Key::Home);
    rig.type_text("first ");
    rig.check();
    rig.key(Key::Ctrl('k'));
    rig.expect("first ", 6);
}

#[test]
fn a_line_is_bounded() {
    let mut rig = Rig::new();
    rig.type_text(&"ü".repeat(MAX_LINE));
    assert_eq!(rig.editor.text().len(), MAX_LINE);
    rig.check();
}

#[test]
fn a_line_of_which_something_is_missing_is_said_and_not_run() {
    for (text, kept, note) in [
        ("x".repeat(MAX_LINE + 7), "x".repeat(MAX_LINE), FULL),
        ("rm 界 all".into(), "rm  all".into(), UNKNOWN),
        ("a\u{200b}".into(), "a".into(), UNKNOWN),
    ] {
        let mut rig = Rig::new();
        let notes = |rig: &Rig, note: &str| {
            rig.terminals[0].text().iter().filter(|line| line.as_str() == note.trim_end()).count()
        };
        rig.type_text(&text);
        rig.expect(&kept, kept.chars().count());
        assert_eq!(notes(&rig, note), 1, "said once");
        assert_eq!(rig.key(Key::Enter), Outcome::Editing, "not run");
        rig.expect("", 0);
        assert_eq!(notes(&rig, NOT_RUN), 1);
        // The next line is a line, and what there is of the last one can be had.
        rig.type_text("next");
        assert_eq!(rig.key(Key::Enter), Outcome::Line("next".into()));
        rig.begin();
        rig.key(Key::Up);
        rig.key(Key::Up);
        rig.expect(&kept, kept.chars().count());
        assert_eq!(rig.key(Key::Enter), Outcome::Line(kept));
    }
    // Whoever takes all of it back begins anew.
    let mut rig = Rig::new();
    rig.type_text("a界");
    rig.key(Key::Ctrl('u'));
    rig.type_text("b");
    assert_eq!(rig.key(Key::Enter), Outcome::Line("b".into()));
}

#[test]
fn enter_gives_the_line_and_a_fresh_row() {
    for len in [0, 3, 70, 71, 72, 150, 151] {
        let mut rig = Rig::new();
        let line = "x".repeat(len);
        rig.type_text(&line);
        rig.key(Key::Home);
        assert_eq!(rig.key(Key::Enter), Outcome::Line(line.clone()));
        let rows = rig.terminals[0].text().len();
        rig.begin();
        rig.expect("", 0);
        for terminal in &rig.terminals {
            assert_eq!(terminal.text().len(), rows + 1, "length {len}: no row left empty");
        }
    }
}

#[test]
fn leaving_the_line() {
    let mut rig = Rig::new();
    rig.type_text("half a li");
    assert_eq!(rig.key(Key::Ctrl('c')), Outcome::Interrupted);
    assert_eq!(rig.terminals[0].text(), vec!["enigma> half a li^C"]);
    rig.begin();
    rig.expect("", 0);
    rig.type_text("x");
    rig.key(Key::Home);
    assert_eq!(rig.key(Key::Ctrl('d')), Outcome::Editing);
    rig.expect("", 0);
    assert_eq!(rig.key(Key::Ctrl('d')), Outcome::EndOfInput);
}

#[test]
fn history_is_walked_and_edited() {
    let mut rig = Rig::new();
    for line in ["one", "twenty two", "one"] {
        rig.type_text(line);
        rig.key(Key::Enter);
        rig.begin();
    }
    rig.type_text("dr");
    rig.key(Key::Up);
    rig.expect("one", 3);
    rig.key(Key::Up);
    rig.expect("twenty two", 10);
    rig.key(Key::Up);
    rig.expect("twenty two", 10);
    rig.type_text("!");
    rig.key(Key::Down);
    rig.key(Key::Down);
    rig.expect("dr", 2);
    rig.key(Key::Ctrl('p'));
    assert_eq!(rig.key(Key::Enter), Outcome::Line("one".into()));
}

#[test]
fn tab_completes_and_lists() {
    let mut rig = Rig::new();
    rig.type_text("ki");
    rig.key(Key::Tab);
    rig.expect("kill ", 5);
    rig.type_text("s");
    rig.key(Key::Tab);
    rig.expect("kill s", 6);
    assert_eq!(rig.terminals[0].text().len(), 1, "one Tab does not list");
    rig.key(Key::Tab);
    assert_eq!(rig.terminals[0].text(), vec!["enigma> kill s", "serial  shell", "enigma> kill s"]);
    rig.expect("kill s", 6);
    rig.type_text("h");
    rig.key(Key::Tab);
    rig.expect("kill shell ", 11);
    rig.key(Key::Tab);
    rig.expect("kill shell ", 11);
    rig.key(Key::Home);
    rig.key(Key::Tab);
    rig.type_text("x");
    rig.key(Key::Tab);
    assert_eq!(rig.terminals[0].text().len(), 3, "another key between two Tabs");
}

#[test]
fn completion_in_the_middle_keeps_what_follows() {
    let mut rig = Rig::new();
    rig.type_text("k vga");
    rig.key(Key::Home);
    rig.type_text("ke");
    rig.key(Key::Delete);
    rig.expect("ke vga", 2);
    rig.key(Key::Tab);
    rig.expect("keymap vga", 6);
}

#[test]
fn hiding_and_showing_is_seamless() {
    let mut rig = Rig::new();
    rig.type_text(&"long ".repeat(40));
    rig.key(Key::WordLeft);
    let mut out = String::new();
    rig.editor.hide(&mut out);
    out.push_str("[task] something happened\r\n");
    rig.editor.show(&mut out);
    rig.show(&out);
    rig.check();
    assert_eq!(rig.terminals[0].text()[0], "[task] something happened");
}

#[test]
fn a_screen_can_be_cleared_around_the_line() {
    let mut rig = Rig::new();
    rig.type_text("abc");
    rig.key(Key::Enter);
    rig.begin();
    rig.type_text("def");
    rig.key(Key::Left);
    rig.key(Key::Ctrl('l'));
    rig.expect("def", 2);
    assert_eq!(rig.terminals[0].text(), vec!["enigma> def"]);
}

#[test]
fn characters_that_displays_disagree_about_are_left_out() {
    let mut rig = Rig::new();
    rig.type_text("a\u{301}界😀é\u{200b}ß");
    rig.expect("aéß", 3);
    assert!("aä€→█☺'ñЖΩ√░".chars().all(is_single_column));
}

pub(crate) fn any_key() -> impl Strategy<Value = Key> {
    prop_oneof![
        6 => prop_oneof![prop::char::range(' ', '~'), Just('é'), Just('ß'), Just('€'), any::<char>()]
            .prop_map(Key::Char),
        2 => Just(Key::Char(' ')),
        8 => prop::sample::select(vec![
            Key::Tab, Key::Backspace, Key::Delete, Key::Left, Key::Right, Key::Up, Key::Down, Key::Home, Key::End,
            Key::WordLeft, Key::WordRight, Key::Escape, Key::Enter,
        ]),
        3 => prop::char::range('a', 'z').prop_map(Key::Ctrl),
    ]
}

/// What a person expects of the keys that change or walk the line, written as plainly as can be.
fn model(line: &mut Vec<char>, cursor: &mut usize, key: Key) {
    match key {
        Key::Char(c) if is_single_column(c) => {
            line.insert(*cursor, c);
            *cursor += 1;
        }
        Key::Backspace if *cursor > 0 => {
            *cursor -= 1;
            line.remove(*cursor);
        }
        Key::Delete if *cursor < line.len() => drop(line.remove(*cursor)),
        Key::Left => *cursor = cursor.saturating_sub(1),
        Key::Right => *cursor = (*cursor + 1).min(line.len()),
        Key::Home => *cursor = 0,
        Key::End => *cursor = line.len(),
        _ => {}
    }
}

proptest! {
    #[test]
    fn the_display_always_shows_the_line(
        start in "[ -~]{0,200}",
        keys in prop::collection::vec(any_key(), 0..120),
    ) {
        let mut rig = Rig::new();
        rig.type_text(&start);
        rig.check();
        for key in keys {
            match rig.key(key) {
                Outcome::Editing => {}
                _ => rig.begin(),
            }
            rig.check();
        }
    }

    #[test]
    fn the_line_is_what_a_plain_model_says(keys in prop::collection::vec(
        prop_oneof![
            4 => prop::char::range('a', 'z').prop_map(Key::Char),
            3 => prop::sample::select(vec![
                Key::Backspace, Key::Delete, Key::Left, Key::Right, Key::Home, Key::End, Key::Char('界'),
            ]),
        ], 0..200)) {
        let mut rig = Rig::new();
        let (mut line, mut cursor) = (Vec::new(), 0);
        for key in keys {
            model(&mut line, &mut cursor, key);
            rig.key(key);
            prop_assert_eq!(rig.editor.text(), line.iter().collect::<String>());
            prop_assert_eq!(rig.editor.cursor(), cursor);
        }
    }

    #[test]
    fn any_completion_list_is_harmless(
        list in "[a-c \n]{0,80}",
        line in "[a-c ;]{0,20}",
        left in 0usize..20,
    ) {
        let mut rig = Rig::new();
        rig.editor.completions = Completions::parse(&list);
        rig.type_text(&line);
        (0..left).for_each(|_| drop(rig.key(Key::Left)));
        for _ in 0..3 {
            let before = rig.editor.text();
            rig.key(Key::Tab);
            rig.check();
            prop_assert!(rig.editor.text().len() >= before.len(), "Tab only ever adds");
        }
    }

    #[test]
    fn any_prompt_and_text_begin_well(prompt in any::<String>(), text in any::<String>()) {
        let mut editor = Editor::default();
        let mut out = String::new();
        editor.begin(&prompt, &Draft::from(text.as_str()), &mut out);
        let shown: String = prompt.chars().filter(|c| is_single_column(*c)).take(MAX_PROMPT).collect();
        let mut terminal = Terminal::new(80, false);
        terminal.feed(&out);
        terminal.check(&shown, &editor.text(), editor.cursor());
        prop_assert!(editor.text().len() <= text.len());
    }
}
