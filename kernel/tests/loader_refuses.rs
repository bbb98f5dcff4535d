//! Programs that are not as they should be do not start: each gives its own reason, costs nothing, and as the first task's program ends the boot
//! with a sentence that says so.
#![no_std]
#![no_main]

extern crate alloc;

#[path = "support/archive.rs"]
mod archive;
#[path = "support/tables.rs"]
mod tables;

use abi::manifest::{Grant, TaskRecord};
use abi::message::Rights;
use abi::task::TaskState;
use abi::{AbiNote, Status};
use alloc::vec::Vec;
use archive::{BASE, INTERP, LOAD, Part, R, W, X, manifest, parts, program, record, tar};
use bootloader_api::info::{MemoryRegionKind, MemoryRegions};
use bootloader_api::{BootInfo, entry_point};
use core::cell::RefCell;
use kernel::arch::tsc::Reference;
use kernel::arch::{cpu, pci};
use kernel::arch::{paging, ram};
use kernel::kernel::Kernel;
use kernel::loader::{self, SpawnError};
use kernel::start::Ready;
use kernel::testing::expect_report;
use kernel::{BOOT_CONFIG, start, testing, usermem};
use kernel_core::Row;
use kernel_core::acpi::Platform;
use kernel_core::acpi::Units;
use kernel_core::addr::{PhysAddr, UserAddr};
use kernel_core::clock::Clock;
use kernel_core::handles::{Handle, Object};
use kernel_core::image::ImageError;
use kernel_core::step::{Fill, Step};

entry_point!(main, config = &BOOT_CONFIG);

/// The row of the task `one`.
const FIRST: Row = Row::new(0);
/// The row of the task `two`.
const SECOND: Row = Row::new(1);

fn main(boot: &'static mut BootInfo) -> ! {
    let ready = start::init_memory(boot);
    let (features, regions, frames_kernel, most) = (ready.features, ready.regions, ready.frames_kernel, ready.most);
    let (bus_masters, units, tables) = (ready.bus_masters, ready.units, ready.tables);
    let records = records(&[record("one"), reaching(regions), device("three"), device("four")]);
    let kernel = RefCell::new(Some(testing::kernel(ready, records, &[], Clock::new(0, 1_000_000_000))));
    let with = |f: fn(&mut Kernel)| f(kernel.borrow_mut().as_mut().expect("not taken yet"));
    testing::run(&[
        ("good_program_starts", &|| with(good_program)),
        ("program_is_missing", &|| with(missing)),
        ("d06_headers_are_refused", &|| with(bad_headers)),
        ("d06_segments_are_refused", &|| with(bad_segments)),
        ("d06_notes_are_refused", &|| with(bad_notes)),
        ("d06_every_truncation_is_refused", &|| with(truncations)),
        ("quotas_are_refused", &|| with(quotas)),
        ("a_range_in_ram_disables_its_task_alone", &|| with(range_in_ram)),
        ("d25_a_range_in_a_device_of_the_kernels_disables_its_task_alone", &|| {
            range_in_a_unit(kernel.borrow_mut().as_mut().expect("not taken yet"), units)
        }),
        ("a_range_is_mapped_as_its_row_says", &|| with(device_ranges)),
        ("d12_a_start_is_given_up_at_every_step", &|| with(given_up)),
        ("good_program_starts_after_all_that", &|| with(good_program)),
        ("first_program_refused_ends_the_boot", &|| {
            let taken = kernel.take().expect("not taken yet");
            let (frames, core, controller) = (taken.sys.into_frames(), taken.core, taken.controller);
            let archive = archive(&program(&writable_code(), AbiNote::CURRENT));
            let table = start::table(archive);
            let ready = Ready {
                platform: Platform::default(),
                reference: Reference::none(),
                core,
                controller,
                frames,
                frames_kernel,
                most,
                archive,
                table,
                features,
                bus_masters,
                units,
                tables,
                regions,
            };
            let report = expect_report(|| start::run(ready, cpu::now()));
            assert!(
                report.says("the first task's program is refused: a segment is both writable and executable"),
                "{}",
                report.text
            );
        }),
    ])
}

/// A task that would have a page of this machine's memory.
fn reaching(regions: &MemoryRegions) -> abi::manifest::TaskRecord {
    let ram = regions.iter().filter(|r| r.kind == MemoryRegionKind::Usable).max_by_key(|r| r.end).expect("some memory");
    let mut r = record("two");
    r.flags = 0;
    assert!(r.add(Grant::range("loot", (ram.end - 1) & !0xfff, 0x1000, 0)));
    r
}

