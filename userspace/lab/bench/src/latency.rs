//! In the supervisor's place: provokes the longest stretches with interrupts off, and reads what the kernel noted of them.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use abi::error::DeathKind;
use abi::message::LISTENERS;
use abi::syscall::{LATENCY_CAUSES, LATENCY_READ};
use abi::task::{INFO_ADDR, MAP_BASE};
use abi::{PAGE_SIZE, Syscall, TaskId};
use alloc::vec;
use alloc::vec::Vec;
use bench::calibrate;
use rt::Status;
use rt::ipc::{Endpoint, close};
use rt::memory::Memory;
use rt::notify::Notification;
use rt::println;
use rt::time::{now_ns, sleep_ms};
use rt::{syscall, task};

#[path = "latency/fast.rs"]
mod fast;
#[path = "latency/leases.rs"]
mod leases;
#[path = "latency/lives.rs"]
mod lives;
#[path = "latency/together.rs"]
mod together;

rt::entry!(run);

/// The rows of the task table, as latency.toml has them; copies of the last follow.
const OWN: usize = 0;
const POWER: usize = 1;
const SERVER: usize = 2;
const BURDEN: usize = 3;
const PLAIN: usize = 4;
const IDLE: usize = 5;
/// Longer than the scheduler's period, with the table full.
const PERIOD_MS: u64 = 500;
/// The priority of threads that are less important than the one that measures.
const LATER: u8 = 20;

/// Does something of which some part takes long.
type Scene = fn() -> Result<(), Status>;

/// What is provoked, by its name.
const SCENES: [(&str, Scene); 23] = [
    ("wide_range", wide_range),
    ("memory", memory),
    ("scattered_frames", scattered_frames),
    ("many_mappings", many_mappings),
    ("timers", timers),
    ("listeners", listeners),
    ("threads", threads),
    ("closed_endpoint", closed_endpoint),
    ("nobody_comes", nobody_comes),
    ("leases", leases::copied),
    ("log", log),
    ("lives", lives::every_way),
    ("armed_timers", lives::timers),
    ("waiting_threads", lives::threads),
    ("endpoints", lives::endpoints),
    ("lines", lives::lines),
    ("fast", fast::measured),
    ("debugger", debugger),
    ("questions", questions),
    ("table_full", table_full),
    ("all_spin", together::all_spin),
    ("dead_spinners", together::dead_spinners),
    ("steps_and_deaths", together::steps_and_deaths),
];

fn run() {
    calibrate::print();
    for (name, scene) in SCENES {
        let _ = noted();
        if let Err(status) = scene() {
            println!("failed {name} {status}");
        }
        for (cause, [longest, ports]) in noted() {
            println!("latency {name} {cause} {longest} {ports}");
        }
    }
    println!("done");
    if task::spawn(POWER, "").is_ok()
        && let Some(power) = Endpoint::peer("power")
    {
        let Err(error) = driver_power::Client::new(power).shutdown();
        println!("failed power {error}");
    }
}

/// What the kernel has noted since the last time, cause by cause.
fn noted() -> Vec<(u64, [u64; 2])> {
    (0..LATENCY_CAUSES)
        .filter_map(|cause| longest(cause).map(|found| (cause, found)))
        .filter(|(_, found)| *found != [0; 2])
        .collect()
}

#[cfg(target_os = "none")]
fn longest(cause: u64) -> Option<[u64; 2]> {
    let (status, longest, ports): (u64, u64, u64);
    // SAFETY: the call reads a table of the kernel's and touches no memory of the task.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") LATENCY_READ => status,
            in("rdi") cause,
            lateout("rdx") longest,
            lateout("rsi") ports,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    (status == Status::Ok as u64).then_some([longest, ports])
}

#[cfg(not(target_os = "none"))]
fn longest(_: u64) -> Option<[u64; 2]> {
    let _ = LATENCY_READ;
    None
}

