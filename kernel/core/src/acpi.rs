//! Finds in the firmware's tables (ACPI 6.5, section 5.2) the addresses of devices that no task may
//! have: PCI configuration space, interrupt controllers, the HPET, IOMMUs.
//!
//! The tables are read a few bytes at a time through [`Physical`] and are not trusted: lengths and
//! counts are bounded, checksums are verified, and a broken table is skipped and counted.

use crate::addr::PhysAddr;

/// Reads physical memory.
pub trait Physical {
    /// Copies the bytes from a physical address on. False where they cannot be reached; `into` may
    /// be partly filled then.
    fn read(&mut self, at: PhysAddr, into: &mut [u8]) -> bool;
}

/// A kind of device that a table names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// PCI configuration in memory (MCFG; PCI Firmware Specification 3.3, section 4.1.2).
    PciConfiguration,
    /// An I/O APIC (MADT, section 5.2.12.3).
    IoApic,
    /// The processors' local APICs (MADT, sections 5.2.12 and 5.2.12.8).
    LocalApic,
    /// A HPET (IA-PC HPET Specification 1.0a, section 3.2.4).
    Hpet,
    /// An IOMMU's registers (DMAR; Intel VT-d specification 4.0, section 8.3).
    Iommu,
}

impl Unit {
    /// The reason, for the log, why no task gets a device of this kind.
    fn reason(self) -> &'static str {
        match self {
            Unit::PciConfiguration => {
                "PCI configuration on this machine, through which any device can be made to reach any memory"
            }
            Unit::IoApic => "an I/O APIC of this machine, which decides what interrupts do",
            Unit::LocalApic => "the local APICs of this machine, which can stop and start processors",
            Unit::Hpet => "the HPET of this machine, whose interrupts can be made to write anywhere in memory",
            Unit::Iommu => "an IOMMU of this machine, which decides where devices reach",
        }
    }
}

/// A device and the physical range of its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The kind of device.
    pub unit: Unit,
    /// First physical address of the registers.
    pub start: PhysAddr,
    /// Length of the registers in bytes, at least 1; `start + len` does not overflow.
    pub len: u64,
}

/// The most devices that are noted. Real machines have about 20.
pub const MAX_UNITS: usize = 32;

/// The devices of this machine that no task gets, as its firmware and its host bridge describe
/// them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Units {
    list: [Option<Found>; MAX_UNITS],
    /// Number of devices that did not fit into the list.
    left_out: u16,
}

impl Units {
    /// Adds a device, or counts it as left out if the list is full.
    pub fn add(&mut self, found: Found) {
        match self.list.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(found),
            None => self.left_out = self.left_out.saturating_add(1),
        }
    }

    /// The reason why no task gets a physical range, if there is one: the range touches a page of a
    /// noted device, or devices were left out (so that their addresses are unknown) and the range
    /// reaches above 1 MiB.
    pub fn reached(&self, base: PhysAddr, len: u64) -> Option<&'static str> {
        let end = base.saturating_plus(len);
        let touches = |unit: &&Found| {
            let above = unit.start.saturating_plus(unit.len).saturating_plus(PAGE - 1);
            base < above.rounded_down() && unit.start.rounded_down() < end
        };
        match self.list.iter().flatten().find(touches) {
            _ if len == 0 => None,
            Some(unit) => Some(unit.unit.reason()),
            None if self.left_out != 0 && end.number() > MIB => {
                Some("addresses among which the firmware names more devices than the kernel can note")
            }
            None => None,
        }
    }
}

/// The result of [`walk`]: how many tables were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Tables that were read completely.
    pub tables: u16,
    /// Tables that could not be read, have a wrong length or checksum, or end in the middle of an
    /// entry.
    pub broken: u16,
}

/// The most tables that are read. Real machines have about 30.
const MAX_TABLES: u64 = 256;
/// The most bytes of one table that are read. Larger tables hold AML, which is not needed.
const MAX_LEN: u32 = 1 << 20;
/// Bytes of every table's header (section 5.2.6): signature, then the length at offset 4, and a
/// checksum over the whole table.
const HEADER: u64 = 36;
const PAGE: u64 = abi::PAGE_SIZE as u64;
const MIB: u64 = 1 << 20;

/// Reads the tables that the root pointer at physical address `rsdp` (section 5.2.5) leads to, and
/// calls `found` for each device that they name. Returns `None` if there is no valid root pointer.
pub fn walk(memory: &mut dyn Physical, rsdp: PhysAddr, found: &mut dyn FnMut(Found)) -> Option<Walked> {
    let mut root = [0; 36];
    let first = root.get_mut(..20)?;
    if !memory.read(rsdp, first) || !first.starts_with(b"RSD PTR ") || sum(first) != 0 {
        return None;
    }
    let mut table = (PhysAddr::new(word(&root, 16).into()), 4);
    // From revision 2 on, the root pointer has a second checksum over all of its 36 bytes.
    if root.get(15).is_some_and(|&revision| revision >= 2) && memory.read(rsdp, &mut root) && sum(&root) == 0 {
        let wide = u64::from(word(&root, 28)) << 32 | u64::from(word(&root, 24));
        if wide != 0 {
            table = (PhysAddr::new(wide), 8);
        }
    }
    let (at, width) = table;
    let mut walk = Walk { memory, walked: Walked::default() };
    if let Some((signature, len)) = walk.table(at) {
        if signature != *b"RSDT" && signature != *b"XSDT" {
            walk.walked.broken += 1;
            return Some(walk.walked);
        }
        let entries = u64::from(len).saturating_sub(HEADER);
        let count = (if width == 8 { entries / 8 } else { entries / 4 }).min(MAX_TABLES);
        for index in 0..count {
            let mut entry = [0; 8];
            let Some(bytes) = entry.get_mut(..width as usize) else { continue };
            if walk.read(at, HEADER + index * width, bytes) {
                walk.one(PhysAddr::new(u64::from_le_bytes(entry)), found);
            }
        }
    }
    Some(walk.walked)
}

