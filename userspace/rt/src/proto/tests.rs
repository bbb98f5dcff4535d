//! A protocol with all there is, its client and its server on one thread.

use super::*;
use crate::exec::Lend;
use crate::fake::{FAKE_CLIENT, fake_exec, fake_peer};
use crate::ipc::{CallError, Endpoint, Handle, Loan, Reply, Request};
use crate::notify::Notification;
use abi::Status;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::convert::Infallible;

crate::words! {
    /// All widths.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct State { a: u32, b: bool, c: u16, d: u64, e: u8, kind: Kind, f: u32 }
}

crate::words! {
    /// Some kinds.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Kind { Round = 1, Square = 7 }
}

crate::protocol! {
    /// A lamp.
    pub protocol lamp;
    refusals {
        /// The bulb is broken.
        Broken(hours: u32) = 1 "the bulb is broken, after {hours} hours",
        /// It is too hot.
        Hot = 2 "too hot",
    }
    /// Sets how bright it is.
    [1 once later] fn dim(percent: u8, kind: Kind) -> Kind;
    /// Blinks a text, and writes another one.
    [2 numbered] fn blink(text: &[u8; 1..=8], times: u32, out: &mut [u8]) -> u32;
    /// Tells of a broken bulb.
    [3 idempotent] fn subscribe(bits: u64) passing bell: Notification[SIGNAL | GRANT];
    /// The state.
    [4 idempotent(3)] fn state() -> State;
    /// Never succeeds.
    [5 idempotent] fn explode() -> Infallible;
    /// The text, of which the server says that it is longer than it is.
    [6 idempotent] fn boast(text: &mut [u8]) -> Filled;
}

const STATE: State = State { a: 1, b: true, c: 2, d: u64::MAX, e: 4, kind: Kind::Square, f: 5 };

#[derive(Default)]
struct Lamp {
    seen: Vec<(u64, Vec<u8>, u32)>,
    bells: Vec<(u64, u32)>,
    queue: Queue<u8, Kind>,
}

impl Server for Lamp {
    fn dim(&mut self, call: Call<Kind>, percent: u8, kind: Kind) -> Outcome<Kind> {
        assert_eq!(call.from.task, FAKE_CLIENT);
        if percent > 100 {
            return Err(Refusal::Hot).into();
        }
        self.queue.ask(call, percent, |_, percent| (*percent < 50).then_some(Ok(kind)))
    }

    fn blink(&mut self, from: Asker, text: In, times: u32, out: Out) -> Result<u32, Refusal> {
        let mut bytes = vec![0; text.len() as usize];
        text.read(0, &mut bytes).map_err(|_| Refusal::BadLease)?;
        out.write_all(1, b"yes").map_err(|_| Refusal::BadLease)?;
        self.seen.push((from.number, bytes, times));
        Ok(text.len() * times)
    }

    fn subscribe(&mut self, _: Asker, bits: u64, bell: Owned<Notification>) -> Result<(), Refusal> {
        self.bells.push((bits, bell.into_inner().0));
        Ok(())
    }

    fn state(&mut self, _: Asker) -> Result<State, Refusal> {
        Ok(STATE)
    }

    fn explode(&mut self, _: Asker) -> Result<Infallible, Refusal> {
        Err(Refusal::Broken(1000))
    }

    fn boast(&mut self, _: Asker, text: Out) -> Result<usize, Refusal> {
        text.write_all(0, b"ha").map_err(|_| Refusal::BadLease)?;
        Ok(usize::MAX)
    }
}

/// A client, its server, and how often that is to die over a request, after it was done.
fn lamp() -> (Client, Rc<RefCell<Lamp>>, Rc<RefCell<u32>>) {
    let (lamp, deaths) = (Rc::new(RefCell::new(Lamp::default())), Rc::new(RefCell::new(0)));
    let (server, dies) = (lamp.clone(), deaths.clone());
    fake_peer(Endpoint(77), move |request| {
        let answer = dispatch(&mut *server.borrow_mut(), request);
        if *dies.borrow() > 0 {
            *dies.borrow_mut() -= 1;
            return Err(CallError::Died { generation: 1 });
        }
        Ok(answer)
    });
    (Client::new(Endpoint(77)), lamp, deaths)
}

