//! Crashes as its argument says. The lines to blame end with `// HERE` and the argument: the test finds them here.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::vec::Vec;
use core::hint::black_box;

rt::entry!(run);

fn run() {
    match rt::arg().trim() {
        "inlined" => uses_an_inlined_function(),
        "closure" => uses_a_closure(),
        "alloc" => asks_for_too_much(),
        "recursion" => _ = goes_down(black_box(9)),
        "circle" => _ = goes_left(black_box(5)),
        "overflow" => _ = goes_down_for_ever(black_box(1)),
        "null" => _ = uses_a_null_pointer(),
        "words" => panic!("no\n  at 0x1 [vga] FORGED\n  restarting now\n[supervisor] FORGED\r\x1b[2J\u{301}"),
        other => match other.strip_prefix("deep ").and_then(|depth| depth.parse().ok()) {
            Some(depth) => _ = goes_down(black_box(depth)),
            None => rt::println!("there is no `{other}`"),
        },
    }
    // So that none of the calls is the last thing that is done here.
    black_box(0);
}

#[inline(never)]
fn uses_an_inlined_function() {
    is_inlined(black_box(3));
    black_box(0);
}

#[inline(always)]
fn is_inlined(value: u64) {
    assert!(black_box(value) > 5, "the value is {value}"); // HERE inlined
}

#[inline(never)]
fn uses_a_closure() {
    [1, 2, 3].iter().for_each(|value| {
        if black_box(*value) == 2 {
            panic!("two"); // HERE closure
        }
    });
}

#[inline(never)]
fn asks_for_too_much() {
    hoards(black_box(1 << 30));
    black_box(0);
}

#[inline(always)]
fn hoards(bytes: usize) {
    black_box(Vec::<u8>::with_capacity(bytes)); // HERE alloc
}

#[inline(never)]
fn goes_down(left: u64) -> u64 {
    assert!(left > 0, "the bottom"); // HERE recursion
    goes_down(left - 1) + black_box(left)
}

#[inline(never)]
fn goes_left(left: u64) -> u64 {
    assert!(left > 0, "the end"); // HERE circle
    goes_right(left - 1) + black_box(left)
}

#[inline(never)]
fn goes_right(left: u64) -> u64 {
    goes_left(left) ^ black_box(left)
}

#[inline(never)]
#[allow(unconditional_recursion, reason = "the overflow is the purpose")]
fn goes_down_for_ever(depth: u64) -> u64 {
    let frame = black_box([depth; 16]); // HERE overflow
    goes_down_for_ever(depth + 1) + black_box(frame)[0] // HERE overflow
}

#[inline(never)]
fn uses_a_null_pointer() -> u8 {
    peeks(black_box(0)) + black_box(1)
}

#[inline(always)]
fn peeks(address: usize) -> u8 {
    // SAFETY: nothing lies there: the page fault is the purpose.
    unsafe { (address as *const u8).read_volatile() } // HERE null
}
