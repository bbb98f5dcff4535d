//! Changes of the state that no operation makes, for the test kernels in `kernel/tests`. The kernel
//! itself uses none of them.

use crate::frames::{Chain, Frames};
use crate::memory::{Backing, Mapping};
use crate::row::Row;
use crate::system::System;
use crate::task::Quota;
use abi::Status;
use abi::manifest::TaskRecord;

impl System {
    /// Gives a row without a life another record, an unused quota of frames, and enables it.
    /// Errors: NoSuchTask.
    pub fn alter_record(&mut self, row: Row, record: TaskRecord) -> Result<(), Status> {
        let task = self.task_mut(row)?;
        task.frames = Quota::new(record.frame_quota);
        task.disabled = false;
        task.record = record;
        Ok(())
    }

    /// Takes away a row's kept memory, if it was made. Returns its frames, for
    /// [`System::give_back`].
    pub fn take_kept(&mut self, row: Row) -> Option<Chain> {
        let keep = self.task_mut(row).ok()?.keep.take()?;
        match self.memories.remove(keep)?.backing {
            Backing::Frames(chain) => Some(chain),
            Backing::Physical { .. } => None,
        }
    }

    /// Frees the frames of a chain.
    pub fn give_back(&mut self, mut chain: Chain) {
        self.frames.join(&mut self.garbage, &mut chain);
        self.collect(u32::MAX);
    }

    /// Records a mapping at any address, without the checks of `memory_map`. Errors: NoSuchTask,
    /// BadHandle, QuotaObjects.
    pub fn map_anywhere(&mut self, row: Row, mapping: Mapping) -> Result<(), Status> {
        let task = self.task_mut(row)?;
        task.objects.take(1, Status::QuotaObjects)?;
        if !task.mappings.insert(mapping) {
            return Err(Status::QuotaObjects);
        }
        self.memories.get_mut(mapping.memory).ok_or(Status::BadHandle)?.mappings += 1;
        Ok(())
    }

    /// The table of frames, when nothing else of the state is needed any more.
    pub fn into_frames(self) -> Frames {
        self.frames
    }
}
