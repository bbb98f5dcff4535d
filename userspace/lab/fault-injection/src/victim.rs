//! A driver, and how faults are done to it.

use abi::manifest::GrantKind;
use abi::syscall::{INTERRUPT_AGAIN, INTERRUPT_DROP, PORT_WRITE};
use abi::task::{INFO_ADDR, MAP_BASE, Registers, STACK_TOP, TaskState, USER_END};
use abi::{PAGE_SIZE, Status, TaskId};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use fault_injection::fault::{Kind, PAYLOAD_MAX};
use fault_injection::{Driver, Random};
use rt::archive::Archive;
use rt::syscall as sys;
use supervisor::Supervisor;

/// Pages from [`MAP_BASE`] on in which mapped memory is looked for: more than any driver has.
const MAPPED_PAGES: u64 = 160;

/// Permissions of a program segment (ELF-64 object file format, version 1.5): executable, writable.
const EXECUTABLE: u32 = 1;

/// A driver that faults are done to.
pub struct Victim {
    pub driver: Driver,
    pub row: usize,
    text: Range<u64>,
    data: Vec<Range<u64>>,
    /// Where its text segment has bytes that are mapped and not used.
    gap: u64,
    interrupt: Option<u32>,
    keep_pages: u64,
}

/// What was done.
pub struct Done {
    pub kind: Kind,
    /// Where, for people.
    pub detail: String,
}

/// Why nothing was done now.
pub enum NotDone {
    /// There is no life to do it to.
    Dead,
    /// The place that the seed chose cannot be reached.
    Unreachable,
}

impl From<Status> for NotDone {
    fn from(status: Status) -> NotDone {
        if status == Status::NoSuchTask { NotDone::Dead } else { NotDone::Unreachable }
    }
}

impl Victim {
    /// The driver, from the boot archive.
    pub fn new(driver: Driver, archive: &Archive) -> Option<Victim> {
        let row = archive.find(driver.name())?;
        let record = archive.tasks().get(row)?;
        let segments = segments(archive.file(&format!("bin/{}", driver.name()))?)?;
        let (text, data): (Vec<_>, Vec<_>) = segments.into_iter().partition(|(_, flags)| flags & EXECUTABLE != 0);
        let text = text.first()?.0.clone();
        let page = PAGE_SIZE as u64;
        let before = text.start % page;
        let after = text.end.next_multiple_of(page) - text.end;
        let gap = if before > after { text.start - before } else { text.end.next_multiple_of(8) };
        if before.max(after) < PAYLOAD_MAX as u64 + 8 {
            return None;
        }
        let interrupt = record.of(GrantKind::Irq).next().map(|irq| irq.flags);
        let data = data.into_iter().map(|(range, _)| range).collect();
        Some(Victim { driver, row, text, data, gap, interrupt, keep_pages: record.keep_frames.into() })
    }

    /// The life that runs now, and whether it waits.
    pub fn life(&self) -> Option<(TaskId, bool)> {
        let status = rt::task::status(self.row).ok()?;
        let runs = TaskState::from_u32(status.state) == Some(TaskState::Running);
        runs.then(|| (TaskId::from_u32(status.id), status.activity == abi::task::Activity::Waiting as u32))
    }

    /// Does something to the life `id`.
    pub fn inject(&self, id: TaskId, kind: Kind, random: &mut Random, boss: Supervisor) -> Result<Done, NotDone> {
        let (kind, detail) = match kind {
            Kind::CodeFlip => (kind, self.flip(id, self.text.clone(), random)?),
            Kind::DataFlip => (kind, self.flip(id, self.some_data(id, random)?, random)?),
            Kind::KeepFlip => match self.keep(id) {
                Some(keep) => (kind, self.flip(id, keep, random)?),
                // So early in its life that it has not mapped it.
                None => (Kind::DataFlip, self.flip(id, self.some_data(id, random)?, random)?),
            },
            Kind::WildRegister => (kind, self.wild_register(id, random)?),
            Kind::InterruptDropped => (kind, self.interrupt(id, INTERRUPT_DROP)?),
            Kind::InterruptDoubled => (kind, self.interrupt(id, INTERRUPT_AGAIN)?),
            Kind::Kill => {
                boss.kill(id).map_err(|_| NotDone::Dead)?;
                (kind, String::new())
            }
            Kind::Hang | Kind::Loop | Kind::Deaf | Kind::Hoard | Kind::Flood => (kind, self.payload(id, kind)?),
        };
        Ok(Done { kind, detail })
    }

    /// Types a scan code, where the controller has room for it: command D2h, "write keyboard output buffer" (IBM PS/2 Hardware Interface
    /// Technical Reference, "Keyboard and Auxiliary Device Controller"). `None` where it has not, or there is nobody to do it as.
    pub fn type_code(&self, id: TaskId, code: u8) -> Option<()> {
        const BUSY: u32 = 3;
        let status = sys::debug_port(id, 0x64, 1, 0).ok()?;
        if status & BUSY != 0 {
            return None;
        }
        sys::debug_port(id, 0x64, 1 | PORT_WRITE, 0xd2).ok()?;
        sys::debug_port(id, 0x60, 1 | PORT_WRITE, code.into()).ok()?;
        Some(())
    }

