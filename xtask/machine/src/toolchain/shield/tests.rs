//! What of a user's settings reaches a build, and what does not.

use super::*;

#[test]
fn variables_that_change_a_build_do_not_reach_it() {
    for name in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
        "CARGO_TARGET_X86_64_UNKNOWN_NONE_RUSTFLAGS",
        "CARGO_PROFILE_RELEASE_STRIP",
        "CARGO_PROFILE_RELEASE_LTO",
        "CARGO_UNSTABLE_BUILD_STD",
        "CARGO_INCREMENTAL",
        "CARGO_ALIAS_BUILD",
        "CARGO_CACHE_RUSTC_INFO",
        "CARGO_HOME",
        "CARGO",
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_BOOTSTRAP",
        "RUSTDOCFLAGS",
        "RUST_TARGET_PATH",
        "RUSTUP_TOOLCHAIN",
        "__CARGO_TESTS_ONLY_SRC_ROOT",
        "LD_LIBRARY_PATH",
        "MAKEFLAGS",
    ] {
        assert!(!is_kept(name), "{name}");
    }
    for name in [
        "CARGO_NET_OFFLINE",
        "CARGO_HTTP_PROXY",
        "CARGO_HTTP_CAINFO",
        "CARGO_REGISTRIES_MINE_TOKEN",
        "CARGO_REGISTRY_TOKEN",
        "CARGO_TERM_COLOR",
        "RUST_BACKTRACE",
        "https_proxy",
        "SSL_CERT_FILE",
        "PATH",
        "HOME",
    ] {
        assert!(is_kept(name), "{name}");
    }
}

#[test]
fn the_projects_flags_are_read_from_its_configuration() {
    let root = &Paths::find().expect("the checkout").root;
    let flags = metal_flags(root).expect("they are there");
    assert_eq!(flags, "-C\x1frelocation-model=static\x1f-C\x1fforce-frame-pointers=yes");
}

#[test]
fn a_home_has_the_users_caches_and_network_alone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (root, home, ours) = (dir.path().join("a/b"), dir.path().join("home"), dir.path().join("ours"));
    let write = |path: &Path, text: &str| {
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    let hostile = "[build]\nrustflags = [\"-C\", \"target-cpu=native\"]\ntarget = \"wasm32-unknown-unknown\"\nrustc-wrapper = \"false\"\n\
        [profile.release]\nstrip = true\n[env]\nX = \"y\"\n[unstable]\nx = true\n[alias]\nbuild = \"x\"\n[patch.crates-io]\nx = { path = \"y\" }\n";
    write(
        &home.join("config.toml"),
        &format!(
            "{hostile}[net]\nretry = 7\noffline = true\n[source.crates-io]\nreplace-with = \"mine\"\n\
        [source.mine]\ndirectory = \"vendored\"\n[http]\ncainfo = \"/abs/ca\"\n[registries.x]\nindex = \"sparse+https://x/\"\n"
        ),
    );
    write(&dir.path().join("a/.cargo/config.toml"), &format!("{hostile}[net]\nretry = 1\n"));
    write(&root.join(".cargo/config"), "[source.other]\nlocal-registry = \"../there\"\n");
    for _ in 0..2 {
        lay_for(&ours, &root, Some(&home)).expect("laid");
    }
    let text = std::fs::read_to_string(ours.join("config.toml")).expect("written");
    let config: DocumentMut = text.parse().expect("TOML");
    assert_eq!(config.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["source", "net", "http", "registries"]);
    assert_eq!(config["net"]["retry"].as_integer(), Some(1), "the nearest is the strongest");
    assert_eq!(config["net"]["offline"].as_bool(), Some(true));
    let path = |source: &str, key: &str| config["source"][source][key].as_str().map(PathBuf::from);
    assert_eq!(path("mine", "directory"), Some(dir.path().join("vendored")));
    assert_eq!(path("other", "local-registry"), Some(root.join("../there")));
    assert_eq!(config["http"]["cainfo"].as_str(), Some("/abs/ca"));
    assert!(std::fs::read_link(ours.join("registry")).is_ok_and(|to| to == home.join("registry")));
    assert!(home.join("git").is_dir());
    // Without a home there is an own cache.
    lay_for(&dir.path().join("none"), &root, None).expect("laid");
    assert!(!dir.path().join("none/registry").exists());
    write(&home.join("config.toml"), "[build");
    assert!(format!("{:#}", lay_for(&ours, &root, Some(&home)).expect_err("broken")).contains("home/config.toml"));
}

const HOSTILE: &str = "[build]\nrustc = \"/bin/false\"\nrustdoc = \"/bin/false\"\nrustc-wrapper = \"/bin/false\"\n\
    rustc-workspace-wrapper = \"/bin/false\"\ntarget = [\"wasm32-unknown-unknown\", \"x86_64-unknown-none\"]\n\
    [unstable]\nnothing-of-that-name = true\n[alias]\nxtask = \"version\"\nrun = \"version\"\n\
    [env]\nCARGO_BUILD_TARGET = { value = \"wasm32-unknown-unknown\", force = true }\n";

