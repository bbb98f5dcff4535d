//! What is done at each tick: look what became of the drivers that something was done to, type, do the next thing.

use crate::case::{Case, Found, Hit, Stage};
use crate::plan::Phase;
use crate::victim::NotDone;
use crate::{Chaos, MS};
use abi::TaskId;
use abi::error::DeathKind;
use driver_keyboard::Mods;
use fault_injection::fault::Kind;
use fault_injection::{Driver, order};
use rt::println;
use rt::time::now_ns;

/// A client that gets nothing done for so long has a driver that does not serve: the last resort, longer than heartbeats take.
const WATCHDOG_MS: u64 = 300;
/// How often a driver is killed because it does not serve, before it is given up.
const MOST_TRIES: u32 = 8;
/// How often a client does over what was damaged, before the driver is given up.
const MOST_REPAIRS: u32 = 8;
/// How long a key may take to arrive when the keyboard is being repaired.
const KEY_MS: u64 = 250;
/// A driver that has waited at so many ticks in a row is set up, or at rest.
const SET_UP_TICKS: u32 = 3;
const REST_TICKS: u32 = 20;
/// How long the clients may take to stop or to end.
const PATIENCE_MS: u64 = 10_000;

/// How long the driver goes on with a fault that nobody notices, before it is replaced, or, where it need not be, before all is well.
const fn window_ms(kind: Kind) -> u64 {
    match kind {
        Kind::CodeFlip | Kind::DataFlip | Kind::KeepFlip | Kind::WildRegister => 40,
        Kind::Hoard | Kind::Flood => 25,
        Kind::InterruptDropped => 120,
        Kind::InterruptDoubled => 10,
        // Found by heartbeat or watchdog before that, unless another fault has put an end to it.
        Kind::Hang | Kind::Loop | Kind::Deaf | Kind::Kill => 2 * WATCHDOG_MS,
    }
}

impl Chaos {
    /// Everything that is due.
    pub(crate) fn tick(&mut self) {
        let now = now_ns();
        for place in 0..self.victims.len() {
            self.watch(place, now);
        }
        self.strike(now);
        self.types(now);
        self.go_on(now);
    }

    /// Looks what became of a driver.
    fn watch(&mut self, place: usize, now: u64) {
        let life = self.victims[place].life();
        let waits = life.is_some_and(|(_, waits)| waits);
        self.quiet[place] = if waits { self.quiet[place] + 1 } else { 0 };
        let client = &mut self.clients[place];
        if client.held.is_some() || place == Driver::Keyboard as usize && !self.typist.is_busy() {
            client.progress_ns = now;
        }
        let stalled = now.saturating_sub(client.progress_ns) > WATCHDOG_MS * MS;
        let life = life.map(|(id, _)| id);
        self.find_out(place, life);
        let Some(case) = &mut self.cases[place] else {
            if stalled {
                println!("stalled {}", self.victims[place].driver.name());
                self.failures.stalled += 1;
                self.kill(place, life, Found::Watchdog, now);
            }
            return;
        };
        let found = case.hits.last().and_then(|hit| hit.found);
        match case.stage {
            Stage::Open => {
                if let Some((_, found_ns)) = found {
                    case.stage = Stage::Recovering(found_ns);
                    self.clients[place].progress_ns = now;
                } else if stalled {
                    self.kill(place, life, Found::Watchdog, now);
                } else if now >= case.until_ns {
                    if case.lasts() {
                        self.kill(place, life, Found::Never, now);
                    } else {
                        let hits = case.hits.iter_mut().filter(|hit| hit.found.is_none());
                        hits.for_each(|hit| hit.found = Some((Found::Harmless, hit.at_ns)));
                        case.stage = Stage::Recovering(now);
                    }
                }
            }
            Stage::Recovering(_) | Stage::Repairing if stalled => {
                case.tries += 1;
                if case.tries > MOST_TRIES {
                    self.give_up(place);
                } else {
                    case.stage = Stage::Recovering(now);
                    self.kill(place, life, Found::Watchdog, now);
                }
            }
            Stage::Recovering(_) => {
                if place == Driver::Keyboard as usize && case.corrupts() && self.quiet[place] >= SET_UP_TICKS {
                    self.repair(place, now, life);
                }
            }
            Stage::Repairing => {
                if life != case.repaired {
                    case.stage = Stage::Recovering(now);
                } else if place == Driver::Keyboard as usize && now > case.repair_ns + KEY_MS * MS {
                    self.repair(place, now, life);
                }
            }
        }
    }

