//! Debugging: who may, and what is reached.

use super::*;
use crate::addr::{PhysAddr, UserAddr};
use crate::lines::Line;
use crate::memory::{Backing, Caching};
use crate::system::debug::Reach;
use crate::thread::{State, ThreadIndex};
use abi::TaskId;
use abi::manifest::Grant;
use abi::syscall::{INTERRUPT_AGAIN, INTERRUPT_DROP, PORT_WRITE};
use abi::task::{INFO_ADDR, MAP_BASE, STACK_TOP};

/// A driver with a line and ports, a task that may debug it, and one that may not.
fn scene() -> (System, [ThreadIndex; 3]) {
    let (mut driver, mut debugger) = (record("driver", 1, &[]), record("debugger", 5, &[0]));
    for grant in [Grant::irq("rx", 4, 3), Grant::ports("uart", 0x3f8, 8), Grant::ports("last", 0xffff, 1)] {
        assert!(driver.add(grant));
    }
    assert!(debugger.add(Grant::debug(0)));
    let mut s = system(&[driver, debugger, record("other", 6, &[0])]);
    let threads = [0, 1, 2].map(|row| spawn(&mut s, row));
    s.lines.claim(4.into(), crate::lines::LineOwner { row: Row::new(0), bits: 1 << 3 });
    (s, threads)
}

fn id(s: &System, row: Row) -> u64 {
    s.tasks[row].id(row).to_u32().into()
}

#[test]
fn only_the_table_gives_the_right() {
    let (s, [driver, debugger, other]) = scene();
    assert_eq!(s.debuggee(debugger, id(&s, Row::new(0))), Ok(Row::new(0)));
    for row in [1, 2, 3, 63, 64, 511] {
        assert_eq!(
            s.debuggee(debugger, TaskId { index: row, generation: 1 }.to_u32().into()),
            Err(Status::NoRights),
            "row {row}"
        );
    }
    for thread in [driver, other] {
        for row in 0..3 {
            assert_eq!(s.debuggee(thread, id(&s, Row::new(row))), Err(Status::NoRights));
        }
    }
    assert_eq!(s.debuggee(debugger, 1 << 32 | id(&s, Row::new(0))), Err(Status::NoRights));
}

#[test]
fn the_right_is_for_the_life_that_is_named() {
    let (mut s, [_, debugger, _]) = scene();
    let old = id(&s, Row::new(0));
    kill(&mut s, 0);
    assert_eq!(s.debuggee(debugger, old), Err(Status::NoSuchTask));
    while s.reap_some(Row::new(0), 8, 8).unwrap() > 0 {}
    spawn(&mut s, 0);
    assert_eq!(s.debuggee(debugger, old), Err(Status::NoSuchTask));
    assert_eq!(s.debuggee(debugger, id(&s, Row::new(0))), Ok(Row::new(0)));
}

#[test]
fn interrupts_come_twice_or_not_at_all() {
    let (mut s, [driver, ..]) = scene();
    for (bit, what) in [(2, INTERRUPT_AGAIN), (64, INTERRUPT_DROP), (u64::MAX, INTERRUPT_DROP), (3, 0), (3, 3)] {
        assert_eq!(s.debug_interrupt(Row::new(0), bit, what), Err(Status::BadArgument), "{bit} {what}");
    }
    s.debug_interrupt(Row::new(0), 3, INTERRUPT_AGAIN).unwrap();
    assert_eq!(s.poll(driver, NOTE, u64::MAX), Ok(1 << 3));
    // One that is pending is taken away, and the next one comes.
    assert!(s.interrupt(Line::new(4)));
    s.debug_interrupt(Row::new(0), 3, INTERRUPT_DROP).unwrap();
    assert_eq!(s.poll(driver, NOTE, u64::MAX), Ok(0));
    assert!(s.interrupt(Line::new(4)));
    assert_eq!(s.poll(driver, NOTE, u64::MAX), Ok(1 << 3));
    // None is pending: the next one is lost, and only that.
    s.debug_interrupt(Row::new(0), 3, INTERRUPT_DROP).unwrap();
    assert!(!s.interrupt(Line::new(4)));
    assert_eq!(s.poll(driver, NOTE, u64::MAX), Ok(0));
    assert!(s.interrupt(Line::new(4)));
    assert_eq!(s.poll(driver, NOTE, u64::MAX), Ok(1 << 3));
    // A next life loses nothing of what was meant for the last.
    s.debug_interrupt(Row::new(0), 3, INTERRUPT_DROP).unwrap();
    kill(&mut s, 0);
    assert!(s.interrupt(Line::new(4)));
    sound(&s);
}

#[test]
fn ports_are_those_of_the_task() {
    let (s, _) = scene();
    assert_eq!(s.debug_port(Row::new(0), 0x3f8, 1), Ok((1, false)));
    assert_eq!(s.debug_port(Row::new(0), 0x3fc, 4 | PORT_WRITE), Ok((4, true)));
    assert_eq!(s.debug_port(Row::new(0), 0xffff, 1), Ok((1, false)));
    let wrong = [
        (0x3f7, 1),
        (0x400, 1),
        (0x3f7, 2),
        (0x3fd, 4),
        (0xffff, 2),
        (0x1_03f8, 1),
        (u64::MAX, 1),
        (0x3f8, 0),
        (0x3f8, 3),
        (0x3f8, 8),
        (0x3f8, 1 << 9 | 1),
        (0x3f8, u64::MAX),
        (0, 1),
    ];
    for (port, access) in wrong {
        assert_eq!(s.debug_port(Row::new(0), port, access), Err(Status::BadArgument), "{port:#x} {access:#x}");
    }
}

