//! From the keyboard to the screen: what the i8042 is given, as if it were typed, comes out on the screen, through both drivers and an async task
//! between them.

use crate::support::{Context, Life, Outcome, PATIENCE_MS, ask, check, eventually, peer, row, same, status};
use abi::TaskId;
use abi::syscall::PORT_WRITE;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use assist::typist;
use rt::syscall as sys;
use rt::time::sleep_ms;

const SCANCODES: usize = 100_000;

/// The controller's ports (IBM Personal System/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller").
const DATA: u16 = 0x60;
const CONTROL: u16 = 0x64;
/// A byte waits to be read, or the last one written was not taken yet.
const BUSY: u32 = 3;
/// The next byte written to the data port is to appear as if it came from the keyboard.
const WRITE_OUTPUT: u32 = 0xd2;
/// What a key's code has when it is let go (scan code set 1).
const RELEASE: u32 = 0x80;

/// Keys without shift on a keyboard for the US, by scan code.
const KEYS: &[(u8, &str)] = &[(0x02, "1234567890"), (0x10, "qwertyuiop"), (0x1e, "asdfghjkl"), (0x2c, "zxcvbnm")];
const ENTER: u32 = 0x1c;

/// Characters of a line: the others are the screen's.
const LINE: usize = 60;

/// Types on the keyboard's controller, in place of the keyboard.
struct Typing {
    driver: TaskId,
    /// How often a code had to wait for milliseconds because the controller had not been read.
    waits: u64,
}

impl Typing {
    fn port(&self, port: u16, access: u64, value: u32) -> Result<u32, String> {
        sys::debug_port(self.driver, port, access, value).context("debug_port")
    }

    fn is_busy(&self) -> Result<bool, String> {
        Ok(self.port(CONTROL, 1, 0)? & BUSY != 0)
    }

    /// As a keyboard does: it waits until the controller can take the code.
    fn code(&mut self, code: u32) -> Outcome {
        if self.is_busy()? {
            self.waits += 1;
            let mut waited = 0;
            while self.is_busy()? {
                waited += 1;
                check!(waited < PATIENCE_MS, "nobody reads the controller");
                sleep_ms(1);
            }
        }
        self.port(CONTROL, 1 | PORT_WRITE, WRITE_OUTPUT)?;
        self.port(DATA, 1 | PORT_WRITE, code).map(drop)
    }
}

pub fn a_hundred_thousand_scancodes() -> Outcome {
    let keyboard = driver_keyboard::Client::new(peer("keyboard")?);
    keyboard.set_layout(driver_keyboard::Layout::Us).context("layout")?;
    let screen = driver_vga::Client::new(peer("vga")?);
    screen.clear().context("clear")?;
    let typist = Life::start("typist", "")?;
    let server = peer("typist")?;
    let printing = Life::start("assist", assist::role::PRINT)?;
    let keys: Vec<(u32, char)> = KEYS
        .iter()
        .flat_map(|(first, keys)| keys.chars().zip(u32::from(*first)..).map(|(character, code)| (code, character)))
        .collect();
    let mut typing = Typing { driver: TaskId::from_u32(status(row("keyboard")?)?.id), waits: 0 };
    let (mut expected, mut column, mut random) = (String::new(), 0, 0x2545_f491_4f6c_dd1d_u64);
    let mut waits_of_pauses = Vec::new();
    for number in 0..SCANCODES / 2 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let key = keys.get(random as usize % keys.len()).copied().unwrap_or((ENTER, '\n'));
        column += 1;
        let (code, character) = if column == LINE { (ENTER, '\n') } else { key };
        if column == LINE {
            column = 0;
        }
        // A few times nobody reads for a while: the driver's memory fills, then the controller, and then this has to wait.
        if number % 10_000 == 5_000 {
            waits_of_pauses.push(typing.waits);
            ask(server, typist::PAUSE, [50, 0, 0, 0])?;
        }
        expected.push(character);
        typing.code(code)?;
        typing.code(code | RELEASE)?;
    }
    let count = (SCANCODES / 2) as u64;
    eventually("the end of the path", PATIENCE_MS, || Ok(ask(server, typist::TYPED, [0; 4])?[0] >= count))?;
    let [typed, folded, ..] = ask(server, typist::TYPED, [0; 4])?;
    same!(
        (typed, folded),
        (count, expected.chars().fold(0, typist::fold)),
        "characters on the screen, and their order"
    );
    waits_of_pauses.push(typing.waits);
    check!(waits_of_pauses.is_sorted_by(|a, b| a < b), "it never had to wait in some pause: {waits_of_pauses:?}");
    check!(status(row("assist")?)?.id == printing.id.to_u32(), "the other client has ended");
    check!(status(row("keyboard")?)?.id == typing.driver.to_u32(), "the driver has died");
    let lost = peer("keyboard")?.call(driver_keyboard::label::layout, [0; 4]).context("lost")?.words[1];
    same!(lost, 0, "events lost");
    drop((typist, printing));
    // The uppermost row is the other client's; below it are the last lines.
    let mut cells = vec![0; 80 * 25 * 2];
    screen.read_cells(&mut cells).context("cells")?;
    let row = |number: usize| -> String {
        let cells = cells.chunks(160).nth(number).unwrap_or_default();
        let text: String = cells.chunks(2).filter_map(|cell| cell.first()).map(|glyph| char::from(*glyph)).collect();
        text.trim_end().into()
    };
    check!(row(0).ends_with("from another client"), "the uppermost row is {:?}", row(0));
    let lines: Vec<&str> = expected.split('\n').collect();
    for (number, line) in (1..25).rev().zip(lines.iter().rev()) {
        same!(row(number), *line, "row {number} of the screen");
    }
    Ok(())
}
