//! The start of tasks, the start and end of threads, and the record of a death. The death itself is
//! in [`crate::system::release`].

use crate::addr::{AddressSpace, LifeSpace, UserAddr};
use crate::arena::Id;
use crate::handles::{Handle, Object};
use crate::queue::{NIL, Queue};
use crate::row::Row;
use crate::system::System;
use crate::task::Start;
use crate::thread::{FLOAT, FloatState, PORTS, STEP, State, Thread, ThreadIndex};
use abi::error::{DeathKind, FaultRecord};
use abi::manifest::{GrantKind, Restart, TaskRecord};
use abi::message::{ReplyToken, Rights, bits};
use abi::task::{Activity, TaskState, TaskStatus};
use abi::{Status, TaskId};
use zerocopy::FromZeros;

/// The most rows that [`System::announce`] examines in one step.
const TOLD: u16 = 16;

impl System {
    /// Begins a new life in a row. Its handles 0 and 1 are its permanent endpoint and notification.
    /// The caller then builds the address space and starts the first thread, with which the life
    /// runs, or undoes it by [`System::kill`]. Errors: NoSuchTask, AlreadyRunning, NotReaped,
    /// QuotaHandles, Busy (the row is disabled), NoMoreLives.
    pub fn begin(&mut self, row: Row) -> Result<TaskId, Status> {
        let task = self.tasks.get_mut(row)?;
        match task.state {
            TaskState::Running | TaskState::Starting => return Err(Status::AlreadyRunning),
            TaskState::Dead => return Err(Status::NotReaped),
            TaskState::Empty => {}
        }
        if task.disabled {
            return Err(Status::Busy);
        }
        if task.handles.quota() < 2 {
            return Err(Status::QuotaHandles);
        }
        if task.generation >= TaskId::LAST {
            return Err(Status::NoMoreLives);
        }
        if let Some(account) = self.sched.accounts.get_mut(row.index()) {
            account.give_back();
        }
        task.state = TaskState::Starting;
        task.start = Start::default();
        task.generation += 1;
        task.fault.zero();
        task.expected = task.record.restart != Restart::Never as u8;
        task.map_next = UserAddr::new(abi::task::MAP_BASE);
        if self.log_readers.contains(row) {
            self.log_listeners.insert(row);
        }
        let id = task.id(row);
        let (endpoint, notification) = (task.endpoint, task.notification);
        if let Some(endpoint) = endpoint {
            let rights = Rights::CALL | Rights::RECV | Rights::GRANT;
            self.handle_insert(row, Handle::new(Object::Endpoint(endpoint), rights))?;
        }
        if let Some(notification) = notification {
            self.set_word(notification, 0);
            let rights = Rights::SIGNAL | Rights::WAIT | Rights::GRANT;
            self.handle_insert(row, Handle::new(Object::Notification(notification), rights))?;
        }
        Ok(id)
    }

    /// Sets the address space of a life that is being started; its threads run in it. Errors:
    /// NoSuchTask.
    pub fn set_space(&mut self, row: Row, space: AddressSpace) -> Result<(), Status> {
        self.tasks.get_mut(row)?.space = LifeSpace::of(space);
        Ok(())
    }

    /// Starts a thread in the address space of the row's life. Errors: NoSuchTask, Ceiling (the
    /// priority is more important than the task's limit, or no priority), QuotaObjects.
    pub fn thread_start(
        &mut self,
        row: Row,
        frame: crate::thread::TrapFrame,
        priority: u8,
    ) -> Result<Id<Thread>, Status> {
        let task = self.tasks.get_mut(row)?;
        if priority < task.record.priority || priority as usize >= abi::task::LEVELS {
            return Err(Status::Ceiling);
        }
        if !task.is_alive() {
            return Err(Status::NoSuchTask);
        }
        let space = task.space.get().ok_or(Status::NoSuchTask)?;
        task.objects.take(1, Status::QuotaObjects)?;
        let mut thread = Thread::new(row, space, priority);
        thread.frame = frame;
        thread.id = task.id(row);
        thread.ports = task.record.of(GrantKind::Ports).next().is_some();
        let float = task.record.flags & TaskRecord::FLOAT != 0;
        if !self.threads.has_room() || float && !self.floats.has_room() {
            task.objects.give(1);
            return Err(Status::QuotaObjects);
        }
        if float {
            thread.float = self.floats.insert(FloatState::new());
        }
        thread.extras = if thread.ports { PORTS } else { 0 } | if float { FLOAT } else { 0 };
        let id = self.threads.insert(thread).ok_or(Status::QuotaObjects)?;
        if let Some(t) = self.threads.get_mut(id) {
            let index = id.index();
            (t.alone, t.token) = (Queue::of(index), ReplyToken(self.calls | u64::from(index.number())));
        }
        task.threads += 1;
        if task.threads == 1 {
            task.first_thread = Some(id);
            task.state = TaskState::Running;
        }
        self.make_ready(id.index());
        Ok(id)
    }

