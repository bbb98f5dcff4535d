//! Tests of drivers on the host: a [`Harness`] that simulates the kernel for a whole driver and can
//! end its life before any step of it, and [`qemu`], the device models of QEMU.
//!
//! ```
//! use rt::ipc::Request;
//! use rt::port::{FakePorts, IoPorts, Port};
//! use rt::testing::{Harness, every_death};
//! use rt::{Answer, Driver};
//!
//! /// Sends the first word of each request to its port, once.
//! struct Sender(IoPorts);
//!
//! impl Driver for Sender {
//!     fn init() -> Self {
//!         Sender(IoPorts::granted(0x378, 1).expect("the port"))
//!     }
//!     fn request(&mut self, request: &Request) -> Answer {
//!         self.0.write8(0, request.words[0] as u8);
//!         Answer::ok([0; 4])
//!     }
//! }
//!
//! let steps = every_death(|deaths| {
//!     let driver = Harness::new("sender").ports("data", 0x378, 1, FakePorts::new()).deaths(deaths).start::<Sender>();
//!     driver.client(0).call_retrying(1, [7, 0, 0, 0], &mut []).expect("the next life answers");
//!     assert_eq!(driver.lives(), 1 + deaths.count() as u32);
//! });
//! assert_eq!(steps, 2, "the access to the port, and the answer");
//! ```
//!
//! [`crate::fake`] has devices that a test defines itself.

mod deaths;
mod device;
mod harness;
pub(crate) mod kernel;
pub mod qemu;

use crate::keep::fuse;
pub use deaths::{Deaths, Tried, every_death, every_nth_death, every_two_deaths};
pub use device::{Device, Ram};
pub use harness::{Answered, CLIENTS, ClientCall, Harness, Running};

#[cfg(test)]
mod tests;
