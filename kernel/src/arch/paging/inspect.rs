//! Walks of page tables for tests and reports: they follow any address, in either half of an
//! address space.

use super::{ADDRESS, HUGE, NO_EXECUTE, PRESENT, Table, WRITABLE, read, slot};
use kernel_core::addr::{PhysAddr, TableRoot};

/// The address of a page that is both writable and executable, if there is one in either half of an
/// address space. A page is writable only if the entries of all levels are, and executable only if
/// no level forbids it.
pub fn find_writable_executable(root: TableRoot) -> Option<u64> {
    fn walk(table: Table, level: u32, base: u64, writable: bool) -> Option<u64> {
        for index in 0..512 {
            let entry = read(table, index);
            if entry & PRESENT == 0 || entry & NO_EXECUTE != 0 {
                continue;
            }
            let writable = writable && entry & WRITABLE != 0;
            let mut addr = base | index << (12 + 9 * level);
            if level == 3 && index >= 256 {
                addr |= 0xffff_0000_0000_0000;
            }
            let leaf = level == 0 || entry & HUGE != 0;
            let found =
                if leaf { writable.then_some(addr) } else { walk(Table::behind(entry), level - 1, addr, writable) };
            if found.is_some() {
                return found;
            }
        }
        None
    }
    walk(root.into(), 3, 0, true)
}

/// The mapping of an address, for tests and reports: physical address, whether it is writable,
/// whether it is executable.
pub fn inspect(root: TableRoot, addr: u64) -> Option<(PhysAddr, bool, bool)> {
    let mut table = Table::from(root);
    let (mut writable, mut executable) = (true, true);
    for level in [3, 2, 1, 0] {
        let entry = read(table, slot(addr, level));
        if entry & PRESENT == 0 {
            return None;
        }
        writable &= entry & WRITABLE != 0;
        executable &= entry & NO_EXECUTE == 0;
        if level == 0 || entry & HUGE != 0 {
            let size = 1u64 << (12 + 9 * level);
            return Some((PhysAddr::new(entry & ADDRESS & !(size - 1) | addr & (size - 1)), writable, executable));
        }
        table = Table::behind(entry);
    }
    None
}
