//! Loads the kernel as the boot loader does, and enters it.

use crate::tables::{Access, Tables, zeroed};
use bootloader_api::config::Mapping;
use bootloader_api::info::{MemoryRegion, Optional};
use bootloader_api::{BootInfo, BootloaderConfig};
use core::arch::asm;
use core::arch::x86_64::__cpuid;
use core::fmt::{self, Write};
use core::ops::Range;
use pvh::module::Module;
use pvh::regions::{Entry, MOST_REGIONS, Memory};
use xmas_elf::ElfFile;
use xmas_elf::program::Type;

const PAGE: u64 = 4096;
/// How much of physical memory this program maps, in bytes.
const REACH: u64 = 1 << 32;
/// The first word of the start information.
const START_MAGIC: u32 = 0x336e_c578;

/// The start information (`struct hvm_start_info`, version 1).
#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    module_count: u32,
    modules: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_count: u32,
    reserved: u32,
}

/// A module in the start information (`struct hvm_modlist_entry`).
#[repr(C)]
struct ModuleEntry {
    start: u64,
    len: u64,
    command_line: u64,
    reserved: u64,
}

/// An entry of the memory map (`struct hvm_memmap_table_entry`).
#[repr(C)]
struct MapEntry {
    start: u64,
    len: u64,
    kind: u32,
    reserved: u32,
}

/// The entry to Rust: `start_info` is the physical address that the hypervisor gave.
pub extern "C" fn main(start_info: u64) -> ! {
    // SAFETY: by the PVH protocol the address is that of the start information, which is not
    // written any more; it is below 4 GiB, where everything is mapped at its physical address. The
    // lists that it refers to are below 4 GiB, too.
    let info = unsafe { &*(start_info as *const StartInfo) };
    assert!(
        info.magic == START_MAGIC && info.version >= 1,
        "there is no start information with a memory map: not started by PVH"
    );
    // SAFETY: by the PVH protocol the lists are at these addresses, below 4 GiB, with as many
    // entries as the start information says.
    let (modules, map) = unsafe {
        (
            core::slice::from_raw_parts(info.modules as *const ModuleEntry, info.module_count as usize),
            core::slice::from_raw_parts(info.memory_map as *const MapEntry, info.memory_map_count as usize),
        )
    };
    let [module] = modules else {
        panic!("{} modules: there must be one, which holds kernel and archive", modules.len())
    };
    assert!(module.start % PAGE == 0 && module.start + module.len <= REACH, "the module is not at a page below 4 GiB");
    // SAFETY: the hypervisor put the module there, and the memory is not given out below.
    let file = unsafe { core::slice::from_raw_parts(module.start as *const u8, module.len as usize) };
    let Some(Module { archive, kernel }) = Module::parse(file) else {
        panic!("the module does not hold kernel and archive")
    };
    let entries = map.iter().map(|e| Entry { start: e.start, end: e.start.saturating_add(e.len), kind: e.kind });
    let mut memory = Memory::new(entries, [own(), module.start..module.start + module.len], REACH);
    let no_execute = __cpuid(0x8000_0001).edx & 1 << 20 != 0;
    let mut tables = Tables::new(&mut memory, current_root(), no_execute);
    let elf = ElfFile::new(kernel).expect("the kernel is no ELF file");
    let config = config(&elf);
    load(&elf, &mut memory, &mut tables);
    let Some(Mapping::FixedAddress(recursive)) = config.mappings.page_table_recursive else {
        panic!("no place for the tables themselves")
    };
    tables.map_recursively(recursive);
    let Mapping::FixedAddress(guard) = config.mappings.kernel_stack else { panic!("no place for the kernel's stack") };
    let stack_len = config.kernel_stack_size.next_multiple_of(PAGE);
    tables.map_new(&mut memory, guard + PAGE, stack_len, Access::DATA);
    // The following areas are consecutive, with an unmapped page between them.
    let information = config.mappings.dynamic_range_start.expect("no place for the boot information");
    let regions_at = information + 2 * PAGE;
    let regions_len = (size_of::<[MemoryRegion; MOST_REGIONS]>() as u64).next_multiple_of(PAGE);
    let archive_at = regions_at + regions_len + PAGE;
    for offset in (0..archive.len() as u64).step_by(PAGE as usize) {
        tables.map(&mut memory, archive_at + offset, |_| module.start + offset, Access::READ);
    }
    let info_frame = tables.map(&mut memory, information, zeroed, Access::DATA);
    // Regions and boot information are written last, when no more frames are taken.
    let mut region_frames = [0; (size_of::<[MemoryRegion; MOST_REGIONS]>()).div_ceil(PAGE as usize)];
    for (index, frame) in region_frames.iter_mut().enumerate() {
        *frame = tables.map(&mut memory, regions_at + index as u64 * PAGE, zeroed, Access::DATA);
    }
    let mut regions = [MemoryRegion::empty(); MOST_REGIONS];
    let count = memory.describe(&mut regions);
    copy_out(&regions, &region_frames);
    // SAFETY: there are as many regions at this address in the kernel's address space, and there is
    // no other reference to them.
    let told = unsafe { core::slice::from_raw_parts_mut(regions_at as *mut MemoryRegion, count) };
    let mut boot = BootInfo::new(told.into());
    boot.recursive_index = Optional::Some((recursive >> 39 & 511) as u16);
    boot.rsdp_addr = if info.rsdp == 0 { Optional::None } else { Optional::Some(info.rsdp) };
    boot.ramdisk_addr = Optional::Some(archive_at);
    boot.ramdisk_len = archive.len() as u64;
    boot.kernel_addr = kernel.as_ptr().addr() as u64;
    boot.kernel_len = kernel.len() as u64;
    boot.kernel_stack_bottom = guard + PAGE;
    boot.kernel_stack_len = stack_len;
    const _: () = assert!(size_of::<BootInfo>() <= PAGE as usize);
    // SAFETY: the frame was taken for the boot information, and is mapped at its own address.
    unsafe { (info_frame as *mut BootInfo).write(boot) };
    // SAFETY: in the new address space this code has the same address as in the present one, and
    // the stack and the kernel are mapped; the kernel's entry takes the address of the boot
    // information, with the stack as after a call.
    unsafe {
        asm!(
            "mov cr3, {root}",
            "mov rsp, {stack}",
            "xor ebp, ebp",
            "push 0",
            "jmp {entry}",
            root = in(reg) tables.root(),
            stack = in(reg) guard + PAGE + stack_len,
            entry = in(reg) elf.header.pt2.entry_point(),
            in("rdi") information,
            options(noreturn)
        )
    }
}

