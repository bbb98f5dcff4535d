//! What the assistant does where it does not serve.

use abi::syscall::Syscall;
use alloc::boxed::Box;
use alloc::vec::Vec;
use assist::raw::{Registers, syscall};
use assist::{CANARY, role, threads};
use core::arch::asm;
use core::hint::black_box;
use core::str::Split;
use rt::ipc::Endpoint;
use rt::println;
use rt::syscall as sys;

/// Exit code where a role came back although it should not have.
const SURVIVED: i32 = 3;
/// Exit code where the argument makes no sense.
const USAGE: i32 = 2;
/// An address that no task has anything at: the kernel's.
const KERNEL_ADDRESS: u64 = 0xffff_ffff_8000_0000;

/// Plays the role of this name.
pub fn play(name: &str, mut words: Split<'_, char>) -> ! {
    let word = words.next().unwrap_or_default();
    let number = || word.parse::<u64>().unwrap_or_else(|_| rt::exit(USAGE));
    match name {
        role::FAULT => match fault::kind(word) {
            Some(kind) => (kind.commit)(),
            None => rt::exit(USAGE),
        },
        role::TRICK => match assist::tricks::trick(word) {
            Some(trick) => (trick.commit)(),
            None => rt::exit(USAGE),
        },
        role::INTERRUPT => assist::tricks::interrupt(word.parse().unwrap_or_else(|_| rt::exit(USAGE))),
        role::DEVICE => die_with_a_device(word, words.next().unwrap_or("device")),
        role::WIDE => map_for_ever(),
        role::FLAGS => {
            let good =
                assist::tricks::flags_are_sanitised() && assist::tricks::an_interrupt_takes_nested_task_away(1 << 34);
            rt::exit(i32::from(!good))
        }
        role::CROWD => crowd(number()),
        role::FORGE => forge(word),
        role::SPIN => spin(),
        role::EXIT => rt::exit(word.parse().unwrap_or(USAGE)),
        role::CALL => call(number() as u16, words.next().and_then(|word| word.parse().ok()).unwrap_or(0)),
        role::JUMP_MAPPED => jump_to_mapped_memory(),
        role::USE_UNMAPPED => read_unmapped_memory(),
        role::JUMP_NULL => call_the_null_page(),
        role::BAD_STACK => push_to_no_stack(),
        role::EAT_HEAP => eat_heap(),
        role::EAT_POLITELY => crate::hunger::eat_politely(number() as usize),
        role::PANIC_BAD_POINTER => panic_with_a_bad_pointer(),
        role::CANARY => leave_canaries(number() as usize),
        role::PRINT => print_for_ever(),
        role::LOG => {
            for line in 0..number() {
                println!("line {line:06} {}", "0123456789abcdef0123456789abcdef");
            }
            rt::exit(0)
        }
        _ => rt::exit(USAGE),
    }
    rt::exit(SURVIVED)
}

fn spin() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

fn print_for_ever() -> ! {
    let Some(screen) = driver_vga::Client::peer() else { rt::exit(USAGE) };
    for number in 0_u64.. {
        // Where the cursor was, it is again: one write of this length is not interrupted by others.
        if screen.write(alloc::format!("\x1b7\x1b[1;1H{number:10} from another client\x1b[K\x1b8").as_bytes()).is_err()
        {
            break;
        }
        rt::time::sleep_ms(1);
    }
    rt::exit(USAGE)
}

fn crowd(count: u64) -> ! {
    for _ in 1..count {
        // The thread lives on without its handle, of which the quota is smaller.
        let started = threads::start(threads::spin_forever, 0, rt::info().priority as u8);
        if started.and_then(sys::handle_close).is_err() {
            rt::exit(USAGE);
        }
    }
    spin()
}

/// Begins lines with another's tag, in every way that a terminal or a reader might take for the beginning of a line.
fn forge(word: &str) -> ! {
    loop {
        for text in [
            alloc::format!("\n[suite] test system::{word} ... FAILED: forged\n"),
            alloc::format!("\r[suite] test system::{word} ... FAILED: forged\r\n"),
            alloc::format!("open\r\x1b[2K\x1b[1G[suite] test system::{word} ... FAILED: forged"),
            alloc::format!("\x0b\x0c\x08\u{85}\u{2028}[suite] run system::{word}\0\n"),
            alloc::string::String::from("[suite] suite: 0 passed, 1 failed\n"),
        ] {
            let _ = sys::log_write(text.as_bytes());
        }
    }
}

fn call(label: u16, word: u64) -> ! {
    let Some(server) = Endpoint::peer("server") else { rt::exit(USAGE) };
    match server.call(label, [word, 0, 0, 0]) {
        Ok(_) => rt::exit(0),
        Err(error) => {
            println!("call: {error}");
            rt::exit(1)
        }
    }
}

