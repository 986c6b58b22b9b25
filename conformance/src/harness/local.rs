//! A single-threaded runtime whose connections are not `Send`: the proof that the driver asks for no more than it
//! needs, and a pattern for runtimes of one's own. This file is all that one needs; what else the tests want is in
//! `local_host.rs`.

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use hyper::rt::{Executor, Read, ReadBufCursor, Write};
use kubewire_driver::Runtime;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpStream;

/// smol's local executor.
#[derive(Clone, Debug, Default)]
pub struct LocalRuntime(pub(super) Rc<smol::LocalExecutor<'static>>);

impl Runtime for LocalRuntime {
    type Io = LocalIo;
    type Dial = Pin<Box<dyn Future<Output = io::Result<LocalIo>>>>;
    type Sleep = Pin<Box<dyn Future<Output = ()>>>;

    fn dial(&self, host: &str, port: u16) -> Self::Dial {
        let host = host.to_owned();
        Box::pin(async move {
            Ok(LocalIo(
                TcpStream::connect((host, port)).await?,
                PhantomData,
            ))
        })
    }

    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        Box::pin(async move {
            smol::Timer::at(deadline).await;
        })
    }
}

impl<F: Future + 'static> Executor<F> for LocalRuntime {
    fn execute(&self, task: F) {
        self.0.spawn(async { drop(task.await) }).detach();
    }
}

/// A connection that cannot leave its thread.
#[derive(Debug)]
pub struct LocalIo(pub(super) TcpStream, pub(super) PhantomData<Rc<()>>);

impl Read for LocalIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut chunk = [0; 8192];
        let len = chunk.len().min(cursor.remaining());
        let n = ready!(Pin::new(&mut self.0).poll_read(cx, &mut chunk[..len]))?;
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
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
