//! TLS with a server in the same memory, which may close without having read everything.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::task::Waker;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection};

use super::*;

/// The server and the way to it.
struct Peer {
    tls: ServerConnection,
    /// It has closed with data unread: what it said is there, and no write succeeds any more.
    closed: bool,
}

impl Read for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.tls.wants_write() {
            return if self.closed {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            } else {
                Poll::Pending
            };
        }
        let mut said = Vec::new();
        self.tls.write_tls(&mut said)?;
        cursor.put_slice(&said);
        Poll::Ready(Ok(()))
    }
}

impl Write for Peer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let read = self.tls.read_tls(&mut buffer);
        self.tls.process_new_packets().map_err(io::Error::other)?;
        Poll::Ready(read)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A connection whose handshake is done, and which has heard something.
fn connected() -> TlsStream<Peer> {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = key.cert.der().clone();
    let secret = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], secret)
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let peer = Peer {
        tls: ServerConnection::new(server.into()).unwrap(),
        closed: false,
    };
    let mut stream = TlsStream::new(peer, ClientConnection::new(client.into(), name).unwrap());
    let done = stream.poll_handshake(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(done, Poll::Ready(Ok(()))), "{done:?}");
    write(&mut stream, b"hello").unwrap();
    let mut heard = [0; 5];
    stream.io.tls.reader().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    stream
}

fn read(stream: &mut TlsStream<Peer>) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 64];
    let mut buffer = ReadBuf::new(&mut buffer);
    let mut cx = Context::from_waker(Waker::noop());
    match Pin::new(stream).poll_read(&mut cx, buffer.unfilled()) {
        Poll::Ready(result) => result.map(|()| buffer.filled().to_vec()),
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn write(stream: &mut TlsStream<Peer>, data: &[u8]) -> io::Result<usize> {
    let mut cx = Context::from_waker(Waker::noop());
    match Pin::new(stream).poll_write(&mut cx, data) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

#[test]
fn what_was_said_before_the_end_is_read_though_an_answer_fails() {
    let mut stream = connected();
    let peer = &mut stream.io;
    // The client is to answer this before it reads on.
    peer.tls.refresh_traffic_keys().unwrap();
    peer.tls.writer().write_all(b"status").unwrap();
    peer.closed = true;
    assert_eq!(read(&mut stream).unwrap(), b"status");
    let error = write(&mut stream, b"more").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    let error = read(&mut stream).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn what_was_said_before_the_end_is_read_after_a_write_that_failed() {
    let mut stream = connected();
    stream.io.tls.writer().write_all(b"status").unwrap();
    stream.io.closed = true;
    let error = write(&mut stream, b"more").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(read(&mut stream).unwrap(), b"status");
    let error = read(&mut stream).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}
