//! Finding the configuration.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use super::in_cluster::{SERVICE_ACCOUNT, in_cluster, pod_namespace};
use super::kubeconfig::Kubeconfig;
use super::resolve::Overrides;
use super::value::Config;
use crate::{Error, ErrorKind};

/// Which files to read for a kubeconfig, in their order, and who named them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SearchPaths {
    /// The files that `KUBECONFIG` lists. Those that do not exist are skipped.
    Variable(Vec<PathBuf>),
    /// `.kube/config` in the home directory. It may not exist.
    Home(PathBuf),
    /// There is no home directory.
    Nowhere,
}

impl SearchPaths {
    /// The files.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        match self {
            Self::Variable(files) => files,
            Self::Home(file) => std::slice::from_ref(file),
            Self::Nowhere => &[],
        }
    }
}

impl Kubeconfig {
    /// Where a kubeconfig may be: in the files that the variable `KUBECONFIG` lists, divided by `:`
    /// (by `;` on Windows), or else in `.kube/config` of the home directory. Empty and repeated
    /// entries are dropped. A variable that is set but lists nothing means no file at all.
    ///
    /// ```
    /// use std::path::Path;
    /// use kubewire::config::{Kubeconfig, SearchPaths};
    ///
    /// let paths = Kubeconfig::search_paths(None, Some("/home/me".as_ref()));
    /// assert_eq!(paths, SearchPaths::Home("/home/me/.kube/config".into()));
    /// # if cfg!(unix) {
    /// let paths = Kubeconfig::search_paths(Some("/a::/b:/a".as_ref()), None);
    /// assert_eq!(paths.files(), [Path::new("/a"), Path::new("/b")]);
    /// # }
    /// ```
    #[must_use]
    pub fn search_paths(variable: Option<&OsStr>, home: Option<&Path>) -> SearchPaths {
        if let Some(variable) = variable.filter(|list| !list.is_empty()) {
            let mut files = Vec::new();
            for file in std::env::split_paths(variable) {
                if !file.as_os_str().is_empty() && !files.contains(&file) {
                    files.push(file);
                }
            }
            return SearchPaths::Variable(files);
        }
        match home.filter(|home| !home.as_os_str().is_empty()) {
            Some(home) => SearchPaths::Home(home.join(".kube").join("config")),
            None => SearchPaths::Nowhere,
        }
    }
}

/// Finds the configuration, as a machine that asks for files.
///
/// Take [`next_file`](Self::next_file), read it, give the result to
/// [`handle_file`](Self::handle_file), until there is no next file; then [`finish`](Self::finish).
/// [`load`] does that with a function that reads.
///
/// ```
/// # #[cfg(feature = "kubeconfig")] {
/// use kubewire::config::{Loader, Overrides};
///
/// let env = |name: &str| (name == "KUBECONFIG").then(|| "/a/config".into());
/// let mut loader = Loader::infer(env, None, Overrides::default());
/// while let Some(file) = loader.next_file() {
///     assert_eq!(file, std::path::Path::new("/a/config"));
///     // An adapter reads the file here.
///     let content = br#"{
///         "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1"}}],
///         "contexts": [{"name": "x", "context": {"cluster": "c", "namespace": "team-a"}}],
///         "current-context": "x"
///     }"#;
///     loader.handle_file(Ok(content.to_vec()));
/// }
/// assert_eq!(loader.finish()?.namespace, "team-a");
/// # }
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Debug)]
pub struct Loader {
    overrides: Overrides,
    wanted: VecDeque<Wanted>,
    kubeconfigs: Vec<Kubeconfig>,
    /// What has been tried without success.
    tried: Vec<String>,
    /// What to fall back to if there is no kubeconfig.
    fallback: Fallback,
    error: Option<Error>,
}

#[derive(Debug)]
struct Wanted {
    path: PathBuf,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    #[cfg(feature = "kubeconfig")]
    Kubeconfig {
        must_exist: bool,
    },
    Namespace,
    Authority,
}

#[derive(Debug)]
enum Fallback {
    /// Nothing but a kubeconfig will do.
    #[cfg(feature = "kubeconfig")]
    None,
    InCluster {
        config: Result<Box<Config>, Error>,
        /// Whether the namespace file counts.
        namespace_file: bool,
        /// Whether its files have been asked for.
        asked: bool,
    },
}

