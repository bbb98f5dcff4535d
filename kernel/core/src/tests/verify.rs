//! What each step of a [`World`] must do, and that it does nothing else.

use super::world::{Fast, Mode, Op, World, claim};
use super::{check, try_spawn};
use crate::Row;
use crate::addr::UserAddr;
use crate::arena::{Id, Index};
use crate::handles::{Handle, Object};
use crate::lines::Line;
use crate::notify::Notification;
use crate::number::HandleNumber;
use crate::sched::{BACKGROUND, SEARCHED};
use crate::thread::{State, Thread, ThreadIndex, TrapFrame};
use abi::Status;
use abi::message::{Header, Rights};
use abi::task::TaskState;
use std::collections::BTreeMap;

/// How a step that concerns nobody else may fail.
const KNOWN: [Status; 8] = [
    Status::BadHandle,
    Status::Busy,
    Status::QuotaObjects,
    Status::QuotaHandles,
    Status::QuotaFrames,
    Status::OutOfMemory,
    Status::NoRights,
    Status::WrongKind,
];

pub type Checked = Result<(), String>;

/// The threads before a step, and the rows of their tasks.
pub struct Before(pub Vec<Option<(Id<Thread>, State, TrapFrame)>>, Vec<Row>);

pub fn runs(state: State) -> bool {
    matches!(state, State::Ready | State::Running)
}

/// Who is to be woken by bits, with which; and what is left of each word.
#[derive(Default)]
struct Wakes {
    words: BTreeMap<Index<Notification>, u64>,
    woken: Vec<(ThreadIndex, u64, bool)>,
}

impl World {
    /// Lets something happen, and looks at what it did.
    pub fn apply(&mut self, op: Op) -> Checked {
        let current = self.advance(op)?;
        if self.mode != Mode::AnyThread {
            ensure!(current == self.s.current(), "{op:?}: schedule says {current:?}");
            let level = current.and_then(|c| self.s.threads.at(c)).map(|t| t.effective);
            let best = self.s.sched.best();
            ensure!(level.map_or(best > BACKGROUND, |l| l <= best), "{op:?}: {level:?} runs while {best:?} is ready");
        }
        check(&self.s).and_then(|()| self.leases()).map_err(|e| format!("{op:?}: {e}"))
    }

    /// Lets something happen, and looks only at what it did to those concerned.
    pub fn advance(&mut self, op: Op) -> Result<Option<ThreadIndex>, String> {
        self.serial += 1;
        let fasts = self.went_fast;
        self.step(op).map_err(|e| format!("{op:?}: {e}"))?;
        let fast = self.went_fast != fasts;
        self.s.collect(u32::MAX);
        if self.mode == Mode::AnyThread {
            return Ok(None);
        }
        loop {
            let next = self.s.schedule(SEARCHED);
            if next.is_none() && self.s.undecided() {
                continue;
            }
            let due = self.s.sched.deadline.at > self.s.now + 1;
            let armed = if next.is_some() { super::arm(&mut self.s) } else { self.s.arm_idle() };
            ensure!(!fast || !due || armed.is_none(), "{op:?} went fast, and the timer had to be armed");
            return Ok(next);
        }
    }

    pub fn before(&self) -> Before {
        let at =
            |i: ThreadIndex| self.s.threads.id_at(i).zip(self.s.threads.at(i)).map(|(id, t)| (id, t.state, t.frame));
        let all = || (0..self.s.threads.capacity() as u16).map(ThreadIndex::new);
        Before(all().map(at).collect(), all().map(|i| self.s.row_of(i).unwrap_or(Row::new(u16::MAX))).collect())
    }

    fn step(&mut self, op: Op) -> Checked {
        match op {
            Op::Call { t, n, give } => self.call(t, n, give),
            Op::Send { t, n } => self.send(t, n),
            Op::Recv { t, n, mask } => self.recv(t, n, mask),
            Op::Reply { t, token, give } => self.reply(t, token, give),
            Op::ReplyRecv { t, n, token, mask } => self.reply_recv(t, n, token, mask),
            Op::Wait { t, n, mask } => self.wait(t, n, mask),
            Op::Signal { t, n, bits } => self.signal(t, n, bits),
            Op::Tick => self.tick(),
            Op::Interrupt(line) => self.interrupt(line),
            Op::Kill(row) => self.kill(Row::new(row)),
            Op::Expect(row, expected) => self.expect(Row::new(row), expected),
            Op::ThreadExit { t } => {
                let row = self.s.row_of(t).unwrap();
                if self.s.tasks[row].threads == 1 {
                    return self.kill(row);
                }
                let before = self.before();
                self.s.thread_exit(t);
                ensure!(self.s.threads.at(t).is_none(), "the thread is still there");
                self.others(&before, &[t])
            }
            _ => self.local(op),
        }
    }

