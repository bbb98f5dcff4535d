//! Birth and death of threads and tasks. Death releases everything a task held, and wakes everyone who waited for it.

use crate::arena::Id;
use crate::handles::{Handle, Object};
use crate::queue::Queue;
use crate::system::System;
use crate::thread::{FloatState, State, Thread};
use abi::error::FaultRecord;
use abi::manifest::{Restart, TaskRecord};
use abi::message::{Rights, bits};
use abi::task::{Activity, TaskState, TaskStatus};
use abi::{Status, TaskId};

impl System {
    /// Begins a new life in a row: handles 0 and 1 are its own endpoint and notification. The caller then builds the address space and
    /// starts the first thread, or takes it back by [`System::kill`]. Errors: NoSuchTask, AlreadyRunning, NotReaped, QuotaHandles.
    pub fn begin(&mut self, row: u16) -> Result<TaskId, Status> {
        let task = self.tasks.get_mut(row as usize).ok_or(Status::NoSuchTask)?;
        match task.state {
            TaskState::Running => return Err(Status::AlreadyRunning),
            TaskState::Dead => return Err(Status::NotReaped),
            TaskState::Empty => {}
        }
        if task.handles.quota() < 2 {
            return Err(Status::QuotaHandles);
        }
        task.state = TaskState::Running;
        task.generation = if task.generation == u16::MAX { 1 } else { task.generation + 1 };
        task.fault = None;
        task.spent = (0, 0);
        task.expected = task.record.restart != Restart::Never as u8;
        task.map_next = abi::task::MAP_BASE;
        let id = task.id(row);
        let (endpoint, notification) = (task.endpoint, task.notification);
        if let Some(endpoint) = endpoint {
            let rights = Rights::CALL | Rights::RECV | Rights::GRANT;
            self.handle_insert(row, Handle { object: Object::Endpoint(endpoint), rights, badge: 0 })?;
        }
        if let Some(notification) = notification {
            if let Some(n) = self.notifications.get_mut(notification) {
                n.word = 0;
            }
            let rights = Rights::SIGNAL | Rights::WAIT | Rights::GRANT;
            self.handle_insert(row, Handle { object: Object::Notification(notification), rights, badge: 0 })?;
        }
        Ok(id)
    }

    /// Starts a thread. Errors: NoSuchTask, Ceiling, QuotaObjects.
    pub fn thread_start(&mut self, row: u16, frame: crate::thread::Frame, priority: u8) -> Result<Id<Thread>, Status> {
        let task = self.tasks.get_mut(row as usize).ok_or(Status::NoSuchTask)?;
        if priority < task.record.priority || priority as usize >= abi::task::LEVELS {
            return Err(Status::Ceiling);
        }
        if task.state != TaskState::Running {
            return Err(Status::NoSuchTask);
        }
        task.objects.take(1, Status::QuotaObjects)?;
        let mut thread = Thread::new(row, priority);
        thread.frame = frame;
        (thread.id, thread.root, thread.space) = (task.id(row), task.root, task.space);
        thread.ports = task.record.ports.iter().any(|p| p.len != 0);
        // A thread that goes on for one that has ended goes on with its budget.
        (thread.used, thread.refill_at) = task.spent;
        let float = task.record.flags & TaskRecord::FLOAT != 0;
        if !self.threads.has_room() || float && !self.floats.has_room() {
            task.objects.give(1);
            return Err(Status::QuotaObjects);
        }
        if float {
            thread.float = self.floats.insert(FloatState::new());
        }
        thread.extras = thread.ports || float;
        let id = self.threads.insert(thread).ok_or(Status::QuotaObjects)?;
        if let Some(t) = self.threads.get_mut(id) {
            (t.index, t.alone) = (u64::from(id.index()), Queue::of(id.index()));
        }
        task.threads += 1;
        if task.threads == 1 {
            task.first_thread = Some(id);
        }
        self.share_budget(row);
        self.make_ready(id.index());
        Ok(id)
    }

