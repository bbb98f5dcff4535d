//! Where the assembly of `kernel/src/arch/message.rs` and `notify.rs` finds what it needs: all that it knows of this crate, in bytes. What it does with it
//! is in [`crate::direct`].

use crate::account::{Account, Left};
use crate::addr::AddressSpace;
use crate::arena::Slot;
use crate::clock::Clock;
use crate::lines::{LineCache, Lines};
use crate::notify::Notification;
use crate::queue::Queue;
use crate::sched::Scheduler;
use crate::system::{Counters, Endpoint, System};
use crate::thread::{EndpointCache, NotificationCache, State, Thread, TrapFrame};
use crate::timer::Timers;
use core::mem::offset_of;

/// Bytes from a thread's slot to its frame end, the end of its [`TrapFrame`]: where TSS.RSP0 points while it runs. A thread is named by it there.
pub const FRAME_END: usize = offset_of!(Slot<Thread>, value) + offset_of!(Thread, frame) + size_of::<TrapFrame>();

/// Where a part of a thread is, from its frame end.
const fn at(offset: usize) -> isize {
    (offset_of!(Slot<Thread>, value) + offset) as isize - FRAME_END as isize
}

/// Where a register of a thread is, from its frame end.
pub const fn register(offset: usize) -> isize {
    offset as isize - size_of::<TrapFrame>() as isize
}

// The value of a slot without a tag of its own begins where the slot's room for it does.
const _: () = assert!(size_of::<Option<Thread>>() == size_of::<Thread>());
const _: () = assert!(size_of::<Option<Endpoint>>() == size_of::<Endpoint>());
const _: () = assert!(size_of::<State>() == 8 && offset_of!(Endpoint, senders) == size_of::<Queue>());

/// Bytes of a thread's slot.
pub const THREAD_SLOT: usize = size_of::<Slot<Thread>>();
/// Generation of a thread's slot, from the frame end: four bytes, odd where there is a thread.
pub const THREAD_GENERATION: isize = offset_of!(Slot<Thread>, generation) as isize - FRAME_END as isize;
/// `budget`: four bytes, from the first account.
pub const BUDGET: isize = at(offset_of!(Thread, budget));
/// `effective`: a byte.
pub const EFFECTIVE: isize = at(offset_of!(Thread, effective));
/// `token`: eight bytes.
pub const TOKEN: isize = at(offset_of!(Thread, token));
/// `state`: eight bytes.
pub const STATE: isize = at(offset_of!(Thread, state));
/// The first two bytes of the state of the running thread.
pub const RUNNING: u16 = State::RUNNING;
/// `awaited`: the state of who waits for an answer of this thread's task, of which the first four bytes count.
pub const AWAITED: isize = at(offset_of!(Thread, awaited));
/// `alone`: four bytes, the queue of this thread alone.
pub const ALONE: isize = at(offset_of!(Thread, alone));
/// `mask`: eight bytes.
pub const MASK: isize = at(offset_of!(Thread, mask));
/// `last_sent`: label and handle, four bytes each.
pub const LAST_SENT: isize = at(offset_of!(Thread, last_sent));
/// `last_received`: label and sender, four bytes each.
pub const LAST_RECEIVED: isize = at(offset_of!(Thread, last_received));
/// What CR3 holds while the thread runs: eight bytes.
pub const SPACE: isize = at(offset_of!(Thread, space) + offset_of!(AddressSpace, cr3));
/// `extras`: a byte.
pub const EXTRAS: isize = at(offset_of!(Thread, extras));

/// `task`: two bytes.
pub const TASK: isize = at(offset_of!(Thread, task));
/// The first two bytes of the state of a ready thread.
pub const IS_READY: u16 = State::READY;
/// The first two bytes of the state of a thread that waits for a notification.
pub const IS_WAITING: u16 = State::WAITING;
/// Where it last signalled; its parts follow.
pub const SIGNALS: isize = at(offset_of!(Thread, signals));
/// Where it last polled.
pub const POLLS: isize = at(offset_of!(Thread, polls));
/// Of that: the handle, eight bytes.
pub const NOTIFICATION_CACHE_HANDLE: usize = offset_of!(NotificationCache, handle);
/// Of that: how many handles the task had closed, eight bytes.
pub const NOTIFICATION_CACHE_CLOSED: usize = offset_of!(NotificationCache, closed);
/// Of that: the place of the notification's slot, four bytes.
pub const NOTIFICATION_CACHE_PLACE: usize = offset_of!(NotificationCache, place);
/// Of that: the notification's generation, four bytes.
pub const NOTIFICATION_CACHE_GENERATION: usize = offset_of!(NotificationCache, generation);

/// Of that: the bits that cannot be set by the handle, eight bytes.
pub const NOTIFICATION_CACHE_NEVER: usize = offset_of!(NotificationCache, never);

