//! The console as a stream for `embedded-io` and `embedded-io-async`: text out, lines in.
//!
//! A read waits for a line that a person has edited, and gives its bytes and a line feed, in as
//! many reads as necessary; Ctrl-D on an empty line reads as the end of the stream, Ctrl-C as
//! [`ErrorKind::Interrupted`]. A write is text in UTF-8, which may be cut anywhere. Read and write
//! wait as the console's requests do; a flush waits until the serial line has sent everything.
//!
//! Cancelling a read, a write or a flush of [`AsyncClient`] has no effect: the line is edited
//! further and is there for the next read, and a write takes bytes only at the moment at which it
//! completes. `read_exact` and `write_all` are loops over those.

use crate::protocol::{Entered, Requests, answer};
use crate::{Client, Error, Line, Refusal, editor, label, next_read};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use embedded_io::ErrorKind;
use rt::exec::{Called, Exec, Lend, PendingCall};
use rt::ipc::{CallError, Endpoint};

/// Most bytes of one write.
pub const PIECE: usize = 1024;

impl embedded_io::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Error::Call(CallError::Gone) => ErrorKind::NotConnected,
            Error::Call(CallError::Died { .. }) => ErrorKind::ConnectionReset,
            Error::Refused(Refusal::Interrupted) => ErrorKind::Interrupted,
            Error::Refused(Refusal::BadLease) => ErrorKind::InvalidInput,
            Error::Refused(Refusal::BadRequest) => ErrorKind::Unsupported,
            _ => ErrorKind::Other,
        }
    }
}

/// How many bytes at the beginning are whole characters or invalid: a character may be cut only at
/// the end.
fn whole(text: &[u8]) -> usize {
    match core::str::from_utf8(text) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        // Searched from the end, since invalid bytes may precede the cut.
        Err(_) => (1..text.len().min(4))
            .find_map(|back| {
                let tail = text.get(text.len() - back..)?;
                let cut = core::str::from_utf8(tail)
                    .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none());
                cut.then_some(text.len() - back)
            })
            .unwrap_or(text.len()),
        Ok(_) => text.len(),
    }
}

/// Moves as many bytes to the buffer as it has room for.
fn give(unread: &mut Vec<u8>, buffer: &mut [u8]) -> usize {
    let count = unread.len().min(buffer.len());
    for (to, from) in buffer.iter_mut().zip(unread.drain(..count)) {
        *to = from;
    }
    count
}

impl embedded_io::ErrorType for Client {
    type Error = Error;
}

impl embedded_io::Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if self.unread.is_empty() && !buffer.is_empty() {
            match self.read_line("")? {
                Line::Text(line) => {
                    self.unread = line.into_bytes();
                    self.unread.push(b'\n');
                }
                Line::Interrupted => return Err(Error::Refused(Refusal::Interrupted)),
                Line::EndOfInput => return Ok(0),
            }
        }
        Ok(give(&mut self.unread, buffer))
    }
}

impl embedded_io::Write for Client {
    /// Leaves a character that is cut at the end to the next write, unless there is nothing else.
    fn write(&mut self, text: &[u8]) -> Result<usize, Error> {
        let text = match whole(text) {
            0 => text,
            count => text.get(..count).unwrap_or(text),
        };
        self.write_bytes(text).map(|()| text.len())
    }

    fn flush(&mut self) -> Result<(), Error> {
        Client::flush(self)
    }
}

/// The console's client for futures. At most one read and one write are in progress at once, each
/// of which occupies a thread of the executor.
///
/// The text that a `write` has taken is printed even if this client is dropped; a flush, or the
/// next write, reports whether that failed, and repeats the request if the console died. Dropping
/// the client ends the reading of a line; the typed text goes to the next reader.
#[derive(Debug)]
pub struct AsyncClient {
    prompt: String,
    reading: PendingCall,
    writing: PendingCall,
    unread: Vec<u8>,
    /// The bytes of an unfinished character.
    cut: Vec<u8>,
}