/// A checkout of a tiny program `xtask` with the project's own configuration, and one above it, or in a home, that would let nothing be built.
fn tiny(above: bool) -> (tempfile::TempDir, Paths, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (root, home) = (dir.path().join("above/checkout"), dir.path().join("home"));
    let write = |path: PathBuf, text: &str| {
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    write(
        root.join("Cargo.toml"),
        "[package]\nname = \"xtask\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
    );
    write(root.join("src/main.rs"), "fn main() {\n    println!(\"it runs\");\n}\n");
    let own = Paths::find().expect("the checkout").root.join(".cargo");
    std::fs::create_dir(root.join(".cargo")).expect("made");
    for file in ["config.toml", "linker"] {
        std::fs::copy(own.join(file), root.join(".cargo").join(file)).expect("copied");
    }
    write(home.join("registry/empty"), "");
    write(if above { dir.path().join("above/.cargo/config.toml") } else { home.join("config.toml") }, HOSTILE);
    let target = dir.path().join("target");
    (dir, Paths { root, target }, home)
}

fn succeeds(command: &mut Command) -> bool {
    let done = command.stdin(std::process::Stdio::null()).output().expect("cargo");
    done.status.success() && String::from_utf8_lossy(&done.stdout).contains("it runs")
}

#[test]
fn the_users_settings_do_not_reach_what_is_built_for_this_machine() {
    for above in [true, false] {
        let (_dir, paths, home) = tiny(above);
        let manifest = paths.root.join("Cargo.toml");
        let mut shielded = host_for(&paths, Some(home.clone())).expect("a command");
        assert!(
            succeeds(shielded.args(["run", "--target", "host-tuple", "--manifest-path"]).arg(&manifest)),
            "{above}"
        );
        // Without the shield, and without what the project says itself, they let nothing be built.
        std::fs::remove_dir_all(paths.root.join(".cargo")).expect("removed");
        let mut bare = Command::new(env!("CARGO"));
        bare.args(["rustc", "--manifest-path"]).arg(&manifest).current_dir(&paths.root).env("CARGO_HOME", home);
        assert!(!bare.output().expect("cargo").status.success(), "{above}");
    }
}

#[test]
fn cargo_xtask_runs_whatever_the_users_settings_are() {
    for above in [true, false] {
        let (_dir, paths, home) = tiny(above);
        let mut typed = Command::new(env!("CARGO"));
        typed.arg("xtask").current_dir(&paths.root).env("CARGO_HOME", home);
        typed.env("CARGO_TARGET_DIR", &paths.target).env("CARGO_BUILD_TARGET", "wasm32-unknown-unknown");
        typed.env_remove("RUSTC").env_remove("RUSTC_WRAPPER").env_remove("RUSTC_WORKSPACE_WRAPPER");
        assert!(succeeds(&mut typed), "{above}");
    }
}

#[test]
fn a_plain_home_is_used_as_it_is() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let paths = Paths { root: dir.path().join("a/b"), target: dir.path().join("target") };
    let home = dir.path().join("home");
    std::fs::create_dir_all(paths.root.join(".cargo")).expect("made");
    std::fs::create_dir(&home).expect("made");
    std::fs::write(paths.root.join(".cargo/config.toml"), "[build]\n").expect("written");
    let plain = || has_nothing_else(&paths.root, &home).expect("readable");
    assert!(plain());
    std::fs::write(home.join("config.toml"), "[net]\nretry = 3\n[term]\nquiet = true\n").expect("written");
    assert!(plain());
    std::fs::write(home.join("config.toml"), "[profile.dev]\nstrip = true\n").expect("written");
    assert!(!plain());
    std::fs::remove_file(home.join("config.toml")).expect("removed");
    std::fs::create_dir(dir.path().join("a/.cargo")).expect("made");
    std::fs::write(dir.path().join("a/.cargo/config.toml"), "[net]\nretry = 3\n").expect("written");
    assert!(!plain(), "it would not be read");
}

#[test]
fn no_configuration_lies_above_a_temporary_directory() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let place = |name: &str, config: Option<&str>| {
        let place = dir.path().join(name).join("tmp");
        std::fs::create_dir_all(&place).expect("made");
        if let Some(config) = config {
            std::fs::create_dir_all(dir.path().join(name).join(".cargo")).expect("made");
            std::fs::write(dir.path().join(name).join(".cargo/config.toml"), config).expect("written");
        }
        place
    };
    let hostile = place("hostile", Some("[build]\nrustflags = \"-g\"\n"));
    let network = place("network", Some("[net]\noffline = true\n"));
    let clean = place("clean", None);
    let made = |places: &[&PathBuf]| temporary_in(&places.iter().map(|&place| place.clone()).collect::<Vec<_>>());
    assert!(made(&[&hostile, &clean]).expect("made").path().starts_with(clean.canonicalize().expect("real")));
    assert!(made(&[&network]).is_ok());
    let error = made(&[&hostile]).expect_err("none is left").to_string();
    assert!(error.contains("hostile/.cargo/config.toml has [build]") && error.contains("TMPDIR"), "{error}");
}
