//! The system as data: `system.toml`, and the `enigma.toml` of each crate from outside, become a checked [`System`], and
//! that becomes the binary task table of [`abi::manifest`].
//!
//! [`read`] turns text into tasks and checks each value by itself; [`check`] and [`hardware`] check what the tasks are to
//! each other and to the machine; [`encode`] writes the table. Every refusal says where, what, and how to mend it, and
//! one pass finds them all.

mod check;
#[cfg(test)]
mod damage;
mod encode;
mod hardware;
mod inherit;
mod read;
mod source;
#[cfg(test)]
mod tests;
mod values;

pub use source::{Place, Source, valid_name};
pub use values::human;

use abi::manifest::{Grant, GrantKind, Restart};
use anyhow::{Result, bail};
use source::Problem;
use std::path::{Path, PathBuf};

/// A checked system: one row of the task table for each task, the one with control first.
#[derive(Clone, Debug)]
pub struct System {
    /// The rows, in the order of the table.
    pub tasks: Vec<Task>,
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub place: Place,
}

/// One task and all its authority.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its name, and where its table begins.
    pub name: At<String>,
    /// The crate that holds its program.
    pub package: At<String>,
    /// The program in that crate.
    pub bin: String,
    /// 0 (most important) to 31.
    pub priority: At<u8>,
    /// Its hardware: grants of the kinds in [`GrantKind::HARDWARE`], those of a kind in the order in which they are written.
    pub grants: Vec<At<Grant>>,
    /// Tasks that it may call.
    pub calls: Vec<Call>,
    /// Tasks that it may debug.
    pub debug: Vec<At<String>>,
    /// Tasks that are to be allowed to call it: how a task from outside gets callers.
    pub clients: Vec<At<String>>,
    /// What to do when its life ends.
    pub restart: Restart,
    /// Started at boot.
    pub start: At<bool>,
    /// Quota of frames.
    pub memory: At<u32>,
    /// Frames of the first stack.
    pub stack: At<u32>,
    /// Frames of the memory that outlives it.
    pub keep: u32,
    /// Quota of handles.
    pub handles: At<u16>,
    /// Quota of kernel objects.
    pub objects: u16,
    /// Most milliseconds between two signs of life, 0 for no watch.
    pub heartbeat_ms: At<u32>,
    /// Kernel rights.
    pub kernel: Vec<At<KernelRight>>,
    /// Has SSE state of its own.
    pub float: bool,
    /// The directory of its crate, where that is not of this tree.
    pub outside: Option<PathBuf>,
}

/// A task that another may call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which.
    pub task: At<String>,
    /// The name by which the caller asks for it.
    pub name: String,
}

impl Call {
    /// One that is asked for by its own name.
    fn by_its_name(task: At<String>) -> Call {
        Call { name: task.value.clone(), task }
    }
}

/// A right over the kernel itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelRight {
    /// Spawn, kill and reap tasks.
    Control,
    /// Read states and counters.
    Inspect,
    /// Read the log rings.
    Logs,
    /// Read the boot archive.
    Archive,
}

impl KernelRight {
    /// Every right, as the file spells it.
    pub(crate) const NAMES: [(&'static str, KernelRight); 4] =
        [("control", Self::Control), ("inspect", Self::Inspect), ("logs", Self::Logs), ("archive", Self::Archive)];

    /// As the file spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, right)| *right == self).map_or("?", |(name, _)| name)
    }
}

/// Restart policies, as the file spells them.
pub const RESTARTS: [(&str, Restart); 4] = [
    ("always", Restart::Always),
    ("on-failure", Restart::OnFailure),
    ("never", Restart::Never),
    ("forever", Restart::Forever),
];

impl System {
    /// Reads `system.toml` and the `enigma.toml` in each directory of `with`, and checks them together.
    ///
    /// # Errors
    /// Everything that is wrong with them, one line for each fault: `file:line:column: what, and how to mend it`.
    pub fn load(system_toml: &Path, with: &[PathBuf]) -> Result<System> {
        let mut sources = vec![Source::system(system_toml)?];
        let real = |source: &Source| source.outside.as_ref().and_then(|dir| dir.canonicalize().ok());
        for dir in with {
            let source = Source::outside(dir)?;
            if sources.iter().any(|other| other.outside.is_some() && real(other) == real(&source)) {
                bail!("--with {}: it is given twice; take one out", dir.display());
            }
            sources.push(source);
        }
        System::from_sources(&sources)
    }

