//! What another program reads in the same tables: the crate `acpi`.
#![allow(unsafe_code)]

use super::platform::{fadt, register};
use super::recorded;
use super::{Pieces, ROOT, hpet, machine, madt, mcfg};
use crate::acpi::platform::{IoApic, Platform, PowerOff};
use crate::acpi::{Unit, walk};
use crate::addr::PhysAddr;
use acpi::address::{AddressSpace, GenericAddress};
use acpi::fadt::Fadt;
use acpi::hpet::HpetInfo;
use acpi::madt::{Madt, MadtEntry};
use acpi::mcfg::Mcfg;
use acpi::{AcpiHandler, AcpiTables, PhysicalMapping};
use proptest::prelude::*;
use std::ptr::NonNull;
use std::rc::Rc;

/// Gives the other one copies of the memory, with zeros behind: it reads fields that a short table does not have.
#[derive(Clone)]
struct Copies(Rc<Pieces>);

const BEHIND: usize = 512;

impl AcpiHandler for Copies {
    unsafe fn map_physical_region<T>(&self, at: usize, size: usize) -> PhysicalMapping<Self, T> {
        let mut copy = vec![0u64; (size + BEHIND).div_ceil(8)].into_boxed_slice();
        let bytes: &mut [u8] = zerocopy::IntoBytes::as_mut_bytes(&mut *copy);
        let (start, piece) = self.0.pieces.range(..=at as u64).next_back().expect("memory");
        let there = &piece[(at as u64 - start) as usize..];
        let len = there.len().min(bytes.len());
        bytes[..len].copy_from_slice(&there[..len]);
        let words = copy.len();
        let start = NonNull::new(Box::into_raw(copy).cast::<T>()).expect("a box");
        // SAFETY: the copy is long enough, and lives until the mapping is given back.
        unsafe { PhysicalMapping::new(at, start, size, words * 8, self.clone()) }
    }

    fn unmap_physical_region<T>(region: &PhysicalMapping<Self, T>) {
        let start = region.virtual_start().as_ptr().cast::<u64>();
        // SAFETY: this is the box that was made above, which is given back once.
        drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(start, region.mapped_length() / 8)) });
    }
}

/// The port at the start of a register, if it is behind ports.
fn port(address: Option<GenericAddress>, len: u64) -> Option<u16> {
    let address = address.filter(|a| a.address_space == AddressSpace::SystemIo)?;
    (address.address != 0 && address.address + len <= 0x1_0000).then_some(address.address as u16)
}

