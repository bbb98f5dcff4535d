//! A driver and the protocol that it serves.

use crate::driver::{Answer, Driver};
use crate::ipc::Request;
use abi::message::Kinds;
use core::marker::PhantomData;

/// A protocol, as what calls the methods of its server `S`. [`protocol!`](crate::protocol) implements it for its `Protocol`.
pub trait Dispatch<S> {
    /// The kinds of handles that requests bring.
    const TAKES: Kinds;
    /// Whether requests of this label bring a handle.
    fn takes_handle(label: u16) -> bool;
    /// Takes a request apart, checks its arguments, and calls the server's method.
    fn dispatch(server: &mut S, request: &Request) -> Answer;
}

/// A driver `D` whose requests are those of the protocol `P`: a [`Driver`] itself. `rt::driver!(D, serves MODULE)` makes it the task.
#[derive(Debug)]
pub struct Served<D, P> {
    /// The driver.
    pub driver: D,
    protocol: PhantomData<fn(P)>,
}

impl<D: Driver, P: Dispatch<D>> Driver for Served<D, P> {
    const TAKES: Kinds = P::TAKES;

    fn init() -> Self {
        Served { driver: D::init(), protocol: PhantomData }
    }

    fn notified(&mut self, bits: u64) {
        self.driver.notified(bits);
    }

    fn pulse(&mut self) {
        self.driver.pulse();
    }

    #[inline]
    fn request(&mut self, request: &Request) -> Answer {
        P::dispatch(&mut self.driver, request)
    }

    fn takes_handle(label: u16) -> bool {
        P::takes_handle(label)
    }
}
