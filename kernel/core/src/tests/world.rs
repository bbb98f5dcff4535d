//! A small system that can be driven step by step, by whatever comes next.

use super::{By, Random, record, run, spawn, thread};
use crate::Row;
use crate::System;
use crate::addr::UserAddr;
use crate::arena::Id;
use crate::clock::Clock;
use crate::frames::{Frames, Link};
use crate::handles::{Handle, Object};
use crate::lines::Line;
use crate::lines::LineOwner;
use crate::number::HandleNumber;
use crate::sched::SEARCHED;
use crate::task::Release;
use crate::thread::{State, Thread, ThreadIndex};
use abi::manifest::Restart;
use abi::message::{Header, Kinds, ReplyToken, Rights};
use abi::task::TaskState;
use std::collections::{BTreeMap, BTreeSet};

/// Something that happens: `t` is the thread that asks for it, `n` a handle's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Call { t: ThreadIndex, n: HandleNumber, give: Option<HandleNumber> },
    Send { t: ThreadIndex, n: HandleNumber },
    Recv { t: ThreadIndex, n: HandleNumber, mask: u64 },
    Reply { t: ThreadIndex, token: u64, give: Option<HandleNumber> },
    ReplyRecv { t: ThreadIndex, n: HandleNumber, token: u64, mask: u64 },
    Wait { t: ThreadIndex, n: HandleNumber, mask: u64 },
    Poll { t: ThreadIndex, n: HandleNumber },
    Signal { t: ThreadIndex, n: HandleNumber, bits: u64 },
    Yield { t: ThreadIndex },
    Dup { t: ThreadIndex, n: HandleNumber },
    Close { t: ThreadIndex, n: HandleNumber },
    TimerCreate { t: ThreadIndex, n: HandleNumber },
    Arm { t: ThreadIndex, n: HandleNumber },
    Disarm { t: ThreadIndex, n: HandleNumber },
    ThreadCreate { t: ThreadIndex },
    ThreadExit { t: ThreadIndex },
    EndpointCreate { t: ThreadIndex },
    NotificationCreate { t: ThreadIndex },
    Bind { t: ThreadIndex, e: HandleNumber, n: HandleNumber },
    MemoryCreate { t: ThreadIndex },
    Map { t: ThreadIndex, n: HandleNumber },
    Unmap { t: ThreadIndex, addr: UserAddr },
    Priority { t: ThreadIndex, level: u8 },
    Tick,
    Interrupt(Line),
    Kill(u16),
    Reap(u16),
    Spawn(u16),
    Expect(u16, bool),
}

/// How freely the world moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Any thread that can run may be the next to act; few objects. For exhaustive search.
    AnyThread,
    /// The scheduler says who acts; few objects.
    Scheduled,
    /// The scheduler says who acts, and tasks make whatever their quotas allow.
    Rich,
}

/// A call that a server has received and not answered.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    pub caller: Id<Thread>,
    pub server: Row,
    /// How many leases came with it.
    pub lent: usize,
}

/// The system, and what an onlooker knows of it.
pub struct World {
    pub s: System,
    pub mode: Mode,
    /// How steps are done.
    pub by: By,
    /// Whether births and deaths are done in pieces, as small as there are, with other steps in between.
    pub piecemeal: bool,
    /// How many went so, by [`Fast`].
    pub went_fast: [u64; FAST],
    /// Calls received and not answered, by token.
    pub received: BTreeMap<u64, Received>,
    /// The tokens that each row remembers, good or stale.
    pub tokens: [Vec<u64>; ROWS],
    /// Every token there ever was.
    pub seen: BTreeSet<u64>,
    /// Makes words and deadlines that are each different.
    pub serial: u64,
}

/// What is done directly, and how many of that there are.
#[derive(Clone, Copy, Debug)]
pub enum Fast {
    Call,
    CallQueued,
    ReplyRecv,
    ReplyQueued,
    Signal,
    Yield,
    Interrupt,
    Poll,
}
pub const FAST: usize = 8;

/// Interrupt lines, by the row that owns them while it is alive.
pub const LINES: [Line; 2] = [Line::new(3), Line::new(4)];

