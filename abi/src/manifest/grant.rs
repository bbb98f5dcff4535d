//! What a row of the task table grants: one [`Grant`] for each piece of authority, of one [`GrantKind`]. All that is known of a kind stands here:
//! its key in `system.toml`, how many a task may have, which of its values mean something, what it claims of the machine, how it reads.

use super::rules::{bad_name, in_a_hole, is_of_pages};
use crate::{Name, name_from, name_str};
use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Interrupt lines of a machine: those of its two 8259 controllers.
pub const LINES: u8 = 16;

/// What is granted. In a row's list the kinds come in the order of their numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u32)]
pub enum GrantKind {
    /// The endpoint of a peer that the task may call. `base`: the peer's row; without a name it is asked for by that of the peer.
    Peer = 1,
    /// An interrupt line. `base`: the 8259 line; `flags`: the bit that it sets in the task's notification, 0 to 31.
    Irq = 2,
    /// I/O ports. `base`: the first; `len`: how many.
    Ports = 3,
    /// Physical memory of a device, a memory object. `base`, `len`: bytes, whole pages; `flags`: [`Grant::WRITE`], [`Grant::WRITE_COMBINING`].
    Range = 4,
    /// The memory object that outlives the task. Not in the list: [`TaskRecord::keep_frames`](super::TaskRecord::keep_frames).
    Keep = 5,
    /// The boot archive, a read-only memory object. Not in the list: [`TaskRecord::ARCHIVE`](super::TaskRecord::ARCHIVE).
    Archive = 6,
    /// The system handle, with rights CONTROL, INSPECT, LOGS. Not in the list: [`TaskRecord::CONTROL`](super::TaskRecord::CONTROL) and others.
    System = 7,
    /// A task that it may debug, which is to do all that that one can. `base`: its row. No handle.
    Debug = 8,
}

impl GrantKind {
    /// The kinds that a row lists.
    pub const LISTED: [GrantKind; 5] = [Self::Peer, Self::Irq, Self::Ports, Self::Range, Self::Debug];

    /// Those of them that are hardware: a crate from outside has none of it unless somebody agrees.
    pub const HARDWARE: [GrantKind; 3] = [Self::Ports, Self::Irq, Self::Range];

    /// The key in a task's table of `system.toml`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Peer => "calls",
            Self::Irq => "irqs",
            Self::Ports => "ports",
            Self::Range => "ranges",
            Self::Keep => "keep",
            Self::Archive | Self::System => "kernel",
            Self::Debug => "debug",
        }
    }

    /// Most that a task may have.
    pub const fn most(self) -> usize {
        match self {
            Self::Peer | Self::Ports | Self::Debug => 16,
            Self::Irq => 8,
            Self::Range => 4,
            Self::Keep | Self::Archive | Self::System => 1,
        }
    }

    /// Whether the kernel gives the task a handle for it.
    pub const fn has_handle(self) -> bool {
        !matches!(self, Self::Ports | Self::Debug)
    }

    /// Whether the driver asks for it by a name, which it must have then.
    const fn needs_name(self) -> bool {
        matches!(self, Self::Irq | Self::Range)
    }

    /// The kind of this number, if a row can list it.
    pub fn listed(number: u32) -> Option<GrantKind> {
        Self::LISTED.into_iter().find(|kind| *kind as u32 == number)
    }
}

/// One piece of authority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Grant {
    /// The name by which the driver asks for it; zero where it has none.
    pub name: Name,
    /// [`GrantKind`]; 0 where nothing is granted.
    pub kind: u32,
    /// As its kind says.
    pub flags: u32,
    /// As its kind says.
    pub base: u64,
    /// As its kind says.
    pub len: u64,
}

/// What of the machine belongs to one task at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// Interrupt lines.
    Lines,
    /// I/O ports.
    Ports,
    /// Physical addresses.
    Memory,
}

/// A part of a [`Space`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Of what.
    pub space: Space,
    /// The first.
    pub base: u64,
    /// How many.
    pub len: u64,
}