    /// Notes how those faults were found out whose lives are over.
    fn find_out(&mut self, place: usize, life: Option<TaskId>) {
        let Some(case) = &mut self.cases[place] else { return };
        let killed = case.killed;
        for hit in case.hits.iter_mut().filter(|hit| hit.found.is_none() && Some(hit.life) != life) {
            let Ok(state) = self.boss.state(self.victims[place].row) else { return };
            if state.ended < hit.life.generation && hit.life.generation - state.ended < 1000 {
                // The supervisor has not seen it yet.
                return;
            }
            let how = match killed {
                Some((id, why)) if id == hit.life => why,
                _ => Found::from_death(DeathKind::from_u32(state.kind.into())),
            };
            hit.found = Some((how, state.ended_ns.max(hit.at_ns)));
        }
    }

    fn kill(&mut self, place: usize, life: Option<TaskId>, why: Found, now: u64) {
        self.clients[place].progress_ns = now;
        if let Some(id) = life
            && self.boss.kill(id).is_ok()
            && let Some(case) = &mut self.cases[place]
        {
            case.killed = Some((id, why));
        }
    }

    /// A driver does not come back.
    fn give_up(&mut self, place: usize) {
        println!("unrecovered {}", self.victims[place].driver.name());
        self.failures.unrecovered += 1;
        self.close(place);
        self.finish();
        self.over();
    }

    /// A client has done something: so its driver serves.
    pub(crate) fn served(&mut self, place: usize, began_ns: u64, ended_ns: u64) {
        let now = now_ns();
        let keyboard = place == Driver::Keyboard as usize;
        let began_ns = if keyboard { began_ns.max(self.typist.waits_since_ns) } else { began_ns };
        self.typist.waits_since_ns = if keyboard { now } else { self.typist.waits_since_ns };
        let Some(case) = &mut self.cases[place] else { return };
        case.pause_ns = case.pause_ns.max(ended_ns.saturating_sub(began_ns));
        match case.stage {
            Stage::Open => {
                let last_ns = case.hits.last().map_or(0, |hit| hit.at_ns);
                if !case.lasts() && ended_ns > last_ns {
                    case.served_ns.get_or_insert(ended_ns);
                }
            }
            Stage::Recovering(since) => {
                if ended_ns <= since {
                    return;
                }
                case.served_ns.get_or_insert(ended_ns);
                if keyboard && case.corrupts() {
                    // The sign that is asked for has not come yet.
                } else if case.corrupts() && began_ns > since {
                    let life = self.victims[place].life().map(|(id, _)| id);
                    self.repair(place, now, life);
                } else if keyboard || began_ns > since {
                    self.close(place);
                }
            }
            Stage::Repairing => {
                if keyboard || self.clients[place].order.is_some() || began_ns < case.repair_ns {
                    return;
                }
                if core::mem::take(&mut case.still_wrong) {
                    let life = self.victims[place].life().map(|(id, _)| id);
                    self.repair(place, now, life);
                } else {
                    self.close(place);
                }
            }
        }
    }

    /// Has the client do over what may have been damaged.
    fn repair(&mut self, place: usize, now: u64, life: Option<TaskId>) {
        let Some(case) = &mut self.cases[place] else { return };
        case.repairs += 1;
        if case.repairs > MOST_REPAIRS {
            self.give_up(place);
            return;
        }
        (case.stage, case.repair_ns, case.repaired) = (Stage::Repairing, now, life);
        let arrived = case.arrived;
        match Driver::ALL[place] {
            Driver::Keyboard => self.typist.ask(false),
            Driver::Serial => {
                self.windows += 1;
                case.windows = (if case.windows.0 == 0 { self.windows } else { case.windows.0 }, self.windows);
                println!("window {} {arrived} {}", self.windows, self.clients[place].next);
                let argument = u64::from(self.windows) << 32 | u64::from(arrived);
                self.clients[place].order = Some((order::REPEAT, argument));
            }
            Driver::Vga => {
                let from = self.clients[place].next.saturating_sub(fault_injection::rows::ROWS as u32 + 5);
                self.clients[place].order = Some((order::REPEAT, from.into()));
            }
        }
    }

    /// Keys have arrived.
    pub(crate) fn arrived(&mut self, keys: &[u8], mods: u64) {
        keys.iter().for_each(|&key| self.typist.judge.received(key));
        if !self.typist.asks || !keys.contains(&fault_injection::keys::AGAIN) {
            return;
        }
        let place = Driver::Keyboard as usize;
        if mods & u64::from(Mods::CAPS.bits()) != 0 {
            self.typist.ask(true);
            return;
        }
        let damage = self.typist.again();
        self.clients[place].order = Some((order::REPEAT, 0));
        if let Some(case) = &mut self.cases[place] {
            case.damage = (damage.lost, damage.extra);
            case.served_ns.get_or_insert(now_ns());
        }
        self.close(place);
    }

