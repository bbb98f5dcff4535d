//! The processor and the two chips that every PC has: nearly all `unsafe` of the kernel is in here.

pub mod cpu;
pub mod debugcon;
pub mod entry;
pub mod firmware;
pub mod float;
pub mod gdt;
pub mod idt;
pub mod message;
#[cfg_attr(feature = "plain", expect(dead_code, reason = "the kernel without it takes the general path"))]
mod notify;
pub mod paging;
pub mod pci;
pub mod percore;
pub mod pic;
pub mod pit;
pub mod ports;
pub mod ram;
pub mod stacks;
pub mod state;
