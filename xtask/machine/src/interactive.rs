//! The serial console on the user's terminal.

use crate::guest::{Guest, TimedOut};
use crate::qemu::{Display, End, Machine, Programs};
use crate::ui::say;
use anyhow::{Context, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The terminal's settings before we changed them.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// Gives the terminal back as it was found. Does nothing if it was not changed.
pub fn restore_terminal() {
    if let Some(saved) = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &saved);
    }
}

/// The terminal without line editing, echo or signal keys, until this goes.
struct Raw;

impl Raw {
    fn enter() -> Result<Self> {
        let settings = tcgetattr(std::io::stdin()).context("cannot read the terminal's settings")?;
        let mut raw = settings.clone();
        raw.make_raw();
        *SAVED.lock().unwrap_or_else(PoisonError::into_inner) = Some(settings);
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).context("cannot change the terminal's settings")?;
        Ok(Self)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore_terminal();
    }
}

/// What becomes of a byte that the user types.
#[derive(Debug, PartialEq, Eq)]
enum Typed {
    /// These go to the guest.
    Send(Vec<u8>),
    /// The user wants to leave.
    Quit,
}

/// Finds Ctrl-A X among what is typed. Ctrl-A twice is one Ctrl-A for the guest.
#[derive(Default)]
struct Keys {
    after_prefix: bool,
}

const PREFIX: u8 = 1;

impl Keys {
    fn typed(&mut self, bytes: &[u8]) -> Typed {
        let mut out = Vec::new();
        for byte in bytes {
            match (std::mem::take(&mut self.after_prefix), *byte) {
                (false, PREFIX) => self.after_prefix = true,
                (true, b'x' | b'X') => return Typed::Quit,
                (true, PREFIX) => out.push(PREFIX),
                (true, other) => out.extend([PREFIX, other]),
                (false, other) => out.push(other),
            }
        }
        Typed::Send(out)
    }
}

/// Boots the machine and joins its serial line to the terminal until it ends, or the user leaves with Ctrl-A X.
///
/// # Errors
/// When it cannot be booted, ends other than by a power-off, or the time is over.
pub fn run(machine: &Machine, programs: &Programs, kernel: &Path, limit: Option<Duration>) -> Result<()> {
    let far = Duration::from_secs(365 * 24 * 3600);
    let person = std::io::stdin().is_terminal() && machine.display != Display::Curses;
    if person {
        say("this terminal is the guest's serial console; Ctrl-A X leaves");
    }
    let mut guest = Guest::prepare(machine, programs, Some(kernel), limit.unwrap_or(far))?;
    let end = if machine.display == Display::Curses {
        // QEMU has the terminal. The serial line is read by the guest's helper, and logged.
        guest.go()?;
        guest.wait_end(limit.unwrap_or(far))?
    } else {
        let raw = if person { Some(Raw::enter()?) } else { None };
        // From the first byte on.
        let line = guest.serial.share()?;
        guest.go()?;
        let left = join(line, limit.map(|limit| Instant::now() + limit));
        drop(raw);
        if person {
            println!();
        }
        match left {
            Left::ByUser => {
                guest.stop();
                return Ok(());
            }
            Left::TooLate => {
                guest.stop();
                return Err(TimedOut(format!("the time limit of {} s is over", limit.unwrap_or(far).as_secs())).into());
            }
            Left::LineClosed => guest.wait_end(Duration::from_secs(10))?,
        }
    };
    match end {
        End::PoweredOff => Ok(()),
        // A window was closed.
        End::Stopped => Ok(()),
        end => Err(guest.ended(&end)),
    }
}

/// Why the console was left.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    ByUser,
    LineClosed,
    TooLate,
}

/// Copies both ways.
fn join(line: (UnixStream, crate::serial::Tap), until: Option<Instant>) -> Left {
    let (mut to_guest, from_guest) = line;
    let quit = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&quit);
    // This thread may block in read for ever; it ends with the process.
    std::thread::spawn(move || {
        let (mut keys, mut buffer) = (Keys::default(), [0; 256]);
        loop {
            match std::io::stdin().read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => match keys.typed(buffer.get(..count).unwrap_or_default()) {
                    Typed::Send(bytes) => {
                        if to_guest.write_all(&bytes).is_err() {
                            break;
                        }
                    }
                    Typed::Quit => {
                        theirs.store(true, Ordering::Relaxed);
                        break;
                    }
                },
            }
        }
    });
    let mut out = std::io::stdout();
    loop {
        match from_guest.next(Duration::from_millis(50)) {
            Some(Some(bytes)) => {
                // Nobody may be reading any more; the guest goes on all the same.
                let _ = out.write_all(&bytes).and_then(|()| out.flush());
            }
            Some(None) => {}
            None => return Left::LineClosed,
        }
        let left = match quit.load(Ordering::Relaxed) {
            true => Left::ByUser,
            false if until.is_some_and(|until| Instant::now() >= until) => Left::TooLate,
            false => continue,
        };
        // What has come already is shown.
        while let Some(Some(bytes)) = from_guest.next(Duration::ZERO) {
            let _ = out.write_all(&bytes).and_then(|()| out.flush());
        }
        return left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out_is_found_and_all_else_goes_through() {
        let mut keys = Keys::default();
        assert_eq!(keys.typed(b"ls\r"), Typed::Send(b"ls\r".to_vec()));
        assert_eq!(keys.typed(&[1]), Typed::Send(vec![]));
        assert_eq!(keys.typed(&[1]), Typed::Send(vec![1]));
        assert_eq!(keys.typed(&[1, b'e', 3]), Typed::Send(vec![1, b'e', 3]));
        assert_eq!(keys.typed(b"x"), Typed::Send(b"x".to_vec()));
        assert_eq!(keys.typed(&[b'a', 1, b'x']), Typed::Quit);
    }
}
