//! Reads the firmware's tables (ACPI 6.5, section 5.2). They tell the addresses of devices that no
//! task may have (PCI configuration space, interrupt controllers, the HPET, IOMMUs), and what the
//! kernel needs to know of the machine: see [`Platform`].
//!
//! The tables are read in pieces through [`Physical`] and are not trusted: lengths and counts are
//! bounded, checksums are verified, and a broken table is skipped and counted.

mod fadt;
mod madt;
pub mod platform;
mod s5;

pub use platform::Platform;

use crate::addr::PhysAddr;
use fadt::{Fadt, SleepTypes};
use platform::{Hpet, Register};

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

/// The result of [`walk`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Tables that were read completely: the root table, and those that name devices that no task
    /// gets.
    pub tables: u16,
    /// Tables, of any use, that could not be read, have a wrong length or checksum, or end in the
    /// middle of an entry.
    pub broken: u16,
}

/// The most tables that are read. Real machines have about 30.
const MAX_TABLES: u64 = 256;
/// The most bytes of one table that are read. Larger tables hold AML, of which little is needed.
const MAX_LEN: u32 = 1 << 20;
/// The most bytes of AML that are read altogether.
const MAX_AML: u32 = 2 * MAX_LEN;
/// Bytes of every table's header (section 5.2.6): signature, then the length at offset 4, and a
/// checksum over the whole table.
const HEADER: u64 = 36;
const PAGE: u64 = abi::PAGE_SIZE as u64;
const MIB: u64 = 1 << 20;

/// Reads the tables that the root pointer at physical address `rsdp` (section 5.2.5) leads to, and
/// calls `found` for each device that they name. `platform`, which is to be the default, gets what
/// they say. Returns `None` if there is no valid root pointer.
pub fn walk(
    memory: &mut dyn Physical,
    rsdp: PhysAddr,
    found: &mut dyn FnMut(Found),
    platform: &mut Platform,
) -> Option<Walked> {
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
    let mut walk = Walk { memory, platform, walked: Walked::default(), has_madt: false, fadt: None, aml: MAX_AML };
    if let Some((signature, len)) = walk.table(at) {
        if signature != *b"RSDT" && signature != *b"XSDT" {
            walk.walked.broken += 1;
            return Some(walk.walked);
        }
        let entries = u64::from(len).saturating_sub(HEADER);
        let root = Root { at, width, count: (entries / width).min(MAX_TABLES) };
        for index in 0..root.count {
            if let Some(table) = walk.entry(root, index) {
                walk.one(table, found);
            }
        }
        walk.use_fadt(root);
    }
    Some(walk.walked)
}

/// The table of the other tables' addresses.
#[derive(Clone, Copy)]
struct Root {
    at: PhysAddr,
    /// Bytes of each address.
    width: u64,
    /// Number of addresses.
    count: u64,
}

struct Walk<'a> {
    memory: &'a mut dyn Physical,
    platform: &'a mut Platform,
    walked: Walked,
    /// Whether a MADT was read. A second one is not used.
    has_madt: bool,
    /// The first FADT.
    fadt: Option<Fadt>,
    /// Bytes of AML that may still be read.
    aml: u32,
}

