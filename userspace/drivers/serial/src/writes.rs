//! Copies a client's bytes into the transmit ring, as far as it has room.

use crate::keep::Keep;
use abi::Status;

/// Most bytes that are copied at a time, through a buffer of this size.
pub const CHUNK: usize = 512;

/// Copies bytes `*progress..len` of a write into the transmit ring, through `copy` (offset, buffer;
/// returns bytes copied), and advances `progress`. Returns whether all bytes are in the ring.
///
/// # Errors
/// Any error of `copy`; [`Status::LeaseBounds`] if it copies nothing.
pub fn feed(
    keep: &Keep,
    len: u32,
    progress: &mut u32,
    chunk: &mut [u8; CHUNK],
    mut copy: impl FnMut(usize, &mut [u8]) -> Result<usize, Status>,
) -> Result<bool, Status> {
    while *progress < len {
        let wanted = CHUNK.min(keep.tx.room() as usize).min((len - *progress) as usize);
        if wanted == 0 {
            return Ok(false);
        }
        let copied = copy(*progress as usize, &mut chunk[..wanted])?.min(wanted);
        if copied == 0 {
            return Err(Status::LeaseBounds);
        }
        *progress += keep.tx.push(&chunk[..copied]) as u32;
    }
    Ok(true)
}
