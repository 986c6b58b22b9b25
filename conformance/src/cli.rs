//! What the command lines of the runner and the tour have in common.

use std::error::Error;
use std::sync::Arc;

use kubewire::config::{Config, Kubeconfig, Overrides};

use crate::server::Server;

/// Which cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cluster {
    /// An embedded server.
    #[default]
    Embedded,
    /// That of a kubeconfig file.
    File(String),
    /// That which `kubectl` uses.
    Inferred,
}

/// How to reach a cluster, and the server behind it if that is embedded.
pub type Connected = (Config, Option<Arc<Server>>);

/// Options that every program has that runs on any cluster and runtime.
#[derive(Clone, Debug)]
pub struct Common {
    /// Which cluster.
    pub cluster: Cluster,
    /// The context and the like.
    pub overrides: Overrides,
    /// An image with what busybox has.
    pub image: String,
    /// The runtimes to run on, in order.
    pub runtimes: Vec<&'static str>,
    known: &'static [&'static str],
}

impl Common {
    /// How to write them.
    pub const USAGE: &'static str = "[--embedded | --kubeconfig FILE | --cluster] [--context NAME] [--runtime NAME|all] [--image NAME]";

    /// The embedded server, on all of these runtimes.
    #[must_use]
    pub fn new(known: &'static [&'static str]) -> Self {
        Self {
            cluster: Cluster::default(),
            overrides: Overrides::default(),
            image: "busybox:stable".to_owned(),
            runtimes: known.to_vec(),
            known,
        }
    }

    /// Takes an argument, and its value if it has one; whether it is one of these.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn take(
        &mut self,
        argument: &str,
        rest: &mut impl Iterator<Item = String>,
    ) -> Result<bool, String> {
        match argument {
            "--embedded" => self.cluster = Cluster::Embedded,
            "--cluster" => self.cluster = Cluster::Inferred,
            "--kubeconfig" => self.cluster = Cluster::File(value(argument, rest)?),
            "--context" => self.overrides.context = Some(value(argument, rest)?),
            "--image" => self.image = value(argument, rest)?,
            "--runtime" => {
                let name = value(argument, rest)?;
                self.runtimes = match self.known.iter().find(|known| **known == name) {
                    Some(known) => vec![*known],
                    None if name == "all" => self.known.to_vec(),
                    None => {
                        let known = self.known.join(", ");
                        return Err(format!(
                            "there is no runtime {name:?}; there are {known}, and all"
                        ));
                    }
                };
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The configuration of a client, and perhaps its server.
    ///
    /// # Errors
    ///
    /// What is wrong with the configuration.
    pub fn connect(&self) -> Result<Connected, Box<dyn Error>> {
        let overrides = self.overrides.clone();
        Ok(match &self.cluster {
            Cluster::File(path) => (kubewire_driver::load::from_file(path, overrides)?, None),
            Cluster::Inferred => (kubewire_driver::load::infer_with(overrides)?, None),
            Cluster::Embedded => {
                let server = Arc::new(Server::builder().tls(true).start()?);
                (config_of(&server)?, Some(server))
            }
        })
    }
}

/// The value of an argument.
///
/// # Errors
///
/// If there is none.
pub fn value(argument: &str, rest: &mut impl Iterator<Item = String>) -> Result<String, String> {
    rest.next()
        .ok_or_else(|| format!("{argument} needs a value"))
}

/// The configuration for an embedded server: with TLS, a client certificate as clusters have it; else the token.
///
/// # Errors
///
/// None that is not a fault of the server's.
pub fn config_of(server: &Server) -> Result<Config, kubewire::Error> {
    let text = server
        .kubeconfig_with_client_certificate()
        .unwrap_or_else(|| server.kubeconfig());
    Kubeconfig::parse(text.as_bytes(), "embedded".as_ref())?.resolve(&Overrides::default())
}
