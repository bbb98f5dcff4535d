//! Memory objects, the heap, quotas, log rings.

use crate::support::{Context, Helper, Life, Outcome, check, row, same, status, want, want_error};
use abi::task::{LOG_AGAIN, LOG_BURST, LOG_PER_MS};
use abi::{PAGE_SIZE, Status};
use alloc::boxed::Box;
use alloc::vec::Vec;
use assist::{CANARY, Flood, role};
use rt::memory::Memory;
use rt::syscall as sys;

pub fn d11_fresh_memory_is_zero() -> Outcome {
    let memory = Memory::create(64).context("create")?;
    let mapping = memory.map(true).context("map")?;
    check!(mapping.as_slice().iter().all(|&byte| byte == 0), "it is not");
    drop(mapping);
    rt::ipc::close(memory.0).context("close")
}

pub fn d11_a_dead_tasks_memory_is_found_nowhere() -> Outcome {
    Life::start("assist", &alloc::format!("{} 128", role::CANARY))?.record()?;
    let memory = Memory::create(200).context("create")?;
    let mapping = memory.map(false).context("map")?;
    let found = mapping.as_slice().chunks_exact(8).position(|word| word == CANARY.to_le_bytes());
    check!(found.is_none(), "a dead task's word lies at offset {:#x}", found.unwrap_or_default() * 8);
    check!(mapping.as_slice().iter().all(|&byte| byte == 0), "fresh memory is not zero");
    drop(mapping);
    rt::ipc::close(memory.0).context("close")
}

pub fn what_is_written_stays() -> Outcome {
    let memory = Memory::create(3).context("create")?;
    let mut mapping = memory.map(true).context("map")?;
    for (i, byte) in mapping.as_mut_slice().iter_mut().enumerate() {
        *byte = (i / 7) as u8;
    }
    drop(mapping);
    let mapping = memory.map(false).context("map again")?;
    same!(mapping.len(), 3 * PAGE_SIZE, "length");
    let wrong = mapping.as_slice().iter().enumerate().position(|(i, &byte)| byte != (i / 7) as u8);
    same!(wrong, None, "first byte that changed");
    drop(mapping);
    rt::ipc::close(memory.0).context("close")
}

pub fn one_object_can_be_mapped_twice() -> Outcome {
    let memory = sys::memory_create(1, false).context("create")?;
    // SAFETY: mapped where the kernel likes, and only reached by volatile accesses below.
    let [first, second] = unsafe { [sys::memory_map(memory, 0, true), sys::memory_map(memory, 0, false)] };
    let (first, second) = (first.context("map")?, second.context("map again")?);
    check!(first != second, "both at {first:#x}");
    // SAFETY: the first mapping is writable.
    unsafe { (first as *mut u64).write_volatile(0x1234) };
    // SAFETY: the second mapping is readable.
    let found = unsafe { (second as *const u64).read_volatile() };
    same!(found, 0x1234, "what the other mapping shows");
    for address in [first, second] {
        // SAFETY: nothing refers to it.
        unsafe { sys::memory_unmap(address) }.context("unmap")?;
        // SAFETY: there is nothing.
        let again = unsafe { sys::memory_unmap(address) };
        want_error(again, Status::BadAddress, "second unmap")?;
    }
    sys::handle_close(memory).context("close")
}

pub fn mappings_do_not_overlap() -> Outcome {
    const PLACE: u64 = 0x2100_0000_0000;
    let memory = sys::memory_create(4, false).context("create")?;
    // SAFETY: an address that nothing else of the suite's uses; nothing refers to it.
    let map = |address| unsafe { sys::memory_map(memory, address, true) };
    same!(map(PLACE), Ok(PLACE), "mapping at a place of one's own");
    for pages in [-3_i64, -1, 0, 1, 3] {
        let address = PLACE.wrapping_add_signed(pages * PAGE_SIZE as i64);
        want_error(map(address), Status::BadAddress, &alloc::format!("mapping {pages} pages further"))?;
    }
    for address in [PLACE - 4 * PAGE_SIZE as u64, PLACE + 4 * PAGE_SIZE as u64] {
        same!(map(address), Ok(address), "mapping right beside it");
        // SAFETY: nothing refers to it.
        unsafe { sys::memory_unmap(address) }.context("unmap")?;
    }
    // SAFETY: nothing refers to it.
    unsafe { sys::memory_unmap(PLACE) }.context("unmap")?;
    sys::handle_close(memory).context("close")
}

