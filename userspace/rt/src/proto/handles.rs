//! Handles that travel with requests.

use crate::ipc::{Endpoint, Handle, Kind, Request, close};
use crate::memory::Memory;
use crate::notify::Notification;
use abi::message::Rights;

/// What can be passed along.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed with a request",
    label = "no handle that travels",
    note = "handles that travel are `Endpoint`, `Notification` and `Memory`"
)]
pub trait Passable {
    /// Its kind.
    const KIND: Kind;
    /// From a handle of this kind.
    fn from_number(handle: u32) -> Self;
    /// The handle.
    fn number(&self) -> u32;
}

macro_rules! passable {
    ($($type:ident)*) => {$(
        impl Passable for $type {
            const KIND: Kind = Kind::$type;
            fn from_number(handle: u32) -> Self {
                Self(handle)
            }
            fn number(&self) -> u32 {
                self.0
            }
        }
    )*};
}

passable!(Endpoint Notification Memory);

/// A handle that came along: closed on drop.
#[derive(Debug)]
pub struct Owned<T: Passable>(T);

impl<T: Passable> Owned<T> {
    /// For who closes it himself.
    pub fn into_inner(self) -> T {
        let handle = core::mem::ManuallyDrop::new(self);
        T::from_number(handle.0.number())
    }
}

impl<T: Passable> core::ops::Deref for Owned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Passable> Drop for Owned<T> {
    fn drop(&mut self) {
        // The task's own handle: closing it can fail only where it is closed already.
        let _ = close(self.0.number());
    }
}

/// The handle that came along, if it is of this kind and allows that; what it is, the kernel vouches for. One of another kind, or with fewer rights,
/// is closed.
pub fn taken<T: Passable>(request: &Request, rights: Rights) -> Option<Owned<T>> {
    let Handle { kind, number, rights: held } = request.handle?;
    let fits = kind == T::KIND && held.contains(rights);
    if !fits {
        // As above.
        let _ = close(number);
    }
    fits.then(|| Owned(T::from_number(number)))
}
