//! What drivers are tested with on the host: [`qemu`], the device models of QEMU.
//!
//! [`crate::fake`] has devices that a test makes up.

pub mod qemu;
