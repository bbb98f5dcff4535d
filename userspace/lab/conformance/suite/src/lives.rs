//! Deaths and next lives: what callers see, and what the supervisor does.

use crate::support::{
    Context, Helper, Life, Outcome, ask, boss, call_beside, check, eventually, peer, row, same, status,
};
use abi::TaskId;
use abi::error::DeathKind;
use abi::task::TaskState;
use alloc::string::String;
use rt::ipc::CallError;
use rt::time::now_ns;
use supervisor::{Error, Refusal};

/// Row of the invalid opcode in the table of faults.
fn ud2() -> u64 {
    fault::KINDS.iter().position(|kind| kind.name == "invalid-opcode").unwrap_or_default() as u64
}

/// The generation of the task that answers there.
fn generation(server: rt::ipc::Endpoint) -> Result<u32, String> {
    Ok(TaskId::from_u32(ask(server, assist::WHO, [0; 4])?[0] as u32).generation)
}

pub fn d13_a_call_to_a_dying_server_says_so() -> Outcome {
    let server = peer("server")?;
    let before = generation(server)?;
    let result = server.call(assist::DIE, [0, ud2(), 0, 0]).map(|reply| reply.label);
    same!(result, Err(CallError::Died { generation: before }), "the call that killed it");
    // Asking again is all that a client has to do.
    let after = generation(server)?;
    check!(after != before, "life {before} answers although it died");
    Ok(())
}

pub fn d13_queued_requests_wait_for_the_next_life() -> Outcome {
    let server = peer("server")?;
    let before = generation(server)?;
    let killer = call_beside(server, assist::DIE, [300, ud2(), 0, 0])?;
    rt::time::sleep_ms(50);
    let queued = [call_beside(server, assist::WHO, [0; 4])?, call_beside(server, assist::WHO, [0; 4])?];
    let killed = killer.finish("the call that kills")?.map(|reply| reply.label);
    same!(killed, Err(CallError::Died { generation: before }), "the call that killed it");
    for call in queued {
        let words = call.finish("a queued call")?.context("queued call")?.words;
        let answered = TaskId::from_u32(words[0] as u32).generation;
        check!(answered != before, "life {before} answered although it died before");
    }
    Ok(())
}

pub fn d18_a_crash_loop_is_given_up_and_pardoned() -> Outcome {
    let boss = boss()?;
    let flaky = peer("flaky")?;
    let index = row("flaky")?;
    let life = Life::start("flaky", assist::role::SERVE)?;
    let (mut deaths, start) = (0, now_ns());
    let gone = loop {
        match flaky.call(assist::DIE, [0, ud2(), 0, 0]) {
            Err(CallError::Died { .. }) => deaths += 1,
            other => break other.map(|reply| reply.label),
        }
        check!(deaths < 20, "it is restarted for ever");
    };
    same!(gone, Err(CallError::Gone), "the call after {deaths} deaths");
    same!(deaths, supervisor::policy::LOOP_DEATHS, "deaths before it was given up");
    // The first restart waits not at all, the second for the first delay, each further one twice as long; there is none after the last death.
    let waits =
        (0..supervisor::policy::LOOP_DEATHS as u32 - 2).map(|n| supervisor::policy::FIRST_DELAY_MS << n).sum::<u64>();
    let took = (now_ns() - start) / 1_000_000;
    check!(took >= waits, "{deaths} deaths took {took} ms only, where the waits alone are {waits}");
    let state = boss.state(index).context("state")?;
    check!(state.given_up, "the supervisor says {state:?}");
    same!(state.restarts, supervisor::policy::LOOP_DEATHS as u64 - 1, "restarts");
    drop(life);
    let _life = Life::start("flaky", assist::role::SERVE)?;
    same!(ask(flaky, assist::ECHO, [1; 4])?, [1; 4], "echo once it was asked for again");
    check!(!boss.state(index).context("state")?.given_up, "it is still called given up");
    Ok(())
}

pub fn d13_waiting_callers_learn_that_nobody_comes() -> Outcome {
    let helper = Helper::start()?;
    let generation = helper.life.id.generation;
    let busy = call_beside(helper.endpoint, assist::SLEEP, [5_000, 0, 0, 0])?;
    rt::time::sleep_ms(50);
    let queued = call_beside(helper.endpoint, assist::ECHO, [0; 4])?;
    rt::time::sleep_ms(50);
    helper.life.kill()?;
    let received = busy.finish("the received call")?.map(|reply| reply.label);
    same!(received, Err(CallError::Died { generation }), "the received call");
    // Nothing restarts the assistant.
    let found = queued.finish("the queued call")?.map(|reply| reply.label);
    same!(found, Err(CallError::Gone), "the queued call");
    let late = helper.endpoint.call(assist::ECHO, [0; 4]).map(|reply| reply.label);
    same!(late, Err(CallError::Gone), "a call after that");
    Ok(())
}

