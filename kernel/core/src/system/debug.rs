//! Debugging: which task may debug which, and what of a debugged task is accessible. The right
//! comes from the task table alone and is no handle, so it cannot be passed on.

use crate::addr::UserAddr;
use crate::memory::{Backing, Caching};
use crate::row::Row;
use crate::system::System;
use crate::thread::{State, ThreadIndex, TrapFrame, WHOLE};
use abi::manifest::GrantKind;
use abi::syscall::{INTERRUPT_AGAIN, INTERRUPT_DROP, PORT_WRITE};
use abi::task::{MAP_BASE, Registers, TaskState, USER_END};
use abi::{Status, TaskId};

/// The access that a debugger has to a page of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A page of the task's own (image, stack): full access.
    Own,
    /// A page that others may share: the access that the task itself has.
    Shared,
    /// A page of device memory, or none: no access.
    Nothing,
}

impl System {
    /// The row of the life that `id` names, if the task of `thread` may debug it. Errors: NoRights
    /// (the right is missing, whether the task exists or not), NoSuchTask (that life is not
    /// running).
    pub fn debuggee(&self, thread: ThreadIndex, id: u64) -> Result<Row, Status> {
        let id = TaskId::from_u32(u32::try_from(id).map_err(|_| Status::NoRights)?);
        let own = self.task(self.row_of(thread)?)?;
        if !own.record.may_debug(id.index) {
            return Err(Status::NoRights);
        }
        match self.task(Row::of(id)) {
            Ok(t) if t.state == TaskState::Running && t.generation == id.generation => Ok(Row::of(id)),
            _ => Err(Status::NoSuchTask),
        }
    }

    /// The access that a debugger of `row` has at this address. The page tables tell whether
    /// anything is mapped there.
    pub fn debug_reach(&self, row: Row, addr: UserAddr) -> Reach {
        if !(MAP_BASE..abi::task::INFO_ADDR).contains(&addr.number()) {
            return Reach::Own;
        }
        let mapping = self.tasks.at(row).and_then(|t| t.mappings.holding(addr));
        let mapping = mapping.and_then(|m| self.memories.get(m.memory));
        match mapping.map(|memory| &memory.backing) {
            Some(Backing::Frames(_) | Backing::Physical { caching: Caching::WriteBack, .. }) => Reach::Shared,
            Some(Backing::Physical { caching: Caching::Uncached | Caching::WriteCombining, .. }) | None => {
                Reach::Nothing
            }
        }
    }

    /// Sets the registers of the first thread of `row`. Header and handle of a call that is under
    /// way stay, because the kernel uses them when the call is received and answered. Errors:
    /// NoSuchTask, Busy (the thread runs), BadAddress (`rip` or `rsp`).
    pub fn debug_set(&mut self, row: Row, new: &Registers) -> Result<(), Status> {
        // `iretq` to an address that is not canonical would fault in ring 0 (Intel SDM vol. 2A,
        // IRET).
        if new.rip >= USER_END || new.rsp >= USER_END {
            return Err(Status::BadAddress);
        }
        let first = self.tasks.at(row).and_then(|t| t.first_thread).ok_or(Status::NoSuchTask)?;
        let thread = self.threads.get_mut(first).ok_or(Status::NoSuchTask)?;
        let message = match thread.state {
            State::Running => return Err(Status::Busy),
            State::Sending(_) | State::Replying(_) => Some((thread.frame.rsi, thread.frame.r10)),
            State::Ready | State::Receiving(_) | State::Waiting(_) => None,
        };
        let f = &mut thread.frame;
        for (register, value) in f.general_mut().into_iter().zip(new.general) {
            *register = value;
        }
        if let Some(message) = message {
            (f.rsi, f.r10) = message;
        }
        // The selectors stay. The flags are restricted here, since the fast exit loads them
        // unchecked.
        let flags = new.rflags & u64::from(TrapFrame::USER_FLAGS) | u64::from(TrapFrame::USER_FLAGS_SET);
        (f.rip, f.rsp, f.rflags) = (new.rip, new.rsp, flags);
        // Neither `sysret`, which overwrites rcx and r11, nor the fast exit, which uses it, may
        // resume it.
        f.vector = 0;
        thread.extras |= WHOLE;
        Ok(())
    }

    /// Repeats or drops an interrupt of a task: `what` is [`INTERRUPT_AGAIN`] or
    /// [`INTERRUPT_DROP`], `bit` the notification bit of the interrupt line. Errors: NoSuchTask,
    /// BadArgument (no line has this bit, or `what` is neither).
    pub fn debug_interrupt(&mut self, row: Row, bit: u64, what: u64) -> Result<(), Status> {
        let task = self.tasks.get_mut(row)?;
        if !task.record.of(GrantKind::Irq).any(|irq| u64::from(irq.flags) == bit) {
            return Err(Status::BadArgument);
        }
        let set = 1 << bit;
        match what {
            INTERRUPT_AGAIN => self.signal_task(row, set),
            INTERRUPT_DROP => {
                let pending = task.notification.and_then(|id| Some((id, self.notifications.get(id)?.word)));
                match pending.filter(|(_, word)| word & set != 0) {
                    Some((id, word)) => self.set_word(id, word & !set),
                    None => {
                        task.lose |= set;
                        self.lines.forget(row);
                    }
                }
            }
            _ => return Err(Status::BadArgument),
        }
        Ok(())
    }

    /// Decodes and checks a port access by a debugger: returns the width in bytes, and whether it
    /// writes. Errors: NoSuchTask, BadArgument (the width, or ports that are not the task's).
    pub fn debug_port(&self, row: Row, port: u64, access: u64) -> Result<(u64, bool), Status> {
        let (width, writes) = (access & !PORT_WRITE, access & PORT_WRITE != 0);
        let task = self.task(row)?;
        let owns =
            |p: u64| task.record.of(GrantKind::Ports).any(|own| p.checked_sub(own.base).is_some_and(|at| at < own.len));
        let fits = matches!(width, 1 | 2 | 4) && port <= u64::from(u16::MAX);
        if fits && (port..port + width).all(owns) { Ok((width, writes)) } else { Err(Status::BadArgument) }
    }
}
