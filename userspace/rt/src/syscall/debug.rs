//! The system calls of a debugger on the tasks that its key `debug` in `system.toml` names.

use super::{plain2, plain3, plain4};
use abi::task::Registers;
use abi::{Status, Syscall, TaskId};

/// Reads all of `buf` from a task's memory at `addr`, and returns its length. More than
/// [`abi::message::MAX_DEBUG_COPY`] bytes take several system calls.
///
/// # Errors
/// The errors of [`Syscall::DebugRead`]; a part of `buf` may then be filled.
pub fn debug_read(task: TaskId, addr: u64, buf: &mut [u8]) -> Result<usize, Status> {
    let id = task.to_u32() as u64;
    let mut done = 0;
    loop {
        let rest = buf.get_mut(done..).unwrap_or_default();
        let from = addr.wrapping_add(done as u64);
        // SAFETY: the kernel writes only to `rest`, which is borrowed for writing.
        let call = unsafe { plain4(Syscall::DebugRead, id, from, rest.as_mut_ptr() as u64, rest.len() as u64) };
        done += call.value()? as usize;
        if done >= buf.len() {
            return Ok(done);
        }
    }
}

/// Writes all of `buf` to a task's memory at `addr`, and returns its length. More than
/// [`abi::message::MAX_DEBUG_COPY`] bytes take several system calls.
///
/// # Errors
/// The errors of [`Syscall::DebugWrite`]; a part may then be written.
pub fn debug_write(task: TaskId, addr: u64, buf: &[u8]) -> Result<usize, Status> {
    let id = task.to_u32() as u64;
    let mut done = 0;
    loop {
        let rest = buf.get(done..).unwrap_or_default();
        let to = addr.wrapping_add(done as u64);
        // SAFETY: the kernel only reads `rest`; another task's own memory is not this task's.
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
/// The errors of [`Syscall::DebugRegisters`].
pub fn debug_registers(task: TaskId) -> Result<Registers, Status> {
    let mut registers = Registers::default();
    // SAFETY: the kernel writes one `Registers`, for which every bit pattern is valid, to memory
    // that is borrowed for writing.
    unsafe { plain2(Syscall::DebugRegisters, task.to_u32() as u64, &raw mut registers as u64) }.done()?;
    Ok(registers)
}

/// Sets the registers of a task's first thread.
///
/// # Errors
/// The errors of [`Syscall::DebugSetRegisters`].
pub fn debug_set_registers(task: TaskId, registers: &Registers) -> Result<(), Status> {
    // SAFETY: the kernel only reads `registers`.
    unsafe { plain2(Syscall::DebugSetRegisters, task.to_u32() as u64, &raw const *registers as u64) }.done()
}

/// Repeats ([`abi::syscall::INTERRUPT_AGAIN`]) or drops ([`abi::syscall::INTERRUPT_DROP`]) an
/// interrupt of a task. `bit` is the notification bit of the line.
///
/// # Errors
/// The errors of [`Syscall::DebugInterrupt`].
pub fn debug_interrupt(task: TaskId, bit: u32, what: u64) -> Result<(), Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain3(Syscall::DebugInterrupt, task.to_u32() as u64, bit as u64, what) }.done()
}

/// Accesses a port of a task; `access` is the width in bytes, plus [`abi::syscall::PORT_WRITE`] to
/// write `value`. Returns the value read.
///
/// # Errors
/// The errors of [`Syscall::DebugPort`].
pub fn debug_port(task: TaskId, port: u16, access: u64, value: u32) -> Result<u32, Status> {
    // SAFETY: the call does not access this task's memory; what a device does on its own is within
    // its driver's authority.
    unsafe { plain4(Syscall::DebugPort, task.to_u32() as u64, port as u64, access, value as u64) }
        .value()
        .map(|value| value as u32)
}
