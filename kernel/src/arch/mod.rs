//! The processor and the chips that every PC has. Nearly all of the kernel's `unsafe` code is here.
//! It uses no name of the kernel above it: the entry stubs are given that kernel's functions at
//! start (see [`handlers`]).

pub mod controller;
pub mod cpu;
pub mod debugcon;
pub mod entry;
pub mod fast;
pub mod firmware;
pub mod float;
pub mod gdt;
pub mod handlers;
mod hpet;
pub mod idt;
#[cfg_attr(feature = "plain", expect(dead_code, reason = "the kernel without it takes the general path"))]
mod interrupt;
mod ioapic;
mod message;
mod notify;
pub mod paging;
pub mod pci;
pub mod percore;
pub mod pit;
mod pm_timer;
pub mod ports;
pub mod ram;
pub mod stacks;
pub mod state;
mod switch;
pub mod timer;
pub mod tsc;
