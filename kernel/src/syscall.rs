//! System calls: decoding the arguments in the thread's frame, performing the call, and encoding
//! the result in the frame. All user memory is accessed through [`crate::usermem`].

use crate::arch::cpu;
use crate::arch::fast::General;
use crate::arch::handlers::Returned;
use crate::kernel::{self, Kernel};
use crate::{latency, loader, log, trap, usermem};
use abi::error::{DeathKind, MESSAGE_LEN};
use abi::info::ARG_LEN;
use abi::message::{Header, Lease, MAX_LEASES, ReplyToken, Rights};
use abi::task::{LEVELS, TaskState};
use abi::{Status, Syscall, TaskId};
use kernel_core::Row;
use kernel_core::addr::{TableRoot, UserAddr};
use kernel_core::handles::{Handle, Object};
use kernel_core::number::HandleNumber;
use kernel_core::step::Step;
use kernel_core::system::direct::{LABEL, LEASES};
use kernel_core::task::Task;
use kernel_core::thread::{ThreadIndex, TrapFrame};
use zerocopy::IntoBytes;

/// The most bytes of one `log_write` or `log_read`.
const MAX_LOG: usize = 1024;

/// Tries a fast path (see [`kernel_core::system::direct`]) on the state that the entry stub passes.
/// If that is not possible, takes the general path.
#[inline(always)]
fn directly(frame: &TrapFrame, kernel: &mut Kernel, call: impl FnOnce(&mut Kernel) -> bool) -> *const TrapFrame {
    latency::begin(latency::cause(frame));
    kernel.sys.set_now(cpu::now());
    if call(kernel) { kernel::leave_running(kernel) } else { Kernel::on_syscall(frame) }
}

/// Performs `call` and `reply_recv`. Where there is assembly for these, it has found that it cannot
/// do this one.
#[inline(always)]
pub fn on_message(frame: &TrapFrame, kernel: &mut Kernel) -> *const TrapFrame {
    let plain = cfg!(feature = "plain");
    directly(frame, kernel, |kernel| match frame.rax {
        CALL => lend(kernel, frame) && kernel.sys.direct_call_lending(),
        _ => plain && kernel.sys.direct_reply() || kernel.sys.direct_reply_queued(),
    })
}

const CALL: u64 = Syscall::Call as u64;

/// Performs `signal`.
#[inline(always)]
pub fn on_signal(frame: &TrapFrame, kernel: &mut Kernel) -> *const TrapFrame {
    directly(frame, kernel, |kernel| kernel.sys.direct_signal())
}

/// Performs `yield`.
#[inline(always)]
pub fn on_yield(frame: &TrapFrame, kernel: &mut Kernel) -> *const TrapFrame {
    directly(frame, kernel, |kernel| kernel.sys.direct_yield())
}

/// Reads the leases of the running thread's call from its memory into its record, which has no
/// effect until the call is made. Returns false if the general path must report an error.
#[inline(always)]
fn lend(kernel: &mut Kernel, frame: &TrapFrame) -> bool {
    let header = frame.rsi;
    let count = Header(header).leases();
    if header > LEASES || count == 0 {
        return header <= LABEL;
    }
    let Some(thread) = kernel.sys.running_mut() else { return false };
    let root = thread.space.root();
    thread
        .leases
        .get_mut(..count)
        .is_some_and(|leases| usermem::read_in_page(root, UserAddr::new(frame.r8), leases.as_mut_bytes()))
}

/// Performs `poll`. The parameters are the first three argument registers, in their order.
#[inline(always)]
pub fn on_poll(handle: u64, mask: u64, rdx: u64, kernel: &mut Kernel) -> Returned {
    let handle = HandleNumber::from_register(handle);
    if cfg!(not(feature = "latency")) && kernel.sys.finds_nothing(handle, mask) {
        return Returned::new(Status::Ok, 0);
    }
    poll(handle, mask, rdx, kernel)
}

#[inline(never)]
fn poll(handle: HandleNumber, mask: u64, rdx: u64, kernel: &mut Kernel) -> Returned {
    latency::begin(Syscall::Poll as u64);
    let outcome = kernel.sys.poll_running(handle, mask);
    latency::end();
    match outcome {
        Ok(bits) => Returned::new(Status::Ok, bits),
        Err(status) => Returned::new(status, rdx),
    }
}

