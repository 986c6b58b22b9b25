//! From PEM to rustls.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kubewire::config::{ClientCertificate, Config, Material, Tls};
use kubewire::{Error, ErrorKind};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection};

use crate::connect::Purpose;
use crate::trust::Trust;

/// How often files are looked at again, when there is a request. As often as client-go does it.
const LOOK: Duration = Duration::from_mins(1);

/// How to talk TLS to one server: for calls, and for upgrades, which must not end up on HTTP/2.
#[derive(Clone)]
pub(crate) struct TlsConfig {
    calls: Arc<ClientConfig>,
    upgrades: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsConfig {
    /// `name` is what the certificate must be for: the host, or `tls-server-name`. The client's certificate is given inline.
    pub(crate) fn new(
        trust: Trust,
        client: Option<&ClientCertificate>,
        name: &str,
        http2: bool,
    ) -> Result<Self, Error> {
        let config =
            |what: &'static str| move |source: rustls::Error| fault(what).with_source(source);
        let builder = ClientConfig::builder_with_provider(trust.provider)
            .with_safe_default_protocol_versions()
            .map_err(config("no TLS version is available"))?
            .dangerous()
            .with_custom_certificate_verifier(trust.verifier);
        let mut calls = match client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let chain = certificates(pem(&client.certificate), "the client certificate")?;
                let key = PrivateKeyDer::from_pem_slice(pem(&client.key))
                    .map_err(|_| fault("the client key holds no PEM private key"))?;
                builder.with_client_auth_cert(chain, key).map_err(config(
                    "the client certificate and key do not work together",
                ))?
            }
        };
        let mut upgrades = calls.clone();
        upgrades.alpn_protocols = vec![b"http/1.1".to_vec()];
        calls.alpn_protocols.clone_from(&upgrades.alpn_protocols);
        if http2 {
            calls.alpn_protocols.insert(0, b"h2".to_vec());
        }
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| fault("the server's name is neither a DNS name nor an IP address"))?;
        Ok(Self {
            calls: Arc::new(calls),
            upgrades: Arc::new(upgrades),
            name,
        })
    }

    pub(crate) fn begin(&self, purpose: Purpose) -> Result<ClientConnection, rustls::Error> {
        let config = match purpose {
            Purpose::Calls => &self.calls,
            Purpose::Upgrade => &self.upgrades,
        };
        ClientConnection::new(config.clone(), self.name.clone())
    }
}

/// The material of a client, and what was made of it with the files and the client certificate of today.
pub(crate) struct TlsSource {
    /// As it was configured.
    tls: Tls,
    /// Of authorities and certificates that count.
    files: Vec<PathBuf>,
    name: String,
    http2: bool,
    state: Mutex<State>,
}

struct State {
    /// Counts the changes of the client certificate, wherever it came from.
    generation: u64,
    /// Which of the credentials' certificates it is, as they count them.
    issued: u64,
    /// With everything inline.
    loaded: Tls,
    /// None if the server is not https.
    config: Option<TlsConfig>,
    looked: Instant,
}

