use super::*;
use std::path::PathBuf;
use std::process::Command;
use std::string::ToString;

/// The 8254's and the clock chip's lines.
const TIMER: usize = 0;
const CLOCK: usize = 8;

fn clock(ports: &mut Ports, register: u8) -> u8 {
    ports.write8(0, register);
    ports.read8(1)
}

#[test]
fn time_stands_still_until_it_is_let_go_on_and_goes_on_as_far_as_was_said() {
    let machine = Machine::start(&[]);
    // The ACPI timer, 3.579545 MHz: the power management block, function 3 of the PIIX3, is put to 0x600 (Intel 82371AB data sheet, section 7).
    let mut config = machine.ports(0xcf8, 8);
    for (register, value) in [(0x40, 0x601), (0x80, 1)] {
        config.write32(0, 0x8000_0b00 | register);
        config.write32(4, value);
    }
    let mut timer = machine.ports(0x608, 4);
    let before = timer.read32(0);
    sleep(Duration::from_millis(5));
    assert_eq!(timer.read32(0), before, "the host's time is not the machine's");
    let mut last = before;
    for us in [0, 1, 500, 20_000, 1_000_000, 3_000_000] {
        machine.run(Duration::from_micros(us));
        let now = timer.read32(0);
        let passed = u64::from(now.wrapping_sub(last) & 0xff_ffff) * 1_000_000 / 3_579_545;
        last = now;
        // What it takes to stop depends on the host.
        assert!((us..us + 900_000).contains(&(passed + 1)), "{us} us were asked for, and {passed} us went by");
    }
}

#[test]
fn interrupt_lines_are_watched() {
    let machine = Machine::start(&[]);
    let mut pit = machine.ports(0x40, 4);
    // Channel 0, both bytes, mode 2: a pulse each 10 ms.
    pit.write8(3, 0x34);
    for byte in 11_932_u16.to_le_bytes() {
        pit.write8(0, byte);
    }
    let before = machine.rises(TIMER);
    machine.run(Duration::from_millis(105));
    let rises = machine.rises(TIMER) - before;
    assert!((10..90).contains(&rises), "{rises} rises in 105 ms");
    assert!(!machine.level(CLOCK));
    assert_eq!(machine.rises(CLOCK), 0);
}

/// The clock chip's registers (Motorola MC146818 data sheet).
#[test]
fn the_clock_chip_rings_when_its_second_comes() {
    const STATUS_B: u8 = 0x0b;
    const STATUS_C: u8 = 0x0c;
    let machine = Machine::start(&[]);
    let mut ports = machine.ports(0x70, 2);
    assert_eq!([9, 8, 7, 4, 2, 0].map(|register| clock(&mut ports, register)), [0x26, 1, 2, 3, 4, 5]);
    // An alarm at 03:04:08, then the alarm's interrupt on.
    for (register, value) in [(1, 0x08), (3, 0x04), (5, 0x03), (STATUS_B, 0x22)] {
        ports.write8(0, register);
        ports.write8(1, value);
    }
    machine.run(Duration::from_millis(1900));
    assert!(!machine.level(CLOCK), "two seconds have not passed");
    machine.run(Duration::from_millis(2100));
    assert!(machine.level(CLOCK));
    assert_eq!(clock(&mut ports, STATUS_C) & 0xa0, 0xa0, "an interrupt, and it is the alarm's");
    assert!(!machine.level(CLOCK), "reading it takes it back");
    assert_eq!((machine.rises(CLOCK), clock(&mut ports, 0)), (1, 0x09));
}

#[test]
fn memory_is_reached_in_every_width() {
    let machine = Machine::start(&[]);
    let mut memory = machine.memory(0x10_0000, 0x1000);
    memory.write_u64(8, 0x1122_3344_5566_7788);
    assert_eq!((memory.read_u32(12), memory.read_u16(10), memory.read_u8(15)), (0x1122_3344, 0x5566, 0x11));
    memory.write_u8(8, 0xff);
    memory.write_u16(10, 0);
    memory.write_u32(12, 7);
    assert_eq!(memory.read_u64(8), 0x0000_0007_0000_77ff);
}

