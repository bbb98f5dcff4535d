//! The loader, which starts a task from its row of the task table and its program in the boot
//! archive.

use crate::arch::gdt::{USER_CODE, USER_DATA};
use crate::arch::paging::{self, UserFlags};
use crate::arch::ram::Ram;
use crate::kernel::Kernel;
use crate::trap;
use abi::error::DeathKind;
use abi::info::{ARG_LEN, Entry, INFO_MAGIC, MAX_ENTRIES, TaskInfo};
use abi::manifest::{Grant, GrantKind, MAX_GRANTS, TaskRecord};
use abi::message::Rights;
use abi::task::{INFO_ADDR, STACK_TOP};
use abi::{Name, PAGE_SIZE, Status, TaskId};
use alloc::vec::Vec;
use core::mem::offset_of;
use core::ops::Range;
use kernel_core::Row;
use kernel_core::addr::{PhysAddr, TableRoot, UserAddr};
use kernel_core::archive::find_file;
use kernel_core::handles::{Handle, Object};
use kernel_core::image::{Image, ImageError, Segment};
use kernel_core::lines::{Line, LineOwner};
use kernel_core::memory::Caching;
use kernel_core::task::Tasks;
use kernel_core::task::{Phase, Task};
use kernel_core::thread::TrapFrame;
use zerocopy::IntoBytes;

const PAGE: u64 = PAGE_SIZE as u64;

/// Why a task could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpawnError {
    /// A status of the system call: something is wrong with the task or its quotas.
    Status(Status),
    /// The program is refused.
    Image(ImageError),
}

impl From<Status> for SpawnError {
    fn from(status: Status) -> Self {
        SpawnError::Status(status)
    }
}

impl From<ImageError> for SpawnError {
    fn from(error: ImageError) -> Self {
        SpawnError::Image(error)
    }
}

/// The initial registers of a thread: it begins at `rip` in ring 3, with stack pointer `rsp` and
/// `argument` in rdi.
pub fn user_frame(rip: UserAddr, rsp: UserAddr, argument: u64) -> TrapFrame {
    TrapFrame {
        rip: rip.number(),
        rsp: rsp.number(),
        rdi: argument,
        cs: USER_CODE.into(),
        ss: USER_DATA.into(),
        // Interrupts on; bit 1 is always set (Intel SDM vol. 1, section 3.4.3).
        rflags: 0x202,
        ..TrapFrame::default()
    }
}

/// The program of a row, parsed, with its file in the boot archive; or the reason why it is
/// refused.
pub type Program = Result<(Image, &'static [u8]), ImageError>;

/// Finds and checks the programs of all rows, once for all their lives.
pub fn programs(tasks: &Tasks, archive: &'static [u8]) -> Vec<Program> {
    let program = |task: &Task| {
        let mut path = [0; 4 + abi::NAME_LEN];
        let file = find_file(archive, program_path(&task.record().name, &mut path)).ok_or(ImageError::Missing)?;
        Ok((Image::parse(file)?, file))
    };
    tasks.iter().map(program).collect()
}

/// Starts a task at once, without steps. If that fails, the row has only counted one more life.
/// Used for the first task and by test kernels; `task_spawn` uses [`begin`] and [`step`].
#[unsafe(link_section = "boot_text")]
pub fn spawn(kernel: &mut Kernel, row: Row, argument: &[u8]) -> Result<TaskId, SpawnError> {
    let outcome = begin(kernel, row, argument).and_then(|id| {
        while !step(kernel, id)? {}
        Ok(id)
    });
    if outcome.is_err() {
        while kernel.sys.reap(row).is_ok_and(|left| left != 0) {}
    }
    outcome
}

/// Begins to start a task: makes its address space and its information page with its argument. The
/// caller then calls [`step`] until that is done. If this fails, there was no life, or a dead one
/// is left to be reaped.
pub fn begin(kernel: &mut Kernel, row: Row, argument: &[u8]) -> Result<TaskId, SpawnError> {
    kernel.programs.get(row.index()).ok_or(Status::NoSuchTask)?.as_ref().map_err(|&error| error)?;
    let id = kernel.sys.begin(row)?;
    if let Err(error) = prepare(kernel, row, argument) {
        give_up(kernel, row);
        return Err(error.into());
    }
    Ok(id)
}

/// Does a step of starting this life. Returns true when it runs. If this fails, a dead life is left
/// to be reaped. Errors: NoSuchTask (the life was ended meanwhile), QuotaFrames, QuotaHandles,
/// QuotaObjects, OutOfMemory, Busy.
pub fn step(kernel: &mut Kernel, life: TaskId) -> Result<bool, Status> {
    if !kernel.sys.task(Row::of(life)).is_ok_and(|t| t.starts(life)) {
        return Err(Status::NoSuchTask);
    }
    build(kernel, Row::of(life)).inspect_err(|_| give_up(kernel, Row::of(life)))
}

/// Ends a life whose start has failed.
fn give_up(kernel: &mut Kernel, row: Row) {
    kernel.death_record(None, row, DeathKind::Killed);
    kernel.kill(row);
}

fn program_path<'a>(name: &Name, buffer: &'a mut [u8; 4 + abi::NAME_LEN]) -> &'a str {
    let name = abi::name_str(name).as_bytes();
    for (to, from) in buffer.iter_mut().zip(b"bin/".iter().chain(name)) {
        *to = *from;
    }
    buffer.get(..4 + name.len()).and_then(|path| core::str::from_utf8(path).ok()).unwrap_or_default()
}

