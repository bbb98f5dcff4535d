//! The commands' flags and help.

use clap::{Args, Parser, Subcommand};
use machine::{hardware, keys, qemu};
use std::path::PathBuf;

/// Builds, boots and tests Enigma, a microkernel whose drivers are ordinary programs.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", version, disable_help_subcommand = true, after_help = AFTER)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str = "Start with `cargo xtask run`. What is missing (compiler, QEMU) is installed on the way, after \
saying so; --no-install only reports it. ENIGMA_TOOLCHAIN=NAME-OR-DIRECTORY makes it use one certain compiler.";

#[derive(Subcommand)]
pub enum Command {
    Run(Run),
    Test(Test),
    Image(Image),
    System(System),
    New(New),
    Bench(Bench),
    Chaos(Chaos),
    Fuzz(Fuzz),
    Debug(Debug),
    Doc(Doc),
    Lint(Lint),
    Setup(Setup),
}

/// Boot the system in QEMU
///
/// Builds what has changed, then boots it. Without --exec, --keys or --screenshot the guest's serial console is on
/// this terminal until the guest is switched off (type `shutdown`) or Ctrl-A X is pressed; the guest's screen is in a
/// window if there is a desktop. With any of those three nobody needs to be there: the keys are typed first, then the
/// commands, then the picture is taken and the guest is switched off. The exit status is 0 only if it was switched off
/// cleanly and no command of --exec failed. It is 1 for every error that has no other: what does not build, a machine that panics or resets;
/// 2 for a command line that is none; 3 where a command of --exec failed; 4 where the time of --timeout was over.
#[derive(Args)]
pub struct Run {
    /// Boot from a disk image by BIOS and the boot loader, as a PC would; otherwise QEMU starts the kernel by itself
    #[arg(long, conflicts_with = "uefi")]
    pub bios: bool,
    /// Boot from a disk image by UEFI (q35 and OVMF) and the boot loader
    #[arg(long)]
    pub uefi: bool,
    /// What runs the guest's instructions; auto takes KVM only where the processor itself has VT-x or AMD-V
    #[arg(long, value_enum, default_value_t)]
    pub accel: qemu::Accel,
    /// The guest's memory, as a number with K, M or G, at least 32M
    #[arg(long, default_value = "256M", value_parser = memory)]
    pub memory: String,
    /// The guest's processors (the kernel uses the first)
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=255))]
    pub smp: u32,
    #[command(flatten)]
    pub hardware: hardware::Hardware,
    /// Where the guest's screen is shown; curses puts it in this terminal, in place of the serial console
    #[arg(long, value_enum, default_value_t)]
    pub display: qemu::Display,
    /// Type these shell commands on the serial console, print what they print, then switch off
    ///
    /// Commands are separated by semicolons; one in quotes or after a backslash is part of the command. If `shutdown`
    /// is not the last of them, it is added. The first that fails (the shell says so: an unknown command, a task that dies while it is
    /// called) is the last that is run, and the exit status is 3.
    #[arg(long, value_name = "CMD; CMD")]
    pub exec: Option<String>,
    /// With --exec: run every command, whether the one before it failed or not, and do not let failures show in the exit status
    #[arg(long, requires = "exec")]
    pub keep_going: bool,
    /// Save a picture of the screen, taken when it has not changed for a second
    #[arg(long, value_name = "FILE.png")]
    pub screenshot: Option<PathBuf>,
    /// Type this on the PS/2 keyboard
    #[arg(long, value_name = "TEXT", long_help = keys::HELP, allow_hyphen_values = true)]
    pub keys: Option<String>,
    /// Add the task crate in this directory, whose enigma.toml says what it may do; can be repeated. `,hardware` behind the directory lets
    /// it have the ports, interrupt lines and physical ranges that it asks for
    #[arg(long, value_name = "DIR")]
    pub with: Vec<PathBuf>,
    /// End the guest after this many seconds, with a failure [default: 60 with --exec, --keys or --screenshot]
    #[arg(long, value_name = "S")]
    pub timeout: Option<u64>,
    #[command(flatten)]
    pub install: Install,
}

