//! Page tables (Intel SDM vol. 3A, section 4.5): the direct map of RAM, the kernel's own pages, and
//! the address spaces of tasks.
//!
//! The boot loader maps its page tables through a recursive slot, and maps no other physical
//! memory. Through that slot the direct map is built (`direct_map.rs`); then the kernel switches to
//! a top table of its own without a lower half.

mod direct_map;
mod inspect;

pub use direct_map::init;
pub(super) use direct_map::{take, take_zeroed};
pub use inspect::{find_writable_executable, inspect};

use super::ram::{DIRECT_MAP, Ram};
use abi::Status;
use core::sync::atomic::{AtomicU64, Ordering};
use kernel_core::Row;
use kernel_core::addr::{self, AddressSpace, PhysAddr, TableRoot, UserAddr};
use kernel_core::frames::Fresh;
use kernel_core::memory::Caching;
use x86_64::VirtAddr;
use x86_64::registers::control::Cr3;

/// The slot of the top table through which the boot loader maps the page tables recursively.
pub const RECURSIVE: u64 = 508;
/// First address of the recursive slot.
pub const RECURSIVE_ADDR: u64 = 0xffff_0000_0000_0000 | RECURSIVE << 39;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const WRITE_THROUGH: u64 = 1 << 3;
const NO_CACHE: u64 = 1 << 4;
const HUGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
/// One of the bits that the processor ignores: the page is RAM, so the kernel may access it through
/// the direct map.
const IS_RAM: u64 = 1 << 9;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const PAGE: u64 = abi::PAGE_SIZE as u64;
/// The physical address of the kernel's own top table.
static KERNEL_ROOT: AtomicU64 = AtomicU64::new(0);

/// The kernel's own top table, for when no task's is in use. It exists after [`init`].
#[expect(clippy::disallowed_methods, reason = "the kernel's own table, made by `init`")]
pub fn kernel_root() -> TableRoot {
    TableRoot::made_at(PhysAddr::new(KERNEL_ROOT.load(Ordering::Relaxed)))
}

/// A page table, by its physical address: a frame of RAM to which a top table, or an entry of a
/// table, leads.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Table(u64);

impl Table {
    /// The table to which a present entry leads that maps no page.
    #[inline(always)]
    const fn behind(entry: u64) -> Self {
        Table(entry & ADDRESS)
    }

    /// The entry that leads to this table: present and writable, as the entries below restrict the
    /// access.
    const fn entry(self) -> u64 {
        self.0 | PRESENT | WRITABLE
    }
}

/// A page table that was found, or none. It is as large as a [`Table`], since physical address 0
/// never holds a table.
#[derive(Clone, Copy)]
pub struct Found(u64);

impl Found {
    /// No table.
    pub const NONE: Found = Found(0);

    /// The given table.
    #[inline(always)]
    pub const fn table(table: Table) -> Self {
        Found(table.0)
    }

    /// The table, if there is one.
    #[inline(always)]
    pub const fn get(self) -> Option<Table> {
        if self.0 == 0 { None } else { Some(Table(self.0)) }
    }
}

impl From<TableRoot> for Table {
    #[inline(always)]
    fn from(root: TableRoot) -> Self {
        Table(root.address().number())
    }
}

/// A frame full of zeros that nobody else uses: it can become a page table.
#[derive(Debug)]
pub struct Zeroed(PhysAddr);

impl Zeroed {
    /// The physical address of the frame. From now on others may use it.
    #[inline(always)]
    pub fn address(self) -> PhysAddr {
        self.0
    }

    /// Makes the frame an empty page table.
    #[inline(always)]
    fn table(self) -> Table {
        Table(self.0.number())
    }
}

/// The permissions of a kernel mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelFlags(u64);

impl KernelFlags {
    /// Readable and writable, not executable.
    pub const DATA: KernelFlags = KernelFlags(PRESENT | WRITABLE | NO_EXECUTE | GLOBAL);
    /// The registers of a device: readable and writable, not executable, never cached.
    pub const DEVICE: KernelFlags = KernelFlags(Self::DATA.0 | NO_CACHE | WRITE_THROUGH);
    /// Read-only and not executable, for a temporary mapping that [`flush_page`] ends.
    pub const FIRMWARE: KernelFlags = KernelFlags(PRESENT | NO_EXECUTE);
    /// Not present.
    pub const NONE: KernelFlags = KernelFlags(0);
}