struct Walk<'a> {
    memory: &'a mut dyn Physical,
    walked: Walked,
}

impl Walk<'_> {
    fn read(&mut self, table: PhysAddr, offset: u64, into: &mut [u8]) -> bool {
        table.checked_plus(offset).is_some_and(|at| self.memory.read(at, into))
    }

    /// Signature and length of a table, if its checksum is right. Tables that are not used here may
    /// be large, so their checksums are not computed.
    fn table(&mut self, at: PhysAddr) -> Option<([u8; 4], u32)> {
        let mut header = [0; 8];
        let reached = at != PhysAddr::new(0) && self.read(at, 0, &mut header);
        let [a, b, c, d, ..] = header;
        let (signature, len) = ([a, b, c, d], word(&header, 4));
        let ours = matches!(&signature, b"RSDT" | b"XSDT" | b"MCFG" | b"APIC" | b"HPET" | b"DMAR");
        if reached && !ours {
            return None;
        }
        let whole = reached && (HEADER as u32..=MAX_LEN).contains(&len) && self.checksum(at, len) == Some(0);
        if !whole {
            self.walked.broken += 1;
            return None;
        }
        self.walked.tables += 1;
        Some((signature, len))
    }

    fn checksum(&mut self, at: PhysAddr, len: u32) -> Option<u8> {
        let mut total = 0u8;
        let mut offset = 0;
        while offset < len {
            let mut piece = [0; 64];
            let piece = piece.get_mut(..(len - offset).min(64) as usize)?;
            self.read(at, offset.into(), piece).then_some(())?;
            total = total.wrapping_add(sum(piece));
            offset += 64;
        }
        Some(total)
    }

    /// Calls `found` for each device that a table names.
    fn one(&mut self, at: PhysAddr, found: &mut dyn FnMut(Found)) {
        let Some((signature, len)) = self.table(at) else { return };
        let mut say = |unit, start: u64, len: u64| {
            if start != 0 && len != 0 && start.checked_add(len).is_some() {
                found(Found { unit, start: PhysAddr::new(start), len });
            }
        };
        match &signature {
            b"HPET" => {
                // The address is a Generic Address Structure of 12 bytes, whose first byte is 0 for
                // memory.
                let mut address = [0; 12];
                if u64::from(len) >= 52 && self.read(at, 40, &mut address) && address.first() == Some(&0) {
                    say(Unit::Hpet, long(&address, 4), PAGE);
                }
            }
            b"APIC" => {
                let mut fixed = [0; 4];
                if u64::from(len) >= 44 && self.read(at, HEADER, &mut fixed) {
                    say(Unit::LocalApic, word(&fixed, 0).into(), PAGE);
                }
                self.entries(at, 44, len, false, |kind, entry| match kind {
                    1 => say(Unit::IoApic, word(entry, 4).into(), PAGE),
                    5 => say(Unit::LocalApic, long(entry, 4), PAGE),
                    _ => {}
                });
            }
            b"DMAR" => self.entries(at, 48, len, true, |kind, entry| {
                if kind == 0 {
                    // The size is 2^N pages. N is 0 in older tables, where the field was reserved.
                    let pages = 1 << (entry.get(5).copied().unwrap_or(0) & 15);
                    say(Unit::Iommu, long(entry, 8), pages * PAGE);
                }
            }),
            b"MCFG" => {
                let mut offset = 44;
                while offset + 16 <= u64::from(len) {
                    let mut entry = [0; 16];
                    if !self.read(at, offset, &mut entry) {
                        break;
                    }
                    // The address is that of bus 0, even where the first bus is another: each bus
                    // has 1 MiB.
                    let [.., first, last, _, _, _, _] = entry;
                    let buses = (u64::from(last) + 1).saturating_sub(first.into());
                    if let Some(start) = long(&entry, 0).checked_add(u64::from(first) * MIB) {
                        say(Unit::PciConfiguration, start, buses * MIB);
                    }
                    offset += 16;
                }
                self.walked.broken += u16::from(offset != u64::from(len));
            }
            _ => {}
        }
    }

    /// Calls `entry` with the kind and the first 16 bytes of each entry of a table, from offset
    /// `first` on. Each entry begins with its kind and its length, which have one byte each, or two
    /// where `wide`.
    fn entries(&mut self, at: PhysAddr, first: u64, len: u32, wide: bool, mut entry: impl FnMut(u16, &[u8])) {
        let len = u64::from(len);
        let mut offset = first;
        while offset < len {
            let mut bytes = [0; 16];
            let there = (len - offset).min(16) as usize;
            let reached = bytes.get_mut(..there).is_some_and(|bytes| self.read(at, offset, bytes));
            let [a, b, c, d, ..] = bytes;
            let (kind, size) = if wide {
                (u16::from_le_bytes([a, b]), u64::from(u16::from_le_bytes([c, d])))
            } else {
                (u16::from(a), u64::from(b))
            };
            // An entry without a length would be read for ever, and one longer than the table is
            // invalid.
            if !reached || size < 4 || size > len - offset {
                self.walked.broken += 1;
                return;
            }
            // The bytes behind a short entry belong to the next one.
            bytes.get_mut((size as usize).min(16)..).unwrap_or_default().fill(0);
            entry(kind, &bytes);
            offset += size;
        }
    }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

/// The little-endian 32-bit number at an offset; 0 if fewer than four bytes are there.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The little-endian 64-bit number at an offset; 0 if fewer than eight bytes are there.
fn long(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
