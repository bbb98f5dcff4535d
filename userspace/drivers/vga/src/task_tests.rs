//! The whole driver, by its clients, on a card that is memory and a few registers, with deaths
//! before its steps.

use crate::keep::Keep;
use crate::mode::{CRTC, DISPI_BASE, DISPI_LEN, VGA_BASE, VGA_LEN};
use crate::screen::{COLS, ROWS};
use crate::task::Vga;
use crate::{Client, Color, Protocol};
use rt::port::FakePorts;
use rt::proto::Served;
use rt::testing::{Deaths, Harness, Ram, Running, every_nth_death};
use std::collections::BTreeMap;

type Task = Served<Vga, Protocol>;

/// A card of which the CRT controller's registers, and memory, can be read back.
fn start(text: &Ram, deaths: &Deaths) -> Running {
    let (mut ports, mut index, mut registers) = (FakePorts::new(), 0, BTreeMap::new());
    ports.hook(move |access| match access {
        rt::fake::Access::Write(CRTC, value) => {
            index = value;
            None
        }
        rt::fake::Access::Write(0x15, value) => {
            registers.insert(index, value);
            None
        }
        rt::fake::Access::Read(0x15) => registers.get(&index).copied(),
        _ => None,
    });
    Harness::new("vga")
        .ports("vga", VGA_BASE, VGA_LEN, ports)
        .ports("dispi", DISPI_BASE, DISPI_LEN, FakePorts::new())
        .device("font", 0x1_0000, Ram::new(0x1_0000))
        .device("text", 0x8000, text.clone())
        .keep(size_of::<Keep>())
        .deaths(deaths)
        .start::<Task>()
}

/// A row of the screen, without blanks at its end.
fn row(text: &Ram, number: usize) -> String {
    let bytes = text.bytes();
    let cells = bytes.chunks_exact(2).skip(number * COLS).take(COLS);
    let glyphs: String = cells.map(|cell| if cell[0] == 0 { ' ' } else { char::from(cell[0]) }).collect();
    glyphs.trim_end().to_owned()
}

fn writes(deaths: &Deaths) {
    let text = Ram::new(0x8000);
    let driver = start(&text, deaths);
    let (ann, ben) = (Client::new(driver.client(0)), Client::new(driver.client(1)));
    ann.write(b"one ").expect("it is written");
    ben.write(b"two ").expect("it is written");
    ann.write(b"three\r\nfour").expect("it is written");
    ben.set_color(Color::Yellow, Color::Blue).expect("there are such colours");
    ben.write("\u{2588}".as_bytes()).expect("it is written");
    assert_eq!((row(&text, 0), row(&text, 1)), ("one two three".into(), "four\u{db}".into()));
    assert_eq!(text.bytes()[(COLS + 4) * 2 + 1], 0x1e);
    assert_eq!(driver.lives() as usize, 1 + deaths.count());
    let mut cells = vec![0; COLS * ROWS * 2];
    assert_eq!(ann.read_cells(&mut cells).expect("it is read"), cells.len());
    assert_eq!(cells, text.bytes()[..cells.len()], "what the driver tells is what is seen");
}

#[test]
fn text_is_on_the_screen_once_whenever_the_driver_dies() {
    let tried = every_nth_death(29, writes);
    assert!(tried.steps > 4000 && tried.deaths == tried.steps.div_ceil(29), "{tried:?}");
}
