//! Mappings: where there are none, what two threads of a task do to one at once, and lives that end while one is made.

use crate::support::{Context, Life, Outcome, check, eventually, same, status, want_error};
use abi::error::DeathKind;
use abi::task::{MAP_BASE, PROGRAM_BASE};
use abi::{PAGE_SIZE, Status};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use assist::role;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use rt::memory::Memory;
use rt::syscall as sys;
use rt::time::sleep_ms;

const PAGE: u64 = PAGE_SIZE as u64;
/// A place that nothing else of the suite is mapped at.
const PLACE: u64 = MAP_BASE + (7 << 39);
/// The most pages of one object: more than are mapped in one step.
const PAGES: usize = 256;

fn map(memory: Memory, addr: u64) -> Result<u64, Status> {
    // SAFETY: nothing refers to what is mapped here.
    unsafe { sys::memory_map(memory.0, addr, true) }
}

fn unmap(addr: u64) -> Result<(), Status> {
    // SAFETY: nothing refers to what was mapped there.
    unsafe { sys::memory_unmap(addr) }
}

/// Nothing can be mapped below the programs, where descriptors would be looked for if a table had been forgotten; nor where programs lie.
pub fn d21_low_addresses() -> Outcome {
    for pages in [1, PAGES] {
        let memory = Memory::create(pages).context("memory")?;
        let places = (PAGE..=PROGRAM_BASE).step_by(PAGE_SIZE).chain([0x20_0000, MAP_BASE - PAGE]);
        for addr in places {
            want_error(map(memory, addr), Status::BadAddress, "memory_map")
                .map_err(|error| format!("{pages} pages at {addr:#x}: {error}"))?;
            want_error(unmap(addr), Status::BadAddress, "memory_unmap")?;
        }
        rt::ipc::close(memory.0).context("close")?;
    }
    Ok(())
}

/// What is charged to the suite.
fn charged() -> Result<[u32; 3], String> {
    status(rt::me().index.into()).map(|status| [status.frames, status.handles, status.objects])
}

/// How often a thread is to be met in the middle of a system call, and how often that is tried.
const WANTED: u32 = 5;
const TRIES: u32 = 5_000;

/// One thread maps memory and takes it away, again and again; a more important one interrupts it in the middle, and wants to do so too. It is told
/// that it is too early (Busy), and what the first one does comes to its end.
pub fn d24_two_threads_map_and_unmap_at_once() -> Outcome {
    let memory = Memory::create(PAGES).context("memory")?;
    // Once first, so that what is made once and stays is there: page tables, and the runtime's timer.
    // A thread that was joined ends when it has its turn.
    meet(memory)?;
    sleep_ms(50);
    let before = charged()?;
    meet(memory)?;
    let _ = eventually("an even balance", 5_000, || Ok(charged()? == before));
    same!(charged()?, before, "frames, handles, objects");
    // And it is memory like any other.
    let mut mapping = memory.map(true).context("map")?;
    mapping.as_mut_slice().chunks_mut(PAGE_SIZE).for_each(|page| page[PAGE_SIZE - 1] = 1);
    same!(mapping.as_slice().iter().map(|&byte| u32::from(byte)).sum::<u32>(), PAGES as u32, "sum of what was written");
    drop(mapping);
    rt::ipc::close(memory.0).context("close")
}

fn meet(memory: Memory) -> Outcome {
    let (stop, odd) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(Status::Ok as u64)));
    let told = (stop.clone(), odd.clone());
    let maps = move || {
        let (stop, odd) = told;
        while !stop.load(Ordering::Relaxed) {
            for result in [map(memory, PLACE).map(drop), unmap(PLACE)] {
                // The other has been faster with the one or the other.
                if let Err(status) = result
                    && !matches!(status, Status::BadAddress | Status::Busy)
                {
                    odd.store(status as u64, Ordering::Relaxed);
                }
            }
        }
    };
    let mapper = rt::thread::spawn(maps, 8, rt::info().priority as u8 + 1).context("thread")?;
    let (mut busy, mut done) = (0, 0);
    for _ in 0..TRIES {
        sleep_ms(1);
        match unmap(PLACE) {
            Err(Status::Busy) => {
                busy += 1;
                // Its place is taken, and its memory is needed.
                want_error(map(memory, PLACE), Status::BadAddress, "memory_map amid another thread's")?;
                want_error(map(memory, PLACE + 255 * PAGE), Status::BadAddress, "memory_map over its end")?;
                want_error(rt::ipc::close(memory.0), Status::Busy, "handle_close of what is being mapped")?;
            }
            Ok(()) => done += 1,
            Err(Status::BadAddress) => {}
            Err(status) => return Err(format!("memory_unmap: {status}")),
        }
        if busy >= WANTED {
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    mapper.join();
    let _ = unmap(PLACE);
    same!(odd.load(Ordering::Relaxed), Status::Ok as u64, "what the other thread was told besides");
    check!(
        busy >= WANTED,
        "of {TRIES} tries {busy} met the other thread in the middle, and {done} took its mapping away"
    );
    Ok(())
}

/// A task that maps 256 MiB is ended at some moment or other: all that it had comes back, as after any life.
pub fn d24_a_life_that_ends_amid_a_large_mapping() -> Outcome {
    let counters = || -> Result<_, String> {
        let info = rt::task::system_info().context("system_info")?;
        let objects = [info.threads, info.endpoints, info.notifications, info.memories, info.timers].map(u64::from);
        Ok((info.frames_free, info.heap_used, objects))
    };
    let life = |wait: u64| -> Outcome {
        let life = Life::start("owner", role::WIDE)?;
        let row = usize::from(life.id.index);
        // Its page tables are there as soon as the first of its pages is.
        let at_first = status(row)?.frames;
        eventually("a large mapping", 5_000, || Ok(status(row)?.frames > at_first + 16))?;
        sleep_ms(wait);
        life.kill()?;
        same!(DeathKind::from_u32(life.record()?.kind), DeathKind::Killed, "kind of death");
        Ok(())
    };
    // One first, so that what is made once and stays is there.
    life(0)?;
    let before = counters()?;
    for wait in [0, 1, 2, 3, 5, 8, 13, 21] {
        life(wait)?;
        // Frames are freed a few at a time.
        let _ = eventually("an even balance", 5_000, || Ok(counters()? == before));
        same!(
            counters()?,
            before,
            "after {wait} ms: free frames, kernel heap, threads, endpoints, notifications, memory objects, timers"
        );
    }
    Ok(())
}
