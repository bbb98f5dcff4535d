//! What a machine is made of beside its memory: processor, board, disks, and whatever else QEMU is told. One set of flags for every
//! command that boots something.

use crate::paths::Paths;
use crate::qemu::{Programs, escaped};
use crate::qmp::Qmp;
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The board of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Board {
    /// The i440FX of 1996, with IDE.
    Pc,
    /// The Q35 of 2007, with PCI Express and AHCI.
    Q35,
}

impl Board {
    /// What QEMU calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pc => "pc",
            Self::Q35 => "q35",
        }
    }

    /// How many disks its own controller takes.
    fn disks(self) -> usize {
        match self {
            Self::Pc => 4,
            Self::Q35 => 6,
        }
    }

    /// Where on its controller a disk is: two share a cable of IDE, each has one of its own with AHCI.
    fn place(self, disk: usize) -> (usize, usize) {
        match self {
            Self::Pc => (disk / 2, disk % 2),
            Self::Q35 => (disk, 0),
        }
    }
}

/// The flags.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Hardware {
    /// The guest's processor, as QEMU names it, with features if wanted: Haswell, or qemu64,+smep [default: max, which has all that is emulated; under KVM host]
    #[arg(long, value_name = "MODEL")]
    pub cpu: Option<String>,
    /// The guest's board [default: pc; with --uefi q35]
    #[arg(long, value_enum)]
    pub machine: Option<Board>,
    /// Attach this disk, raw or qcow2, to the board's own controller (pc: IDE; q35: AHCI); can be repeated
    ///
    /// It belongs to no driver of this system. The format follows from the file's first bytes: qcow2 if they are those of such a file,
    /// otherwise raw, where byte N of the file is byte N of the disk (`truncate -s 64M FILE` makes an empty one). On a pc (the default) the
    /// first two are drives 0 and 1 of the first IDE channel (ports 0x1F0 to 0x1F7 and 0x3F6, line 14), the next two those of the second
    /// (0x170 to 0x177 and 0x376, line 15). On a q35, number N is port N of the AHCI controller, at 00:1f.2 of PCI. `run` and `debug` write
    /// to the file what the guest writes, unless it may only be read; `test` and `chaos` leave it as it is, and the guest's writes end with
    /// its machine. For another controller, or another format, use --qemu.
    #[arg(long, value_name = "FILE")]
    pub disk: Vec<PathBuf>,
    /// Further arguments for QEMU, split into words as a shell does, for example --qemu "-device edu"; can be repeated
    ///
    /// They come last, so that they win over those that are there already.
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub qemu: Vec<String>,
    /// Print QEMU's whole command line
    #[arg(short, long)]
    pub verbose: bool,
}

impl Hardware {
    /// Checks what can be checked before anything is built or installed. `board` is the one that is meant where none is named.
    ///
    /// # Errors
    /// When a disk cannot be read, there are too many, or further arguments are no words.
    pub fn check(&self, board: Board) -> Result<()> {
        let board = self.machine.unwrap_or(board);
        let (many, most) = (self.disk.len(), board.disks());
        ensure!(
            many <= most,
            "--disk: {many} disks, but the board {} takes {most}; give the others a controller of their own, with --qemu \
             \"-drive if=none,id=more,format=raw,file=FILE -device virtio-blk-pci,drive=more\"",
            board.name()
        );
        for (number, disk) in self.disk.iter().enumerate() {
            Format::of(disk)?;
            ensure!(
                !self.disk.iter().take(number).any(|other| other == disk),
                "--disk {}: it is given twice; a disk can be attached once",
                disk.display()
            );
        }
        self.words().map(drop)
    }

    /// Checks the processor's name, where the QEMU that is to run it is known. Features are left to QEMU.
    ///
    /// # Errors
    /// When there is no such processor; the error lists those that there are.
    pub fn check_cpu(&self, programs: &Programs) -> Result<()> {
        let (Some(cpu), Some(qemu)) = (&self.cpu, &programs.qemu) else { return Ok(()) };
        let said = Command::new(qemu).args(["-cpu", "help"]).output().map(|done| done.stdout).unwrap_or_default();
        let models = models(&String::from_utf8_lossy(&said));
        let model = cpu.split(',').next().unwrap_or_default();
        // A QEMU that lists none is left to say for itself what it does not like.
        if models.is_empty() || models.iter().any(|known| known == model) {
            return Ok(());
        }
        let near = models.iter().find(|known| known.eq_ignore_ascii_case(model));
        let hint = near.map(|known| format!("; did you mean {known}?")).unwrap_or_default();
        bail!("--cpu {cpu}: QEMU has no processor `{model}`{hint}\nThere are: {}", models.join(" "))
    }

