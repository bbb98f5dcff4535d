//! Which tasks may start, and how much memory each may have.

use crate::system::System;
use crate::task::Task;
use abi::manifest::TaskRecord;

/// Frames left out of all quotas: for garbage that is not collected yet, and for late allocations
/// of the kernel.
const RESERVE: u64 = 256;

impl System {
    /// Disables the tasks whose records `refuses` accepts, before any task starts. A disabled task
    /// never starts.
    pub fn disable(&mut self, refuses: impl Fn(&TaskRecord) -> bool) {
        for task in self.tasks.iter_mut() {
            task.disabled |= refuses(&task.record);
        }
    }

    /// Lowers the quotas of frames, the largest first, until their sum together with the kept
    /// memory of all rows fits into the free frames, so that no task can leave another without
    /// memory that its quota grants. A task whose quota is lowered to 0 cannot start. The quota of
    /// the task with control is not lowered below a quarter of the free frames, since nothing runs
    /// without it. Returns the limit in frames of all other tasks (kept memory included), or `None`
    /// if no quota was lowered.
    pub fn fit_quotas(&mut self) -> Option<u32> {
        let there = self.frames.free().saturating_sub(RESERVE);
        let quarter = u32::try_from(there / 4).unwrap_or(u32::MAX);
        let cap =
            |t: &Task, most: u32| if t.record.flags & TaskRecord::CONTROL != 0 { most.max(quarter) } else { most };
        let whole = |t: &Task| u64::from(t.frames.limit()) + u64::from(t.record.keep_frames);
        let needed = |most: u32| self.tasks.iter().map(|t| whole(t).min(cap(t, most).into())).sum::<u64>();
        if needed(u32::MAX) <= there {
            return None;
        }
        let (mut fits, mut too_much) = (0, u32::MAX);
        while too_much - fits > 1 {
            let most = fits + (too_much - fits) / 2;
            if needed(most) <= there { fits = most } else { too_much = most }
        }
        for task in self.tasks.iter_mut() {
            let most = cap(task, fits).saturating_sub(task.record.keep_frames);
            task.frames.lower(most);
        }
        Some(fits)
    }
}
