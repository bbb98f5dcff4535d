//! Accessors for the kernel around this crate: what it reads and sets of the state, whose fields
//! are private to this crate.

use crate::addr::{AddressSpace, LifeSpace, PhysAddr, TableRoot, UserAddr};
use crate::arena::{Arena, Id};
use crate::clock::Clock;
use crate::endpoint::Endpoint;
use crate::frames::{Chain, Frame};
use crate::handles::Handle;
use crate::lines::{Line, LineOwner, LineSet};
use crate::log::Ring;
use crate::memory::{Mapping, Memory};
use crate::number::HandleNumber;
use crate::period::shares;
use crate::row::Row;
use crate::step::Show;
use crate::system::System;
use crate::task::Tasks;
use crate::task::{Start, Task};
use crate::thread::{FloatState, State, Thread, ThreadIndex};
use abi::error::FaultRecord;
use abi::manifest::TaskRecord;
use abi::task::{SystemInfo, TaskState};
use abi::{Status, TaskId};

/// Base addresses and lengths of tables that the entry stubs use: see [`crate::layout`].
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// The address of the first thread's slot.
    pub threads: u64,
    /// The number of thread slots.
    pub thread_slots: u64,
    /// The address of the first endpoint's slot.
    pub endpoints: u64,
    /// The address of the first notification's slot.
    pub notifications: u64,
}

/// The parts of the state that are needed at once to enter a thread.
pub struct Entering<'a> {
    /// The thread.
    pub thread: &'a mut Thread,
    /// The task table.
    pub tasks: &'a Tasks,
    /// The floating-point registers of the threads that have some.
    pub floats: &'a mut Arena<FloatState>,
    /// Whether the timer is armed for the thread; otherwise it is to be armed: see
    /// [`System::arm`].
    pub armed: bool,
}

impl System {
    /// The task table.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// The row of the task with the right `control`, which spawns and kills tasks.
    pub fn controller(&self) -> Option<Row> {
        self.controller
    }

    /// The clock that converts cycles to nanoseconds.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The time-stamp counter when the kernel was last entered, or last read the counter.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Sets the current time, in cycles: when the kernel is entered, and when it reads the
    /// time-stamp counter again.
    #[inline(always)]
    pub fn set_now(&mut self, cycles: u64) {
        self.now = cycles;
    }

    /// Nanoseconds since boot.
    pub fn uptime_ns(&self) -> u64 {
        self.clock.ns(self.now)
    }

    /// The parts of the state that are needed at once to enter a thread, and whether the timer is
    /// armed for it; `None` if it is gone.
    #[inline(always)]
    pub fn entering(&mut self, thread: ThreadIndex) -> Option<Entering<'_>> {
        let thread = self.threads.at_mut(thread)?;
        let armed = self.sched.is_armed(thread, self.timers.first);
        Some(Entering { thread, tasks: &self.tasks, floats: &mut self.floats, armed })
    }

    /// Where the tables that the entry stubs use are in memory. They never move.
    pub fn places(&self) -> Places {
        Places {
            threads: self.threads.base(),
            thread_slots: self.threads.capacity() as u64,
            endpoints: self.endpoints.base(),
            notifications: self.notifications.base(),
        }
    }

    /// The index of a thread. Errors: BadHandle (the thread has ended).
    pub fn thread_index(&self, id: Id<Thread>) -> Result<ThreadIndex, Status> {
        self.threads.get(id).map(|_| id.index()).ok_or(Status::BadHandle)
    }

    /// The first thread of a task's life, for a debugger. Errors: NoSuchTask, Busy (the thread
    /// runs).
    pub fn first_thread(&mut self, row: Row) -> Result<&mut Thread, Status> {
        let first = self.task(row).ok().and_then(|task| task.first_thread).ok_or(Status::NoSuchTask)?;
        let thread = self.threads.get_mut(first).ok_or(Status::NoSuchTask)?;
        if matches!(thread.state, State::Running) { Err(Status::Busy) } else { Ok(thread) }
    }

    /// The memory object of this name. Errors: BadHandle (it no longer exists).
    pub fn memory(&self, id: Id<Memory>) -> Result<&Memory, Status> {
        self.memories.get(id).ok_or(Status::BadHandle)
    }

    /// The frame that follows this one in its chain.
    pub fn next_frame(&self, frame: Frame) -> Option<Frame> {
        self.frames.next(frame)
    }

    /// The frames of a chain.
    pub fn frames_of(&self, chain: &Chain) -> impl Iterator<Item = Frame> {
        self.frames.iter(chain)
    }

    /// Adds the frame at this address, which was in no range when the table was made, to the free
    /// ones: see [`crate::frames::Frames::adopt`].
    pub fn adopt_frame(&mut self, frame: PhysAddr) -> bool {
        self.frames.adopt(frame.number() / abi::PAGE_SIZE as u64)
    }

    /// Makes a life the owner of an interrupt line. Errors: Busy (it has an owner, or there is no
    /// such line).
    pub fn claim_line(&mut self, line: Line, owner: LineOwner) -> Result<(), Status> {
        if self.lines.claim(line, owner) { Ok(()) } else { Err(Status::Busy) }
    }

    /// Takes all interrupt lines from a row. Returns them: the caller masks them.
    #[inline(always)]
    pub fn release_lines(&mut self, row: Row) -> LineSet {
        self.lines.release(row)
    }

    /// The owner of an interrupt line.
    pub fn line_owner(&self, line: Line) -> Option<LineOwner> {
        self.lines.owner(line)
    }

    /// The bits that are set in a row's permanent notification. Errors: NoSuchTask.
    pub fn notification_word(&self, row: Row) -> Result<u64, Status> {
        let id = self.task(row)?.notification.ok_or(Status::NoSuchTask)?;
        self.notifications.get(id).map(|n| n.word).ok_or(Status::NoSuchTask)
    }

    /// Counts an interrupt that is delivered.
    #[inline(always)]
    pub fn count_interrupt(&mut self) {
        self.counters.interrupts += 1;
    }

    /// Counts a spurious interrupt.
    pub fn count_spurious(&mut self) {
        self.counters.spurious += 1;
    }

    /// Notes that the first task runs: `cycles` after the kernel was entered, without those spent
    /// waiting for the timer chip.
    pub fn booted(&mut self, cycles: u64) {
        self.counters.boot = cycles;
    }

    /// Writes a task's text to its log ring. `cost` is the number of bytes charged to its
    /// allowance. Returns the step that shows the text on the port. Errors: NoSuchTask, QuotaLog.
    pub fn log_write(&mut self, row: Row, cost: usize, text: &[u8]) -> Result<Show, Status> {
        let now_ms = self.uptime_ns() / 1_000_000;
        let task = self.task_mut(row)?;
        task.log_quota.take(cost, now_ms)?;
        let start = task.log.written();
        task.log.write(text);
        Ok(Show { start, end: task.log.written(), begun: false, value: text.len() as u64 })
    }

    /// The counters of what this crate keeps. The kernel around it adds those of its own frames,
    /// its heap and its changes of address spaces.
    pub fn info(&self) -> SystemInfo {
        SystemInfo {
            frames_total: self.frames.total(),
            frames_free: self.frames.free(),
            uptime_ns: self.uptime_ns(),
            idle_ns: self.clock.span_ns(self.counters.idle),
            period_ns: shares(self.tasks.len()).1,
            tasks: self.tasks.iter().filter(|t| t.state == TaskState::Running).count() as u32,
            threads: self.threads.live() as u32,
            endpoints: self.endpoints.live() as u32,
            notifications: self.notifications.live() as u32,
            memories: self.memories.live() as u32,
            timers: self.timers.live() as u32,
            interrupts: self.counters.interrupts,
            spurious: self.counters.spurious,
            switches: self.counters.switches,
            boot_ticks: self.counters.boot,
            ..SystemInfo::default()
        }
    }
}

