//! The command `call`, which sends a message to any peer.

use super::tasks::unless_running;
use crate::format::list;
use crate::parse::number;
use crate::protocol::Protocol;
use crate::shell::{Failure, Shell};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

/// The meaning of an outcome label that is the same in every protocol.
pub fn sentence_of_outcome(label: u16) -> &'static str {
    match label {
        0 => "done",
        rt::proto::BAD_LEASE => "the memory lent is missing, too short or too long, or cannot be reached",
        rt::proto::BUSY => "another request of this task waits already",
        rt::proto::CANCELLED => "the request was given up",
        0xffff => "the task does not know this request",
        _ => "see the task's protocol",
    }
}

pub fn call(shell: &mut Shell<'_>, arguments: &[String]) -> Result<(), Failure> {
    let [task, operation @ ..] = arguments else {
        return Ok(());
    };
    let tasks = shell.world.tasks();
    let index = shell.find_task(task)?;
    if !shell.world.may_call(task) {
        let names = tasks.iter().map(|task| abi::name_str(&task.name));
        let peers = list(names.filter(|name| shell.world.may_call(name)));
        return Err(Failure::Say(format!(
            "the shell may not call {task}, only {peers}: add {task} to `calls` of [task.shell] in userspace/system.toml"
        )));
    }
    let protocol = shell.world.protocol(task).map(|text| Protocol::parse(&text)).unwrap_or_default();
    let [operation, given @ ..] = operation else {
        if protocol.operations.is_empty() {
            return Err(Failure::Say(format!(
                "{task} does not say what can be asked of it: name a label, `call {task} 1`"
            )));
        }
        shell.world.print(&protocol.text());
        return Ok(());
    };
    let (label, words, lent) = match protocol.named(operation) {
        Some(operation) => {
            let (words, lent) = operation.message(given).map_err(Failure::Say)?;
            (operation.label, words, lent)
        }
        None => (label(task, &protocol, operation)?, words(given)?, Vec::new()),
    };
    let ((outcome, answer), lent) = match shell.world.call(task, label, words, lent) {
        Ok(answer) => answer,
        Err(why) => return Err(Failure::Say(format!("{why}{}", unless_running(shell, index, task)?))),
    };
    let refusal = protocol.refusal(outcome, answer);
    let sentence = refusal.as_deref().unwrap_or(sentence_of_outcome(outcome));
    let mut text = format!("outcome {outcome} ({sentence}), words");
    for word in answer {
        let _ = write!(text, " {word} (0x{word:x})");
    }
    text.push('\n');
    let fields = protocol.labelled(label).filter(|_| outcome == 0).map(|operation| operation.answer(answer, &lent));
    if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
        text.push_str(&fields);
        text.push('\n');
    }
    shell.world.print(&text);
    Ok(())
}

/// The label of an operation that is given by its number.
fn label(task: &str, protocol: &Protocol, label: &str) -> Result<u16, Failure> {
    number(label).and_then(|label| u16::try_from(label).ok()).ok_or_else(|| {
        let names = list(protocol.operations.iter().map(|operation| operation.name.as_str()));
        let names = if names.is_empty() { String::new() } else { format!(", or what {task} does: {names}") };
        Failure::Say(format!(
            "`{label}` is no operation: write a number from 0 to 65535, or 0x and hexadecimal digits{names}"
        ))
    })
}

/// Words of a message, given as numbers.
fn words(given: &[String]) -> Result<[u64; 4], Failure> {
    let mut values = [0; 4];
    if let Some(more) = given.get(values.len()) {
        return Err(Failure::Say(format!("a message has four words: leave `{more}` out")));
    }
    for (value, word) in values.iter_mut().zip(given) {
        *value = number(word).ok_or_else(|| {
            Failure::Say(format!("`{word}` is no word: write a number below 2^64, or 0x and hexadecimal digits"))
        })?;
    }
    Ok(values)
}
