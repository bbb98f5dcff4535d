//! What the tables say about the machine that the kernel runs on.

use super::long;
use crate::addr::PhysAddr;

/// The most I/O APICs that are noted.
pub const MAX_IO_APICS: usize = 8;
/// The highest number of an input of an I/O APIC (82093AA datasheet, section 3.2.2).
const LAST_INPUT: u32 = 239;
/// The end of the physical addresses of any processor of today (Intel SDM vol. 3A, section 4.1.4).
const PHYSICAL_END: u64 = 1 << 52;

/// What the firmware's tables say about the machine's interrupt controllers, timers and power.
///
/// Firmware can be wrong about all of it. What is impossible (an address of 0, a port above 0xffff)
/// is left out, so a value that is there has the range that its type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    /// The physical address of the local APICs' registers, a multiple of 4096; `None` without a
    /// MADT.
    pub local_apic: Option<PhysAddr>,
    /// Whether the machine has two 8259s. True without a MADT.
    pub has_8259: bool,
    /// The I/O APICs in the order of the MADT; the places behind the last one are empty.
    pub io_apics: [Option<IoApic>; MAX_IO_APICS],
    /// Where the 16 interrupt lines of the ISA bus arrive, by line.
    pub isa: [IsaLine; 16],
    /// The signal of the NMI at LINT0 and LINT1 of the local APICs, where one is connected.
    pub nmi: [Option<Signal>; 2],
    /// The HPET, if it is in memory.
    pub hpet: Option<Hpet>,
    /// The ACPI PM timer, if it is behind ports.
    pub pm_timer: Option<PmTimer>,
    /// How the machine is switched off; `None` if a register or its value is not known.
    pub power_off: Option<PowerOff>,
    /// How the machine is reset, if by a port.
    pub reset: Option<Reset>,
    /// What the machine has of a PC; `None` without a FADT of revision 2 or higher.
    pub boot_arch: Option<BootArch>,
}

impl Default for Platform {
    /// A machine without tables.
    fn default() -> Self {
        Platform {
            local_apic: None,
            has_8259: true,
            io_apics: [None; MAX_IO_APICS],
            isa: core::array::from_fn(|line| IsaLine::plain(line as u32)),
            nmi: [None; 2],
            hpet: None,
            pm_timer: None,
            power_off: None,
            reset: None,
            boot_arch: None,
        }
    }
}

impl Platform {
    /// The I/O APIC at which a global system interrupt arrives, and the number of its input there
    /// (at most 239; the I/O APIC may have fewer).
    pub fn io_apic(&self, gsi: u32) -> Option<(IoApic, u8)> {
        let below = self.io_apics.iter().flatten().filter(|io_apic| io_apic.first_gsi <= gsi);
        let io_apic = below.max_by_key(|io_apic| io_apic.first_gsi)?;
        let input = gsi - io_apic.first_gsi;
        (input <= LAST_INPUT).then_some((*io_apic, input as u8))
    }
}

/// An I/O APIC (ACPI 6.5, section 5.2.12.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Its identifier. Firmware may give several the same one.
    pub id: u8,
    /// The physical address of its registers, a multiple of 256. No two have the same.
    pub address: PhysAddr,
    /// The global system interrupt at its first input. No two have the same.
    pub first_gsi: u32,
}

/// What makes an input request an interrupt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trigger {
    /// A change to the active level.
    #[default]
    Edge,
    /// The active level, as long as it lasts.
    Level,
}

/// The active level of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Polarity {
    /// The high one.
    #[default]
    High,
    /// The low one.
    Low,
}

/// How an input is driven; by default as on the ISA bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signal {
    /// Edge or level.
    pub trigger: Trigger,
    /// High or low.
    pub polarity: Polarity,
}

impl Signal {
    /// The signal that the flags of a MADT entry mean (ACPI 6.5, table 5.26). "Conforms to the bus"
    /// and the reserved values mean that of the ISA bus.
    pub(super) fn of(flags: u16) -> Signal {
        Signal {
            trigger: if flags >> 2 & 3 == 3 { Trigger::Level } else { Trigger::Edge },
            polarity: if flags & 3 == 3 { Polarity::Low } else { Polarity::High },
        }
    }
}

