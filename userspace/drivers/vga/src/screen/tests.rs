use super::*;
use crate::color::Color;
use crate::stream::Stream;
use alloc::string::String;
use alloc::vec::Vec;
use proptest::prelude::*;

fn on(screen: &mut Screen, text: &str) {
    Stream::default().feed(screen, text.as_bytes());
}

fn after(text: &str) -> Screen {
    let mut screen = Screen::default();
    on(&mut screen, text);
    screen
}

fn line(screen: &Screen, row: usize) -> String {
    let text: String = screen.row(row).iter().map(|&c| cp437::to_char(c as u8)).collect();
    text.trim_end().into()
}

fn attribute(screen: &Screen, col: usize, row: usize) -> u8 {
    (screen.row(row)[col] >> 8) as u8
}

fn attr(fg: Color, bg: Color) -> u8 {
    (bg as u8) << 4 | fg as u8
}

#[test]
fn text_lines_and_returns() {
    let s = after("one\ntwo\r\nthree\rTH");
    assert_eq!((line(&s, 0), line(&s, 1), line(&s, 2)), ("one".into(), "two".into(), "THree".into()));
    assert_eq!(s.cursor(), (2, 2));
    let s = after("\x1b[20lab\ncd");
    assert_eq!((line(&s, 1), s.cursor()), ("  cd".into(), (4, 1)));
}

#[test]
fn the_last_column_wraps_only_when_more_comes() {
    let full = "x".repeat(80);
    let s = after(&full);
    assert_eq!(s.cursor(), (79, 0));
    let s = after(&(full.clone() + "y"));
    assert_eq!((line(&s, 1), s.cursor()), ("y".into(), (1, 1)));
    // A line of exactly 80 leaves no empty line behind.
    let s = after(&(full.clone() + "\r\nz"));
    assert_eq!(line(&s, 1), "z");
    // Backspace takes the wrap back.
    let s = after(&(full.clone() + "\x08y"));
    assert_eq!(line(&s, 0), "x".repeat(78) + "yx");
    let s = after(&("\x1b[?7l".to_owned() + &full + "yz"));
    assert_eq!((line(&s, 0), line(&s, 1)), ("x".repeat(79) + "z", String::new()));
}

#[test]
fn text_scrolls_at_the_bottom() {
    let mut s = Screen::default();
    for n in 0..30 {
        on(&mut s, &std::format!("{n}\n"));
    }
    assert_eq!((line(&s, 0), line(&s, 23), line(&s, 24)), ("6".into(), "29".into(), String::new()));
    assert_eq!(s.cursor(), (0, 24));
    let s = after(&("x".repeat(80 * 25) + "y"));
    assert_eq!((line(&s, 23).len(), line(&s, 24)), (80, "y".into()));
}

#[test]
fn tabs_and_backspaces() {
    assert_eq!(after("a\tb").cursor(), (9, 0));
    assert_eq!(after("\t\t\x08").cursor(), (15, 0));
    assert_eq!(after(&"\t".repeat(20)).cursor(), (79, 0));
    assert_eq!(after("\x08\x08").cursor(), (0, 0));
    assert_eq!(after("\x1b[3I\x1b[Z").cursor(), (16, 0));
    assert_eq!(after("\x1b[12G\x1b[Z").cursor(), (8, 0));
}

#[test]
fn the_cursor_moves_as_told_and_stays_inside() {
    assert_eq!(after("\x1b[5;10H").cursor(), (9, 4));
    assert_eq!(after("\x1b[H").cursor(), (0, 0));
    assert_eq!(after("\x1b[;7f").cursor(), (6, 0));
    assert_eq!(after("\x1b[999;999H").cursor(), (79, 24));
    assert_eq!(after("\x1b[65535B\x1b[65535C").cursor(), (79, 24));
    assert_eq!(after("\x1b[10;10H\x1b[2A\x1b[3D").cursor(), (6, 7));
    assert_eq!(after("\x1b[10;10H\x1b[B\x1b[C").cursor(), (10, 10));
    assert_eq!(after("\x1b[10;10H\x1b[2E").cursor(), (0, 11));
    assert_eq!(after("\x1b[10;10H\x1b[2F").cursor(), (0, 7));
    assert_eq!(after("\x1b[10;10H\x1b[4G\x1b[2d").cursor(), (3, 1));
    assert_eq!(after("\x1b[3;4H\x1b7\x1b[H\x1b8").cursor(), (3, 2));
    assert_eq!(after("\x1b[3;4H\x1b[s\x1b[H\x1b[u").cursor(), (3, 2));
}