fn range_in_ram(kernel: &mut Kernel) {
    let good = program(&parts(), AbiNote::CURRENT);
    kernel.programs = loader::programs(kernel.sys.tasks(), tar(&[("bin/one", &good), ("bin/two", &good)]));
    start::disable(&mut kernel.sys, &Units::default());
    let before = state(kernel);
    assert_eq!(loader::spawn(kernel, SECOND, b""), Err(SpawnError::Status(Status::Busy)));
    assert_eq!(state(kernel), before);
    assert_eq!(kernel.sys.task(SECOND).expect("a row").id(SECOND).generation, 0, "it had a life");
    // A page that is no memory of this machine's is for whoever asks for it.
    let mut record = *kernel.sys.task(SECOND).expect("a row").record();
    record.grants[0].base = 0xb_8000;
    kernel.sys.alter_record(SECOND, record).expect("a row");
    start::disable(&mut kernel.sys, &Units::default());
    assert!(loader::spawn(kernel, SECOND, b"").is_ok());
    assert!(!kernel.sys.task(FIRST).expect("a row").is_disabled());
    kernel.kill(SECOND);
    while kernel.sys.reap(SECOND).expect("it is dead") != 0 {}
}

/// The firmware of QEMU's machines names these; the task table's own check, which knows their usual places, is not asked here.
fn range_in_a_unit(kernel: &mut Kernel, units: Units) {
    for (what, at) in [("I/O APIC", 0xfec0_0000), ("local APICs", 0xfee0_0000), ("HPET", 0xfed0_0000)] {
        assert!(units.reached(PhysAddr::new(at), 1).is_some_and(|reason| reason.contains(what)), "{what}: {units:x?}");
        assert_eq!(units.reached(PhysAddr::new(at - 0x1000), 0x1000), None, "{what}: the page before");
        let mut record = *kernel.sys.task(SECOND).expect("a row").record();
        (record.grants[0].base, record.grants[0].len) = (at - 0x1000, 0x2000);
        kernel.sys.alter_record(SECOND, record).expect("a row");
        start::disable(&mut kernel.sys, &units);
        assert_eq!(loader::spawn(kernel, SECOND, b""), Err(SpawnError::Status(Status::Busy)), "{what}");
        assert!(!kernel.sys.task(FIRST).expect("a row").is_disabled());
    }
    // A machine with a PCI host bridge that says where configuration is has that too: q35 does, pc does not.
    let q35 = pci::read(0, 0) == 0x29c0_8086;
    let configuration = units.reached(PhysAddr::new(0xb000_0000), 1);
    assert_eq!(configuration.is_some_and(|reason| reason.starts_with("PCI configuration")), q35, "{configuration:?}");
}

/// A task with registers and a frame buffer.
fn device(name: &str) -> abi::manifest::TaskRecord {
    let mut r = record(name);
    assert!(r.add(Grant::range("text", 0xb_8000, 0x1000, 0)));
    assert!(r.add(Grant::range("bar", 0xfd00_0000, 0x3000, Grant::WRITE_COMBINING)));
    r
}

/// Registers are uncached (PWT and PCD of their entries), a frame buffer is write-combining (PWT alone): where the processor has no PAT, uncached
/// too.
fn device_ranges(kernel: &mut Kernel) {
    let good = program(&parts(), AbiNote::CURRENT);
    kernel.programs = loader::programs(kernel.sys.tasks(), tar(&[("bin/three", &good), ("bin/four", &good)]));
    let features = kernel.features;
    assert!(features.pat, "every processor of QEMU has it");
    for (row, pat, wanted) in [(Row::new(2), true, [0x18, 0x08]), (Row::new(3), false, [0x18, 0x18])] {
        kernel.features.pat = pat;
        loader::spawn(kernel, row, b"").expect("it is good");
        let task = kernel.sys.task(row).expect("a row");
        let (root, ranges) = (task.root().expect("it runs"), [task.range(0), task.range(1)]);
        let thread = task.first_thread().expect("a thread");
        for (slot, bits) in wanted.into_iter().enumerate() {
            let object = Object::Memory(ranges[slot].expect("the range's memory"));
            let handle = kernel.sys.handle_insert(row, Handle::new(object, Rights::READ));
            let mapping =
                kernel.sys.memory_map(row, handle.expect("room").number(), UserAddr::ANY, false).expect("it is free");
            let fill = Fill { addr: mapping.addr, writable: false, done: 0, next: None };
            kernel.sys.step_set(thread, Step::Fill(fill));
            kernel.go_on(thread);
            for page in (mapping.addr.number()..mapping.end().number()).step_by(abi::PAGE_SIZE) {
                let (entry, _) = tables::entry(root, page).expect("mapped");
                // SAFETY: an entry of a page table.
                let value = unsafe { entry.read() };
                // PWT, PCD and the PAT bit.
                assert_eq!(value & 0x98, bits, "range {slot} of row {row}: {value:#x}");
            }
        }
        kernel.kill(row);
        while kernel.sys.reap(row).expect("it is dead") != 0 {}
        kernel.sys.collect(u32::MAX);
    }
    kernel.features = features;
}

