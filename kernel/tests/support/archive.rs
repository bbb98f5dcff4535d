//! Boot archives made by hand: a task table and programs, as xtask would write them, or not quite.
#![allow(dead_code, reason = "no kernel uses all of it")]

use abi::manifest::{MAGIC, ManifestHeader, Restart, TaskRecord};
use abi::{ABI_HASH, AbiNote};
use alloc::boxed::Box;
use alloc::vec::Vec;
use zerocopy::{FromZeros, IntoBytes};

/// A task with the control right and modest quotas.
pub fn record(name: &str) -> TaskRecord {
    let mut r = TaskRecord::new_zeroed();
    r.name = abi::name_from(name).expect("a proper name");
    (r.frame_quota, r.stack_frames, r.handle_quota, r.object_quota) = (64, 2, 8, 8);
    r.flags = TaskRecord::START | TaskRecord::CONTROL;
    (r.priority, r.restart) = (1, Restart::Never as u8);
    r
}

/// The file `manifest` with these rows.
pub fn manifest(records: &[TaskRecord]) -> Vec<u8> {
    let header = ManifestHeader {
        magic: MAGIC,
        abi_hash: ABI_HASH,
        count: records.len() as u32,
        record_size: size_of::<TaskRecord>() as u32,
    };
    let mut bytes = header.as_bytes().to_vec();
    records.iter().for_each(|r| bytes.extend_from_slice(r.as_bytes()));
    bytes
}

/// A tar archive of these files (POSIX.1-1988, "ustar"), in memory for ever, aligned like a page.
pub fn tar(files: &[(&str, &[u8])]) -> &'static [u8] {
    let mut blocks: Vec<[u8; 512]> = Vec::new();
    for (name, data) in files {
        let mut head = [0; 512];
        let mut put = |at: usize, text: &[u8]| head[at..at + text.len()].copy_from_slice(text);
        put(0, name.as_bytes());
        put(100, b"0000644\x000000000\x000000000\x00");
        put(124, alloc::format!("{:011o}\0{:011o}\0        0", data.len(), 0).as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = head.iter().map(|&b| u32::from(b)).sum();
        head[148..156].copy_from_slice(alloc::format!("{sum:06o}\0 ").as_bytes());
        blocks.push(head);
        for piece in data.chunks(512) {
            let mut block = [0; 512];
            block[..piece.len()].copy_from_slice(piece);
            blocks.push(block);
        }
    }
    blocks.extend([[0; 512]; 2]);
    // Pages hold the blocks aligned, as the loader's memory does.
    #[repr(align(4096))]
    #[derive(Clone, Copy)]
    struct Page([[u8; 512]; 8]);
    let pages = blocks.chunks(8).map(|c| {
        let mut page = Page([[0; 512]; 8]);
        page.0[..c.len()].copy_from_slice(c);
        page
    });
    let pages: &'static [Page] = Box::leak(pages.collect());
    // SAFETY: a `Page` is 4096 bytes without padding, and the slice is there for ever.
    unsafe { core::slice::from_raw_parts(pages.as_ptr().cast(), pages.len() * 4096) }
}

/// A program header.
#[derive(Clone, Copy)]
pub struct Part {
    pub kind: u32,
    pub flags: u32,
    pub offset: u64,
    pub addr: u64,
    pub filled: u64,
    pub size: u64,
}

/// Types and flags of program headers.
pub const LOAD: u32 = 1;
pub const INTERP: u32 = 3;
pub const NOTE: u32 = 4;
pub const X: u32 = 1;
pub const W: u32 = 2;
pub const R: u32 = 4;

/// Where the program's first page is.
pub const BASE: u64 = 0x20_0000;
/// Bytes of every program.
pub const SIZE: usize = 0x1800;

/// The segments of a good program: code, constants, data with more zeros than the file has bytes, and the ABI note.
pub fn parts() -> [Part; 4] {
    let load = |flags, offset, addr, filled, size| Part { kind: LOAD, flags, offset, addr, filled, size };
    [
        load(R | X, 0x1000, BASE, 0x100, 0x100),
        load(R, 0x1100, BASE + 0x1100, 0x80, 0x80),
        load(R | W, 0x1200, BASE + 0x2200, 0x80, 0x2000),
        Part { kind: NOTE, flags: R, offset: 0xf00, addr: 0, filled: 28, size: 28 },
    ]
}

/// An executable with these program headers, entered at [`BASE`]. Its bytes, headers aside, count up.
pub fn program(parts: &[Part], note: AbiNote) -> Vec<u8> {
    let mut file: Vec<u8> = (0..SIZE).map(|n| n as u8).collect();
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    // ELF-64: 64-bit, little endian, version 1; executable, x86_64.
    put(0, b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0");
    put(24, &BASE.to_le_bytes());
    put(32, &64_u64.to_le_bytes());
    put(40, &[0; 12]);
    for (n, half) in [64, 56, parts.len() as u16, 64, 0, 0].into_iter().enumerate() {
        put(52 + 2 * n, &half.to_le_bytes());
    }
    for (n, p) in parts.iter().enumerate() {
        let at = 64 + 56 * n;
        put(at, &p.kind.to_le_bytes());
        put(at + 4, &p.flags.to_le_bytes());
        for (m, word) in [p.offset, p.addr, p.addr, p.filled, p.size, 4096].into_iter().enumerate() {
            put(at + 8 + 8 * m, &word.to_le_bytes());
        }
    }
    for (n, word) in [note.name_size, note.desc_size, note.kind].into_iter().enumerate() {
        put(0xf00 + 4 * n, &word.to_le_bytes());
    }
    put(0xf0c, &note.name);
    put(0xf14, &note.hash);
    file
}
