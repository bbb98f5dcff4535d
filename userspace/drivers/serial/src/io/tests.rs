//! A line whose other end sends back what it gets, behind a server that keeps callers waiting, and dies.

use super::*;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use core::cell::RefCell;
use core::future::poll_fn;
use core::task::Poll;
use embedded_io::Error as _;
use embedded_io_async::{Read as _, Write as _};
use proptest::prelude::*;
use rt::exec::{Job, join, yield_now};
use rt::fake::fake_exec;
use rt::ipc::Reply;

const DRIVER: Endpoint = Endpoint(9);

#[derive(Default)]
struct Line {
    /// On the way back, at most `room` bytes.
    bytes: VecDeque<u8>,
    room: usize,
    /// Numbers of the last write and read, how far that write came, and what that read got.
    write: (u64, usize),
    read: (u64, Vec<u8>),
    /// Whether the driver dies over a call, in what stage: before it does anything, or after all of it.
    deaths: VecDeque<Option<bool>>,
    flushes: usize,
}

impl Line {
    fn serve(&mut self, job: &mut Job) -> Option<Result<Reply, CallError>> {
        let death = self.deaths.pop_front().flatten();
        if death == Some(false) {
            return Some(Err(CallError::Died { generation: 1 }));
        }
        let words = self.perform(job)?;
        match death {
            Some(_) => Some(Err(CallError::Died { generation: 1 })),
            None => Some(Ok(Reply { label: 0, words, handle: None, lost: false })),
        }
    }

    fn perform(&mut self, job: &mut Job) -> Option<[u64; 4]> {
        let words = job.words();
        match (job.label(), job.lent()) {
            (label::write, [Lend::Read(bytes)]) => {
                if self.write.0 != words[0] {
                    self.write = (words[0], 0);
                }
                while let Some(byte) = bytes.get(self.write.1) {
                    if self.bytes.len() >= self.room {
                        return None;
                    }
                    self.bytes.push_back(*byte);
                    self.write.1 += 1;
                }
                Some([bytes.len() as u64, 0, 0, 0])
            }
            (label::read, [Lend::Write(bytes)]) => {
                if self.read.0 != words[1] {
                    let count = bytes.len().min(self.bytes.len());
                    if count == 0 {
                        assert_eq!(words[0], 1, "it waits");
                        return None;
                    }
                    self.read = (words[1], self.bytes.drain(..count).collect());
                }
                bytes[..self.read.1.len()].copy_from_slice(&self.read.1);
                Some([self.read.1.len() as u64, 0, 0, 0])
            }
            (label::flush, []) => {
                self.flushes += 1;
                self.bytes.is_empty().then_some([0; 4])
            }
            other => panic!("{other:?}"),
        }
    }
}

fn start(line: Line) -> (Rc<RefCell<Line>>, Exec) {
    let line = Rc::new(RefCell::new(line));
    let server = line.clone();
    (line, fake_exec(Box::new(move |job| server.borrow_mut().serve(job))))
}

