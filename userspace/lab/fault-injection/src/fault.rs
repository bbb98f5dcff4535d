//! The kinds of faults, and the machine code of those that a driver commits itself.
//!
//! The code is put where the driver's text segment begins or ends in the middle of a page: it is mapped there, executable, and not used.

use crate::Driver;
use abi::Syscall;
use abi::message::{Rights, bits};
use alloc::vec::Vec;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $kind:ident = $name:literal,)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum Kind { $($(#[doc = $doc])* $kind,)* }

        impl Kind {
            /// All of them, as the tables have them.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind,)*];

            /// As tables and logs name it.
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$kind => $name,)* }
            }

            /// One sentence, for `--help` and documents.
            pub const fn describe(self) -> &'static str {
                match self { $(Kind::$kind => concat!($($doc),*).trim_ascii(),)* }
            }
        }
    };
}

kinds! {
    /// One to four bits change in the driver's code.
    CodeFlip = "code-flip",
    /// One to four bits change in its constants, variables, stack, heap, or in the page that says who it is.
    DataFlip = "data-flip",
    /// One to four bits change in the memory that outlives it.
    KeepFlip = "keep-flip",
    /// A register gets a wild value: any, the instruction pointer and the stack pointer included.
    WildRegister = "wild-register",
    /// The next interrupt, or the one that waits to be taken, is lost.
    InterruptDropped = "irq-dropped",
    /// An interrupt comes a second time, or without reason.
    InterruptDoubled = "irq-doubled",
    /// It waits for something that never comes.
    Hang = "hang",
    /// It goes round an empty loop.
    Loop = "loop",
    /// It goes on taking heartbeats, but no requests.
    Deaf = "deaf",
    /// It is killed.
    Kill = "kill",
    /// It takes all the memory that it can get, and goes on.
    Hoard = "hoard",
    /// It fills its table of handles and its quota of kernel objects, and goes on.
    Flood = "flood",
}

impl Kind {
    /// The kind of this name.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Whether it can be done to this driver: the screen has no interrupts.
    pub fn fits(self, driver: Driver) -> bool {
        driver != Driver::Vga || !matches!(self, Kind::InterruptDropped | Kind::InterruptDoubled)
    }

    /// Whether it may have the driver do wrong before it is found out. After the others it does right, or nothing.
    pub const fn corrupts(self) -> bool {
        matches!(self, Kind::CodeFlip | Kind::DataFlip | Kind::KeepFlip | Kind::WildRegister)
    }

    /// Whether the life that it was done to is to be replaced even where nobody notices anything.
    pub const fn lasts(self) -> bool {
        !matches!(self, Kind::InterruptDropped | Kind::InterruptDoubled)
    }

    /// The code that a driver runs to commit it; it then goes on at `resume`, where it does. `None` where no code is needed.
    pub fn payload(self, resume: u64) -> Option<Vec<u8>> {
        let mut code = Code::default();
        match self {
            Kind::Hang => code.looped(|code| code.wait(1 << 30)),
            Kind::Loop => code.looped(|_| {}),
            Kind::Deaf => code.looped(|code| code.wait(bits::HEARTBEAT)),
            Kind::Hoard => {
                code.save();
                for pages in [64_u32, 8, 1] {
                    code.until_refused(Syscall::MemoryCreate, |code| {
                        code.bytes(&[0xbf]).word(pages); // mov edi, pages
                        code.bytes(&[0x31, 0xf6]); // xor esi, esi
                    });
                }
                code.restore(resume);
            }
            Kind::Flood => {
                code.save();
                code.until_refused(Syscall::NotificationCreate, |_| {});
                code.until_refused(Syscall::HandleDup, |code| {
                    code.bytes(&[0xbf]).word(abi::info::ENDPOINT); // mov edi, handle
                    code.bytes(&[0xbe]).word((Rights::CALL | Rights::GRANT).bits()); // mov esi, rights
                    code.bytes(&[0x31, 0xd2]); // xor edx, edx
                });
                code.restore(resume);
            }
            _ => return None,
        }
        Some(code.0)
    }
}

/// Bytes that the longest payload takes.
pub const PAYLOAD_MAX: usize = 160;

/// Machine code (encodings: Intel SDM vol. 2).
#[derive(Default)]
struct Code(Vec<u8>);

