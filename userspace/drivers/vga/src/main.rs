//! The driver's program: see [`driver_vga::task`].
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

rt::driver!(driver_vga::task::Vga, serves driver_vga);
