//! The boot archive: a plain `tar` with the task table (`manifest`), the programs (`bin/NAME`), and the tables of their functions
//! (`sym/NAME`), source lines (`lines/NAME`) and the protocols that they serve (`proto/NAME`). The boot loader hands it to the kernel as it is; `tar tvf` shows it to anyone.

use crate::elf_check;
use crate::lines::{self, Roots};
use crate::manifest::{Place, System, Task, human};
use crate::paths::{self, Paths};
use abi::PAGE_SIZE;
use anyhow::{Context, Result, anyhow, bail};
use goblin::elf::Elf;
use goblin::elf::program_header::{PT_LOAD, PT_NOTE};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Most bytes of a function's name in `sym/NAME`; generic functions have names that fill a screen.
const MAX_SYMBOL: usize = 120;

/// A file of the archive: its path in it, and what it holds.
pub type File = (String, Vec<u8>);

/// Checks the program of every task, strips it, and writes the archive where it is not there already; `more` are files that some task of
/// the system looks for, and `root` is the checkout, whose own place is left out of the names of source files.
///
/// # Errors
/// Where a program is missing, is refused, or does not fit the memory of its task; where `out` cannot be written.
pub fn pack(
    system: &System,
    programs: &BTreeMap<String, PathBuf>,
    more: &[File],
    root: &Path,
    out: &Path,
) -> Result<()> {
    let outside = system.tasks.iter().filter_map(|task| task.outside.as_deref()?.canonicalize().ok());
    let outside = outside.filter_map(|dir| Some(dir.parent()?.to_path_buf()));
    let dirs = std::iter::once(root.to_path_buf()).chain(outside).map(|dir| dir.display().to_string()).collect();
    let roots = Roots { dirs };
    let mut files = vec![("manifest".to_owned(), system.encode())];
    for task in &system.tasks {
        let name = &task.name.value;
        let path =
            programs.get(name).ok_or_else(|| anyhow!("no program was built for `{name}` ({})", task.name.place))?;
        let (bytes, footprint) = elf_check::check(path, task.stack.value)?;
        fits(task, footprint)?;
        let elf = Elf::parse(&bytes).with_context(|| format!("cannot read {} as an ELF file", Paths::shown(path)))?;
        files.push((format!("bin/{name}"), strip(&elf, &bytes)));
        files.push((format!("sym/{name}"), symbols(&elf).into_bytes()));
        if let Some(description) = section(&elf, &bytes, ".protocol") {
            files.push((format!("proto/{name}"), description.to_vec()));
        }
        let lines = lines::table(path, &elf, &roots)?;
        if !lines.is_empty() {
            files.push((format!("lines/{name}"), lines));
        }
    }
    files.extend_from_slice(more);
    let archive = tar(&files)?;
    // An archive that did not change keeps its date, by which disk images are known to be fresh.
    if std::fs::read(out).is_ok_and(|old| old == archive) {
        return Ok(());
    }
    paths::write_whole(out, &archive)
}

/// The content of a section.
fn section<'b>(elf: &Elf, bytes: &'b [u8], name: &str) -> Option<&'b [u8]> {
    let section = elf.section_headers.iter().find(|section| elf.shdr_strtab.get_at(section.sh_name) == Some(name))?;
    bytes.get(section.file_range()?)
}

/// Whether the program leaves room in its task's quota for at least one page of heap.
fn fits(task: &Task, footprint: elf_check::Footprint) -> Result<()> {
    let bytes = |frames: u32| u64::from(frames) * PAGE_SIZE as u64;
    // One for the info page.
    let needed = footprint.image + footprint.tables + task.stack.value + 1;
    if needed >= task.memory.value {
        let place: &Place = &task.memory.place;
        bail!(
            "{place}: the memory of `{}` is {}, but its program ({}), stack ({}) and page tables ({}) fill {} of it before it begins; set memory = \"{}\" or more",
            task.name.value,
            human(bytes(task.memory.value)),
            human(bytes(footprint.image)),
            human(bytes(task.stack.value)),
            human(bytes(footprint.tables)),
            human(bytes(needed)),
            // Room for a heap that is worth having.
            human(bytes((needed + 16).next_multiple_of(64)))
        );
    }
    Ok(())
}

/// The file without sections: what is loaded, the notes, and the headers that describe both, all at their old places.
fn strip(elf: &Elf, bytes: &[u8]) -> Vec<u8> {
    let headers_end =
        elf.header.e_phoff as usize + usize::from(elf.header.e_phnum) * usize::from(elf.header.e_phentsize);
    let kept = elf.program_headers.iter().filter(|header| matches!(header.p_type, PT_LOAD | PT_NOTE));
    let parts = kept
        .map(|header| header.file_range())
        .chain([0..usize::from(elf.header.e_ehsize), elf.header.e_phoff as usize..headers_end]);
    let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    let end = parts.iter().map(|part| part.end).max().unwrap_or(0);
    let mut stripped = vec![0; end];
    for part in parts {
        if let (Some(to), Some(from)) = (stripped.get_mut(part.clone()), bytes.get(part)) {
            to.copy_from_slice(from);
        }
    }
    // e_shoff, then e_shentsize, e_shnum and e_shstrndx: there are no sections any more.
    for part in [0x28..0x30, 0x3A..0x40] {
        if let Some(field) = stripped.get_mut(part) {
            field.fill(0);
        }
    }
    stripped
}

