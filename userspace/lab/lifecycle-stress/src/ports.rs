//! Ports: a task that was given none can reach none of the 65,536, and one that was given eight can reach these.

use crate::bench::{Context, Outcome, end, exit_code, row, system};
use abi::TaskId;
use abi::error::{DeathKind, FaultRecord};
use alloc::format;
use alloc::string::String;

/// General protection.
const GP: u32 = 13;
/// Exit code of a probe whose access came back.
const PASSED: i32 = 9;

/// The accesses that the probe knows, in its order: name, width, first byte of the instruction (behind a prefix for two bytes).
const ACCESSES: [(&str, u16, &[u8]); 8] = [
    ("in al", 1, &[0xec]),
    ("out al", 1, &[0xee]),
    ("in ax", 2, &[0x66, 0xed]),
    ("out ax", 2, &[0x66, 0xef]),
    ("in eax", 4, &[0xed]),
    ("out eax", 4, &[0xef]),
    ("insb", 1, &[0x6c]),
    ("outsb", 1, &[0x6e]),
];

/// A life that tries one access.
fn probe(row: usize, port: u16, access: usize) -> Result<FaultRecord, String> {
    let [low, high] = port.to_le_bytes();
    rt::syscall::task_spawn(system()?, row, &[low, high, access as u8])
        .map_err(|failure| format!("spawn: {}", failure.status))?;
    end(row)
}

/// The access must have ended that life, where it was tried.
fn refused(row: usize, port: u16, access: usize) -> Outcome {
    let record = probe(row, port, access)?;
    let (name, _, code) = ACCESSES[access];
    let tried = record.registers[3] as u16 == port && record.code.starts_with(code);
    if DeathKind::from_u32(record.kind) != DeathKind::Exception
        || record.vector != GP
        || record.error_code != 0
        || !tried
    {
        return Err(format!(
            "{name} at port {port:#x} ended as {:?}, vector {}, at port {:#x}, code {:x?}",
            DeathKind::from_u32(record.kind),
            record.vector,
            record.registers[3],
            record.code
        ));
    }
    Ok(())
}

/// Every port there is: reads one, writes the next, and the other way about.
pub fn every_port() -> Outcome {
    let probe = row("probe")?;
    let (life, before) = (
        || rt::task::status(probe).context("task_status").map(|status| TaskId::from_u32(status.id).generation),
        rt::time::now_ns(),
    );
    let first = life()?;
    for port in 0..=u16::MAX {
        refused(probe, port, usize::from(port % 2))?;
    }
    // Each has a number of its own: more of them than 16 bits hold.
    let lives = life()?.wrapping_sub(first);
    if lives != 65_536 {
        return Err(format!("{lives} lives, by their numbers, instead of 65,536"));
    }
    rt::println!("65536 lives took {} ms", (rt::time::now_ns() - before) / 1_000_000);
    Ok(())
}

/// Around the ports of a task that has some: those reach what was given to it, whole, and a task that was given none reaches none of them,
/// whoever ran before.
pub fn borders() -> Outcome {
    let (none, some) = (row("probe")?, row("bearer")?);
    let granted = 0x3f8..0x400_u16;
    for (access, (name, width, _)) in ACCESSES.into_iter().enumerate() {
        for port in granted.start - 5..granted.end + 2 {
            let last = port + (width - 1);
            if granted.contains(&port) && granted.contains(&last) {
                // Reading harms nobody here, and writing would configure a device.
                if access.is_multiple_of(2) {
                    let code =
                        exit_code(&probe(some, port, access)?).map_err(|e| format!("{name} at {port:#x}: {e}"))?;
                    if code != PASSED {
                        return Err(format!("{name} at {port:#x}, which was granted, ended with code {code}"));
                    }
                }
            } else {
                refused(some, port, access).map_err(|error| format!("beside a grant: {error}"))?;
            }
            refused(none, port, access).map_err(|error| format!("without a grant: {error}"))?;
        }
        // The first and the last ports there are, and the accesses that would go on behind those.
        for port in [0, 1, 0x1f, 0x20, 0x21, 0x40, 0x60, 0xa1, 0xcf8, 0x7fff, 0x8000, 0xfffc, 0xfffd, 0xfffe, 0xffff] {
            refused(none, port, access)?;
            refused(some, port, access)?;
        }
    }
    Ok(())
}
