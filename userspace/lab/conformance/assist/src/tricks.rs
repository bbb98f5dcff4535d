//! Instructions that a task may not execute, or not like that: each is to end the life that tries it, and nothing else.
//!
//! Where a trick comes back, the kernel or the processor has let it pass.

use core::arch::asm;

/// A trick.
#[derive(Clone, Copy, Debug)]
pub struct Trick {
    /// Its name, as role [`crate::role::TRICK`] takes it.
    pub name: &'static str,
    /// The exceptions by which it may end. QEMU's emulation reports some with another vector than the manual does.
    pub vectors: &'static [u32],
    /// Does it.
    pub commit: fn(),
}

/// The general protection fault.
const GP: &[u32] = &[13];
/// The invalid opcode.
const UD: &[u32] = &[6];
/// Of a vendor's own instructions: not there, or not allowed.
const UD_OR_GP: &[u32] = &[6, 13];
/// A far return. QEMU reads the stack for it as the kernel would, which SMAP does not allow (helper_ret_protected, release 7.2).
const RETURN: &[u32] = &[13, 14];
/// A fetch from where nothing can be.
const FETCH: &[u32] = &[13, 14];

macro_rules! tricks {
    ($(#[$doc:meta])* $list:ident: $($name:literal $vectors:ident $($code:literal),+;)*) => {
        $(#[$doc])*
        pub const $list: &[Trick] = &[$(Trick {
            name: $name,
            vectors: $vectors,
            commit: || {
                // SAFETY: the exception is the purpose, and ends this life. What is named here is changed, or put back where it passes;
                // no memory of Rust's is touched.
                unsafe { asm!($($code),+, out("rax") _, out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _, out("r11") _) }
            },
        },)*];
    };
}

const BP: &[u32] = &[3];
const DB: &[u32] = &[1];
/// Of INT1, which QEMU does not know (translate.c, release 7.2).
const DB_OR_UD: &[u32] = &[1, 6];
const DE: &[u32] = &[0];
const NM: &[u32] = &[7];
const PF: &[u32] = &[14];
const SS: &[u32] = &[12, 13];

tricks! {
    /// Every exception that ring 3 can raise, in more than one way, and the privileged instructions (Intel SDM vol. 3A, sections 5.9 and 6.15).
    EXCEPTIONS:
    "divide-overflow" DE "mov eax, 0x80000000", "mov edx, 0xffffffff", "mov ecx, -1", "idiv ecx";
    "int-debug" GP "int 1";
    "single-step" DB "pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop", "pushfq", "and qword ptr [rsp], ~0x100", "popfq";
    "single-step-syscall" DB "pushfq", "or qword ptr [rsp], 0x100", "popfq", "xor eax, eax", "syscall", "nop", "pushfq",
        "and qword ptr [rsp], ~0x100", "popfq";
    "icebp" DB_OR_UD ".byte 0xf1";
    "stack-segment-then-breakpoint" BP "mov eax, 35", "mov ss, ax", "int3";
    "stack-segment-then-syscall" DB "mov eax, 35", "pushfq", "or qword ptr [rsp], 0x100", "popfq", "mov ss, ax", "syscall", "nop", "pushfq",
        "and qword ptr [rsp], ~0x100", "popfq";
    "int-nmi" GP "int 2";
    "int-overflow" GP "int 4";
    "int-double-fault" GP "int 8";
    "int-page-fault" GP "int 14";
    "int-machine-check" GP "int 18";
    "int-timer" GP "int 32";
    "int-linux" GP "int 0x80";
    "int-last" GP "int 0xff";
    "into" UD ".byte 0xce";
    "push-es" UD ".byte 0x06";
    "lock-nop" UD ".byte 0xf0, 0x90";
    "ud1" UD ".byte 0x0f, 0xb9, 0xc0";
    "x87" NM "fld1";
    "sse" NM "xorps xmm0, xmm0";
    "read-non-canonical" GP "mov rax, 0x8000000000000000", "mov rax, [rax]";
    "stack-non-canonical" SS "mov rax, rbp", "mov rbp, 0x8000000000000000", "mov rcx, [rbp]", "mov rbp, rax";
    "write-info-page" PF "mov rax, 0x700000000000", "mov [rax], rax";
    "write-kernel" PF "mov rax, 0xffffffff80000000", "mov [rax], rax";
    "write-direct-map" PF "mov rax, 0xffff800000000000", "mov [rax], rax";
    "exchange-with-kernel" PF "mov rcx, 0xffffffff80000000", "lock cmpxchg [rcx], rax";
    "string-to-kernel" PF "mov rdi, 0xffff800000000000", "mov ecx, 64", "rep stosb";
    "no-stack" UD "xor esp, esp", "ud2";
    "no-stack-in-a-call" UD "xor esp, esp", "xor eax, eax", "syscall", "ud2";
    "kernel-stack" UD "mov rsp, 0xffff800000001000", "ud2";
    "kernel-stack-in-a-call" UD "mov rsp, 0xffff800000001000", "xor eax, eax", "syscall", "ud2";
    "non-canonical-stack-in-a-call" UD "mov rsp, 0x800000000000", "xor eax, eax", "syscall", "ud2";
    "frame-in-kernel" UD "mov rbp, 0xffff800000000000", "ud2";
    "frame-non-canonical" UD "mov rbp, 0x7ffffffffffffffa", "ud2";
    "frame-at-the-end" UD "mov rbp, 0x7fffffffeffc", "ud2";
    "frame-of-itself" UD "push rax", "mov [rsp], rsp", "mov rbp, rsp", "ud2";
    "segments-in-a-call" UD "mov eax, 35", "mov ds, ax", "mov es, ax", "mov fs, ax", "mov gs, ax", "xor eax, eax", "syscall", "ud2";
    "sysenter" UD_OR_GP "sysenter";
    "reset-by-keyboard" GP "mov edx, 0x64", "mov al, 0xfe", "out dx, al";
    "reset-by-chipset" GP "mov edx, 0xcf9", "mov al, 6", "out dx, al";
    "last-ports" GP "mov edx, 0xffff", "in eax, dx";
    "string-of-ports" GP "mov edx, 0x1f0", "mov rdi, rsp", "mov ecx, 1", "rep insd";
    "sti" GP "sti";
    "clts" GP "clts";
    "lgdt" GP "lgdt [rsp]";
    "lidt" GP "lidt [rsp]";
    "lldt" GP "xor eax, eax", "lldt ax";
    "ltr" GP "mov eax, 0x30", "ltr ax";
    "lmsw" GP "mov eax, 1", "lmsw ax";
    "read-cr0" GP "mov rax, cr0";
    "read-cr3" GP "mov rax, cr3";
    "write-cr3" GP "mov cr3, rax";
    "write-cr4" GP "xor eax, eax", "mov cr4, rax";
    "rdmsr" GP "mov ecx, 0xc0000080", "rdmsr";
    "wrmsr" GP "mov ecx, 0xc0000082", "xor eax, eax", "xor edx, edx", "wrmsr";
    "rdpmc" GP "xor ecx, ecx", "rdpmc";
    "invlpg" GP "invlpg [rsp]";
    "invd" GP "invd";
    "wbinvd" GP "wbinvd";
    "swapgs" GP "swapgs";
    "wrfsbase" UD "mov rax, -1", "wrfsbase rax";
    "wrgsbase" UD "mov rax, -1", "wrgsbase rax";
    "xsetbv" UD_OR_GP "xor ecx, ecx", "mov eax, 1", "xor edx, edx", "xsetbv";
    "monitor" UD_OR_GP "lea rax, [rsp]", "xor ecx, ecx", "xor edx, edx", "monitor";
    "vmcall" UD_OR_GP "vmcall";
    "vmmcall" UD_OR_GP "vmmcall";
}

tricks! {
    /// Ways to another ring, or back to a place or with registers that no task may have.
    WAYS_BACK:
    "jump-non-canonical" FETCH "mov rax, 0x800000000000", "jmp rax";
    "jump-end-of-user-space" FETCH "mov rax, 0x7ffffffff000", "jmp rax";
    "jump-kernel" FETCH "mov rax, 0xffffffff80000000", "jmp rax";
    "jump-last-byte" FETCH "mov rax, -1", "jmp rax";
    "return-non-canonical" FETCH "mov rax, 0x800000000000", "push rax", "ret";
    "far-return-to-ring-0" RETURN "push 8", "lea rax, [rip + 2f]", "push rax", "retfq", "2:";
    "far-return-to-32-bit" RETURN "push 0x1b", "lea rax, [rip + 2f]", "push rax", "retfq", "2:";
    "iret-to-ring-0" RETURN "mov rcx, rsp", "push 16", "push rcx", "push 0x202", "push 8", "lea rax, [rip + 2f]", "push rax", "iretq", "2:";
    // A tick between the last two instructions clears NT; then this is a return to the same ring, which anybody may make, and begins again.
    "iret-nested" RETURN "3:", "mov rcx, rsp", "push 35", "push rcx", "push 0x202", "push 43", "lea rax, [rip + 3b]", "push rax", "pushfq",
        "or qword ptr [rsp], 0x4000", "popfq", "iretq";
    "iret-non-canonical" RETURN "mov rcx, rsp", "push 35", "push rcx", "push 0x202", "push 43", "mov rax, 0x800000000000", "push rax", "iretq";
    "sysret" GP "lea rcx, [rip + 2f]", "sysretq", "2:";
    "sysexit" UD_OR_GP "lea rdx, [rip + 2f]", "mov rcx, rsp", "sysexitq", "2:";
    "kernel-data-in-ds" GP "mov eax, 16", "mov ds, ax";
    "kernel-stack-in-ss" GP "mov eax, 16", "mov ss, ax";
    "null-in-ss" GP "xor eax, eax", "mov ss, ax";
    "tss-in-ds" GP "mov eax, 0x33", "mov ds, ax";
    "write-dr7" GP "mov eax, 0x401", "mov dr7, rax";
    "write-dr0" GP "lea rax, [rsp]", "mov dr0, rax";
    "read-dr6" GP "mov rax, dr6";
}

tricks! {
    /// What would take the processor away from the others.
    HOLD_UPS:
    "cli" GP "cli", "sti";
    "hlt" GP "hlt";
    "cr8" GP "mov eax, 15", "mov cr8, rax";
    "mwait" UD_OR_GP "xor eax, eax", "xor ecx, ecx", "mwait";
}

const UD_OR_NM: &[u32] = &[6, 7];

tricks! {
    /// State of the processor that a task could use if firmware or loader had left it so: a local descriptor table (selectors with bit 2
    /// set; one at address 0 would be in the task's own memory), SYSENTER, 32-bit code, debug registers, counters, segment bases, and
    /// extensions whose registers nobody saves.
    LEFTOVERS:
    "call-by-ldt-first" GP "lea rax, [rip + 2f]", "mov [rsp - 32], rax", "mov word ptr [rsp - 28], 0x7", "call fword ptr [rsp - 32]", "2:";
    "call-by-ldt-second-page" GP "lea rax, [rip + 2f]", "mov [rsp - 32], rax", "mov word ptr [rsp - 28], 0x1007", "call fword ptr [rsp - 32]", "2:";
    "call-by-ldt-last" GP "lea rax, [rip + 2f]", "mov [rsp - 32], rax", "mov word ptr [rsp - 28], 0xffff", "call fword ptr [rsp - 32]", "2:";
    "call-by-ldt-of-ring-0" GP "lea rax, [rip + 2f]", "mov [rsp - 32], rax", "mov word ptr [rsp - 28], 0x8004", "call fword ptr [rsp - 32]", "2:";
    "jump-by-ldt" GP "lea rax, [rip + 2f]", "mov [rsp - 32], rax", "mov word ptr [rsp - 28], 0x1007", "jmp fword ptr [rsp - 32]", "2:";
    "return-by-ldt" RETURN "push 0x1007", "lea rax, [rip + 2f]", "push rax", "retfq", "2:";
    "iret-by-ldt" RETURN "mov rcx, rsp", "push 35", "push rcx", "push 0x202", "push 0x1007", "lea rax, [rip + 2f]", "push rax", "iretq", "2:";
    "iret-to-a-stack-by-ldt" RETURN "mov rcx, rsp", "push 0x1007", "push rcx", "push 0x202", "push 43", "lea rax, [rip + 2f]", "push rax",
        "iretq", "2:";
    "data-by-ldt" GP "mov eax, 0x1007", "mov ds, ax";
    "gs-by-ldt" GP "mov eax, 0xffff", "mov gs, ax";
    "stack-by-ldt" GP "mov eax, 0x1007", "mov ss, ax";
    "call-tss" GP "lea rax, [rip + 2f]", "mov [rsp - 32], rax", "mov word ptr [rsp - 28], 0x33", "call fword ptr [rsp - 32]", "2:";
    "call-kernel-code" GP "lea rax, [rip + 2f]", "mov [rsp - 32], rax", "mov word ptr [rsp - 28], 0xb", "call fword ptr [rsp - 32]", "2:";
    "call-32-bit-code" GP "lea rax, [rip + 2f]", "mov [rsp - 32], rax", "mov word ptr [rsp - 28], 0x1b", "call fword ptr [rsp - 32]", "2:";
    "call-data" GP "lea rax, [rip + 2f]", "mov [rsp - 32], rax", "mov word ptr [rsp - 28], 0x23", "call fword ptr [rsp - 32]", "2:";
    "call-behind-the-gdt" GP "lea rax, [rip + 2f]", "mov [rsp - 32], rax", "mov word ptr [rsp - 28], 0x43", "call fword ptr [rsp - 32]", "2:";
    "call-null" GP "lea rax, [rip + 2f]", "mov [rsp - 32], rax", "mov word ptr [rsp - 28], 0x3", "call fword ptr [rsp - 32]", "2:";
    "iret-to-32-bit-code" RETURN "mov rcx, rsp", "push 35", "push rcx", "push 0x202", "push 0x1b", "lea rax, [rip + 2f]", "push rax",
        "iretq", "2:";
    "iret-to-virtual-8086" RETURN "mov rcx, rsp", "push 35", "push rcx", "push 0x23202", "push 0x1000", "push 0x1000", "iretq";
    "sysenter-with-a-stack" UD_OR_GP "mov rcx, rsp", "lea rdx, [rip + 2f]", "sysenter", "2:";
    "rdpmc-fixed" GP "mov ecx, 0x40000000", "rdpmc";
    "rdfsbase" UD "rdfsbase rax";
    "rdgsbase" UD "rdgsbase rax";
    "read-dr0" GP "mov rax, dr0";
    "read-dr7" GP "mov rax, dr7";
    "write-dr3" GP "xor eax, eax", "mov dr3, rax";
    "write-dr6" GP "xor eax, eax", "mov dr6, rax";
    "read-cr2" GP "mov rax, cr2";
    "read-cr8" GP "mov rax, cr8";
    "xgetbv" UD_OR_GP "xor ecx, ecx", "xgetbv";
    "xsave" UD_OR_NM ".byte 0x0f, 0xae, 0x24, 0x24";
    "avx" UD_OR_NM ".byte 0xc5, 0xf8, 0x57, 0xc0";
    "x87" UD_OR_NM "fld1";
    "mxcsr" UD_OR_NM "stmxcsr [rsp - 32]";
    "rdpkru" UD "xor ecx, ecx", ".byte 0x0f, 0x01, 0xee";
    "wrpkru" UD "xor eax, eax", "xor ecx, ecx", "xor edx, edx", ".byte 0x0f, 0x01, 0xef";
    "rsm" UD ".byte 0x0f, 0xaa";
    "getsec" UD_OR_GP "xor eax, eax", ".byte 0x0f, 0x37";
    "vmrun" UD_OR_GP "xor eax, eax", ".byte 0x0f, 0x01, 0xd8";
    "clgi" UD_OR_GP ".byte 0x0f, 0x01, 0xdd";
}

/// `int` with this number, behind which nothing is. It never comes back.
pub fn interrupt(number: u8) -> ! {
    // SAFETY: jumps to one of 256 pieces of four bytes each, of which each is `int n` and `ud2`; both end this life.
    unsafe {
        asm!(
            "lea rcx, [rip + 2f]",
            "lea rcx, [rcx + rax * 4]",
            "jmp rcx",
            "2:",
            ".set number, 0",
            ".rept 256",
            ".byte 0xcd, number, 0x0f, 0x0b",
            ".set number, number + 1",
            ".endr",
            in("rax") u64::from(number),
            options(noreturn),
        )
    }
}

/// The selectors of which LAR, LSL, VERR or VERW, which never fault, say that ring 3 may use them (Intel SDM vol. 2A, LAR), as
/// how many there are and the sum of their numbers.
pub fn usable_selectors() -> (u32, u64) {
    let (mut count, mut sum) = (0, 0);
    for selector in 0..=u16::MAX {
        let found: u32;
        // SAFETY: these instructions change registers and flags only.
        unsafe {
            asm!(
                "xor {found:e}, {found:e}",
                "lar {scratch:e}, {selector:e}", "jnz 2f", "or {found:e}, 1", "2:",
                "lsl {scratch:e}, {selector:e}", "jnz 3f", "or {found:e}, 2", "3:",
                "verr {selector:x}", "jnz 4f", "or {found:e}, 4", "4:",
                "verw {selector:x}", "jnz 5f", "or {found:e}, 8", "5:",
                found = out(reg) found,
                scratch = out(reg) _,
                selector = in(reg) u32::from(selector),
                options(nomem, nostack),
            );
        }
        if found != 0 {
            count += 1;
            sum += u64::from(selector);
        }
    }
    (count, sum)
}

/// The trick of this name.
pub fn trick(name: &str) -> Option<&'static Trick> {
    [EXCEPTIONS, WAYS_BACK, HOLD_UPS, LEFTOVERS].into_iter().flatten().find(|trick| trick.name == name)
}

/// Flags that a task can set, one by one and together: nested task, alignment check, direction, identification.
const SETTABLE: [u64; 6] = [0x4000, 0x4_0000, 0x400, 0x20_0000, 0x4_4400, 0x24_4400];
/// Flags that no task may find set: I/O privilege, nested task, virtual-8086 mode and its interrupt flags.
const FORBIDDEN: u64 = 0x3000 | 0x4000 | 0x2_0000 | 0x18_0000;
/// The interrupt flag, which no task may find clear.
const INTERRUPTS: u64 = 0x200;

/// Sets every flag that ring 3 can, asks for more, and looks at what is left after a system call. True where all is as it should be.
pub fn flags_are_sanitised() -> bool {
    SETTABLE.into_iter().all(|set| {
        let after: u64;
        // SAFETY: `yield` changes no memory; the flags are put back, the direction flag with them, before Rust's code goes on.
        unsafe {
            asm!(
                "pushfq",
                "pushfq",
                "or qword ptr [rsp], {set}",
                // IOPL 3 and no interrupts: popfq leaves them alone in ring 3 (vol. 2B, POPF).
                "or qword ptr [rsp], 0x3000",
                "and qword ptr [rsp], ~0x200",
                "popfq",
                "xor eax, eax",
                "syscall",
                "pushfq",
                "pop {after}",
                "popfq",
                set = in(reg) set,
                after = out(reg) after,
                out("rax") _, out("rcx") _, out("r11") _,
            );
        }
        after & FORBIDDEN == 0 && after & INTERRUPTS != 0 && after & set == set & !FORBIDDEN
    })
}

/// Whether the flag NT, set by the task, is gone once the timer has interrupted it. False where NT is still set after `turns` turns.
pub fn an_interrupt_takes_nested_task_away(turns: u64) -> bool {
    let left: u64;
    // SAFETY: touches only registers that are declared and the stack, and puts the flags back.
    unsafe {
        asm!(
            "pushfq",
            "pushfq",
            "or qword ptr [rsp], 0x4000",
            "popfq",
            "2:",
            "pushfq",
            "pop {now}",
            "test {now}, 0x4000",
            "jz 3f",
            "dec {turns}",
            "jnz 2b",
            "3:",
            "popfq",
            now = out(reg) _,
            turns = inout(reg) turns => left,
        );
    }
    left != 0
}
