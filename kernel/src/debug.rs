//! The system calls by which a debugger accesses a task's memory, registers and ports.
//! [`kernel_core::system::debug`] decides who may.

use crate::arch::ports;
use crate::kernel::Kernel;
use crate::usermem;
use abi::Status;
use abi::message::MAX_DEBUG_COPY;
use abi::task::Registers;
use kernel_core::Row;
use kernel_core::addr::UserAddr;
use kernel_core::system::debug::Reach;
use kernel_core::thread::{ThreadIndex, TrapFrame};
use x86_64::instructions::port::Port;
use zerocopy::{FromZeros, IntoBytes};

/// The size in bytes of the buffer through which a debugger's copies go. It divides the page size.
const PIECE: u64 = 256;

impl Kernel {
    /// Copies from address `from` of the task `id` to address `to` of the caller, at most
    /// [`MAX_DEBUG_COPY`] bytes. Returns the number of bytes. Errors: NoRights, NoSuchTask,
    /// BadAddress.
    pub fn debug_read(
        &mut self,
        thread: ThreadIndex,
        id: u64,
        from: UserAddr,
        to: UserAddr,
        len: u64,
    ) -> Result<u64, Status> {
        self.debug_copy(thread, id, from, to, len, false)
    }

    /// Copies from address `from` of the caller to address `to` of the task `id`, at most
    /// [`MAX_DEBUG_COPY`] bytes. Returns the number of bytes. Errors: NoRights, NoSuchTask,
    /// BadAddress.
    pub fn debug_write(
        &mut self,
        thread: ThreadIndex,
        id: u64,
        to: UserAddr,
        from: UserAddr,
        len: u64,
    ) -> Result<u64, Status> {
        self.debug_copy(thread, id, to, from, len, true)
    }

    /// Copies between the task `id` at `addr` and the caller at `own`, in pieces that each lie in
    /// one page of the task.
    #[inline(never)]
    fn debug_copy(
        &mut self,
        thread: ThreadIndex,
        id: u64,
        addr: UserAddr,
        own: UserAddr,
        len: u64,
        write: bool,
    ) -> Result<u64, Status> {
        let row = self.sys.debuggee(thread, id)?;
        let (theirs, ours) = (self.root_of(row)?, self.root(thread)?);
        let len = len.min(MAX_DEBUG_COPY as u64);
        if !addr.is_user() {
            return Err(Status::BadAddress);
        }
        let mut buffer = [0; PIECE as usize];
        let mut done = 0;
        while done < len {
            let at = addr.plus(done);
            let count = (len - done).min(PIECE - at.number() % PIECE);
            let piece = buffer.get_mut(..count as usize).unwrap_or_default();
            let own = own.checked_plus(done).ok_or(Status::BadAddress)?;
            let reach = self.sys.debug_reach(row, at);
            match (reach, write) {
                (Reach::Nothing, _) => return Err(Status::BadAddress),
                (_, false) => {
                    usermem::read(theirs, at, piece)?;
                    usermem::write(ours, own, piece)?;
                }
                (_, true) => {
                    usermem::read(ours, own, piece)?;
                    match reach {
                        Reach::Own => usermem::poke(theirs, at, piece)?,
                        _ => usermem::write(theirs, at, piece)?,
                    }
                }
            }
            done += count;
        }
        Ok(len)
    }

    fn debug_thread(&mut self, row: Row) -> Result<&mut TrapFrame, Status> {
        self.sys.first_thread(row).map(|thread| &mut thread.frame)
    }

    /// Writes the registers of the first thread of the task `id` to the caller's memory. Errors:
    /// NoRights, NoSuchTask, BadAddress.
    pub fn debug_registers(&mut self, thread: ThreadIndex, id: u64, to: UserAddr) -> Result<(), Status> {
        let row = self.sys.debuggee(thread, id)?;
        let f = self.debug_thread(row)?;
        let general = f.general_mut().map(|register| *register);
        let registers = Registers { general, rip: f.rip, rsp: f.rsp, rflags: f.rflags };
        usermem::write(self.root(thread)?, to, registers.as_bytes())
    }

    /// Sets the registers of the first thread of the task `id` from the caller's memory. Errors:
    /// NoRights, NoSuchTask, BadAddress, Busy (the thread runs).
    pub fn debug_set_registers(&mut self, thread: ThreadIndex, id: u64, from: UserAddr) -> Result<(), Status> {
        let row = self.sys.debuggee(thread, id)?;
        let mut new = Registers::new_zeroed();
        usermem::read(self.root(thread)?, from, new.as_mut_bytes())?;
        self.sys.debug_set(row, &new)
    }

    /// Accesses a port of the task `id`. Returns the value that was read, or 0 for a write. Errors:
    /// NoRights, NoSuchTask, BadArgument.
    pub fn debug_port(
        &mut self,
        thread: ThreadIndex,
        id: u64,
        port: u64,
        access: u64,
        value: u64,
    ) -> Result<u64, Status> {
        let row = self.sys.debuggee(thread, id)?;
        let (width, writes) = self.sys.debug_port(row, port, access)?;
        ports::count(1);
        let port = port as u16;
        // SAFETY: the ports belong to a task and never to the kernel, which the check of the task
        // table and the loader ensure, and the debugger may do all that the task may.
        unsafe {
            match (width, writes) {
                (1, false) => return Ok(Port::<u8>::new(port).read().into()),
                (2, false) => return Ok(Port::<u16>::new(port).read().into()),
                (_, false) => return Ok(Port::<u32>::new(port).read().into()),
                (1, true) => Port::<u8>::new(port).write(value as u8),
                (2, true) => Port::<u16>::new(port).write(value as u16),
                (_, true) => Port::<u32>::new(port).write(value as u32),
            }
        }
        Ok(0)
    }
}
