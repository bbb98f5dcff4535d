//! Lines to QEMU and from it: the test protocol, and the control protocol.

use super::PATIENCE;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

/// A connection over which lines go. What comes is taken at once, by a thread of its own: QEMU
/// stands still while nobody takes what it says, and it tells of each edge of an interrupt line.
pub struct Lines {
    stream: UnixStream,
    come: Receiver<String>,
    /// The file of what QEMU says of its own failures.
    words: PathBuf,
}

impl Lines {
    pub fn new(stream: UnixStream, words: PathBuf) -> Lines {
        let reader = BufReader::new(stream.try_clone().expect("a socket can be shared"));
        let (sender, come) = channel();
        // It ends with the connection, or when nobody is left to tell.
        std::thread::spawn(move || {
            let _ = reader.lines().map_while(Result::ok).try_for_each(|line| sender.send(line));
        });
        Lines { stream, come, words }
    }

    /// Sends a line.
    pub fn put(&mut self, line: &str) {
        if let Err(error) = self.stream.write_all(format!("{line}\n").as_bytes()) {
            self.fail(&format!("cannot do {line:?}: {error}"));
        }
    }

    /// Waits for a line.
    pub fn take(&mut self) -> String {
        match self.come.recv_timeout(PATIENCE) {
            Ok(line) => line.trim_end().to_string(),
            Err(RecvTimeoutError::Timeout) => self.fail(&format!("has not answered within {} s", PATIENCE.as_secs())),
            Err(RecvTimeoutError::Disconnected) => self.fail("has ended"),
        }
    }

    fn fail(&self, what: &str) -> ! {
        // It may have had nothing to say.
        let words = std::fs::read_to_string(&self.words).unwrap_or_default();
        panic!("QEMU {what}; its own words: {:?}", words.trim())
    }
}

/// The control protocol: a JSON object a line. What it says is told apart by its first key, and not
/// read further.
pub struct Control {
    lines: Lines,
    events: VecDeque<String>,
}

impl Control {
    /// Greets.
    pub fn new(mut lines: Lines) -> Control {
        let greeting = lines.take();
        assert!(greeting.starts_with(r#"{"QMP""#), "this is not how QEMU greets: {greeting}");
        let mut control = Control { lines, events: VecDeque::new() };
        control.ask(r#"{"execute":"qmp_capabilities"}"#);
        control
    }

    /// Runs a command; its answer, or what it says against it.
    pub fn try_ask(&mut self, command: &str) -> Result<String, String> {
        self.lines.put(command);
        loop {
            let line = self.lines.take();
            match line.split('"').nth(1) {
                Some("return") => return Ok(line),
                Some("error") => return Err(line),
                _ => self.events.push_back(line),
            }
        }
    }

    /// Runs a command; its answer.
    pub fn ask(&mut self, command: &str) -> String {
        self.try_ask(command).unwrap_or_else(|error| panic!("QEMU refuses {command}: {error}"))
    }

    /// Waits for an event of this name; those before it are forgotten.
    pub fn event(&mut self, name: &str) {
        let event = format!(r#""event": "{name}""#);
        while !self.events.pop_front().unwrap_or_else(|| self.lines.take()).contains(&event) {}
    }
}
