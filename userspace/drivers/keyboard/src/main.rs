//! The driver's program: see [`driver_keyboard::task`].
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

rt::driver!(driver_keyboard::task::Service, serves driver_keyboard);
