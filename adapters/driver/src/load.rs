//! Reads configurations from where they usually are. The decisions are the core's.

use std::path::{Path, PathBuf};

use kubewire::Error;
use kubewire::config::{Config, Loader, Overrides};

/// The configuration of the cluster that `kubectl` would talk to, or of the one that this program runs in.
///
/// # Errors
///
/// [`ErrorKind::Config`](kubewire::ErrorKind::Config), naming what was tried.
pub fn infer() -> Result<Config, Error> {
    infer_with(Overrides::default())
}

/// As [`infer`], with the context, cluster, user or namespace chosen by the caller.
///
/// # Errors
///
/// As [`infer`], and if what was chosen does not exist.
pub fn infer_with(overrides: Overrides) -> Result<Config, Error> {
    finish(Loader::infer(
        |name| std::env::var_os(name),
        home().as_deref(),
        overrides,
    ))
}

/// The configuration of one kubeconfig file.
///
/// # Errors
///
/// [`ErrorKind::Config`](kubewire::ErrorKind::Config), naming file, line and field.
pub fn from_file(path: impl AsRef<Path>, overrides: Overrides) -> Result<Config, Error> {
    finish(Loader::from_file(path.as_ref(), overrides))
}

fn finish(mut loader: Loader) -> Result<Config, Error> {
    while let Some(path) = loader.next_file() {
        let content = std::fs::read(path);
        loader.handle_file(content);
    }
    loader.finish()
}

fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty())
}
