//! From text to tasks. Each value is checked by itself here: kind, limits, spelling.

use super::inherit;
use super::source::{Problem, Source, nearest, valid_name};
use super::values::unknown_word;
use super::{At, Call, KernelRight, RESTARTS, Task};
use abi::PAGE_SIZE;
use abi::manifest::rules::{HEARTBEAT_MS, MAX_FRAMES, MAX_HANDLES, MAX_KEEP_FRAMES, MAX_STACK_FRAMES, OBJECTS};
use abi::manifest::{Grant, GrantKind, LINES, Restart};
use toml_edit::{Document, TableLike};

const TASK_KEYS: [&str; 20] = [
    "package",
    "bin",
    "priority",
    "ports",
    "irqs",
    "ranges",
    "calls",
    "debug",
    "clients",
    "restart",
    "start",
    "memory",
    "stack",
    "keep",
    "handles",
    "objects",
    "heartbeat",
    "kernel",
    "float",
    "inherit",
];

/// Most bytes in so many frames.
const fn bytes(frames: u32) -> u64 {
    frames as u64 * PAGE_SIZE as u64
}

/// What system.toml lets tasks from outside have.
#[derive(Default)]
pub struct Consent {
    /// The tasks from outside that may have rights over the kernel.
    pub kernel: Vec<At<String>>,
    /// The tasks of the system that tasks from outside may call.
    pub calls: Vec<At<String>>,
    /// The tasks from outside that may have the hardware that they ask for.
    pub hardware: Vec<String>,
}

/// Reads file number `number`: appends its tasks, and what it lets tasks from outside have.
pub fn read(number: usize, source: &Source, tasks: &mut Vec<Task>, consent: &mut Consent, problems: &mut Vec<Problem>) {
    let mut reader = Reader { source, number, here: 0, problems };
    let Some(document) = reader.document() else { return };
    let root = document.as_table();
    let known: &[&str] = if source.outside.is_some() { &["task"] } else { &["task", "with"] };
    reader.known(root, known, "the file");
    if let Some(with) = root.get("with").filter(|_| source.outside.is_none())
        && let Some(table) = reader.table(with, "`with`")
    {
        reader.known(table, &["allow", "calls", "hardware"], "`with`");
        consent.hardware.extend(reader.names(table, "hardware", usize::MAX).into_iter().map(|name| name.value));
        consent.kernel = reader.names(table, "allow", usize::MAX);
        consent.calls = reader.names(table, "calls", usize::MAX);
    }
    let Some(item) = root.get("task") else {
        let text = "there is no task in it; a task is a table such as [task.serial]".to_owned();
        return reader.problem(0, text);
    };
    let Some(table) = reader.table(item, "`task`") else { return };
    for (name, item) in table.iter() {
        let offset = reader.key_offset(table, name);
        if let Err(wrong) = valid_name(name) {
            reader.problem(offset, format!("the task name `{name}` {wrong}"));
        } else if name == "kernel" {
            reader.problem(offset, "`kernel` is how the kernel's own log is called; choose another name".to_owned());
        }
        if let Some(table) = reader.table(item, &format!("`task.{name}`"))
            && let Some(task) = reader.task(name, offset, table)
        {
            if source.hardware {
                consent.hardware.push(name.to_owned());
            }
            tasks.push(task);
        }
    }
}

