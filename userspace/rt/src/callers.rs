//! Clients that a driver answers or signals later: [`Callers`] wait for a deferred reply,
//! [`Subscribers`] continue and are signalled.
//!
//! Both are bounded, whatever clients do: there is at most one entry for each task, or as many as
//! the driver allows, and a new life replaces an old one.

use crate::driver::Answer;
use crate::ipc::{Handle, Pending, Request, close};
use crate::notify::Notification;
use crate::proto::{Asker, Owned};
use abi::TaskId;
use abi::message::Kind;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A reply that is ready: outcome and words.
pub type Ready = (u16, [u64; 4]);

/// A caller that waits for a deferred reply.
#[derive(Debug)]
pub struct Caller<T> {
    /// The calling task.
    pub task: TaskId,
    /// The call, with the right to answer and the memory that it lends.
    pub pending: Pending,
    /// The driver's own data: what the call asks for, and how much of it is done.
    pub what: T,
}

/// Calls of one kind that wait for deferred replies, in the order of their arrival: one of each
/// task, or up to as many as [`Callers::several`] allows.
#[derive(Debug)]
pub struct Callers<T> {
    calls: VecDeque<Caller<T>>,
    /// The most calls of one task.
    most: usize,
}

impl<T> Default for Callers<T> {
    fn default() -> Self {
        Callers::several(1)
    }
}

impl<T> Callers<T> {
    /// Allows up to `most` waiting calls of each task (at least one), for clients that make
    /// requests from several threads.
    pub fn several(most: usize) -> Self {
        Callers { calls: VecDeque::new(), most: most.max(1) }
    }

    /// Whether no call waits.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Answers a request at once if `serve` returns a reply; otherwise the reply is deferred until
    /// [`Callers::serve`]. If as many calls of the same task wait as may, the answer is the outcome
    /// `busy`. Calls of an earlier life of the task are dropped, as nobody waits for their replies.
    pub fn ask(
        &mut self,
        request: &Request,
        what: T,
        busy: u16,
        serve: impl FnOnce(&mut Caller<T>) -> Option<Ready>,
    ) -> Answer {
        self.ask_of(request.sender.task, request.pending(), what, busy, serve)
    }

    /// Does what [`Callers::ask`] does, for a request whose parts were separated.
    pub(crate) fn ask_of(
        &mut self,
        task: TaskId,
        pending: Pending,
        what: T,
        busy: u16,
        serve: impl FnOnce(&mut Caller<T>) -> Option<Ready>,
    ) -> Answer {
        self.calls.retain(|other| other.task.index != task.index || other.task == task);
        if self.calls.iter().filter(|other| other.task == task).count() >= self.most {
            return Answer::refuse(busy);
        }
        let mut caller = Caller { task, pending, what };
        if let Some((label, words)) = serve(&mut caller) {
            return Answer::Reply(label, words);
        }
        self.calls.push_back(caller);
        Answer::Deferred
    }

    /// Does what [`Callers::ask`] does, for requests that are served in the order of their arrival:
    /// a request waits behind all that wait already.
    pub fn ask_in_turn(
        &mut self,
        request: &Request,
        what: T,
        busy: u16,
        serve: impl FnOnce(&mut Caller<T>) -> Option<Ready>,
    ) -> Answer {
        let first = self.is_empty();
        self.ask(request, what, busy, |caller| if first { serve(caller) } else { None })
    }

    /// Answers the waiting calls in their order, up to the first for which `serve` returns no reply
    /// yet.
    pub fn serve(&mut self, mut serve: impl FnMut(&mut Caller<T>) -> Option<Ready>) {
        while let Some((label, words)) = self.calls.front_mut().and_then(&mut serve) {
            if let Some(Caller { pending, .. }) = self.calls.pop_front() {
                // A caller that no longer waits needs no reply.
                let _ = pending.reply(label, words);
            }
        }
    }

    /// Answers the task's longest-waiting call, if there is one, with outcome 0 and zeros.
    pub fn cancel(&mut self, task: TaskId) {
        if let Some(Caller { pending, .. }) = self.take(task) {
            // A caller that no longer waits needs no reply.
            let _ = pending.reply(0, [0; 4]);
        }
    }

