//! The offsets, in bytes, by which the assembly in `kernel/src/arch` (`message.rs`, `notify.rs`,
//! `interrupt.rs`, `switch.rs`, and the pieces of it in `fast.rs`) accesses the state of this
//! crate. It depends on nothing else of this crate. What it does is specified in
//! [`crate::system::direct`].

use crate::account::{Account, Left};
use crate::addr::AddressSpace;
use crate::arena::Slot;
use crate::deadline::Deadline;
use crate::endpoint::Endpoint;
use crate::lines::{LineCache, Lines};
use crate::notify::Notification;
use crate::queue::Queue;
use crate::sched::Scheduler;
use crate::system::{Counters, System};
use crate::thread::{EndpointCache, Lookup, NotificationCache, State, Thread, TrapFrame};
use core::mem::offset_of;

/// Offset of a thread's frame end in its slot: the end of its [`TrapFrame`], to which TSS.RSP0
/// points while the thread runs. The assembly refers to a thread by the address of its frame end.
pub const FRAME_END: usize = offset_of!(Slot<Thread>, value) + offset_of!(Thread, frame) + size_of::<TrapFrame>();

/// The offset of a field of [`Thread`] from the frame end.
const fn at(offset: usize) -> isize {
    (offset_of!(Slot<Thread>, value) + offset) as isize - FRAME_END as isize
}

/// The offset of a saved register from the frame end. `offset` is that of the register in
/// [`TrapFrame`].
pub const fn register(offset: usize) -> isize {
    offset as isize - size_of::<TrapFrame>() as isize
}

// These options have no tag of their own, so the value is at offset 0 of the slot's `Option`.
const _: () = assert!(size_of::<Option<Thread>>() == size_of::<Thread>());
const _: () = assert!(size_of::<Option<Endpoint>>() == size_of::<Endpoint>());
const _: () = assert!(size_of::<State>() == 4 && offset_of!(Endpoint, senders) == size_of::<Queue>());

/// Size of a thread's slot.
pub const THREAD_SLOT: usize = size_of::<Slot<Thread>>();
/// Offset from the frame end of the lowest byte of the generation of a thread's slot: odd while
/// there is a thread.
pub const THREAD_GENERATION: isize = (offset_of!(Slot<Thread>, name) + size_of::<u16>()) as isize - FRAME_END as isize;
/// Offset from the frame end of `budget`: four bytes, an offset from the first account.
pub const BUDGET: isize = at(offset_of!(Thread, budget));
/// Offset from the frame end of `effective`: one byte.
pub const EFFECTIVE: isize = at(offset_of!(Thread, effective));
/// Offset from the frame end of `token`: eight bytes.
pub const TOKEN: isize = at(offset_of!(Thread, token));
/// Offset from the frame end of `state`: four bytes.
pub const STATE: isize = at(offset_of!(Thread, state));
/// The first two bytes of the `state` of a running thread.
pub const RUNNING: u16 = State::RUNNING;
/// Offset from the frame end of `awaited`: the state of a thread that waits for an answer of this
/// thread's task: four bytes.
pub const AWAITED: isize = at(offset_of!(Thread, awaited));
/// Offset from the frame end of `alone`: four bytes, the queue that holds this thread alone.
pub const ALONE: isize = at(offset_of!(Thread, alone));
/// Offset from the frame end of `mask`: eight bytes.
pub const MASK: isize = at(offset_of!(Thread, mask));
/// Offset from the frame end of `last_sent`: label and handle, four bytes each.
pub const LAST_SENT: isize = at(offset_of!(Thread, last_sent));
/// Offset from the frame end of `last_received`: label and sender, four bytes each.
pub const LAST_RECEIVED: isize = at(offset_of!(Thread, last_received));
/// Offset from the frame end of the CR3 value of the thread's address space: eight bytes.
pub const SPACE: isize = at(offset_of!(Thread, space) + offset_of!(AddressSpace, cr3));
/// Offset from the frame end of `extras`: one byte.
pub const EXTRAS: isize = at(offset_of!(Thread, extras));

/// Offset from the frame end of `task`: two bytes.
pub const TASK: isize = at(offset_of!(Thread, task));
/// The first two bytes of the `state` of a ready thread.
pub const IS_READY: u16 = State::READY;
/// The first two bytes of the `state` of a thread that waits on a notification.
pub const IS_WAITING: u16 = State::WAITING;
/// Offset from the frame end of `signals`, a [`NotificationCache`].
pub const SIGNALS: isize = at(offset_of!(Thread, signals));
/// Offset from the frame end of `polls`, a [`NotificationCache`].
pub const POLLS: isize = at(offset_of!(Thread, polls));
/// Offset of the handle in a cached lookup of either kind: eight bytes.
pub const LOOKUP_HANDLE: usize = offset_of!(Lookup, handle);
/// Offset of the number of closed handles in a cached lookup: eight bytes.
pub const LOOKUP_CLOSED: usize = offset_of!(Lookup, closed);
/// Offset of the object's place in a cached lookup: four bytes.
pub const LOOKUP_PLACE: usize = offset_of!(Lookup, place);
/// Offset of the object's name in a cached lookup: eight bytes.
pub const LOOKUP_NAME: usize = offset_of!(Lookup, name);
const _: () = assert!(offset_of!(NotificationCache, found) == 0 && offset_of!(EndpointCache, found) == 0);
/// Offset of the bits that cannot be set in a [`NotificationCache`]: eight bytes.
pub const NOTIFICATION_CACHE_NEVER: usize = offset_of!(NotificationCache, never);