/// The permissions of a user mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserFlags {
    /// Whether the page may be written.
    pub writable: bool,
    /// Whether the page may be executed.
    pub executable: bool,
    /// The memory type of the page.
    pub caching: Caching,
}

impl UserFlags {
    /// Read-only RAM, not executable.
    pub const READ: UserFlags = UserFlags { writable: false, executable: false, caching: Caching::WriteBack };
    /// Readable and writable RAM, not executable.
    pub const DATA: UserFlags = UserFlags { writable: true, ..Self::READ };

    fn bits(self) -> u64 {
        debug_assert!(!(self.writable && self.executable));
        let mut bits = PRESENT | USER;
        if self.writable {
            bits |= WRITABLE;
        }
        if !self.executable || self.writable {
            bits |= NO_EXECUTE;
        }
        // The bits PWT and PCD select the memory types that `state` writes to PAT.
        bits | match self.caching {
            Caching::WriteBack => 0,
            Caching::WriteCombining => WRITE_THROUGH,
            Caching::Uncached => NO_CACHE | WRITE_THROUGH,
        }
    }
}

#[inline(always)]
fn entry_ptr(table: Table, index: u64) -> *mut u64 {
    (DIRECT_MAP + table.0 + (index & 511) * 8) as *mut u64
}

#[inline(always)]
fn read(table: Table, index: u64) -> u64 {
    // SAFETY: a page table is a frame of RAM, which the direct map covers, and the index stays
    // within the page.
    unsafe { entry_ptr(table, index).read_volatile() }
}

fn write(table: Table, index: u64, entry: u64) {
    // SAFETY: a page table is a frame of RAM, which the direct map covers, and the index stays
    // within the page; only the kernel writes tables, on one core with interrupts off.
    unsafe { entry_ptr(table, index).write_volatile(entry) }
}

/// Fills a frame that was just taken with zeros.
pub fn zero(frame: Fresh) -> Zeroed {
    // SAFETY: `Fresh` says that nobody else uses the frame.
    unsafe { zero_at(frame.address()) }
}

/// Fills the frame at a physical address with zeros.
///
/// # Safety
/// Nobody else may use the frame.
pub unsafe fn zero_at(frame: PhysAddr) -> Zeroed {
    if let Some(ram) = Ram::at(frame, PAGE) {
        // SAFETY: the frame is RAM in the direct map, and nobody else uses it by this function's
        // contract.
        unsafe { core::ptr::write_bytes(ram.pointer(), 0, PAGE as usize) };
    }
    Zeroed(frame)
}

#[inline(always)]
const fn slot(addr: u64, level: u32) -> u64 {
    addr >> (12 + 9 * level) & 511
}

/// Flushes cached translations of an earlier address space with the same identifier (PCID).
pub fn forget(space: AddressSpace) {
    if space.cr3().keeps() {
        let current = loaded();
        // SAFETY: the first value is that of an address space; the second is that of the current
        // one, whose cached translations are kept.
        unsafe {
            load(space.cr3().when_read());
            load(current | addr::Cr3::KEEP);
        }
    }
}

/// The value of CR3.
#[inline(always)]
fn loaded() -> u64 {
    let now: u64;
    // SAFETY: reads a register.
    unsafe { core::arch::asm!("mov {}, cr3", out(reg) now, options(nomem, nostack, preserves_flags)) };
    now
}

/// Writes CR3.
///
/// # Safety
/// It must be the value of an address space: a top table with the kernel's upper half, so that
/// code, stack and data stay mapped.
#[inline(always)]
unsafe fn load(cr3: u64) {
    // SAFETY: by this function's contract.
    unsafe { core::arch::asm!("mov cr3, {}", in(reg) cr3, options(nostack, preserves_flags)) };
}

/// Whether the core is in the address space with this CR3 value.
#[inline(always)]
pub fn is_in(cr3: addr::Cr3) -> bool {
    loaded() == cr3.when_read()
}

/// Enters an address space.
#[inline(always)]
pub fn switch(space: AddressSpace) {
    // SAFETY: an address space has a top table with the kernel's upper half, whose frame is not
    // freed while it is in use.
    unsafe { load(space.cr3().number()) };
}

