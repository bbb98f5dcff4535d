//! The rules that must hold for the system's state between any two operations, for the tests and
//! for a kernel built with the feature `verify`.

use crate::System;
use crate::account::Budget;
use crate::handles::Object;
use crate::lines::Line;
use crate::memory::Backing;
use crate::queue::{Link, NIL, Queue};
use crate::row::Row;
use crate::sched::{BACKGROUND, PARKED, RETURNING};
use crate::step::{Create, Step};
use crate::system::direct::thread_of;
use crate::task::Release;
use crate::task::Tasks;
use crate::thread::{EndpointCache, STEP, State, Thread, ThreadIndex, TrapFrame};
use abi::Status;
use abi::message::{LISTENERS, Rights, Sender, bits};
use abi::task::TaskState;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Checks index only with rows of the table.
impl core::ops::Index<Row> for Tasks {
    type Output = crate::task::Task;

    fn index(&self, row: Row) -> &Self::Output {
        self.get(row).expect("a row of the table")
    }
}

/// Checks all rules. The error says which one is broken.
pub fn check(s: &System) -> Result<(), String> {
    threads(s)?;
    accounts(s)?;
    caches(s)?;
    wakeups(s)?;
    references(s)?;
    quotas(s)?;
    frames(s)
}

/// The threads of a queue. The error says how its links are inconsistent.
pub fn members(s: &System, queue: Queue) -> Result<Vec<ThreadIndex>, String> {
    let mut found = Vec::new();
    let mut next = queue.front();
    while let Some(index) = next {
        ensure!(s.threads.at(index).is_some(), "thread {index} is queued but gone");
        ensure!(found.len() < s.threads.capacity(), "a queue is a circle");
        found.push(index);
        next = queue.next(&s.threads, index);
    }
    ensure!(queue.is_empty() == found.is_empty(), "a queue is empty and is not");
    // The backward links must lead to the same threads, as removal uses both.
    ensure!(queue.backwards(&s.threads) == found.iter().rev().copied().collect::<Vec<_>>(), "a queue's links differ");
    Ok(found)
}

/// Checks that every thread is in the queue that its state names, once, and in no other.
fn threads(s: &System) -> Result<(), String> {
    let mut place: Vec<Option<State>> = vec![None; s.threads.capacity()];
    let mut put = |index: ThreadIndex, state: State| {
        let old = place[usize::from(index.number())].replace(state);
        ensure!(old.is_none(), "thread {index} is in two places: {old:?} and {state:?}");
        Ok(())
    };
    if let Some(current) = s.current() {
        put(current, State::Running)?;
    }
    for level in 0..=BACKGROUND {
        let queued = members(s, s.sched.queue(level))?;
        ensure!(s.sched.says_ready(level) != queued.is_empty(), "the bit of level {level} is wrong");
        for index in queued {
            put(index, State::Ready)?;
            let effective = s.threads.at(index).map_or(0, |t| t.effective);
            ensure!(effective == level, "thread {index} of level {effective} is queued at {level}");
        }
    }
    for (row, account) in s.tasks.rows().zip(&s.sched.accounts) {
        for index in members(s, account.parked)? {
            put(index, State::Ready)?;
            let at = s.threads.at(index).map(|t| (t.task, t.effective));
            ensure!(at == Some((row, PARKED)), "thread {index} is parked at row {row}, but is {at:?}");
        }
    }
    for (id, e) in s.endpoints.iter() {
        for index in members(s, e.senders)? {
            put(index, State::Sending(id.index()))?;
        }
        for index in members(s, e.receivers)? {
            put(index, State::Receiving(id.index()))?;
            ensure!(s.row_of(index) == Ok(e.owner), "thread {index} receives at another task's endpoint");
        }
        let owner = &s.tasks[e.owner];
        let releasing = owner.release != Release::Done;
        let apart = e.senders.is_empty() || e.receivers.is_empty();
        ensure!(apart || releasing, "somebody sends and somebody receives at {id:?}");
        ensure!(e.permanent || owner.is_alive() || releasing, "{id:?} outlives its maker");
        ensure!(
            e.senders.is_empty() || s.is_open(id) || releasing,
            "somebody is queued at {id:?}, which nobody will serve"
        );
    }
    for (id, n) in s.notifications.iter() {
        ensure!(members(s, n.waiter)?.len() < 2, "several wait at {id:?}");
        if let Some(waiter) = n.waiter.front() {
            put(waiter, State::Waiting(id.index()))?;
        }
    }
    // The release of a dead row has not reached this thread yet.
    let unseen =
        |row: Row, index: ThreadIndex| matches!(s.tasks[row].release, Release::Threads(from) if from <= index.number());
    for (id, t) in s.threads.iter() {
        let index = id.index();
        match t.state {
            State::Replying(row) => {
                ensure!(place[usize::from(index.number())].is_none(), "thread {index} waits for a reply and is queued");
                let server = &s.tasks[row];
                ensure!(
                    server.state == TaskState::Running || unseen(row, index),
                    "thread {index} waits for the dead row {row}"
                );
            }
            state => {
                ensure!(place[usize::from(index.number())] == Some(state), "thread {index} is {state:?} but not there")
            }
        }
        let own = &s.tasks[t.task];
        ensure!(own.state == TaskState::Running || unseen(t.task, index), "thread {index} of a dead task");
        ensure!(own.is_alive() || t.state != State::Running, "the dead thread {index} runs");
        let ceiling = s.tasks[t.task].record.priority;
        ensure!(t.priority >= ceiling, "thread {index} is above its ceiling");
    }
    Ok(())
}

