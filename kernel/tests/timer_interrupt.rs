//! The timer of a usual machine: see `support/timer_interrupt.rs`.
#![no_std]
#![no_main]
#![expect(clippy::disallowed_methods, reason = "it stands where the kernel is entered")]

extern crate alloc;

#[path = "support/archive.rs"]
mod archive;
#[path = "support/timer_interrupt.rs"]
mod timer_interrupt;

bootloader_api::entry_point!(timer_interrupt::main, config = &kernel::BOOT_CONFIG);

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    kernel::testing::failed(info)
}
