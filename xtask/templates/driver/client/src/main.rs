//! The task: a client of the server in `src/bin`, and itself a server, whose requests it passes on.
//!
//! It waits in a call, and takes its next request after that. One that is to wait for several servers at a time is written as futures, on
//! `rt::exec`: `docs/async.md` in Enigma's tree shows one.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use {{crate}}::{Refusal, Server, sum};
use rt::Driver;
use rt::proto::Asker;

struct Task {
    sum: sum::Client,
}

impl Driver for Task {
    fn init() -> Self {
        Task { sum: sum::Client::peer().expect("`sum` among the `calls` of the manifest") }
    }
}

impl Server for Task {
    fn read(&mut self, _: Asker) -> Result<u64, Refusal> {
        self.sum.total().map_err(|_| Refusal::NoServer)
    }

    fn add(&mut self, _: Asker, amount: u32) -> Result<u64, Refusal> {
        // The client repeats it as long as the server dies over it: an error is final.
        self.sum.add(amount).map_err(|_| Refusal::NoServer)
    }
}

rt::driver!(Task, serves {{crate}});

/// The whole task, asked by clients, on the host: `rt::testing` plays the kernel, and a model the server.
#[cfg(test)]
mod tests {
    use super::*;
    use {{crate}}::{Client, Error, Protocol};
    use rt::ipc::CallError;
    use rt::proto::Served;
    use rt::testing::{Deaths, Harness, Running, every_death};
    use std::cell::RefCell;
    use std::rc::Rc;

    /// When the server dies over a request.
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Dies {
        Before,
        After,
    }

    /// A server that keeps its promise.
    #[derive(Default)]
    struct Model {
        total: u64,
        last: u64,
        /// Over which of the next requests it dies; over none that comes later.
        dies: Vec<Option<Dies>>,
    }

    impl Model {
        fn asked(&mut self, label: u16, [amount, number, ..]: [u64; 4]) -> Option<(u16, [u64; 4])> {
            let dies = if self.dies.is_empty() { None } else { self.dies.remove(0) };
            if dies == Some(Dies::Before) {
                return None;
            }
            if label == sum::label::add && number != self.last {
                (self.total, self.last) = (self.total + amount, number);
            }
            (dies != Some(Dies::After)).then_some((0, [self.total, 0, 0, 0]))
        }
    }

    fn start(deaths: &Deaths, model: &Rc<RefCell<Model>>) -> Running {
        let model = model.clone();
        let answers = move |label, words| model.borrow_mut().asked(label, words);
        Harness::new("{{name}}").mortal_peer("sum", answers).deaths(deaths).start::<Served<Task, Protocol>>()
    }

    /// A request over which the server dies is repeated with its number: it is neither lost nor done twice.
    #[test]
    fn whenever_the_server_dies_every_amount_is_added_once() {
        let ways = [None, Some(Dies::Before), Some(Dies::After)];
        for first in ways {
            for second in ways {
                for third in ways {
                    let model = Rc::new(RefCell::new(Model { dies: vec![first, second, third], ..Model::default() }));
                    let driver = start(&Deaths::none(), &model);
                    let client = Client::new(driver.client(0));
                    let totals = [1, 20, 300].map(|amount| client.add(amount));
                    assert_eq!(totals, [Ok(1), Ok(21), Ok(321)], "{first:?}, {second:?}, {third:?}");
                    assert_eq!((client.read(), driver.lives()), (Ok(321), 1));
                }
            }
        }
    }

    /// The harness ends this task's life before each of its steps in turn: its clients are told, and nothing is added twice.
    #[test]
    fn whenever_this_task_dies_nothing_is_added_twice() {
        every_death(|deaths| {
            let model = Rc::default();
            let driver = start(deaths, &model);
            let client = Client::new(driver.client(0));
            let (mut sure, mut perhaps) = (0, 0);
            for amount in [1_u32, 20, 300] {
                match client.add(amount) {
                    Ok(_) => sure += u64::from(amount),
                    Err(Error::Call(CallError::Died { .. })) => perhaps += u64::from(amount),
                    Err(error) => panic!("{error}"),
                }
            }
            let total = client.read().expect("the next life answers");
            assert!(total == sure || total == sure + perhaps, "{total}: {sure} and perhaps {perhaps}");
        });
    }
}