/// Enters the kernel's own address space.
#[inline(always)]
#[expect(clippy::disallowed_methods, reason = "the kernel's own table")]
pub fn switch_to_kernel() {
    switch(AddressSpace::of_kernel(kernel_root()));
}

/// Maps a page in the kernel's half, only in slots of the top table that exist before the first
/// task. `frames` provides missing page tables.
///
/// # Safety
/// The kernel must not use what was mapped in the page, and the frame must belong to whoever writes
/// to it.
// Inlined, so that what takes the frames stays code of the boot.
#[inline(always)]
pub unsafe fn map_kernel(page: u64, frame: PhysAddr, flags: KernelFlags, frames: &mut dyn FnMut() -> Zeroed) {
    let mut table = Table::from(kernel_root());
    for level in [3, 2, 1] {
        let entry = read(table, slot(page, level));
        table = if entry & PRESENT != 0 {
            Table::behind(entry)
        } else {
            let new = frames().table();
            write(table, slot(page, level), new.entry());
            new
        };
    }
    write(table, slot(page, 0), frame.number() | flags.0);
}

/// Unmaps a page of the kernel's half, and flushes it.
///
/// # Safety
/// Nobody may use the page any more.
pub unsafe fn unmap_kernel(page: u64) {
    clear(kernel_root(), page, 1);
}

/// Flushes the cached translation of a page of the kernel's half.
#[unsafe(link_section = "boot_text")]
pub fn flush_page(page: u64) {
    x86_64::instructions::tlb::flush(VirtAddr::new_truncate(page));
}

/// Makes a frame the top table of a new address space for a life of this row, with only the
/// kernel's half mapped. `has_identifiers` tells whether the processor has process-context
/// identifiers (PCID).
#[expect(clippy::disallowed_methods, reason = "the table is made here")]
pub fn new_space(top: Fresh, row: Row, has_identifiers: bool) -> AddressSpace {
    const HALF: u64 = PAGE / 2;
    let (root, kernel) = (top.address(), kernel_root().address());
    let (lower, upper) = (Ram::at(root, HALF), Ram::at(root.plus(HALF), HALF));
    if let (Some(lower), Some(upper), Some(kernel)) = (lower, upper, Ram::at(kernel.plus(HALF), HALF)) {
        // SAFETY: nobody else uses the frame. It is not the kernel's own top table, whose upper
        // half only the kernel writes, on one core with interrupts off. All three ranges are in the
        // direct map.
        unsafe {
            core::ptr::write_bytes(lower.pointer(), 0, HALF as usize);
            core::ptr::copy_nonoverlapping(kernel.pointer(), upper.pointer(), HALF as usize);
        }
    }
    AddressSpace::of_row(TableRoot::made_at(root), row, has_identifiers)
}

/// The lowest-level page table for a task's address. `table_frame` provides frames for missing
/// tables. Errors: those of `table_frame`, and OutOfMemory if a task cannot have this page.
pub fn table_for(
    root: TableRoot,
    page: UserAddr,
    mut table_frame: impl FnMut() -> Result<Zeroed, Status>,
) -> Result<Table, Status> {
    let page = page.number();
    if !(abi::task::PROGRAM_BASE..abi::task::USER_END).contains(&page) {
        return Err(Status::OutOfMemory);
    }
    let mut table = Table::from(root);
    for level in [3, 2, 1] {
        let entry = read(table, slot(page, level));
        table = if entry & PRESENT != 0 {
            Table::behind(entry)
        } else {
            let new = table_frame()?.table();
            write(table, slot(page, level), new.entry() | USER);
            new
        };
    }
    Ok(table)
}

/// Sets the entry of a task's page, RAM or a device's, in its lowest-level page table: see
/// [`table_for`].
#[inline(always)]
pub fn set_user(table: Table, page: UserAddr, frame: PhysAddr, flags: UserFlags) {
    let frame = PhysAddr::new(frame.number() & ADDRESS);
    // A device's page is never RAM: the regions of RAM, of which firmware may name many, are
    // searched only for the others.
    let is_cached = matches!(flags.caching, Caching::WriteBack);
    let is_ram = if is_cached && Ram::at(frame, PAGE).is_some() { IS_RAM } else { 0 };
    write(table, slot(page.number(), 0), frame.number() | flags.bits() | is_ram);
}

