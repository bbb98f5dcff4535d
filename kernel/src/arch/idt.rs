//! The interrupt descriptor table (Intel SDM vol. 3A, section 6.14).

#[cfg(not(feature = "plain"))]
use super::controller::{Controller, Entries, InterruptController};
use super::controller::{SPURIOUS, vector};
use super::entry::{fatal, stub, stub_with_error};
use super::gdt::{IST_DOUBLE_FAULT, IST_MACHINE_CHECK, IST_NMI, KERNEL_CODE};
use super::handlers::Handlers;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
#[cfg(not(feature = "plain"))]
use kernel_core::lines::{LINES, Line};
use x86_64::VirtAddr;
use x86_64::structures::DescriptorTablePointer;

/// The number of vectors with a handler: 32 exceptions, the lines', and one for spurious
/// interrupts. `int n` with any other vector is a general protection fault.
const COUNT: usize = vector(SPURIOUS) as usize + 1;
/// The number of vectors with a stack of their own: NMI, double fault and machine check.
const OWN_STACKS: usize = 3;
const GATE: u64 = 0x8e00;
const GATE_FROM_RING_3: u64 = 0xee00;

#[repr(C, align(16))]
struct Table(UnsafeCell<[[u64; 2]; COUNT]>);
// SAFETY: written once by `init`, before anything reads it.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new([[0; 2]; COUNT]));

type Stub = extern "C" fn();

macro_rules! stubs {
    ($($kind:ident $vector:literal),*) => {
        [$(($vector as usize, $kind::<H, $vector> as Stub)),*]
    };
}

/// A gate to `handler` that turns interrupts off, on the stack of IST slot `ist` unless that is 0
/// (Intel SDM vol. 3A, figure 6-8).
fn gate(handler: Stub, ist: u16, attributes: u64) -> [u64; 2] {
    let addr = handler as *const () as u64;
    let low = addr & 0xffff
        | u64::from(KERNEL_CODE) << 16
        | u64::from(ist) << 32
        | attributes << 32
        | (addr >> 16 & 0xffff) << 48;
    [low, addr >> 32]
}

/// The stubs that continue in the functions `H`.
struct Stubs<H>(PhantomData<H>);

impl<H: Handlers> Stubs<H> {
    /// The stubs of all vectors that use the kernel's stack. This is a constant table because code
    /// that builds one is larger.
    const ALL: [(usize, Stub); COUNT - OWN_STACKS] = stubs!(
        stub 0, stub 1, stub 3, stub 4, stub 5, stub 6, stub 7, stub 9, stub_with_error 10, stub_with_error 11,
        stub_with_error 12, stub_with_error 13, stub_with_error 14, stub 15, stub 16, stub_with_error 17, stub 19, stub 20,
        stub_with_error 21, stub 22, stub 23, stub 24, stub 25, stub 26, stub 27, stub 28, stub_with_error 29, stub_with_error 30, stub 31,
        stub 32, stub 33, stub 34, stub 35, stub 36, stub 37, stub 38, stub 39, stub 40, stub 41, stub 42, stub 43,
        stub 44, stub 45, stub 46, stub 47, stub 48
    );

    /// The entries of lines with the assembly of the 8259s, and of the local APIC.
    #[cfg(not(feature = "plain"))]
    const LINES: [[Stub; LINES]; 2] = {
        use super::interrupt::{apic, pic};
        macro_rules! entries {
            ($controller:ident: $($vector:literal)*) => { [$($controller::line::<H, $vector> as Stub),*] };
        }
        [
            entries!(pic: 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47),
            entries!(apic: 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47),
        ]
    };
}

/// Has the lines for which there is assembly enter by it, once the interrupt controller is known.
/// Interrupts are off.
#[cfg(not(feature = "plain"))]
#[unsafe(link_section = "boot_text")]
pub fn use_controller<H: Handlers>(controller: &Controller) {
    let Some((entries, fast)) = controller.fast() else { return };
    let [pic, apic] = Stubs::<H>::LINES;
    let entries = match entries {
        Entries::Pic => pic,
        Entries::Apic => apic,
    };
    // SAFETY: the table is not read while interrupts are off and no exception occurs, which nothing
    // here raises.
    let table = unsafe { &mut *TABLE.0.get() };
    for (number, entry) in entries.into_iter().enumerate() {
        let line = Line::new(number as u8);
        if fast.contains(line)
            && let Some(slot) = table.get_mut(usize::from(vector(line)))
        {
            *slot = gate(entry, 0, GATE);
        }
    }
}

/// Fills and loads the table: from now on exceptions and interrupts are handled by the functions of
/// `H`.
#[expect(clippy::indexing_slicing, reason = "vectors of the table above, before the first task runs")]
pub fn init<H: Handlers>() {
    let mut table = [[0; 2]; COUNT];
    for (number, handler) in &Stubs::<H>::ALL {
        // Ring 3 may use `int3`, and no other vector.
        table[*number] = gate(*handler, 0, if *number == 3 { GATE_FROM_RING_3 } else { GATE });
    }
    table[2] = gate(fatal::<H, 2, false>, IST_NMI, GATE);
    table[8] = gate(fatal::<H, 8, true>, IST_DOUBLE_FAULT, GATE);
    table[18] = gate(fatal::<H, 18, false>, IST_MACHINE_CHECK, GATE);
    // SAFETY: called once, with interrupts off; the table is static, and every gate leads to a stub
    // that saves all registers that it changes.
    unsafe {
        *TABLE.0.get() = table;
        let pointer =
            DescriptorTablePointer { limit: (size_of_val(&table) - 1) as u16, base: VirtAddr::from_ptr(TABLE.0.get()) };
        x86_64::instructions::tables::lidt(&pointer);
    }
}
