//! A task that has picked its heap.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod hunger;

use alloc::boxed::Box;
use assist::role;

rt::entry!(run, heap = rt::heap::LinkedList);

fn run() {
    let mut words = rt::arg().split(' ');
    match words.next().unwrap_or_default() {
        role::EAT_POLITELY => hunger::eat_politely(words.next().and_then(|word| word.parse().ok()).unwrap_or(0)),
        _ => rt::exit(distance()),
    }
}

/// Bytes from one block of 129 to the next: the next multiple of 16 on a list, and no other heap's blocks lie so.
fn distance() -> i32 {
    let (first, second) = (Box::new([1_u8; 129]), Box::new([2_u8; 129]));
    let at = |block: &[u8; 129]| block.as_ptr().addr();
    at(&second).abs_diff(at(&first)) as i32
}
