//! Handles that requests bring.

use crate::ipc::{Endpoint, Handle, Kind, Request, close};
use crate::memory::Memory;
use crate::notify::Notification;
use abi::message::Rights;

/// A type of handle that a request can bring.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed with a request",
    label = "no handle that travels",
    note = "handles that travel are `Endpoint`, `Notification` and `Memory`"
)]
pub trait Passable {
    /// The kind of the handle.
    const KIND: Kind;
    /// Makes it from the number of a handle of this kind.
    fn from_number(handle: u32) -> Self;
    /// The number of the handle.
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

/// A handle that a request brought, which is closed on drop.
#[derive(Debug)]
pub struct Owned<T: Passable>(T);

impl<T: Passable> Owned<T> {
    /// The handle itself, which the caller must close.
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
        // The task owns the handle, so closing it fails only if it is closed already.
        let _ = close(self.0.number());
    }
}

/// The handle that a request brought, if it is of this kind and has these rights, as the kernel
/// guarantees. A handle of another kind, or with fewer rights, is closed.
pub fn taken<T: Passable>(request: &Request, rights: Rights) -> Option<Owned<T>> {
    let Handle { kind, number, rights: held } = request.handle?;
    let fits = kind == T::KIND && held.contains(rights);
    if !fits {
        // The task owns the handle, so closing it fails only if it is closed already.
        let _ = close(number);
    }
    fits.then(|| Owned(T::from_number(number)))
}
