//! Host tests: each operation by itself, data structures against simple models, and the whole against its invariants.

mod acpi;
mod archive;
mod arena;
mod clock;
mod deadline;
mod debug;
mod explore;
mod fast;
mod frames;
mod handles;
mod host;
mod image;
mod ipc;
mod leases;
mod lifecycle;
mod log;
mod memory;
mod messages;
mod notify;
mod partners;
mod queue;
mod quick;
mod quotas;
mod ram;
mod release;
mod sched;
mod shares;
mod steps;
mod timers;
mod verify;
mod world;

use crate::addr::AddressSpace;
use crate::arena::Id;
use crate::clock::Clock;
use crate::frames::{Chain, Frames, Link};
use crate::handles::{Handle, NewHandle, Object};
use crate::lines::Line;
use crate::number::HandleNumber;
use crate::system::check::check;
use crate::task::Tasks;
use crate::thread::{State, ThreadIndex, TrapFrame};
use crate::{Row, System};
use abi::error::DeathKind;
use abi::manifest::{Grant, Restart, TaskRecord};
use abi::message::{Header, Kind, Kinds, Lease, ReplyToken, Rights, pack_transfer};
use abi::{Status, info};
use zerocopy::FromZeros;

/// Tests name rows by their numbers.
impl From<u8> for Line {
    fn from(number: u8) -> Self {
        Line::new(number)
    }
}

impl From<u16> for Row {
    fn from(number: u16) -> Self {
        Row::new(number)
    }
}

/// Tests change rows that are there.
impl core::ops::IndexMut<Row> for Tasks {
    fn index_mut(&mut self, row: Row) -> &mut Self::Output {
        self.get_mut(row).expect("a row of the table")
    }
}

/// The number with further bits set.
fn altered(number: HandleNumber, bits: u64) -> HandleNumber {
    HandleNumber::from_register(number.to_u64() | bits)
}

/// A frequency at which a cycle is a nanosecond.
const HERTZ: u64 = 1_000_000_000;

/// The handle of a task's own endpoint.
const OWN: HandleNumber = HandleNumber::from_register(info::ENDPOINT as u64);
/// The handle of a task's own notification.
const NOTE: HandleNumber = HandleNumber::from_register(info::NOTIFICATION as u64);
/// The handle of the first peer.
const PEER: HandleNumber = HandleNumber::from_register(2);

/// A task with room for everything.
fn record(name: &str, priority: u8, calls: &[u8]) -> TaskRecord {
    let mut r = TaskRecord::new_zeroed();
    r.name = abi::name_from(name).unwrap();
    r.priority = priority;
    (r.frame_quota, r.stack_frames, r.handle_quota, r.object_quota) = (16, 1, 8, 8);
    r.restart = Restart::Always as u8;
    for &peer in calls {
        assert!(r.add(Grant::peer("", peer.into())));
    }
    r
}

/// Frames `0..count`, all free.
fn frames(count: usize) -> Frames {
    let mut frames = Frames::new(Box::leak(vec![Link::default(); count].into_boxed_slice()));
    frames.add(0..count as u64);
    frames
}

/// A system with 64 frames and a clock of one cycle per nanosecond.
fn system(records: &[TaskRecord]) -> System {
    System::new(records, frames(64), Clock::new(0, HERTZ))
}

/// A server, two clients of it, of which the second may call the first too; all run, and take every kind of handle. Returns their first threads.
fn trio() -> (System, [ThreadIndex; 3]) {
    let mut s = system(&[record("server", 1, &[]), record("client", 5, &[0]), record("other", 6, &[0, 1])]);
    let threads = [0, 1, 2].map(|row| spawn(&mut s, row));
    threads.iter().for_each(|&thread| s.endpoint_takes(thread, OWN, Kinds::all().bits().into()).unwrap());
    (s, threads)
}

/// Begins a life with handles to its peers' endpoints, two frames and a thread.
fn spawn(s: &mut System, row: impl Into<Row>) -> ThreadIndex {
    try_spawn(s, row).unwrap()
}