/// Offset from the frame end of `calls`, an [`EndpointCache`].
pub const CALLS: isize = at(offset_of!(Thread, calls));
/// Offset from the frame end of `receives`, an [`EndpointCache`].
pub const RECEIVES: isize = at(offset_of!(Thread, receives));
/// Offset of the sender value for the server in an [`EndpointCache`]: eight bytes.
pub const ENDPOINT_CACHE_TELLS: usize = offset_of!(EndpointCache, tells);
/// Offset of the state of a waiting thread in an [`EndpointCache`]: four bytes.
pub const ENDPOINT_CACHE_WAITS: usize = offset_of!(EndpointCache, waits);

/// Offset in an endpoint's slot of its two queues, receivers first: four bytes each.
pub const QUEUES: usize = offset_of!(Slot<Endpoint>, value) + offset_of!(Endpoint, receivers);
/// Offset in an endpoint's slot of the tail of its queue of receivers: two bytes.
pub const TAIL: usize = QUEUES + offset_of!(Queue, tail);
/// The four bytes of an empty queue. Head and tail of a queue are equal only if it holds exactly
/// one thread.
pub const NOBODY: u32 = Queue::NOBODY.head.number() as u32 | (Queue::NOBODY.tail.number() as u32) << 16;
/// Offset in an endpoint's slot of its copy of the notification's word: eight bytes.
pub const BITS: usize = offset_of!(Slot<Endpoint>, value) + offset_of!(Endpoint, bits);
/// Offset in an endpoint's slot of its name: eight bytes.
pub const ENDPOINT_NAME: usize = offset_of!(Slot<Endpoint>, name);

/// Size of an endpoint's slot in words of eight bytes.
pub const ENDPOINT_WORDS: usize = size_of::<Slot<Endpoint>>() / 8;

/// Offset in a notification's slot of its name: eight bytes.
pub const NOTE_NAME: usize = offset_of!(Slot<Notification>, name);
/// Offset in a notification's slot of its word: eight bytes.
pub const NOTE_WORD: usize = offset_of!(Slot<Notification>, value) + offset_of!(Notification, word);
/// Offset in a notification's slot of the queue of its waiter: four bytes.
pub const NOTE_WAITER: usize = offset_of!(Slot<Notification>, value) + offset_of!(Notification, waiter);
/// Offset in a notification's slot of the place of its endpoint: four bytes, all ones if it is
/// bound to none.
pub const NOTE_BOUND: usize = offset_of!(Slot<Notification>, value) + offset_of!(Notification, bound_place);
const _: () = assert!(size_of::<Option<Notification>>() == size_of::<Notification>());

/// Offset in [`System`] of the ready queues: four bytes each.
pub const READY: usize = offset_of!(System, sched) + offset_of!(Scheduler, ready);
/// The lowest level that is below all priorities.
pub const RETURNING: u8 = crate::sched::RETURNING;
/// Offset in [`System`] of the number of dead lives that are being released: four bytes.
pub const RELEASING: usize = offset_of!(System, releasing);
/// Offset in [`System`] of the time at which the timer interrupts: eight bytes.
pub const DEADLINE: usize = offset_of!(System, sched) + offset_of!(Scheduler, deadline) + offset_of!(Deadline, at);
/// Offset in [`System`] of the counter of interrupts: eight bytes.
pub const INTERRUPTS: usize = offset_of!(System, counters) + offset_of!(Counters, interrupts);
/// Offset in [`System`] of the counter of changes of the running thread: eight bytes.
pub const SWITCHES: usize = offset_of!(System, counters) + offset_of!(Counters, switches);
/// Offset in [`System`] of the [`LineCache`] of line 0: sixteen bytes. Those of the other lines
/// follow.
pub const LINE_CACHES: usize = offset_of!(System, lines) + offset_of!(Lines, caches);
/// Offset of the bits in a [`LineCache`]: eight bytes.
pub const LINE_BITS: usize = offset_of!(LineCache, bits);
/// Offset of the notification's place in a [`LineCache`]: eight bytes, all ones if nothing is
/// cached.
pub const LINE_PLACE: usize = offset_of!(LineCache, place);
const _: () = assert!(size_of::<LineCache>() == 16);

const SCHED: usize = offset_of!(System, sched);
/// Offset in [`System`] of the cycles left on the first account: eight bytes.
pub const LEFT: usize = SCHED + offset_of!(Scheduler, accounts) + offset_of!(Left, cycles);
/// Offset in [`System`] of the number of handles that the task of the first account has closed:
/// eight bytes.
pub const CLOSED: usize = SCHED + offset_of!(Scheduler, accounts) + offset_of!(Left, closed);
/// Offset in [`System`] of the time up to which the running thread has been charged: eight bytes.
pub const CHARGED_TO: usize = SCHED + offset_of!(Scheduler, charged_to);
/// Offset in [`System`] of the bit set of levels with a ready thread: eight bytes.
pub const LEVELS: usize = SCHED + offset_of!(Scheduler, levels);
/// Offset in [`System`] of the index of the running thread: two bytes.
pub const CURRENT: usize = SCHED + offset_of!(Scheduler, current);

const _: () = assert!(align_of::<Account>() == 8);