/// Checks that every cycle is charged, that a thread whose task has nothing left waits for
/// processor time, and that a thread's budget matches its level.
fn accounts(s: &System) -> Result<(), String> {
    let sched = &s.sched;
    ensure!(sched.rows == s.tasks.len(), "a row has no account");
    let used: u64 = s.tasks.rows().map(|row| s.cpu(row)).sum();
    let passed = sched.charged_to - s.clock.base;
    ensure!(used + s.counters.idle == passed, "{used} cycles are charged, {} were idle of {passed}", s.counters.idle);
    let filling = sched.next_row < sched.rows || sched.says_ready(RETURNING);
    ensure!(
        sched.look_at == if filling { 0 } else { sched.period_end },
        "the period is looked at at {}",
        sched.look_at
    );
    for (row, account) in s.tasks.rows().zip(&sched.accounts) {
        let state = s.tasks[row].state;
        let (dead, alive) = (state == TaskState::Dead, s.tasks[row].is_alive());
        account.check(sched.slice, sched.turn, dead, alive).map_err(|e| format!("row {row}: {e}"))?;
        if account.waiting == NIL {
            continue;
        }
        let t = s.threads.at(account.waiting).ok_or(format!("row {row}: who waits is gone"))?;
        ensure!(t.task == row && t.state == State::Ready, "row {row}: another waits for it");
        ensure!(matches!(t.effective, RETURNING | BACKGROUND), "row {row}: who waits is at level {}", t.effective);
        let late = account.has_slice() && t.effective == BACKGROUND;
        ensure!(!late, "row {row} has a slice, and waits for its turn");
    }
    for (id, t) in s.threads.iter() {
        let account = &sched.accounts[t.task.index()];
        let waits = account.waiting == id.index();
        ensure!(!waits || t.effective != PARKED, "thread {id:?} waits for its task and is parked");
        ensure!(waits || t.effective != RETURNING, "thread {id:?} returns on its own");
        ensure!(
            t.state == State::Ready || t.effective < RETURNING || t.effective == BACKGROUND,
            "{id:?} is not parked"
        );
        ensure!(t.effective >= RETURNING || t.effective == t.priority, "thread {id:?} is at a level of nobody's");
        let waits_for_time = t.state == State::Ready && t.effective >= RETURNING;
        let budget = Budget::of(t.task, t.effective == BACKGROUND);
        ensure!(waits_for_time || t.budget == budget, "{id:?} at level {} runs on something else", t.effective);
    }
    Ok(())
}

