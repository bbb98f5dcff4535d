//! What the program that starts the kernel by the PVH protocol knows without a machine: the file that it finds, and the memory map.
#![cfg_attr(target_os = "none", no_std)]

pub mod module;
pub mod regions;