/// Performs `task_fault` on a path of its own, as it delays a supervisor's reaction to a death. The
/// parameters are the first three argument registers, in their order.
#[inline(always)]
pub fn on_task_fault(system: u64, row: u64, to: u64, kernel: &mut Kernel) -> Returned {
    latency::begin(Syscall::TaskFault as u64);
    let outcome = kernel.task_fault(HandleNumber::from_register(system), row, UserAddr::new(to));
    latency::end();
    match outcome {
        Ok(()) => Returned::new(Status::Ok, to),
        Err(status) => Returned::new(status, to),
    }
}

/// The argument registers of a system call, in their order.
#[derive(Clone, Copy)]
pub(crate) struct Args {
    pub(crate) rdi: u64,
    rsi: u64,
    rdx: u64,
    r10: u64,
    r8: u64,
    r9: u64,
}

impl Args {
    pub(crate) fn of(f: &TrapFrame) -> Self {
        Args { rdi: f.rdi, rsi: f.rsi, rdx: f.rdx, r10: f.r10, r8: f.r8, r9: f.r9 }
    }

    /// The handle that is the first argument.
    fn handle(&self) -> HandleNumber {
        HandleNumber::from_register(self.rdi)
    }
}

/// How a successful system call ends.
pub(crate) enum Done {
    /// It returns Ok and no values.
    Quiet,
    /// It returns Ok, and these values in rdx and rsi.
    Value(Option<u64>, Option<u64>),
    /// The frame already has the results, or will have them when the thread wakes, or the thread
    /// has ended.
    Elsewhere,
    /// The call is not done, and this step is left.
    Again(Step),
}

pub(crate) type Outcome = Result<Done, Status>;

pub(crate) fn value(rdx: impl Into<u64>) -> Outcome {
    Ok(Done::Value(Some(rdx.into()), None))
}

pub(crate) fn pair(rdx: u64, rsi: u64) -> Outcome {
    Ok(Done::Value(Some(rdx), Some(rsi)))
}

fn quiet(result: Result<(), Status>) -> Outcome {
    result.map(|()| Done::Quiet)
}

fn elsewhere(result: Result<(), Status>) -> Outcome {
    result.map(|()| Done::Elsewhere)
}

