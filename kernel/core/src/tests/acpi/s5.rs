//! The search for `_S5_` in AML.

use super::platform::{DSDT, PM1, S5, fadt, learnt_with, off};
use super::{ROOT, machine, seal, table};
use crate::acpi::{Platform, walk};
use crate::addr::PhysAddr;
use proptest::prelude::*;

/// The values that are found in this AML, and how many tables are called broken.
fn found_in(dsdt: Vec<u8>, more: &[Vec<u8>]) -> (Option<(u8, u8)>, u16) {
    let fadt = fadt(1, 116, &[PM1.as_slice(), &[(68, &[0x14, 6, 0, 0])]].concat());
    let (platform, walked) = learnt_with(&[&[fadt], more].concat(), dsdt);
    let values = (0..8u8).flat_map(|a| (0..8u8).map(move |b| (a, b)));
    let is = |(a, b): &(u8, u8)| platform.power_off == off((0x604, *a), Some((0x614, *b)));
    let types = values.into_iter().find(is);
    assert_eq!(types.is_some(), platform.power_off.is_some());
    (types, walked.broken)
}

fn found(aml: &[u8]) -> Option<(u8, u8)> {
    let (types, broken) = found_in(table(b"DSDT", aml), &[]);
    assert_eq!(broken, 0);
    types
}

#[test]
fn the_package_is_found_in_each_form() {
    for (aml, expected) in [
        (S5, (5, 6)),
        (b"\x08\\_S5_\x12\x06\x04\x00\x01\x00\x00", (0, 1)),
        (b"\x08_S5_\x12\x04\x02\x01\x01", (1, 1)),
        // Of two, three and four bytes of length, with values of two and four bytes.
        (b"\x08_S5_\x12\x49\x00\x02\x0b\x07\xff\x0b\x02\x00\0\0", (7, 2)),
        (b"\x08_S5_\x12\x8c\x00\x00\x02\x0c\x03\0\0\0\x0a\x04\0\0", (3, 4)),
        (b"\x08_S5_\x12\xcf\x00\x00\x00\x02\x0c\x03\0\0\0\x0c\x04\0\0\0", (3, 4)),
        // The registers have three bits.
        (b"\x08_S5_\x12\x06\x02\x0a\xfd\x0a\x0b", (5, 3)),
    ] {
        for before in [&[][..], b"\x08", b"\\", &[0x5b; 300]] {
            assert_eq!(found(&[before, aml].concat()), Some(expected), "{aml:x?} behind {} bytes", before.len());
            assert_eq!(
                found(&[before, aml, b"rest"].concat()),
                Some(expected),
                "{aml:x?} behind {} bytes",
                before.len()
            );
        }
    }
}

#[test]
fn what_only_looks_like_the_package_is_none() {
    for aml in [
        &b""[..],
        b"5",
        b"_S5_",
        // A string, a method, a longer name, the name of another state, a name and no package.
        b"\x0d_S5_\0",
        b"\x0d_S5_\x12\x06\x04\x00\x01\x00\x00",
        b"\x14_S5_\x12\x06\x04\x00\x01\x00\x00",
        b"\x08^_S5_\x12\x06\x04\x00\x01\x00\x00",
        b"\x08_S4_\x12\x06\x04\x00\x01\x00\x00",
        b"\x08_S55\x12\x06\x04\x00\x01\x00\x00",
        b"\x08_S5_\x13\x06\x04\x00\x01\x00\x00",
        // No element, one element, elements that are names or strings.
        b"\x08_S5_\x12\x02\x00",
        b"\x08_S5_\x12\x03\x01\x05",
        b"\x08_S5_\x12\x06\x01\x00\x01\x00\x00",
        b"\x08_S5_\x12\x06\x04ABCD",
        b"\x08_S5_\x12\x06\x04\x0d5\0\x00",
        // A length that is shorter than the elements, or longer than the table.
        b"\x08_S5_\x12\x03\x04\x00\x01\x00\x00",
        b"\x08_S5_\x12\x3f\x04\x00\x01\x00\x00",
        b"\x08_S5_\x12\xcf\xff\xff\xff\x04\x00\x01\x00\x00",
        // The end, at each place.
        b"\x08_S5_\x12",
        b"\x08_S5_\x12\x06",
        b"\x08_S5_\x12\x46",
        b"\x08_S5_\x12\x06\x04",
        b"\x08_S5_\x12\x06\x04\x0a",
        b"\x08_S5_\x12\x06\x04\x0a\x05\x0b\x00",
    ] {
        assert_eq!(found(aml), None, "{aml:x?}");
        assert_eq!(found(&[aml, b"\x08", S5].concat()), Some((5, 6)), "{aml:x?} before the true one");
    }
    // In the header, where the creator's name may be anything.
    let mut dsdt = table(b"DSDT", &[0; 40]);
    dsdt[22..34].copy_from_slice(&S5[..12]);
    seal(&mut dsdt, 9);
    assert_eq!(found_in(dsdt, &[]), (None, 0));
}