/// Polls a future at most `most` times; its value, if it was done by then.
async fn cut<F: Future>(future: F, most: usize) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut polls = 0;
    poll_fn(move |context| {
        polls += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if polls >= most => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[test]
fn a_write_takes_a_piece_and_the_next_one_waits_for_it() {
    let (line, exec) = start(Line { room: 100, ..Line::default() });
    exec.block_on(async {
        let mut client = AsyncClient::new(&exec, DRIVER);
        assert_eq!(client.write(&[7; 2000]).await.expect("it lives"), PIECE);
        // The driver has room for a fifth of it: the next one does not get through.
        assert!(rt::exec::timeout(&exec, 50, client.write(&[8; 10])).await.is_err());
        assert_eq!(line.borrow().bytes.len(), 100);
        let mut other = AsyncClient::new(&exec, DRIVER);
        let mut all = vec![0; PIECE + 10];
        let (read, written) = join(other.read_exact(&mut all), client.write(&[9; 10])).await;
        assert!(read.is_ok());
        assert_eq!(written.expect("it lives"), 10);
        assert_eq!(all, [vec![7; PIECE], vec![9; 10]].concat());
        client.flush().await.expect("it lives");
        assert!(line.borrow().flushes > 0);
    });
}

#[test]
fn nothing_is_asked_for_nothing() {
    let (line, exec) = start(Line { room: 10, ..Line::default() });
    exec.block_on(async {
        let mut client = AsyncClient::new(&exec, DRIVER);
        assert_eq!((client.read(&mut []).await.ok(), client.write(&[]).await.ok()), (Some(0), Some(0)));
        assert_eq!((line.borrow().read.0, line.borrow().write.0), (0, 0));
        // A short buffer leaves the rest for the next read, or for who closes it.
        client.write_all(b"abcdef").await.expect("it lives");
        let mut two = [0; 2];
        assert_eq!((client.read(&mut two).await.ok(), two), (Some(2), *b"ab"));
        assert_eq!((client.read(&mut two).await.ok(), two), (Some(2), *b"cd"));
        assert_eq!(client.close(), b"ef");
    });
}

#[test]
fn errors_come_once_and_have_kinds() {
    let refusals = Rc::new(RefCell::new(0));
    let count = refusals.clone();
    let exec = fake_exec(Box::new(move |job| {
        *count.borrow_mut() += 1;
        Some(match job.label() {
            label::read => Err(CallError::Gone),
            _ => Ok(Reply { label: Refusal::NoDevice.code(), words: [0; 4], handle: None, lost: false }),
        })
    }));
    exec.block_on(async {
        let mut client = AsyncClient::new(&exec, DRIVER);
        assert_eq!(client.read(&mut [0]).await.map_err(|error| error.kind()), Err(ErrorKind::NotConnected));
        assert_eq!(client.write(b"x").await.ok(), Some(1));
        assert_eq!(client.flush().await.map_err(|error| error.kind()), Err(ErrorKind::NotFound));
        assert_eq!(client.write(b"y").await.ok(), Some(1), "the error was told");
        assert_eq!(client.write(b"z").await.map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    });
    assert_eq!(*refusals.borrow(), 3);
}

#[test]
fn the_blocking_client_is_a_stream_too() {
    fn stream<S: embedded_io::Read + embedded_io::Write>(stream: &mut S) -> [Option<ErrorKind>; 3] {
        let kind = |result: Result<usize, S::Error>| result.err().map(|error| error.kind());
        assert_eq!((stream.read(&mut []).ok(), stream.write(&[]).ok()), (Some(0), Some(0)));
        [kind(stream.read(&mut [0])), kind(stream.write(&[0])), kind(stream.flush().map(|()| 0))]
    }
    // There is no kernel to call.
    assert_eq!(stream(&mut Client::new(DRIVER)), [Some(ErrorKind::Other); 3]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the sizes, wherever reads, writes and flushes are cancelled, whenever the driver dies: every byte comes once, in order.
    #[test]
    fn every_byte_comes_once(
        total in 1..3000_usize,
        room in 1..700_usize,
        sizes in prop::collection::vec(1..900_usize, 1..8),
        cuts in prop::collection::vec(1..4_usize, 1..8),
        deaths in prop::collection::vec(prop::option::weighted(0.3, any::<bool>()), 0..40),
        flush in 2..6_usize,
    ) {
        let data: Vec<u8> = (0..total).map(|at| (at * 31 + at / 251) as u8).collect();
        let (_line, exec) = start(Line { room, deaths: deaths.into(), ..Line::default() });
        let mut back: Vec<u8> = Vec::new();
        exec.block_on(async {
            let (mut sizes, mut cuts) = (sizes.iter().cycle(), cuts.iter().cycle());
            let (mut other_sizes, mut other_cuts) = (sizes.clone(), cuts.clone());
            let sending = async {
                let mut client = AsyncClient::new(&exec, DRIVER);
                let (mut sent, mut turns) = (0, 0);
                while sent < total {
                    let end = total.min(sent + sizes.next().expect("endless"));
                    let most = *cuts.next().expect("endless");
                    if let Some(count) = cut(client.write(&data[sent..end]), most).await {
                        sent += count.expect("it comes back");
                    }
                    // The others' turn, also where it was cancelled.
                    yield_now().await;
                    turns += 1;
                    if turns % flush == 0 {
                        // It cannot be done before the other one has read everything, so it is cancelled where it waits.
                        let _ = cut(client.flush(), most).await;
                        yield_now().await;
                    }
                }
                client.flush().await.expect("it comes back");
            };
            let receiving = async {
                let mut client = AsyncClient::new(&exec, DRIVER);
                while back.len() < total {
                    let mut buffer = vec![0; *other_sizes.next().expect("endless")];
                    if let Some(count) = cut(client.read(&mut buffer), *other_cuts.next().expect("endless")).await {
                        let count = count.expect("it comes back");
                        assert!(count > 0);
                        back.extend(&buffer[..count]);
                    }
                    yield_now().await;
                }
                client.close()
            };
            let ((), rest) = join(sending, receiving).await;
            assert!(rest.is_empty());
        });
        prop_assert!(back == data, "{} bytes of {}", back.len(), data.len());
    }
}