fn map(memory: Memory, addr: u64) -> Result<u64, Status> {
    // SAFETY: nothing refers to what is mapped here.
    unsafe { syscall::memory_map(memory.0, addr, true) }
}

fn unmap(addr: u64) -> Result<(), Status> {
    // SAFETY: as above.
    unsafe { syscall::memory_unmap(addr) }
}

/// A thread of this task without a stack; its handle.
#[cfg(target_os = "none")]
fn thread(entry: extern "C" fn() -> !, argument: u64) -> Result<u32, Status> {
    // SAFETY: the entries are made to be first functions of threads that have neither stack nor memory.
    unsafe { syscall::thread_create(entry as *const () as u64, PAGE_SIZE as u64, argument, LATER) }
}

#[cfg(target_os = "none")]
use bench::stackless::{caller, listener, passer};

#[cfg(not(target_os = "none"))]
mod host {
    pub extern "C" fn caller() -> ! {
        panic!("there is no kernel on the host")
    }
    pub use self::{caller as listener, caller as passer};
}
#[cfg(not(target_os = "none"))]
use host::{caller, listener, passer};

#[cfg(not(target_os = "none"))]
fn thread(_: extern "C" fn() -> !, _: u64) -> Result<u32, Status> {
    Err(Status::BadSyscall)
}

/// A large range, mapped and taken away, at the kernel's choice and where every level of the page tables is new; and where it fails half-way.
fn wide_range() -> Result<(), Status> {
    let wide = Memory::range("wide").ok_or(Status::BadHandle)?;
    for addr in [0, MAP_BASE + (20 << 39) - PAGE_SIZE as u64] {
        let at = map(wide, addr)?;
        if unmap(at + PAGE_SIZE as u64).is_ok() {
            return Err(Status::BadAddress);
        }
        unmap(at)?;
    }
    Ok(())
}

fn memory() -> Result<(), Status> {
    for contiguous in [false, true, false, true] {
        for pages in [1, 255, 256] {
            let made = syscall::memory_create(pages, contiguous).map(Memory)?;
            made.info()?;
            // Three levels of tables are new, and three more behind the border.
            let at = map(made, MAP_BASE + (21 << 39) - PAGE_SIZE as u64)?;
            if close(made.0) != Err(Status::Busy) {
                return Err(Status::Busy);
            }
            unmap(at)?;
            close(made.0)?;
        }
    }
    Ok(())
}

/// Frames far from each other come free one by one, each of which joins its neighbours to a large block.
fn scattered_frames() -> Result<(), Status> {
    let (mut single, mut large) = (Vec::with_capacity(800), Vec::with_capacity(800));
    for _ in 0..400 {
        single.push(syscall::memory_create(1, false)?);
        large.push(syscall::memory_create(255, false)?);
    }
    large.into_iter().try_for_each(close)?;
    // The garbage of the large ones is cleared away first.
    for _ in 0..8000 {
        syscall::yield_now();
    }
    single.into_iter().try_for_each(close)?;
    for _ in 0..100 {
        syscall::yield_now();
    }
    close(syscall::memory_create(256, false)?)?;
    close(syscall::memory_create(256, true)?)
}

/// As many mappings as there are objects: searched, moved and looked through.
fn many_mappings() -> Result<(), Status> {
    let page = PAGE_SIZE as u64;
    let (one, two) = (Memory::create(1)?, Memory::create(2)?);
    let base = MAP_BASE + (30 << 39);
    let mut mapped = Vec::with_capacity(1100);
    // From above, so that all that are there already move up.
    for number in (0..990).rev() {
        let at = map(one, base + 2 * number * page)?;
        mapped.push(at);
    }
    // The next place is taken each time, so that the lowest gap is looked for among all.
    for _ in 0..4 {
        let next = map(two, 0)?;
        unmap(next)?;
        let beside = map(one, next + 3 * page);
        let found = map(two, 0)?;
        unmap(found)?;
        beside.and_then(unmap)?;
    }
    let _ = map(one, INFO_ADDR - page).map(|at| mapped.push(at));
    if close(two.0).is_err() || close(one.0) != Err(Status::Busy) {
        return Err(Status::Busy);
    }
    mapped.into_iter().try_for_each(unmap)?;
    close(one.0)
}

