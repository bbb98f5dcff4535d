//! `inherit` in the table of a task: all that another table says, but for the keys that stand beside it. `inherit = "FILE.toml"` is the table of the
//! same task in that file; `inherit = "NAME"` that of another task in the same file.

use super::read::Reader;
use super::source::{Problem, Source, nearest};
use super::values::offset;
use super::{At, Task};
use abi::manifest::GrantKind;
use std::path::Path;
use toml_edit::{Document, TableLike};

impl Reader<'_> {
    /// The task of this name in the file that `inherit` names, relative to the directory of the file being read. What is wrong is
    /// reported, in either file.
    pub(super) fn inherited(&mut self, name: &str, table: &dyn TableLike) -> Option<Task> {
        let file = self.text(table, "inherit")?;
        if !file.value.ends_with(".toml") {
            return self.inherited_here(name, &file);
        }
        let Some(dir) = self.source.dir.as_deref().filter(|_| self.source.outside.is_none()) else {
            let text = "`inherit` is for the systems of this tree; write out what the task has".to_owned();
            self.problems.push(Problem { place: file.place, text });
            return None;
        };
        let base = match Source::system(&dir.join(Path::new(&file.value))) {
            Ok(base) => base,
            Err(error) => {
                let text = format!("{error:#}; `inherit` is a path from the directory of this file");
                self.problems.push(Problem { place: file.place, text });
                return None;
            }
        };
        let mut reader = Reader { source: &base, number: self.number, here: 0, problems: &mut *self.problems };
        let document = reader.document()?;
        let tasks = document.get("task").and_then(|item| item.as_table_like());
        let found = tasks.and_then(|tasks| Some((tasks, tasks.get(name)?.as_table_like()?)));
        let Some((tasks, found)) = found else {
            let names = tasks.into_iter().flat_map(|tasks| tasks.iter()).map(|(name, _)| name);
            let near = nearest(name, names).map_or(String::new(), |near| format!("; it has one called `{near}`"));
            let text = format!("{} has no task `{name}` to inherit from{near}", base.shown);
            self.problems.push(Problem { place: file.place, text });
            return None;
        };
        if let Some(again) = found.get("inherit") {
            let text = format!("`task.{name}` inherits here as well; name the file that says all of it");
            reader.problem(offset(again), text);
            return None;
        }
        let at = reader.key_offset(tasks, name);
        reader.task(name, at, found)
    }

    /// The task `other` of the file being read, as the task `name`.
    fn inherited_here(&mut self, name: &str, other: &At<String>) -> Option<Task> {
        let document = Document::parse(self.source.text.as_str()).ok()?;
        let tasks = document.get("task").and_then(|item| item.as_table_like())?;
        let text = match tasks.get(&other.value).and_then(|item| item.as_table_like()) {
            Some(_) if other.value == name => {
                format!("`task.{name}` inherits from itself; name another task, or a file such as \"system.toml\"")
            }
            Some(found) if found.get("inherit").is_some() => {
                format!("`task.{}` inherits as well; name a task that says all of it", other.value)
            }
            Some(found) => {
                let here = self.here;
                let at = self.key_offset(tasks, &other.value);
                let task = self.task(name, at, found);
                self.here = here;
                return task;
            }
            None => {
                let names = tasks.iter().map(|(name, _)| name);
                let near =
                    nearest(&other.value, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                format!(
                    "there is no task `{}` in this file to inherit from{near}; a file's name ends with .toml",
                    other.value
                )
            }
        };
        self.problems.push(Problem { place: other.place.clone(), text });
        None
    }
}

/// `base`, but for what the table of `own` says.
pub(super) fn over(base: Task, own: Task, table: &dyn TableLike) -> Task {
    let of = |kind: GrantKind| if table.contains_key(kind.key()) { own.of(kind) } else { base.of(kind) }.cloned();
    let grants = GrantKind::HARDWARE.into_iter().flat_map(of).collect();
    macro_rules! pick {
        ($($key:literal: $field:ident),* $(,)?) => {
            Task {
                name: own.name,
                outside: own.outside,
                grants,
                // The program is another package's where only the package is said.
                bin: if table.contains_key("bin") || table.contains_key("package") { own.bin } else { base.bin },
                $($field: if table.contains_key($key) { own.$field } else { base.$field },)*
            }
        };
    }
    pick! {
        "package": package,
        "priority": priority,
        "calls": calls,
        "debug": debug,
        "clients": clients,
        "restart": restart,
        "start": start,
        "memory": memory,
        "stack": stack,
        "keep": keep,
        "handles": handles,
        "objects": objects,
        "heartbeat": heartbeat_ms,
        "kernel": kernel,
        "float": float,
    }
}