/// Checks that the cached data that [`crate::system::direct`] and the assembly use is what the
/// general path would find.
fn caches(s: &System) -> Result<(), String> {
    let free = |link: Link| link == Link::UNLINKED;
    for (id, t) in s.threads.iter() {
        let index = id.index();
        ensure!(t.alone == Queue::of(index) && thread_of(t.token) == index, "thread {index} does not know its index");
        ensure!(t.awaited == State::Replying(t.task), "thread {index} does not know its row");
        ensure!(t.step.is_some() == (t.extras & STEP != 0), "thread {index} has a step, and its mark says otherwise");
        let can_run = matches!(t.state, State::Running | State::Ready);
        ensure!(t.step.is_none() || can_run, "thread {index} waits, and its system call is not done");
        let queued = members(s, t.alone).is_ok_and(|m| m.len() == 1) && free(t.link);
        let linked = matches!(t.state, State::Ready | State::Sending(_) | State::Receiving(_));
        ensure!(linked || queued, "thread {index} is in no queue, but linked");
        let (rip, flags) = (t.frame.rip, t.frame.rflags);
        let waits = matches!(t.state, State::Receiving(_) | State::Replying(_));
        ensure!(!waits || rip < abi::task::USER_END, "thread {index} goes on where no task may");
        // NT is allowed besides: a task may set it for itself.
        let odd = flags & !u64::from(TrapFrame::USER_FLAGS | TrapFrame::USER_FLAGS_SET | 1 << 14);
        ensure!(!waits || odd & u64::from(u32::MAX) == 0, "thread {index} waits with flags {flags:#x}");
        let own = &s.tasks[t.task];
        let closed = s.sched.accounts[t.task.index()].closed();
        if own.is_alive() {
            for (cache, right) in [(&t.calls, Rights::CALL), (&t.receives, Rights::RECV)] {
                if cache.found.closed == closed {
                    cache_leads(s, index, cache, right)?;
                }
            }
            for (cache, right) in [(&t.signals, Rights::SIGNAL), (&t.polls, Rights::WAIT)] {
                if cache.found.closed == closed && s.releasing == 0 {
                    let to = s.notification_handle(index, cache.found.handle, right);
                    let to =
                        to.or_else(|e| if e == Status::BadHandle { Ok((cache.to(), !cache.never)) } else { Err(e) });
                    let (to, bits) =
                        to.map_err(|e| format!("thread {index} goes by {:#x}: {e}", cache.found.handle))?;
                    ensure!(cache.to() == to, "thread {index} would go elsewhere than by {:#x}", cache.found.handle);
                    ensure!(
                        cache.never == !bits,
                        "thread {index} would set other bits than by {:#x}",
                        cache.found.handle
                    );
                }
            }
        }
    }
    for (line, cache) in s.lines.caches.iter().enumerate().filter(|(_, cache)| cache.place != u64::MAX) {
        let owner =
            s.lines.owner(Line::new(line as u8)).ok_or(format!("line {line} is nobody's and has a cached lookup"))?;
        let task = &s.tasks[owner.row];
        let place = task.notification.map(|id| u64::from(id.place()));
        ensure!(cache.bits == owner.bits && task.lose & owner.bits == 0, "line {line} sets other bits");
        let bound = task.notification.and_then(|id| s.notifications.get(id)?.bound_to);
        ensure!(bound.is_some_and(|e| s.endpoints.get(e).is_some()), "line {line} leads nowhere");
        ensure!(owner.bits & bits::HEARTBEAT == 0 && place == Some(cache.place), "line {line} leads elsewhere");
    }
    for (id, e) in s.endpoints.iter() {
        let receivers = members(s, e.receivers)?;
        if let [alone] = receivers[..] {
            ensure!(s.threads.at(alone).is_some_and(|t| free(t.link)), "thread {alone}, alone at {id:?}, is linked");
        }
        let word = e.bound.and_then(|n| s.notifications.get(n)).map_or(0, |n| n.word);
        ensure!(e.bits == word, "{id:?} knows of the bits {:#x}, and {word:#x} are set", e.bits);
    }
    Ok(())
}

/// Checks that a valid cached lookup of a live thread names the endpoint that its handle names, or
/// one that no longer exists.
fn cache_leads(s: &System, index: ThreadIndex, cache: &EndpointCache, right: Rights) -> Result<(), String> {
    let to = cache.endpoint();
    ensure!(
        cache.found.place == to.place(),
        "thread {index} has a cached lookup of {to:?} that is another for the assembly"
    );
    let (endpoint, badge) = s
        .endpoint_handle(index, cache.found.handle, right)
        .map_err(|e| format!("thread {index} would go by {:#x}: {e}", cache.found.handle))?;
    ensure!(endpoint == to, "thread {index} would go elsewhere than handle {:#x} leads", cache.found.handle);
    if right == Rights::RECV {
        ensure!(cache.waits == State::Receiving(to.index()), "thread {index} would wait as {:?}", cache.waits);
        return Ok(());
    }
    let Some(t) = s.threads.at(index) else { return Ok(()) };
    let tells = Sender { task: s.tasks[t.task].id(t.task), badge }.to_u64();
    ensure!(
        cache.waits == State::Sending(to.index()) && cache.tells == tells,
        "thread {index} would call as somebody else"
    );
    match s.check_order(index, endpoint) {
        Ok(()) | Err(Status::PeerGone | Status::BadHandle) => Ok(()),
        Err(e) => Err(format!("thread {index} would call by {:#x}: {e}", cache.found.handle)),
    }
}

