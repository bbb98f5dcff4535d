//! Links the loader at 1 MiB, where hypervisors load programs.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=pvh.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default() != "none" {
        return;
    }
    let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
    println!("cargo::rustc-link-arg-bins=-T{directory}/pvh.ld");
    println!("cargo::rustc-link-arg-bins=-znorelro");
}
