//! The end of a life. Death itself takes a few steps, whatever the life held: from then on none of
//! its threads runs, and its names lead to nothing. What it held is released afterwards in small
//! units: [`System::kill`] does as many as an ordinary task needs, and [`System::reap`] does the
//! rest. So no death delays others for long, however large the life was.
//!
//! Until the last unit is done, the dead threads stay where they were, even in queues. The first
//! code that meets one there removes it; it is neither run nor answered. What the dead task made no
//! longer exists for any lookup. Its account is withheld meanwhile, so that the assembly, which
//! does not know of dead tasks, runs none of its threads.

use crate::addr::LifeSpace;
use crate::arena::{Id, Index};
use crate::endpoint::Endpoint;
use crate::handles::{Handle, Object};
use crate::row::Row;
use crate::system::System;
use crate::task::{Release, Task};
use crate::thread::ThreadIndex;
use abi::Status;
use abi::message::bits;
use abi::task::TaskState;

/// Slots of a table that are examined for one unit of [`LOOK_COST`].
const LOOK: u16 = 16;

// The most that each kind of unit costs, in hundreds of instructions.
const LOOK_COST: u32 = 2;
const THREAD: u32 = 4;
const WAKE: u32 = 3;
const MAPPING: u32 = 2;
const HANDLE: u32 = 4;
const OBJECT: u32 = 3;
/// The cost of a timer, besides that of its handle and one for each level of the heap it is in.
const TIMER: u32 = 2;

fn spend(work: &mut u32, cost: u32) {
    *work = work.saturating_sub(cost);
}

/// Charges for examining slots, `before` of which have been examined before this one.
fn looked(work: &mut u32, before: u16) {
    if before % LOOK == LOOK - 1 {
        spend(work, LOOK_COST);
    }
}

/// Work done within a death, in hundreds of instructions. An ordinary driver needs less: this
/// suffices for a task with at most seven objects and nine handles for which fourteen threads wait.
const WORK_AT_DEATH: u32 = 140;
/// Work done by one [`System::reap`], in hundreds of instructions.
const WORK_AT_REAP: u32 = 100;
/// Work done at each exit of the kernel on the release of tasks that no supervisor reaps, in
/// hundreds of instructions.
const WORK_OF_ORPHANS: u32 = 20;
/// Steps in the table of frames done by one [`System::reap`].
const FRAME_STEPS: u32 = 200;
/// The most calls that one [`System::expect`] ends.
const FLUSHED: usize = 32;
/// The most dead threads that one operation removes where it meets them in a queue.
pub(crate) const IN_THE_WAY: usize = 16;

impl System {
    /// Whether a row has a life, which runs or is being started.
    #[inline]
    pub(crate) fn is_alive(&self, row: Row) -> bool {
        self.tasks.at(row).is_some_and(Task::is_alive)
    }

    /// Whether an object of a row still exists for those who hold handles to it: what a task made
    /// ends with its life.
    #[inline]
    pub(crate) fn exists(&self, owner: Row, permanent: bool) -> bool {
        permanent || self.releasing == 0 || self.is_alive(owner)
    }

    /// Whether a thread's task is dead.
    #[inline]
    pub(crate) fn is_dead(&self, thread: ThreadIndex) -> bool {
        self.releasing != 0 && self.threads.at(thread).is_some_and(|t| !self.is_alive(t.task))
    }

    /// Ends a life whose death record is written (see [`System::blame`]), and releases what an
    /// ordinary life holds. Before, the caller masks the interrupt lines that the life owned (see
    /// [`crate::lines::Lines::release`]) and leaves its address space. The frames stay in the
    /// row's chain until they are reaped.
    pub fn kill(&mut self, row: Row) {
        if self.end(row) {
            self.release(row, WORK_AT_DEATH);
            self.tell_controller();
        }
    }

    /// Ends a life without releasing anything yet, which is left to [`System::release`].
    pub fn die(&mut self, row: Row) {
        if self.end(row) {
            self.tell_controller();
        }
    }

