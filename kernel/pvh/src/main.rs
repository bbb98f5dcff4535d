//! The third way to boot the kernel, besides BIOS and UEFI images: a hypervisor (QEMU with
//! `-kernel`) loads this program and jumps to it by the PVH protocol (the Xen project's
//! `docs/misc/pvh.pandoc`; `xen/include/public/arch-x86/hvm/start_info.h`), with the kernel and its
//! boot archive in memory as a module. It does the work of the boot loader: it maps the kernel as
//! the kernel's own configuration says, and passes the same [`BootInfo`](bootloader_api::BootInfo).
//! So the kernel is independent of the way in which it was booted.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod entry;
#[cfg(target_os = "none")]
mod load;
#[cfg(target_os = "none")]
mod tables;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This starts a kernel in a virtual machine: `cargo xtask run` does that.");
}