fn records(records: &[TaskRecord]) -> &'static [TaskRecord] {
    // Not by the archive's table, in which a range where RAM may be is refused on any machine.
    records.to_vec().leak()
}

fn archive(file: &[u8]) -> &'static [u8] {
    tar(&[("manifest", &manifest(&[record("one")])), ("bin/one", file)])
}

fn spawn(kernel: &mut Kernel, archive: &'static [u8]) -> Result<abi::TaskId, SpawnError> {
    kernel.programs = loader::programs(kernel.sys.tasks(), archive);
    loader::spawn(kernel, FIRST, b"an argument")
}

/// Everything that a refused program must leave as it was.
fn state(kernel: &Kernel) -> impl PartialEq + core::fmt::Debug + use<> {
    let sys = &kernel.sys;
    let task = sys.task(FIRST).expect("a row");
    let info = sys.info();
    let objects = [info.threads, info.memories, info.notifications, info.endpoints];
    (info.frames_free, task.frames_used(), task.objects_used(), task.state() as u32, objects)
}

fn refused(kernel: &mut Kernel, file: &[u8], reason: ImageError) {
    let before = state(kernel);
    assert_eq!(spawn(kernel, archive(file)), Err(SpawnError::Image(reason)));
    assert_eq!(state(kernel), before, "{reason:?}");
}

fn good_program(kernel: &mut Kernel) {
    let before = state(kernel);
    let file = program(&parts(), AbiNote::CURRENT);
    let id = spawn(kernel, archive(&file)).expect("it is good");
    let root = kernel.sys.task(FIRST).expect("a row").root().expect("it runs");
    // What it finds where.
    let mut seen = [0; 0x100];
    usermem::read(root, UserAddr::new(BASE), &mut seen).expect("code");
    assert_eq!(seen, file[0x1000..0x1100]);
    let mut seen = [1; 0x2000];
    usermem::read(root, UserAddr::new(BASE + 0x2200), &mut seen).expect("data");
    assert_eq!(seen[..0x80], file[0x1200..0x1280]);
    assert!(seen[0x80..].iter().all(|&b| b == 0), "what the file does not fill is not zero");
    let mut around = [1; 0x100];
    usermem::read(root, UserAddr::new(BASE + 0x100), &mut around).expect("the rest of the code's page");
    assert!(around.iter().all(|&b| b == 0), "bytes of the file beside the segment are in the task's memory");
    assert_eq!(usermem::write(root, UserAddr::new(BASE), &[0]), Err(Status::BadAddress));
    assert_eq!(usermem::write(root, UserAddr::new(BASE + 0x1100), &[0]), Err(Status::BadAddress));
    assert_eq!(usermem::write(root, UserAddr::new(BASE + 0x2200), &[0]), Ok(()));
    assert_eq!(paging::find_writable_executable(root), None);
    // A second life while the first goes on is refused.
    assert!(matches!(loader::spawn(kernel, FIRST, b""), Err(SpawnError::Status(_))));
    assert_eq!(kernel.sys.task(FIRST).expect("a row").id(FIRST), id);
    let death = kernel.death_record(None, FIRST, abi::error::DeathKind::Killed);
    assert_eq!(death.map(|death| death.rip), Some(BASE));
    kernel.kill(FIRST);
    while kernel.sys.reap(FIRST).expect("it is dead") != 0 {}
    assert_eq!(state(kernel), before, "a life costs something for ever");
}

fn missing(kernel: &mut Kernel) {
    let good = program(&parts(), AbiNote::CURRENT);
    for files in [&[][..], &[("bin/on", &good[..])], &[("bin/one2", &good)], &[("one", &good)], &[("manifest", &good)]]
    {
        assert_eq!(spawn(kernel, tar(files)), Err(SpawnError::Image(ImageError::Missing)));
    }
    for archive in [&[][..], &[0; 512], &[0xff; 4096]] {
        assert_eq!(spawn(kernel, archive), Err(SpawnError::Image(ImageError::Missing)));
    }
}

