//! Checks on finished programs, before they go into the boot archive. The kernel's loader checks again, but it can only
//! refuse; here the user is told what to do.

use crate::paths::Paths;
use abi::task::{INFO_ADDR, MAP_BASE, PROGRAM_BASE, STACK_TOP};
use abi::{ABI_HASH, NOTE_NAME, NOTE_TYPE_ABI, PAGE_SIZE};
use anyhow::{Context, Result, bail};
use goblin::elf::Elf;
use goblin::elf::header::{EI_CLASS, EI_DATA, ELFCLASS64, ELFDATA2LSB, EM_X86_64, ET_DYN, ET_EXEC};
use goblin::elf::program_header::{PF_R, PF_W, PF_X, PT_DYNAMIC, PT_INTERP, PT_LOAD, PT_NOTE, PT_TLS, ProgramHeader};
use std::collections::BTreeSet;
use std::path::Path;

/// Most bytes of a program in memory: the kernel clears and maps them all in one system call, in which nobody else runs.
const MAX_IMAGE: u64 = 16 << 20;

/// What a program takes of its task's memory before its first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Frames of code and data.
    pub image: u32,
    /// Frames of page tables for code, data, stack and info page, the top one included.
    pub tables: u32,
}

/// Reads the program in a file and checks it; `stack` is the number of frames of its first stack.
///
/// # Errors
/// What is wrong with it, and what to do, in a sentence.
pub fn check(path: &Path, stack: u32) -> Result<(Vec<u8>, Footprint)> {
    let shown = Paths::shown(path);
    let bytes = std::fs::read(path).with_context(|| format!("cannot read the program {shown}"))?;
    let footprint = inspect(&shown, &bytes, stack)?;
    Ok((bytes, footprint))
}

/// Checks a program, called `shown` in messages, and says what it takes with a stack of `stack` frames.
///
/// # Errors
/// As [`check`].
pub fn inspect(shown: &str, bytes: &[u8], stack: u32) -> Result<Footprint> {
    let elf = match Elf::parse(bytes) {
        Ok(elf) => elf,
        Err(error) => bail!("{shown} is not a whole ELF file ({error}); delete it and build again"),
    };
    header(shown, &elf)?;
    let mut loads: Vec<(usize, &ProgramHeader)> =
        elf.program_headers.iter().enumerate().filter(|(_, header)| header.p_type == PT_LOAD).collect();
    loads.retain(|(_, load)| load.p_memsz > 0);
    if loads.is_empty() {
        bail!("{shown} holds neither code nor data; its main function must be given to `rt::entry!` or `rt::driver!`");
    }
    for (number, load) in &loads {
        segment(shown, *number, load, bytes.len() as u64)?;
    }
    let size: u64 = loads.iter().map(|(_, load)| load.p_memsz).sum();
    if size > MAX_IMAGE {
        bail!("{shown} is larger than {} MiB in memory; put what is large on the heap", MAX_IMAGE >> 20);
    }
    apart(shown, &loads)?;
    if !loads.iter().any(|(_, load)| load.p_flags & PF_X != 0 && load.vm_range_contains(elf.entry)) {
        bail!(
            "{shown}: the entry point {:#x} is in no executable segment; `_start` must come from `rt::entry!` or `rt::driver!`",
            elf.entry
        );
    }
    note(shown, &elf, bytes)?;
    Ok(footprint(&loads, stack))
}

trait Contains {
    fn vm_range_contains(&self, addr: u64) -> bool;
}

impl Contains for ProgramHeader {
    fn vm_range_contains(&self, addr: u64) -> bool {
        addr >= self.p_vaddr && addr - self.p_vaddr < self.p_memsz
    }
}

fn header(shown: &str, elf: &Elf) -> Result<()> {
    let ident = &elf.header.e_ident;
    if ident[EI_CLASS] != ELFCLASS64 || ident[EI_DATA] != ELFDATA2LSB || elf.header.e_machine != EM_X86_64 {
        bail!("{shown} is not for x86_64; build it with --target x86_64-unknown-none");
    }
    let kinds: Vec<u32> = elf.program_headers.iter().map(|header| header.p_type).collect();
    if kinds.contains(&PT_INTERP) {
        bail!("{shown} is for an operating system with a dynamic linker; build it with --target x86_64-unknown-none");
    }
    if elf.header.e_type == ET_DYN || kinds.contains(&PT_DYNAMIC) {
        bail!(
            "{shown} is position-independent and would have to be relocated; build it with -C relocation-model=static, which the checkout's .cargo/config.toml sets"
        );
    }
    if elf.header.e_type != ET_EXEC {
        bail!("{shown} is an ELF file, but no program; its crate needs a src/main.rs");
    }
    if kinds.contains(&PT_TLS) {
        bail!("{shown} has thread-local variables, which a task cannot have; use a static, or pass the value along");
    }
    Ok(())
}

