//! A simulated kernel for one driver, on the thread of a test: it implements the system calls of
//! [`crate::syscall`] on the host while a [`Harness`](super::Harness) runs there.

mod calls;

use super::device::{Device, Line, PortRange};
use super::fuse;
use crate::ipc::Handle;
use crate::port::Port;
use crate::syscall::{CallFailure, Message};
use abi::info::{Entry, TaskInfo};
use abi::manifest::GrantKind;
use abi::message::{Header, Kinds, Lease, ReplyToken, Sender};
use abi::{NAME_LEN, PAGE_SIZE, Status, Syscall, TaskId};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{RefCell, UnsafeCell};
use core::sync::atomic::{AtomicU32, Ordering};

/// The driver's row in the task table; the rows of its clients follow.
pub const DRIVER: u16 = 2;
pub const FIRST_CLIENT: u16 = 10;

/// Nanoseconds by which time advances with each reading of the clock.
const LOOK_NS: u64 = 1000;

/// A page of memory, which whoever has mapped it may change.
#[repr(C, align(4096))]
struct Page(UnsafeCell<[u8; PAGE_SIZE]>);

/// The frames of a memory object. Only whoever has mapped it has references to its bytes.
pub struct Frames(Box<[Page]>);

impl Frames {
    pub fn new(bytes: usize) -> Frames {
        Frames((0..bytes.div_ceil(PAGE_SIZE).max(1)).map(|_| Page(UnsafeCell::new([0; PAGE_SIZE]))).collect())
    }

    fn address(&self) -> u64 {
        self.0.as_ptr().addr() as u64
    }
}

/// The object that a handle names.
#[derive(Clone)]
enum Object {
    Line(usize),
    Memory(Rc<RefCell<Frames>>),
    Timer(u32),
    /// A notification, and the bits that can be set through the handle.
    Notification(u32, u64),
    Peer(usize),
}

struct Timer {
    notification: u32,
    bit: u32,
    deadline: Option<u64>,
}

/// Memory that a call lends.
enum Lent {
    /// The caller's own memory, which it lends until the call returns.
    Borrowed(Lease),
    /// Memory that the harness owns until the answer is taken.
    Owned(Vec<u8>, u32),
}

impl Lent {
    fn parts(&mut self) -> (*mut u8, usize, u32) {
        match self {
            Lent::Borrowed(lease) => {
                (core::ptr::with_exposed_provenance_mut(lease.addr as usize), lease.len as usize, lease.access)
            }
            Lent::Owned(bytes, access) => (bytes.as_mut_ptr(), bytes.len(), *access),
        }
    }
}

/// The result of a call.
pub type Outcome = Result<Message, CallFailure>;

/// A call of the driver.
pub struct Call {
    pub token: ReplyToken,
    pub sender: Sender,
    header: Header,
    words: [u64; 4],
    handle: u64,
    lent: Vec<Lent>,
    /// Whether the driver has received the call.
    received: bool,
    pub outcome: Option<Outcome>,
}

/// A peer of the driver: it answers a request (label and words) with a label and words, or dies
/// over it.
pub type Peer = Box<dyn FnMut(u16, [u64; 4]) -> Option<(u16, [u64; 4])>>;

/// A range of physical memory that is granted to the driver.
pub struct Range {
    pub name: String,
    pub frames: Rc<RefCell<Frames>>,
    pub device: Option<Rc<RefCell<dyn Device>>>,
}

/// The state of the simulated kernel, as far as one driver and its clients use it.
pub struct Kernel {
    name: String,
    pub generation: u32,
    info: Option<&'static TaskInfo>,
    /// Whether the driver's code runs, not the test's.
    running: bool,
    pub now: u64,
    /// The bits of the driver's permanent notification.
    pub bits: u64,
    objects: BTreeMap<u32, Object>,
    /// Handles of the test, which the driver does not have.
    foreign: BTreeMap<u32, Object>,
    timers: BTreeMap<u32, Timer>,
    notifications: BTreeMap<u32, u64>,
    pub lines: Vec<Line>,
    pub ports: Vec<PortRange>,
    pub ranges: Vec<Range>,
    pub keep: Option<Rc<RefCell<Frames>>>,
    pub peers: Vec<(String, Rc<RefCell<Peer>>)>,
    pub calls: Vec<Call>,
    last_call: u64,
}

std::thread_local!(static KERNEL: RefCell<Option<Kernel>> = const { RefCell::new(None) });

/// A new number for a handle or an object. All are different, even on several threads, since the
/// runtime has one list of mapped handles for all.
fn fresh() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(1000);
    LAST.fetch_add(1, Ordering::Relaxed)
}