pub fn sizes_have_limits() -> Outcome {
    for pages in [0, 257, 1 << 20, usize::MAX] {
        want_error(sys::memory_create(pages, false), Status::BadArgument, &alloc::format!("{pages} pages"))?;
        want_error(sys::memory_create(pages, true), Status::BadArgument, &alloc::format!("{pages} contiguous pages"))?;
    }
    Ok(())
}

pub fn contiguous_memory_has_an_address() -> Outcome {
    let memory = Memory::create_contiguous(5).context("create")?;
    let info = memory.info().context("info")?;
    same!(info.pages, 5, "pages");
    let physical = info.physical.ok_or("it has no physical address")?;
    check!(physical != 0 && physical.is_multiple_of(PAGE_SIZE as u64), "physical address {physical:#x}");
    rt::ipc::close(memory.0).context("close")
}

pub fn memory_is_charged_and_given_back() -> Outcome {
    let frames = || status(rt::me().index.into()).map(|status| status.frames);
    let before = frames()?;
    let memory = Memory::create(32).context("create")?;
    same!(frames()?, before + 32, "frames with 32 more");
    rt::ipc::close(memory.0).context("close")?;
    same!(frames()?, before, "frames after that");
    Ok(())
}

pub fn d15_quotas() -> Outcome {
    for kind in Flood::ALL {
        let helper = Helper::start()?;
        let index = helper.life.id.index.into();
        if kind == Flood::Log {
            // What its lives before have written counts too.
            rt::time::sleep_ms(u64::from(LOG_BURST / LOG_PER_MS));
        }
        let [count, code, ..] = helper.ask(assist::FLOOD, [kind as u64, 0, 0, 0])?;
        let status_now = u32::try_from(code).ok().and_then(Status::from_u32);
        check!(
            match status_now {
                Some(Status::QuotaFrames | Status::QuotaHandles | Status::QuotaObjects) => kind != Flood::Log,
                Some(Status::QuotaLog) => kind == Flood::Log,
                _ => false,
            },
            "{kind:?}: {} after {count}",
            crate::support::name_of(code)
        );
        check!(count > 0, "{kind:?}: not a single one was allowed");
        let used = status(index)?;
        check!(
            used.frames <= used.frame_quota && used.handles <= used.handle_quota && used.objects <= used.object_quota,
            "{kind:?}: over its quota: {used:?}"
        );
        same!(helper.ask(assist::ECHO, [4; 4])?, [4; 4], "{kind:?}: echo of the culprit");
    }
    Ok(())
}

pub fn boxes() -> Outcome {
    let (a, b) = (Box::new(41), Box::new(13));
    same!(*a + *b, 54, "sum of two boxes");
    Ok(())
}

pub fn a_large_vec() -> Outcome {
    let vec: Vec<u64> = (0..10_000).collect();
    same!(vec.iter().sum::<u64>(), 10_000 * 9_999 / 2, "sum");
    Ok(())
}

pub fn many_boxes() -> Outcome {
    for i in 0..100_000_u64 {
        let boxed = Box::new(i);
        same!(*boxed, i, "box {i}");
    }
    Ok(())
}

pub fn many_boxes_beside_a_long_lived_one() -> Outcome {
    let long_lived = Box::new(0xdead_u64);
    for i in 0..100_000_u64 {
        let boxed = Box::new(i);
        same!(*boxed, i, "box {i}");
    }
    same!(*long_lived, 0xdead, "the long-lived box");
    Ok(())
}

/// Blocks of many sizes come and go; none may touch another.
pub fn mixed_sizes() -> Outcome {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    let mut random = 12345_u64;
    for round in 0..5_000_u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let size = (random >> 33) as usize % 2_000 + 1;
        if blocks.len() >= 64 {
            let old = blocks.swap_remove((random >> 20) as usize % 64);
            let tag = old.first().copied().unwrap_or_default();
            check!(
                old.iter().all(|&byte| byte == tag),
                "round {round}: a block of {} bytes was overwritten",
                old.len()
            );
        }
        blocks.push(alloc::vec![round as u8; size]);
    }
    Ok(())
}

pub fn a_line_reaches_the_ring() -> Outcome {
    let marker = alloc::format!("marker {:#x}", rt::time::now_ns());
    rt::println!("{marker}");
    let (text, _) = ring(rt::me().index.into(), 0)?;
    check!(text.lines().any(|line| line == marker), "the line is not in the ring: {text}");
    Ok(())
}