#[cfg(test)]
mod tests {
    use super::super::System;

    const BASE: &str = r#"
        [task.boss]
        package = "supervisor"
        priority = 1
        kernel = ["control"]

        [task.uart]
        package = "driver-uart"
        bin = "uart"
        priority = 2
        ports = [{ base = 0x3F8, len = 8 }]
        irqs = { rx = 4 }
        keep = "16K"
        heartbeat = 2000

        [task.again]
        inherit = "base.toml"
    "#;

    fn load(text: &str) -> Result<System, String> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("lab")).expect("a directory");
        std::fs::write(dir.path().join("base.toml"), BASE).expect("a file");
        std::fs::write(dir.path().join("lab/system.toml"), text).expect("a file");
        System::load(&dir.path().join("lab/system.toml"), &[])
            .map_err(|error| error.to_string().replace(&dir.path().display().to_string(), "DIR"))
    }

    #[test]
    fn a_task_is_as_in_the_other_file_but_for_what_is_said() {
        let text = "[task.boss]\ninherit = \"../base.toml\"\n[task.uart]\ninherit = \"../base.toml\"\nheartbeat = 0\nrestart = \"forever\"\n";
        let system = load(text).expect("a good system");
        let uart = system.task("uart").expect("the task");
        assert_eq!((uart.package.value.as_str(), uart.bin.as_str(), uart.priority.value), ("driver-uart", "uart", 2));
        assert_eq!((uart.hardware().join(", ").as_str(), uart.keep), ("ports 0x3F8-0x3FF, line 4 (rx)", 4));
        assert_eq!((uart.heartbeat_ms.value, uart.restart), (0, abi::manifest::Restart::Forever));
        assert!(system.tasks[0].has(super::super::KernelRight::Control));
        // Another task of the same file: a second device of a kind takes what is its own.
        let second = "[task.boss]\ninherit = \"../base.toml\"\n[task.one]\npackage = \"driver-uart\"\npriority = 2\nports = { uart = { base = 0x3F8, len = 8 } }\nirqs = { rx = 4 }\nkeep = \"16K\"\n[task.two]\ninherit = \"one\"\nports = { uart = { base = 0x2F8, len = 8 } }\nirqs = { rx = 3 }\n";
        let system = load(second).expect("a good system");
        let two = system.task("two").expect("the task");
        assert_eq!((two.hardware().join(", ").as_str(), two.keep), ("ports 0x2F8-0x2FF (uart), line 3 (rx)", 4));
        assert_eq!((two.package.value.as_str(), two.priority.value), ("driver-uart", 2));
        let other =
            "[task.boss]\ninherit = \"../base.toml\"\n[task.uart]\ninherit = \"../base.toml\"\npackage = \"other\"\n";
        assert_eq!(
            load(other).expect("a good system").task("uart").map(|task| task.bin.clone()),
            Some("other".to_owned())
        );
    }

    #[test]
    fn what_cannot_be_inherited_is_said_with_its_place() {
        for (text, said) in [
            (
                "[task.uart]\ninherit = \"base.toml\"\n",
                "DIR/lab/system.toml:2:11: cannot read the list of tasks, DIR/lab/base.toml: No such file or directory (os error 2); \
                 `inherit` is a path from the directory of this file",
            ),
            (
                "[task.uard]\ninherit = \"../base.toml\"\n",
                "DIR/lab/system.toml:2:11: DIR/lab/../base.toml has no task `uard` to inherit from; it has one called `uart`",
            ),
            (
                "[task.again]\ninherit = \"../base.toml\"\n",
                "DIR/lab/../base.toml:17:19: `task.again` inherits here as well; name the file that says all of it",
            ),
            (
                "[task.uard]\ninherit = \"uart\"\n",
                "DIR/lab/system.toml:2:11: there is no task `uart` in this file to inherit from; did you mean `uard`?; a file's name ends with .toml",
            ),
            (
                "[task.uart]\ninherit = \"uart\"\n",
                "DIR/lab/system.toml:2:11: `task.uart` inherits from itself; name another task, or a file such as \"system.toml\"",
            ),
            (
                "[task.a]\ninherit = \"b\"\n[task.b]\ninherit = \"a\"\n",
                "DIR/lab/system.toml:2:11: `task.b` inherits as well; name a task that says all of it\n\
                 DIR/lab/system.toml:4:11: `task.a` inherits as well; name a task that says all of it",
            ),
            (
                "[task.uart]\ninherit = 1\n",
                "DIR/lab/system.toml:2:11: `inherit` must be text in quotes, not an integer",
            ),
        ] {
            assert_eq!(load(text).expect_err(text), said);
        }
    }
}
