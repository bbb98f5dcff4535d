//! A task's text on port 0xE9 is shown in its own time: who has to show the rest of it first does not pay for that.
#![no_std]
#![no_main]

extern crate alloc;

#[path = "support/archive.rs"]
mod archive;

use abi::AbiNote;
use archive::{manifest, parts, program, record, tar};
use bootloader_api::{BootInfo, entry_point};
use core::cell::RefCell;
use kernel::arch::cpu;
use kernel::kernel::Kernel;
use kernel::{BOOT_CONFIG, loader, start, testing};
use kernel_core::Row;
use kernel_core::clock::Clock;
use kernel_core::step::Step;
use kernel_core::thread::ThreadIndex;

entry_point!(main, config = &BOOT_CONFIG);

const LOUD: Row = Row::new(0);
const OTHER: Row = Row::new(1);

fn main(boot: &'static mut BootInfo) -> ! {
    let ready = start::init_memory(boot);
    let good = program(&parts(), AbiNote::CURRENT);
    let mut other = record("other");
    // One task has control, and it is not this one.
    other.flags = 0;
    let table = manifest(&[record("loud"), other]);
    let archive = tar(&[("manifest", &table), ("bin/loud", &good), ("bin/other", &good)]);
    let records = abi::manifest::rules::parse(kernel_core::archive::find_file(archive, "manifest").unwrap()).unwrap();
    let mut kernel = testing::kernel(ready, records, archive, Clock::new(cpu::now(), 1_000_000_000));
    // The first one runs, as far as the scheduler knows.
    for row in [OTHER, LOUD] {
        loader::spawn(&mut kernel, row, b"").expect("it is good");
    }
    let kernel = RefCell::new(kernel);
    testing::run(&[("d25_text_is_shown_in_its_owners_time", &|| owners_time(&mut kernel.borrow_mut()))])
}

/// Begins to show a text of a task; returns its thread, whose system call goes on with it.
fn begin(kernel: &mut Kernel, row: Row, text: &[u8]) -> ThreadIndex {
    let thread = kernel.sys.task(row).expect("a row").first_thread().expect("it runs");
    let show = kernel.sys.log_write(row, text.len(), text).expect("it may write");
    kernel.sys.step_set(thread, Step::Show(show));
    thread
}

fn owners_time(kernel: &mut Kernel) {
    kernel.sys.set_now(cpu::now());
    kernel.sys.charge();
    // A row of the port for each byte; the task is preempted after the first step.
    let loud = begin(kernel, LOUD, &[b'\n'; 200]);
    kernel.go_on(loud);
    let other = begin(kernel, OTHER, b"a line\n");
    let before = kernel.sys.cpu(LOUD);
    let mut steps = 0;
    while kernel.sys.thread(other).is_some_and(|thread| thread.extras & kernel_core::thread::STEP != 0) {
        kernel.go_on(other);
        steps += 1;
        assert!(steps < 10_000, "it never ends");
    }
    assert!(steps > 20, "{steps} steps: nothing of the other text was left");
    assert!(kernel.sys.cpu(LOUD) > before, "the text's owner paid nothing");
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
