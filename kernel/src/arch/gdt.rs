//! The segment descriptors, and the task state segment (TSS) with the I/O permission bitmap (Intel
//! SDM vol. 3A, chapter 8; vol. 1, section 19.5.2).

use super::stacks::Stack;
use abi::manifest::{Grant, GrantKind};
use kernel_core::Row;
use x86_64::instructions::segmentation::{CS, DS, ES, FS, GS, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::SegmentSelector;
use x86_64::{PrivilegeLevel, VirtAddr};

/// Selector of kernel code, ring 0.
pub const KERNEL_CODE: u16 = 0x08;
/// Selector of kernel data and stack, ring 0.
pub const KERNEL_DATA: u16 = 0x10;
/// Selector of user data and stack, ring 3.
pub const USER_DATA: u16 = 0x20 | 3;
/// Selector of user code, ring 3.
pub const USER_CODE: u16 = 0x28 | 3;
const TSS: u16 = 0x30;

/// IST slot of the double fault's stack. Slots are counted from 1, as in the descriptors.
pub const IST_DOUBLE_FAULT: u16 = 1;
/// IST slot of the NMI's stack. Slots are counted from 1, as in the descriptors.
pub const IST_NMI: u16 = 2;
/// IST slot of the machine check's stack. Slots are counted from 1, as in the descriptors.
pub const IST_MACHINE_CHECK: u16 = 3;

/// Bytes of the bitmap for all 65,536 ports.
const BITMAP: usize = 8192;
pub(super) const TSS_BODY: usize = 104;

/// The 64-bit TSS, followed by its bitmap and the byte of ones that must end it.
#[repr(C, packed(4))]
struct Tss {
    reserved0: u32,
    rsp: [u64; 3],
    reserved1: u64,
    ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    iomap_base: u16,
    bitmap: [u8; BITMAP],
    end: u8,
}

const _: () = assert!(core::mem::offset_of!(Tss, bitmap) == TSS_BODY);
const LIMIT: u32 = (TSS_BODY + BITMAP) as u32;
/// The bitmap offset that lies beyond the segment's limit: no port is allowed.
pub(super) const NO_BITMAP: u16 = 0xffff;
/// The number of no row.
const NOBODY: u16 = 0xffff;

/// The tables of segments that the processor reads, and the state that belongs to them.
#[repr(C, align(16))]
pub struct Tables {
    tss: Tss,
    gdt: [u64; 8],
    /// The row whose ports are allowed in the bitmap now, or [`NOBODY`].
    owner: Row,
    granted: [Ports; GrantKind::Ports.most()],
}

/// A range of ports that are allowed (clear) in the bitmap.
#[derive(Clone, Copy)]
struct Ports {
    base: u16,
    len: u32,
}

/// Offset of TSS.RSP0 in [`Tables`].
pub(super) const RSP0: usize = core::mem::offset_of!(Tables, tss) + core::mem::offset_of!(Tss, rsp);
/// Offset in [`Tables`] of the TSS field that holds the bitmap's offset.
pub(super) const IOMAP: usize = core::mem::offset_of!(Tables, tss) + core::mem::offset_of!(Tss, iomap_base);
/// Offset in [`Tables`] of the row whose ports are allowed in the bitmap.
pub(super) const OWNER: usize = core::mem::offset_of!(Tables, owner);

impl Tables {
    /// The tables of a core before [`init`].
    pub const NEW: Tables = Tables {
        tss: Tss {
            reserved0: 0,
            rsp: [0; 3],
            reserved1: 0,
            ist: [0; 7],
            reserved2: 0,
            reserved3: 0,
            iomap_base: NO_BITMAP,
            bitmap: [0xff; BITMAP],
            end: 0xff,
        },
        gdt: [0; 8],
        owner: Row::new(NOBODY),
        granted: [Ports { base: 0, len: 0 }; GrantKind::Ports.most()],
    };

    /// The frame end of the thread that runs, or ran last, which is TSS.RSP0.
    #[inline(always)]
    pub fn frame_end(&self) -> u64 {
        let rsp = self.tss.rsp;
        rsp[0]
    }

    /// Sets TSS.RSP0, below which the processor saves registers when ring 3 is interrupted: the end
    /// of the running thread's frame, aligned to 16 bytes; 0 if there is no such thread.
    #[inline(always)]
    pub fn set_frame_end(&mut self, end: u64) {
        self.tss.rsp[0] = end;
    }

    /// Allows no port from now on.
    #[inline(always)]
    pub fn no_ports(&mut self) {
        self.tss.iomap_base = NO_BITMAP;
    }

    /// Allows exactly the ports of the task in `row` from now on.
    pub fn set_ports<'a>(&mut self, row: Row, ports: impl Iterator<Item = &'a Grant>) {
        if self.owner != row {
            for range in &mut self.granted {
                change(&mut self.tss.bitmap, *range, true);
                range.len = 0;
            }
            for (range, grant) in self.granted.iter_mut().zip(ports) {
                *range = Ports { base: grant.base as u16, len: grant.len as u32 };
                change(&mut self.tss.bitmap, *range, false);
            }
            self.owner = row;
        }
        self.tss.iomap_base = TSS_BODY as u16;
    }
}

