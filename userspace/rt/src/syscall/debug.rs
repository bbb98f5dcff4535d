//! The system calls of a debugger, on the tasks that its `debug` key in `system.toml` names.

use super::{plain2, plain3, plain4};
use abi::task::Registers;
use abi::{Status, Syscall, TaskId};

/// Reads a task's memory at `addr`; returns how many bytes: all of `buf`. More than [`abi::message::MAX_DEBUG_COPY`] are several system calls.
///
/// # Errors
/// As [`Syscall::DebugRead`]; part of `buf` may be filled then.
pub fn debug_read(task: TaskId, addr: u64, buf: &mut [u8]) -> Result<usize, Status> {
    let id = task.to_u32() as u64;
    let mut done = 0;
    loop {
        let rest = buf.get_mut(done..).unwrap_or_default();
        let from = addr.wrapping_add(done as u64);
        // SAFETY: the kernel writes to `rest` alone, which is borrowed for writing.
        let call = unsafe { plain4(Syscall::DebugRead, id, from, rest.as_mut_ptr() as u64, rest.len() as u64) };
        done += call.value()? as usize;
        if done >= buf.len() {
            return Ok(done);
        }
    }
}

/// Writes a task's memory at `addr`; returns how many bytes: all of `buf`. More than [`abi::message::MAX_DEBUG_COPY`] are several system calls.
///
/// # Errors
/// As [`Syscall::DebugWrite`]; part may be written then.
pub fn debug_write(task: TaskId, addr: u64, buf: &[u8]) -> Result<usize, Status> {
    let id = task.to_u32() as u64;
    let mut done = 0;
    loop {
        let rest = buf.get(done..).unwrap_or_default();
        let to = addr.wrapping_add(done as u64);
        // SAFETY: the kernel only reads `rest`; the memory of another task holds nothing of this one's.
        let call = unsafe { plain4(Syscall::DebugWrite, id, to, rest.as_ptr() as u64, rest.len() as u64) };
        done += call.value()? as usize;
        if done >= buf.len() {
            return Ok(done);
        }
    }
}

/// Reads the registers of a task's first thread.
///
/// # Errors
/// As [`Syscall::DebugRegisters`].
pub fn debug_registers(task: TaskId) -> Result<Registers, Status> {
    let mut registers = Registers::default();
    // SAFETY: the kernel writes one `Registers`, of which every bit pattern is valid, to a place that is borrowed for writing.
    unsafe { plain2(Syscall::DebugRegisters, task.to_u32() as u64, &raw mut registers as u64) }.done()?;
    Ok(registers)
}

/// Sets the registers of a task's first thread.
///
/// # Errors
/// As [`Syscall::DebugSetRegisters`].
pub fn debug_set_registers(task: TaskId, registers: &Registers) -> Result<(), Status> {
    // SAFETY: the kernel only reads `registers`.
    unsafe { plain2(Syscall::DebugSetRegisters, task.to_u32() as u64, &raw const *registers as u64) }.done()
}

/// Has an interrupt of a task come twice ([`abi::syscall::INTERRUPT_AGAIN`]) or be lost ([`abi::syscall::INTERRUPT_DROP`]).
///
/// # Errors
/// As [`Syscall::DebugInterrupt`].
pub fn debug_interrupt(task: TaskId, bit: u32, what: u64) -> Result<(), Status> {
    // SAFETY: touches no memory of the task.
    unsafe { plain3(Syscall::DebugInterrupt, task.to_u32() as u64, bit as u64, what) }.done()
}

/// Accesses a port of a task; `access` is the width, and [`abi::syscall::PORT_WRITE`] to write.
///
/// # Errors
/// As [`Syscall::DebugPort`].
pub fn debug_port(task: TaskId, port: u16, access: u64, value: u32) -> Result<u32, Status> {
    // SAFETY: touches no memory of this task; what a device does by its own means is its driver's authority.
    unsafe { plain4(Syscall::DebugPort, task.to_u32() as u64, port as u64, access, value as u64) }
        .value()
        .map(|value| value as u32)
}