#[test]
fn erasing() {
    let text = "abcdef\nghijkl\nmnopqr\x1b[2;3H";
    let lines = |s: &Screen| (line(s, 0), line(s, 1), line(s, 2));
    let expect = |seq: &str, a: &str, b: &str, c: &str| {
        assert_eq!(lines(&after(&(text.to_owned() + seq))), (a.into(), b.into(), c.into()), "{seq:?}");
    };
    expect("\x1b[K", "abcdef", "gh", "mnopqr");
    expect("\x1b[1K", "abcdef", "   jkl", "mnopqr");
    expect("\x1b[2K", "abcdef", "", "mnopqr");
    expect("\x1b[J", "abcdef", "gh", "");
    expect("\x1b[1J", "", "   jkl", "mnopqr");
    expect("\x1b[2J", "", "", "");
    expect("\x1b[2X", "abcdef", "gh  kl", "mnopqr");
    expect("\x1b[2@", "abcdef", "gh  ijkl", "mnopqr");
    expect("\x1b[2P", "abcdef", "ghkl", "mnopqr");
    expect("\x1b[999P", "abcdef", "gh", "mnopqr");
    expect("\x1b[999@", "abcdef", "gh", "mnopqr");
    expect("\x1b[L", "abcdef", "", "ghijkl");
    expect("\x1b[M", "abcdef", "mnopqr", "");
    expect("\x1b[S", "ghijkl", "mnopqr", "");
    expect("\x1b[T", "", "abcdef", "ghijkl");
    expect("\x1b[999L", "abcdef", "", "");
    assert_eq!(after(&(text.to_owned() + "\x1b[2J")).cursor(), (2, 1));
}

#[test]
fn erased_cells_take_the_background() {
    let s = after("\x1b[44m\x1b[2J");
    assert!(s.cells().iter().all(|&c| c == 0x1720));
}

#[test]
fn a_scrolling_region_keeps_the_rest() {
    let mut s = after("top\x1b[25;1Hbottom\x1b[2;24r");
    for n in 0..40 {
        on(&mut s, &std::format!("\x1b[24;1H{n}\n"));
    }
    assert_eq!((line(&s, 0), line(&s, 24), line(&s, 22)), ("top".into(), "bottom".into(), "39".into()));
    on(&mut s, "\x1b[2;1H\x1bMnew");
    assert_eq!((line(&s, 0), line(&s, 1), line(&s, 23)), ("top".into(), "new".into(), "39".into()));
    on(&mut s, "\x1b[r\x1b[H\x1bM");
    assert_eq!((line(&s, 0), line(&s, 1), line(&s, 24)), (String::new(), "top".into(), "39".into()));
}

#[test]
fn colours() {
    use Color::{Black, Blue, Brown, Cyan, LightGray, LightRed, Red, White, Yellow};
    let look = |seq: &str| attribute(&after(&std::format!("{seq}x")), 0, 0);
    assert_eq!(look(""), attr(LightGray, Black));
    assert_eq!(look("\x1b[31;44m"), attr(Red, Blue));
    assert_eq!(look("\x1b[91;103m"), attr(LightRed, Yellow));
    assert_eq!(look("\x1b[1;31m"), attr(LightRed, Black));
    assert_eq!(look("\x1b[1;31;22m"), attr(Red, Black));
    assert_eq!(look("\x1b[7m"), attr(Black, LightGray));
    assert_eq!(look("\x1b[7;27m"), attr(LightGray, Black));
    assert_eq!(look("\x1b[31;44;1;7m\x1b[m"), attr(LightGray, Black));
    assert_eq!(look("\x1b[31;44m\x1b[39;49m"), attr(LightGray, Black));
    assert_eq!(look("\x1b[38;5;9;48;5;3m"), attr(LightRed, Brown));
    assert_eq!(look("\x1b[38;2;255;255;255m"), attr(White, Black));
    assert_eq!(look("\x1b[38:2::0:170:170m"), attr(Cyan, Black));
    assert_eq!(look("\x1b[38:2:0:170:170m"), attr(Cyan, Black));
    assert_eq!(look("\x1b[48:5:4m"), attr(LightGray, Blue));
    assert_eq!(look("\x1b[38;5m\x1b[38m\x1b[38;2;1m"), attr(LightGray, Black));
}

