//! A single-threaded runtime whose connections are not `Send`: the proof that the driver asks for no more than it
//! needs, and a pattern for runtimes of one's own.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use hyper::rt::{Executor, Read, ReadBufCursor, Write};
use kubewire::auth::{ProcessCommand, ProcessOutput};
use kubewire_driver::{Host, Listen, Runtime};
use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpStream;

/// smol's local executor.
#[derive(Clone, Default)]
pub struct LocalRuntime {
    executor: Rc<smol::LocalExecutor<'static>>,
}

impl LocalRuntime {
    /// Runs the executor until the future is done.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        smol::block_on(self.executor.run(future))
    }
}

impl fmt::Debug for LocalRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalRuntime")
    }
}

/// A connection that cannot leave its thread.
#[derive(Debug)]
pub struct LocalIo {
    stream: TcpStream,
    _not_send: Rc<()>,
}

impl Read for LocalIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut chunk = [0; 8192];
        let len = chunk.len().min(cursor.remaining());
        let n = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk[..len]))?;
        cursor.put_slice(&chunk[..n]);
        Poll::Ready(Ok(()))
    }
}

impl Write for LocalIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// smol's timer.
#[derive(Debug)]
pub struct LocalSleep(smol::Timer);

impl Future for LocalSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

impl Runtime for LocalRuntime {
    type Io = LocalIo;
    type Dial = Pin<Box<dyn Future<Output = io::Result<LocalIo>>>>;
    type Sleep = LocalSleep;

    fn dial(&self, host: &str, port: u16) -> Self::Dial {
        let host = host.to_owned();
        Box::pin(async move {
            Ok(LocalIo {
                stream: TcpStream::connect((host, port)).await?,
                _not_send: Rc::new(()),
            })
        })
    }

    fn sleep_until(&self, deadline: Instant) -> LocalSleep {
        LocalSleep(smol::Timer::at(deadline))
    }
}

impl Host for LocalRuntime {
    fn run(
        &self,
        command: ProcessCommand,
    ) -> impl Future<Output = io::Result<ProcessOutput>> + use<> {
        kubewire_smol::SmolRuntime::new().run(command)
    }
}

impl Listen for LocalRuntime {
    type Listener = Async<TcpListener>;
    type Bind = std::future::Ready<io::Result<Async<TcpListener>>>;

    fn bind(&self, address: SocketAddr) -> Self::Bind {
        std::future::ready(Async::<TcpListener>::bind(address))
    }

    fn local_addr(listener: &Async<TcpListener>) -> io::Result<SocketAddr> {
        listener.get_ref().local_addr()
    }

    fn poll_accept(
        listener: &mut Async<TcpListener>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(LocalIo, SocketAddr)>> {
        loop {
            match listener.get_ref().accept() {
                Ok((stream, peer)) => {
                    let stream = TcpStream::from(Async::new(stream)?);
                    return Poll::Ready(Ok((
                        LocalIo {
                            stream,
                            _not_send: Rc::new(()),
                        },
                        peer,
                    )));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(listener.poll_readable(cx))?;
        }
    }
}

impl<F: Future + 'static> Executor<F> for LocalRuntime {
    fn execute(&self, task: F) {
        self.executor.spawn(async { drop(task.await) }).detach();
    }
}