    /// A new life is ready: peers that may call it hear of it.
    pub fn announce(&mut self, row: u16) {
        for peer in 0..self.tasks.len() {
            let Some(task) = self.tasks.get(peer) else { continue };
            let calls = task.record.calls.get(..task.record.call_count as usize).unwrap_or_default();
            if task.state == TaskState::Running && calls.iter().any(|&c| u16::from(c) == row) {
                self.signal_task(peer as u16, bits::PEER);
            }
        }
    }

    /// Ends a thread that is not its task's last; with the last one the task is to be killed instead.
    pub fn thread_exit(&mut self, index: u16) {
        debug_assert!(self.row_of(index).is_ok_and(|row| self.tasks[row as usize].threads > 1));
        self.thread_remove(index);
    }

    fn thread_remove(&mut self, index: u16) {
        let Some(t) = self.threads.at(index) else { return };
        let row = t.task;
        self.charge();
        let Some(t) = self.threads.at(index) else { return };
        let (spent, cpu) = ((t.used, t.refill_at), t.cpu);
        match t.state {
            State::Running | State::Ready => self.unschedule(index),
            State::Sending(id) => {
                if let Some(e) = self.endpoints.get_mut(id) {
                    e.senders.remove(&mut self.threads, index);
                }
            }
            State::Receiving(id) => {
                if let Some(e) = self.endpoints.get_mut(id) {
                    e.receivers.remove(&mut self.threads, index);
                }
            }
            State::Waiting(id) => {
                if let Some(n) = self.notifications.get_mut(id) {
                    n.waiter = None;
                }
            }
            State::Replying(_) => {}
        }
        if let Some(thread) = self.threads.id_at(index).and_then(|id| self.threads.remove(id))
            && let Some(float) = thread.float
        {
            self.floats.remove(float);
        }
        if let Some(task) = self.tasks.get_mut(row as usize) {
            // The later period counts; within one, what the last thread inherited is in its own sum.
            if (spent.1, spent.0) > (task.spent.1, task.spent.0) {
                task.spent = spent;
            }
            task.threads -= 1;
            task.objects.give(1);
            task.cpu += cpu;
        }
        self.share_budget(row);
    }

    /// Ends a life. Its frames stay in its chain until they are reaped; everything else is released here. The caller masks the
    /// interrupt lines that it owned (see [`crate::grants::Lines::release`]) and leaves its address space first.
    pub fn kill(&mut self, row: u16, record: FaultRecord) {
        let Some(task) = self.tasks.get_mut(row as usize) else { return };
        if task.state != TaskState::Running {
            return;
        }
        self.epoch += 1;
        task.state = TaskState::Dead;
        task.fault = Some(record);
        task.first_thread = None;
        task.heartbeat = None;
        task.lose = 0;
        let died = task.generation;
        let notification = task.notification;
        for index in 0..self.threads.capacity() as u16 {
            match self.threads.at(index) {
                Some(t) if t.task == row => self.thread_remove(index),
                Some(t) if t.state == State::Replying(row) => {
                    if let Some(t) = self.threads.at_mut(index) {
                        t.frame.rdx = u64::from(died);
                    }
                    self.complete(index, Status::PeerDied);
                }
                _ => {}
            }
        }
        while let Some(mapping) = self.tasks.get(row as usize).and_then(|t| t.mappings.last()).copied() {
            // The page tables go with the life, so there is nothing to unmap.
            let _ = self.memory_unmap(row, mapping.addr);
        }
        while let Some(handle) = self.tasks.get_mut(row as usize).and_then(|t| t.handles.pop()) {
            self.handle_dropped(row, handle);
        }
        // What it made may live on in others' handles; it does not outlive its maker.
        for index in 0..self.endpoints.capacity() as u16 {
            if let Some(id) = self.endpoints.id_at(index)
                && self.endpoints.get(id).is_some_and(|e| e.owner == row && !e.permanent)
            {
                self.endpoint_destroy(id);
            }
        }
        for index in 0..self.notifications.capacity() as u16 {
            if let Some(id) = self.notifications.id_at(index)
                && self.notifications.get(id).is_some_and(|n| n.owner == row && !n.permanent)
            {
                self.notification_destroy(id);
            }
        }
        if let Some(n) = notification.and_then(|n| self.notifications.get_mut(n)) {
            n.word = 0;
        }
        if let Some(task) = self.tasks.get_mut(row as usize) {
            task.root = 0;
            if !task.expected
                && let Some(endpoint) = task.endpoint
            {
                self.endpoint_flush(endpoint, Status::PeerGone);
            }
        }
        if let Some(controller) = self.controller {
            self.signal_task(controller, bits::TASK_EVENT);
        }
    }