impl Loader {
    /// What every tool of Kubernetes does: the files of `KUBECONFIG`, else `~/.kube/config`, else
    /// the [in-cluster](in_cluster) configuration.
    ///
    /// The latter is taken if the files are missing or empty, and only if no context, cluster or
    /// user is asked for by name. A file that is there but wrong is an error.
    #[cfg(feature = "kubeconfig")]
    #[cfg_attr(docsrs, doc(cfg(feature = "kubeconfig")))]
    #[must_use]
    pub fn infer(
        env: impl Fn(&str) -> Option<OsString>,
        home: Option<&Path>,
        overrides: Overrides,
    ) -> Self {
        let paths = Kubeconfig::search_paths(env("KUBECONFIG").as_deref(), home);
        let mut tried = Vec::new();
        match &paths {
            SearchPaths::Variable(files) if files.is_empty() => {
                tried.push("KUBECONFIG lists no file".to_owned());
            }
            SearchPaths::Nowhere => {
                tried.push("KUBECONFIG is not set and there is no home directory".to_owned());
            }
            SearchPaths::Variable(_) | SearchPaths::Home(_) => {}
        }
        let wanted = paths
            .files()
            .iter()
            .map(|path| Wanted {
                path: path.clone(),
                what: What::Kubeconfig { must_exist: false },
            })
            .collect();
        let fallback = if overrides.need_a_kubeconfig() {
            Fallback::None
        } else {
            Fallback::in_cluster(env, &overrides)
        };
        let mut loader = Self {
            overrides,
            wanted,
            kubeconfigs: Vec::new(),
            tried,
            fallback,
            error: None,
        };
        loader.fall_back();
        loader
    }

    /// One kubeconfig file, which has to exist, as with kubectl's `--kubeconfig`.
    ///
    /// ```
    /// use kubewire::config::{Loader, Overrides};
    /// let mut loader = Loader::from_file("/a/config", Overrides::default());
    /// loader.handle_file(Err(std::io::ErrorKind::NotFound.into()));
    /// assert!(loader.next_file().is_none());
    /// assert_eq!(loader.finish().unwrap_err().to_string(), "cannot read /a/config");
    /// ```
    #[cfg(feature = "kubeconfig")]
    #[cfg_attr(docsrs, doc(cfg(feature = "kubeconfig")))]
    #[must_use]
    pub fn from_file(path: impl Into<PathBuf>, overrides: Overrides) -> Self {
        Self {
            overrides,
            wanted: VecDeque::from([Wanted {
                path: path.into(),
                what: What::Kubeconfig { must_exist: true },
            }]),
            kubeconfigs: Vec::new(),
            tried: Vec::new(),
            fallback: Fallback::None,
            error: None,
        }
    }

    /// Only the [in-cluster](in_cluster) configuration, with the files that belong to it.
    ///
    /// ```
    /// use kubewire::config::{Loader, Overrides};
    /// let error = Loader::in_cluster(|_| None, Overrides::default()).finish().unwrap_err();
    /// assert_eq!(error.to_string(), "not in a cluster: KUBERNETES_SERVICE_HOST is not set");
    /// ```
    #[must_use]
    pub fn in_cluster(env: impl Fn(&str) -> Option<OsString>, overrides: Overrides) -> Self {
        let mut loader = Self {
            fallback: Fallback::in_cluster(env, &overrides),
            overrides,
            wanted: VecDeque::new(),
            kubeconfigs: Vec::new(),
            tried: Vec::new(),
            error: None,
        };
        loader.fall_back();
        loader
    }

    /// The file to read next. The same one until its content is handed in.
    #[must_use]
    pub fn next_file(&self) -> Option<&Path> {
        self.wanted.front().map(|wanted| &*wanted.path)
    }