    fn tell_controller(&mut self) {
        if let Some(controller) = self.controller {
            self.signal_task(controller, bits::TASK_EVENT);
        }
    }

    /// Marks a life as dead. Returns false if the row has no life.
    #[inline(always)]
    fn end(&mut self, row: Row) -> bool {
        let Some(task) = self.tasks.at_mut(row).filter(|t| t.is_alive()) else { return false };
        self.releasing += 1;
        task.state = TaskState::Dead;
        task.release = Release::Threads(0);
        task.first_thread = None;
        task.heartbeat = None;
        task.lose = 0;
        task.space = LifeSpace::NONE;
        if !task.start.kept.is_empty() {
            self.frames.join(&mut self.garbage, &mut task.start.kept);
        }
        if let Some(index) = self.current()
            && self.row_of(index) == Ok(row)
        {
            self.thread_remove_inlined(index);
        }
        if let Some(account) = self.sched.accounts.get_mut(row.index()) {
            account.withhold();
        }
        true
    }

    /// Continues the release of a dead life with at most `work` work, but at least one unit.
    /// Returns false if some is left.
    pub fn release(&mut self, row: Row, mut work: u32) -> bool {
        let Some(mut at) = self.tasks.at(row).map(|t| t.release) else { return true };
        if at == Release::Done {
            return true;
        }
        // A sequence instead of a loop lets the compiler see that the parts of an ordinary life's
        // release follow directly on each other.
        if let Release::Threads(from) = at {
            at = self.release_threads(row, from, &mut work);
        }
        if at == Release::Handles {
            at = self.release_handles(row, &mut work);
        }
        if let Release::Endpoints(from) = at {
            at = self.release_endpoints(row, from, &mut work);
        }
        if let Release::Notifications(from) = at {
            at = self.release_notifications(row, from, &mut work);
        }
        if at == Release::Queue {
            at = self.release_queue(row, &mut work);
        }
        if let Some(task) = self.tasks.at_mut(row) {
            task.release = at;
        }
        if at == Release::Done {
            self.releasing -= 1;
        }
        at == Release::Done
    }

    #[inline(always)]
    fn release_threads(&mut self, row: Row, mut from: u16, work: &mut u32) -> Release {
        loop {
            if *work == 0 {
                return Release::Threads(from);
            }
            let (found, next) = self.threads.find(from, LOOK, |t| t.task == row || t.state.is_replying(row));
            spend(work, if found { self.release_thread(row, ThreadIndex::new(next - 1)) } else { LOOK_COST });
            if next >= self.threads.touched() {
                return Release::Handles;
            }
            from = next;
        }
    }

    #[inline(never)]
    fn release_thread(&mut self, row: Row, index: ThreadIndex) -> u32 {
        if self.row_of(index) == Ok(row) {
            self.thread_remove(index);
            return THREAD;
        }
        self.peer_died(index, row);
        WAKE
    }

    fn has_made_nothing(&self, row: Row) -> bool {
        self.tasks.at(row).is_none_or(|t| t.made == 0)
    }

    #[cold]
    fn peer_died(&mut self, caller: ThreadIndex, server: Row) {
        let died = self.tasks.at(server).map_or(0, |t| t.generation);
        if let Some(t) = self.threads.at_mut(caller) {
            t.frame.r12 = u64::from(died);
        }
        self.complete(caller, Status::PeerDied);
    }