/// Makes the address space, and the page that tells the task who it is.
fn prepare(k: &mut Kernel, row: Row, argument: &[u8]) -> Result<(), Status> {
    let space = paging::new_space(k.sys.task_frame(row)?, row, k.features.pcid);
    paging::forget(space);
    k.sys.set_space(row, space)?;
    let record = *k.sys.task(row)?.record();
    let page = paging::zero(k.sys.task_frame(row)?).address();
    identify(k, row, &record, argument, page);
    k.map_page(row, space.root(), UserAddr::new(INFO_ADDR), page, UserFlags::READ)?;
    if let Ok(task) = k.sys.task_mut(row) {
        task.start_mut().info = page;
    }
    Ok(())
}

/// The number of frames taken, or of pages zeroed or filled, in one step of a start; a step may
/// take three page tables more.
const PAGES_A_STEP: u32 = 16;
/// The cost of the last step, counted in such pages.
const LAST: u32 = 10;

/// Does a step of starting a row's life. Returns true when it runs.
fn build(k: &mut Kernel, row: Row) -> Result<bool, Status> {
    let mut more = 0;
    let before = k.sys.task(row).map_or(0, Task::frames_used);
    loop {
        let task = k.sys.task_mut(row)?;
        let done = task.frames_used() - before + more;
        if done >= PAGES_A_STEP {
            return Ok(false);
        }
        let root = task.root()?;
        let (stack, keep) = (task.record().stack_frames, task.record().keep_frames);
        let next = match task.start().phase {
            Phase::Segment(number, page) => {
                let (image, file) =
                    k.programs.get(row.index()).and_then(|p| p.as_ref().ok()).ok_or(Status::BadImage)?;
                match (image.segments().get(usize::from(number)).copied(), *file) {
                    (Some(s), file) if s.first_page() + page * PAGE < s.end_page() => {
                        load_page(k, row, root, &s, s.first_page() + page * PAGE, file)?;
                        Phase::Segment(number, page + 1)
                    }
                    (Some(_), _) => Phase::Segment(number + 1, 0),
                    (None, _) => Phase::Stack(0),
                }
            }
            Phase::Stack(page) if page < stack => {
                let frame = paging::zero(k.sys.task_frame(row)?).address();
                let at = UserAddr::new(STACK_TOP - (u64::from(page) + 1) * PAGE);
                k.map_page(row, root, at, frame, UserFlags::DATA)?;
                Phase::Stack(page + 1)
            }
            Phase::Stack(_) => Phase::Keep,
            Phase::Keep if task.keep().is_none() && task.start().kept.len() < keep => {
                paging::zero(k.sys.kept_frame(row)?);
                more += 1;
                Phase::Keep
            }
            Phase::Keep => {
                k.sys.keep_memory(row, keep)?;
                Phase::Announce(Row::new(0))
            }
            Phase::Announce(from) => {
                more += 4;
                k.sys.announce(row, from).map_or(Phase::Run, Phase::Announce)
            }
            Phase::Run if done + LAST > PAGES_A_STEP => return Ok(false),
            Phase::Run => return run(k, row).map(|()| true),
        };
        if let Ok(task) = k.sys.task_mut(row) {
            task.start_mut().phase = next;
        }
    }
}

