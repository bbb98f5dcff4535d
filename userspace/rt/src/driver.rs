//! Drivers and other servers as callbacks: the trait [`Driver`], and the loop [`serve`] that calls
//! it.

use crate::ipc::{Endpoint, Event, Handle, Request};
use crate::syscall::{self, Received};
use abi::Status;
use abi::message::{Header, Kinds, ReplyToken, bits};

/// The outcome of a request with an unknown label or invalid arguments.
pub const OUTCOME_BAD_REQUEST: u16 = 0xffff;

/// The bits that the runtime handles itself; a driver never gets them.
const RUNTIME_BITS: u64 = bits::HEARTBEAT | bits::RUNTIME;

/// The answer to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the caller waits for the answer"]
pub enum Answer {
    /// A reply now, with this outcome and these words.
    Reply(u16, [u64; 4]),
    /// A reply now that also brings a handle. The caller gets the handle if it asked for one of its
    /// kind ([`Request::wants`]).
    ReplyHandle(u16, [u64; 4], Handle),
    /// No reply now: it is deferred, and a [`crate::ipc::Pending`] was kept, or the message was a
    /// sent one that gets none.
    Deferred,
}

impl Answer {
    /// A reply that the request is done: outcome 0, and these words.
    pub const fn ok(words: [u64; 4]) -> Answer {
        Answer::Reply(0, words)
    }

    /// A reply that the request is refused, with this outcome.
    pub const fn refuse(outcome: u16) -> Answer {
        Answer::Reply(outcome, [0; 4])
    }

    /// A reply with the outcome [`OUTCOME_BAD_REQUEST`].
    pub const fn bad_request() -> Answer {
        Answer::refuse(OUTCOME_BAD_REQUEST)
    }
}

/// A server as callbacks. [`crate::driver!`] makes it a task.
///
/// ```no_run
/// use rt::irq::{Irq, Left};
/// use rt::port::{IoPorts, Port};
/// use rt::{Bit, Driver, println};
///
/// /// The bit by which the driver calls itself when there is more to do.
/// const AGAIN: Bit = Bit::new(32);
///
/// /// A button behind a port: the lowest bit says whether it is pressed, and reading it makes the
/// /// device deassert its interrupt line.
/// struct Button {
///     ports: IoPorts,
///     line: Irq,
///     presses: u64,
/// }
///
/// impl Driver for Button {
///     fn init() -> Self {
///         let ports = IoPorts::named("button").expect("ports called `button` in the task table");
///         let line = Irq::named("press").expect("a line called `press` in the task table");
///         let mut button = Button { ports, line, presses: 0 };
///         line.settle(|| Left::more(button.look()));
///         button
///     }
///
///     fn notified(&mut self, bits: u64) {
///         if bits & (self.line.bits() | AGAIN.mask()) != 0 {
///             self.line.drain(AGAIN, || (Left::more(self.look()), ()));
///         }
///     }
///
///     fn pulse(&mut self) {
///         println!("{} presses so far", self.presses);
///     }
/// }
///
/// impl Button {
///     fn look(&mut self) -> bool {
///         let pressed = self.ports.read8(0) & 1 != 0;
///         self.presses += u64::from(pressed);
///         pressed
///     }
/// }
/// ```
pub trait Driver: Sized {
    /// The kinds of handles that requests may bring: none, unless a driver sets it. The kernel
    /// refuses other kinds to their senders, so no client can fill the driver's table of handles.
    const TAKES: Kinds = Kinds::empty();

    /// Makes the driver and initialises its device.
    fn init() -> Self;

    /// Called with bits of the task's permanent notification: interrupts, timers, other tasks,
    /// [`PEER`](abi::message::bits::PEER). Heartbeats are not among them.
    fn notified(&mut self, bits: u64) {
        let _ = bits;
    }

    /// Called for each heartbeat, a few times a second if the task is watched (`heartbeat` in
    /// `system.toml`). A driver should check its device then, since an interrupt that was lost does
    /// not recur.
    fn pulse(&mut self) {}

    /// Called for each request. A driver that serves a protocol leaves this to it: see
    /// [`Served`](crate::proto::Served).
    fn request(&mut self, request: &Request) -> Answer {
        let _ = request;
        Answer::bad_request()
    }

