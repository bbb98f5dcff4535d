//! Handles: what they name, what they allow, what is refused.

use crate::support::{Context, Helper, Outcome, peer, row, same, status, system, want, want_error};
use abi::error::DeathKind;
use abi::info::{ENDPOINT, NOTIFICATION};
use abi::message::{Header, Kind, Rights, bits};
use abi::{Status, Syscall};
use alloc::string::String;
use assist::raw::{Registers, syscall};
use rt::ipc::{CallError, Endpoint, Handle};
use rt::notify::Notification;
use rt::syscall as sys;
use rt::time::now_ns;

pub fn unknown_numbers() -> Outcome {
    let known = |number| Syscall::from_u64(number).is_some();
    for number in (0..100).chain([1_000, u64::from(u32::MAX), 1 << 32, u64::MAX]).filter(|&n| !known(n)) {
        // SAFETY: there is no such call, so that nothing happens.
        let outcome = unsafe { syscall(number, Registers::default()) };
        want(outcome.code, Status::BadSyscall, &alloc::format!("system call {number}"))?;
    }
    Ok(())
}

pub fn unknown_handles() -> Outcome {
    // The last but one would be the own endpoint, had its slot been used before, as often as it takes.
    for handle in [5_000, 0xffff, 1 << 16, u32::MAX] {
        let what = |call: &str| alloc::format!("{call} of handle {handle}");
        want_error(sys::signal(handle, 1), Status::BadHandle, &what("signal"))?;
        want_error(sys::poll(handle, 1), Status::BadHandle, &what("poll"))?;
        want_error(sys::wait(handle, 1), Status::BadHandle, &what("wait"))?;
        want_error(sys::send(handle, Header::new(1), [0; 4], 0), Status::BadHandle, &what("send"))?;
        want_error(sys::recv(handle, 1), Status::BadHandle, &what("recv"))?;
        want_error(sys::memory_info(handle), Status::BadHandle, &what("memory_info"))?;
        want_error(sys::timer_arm(handle, 1), Status::BadHandle, &what("timer_arm"))?;
        want_error(sys::timer_disarm(handle), Status::BadHandle, &what("timer_disarm"))?;
        want_error(sys::irq_ack(handle), Status::BadHandle, &what("irq_ack"))?;
        want_error(sys::handle_close(handle), Status::BadHandle, &what("handle_close"))?;
        want_error(sys::handle_dup(handle, Rights::SIGNAL, 0), Status::BadHandle, &what("handle_dup"))?;
        want_error(sys::thread_priority(handle.into(), 31), Status::BadHandle, &what("thread_priority"))?;
        want_error(sys::task_status(handle, 0), Status::BadHandle, &what("task_status"))?;
        let call = sys::call(handle, Header::new(1), [0; 4]).map_err(|failure| failure.status);
        want_error(call, Status::BadHandle, &what("call"))?;
    }
    Ok(())
}

/// A handle is 32 bits: the rest of the register is not to be ignored, or two names would mean the same.
pub fn handles_are_not_truncated() -> Outcome {
    let registers = Registers { rdi: 1 << 32 | u64::from(NOTIFICATION), rsi: 1 << 33, ..Registers::default() };
    // SAFETY: signals a notification at worst.
    let outcome = unsafe { syscall(Syscall::Signal as u64, registers) };
    want(outcome.code, Status::BadHandle, "signal of handle 1 + 2^32")
}

pub fn wrong_kinds() -> Outcome {
    want_error(sys::signal(ENDPOINT, 1), Status::WrongKind, "signal of an endpoint")?;
    want_error(sys::poll(ENDPOINT, 1), Status::WrongKind, "poll of an endpoint")?;
    want_error(sys::memory_info(ENDPOINT), Status::WrongKind, "memory_info of an endpoint")?;
    want_error(sys::timer_arm(ENDPOINT, 1), Status::WrongKind, "timer_arm of an endpoint")?;
    want_error(sys::irq_ack(NOTIFICATION), Status::WrongKind, "irq_ack of a notification")?;
    want_error(sys::recv(NOTIFICATION, 1), Status::WrongKind, "recv of a notification")?;
    want_error(sys::send(NOTIFICATION, Header::new(1), [0; 4], 0), Status::WrongKind, "send to a notification")?;
    want_error(sys::task_status(NOTIFICATION, 0), Status::WrongKind, "task_status by a notification")?;
    want_error(sys::thread_priority(ENDPOINT.into(), 31), Status::WrongKind, "thread_priority of an endpoint")?;
    // SAFETY: not a memory object, so that nothing is mapped.
    let mapped = unsafe { sys::memory_map(NOTIFICATION, 0, true) };
    want_error(mapped, Status::WrongKind, "memory_map of a notification")?;
    let call = sys::call(NOTIFICATION, Header::new(1), [0; 4]).map_err(|failure| failure.status);
    want_error(call, Status::WrongKind, "call of a notification")
}

