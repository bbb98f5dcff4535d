//! Page tables for the kernel (Intel SDM vol. 3A, section 4.5). All memory of this program is
//! mapped at its physical address.

use pvh::regions::Memory;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const PAGE: u64 = 4096;

/// The kinds of access to a page that are allowed, besides reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whether the page may be written.
    pub writable: bool,
    /// Whether the page may be executed.
    pub executable: bool,
}

impl Access {
    /// For data: reading and writing.
    pub const DATA: Access = Access { writable: true, executable: false };
    /// For constants: reading only.
    pub const READ: Access = Access { writable: false, executable: false };

    fn bits(self, no_execute: bool) -> u64 {
        let mut bits = PRESENT;
        if self.writable {
            bits |= WRITABLE;
        }
        if !self.executable && no_execute {
            bits |= NO_EXECUTE;
        }
        bits
    }
}

/// An address space that is being built.
pub struct Tables {
    root: u64,
    /// Whether the processor has no-execute pages.
    no_execute: bool,
}

impl Tables {
    /// An empty address space, with this program's own memory mapped as it is now: by the first
    /// entry of the top table at `current`.
    pub fn new(memory: &mut Memory, current: u64, no_execute: bool) -> Self {
        let root = zeroed(memory);
        write(root, 0, read(current, 0));
        Tables { root, no_execute }
    }

    /// The physical address of the top table.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Maps the top table into itself, at the entry for this address.
    pub fn map_recursively(&mut self, addr: u64) {
        write(self.root, slot(addr, 3), self.root | PRESENT | WRITABLE);
    }

    /// Maps a page. If it is mapped already, its frame stays, and both kinds of access are allowed.
    /// Returns the frame that is mapped there.
    pub fn map(
        &mut self,
        memory: &mut Memory,
        page: u64,
        frame: impl FnOnce(&mut Memory) -> u64,
        access: Access,
    ) -> u64 {
        let mut table = self.root;
        for level in [3, 2, 1] {
            let entry = read(table, slot(page, level));
            table = if entry & PRESENT != 0 {
                entry & ADDRESS
            } else {
                let new = zeroed(memory);
                write(table, slot(page, level), new | PRESENT | WRITABLE);
                new
            };
        }
        let bits = access.bits(self.no_execute);
        let old = read(table, slot(page, 0));
        let new = match old & PRESENT {
            0 => frame(memory) | bits,
            _ => (old | bits & WRITABLE) & !(NO_EXECUTE & !bits),
        };
        write(table, slot(page, 0), new);
        new & ADDRESS
    }

    /// Maps zeroed frames from `start` on, for `len` bytes, both of which must be multiples of the
    /// page size.
    pub fn map_new(&mut self, memory: &mut Memory, start: u64, len: u64, access: Access) {
        for offset in (0..len).step_by(PAGE as usize) {
            self.map(memory, start + offset, zeroed, access);
        }
    }
}

/// Takes a frame, and fills it with zeros.
///
/// # Panics
/// If no frame is left: then the kernel cannot be started.
pub fn zeroed(memory: &mut Memory) -> u64 {
    let Some(frame) = memory.take() else { panic!("too little memory to map the kernel") };
    // SAFETY: the frame is unused memory: not part of this program or the module, and not taken
    // before. It is below 4 GiB, where all physical memory is mapped, for reading and writing, at
    // its own address.
    unsafe { core::ptr::write_bytes(frame as *mut u8, 0, PAGE as usize) };
    frame
}

const fn slot(addr: u64, level: u32) -> u64 {
    addr >> (12 + 9 * level) & 511
}

fn read(table: u64, index: u64) -> u64 {
    // SAFETY: `table` is a page table, made by this program or in use, below 4 GiB and mapped at
    // its own address; `index` is below 512.
    unsafe { ((table + index * 8) as *const u64).read() }
}

fn write(table: u64, index: u64, entry: u64) {
    // SAFETY: `table` is a page table below 4 GiB, mapped at its own address; `index` is below 512.
    // The processor does not use the tables that are written here until the kernel is entered.
    unsafe { ((table + index * 8) as *mut u64).write(entry) }
}
