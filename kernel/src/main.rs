//! The kernel's entry point.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod bare {
    use bootloader_api::{BootInfo, entry_point};
    use kernel::{BOOT_CONFIG, arch::cpu, start};

    entry_point!(main, config = &BOOT_CONFIG);

    fn main(boot: &'static mut BootInfo) -> ! {
        let entered_at = cpu::now();
        let ready = start::init_memory(boot);
        start::run(ready, entered_at)
    }

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        kernel::panic::panicked(info)
    }
}

#[cfg(not(target_os = "none"))]
pub(crate) fn main() {
    eprintln!("This is a kernel: start it with `cargo xtask run`.");
}
