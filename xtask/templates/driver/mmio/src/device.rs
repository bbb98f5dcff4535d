//! The device: what is read from its memory, and written to it. The tests run it on the host, with memory made up for them behind [`Mapping`].
//!
//! As generated it is the last 64 KiB below 1 MiB, where the firmware of a PC puts the entry point of its tables: SMBIOS (DMTF DSP0134,
//! section 5.2.1). Such a thing is only read. A register is written by [`Mapping::write_u32`] and its like, each one access of that width,
//! which the compiler neither leaves out nor joins with another.

use crate::Tables;
use rt::keep::Cell;
use rt::memory::Mapping;

/// Bytes of the device's memory that are looked at.
pub const LEN: usize = 0x10000;

/// An entry point lies at a multiple of 16, and begins with these letters.
const STEP: usize = 16;
const ANCHOR: u32 = u32::from_le_bytes(*b"_SM_");

/// The bytes of an entry point, the sum of which is 0. Its sixth says how many there are.
const ENTRY: usize = 0x1F;

rt::kept! {
    /// What outlives the driver (`keep` in the manifest): its next life finds it as this one left it, after any instruction.
    pub struct Keep {
        /// Where the entry point is, and 1; 0 where it was not found yet.
        place: Cell<u64>,
    }
}

/// The device behind its memory.
pub struct Firmware {
    memory: Mapping,
    keep: &'static Keep,
}

impl Firmware {
    /// Goes on where an earlier life ended.
    pub fn start(memory: Mapping, keep: &'static Keep) -> Firmware {
        if !keep.resume() {
            keep.set_ready(0);
        }
        Firmware { memory, keep }
    }

    /// Four bytes at this offset; `None` where there is no such cell.
    pub fn read(&self, offset: u64) -> Option<u32> {
        let offset = usize::try_from(offset).ok().filter(|offset| *offset < LEN && offset.is_multiple_of(4))?;
        Some(self.memory.read_u32(offset))
    }

    /// What the entry point says, if there is one. The first time it is searched for; afterwards, in later lives too, its place is known.
    pub fn find(&mut self) -> Option<Tables> {
        let known = self.keep.place.get().checked_sub(1).and_then(|place| self.entry(place as usize));
        known.or_else(|| {
            let (place, tables) =
                (0..LEN).step_by(STEP).find_map(|place| self.entry(place).map(|tables| (place, tables)))?;
            self.keep.place.put(place as u64 + 1);
            Some(tables)
        })
    }

    /// The entry point at this place, if there is one.
    fn entry(&self, place: usize) -> Option<Tables> {
        if place > LEN - ENTRY || self.memory.read_u32(place) != ANCHOR {
            return None;
        }
        let mut bytes = [0; ENTRY];
        (place..).zip(&mut bytes).for_each(|(offset, byte)| *byte = self.memory.read_u8(offset));
        decode(&bytes)
    }
}

fn decode(bytes: &[u8; ENTRY]) -> Option<Tables> {
    let sum = bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
    if usize::from(bytes[5]) != ENTRY || sum != 0 {
        return None;
    }
    let number = |at: usize, len: usize| (0..len).rev().fold(0, |high, byte| high << 8 | u64::from(bytes[at + byte]));
    Some(Tables {
        version: number(6, 1) * 100 + number(7, 1),
        address: number(0x18, 4),
        len: number(0x16, 2),
        count: number(0x1C, 2),
    })
}

/// An entry point as a firmware has it, for tests.
#[cfg(not(target_os = "none"))]
pub fn example() -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    bytes[..8].copy_from_slice(&[b'_', b'S', b'M', b'_', 0, ENTRY as u8, 2, 8]);
    bytes[0x10..0x1E].copy_from_slice(&[b'_', b'D', b'M', b'I', b'_', 0, 0x34, 0x01, 0x60, 0x5A, 0x0F, 0, 9, 0]);
    bytes[4] = bytes.iter().fold(0, |rest: u8, byte| rest.wrapping_sub(*byte));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_point_is_decoded() {
        assert_eq!(decode(&example()), Some(Tables { version: 208, address: 0xF5A60, len: 0x134, count: 9 }));
    }

    #[test]
    fn bytes_that_are_none_are_refused() {
        for at in 0..ENTRY {
            let mut bytes = example();
            bytes[at] ^= 0x10;
            assert_eq!(decode(&bytes), None, "byte {at} is wrong");
        }
    }
}
