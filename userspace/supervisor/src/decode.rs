//! Describes in words the instruction that raised an exception. Knows only the instructions that a
//! program without privilege must not execute (Intel SDM vol. 2, opcode map; vol. 3A, section 6.15,
//! #GP), not the whole instruction set.

use alloc::format;
use alloc::string::String;

/// Describes the instruction at the start of `code`, with the port for an `in` or `out`; `rdx` is
/// the register's value. `None` if it is not one of the known instructions.
pub fn refused(code: &[u8], rdx: u64) -> Option<String> {
    let (rex, code) = skip_prefixes(code);
    let byte = |at: usize| code.get(at).copied();
    let dx = rdx & 0xffff;
    let text = match byte(0)? {
        0xe4 | 0xe5 => format!("in from port {:#x}, which is not granted", byte(1)?),
        0xe6 | 0xe7 => format!("out to port {:#x}, which is not granted", byte(1)?),
        0xec | 0xed => format!("in from port {dx:#x} (dx), which is not granted"),
        0xee | 0xef => format!("out to port {dx:#x} (dx), which is not granted"),
        0x6c | 0x6d => format!("ins from port {dx:#x} (dx), which is not granted"),
        0x6e | 0x6f => format!("outs to port {dx:#x} (dx), which is not granted"),
        0xfa => "cli: tasks cannot turn interrupts off".into(),
        0xfb => "sti: tasks cannot turn interrupts on".into(),
        0xf4 => "hlt: tasks cannot halt the processor".into(),
        0xcc => "int3".into(),
        0xcd => format!("int {:#x}: no interrupt gate for tasks", byte(1)?),
        0xcf => "iret to a segment that a task cannot have".into(),
        0xcb | 0xca => "far return to a segment that a task cannot have".into(),
        0x8e => "load of a segment register".into(),
        0xf6 | 0xf7 => "division by zero, or the quotient is too large".into(),
        0x0f => return two_byte(code.get(1..)?, rex),
        _ => return None,
    };
    Some(text)
}

/// Describes the instructions with opcodes after the escape byte 0x0f.
fn two_byte(code: &[u8], rex: u8) -> Option<String> {
    let modrm = code.get(1).copied();
    let digit = modrm.map(|m| m >> 3 & 7);
    let privileged = |name: &str| Some(format!("{name}: a privileged instruction"));
    match *code.first()? {
        0x00 => privileged("load of a descriptor table or task register"),
        0x01 => match (digit?, modrm?) {
            (_, 0xf8) => privileged("swapgs"),
            (_, 0xd1) => privileged("xsetbv"),
            (0..=4, _) => privileged("access to a descriptor table or machine status"),
            (6, _) => privileged("lmsw"),
            (7, _) => privileged("invlpg"),
            _ => None,
        },
        0x06 => privileged("clts"),
        0x07 => privileged("sysret"),
        0x08 => privileged("invd"),
        0x09 => privileged("wbinvd"),
        0x0b => Some("ud2".into()),
        0x20 | 0x22 => Some(format!("access to control register cr{}: privileged", digit? | (rex & 4) << 1)),
        0x21 | 0x23 => Some(format!("access to debug register dr{}: privileged", digit?)),
        0x28 | 0x29 => Some("movaps with a misaligned or non-canonical address".into()),
        0x30 => privileged("wrmsr"),
        0x32 => privileged("rdmsr"),
        0x31 => Some("rdtsc, which is not allowed".into()),
        0x33 => Some("rdpmc, which is not allowed".into()),
        0x34 => Some("sysenter: not a way into this kernel".into()),
        0x35 => privileged("sysexit"),
        0xb9 | 0xff => Some("ud1 or ud0".into()),
        // cmpxchg16b needs an address that is a multiple of 16 (SDM vol. 2A, CMPXCHG8B/CMPXCHG16B).
        0xc7 if digit? == 1 && rex & 8 != 0 => Some("cmpxchg16b with a misaligned or non-canonical address".into()),
        _ => None,
    }
}

/// Skips legacy prefixes and REX (SDM vol. 2A, sections 2.1.1 and 2.2.1). Returns the REX byte, 0
/// for none, and the rest.
fn skip_prefixes(code: &[u8]) -> (u8, &[u8]) {
    const LEGACY: [u8; 11] = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3];
    let legacy = code.iter().take_while(|byte| LEGACY.contains(byte)).count();
    let rest = code.get(legacy..).unwrap_or_default();
    match rest.split_first() {
        Some((&rex @ 0x40..=0x4f, after)) => (rex, after),
        _ => (0, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(code: &[u8], rdx: u64) -> String {
        refused(code, rdx).unwrap_or_default()
    }

    #[test]
    fn ports_are_named() {
        assert_eq!(words(&[0xec], 0xffff_0000_0000_03f8), "in from port 0x3f8 (dx), which is not granted");
        assert_eq!(words(&[0x66, 0xef], 0xcf8), "out to port 0xcf8 (dx), which is not granted");
        assert_eq!(words(&[0xe4, 0x60], 0), "in from port 0x60, which is not granted");
        assert_eq!(words(&[0xe6, 0x20], 0), "out to port 0x20, which is not granted");
        assert_eq!(words(&[0xf3, 0x6c], 0x1f0), "ins from port 0x1f0 (dx), which is not granted");
    }

    #[test]
    fn privileged_instructions_are_named() {
        assert!(words(&[0xfa], 0).starts_with("cli"));
        assert!(words(&[0xfb], 0).starts_with("sti"));
        assert!(words(&[0xf4], 0).starts_with("hlt"));
        assert!(words(&[0x0f, 0x30], 0).starts_with("wrmsr"));
        assert!(words(&[0x0f, 0x01, 0xf8], 0).starts_with("swapgs"));
        assert!(words(&[0x0f, 0x01, 0x3e], 0).starts_with("invlpg"));
        assert_eq!(words(&[0x0f, 0x20, 0xd8], 0), "access to control register cr3: privileged");
        assert_eq!(words(&[0x44, 0x0f, 0x20, 0xc0], 0), "access to control register cr8: privileged");
    }

    #[test]
    fn other_reasons_are_named() {
        assert_eq!(words(&[0x0f, 0x0b], 0), "ud2");
        assert_eq!(words(&[0x48, 0xf7, 0xf1], 0), "division by zero, or the quotient is too large");
        assert!(words(&[0xf0, 0x48, 0x0f, 0xc7, 0x0e], 0).starts_with("cmpxchg16b"));
        assert_eq!(refused(&[0x0f, 0xc7, 0x0e], 0), None, "cmpxchg8b may be misaligned");
    }

    #[test]
    fn short_or_unknown_code_gives_nothing() {
        for code in [&[][..], &[0x66], &[0xe4], &[0xcd], &[0x0f], &[0x0f, 0x01], &[0x90], &[0x48], &[0x8b, 0x00]] {
            assert_eq!(refused(code, 0), None, "{code:x?}");
        }
    }
}
