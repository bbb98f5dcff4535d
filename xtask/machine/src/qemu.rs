//! Starts QEMU, watches it, and tells how it ended.

mod programs;

use crate::children::{self, Guarded};
use crate::direct;
use crate::hardware::{Hardware, check_features, shell_line};
use crate::loader::{Firmware, tail};
use crate::paths;
use crate::qmp::Qmp;
use crate::ui::say;
use anyhow::{Context, Result, bail};
pub use programs::Programs;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How the guest's instructions are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Accel {
    /// KVM where the processor itself has VT-x or AMD-V, else emulation.
    #[default]
    Auto,
    /// Emulation: slower, the same everywhere.
    Tcg,
    /// The processor's virtualisation; fails where there is none.
    Kvm,
}

/// Where the guest's screen is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Display {
    /// A window if there is a desktop and QEMU can open one, else none.
    #[default]
    Auto,
    /// The text screen in this terminal; the serial console is then only logged.
    Curses,
    /// A window.
    Gtk,
    /// Nowhere; the serial console is on the terminal.
    None,
}

/// A machine to be started.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The disk image to boot; it is not written to.
    pub image: PathBuf,
    /// What boots it.
    pub firmware: Firmware,
    /// As QEMU takes it, for example `256M`.
    pub memory: String,
    /// Processors.
    pub smp: u32,
    /// TCG or KVM.
    pub accel: Accel,
    /// The screen.
    pub display: Display,
    /// Its time is counted in its own instructions, each of 2 to the power of this nanoseconds, so that a run repeats exactly, and its
    /// serial line goes to a file alone. TCG only.
    pub counted: Option<u32>,
    /// An item of QEMU's firmware configuration device for the guest, and its content.
    pub told: Option<(&'static str, String)>,
    /// A debugger can be attached, at [`Qemu::gdb_socket`]; the machine has a process group of its own, which Ctrl-C does not reach.
    pub debugged: bool,
    /// Ports 0xEA and 0xEB lead to the files `trace-ea` and `trace-eb` among the logs.
    pub traced: bool,
    /// Processor, board, disks, and further arguments.
    pub hardware: Hardware,
    /// Whether what the guest writes to those disks is forgotten, so that several machines can have the same ones.
    pub keeps_disks: bool,
    /// Whether a reset reboots the machine; else it ends it, and a triple fault is seen at once.
    pub reboots: bool,
    /// Where the serial line, the kernel's log and QEMU's own words are kept.
    pub logs: PathBuf,
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest switched the power off.
    PoweredOff,
    /// The guest was reset: it asked for it, or it faulted three times.
    Reset,
    /// The guest wrote this value to isa-debug-exit.
    DebugExit(u32),
    /// We ended it.
    Stopped,
    /// QEMU failed by itself; its words.
    Failed(String),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PoweredOff => write!(f, "the machine was switched off"),
            Self::Reset => write!(f, "the machine was reset (by a triple fault, unless `reboot` was asked for)"),
            Self::DebugExit(PANIC_VALUE) => write!(f, "the kernel panicked"),
            Self::DebugExit(value) => {
                write!(f, "the guest ended QEMU through isa-debug-exit with the value {value:#x}")
            }
            Self::Stopped => write!(f, "the machine was stopped from outside"),
            Self::Failed(words) => write!(f, "{words}"),
        }
    }
}

/// The file among the logs that has what the guest sent on its first serial line.
pub const SERIAL_LOG: &str = "serial.log";

/// What the kernel writes to isa-debug-exit when it panics.
pub const PANIC_VALUE: u32 = 0x12;

/// A running machine. It ends when this value goes.
pub struct Qemu {
    child: Guarded,
    /// QEMU's control connection.
    pub qmp: Qmp,
    /// The Unix socket of the first serial line.
    pub serial_socket: PathBuf,
    /// The Unix socket at which a debugger is served, where the machine is to be debugged.
    pub gdb_socket: PathBuf,
    /// When the guest's first instruction ran.
    pub(crate) started: Instant,
    reason: Option<String>,
    stopped: bool,
    logs: PathBuf,
    // Dropped after the child, whose sockets it holds.
    _sockets: tempfile::TempDir,
}