/// Run the tests: one line for each, and at the end `N passed, N failed`
///
/// There are three kinds: `host` tests the pure logic on this machine, `kernel` boots one small kernel for each
/// property of the real one, `system` boots the whole system and uses it as a person would. The names have the form
/// KIND::PLACE::NAME. What each test printed is kept in target/test-logs. --cpu, --machine, --disk and --qemu are for every machine of the
/// kinds `kernel` and `system` but those whose instructions are counted (`bench`, `chaos`, `fuzz`, `shares`). The exit status is 0 only if at least one
/// test ran and none failed.
#[derive(Args)]
pub struct Test {
    /// Which kind (host, kernel, system), if not all; a first word that is none of these is the filter
    pub kind: Option<String>,
    /// Only tests whose name contains this
    pub filter: Option<String>,
    /// How many machines run at the same time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub jobs: u32,
    /// Run the hostile programs on every machine of the matrix: processor models, sizes of memory, boards, firmwares; without it on a few
    #[arg(long, conflicts_with_all = ["cpu", "machine"])]
    pub matrix: bool,
    /// Test only the task crate in this directory: its own host tests, and its tasks in the booted system; can be repeated
    ///
    /// The tests `system::with::TASK::...` boot the task beside the others, watch it while it has nothing to do, kill it, and send it requests
    /// that make no sense. Judged is that it lives and comes back, that nobody else is harmed, and that no memory is lost: of its
    /// protocol nothing is known.
    #[arg(long, value_name = "DIR", conflicts_with = "matrix")]
    pub with: Vec<PathBuf>,
    #[command(flatten)]
    pub hardware: hardware::Hardware,
    #[command(flatten)]
    pub install: Install,
}

/// Write a bootable disk image
///
/// Prints the path of each image. It can be booted with QEMU, or written to a USB stick with dd. With -v, and wherever a machine is
/// described, it says on the standard error how QEMU boots each on that machine; the images are the same for all.
#[derive(Args)]
pub struct Image {
    /// Write an image for UEFI too, not only for BIOS
    #[arg(long)]
    pub uefi: bool,
    /// Put the images there, as enigma-bios.img and enigma-uefi.img [default: target/images]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Add the task crate in this directory; can be repeated
    #[arg(long, value_name = "DIR")]
    pub with: Vec<PathBuf>,
    #[command(flatten)]
    pub hardware: hardware::Hardware,
    #[command(flatten)]
    pub install: Install,
}

/// Show who has which authority: the checked content of system.toml
///
/// Priorities, ports, interrupt lines, physical ranges, memory, who calls whom, rights over the kernel, restart policy.
#[derive(Args)]
pub struct System {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Add the task crate in this directory; can be repeated
    #[arg(long, value_name = "DIR")]
    pub with: Vec<PathBuf>,
}

/// Make a new crate from a template
#[derive(Args)]
pub struct New {
    #[command(subcommand)]
    pub what: NewWhat,
}

