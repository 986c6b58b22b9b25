//! Accepting connections and serving HTTP on them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_rustls::TlsAcceptor;

use super::App;
use super::faults::Break;
use super::route;

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// A real server closes connections that idle for this long; it is also the limit for reading a head.
const HEADER_LIMIT: Duration = Duration::from_secs(90);

/// What all connections count.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections_opened: AtomicU64,
    pub(crate) connections_open: Gauge,
    pub(crate) http1_requests: AtomicU64,
    pub(crate) http2_requests: AtomicU64,
    pub(crate) websockets_opened: AtomicU64,
    pub(crate) websockets_open: Gauge,
    pub(crate) watches_open: Gauge,
}

/// A number of things that are open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauge(Arc<AtomicU64>);

impl Gauge {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn open(&self) -> Open {
        self.0.fetch_add(1, Ordering::SeqCst);
        Open(Arc::clone(&self.0))
    }
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Open(Arc<AtomicU64>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Counters {
    pub(crate) fn watch_opened(&self) -> Open {
        self.watches_open.open()
    }

    pub(crate) fn websocket_opened(&self) -> Open {
        self.websockets_opened.fetch_add(1, Ordering::SeqCst);
        self.websockets_open.open()
    }
}

/// What connections are told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// To take no more requests and to end when the present ones are answered.
    GoAway,
    /// To end at once, with a TCP reset.
    Reset,
}

/// All open connections, to tell them something, and their sockets, to cut them.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    sockets: Arc<Mutex<BTreeMap<u64, std::net::TcpStream>>>,
    /// The client certificates that were shown.
    certificates: Arc<Mutex<BTreeSet<Vec<u8>>>>,
    /// Where the next one breaks.
    breaks: Arc<Mutex<Option<Break>>>,
    orders: broadcast::Sender<Order>,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            sockets: Arc::default(),
            certificates: Arc::default(),
            breaks: Arc::default(),
            orders: broadcast::Sender::new(16),
        }
    }
}

impl Connections {
    fn add(&self, id: u64, socket: std::net::TcpStream) {
        self.sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, socket);
    }

    fn remove(&self, id: u64) {
        self.sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }

    pub(crate) fn break_next(&self, at: Break) {
        *self.breaks() = Some(at);
    }

    pub(crate) fn break_none(&self) {
        *self.breaks() = None;
    }

    fn breaks(&self) -> MutexGuard<'_, Option<Break>> {
        self.breaks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn cut(&self) {
        for socket in self
            .sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
        {
            // It may have ended by itself.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Takes down what a client has shown; whether it is anything.
    fn show(&self, certificates: Option<&[CertificateDer<'_>]>) -> bool {
        let Some([certificate, ..]) = certificates else {
            return false;
        };
        let mut seen = self
            .certificates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        seen.insert(certificate.to_vec());
        true
    }

    pub(crate) fn certificates_seen(&self) -> usize {
        let seen = self.certificates.lock();
        seen.unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn go_away(&self) {
        self.order(Order::GoAway);
    }

    pub(crate) fn reset(&self) {
        self.order(Order::Reset);
    }

    fn order(&self, order: Order) {
        // Without connections nobody listens.
        let _ = self.orders.send(order);
    }
}

/// A socket that is counted as long as anybody holds it, upgrades included.
struct Counted {
    stream: TcpStream,
    id: u64,
    connections: Connections,
    reset: Arc<AtomicBool>,
    /// Where it breaks, as what is left.
    breaks: Option<Break>,
    _open: Open,
}

impl Counted {
    /// How much of so many bytes may still be received, or sent. Where there is nothing left, it is reset.
    fn allow(&self, len: usize, sends: bool) -> io::Result<usize> {
        match self.breaks {
            Some(Break::Received(0) | Break::Sent(0)) => {
                self.reset.store(true, Ordering::Relaxed);
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Some(Break::Received(left)) if !sends => Ok(len.min(left)),
            Some(Break::Sent(left)) if sends => Ok(len.min(left)),
            Some(_) | None => Ok(len),
        }
    }

    fn moved(&mut self, len: usize, sends: bool) {
        match &mut self.breaks {
            Some(Break::Received(left)) if !sends => *left -= len,
            Some(Break::Sent(left)) if sends => *left -= len,
            Some(_) | None => {}
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            // Closed without having sent what is left, which TCP tells the peer by a reset.
            let _ = self.stream.set_zero_linger();
        }
        self.connections.remove(self.id);
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.breaks.is_none() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let most = self.allow(buffer.remaining(), false)?;
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut part))?;
        let len = part.filled().len();
        buffer.advance(len);
        self.moved(len, false);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let most = self.allow(bytes.len(), true)?;
        let sent = ready!(Pin::new(&mut self.stream).poll_write(context, &bytes[..most]))?;
        self.moved(sent, true);
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.breaks.is_some() {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(context, first.map_or(&[], |slice| slice));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Accepts connections for as long as the future is polled.
pub(crate) async fn serve(app: Arc<App>, listener: TcpListener) {
    let acceptor = app
        .tls
        .as_ref()
        .map(|tls| TlsAcceptor::from(Arc::clone(&tls.config)));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: others have to close theirs.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        if app.down.load(Ordering::Relaxed) {
            continue;
        }
        let orders = app.connections.orders.subscribe();
        let reset = Arc::<AtomicBool>::default();
        let Ok(stream) = count(&app, stream, &reset) else {
            continue;
        };
        let app = Arc::clone(&app);
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            match acceptor {
                None => connection(app, stream, false, (orders, reset)).await,
                Some(acceptor) => {
                    let Some(stream) = refuse_plain(stream).await else {
                        return;
                    };
                    let handshake = tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream));
                    if let Ok(Ok(stream)) = handshake.await {
                        let shown = stream.get_ref().1.peer_certificates();
                        let certificate = app.connections.show(shown);
                        connection(app, stream, certificate, (orders, reset)).await;
                    }
                }
            }
        });
    }
}