impl Machine {
    /// Starts QEMU with the guest stopped, so that no byte of its output is lost: [`Qemu::go`] lets it run.
    ///
    /// # Errors
    /// When QEMU cannot be started, or ends at once; the error says what QEMU said and what to do.
    pub fn start(&self, programs: &Programs) -> Result<Qemu> {
        let qemu = programs.qemu.as_ref().context(
            "QEMU (qemu-system-x86_64) is not installed; `cargo xtask setup` installs it (Debian: package qemu-system-x86)",
        )?;
        if !self.image.is_file() {
            bail!("there is no disk image {}; `cargo xtask image` makes one", self.image.display());
        }
        paths::create_dir(&self.logs)?;
        let sockets = socket_dir()?;
        let mut command = Command::new(qemu);
        self.arguments(&mut command, programs, sockets.path())?;
        let stderr_path = self.logs.join("qemu.log");
        let stderr = std::fs::File::create(&stderr_path).map_err(|error| paths::disk_error(&error, &stderr_path))?;
        if self.hardware.verbose {
            say(format!("QEMU's command line: {}", shell_line(&command)));
        }
        command.env("TMPDIR", sockets.path()).env_remove("LD_LIBRARY_PATH").stderr(stderr);
        if self.display != Display::Curses {
            command.stdin(Stdio::null()).stdout(Stdio::null());
        }
        let mut child =
            if self.debugged { children::spawn_build(&mut command)? } else { children::spawn(&mut command)? };
        let control = sockets.path().join("qmp");
        let end = Instant::now() + Duration::from_secs(20);
        let mut qmp = loop {
            match Qmp::connect(&control) {
                Ok(qmp) => break qmp,
                Err(_) if child.try_wait()?.is_none() && Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => {
                    let said = tail(&stderr_path, 8);
                    if child.try_wait()?.is_some() {
                        bail!("QEMU ended at once. {}It said:\n{said}", advice(&said));
                    }
                    bail!("QEMU does not answer ({error:#}); it said:\n{said}");
                }
            }
        };
        if let Some(cpu) = &self.hardware.cpu {
            check_features(cpu, &mut qmp)?;
        }
        Ok(Qemu {
            child,
            qmp,
            serial_socket: sockets.path().join("serial"),
            gdb_socket: sockets.path().join("gdb"),
            started: Instant::now(),
            reason: None,
            stopped: false,
            logs: self.logs.clone(),
            _sockets: sockets,
        })
    }

    fn arguments(&self, command: &mut Command, programs: &Programs, dir: &Path) -> Result<()> {
        let file = |name: &str| escaped(&self.logs.join(name));
        let kvm = match self.accel {
            Accel::Tcg => false,
            Accel::Auto => kvm_is_real() && kvm_opens(),
            Accel::Kvm if kvm_opens() => true,
            Accel::Kvm => bail!(
                "--accel kvm: /dev/kvm cannot be opened; enable virtualisation and join the group kvm, or use --accel tcg"
            ),
        };
        command.args(["-name", "enigma", "-nodefaults", "-no-user-config", "-vga", "std", "-S"]);
        let (accel, cpu) = if kvm { ("kvm", "host") } else { ("tcg", "max") };
        command.args(["-accel", accel, "-cpu", self.hardware.cpu.as_deref().unwrap_or(cpu)]);
        if let Some(shift) = self.counted {
            command.args(["-icount", &format!("shift={shift},sleep=off"), "-rtc", "base=2026-01-01,clock=vm"]);
        }
        if let Some((name, content)) = &self.told {
            // A comma would end the content.
            command.arg("-fw_cfg").arg(format!("name={name},string={}", content.replace(',', ",,")));
        }
        command.args(["-m", &self.memory, "-smp", &self.smp.to_string()]);
        let action = if self.reboots { "reboot=reset,shutdown=poweroff" } else { "reboot=shutdown,shutdown=poweroff" };
        command.args(["-action", action]);
        command.args(["-machine", self.hardware.machine.unwrap_or(self.firmware.board()).name()]);
        match self.firmware {
            Firmware::Pvh | Firmware::Bios => {}
            Firmware::Uefi => {
                let ovmf = programs.ovmf.as_ref().context(
                    "OVMF, the UEFI firmware for QEMU, is not installed; `cargo xtask setup --uefi` installs it \
                     (Debian: package ovmf)",
                )?;
                // The firmware writes to its variables: each machine has its own.
                let vars = dir.join("vars.fd");
                std::fs::copy(&ovmf.vars, &vars).map_err(|error| paths::disk_error(&error, &vars))?;
                command.arg("-drive").arg(format!("if=pflash,format=raw,readonly=on,file={}", escaped(&ovmf.code)));
                command.arg("-drive").arg(format!("if=pflash,format=raw,file={}", escaped(&vars)));
            }
        };
        if self.firmware == Firmware::Pvh {
            command.arg("-kernel").arg(direct::beside(&self.image)).arg("-initrd").arg(&self.image);
        } else {
            // snapshot: the image stays as it is, and several machines can boot the same one. virtio: the loader reads
            // the disk through the firmware, which takes half the time of the whole boot with an IDE disk.
            command
                .arg("-drive")
                .arg(format!("if=none,id=boot,format=raw,snapshot=on,file={}", escaped(&self.image)))
                .args(["-device", "virtio-blk-pci,drive=boot,bootindex=0"]);
        }
        command.arg("-chardev").arg(match self.counted.is_some() {
            // A file takes every byte at once; a socket does when the reader pleases.
            true => format!("file,id=serial,path={}", file(SERIAL_LOG)),
            false => {
                let socket = format!("socket,id=serial,server=on,wait=off,path={}", escaped(&dir.join("serial")));
                // Whoever else reads the line keeps its log.
                if self.debugged { format!("{socket},logfile={}", file(SERIAL_LOG)) } else { socket }
            }
        });
        command.args(["-serial", "chardev:serial"]);
        if self.counted.is_some() {
            // A second line that leads nowhere, for whoever wants a device of its own.
            command.args(["-serial", "null"]);
        }
        command.arg("-chardev").arg(format!("file,id=kernel-log,path={}", file("kernel.log")));
        command.args(["-device", "isa-debugcon,iobase=0xe9,chardev=kernel-log"]);
        for port in ["ea", "eb"].into_iter().filter(|_| self.traced) {
            command.arg("-chardev").arg(format!("file,id=trace-{port},path={}", file(&format!("trace-{port}"))));
            command.args(["-device", &format!("isa-debugcon,iobase=0x{port},chardev=trace-{port}")]);
        }
        command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
        command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", escaped(&dir.join("qmp"))));
        if self.debugged {
            command.arg("-gdb").arg(format!("unix:{},server=on,wait=off", escaped(&dir.join("gdb"))));
        }
        command.args(["-display", self.display.resolve(programs)?]);
        command.args(self.hardware.disk_arguments(self.firmware.board(), self.keeps_disks)?);
        command.args(self.hardware.words()?);
        Ok(())
    }
}

