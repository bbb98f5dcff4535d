//! The end of a life. Death itself is a few steps, whatever the life held: from then on none of its threads runs, and nothing is reached by
//! its names. What it held goes back afterwards in small units, of which [`System::kill`] does as many as an ordinary task needs, and
//! [`System::reap`] the others: so nobody waits long for a death, however large the life was.
//!
//! Between death and the last unit the dead threads stay where they were, in queues too. Whoever meets one there takes it out: it is neither
//! run nor answered. What the dead task made is gone for all who look it up. Its account is withheld meanwhile: so the assembly,
//! which knows nothing of all this, hands the core to none of its threads.

use crate::addr::LifeSpace;
use crate::arena::Id;
use crate::handles::{Handle, Object};
use crate::row::Row;
use crate::system::{Endpoint, System};
use crate::task::Task;
use abi::Status;
use abi::message::bits;
use abi::task::TaskState;

/// How far the release of a dead life has come, in this order. A number is a slot of one of the kernel's tables: those below it have been
/// looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Release {
    /// Its threads, and those of others that wait for its answer.
    Threads(u16),
    /// Its mappings, then its handles.
    Handles,
    /// Endpoints that it made.
    Endpoints(u16),
    /// Notifications that it made.
    Notifications(u16),
    /// Who waits for its next life, where there will be none.
    Queue,
    /// There is a life, or nothing is left of one but frames.
    #[default]
    Done,
}

/// Slots of a table at which is looked before that counts as work.
const LOOK: u16 = 16;

// What a unit costs at the most, in about a hundred instructions.
const LOOK_COST: u32 = 2;
const THREAD: u32 = 4;
const WAKE: u32 = 3;
const MAPPING: u32 = 2;
const HANDLE: u32 = 4;
const OBJECT: u32 = 3;
/// On top of its handle, and of a unit for each level of the heap out of which it is taken.
const TIMER: u32 = 2;

fn spend(work: &mut u32, cost: u32) {
    *work = work.saturating_sub(cost);
}

/// So many slots have been looked at before this one.
fn looked(work: &mut u32, before: u16) {
    if before % LOOK == LOOK - 1 {
        spend(work, LOOK_COST);
    }
}

/// Work that is done within a death, in about a hundred instructions. An ordinary driver needs less: so much is done at once for whoever has no
/// more than seven objects and nine handles, and for whom fourteen wait.
const WORK_AT_DEATH: u32 = 140;
/// Work that one [`System::reap`] does.
const WORK_AT_REAP: u32 = 100;
/// Of the release of what an orphan held, at each exit of the kernel.
const WORK_OF_ORPHANS: u32 = 20;
/// Steps in the table of frames in one [`System::reap`].
const FRAME_STEPS: u32 = 200;
/// Calls that one [`System::expect`] ends.
const FLUSHED: usize = 32;
/// Dead threads that are taken out in one go where they are in somebody's way.
pub(crate) const IN_THE_WAY: usize = 16;

impl System {
    /// Whether a row has a life, which need not run yet.
    #[inline]
    pub(crate) fn is_alive(&self, row: Row) -> bool {
        self.tasks.at(row).is_some_and(Task::is_alive)
    }

    /// Whether an object of a row is there for those who hold it: what a task made dies with it.
    #[inline]
    pub(crate) fn exists(&self, owner: Row, permanent: bool) -> bool {
        permanent || self.releasing == 0 || self.is_alive(owner)
    }

    /// Whether a thread's task is dead.
    #[inline]
    pub(crate) fn is_dead(&self, thread: u16) -> bool {
        self.releasing != 0 && self.threads.at(thread).is_some_and(|t| !self.is_alive(t.task))
    }

    /// Ends a life, whose record is written (see [`System::blame`]), and releases what an ordinary one holds. The caller masks the interrupt lines
    /// that it owned (see [`crate::lines::Lines::release`]) and leaves its address space first. Its frames stay in its chain until they are reaped.
    pub fn kill(&mut self, row: Row) {
        if self.end(row) {
            self.release(row, WORK_AT_DEATH);
            self.tell_controller();
        }
    }

