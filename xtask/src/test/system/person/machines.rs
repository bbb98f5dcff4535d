//! The system on machines of many kinds, with and without the chips of older PCs: each comes to a prompt that echoes a typed key, by the
//! controllers and timers that it has, and its clock is right.

use super::{COMMAND, Test, says};
use anyhow::{Context, Result, ensure};
use driver_vga::FONT;
use machine::guest::Guest;
use machine::hardware::Board;
use machine::loader::Firmware;
use std::time::{Duration, Instant};

/// The time for which the guest's clock is compared with the host's.
const COMPARED: Duration = Duration::from_secs(2);

/// What a machine of the list is made of, beside what [`Test`] has.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The board.
    pub board: Board,
    /// The processor, as QEMU names it.
    pub cpu: &'static str,
    /// Processors.
    pub smp: u32,
    /// Further words for QEMU.
    pub qemu: &'static str,
    /// Whether it is one of the few that are always tested.
    pub always: bool,
}

const fn q35(name: &'static str, qemu: &'static str, run: fn(&mut Guest) -> Result<()>) -> Test {
    of(name, Kind { board: Board::Q35, cpu: "max", smp: 1, qemu, always: false }, run)
}

const fn pc(name: &'static str, cpu: &'static str, qemu: &'static str, run: fn(&mut Guest) -> Result<()>) -> Test {
    of(name, Kind { board: Board::Pc, cpu, smp: 1, qemu, always: false }, run)
}

const fn of(name: &'static str, kind: Kind, run: fn(&mut Guest) -> Result<()>) -> Test {
    Test { kind: Some(kind), ..Test::new(name, run) }
}

impl Test {
    const fn always(self) -> Self {
        match self.kind {
            Some(kind) => Self { kind: Some(Kind { always: true, ..kind }), ..self },
            None => self,
        }
    }

    const fn with_processors(self, smp: u32) -> Self {
        match self.kind {
            Some(kind) => Self { kind: Some(Kind { smp, ..kind }), ..self },
            None => self,
        }
    }

    const fn with_cpu(self, cpu: &'static str) -> Self {
        match self.kind {
            Some(kind) => Self { kind: Some(Kind { cpu, ..kind }), ..self },
            None => self,
        }
    }

    const fn by(self, firmware: Firmware) -> Self {
        Self { firmware, ..self }
    }
}

const ALL_OFF: &str = "-machine pic=off,pit=off,hpet=off,i8042=off";

/// Every machine.
pub const TESTS: [Test; 20] = [
    q35("machines::q35", "", usual).always(),
    q35("machines::q35_without_8259", "-machine pic=off", usual),
    q35("machines::q35_without_8254", "-machine pit=off", usual),
    q35("machines::q35_without_hpet", "-machine hpet=off", by_acpi_timer),
    q35("machines::q35_without_i8042", "-machine i8042=off", without_keyboard),
    q35("machines::q35_without_any_of_these", ALL_OFF, bare).always(),
    q35("machines::q35_without_any_of_these_by_uefi", ALL_OFF, bare).by(Firmware::Uefi),
    q35("machines::q35_by_uefi", "", usual).by(Firmware::Uefi),
    q35("machines::q35_by_bios", "", usual).by(Firmware::Bios),
    q35("machines::q35_without_8259_by_bios", "-machine pic=off,hpet=off", by_acpi_timer).by(Firmware::Bios),
    q35("machines::q35_with_an_iommu", "-device intel-iommu", usual),
    q35("machines::q35_with_a_wide_iommu", "-device intel-iommu,aw-bits=48,caching-mode=on", usual),
    q35("machines::q35_with_four_processors", "", usual).with_processors(4),
    q35("machines::q35_with_an_old_processor", "", usual).with_cpu("Nehalem"),
    pc("machines::pc", "max", "", usual),
    pc("machines::pc_without_apic", "max,-apic", "", by_8254).always(),
    pc("machines::pc_without_apic_by_bios", "qemu64,-apic", "", by_8254).by(Firmware::Bios),
    pc("machines::pc_without_tables", "max", "-machine acpi=off", without_tables).always(),
    pc("machines::pc_with_eight_processors", "EPYC", "", usual).with_processors(8),
    pc("machines::pc_by_uefi", "Haswell", "", usual).by(Firmware::Uefi),
];

/// A machine with APICs and a HPET.
fn usual(guest: &mut Guest) -> Result<()> {
    has(guest, "interrupts: APIC; timer: local APIC", "the HPET")?;
    works(guest, true)
}

fn without_keyboard(guest: &mut Guest) -> Result<()> {
    has(guest, "interrupts: APIC; timer: local APIC", "the HPET")?;
    works(guest, false)
}

fn by_acpi_timer(guest: &mut Guest) -> Result<()> {
    has(guest, "interrupts: APIC; timer: local APIC", "the ACPI timer")?;
    works(guest, true)
}

fn bare(guest: &mut Guest) -> Result<()> {
    has(guest, "interrupts: APIC; timer: local APIC", "the ACPI timer")?;
    works(guest, false)
}

fn by_8254(guest: &mut Guest) -> Result<()> {
    has(guest, "interrupts: 8259; timer: 8254", "")?;
    works(guest, true)
}

/// QEMU's machine has no power management then, and nothing to switch it off by.
fn without_tables(guest: &mut Guest) -> Result<()> {
    has(guest, "interrupts: 8259; timer: 8254", "the 8254")?;
    runs(guest, true)?;
    says(guest, "shutdown", "the machine is still running")
}

/// The kernel says that it uses these.
fn has(guest: &mut Guest, devices: &str, reference: &str) -> Result<()> {
    let log = guest.kernel_log();
    let line = log.lines().find(|line| line.starts_with("interrupts: ")).context("the kernel names no controller")?;
    ensure!(line.starts_with(devices) && line.ends_with(reference), "{line}\ninstead of {devices}; {reference}");
    Ok(())
}

/// It runs, and can be switched off.
fn works(guest: &mut Guest, keyboard: bool) -> Result<()> {
    runs(guest, keyboard)?;
    guest.power_off(COMMAND)
}

/// It echoes, and its clock is right; and the keyboard works where there is one.
fn runs(guest: &mut Guest, keyboard: bool) -> Result<()> {
    says(guest, "echo Hello, World", "Hello, World")?;
    if keyboard {
        guest.type_keys("echo typed\\n")?;
        guest.expect_screen(&FONT, "enigma> echo typed", COMMAND)?;
    }
    let (began, before) = (Instant::now(), uptime(guest)?);
    guest.run(&format!("sleep {}", COMPARED.as_secs()), COMMAND)?;
    let (passed, shown) = (began.elapsed().as_secs_f64(), uptime(guest)? - before);
    // The guest sleeps for as long as its own clock says; a wrong clock makes that too short or too long by the host's.
    let least = COMPARED.as_secs_f64();
    ensure!(shown >= least * 0.9, "{least} seconds of sleep are {shown} seconds to the guest");
    ensure!(passed > shown * 0.7 && passed < shown * 1.5 + 5.0, "{passed} seconds are {shown} to the guest");
    Ok(())
}

/// Seconds since boot, as the guest says.
fn uptime(guest: &mut Guest) -> Result<f64> {
    let printed = guest.run("uptime", COMMAND)?.lines;
    let seconds = printed.iter().find_map(|line| line.strip_prefix("up ")?.split(' ').next()?.parse().ok());
    seconds.with_context(|| format!("no uptime in {printed:?}"))
}