fn try_spawn(s: &mut System, row: impl Into<Row>) -> Result<ThreadIndex, Status> {
    let row = row.into();
    begin(s, row)?;
    start(s, row)
}

/// What comes before the first thread.
fn begin(s: &mut System, row: impl Into<Row>) -> Result<(), Status> {
    let row = row.into();
    s.begin(row)?;
    s.set_space(row, AddressSpace::OF_TESTS)?;
    let record = s.tasks[row].record;
    for peer in record.peers() {
        let endpoint = s.tasks[Row::new(peer)].endpoint.unwrap();
        let rights = Rights::CALL | Rights::GRANT;
        s.handle_insert(row, Handle::new(Object::Endpoint(endpoint), rights))?;
    }
    for _ in 0..2 {
        let task = &mut s.tasks[row];
        task.frames.take(1, Status::QuotaFrames)?;
        s.frames.alloc(&mut task.chain).ok_or(Status::OutOfMemory)?;
    }
    Ok(())
}

fn start(s: &mut System, row: impl Into<Row>) -> Result<ThreadIndex, Status> {
    let row = row.into();
    let id = s.thread_start(row, TrapFrame::default(), s.tasks[row].record.priority)?;
    let mut from = Some(Row::new(0));
    while let Some(peer) = from {
        from = s.announce(row, peer);
    }
    Ok(id.index())
}

/// A further thread at the task's own priority.
fn thread(s: &mut System, row: impl Into<Row>) -> ThreadIndex {
    let row = row.into();
    let priority = s.tasks[row].record.priority;
    s.thread_start(row, TrapFrame::default(), priority).unwrap().index()
}

fn kill(s: &mut System, row: impl Into<Row>) {
    let row = row.into();
    s.blame(row, None, DeathKind::Killed);
    s.kill(row);
}

fn reap(s: &mut System, row: impl Into<Row>) {
    let row = row.into();
    while s.reap_some(row, 1, 1).unwrap() != 0 {}
}

/// Puts a ready thread on the processor, whoever's turn it is.
fn run(s: &mut System, thread: ThreadIndex) {
    if s.current() == Some(thread) {
        return;
    }
    assert_eq!(s.threads.at(thread).unwrap().state, State::Ready, "only a ready thread can run");
    s.charge();
    let before = s.current();
    s.unschedule(thread);
    let t = s.threads.at_mut(thread).unwrap();
    t.state = State::Running;
    crate::system::sched::place(t, &s.sched.accounts[t.task.index()]);
    s.sched.current = thread;
    if let Some(before) = before {
        s.make_ready(before);
    }
}

fn frame(s: &mut System, thread: ThreadIndex) -> &mut TrapFrame {
    &mut s.threads.at_mut(thread).unwrap().frame
}

fn state(s: &System, thread: ThreadIndex) -> State {
    s.threads.at(thread).unwrap().state
}

/// Whether a thread can go on, and with which status its system call ended.
fn woken(s: &System, thread: ThreadIndex) -> Option<Status> {
    let t = s.threads.at(thread).unwrap();
    let runs = matches!(t.state, State::Ready | State::Running);
    runs.then(|| Status::from_u32(t.frame.rax as u32).unwrap())
}

/// What a message looks like in the registers.
#[derive(Clone, Copy, Debug, Default)]
struct Message {
    label: u16,
    words: [u64; 4],
    give: Option<(HandleNumber, Rights)>,
    /// The kind that the header names; 0 for the true one.
    says: u64,
    wants: Option<Kind>,
    leases: &'static [Lease],
}

impl Message {
    fn words(words: [u64; 4]) -> Self {
        Message { label: 7, words, ..Message::default() }
    }

    fn giving(self, handle: HandleNumber, rights: Rights) -> Self {
        Message { give: Some((handle, rights)), ..self }
    }

    fn saying(self, kind: u64) -> Self {
        Message { says: kind, ..self }
    }

    fn wanting(self, kind: Kind) -> Self {
        Message { wants: Some(kind), ..self }
    }

    fn lending(self, leases: &'static [Lease]) -> Self {
        Message { leases, ..self }
    }