#[test]
fn the_protocols_colours_outlive_a_reset() {
    let mut s = Screen::default();
    s.set_color(Color::Yellow as u8, Color::Blue as u8);
    on(&mut s, "\x1b[31mx\x1b[0my");
    assert_eq!(attribute(&s, 0, 0), attr(Color::Red, Color::Blue));
    assert_eq!(attribute(&s, 1, 0), attr(Color::Yellow, Color::Blue));
    s.clear();
    assert!(s.cells().iter().all(|&c| c == 0x1e20));
    on(&mut s, "\x1bc");
    assert_eq!(s.cells(), Screen::default().cells());
}

#[test]
fn unicode_becomes_code_page_437() {
    let s = after("Käse─█漢e\u{301}");
    let glyphs: Vec<u8> = s.row(0).iter().take(9).map(|&c| c as u8).collect();
    assert_eq!(glyphs, [b'K', 0x84, b's', b'e', 0xc4, 0xdb, cp437::REPLACEMENT, b'e', b' ']);
    let mut s = Screen::default();
    Stream::default().feed(&mut s, b"a\xff\xc2\x9b\x7fb");
    let glyphs: Vec<u8> = s.row(0).iter().take(3).map(|&c| c as u8).collect();
    assert_eq!(glyphs, [b'a', cp437::REPLACEMENT, b'b']);
}

#[test]
fn the_cursor_can_be_hidden_and_shaped() {
    let s = after("\x1b[?25l");
    assert!(!s.cursor_visible());
    assert!(after("\x1b[?25l\x1b[?1;25h").cursor_visible());
    assert!(!after("").cursor_block());
    assert!(after("\x1b[2 q").cursor_block());
    assert!(!after("\x1b[2 q\x1b[4 q").cursor_block());
}

#[test]
fn titles_and_unknown_sequences_leave_no_trace() {
    let s = after("a\x1b]0;title\x07b\x1b[?1049h\x1b[6nc\x1bPq#\x1b\\d\x1b(B\x1b=e");
    assert_eq!(line(&s, 0), "abcde");
}

#[test]
fn dirty_rows_are_those_that_changed() {
    let mut s = Screen::default();
    assert_eq!(s.take_dirty(), ALL_ROWS);
    on(&mut s, "\x1b[3;1Hab\x1b[5;1H");
    assert_eq!(s.take_dirty(), 1 << 2);
    on(&mut s, "\x1b[K\n");
    assert_eq!(s.take_dirty(), 1 << 4);
    assert_eq!(s.take_dirty(), 0);
}

fn sound(s: &Screen) {
    assert!(s.cursor.col < COLS && s.cursor.row < ROWS && s.saved.col < COLS && s.saved.row < ROWS);
    assert!(s.region.0 < s.region.1 && s.region.1 < ROWS);
    assert!(!s.cursor.wrap || s.cursor.col == COLS - 1);
}

proptest! {
    #[test]
    fn any_bytes_leave_a_possible_screen(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut s = Screen::default();
        let mut stream = Stream::default();
        for b in bytes {
            stream.feed(&mut s, &[b]);
            sound(&s);
        }
    }

    #[test]
    fn any_sequences_leave_a_possible_screen_and_dirty_rows_hold_every_change(
        texts in prop::collection::vec("(\x1b\\[\\??[0-9]{0,3};?[0-9]{0,5}[@A-Za-z`]|\x1b[78DEMc]|[ -~é漢]{0,90}|[\n\r\t\x08]){0,6}", 0..12),
    ) {
        let mut s = Screen::default();
        for text in texts {
            let before = s.cells().to_vec();
            s.take_dirty();
            on(&mut s, &text);
            sound(&s);
            let dirty = s.take_dirty();
            for row in 0..ROWS {
                let cells = &before[row * COLS..][..COLS];
                prop_assert!(dirty & 1 << row != 0 || s.row(row) == cells, "row {} after {:?}", row, text);
            }
        }
    }

    #[test]
    fn any_state_decodes_to_a_possible_screen(
        state in any::<[u8; STATE_LEN]>(),
        text in "(\x1b\\[[0-9]{0,3}[@A-Za-z]|[ -~\n]){0,20}",
    ) {
        let mut s = Screen::decode(&state, vec![0; CELLS]);
        sound(&s);
        prop_assert_eq!(&Screen::decode(&s.encode(), Vec::new()), &s);
        on(&mut s, &text);
        sound(&s);
    }
}