/// Maps a page of a task, RAM or a device's. `table_frame` provides frames for missing tables.
/// Errors: those of `table_frame`, and OutOfMemory if a task cannot have this page; then nothing is
/// mapped.
pub fn map_user(
    root: TableRoot,
    page: UserAddr,
    frame: PhysAddr,
    flags: UserFlags,
    table_frame: impl FnMut() -> Result<Zeroed, Status>,
) -> Result<(), Status> {
    set_user(table_for(root, page, table_frame)?, page, frame, flags);
    Ok(())
}

/// The lowest-level page table for an address, if there is one.
fn lowest_table(root: TableRoot, page: u64) -> Option<Table> {
    let mut table = Table::from(root);
    for level in [3, 2, 1] {
        let entry = read(table, slot(page, level));
        if entry & PRESENT == 0 || entry & HUGE != 0 {
            return None;
        }
        table = Table::behind(entry);
    }
    Some(table)
}

/// Unmaps a page, and flushes it if the address space is in use.
pub fn unmap(root: TableRoot, page: UserAddr) {
    unmap_user(root, page, 1);
}

/// Unmaps `count` pages of a task, and flushes them if the address space is in use.
pub fn unmap_user(root: TableRoot, first: UserAddr, count: u64) {
    clear(root, first.number(), count);
}

/// Unmaps `count` pages of either half, and flushes them if the address space is in use.
fn clear(root: TableRoot, first: u64, count: u64) {
    let in_use = Cr3::read().0.start_address().as_u64() == root.address().number();
    let mut table = lowest_table(root, first);
    for page in (0..count).map(|number| first + number * PAGE) {
        if page.is_multiple_of(TABLE_SPAN) {
            table = lowest_table(root, page);
        }
        let Some(table) = table else { continue };
        write(table, slot(page, 0), 0);
        if in_use {
            x86_64::instructions::tlb::flush(VirtAddr::new_truncate(page));
        }
    }
}

/// The access to a page that a task must have: bits that must be set in every entry that leads to
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(u64);

impl Access {
    /// Reading.
    pub const READ: Access = Access(PRESENT | USER);
    /// Writing.
    pub const WRITE: Access = Access(PRESENT | USER | WRITABLE);
}

/// The address to which an entry of a page table leads, if it allows the access and has no bit of
/// `refused`.
#[inline(always)]
fn step(table: Table, addr: UserAddr, level: u32, access: Access, refused: u64) -> Option<u64> {
    let entry = read(table, slot(addr.number(), level));
    (entry & (access.0 | refused) == access.0).then_some(entry & ADDRESS)
}

/// The number of bytes that one lowest-level page table maps.
pub const TABLE_SPAN: u64 = 512 * PAGE;

/// The lowest-level page table for a task's address, if the levels above allow the access. It is
/// the same for all addresses in the same [`TABLE_SPAN`] bytes.
#[inline(always)]
pub fn user_table(root: TableRoot, addr: UserAddr, access: Access) -> Option<Table> {
    if !addr.is_user() {
        return None;
    }
    // The kernel maps no huge pages for tasks.
    let table = Table(step(root.into(), addr, 3, access, HUGE)?);
    let table = Table(step(table, addr, 2, access, HUGE)?);
    step(table, addr, 1, access, HUGE).map(Table)
}

/// The memory from a task's address to the end of its page, given the lowest-level page table for
/// it, if the page is RAM and the task itself has the access. The kernel does not access other
/// pages of a task, such as a device's registers.
#[inline(always)]
pub fn user_page(table: Table, addr: UserAddr, access: Access) -> Option<Ram> {
    let page = PhysAddr::new(step(table, addr, 0, Access(access.0 | IS_RAM), 0)?);
    Some(Ram::marked(page.plus(addr.offset_in_page())))
}

/// The physical address of a task's address, RAM or a device's, if the task itself may read (or,
/// where `write`, write) it.
pub fn translate_user(root: TableRoot, addr: UserAddr, write: bool) -> Option<PhysAddr> {
    let access = if write { Access::WRITE } else { Access::READ };
    Some(PhysAddr::new(step(user_table(root, addr, access)?, addr, 0, access, 0)? | addr.offset_in_page()))
}