/// The cached lookup of the last call's handle; its parts follow.
pub const CALLS: isize = at(offset_of!(Thread, calls));
/// That of the handle by which it last received.
pub const RECEIVES: isize = at(offset_of!(Thread, receives));
/// Of a cached endpoint: the handle, eight bytes.
pub const ENDPOINT_CACHE_HANDLE: usize = offset_of!(EndpointCache, handle);
/// Of a cached endpoint: how many handles the task had closed, eight bytes.
pub const ENDPOINT_CACHE_CLOSED: usize = offset_of!(EndpointCache, closed);
/// Of a cached endpoint: the place of the endpoint's slot, four bytes.
pub const ENDPOINT_CACHE_PLACE: usize = offset_of!(EndpointCache, place);
/// Of a cached endpoint: the endpoint's generation, four bytes.
pub const ENDPOINT_CACHE_GENERATION: usize = offset_of!(EndpointCache, generation);
/// Of a cached endpoint: what the server is told, eight bytes.
pub const ENDPOINT_CACHE_TELLS: usize = offset_of!(EndpointCache, tells);
/// Of a cached endpoint: the state of who waits there, eight bytes.
pub const ENDPOINT_CACHE_WAITS: usize = offset_of!(EndpointCache, waits);

/// Of an endpoint's slot: both queues, of receivers and of senders, two times two bytes each.
pub const QUEUES: usize = offset_of!(Slot<Endpoint>, value) + offset_of!(Endpoint, receivers);
/// Of an endpoint's slot: who came last to the queue of receivers, two bytes.
pub const TAIL: usize = QUEUES + offset_of!(Queue, tail);
/// A queue in which nobody waits. The ends of one of a single thread are the same, of all others they differ.
pub const NOBODY: u32 = Queue::NOBODY.head as u32 | (Queue::NOBODY.tail as u32) << 16;
/// Of an endpoint's slot: the word of the notification, eight bytes.
pub const BITS: usize = offset_of!(Slot<Endpoint>, value) + offset_of!(Endpoint, bits);
/// Of an endpoint's slot: its generation, four bytes.
pub const ENDPOINT_GENERATION: usize = offset_of!(Slot<Endpoint>, generation);

/// Words of an endpoint's slot.
pub const ENDPOINT_WORDS: usize = size_of::<Slot<Endpoint>>() / 8;

/// Of a notification's slot: its generation, four bytes.
pub const NOTE_GENERATION: usize = offset_of!(Slot<Notification>, generation);
/// Of a notification's slot: its word, eight bytes.
pub const NOTE_WORD: usize = offset_of!(Slot<Notification>, value) + offset_of!(Notification, word);
/// Of a notification's slot: the queue of who waits, four bytes.
pub const NOTE_WAITER: usize = offset_of!(Slot<Notification>, value) + offset_of!(Notification, waiter);
/// Of a notification's slot: the place of the endpoint's slot, four bytes, all ones where there is none.
pub const NOTE_BOUND: usize = offset_of!(Slot<Notification>, value) + offset_of!(Notification, bound_place);
const _: () = assert!(size_of::<Option<Notification>>() == size_of::<Notification>());

/// Of the system: the queues of who is ready, four bytes each.
pub const READY: usize = offset_of!(System, sched) + offset_of!(Scheduler, ready);
/// Levels from this one on are below all priorities.
pub const RETURNING: u8 = crate::sched::RETURNING;
/// Of the system: when a tick is to do more, eight bytes.
pub const LOOK_AT: usize = offset_of!(System, sched) + offset_of!(Scheduler, look_at);
/// Of the system: how many dead lives are being released, four bytes.
pub const RELEASING: usize = offset_of!(System, releasing);
/// Of the system: the next deadline, eight bytes.
pub const TIMERS_FIRST: usize = offset_of!(System, timers) + offset_of!(Timers, first);
/// Of the system: when the clock began, eight bytes.
pub const CLOCK_BASE: usize = offset_of!(System, clock) + offset_of!(Clock, base);
/// Of the system: nanoseconds a cycle times 2^32, eight bytes.
pub const CLOCK_MULT: usize = offset_of!(System, clock) + offset_of!(Clock, mult);
/// Of the system: how many interrupts there were, eight bytes.
pub const INTERRUPTS: usize = offset_of!(System, counters) + offset_of!(Counters, interrupts);
/// Of the system: how often another thread has been handed the core, eight bytes.
pub const SWITCHES: usize = offset_of!(System, counters) + offset_of!(Counters, switches);
/// Of the system: where the bits of line 0 go, sixteen bytes; those of the others follow.
pub const LINE_CACHES: usize = offset_of!(System, lines) + offset_of!(Lines, caches);
/// Of that: the bits, eight bytes.
pub const LINE_BITS: usize = offset_of!(LineCache, bits);
/// Of that: the place of the notification's slot, eight bytes, all ones where the general path is to look.
pub const LINE_PLACE: usize = offset_of!(LineCache, place);
const _: () = assert!(size_of::<LineCache>() == 16);

const SCHED: usize = offset_of!(System, sched);
/// Of the system: what is left on the first account, eight bytes.
pub const LEFT: usize = SCHED + offset_of!(Scheduler, accounts) + offset_of!(Left, cycles);
/// Of the system: how many handles the task of the first account has closed, eight bytes.
pub const CLOSED: usize = SCHED + offset_of!(Scheduler, accounts) + offset_of!(Left, closed);
/// Of the system: up to when the running thread is charged, eight bytes.
pub const CHARGED_TO: usize = SCHED + offset_of!(Scheduler, charged_to);
/// Of the system: a bit for each level at which somebody is ready, eight bytes.
pub const LEVELS: usize = SCHED + offset_of!(Scheduler, levels);
/// Of the system: who runs, two bytes.
pub const CURRENT: usize = SCHED + offset_of!(Scheduler, current);

const _: () = assert!(align_of::<Account>() == 8);