/// Runs `work` on this thread's simulated kernel, if there is one.
pub fn with<T>(work: impl FnOnce(&mut Kernel) -> T) -> Option<T> {
    KERNEL.with_borrow_mut(|kernel| kernel.as_mut().map(work))
}

/// Makes `kernel` the simulated kernel of this thread.
///
/// # Panics
/// If there is one already: a thread has one driver under test at a time.
pub fn install(kernel: Kernel) {
    let before = KERNEL.replace(Some(kernel));
    assert!(before.is_none(), "this thread runs a driver already: one harness at a time");
}

/// Removes this thread's simulated kernel.
pub fn remove() {
    drop(KERNEL.take());
}

/// The information page of the driver, while its code runs.
pub fn info() -> Option<&'static TaskInfo> {
    with(|kernel| kernel.info.filter(|_| kernel.running)).flatten()
}

/// The time in nanoseconds, which advances a little with each reading by the driver.
pub fn now() -> Option<u64> {
    with(|kernel| {
        kernel.now += if kernel.running { LOOK_NS } else { 0 };
        kernel.now
    })
}

/// Sets the time in nanoseconds; returns false if there is no simulated kernel.
pub fn set_now(now: u64) -> bool {
    with(|kernel| kernel.now = now).is_some()
}

/// Runs code of the driver.
pub fn run_driver<T>(work: impl FnOnce() -> T) -> T {
    with(|kernel| kernel.running = true);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    with(|kernel| kernel.running = false);
    result.unwrap_or_else(|payload| std::panic::resume_unwind(payload))
}

fn is_running() -> bool {
    with(|kernel| kernel.running).unwrap_or(false)
}

impl Kernel {
    pub fn new(name: &str) -> Kernel {
        Kernel {
            name: String::from(name),
            generation: 0,
            info: None,
            running: false,
            now: 1_000_000_000,
            bits: 0,
            objects: BTreeMap::new(),
            foreign: BTreeMap::new(),
            timers: BTreeMap::new(),
            notifications: BTreeMap::new(),
            lines: Vec::new(),
            ports: Vec::new(),
            ranges: Vec::new(),
            keep: None,
            peers: Vec::new(),
            calls: Vec::new(),
            last_call: 0,
        }
    }

    /// Begins a life with an information page and new handles, and unmasks its lines.
    pub fn begin_life(&mut self) {
        self.generation += 1;
        let mut entries = Vec::new();
        let mut grant =
            |objects: &mut BTreeMap<u32, Object>, name: &str, kind: GrantKind, object: Option<Object>, base, len| {
                let handle = object.map_or(0, |object| {
                    let handle = fresh();
                    objects.insert(handle, object);
                    handle
                });
                entries.push(Entry { name: name_of(name), kind: kind as u32, handle, base, len });
            };
        for (number, line) in self.lines.iter_mut().enumerate() {
            grant(&mut self.objects, &line.name, GrantKind::Irq, Some(Object::Line(number)), number as u64, 0);
            line.open_at_birth();
        }
        for range in &self.ports {
            grant(&mut self.objects, &range.name, GrantKind::Ports, None, range.base.into(), range.len.into());
        }
        let bytes = |frames: &Rc<RefCell<Frames>>| (frames.borrow().0.len() * PAGE_SIZE) as u64;
        for Range { name, frames, .. } in &self.ranges {
            grant(&mut self.objects, name, GrantKind::Range, Some(Object::Memory(frames.clone())), 0, bytes(frames));
        }
        if let Some(frames) = &self.keep {
            grant(&mut self.objects, "", GrantKind::Keep, Some(Object::Memory(frames.clone())), 0, bytes(frames));
        }
        for (number, (name, _)) in self.peers.iter().enumerate() {
            grant(&mut self.objects, name, GrantKind::Peer, Some(Object::Peer(number)), 0, 0);
        }
        let mut all = [Entry { name: [0; NAME_LEN], kind: 0, handle: 0, base: 0, len: 0 }; abi::info::MAX_ENTRIES];
        assert!(entries.len() <= all.len(), "a task has at most {} grants", all.len());
        all.iter_mut().zip(&entries).for_each(|(to, from)| *to = *from);
        self.info = Some(Box::leak(Box::new(TaskInfo {
            task: TaskId { index: DRIVER, generation: self.generation }.to_u32(),
            name: name_of(&self.name),
            entry_count: entries.len() as u32,
            entries: all,
            ..*crate::host_info()
        })));
    }