#[derive(Subcommand)]
pub enum NewWhat {
    /// A driver: builds, boots and is tested as generated
    ///
    /// Without --out it becomes a member of this workspace, in userspace/drivers/NAME, and is entered in
    /// userspace/system.toml. With --out it is a crate of its own, to be given to the other commands by --with DIR.
    /// docs/writing-a-driver.md leads on from there.
    Driver {
        /// Its name: small letters, digits and dashes, at most 15
        name: String,
        /// What it starts from
        #[arg(long, value_enum, default_value_t)]
        kind: crate::new::Kind,
        /// Where to put it, outside this workspace
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// Measure what the kernel's operations cost, in guest instructions
///
/// QEMU counts the guest's time in its instructions, so two runs give the same figures. Printed is a table: the least, the middle and the
/// greatest of the samples, how many there were, writes to CR3 in each, seL4's figure for the same operation, how much is allowed, and what
/// would be good. Then a round trip beside more and more tasks, threads, handles and clients (`scale`), and characters to screen and
/// serial line (`throughput`), and what the instructions of some operations are for (`trace`). The tests of `cargo xtask test system bench` compare all that with userspace/lab/bench/baseline.json.
#[derive(Args)]
pub struct Bench {
    /// Only figures whose name contains this, or `scale`, `throughput` or `trace`; `heap` measures the heaps of tasks instead, and `latency` the longest
    /// stretches with interrupts off, of which the exit status says whether all are as short as promised
    pub name: Option<String>,
    /// With `heap`: first records anew what the real system's tasks allocate
    #[arg(long)]
    pub record: bool,
    /// Write them there
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Compare with what --json wrote; the exit status is not 0 when a figure has grown by more than 5%, or beyond what is allowed
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// Draw them there
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// Write there what each instruction of a round trip is, and what it is for
    #[arg(long, value_name = "FILE")]
    pub listing: Option<PathBuf>,
    /// Make them the figures that tests compare with, and that docs/performance.md shows
    #[arg(long)]
    pub accept: bool,
    #[command(flatten)]
    pub install: Install,
}

/// Do faults to running drivers while clients work, and judge what comes of it
///
/// Bits flip in code and data, registers go wild, interrupts are lost or come twice, drivers hang, loop, hoard memory, flood their tables, and
/// are killed at any instant. Printed are a table by fault and driver (how it was found out, after how many instructions, when the
/// driver served again, how long its client waited, what was damaged on the way and done over), a histogram, and a line of
/// what must be zero. The exit status is 0 only if all of that is. The same seed gives the same run, instruction for instruction;
/// for each batch that fails, the command that repeats it alone is printed. docs/chaos.md describes the method.
///
/// --cpu, --machine, --disk, --qemu and -v are for --with alone: faults to this tree's drivers are counted in instructions of one certain
/// machine.
///
/// With --syscalls it is `cargo xtask fuzz`.
#[derive(Args)]
pub struct Chaos {
    /// Only this driver: serial, keyboard or vga [default: all three]; with --with a task of that crate
    #[arg(value_name = "TASK")]
    pub task: Option<String>,
    /// Do it to the tasks of the crate in this directory: kills at moments that follow from the seed [default: 20], and no other fault
    ///
    /// No client knows their protocols: judged is that each comes back, that nobody else is harmed, and that no memory is lost.
    #[arg(long, value_name = "DIR", conflicts_with = "syscalls")]
    pub with: Vec<PathBuf>,
    #[command(flatten)]
    pub hardware: hardware::Hardware,
    /// From which all follows
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// How many faults, or system calls [default: 1000 faults, 10000000 system calls]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000_000))]
    pub count: Option<u64>,
    /// Do what `cargo xtask fuzz` does
    #[arg(long, conflicts_with = "task")]
    pub syscalls: bool,
    /// Write the figures there, and each fault
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// How many machines run at the same time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub jobs: u32,
    #[command(flatten)]
    pub install: Install,
}

/// Make system calls at random, on a kernel that checks itself
///
/// Six tasks make them at once, hold handles of every kind and kill themselves or are killed. The exit status is 0 only if there was no
/// kernel panic, no hang, no broken state and no leak. The same seed gives the same run, instruction for instruction; for each batch that
/// fails, the command that repeats it alone is printed. docs/fuzzing.md describes the method.
#[derive(Args)]
pub struct Fuzz {
    /// From which all follows
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// How many system calls
    #[arg(long, value_name = "N", default_value_t = lab::syscall_fuzz::COUNT, value_parser = clap::value_parser!(u64).range(1..=100_000_000_000))]
    pub count: u64,
    /// Write the figures there
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// How many machines run at the same time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub jobs: u32,
    #[command(flatten)]
    pub install: Install,
}

/// Boot the system under gdb, with symbols
///
/// Without a task the machine stops at the kernel's first instruction; with one, at that task's, and gdb knows its symbols too.
/// All tasks lie at the same addresses: `task-break PLACE`, a command that gdb is given, stops in that task alone. The guest runs
/// under emulation. When gdb ends, so does the guest.
#[derive(Args)]
pub struct Debug {
    /// The task to debug, as system.toml names it
    pub task: Option<String>,
    /// Boot from a disk image by BIOS and the boot loader, as a PC would; otherwise QEMU starts the kernel by itself
    #[arg(long, conflicts_with = "uefi")]
    pub bios: bool,
    /// Boot from a disk image by UEFI (q35 and OVMF) and the boot loader
    #[arg(long)]
    pub uefi: bool,
    /// The guest's memory, as a number with K, M or G, at least 32M
    #[arg(long, default_value = "256M", value_parser = memory)]
    pub memory: String,
    #[command(flatten)]
    pub hardware: hardware::Hardware,
    /// Where the guest's screen is shown; gdb has the terminal
    #[arg(long, value_enum, default_value_t)]
    pub display: qemu::Display,
    /// Have gdb execute these commands and end, for scripts; the exit status is gdb's
    #[arg(long, value_name = "CMD; CMD")]
    pub batch: Option<String>,
    /// Add the task crate in this directory; can be repeated
    #[arg(long, value_name = "DIR")]
    pub with: Vec<PathBuf>,
    /// End gdb and the guest after this many seconds, with a failure
    #[arg(long, value_name = "S")]
    pub timeout: Option<u64>,
    #[command(flatten)]
    pub install: Install,
}

/// Write the reference of what drivers are made of: the runtime, the system calls, and the protocol of each task that others call
///
/// Prints the path of the page to begin with. Whatever is undocumented, and every link that leads nowhere, is an error.
#[derive(Args)]
pub struct Doc {
    #[command(flatten)]
    pub install: Install,
}

/// Check formatting, and run clippy with warnings denied, on host and bare-metal code; and that the reference can be written
#[derive(Args)]
pub struct Lint {
    #[command(flatten)]
    pub install: Install,
}

/// Get everything that the other commands need: compiler, QEMU, boot loader
///
/// The other commands do this too when they need it. On Debian and its kin the compiler and QEMU come from apt-get (as
/// root, or through sudo), elsewhere the compiler comes from rustup. What is run, and why, is said first.
#[derive(Args)]
pub struct Setup {
    /// Also what --uefi needs: the firmware, and the loader for it
    #[arg(long)]
    pub uefi: bool,
    #[command(flatten)]
    pub install: Install,
}

#[derive(Args)]
pub struct Install {
    /// Install nothing: say what is missing and how to get it
    #[arg(long)]
    pub no_install: bool,
}

/// Checks an amount of memory.
fn memory(text: &str) -> Result<String, String> {
    let digits = text.trim_end_matches(['K', 'M', 'G', 'k', 'm', 'g']);
    let unit = match text.get(digits.len()..).unwrap_or_default().to_ascii_uppercase().as_str() {
        "K" => 1 << 10,
        "" | "M" => 1 << 20,
        "G" => 1u64 << 30,
        _ => 0,
    };
    match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)) {
        Some(bytes) if bytes >= 32 << 20 => Ok(format!("{}K", bytes >> 10)),
        Some(0) | None => Err("write a number and K, M or G, for example 256M".to_owned()),
        Some(_) => Err("the system needs at least 32M".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_help() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {} has no help", command.get_name(), argument.get_id());
            }
        }
    }

    #[test]
    fn memory_is_checked() {
        assert_eq!(memory("256M").as_deref(), Ok("262144K"));
        assert_eq!(memory("6G").as_deref(), Ok("6291456K"));
        assert_eq!(memory("64").as_deref(), Ok("65536K"));
        assert!(memory("16M").expect_err("too little").contains("at least"));
        for wrong in ["", "M", "12Q", "-5M", "99999999999999999999G", "1MM"] {
            assert!(memory(wrong).is_err(), "{wrong}");
        }
    }
}
