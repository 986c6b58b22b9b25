//! Whom to believe that it is the server.

use std::sync::Arc;

use kubewire::Error;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use crate::tls_config::{certificates, fault};

/// Decides whether a server is the one that it says.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) verifier: Arc<dyn ServerCertVerifier>,
}

impl Trust {
    /// By these authorities (PEM), or without any by the system's.
    pub(crate) fn by(ca: Option<&[u8]>) -> Result<Self, Error> {
        let pool = match ca {
            Some(ca) => certificates(ca, "the certificate authority")?,
            None => system()?,
        };
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(pool.iter().cloned());
        if usable == 0 {
            return Err(fault(
                "no certificate of the certificate authority is usable",
            ));
        }
        let provider = provider();
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|source| fault("the authorities are not usable").with_source(source))?;
        Ok(Self::new(provider, Judge::Pool { inner, pool }))
    }

    /// Anybody.
    pub(crate) fn dangerously() -> Self {
        Self::new(provider(), Judge::Anybody)
    }

    fn new(provider: Arc<CryptoProvider>, judge: Judge) -> Self {
        let verifier = Verifier {
            provider: provider.clone(),
            judge,
        };
        Self {
            provider,
            verifier: Arc::new(verifier),
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The authorities of the system, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
#[cfg(feature = "native-roots")]
fn system() -> Result<Vec<CertificateDer<'static>>, Error> {
    let found = rustls_native_certs::load_native_certs();
    if !found.certs.is_empty() {
        return Ok(found.certs);
    }
    let error = fault("no certificate authority is configured, and the system has none");
    Err(match found.errors.into_iter().next() {
        Some(source) => error.with_source(source),
        None => error,
    })
}

#[cfg(not(feature = "native-roots"))]
fn system() -> Result<Vec<CertificateDer<'static>>, Error> {
    Err(fault(
        "no certificate authority is configured, and kubewire-driver was built without its feature `native-roots`",
    ))
}

/// A connection is always one with who holds the certificate's key; whose certificate it may be is a matter of judgement.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    judge: Judge,
}

#[derive(Debug)]
enum Judge {
    /// By authorities. As in Go, a certificate of the pool is also trusted as a server's own, whoever has signed it:
    /// people put the certificate of their server there.
    Pool {
        inner: Arc<WebPkiServerVerifier>,
        pool: Vec<CertificateDer<'static>>,
    },
    /// For `insecure-skip-tls-verify`: whoever answers.
    Anybody,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Judge::Pool { inner, pool } = &self.judge else {
            return Ok(ServerCertVerified::assertion());
        };
        match inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(error))
                if is_about_the_issuer(&error) && pool.contains(end_entity) =>
            {
                let certificate = ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&certificate, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// webpki looks at a certificate's own validity before it looks for who has signed it.
fn is_about_the_issuer(error: &CertificateError) -> bool {
    // The second is what it says of the certificates that `openssl req -x509` makes.
    let other = if let CertificateError::Other(OtherError(error)) = error {
        error.downcast_ref()
    } else {
        None
    };
    *error == CertificateError::UnknownIssuer
        || matches!(other, Some(webpki::Error::CaUsedAsEndEntity))
}