    fn close(&mut self, place: usize) {
        if let Some(case) = self.cases[place].take() {
            case.print(self.victims[place].driver.name());
        }
    }

    /// Does what is due to be done.
    fn strike(&mut self, now: u64) {
        if matches!(self.plan.phase, Phase::Rehearse | Phase::Work) {
            let free = [0, 1, 2].map(|place| self.cases[place].is_none());
            self.plan.plan(now, free);
        }
        for place in 0..self.victims.len() {
            let Some(planned) = self.plan.pending[place].filter(|planned| planned.due_ns <= now) else { continue };
            let Some((id, _)) = self.victims[place].life() else { continue };
            let victim = &self.victims[place];
            match victim.inject(id, planned.kind, &mut self.plan.random, self.boss) {
                Ok(done) => {
                    let kind = done.kind;
                    let (number, rehearsal) = self.plan.struck(victim.driver, now);
                    let arrived = self.clients[place].arrived;
                    let case = self.cases[place].get_or_insert_with(|| Case::new(arrived));
                    case.hits.push(Hit { number, rehearsal, done, life: id, at_ns: now_ns(), found: None });
                    (case.stage, case.served_ns) = (Stage::Open, None);
                    case.until_ns = case.until_ns.max(now + window_ms(kind) * MS);
                    if place == Driver::Keyboard as usize {
                        self.typist.asks = false;
                        if kind.corrupts() {
                            self.typist.judge.open();
                        }
                    }
                }
                // At the next tick, in the next life or in another place.
                Err(NotDone::Dead | NotDone::Unreachable) => {}
            }
        }
    }

    /// Types the next scan code.
    fn types(&mut self, now: u64) {
        let place = Driver::Keyboard as usize;
        let Some((id, _)) = self.victims[place].life() else { return };
        if self.clients[place].reports == 0 {
            return;
        }
        // A driver that has nothing to go on with sets the controller up anew, and what is typed meanwhile would get between its words.
        if let Some(case) = &self.cases[place]
            && case.corrupts()
            && matches!(case.stage, Stage::Recovering(_))
        {
            return;
        }
        let waited = self.typist.judge.on_the_way() > 0;
        let typed = self.typist.step(&self.victims[place], id);
        if typed && !waited {
            (self.clients[place].progress_ns, self.typist.waits_since_ns) = (now, now);
        }
    }

    /// From one part of the run to the next.
    fn go_on(&mut self, now: u64) {
        let idle = self.cases.iter().all(Option::is_none);
        let stopped = [Driver::Serial, Driver::Vga].iter().all(|&d| self.clients[d as usize].held.is_some());
        let resting = self.quiet.iter().all(|&ticks| ticks >= REST_TICKS);
        let next = match self.plan.phase {
            Phase::Start if self.clients.iter().all(|client| client.reports > 0) => Phase::Rehearse,
            Phase::Rehearse if idle && self.plan.is_exhausted() => Phase::Settle,
            Phase::Work if idle && self.plan.is_exhausted() => Phase::SettleAgain,
            Phase::Settle | Phase::SettleAgain if idle && stopped && self.typist.is_idle() => {
                // New lives hold what new lives hold.
                for place in 0..self.victims.len() {
                    let life = self.victims[place].life().map(|(id, _)| id);
                    self.kill(place, life, Found::Killed, now);
                    self.quiet[place] = 0;
                }
                if self.plan.phase == Phase::Settle { Phase::Rest } else { Phase::RestAgain }
            }
            Phase::Rest if resting => {
                self.before = self.counters();
                self.typist.stopped = false;
                Phase::Work
            }
            Phase::RestAgain if resting => {
                self.finish();
                Phase::End
            }
            Phase::End if stopped => {
                self.over();
                Phase::Over
            }
            phase => phase,
        };
        if next != self.plan.phase {
            self.plan.phase = next;
            self.plan.since_ns = now;
            match next {
                Phase::Settle | Phase::SettleAgain => self.typist.stopped = true,
                Phase::Work => self.release(order::GO_ON),
                Phase::End => self.release(order::FINISH),
                _ => {}
            }
        } else if self.plan.holds() && next != Phase::Over && now > self.plan.since_ns + PATIENCE_MS * MS {
            println!("unrecovered in {next:?}");
            self.failures.unrecovered += 1;
            self.finish();
            self.over();
        }
    }

    /// Answers the clients that wait.
    fn release(&mut self, what: u64) {
        for client in &mut self.clients {
            if let Some(pending) = client.held.take() {
                client.finished = what == order::FINISH;
                // A client that is gone shows by its silence.
                let _ = pending.reply(0, [what, 0, self.seeds.next(), 0]);
            }
        }
    }

    fn over(&mut self) {
        self.plan.phase = Phase::Over;
        println!("over");
    }
}
