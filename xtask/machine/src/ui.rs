//! What the user is told while something takes long: whole lines on stderr, so that a log of them can be read too.

use std::io::Write;
use std::time::{Duration, Instant};

/// Says one thing on stderr, marked as coming from this tool.
pub fn say(text: impl AsRef<str>) {
    // The user may have closed stderr; that is no reason to stop.
    let _ = writeln!(std::io::stderr().lock(), "xtask: {}", text.as_ref());
}

/// A long step: says that it begins, how it goes on, and how long it took.
pub struct Step {
    what: String,
    begun: Instant,
    last: Instant,
}

impl Step {
    /// Announces the step.
    pub fn begin(what: impl Into<String>) -> Self {
        let what = what.into();
        say(format!("{what} ..."));
        let now = Instant::now();
        Self { what, begun: now, last: now }
    }

    /// Says where the step stands, at most every ten seconds.
    pub(crate) fn progress(&mut self, detail: &str) {
        if self.last.elapsed() >= Duration::from_secs(10) {
            self.last = Instant::now();
            say(format!("{}: {detail} ({} s)", self.what, self.begun.elapsed().as_secs()));
        }
    }

    /// Says that the step is done, if it took long enough for anyone to wonder.
    pub fn done(self) {
        let took = self.begun.elapsed();
        if took >= Duration::from_secs(2) {
            say(format!("{} took {:.1} s", self.what, took.as_secs_f32()));
        }
    }
}
