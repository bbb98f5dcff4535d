//! What the host tells a run: by QEMU's firmware configuration device (QEMU, docs/specs/fw_cfg), so that one disk image serves every run.

use alloc::string::String;
use alloc::vec::Vec;
use rt::port::Port;

/// First of the device's two ports: 16 bits to select an item; a byte of it from the next.
pub const BASE: u16 = 0x510;
/// How many ports.
pub const LEN: u16 = 2;

/// The item that lists the others, from the device's specification.
const DIRECTORY: u16 = 0x19;

/// The text of the item of this name, of at most 256 bytes. `None` where there is none.
pub fn read(ports: &mut impl Port, name: &[u8]) -> Option<String> {
    let (item, len) = find(ports, name)?;
    ports.write16(0, item);
    String::from_utf8((0..len).map(|_| ports.read8(1)).collect()).ok()
}

/// Number and length of the item. All numbers there are big endian: how many entries, then for each size, item, two bytes, name.
fn find(ports: &mut impl Port, wanted: &[u8]) -> Option<(u16, u32)> {
    ports.write16(0, DIRECTORY);
    let mut number = |bytes: u32| (0..bytes).fold(0, |sum: u32, _| sum << 8 | u32::from(ports.read8(1)));
    for _ in 0..number(4).min(256) {
        let (size, item, _) = (number(4), number(2) as u16, number(2));
        let name: Vec<u8> = (0..56).map(|_| number(1) as u8).collect();
        if name.starts_with(wanted) && name.get(wanted.len()) == Some(&0) {
            return Some((item, size.min(256)));
        }
    }
    None
}