impl Claim {
    /// `len` from `base` on.
    pub const fn new(space: Space, base: u64, len: u64) -> Claim {
        Claim { space, base, len }
    }

    /// Whether the two share something.
    pub fn shares(&self, other: &Claim) -> bool {
        self.space == other.space
            && self.len != 0
            && other.len != 0
            && self.base < other.base.saturating_add(other.len)
            && other.base < self.base.saturating_add(self.len)
    }

    /// The last of them.
    fn last(&self) -> u64 {
        self.base.saturating_add(self.len.saturating_sub(1))
    }
}

/// `0x3f8-0x3ff`, `4`; with `#` the digits are capitals.
impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = self.len <= 1;
        match (self.space, f.alternate()) {
            (Space::Lines, _) => write!(f, "{}", self.base),
            (_, true) if one => write!(f, "{:#X}", self.base),
            (_, false) if one => write!(f, "{:#x}", self.base),
            (_, true) => write!(f, "{:#X}-{:#X}", self.base, self.last()),
            (_, false) => write!(f, "{:#x}-{:#x}", self.base, self.last()),
        }
    }
}

impl Grant {
    /// Of a [`GrantKind::Range`]: may be mapped writable.
    pub const WRITE: u32 = 1;
    /// Of a [`GrantKind::Range`]: mapped write-combining where the processor can; otherwise uncached.
    pub const WRITE_COMBINING: u32 = 2;

    const fn new(kind: GrantKind, name: Name, flags: u32, base: u64, len: u64) -> Grant {
        Grant { name, kind: kind as u32, flags, base, len }
    }

    /// A peer; `name` is empty, or the task's own name for it.
    pub fn peer(name: &str, row: u16) -> Grant {
        Grant::new(GrantKind::Peer, named(name), 0, row.into(), 0)
    }

    /// An interrupt line that sets this bit.
    pub fn irq(name: &str, line: u8, bit: u32) -> Grant {
        Grant::new(GrantKind::Irq, named(name), bit, line.into(), 0)
    }

    /// `len` ports.
    pub fn ports(name: &str, base: u16, len: u32) -> Grant {
        Grant::new(GrantKind::Ports, named(name), 0, base.into(), len.into())
    }

    /// `len` bytes of physical memory, with [`Grant::WRITE`] and [`Grant::WRITE_COMBINING`].
    pub fn range(name: &str, base: u64, len: u64, flags: u32) -> Grant {
        Grant::new(GrantKind::Range, named(name), flags, base, len)
    }

    /// A task to debug.
    pub const fn debug(row: u16) -> Grant {
        Grant::new(GrantKind::Debug, [0; crate::NAME_LEN], 0, row as u64, 0)
    }

    /// What it is; `None` where nothing is granted.
    pub fn kind(&self) -> Option<GrantKind> {
        GrantKind::listed(self.kind)
    }

    /// The row that it names, of a peer or a task to debug.
    pub fn row(&self) -> Option<u16> {
        let names_one = self.kind == GrantKind::Peer as u32 || self.kind == GrantKind::Debug as u32;
        u16::try_from(self.base).ok().filter(|_| names_one)
    }

    /// The set of the notification bit that an interrupt line sets; 0 for what is none.
    pub fn bits(&self) -> u64 {
        if self.kind == GrantKind::Irq as u32 { 1_u64.checked_shl(self.flags).unwrap_or(0) } else { 0 }
    }

    /// What it claims of the machine, which no other task may have then.
    pub fn claim(&self) -> Option<Claim> {
        let (space, len) = match self.kind()? {
            GrantKind::Irq => (Space::Lines, 1),
            GrantKind::Ports => (Space::Ports, self.len),
            GrantKind::Range => (Space::Memory, self.len),
            _ => return None,
        };
        Some(Claim::new(space, self.base, len))
    }

    /// Whether the two claim something of the machine that both would have.
    pub fn shares(&self, other: &Grant) -> bool {
        matches!((self.claim(), other.claim()), (Some(own), Some(others)) if own.shares(&others))
    }