    #[inline(always)]
    fn release_handles(&mut self, row: Row, work: &mut u32) -> Release {
        let mut empty = 0;
        loop {
            let System { tasks, endpoints, notifications, .. } = self;
            let Some(task) = tasks.at_mut(row) else { return Release::Done };
            if !task.mappings.is_empty() {
                if *work == 0 {
                    return Release::Handles;
                }
                // The page tables are freed with the life, so nothing is unmapped.
                self.mapping_pop(row);
                spend(work, MAPPING);
                continue;
            }
            // Handles to permanent objects, which are most of a driver's.
            task.handles.pop_while(|object| {
                let handles = match *object {
                    Object::Endpoint(id) => endpoints.get_mut(id).filter(|e| e.permanent).map(|e| &mut e.handles),
                    Object::Notification(id) => {
                        notifications.get_mut(id).filter(|n| n.permanent).map(|n| &mut n.handles)
                    }
                    _ => None,
                };
                let Some(handles) = handles.filter(|_| *work != 0) else { return false };
                *handles -= 1;
                spend(work, HANDLE);
                true
            });
            if task.handles.is_bare() {
                return if task.made == 0 { Release::Queue } else { Release::Endpoints(0) };
            }
            if *work == 0 {
                return Release::Handles;
            }
            spend(work, self.release_other(row, &mut empty));
        }
    }

    /// Releases the last slot of the table of handles, which holds no handle to a permanent object,
    /// and returns the cost. `empty` counts free slots.
    #[inline(never)]
    fn release_other(&mut self, row: Row, empty: &mut u16) -> u32 {
        let Some(slot) = self.tasks.at_mut(row).and_then(|t| t.handles.pop()) else { return 0 };
        let Some(handle) = slot else {
            *empty += 1;
            return if empty.is_multiple_of(LOOK) { LOOK_COST } else { 0 };
        };
        let more = match handle.object {
            Object::Endpoint(id) if self.put_back_to_drain(row, handle, id) => return HANDLE,
            Object::Timer(id) => TIMER + self.timers.levels(id),
            _ => 0,
        };
        self.handle_dropped(row, handle);
        HANDLE + more
    }

    /// If this is the last handle of an endpoint at which a thread waits: wakes that thread, and
    /// puts the handle back for the next one. Returns false if no thread waits.
    fn put_back_to_drain(&mut self, row: Row, handle: Handle, id: Id<Endpoint>) -> bool {
        let last = self.endpoints.get(id).is_some_and(|e| e.handles == 1);
        let drained = last && self.endpoint_drain(id);
        if drained && let Some(task) = self.tasks.at_mut(row) {
            task.handles.put_back(handle);
        }
        drained
    }

    /// Frees the endpoints that the life made, even those to which others hold handles.
    #[inline(never)]
    fn release_endpoints(&mut self, row: Row, from: u16, work: &mut u32) -> Release {
        for index in from..self.endpoints.touched() {
            looked(work, index - from);
            if let Some(id) = self.endpoints.id_at(Index::new(index))
                && self.endpoints.get(id).is_some_and(|e| e.owner == row && !e.permanent)
            {
                while *work != 0 && self.endpoint_drain(id) {
                    spend(work, WAKE);
                }
                if *work == 0 {
                    return Release::Endpoints(index);
                }
                self.endpoint_destroy(id);
                spend(work, OBJECT);
                if self.has_made_nothing(row) {
                    return Release::Queue;
                }
            }
            if *work == 0 {
                return Release::Endpoints(index + 1);
            }
        }
        Release::Notifications(0)
    }

    #[inline(never)]
    fn release_notifications(&mut self, row: Row, from: u16, work: &mut u32) -> Release {
        for index in from..self.notifications.touched() {
            if *work == 0 {
                return Release::Notifications(index);
            }
            looked(work, index - from);
            if let Some(id) = self.notifications.id_at(Index::new(index))
                && self.notifications.get(id).is_some_and(|n| n.owner == row && !n.permanent)
            {
                self.notification_destroy(id);
                spend(work, OBJECT);
                if self.has_made_nothing(row) {
                    return Release::Queue;
                }
            }
        }
        Release::Queue
    }

    #[inline(always)]
    fn release_queue(&mut self, row: Row, work: &mut u32) -> Release {
        let gone = self.tasks.at(row).filter(|t| !t.expected).and_then(|t| t.endpoint);
        while let Some(endpoint) = gone {
            if *work == 0 {
                return Release::Queue;
            }
            if !self.endpoint_drain(endpoint) {
                break;
            }
            spend(work, WAKE);
        }
        Release::Done
    }