/// Compares what both find. Only where the other one has no answer, or one that cannot be used, ours may be another.
fn compare(memory: Pieces, root: u64) -> Result<(), TestCaseError> {
    let (mut platform, mut found) = (Platform::default(), Vec::new());
    let mut ours = memory.clone();
    walk(&mut ours, PhysAddr::new(root), &mut |unit| found.push(unit), &mut platform).expect("a root pointer");
    // SAFETY: the tables are well-formed, and the copies of them are longer than they say.
    let tables = unsafe { AcpiTables::from_rsdp(Copies(Rc::new(memory)), root as usize) }.expect("a root pointer");

    if let Ok(madt) = tables.find_table::<Madt>() {
        let mut local = u64::from(madt.get().local_apic_address);
        let (mut io_apics, mut lines, mut nmi) = (Vec::<IoApic>::new(), Platform::default().isa, [false; 2]);
        for entry in madt.get().entries() {
            match entry {
                MadtEntry::IoApic(entry) => {
                    let address = PhysAddr::new({ entry.io_apic_address }.into());
                    let one = IoApic { id: entry.io_apic_id, address, first_gsi: entry.global_system_interrupt_base };
                    let same = |other: &IoApic| other.address == address || other.first_gsi == one.first_gsi;
                    if !io_apics.iter().any(same) && io_apics.len() < platform.io_apics.len() {
                        io_apics.push(one);
                    }
                }
                MadtEntry::InterruptSourceOverride(entry) if entry.bus == 0 && entry.irq < 16 => {
                    lines[usize::from(entry.irq)].gsi = entry.global_system_interrupt;
                }
                MadtEntry::LocalApicAddressOverride(entry) => local = entry.local_apic_address,
                MadtEntry::LocalApicNmi(entry) if entry.nmi_line < 2 => nmi[usize::from(entry.nmi_line)] = true,
                MadtEntry::X2ApicNmi(entry) if entry.nmi_line < 2 => nmi[usize::from(entry.nmi_line)] = true,
                _ => {}
            }
        }
        prop_assert_eq!(platform.local_apic, Some(PhysAddr::new(local)));
        prop_assert_eq!(platform.has_8259, madt.get().supports_8259());
        prop_assert_eq!(platform.io_apics.into_iter().flatten().collect::<Vec<_>>(), io_apics);
        prop_assert_eq!(platform.isa.map(|line| line.gsi), lines.map(|line| line.gsi));
        prop_assert_eq!(platform.nmi.map(|signal| signal.is_some()), nmi);
    } else {
        prop_assert_eq!(platform.local_apic, None);
    }

    match tables.find_table::<Fadt>() {
        Ok(fadt) => {
            let (flags, arch) = ({ fadt.flags }, { fadt.iapc_boot_arch });
            if !flags.system_is_hw_reduced_acpi() {
                match fadt.pm_timer_block() {
                    Ok(None) => prop_assert_eq!(platform.pm_timer, None),
                    Ok(block) => {
                        if let Some(port) = port(block, 4) {
                            let timer = platform.pm_timer.expect("there is a timer");
                            prop_assert_eq!((timer.port, timer.is_32_bits), (port, flags.pm_timer_is_32_bit()));
                        }
                    }
                    Err(_) => {}
                }
            }
            if flags.supports_system_reset_via_fadt() {
                let reset = fadt.reset_register().ok().and_then(|register| port(Some(register), 1));
                prop_assert_eq!(platform.reset.map(|reset| reset.port), reset);
                prop_assert!(platform.reset.is_none_or(|reset| reset.value == fadt.reset_value));
            } else {
                prop_assert_eq!(platform.reset, None);
            }
            if let Some(ours) = platform.boot_arch {
                prop_assert_eq!(ours.has_legacy_devices, arch.legacy_devices_are_accessible());
                prop_assert_eq!(ours.has_i8042, arch.motherboard_implements_8042());
                prop_assert_eq!(ours.no_vga, arch.dont_probe_vga());
                prop_assert_eq!(ours.no_msi, arch.dont_enable_msi());
                prop_assert_eq!(ours.no_rtc, arch.use_time_and_alarm_namespace_for_rtc());
            }
            if let Some(PowerOff::Pm1 { a, b }) = platform.power_off {
                let theirs = (fadt.pm1a_control_block(), fadt.pm1b_control_block());
                if let Some(port) = theirs.0.ok().and_then(|block| port(Some(block), 2)) {
                    prop_assert_eq!(a.port, port);
                }
                if let Some(port) = theirs.1.ok().and_then(|block| port(block, 2)).filter(|port| *port != a.port) {
                    prop_assert_eq!(b.map(|b| b.port), Some(port));
                }
            }
        }
        Err(_) => prop_assert_eq!((platform.pm_timer, platform.reset, platform.boot_arch), (None, None, None)),
    }

    match HpetInfo::new(&tables) {
        Ok(theirs) => {
            let ours = platform.hpet.expect("there is a HPET");
            prop_assert_eq!(
                (ours.address.number() as usize, ours.min_tick),
                (theirs.base_address, theirs.clock_tick_unit)
            );
        }
        Err(_) => prop_assert_eq!(platform.hpet, None),
    }

    let of_pci = found.iter().filter(|unit| unit.unit == Unit::PciConfiguration);
    let ours: Vec<_> = of_pci.map(|unit| (unit.start.number(), unit.len)).collect();
    let mcfg = tables.find_table::<Mcfg>();
    let entries = mcfg.as_ref().map_or(&[][..], |mcfg| {
        // SAFETY: nothing moves out of it.
        unsafe { core::pin::Pin::into_inner_unchecked(mcfg.get()) }.entries()
    });
    let range = |first: u8, last: u8| (u64::from(first) << 20, (u64::from(last) + 1 - u64::from(first)) << 20);
    let theirs = entries.iter().map(|entry| {
        let (offset, len) = range(entry.bus_number_start, entry.bus_number_end);
        (entry.base_address + offset, len)
    });
    prop_assert_eq!(ours, theirs.collect::<Vec<_>>());
    Ok(())
}

#[test]
fn recorded_tables_say_the_same_to_another_reader() {
    for name in recorded::NAMES {
        let (memory, root) = recorded::machine(name);
        compare(memory, root).unwrap_or_else(|what| panic!("{name}: {what}"));
    }
}

