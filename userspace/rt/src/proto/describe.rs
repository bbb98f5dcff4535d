//! The description of a protocol as text, from which the shell's `call` knows operations, arguments
//! and refusals.
//!
//! It has one line for each part, of words separated by one blank:
//!
//! | line | meaning |
//! |---|---|
//! | `protocol NAME` | the first line |
//! | `op LABEL NAME [ARGUMENT:TYPE]... [+KIND] [#] -> TYPE` | an operation: `&` is memory to read, `&mut` memory to write, `+KIND` a handle, `#` a number; `filled` is the number of bytes of the memory that were written |
//! | `no NUMBER [VALUE:TYPE] TEXT` | a refusal; `VALUE:TYPE` is `-` if it has none |
//!
//! A struct is `{field:TYPE,...}`, an enum `Variant=NUMBER|...`.

/// The length of these texts together, in bytes.
pub const fn length(parts: &[&str]) -> usize {
    let (mut length, mut at) = (0, 0);
    while at < parts.len() {
        length += parts[at].len();
        at += 1;
    }
    length
}

/// The concatenation of these texts.
pub const fn join<const N: usize>(parts: &[&str]) -> [u8; N] {
    let mut joined = [0; N];
    let (mut to, mut at) = (0, 0);
    while at < parts.len() {
        let part = parts[at].as_bytes();
        let mut from = 0;
        while from < part.len() {
            joined[to] = part[from];
            to += 1;
            from += 1;
        }
        at += 1;
    }
    joined
}

/// Concatenates constant texts at compile time.
#[doc(hidden)]
#[macro_export]
macro_rules! __joined {
    ($($part:expr),* $(,)?) => {{
        const PARTS: &[&str] = &[$($part),*];
        const BYTES: [u8; $crate::proto::length(PARTS)] = $crate::proto::join(PARTS);
        match ::core::str::from_utf8(&BYTES) {
            Ok(text) => text,
            Err(_) => panic!("texts are joined whole"),
        }
    }};
}

/// Puts the description of the protocol that a program serves into a section `.protocol`, from
/// which `cargo xtask` copies it to the boot archive (`proto/NAME`).
/// `rt::driver!(D, serves MODULE)` does this. It uses a reference to the text, so that the linker
/// keeps it.
#[macro_export]
macro_rules! described {
    ($($protocol:ident)::+) => {{
        const TEXT: &str = $($protocol)::+::DESCRIPTION;
        #[cfg_attr(target_os = "none", unsafe(link_section = ".protocol"))]
        static DESCRIPTION: [u8; TEXT.len()] = $crate::proto::join(&[TEXT]);
        let _ = ::core::hint::black_box(&DESCRIPTION);
    }};
}
