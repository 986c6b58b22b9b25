//! The configuration that every pod has.

use std::ffi::OsString;
use std::path::Path;

use super::value::{Auth, Config, Material};
use crate::{Endpoint, Error, ErrorKind};

const HOST: &str = "KUBERNETES_SERVICE_HOST";
const PORT: &str = "KUBERNETES_SERVICE_PORT";
const POD_NAMESPACE: &str = "POD_NAMESPACE";

/// The directory in which a pod finds its service account's token, authority and namespace.
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The configuration of a program in a pod, from its environment variables.
///
/// The server is `https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT`, token and authority
/// are files in [`SERVICE_ACCOUNT`] that the kubelet replaces before they expire: read the token
/// file again every minute. The namespace is `$POD_NAMESPACE` or `default`; a
/// [`Loader`](super::Loader) also reads the namespace file, and leaves the authority out if there
/// is no such file.
///
/// ```
/// use kubewire::config::in_cluster;
///
/// let config = in_cluster(|name| match name {
///     "KUBERNETES_SERVICE_HOST" => Some("fd00::1".into()),
///     "KUBERNETES_SERVICE_PORT" => Some("443".into()),
///     _ => None,
/// })?;
/// assert_eq!(config.endpoint.to_string(), "https://[fd00::1]:443");
///
/// let error = in_cluster(|_| None).unwrap_err();
/// assert_eq!(error.to_string(), "not in a cluster: KUBERNETES_SERVICE_HOST is not set");
/// # Ok::<(), kubewire::Error>(())
/// ```
///
/// # Errors
///
/// [`ErrorKind::Config`] with the name of the variable that is missing or wrong.
pub fn in_cluster(env: impl Fn(&str) -> Option<OsString>) -> Result<Config, Error> {
    let wrong = |name: &str, what: &str| {
        Error::new(
            ErrorKind::Config,
            format!("not in a cluster: {name} {what}"),
        )
    };
    let variable = |name: &str| {
        text(&env, name)
            .map_err(|()| wrong(name, "is not text"))?
            .ok_or_else(|| wrong(name, "is not set"))
    };
    let host = variable(HOST)?;
    let port = variable(PORT)?;
    let port: u16 = port.parse().map_err(|_| wrong(PORT, "is no port number"))?;
    let endpoint = if host.contains(':') && !host.starts_with('[') {
        Endpoint::parse(&format!("https://[{host}]:{port}"))
    } else {
        Endpoint::parse(&format!("https://{host}:{port}"))
    }
    .map_err(|_| wrong(HOST, "is no host name or address"))?;
    if endpoint.port() != port || endpoint.to_string().matches('/').count() != 2 {
        return Err(wrong(HOST, "is no host name or address"));
    }

    let folder = Path::new(SERVICE_ACCOUNT);
    let mut config = Config::new(endpoint).credentials_over_http(false);
    config.tls.ca = Some(Material::File(folder.join("ca.crt")));
    config.auth = Auth::TokenFile {
        path: folder.join("token"),
        initial: None,
    };
    if let Some(namespace) = pod_namespace(&env) {
        config.namespace = namespace;
    }
    Ok(config)
}

pub(super) fn pod_namespace(env: impl Fn(&str) -> Option<OsString>) -> Option<String> {
    text(&env, POD_NAMESPACE).ok().flatten()
}

/// A variable without white space around it; an empty one counts as not set.
fn text(env: &impl Fn(&str) -> Option<OsString>, name: &str) -> Result<Option<String>, ()> {
    let Some(value) = env(name) else {
        return Ok(None);
    };
    let value = value.into_string().map_err(|_| ())?;
    let value = value.trim();
    Ok((!value.is_empty()).then(|| value.to_owned()))
}
