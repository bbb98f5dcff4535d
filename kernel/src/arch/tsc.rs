//! The frequency of the time-stamp counter: as the processor says, or measured against a counter of
//! the chipset whose frequency is known, in order of trust.

use super::cpu;
use super::hpet::Hpet;
use super::pit::Channel2;
use super::pm_timer::PmTimer;
use core::arch::x86_64::__cpuid;
use kernel_core::acpi::Platform;
use x86_64::structures::paging::{FrameAllocator, Size4KiB};

/// The part of a second for which the counters are compared.
const PART: u64 = 100;
/// The number of measurements that may fail before the next counter is tried.
const TRIES: u32 = 20;
/// The number of readings after which a counter that has not counted far enough counts as stopped.
/// One takes more than 0.1 us on every machine, so all together take longer than a measurement.
const READINGS: u32 = 1 << 18;
/// The frequency in hertz that is assumed if it cannot be measured.
const ASSUMED: u64 = 1_000_000_000;

/// A counter with a known frequency that counts up.
pub(super) trait Counter {
    /// Its frequency in hertz.
    fn hertz(&self) -> u64;
    /// The largest value that it has before it begins at 0 again: a power of two less 1.
    fn mask(&self) -> u64;
    /// Prepares it to be read for at least 50 ms.
    fn start(&mut self) {}
    /// Its value.
    fn read(&mut self) -> u64;
    /// Whether its values are of no use any more.
    fn is_over(&mut self) -> bool {
        false
    }
    /// Ends what `start` began.
    fn stop(&mut self) {}
}

/// A way to learn the frequency of the time-stamp counter.
enum Source {
    /// CPUID leaf 15h (Intel SDM vol. 2A): the frequency of a crystal, and its ratio.
    Processor(u64),
    Hpet(Hpet),
    PmTimer(PmTimer),
    Pit(Channel2),
}

impl Source {
    fn name(&self) -> &'static str {
        match self {
            Source::Processor(_) => "the processor",
            Source::Hpet(_) => "the HPET",
            Source::PmTimer(_) => "the ACPI timer",
            Source::Pit(_) => "the 8254",
        }
    }

    fn frequency(&mut self) -> Option<u64> {
        match self {
            Source::Processor(hertz) => Some(*hertz),
            Source::Hpet(hpet) => measure(hpet),
            Source::PmTimer(timer) => measure(timer),
            Source::Pit(channel) => measure(channel),
        }
    }
}

/// The machine's ways to learn the frequency, the most trusted first.
pub struct Reference {
    sources: [Option<Source>; 4],
}

impl Reference {
    /// What this machine has, according to its firmware's tables. `frames` provides page tables.
    #[unsafe(link_section = "boot_text")]
    pub fn find(platform: &Platform, frames: &mut impl FrameAllocator<Size4KiB>) -> Self {
        Reference {
            sources: [
                of_processor().map(Source::Processor),
                platform.hpet.and_then(|found| Hpet::new(found.address, frames)).map(Source::Hpet),
                platform.pm_timer.map(|found| Source::PmTimer(PmTimer::new(found))),
                Some(Source::Pit(Channel2::new())),
            ],
        }
    }

    /// No way, for a test kernel that takes them out of [`start`](crate::start).
    pub fn none() -> Self {
        Reference { sources: [None, None, None, None] }
    }

    /// The frequency of the time-stamp counter in hertz, and the name of what told it; no name if
    /// nothing did, and the frequency is assumed.
    pub fn measure(&mut self) -> (u64, Option<&'static str>) {
        let told = self.sources.iter_mut().flatten().find_map(|s| Some((s.frequency()?, Some(s.name()))));
        told.unwrap_or((ASSUMED, None))
    }

    /// The frequency in hertz according to each source, with its name, in order of trust: for test
    /// kernels.
    pub fn each(&mut self) -> impl Iterator<Item = (&'static str, Option<u64>)> {
        self.sources.iter_mut().flatten().map(|source| (source.name(), source.frequency()))
    }
}

/// The frequency of the time-stamp counter, where the processor says it.
#[unsafe(link_section = "boot_text")]
fn of_processor() -> Option<u64> {
    if __cpuid(0).eax < 0x15 {
        return None;
    }
    let found = __cpuid(0x15);
    if found.ebx == 0 {
        return None;
    }
    let hertz = u64::from(found.ecx) * u64::from(found.ebx);
    hertz.checked_div(found.eax.into()).filter(|&hertz| hertz >= 1_000_000)
}

/// Its value and that of the time-stamp counter at the same time: the sample with the least time
/// between two readings of the time-stamp counter around the other, since a hypervisor may suspend
/// the processor between them.
fn narrow_sample(counter: &mut dyn Counter) -> (u64, u64) {
    let mut best = (0, 0, u64::MAX);
    for _ in 0..9 {
        let before = cpu::now();
        let value = counter.read();
        let took = cpu::now().wrapping_sub(before);
        if took < best.2 {
            best = (value, before, took);
        }
    }
    (best.0, best.1)
}

/// The frequency of the time-stamp counter by another one; `None` if that does not count. It is
/// measured over a hundredth of a second, or longer if the processor was suspended meanwhile: both
/// counters are read at the same times, whenever these are.
fn measure(counter: &mut dyn Counter) -> Option<u64> {
    let (hertz, mask) = (counter.hertz(), counter.mask());
    let enough = hertz / PART;
    for _ in 0..TRIES {
        counter.start();
        let (first, start) = narrow_sample(counter);
        for _ in 0..READINGS {
            if counter.read().wrapping_sub(first) & mask >= enough || counter.is_over() {
                break;
            }
        }
        let (last, end) = narrow_sample(counter);
        let over = counter.is_over();
        counter.stop();
        let counted = last.wrapping_sub(first) & mask;
        // A counter that does not exist reads all ones.
        if counted == 0 {
            return None;
        }
        if !over && counted >= enough {
            let cycles = u128::from(end.wrapping_sub(start)) * u128::from(hertz);
            let found = cycles.checked_div(counted.into()).and_then(|found| u64::try_from(found).ok());
            return found.filter(|&found| found >= 1_000_000);
        }
    }
    None
}
