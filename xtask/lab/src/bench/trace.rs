//! Follows operations instruction by instruction: what each of them is spent on, and what it does that costs more than an instruction.
//!
//! The measuring task calls `bench_mark` before it measures (`userspace/lab/bench/src/lib.rs`). There the machine is stopped, and stepped
//! from the next reading of the counter by a task to the one after that, which is what the task itself measures.

use super::code::{Code, Instruction};
use super::page::short;
use super::stub::{REGISTERS, Registers, Stub};
use abi::info::TaskInfo;
use abi::task::{INFO_ADDR, USER_END};
use anyhow::{Context, Result, bail, ensure};
use goblin::elf::Elf;
use machine::build::Built;
use machine::qemu::Machine;
use machine::toolchain::install::Ready;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

/// The operations that are followed, in the order in which the measuring task does them, and how many samples of the counter's own cost are
/// in each.
pub const FOLLOWED: [&str; 9] = [
    "poll_empty_notification",
    "ipc_cross_0w",
    "ipc_cross_4w",
    "ipc_same_4w",
    "ipc_cross_512b_both",
    "lease_4096b",
    "notify_wake",
    "irq_to_driver",
    "yield_switch",
];

/// What `bench_mark` is called with.
const MARK: u64 = u64::from_le_bytes(*b"bench-me");

/// The interrupt of the driver that is timed: line 3, as the kernel's stub for its vector is called.
const INTERRUPT: (&str, &str) = ("irq_to_driver", "kernel::arch::interrupt::apic::line::<kernel::kernel::Kernel, 35>");

/// Where the stubs of the kernel's entry are: what is done there is entry before, and switch and exit after all else.
const STUBS: [&str; 4] = [
    "kernel::arch::entry::",
    "<kernel::kernel::Kernel as kernel::arch::fast::Core>::",
    "kernel::arch::switch::resumed",
    "kernel::arch::switch::handed_over",
];

/// Where the assembly is that decides: what it does up to its last conditional jump, but those at the switch, changes nothing.
const FAST: [&str; 4] =
    ["kernel::arch::message::", "kernel::arch::notify::", "kernel::arch::interrupt::", "kernel::arch::switch::"];

/// Most instructions of an operation.
const MOST: usize = 200_000;

/// What an instruction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// In a task: the caller's, the server's.
    Task,
    /// From the processor's entry to the kernel's logic: registers are saved.
    Entry,
    /// Finding what handle, token or thread lead to: loads, and the arithmetic of addresses.
    Lookup,
    /// Comparing, and the jumps that depend on it.
    Checks,
    /// The operation itself: states, queues, times, what the other is told.
    Work,
    /// To the other thread: its stack, its address space, selectors cleared.
    Switch,
    /// Registers from its frame, and out.
    Exit,
}

impl Phase {
    /// All of them, as they are called.
    pub const NAMES: [(Phase, &'static str); 7] = [
        (Self::Task, "task"),
        (Self::Entry, "entry"),
        (Self::Lookup, "lookup"),
        (Self::Checks, "checks"),
        (Self::Work, "work"),
        (Self::Switch, "switch"),
        (Self::Exit, "exit"),
    ];

    /// As it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(phase, _)| *phase == self).map_or("?", |(_, name)| name)
    }
}

/// One instruction.
#[derive(Clone, Debug)]
pub struct Step {
    /// The task that it is in; `None` in the kernel.
    pub task: Option<String>,
    /// What it is.
    pub instruction: Instruction,
    /// What it is for.
    pub phase: Phase,
}

/// An operation.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The figure's name.
    pub name: String,
    /// Its instructions.
    pub steps: Vec<Step>,
    /// What of them costs more than an instruction: see [`COUNTED`].
    pub counts: BTreeMap<&'static str, u64>,
}

/// What is kept of a [`Trace`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The figure's name.
    pub name: String,
    /// How many instructions.
    pub instructions: u64,
    /// By what they are for.
    pub phases: Vec<(String, u64)>,
    /// The kernel's, by functions.
    pub functions: Vec<(String, u64)>,
    /// What of them costs more than an instruction.
    pub counts: Vec<(String, u64)>,
}