pub fn a_killed_server_is_back_within_a_second() -> Outcome {
    for name in ["serial", "keyboard", "vga"] {
        let index = row(name)?;
        let before = status(index)?.id;
        let start = now_ns();
        boss()?.kill_named(name).context(name)?;
        eventually(&alloc::format!("a next life of {name}"), 1_000, || {
            let now = status(index)?;
            Ok(now.id != before && TaskState::from_u32(now.state) == Some(TaskState::Running))
        })?;
        check!(now_ns() - start < 1_000_000_000, "{name} took {} ms", (now_ns() - start) / 1_000_000);
    }
    Ok(())
}

pub fn the_supervisor_refuses() -> Outcome {
    let boss = boss()?;
    let refusal = |refusal| Err::<(), Error>(Error::Refused(refusal));
    same!(boss.kill_named("supervisor"), refusal(Refusal::NotAllowed), "killing the supervisor by name");
    let supervisor = TaskId::from_u32(status(row("supervisor")?)?.id);
    same!(boss.kill(supervisor), refusal(Refusal::NotAllowed), "killing the supervisor");
    same!(boss.wait(supervisor).map(drop), refusal(Refusal::NotAllowed), "waiting for the supervisor's end");
    same!(boss.kill_named("nobody"), refusal(Refusal::NoSuchTask), "killing nobody");
    same!(boss.spawn("nobody", "").map(drop), refusal(Refusal::NoSuchTask), "starting nobody");
    same!(boss.state(1_000).map(drop), refusal(Refusal::NoSuchTask), "state of no row");
    same!(boss.spawn("suite", "").map(drop), refusal(Refusal::RunsAlready(rt::me())), "a second suite");
    let ahead = TaskId { generation: 0x7fff, ..rt::me() };
    same!(boss.kill(ahead), refusal(Refusal::NoSuchTask), "killing a life that is not there");
    same!(boss.wait(ahead).map(drop), refusal(Refusal::NoSuchTask), "waiting for a life that is not there");
    let label = boss.0.call(99, [0; 4]).context("call")?.label;
    same!(label, rt::OUTCOME_BAD_REQUEST, "answer to an unknown request");
    let label = boss.0.call(supervisor::label::spawn, [0; 4]).context("call")?.label;
    same!(label, rt::OUTCOME_BAD_REQUEST, "answer to a spawn without a name");
    Ok(())
}

pub fn d14_stale_lives_are_not_hit() -> Outcome {
    let boss = boss()?;
    let old = Life::start("assist", "exit 0")?;
    old.record()?;
    let helper = Helper::start()?;
    same!(helper.life.id.index, old.id.index, "the row");
    same!(helper.life.id.generation, old.id.generation.wrapping_add(1), "the next life's number");
    same!(boss.kill(old.id), Err(Error::Refused(Refusal::NoSuchTask)), "killing the last life");
    same!(boss.wait(old.id), Ok(DeathKind::Exited), "waiting for the last life");
    same!(helper.ask(assist::ECHO, [3; 4])?, [3; 4], "echo of this life");
    Ok(())
}

pub fn d12_many_lives_leave_nothing_behind() -> Outcome {
    let counters = || rt::task::system_info().context("system_info");
    // One first, so that what is made once and stays is there.
    Life::start("assist", "exit 0")?.record()?;
    let before = counters()?;
    for _ in 0..50 {
        Life::start("assist", "exit 0")?.record()?;
    }
    let counted = |info: abi::task::SystemInfo| {
        let objects = [info.threads, info.endpoints, info.notifications, info.memories, info.timers].map(u64::from);
        let [threads, endpoints, notifications, memories, timers] = objects;
        [info.frames_free, info.heap_used, threads, endpoints, notifications, memories, timers]
    };
    // Frames are freed a few at a time.
    let _ = eventually("an even balance", 2_000, || Ok(counted(counters()?) == counted(before)));
    let what = "free frames, kernel heap, threads, endpoints, notifications, memory objects, timers";
    same!(counted(counters()?), counted(before), "{what}");
    Ok(())
}

pub fn restart_keeps_the_argument_only_of_its_own_spawn() -> Outcome {
    let _life = Life::start("assist", "exit 7")?.record()?;
    let record = Life::start("assist", "")?;
    same!(ask(peer("assist")?, assist::ECHO, [8; 4])?, [8; 4], "echo of a life without an argument");
    drop(record);
    Ok(())
}
