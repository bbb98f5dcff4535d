//! A driver together with the protocol that it serves.

use crate::driver::{Answer, Driver};
use crate::ipc::Request;
use abi::message::Kinds;
use core::marker::PhantomData;

/// A protocol that calls the methods of its server `S`. [`protocol!`](crate::protocol) implements
/// it for its `Protocol`.
pub trait Dispatch<S> {
    /// The kinds of handles that requests may bring.
    const TAKES: Kinds;
    /// Whether requests with this label may bring a handle.
    fn takes_handle(label: u16) -> bool;
    /// Decodes a request, checks its arguments, and calls the server's method.
    fn dispatch(server: &mut S, request: &Request) -> Answer;
}

/// A driver `D` that serves the requests of the protocol `P`. It is a [`Driver`] itself, which
/// `rt::driver!(D, serves MODULE)` makes the task.
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