    /// Frees up to `most` frames of a dead life; returns how many are left. Errors: NoSuchTask.
    pub fn reap(&mut self, row: u16, most: u32) -> Result<u32, Status> {
        let task = self.tasks.get_mut(row as usize).ok_or(Status::NoSuchTask)?;
        if task.state != TaskState::Dead {
            return Err(Status::NoSuchTask);
        }
        for _ in 0..most {
            if self.frames.free_first(&mut task.chain).is_none() {
                break;
            }
            task.frames.give(1);
        }
        if task.chain.is_empty() {
            task.state = TaskState::Empty;
        }
        Ok(task.chain.len())
    }

    /// Frees up to `most` frames of memory objects that are gone.
    pub fn collect(&mut self, most: u32) {
        for _ in 0..most {
            if self.frames.free_first(&mut self.garbage).is_none() {
                return;
            }
        }
    }

    /// Says whether a row has a next life. Where not, everyone queued there gets PeerGone. Errors: NoSuchTask.
    pub fn expect(&mut self, row: u16, expected: bool) -> Result<(), Status> {
        let task = self.tasks.get_mut(row as usize).ok_or(Status::NoSuchTask)?;
        task.expected = expected;
        if !expected
            && task.state != TaskState::Running
            && let Some(endpoint) = task.endpoint
        {
            self.endpoint_flush(endpoint, Status::PeerGone);
        }
        Ok(())
    }

    /// A row's state, for `ps`. Errors: NoSuchTask.
    pub fn task_status(&self, row: u16) -> Result<TaskStatus, Status> {
        let task = self.tasks.get(row as usize).ok_or(Status::NoSuchTask)?;
        let mut activity = Activity::None;
        let mut waits_for = u32::MAX;
        if let Some(t) = task.first_thread.and_then(|id| self.threads.get(id)) {
            activity = match t.state {
                State::Running => Activity::Running,
                State::Ready => Activity::Ready,
                State::Receiving(_) | State::Waiting(_) => Activity::Waiting,
                State::Sending(id) => {
                    waits_for = self.endpoints.get(id).map_or(u32::MAX, |e| u32::from(e.owner));
                    Activity::Sending
                }
                State::Replying(server) => {
                    waits_for = u32::from(server);
                    Activity::Replying
                }
            };
        }
        Ok(TaskStatus {
            id: task.id(row).to_u32(),
            state: task.state as u32,
            activity: activity as u32,
            priority: u32::from(task.record.priority),
            cpu_ns: self.clock.span_ns(self.cpu(row)),
            frames: task.frames.used(),
            frame_quota: task.frames.limit(),
            handles: u32::from(task.handles.live()),
            handle_quota: u32::from(task.handles.quota()),
            objects: task.objects.used(),
            object_quota: task.objects.limit(),
            waits_for,
            threads: u32::from(task.threads),
            heartbeat_ns: task.heartbeat.map_or(0, |since| self.clock.span_ns(self.now.saturating_sub(since)).max(1)),
        })
    }
}
