//! Kubeconfigs as JSON: every field under kubectl's name, those that are not known as they were.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::kubeconfig::{
    AuthProvider, Cluster, Context, Exec, ExecEnv, Kubeconfig, Named, Opaque, User,
};
use super::secret::Secret;

/// An object that leaves out what is not set.
struct Fields<S: Serializer> {
    map: S::SerializeMap,
}

impl<S: Serializer> Fields<S> {
    fn new(serializer: S) -> Result<Self, S::Error> {
        Ok(Self {
            map: serializer.serialize_map(None)?,
        })
    }

    fn field(&mut self, name: &str, value: Option<&impl Serialize>) -> Result<(), S::Error> {
        match value {
            Some(value) => self.map.serialize_entry(name, value),
            None => Ok(()),
        }
    }

    fn secret(&mut self, name: &str, value: Option<&Secret>) -> Result<(), S::Error> {
        self.field(name, value.map(Secret::expose).as_ref())
    }

    fn list<T: Serialize>(&mut self, name: &str, items: &[T]) -> Result<(), S::Error> {
        self.field(name, Some(&items).filter(|items| !items.is_empty()))
    }

    fn end(mut self, other: &BTreeMap<String, Opaque>) -> Result<S::Ok, S::Error> {
        for (name, value) in other {
            self.map.serialize_entry(name, value)?;
        }
        self.map.end()
    }
}

/// A list entry with its name: `{name, KEY: value}`.
struct Keyed<'a, T>(&'static str, &'a Named<T>);

impl<T: Serialize> Serialize for Keyed<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields::new(serializer)?;
        fields.field("name", Some(&self.1.name))?;
        fields.field(self.0, Some(&self.1.value))?;
        fields.end(&self.1.other)
    }
}

fn keyed<'a, T>(key: &'static str, list: &'a [Named<T>]) -> Vec<Keyed<'a, T>> {
    list.iter().map(|entry| Keyed(key, entry)).collect()
}

impl Serialize for Kubeconfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields::new(serializer)?;
        fields.field("apiVersion", Some(&"v1"))?;
        fields.field("kind", Some(&"Config"))?;
        fields.field("preferences", self.preferences.as_ref())?;
        fields.field("clusters", Some(&keyed("cluster", &self.clusters)))?;
        fields.field("users", Some(&keyed("user", &self.users)))?;
        fields.field("contexts", Some(&keyed("context", &self.contexts)))?;
        fields.field("current-context", self.current_context.as_ref())?;
        fields.list("extensions", &keyed("extension", &self.extensions))?;
        fields.end(&self.other)
    }
}

impl Serialize for Cluster {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields::new(serializer)?;
        fields.field("server", self.server.as_ref())?;
        fields.field("tls-server-name", self.tls_server_name.as_ref())?;
        fields.field(
            "insecure-skip-tls-verify",
            self.insecure_skip_tls_verify.as_ref(),
        )?;
        fields.field("certificate-authority", self.certificate_authority.as_ref())?;
        fields.field(
            "certificate-authority-data",
            self.certificate_authority_data.as_ref(),
        )?;
        fields.field("proxy-url", self.proxy_url.as_ref())?;
        fields.field("disable-compression", self.disable_compression.as_ref())?;
        fields.list("extensions", &keyed("extension", &self.extensions))?;
        fields.end(&self.other)
    }
}

impl Serialize for User {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields::new(serializer)?;
        fields.field("client-certificate", self.client_certificate.as_ref())?;
        fields.secret(
            "client-certificate-data",
            self.client_certificate_data.as_ref(),
        )?;
        fields.field("client-key", self.client_key.as_ref())?;
        fields.secret("client-key-data", self.client_key_data.as_ref())?;
        fields.secret("token", self.token.as_ref())?;
        fields.field("tokenFile", self.token_file.as_ref())?;
        fields.field("as", self.act_as.as_ref())?;
        fields.field("as-uid", self.act_as_uid.as_ref())?;
        fields.list("as-groups", &self.act_as_groups)?;
        let extra = Some(&self.act_as_user_extra).filter(|extra| !extra.is_empty());
        fields.field("as-user-extra", extra)?;
        fields.field("username", self.username.as_ref())?;
        fields.secret("password", self.password.as_ref())?;
        fields.field("auth-provider", self.auth_provider.as_ref())?;
        fields.field("exec", self.exec.as_ref())?;
        fields.list("extensions", &keyed("extension", &self.extensions))?;
        fields.end(&self.other)
    }
}

impl Serialize for AuthProvider {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields::new(serializer)?;
        fields.field("name", Some(&self.name))?;
        let config: BTreeMap<_, _> = self
            .config
            .iter()
            .map(|(key, secret)| (key, secret.expose()))
            .collect();
        fields.field("config", Some(&config))?;
        fields.end(&self.other)
    }
}

impl Serialize for Exec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields::new(serializer)?;
        fields.field("command", self.command.as_ref())?;
        fields.list("args", &self.args)?;
        fields.list("env", &self.env)?;
        fields.field("apiVersion", self.api_version.as_ref())?;
        fields.field("installHint", self.install_hint.as_ref())?;
        fields.field("provideClusterInfo", self.provide_cluster_info.as_ref())?;
        fields.field("interactiveMode", self.interactive_mode.as_ref())?;
        fields.end(&self.other)
    }
}

impl Serialize for ExecEnv {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields::new(serializer)?;
        fields.field("name", Some(&self.name))?;
        fields.secret("value", self.value.as_ref())?;
        fields.end(&self.other)
    }
}

impl Serialize for Context {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields::new(serializer)?;
        fields.field("cluster", self.cluster.as_ref())?;
        fields.field("user", self.user.as_ref())?;
        fields.field("namespace", self.namespace.as_ref())?;
        fields.list("extensions", &keyed("extension", &self.extensions))?;
        fields.end(&self.other)
    }
}
