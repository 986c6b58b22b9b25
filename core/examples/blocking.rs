//! A blocking Kubernetes client in one file: the core, `std::net`, and rustls for https. Take it along: everything above
//! the demonstration at its end is a module that can be used as it is.
//!
//! ```text
//! cargo run -p kubewire-conformance --bin apiserver      # prints a URL and a token
//! cargo run -p kubewire --example blocking -- URL TOKEN [CA-FILE]
//! ```

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a transport is what the core is not"
)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use kubewire::config::Config;
use kubewire::stream::WatchEvent;
use kubewire::{
    Api, ApiResource, Call, Decode, Dynamic, End, Endpoint, Error, ErrorKind, Limits, Operation,
    Patch,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

/// Carries calls over one connection each.
pub(crate) struct Blocking {
    endpoint: Endpoint,
    namespace: String,
    token: Option<http::HeaderValue>,
    tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
}

/// A connection, with or without TLS.
trait Connection: Read + Write {}

impl<C: Read + Write> Connection for C {}

/// The items of one call: reads as much as the next item needs.
pub(crate) struct Items<'a, D: Decode> {
    client: &'a Blocking,
    exchange: kubewire::Exchange<D>,
    body: Body,
}

impl Blocking {
    /// A client of the server of this configuration, with its static token or password, or its certificate, and
    /// its authority.
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        config.check()?;
        let endpoint = config.endpoint.clone();
        let tls = endpoint.is_https().then(|| tls(config)).transpose()?;
        Ok(Self {
            endpoint,
            namespace: config.namespace.clone(),
            token: config.auth.header()?,
            tls,
        })
    }

    /// Sends the request and reads the head of the answer.
    pub(crate) fn stream<O: Operation>(
        &self,
        operation: O,
    ) -> Result<Items<'_, O::Decoder>, Error> {
        self.begin(operation.into_call_in(Some(&self.namespace))?)
    }

    /// Carries a call that has one answer.
    pub(crate) fn send<O: Operation>(
        &self,
        operation: O,
    ) -> Result<<O::Decoder as Decode>::Item, Error> {
        self.stream(operation)?
            .next()
            .unwrap_or_else(|| Err(Error::new(ErrorKind::Peer, "no answer")))
    }

    fn begin<D: Decode>(&self, call: Call<D>) -> Result<Items<'_, D>, Error> {
        let (mut request, mut exchange) = call.begin(&Limits::default());
        self.endpoint.origin_form(&mut request)?;
        let (head, body) = self.round_trip(&request).map_err(transport)?;
        exchange.handle_head(&head)?;
        Ok(Items {
            client: self,
            exchange,
            body,
        })
    }

    fn round_trip(
        &self,
        request: &http::Request<bytes::Bytes>,
    ) -> io::Result<(http::response::Parts, Body)> {
        let socket = TcpStream::connect((self.endpoint.host(), self.endpoint.port()))?;
        socket.set_read_timeout(Some(Duration::from_mins(1)))?;
        let mut socket: Box<dyn Connection> = match &self.tls {
            None => Box::new(socket),
            Some((config, name)) => {
                let session = rustls::ClientConnection::new(config.clone(), name.clone());
                let session = session.map_err(io::Error::other)?;
                Box::new(rustls::StreamOwned::new(session, socket))
            }
        };
        let mut text = format!(
            "{} {} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n",
            request.method(),
            request.uri(),
            request.body().len()
        )
        .into_bytes();
        let token = self.token.iter().map(|token| (&AUTHORIZATION, token));
        for (name, value) in request.headers().iter().chain(token) {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\n");
        text.extend_from_slice(request.body());
        socket.write_all(&text)?;
        socket.flush()?;
        read_head(BufReader::new(socket))
    }
}

/// HTTP/1.1 over TLS, by the configuration's authority.
fn tls(config: &Config) -> Result<(Arc<rustls::ClientConfig>, ServerName<'static>), Error> {
    let wrong = |what: &'static str| Error::new(ErrorKind::Config, what);
    let ca = config.tls.ca.as_ref();
    let ca = ca.ok_or_else(|| wrong("no certificate authority is configured"))?;
    let ca = ca.load(|path| std::fs::read(path))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        let certificate = certificate.map_err(|_| wrong("the authority is not valid PEM"))?;
        let added = roots.add(certificate);
        added.map_err(|error| wrong("the authority is not usable").with_source(error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("no TLS version is available").with_source(error))?
        .with_root_certificates(roots);
    let tls = match &config.tls.client {
        None => tls.with_no_client_auth(),
        Some(client) => {
            let certificate = client.certificate.load(|path| std::fs::read(path))?;
            let key = client.key.load(|path| std::fs::read(path))?;
            let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(|_| wrong("the client certificate is not valid PEM"))?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                .map_err(|_| wrong("the client key is not valid PEM"))?;
            tls.with_client_auth_cert(chain, key)
                .map_err(|error| wrong("certificate and key do not fit").with_source(error))?
        }
    };
    let name = config.tls.server_name.as_deref();
    let name = name.unwrap_or_else(|| config.endpoint.host()).to_owned();
    let name = ServerName::try_from(name).map_err(|_| wrong("the server's name is not valid"))?;
    Ok((Arc::new(tls), name))
}

impl<D: Decode> Iterator for Items<'_, D> {
    type Item = Result<D::Item, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.exchange.poll_item() {
                Ok(Some(item)) => return Some(Ok(item)),
                Err(error) => return Some(Err(error)),
                Ok(None) if self.exchange.is_done() => {
                    let next = self.exchange.follow_up()?;
                    match self.client.begin(next) {
                        Ok(page) => *self = page,
                        Err(error) => return Some(Err(error)),
                    }
                }
                // What goes wrong here comes out of the next poll.
                Ok(None) => drop(match self.body.chunk() {
                    Ok(Some(chunk)) => self.exchange.handle_data(chunk.into()),
                    Ok(None) => self.exchange.handle_end(End::Clean),
                    Err(_) => self.exchange.handle_end(End::Truncated),
                }),
            }
        }
    }
}