    /// Checks together files that are read already; the first is `system.toml`.
    ///
    /// # Errors
    /// As [`System::load`].
    pub fn from_sources(sources: &[Source]) -> Result<System> {
        let mut problems = Vec::new();
        let mut tasks = Vec::new();
        let mut consent = read::Consent::default();
        for (number, source) in sources.iter().enumerate() {
            read::read(number, source, &mut tasks, &mut consent, &mut problems);
        }
        // Faults of single values would only be repeated, in other words, by the checks between tasks.
        if problems.is_empty() {
            check::check(&mut tasks, &consent, &mut problems);
        }
        if !problems.is_empty() {
            problems.sort_by_key(|problem| problem.place.order());
            let mut lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
            // What several tasks inherit is read several times.
            lines.dedup();
            bail!("{}", lines.join("\n"));
        }
        tasks.sort_by_key(|task| !task.has(KernelRight::Control));
        let system = System { tasks };
        // What the kernel refuses has been said above, with its place; if not, it is said here and not on a black screen.
        if let Err(what) = abi::manifest::rules::check_table(&encode::records(&system)) {
            bail!("{}: the kernel does not take this: {what}", sources.first().map_or("", |source| &source.shown));
        }
        Ok(system)
    }

    /// The packages of this tree that its tasks come from, each once. Those of outside crates are in [`System::outside`].
    #[must_use]
    pub(crate) fn packages(&self) -> Vec<&str> {
        let mut packages: Vec<&str> =
            self.tasks.iter().filter(|task| task.outside.is_none()).map(|task| task.package.value.as_str()).collect();
        packages.sort_unstable();
        packages.dedup();
        packages
    }

    /// The directories of outside crates, each once, with their packages.
    #[must_use]
    pub(crate) fn outside(&self) -> Vec<(&Path, &str)> {
        let mut crates: Vec<(&Path, &str)> = self
            .tasks
            .iter()
            .filter_map(|task| Some((task.outside.as_deref()?, task.package.value.as_str())))
            .collect();
        crates.sort_unstable();
        crates.dedup();
        crates
    }

    /// What each task from outside gets, a line for each: to be shown before it is booted.
    #[must_use]
    pub(crate) fn gets_from_outside(&self) -> Vec<String> {
        let line = |task: &Task| {
            let dir = task.outside.as_deref()?;
            let mut gets = task.hardware();
            if gets.is_empty() {
                gets.push("no hardware".to_owned());
            }
            gets.extend(task.calls.iter().map(|call| format!("calls {}", call.task.value)));
            gets.extend(self.callers(&task.name.value).iter().map(|caller| format!("is called by {caller}")));
            gets.extend(task.kernel.iter().map(|right| format!("has the kernel right {}", right.value.name())));
            gets.push(format!("at most {} of memory", human(u64::from(task.memory.value) * abi::PAGE_SIZE as u64)));
            Some(format!("{} from {} gets: {}", task.name.value, crate::paths::Paths::shown(dir), gets.join(", ")))
        };
        self.tasks.iter().filter_map(line).collect()
    }

    /// The task of this name.
    #[must_use]
    pub fn task(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.name.value == name)
    }

    /// The names of the tasks that may call this one.
    #[must_use]
    pub fn callers(&self, name: &str) -> Vec<&str> {
        self.tasks
            .iter()
            .filter(|task| task.calls.iter().any(|call| call.task.value == name))
            .map(|task| task.name.value.as_str())
            .collect()
    }

    /// The binary task table: the file `manifest` of the boot archive.
    #[must_use]
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode::encode(self)
    }
}

impl Task {
    /// What it is granted of one kind.
    pub fn of(&self, kind: GrantKind) -> impl Iterator<Item = &At<Grant>> {
        self.grants.iter().filter(move |grant| grant.value.kind() == Some(kind))
    }

    /// Its hardware, in words.
    #[must_use]
    pub fn hardware(&self) -> Vec<String> {
        GrantKind::HARDWARE
            .into_iter()
            .flat_map(|kind| self.of(kind))
            .map(|grant| format!("{:#}", grant.value))
            .collect()
    }

    /// Whether it has this right over the kernel.
    #[must_use]
    pub fn has(&self, right: KernelRight) -> bool {
        self.kernel.iter().any(|granted| granted.value == right)
    }
}
