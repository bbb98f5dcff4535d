//! The guest's serial line, as a program sees it: bytes out, a [`Terminal`] in.

use crate::paths;
use crate::terminal::Terminal;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A connection to the first serial line of a running machine.
pub struct Serial {
    stream: UnixStream,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    terminal: Terminal,
    received: u64,
    closed: bool,
    held: bool,
    tap: Option<Sender<Vec<u8>>>,
}

/// The raw bytes of the line, as they come.
pub struct Tap(Receiver<Vec<u8>>);

impl Tap {
    /// The next bytes: `Some(None)` if none came in time, `None` when the line is closed.
    #[must_use]
    pub(crate) fn next(&self, limit: Duration) -> Option<Option<Vec<u8>>> {
        match self.0.recv_timeout(limit) {
            Ok(bytes) => Some(Some(bytes)),
            Err(RecvTimeoutError::Timeout) => Some(None),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Serial {
    /// Connects to the socket that QEMU made for the line, listens from then on, and writes every byte that comes to the file `log`. (QEMU's
    /// own `logfile` has each byte once more for each time that the socket did not take it.)
    ///
    /// # Errors
    /// When nobody listens there, or the file cannot be made.
    pub(crate) fn connect(socket: &Path, log: &Path) -> Result<Self> {
        let mut log_file = File::create(log).map_err(|error| paths::disk_error(&error, log))?;
        let stream = UnixStream::connect(socket).context("cannot reach the guest's serial line")?;
        let mut reader = stream.try_clone().context("cannot share the guest's serial line")?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let mut state = theirs.lock();
                while state.held {
                    state = theirs.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                drop(state);
                let count = reader.read(&mut buffer).unwrap_or(0);
                // A log that cannot be written is no reason to stop the machine.
                let _ = log_file.write_all(buffer.get(..count).unwrap_or_default());
                let mut state = theirs.lock();
                state.terminal.feed(buffer.get(..count).unwrap_or_default());
                state.received += count as u64;
                state.closed = count == 0;
                if let Some(tap) = &state.tap {
                    // A tap that nobody listens to any more is no matter.
                    let _ = tap.send(buffer.get(..count).unwrap_or_default().to_vec());
                }
                if state.closed {
                    state.tap = None;
                }
                theirs.changed.notify_all();
                if state.closed {
                    break;
                }
            }
        });
        Ok(Self { stream, shared })
    }

    /// The line for someone who handles the raw bytes: where to write them, and what comes from now on.
    ///
    /// # Errors
    /// When the line is closed already.
    pub(crate) fn share(&self) -> Result<(UnixStream, Tap)> {
        let (sender, receiver) = channel();
        let mut state = self.shared.lock();
        if !state.closed {
            state.tap = Some(sender);
        }
        Ok((self.stream.try_clone().context("cannot share the guest's serial line")?, Tap(receiver)))
    }

    /// Sends bytes. QEMU holds them back while the guest's receiver is full.
    ///
    /// # Errors
    /// When the machine has ended.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("the machine has ended, its serial line is closed")
    }

    /// Stops reading what the guest sends, or goes on: a peer that does not read. What is being read already still comes.
    pub fn hold(&self, held: bool) {
        self.shared.lock().held = held;
        self.shared.changed.notify_all();
    }

    /// Waits until `found` finds something in what was received, or the line is closed, or the time is over.
    pub fn wait<T>(&self, limit: Duration, mut found: impl FnMut(&Terminal) -> Option<T>) -> Option<T> {
        let end = Instant::now() + limit;
        let mut state = self.shared.lock();
        loop {
            if let Some(value) = found(&state.terminal) {
                return Some(value);
            }
            let left = end.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                return None;
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Looks at what was received so far.
    pub fn look<T>(&self, look: impl FnOnce(&Terminal) -> T) -> T {
        look(&self.shared.lock().terminal)
    }

    /// Whether the machine has closed the line.
    #[must_use]
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.lock().closed
    }

    /// How many bytes came so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.shared.lock().received
    }

    /// Waits until more than `before` bytes came; false if none did in time.
    #[must_use]
    pub(crate) fn wait_beyond(&self, before: u64, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut state = self.shared.lock();
        while state.received <= before && !state.closed {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.received > before
    }
}

impl Drop for Serial {
    fn drop(&mut self) {
        // Ends the thread that reads.
        self.hold(false);
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn what_comes_is_seen_and_what_goes_arrives() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (socket, log) = (dir.path().join("serial"), dir.path().join("serial.log"));
        let listener = UnixListener::bind(&socket).expect("a socket");
        let guest = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            stream.write_all(b"boot\r\nenigma> ").expect("sent");
            let mut typed = [0; 5];
            stream.read_exact(&mut typed).expect("received");
            typed
        });
        let mut serial = Serial::connect(&socket, &log).expect("a connection");
        assert_eq!(serial.wait(Duration::from_secs(10), |terminal| terminal.at_prompt().then_some(())), Some(()));
        assert_eq!(serial.wait(Duration::from_millis(10), |_| None::<()>), None);
        assert!(!serial.wait_beyond(serial.received(), Duration::from_millis(10)));
        serial.send(b"help\r").expect("sent");
        assert_eq!(&guest.join().expect("the guest's checks hold"), b"help\r");
        assert_eq!(std::fs::read(&log).expect("a log"), b"boot\r\nenigma> ");
    }
}
