//! System calls that are done in steps. The kernel runs with interrupts off; an operation that
//! would take it more than [`abi::task::LONGEST_STRETCH`] instructions is split into steps, between
//! which interrupts are let in and more important threads get to run.
//!
//! What is left of a system call is in its thread ([`Thread::step`](crate::thread::Thread::step)),
//! which stays running or ready, with the mark [`STEP`](crate::thread::STEP) in its extras.
//! Whenever the thread is scheduled, the kernel does one more step, before it switches to another
//! thread or, when the call is done, returns to ring 3. The thread executes no instruction
//! meanwhile: registers that a debugger sets take effect when the call is done, except those that
//! the call returns. If the thread dies, [`System::step_abandon`](crate::System::step_abandon)
//! gives back what the step holds.

use crate::addr::UserAddr;
use crate::frames::{Chain, Frame};
use crate::number::HandleNumber;
use crate::row::{Row, RowSet};
use abi::{Status, TaskId};

/// What is left of a system call, and the state of its progress.
#[derive(Debug)]
pub enum Step {
    /// `memory_create` goes on: see [`System::memory_begin`](crate::System::memory_begin).
    Create(Create),
    /// `recv` goes on, with a handle and a mask, after callers that have died were removed: see
    /// [`System::recv`](crate::System::recv).
    Receive(HandleNumber, u64),
    /// `task_set_restart` goes on, for a row that gets no next life: see
    /// [`System::expect`](crate::System::expect).
    Expect(Row),
    /// `task_spawn` goes on with the start of this life: see [`crate::task::Start`].
    Spawn(TaskId),
    /// `memory_map` goes on: see [`System::memory_map`](crate::System::memory_map).
    Fill(Fill),
    /// `memory_unmap` goes on: see [`System::memory_leave`](crate::System::memory_leave).
    Clear(Clear),
    /// `handle_close` of this handle goes on: see
    /// [`System::handle_leave`](crate::System::handle_leave).
    Close(HandleNumber),
    /// `log_write` goes on: its text is written to port 0xE9.
    Show(Show),
    /// `log_write` goes on: the tasks that read logs are signalled; see
    /// [`System::tell_some`](crate::System::tell_some).
    Tell(Tell),
}

/// The progress of `memory_create`.
#[derive(Debug, Default)]
pub struct Create {
    /// The frames taken so far.
    pub chain: Chain,
    /// The size of the object in frames, which the task is charged for already.
    pub pages: u32,
    /// Whether the frames are to be physically contiguous.
    pub contiguous: bool,
    /// How many frames have been taken and zeroed.
    pub zeroed: u32,
    /// The first frame of a contiguous object, once its frames are taken.
    pub first: Option<Frame>,
}

/// The progress of filling the page tables of a mapping.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    /// The first address of the mapping.
    pub addr: UserAddr,
    /// Whether the task may write to the mapping.
    pub writable: bool,
    /// How many pages are mapped.
    pub done: u32,
    /// The frame of the next page, where the object is made of frames.
    pub next: Option<Frame>,
}

/// The progress of clearing the page tables of a mapping.
#[derive(Clone, Copy, Debug)]
pub struct Clear {
    /// The first address of the mapping.
    pub addr: UserAddr,
    /// How many pages are unmapped.
    pub done: u32,
    /// The status that the system call returns when this is done: Ok, or the error for which the
    /// mapping could not be made.
    pub status: Status,
}

/// The progress of copying text from a task's log ring to port 0xE9.
#[derive(Clone, Copy, Debug)]
pub struct Show {
    /// Where the text begins, counted in bytes ever written to the ring.
    pub start: u64,
    /// Where the text ends, counted in bytes ever written to the ring.
    pub end: u64,
    /// Whether some of the text has been written to the port.
    pub begun: bool,
    /// The value that the system call returns in `rdx`: how many bytes it has taken.
    pub value: u64,
}

/// The progress of signalling the tasks that are to know of a new line in a log.
#[derive(Clone, Copy, Debug)]
pub struct Tell {
    /// The rows of the tasks that are not signalled yet.
    pub rows: RowSet,
    /// The value that the system call returns in `rdx`.
    pub value: u64,
}

/// The most tasks that are signalled in one step.
pub const TELL_STEP: u32 = 12;
