//! The server: adds amounts up, each exactly once, whenever it dies.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use {{crate}}::sum::{Refusal, Server};
use rt::Driver;
use rt::abi::TaskId;
use rt::keep::{LastDone, MAX_TASKS, Ring};
use rt::proto::Asker;

rt::words! {
    /// An addition: whose it is, and what comes of it.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Entry {
        task: TaskId,
        number: u64,
        total: u64,
    }
}

rt::kept! {
    /// What outlives the server (`keep` in the manifest): its next life finds it as this one left it, after any instruction.
    pub struct Keep {
        /// The last entry is the one that counts. One store appends it, and with it total and number change at once.
        entries: Ring<Entry, 2>,
        done: LastDone<MAX_TASKS>,
    }
}

struct Task {
    keep: &'static Keep,
}

impl Task {
    fn total_now(&self) -> u64 {
        self.keep.entries.last().map_or(0, |entry| entry.total)
    }
}

impl Driver for Task {
    fn init() -> Self {
        let keep = rt::keep::open_or(|_: &Keep| {});
        // An earlier life may have died between the entry and the mark.
        if let Some(entry) = keep.entries.last() {
            keep.done.set(entry.task, entry.number);
        }
        Task { keep }
    }
}

impl Server for Task {
    fn add(&mut self, from: Asker, amount: u32) -> Result<u64, Refusal> {
        let Keep { entries, done, .. } = self.keep;
        if !done.is_done(from.task, from.number) {
            let total = self.total_now().wrapping_add(amount.into());
            if entries.room() == 0 {
                entries.advance();
            }
            entries.push(&[Entry { task: from.task, number: from.number, total }]);
            done.set(from.task, from.number);
        }
        Ok(self.total_now())
    }

    fn total(&mut self, _: Asker) -> Result<u64, Refusal> {
        Ok(self.total_now())
    }
}

rt::driver!(Task, serves {{crate}}::sum);

/// The whole server, asked by clients, on the host: `rt::testing` plays the kernel.
#[cfg(test)]
mod tests {
    use super::*;
    use {{crate}}::sum::{Client, Protocol};
    use rt::proto::Served;
    use rt::testing::{Deaths, Harness, every_death, every_two_deaths};

    /// Two clients add in turn; each repeats a request over which the server dies, with its number.
    fn adds(deaths: &Deaths) {
        let harness = Harness::new("{{name}}-sum").keep(size_of::<Keep>()).deaths(deaths);
        let server = harness.start::<Served<Task, Protocol>>();
        let (ann, ben) = (Client::new(server.client(0)), Client::new(server.client(1)));
        let totals = [ann.add(1), ben.add(20), ann.add(300), ann.add(4000)];
        assert_eq!(totals, [Ok(1), Ok(21), Ok(321), Ok(4321)]);
        assert_eq!(ben.total(), Ok(4321));
        assert_eq!(server.lives() as usize, 1 + deaths.count());
    }

    #[test]
    fn whenever_it_dies_every_amount_is_added_once() {
        every_death(adds);
        every_two_deaths(1, 20, adds);
    }
}