    /// The disks, as arguments for QEMU; `board` is the one that is meant where none is named. With `keep` the files stay as they are, and
    /// several machines can have them at a time.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn disk_arguments(&self, board: Board, keep: bool) -> Result<Vec<OsString>> {
        let board = self.machine.unwrap_or(board);
        let mut words = Vec::new();
        for (number, disk) in self.disk.iter().enumerate() {
            let format = Format::of(disk)?.name();
            let keep = keep || std::fs::OpenOptions::new().write(true).open(disk).is_err();
            let snapshot = if keep { "on" } else { "off" };
            let file = escaped(&std::path::absolute(disk).context("there is no current directory")?);
            words.push("-drive".into());
            words.push(format!("if=none,id=disk{number},format={format},snapshot={snapshot},file={file}").into());
            let (bus, unit) = board.place(number);
            words.extend(["-device".into(), format!("ide-hd,drive=disk{number},bus=ide.{bus},unit={unit}").into()]);
        }
        Ok(words)
    }

    /// The words of `--qemu`.
    ///
    /// # Errors
    /// When a quote is not closed.
    pub fn words(&self) -> Result<Vec<String>> {
        let mut words = Vec::new();
        for text in &self.qemu {
            let split = shlex::split(text);
            words.extend(split.with_context(|| {
                format!("--qemu {text:?}: a quote is not closed, or a backslash is the last character")
            })?);
        }
        Ok(words)
    }
}

/// What a processor must have, by the names of QEMU's properties, and what it is.
const NEEDED: [(&str, &str); 3] = [
    ("lm", "64-bit mode"),
    ("nx", "pages that cannot be executed"),
    ("syscall", "the instruction that calls the kernel"),
];

/// Checks that the processor of a machine that has not begun to run has all that the system needs: without it the screen stays black.
///
/// # Errors
/// When it has not; the error says what is missing.
pub(crate) fn check_features(cpu: &str, qmp: &mut Qmp) -> Result<()> {
    let cpus = qmp.execute("query-cpus-fast", json!({}))?;
    let Some(path) = cpus.get(0).and_then(|first| first.get("qom-path")).cloned() else { return Ok(()) };
    let missing = NEEDED.iter().filter(|(name, _)| {
        let has = qmp.execute("qom-get", json!({ "path": path, "property": name }));
        has.is_ok_and(|has| has == false)
    });
    let missing: Vec<_> = missing.map(|(name, what)| format!("{name} ({what})")).collect();
    ensure!(
        missing.is_empty(),
        "--cpu {cpu}: this processor cannot run the system, it has no {}; take another, qemu64 for example",
        missing.join(", no ")
    );
    Ok(())
}

/// A command as a shell takes it, to be printed.
#[must_use]
pub fn shell_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    // What QEMU's words are full of needs no quotes.
    let plain =
        |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "_./:,=+@%-".contains(c));
    let quoted = words.map(|word| {
        let word = word.to_string_lossy();
        if plain(&word) {
            return word.into_owned();
        }
        shlex::try_quote(&word).map(|quoted| quoted.into_owned()).unwrap_or_else(|_| format!("{word:?}"))
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// The names in what `-cpu help` prints: `x86 NAME   what it is`, up to an empty line.
fn models(text: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| !line.starts_with("Available CPUs")).skip(1);
    let names = lines.take_while(|line| !line.trim().is_empty()).filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().and_then(|first| if first == "x86" { words.next() } else { Some(first) })
    });
    names.map(str::to_owned).collect()
}

/// How a disk's file is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Raw,
    Qcow2,
}

