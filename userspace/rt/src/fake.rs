//! Fake ports without hardware, and fake servers without tasks, for tests on the host.

use crate::exec::{Exec, Job, Platform};
use crate::ipc::{CallError, Event, Reply};
use crate::port::Port;
use abi::message::bits;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;

pub(crate) mod peer;

pub use peer::{FAKE_CLIENT, FakePeer, fake_peer};

/// A server that answers calls. If it returns `None`, the caller waits, and the server is called
/// again when nothing else happens.
pub type FakeServer = Box<dyn FnMut(&mut Job) -> Option<Result<Reply, CallError>>>;

/// An executor whose calls `server` answers when all futures wait, and whose clock advances when
/// nothing else happens.
///
/// # Panics
/// Waiting on it panics if nothing can ever happen.
pub fn fake_exec(server: FakeServer) -> Exec {
    Exec::new(FakePlatform { now: 0, jobs: VecDeque::new(), server })
}

struct FakePlatform {
    now: u64,
    jobs: VecDeque<Job>,
    server: FakeServer,
}

impl FakePlatform {
    /// Lets the server answer one call, if it answers any. Each call is offered twice, since what
    /// the server does for a call that it keeps waiting may allow it to answer another.
    fn serve(&mut self) -> bool {
        for _ in 0..2 * self.jobs.len() {
            let Some(mut job) = self.jobs.pop_front() else { break };
            // A call that was abandoned after it had begun is still with the server.
            let _ = job.begin();
            match (self.server)(&mut job) {
                Some(reply) => {
                    job.finish(reply);
                    return true;
                }
                None => self.jobs.push_back(job),
            }
        }
        false
    }
}

impl Platform for FakePlatform {
    fn now(&self) -> u64 {
        self.now
    }

    fn poll(&mut self) -> u64 {
        self.serve();
        0
    }

    fn wait(&mut self, _: bool, deadline: Option<u64>) -> Event {
        if self.serve() {
            return Event::Notified(bits::RUNTIME);
        }
        self.now = deadline.expect("nothing will ever happen");
        Event::Notified(bits::RUNTIME)
    }

    fn waker(&self) -> Box<dyn Fn() + Send + Sync> {
        Box::new(|| {})
    }

    fn submit(&mut self, job: Job) {
        self.jobs.push_back(job);
    }

    fn drop_abandoned(&mut self) {
        self.jobs.retain(|job| !job.is_abandoned());
    }
}

/// An access to a fake port, as a hook gets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// A read at this offset.
    Read(u16),
    /// A write of this value at this offset.
    Write(u16, u32),
}

/// A hook: it gets every access, and if it returns a value for a read, that is the result.
pub type Hook = Box<dyn FnMut(Access) -> Option<u32> + Send>;

/// A [`Port`] that records all writes and returns the values that the test defines.
///
/// A read at an offset returns the first of these that exists: the value returned by the hook, the
/// next value queued by [`FakePorts::push`], the value set by [`FakePorts::set`], and otherwise all
/// ones, as on a bus without a device. Values are cut to the width of the access.
#[derive(Default)]
pub struct FakePorts {
    /// Every write in order: offset, value.
    pub writes: Vec<(u16, u32)>,
    /// Every read in order: offset.
    pub reads: Vec<u16>,
    queued: BTreeMap<u16, VecDeque<u32>>,
    sticky: BTreeMap<u16, u32>,
    hook: Option<Hook>,
}

impl FakePorts {
    /// Ports for which nothing is defined.
    pub fn new() -> FakePorts {
        FakePorts::default()
    }

    /// Queues a value for one read at `offset`.
    pub fn push(&mut self, offset: u16, value: u32) -> &mut Self {
        self.queued.entry(offset).or_default().push_back(value);
        self
    }

    /// Queues values for as many reads at `offset`.
    pub fn push_all(&mut self, offset: u16, values: impl IntoIterator<Item = u32>) -> &mut Self {
        self.queued.entry(offset).or_default().extend(values);
        self
    }

    /// Sets the value that reads at `offset` return when nothing is queued.
    pub fn set(&mut self, offset: u16, value: u32) -> &mut Self {
        self.sticky.insert(offset, value);
        self
    }

    /// Sets a hook, which gets every access before it is answered.
    pub fn hook(&mut self, hook: impl FnMut(Access) -> Option<u32> + Send + 'static) -> &mut Self {
        self.hook = Some(Box::new(hook));
        self
    }

