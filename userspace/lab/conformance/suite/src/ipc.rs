//! Calls, replies, leases.

use crate::support::{Context, Helper, Life, Outcome, ask, call_beside, check, eventually, peer, same, want};
use abi::Status;
use abi::message::{Header, MAX_COPY, Rights};
use assist::raw::{Registers, syscall};
use rt::ipc::{CallError, Endpoint, Event, Handle, Loan};

pub fn words_round_trip() -> Outcome {
    let server = peer("server")?;
    for words in [[0; 4], [1, 2, 3, 4], [u64::MAX; 4], [u64::MAX, 0, 1 << 63, 0x0123_4567_89ab_cdef]] {
        same!(ask(server, assist::ECHO, words)?, words, "echo");
    }
    for i in 0..1_000 {
        same!(ask(server, assist::ECHO, [i, !i, i << 32, i * i])?, [i, !i, i << 32, i * i], "echo {i}");
    }
    Ok(())
}

pub fn labels_round_trip() -> Outcome {
    let server = peer("server")?;
    for label in [0, 1, 0x7fff, 0xffff] {
        let reply = server.call(assist::LABEL, [label, 2, 3, 4]).context("call")?;
        same!(u64::from(reply.label), label, "label of the reply");
        same!(reply.words, [4, 3, 2, label], "words of the reply");
        same!(reply.handle, None, "handle of the reply");
    }
    let reply = server.call(0xfffe, [0; 4]).context("call")?;
    same!(reply.label, rt::OUTCOME_BAD_REQUEST, "label of the answer to an unknown request");
    Ok(())
}

pub fn forged_headers() -> Outcome {
    let server = peer("server")?;
    for header in [
        Header::NOTIFICATION,
        Header::HANDLE_LOST,
        Header::HANDLE_REFUSED,
        1 << 26,
        1 << 27,
        1 << 31,
        1 << 40,
        u64::MAX,
        Header::new(1).with_leases(5).0,
        Header::new(1).with_leases(15).0,
    ] {
        let registers = Registers { rdi: server.0.into(), rsi: header, ..Registers::default() };
        // SAFETY: no leases are read where the header is refused.
        let outcome = unsafe { syscall(abi::Syscall::Call as u64, registers) };
        want(outcome.code, Status::BadArgument, &alloc::format!("call with header {header:#x}"))?;
    }
    Ok(())
}

/// Whoever is called may not call back: so no circle of waiting tasks can close.
pub fn a_server_cannot_call_its_client() -> Outcome {
    let server = peer("server")?;
    let own = Endpoint::create().context("endpoint")?;
    let reply = server
        .call_handle(assist::CALL_BACK, [0; 4], &mut [], Handle::endpoint(own.0, Rights::CALL))
        .context("call")?;
    want(reply.words[0], Status::CallOrder, "call of the client by its server")?;
    rt::ipc::close(own.0).context("close")
}

/// Within a task there is no order: its threads may serve one another.
pub fn threads_call_each_other() -> Outcome {
    let own = Endpoint::create().context("endpoint")?;
    let caller = call_beside(own, 5, [1, 2, 3, 4])?;
    let Event::Request(request) = own.receive(0).context("receive")? else {
        return Err("a notification came instead of the call".into());
    };
    same!((request.label, request.words), (5, [1, 2, 3, 4]), "what was received");
    same!(request.sender.task, rt::me(), "the sender");
    request.pending().reply(6, [4, 3, 2, 1]).context("reply")?;
    let reply = caller.finish("the calling thread")?.context("call")?;
    same!((reply.label, reply.words), (6, [4, 3, 2, 1]), "what came back");
    rt::ipc::close(own.0).context("close")
}

pub fn a_caller_learns_that_the_endpoint_is_gone() -> Outcome {
    let own = Endpoint::create().context("endpoint")?;
    let caller = call_beside(own, 5, [0; 4])?;
    rt::time::sleep_ms(30);
    rt::ipc::close(own.0).context("close")?;
    let found = caller.finish("the calling thread")?.map(|reply| reply.label);
    same!(found, Err(CallError::Gone), "a call that waited at a closed endpoint");
    Ok(())
}

pub fn leases_are_read() -> Outcome {
    let server = peer("server")?;
    for length in [0, 1, 511, 512, 513, 4095, 4096, 4097, 3 * MAX_COPY + 5] {
        let bytes: alloc::vec::Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
        let sum: u64 = bytes.iter().map(|&byte| u64::from(byte)).sum();
        let reply = server.call_with(assist::SUM, [0; 4], &mut [Loan::Read(&bytes)]).context("call")?;
        same!(reply.words, [sum, length as u64, length as u64, 0], "sum, length and bytes read of {length}");
    }
    Ok(())
}

pub fn leases_are_written() -> Outcome {
    let server = peer("server")?;
    let mut bytes = alloc::vec![1_u8; MAX_COPY + 4096];
    let whole = bytes.len() as u64;
    for (offset, length, written) in
        [(0, 1, 1), (5, 100, 100), (whole - 3, 3, 3), (whole - 3, 10, 3), (10, whole, whole - 10)]
    {
        bytes.fill(1);
        let reply =
            server.call_with(assist::FILL, [9, offset, length, 0], &mut [Loan::Write(&mut bytes)]).context("call")?;
        want(reply.words[1], Status::Ok, &alloc::format!("write of {length} at {offset}"))?;
        same!(reply.words[0], written, "bytes written at {offset}");
        let touched = offset as usize..(offset + written) as usize;
        let wrong = bytes.iter().enumerate().find(|&(i, &byte)| byte != if touched.contains(&i) { 9 } else { 1 });
        check!(wrong.is_none(), "{wrong:?} after a write of {written} bytes at {offset}");
    }
    Ok(())
}

