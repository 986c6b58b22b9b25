//! Exec and port-forward, at the speed of the socket.

use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    UPGRADE,
};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::answers::{Body, full, not_found};
use super::frames::{CLOSE, Counter, frame};

/// What the programs in containers write at once.
const PIECE: usize = 32 << 10;
/// Pieces that are written to the socket at once.
const AT_ONCE: usize = 8;

type Io = TokioIo<Upgraded>;

/// The end of a process.
const STATUS: &[u8] = b"\x03{\"metadata\":{},\"status\":\"Success\"}";

pub(super) fn exec(request: Request<Incoming>, bytes: usize, down: bool) -> Response<Body> {
    upgrade(request, "v5.channel.k8s.io", move |mut io| async move {
        if down {
            send(&mut io, 1, bytes).await?;
        } else {
            receive(&mut io, bytes).await?;
        }
        io.write_all(&frame(STATUS)).await?;
        io.write_all(&CLOSE).await?;
        io.flush().await?;
        drain(&mut io).await
    })
}

pub(super) fn forward(request: Request<Incoming>, bytes: usize, down: bool) -> Response<Body> {
    upgrade(request, "v4.channel.k8s.io", move |mut io| async move {
        io.write_all(&frame(&[0, 80, 0])).await?;
        io.write_all(&frame(&[1, 80, 0])).await?;
        if down {
            send(&mut io, 0, bytes).await?;
        } else {
            receive(&mut io, bytes).await?;
            io.write_all(&frame(b"\0k")).await?;
        }
        io.flush().await?;
        drain(&mut io).await
    })
}

async fn send(io: &mut Io, channel: u8, bytes: usize) -> std::io::Result<()> {
    let mut payload = vec![b'x'; 1 + PIECE];
    payload[0] = channel;
    let block = frame(&payload).repeat(AT_ONCE);
    for _ in 0..bytes / (PIECE * AT_ONCE) {
        io.write_all(&block).await?;
    }
    Ok(())
}

async fn receive(io: &mut Io, bytes: usize) -> std::io::Result<()> {
    let mut counter = Counter::default();
    let mut buffer = vec![0; 256 << 10];
    while counter.data < bytes && !counter.closed {
        match io.read(&mut buffer).await? {
            0 => break,
            n => counter.feed(&buffer[..n]),
        }
    }
    Ok(())
}

async fn drain(io: &mut Io) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    while io.read(&mut buffer).await? > 0 {}
    Ok(())
}

fn upgrade<F>(
    mut request: Request<Incoming>,
    protocol: &'static str,
    session: impl FnOnce(Io) -> F + Send + 'static,
) -> Response<Body>
where
    F: Future<Output = std::io::Result<()>> + Send,
{
    let headers = request.headers();
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let offered = offers
        .filter_map(|offer| offer.to_str().ok())
        .flat_map(|offer| offer.split(','))
        .any(|offer| offer.trim() == protocol);
    let (Some(key), true) = (headers.get(SEC_WEBSOCKET_KEY), offered) else {
        return not_found();
    };
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).expect("it is base64");
    let upgrading = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(io) = upgrading.await {
            // What clients break off is their business.
            let _ = session(TokioIo::new(io)).await;
        }
    });
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    response
}
