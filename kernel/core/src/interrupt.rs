//! Interrupts from lines become bits of their owner's notification. Which line is whose comes from the task table: see [`crate::lines`].

use crate::lines::{LineCache, LineOwner};
use crate::system::System;
use abi::message::bits;

impl System {
    /// A line has fired: its owner gets its bits. False where they are lost, because a debugger wants it so.
    #[inline(never)]
    pub fn interrupt(&mut self, line: u8) -> bool {
        let Some(owner) = self.lines.owner(line) else { return true };
        if let Some(task) = self.tasks.at_mut(owner.row)
            && task.lose & owner.bits != 0
        {
            task.lose &= !owner.bits;
            return false;
        }
        self.note_line(line, owner);
        self.signal_task(owner.row, owner.bits);
        true
    }

    /// Notes where a line's bits go, where no bit of them means more, and there is an endpoint at which they are received.
    pub(crate) fn note_line(&mut self, line: u8, owner: LineOwner) {
        if owner.bits & bits::HEARTBEAT == 0
            && let Some(id) = self.tasks.at(owner.row).and_then(|t| t.notification)
            && self.notifications.get(id).is_some_and(|n| n.permanent && n.bound_to.is_some())
        {
            self.lines.note(line, LineCache { bits: owner.bits, place: id.place().into() });
        }
    }
}
