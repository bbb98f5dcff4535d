//! The entry point: from the hypervisor's jump, in 32-bit mode without paging, to Rust.
//!
//! By the PVH protocol, `ebx` has the physical address of the start information, interrupts are
//! disabled, and all segments are flat.

use core::arch::global_asm;

/// Size of the stack, in bytes.
const STACK: usize = 32 * 1024;

global_asm!(
    // The note by which a hypervisor finds the entry: XEN_ELFNOTE_PHYS32_ENTRY.
    ".section .note.pvh, \"a\", @note",
    ".balign 4",
    ".long 4, 8, 18",
    ".asciz \"Xen\"",
    ".quad pvh_start",
    ".text",
    ".code32",
    ".globl pvh_start",
    "pvh_start:",
    "cli",
    "cld",
    "mov edi, ebx",
    // Identity mapping of the first 4 GiB, in pages of 2 MiB: four tables of the second level, one
    // of the third, one of the fourth.
    "xor eax, eax",
    "or eax, 0x83",
    "lea edx, [{tables} + 0x2000]",
    "2:",
    "mov [edx], eax",
    "mov dword ptr [edx + 4], 0",
    "add edx, 8",
    "add eax, 0x200000",
    "cmp eax, 0x83",
    "jne 2b",
    "lea eax, [{tables} + 0x2003]",
    "lea edx, [{tables} + 0x1000]",
    "mov ecx, 4",
    "3:",
    "mov [edx], eax",
    "mov dword ptr [edx + 4], 0",
    "add edx, 8",
    "add eax, 0x1000",
    "loop 3b",
    "lea eax, [{tables} + 0x1003]",
    "mov [{tables}], eax",
    "mov dword ptr [{tables} + 4], 0",
    "lea eax, [{tables}]",
    "mov cr3, eax",
    // PAE, then long mode, with no-execute pages if the processor has them; then paging, with write
    // protection.
    "mov eax, 0x20",
    "mov cr4, eax",
    "mov eax, 0x80000001",
    "cpuid",
    "and edx, 0x100000",
    "shr edx, 9",
    "mov esi, edx",
    "mov ecx, 0xc0000080",
    "rdmsr",
    "or eax, 0x100",
    "or eax, esi",
    "wrmsr",
    "mov eax, 0x80010011",
    "mov cr0, eax",
    "lgdt [{gdt} + 16]",
    "lea esp, [{stack} + {stack_size}]",
    "push 8",
    "lea eax, [4f]",
    "push eax",
    "retf",
    ".code64",
    "4:",
    "xor eax, eax",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "mov fs, eax",
    "mov gs, eax",
    "mov edi, edi",
    "lea rsp, [{stack} + {stack_size}]",
    "xor ebp, ebp",
    "call {main}",
    "ud2",
    tables = sym TABLES,
    gdt = sym GDT,
    stack = sym STACK_SPACE,
    stack_size = const STACK,
    main = sym crate::load::main,
);

#[repr(C, align(4096))]
struct Aligned<const N: usize>([u8; N]);

/// Page tables of this program: one of the fourth level, one of the third, four of the second.
static mut TABLES: Aligned<{ 6 * 4096 }> = Aligned([0; 6 * 4096]);
static mut STACK_SPACE: Aligned<STACK> = Aligned([0; STACK]);

/// The GDT: null, and a 64-bit code segment; then the operand of `lgdt`: the table's size less one,
/// and its address.
#[repr(C, packed)]
struct Gdt {
    descriptors: [u64; 2],
    limit: u16,
    base: *const [u64; 2],
}

// SAFETY: the table is never written.
unsafe impl Sync for Gdt {}

static DESCRIPTORS: [u64; 2] = [0, 0x00af_9b00_0000_ffff];
static GDT: Gdt = Gdt { descriptors: DESCRIPTORS, limit: 15, base: &raw const DESCRIPTORS };
