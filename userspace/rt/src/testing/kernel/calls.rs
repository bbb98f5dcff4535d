//! What each plain system call does: those whose values come back in two registers.

use super::{Frames, Kernel, Lent, Object, Timer, fresh};
use abi::message::{Lease, MAX_COPY};
use abi::{PAGE_SIZE, Status, Syscall};
use alloc::rc::Rc;
use core::cell::RefCell;

impl Kernel {
    fn lent(&mut self, token: u64, number: u64) -> Result<(*mut u8, usize, u32), Status> {
        let call = self.calls.iter_mut().find(|call| call.token.0 == token && call.received && call.outcome.is_none());
        let lent = call.ok_or(Status::StaleReply)?.lent.get_mut(number as usize);
        lent.map(Lent::parts).ok_or(Status::LeaseBounds)
    }

    /// Where a copy goes to or comes from, and how many bytes.
    fn piece(&mut self, [token, number, offset, _, len]: [u64; 5], access: u32) -> Result<(*mut u8, usize), Status> {
        let (start, size, allowed) = self.lent(token, number)?;
        let rest = size.checked_sub(offset as usize).filter(|_| allowed & access != 0).ok_or(Status::LeaseBounds)?;
        Ok((start.wrapping_add(offset as usize), rest.min(len as usize).min(MAX_COPY)))
    }

    pub(super) fn object(&self, handle: u64) -> Result<&Object, Status> {
        let table = if self.running { &self.objects } else { &self.foreign };
        table.get(&(handle as u32)).ok_or(Status::BadHandle)
    }

    fn notification(&mut self, handle: u64) -> Result<&mut u64, Status> {
        if self.running && handle == u64::from(abi::info::NOTIFICATION) {
            return Ok(&mut self.bits);
        }
        let Object::Notification(id, _) = *self.object(handle)? else { return Err(Status::WrongKind) };
        self.word(id).ok_or(Status::BadHandle)
    }

    /// The bits that are set in a notification.
    fn word(&mut self, id: u32) -> Option<&mut u64> {
        if id == abi::info::NOTIFICATION { Some(&mut self.bits) } else { self.notifications.get_mut(&id) }
    }

    /// A notification and the bits that can be set by this handle to it.
    fn to_signal(&self, handle: u64) -> Result<(u32, u64), Status> {
        if self.running && handle == u64::from(abi::info::NOTIFICATION) {
            return Ok((abi::info::NOTIFICATION, u64::MAX));
        }
        let Object::Notification(id, bits) = *self.object(handle)? else { return Err(Status::WrongKind) };
        Ok((id, bits))
    }

    fn memory(&self, handle: u64) -> Result<&Rc<RefCell<Frames>>, Status> {
        if let Object::Memory(frames) = self.object(handle)? { Ok(frames) } else { Err(Status::WrongKind) }
    }

    fn timer(&mut self, handle: u64) -> Result<&mut Timer, Status> {
        let Object::Timer(id) = *self.object(handle)? else { return Err(Status::WrongKind) };
        self.timers.get_mut(&id).ok_or(Status::BadHandle)
    }

    fn make(&mut self, object: Object) -> (u64, u64) {
        let handle = fresh();
        let table = if self.running { &mut self.objects } else { &mut self.foreign };
        table.insert(handle, object);
        (handle.into(), 0)
    }

    /// A plain system call: the values in `rdx` and `rsi`.
    pub(super) fn plain(&mut self, call: Syscall, args: [u64; 5]) -> Result<(u64, u64), Status> {
        let [a, b, c, d, _] = args;
        match call {
            Syscall::LeaseRead => {
                let (from, count) = self.piece(args, Lease::READ)?;
                // SAFETY: `from` and `count` lie in memory lent until its call ends, which it has
                // not; the fourth argument is a buffer of at least as many bytes that the caller of
                // `lease_read` borrows for writing. The two are different borrows.
                unsafe {
                    core::ptr::copy_nonoverlapping(from, core::ptr::with_exposed_provenance_mut(d as usize), count)
                };
                Ok((count as u64, 0))
            }
            Syscall::LeaseWrite => {
                let (to, count) = self.piece(args, Lease::WRITE)?;
                // SAFETY: as for reading, with the buffer read and memory written that was lent for
                // writing.
                unsafe { core::ptr::copy_nonoverlapping(core::ptr::with_exposed_provenance(d as usize), to, count) };
                Ok((count as u64, 0))
            }
            Syscall::LeaseInfo => self.lent(a, b).map(|(_, len, access)| (len as u64, access.into())),
            Syscall::EndpointTakes | Syscall::Yield => Ok((0, 0)),
            Syscall::NotificationCreate => {
                let id = fresh();
                self.notifications.insert(id, 0);
                Ok(self.make(Object::Notification(id, u64::MAX)))
            }
            Syscall::Signal => {
                let (id, bits) = self.to_signal(a)?;
                if b & !bits != 0 {
                    return Err(Status::NoRights);
                }
                *self.word(id).ok_or(Status::BadHandle)? |= b;
                Ok((0, 0))
            }
            Syscall::Poll | Syscall::Wait => self.notification(a).map(|bits| {
                let taken = *bits & b;
                *bits &= !b;
                (taken, 0)
            }),
            Syscall::MemoryCreate => {
                let frames = Frames::new(a as usize * PAGE_SIZE);
                Ok(self.make(Object::Memory(Rc::new(RefCell::new(frames)))))
            }
            Syscall::MemoryInfo => self.memory(a).map(|frames| (frames.borrow().0.len() as u64, u64::MAX)),
            Syscall::MemoryMap => self.memory(a).map(|frames| {
                let frames = frames.borrow();
                // What is mapped is reached by its address.
                frames.0.as_ptr().expose_provenance();
                (frames.address(), 0)
            }),
            Syscall::MemoryUnmap => Ok((0, 0)),
            Syscall::IrqAck => {
                let Object::Line(number) = *self.object(a)? else { return Err(Status::WrongKind) };
                self.bits |= self.lines.get_mut(number).and_then(|line| line.ack().then_some(1 << number)).unwrap_or(0);
                Ok((0, 0))
            }
            Syscall::TimerCreate => {
                let id = fresh();
                let (notification, bits) = self.to_signal(a)?;
                if bits & 1 << b == 0 {
                    return Err(Status::NoRights);
                }
                self.timers.insert(id, Timer { notification, bit: b as u32, deadline: None });
                Ok(self.make(Object::Timer(id)))
            }
            Syscall::TimerArm => self.timer(a).map(|timer| {
                timer.deadline = Some(b);
                (0, 0)
            }),
            Syscall::TimerDisarm => self.timer(a).map(|timer| {
                timer.deadline = None;
                (0, 0)
            }),
            Syscall::HandleClose => {
                let table = if self.running { &mut self.objects } else { &mut self.foreign };
                table.remove(&(a as u32)).map(|_| (0, 0)).ok_or(Status::BadHandle)
            }
            Syscall::HandleDup => {
                let copy = match self.to_signal(a) {
                    Ok((id, mut bits)) => {
                        bits &= if c == 0 { u64::MAX } else { c };
                        if id == abi::info::NOTIFICATION {
                            bits &= abi::message::bits::FREE_MASK;
                        }
                        Object::Notification(id, bits)
                    }
                    Err(_) => self.object(a)?.clone(),
                };
                Ok(self.make(copy))
            }
            _ => Err(Status::BadSyscall),
        }
    }
}
