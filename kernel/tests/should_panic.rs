//! A failing assertion reaches the panic handler, which here is success, and never goes on behind the assertion.
#![no_std]
#![no_main]

use bootloader_api::{BootInfo, entry_point};
use core::sync::atomic::{AtomicBool, Ordering};
use kernel::panic::{Exit, exit};
use kernel::{BOOT_CONFIG, klog, start, testing};

entry_point!(main, config = &BOOT_CONFIG);

static REACHED: AtomicBool = AtomicBool::new(false);

fn main(boot: &'static mut BootInfo) -> ! {
    let ready = start::init_memory(boot);
    REACHED.store(true, Ordering::Relaxed);
    assert_eq!(ready.frames.free(), 0, "this must fail");
    klog!("test should_panic ... FAILED: a false assertion let the machine go on");
    exit(Exit::Failure)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let message = info.message().as_str();
    let expected = REACHED.load(Ordering::Relaxed)
        && message.is_none()
        && info.location().is_some_and(|l| l.file().ends_with("should_panic.rs"));
    if expected { testing::succeeded("should_panic") } else { testing::failed(info) }
}
