//! Damage to recorded tables.

use super::recorded::{NAMES, machine};
use super::seal;
use crate::acpi::platform::{MAX_IO_APICS, Platform, PowerOff, Register};
use crate::acpi::walk;
use crate::addr::PhysAddr;
use proptest::prelude::*;

/// What holds of any platform, whatever the tables say.
fn check(platform: &Platform) -> Result<(), TestCaseError> {
    let memory = |address: PhysAddr, multiple: u64| {
        let number = address.number();
        number != 0 && number.is_multiple_of(multiple) && number < 1 << 52
    };
    let ports = |first: u16, count: u32| first != 0 && u32::from(first) + count <= 0x1_0000;
    prop_assert!(platform.local_apic.is_none_or(|address| memory(address, 4096)));
    prop_assert!(platform.hpet.is_none_or(|hpet| memory(hpet.address, 1024)));
    prop_assert!(platform.pm_timer.is_none_or(|timer| ports(timer.port, 4)));
    prop_assert!(platform.reset.is_none_or(|reset| ports(reset.port, 1)));
    let pm1 = |register: crate::acpi::platform::Pm1Control| ports(register.port, 2) && register.sleep_type < 8;
    let power_off = match platform.power_off {
        None => true,
        Some(PowerOff::Pm1 { a, b }) => pm1(a) && b.is_none_or(|b| pm1(b) && b.port != a.port),
        Some(PowerOff::SleepControl { register: Register::Port(port), sleep_type }) => ports(port, 1) && sleep_type < 8,
        Some(PowerOff::SleepControl { register: Register::Memory(address), sleep_type }) => {
            memory(address, 1) && sleep_type < 8
        }
    };
    prop_assert!(power_off);
    let kept: Vec<_> = platform.io_apics.iter().flatten().collect();
    prop_assert!(platform.io_apics[..kept.len()].iter().all(Option::is_some) && kept.len() <= MAX_IO_APICS);
    for (index, one) in kept.iter().enumerate() {
        prop_assert!(memory(one.address, 256) && one.address.number() < 1 << 32);
        let same = kept[..index].iter().any(|other| other.address == one.address || other.first_gsi == one.first_gsi);
        prop_assert!(!same, "{kept:?}");
    }
    for (number, line) in (0..).zip(platform.isa) {
        let reachable = kept.iter().any(|one| (one.first_gsi..=one.first_gsi.saturating_add(239)).contains(&line.gsi));
        prop_assert!(line.gsi == number || reachable, "{number}: {line:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Bytes change, single ones or fields to their extremes, most of them in the few places that have a meaning; pieces end too early or
    /// are missing. The walk ends after a bounded number of reads, and what it says has the range that it promises.
    #[test]
    fn damaged_recorded_tables_harm_nobody(
        name in prop::sample::select(NAMES.to_vec()),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), prop::bool::weighted(0.8),
             prop_oneof![Just(vec![0u8]), Just(vec![0xff; 4]), Just(vec![0xff; 8]), prop::collection::vec(any::<u8>(), 1..5)],
             prop::bool::weighted(0.9)),
            0..10),
        cut in prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<prop::sample::Index>())),
    ) {
        let (mut memory, root) = machine(name);
        let places: Vec<_> = memory.pieces.keys().copied().collect();
        for (piece, place, behind_header, bytes, sealed) in changes {
            let at = *piece.get(&places);
            let piece = memory.pieces.get_mut(&at).expect("a piece");
            let first = if behind_header && piece.len() > 36 { 36 } else { 0 };
            let start = first + place.index((piece.len() - first).min(260));
            let end = (start + bytes.len()).min(piece.len());
            piece[start..end].copy_from_slice(&bytes[..end - start]);
            if sealed && at == root {
                seal(&mut piece[..20], 8);
                if piece.len() == 36 {
                    seal(piece, 32);
                }
            } else if sealed {
                seal(piece, 9);
            }
        }
        if let Some((piece, place)) = cut {
            let piece = memory.pieces.get_mut(piece.get(&places)).expect("a piece");
            piece.truncate(place.index(piece.len()));
        }
        let mut platform = Platform::default();
        walk(&mut memory, PhysAddr::new(root), &mut |_| {}, &mut platform);
        check(&platform)?;
        prop_assert!(memory.reads < 400, "{} reads", memory.reads);
    }
}
