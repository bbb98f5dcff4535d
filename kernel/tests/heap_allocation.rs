//! The kernel's heap: boxes, a growing vector, more allocations than memory if nothing were freed, and one that lives throughout.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use bootloader_api::{BootInfo, entry_point};
use kernel::{BOOT_CONFIG, heap, start, testing};

entry_point!(main, config = &BOOT_CONFIG);

fn main(boot: &'static mut BootInfo) -> ! {
    let ready = start::init_memory(boot);
    assert!(ready.frames.free() > 0, "no frames are free after boot");
    testing::run(&[
        ("heap_simple_boxes", &simple_boxes),
        ("heap_large_vec", &large_vec),
        ("heap_many_boxes", &many_boxes),
        ("heap_many_boxes_long_lived", &many_boxes_long_lived),
        ("heap_gives_everything_back", &gives_everything_back),
    ])
}

fn simple_boxes() {
    let (a, b) = (Box::new(41), Box::new(13));
    assert_eq!((*a, *b), (41, 13));
}

fn large_vec() {
    let n = 10_000;
    let v: Vec<u64> = (0..n).collect();
    assert_eq!(v.iter().sum::<u64>(), (n - 1) * n / 2);
}

fn many_boxes() {
    // Ten times what the heap could hold at once.
    let rounds = heap::usage().1 / 4096 * 10;
    for i in 0..rounds {
        let x = Box::new([i; 512]);
        assert_eq!(x[511], i);
    }
}

fn many_boxes_long_lived() {
    let long_lived = Box::new(1);
    many_boxes();
    assert_eq!(*long_lived, 1);
}

fn gives_everything_back() {
    let before = heap::usage().0;
    let boxes: Vec<Box<[u8; 100]>> = (0..1000).map(|i| Box::new([i as u8; 100])).collect();
    assert!(heap::usage().0 > before + 100_000);
    drop(boxes);
    assert_eq!(heap::usage().0, before);
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