impl Summary {
    /// As a part of `--json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let object = |pairs: &[(String, u64)]| {
            Value::Object(pairs.iter().map(|(name, count)| (name.clone(), json!(count))).collect())
        };
        let functions: Vec<_> = self.functions.iter().map(|(name, count)| json!([name, count])).collect();
        json!({ "name": self.name, "instructions": self.instructions, "phases": object(&self.phases),
            "counts": object(&self.counts), "functions": functions })
    }

    /// The inverse.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let object = |key: &str| -> Option<Vec<(String, u64)>> {
            value.get(key)?.as_object()?.iter().map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect()
        };
        let mut phases = object("phases")?;
        phases.sort_by_key(|(name, _)| Phase::NAMES.iter().position(|(_, other)| other == name));
        let functions = value.get("functions")?.as_array()?.iter();
        let pair = |pair: &Value| Some((pair.get(0)?.as_str()?.to_owned(), pair.get(1)?.as_u64()?));
        Some(Self {
            name: value.get("name")?.as_str()?.to_owned(),
            instructions: value.get("instructions")?.as_u64()?,
            phases,
            functions: functions.map(pair).collect::<Option<_>>()?,
            counts: object("counts")?,
        })
    }

    /// How many there are of this, in one of the lists.
    #[must_use]
    pub fn count(list: &[(String, u64)], name: &str) -> u64 {
        list.iter().find(|(other, _)| other == name).map_or(0, |(_, count)| *count)
    }
}

/// A name, and whether an instruction is one of those.
type Counted = (&'static str, fn(&str) -> bool);

/// What is counted, and which instructions it is.
const COUNTED: [Counted; 6] = [
    ("cr3_writes", |text| text.starts_with("mov cr3,")),
    ("msr_writes", |text| text == "wrmsr"),
    ("port_accesses", |text| {
        text.starts_with("in ") || text.starts_with("out ") || text.starts_with("ins") || text.starts_with("outs")
    }),
    // Without PCID, each write to CR3 flushes all that is not global too; with it, only one that says so.
    ("tlb_page_flushes", |text| text.starts_with("invlpg") || text.starts_with("invpcid")),
    ("fpu_saves", |text| ["fxsave", "fxrstor", "xsave", "xrstor", "fnsave"].iter().any(|save| text.starts_with(save))),
    ("segment_loads", |text| ["mov ds,", "mov es,", "mov fs,", "mov gs,"].iter().any(|load| text.starts_with(load))),
];

impl Trace {
    /// What is kept of it.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let phases = self.phases().into_iter().map(|(phase, count)| (phase.name().to_owned(), count)).collect();
        let functions = self.functions().into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        let counts = self.counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Summary { name: self.name.clone(), instructions: self.steps.len() as u64, phases, functions, counts }
    }

    /// Instructions by what they are for.
    #[must_use]
    pub fn phases(&self) -> BTreeMap<Phase, u64> {
        let mut phases = BTreeMap::new();
        self.steps.iter().for_each(|step| *phases.entry(step.phase).or_default() += 1);
        phases
    }

    /// Kernel instructions by function, in the order of their first use.
    #[must_use]
    pub fn functions(&self) -> Vec<(&str, u64)> {
        let mut functions: Vec<(&str, u64)> = Vec::new();
        for step in self.steps.iter().filter(|step| step.task.is_none()) {
            match functions.iter_mut().find(|(name, _)| *name == &*step.instruction.function) {
                Some((_, count)) => *count += 1,
                None => functions.push((&step.instruction.function, 1)),
            }
        }
        functions
    }

    /// Every instruction, a line each, under the names of phases and functions.
    #[must_use]
    pub fn listing(&self) -> String {
        let mut out = String::new();
        let mut before = None;
        for (number, step) in self.steps.iter().enumerate() {
            let place = (step.task.as_deref().unwrap_or("kernel"), &*step.instruction.function);
            if before != Some(place) {
                let _ = writeln!(out, "{}: {}", place.0, place.1);
                before = Some(place);
            }
            let _ = writeln!(out, "{:>5}  {:<6}  {}", number + 1, step.phase.name(), shown(&step.instruction.text));
        }
        out
    }
}

