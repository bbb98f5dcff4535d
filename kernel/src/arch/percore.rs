//! The state of one core, which the entry stubs access through gs.

use abi::Syscall;
use core::arch::naked_asm;
use core::cell::UnsafeCell;
use kernel_core::arena::Id;
use kernel_core::thread::FloatState;

/// The number of system calls that have an entry in the table; those of larger numbers use the
/// general entry.
pub(super) const SYSTEM_CALLS: usize = Syscall::TaskFault as usize + 1;

/// The record of a core, which the entry stubs access through gs.
#[repr(C)]
pub struct PerCore {
    /// Top of the stack on which the kernel runs.
    pub kernel_stack: u64,
    /// The place where entry stubs save the user's stack pointer temporarily.
    pub user_stack: u64,
    /// The address of the kernel's state. The entry stubs pass it to Rust code when no lock is
    /// held.
    pub kernel: u64,
    /// The address of the [`kernel_core::System`] in the kernel's state.
    pub system: u64,
    /// The address of the frame end of the first thread slot: see [`kernel_core::layout`].
    pub threads: u64,
    /// The number of thread slots.
    pub slots: u64,
    /// The address of the first endpoint slot.
    pub endpoints: u64,
    /// The address of the first notification slot.
    pub notifications: u64,
    /// The number of changes of the address space.
    pub space_switches: u64,
    /// What the core is prepared for besides the address space: bits of
    /// [`kernel_core::thread::Thread::extras`].
    pub extras: u8,
    /// The owner of the floating-point registers in the processor; `None` if their use faults.
    pub float: Option<Id<FloatState>>,
    /// The entry of each system call, by its number.
    pub entries: [extern "C" fn(); SYSTEM_CALLS],
    /// The segments and the TSS, whose RSP0 is the running thread's frame end.
    pub tables: super::gdt::Tables,
}

/// Offset of [`PerCore::kernel_stack`] in the record.
pub const KERNEL_STACK: usize = core::mem::offset_of!(PerCore, kernel_stack);
/// Offset of [`PerCore::tables`] in the record.
pub const TABLES: usize = core::mem::offset_of!(PerCore, tables);
/// Offset of TSS.RSP0 in the record.
pub const FRAME_END: usize = TABLES + super::gdt::RSP0;
/// Offset of [`PerCore::user_stack`] in the record.
pub const USER_STACK: usize = core::mem::offset_of!(PerCore, user_stack);

/// Offset of [`PerCore::kernel`] in the record.
pub const KERNEL: usize = core::mem::offset_of!(PerCore, kernel);
/// Offset of [`PerCore::system`] in the record.
pub const SYSTEM: usize = core::mem::offset_of!(PerCore, system);
/// Offset of [`PerCore::threads`] in the record.
pub const THREADS: usize = core::mem::offset_of!(PerCore, threads);
/// Offset of [`PerCore::slots`] in the record.
pub const SLOTS: usize = core::mem::offset_of!(PerCore, slots);
/// Offset of [`PerCore::notifications`] in the record.
pub const NOTIFICATIONS: usize = core::mem::offset_of!(PerCore, notifications);
/// Offset of [`PerCore::endpoints`] in the record.
pub const ENDPOINTS: usize = core::mem::offset_of!(PerCore, endpoints);
/// Offset of [`PerCore::extras`] in the record.
pub const EXTRAS: usize = core::mem::offset_of!(PerCore, extras);
/// Offset of [`PerCore::space_switches`] in the record.
pub const SPACE_SWITCHES: usize = core::mem::offset_of!(PerCore, space_switches);
/// Offset of [`PerCore::entries`] in the record.
pub const ENTRIES: usize = core::mem::offset_of!(PerCore, entries);

/// The entry of all system calls before [`Core::first`] is called; there are none by then.
#[unsafe(naked)]
extern "C" fn no_entry() {
    naked_asm!("ud2")
}

struct Cell(UnsafeCell<PerCore>);

// SAFETY: there is one core, it runs the kernel with interrupts off, and `Core` hands out one
// reference at a time.
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

/// The access right to this core's record. There is only one, and it is part of the kernel's state:
/// so a borrow of the record through it is exclusive, as long as the stubs do not run, which they
/// do only with interrupts off and between ring 3 and the kernel.
pub struct Core(());

impl Core {
    /// The access right to the record, with these entries of system calls.
    ///
    /// # Safety
    /// It may be called once for each core, by the code that initialises the core. The entries are
    /// a table made by [`super::entry::table`].
    #[must_use]
    pub unsafe fn first(entries: &[extern "C" fn(); SYSTEM_CALLS]) -> Self {
        let mut core = Core(());
        core.record().entries = *entries;
        core
    }

    /// The record of this core.
    #[inline(always)]
    pub fn record(&mut self) -> &mut PerCore {
        // SAFETY: there is only one `self`, which is borrowed as long as the reference lives, and
        // the kernel runs on one core with interrupts off whenever it has the reference.
        unsafe { &mut *addr() }
    }

    /// The number of changes of the address space.
    pub fn space_switches(&self) -> u64 {
        // SAFETY: nobody has borrowed the record mutably, as `self` is borrowed.
        unsafe { (*addr()).space_switches }
    }
}
