//! A command that is kept whole before a device is told to do it.

use super::{Bytes, Cell, Kept, LastDone, load_words, mix, store_words};
use crate::proto::{Words, from_words, to_words};
use abi::TaskId;
use alloc::vec::Vec;
use core::marker::PhantomData;

/// One command with an effect outside, such as a write to a disk: its client, its arguments `A`
/// (a struct that [`words!`](crate::words) declares, or a number), and up to `N` bytes of data. It
/// is promised before the device is told of it, and taken back when the device has done it and
/// before the client is answered. The next life finds it whole or not at all.
///
/// A next life resets its device and does a promised command again, before it serves anything new.
/// That is correct if doing the command twice has the same effect as doing it once.
///
/// ```
/// use rt::keep::{LastDone, MAX_TASKS, Promise};
/// # use rt::abi::TaskId;
///
/// rt::words! {
///     /// Where a sector is written to.
///     #[derive(Clone, Copy)]
///     pub struct Write { pub drive: u8, pub sector: u64 }
/// }
///
/// rt::kept! {
///     pub struct Keep {
///         written: LastDone<MAX_TASKS>,
///         command: Promise<Write, 512>,
///     }
/// }
///
/// fn device_writes(_: Write, _: &[u8]) { /* the registers, the data, and the wait for its end */ }
///
/// /// In `init`, after the device was reset.
/// fn take_up(keep: &Keep) {
///     if let Some(pending) = keep.command.pending() {
///         device_writes(pending.arguments, &pending.bytes);
///         keep.command.end(&keep.written);
///     }
/// }
///
/// /// A numbered request.
/// fn write(keep: &Keep, task: TaskId, number: u64, what: Write, sector: &[u8]) -> bool {
///     if keep.written.is_done(task, number) {
///         return true;
///     }
///     if !keep.command.make(task, number, &what, sector) {
///         return false;
///     }
///     device_writes(what, sector);
///     keep.command.end(&keep.written);
///     true
/// }
///
/// # let keep = rt::keep::open::<Keep>();
/// # keep.resume();
/// # let task = TaskId { index: 1, generation: 1 };
/// # take_up(keep);
/// # assert!(write(keep, task, 1, Write { drive: 0, sector: 7 }, &[1; 512]));
/// # assert!(keep.written.is_done(task, 1) && keep.command.is_free());
/// ```
#[repr(C)]
pub struct Promise<A, const N: usize> {
    /// The number of bytes plus 1; 0 if nothing is promised. Stored after everything else.
    promised: Cell<u32>,
    /// The client, as [`TaskId::to_u32`].
    task: Cell<u32>,
    number: Cell<u64>,
    arguments: [Cell<u64>; 4],
    bytes: Bytes<N>,
    of: PhantomData<fn() -> A>,
}

/// A promised command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pending<A> {
    /// The client.
    pub task: TaskId,
    /// The number of the client's request, or 0 if it has none.
    pub number: u64,
    /// The arguments.
    pub arguments: A,
    /// The data.
    pub bytes: Vec<u8>,
}

impl<A: Words + 'static, const N: usize> Promise<A, N> {
    /// Promises a command, by its last store. Returns false, and changes nothing, if another one is
    /// promised or there are more than `N` bytes.
    ///
    /// Before that, ask [`LastDone::is_done`] whether an earlier life has done it, and, if the
    /// driver does not wait in the request for its device, [`Promise::is_of`].
    #[must_use = "false: the command is not promised"]
    pub fn make(&self, task: TaskId, number: u64, arguments: &A, bytes: &[u8]) -> bool {
        let fits = bytes.len() <= N && self.is_free();
        if fits {
            self.task.put(task.to_u32());
            self.number.put(number);
            #[cfg(not(target_os = "none"))]
            super::fuse::tick();
            store_words(&self.arguments, to_words(arguments));
            self.bytes.put(bytes);
            self.promised.put(bytes.len() as u32 + 1);
        }
        fits
    }

    /// Whether nothing is promised.
    pub fn is_free(&self) -> bool {
        self.promised.get() == 0
    }

    /// Whether this numbered request is the promised command, so that its client waits for the one
    /// that is being done already. Number 0 never is.
    pub fn is_of(&self, task: TaskId, number: u64) -> bool {
        number != 0 && !self.is_free() && self.task.get() == task.to_u32() && self.number.get() == number
    }

    /// The promised command, if there is one.
    pub fn pending(&self) -> Option<Pending<A>> {
        let len = self.promised.get().checked_sub(1)?;
        Some(Pending {
            task: TaskId::from_u32(self.task.get()),
            number: self.number.get(),
            arguments: from_words(load_words(&self.arguments))?,
            bytes: self.bytes.first(len as usize),
        })
    }

    /// Notes that the device has done the command: marks its request as done, and then takes the
    /// promise back. Returns its client and number, for the answer; `None` if nothing is promised.
    pub fn end<const CLIENTS: usize>(&self, done: &LastDone<CLIENTS>) -> Option<(TaskId, u64)> {
        let request = (TaskId::from_u32(self.task.get()), self.number.get());
        (!self.is_free()).then(|| {
            done.set(request.0, request.1);
            self.promised.put(0);
            request
        })
    }

    /// Takes the promise back without marking the request as done, as the device has refused it.
    pub fn abandon(&self) {
        self.promised.put(0);
    }
}

// SAFETY: it consists of cells, an array of cells, and bytes, which all have these properties, and
// of a marker without a value, in C's layout.
unsafe impl<A: Words + 'static, const N: usize> Kept for Promise<A, N> {
    const SHAPE: u64 = {
        assert!(N < u32::MAX as usize, "a promise has less than 4 GiB of data");
        mix(mix(8, A::SHAPE), N as u64)
    };
    fn clear(&self) {
        self.promised.put(0);
    }
    fn is_sound(&self) -> bool {
        self.promised.get() as usize <= N + 1
            && (self.is_free() || from_words::<A>(load_words(&self.arguments)).is_some())
    }
}
