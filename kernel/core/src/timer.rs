//! Timers: deadlines at which notification bits are set. Each row has a heap of fixed size that
//! orders its timers by deadline.

use crate::arena::{Arena, Id, Index};
use crate::notify::Notification;
use crate::row::Row;
use alloc::vec::Vec;

/// A timer, which sets bits of a notification at its deadline.
#[derive(Debug)]
pub struct Timer {
    row: Row,
    notification: Id<Notification>,
    bits: u64,
    deadline: u64,
    place: Option<u16>,
}

/// The armed timers of a row: the part of [`Timers::places`] that holds the row's heap, ordered by
/// deadline.
#[derive(Clone, Copy)]
struct Heap {
    base: u32,
    room: u16,
    len: u16,
}

/// All timers, and the armed ones of each row in the order of their deadlines. Timers of one row
/// are delayed by each other only, as rows take turns: so no task's timers, however many, delay
/// another's for long.
pub struct Timers {
    arena: Arena<Timer>,
    /// The heaps of all rows, one after the other. An entry is a timer's index.
    places: Vec<Index<Timer>>,
    heaps: Vec<Heap>,
    /// A binary tree of deadlines. The second half has the first deadline of each row, or
    /// [`u64::MAX`]; every other entry is the earlier of those at twice its index and the one after
    /// that.
    firsts: Vec<u64>,
    /// The row that comes first when several have timers that are due.
    turn: usize,
    /// The next deadline in nanoseconds since boot, or [`u64::MAX`].
    pub(crate) first: u64,
}

impl Timers {
    /// Room for `capacity` timers in total, and for the given number of armed ones of each row.
    pub fn new(capacity: u16, rows: impl Iterator<Item = u16>) -> Self {
        let mut base = 0;
        let heaps: Vec<Heap> = rows
            .map(|room| {
                let heap = Heap { base, room, len: 0 };
                base += u32::from(room);
                heap
            })
            .collect();
        let firsts = alloc::vec![u64::MAX; 2 * heaps.len().next_power_of_two()];
        let places = alloc::vec![Index::new(0); base as usize];
        Timers { arena: Arena::new(capacity), places, heaps, firsts, turn: 0, first: u64::MAX }
    }

    /// The size in bytes of each heap block that this allocated.
    #[cfg(test)]
    pub(crate) fn blocks(&self) -> [usize; 4] {
        [
            self.arena.bytes(),
            self.places.capacity() * size_of::<Index<Timer>>(),
            self.heaps.capacity() * size_of::<Heap>(),
            self.firsts.capacity() * size_of::<u64>(),
        ]
    }

    /// The number of timers.
    pub fn live(&self) -> usize {
        self.arena.live()
    }

    /// Makes a timer of a row that sets `bits`; `None` if there is no room.
    pub fn create(&mut self, row: Row, notification: Id<Notification>, bits: u64) -> Option<Id<Timer>> {
        self.arena.insert(Timer { row, notification, bits, deadline: 0, place: None })
    }

    /// Frees a timer. Returns false if it does not exist.
    pub fn destroy(&mut self, id: Id<Timer>) -> bool {
        self.disarm(id);
        self.arena.remove(id).is_some()
    }

    /// Arms a timer for a deadline in nanoseconds since boot, or changes that of an armed one.
    /// Returns false if it does not exist.
    pub fn arm(&mut self, id: Id<Timer>, deadline: u64) -> bool {
        self.disarm(id);
        let Some(timer) = self.arena.get_mut(id) else { return false };
        let row = timer.row;
        let Some(heap) = self.heaps.get_mut(row.index()).filter(|h| h.len < h.room) else { return false };
        let place = heap.len;
        heap.len += 1;
        (timer.deadline, timer.place) = (deadline, Some(place));
        let Heap { base, .. } = *heap;
        if let Some(slot) = self.places.get_mut(base as usize + place as usize) {
            *slot = id.index();
        }
        self.rise(row, place as usize);
        self.note_first(row);
        true
    }

    /// Disarms a timer. Returns false if it does not exist.
    pub fn disarm(&mut self, id: Id<Timer>) -> bool {
        let Some(timer) = self.arena.get_mut(id) else { return false };
        if let Some(place) = timer.place {
            let row = timer.row;
            self.take_out(row, place as usize);
        }
        true
    }

    /// The number of levels of the heap that a timer is in, as each may change when it is freed; 0
    /// if it is not armed.
    pub fn levels(&self, id: Id<Timer>) -> u32 {
        let armed = self.arena.get(id).filter(|t| t.place.is_some());
        armed
            .and_then(|t| self.heaps.get(t.row.index()))
            .map_or(0, |heap| heap.len.checked_ilog2().map_or(0, |n| n + 1))
    }

    /// The next deadline in nanoseconds since boot.
    pub fn next(&self) -> Option<u64> {
        (self.heaps.iter().any(|h| h.len != 0)).then_some(self.first)
    }

    /// Disarms a timer that is due at `now`, the first of the row whose turn it is. Returns the
    /// notification and the bits that it sets.
    pub fn expire(&mut self, now: u64) -> Option<(Id<Notification>, u64)> {
        if self.first > now {
            return None;
        }
        let row = self.due_from(self.turn, now).or_else(|| self.due_from(0, now))?;
        self.turn = row + 1;
        let index = self.at(Row::new(row as u16), 0)?;
        self.take_out(Row::new(row as u16), 0);
        let timer = self.arena.at(index)?;
        Some((timer.notification, timer.bits))
    }