    /// Continues the release of a dead life and, once that is done, frees frames of it. Returns how
    /// much is left: a lower bound of the number of units, or the number of frames; 0 if nothing is
    /// left. Errors: NoSuchTask (the row has no dead life).
    pub fn reap(&mut self, row: Row) -> Result<u32, Status> {
        self.reap_some(row, WORK_AT_REAP, FRAME_STEPS)
    }

    /// Does a step of [`System::reap`] with at most `work` work on the release, or about `steps`
    /// steps in the table of frames. Errors: NoSuchTask (the row has no dead life).
    pub fn reap_some(&mut self, row: Row, work: u32, steps: u32) -> Result<u32, Status> {
        let task = self.tasks.at(row).filter(|t| t.state == TaskState::Dead).ok_or(Status::NoSuchTask)?;
        let released = task.release == Release::Done;
        if !released && !self.release(row, work) {
            let task = self.task(row)?;
            return Ok(1 + task.objects.used() + u32::from(task.handles.live()) + task.chain.len());
        }
        let task = self.tasks.get_mut(row)?;
        if released {
            task.frames.give(self.frames.free_some(&mut task.chain, steps));
        }
        if task.chain.is_empty() {
            task.state = TaskState::Empty;
        }
        Ok(task.chain.len())
    }

    /// Whether [`System::collect`] has something to do.
    #[inline(always)]
    pub fn has_garbage(&self) -> bool {
        !self.garbage.is_empty() || !self.untold.is_empty() || self.releasing != 0 && self.has_orphans()
    }

    /// Whether no supervisor releases what dead tasks held, as it is dead itself.
    #[cold]
    fn has_orphans(&self) -> bool {
        self.controller.is_some_and(|row| !self.is_alive(row))
    }

    /// Frees frames of memory objects that no longer exist, in about `steps` steps. Where the
    /// supervisor is dead, also releases what dead tasks held.
    #[cold]
    pub fn collect(&mut self, steps: u32) {
        self.frames.free_some(&mut self.garbage, steps);
        if let Some(row) = self.untold.pop() {
            self.signal_task(row, bits::LOG);
        }
        if self.releasing != 0
            && self.has_orphans()
            && let Some(row) = self.tasks.find(|t| t.release != Release::Done)
        {
            self.release(row, WORK_OF_ORPHANS);
        }
    }

    /// Sets whether a row is expected to have a next life. If not, calls that are queued there end
    /// with PeerGone, a bounded number in one step. Returns false if some are left: the caller then
    /// calls again. Errors: NoSuchTask.
    pub fn expect(&mut self, row: Row, expected: bool) -> Result<bool, Status> {
        let task = self.tasks.get_mut(row)?;
        task.expected = expected;
        if expected || task.is_alive() {
            return Ok(true);
        }
        let Some(endpoint) = task.endpoint else { return Ok(true) };
        for _ in 0..FLUSHED {
            let Some(e) = self.endpoints.get_mut(endpoint) else { return Ok(true) };
            match e.senders.pop(&mut self.threads) {
                Some(sender) => self.complete(sender, Status::PeerGone),
                None => return Ok(true),
            }
        }
        Ok(self.endpoints.get(endpoint).is_none_or(|e| e.senders.is_empty()))
    }

    /// Ends the system call of one thread that is queued at an endpoint, as a sender or as a
    /// receiver. Returns false if there is none.
    pub(crate) fn endpoint_drain(&mut self, id: Id<Endpoint>) -> bool {
        let Some(e) = self.endpoints.get_mut(id) else { return false };
        if let Some(sender) = e.senders.pop(&mut self.threads) {
            self.complete(sender, Status::PeerGone);
        } else if let Some(receiver) = e.receivers.pop(&mut self.threads) {
            self.complete(receiver, Status::BadHandle);
        } else {
            return false;
        }
        true
    }
}