    /// Ends a life: its handles and objects are freed, and callers that wait for its answer get
    /// PeerDied.
    pub fn end_life(&mut self) {
        self.objects.clear();
        self.timers.clear();
        (self.bits, self.info) = (0, None);
        let generation = self.generation;
        for call in self.calls.iter_mut().filter(|call| call.received && call.outcome.is_none()) {
            call.outcome = Some(Err(CallFailure { status: Status::PeerDied, value: generation.into() }));
        }
    }

    /// Queues a call for the driver.
    pub fn enqueue(
        &mut self,
        sender: Sender,
        header: Header,
        words: [u64; 4],
        handle: u64,
        lent: Vec<Lease>,
    ) -> ReplyToken {
        let lent = lent.into_iter().map(Lent::Borrowed).collect();
        self.enqueue_lent(sender, header, words, handle, lent)
    }

    /// Queues a call for the driver whose memory the harness owns: bytes, and the access to them.
    pub fn enqueue_owned(
        &mut self,
        sender: Sender,
        header: Header,
        words: [u64; 4],
        lent: Vec<(Vec<u8>, u32)>,
    ) -> ReplyToken {
        let lent = lent.into_iter().map(|(bytes, access)| Lent::Owned(bytes, access)).collect();
        self.enqueue_lent(sender, header, words, 0, lent)
    }

    fn enqueue_lent(
        &mut self,
        sender: Sender,
        header: Header,
        words: [u64; 4],
        handle: u64,
        lent: Vec<Lent>,
    ) -> ReplyToken {
        self.last_call += 1;
        let token = ReplyToken::new(1, self.last_call);
        let header = header.with_leases(lent.len());
        self.calls.push(Call { token, sender, header, words, handle, lent, received: false, outcome: None });
        token
    }

    /// The next call that the driver has not received, in the form in which it receives it. Handles
    /// are added to the driver's.
    pub fn receive(&mut self, takes: Kinds) -> Option<crate::syscall::Received> {
        let place = self.calls.iter().position(|call| !call.received && call.outcome.is_none())?;
        let Kernel { calls, objects, foreign, .. } = self;
        let call = calls.get_mut(place)?;
        if let Some(kind) = call.header.handle() {
            let Handle { number, rights, .. } = Handle::unpack(kind, call.handle);
            let object = foreign.get(&number).cloned();
            let refusal = match object {
                None => Some(Status::BadHandle),
                Some(_) if !takes.contains(Kinds::of(Some(kind))) => Some(Status::HandleRefused),
                Some(object) => {
                    let own = fresh();
                    objects.insert(own, object);
                    call.handle = Handle { kind, number: own, rights }.pack();
                    None
                }
            };
            if let Some(status) = refusal {
                call.outcome = Some(Err(CallFailure { status, value: 0 }));
                return self.receive(takes);
            }
        }
        call.received = true;
        let message = Message { header: call.header, words: call.words, handle: call.handle };
        Some(crate::syscall::Received { sender: call.sender, token: call.token, message })
    }

    /// Delivers the driver's answer.
    pub fn answer(&mut self, token: ReplyToken, header: Header, words: [u64; 4], transfer: u64) -> Result<(), Status> {
        let Kernel { calls, objects, foreign, .. } = self;
        let call = calls.iter_mut().find(|call| call.token == token && call.received && call.outcome.is_none());
        let call = call.ok_or(Status::StaleReply)?;
        let (mut flags, mut handle) = (header.0, 0);
        if let Some(kind) = header.handle() {
            let own = Handle::unpack(kind, transfer);
            let object = objects.get(&own.number).cloned().ok_or(Status::BadHandle)?;
            if call.header.wants() == Some(kind) {
                let number = fresh();
                foreign.insert(number, object);
                handle = Handle { number, ..own }.pack();
            } else {
                flags = flags & !Header::HANDLE | Header::HANDLE_REFUSED;
            }
        }
        call.outcome = Some(Ok(Message { header: Header(flags), words, handle }));
        Ok(())
    }

    /// Removes a call that has ended: returns its result, and the memory that the harness lent.
    pub fn take(&mut self, token: ReplyToken) -> Option<(Outcome, Vec<Vec<u8>>)> {
        let place = self.calls.iter().position(|call| call.token == token && call.outcome.is_some())?;
        let call = self.calls.remove(place);
        let owned = call.lent.into_iter().filter_map(|lent| match lent {
            Lent::Owned(bytes, _) => Some(bytes),
            Lent::Borrowed(_) => None,
        });
        Some((call.outcome?, owned.collect()))
    }

    /// Ends a client's life: its calls no longer wait for answers, and its notifications no longer
    /// exist.
    pub fn forget_client(&mut self, index: u16) {
        self.calls.retain(|call| call.sender.task.index != index);
        self.notifications.clear();
        self.foreign.clear();
    }

