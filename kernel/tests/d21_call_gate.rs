//! A task in whose memory a call gate to ring 0 lies, where a processor that starts would look for local descriptors: at an address below 64 KiB.
//! Such a program is refused; and where the pages are there all the same, the gate leads nowhere. The machine is one without SMEP and SMAP (see
//! `own_hardware` in xtask/src/test/kernel.rs), on which code of the task's own would run in ring 0.
#![no_std]
#![no_main]
#![expect(clippy::disallowed_methods, reason = "it stands where the kernel is entered")]

extern crate alloc;

#[path = "support/archive.rs"]
mod archive;

use abi::error::DeathKind;
use abi::task::PROGRAM_BASE;
use abi::{AbiNote, Status};
use alloc::boxed::Box;
use alloc::vec::Vec;
use archive::{BASE, parts, program, record, tar};
use bootloader_api::{BootInfo, entry_point};
use core::arch::{global_asm, naked_asm};
use kernel::arch::gdt::KERNEL_CODE;
use kernel::arch::paging::{self, UserFlags};
use kernel::arch::{entry, ram::Ram};
use kernel::kernel::{self as state, Kernel};
use kernel::loader::{self, SpawnError};
use kernel::{BOOT_CONFIG, start, testing};
use kernel_core::Row;
use kernel_core::addr::{TableRoot, UserAddr};
use kernel_core::clock::Clock;
use kernel_core::handles::Object;
use kernel_core::image::ImageError;
use kernel_core::step::{Fill, Step};
use x86_64::instructions::tables::sidt;

entry_point!(main, config = &BOOT_CONFIG);

const PAGE: u64 = 4096;
/// The rows of the task table: who attacks, and who is less important and calls the test back when that is done.
const ATTACKER: Row = Row::new(0);
const WITNESS: Row = Row::new(1);
/// Where the program's code lies in its file, and how much there is of it.
const CODE: usize = 0x1000;
const CODE_LEN: usize = 0x100;

global_asm!(
    // Ring 3: selector 0x1007 is word 0x200 of a local table, which is at address 0 as a processor starts.
    "attack:",
    "mov dword ptr [rsp - 32], 0",
    "mov word ptr [rsp - 28], 0x1007",
    "call_by_gate:",
    "call fword ptr [rsp - 32]",
    "ud2",
    // Ring 0, if it comes to that: the verdict, and the end of the machine.
    "in_ring_0:",
    "lea rsi, [rip + verdict]",
    "lea rcx, [rip + verdict_end]",
    "sub rcx, rsi",
    "mov edx, 0xe9",
    "cld",
    "rep outsb",
    "mov edx, 0xf4",
    "mov eax, 0x11",
    "out dx, al",
    "2: jmp 2b",
    "verdict: .ascii \"test d21_a_gate_in_low_memory_leads_nowhere ... FAILED: a task ran in ring 0\\n\"",
    "verdict_end:",
    "attack_end:",
    // The other task.
    "call_back: int3",
    "call_back_end:",
);

/// The address of a label of the code above.
macro_rules! label {
    ($name:ident) => {{
        unsafe extern "C" {
            static $name: u8;
        }
        (&raw const $name).addr() as u64
    }};
}

/// The bytes between two labels.
fn code(from: u64, to: u64) -> &'static [u8] {
    // SAFETY: the labels are in this order in the kernel's own code, which is never written.
    unsafe { core::slice::from_raw_parts(from as *const u8, (to - from) as usize) }
}

/// A program with this code.
fn running(code: &[u8]) -> Vec<u8> {
    assert!(code.len() <= CODE_LEN, "{} bytes of code", code.len());
    let mut file = program(&parts(), AbiNote::CURRENT);
    file[CODE..CODE + code.len()].copy_from_slice(code);
    file
}

fn main(boot: &'static mut BootInfo) -> ! {
    let ready = start::init_memory(boot);
    let mut records = [record("attacker"), record("witness")];
    records[1].flags = 0;
    records[1].priority = 2;
    let archive = tar(&[
        ("bin/attacker", &running(code(label!(attack), label!(attack_end)))),
        ("bin/witness", &running(code(label!(call_back), label!(call_back_end)))),
    ]);
    let features = ready.features;
    assert!(!features.smep && !features.smap, "this machine protects ring 0 from a task's code: {features:?}");
    state::set(testing::kernel(ready, &records, archive, Clock::new(0, 1_000_000_000)));
    let mut kernel = state::lock();
    loader::spawn(&mut kernel, ATTACKER, b"").expect("it is good");
    loader::spawn(&mut kernel, WITNESS, b"").expect("it is good");
    lay_gates(kernel.sys.task(ATTACKER).expect("a row").root().expect("it runs"));
    come_back_by_breakpoint();
    let frame = state::next(kernel);
    // SAFETY: the frame of a thread that was made ready to run; nothing on this stack is needed any more.
    unsafe { entry::leave::<Kernel>(frame) }
}