#[test]
fn a_broken_dsdt_is_not_used_and_an_ssdt_may_have_the_package() {
    let [dsdt, ssdt] = [b"DSDT", b"SSDT"].map(|signature| table(signature, S5));
    let mut wrong_sum = dsdt.clone();
    wrong_sum[45] ^= 1;
    assert_eq!(found_in(wrong_sum, &[]), (None, 1));
    assert_eq!(found_in(ssdt.clone(), &[]), (None, 1), "another table");
    let mut long = dsdt.clone();
    long[4..8].copy_from_slice(&0x10_0001u32.to_le_bytes());
    assert_eq!(found_in(long, &[]), (None, 1));
    let empty = table(b"DSDT", b"\x08_S4_\x12\x04\x02\x01\x01");
    let mut other = ssdt.clone();
    other[36 + 9] = 2;
    seal(&mut other, 9);
    let mut broken = ssdt.clone();
    broken[9] ^= 1;
    assert_eq!(found_in(empty.clone(), std::slice::from_ref(&ssdt)), (Some((5, 6)), 0));
    assert_eq!(found_in(empty, &[broken, other.clone(), ssdt.clone()]), (Some((2, 6)), 1));
    assert_eq!(found_in(dsdt, &[other]), (Some((5, 6)), 0), "the DSDT first");
}

#[test]
fn the_wide_address_of_the_dsdt_wins_and_the_other_is_tried() {
    let wide = 0x1_0000_0000u64.to_le_bytes();
    let fields = [PM1.as_slice(), &[(140, &wide)]].concat();
    let mut memory = machine(&[fadt(3, 244, &fields)], true);
    let mut learn = |there: &[(u64, &[u8])]| {
        there.iter().for_each(|(at, aml)| drop(memory.pieces.insert(*at, table(b"DSDT", aml))));
        let mut platform = Platform::default();
        walk(&mut memory, PhysAddr::new(ROOT), &mut |_| {}, &mut platform);
        platform.power_off
    };
    assert_eq!(learn(&[]), None);
    assert_eq!(learn(&[(DSDT, S5)]), off((0x604, 5), None));
    assert_eq!(learn(&[(1 << 32, b"\x08_S5_\x12\x04\x02\x01\x01")]), off((0x604, 1), None));
}

#[test]
fn very_much_aml_is_read_to_a_bound() {
    // The text is everywhere, and the true one behind more of it than is looked at.
    let (fake, most) = (b"\x08_S5_!", 63);
    assert_eq!(found(&[&fake.repeat(most), S5].concat()), Some((5, 6)));
    assert_eq!(found(&[&fake.repeat(most + 1), S5].concat()), None);
    // 250 tables of 1 MiB, of which two are read.
    let large = table(b"SSDT", &fake.repeat(((1 << 20) - 36) / fake.len()));
    let mut tables = vec![large; 250];
    tables.insert(0, fadt(1, 116, &PM1));
    let mut memory = machine(&tables[..1], true);
    let at = 0x1_0000_0000u64;
    memory.pieces.insert(at, tables.swap_remove(1));
    let list = [&0x7fe_0000u64.to_le_bytes()[..], &at.to_le_bytes().repeat(250)].concat();
    memory.pieces.insert(0x7fd_0000, table(b"XSDT", &list));
    let walked = walk(&mut memory, PhysAddr::new(ROOT), &mut |_| {}, &mut Platform::default());
    assert!(walked.is_some_and(|walked| walked.broken > 240), "those that are not read are called broken");
    assert!(memory.reads < 6_000, "{} reads", memory.reads);
}

/// What is to be found, by the simplest means: from each offset on.
fn naive(aml: &[u8]) -> Option<(u8, u8)> {
    let number = |at: usize| match aml.get(at)? {
        value @ (0 | 1) => Some((*value, at + 1)),
        0x0a => Some((*aml.get(at + 1)?, at + 2)),
        0x0b => aml.get(at + 2).map(|_| (aml[at + 1], at + 3)),
        0x0c => aml.get(at + 4).map(|_| (aml[at + 1], at + 5)),
        _ => None,
    };
    (0..aml.len()).find_map(|start| {
        let name = match aml.get(start..)? {
            [8, b'\\', ..] => start + 2,
            [8, ..] => start + 1,
            _ => return None,
        };
        let lead = aml.get(name..)?.starts_with(b"_S5_\x12").then_some(name + 5)?;
        let further = usize::from(aml.get(lead)? >> 6);
        let bytes = aml.get(lead + 1..lead + 1 + further)?;
        let high = bytes.iter().rev().fold(0, |all, byte| all << 8 | usize::from(*byte));
        let length = usize::from(aml[lead] & if further == 0 { 63 } else { 15 }) | high << 4;
        let count = *aml.get(lead + 1 + further)?;
        let (a, next) = number(lead + 2 + further)?;
        let (b, next) = number(next)?;
        (count >= 2 && lead + length >= next && lead + length <= aml.len()).then_some((a & 7, b & 7))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// AML of pieces that belong to the package, or nearly, and of stretches without any, so that they lie across the borders of what is
    /// read at once.
    #[test]
    fn the_search_agrees_with_a_simple_one(
        parts in prop::collection::vec(prop_oneof![
            4 => prop::sample::select(vec![&b"\x08"[..], b"\\", b"_S5_", b"\x08_S5_\x12", b"\x08\\_S5_\x12", b"S5_", b"5", b"\x12"])
                .prop_map(<[u8]>::to_vec),
            3 => prop::sample::select(vec![&b"\x06\x04"[..], b"\x42\x00\x02", b"\x0a\x05", b"\x0b\x06\0", b"\x0c\x07\0\0\0", b"\0\0", b"\x01"])
                .prop_map(<[u8]>::to_vec),
            1 => prop::collection::vec(any::<u8>(), 0..8),
            1 => (0usize..700).prop_map(|len| vec![0x20; len]),
            1 => (440usize..480).prop_map(|len| vec![0x20; len]),
            1 => Just(S5.to_vec()),
        ], 0..14),
    ) {
        let aml = parts.concat();
        prop_assert_eq!(found(&aml), naive(&aml));
    }
}
