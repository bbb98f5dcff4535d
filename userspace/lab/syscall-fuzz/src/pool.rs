//! What a fuzzer remembers, shared by its threads without any lock, so that a thread that dies holds up nobody.

use crate::Random;
use abi::message::{Header, Rights};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a handle is believed to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
#[allow(missing_docs)]
pub enum Kind {
    Endpoint = abi::message::Kind::Endpoint as u64,
    Notification = abi::message::Kind::Notification as u64,
    Memory = abi::message::Kind::Memory as u64,
    Interrupt = abi::message::Kind::Interrupt as u64,
    Timer = abi::message::Kind::Timer as u64,
    Thread = abi::message::Kind::Thread as u64,
    System = abi::message::Kind::System as u64,
    Unknown = 8,
}

impl Kind {
    /// What a header says that came with a handle.
    pub fn of(kind: abi::message::Kind) -> Kind {
        match kind {
            abi::message::Kind::Endpoint => Kind::Endpoint,
            abi::message::Kind::Notification => Kind::Notification,
            abi::message::Kind::Memory => Kind::Memory,
            abi::message::Kind::Interrupt => Kind::Interrupt,
            abi::message::Kind::Timer => Kind::Timer,
            abi::message::Kind::Thread => Kind::Thread,
            abi::message::Kind::System => Kind::System,
        }
    }
}

/// Numbers that are worth coming back to: the oldest make room.
pub struct Pool<const N: usize>([AtomicU64; N]);

impl<const N: usize> Pool<N> {
    /// With nothing in it.
    #[allow(clippy::new_without_default, reason = "it is only ever a static")]
    pub const fn new() -> Self {
        Pool([const { AtomicU64::new(0) }; N])
    }

    /// Remembers a number that is not 0, in an empty place if one is found at once.
    pub fn put(&self, random: &mut Random, number: u64) {
        let free = self.0.iter().find(|place| place.load(Relaxed) == 0);
        if let Some(place) = free.or_else(|| random.pick(&self.0)) {
            place.store(number, Relaxed);
        }
    }

    /// One of them, or 0.
    pub fn pick(&self, random: &mut Random) -> u64 {
        (0..4)
            .map(|_| random.pick(&self.0).map_or(0, |place| place.load(Relaxed)))
            .find(|&n| n != 0)
            .unwrap_or_default()
    }

    /// Whether it remembers this number.
    pub fn has(&self, number: u64) -> bool {
        number != 0 && self.0.iter().any(|place| place.load(Relaxed) == number)
    }

    /// Forgets a number.
    pub fn forget(&self, number: u64) {
        self.0.iter().filter(|place| place.load(Relaxed) == number).for_each(|place| place.store(0, Relaxed));
    }
}

/// Handles with what they are believed to be, in the upper half: kind, a seal, rights that they cannot have. Calls write everywhere, into this
/// too: what the seal does not fit says nothing about rights.
pub struct Handles(Pool<48>);

const SEAL: u64 = 0xfff << 44;

fn sealed(word: u64) -> u64 {
    let word = word & !SEAL;
    word | word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8 & SEAL
}

impl Handles {
    /// None.
    #[allow(clippy::new_without_default, reason = "it is only ever a static")]
    pub const fn new() -> Self {
        Handles(Pool::new())
    }

    /// Remembers a handle, and rights that it was made without.
    pub fn put(&self, random: &mut Random, kind: Kind, handle: u64, lacks: Rights) {
        self.0.put(random, sealed((kind as u64) << 56 | u64::from(lacks.bits()) << 32 | handle & 0xffff_ffff));
    }

    /// Rights that a handle surely has not got.
    pub fn lacks(&self, handle: u64) -> Rights {
        let all = self.0.0.iter().map(|place| place.load(Relaxed));
        let known = all.filter(|&word| word & 0xffff_ffff == handle && sealed(word) == word);
        known.fold(Rights::empty(), |lacks, word| lacks | Rights::from_bits_truncate((word >> 32) as u32 & 0xfff))
    }

