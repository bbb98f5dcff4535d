//! Notifications: where they come from, how bits are set and taken, and how they end.

use crate::arena::Id;
use crate::endpoint::Endpoint;
use crate::handles::{Handle, NewHandle, Object};
use crate::notify::Notification;
use crate::number::HandleNumber;
use crate::queue::Queue;
use crate::row::Row;
use crate::system::System;
use crate::thread::{Lookup, NotificationCache, State, ThreadIndex};
use abi::Status;
use abi::message::{Header, Rights, bits};

impl System {
    /// Makes a notification for a thread's task, and returns its handle. Errors: QuotaObjects,
    /// QuotaHandles.
    pub fn notification_create(&mut self, thread: ThreadIndex) -> Result<NewHandle, Status> {
        let row = self.row_of(thread)?;
        let task = self.tasks.get_mut(row)?;
        if !task.handles.has_room() {
            return Err(Status::QuotaHandles);
        }
        task.objects.take(1, Status::QuotaObjects)?;
        let Some(id) = self.notifications.insert(Notification::new(row, false)) else {
            task.objects.give(1);
            return Err(Status::QuotaObjects);
        };
        task.made += 1;
        let rights = Rights::SIGNAL | Rights::WAIT | Rights::GRANT;
        task.handles.insert(Handle::new(Object::Notification(id), rights))
    }

    /// Sets the word of a notification, and its copy in the endpoint to which it is bound.
    #[inline(always)]
    pub(crate) fn set_word(&mut self, id: Id<Notification>, word: u64) {
        let Some(n) = self.notifications.get_mut(id) else { return };
        n.word = word;
        if let Some(e) = n.bound_to.and_then(|e| self.endpoints.get_mut(e)) {
            e.bits = word;
        }
    }

    /// Sets bits, and wakes the threads that wait for one of them: first the thread in `wait`, then
    /// those in `recv` in their order, of which at most [`LISTENERS`](abi::message::LISTENERS) wait
    /// for bits. Each takes the bits of its mask, so one signal may wake several.
    pub fn signal(&mut self, id: Id<Notification>, set: u64) {
        if self.releasing != 0 && !self.signal_reaches(id) {
            return;
        }
        let Some(n) = self.notifications.get_mut(id) else { return };
        // No thread waits for bits that were set before.
        let fresh = set & !n.word;
        if fresh == 0 {
            return;
        }
        let (word, waiter, bound_to) = (n.word | set, n.waiter.front(), n.bound_to);
        let mask = waiter.and_then(|waiter| self.threads.at(waiter)).map_or(0, |t| t.mask);
        let taken = word & mask;
        let left = word & !taken;
        n.word = left;
        if taken != 0 {
            n.waiter = Queue::default();
        }
        // This is the second half of `set_word`.
        let bound = bound_to.and_then(|endpoint| self.endpoints.get_mut(endpoint));
        let is_heard = bound.is_some_and(|e| {
            e.bits = left;
            !e.receivers.is_empty()
        });
        if let Some(waiter) = waiter.filter(|_| taken != 0) {
            self.note_taken(id, taken);
            if let Some(t) = self.threads.at_mut(waiter) {
                t.frame.rax = Status::Ok as u64;
                t.frame.rdx = taken;
            }
            self.make_ready(waiter);
        }
        if let Some(endpoint) = bound_to.filter(|_| is_heard && left & fresh != 0) {
            self.signal_receivers(id, endpoint, fresh);
        }
    }

    /// Wakes the threads that receive at the endpoint of a notification in which the bits `fresh`
    /// have been newly set.
    #[inline(never)]
    fn signal_receivers(&mut self, id: Id<Notification>, endpoint: Id<Endpoint>, fresh: u64) {
        let Some(receivers) = self.endpoints.get(endpoint).map(|e| e.receivers) else { return };
        let mut next = receivers.front();
        while let Some(receiver) = next {
            next = receivers.next(&self.threads, receiver);
            let mask = self.threads.at(receiver).map_or(0, |t| t.mask);
            match self.notifications.get(id).map_or(0, |n| n.word) {
                // All new bits are taken, or this thread and those behind it wait for no bits.
                word if word & fresh == 0 || mask == 0 => return,
                word if word & mask == 0 => {}
                _ => {
                    if let Some(e) = self.endpoints.get_mut(endpoint) {
                        e.receivers.remove(&mut self.threads, receiver);
                    }
                    self.deliver_bits(id, receiver, mask);
                    self.make_ready(receiver);
                }
            }
        }
    }

