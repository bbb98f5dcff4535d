//! The timer, which interrupts once at a time for which it is armed, given as a value of the
//! time-stamp counter: that of the local APIC, or the 8254 on a machine without one.

use super::controller::{Controller, apic};
use super::cpu::{self, Register};
use super::pit;
use kernel_core::clock::Clock;
use kernel_core::deadline::NEVER;
use kernel_core::lines::Line;
use x86_64::registers::model_specific::Msr;

/// The interrupt line of the timer.
pub const LINE: Line = Line::new(0);

/// The time in nanoseconds for which the local APIC's clock is measured.
const MEASURED_NS: u64 = 2_000_000;

/// IA32_TSC_DEADLINE (Intel SDM vol. 3A, section 10.5.4.1).
const TSC_DEADLINE: u32 = 0x6e0;

/// The timer of a machine.
pub struct Timer {
    kind: Kind,
    /// Counts of the timer's clock per cycle of the time-stamp counter, times 2^32.
    per_cycle: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Channel 0 of the 8254.
    Pit,
    /// The count of the local APIC (Intel SDM vol. 3A, section 10.5.4).
    Count,
    /// The local APIC compares with the time-stamp counter.
    Deadline,
}

impl Timer {
    /// Initialises the timer that belongs to the interrupt controller, disarmed. `clock` tells the
    /// frequency of the time-stamp counter.
    #[unsafe(link_section = "boot_text")]
    pub fn new(clock: &Clock, controller: &mut Controller) -> Self {
        let Controller::Apic(apic) = controller else {
            pit::start();
            let hertz = clock.span_cycles(1_000_000_000).max(1);
            return Timer { kind: Kind::Pit, per_cycle: (pit::HERTZ << 32) / hertz };
        };
        if cpu::offers(1, 0, Register::Ecx, 1 << 24) {
            apic.use_tsc_deadline();
            return Timer { kind: Kind::Deadline, per_cycle: 0 };
        }
        apic::count_down(u32::MAX);
        let (first, start) = narrow_sample();
        let long = clock.span_cycles(MEASURED_NS);
        while cpu::now().wrapping_sub(start) < long {
            core::hint::spin_loop();
        }
        let (last, end) = narrow_sample();
        apic::count_down(0);
        let counted = u64::from(first.wrapping_sub(last));
        Timer { kind: Kind::Count, per_cycle: (counted << 32) / end.wrapping_sub(start).max(1) }
    }

    /// Its name, for the log.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Pit => "8254",
            Kind::Count => "local APIC",
            Kind::Deadline => "TSC deadline",
        }
    }

    /// Arms the timer for `at` instead of any earlier or later time, or disarms it for [`NEVER`].
    /// It interrupts at `at`, or at once if that is past. If `at` is further away than the timer
    /// can count, it interrupts before; then it is to be armed again. `now` is the value of the
    /// time-stamp counter.
    pub fn arm(&mut self, at: u64, now: u64) {
        if self.kind == Kind::Deadline {
            // 0 disarms.
            let at = if at == NEVER { 0 } else { at };
            // SAFETY: CPUID says that the register exists, and the local APIC's timer is in this
            // mode.
            return unsafe { Msr::new(TSC_DEADLINE).write(at) };
        }
        let counts = ((u128::from(at.saturating_sub(now)) * u128::from(self.per_cycle)) >> 32).saturating_add(1);
        match self.kind {
            Kind::Count if at == NEVER => apic::count_down(0),
            Kind::Count => apic::count_down(u32::try_from(counts).unwrap_or(u32::MAX)),
            // It cannot be disarmed; it interrupts once more.
            _ if at == NEVER => {}
            _ => pit::count_down(u16::try_from(counts).unwrap_or(u16::MAX)),
        }
    }
}

/// The count of the local APIC and the time-stamp counter at the same time: the sample with the
/// least time between two readings of the counter around the count, since a hypervisor may suspend
/// the processor between them.
#[unsafe(link_section = "boot_text")]
fn narrow_sample() -> (u32, u64) {
    let mut best = (0, 0, u64::MAX);
    for _ in 0..8 {
        let before = cpu::now();
        let count = apic::count();
        let took = cpu::now().wrapping_sub(before);
        if took < best.2 {
            best = (count, before, took);
        }
    }
    (best.0, best.1)
}
