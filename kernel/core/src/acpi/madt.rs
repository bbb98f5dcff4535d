//! The interrupt controllers that the MADT names (ACPI 6.5, section 5.2.12).

use super::platform::{IoApic, IsaLine, Platform, Signal};
use super::{half, long, word};
use crate::addr::PhysAddr;

impl Platform {
    /// Notes what stands before the entries: the local APICs' address, and the flags.
    pub(super) fn note_madt(&mut self, local_apic: u32, flags: u32) {
        self.note_local_apic(local_apic.into());
        self.has_8259 = flags & 1 != 0;
    }

    /// Notes an entry of this kind, which may be shorter than the kind asks for.
    pub(super) fn note_entry(&mut self, kind: u16, entry: &[u8]) {
        match (kind, entry) {
            (1, &[_, _, id, _, _, _, _, _, _, _, _, _, ..]) => self.note_io_apic(id, word(entry, 4), word(entry, 8)),
            // An override of a line of bus 0, which is the ISA bus. The last one for a line counts.
            (2, &[_, _, 0, line, _, _, _, _, low, high, ..]) => {
                if let Some(line) = self.isa.get_mut(usize::from(line)) {
                    *line = IsaLine { gsi: word(entry, 4), signal: Signal::of(u16::from_le_bytes([low, high])) };
                }
            }
            (4, &[_, _, _, _, _, input, ..]) => self.note_nmi(input, half(entry, 3)),
            (5, [_, _, _, _, _, _, _, _, _, _, _, _, ..]) => self.note_local_apic(long(entry, 4)),
            // The same as kind 4, for processors whose numbers are larger.
            (10, &[_, _, _, _, _, _, _, _, input, _, _, _, ..]) => self.note_nmi(input, half(entry, 2)),
            _ => {}
        }
    }

    /// Reverts the lines whose global system interrupt no I/O APIC can have. The I/O APICs may
    /// stand behind the overrides, so this is known only after the last entry.
    pub(super) fn check_lines(&mut self) {
        let copy = *self;
        for (number, line) in (0..).zip(&mut self.isa) {
            if line.gsi != number && copy.io_apic(line.gsi).is_none() {
                *line = IsaLine::plain(number);
            }
        }
    }

    fn note_local_apic(&mut self, address: u64) {
        let address = PhysAddr::new(address);
        if address != PhysAddr::default() && address.offset_in_page() == 0 && address.number() < 1 << 52 {
            self.local_apic = Some(address);
        }
    }

    /// Notes an I/O APIC, unless it shares its address or its first interrupt with one before it.
    fn note_io_apic(&mut self, id: u8, address: u32, first_gsi: u32) {
        let same = |other: &IoApic| other.address == PhysAddr::new(address.into()) || other.first_gsi == first_gsi;
        if address == 0 || !address.is_multiple_of(256) || self.io_apics.iter().flatten().any(same) {
            return;
        }
        if let Some(place) = self.io_apics.iter_mut().find(|place| place.is_none()) {
            *place = Some(IoApic { id, address: PhysAddr::new(address.into()), first_gsi });
        }
    }

    /// Notes an NMI at a LINT input. Firmware names all processors, or each with the same input; if
    /// not, the first one counts.
    fn note_nmi(&mut self, input: u8, flags: u16) {
        if let Some(place) = self.nmi.get_mut(usize::from(input)) {
            place.get_or_insert(Signal::of(flags));
        }
    }
}
