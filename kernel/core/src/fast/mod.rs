//! The fast paths: what happens most often, done without the queues and without saving what is not used.
//!
//! - [`call`], [`reply_recv`]: words and what is lent, and the one that waits runs at once.
//! - [`poll`] of bits that are not set; [`signal`] of bits that the handle allows, where nobody waits, or where one waits who is more important and runs at once.
//! - [`interrupt`]: a line's bits, likewise, over whatever runs.
//! - [`take_turns`]: `yield` to the one other thread of the level, or to nobody.
//! - [`tick`]: a timer tick that changes nothing but the account.
//!
//! They look first and change something only where everything holds that lets the general path ([`System::call`],
//! [`System::reply`], [`System::recv`], [`System::signal`], [`System::poll`], [`System::interrupt`], [`System::yield_now`], [`System::tick`],
//! each followed by [`System::schedule`]) do just that: for a message, no handle on its way, what is lent is read, one partner waits; for whoever
//! runs next, something is left of its task's slice or turn, and nobody ready is as important as it is. Then they do the
//! same to the state, without queues in between. Whoever runs may have been charged for the time up to now before they refuse, which the
//! general path would do first. The same code runs on the host, where a test compares it with the general path in many
//! states of a small system, and another tries each check.
//!
//! They are written in assembly, because the four words, the sender and the token then never leave their registers, no bound is checked
//! twice, and nothing is saved that is not used. What they rely on:
//!
//! - The system does not move, nor do the slots of its threads, endpoints and notifications, nor the accounts of its tasks: all are allocated once.
//! - A thread's [`Budget`](crate::account::Budget) is at its level what its task's account has for that level. Of a thread that waits for its
//!   task's processor time it is 0, and so is one that a new period has ended.
//! - A [`Route`](crate::thread::Route) is followed in the epoch in which the general path left it, by the handle it left it for. Whatever frees
//!   an endpoint or a notification, binds one to the other, closes a handle, ends a task, or has an interrupt be lost begins a new epoch. A line's
//!   route goes with its owner.
//! - A queue holds threads that are there, and whose tasks are alive, but while a dead task is being released ([`crate::release`]): then no route is of
//!   the present epoch. A thread's slot that is not alive is not [`TAKEN`](crate::arena::TAKEN).
//! - A thread alone in a queue is not linked to any other, nor is one that is in none: the running one.
//! - Nobody waits for bits that are set. So a waiter takes those of its bits that come, and no others.
//! - While a thread runs nobody ready is more important; while none runs nobody is ready. `resched` is false outside of the kernel.
//! - One core runs the kernel, with interrupts off: nobody else looks at the state meanwhile.
//!
//! A thread is named by its *anchor*, the address of the end of its [`Frame`]: where TSS.RSP0 points while it runs.
#![allow(unsafe_code)]

mod message;
mod notify;
mod turns;

pub use message::{call, reply_recv};
pub use notify::{interrupt, poll, signal, signalled};
pub use turns::{take_turns, tick};

use crate::arena::{Arena, Slot};
use crate::queue::Queue;
use crate::system::{Counters, Endpoint, System};
use crate::thread::{Frame, Route, Thread};
use core::mem::offset_of;

/// Where a fast path goes on, by a jump.
///
/// # Safety
/// All are naked functions that take the registers as described.
pub unsafe trait Exits {
    /// Another thread runs: its anchor in `rbp`. Its message is in `rdi rsi rdx r10 r8 r9 r12`, as after the system call; `rbx rcx r11` and the
    /// flags hold nothing. All others are as they were.
    extern "C" fn handed_over();
    /// To `call`, of a header in `rsi` that is a label and a number of leases: reads them from the caller's memory at `r12` into its record and
    /// goes on at the address in `r11`, with all registers as they were but `rcx`, `rsp` and the flags; or as [`Exits::refused`].
    extern "C" fn lend();
    /// A thread goes on where it was: its anchor in `rbp`. All its registers are in its frame, and none is anywhere else.
    extern "C" fn resumed();
    /// The system call has succeeded and the running thread goes on: its anchor in `rax`. `rcx r11` and the flags hold nothing. All others
    /// are as they were, or as the system call leaves them.
    extern "C" fn returned();
    /// Nothing has changed but the account, the general path is to decide about the system call of the number in `rax`. `rbx rbp rcx r11` and the flags hold
    /// nothing. All others are as they were.
    extern "C" fn refused();
    /// The same before anything but `rip` and flags has been saved: the number in `ecx`, the running thread's anchor in `rax`. All others but
    /// `r11` are as they were.
    extern "C" fn untouched();
    /// The same when all has been saved: the running thread's anchor in `r13`, its registers in its frame.
    extern "C" fn declined();
    /// Somebody waits for the bits that [`signal`] is to set. Registers as for `untouched`. Everything is to be saved, with the system
    /// call's success, and then to go on at [`signalled`].
    extern "C" fn waited_for();
    /// Nothing has changed but the account, the general path is to decide about the interrupt of a line: the running thread's anchor in `r13`, its registers in
    /// its frame.
    extern "C" fn line_refused();
    /// The tick is done: the system's address in `rbx`. `rax rcx rdx rbp` and the flags hold nothing.
    extern "C" fn ticked();
    /// Nothing has changed, the general path is to decide about the tick. Registers as for `ticked`.
    extern "C" fn tick_refused();
}

/// Bytes from a thread's start to its anchor.
const ANCHOR: usize = offset_of!(Thread, frame) + size_of::<Frame>();

/// Where a part of a thread is, from its anchor.
pub const fn at(offset: usize) -> isize {
    offset as isize - ANCHOR as isize
}