/// Does the last step of a start: the handles, their list in the information page, and the first
/// thread.
fn run(k: &mut Kernel, row: Row) -> Result<(), Status> {
    let (image, _) = k.programs.get(row.index()).and_then(|p| p.as_ref().ok()).ok_or(Status::BadImage)?;
    let entry = image.entry;
    let task = k.sys.task(row)?;
    let record = *task.record();
    let mut entries = Entries { page: task.start().info, count: 0 };
    grant(k, row, &record, &mut entries)?;
    fill(entries.page, offset_of!(TaskInfo, entry_count) as u64, entries.count.as_bytes());
    k.sys.thread_start(row, user_frame(UserAddr::new(entry), UserAddr::new(STACK_TOP), 0), record.priority)?;
    Ok(())
}

/// Copies bytes into a frame at an offset; bytes that do not fit are left out.
fn fill(frame: PhysAddr, offset: u64, bytes: &[u8]) {
    let len = bytes.len().min((PAGE - offset) as usize);
    if len != 0
        && let Some(to) = Ram::at(frame.plus(offset), len as u64)
    {
        // SAFETY: the frame was just taken for this task, nobody runs in it yet, and `offset + len`
        // stays within it.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), to.pointer(), len) };
    }
}

/// Fills a part of a frame with zeros.
fn clear(frame: PhysAddr, part: Range<u64>) {
    let len = part.end.saturating_sub(part.start);
    if len != 0
        && part.end <= PAGE
        && let Some(to) = Ram::at(frame.plus(part.start), len)
    {
        // SAFETY: the frame was just taken for this task, nobody runs in it yet, and the part lies
        // within it.
        unsafe { core::ptr::write_bytes(to.pointer(), 0, len as usize) };
    }
}

/// Loads a page of a segment: its part of the file, and zeros around it.
fn load_page(k: &mut Kernel, row: Row, root: TableRoot, s: &Segment, page: u64, file: &[u8]) -> Result<(), Status> {
    let flags = UserFlags { writable: s.writable, executable: s.executable, caching: Caching::WriteBack };
    let bytes = file.get(s.offset..s.offset + s.filled).unwrap_or_default();
    let target = k.sys.task_frame(row)?.address();
    // This page's part of the file begins at the segment's address or at the page's.
    let (offset, skip) = if page < s.addr { (s.addr - page, 0) } else { (0, (page - s.addr) as usize) };
    let bytes = bytes.get(skip..).unwrap_or_default();
    let bytes = bytes.get(..(PAGE - offset) as usize).unwrap_or(bytes);
    clear(target, 0..offset);
    fill(target, offset, bytes);
    clear(target, offset + bytes.len() as u64..PAGE);
    k.map_page(row, root, UserAddr::new(page), target, flags)
}

/// Writes the identity of a task into its zeroed information page.
fn identify(k: &Kernel, row: Row, record: &TaskRecord, argument: &[u8], page: PhysAddr) {
    let argument = argument.get(..ARG_LEN).unwrap_or(argument);
    macro_rules! put { ($($part:ident: $value:expr),* $(,)?) => { $(fill(page, offset_of!(TaskInfo, $part) as u64, $value);)* } }
    put! {
        magic: INFO_MAGIC.as_bytes(),
        abi_hash: abi::ABI_HASH.as_bytes(),
        task: k.sys.task(row).map_or(0, |t| t.id(row).to_u32()).as_bytes(),
        priority: u32::from(record.priority).as_bytes(),
        name: &record.name,
        tsc_base: k.sys.clock().base.as_bytes(),
        tsc_mult: k.sys.clock().mult.as_bytes(),
        arg_len: (argument.len() as u32).as_bytes(),
        arg: argument,
    }
}

