//! The interrupt descriptor table (Intel SDM vol. 3A, section 6.14).

use super::controller::{self, Controller, InterruptController, vector};
#[cfg(feature = "plain")]
use super::entry::stub as line;
use super::entry::{fatal, stub, stub_with_error};
use super::gdt::{IST_DOUBLE_FAULT, IST_MACHINE_CHECK, IST_NMI, KERNEL_CODE};
use super::handlers::Handlers;
#[cfg(not(feature = "plain"))]
use super::interrupt::line;
use super::timer;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use kernel_core::lines::{LINES, Line};
use x86_64::VirtAddr;
use x86_64::structures::DescriptorTablePointer;

/// The number of vectors with a handler: 32 exceptions, and those of the interrupt controller. `int
/// n` with any other vector is a general protection fault.
const COUNT: usize = vector(Line::new(0)) as usize + Controller::VECTORS;
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
    ($($kind:ident $vector:literal),*; $($line:literal)*) => {
        [$(($vector as usize, $kind::<H, $vector> as Stub),)* $(($line as usize, line_or_stub::<H, $line>())),*]
    };
}

/// The stub of a line's vector: the general path checks the lines that need it.
const fn line_or_stub<H: Handlers, const VECTOR: u8>() -> Stub {
    let checked = Controller::INTERNAL.with(Controller::SPURIOUS);
    if checked.contains(controller::line(VECTOR as u64)) { stub::<H, VECTOR> } else { line::<H, VECTOR> }
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
    /// The stubs of all vectors that use the kernel's stack, except the timer's, for a controller
    /// with as many vectors as any may have.
    const ALL: [(usize, Stub); 32 - OWN_STACKS + LINES] = stubs!(
        stub 0, stub 1, stub 3, stub 4, stub 5, stub 6, stub 7, stub 9, stub_with_error 10, stub_with_error 11,
        stub_with_error 12, stub_with_error 13, stub_with_error 14, stub 15, stub 16, stub_with_error 17, stub 19, stub 20,
        stub_with_error 21, stub 22, stub 23, stub 24, stub 25, stub 26, stub 27, stub 28, stub_with_error 29, stub_with_error 30, stub 31;
        33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48
    );

    /// Those of the vectors that there are. This is a constant table because code that builds one
    /// is larger.
    const STUBS: [(usize, Stub); COUNT - OWN_STACKS - 1] = match Self::ALL.first_chunk() {
        Some(stubs) => *stubs,
        None => panic!("a controller with more vectors"),
    };
}

/// Fills and loads the table: from now on exceptions and interrupts are handled by the functions of
/// `H`.
#[expect(clippy::indexing_slicing, reason = "vectors of the table above, before the first task runs")]
pub fn init<H: Handlers>() {
    let mut table = [[0; 2]; COUNT];
    for (number, handler) in &Stubs::<H>::STUBS {
        // Ring 3 may use `int3`, and no other vector.
        table[*number] = gate(*handler, 0, if *number == 3 { GATE_FROM_RING_3 } else { GATE });
    }
    table[usize::from(vector(timer::LINE))] = gate(stub::<H, { vector(timer::LINE) }>, 0, GATE);
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
