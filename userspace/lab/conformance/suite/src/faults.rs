//! Every fault kills only the task that commits it, and the record says which it was.

use crate::support::{Context, Life, Outcome, ask, check, peer, same};
use abi::error::{DeathKind, FaultRecord};
use abi::task::STACK_TOP;
use assist::role;

/// Page-fault error code bits (Intel SDM vol. 3A, section 4.7).
const PRESENT: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const FETCH: u64 = 1 << 4;

/// Runs `task` with `argument` until it dies; the server, which has nothing to do with it, must live on.
pub(crate) fn death_of(task: &str, argument: &str) -> Result<FaultRecord, alloc::string::String> {
    let server = peer("server")?;
    let before = ask(server, assist::WHO, [0; 4])?[0];
    let record = Life::start(task, argument)?.record()?;
    same!(ask(server, assist::WHO, [0; 4])?[0], before, "the server's life");
    Ok(record)
}

fn exception(argument: &str, vectors: &[u32]) -> Result<FaultRecord, alloc::string::String> {
    let mut words = argument.splitn(2, ' ');
    let (first, kind) = (words.next().unwrap_or_default(), words.next());
    let record = match kind {
        Some(kind) if first == role::FAULT => death_of("fault", kind)?,
        _ => death_of("assist", argument)?,
    };
    same!(DeathKind::from_u32(record.kind), DeathKind::Exception, "kind of death");
    check!(vectors.contains(&record.vector), "vector {} instead of one of {vectors:?}", record.vector);
    check!(record.rip < STACK_TOP, "rip {:#x}", record.rip);
    Ok(record)
}

fn page_fault(argument: &str, set: u64, clear: u64) -> Result<FaultRecord, alloc::string::String> {
    let record = exception(argument, &[14])?;
    let code = record.error_code;
    check!(
        code & (set | USER) == set | USER && code & clear == 0,
        "error code {code:#x}, in which {:#x} should be set and {clear:#x} clear",
        set | USER
    );
    Ok(record)
}

fn code_starts_with(record: &FaultRecord, bytes: &[u8]) -> Outcome {
    let code = record.code.get(..record.code_len as usize).unwrap_or_default();
    check!(code.starts_with(bytes), "code at rip is {code:x?} instead of {bytes:x?}");
    Ok(())
}

pub fn d01_null_read() -> Outcome {
    let record = page_fault("fault null-read", 0, PRESENT | WRITE | FETCH)?;
    same!(record.address, 0, "address");
    Ok(())
}

pub fn d01_write_code() -> Outcome {
    let record = page_fault("fault write-code", PRESENT | WRITE, FETCH)?;
    check!(record.address.abs_diff(record.rip) < 64, "wrote to {:#x} at {:#x}", record.address, record.rip);
    Ok(())
}

pub fn d01_jump_data() -> Outcome {
    let record = page_fault("fault jump-data", PRESENT | FETCH, WRITE)?;
    same!(record.address, record.rip, "address, against rip");
    Ok(())
}

pub fn d01_divide() -> Outcome {
    exception("fault divide", &[0]).map(drop)
}

pub fn d01_invalid_opcode() -> Outcome {
    code_starts_with(&exception("fault invalid-opcode", &[6])?, &[0x0f, 0x0b])
}

pub fn d08_port() -> Outcome {
    code_starts_with(&exception("fault port", &[13])?, &[0xec])
}

pub fn d09_cli() -> Outcome {
    code_starts_with(&exception("fault cli", &[13])?, &[0xfa])
}

pub fn d01_kernel_read() -> Outcome {
    let record = page_fault("fault kernel-read", 0, WRITE | FETCH)?;
    check!(record.address >= 0xffff_8000_0000_0000, "address {:#x}", record.address);
    Ok(())
}

pub fn d01_stack_overflow() -> Outcome {
    let record = page_fault("fault stack-overflow", WRITE, PRESENT | FETCH)?;
    check!(record.address.abs_diff(record.rsp) < 4096, "address {:#x}, rsp {:#x}", record.address, record.rsp);
    check!(record.backtrace_len >= 8, "a backtrace of {} frames only", record.backtrace_len);
    Ok(())
}

pub fn d01_breakpoint() -> Outcome {
    exception("fault breakpoint", &[3]).map(drop)
}

/// #AC, or where the processor has no alignment check (QEMU's TCG), the #GP of the instruction that follows.
pub fn d01_alignment() -> Outcome {
    exception("fault alignment", &[17, 13]).map(drop)
}

