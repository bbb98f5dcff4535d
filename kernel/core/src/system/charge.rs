//! Charging processor time: to the running thread's task, or to the one for which work was done.

use crate::account::Account;
use crate::row::Row;
use crate::sched::BACKGROUND;
use crate::system::System;

impl System {
    /// Charges the time since the last charge to the running thread's task, or counts it as idle
    /// time.
    #[inline]
    pub fn charge(&mut self) {
        let spent = self.now.saturating_sub(self.sched.charged_to);
        self.sched.charged_to = self.now;
        match self.threads.at(self.sched.current) {
            Some(t) => {
                let of_turn = t.effective == BACKGROUND;
                if let Some(account) = self.sched.accounts.get_mut(t.task.index()) {
                    account.charge(of_turn, spent);
                }
            }
            None => self.counters.idle += spent,
        }
    }

    /// Charges the time since the last charge to the task of `row`: a thread of another task has
    /// done in it what was the row's to do.
    pub fn charge_to(&mut self, row: Row) {
        let spent = self.now.saturating_sub(self.sched.charged_to);
        self.sched.charged_to = self.now;
        if let Some(account) = self.account(row) {
            account.charge(false, spent);
        }
    }

    /// Charges the running thread's task for the lower 32 bits of the time since the last charge,
    /// exactly as the assembly does. The rest is left for the next charge; no thread runs that long
    /// without an interrupt of the timer.
    #[inline(always)]
    pub(crate) fn charge_short(&mut self) {
        let spent = u64::from((self.now as u32).wrapping_sub(self.sched.charged_to as u32));
        self.sched.charged_to = self.sched.charged_to.wrapping_add(spent);
        if let Some(t) = self.threads.at(self.sched.current)
            && let Some(account) = self.sched.accounts.get_mut(t.task.index())
        {
            account.charge(t.effective == BACKGROUND, spent);
        }
    }

    /// Cycles of processor time that a row has used over all lives, up to the last charge.
    pub fn cpu(&self, row: Row) -> u64 {
        self.sched.accounts.get(row.index()).map_or(0, Account::used)
    }

    pub(crate) fn account(&mut self, row: Row) -> Option<&mut Account> {
        self.sched.accounts.get_mut(row.index())
    }
}