pub fn leases_have_bounds_and_access() -> Outcome {
    let server = peer("server")?;
    let mut writable = [2; 8];
    let mut loans = [Loan::Read(&[1; 8]), Loan::Write(&mut writable)];
    let reply = server.call_with(assist::ABUSE_LEASES, [0; 4], &mut loans).context("call")?;
    for (code, what) in reply.words.into_iter().zip([
        "write of a lease to read",
        "read of a lease to write",
        "a third lease of two",
        "read past the end",
    ]) {
        want(code, Status::LeaseBounds, what)?;
    }
    same!(writable, [2; 8], "the lent memory");
    Ok(())
}

pub fn replies_out_of_order() -> Outcome {
    let helper = Helper::start()?;
    let callers = [1, 2, 3].map(|key| call_beside(helper.endpoint, assist::KEEP, [key, 0, 0, 0]));
    eventually("three kept callers", 2_000, || Ok(helper.ask(assist::KEPT, [0; 4])?[0] == 3))?;
    for key in [2, 3, 1] {
        want(helper.ask(assist::RELEASE, [key, key + 100, 0, 0])?[0], Status::Ok, "late reply")?;
    }
    for (key, caller) in (1..).zip(callers) {
        let reply = caller?.finish("a kept call")?.context("kept call")?;
        same!(reply.words, [key, key + 100, 0, 0], "answer of caller {key}");
    }
    Ok(())
}

pub fn d14_a_reply_is_good_once() -> Outcome {
    let helper = Helper::start()?;
    same!(helper.ask(assist::ANSWER_TWICE, [0; 4])?, [1, 2, 3, 4], "first answer");
    want(helper.ask(assist::SECOND_STATUS, [0; 4])?[0], Status::StaleReply, "second answer")?;
    same!(helper.ask(assist::ECHO, [5; 4])?, [5; 4], "echo after that");
    Ok(())
}

pub fn d14_a_reply_to_a_dead_caller_is_stale() -> Outcome {
    let server = peer("server")?;
    let caller = Life::start("assist", &alloc::format!("{} {} 77", assist::role::CALL, assist::KEEP))?;
    eventually("a kept caller", 2_000, || Ok(ask(server, assist::KEPT, [0; 4])?[0] == 1))?;
    caller.kill()?;
    caller.record()?;
    want(ask(server, assist::RELEASE, [77, 0, 0, 0])?[0], Status::StaleReply, "reply to a dead caller")
}

pub fn d14_two_callers_do_not_mix() -> Outcome {
    let server = peer("server")?;
    let storm = |seed: u64| {
        move || {
            (0..2_000).find(|&i| {
                server.call(assist::ECHO, [seed, i, seed ^ i, 0]).map(|reply| reply.words) != Ok([seed, i, seed ^ i, 0])
            })
        }
    };
    let threads = [11, 22, 33].map(|seed| crate::support::Background::run(storm(seed)));
    for (thread, seed) in threads.into_iter().zip([11, 22, 33]) {
        same!(thread?.finish("a storm of calls")?, None, "first wrong answer of caller {seed}");
    }
    Ok(())
}

pub fn a_sent_message_needs_a_receiver() -> Outcome {
    let helper = Helper::start()?;
    same!(helper.ask(assist::NOTES, [0; 4])?[0], 0, "messages at first");
    // The server is less ready than its callers think only while it works: it waits as soon as it has answered.
    eventually("a sent message", 2_000, || Ok(helper.endpoint.send(assist::NOTE, [42, 0, 0, 0]).is_ok()))?;
    same!(helper.ask(assist::NOTES, [0; 4])?, [1, 42, 0, 0], "messages that arrived");
    let busy = call_beside(helper.endpoint, assist::SLEEP, [300, 0, 0, 0])?;
    rt::time::sleep_ms(100);
    let found = helper.endpoint.send(assist::NOTE, [43, 0, 0, 0]);
    same!(found, Err(Status::WouldBlock), "send to a busy server");
    busy.finish("a call of 300 ms")?.context("call")?;
    same!(helper.ask(assist::NOTES, [0; 4])?, [1, 42, 0, 0], "messages after that");
    Ok(())
}

pub fn a_kept_caller_waits_without_harm() -> Outcome {
    let helper = Helper::start()?;
    let kept = call_beside(helper.endpoint, assist::KEEP, [1, 0, 0, 0])?;
    rt::time::sleep_ms(200);
    same!(helper.ask(assist::ECHO, [6; 4])?, [6; 4], "echo meanwhile");
    let generation = helper.life.id.generation;
    helper.life.kill()?;
    let result = kept.finish("the kept call")?.map(|reply| reply.words);
    same!(result, Err(CallError::Died { generation }), "the kept call after the server's death");
    Ok(())
}
