//! The core depends on nothing that does IO.

use std::process::Command;

/// The packages in the normal dependency tree of a package of this workspace.
fn tree(package: &str, features: &[&str]) -> Vec<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args([
            "tree",
            "--offline",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--package",
            package,
        ])
        .args(features)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree: {errors}");
    let text = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    text.lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

const RUNTIMES_AND_SOCKETS: &[&str] = &[
    "tokio",
    "smol",
    "mio",
    "hyper",
    "hyper-util",
    "async-io",
    "async-net",
    "async-std",
    "async-executor",
    "polling",
    "socket2",
    "rustix",
    "async-process",
    "rustls",
    "native-tls",
    "futures-util",
    "tower",
    "h2",
    "reqwest",
    "ureq",
];

#[test]
fn the_core_has_no_runtime_and_no_socket_in_its_tree() {
    for features in [&[][..], &["--all-features"], &["--no-default-features"]] {
        let packages = tree("kubewire", features);
        assert!(
            packages.len() > 5,
            "this is no dependency tree: {packages:?}"
        );
        let found: Vec<_> = packages
            .iter()
            .filter(|package| RUNTIMES_AND_SOCKETS.contains(&package.as_str()))
            .collect();
        assert!(
            found.is_empty(),
            "with {features:?} the core depends on {found:?}"
        );
    }
}

#[test]
fn the_smol_adapter_has_no_tokio_runtime_in_its_tree() {
    // hyper compiles tokio's channels, which run anywhere; a reactor would bring mio.
    let packages = tree("kubewire-smol", &[]);
    for reactor in ["mio", "hyper-util", "tokio-rustls", "kubewire-tokio"] {
        assert!(
            !packages.iter().any(|package| package == reactor),
            "kubewire-smol depends on {reactor}"
        );
    }
}
