//! The I/O APICs (Intel 82093AA data sheet), through whose inputs lines interrupt.

use core::ops::Range;
use kernel_core::acpi::platform::{MAX_IO_APICS, Platform};
use kernel_core::addr::PhysAddr;

const PAGE: u64 = abi::PAGE_SIZE as u64;
/// The registers in memory: the number of the register that is accessed by the other one.
const SELECT: u64 = 0;
const WINDOW: u64 = 0x10;
/// The register whose bits 16 to 23 are the number of the last input.
const VERSION: u32 = 1;
/// The first of two registers for each input (section 3.2.4).
const TABLE: u32 = 0x10;
/// Bits of the lower one.
const MASKED: u32 = 1 << 16;
const LEVEL: u32 = 1 << 15;
const ACTIVE_LOW: u32 = 1 << 13;

/// An input of an I/O APIC.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    /// The address of the I/O APIC's registers.
    registers: u64,
    number: u8,
}

impl Input {
    /// The lower register of the input.
    fn entry(self) -> u32 {
        TABLE + 2 * u32::from(self.number)
    }
}

/// The addresses at which the registers of the I/O APICs are mapped, and the numbers of their
/// inputs, in the order of [`Platform::io_apics`].
pub struct IoApics {
    all: [Option<(u64, Range<u8>)>; MAX_IO_APICS],
}

fn read(registers: u64, register: u32) -> u32 {
    // SAFETY: `IoApics::new` has mapped the registers. Interrupts are off between the two accesses.
    unsafe {
        ((registers + SELECT) as *mut u32).write_volatile(register);
        ((registers + WINDOW) as *const u32).read_volatile()
    }
}

fn write(registers: u64, register: u32, value: u32) {
    // SAFETY: as in `read`; the registers are the kernel's alone.
    unsafe {
        ((registers + SELECT) as *mut u32).write_volatile(register);
        ((registers + WINDOW) as *mut u32).write_volatile(value);
    }
}

impl IoApics {
    /// Maps the registers of all I/O APICs, each in a page from `pages` on, by the given function
    /// of the address of a page and that of a frame; and masks all inputs.
    #[unsafe(link_section = "boot_text")]
    pub fn new(platform: &Platform, pages: u64, map: &mut dyn FnMut(u64, PhysAddr)) -> Self {
        let mut all = [const { None }; MAX_IO_APICS];
        for (index, (slot, found)) in (0..).zip(all.iter_mut().zip(&platform.io_apics)) {
            let Some(io_apic) = found else { continue };
            let page = pages + index * PAGE;
            map(page, io_apic.address.rounded_down());
            let registers = page + io_apic.address.offset_in_page();
            let last = (read(registers, VERSION) >> 16) as u8;
            for number in 0..=last {
                write(registers, Input { registers, number }.entry(), MASKED);
            }
            *slot = Some((registers, 0..last.saturating_add(1)));
        }
        IoApics { all }
    }

    /// The input at which a global system interrupt arrives, if there is one.
    #[unsafe(link_section = "boot_text")]
    pub fn input(&self, platform: &Platform, gsi: u32) -> Option<Input> {
        let (io_apic, number) = platform.io_apic(gsi)?;
        let index = platform.io_apics.iter().position(|&found| found == Some(io_apic))?;
        let (registers, inputs) = self.all.get(index)?.as_ref()?;
        inputs.contains(&number).then_some(Input { registers: *registers, number })
    }

    /// Has an input interrupt a processor, given by the number of its local APIC, by a vector. The
    /// input stays masked.
    #[unsafe(link_section = "boot_text")]
    pub fn set(&mut self, input: Input, vector: u8, level: bool, active_low: bool, processor: u8) {
        let mode = if level { LEVEL } else { 0 } | if active_low { ACTIVE_LOW } else { 0 };
        write(input.registers, input.entry(), MASKED | mode | u32::from(vector));
        write(input.registers, input.entry() + 1, u32::from(processor) << 24);
    }

    /// Masks or unmasks an input.
    pub fn set_masked(&mut self, input: Input, masked: bool) {
        let entry = read(input.registers, input.entry()) & !MASKED;
        write(input.registers, input.entry(), if masked { entry | MASKED } else { entry });
    }

    /// Whether an input is masked.
    pub fn is_masked(&self, input: Input) -> bool {
        read(input.registers, input.entry()) & MASKED != 0
    }
}
