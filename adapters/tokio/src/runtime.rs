//! tokio as a [`Runtime`].

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Executor, Timer};
use hyper_util::rt::{TokioIo, TokioTimer};
use kubewire_driver::{Host, Listen, Runtime};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// tokio: the runtime that polls the client, or the one that was given.
///
/// With a handle the client's futures work on any executor, as long as that runtime lives. Without one they
/// need to be polled within a tokio runtime; elsewhere calls fail with an error.
#[derive(Clone, Debug, Default)]
pub struct TokioRuntime {
    handle: Option<Handle>,
}

impl TokioRuntime {
    /// The runtime that polls.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A certain runtime, with IO and time enabled.
    #[must_use]
    pub fn with_handle(handle: Handle) -> Self {
        Self {
            handle: Some(handle),
        }
    }

    fn handle(&self) -> Option<Handle> {
        self.handle.clone().or_else(|| Handle::try_current().ok())
    }
}

/// A connection attempt, as a task of the runtime; dropping it ends the attempt.
#[derive(Debug)]
pub struct Dial(Option<JoinHandle<io::Result<TcpStream>>>);

impl Future for Dial {
    type Output = io::Result<TokioIo<TcpStream>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(task) = &mut self.0 else {
            return Poll::Ready(Err(no_runtime()));
        };
        let stream = ready!(Pin::new(task).poll(cx)).map_err(io::Error::other)??;
        // Frames and requests are written whole; waiting for more only delays them.
        stream.set_nodelay(true)?;
        // Without it, it is a connection all the same.
        let _ = kubewire_driver::keep_alive(&stream);
        Poll::Ready(Ok(TokioIo::new(stream)))
    }
}

impl Drop for Dial {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// tokio's sleep; without a runtime there is no time, and it never ends.
#[derive(Debug)]
pub struct Sleep(Option<Pin<Box<tokio::time::Sleep>>>);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0
            .as_mut()
            .map_or(Poll::Pending, |sleep| sleep.as_mut().poll(cx))
    }
}

impl Runtime for TokioRuntime {
    type Io = TokioIo<TcpStream>;
    type Dial = Dial;
    type Sleep = Sleep;

    fn dial(&self, host: &str, port: u16) -> Dial {
        let host = host.to_owned();
        Dial(
            self.handle()
                .map(|handle| handle.spawn(async move { TcpStream::connect((host, port)).await })),
        )
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep(self.handle().map(|handle| {
            let _inside = handle.enter();
            Box::pin(tokio::time::sleep_until(deadline.into()))
        }))
    }

    /// tokio's clock, so that tests may pause it.
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn timer(&self) -> Option<Arc<dyn Timer + Send + Sync>> {
        self.handle().map(|handle| Arc::new(Pings(handle)) as _)
    }
}

/// A timer that works on any thread: hyper starts its first sleep where the connection's first call is polled.
struct Pings(Handle);

impl Timer for Pings {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        let _inside = self.0.enter();
        TokioTimer::new().sleep(duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        let _inside = self.0.enter();
        TokioTimer::new().sleep_until(deadline)
    }

    fn now(&self) -> Instant {
        TokioTimer::new().now()
    }

    /// A sleep knows its runtime.
    fn reset(&self, sleep: &mut Pin<Box<dyn hyper::rt::Sleep>>, deadline: Instant) {
        TokioTimer::new().reset(sleep, deadline);
    }
}

impl Host for TokioRuntime {
    fn read_file(
        &self,
        path: PathBuf,
        max: usize,
    ) -> impl Future<Output = io::Result<Vec<u8>>> + use<> {
        let task = self
            .handle()
            .map(|handle| handle.spawn_blocking(move || kubewire_driver::read_start(path, max)));
        async move {
            match task {
                Some(task) => task.await.map_err(io::Error::other)?,
                None => Err(no_runtime()),
            }
        }
    }

    #[cfg(feature = "exec-plugin")]
    fn run(
        &self,
        command: kubewire::auth::ProcessCommand,
    ) -> impl Future<Output = io::Result<kubewire::auth::ProcessOutput>> + use<> {
        let task = self
            .handle()
            .map(|handle| Running(handle.spawn(crate::process::run(command))));
        async move {
            match task {
                Some(mut task) => (&mut task.0).await.map_err(io::Error::other)?,
                None => Err(no_runtime()),
            }
        }
    }
}

/// A program, as a task of the runtime; dropping it kills the program.
#[cfg(feature = "exec-plugin")]
struct Running<T>(JoinHandle<T>);

#[cfg(feature = "exec-plugin")]
impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A socket that is being bound.
#[derive(Debug)]
pub struct Bind(Option<JoinHandle<io::Result<TcpListener>>>);

impl Future for Bind {
    type Output = io::Result<TcpListener>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(task) = &mut self.0 else {
            return Poll::Ready(Err(no_runtime()));
        };
        Pin::new(task)
            .poll(cx)
            .map(|result| result.map_err(io::Error::other)?)
    }
}

impl Listen for TokioRuntime {
    type Listener = TcpListener;
    type Bind = Bind;

    fn bind(&self, address: SocketAddr) -> Bind {
        Bind(
            self.handle()
                .map(|handle| handle.spawn(TcpListener::bind(address))),
        )
    }

    fn local_addr(listener: &TcpListener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    fn poll_accept(
        listener: &mut TcpListener,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Io, SocketAddr)>> {
        listener
            .poll_accept(cx)
            .map_ok(|(stream, peer)| (TokioIo::new(stream), peer))
    }
}

fn no_runtime() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "there is no tokio runtime here")
}

impl<F> Executor<F> for TokioRuntime
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        // Without a runtime there is no connection to look after either.
        if let Some(handle) = self.handle() {
            handle.spawn(task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_notices_that_its_peer_is_gone() -> io::Result<()> {
        let server = std::net::TcpListener::bind("127.0.0.1:0")?;
        let port = server.local_addr()?.port();
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let runtime = TokioRuntime::with_handle(tokio.handle().clone());
        let connection = tokio.block_on(runtime.dial("127.0.0.1", port))?;
        let socket = socket2::SockRef::from(connection.inner());
        assert!(socket.keepalive()?);
        #[cfg(target_os = "linux")]
        {
            assert_eq!(socket.tcp_keepalive_time()?, Duration::from_secs(30));
            assert_eq!(socket.tcp_keepalive_interval()?, Duration::from_secs(30));
        }
        Ok(())
    }
}