/// Where a register of a thread is, from its anchor.
pub const fn register(offset: usize) -> isize {
    offset as isize - size_of::<Frame>() as isize
}

// The value of a slot without a tag of its own begins where the slot's room for it does.
const _: () = assert!(size_of::<Option<Thread>>() == size_of::<Thread>());
const _: () = assert!(offset_of!(Endpoint, receivers) == 0 && offset_of!(Endpoint, senders) == size_of::<Queue>());
const _: () = assert!(offset_of!(crate::notify::Notification, word) == 0);

/// The anchor of the first slot.
pub(crate) fn first_anchor(threads: &mut Arena<Thread>) -> u64 {
    threads.address() + offset_of!(Slot<Thread>, value) as u64 + ANCHOR as u64
}

const SCHED: usize = offset_of!(System, sched);

/// Where the counter of interrupts is in the system.
pub const INTERRUPTS: usize = offset_of!(System, counters) + offset_of!(Counters, interrupts);
/// Where the way of line 0 is in the system; the others follow.
pub const WAYS: usize = offset_of!(System, lines) + offset_of!(crate::grants::Lines, ways);
/// Bytes of a way, in units of eight.
pub const WAY_WORDS: usize = size_of::<Route>() / 8;

/// A header that is only a label: no leases, no handle.
const LABEL: u32 = 0xffff;

/// The body of a path: assembly, in which everything has its place by name. Behind a semicolon come the operands that are the path's own.
macro_rules! code {
    ($($line:expr),+ $(,)?; $($operand:tt)*) => {
        core::arch::naked_asm!(
            $($line,)+
            // All of them are used by some path, and here by each.
            "# {epoch}{route_epoch}{route_handle}{route_endpoint}{route_tells}{calls}{receives}{signals}{polls}{head}{tail}{nil}{slot}{anchors}",
            "# {budget}{effective}{levels}{ready}{index}{alone}{state}{is_running}{is_ready}{charged_to}{current}{switches}",
            "# {mask}{waiter}{rax}{rdx}",
            epoch = const core::mem::offset_of!(crate::System, epoch),
            route_epoch = const core::mem::offset_of!(crate::thread::Route, epoch),
            route_handle = const core::mem::offset_of!(crate::thread::Route, handle),
            route_endpoint = const core::mem::offset_of!(crate::thread::Route, endpoint),
            route_tells = const core::mem::offset_of!(crate::thread::Route, tells),
            calls = const super::at(core::mem::offset_of!(crate::thread::Thread, calls)),
            receives = const super::at(core::mem::offset_of!(crate::thread::Thread, receives)),
            signals = const super::at(core::mem::offset_of!(crate::thread::Thread, signals)),
            polls = const super::at(core::mem::offset_of!(crate::thread::Thread, polls)),
            head = const core::mem::offset_of!(crate::system::Endpoint, receivers.head),
            tail = const core::mem::offset_of!(crate::system::Endpoint, receivers.tail),
            nil = const crate::queue::NIL,
            slot = const size_of::<crate::arena::Slot<crate::thread::Thread>>(),
            anchors = const core::mem::offset_of!(crate::System, anchors),
            budget = const super::at(core::mem::offset_of!(crate::thread::Thread, budget)),
            effective = const super::at(core::mem::offset_of!(crate::thread::Thread, effective)),
            levels = const super::SCHED + core::mem::offset_of!(crate::sched::Scheduler, levels),
            ready = const super::SCHED + core::mem::offset_of!(crate::sched::Scheduler, ready),
            index = const super::at(core::mem::offset_of!(crate::thread::Thread, index)),
            alone = const super::at(core::mem::offset_of!(crate::thread::Thread, alone)),
            state = const super::at(core::mem::offset_of!(crate::thread::Thread, state)),
            is_running = const crate::thread::State::RUNNING,
            is_ready = const crate::thread::State::READY,
            charged_to = const super::SCHED + core::mem::offset_of!(crate::sched::Scheduler, charged_to),
            current = const super::SCHED + core::mem::offset_of!(crate::sched::Scheduler, current),
            switches = const super::SWITCHES,
            mask = const super::at(core::mem::offset_of!(crate::thread::Thread, mask)),
            waiter = const core::mem::offset_of!(crate::notify::Notification, waiter),
            rax = const super::register(core::mem::offset_of!(crate::thread::Frame, rax)),
            rdx = const super::register(core::mem::offset_of!(crate::thread::Frame, rdx)),
            $($operand)*
        )
    };
}
use code;

const SWITCHES: usize = offset_of!(System, counters) + offset_of!(Counters, switches);

/// Charges the time up to `rax` to the running thread `r13`. The flags say what is left of its budget.
macro_rules! charge {
    () => {
        "mov rcx, rax
        sub rcx, [r15 + {charged_to}]
        mov [r15 + {charged_to}], rax
        mov r11, [r13 + {budget}]
        sub [r11], rcx"
    };
}
use charge;

/// On to 9 unless there is something left of the budget of the thread `rbp`; then its level is in `ecx`. The running thread has been charged:
/// the budget may be the same.
macro_rules! awake {
    () => {
        "mov r11, [rbp + {budget}]
        cmp qword ptr [r11], 0
        jle 9f
        movzx ecx, byte ptr [rbp + {effective}]"
    };
}
use awake;

/// The thread `rbp` runs in place of another.
macro_rules! switch {
    () => {
        "mov word ptr [rbp + {state}], {is_running}
        mov ecx, [rbp + {index}]
        mov [r15 + {current}], cx
        inc qword ptr [r15 + {switches}]"
    };
}
use switch;