/// Reads one file.
pub struct Reader<'a> {
    pub source: &'a Source,
    pub number: usize,
    /// Where the task begins that is read now: the place of what it leaves out.
    pub here: usize,
    pub problems: &'a mut Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// The file, if it is TOML.
    pub(super) fn document(&mut self) -> Option<Document<&'a str>> {
        let error = match Document::parse(self.source.text.as_str()) {
            Ok(document) => return Some(document),
            Err(error) => error,
        };
        let offset = error.span().map_or(0, |span| span.start);
        // The parser's words are several lines; the rest of a report is one line for each fault.
        let words = error.message().lines().collect::<Vec<_>>().join(", ");
        let text = match words.as_str() {
            "duplicate key" => "this name is there already; take one of the two out".to_owned(),
            words => format!("this is not TOML: {words}"),
        };
        self.problem(offset, text);
        None
    }

    /// The task of a table. What the table leaves out is as in the file that it inherits from, or has its default.
    pub(super) fn task(&mut self, name: &str, offset: usize, table: &dyn TableLike) -> Option<Task> {
        self.known(table, &TASK_KEYS, &format!("`task.{name}`"));
        self.here = offset;
        let base = match table.get("inherit") {
            Some(_) => Some(self.inherited(name, table)?),
            None => None,
        };
        let package = match table.get("package") {
            Some(_) => self.text(table, "package"),
            None if let Some(base) = &base => Some(base.package.clone()),
            None => {
                let text = format!("`task.{name}` has no `package`; name the crate that holds its program");
                self.problem(offset, text);
                None
            }
        };
        if let (Some(package), Some(known)) = (&package, &self.source.packages)
            && !known.contains(&package.value)
        {
            let text = self.unknown_package(&package.value, known);
            self.problems.push(Problem { place: package.place.clone(), text });
        }
        if table.get("priority").is_none() && base.is_none() {
            let text = format!("`task.{name}` has no `priority`; give it a number from 0 (most important) to 31");
            self.problem(offset, text);
        }
        let priority = self.integer(table, "priority", 0, abi::task::LEVELS as i64 - 1, 31);
        let clients = self.names(table, "clients", abi::task::MAX_TASKS);
        if self.source.outside.is_none() && table.get("clients").is_some() {
            let at = self.key_offset(table, "clients");
            let text =
                format!("`clients` is for crates from outside; here, add \"{name}\" to the `calls` of each client");
            self.problem(at, text);
        }
        let restart = self.word(table, "restart", &RESTARTS, Restart::Always);
        let memory = self.frames(table, "memory", 1 << 20, 1, bytes(MAX_FRAMES));
        let stack = self.frames(table, "stack", 64 << 10, 1, bytes(MAX_STACK_FRAMES));
        let keep = self.frames(table, "keep", 0, 0, bytes(MAX_KEEP_FRAMES));
        let heartbeat = self.integer(table, "heartbeat", 0, (*HEARTBEAT_MS.end()).into(), 0);
        if (1..i64::from(*HEARTBEAT_MS.start())).contains(&heartbeat.value) {
            let text = format!(
                "`heartbeat` is in milliseconds, and {} leaves a busy task no time; use 20 or more, or 0 for no watch",
                heartbeat.value
            );
            self.problems.push(Problem { place: heartbeat.place.clone(), text });
        }
        let bin = self.text(table, "bin").map(|bin| bin.value);
        let task = Task {
            name: self.at(offset, name.to_owned()),
            priority: priority.map(|value| value as u8),
            grants: [self.ports(table), self.irqs(table), self.ranges(table)].concat(),
            calls: self.calls(table),
            debug: self.names(table, "debug", GrantKind::Debug.most()),
            clients,
            restart,
            start: self.flag(table, "start", true),
            memory,
            stack,
            keep: keep.value,
            handles: self.integer(table, "handles", 1, MAX_HANDLES.into(), 64).map(|value| value as u16),
            objects: self.integer(table, "objects", (*OBJECTS.start()).into(), (*OBJECTS.end()).into(), 64).value
                as u16,
            heartbeat_ms: heartbeat.map(|value| value as u32),
            kernel: self.kernel(table),
            float: self.flag(table, "float", false).value,
            outside: self.source.outside.clone(),
            bin: String::new(),
            package: package?,
        };
        let bin = bin.unwrap_or_else(|| task.package.value.clone());
        let task = Task { bin, ..task };
        Some(match base {
            Some(base) => inherit::over(base, task, table),
            None => task,
        })
    }

    fn unknown_package(&self, package: &str, known: &[String]) -> String {
        if self.source.outside.is_some() {
            let own = known.first().map_or("", String::as_str);
            return format!("the package beside this file is `{own}`, not `{package}`; write package = \"{own}\"");
        }
        match nearest(package, known.iter().map(String::as_str)) {
            Some(near) => format!("the workspace has no package `{package}`; did you mean `{near}`?"),
            None => {
                format!(
                    "the workspace has no package `{package}`; add its directory to `members` in the top Cargo.toml"
                )
            }
        }
    }

    /// `{ uart = { base, len } }`, by the driver's own name for each; or a list, of which the driver asks by number.
    fn ports(&mut self, table: &dyn TableLike) -> Vec<At<Grant>> {
        let most = GrantKind::Ports.most();
        let mut ports = Vec::new();
        let named = match table.get("ports") {
            Some(item) if item.is_array() || item.is_array_of_tables() => None,
            Some(item) => item.as_table_like(),
            None => return ports,
        };
        let Some(named) = named else {
            for (offset, entry) in self.entries(table, "ports", "{ base = 0x3F8, len = 8 }", most) {
                ports.extend(self.port_range(entry, offset, ""));
            }
            return ports;
        };
        if let Some(item) = table.get("ports")
            && named.len() > most
        {
            self.too_many(item, "ports", named.len(), most);
        }
        for (name, item) in named.iter() {
            let offset = self.key_offset(named, name);
            if matches!(name, "base" | "len") && !item.is_table_like() {
                let text = "a range of ports has a name: write ports = { NAME = { base = 0x3F8, len = 8 } }";
                self.problem(offset, text.to_owned());
                break;
            }
            if let Err(wrong) = valid_name(name) {
                self.problem(offset, format!("the name `{name}` of ports {wrong}"));
            }
            match item.as_table_like() {
                Some(entry) => ports.extend(self.port_range(entry, offset, name)),
                None => self.wrong_kind(item, name, "a table such as { base = 0x3F8, len = 8 }"),
            }
        }
        ports
    }

    fn port_range(&mut self, entry: &dyn TableLike, offset: usize, name: &str) -> Option<At<Grant>> {
        self.known(entry, &["base", "len"], "a range of ports");
        if !self.required(entry, offset, &["base", "len"], "a range of ports") {
            return None;
        }
        let base = self.integer(entry, "base", 0, 0xFFFF, 0).value;
        let len = self.integer(entry, "len", 1, 0xFFFF, 1).value;
        if base + len > 0x1_0000 {
            let text = format!("ports {base:#X} and {len} on pass the last one, 0xFFFF; make `len` smaller");
            self.problem(offset, text);
            return None;
        }
        Some(self.at(offset, Grant::ports(name, base as u16, len as u32)))
    }

    fn irqs(&mut self, table: &dyn TableLike) -> Vec<At<Grant>> {
        let most = GrantKind::Irq.most();
        let Some(item) = table.get("irqs") else { return Vec::new() };
        let Some(lines) = item.as_table_like() else {
            self.wrong_kind(item, "irqs", "a table of names and lines such as { rx = 4 }");
            return Vec::new();
        };
        if lines.len() > most {
            self.too_many(item, "irqs", lines.len(), most);
        }
        let mut irqs = Vec::new();
        for (bit, (name, _)) in lines.iter().enumerate() {
            let offset = self.key_offset(lines, name);
            if let Err(wrong) = valid_name(name) {
                self.problem(offset, format!("the interrupt name `{name}` {wrong}"));
            }
            let line = self.integer(lines, name, 0, i64::from(LINES) - 1, 0).value as u8;
            irqs.push(self.at(offset, Grant::irq(name, line, bit as u32)));
        }
        irqs
    }

    fn ranges(&mut self, table: &dyn TableLike) -> Vec<At<Grant>> {
        let mut ranges: Vec<At<Grant>> = Vec::new();
        let example = "{ name = \"text\", base = 0xB8000, len = 0x8000 }";
        for (offset, entry) in self.entries(table, "ranges", example, GrantKind::Range.most()) {
            self.known(entry, &["name", "base", "len", "write", "write_combining"], "a physical range");
            if !self.required(entry, offset, &["name", "base", "len"], "a physical range") {
                continue;
            }
            let Some(name) = self.text(entry, "name") else { continue };
            if let Err(wrong) = valid_name(&name.value) {
                let text = format!("the range name `{}` {wrong}", name.value);
                self.problems.push(Problem { place: name.place.clone(), text });
            }
            if let Some(first) = ranges.iter().find(|range| abi::name_str(&range.value.name) == name.value) {
                let text = format!("the range name `{}` is taken by {}; choose another", name.value, first.place);
                self.problems.push(Problem { place: name.place.clone(), text });
            }
            let base = self.integer(entry, "base", 0, i64::MAX, 0).value as u64;
            let len = self.integer(entry, "len", 1, i64::MAX, PAGE_SIZE as i64).value as u64;
            let flags = [
                (self.flag(entry, "write", true).value, Grant::WRITE),
                (self.flag(entry, "write_combining", false).value, Grant::WRITE_COMBINING),
            ];
            let flags = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum();
            ranges.push(self.at(offset, Grant::range(&name.value, base, len, flags)));
        }
        ranges
    }

    /// Whom it calls, and by which names it asks for them: a list of tasks; or a table of its own names for them, `{ display = "vga" }`.
    fn calls(&mut self, table: &dyn TableLike) -> Vec<Call> {
        let most = GrantKind::Peer.most();
        let Some((item, own)) = table.get("calls").and_then(|item| Some((item, item.as_table_like()?))) else {
            return self.names(table, "calls", most).into_iter().map(Call::by_its_name).collect();
        };
        if own.len() > most {
            self.too_many(item, "calls", own.len(), most);
        }
        let mut calls: Vec<Call> = Vec::new();
        for (name, _) in own.iter() {
            if let Err(wrong) = valid_name(name) {
                let offset = self.key_offset(own, name);
                self.problem(offset, format!("the name `{name}` of a task to call {wrong}"));
            }
            let Some(task) = self.text(own, name) else { continue };
            if let Some(first) = calls.iter().find(|known| known.task.value == task.value) {
                let text = format!(
                    "`calls` names `{}` twice, as `{}` and as `{name}`; once is enough",
                    task.value, first.name
                );
                self.problems.push(Problem { place: task.place, text });
                continue;
            }
            calls.push(Call { task, name: name.to_owned() });
        }
        calls
    }

    fn kernel(&mut self, table: &dyn TableLike) -> Vec<At<KernelRight>> {
        let mut rights = Vec::new();
        for name in self.names(table, "kernel", usize::MAX) {
            match KernelRight::NAMES.iter().find(|(known, _)| *known == name.value) {
                Some((_, right)) => rights.push(At { value: *right, place: name.place }),
                None => {
                    let text = unknown_word("kernel right", &name.value, KernelRight::NAMES.map(|(name, _)| name));
                    self.problems.push(Problem { place: name.place, text });
                }
            }
        }
        rights
    }
}