/// Checks that no thread waits for bits that are set.
fn wakeups(s: &System) -> Result<(), String> {
    for (id, n) in s.notifications.iter() {
        let lost = |index: ThreadIndex| s.threads.at(index).is_some_and(|t| t.mask & n.word != 0 && !s.is_dead(index));
        ensure!(!n.waiter.front().is_some_and(lost), "a lost wake-up: thread {:?} waits at {id:?}", n.waiter);
        let place = n.bound_to.map_or(u32::MAX, |e| e.place());
        ensure!(n.bound_place == place, "{id:?} is bound elsewhere for the assembly");
        if let Some(e) = n.bound_to {
            let endpoint = s.endpoints.get(e).ok_or(format!("{id:?} is bound to {e:?}, which is gone"))?;
            ensure!(endpoint.bound == Some(id), "{id:?} is bound to {e:?}, but not the other way");
            let receivers = members(s, endpoint.receivers)?;
            ensure!(!receivers.iter().any(|&r| lost(r)), "a lost wake-up: one of {receivers:?} at {e:?}");
        }
    }
    for (id, e) in s.endpoints.iter() {
        let receivers = members(s, e.receivers)?;
        let listens = |&&index: &&ThreadIndex| s.threads.at(index).is_some_and(|t| t.mask != 0);
        let (first, all) = (receivers.iter().take_while(listens).count(), receivers.iter().filter(listens).count());
        ensure!(first == all && all <= LISTENERS, "{all} of {receivers:?} at {id:?} listen, {first} of them first");
        if let Some(n) = e.bound {
            let bound_to = s.notifications.get(n).and_then(|n| n.bound_to);
            ensure!(bound_to == Some(id), "{id:?} is bound to {n:?}, but not the other way");
        }
    }
    Ok(())
}

/// Checks that objects count the handles and mappings that name them, and that an object without
/// any is freed.
fn references(s: &System) -> Result<(), String> {
    let handles = || s.tasks.iter().flat_map(|t| t.handles.iter());
    let count = |object: Object| handles().filter(|h| h.object == object).count() as u32;
    for (id, e) in s.endpoints.iter() {
        ensure!(e.handles == count(Object::Endpoint(id)), "endpoint {id:?} counts {} handles", e.handles);
        ensure!(e.permanent || e.handles > 0, "endpoint {id:?} has no handle");
    }
    for (id, n) in s.notifications.iter() {
        ensure!(n.handles == count(Object::Notification(id)), "notification {id:?} counts {} handles", n.handles);
        ensure!(n.permanent || n.handles > 0, "notification {id:?} has no handle");
    }
    for (id, m) in s.memories.iter() {
        ensure!(m.handles == count(Object::Memory(id)), "memory {id:?} counts {} handles", m.handles);
        let mapped = s.tasks.iter().flat_map(|t| t.mappings.iter()).filter(|p| p.memory == id).count() as u32;
        ensure!(m.mappings == mapped, "memory {id:?} counts {} mappings of {mapped}", m.mappings);
        ensure!(m.handles + m.mappings > 0 || m.kept_by.is_some(), "memory {id:?} is nobody's");
    }
    s.timers.armed()?;
    let timers = handles().filter(|h| matches!(h.object, Object::Timer(id) if s.timers.target(id).is_some())).count();
    ensure!(timers == s.timers.live(), "{} timers live, {timers} are held", s.timers.live());
    Ok(())
}

/// The progress of the memory object that a thread makes, if its system call is not done.
fn created(t: &Thread) -> Option<&Create> {
    match &t.step {
        Some(Step::Create(create)) => Some(create),
        _ => None,
    }
}

