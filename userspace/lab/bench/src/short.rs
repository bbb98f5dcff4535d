//! Dies at once, by an instruction that there is none of, with the time in its registers: the fault record brings it to whoever wants to
//! know. `rdi` holds it as of the first instruction, `rsi` as of the last.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod bare {
    use core::arch::naked_asm;

    #[used]
    #[unsafe(link_section = ".note.enigma")]
    static NOTE: rt::abi::AbiNote = rt::abi::AbiNote::CURRENT;

    /// Never used: it is what `rt::entry!` would have made.
    #[global_allocator]
    static HEAP: rt::heap::Global<rt::heap::Default> =
        rt::heap::Global::<rt::heap::Default>::new(<rt::heap::Default as rt::heap::Choice>::EMPTY);

    /// The task's first instruction is the first that reads the counter.
    #[unsafe(no_mangle)]
    #[unsafe(naked)]
    extern "C" fn _start() -> ! {
        naked_asm!(
            "rdtsc",
            "shl rdx, 32",
            "or rax, rdx",
            "mov rdi, rax",
            "rdtsc",
            "shl rdx, 32",
            "or rax, rdx",
            "mov rsi, rax",
            "ud2",
        )
    }
}

#[cfg(not(target_os = "none"))]
fn main() {}