    /// Whether setting bits may reach a thread: not if the notification's owner is dead. Removes a
    /// dead thread that waits for them.
    #[cold]
    fn signal_reaches(&mut self, id: Id<Notification>) -> bool {
        let Some(n) = self.notifications.get(id) else { return false };
        let owner = n.owner;
        self.clear_waiter(id);
        self.is_alive(owner)
    }

    /// Removes a dead thread that waits on a notification.
    #[inline(always)]
    fn clear_waiter(&mut self, id: Id<Notification>) {
        if self.releasing != 0 {
            self.clear_dead_waiter(id);
        }
    }

    #[cold]
    fn clear_dead_waiter(&mut self, id: Id<Notification>) {
        if let Some(waiter) = self.notifications.get(id).and_then(|n| n.waiter.front())
            && self.is_dead(waiter)
        {
            self.thread_remove(waiter);
        }
    }

    /// `signal`: sets bits through a handle. Errors: BadHandle, WrongKind, NoRights (also if the
    /// handle does not allow one of the bits: then none is set).
    pub fn signal_by(&mut self, thread: ThreadIndex, number: HandleNumber, set: u64) -> Result<(), Status> {
        let (id, bits) = self.cache_notification(thread, number, Rights::SIGNAL)?;
        if set & !bits != 0 {
            return Err(Status::NoRights);
        }
        self.signal(id, set);
        Ok(())
    }

    /// Looks up a handle for `signal` (with the right SIGNAL) or for `poll` (WAIT), and caches the
    /// result. Returns the notification and the bits that can be set through the handle. Errors:
    /// BadHandle, WrongKind, NoRights.
    pub(crate) fn cache_notification(
        &mut self,
        thread: ThreadIndex,
        number: HandleNumber,
        right: Rights,
    ) -> Result<(Id<Notification>, u64), Status> {
        let (to, bits) = self.notification_handle(thread, number, right)?;
        let t = self.threads.at_mut(thread).ok_or(Status::BadHandle)?;
        let found = Lookup::of(number, self.sched.accounts.get(t.task.index()), to);
        let cache = if right == Rights::SIGNAL { &mut t.signals } else { &mut t.polls };
        *cache = NotificationCache { found, never: !bits };
        Ok((to, bits))
    }

    /// Sets bits in the permanent notification of a row. Does nothing if there is no such row.
    pub fn signal_task(&mut self, row: Row, set: u64) {
        if let Some(id) = self.tasks.at(row).and_then(|t| t.notification) {
            if set & bits::HEARTBEAT != 0
                && let Some(task) = self.tasks.at_mut(row)
                && task.heartbeat.is_none()
            {
                task.heartbeat = Some(self.now);
            }
            self.signal(id, set);
        }
    }

    /// Completes a `recv` with the bits of `mask` that are set, and takes them.
    pub(crate) fn deliver_bits(&mut self, id: Id<Notification>, receiver: ThreadIndex, mask: u64) {
        let Some(word) = self.notifications.get(id).map(|n| n.word) else { return };
        let taken = word & mask;
        self.set_word(id, word & !mask);
        self.note_taken(id, taken);
        if let Some(t) = self.threads.at_mut(receiver) {
            t.frame.receive(0, Header::NOTIFICATION, [taken, 0, 0, 0], 0, 0);
        }
    }

    #[inline(always)]
    fn note_taken(&mut self, id: Id<Notification>, taken: u64) {
        if taken & bits::HEARTBEAT != 0
            && let Some(n) = self.notifications.get(id)
            && n.permanent
            && let Some(task) = self.tasks.at_mut(n.owner)
        {
            task.heartbeat = None;
        }
    }