impl Task {
    /// The row's record of the task table.
    #[inline(always)]
    pub fn record(&self) -> &TaskRecord {
        &self.record
    }

    /// The state of the row: whether it has a life, and whether that is being started, runs or is
    /// over.
    pub fn state(&self) -> TaskState {
        self.state
    }

    /// Whether this life of the row runs or is being started.
    pub fn lives(&self, life: TaskId) -> bool {
        self.is_alive() && self.generation == life.generation
    }

    /// The address space of the life; none where there is no life, or it has no address space yet.
    #[inline(always)]
    pub fn space(&self) -> LifeSpace {
        self.space
    }

    /// The top page table of the life's address space. Errors: NoSuchTask (there is none).
    #[inline(always)]
    pub fn root(&self) -> Result<TableRoot, Status> {
        self.space.get().map(AddressSpace::root).ok_or(Status::NoSuchTask)
    }

    /// The number of the task's live threads.
    pub fn threads(&self) -> u16 {
        self.threads
    }

    /// The number of frames charged to the task: image, stack, page tables, memory objects.
    pub fn frames_used(&self) -> u32 {
        self.frames.used()
    }

    /// Whether the task's table of handles has room for one more.
    pub fn has_room_for_a_handle(&self) -> bool {
        self.handles.has_room()
    }

    /// The number of objects charged to the task: threads, endpoints, notifications, mappings,
    /// timers.
    pub fn objects_used(&self) -> u32 {
        self.objects.used()
    }

    /// Whether the row is disabled: it never starts, because its grants reach what is the kernel's.
    pub fn is_disabled(&self) -> bool {
        self.disabled
    }

    /// The index of the thread with which the life began.
    pub fn first_thread(&self) -> Option<ThreadIndex> {
        self.first_thread.map(|id| id.index())
    }

    /// The handle of the task with this number. Errors: BadHandle.
    pub fn handle(&self, number: HandleNumber) -> Result<Handle, Status> {
        self.handles.get(number)
    }

    /// The memory object of a physical range of the row, by its position in the task table.
    pub fn range(&self, number: usize) -> Option<Id<Memory>> {
        self.ranges.get(number).copied().flatten()
    }

    /// The row's permanent endpoint, which outlives the life. Errors: NoSuchTask (there is none).
    pub fn endpoint(&self) -> Result<Id<Endpoint>, Status> {
        self.endpoint.ok_or(Status::NoSuchTask)
    }

    /// The kept memory of the row, which outlives the life.
    pub fn keep(&self) -> Option<Id<Memory>> {
        self.keep
    }

    /// The mapping that begins at this address. Errors: BadAddress (none does).
    pub fn mapping(&self, addr: UserAddr) -> Result<Mapping, Status> {
        self.mappings.get(addr).copied().ok_or(Status::BadAddress)
    }

    /// The mappings of the task.
    pub fn mappings(&self) -> impl Iterator<Item = &Mapping> {
        self.mappings.iter()
    }

    /// The log ring of the row.
    pub fn log(&self) -> &Ring {
        &self.log
    }

    /// The record of the row's last death. Errors: WouldBlock (there is none).
    #[inline(always)]
    pub fn fault(&self) -> Result<&FaultRecord, Status> {
        if self.fault.kind == abi::error::DeathKind::Alive as u32 { Err(Status::WouldBlock) } else { Ok(&self.fault) }
    }

    /// The progress of the start of the current life.
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// The progress of the start of the current life, mutable.
    pub fn start_mut(&mut self) -> &mut Start {
        &mut self.start
    }
}
