//! The steps from the boot loader to the first task.

use crate::arch::{
    controller::{Controller, InterruptController},
    cpu, entry, firmware, gdt, idt, paging, pci,
    percore::{self, Core},
    ram, stacks, state,
    timer::{self, Timer},
    tsc::Reference,
};
use crate::boot::BootFrames;
use crate::kernel::{self, Kernel, Locked};
use crate::{entries, heap, klog, loader, log};
use abi::PAGE_SIZE;
use abi::manifest::{Grant, GrantKind, TaskRecord};
use bootloader_api::config::Mapping;
use bootloader_api::info::MemoryRegions;
use bootloader_api::{BootInfo, BootloaderConfig};
use core::ops::Range;
use kernel_core::acpi::{Found, Platform, Unit, Units, Walked};
use kernel_core::addr::PhysAddr;
use kernel_core::clock::Clock;
use kernel_core::frames::{Frames, Link};
use kernel_core::{System, system};
use x86_64::VirtAddr;

const PAGE: u64 = PAGE_SIZE as u64;
/// Address of the stack on which the kernel begins; its first page is the guard page.
const BOOT_STACK: u64 = 0xffff_ff00_0000_0000;
/// Size of the boot stack in bytes. The state of the system is built on it before it is moved to
/// its final place, and its size grows with the largest number of tasks.
const BOOT_STACK_SIZE: u64 = (48 * 1024 + 4 * size_of::<System>() as u64).next_multiple_of(PAGE);

/// The least size of the kernel's heap in bytes; a task table may need more. All tables and arenas
/// in it are made at boot.
const HEAP_BASE: u64 = 4 << 20;
/// Bytes of the heap for everything but the tables that the task table needs.
const HEAP_REST: u64 = 1 << 20;
/// The tables that the task table needs get at most one byte in so many of the largest region of
/// free memory. A task table that needs more gets lower quotas.
const TABLES_SHARE: u64 = 4;

/// What the kernel asks of the boot loader: to map everything in the upper half, and to map its
/// page tables recursively, from which the kernel builds its own map of physical memory. (The
/// loader's map would cover everything that the firmware's memory map names, which on some machines
/// includes a terabyte of reserved addresses.)
pub static BOOT_CONFIG: BootloaderConfig = {
    let mut config = BootloaderConfig::new_default();
    config.mappings.kernel_stack = Mapping::FixedAddress(BOOT_STACK);
    config.mappings.page_table_recursive = Some(Mapping::FixedAddress(paging::RECURSIVE_ADDR));
    config.mappings.dynamic_range_start = Some(0xffff_9000_0000_0000);
    config.mappings.dynamic_range_end = Some(0xffff_f000_0000_0000);
    config.kernel_stack_size = BOOT_STACK_SIZE;
    config
};

/// Whether 16 bytes at this address lie on the boot stack.
pub fn boot_stack_holds(addr: u64) -> bool {
    (BOOT_STACK + PAGE..BOOT_STACK + PAGE + BOOT_STACK_SIZE - 15).contains(&addr)
}

/// Whether an address lies in the guard page below the boot stack.
pub fn boot_guard_holds(addr: u64) -> bool {
    (BOOT_STACK..BOOT_STACK + PAGE).contains(&addr)
}

/// Prepares what every kernel needs, test kernels included: memory, stacks, descriptor tables,
/// heap, log.
#[inline(never)]
#[unsafe(link_section = "boot_text")]
pub fn init_memory(boot: &'static mut BootInfo) -> Ready {
    let bus_masters = pci::quiet();
    ram::init(&boot.memory_regions);
    let mut frames = BootFrames::new(&boot.memory_regions);
    let total = frames.total();
    let archive_virt = boot.ramdisk_addr.into_option();
    let firmware_tables = boot.rsdp_addr.into_option();
    paging::init(&mut frames);
    stacks::init(&mut frames);
    let mut units = Units::default();
    let ecam = pci::ecam();
    if ecam.size() != 0 {
        units.add(Found { unit: Unit::PciConfiguration, start: ecam.start, len: ecam.size() });
    }
    let mut platform = Platform::default();
    let tables =
        firmware_tables.and_then(|at| firmware::read(PhysAddr::new(at), &mut frames, &mut units, &mut platform));
    gdt::init();
    idt::init::<Kernel>();
    let controller = Controller::new(&platform, &mut frames);
    #[cfg(not(feature = "plain"))]
    idt::use_controller::<Kernel>(&controller);
    let reference = Reference::find(&platform, &mut frames);
    let features = cpu::features();
    state::set(&features, VirtAddr::from_ptr(percore::addr()), entries::syscall_entry());
    // SAFETY: this is the only core that runs, and it is initialised here, once.
    let mut core = unsafe { Core::first(&const { entry::table::<Kernel>() }) };
    core.record().kernel_stack = stacks::Stack::Kernel.top().as_u64();
    let archive = archive_virt.map(|start| {
        // SAFETY: the loader mapped the archive there permanently, in the upper half, which the
        // kernel's top table took over.
        unsafe { core::slice::from_raw_parts(start as *const u8, boot.ramdisk_len as usize) }
    });
    let archive = archive.unwrap_or_default();
    let table = table(archive);
    // A missing or invalid task table is reported later, by the code that starts the tasks.
    let records = table.and_then(Result::ok).unwrap_or_default();
    let most = system::most_that_fits(records, frames.largest() * PAGE / TABLES_SHARE);
    let records_need = HEAP_REST + system::heap_needed(records, most);
    let heap_size = records_need.max(HEAP_BASE).next_multiple_of(PAGE);
    let heap_start = frames.take_run(heap_size / PAGE);
    // SAFETY: these frames were just taken, and the direct map covers all usable memory
    // permanently.
    unsafe { heap::init(ram::direct(heap_start) as usize, heap_size as usize) };
    log::init();
    let table_len = (frames.end().number() / PAGE) as usize;
    let table_start = frames.take_run((table_len as u64 * size_of::<Link>() as u64).div_ceil(PAGE));
    // SAFETY: these frames were just taken and are in the direct map; every bit pattern is a valid
    // `Link`, and the table is page-aligned.
    let links = unsafe { core::slice::from_raw_parts_mut(ram::direct(table_start) as *mut Link, table_len) };
    let mut all = Frames::new(links);
    for range in frames.rest() {
        all.add(range);
    }
    let frames_kernel = total - all.free();
    Ready {
        core,
        controller,
        frames: all,
        frames_kernel,
        most,
        archive,
        table,
        features,
        bus_masters,
        units,
        tables,
        platform,
        reference,
        regions: &boot.memory_regions,
    }
}

