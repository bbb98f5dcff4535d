//! Interrupt lines of a usual machine: see `support/interrupt_lines.rs`.
#![no_std]
#![no_main]
#![expect(clippy::disallowed_methods, reason = "it stands where the kernel is entered")]

extern crate alloc;

#[path = "support/archive.rs"]
mod archive;
#[path = "support/interrupt_lines.rs"]
mod interrupt_lines;

bootloader_api::entry_point!(interrupt_lines::main, config = &kernel::BOOT_CONFIG);

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    kernel::testing::failed(info)
}
