//! The server of most measurements.
#![cfg_attr(target_os = "none", no_std, no_main)]

use bench::{DOORBELL_BIT, label};
use rt::ipc::{Handle, Request};
use rt::notify::Notification;
use rt::time::ticks;
use rt::{Answer, Driver};

rt::driver!(Peer);

struct Peer {
    woken: u64,
    buffer: [u8; 4096],
    /// What [`label::DOORBELL`] answers with.
    bell: Option<Handle>,
}

impl Driver for Peer {
    fn init() -> Self {
        Peer { woken: 0, buffer: [0; 4096], bell: Notification::own().only(DOORBELL_BIT).ok() }
    }

    fn notified(&mut self, bits: u64) {
        if bits & DOORBELL_BIT != 0 {
            self.woken = ticks();
        }
    }

    fn request(&mut self, request: &Request) -> Answer {
        match request.label {
            label::ECHO => Answer::ok(request.words),
            label::EXCHANGE => match self.exchange(request) {
                Some(()) => Answer::ok([0; 4]),
                None => Answer::bad_request(),
            },
            label::TAKE => match request.read(0, 0, &mut self.buffer) {
                Ok(count) => Answer::ok([count as u64, 0, 0, 0]),
                Err(_) => Answer::bad_request(),
            },
            label::DOORBELL => match self.bell {
                Some(bell) => Answer::ReplyHandle(0, [0; 4], bell),
                None => Answer::bad_request(),
            },
            label::WOKEN => Answer::ok([self.woken, 0, 0, 0]),
            _ => Answer::bad_request(),
        }
    }
}

impl Peer {
    fn exchange(&mut self, request: &Request) -> Option<()> {
        let part = self.buffer.get_mut(..512)?;
        request.read(0, 0, part).ok()?;
        (request.write(1, 0, part).ok()? == 512).then_some(())
    }
}