    /// The first row, from `row` on, that has a timer that is due. The search goes up the tree from
    /// the row's leaf until a subtree has one, then down.
    fn due_from(&self, row: usize, now: u64) -> Option<usize> {
        let leaves = self.firsts.len() / 2;
        let due = |node: usize| self.firsts.get(node).is_some_and(|&first| first <= now);
        if row >= leaves {
            return None;
        }
        let mut node = leaves + row;
        while !due(node) {
            while node % 2 == 1 {
                node /= 2;
                if node <= 1 {
                    return None;
                }
            }
            node += 1;
        }
        while node < leaves {
            node = 2 * node + usize::from(!due(2 * node));
        }
        Some(node - leaves)
    }

    /// Updates the tree of deadlines for a row.
    fn note_first(&mut self, row: Row) {
        let mut node = self.firsts.len() / 2 + row.index();
        let mut first = self.deadline(row, 0);
        while let Some(slot) = self.firsts.get_mut(node).filter(|_| node != 0) {
            *slot = first;
            let other = self.firsts.get(node ^ 1).copied().filter(|_| node != 1).unwrap_or(u64::MAX);
            first = first.min(other);
            node /= 2;
        }
        self.first = first;
    }

    /// The armed timers by deadline, after verifying the order of the heaps, the place of each
    /// timer, and the tree of deadlines.
    #[cfg(any(test, feature = "verify"))]
    pub(crate) fn armed(&self) -> Result<Vec<(u64, Id<Timer>)>, alloc::string::String> {
        let earliest =
            (0..self.heaps.len()).map(|row| self.deadline(Row::new(row as u16), 0)).min().unwrap_or(u64::MAX);
        if self.first != earliest {
            return Err(alloc::format!("the next deadline is not {}", self.first));
        }
        let leaves = self.firsts.len() / 2;
        for row in 0..leaves {
            if self.firsts.get(leaves + row) != Some(&self.deadline(Row::new(row as u16), 0)) {
                return Err(alloc::format!("the first deadline of row {row} is another"));
            }
        }
        for node in 1..leaves {
            if self.firsts.get(node) != self.firsts.get(2 * node).min(self.firsts.get(2 * node + 1)) {
                return Err(alloc::format!("node {node} of the first deadlines is not the earlier of two"));
            }
        }
        let mut count = 0;
        for (row, heap) in self.heaps.iter().enumerate() {
            let row = Row::new(row as u16);
            for place in 0..heap.len as usize {
                if place > 0 && self.deadline(row, place) < self.deadline(row, (place - 1) / 2) {
                    return Err(alloc::format!("timer heap of row {row} out of order at {place}"));
                }
                let timer = self.at(row, place).and_then(|index| self.arena.at(index));
                if timer.is_none_or(|t| t.place != Some(place as u16) || t.row != row) {
                    return Err(alloc::format!("a timer of row {row} does not know its place {place}"));
                }
                count += 1;
            }
        }
        let mut armed: Vec<_> =
            self.arena.iter().filter(|(_, t)| t.place.is_some()).map(|(id, t)| (t.deadline, id)).collect();
        armed.sort_by_key(|a| a.0);
        if armed.len() == count { Ok(armed) } else { Err("an armed timer is not in the heap".into()) }
    }

    /// The notification and the bits that a timer sets.
    #[cfg(any(test, feature = "verify"))]
    pub(crate) fn target(&self, id: Id<Timer>) -> Option<(Id<Notification>, u64)> {
        self.arena.get(id).map(|t| (t.notification, t.bits))
    }

    /// The index of the timer at a place of a row's heap.
    fn at(&self, row: Row, place: usize) -> Option<Index<Timer>> {
        let heap = self.heaps.get(row.index()).filter(|h| place < h.len as usize)?;
        self.places.get(heap.base as usize + place).copied()
    }

    fn take_out(&mut self, row: Row, place: usize) {
        let Some(heap) = self.heaps.get(row.index()).copied() else { return };
        let Some(last) = heap.len.checked_sub(1).map(usize::from) else { return };
        self.exchange(row, place, last);
        if let Some(timer) = self.at(row, last).and_then(|index| self.arena.at_mut(index)) {
            timer.place = None;
        }
        if let Some(heap) = self.heaps.get_mut(row.index()) {
            heap.len -= 1;
        }
        if place < last {
            self.rise(row, place);
            self.sink(row, place);
        }
        self.note_first(row);
    }

    /// The deadline of the timer at a place of a row's heap; [`u64::MAX`] if there is none.
    fn deadline(&self, row: Row, place: usize) -> u64 {
        self.at(row, place).and_then(|index| self.arena.at(index)).map_or(u64::MAX, |t| t.deadline)
    }

    fn exchange(&mut self, row: Row, a: usize, b: usize) {
        let Some(base) = self.heaps.get(row.index()).map(|h| h.base as usize) else { return };
        let Some(heap) = self.places.get_mut(base..) else { return };
        if a.max(b) >= heap.len() {
            return;
        }
        heap.swap(a, b);
        for place in [a, b] {
            if let Some(t) = heap.get(place).and_then(|&index| self.arena.at_mut(index)) {
                t.place = Some(place as u16);
            }
        }
    }

    fn rise(&mut self, row: Row, mut place: usize) {
        while place > 0 && self.deadline(row, place) < self.deadline(row, (place - 1) / 2) {
            self.exchange(row, place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    fn sink(&mut self, row: Row, mut place: usize) {
        let len = self.heaps.get(row.index()).map_or(0, |h| h.len as usize);
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let least = if self.deadline(row, right) < self.deadline(row, left) { right } else { left };
            if least >= len || self.deadline(row, place) <= self.deadline(row, least) {
                return;
            }
            self.exchange(row, place, least);
            place = least;
        }
    }
}