#[test]
fn values_survive_their_words() {
    let words = to_words(&STATE);
    assert_eq!(words, [1 | 1 << 32 | 2 << 33, u64::MAX, 4 | 7 << 8, 5], "no field lies in two words");
    assert_eq!(from_words::<State>(words), Some(STATE));
    assert_eq!(from_words::<Kind>([2, 0, 0, 0]), None);
    assert_eq!(from_words::<(u64, u32)>(to_words(&(3_u64, 4_u32))), Some((3, 4)));
}

#[allow(dead_code, reason = "not all parts of the protocol are used")]
mod signed {
    crate::words! {
        /// Signed numbers of all widths.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct Moved { pub x: i16, pub wheel: i8, pub far: i32, pub farther: i64 }
    }
    crate::protocol! {
        /// A mouse.
        pub protocol mouse;
        refusals {
            /// It is at the edge.
            Edge(by: i32) = 1 "beyond the edge by {by}",
        }
        /// Moves the pointer.
        [1 idempotent] fn warp(x: i32, by: Moved) -> Moved;
    }
}

#[test]
fn signed_numbers_keep_their_signs() {
    use signed::{Client, DESCRIPTION, Error, Moved, Refusal, Server, dispatch};

    let least = Moved { x: i16::MIN, wheel: -1, far: i32::MIN, farther: i64::MIN };
    let words = to_words(&least);
    assert_eq!(words, [0x8000 | 0xff << 16 | 0x8000_0000 << 24, 1 << 63, 0, 0], "no bits beyond each width");
    for moved in [least, Moved { x: i16::MAX, wheel: 1, far: -2, farther: -3 }] {
        assert_eq!(from_words::<Moved>(to_words(&moved)), Some(moved));
    }
    assert_ne!(<i32 as Words>::SHAPE, <u32 as Words>::SHAPE, "a hash of the protocol tells them apart");

    struct Mouse;
    impl Server for Mouse {
        fn warp(&mut self, _: Asker, x: i32, by: Moved) -> Result<Moved, Refusal> {
            if x < -100 { Err(Refusal::Edge(x + 100)) } else { Ok(Moved { far: by.far + x, ..by }) }
        }
    }
    fake_peer(Endpoint(78), |request| Ok(dispatch(&mut Mouse, request)));
    let (client, by) = (Client::new(Endpoint(78)), Moved { x: -1, wheel: -2, far: -3, farther: -4 });
    assert_eq!(client.warp(-7, by), Ok(Moved { far: -10, ..by }));
    let error = client.warp(-105, by).expect_err("it is beyond");
    assert_eq!((error, error.to_string().as_str()), (Error::Refused(Refusal::Edge(-5)), "beyond the edge by -5"));
    assert!(DESCRIPTION.contains("x:i32 by:{x:i16,wheel:i8,far:i32,farther:i64,}"), "{DESCRIPTION}");
}

#[test]
fn arguments_arrive_and_answers_come_back() {
    let (client, lamp, _) = lamp();
    assert_eq!(client.state(), Ok(STATE));
    let mut out = *b"......";
    assert_eq!(client.blink(b"morse", 3, &mut out), Ok(15));
    assert_eq!(&out, b".yes..");
    assert_eq!(client.subscribe(5, Notification(12)), Ok(()));
    assert_eq!(lamp.borrow().bells, [(5, 12)]);
    assert_eq!(client.dim(20, Kind::Round), Ok(Kind::Round));
    assert_eq!(client.dim(120, Kind::Round), Err(Error::Refused(Refusal::Hot)));
    assert_eq!(client.dim(70, Kind::Round), Err(Error::Call(CallError::Failed(Status::WouldBlock))), "it waits");
    assert_eq!(client.dim(70, Kind::Round), Err(Error::Refused(Refusal::Busy)), "one of a task waits");
    let Err(error) = client.explode();
    assert_eq!(error, Error::Refused(Refusal::Broken(1000)));
    assert_eq!(error.to_string(), "the bulb is broken, after 1000 hours");
    assert_eq!(client.hash(), Ok(HASH));
    let mut room = [0; 5];
    assert_eq!((client.boast(&mut room), &room), (Ok(5), b"ha\0\0\0"), "no more than was lent");
}

