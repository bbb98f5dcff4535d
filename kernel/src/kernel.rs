//! The kernel's state behind its only lock, and the switch from one thread to the next.

use crate::arch::controller::{Controller, InterruptController};
use crate::arch::cpu::Features;
use crate::arch::entry::{halt_until_interrupt, let_interrupts_in, resume};
use crate::arch::percore::{Core, PerCore};
use crate::arch::timer::Timer;
use crate::arch::{cpu, float, gdt, paging};
use crate::latency;
use crate::loader::Program;
use crate::usermem::{self, Reader};
use abi::error::{DeathKind, FaultRecord};
use abi::manifest::GrantKind;
use abi::task::SystemInfo;
use alloc::vec::Vec;
use kernel_core::Row;
use kernel_core::System;
use kernel_core::addr::{AddressSpace, LifeSpace, TableRoot, UserAddr};
use kernel_core::arena::{Arena, Id};
use kernel_core::layout;
use kernel_core::memory::Memory;
use kernel_core::sched::SEARCHED;
use kernel_core::system::Entering;
use kernel_core::task::Task;
use kernel_core::task::Tasks;
use kernel_core::thread::{FLOAT, FloatState, PORTS, STEP, Thread, ThreadIndex, TrapFrame, WHOLE};
use lock_api::{MappedMutexGuard, MutexGuard};
use spin::lock_api::Mutex;

/// The number of steps of freeing garbage frames at an exit of the kernel.
const COLLECT_STEP: u32 = 24;

/// The state of the kernel that does not belong to one core.
pub struct Kernel {
    /// The tasks, threads and kernel objects.
    pub sys: System,
    /// The access right to this core's record.
    pub core: Core,
    /// The interrupt controller.
    pub controller: Controller,
    /// The timer.
    pub timer: Timer,
    /// The features of the processor.
    pub features: Features,
    /// The boot archive.
    pub archive: &'static [u8],
    /// The program of each row, or the reason why it is refused.
    pub programs: Vec<Program>,
    /// The boot archive as a memory object.
    pub archive_memory: Option<Id<Memory>>,
    /// The number of frames that the kernel's own heap and tables occupy.
    pub frames_kernel: u64,
}

static KERNEL: Mutex<Option<Kernel>> = Mutex::new(None);

