//! The terminal: 80 by 25 cells, a cursor, a pen, and the effect of text and escape sequences on
//! them. Independent of hardware.

use crate::color::Pen;
use crate::cp437;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Columns of the screen.
pub const COLS: usize = 80;
/// Rows of the screen.
pub const ROWS: usize = 25;
/// Cells of the screen, in row order; each has the glyph in its lower byte and the attribute in its
/// upper.
pub const CELLS: usize = COLS * ROWS;
/// Length of [`Screen::encode`], in bytes.
pub const STATE_LEN: usize = 64;
/// The set of all rows, one bit each.
pub const ALL_ROWS: u32 = (1 << ROWS) - 1;

const TAB: usize = 8;

/// The cursor, with everything that is saved with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cursor {
    col: usize,
    row: usize,
    /// Whether the last column was written: the next character goes to the next line first.
    wrap: bool,
    pen: Pen,
}

impl Cursor {
    const fn home(pen: Pen) -> Self {
        Cursor { col: 0, row: 0, wrap: false, pen }
    }

    fn encode(self) -> [u8; 6] {
        let [fg, bg, flags] = self.pen.encode();
        [self.col as u8, self.row as u8, self.wrap.into(), fg, bg, flags]
    }

    fn decode([col, row, wrap, fg, bg, flags]: [u8; 6]) -> Self {
        let col = usize::from(col).min(COLS - 1);
        let row = usize::from(row).min(ROWS - 1);
        Cursor { col, row, wrap: wrap & 1 != 0 && col == COLS - 1, pen: Pen::decode([fg, bg, flags]) }
    }
}

/// The terminal's state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Screen {
    /// [`CELLS`] cells, on the heap: a driver has a small stack.
    cells: Box<[u16]>,
    dirty: u32,
    cursor: Cursor,
    saved: Cursor,
    /// The pen after a "reset" sequence.
    plain: Pen,
    visible: bool,
    block: bool,
    autowrap: bool,
    /// Whether a line feed also moves the cursor to the first column.
    newline: bool,
    /// First and last row of the region that scrolls.
    region: (usize, usize),
}

impl Default for Screen {
    fn default() -> Self {
        let plain = Pen::new(7, 0);
        Screen {
            cells: vec![plain.blank(); CELLS].into_boxed_slice(),
            dirty: ALL_ROWS,
            cursor: Cursor::home(plain),
            saved: Cursor::home(plain),
            plain,
            visible: true,
            block: false,
            autowrap: true,
            newline: true,
            region: (0, ROWS - 1),
        }
    }
}

impl Screen {
    /// All cells, in row order.
    pub fn cells(&self) -> &[u16] {
        &self.cells
    }

    /// The cells of a row; empty for rows past the end.
    pub fn row(&self, row: usize) -> &[u16] {
        self.cells.chunks_exact(COLS).nth(row).unwrap_or_default()
    }

    /// Column and row of the cursor, always within the screen.
    pub fn cursor(&self) -> (usize, usize) {
        (self.cursor.col, self.cursor.row)
    }

    /// Whether the cursor is visible.
    pub fn cursor_visible(&self) -> bool {
        self.visible
    }

    /// Whether the cursor fills its cell; otherwise it is an underline.
    pub fn cursor_block(&self) -> bool {
        self.block
    }

    /// Takes the set of rows that changed since the previous call, one bit each.
    pub fn take_dirty(&mut self) -> u32 {
        core::mem::take(&mut self.dirty)
    }

    /// Erases everything and moves the cursor home. Colours and modes stay.
    pub fn clear(&mut self) {
        self.cursor.col = 0;
        self.cursor.row = 0;
        self.cursor.wrap = false;
        self.erase(0, CELLS);
    }

    /// Sets the colours of future text, also for after a reset. The lower four bits count.
    pub fn set_color(&mut self, fg: u8, bg: u8) {
        self.plain = Pen::new(fg, bg);
        self.cursor.pen = self.plain;
    }

    /// The state without the cells, for memory that outlives the driver.
    pub fn encode(&self) -> [u8; STATE_LEN] {
        let mut out = [0; STATE_LEN];
        let flags = u8::from(self.visible)
            | u8::from(self.block) << 1
            | u8::from(self.autowrap) << 2
            | u8::from(self.newline) << 3;
        let [fg, bg, pen] = self.plain.encode();
        let tail = [fg, bg, pen, flags, self.region.0 as u8, self.region.1 as u8];
        for (chunk, part) in out.chunks_exact_mut(6).zip([self.cursor.encode(), self.saved.encode(), tail]) {
            chunk.copy_from_slice(&part);
        }
        out
    }

