//! Configuration as values: kubeconfig files, the configuration of a pod, and what comes of them.
//!
//! Nothing here reads a file or the environment. Contents come in as bytes, variables as a
//! function, and the files that are still to be read (certificates, a token file) go out as paths.
//!
//! # From files to a [`Config`]
//!
//! 1. [`Kubeconfig::search_paths`] tells the files of a kubeconfig.
//! 2. `Kubeconfig::parse` reads each (feature `kubeconfig`), [`Kubeconfig::merge`] merges them.
//! 3. [`Kubeconfig::resolve`] picks context, cluster and user, and checks them.
//! 4. Or [`in_cluster`] takes what every pod has.
//!
//! [`Loader`] and [`load`] do all of that in the order that every tool of Kubernetes has:
//!
//! | # | Source | Taken if |
//! |---|---|---|
//! | 1 | the files of `KUBECONFIG`, merged; missing ones are skipped | the variable is set and not empty; `~/.kube/config` is not looked at then |
//! | 2 | `~/.kube/config` | the variable is not set |
//! | 3 | the service account of the pod | no file of 1 or 2 exists or holds anything, and no context, cluster or user is asked for by name |
//!
//! A file that is there but cannot be read or is wrong is an error and ends the search, since going
//! on would silently talk to another cluster. If nothing is found, the error lists all that was
//! tried, so that the reader knows what to set:
//!
//! ```text
//! no configuration: /home/me/.kube/config does not exist; not in a cluster: KUBERNETES_SERVICE_HOST is not set
//! ```
//!
//! # Secrets
//!
//! Errors and `Debug` name files, lines, entries and fields, and never show a value that may be
//! secret: tokens, passwords, keys, arguments and variables of exec plugins, credentials in URLs,
//! and fields that are not known. [`Secret`] and [`Pem`] are overwritten in memory on drop; the
//! file's bytes that were handed in and what the YAML parser made of them on the way are not.

mod exec;
mod impersonate;
mod in_cluster;
mod kubeconfig;
mod load;
#[cfg(feature = "kubeconfig")]
mod read;
mod resolve;
mod secret;
mod value;
mod write;
#[cfg(feature = "kubeconfig")]
mod yaml;

pub use exec::{ExecCluster, ExecPlugin, ExecVersion, InteractiveMode};
pub use impersonate::Impersonation;
pub use in_cluster::{SERVICE_ACCOUNT, in_cluster};
pub use kubeconfig::{
    AuthProvider, Cluster, Context, Exec, ExecEnv, Kubeconfig, Named, Opaque, Origin, User,
};
#[cfg(feature = "kubeconfig")]
#[cfg_attr(docsrs, doc(cfg(feature = "kubeconfig")))]
pub use load::load;
pub use load::{Loader, SearchPaths};
pub use resolve::Overrides;
pub use secret::{Pem, Secret};
pub(crate) use value::is_loopback;
pub use value::{Auth, ClientCertificate, Config, Material, ProxyUrl, Tls};
#[cfg(feature = "kubeconfig")]
pub(crate) use yaml::value as yaml_value;
