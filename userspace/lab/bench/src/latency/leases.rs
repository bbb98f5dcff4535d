//! Copies from and to memory that is lent.

use super::{LATER, map, unmap};
use abi::message::Header;
use alloc::vec;
use rt::ipc::{Endpoint, Event, Loan, close};
use rt::memory::Memory;
use rt::{Status, syscall};

/// Copies of as much as a call copies, where no two pages lie alike, where they overlap, and between other tasks.
pub fn copied() -> Result<(), Status> {
    const LEN: usize = 64 << 10;
    let endpoint = Endpoint::create()?;
    let client = rt::thread::spawn(
        move || {
            let mut lent = vec![1_u8; LEN + 9];
            for _ in 0..3 {
                if let Some(lent) = lent.get_mut(3..LEN + 3) {
                    let _ = endpoint.call_with(1, [0; 4], &mut [Loan::Both(lent)]);
                }
            }
        },
        8,
        LATER,
    )?;
    let mut own = vec![2_u8; LEN + 4096];
    for _ in 0..3 {
        let Event::Request(request) = endpoint.receive(0)? else { return Err(Status::BadArgument) };
        for skew in [0, 1, 4095] {
            let buffer = own.get_mut(skew..skew + LEN).ok_or(Status::BadArgument)?;
            request.read(0, 0, buffer)?;
            request.write(0, 0, buffer)?;
            request.lease_len(0)?;
        }
        request.pending().reply(0, [0; 4])?;
    }
    client.join();
    close(endpoint.0)?;
    overlapping()
}

/// Lease copies whose source and target are one and the same memory.
fn overlapping() -> Result<(), Status> {
    const LEN: usize = 64 << 10;
    let endpoint = Endpoint::create()?;
    let memory = Memory::create(17)?;
    let at = map(memory, 0)?;
    let client = rt::thread::spawn(
        move || {
            let lease = abi::message::Lease { addr: at, len: LEN as u32, access: 3 };
            // SAFETY: nothing refers to the mapping.
            let _ = unsafe { syscall::call_leased(endpoint.0, Header::new(1), [0; 4], &[lease], 0) };
        },
        8,
        LATER,
    )?;
    let received = syscall::recv(endpoint.0, 0)?;
    for skew in [1, 7, 8, 2049] {
        // SAFETY: the mapping is as long, and nobody else writes to it.
        let buffer = unsafe { core::slice::from_raw_parts_mut((at + skew) as *mut u8, LEN) };
        syscall::lease_read(received.token, 0, 0, buffer)?;
        syscall::lease_write(received.token, 0, 0, buffer)?;
    }
    syscall::reply(received.token, Header::new(0), [0; 4], 0)?;
    client.join();
    unmap(at)?;
    close(memory.0)?;
    close(endpoint.0)
}