pub fn missing_rights() -> Outcome {
    let note = Notification::create().context("notification")?;
    let signal_only = sys::handle_dup(note.0, Rights::SIGNAL, 0).context("dup with SIGNAL")?;
    let wait_only = sys::handle_dup(note.0, Rights::WAIT, 0).context("dup with WAIT")?;
    want_error(sys::wait(signal_only, 1), Status::NoRights, "wait with SIGNAL alone")?;
    want_error(sys::poll(signal_only, 1), Status::NoRights, "poll with SIGNAL alone")?;
    want_error(sys::signal(wait_only, 1), Status::NoRights, "signal with WAIT alone")?;
    want_error(sys::timer_create(wait_only, 1), Status::NoRights, "timer with WAIT alone")?;
    want_error(sys::handle_dup(signal_only, Rights::SIGNAL, 0), Status::NoRights, "dup without GRANT")?;
    sys::signal(signal_only, 4).context("signal with SIGNAL")?;
    same!(sys::poll(wait_only, u64::MAX), Ok(4), "bits taken with WAIT");

    let call_only = sys::handle_dup(ENDPOINT, Rights::CALL, 0).context("dup of the endpoint")?;
    want_error(sys::recv(call_only, 1), Status::NoRights, "recv with CALL alone")?;

    let memory = sys::memory_create(1, false).context("memory")?;
    let read_only = sys::handle_dup(memory, Rights::READ, 0).context("dup with READ")?;
    // SAFETY: refused, or mapped where the kernel likes; nothing refers to it.
    let mapped = unsafe { sys::memory_map(read_only, 0, true) };
    want_error(mapped, Status::NoRights, "map writable with READ alone")?;
    // SAFETY: mapped where the kernel likes; nothing refers to it.
    let address = unsafe { sys::memory_map(read_only, 0, false) }.context("map with READ")?;
    // SAFETY: nothing refers to it.
    unsafe { sys::memory_unmap(address) }.context("unmap")?;
    for handle in [signal_only, wait_only, note.0, call_only, read_only, memory] {
        sys::handle_close(handle).context("close")?;
    }
    Ok(())
}

/// Asking for more rights than there are is refused, or brings no more than there are.
pub fn rights_never_grow() -> Outcome {
    let server = peer("server")?;
    want_error(sys::recv(server.0, 1), Status::NoRights, "recv on a peer's endpoint")?;
    let with_all = |handle, use_it: &dyn Fn(u32) -> Result<(), Status>, what: &str| {
        let found = match sys::handle_dup(handle, Rights::all(), 0) {
            Ok(copy) => {
                let used = use_it(copy);
                sys::handle_close(copy).context("close")?;
                used
            }
            Err(status) => Err(status),
        };
        want_error(found, Status::NoRights, what)
    };
    with_all(server.0, &|copy| sys::recv(copy, 1).map(drop), "recv on a copy of a peer's endpoint")?;
    with_all(ENDPOINT, &|copy| sys::recv(copy, 1).map(drop), "recv on a copy of the own endpoint")?;
    with_all(system()?, &|copy| sys::task_signal(copy, 0, 0), "control by a copy of the system handle")
}

pub fn the_suite_has_no_control() -> Outcome {
    let system = system()?;
    let server = row("server")?;
    let spawn = sys::task_spawn(system, row("fault")?, b"panic").map_err(|failure| failure.status);
    want_error(spawn, Status::NoRights, "task_spawn")?;
    want_error(sys::task_kill(system, rt::me(), DeathKind::Killed as u32), Status::NoRights, "task_kill")?;
    want_error(sys::task_reap(system, server), Status::NoRights, "task_reap")?;
    want_error(sys::task_set_restart(system, server, false), Status::NoRights, "task_set_restart")?;
    want_error(sys::task_signal(system, server, 1), Status::NoRights, "task_signal")
}

pub fn d14_closed_handles() -> Outcome {
    let note = Notification::create().context("notification")?;
    sys::handle_close(note.0).context("close")?;
    want_error(note.signal(1), Status::BadHandle, "signal after close")?;
    want_error(sys::handle_close(note.0), Status::BadHandle, "close after close")?;
    let memory = sys::memory_create(1, false).context("memory")?;
    // SAFETY: mapped where the kernel likes; nothing refers to it.
    let address = unsafe { sys::memory_map(memory, 0, true) }.context("map")?;
    want_error(sys::handle_close(memory), Status::Busy, "close of mapped memory")?;
    // SAFETY: nothing refers to it.
    unsafe { sys::memory_unmap(address) }.context("unmap")?;
    sys::handle_close(memory).context("close after unmap")
}

