//! Making connections: dial, proxy, TLS, and what ALPN says.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use hyper::rt::{Read, ReadBuf, Write};
use kubewire::config::Material;
use kubewire::policy::{Fault, Outcome, Phase, Timeouts as Times};
use kubewire::proxy::{Proxy, ProxyHandshake, ProxyScheme, ProxySettings};
use kubewire::{Endpoint, Error, ErrorKind};

use crate::connection::Transport;
use crate::observe::{Event, Open, Telemetry};
use crate::time::within;
#[cfg(feature = "rustls")]
use crate::trust::Trust;
use crate::{Host, Timeouts};

/// How much is read of a file with certificates or credentials.
pub(crate) const MAX_FILE: usize = 1 << 20;

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

/// Why an attempt failed, and what that means for another one.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// None if no other attempt can help.
    pub(crate) outcome: Option<Outcome>,
    /// Whether the server may have seen any of the request.
    pub(crate) sent: bool,
}

impl Failure {
    pub(crate) fn new(error: Error, outcome: Outcome) -> Self {
        Self {
            error,
            outcome: Some(outcome),
            sent: false,
        }
    }

    fn connect(error: Error) -> Self {
        Self::new(error, Outcome::Failed(Fault::Connect))
    }

    fn refused(error: Error) -> Self {
        Self::new(error, Outcome::Failed(Fault::Refused))
    }

    pub(crate) fn late(phase: Phase) -> Self {
        Self::new(phase.error(), Outcome::TimedOut(phase))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            outcome: None,
            sent: false,
        }
    }
}

/// Dials one API server.
pub(crate) struct Connector<R> {
    pub(crate) runtime: R,
    pub(crate) endpoint: Endpoint,
    #[cfg(feature = "rustls")]
    pub(crate) tls: crate::tls_config::TlsSource,
    pub(crate) proxies: ProxySettings,
    pub(crate) timeouts: Timeouts,
    pub(crate) telemetry: Telemetry,
}

impl<R: Host> Connector<R> {
    /// A connection, and the generation of the client certificate that it has shown.
    pub(crate) async fn connect(
        &self,
        purpose: Purpose,
        times: &Times,
    ) -> Result<(Transport<R::Io>, Protocol, u64, Open), Failure> {
        let start = self.runtime.now();
        let result = self.reach(purpose, times).await;
        let duration = self.runtime.now().saturating_duration_since(start);
        match result {
            Ok((io, protocol, generation)) => {
                let (http2, upgrade) = (protocol != Protocol::Http1, purpose == Purpose::Upgrade);
                let open = self.telemetry.connected(http2, upgrade, duration);
                Ok((io, protocol, generation, open))
            }
            Err(failure) => {
                let error = failure.error.kind();
                self.telemetry
                    .emit(&Event::ConnectFailed { error, duration });
                Err(failure)
            }
        }
    }

    async fn reach(
        &self,
        purpose: Purpose,
        times: &Times,
    ) -> Result<(Transport<R::Io>, Protocol, u64), Failure> {
        let proxy = self.proxies.proxy_for(&self.endpoint)?;
        let io = self.dial(&self.endpoint, proxy.as_ref(), times).await?;
        if !self.endpoint.is_https() {
            return Ok((io, Protocol::Http1, self.generation()));
        }
        #[cfg(feature = "rustls")]
        {
            let (generation, tls) = self.tls.current();
            let Some(tls) = tls else {
                return Err(Failure::from(Error::new(
                    ErrorKind::Config,
                    "the server is https but TLS is not configured",
                )));
            };
            let (io, protocol) = self
                .secure(io, &self.endpoint, &tls, purpose, times)
                .await?;
            Ok((io, protocol, generation))
        }
        #[cfg(not(feature = "rustls"))]
        {
            let _ = purpose;
            Err(no_tls().into())
        }
    }

