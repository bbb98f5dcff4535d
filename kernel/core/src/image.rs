//! Program images: which ELF files are accepted, and where their segments are loaded.
//!
//! `xmas-elf` reads the headers but panics on malformed input, so all that it takes for granted is
//! checked first (ELF-64 Object File Format, version 1.5; System V ABI, AMD64 supplement).

use abi::AbiNote;
use abi::task::{MAP_BASE, PROGRAM_BASE};
use xmas_elf::ElfFile;
use xmas_elf::header::{Data, Machine, Type as FileType};
use xmas_elf::program::{ProgramHeader, Type};
use zerocopy::little_endian::U32;

/// The most loadable segments of a program.
pub const MAX_SEGMENTS: usize = 8;

const PAGE: u64 = abi::PAGE_SIZE as u64;
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// Why a program is refused. The number is the reason of a failed load that `task_spawn` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum ImageError {
    /// The boot archive has no such file.
    Missing = 1,
    /// The file is shorter than its headers say.
    Truncated = 2,
    /// The file is not a little-endian 64-bit ELF for x86_64.
    NotElf = 3,
    /// The file is not a statically linked executable at fixed addresses.
    NotStatic = 4,
    /// The file has more than [`MAX_SEGMENTS`] loadable segments, or none.
    Segments = 5,
    /// The file part of a segment is longer than its memory, or lies outside the file.
    FileRange = 6,
    /// A segment lies outside the addresses for programs, [`PROGRAM_BASE`] to [`MAP_BASE`].
    OutOfRange = 7,
    /// A segment's file offset and address differ within a page.
    Misaligned = 8,
    /// Two segments share a page.
    Overlap = 9,
    /// A segment is both writable and executable.
    WriteExecute = 10,
    /// The entry point is not in an executable segment.
    Entry = 11,
    /// The file has no ABI note, so it was not linked with the runtime.
    NoNote = 12,
    /// The program was built against another version of the ABI.
    OtherAbi = 13,
}

impl ImageError {
    /// The reason as a sentence for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Missing => "the boot archive has no such program",
            Self::Truncated => "the program file is shorter than its headers say",
            Self::NotElf => "not a little-endian 64-bit ELF for x86_64",
            Self::NotStatic => "not a static executable at fixed addresses",
            Self::Segments => "no loadable segment, or too many",
            Self::FileRange => "a segment lies outside the file or is longer there than in memory",
            Self::OutOfRange => "a segment lies outside the addresses for programs, 0x10000 to 0xfffffffffff",
            Self::Misaligned => "a segment's file offset and address differ within a page",
            Self::Overlap => "two segments share a page",
            Self::WriteExecute => "a segment is both writable and executable",
            Self::Entry => "the entry point is not in an executable segment",
            Self::NoNote => "it carries no ABI note: link it with the rt crate",
            Self::OtherAbi => "it was built against another ABI: rebuild it",
        }
    }
}

/// A loadable segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// The first address.
    pub addr: u64,
    /// The size in memory in bytes; what the file does not fill is zero.
    pub size: u64,
    /// The offset in the file of the first byte.
    pub offset: usize,
    /// The number of bytes in the file.
    pub filled: usize,
    /// Whether the segment is mapped writable.
    pub writable: bool,
    /// Whether the segment is mapped executable.
    pub executable: bool,
}

impl Segment {
    /// The address of the segment's first page.
    pub fn first_page(&self) -> u64 {
        self.addr & !(PAGE - 1)
    }

    /// The address after the segment's last page.
    pub fn end_page(&self) -> u64 {
        (self.addr + self.size).next_multiple_of(PAGE)
    }
}

/// A program that may be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// The address of the first instruction.
    pub entry: u64,
    segments: [Segment; MAX_SEGMENTS],
    count: usize,
}

impl Image {
    /// The segments, in ascending order of their addresses.
    pub fn segments(&self) -> &[Segment] {
        self.segments.get(..self.count).unwrap_or_default()
    }

    /// The number of pages of all segments together.
    pub fn pages(&self) -> u64 {
        self.segments().iter().map(|s| (s.end_page() - s.first_page()) / PAGE).sum()
    }