impl TlsSource {
    /// With the configuration's own material.
    pub(crate) fn new(config: &Config, http2: bool, now: Instant) -> Result<Self, Error> {
        let Config { endpoint, tls, .. } = config;
        let wanted = endpoint.is_https();
        let loaded = if wanted {
            load(tls, |path| std::fs::read(path))?
        } else {
            Tls::default()
        };
        let name = tls
            .server_name
            .as_deref()
            .unwrap_or_else(|| endpoint.host());
        let made = wanted.then(|| make(&loaded, name, http2)).transpose()?;
        let files = tls.materials().filter_map(Material::path);
        let files = files.filter(|_| wanted).map(Path::to_owned).collect();
        Ok(Self {
            tls: tls.clone(),
            files,
            name: name.to_owned(),
            http2,
            state: Mutex::new(State {
                generation: 0,
                issued: 0,
                loaded,
                config: made,
                looked: now,
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How to talk to the server now, and which client certificate that shows.
    pub(crate) fn current(&self) -> (u64, Option<TlsConfig>) {
        let state = self.lock();
        (state.generation, state.config.clone())
    }

    /// Which client certificate new connections show.
    pub(crate) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Which of the credentials' certificates that is, or 0.
    pub(crate) fn issued(&self) -> u64 {
        self.lock().issued
    }

    /// Authorities and certificates are replaced while a program runs.
    pub(crate) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether to read the files again. Asks one caller a minute.
    pub(crate) fn is_due(&self, now: impl FnOnce() -> Instant) -> bool {
        if self.files.is_empty() {
            return false;
        }
        let now = now();
        let mut state = self.lock();
        let due = now.saturating_duration_since(state.looked) >= LOOK;
        if due {
            state.looked = now;
        }
        due
    }

    /// Whether the client certificate is in a file, and so may be another one there.
    pub(crate) fn may_change(&self) -> bool {
        let client = self.tls.client.as_ref();
        let file = client.and_then(|client| client.certificate.path());
        file.is_some() && !self.files.is_empty()
    }

    /// New connections use what the files hold now, if that is of use.
    pub(crate) fn renew(&self, files: &[(&Path, Vec<u8>)]) {
        let read = |path: &Path| {
            let file = files.iter().find(|(name, _)| *name == path);
            let content = file.map(|(_, content)| content.clone());
            content.ok_or_else(|| std::io::ErrorKind::NotFound.into())
        };
        let Ok(mut loaded) = load(&self.tls, read) else {
            return;
        };
        let mut state = self.lock();
        if loaded.client.is_none() {
            loaded.client.clone_from(&state.loaded.client);
        }
        // A file that is just being written, say. Those from before still do.
        if loaded != state.loaded
            && let Ok(config) = make(&loaded, &self.name, self.http2)
        {
            state.generation += u64::from(loaded.client != state.loaded.client);
            state.config = Some(config);
            state.loaded = loaded;
        }
    }

    /// New connections show this certificate of the credentials, or none.
    pub(crate) fn rotate(
        &self,
        issued: u64,
        certificate: Option<&ClientCertificate>,
    ) -> Result<(), Error> {
        let mut state = self.lock();
        if state.config.is_none() || issued <= state.issued {
            return Ok(());
        }
        let mut tls = state.loaded.clone();
        tls.client = certificate.cloned();
        let loaded = load(&tls, |path| std::fs::read(path))?;
        state.config = Some(make(&loaded, &self.name, self.http2)?);
        state.loaded = loaded;
        state.issued = issued;
        state.generation += 1;
        Ok(())
    }

    /// For a proxy that is spoken to by TLS: by the authority of the cluster, without a client certificate. As in
    /// Go, what is said about verification for the server counts for its proxy too.
    pub(crate) fn for_proxy(&self, host: &str) -> Result<TlsConfig, Error> {
        let trust = trust(&self.lock().loaded)?;
        TlsConfig::new(trust, None, host, false)
    }
}

/// The same, with everything inline.
fn load(tls: &Tls, read: impl Fn(&Path) -> std::io::Result<Vec<u8>>) -> Result<Tls, Error> {
    let inline = |material: &mut Material| {
        *material = Material::Data(material.load(&read)?);
        Ok::<_, Error>(())
    };
    let mut loaded = tls.clone();
    loaded.ca.as_mut().map(inline).transpose()?;
    if let Some(client) = &mut loaded.client {
        inline(&mut client.certificate)?;
        inline(&mut client.key)?;
    }
    Ok(loaded)
}

fn make(loaded: &Tls, name: &str, http2: bool) -> Result<TlsConfig, Error> {
    TlsConfig::new(trust(loaded)?, loaded.client.as_ref(), name, http2)
}

fn trust(loaded: &Tls) -> Result<Trust, Error> {
    if loaded.dangerous_insecure_skip_verify {
        Ok(Trust::dangerously())
    } else {
        Trust::by(loaded.ca.as_ref().map(pem))
    }
}

/// What was loaded.
fn pem(material: &Material) -> &[u8] {
    match material {
        Material::Data(pem) => pem.as_bytes(),
        Material::File(_) => &[],
    }
}

pub(crate) fn certificates(
    pem: &[u8],
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| Error::new(ErrorKind::Config, format!("{what} is not valid PEM")))?;
    if certificates.is_empty() {
        return Err(Error::new(
            ErrorKind::Config,
            format!("{what} holds no PEM certificate"),
        ));
    }
    Ok(certificates)
}

pub(crate) fn fault(what: &'static str) -> Error {
    Error::new(ErrorKind::Config, what)
}
