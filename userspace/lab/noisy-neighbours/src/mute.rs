//! A server that never answers: it keeps every caller for ever, and goes on giving signs of life.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::vec::Vec;
use rt::ipc::{Pending, Request};
use rt::{Answer, Driver};

struct Mute {
    callers: Vec<Pending>,
}

impl Driver for Mute {
    fn init() -> Self {
        Mute { callers: Vec::new() }
    }

    fn request(&mut self, request: &Request) -> Answer {
        self.callers.push(request.pending());
        Answer::Deferred
    }
}

rt::driver!(Mute);
