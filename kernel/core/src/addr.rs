//! Types for physical addresses, addresses of tasks, top page tables, CR3 values and address
//! spaces. All are 64-bit numbers, and none can be mistaken for another.

use crate::row::Row;
use abi::task::{MAX_TASKS, USER_END};

const PAGE: u64 = abi::PAGE_SIZE as u64;

/// A physical address: of RAM, or of a device.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct PhysAddr(u64);

impl PhysAddr {
    /// The physical address with this number.
    #[inline(always)]
    pub const fn new(number: u64) -> Self {
        PhysAddr(number)
    }

    /// The address as a number.
    #[inline(always)]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The address `bytes` further on. The caller ensures that the sum does not overflow (it
    /// wraps).
    #[inline(always)]
    pub const fn plus(self, bytes: u64) -> Self {
        PhysAddr(self.0.wrapping_add(bytes))
    }

    /// The address `bytes` further on; `None` if there is none.
    #[inline(always)]
    pub const fn checked_plus(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(PhysAddr(sum)),
            None => None,
        }
    }

    /// The address `bytes` further on, or the highest one.
    #[inline(always)]
    pub const fn saturating_plus(self, bytes: u64) -> Self {
        PhysAddr(self.0.saturating_add(bytes))
    }

    /// The number of bytes from `start`, which is not above this address, up to it.
    #[inline(always)]
    pub const fn since(self, start: PhysAddr) -> u64 {
        self.0 - start.0
    }

    /// The offset of the address in its page.
    #[inline(always)]
    pub const fn offset_in_page(self) -> u64 {
        self.0 & (PAGE - 1)
    }

    /// The start of the page in which the address lies.
    #[inline(always)]
    pub const fn rounded_down(self) -> Self {
        PhysAddr(self.0 & !(PAGE - 1))
    }

    /// The start of the lowest page that is not below the address; `None` if there is none.
    #[inline(always)]
    pub const fn rounded_up(self) -> Option<Self> {
        match self.0.checked_next_multiple_of(PAGE) {
            Some(start) => Some(PhysAddr(start)),
            None => None,
        }
    }
}

impl core::fmt::LowerHex for PhysAddr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// An address in the address space of a task. Most are named by tasks, so any number may occur, and
/// each is checked where it is used.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct UserAddr(u64);

impl UserAddr {
    /// No address in particular, where a task leaves it to the kernel to choose one.
    pub const ANY: UserAddr = UserAddr(0);

    /// The address with this number.
    #[inline(always)]
    pub const fn new(number: u64) -> Self {
        UserAddr(number)
    }

    /// The address as a number.
    #[inline(always)]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Whether the address is one that a task can have: below the end of user space.
    #[inline(always)]
    pub const fn is_user(self) -> bool {
        self.0 < USER_END
    }

    /// Whether the address is a multiple of this size.
    #[inline(always)]
    pub const fn is_aligned(self, size: u64) -> bool {
        self.0.is_multiple_of(size)
    }

    /// The offset of the address in its page.
    #[inline(always)]
    pub const fn offset_in_page(self) -> u64 {
        self.0 & (PAGE - 1)
    }

    /// The address `bytes` further on. The caller ensures that the sum does not overflow.
    #[inline(always)]
    pub const fn plus(self, bytes: u64) -> Self {
        UserAddr(self.0 + bytes)
    }

    /// The address `bytes` further on; `None` if there is none.
    #[inline(always)]
    pub const fn checked_plus(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(UserAddr(sum)),
            None => None,
        }
    }
}

impl core::fmt::LowerHex for UserAddr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// The top page table of an address space, by its physical address.
///
/// A `TableRoot` is proof that page tables are there to walk: only the kernel's `arch/paging.rs`
/// makes one, from a frame that it has filled. A test of `xtask` checks that nobody else does.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableRoot(PhysAddr);

impl TableRoot {
    /// The top table in this frame. Only for the code that has filled the frame with a top table,
    /// the kernel's upper half included.
    #[inline(always)]
    pub const fn made_at(frame: PhysAddr) -> Self {
        TableRoot(frame)
    }

    /// Physical address of the top table.
    #[inline(always)]
    pub const fn address(self) -> PhysAddr {
        self.0
    }
}

/// The value that is written to CR3 to enter an address space (Intel SDM vol. 3A, section 4.5.2):
/// the physical address of the top table and, where the processor supports process-context
/// identifiers (PCID), the identifier and the bit [`Cr3::KEEP`].
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cr3(u64);

impl Cr3 {
    /// Bit 63 of a value written to CR3: cached translations of its identifier stay valid (Intel
    /// SDM vol. 3A, section 4.10.4.1). It reads as 0.
    pub const KEEP: u64 = 1 << 63;

    /// The value to write to CR3.
    #[inline(always)]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The value that CR3 reads as while the address space is in use.
    #[inline(always)]
    pub const fn when_read(self) -> u64 {
        self.0 & !Self::KEEP
    }

    /// Whether loading this value keeps the cached translations of its identifier.
    pub const fn keeps(self) -> bool {
        self.0 & Self::KEEP != 0
    }
}

/// An address space that can be entered, and whose page tables can be walked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressSpace {
    pub(crate) root: TableRoot,
    pub(crate) cr3: Cr3,
}

impl AddressSpace {
    /// An address space whose top table is at 0x1000, for threads that no processor runs.
    #[cfg(test)]
    pub(crate) const OF_TESTS: AddressSpace = Self::of_kernel(TableRoot(PhysAddr(0x1000)));

    /// The address space of a row's life. With `has_identifiers` (PCID) it carries the row's own
    /// identifier, so that cached translations are still valid when the task runs again (Intel SDM
    /// vol. 3A, section 4.10.1). Identifier 0 is the kernel's.
    pub const fn of_row(root: TableRoot, row: Row, has_identifiers: bool) -> Self {
        // Identifiers have 12 bits; there must be one for each row, and one for the kernel.
        const _: () = assert!(MAX_TASKS < 0xfff);
        let identifier = if has_identifiers { (row.number() as u64 + 1) | Cr3::KEEP } else { 0 };
        AddressSpace { root, cr3: Cr3(root.0.0 | identifier) }
    }

    /// The kernel's own address space, for when no task's is in use.
    pub const fn of_kernel(root: TableRoot) -> Self {
        AddressSpace { root, cr3: Cr3(root.0.0) }
    }

    /// The top page table of the address space.
    #[inline(always)]
    pub const fn root(self) -> TableRoot {
        self.root
    }

    /// The value that CR3 is loaded with to enter the address space.
    #[inline(always)]
    pub const fn cr3(self) -> Cr3 {
        self.cr3
    }
}

/// The address space of a row's life, or none. It is as large as an [`AddressSpace`], since
/// physical address 0 never holds a top table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LifeSpace(AddressSpace);

impl LifeSpace {
    /// No address space.
    pub const NONE: LifeSpace = LifeSpace(AddressSpace { root: TableRoot(PhysAddr(0)), cr3: Cr3(0) });

    /// The given address space.
    #[inline(always)]
    pub const fn of(space: AddressSpace) -> Self {
        LifeSpace(space)
    }

    /// The address space, if there is one.
    #[inline(always)]
    pub const fn get(self) -> Option<AddressSpace> {
        if self.0.root.0.0 == 0 { None } else { Some(self.0) }
    }

    /// The value that CR3 is loaded with to enter the address space; 0, which CR3 never holds, if
    /// there is none.
    #[inline(always)]
    pub const fn cr3(self) -> Cr3 {
        self.0.cr3
    }
}