/// Entries of a MADT of the kinds that are read, and of one that is not. I/O APICs are `24` interrupts apart.
fn entry() -> impl Strategy<Value = Vec<u8>> {
    let u16s = |number: u16| number.to_le_bytes();
    prop_oneof![
        (any::<u8>(), 1u32..40, 0u32..12).prop_map(|(id, at, index)| {
            [&[1, 12, id, 0][..], &(0xfec0_0000 + at * 0x100).to_le_bytes(), &(index * 24).to_le_bytes()].concat()
        }),
        (0u8..2, 0u8..20, 0u32..24, 0u16..16).prop_map(move |(bus, line, gsi, flags)| {
            [&[2, 10, bus, line][..], &gsi.to_le_bytes(), &u16s(flags)].concat()
        }),
        (any::<u8>(), any::<u16>(), 0u8..3)
            .prop_map(move |(id, flags, input)| { [&[4, 6, id][..], &u16s(flags), &[input]].concat() }),
        (any::<u32>(), any::<u16>(), 0u8..3).prop_map(move |(id, flags, input)| {
            [&[10, 12][..], &u16s(flags), &id.to_le_bytes(), &[input, 0, 0, 0]].concat()
        }),
        (1u64..1 << 40).prop_map(|page| [&[5, 12, 0, 0][..], &(page << 12).to_le_bytes()].concat()),
        any::<[u8; 6]>().prop_map(|rest| [&[0, 8][..], &rest].concat()),
        any::<[u8; 14]>().prop_map(|rest| [&[9, 16][..], &rest].concat()),
    ]
}

/// A Generic Address Structure; most are of ports.
fn address() -> impl Strategy<Value = [u8; 12]> {
    let address = prop_oneof![8 => 1u64..0xfff0, 2 => Just(0), 1 => any::<u64>()];
    (prop_oneof![8 => Just(1u8), 1 => Just(0), 1 => Just(2)], address).prop_map(|(space, at)| register(space, at))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Tables with any content in the fields, which are well-formed: the other one does not bear others.
    #[test]
    fn any_well_formed_tables_say_the_same_to_another_reader(
        local in 1u32..1 << 20,
        entries in prop::collection::vec(entry(), 0..24),
        flags in any::<[u8; 3]>(),
        arch in any::<u8>(),
        (narrow, lengths) in (prop::array::uniform3(prop_oneof![4 => 1u32..0xfff0, 1 => Just(0)]), (0u8..4, 3u8..6)),
        (old, wide, reset) in (any::<bool>(), prop::array::uniform3(address()), (address(), any::<u8>())),
        timer in prop::option::of((1u64..1 << 40, any::<u16>())),
        areas in prop::collection::vec((1u64..1 << 20, 0u8..128, 128u8..=255), 0..4),
    ) {
        // An I/O APIC at 0, which has the lines that the overrides name.
        let first = [1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0];
        let entries: Vec<&[u8]> = std::iter::once(&first[..]).chain(entries.iter().map(Vec::as_slice)).collect();
        let narrow = narrow.map(u32::to_le_bytes);
        let mut fields: Vec<(usize, &[u8])> = vec![(64, &narrow[0]), (68, &narrow[1]), (76, &narrow[2])];
        let (lengths, arch, value) = ([[lengths.0], [lengths.1]], [arch], [reset.1]);
        // Not the flag of a hardware-reduced machine, nor that of a reset register that a short table has not.
        let flags = [flags[0], if old { flags[1] & !4 } else { flags[1] }, flags[2] & 0xf];
        fields.extend([(89, &lengths[0][..]), (91, &lengths[1]), (109, &arch), (112, &flags)]);
        let wide: [(usize, &[u8]); 5] = [(116, &reset.0), (128, &value), (172, &wide[0]), (184, &wide[1]), (208, &wide[2])];
        if !old {
            fields.extend(wide);
        }
        let mut tables = vec![madt(local << 12, &entries), if old { fadt(1, 116, &fields) } else { fadt(4, 244, &fields) }];
        if let Some((at, tick)) = timer {
            let mut table = hpet(0, at << 12);
            table[53..55].copy_from_slice(&tick.to_le_bytes());
            super::seal(&mut table, 9);
            tables.push(table);
        }
        let areas: Vec<_> = areas.into_iter().map(|(base, first, last)| (base << 20, first, last)).collect();
        tables.push(mcfg(&areas));
        let mut memory = machine(&tables, true);
        memory.pieces.insert(super::platform::DSDT, super::table(b"DSDT", super::platform::S5));
        compare(memory, ROOT)?;
    }
}
