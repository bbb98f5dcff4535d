//! Interrupt lines: a storm is masked after its first interrupt, a line becomes its owner's notification, it opens again on request, and
//! spurious interrupts are told apart from real ones.
#![no_std]
#![no_main]
#![expect(clippy::disallowed_methods, reason = "it stands where the kernel is entered")]

extern crate alloc;

#[path = "support/archive.rs"]
mod archive;

use bootloader_api::{BootInfo, entry_point};
use core::arch::asm;
use kernel::arch::{cpu, pit};
use kernel::kernel as state;
use kernel::{BOOT_CONFIG, start, testing};
use kernel_core::Row;
use kernel_core::clock::Clock;
use kernel_core::lines::LineOwner;
use x86_64::instructions::interrupts;
use x86_64::instructions::port::Port;

entry_point!(main, config = &BOOT_CONFIG);

const MS: u64 = 1_000_000;
const KEYBOARD: u8 = 1;
const CLOCK: u8 = 8;
const MOUSE: u8 = 12;

fn main(boot: &'static mut BootInfo) -> ! {
    let ready = start::init_memory(boot);
    let archive = archive::tar(&[("manifest", &archive::manifest(&[archive::record("one")]))]);
    let records = abi::manifest::rules::parse(kernel_core::archive::find_file(archive, "manifest").unwrap()).unwrap();
    let clock = Clock::new(cpu::now(), pit::measure_tsc());
    state::set(testing::kernel(ready, records, archive, clock));
    testing::run(&[
        ("all_lines_begin_masked", &all_begin_masked),
        ("d16_storm_is_masked", &storm_is_masked),
        ("d16_line_opens_again", &opens_again),
        ("d16_line_of_a_dead_driver_is_closed", &dead_driver),
        ("line_tells_its_owner", &tells_its_owner),
        ("line_of_the_first_controller", &first_controller),
        ("line_of_the_second_controller", &second_controller),
        ("d16_spurious_interrupts_are_told_apart", &spurious),
        ("lines_still_work_after_all_that", &storm_is_masked),
    ])
}

fn counters() -> (u64, u64) {
    let kernel = state::lock();
    (kernel.sys.info().interrupts, kernel.sys.info().spurious)
}

/// Lets interrupts in for a while.
fn listen(ns: u64) {
    let clock = state::lock().sys.clock();
    let start = clock.ns(cpu::now());
    interrupts::enable();
    while clock.ns(cpu::now()) < start + ns {
        core::hint::spin_loop();
    }
    interrupts::disable();
}

/// Interrupts that come until `done` says enough; at most two seconds long.
fn listen_for(count: u64) -> u64 {
    let (before, _) = counters();
    for _ in 0..200 {
        listen(10 * MS);
        if counters().0 - before >= count {
            break;
        }
    }
    counters().0 - before
}

fn cmos(register: u8) -> u8 {
    // SAFETY: the real-time clock belongs to nobody in this kernel; NMIs stay on (bit 7 clear).
    unsafe {
        Port::<u8>::new(0x70).write(register);
        Port::<u8>::new(0x71).read()
    }
}

fn cmos_write(register: u8, value: u8) {
    // SAFETY: as above.
    unsafe {
        Port::<u8>::new(0x70).write(register);
        Port::<u8>::new(0x71).write(value);
    }
}

/// Starts the real-time clock's periodic interrupt, 1024 a second (MC146818A data sheet), with none pending.
fn start_storm() {
    cmos_write(0x0a, cmos(0x0a) & 0xf0 | 6);
    cmos_write(0x0b, cmos(0x0b) | 0x40);
    cmos(0x0c);
}

fn stop_storm() {
    cmos_write(0x0b, cmos(0x0b) & !0x40);
    cmos(0x0c);
}

fn masks() -> [u8; 2] {
    // SAFETY: reads the interrupt mask registers.
    unsafe { [Port::<u8>::new(0x21).read(), Port::<u8>::new(0xa1).read()] }
}

fn all_begin_masked() {
    assert_eq!(masks(), [0xff, 0xff]);
    pit::start();
    start_storm();
    listen(30 * MS);
    stop_storm();
    assert_eq!(counters(), (0, 0));
}

