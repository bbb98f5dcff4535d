//! Timers: deadlines bound to notification bits, in a heap of fixed size ordered by deadline.

use crate::arena::{Arena, Id};
use crate::handles::{Handle, Object};
use crate::notify::Notification;
use crate::system::System;
use abi::Status;
use abi::message::Rights;
use alloc::vec::Vec;

/// A timer.
#[derive(Debug)]
pub struct Timer {
    notification: Id<Notification>,
    bits: u64,
    deadline: u64,
    place: Option<u16>,
}

/// All timers, and those that are armed in the order of their deadlines.
pub struct Timers {
    arena: Arena<Timer>,
    heap: Vec<u16>,
    /// The next deadline, or the end of time.
    pub(crate) first: u64,
}

impl Timers {
    /// Room for `capacity` timers.
    pub fn new(capacity: u16) -> Self {
        Timers { arena: Arena::new(capacity), heap: Vec::with_capacity(capacity as usize), first: u64::MAX }
    }

    /// Bytes of what it took of the heap.
    #[cfg(test)]
    pub(crate) fn blocks(&self) -> [usize; 2] {
        [self.arena.bytes(), self.heap.capacity() * size_of::<u16>()]
    }

    /// Timers alive.
    pub fn live(&self) -> usize {
        self.arena.live()
    }

    /// Makes a timer that sets `bits`; `None` where there is no room.
    pub fn create(&mut self, notification: Id<Notification>, bits: u64) -> Option<Id<Timer>> {
        self.arena.insert(Timer { notification, bits, deadline: 0, place: None })
    }

    /// Frees a timer; false where it is gone already.
    pub fn destroy(&mut self, id: Id<Timer>) -> bool {
        self.disarm(id);
        self.arena.remove(id).is_some()
    }

    /// Sets a timer to a deadline in nanoseconds; an armed timer is moved. False where it is gone.
    pub fn arm(&mut self, id: Id<Timer>, deadline: u64) -> bool {
        self.disarm(id);
        let Some(timer) = self.arena.get_mut(id) else { return false };
        timer.deadline = deadline;
        let place = self.heap.len() as u16;
        if !crate::push(&mut self.heap, id.index()) {
            return false;
        }
        timer.place = Some(place);
        self.rise(self.heap.len() - 1);
        self.first = self.deadline(0);
        true
    }

    /// Stops a timer. False where it is gone.
    pub fn disarm(&mut self, id: Id<Timer>) -> bool {
        let Some(timer) = self.arena.get_mut(id) else { return false };
        if let Some(place) = timer.place {
            self.take_out(place as usize);
        }
        true
    }

    /// The next deadline in nanoseconds.
    pub fn next(&self) -> Option<u64> {
        self.heap.first().map(|_| self.deadline(0))
    }

    /// Takes the next timer whose deadline is not after `now`: the bits it sets, and where.
    pub fn expire(&mut self, now: u64) -> Option<(Id<Notification>, u64)> {
        if self.next()? > now {
            return None;
        }
        let index = *self.heap.first()?;
        self.take_out(0);
        let timer = self.arena.at(index)?;
        Some((timer.notification, timer.bits))
    }

    /// The armed timers by deadline, after a look at the order of the heap and at every timer's place in it.
    #[cfg(any(test, feature = "verify"))]
    pub(crate) fn armed(&self) -> Result<Vec<(u64, Id<Timer>)>, alloc::string::String> {
        if self.first != self.deadline(0) {
            return Err(alloc::format!("the next deadline is not {}", self.first));
        }
        for (place, &index) in self.heap.iter().enumerate() {
            if place > 0 && self.deadline(place) < self.deadline((place - 1) / 2) {
                return Err(alloc::format!("timer heap out of order at {place}"));
            }
            if self.arena.at(index).is_none_or(|t| t.place != Some(place as u16)) {
                return Err(alloc::format!("timer {index} does not know its place {place}"));
            }
        }
        let mut armed: Vec<_> =
            self.arena.iter().filter(|(_, t)| t.place.is_some()).map(|(id, t)| (t.deadline, id)).collect();
        armed.sort_by_key(|a| a.0);
        if armed.len() == self.heap.len() { Ok(armed) } else { Err("an armed timer is not in the heap".into()) }
    }

    /// What a timer sets, and where.
    #[cfg(any(test, feature = "verify"))]
    pub(crate) fn target(&self, id: Id<Timer>) -> Option<(Id<Notification>, u64)> {
        self.arena.get(id).map(|t| (t.notification, t.bits))
    }

    fn take_out(&mut self, place: usize) {
        let Some(last) = self.heap.len().checked_sub(1) else { return };
        self.exchange(place, last);
        if let Some(timer) = self.heap.pop().and_then(|index| self.arena.at_mut(index)) {
            timer.place = None;
        }
        if place < self.heap.len() {
            self.rise(place);
            self.sink(place);
        }
        self.first = self.deadline(0);
    }

    fn deadline(&self, place: usize) -> u64 {
        self.heap.get(place).and_then(|&i| self.arena.at(i)).map_or(u64::MAX, |t| t.deadline)
    }

    fn exchange(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        for place in [a, b] {
            if let Some(t) = self.arena.at_mut(self.heap[place]) {
                t.place = Some(place as u16);
            }
        }
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 && self.deadline(place) < self.deadline((place - 1) / 2) {
            self.exchange(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let least = if self.deadline(right) < self.deadline(left) { right } else { left };
            if least >= self.heap.len() || self.deadline(place) <= self.deadline(least) {
                return;
            }
            self.exchange(place, least);
            place = least;
        }
    }
}

impl System {
    /// Makes a timer for a thread's task. Errors: BadHandle, WrongKind, NoRights, BadArgument, QuotaObjects, QuotaHandles.
    pub fn timer_create(&mut self, thread: u16, notification: u64, bit: u64) -> Result<u32, Status> {
        let row = self.row_of(thread)?;
        let notification = self.notification_handle(thread, notification, Rights::SIGNAL)?;
        if bit > 59 {
            return Err(Status::BadArgument);
        }
        let task = self.tasks.get_mut(row as usize).ok_or(Status::NoSuchTask)?;
        if !task.handles.has_room() {
            return Err(Status::QuotaHandles);
        }
        task.objects.take(1, Status::QuotaObjects)?;
        let Some(id) = self.timers.create(notification, 1 << bit) else {
            task.objects.give(1);
            return Err(Status::QuotaObjects);
        };
        task.handles.insert(Handle { object: Object::Timer(id), rights: Rights::MANAGE, badge: 0 })
    }

    /// Arms (`Some` deadline in nanoseconds since boot) or disarms a timer. Errors: BadHandle, WrongKind.
    pub fn timer_set(&mut self, thread: u16, handle: u64, deadline: Option<u64>) -> Result<(), Status> {
        let Object::Timer(id) = self.handle(thread, handle)?.object else { return Err(Status::WrongKind) };
        let found = match deadline {
            Some(at) => self.timers.arm(id, at),
            None => self.timers.disarm(id),
        };
        if found { Ok(()) } else { Err(Status::BadHandle) }
    }
}