/// Gives a row that comes to life its line.
pub fn claim(s: &mut System, row: Row) {
    if let Some(&line) = LINES.get(row.index()) {
        assert!(s.lines.claim(line, LineOwner { row, bits: 1 << row.number() }));
    }
}

pub const ROWS: usize = 3;
const FRAMES: usize = 32;

/// A frame table to be used again and again.
pub fn table() -> &'static mut [Link] {
    Box::leak(vec![Link::default(); FRAMES].into_boxed_slice())
}

impl World {
    /// Row 0 serves with two threads, row 1 calls it and serves row 2 by two endpoints, the second bound to a notification
    /// that row 2 holds too.
    pub fn new(table: &'static mut [Link], mode: Mode) -> World {
        let mut records = [record("server", 1, &[]), record("client", 5, &[0]), record("other", 6, &[0, 1])];
        let rich = mode == Mode::Rich;
        for (r, restart) in records.iter_mut().zip([Restart::Always, Restart::Never, Restart::OnFailure]) {
            r.restart = restart as u8;
            (r.handle_quota, r.object_quota, r.frame_quota) = if rich { (9, 7, 6) } else { (6, 4, 4) };
        }
        let mut frames = Frames::new(table);
        frames.add(0..FRAMES as u64);
        let mut s = System::new(&records, frames, Clock::new(0, super::HERTZ));
        let server = spawn(&mut s, 0);
        thread(&mut s, 0);
        let client = spawn(&mut s, 1);
        // The endpoint that row 1 makes takes nothing.
        for (thread, kinds) in [(server, Kinds::all()), (client, Kinds::MEMORY)] {
            s.endpoint_takes(thread, super::OWN, kinds.bits().into()).unwrap();
        }
        spawn(&mut s, 2);
        let e = s.endpoint_create(client).unwrap().number();
        let n = s.notification_create(client).unwrap().number();
        s.endpoint_bind(client, e, n).unwrap();
        // By its handle, row 2 can set bit 0 alone.
        for (number, rights) in [(e, Rights::CALL), (n, Rights::SIGNAL | Rights::WAIT)] {
            let object = s.handle(client, number).unwrap().object;
            s.handle_insert(Row::new(2), Handle { object, rights: rights | Rights::GRANT, badge: 9, bits: 1 }).unwrap();
        }
        claim(&mut s, Row::new(0));
        claim(&mut s, Row::new(1));
        if mode != Mode::AnyThread {
            let _ = s.schedule(SEARCHED);
            let _ = super::arm(&mut s);
        }
        let (received, seen) = (BTreeMap::new(), BTreeSet::new());
        World {
            s,
            mode,
            by: By::General,
            piecemeal: false,
            went_fast: [0; FAST],
            received,
            tokens: Default::default(),
            seen,
            serial: 0,
        }
    }