impl Display {
    /// What QEMU is told.
    fn resolve(self, programs: &Programs) -> Result<&'static str> {
        let can = |name: &str| {
            let qemu = programs.qemu.as_ref()?;
            let done = Command::new(qemu).args(["-display", "help"]).output().ok()?;
            String::from_utf8_lossy(&done.stdout).lines().any(|line| line.trim() == name).then_some(())
        };
        match self {
            Self::None => Ok("none"),
            Self::Auto => {
                let desktop = ["DISPLAY", "WAYLAND_DISPLAY"]
                    .iter()
                    .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
                Ok(if desktop && can("gtk").is_some() { "gtk" } else { "none" })
            }
            Self::Gtk => can("gtk")
                .map(|()| "gtk")
                .context("--display gtk: this QEMU cannot open windows (Debian: install the package qemu-system-gui)"),
            Self::Curses => {
                can("curses").map(|()| "curses").context("--display curses: this QEMU was built without it")
            }
        }
    }
}

impl Qemu {
    /// Lets the guest run.
    ///
    /// # Errors
    /// When QEMU has gone.
    pub fn go(&mut self) -> Result<()> {
        self.started = Instant::now();
        self.qmp.execute("cont", json!({}))?;
        Ok(())
    }

    /// Whether the machine has ended.
    ///
    /// # Errors
    /// When the system will not say.
    pub(crate) fn ended(&mut self) -> Result<bool> {
        self.note();
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for the machine to end by itself.
    ///
    /// # Errors
    /// When the system will not say.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<End>> {
        let Some(status) = self.child.wait_for(limit)? else { return Ok(None) };
        for event in self.qmp.last_events(Duration::from_secs(2)) {
            self.reason = event.shutdown_reason().map(str::to_owned).or(self.reason.take());
        }
        let end = match (status.code(), self.reason.as_deref()) {
            _ if self.stopped => End::Stopped,
            (Some(0), Some("guest-shutdown")) => End::PoweredOff,
            (Some(0), Some("guest-reset")) => End::Reset,
            (Some(0), _) => End::Stopped,
            // QEMU exits with the written value twice, plus one.
            (Some(code), _) if code & 1 == 1 && code > 1 => End::DebugExit(code.cast_unsigned() >> 1),
            _ => End::Failed(format!("QEMU failed ({status}); it said:\n{}", tail(&self.logs.join("qemu.log"), 8))),
        };
        Ok(Some(end))
    }

