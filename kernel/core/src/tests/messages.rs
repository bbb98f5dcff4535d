//! What calls, sent messages and replies must do in a [`World`].

use super::verify::{Checked, runs};
use super::world::{Fast, Mode, Received, World};
use super::{By, Message, Went};
use crate::Row;
use crate::arena::Id;
use crate::endpoint::Endpoint;
use crate::handles::Object;
use crate::number::HandleNumber;
use crate::system::direct::thread_of;
use crate::thread::{State, ThreadIndex, TrapFrame};
use abi::Status;
use abi::message::{Header, Kind, Kinds, Lease, MAX_LEASES, ReplyToken, Rights, Sender};

/// What is lent: each call lends another number of them.
const LENT: [Lease; MAX_LEASES] = [
    Lease { addr: 0x1000, len: 1, access: Lease::READ },
    Lease { addr: u64::MAX, len: u32::MAX, access: Lease::WRITE },
    Lease { addr: 0, len: 0, access: 3 },
    Lease { addr: 0x7fff_0000, len: 512, access: 0xffff_ffff },
];

impl World {
    fn message(&mut self, t: ThreadIndex, give: Option<HandleNumber>) -> Message {
        let message = Message::words([self.serial, t.number().into(), 3, 4]);
        give.map_or(message, |n| message.giving(n, Rights::all()))
    }

    /// What a call wants with its answer: in a rich world all sorts.
    fn wants(&self, give: Option<HandleNumber>) -> Option<Kind> {
        match self.mode {
            Mode::Rich if self.serial % 2 == 1 => Kind::from_u64(self.serial / 2 % 4),
            _ => give.and(Some(Kind::Notification)),
        }
    }

    /// A message of `from`, as its registers hold it, is what ended the `recv` or call of `to`, who takes handles of the kinds `takes`.
    /// `room`: whether the receiver's table had any.
    fn delivered(
        &mut self,
        sent: TrapFrame,
        from: ThreadIndex,
        to: ThreadIndex,
        room: bool,
        takes: Kinds,
    ) -> Result<TrapFrame, String> {
        let t = self.s.threads.at(to).ok_or("the receiver is gone")?;
        let f = t.frame;
        ensure!(runs(t.state), "the receiver is {:?}", t.state);
        ensure!(f.rax == 0 && f.words() == sent.words(), "words {:?} arrived as {:?}", sent.words(), f.words());
        ensure!(f.rsi & 0xf_ffff == sent.rsi & 0xf_ffff, "another label, or other leases");
        ensure!(f.rsi & Header::WANTS == sent.rsi & Header::WANTS, "the receiver sees another wish");
        let flags = f.rsi & !(0xf_ffff | Header::WANTS);
        let (kind, number) = (Header(sent.rsi).handle(), f.r10 & 0xffff_ffff);
        if !Header(sent.rsi).has_handle() {
            ensure!(flags == 0 && f.r10 == 0, "a handle out of nothing");
        } else if !takes.contains(Kinds::of(kind)) {
            ensure!(flags == Header::HANDLE_REFUSED && f.r10 == 0, "flags {flags:#x} of a handle that is not taken");
        } else if flags == sent.rsi & Header::HANDLE {
            ensure!(room, "a handle arrived where there was no room");
            let there = self
                .s
                .handle(to, HandleNumber::from_register(number))
                .map_err(|e| format!("the handle that arrived: {e:?}"))?;
            ensure!(Some(there.object.kind()) == kind, "a {kind:?} arrived as {:?}", there.object);
            ensure!(f.r10 >> 32 == u64::from(there.rights.bits()), "the receiver is told other rights");
            if let Ok(here) = self.s.handle(from, HandleNumber::from_register(sent.r10 & 0xffff_ffff)) {
                ensure!(here.object == there.object, "another object arrived");
                ensure!(here.rights.contains(there.rights), "rights out of nothing");
            }
            ensure!(!there.rights.contains(Rights::RECV), "the right to receive was copied");
        } else {
            ensure!(flags == Header::HANDLE_LOST && f.r10 == 0, "flags {flags:#x}");
            let derived = self.s.handle_derive(
                self.s.row_of(from).unwrap_or(Row::new(0)),
                HandleNumber::from_register(sent.r10 & 0xffff_ffff),
                sent.r10 >> 32,
            );
            let plain = match derived.map(|h| h.object) {
                Ok(Object::Endpoint(id)) => self.s.endpoints.get(id).is_some(),
                Ok(Object::Notification(id)) => self.s.notifications.get(id).is_some(),
                _ => false,
            };
            ensure!(!room || !plain, "a handle was lost for no reason");
        }
        Ok(f)
    }

