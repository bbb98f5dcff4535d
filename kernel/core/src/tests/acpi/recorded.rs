//! The tables of real firmware, recorded from the memory of QEMU 7.2 with 128 MiB (QMP `pmemsave`): each file is a list of pieces of
//! memory, of which each is its address (8 bytes), its length (4 bytes) and its content. The first piece is the root pointer.

use super::Pieces;
use crate::acpi::platform::{
    BootArch, Hpet, IoApic, IsaLine, Platform, Pm1Control, PmTimer, Polarity, PowerOff, Register, Reset, Signal,
    Trigger,
};
use crate::acpi::{Unit, Walked, walk};
use crate::addr::PhysAddr;

pub const NAMES: [&str; 4] = ["pc", "q35", "ovmf", "microvm"];

/// The memory of the machine with this name, and where its root pointer is.
pub fn machine(name: &str) -> (Pieces, u64) {
    let mut rest: &[u8] = match name {
        // `-machine pc`, SeaBIOS.
        "pc" => include_bytes!("pc.tables"),
        // `-machine q35 -device intel-iommu`, SeaBIOS.
        "q35" => include_bytes!("q35.tables"),
        // The same with OVMF.
        "ovmf" => include_bytes!("ovmf.tables"),
        // `-machine microvm,acpi=on`: hardware-reduced, with two I/O APICs.
        _ => include_bytes!("microvm.tables"),
    };
    let mut memory = Pieces::default();
    let mut root = None;
    while let Some((head, more)) = rest.split_first_chunk::<12>() {
        let at = u64::from_le_bytes(head[..8].try_into().expect("8 bytes"));
        let (piece, more) = more.split_at(u32::from_le_bytes(head[8..].try_into().expect("4 bytes")) as usize);
        memory.pieces.insert(at, piece.to_vec());
        root.get_or_insert(at);
        rest = more;
    }
    (memory, root.expect("a root pointer"))
}

fn level_high(gsi: u32) -> IsaLine {
    IsaLine { gsi, signal: Signal { trigger: Trigger::Level, polarity: Polarity::High } }
}

/// What QEMU's own source says of its PC machines.
fn pc() -> Platform {
    let mut expected = Platform {
        local_apic: Some(PhysAddr::new(0xfee0_0000)),
        hpet: Some(Hpet { address: PhysAddr::new(0xfed0_0000), min_tick: 0 }),
        pm_timer: Some(PmTimer { port: 0x608, is_32_bits: false }),
        power_off: Some(PowerOff::Pm1 { a: Pm1Control { port: 0x604, sleep_type: 0 }, b: None }),
        nmi: [None, Some(Signal::default())],
        ..Platform::default()
    };
    expected.io_apics[0] = Some(IoApic { id: 0, address: PhysAddr::new(0xfec0_0000), first_gsi: 0 });
    expected.isa[0].gsi = 2;
    for line in [5, 9, 10, 11] {
        expected.isa[line] = level_high(line as u32);
    }
    expected
}

#[test]
fn the_tables_of_qemu_say_what_qemu_has() {
    let q35 = Platform {
        reset: Some(Reset { port: 0xcf9, value: 0xf }),
        boot_arch: Some(BootArch {
            has_legacy_devices: false,
            has_i8042: true,
            no_vga: false,
            no_msi: false,
            no_rtc: false,
        }),
        ..pc()
    };
    let mut microvm = Platform {
        local_apic: Some(PhysAddr::new(0xfee0_0000)),
        nmi: [None, Some(Signal::default())],
        power_off: Some(PowerOff::SleepControl {
            register: Register::Memory(PhysAddr::new(0xfea0_0200)),
            sleep_type: 5,
        }),
        boot_arch: Some(BootArch {
            has_legacy_devices: false,
            has_i8042: false,
            no_vga: false,
            no_msi: false,
            no_rtc: false,
        }),
        ..Platform::default()
    };
    microvm.io_apics[0] = Some(IoApic { id: 0, address: PhysAddr::new(0xfec0_0000), first_gsi: 0 });
    microvm.io_apics[1] = Some(IoApic { id: 1, address: PhysAddr::new(0xfec1_0000), first_gsi: 24 });
    for (name, expected, tables, units) in [
        ("pc", pc(), 3, vec![Unit::LocalApic, Unit::IoApic, Unit::Hpet]),
        ("q35", q35, 5, vec![Unit::LocalApic, Unit::IoApic, Unit::Hpet, Unit::PciConfiguration, Unit::Iommu]),
        ("ovmf", q35, 5, vec![Unit::LocalApic, Unit::IoApic, Unit::Hpet, Unit::PciConfiguration, Unit::Iommu]),
        ("microvm", microvm, 2, vec![Unit::LocalApic, Unit::IoApic, Unit::IoApic]),
    ] {
        let (mut memory, root) = machine(name);
        let (mut platform, mut found) = (Platform::default(), Vec::new());
        let walked = walk(&mut memory, PhysAddr::new(root), &mut |unit| found.push(unit.unit), &mut platform);
        assert_eq!(platform, expected, "{name}");
        assert_eq!((walked, found), (Some(Walked { tables, broken: 0 }), units), "{name}");
    }
}

#[test]
fn the_inputs_of_several_io_apics_are_told_apart() {
    let (mut memory, root) = machine("microvm");
    let mut platform = Platform::default();
    walk(&mut memory, PhysAddr::new(root), &mut |_| {}, &mut platform);
    let input = |gsi| platform.io_apic(gsi).map(|(io_apic, input)| (io_apic.id, input));
    assert_eq!([0, 23, 24, 47].map(input), [Some((0, 0)), Some((0, 23)), Some((1, 0)), Some((1, 23))]);
    assert_eq!([263, 264, u32::MAX].map(input), [Some((1, 239)), None, None]);
    assert_eq!(Platform::default().io_apic(0), None);
}
