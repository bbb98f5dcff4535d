//! The timer interrupts when it is armed for, once, and wakes a halted processor; and the clock runs forward at a sane rate.
//! Limits are generous: under emulation on a busy machine, time comes in lumps.
#![no_std]
#![no_main]
#![expect(clippy::disallowed_methods, reason = "it stands where the kernel is entered")]

extern crate alloc;

use alloc::vec::Vec;
use bootloader_api::{BootInfo, entry_point};
use core::cell::RefCell;
use kernel::arch::controller::InterruptController;
use kernel::arch::entry::halt_until_interrupt;
use kernel::arch::tsc::Reference;
use kernel::arch::{cpu, timer};
use kernel::kernel as state;
use kernel::{BOOT_CONFIG, klog, start, testing};
use kernel_core::clock::Clock;
use kernel_core::lines::LineSet;
use x86_64::instructions::interrupts;
use x86_64::instructions::port::Port;

const MS: u64 = 1_000_000;

entry_point!(main, config = &BOOT_CONFIG);

fn main(boot: &'static mut BootInfo) -> ! {
    let mut ready = start::init_memory(boot);
    let clock = Clock::new(cpu::now(), ready.reference.measure().0);
    let reference = RefCell::new(core::mem::replace(&mut ready.reference, Reference::none()));
    // A kernel without tasks: nothing but the idle loop is ever interrupted.
    let archive = ready.archive;
    state::set(testing::kernel(ready, &[], archive, clock));
    testing::run(&[
        ("time_stamp_counter_has_a_sane_rate", &|| sane_rate(&reference)),
        ("time_stamp_counter_is_measured_alike_each_time", &|| measured_alike(&reference)),
        ("clock_never_runs_backwards", &never_backwards),
        ("clock_agrees_with_the_timer_chip", &agrees_with_chip),
        ("masked_timer_is_silent", &masked_is_silent),
        ("timer_wakes_a_halted_processor", &wakes),
        ("timer_interrupts_once", &once),
        ("timer_interrupts_at_once_for_a_time_that_is_past", &past),
        ("timer_can_be_armed_anew", &anew),
        ("timer_interrupts_running_code", &interrupts_running_code),
        ("timer_can_be_masked_again", &masked_again),
    ])
}

fn counted() -> u64 {
    state::lock().sys.info().interrupts
}

fn now_ns() -> u64 {
    let kernel = state::lock();
    kernel.sys.uptime_ns()
}

/// Spins, with interrupts on or off, for so many nanoseconds by the clock.
fn spin(ns: u64) {
    let clock = state::lock().sys.clock();
    let start = clock.ns(cpu::now());
    while clock.ns(cpu::now()) < start + ns {
        core::hint::spin_loop();
    }
}

/// What each source says of the frequency, in MHz.
fn measured(reference: &RefCell<Reference>) -> Vec<(&'static str, u64)> {
    let mut reference = reference.borrow_mut();
    reference.each().filter_map(|(name, hertz)| Some((name, hertz? / 1_000_000))).collect()
}

fn sane_rate(reference: &RefCell<Reference>) {
    let all = measured(reference);
    klog!("the time-stamp counter's MHz: {all:?}");
    assert!(!all.is_empty(), "nothing tells it");
    for (name, mhz) in all {
        assert!((10..100_000).contains(&mhz), "{name} says {mhz} MHz");
    }
}

fn measured_alike(reference: &RefCell<Reference>) {
    let mut all: Vec<_> = (0..9).flat_map(|_| measured(reference)).map(|(_, mhz)| mhz).collect();
    klog!("nine measurements by each, in MHz: {all:?}");
    all.sort_unstable();
    let (least, middle, most) = (all[0], all[all.len() / 2], all[all.len() - 1]);
    // However often something else takes the processor away in the middle.
    assert!(most - least <= middle / 20, "the measurements differ too much: {all:?}");
}

fn never_backwards() {
    let clock = state::lock().sys.clock();
    let (mut last, mut last_ns, mut steps) = (cpu::now(), 0, 0);
    for _ in 0..200_000 {
        let now = cpu::now();
        let ns = clock.ns(now);
        assert!(now >= last && ns >= last_ns, "from {last} to {now}, from {last_ns} to {ns} ns");
        steps += u32::from(ns > last_ns);
        (last, last_ns) = (now, ns);
    }
    assert!(steps > 1000, "the clock stands still: {steps} steps");
}