    /// Steps that concern nobody but the task that takes them.
    fn local(&mut self, op: Op) -> Checked {
        if let Op::Reap(row) | Op::Spawn(row) = op {
            let before = self.before();
            match op {
                Op::Reap(_) => {
                    let reaped = self.s.reap_some(Row::new(row), 1, 1);
                    ensure!(reaped.is_ok(), "a dead task is not reaped");
                    let over = self.s.tasks[Row::new(row)].state == TaskState::Empty;
                    ensure!((reaped == Ok(0)) == over, "{reaped:?} are left, and it is {over} that it is over");
                    let woken = self.woken_by_release(Row::new(row), &before)?;
                    return self.others(&before, &woken);
                }
                _ if self.piecemeal && self.s.tasks[Row::new(row)].state == TaskState::Empty => {
                    let done = super::begin(&mut self.s, row);
                    ensure!(done.is_ok(), "an empty row does not come to life: {done:?}");
                    return self.others(&before, &[]);
                }
                _ => {
                    let starts = self.s.tasks[Row::new(row)].state == TaskState::Starting;
                    let done = if starts { super::start(&mut self.s, row) } else { try_spawn(&mut self.s, row) };
                    ensure!(done.is_ok(), "an empty row does not come to life: {done:?}");
                    claim(&mut self.s, Row::new(row));
                    let peers = self.s.tasks.iter().filter(|t| t.state == TaskState::Running).map(|t| t.notification);
                    let bits: Vec<_> =
                        peers.flatten().map(|n| self.s.notifications.get(n).map_or(0, |n| n.word)).collect();
                    ensure!(bits.iter().all(|b| b & !abi::message::bits::PEER <= 3), "strange bits");
                }
            }
            return self.others(&before, &[]);
        }
        let (Op::Poll { t, .. }
        | Op::Yield { t }
        | Op::Dup { t, .. }
        | Op::Close { t, .. }
        | Op::TimerCreate { t, .. }
        | Op::Arm { t, .. }
        | Op::Disarm { t, .. }
        | Op::ThreadCreate { t }
        | Op::EndpointCreate { t }
        | Op::NotificationCreate { t }
        | Op::Bind { t, .. }
        | Op::MemoryCreate { t }
        | Op::Map { t, .. }
        | Op::Unmap { t, .. }
        | Op::Priority { t, .. }) = op
        else {
            return Err("nothing to do".into());
        };
        self.enter(t);
        let before = self.before();
        let row = self.s.row_of(t).unwrap();
        let by = self.by;
        let s = &mut self.s;
        let mut went = None;
        let done: Result<(), Status> = match op {
            Op::Poll { n, .. } => {
                let word = s
                    .notification_handle(t, n, Rights::WAIT)
                    .ok()
                    .and_then(|(id, _)| s.notifications.get(id))
                    .map(|n| n.word);
                let (nothing, got) = super::poll(s, t, n, 3, by);
                went = nothing.then_some(Fast::Poll);
                ensure!(got == word.map(|w| w & 3).ok_or(Status::BadHandle), "poll took {got:?} of {word:?}");
                got.map(drop)
            }
            Op::Yield { .. } => {
                went = super::take_turns(s, t, by).then_some(Fast::Yield);
                Ok(())
            }
            Op::Dup { n, .. } => s.handle_dup(t, n, u64::MAX, 0).map(drop),
            Op::Close { n, .. } => {
                let done = s.handle_close(t, n);
                ensure!(done.is_err() || s.handle(t, n).is_err(), "a closed handle is still good");
                done
            }
            Op::TimerCreate { n, .. } => s.timer_create(t, n, self.serial % 2).map(drop),
            Op::Arm { n, .. } => s.timer_set(t, n, Some(s.now + self.serial)),
            Op::Disarm { n, .. } => s.timer_set(t, n, None),
            Op::ThreadCreate { .. } => {
                let priority = s.tasks[row].record.priority;
                if s.tasks[row].handles.has_room() {
                    s.thread_start(row, TrapFrame::default(), priority).and_then(|id| {
                        let handle = Handle::new(Object::Thread(id), Rights::MANAGE);
                        s.handle_insert(row, handle).map(drop)
                    })
                } else {
                    Err(Status::QuotaHandles)
                }
            }
            Op::EndpointCreate { .. } => s.endpoint_create(t).map(drop),
            Op::NotificationCreate { .. } => s.notification_create(t).map(drop),
            Op::Bind { e, n, .. } => s.endpoint_bind(t, e, n),
            Op::MemoryCreate { .. } => super::memory(s, row, 1).map(drop),
            Op::Map { n, .. } => s.memory_map(row, n, UserAddr::ANY, true).map(drop),
            Op::Unmap { addr, .. } => s.memory_unmap(row, addr).map(drop),
            Op::Priority { level, .. } => {
                s.set_priority(t, level);
                Ok(())
            }
            _ => Ok(()),
        };
        went.into_iter().for_each(|path| self.went(path, true));
        ensure!(done.is_ok() || done.is_err_and(|e| KNOWN.contains(&e)), "an unknown error {done:?}");
        self.others(&before, &[t])
    }

