//! The local APIC of the processor (Intel SDM vol. 3A, chapter 10), which receives all interrupts
//! of lines from I/O APICs, and whose timer is the timer's line.
//!
//! The lines are those of the ISA bus, wherever the firmware's tables say that they arrive. An
//! interrupt of an edge-triggered line is ended at once, and the line is held until its driver
//! acknowledges the interrupt; only if it interrupts again meanwhile, it is masked, and its driver
//! is told once more afterwards, because an input that is masked loses edges (82093AA data sheet,
//! section 3.4.2). A level-triggered line is masked until then. Either way a device interrupts at
//! most twice for each acknowledgement.

use core::sync::atomic::AtomicU32;

/// The bit set of edge-triggered lines that are held: they have interrupted, and their drivers have
/// not acknowledged it. The assembly holds some lines itself.
pub static STATE: AtomicU32 = AtomicU32::new(0);

/// The address at which the local APIC's registers are mapped, in the part of the top table that
/// has the kernel's stacks, far from these. Those of I/O APICs are in the pages behind it.
pub const REGISTERS: u64 = 0xffff_fe80_0000_0000 + (300 << 30);

/// The assembly: see [`super`]. Register 0xB0 is the end of interrupt.
macro_rules! assembly {
    (mask_and_end) => {
        "bts dword ptr [rip + {controller}], ecx
        .if {ring_0}
        movabs rax, {registers}
        mov dword ptr [rax + 0xb0], 0
        .endif"
    };
    (rest) => {
        ""
    };
}

pub(crate) use assembly;

#[cfg(not(test))]
pub use driver::Apic;

/// The part in Rust, which host tests of the assembly leave out.
#[cfg(not(test))]
mod driver {
    use super::{REGISTERS, STATE};
    use crate::arch::controller::{Entries, InterruptController, SPURIOUS, vector};
    use crate::arch::cpu::{self, Register};
    use crate::arch::ioapic::{Input, IoApics};
    use crate::arch::paging::{self, KernelFlags};
    use crate::arch::{stacks, timer};
    use core::sync::atomic::Ordering::Relaxed;
    use kernel_core::acpi::platform::{Platform, Polarity, Trigger};
    use kernel_core::addr::PhysAddr;
    use kernel_core::lines::{LINES, Line, LineSet};
    use x86_64::registers::model_specific::Msr;
    use x86_64::structures::paging::{FrameAllocator, Size4KiB};

    const _: () = assert!(REGISTERS == stacks::BASE + (300 << 30));

    /// IA32_APIC_BASE: its address, and bits.
    const APIC_BASE: u32 = 0x1b;
    const ENABLED: u64 = 1 << 11;
    const X2APIC: u64 = 1 << 10;
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
    /// IA32_XAPIC_DISABLE_STATUS: bit 0 says that the mode with registers in memory is locked out
    /// (Intel SDM vol. 4, table 2-2); IA32_ARCH_CAPABILITIES, whose bit 21 says that it exists.
    const XAPIC_DISABLED: u32 = 0xbd;
    const CAPABILITIES: u32 = 0x10a;

    /// Registers of the local APIC by their offsets (Intel SDM vol. 3A, table 10-1).
    const ID: u64 = 0x20;
    const PRIORITY: u64 = 0x80;
    const END: u64 = 0xb0;
    const SPURIOUS_VECTOR: u64 = 0xf0;
    const IN_SERVICE: u64 = 0x100;
    const LVT_CMCI: u64 = 0x2f0;
    const LVT_TIMER: u64 = 0x320;
    const LVT_THERMAL: u64 = 0x330;
    const LVT_COUNTERS: u64 = 0x340;
    const LVT_LINT0: u64 = 0x350;
    const LVT_ERROR: u64 = 0x370;
    const INITIAL: u64 = 0x380;
    const CURRENT: u64 = 0x390;
    const DIVIDE: u64 = 0x3e0;
    const VERSION: u64 = 0x30;

    const MASKED: u32 = 1 << 16;
    /// Of the timer's entry: it interrupts at a value of the time-stamp counter.
    const TSC_DEADLINE: u32 = 2 << 17;
    /// The timer counts at the clock of the bus.
    const BY_ONE: u32 = 0b1011;
    const SOFTWARE_ENABLED: u32 = 1 << 8;

