//! The driver's program: see [`driver_power::task`].
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

rt::driver!(driver_power::task::Service, serves driver_power);
