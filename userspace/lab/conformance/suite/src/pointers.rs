//! Every address that a task may not use is refused with BadAddress: nothing panics, and nothing is copied.

use crate::support::{Context, Helper, Outcome, check, peer, same, system, want};
use abi::message::{Header, Lease};
use abi::task::{INFO_ADDR, USER_END};
use abi::{PAGE_SIZE, Status, Syscall};
use alloc::string::String;
use alloc::vec::Vec;
use assist::raw::{Outcome as Raw, Registers, syscall};
use rt::ipc::{CallError, Loan};
use rt::syscall as sys;

/// Bytes that are asked for: more than any of the places below has.
const LENGTH: u64 = 256;

/// Where the places of this file are mapped; nothing else of the suite's is near.
const PLACE: u64 = 0x2000_0000_0000;

/// Two mapped pages, the first writable and the second read-only, with nothing before and after them.
struct Pages {
    handles: [u32; 2],
}

impl Pages {
    fn map() -> Result<Pages, String> {
        let make = |address, writable| {
            let handle = sys::memory_create(1, false)?;
            // SAFETY: fresh memory at an address that nothing else of the suite's uses.
            unsafe { sys::memory_map(handle, address, writable) }?;
            Ok::<u32, Status>(handle)
        };
        let first = make(PLACE, true).context("map a page")?;
        let second = make(PLACE + PAGE_SIZE as u64, false).context("map a second page")?;
        Ok(Pages { handles: [first, second] })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        for (i, handle) in self.handles.into_iter().enumerate() {
            // SAFETY: no reference to the pages was ever made.
            let _ = unsafe { sys::memory_unmap(PLACE + (i * PAGE_SIZE) as u64) };
            let _ = sys::handle_close(handle);
        }
    }
}

const FIRST_END: u64 = PLACE + PAGE_SIZE as u64;
const SECOND_END: u64 = PLACE + 2 * PAGE_SIZE as u64;

/// Addresses at which nobody can read [`LENGTH`] bytes.
static UNREADABLE: [(&str, u64); 15] = [
    ("null", 0),
    ("near null", 8),
    ("the last byte of the null page", 4095),
    ("unmapped", PLACE + 0x10_0000),
    ("straddling into nothing", SECOND_END - 8),
    ("straddling out of nothing", PLACE - 8),
    ("the end of user space", USER_END),
    ("straddling the end of user space", USER_END - 8),
    ("the first non-canonical address", 0x8000_0000_0000),
    ("straddling into the non-canonical", 0x7fff_ffff_fff8),
    ("non-canonical", 0x8000_0000_0000_0000),
    ("the last non-canonical address", 0xffff_7fff_ffff_ffff),
    ("the kernel's half", 0xffff_8000_0000_0000),
    ("the kernel's image", 0xffff_ffff_8000_0000),
    ("wrapping", u64::MAX - 7),
];

