//! The third door into the kernel, beside BIOS and UEFI images: a hypervisor (QEMU with `-kernel`) loads this program and jumps to it by the
//! PVH protocol (the Xen project's `docs/misc/pvh.pandoc`; `xen/include/public/arch-x86/hvm/start_info.h`), with the kernel and its boot
//! archive in memory as a module. It does what the boot loader does: it maps the kernel as the kernel's own configuration asks for, and hands
//! over the same [`BootInfo`](bootloader_api::BootInfo). So the kernel need not know by which door it was entered.
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