    /// The inverse of [`Screen::encode`]. Accepts any bytes: the result is always a valid screen.
    /// Missing cells are black, those beyond [`CELLS`] are dropped.
    pub fn decode(state: &[u8; STATE_LEN], mut cells: Vec<u16>) -> Screen {
        cells.resize(CELLS, 0);
        let part = |i: usize| core::array::from_fn::<u8, 6, _>(|j| state[i * 6 + j]);
        let [fg, bg, pen, flags, top, bottom] = part(2);
        let region = (usize::from(top), usize::from(bottom));
        let sound = region.0 < region.1 && region.1 < ROWS;
        Screen {
            cells: cells.into_boxed_slice(),
            dirty: ALL_ROWS,
            cursor: Cursor::decode(part(0)),
            saved: Cursor::decode(part(1)),
            plain: Pen::decode([fg, bg, pen]),
            visible: flags & 1 != 0,
            block: flags & 2 != 0,
            autowrap: flags & 4 != 0,
            newline: flags & 8 != 0,
            region: if sound { region } else { (0, ROWS - 1) },
        }
    }

    /// Writes one character at the cursor; wraps first if the last column was written.
    fn put(&mut self, c: char) {
        if c.is_control() || cp437::is_zero_width(c) {
            return;
        }
        if self.cursor.wrap && self.autowrap {
            self.cursor.col = 0;
            self.index();
        }
        let cell = u16::from(self.cursor.pen.attribute()) << 8 | u16::from(cp437::from_char(c));
        if let Some(place) = self.cells.get_mut(self.cursor.row * COLS + self.cursor.col) {
            *place = cell;
        }
        self.dirty |= 1 << self.cursor.row;
        if self.cursor.col + 1 < COLS {
            self.cursor.col += 1;
        } else {
            self.cursor.wrap = self.autowrap;
        }
    }

    /// Executes a control character (ECMA-48, C0).
    fn control(&mut self, byte: u8) {
        match byte {
            0x08 => self.go(self.cursor.col.saturating_sub(1), self.cursor.row),
            b'\t' => self.tab(1),
            b'\n' | 0x0b | 0x0c => {
                if self.newline {
                    self.cursor.col = 0;
                }
                self.index();
            }
            b'\r' => self.go(0, self.cursor.row),
            _ => {}
        }
    }

    /// Moves the cursor, at most to the screen's edge.
    fn go(&mut self, col: usize, row: usize) {
        self.cursor.col = col.min(COLS - 1);
        self.cursor.row = row.min(ROWS - 1);
        self.cursor.wrap = false;
    }

    fn tab(&mut self, count: usize) {
        self.go((self.cursor.col / TAB).saturating_add(count).saturating_mul(TAB), self.cursor.row);
    }

    fn back_tab(&mut self, count: usize) {
        self.go(self.cursor.col.div_ceil(TAB).saturating_sub(count) * TAB, self.cursor.row);
    }

    /// Moves the cursor up by `count` rows, but not out of the scrolling region.
    fn up(&mut self, count: usize) {
        let limit = if self.cursor.row >= self.region.0 { self.region.0 } else { 0 };
        self.go(self.cursor.col, self.cursor.row.saturating_sub(count).max(limit));
    }

    fn down(&mut self, count: usize) {
        let limit = if self.cursor.row <= self.region.1 { self.region.1 } else { ROWS - 1 };
        self.go(self.cursor.col, self.cursor.row.saturating_add(count).min(limit));
    }

    /// Moves the cursor down one row; at the end of the region, scrolls the region up instead.
    fn index(&mut self) {
        self.cursor.wrap = false;
        if self.cursor.row == self.region.1 {
            self.scroll_up(self.region.0, 1);
        } else {
            self.go(self.cursor.col, self.cursor.row + 1);
        }
    }

    fn reverse_index(&mut self) {
        self.cursor.wrap = false;
        if self.cursor.row == self.region.0 {
            self.scroll_down(self.region.0, 1);
        } else {
            self.go(self.cursor.col, self.cursor.row.saturating_sub(1));
        }
    }

    /// Moves the rows from `top` to the end of the region up by `count`; blank rows follow.
    fn scroll_up(&mut self, top: usize, count: usize) {
        let end = self.region.1 + 1;
        let count = count.min(end.saturating_sub(top));
        self.cells.copy_within((top + count) * COLS..end * COLS, top * COLS);
        self.dirty |= rows(top, end);
        self.erase((end - count) * COLS, end * COLS);
    }

    fn scroll_down(&mut self, top: usize, count: usize) {
        let end = self.region.1 + 1;
        let count = count.min(end.saturating_sub(top));
        self.cells.copy_within(top * COLS..(end - count) * COLS, (top + count) * COLS);
        self.dirty |= rows(top, end);
        self.erase(top * COLS, (top + count) * COLS);
    }

    /// Whether the cursor is in the scrolling region, where lines can be inserted and deleted.
    fn in_region(&self) -> bool {
        (self.region.0..=self.region.1).contains(&self.cursor.row)
    }

    fn erase(&mut self, from: usize, to: usize) {
        let to = to.min(CELLS);
        if from < to {
            self.cells[from..to].fill(self.cursor.pen.blank());
            self.dirty |= rows(from / COLS, to.div_ceil(COLS));
        }
    }