    /// Sets the bits of all timers that are due.
    pub fn fire_timers(&mut self) {
        let now = self.now;
        for timer in self.timers.values_mut() {
            if timer.deadline.is_some_and(|deadline| deadline <= now) {
                timer.deadline = None;
                if timer.notification == abi::info::NOTIFICATION {
                    self.bits |= 1 << timer.bit;
                } else if let Some(bits) = self.notifications.get_mut(&timer.notification) {
                    *bits |= 1 << timer.bit;
                }
            }
        }
    }

    /// The earliest deadline.
    pub fn next_deadline(&self) -> Option<u64> {
        self.timers.values().filter_map(|timer| timer.deadline).min()
    }
}

fn name_of(text: &str) -> [u8; NAME_LEN] {
    let mut name = [0; NAME_LEN];
    assert!(text.len() < NAME_LEN, "the name {text:?} is too long");
    name.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    name
}

/// Performs a plain system call; returns status, `rdx` and `rsi`.
pub fn plain(call: Syscall, args: &[u64]) -> (u64, u64, u64) {
    if is_running() {
        fuse::tick();
    }
    let mut all = [0; 5];
    all.iter_mut().zip(args).for_each(|(to, from)| *to = *from);
    match with(|kernel| kernel.plain(call, all)) {
        Some(Ok((rdx, rsi))) => (Status::Ok as u64, rdx, rsi),
        Some(Err(status)) => (status as u64, 0, 0),
        None => (Status::BadSyscall as u64, 0, 0),
    }
}

/// Performs the driver's `reply`.
pub fn reply(token: ReplyToken, header: Header, words: [u64; 4], transfer: u64) -> Result<(), Status> {
    if is_running() {
        fuse::tick();
    }
    with(|kernel| kernel.answer(token, header, words, transfer)).unwrap_or(Err(Status::BadSyscall))
}

/// Performs a call, by the driver to a peer or by the test to the driver.
pub fn call(endpoint: u32, header: Header, words: [u64; 4], leases: &[Lease], transfer: u64) -> Outcome {
    let failed = |status| Err(CallFailure { status, value: 0 });
    if !is_running() {
        return super::harness::call(endpoint, header, words, leases, transfer).unwrap_or(failed(Status::BadSyscall));
    }
    fuse::tick();
    let peer = with(|kernel| match kernel.object(endpoint.into()) {
        Ok(Object::Peer(number)) => kernel.peers.get(*number).map(|(_, peer)| peer.clone()).ok_or(Status::BadHandle),
        Ok(_) => Err(Status::WrongKind),
        Err(status) => Err(status),
    });
    match peer {
        Some(Ok(peer)) => {
            let answer = (*peer.borrow_mut())(header.label(), words);
            fuse::tick();
            let Some((label, words)) = answer else {
                with(|kernel| kernel.bits |= abi::message::bits::PEER);
                return Err(CallFailure { status: Status::PeerDied, value: 1 });
            };
            Ok(Message { header: Header::new(label), words, handle: 0 })
        }
        Some(Err(status)) => failed(status),
        None => failed(Status::BadSyscall),
    }
}

/// The device behind a port that is granted to the driver, and the port's offset in it.
fn port(port: u16) -> Option<(Rc<RefCell<dyn Port>>, u16)> {
    with(|kernel| {
        let range = kernel.ports.iter().find(|range| (range.base..=range.base + (range.len - 1)).contains(&port))?;
        Some((range.device.clone(), port - range.base))
    })
    .flatten()
}

/// Performs the driver's access to a port.
///
/// # Panics
/// If no harness on this thread grants the port.
pub fn at_port<T>(number: u16, access: impl FnOnce(&mut dyn Port, u16) -> T) -> T {
    let Some((device, offset)) = port(number) else { panic!("no port is granted on the host: {number:#x}") };
    fuse::tick();
    let result = access(&mut *device.borrow_mut(), offset);
    super::device::sample_lines();
    result
}

/// Samples the interrupt lines after an access to a device.
pub fn device_was_reached() {
    super::device::sample_lines();
}

/// The device in mapped memory at this address, if there is one, and the offset in it.
pub fn at_address(address: u64) -> Option<(Rc<RefCell<dyn Device>>, usize)> {
    if !is_running() {
        return None;
    }
    fuse::tick();
    with(|kernel| {
        kernel.ranges.iter().find_map(|Range { frames, device, .. }| {
            let frames = frames.borrow();
            let offset = address.checked_sub(frames.address())? as usize;
            (offset < frames.0.len() * PAGE_SIZE).then(|| device.clone().map(|device| (device, offset)))?
        })
    })
    .flatten()
}
