//! Debugging: the suite may debug `assist` and two drivers, and nobody else; what it may do there has bounds.

use crate::support::{Context, Helper, Outcome, ask, check, peer, row, same, status, want, want_error};
use abi::error::DeathKind;
use abi::syscall::{INTERRUPT_AGAIN, INTERRUPT_DROP, PORT_WRITE};
use abi::task::{Registers, STACK_TOP, USER_END};
use abi::{Status, Syscall, TaskId};
use alloc::format;
use assist::raw::{self, syscall};
use rt::ipc::CallError;
use rt::syscall as sys;

/// Every system call of a debugger on this task, with arguments that would be good on one that may be debugged.
fn all(id: TaskId) -> [Result<(), Status>; 6] {
    [
        sys::debug_read(id, STACK_TOP - 64, &mut [0; 8]).map(drop),
        sys::debug_write(id, STACK_TOP - 64, &[0; 8]).map(drop),
        sys::debug_registers(id).map(drop),
        sys::debug_set_registers(id, &Registers::default()),
        sys::debug_interrupt(id, 0, INTERRUPT_AGAIN),
        sys::debug_port(id, 0x3f8, 1, 0).map(drop),
    ]
}

/// An assistant that waits for requests: it has answered one and receives in the same system call.
fn waiting() -> Result<Helper, alloc::string::String> {
    let helper = Helper::start()?;
    same!(helper.ask(assist::ECHO, [4; 4])?, [4; 4], "the first echo");
    Ok(helper)
}

pub fn only_what_the_table_names() -> Outcome {
    for name in ["supervisor", "vga", "server", "suite"] {
        let id = TaskId::from_u32(status(row(name)?)?.id);
        same!(all(id), [Err(Status::NoRights); 6], "debugging {name}");
    }
    same!(all(TaskId { index: 63, generation: 1 }), [Err(Status::NoRights); 6], "debugging no row");
    let old = {
        let helper = Helper::start()?;
        helper.life.id
    };
    same!(all(old), [Err(Status::NoSuchTask); 6], "debugging a life that is over");
    let helper = Helper::start()?;
    same!(all(old), [Err(Status::NoSuchTask); 6], "debugging the life before");
    check!(sys::debug_registers(helper.life.id).is_ok(), "the assistant cannot be debugged");
    Ok(())
}

pub fn only_the_tasks_own_memory() -> Outcome {
    let helper = Helper::start()?;
    let id = helper.life.id;
    let places =
        [0, 4095, 0x1800_0000_0000, STACK_TOP - 4, USER_END - 1, USER_END, 1 << 47, !0 << 47, u64::MAX - 3, u64::MAX];
    for at in places {
        want_error(sys::debug_read(id, at, &mut [0; 16]), Status::BadAddress, &format!("reading {at:#x}"))?;
        want_error(sys::debug_write(id, at, &[0; 16]), Status::BadAddress, &format!("writing {at:#x}"))?;
    }
    // Nor may the debugger name memory that is not its own.
    for call in [Syscall::DebugRead, Syscall::DebugWrite] {
        for at in [0, USER_END - 4, !0 << 47, u64::MAX - 3] {
            let registers =
                raw::Registers { rdi: id.to_u32().into(), rsi: STACK_TOP - 64, rdx: at, r10: 16, ..Default::default() };
            // SAFETY: the kernel is to refuse it: the address is not the suite's.
            let code = unsafe { syscall(call as u64, registers) }.code;
            want(code, Status::BadAddress, &format!("{} with a buffer at {at:#x}", call.name()))?;
        }
    }
    same!(helper.ask(assist::ECHO, [5; 4])?, [5; 4], "echo after all that");
    Ok(())
}

pub fn d07_registers_are_sanitised() -> Outcome {
    let helper = waiting()?;
    let id = helper.life.id;
    let good = sys::debug_registers(id).context("registers")?;
    for rip in [USER_END, 1 << 47, 0x7fff_ffff_ffff, !0 << 47, u64::MAX] {
        let result = sys::debug_set_registers(id, &Registers { rip, ..good });
        want_error(result, Status::BadAddress, &format!("rip {rip:#x}"))?;
        let result = sys::debug_set_registers(id, &Registers { rsp: rip, ..good });
        want_error(result, Status::BadAddress, &format!("rsp {rip:#x}"))?;
    }
    // I/O privilege, nested task, virtual-8086, no interrupts: none of it holds.
    let flags = good.rflags & !0x200 | 0x3000 | 0x4000 | 0x2_0000 | 0x18_0000 | !0 << 32;
    sys::debug_set_registers(id, &Registers { rflags: flags, ..good }).context("set flags")?;
    same!(helper.ask(assist::ECHO, [6; 4])?, [6; 4], "echo with wild flags");
    let after = sys::debug_registers(id).context("registers")?.rflags;
    same!(after & 0x1a_7200, 0x200, "privileged flags after it");
    same!(after >> 32, 0, "upper half of the flags");
    Ok(())
}

pub fn code_is_changed_for_that_life_alone() -> Outcome {
    let helper = waiting()?;
    let id = helper.life.id;
    let rip = sys::debug_registers(id).context("registers")?.rip;
    let mut before = [0; 2];
    sys::debug_read(id, rip, &mut before).context("read code")?;
    // ud2 where it waits.
    sys::debug_write(id, rip, &[0x0f, 0x0b]).context("write code")?;
    let result = helper.endpoint.call(assist::ECHO, [1; 4]).map(|reply| reply.label);
    same!(result, Err(CallError::Died { generation: id.generation }), "the call that ran into it");
    let record = helper.life.record()?;
    same!((DeathKind::from_u32(record.kind), record.vector, record.rip), (DeathKind::Exception, 6, rip), "its death");
    let next = Helper::start()?;
    let mut after = [0; 2];
    sys::debug_read(next.life.id, rip, &mut after).context("read code")?;
    same!(after, before, "the code of the next life");
    same!(next.ask(assist::ECHO, [7; 4])?, [7; 4], "echo of the next life");
    Ok(())
}

pub fn lines_and_ports_are_those_of_the_task() -> Outcome {
    let helper = Helper::start()?;
    let id = helper.life.id;
    for what in [INTERRUPT_AGAIN, INTERRUPT_DROP] {
        for bit in [0, 1, 31, 59, u32::MAX] {
            want_error(sys::debug_interrupt(id, bit, what), Status::BadArgument, &format!("line {bit}"))?;
        }
    }
    // COM1 is the serial driver's, the interrupt controller is the kernel's.
    for port in [0x3f8, 0x20, 0x21, 0xe9, 0xffff] {
        for access in [1, 2, 4, 1 | PORT_WRITE] {
            want_error(sys::debug_port(id, port, access, 0), Status::BadArgument, &format!("port {port:#x}"))?;
        }
    }
    same!(ask(peer("server")?, assist::ECHO, [8; 4])?, [8; 4], "echo of another server");
    Ok(())
}
