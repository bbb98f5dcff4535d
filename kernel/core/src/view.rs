//! What the kernel around this crate reads of the state, and tells it: the fields themselves are this crate's own.

use crate::addr::{AddressSpace, LifeSpace, TableRoot};
use crate::arena::{Arena, Id};
use crate::clock::Clock;
use crate::frames::{Chain, Frame};
use crate::handles::Handle;
use crate::lines::LineOwner;
use crate::log::Ring;
use crate::memory::{Mapping, Memory};
use crate::row::{Row, Tasks};
use crate::step::Show;
use crate::system::{Endpoint, System};
use crate::task::{Start, Task};
use crate::thread::{FloatState, State, Thread};
use abi::error::FaultRecord;
use abi::manifest::TaskRecord;
use abi::task::{SystemInfo, TaskState};
use abi::{Status, TaskId};

/// Bases and lengths that the entry stubs use: see [`crate::layout`].
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// The address of the first thread's slot.
    pub threads: u64,
    /// How many there are.
    pub thread_slots: u64,
    /// The address of the first endpoint's slot.
    pub endpoints: u64,
    /// The address of the first notification's slot.
    pub notifications: u64,
}

impl System {
    /// The task table.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// The row that spawns and kills.
    pub fn controller(&self) -> Option<Row> {
        self.controller
    }

    /// Cycles to nanoseconds.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The time-stamp counter when the kernel was entered.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The kernel is entered, or looks at the time-stamp counter again.
    #[inline(always)]
    pub fn set_now(&mut self, cycles: u64) {
        self.now = cycles;
    }

    /// Nanoseconds since boot.
    pub fn uptime_ns(&self) -> u64 {
        self.clock.ns(self.now)
    }

    /// What entering a thread needs at once.
    #[inline(always)]
    pub fn entering(&mut self) -> (&mut Arena<Thread>, &Tasks, &mut Arena<FloatState>) {
        (&mut self.threads, &self.tasks, &mut self.floats)
    }

    /// Where the tables lie that entry stubs use. They stay there.
    pub fn places(&self) -> Places {
        Places {
            threads: self.threads.base(),
            thread_slots: self.threads.capacity() as u64,
            endpoints: self.endpoints.base(),
            notifications: self.notifications.base(),
        }
    }

    /// The index of a thread. Errors: BadHandle (it is gone).
    pub fn thread_index(&self, id: Id<Thread>) -> Result<u16, Status> {
        self.threads.get(id).map(|_| id.index()).ok_or(Status::BadHandle)
    }

    /// The thread that a task's life began with, to be debugged. Errors: NoSuchTask, Busy (it runs).
    pub fn first_thread(&mut self, row: Row) -> Result<&mut Thread, Status> {
        let first = self.task(row).ok().and_then(|task| task.first_thread).ok_or(Status::NoSuchTask)?;
        let thread = self.threads.get_mut(first).ok_or(Status::NoSuchTask)?;
        if matches!(thread.state, State::Running) { Err(Status::Busy) } else { Ok(thread) }
    }

    /// A memory object. Errors: BadHandle (it is gone).
    pub fn memory(&self, id: Id<Memory>) -> Result<&Memory, Status> {
        self.memories.get(id).ok_or(Status::BadHandle)
    }

    /// The frame behind this one in its chain.
    pub fn next_frame(&self, frame: Frame) -> Option<Frame> {
        self.frames.next(frame)
    }

    /// The frames of a chain.
    pub fn frames_of(&self, chain: &Chain) -> impl Iterator<Item = Frame> {
        self.frames.iter(chain)
    }

    /// Makes a frame free that was in no range when all were counted: see [`crate::frames::Frames::adopt`].
    pub fn adopt_frame(&mut self, number: u64) -> bool {
        self.frames.adopt(number)
    }

    /// Gives a line to a life. Errors: Busy (it has an owner, or there is no such line).
    pub fn claim_line(&mut self, line: u8, owner: LineOwner) -> Result<(), Status> {
        if self.lines.claim(line, owner) { Ok(()) } else { Err(Status::Busy) }
    }

    /// Takes all lines from a row; returns them as a set of bits, to be masked.
    pub fn release_lines(&mut self, row: Row) -> u16 {
        self.lines.release(row)
    }

    /// Who has a line.
    pub fn line_owner(&self, line: u8) -> Option<LineOwner> {
        self.lines.owner(line)
    }

    /// The bits of a row's own notification that are set. Errors: NoSuchTask.
    pub fn notification_word(&self, row: Row) -> Result<u64, Status> {
        let id = self.task(row)?.notification.ok_or(Status::NoSuchTask)?;
        self.notifications.get(id).map(|n| n.word).ok_or(Status::NoSuchTask)
    }