/// The locked state of the kernel.
pub struct Locked(MappedMutexGuard<'static, spin::Mutex<()>, Kernel>);

impl core::ops::Deref for Locked {
    type Target = Kernel;
    #[inline(always)]
    fn deref(&self) -> &Kernel {
        &self.0
    }
}

impl core::ops::DerefMut for Locked {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Kernel {
        &mut self.0
    }
}

/// Puts the state in place. Called once, before the first interrupt.
#[inline(always)]
pub fn set(kernel: Kernel) {
    let mut locked = KERNEL.lock();
    let kernel = locked.insert(kernel);
    let at = &raw mut *kernel as u64;
    let core = kernel.core.record();
    core.kernel = at;
    core.system = &raw mut kernel.sys as u64;
    let places = kernel.sys.places();
    core.threads = places.threads + layout::FRAME_END as u64;
    core.slots = places.thread_slots;
    core.endpoints = places.endpoints;
    core.notifications = places.notifications;
}

/// Locks the state, and sets its time to the present.
#[expect(clippy::unreachable, reason = "`set` is called before the first task runs")]
pub fn lock() -> Locked {
    match MutexGuard::try_map(KERNEL.lock(), Option::as_mut) {
        Ok(mut locked) => {
            locked.sys.set_now(cpu::now());
            Locked(locked)
        }
        Err(_) => unreachable!("locked before it was set"),
    }
}

/// Decides which thread runs, halting while none is ready, prepares the core for it, and returns
/// the frame to leave the kernel with. Before that, some garbage is freed, and if the thread's
/// system call is not done, a step of it is done.
#[inline(never)]
pub fn next(mut kernel: Locked) -> *const TrapFrame {
    if !kernel.sys.has_garbage()
        && let Some(Chosen::Runs(frame)) = choose(&mut kernel)
    {
        return frame;
    }
    next_in_stretches(kernel)
}

/// Does what [`next`] does where it may take long. Each thing that may is done right after
/// interrupts were let in, one at a time: freeing garbage, looking for a thread among many that
/// cannot run, or a step of a system call. So a stretch with interrupts off never has two of them,
/// nor one and what the kernel was entered for. See [`kernel_core::step`] and
/// [`System::undecided`].
#[expect(clippy::disallowed_methods, reason = "let go of when this is called again, or the frame is returned")]
#[inline(never)]
fn next_in_stretches(mut kernel: Locked) -> *const TrapFrame {
    // Whether garbage is to be freed before a thread runs.
    let mut collects = kernel.sys.has_garbage();
    loop {
        let runs = kernel.sys.current().is_some() || kernel.sys.undecided();
        // All garbage is freed before the processor halts.
        collects |= !runs && kernel.sys.has_garbage();
        let halts = !runs && !collects;
        if halts && let Some(at) = kernel.sys.arm_idle() {
            let now = kernel.sys.now();
            kernel.timer.arm(at, now);
        }
        drop(kernel);
        latency::end();
        if halts {
            halt_until_interrupt()
        } else {
            let_interrupts_in()
        }
        latency::again();
        kernel = lock();
        let freed = core::mem::take(&mut collects);
        if freed {
            kernel.sys.collect(COLLECT_STEP);
        }
        let chosen = match choose_now(&mut kernel) {
            Some(Chosen::Steps(index)) if !freed => {
                if let Some(thread) = kernel.sys.running() {
                    latency::begin(latency::cause(&thread.frame));
                }
                kernel.go_on(index);
                collects = kernel.sys.has_garbage();
                if collects { None } else { choose_now(&mut kernel) }
            }
            None if !freed && kernel.sys.undecided() => {
                kernel.sys.schedule(SEARCHED).and_then(|_| choose_now(&mut kernel))
            }
            chosen => chosen,
        };
        if let Some(Chosen::Runs(frame)) = chosen {
            return frame;
        }
    }
}

/// [`choose`], where it need not be fast.
#[inline(never)]
fn choose_now(kernel: &mut Kernel) -> Option<Chosen> {
    choose(kernel)
}

/// The thread that was chosen, which is the running one now.
enum Chosen {
    /// It is to run with this frame: nothing more is to be done.
    Runs(*const TrapFrame),
    /// A step of this thread's system call is to be done.
    Steps(ThreadIndex),
}

/// Decides which thread runs, looking at no more than one, and prepares the core for it: for a
/// step, too, which is done in the thread's address space so that what it changes there is flushed.
/// `None` if that is not decided yet, or no thread is ready.
#[expect(clippy::unreachable, reason = "the scheduler lets go of a thread before it is removed")]
#[inline(always)]
fn choose(kernel: &mut Kernel) -> Option<Chosen> {
    let Kernel { core, sys, timer, .. } = kernel;
    let index = sys.schedule(1)?;
    let entering = match sys.entering(index) {
        Some(entering) if entering.armed => Some(entering),
        _ => {
            arm(sys, timer);
            sys.entering(index)
        }
    };
    let Some(Entering { thread, tasks, floats, .. }) = entering else {
        unreachable!("the scheduler chose a thread that is gone")
    };
    let runs = thread.extras & STEP == 0;
    let frame = enter(core.record(), thread, tasks, floats);
    if !runs {
        return Some(Chosen::Steps(index));
    }
    latency::end();
    Some(Chosen::Runs(frame))
}

/// Arms the timer for the running thread.
#[cold]
fn arm(sys: &mut System, timer: &mut Timer) {
    if let Some(at) = sys.arm() {
        timer.arm(at, sys.now());
    }
}

/// Prepares the core to run a thread: its address space, its ports, and the place where its
/// registers will be saved. Returns its frame.
#[inline(always)]
pub fn enter(
    core: &mut PerCore,
    thread: &mut Thread,
    tasks: &Tasks,
    floats: &mut Arena<FloatState>,
) -> *const TrapFrame {
    let frame = &raw const thread.frame;
    let end = frame as u64 + size_of::<TrapFrame>() as u64;
    let there = paging::is_in(thread.space.cr3());
    // No other thread has run since, so nothing needs to change. A new thread in the slot of one
    // that has ended has another address space, or another thread ran before it.
    if core.tables.frame_end() == end && there {
        return frame;
    }
    core.tables.set_frame_end(end);
    if core.extras | thread.extras != 0 {
        enter_with_extras(core, thread, tasks, floats);
    } else if !there {
        enter_space(core, thread.space);
        core.tables.no_ports();
    }
    frame
}

/// Completes [`enter`] where the previous or the next thread has floating-point registers or ports.
#[inline(never)]
fn enter_with_extras(core: &mut PerCore, thread: &mut Thread, tasks: &Tasks, floats: &mut Arena<FloatState>) {
    thread.extras &= !WHOLE;
    float::switch(floats, &mut core.float, thread.float);
    core.extras = if core.float.is_some() { FLOAT } else { 0 } | if thread.ports { PORTS } else { 0 };
    if !paging::is_in(thread.space.cr3()) {
        enter_space(core, thread.space);
        match tasks.get(thread.task) {
            Ok(task) if thread.ports => core.tables.set_ports(thread.task, task.record().of(GrantKind::Ports)),
            _ => core.tables.no_ports(),
        }
    }
}

#[inline(always)]
fn enter_space(core: &mut PerCore, space: AddressSpace) {
    core.space_switches += 1;
    paging::switch(space);
    gdt::clear_user_selectors();
}

/// Prepares the core for the thread that has just been made the running one, as [`next`] does, and
/// returns its frame.
#[inline(always)]
#[expect(clippy::disallowed_methods, reason = "goes to `next`")]
pub fn enter_running(kernel: &mut Kernel) -> *const TrapFrame {
    let Kernel { core, sys, .. } = kernel;
    match sys.current().and_then(|current| sys.entering(current)) {
        Some(Entering { thread, tasks, floats, .. }) if thread.extras & STEP == 0 => {
            let frame = enter(core.record(), thread, tasks, floats);
            latency::end();
            frame
        }
        _ => next(lock()),
    }
}

/// Leaves the kernel to the thread that has just been made the running one. Where there is assembly
/// for it, this does not return; otherwise it returns the frame, as [`enter_running`] does.
#[inline(always)]
pub fn leave_running(kernel: &mut Kernel) -> *const TrapFrame {
    match kernel.sys.running() {
        Some(thread) if cfg!(not(feature = "plain")) => {
            latency::end();
            resume::<Kernel>(&thread.frame)
        }
        _ => enter_running(kernel),
    }
}

/// Prepares the core for the running thread, called by the assembly when the thread has
/// floating-point registers, ports or a step to do. Returns its frame.
#[inline(always)]
pub fn enter_current(_: &TrapFrame, kernel: &mut Kernel) -> *const TrapFrame {
    latency::begin(abi::Syscall::Call as u64);
    enter_running(kernel)
}

/// Collects return addresses, following the chain of frames from `rbp` on. Returns their number,
/// which is one more than `into` can hold if there are more.
#[inline(never)]
fn backtrace(root: TableRoot, mut rbp: u64, into: &mut [u64]) -> u32 {
    let mut reader = Reader::new(root);
    // Each frame holds the caller's frame pointer and the return address (System V ABI, AMD64,
    // section 3.2.2).
    let mut len = 0;
    let mut places = into.iter_mut();
    while rbp != 0 && rbp.is_multiple_of(8) {
        let Some([next, from]) = reader.pair(UserAddr::new(rbp)) else { break };
        if from == 0 {
            break;
        }
        len += 1;
        let Some(place) = places.next() else { break };
        *place = from;
        if next <= rbp {
            break;
        }
        rbp = next;
    }
    len
}

impl Kernel {
    /// Ends a task whose death record is written: leaves its address space, masks its interrupt
    /// lines, and releases what can be released quickly: see [`System::kill`].
    pub fn kill(&mut self, row: Row) {
        let cr3 = self.sys.task(row).map_or(LifeSpace::NONE, Task::space).cr3();
        if paging::is_in(cr3) {
            let core = self.core.record();
            core.space_switches += 1;
            core.tables.set_frame_end(0);
            paging::switch_to_kernel();
        }
        let lines = self.sys.release_lines(row);
        if !lines.is_empty() {
            self.controller.mask(lines);
        }
        self.sys.kill(row);
    }

    /// Writes the record of the death of a life that is about to be killed: registers, code bytes
    /// and backtrace of the thread at fault (or the first one), read while its memory still exists.
    /// Returns the record, to which the caller may add more; `None` if the row has no life.
    pub fn death_record(&mut self, thread: Option<ThreadIndex>, row: Row, kind: DeathKind) -> Option<&mut FaultRecord> {
        let space = self.sys.task(row).map_or(LifeSpace::NONE, Task::space);
        let record = self.sys.blame(row, thread, kind)?;
        let Some(root) = space.get().map(AddressSpace::root) else { return Some(record) };
        let rip = UserAddr::new(record.rip);
        record.code_len = match usermem::read_in_page(root, rip, &mut record.code) {
            true => record.code.len() as u32,
            false => Reader::new(root).some(rip, &mut record.code) as u32,
        };
        record.backtrace_len = 0;
        let [.., rbp, _, _, _, _, _, _, _, _] = record.registers;
        if rbp != 0 {
            record.backtrace_len = backtrace(root, rbp, &mut record.backtrace);
        }
        Some(record)
    }

    /// The counters of the whole system.
    pub fn info(&self) -> SystemInfo {
        let (heap_used, heap_size) = crate::heap::usage();
        let info = self.sys.info();
        SystemInfo {
            frames_total: info.frames_total + self.frames_kernel,
            frames_kernel: self.frames_kernel,
            heap_used: heap_used as u64,
            heap_size: heap_size as u64,
            space_switches: self.core.space_switches(),
            ..info
        }
    }
}
