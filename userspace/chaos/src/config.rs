//! What the host tells a run: by QEMU's firmware configuration device (QEMU, docs/specs/fw_cfg), so that one disk image serves every run.

use alloc::string::String;
use alloc::vec::Vec;
use chaos::Driver;
use rt::port::{IoPorts, Port};

/// The name of the item.
const NAME: &[u8] = b"opt/enigma/chaos";

/// The item that lists the others, from the device's specification.
const DIRECTORY: u16 = 0x19;

/// First of the device's two ports: 16 bits to select an item; a byte of it from the next.
const BASE: u16 = 0x510;

/// A run.
pub struct Config {
    /// From which all follows.
    pub seed: u64,
    /// Faults.
    pub count: u32,
    /// The drivers that they are done to.
    pub drivers: Vec<Driver>,
}

impl Config {
    /// As the host gives it: `SEED COUNT DRIVER,DRIVER`. `None` where it gives none.
    pub fn read() -> Option<Config> {
        let mut ports = IoPorts::granted(BASE, 2)?;
        let (item, len) = find(&mut ports)?;
        ports.write16(0, item);
        let bytes = (0..len).map(|_| ports.read8(1)).collect();
        let text = String::from_utf8(bytes).ok()?;
        let mut words = text.split_whitespace();
        let (seed, count) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let drivers = words.next()?.split(',').map(Driver::named).collect::<Option<Vec<_>>>()?;
        Some(Config { seed, count, drivers })
    }
}

/// Number and length of the item. All numbers there are big endian: how many entries, then for each size, item, two bytes, name.
fn find(ports: &mut IoPorts) -> Option<(u16, u32)> {
    ports.write16(0, DIRECTORY);
    let mut number = |bytes: u32| (0..bytes).fold(0, |sum: u32, _| sum << 8 | u32::from(ports.read8(1)));
    for _ in 0..number(4).min(256) {
        let (size, item, _) = (number(4), number(2) as u16, number(2));
        let name: Vec<u8> = (0..56).map(|_| number(1) as u8).collect();
        if name.starts_with(NAME) && name.get(NAME.len()) == Some(&0) {
            return Some((item, size.min(256)));
        }
    }
    None
}