    /// Ends a row's life without releasing anything of it yet: that is for [`System::release`].
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

    /// Death itself. False where there is no life.
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
            self.remove_thread(index);
        }
        if let Some(account) = self.sched.accounts.get_mut(row.index()) {
            account.withhold();
        }
        true
    }

    /// Goes on with the release of a dead life, as far as so much work goes, but by one unit at least. False where some is left.
    pub fn release(&mut self, row: Row, mut work: u32) -> bool {
        let Some(mut at) = self.tasks.at(row).map(|t| t.release) else { return true };
        if at == Release::Done {
            return true;
        }
        // One after the other, not in a loop: of an ordinary life the compiler then sees that nothing comes between them.
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
            spend(work, if found { self.release_thread(row, next - 1) } else { LOOK_COST });
            if next >= self.threads.touched() {
                return Release::Handles;
            }
            from = next;
        }
    }

    #[inline(never)]
    fn release_thread(&mut self, row: Row, index: u16) -> u32 {
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
    fn peer_died(&mut self, caller: u16, server: Row) {
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
                // The page tables go with the life, so there is nothing to unmap.
                self.mapping_pop(row);
                spend(work, MAPPING);
                continue;
            }
            // Those to what outlives every life, which are most of a driver's.
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

    /// The last slot of the handles, which has none to what outlives every life. So many empty ones came before it. Returns what it cost.
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

    /// Wakes one who waits at an endpoint that ends with this handle, which is put back for that. False where nobody does.
    fn put_back_to_drain(&mut self, row: Row, handle: Handle, id: Id<Endpoint>) -> bool {
        let last = self.endpoints.get(id).is_some_and(|e| e.handles == 1);
        let drained = last && self.endpoint_drain(id);
        if drained && let Some(task) = self.tasks.at_mut(row) {
            task.handles.put_back(handle);
        }
        drained
    }

    /// What it made may live on in others' handles; it does not outlive its maker.
    #[inline(never)]
    fn release_endpoints(&mut self, row: Row, from: u16, work: &mut u32) -> Release {
        for index in from..self.endpoints.touched() {
            looked(work, index - from);
            if let Some(id) = self.endpoints.id_at(index)
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
            if let Some(id) = self.notifications.id_at(index)
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

    /// Goes on with the release of a dead life, and when that is done frees frames of it. Returns how much is left: units, of which there are at
    /// least as many, or frames; 0 when nothing is. Errors: NoSuchTask.
    pub fn reap(&mut self, row: Row) -> Result<u32, Status> {
        self.reap_some(row, WORK_AT_REAP, FRAME_STEPS)
    }

    /// As [`System::reap`], with so much work, or about so many steps in the table of frames.
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

    /// Frees frames of memory objects that are gone, in about so many steps. Where nobody is there to reap, releases what the dead held, too.
    #[inline(always)]
    pub fn collect(&mut self, steps: u32) {
        if !self.garbage.is_empty() || self.releasing != 0 || !self.untold.is_empty() {
            self.collect_some(steps);
        }
    }

    fn collect_some(&mut self, steps: u32) {
        self.frames.free_some(&mut self.garbage, steps);
        if let Some(row) = self.untold.pop() {
            self.signal_task(row, bits::LOG);
        }
        if self.releasing != 0
            && self.controller.is_some_and(|row| !self.is_alive(row))
            && let Some(row) = self.tasks.find(|t| t.release != Release::Done)
        {
            self.release(row, WORK_OF_ORPHANS);
        }
    }

    /// Says whether a row has a next life. Where not, who is queued there gets PeerGone, so many in one step; false where some are left: then
    /// again. Errors: NoSuchTask.
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

    /// Ends the wait of one who is queued at an endpoint, or receives there. False where nobody is.
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