/// As many timers as there are objects, due at once.
fn timers() -> Result<(), Status> {
    let endpoint = Endpoint::create()?;
    let notification = Notification::create()?;
    endpoint.bind(notification)?;
    let mut threads = Vec::new();
    for number in 0..LISTENERS as u64 {
        threads.push(thread(listener, u64::from(endpoint.0) | number << 32)?);
    }
    sleep_ms(PERIOD_MS);
    let mut timers = Vec::with_capacity(1000);
    while let Ok(timer) = syscall::timer_create(notification.0, timers.len() as u32 % 60) {
        timers.push(timer);
    }
    let due = now_ns() + 20_000_000;
    for (number, timer) in timers.iter().enumerate() {
        // In no order.
        syscall::timer_arm(*timer, due + (number as u64 * 7919) % 1000)?;
    }
    for timer in timers.iter().step_by(3) {
        syscall::timer_arm(*timer, due)?;
    }
    sleep_ms(PERIOD_MS);
    for timer in &timers {
        syscall::timer_arm(*timer, due + (1 << 40))?;
    }
    for timer in timers {
        syscall::timer_disarm(timer)?;
        close(timer)?;
    }
    close(endpoint.0)?;
    sleep_ms(PERIOD_MS);
    threads.into_iter().try_for_each(close)?;
    close(notification.0)
}

/// A signal of all bits where each of as many threads as may wait for one, and more threads wait for none.
fn listeners() -> Result<(), Status> {
    let endpoint = Endpoint::create()?;
    let notification = Notification::create()?;
    endpoint.bind(notification)?;
    let mut threads = Vec::new();
    for number in 0..900 {
        let bit = if number < LISTENERS as u64 { number } else { 64 };
        threads.push(thread(listener, u64::from(endpoint.0) | bit << 32)?);
    }
    sleep_ms(2 * PERIOD_MS);
    for set in [1, 1 << 63, u64::MAX, u64::MAX] {
        notification.signal(set)?;
        sleep_ms(PERIOD_MS);
    }
    for _ in 0..50 {
        endpoint.send(1, [0; 4])?;
    }
    sleep_ms(PERIOD_MS);
    close(endpoint.0)?;
    sleep_ms(2 * PERIOD_MS);
    threads.into_iter().try_for_each(close)?;
    close(notification.0)
}

/// Many threads that give way, get another priority, and end.
fn threads() -> Result<(), Status> {
    let mut threads = Vec::with_capacity(900);
    for _ in 0..900 {
        threads.push(thread(passer, 0)?);
    }
    for thread in &threads {
        let _ = syscall::thread_priority(u64::from(*thread), LATER + 1);
    }
    task::system_info()?;
    task::status(OWN)?;
    sleep_ms(4 * PERIOD_MS);
    threads.into_iter().try_for_each(close)
}

/// The last handle of an endpoint is closed while many call there.
fn closed_endpoint() -> Result<(), Status> {
    let endpoint = Endpoint::create()?;
    let mut threads = Vec::with_capacity(900);
    for _ in 0..900 {
        threads.push(thread(caller, endpoint.0.into())?);
    }
    sleep_ms(2 * PERIOD_MS);
    close(endpoint.0)?;
    sleep_ms(4 * PERIOD_MS);
    threads.into_iter().try_for_each(close)
}

/// Many wait for a task that is then said never to come.
fn nobody_comes() -> Result<(), Status> {
    let life = task::spawn(BURDEN, "call 900")?;
    sleep_ms(4 * PERIOD_MS);
    task::expect(SERVER, false)?;
    sleep_ms(4 * PERIOD_MS);
    task::expect(SERVER, true)?;
    finish(life)
}