/// The list of entries in a task's information page, under construction.
struct Entries {
    page: PhysAddr,
    count: u32,
}

impl Entries {
    fn add(&mut self, entry: Entry) -> Result<(), Status> {
        if self.count as usize >= MAX_ENTRIES {
            return Err(Status::QuotaHandles);
        }
        let at = offset_of!(TaskInfo, entries) + self.count as usize * size_of::<Entry>();
        fill(self.page, at as u64, entry.as_bytes());
        self.count += 1;
        Ok(())
    }
}

const _: () = assert!(MAX_ENTRIES >= MAX_GRANTS - GrantKind::Debug.most() + 3);

/// Gives a task its handles, and lists them and its ports in the information page.
fn grant(k: &mut Kernel, row: Row, record: &TaskRecord, entries: &mut Entries) -> Result<(), Status> {
    let mut ranges = 0;
    for grant in record.grants() {
        let Some(kind) = grant.kind() else { continue };
        // Name, handle (if there is an object), and base of the entry.
        let (name, handle, base) = match kind {
            GrantKind::Peer => {
                let peer = k.sys.task(Row::from_register(grant.base)?)?;
                let endpoint = peer.endpoint()?;
                let handle = Handle::new(Object::Endpoint(endpoint), Rights::CALL | Rights::GRANT);
                let name = if grant.name == Name::default() { peer.record().name } else { grant.name };
                (name, Some(handle), grant.base)
            }
            GrantKind::Irq => {
                let line = Line::new(grant.base as u8);
                k.sys.claim_line(line, LineOwner { row, bits: grant.bits() })?;
                trap::open(k, line);
                (grant.name, Some(Handle::new(Object::Interrupt(line), Rights::MANAGE)), grant.flags.into())
            }
            GrantKind::Ports => (grant.name, None, grant.base),
            GrantKind::Range => {
                let id = k.sys.range_memory(row, ranges, k.features.pat)?;
                ranges += 1;
                let mut rights = Rights::READ;
                rights.set(Rights::WRITE, grant.flags & Grant::WRITE != 0);
                (grant.name, Some(Handle::new(Object::Memory(id), rights)), grant.base)
            }
            // A debugger's right is looked up in the task table when it is used.
            GrantKind::Debug => continue,
            // These are flags of the record, which are handled below.
            GrantKind::Keep | GrantKind::Archive | GrantKind::System => continue,
        };
        let handle = match handle {
            Some(handle) => k.sys.handle_insert(row, handle)?.to_u32(),
            None => 0,
        };
        entries.add(Entry { name, kind: kind as u32, handle, base, len: grant.len })?;
    }
    if let Some(id) = k.sys.task(row).ok().and_then(Task::keep) {
        let rights = Rights::READ | Rights::WRITE;
        let handle = k.sys.handle_insert(row, Handle::new(Object::Memory(id), rights))?.to_u32();
        let len = u64::from(record.keep_frames) * PAGE;
        entries.add(Entry { name: named("keep"), kind: GrantKind::Keep as u32, handle, base: 0, len })?;
    }
    if record.flags & TaskRecord::ARCHIVE != 0
        && let Some(id) = k.archive_memory
    {
        let handle = k.sys.handle_insert(row, Handle::new(Object::Memory(id), Rights::READ))?.to_u32();
        let len = k.archive.len() as u64;
        entries.add(Entry { name: named("archive"), kind: GrantKind::Archive as u32, handle, base: 0, len })?;
    }
    let mut rights = Rights::empty();
    rights.set(Rights::CONTROL, record.flags & TaskRecord::CONTROL != 0);
    rights.set(Rights::INSPECT, record.flags & TaskRecord::INSPECT != 0);
    rights.set(Rights::LOGS, record.flags & TaskRecord::LOGS != 0);
    if !rights.is_empty() {
        let handle = k.sys.handle_insert(row, Handle::new(Object::System, rights))?.to_u32();
        entries.add(Entry { name: named("system"), kind: GrantKind::System as u32, handle, base: 0, len: 0 })?;
    }
    Ok(())
}

fn named(name: &str) -> Name {
    abi::name_from(name).unwrap_or_default()
}
