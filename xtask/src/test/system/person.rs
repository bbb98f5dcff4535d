//! What a person does with the system: types on the serial line and on the keyboard, reads the screen, kills drivers.

mod console;
pub mod machines;

use anyhow::{Context, Result, ensure};
use driver_vga::FONT;
use machine::guest::Guest;
use machine::loader::Firmware;
use machine::qemu::{End, Machine};
use machine::terminal::PROMPT;
use machines::Kind;
use std::time::Duration;

/// How long a command may take, on a busy machine.
const COMMAND: Duration = Duration::from_secs(20);

/// One test: a machine, and what to do with it once the prompt is there.
pub struct Test {
    name: &'static str,
    /// The guest's memory, as QEMU takes it.
    pub memory: &'static str,
    /// What boots it.
    pub firmware: Firmware,
    /// Its display adapter, as QEMU's `-vga` names it.
    pub display: &'static str,
    /// What else the machine is made of, if it is not the usual one.
    pub kind: Option<Kind>,
    /// The test itself.
    pub run: fn(&mut Guest) -> Result<()>,
}

impl Test {
    const fn new(name: &'static str, run: fn(&mut Guest) -> Result<()>) -> Self {
        Self { name, memory: "128M", firmware: Firmware::Pvh, display: "std", kind: None, run }
    }

    const fn with_memory(self, memory: &'static str) -> Self {
        Self { memory, ..self }
    }

    const fn with_display(self, display: &'static str) -> Self {
        Self { display, ..self }
    }

    const fn by_bios(self) -> Self {
        Self { firmware: Firmware::Bios, ..self }
    }

    const fn by_uefi(self) -> Self {
        Self { firmware: Firmware::Uefi, ..self }
    }

    /// Whether it is done where nobody asks for the whole matrix.
    pub fn is_usual(&self) -> bool {
        self.kind.is_none_or(|kind| kind.always)
    }

    /// The machine, made of a usual one.
    pub fn machine(&self, usual: Machine) -> Machine {
        let mut machine = Machine { firmware: self.firmware, memory: self.memory.to_owned(), ..usual };
        // Before the words of whoever runs the tests, which win.
        machine.hardware.qemu.insert(0, format!("-vga {}", self.display));
        if let Some(kind) = self.kind {
            machine.smp = kind.smp;
            machine.hardware.machine = machine.hardware.machine.or(Some(kind.board));
            machine.hardware.cpu = machine.hardware.cpu.or(Some(kind.cpu.to_owned()));
            machine.hardware.qemu.insert(0, kind.qemu.to_owned());
        }
        machine
    }

    /// The name that is printed.
    pub fn full(&self) -> String {
        format!("system::{}", self.name)
    }
}

/// Every test.
pub const TESTS: &[Test] = &[
    Test::new("boot::shutdown_switches_off", |guest| guest.power_off(COMMAND)),
    Test::new("boot::reboot_resets", reboot),
    Test::new("boot::with_little_memory", works).with_memory("64M"),
    Test::new("boot::with_much_memory", works).with_memory("6G"),
    Test::new("boot::by_bios", works).by_bios(),
    Test::new("boot::by_bios_with_much_memory", works).by_bios().with_memory("6G"),
    Test::new("boot::by_uefi", works).by_uefi(),
    Test::new("shell::help_lists_the_commands", help),
    Test::new("shell::ps_shows_every_task", tasks),
    Test::new("shell::caps_shows_what_the_manifest_gives", authority),
    Test::new("shell::every_fault_is_survived", faults),
    Test::new("shell::commands_can_be_repeated_completed_and_ended", editing),
    Test::new("shell::d17_an_idle_system_halts", idle),
    Test::new("shell::an_idle_system_takes_few_interrupts", few_interrupts),
    Test::new("shell::the_keyboard_has_layouts", layouts),
    Test::new("console::a_paste_runs_whole_and_in_order", console::paste),
    Test::new("console::an_interrupt_is_never_lost", console::interrupts),
    Test::new("console::keys_typed_ahead_run_in_order", console::keys_ahead),
    Test::new("console::half_a_command_is_never_run", console::mutilated),
    Test::new("console::what_terminals_send_runs_and_spoils_nothing", console::foreign_sequences),
    Test::new("console::a_serial_peer_that_does_not_read_stops_nobody", console::stalled_peer),
    Test::new("console::a_dead_driver_stops_nobody", console::dead_drivers),
    Test::new("screen::what_the_keyboard_types_is_shown", keyboard_to_screen),
    Test::new("screen::it_scrolls_and_clears", scrolling),
    Test::new("screen::on_a_cirrus_adapter", works).by_bios().with_display("cirrus"),
    Test::new("screen::on_a_cirrus_adapter_without_firmware", works).with_display("cirrus"),
    Test::new("screen::on_a_qxl_adapter", works).by_bios().with_display("qxl"),
    Test::new("screen::on_a_vmware_adapter", works).by_bios().with_display("vmware"),
    Test::new("screen::on_a_virtio_adapter", works).by_bios().with_display("virtio"),
    Test::new("screen::without_a_display_it_says_so", no_display).with_display("none"),
    Test::new("drivers::the_screen_survives_its_driver", kill_vga),
    Test::new("drivers::the_keyboard_comes_back", kill_keyboard),
    Test::new("drivers::the_serial_line_comes_back", kill_serial),
];