fn log() -> Result<(), Status> {
    for text in [[b'\n'; 1024], [b'x'; 1024], [0xff; 1024]] {
        for len in [1, 63, 64, 1024] {
            let _ = syscall::log_write(text.get(..len).unwrap_or_default());
            sleep_ms(PERIOD_MS);
        }
    }
    let mut buffer = vec![0; 4096];
    for row in [OWN, task::KERNEL_LOG] {
        task::log_read(row, 0, &mut buffer)?;
        task::log_read(row, u64::MAX, &mut buffer)?;
    }
    Ok(())
}

/// Ends a life, and waits until all that it had is free.
fn finish(life: TaskId) -> Result<(), Status> {
    task::kill(life, DeathKind::Killed)?;
    while task::reap(life.index.into())? != 0 {}
    Ok(())
}

fn debugger() -> Result<(), Status> {
    let life = task::spawn(BURDEN, "hold wait")?;
    sleep_ms(4 * PERIOD_MS);
    let mut buffer = vec![0; 64 << 10];
    // Of its stack, and of its mappings, page by page.
    syscall::debug_read(life, abi::task::STACK_TOP - (64 << 10), &mut buffer)?;
    syscall::debug_write(life, abi::task::STACK_TOP - (64 << 10), &buffer)?;
    for addr in (MAP_BASE..).step_by(PAGE_SIZE).take(64) {
        let _ = syscall::debug_read(life, addr + 1, buffer.get_mut(1..3000).unwrap_or_default());
    }
    let registers = syscall::debug_registers(life)?;
    syscall::debug_set_registers(life, &registers)?;
    finish(life)
}

/// Every system call of the table that takes no argument to go wrong, with arguments of no sense.
fn questions() -> Result<(), Status> {
    for &(call, ..) in Syscall::TABLE {
        let ends =
            matches!(call, Syscall::Exit | Syscall::Panic | Syscall::ThreadExit | Syscall::Recv | Syscall::ReplyRecv);
        if !ends {
            nonsense(call as u64);
        }
    }
    nonsense(63);
    task::system_info()?;
    task::status(OWN)?;
    task::signal(OWN, 1 << 5)?;
    Notification::own().poll(u64::MAX);
    Ok(())
}

#[cfg(target_os = "none")]
fn nonsense(number: u64) {
    // SAFETY: no argument names memory or anything else of the task.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number => _,
            in("rdi") 0xffff_0000_u64,
            inlateout("rsi") u64::MAX => _,
            inlateout("rdx") u64::MAX => _,
            inlateout("r10") 1_u64 << 63 => _,
            inlateout("r8") u64::MAX => _,
            inlateout("r9") 0_u64 => _,
            inlateout("r12") 0_u64 => _,
            inlateout("r13") 0_u64 => _,
            inlateout("r14") 0_u64 => _,
            inlateout("r15") 0_u64 => _,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
}

#[cfg(not(target_os = "none"))]
fn nonsense(_: u64) {}

/// Every row of the table lives and hears of every line of a log.
fn table_full() -> Result<(), Status> {
    let mut lives = Vec::new();
    for row in IDLE.. {
        match task::spawn(row, "listen") {
            Ok(life) => lives.push(life),
            Err(Status::NoSuchTask) => break,
            Err(status) => return Err(status),
        }
    }
    sleep_ms(2 * PERIOD_MS);
    for _ in 0..3 {
        syscall::log_write(b"all of them\n")?;
        sleep_ms(PERIOD_MS);
    }
    // Its birth is told to all who may call it.
    let server = task::spawn(SERVER, "wait 1")?;
    task::system_info()?;
    sleep_ms(PERIOD_MS);
    finish(server)?;
    lives.into_iter().try_for_each(finish)
}
