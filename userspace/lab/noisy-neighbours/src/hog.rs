//! Takes all memory and all objects, gives them back, and takes them again.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::vec::Vec;
use rt::ipc::{Endpoint, close};
use rt::memory::Memory;
use rt::notify::Notification;

rt::entry!(run);

/// Most pages of one memory object.
const MOST: usize = 256;

fn run() {
    let mut told = false;
    loop {
        let mut taken = Vec::with_capacity(2048);
        for pages in [MOST, 1] {
            while let Ok(memory) = Memory::create(pages) {
                taken.push(memory.0);
                if pages == MOST && taken.len().is_multiple_of(8) {
                    // Some of it mapped, so that page tables are taken too.
                    if let Ok(mapping) = memory.map(true) {
                        mapping.leak();
                    }
                }
            }
        }
        let objects = core::iter::from_fn(|| Endpoint::create().ok().map(|endpoint| endpoint.0));
        taken.extend(objects);
        taken.extend(core::iter::from_fn(|| Notification::create().ok().map(|notification| notification.0)));
        if !told {
            told = true;
            rt::println!("holds {} handles", taken.len());
        }
        for handle in taken {
            let _ = close(handle);
        }
    }
}