/// A body in one of HTTP/1.1's framings.
struct Body {
    socket: BufReader<Box<dyn Connection>>,
    framing: Framing,
}

enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
    Done,
}

fn read_head(
    mut socket: BufReader<Box<dyn Connection>>,
) -> io::Result<(http::response::Parts, Body)> {
    let status = line(&mut socket)?;
    let code = status.split(' ').nth(1).ok_or_else(garbage)?;
    let mut response = http::Response::builder().status(code);
    let mut framing = Framing::UntilClose;
    loop {
        let header = line(&mut socket)?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').ok_or_else(garbage)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            framing = Framing::Length(value.parse().map_err(|_| garbage())?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            framing = Framing::Chunked;
        }
        response = response.header(name, value);
    }
    if code == "204" {
        framing = Framing::Done;
    }
    let (head, ()) = response.body(()).map_err(|_| garbage())?.into_parts();
    Ok((head, Body { socket, framing }))
}

impl Body {
    /// The next part; `None` at the proper end.
    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let most = match self.framing {
            Framing::Done => return Ok(None),
            Framing::UntilClose => u64::MAX,
            Framing::Length(rest) => rest,
            Framing::Chunked => {
                let size = line(&mut self.socket)?;
                u64::from_str_radix(size.split(';').next().unwrap_or("").trim(), 16)
                    .map_err(|_| garbage())?
            }
        };
        if let Framing::Chunked = self.framing {
            let mut chunk = vec![0; usize::try_from(most.min(1 << 30)).map_err(|_| garbage())?];
            self.socket.read_exact(&mut chunk)?;
            line(&mut self.socket)?;
            if chunk.is_empty() {
                self.framing = Framing::Done;
            }
            return Ok(Some(chunk).filter(|chunk| !chunk.is_empty()));
        }
        let mut chunk = vec![0; 16 << 10];
        let len = chunk.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        let n = self.socket.read(&mut chunk[..len])?;
        chunk.truncate(n);
        match &mut self.framing {
            Framing::Length(rest) if n > 0 => *rest -= n as u64,
            Framing::Length(rest) if *rest > 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Framing::Length(_) | Framing::Chunked | Framing::UntilClose | Framing::Done => {}
        }
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }
}

fn line(socket: &mut BufReader<Box<dyn Connection>>) -> io::Result<String> {
    let mut line = String::new();
    socket.by_ref().take(64 << 10).read_line(&mut line)?;
    line.strip_suffix("\r\n")
        .map(str::to_owned)
        .ok_or_else(garbage)
}

fn garbage() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "this is not HTTP/1.1")
}

fn transport(error: io::Error) -> Error {
    Error::new(ErrorKind::Transport, "the connection failed").with_source(error)
}

const MAPS: ApiResource = ApiResource::core("ConfigMap", "configmaps");

/// Applies, gets, lists and watches a `ConfigMap`.
pub(crate) fn demo(config: &Config) -> Result<(), Error> {
    let client = Blocking::new(config)?;
    let maps = Api::dynamic(MAPS).in_namespace("default");
    let mut map = Dynamic::new(&MAPS, "blocking");
    map.set("data", &serde_json::json!({"colour": "green"}))?;
    client.send(
        maps.patch("blocking", Patch::apply(&map))
            .field_manager("blocking-example"),
    )?;

    let map = client.send(maps.get("blocking"))?;
    println!(
        "got {:?} with {}",
        map.metadata.name,
        map.raw("data").unwrap_or("nothing")
    );

    let page = client.send(maps.list().limit(100))?;
    println!(
        "listed {} config maps at version {:?}",
        page.items.len(),
        page.metadata.resource_version
    );
    for map in client.stream(maps.list().limit(1).items())? {
        println!("- {:?}", map?.metadata.name);
    }

    let watch = maps
        .watch()
        .resource_version(page.metadata.resource_version.unwrap_or_default());
    let mut events = client.stream(watch.timeout_seconds(10))?;
    client.send(maps.patch(
        "blocking",
        Patch::merge(&serde_json::json!({"data": {"colour": "blue"}})),
    ))?;
    match events.next().transpose()? {
        Some(WatchEvent::Modified(map)) => println!("saw {}", map.raw("data").unwrap_or("nothing")),
        other => println!("saw {other:?}"),
    }
    client.send(maps.delete("blocking"))?;
    Ok(())
}

#[allow(dead_code, reason = "a test includes this file")]
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (url, token, ca) = match arguments.as_slice() {
        [url, token] => (url, token, None),
        [url, token, ca] => (url, token, Some(ca)),
        _ => {
            eprintln!("usage: blocking URL TOKEN [CA-FILE]");
            std::process::exit(2);
        }
    };
    let result = Endpoint::parse(url).and_then(|endpoint| {
        let mut config = Config::new(endpoint).token(token.as_str());
        if let Some(ca) = ca {
            config = config.ca_file(ca);
        }
        demo(&config)
    });
    if let Err(error) = result {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