impl Code {
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn word(&mut self, word: u32) -> &mut Self {
        self.bytes(&word.to_le_bytes())
    }

    /// Saves all registers and the flags below the red zone of whoever was interrupted (System V ABI, 3.2.2).
    fn save(&mut self) {
        self.bytes(&[0x48, 0x8d, 0x64, 0x24, 0x80]); // lea rsp, [rsp - 128]
        self.bytes(&[0x9c]); // pushfq
        self.bytes(&[0x50, 0x51, 0x52, 0x53, 0x55, 0x56, 0x57]); // push rax rcx rdx rbx rbp rsi rdi
        for register in 0x50..=0x57 {
            self.bytes(&[0x41, register]); // push r8 to r15
        }
    }

    /// Restores them and goes on at `resume`.
    fn restore(&mut self, resume: u64) {
        for register in (0x58..=0x5f).rev() {
            self.bytes(&[0x41, register]); // pop r15 to r8
        }
        self.bytes(&[0x5f, 0x5e, 0x5d, 0x5b, 0x5a, 0x59, 0x58]); // pop rdi rsi rbp rbx rdx rcx rax
        self.bytes(&[0x9d]); // popfq
        self.bytes(&[0x48, 0x8d, 0xa4, 0x24, 0x80, 0, 0, 0]); // lea rsp, [rsp + 128]
        self.bytes(&[0xff, 0x25, 0, 0, 0, 0]); // jmp [rip]
        self.bytes(&resume.to_le_bytes());
    }

    /// Waits for these bits of the task's own notification.
    fn wait(&mut self, mask: u64) {
        self.bytes(&[0xb8]).word(Syscall::Wait as u32); // mov eax, number
        self.bytes(&[0xbf]).word(abi::info::NOTIFICATION); // mov edi, handle
        self.bytes(&[0x48, 0xbe]).bytes(&mask.to_le_bytes()); // mov rsi, mask
        self.bytes(&[0x0f, 0x05]); // syscall
    }

    /// For ever.
    fn looped(&mut self, body: impl FnOnce(&mut Code)) {
        let start = self.0.len();
        body(self);
        self.back(0xeb, start); // jmp
    }

    /// A system call with these arguments, again until the kernel refuses.
    fn until_refused(&mut self, call: Syscall, arguments: impl FnOnce(&mut Code)) {
        let start = self.0.len();
        self.bytes(&[0xb8]).word(call as u32); // mov eax, number
        arguments(self);
        self.bytes(&[0x0f, 0x05]); // syscall
        self.bytes(&[0x85, 0xc0]); // test eax, eax
        self.back(0x74, start); // jz
    }

    /// A short jump to `start`, with this code.
    fn back(&mut self, jump: u8, start: usize) {
        let distance = self.0.len() + 2 - start;
        self.bytes(&[jump, (distance as u8).wrapping_neg()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for &kind in Kind::ALL {
            assert_eq!(Kind::named(kind.name()), Some(kind));
            assert!(!kind.describe().is_empty());
        }
    }

    #[test]
    fn payloads_fit_their_place() {
        for &kind in Kind::ALL {
            let code = kind.payload(0x1234_5678_9abc).unwrap_or_default();
            assert!(code.len() <= PAYLOAD_MAX, "{}: {}", kind.name(), code.len());
        }
    }

    #[test]
    fn loops_go_back_to_their_start() {
        assert_eq!(Kind::Loop.payload(0), Some(Vec::from([0xeb, 0xfe])));
        let hang = Kind::Hang.payload(0).unwrap_or_default();
        assert_eq!(hang[hang.len() - 2..], [0xeb, (hang.len() as u8).wrapping_neg()]);
    }

    #[test]
    fn what_goes_on_does_so_where_it_was() {
        for kind in [Kind::Hoard, Kind::Flood] {
            let code = kind.payload(0x0102_0304_0506_0708).unwrap_or_default();
            assert_eq!(code[code.len() - 8..], [8, 7, 6, 5, 4, 3, 2, 1]);
            // As many pushes as pops, and the red zone left and entered again.
            assert_eq!((code[..5].to_vec(), code[5]), (Vec::from([0x48, 0x8d, 0x64, 0x24, 0x80]), 0x9c));
        }
    }
}