/// An instruction without the addresses of code and data, which change with every build.
fn shown(text: &str) -> String {
    // A jump: where it leads.
    if let Some((start, rest)) = text.split_once(" 0x")
        && let Some((_, place)) = rest.split_once('<')
    {
        let name = place.strip_suffix('>').unwrap_or(place);
        let (function, within) = name.rsplit_once("+0x").map_or((name, ""), |(function, _)| (function, " +"));
        return format!("{start} {}{within}", short(function));
    }
    match text.split_once("[rip") {
        Some((start, rest)) => format!("{start}[rip{}", rest.find(']').and_then(|end| rest.get(end..)).unwrap_or("]")),
        None => text.to_owned(),
    }
}

/// Boots the measuring system, and follows [`FOLLOWED`].
///
/// # Errors
/// When the machine does not come to a mark, or runs what is not in the programs.
pub fn follow(ready: &Ready, built: &Built, machine: &Machine) -> Result<Vec<Trace>> {
    let kernel = Code::load(&built.kernel)?;
    let mut tasks = BTreeMap::new();
    for (name, program) in &built.tasks {
        tasks.insert(name.clone(), Code::load(program)?);
    }
    let core = core_of(&built.kernel)?;
    let mark = tasks.get("bench").and_then(|bench| bench.function("bench_mark"));
    let mark = mark.context("the task `bench` has no function `bench_mark`")?;
    let interrupt = kernel.function(INTERRUPT.1).with_context(|| format!("the kernel has no {}", INTERRUPT.1))?;
    let mut qemu = Machine { debugged: true, ..machine.clone() }.start(&ready.programs)?;
    let mut stub = Stub::connect(&qemu.gdb_socket)?;
    let mut traces = Vec::new();
    stub.breakpoint(mark, true)?;
    while traces.len() < FOLLOWED.len() {
        stub.go()?;
        let registers = stub.registers()?;
        let [_, _, _, len, name, magic, ..] = registers;
        let name = match magic {
            MARK => String::from_utf8_lossy(&stub.memory(name, len.min(64) as usize)?).into_owned(),
            _ => String::new(),
        };
        let wanted = FOLLOWED.contains(&name.as_str());
        // Past the breakpoint, at which the machine would stand still otherwise.
        stub.step()?;
        if !wanted {
            continue;
        }
        let by_interrupt = name == INTERRUPT.0;
        if by_interrupt {
            stub.breakpoint(mark, false)?;
            stub.breakpoint(interrupt, true)?;
            stub.go()?;
            stub.breakpoint(interrupt, false)?;
            stub.breakpoint(mark, true)?;
        }
        let follow = Follow { kernel: &kernel, tasks: &tasks, core, by_interrupt };
        traces.push(follow.operation(&mut stub, name)?);
    }
    drop(stub);
    qemu.stop();
    Ok(traces)
}

/// Where the kernel has what gs leads to.
fn core_of(kernel: &Path) -> Result<u64> {
    let bytes = std::fs::read(kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
    let elf = Elf::parse(&bytes).with_context(|| format!("{} is no ELF file", kernel.display()))?;
    let is_core = |name: &str| format!("{:#}", rustc_demangle::demangle(name)) == "kernel::arch::percore::CORE";
    let found = elf.syms.iter().find(|symbol| elf.strtab.get_at(symbol.st_name).is_some_and(is_core));
    found.map(|symbol| symbol.st_value).context("the kernel has no kernel::arch::percore::CORE")
}

/// Whether an address is a task's.
fn in_task(address: u64) -> bool {
    address < USER_END
}

struct Follow<'a> {
    kernel: &'a Code,
    tasks: &'a BTreeMap<String, Code>,
    core: u64,
    by_interrupt: bool,
}

