//! The driver's program: see [`driver_serial::task`].
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

rt::driver!(driver_serial::task::Serial, serves driver_serial);
