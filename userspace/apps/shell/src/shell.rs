//! Parses a line as commands and runs them.

use crate::commands::{self, COMMANDS};
use crate::format::list;
use crate::parse::{nearest, parse};
use crate::world::World;
use abi::name_str;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The prompt of the shell.
pub const PROMPT: &str = "enigma> ";

/// The status of a finished line, numbered as in other systems' shells.
pub mod status {
    /// All commands succeeded.
    pub const DONE: u8 = 0;
    /// A command failed, or the line is not valid.
    pub const FAILED: u8 = 1;
    /// Ctrl-C ended the line.
    pub const INTERRUPTED: u8 = 130;
}

/// The shell's state.
pub struct Shell<'w> {
    /// The system around it.
    pub world: &'w mut dyn World,
    /// Counters at the time of the last `ps`.
    pub previous: Option<Snapshot>,
}

/// Counters at one moment, from which the shares of the time since are computed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Nanoseconds since boot.
    pub uptime_ns: u64,
    /// Nanoseconds since boot in which the processor was idle.
    pub idle_ns: u64,
    /// Nanoseconds of processor time since boot that each task has used.
    pub cpu_ns: Vec<u64>,
}

/// Why a command failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// With this message for the person.
    Say(String),
    /// By Ctrl-C: the rest of the line is not run.
    Interrupted,
}

impl From<String> for Failure {
    fn from(sentence: String) -> Failure {
        Failure::Say(sentence)
    }
}

impl<'w> Shell<'w> {
    /// A shell in `world`.
    pub fn new(world: &'w mut dyn World) -> Self {
        Shell { world, previous: None }
    }

    /// Runs the commands of a line, one after the other. A command that fails prints a message; the
    /// next one runs all the same. Then reports the line's status to the world.
    pub fn run(&mut self, line: &str) {
        let status = self.line(line);
        self.world.finished(status);
    }

    fn line(&mut self, line: &str) -> u8 {
        let commands = match parse(line) {
            Ok(commands) => commands,
            Err(error) => {
                self.world.print(&format!("{error}\n"));
                return status::FAILED;
            }
        };
        let mut status = status::DONE;
        for (number, words) in commands.into_iter().enumerate() {
            // A command that waits ends by Ctrl-C itself; if it did not wait, only the rest of the
            // line is not run.
            if number > 0 && self.world.interrupted() {
                return status::INTERRUPTED;
            }
            let Some((name, arguments)) = words.split_first() else {
                continue;
            };
            match self.command(name, arguments) {
                Ok(()) => {}
                Err(Failure::Say(sentence)) => {
                    self.world.print(&format!("{name}: {sentence}\n"));
                    status = status::FAILED;
                }
                Err(Failure::Interrupted) => return status::INTERRUPTED,
            }
        }
        status
    }

    fn command(&mut self, name: &str, arguments: &[String]) -> Result<(), Failure> {
        let command = commands::find(name).ok_or_else(|| Self::unknown_command(name))?;
        let (least, most) = command.count;
        let usage = command.usage();
        if arguments.len() < least {
            return Err(Failure::Say(format!("an argument is missing: write `{usage}`")));
        }
        if let Some(extra) = arguments.get(most) {
            let what = if most == 0 { "it takes no arguments" } else { "that is too many arguments" };
            return Err(Failure::Say(format!("{what}: leave `{extra}` out, or write `{usage}`")));
        }
        (command.run)(self, arguments)
    }

    /// The message for an unknown command.
    pub fn unknown_command(name: &str) -> Failure {
        Failure::Say(match nearest(name, COMMANDS.iter().map(|command| command.name)) {
            Some(near) => format!("there is no command `{name}`: did you mean `{near}`?"),
            None => format!("there is no command `{name}`: `help` lists them all"),
        })
    }

    /// The row of the task with this name.
    pub fn find_task(&self, name: &str) -> Result<usize, Failure> {
        let tasks = self.world.tasks();
        if tasks.is_empty() {
            return Err(Failure::Say(String::from(
                "the task table cannot be read: give [task.shell] the kernel right `archive` in userspace/system.toml",
            )));
        }
        tasks.iter().position(|task| name_str(&task.name) == name).ok_or_else(|| {
            let names = || tasks.iter().map(|task| name_str(&task.name));
            Failure::Say(match nearest(name, names()) {
                Some(near) => format!("there is no task `{name}`: did you mean `{near}`?"),
                None => format!("there is no task `{name}`: the tasks are {}", list(names())),
            })
        })
    }
}
