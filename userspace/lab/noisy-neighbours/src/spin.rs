//! Spins, with as many threads as it gets.
#![cfg_attr(target_os = "none", no_std, no_main)]

rt::entry!(run);

fn run() {
    let priority = rt::info().priority as u8;
    for _ in 0..16 {
        // Where there is no room for more, those there are must do.
        let _ = rt::thread::spawn(spin, 1, priority);
    }
    spin();
}

fn spin() {
    loop {
        core::hint::spin_loop();
    }
}
