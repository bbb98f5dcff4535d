//! The serial line as an async stream: what is sent comes back, because the UART is in loopback.

use crate::futures::cut;
use crate::support::{Context, Outcome, PATIENCE_MS, check, peer, row, same, status, used, warm_up};
use abi::TaskId;
use abi::syscall::PORT_WRITE;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use driver_serial::Error;
use driver_serial::io::AsyncClient;
use embedded_io_async::{Read, Write};
use rt::exec::{self, Exec, join, timeout};
use rt::sync::Semaphore;
use rt::syscall as sys;

/// COM1's modem control register: what the driver writes there, and loopback (PC16550D data sheet, "Modem Control Register").
const MODEM: u16 = 0x3fc;
const USUAL: u32 = 0x0b;
const LOOPBACK: u32 = 0x10;

/// The line's other end is its own one, until this is dropped.
struct Loopback(TaskId);

impl Loopback {
    fn start() -> Result<Loopback, String> {
        let driver = TaskId::from_u32(status(row("serial")?)?.id);
        sys::debug_port(driver, MODEM, 1 | PORT_WRITE, USUAL | LOOPBACK).context("loopback")?;
        Ok(Loopback(driver))
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        let _ = sys::debug_port(self.0, MODEM, 1 | PORT_WRITE, USUAL);
    }
}

fn byte(number: usize) -> u8 {
    (number * 7 + number / 256) as u8
}

pub fn every_byte_comes_back() -> Outcome {
    /// What an emulated UART in loopback sends is in its own receive FIFO at once: more than that is lost, as on a line without flow control.
    const BLOCK: usize = 16;
    const BLOCKS: usize = 1000;
    let serial = peer("serial")?;
    let _loopback = Loopback::start()?;
    let windows = Semaphore::new(1);
    exec::run(|exec| async {
        let exec = exec;
        let sending = async {
            let mut line = AsyncClient::new(&exec, serial);
            let data: Vec<u8> = (0..BLOCK * BLOCKS).map(byte).collect();
            for block in data.chunks(BLOCK) {
                windows.acquire().await.context("window")?.forget();
                line.write_all(block).await.context("write")?;
            }
            line.flush().await.context("flush")
        };
        let receiving = async {
            let mut line = AsyncClient::new(&exec, serial);
            let mut block = vec![0; BLOCK];
            for number in 0..BLOCKS {
                line.read_exact(&mut block).await.map_err(|error| alloc::format!("read: {error:?}"))?;
                let right = block.iter().zip(number * BLOCK..).all(|(found, at)| *found == byte(at));
                check!(right, "block {number} is not what was sent");
                windows.release();
            }
            let rest = line.close();
            same!(rest.len(), 0, "bytes too many");
            Ok(())
        };
        let both = timeout(&exec, PATIENCE_MS, join(sending, receiving)).await;
        let (sent, received) = both.map_err(|_| "bytes were lost".to_string())?;
        sent.and(received)
    })
}

/// Every await point of the stream. What a `write` has taken comes back, once; what one that was cancelled has not taken does not.
async fn everything(
    line: &mut AsyncClient,
    sent: &Cell<usize>,
    got: &RefCell<Vec<u8>>,
    mark: impl Fn(),
) -> Result<(), Error> {
    let next = |count: usize| (sent.get()..sent.get() + count).map(byte).collect::<Vec<_>>();
    sent.set(sent.get() + line.write(&next(10)).await?);
    // The first one does not wait; this one does, for that.
    sent.set(sent.get() + line.write(&next(5)).await?);
    mark();
    line.flush().await?;
    mark();
    let mut buffer = [0; 4];
    let count = line.read(&mut buffer).await?;
    got.borrow_mut().extend(buffer.iter().take(count));
    mark();
    while got.borrow().len() < sent.get() {
        let count = line.read(&mut buffer).await?;
        got.borrow_mut().extend(buffer.iter().take(count));
    }
    Ok(())
}

const POINTS: usize = 3;

/// How often a cut is done again that took frames.
const TRIES: usize = 10;

pub fn cancellation_at_every_await_point() -> Outcome {
    warm_up()?;
    let serial = peer("serial")?;
    let _loopback = Loopback::start()?;
    // What is made once, is made.
    one_cut(serial, 3)?;
    let mut before = used()?;
    for point in 0..=POINTS + 1 {
        let (passed, whole) = one_cut(serial, point)?;
        let after = used()?;
        same!(after[..2], before[..2], "handles and objects after {point} points");
        // The heap grows where more is alive at once than ever before, which is a matter of time; what leaks, leaks each time.
        let mut frames = [before[2], after[2]];
        for _ in 0..TRIES {
            if frames[0] == frames[1] {
                break;
            }
            one_cut(serial, point)?;
            frames = [frames[1], used()?[2]];
        }
        same!(frames[1], frames[0], "frames after {point} points, again and again");
        before[2] = frames[1];
        // It is cut where it waits next: a call that is back already keeps nobody waiting.
        check!(passed >= point.min(POINTS), "it was cut after {passed} points, before {point}");
        check!(whole || point <= POINTS, "it never came to its end");
    }
    Ok(())
}

/// Cuts it where it waits first behind so many points.
fn one_cut(serial: rt::ipc::Endpoint, point: usize) -> Result<(usize, bool), String> {
    let (sent, got, passed) = (Cell::new(0), RefCell::new(Vec::new()), Cell::new(0));
    let whole = exec::run(|exec: Exec| {
        let (sent, got, passed) = (&sent, &got, &passed);
        async move {
            let mut line = AsyncClient::new(&exec, serial);
            let whole =
                cut(everything(&mut line, sent, got, || passed.set(passed.get() + 1)), || passed.get() >= point)
                    .await
                    .is_some();
            // The next one goes on where that one stopped.
            let mut buffer = [0; 64];
            while got.borrow().len() < sent.get() {
                let count = line.read(&mut buffer).await.context("read after the cut")?;
                got.borrow_mut().extend(buffer.iter().take(count));
            }
            // A read that waits for nothing is cancelled, and ended with the client.
            let none = timeout(&exec, 1, line.read(&mut buffer)).await;
            check!(none.is_err(), "after {point} points more came than was sent");
            same!(line.close().len(), 0, "bytes too many");
            Ok(whole)
        }
    })?;
    let right = got.borrow().iter().zip(0..).all(|(found, at)| *found == byte(at));
    check!(right && got.borrow().len() == sent.get(), "other bytes came back after {point} points");
    Ok((passed.get(), whole))
}