    /// Takes the content of [`next_file`](Self::next_file), or why it could not be read. Without a
    /// next file it does nothing.
    pub fn handle_file(&mut self, content: io::Result<Vec<u8>>) {
        let Some(wanted) = self.wanted.pop_front() else {
            return;
        };
        match wanted.what {
            #[cfg(feature = "kubeconfig")]
            What::Kubeconfig { must_exist } => {
                if let Err(error) = self.kubeconfig(&wanted.path, content, must_exist) {
                    self.wanted.clear();
                    self.error = Some(error);
                    return;
                }
            }
            What::Namespace => {
                let name = content
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok())
                    .map(|name| name.trim().to_owned())
                    .filter(|name| !name.is_empty());
                if let (Some(config), Some(name)) = (self.fallback.config(), name) {
                    config.namespace = name;
                }
            }
            What::Authority => {
                // Without this file, the system's authorities count. Whatever else is wrong with it
                // comes up when a connection is made.
                let missing =
                    matches!(content, Err(error) if error.kind() == io::ErrorKind::NotFound);
                if let Some(config) = self.fallback.config().filter(|_| missing) {
                    config.tls.ca = None;
                }
            }
        }
        self.fall_back();
    }

    #[cfg(feature = "kubeconfig")]
    fn kubeconfig(
        &mut self,
        path: &Path,
        content: io::Result<Vec<u8>>,
        must_exist: bool,
    ) -> Result<(), Error> {
        match content {
            Ok(bytes) => {
                let kubeconfig = Kubeconfig::parse(&bytes, path)?;
                if kubeconfig.is_empty() {
                    self.tried.push(format!("{} is empty", path.display()));
                }
                self.kubeconfigs.push(kubeconfig);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => {
                self.tried
                    .push(format!("{} does not exist", path.display()));
                Ok(())
            }
            Err(error) => Err(Error::new(
                ErrorKind::Config,
                format!("cannot read {}", path.display()),
            )
            .with_source(error)),
        }
    }

    /// Once all kubeconfig files were for nothing, asks for those of the pod.
    fn fall_back(&mut self) {
        if !self.wanted.is_empty() || !self.kubeconfigs.iter().all(Kubeconfig::is_empty) {
            return;
        }
        if let Fallback::InCluster {
            config: Ok(_),
            namespace_file,
            asked,
        } = &mut self.fallback
            && !*asked
        {
            *asked = true;
            let folder = Path::new(SERVICE_ACCOUNT);
            self.wanted.push_back(Wanted {
                path: folder.join("ca.crt"),
                what: What::Authority,
            });
            if *namespace_file {
                self.wanted.push_back(Wanted {
                    path: folder.join("namespace"),
                    what: What::Namespace,
                });
            }
        }
    }

    /// The configuration. Files that were asked for and not handed in count as missing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`]: a file that is wrong or cannot be read, what
    /// [`Kubeconfig::resolve`] refuses, or, if there is nothing at all, everything that was tried.
    pub fn finish(mut self) -> Result<Config, Error> {
        while self.next_file().is_some() {
            self.handle_file(Err(io::ErrorKind::NotFound.into()));
        }
        if let Some(error) = self.error {
            return Err(error);
        }
        let merged = Kubeconfig::merge(self.kubeconfigs);
        if !merged.is_empty() {
            return merged.resolve(&self.overrides);
        }
        let mut tried = self.tried;
        match self.fallback {
            Fallback::InCluster {
                config: Ok(config), ..
            } => return Ok(*config),
            Fallback::InCluster {
                config: Err(error), ..
            } if tried.is_empty() => {
                return Err(error);
            }
            Fallback::InCluster {
                config: Err(error), ..
            } => tried.push(error.to_string()),
            #[cfg(feature = "kubeconfig")]
            Fallback::None => {}
        }
        Err(Error::new(
            ErrorKind::Config,
            format!("no configuration: {}", tried.join("; ")),
        ))
    }
}

impl Fallback {
    fn in_cluster(env: impl Fn(&str) -> Option<OsString>, overrides: &Overrides) -> Self {
        let mut config = in_cluster(&env);
        let namespace = overrides
            .namespace
            .clone()
            .filter(|namespace| !namespace.is_empty());
        let namespace_file = namespace.is_none() && pod_namespace(&env).is_none();
        if let (Ok(config), Some(namespace)) = (&mut config, namespace) {
            config.namespace = namespace;
        }
        Self::InCluster {
            config: config.map(Box::new),
            namespace_file,
            asked: false,
        }
    }

    fn config(&mut self) -> Option<&mut Config> {
        match self {
            Self::InCluster {
                config: Ok(config), ..
            } => Some(config),
            Self::InCluster { config: Err(_), .. } => None,
            #[cfg(feature = "kubeconfig")]
            Self::None => None,
        }
    }
}

/// [`Loader::infer`] with a function that reads files: the one call for an adapter that may block.
///
/// ```
/// use kubewire::config::{load, Overrides};
///
/// let read = |path: &std::path::Path| {
///     assert_eq!(path, std::path::Path::new("/home/me/.kube/config"));
///     Err(std::io::ErrorKind::NotFound.into())
/// };
/// let error = load(read, |_| None, Some("/home/me".as_ref()), Overrides::default()).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "no configuration: /home/me/.kube/config does not exist; \
///      not in a cluster: KUBERNETES_SERVICE_HOST is not set"
/// );
/// ```
///
/// # Errors
///
/// As [`Loader::finish`].
#[cfg(feature = "kubeconfig")]
#[cfg_attr(docsrs, doc(cfg(feature = "kubeconfig")))]
pub fn load(
    mut read: impl FnMut(&Path) -> io::Result<Vec<u8>>,
    env: impl Fn(&str) -> Option<OsString>,
    home: Option<&Path>,
    overrides: Overrides,
) -> Result<Config, Error> {
    let mut loader = Loader::infer(env, home, overrides);
    while let Some(file) = loader.next_file() {
        let content = read(file);
        loader.handle_file(content);
    }
    loader.finish()
}