    /// Removes the task's longest-waiting call, if there is one.
    pub(crate) fn take(&mut self, task: TaskId) -> Option<Caller<T>> {
        let place = self.calls.iter().position(|caller| caller.task == task);
        place.and_then(|place| self.calls.remove(place))
    }
}

#[derive(Debug)]
struct Subscriber {
    task: TaskId,
    notification: u32,
    bits: u64,
}

impl Subscriber {
    /// Signals the subscriber. If its notification no longer exists, closes the handle and returns
    /// false.
    fn signal(&self) -> bool {
        let lives = Notification(self.notification).signal(self.bits).is_ok();
        if !lives {
            self.give_up();
        }
        lives
    }

    fn give_up(&self) {
        // The driver owns the handle, so closing it fails only if it is closed already.
        let _ = close(self.notification);
    }
}

/// Clients that are signalled through notifications of their own.
#[derive(Debug, Default)]
pub struct Subscribers(Vec<Subscriber>);

impl Subscribers {
    /// Adds the sender of a request that brings a handle of a notification and has in word 0 the
    /// bits to set; it replaces an earlier subscription of the task. With `already` it is signalled
    /// at once. Returns false if the request brings no notification.
    pub fn add(&mut self, request: &Request, already: bool) -> bool {
        let Some(Handle { kind: Kind::Notification, number, .. }) = request.handle else { return false };
        let [bits, ..] = request.words;
        self.subscribe(request.sender.task, bits, number, already);
        true
    }

    /// Does what [`Subscribers::add`] does, for a request that [`protocol!`](crate::protocol)
    /// decoded.
    pub fn add_owned(&mut self, from: Asker, bits: u64, notification: Owned<Notification>, already: bool) {
        self.subscribe(from.task, bits, notification.into_inner().0, already);
    }

    fn subscribe(&mut self, task: TaskId, bits: u64, notification: u32, already: bool) {
        let new = Subscriber { task, notification, bits };
        self.0.extract_if(.., |old| old.task.index == task.index).for_each(|old| old.give_up());
        if !already || new.signal() {
            self.0.push(new);
        }
    }

