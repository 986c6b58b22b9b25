//! HTTP/1.1 and WebSocket frames over a socket, by hand: what the server sends is seen as it is.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::replay::transcript::Ending;
use crate::server::Server;

/// A response head or a frame that takes longer has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// As much as any answer of these exchanges has, and some more.
const BODY_LIMIT: usize = 64 << 20;

pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// How to say who one is on the level of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// TLS with the administrator's certificate.
    Certificate,
    /// TLS without a certificate.
    Anonymous,
    /// No TLS at all.
    Plain,
}

/// Makes connections to one server.
pub(super) struct Dialer {
    address: SocketAddr,
    certificate: TlsConnector,
    anonymous: TlsConnector,
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

impl Dialer {
    pub(super) fn new(server: &Server) -> io::Result<Self> {
        let missing = || io::Error::other("the server has no TLS");
        let authority = server.ca_pem().ok_or_else(missing)?;
        let (certificate, key) = server.client_certificate().ok_or_else(missing)?;
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(authority.as_bytes()).map_err(other)?)
            .map_err(other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(other)?
            .with_root_certificates(roots);
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(other)?];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(other)?;
        let known = builder
            .clone()
            .with_client_auth_cert(chain, key)
            .map_err(other)?;
        Ok(Self {
            address: server.addr(),
            certificate: TlsConnector::from(Arc::new(known)),
            anonymous: TlsConnector::from(Arc::new(builder.with_no_client_auth())),
        })
    }

    pub(super) async fn dial(&self, way: Way) -> io::Result<Box<dyn Io>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let connector = match way {
            Way::Plain => return Ok(Box::new(stream)),
            Way::Certificate => &self.certificate,
            Way::Anonymous => &self.anonymous,
        };
        let name = ServerName::from(self.address.ip());
        Ok(Box::new(connector.connect(name, stream).await?))
    }
}

/// The head of an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Values decoded as ISO 8859-1, as in the files.
    pub(super) headers: Vec<(String, String)>,
}

impl Head {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

/// The reading half of a connection.
pub(super) struct Reader<R> {
    io: R,
    buffer: Vec<u8>,
    framing: Framing,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(io: R) -> Self {
        Self {
            io,
            buffer: Vec::new(),
            framing: Framing::None,
        }
    }

    /// More bytes; false at the end.
    async fn fill(&mut self) -> io::Result<bool> {
        if self.buffer.len() > BODY_LIMIT {
            return Err(io::Error::other(
                "the answer is larger than any recorded one",
            ));
        }
        Ok(self.io.read_buf(&mut self.buffer).await? > 0)
    }

    async fn need(&mut self, len: usize) -> io::Result<()> {
        while self.buffer.len() < len {
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    async fn take(&mut self, len: usize) -> io::Result<Vec<u8>> {
        self.need(len).await?;
        Ok(self.buffer.drain(..len).collect())
    }

    async fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut from = 0;
        loop {
            let found = self.buffer[from..].windows(2).position(|w| w == b"\r\n");
            if let Some(at) = found {
                let mut line = self.take(from + at + 2).await?;
                line.truncate(line.len() - 2);
                return Ok(line);
            }
            from = self.buffer.len().saturating_sub(1);
            self.need(self.buffer.len() + 1).await?;
        }
    }

    /// The head of the answer to `method`; interim answers are passed over.
    pub(super) async fn head(&mut self, method: &str) -> io::Result<Head> {
        loop {
            let line = latin1(&self.line().await?);
            let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
            let mut head = Head {
                status: status.ok_or_else(|| io::Error::other("no status line"))?,
                headers: Vec::new(),
            };
            loop {
                let line = latin1(&self.line().await?);
                let Some((name, value)) = line.split_once(':') else {
                    break;
                };
                head.headers
                    .push((name.to_owned(), value.trim().to_owned()));
            }
            if head.status == 101 || head.status >= 200 {
                self.framing = framing(method, &head)?;
                return Ok(head);
            }
        }
    }

    /// The next part of the body, or how it ended.
    pub(super) async fn part(&mut self) -> Result<Vec<u8>, Ending> {
        self.try_part().await.unwrap_or(Err(Ending::Truncated))
    }

    async fn try_part(&mut self) -> io::Result<Result<Vec<u8>, Ending>> {
        match self.framing {
            Framing::None | Framing::Length(0) => Ok(Err(Ending::Clean)),
            Framing::Length(left) => {
                self.need(1).await?;
                let part = self.take(left.min(self.buffer.len())).await?;
                self.framing = Framing::Length(left - part.len());
                Ok(Ok(part))
            }
            Framing::Chunked => {
                let line = latin1(&self.line().await?);
                let size = line.split(';').next().unwrap_or_default();
                let size = usize::from_str_radix(size, 16).map_err(other)?;
                let part = self.take(size).await?;
                self.take(2).await?;
                Ok(if size == 0 {
                    Err(Ending::Clean)
                } else {
                    Ok(part)
                })
            }
            Framing::UntilClose => {
                if self.buffer.is_empty() && !self.fill().await? {
                    return Ok(Err(Ending::Clean));
                }
                let len = self.buffer.len();
                Ok(Ok(self.take(len).await?))
            }
        }
    }

    /// The next frame of a WebSocket; an error at the end of the connection.
    pub(super) async fn frame(&mut self) -> io::Result<ServerFrame> {
        let start = self.take(2).await?;
        let (first, second) = (start[0], start[1]);
        let len = match second & 0x7f {
            126 => {
                let bytes = self.take(2).await?;
                usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
            }
            127 => {
                let bytes = self.take(8).await?;
                bytes
                    .iter()
                    .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte))
            }
            short => usize::from(short),
        };
        Ok(ServerFrame {
            opcode: first & 15,
            payload: self.take(len).await?,
        })
    }
}

/// A frame that came from the server, which does not mask.
pub(super) struct ServerFrame {
    pub(super) opcode: u8,
    pub(super) payload: Vec<u8>,
}

fn framing(method: &str, head: &Head) -> io::Result<Framing> {
    if method == "HEAD" || matches!(head.status, 101 | 204 | 304) {
        return Ok(Framing::None);
    }
    if head
        .header("transfer-encoding")
        .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    {
        return Ok(Framing::Chunked);
    }
    head.header("content-length")
        .map_or(Ok(Framing::UntilClose), |length| {
            length.parse().map(Framing::Length).map_err(other)
        })
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}