/// The first bytes of a qcow2 file.
const QCOW2: &[u8; 4] = b"QFI\xfb";

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }

    /// Finds out from a file's first bytes. QEMU is never asked to: a guest writes what it likes to the first sector of its raw disk, and
    /// with a header there that names another file it would have that one for its disk the next time. So such a header counts
    /// only where the file's name says qcow2.
    fn of(disk: &Path) -> Result<Self> {
        let shown = Paths::shown(disk);
        let metadata = std::fs::metadata(disk);
        let metadata = metadata.with_context(|| {
            format!("--disk {shown}: it cannot be read; `truncate -s 64M {shown}` makes an empty disk of 64 MiB")
        })?;
        ensure!(!metadata.is_dir(), "--disk {shown}: it is a directory; give the file of a disk");
        let mut head = Vec::new();
        let read = std::fs::File::open(disk).and_then(|file| file.take(80).read_to_end(&mut head));
        read.with_context(|| format!("--disk {shown}: it cannot be read; may you read it?"))?;
        if metadata.is_file() {
            ensure!(
                metadata.len() >= 512,
                "--disk {shown}: it has {} bytes, less than one sector; `truncate -s 64M {shown}` makes it a disk of 64 MiB",
                metadata.len()
            );
        }
        if !head.starts_with(QCOW2) {
            return Ok(Self::Raw);
        }
        // Specification of QEMU, docs/interop/qcow2.txt: the offset of the backing file's name at byte 8, of 8 bytes; from version 3 on the
        // incompatible features at byte 72, whose bit 2 means that the data is in another file. Big-endian.
        let number = |at: usize, len: usize| {
            head.get(at..at + len).unwrap_or_default().iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let elsewhere = number(8, 8) != 0 || (number(4, 4) >= 3 && number(72, 8) & 4 != 0);
        let named = disk.extension().is_some_and(|kind| kind.eq_ignore_ascii_case("qcow2"));
        ensure!(
            named || !elsewhere,
            "--disk {shown}: it begins as a qcow2 file does that has its content in another file, but its name does not end in .qcow2. \
             If it is one, rename it; if it is a raw disk to which a guest has written that, use --qemu \
             \"-drive if=none,id=mine,format=raw,file={shown} -device ide-hd,drive=mine\""
        );
        Ok(Self::Qcow2)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Every flag, each with a value that is not the usual one.
    pub(crate) fn everything() -> Hardware {
        Hardware {
            cpu: Some("Haswell".to_owned()),
            machine: Some(Board::Q35),
            disk: vec!["a.img".into()],
            qemu: vec!["-device edu".to_owned()],
            verbose: true,
        }
    }

    fn said(result: Result<()>) -> String {
        format!("{:#}", result.expect_err("it is wrong"))
    }

    #[test]
    fn further_arguments_are_split_as_a_shell_does() {
        let words = |text: &[&str]| {
            let qemu = text.iter().map(|text| (*text).to_owned()).collect();
            Hardware { qemu, ..Hardware::default() }.words()
        };
        let good = words(&["-device edu", "-name 'a b' -append \"it's\" c\\ d"]).expect("they are whole");
        assert_eq!(good, ["-device", "edu", "-name", "a b", "-append", "it's", "c d"]);
        assert!(words(&["-name 'a"]).expect_err("open").to_string().contains("-name 'a"));
        assert!(words(&[]).expect("nothing").is_empty());
    }

    #[test]
    fn a_printed_line_can_be_given_to_a_shell() {
        let mut command = Command::new("/usr/bin/qemu");
        command.args(["-drive", "file=/a b/it's,,x", "-name", "", "-cpu", "max,+smep"]);
        let line = shell_line(&command);
        let words = shlex::split(&line).expect("whole");
        assert_eq!(words, ["/usr/bin/qemu", "-drive", "file=/a b/it's,,x", "-name", "", "-cpu", "max,+smep"]);
        assert!(line.ends_with(" -cpu max,+smep"), "{line}");
    }

    #[test]
    fn processors_are_read_from_what_qemu_lists() {
        let text = "Available CPUs:\nx86 486                   (alias configured by machine type)\nx86 Haswell-v1  Intel\n\
            x86 max                   Enables all\n\nRecognized CPUID flags:\n  3dnow abm\n";
        assert_eq!(models(text), ["486", "Haswell-v1", "max"]);
        assert_eq!(models("Available CPUs:\n  max\n  qemu64\n"), ["max", "qemu64"]);
        assert!(models("what?").is_empty());
    }

    #[test]
    fn a_processor_that_is_not_there_is_told_with_those_that_are() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let qemu = dir.path().join("qemu");
        crate::toolchain::script(&qemu, "printf 'Available CPUs:\\nx86 Haswell  x\\nx86 max  y\\n\\n'\n")
            .expect("a script");
        let programs = Programs { qemu: Some(qemu), ovmf: None };
        let check = |cpu: &str| Hardware { cpu: Some(cpu.to_owned()), ..Hardware::default() }.check_cpu(&programs);
        check("max").expect("it is there");
        check("Haswell,+smep,-x2apic").expect("features are not looked at");
        let error = said(check("haswell"));
        assert!(
            error.contains("--cpu haswell") && error.contains("mean Haswell?") && error.contains("Haswell max"),
            "{error}"
        );
        assert!(said(check("nonsense")).contains("There are: Haswell max"));
        assert!(said(check("")).contains("There are"));
    }

    #[test]
    fn disks_are_checked_and_attached() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str, head: &[u8]| {
            let path = dir.path().join(name);
            let mut bytes = head.to_vec();
            bytes.resize(1024, 0);
            std::fs::write(&path, bytes).expect("written");
            path
        };
        let with = |disk: &[&PathBuf]| Hardware {
            disk: disk.iter().map(|&path| path.clone()).collect(),
            ..Hardware::default()
        };
        let raw = file("a,b.img", b"");
        let plain = file("plain.img", b"QFI\xfb\0\0\0\x03");
        let mut backed = b"QFI\xfb\0\0\0\x03".to_vec();
        backed.extend([0, 0, 0, 0, 0, 0, 2, 0]);
        let (named, disguised) = (file("backed.qcow2", &backed), file("backed.img", &backed));
        let mut apart = b"QFI\xfb\0\0\0\x03".to_vec();
        apart.resize(79, 0);
        apart.push(4);
        let apart = file("apart.raw", &apart);
        let good = with(&[&raw, &plain, &named]);
        good.check(Board::Pc).expect("they are good");
        let words = |keep| {
            let words = good.disk_arguments(Board::Pc, keep).expect("they are there");
            words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(words(false).len(), 12);
        assert!(words(false)[1].starts_with("if=none,id=disk0,format=raw,snapshot=off,file=/"), "{:?}", words(false));
        assert!(words(false)[1].ends_with("/a,,b.img") && words(false)[5].contains("format=qcow2"));
        assert_eq!(words(false)[11], "ide-hd,drive=disk2,bus=ide.1,unit=0");
        let q35 = good.disk_arguments(Board::Q35, false).expect("they are there");
        assert_eq!(q35[11].to_string_lossy(), "ide-hd,drive=disk2,bus=ide.2,unit=0");
        assert!(words(true).iter().filter(|word| word.contains("snapshot=on")).count() == 3);
        for disguised in [&disguised, &apart] {
            assert!(said(with(&[disguised]).check(Board::Pc)).contains("does not end in .qcow2"));
        }
        let missing = dir.path().join("none.img");
        assert!(said(with(&[&missing]).check(Board::Pc)).contains("truncate -s 64M"));
        assert!(said(with(&[&dir.path().to_path_buf()]).check(Board::Pc)).contains("directory"));
        let empty = dir.path().join("empty.img");
        std::fs::write(&empty, "").expect("written");
        assert!(said(with(&[&empty]).check(Board::Pc)).contains("less than one sector"));
        assert!(said(with(&[&raw, &raw]).check(Board::Pc)).contains("twice"));
        let many: Vec<_> = (0..7).map(|number| file(&format!("{number}.img"), b"")).collect();
        let many: Vec<_> = many.iter().collect();
        with(&many[..4]).check(Board::Pc).expect("four");
        assert!(said(with(&many[..5]).check(Board::Pc)).contains("takes 4"));
        with(&many[..6]).check(Board::Q35).expect("six");
        assert!(said(with(&many).check(Board::Q35)).contains("takes 6"));
    }
}
