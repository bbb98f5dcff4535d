//! Running out of memory, and going on.

use alloc::vec::Vec;
use core::hint::black_box;

/// A piece that is asked for, in bytes.
const PIECE: usize = 3000;

/// Exit codes: all is as it should be; little was to be had; not all came back.
const DONE: i32 = 0;
const TOO_LITTLE: i32 = 4;
const LOST: i32 = 5;

/// Asks for memory until the heap says no, by calls that return an error, and gives all back: twice, as the second time must yield as much.
/// At least `least` bytes are to be had.
pub fn eat_politely(least: usize) -> ! {
    let first = eat();
    if first * PIECE < least {
        rt::exit(TOO_LITTLE);
    }
    // A request that no quota holds is refused too, and costs nothing.
    let huge = Vec::<u8>::new().try_reserve_exact(1 << 40);
    let second = eat();
    rt::exit(if huge.is_err() && second == first { DONE } else { LOST })
}

/// How many pieces there were.
fn eat() -> usize {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut piece = Vec::new();
        if piece.try_reserve_exact(PIECE).is_err() || eaten.try_reserve(1).is_err() {
            return eaten.len();
        }
        piece.push(1);
        eaten.push(black_box(piece));
    }
}
