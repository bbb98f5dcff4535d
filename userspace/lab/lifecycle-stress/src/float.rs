//! Floating-point registers: patterns that have to stay, and what a new life finds in them.

use crate::{USAGE, WRONG};
use core::arch::asm;
use core::sync::atomic::{AtomicI32, Ordering};

/// What a thread has in them.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(16))]
struct Registers {
    xmm: [u64; 32],
    /// The top of the x87 stack, as a double.
    st0: u64,
    mxcsr: u32,
    control: u16,
    tag: u16,
}

const NOTHING: Registers = Registers { xmm: [0; 32], st0: 0, mxcsr: 0, control: 0, tag: 0 };

/// MXCSR and x87 control word as a processor starts with them (Intel SDM vol. 1, sections 8.1.5 and 10.2.3).
const MXCSR: u32 = 0x1f80;
const CONTROL: u16 = 0x37f;

/// A pattern that no other seed has in any register, with a rounding mode of its own.
fn pattern(seed: u64) -> Registers {
    let rounding = seed % 4;
    Registers {
        xmm: core::array::from_fn(|i| (seed << 32 | i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        st0: 0,
        mxcsr: MXCSR | (rounding as u32) << 13,
        control: CONTROL & !0xc00 | (rounding as u16) << 10,
        tag: 0,
    }
}

/// Loads the registers. The number is for x87.
fn load(registers: &Registers, number: u64) {
    // SAFETY: reads what is borrowed. Code for this target uses none of these registers, so nothing of the compiler's is lost.
    unsafe {
        asm!(
            "movups xmm0, [{r}]", "movups xmm1, [{r} + 16]", "movups xmm2, [{r} + 32]", "movups xmm3, [{r} + 48]",
            "movups xmm4, [{r} + 64]", "movups xmm5, [{r} + 80]", "movups xmm6, [{r} + 96]", "movups xmm7, [{r} + 112]",
            "movups xmm8, [{r} + 128]", "movups xmm9, [{r} + 144]", "movups xmm10, [{r} + 160]", "movups xmm11, [{r} + 176]",
            "movups xmm12, [{r} + 192]", "movups xmm13, [{r} + 208]", "movups xmm14, [{r} + 224]", "movups xmm15, [{r} + 240]",
            "ldmxcsr [{r} + 264]",
            "fninit",
            "fldcw [{r} + 268]",
            "fild qword ptr [{number}]",
            r = in(reg) registers, number = in(reg) &number, options(nostack, readonly),
        );
    }
}

/// Stores them; the x87 stack stays as it is.
fn store(into: &mut Registers) {
    // SAFETY: writes what is borrowed.
    unsafe {
        asm!(
            "movups [{r}], xmm0", "movups [{r} + 16], xmm1", "movups [{r} + 32], xmm2", "movups [{r} + 48], xmm3",
            "movups [{r} + 64], xmm4", "movups [{r} + 80], xmm5", "movups [{r} + 96], xmm6", "movups [{r} + 112], xmm7",
            "movups [{r} + 128], xmm8", "movups [{r} + 144], xmm9", "movups [{r} + 160], xmm10", "movups [{r} + 176], xmm11",
            "movups [{r} + 192], xmm12", "movups [{r} + 208], xmm13", "movups [{r} + 224], xmm14", "movups [{r} + 240], xmm15",
            "fst qword ptr [{r} + 256]",
            "stmxcsr [{r} + 264]",
            "fnstcw [{r} + 268]",
            r = in(reg) into, options(nostack),
        );
    }
}

/// Keeps a pattern over as many turns, and looks at it after each. True where it stayed.
fn stays(seed: u64, turns: u64) -> bool {
    load(&pattern(seed), seed);
    let mut first = NOTHING;
    store(&mut first);
    if first.xmm != pattern(seed).xmm || first.mxcsr != pattern(seed).mxcsr || first.control != pattern(seed).control {
        return false;
    }
    let mut now = NOTHING;
    (0..turns).all(|_| {
        rt::syscall::yield_now();
        store(&mut now);
        now == first
    })
}

/// Two threads keep a pattern each.
pub fn keep_pattern(seed: u64, turns: u64) -> ! {
    /// What was wrong with the second thread: 4 if it found something, 8 if its pattern did not stay.
    static BAD: AtomicI32 = AtomicI32::new(0);
    let priority = rt::info().priority as u8;
    let second = rt::thread::spawn(
        move || {
            let found = if is_fresh() { 0 } else { 4 };
            let lost = if stays(2 * seed + 1, turns) { 0 } else { 8 };
            BAD.store(found | lost, Ordering::Relaxed);
        },
        8,
        priority,
    );
    let Ok(second) = second else { rt::exit(USAGE) };
    let first = stays(2 * seed, turns);
    second.join();
    rt::exit(BAD.load(Ordering::Relaxed) | if first { 0 } else { WRONG })
}

/// Whether all registers are as a processor starts with them. To be asked before anything is loaded.
pub fn is_fresh() -> bool {
    #[repr(C, align(16))]
    struct Image([u8; 512]);
    // What is not stored is nobody's; the registers of SSE are.
    let mut image = Image([0; 512]);
    image.0[160..416].fill(0xff);
    // SAFETY: FXSAVE64 writes 512 bytes, 16-byte aligned, which are borrowed.
    unsafe { asm!("fxsave64 [{image}]", image = in(reg) &mut image, options(nostack)) };
    let word = |at: usize| u16::from_le_bytes([image.0[at], image.0[at + 1]]);
    // Control word, status word, abridged tag word; MXCSR; the x87 registers and the sixteen of SSE (vol. 1, table 10-2). Bytes 8 to 23
    // tell of the last x87 instruction, of which there was none. (Its opcode, in bytes 6 and 7, QEMU does not store.)
    word(0) == CONTROL
        && word(2) == 0
        && image.0[4] == 0
        && image.0[8..24].iter().all(|&byte| byte == 0)
        && u32::from(word(24)) == MXCSR
        && image.0[32..416].iter().all(|&byte| byte == 0)
}

/// Of a task without such registers: looks at what is in them. Comes back where it could.
pub fn steal() -> ! {
    let mut found = NOTHING;
    store(&mut found);
    rt::exit(if found.xmm == [0; 32] { 0 } else { WRONG })
}