impl AsyncClient {
    /// A client of the console behind `endpoint`, such as `Endpoint::peer("console")`; lines are
    /// edited after `prompt`.
    pub fn new(exec: &Exec, endpoint: Endpoint, prompt: &str) -> AsyncClient {
        let standing = || PendingCall::new(exec, endpoint);
        let (unread, cut) = (Vec::new(), Vec::new());
        AsyncClient { prompt: prompt.into(), reading: standing(), writing: standing(), unread, cut }
    }

    /// Takes the result of a READ_LINE; false at the end of the stream.
    fn arrived(&mut self, Called { reply, lent }: Called) -> Result<bool, Error> {
        match answer::<Entered>(reply) {
            Ok(Entered { written, .. }) => {
                let line = lent.into_iter().nth(1).map(Lend::into_inner).unwrap_or_default();
                self.unread.extend(line.into_iter().take(written).chain([b'\n']));
                Ok(true)
            }
            Err(Error::Refused(Refusal::EndOfInput)) => Ok(false),
            Err(Error::Refused(Refusal::Cancelled)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Waits for the end of the write, or flush, in progress.
    async fn written(&mut self) -> Result<(), Error> {
        match self.writing.ended().await {
            // A write's length is known, and a flush has no result.
            Some(called) => answer::<()>(called.reply),
            None => Ok(()),
        }
    }
}

impl embedded_io_async::ErrorType for AsyncClient {
    type Error = Error;
}

impl embedded_io_async::Read for AsyncClient {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        while self.unread.is_empty() && !buffer.is_empty() {
            if self.reading.is_free() {
                let lent = vec![Lend::Read(self.prompt.clone().into_bytes()), Lend::Write(vec![0; editor::MAX_LINE])];
                // If the console dies, the request is repeated; it needs nothing else.
                self.reading.begin(label::read_line, [next_read().into(), 0, 0, 0], lent);
            }
            if let Some(called) = self.reading.ended().await
                && !self.arrived(called)?
            {
                return Ok(0);
            }
        }
        Ok(give(&mut self.unread, buffer))
    }
}

impl embedded_io_async::Write for AsyncClient {
    /// Takes at most [`PIECE`] bytes, when the console has printed those of the write before.
    async fn write(&mut self, text: &[u8]) -> Result<usize, Error> {
        if text.is_empty() {
            return Ok(0);
        }
        self.written().await?;
        let piece = text.get(..PIECE).unwrap_or(text);
        let mut now = core::mem::take(&mut self.cut);
        now.extend(piece);
        self.cut = now.split_off(whole(&now));
        if !now.is_empty() {
            self.writing.ask(Requests::write(now));
        }
        Ok(piece.len())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.written().await?;
        self.writing.ask(Requests::flush());
        self.written().await
    }
}

impl Drop for AsyncClient {
    fn drop(&mut self) {
        self.reading.cancel(label::cancel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;
    use alloc::rc::Rc;
    use core::cell::RefCell;
    use embedded_io::Error as _;
    use embedded_io_async::{Read as _, Write as _};
    use proptest::prelude::*;
    use rt::exec::timeout;
    use rt::fake::fake_exec;
    use rt::ipc::Reply;

    const CONSOLE: Endpoint = Endpoint(9);

    fn reply(label: u16, words: [u64; 4]) -> Option<Result<Reply, CallError>> {
        Some(Ok(Reply { label, words, handle: None, lost: false }))
    }

    #[test]
    fn characters_are_cut_only_where_they_end() {
        for (text, count) in
            [(&b""[..], 0), (b"ab", 2), (b"a\xc3", 1), (b"\xe2\x94", 0), (b"\xffa\xe2\x94", 2), (b"a\xff", 2)]
        {
            assert_eq!(whole(text), count, "{text:?}");
        }
        assert_eq!(whole("a\u{1f600}".as_bytes()), 5);
    }

    #[test]
    fn lines_are_a_stream() {
        let answers = RefCell::new(vec![(0, "second"), (Refusal::Interrupted.code(), ""), (0, "first line")]);
        let exec = fake_exec(Box::new(move |job| {
            assert_eq!(job.label(), label::read_line);
            let (label, line) = answers.borrow_mut().pop().unwrap_or((Refusal::EndOfInput.code(), ""));
            let [Lend::Read(prompt), Lend::Write(room)] = job.lent() else { panic!("leases") };
            assert_eq!(prompt, b"? ");
            room[..line.len()].copy_from_slice(line.as_bytes());
            reply(label, [line.len() as u64, 0, 0, 0])
        }));
        exec.block_on(async {
            let mut client = AsyncClient::new(&exec, CONSOLE, "? ");
            let mut buffer = [0; 8];
            assert_eq!((client.read(&mut []).await, client.read(&mut buffer).await), (Ok(0), Ok(8)));
            assert_eq!(&buffer, b"first li");
            assert_eq!(client.read(&mut buffer[..5]).await, Ok(3));
            assert_eq!(&buffer[..3], b"ne\n");
            assert_eq!(client.read(&mut buffer).await.map_err(|error| error.kind()), Err(ErrorKind::Interrupted));
            assert_eq!(client.read(&mut buffer).await, Ok(7));
            assert_eq!(&buffer[..7], b"second\n");
            assert_eq!(client.read(&mut buffer).await, Ok(0), "the end");
        });
    }

    /// The console dies over the read, too: the next life goes on with it.
    #[test]
    fn a_cancelled_read_goes_on() {
        let asked = Rc::new(RefCell::new(0));
        let count = asked.clone();
        let exec = fake_exec(Box::new(move |job| {
            *count.borrow_mut() += 1;
            match *count.borrow() {
                1..20 => None,
                20 => Some(Err(CallError::Died { generation: 3 })),
                _ => {
                    let Some(Lend::Write(room)) = job.lent().get_mut(1) else { panic!("leases") };
                    room[0] = b'x';
                    reply(0, [1, 0, 0, 0])
                }
            }
        }));
        exec.block_on(async {
            let mut client = AsyncClient::new(&exec, CONSOLE, "");
            let mut buffer = [0; 8];
            let mut cut = 0;
            let count = loop {
                match timeout(&exec, 1, client.read(&mut buffer)).await {
                    Ok(count) => break count,
                    Err(_) => cut += 1,
                }
            };
            assert_eq!((count, &buffer[..2]), (Ok(2), &b"x\n"[..]));
            assert!(cut > 3, "cut {cut} times");
        });
        assert!(*asked.borrow() > 20);
    }

    proptest! {
        /// However text is cut into writes, and whichever of them are cancelled, all of it is
        /// printed once, in whole characters.
        #[test]
        fn text_is_printed_whole(text in "[ -~\u{e9}\u{2500}\u{1f600}]{1,400}", sizes in prop::collection::vec(1..60_usize, 1..9)) {
            let printed = Rc::new(RefCell::new(String::new()));
            let (screen, mut turn) = (printed.clone(), 0);
            let exec = fake_exec(Box::new(move |job| {
                turn += 1;
                if turn % 3 == 1 {
                    return None;
                }
                if let [Lend::Read(bytes)] = job.lent() {
                    screen.borrow_mut().push_str(core::str::from_utf8(bytes).expect("whole characters"));
                }
                reply(0, [0; 4])
            }));
            exec.block_on(async {
                let mut client = AsyncClient::new(&exec, CONSOLE, "");
                let (mut rest, mut sizes) = (text.as_bytes(), sizes.iter().cycle());
                while !rest.is_empty() {
                    let piece = &rest[..rest.len().min(*sizes.next().expect("endless"))];
                    if let Ok(count) = timeout(&exec, 1, client.write(piece)).await {
                        rest = &rest[count.expect("it lives")..];
                    }
                }
                client.flush().await.expect("it lives");
            });
            prop_assert_eq!(&*printed.borrow(), &text);
        }
    }
}