    /// A message that a server receives at an endpoint is as [`World::delivered`] says; sender and token too.
    fn received(
        &mut self,
        sent: TrapFrame,
        from: ThreadIndex,
        to: ThreadIndex,
        room: bool,
        at: Id<Endpoint>,
        is_call: bool,
    ) -> Checked {
        let takes = self.s.endpoints.get(at).map_or(Kinds::empty(), |e| e.takes);
        let f = self.delivered(sent, from, to, room, takes)?;
        let (row, server) = (self.s.row_of(from).unwrap(), self.s.row_of(to).unwrap());
        let sender = Sender::from_u64(f.rdi);
        ensure!(sender.task == self.s.tasks[row].id(row), "sent by {row}, says {:?}", sender.task);
        ensure!(
            // What a call by the short way is told stays in the way; what others are, in the thread.
            self.s.threads.at(from).is_some_and(|t| [t.sender, t.calls.tells].contains(&f.rdi)),
            "another badge"
        );
        if !is_call {
            ensure!(f.r8 == 0, "a token for a message that wants no reply");
            return Ok(());
        }
        ensure!(f.r8 != 0 && thread_of(ReplyToken(f.r8)) == from, "a token for another thread");
        ensure!(self.seen.insert(f.r8), "token {:#x} was given before", f.r8);
        let caller = self.s.threads.id_at(from).ok_or("no caller")?;
        ensure!(self.s.threads.at(from).map(|t| t.state) == Some(State::Replying(server)), "the caller does not wait");
        self.received.insert(f.r8, Received { caller, server, lent: Header(sent.rsi).leases() });
        let known = &mut self.tokens[server.index()];
        known.push(f.r8);
        // A server remembers the newest stale token and all good ones.
        let stale: Vec<u64> = known.iter().copied().filter(|t| !self.received.contains_key(t)).collect();
        if stale.len() > 1 {
            known.retain(|t| self.received.contains_key(t) || stale.last() == Some(t));
        }
        Ok(())
    }

    fn room(&self, thread: ThreadIndex) -> bool {
        self.s.row_of(thread).is_ok_and(|row| self.s.tasks[row].handles.has_room())
    }

    pub fn call(&mut self, t: ThreadIndex, n: HandleNumber, give: Option<HandleNumber>) -> Checked {
        self.enter(t);
        let mut message = self.message(t, give).lending(&LENT[..self.serial as usize % (MAX_LEASES + 1)]);
        message.wants = self.wants(give);
        let row = self.s.row_of(t).unwrap();
        let Object::Endpoint(id) = self.s.handle(t, n).unwrap().object else { return Err("no endpoint".into()) };
        let expected = match self.s.endpoints.get(id) {
            Some(e) if self.s.exists(e.owner, e.permanent) => {
                let server = &self.s.tasks[e.owner];
                let allowed = e.owner == row || server.record.priority < self.s.tasks[row].record.priority;
                let receiver = e.receivers.front().filter(|_| server.is_alive());
                match (allowed, server.is_alive() || server.expected) {
                    (false, _) => Err(Status::CallOrder),
                    (true, false) => Err(Status::PeerGone),
                    (true, true) => match give.map(|n| self.s.handle(t, n).unwrap().object.kind()) {
                        kind if e.served && !e.takes.contains(Kinds::of(kind)) => Err(Status::HandleRefused),
                        _ => Ok(receiver),
                    },
                }
            }
            _ => Err(Status::BadHandle),
        };
        let room = expected.ok().flatten().is_some_and(|r| self.room(r));
        let before = self.before();
        let plain = give.is_none() && message.wants.is_none();
        let went = if plain { super::fast_call(&mut self.s, t, n, message, self.by) } else { Went::Not };
        let result = match went {
            Went::Not => super::call(&mut self.s, t, n, message),
            _ => Ok(()),
        };
        self.went(Fast::Call, went == Went::Over);
        self.went(Fast::CallQueued, went == Went::Queued);
        ensure!(result == expected.map(drop), "ends with {result:?}, not {expected:?}");
        let sent = self.s.threads.at(t).unwrap().frame;
        match expected {
            Err(_) => self.others(&before, &[t]),
            Ok(Some(receiver)) => {
                self.received(sent, t, receiver, room, id, true)?;
                self.others(&before, &[t, receiver])
            }
            Ok(None) => {
                ensure!(self.s.threads.at(t).unwrap().state == State::Sending(id.index()), "the caller is not queued");
                let queue = crate::system::check::members(&self.s, self.s.endpoints.get(id).unwrap().senders)?;
                ensure!(queue.last() == Some(&t), "the caller is not the last of {queue:?}");
                self.others(&before, &[t])
            }
        }
    }