pub fn panic() -> Outcome {
    let record = death_of("fault", "panic")?;
    same!(DeathKind::from_u32(record.kind), DeathKind::Panicked, "kind of death");
    let message = record.message();
    check!(message.contains("kinds.rs:") && message.contains("asked to panic"), "message: {message}");
    check!(record.backtrace_len >= 1, "no backtrace");
    Ok(())
}

pub fn unknown_kind() -> Outcome {
    for argument in ["", "no-such-kind"] {
        let record = death_of("fault", argument)?;
        same!(DeathKind::from_u32(record.kind), DeathKind::Exited, "kind of death");
        same!(record.error_code as u32, 2, "exit code");
    }
    Ok(())
}

pub fn d01_jump_null() -> Outcome {
    let record = page_fault(role::JUMP_NULL, FETCH, PRESENT | WRITE)?;
    same!((record.address, record.rip), (0, 0), "address and rip");
    same!(record.code_len, 0, "bytes of code at address 0");
    Ok(())
}

/// #SS; TCG reports #GP for a stack access, too, where the address is not canonical.
pub fn d01_bad_stack() -> Outcome {
    exception(role::BAD_STACK, &[12, 13]).map(drop)
}

pub fn d05_mapped_memory_is_never_executable() -> Outcome {
    let record = page_fault(role::JUMP_MAPPED, PRESENT | FETCH, WRITE)?;
    same!(record.address, record.rip, "address, against rip");
    Ok(())
}

pub fn unmapped_memory_is_gone() -> Outcome {
    page_fault(role::USE_UNMAPPED, 0, PRESENT | WRITE | FETCH).map(drop)
}

/// A task that does not handle it dies, and nobody else.
pub fn heap_exhaustion_is_a_panic() -> Outcome {
    let record = death_of("assist", role::EAT_HEAP)?;
    same!(DeathKind::from_u32(record.kind), DeathKind::Panicked, "kind of death");
    check!(record.message().contains("memory"), "message: {}", record.message());
    Ok(())
}

/// One that asks by `try_reserve` gets all that its quota has, then an error, and lives.
pub fn heap_exhaustion_can_be_handled() -> Outcome {
    for (task, least) in [("assist", 1 << 20), ("frugal", 512 << 10)] {
        let record = death_of(task, &alloc::format!("{} {least}", role::EAT_POLITELY))?;
        same!(DeathKind::from_u32(record.kind), DeathKind::Exited, "{task}: kind of death");
        same!(record.error_code as u32, 0, "{task}: exit code");
    }
    Ok(())
}

/// The distance is that of the linked list, not the default: 129 bytes take 144.
pub fn a_task_picks_its_heap() -> Outcome {
    let record = death_of("frugal", role::DISTANCE)?;
    same!(DeathKind::from_u32(record.kind), DeathKind::Exited, "kind of death");
    same!(record.error_code as u32, 144, "distance of two blocks");
    Ok(())
}

pub fn panic_with_a_bad_pointer() -> Outcome {
    let record = death_of("assist", role::PANIC_BAD_POINTER)?;
    same!(DeathKind::from_u32(record.kind), DeathKind::Panicked, "kind of death");
    same!(record.message_len, 0, "length of the message");
    Ok(())
}

pub fn exit_codes() -> Outcome {
    for code in [0, 1, -1, i32::MIN] {
        let record = death_of("assist", &alloc::format!("exit {code}"))?;
        same!(DeathKind::from_u32(record.kind), DeathKind::Exited, "kind of death");
        same!(record.error_code as u32 as i32, code, "exit code");
    }
    Ok(())
}

pub fn d09_a_spinning_task_is_killed() -> Outcome {
    let life = Life::start("watched", role::SPIN)?;
    // Watched it would die by itself; the request comes first.
    life.kill()?;
    same!(DeathKind::from_u32(life.record()?.kind), DeathKind::Killed, "kind of death");
    Ok(())
}

pub fn d18_a_missed_heartbeat_kills() -> Outcome {
    let record = Life::start("watched", role::SPIN)?.record().context("a task that takes no messages")?;
    same!(DeathKind::from_u32(record.kind), DeathKind::Hung, "kind of death");
    Ok(())
}

pub fn d18_a_served_heartbeat_does_not() -> Outcome {
    let life = Life::start("watched", role::SERVE)?;
    rt::time::sleep_ms(2_000);
    let status = crate::support::status(life.id.index.into())?;
    same!(status.id, life.id.to_u32(), "the task's life after two seconds");
    same!(status.state, abi::task::TaskState::Running as u32, "its state");
    Ok(())
}
