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

/// What a client needs to connect, and what the server needs to serve.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) ca_pem: String,
    pub(crate) client_certificate_pem: String,
    pub(crate) client_key_pem: String,
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

impl Tls {
    pub(crate) fn generate(http2: bool) -> io::Result<Self> {
        let serving = authority("kubewire-serving-ca").map_err(other)?;
        let clients = authority("kubewire-client-ca").map_err(other)?;

        let key = KeyPair::generate().map_err(other)?;
        let names = [
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            "kubernetes.default.svc".to_owned(),
        ];
        let mut parameters = CertificateParams::new(names).map_err(other)?;
        parameters
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = parameters.signed_by(&key, &serving).map_err(other)?;

        let client_key = KeyPair::generate().map_err(other)?;
        let mut parameters = CertificateParams::new(Vec::<String>::new()).map_err(other)?;
        parameters
            .distinguished_name
            .push(DnType::OrganizationName, "system:masters");
        parameters
            .distinguished_name
            .push(DnType::CommonName, "admin");
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let client_certificate = parameters.signed_by(&client_key, &clients).map_err(other)?;

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from(clients.der().to_vec()))
            .map_err(other)?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .map_err(other)?;
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(other)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, private)
            .map_err(other)?;
        config.alpn_protocols = if http2 {
            vec![b"h2".to_vec(), b"http/1.1".to_vec()]
        } else {
            vec![b"http/1.1".to_vec()]
        };
        Ok(Self {
            ca_pem: serving.pem(),
            client_certificate_pem: client_certificate.pem(),
            client_key_pem: client_key.serialize_pem(),
            config: Arc::new(config),
        })
    }
}