    pub fn send(&mut self, t: ThreadIndex, n: HandleNumber) -> Checked {
        self.enter(t);
        let message = self.message(t, None);
        let Object::Endpoint(id) = self.s.handle(t, n).unwrap().object else { return Err("no endpoint".into()) };
        let there = self.s.endpoints.get(id).filter(|e| self.s.exists(e.owner, e.permanent));
        let receiver = there.map(|e| e.receivers.front().filter(|_| self.s.is_alive(e.owner)));
        let expected = match receiver {
            None => Err(Status::BadHandle),
            Some(Some(_)) => Ok(()),
            Some(None) if self.s.is_open(id) => Err(Status::WouldBlock),
            Some(None) => Err(Status::PeerGone),
        };
        let before = self.before();
        let result = super::send(&mut self.s, t, n, message);
        ensure!(result == expected, "ends with {result:?}, not {expected:?}");
        ensure!(runs(self.s.threads.at(t).unwrap().state), "the sender waits");
        let sent = self.s.threads.at(t).unwrap().frame;
        let receiver = receiver.flatten();
        if let Some(r) = receiver {
            self.received(sent, t, r, true, id, false)?;
        }
        self.others(&before, &[t, receiver.unwrap_or(t)])
    }

    pub fn recv(&mut self, t: ThreadIndex, n: HandleNumber, mask: u64) -> Checked {
        self.enter(t);
        let before = self.before();
        let Object::Endpoint(id) = self.s.handle(t, n).unwrap().object else { return Err("no endpoint".into()) };
        let Some(e) = self.s.endpoints.get(id) else {
            ensure!(self.s.recv(t, n, mask) == Err(Status::BadHandle), "an endpoint that is gone");
            return self.others(&before, &[t]);
        };
        let bits = e.bound.and_then(|n| self.s.notifications.get(n)).map_or(0, |n| n.word & mask);
        let senders = crate::system::check::members(&self.s, e.senders)?;
        let (bound, sender) = (e.bound, senders.into_iter().find(|&sender| !self.s.is_dead(sender)));
        let room = self.room(t);
        let result = super::recv(&mut self.s, t, n, mask);
        ensure!(result == Ok(()), "ends with {result:?}");
        if bits != 0 {
            let left = bound.and_then(|n| self.s.notifications.get(n)).map_or(0, |n| n.word);
            ensure!(left & mask == 0, "bits were not taken");
            self.woken_by_bits(t, bits, false)?;
            return self.others(&before, &[t]);
        }
        let Some(sender) = sender else {
            ensure!(self.s.threads.at(t).unwrap().state == State::Receiving(id.index()), "the receiver does not wait");
            return self.others(&before, &[t]);
        };
        let sent = before.0[usize::from(sender.number())].ok_or("no sender")?.2;
        self.received(sent, sender, t, room, id, true)?;
        self.others(&before, &[t, sender])
    }