    fn flip(&self, id: TaskId, place: Range<u64>, random: &mut Random) -> Result<String, NotDone> {
        let addr = place.start + random.below(place.end - place.start);
        let bits = 1 + random.below(4) * random.below(2);
        let mut byte = [0];
        sys::debug_read(id, addr, &mut byte)?;
        let before = byte[0];
        (0..bits).for_each(|_| byte[0] ^= 1 << random.below(8));
        sys::debug_write(id, addr, &byte)?;
        Ok(format!("{addr:#x} {before:#04x}->{:#04x}", byte[0]))
    }

    /// Its variables and constants, the used part of its stack, its heap, the page that says who it is: one of these.
    fn some_data(&self, id: TaskId, random: &mut Random) -> Result<Range<u64>, NotDone> {
        let mut places = self.data.clone();
        let rsp = sys::debug_registers(id)?.rsp;
        if (STACK_TOP - (1 << 20)..STACK_TOP).contains(&rsp) {
            // Twice: that is where most of what it works with is.
            places.extend([rsp..STACK_TOP, rsp..STACK_TOP]);
        }
        places.push(INFO_ADDR..INFO_ADDR + 512);
        let keep = self.keep(id).unwrap_or_default();
        let heap: Vec<u64> = self.mapped(id).filter(|page| !keep.contains(page)).collect();
        if let Some(&page) = random.pick(&heap) {
            places.extend([page..page + PAGE_SIZE as u64, page..page + PAGE_SIZE as u64]);
        }
        places.retain(|place| !place.is_empty());
        random.pick(&places).cloned().ok_or(NotDone::Dead)
    }

    /// Pages of memory objects that it has mapped, but those of devices, which cannot be reached.
    fn mapped(&self, id: TaskId) -> impl Iterator<Item = u64> {
        let pages = (0..MAPPED_PAGES).map(|page| MAP_BASE + page * PAGE_SIZE as u64);
        pages.filter(move |&page| sys::debug_read(id, page, &mut [0; 4]).is_ok())
    }

    /// The memory that outlives it, known by its first word.
    fn keep(&self, id: TaskId) -> Option<Range<u64>> {
        let start = self.mapped(id).find(|&page| {
            let mut word = [0; 8];
            sys::debug_read(id, page, &mut word).is_ok() && self.is_keep(u64::from_le_bytes(word))
        })?;
        Some(start..start + self.keep_pages * PAGE_SIZE as u64)
    }

    fn is_keep(&self, word: u64) -> bool {
        match self.driver {
            Driver::Serial => driver_serial::keep::Keep::is_stamp(word),
            Driver::Keyboard => driver_keyboard::keep::Keep::is_stamp(word),
            Driver::Vga => driver_vga::keep::Keep::is_stamp(word),
        }
    }

    fn wild_register(&self, id: TaskId, random: &mut Random) -> Result<String, NotDone> {
        let mut registers = sys::debug_registers(id)?;
        let number = random.below(17) as usize;
        let Registers { general, rip, rsp, .. } = &mut registers;
        let place = match number {
            15 => rip,
            16 => rsp,
            _ => &mut general[number],
        };
        let before = *place;
        *place = match random.below(6) {
            0 => random.next(),
            1 => random.below(256),
            2 => before ^ 1 << random.below(64),
            3 => before.wrapping_add(random.below(4096)).wrapping_sub(2048),
            4 => self.text.start + random.below(self.text.end - self.text.start),
            _ => STACK_TOP - random.below(1 << 12),
        };
        if number >= 15 {
            // No task can have others.
            *place %= USER_END;
        }
        let after = *place;
        sys::debug_set_registers(id, &registers)?;
        const NAMES: [&str; 17] = [
            "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
            "rip", "rsp",
        ];
        Ok(format!("{} {before:#x}->{after:#x}", NAMES[number]))
    }

    fn interrupt(&self, id: TaskId, what: u64) -> Result<String, NotDone> {
        let bit = self.interrupt.ok_or(NotDone::Unreachable)?;
        sys::debug_interrupt(id, bit, what)?;
        Ok(String::new())
    }

    /// Has it run a piece of code, wherever it is.
    fn payload(&self, id: TaskId, kind: Kind) -> Result<String, NotDone> {
        let registers = sys::debug_registers(id)?;
        let code = kind.payload(registers.rip).unwrap_or_default();
        sys::debug_write(id, self.gap, &code)?;
        sys::debug_set_registers(id, &Registers { rip: self.gap, ..registers })?;
        Ok(format!("at {:#x}", registers.rip))
    }
}

/// The segments of a program that are loaded: where, and their flags. ELF-64 object file format, version 1.5.
fn segments(file: &[u8]) -> Option<Vec<(Range<u64>, u32)>> {
    const LOAD: u64 = 1;
    let number = |at: usize, len: usize| -> Option<u64> {
        let bytes = file.get(at..at.checked_add(len)?)?;
        Some(bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    };
    let (table, size, count) = (number(32, 8)? as usize, number(54, 2)? as usize, number(56, 2)? as usize);
    let mut found = Vec::new();
    for at in (0..count).map(|i| table + i * size) {
        if number(at, 4)? == LOAD {
            let start = number(at + 16, 8)?;
            found.push((start..start + number(at + 40, 8)?, number(at + 4, 4)? as u32));
        }
    }
    Some(found)
}
