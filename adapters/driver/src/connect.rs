//! Making connections: dial, TLS, and what ALPN says.

use std::future::poll_fn;

use kubewire::{Endpoint, Error, ErrorKind};

use crate::connection::Transport;
use crate::time::within;
use crate::{Runtime, Timeouts};

/// The protocol of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    #[cfg(feature = "http2")]
    #[cfg_attr(not(feature = "rustls"), expect(dead_code, reason = "ALPN chooses it"))]
    Http2,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Plain calls: HTTP/2 if the server has it.
    Calls,
    /// An upgrade, which only HTTP/1.1 has.
    Upgrade,
}

/// Dials one API server.
pub(crate) struct Connector<R> {
    pub(crate) runtime: R,
    pub(crate) endpoint: Endpoint,
    #[cfg(feature = "rustls")]
    pub(crate) tls: Option<crate::tls_config::TlsConfig>,
    pub(crate) timeouts: Timeouts,
}

impl<R: Runtime> Connector<R> {
    pub(crate) async fn connect(
        &self,
        purpose: Purpose,
    ) -> Result<(Transport<R::Io>, Protocol), Error> {
        let host = self.endpoint.host();
        let dial = self.runtime.dial(host, self.endpoint.port());
        let io = within(&self.runtime, self.timeouts.connect, "connecting", dial)
            .await?
            .map_err(|error| {
                Error::new(
                    ErrorKind::Transport,
                    format!("cannot connect to {}", self.endpoint),
                )
                .with_source(error)
            })?;
        if !self.endpoint.is_https() {
            let _ = purpose;
            return Ok((Transport::Plain(io), Protocol::Http1));
        }
        self.secure(io, purpose).await
    }

    #[cfg(feature = "rustls")]
    async fn secure(
        &self,
        io: R::Io,
        purpose: Purpose,
    ) -> Result<(Transport<R::Io>, Protocol), Error> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
            Error::new(
                ErrorKind::Transport,
                format!("TLS with {} failed", self.endpoint),
            )
            .with_source(source)
        };
        let Some(tls) = &self.tls else {
            return Err(Error::new(
                ErrorKind::Config,
                "the server is https but TLS is not configured",
            ));
        };
        let session = tls.begin(purpose).map_err(|error| failed(error.into()))?;
        let mut stream = crate::tls::TlsStream::new(io, session);
        let handshake = poll_fn(|cx| stream.poll_handshake(cx));
        within(
            &self.runtime,
            self.timeouts.tls,
            "the TLS handshake",
            handshake,
        )
        .await?
        .map_err(|error| failed(error.into()))?;
        let protocol = match stream.alpn_protocol() {
            #[cfg(feature = "http2")]
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        Ok((Transport::Tls(Box::new(stream)), protocol))
    }

    #[cfg(not(feature = "rustls"))]
    async fn secure(&self, _: R::Io, _: Purpose) -> Result<(Transport<R::Io>, Protocol), Error> {
        poll_fn(|_| {
            std::task::Poll::Ready(Err(Error::new(
                ErrorKind::Config,
                "the server is https, and kubewire-driver was built without its feature `rustls`",
            )))
        })
        .await
    }
}
