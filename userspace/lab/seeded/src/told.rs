//! What the host tells a run: by QEMU's firmware configuration device (QEMU, docs/specs/fw_cfg), so that one disk image serves every run.

use alloc::string::String;
use alloc::vec::Vec;
use rt::port::{IoPorts, Port};

/// First of the device's two ports: 16 bits to select an item; a byte of it from the next.
const BASE: u16 = 0x510;
/// How many ports.
const LEN: u16 = 2;

/// The item that lists the others, from the device's specification.
const DIRECTORY: u16 = 0x19;

/// The text of the item of this name, of at most 256 bytes. `None` where there is none, or where the task has not got the device's ports.
pub fn text(name: &[u8]) -> Option<String> {
    read(&mut IoPorts::granted(BASE, LEN)?, name)
}

fn read(ports: &mut impl Port, name: &[u8]) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// The device: bytes of the item that was selected, one after the other, then zeros.
    struct Device {
        items: Vec<(u16, Vec<u8>)>,
        selected: Vec<u8>,
    }

    impl Device {
        /// With these items besides the directory, which says that each is `longer` bytes longer than it is.
        fn new(items: &[(&str, &[u8])], longer: u32) -> Device {
            let mut directory = (items.len() as u32).to_be_bytes().to_vec();
            let mut all = Vec::new();
            for (number, &(name, bytes)) in (0x20_u16..).zip(items) {
                directory.extend((bytes.len() as u32 + longer).to_be_bytes());
                directory.extend(number.to_be_bytes());
                directory.extend([0; 2]);
                let mut place = [0; 56];
                place[..name.len()].copy_from_slice(name.as_bytes());
                directory.extend(place);
                all.push((number, bytes.to_vec()));
            }
            all.push((DIRECTORY, directory));
            Device { items: all, selected: Vec::new() }
        }
    }

    impl Port for Device {
        fn read8(&mut self, offset: u16) -> u8 {
            assert_eq!(offset, 1);
            if self.selected.is_empty() { 0 } else { self.selected.remove(0) }
        }

        fn write16(&mut self, offset: u16, value: u16) {
            assert_eq!(offset, 0);
            self.selected = self.items.iter().find(|(number, _)| *number == value).map_or(vec![], |(_, b)| b.clone());
        }

        fn write8(&mut self, _: u16, _: u8) {
            unreachable!("the device is not written to");
        }

        fn read16(&mut self, _: u16) -> u16 {
            unreachable!("bytes are read one by one");
        }

        fn read32(&mut self, _: u16) -> u32 {
            unreachable!("bytes are read one by one");
        }

        fn write32(&mut self, _: u16, _: u32) {
            unreachable!("the device is not written to");
        }
    }

    #[test]
    fn the_item_of_exactly_this_name_is_read() {
        let items: [(&str, &[u8]); 3] = [("opt/one-more", b"no"), ("opt/one", b"7 200"), ("opt/two", b"\xff")];
        assert_eq!(read(&mut Device::new(&items, 0), b"opt/one").as_deref(), Some("7 200"));
        assert_eq!(read(&mut Device::new(&items, 0), b"opt/on"), None);
        assert_eq!(read(&mut Device::new(&items, 0), b"opt/two"), None, "that is no text");
        assert_eq!(read(&mut Device::new(&[], 0), b"opt/one"), None);
    }

    #[test]
    fn no_length_that_is_told_makes_it_read_for_ever() {
        let text = read(&mut Device::new(&[("opt/one", b"1")], 1 << 30), b"opt/one").expect("it is there");
        assert_eq!((text.len(), text.trim_end_matches('\0')), (256, "1"));
    }
}