    /// The local APIC and the I/O APICs.
    pub struct Apic {
        inputs: IoApics,
        /// The input of each line; `None` if it has none.
        lines: [Option<Input>; LINES],
        /// The lines that are level-triggered.
        level: LineSet,
        /// The lines whose inputs are masked.
        masked: LineSet,
        /// The edge-triggered lines that may have lost an interrupt.
        lost: LineSet,
    }

    fn read(register: u64) -> u32 {
        // SAFETY: the registers are mapped before anything here reads them.
        unsafe { ((REGISTERS + register) as *const u32).read_volatile() }
    }

    fn write(register: u64, value: u32) {
        // SAFETY: the registers are mapped before anything here writes them, and are the kernel's
        // alone.
        unsafe { ((REGISTERS + register) as *mut u32).write_volatile(value) }
    }

    /// Has the timer count down once, and interrupt, if it is not masked, at 0; with a count of 0
    /// it stops.
    pub fn count_down(count: u32) {
        write(INITIAL, count);
    }

    /// What is left of the count.
    pub fn count() -> u32 {
        read(CURRENT)
    }

    /// Whether the processor can be used with the registers of its local APIC in memory. That is
    /// enabled if so.
    #[unsafe(link_section = "boot_text")]
    fn enable() -> Option<PhysAddr> {
        if !cpu::offers(1, 0, Register::Edx, 1 << 9) {
            return None;
        }
        let mut base = Msr::new(APIC_BASE);
        // SAFETY: the register exists, as CPUID says that there is a local APIC.
        let value = unsafe { base.read() };
        if value & X2APIC != 0 {
            let listed = cpu::offers(7, 0, Register::Edx, 1 << 29);
            // SAFETY: CPUID, and then the first register, say that the registers exist.
            let locked = listed
                && unsafe { Msr::new(CAPABILITIES).read() & 1 << 21 != 0 && Msr::new(XAPIC_DISABLED).read() & 1 != 0 };
            if locked {
                return None;
            }
            // SAFETY: the other mode can be left only by way of the disabled state (section
            // 10.12.5); interrupts are off.
            unsafe { base.write(value & !(ENABLED | X2APIC)) };
        }
        // SAFETY: enables the local APIC at the address at which it is.
        unsafe { base.write(value & !X2APIC | ENABLED) };
        Some(PhysAddr::new(value & ADDRESS))
    }

    impl Apic {
        /// Initialises the controller with every line masked; `None` if the machine has no local
        /// APIC, or no I/O APIC at which the lines arrive. The IDT has a handler for each vector,
        /// and nobody else drives the controller. `frames` provides page tables.
        #[unsafe(link_section = "boot_text")]
        pub fn new(platform: &Platform, frames: &mut impl FrameAllocator<Size4KiB>) -> Option<Self> {
            platform.local_apic?;
            platform.io_apics.first()?.as_ref()?;
            let at = enable()?;
            let mut map = |page: u64, at: PhysAddr| {
                // SAFETY: nothing else lies at this address, and the registers are the kernel's
                // alone: no task gets a range that reaches them.
                unsafe {
                    paging::map_kernel(page, at, KernelFlags::DEVICE, &mut || paging::take_zeroed(frames));
                }
            };
            map(REGISTERS, at);
            let mut inputs = IoApics::new(platform, REGISTERS + 0x1000, &mut map);
            set_local();
            let mut lines = [None; LINES];
            let mut level = LineSet::EMPTY;
            let processor = (read(ID) >> 24) as u8;
            for (number, (slot, isa)) in (0..).zip(lines.iter_mut().zip(&platform.isa)) {
                let line = Line::new(number);
                // The timer is the local APIC's own, and line 2 was the way to the second 8259.
                if line == timer::LINE || line == CASCADE {
                    continue;
                }
                let Some(input) = inputs.input(platform, isa.gsi) else { continue };
                let is_level = isa.signal.trigger == Trigger::Level;
                inputs.set(input, vector(line), is_level, isa.signal.polarity == Polarity::Low, processor);
                level = if is_level { level.with(LineSet::of(line)) } else { level };
                *slot = Some(input);
            }
            Some(Apic { inputs, lines, level, masked: LineSet::from_bits(u32::MAX), lost: LineSet::EMPTY })
        }

        fn input(&self, line: Line) -> Option<Input> {
            self.lines.get(usize::from(line.number())).copied().flatten()
        }

