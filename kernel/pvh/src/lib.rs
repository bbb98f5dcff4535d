//! The parts of the PVH loader that are independent of the machine: the format of the module, and
//! the memory map.
#![cfg_attr(target_os = "none", no_std)]

pub mod module;
pub mod regions;