/// The address range of the code that only the boot runs: see `boot.ld`.
pub fn boot_text() -> Range<u64> {
    unsafe extern "C" {
        #[link_name = "boot_text_start"]
        static START: u8;
        #[link_name = "boot_text_end"]
        static END: u8;
    }
    (&raw const START).addr() as u64..(&raw const END).addr() as u64
}

/// The task table of a boot archive, if it has one, or the reason why it is invalid.
pub type Table = Option<Result<&'static [TaskRecord], &'static str>>;

/// Reads the task table of a boot archive.
#[unsafe(link_section = "boot_text")]
pub fn table(archive: &'static [u8]) -> Table {
    kernel_core::archive::find_file(archive, "manifest").map(abi::manifest::rules::parse)
}

/// The result of [`init_memory`].
pub struct Ready {
    /// The access right to this core's record.
    pub core: Core,
    /// The interrupt controller, with every line masked.
    pub controller: Controller,
    /// The table of all frames.
    pub frames: Frames,
    /// The number of frames that the kernel's own tables and heap occupy.
    pub frames_kernel: u64,
    /// The most handles and the most objects of a task for which the heap has room.
    pub most: u16,
    /// The boot archive; empty if the image has none.
    pub archive: &'static [u8],
    /// The task table of the boot archive.
    pub table: Table,
    /// The features of the processor.
    pub features: cpu::Features,
    /// The bus masters found on the PCI bus.
    pub bus_masters: pci::Masters,
    /// The devices that no task gets.
    pub units: Units,
    /// The result of reading the firmware's tables, if there are any.
    pub tables: Option<Walked>,
    /// What tells the frequency of the time-stamp counter.
    pub reference: Reference,
    /// What these tables say about the machine.
    pub platform: Platform,
    /// The boot memory map.
    pub regions: &'static MemoryRegions,
}

/// Disables the tasks with a physical range that reaches memory that the kernel manages or runs in,
/// or a device that no task gets. This depends on the machine, so it can only be checked here; the
/// other tasks still start.
pub fn disable(sys: &mut System, units: &Units) {
    sys.disable(|record| {
        let in_ram = |r: &&Grant| ram::regions().touch(PhysAddr::new(r.base), r.len);
        let ranges = record.of(GrantKind::Range);
        let unit = ranges.clone().find_map(|r| Some((r, units.reached(PhysAddr::new(r.base), r.len)?)));
        let (range, what) = match (ranges.clone().find(in_ram), unit) {
            (Some(range), _) => (range, "RAM on this machine; change the range, or give the machine less memory"),
            (_, Some(reached)) => reached,
            _ => return false,
        };
        klog!(
            "{} does not start: its range `{}` ({:#x}, {:#x} bytes) reaches {what}",
            abi::name_str(&record.name),
            abi::name_str(&range.name),
            range.base,
            range.len
        );
        true
    });
}

/// Logs the bus masters that were found, and are off now.
#[unsafe(link_section = "boot_text")]
fn say_bus_masters(found: pci::Masters) {
    if found.functions != 0 {
        klog!("PCI: {} functions, {} were bus masters; none is", found.functions, found.were_on);
    }
    if let Some(address) = found.stuck {
        let (bus, device, function) = (address >> 8, address >> 3 & 31, address & 7);
        klog!("PCI: but {bus:02x}:{device:02x}.{function} stays one, and reaches all memory");
    }
}