/// The physical addresses of this program.
fn own() -> Range<u64> {
    unsafe extern "C" {
        #[link_name = "image_start"]
        static START: u8;
        #[link_name = "image_end"]
        static END: u8;
    }
    (&raw const START).addr() as u64..((&raw const END).addr() as u64).next_multiple_of(PAGE)
}

fn current_root() -> u64 {
    let root: u64;
    // SAFETY: reading CR3 changes nothing.
    unsafe { asm!("mov {}, cr3", out(reg) root, options(nomem, nostack, preserves_flags)) };
    root & !(PAGE - 1)
}

/// The kernel's configuration for its boot loader.
fn config(elf: &ElfFile<'_>) -> BootloaderConfig {
    let section =
        elf.find_section_by_name(".bootloader-config").expect("the kernel does not say what it needs of its loader");
    match BootloaderConfig::deserialize(section.raw_data(elf)) {
        Ok(config) => config,
        Err(what) => panic!("what the kernel needs of its loader cannot be read: {what}"),
    }
}

/// Copies the kernel's segments into frames of their own and maps them.
fn load(elf: &ElfFile<'_>, memory: &mut Memory, tables: &mut Tables) {
    for segment in elf.program_iter().filter(|s| matches!(s.get_type(), Ok(Type::Load))) {
        let (addr, len) = (segment.virtual_addr(), segment.mem_size());
        let file = segment.offset() as usize..(segment.offset() + segment.file_size()) as usize;
        let bytes = elf.input.get(file).expect("a segment of the kernel ends behind its file");
        let flags = segment.flags();
        let access = Access { writable: flags.is_write(), executable: flags.is_execute() };
        let mut page = addr & !(PAGE - 1);
        while page < addr + len {
            let frame = tables.map(memory, page, zeroed, access);
            // The part of the file that belongs to this page.
            let (from, to) = (page.max(addr), (page + PAGE).min(addr + bytes.len() as u64));
            if from < to {
                let part = &bytes[(from - addr) as usize..(to - addr) as usize];
                // SAFETY: the frame is one page, mapped at its own address; the part lies within
                // the page.
                unsafe { core::ptr::copy_nonoverlapping(part.as_ptr(), (frame + from - page) as *mut u8, part.len()) };
            }
            page += PAGE;
        }
    }
}

/// Copies the regions into the frames in which the kernel finds them.
fn copy_out(regions: &[MemoryRegion; MOST_REGIONS], frames: &[u64]) {
    for (index, &frame) in frames.iter().enumerate() {
        let offset = index * PAGE as usize;
        let len = (size_of_val(regions) - offset).min(PAGE as usize);
        // SAFETY: `len` bytes from `offset` on lie within the regions, and the frame has room for
        // them.
        unsafe { core::ptr::copy_nonoverlapping(regions.as_ptr().cast::<u8>().add(offset), frame as *mut u8, len) };
    }
}

/// Port 0xE9, QEMU's debug console, to which the kernel logs too.
struct Port;

impl Write for Port {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for byte in s.bytes() {
            // SAFETY: no device of a PC decodes port 0xE9 but QEMU's debug console, which only
            // stores the byte.
            unsafe { asm!("out 0xe9, al", in("al") byte, options(nomem, nostack, preserves_flags)) };
        }
        Ok(())
    }
}

/// Prints the message, and ends the machine as a panic of the kernel does: by QEMU's isa-debug-exit
/// if there is one; otherwise it halts.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let _ = writeln!(Port, "The kernel cannot be started: {}", info.message());
    loop {
        // SAFETY: on a PC only isa-debug-exit decodes port 0xF4; interrupts are disabled, so that
        // the processor stays halted.
        unsafe { asm!("out 0xf4, eax", "hlt", in("eax") 0x12, options(nomem, nostack)) };
    }
}
