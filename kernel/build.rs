//! Links the kernel, and the test kernels, in the top 2 GiB of the address space.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if target != "none" {
        return;
    }
    let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
    println!("cargo::rerun-if-changed=boot.ld");
    for kind in ["bins", "tests"] {
        println!("cargo::rustc-link-arg-{kind}=--image-base=0xffffffff80000000");
        // One page per permission, and no section that the loader would have to make read-only
        // later.
        println!("cargo::rustc-link-arg-{kind}=-znorelro");
        println!("cargo::rustc-link-arg-{kind}=-zmax-page-size=4096");
        println!("cargo::rustc-link-arg-{kind}=-T{directory}/boot.ld");
    }
}