/// Checks that no quota is exceeded, and that each equals what is held.
fn quotas(s: &System) -> Result<(), String> {
    let releasing = s.tasks.iter().filter(|t| t.release != Release::Done).count();
    ensure!(s.releasing as usize == releasing, "{} are released, {releasing} are to be", s.releasing);
    for (row, task) in s.tasks.rows().zip(s.tasks.iter()) {
        let owned = |owner: Row, permanent: bool| usize::from(owner == row && !permanent);
        let threads = s.threads.iter().filter(|(_, t)| t.task == row).count();
        let endpoints: usize = s.endpoints.iter().map(|(_, e)| owned(e.owner, e.permanent)).sum();
        let notes: usize = s.notifications.iter().map(|(_, n)| owned(n.owner, n.permanent)).sum();
        ensure!(
            task.made as usize == endpoints + notes,
            "row {row} counts {} made of {endpoints} + {notes}",
            task.made
        );
        let timers = task.handles.iter().filter(|h| matches!(h.object, Object::Timer(_))).count();
        let objects = threads + endpoints + notes + timers + task.mappings.len();
        ensure!(task.threads as usize == threads, "row {row} counts {} threads of {threads}", task.threads);
        ensure!(task.objects.used() as usize == objects, "row {row}: {} objects, {objects} held", task.objects.used());
        ensure!(task.objects.used() <= task.objects.limit(), "row {row} has too many objects");
        let charged = |object: Object| match object {
            Object::Memory(id) => s.memories.get(id).map_or(0, |m| match (&m.backing, m.kept_by) {
                (Backing::Frames(_), None) => m.pages,
                _ => 0,
            }),
            _ => 0,
        };
        let being_made = s.threads.iter().filter(|(_, t)| t.task == row).filter_map(|(_, t)| created(t));
        let frames = task.chain.len()
            + task.handles.iter().map(|h| charged(h.object)).sum::<u32>()
            + being_made.map(|c| c.pages).sum::<u32>();
        ensure!(task.frames.used() == frames, "row {row}: {} frames charged, {frames} held", task.frames.used());
        ensure!(task.frames.used() <= task.frames.limit(), "row {row} has too many frames");
        let live = task.handles.iter().count();
        ensure!(task.handles.live() as usize == live, "row {row} counts {} handles of {live}", task.handles.live());
        ensure!(live <= task.handles.quota() as usize, "row {row} has too many handles");
        match task.state {
            TaskState::Running => ensure!(task.threads > 0, "row {row} runs without a thread"),
            TaskState::Starting => ensure!(task.threads == 0, "row {row} starts and runs"),
            TaskState::Dead => {
                ensure!(task.space.get().is_none(), "row {row} is dead and has an address space");
                let holds = live + objects;
                ensure!(holds == 0 || task.release != Release::Done, "row {row} is dead and holds something");
            }
            TaskState::Empty => ensure!(live + objects + frames as usize == 0, "row {row} is empty and is not"),
        }
        ensure!(task.state == TaskState::Dead || task.release == Release::Done, "row {row} is released and not dead");
        ensure!(task.state == TaskState::Starting || task.start.kept.is_empty(), "row {row} keeps frames aside");
        let in_order = task.mappings.iter().zip(task.mappings.iter().skip(1)).all(|(a, b)| a.end() <= b.addr);
        ensure!(in_order, "row {row} has mappings that overlap, or are not in order");
    }
    Ok(())
}

/// Checks that every frame is free or in exactly one chain.
fn frames(s: &System) -> Result<(), String> {
    let being_made = s.threads.iter().filter_map(|(_, t)| created(t)).map(|c| &c.chain);
    let chains = s.tasks.iter().flat_map(|t| [&t.chain, &t.start.kept]).chain([&s.garbage]).chain(being_made);
    let memories = s.memories.iter().filter_map(|(_, m)| match &m.backing {
        Backing::Frames(chain) => Some(chain),
        Backing::Physical { .. } => None,
    });
    let used = s.frames.total() - s.frames.free();
    let mut seen = Vec::with_capacity(used as usize);
    for chain in chains.chain(memories) {
        let before = seen.len();
        for frame in s.frames.iter(chain) {
            ensure!(!s.frames.is_free(frame), "frame {frame} is free and in a chain");
            ensure!((seen.len() as u64) < used, "more frames are in chains than the {used} in use");
            seen.push(frame);
        }
        ensure!(seen.len() - before == chain.len() as usize, "a chain is shorter than it says");
    }
    seen.sort_unstable();
    for pair in seen.windows(2) {
        ensure!(pair[0] != pair[1], "frame {} is in two chains", pair[0]);
    }
    ensure!(seen.len() as u64 == used, "{used} frames are in use, {} are in chains", seen.len());
    Ok(())
}