/// The good program with bytes changed.
fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = program(&parts(), AbiNote::CURRENT);
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

fn bad_headers(kernel: &mut Kernel) {
    for (at, bytes, reason) in [
        (0, &b"\x7eELF"[..], ImageError::NotElf),
        (4, &[1], ImageError::NotElf),
        (5, &[2], ImageError::NotElf),
        (18, &[3, 0], ImageError::NotElf),
        (16, &[3, 0], ImageError::NotStatic),
        (16, &[1, 0], ImageError::NotStatic),
        (64 + 2 * 56, &[INTERP as u8], ImageError::NotStatic),
        (54, &[55, 0], ImageError::NotElf),
        (56, &[0, 0], ImageError::Segments),
        (56, &[0xff, 0xff], ImageError::Truncated),
        (32, &[0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], ImageError::Truncated),
        (32, &[0, 0, 0, 1, 0, 0, 0, 0], ImageError::Truncated),
        (32, &[65, 0, 0, 0, 0, 0, 0, 0], ImageError::NotElf),
    ] {
        refused(kernel, &patched(at, bytes), reason);
    }
    refused(kernel, &[], ImageError::Truncated);
    refused(kernel, b"#!/bin/sh\n", ImageError::Truncated);
    refused(kernel, &[0; 64], ImageError::NotElf);
}

/// The good program with its code writable.
fn writable_code() -> [Part; 4] {
    let mut parts = parts();
    parts[0].flags = R | W | X;
    parts
}

fn bad_segments(kernel: &mut Kernel) {
    let mut with = |change: fn(&mut [Part; 4]), reason| {
        let mut parts = parts();
        change(&mut parts);
        refused(kernel, &program(&parts, AbiNote::CURRENT), reason);
    };
    with(|p| p[0].flags = R | W | X, ImageError::WriteExecute);
    with(|p| p[2].flags = R | W | X, ImageError::WriteExecute);
    with(|p| p[2].filled = p[2].size + 1, ImageError::FileRange);
    with(|p| p[2].offset = u64::MAX - 0xdff, ImageError::FileRange);
    with(|p| (p[2].offset, p[2].filled) = (u64::MAX, u64::MAX), ImageError::FileRange);
    with(|p| p[1].offset = 0x1781, ImageError::FileRange);
    with(|p| p[2].size = u64::MAX, ImageError::OutOfRange);
    with(|p| p[2].addr = 0xffff_ffff_8000_0200, ImageError::OutOfRange);
    with(|p| p[2].addr = 0x7fff_ffff_e200, ImageError::OutOfRange);
    with(|p| p[2].addr = u64::MAX - 0xdff, ImageError::OutOfRange);
    with(|p| p[0].addr = 0, ImageError::OutOfRange);
    with(|p| p[0].addr = 0x1000, ImageError::OutOfRange);
    with(|p| p[0].addr = 0xf000, ImageError::OutOfRange);
    with(|p| p[2].addr += 1, ImageError::Misaligned);
    with(|p| p[1].offset += 8, ImageError::Misaligned);
    with(|p| p[1].addr = BASE + 0x100, ImageError::Overlap);
    with(|p| p[1].addr = BASE + 0x2100, ImageError::Overlap);
    with(|p| p.swap(0, 1), ImageError::Overlap);
    with(|p| p[0].size = 0x1001, ImageError::Overlap);
    with(|p| p[0].flags = R, ImageError::Entry);
    with(|p| p[0].addr += 0x1000, ImageError::Overlap);
    with(|p| p.iter_mut().for_each(|p| p.addr += 0x1000), ImageError::Entry);
    with(|p| p[..3].iter_mut().for_each(|p| p.kind = 0), ImageError::Segments);
    let code = parts()[0];
    let many: Vec<_> = (0..9).map(|n| Part { addr: BASE + n * 0x1000, ..code }).chain([parts()[3]]).collect();
    refused(kernel, &program(&many, AbiNote::CURRENT), ImageError::Segments);
    assert_eq!(code.kind, LOAD);
}

fn bad_notes(kernel: &mut Kernel) {
    let good = AbiNote::CURRENT;
    let mut hash = good.hash;
    hash[7] ^= 1;
    refused(kernel, &program(&parts(), AbiNote { hash, ..good }), ImageError::OtherAbi);
    refused(kernel, &program(&parts(), AbiNote { name: *b"Enigmb\0\0", ..good }), ImageError::NoNote);
    refused(kernel, &program(&parts(), AbiNote { kind: 2, ..good }), ImageError::NoNote);
    refused(kernel, &program(&parts(), AbiNote { desc_size: u32::MAX, ..good }), ImageError::Truncated);
    refused(kernel, &program(&parts(), AbiNote { name_size: u32::MAX - 3, ..good }), ImageError::Truncated);
    refused(kernel, &program(&parts()[..3], good), ImageError::NoNote);
}

