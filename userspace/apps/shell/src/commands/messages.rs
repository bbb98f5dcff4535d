//! `call`: a message to any peer.

use super::tasks::unless_running;
use crate::format::list;
use crate::parse::number;
use crate::shell::{Failure, Shell};
use alloc::format;
use alloc::string::String;
use core::fmt::Write;

/// What an outcome label says in every protocol; the others are the protocol's own.
pub fn sentence_of_outcome(label: u16) -> &'static str {
    match label {
        0 => "done",
        0xffff => "the task does not know this request",
        _ => "see the task's protocol",
    }
}

pub fn call(shell: &mut Shell<'_>, arguments: &[String]) -> Result<(), Failure> {
    let [task, label, words @ ..] = arguments else {
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
    let Some(label) = number(label).and_then(|label| u16::try_from(label).ok()) else {
        return Err(Failure::Say(format!(
            "`{label}` is no label: write a number from 0 to 65535, or 0x and hexadecimal digits"
        )));
    };
    let mut values = [0; 4];
    for (value, word) in values.iter_mut().zip(words) {
        *value = number(word).ok_or_else(|| {
            Failure::Say(format!("`{word}` is no word: write a number below 2^64, or 0x and hexadecimal digits"))
        })?;
    }
    let (outcome, answer) = match shell.world.call(task, label, values) {
        Ok(answer) => answer,
        Err(why) => return Err(Failure::Say(format!("{why}{}", unless_running(shell, index, task)?))),
    };
    let mut text = format!("outcome {outcome} ({}), words", sentence_of_outcome(outcome));
    for word in answer {
        let _ = write!(text, " {word} (0x{word:x})");
    }
    text.push('\n');
    shell.world.print(&text);
    Ok(())
}