    /// Everyone who was not meant to be touched is as before, or was woken because what it waited for is gone.
    pub fn others(&self, before: &Before, touched: &[ThreadIndex]) -> Checked {
        for (index, was) in before.0.iter().enumerate() {
            let Some((id, state, frame)) = was.filter(|_| !touched.contains(&ThreadIndex::new(index as u16))) else {
                continue;
            };
            if !self.s.is_alive(before.1[index]) {
                // It may be taken out by whoever meets it, and does nothing any more.
                let still = self.s.threads.get(id).map(|t| t.state);
                ensure!(still != Some(State::Running), "the dead thread {index} runs");
                continue;
            }
            let t = self.s.threads.get(id).ok_or(format!("thread {index} vanished"))?;
            let gone = match state {
                State::Sending(e) if self.s.endpoints.at(e).is_none() => Some(Status::PeerGone),
                State::Receiving(e) if self.s.endpoints.at(e).is_none() => Some(Status::BadHandle),
                State::Waiting(n) if self.s.notifications.at(n).is_none() => Some(Status::BadHandle),
                // One by one, before the endpoint goes itself.
                State::Sending(_) if self.s.releasing != 0 && runs(t.state) => Some(Status::PeerGone),
                State::Receiving(_) if self.s.releasing != 0 && runs(t.state) => Some(Status::BadHandle),
                _ => None,
            };
            let expected = TrapFrame { rax: gone.map_or(frame.rax, |status| status as u64), ..frame };
            ensure!(t.frame == expected, "thread {index}: its registers changed");
            let as_before = t.state == state || runs(t.state) && runs(state);
            ensure!(
                if gone.is_some() { runs(t.state) } else { as_before },
                "thread {index}: {state:?} is {:?}",
                t.state
            );
        }
        Ok(())
    }

    fn wait(&mut self, t: ThreadIndex, n: HandleNumber, mask: u64) -> Checked {
        self.enter(t);
        let before = self.before();
        let Object::Notification(id) = self.s.handle(t, n).unwrap().object else {
            return Err("no notification".into());
        };
        let there = self.s.notifications.get(id).filter(|n| self.s.exists(n.owner, n.permanent));
        let was = there.map(|n| (n.word & mask, n.waiter.front().is_some_and(|w| !self.s.is_dead(w))));
        let result = super::wait(&mut self.s, t, n, mask);
        let state = self.s.threads.at(t).unwrap().state;
        match was {
            None => ensure!(result == Err(Status::BadHandle), "a notification that is gone: {result:?}"),
            Some((0, true)) => ensure!(result == Err(Status::Busy), "a second waiter: {result:?}"),
            Some((0, false)) => {
                ensure!(result == Ok(()) && state == State::Waiting(id.index()), "{result:?}, {state:?}")
            }
            Some((bits, _)) => {
                let got = self.s.threads.at(t).unwrap().frame.rdx;
                ensure!(result == Ok(()) && runs(state) && got == bits, "{result:?}, took {got} of {bits}");
            }
        }
        self.others(&before, &[t])
    }

