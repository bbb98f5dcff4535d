//! What happens when the user, the system or a panic ends this program: the terminal is given back, no child lives on.

use crate::{children, interactive};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set while a signal is ending this program.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Set while Ctrl-C is another program's, with which we share the terminal.
static SHARED: AtomicBool = AtomicBool::new(false);

/// Leaves Ctrl-C to a child in the foreground, as long as this value lives.
pub struct Shared;

impl Shared {
    /// From now on.
    pub fn begin() -> Self {
        SHARED.store(true, Ordering::SeqCst);
        Self
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        SHARED.store(false, Ordering::SeqCst);
    }
}

/// Waits for the end if a signal is ending this program: what went wrong then went wrong because the children were
/// killed, and is no news.
pub fn yield_to_end() {
    while ENDING.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

/// Watches for the signals that end a program, and for panics.
pub fn install() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        interactive::restore_terminal();
        // A test of ours that panics must not end the children of the others.
        if !cfg!(test) {
            children::kill_all();
        }
        before(info);
    }));
    match Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT]) {
        Ok(mut signals) => {
            std::thread::spawn(move || {
                let ends = |signal: &i32| *signal != SIGINT || !SHARED.load(Ordering::SeqCst);
                if let Some(signal) = signals.forever().find(ends) {
                    ENDING.store(true, Ordering::SeqCst);
                    interactive::restore_terminal();
                    children::kill_all();
                    children::remove_directories();
                    // What a shell reports for a program that died of the signal.
                    std::process::exit(128 + signal);
                }
            });
        }
        // Then a signal ends us at once, and the kernel ends the children: see `children::spawn`.
        Err(error) => crate::ui::say(format!("signals cannot be watched: {error}")),
    }
}