pub fn a_transferred_handle_has_fewer_rights() -> Outcome {
    let helper = Helper::start()?;
    let note = Notification::create().context("notification")?;
    let reply = helper
        .endpoint
        .call_handle(assist::TAKE_HANDLE, [1 << 40, 0, 0, 0], &mut [], Handle::notification(note.0, Rights::SIGNAL))
        .context("call")?;
    let [signalled, taken, duplicated, closed_twice] = reply.words;
    want(signalled, Status::Ok, "signal by the server")?;
    want(taken, Status::NoRights, "poll by the server")?;
    want(duplicated, Status::NoRights, "dup by the server")?;
    want(closed_twice, Status::BadHandle, "second close by the server")?;
    same!(note.poll(u64::MAX), 1 << 40, "bits that the server set");
    sys::handle_close(note.0).context("close of the own handle, which stays")
}

pub fn handles_without_grant_stay() -> Outcome {
    let helper = Helper::start()?;
    let note = Notification::create().context("notification")?;
    let kept = sys::handle_dup(note.0, Rights::SIGNAL, 0).context("dup")?;
    let transfer = |handle| {
        let loans = &mut [];
        let handle = Handle::notification(handle, Rights::SIGNAL);
        let call = helper.endpoint.call_handle(assist::TAKE_HANDLE, [1, 0, 0, 0], loans, handle);
        call.map(|reply| reply.label)
    };
    same!(transfer(kept), Err(CallError::Failed(Status::NoRights)), "transfer without GRANT");
    for handle in [kept, note.0] {
        sys::handle_close(handle).context("close")?;
    }
    same!(transfer(note.0), Err(CallError::Failed(Status::BadHandle)), "transfer of a closed handle");
    same!(helper.ask(assist::ECHO, [2; 4])?, [2; 4], "echo after that");
    Ok(())
}

pub fn a_handle_comes_with_a_reply() -> Outcome {
    let helper = Helper::start()?;
    let word = now_ns() | 1;
    let reply = helper.endpoint.call_for(Kind::Memory, assist::GIVE_MEMORY, [word, 0, 0, 0], &mut []);
    let handle = reply.context("call")?.handle.ok_or("no handle came along")?;
    same!((handle.kind, handle.rights), (Kind::Memory, Rights::READ), "kind and rights of what came");
    let memory = handle.number;
    // SAFETY: refused, or mapped where the kernel likes; nothing refers to it.
    let mapped = unsafe { sys::memory_map(memory, 0, true) };
    want_error(mapped, Status::NoRights, "map writable")?;
    // SAFETY: mapped where the kernel likes, and only read below.
    let address = unsafe { sys::memory_map(memory, 0, false) }.context("map")?;
    // SAFETY: mapped and readable, page-aligned; the server has nothing mapped any more.
    let found = unsafe { (address as *const u64).read_volatile() };
    same!(found, word, "the first word of the shared page");
    drop(helper);
    // SAFETY: as above: the object lives as long as the suite's handle.
    let found = unsafe { (address as *const u64).read_volatile() };
    same!(found, word, "the same after the giver's death");
    // SAFETY: nothing refers to it.
    unsafe { sys::memory_unmap(address) }.context("unmap")?;
    sys::handle_close(memory).context("close")
}

pub fn badges() -> Outcome {
    let own = Endpoint::own();
    let badged = own.duplicate(Rights::CALL | Rights::GRANT, 7).context("dup with a badge")?;
    want_error(badged.duplicate(Rights::CALL, 8), Status::BadArgument, "second badge on a badged handle")?;
    let memory = sys::memory_create(1, false).context("memory")?;
    want_error(sys::handle_dup(memory, Rights::READ, 7), Status::BadArgument, "badge on memory")?;
    sys::handle_close(memory).context("close")?;
    sys::handle_close(badged.0).context("close")
}

/// Who is given a handle to signal by sets the bits that were given with it and no others, by whatever way: so no peer can pass for an interrupt, a
/// timer, another peer or the kernel.
pub fn d25_a_peer_sets_no_bits_but_those_it_was_given() -> Outcome {
    const GIVEN: u64 = 1 << 45 | 1 << 46;
    let helper = Helper::start()?;
    let made = Notification::create().context("notification")?;
    // Of the own one without a word about bits: all but those of interrupts and of the kernel. The runtime's timer goes on with its own.
    let all_but_fixed = bits::FREE_MASK;
    for (note, limit, wanted) in [
        (Notification::own(), GIVEN, GIVEN),
        (made, GIVEN, GIVEN),
        (made, 1, 1),
        (Notification::own(), GIVEN | bits::LOG | bits::RUNTIME | 3, GIVEN),
        (Notification::own(), 0, all_but_fixed),
    ] {
        let mask = if note == made { u64::MAX } else { !bits::HEARTBEAT };
        let copy = sys::handle_dup(note.0, Rights::SIGNAL | Rights::GRANT, limit).context("dup with bits")?;
        note.poll(mask);
        let handle = Handle::notification(copy, Rights::all());
        let reply = helper.endpoint.call_handle(assist::RING, [0; 4], &mut [], handle).context("call")?;
        let what = alloc::format!("given {limit:#x} of {note:?}");
        let [signalled, timed, copied, all] = reply.words;
        same!([signalled, timed, copied], [wanted; 3], "{what}: bits set by signals, by timers, by a copy");
        want(all, Status::NoRights, &alloc::format!("{what}: signal of all bits"))?;
        // What others have set meanwhile is theirs: a peer's new life, a line in a log.
        let found = note.poll(mask) & !(bits::PEER | bits::LOG);
        same!(found, wanted, "{what}: bits that are set");
        sys::handle_close(copy).context("close")?;
    }
    sys::handle_close(made.0).context("close")
}