    /// Ends the machine now, from outside.
    pub fn stop(&mut self) {
        self.stopped = true;
        let _ = self.qmp.execute("quit", json!({}));
        if !matches!(self.child.wait_for(Duration::from_secs(2)), Ok(Some(_))) {
            self.child.kill();
        }
    }

    fn note(&mut self) {
        for event in self.qmp.events() {
            self.reason = event.shutdown_reason().map(str::to_owned).or(self.reason.take());
        }
    }
}

/// A directory for sockets, whose paths must be short (108 bytes on Linux).
fn socket_dir() -> Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("enigma-");
    let mut dir = builder.tempdir().context("cannot make a directory for temporary files; is the disk full?")?;
    if dir.path().as_os_str().len() >= 80 {
        dir = builder.tempdir_in("/tmp").context("TMPDIR is too long for a socket, and /tmp cannot be used")?;
    }
    children::remove_on_signal(dir.path());
    Ok(dir)
}

/// A path inside one of QEMU's comma-separated options.
pub fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// KVM is worth it only where the processor itself has it: a nested, paravirtual /dev/kvm is slower than emulation.
fn kvm_is_real() -> bool {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    has_virtualisation(&text)
}

fn has_virtualisation(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter(|line| line.starts_with("flags"))
        .any(|line| line.split_whitespace().any(|flag| flag == "vmx" || flag == "svm"))
}

fn kvm_opens() -> bool {
    std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok()
}

/// What the user can do about QEMU's complaint.
fn advice(said: &str) -> &'static str {
    let known = [
        ("Cannot allocate memory", "This machine has too little memory for the guest: use a smaller --memory. "),
        ("cannot set up guest memory", "This machine has too little memory for the guest: use a smaller --memory. "),
        ("invalid accelerator", "This QEMU has no such accelerator: use --accel tcg. "),
        ("failed to initialize kvm", "KVM does not work here: use --accel tcg. "),
        ("No space left", "The disk is full: free 50 MB and try again. "),
        ("Failed to get", "Another program holds the disk image or a log: end it, or wait for it. "),
        ("Address already in use", "The port or socket is in use: end the other QEMU, or wait for it. "),
        ("gtk initialization failed", "No window can be opened: use --display none. "),
        ("Failed to lock byte", "Another program has the disk: end it, or wait for it. "),
        ("requires KVM", "That processor needs --accel kvm; emulation has --cpu max. "),
        ("Property", "The processor or the device has no such feature: see --cpu and --qemu. "),
        ("invalid option", "QEMU does not know what --qemu gave it. "),
        (
            "is not a valid device model name",
            "QEMU has no such device: see --qemu, and `qemu-system-x86_64 -device help`. ",
        ),
        ("SMP CPUs", "This machine type takes fewer processors: use a smaller --smp. "),
        ("Invalid SMP", "This machine type takes fewer processors: use a smaller --smp. "),
    ];
    known.iter().find(|(words, _)| said.contains(words)).map_or("", |(_, advice)| advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_processors_own_flags_count() {
        assert!(has_virtualisation("processor\t: 0\nflags\t\t: fpu vmx sse\n"));
        assert!(has_virtualisation("flags\t\t: svm\n"));
        assert!(!has_virtualisation("flags\t\t: fpu sse\nvmx flags\t: none\nmodel name: vmx\n"));
    }

    #[test]
    fn commas_in_paths_are_kept() {
        assert_eq!(escaped(Path::new("/a,b/c")), "/a,,b/c");
    }

    #[test]
    fn complaints_get_advice() {
        assert!(advice("qemu: cannot set up guest memory 'pc.ram': Cannot allocate memory").contains("--memory"));
        assert!(advice("qemu: -drive: Failed to get shared \"write\" lock").contains("Another program"));
        assert_eq!(advice("something else"), "");
    }

    #[test]
    fn a_machine_without_image_says_so() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let machine = Machine {
            image: dir.path().join("no.img"),
            firmware: Firmware::Pvh,
            memory: "64M".to_owned(),
            smp: 1,
            accel: Accel::Tcg,
            display: Display::None,
            counted: None,
            told: None,
            traced: false,
            debugged: false,
            reboots: false,
            hardware: Hardware::default(),
            keeps_disks: false,
            logs: dir.path().join("logs"),
        };
        let programs = Programs { qemu: Some("/bin/false".into()), ovmf: None };
        let error = machine.start(&programs).err().expect("no image");
        assert!(error.to_string().contains("cargo xtask image"), "{error}");
        let without = Programs { qemu: None, ovmf: None };
        assert!(machine.start(&without).err().expect("no QEMU").to_string().contains("setup"));
    }
}
