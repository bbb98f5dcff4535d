//! QEMU's models of real devices, without a kernel: device logic runs on the host, and each access
//! to a port or to memory is passed to QEMU.
//!
//! A device that a test defines behaves as its author believes the chip does, while QEMU's models
//! have been used with every operating system. So a test is written once, over [`Port`] or a trait
//! of the driver's, and runs with both.
//!
//! ```
//! use rt::port::Port;
//! use rt::testing::qemu::Machine;
//! use std::time::Duration;
//!
//! let machine = Machine::start(&[]);
//! let mut clock = machine.ports(0x70, 2);
//! clock.write8(0, 0); // The register of the seconds.
//! assert_eq!(clock.read8(1), 5);
//! machine.run(Duration::from_secs(2));
//! assert_eq!(clock.read8(1), 7);
//! ```
//!
//! # The machine
//! A `pc` (PIIX3) with 16 MiB of memory, without a disk or an operating system: interrupt
//! controllers, 8254, clock chip, i8042, and a UART at COM1. Its clock chip shows 2026-01-02
//! 03:04:05 at the start. QEMU's arguments add more devices, such as `["-vga", "std"]`, or a disk:
//! `["-drive", "file=FILE,format=raw,if=ide,index=0"]`. A flash chip (`-drive if=pflash`) takes the
//! place of the firmware by which the machine starts, so it is not possible.
//!
//! # Time
//! The machine's clock, and with it every timer of a device, stands still until [`Machine::run`]
//! lets it advance. Effects that need no timer happen at once.
//!
//! # Source
//! QEMU's "QTest Device Emulation Testing Framework" (docs/devel/testing/qtest.rst and the protocol
//! in softmmu/qtest.c), "QEMU Machine Protocol Specification" and "QEMU QMP Reference Manual".

use crate::port::Port;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::time::Duration;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::sleep;
use std::time::Instant;

mod firmware;
mod picture;
mod process;
mod talk;

pub use picture::Picture;

use process::Process;
use talk::{Control, Lines};

/// How long QEMU may take to start, to answer, or to do what a test waits for. It needs
/// milliseconds, unless the host is heavily loaded.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The number of interrupt lines that are watched: those of the 8259s.
const LINES: usize = 16;

/// A machine whose devices a test accesses. It ends with the last of its [`Ports`] and [`Memory`],
/// also if the test panics or is killed.
///
/// # Panics
/// Everything here panics with QEMU's message if QEMU fails, refuses, or does not answer within
/// [`PATIENCE`], as a test can only fail then.
#[derive(Clone)]
pub struct Machine(Rc<RefCell<Running>>);

struct Running {
    registers: Lines,
    control: Control,
    /// The other end of the machine's serial line.
    line: UnixStream,
    levels: [bool; LINES],
    rises: [u32; LINES],
    process: Process,
}

impl Machine {
    /// Starts a machine with these additional arguments of QEMU's. `qemu-system-x86_64` is the
    /// first on `PATH`, as for `cargo xtask run`.
    ///
    /// # Panics
    /// If there is no QEMU, or it does not start.
    pub fn start(arguments: &[&str]) -> Machine {
        let flash = arguments.iter().any(|argument| argument.contains("pflash"));
        assert!(!flash, "a flash chip would take the place of the firmware by which this machine starts");
        let dir = process::directory();
        let listen = |name: &str| {
            let path = dir.join(name);
            let listener = UnixListener::bind(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            listener.set_nonblocking(true).expect("a socket can be set not to block");
            listener
        };
        let (registers, control, line) = (listen("registers"), listen("control"), listen("line"));
        std::fs::write(dir.join("firmware"), firmware::image()).expect("a file in a directory just made");
        let socket = |name: &str| format!("unix:{}", dir.join(name).display());
        let firmware = dir.join("firmware").display().to_string();
        let [to_registers, to_control, to_line] = ["registers", "control", "line"].map(socket);
        let words = [
            // Each instruction takes 1024 ns, so time advances exactly as far as the firmware
            // counts.
            &["-accel", "tcg", "-icount", "shift=10", "-S"][..],
            &["-machine", "pc", "-m", "16", "-nodefaults", "-no-user-config", "-display", "none"],
            // A write to the port of this device stops the machine.
            &["-device", "pvpanic", "-action", "panic=pause"],
            &["-rtc", "base=2026-01-02T03:04:05,clock=vm"],
            &["-bios", &firmware],
            &["-qtest-log", "/dev/null", "-qtest", &to_registers, "-qmp", &to_control],
            &["-serial", &to_line],
            arguments,
        ]
        .concat();
        let mut process = Process::start(&words, dir);
        let mut accept = |listener| accept(listener, &mut process);
        // In the order in which QEMU connects.
        let (line, control, registers) = (accept(line), accept(control), accept(registers));
        line.set_nonblocking(true).expect("a socket can be set not to block");
        let machine = Machine(Rc::new(RefCell::new(Running {
            registers: Lines::new(registers, process.words()),
            control: Control::new(Lines::new(control, process.words())),
            line,
            levels: [false; LINES],
            rises: [0; LINES],
            process,
        })));
        machine.ask("irq_intercept_in ioapic");
        // The firmware runs to the point at which it stops.
        machine.run(Duration::ZERO);
        machine
    }

    /// `len` I/O ports from number `base` on.
    pub fn ports(&self, base: u16, len: u16) -> Ports {
        Ports { machine: self.clone(), base, len }
    }

    /// `len` bytes of physical memory from address `base` on, of a device or RAM.
    pub fn memory(&self, base: u64, len: usize) -> Memory {
        Memory { machine: self.clone(), base, len }
    }

    /// Advances the machine's time by at least `time`, plus the little that it takes to stop the
    /// machine.
    pub fn run(&self, time: Duration) {
        self.resume(time);
        self.0.borrow_mut().control.event("STOP");
    }

    /// Whether an interrupt line of the 8259s is high.
    pub fn level(&self, line: usize) -> bool {
        self.look();
        self.0.borrow().levels.get(line).copied().unwrap_or(false)
    }

    /// How often an interrupt line has risen since the start, which is how often an edge-triggered
    /// controller would have noticed.
    pub fn rises(&self, line: usize) -> u32 {
        self.look();
        self.0.borrow().rises.get(line).copied().unwrap_or(0)
    }

    /// Sends bytes from the other end of the serial line. The UART takes them when it has room.
    pub fn send(&self, bytes: &[u8]) {
        let mut rest = bytes;
        self.until("QEMU takes the bytes sent over the serial line", || {
            match self.0.borrow_mut().line.write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("the serial line broke: {error}"),
            }
            rest.is_empty()
        });
    }