    fn put(self, s: &mut System, thread: ThreadIndex) {
        let mut header = Header::new(self.label).with_leases(self.leases.len());
        if let Some(kind) = self.wants {
            header = header.wanting(kind);
        }
        if let Some((handle, _)) = self.give {
            let kind = s.handle(thread, handle).map_or(Kind::Memory, |handle| handle.object.kind());
            header = match Kind::from_u64(self.says) {
                Some(kind) => header.with_handle(kind),
                None => header.with_handle(kind),
            };
        }
        let f = frame(s, thread);
        f.rsi = header.0;
        f.set_words(self.words);
        if !self.leases.is_empty() {
            f.r8 = self.leases.as_ptr() as u64;
        }
        f.r10 = self.give.map_or(0, |(handle, rights)| pack_transfer(handle.to_u32(), rights));
    }
}

/// The status that the kernel around would put into `rax`.
fn finish(s: &mut System, thread: ThreadIndex, result: Result<(), Status>) -> Result<(), Status> {
    if let Err(status) = result {
        frame(s, thread).rax = status as u64;
    }
    result
}

fn call(s: &mut System, thread: ThreadIndex, handle: HandleNumber, message: Message) -> Result<(), Status> {
    run(s, thread);
    message.put(s, thread);
    let f = frame(s, thread);
    f.rdi = handle.to_u64();
    let result = s.call(thread, message.leases);
    finish(s, thread, result)
}

/// How what happens most often is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// By the general operations alone.
    General,
    /// By those of [`crate::system::direct`] where they do it.
    Direct,
    /// By the assembly, where there is some, and else by those.
    Assembly,
}

impl By {
    /// All that there is to it, or only the general operations.
    fn of(fast: bool) -> By {
        if fast { By::Assembly } else { By::General }
    }
}

/// Whether a message without a handle was done by those of [`crate::system::direct`], or by assembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Went {
    /// No: the general path is to decide.
    Not,
    /// It was, and the one partner runs.
    Over,
    /// It was, and is queued; or another that was queued is received.
    Queued,
}

impl Went {
    fn of(over: bool, queued: impl FnOnce() -> bool) -> Went {
        match over {
            true => Went::Over,
            false if queued() => Went::Queued,
            false => Went::Not,
        }
    }
}

/// `call`, as the kernel does it before the general path.
fn fast_call(s: &mut System, thread: ThreadIndex, handle: HandleNumber, message: Message, by: By) -> Went {
    run(s, thread);
    message.put(s, thread);
    let f = frame(s, thread);
    f.rdi = handle.to_u64();
    let _ = s.cache_to_call(thread, handle);
    if by == By::General {
        return Went::Not;
    }
    let over = host::call(s, by);
    Went::of(over, || {
        let lent = message.leases;
        s.threads.at_mut(thread).unwrap().leases[..lent.len()].copy_from_slice(lent);
        armed(s, System::direct_call_lending)
    })
}

/// Arms the timer for the running thread, as the kernel does.
fn arm(s: &mut System) -> Option<u64> {
    let current = s.current().expect("somebody runs");
    if s.entering(current).is_some_and(|entering| entering.armed) { None } else { s.arm() }
}

/// Does something on a fast path. Where a test has not armed the timer, it interrupts right afterwards.
fn armed<T>(s: &mut System, f: impl FnOnce(&mut System) -> T) -> T {
    let unarmed = s.sched.deadline.at == crate::deadline::NEVER;
    if unarmed {
        s.sched.deadline.at = s.now + 1;
    }
    let done = f(s);
    if unarmed {
        s.sched.deadline.at = crate::deadline::NEVER;
    }
    done
}

/// The same for `reply_recv`.
fn fast_reply_recv(
    s: &mut System,
    thread: ThreadIndex,
    (handle, token, mask): (HandleNumber, u64, u64),
    message: Message,
    by: By,
) -> Went {
    run(s, thread);
    message.put(s, thread);
    let f = frame(s, thread);
    (f.rdi, f.r8, f.r9) = (handle.to_u64(), token, mask);
    let _ = s.cache_to_receive(thread, handle);
    if by == By::General {
        return Went::Not;
    }
    let over = host::reply_recv(s, by);
    Went::of(over, || armed(s, System::direct_reply_queued))
}

