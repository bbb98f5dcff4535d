//! What the host tells a run.

use alloc::vec::Vec;
use fault_injection::Driver;
use seeded::told;

/// The name of the item.
const NAME: &[u8] = b"opt/enigma/chaos";

/// A run.
pub struct Config {
    /// From which all follows.
    pub seed: u64,
    /// Faults.
    pub count: u32,
    /// The drivers that they are done to.
    pub drivers: Vec<Driver>,
}

impl Config {
    /// As the host gives it: `SEED COUNT DRIVER,DRIVER`. `None` where it gives none.
    pub fn read() -> Option<Config> {
        let text = told::text(NAME)?;
        let mut words = text.split_whitespace();
        let (seed, count) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let drivers = words.next()?.split(',').map(Driver::named).collect::<Option<Vec<_>>>()?;
        Some(Config { seed, count, drivers })
    }
}
