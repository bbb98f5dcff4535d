//! Grants: a row of the task table has one [`Grant`], of some [`GrantKind`], for each piece of
//! authority. Everything about a kind is defined here: its key in `system.toml`, how many a task
//! may have, which of its values have a meaning, what it claims of the machine, and its text form.

use super::rules::{bad_name, in_a_hole, is_of_pages};
use crate::message::Kind;
use crate::{Name, name_from, name_str};
use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The number of interrupt lines of a PC, which begin with 0.
pub const LINES: u8 = 16;

/// The kind of a grant. In a row's list the kinds are in ascending order of their numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u32)]
pub enum GrantKind {
    /// The endpoint of a peer that the task may call. `base`: the peer's row. A grant without a
    /// name is found by the peer's own name.
    Peer = 1,
    /// An interrupt line. `base`: the number of the line; `flags`: the number of the bit that
    /// it sets in the task's notification, 0 to 31.
    Irq = 2,
    /// I/O ports. `base`: the first; `len`: their number.
    Ports = 3,
    /// The physical memory of a device, as a memory object. `base`, `len`: bytes, multiples of the
    /// page size; `flags`: [`Grant::WRITE`], [`Grant::WRITE_COMBINING`].
    Range = 4,
    /// The kept memory, which outlives the task, as a memory object. Not in the list: see
    /// [`TaskRecord::keep_frames`](super::TaskRecord::keep_frames).
    Keep = 5,
    /// The boot archive, as a read-only memory object. Not in the list: see
    /// [`TaskRecord::ARCHIVE`](super::TaskRecord::ARCHIVE).
    Archive = 6,
    /// The system handle, with rights CONTROL, INSPECT, LOGS. Not in the list: see
    /// [`TaskRecord::CONTROL`](super::TaskRecord::CONTROL) and the flags after it.
    System = 7,
    /// A task that the task may debug, and so do all that that task can. `base`: its row. There is
    /// no handle.
    Debug = 8,
}

impl GrantKind {
    /// The kinds that a row's list may have.
    pub const LISTED: [GrantKind; 5] = [Self::Peer, Self::Irq, Self::Ports, Self::Range, Self::Debug];

    /// The listed kinds that are hardware: a crate from outside gets none of them without consent.
    pub const HARDWARE: [GrantKind; 3] = [Self::Ports, Self::Irq, Self::Range];

    /// The key of this kind in a task's table of `system.toml`.
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

    /// The most grants of this kind that a task may have.
    pub const fn most(self) -> usize {
        match self {
            Self::Peer | Self::Ports | Self::Debug => 16,
            Self::Irq => 8,
            Self::Range => 4,
            Self::Keep | Self::Archive | Self::System => 1,
        }
    }

    /// The kind of object to which the task gets a handle for a grant of this kind; `None` if it
    /// gets none.
    pub const fn object(self) -> Option<Kind> {
        match self {
            Self::Peer => Some(Kind::Endpoint),
            Self::Irq => Some(Kind::Interrupt),
            Self::Range | Self::Keep | Self::Archive => Some(Kind::Memory),
            Self::System => Some(Kind::System),
            Self::Ports | Self::Debug => None,
        }
    }

    /// Whether the task gets a handle for a grant of this kind.
    pub const fn has_handle(self) -> bool {
        self.object().is_some()
    }

    /// Whether a grant of this kind must have a name, by which the driver asks for it.
    const fn needs_name(self) -> bool {
        matches!(self, Self::Irq | Self::Range)
    }

    /// The kind with this number.
    pub fn of(number: u32) -> Option<GrantKind> {
        Self::LISTED.into_iter().chain([Self::Keep, Self::Archive, Self::System]).find(|kind| *kind as u32 == number)
    }

    /// The kind with this number, if a row's list may have it.
    pub fn listed(number: u32) -> Option<GrantKind> {
        Self::LISTED.into_iter().find(|kind| *kind as u32 == number)
    }
}

/// One piece of authority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Grant {
    /// The name by which the driver asks for it; zeros if it has none.
    pub name: Name,
    /// The kind, a [`GrantKind`]; 0 if nothing is granted.
    pub kind: u32,
    /// A value whose meaning depends on the kind: see [`GrantKind`].
    pub flags: u32,
    /// A value whose meaning depends on the kind: see [`GrantKind`].
    pub base: u64,
    /// A value whose meaning depends on the kind: see [`GrantKind`].
    pub len: u64,
}

/// A resource of the machine whose parts each belong to at most one task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// Interrupt lines.
    Lines,
    /// I/O ports.
    Ports,
    /// Physical addresses.
    Memory,
}

impl Space {
    /// What a part of it is called.
    pub const fn word(self) -> &'static str {
        match self {
            Space::Lines => "line",
            Space::Ports => "ports",
            Space::Memory => "range",
        }
    }
}

/// A part of a [`Space`]: a range of its numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The resource.
    pub space: Space,
    /// The first number.
    pub base: u64,
    /// How many numbers.
    pub len: u64,
}