    /// In one step where that is wanted and done directly, else in two.
    pub fn reply_recv(&mut self, t: ThreadIndex, n: HandleNumber, token: u64, mask: u64) -> Checked {
        let row = self.s.row_of(t).unwrap();
        let Object::Endpoint(id) = self.s.handle(t, n).unwrap().object else { return Err("no endpoint".into()) };
        let caller = self.received.get(&token).filter(|r| r.server == row).map(|r| r.caller);
        self.enter(t);
        let f = super::frame(&mut self.s, t);
        (f.rdi, f.r8, f.r9) = (n.to_u64(), token, mask);
        if self.by == By::General {
            self.reply(t, token, None)?;
            return self.recv(t, n, mask);
        }
        let message = self.message(t, None);
        let before = self.before();
        let senders = self.s.endpoints.get(id).map(|e| e.senders).unwrap_or_default();
        let went = super::fast_reply_recv(&mut self.s, t, (n, token, mask), message, self.by);
        self.went(Fast::ReplyRecv, went == Went::Over);
        self.went(Fast::ReplyQueued, went == Went::Queued);
        if went == Went::Not {
            self.reply(t, token, None)?;
            return self.recv(t, n, mask);
        }
        let caller = caller.ok_or("a stale reply was delivered")?.index();
        self.received.remove(&token);
        let sent = TrapFrame { rsi: message.label.into(), ..TrapFrame::default() };
        let sent = {
            let mut sent = sent;
            sent.set_words(message.words);
            sent
        };
        self.delivered(sent, t, caller, true, Kinds::empty())?;
        if went == Went::Over {
            ensure!(self.s.threads.at(t).unwrap().state == State::Receiving(id.index()), "the receiver does not wait");
            return self.others(&before, &[t, caller]);
        }
        let first = senders.front().ok_or("a call out of nothing")?;
        let request = before.0[usize::from(first.number())].ok_or("no sender")?.2;
        self.received(request, first, t, true, id, true)?;
        self.others(&before, &[t, caller, first])
    }

    pub fn reply(&mut self, t: ThreadIndex, token: u64, give: Option<HandleNumber>) -> Checked {
        self.enter(t);
        let message = self.message(t, give);
        let row = self.s.row_of(t).unwrap();
        let caller = self.received.get(&token).filter(|r| r.server == row).map(|r| r.caller);
        let before = self.before();
        let room = caller.is_some_and(|c| self.room(c.index()));
        let wants = caller.and_then(|c| self.s.threads.get(c)).and_then(|c| Header(c.frame.rsi).wants());
        let result = super::reply(&mut self.s, t, token, message);
        let Some(caller) = caller else {
            ensure!(result == Err(Status::StaleReply), "a stale reply ends with {result:?}");
            return self.others(&before, &[t]);
        };
        ensure!(result == Ok(()), "a reply to a waiting caller ends with {result:?}");
        self.received.remove(&token);
        ensure!(self.s.threads.get(caller).is_some(), "a reply to a thread that is gone");
        let sent = self.s.threads.at(t).unwrap().frame;
        self.delivered(sent, t, caller.index(), room, Kinds::of(wants))?;
        self.others(&before, &[t, caller.index()])
    }

    /// Every task finds out about the leases of the calls that it has received and not answered, all that was lent, and about no others.
    pub fn leases(&self) -> Checked {
        for row in self.s.tasks.rows() {
            if !self.s.is_alive(row) {
                continue;
            }
            let Some((thread, _)) = self.s.threads.iter().find(|(_, t)| t.task == row) else { continue };
            let known = self.tokens[row.index()].iter().copied();
            for token in known.chain(self.received.keys().copied()) {
                let lent = self.received.get(&token).filter(|r| r.server == row).map(|r| r.lent);
                for number in 0..=MAX_LEASES {
                    let expected = match lent {
                        None => Err(Status::StaleReply),
                        Some(lent) => {
                            let lease = LENT.get(number).filter(|_| number < lent);
                            lease.map(|lease| (lease.len, lease.access)).ok_or(Status::LeaseBounds)
                        }
                    };
                    let got = self.s.lease_info(thread.index(), ReplyToken(token), number as u64);
                    ensure!(got == expected, "row {row}: lease {number} of {token:#x} is {got:?}, not {expected:?}");
                }
            }
        }
        Ok(())
    }
}