/// Performs a system call of a thread, by the general path.
pub(crate) fn dispatch(k: &mut Kernel, thread: ThreadIndex, call: Syscall, a: Args) -> Outcome {
    match call {
        Syscall::Yield => {
            k.finish(thread, Status::Ok, None, None);
            k.sys.yield_now();
            Ok(Done::Elsewhere)
        }
        Syscall::Exit => k.exit(thread, a.rdi),
        Syscall::Panic => k.panicked(thread, UserAddr::new(a.rdi), a.rsi),
        Syscall::ThreadCreate => k.thread_create(thread, a),
        Syscall::ThreadExit => {
            let row = k.sys.row_of(thread)?;
            if k.sys.task(row).is_ok_and(|t| t.threads() <= 1) {
                return k.exit(thread, 0);
            }
            k.sys.thread_exit(thread);
            Ok(Done::Elsewhere)
        }
        Syscall::ThreadPriority => quiet(k.thread_priority(thread, a.handle(), a.rsi)),

        Syscall::Call => {
            let header = Header((k.frame(thread)?).rsi);
            let mut leases = [Lease::default(); MAX_LEASES];
            let leases = leases.get_mut(..header.leases()).ok_or(Status::BadArgument)?;
            if !leases.is_empty() {
                usermem::read(k.root(thread)?, UserAddr::new(a.r8), leases.as_mut_bytes())?;
            }
            elsewhere(k.sys.call(thread, leases))
        }
        Syscall::Send => quiet(k.sys.send(thread)),
        Syscall::Recv => k.receive(thread, a.handle(), a.rsi),
        Syscall::Reply => quiet(k.sys.reply(thread, ReplyToken(a.rdi))),
        Syscall::ReplyRecv => {
            match k.sys.reply(thread, ReplyToken(a.r8)) {
                Ok(()) | Err(Status::StaleReply) => {}
                Err(e) => return Err(e),
            }
            k.receive(thread, a.handle(), a.r9)
        }
        // These have entry stubs of their own: `lease::on_read`, `lease::on_write`,
        // `on_task_fault`, `on_poll`.
        Syscall::LeaseRead | Syscall::LeaseWrite | Syscall::TaskFault | Syscall::Poll => Err(Status::BadSyscall),
        Syscall::LeaseInfo => {
            let (len, access) = k.sys.lease_info(thread, ReplyToken(a.rdi), a.rsi)?;
            pair(len.into(), access.into())
        }

        Syscall::EndpointCreate => value(k.sys.endpoint_create(thread)?.to_u32()),
        Syscall::EndpointBind => quiet(k.sys.endpoint_bind(thread, a.handle(), HandleNumber::from_register(a.rsi))),
        Syscall::EndpointTakes => quiet(k.sys.endpoint_takes(thread, a.handle(), a.rsi)),
        Syscall::NotificationCreate => value(k.sys.notification_create(thread)?.to_u32()),
        Syscall::Signal => quiet(k.sys.signal_by(thread, a.handle(), a.rsi)),
        Syscall::Wait => {
            // If bits are taken at once, rax must be set here; if the thread blocks, the signal
            // that wakes it sets rax.
            k.finish(thread, Status::Ok, None, None);
            elsewhere(k.sys.wait(thread, a.handle(), a.rsi))
        }

        Syscall::MemoryCreate => k.memory_create(thread, a.rdi, a.rsi != 0),
        Syscall::MemoryMap => k.memory_map(thread, a.handle(), UserAddr::new(a.rsi), a.rdx != 0),
        Syscall::MemoryUnmap => k.memory_unmap(thread, UserAddr::new(a.rdi)),
        Syscall::MemoryInfo => k.memory_info(thread, a.handle()),

        Syscall::IrqAck => {
            let Object::Interrupt(line) = k.sys.handle(thread, a.handle())?.object else {
                return Err(Status::WrongKind);
            };
            trap::open(k, line);
            Ok(Done::Quiet)
        }
        Syscall::TimerCreate => value(k.sys.timer_create(thread, a.handle(), a.rsi)?.to_u32()),
        Syscall::TimerArm => quiet(k.sys.timer_set(thread, a.handle(), Some(a.rsi))),
        Syscall::TimerDisarm => quiet(k.sys.timer_set(thread, a.handle(), None)),

        Syscall::HandleClose => k.close(thread, a.handle()),
        Syscall::HandleDup => value(k.sys.handle_dup(thread, a.handle(), a.rsi, a.rdx)?.to_u32()),
        Syscall::LogWrite => k.log_write(thread, UserAddr::new(a.rdi), a.rsi),
        Syscall::LogRead => k.log_read(thread, a),

        Syscall::TaskSpawn => k.task_spawn(thread, a),
        Syscall::TaskKill => quiet(k.task_kill(thread, a)),
        Syscall::TaskReap => {
            k.sys.system_handle(thread, a.handle(), Rights::CONTROL)?;
            value(k.sys.reap(Row::from_register(a.rsi)?)?)
        }
        Syscall::TaskSetRestart => {
            k.sys.system_handle(thread, a.handle(), Rights::CONTROL)?;
            k.expect(Row::from_register(a.rsi)?, a.rdx != 0)
        }
        Syscall::TaskSignal => {
            k.sys.system_handle(thread, a.handle(), Rights::CONTROL)?;
            let row = Row::from_register(a.rsi)?;
            match k.sys.task(row) {
                Ok(task) if task.state() == TaskState::Running => k.sys.signal_task(row, a.rdx),
                _ => return Err(Status::NoSuchTask),
            }
            Ok(Done::Quiet)
        }
        Syscall::TaskStatus => {
            k.sys.system_handle(thread, a.handle(), Rights::INSPECT)?;
            k.sys.charge();
            let status = k.sys.task_status(Row::from_register(a.rsi)?)?;
            quiet(usermem::write(k.root(thread)?, UserAddr::new(a.rdx), status.as_bytes()))
        }
        Syscall::SystemInfo => {
            k.sys.system_handle(thread, a.handle(), Rights::INSPECT)?;
            k.sys.charge();
            let info = k.info();
            quiet(usermem::write(k.root(thread)?, UserAddr::new(a.rsi), info.as_bytes()))
        }

        Syscall::DebugRead => value(k.debug_read(thread, a.rdi, UserAddr::new(a.rsi), UserAddr::new(a.rdx), a.r10)?),
        Syscall::DebugWrite => {
            value(k.debug_write(thread, a.rdi, UserAddr::new(a.rsi), UserAddr::new(a.rdx), a.r10)?)
        }
        Syscall::DebugRegisters => quiet(k.debug_registers(thread, a.rdi, UserAddr::new(a.rsi))),
        Syscall::DebugSetRegisters => quiet(k.debug_set_registers(thread, a.rdi, UserAddr::new(a.rsi))),
        Syscall::DebugInterrupt => {
            let row = k.sys.debuggee(thread, a.rdi)?;
            quiet(k.sys.debug_interrupt(row, a.rsi, a.rdx))
        }
        Syscall::DebugPort => value(k.debug_port(thread, a.rdi, a.rsi, a.rdx, a.r10)?),
    }
}

