//! Interrupt lines: a storm is masked after its first interrupt or its second, a line becomes its owner's notification, it opens again on
//! request, and spurious interrupts are told apart from real ones.
#![no_std]
#![no_main]
#![expect(clippy::disallowed_methods, reason = "it stands where the kernel is entered")]

extern crate alloc;

#[path = "support/archive.rs"]
mod archive;

use abi::manifest::{Claim, Space};
use alloc::vec::Vec;
use bootloader_api::{BootInfo, entry_point};
use core::arch::asm;
use kernel::arch::controller::{self, Controller, InterruptController, SPURIOUS};
use kernel::arch::{cpu, timer};
use kernel::kernel as state;
use kernel::{BOOT_CONFIG, start, testing};
use kernel_core::Row;
use kernel_core::clock::Clock;
use kernel_core::lines::{LINES, Line, LineOwner, LineSet};
use x86_64::instructions::interrupts;
use x86_64::instructions::port::Port;

const MS: u64 = 1_000_000;
const KEYBOARD: Line = Line::new(1);
const CLOCK: Line = Line::new(8);
const MOUSE: Line = Line::new(12);

entry_point!(main, config = &BOOT_CONFIG);

fn main(boot: &'static mut BootInfo) -> ! {
    let mut ready = start::init_memory(boot);
    let archive = archive::tar(&[("manifest", &archive::manifest(&[archive::record("one")]))]);
    let records = abi::manifest::rules::parse(kernel_core::archive::find_file(archive, "manifest").unwrap()).unwrap();
    let clock = Clock::new(cpu::now(), ready.reference.measure().0);
    state::set(testing::kernel(ready, records, archive, clock));
    testing::run(&[
        ("all_lines_begin_masked", &all_begin_masked),
        ("d16_storm_is_masked", &storm_is_masked),
        ("d16_line_opens_again", &opens_again),
        ("d16_line_of_a_dead_driver_is_closed", &dead_driver),
        ("line_tells_its_owner", &tells_its_owner),
        ("line_of_the_keyboard", &keyboard_line),
        ("line_of_the_mouse_beside_the_clocks", &mouse_line),
        ("an_interrupt_of_a_line_that_is_held_is_not_lost", &not_lost),
        ("an_interrupt_of_a_dead_drivers_line_is_not_lost", &not_lost_in_death),
        ("d16_spurious_interrupts_are_told_apart", &spurious),
        ("no_task_gets_an_internal_line", &internal_lines),
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

/// Checks that of all lines only these can interrupt, by the controller's own registers.
fn only(open: &[Line], what: &str) {
    let masked = state::lock().controller.masked();
    let unmasked = (0..LINES as u8).map(Line::new).filter(|&line| !masked.contains(line));
    let internals = state::lock().controller.internal();
    let internal = |line: &Line| internals.contains(*line);
    // What the controller needs for no line at all is masked, too.
    let found: Vec<Line> = unmasked.filter(|line| open.is_empty() || !internal(line)).collect();
    assert_eq!(found, open, "{what}");
}

fn all_begin_masked() {
    only(&[], "all are masked at first");
    start_storm();
    listen(30 * MS);
    stop_storm();
    assert_eq!(counters(), (0, 0));
}

/// The most interrupts of a line that nobody acknowledges: one more, which the controller notes, if it does not mask the line at the first.
fn most() -> u64 {
    1 + u64::from(state::lock().controller.tells_again())
}

/// Opens the clock's line, which is not held and has nothing to tell.
fn open_clock() {
    if state::lock().controller.unmask(CLOCK) {
        assert!(!state::lock().controller.unmask(CLOCK), "an interrupt is told twice");
    }
}

fn storm_is_masked() {
    start_storm();
    open_clock();
    only(&[CLOCK], "the line is open");
    let (before, _) = counters();
    // The clock goes on raising it: every read of its register makes room for the next.
    for _ in 0..20 {
        cmos(0x0c);
        listen(3 * MS);
    }
    let fired = counters().0 - before;
    assert!((1..=most()).contains(&fired), "the line fires {fired} times, and nobody acknowledges it");
    only(&[], "it is masked");
    stop_storm();
    close(CLOCK);
}

/// Ends what a line of the clock still has to tell.
fn close(line: Line) {
    let mut kernel = state::lock();
    kernel.controller.mask(LineSet::of(line));
    let _ = kernel.controller.unmask(line);
    kernel.controller.mask(LineSet::of(line));
}

fn opens_again() {
    start_storm();
    open_clock();
    for round in 0..3 {
        cmos(0x0c);
        assert!((1..=most()).contains(&listen_for(1)), "round {round}");
        // What came while it was held is told now, or comes now.
        let told = state::lock().controller.unmask(CLOCK);
        let before = counters();
        listen(20 * MS);
        cmos(0x0c);
        listen(20 * MS);
        let fired = counters().0 - before.0;
        assert!((1..=most()).contains(&(fired + u64::from(told))), "round {round}: {fired} and {told}");
        open_clock();
    }
    stop_storm();
    close(CLOCK);
}

fn dead_driver() {
    // Its line is open and never fired; then it dies.
    let mut kernel = state::lock();
    kernel.sys.claim_line(CLOCK, LineOwner { row: Row::new(0), bits: 1 }).expect("it is free");
    kernel.sys.begin(Row::new(0)).expect("a first life");
    let _ = kernel.controller.unmask(CLOCK);
    kernel.death_record(None, Row::new(0), abi::error::DeathKind::Killed);
    kernel.kill(Row::new(0));
    assert_eq!(kernel.sys.line_owner(CLOCK), None);
    drop(kernel);
    only(&[], "its line is closed");
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
    open_clock();
    assert!((1..=most()).contains(&listen_for(1)));
    stop_storm();
    assert_eq!(word() & abi::message::bits::IRQ_MASK, 1 << 5);
    assert_eq!(state::lock().sys.release_lines(Row::new(0)), LineSet::of(CLOCK));
    close(CLOCK);
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

fn keyboard_line() {
    let _ = state::lock().controller.unmask(KEYBOARD);
    only(&[KEYBOARD], "the line is open");
    send(0xd2);
    assert_eq!(listen_for(1), 1);
    assert_eq!(receive(), 0x2a);
    close(KEYBOARD);
}

fn mouse_line() {
    let mut kernel = state::lock();
    let _ = kernel.controller.unmask(MOUSE);
    let _ = kernel.controller.unmask(CLOCK);
    kernel.controller.mask(LineSet::of(CLOCK));
    drop(kernel);
    only(&[MOUSE], "one line is closed, and the other stays open");
    send(0xd3);
    assert_eq!(listen_for(1), 1);
    assert_eq!(receive(), 0x2a);
    close(MOUSE);
}

/// Opens the keyboard's line, whose controller has a byte. Checks that this is told, or interrupts, once, though the line does not rise.
fn told_once(what: &str) {
    let before = counters();
    let told = state::lock().controller.unmask(KEYBOARD);
    listen(30 * MS);
    assert_eq!(u64::from(told) + counters().0 - before.0, 1, "{what}");
    receive();
    close(KEYBOARD);
}

fn not_lost() {
    let _ = state::lock().controller.unmask(KEYBOARD);
    send(0xd2);
    assert_eq!(listen_for(1), 1);
    receive();
    send(0xd2);
    listen(30 * MS);
    told_once("the second byte");
}

fn not_lost_in_death() {
    state::lock().controller.mask(LineSet::of(KEYBOARD));
    send(0xd2);
    listen(30 * MS);
    told_once("a byte that came while nobody had the line");
}

fn spurious() {
    // What the processor sees of a spurious interrupt is its vector, with nothing in service.
    let before = counters();
    let mut made = 0;
    let is_pic = matches!(state::lock().controller, Controller::Pic(_));
    let spurious = |line: Line| line == SPURIOUS || is_pic && [7, 15].contains(&line.number());
    macro_rules! raise {
        ($($vector:literal)*) => { $(if spurious(controller::line($vector)) {
            // SAFETY: a vector of the controller has a gate; the handler returns.
            unsafe { asm!("int {}", const $vector) };
            made += 1;
        })* };
    }
    for _ in 0..3 {
        raise!(32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48);
    }
    assert!(made >= 3, "none can be spurious");
    assert_eq!(counters(), (before.0, before.1 + made));
    only(&[], "no line is opened");
    // The controller knows of nothing in service, and of no interrupt that was ended by mistake.
    let mut kernel = state::lock();
    for line in (0..=LINES as u8).map(Line::new) {
        assert_eq!(kernel.controller.is_real(line), !spurious(line), "{line:?}");
    }
}

fn internal_lines() {
    let reserved = |line| abi::manifest::rules::KERNELS.iter().any(|(claim, _)| claim.shares(&line));
    let internal = state::lock().controller.internal();
    for line in (0..LINES as u8).map(Line::new).filter(|&line| internal.contains(line) || line == timer::LINE) {
        assert!(reserved(Claim::new(Space::Lines, line.number().into(), 1)), "a task may get {line:?}");
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
