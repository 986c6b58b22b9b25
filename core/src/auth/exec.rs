//! Programs that print credentials.

use std::io;

use http::HeaderValue;
use serde_json::{Map, Value};

use super::expiry::Expires;
use super::redact;
use super::time::rfc3339;
use super::want::{ProcessCommand, ProcessOutput, Want};
use crate::config::{ClientCertificate, ExecPlugin, Material, Pem, Secret};
use crate::{Error, ErrorKind};

const MAX_STDOUT: usize = 1 << 20;
const MAX_STDERR: usize = 16 << 10;

/// New credentials.
pub(super) struct Issued {
    pub(super) header: Option<HeaderValue>,
    pub(super) certificate: Option<ClientCertificate>,
    pub(super) expires: Expires,
}

/// An exec plugin, and whether a user is there for it.
pub(super) struct Exec {
    plugin: ExecPlugin,
    pub(super) terminal: bool,
}

impl Exec {
    pub(super) fn new(plugin: ExecPlugin) -> Self {
        Self {
            plugin,
            terminal: false,
        }
    }

    pub(super) fn begin(&self) -> Result<Want, Error> {
        // Before anything is done in vain.
        self.plugin.interactive(self.terminal)?;
        match self
            .plugin
            .cluster
            .as_ref()
            .and_then(|cluster| cluster.ca.as_ref())
        {
            Some(Material::File(path)) => Ok(Want::Read(path.clone())),
            Some(Material::Data(_)) | None => self.run(None),
        }
    }

    /// The authority, which the program is told.
    pub(super) fn handle_file(&self, content: io::Result<Vec<u8>>) -> Result<Want, Error> {
        let pem = content.map(Pem::new).map_err(|error| {
            self.wrong("cannot be told the certificate authority, whose file cannot be read")
                .with_source(error)
        })?;
        self.run(Some(&pem))
    }

    fn run(&self, ca: Option<&Pem>) -> Result<Want, Error> {
        let interactive = self.plugin.interactive(self.terminal)?;
        let mut env = self.plugin.env.clone();
        let info = Secret::new(self.plugin.info(interactive, ca));
        env.push(("KUBERNETES_EXEC_INFO".to_owned(), info));
        Ok(Want::Run(Box::new(ProcessCommand {
            program: self.plugin.command.clone(),
            args: self.plugin.args.clone(),
            env,
            interactive,
            show_stderr: self.terminal,
            max_stdout: MAX_STDOUT,
            max_stderr: MAX_STDERR,
        })))
    }

    pub(super) fn wrong(&self, what: &str) -> Error {
        let command = self.plugin.command.display();
        Error::new(
            ErrorKind::Credentials,
            format!("the exec plugin {command} {what}"),
        )
    }

    pub(super) fn handle_process(
        &self,
        result: io::Result<ProcessOutput>,
        known: Option<&Secret>,
    ) -> Result<(Issued, Option<Secret>), Error> {
        let output = result.map_err(|error| self.cannot_run(error))?;
        if output.stdout.len() > MAX_STDOUT {
            return Err(self.wrong("printed more than 1 MiB"));
        }
        if output.code != Some(0) {
            let mut what = match output.code {
                Some(code) => format!("failed with exit code {code}"),
                None => "was killed by a signal".to_owned(),
            };
            let secrets = self.plugin.env.iter().map(|(_, value)| value).chain(known);
            let tail = redact::tail(&output.stderr, secrets);
            if !tail.is_empty() {
                what = format!("{what}: {tail}");
            }
            return Err(self.wrong(&what));
        }
        self.parse(&output.stdout)
            .map_err(|what| self.wrong(&what))
            .and_then(|(token, certificate, expires)| {
                let header = token
                    .as_ref()
                    .map(Secret::bearer)
                    .transpose()
                    .map_err(|_| {
                        self.wrong("printed a token with characters that no header can carry")
                    })?;
                let issued = Issued {
                    header,
                    certificate,
                    expires,
                };
                Ok((issued, token))
            })
    }

    fn cannot_run(&self, error: io::Error) -> Error {
        let what = if error.kind() == io::ErrorKind::NotFound {
            match &self.plugin.install_hint {
                Some(hint) => format!("was not found. {}", hint.trim()),
                None => "was not found; is it installed, and in PATH?".to_owned(),
            }
        } else {
            "cannot be run".to_owned()
        };
        self.wrong(&what).with_source(error)
    }

    /// An `ExecCredential` of the plugin's own version. Nothing of it appears in a fault.
    fn parse(
        &self,
        stdout: &[u8],
    ) -> Result<(Option<Secret>, Option<ClientCertificate>, Expires), String> {
        let version = self.plugin.api_version.as_str();
        let value = value(stdout)?;
        let Value::Object(mut root) = value else {
            return Err("printed something other than an ExecCredential".to_owned());
        };
        if take(&mut root, "kind")?.as_deref() != Some("ExecCredential") {
            return Err("printed an object whose kind is not ExecCredential".to_owned());
        }
        if take(&mut root, "apiVersion")?.as_deref() != Some(version) {
            return Err(format!(
                "printed an ExecCredential whose apiVersion is not {version}, which it was asked for"
            ));
        }
        let Some(Value::Object(mut status)) = root.remove("status") else {
            return Err("printed an ExecCredential without a status".to_owned());
        };
        let mut field = |name| {
            take(&mut status, name).map(|text| text.filter(|text: &String| !text.is_empty()))
        };
        let token = field("token")?.map(Secret::new);
        let certificate = field("clientCertificateData")?.map(Pem::new);
        let key = field("clientKeyData")?.map(Pem::new);
        let certificate = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                for (pem, name) in [
                    (&certificate, "clientCertificateData"),
                    (&key, "clientKeyData"),
                ] {
                    if memchr::memmem::find(pem.as_bytes(), b"-----BEGIN ").is_none() {
                        return Err(format!("printed a {name} that is no PEM"));
                    }
                }
                Some(ClientCertificate {
                    certificate: Material::Data(certificate),
                    key: Material::Data(key),
                })
            }
            (Some(_), None) => return Err("printed a client certificate without a key".to_owned()),
            (None, Some(_)) => return Err("printed a key without a client certificate".to_owned()),
        };
        if token.is_none() && certificate.is_none() {
            return Err("printed neither a token nor a client certificate".to_owned());
        }
        let expires = match take(&mut status, "expirationTimestamp")? {
            None => Expires::Never,
            Some(text) => Expires::At(rfc3339(&text).ok_or_else(|| {
                "printed an expirationTimestamp that is no date of RFC 3339".to_owned()
            })?),
        };
        Ok((token, certificate, expires))
    }
}

fn take(map: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match map.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("printed a {name} that is no text")),
    }
}

fn value(stdout: &[u8]) -> Result<Value, String> {
    if stdout.trim_ascii().is_empty() {
        return Err("printed nothing".to_owned());
    }
    if let Ok(value) = serde_json::from_slice(stdout) {
        return Ok(value);
    }
    #[cfg(feature = "kubeconfig")]
    return crate::config::yaml_value(stdout)
        .ok_or_else(|| "printed something that is neither JSON nor YAML".to_owned());
    #[cfg(not(feature = "kubeconfig"))]
    return Err("printed something that is not JSON".to_owned());
}