/// Where a line of the ISA bus arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsaLine {
    /// The line's global system interrupt: that with the line's number, or one that an I/O APIC of
    /// [`Platform::io_apics`] may have. Where line 0 has number 2, line 2 has it too, and no
    /// device.
    pub gsi: u32,
    /// How the line is driven.
    pub signal: Signal,
}

impl IsaLine {
    /// A line where no table says otherwise.
    pub(super) fn plain(line: u32) -> IsaLine {
        IsaLine { gsi: line, signal: Signal::default() }
    }
}

/// A HPET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hpet {
    /// The physical address of its registers, a multiple of 1024, which is their length.
    pub address: PhysAddr,
    /// The shortest period in ticks for which no interrupt is lost, as the firmware says.
    pub min_tick: u16,
}

/// The ACPI PM timer (ACPI 6.5, section 4.8.3.3), which counts at 3.579545 MHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PmTimer {
    /// The first of its four ports.
    pub port: u16,
    /// Whether it counts to 2^32 rather than to 2^24.
    pub is_32_bits: bool,
}

/// How the machine is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerOff {
    /// By the PM1 control registers (ACPI 6.5, section 4.8.3.2): in each, a sleep type in bits 10
    /// to 12, together with bit 13.
    Pm1 {
        /// The first register.
        a: Pm1Control,
        /// The second register, on machines with two.
        b: Option<Pm1Control>,
    },
    /// By the sleep control register of a hardware-reduced machine (section 4.8.3.7): a sleep type
    /// in bits 2 to 4, together with bit 5.
    SleepControl {
        /// The register of one byte.
        register: Register,
        /// The sleep type, at most 7.
        sleep_type: u8,
    },
}

/// A PM1 control register of two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pm1Control {
    /// The first of its two ports.
    pub port: u16,
    /// The sleep type that means off, at most 7.
    pub sleep_type: u8,
}

/// Where a register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// At a port.
    Port(u16),
    /// At a physical address, below 2^52.
    Memory(PhysAddr),
}

impl Register {
    /// The register at a Generic Address Structure (ACPI 6.5, section 5.2.3.2), if it lies in
    /// memory or behind ports and its `len` bytes have valid addresses other than 0.
    pub(super) fn of(structure: &[u8], len: u64) -> Option<Register> {
        let address = long(structure, 4);
        match structure.first()? {
            0 if address != 0 && address <= PHYSICAL_END - len => Some(Register::Memory(PhysAddr::new(address))),
            1 => port(address, len).map(Register::Port),
            _ => None,
        }
    }

    /// The port, if that is where it is.
    pub(super) fn port(self) -> Option<u16> {
        match self {
            Register::Port(port) => Some(port),
            Register::Memory(_) => None,
        }
    }

    /// The physical address, if that is where it is.
    pub(super) fn memory(self) -> Option<PhysAddr> {
        match self {
            Register::Port(_) => None,
            Register::Memory(address) => Some(address),
        }
    }
}

/// The first of `len` ports, if all exist and the first is not 0, which means that there are none.
pub(super) fn port(number: u64, len: u64) -> Option<u16> {
    let first = u16::try_from(number).ok()?;
    (first != 0 && number + len <= 0x1_0000).then_some(first)
}

/// The reset register (ACPI 6.5, section 4.8.3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Its port, not 0.
    pub port: u16,
    /// The byte that resets the machine.
    pub value: u8,
}

/// What the machine has of a PC (ACPI 6.5, section 5.2.9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootArch {
    /// There are devices on the ISA bus that a user sees, such as serial ports.
    pub has_legacy_devices: bool,
    /// There is a keyboard controller.
    pub has_i8042: bool,
    /// The addresses of VGA may be those of something else.
    pub no_vga: bool,
    /// Message-signalled interrupts must not be used.
    pub no_msi: bool,
    /// There is no real-time clock at its usual ports.
    pub no_rtc: bool,
}
