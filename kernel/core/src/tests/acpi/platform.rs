//! Hand-made tables of odd shapes, and what the kernel learns from them.

use super::{ROOT, hpet, io_apic, machine, madt, seal, table};
use crate::acpi::platform::{
    BootArch, Hpet, MAX_IO_APICS, Platform, Pm1Control, PmTimer, Polarity, PowerOff, Register, Reset, Signal, Trigger,
};
use crate::acpi::{Walked, walk};
use crate::addr::PhysAddr;

/// Where the tests have the table of AML that the FADT names.
pub const DSDT: u64 = 0x7f0_0000;
/// The usual definition: `Name (_S5_, Package () { 5, 6, Zero, Zero })`.
pub const S5: &[u8] = b"\x08_S5_\x12\x08\x04\x0a\x05\x0a\x06\0\0";

/// A FADT of a revision and a length, with what is at some offsets.
pub fn fadt(revision: u8, len: usize, fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut fadt = table(b"FACP", &vec![0; len - 36]);
    fadt[8] = revision;
    for (at, bytes) in [(40, &(DSDT as u32).to_le_bytes()[..])].iter().chain(fields) {
        fadt[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    seal(&mut fadt, 9);
    fadt
}

/// A Generic Address Structure.
pub fn register(space: u8, address: u64) -> [u8; 12] {
    let mut bytes = [space, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes[4..].copy_from_slice(&address.to_le_bytes());
    bytes
}

pub fn learnt_with(tables: &[Vec<u8>], dsdt: Vec<u8>) -> (Platform, Walked) {
    let mut memory = machine(tables, true);
    memory.pieces.insert(DSDT, dsdt);
    let mut platform = Platform::default();
    let walked = walk(&mut memory, PhysAddr::new(ROOT), &mut |_| {}, &mut platform);
    (platform, walked.expect("a root pointer"))
}

fn learnt(tables: &[Vec<u8>]) -> Platform {
    learnt_with(tables, table(b"DSDT", S5)).0
}

fn line(line: u8, gsi: u32, flags: u16) -> Vec<u8> {
    let mut entry = vec![2, 10, 0, line];
    entry.extend(gsi.to_le_bytes());
    entry.extend(flags.to_le_bytes());
    entry
}

fn io_apic_at(at: u32, first: u32) -> Vec<u8> {
    let mut entry = io_apic(at);
    entry[8..].copy_from_slice(&first.to_le_bytes());
    entry
}

pub fn off(a: (u16, u8), b: Option<(u16, u8)>) -> Option<PowerOff> {
    let of = |(port, sleep_type)| Pm1Control { port, sleep_type };
    Some(PowerOff::Pm1 { a: of(a), b: b.map(of) })
}

pub const PM1: [(usize, &[u8]); 2] = [(64, &[4, 6, 0, 0]), (89, &[2])];

#[test]
fn without_tables_the_machine_is_a_plain_pc() {
    let plain = Platform::default();
    assert!(plain.has_8259 && plain.local_apic.is_none());
    for (number, line) in (0..).zip(plain.isa) {
        assert_eq!((line.gsi, line.signal.trigger, line.signal.polarity), (number, Trigger::Edge, Polarity::High));
    }
    assert_eq!(learnt(&[]), plain);
}

#[test]
fn an_override_says_where_a_line_arrives_and_how() {
    let first = io_apic_at(0xfec0_0000, 0);
    for flags in 0..=u16::MAX >> 8 {
        let platform = learnt(&[madt(0, &[&first, &line(9, 20, flags)])]);
        let trigger = [Trigger::Edge, Trigger::Edge, Trigger::Edge, Trigger::Level][usize::from(flags >> 2 & 3)];
        let polarity = [Polarity::High, Polarity::High, Polarity::High, Polarity::Low][usize::from(flags & 3)];
        assert_eq!((platform.isa[9].gsi, platform.isa[9].signal), (20, Signal { trigger, polarity }), "{flags:#x}");
    }
    // The I/O APIC may come later; the last of several overrides counts; a line of another bus, one
    // beyond the 16, and an entry that is too short are none.
    let mut other_bus = line(3, 17, 0);
    other_bus[2] = 1;
    let entries = [&line(0, 2, 0), &line(4, 18, 15), &line(4, 19, 0), &other_bus, &line(16, 21, 0), &first];
    let short: &[u8] = &[2, 8, 0, 5, 22, 0, 0, 0];
    let entries: Vec<&[u8]> = entries.iter().map(|entry| entry.as_slice()).chain([short]).collect();
    let platform = learnt(&[madt(0, &entries)]);
    let mut expected = Platform::default().isa;
    (expected[0].gsi, expected[4].gsi) = (2, 19);
    assert_eq!(platform.isa, expected);
    // What no I/O APIC can have: the line is as without the override.
    for gsi in [240, 0xffff_ffff] {
        assert_eq!(learnt(&[madt(0, &[&first, &line(9, gsi, 15)])]).isa, Platform::default().isa, "{gsi:#x}");
    }
    assert_eq!(learnt(&[madt(0, &[&first, &line(9, 239, 0)])]).isa[9].gsi, 239);
}

#[test]
fn io_apics_are_kept_once_and_not_beyond_the_room_for_them() {
    let all: Vec<_> = (0..12).map(|index| io_apic_at(0xfec0_0000 + index * 0x1000, index * 24)).collect();
    let entries: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    let firsts = learnt(&[madt(0, &entries)]).io_apics.map(|io_apic| io_apic.expect("it is there").first_gsi);
    assert_eq!(firsts.as_slice(), (0..MAX_IO_APICS as u32).map(|index| index * 24).collect::<Vec<_>>());
    let kept = |entries: &[&[u8]]| learnt(&[madt(0, entries)]).io_apics.iter().flatten().count();
    let first = io_apic_at(0xfec0_0000, 0);
    assert_eq!(kept(&[&first, &io_apic_at(0xfec0_0000, 24)]), 1, "the same address");
    assert_eq!(kept(&[&first, &io_apic_at(0xfec1_0000, 0)]), 1, "the same first interrupt");
    assert_eq!(kept(&[&io_apic_at(0, 0), &io_apic_at(0xfec0_0010, 0)]), 0, "no address of registers");
    assert_eq!(
        kept(&[&first[..8]
            .iter()
            .copied()
            .enumerate()
            .map(|(at, byte)| if at == 1 { 8 } else { byte })
            .collect::<Vec<_>>()]),
        0,
        "too short"
    );
}

#[test]
fn local_apics_and_their_nmis() {
    // Processors that only have an x2APIC entry; 8259s that are missing.
    let x2apic: &[u8] = &[9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0];
    let x2apic_nmi: &[u8] = &[10, 12, 13, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0];
    let wide: &[u8] = &[5, 12, 0, 0, 0, 0, 0xe0, 0xfe, 1, 0, 0, 0];
    let nmi: &[u8] = &[4, 6, 0xff, 15, 0, 0];
    let mut without = madt(0xfee0_0000, &[x2apic, x2apic_nmi]);
    without[40] = 0;
    seal(&mut without, 9);
    let platform = learnt(&[without]);
    assert_eq!((platform.local_apic, platform.has_8259), (Some(PhysAddr::new(0xfee0_0000)), false));
    // 13: active high, level.
    let level = Signal { trigger: Trigger::Level, polarity: Polarity::High };
    assert_eq!(platform.nmi, [None, Some(level)]);
    let platform = learnt(&[madt(0xfee0_0000, &[wide, nmi, x2apic_nmi]), madt(0xfed0_0000, &[])]);
    assert_eq!(
        (platform.local_apic, platform.has_8259),
        (Some(PhysAddr::new(0x1_fee0_0000)), true),
        "and the first MADT"
    );
    assert_eq!(platform.nmi[0], Some(Signal { trigger: Trigger::Level, polarity: Polarity::Low }));
    // Addresses that are none, and inputs that are none.
    let nowhere: &[u8] = &[5, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let beyond: &[u8] = &[5, 12, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0];
    let odd: &[u8] = &[5, 12, 0, 0, 1, 0, 0xe0, 0xfe, 1, 0, 0, 0];
    let platform = learnt(&[madt(0xfee0_0000, &[nowhere, beyond, odd, &[4, 6, 0xff, 0, 0, 2], &[4, 4, 0xff, 0]])]);
    assert_eq!((platform.local_apic, platform.nmi), (Some(PhysAddr::new(0xfee0_0000)), [None; 2]));
}

#[test]
fn the_hpet_is_in_memory_and_has_its_registers_in_one_page() {
    let mut wide = hpet(0, 0xfed0_0400);
    wide[53..55].copy_from_slice(&0x1234u16.to_le_bytes());
    seal(&mut wide, 9);
    let expected = Hpet { address: PhysAddr::new(0xfed0_0400), min_tick: 0x1234 };
    assert_eq!(learnt(&[wide, hpet(0, 0xfed0_1000)]).hpet, Some(expected));
    for (space, at) in [(1, 0xfed0_0000), (0, 0), (0, 0xfed0_0100), (0, 1 << 52), (0, u64::MAX << 10)] {
        assert_eq!(learnt(&[hpet(space, at)]).hpet, None, "{at:#x} in space {space}");
    }
}

#[test]
fn the_first_fadt_has_116_bytes_and_nothing_later() {
    let later = [(109, &[0xff, 0xff][..]), (112, &[0, 5, 0, 0]), (76, &[8, 6, 0, 0]), (91, &[4])];
    let fields = [PM1.as_slice(), &later].concat();
    let platform = learnt(&[fadt(1, 116, &fields)]);
    assert_eq!(platform.power_off, off((0x604, 5), None));
    assert_eq!(platform.pm_timer, Some(PmTimer { port: 0x608, is_32_bits: true }));
    assert_eq!((platform.reset, platform.boot_arch), (None, None));
    // A table of revision 1 whose bytes go on; they mean something else.
    let gas = register(1, 0xcf9);
    let long = [fields.as_slice(), &[(116, &gas), (128, &[6]), (172, &gas), (208, &gas), (140, &[1])]].concat();
    assert_eq!(learnt(&[fadt(1, 244, &long)]), platform);
    // One that ends in the middle of a field.
    assert_eq!(learnt(&[fadt(3, 120, &fields)]).reset, None);
}

#[test]
fn wide_fields_win_where_they_are_valid() {
    let (timer, a, b) = (register(1, 0x808), register(1, 0x804), register(1, 0x814));
    let narrow = [PM1.as_slice(), &[(68, &[0x14, 6, 0, 0]), (76, &[8, 6, 0, 0]), (91, &[4])]].concat();
    let of = |wide: &[(usize, &[u8])]| {
        let platform = learnt(&[fadt(3, 244, &[narrow.as_slice(), wide].concat())]);
        (platform.power_off, platform.pm_timer.map(|timer| timer.port))
    };
    assert_eq!(of(&[]), (off((0x604, 5), Some((0x614, 6))), Some(0x608)), "all are 0");
    assert_eq!(of(&[(172, &a), (184, &b), (208, &timer)]), (off((0x804, 5), Some((0x814, 6))), Some(0x808)));
    for (space, address) in [(0, 0x804), (2, 0x804), (1, 0), (1, 0xffff), (1, 0x1_0000), (1, u64::MAX), (127, 4)] {
        let odd = register(space, address);
        let (power_off, timer) = of(&[(172, &odd), (208, &odd)]);
        assert_eq!((power_off, timer), (off((0x604, 5), Some((0x614, 6))), Some(0x608)), "{address:#x} in {space}");
    }
    // Both registers at the same port are one.
    assert_eq!(of(&[(184, &register(1, 0x604))]).0, off((0x604, 5), None));
    // The last ports that there are, and one too many.
    for (port, there) in [(0xfffcu32, true), (0xfffd, false), (0, false), (0x1_0608, false)] {
        let platform = learnt(&[fadt(1, 116, &[(76, &port.to_le_bytes()), (91, &[4])])]);
        assert_eq!(platform.pm_timer.is_some(), there, "{port:#x}");
    }
    assert_eq!(learnt(&[fadt(1, 116, &[(76, &[8, 6, 0, 0]), (91, &[3])])]).pm_timer, None, "a timer of three bytes");
    for len in [0, 1] {
        assert_eq!(learnt(&[fadt(1, 116, &[(64, &[4, 6, 0, 0]), (89, &[len])])]).power_off, None, "{len} bytes");
    }
}

#[test]
fn reset_is_by_a_port_that_the_flag_declares() {
    let of = |flags: u8, space, address| {
        let fields: [(usize, &[u8]); 3] = [(112, &[0, flags]), (116, &register(space, address)), (128, &[0xe])];
        learnt(&[fadt(3, 244, &fields)]).reset
    };
    assert_eq!(of(4, 1, 0xcf9), Some(Reset { port: 0xcf9, value: 0xe }));
    assert_eq!(of(4, 1, 0xffff).map(|reset| reset.port), Some(0xffff));
    assert_eq!([of(0xfb, 1, 0xcf9), of(4, 0, 0xcf9), of(4, 2, 0xcf9), of(4, 1, 0), of(4, 1, 0x1_0000)], [None; 5]);
}

#[test]
fn a_hardware_reduced_machine_has_a_sleep_register_and_no_pm1() {
    let base = [PM1.as_slice(), &[(76, &[8, 6, 0, 0]), (91, &[4]), (112, &[0, 0, 0x10])]].concat();
    let of = |sleep: &[(usize, &[u8])], len| {
        let platform = learnt(&[fadt(5, len, &[base.as_slice(), sleep].concat())]);
        assert_eq!(platform.pm_timer, None);
        platform.power_off
    };
    let sleep = |register| Some(PowerOff::SleepControl { register, sleep_type: 5 });
    assert_eq!(of(&[(244, &register(1, 0x600))], 268), sleep(Register::Port(0x600)));
    let memory = Register::Memory(PhysAddr::new(0xfea0_0200));
    assert_eq!(of(&[(244, &register(0, 0xfea0_0200))], 268), sleep(memory));
    for (space, address) in [(0, 0), (1, 0), (1, 0x1_0000), (0, 1 << 52), (0, u64::MAX), (3, 0x600)] {
        assert_eq!(of(&[(244, &register(space, address))], 268), None, "{address:#x} in {space}");
    }
    assert_eq!(of(&[], 244), None, "a table that ends before it");
}

#[test]
fn the_parts_of_a_pc_are_bits() {
    let parts = |bits: u8| {
        let arch = learnt(&[fadt(2, 132, &[(109, &[bits])])]).boot_arch.expect("revision 2");
        let BootArch { has_legacy_devices, has_i8042, no_vga, no_msi, no_rtc } = arch;
        [has_legacy_devices, has_i8042, no_vga, no_msi, no_rtc]
    };
    for (index, bit) in [0, 1, 2, 3, 5].into_iter().enumerate() {
        assert_eq!(parts(1 << bit), core::array::from_fn(|other| other == index), "bit {bit}");
    }
    assert_eq!(parts(0b1101_0000), [false; 5]);
}