    /// The writes since the last call of this.
    pub fn take_writes(&mut self) -> Vec<(u16, u32)> {
        core::mem::take(&mut self.writes)
    }

    /// The values written at `offset`, in order.
    pub fn written(&self, offset: u16) -> Vec<u32> {
        self.writes.iter().filter(|write| write.0 == offset).map(|write| write.1).collect()
    }

    /// The number of values queued by [`FakePorts::push`] that were not read.
    pub fn unread(&self) -> usize {
        self.queued.values().map(VecDeque::len).sum()
    }

    fn read(&mut self, offset: u16) -> u32 {
        self.reads.push(offset);
        if let Some(value) = self.hook.as_mut().and_then(|hook| hook(Access::Read(offset))) {
            return value;
        }
        if let Some(value) = self.queued.get_mut(&offset).and_then(VecDeque::pop_front) {
            return value;
        }
        self.sticky.get(&offset).copied().unwrap_or(u32::MAX)
    }

    fn write(&mut self, offset: u16, value: u32) {
        self.writes.push((offset, value));
        if let Some(hook) = self.hook.as_mut() {
            hook(Access::Write(offset, value));
        }
    }
}

impl fmt::Debug for FakePorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakePorts").field("writes", &self.writes).field("reads", &self.reads).finish_non_exhaustive()
    }
}

impl Port for FakePorts {
    fn read8(&mut self, offset: u16) -> u8 {
        self.read(offset) as u8
    }
    fn write8(&mut self, offset: u16, value: u8) {
        self.write(offset, value.into());
    }
    fn read16(&mut self, offset: u16) -> u16 {
        self.read(offset) as u16
    }
    fn write16(&mut self, offset: u16, value: u16) {
        self.write(offset, value.into());
    }
    fn read32(&mut self, offset: u16) -> u32 {
        self.read(offset)
    }
    fn write32(&mut self, offset: u16, value: u32) {
        self.write(offset, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn reads_take_the_queue_then_the_sticky_value_then_all_ones() {
        let mut ports = FakePorts::new();
        ports.push(5, 1).push_all(5, [2, 3]).set(5, 0x160);
        let seen: Vec<u8> = (0..5).map(|_| ports.read8(5)).collect();
        assert_eq!(seen, [1, 2, 3, 0x60, 0x60]);
        assert_eq!(ports.read16(0), 0xffff);
        assert_eq!(ports.read32(1), u32::MAX);
        assert_eq!(ports.reads, [5, 5, 5, 5, 5, 0, 1]);
        assert_eq!(ports.unread(), 0);
    }

    #[test]
    fn writes_are_kept_in_order() {
        let mut ports = FakePorts::new();
        ports.write8(3, 0x80);
        ports.write16(0, 0x1234);
        fn device(mut port: impl Port) {
            port.write32(3, 0xdead_beef);
        }
        device(&mut ports);
        assert_eq!(ports.written(3), [0x80, 0xdead_beef]);
        assert_eq!(ports.take_writes(), vec![(3, 0x80), (0, 0x1234), (3, 0xdead_beef)]);
        assert!(ports.writes.is_empty());
    }

    #[test]
    fn words_are_bytes_low_one_first() {
        let mut ports = FakePorts::new();
        ports.push_all(0, [0x0201, 0x0403, 0xff05]);
        let (mut even, mut odd) = ([0; 2], [0; 3]);
        fn read(mut port: impl Port, to: &mut [u8]) {
            port.read16_bytes(0, to);
        }
        read(&mut ports, &mut even);
        ports.read16_bytes(0, &mut odd);
        assert_eq!((even, odd, ports.unread()), ([1, 2], [3, 4, 5], 0));
        ports.write16_bytes(2, &[1, 2, 3]);
        ports.write16_bytes(2, &[]);
        assert_eq!(ports.written(2), [0x0201, 0x0003]);
    }

    #[test]
    fn a_hook_is_a_small_device() {
        let mut ports = FakePorts::new();
        let mut register = 0;
        ports.push(1, 9).hook(move |access| match access {
            Access::Write(0, value) => {
                register = value;
                None
            }
            Access::Read(0) => Some(register + 1),
            _ => None,
        });
        ports.write8(0, 41);
        assert_eq!(ports.read8(0), 42);
        assert_eq!(ports.read8(1), 9);
    }
}