/// Waits 40 ms by channel 2 of the timer chip, the kernel's clock not being asked.
fn chip_wait() {
    let (mut command, mut data, mut control) = (Port::<u8>::new(0x43), Port::<u8>::new(0x42), Port::<u8>::new(0x61));
    let [low, high] = 47_727_u16.to_le_bytes();
    // SAFETY: channel 2 and its gate are free after the measurement; the speaker stays off (8254 data sheet, mode 0).
    unsafe {
        let before = control.read() & !3;
        control.write(before);
        command.write(0b1011_0000);
        data.write(low);
        data.write(high);
        control.write(before | 1);
        while control.read() & 0x20 == 0 {
            core::hint::spin_loop();
        }
        control.write(before);
    }
}

fn agrees_with_chip() {
    // A lump of stolen time only makes it longer; so the shortest of a few is near the truth, unless the rate is wrong.
    let shortest = (0..5).map(|_| {
        let start = now_ns();
        chip_wait();
        now_ns() - start
    });
    let shortest = shortest.min().unwrap_or(0);
    klog!("40 ms of the timer chip are {} us by the clock", shortest / 1000);
    assert!((39 * MS..400 * MS).contains(&shortest), "{shortest} ns");
}

/// Arms the timer for so many nanoseconds from now.
fn arm(ns: u64) {
    let mut kernel = state::lock();
    let now = cpu::now();
    let at = now + kernel.sys.clock().span_cycles(ns);
    kernel.timer.arm(at, now);
}

/// Lets interrupts in for so many nanoseconds.
fn listen(ns: u64) {
    interrupts::enable();
    spin(ns);
    interrupts::disable();
}

fn masked_is_silent() {
    arm(MS);
    let before = counted();
    listen(30 * MS);
    assert_eq!(counted(), before, "a masked line fires");
}

fn wakes() {
    let _ = state::lock().controller.unmask(timer::LINE);
    // One that was due while the line was masked may come now.
    listen(5 * MS);
    for ms in 1..=40 {
        let (before, start) = (counted(), now_ns());
        arm(ms * MS);
        halt_until_interrupt();
        assert!(!interrupts::are_enabled(), "interrupts stay on behind the wait");
        assert_eq!(counted(), before + 1, "woken by something else than the timer");
        let took = now_ns() - start;
        assert!((ms * MS..ms * MS + 60_000 * MS).contains(&took), "{ms} ms took {took} ns");
    }
    assert!(state::lock().sys.now() > 0 && state::lock().sys.info().spurious == 0);
}

fn once() {
    let before = counted();
    arm(MS);
    halt_until_interrupt();
    listen(200 * MS);
    assert_eq!(counted(), before + 1);
}

fn past() {
    let before = counted();
    let mut kernel = state::lock();
    let now = cpu::now();
    kernel.timer.arm(now - 1, now);
    drop(kernel);
    halt_until_interrupt();
    assert_eq!(counted(), before + 1);
}

fn anew() {
    let before = counted();
    let shortest = (0..10).map(|_| {
        let start = now_ns();
        arm(50 * MS);
        arm(2 * MS);
        halt_until_interrupt();
        now_ns() - start
    });
    let shortest = shortest.min().unwrap_or(0);
    assert!((2 * MS..50 * MS).contains(&shortest), "for an earlier time: {shortest} ns");
    listen(200 * MS);
    assert_eq!(counted(), before + 10, "and not for the first one, too");
    arm(2 * MS);
    arm(30 * MS);
    let start = now_ns();
    halt_until_interrupt();
    assert!(now_ns() - start >= 29 * MS, "for a later time");
}

fn interrupts_running_code() {
    let before = counted();
    let (mut sum, mut n, mut seen) = (0_u64, 0_u64, before);
    arm(MS / 10);
    interrupts::enable();
    // The registers of this loop survive every interrupt, after which the timer is armed again.
    while n < 1_000_000_000 && seen < before + 20 {
        if n % 1024 == 0 && state_ticks() > seen {
            seen = state_ticks();
            interrupts::without_interrupts(|| arm(MS / 10));
        }
        n += 1;
        sum = core::hint::black_box(sum + n);
    }
    interrupts::disable();
    assert!(counted() >= before + 20, "only {} interrupts", counted() - before);
    assert_eq!(sum, n * (n + 1) / 2);
}

/// The counter, read while interrupts are on: the lock must not be held when one comes.
fn state_ticks() -> u64 {
    interrupts::without_interrupts(counted)
}

fn masked_again() {
    state::lock().controller.mask(LineSet::of(timer::LINE));
    // One that was on its way may still come.
    listen(5 * MS);
    let before = counted();
    arm(MS);
    listen(30 * MS);
    assert_eq!(counted(), before, "a masked line fires");
    let _ = state::lock().controller.unmask(timer::LINE);
    arm(MS);
    halt_until_interrupt();
    assert!(counted() > before);
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
