//! Memory: what a dead task wrote is nowhere, and the pointer that only the judge may pass.

use crate::bench::{Context, Outcome, close, live, row, system};
use abi::task::{INFO_ADDR, USER_END};
use abi::{Status, Syscall};
use alloc::format;
use alloc::vec::Vec;
use assist::CANARY;
use assist::raw::{Registers, syscall};
use rt::syscall as sys;

/// Most pages of a memory object.
const MOST: usize = 256;
/// Free frames that may stay out of reach besides the other tasks' own: those that page tables would take, and the kernel's reserve.
const UNREACHED: u64 = 64 + 256;

/// Takes all the memory there is and looks for what dead tasks left in it.
pub fn canary() -> Outcome {
    for name in ["holder", "client", "keeper"] {
        let objects = if name == "holder" { 6 } else { 1 };
        match live(row(name)?, &format!("canary {objects}"))? {
            0 => {}
            code => return Err(format!("{name} left no canaries: code {code}")),
        }
    }
    let mut taken = Vec::with_capacity(512);
    let (mut pages, mut found) = (MOST, 0_u64);
    while pages > 0 {
        // The machine's memory ends before the judge's quota does.
        let Ok(memory) = sys::memory_create(pages, false) else {
            pages /= 2;
            continue;
        };
        // SAFETY: mapped where the kernel likes, and only read, below.
        let Ok(address) = (unsafe { sys::memory_map(memory, 0, false) }) else {
            close(memory)?;
            pages /= 2;
            continue;
        };
        taken.push((memory, address));
        for at in 0..pages * abi::PAGE_SIZE / size_of::<u64>() {
            // SAFETY: within the mapping.
            let word = unsafe { (address as *const u64).add(at).read_volatile() };
            found += u64::from(word != 0);
            if word == CANARY {
                return Err(format!("a dead task's word is in object {} at {at:#x}", taken.len()));
            }
        }
    }
    let left = rt::task::system_info().context("system_info")?.frames_free;
    // What the others may take is there for them, whatever the judge takes. The lowest frames are given first, and so are those of the dead.
    let archive = rt::archive::Archive::map().ok_or("the judge has no boot archive")?;
    let others: u64 = (0..archive.tasks().len())
        .filter(|&row| row != rt::me().index as usize)
        .filter_map(|row| rt::task::status(row).ok())
        .map(|status| u64::from(status.frame_quota.saturating_sub(status.frames)))
        .sum();
    for (memory, address) in taken {
        // SAFETY: nothing refers to it.
        unsafe { sys::memory_unmap(address) }.context("unmap")?;
        close(memory)?;
    }
    if found != 0 {
        return Err(format!("{found} words of fresh memory are not zero"));
    }
    if left > others + UNREACHED {
        return Err(format!("{left} free frames were not looked at, and {others} are the others'"));
    }
    Ok(())
}

/// `task_spawn` reads an argument from the judge's memory: every address that is not the judge's, or a device's, is refused, and nothing begins.
pub fn spawn_arguments() -> Outcome {
    let probe = row("probe")?;
    let begun = || rt::task::status(probe).map(|status| (status.id, status.state));
    let before = begun().context("task_status")?;
    let device = rt::memory::Memory::range("device").ok_or("the judge has no such range")?;
    let device = device.map(false).context("map the range")?.leak_shared().as_ptr() as u64;
    for address in [
        device,
        device + 4096 - 8,
        0,
        8,
        4095,
        0x2000_0000_0000,
        INFO_ADDR - 1,
        INFO_ADDR + 4096 - 8,
        USER_END - 8,
        USER_END,
        0x7fff_ffff_fff8,
        0x8000_0000_0000,
        0x8000_0000_0000_0000,
        0xffff_7fff_ffff_ffff,
        0xffff_8000_0000_0000,
        0xffff_ffff_8000_0000,
        u64::MAX - 7,
    ] {
        let registers =
            Registers { rdi: system()?.into(), rsi: probe as u64, rdx: address, r10: 100, ..Registers::default() };
        // SAFETY: the kernel only reads there, and is to refuse it.
        let outcome = unsafe { syscall(Syscall::TaskSpawn as u64, registers) };
        if outcome.status() != Some(Status::BadAddress) {
            return Err(format!("an argument at {address:#x}: {:?} instead of BadAddress", outcome.status()));
        }
    }
    if begun().context("task_status")? != before {
        return Err("a life began although its argument was refused".into());
    }
    Ok(())
}