    /// Whether requests with this label may bring a handle of the kinds in [`Driver::TAKES`]. A
    /// handle that another request brings is closed before [`Driver::request`] is called.
    fn takes_handle(label: u16) -> bool {
        let _ = label;
        true
    }
}

/// Makes a [`Driver`](crate::driver::Driver) the task: calls `init`, then serves for ever.
///
/// With `serves MODULE`, requests are served by the protocol that [`protocol!`](crate::protocol)
/// declares in that module or crate, whose `Server` the driver implements. `heap = TYPE` at the end
/// selects the task's heap: see [`crate::heap`].
#[macro_export]
macro_rules! driver {
    ($driver:ty, serves $($protocol:ident)::+) => {
        $crate::driver!($driver, serves $($protocol)::+, heap = $crate::heap::Default);
    };
    ($driver:ty, serves $($protocol:ident)::+, heap = $heap:ty) => {
        fn __run_driver() {
            $crate::described!($($protocol)::+);
            type Served = $crate::proto::Served<$driver, $($protocol)::+::Protocol>;
            $crate::driver::serve(<Served as $crate::driver::Driver>::init())
        }
        $crate::entry!(__run_driver, heap = $heap);
    };
    ($driver:ty) => {
        $crate::driver!($driver, heap = $crate::heap::Default);
    };
    ($driver:ty, heap = $heap:ty) => {
        fn __run_driver() {
            $crate::driver::serve(<$driver as $crate::driver::Driver>::init())
        }
        $crate::entry!(__run_driver, heap = $heap);
    };
}

/// Serves the task's permanent endpoint and notification for ever.
pub fn serve<D: Driver>(mut driver: D) -> ! {
    if let Err(status) = Endpoint::own().takes(D::TAKES) {
        panic!("the task's own endpoint does not take {:?}: {status}", D::TAKES);
    }
    let Outgoing { mut token, mut header, mut words, mut transfer } = Outgoing::NONE;
    loop {
        match syscall::reply_recv(Endpoint::own().0, token, header, words, transfer, u64::MAX) {
            Ok(received) => Outgoing { token, header, words, transfer } = step(&mut driver, received),
            Err(status) => (header, transfer) = (refused(header, status), 0),
        }
    }
}

/// The header of the reply to send when the kernel refused to send an answer with this header: a
/// caller must not wait for ever because the driver could not pass on a handle.
#[cold]
#[inline(never)]
fn refused(header: Header, status: Status) -> Header {
    if !header.has_handle() {
        panic!("cannot receive on the task's own endpoint: {status}");
    }
    Header::new(OUTCOME_BAD_REQUEST)
}

/// The reply that is sent with the next receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Outgoing {
    pub(crate) token: ReplyToken,
    pub(crate) header: Header,
    pub(crate) words: [u64; 4],
    pub(crate) transfer: u64,
}

impl Outgoing {
    /// No reply is sent.
    const NONE: Outgoing = Outgoing { token: ReplyToken::NONE, header: Header(0), words: [0; 4], transfer: 0 };

    /// The reply for the caller that `token` names.
    #[inline]
    fn new(token: ReplyToken, answer: Answer) -> Outgoing {
        match answer {
            Answer::Reply(label, words) => Outgoing { token, header: Header::new(label), words, transfer: 0 },
            Answer::ReplyHandle(label, words, handle) => {
                Outgoing { token, header: Header::new(label).with_handle(handle.kind), words, transfer: handle.pack() }
            }
            Answer::Deferred => Outgoing::NONE,
        }
    }
}

