//! Packing, retrying and copying, with the kernel left out.

use super::request::in_pieces;
use super::*;
use crate::syscall::{CallFailure, Message, Received};
use abi::TaskId;
use abi::message::{MAX_COPY, ReplyToken, Sender};
use alloc::string::ToString;
use alloc::vec::Vec;
use core::ops::Range;

#[test]
fn loans_become_leases_in_order() {
    let (text, mut line, mut both) = (b"prompt".as_slice(), [0_u8; 80], [0_u8; 3]);
    let (text_addr, line_addr, both_addr) = (text.as_ptr() as u64, line.as_ptr() as u64, both.as_ptr() as u64);
    let mut loans = [Loan::Read(text), Loan::Write(&mut line), Loan::Both(&mut both)];
    let mut room = [Lease::default(); MAX_LEASES];
    let leases = leases_of(&mut loans, &mut room).expect("three fit");
    assert_eq!(leases.len(), 3);
    assert_eq!(leases[0], Lease { addr: text_addr, len: 6, access: Lease::READ });
    assert_eq!(leases[1], Lease { addr: line_addr, len: 80, access: Lease::WRITE });
    assert_eq!(leases[2], Lease { addr: both_addr, len: 3, access: Lease::READ | Lease::WRITE });
}

#[test]
fn too_many_loans_are_refused_before_the_kernel_sees_them() {
    let mut loans: Vec<Loan<'_>> = (0..=MAX_LEASES).map(|_| Loan::Read(b"")).collect();
    let refused = Endpoint(2).call_with(1, [0; 4], &mut loans);
    assert_eq!(refused, Err(CallError::Failed(Status::BadArgument)));
    assert!(leases_of(&mut loans[1..], &mut [Lease::default(); MAX_LEASES]).is_some());
}

#[test]
fn failures_keep_their_meaning() {
    let failure = |status, value| call_error(CallFailure { status, value });
    assert_eq!(failure(Status::PeerDied, 7), CallError::Died { generation: 7 });
    assert_eq!(failure(Status::PeerGone, 7), CallError::Gone);
    assert_eq!(failure(Status::CallOrder, 7), CallError::Failed(Status::CallOrder));
    assert_eq!(failure(Status::PeerDied, 7).to_string(), "the server died in life 7 while it served the call");
    assert!(failure(Status::CallOrder, 0).to_string().contains("priority"));
    assert_eq!(Endpoint(2).call(1, [0; 4]), Err(CallError::Failed(Status::BadSyscall)));
}

#[test]
fn retrying_ends_with_the_first_answer_of_another_kind() {
    let died = Err(CallError::Died { generation: 1 });
    for last in [Ok(5), Err(CallError::Gone), Err(CallError::Failed(Status::NoRights))] {
        let mut asked = 0;
        let result = retrying(|| {
            asked += 1;
            if asked < 4 { died } else { last }
        });
        assert_eq!((result, asked), (last, 4));
    }
}

#[test]
fn retrying_is_bounded() {
    let mut asked = 0_u32;
    let result: Result<(), _> = retrying(|| {
        asked += 1;
        Err(CallError::Died { generation: asked })
    });
    assert_eq!(result, Err(CallError::Died { generation: MAX_TRIES as u32 }));
    assert_eq!(asked as usize, MAX_TRIES);
}

#[test]
fn what_arrives_is_told_apart() {
    let sender = Sender { task: TaskId { index: 3, generation: 2 }, badge: 6 };
    let arrived = |header, words| {
        Event::from(Received {
            sender,
            token: ReplyToken::new(4, 9),
            message: Message { header, words, handle: 16 << 32 | 11 },
        })
    };
    assert!(matches!(arrived(Header(Header::NOTIFICATION), [5, 0, 0, 0]), Event::Notified(5)));
    let Event::Request(request) = arrived(Header::new(2).with_leases(1).with_handle(Kind::Memory), [1, 2, 3, 4]) else {
        panic!("a message is a request");
    };
    assert_eq!((request.label, request.words, request.leases), (2, [1, 2, 3, 4], 1));
    assert_eq!(
        (request.handle, request.sender, request.task()),
        (Some(Handle::memory(11, Rights::READ)), sender, sender.task)
    );
    assert_eq!(request.pending(), Pending { token: ReplyToken::new(4, 9) });
    let Event::Request(request) = arrived(Header::new(2), [0; 4]) else { panic!("a message is a request") };
    assert_eq!(request.handle, None, "the register means nothing unless the header says so");
}

/// Copies from a lease of `lease` bytes to a buffer of `total`, as the kernel would; returns the result and the pieces.
fn copied(lease: usize, total: usize) -> (Result<usize, Status>, Vec<Range<usize>>) {
    let mut pieces = Vec::new();
    let result = in_pieces(total, |piece| {
        pieces.push(piece.clone());
        let left = lease.checked_sub(piece.start).ok_or(Status::LeaseBounds)?;
        Ok(piece.len().min(left))
    });
    (result, pieces)
}

#[test]
fn long_copies_go_in_pieces() {
    assert_eq!(copied(10, 0), (Ok(0), Vec::new()));
    assert_eq!(copied(10, 4).0, Ok(4));
    assert_eq!(copied(MAX_COPY, MAX_COPY).1.len(), 1);
    let (result, pieces) = copied(3 * MAX_COPY, 2 * MAX_COPY + 1);
    assert_eq!(result, Ok(2 * MAX_COPY + 1));
    assert_eq!(pieces, [0..MAX_COPY, MAX_COPY..2 * MAX_COPY, 2 * MAX_COPY..2 * MAX_COPY + 1]);
}

#[test]
fn a_copy_ends_with_the_lease() {
    assert_eq!(copied(10, 100).0, Ok(10));
    assert_eq!(copied(MAX_COPY, 2 * MAX_COPY).0, Ok(MAX_COPY), "the lease ends where a piece does");
    assert_eq!(copied(0, 1).0, Ok(0));
    let mut first = true;
    let failed =
        in_pieces(
            2 * MAX_COPY,
            |piece| {
                if core::mem::take(&mut first) { Ok(piece.len()) } else { Err(Status::LeaseFault) }
            },
        );
    assert_eq!(failed, Err(Status::LeaseFault));
}