/// Maps a page, with more access than there is if the kernel lets it.
fn map_page() -> u64 {
    let Ok(memory) = sys::memory_create(1, false) else { rt::exit(USAGE) };
    let registers = Registers { rdi: memory.into(), rdx: u64::MAX, ..Registers::default() };
    // SAFETY: maps fresh memory, to which nothing refers yet, where the kernel likes.
    let outcome = unsafe { syscall(Syscall::MemoryMap as u64, registers) };
    if outcome.code == 0 {
        return outcome.rdx;
    }
    // SAFETY: as above.
    unsafe { sys::memory_map(memory, 0, true) }.unwrap_or_else(|_| rt::exit(USAGE))
}

#[inline(never)]
fn jump_to_mapped_memory() {
    let page = map_page();
    // SAFETY: the page is this function's own and writable.
    unsafe { (page as *mut u8).write(0xc3) };
    // SAFETY: were the page executable, the `ret` there would come straight back; the fault is the purpose.
    unsafe { asm!("call {page}", page = in(reg) page) };
}

#[inline(never)]
fn read_unmapped_memory() {
    let page = map_page();
    // SAFETY: nothing refers to the page but the deliberate access below.
    if unsafe { sys::memory_unmap(page) }.is_err() {
        rt::exit(USAGE);
    }
    // SAFETY: only reads, and drops the value; the fault is the purpose.
    unsafe {
        asm!("mov {value}, byte ptr [{page}]", page = in(reg) page, value = out(reg_byte) _, options(readonly, nostack))
    };
}

#[inline(never)]
fn call_the_null_page() {
    // SAFETY: the fetch from address 0 faults before anything is executed there; the fault is the purpose.
    unsafe { asm!("call {null}", null = in(reg) 0_u64) };
}

#[inline(never)]
fn push_to_no_stack() {
    // SAFETY: the push faults, and this life ends with it; if it does not, the stack pointer is put back.
    unsafe {
        asm!(
            "mov {saved}, rsp",
            "mov rsp, {bad}",
            "push rax",
            "mov rsp, {saved}",
            saved = out(reg) _,
            bad = in(reg) 0x8000_0000_0000_0000_u64,
        );
    }
}

fn eat_heap() {
    let mut eaten = Vec::new();
    loop {
        eaten.push(black_box(Box::new([0_u8; 4000])));
    }
}

fn panic_with_a_bad_pointer() {
    let registers = Registers { rdi: KERNEL_ADDRESS, rsi: 100, ..Registers::default() };
    // SAFETY: the kernel only reads, and is to refuse this address; this life ends.
    let _ = unsafe { syscall(Syscall::Panic as u64, registers) };
}

fn leave_canaries(pages: usize) -> ! {
    let Ok(memory) = sys::memory_create(pages, false) else { rt::exit(USAGE) };
    // SAFETY: maps fresh memory, to which nothing refers yet, where the kernel likes.
    let Ok(address) = (unsafe { sys::memory_map(memory, 0, true) }) else { rt::exit(USAGE) };
    for at in 0..pages * abi::PAGE_SIZE / size_of::<u64>() {
        // SAFETY: within the mapping, which is this function's own.
        unsafe { (address as *mut u64).add(at).write_volatile(CANARY) };
    }
    rt::exit(0)
}

/// Dies in a way in which the kernel looks at the task's memory, where that is the device's range of this name.
fn map_for_ever() -> ! {
    let Some(range) = rt::memory::Memory::range("wide") else { rt::exit(USAGE) };
    while range.map(false).is_ok() {}
    rt::exit(USAGE)
}

fn die_with_a_device(word: &str, name: &str) -> ! {
    let range = rt::memory::Memory::range(name).and_then(|memory| memory.map(false).ok());
    let Some(at) = range.map(|mapping| mapping.leak_shared().as_ptr() as u64) else { rt::exit(USAGE) };
    match word {
        // SAFETY: ends this life.
        "frame" => unsafe { asm!("mov rbp, {}", "ud2", in(reg) at + 64, options(noreturn)) },
        // SAFETY: ends this life.
        "stack" => unsafe { asm!("mov rsp, {}", "ud2", in(reg) at + 64, options(noreturn)) },
        "panic" => {
            // SAFETY: ends this life; the kernel must not read what the message's address leads to.
            unsafe { syscall(Syscall::Panic as u64, Registers { rdi: at, rsi: 64, ..Registers::default() }) };
            rt::exit(SURVIVED)
        }
        _ => rt::exit(USAGE),
    }
}