    /// Checks a program file, which must be aligned to 8 bytes in memory.
    pub fn parse(file: &[u8]) -> Result<Image, ImageError> {
        let elf = open(file)?;
        let mut image = Image { entry: elf.header.pt2.entry_point(), segments: Default::default(), count: 0 };
        let mut note = Err(ImageError::NoNote);
        for header in elf.program_iter() {
            let ProgramHeader::Ph64(p) = header else { return Err(ImageError::NotElf) };
            match header.get_type() {
                Ok(Type::Load) if p.mem_size == 0 => {}
                Ok(Type::Load) => {
                    let (offset, filled) = file_part(file, p.offset, p.file_size)?;
                    let segment = Segment {
                        addr: p.virtual_addr,
                        size: p.mem_size,
                        offset,
                        filled,
                        writable: p.flags.is_write(),
                        executable: p.flags.is_execute(),
                    };
                    image.add(segment)?;
                }
                Ok(Type::Interp | Type::Dynamic | Type::Tls) => return Err(ImageError::NotStatic),
                Ok(Type::Note) => {
                    let (offset, len) = file_part(file, p.offset, p.file_size)?;
                    note = note.or_else(|_| abi_note(file.get(offset..offset + len).unwrap_or_default()));
                }
                _ => {}
            }
        }
        note?;
        if image.count == 0 {
            return Err(ImageError::Segments);
        }
        let runs = |s: &Segment| s.executable && (s.addr..s.addr + s.size).contains(&image.entry);
        if !image.segments().iter().any(runs) {
            return Err(ImageError::Entry);
        }
        Ok(image)
    }

    fn add(&mut self, s: Segment) -> Result<(), ImageError> {
        if s.filled as u64 > s.size {
            return Err(ImageError::FileRange);
        }
        if s.writable && s.executable {
            return Err(ImageError::WriteExecute);
        }
        if s.addr < PROGRAM_BASE || s.addr.checked_add(s.size).is_none_or(|end| end > MAP_BASE) {
            return Err(ImageError::OutOfRange);
        }
        if s.filled != 0 && s.addr % PAGE != s.offset as u64 % PAGE {
            return Err(ImageError::Misaligned);
        }
        if self.segments().last().is_some_and(|last| s.first_page() < last.end_page()) {
            // The specification requires segments in ascending order of addresses, so the last one
            // is the only neighbour.
            return Err(ImageError::Overlap);
        }
        *self.segments.get_mut(self.count).ok_or(ImageError::Segments)? = s;
        self.count += 1;
        Ok(())
    }
}

/// Opens a file, after checking everything that `xmas-elf` would assert.
fn open(file: &[u8]) -> Result<ElfFile<'_>, ImageError> {
    let header = file.first_chunk::<HEADER>().ok_or(ImageError::Truncated)?;
    if !file.as_ptr().addr().is_multiple_of(8) || !header.starts_with(b"\x7fELF\x02") {
        return Err(ImageError::NotElf);
    }
    let half = |low, high| usize::from(u16::from_le_bytes([low, high]));
    let (entry_size, count) = (half(header[54], header[55]), half(header[56], header[57]));
    let mut offset = [0; 8];
    offset.copy_from_slice(&header[32..40]);
    let offset = usize::try_from(u64::from_le_bytes(offset)).map_err(|_| ImageError::Truncated)?;
    if count == 0 {
        return Err(ImageError::Segments);
    }
    if entry_size != PROGRAM_HEADER || offset < HEADER || !offset.is_multiple_of(8) {
        return Err(ImageError::NotElf);
    }
    if offset.checked_add(count * PROGRAM_HEADER).is_none_or(|end| end > file.len()) {
        return Err(ImageError::Truncated);
    }
    let elf = ElfFile::new(file).map_err(|_| ImageError::NotElf)?;
    if elf.header.pt1.data() != Data::LittleEndian || elf.header.pt2.machine().as_machine() != Machine::X86_64 {
        return Err(ImageError::NotElf);
    }
    if elf.header.pt2.type_().as_type() != FileType::Executable {
        return Err(ImageError::NotStatic);
    }
    Ok(elf)
}

fn file_part(file: &[u8], offset: u64, len: u64) -> Result<(usize, usize), ImageError> {
    // Linkers may name an offset behind the end of the file where the length is 0.
    if len == 0 {
        return Ok((0, 0));
    }
    let end = offset.checked_add(len).ok_or(ImageError::FileRange)?;
    if end > file.len() as u64 {
        return Err(ImageError::FileRange);
    }
    Ok((offset as usize, len as usize))
}

/// Checks that the notes of a segment contain the ABI note of this kernel's ABI.
fn abi_note(mut notes: &[u8]) -> Result<(), ImageError> {
    let current = AbiNote::CURRENT;
    while let Some((head, rest)) = notes.split_first_chunk::<12>() {
        let words: [U32; 3] = zerocopy::transmute!(*head);
        let [name_len, desc_len, kind] = words.map(U32::get);
        let name_room = (name_len as usize).checked_next_multiple_of(4).ok_or(ImageError::Truncated)?;
        let desc_room = (desc_len as usize).checked_next_multiple_of(4).ok_or(ImageError::Truncated)?;
        let name = rest.get(..name_room).ok_or(ImageError::Truncated)?;
        let desc = rest.get(name_room..).and_then(|r| r.get(..desc_room)).ok_or(ImageError::Truncated)?;
        if name == current.name && name_len == current.name_size && kind == current.kind {
            return if desc == current.hash { Ok(()) } else { Err(ImageError::OtherAbi) };
        }
        notes = rest.get(name_room + desc_room..).unwrap_or_default();
    }
    Err(ImageError::NoNote)
}