/// Code and data descriptors of 64-bit mode (Intel SDM vol. 3A, section 3.4.5): present, accessed,
/// type, ring, long mode.
const DESCRIPTORS: [u64; 6] = [
    0,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    // `sysret` computes its selectors from this one, where a 32-bit code segment would be; there is
    // none.
    0,
    0x00cf_f300_0000_ffff,
    0x00af_fb00_0000_ffff,
];

/// Loads the segments and the TSS.
#[expect(clippy::indexing_slicing, reason = "constants below 7")]
pub fn init() {
    // SAFETY: called once, before interrupts or ring 3 exist. The tables are static, so the
    // processor may use them permanently. The selectors name the descriptors that were just
    // written.
    unsafe {
        let tables = &raw mut (*super::percore::addr()).tables;
        let tss = &raw mut (*tables).tss;
        let base = tss as u64;
        let [a, b, c, d, e, f] = DESCRIPTORS;
        // System descriptor: limit, base, type 9 (available 64-bit TSS), present; second word: base
        // 63..32.
        let tss_low = u64::from(LIMIT & 0xffff)
            | (base & 0xff_ffff) << 16
            | 0x89 << 40
            | u64::from(LIMIT >> 16 & 0xf) << 48
            | (base >> 24 & 0xff) << 56;
        (*tables).gdt = [a, b, c, d, e, f, tss_low, base >> 32];
        let mut ist = [0; 7];
        ist[usize::from(IST_DOUBLE_FAULT) - 1] = Stack::DoubleFault.top().as_u64();
        ist[usize::from(IST_NMI) - 1] = Stack::Nmi.top().as_u64();
        ist[usize::from(IST_MACHINE_CHECK) - 1] = Stack::MachineCheck.top().as_u64();
        (*tables).tss.ist = ist;
        let pointer = DescriptorTablePointer { limit: 63, base: VirtAddr::from_ptr(&raw const (*tables).gdt) };
        x86_64::instructions::tables::lgdt(&pointer);
        CS::set_reg(SegmentSelector(KERNEL_CODE));
        SS::set_reg(SegmentSelector(KERNEL_DATA));
        let null = SegmentSelector::new(0, PrivilegeLevel::Ring0);
        DS::set_reg(null);
        ES::set_reg(null);
        FS::set_reg(null);
        GS::set_reg(null);
        load_tss(SegmentSelector(TSS));
    }
}

/// Clears the data segment registers, whose values the next task could otherwise read: `ds`, `es`,
/// `fs`, and the user's `gs`. In 64-bit mode null selectors are valid there (Intel SDM vol. 3A,
/// section 3.4.4).
#[inline(always)]
pub fn clear_user_selectors() {
    // SAFETY: 64-bit code uses only gs of these. Loading gs may clear its base; between the two
    // `swapgs` that is the user's base, which is 0 as ring 3 cannot set it (no FSGSBASE).
    // Interrupts are off, and the handlers of #DF, NMI and #MC, which may still occur, do not use
    // gs.
    unsafe {
        core::arch::asm!(
            "mov ds, {zero:x}", "mov es, {zero:x}", "mov fs, {zero:x}", "swapgs", "mov gs, {zero:x}", "swapgs",
            zero = in(reg) 0u64, options(nostack, preserves_flags),
        );
    }
}

/// Denies or allows a range of ports. Whole bytes are written at once: with 57,344 ports, as a task
/// may have, one by one, every switch from or to it would take half a million instructions.
fn change(bitmap: &mut [u8; BITMAP], range: Ports, deny: bool) {
    let mut set = |byte: usize, bits: u8| {
        if let Some(byte) = bitmap.get_mut(byte) {
            *byte = if deny { *byte | bits } else { *byte & !bits };
        }
    };
    let first = usize::from(range.base);
    let end = first + range.len as usize;
    let (whole, after) = (first.div_ceil(8), end / 8);
    // The bits from the first port on, and those below the end, of a byte that is not whole.
    let (from, below) = (0xff << (first % 8), !(0xff << (end % 8)));
    if whole > after {
        return set(after, from & below);
    }
    if whole != first / 8 {
        set(first / 8, from);
    }
    set(after, below);
    if let Some(bytes) = bitmap.get_mut(whole..after) {
        bytes.fill(if deny { 0xff } else { 0 });
    }
}