/// Tells those who speak HTTP where TLS is spoken.
async fn refuse_plain(mut stream: Counted) -> Option<Counted> {
    const HANDSHAKE: u8 = 0x16;
    let mut first = [0];
    let peek = tokio::time::timeout(HANDSHAKE_LIMIT, stream.stream.peek(&mut first));
    if peek.await.ok()?.ok()? == 0 {
        return None;
    }
    if first[0] == HANDSHAKE || !first[0].is_ascii_uppercase() {
        return Some(stream);
    }
    let answer =
        b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    // Whoever is gone needs no answer.
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
    let mut rest = [0; 4096];
    let read = async { while stream.read(&mut rest).await.is_ok_and(|n| n > 0) {} };
    let _ = tokio::time::timeout(HANDSHAKE_LIMIT, read).await;
    None
}

fn count(app: &Arc<App>, stream: TcpStream, reset: &Arc<AtomicBool>) -> io::Result<Counted> {
    stream.set_nodelay(true)?;
    let socket = stream.into_std()?;
    let id = app.stats.connections_opened.fetch_add(1, Ordering::SeqCst);
    app.connections.add(id, socket.try_clone()?);
    let stream = TcpStream::from_std(socket)?;
    Ok(Counted {
        stream,
        id,
        connections: app.connections.clone(),
        reset: Arc::clone(reset),
        breaks: app.connections.breaks().take(),
        _open: app.stats.connections_open.open(),
    })
}

async fn connection<S>(
    app: Arc<App>,
    stream: S,
    certificate: bool,
    (mut orders, reset): (broadcast::Receiver<Order>, Arc<AtomicBool>),
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .title_case_headers(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .initial_stream_window_size(262_144)
        .initial_connection_window_size(1 << 20)
        .max_frame_size(262_144)
        .max_header_list_size(1 << 20);
    if !app.config.http2 {
        builder = builder.http1_only();
    }
    let service = service_fn(move |request| {
        let app = Arc::clone(&app);
        async move { route::handle(app, certificate, request).await }
    });
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    loop {
        tokio::select! {
            // How a connection ends is the client's affair.
            _ = &mut serving => return,
            Ok(order) = orders.recv() => match order {
                Order::GoAway => serving.as_mut().graceful_shutdown(),
                Order::Reset => {
                    reset.store(true, Ordering::Relaxed);
                    return;
                }
            },
        }
    }
}
