//! What builds programs and disk images, and boots and drives machines in QEMU: what the commands of `cargo xtask` and the laboratory
//! (`xtask/lab`) are made of.
//!
//! From a task table to a machine: `manifest` reads `system.toml`, `build` has cargo make the kernel and the tasks and puts them in the boot
//! archive, `loader` makes an image of it, `qemu` starts a machine, and `guest` types on its serial line and keyboard and reads its screen.
//! `harness` is what tests have in common.

#![warn(missing_docs)]

mod archive;
pub mod build;
pub mod children;
mod direct;
mod elf_check;
pub mod guest;
pub mod hardware;
pub mod harness;
pub mod interactive;
pub mod keys;
mod lines;
pub mod loader;
pub mod manifest;
pub mod outside;
pub mod paths;
pub mod qemu;
pub mod qmp;
pub mod screen;
pub mod script;
pub mod serial;
pub mod signals;
pub mod symbols;
mod tasks;
pub mod terminal;
pub mod toolchain;
pub mod ui;