    /// The bytes that have arrived at the other end of the serial line since the last call: see
    /// [`Machine::until`].
    pub fn received(&self) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            match self.0.borrow_mut().line.read(&mut buffer) {
                Ok(0) => panic!("the serial line broke: QEMU has gone"),
                Ok(count) => all.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return all,
                Err(error) => panic!("the serial line broke: {error}"),
            }
        }
    }

    /// Presses and releases keys one after the other, by QEMU's names for them ("a", "shift",
    /// "kp_4", "left"; type `QKeyCode` of the QMP reference), while 100 ms of the machine's time
    /// pass, since a machine that stands still takes no keys.
    pub fn press(&self, keys: &[&str]) {
        let events: Vec<_> = keys.iter().flat_map(|key| [(*key, true), (*key, false)]).collect();
        self.keys(&events);
    }

    /// Presses keys (where the flag is true) or releases them, while 100 ms of the machine's time
    /// pass.
    pub fn keys(&self, events: &[(&str, bool)]) {
        let event = |&(key, down): &(&str, bool)| {
            format!(r#"{{"type":"key","data":{{"down":{down},"key":{{"type":"qcode","data":"{key}"}}}}}}"#)
        };
        let events: Vec<_> = events.iter().map(event).collect();
        self.input(&events.join(","));
    }

    /// Moves the mouse, while 100 ms of the machine's time pass.
    pub fn move_mouse(&self, x: i32, y: i32) {
        let axis = |axis, by| format!(r#"{{"type":"rel","data":{{"axis":"{axis}","value":{by}}}}}"#);
        self.input(&[axis("x", x), axis("y", y)].join(","));
    }

    fn input(&self, events: &str) {
        let command = format!(r#"{{"execute":"input-send-event","arguments":{{"events":[{events}]}}}}"#);
        // Time is counted by the machine's own instructions, and may be over before the command
        // arrives. Then the command must be repeated.
        self.until("the machine takes input while it runs", || {
            self.resume(Duration::from_millis(100));
            let done = self.0.borrow_mut().control.try_ask(&command);
            self.0.borrow_mut().control.event("STOP");
            done.is_ok()
        });
    }

    /// The picture on the screen.
    pub fn picture(&self) -> Picture {
        let file = self.0.borrow().process.dir().join("picture");
        let command = format!(r#"{{"execute":"screendump","arguments":{{"filename":"{}"}}}}"#, file.display());
        self.0.borrow_mut().control.ask(&command);
        let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("QEMU's picture of the screen: {error}"));
        Picture::parse(&bytes).expect("QEMU's picture of the screen is a portable pixmap")
    }

    /// Runs a command of QEMU's control protocol, given as one line of JSON, and returns the line
    /// of its answer.
    ///
    /// # Panics
    /// Also if QEMU answers with an error.
    pub fn control(&self, command: &str) -> String {
        self.0.borrow_mut().control.ask(command)
    }

    /// Calls `done` repeatedly until it returns true: what goes through QEMU's main loop, such as
    /// the serial line, takes a moment of the host's time. The machine's time stands still
    /// meanwhile.
    ///
    /// # Panics
    /// After [`PATIENCE`]; the message contains `what`.
    pub fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < end, "{} s were not enough until {what}", PATIENCE.as_secs());
            sleep(Duration::from_millis(1));
        }
    }

    /// Makes the firmware count for `time`, and lets it run.
    fn resume(&self, time: Duration) {
        self.ask(&format!("writel {:#x} {:#x}", firmware::COUNT, firmware::count(time)));
        self.0.borrow_mut().control.ask(r#"{"execute":"cont"}"#);
    }

    /// Updates the levels of the interrupt lines: QEMU reports changes before its next answer.
    fn look(&self) {
        self.ask(&format!("readb {:#x}", firmware::COUNT));
    }

    /// Performs a command of the test protocol; returns its value, or 0 if it has none.
    fn ask(&self, command: &str) -> u64 {
        let Running { registers, levels, rises, .. } = &mut *self.0.borrow_mut();
        registers.put(command);
        loop {
            let line = registers.take();
            let mut words = line.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some("IRQ"), Some(edge), Some(number)) => {
                    let number: usize = number.parse().unwrap_or(LINES);
                    let raised = edge == "raise";
                    if let (Some(level), Some(rises)) = (levels.get_mut(number), rises.get_mut(number)) {
                        *rises += u32::from(raised && !*level);
                        *level = raised;
                    }
                }
                (Some("OK"), None, _) => return 0,
                (Some("OK"), Some(value), _) => {
                    let digits = value.trim_start_matches("0x");
                    return u64::from_str_radix(digits, 16)
                        .unwrap_or_else(|_| panic!("QEMU answers {command:?} with {line:?}"));
                }
                _ => panic!("QEMU answers {command:?} with {line:?}"),
            }
        }
    }
}