/// Addresses at which nobody can write [`LENGTH`] bytes, although some can be read.
fn unwritable() -> Vec<(&'static str, u64)> {
    let code = unwritable as fn() -> Vec<(&'static str, u64)>;
    let mut places: Vec<_> = UNREADABLE.to_vec();
    places.extend([
        ("the info page", INFO_ADDR),
        ("code", code as usize as u64),
        ("constants", UNREADABLE.as_ptr() as u64),
        ("a read-only mapping", FIRST_END),
        ("straddling into a read-only page", FIRST_END - 8),
    ]);
    places
}

/// The call must come back with BadAddress. Every address is one of those above, or the call is meant to fail otherwise.
fn refused(call: Syscall, registers: Registers, what: &str) -> Outcome {
    // SAFETY: the registers name an address that the kernel must refuse; that it does is what is tested, and where it does not,
    // it writes to a place that only this test uses or that the suite cannot have.
    let Raw { code, .. } = unsafe { syscall(call as u64, registers) };
    want(code, Status::BadAddress, &alloc::format!("{} with {what} address", call.name()))
}

pub fn d02_reading() -> Outcome {
    let _pages = Pages::map()?;
    for (what, address) in UNREADABLE {
        refused(Syscall::LogWrite, Registers { rdi: address, rsi: LENGTH, ..Registers::default() }, what)?;
    }
    Ok(())
}

pub fn d02_writing() -> Outcome {
    let _pages = Pages::map()?;
    let system = u64::from(system()?);
    let me = u64::from(rt::me().index);
    for (what, address) in unwritable() {
        // Structures are shorter than the places above allow for: what straddles does so within 8 bytes.
        let status = Registers { rdi: system, rsi: me, rdx: address, ..Registers::default() };
        refused(Syscall::TaskStatus, status, what)?;
        refused(Syscall::SystemInfo, Registers { rdi: system, rsi: address, ..Registers::default() }, what)?;
        let log = Registers { rdi: system, rsi: me, r10: address, r8: LENGTH, ..Registers::default() };
        refused(Syscall::LogRead, log, what)?;
    }
    Ok(())
}

pub fn d02_fault_records() -> Outcome {
    let _pages = Pages::map()?;
    let system = u64::from(system()?);
    let dead = crate::support::Life::start("assist", "exit 0")?;
    dead.record()?;
    for (what, address) in unwritable() {
        let registers = Registers { rdi: system, rsi: dead.id.index.into(), rdx: address, ..Registers::default() };
        refused(Syscall::TaskFault, registers, what)?;
    }
    Ok(())
}

pub fn d02_a_good_address_still_works() -> Outcome {
    let _pages = Pages::map()?;
    let system = u64::from(system()?);
    let registers = Registers { rdi: system, rsi: rt::me().index.into(), rdx: FIRST_END - 64, ..Registers::default() };
    // SAFETY: the last 64 bytes of the first page are writable and nobody's; a status is as long.
    let outcome = unsafe { syscall(Syscall::TaskStatus as u64, registers) };
    want(outcome.code, Status::Ok, "task_status at the very end of a page")?;
    // SAFETY: the kernel has just written there; the page is mapped.
    let id = unsafe { ((FIRST_END - 64) as *const u32).read_volatile() };
    same!(id, rt::me().to_u32(), "what it wrote");
    Ok(())
}

pub fn d02_lease_tables() -> Outcome {
    let _pages = Pages::map()?;
    let server = peer("server")?;
    for (what, address) in UNREADABLE {
        // The way to the server is known, and it waits: nothing but the table is in the way of the call.
        server.call(assist::ECHO, [0; 4]).context("call before that")?;
        let registers = Registers {
            rdi: server.0.into(),
            rsi: Header::new(assist::ECHO).with_leases(2).0,
            r8: address,
            ..Registers::default()
        };
        refused(Syscall::Call, registers, &alloc::format!("lease table at {what}"))?;
    }
    let echoed = server.call(assist::ECHO, [1, 2, 3, 4]).context("call after that")?;
    same!(echoed.words, [1, 2, 3, 4], "the server's answer after that");
    Ok(())
}

/// A lease may name any memory: whoever lends what is not there is answered by nobody's crash.
pub fn d02_leased_memory() -> Outcome {
    let _pages = Pages::map()?;
    let server = peer("server")?;
    let cases = UNREADABLE.iter().map(|&place| (place, Lease::READ, assist::SUM));
    let writes = unwritable().into_iter().map(|place| (place, Lease::WRITE, assist::FILL));
    for ((what, addr), access, label) in cases.chain(writes) {
        let lease = Lease { addr, len: LENGTH as u32, access };
        // SAFETY: the memory is not the suite's to lend, or not for this; the kernel must refuse the copy.
        let result = unsafe { sys::call_leased(server.0, Header::new(label), [0x55, 0, LENGTH, 0], &[lease], 0) };
        match result {
            Ok(message) if label == assist::SUM => {
                check!(message.words[2] < LENGTH, "all of a lease at {what} address could be read");
            }
            Ok(message) => {
                want(message.words[1], Status::LeaseFault, &alloc::format!("write to a lease at {what} address"))?
            }
            Err(failure) => same!(failure.status, Status::BadAddress, "call with a lease at {what} address"),
        }
    }
    Ok(())
}

pub fn d02_lease_copies() -> Outcome {
    let helper = Helper::start()?;
    let mut lent = [0x11_u8; LENGTH as usize];
    // Only places that no task has: the assistant's own memory lies elsewhere than the suite's.
    for (what, address) in UNREADABLE {
        for direction in [0, 1] {
            let words = [address, direction, LENGTH, 0];
            let reply =
                helper.endpoint.call_with(assist::COPY_WILD, words, &mut [Loan::Both(&mut lent)]).context("call")?;
            want(reply.words[0], Status::BadAddress, &alloc::format!("lease copy {direction} with {what} address"))?;
        }
    }
    check!(lent == [0x11; LENGTH as usize], "the lent memory was changed");
    Ok(())
}

pub fn d02_mapping_addresses() -> Outcome {
    let memory = sys::memory_create(1, false).context("memory")?;
    let taken = (&raw const memory) as u64 & !(PAGE_SIZE as u64 - 1);
    let places = [
        ("crooked", PLACE + 1),
        ("the null page", 1),
        ("the info page", INFO_ADDR),
        ("the own stack", taken),
        ("the end of user space", USER_END),
        ("non-canonical", 0x8000_0000_0000),
        ("the kernel's half", 0xffff_8000_0000_0000),
        ("the last page", 0xffff_ffff_ffff_f000),
    ];
    for (what, address) in places {
        refused(
            Syscall::MemoryMap,
            Registers { rdi: memory.into(), rsi: address, rdx: 1, ..Registers::default() },
            what,
        )?;
    }
    for (what, address) in UNREADABLE {
        refused(Syscall::MemoryUnmap, Registers { rdi: address, ..Registers::default() }, what)?;
    }
    for (what, address) in [("the info page", INFO_ADDR), ("the own stack", taken)] {
        refused(Syscall::MemoryUnmap, Registers { rdi: address, ..Registers::default() }, what)?;
    }
    sys::handle_close(memory).context("close")
}

pub fn d07_thread_entries() -> Outcome {
    // No thread ever runs on it.
    let stack = UNREADABLE.as_ptr() as u64;
    for (what, address) in UNREADABLE.into_iter().filter(|&(_, address)| address >= USER_END) {
        let registers = Registers { rdi: address, rsi: stack, r10: rt::info().priority.into(), ..Registers::default() };
        refused(Syscall::ThreadCreate, registers, what)?;
    }
    Ok(())
}

pub fn a_lease_of_no_bytes_needs_no_memory() -> Outcome {
    let reply = peer("server")?.call_with(assist::SUM, [0; 4], &mut [Loan::Read(&[])]);
    same!(reply.map(|reply| reply.words), Ok::<_, CallError>([0; 4]), "sum over nothing");
    Ok(())
}