        fn set_masked(&mut self, line: Line, masked: bool) {
            let one = LineSet::of(line);
            self.masked = if masked { self.masked.with(one) } else { self.masked.without(one) };
            if line == timer::LINE {
                let entry = read(LVT_TIMER) & !MASKED;
                write(LVT_TIMER, if masked { entry | MASKED } else { entry });
            } else if let Some(input) = self.input(line) {
                self.inputs.set_masked(input, masked);
            }
        }

        /// Has the timer interrupt by the time-stamp counter (IA32_TSC_DEADLINE) rather than by its
        /// own count.
        pub fn use_tsc_deadline(&mut self) {
            write(LVT_TIMER, read(LVT_TIMER) & MASKED | TSC_DEADLINE | u32::from(vector(timer::LINE)));
        }
    }

    /// The line of the first 8259 to which the second one was attached.
    const CASCADE: Line = Line::new(2);

    /// Sets all registers of the local APIC: nothing is kept of what the firmware left, but how
    /// NMIs arrive at LINT1.
    #[unsafe(link_section = "boot_text")]
    fn set_local() {
        write(INITIAL, 0);
        write(LVT_TIMER, MASKED | u32::from(vector(timer::LINE)));
        write(DIVIDE, BY_ONE);
        // Nothing arrives from the 8259s.
        write(LVT_LINT0, MASKED);
        write(LVT_ERROR, MASKED);
        let entries = read(VERSION) >> 16 & 0xff;
        for (register, least) in [(LVT_COUNTERS, 4), (LVT_THERMAL, 5), (LVT_CMCI, 6)] {
            if entries >= least {
                write(register, MASKED);
            }
        }
        write(PRIORITY, 0);
        write(SPURIOUS_VECTOR, SOFTWARE_ENABLED | u32::from(vector(SPURIOUS)));
        // Interrupts that the firmware has begun and not ended: at most one of each class of 16
        // vectors.
        for _ in 0..16 {
            if (0..8).any(|part| read(IN_SERVICE + 0x10 * part) != 0) {
                write(END, 0);
            }
        }
    }

    impl InterruptController for Apic {
        fn internal(&self) -> LineSet {
            LineSet::of(CASCADE)
        }

        /// Lines that are edge-triggered: for the others the input is masked, too.
        fn fast(&self) -> Option<(Entries, LineSet)> {
            let all = LineSet::from_bits((1 << LINES) - 1);
            Some((Entries::Apic, all.without(self.level).without(LineSet::of(timer::LINE))))
        }

        fn is_real(&mut self, line: Line) -> bool {
            line != SPURIOUS
        }

        fn hold(&mut self, line: Line) -> bool {
            let one = LineSet::of(line);
            let held = !self.level.contains(line) && STATE.fetch_or(one.bits(), Relaxed) & one.bits() != 0;
            if held {
                self.lost = self.lost.with(one);
            }
            if held || self.level.contains(line) {
                self.set_masked(line, true);
            }
            self.end(line);
            !held
        }

        fn end(&mut self, _: Line) {
            write(END, 0);
        }

        fn mask(&mut self, lines: LineSet) {
            for line in (0..LINES as u8).map(Line::new).filter(|&line| lines.contains(line)) {
                self.set_masked(line, true);
            }
            STATE.fetch_and(!lines.bits(), Relaxed);
            self.lost = self.lost.with(lines.without(self.level).without(LineSet::of(timer::LINE)));
        }

        fn unmask(&mut self, line: Line) -> bool {
            let one = LineSet::of(line);
            if self.masked.contains(line) {
                self.set_masked(line, false);
            }
            let lost = self.lost.contains(line);
            self.lost = self.lost.without(one);
            if lost {
                STATE.fetch_or(one.bits(), Relaxed);
            } else {
                STATE.fetch_and(!one.bits(), Relaxed);
            }
            lost
        }

        fn masked(&mut self) -> LineSet {
            (0..LINES as u8).map(Line::new).fold(LineSet::EMPTY, |masked, line| {
                let is_masked = match self.input(line) {
                    _ if line == timer::LINE => read(LVT_TIMER) & MASKED != 0,
                    Some(input) => self.inputs.is_masked(input),
                    None => true,
                };
                if is_masked { masked.with(LineSet::of(line)) } else { masked }
            })
        }
    }
}

#[cfg(not(test))]
pub use driver::{count, count_down};