impl Kernel {
    /// Stores the result of a thread's system call in its frame, or the step that is left in the
    /// thread.
    pub(crate) fn conclude(&mut self, thread: ThreadIndex, outcome: Outcome) {
        match outcome {
            Ok(Done::Value(a, b)) => self.finish(thread, Status::Ok, a, b),
            Ok(Done::Quiet) => self.finish(thread, Status::Ok, None, None),
            Ok(Done::Elsewhere) => {}
            Ok(Done::Again(step)) => self.sys.step_set(thread, step),
            Err(status) => self.finish(thread, status, None, None),
        }
    }

    fn finish(&mut self, thread: ThreadIndex, status: Status, rdx: Option<u64>, rsi: Option<u64>) {
        let Some(t) = self.sys.thread_mut(thread) else { return };
        t.frame.rax = status as u64;
        if let Some(rdx) = rdx {
            t.frame.rdx = rdx;
        }
        if let Some(rsi) = rsi {
            t.frame.rsi = rsi;
        }
    }

    fn frame(&self, thread: ThreadIndex) -> Result<&TrapFrame, Status> {
        self.sys.thread(thread).map(|t| &t.frame).ok_or(Status::BadHandle)
    }

    pub(crate) fn root(&self, thread: ThreadIndex) -> Result<TableRoot, Status> {
        self.root_of(self.sys.row_of(thread)?)
    }

    pub(crate) fn root_of(&self, row: Row) -> Result<TableRoot, Status> {
        self.sys.task(row)?.root()
    }

    fn exit(&mut self, thread: ThreadIndex, code: u64) -> Outcome {
        let row = self.sys.row_of(thread)?;
        if let Some(record) = self.death_record(Some(thread), row, DeathKind::Exited) {
            record.error_code = code;
        }
        self.kill(row);
        Ok(Done::Elsewhere)
    }

    fn panicked(&mut self, thread: ThreadIndex, addr: UserAddr, len: u64) -> Outcome {
        let row = self.sys.row_of(thread)?;
        let len = len.min(MESSAGE_LEN as u64) as usize;
        let root = self.root_of(row)?;
        if let Some(record) = self.death_record(Some(thread), row, DeathKind::Panicked)
            && let Some(message) = record.message.get_mut(..len)
            && usermem::read(root, addr, message).is_ok()
        {
            record.message_len = len as u32;
        }
        self.kill(row);
        Ok(Done::Elsewhere)
    }

    fn thread_create(&mut self, thread: ThreadIndex, a: Args) -> Outcome {
        let row = self.sys.row_of(thread)?;
        let (rip, rsp) = (UserAddr::new(a.rdi), UserAddr::new(a.rsi));
        if !rip.is_user() || !rsp.is_user() || a.rdi == 0 {
            return Err(Status::BadAddress);
        }
        let priority = u8::try_from(a.r10).map_err(|_| Status::Ceiling)?;
        if !self.sys.task(row).is_ok_and(Task::has_room_for_a_handle) {
            return Err(Status::QuotaHandles);
        }
        let frame = loader::user_frame(rip, rsp, a.rdx);
        let id = self.sys.thread_start(row, frame, priority)?;
        let handle = Handle::new(Object::Thread(id), Rights::MANAGE);
        value(self.sys.handle_insert(row, handle)?.to_u32())
    }

