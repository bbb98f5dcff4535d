//! Turns bus mastering off for all PCI functions at boot. Firmware leaves it on, at least for the
//! boot disk, and a task with access to such a device's registers could make it read and write all
//! memory. Configuration space is accessed by ports (PCI Local Bus Specification 3.0, section
//! 3.2.2.3.2), which no task gets; nor does a task get configuration space in memory, where a
//! machine has it.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use kernel_core::addr::PhysAddr;
use kernel_core::ram::Region;
use x86_64::instructions::port::Port;

/// The command register, and bits of it (PCI Local Bus Specification 3.0, section 6.2.2).
const COMMAND: u8 = 4;
const IO_SPACE: u16 = 1;
const BUS_MASTER: u16 = 1 << 2;
/// Vendor and device numbers of virtio devices with the first interface, by ports. QEMU lets such a
/// device master the bus as soon as its driver has announced itself through these ports, whatever
/// the command register says (virtio_ioport_write, hw/virtio/virtio-pci.c), so its ports are
/// disabled, too.
const VIRTIO: u16 = 0x1af4;
const VIRTIO_BY_PORTS: core::ops::Range<u16> = 0x1000..0x1040;

/// Vendor and device number of the host bridge of QEMU's "q35" (Intel's 82Q35), and its register
/// PCIEXBAR, which holds the address of configuration space in memory (Intel 3 Series Express
/// Chipset data sheet, section 5.1.15).
const Q35: u32 = 0x29c0_8086;
const PCIEXBAR: u8 = 0x60;

/// First and end address of configuration space in memory; 0 before [`quiet`], and if no known host
/// bridge has it.
static ECAM: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// The functions that [`quiet`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masters {
    /// The number of functions.
    pub functions: u16,
    /// The number of functions that were bus masters.
    pub were_on: u16,
    /// A function that is still a bus master, by its address: the bus in the upper byte, device and
    /// function in the lower.
    pub stuck: Option<u16>,
}

/// The value that selects four bytes of a function's configuration.
#[inline(always)]
const fn word(address: u16, register: u8) -> u32 {
    0x8000_0000 | (address as u32) << 8 | register as u32
}

/// Selects four bytes of configuration, which the data port then accesses.
#[inline(always)]
fn select(word: u32) {
    // SAFETY: only the kernel uses this port, on one core, with interrupts off. Selecting only
    // changes what the data port accesses.
    unsafe { Port::new(0xcf8).write(word) };
}

/// Reads four bytes of configuration; all ones if there is no such function.
#[inline(always)]
fn read_word(word: u32) -> u32 {
    select(word);
    // SAFETY: reading configuration space has no side effect.
    unsafe { Port::new(0xcfc).read() }
}

/// Reads four bytes of a function's configuration; all ones if there is no such function.
#[inline(always)]
pub fn read(address: u16, register: u8) -> u32 {
    read_word(word(address, register))
}

/// Whether a function exists, given its first register (vendor and device) as [`read`] returned it.
fn exists(id: u32) -> bool {
    !matches!(id as u16, 0 | 0xffff)
}

/// The distance between the addresses of two devices, each of which has eight functions.
const DEVICE: u16 = 8;

/// Turns off bus mastering of all functions, and masks the channels of the ISA bus's DMA
/// controllers. All buses are scanned, not only those behind bridges, since some machines have
/// several root buses.
#[unsafe(link_section = "boot_text")]
pub fn quiet() -> Masters {
    let mut masters = Masters::default();
    // Few of the 8,192 possible devices exist. The vendors of four at a time are read and combined:
    // the result is all ones if none exists.
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
    // The command master clear masks all channels of both 8237 controllers (Intel 8237A data
    // sheet).
    for port in [0x0d, 0xda] {
        // SAFETY: no transfer is in progress that anyone waits for, and no task gets these ports.
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

/// Does all functions of a device. The first tells whether there are others (PCI Local Bus
/// Specification 3.0, section 6.2.1, header type).
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
    // SAFETY: the loader no longer uses any device, and no task runs yet. The status register, in
    // the upper half, is not written.
    unsafe { Port::<u16>::new(0xcfc).write(command & !off) };
    if read(address, COMMAND) as u16 & BUS_MASTER != 0 {
        masters.stuck = Some(address);
    }
}

/// The range of configuration space in memory; an empty region if it is not known.
pub fn ecam() -> Region {
    let [start, end] = &ECAM;
    Region { start: PhysAddr::new(start.load(Relaxed)), end: PhysAddr::new(end.load(Relaxed)) }
}