    pub fn woken_by_bits(&self, t: ThreadIndex, bits: u64, waited: bool) -> Checked {
        let thread = self.s.threads.at(t).ok_or("the waiter is gone")?;
        let f = thread.frame;
        ensure!(runs(thread.state), "thread {t} was to be woken by {bits:#x}, and is {:?}", thread.state);
        let taken = if waited { f.rdx } else { f.r12 };
        ensure!(f.rax == 0 && taken == bits, "thread {t} took {taken:#x}, not {bits:#x}");
        let recv = f.rsi == Header::NOTIFICATION && f.rdi == 0 && f.r8 == 0;
        ensure!(waited || recv, "thread {t} got no notification message");
        Ok(())
    }

    /// What setting bits would do now, after what `wakes` holds already.
    fn foresee(&self, id: Id<Notification>, bits: u64, wakes: &mut Wakes) {
        let Some(n) = self.s.notifications.get(id) else { return };
        if self.s.releasing != 0 && !self.s.is_alive(n.owner) {
            return;
        }
        let word = wakes.words.entry(id.index()).or_insert(n.word);
        *word |= bits;
        let endpoint = n.bound_to.and_then(|e| self.s.endpoints.get(e));
        let receivers = endpoint.map(|e| crate::system::check::members(&self.s, e.receivers).unwrap_or_default());
        let waiting =
            n.waiter.front().map(|w| (w, true)).into_iter().chain(receivers.into_iter().flatten().map(|r| (r, false)));
        for (t, waited) in waiting.filter(|&(t, _)| !self.s.is_dead(t)) {
            let taken = self.s.threads.at(t).map_or(0, |t| t.mask) & *word;
            if taken != 0 && !wakes.woken.iter().any(|w| w.0 == t) {
                *word &= !taken;
                wakes.woken.push((t, taken, waited));
            }
        }
    }

    fn foreseen(&self, before: &Before, wakes: &Wakes, also: &[ThreadIndex]) -> Checked {
        for &(t, bits, waited) in &wakes.woken {
            self.woken_by_bits(t, bits, waited)?;
        }
        for (&index, &word) in &wakes.words {
            let left = self.s.notifications.at(index).map_or(0, |n| n.word);
            ensure!(left == word, "notification {index} holds {left:#x}, not {word:#x}");
        }
        let touched: Vec<ThreadIndex> = wakes.woken.iter().map(|w| w.0).chain(also.iter().copied()).collect();
        self.others(before, &touched)
    }

    fn signal(&mut self, t: ThreadIndex, n: HandleNumber, bits: u64) -> Checked {
        self.enter(t);
        let before = self.before();
        let mut wakes = Wakes::default();
        let handle = self.s.notification_handle(t, n, Rights::SIGNAL);
        let id = handle.and_then(|(id, may)| if bits & !may == 0 { Ok(id) } else { Err(Status::NoRights) });
        if let Ok(id) = id {
            self.foresee(id, bits, &mut wakes);
        } else {
            ensure!(id == Err(Status::BadHandle) || id == Err(Status::NoRights), "{id:?}");
        }
        let (fast, result) = super::signal(&mut self.s, t, n, bits, self.by);
        self.went(Fast::Signal, fast);
        ensure!(result == id.map(drop), "ends with {result:?}");
        self.foreseen(&before, &wakes, &[t])
    }

    fn interrupt(&mut self, line: Line) -> Checked {
        let owner = self.s.lines.owner(line).ok_or("nobody's line")?;
        let before = self.before();
        let mut wakes = Wakes::default();
        let id = self.s.tasks[owner.row].notification.ok_or("no notification")?;
        self.foresee(id, owner.bits, &mut wakes);
        let fast = super::interrupt(&mut self.s, line, self.by);
        self.went(Fast::Interrupt, fast);
        self.foreseen(&before, &wakes, &[])
    }

    fn tick(&mut self) -> Checked {
        self.s.now += 1_000_000;
        let mut wakes = Wakes::default();
        let before = self.before();
        for (deadline, timer) in self.s.timers.armed()? {
            let (id, bits) = self.s.timers.target(timer).ok_or("no target")?;
            if deadline <= self.s.clock.ns(self.s.now) {
                self.foresee(id, bits, &mut wakes);
            }
        }
        self.s.timer_interrupt();
        self.foreseen(&before, &wakes, &[])
    }