fn segment(shown: &str, number: usize, load: &ProgramHeader, file_len: u64) -> Result<()> {
    let end = load.p_vaddr.checked_add(load.p_memsz);
    let place =
        format!("{shown}: segment {number} ({:#x}-{:#x})", load.p_vaddr, end.unwrap_or(u64::MAX).wrapping_sub(1));
    if load.p_filesz > load.p_memsz || load.p_offset.checked_add(load.p_filesz).is_none_or(|end| end > file_len) {
        bail!("{place} goes past the end of the file; delete the file and build again");
    }
    if load.p_flags & (PF_W | PF_X) == PF_W | PF_X {
        bail!(
            "{place} is both writable and executable; take the linker script or the link_section attribute out that joins code and data"
        );
    }
    if load.p_flags & PF_R == 0 {
        bail!("{place} is not readable; take the linker script out that makes it so");
    }
    if load.p_vaddr < PROGRAM_BASE || end.is_none_or(|end| end > MAP_BASE) {
        bail!(
            "{place} is not where programs go, {PROGRAM_BASE:#x}-{:#x}; take the linker script or the image base out that puts it there",
            MAP_BASE - 1
        );
    }
    if load.p_memsz > MAX_IMAGE {
        bail!("{place} is larger than {} MiB; put what is large on the heap", MAX_IMAGE >> 20);
    }
    Ok(())
}

/// Whether segments with different permissions keep to pages of their own: one page has one permission.
fn apart(shown: &str, loads: &[(usize, &ProgramHeader)]) -> Result<()> {
    for (position, (number, load)) in loads.iter().enumerate() {
        for (other_number, other) in loads.iter().take(position) {
            let share = |a: u64, b: u64| a / PAGE_SIZE as u64 <= (b - 1) / PAGE_SIZE as u64;
            let (end, other_end) = (load.p_vaddr + load.p_memsz, other.p_vaddr + other.p_memsz);
            if load.p_vaddr < other_end && other.p_vaddr < end {
                bail!(
                    "{shown}: segments {other_number} and {number} overlap; take the linker script out that places them so"
                );
            }
            if load.p_flags != other.p_flags && share(load.p_vaddr, other_end) && share(other.p_vaddr, end) {
                bail!(
                    "{shown}: segments {other_number} and {number} share a page, but not their permissions; link without -z noseparate-code, or align them to {PAGE_SIZE:#x}"
                );
            }
        }
    }
    Ok(())
}

fn note(shown: &str, elf: &Elf, bytes: &[u8]) -> Result<()> {
    // goblin trusts the offsets of notes; a header that points past the end would stop it.
    let within = |header: &&ProgramHeader| {
        header.p_offset.checked_add(header.p_filesz).is_some_and(|end| end <= bytes.len() as u64)
    };
    let found =
        elf.program_headers.iter().filter(|header| header.p_type == PT_NOTE).filter(within).find_map(|header| {
            let content = bytes.get(header.p_offset as usize..(header.p_offset + header.p_filesz) as usize)?;
            abi_hash(content)
        });
    match found {
        Some(ABI_HASH) => Ok(()),
        Some(hash) => bail!(
            "{shown} was built against another ABI ({hash:016x}) than this checkout's ({ABI_HASH:016x}); let its Cargo.toml point to this checkout's `rt`, and build again"
        ),
        None => bail!("{shown} has no ABI note; its main function must be given to `rt::entry!` or `rt::driver!`"),
    }
}

/// The hash in the ABI note among these notes (ELF specification, "Note Section").
fn abi_hash(mut notes: &[u8]) -> Option<u64> {
    loop {
        let word = |at: usize| Some(u32::from_le_bytes(notes.get(at..at + 4)?.try_into().ok()?) as usize);
        let (name_len, desc_len, kind) = (word(0)?, word(4)?, word(8)?);
        let name = notes.get(12..12_usize.checked_add(name_len)?)?;
        let desc_at = 12 + name_len.next_multiple_of(4);
        let desc = notes.get(desc_at..desc_at.checked_add(desc_len)?)?;
        if name.strip_suffix(b"\0") == Some(NOTE_NAME) && kind == NOTE_TYPE_ABI as usize {
            return Some(u64::from_le_bytes(desc.try_into().ok()?));
        }
        notes = notes.get(desc_at + desc_len.next_multiple_of(4)..)?;
    }
}

