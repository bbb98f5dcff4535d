//! Reads one port after the other, one in each life, from where the last life was stopped.
#![cfg_attr(target_os = "none", no_std, no_main)]

use rt::memory::Memory;

rt::entry!(run);

fn run() {
    let Some(Ok(mut kept)) = Memory::keep().map(|keep| keep.map(true)) else {
        panic!("enigma.toml gives it memory that outlives it")
    };
    let port = kept.read_u16(0);
    kept.write_u16(0, port.wrapping_add(1));
    touch(port);
}

#[cfg(target_os = "none")]
fn touch(port: u16) {
    let value: u8;
    // SAFETY: reading a port changes no memory of this task; that the processor refuses it is what is tested.
    unsafe { core::arch::asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack)) };
    rt::println!("BROKEN: port {port:#x} gave {value:#x}");
}

#[cfg(not(target_os = "none"))]
fn touch(_: u16) {}
