//! From PEM to rustls.

use std::sync::{Arc, Mutex, PoisonError};

use kubewire::config::ClientCertificate;
use kubewire::{Error, ErrorKind};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::connect::Purpose;

/// PEM material, read.
#[derive(Default)]
pub(crate) struct Pem<'a> {
    pub(crate) ca: Option<&'a [u8]>,
    pub(crate) client: Option<(&'a [u8], &'a [u8])>,
    pub(crate) insecure_skip_verify: bool,
}

/// How to talk TLS to one server: for calls, and for upgrades, which must not end up on HTTP/2.
#[derive(Clone)]
pub(crate) struct TlsConfig {
    calls: Arc<ClientConfig>,
    upgrades: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsConfig {
    /// `name` is what the certificate must be for: the host, or `tls-server-name`.
    pub(crate) fn new(pem: &Pem<'_>, name: &str, http2: bool) -> Result<Self, Error> {
        let config =
            |what: &'static str| move |source: rustls::Error| fault(what).with_source(source);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(config("no TLS version is available"))?;
        let builder = if pem.insecure_skip_verify {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            builder.with_root_certificates(roots(pem.ca)?)
        };
        let mut calls = match &pem.client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(certificate, "the client certificate")?;
                let key = PrivateKeyDer::from_pem_slice(key)
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

/// The material of a client, and what was made of it with the client certificate of today.
pub(crate) struct TlsSource {
    pub(crate) ca: Option<kubewire::config::Pem>,
    pub(crate) client: Option<(kubewire::config::Pem, kubewire::config::Pem)>,
    pub(crate) name: String,
    pub(crate) insecure_skip_verify: bool,
    pub(crate) http2: bool,
    /// None if the server is not https.
    current: Mutex<(u64, Option<TlsConfig>)>,
}

impl TlsSource {
    /// With the configuration's own material.
    pub(crate) fn new(config: &kubewire::config::Config, http2: bool) -> Result<Self, Error> {
        let kubewire::config::Config { endpoint, tls, .. } = config;
        let read =
            |material: &kubewire::config::Material| material.load(|path| std::fs::read(path));
        let wanted = endpoint.is_https();
        let ca = tls.ca.as_ref().filter(|_| wanted).map(read).transpose()?;
        let client = match &tls.client {
            Some(client) if wanted => Some((read(&client.certificate)?, read(&client.key)?)),
            _ => None,
        };
        let name = tls
            .server_name
            .as_deref()
            .unwrap_or_else(|| endpoint.host());
        let source = Self {
            ca,
            client,
            name: name.to_owned(),
            insecure_skip_verify: tls.dangerous_insecure_skip_verify,
            http2,
            current: Mutex::new((0, None)),
        };
        if wanted {
            let config = source.make(source.client.as_ref())?;
            source.set(0, config);
        }
        Ok(source)
    }

    fn make(
        &self,
        client: Option<&(kubewire::config::Pem, kubewire::config::Pem)>,
    ) -> Result<TlsConfig, Error> {
        let pem = Pem {
            ca: self.ca.as_ref().map(kubewire::config::Pem::as_bytes),
            client: client.map(|(certificate, key)| (certificate.as_bytes(), key.as_bytes())),
            insecure_skip_verify: self.insecure_skip_verify,
        };
        TlsConfig::new(&pem, &self.name, self.http2)
    }

    fn set(&self, generation: u64, config: TlsConfig) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if generation >= current.0 {
            *current = (generation, Some(config));
        }
    }

    pub(crate) fn current(&self) -> (u64, Option<TlsConfig>) {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// New connections show this certificate, or none.
    pub(crate) fn rotate(
        &self,
        generation: u64,
        certificate: Option<&ClientCertificate>,
    ) -> Result<(), Error> {
        if self.current().1.is_none() {
            return Ok(());
        }
        let read =
            |material: &kubewire::config::Material| material.load(|path| std::fs::read(path));
        let client = match certificate {
            Some(client) => Some((read(&client.certificate)?, read(&client.key)?)),
            None => None,
        };
        let config = self.make(client.as_ref())?;
        self.set(generation, config);
        Ok(())
    }

    /// For a proxy that is spoken to by TLS: by the authority of the cluster, without a client certificate. As in
    /// Go, what is said about verification for the server counts for its proxy too.
    pub(crate) fn for_proxy(&self, host: &str) -> Result<TlsConfig, Error> {
        let pem = Pem {
            ca: self.ca.as_ref().map(kubewire::config::Pem::as_bytes),
            client: None,
            insecure_skip_verify: self.insecure_skip_verify,
        };
        TlsConfig::new(&pem, host, false)
    }
}

fn roots(ca: Option<&[u8]>) -> Result<RootCertStore, Error> {
    let Some(ca) = ca else {
        return Err(fault(
            "no certificate authority is configured for an https server",
        ));
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca, "the certificate authority")? {
        roots.add(certificate).map_err(|source| {
            fault("a certificate of the certificate authority is not usable").with_source(source)
        })?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, Error> {
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

fn fault(what: &'static str) -> Error {
    Error::new(ErrorKind::Config, what)
}

/// For `insecure-skip-tls-verify`: encrypts, to whoever answers.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
