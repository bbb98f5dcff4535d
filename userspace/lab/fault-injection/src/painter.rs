//! Writes numbered lines to the screen, and looks whether it shows them.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::string::String;
use alloc::vec;
use driver_vga::{Client, Error};
use fault_injection::client::{Chaos, Order, letters};
use fault_injection::line::line;
use fault_injection::rows::{COLS, ROWS, Rows};
use rt::println;

rt::entry!(run);

/// It looks at the screen after so many lines, on the average.
const LOOK_EVERY: u64 = 3;

/// Ends a sequence that may have been begun, then sets everything back (ECMA-48: CAN, RIS).
const RESET: &str = "\x18\x1bc";

struct Painter {
    chaos: Chaos,
    vga: Client,
    rows: Rows,
    next: u32,
}

fn run() {
    let vga = Client::peer().expect("the task table lists no peer `vga`");
    let mut painter = Painter { chaos: Chaos::peer(), vga, rows: Rows::default(), next: 0 };
    painter.repaint(0);
    loop {
        match painter.chaos.report(painter.next, painter.next, &[]) {
            Order::GoOn => {
                painter.chaos.think();
                painter.chaos.begin();
                painter.one_line();
                if painter.chaos.random().once_in(LOOK_EVERY) {
                    painter.look();
                }
                painter.chaos.end();
            }
            Order::Repeat(from, _) => {
                painter.chaos.begin();
                painter.repaint(from);
                painter.chaos.end();
            }
            Order::Finish => {
                painter.look();
                for (number, row) in painter.rows.iter().enumerate() {
                    println!("row {number} {row}");
                }
                painter.chaos.report(painter.next, painter.next, &[]);
                painter.chaos.rest();
            }
        }
    }
}

impl Painter {
    /// Erases the screen and writes the lines from this one on anew.
    fn repaint(&mut self, from: u32) {
        let next = self.next;
        self.write(RESET);
        self.rows = Rows::default();
        self.next = from;
        while self.next < next {
            self.one_line();
        }
        self.look();
    }

    fn one_line(&mut self) {
        let text = line(self.next, letters(self.next));
        let mut whole = String::from("\n");
        whole.push_str(&text);
        self.write(&whole);
        self.rows.push(text);
        self.next += 1;
    }

    fn write(&mut self, text: &str) {
        let result = self.vga.write(text.as_bytes()).map(drop);
        self.check(result);
    }

    fn look(&mut self) {
        let mut cells = vec![0; ROWS * COLS * 2];
        let result = self.vga.read_cells(&mut cells).map(drop);
        self.check(result);
        if let Some(wrong) = self.rows.compare(&cells) {
            self.chaos.wrong(wrong.missing, wrong.doubled);
        }
    }

    fn check(&mut self, result: Result<(), Error>) {
        match result {
            Ok(()) => {}
            Err(Error::Refused(_)) => self.chaos.refused(),
            Err(Error::Call(_)) => rt::exit(1),
        }
    }
}
