//! What belongs to one core, reached through gs in the entry stubs.

use abi::Syscall;
use core::arch::naked_asm;
use core::cell::UnsafeCell;
use kernel_core::arena::Id;
use kernel_core::thread::FloatState;

/// System calls of larger numbers have the general entry.
pub(super) const SYSTEM_CALLS: usize = Syscall::TaskFault as usize + 1;

/// The record of a core. The entry stubs reach it through gs.
#[repr(C)]
pub struct PerCore {
    /// Top of the stack that the kernel runs on.
    pub kernel_stack: u64,
    /// Where `syscall` keeps the user's stack pointer for a moment.
    pub user_stack: u64,
    /// The address of the kernel's state, and of the [`kernel_core::System`] in it: what is entered from ring 3, where no lock is held, has them.
    pub kernel: u64,
    /// The address of the kernel's [`kernel_core::System`].
    pub system: u64,
    /// The frame end of the first slot of its threads, and how many there are: see [`kernel_core::layout`].
    pub threads: u64,
    /// How many slots of threads there are.
    pub slots: u64,
    /// The address of the first slot of its endpoints.
    pub endpoints: u64,
    /// The address of the first slot of its notifications.
    pub notifications: u64,
    /// How often the address space has changed.
    pub space_switches: u64,
    /// What is prepared besides the address space: as [`kernel_core::thread::Thread::extras`] has it.
    pub extras: u8,
    /// Whose floating-point registers are in the processor; `None`: nobody may use them.
    pub float: Option<Id<FloatState>>,
    /// Where each system call goes on, by its number.
    pub entries: [extern "C" fn(); SYSTEM_CALLS],
    /// Segments and TSS, whose RSP0 is the running thread's frame end.
    pub tables: super::gdt::Tables,
}

/// Offset of [`PerCore::kernel_stack`].
pub const KERNEL_STACK: usize = core::mem::offset_of!(PerCore, kernel_stack);
/// Offset of [`PerCore::tables`].
pub const TABLES: usize = core::mem::offset_of!(PerCore, tables);
/// Offset of TSS.RSP0.
pub const FRAME_END: usize = TABLES + super::gdt::RSP0;
/// Offset of [`PerCore::user_stack`].
pub const USER_STACK: usize = core::mem::offset_of!(PerCore, user_stack);

/// Offset of [`PerCore::kernel`].
pub const KERNEL: usize = core::mem::offset_of!(PerCore, kernel);
/// Offset of [`PerCore::system`].
pub const SYSTEM: usize = core::mem::offset_of!(PerCore, system);
/// Offset of [`PerCore::threads`].
pub const THREADS: usize = core::mem::offset_of!(PerCore, threads);
/// Offset of [`PerCore::slots`].
pub const SLOTS: usize = core::mem::offset_of!(PerCore, slots);
/// Offset of [`PerCore::notifications`].
pub const NOTIFICATIONS: usize = core::mem::offset_of!(PerCore, notifications);
/// Offset of [`PerCore::endpoints`].
pub const ENDPOINTS: usize = core::mem::offset_of!(PerCore, endpoints);
/// Offset of [`PerCore::extras`].
pub const EXTRAS: usize = core::mem::offset_of!(PerCore, extras);
/// Offset of [`PerCore::space_switches`].
pub const SPACE_SWITCHES: usize = core::mem::offset_of!(PerCore, space_switches);
/// Offset of [`PerCore::entries`].
pub const ENTRIES: usize = core::mem::offset_of!(PerCore, entries);

/// Where a system call goes on before [`Core::first`]: there is none.
#[unsafe(naked)]
extern "C" fn no_entry() {
    naked_asm!("ud2")
}

struct Cell(UnsafeCell<PerCore>);

// SAFETY: there is one core, it runs the kernel with interrupts off, and `Core` hands out one reference at a time: see there.
unsafe impl Sync for Cell {}

static CORE: Cell = Cell(UnsafeCell::new(PerCore {
    kernel_stack: 0,
    user_stack: 0,
    kernel: 0,
    system: 0,
    threads: 0,
    slots: 0,
    endpoints: 0,
    notifications: 0,
    space_switches: 0,
    extras: 0,
    float: None,
    entries: [no_entry; SYSTEM_CALLS],
    tables: super::gdt::Tables::NEW,
}));

/// The address of this core's record.
pub fn addr() -> *mut PerCore {
    CORE.0.get()
}

/// The right to this core's record. There is one, and it goes with the kernel's state: so whoever holds it, and borrows the record by it, is
/// alone with that, as long as the stubs do not run, which they do with interrupts off or between ring 3 and the kernel.
pub struct Core(());

impl Core {
    /// The right to the record, in which system calls go on at these entries.
    ///
    /// # Safety
    /// Once for each core, by the code that brings it up. The entries are a table that
    /// [`super::entry::table`] has made.
    #[must_use]
    pub unsafe fn first(entries: &[extern "C" fn(); SYSTEM_CALLS]) -> Self {
        let mut core = Core(());
        core.record().entries = *entries;
        core
    }

    /// The record.
    #[inline(always)]
    pub fn record(&mut self) -> &mut PerCore {
        // SAFETY: there is one of `self`, which is borrowed as long as the reference lives; the kernel runs on one core with interrupts off
        // wherever it has it.
        unsafe { &mut *addr() }
    }

    /// How often the address space has changed.
    pub fn space_switches(&self) -> u64 {
        // SAFETY: nobody has borrowed the record to change it, as `self` is borrowed.
        unsafe { (*addr()).space_switches }
    }
}