#[test]
fn a_protocol_describes_itself() {
    let lines: Vec<&str> = DESCRIPTION.lines().collect();
    assert_eq!(
        lines,
        [
            "protocol lamp",
            "op 1 dim percent:u8 kind:Round=1|Square=7| -> Round=1|Square=7|",
            "op 2 blink text:& times:u32 out:&mut # -> u32",
            "op 3 subscribe bits:u64 +Notification -> ()",
            "op 4 state -> {a:u32,b:bool,c:u16,d:u64,e:u8,kind:Round=1|Square=7|,f:u32,}",
            "op 5 explode -> never",
            "op 6 boast text:&mut -> filled",
            "no 1 hours:u32 the bulb is broken, after {hours} hours",
            "no 2 - too hot",
        ]
    );
}

#[test]
fn a_handle_is_of_its_kind_and_has_its_rights() {
    let (client, lamp, _) = lamp();
    let both = Rights::SIGNAL.union(Rights::GRANT);
    let pass = |handle| Endpoint(77).call_handle(label::subscribe, [5, 0, 0, 0], &mut [], handle).unwrap().label;
    assert_eq!(pass(Handle::notification(12, both)), 0);
    assert_eq!(pass(Handle::notification(13, both.union(Rights::WAIT))), 0, "more rights do no harm");
    assert_eq!(pass(Handle::notification(14, Rights::SIGNAL)), BAD_REQUEST, "a right is missing");
    assert_eq!(pass(Handle::endpoint(15, both)), BAD_REQUEST);
    assert_eq!(pass(Handle::memory(16, both)), BAD_REQUEST);
    assert_eq!(lamp.borrow().bells, [(5, 12), (5, 13)]);
    assert_eq!(TAKES, Kinds::NOTIFICATION);
    assert!(client.subscribe(6, Notification(17)).is_ok());
}

#[test]
fn an_answer_that_is_owed_is_not_forgotten() {
    // On the host there is nobody to be answered; that it is tried is seen by what it does not do: forget.
    let request = Request {
        sender: Sender { task: FAKE_CLIENT, badge: 3 },
        label: 1,
        words: [0; 4],
        leases: 0,
        wants: None,
        handle: None,
        token: abi::message::ReplyToken::new(5, 9),
    };
    let call: Call<Kind> = FromCall::from_call(&request, 4);
    assert_eq!(call.from, Asker { task: FAKE_CLIENT, badge: 3, number: 4 });
    let (deferred, outcome) = call.defer();
    assert_eq!(outcome.respond(), crate::Answer::Deferred);
    assert_eq!(deferred.answer(Ok(Kind::Round)), Err(Status::BadSyscall));
}

#[test]
fn each_operation_is_asked_again_as_it_says() {
    let (client, lamp, deaths) = lamp();
    *deaths.borrow_mut() = 5;
    assert_eq!(client.blink(b"x", 1, &mut [0; 4]), Ok(1));
    assert_eq!(client.blink(b"y", 1, &mut [0; 4]), Ok(1));
    let numbers: Vec<u64> = lamp.borrow().seen.iter().map(|seen| seen.0).collect();
    let first = numbers[0];
    assert_eq!(numbers[..6], [first; 6], "a repetition keeps its number");
    // Other tests draw numbers at the same time.
    assert!(numbers.len() == 7 && numbers[6] > first, "{numbers:?}");
    *deaths.borrow_mut() = 2;
    assert_eq!(client.state(), Ok(STATE));
    *deaths.borrow_mut() = 3;
    assert_eq!(client.state(), Err(Error::Call(CallError::Died { generation: 1 })));
    assert_eq!(*deaths.borrow(), 0);
    *deaths.borrow_mut() = 1;
    assert_eq!(client.dim(20, Kind::Round), Err(Error::Call(CallError::Died { generation: 1 })));
}

