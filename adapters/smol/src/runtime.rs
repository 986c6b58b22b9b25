//! smol as a [`Runtime`].

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use hyper::rt::{Executor, Timer};
use kubewire::auth::{ProcessCommand, ProcessOutput};
use kubewire_driver::{Host, Listen, Runtime};
use smol::Async;
use smol::net::TcpStream;
use smol_hyper::rt::SmolTimer;

use crate::connection::Connection;
use crate::sleep::Sleep;

/// smol: tasks run on its global executor, or on the one that was given.
///
/// The client's futures work on any executor; smol starts the threads for IO and time by itself.
#[derive(Clone, Debug, Default)]
pub struct SmolRuntime {
    executor: Option<Arc<smol::Executor<'static>>>,
}

impl SmolRuntime {
    /// The global executor.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A certain executor, which somebody must run.
    #[must_use]
    pub fn with_executor(executor: Arc<smol::Executor<'static>>) -> Self {
        Self {
            executor: Some(executor),
        }
    }
}

/// A connection attempt; dropping it ends the attempt.
pub struct Dial(Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>);

impl Future for Dial {
    type Output = io::Result<Connection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let stream = ready!(self.0.as_mut().poll(cx))?;
        // Without it, it is a connection all the same.
        let _ = kubewire_driver::keep_alive(&stream);
        Poll::Ready(Connection::new(stream))
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dial")
    }
}

impl Runtime for SmolRuntime {
    type Io = Connection;
    type Dial = Dial;
    type Sleep = Sleep;

    fn dial(&self, host: &str, port: u16) -> Dial {
        let host = host.to_owned();
        Dial(Box::pin(
            async move { TcpStream::connect((host, port)).await },
        ))
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep::until(deadline)
    }

    fn timer(&self) -> Option<Arc<dyn Timer + Send + Sync>> {
        Some(Arc::new(SmolTimer::new()))
    }
}

impl Host for SmolRuntime {
    fn read_file(
        &self,
        path: PathBuf,
        max: usize,
    ) -> impl Future<Output = io::Result<Vec<u8>>> + use<> {
        smol::unblock(move || kubewire_driver::read_start(path, max))
    }

    fn run(
        &self,
        command: ProcessCommand,
    ) -> impl Future<Output = io::Result<ProcessOutput>> + use<> {
        crate::process::run(command)
    }
}

impl Listen for SmolRuntime {
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
    ) -> Poll<io::Result<(Self::Io, SocketAddr)>> {
        loop {
            match listener.get_ref().accept() {
                Ok((stream, peer)) => {
                    let connection = Connection::new(Async::new(stream)?)?;
                    return Poll::Ready(Ok((connection, peer)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(listener.poll_readable(cx))?;
        }
    }
}

impl<F> Executor<F> for SmolRuntime
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        match &self.executor {
            Some(executor) => executor.spawn(async { drop(task.await) }).detach(),
            None => smol::spawn(async { drop(task.await) }).detach(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_connection_notices_that_its_peer_is_gone() -> io::Result<()> {
        let server = TcpListener::bind("127.0.0.1:0")?;
        let port = server.local_addr()?.port();
        let connection = smol::block_on(SmolRuntime::new().dial("127.0.0.1", port))?;
        let socket = socket2::SockRef::from(connection.stream());
        assert!(socket.keepalive()?);
        #[cfg(target_os = "linux")]
        {
            assert_eq!(socket.tcp_keepalive_time()?, Duration::from_secs(30));
            assert_eq!(socket.tcp_keepalive_interval()?, Duration::from_secs(30));
        }
        Ok(())
    }
}