impl Claim {
    /// The claim of `len` numbers of `space`, from `base` on.
    pub const fn new(space: Space, base: u64, len: u64) -> Claim {
        Claim { space, base, len }
    }

    /// Whether two claims overlap.
    pub fn shares(&self, other: &Claim) -> bool {
        self.space == other.space
            && self.len != 0
            && other.len != 0
            && self.base < other.base.saturating_add(other.len)
            && other.base < self.base.saturating_add(self.len)
    }

    /// The last number of the claim.
    fn last(&self) -> u64 {
        self.base.saturating_add(self.len.saturating_sub(1))
    }
}

/// Writes a claim as `0x3f8-0x3ff` or `4`; with `#` the digits are uppercase.
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
    /// Flag of a [`GrantKind::Range`]: the range may be mapped writable.
    pub const WRITE: u32 = 1;
    /// Flag of a [`GrantKind::Range`]: the range is mapped write-combining if the processor
    /// supports it, otherwise uncached.
    pub const WRITE_COMBINING: u32 = 2;

    const fn new(kind: GrantKind, name: Name, flags: u32, base: u64, len: u64) -> Grant {
        Grant { name, kind: kind as u32, flags, base, len }
    }

    /// A grant of a peer; `name` is empty, or the task's own name for the peer.
    pub fn peer(name: &str, row: u16) -> Grant {
        Grant::new(GrantKind::Peer, named(name), 0, row.into(), 0)
    }

    /// A grant of an interrupt line that sets the notification bit number `bit`.
    pub fn irq(name: &str, line: u8, bit: u32) -> Grant {
        Grant::new(GrantKind::Irq, named(name), bit, line.into(), 0)
    }

    /// A grant of `len` ports.
    pub fn ports(name: &str, base: u16, len: u32) -> Grant {
        Grant::new(GrantKind::Ports, named(name), 0, base.into(), len.into())
    }

    /// A grant of `len` bytes of physical memory at `base`; `flags` are [`Grant::WRITE`] and
    /// [`Grant::WRITE_COMBINING`].
    pub fn range(name: &str, base: u64, len: u64, flags: u32) -> Grant {
        Grant::new(GrantKind::Range, named(name), flags, base, len)
    }

    /// A grant to debug the task in this row.
    pub const fn debug(row: u16) -> Grant {
        Grant::new(GrantKind::Debug, [0; crate::NAME_LEN], 0, row as u64, 0)
    }

    /// The kind of the grant; `None` if nothing is granted.
    pub fn kind(&self) -> Option<GrantKind> {
        GrantKind::listed(self.kind)
    }

    /// The row of a peer, or of a task to debug.
    pub fn row(&self) -> Option<u16> {
        let names_one = self.kind == GrantKind::Peer as u32 || self.kind == GrantKind::Debug as u32;
        u16::try_from(self.base).ok().filter(|_| names_one)
    }

    /// The set with the notification bit of an interrupt line; 0 for other kinds.
    pub fn bits(&self) -> u64 {
        if self.kind == GrantKind::Irq as u32 { 1_u64.checked_shl(self.flags).unwrap_or(0) } else { 0 }
    }

    /// What the grant claims of the machine, which no other task may have.
    pub fn claim(&self) -> Option<Claim> {
        let (space, len) = match self.kind()? {
            GrantKind::Irq => (Space::Lines, 1),
            GrantKind::Ports => (Space::Ports, self.len),
            GrantKind::Range => (Space::Memory, self.len),
            _ => return None,
        };
        Some(Claim::new(space, self.base, len))
    }

    /// Whether two grants claim the same part of the machine.
    pub fn shares(&self, other: &Grant) -> bool {
        matches!((self.claim(), other.claim()), (Some(own), Some(others)) if own.shares(&others))
    }

    /// The reason why the values are invalid, in row `row` of a table of `rows` rows. Conflicts
    /// with the kernel or another task are checked elsewhere.
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

/// A name that the caller knows to fit; the empty name if it does not.
fn named(name: &str) -> Name {
    name_from(name).unwrap_or_default()
}

/// Writes a grant as `uart = 0x3f8-0x3ff (8)`, `rx = line 4 (bit 0)` or
/// `text = 0xb8000-0xbffff (32 KiB, writable)`, for use after the name of its kind. With `#` it
/// writes a grant in the form in which a person asks for it: `ports 0x3F8-0x3FF (uart)`,
/// `line 4 (rx)`, `range 0xB8000-0xBFFFF (text)`, `range 0xF0000-0xFFFFF (rom, read-only)`.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name == Name::default() { "" } else { name_str(&self.name) };
        let Some(claim) = self.claim() else {
            return match self.row() {
                Some(row) => write!(f, "row {row}"),
                None => f.write_str(self.kind().map_or("nothing", GrantKind::key)),
            };
        };
        let word = claim.space.word();
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
