//! Peers other than an API server, each a thread on loopback: a scripted HTTP server, and proxies.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

mod frames;
mod wire;

pub use frames::{Asked, Frame, Manner, code};
pub use wire::{Then, Wire};

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// The first line.
    pub line: String,
    /// The header lines.
    pub headers: Vec<String>,
    /// The body.
    pub body: String,
}

/// A peer that runs for as long as the process.
#[derive(Clone, Debug)]
pub struct Peer {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Peer {
    fn start(
        mut serve: impl FnMut(TcpStream, &Arc<Mutex<Vec<Received>>>) + Send + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let received = Arc::<Mutex<Vec<Received>>>::default();
        let seen = received.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, &seen);
            }
        });
        Ok(Self { address, received })
    }

    /// An HTTP/1.1 server that answers each request with what `answer` gives, whole, and closes the connection.
    pub fn http(mut answer: impl FnMut(&Received) -> String + Send + 'static) -> io::Result<Self> {
        Self::start(move |stream, seen| {
            let _ = (|| {
                let mut reader = BufReader::new(&stream);
                let request = read_request(&mut reader)?;
                let text = answer(&request);
                lock(seen).push(request);
                (&stream).write_all(text.as_bytes())?;
                stream.shutdown(Shutdown::Write)
            })();
        })
    }

    /// An HTTP/1.1 server that gives this answer, one byte at a time, each after `every`.
    pub fn slow_http(every: Duration, answer: String) -> io::Result<Self> {
        Self::start(move |stream, seen| {
            let _ = (|| {
                lock(seen).push(read_request(&mut BufReader::new(&stream))?);
                for byte in answer.bytes() {
                    std::thread::sleep(every);
                    (&stream).write_all(&[byte])?;
                }
                stream.shutdown(Shutdown::Write)
            })();
        })
    }

    /// An HTTP proxy that knows `CONNECT`, and wants this value of `Proxy-Authorization`.
    pub fn connect_proxy(authorization: &'static str) -> io::Result<Self> {
        Self::start(move |stream, seen| {
            let seen = seen.clone();
            std::thread::spawn(move || -> io::Result<()> {
                let request = read_request(&mut BufReader::with_capacity(1, &stream))?;
                lock(&seen).push(request.clone());
                let wanted = format!("proxy-authorization: {authorization}");
                if !request
                    .headers
                    .iter()
                    .any(|h| h.eq_ignore_ascii_case(&wanted))
                {
                    return (&stream).write_all(
                        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
                    );
                }
                let target = request.line.split(' ').nth(1).unwrap_or_default();
                let server = TcpStream::connect(target)?;
                (&stream).write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
                splice(stream, server)
            });
        })
    }

    /// A peer that speaks TLS and passes on what is inside to another one, which keeps the books.
    pub fn behind_tls(&self, config: Arc<rustls::ServerConfig>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let (address, inner) = (listener.local_addr()?, self.address);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let acceptor = tokio_rustls::TlsAcceptor::from(config);
                let listener = tokio::net::TcpListener::from_std(listener)?;
                loop {
                    let (stream, _) = listener.accept().await?;
                    let acceptor = acceptor.clone();
                    tokio::spawn(async move {
                        let mut outer = acceptor.accept(stream).await?;
                        let mut inner = tokio::net::TcpStream::connect(inner).await?;
                        tokio::io::copy_bidirectional(&mut outer, &mut inner).await
                    });
                }
                #[expect(unreachable_code, reason = "tells the type of the error")]
                io::Result::Ok(())
            })
        });
        Ok(Self {
            address,
            received: Arc::clone(&self.received),
        })
    }

    /// A SOCKS5 proxy without authentication.
    pub fn socks_proxy() -> io::Result<Self> {
        Self::start(move |stream, seen| {
            let seen = seen.clone();
            std::thread::spawn(move || -> io::Result<()> {
                let mut io = &stream;
                let mut head = [0; 2];
                io.read_exact(&mut head)?;
                let mut methods = vec![0; usize::from(head[1])];
                io.read_exact(&mut methods)?;
                io.write_all(&[5, 0])?;
                let mut request = [0; 4];
                io.read_exact(&mut request)?;
                let length = match request[3] {
                    1 => 4,
                    3 => {
                        let mut length = [0];
                        io.read_exact(&mut length)?;
                        usize::from(length[0])
                    }
                    _ => 16,
                };
                let mut host = vec![0; length];
                io.read_exact(&mut host)?;
                let mut port = [0; 2];
                io.read_exact(&mut port)?;
                let host = match <[u8; 4]>::try_from(host.as_slice()) {
                    Ok(address) if request[3] == 1 => std::net::Ipv4Addr::from(address).to_string(),
                    _ => String::from_utf8_lossy(&host).into_owned(),
                };
                lock(&seen).push(Received {
                    line: host.clone(),
                    ..Received::default()
                });
                let server = TcpStream::connect((host.as_str(), u16::from_be_bytes(port)))?;
                io.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
                splice(stream, server)
            });
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        lock(&self.received).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Received> {
    let mut request = read_head(reader)?;
    request.body = read_body(reader, &request)?;
    Ok(request)
}

/// A request without its body.
fn read_head(reader: &mut impl BufRead) -> io::Result<Received> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let headers = lines.split_off(1.min(lines.len()));
    Ok(Received {
        line: lines.pop().unwrap_or_default(),
        headers,
        body: String::new(),
    })
}

/// The body that follows a head.
fn read_body(reader: &mut impl BufRead, request: &Received) -> io::Result<String> {
    let length = request
        .headers
        .iter()
        .filter_map(|header| header.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn splice(one: TcpStream, other: TcpStream) -> io::Result<()> {
    let (mut from, mut to) = (one.try_clone()?, other.try_clone()?);
    std::thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (other, one);
    io::copy(&mut from, &mut to)?;
    to.shutdown(Shutdown::Write)
}

/// An answer of the scripted server.
#[must_use]
pub fn answer(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Text\r\nContent-Type: application/json\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
}
