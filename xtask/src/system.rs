//! `cargo xtask system`: who has which authority.

use abi::PAGE_SIZE;
use abi::manifest::{Grant, GrantKind};
use anyhow::Result;
use machine::manifest::{RESTARTS, System, Task, human};
use machine::paths::Paths;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;

/// The system as a table for people, or as JSON for programs; `with` are directories of outside crates.
///
/// # Errors
/// What is wrong with `system.toml` or an `enigma.toml`.
pub fn report(paths: &Paths, with: &[PathBuf], as_json: bool) -> Result<String> {
    let system = System::load(&paths.root.join("userspace/system.toml"), with)?;
    Ok(if as_json { format!("{:#}\n", to_json(&system)) } else { table(&system) })
}

fn bytes(frames: u32) -> u64 {
    u64::from(frames) * PAGE_SIZE as u64
}

fn restart(task: &Task) -> &'static str {
    RESTARTS.iter().find(|(_, restart)| *restart == task.restart).map_or("?", |(name, _)| name)
}

const HEADS: [&str; 8] = ["task", "prio", "hardware", "memory", "may call", "called by", "kernel", "restart"];

/// Each task's cells, which may have several lines.
fn cells(system: &System, task: &Task) -> [Vec<String>; 8] {
    let owned = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let mut memory = vec![human(bytes(task.memory.value)), format!("stack {}", human(bytes(task.stack.value)))];
    if task.keep > 0 {
        memory.push(format!("keeps {}", human(bytes(task.keep))));
    }
    let mut life = vec![restart(task).to_owned()];
    if !task.start.value {
        life.push("not at boot".to_owned());
    }
    if task.heartbeat_ms.value > 0 {
        life.push(format!("watched, {} ms", task.heartbeat_ms.value));
    }
    let mut name = vec![task.name.value.clone()];
    if task.outside.is_some() {
        name.push("(outside)".to_owned());
    }
    [
        name,
        vec![task.priority.value.to_string()],
        task.hardware(),
        memory,
        task.calls.iter().map(|call| call.task.value.clone()).collect(),
        owned(system.callers(&task.name.value)),
        task.kernel.iter().map(|right| right.value.name().to_owned()).collect(),
        life,
    ]
}

fn table(system: &System) -> String {
    let rows: Vec<_> = system.tasks.iter().map(|task| cells(system, task)).collect();
    let widths: Vec<usize> = HEADS
        .iter()
        .enumerate()
        .map(|(column, head)| {
            let longest = rows.iter().flat_map(|row| &row[column]).map(String::len).max();
            longest.unwrap_or(0).max(head.len())
        })
        .collect();
    let mut text = String::new();
    let mut line = |cells: [&str; 8]| {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            // Writing to a string cannot fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(HEADS);
    let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    line(std::array::from_fn(|column| rules[column].as_str()));
    for row in &rows {
        let height = row.iter().map(Vec::len).max().unwrap_or(0);
        for number in 0..height {
            line(std::array::from_fn(|column| match row[column].get(number) {
                Some(cell) => cell.as_str(),
                None if number == 0 => "-",
                None => "",
            }));
        }
    }
    text
}

fn grant(kind: GrantKind, grant: &Grant) -> Value {
    let (name, Grant { base, len, flags, .. }) = (abi::name_str(&grant.name), *grant);
    let has = |flag| flags & flag != 0;
    match kind {
        GrantKind::Ports => json!({ "name": name, "base": base, "len": len }),
        GrantKind::Irq => json!({ "name": name, "line": base }),
        GrantKind::Range => json!({
            "name": name,
            "base": base,
            "len": len,
            "write": has(Grant::WRITE),
            "write_combining": has(Grant::WRITE_COMBINING),
        }),
        _ => json!({ "name": name, "base": base, "len": len, "flags": flags }),
    }
}

fn to_json(system: &System) -> Value {
    let tasks: Vec<Value> = system
        .tasks
        .iter()
        .map(|task| {
            let mut all = json!({
                "name": task.name.value,
                "package": task.package.value,
                "bin": task.bin,
                "outside": task.outside.as_ref().map(|dir| dir.display().to_string()),
                "priority": task.priority.value,
                "calls": task.calls.iter().map(|call| call.task.value.as_str()).collect::<Vec<_>>(),
                "called_by": system.callers(&task.name.value),
                "kernel": task.kernel.iter().map(|right| right.value.name()).collect::<Vec<_>>(),
                "restart": restart(task),
                "start": task.start.value,
                "heartbeat_ms": task.heartbeat_ms.value,
                "memory": bytes(task.memory.value),
                "stack": bytes(task.stack.value),
                "keep": bytes(task.keep),
                "handles": task.handles.value,
                "objects": task.objects,
                "float": task.float,
            });
            for kind in GrantKind::HARDWARE {
                all[kind.key()] = task.of(kind).map(|at| grant(kind, &at.value)).collect();
            }
            all
        })
        .collect();
    json!({ "tasks": tasks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::manifest::Source;

    fn system() -> System {
        let text = r#"
            [task.boss]
            package = "boss"
            priority = 1
            kernel = ["control", "logs"]
            [task.disk]
            package = "driver-disk"
            priority = 2
            ports = [{ base = 0x1F0, len = 8 }, { base = 0x3F6, len = 1 }]
            irqs = { done = 14 }
            ranges = [{ name = "rom", base = 0xC8000, len = 0x4000, write = false }]
            memory = "2M"
            keep = "8K"
            start = false
            heartbeat = 2000
            [task.app]
            package = "app"
            priority = 6
            calls = ["disk", "boss"]
            restart = "never"
        "#;
        let source = Source {
            shown: "system.toml".into(),
            text: text.to_owned(),
            dir: None,
            packages: None,
            outside: None,
            hardware: false,
        };
        System::from_sources(&[source]).expect("a good system")
    }

    #[test]
    fn the_table_can_be_read() {
        let expected = "\
task  prio  hardware                                memory     may call  called by  kernel   restart
----  ----  --------------------------------------  ---------  --------  ---------  -------  ----------------
boss  1     -                                       1M         -         app        control  always
                                                    stack 64K                       logs
disk  2     ports 0x1F0-0x1F7                       2M         -         app        -        always
            ports 0x3F6                             stack 64K                                not at boot
            line 14 (done)                          keeps 8K                                 watched, 2000 ms
            range 0xC8000-0xCBFFF (rom, read-only)
app   6     -                                       1M         disk      -          -        never
                                                    stack 64K  boss
";
        assert_eq!(table(&system()), expected);
    }

    #[test]
    fn the_json_says_the_same() {
        let value = to_json(&system());
        let disk = &value["tasks"][1];
        assert_eq!(
            disk["ports"],
            json!([{ "name": "", "base": 0x1F0, "len": 8 }, { "name": "", "base": 0x3F6, "len": 1 }])
        );
        assert_eq!(disk["irqs"], json!([{ "name": "done", "line": 14 }]));
        assert_eq!(disk["ranges"][0]["write"], json!(false));
        assert_eq!((&disk["memory"], &disk["keep"], &disk["start"]), (&json!(2 << 20), &json!(8192), &json!(false)));
        assert_eq!(disk["called_by"], json!(["app"]));
        assert_eq!(value["tasks"][2]["calls"], json!(["disk", "boss"]));
        assert_eq!(value["tasks"][2]["restart"], json!("never"));
    }
}
