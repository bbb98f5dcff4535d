//! The start of a task: `_start`, the checks before its main function, and the note that tells the
//! loader its ABI.

use abi::info::{INFO_MAGIC, TaskInfo};

/// Makes `fn() ` or `fn() -> !` the task's main function.
///
/// On the target it defines `_start` and the ABI note; when the function returns, the task exits
/// with code 0. On the host it defines an empty `main` (unless the function itself is called
/// `main`), so that the binary compiles for tests and lints.
///
/// `heap = TYPE` at the end selects the task's heap: see [`crate::heap`].
#[macro_export]
macro_rules! entry {
    (main) => {
        $crate::entry!(main, heap = $crate::heap::Default);
    };
    (main, heap = $heap:ty) => {
        $crate::entry!(@start main, $heap);
    };
    (@start $main:path, $heap:ty) => {
        #[cfg(target_os = "none")]
        const _: () = {
            #[global_allocator]
            static HEAP: $crate::heap::Global<$heap> =
                $crate::heap::Global::<$heap>::new(<$heap as $crate::heap::Choice>::EMPTY);

            #[used]
            #[unsafe(link_section = ".note.enigma")]
            static NOTE: $crate::abi::AbiNote = $crate::abi::AbiNote::CURRENT;

            // The chain of frame pointers ends in the zero set here; the stack is aligned for a
            // call (System V ABI, 3.2.2).
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            extern "C" fn _start() -> ! {
                ::core::arch::naked_asm!(
                    "xor ebp, ebp",
                    "and rsp, -16",
                    "call {start}",
                    "ud2",
                    start = sym start,
                )
            }

            extern "C" fn start() -> ! {
                $crate::entry::start(|| {
                    let _ = $main();
                })
            }
        };
    };
    ($main:path) => {
        $crate::entry!($main, heap = $crate::heap::Default);
    };
    ($main:path, heap = $heap:ty) => {
        $crate::entry!(@start $main, $heap);

        #[cfg(not(target_os = "none"))]
        #[allow(unreachable_code, reason = "the function may not return")]
        fn main() {
            let _ = || {
                let _ = $main();
            };
        }
    };
}

/// Called by `_start`: checks the information page, runs `main`, and exits.
#[doc(hidden)]
pub fn start(main: fn()) -> ! {
    if let Err(reason) = check(crate::info()) {
        crate::syscall::panic(reason);
    }
    main();
    crate::exit(0)
}

/// Checks that the information page is valid, and that the kernel has the task's ABI.
fn check(info: &TaskInfo) -> Result<(), &'static str> {
    if info.magic != INFO_MAGIC {
        return Err("there is no info page");
    }
    if info.abi_hash != abi::ABI_HASH {
        return Err("built against another ABI than the kernel's");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_wrong_info_page_is_refused() {
        let good = *crate::info();
        assert_eq!(check(&good), Ok(()));
        assert!(check(&abi::info::TaskInfo { magic: 0, ..good }).is_err());
        assert!(check(&abi::info::TaskInfo { abi_hash: good.abi_hash ^ 1, ..good }).is_err());
    }
}
