//! Interrupts of lines set bits of their owner's notification. The task table says who owns which
//! line: see [`crate::lines`].

use crate::lines::{Line, LineCache, LineOwner};
use crate::system::System;
use abi::message::bits;

impl System {
    /// Delivers an interrupt of a line: sets the bits of its owner. Returns false if a debugger has
    /// the interrupt dropped.
    #[inline(never)]
    pub fn interrupt(&mut self, line: Line) -> bool {
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

    /// Caches where a line's bits are set. Nothing is cached if they include the heartbeat bit, or
    /// if the notification is bound to no endpoint.
    pub(crate) fn note_line(&mut self, line: Line, owner: LineOwner) {
        if owner.bits & bits::HEARTBEAT == 0
            && let Some(id) = self.tasks.at(owner.row).and_then(|t| t.notification)
            && self.notifications.get(id).is_some_and(|n| n.permanent && n.bound_to.is_some())
        {
            self.lines.note(line, LineCache { bits: owner.bits, place: id.place().into() });
        }
    }
}