/// Maps all pages below [`PROGRAM_BASE`] but the first for the task, past all checks, and fills them with call gates (AMD64 Architecture Programmer's Manual
/// vol. 2, section 4.8.3) to its own code.
fn lay_gates(root: TableRoot) {
    let target = BASE + label!(in_ring_0) - label!(attack);
    let low = target & 0xffff | u64::from(KERNEL_CODE) << 16 | 0xec00 << 32 | (target >> 16 & 0xffff) << 48;
    let frame = || {
        let page = Box::leak(Box::new(Page([0; 512])));
        paging::inspect(paging::kernel_root(), (&raw const *page).addr() as u64).map(|(phys, ..)| phys)
    };
    let table = paging::table_for(root, UserAddr::new(PROGRAM_BASE), || {
        let page = frame().ok_or(Status::OutOfMemory)?;
        // SAFETY: it is the test's own.
        Ok(unsafe { paging::zero_at(page) })
    })
    .expect("a table");
    for page in (PAGE..PROGRAM_BASE).step_by(PAGE as usize) {
        let phys = frame().expect("a page");
        let words = Ram::at(phys, PAGE).expect("memory").pointer().cast::<u64>();
        for slot in 0..256 {
            // SAFETY: the page was just taken, and has 512 words.
            unsafe {
                words.add(2 * slot).write(low);
                words.add(2 * slot + 1).write(target >> 32);
            }
        }
        paging::set_user(table, UserAddr::new(page), phys, UserFlags::DATA);
    }
}

/// A page of the kernel's heap, never given back.
#[repr(C, align(4096))]
struct Page([u64; 512]);

/// From now on `int3` of a task leads to [`back`].
fn come_back_by_breakpoint() {
    let addr = back as *const () as u64;
    let low = addr & 0xffff | u64::from(KERNEL_CODE) << 16 | 0xee00 << 32 | (addr >> 16 & 0xffff) << 48;
    let gate = sidt().base.as_mut_ptr::<[u64; 2]>().wrapping_add(3);
    // SAFETY: the table that the processor uses, which nobody else writes any more; the fourth gate is the breakpoint's.
    unsafe { gate.write_volatile([low, addr >> 32]) };
}

/// A stack for what follows: the thread's frame is none.
static mut STACK: [u128; 4096] = [0; 4096];

#[unsafe(naked)]
extern "C" fn back() {
    naked_asm!(
        "swapgs", "cld", "lea rsp, [rip + {stack} + {size}]", "xor ebp, ebp", "call {judge}",
        stack = sym STACK, size = const size_of::<[u128; 4096]>(), judge = sym judge,
    )
}

extern "C" fn judge() -> ! {
    testing::run(&[
        ("d21_a_gate_in_low_memory_leads_nowhere", &nowhere),
        ("d21_a_program_in_low_memory_is_refused", &refused),
        ("d21_low_memory_is_not_mapped", &not_mapped),
    ])
}

fn nowhere() {
    let mut kernel = state::lock();
    let found = kernel.sys.task(ATTACKER).expect("a row").fault().copied().expect("it died");
    let at = BASE + label!(call_by_gate) - label!(attack);
    assert_eq!(DeathKind::from_u32(found.kind), DeathKind::Exception);
    // The general protection fault, with the selector as its error code, table and all.
    assert_eq!((found.vector, found.rip, found.error_code), (13, at, 0x1004), "vector, place, error code");
    while kernel.sys.reap(ATTACKER).expect("it is dead") != 0 {}
}

/// With any segment below 64 KiB.
fn refused() {
    let mut kernel = state::lock();
    for (part, addr) in [(0, 0x1000), (0, 0xf000), (0, 0), (0, 0x8000)] {
        let mut parts = parts();
        parts[part].addr = addr;
        let file = program(&parts, AbiNote::CURRENT);
        kernel.programs = loader::programs(kernel.sys.tasks(), tar(&[("bin/attacker", &file)]));
        let found = loader::spawn(&mut kernel, ATTACKER, b"");
        assert_eq!(found, Err(SpawnError::Image(ImageError::OutOfRange)), "a segment at {addr:#x}");
    }
}

/// Whoever is asked for it: the system call, and the step behind it that fills the page tables.
fn not_mapped() {
    let mut kernel = state::lock();
    let archive = tar(&[("bin/attacker", &running(&[]))]);
    kernel.programs = loader::programs(kernel.sys.tasks(), archive);
    loader::spawn(&mut kernel, ATTACKER, b"").expect("it is good");
    let mut create = kernel.sys.memory_begin(ATTACKER, 1, false).expect("a page");
    while kernel.sys.memory_frame(&mut create).expect("a frame").is_some() {}
    let handle = kernel.sys.memory_finish(ATTACKER, create).expect("a handle").number();
    let task = kernel.sys.task(ATTACKER).expect("a row");
    let Object::Memory(memory) = task.handle(handle).expect("it is there").object else { panic!("no memory") };
    let (root, thread) = (task.root().expect("it runs"), task.first_thread().expect("a thread"));
    for addr in (PAGE..PROGRAM_BASE).step_by(PAGE as usize) {
        assert_eq!(
            kernel.sys.memory_map(ATTACKER, handle, UserAddr::new(addr), true).err(),
            Some(Status::BadAddress),
            "{addr:#x}"
        );
        // As if it had been let pass.
        let mapping = kernel_core::memory::Mapping { addr: UserAddr::new(addr), pages: 1, memory, changing: true };
        kernel.sys.map_anywhere(ATTACKER, mapping).expect("room");
        kernel
            .sys
            .step_set(thread, Step::Fill(Fill { addr: UserAddr::new(addr), writable: true, done: 0, next: None }));
        kernel.go_on(thread);
        assert_eq!(paging::translate_user(root, UserAddr::new(addr), false), None, "{addr:#x} is mapped");
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
