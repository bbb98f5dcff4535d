//! The serial line as a stream of bytes for `embedded-io` and `embedded-io-async`.
//!
//! [`Client`] is both `Read` and `Write` and blocks its thread. [`AsyncClient`] is for futures on
//! an executor. A read waits until a byte is there, a write until the driver has taken the piece
//! before it, a flush until the last bit is on the wire.
//!
//! | cancelled | has done |
//! |---|---|
//! | `read` | nothing: bytes that come meanwhile are there for the next one |
//! | `write` | nothing: it takes bytes only at the moment at which it completes |
//! | `flush` | nothing that the next write or flush would not wait for |
//! | `read_exact`, `write_all` | a part, as the traits say: they are loops over the others |

use crate::{Client, Error, Refusal, Requests, answer, label};
use alloc::vec;
use alloc::vec::Vec;
use embedded_io::ErrorKind;
use rt::Status;
use rt::exec::{Called, Exec, Lend, PendingCall};
use rt::ipc::{CallError, Endpoint};

/// Most bytes of one read or write.
pub const PIECE: usize = 512;

impl embedded_io::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Error::Call(CallError::Gone) => ErrorKind::NotConnected,
            Error::Call(CallError::Died { .. }) => ErrorKind::ConnectionReset,
            Error::Call(CallError::Failed(Status::OutOfMemory | Status::QuotaFrames)) => ErrorKind::OutOfMemory,
            Error::Refused(Refusal::NoDevice) => ErrorKind::NotFound,
            Error::Refused(Refusal::BadLease) => ErrorKind::InvalidInput,
            Error::Refused(Refusal::BadRequest) => ErrorKind::Unsupported,
            _ => ErrorKind::Other,
        }
    }
}

impl embedded_io::ErrorType for Client {
    type Error = Error;
}

impl embedded_io::Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if buffer.is_empty() { Ok(0) } else { Client::read(self, buffer, true) }
    }
}

impl embedded_io::Write for Client {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        if bytes.is_empty() { Ok(0) } else { Client::write(self, bytes) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        Client::flush(self)
    }
}

/// The serial driver's client for futures. At most one read and one write are in progress at once,
/// each of which occupies a thread of the executor. To read and write concurrently, use two
/// clients.
///
/// Bytes are sent, and received, exactly once, even if the driver dies meanwhile. The bytes that a
/// `write` has taken are sent even if this client is dropped; only
/// [`embedded_io_async::Write::flush`], or the next write, reports whether that failed, and repeats
/// the request if the driver died. Dropping the client drops bytes that were received and not read:
/// [`AsyncClient::close`] returns them.
#[derive(Debug)]
pub struct AsyncClient {
    reading: PendingCall,
    writing: PendingCall,
    /// Bytes that were received, and how many of them were read.
    come: Vec<u8>,
    read: usize,
}

impl AsyncClient {
    /// A client of the driver behind `endpoint`, such as `Endpoint::peer("serial")`.
    pub fn new(exec: &Exec, endpoint: Endpoint) -> AsyncClient {
        let standing = || PendingCall::new(exec, endpoint);
        AsyncClient { reading: standing(), writing: standing(), come: Vec::new(), read: 0 }
    }

    /// Ends the read in progress, and returns the bytes that were received and not read. The thread
    /// waits for the driver's answer.
    pub fn close(mut self) -> Vec<u8> {
        self.stop_reading();
        self.come.split_off(self.read)
    }

    fn stop_reading(&mut self) {
        if let Some(called) = self.reading.cancel(label::cancel) {
            // An error belongs to a read for which nobody waits.
            let _ = self.arrived(called);
        }
    }

    /// Takes the bytes that a read received.
    fn arrived(&mut self, called: Called) -> Result<(), Error> {
        let count: usize = answer(called.reply)?;
        let bytes = called.lent.into_iter().next().map(Lend::into_inner).unwrap_or_default();
        if self.read == self.come.len() {
            (self.come, self.read) = (bytes, 0);
            self.come.truncate(count);
        } else {
            self.come.extend(bytes.into_iter().take(count));
        }
        Ok(())
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
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.read == self.come.len() {
            if self.reading.is_free() {
                self.reading.ask(Requests::read(vec![0; PIECE], true));
            }
            if let Some(called) = self.reading.ended().await {
                self.arrived(called)?;
            }
        }
        let bytes = self.come.get(self.read..).unwrap_or_default();
        let count = bytes.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.read += count;
        Ok(count)
    }
}

impl embedded_io_async::Write for AsyncClient {
    /// Takes at most [`PIECE`] bytes, when the driver has those of the write before.
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.written().await?;
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        self.writing.ask(Requests::write(piece.to_vec()));
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
        self.stop_reading();
    }
}

#[cfg(test)]
mod tests;