/// `poll`.
fn poll(s: &mut System, thread: ThreadIndex, handle: HandleNumber, mask: u64, by: By) -> (bool, Result<u64, Status>) {
    run(s, thread);
    let f = frame(s, thread);
    (f.rdi, f.rsi) = (handle.to_u64(), mask);
    let _ = s.cache_notification(thread, handle, Rights::WAIT);
    let nothing = by != By::General && host::poll(s, by);
    let result = s.poll_running(handle, mask);
    assert!(!nothing || result == Ok(0), "{result:?} is not nothing");
    let f = frame(s, thread);
    f.rax = result.err().unwrap_or(Status::Ok) as u64;
    f.rdx = result.unwrap_or(f.rdx);
    (nothing, result)
}

/// `signal`, as [`fast_call`].
fn signal(s: &mut System, thread: ThreadIndex, handle: HandleNumber, bits: u64, by: By) -> (bool, Result<(), Status>) {
    run(s, thread);
    let f = frame(s, thread);
    (f.rdi, f.rsi) = (handle.to_u64(), bits);
    let _ = s.cache_notification(thread, handle, Rights::SIGNAL);
    if by != By::General && host::signal(s, by) {
        return (true, Ok(()));
    }
    frame(s, thread).rax = Status::Ok as u64;
    let result = s.signal_by(thread, handle, bits);
    if let Err(status) = result {
        frame(s, thread).rax = status as u64;
    }
    (false, result)
}

/// The same for `yield`.
fn take_turns(s: &mut System, thread: ThreadIndex, by: By) -> bool {
    run(s, thread);
    if by != By::General && host::take_turns(s, by) {
        return true;
    }
    frame(s, thread).rax = Status::Ok as u64;
    s.yield_now();
    false
}

/// The same for an interrupt. Where nobody runs there is no fast path.
fn interrupt(s: &mut System, line: Line, by: By) -> bool {
    if by != By::General && s.current().is_some() && host::interrupt(s, line, by) {
        return true;
    }
    s.interrupt(line);
    false
}

fn send(s: &mut System, thread: ThreadIndex, handle: HandleNumber, message: Message) -> Result<(), Status> {
    run(s, thread);
    message.put(s, thread);
    let f = frame(s, thread);
    f.rdi = handle.to_u64();
    let result = s.send(thread);
    finish(s, thread, result)
}

fn recv(s: &mut System, thread: ThreadIndex, handle: HandleNumber, mask: u64) -> Result<(), Status> {
    run(s, thread);
    let result = loop {
        match s.recv(thread, handle, mask) {
            Ok(false) => {}
            other => break other.map(drop),
        }
    };
    finish(s, thread, result)
}

fn reply(s: &mut System, thread: ThreadIndex, token: u64, message: Message) -> Result<(), Status> {
    run(s, thread);
    message.put(s, thread);
    let result = s.reply(thread, ReplyToken(token));
    finish(s, thread, result)
}

fn wait(s: &mut System, thread: ThreadIndex, handle: HandleNumber, mask: u64) -> Result<(), Status> {
    run(s, thread);
    frame(s, thread).rax = 0;
    let result = s.wait(thread, handle, mask);
    finish(s, thread, result)
}

/// The task's own notification.
fn note(s: &System, row: impl Into<Row>) -> Id<crate::notify::Notification> {
    s.tasks[row.into()].notification.unwrap()
}

/// A memory object of so many frames; the handle.
fn memory(s: &mut System, row: impl Into<Row>, pages: u32) -> Result<HandleNumber, Status> {
    let row = row.into();
    let mut create = s.memory_begin(row, pages, false)?;
    while s.memory_frame(&mut create)?.is_some() {}
    s.memory_finish(row, create).map(NewHandle::number)
}

/// The invariants, as an assertion.
#[track_caller]
fn sound(s: &System) {
    if let Err(what) = check(s) {
        panic!("{what}");
    }
}

/// Numbers that look random and are the same each time (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end
    }
}
