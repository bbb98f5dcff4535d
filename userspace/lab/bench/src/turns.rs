//! Takes turns with the client.
#![cfg_attr(target_os = "none", no_std, no_main)]

use bench::label;
use rt::ipc::Request;
use rt::thread::set_own_priority;
use rt::{Answer, Driver};

rt::driver!(Turns);

/// The priority at which the task is called.
const PRIORITY: u8 = 5;

struct Turns;

impl Driver for Turns {
    fn init() -> Self {
        Turns
    }

    fn request(&mut self, request: &Request) -> Answer {
        let [count, priority, ..] = request.words;
        let done = request.label == label::YIELD
            && set_own_priority(priority as u8).is_ok()
            && request.pending().reply(0, [0; 4]).is_ok();
        if !done {
            return Answer::bad_request();
        }
        for _ in 0..count {
            rt::syscall::yield_now();
        }
        // The task's own priority is always allowed.
        let _ = set_own_priority(PRIORITY);
        Answer::Deferred
    }
}