    /// Reads the files of authorities and certificates again.
    #[cfg(feature = "rustls")]
    pub(crate) async fn look_at_files(&self) {
        let mut files = Vec::new();
        for path in self.tls.files() {
            // Without it, those from before remain.
            if let Ok(content) = self.runtime.read_file(path.clone(), MAX_FILE).await {
                files.push((path.as_path(), content));
            }
        }
        self.tls.renew(&files);
    }

    /// Which client certificate new connections show.
    #[cfg_attr(
        not(feature = "rustls"),
        expect(clippy::unused_self, reason = "there are no certificates")
    )]
    pub(crate) fn generation(&self) -> u64 {
        #[cfg(feature = "rustls")]
        return self.tls.generation();
        #[cfg(not(feature = "rustls"))]
        return 0;
    }

    /// A connection to an identity provider: what the cluster's configuration says does not count, the
    /// environment's proxies do.
    pub(crate) async fn reach_provider(
        &self,
        endpoint: &Endpoint,
        ca: Option<&Material>,
    ) -> Result<Transport<R::Io>, Error> {
        let times = Times::default();
        let proxies = ProxySettings::from_env(|name| std::env::var_os(name));
        let proxy = proxies.proxy_for(endpoint)?;
        let failed = |failure: Failure| failure.error;
        let io = self.dial(endpoint, proxy.as_ref(), &times).await;
        let io = io.map_err(failed)?;
        if !endpoint.is_https() {
            return Ok(io);
        }
        #[cfg(feature = "rustls")]
        {
            let ca = ca.map(|ca| ca.load(|path| std::fs::read(path)));
            let ca = ca.transpose()?;
            let trust = Trust::by(ca.as_ref().map(kubewire::config::Pem::as_bytes))?;
            let tls = crate::tls_config::TlsConfig::new(trust, None, endpoint.host(), false)?;
            let secured = self.secure(io, endpoint, &tls, Purpose::Upgrade, &times);
            secured.await.map(|(io, _)| io).map_err(failed)
        }
        #[cfg(not(feature = "rustls"))]
        {
            let _ = ca;
            Err(no_tls())
        }
    }

    /// To the server itself, through a proxy if there is one in between.
    async fn dial(
        &self,
        endpoint: &Endpoint,
        proxy: Option<&Proxy>,
        times: &Times,
    ) -> Result<Transport<R::Io>, Failure> {
        let work = async {
            match proxy {
                None => {
                    let io = self.runtime.dial(endpoint.host(), endpoint.port()).await;
                    let io = io.map_err(|error| {
                        // The runtime cannot do it at all, and perhaps not even sleep.
                        let never = error.kind() == io::ErrorKind::Unsupported;
                        let error = transport(format!("cannot connect to {endpoint}"), error);
                        if never {
                            Failure::from(error)
                        } else {
                            Failure::connect(error)
                        }
                    });
                    Ok(Transport::plain(io?))
                }
                Some(proxy) => Box::pin(self.tunnel(endpoint, proxy)).await,
            }
        };
        within(&self.runtime, times.dial, work)
            .await
            .unwrap_or_else(|| Err(Failure::late(Phase::Dial)))
    }

    async fn tunnel(
        &self,
        endpoint: &Endpoint,
        proxy: &Proxy,
    ) -> Result<Transport<R::Io>, Failure> {
        let mut handshake = ProxyHandshake::new(proxy, endpoint.host(), endpoint.port())?;
        let unreachable = |error: io::Error| {
            Failure::connect(transport(
                format!("cannot connect to the proxy {proxy}"),
                error,
            ))
        };
        let io = self.runtime.dial(proxy.host(), proxy.port()).await;
        let mut io = Transport::plain(io.map_err(unreachable)?);
        if proxy.scheme() == ProxyScheme::Https {
            io = self.secure_proxy(io, proxy).await?;
        }
        let broken = |error: io::Error| {
            Failure::connect(transport(
                format!("the connection to the proxy {proxy} broke"),
                error,
            ))
        };
        let mut chunk = [0; 4096];
        while !handshake.is_done() {
            let mut buffer = ReadBuf::new(&mut chunk);
            poll_fn(|cx| {
                // Reading goes on while writing is stuck: the proxy may be stuck in what it says itself.
                while let Some(bytes) = handshake.poll_transmit() {
                    match Pin::new(&mut io).poll_write(cx, bytes)? {
                        Poll::Ready(0) => {
                            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                        }
                        Poll::Ready(written) => handshake.transmitted(written),
                        Poll::Pending => break,
                    }
                }
                let flushed = Pin::new(&mut io).poll_flush(cx)?;
                if handshake.is_done() {
                    return flushed.map(Ok);
                }
                Pin::new(&mut io).poll_read(cx, buffer.unfilled())
            })
            .await
            .map_err(broken)?;
            if handshake.is_done() {
                break;
            }
            if buffer.filled().is_empty() {
                handshake.handle_end().map_err(Failure::connect)?;
            } else {
                let input = handshake.handle_input(buffer.filled());
                input.map_err(Failure::refused)?;
            }
        }
        let leftover = handshake.take_leftover();
        if !leftover.is_empty() {
            io = Transport::early(io, leftover);
        }
        Ok(io)
    }

    #[cfg(feature = "rustls")]
    async fn secure_proxy(
        &self,
        io: Transport<R::Io>,
        proxy: &Proxy,
    ) -> Result<Transport<R::Io>, Failure> {
        let tls = self.tls.for_proxy(proxy.host())?;
        let name = format!("TLS with the proxy {proxy} failed");
        self.shake_hands(io, &tls, Purpose::Upgrade, name)
            .await
            .map(|(io, _)| io)
    }

    #[cfg(not(feature = "rustls"))]
    async fn secure_proxy(
        &self,
        io: Transport<R::Io>,
        _: &Proxy,
    ) -> Result<Transport<R::Io>, Failure> {
        drop(io);
        std::future::ready(Err(no_tls().into())).await
    }

    #[cfg(feature = "rustls")]
    async fn secure(
        &self,
        io: Transport<R::Io>,
        endpoint: &Endpoint,
        tls: &crate::tls_config::TlsConfig,
        purpose: Purpose,
        times: &Times,
    ) -> Result<(Transport<R::Io>, Protocol), Failure> {
        let failed = format!("TLS with {endpoint} failed");
        let work = self.shake_hands(io, tls, purpose, failed);
        within(&self.runtime, times.tls, work)
            .await
            .unwrap_or_else(|| Err(Failure::late(Phase::Tls)))
    }

    #[cfg(feature = "rustls")]
    async fn shake_hands(
        &self,
        io: Transport<R::Io>,
        tls: &crate::tls_config::TlsConfig,
        purpose: Purpose,
        failed: String,
    ) -> Result<(Transport<R::Io>, Protocol), Failure> {
        let session = match tls.begin(purpose) {
            Ok(session) => session,
            Err(error) => {
                let error = Error::new(ErrorKind::Transport, failed).with_source(error);
                return Err(Failure::refused(error));
            }
        };
        let mut stream = crate::tls::TlsStream::new(io, session);
        if let Err(error) = poll_fn(|cx| stream.poll_handshake(cx)).await {
            // What rustls does not like comes as invalid data; everything else is the transport.
            let refused = error.kind() == io::ErrorKind::InvalidData;
            let error = transport(failed, error);
            return Err(if refused {
                Failure::refused(error)
            } else {
                Failure::connect(error)
            });
        }
        let protocol = match stream.alpn_protocol() {
            #[cfg(feature = "http2")]
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        Ok((Transport::tls(stream), protocol))
    }
}

fn transport(text: String, source: io::Error) -> Error {
    Error::new(ErrorKind::Transport, text).with_source(source)
}

#[cfg(not(feature = "rustls"))]
fn no_tls() -> Error {
    Error::new(
        ErrorKind::Config,
        "the server or proxy is https, and kubewire-driver was built without its feature `rustls`",
    )
}