pub fn d15_a_flooded_ring_keeps_the_newest() -> Outcome {
    let index = row("assist")?;
    // Whatever its lives before have written, it may write all of this.
    rt::time::sleep_ms(u64::from(LOG_BURST / LOG_PER_MS));
    Life::start("assist", &alloc::format!("{} 600", role::LOG))?.record()?;
    let (text, first) = ring(index, 0)?;
    check!(first > 0, "nothing was lost, although 30,000 bytes were written: the ring holds {}", text.len());
    let last = text.lines().next_back().unwrap_or_default();
    check!(last.starts_with("line 000599"), "the newest line is {last}");
    let numbers: Vec<u32> = text.lines().skip(1).filter_map(|line| line.get(5..11)?.parse().ok()).collect();
    let gap = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1);
    check!(numbers.len() > 10 && gap.is_none(), "{} lines, gap at {gap:?}", numbers.len());
    // Whoever has read everything gets nothing more.
    let end = first + text.len() as u64;
    let (more, at) = ring(index, end)?;
    same!((more.len(), at), (0, end), "bytes and position at the end");
    Ok(())
}

/// Who floods its log is told so, and heard again before long, with how much was lost; others are heard meanwhile, and a panic is recorded.
pub fn d15_a_log_flood_is_refused() -> Outcome {
    let helper = Helper::start()?;
    let index = helper.life.id.index.into();
    let flood = || helper.ask(assist::FLOOD, [Flood::Log as u64, 0, 0, 0]);
    rt::time::sleep_ms(u64::from(LOG_BURST / LOG_PER_MS));
    let [lines, code, ..] = flood()?;
    want(code, Status::QuotaLog, "a flood of lines")?;
    let burst = u64::from(LOG_BURST) >> 10;
    check!((burst..2 * burst).contains(&lines), "{lines} KiB of log were taken at once");
    // At once afterwards nothing is heard of it, and everything of others.
    helper.ask(assist::SAY, [1, 0, 0, 0])?;
    let marker = alloc::format!("heard beside a flood, {}", rt::time::now_ns());
    rt::println!("{marker}");
    check!(ring(rt::me().index.into(), 0)?.0.lines().any(|line| line == marker), "the suite is not heard");
    rt::time::sleep_ms(u64::from(LOG_AGAIN / LOG_PER_MS) + 50);
    helper.ask(assist::SAY, [2, 0, 0, 0])?;
    let (text, _) = ring(index, 0)?;
    let last: Vec<&str> = text.lines().skip_while(|line| line.starts_with('.')).collect();
    same!(last, ["[7 bytes of log lost]", "said 2"], "what follows the flood");
    // A panic is no log text.
    want(flood()?[1], Status::QuotaLog, "another flood")?;
    let panics = fault::KINDS.iter().position(|kind| kind.name == "panic").ok_or("no fault `panic`")?;
    let call = helper.endpoint.call(assist::DIE, [0, panics as u64, 0, 0]);
    check!(call.is_err(), "the helper lives on");
    let record = helper.life.record()?;
    check!(!record.message().is_empty(), "nothing is recorded of a panic in silence");
    Ok(())
}

pub fn log_arguments_are_checked() -> Outcome {
    let system = crate::support::system()?;
    let mut buffer = [0; 16];
    want_error(sys::log_read(system, 64, 0, &mut buffer), Status::BadArgument, "log of row 64")?;
    want_error(sys::log_read(system, u64::MAX - 1, 0, &mut buffer), Status::BadArgument, "log of row 2^64-2")?;
    let kernel = sys::log_read(system, abi::syscall::KERNEL_LOG, 0, &mut buffer).map(|(count, _)| count);
    same!(kernel, Ok(16), "bytes of the kernel's own log");
    Ok(())
}

/// A ring's text from a position on, and the position of its first byte.
pub(crate) fn ring(index: usize, from: u64) -> Result<(alloc::string::String, u64), alloc::string::String> {
    let system = crate::support::system()?;
    let mut buffer = alloc::vec![0; 1024];
    let (mut text, mut at, mut first) = (Vec::new(), from, None);
    loop {
        let (count, start) = sys::log_read(system, index as u64, at, &mut buffer).context("log_read")?;
        first.get_or_insert(start);
        text.extend_from_slice(buffer.get(..count).unwrap_or_default());
        at = start + count as u64;
        if count == 0 {
            break;
        }
    }
    Ok((alloc::string::String::from_utf8_lossy(&text).into_owned(), first.unwrap_or(from)))
}