    fn erase_display(&mut self, how: u16) {
        let here = self.cursor.row * COLS + self.cursor.col;
        match how {
            0 => self.erase(here, CELLS),
            1 => self.erase(0, here + 1),
            2 | 3 => self.erase(0, CELLS),
            _ => {}
        }
    }

    fn erase_line(&mut self, how: u16) {
        let start = self.cursor.row * COLS;
        let here = start + self.cursor.col;
        match how {
            0 => self.erase(here, start + COLS),
            1 => self.erase(start, here + 1),
            2 => self.erase(start, start + COLS),
            _ => {}
        }
    }

    /// Moves the characters from the cursor on to the right (`insert`) or to the left within their
    /// line.
    fn shift(&mut self, count: usize, insert: bool) {
        let here = self.cursor.row * COLS + self.cursor.col;
        let end = (self.cursor.row + 1) * COLS;
        let count = count.min(end - here);
        if insert {
            self.cells.copy_within(here..end - count, here + count);
            self.erase(here, here + count);
        } else {
            self.cells.copy_within(here + count..end, here);
            self.erase(end - count, end);
        }
        self.dirty |= 1 << self.cursor.row;
        self.cursor.wrap = false;
    }

    fn private_mode(&mut self, mode: u16, on: bool) {
        match mode {
            7 => {
                self.autowrap = on;
                self.cursor.wrap &= on;
            }
            25 => self.visible = on,
            _ => {}
        }
    }

    fn reset(&mut self) {
        *self = Screen::default();
    }
}

/// The set of rows `from..to`.
const fn rows(from: usize, to: usize) -> u32 {
    ALL_ROWS & ((1 << to) - 1) & !((1 << from) - 1)
}

impl vte::Perform for Screen {
    fn print(&mut self, c: char) {
        self.put(c);
    }

    fn execute(&mut self, byte: u8) {
        self.control(byte);
    }

    fn csi_dispatch(&mut self, params: &vte::Params, intermediates: &[u8], ignore: bool, action: char) {
        if ignore {
            return;
        }
        let raw = |i: usize| params.iter().nth(i).and_then(|p| p.first().copied()).unwrap_or(0);
        let count = |i: usize| usize::from(raw(i).max(1));
        let Cursor { col, row, .. } = self.cursor;
        match (intermediates, action) {
            ([], 'A') => self.up(count(0)),
            ([], 'B' | 'e') => self.down(count(0)),
            ([], 'C' | 'a') => self.go(col.saturating_add(count(0)), row),
            ([], 'D') => self.go(col.saturating_sub(count(0)), row),
            ([], 'E') => {
                self.down(count(0));
                self.go(0, self.cursor.row);
            }
            ([], 'F') => {
                self.up(count(0));
                self.go(0, self.cursor.row);
            }
            ([], 'G' | '`') => self.go(count(0) - 1, row),
            ([], 'd') => self.go(col, count(0) - 1),
            ([], 'H' | 'f') => self.go(count(1) - 1, count(0) - 1),
            ([], 'I') => self.tab(count(0)),
            ([], 'Z') => self.back_tab(count(0)),
            ([], 'J') => self.erase_display(raw(0)),
            ([], 'K') => self.erase_line(raw(0)),
            ([], 'X') => self.erase(row * COLS + col, row * COLS + (col + count(0)).min(COLS)),
            ([], '@') => self.shift(count(0), true),
            ([], 'P') => self.shift(count(0), false),
            ([], 'L') if self.in_region() => self.scroll_down(row, count(0)),
            ([], 'M') if self.in_region() => self.scroll_up(row, count(0)),
            ([], 'S') => self.scroll_up(self.region.0, count(0)),
            ([], 'T') => self.scroll_down(self.region.0, count(0)),
            ([], 'm') => crate::sgr::apply(&mut self.cursor.pen, self.plain, params),
            ([], 'r') => {
                let bottom = if raw(1) == 0 { ROWS } else { count(1).min(ROWS) };
                if count(0) < bottom {
                    self.region = (count(0) - 1, bottom - 1);
                    self.go(0, 0);
                }
            }
            ([], 's') => self.saved = self.cursor,
            ([], 'u') => self.cursor = self.saved,
            ([], 'h' | 'l') if raw(0) == 20 => self.newline = action == 'h',
            ([b'?'], 'h' | 'l') => {
                params.iter().filter_map(<[u16]>::first).for_each(|&mode| self.private_mode(mode, action == 'h'));
            }
            ([b' '], 'q') => self.block = raw(0) <= 2,
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], ignore: bool, byte: u8) {
        if ignore || !intermediates.is_empty() {
            return;
        }
        match byte {
            b'7' => self.saved = self.cursor,
            b'8' => self.cursor = self.saved,
            b'D' => self.index(),
            b'E' => {
                self.cursor.col = 0;
                self.index();
            }
            b'M' => self.reverse_index(),
            b'c' => self.reset(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
