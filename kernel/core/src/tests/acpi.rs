//! The walk through the firmware's tables: what well-made ones say, and that broken ones harm nobody.

mod damage;
mod oracle;
mod platform;
mod recorded;
mod s5;

use crate::acpi::{Found, MAX_UNITS, Physical, Platform, Unit, Units, Walked, walk};
use crate::addr::PhysAddr;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Memory that is there in pieces.
#[derive(Clone, Default)]
struct Pieces {
    pieces: BTreeMap<u64, Vec<u8>>,
    reads: usize,
}

impl Physical for Pieces {
    fn read(&mut self, at: PhysAddr, into: &mut [u8]) -> bool {
        let at = at.number();
        self.reads += 1;
        let Some((start, piece)) = self.pieces.range(..=at).next_back() else { return false };
        let offset = (at - start) as usize;
        match piece.get(offset..offset + into.len()) {
            Some(bytes) => into.copy_from_slice(bytes),
            None => return false,
        }
        true
    }
}

const ROOT: u64 = 0xf_5a00;

/// A table with its header, whose checksum is right.
fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut table = signature.to_vec();
    table.extend((36 + body.len() as u32).to_le_bytes());
    table.extend([1, 0]);
    table.extend(b"ENIGMATABLES");
    table.extend([0; 14]);
    table.extend(body);
    seal(&mut table, 9);
    table
}

fn seal(bytes: &mut [u8], place: usize) {
    bytes[place] = 0;
    bytes[place] = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
}

/// A machine's tables behind a root pointer of the second version, or of the first.
fn machine(tables: &[Vec<u8>], second: bool) -> Pieces {
    let mut memory = Pieces::default();
    let mut list = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let at = 0x7fe_0000 + index as u64 * 0x1_0000;
        memory.pieces.insert(at, table.clone());
        list.extend(&at.to_le_bytes()[..if second { 8 } else { 4 }]);
    }
    let (at, signature) = (0x7fd_0000u64, if second { b"XSDT" } else { b"RSDT" });
    memory.pieces.insert(at, self::table(signature, &list));
    let mut root = b"RSD PTR \0ENIGMA".to_vec();
    root.push(if second { 2 } else { 0 });
    root.extend(if second { [0; 4] } else { (at as u32).to_le_bytes() });
    root.extend(36u32.to_le_bytes());
    root.extend(at.to_le_bytes());
    root.extend([0; 4]);
    seal(&mut root[..20], 8);
    seal(&mut root, 32);
    memory.pieces.insert(ROOT, root);
    memory
}

fn mcfg(areas: &[(u64, u8, u8)]) -> Vec<u8> {
    let mut body = vec![0; 8];
    for (base, first, last) in areas {
        body.extend(base.to_le_bytes());
        body.extend([0, 0, *first, *last, 0, 0, 0, 0]);
    }
    table(b"MCFG", &body)
}

fn hpet(space: u8, at: u64) -> Vec<u8> {
    let mut body = 0x8086_a201u32.to_le_bytes().to_vec();
    body.extend([space, 64, 0, 0]);
    body.extend(at.to_le_bytes());
    body.extend([0; 4]);
    table(b"HPET", &body)
}

/// Local APICs at `local`, then entries as they are.
fn madt(local: u32, entries: &[&[u8]]) -> Vec<u8> {
    let mut body = local.to_le_bytes().to_vec();
    body.extend([1, 0, 0, 0]);
    entries.iter().for_each(|entry| body.extend(*entry));
    table(b"APIC", &body)
}

fn io_apic(at: u32) -> Vec<u8> {
    let mut entry = vec![1, 12, 0, 0];
    entry.extend(at.to_le_bytes());
    entry.extend([0; 4]);
    entry
}