#[test]
#[should_panic(expected = "no cell of 4 bytes at offset 0xffe of a range of 0x1000 bytes")]
fn memory_beyond_the_range_is_refused() {
    Machine::start(&[]).memory(0x10_0000, 0x1000).read_u32(0xffe);
}

#[test]
#[should_panic(expected = "port offset 0x7 is beyond the range 0x3f8+0x8")]
fn a_port_beyond_the_range_is_refused() {
    Machine::start(&[]).ports(0x3f8, 8).read16(7);
}

#[test]
#[should_panic(expected = "no-such-device")]
fn what_qemu_says_against_its_arguments_is_told() {
    Machine::start(&["-device", "no-such-device"]);
}

fn lives(id: u32) -> bool {
    // A process that has ended and was not waited for is in state Z.
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

fn traces(machine: &Machine) -> (u32, PathBuf) {
    let running = machine.0.borrow();
    (running.process.id(), running.process.dir().to_path_buf())
}

#[test]
fn nothing_is_left_of_a_machine_not_even_after_a_panic() {
    let machine = Machine::start(&[]);
    let (id, dir) = traces(&machine);
    assert!(lives(id) && dir.is_dir());
    let mut ports = machine.ports(0x70, 2);
    drop(machine);
    assert_eq!(clock(&mut ports, 0), 5, "ports keep it");
    drop(ports);
    assert!(!lives(id) && !dir.exists());

    let mut left = None;
    let outcome = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| {
        let machine = Machine::start(&[]);
        left = Some(traces(&machine));
        machine.ports(0, 1).read8(1);
    }));
    assert!(outcome.is_err());
    let (id, dir) = left.expect("a machine was started");
    assert!(!lives(id) && !dir.exists());
}

/// Runs this test program again, which starts a machine and is killed.
#[test]
fn nothing_is_left_of_a_machine_whose_test_is_killed() {
    const CHILD: &str = "ENIGMA_TEST_STARTS_A_MACHINE";
    if std::env::var_os(CHILD).is_some() {
        let (id, dir) = traces(&core::mem::ManuallyDrop::new(Machine::start(&[])));
        std::println!("\nmachine {id} {}", dir.display());
        sleep(PATIENCE);
        return;
    }
    let own = "testing::qemu::tests::nothing_is_left_of_a_machine_whose_test_is_killed";
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["--exact", own, "--nocapture"])
        .env(CHILD, "1")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("this program can be started");
    let output = std::io::BufReader::new(child.stdout.take().expect("it is piped"));
    let line = std::io::BufRead::lines(output)
        .map_while(Result::ok)
        .find(|line| line.starts_with("machine "))
        .expect("it starts a machine");
    let mut words = line.split(' ').skip(1).map(ToString::to_string);
    let (id, dir) = (words.next().expect("an id"), PathBuf::from(words.next().expect("a directory")));
    let id = id.parse().expect("a number");
    assert!(lives(id) && dir.is_dir());
    child.kill().expect("it can be killed");
    child.wait().expect("it has ended");
    let end = Instant::now() + PATIENCE;
    while lives(id) || dir.exists() {
        assert!(Instant::now() < end, "QEMU {id} or {} outlives the test", dir.display());
        sleep(Duration::from_millis(5));
    }
}

/// QEMU tells of each edge of a line, and stands still where nobody takes what it tells: the 8254 alone has it tell of 36 edges a second.
#[test]
fn a_long_time_goes_by_whatever_is_told_meanwhile() {
    let machine = Machine::start(&[]);
    machine.run(Duration::from_secs(60));
    let mut ports = machine.ports(0x70, 2);
    assert_eq!([2, 0].map(|register| clock(&mut ports, register)), [5, 5]);
    let rises = machine.rises(TIMER);
    assert!((1000..1300).contains(&rises), "{rises} rises of the timer's line, and not 18.2 a second");
}

#[test]
#[should_panic(expected = "a flash chip would take the place of the firmware")]
fn a_flash_chip_is_refused_rather_than_waited_for() {
    Machine::start(&["-drive", "if=pflash,format=raw,file=flash"]);
}
