//! An API server that sends what it has made beforehand, so that the client is what takes time.
//!
//! The namespace says how much: in `n10000-500` a list has 10,000 pods and a watch 500 events; logs and sessions
//! carry 10,000 MiB.

mod answers;
mod frames;
mod sessions;

use std::convert::Infallible;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::PrivateKeyDer;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::job::Target;
use answers::Answers;

/// How the server can be reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Addresses {
    /// Over TCP.
    pub plain: Target,
    /// Over TLS with HTTP/1.1 only.
    pub tls: Target,
    /// Over TLS with the HTTP version that the client prefers.
    pub http2: Target,
}

type Boxed = Box<dyn std::error::Error + Send + Sync>;

/// Starts the server within the runtime that polls this.
///
/// # Errors
///
/// If there is no port or certificate.
pub async fn start() -> Result<Addresses, Boxed> {
    let answers = Arc::new(Answers::default());
    let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
    let acceptor = |protocols: &[&[u8]]| -> Result<TlsAcceptor, Boxed> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der())?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)?;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    };
    let ca = Some(certified.cert.pem());
    let plain = listen(&answers, None).await?;
    let tls = listen(&answers, Some(acceptor(&[b"http/1.1"])?)).await?;
    let http2 = listen(&answers, Some(acceptor(&[b"h2", b"http/1.1"])?)).await?;
    Ok(Addresses {
        plain: Target {
            url: format!("http://127.0.0.1:{plain}"),
            ca: None,
        },
        tls: Target {
            url: format!("https://127.0.0.1:{tls}"),
            ca: ca.clone(),
        },
        http2: Target {
            url: format!("https://127.0.0.1:{http2}"),
            ca,
        },
    })
}

async fn listen(answers: &Arc<Answers>, tls: Option<TlsAcceptor>) -> Result<u16, Boxed> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let answers = answers.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // What clients break off is their business.
            tokio::spawn(serve(stream, tls.clone(), answers.clone()));
        }
    });
    Ok(port)
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, answers: Arc<Answers>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        std::future::ready(Ok::<_, Infallible>(answers::answer(&answers, request)))
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // As Kubernetes has it.
    builder.http2().max_concurrent_streams(100);
    match tls {
        None => {
            let _ = builder
                .serve_connection_with_upgrades(TokioIo::new(stream), service)
                .await;
        }
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                let _ = builder
                    .serve_connection_with_upgrades(TokioIo::new(stream), service)
                    .await;
            }
        }
    }
}