#[test]
fn what_others_share_is_reached_as_the_task_reaches_it() {
    let (mut s, [driver, ..]) = scene();
    for addr in [0x20_0000, MAP_BASE - 1, INFO_ADDR, STACK_TOP - 8] {
        assert_eq!(s.debug_reach(Row::new(0), UserAddr::new(addr)), Reach::Own, "{addr:#x}");
    }
    assert_eq!(s.debug_reach(Row::new(0), UserAddr::new(MAP_BASE)), Reach::Nothing);
    let row = s.row_of(driver).unwrap();
    let memory = memory(&mut s, row, 1).unwrap();
    let mapping = s.memory_map(row, memory, UserAddr::ANY, false).unwrap();
    assert_eq!(s.debug_reach(Row::new(0), mapping.addr), Reach::Shared);
    assert_eq!(s.debug_reach(Row::new(0), mapping.addr.plus(4095)), Reach::Shared);
    assert_eq!(s.debug_reach(Row::new(0), mapping.addr.plus(4096)), Reach::Nothing);
    let Object::Memory(object) = s.handle(driver, memory).unwrap().object else { panic!("a memory object") };
    let mut reach_of = |backing| {
        let old = core::mem::replace(&mut s.memories.get_mut(object).unwrap().backing, backing);
        let reach = s.debug_reach(Row::new(0), mapping.addr);
        s.memories.get_mut(object).unwrap().backing = old;
        reach
    };
    for (caching, reach) in [
        (Caching::WriteBack, Reach::Shared),
        (Caching::Uncached, Reach::Nothing),
        (Caching::WriteCombining, Reach::Nothing),
    ] {
        assert_eq!(reach_of(Backing::Physical { base: PhysAddr::new(0xb8000), caching }), reach, "{caching:?}");
    }
}

/// All registers at once, as a debugger sets them.
fn all(value: u64) -> abi::task::Registers {
    abi::task::Registers { general: [value; 15], rip: 0x1000, rsp: 0x2000, rflags: u64::MAX }
}

#[test]
fn d25_a_debugger_cannot_make_a_call_what_it_is_not() {
    // Every bit, alone and with all others, while the call is queued and while it is received.
    for value in (0..64).map(|bit| 1 << bit).chain([0, u64::MAX, Header::new(7).with_leases(4).wanting(Kind::Memory).0])
    {
        let (mut s, [server, client, _]) = trio();
        let given = s.notification_create(client).unwrap().number();
        let message =
            Message::words([1, 2, 3, 4]).giving(given, Rights::SIGNAL).lending(&[Lease { addr: 1, len: 2, access: 1 }]);
        call(&mut s, client, PEER, message).unwrap();
        let header = frame(&mut s, client).rsi;
        assert_eq!(s.debug_set(Row::new(1), &all(value)), Ok(()));
        recv(&mut s, server, OWN, 0).unwrap();
        let f = *frame(&mut s, server);
        assert_eq!((f.rsi, f.words()), (header, [value; 4]), "only the words are the debugger's");
        assert_eq!(s.handle(server, HandleNumber::from_register(f.r10 & 0xffff_ffff)).unwrap().rights, Rights::SIGNAL);
        assert_eq!(s.debug_set(Row::new(1), &all(value)), Ok(()));
        let token = ReplyToken(f.r8);
        assert_eq!(s.lease_info(server, token, 0), Ok((2, 1)));
        assert_eq!(s.lease_info(server, token, 1), Err(Status::LeaseBounds));
        let m = memory(&mut s, 0, 1).unwrap();
        reply(&mut s, server, token.0, Message::words([5; 4]).giving(m, Rights::all())).unwrap();
        let f = *frame(&mut s, client);
        assert_eq!((f.rax, f.rsi, f.words()), (0, 7 | Header::HANDLE_REFUSED, [5; 4]), "the call's own results");
        sound(&s);
    }
}

#[test]
fn a_debugger_sets_registers_of_who_waits_and_not_of_who_runs() {
    let (mut s, [server, client, other]) = trio();
    run(&mut s, server);
    assert_eq!(s.debug_set(Row::new(0), &all(9)), Err(Status::Busy));
    recv(&mut s, server, OWN, 1).unwrap();
    run(&mut s, client);
    assert_eq!(s.debug_set(Row::new(0), &all(9)), Ok(()));
    let f = *frame(&mut s, server);
    let flags = u64::from(TrapFrame::USER_FLAGS | TrapFrame::USER_FLAGS_SET);
    assert_eq!((f.rsi, f.r10, f.rip, f.rsp, f.rflags, f.vector), (9, 9, 0x1000, 0x2000, flags, 0));
    s.signal_task(Row::new(0), 1);
    assert_eq!(frame(&mut s, server).rsi, Header::NOTIFICATION, "recv ends with its own results");
    assert_eq!(
        s.debug_set(Row::new(2), &abi::task::Registers { rip: abi::task::USER_END, ..all(0) }),
        Err(Status::BadAddress)
    );
    assert_eq!(
        s.debug_set(Row::new(2), &abi::task::Registers { rsp: abi::task::USER_END, ..all(0) }),
        Err(Status::BadAddress)
    );
    assert_eq!(s.debug_set(Row::new(9), &all(0)), Err(Status::NoSuchTask));
    assert_eq!(state(&s, other), State::Ready);
    sound(&s);
}