/// One line for each function, by address: `HEXADDR HEXSIZE name`.
fn symbols(elf: &Elf) -> String {
    let mut functions: Vec<(u64, u64, String)> = elf
        .syms
        .iter()
        .filter(|symbol| symbol.is_function() && symbol.st_shndx != 0)
        .filter_map(|symbol| {
            let name = elf.strtab.get_at(symbol.st_name).filter(|name| !name.is_empty())?;
            Some((symbol.st_value, symbol.st_size, readable(name)))
        })
        .collect();
    // Functions that the linker found to be the same have one address and several names: the shortest stands for all.
    functions.sort_by(|a, b| (a.0, b.1, a.2.len(), &a.2).cmp(&(b.0, a.1, b.2.len(), &b.2)));
    functions.dedup_by_key(|function| function.0);
    // Functions in assembler come without a size: they reach to the next one.
    let next: Vec<Option<u64>> = functions.iter().skip(1).map(|function| Some(function.0)).chain([None]).collect();
    functions
        .iter()
        .zip(next)
        .map(|((addr, size, name), next)| {
            let size = if *size == 0 { next.map_or(1, |next| next - addr) } else { *size };
            format!("{addr:x} {size:x} {name}\n")
        })
        .collect()
}

/// A function's name as the source has it, without the compiler's hash, cut to [`MAX_SYMBOL`].
pub fn readable(mangled: &str) -> String {
    let mut name = format!("{:#}", rustc_demangle::demangle(mangled));
    if name.len() > MAX_SYMBOL {
        let end = (0..=MAX_SYMBOL - 3).rev().find(|&end| name.is_char_boundary(end)).unwrap_or(0);
        name.truncate(end);
        name.push_str("...");
    }
    name
}

/// A `ustar` archive that depends on nothing but its content.
fn tar(files: &[File]) -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(if name.starts_with("bin/") { 0o755 } else { 0o644 });
        header.set_mtime(0);
        builder.append_data(&mut header, name, content.as_slice()).with_context(|| format!("cannot archive {name}"))?;
    }
    builder.into_inner().context("cannot finish the boot archive")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf_check::tests::good;
    use crate::manifest::Source;
    use std::io::Read;

    fn system(memory: &str) -> System {
        let text = format!(
            "[task.one]\npackage = \"p\"\npriority = 1\nkernel = [\"control\"]\n[task.two]\npackage = \"p\"\npriority = 2\nmemory = \"{memory}\"\n"
        );
        let source =
            Source { shown: "system.toml".into(), text, dir: None, packages: None, outside: None, hardware: false };
        System::from_sources(&[source]).expect("a good system")
    }

    fn program(dir: &Path, bytes: &[u8]) -> BTreeMap<String, PathBuf> {
        let path = dir.join("p");
        std::fs::write(&path, bytes).expect("a file");
        BTreeMap::from([("one".to_owned(), path.clone()), ("two".to_owned(), path)])
    }

    #[test]
    fn the_archive_holds_table_programs_and_symbols() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut elf = good();
        elf.tail = vec![0x55; 100_000];
        let out = dir.path().join("boot.tar");
        pack(&system("256K"), &program(dir.path(), &elf.bytes()), &[], dir.path(), &out).expect("it packs");
        let bytes = std::fs::read(&out).expect("the archive");
        assert!(bytes.len() < 40_000, "what is not loaded stays out: {}", bytes.len());
        assert_eq!(&bytes[257..263], b"ustar\0");

        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut found = BTreeMap::new();
        for entry in archive.entries().expect("entries") {
            let mut entry = entry.expect("an entry");
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("its content");
            found.insert(entry.path().expect("a name").display().to_string(), content);
        }
        let names: Vec<_> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["bin/one", "bin/two", "manifest", "sym/one", "sym/two"]);
        assert_eq!(found["manifest"], system("256K").encode());
        // The stripped program passes the same checks, loads the same bytes, and is not stripped further.
        let stripped = &found["bin/one"];
        elf_check::inspect("stripped", stripped, 16).expect("still a program");
        let parsed = Elf::parse(stripped).expect("an ELF file");
        assert!(parsed.section_headers.is_empty());
        for (header, segment) in parsed.program_headers.iter().zip(&good().segments) {
            assert_eq!(stripped[header.file_range()], segment.content);
        }
        assert_eq!(&strip(&parsed, stripped), stripped);
    }

    #[test]
    fn a_program_that_fills_its_memory_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let out = dir.path().join("boot.tar");
        let error = pack(&system("124K"), &program(dir.path(), &good().bytes()), &[], dir.path(), &out)
            .expect_err("it does not fit");
        assert_eq!(
            error.to_string(),
            "system.toml:8:10: the memory of `two` is 124K, but its program (20K), stack (64K) and page tables (40K) fill 128K of it before it begins; set memory = \"256K\" or more"
        );
        assert!(!out.exists());
        pack(&system("132K"), &program(dir.path(), &good().bytes()), &[], dir.path(), &out)
            .expect("one page of heap is enough");
    }

    #[test]
    fn a_program_that_is_missing_or_broken_is_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let out = dir.path().join("boot.tar");
        let mut programs = program(dir.path(), b"no ELF");
        let said =
            |programs: &_| pack(&system("1M"), programs, &[], dir.path(), &out).expect_err("it is refused").to_string();
        assert!(said(&programs).contains("is not a whole ELF file"));
        programs.remove("one");
        assert_eq!(said(&programs), "no program was built for `one` (system.toml:1:7)");
    }

    #[test]
    fn names_lose_their_hash_and_their_excess() {
        assert_eq!(readable("_ZN4core3fmt5write17h0123456789abcdefE"), "core::fmt::write");
        assert_eq!(readable("memcpy"), "memcpy");
        let long = readable(&"ä".repeat(100));
        assert_eq!((long.len() <= MAX_SYMBOL, long.ends_with("ä...")), (true, true), "{long}");
    }
}
