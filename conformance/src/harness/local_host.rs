//! What tests want of the single-threaded runtime besides connections: programs, and listeners.

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpListener};
use std::task::{Context, Poll, ready};

use kubewire::auth::{ProcessCommand, ProcessOutput};
use kubewire_driver::{Host, Listen};
use smol::Async;
use smol::net::TcpStream;

use super::local::{LocalIo, LocalRuntime};

impl LocalRuntime {
    /// Runs the executor until the future is done.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        smol::block_on(self.0.run(future))
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
                    return Poll::Ready(Ok((LocalIo(stream, PhantomData), peer)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(listener.poll_readable(cx))?;
        }
    }
}