    /// What is wrong with its values, in row `row` of a table of `rows`. Whether the kernel or another task has it already is not looked at.
    pub(super) fn wrong(&self, row: usize, rows: usize) -> Option<&'static str> {
        let Some(kind) = self.kind() else { return Some("a grant is of no kind that there is") };
        let named = self.name != Name::default();
        let proper = bad_name(name_str(&self.name)).is_none() && name_from(name_str(&self.name)) == Some(self.name);
        if (named && !proper) || (!named && kind.needs_name()) {
            return Some("a line, a range or ports have no proper name, or that of another");
        }
        let (base, len, flags) = (self.base, self.len, self.flags);
        let other_row = base < rows as u64 && base != row as u64;
        let claim = Claim::new(Space::Memory, base, len);
        let (good, wrong) = match kind {
            GrantKind::Peer => (other_row, "a peer is not a row of the table, or the task itself, or named twice"),
            GrantKind::Debug => (other_row, "a task to be debugged is not a row of the table, or the task itself"),
            GrantKind::Irq => (
                base < LINES.into() && flags <= 31,
                "an interrupt line or bit is out of range, or a bit is given twice",
            ),
            GrantKind::Ports => (
                len != 0 && base.checked_add(len).is_some_and(|end| end <= 0x1_0000),
                "a port range ends beyond the last port, or is empty",
            ),
            GrantKind::Range => (
                is_of_pages(&claim) && in_a_hole(&claim),
                "a physical range is not made of whole pages, or out of range: where RAM may be",
            ),
            GrantKind::Keep | GrantKind::Archive | GrantKind::System => (false, "a grant is of no kind that there is"),
        };
        if !good {
            return Some(wrong);
        }
        let meant = match kind {
            GrantKind::Range => flags & !(Grant::WRITE | Grant::WRITE_COMBINING) == 0,
            GrantKind::Irq => len == 0,
            GrantKind::Ports => flags == 0,
            GrantKind::Peer => len == 0 && flags == 0,
            _ => len == 0 && flags == 0 && !named,
        };
        (!meant).then_some("something is set that has no meaning")
    }
}

/// A name that is known to fit; else none.
fn named(name: &str) -> Name {
    name_from(name).unwrap_or_default()
}

/// `uart = 0x3f8-0x3ff (8)`, `rx = line 4 (bit 0)`, `text = 0xb8000-0xbffff (32 KiB, writable)`: for whoever has said which kind it is. With `#` as a
/// person would ask for it: `ports 0x3F8-0x3FF (uart)`, `line 4 (rx)`, `range 0xB8000-0xBFFFF (text)`, `range 0xF0000-0xFFFFF (rom, read-only)`.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name == Name::default() { "" } else { name_str(&self.name) };
        let Some(claim) = self.claim() else {
            return match self.row() {
                Some(row) => write!(f, "row {row}"),
                None => f.write_str(self.kind().map_or("nothing", GrantKind::key)),
            };
        };
        let word = match claim.space {
            Space::Lines => "line",
            Space::Ports => "ports",
            Space::Memory => "range",
        };
        if f.alternate() {
            let memory = claim.space == Space::Memory;
            let what = if memory && self.flags & Grant::WRITE == 0 { ", read-only" } else { "" };
            write!(f, "{word} {claim:#}")?;
            return if name.is_empty() { Ok(()) } else { write!(f, " ({name}{what})") };
        }
        if !name.is_empty() {
            write!(f, "{name} = ")?;
        }
        match claim.space {
            Space::Lines => write!(f, "line {claim} (bit {})", self.flags),
            Space::Ports => write!(f, "{:#x}-{:#x} ({})", claim.base, claim.last(), claim.len),
            Space::Memory => {
                let access = if self.flags & Grant::WRITE != 0 { "writable" } else { "read-only" };
                let combining = if self.flags & Grant::WRITE_COMBINING != 0 { ", write-combining" } else { "" };
                let (size, unit) =
                    if claim.len.is_multiple_of(1 << 20) { (claim.len >> 20, "MiB") } else { (claim.len >> 10, "KiB") };
                write!(f, "{claim} ({size} {unit}, {access}{combining})")
            }
        }
    }
}