fn truncations(kernel: &mut Kernel) {
    let good = program(&parts(), AbiNote::CURRENT);
    // The last byte that anything uses is at 0x1280.
    for len in (0..0x1280).step_by(37).chain([63, 64, 287, 288, 0xf1b, 0x127f]) {
        let before = state(kernel);
        let result = spawn(kernel, archive(&good[..len]));
        assert!(matches!(result, Err(SpawnError::Image(_))), "{len} bytes: {result:?}");
        assert_eq!(state(kernel), before, "{len} bytes");
    }
}

fn quotas(kernel: &mut Kernel) {
    let archive = archive(&program(&parts(), AbiNote::CURRENT));
    let good = *kernel.sys.task(FIRST).expect("a row").record();
    let before = state(kernel);
    // However far the frames reach: at every step everything taken so far comes back.
    let mut enough = None;
    for frames in 0..64 {
        kernel.sys.alter_record(FIRST, TaskRecord { frame_quota: frames, ..good }).expect("a row");
        match spawn(kernel, archive) {
            Ok(_) => {
                enough = Some(frames);
                kernel.death_record(None, FIRST, abi::error::DeathKind::Killed);
                kernel.kill(FIRST);
                while kernel.sys.reap(FIRST).expect("it is dead") != 0 {}
                break;
            }
            Err(e) => assert_eq!(e, SpawnError::Status(Status::QuotaFrames), "with {frames} frames"),
        }
        assert_eq!(state(kernel), before, "with {frames} frames");
    }
    // Root; code, constants, three of data; two of stack; the information page; and a handful of tables.
    assert!(enough.is_some_and(|n| (12..40).contains(&n)), "{enough:?} frames are enough");
    kernel.sys.alter_record(FIRST, good).expect("a row");
    assert_eq!(state(kernel), before);
}

/// A start is done in steps. Ended after any of them it leaves a dead life, of which nothing stays.
fn given_up(kernel: &mut Kernel) {
    kernel.programs = loader::programs(kernel.sys.tasks(), archive(&program(&parts(), AbiNote::CURRENT)));
    let good = *kernel.sys.task(FIRST).expect("a row").record();
    let large = TaskRecord { stack_frames: 50, keep_frames: 50, frame_quota: 100, ..good };
    kernel.sys.alter_record(FIRST, large).expect("a row");
    let before = state(kernel);
    for steps in 0.. {
        let id = loader::begin(kernel, FIRST, b"an argument").expect("it is good");
        let runs = (0..steps).any(|_| loader::step(kernel, id) == Ok(true));
        let was = if runs { TaskState::Running } else { TaskState::Starting };
        assert_eq!(kernel.sys.task(FIRST).expect("a row").state(), was, "after {steps} steps");
        assert!(runs || loader::begin(kernel, FIRST, b"").is_err(), "a second start beside the first");
        kernel.death_record(None, FIRST, abi::error::DeathKind::Killed);
        kernel.kill(FIRST);
        assert_eq!(loader::step(kernel, id), Err(Status::NoSuchTask));
        while kernel.sys.reap(FIRST).expect("it is dead") != 0 {}
        kernel.sys.collect(u32::MAX);
        // The memory that outlives it is there as soon as it is whole, for the next start.
        let kept = forget_kept(kernel);
        if runs {
            assert!((6..20).contains(&steps), "{steps} steps for 50 pages of stack, 50 that stay, and a program");
            assert!(kept, "no memory outlives it");
            break;
        }
        assert_eq!(state(kernel), before, "after {steps} steps");
    }
    kernel.sys.alter_record(FIRST, good).expect("a row");
    assert_eq!(state(kernel), before);
}

/// Takes the memory that outlives the first task away, if it was made: it must be zeroed.
fn forget_kept(kernel: &mut Kernel) -> bool {
    let Some(chain) = kernel.sys.take_kept(FIRST) else { return false };
    for frame in kernel.sys.frames_of(&chain) {
        let page = ram::Ram::at(frame.address(), 4096).expect("memory").pointer();
        // SAFETY: a frame of RAM that nobody writes.
        assert!((0..4096).all(|at| unsafe { page.add(at).read_volatile() } == 0), "it is not zeroed");
    }
    kernel.sys.give_back(chain);
    true
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