    /// `wait`: takes bits of the mask, or blocks the thread until one is set. Errors: BadHandle,
    /// WrongKind, NoRights, BadArgument (an empty mask), Busy (another thread waits).
    pub fn wait(&mut self, thread: ThreadIndex, handle: HandleNumber, mask: u64) -> Result<(), Status> {
        let (id, _) = self.notification_handle(thread, handle, Rights::WAIT)?;
        if mask == 0 {
            return Err(Status::BadArgument);
        }
        self.clear_waiter(id);
        let n = self.notifications.get_mut(id).ok_or(Status::BadHandle)?;
        let taken = n.word & mask;
        if taken == 0 {
            if !n.waiter.is_empty() {
                return Err(Status::Busy);
            }
            n.waiter = Queue::of(thread);
            if let Some(t) = self.threads.at_mut(thread) {
                t.mask = mask;
            }
            self.block(thread, State::Waiting(id.index()));
            return Ok(());
        }
        let left = n.word & !mask;
        self.set_word(id, left);
        self.note_taken(id, taken);
        if let Some(t) = self.threads.at_mut(thread) {
            t.frame.rdx = taken;
        }
        Ok(())
    }

    /// Whether a poll by the running thread finds no bits, as far as its cached lookup tells.
    /// Always false while a dead life is being released, because its notifications still have a
    /// slot but no longer exist.
    #[inline(always)]
    pub fn finds_nothing(&self, handle: HandleNumber, mask: u64) -> bool {
        let Some(t) = self.running().filter(|t| self.sched.is_valid(t.task, &t.polls.found, handle)) else {
            return false;
        };
        self.releasing == 0 && self.notifications.get(t.polls.to()).is_some_and(|n| n.word & mask == 0)
    }

    /// `poll` by the running thread: takes bits, if any are set, and returns them. Errors:
    /// BadHandle, WrongKind, NoRights.
    pub fn poll_running(&mut self, handle: HandleNumber, mask: u64) -> Result<u64, Status> {
        self.poll(self.sched.current, handle, mask)
    }

    /// `poll`: takes bits, if any are set, and returns them. Errors: BadHandle, WrongKind,
    /// NoRights.
    #[inline(never)]
    pub fn poll(&mut self, thread: ThreadIndex, handle: HandleNumber, mask: u64) -> Result<u64, Status> {
        let (id, _) = self.cache_notification(thread, handle, Rights::WAIT)?;
        let word = self.notifications.get(id).ok_or(Status::BadHandle)?.word;
        let taken = word & mask;
        if taken != 0 {
            self.set_word(id, word & !mask);
            self.note_taken(id, taken);
        }
        Ok(taken)
    }

    /// `endpoint_bind`: binds a notification to an endpoint. The calling task must have made both.
    /// Errors: BadHandle, WrongKind, NoRights, Busy (one of them is in use or permanent).
    pub fn endpoint_bind(
        &mut self,
        thread: ThreadIndex,
        endpoint: HandleNumber,
        notification: HandleNumber,
    ) -> Result<(), Status> {
        let row = self.row_of(thread)?;
        let (endpoint, _) = self.endpoint_handle(thread, endpoint, Rights::RECV)?;
        let (notification, _) = self.notification_handle(thread, notification, Rights::WAIT)?;
        self.clear_waiter(notification);
        let e = self.endpoints.get_mut(endpoint).ok_or(Status::BadHandle)?;
        let n = self.notifications.get_mut(notification).ok_or(Status::BadHandle)?;
        if e.owner != row || n.owner != row {
            return Err(Status::NoRights);
        }
        if e.permanent || n.permanent || !e.receivers.is_empty() || !n.waiter.is_empty() || n.bound_to.is_some() {
            return Err(Status::Busy);
        }
        let old = e.bound.replace(notification);
        n.bind(Some(endpoint));
        e.bits = n.word;
        if let Some(old) = old.and_then(|o| self.notifications.get_mut(o)) {
            old.bind(None);
        }
        Ok(())
    }

    /// Frees a notification. A thread that waits on it gets BadHandle.
    pub(crate) fn notification_destroy(&mut self, id: Id<Notification>) {
        let Some(n) = self.notifications.remove(id) else { return };
        if let Some(e) = n.bound_to.and_then(|e| self.endpoints.get_mut(e)) {
            (e.bound, e.bits) = (None, 0);
        }
        if let Some(task) = self.tasks.at_mut(n.owner) {
            task.objects.give(1);
            task.made -= 1;
        }
        if let Some(waiter) = n.waiter.front() {
            self.complete(waiter, Status::BadHandle);
        }
    }
}
