//! Types numbered lines on the keyboard, one scan code after the other.

use crate::victim::Victim;
use abi::TaskId;
use alloc::collections::VecDeque;
use alloc::string::String;
use fault_injection::keys::{AGAIN, CAPS, Judge, LET_GO, scan_code};
use fault_injection::line::line;

/// Letters of a typed line.
const LETTERS: usize = 6;

/// A scan code, and the key that has arrived when it has.
type Code = (u8, Option<u8>);

/// Who types, with the judge of what arrives.
#[derive(Default)]
pub struct Typist {
    pub judge: Judge,
    codes: VecDeque<Code>,
    text: String,
    place: usize,
    /// Lines begun.
    lines: u32,
    /// Waits for [`AGAIN`] to arrive.
    pub asks: bool,
    /// Since when what is on its way is waited for.
    pub waits_since_ns: u64,
    /// No new lines.
    pub stopped: bool,
}

impl Typist {
    /// Types a scan code if there is one to type and the controller takes it. Returns whether it did.
    pub fn step(&mut self, victim: &Victim, life: TaskId) -> bool {
        if self.codes.is_empty() && !self.asks {
            self.next_key();
        }
        let Some(&(code, key)) = self.codes.front() else { return false };
        if victim.type_code(life, code).is_none() {
            return false;
        }
        self.codes.pop_front();
        if let Some(key) = key {
            self.judge.typed(key);
        }
        true
    }

    /// Nothing is to be typed, and everything has arrived.
    pub fn is_idle(&self) -> bool {
        self.stopped && self.codes.is_empty() && self.place >= self.text.len() && self.judge.on_the_way() == 0
    }

    /// Something is to be typed, or on its way.
    pub fn is_busy(&self) -> bool {
        !self.codes.is_empty() || self.judge.on_the_way() > 0
    }

    /// Lines that are typed in full.
    pub fn lines(&self) -> u32 {
        self.lines
    }

    /// Lets go of all keys, and asks for a sign that keys arrive again.
    pub fn ask(&mut self, caps: bool) {
        self.codes.clear();
        self.judge.forget();
        let caps = CAPS.into_iter().filter(|_| caps);
        self.codes.extend(LET_GO.into_iter().chain(caps).map(|code| (code, None)));
        self.press(AGAIN);
        self.asks = true;
    }

    /// Keys arrive as they should: goes back to the first line that has not arrived.
    pub fn again(&mut self) -> fault_injection::keys::Damage {
        self.asks = false;
        self.lines = self.judge.lines.next;
        self.text.clear();
        self.place = 0;
        self.judge.close()
    }

    fn next_key(&mut self) {
        if self.place >= self.text.len() {
            if self.stopped {
                return;
            }
            self.text = line(self.lines, LETTERS) + "\n";
            self.lines += 1;
            self.place = 0;
        }
        if let Some(&key) = self.text.as_bytes().get(self.place) {
            self.press(key);
            self.place += 1;
        }
    }

    fn press(&mut self, key: u8) {
        if let Some(code) = scan_code(key) {
            self.codes.extend([(code, Some(key)), (code | 0x80, None)]);
        }
    }
}
