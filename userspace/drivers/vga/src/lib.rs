//! The VGA text driver: its protocol, the client's stub, and its logic, which runs on the host too.
//!
//! A screen is 80 by 25 cells of 16 colours. Text is UTF-8 with the escape sequences of ECMA-48 as
//! terminals implement them; a character that code page 437 lacks becomes a box with a question
//! mark. The screen survives the driver: see [`keep`].
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod color;
pub mod cp437;
pub mod device;
pub mod font;
pub mod keep;
pub mod mode;
pub mod screen;
mod sgr;
pub mod stream;
pub mod task;
#[cfg(test)]
mod task_tests;
pub mod turns;

pub use color::Color;
pub use device::Trouble;
pub use font::FONT;

rt::protocol! {
    /// The VGA text driver's requests. One thread of a task writes at a time. All requests survive
    /// the driver's death, unless the driver dies again and again.
    pub protocol vga;

    refusals {}

    /// Writes text, and returns the number of its bytes when all of it is on the screen. Text
    /// appears once: a write whose number was finished already is only acknowledged; one that was
    /// begun continues where the dead life stopped.
    [1 numbered(16) later] fn write(text: &[u8]) -> usize;

    /// Erases the screen and moves the cursor home.
    [2 idempotent(16)] fn clear();

    /// Sets the colours of future text, also for after a "reset" sequence.
    [3 idempotent(16)] fn set_color(foreground: Color, background: Color);

    /// Size of the screen, and position of its cursor.
    [4 idempotent(16)] fn info() -> Info;

    /// Copies as many cells as fit: two bytes each, in row order, glyph (code page 437) and
    /// attribute. Returns the number of bytes.
    [5 idempotent(16)] fn read_cells(cells: &mut [u8]) -> Filled;

    /// Whether text can be seen: see [`Client::trouble`].
    [6 idempotent(16)] fn sight() -> Sight;
}

rt::words! {
    /// Size of the screen, and position of its cursor.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Info {
        /// Columns of the screen.
        pub cols: usize,
        /// Rows of the screen.
        pub rows: usize,
        /// Column of the cursor, from 0.
        pub cursor_col: usize,
        /// Row of the cursor, from 0.
        pub cursor_row: usize,
    }
}

impl Client {
    /// Why text cannot be seen; `None` if it can.
    ///
    /// # Errors
    /// [`Error`], if the driver does not come back.
    pub fn trouble(&self) -> Result<Option<Trouble>, Error> {
        self.sight().map(Sight::trouble)
    }
}

impl core::fmt::Write for Client {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        Client::write(self, text.as_bytes()).map(drop).map_err(|_| core::fmt::Error)
    }
}

rt::words! {
    /// Whether text can be seen.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Sight {
        /// The kind of trouble, or none.
        pub what: Seen,
        /// For [`Trouble::NoText`]: the value that was written.
        pub written: u16,
        /// For [`Trouble::NoText`]: the value that was read.
        pub read: u16,
        /// For [`Trouble::NoText`]: the offset in the text window, in bytes.
        pub offset: usize,
    }
}

rt::words! {
    /// The kinds of [`Trouble`], and no trouble.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Seen {
        /// The screen shows the text.
        Text = 0,
        /// No adapter: [`Trouble::Absent`].
        Nothing = 1,
        /// No text mode: [`Trouble::NoText`].
        Other = 2,
    }
}

impl From<Option<Trouble>> for Sight {
    fn from(trouble: Option<Trouble>) -> Sight {
        let (what, (offset, written, read)) = match trouble {
            None => (Seen::Text, (0, 0, 0)),
            Some(Trouble::Absent) => (Seen::Nothing, (0, 0, 0)),
            Some(Trouble::NoText { offset, written, read }) => (Seen::Other, (offset, written, read)),
        };
        Sight { what, written, read, offset }
    }
}

impl Sight {
    /// Why text cannot be seen; `None` if it can.
    pub fn trouble(self) -> Option<Trouble> {
        let Sight { what, written, read, offset } = self;
        match what {
            Seen::Text => None,
            Seen::Nothing => Some(Trouble::Absent),
            Seen::Other => Some(Trouble::NoText { offset, written, read }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rt::ipc::Endpoint;
    use std::cell::RefCell;
    use std::rc::Rc;

    #[test]
    fn what_is_wrong_goes_through_a_message() {
        let none = Trouble::NoText { offset: 0xf9e, written: 0xa5c3, read: 0xffff };
        for trouble in [None, Some(Trouble::Absent), Some(none)] {
            assert_eq!(Sight::from(trouble).trouble(), trouble);
        }
    }

    #[test]
    fn writes_of_a_task_never_share_a_number() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let numbers = seen.clone();
        rt::fake::fake_peer(Endpoint(90), move |request| {
            numbers.borrow_mut().push(request.words[0]);
            Ok(rt::Answer::ok([1, 0, 0, 0]))
        });
        let (a, b) = (Client::new(Endpoint(90)), Client::new(Endpoint(90)));
        for client in [a, b, a] {
            assert_eq!(client.write(b"x"), Ok(1));
        }
        let seen = seen.borrow();
        assert!(0 < seen[0] && seen.is_sorted_by(|before, after| before < after), "{seen:?}");
    }
}