impl Walk<'_> {
    /// An address in the root table.
    fn entry(&mut self, root: Root, index: u64) -> Option<PhysAddr> {
        let mut entry = [0; 8];
        let bytes = entry.get_mut(..root.width as usize)?;
        self.read(root.at, HEADER + index * root.width, bytes).then(|| PhysAddr::new(u64::from_le_bytes(entry)))
    }

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
        let ours = matches!(&signature, b"RSDT" | b"XSDT" | b"MCFG" | b"APIC" | b"HPET" | b"DMAR" | b"FACP");
        if reached && !ours {
            return None;
        }
        let whole = reached && (HEADER as u32..=MAX_LEN).contains(&len) && self.checksum(at, len) == Some(0);
        if !whole {
            self.walked.broken += 1;
            return None;
        }
        self.walked.tables += u16::from(signature != *b"FACP");
        Some((signature, len))
    }

    fn checksum(&mut self, at: PhysAddr, len: u32) -> Option<u8> {
        let mut total = 0u8;
        let mut piece = [0; 128];
        for offset in (0..len).step_by(128) {
            let piece = piece.get_mut(..(len - offset).min(128) as usize)?;
            self.read(at, offset.into(), piece).then_some(())?;
            total = total.wrapping_add(sum(piece));
        }
        Some(total)
    }

    /// Notes what the FADT says, and finds how the machine is switched off: the FADT names the
    /// registers, and the DSDT or, failing that, an SSDT the values.
    fn use_fadt(&mut self, root: Root) {
        let Some(fadt) = self.fadt else { return };
        fadt.note(self.platform);
        if !fadt.can_power_off() {
            return;
        }
        let mut types = None;
        // Where the first address leads to no DSDT the second one may.
        for at in fadt.dsdt().into_iter().flatten() {
            if let Ok(result) = self.aml(at, *b"DSDT") {
                types = result;
                break;
            }
        }
        for index in 0..root.count {
            if types.is_some() {
                break;
            }
            types = self.entry(root, index).and_then(|at| self.aml(at, *b"SSDT").ok().flatten());
        }
        self.platform.power_off = types.and_then(|types| fadt.power_off(types));
    }

    /// The values in the `_S5_` of a table of AML. It is an error if the table has another
    /// signature or is broken.
    fn aml(&mut self, at: PhysAddr, signature: [u8; 4]) -> Result<Option<SleepTypes>, ()> {
        let mut header = [0; 8];
        let reached = at != PhysAddr::new(0) && self.read(at, 0, &mut header);
        if signature == *b"SSDT" && !header.starts_with(&signature) {
            return Err(());
        }
        let len = word(&header, 4);
        let fits = reached && header.starts_with(&signature) && (HEADER as u32..=MAX_LEN.min(self.aml)).contains(&len);
        let result = if fits {
            self.aml -= len;
            self.sleep_types(at, len)
        } else {
            Err(())
        };
        self.walked.broken += u16::from(result.is_err());
        result
    }

    /// Calls `found` for each device that a table names, and notes what else it says.
    fn one(&mut self, at: PhysAddr, found: &mut dyn FnMut(Found)) {
        let Some((signature, len)) = self.table(at) else { return };
        let mut say = |unit, start: u64, len: u64| {
            if start != 0 && len != 0 && start.checked_add(len).is_some() {
                found(Found { unit, start: PhysAddr::new(start), len });
            }
        };
        match &signature {
            b"HPET" => {
                // The address is a Generic Address Structure. Behind it are the number of the HPET
                // and the shortest period.
                let mut fields = [0; 15];
                let there = (u64::from(len) - HEADER).saturating_sub(4).min(15);
                let Some(bytes) = fields.get_mut(..there as usize).filter(|bytes| bytes.len() >= 12) else { return };
                if !self.read(at, 40, bytes) {
                    return;
                }
                if fields.first() == Some(&0) {
                    say(Unit::Hpet, long(&fields, 4), PAGE);
                }
                let address = Register::of(&fields, 1024).and_then(Register::memory);
                if let Some(address) = address.filter(|address| address.number().is_multiple_of(1024)) {
                    self.platform.hpet.get_or_insert(Hpet { address, min_tick: half(&fields, 13) });
                }
            }
            b"APIC" => {
                let mut fixed = [0; 8];
                let first = !self.has_madt;
                if u64::from(len) < 44 || !self.read(at, HEADER, &mut fixed) {
                    self.walked.broken += 1;
                    return;
                }
                self.has_madt = true;
                let mut platform = *self.platform;
                say(Unit::LocalApic, word(&fixed, 0).into(), PAGE);
                platform.note_madt(word(&fixed, 0), word(&fixed, 4));
                self.entries(at, 44, len, false, |kind, entry| {
                    match kind {
                        1 => say(Unit::IoApic, word(entry, 4).into(), PAGE),
                        5 => say(Unit::LocalApic, long(entry, 4), PAGE),
                        _ => {}
                    }
                    platform.note_entry(kind, entry);
                });
                if first {
                    platform.check_lines();
                    *self.platform = platform;
                }
            }
            b"FACP" => {
                let mut fadt = Fadt([0; fadt::LEN]);
                let there = len.min(fadt::LEN as u32) as usize;
                if self.fadt.is_none() && fadt.0.get_mut(..there).is_some_and(|bytes| self.read(at, 0, bytes)) {
                    self.fadt = Some(fadt);
                }
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

    /// Calls `entry` with the kind and at most the first 16 bytes of each entry of a table, from
    /// offset `first` on. Each entry begins with its kind and its length, which have one byte each,
    /// or two where `wide`.
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
            entry(kind, bytes.get(..(size as usize).min(16)).unwrap_or_default());
            offset += size;
        }
    }
}

/// The sum of the bytes, from which a checksum is made. Tables of AML are long, so eight bytes are
/// added together.
fn sum(bytes: &[u8]) -> u8 {
    const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
    let (words, rest) = bytes.as_chunks();
    let mut total = rest.iter().fold(0u64, |sum, &byte| sum + u64::from(byte));
    for word in words {
        let word = u64::from_le_bytes(*word);
        // Four sums of two bytes each, of 16 bits. The product has the sum of these in its highest
        // 16 bits.
        let pairs = (word & EVEN) + (word >> 8 & EVEN);
        total = total.wrapping_add(pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48);
    }
    total as u8
}

/// The little-endian 16-bit number at an offset; 0 if fewer than two bytes are there.
fn half(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u16::from_le_bytes(*bytes))
}

/// The little-endian 32-bit number at an offset; 0 if fewer than four bytes are there.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The little-endian 64-bit number at an offset; 0 if fewer than eight bytes are there.
fn long(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
