//! The table of commands.

mod machine;
mod messages;
mod screen;
mod tasks;

use crate::shell::{Failure, Shell};
use abi::manifest::TaskRecord;
use alloc::string::String;

pub use messages::sentence_of_outcome;
pub use screen::{COLORS, KEYMAPS};
pub use tasks::FAULTS;

/// The words that Tab completes as arguments of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Completes {
    /// No words.
    Nothing,
    /// Names of tasks.
    Tasks,
    /// Names of commands.
    Commands,
    /// These words.
    Words(&'static [&'static str]),
}

/// A command.
pub struct Command {
    /// The command's name.
    pub name: &'static str,
    /// The arguments as in usage messages: upper case for what is to be replaced, brackets for
    /// optional ones.
    pub arguments: &'static str,
    /// Least and largest number of arguments.
    pub count: (usize, usize),
    /// What the command does, in a line.
    pub summary: &'static str,
    /// Further details in whole lines; may be empty.
    pub details: &'static str,
    /// The words that Tab completes as its arguments.
    pub completes: Completes,
    /// The function that runs the command.
    pub run: fn(&mut Shell<'_>, &[String]) -> Result<(), Failure>,
}

const MANY: usize = usize::MAX;

/// All commands, in the order in which `help` lists them.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "help",
        arguments: "[COMMAND]",
        count: (0, 1),
        summary: "lists the commands, or explains one",
        details: "Several commands can stand in a line, separated by semicolons. Arguments with blanks go\n\
                  between quotation marks; a backslash makes the next character an ordinary one.\n\
                  Keys: arrows, Home, End, Tab (twice: list), Ctrl-A E K U W L, Ctrl-C gives a line up.\n",
        completes: Completes::Commands,
        run: machine::help,
    },
    Command {
        name: "ps",
        arguments: "",
        count: (0, 0),
        summary: "shows every task: state, restarts, processor, memory",
        details: "PRIO: 0 is the most important. RESTARTS: lives after the first. CPU%: share of the processor since\n\
                  boot; NOW%: since the last `ps`. MEMORY: KiB that the task holds, and may hold. HNDL: handles it\n\
                  holds. THRD: its threads. STATE of those that do not run: `restart in`, `given up` (it failed too\n\
                  often), `dead` (it ended and is not restarted), `off` (it was never started).\n",
        completes: Completes::Nothing,
        run: tasks::ps,
    },
    Command {
        name: "mem",
        arguments: "",
        count: (0, 0),
        summary: "shows the machine's memory and the kernel's objects",
        details: "",
        completes: Completes::Nothing,
        run: machine::mem,
    },
    Command {
        name: "caps",
        arguments: "TASK",
        count: (1, 1),
        summary: "shows all that a task may touch (system.toml)",
        details: "A task can touch nothing else: no other port, interrupt line, physical memory or peer. The last line\n\
                  says what it does now.\n",
        completes: Completes::Tasks,
        run: tasks::caps,
    },
    Command {
        name: "log",
        arguments: "[TASK]",
        count: (0, 1),
        summary: "shows what a task printed, or all of them",
        details: "The kernel keeps the newest text of each task, past its death and restart. Each row begins with the\n\
                  name of the task that printed it: `[NAME] ` begins a line, `[NAME]> ` goes on with it.\n",
        completes: Completes::Tasks,
        run: tasks::log,
    },
    Command {
        name: "kill",
        arguments: "TASK",
        count: (1, 1),
        summary: "ends a task's life; the supervisor restarts it",
        details: "Whether and when it is restarted is its `restart` in system.toml: see `caps TASK`. One that dies\n\
                  again and again is restarted later and later, then given up.\n",
        completes: Completes::Tasks,
        run: tasks::kill,
    },
    Command {
        name: "spawn",
        arguments: "NAME [ARG...]",
        count: (1, MANY),
        summary: "starts a task that does not run, with an argument",
        details: "The words after the name become one argument, of at most 128 bytes.\n",
        completes: Completes::Tasks,
        run: tasks::spawn,
    },
    Command {
        name: "call",
        arguments: "TASK [OPERATION ...]",
        count: (1, 10),
        summary: "sends a task a message and shows the answer",
        details: "Alone, it lists what can be asked of the task. OPERATION is a name from that list, with its\n\
                  arguments (numbers, a TEXT to lend, BYTES of room), or a label (0 to 65535) with up to four words,\n\
                  decimal, or hexadecimal after 0x. The shell can call the tasks that system.toml lists under `calls`\n\
                  of [task.shell].\n",
        completes: Completes::Tasks,
        run: messages::call,
    },
    Command {
        name: "fault",
        arguments: "[KIND]",
        count: (0, 1),
        summary: "runs a task that commits a fault",
        details: "Without a kind it lists the kinds.\n",
        completes: Completes::Words(FAULTS),
        run: tasks::fault,
    },
    Command {
        name: "echo",
        arguments: "[TEXT...]",
        count: (0, MANY),
        summary: "prints its arguments",
        details: "",
        completes: Completes::Nothing,
        run: screen::echo,
    },
    Command {
        name: "clear",
        arguments: "",
        count: (0, 0),
        summary: "clears the screen",
        details: "",
        completes: Completes::Nothing,
        run: screen::clear,
    },
    Command {
        name: "color",
        arguments: "[FG [BG]]",
        count: (0, 2),
        summary: "sets the colours of text and background",
        details: "Without arguments it lists the 16 colours. The background is black unless it is named.\n",
        completes: Completes::Words(&COLORS),
        run: screen::color,
    },
    Command {
        name: "keymap",
        arguments: "[LAYOUT]",
        count: (0, 1),
        summary: "shows or sets the keyboard layout",
        details: "Without an argument it lists those that are known.\n",
        completes: Completes::Words(&KEYMAPS),
        run: screen::keymap,
    },
    Command {
        name: "uptime",
        arguments: "",
        count: (0, 0),
        summary: "shows how long the machine has run, and idled",
        details: "",
        completes: Completes::Nothing,
        run: machine::uptime,
    },
    Command {
        name: "sleep",
        arguments: "SECONDS",
        count: (1, 1),
        summary: "waits; Ctrl-C ends it early",
        details: "Fractions are written with a point, as in `sleep 0.5`.\n",
        completes: Completes::Nothing,
        run: machine::sleep,
    },
    Command {
        name: "dmesg",
        arguments: "",
        count: (0, 0),
        summary: "shows the kernel's own log",
        details: "",
        completes: Completes::Nothing,
        run: machine::dmesg,
    },
    Command {
        name: "reboot",
        arguments: "",
        count: (0, 0),
        summary: "starts the machine anew",
        details: "",
        completes: Completes::Nothing,
        run: machine::reboot,
    },
    Command {
        name: "shutdown",
        arguments: "",
        count: (0, 0),
        summary: "turns the machine off",
        details: "",
        completes: Completes::Nothing,
        run: machine::shutdown,
    },
];

impl Command {
    /// The command's name and arguments.
    pub fn usage(&self) -> String {
        let mut usage = String::from(self.name);
        if !self.arguments.is_empty() {
            usage.push(' ');
            usage.push_str(self.arguments);
        }
        usage
    }
}

/// The command with this name.
pub fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// The words that Tab completes, one `command` or `command argument` a line, as
/// [`console::Client::set_completions`] takes them.
pub fn completions(tasks: &[TaskRecord]) -> String {
    let mut text = String::new();
    let mut entry = |command: &str, argument: &str| {
        text.push_str(command);
        if !argument.is_empty() {
            text.push(' ');
            text.push_str(argument);
        }
        text.push('\n');
    };
    for command in COMMANDS {
        entry(command.name, "");
    }
    for command in COMMANDS {
        match command.completes {
            Completes::Nothing => {}
            Completes::Tasks => {
                tasks.iter().for_each(|task| entry(command.name, abi::name_str(&task.name)));
            }
            Completes::Commands => COMMANDS.iter().for_each(|other| entry(command.name, other.name)),
            Completes::Words(words) => words.iter().for_each(|word| entry(command.name, word)),
        }
    }
    text
}