    /// Signals all subscribers, and removes those that no longer exist.
    pub fn signal(&mut self) {
        self.0.retain(Subscriber::signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::message::{ReplyToken, Rights, Sender};

    fn request(index: u16, generation: u32, handle: Option<u32>) -> Request {
        let sender = Sender { task: TaskId { index, generation }, badge: 0 };
        let handle = handle.map(|number| Handle::notification(number, Rights::SIGNAL));
        let (words, token) = ([5, 0, 0, 0], ReplyToken::new(index, 1));
        Request { sender, label: 1, words, leases: 0, wants: None, handle, token }
    }

    const BUSY: Answer = Answer::refuse(9);
    const NOT_YET: Option<Ready> = None;

    /// The waiting callers of these tasks, each with a number.
    fn waiting(tasks: &[u16]) -> Callers<u32> {
        let mut callers = Callers::default();
        for (number, &index) in tasks.iter().enumerate() {
            assert_eq!(callers.ask(&request(index, 1, None), number as u32, 9, |_| NOT_YET), Answer::Deferred);
        }
        callers
    }

    fn order(callers: &Callers<u32>) -> Vec<(u16, u32, u32)> {
        callers.calls.iter().map(|caller| (caller.task.index, caller.task.generation, caller.what)).collect()
    }

    #[test]
    fn what_is_there_is_answered_at_once_also_where_others_wait() {
        let mut callers = waiting(&[1, 2]);
        assert_eq!(
            callers.ask(&request(3, 1, None), 7, 9, |own| Some((4, [own.what.into(); 4]))),
            Answer::Reply(4, [7; 4])
        );
        assert_eq!(order(&callers), [(1, 1, 0), (2, 1, 1)]);
    }

    #[test]
    fn in_turn_nobody_is_served_before_those_who_wait() {
        let mut callers = waiting(&[]);
        assert_eq!(callers.ask_in_turn(&request(3, 1, None), 7, 9, |_| Some((0, [1; 4]))), Answer::ok([1; 4]));
        let mut callers = waiting(&[1]);
        assert_eq!(callers.ask_in_turn(&request(3, 1, None), 7, 9, |_| panic!("not its turn")), Answer::Deferred);
        assert_eq!(order(&callers), [(1, 1, 0), (3, 1, 7)]);
    }

    #[test]
    fn a_task_waits_once_and_a_new_life_takes_the_place_of_the_old() {
        let mut callers = waiting(&[1, 2]);
        assert_eq!(callers.ask(&request(1, 1, None), 8, 9, |_| panic!("one waits already")), BUSY);
        assert_eq!(callers.ask_in_turn(&request(2, 1, None), 8, 9, |_| panic!("one waits already")), BUSY);
        assert_eq!(callers.ask(&request(1, 2, None), 8, 9, |_| NOT_YET), Answer::Deferred);
        assert_eq!(order(&callers), [(2, 1, 1), (1, 2, 8)]);
        // So there are never more than tasks, however often each comes back.
        for generation in 3..500 {
            assert_eq!(callers.ask(&request(1, generation, None), 0, 9, |_| NOT_YET), Answer::Deferred);
        }
        assert_eq!(order(&callers), [(2, 1, 1), (1, 499, 0)]);
    }

    #[test]
    fn so_many_calls_of_a_task_wait_as_the_driver_says() {
        let mut callers = Callers::several(2);
        for number in 0..2 {
            assert_eq!(callers.ask(&request(1, 1, None), number, 9, |_| NOT_YET), Answer::Deferred);
        }
        assert_eq!(callers.ask(&request(1, 1, None), 2, 9, |_| panic!("two wait already")), BUSY);
        assert_eq!(callers.ask(&request(2, 1, None), 3, 9, |_| NOT_YET), Answer::Deferred);
        assert_eq!(callers.take(TaskId { index: 1, generation: 1 }).map(|caller| caller.what), Some(0), "the oldest");
        assert_eq!(order(&callers), [(1, 1, 1), (2, 1, 3)]);
        // A new life has nothing to do with either call of the old one.
        assert_eq!(callers.ask(&request(1, 2, None), 4, 9, |_| NOT_YET), Answer::Deferred);
        assert_eq!(callers.ask(&request(1, 2, None), 5, 9, |_| NOT_YET), Answer::Deferred);
        assert_eq!(callers.ask(&request(1, 2, None), 6, 9, |_| panic!("two wait already")), BUSY);
        assert_eq!(order(&callers), [(2, 1, 3), (1, 2, 4), (1, 2, 5)]);
    }

    #[test]
    fn serving_ends_at_the_first_who_goes_on_waiting_and_keeps_how_far_it_was() {
        let mut callers = waiting(&[1, 2, 3]);
        let mut seen = Vec::new();
        let mut room = 2;
        callers.serve(|caller| {
            seen.push(caller.task.index);
            caller.what += 10;
            room -= 1;
            (room > 0).then_some((0, [0; 4]))
        });
        assert_eq!(seen, [1, 2]);
        assert_eq!(order(&callers), [(2, 1, 11), (3, 1, 2)]);
        callers.serve(|_| Some((0, [0; 4])));
        assert!(callers.is_empty());
    }

    #[test]
    fn cancelling_takes_one_task_out() {
        let mut callers = waiting(&[1, 2, 3]);
        callers.cancel(TaskId { index: 2, generation: 1 });
        callers.cancel(TaskId { index: 3, generation: 2 });
        callers.cancel(TaskId { index: 9, generation: 1 });
        assert_eq!(order(&callers), [(1, 1, 0), (3, 1, 2)]);
    }

    #[test]
    fn a_subscription_replaces_the_tasks_last_and_ends_with_its_notification() {
        let mut subscribers = Subscribers::default();
        assert!(!subscribers.add(&request(1, 1, None), false));
        for (index, generation, handle) in [(1, 1, 11), (2, 1, 12), (1, 2, 13)] {
            assert!(subscribers.add(&request(index, generation, Some(handle)), false));
        }
        let held: Vec<_> = subscribers.0.iter().map(|one| (one.task.index, one.notification, one.bits)).collect();
        assert_eq!(held, [(2, 12, 5), (1, 13, 5)]);
        // On the host no notification lives: who is to be signalled at once is given up at once,
        // the others when they are.
        assert!(subscribers.add(&request(3, 1, Some(14)), true));
        assert_eq!(subscribers.0.len(), 2);
        subscribers.signal();
        assert!(subscribers.0.is_empty());
    }
}