/// One turn of the loop: handles what was received, and returns the reply to send.
#[inline]
pub(crate) fn step<D: Driver>(driver: &mut D, received: Received) -> Outgoing {
    match Event::from(received) {
        Event::Notified(set) => {
            let own = set & !RUNTIME_BITS;
            if own != 0 {
                driver.notified(own);
            }
            if set & bits::HEARTBEAT != 0 {
                driver.pulse();
            }
            Outgoing::NONE
        }
        Event::Request(mut request) => {
            if let Some(handle) = request.handle
                && !D::takes_handle(request.label)
            {
                // The task owns the handle now, so closing it cannot fail in a way that matters.
                let _ = syscall::handle_close(handle.number);
                request.handle = None;
            }
            let answer = driver.request(&request);
            Outgoing::new(request.token, answer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscall::Message;
    use abi::TaskId;
    use abi::message::{Kind, Rights, Sender};
    use alloc::vec::Vec;

    struct Recorder {
        bits: Vec<u64>,
        pulses: u32,
        seen: Vec<(u16, [u64; 4], usize, Option<u32>)>,
        answer: Answer,
    }

    impl Driver for Recorder {
        fn init() -> Self {
            Recorder { bits: Vec::new(), pulses: 0, seen: Vec::new(), answer: Answer::Deferred }
        }
        fn notified(&mut self, bits: u64) {
            self.bits.push(bits);
        }
        fn pulse(&mut self) {
            self.pulses += 1;
        }
        fn request(&mut self, request: &Request) -> Answer {
            self.seen.push((request.label, request.words, request.leases, request.handle.map(|handle| handle.number)));
            self.answer
        }
        fn takes_handle(label: u16) -> bool {
            label == 3
        }
    }

    const SENDER: Sender = Sender { task: TaskId { index: 5, generation: 2 }, badge: 9 };

    fn received(header: Header, words: [u64; 4], handle: u64) -> Received {
        Received { sender: SENDER, token: ReplyToken::new(7, 1), message: Message { header, words, handle } }
    }

    #[test]
    fn heartbeats_and_the_runtimes_bit_stay_with_the_runtime() {
        let mut driver = Recorder::init();
        let note = Header(Header::NOTIFICATION);
        for word in [bits::HEARTBEAT, bits::RUNTIME, bits::HEARTBEAT | bits::RUNTIME] {
            assert_eq!(step(&mut driver, received(note, [word, 1, 2, 3], 0)), Outgoing::NONE);
        }
        assert!(driver.bits.is_empty());
        let all = step(&mut driver, received(note, [bits::HEARTBEAT | bits::PEER | 1 << 4, 0, 0, 0], 0));
        assert_eq!(all, Outgoing::NONE);
        assert_eq!(driver.bits, [bits::PEER | 1 << 4]);
        assert_eq!(driver.pulses, 3, "one for each heartbeat");
        assert!(driver.seen.is_empty());
    }

    #[test]
    fn an_answer_goes_to_the_caller() {
        let mut driver = Recorder::init();
        driver.answer = Answer::Reply(2, [1, 2, 3, 4]);
        let out = step(&mut driver, received(Header::new(1).with_leases(2), [9; 4], 77));
        assert_eq!(out.token, ReplyToken::new(7, 1));
        assert_eq!((out.header, out.words, out.transfer), (Header::new(2), [1, 2, 3, 4], 0));
        assert_eq!(driver.seen, [(1, [9; 4], 2, None)]);
    }

    #[test]
    fn later_means_no_reply_now() {
        let mut driver = Recorder::init();
        assert_eq!(step(&mut driver, received(Header::new(1), [0; 4], 0)), Outgoing::NONE);
    }

    #[test]
    fn handles_reach_only_requests_that_take_them() {
        let mut driver = Recorder::init();
        let _ = step(&mut driver, received(Header::new(3).with_handle(Kind::Memory), [0; 4], 12));
        let _ = step(&mut driver, received(Header::new(4).with_handle(Kind::Memory), [0; 4], 13));
        let handles: Vec<_> = driver.seen.iter().map(|seen| seen.3).collect();
        assert_eq!(handles, [Some(12), None]);
    }

    #[test]
    fn a_handle_that_cannot_be_passed_on_becomes_a_refusal() {
        let answer = Answer::ReplyHandle(0, [5; 4], Handle::notification(12, Rights::SIGNAL));
        let out = Outgoing::new(ReplyToken::new(7, 1), answer);
        assert_eq!(out.header.handle(), Some(Kind::Notification));
        assert_eq!(out.transfer, (Rights::SIGNAL.bits() as u64) << 32 | 12);
        assert_eq!(refused(out.header, Status::BadHandle), Header::new(OUTCOME_BAD_REQUEST));
    }

    #[test]
    #[should_panic(expected = "cannot receive")]
    fn an_endpoint_that_cannot_be_served_ends_the_task() {
        let _ = refused(Outgoing::NONE.header, Status::BadHandle);
    }
}