    fn expect(&mut self, row: Row, expected: bool) -> Checked {
        let before = self.before();
        let task = &self.s.tasks[row];
        let flushed = !expected && !task.is_alive();
        let queue = task.endpoint.and_then(|e| self.s.endpoints.get(e)).map(|e| e.senders).unwrap_or_default();
        let queued = crate::system::check::members(&self.s, queue)?;
        ensure!(self.s.expect(row, expected) == Ok(true), "more callers than one step ends");
        let touched = if flushed { queued } else { Vec::new() };
        for &t in &touched {
            ensure!(super::woken(&self.s, t) == Some(Status::PeerGone), "thread {t} was queued where nobody will come");
        }
        self.others(&before, &touched)
    }

    /// Whom a unit of the release of a dead row has woken, each with what the death means for it.
    fn woken_by_release(&self, row: Row, before: &Before) -> Result<Vec<ThreadIndex>, String> {
        let task = &self.s.tasks[row];
        let mut woken = Vec::new();
        for (index, was) in before.0.iter().enumerate().filter(|&(index, _)| self.s.is_alive(before.1[index])) {
            let (index, Some((id, state, _))) = (ThreadIndex::new(index as u16), *was) else { continue };
            let Some(t) = self.s.threads.get(id).filter(|t| runs(t.state)) else { continue };
            let status = match state {
                State::Replying(server) if server == row => {
                    ensure!(t.frame.r12 == task.generation.into(), "thread {index} hears of another life");
                    Status::PeerDied
                }
                State::Sending(e) if Some(e) == task.endpoint.map(Id::index) && !task.expected => Status::PeerGone,
                _ => continue,
            };
            ensure!(t.frame.rax == status as u64, "thread {index} was {state:?}, and ends with {:#x}", t.frame.rax);
            woken.push(index);
        }
        Ok(woken)
    }

    /// Death alone: nobody else is touched, and none of its threads does anything any more.
    fn die(&mut self, row: Row) -> Checked {
        let before = self.before();
        self.s.lines.release(row);
        self.s.blame(row, None, abi::error::DeathKind::Killed);
        self.s.die(row);
        ensure!(self.s.running().is_none_or(|t| t.task != row), "a dead thread runs");
        let dead = |caller: Id<Thread>| before.1[usize::from(caller.index().number())] == row;
        self.received.retain(|_, r| r.server != row && !dead(r.caller));
        self.others(&before, &[])
    }

    fn kill(&mut self, row: Row) -> Checked {
        if self.piecemeal {
            return self.die(row);
        }
        let before = self.before();
        let task = &self.s.tasks[row];
        let (life, endpoint, stays) = (task.generation, task.endpoint, task.expected);
        let own: Vec<ThreadIndex> =
            self.s.threads.iter().filter(|(_, t)| t.task == row).map(|(id, _)| id.index()).collect();
        let mut asked: Vec<ThreadIndex> =
            self.received.values().filter(|r| r.server == row).map(|r| r.caller.index()).collect();
        let queue = endpoint.and_then(|e| self.s.endpoints.get(e)).map(|e| e.senders).unwrap_or_default();
        let mut queued = crate::system::check::members(&self.s, queue)?;
        asked.retain(|t| !own.contains(t));
        queued.retain(|t| !own.contains(t));
        self.s.lines.release(row);
        super::kill(&mut self.s, row);
        ensure!(self.s.releasing == 0, "so small a life is not released at once");
        for &t in &asked {
            ensure!(super::woken(&self.s, t) == Some(Status::PeerDied), "thread {t} was received by the dead");
            ensure!(self.s.threads.at(t).unwrap().frame.r12 == life.into(), "thread {t} hears of another life");
        }
        for &t in &queued {
            let expected = (!stays).then_some(Status::PeerGone);
            ensure!(super::woken(&self.s, t) == expected, "thread {t} was queued: {:?}", super::woken(&self.s, t));
        }
        ensure!(own.iter().all(|&t| self.s.threads.at(t).is_none()), "a thread outlives its task");
        let dead = |c: Id<Thread>| own.contains(&c.index());
        self.received.retain(|_, r| r.server != row && !dead(r.caller));
        let touched: Vec<ThreadIndex> =
            own.into_iter().chain(asked).chain(if stays { Vec::new() } else { queued }).collect();
        self.others(&before, &touched)
    }
}
