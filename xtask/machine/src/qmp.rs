//! A small client of QMP, QEMU's control protocol: one JSON object a line, over a Unix socket.
//!
//! Source: QEMU's "QEMU Machine Protocol Specification" and "QEMU QMP Reference Manual".

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long QEMU may take to answer a command. It answers at once, unless the machine is badly overloaded.
const PATIENCE: Duration = Duration::from_secs(20);

/// Something that QEMU sent.
#[derive(Clone, Debug, PartialEq)]
enum Message {
    Greeting,
    Return(Value),
    Error(String),
    Event(Event),
}

/// Something that happened to the machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// For example `SHUTDOWN`.
    pub(crate) name: String,
    /// What QEMU says about it.
    pub(crate) data: Value,
}

impl Event {
    /// Why the machine stopped, if this event says that it did: for example `guest-shutdown` or `guest-reset`.
    #[must_use]
    pub(crate) fn shutdown_reason(&self) -> Option<&str> {
        if self.name != "SHUTDOWN" {
            return None;
        }
        Some(self.data.get("reason").and_then(Value::as_str).unwrap_or("unknown"))
    }
}

/// A connection to a running QEMU.
pub struct Qmp {
    stream: UnixStream,
    incoming: Receiver<Message>,
    events: VecDeque<Event>,
}

impl Qmp {
    /// Connects and shakes hands.
    ///
    /// # Errors
    /// When there is nobody at the socket, or not QEMU.
    pub(crate) fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).context("cannot reach QEMU's control socket")?;
        let reader = BufReader::new(stream.try_clone().context("cannot share QEMU's control socket")?);
        let (sender, incoming) = channel();
        std::thread::spawn(move || {
            for line in reader.lines() {
                let Ok(line) = line else { break };
                if let Some(message) = parse(&line)
                    && sender.send(message).is_err()
                {
                    break;
                }
            }
        });
        let mut qmp = Self { stream, incoming, events: VecDeque::new() };
        match qmp.incoming.recv_timeout(PATIENCE) {
            Ok(Message::Greeting) => {}
            other => bail!("QEMU's control socket did not greet: {other:?}"),
        }
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and waits for its answer. Events that come meanwhile are kept.
    ///
    /// # Errors
    /// When QEMU refuses the command, has gone, or does not answer in time.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        self.stream.write_all(line.as_bytes()).with_context(|| format!("QEMU has gone; it cannot do {command}"))?;
        let end = Instant::now() + PATIENCE;
        loop {
            match self.incoming.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Message::Return(value)) => return Ok(value),
                Ok(Message::Error(reason)) => bail!("QEMU refuses {command}: {reason}"),
                Ok(Message::Event(event)) => self.events.push_back(event),
                Ok(Message::Greeting) => {}
                Err(RecvTimeoutError::Timeout) => {
                    bail!("QEMU has not answered {command} for {} s", PATIENCE.as_secs())
                }
                Err(RecvTimeoutError::Disconnected) => bail!("QEMU has gone before it answered {command}"),
            }
        }
    }

    /// Every event since the last call.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        while let Ok(message) = self.incoming.try_recv() {
            if let Message::Event(event) = message {
                self.events.push_back(event);
            }
        }
        self.events.drain(..).collect()
    }

    /// Every event until QEMU closes the connection, which it does when it ends; waits at most `limit`.
    pub(crate) fn last_events(&mut self, limit: Duration) -> Vec<Event> {
        let end = Instant::now() + limit;
        while let Ok(message) = self.incoming.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if let Message::Event(event) = message {
                self.events.push_back(event);
            }
        }
        self.events.drain(..).collect()
    }
}

/// One line of the protocol; nothing for lines that are none of ours.
fn parse(line: &str) -> Option<Message> {
    let value: Value = serde_json::from_str(line).ok()?;
    if value.get("QMP").is_some() {
        return Some(Message::Greeting);
    }
    if let Some(result) = value.get("return") {
        return Some(Message::Return(result.clone()));
    }
    if let Some(error) = value.get("error") {
        let reason = error.get("desc").and_then(Value::as_str).unwrap_or("no reason given");
        return Some(Message::Error(reason.to_owned()));
    }
    let name = value.get("event")?.as_str()?.to_owned();
    Some(Message::Event(Event { name, data: value.get("data").cloned().unwrap_or(Value::Null) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn lines_are_told_apart() {
        assert_eq!(parse(r#"{"QMP": {"version": {}, "capabilities": []}}"#), Some(Message::Greeting));
        assert_eq!(parse(r#"{"return": {"a": 1}}"#), Some(Message::Return(json!({ "a": 1 }))));
        assert_eq!(
            parse(r#"{"error": {"class": "GenericError", "desc": "no such key"}}"#),
            Some(Message::Error("no such key".to_owned()))
        );
        assert_eq!(parse("not json"), None);
        assert_eq!(parse("{}"), None);
    }

    #[test]
    fn the_reason_of_a_shutdown_is_found() {
        let line = r#"{"timestamp": {"seconds": 1}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#;
        let Some(Message::Event(event)) = parse(line) else { panic!("not an event") };
        assert_eq!(event.shutdown_reason(), Some("guest-shutdown"));
        let other = Event { name: "RESET".to_owned(), data: Value::Null };
        assert_eq!(other.shutdown_reason(), None);
    }

    #[test]
    fn events_between_command_and_answer_are_kept() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let socket = dir.path().join("qmp");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut lines = BufReader::new(stream.try_clone().expect("a clone")).lines();
            stream.write_all(b"{\"QMP\": {}}\n").expect("a greeting");
            assert!(lines.next().expect("a line").expect("text").contains("qmp_capabilities"));
            stream.write_all(b"{\"return\": {}}\n").expect("an answer");
            assert!(lines.next().expect("a line").expect("text").contains("\"stop\""));
            stream.write_all(b"{\"event\": \"STOP\"}\n{\"error\": {\"desc\": \"no\"}}\n").expect("an answer");
        });
        let mut qmp = Qmp::connect(&socket).expect("a connection");
        let error = qmp.execute("stop", json!({})).expect_err("refused");
        assert!(error.to_string().contains("refuses stop: no"), "{error}");
        assert_eq!(qmp.last_events(PATIENCE), vec![Event { name: "STOP".to_owned(), data: Value::Null }]);
        server.join().expect("the server's checks hold");
        assert!(qmp.execute("cont", json!({})).is_err(), "nobody is there any more");
    }
}
