//! `inherit = "FILE"` in the table of a task: all that FILE says of the task of the same name, but for the keys that stand beside it.

use super::Task;
use super::read::Reader;
use super::source::{Problem, Source, nearest};
use super::values::offset;
use abi::manifest::GrantKind;
use std::path::Path;
use toml_edit::TableLike;

impl Reader<'_> {
    /// The task of this name in the file that `inherit` names, relative to the directory of the file being read. What is wrong is
    /// reported, in either file.
    pub(super) fn inherited(&mut self, name: &str, table: &dyn TableLike) -> Option<Task> {
        let file = self.text(table, "inherit")?;
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
                "[task.uart]\ninherit = 1\n",
                "DIR/lab/system.toml:2:11: `inherit` must be text in quotes, not an integer",
            ),
        ] {
            assert_eq!(load(text).expect_err(text), said);
        }
    }
}