    fn thread_priority(&mut self, thread: ThreadIndex, which: HandleNumber, priority: u64) -> Result<(), Status> {
        let row = self.sys.row_of(thread)?;
        let index = if which.to_u64() == abi::syscall::THIS_THREAD {
            thread
        } else {
            let Object::Thread(id) = self.sys.handle(thread, which)?.object else { return Err(Status::WrongKind) };
            self.sys.thread_index(id)?
        };
        if priority >= LEVELS as u64 {
            return Err(Status::BadArgument);
        }
        let ceiling = self.sys.task(row).map_or(0, |t| t.record().priority);
        if priority < u64::from(ceiling) {
            return Err(Status::Ceiling);
        }
        self.sys.set_priority(index, priority as u8);
        Ok(())
    }

    fn log_write(&mut self, thread: ThreadIndex, addr: UserAddr, len: u64) -> Outcome {
        let row = self.sys.row_of(thread)?;
        let root = self.root_of(row)?;
        let mut buffer = [0; MAX_LOG];
        let text = buffer.get_mut(..len.min(MAX_LOG as u64) as usize).unwrap_or_default();
        usermem::read(root, addr, text)?;
        if text.is_empty() {
            return value(0_u64);
        }
        let cost = log::cost(row, &self.sys.task(row)?.record().name, text);
        let show = self.sys.log_write(row, cost, text)?;
        self.show_step(row, show)
    }

    fn log_read(&mut self, thread: ThreadIndex, a: Args) -> Outcome {
        self.sys.system_handle(thread, a.handle(), Rights::LOGS)?;
        self.sys.log_looked_at(self.sys.row_of(thread)?);
        let root = self.root(thread)?;
        let mut buffer = [0; MAX_LOG];
        let into = buffer.get_mut(..a.r8.min(MAX_LOG as u64) as usize).unwrap_or_default();
        let (count, position) = if a.rsi == abi::syscall::KERNEL_LOG {
            log::read(a.rdx, into)
        } else {
            let row = Row::from_register(a.rsi).map_err(|_| Status::BadArgument)?;
            self.sys.task(row).map_err(|_| Status::BadArgument)?.log().read(a.rdx, into)
        };
        usermem::write(root, UserAddr::new(a.r10), into.get(..count).unwrap_or_default())?;
        pair(count as u64, position)
    }

    fn task_spawn(&mut self, thread: ThreadIndex, a: Args) -> Outcome {
        self.sys.system_handle(thread, a.handle(), Rights::CONTROL)?;
        let mut argument = [0; ARG_LEN];
        let argument =
            usize::try_from(a.r10).ok().and_then(|len| argument.get_mut(..len)).ok_or(Status::BadArgument)?;
        usermem::read(self.root(thread)?, UserAddr::new(a.rdx), argument)?;
        match loader::begin(self, Row::from_register(a.rsi)?, argument) {
            Ok(life) => Ok(Done::Again(Step::Spawn(life))),
            Err(loader::SpawnError::Status(status)) => Err(status),
            Err(loader::SpawnError::Image(reason)) => {
                self.finish(thread, Status::BadImage, Some(reason as u64), None);
                Ok(Done::Elsewhere)
            }
        }
    }

    #[inline(always)]
    fn task_fault(&self, system: HandleNumber, row: u64, to: UserAddr) -> Result<(), Status> {
        let thread = self.sys.running().ok_or(Status::BadHandle)?;
        self.sys.system_right(thread, system, Rights::INSPECT)?;
        let record = self.sys.task(Row::from_register(row)?)?.fault()?.as_bytes();
        let root = thread.space.root();
        if usermem::write_in_page(root, to, record) { Ok(()) } else { usermem::write(root, to, record) }
    }

    fn task_kill(&mut self, thread: ThreadIndex, a: Args) -> Result<(), Status> {
        self.sys.system_handle(thread, a.handle(), Rights::CONTROL)?;
        let id = TaskId::from_u32(u32::try_from(a.rsi).map_err(|_| Status::NoSuchTask)?);
        let kind = match DeathKind::from_u32(a.rdx as u32) {
            kind @ (DeathKind::Killed | DeathKind::Hung) => kind,
            _ => return Err(Status::BadArgument),
        };
        match self.sys.task(Row::of(id)) {
            Ok(t) if t.lives(id) => {}
            _ => return Err(Status::NoSuchTask),
        }
        if Row::of(id) == self.sys.row_of(thread)? {
            return Err(Status::BadArgument);
        }
        self.death_record(None, Row::of(id), kind);
        self.kill(Row::of(id));
        Ok(())
    }
}
