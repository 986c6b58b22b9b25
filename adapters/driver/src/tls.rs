//! TLS over any transport: rustls does the protocol, this moves the bytes.

use std::io::{self, BufRead, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use rustls::ClientConnection;

use crate::connection::Refusal;

/// Plaintext that may wait to be encrypted and ciphertext that may wait to be sent.
const BUFFER: usize = 64 << 10;

/// A TLS client connection over `Io`.
#[derive(Debug)]
pub(crate) struct TlsStream<Io> {
    io: Io,
    tls: Box<ClientConnection>,
    refusal: Refusal,
    /// Whether the peer has sent any data.
    heard: bool,
    /// Why nothing can be sent any more, until that is told.
    broken: Option<io::Error>,
    closing: bool,
}

/// An async transport as the blocking one that rustls expects: "not ready" becomes `WouldBlock`.
struct Sync<'a, 'b, Io> {
    io: &'a mut Io,
    cx: &'a mut Context<'b>,
}

impl<Io: Read + Unpin> io::Read for Sync<'_, '_, Io> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut *self.io).poll_read(self.cx, buffer.unfilled()) {
            Poll::Ready(result) => result.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<Io: Write + Unpin> io::Write for Sync<'_, '_, Io> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        block(Pin::new(&mut *self.io).poll_write(self.cx, buffer))
    }

    fn write_vectored(&mut self, buffers: &[io::IoSlice<'_>]) -> io::Result<usize> {
        block(Pin::new(&mut *self.io).poll_write_vectored(self.cx, buffers))
    }

    fn flush(&mut self) -> io::Result<()> {
        block(Pin::new(&mut *self.io).poll_flush(self.cx))
    }
}

fn block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn unblock<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

impl<Io: Read + Write + Unpin> TlsStream<Io> {
    /// Begins; [`poll_handshake`](Self::poll_handshake) must complete before anything else.
    pub(crate) fn new(io: Io, mut tls: ClientConnection) -> Self {
        tls.set_buffer_limit(Some(BUFFER));
        Self {
            io,
            tls: Box::new(tls),
            refusal: Refusal::default(),
            heard: false,
            broken: None,
            closing: false,
        }
    }

    /// The protocol that ALPN agreed on.
    pub(crate) fn alpn_protocol(&self) -> Option<&[u8]> {
        self.tls.alpn_protocol()
    }

    /// Why TLS ended, once it has.
    pub(crate) fn refusal(&self) -> Refusal {
        self.refusal.clone()
    }

    pub(crate) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // The peer answers what it has been sent, so sending comes first. It may be stuck in what it says itself, so
            // receiving goes on meanwhile.
            if let Poll::Ready(sent) = self.poll_send(cx) {
                sent?;
                if let Poll::Ready(Err(error)) = Pin::new(&mut self.io).poll_flush(cx) {
                    return Poll::Ready(Err(error));
                }
            }
            if !self.tls.is_handshaking() {
                // What is not sent yet goes out before anything else.
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_receive(cx))? == 0 {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the connection was closed during the TLS handshake",
                )));
            }
        }
    }

    /// Sends ciphertext until there is none.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            let written = ready!(unblock(self.tls.write_tls(&mut Sync {
                io: &mut self.io,
                cx
            })))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// As [`poll_send`](Self::poll_send). If that fails because the peer has closed without having sent any data, the
    /// error is what the peer said about it: it did so before it closed, so that is there to be read.
    fn poll_send_or_reason(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken.is_none() {
            let Err(error) = ready!(self.poll_send(cx)) else {
                return Poll::Ready(Ok(()));
            };
            self.broken = Some(error);
        }
        while !self.heard
            && self.refusal.cause().is_none()
            && matches!(ready!(self.poll_receive(cx)), Ok(1..))
        {}
        let error = self.broken.take();
        Poll::Ready(Err(match self.refusal.cause() {
            Some(cause) => io::Error::new(io::ErrorKind::InvalidData, cause),
            None => error.unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()),
        }))
    }

    /// Receives ciphertext once; 0 is the end of the transport.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let received = ready!(unblock(self.tls.read_tls(&mut Sync {
            io: &mut self.io,
            cx
        })))?;
        match self.tls.process_new_packets() {
            Ok(state) => self.heard |= state.plaintext_bytes_to_read() > 0,
            Err(error) => {
                // Tell the peer why, as far as that goes through at once.
                let _ = self.poll_send(cx);
                self.refusal.set(error.clone());
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
        }
        Poll::Ready(Ok(received))
    }
}

impl<Io: Read + Write + Unpin> Read for TlsStream<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let mut reader = this.tls.reader();
            match reader.fill_buf() {
                Ok(plain) => {
                    // Nothing is the peer's close_notify: a proper end.
                    let n = plain.len().min(cursor.remaining());
                    cursor.put_slice(&plain[..n]);
                    reader.consume(n);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            let received = this.poll_receive(cx);
            // Reading can make TLS want to answer (a key update). If that cannot be sent now, the next write or flush does it;
            // and tells if it fails, for what the peer has said before comes first.
            if this.tls.wants_write()
                && let Poll::Ready(Err(error)) = this.poll_send(cx)
            {
                this.broken.get_or_insert(error);
            }
            ready!(received)?;
        }
    }
}

impl<Io: Read + Write + Unpin> Write for TlsStream<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        loop {
            let taken = this.tls.writer().write(buffer)?;
            let sent = this.poll_send_or_reason(cx);
            if let Poll::Ready(Err(error)) = sent {
                return Poll::Ready(Err(error));
            }
            if taken > 0 || buffer.is_empty() {
                return Poll::Ready(Ok(taken));
            }
            // The buffer was full; now it is not, or the transport is.
            ready!(sent)?;
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send_or_reason(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.closing, true) {
            self.tls.send_close_notify();
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
