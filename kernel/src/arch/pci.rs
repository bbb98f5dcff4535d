//! PCI at boot: no function masters the bus. Firmware leaves that on, for the boot disk at least, and a task that has such a device's
//! registers could make it read and write all memory. Configuration is reached by ports (PCI Local Bus Specification 3.0, section 3.2.2.3.2),
//! which no task gets; neither does one get the same in memory, where a machine has that.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use kernel_core::ram::Region;
use x86_64::instructions::port::Port;

/// The command register, and bits of it (section 6.2.2).
const COMMAND: u8 = 4;
const IO_SPACE: u16 = 1;
const BUS_MASTER: u16 = 1 << 2;
/// Vendor and devices of virtio's first interface, by ports. QEMU lets such a device master the bus as soon as its driver says by these ports
/// that it is there, whatever the command register says (virtio_ioport_write, hw/virtio/virtio-pci.c), so the ports are closed.
const VIRTIO: u16 = 0x1af4;
const VIRTIO_BY_PORTS: core::ops::Range<u16> = 0x1000..0x1040;

/// Vendor and device of the host bridge of QEMU's "q35" (Intel's 82Q35), and its register PCIEXBAR, which says where configuration lies in
/// memory (Intel 3 Series Express Chipset data sheet, section 5.1.15).
const Q35: u32 = 0x29c0_8086;
const PCIEXBAR: u8 = 0x60;

/// Where configuration lies in memory; nowhere before [`quiet`], and where no known host bridge says so.
static ECAM: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// What [`quiet`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masters {
    /// Functions there are.
    pub functions: u16,
    /// Functions that were bus masters.
    pub were_on: u16,
    /// One that is still, by its address: the bus in the upper byte, device and function below.
    pub stuck: Option<u16>,
}

/// How a word of four bytes of a function's configuration is selected.
#[inline(always)]
const fn word(address: u16, register: u8) -> u32 {
    0x8000_0000 | (address as u32) << 8 | register as u32
}

/// Selects a word, which then is at the data port.
#[inline(always)]
fn select(word: u32) {
    // SAFETY: the kernel alone uses this port, on one core, with interrupts off. Selecting has no effect but on what the data port shows.
    unsafe { Port::new(0xcf8).write(word) };
}

/// Reads a word; all ones where there is no function.
#[inline(always)]
fn read_word(word: u32) -> u32 {
    select(word);
    // SAFETY: reading configuration has no effect.
    unsafe { Port::new(0xcfc).read() }
}

/// Reads four bytes of a function's configuration; all ones where there is no function.
#[inline(always)]
pub fn read(address: u16, register: u8) -> u32 {
    read_word(word(address, register))
}

/// Whether what [`read`] found at a function's first register, vendor and device, says that the function is there.
fn exists(id: u32) -> bool {
    !matches!(id as u16, 0 | 0xffff)
}

/// From a device to the next: it has eight functions.
const DEVICE: u16 = 8;

/// Switches bus mastering off everywhere, and the channels of the ISA bus's DMA controllers. All buses are looked at, not those alone that bridges lead to: some machines have several roots.
#[unsafe(link_section = "boot_text")]
pub fn quiet() -> Masters {
    let mut masters = Masters::default();
    // A few of the 8,192 places have a device: four at a time are asked for their vendors, which are all ones together where there is none.
    const STEP: u32 = word(DEVICE, 0) - word(0, 0);
    let mut first = word(0, 0);
    while first <= word(u16::MAX, 0) {
        let vendors =
            read_word(first) & read_word(first + STEP) & read_word(first + 2 * STEP) & read_word(first + 3 * STEP);
        if vendors as u16 != 0xffff {
            for n in 0..4 {
                quiet_device((first >> 8) as u16 + n * DEVICE, &mut masters);
            }
        }
        first += 4 * STEP;
    }
    // Master clear of both 8237: all their channels are masked (8237A data sheet).
    for port in [0x0d, 0xda] {
        // SAFETY: no transfer is under way that anyone waits for, and nobody gets these ports.
        unsafe { Port::<u8>::new(port).write(0) };
    }
    if read(0, 0) == Q35 {
        let (low, high) = (u64::from(read(0, PCIEXBAR)), u64::from(read(0, PCIEXBAR + 4)));
        let size = (256 << 20) >> (low >> 1 & 3).min(2);
        if low & 1 != 0 {
            let start = (high << 32 | low & 0xfc00_0000) & !(size - 1);
            let [first, end] = &ECAM;
            first.store(start, Relaxed);
            end.store(start + size, Relaxed);
        }
    }
    masters
}

/// All functions of a device. The first says whether there are others (section 6.2.1, header type).
#[inline(never)]
#[unsafe(link_section = "boot_text")]
fn quiet_device(device: u16, masters: &mut Masters) {
    let id = read(device, 0);
    if !exists(id) {
        return;
    }
    let functions = if read(device, 12) & 1 << 23 == 0 { 1 } else { DEVICE };
    for address in device..=device + (functions - 1) {
        let id = read(address, 0);
        if exists(id) {
            masters.functions += 1;
            quiet_one(address, id, masters);
        }
    }
}

#[unsafe(link_section = "boot_text")]
fn quiet_one(address: u16, id: u32, masters: &mut Masters) {
    let by_ports = id as u16 == VIRTIO && VIRTIO_BY_PORTS.contains(&((id >> 16) as u16));
    let off = if by_ports { BUS_MASTER | IO_SPACE } else { BUS_MASTER };
    let command = read(address, COMMAND) as u16;
    masters.were_on += u16::from(command & BUS_MASTER != 0);
    if command & off == 0 {
        return;
    }
    select(word(address, COMMAND));
    // SAFETY: the loader is done with all devices, and no task runs yet. The status register, in the upper half, is not written.
    unsafe { Port::<u16>::new(0xcfc).write(command & !off) };
    if read(address, COMMAND) as u16 & BUS_MASTER != 0 {
        masters.stuck = Some(address);
    }
}

/// Where configuration lies in memory; an empty region where that is not known.
pub fn ecam() -> Region {
    let [start, end] = &ECAM;
    Region { start: start.load(Relaxed), end: end.load(Relaxed) }
}