fn storm_is_masked() {
    start_storm();
    state::lock().pic.unmask(CLOCK);
    assert_eq!(masks(), [0xfb, 0xfe], "the line, and the cascade to the second controller");
    assert_eq!(listen_for(1), 1);
    assert_eq!(masks(), [0xff, 0xff], "an interrupt closes its line");
    // The clock goes on raising it: every read of its register makes room for the next.
    let before = counters();
    for _ in 0..20 {
        cmos(0x0c);
        listen(3 * MS);
    }
    assert_eq!(counters(), before, "a line that nobody acknowledged fires again");
    stop_storm();
}

fn opens_again() {
    start_storm();
    for _ in 0..3 {
        cmos(0x0c);
        state::lock().pic.unmask(CLOCK);
        assert_eq!(listen_for(1), 1);
    }
    stop_storm();
}

fn dead_driver() {
    // Its line is open and never fired; then it dies.
    let mut kernel = state::lock();
    kernel.sys.claim_line(CLOCK, LineOwner { row: Row::new(0), bits: 1 }).expect("it is free");
    kernel.sys.begin(Row::new(0)).expect("a first life");
    kernel.pic.unmask(CLOCK);
    kernel.death_record(None, Row::new(0), abi::error::DeathKind::Killed);
    kernel.kill(Row::new(0));
    assert_eq!(kernel.sys.line_owner(CLOCK), None);
    drop(kernel);
    assert_eq!(masks(), [0xff, 0xff]);
    let before = counters();
    start_storm();
    listen(20 * MS);
    stop_storm();
    assert_eq!(counters(), before);
}

fn word() -> u64 {
    state::lock().sys.notification_word(Row::new(0)).expect("every row has one")
}

fn tells_its_owner() {
    assert_eq!(word() & abi::message::bits::IRQ_MASK, 0);
    state::lock().sys.claim_line(CLOCK, LineOwner { row: Row::new(0), bits: 1 << 5 }).expect("it is free");
    start_storm();
    state::lock().pic.unmask(CLOCK);
    assert_eq!(listen_for(1), 1);
    stop_storm();
    assert_eq!(word() & abi::message::bits::IRQ_MASK, 1 << 5);
    assert_eq!(state::lock().sys.release_lines(Row::new(0)), 1 << CLOCK);
}

/// Has the keyboard controller hand over a byte as if its device had sent it (8042: 0xD2 keyboard, 0xD3 mouse), which raises its line.
fn send(command: u8) {
    let (mut data, mut control) = (Port::<u8>::new(0x60), Port::<u8>::new(0x64));
    // SAFETY: nobody in this kernel drives the keyboard controller.
    unsafe {
        // Empty it, then let both lines fire.
        while control.read() & 1 != 0 {
            data.read();
        }
        control.write(0x60);
        data.write(0x03);
        control.write(command);
        data.write(0x2a);
    }
}

fn receive() -> u8 {
    // SAFETY: as above.
    unsafe { Port::<u8>::new(0x60).read() }
}

fn first_controller() {
    state::lock().pic.unmask(KEYBOARD);
    assert_eq!(masks(), [0xfd, 0xff]);
    send(0xd2);
    assert_eq!(listen_for(1), 1);
    assert_eq!((masks(), receive()), ([0xff, 0xff], 0x2a));
}

fn second_controller() {
    let mut kernel = state::lock();
    kernel.pic.unmask(MOUSE);
    kernel.pic.unmask(CLOCK);
    kernel.pic.mask(CLOCK);
    drop(kernel);
    assert_eq!(masks(), [0xfb, 0xef], "the cascade stays open for the other line");
    send(0xd3);
    assert_eq!(listen_for(1), 1);
    assert_eq!((masks(), receive()), ([0xff, 0xff], 0x2a));
}

fn spurious() {
    // What the processor sees of a spurious interrupt is its vector, with nothing in service.
    let before = counters();
    for _ in 0..3 {
        // SAFETY: the gates of line 7 and line 15; the handler returns.
        unsafe { asm!("int 39", "int 47") };
    }
    assert_eq!(counters(), (before.0, before.1 + 6));
    assert_eq!(masks(), [0xff, 0xff]);
    // The controllers know of nothing in service, and of no line 7 that was ended by mistake.
    let mut kernel = state::lock();
    assert!(!kernel.pic.is_real(7) && !kernel.pic.is_real(15));
    for line in (0..16).filter(|l| l % 8 != 7) {
        assert!(kernel.pic.is_real(line), "only 7 and 15 can be spurious");
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
