//! Accesses one port, and dies of it or exits with code [`PASSED`]: so little that 65,536 lives take no time to speak of.
//!
//! The argument is three bytes: the port, low byte first, and which access.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod bare {
    use abi::info::TaskInfo;
    use abi::task::INFO_ADDR;
    use core::arch::naked_asm;
    use core::mem::offset_of;

    /// Exit code where the access came back.
    const PASSED: u32 = 9;

    #[used]
    #[unsafe(link_section = ".note.enigma")]
    static NOTE: abi::AbiNote = abi::AbiNote::CURRENT;

    /// Never used: it is what `rt::entry!` would have made.
    #[global_allocator]
    static HEAP: rt::heap::Global<rt::heap::Default> =
        rt::heap::Global::<rt::heap::Default>::new(<rt::heap::Default as rt::heap::Choice>::EMPTY);

    /// `in` and `out` of one, two and four bytes, and of strings, in the order of the judge's table.
    #[unsafe(no_mangle)]
    #[unsafe(naked)]
    extern "C" fn _start() -> ! {
        naked_asm!(
            "mov rbx, {info}",
            "movzx edx, word ptr [rbx + {arg}]",
            "movzx ecx, byte ptr [rbx + {arg} + 2]",
            "lea rsi, [rsp - 64]",
            "mov rdi, rsi",
            "xor eax, eax",
            "sub ecx, 1",
            "jc 20f",
            "jz 21f",
            "sub ecx, 2",
            "jc 22f",
            "jz 23f",
            "sub ecx, 2",
            "jc 24f",
            "jz 25f",
            "sub ecx, 2",
            "jc 26f",
            "outsb",
            "jmp 30f",
            "20: in al, dx",
            "jmp 30f",
            "21: out dx, al",
            "jmp 30f",
            "22: in ax, dx",
            "jmp 30f",
            "23: out dx, ax",
            "jmp 30f",
            "24: in eax, dx",
            "jmp 30f",
            "25: out dx, eax",
            "jmp 30f",
            "26: insb",
            "30: mov edi, {passed}",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            info = const INFO_ADDR,
            arg = const offset_of!(TaskInfo, arg),
            passed = const PASSED,
            exit = const abi::Syscall::Exit as u32,
        )
    }
}

#[cfg(not(target_os = "none"))]
fn main() {}