    /// An interrupt is delivered.
    #[inline(always)]
    pub fn count_interrupt(&mut self) {
        self.counters.interrupts += 1;
    }

    /// An interrupt had no cause.
    pub fn count_spurious(&mut self) {
        self.counters.spurious += 1;
    }

    /// The first task runs, so many cycles after the kernel was entered, but for those that it waited for the timer chip.
    pub fn booted(&mut self, cycles: u64) {
        self.counters.boot = cycles;
    }

    /// Writes a task's text to its log; `cost` is what it is charged, in bytes. Returns what is to be shown of it. Errors: NoSuchTask, QuotaLog.
    pub fn log_write(&mut self, row: Row, cost: usize, text: &[u8]) -> Result<Show, Status> {
        let now_ms = self.uptime_ns() / 1_000_000;
        let task = self.task_mut(row)?;
        task.log_quota.take(cost, now_ms)?;
        let start = task.log.written();
        task.log.write(text);
        Ok(Show { start, end: task.log.written(), begun: false, value: text.len() as u64 })
    }

    /// The counters of what this crate keeps. Frames and heap of the kernel's own, and changes of address spaces, are for the kernel around it.
    pub fn info(&self) -> SystemInfo {
        SystemInfo {
            frames_total: self.frames.total(),
            frames_free: self.frames.free(),
            uptime_ns: self.uptime_ns(),
            idle_ns: self.clock.span_ns(self.counters.idle),
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
    /// What the task table says.
    #[inline(always)]
    pub fn record(&self) -> &TaskRecord {
        &self.record
    }

    /// Whether there is a life.
    pub fn state(&self) -> TaskState {
        self.state
    }

    /// Whether the life of this name runs, or is being started.
    pub fn lives(&self, life: TaskId) -> bool {
        self.is_alive() && self.generation == life.generation
    }

    /// The address space of the life; none without a life, and until it has one.
    #[inline(always)]
    pub fn space(&self) -> LifeSpace {
        self.space
    }

    /// Its top table. Errors: NoSuchTask (it has none).
    #[inline(always)]
    pub fn root(&self) -> Result<TableRoot, Status> {
        self.space.get().map(AddressSpace::root).ok_or(Status::NoSuchTask)
    }

    /// How many threads it has.
    pub fn threads(&self) -> u16 {
        self.threads
    }

    /// How many frames it has: image, stack, page tables, memory objects.
    pub fn frames_used(&self) -> u32 {
        self.frames.used()
    }

    /// Whether it may have one handle more.
    pub fn has_room_for_a_handle(&self) -> bool {
        self.handles.has_room()
    }

    /// How many objects it has: threads, endpoints, notifications, mappings, timers.
    pub fn objects_used(&self) -> u32 {
        self.objects.used()
    }

    /// Whether it never starts: it would have what is the kernel's.
    pub fn is_disabled(&self) -> bool {
        self.disabled
    }

    /// The index of the thread that its life began with.
    pub fn first_thread(&self) -> Option<u16> {
        self.first_thread.map(|id| id.index())
    }

    /// What a handle of its names. Errors: BadHandle.
    pub fn handle(&self, number: u64) -> Result<Handle, Status> {
        self.handles.get(number)
    }

    /// The memory object of one of its physical ranges, in the order of the table.
    pub fn range(&self, number: usize) -> Option<Id<Memory>> {
        self.ranges.get(number).copied().flatten()
    }

    /// Its endpoint, which outlives it. Errors: NoSuchTask (it has none).
    pub fn endpoint(&self) -> Result<Id<Endpoint>, Status> {
        self.endpoint.ok_or(Status::NoSuchTask)
    }

    /// The memory that outlives it.
    pub fn keep(&self) -> Option<Id<Memory>> {
        self.keep
    }

    /// What is mapped from this address on, or an error. Errors: BadAddress (nothing begins there).
    pub fn mapping(&self, addr: u64) -> Result<Mapping, Status> {
        self.mappings.get(addr).copied().ok_or(Status::BadAddress)
    }

    /// What it has mapped.
    pub fn mappings(&self) -> impl Iterator<Item = &Mapping> {
        self.mappings.iter()
    }

    /// Its newest text.
    pub fn log(&self) -> &Ring {
        &self.log
    }

    /// What the last death left. Errors: WouldBlock (nothing).
    #[inline(always)]
    pub fn fault(&self) -> Result<&FaultRecord, Status> {
        if self.fault.kind == abi::error::DeathKind::Alive as u32 { Err(Status::WouldBlock) } else { Ok(&self.fault) }
    }

    /// How far the start of its life has come.
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// As [`Task::start`], to go on with it.
    pub fn start_mut(&mut self) -> &mut Start {
        &mut self.start
    }
}
