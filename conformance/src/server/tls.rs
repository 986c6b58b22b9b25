//! Certificates, made anew for each server.

use std::io;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// What a server shows to its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Certificate {
    /// One by an authority of the server's own, for `localhost`, `127.0.0.1` and `kubernetes.default.svc`.
    #[default]
    Good,
    /// One that was good until 2020.
    Expired,
    /// One for `other.example` only.
    OtherName,
    /// One that it has signed itself, and that says that it is an authority: what `openssl req -x509` makes.
    SelfSigned,
}

/// How to serve.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) http2: bool,
    pub(crate) certificate: Certificate,
    /// Whether clients must show a certificate, or may.
    pub(crate) require_client_certificate: bool,
}

/// What a client needs to connect, and what the server needs to serve.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) ca_pem: String,
    pub(crate) certificate_pem: String,
    pub(crate) client_certificate_pem: String,
    pub(crate) client_key_pem: String,
    clients: CertifiedIssuer<'static, KeyPair>,
    pub(crate) config: Arc<ServerConfig>,
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut parameters = CertificateParams::new(Vec::<String>::new())?;
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)
}

fn serving(
    kind: Certificate,
    authority: &CertifiedIssuer<'static, KeyPair>,
) -> Result<(rcgen::Certificate, KeyPair), rcgen::Error> {
    let key = KeyPair::generate()?;
    let names: &[&str] = match kind {
        Certificate::OtherName => &["other.example"],
        Certificate::Good | Certificate::Expired | Certificate::SelfSigned => {
            &["localhost", "127.0.0.1", "kubernetes.default.svc"]
        }
    };
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut parameters = CertificateParams::new(names)?;
    parameters
        .distinguished_name
        .push(DnType::CommonName, "kube-apiserver");
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Strict verifiers, such as Python's, ask for it.
    parameters.use_authority_key_identifier_extension = true;
    if kind == Certificate::Expired {
        parameters.not_before = rcgen::date_time_ymd(2019, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    let certificate = if kind == Certificate::SelfSigned {
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.self_signed(&key)?
    } else {
        parameters.signed_by(&key, authority)?
    };
    Ok((certificate, key))
}

/// A certificate of user `admin`, and its key.
fn issue(clients: &CertifiedIssuer<'static, KeyPair>) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(Vec::<String>::new())?;
    parameters
        .distinguished_name
        .push(DnType::OrganizationName, "system:masters");
    parameters
        .distinguished_name
        .push(DnType::CommonName, "admin");
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    parameters.use_authority_key_identifier_extension = true;
    let certificate = parameters.signed_by(&key, clients)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

impl Tls {
    pub(crate) fn issue(&self) -> Option<(String, String)> {
        issue(&self.clients).ok()
    }

    pub(crate) fn generate(options: Options) -> io::Result<Self> {
        let authority_of_server = authority("kubewire-serving-ca").map_err(other)?;
        let clients = authority("kubewire-client-ca").map_err(other)?;
        let (certificate, key) =
            serving(options.certificate, &authority_of_server).map_err(other)?;

        let (client_certificate_pem, client_key_pem) = issue(&clients).map_err(other)?;

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from(clients.der().to_vec()))
            .map_err(other)?;
        let mut verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        if !options.require_client_certificate {
            verifier = verifier.allow_unauthenticated();
        }
        let verifier = verifier.build().map_err(other)?;
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(other)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, private)
            .map_err(other)?;
        config.alpn_protocols = if options.http2 {
            vec![b"h2".to_vec(), b"http/1.1".to_vec()]
        } else {
            vec![b"http/1.1".to_vec()]
        };
        Ok(Self {
            ca_pem: match options.certificate {
                Certificate::SelfSigned => certificate.pem(),
                Certificate::Good | Certificate::Expired | Certificate::OtherName => {
                    authority_of_server.pem()
                }
            },
            certificate_pem: certificate.pem(),
            client_certificate_pem,
            client_key_pem,
            clients,
            config: Arc::new(config),
        })
    }
}
