//! A TCP connection that asks the operating system only when there is something to get.

use std::fmt;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use smol::Async;
use smol::io::AsyncRead;
use smol_hyper::rt::FuturesIo;

/// A TCP connection of [`SmolRuntime`](crate::SmolRuntime).
///
/// smol's own streams try first and wait then: each poll in vain is a system call, before which the whole buffer is cleared.
/// This one remembers that it was drained.
pub struct Connection {
    socket: FuturesIo<Socket>,
    writable: bool,
}

struct Socket {
    stream: Arc<Async<TcpStream>>,
    readable: bool,
}

/// Reads what is there; [`Connection`] does the waiting.
impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let result = self.stream.get_ref().read(buf);
        // A short read has taken all. The end stays.
        self.readable = matches!(result, Ok(n) if n == buf.len() || n == 0);
        Poll::Ready(result)
    }
}

impl Connection {
    pub(crate) fn new(stream: impl Into<Arc<Async<TcpStream>>>) -> io::Result<Self> {
        let stream = stream.into();
        // Frames and requests are written whole; waiting for more only delays them.
        stream.get_ref().set_nodelay(true)?;
        let socket = Socket {
            stream,
            readable: false,
        };
        Ok(Self {
            socket: FuturesIo::new(socket),
            writable: true,
        })
    }

    #[cfg(test)]
    pub(crate) fn stream(&self) -> &TcpStream {
        self.socket.get_ref().stream.get_ref()
    }

    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        len: usize,
        write: impl Fn(&mut &TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let stream = &self.socket.get_ref().stream;
        loop {
            if !self.writable {
                ready!(stream.poll_writable(cx))?;
                self.writable = true;
            }
            match write(&mut stream.get_ref()) {
                Ok(written) => {
                    self.writable = written == len;
                    return Poll::Ready(Ok(written));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Read for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = self.socket.get_mut();
        if !socket.readable {
            ready!(socket.stream.poll_readable(cx))?;
        }
        let result = ready!(Pin::new(&mut self.socket).poll_read(cx, buf));
        let nothing = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
        if result
            .as_ref()
            .is_err_and(|error| nothing.contains(&error.kind()))
        {
            // The buffer is used up: the next poll waits.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(result)
    }
}

impl Write for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, buf.len(), |stream| stream.write(buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        self.poll_write_with(cx, len, |stream| stream.write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.socket.get_ref().stream.get_ref();
        Poll::Ready(match stream.shutdown(std::net::Shutdown::Write) {
            // The peer was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}