#[test]
fn what_is_not_as_declared_is_refused() {
    let (client, lamp, _) = lamp();
    let refused = |label, words, loans: &mut [Loan<'_>]| match Endpoint(77).call_with(label, words, loans) {
        Ok(reply) => reply.label,
        Err(error) => panic!("{error}"),
    };
    let mut room = [0; 4];
    assert_eq!(refused(99, [0; 4], &mut []), BAD_REQUEST);
    assert_eq!(refused(label::blink, [1; 4], &mut [Loan::Read(b"x")]), BAD_REQUEST, "one lease too few");
    assert_eq!(refused(label::blink, [1; 4], &mut [Loan::Read(b"x"), Loan::Read(b"x")]), BAD_LEASE, "no room");
    assert_eq!(refused(label::state, [0; 4], &mut [Loan::Read(b"x")]), BAD_REQUEST, "one lease too many");
    assert_eq!(refused(label::dim, [1, 2, 0, 0], &mut []), BAD_REQUEST, "no such kind");
    assert_eq!(refused(label::subscribe, [1, 2, 0, 0], &mut []), BAD_REQUEST, "no handle");
    assert_eq!(client.blink(b"", 1, &mut room), Err(Error::Refused(Refusal::BadLease)), "too short");
    assert_eq!(client.blink(b"123456789", 1, &mut room), Err(Error::Refused(Refusal::BadLease)), "too long");
    assert!(lamp.borrow().seen.is_empty());
    assert!(takes_handle(label::subscribe) && !takes_handle(label::dim) && !takes_handle(99));
}

#[test]
fn futures_ask_too() {
    let exec = fake_exec(Box::new(|job| {
        let [Lend::Read(text), Lend::Write(_)] = job.lent() else { panic!("two leases") };
        assert_eq!(text, b"ab");
        Some(Ok(Reply { label: 0, words: [job.words()[0] * 2, 0, 0, 0], handle: None, lost: false }))
    }));
    exec.block_on(async {
        let ask = Requests::blink(b"ab".to_vec(), 4, vec![0; 3]);
        assert_eq!(ask.of(&exec, Endpoint(77)).await.0, Ok(8));
    });
    let mut dies = 7;
    let exec = fake_exec(Box::new(move |job| {
        assert_eq!(job.handle(), (job.label() == label::subscribe).then_some(BELL));
        dies -= 1;
        let died = Err(CallError::Died { generation: 1 });
        Some(if dies > 0 { died } else { Ok(Reply { label: 0, words: [9; 4], handle: None, lost: false }) })
    }));
    exec.block_on(async {
        let died = Failure::Call(CallError::Died { generation: 1 });
        assert_eq!(Requests::dim(20, Kind::Round).of(&exec, Endpoint(77)).await.0, Err(died), "once");
        assert_eq!(Requests::state().of(&exec, Endpoint(77)).await.0, Err(died), "three times");
        // Two deaths are left.
        assert_eq!(Requests::subscribe(5, Notification(12)).of(&exec, Endpoint(77)).await.0, Ok(()));
        let (filled, lent) = Requests::boast(vec![0; 3]).of(&exec, Endpoint(77)).await;
        assert_eq!((filled, lent.len()), (Ok(3), 1), "no more than was lent");
    });
}

const BELL: Handle = Handle::notification(12, Rights::SIGNAL.union(Rights::GRANT));

#[test]
fn a_standing_call_is_repeated_as_its_operation_says() {
    let asked = Rc::new(RefCell::new(0));
    let count = asked.clone();
    let exec = fake_exec(Box::new(move |_| {
        *count.borrow_mut() += 1;
        Some(Err(CallError::Died { generation: *count.borrow() }))
    }));
    exec.block_on(async {
        let mut standing = crate::exec::PendingCall::new(&exec, Endpoint(77));
        standing.ask(Requests::dim(20, Kind::Round));
        assert!(matches!(standing.ended().await.unwrap().reply, Err(CallError::Died { generation: 1 })));
        standing.ask(Requests::state());
        assert!(matches!(standing.ended().await.unwrap().reply, Err(CallError::Died { generation: 4 })));
    });
    assert_eq!(*asked.borrow(), 4);
}
