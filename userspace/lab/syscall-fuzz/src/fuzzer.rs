//! Makes system calls at random, with several threads, for as long as it lives. What every call returns decides what comes next, so two
//! runs in which one result differs are soon not alike at all. Where a call succeeds that must not, as far as can be known here, it says so.
#![cfg_attr(target_os = "none", no_std, no_main)]

use abi::manifest::GrantKind;
use abi::message::Rights;
use abi::{Syscall, syscall};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use syscall_fuzz::Random;
use syscall_fuzz::plan::{self, SCRATCH, Shared};
use syscall_fuzz::pool::Kind;

rt::entry!(run);

const THREADS: usize = 6;
const STACK: usize = 4096;

/// How many threads a life begins with, beside its first.
const AT_FIRST: u32 = 3;

static SHARED: Shared = Shared::new();

/// Memory that anybody may write at any time.
#[repr(C, align(4096))]
struct Loose<const N: usize>(UnsafeCell<[u8; N]>);

// SAFETY: it is reached by system calls and as stacks alone, never through a reference.
unsafe impl<const N: usize> Sync for Loose<N> {}

static MEMORY: Loose<SCRATCH> = Loose(UnsafeCell::new([0; SCRATCH]));
static STACKS: Loose<{ THREADS * STACK }> = Loose(UnsafeCell::new([0; THREADS * STACK]));

/// The stacks in use, one bit each.
static USED: AtomicU64 = AtomicU64::new(0);

fn run() {
    let seed = rt::arg().parse().unwrap_or(1);
    let mut random = Random::new(seed);
    for (kind, handle) in [(Kind::Endpoint, abi::info::ENDPOINT), (Kind::Notification, abi::info::NOTIFICATION)] {
        SHARED.handles.put(&mut random, kind, handle.into(), Rights::empty());
    }
    for entry in rt::entries() {
        if let Some(object) = GrantKind::of(entry.kind).and_then(GrantKind::object) {
            SHARED.handles.put(&mut random, Kind::of(object), entry.handle.into(), Rights::empty());
        }
    }
    go_on(random, None)
}

/// Makes calls. `stack` is the number of the one that it runs on, for a thread that was made here.
fn go_on(mut random: Random, stack: Option<usize>) -> ! {
    let scratch = MEMORY.0.get() as u64;
    let mut leases = [Default::default(); abi::message::MAX_LEASES];
    let mut to_start = if stack.is_none() { AT_FIRST } else { 0 };
    let mut owed = 0;
    loop {
        if random.once_in(4) {
            leases = plan::leases(&mut random, scratch);
        }
        let mut regs = plan::call(&mut random, &SHARED, scratch, (&raw const leases) as u64);
        if owed != 0 && !random.once_in(4) {
            regs = plan::answer(&mut random, &SHARED, owed);
        }
        if to_start > 0 {
            to_start -= 1;
            (regs.rax, regs.r10) = (Syscall::ThreadCreate as u64, rt::info().priority.into());
        }
        let call = Syscall::from_u64(regs.rax);
        let mut started = None;
        if call == Some(Syscall::ThreadCreate) && !random.once_in(30) {
            started = claim();
            match started {
                Some(number) => {
                    regs.rdi = begin as *const () as u64;
                    regs.rsi = STACKS.0.get() as u64 + ((number + 1) * STACK) as u64;
                    regs.rdx = random.next() << 8 | number as u64;
                }
                None => regs.rax = syscall::THIS_THREAD,
            }
        }
        if call == Some(Syscall::ThreadExit) {
            give_back(stack);
        }
        let asked = regs;
        let forbidden = plan::forbidden(&SHARED, &asked);
        // SAFETY: whatever this breaks is this task's own, which is there to be broken.
        unsafe { regs.call() };
        if let (Some(number), true) = (started, regs.rax != 0) {
            give_back(Some(number));
        }
        if let (Some(why), 0) = (forbidden, regs.rax) {
            rt::println!("succeeded {why}: call {} by {:#x}", asked.rax, asked.rdi);
        }
        plan::learn(&mut random, &SHARED, &asked, &regs);
        let received = regs.rax == 0 && [Some(Syscall::Recv), Some(Syscall::ReplyRecv)].contains(&call);
        owed = if received { regs.r8 } else { 0 };
        random = Random::new(random.next() ^ regs.mixed());
    }
}

/// A stack that no thread runs on.
fn claim() -> Option<usize> {
    let free = |used: u64| (0..THREADS).find(|number| used & 1 << number == 0);
    let take = |used| free(used).map(|number| used | 1 << number);
    USED.fetch_update(Relaxed, Relaxed, take).ok().and_then(free)
}

fn give_back(stack: Option<usize>) {
    if let Some(number) = stack {
        USED.fetch_and(!(1 << number), Relaxed);
    }
}

/// The first instructions of a thread (System V ABI, AMD64, section 3.2.2).
#[cfg(target_os = "none")]
#[unsafe(naked)]
extern "C" fn begin() -> ! {
    core::arch::naked_asm!("xor ebp, ebp", "and rsp, -16", "call {thread}", "ud2", thread = sym thread)
}

#[cfg(not(target_os = "none"))]
extern "C" fn begin() -> ! {
    thread(0)
}

extern "C" fn thread(seed: u64) -> ! {
    go_on(Random::new(seed), Some((seed & 0xff) as usize))
}