fn footprint(loads: &[(usize, &ProgramHeader)], stack: u32) -> Footprint {
    let page = PAGE_SIZE as u64;
    let image: BTreeSet<u64> =
        loads.iter().flat_map(|(_, load)| load.p_vaddr / page..=(load.p_vaddr + load.p_memsz - 1) / page).collect();
    let stack_pages = (STACK_TOP / page).saturating_sub(u64::from(stack))..STACK_TOP / page;
    let all: BTreeSet<u64> = image.iter().copied().chain([INFO_ADDR / page]).chain(stack_pages).collect();
    // One table for each run of 512 entries on each level but the top one (Intel SDM vol. 3A, section 4.5), which is one.
    let tables: usize =
        (1..=3).map(|level| all.iter().map(|number| number >> (9 * level)).collect::<BTreeSet<_>>().len()).sum();
    Footprint { image: image.len() as u32, tables: tables as u32 + 1 }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
pub mod tests {
    //! Programs made by hand, each broken in one way.

    use super::*;
    use abi::AbiNote;

    /// A program in the making: an ELF header, program headers, and a page of content for each loaded segment.
    #[derive(Clone)]
    pub struct Program {
        pub kind: u16,
        pub machine: u16,
        pub entry: u64,
        pub segments: Vec<Segment>,
        pub note: Option<AbiNote>,
        pub tail: Vec<u8>,
    }

    #[derive(Clone)]
    pub struct Segment {
        pub kind: u32,
        pub flags: u32,
        pub addr: u64,
        pub memsz: u64,
        pub content: Vec<u8>,
    }

    /// One that is good: code at 0x200000, constants and data on pages of their own, the note.
    pub fn good() -> Program {
        let load = |flags, addr, memsz, content: &[u8]| Segment {
            kind: PT_LOAD,
            flags,
            addr,
            memsz,
            content: content.to_vec(),
        };
        Program {
            kind: ET_EXEC,
            machine: EM_X86_64,
            entry: 0x20_0010,
            segments: vec![
                load(PF_R | PF_X, 0x20_0000, 0x1800, &[0x90; 0x1800]),
                load(PF_R, 0x20_2000, 4, b"text"),
                load(PF_R | PF_W, 0x20_3000, 0x2000, b"data"),
            ],
            note: Some(AbiNote::CURRENT),
            tail: Vec::new(),
        }
    }

    impl Program {
        /// The file, by the ELF-64 object file format, version 1.5.
        pub fn bytes(&self) -> Vec<u8> {
            let count = self.segments.len() + usize::from(self.note.is_some());
            let mut file = vec![0; 64 + 56 * count];
            let mut headers = Vec::new();
            let mut header = |kind: u32, flags: u32, offset: usize, addr: u64, filesz: usize, memsz: u64| {
                headers.extend([kind, flags].iter().flat_map(|word| word.to_le_bytes()));
                let words = [offset as u64, addr, addr, filesz as u64, memsz, 0x1000];
                headers.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            };
            for segment in &self.segments {
                header(segment.kind, segment.flags, file.len(), segment.addr, segment.content.len(), segment.memsz);
                file.extend(&segment.content);
            }
            if let Some(note) = &self.note {
                file.resize(file.len().next_multiple_of(4), 0xAA);
                let mut content: Vec<u8> =
                    [note.name_size, note.desc_size, note.kind].iter().flat_map(|word| word.to_le_bytes()).collect();
                content.extend(note.name);
                content.extend(note.hash);
                header(PT_NOTE, PF_R, file.len(), 0, content.len(), content.len() as u64);
                file.extend(content);
            }
            file.extend(&self.tail);
            file[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
            file[16..18].copy_from_slice(&self.kind.to_le_bytes());
            file[18..20].copy_from_slice(&self.machine.to_le_bytes());
            file[20..24].copy_from_slice(&1_u32.to_le_bytes());
            file[24..32].copy_from_slice(&self.entry.to_le_bytes());
            file[32..40].copy_from_slice(&64_u64.to_le_bytes());
            file[52..58].copy_from_slice(&[64, 0, 56, 0, count as u8, 0]);
            file[64..64 + headers.len()].copy_from_slice(&headers);
            file
        }
    }

    fn said(program: &Program) -> String {
        match inspect("x", &program.bytes(), 16) {
            Ok(footprint) => format!("{footprint:?}"),
            Err(error) => error.to_string(),
        }
    }

    fn broken(how: impl FnOnce(&mut Program)) -> String {
        let mut program = good();
        how(&mut program);
        said(&program)
    }

    #[test]
    fn a_good_program_takes_what_it_takes() {
        // Program, info page and stack are 512 GiB apart, so each has tables of its own on three levels; and the top one.
        assert_eq!(said(&good()), "Footprint { image: 5, tables: 10 }");
    }

    #[test]
    fn what_is_no_task_is_refused() {
        let extra = |kind| Segment { kind, flags: PF_R, addr: 0x20_2000, memsz: 4, content: b"abcd".to_vec() };
        let cases = [
            (broken(|p| p.machine = 183), "is not for x86_64"),
            (broken(|p| p.kind = ET_DYN), "is position-independent"),
            (broken(|p| p.kind = 1), "but no program"),
            (broken(|p| p.segments.push(extra(PT_INTERP))), "with a dynamic linker"),
            (broken(|p| p.segments.push(extra(PT_TLS))), "thread-local variables"),
            (broken(|p| p.segments.clear()), "neither code nor data"),
            (broken(|p| p.segments[0].flags |= PF_W), "segment 0 (0x200000-0x2017ff) is both writable and executable"),
            (broken(|p| p.segments[1].flags = 0), "segment 1 (0x202000-0x202003) is not readable"),
            (
                broken(|p| p.segments[1].addr = 0xFFFF),
                "segment 1 (0xffff-0x10002) is not where programs go, 0x10000-0xfffffffffff",
            ),
            (broken(|p| p.segments[1].addr = 0x1000), "is not where programs go, 0x10000-"),
            (broken(|p| p.segments[1].addr = MAP_BASE - 2), "is not where programs go"),
            (broken(|p| p.segments[1].addr = 0xFFFF_8000_0000_0000), "is not where programs go"),
            (broken(|p| p.segments[1].addr = u64::MAX), "is not where programs go"),
            (broken(|p| p.segments[2].memsz = 1 << 30), "is larger than 16 MiB; put"),
            (
                broken(|p| {
                    p.segments[2].memsz = 9 << 20;
                    p.segments.push(Segment {
                        kind: PT_LOAD,
                        flags: PF_R,
                        addr: 1 << 30,
                        memsz: 8 << 20,
                        content: vec![],
                    });
                }),
                "is larger than 16 MiB in memory",
            ),
            (broken(|p| p.segments[1].memsz = 3), "segment 1 (0x202000-0x202002) goes past the end of the file"),
            (broken(|p| p.segments[1].addr = 0x20_1900), "segments 0 and 1 share a page, but not their permissions"),
            (broken(|p| p.segments[1].addr = 0x20_17FF), "segments 0 and 1 overlap"),
            (broken(|p| p.entry = 0), "the entry point 0x0 is in no executable segment"),
            (broken(|p| p.entry = 0x20_1800), "the entry point 0x201800 is in no executable segment"),
            (broken(|p| p.entry = 0x20_3000), "the entry point 0x203000 is in no executable segment"),
            (broken(|p| p.note = None), "has no ABI note"),
            (broken(|p| p.note = Some(AbiNote { name: *b"Enigmb\0\0", ..AbiNote::CURRENT })), "has no ABI note"),
            (broken(|p| p.note = Some(AbiNote { kind: 2, ..AbiNote::CURRENT })), "has no ABI note"),
            (broken(|p| p.note = Some(AbiNote { desc_size: 99, ..AbiNote::CURRENT })), "has no ABI note"),
            (
                broken(|p| p.note = Some(AbiNote { hash: [1, 0, 0, 0, 0, 0, 0, 0], ..AbiNote::CURRENT })),
                "another ABI (0000000000000001)",
            ),
        ];
        for (number, (said, expected)) in cases.iter().enumerate() {
            assert!(said.starts_with('x') && said.contains(expected), "case {number}: {said}\nexpected: {expected}");
        }
    }

    #[test]
    fn a_dynamic_segment_needs_a_linker() {
        // goblin reads the segment's content, so it has to be one: a single DT_NULL.
        let dynamic = Segment { kind: PT_DYNAMIC, flags: PF_R, addr: 0x20_2000, memsz: 16, content: vec![0; 16] };
        assert!(broken(|p| p.segments.push(dynamic)).contains("would have to be relocated"));
    }

    #[test]
    fn segments_of_one_permission_may_share_a_page() {
        let said = broken(|p| {
            p.segments[1].flags = PF_R | PF_X;
            p.segments[1].addr = 0x20_1900;
        });
        assert!(said.starts_with("Footprint"), "{said}");
    }

    #[test]
    fn no_part_of_a_file_stops_the_check() {
        let whole = good().bytes();
        for len in 0..whole.len() {
            assert!(inspect("x", &whole[..len], 16).is_err(), "cut to {len} bytes");
        }
        // Every byte of the headers set to extremes: an answer is all that is asked for.
        for at in 0..64 + 56 * 4 {
            for value in [0, 0x7F, 0x80, 0xFF] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _ = inspect("x", &bytes, 16);
            }
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = check(Path::new("nowhere/at-all"), 16).expect_err("no such file");
        assert_eq!(error.to_string(), "cannot read the program nowhere/at-all");
    }
}
