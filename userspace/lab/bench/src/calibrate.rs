//! Whether ticks are instructions.

use core::arch::asm;
use rt::println;
use rt::time::ticks;

/// Samples of each: a timer tick falls into one of thousands.
const TRIES: usize = 64;

/// What two readings cost that have nothing between them.
pub fn pair() -> u64 {
    let sample = |_| {
        let before = ticks();
        ticks() - before
    };
    (0..TRIES).map(sample).min().unwrap_or(0)
}

/// The least number of ticks from one `rdtsc` to the next, with the given instructions and one `mov` between them.
macro_rules! between {
    ($($line:literal),*) => {{
        let sample = |_| {
            let (before, after): (u32, u32);
            // SAFETY: reads a counter and changes the registers that are named, nothing else.
            unsafe {
                asm!("rdtsc", "mov {before:e}, eax", $($line,)* "rdtsc", before = out(reg) before, out("eax") after, out("edx") _,
                    out("ecx") _, options(nomem, nostack));
            }
            after.wrapping_sub(before)
        };
        (0..TRIES).map(sample).min().unwrap_or(0)
    }};
}

/// Prints what nothing, 1000 `nop`, and a loop of 1000 rounds cost. They are 2, 1002 and 2003 where a tick is an instruction.
pub fn print() {
    let nothing = between!();
    let nops = between!(".rept 1000", "nop", ".endr");
    let rounds = between!("mov ecx, 1000", "2:", "dec ecx", "jnz 2b");
    println!("calibration {nothing} {nops} {rounds}");
    println!("pair {}", pair());
}