/// What the suite holds: handles, frames, objects.
fn held(index: usize) -> Result<(u32, u32, u32), String> {
    let status = status(index)?;
    Ok((status.handles, status.frames, status.objects))
}

/// A server that attaches something to every answer, a MiB of memory at worst, uses up nothing of a client that did not ask for it.
pub fn d25_answers_bring_nothing_that_was_not_asked_for() -> Outcome {
    const CALLS: u64 = 10_000;
    let helper = Helper::start()?;
    let own = row("suite")?;
    for kind in [Kind::Memory, Kind::Notification, Kind::Endpoint] {
        let ask = |i| helper.endpoint.call(assist::GIVE, [kind as u64, i, 0, 0]).context("call");
        ask(0)?;
        let before = held(own)?;
        for i in 0..CALLS {
            let reply = ask(i)?;
            same!(reply.words, [kind as u64, i, 0, 0], "answer {i}");
            same!((reply.handle, reply.lost), (None, true), "the {kind:?} of answer {i}");
        }
        same!(held(own)?, before, "handles, frames and objects after {CALLS} answers with a {kind:?} each");
        // Nor does one that asks for something else.
        let other = if kind == Kind::Memory { Kind::Endpoint } else { Kind::Memory };
        for _ in 0..100 {
            let reply =
                helper.endpoint.call_for(other, assist::GIVE, [kind as u64, 0, 0, 0], &mut []).context("call")?;
            same!((reply.handle, reply.lost), (None, true), "a {kind:?} instead of a {other:?}");
        }
        same!(held(own)?, before, "handles, frames and objects after answers of the wrong kind");
        // Who asks for it gets it, each time.
        let reply = helper.endpoint.call_for(kind, assist::GIVE, [kind as u64, 0, 0, 0], &mut []).context("call")?;
        let handle = reply.handle.ok_or("what was asked for did not come")?;
        same!((handle.kind, reply.lost), (kind, false), "what was asked for");
        sys::handle_close(handle.number).context("close")?;
        same!(held(own)?, before, "handles, frames and objects at the end");
    }
    Ok(())
}

/// Clients that attach handles to all their requests use up nothing of a server that does not take them.
pub fn d25_requests_bring_nothing_that_is_not_taken() -> Outcome {
    const CALLS: u32 = 10_000;
    let helper = Helper::start()?;
    let server = helper.life.id.index.into();
    same!(helper.ask(assist::ECHO, [3; 4])?, [3; 4], "echo before");
    let before = held(server)?;
    // The assistant takes notifications and endpoints.
    let memory = sys::memory_create(1, false).context("memory")?;
    let gift = Handle::memory(memory, Rights::all());
    for i in 0..CALLS {
        let refused = helper.endpoint.call_handle(assist::ECHO, [i.into(); 4], &mut [], gift).map(|reply| reply.label);
        same!(refused, Err(CallError::Failed(Status::HandleRefused)), "call {i} with memory");
        let header = Header::new(assist::NOTE).with_handle(Kind::Memory);
        let sent = sys::send(helper.endpoint.0, header, [0; 4], gift.pack());
        want_error(sent, Status::HandleRefused, "a sent message with memory")?;
    }
    same!(held(server)?, before, "the server's handles, frames and objects");
    same!(helper.ask(assist::NOTES, [0; 4])?[0], 0, "messages that arrived");
    // A header that calls it something else does not help.
    for kind in [Kind::Notification, Kind::Endpoint, Kind::Interrupt, Kind::System] {
        let lie = Handle { kind, ..gift };
        let refused = helper.endpoint.call_handle(assist::ECHO, [0; 4], &mut [], lie).map(|reply| reply.label);
        same!(refused, Err(CallError::Failed(Status::WrongKind)), "memory called {kind:?}");
    }
    same!(held(server)?, before, "the server's handles, frames and objects at the end");
    sys::handle_close(memory).context("close")
}