    /// Gives the frame table back.
    pub fn into_table(self) -> &'static mut [Link] {
        self.s.frames.into_table()
    }

    /// Everything that may happen next.
    pub fn ops(&self) -> Vec<Op> {
        let mut ops = vec![Op::Tick];
        if self.mode != Mode::AnyThread {
            ops.extend(
                LINES.iter().filter(|&&line| self.s.lines.owner(line).is_some()).map(|&line| Op::Interrupt(line)),
            );
        }
        for (row, task) in self.s.tasks.iter().enumerate() {
            let r = row as u16;
            match task.state {
                TaskState::Running => ops.push(Op::Kill(r)),
                TaskState::Starting => ops.extend([Op::Kill(r), Op::Spawn(r)]),
                TaskState::Dead => ops.push(Op::Reap(r)),
                TaskState::Empty => ops.push(Op::Spawn(r)),
            }
            ops.push(Op::Expect(r, !task.expected));
        }
        for (id, t) in self.s.threads.iter() {
            let acts = match self.mode {
                Mode::AnyThread => matches!(t.state, State::Ready | State::Running) && !self.s.is_dead(id.index()),
                _ => self.s.current() == Some(id.index()),
            };
            if acts {
                self.ops_of(id.index(), t.task, &mut ops);
            }
        }
        ops
    }

    fn ops_of(&self, t: ThreadIndex, row: Row, ops: &mut Vec<Op>) {
        let (task, rich) = (&self.s.tasks[row], self.mode == Mode::Rich);
        let extra = |h: &Handle| match h.object {
            Object::Endpoint(id) => Some(id) != task.endpoint && self.s.endpoints.get(id).is_none_or(|e| !e.permanent),
            Object::Notification(id) => Some(id) != task.notification,
            Object::Memory(_) => true,
            _ => false,
        };
        let gift = task.handles.numbered().filter(|(_, h)| h.rights.contains(Rights::GRANT) && extra(h)).map(|g| g.0);
        let gifts: Vec<HandleNumber> = gift.take(if rich { 4 } else { 2 }).collect();
        let tokens = &self.tokens[row.index()];
        let gives = || core::iter::once(None).chain(gifts.iter().copied().map(Some));
        for (n, h) in task.handles.numbered() {
            match h.object {
                Object::Endpoint(_) => {
                    if h.rights.contains(Rights::CALL) {
                        ops.extend(gives().map(|give| Op::Call { t, n, give }));
                        ops.push(Op::Send { t, n });
                    }
                    if h.rights.contains(Rights::RECV) {
                        ops.extend([1, 2].map(|mask| Op::Recv { t, n, mask }));
                        ops.extend(tokens.iter().map(|&token| Op::ReplyRecv { t, n, token, mask: 1 }));
                    }
                }
                Object::Notification(_) => {
                    if h.rights.contains(Rights::WAIT) {
                        ops.extend([1, 3].map(|mask| Op::Wait { t, n, mask }));
                        ops.push(Op::Poll { t, n });
                    }
                    ops.extend([1, 3].map(|bits| Op::Signal { t, n, bits }));
                    if rich || self.s.timers.live() < 2 {
                        ops.push(Op::TimerCreate { t, n });
                    }
                }
                Object::Timer(_) => ops.extend([Op::Arm { t, n }, Op::Disarm { t, n }]),
                Object::Memory(_) => ops.push(Op::Map { t, n }),
                _ => {}
            }
            ops.push(Op::Close { t, n });
            if gifts.contains(&n) {
                ops.push(Op::Dup { t, n });
            }
        }
        for &token in tokens {
            ops.extend(gives().map(|give| Op::Reply { t, token, give }));
        }
        ops.extend([Op::ThreadCreate { t }, Op::ThreadExit { t }]);
        if self.mode != Mode::AnyThread {
            ops.push(Op::Yield { t });
        }
        if rich {
            ops.extend([Op::EndpointCreate { t }, Op::NotificationCreate { t }, Op::MemoryCreate { t }]);
            ops.extend([0, 7].map(|more| Op::Priority { t, level: task.record.priority + more }));
            ops.extend(task.mappings.iter().map(|m| Op::Unmap { t, addr: m.addr }));
            let owned = |wanted: fn(&Object) -> bool| task.handles.numbered().filter(move |(_, h)| wanted(&h.object));
            for (e, h) in owned(|o| matches!(o, Object::Endpoint(_))) {
                if h.rights.contains(Rights::RECV) {
                    ops.extend(owned(|o| matches!(o, Object::Notification(_))).map(|(n, _)| Op::Bind { t, e, n }));
                }
            }
        }
    }

    /// One of [`World::ops`].
    pub fn pick(&self, random: &mut Random) -> Op {
        let ops = self.ops();
        let op = ops[random.below(ops.len())];
        // A task that is killed every few steps gets nowhere.
        let hasty = matches!(op, Op::Kill(_) | Op::ThreadExit { .. } | Op::Close { .. } | Op::Expect(..));
        if hasty && random.below(4) != 0 { ops[random.below(ops.len())] } else { op }
    }

    /// Counts a step that was done directly.
    pub fn went(&mut self, path: Fast, fast: bool) {
        self.went_fast[path as usize] += u64::from(fast);
    }

    /// Puts the acting thread on the processor.
    pub fn enter(&mut self, t: ThreadIndex) {
        if self.mode == Mode::AnyThread {
            run(&mut self.s, t);
        }
    }

    /// A number that is the same for two worlds in which the same can happen. Time and lives are left out, and in
    /// [`Mode::AnyThread`] the order of the ready threads too.
    pub fn canonical(&self) -> u64 {
        let mut h = Fnv(0xcbf2_9ce4_8422_2325);
        for (row, task) in self.s.tasks.iter().enumerate() {
            h.put(task.state as u64 | u64::from(task.expected) << 8 | u64::from(task.frames.used()) << 16);
            let (phase, at) = match task.release {
                Release::Done => (0, 0),
                Release::Threads(at) => (1, at),
                Release::Handles => (2, 0),
                Release::Endpoints(at) => (3, at),
                Release::Notifications(at) => (4, at),
                Release::Queue => (5, 0),
            };
            h.put(phase << 16 | u64::from(at));
            for (number, handle) in task.handles.numbered() {
                h.put(
                    task.handles.slot_of(number)
                        | u64::from(handle.rights.bits()) << 16
                        | u64::from(handle.badge) << 32,
                );
                h.put(handle.bits);
                h.put(self.object(handle.object));
            }
            for &token in &self.tokens[row] {
                h.put(
                    u64::from(ReplyToken(token).thread())
                        | u64::from(self.received.contains_key(&token)) << 16
                        | 1 << 20,
                );
            }
            for m in task.mappings.iter() {
                h.put(m.addr.number() ^ u64::from(m.memory.index().number()));
            }
        }
        for (id, t) in self.s.threads.iter() {
            let header = Header(t.frame.rsi).has_handle();
            let wants = Header(t.frame.rsi).wants().map_or(0, |kind| kind as u64);
            let (code, at) = match t.state {
                State::Running | State::Ready => (1, 0),
                State::Sending(e) => (2 + u64::from(header), u64::from(e.number()) | wants << 16 | t.frame.r10 << 32),
                State::Replying(row) => (4, u64::from(row.number()) | wants << 16),
                State::Receiving(e) => (5, u64::from(e.number()) | t.mask << 32),
                State::Waiting(n) => (6, u64::from(n.number()) | t.mask << 32),
            };
            h.put(u64::from(id.index().number()) | u64::from(t.task.number()) << 16 | code << 32);
            h.put(at);
            if self.mode != Mode::AnyThread {
                h.put(u64::from(t.effective) | u64::from(t.priority) << 8);
            }
        }
        let mut queue = |queue| {
            crate::system::check::members(&self.s, queue)
                .unwrap_or_default()
                .iter()
                .for_each(|&i| h.put(i.number().into()))
        };
        if self.mode != Mode::AnyThread {
            queue(Default::default());
            (0..=crate::sched::BACKGROUND).for_each(|level| queue(self.s.sched.queue(level)));
            self.s.sched.accounts.iter().for_each(|a| queue(a.parked));
        }
        self.s.endpoints.iter().for_each(|(_, e)| [e.senders, e.receivers].map(&mut queue).map(|()| ())[0]);
        for (id, e) in self.s.endpoints.iter() {
            h.put(
                u64::from(id.index().number())
                    | u64::from(e.owner.number()) << 16
                    | e.bound.map_or(0, |n| u64::from(n.index().number()) + 1) << 32,
            );
        }
        for (id, n) in self.s.notifications.iter() {
            h.put(
                u64::from(id.index().number())
                    | u64::from(n.owner.number()) << 16
                    | n.waiter.front().map_or(0, |w| u64::from(w.number()) + 1) << 32,
            );
            h.put(n.word);
        }
        for (_, id) in self.s.timers.armed().unwrap_or_default() {
            h.put(u64::from(id.index().number()));
        }
        h.0
    }

    fn object(&self, object: Object) -> u64 {
        let (kind, index, live) = match object {
            Object::Endpoint(id) => (1, id.index().number(), self.s.endpoints.get(id).is_some()),
            Object::Notification(id) => (2, id.index().number(), self.s.notifications.get(id).is_some()),
            Object::Memory(id) => (3, id.index().number(), true),
            Object::Timer(id) => {
                let target = self.s.timers.target(id).map_or(0, |(n, _)| n.index().number() + 1);
                (4 + u64::from(target), id.index().number(), true)
            }
            Object::Interrupt(line) => (2, line.number().into(), true),
            Object::Thread(id) => (3, id.index().number(), self.s.threads.get(id).is_some()),
            Object::System => (0, 0, true),
        };
        kind << 32 | u64::from(index) << 1 | u64::from(live)
    }
}

struct Fnv(u64);

impl Fnv {
    fn put(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 29;
    }
}