/// Remapping units, each with its size as the table has it and its address.
fn dmar(units: &[(u8, u64)]) -> Vec<u8> {
    let mut body = vec![38, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (size, at) in units {
        body.extend([0, 0, 24, 0, 1, *size, 0, 0]);
        body.extend(at.to_le_bytes());
        // The device scope of an I/O APIC.
        body.extend([3, 8, 0, 0, 0, 0xff, 0, 0]);
    }
    // A reserved region, which is no unit.
    body.extend([1, 0, 24, 0, 0, 0, 0, 0]);
    body.extend([0; 16]);
    table(b"DMAR", &body)
}

fn found(memory: &mut Pieces) -> (Vec<(Unit, u64, u64)>, Option<Walked>) {
    let mut all = Vec::new();
    let walked = walk(
        memory,
        PhysAddr::new(ROOT),
        &mut |Found { unit, start, len }| all.push((unit, start.number(), len)),
        &mut Platform::default(),
    );
    (all, walked)
}

fn whole() -> Vec<Vec<u8>> {
    vec![
        table(b"FACP", &[0; 208]),
        mcfg(&[(0xb000_0000, 0, 255), (0x40_0000_0000, 16, 31)]),
        hpet(0, 0xfed0_0000),
        madt(0xfee0_0000, &[&[0, 8, 0, 0, 1, 0, 0, 0], &io_apic(0xfec0_0000), &io_apic(0xfec1_0000)]),
        dmar(&[(0, 0xfed9_0000), (2, 0xfed9_4000)]),
    ]
}

#[test]
fn every_device_that_the_tables_name_is_found() {
    let expected = [
        (Unit::PciConfiguration, 0xb000_0000, 256 << 20),
        // From the first of its buses on.
        (Unit::PciConfiguration, 0x40_0100_0000, 16 << 20),
        (Unit::Hpet, 0xfed0_0000, 4096),
        (Unit::LocalApic, 0xfee0_0000, 4096),
        (Unit::IoApic, 0xfec0_0000, 4096),
        (Unit::IoApic, 0xfec1_0000, 4096),
        (Unit::Iommu, 0xfed9_0000, 4096),
        (Unit::Iommu, 0xfed9_4000, 4 * 4096),
    ];
    for second in [false, true] {
        let (all, walked) = found(&mut machine(&whole(), second));
        assert_eq!(all, expected, "second version: {second}");
        assert_eq!(walked, Some(Walked { tables: 5, broken: 0 }));
    }
    let override_of_64_bits = [5, 12, 0, 0, 0, 0, 0xe0, 0xfe, 1, 0, 0, 0];
    let (all, _) = found(&mut machine(&[madt(0xfee0_0000, &[&override_of_64_bits])], true));
    assert_eq!(all, [(Unit::LocalApic, 0xfee0_0000, 4096), (Unit::LocalApic, 0x1_fee0_0000, 4096)]);
}

#[test]
fn broken_tables_are_left_out_and_counted_and_the_others_read() {
    let rest = [(Unit::Hpet, 0xfed0_0000, 4096)];
    let mut wrong_sum = mcfg(&[(0xb000_0000, 0, 255)]);
    wrong_sum[40] ^= 1;
    let mut too_long = mcfg(&[(0xb000_0000, 0, 255)]);
    too_long[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut too_short = table(b"MCFG", &[]);
    too_short[4..8].copy_from_slice(&8u32.to_le_bytes());
    let half_an_entry = table(b"MCFG", &[0; 16]);
    let no_length = madt(0, &[&[1, 0, 0, 0]]);
    let past_the_end = madt(0, &[&[1, 12, 0, 0]]);
    for (name, broken) in [
        ("checksum", wrong_sum),
        ("length beyond the memory", too_long),
        ("length below the header", too_short),
        ("half an entry", half_an_entry),
        ("an entry of no length", no_length),
        ("an entry past the end", past_the_end),
    ] {
        let (all, walked) = found(&mut machine(&[broken, hpet(0, 0xfed0_0000)], true));
        assert_eq!((all.as_slice(), walked.map(|walked| walked.broken)), (rest.as_slice(), Some(1)), "{name}");
    }
    // A HPET behind ports is none that memory reaches, and nothing lies at 0 or beyond the last address.
    let (all, _) = found(&mut machine(&[hpet(1, 0x400), hpet(0, 0), mcfg(&[(u64::MAX - 0xfff_ffff, 0, 255)])], true));
    assert_eq!(all, []);
}

#[test]
fn without_a_root_pointer_there_is_nothing() {
    let whole = machine(&whole(), true);
    for byte in 0..20 {
        let mut memory = whole.clone();
        memory.pieces.get_mut(&ROOT).expect("the root")[byte] ^= 0x20;
        assert_eq!(found(&mut memory), (vec![], None), "byte {byte}");
    }
    assert_eq!(
        walk(&mut Pieces::default(), PhysAddr::new(0), &mut |_| panic!("found in nothing"), &mut Platform::default()),
        None
    );
    assert_eq!(
        walk(
            &mut Pieces::default(),
            PhysAddr::new(u64::MAX),
            &mut |_| panic!("found in nothing"),
            &mut Platform::default()
        ),
        None
    );
    // A root table that is another table, or itself an entry of itself.
    let mut memory = whole.clone();
    memory.pieces.insert(0x7fd_0000, hpet(0, 0xfed0_0000));
    assert_eq!(found(&mut memory), (vec![], Some(Walked { tables: 1, broken: 1 })));
    memory.pieces.insert(0x7fd_0000, table(b"XSDT", &0x7fd_0000u64.to_le_bytes().repeat(300)));
    let (all, walked) = found(&mut memory);
    assert_eq!((all, walked.map(|walked| walked.tables)), (vec![], Some(257)));
}

#[test]
fn a_range_reaches_a_device_by_any_byte_of_its_pages() {
    let mut units = Units::default();
    let add = |units: &mut Units, start, len| units.add(Found { unit: Unit::Hpet, start, len });
    add(&mut units, PhysAddr::new(0xfed0_0400), 0x400);
    assert!(
        units.reached(PhysAddr::new(0xfed0_0000), 1).is_some()
            && units.reached(PhysAddr::new(0xfecf_f000), 0x1001).is_some()
    );
    assert!(
        units.reached(PhysAddr::new(0xfed0_0fff), 1).is_some() && units.reached(PhysAddr::new(0), u64::MAX).is_some()
    );
    assert_eq!(
        (units.reached(PhysAddr::new(0xfecf_f000), 0x1000), units.reached(PhysAddr::new(0xfed0_1000), 0x1000)),
        (None, None)
    );
    assert_eq!(units.reached(PhysAddr::new(0xfed0_0400), 0), None, "a row has places for ranges that it does not use");
    // A device for which there is no room: nobody gets what may be it.
    for number in 0..MAX_UNITS as u64 - 1 {
        add(&mut units, PhysAddr::new((number + 1) << 32), 0x1000);
    }
    assert_eq!(units.reached(PhysAddr::new(0xc000_0000), 0x1000), None);
    add(&mut units, PhysAddr::new(0xc000_0000), 0x1000);
    assert!(
        units.reached(PhysAddr::new(0xc000_0000), 0x1000).is_some_and(|reason| reason.contains("more devices than"))
    );
    assert!(units.reached(PhysAddr::new(0xd000_0000), 0x1000).is_some());
    assert_eq!(units.reached(PhysAddr::new(0xb_8000), 0x8000), None, "the VGA memory, where no such device is");
}

proptest! {
    /// Whatever bytes change and whatever part is missing: the walk ends after a bounded number of reads, and says nothing whose end wraps.
    #[test]
    fn damaged_tables_harm_nobody(
        changes in prop::collection::vec((0usize..7, any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 0..12),
        cut in prop::option::of((0usize..7, any::<prop::sample::Index>())),
    ) {
        let mut memory = machine(&whole(), true);
        let places: Vec<_> = memory.pieces.keys().copied().collect();
        for (piece, place, value, sealed) in changes {
            let at = places[piece];
            let bytes = memory.pieces.get_mut(&at).expect("a piece");
            *place.get_mut(bytes) = value;
            if sealed && at != ROOT {
                seal(bytes, 9);
            }
        }
        if let Some((piece, place)) = cut {
            let bytes = memory.pieces.get_mut(&places[piece]).expect("a piece");
            bytes.truncate(place.index(bytes.len()));
        }
        let (all, _) = found(&mut memory);
        for (_, start, len) in all {
            prop_assert!(start != 0 && len != 0 && start.checked_add(len).is_some());
        }
        prop_assert!(memory.reads < 2_000, "{} reads", memory.reads);
    }
}