    /// Signals the tasks that may call a row that it has a new life. Examines a bounded number of
    /// rows, from `from` on, in one step. Returns the row to continue with, or `None` when all are
    /// done.
    pub fn announce(&mut self, row: Row, from: Row) -> Option<Row> {
        let end = from.plus(TOLD);
        for peer in (from.number()..end.number()).map(Row::new) {
            let task = self.tasks.at(peer)?;
            if task.state == TaskState::Running && task.record.peers().any(|called| Row::new(called) == row) {
                self.signal_task(peer, bits::PEER);
            }
        }
        Some(end)
    }

    /// Ends a thread that is not its task's last; a task whose last thread ends must be killed
    /// instead.
    pub fn thread_exit(&mut self, index: ThreadIndex) {
        debug_assert!(self.row_of(index).and_then(|row| self.task(row)).is_ok_and(|task| task.threads > 1));
        self.thread_remove(index);
    }

    /// Ends a thread in any state.
    pub(crate) fn thread_remove(&mut self, index: ThreadIndex) {
        self.thread_remove_inlined(index);
    }

    /// Ends a thread in any state. It is inlined in the path of a task's death, which should reach
    /// the supervisor soon.
    #[inline(always)]
    pub(crate) fn thread_remove_inlined(&mut self, index: ThreadIndex) {
        let Some(t) = self.threads.at(index) else { return };
        let (row, extras, state) = (t.task, t.extras, t.state);
        self.calls = self.calls.max(t.token.0 & !0xffff);
        if extras & (STEP | FLOAT) != 0 {
            self.drop_extras(row, index);
        }
        if state == State::Running {
            self.charge();
            self.sched.current = NIL;
            self.sched.resched = true;
        } else {
            self.take_out(index, state);
        }
        self.threads.clear(index);
        if let Some(task) = self.tasks.at_mut(row) {
            task.threads -= 1;
            task.objects.give(1);
        }
    }

    /// Gives back what only some threads have: the step of an unfinished system call, and
    /// floating-point registers.
    #[inline(never)]
    fn drop_extras(&mut self, row: Row, index: ThreadIndex) {
        if let Some(step) = self.step_take(index) {
            self.step_abandon(row, step);
        }
        if let Some(float) = self.threads.at(index).and_then(|t| t.float) {
            self.floats.remove(float);
        }
    }

    /// Removes a thread that does not run from its queue.
    #[inline(never)]
    fn take_out(&mut self, index: ThreadIndex, state: State) {
        self.charge();
        match state {
            State::Ready => self.unschedule(index),
            State::Sending(at) => {
                if let Some(e) = self.endpoints.at_mut(at) {
                    e.senders.remove(&mut self.threads, index);
                }
            }
            State::Receiving(at) => {
                if let Some(e) = self.endpoints.at_mut(at) {
                    e.receivers.remove(&mut self.threads, index);
                }
            }
            State::Waiting(at) => {
                if let Some(n) = self.notifications.at_mut(at) {
                    n.waiter = Queue::default();
                }
            }
            State::Running | State::Replying(_) => {}
        }
    }

    /// Begins the record of the death of a life that is about to be killed: the cause, and the
    /// registers of the given thread or, if there is none, of the first. Returns the record to be
    /// completed; `None` if the row has no life.
    pub fn blame(&mut self, row: Row, thread: Option<ThreadIndex>, kind: DeathKind) -> Option<&mut FaultRecord> {
        let task = self.tasks.at_mut(row).filter(|t| t.is_alive())?;
        let id = task.id(row).to_u32();
        let record = &mut task.fault;
        (record.kind, record.task) = (kind as u32, id);
        record.time_ns = self.clock.ns(self.now);
        if let Some(t) = thread.or(task.first_thread.map(Id::index)).and_then(|t| self.threads.at(t)) {
            let f = &t.frame;
            record.vector = f.vector as u32;
            record.error_code = f.error;
            (record.rip, record.rsp, record.rflags) = (f.rip, f.rsp, f.rflags);
            // One assignment each, because the compiler would load a whole array into more
            // registers than it has.
            macro_rules! copy { ($($index:tt $name:ident),*) => { $(record.registers[$index] = f.$name;)* } }
            copy!(0 rax, 1 rbx, 2 rcx, 3 rdx, 4 rsi, 5 rdi, 6 rbp, 7 r8, 8 r9, 9 r10, 10 r11, 11 r12, 12 r13, 13 r14, 14 r15);
            (record.last_received, record.last_sent) = (t.last_received, t.last_sent);
        }
        Some(record)
    }

    /// The status of a row, as shown by `ps`. Errors: NoSuchTask.
    pub fn task_status(&self, row: Row) -> Result<TaskStatus, Status> {
        let task = self.task(row)?;
        let mut activity = Activity::None;
        let mut waits_for = u32::MAX;
        if let Some(t) = task.first_thread.and_then(|id| self.threads.get(id)) {
            activity = match t.state {
                State::Running => Activity::Running,
                State::Ready => Activity::Ready,
                State::Receiving(_) | State::Waiting(_) => Activity::Waiting,
                State::Sending(at) => {
                    waits_for = self.endpoints.at(at).map_or(u32::MAX, |e| e.owner.number().into());
                    Activity::Sending
                }
                State::Replying(server) => {
                    waits_for = server.number().into();
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
