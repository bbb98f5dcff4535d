//! What is lent with a call.

use super::*;
use crate::thread::ThreadIndex;
use abi::message::Lease;

const LEASES: [Lease; 2] = [
    Lease { addr: 0x1000, len: 100, access: Lease::READ },
    Lease { addr: u64::MAX - 4, len: 50, access: Lease::WRITE },
];

/// A lease as the kernel would reach it: the row that lends it, address and length left.
pub fn lease(
    s: &System,
    server: ThreadIndex,
    token: ReplyToken,
    number: u64,
    offset: u64,
    access: u32,
) -> Result<(Row, u64, u64), Status> {
    s.lease(s.threads.at(server).unwrap(), token, number, offset, access)
        .map(|(t, addr, left)| (t.task, addr.number(), left))
}

fn lent() -> (System, [ThreadIndex; 3], ReplyToken) {
    let (mut s, threads @ [server, client, _]) = trio();
    run(&mut s, client);
    frame(&mut s, client).rdi = PEER.to_u64();
    frame(&mut s, client).rsi = Header::new(1).with_leases(2).0;
    s.call(client, &LEASES).unwrap();
    recv(&mut s, server, OWN, 0).unwrap();
    let token = ReplyToken(frame(&mut s, server).r8);
    (s, threads, token)
}

#[test]
fn a_lease_is_reached_within_its_bounds() {
    let (s, [server, ..], token) = lent();
    assert_eq!(lease(&s, server, token, 0, 0, Lease::READ), Ok((Row::new(1), 0x1000, 100)));
    assert_eq!(lease(&s, server, token, 0, 99, Lease::READ), Ok((Row::new(1), 0x1063, 1)));
    assert_eq!(lease(&s, server, token, 0, 100, Lease::READ), Ok((Row::new(1), 0x1064, 0)));
    assert_eq!(s.lease_info(server, token, 1), Ok((50, Lease::WRITE)));
}

#[test]
fn a_lease_is_refused_as_documented() {
    let (mut s, [server, _, other], token) = lent();
    assert_eq!(lease(&s, server, token, 0, 101, Lease::READ), Err(Status::LeaseBounds));
    assert_eq!(lease(&s, server, token, 0, u64::MAX, Lease::READ), Err(Status::LeaseBounds));
    assert_eq!(lease(&s, server, token, 0, 0, Lease::WRITE), Err(Status::LeaseBounds));
    assert_eq!(lease(&s, server, token, 0, 0, Lease::READ | Lease::WRITE), Err(Status::LeaseBounds));
    assert_eq!(lease(&s, server, token, 1, 0, Lease::READ), Err(Status::LeaseBounds));
    for number in [2, 3, 4, 1 << 32, u64::MAX] {
        assert_eq!(lease(&s, server, token, number, 0, Lease::READ), Err(Status::LeaseBounds), "{number}");
        assert_eq!(s.lease_info(server, token, number), Err(Status::LeaseBounds), "{number}");
    }
    assert_eq!(lease(&s, server, token, 1, 5, Lease::WRITE), Err(Status::LeaseFault), "the address wraps");
    assert_eq!(lease(&s, other, token, 0, 0, Lease::READ), Err(Status::StaleReply));
    assert_eq!(s.lease_info(other, token, 0), Err(Status::StaleReply));
    reply(&mut s, server, token.0, Message::default()).unwrap();
    assert_eq!(lease(&s, server, token, 0, 0, Lease::READ), Err(Status::StaleReply), "the call is over");
    assert_eq!(s.lease_info(server, token, 0), Err(Status::StaleReply));
}

#[test]
fn the_leases_of_an_earlier_call_are_not_there_in_the_next() {
    let (mut s, [server, client, _], token) = lent();
    reply(&mut s, server, token.0, Message::default()).unwrap();
    call(&mut s, client, PEER, Message::default()).unwrap();
    recv(&mut s, server, OWN, 0).unwrap();
    let token = ReplyToken(frame(&mut s, server).r8);
    assert_eq!(lease(&s, server, token, 0, 0, Lease::READ), Err(Status::LeaseBounds));
    assert_eq!(s.lease_info(server, token, 0), Err(Status::LeaseBounds));
}

#[test]
fn the_header_must_count_the_leases() {
    let (mut s, [_, client, _]) = trio();
    run(&mut s, client);
    frame(&mut s, client).rdi = PEER.to_u64();
    for (count, given) in [(0, 1), (1, 2), (2, 0), (5, 5), (15, 5)] {
        frame(&mut s, client).rsi = Header::new(1).with_leases(count).0;
        assert_eq!(s.call(client, &[Lease::default(); 5][..given]), Err(Status::BadArgument), "{count} and {given}");
    }
    sound(&s);
}
