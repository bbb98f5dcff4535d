//! A round-robin queue of the writes of several clients that are too long for one turn.

use abi::TaskId;
use alloc::collections::VecDeque;

/// Most writes in the queue.
pub const MAX_WAITING: usize = abi::task::MAX_TASKS;

/// A job that is done in pieces, and belongs to a task.
pub trait Job {
    /// The task to which the job belongs.
    fn task(&self) -> TaskId;
}

/// The queue of jobs. Tasks take turns; the jobs of one task keep their order.
#[derive(Debug)]
pub struct Turns<J> {
    jobs: VecDeque<J>,
}

impl<J: Job> Default for Turns<J> {
    fn default() -> Self {
        Turns { jobs: VecDeque::with_capacity(MAX_WAITING) }
    }
}

impl<J: Job> Turns<J> {
    /// Whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Whether the queue has no room for another job.
    pub fn is_full(&self) -> bool {
        self.jobs.len() >= MAX_WAITING
    }

    /// Adds a new job.
    ///
    /// # Errors
    /// The job itself, if there is no room.
    pub fn add(&mut self, job: J) -> Result<(), J> {
        if self.is_full() {
            return Err(job);
        }
        self.jobs.push_back(job);
        Ok(())
    }

    /// Takes out the job whose turn it is.
    pub fn take(&mut self) -> Option<J> {
        self.jobs.pop_front()
    }

    /// Adds a job again whose turn ended before it was done: after the other tasks' jobs, and
    /// before later jobs of its own task, which are moved with it.
    pub fn again(&mut self, job: J) {
        let task = job.task();
        self.jobs.push_front(job);
        let mut place = 0;
        for _ in 0..self.jobs.len() {
            match self.jobs.get(place) {
                Some(own) if own.task() == task => {
                    let own = self.jobs.remove(place);
                    self.jobs.extend(own);
                }
                _ => place += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[derive(Debug, PartialEq)]
    struct Piecework(u16, u32, u32);

    impl Job for Piecework {
        fn task(&self) -> TaskId {
            TaskId { index: self.0, generation: 1 }
        }
    }

    #[test]
    fn tasks_take_turns_and_keep_their_order() {
        let mut turns = Turns::default();
        for job in [Piecework(1, 1, 3), Piecework(1, 2, 1), Piecework(2, 1, 2), Piecework(3, 1, 1)] {
            assert!(turns.add(job).is_ok());
        }
        let mut order = Vec::new();
        while let Some(Piecework(task, number, left)) = turns.take() {
            order.push((task, number));
            if left > 1 {
                turns.again(Piecework(task, number, left - 1));
            }
        }
        let of = |task| order.iter().filter(|o| o.0 == task).map(|o| o.1).collect::<Vec<_>>();
        assert_eq!(of(1), [1, 1, 1, 2]);
        assert_eq!(order.len(), 7);
        assert!(turns.is_empty());
    }

    #[test]
    fn a_long_job_waits_for_the_others_after_each_turn() {
        let mut turns = Turns::default();
        assert!(turns.add(Piecework(1, 1, 9)).is_ok() && turns.add(Piecework(2, 1, 1)).is_ok());
        let long = turns.take().unwrap();
        assert!(turns.add(Piecework(1, 2, 1)).is_ok());
        turns.again(long);
        assert_eq!(turns.take(), Some(Piecework(2, 1, 1)));
        assert_eq!(turns.take(), Some(Piecework(1, 1, 9)));
        assert_eq!(turns.take(), Some(Piecework(1, 2, 1)));
    }

    #[test]
    fn there_is_an_end_to_it() {
        let mut turns = Turns::default();
        for _ in 0..MAX_WAITING {
            assert!(turns.add(Piecework(1, 1, 1)).is_ok());
        }
        assert!(turns.is_full());
        assert_eq!(turns.add(Piecework(1, 9, 9)), Err(Piecework(1, 9, 9)));
    }
}