/// Logs the result of reading the firmware's tables.
#[unsafe(link_section = "boot_text")]
fn say_firmware(walked: Option<Walked>) {
    match walked {
        Some(Walked { tables, broken: 0 }) => klog!("ACPI: {tables} tables say where devices are that no task gets"),
        Some(Walked { tables, broken }) => {
            klog!("ACPI: {tables} tables say where devices are that no task gets; {broken} are broken and left out");
        }
        None => klog!("ACPI: no tables; devices that no task gets are looked for in their usual places"),
    }
}

/// Starts the system in the boot archive. It never returns: from then on the kernel is entered by
/// interrupts and system calls.
#[expect(clippy::panic, clippy::indexing_slicing, reason = "before the first task runs")]
#[expect(clippy::disallowed_methods, reason = "goes to `leave`, which gives it to `next`")]
#[inline(never)]
#[unsafe(link_section = "boot_text")]
pub fn run(mut ready: Ready, entered_at: u64) -> ! {
    let measuring = cpu::now();
    let (hertz, told_by) = ready.reference.measure();
    let measured = cpu::now() - measuring;
    let clock = Clock::new(entered_at, hertz);
    let Ready {
        core,
        mut controller,
        frames,
        frames_kernel,
        most,
        archive,
        table,
        features,
        bus_masters,
        units,
        tables,
        ..
    } = ready;
    let records = match table {
        Some(Ok(records)) => records,
        Some(Err(what)) => panic!("{what}"),
        None => panic!("the boot archive ({} bytes) has no task table `manifest`", archive.len()),
    };
    klog!(
        "Enigma {}: {} MiB of memory, {} tasks; smep {} smap {} umip {} pcid {}",
        env!("CARGO_PKG_VERSION"),
        ((frames.total() + frames_kernel) * PAGE) >> 20,
        records.len(),
        features.smep,
        features.smap,
        features.umip,
        features.pcid,
    );
    say_bus_masters(bus_masters);
    say_firmware(tables);
    let mut sys = System::with_most(records, most, frames, clock);
    disable(&mut sys, &units);
    if most < records.iter().map(|r| r.handle_quota.max(r.object_quota)).max().unwrap_or(0) {
        klog!(
            "the tasks' quotas are more tables than this machine has memory for: each has {most} handles and objects at most"
        );
    }
    if let Some(most) = sys.fit_quotas() {
        klog!(
            "the tasks' quotas are more than this machine's memory: each has {} KiB at most",
            (u64::from(most) * PAGE) >> 10
        );
    }
    let archive_phys = paging::inspect(paging::kernel_root(), archive.as_ptr().addr() as u64).map(|(phys, ..)| phys);
    let archive_memory = archive_phys.and_then(|base| sys.archive_memory(base, archive.len() as u64));
    let Some(first) = sys.controller() else { panic!("no task has the control right") };
    let measuring = cpu::now();
    let timer = Timer::new(&clock, &mut controller);
    let measured = measured + (cpu::now() - measuring);
    klog!(
        "interrupts: {}; timer: {}; time-stamp counter: {} MHz, {}",
        controller.name(),
        timer.name(),
        hertz / 1_000_000,
        told_by.unwrap_or("which is assumed, as nothing here tells"),
    );
    let _ = controller.unmask(timer::LINE);
    let programs = loader::programs(sys.tasks(), archive);
    kernel::set(Kernel { sys, core, controller, timer, features, archive, programs, archive_memory, frames_kernel });
    let mut kernel = kernel::lock();
    match loader::spawn(&mut kernel, first, b"") {
        Ok(id) => klog!("first task: {} (row {})", abi::name_str(&records[first.index()].name), id.index),
        Err(loader::SpawnError::Image(e)) => panic!("the first task's program is refused: {}", e.describe()),
        Err(loader::SpawnError::Status(e)) => panic!("the first task does not start: {e}"),
    }
    kernel.sys.booted(cpu::now().saturating_sub(entered_at + measured));
    leave(kernel)
}

/// Adds the pages that hold only boot code to the free memory, and runs the first task. A kernel
/// with the feature `verify` keeps them, because it allocates while it checks itself.
#[inline(never)]
fn leave(mut kernel: Locked) -> ! {
    let (root, mut page) = (paging::kernel_root(), boot_text().start.next_multiple_of(PAGE));
    while page + PAGE <= boot_text().end && cfg!(not(feature = "verify")) {
        if let Some((frame, ..)) = paging::inspect(root, page) {
            // SAFETY: the page holds only code of the boot, which ends here.
            unsafe { paging::unmap_kernel(page) };
            if paging::inspect(root, page).is_none() {
                kernel.sys.adopt_frame(frame);
            }
        }
        page += PAGE;
    }
    let frame = kernel::next(kernel);
    // SAFETY: `next` returned the frame of a thread that was made ready to run, and nothing on this
    // stack is needed any more.
    unsafe { entry::leave::<Kernel>(frame) }
}
