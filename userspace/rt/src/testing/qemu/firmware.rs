//! The program that the machine runs: it counts, and stops the machine. So a test says how far the
//! machine's time goes.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

/// Where in memory lies how far it is to count.
pub const COUNT: u64 = 0x500;

/// Nanoseconds of one count: two instructions of 1024 ns each (`-icount shift=10`).
const COUNT_NS: u128 = 2048;

/// Size of the image: it ends where the 4 GiB that the processor starts below end, and is seen at
/// 0xf0000 too.
const SIZE: usize = 64 * 1024;

/// Where in it the processor starts (Intel SDM vol. 3A, section 10.1.4, "First Instruction
/// Executed").
const RESET: usize = SIZE - 16;

/// A jump to the image's first byte, by its address below 1 MiB.
const JUMP: [u8; 5] = [0xea, 0x00, 0x00, 0x00, 0xf0]; // jmp 0xf000:0

const PROGRAM: [u8; 21] = [
    0x31, 0xc0, //                   xor ax, ax
    0x8e, 0xd8, //                   mov ds, ax
    0xba, 0x05, 0x05, //      again: mov dx, 0x505    ; the port of QEMU's device `pvpanic`
    0xb0, 0x01, //                   mov al, 1        ; "panicked": the machine stops here
    0xee, //                         out dx, al
    0x66, 0x8b, 0x0e, 0x00, 0x05, // mov ecx, [COUNT]
    0x66, 0x49, //            count: dec ecx
    0x75, 0xfc, //                   jnz count
    0xeb, 0xef, //                   jmp again
];

/// The image.
pub fn image() -> Vec<u8> {
    // What is not used halts.
    let mut image = vec![0xf4; SIZE];
    for (at, code) in [(0, &PROGRAM[..]), (RESET, &JUMP)] {
        image.iter_mut().skip(at).zip(code).for_each(|(to, from)| *to = *from);
    }
    image
}

/// How far it counts in this time, and not less; 1 at least, and two and a half hours at most.
pub fn count(time: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(COUNT_NS)).unwrap_or(u32::MAX).max(1)
}