/// Runs a command and looks for `part` in what it prints.
fn says(guest: &mut Guest, command: &str, part: &str) -> Result<()> {
    let printed = guest.run(command, COMMAND)?;
    ensure!(
        printed.lines.iter().any(|line| line.contains(part)),
        "`{command}` does not print {part:?} but\n{}",
        printed.lines.join("\n")
    );
    Ok(())
}

/// Serial line, keyboard and screen all work, no device masters the bus, and it can be switched off.
fn works(guest: &mut Guest) -> Result<()> {
    says(guest, "echo Hello, World", "Hello, World")?;
    let tasks = guest.run("ps", COMMAND)?.lines.join("\n");
    ensure!(!tasks.contains("vga:") && !tasks.contains("serial:"), "a display is said to show nothing:\n{tasks}");
    guest.type_keys("echo typed\\n")?;
    guest.expect_screen(&FONT, "enigma> echo typed", COMMAND)?;
    // Said by the kernel after it has read every command register back.
    let log = guest.kernel_log();
    let quiet = log.contains(" were bus masters; none is") && !log.contains("stays one");
    ensure!(quiet, "a PCI function masters the bus:\n{log}");
    guest.power_off(COMMAND)
}

/// There is no adapter: the driver says so, and the rest works.
fn no_display(guest: &mut Guest) -> Result<()> {
    says(guest, "log vga", "no display: no VGA adapter answers")?;
    says(guest, "ps", "vga: no display: no VGA adapter answers")?;
    guest.type_keys("echo typed\\n")?;
    guest.expect_line("typed", COMMAND)?;
    guest.power_off(COMMAND)
}

fn reboot(guest: &mut Guest) -> Result<()> {
    guest.run("reboot", COMMAND)?;
    let end = guest.wait_end(COMMAND)?;
    ensure!(end == End::Reset, "{end}");
    Ok(())
}

fn help(guest: &mut Guest) -> Result<()> {
    let commands = "help ps mem caps log kill spawn echo clear color keymap uptime sleep dmesg fault reboot shutdown";
    let printed = guest.run("help", COMMAND)?.lines;
    for command in commands.split(' ') {
        let listed = printed.iter().any(|line| line.split_whitespace().next() == Some(command));
        ensure!(listed, "`help` does not list {command}");
    }
    Ok(())
}

fn tasks(guest: &mut Guest) -> Result<()> {
    let printed = guest.run("ps", COMMAND)?.lines;
    for task in ["supervisor", "serial", "keyboard", "vga", "power", "console", "shell"] {
        let line = printed.iter().find(|line| line.starts_with(task)).with_context(|| format!("no {task}"))?;
        ensure!(["waiting", "ready", "running"].iter().any(|state| line.contains(state)), "{line}");
    }
    Ok(())
}

fn authority(guest: &mut Guest) -> Result<()> {
    says(guest, "caps serial", "0x3f8-0x3ff")?;
    says(guest, "caps keyboard", "0x60")?;
    says(guest, "caps vga", "0xb8000")
}

/// Every kind of fault ends only the task that commits it, and is reported with task and function.
fn faults(guest: &mut Guest) -> Result<()> {
    for kind in fault::NAMES {
        let printed = guest.run(&format!("fault {kind}"), COMMAND)?;
        let report = printed.lines.join("\n");
        ensure!(printed.prompt, "`fault {kind}` ended the machine");
        ensure!(report.contains("fault (life"), "`fault {kind}` is not reported with the task's name:\n{report}");
        ensure!(report.contains("fault::"), "`fault {kind}` is not reported with a function:\n{report}");
    }
    says(guest, "echo alive", "alive")
}

/// While nobody has anything to do, the processor is halted nearly all the time.
fn idle(guest: &mut Guest) -> Result<()> {
    guest.run("ps", COMMAND)?;
    guest.run("sleep 5", COMMAND)?;
    // The kernel's own count goes on whether it halts or goes round in a loop: QEMU tells which.
    const LOOKS: usize = 200;
    let mut halted = 0;
    for _ in 0..LOOKS {
        halted += usize::from(guest.is_halted()?);
        std::thread::sleep(Duration::from_millis(10));
    }
    ensure!(halted * 10 > LOOKS * 8, "the processor was halted at {halted} of {LOOKS} looks");
    let printed = guest.run("ps", COMMAND)?.lines;
    let line = printed.iter().find(|line| line.starts_with("idle ")).context("`ps` says nothing of idling")?;
    let share = line.split("s, ").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|n| n.parse::<f32>().ok());
    // A busy host takes processor time away from the guest's work, which then counts as longer.
    ensure!(share.is_some_and(|share| share > 95.0), "{line}");
    Ok(())
}

