//! Physical addresses, and address spaces by what the processor finds them with. All of these are numbers of 64 bits, of which none can stand for
//! another.

use crate::row::Row;
use abi::task::MAX_TASKS;

/// A physical address: of RAM, or of a device.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct PhysAddr(u64);

impl PhysAddr {
    /// The address of this number.
    #[inline(always)]
    pub const fn new(number: u64) -> Self {
        PhysAddr(number)
    }

    /// Its number.
    #[inline(always)]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The address so many bytes further on. The caller knows that there is one.
    #[inline(always)]
    pub const fn plus(self, bytes: u64) -> Self {
        PhysAddr(self.0.wrapping_add(bytes))
    }
}

impl core::fmt::LowerHex for PhysAddr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// The top page table of an address space, by its physical address.
///
/// Whoever has one may walk it, and the kernel's `arch/paging.rs` alone makes one, of a frame that it has filled: so what has one need not ask
/// whether it leads to page tables. A test of `xtask` holds it to that.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableRoot(PhysAddr);

impl TableRoot {
    /// The top table in this frame. Only for who has filled it with one that has the kernel's upper half.
    #[inline(always)]
    pub const fn made_at(frame: PhysAddr) -> Self {
        TableRoot(frame)
    }

    /// Where it is.
    #[inline(always)]
    pub const fn address(self) -> PhysAddr {
        self.0
    }
}

/// What is written to CR3 to enter an address space (Intel SDM vol. 3A, section 4.5.2): where its top table is, and besides, where the processor has
/// process-context identifiers, one of these, and whether what is cached for it stays.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cr3(u64);

impl Cr3 {
    /// Of what is written: what is cached for the identifier stays (section 4.10.4.1). It is not set when CR3 is read.
    pub const KEEP: u64 = 1 << 63;

    /// The number that is written.
    #[inline(always)]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// What is read from CR3 while the address space is in use.
    #[inline(always)]
    pub const fn when_read(self) -> u64 {
        self.0 & !Self::KEEP
    }

    /// Whether entering it leaves what the processor has cached for its identifier.
    pub const fn keeps(self) -> bool {
        self.0 & Self::KEEP != 0
    }
}

/// An address space that can be entered, and walked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressSpace {
    pub(crate) root: TableRoot,
    pub(crate) cr3: Cr3,
}

impl AddressSpace {
    /// One in the second frame of all, of a thread that no processor will run.
    #[cfg(test)]
    pub(crate) const OF_TESTS: AddressSpace = Self::of_kernel(TableRoot(PhysAddr(0x1000)));

    /// The address space of a row's life. Where the processor has process-context identifiers, the row's own is part of it: so what is cached
    /// of it is still there when the task runs again (section 4.10.1). Identifier 0 is the kernel's own.
    pub const fn of_row(root: TableRoot, row: Row, has_identifiers: bool) -> Self {
        // There are fewer rows than identifiers.
        const _: () = assert!(MAX_TASKS < 0xfff);
        let identifier = if has_identifiers { (row.number() as u64 + 1) | Cr3::KEEP } else { 0 };
        AddressSpace { root, cr3: Cr3(root.0.0 | identifier) }
    }

    /// The kernel's own, for when no task's is in use.
    pub const fn of_kernel(root: TableRoot) -> Self {
        AddressSpace { root, cr3: Cr3(root.0.0) }
    }

    /// Its top table.
    #[inline(always)]
    pub const fn root(self) -> TableRoot {
        self.root
    }

    /// What CR3 is loaded with to enter it.
    #[inline(always)]
    pub const fn cr3(self) -> Cr3 {
        self.cr3
    }
}

/// The address space of a row's life, or none: as large as one, since no top table is in the first frame of all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LifeSpace(AddressSpace);

impl LifeSpace {
    /// There is none.
    pub const NONE: LifeSpace = LifeSpace(AddressSpace { root: TableRoot(PhysAddr(0)), cr3: Cr3(0) });

    /// This one.
    #[inline(always)]
    pub const fn of(space: AddressSpace) -> Self {
        LifeSpace(space)
    }

    /// The address space, if there is one.
    #[inline(always)]
    pub const fn get(self) -> Option<AddressSpace> {
        if self.0.root.0.0 == 0 { None } else { Some(self.0) }
    }

    /// What CR3 is loaded with to enter it; what it never holds, where there is none.
    #[inline(always)]
    pub const fn cr3(self) -> Cr3 {
        self.0.cr3
    }
}
