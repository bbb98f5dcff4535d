//! The executor's platform in a task: the task's notification and endpoint, one timer, and threads
//! for calls.

use super::calls::Job;
use super::pool::Pool;
use super::state::{Exec, Platform};
use crate::ipc::{Endpoint, Event};
use crate::notify::Notification;
use crate::time::{Timer, now_ns};
use abi::message::bits;
use alloc::boxed::Box;

/// The most calls that [`run`] makes at the same time.
pub const MAX_CALLS: usize = 8;

/// Runs the future that `main` makes, and those that it spawns, until it is ready. The calling
/// thread waits on the task's permanent notification, so a task has only one such executor.
///
/// # Panics
/// If the task's quota has no room for a timer when one is first needed, or if another thread waits
/// on the notification. Where the task's quota has no room for a timer when one is first needed,
/// and where another thread waits on the notification.
pub fn run<F: Future>(main: impl FnOnce(Exec) -> F) -> F::Output {
    run_with(MAX_CALLS, main)
}

/// Runs a future and those that it spawns, with at most `calls` calls at the same time, each of
/// which takes a thread (3 pages of stack, 3 objects).
///
/// # Panics
/// If the task's quota has no room for a timer when one is first needed, or if another thread waits
/// on the notification.
pub fn run_with<F: Future>(calls: usize, main: impl FnOnce(Exec) -> F) -> F::Output {
    let exec = start(calls);
    exec.block_on(main(exec.clone()))
}

/// Makes an executor for a program that is not a server and waits for several things now and then:
/// [`Exec::block_on`] runs one future after another on it. Calls that have begun continue between
/// them, even if they are abandoned.
pub fn start(calls: usize) -> Exec {
    Exec::new(Kernel { timer: None, armed: None, pool: Pool::new(calls) })
}

struct Kernel {
    timer: Option<Timer>,
    armed: Option<u64>,
    pool: Pool,
}

impl Kernel {
    /// Arms the timer to set the runtime's bit at the deadline, or disarms it.
    fn arm(&mut self, deadline: Option<u64>) {
        if deadline == self.armed {
            return;
        }
        match (deadline, &self.timer) {
            (Some(deadline), Some(timer)) => timer.arm_at(deadline),
            (Some(deadline), None) => match Timer::new(bits::RUNTIME.trailing_zeros()) {
                Ok(timer) => self.timer.insert(timer).arm_at(deadline),
                Err(status) => panic!("no timer for the executor: {status}"),
            },
            (None, Some(timer)) => timer.disarm(),
            (None, None) => {}
        }
        self.armed = deadline;
    }
}

impl Platform for Kernel {
    fn now(&self) -> u64 {
        now_ns()
    }

    fn poll(&mut self) -> u64 {
        self.pool.start();
        Notification::own().poll(u64::MAX)
    }

    fn wait(&mut self, wanted: bool, deadline: Option<u64>) -> Event {
        self.arm(deadline);
        self.pool.start();
        let event = if wanted {
            Endpoint::own().receive(u64::MAX)
        } else {
            Notification::own().try_wait(u64::MAX).map(Event::Notified)
        };
        // A timer that has expired is no longer armed.
        self.armed = self.armed.filter(|armed| *armed > now_ns());
        match event {
            Ok(event) => event,
            Err(status) => panic!("the executor cannot wait: {status}"),
        }
    }

    fn waker(&self) -> Box<dyn Fn() + Send + Sync> {
        // The task's permanent notification exists as long as the task.
        Box::new(|| {
            let _ = Notification::own().signal(bits::RUNTIME);
        })
    }

    fn submit(&mut self, job: Job) {
        self.pool.submit(job);
    }

    fn alone(&mut self) -> Option<Job> {
        self.pool.alone()
    }

    fn drop_abandoned(&mut self) {
        self.pool.drop_abandoned();
    }
}