/// Accepts a connection to `listener`.
fn accept(listener: UnixListener, process: &mut Process) -> UnixStream {
    let end = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).expect("a socket can be set to block");
                stream.set_write_timeout(Some(PATIENCE)).expect("a socket can have a limit");
                return stream;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("QEMU cannot be reached: {error}"),
        }
        process.check();
        assert!(Instant::now() < end, "QEMU has not started within {} s", PATIENCE.as_secs());
        sleep(Duration::from_millis(1));
    }
}

/// I/O ports of a [`Machine`].
#[derive(Clone)]
pub struct Ports {
    machine: Machine,
    base: u16,
    len: u16,
}

impl Ports {
    /// The number of the port at `offset`. Panics if `width` ports do not fit there.
    #[track_caller]
    fn at(&self, offset: u16, width: u32) -> u16 {
        let (base, len) = (self.base, self.len);
        assert!(offset as u32 + width <= len as u32, "port offset {offset:#x} is beyond the range {base:#x}+{len:#x}");
        base.wrapping_add(offset)
    }
}

macro_rules! ports {
    ($($read:ident $write:ident $type:ty, $in:literal $out:literal;)*) => {
        impl Port for Ports {$(
            #[track_caller]
            fn $read(&mut self, offset: u16) -> $type {
                let port = self.at(offset, size_of::<$type>() as u32);
                self.machine.ask(&format!("{} {port:#x}", $in)) as $type
            }
            #[track_caller]
            fn $write(&mut self, offset: u16, value: $type) {
                let port = self.at(offset, size_of::<$type>() as u32);
                self.machine.ask(&format!("{} {port:#x} {value:#x}", $out));
            }
        )*}
    };
}

ports! {
    read8 write8 u8, "inb" "outb";
    read16 write16 u16, "inw" "outw";
    read32 write32 u32, "inl" "outl";
}

/// Physical memory of a [`Machine`], accessed by offsets in bytes.
#[derive(Clone)]
pub struct Memory {
    machine: Machine,
    base: u64,
    len: usize,
}

macro_rules! memory {
    ($($read:ident $write:ident $type:ty, $load:literal $store:literal;)*) => {
        impl Memory {
            /// The address at `offset`. Panics if `width` bytes do not fit there.
            #[track_caller]
            fn at(&self, offset: usize, width: usize) -> u64 {
                let fits = offset.is_multiple_of(width) && self.len.checked_sub(width).is_some_and(|last| offset <= last);
                assert!(fits, "no cell of {width} bytes at offset {offset:#x} of a range of {:#x} bytes", self.len);
                self.base + offset as u64
            }
        $(
            /// Reads a number at `offset`, by one access.
            ///
            /// # Panics
            /// If the offset is beyond the range, or not a multiple of the width.
            #[track_caller]
            pub fn $read(&mut self, offset: usize) -> $type {
                let address = self.at(offset, size_of::<$type>());
                self.machine.ask(&format!("{} {address:#x}", $load)) as $type
            }

            /// Writes a number to `offset`, by one access.
            ///
            /// # Panics
            /// If the offset is beyond the range, or not a multiple of the width.
            #[track_caller]
            pub fn $write(&mut self, offset: usize, value: $type) {
                let address = self.at(offset, size_of::<$type>());
                self.machine.ask(&format!("{} {address:#x} {value:#x}", $store));
            }
        )*}
    };
}

memory! {
    read_u8 write_u8 u8, "readb" "writeb";
    read_u16 write_u16 u16, "readw" "writew";
    read_u32 write_u32 u32, "readl" "writel";
    read_u64 write_u64 u64, "readq" "writeq";
}

#[cfg(test)]
mod tests;