impl Follow<'_> {
    fn operation(&self, stub: &mut Stub, name: String) -> Result<Trace> {
        let (mut steps, mut begun, mut task) = (Vec::new(), self.by_interrupt, None);
        let (mut code_lines, mut data_lines) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..MOST {
            let registers = stub.registers()?;
            let [.., rip] = registers;
            if !in_task(rip) {
                task = None;
            } else if task.is_none() {
                task = Some(running(stub)?);
            }
            let code = match &task {
                None => self.kernel,
                Some(task) => self.tasks.get(task).with_context(|| format!("there is no program of `{task}`"))?,
            };
            let place =
                || format!("at {rip:#x} in {} there is no instruction", task.as_deref().unwrap_or("the kernel"));
            let instruction = code.at(rip).with_context(place)?;
            if task.is_some() && instruction.text == "rdtsc" {
                if begun {
                    let counts = counts(&steps, code_lines.len(), data_lines.len());
                    let mut trace = Trace { name, steps, counts };
                    phases(&mut trace.steps);
                    return Ok(trace);
                }
                begun = true;
            }
            if begun {
                code_lines.insert((task.clone(), rip / 64));
                let gs = if task.is_none() { self.core } else { 0 };
                // Tasks have their own pages at the same addresses.
                let whose = |line: u64| if in_task(line * 64) { task.clone() } else { None };
                data_lines
                    .extend(touched(instruction, &registers, gs).map(|address| (whose(address / 64), address / 64)));
                let phase = if task.is_some() { Phase::Task } else { Phase::Work };
                steps.push(Step { task: task.clone(), instruction: instruction.clone(), phase });
            }
            stub.step()?;
        }
        bail!("{name} has not ended after {MOST} instructions")
    }
}

/// The name of the task that runs: its page of information has it.
fn running(stub: &mut Stub) -> Result<String> {
    let at = INFO_ADDR + std::mem::offset_of!(TaskInfo, name) as u64;
    let bytes = stub.memory(at, abi::NAME_LEN)?;
    let name: abi::Name = bytes.as_slice().try_into().ok().context("a task has no name")?;
    Ok(abi::name_str(&name).to_owned())
}

fn counts(steps: &[Step], code_lines: usize, data_lines: usize) -> BTreeMap<&'static str, u64> {
    let of = |is: fn(&str) -> bool| steps.iter().filter(|step| is(&step.instruction.text)).count() as u64;
    let mut counts: BTreeMap<_, _> = COUNTED.iter().map(|(name, is)| (*name, of(*is))).collect();
    counts.insert("code_lines", code_lines as u64);
    counts.insert("data_lines", data_lines as u64);
    counts
}

/// The addresses of memory that an instruction uses. Of one that repeats, only the first.
fn touched(instruction: &Instruction, registers: &Registers, gs: u64) -> impl Iterator<Item = u64> + use<> {
    let text = instruction.text.as_str();
    let value = |name: &str| {
        let place = REGISTERS.iter().position(|register| *register == name)?;
        if name == "rip" { Some(instruction.next) } else { registers.get(place).copied() }
    };
    let operand = (!text.starts_with("lea ") && !text.starts_with("nop"))
        .then(|| text.split_once('[')?.1.split_once(']').map(|(inside, _)| inside))
        .flatten()
        .and_then(|inside| Some(sum(inside, value)?.wrapping_add(if text.contains("gs:[") { gs } else { 0 })));
    let rsp = value("rsp").unwrap_or_default();
    let stack = match text.split(' ').next() {
        Some("push" | "pushfq" | "call") => Some(rsp.wrapping_sub(8)),
        Some("pop" | "popfq" | "ret" | "iretq") => Some(rsp),
        _ => None,
    };
    operand.into_iter().chain(stack)
}

/// What the inside of an operand such as `rbp + 4*rax - 0x10` comes to.
fn sum(inside: &str, value: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let (mut total, mut negative) = (0_u64, false);
    for word in inside.split(' ') {
        let number = |word: &str| match word.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => word.parse().ok(),
        };
        let factor = |word: &str| number(word).or_else(|| value(word));
        let term = match word {
            "+" => continue,
            "-" => {
                negative = true;
                continue;
            }
            _ => word.split('*').map(factor).try_fold(1_u64, |product, factor| Some(product.wrapping_mul(factor?)))?,
        };
        total = if std::mem::take(&mut negative) { total.wrapping_sub(term) } else { total.wrapping_add(term) };
    }
    Some(total)
}