    /// A handle, of this kind if one is found at once.
    pub fn pick(&self, random: &mut Random, kind: Kind) -> u64 {
        let fits = |found: u64| found >> 56 == kind as u64 || found >> 56 == Kind::Unknown as u64;
        let mut found = 0;
        for _ in 0..8 {
            found = self.0.pick(random);
            if fits(found) {
                break;
            }
        }
        found & 0xffff_ffff
    }

    /// Any handle with what it is believed to be.
    pub fn any(&self, random: &mut Random) -> (u64, Kind) {
        let found = self.0.pick(random);
        let kinds = [
            Kind::Endpoint,
            Kind::Notification,
            Kind::Memory,
            Kind::Timer,
            Kind::Thread,
            Kind::Interrupt,
            Kind::System,
        ];
        let kind = kinds.into_iter().find(|&kind| kind as u64 == found >> 56).unwrap_or(Kind::Unknown);
        (found & 0xffff_ffff, kind)
    }

    /// Forgets a handle.
    pub fn forget(&self, handle: u64) {
        let places = self.0.0.iter().filter(|place| place.load(Relaxed) & 0xffff_ffff == handle);
        places.for_each(|place| place.store(0, Relaxed));
    }
}

/// The header of a message, and the handle that goes with it.
pub fn message(random: &mut Random, handles: &Handles, leases: bool) -> (u64, u64) {
    let mut header = Header::new(random.below(8) as u16);
    if leases && random.once_in(3) {
        header = header.with_leases(random.below(6) as usize);
    }
    let mut transfer = 0;
    if random.once_in(4) {
        let (handle, kind) = handles.any(random);
        // Mostly the header is true, and of what travels at all.
        let told = if random.once_in(8) { random.below(8) } else { kind as u64 & 7 };
        header = Header(header.0 | told << 20);
        let rights = if random.once_in(3) { random.next() as u32 } else { Rights::all().bits() };
        transfer = u64::from(rights) << 32 | handle;
    }
    // `leases` may be lent with a call alone, and a call alone has an answer.
    if leases && random.once_in(3) {
        header = Header(header.0 | (1 + random.below(3)) << 23);
    }
    let noise = if random.once_in(40) { random.next() } else { 0 };
    (header.0 ^ noise, transfer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_come_back_by_kind() {
        let (handles, mut random) = (Handles::new(), Random::new(1));
        assert_eq!(handles.pick(&mut random, Kind::Memory), 0);
        for n in 0..40 {
            handles.put(&mut random, if n % 2 == 0 { Kind::Memory } else { Kind::Timer }, 100 + n, Rights::empty());
        }
        let even = (0..100).filter(|_| handles.pick(&mut random, Kind::Memory) % 2 == 0).count();
        assert!(even > 90, "{even}");
        (100..140).for_each(|handle| handles.forget(handle));
        assert_eq!(handles.any(&mut random), (0, Kind::Unknown));
    }

    #[test]
    fn rights_are_known_until_somebody_writes_over_them() {
        let (handles, mut random) = (Handles::new(), Random::new(1));
        handles.put(&mut random, Kind::Memory, 0x3_0007, Rights::WRITE | Rights::LOGS);
        assert_eq!(handles.lacks(0x3_0007), Rights::WRITE | Rights::LOGS);
        assert_eq!(handles.lacks(0x4_0007), Rights::empty());
        let place = handles.0.0.iter().find(|place| place.load(Relaxed) != 0).expect("one");
        let word = place.load(Relaxed);
        let known = |changed: u64| {
            place.store(changed, Relaxed);
            handles.lacks(0x3_0007) != Rights::empty()
        };
        let noticed = (32..64).filter(|bit| !known(word ^ 1 << bit)).count();
        assert_eq!(noticed, 32);
        handles.forget(0x3_0007);
        assert_eq!(handles.any(&mut random), (0, Kind::Unknown));
    }

    #[test]
    fn a_full_pool_takes_new_numbers() {
        let (pool, mut random) = (Pool::<4>::new(), Random::new(1));
        (1..100).for_each(|n| pool.put(&mut random, n));
        assert!((0..50).any(|_| pool.pick(&mut random) > 90));
    }
}