/// No timer interrupts but those that tasks asked for: at most 20 a second.
fn few_interrupts(guest: &mut Guest) -> Result<()> {
    const SECONDS: u64 = 10;
    let before = interrupts(guest)?;
    guest.run(&format!("sleep {SECONDS}"), COMMAND)?;
    let taken = interrupts(guest)? - before;
    ensure!(taken <= 20 * SECONDS, "{taken} interrupts in {SECONDS} seconds in which nothing happens");
    Ok(())
}

/// How many interrupts there were since boot.
fn interrupts(guest: &mut Guest) -> Result<u64> {
    let printed = guest.run("uptime", COMMAND)?.lines.join("\n");
    let count = printed.split(" interrupts").next().and_then(|text| text.rsplit(' ').next());
    count.and_then(|count| count.replace(',', "").parse().ok()).with_context(|| format!("no number in {printed:?}"))
}

/// The same keys mean other characters after `keymap`.
fn layouts(guest: &mut Guest) -> Result<()> {
    for (layout, shown) in [("de", "kez zy"), ("us", "key yz")] {
        guest.run(&format!("keymap {layout}"), COMMAND)?;
        guest.type_keys("echo key yz\\n")?;
        guest.expect_line(shown, COMMAND)?;
    }
    Ok(())
}

/// History, completion and Ctrl-C on the serial line.
fn editing(guest: &mut Guest) -> Result<()> {
    says(guest, "echo one", "one")?;
    let shows = |guest: &Guest, text: &str| {
        let line = format!("{PROMPT}{text}");
        let seen = guest.serial.wait(COMMAND, |terminal| (terminal.before_cursor() == line).then_some(()));
        seen.with_context(|| format!("the line is not {text:?} but {:?}", guest.serial.look(|t| t.before_cursor())))
    };
    guest.serial.send(b"\x1b[A")?;
    shows(guest, "echo one")?;
    guest.serial.send(b"\x15")?;
    shows(guest, "")?;
    guest.serial.send(b"upti\t")?;
    shows(guest, "uptime ")?;
    guest.serial.send(b"\x03")?;
    guest.wait_prompt(COMMAND)?;
    guest.type_serial("sleep 1000")?;
    guest.serial.send(b"\r")?;
    std::thread::sleep(Duration::from_millis(500));
    guest.serial.send(b"\x03")?;
    guest.wait_prompt(COMMAND)
}

fn keyboard_to_screen(guest: &mut Guest) -> Result<()> {
    guest.type_keys("echo Shift, (Digits) & {Signs}!\\n")?;
    guest.expect_line("Shift, (Digits) & {Signs}!", COMMAND)?;
    guest.expect_screen(&FONT, "enigma> echo Shift, (Digits) & {Signs}!", COMMAND)?;
    // Up brings the command back; Home and the prefix make another of it.
    guest.type_keys("<up><home><delete><delete><delete><delete><delete>echo again \\n")?;
    guest.expect_line("again Shift, (Digits) & {Signs}!", COMMAND)
}

fn scrolling(guest: &mut Guest) -> Result<()> {
    for round in 0..3 {
        guest.run("help", COMMAND)?;
        says(guest, &format!("echo round {round}"), "round")?;
    }
    guest.expect_screen(&FONT, "enigma> echo round 2", COMMAND)?;
    let lines = guest.screen_text(&FONT)?;
    ensure!(lines.len() == 25, "{} lines", lines.len());
    ensure!(!lines.iter().any(|line| line.contains("echo round 0")), "it did not scroll:\n{}", lines.join("\n"));
    guest.run("clear", COMMAND)?;
    let mut lines = guest.still_screen(Duration::from_millis(500), COMMAND)?.text(&FONT).context("no text screen")?;
    lines.retain(|line| !line.is_empty());
    ensure!(lines == [PROMPT.trim_end()], "it was not cleared:\n{}", lines.join("\n"));
    Ok(())
}

/// Kills a task and waits until it lives again.
fn kill(guest: &mut Guest, task: &str) -> Result<()> {
    guest.run(&format!("kill {task}"), COMMAND)?;
    for _ in 0..20 {
        let printed = guest.run("ps", COMMAND)?.lines;
        let line = printed.iter().find(|line| line.starts_with(task)).with_context(|| format!("no {task}"))?;
        let words: Vec<_> = line.split_whitespace().collect();
        if words.get(3) == Some(&"1") && words.get(1) != Some(&"dead") {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    anyhow::bail!("{task} did not come back")
}

fn kill_vga(guest: &mut Guest) -> Result<()> {
    says(guest, "echo written before", "written before")?;
    guest.expect_screen(&FONT, "enigma> echo written before", COMMAND)?;
    kill(guest, "vga")?;
    says(guest, "echo written after", "written after")?;
    guest.expect_screen(&FONT, "enigma> echo written after", COMMAND)?;
    guest.expect_screen(&FONT, "enigma> echo written before", COMMAND)
}

fn kill_keyboard(guest: &mut Guest) -> Result<()> {
    kill(guest, "keyboard")?;
    guest.type_keys("echo typed again\\n")?;
    guest.expect_line("typed again", COMMAND)
}

fn kill_serial(guest: &mut Guest) -> Result<()> {
    kill(guest, "serial")?;
    says(guest, "echo sent again", "sent again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = TESTS.iter().map(|test| test.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TESTS.len());
    }
}