/// Says of each of the kernel's instructions what it is for, visit by visit.
fn phases(steps: &mut [Step]) {
    for visit in steps.chunk_by_mut(|a, b| a.task.is_some() == b.task.is_some()) {
        if visit.first().is_none_or(|step| step.task.is_some()) {
            continue;
        }
        let in_stubs = |step: &Step| STUBS.iter().any(|start| step.instruction.function.starts_with(start));
        let entry = visit.iter().take_while(|step| in_stubs(step)).count();
        let tail = visit.iter().rev().take_while(|step| in_stubs(step)).count();
        let leaves = visit.len() - tail.min(visit.len() - entry);
        // Past these the other thread's address space, stack and selectors are in place; gs comes last, between the two `swapgs`.
        let switches = |step: &Step| {
            let text = &step.instruction.text;
            ["mov cr3,", "mov ds,", "mov es,", "mov fs,", "inc qword ptr gs:", "mov qword ptr gs:"]
                .iter()
                .any(|start| text.starts_with(start))
                || text.starts_with("mov qword ptr [rip")
        };
        let in_fast = |step: &Step| FAST.iter().any(|start| step.instruction.function.starts_with(start));
        let fast = visit.iter().all(|step| in_stubs(step) || in_fast(step));
        let jumps: Vec<usize> = (0..visit.len())
            .filter(|&place| {
                !in_stubs(&visit[place]) && in_fast(&visit[place]) && is_jump(&visit[place].instruction.text)
            })
            .collect();
        // That of messages ends with two more jumps: whether the thread needs more than it does, for which it looks at two bytes, and whether
        // the address space is another.
        let message = visit.last().is_some_and(|step| step.instruction.function.starts_with(FAST[0]));
        let (looks, leaves) = match jumps[..] {
            [.., looks, needs, _] if fast && message => (Some(looks), needs.saturating_sub(2)),
            [.., last] if fast => (Some(last), leaves),
            _ => (None, leaves),
        };
        let exit = visit.iter().rposition(switches).map_or(leaves, |last| (last + 1).max(leaves));
        for (place, step) in visit.iter_mut().enumerate() {
            let text = &step.instruction.text;
            step.phase = match () {
                () if place < entry => Phase::Entry,
                () if place >= exit => Phase::Exit,
                () if place >= leaves => Phase::Switch,
                () if looks.is_some_and(|last| place <= last) => {
                    let compares = ["cmp ", "test ", "bt "].iter().any(|start| text.starts_with(start));
                    if compares || is_jump(text) { Phase::Checks } else { Phase::Lookup }
                }
                () => Phase::Work,
            };
        }
    }
}

/// Whether an instruction is a jump that depends on something.
fn is_jump(text: &str) -> bool {
    text.starts_with('j') && !text.starts_with("jmp")
}

/// How often the operation is done between two readings of the counter: two tasks that give way are there and back.
#[must_use]
pub fn times(name: &str) -> u64 {
    if name == "yield_switch" { 2 } else { 1 }
}

/// Whether what was followed is what was measured: the same number of instructions, but for those of the counter itself, which take
/// `pair`.
///
/// # Errors
/// When it is not.
pub fn check(trace: &Trace, measured: u64, pair: u64) -> Result<()> {
    let steps = trace.steps.len() as u64;
    let same = match trace.name.as_str() {
        // The measurement begins at a reading of the counter before the interrupt, and both end with one that is not taken off.
        "irq_to_driver" => steps <= measured && measured <= steps + 40,
        "notify_wake" => steps == measured,
        name => steps.saturating_sub(pair) / times(name) == measured,
    };
    ensure!(same, "{}: {steps} instructions were followed, but {measured} measured", trace.name);
    Ok(())
}

#[cfg(test)]
mod tests;
