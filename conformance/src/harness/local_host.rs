//! What tests want of the single-threaded runtime besides connections: programs, and listeners.

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use kubewire::auth::{ProcessCommand, ProcessOutput};
use kubewire_driver::{Host, Listen};
use kubewire_smol::SmolRuntime;
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
        SmolRuntime::new().run(command)
    }
}

impl Listen for LocalRuntime {
    type Listener = <SmolRuntime as Listen>::Listener;
    type Bind = <SmolRuntime as Listen>::Bind;

    fn bind(&self, address: SocketAddr) -> Self::Bind {
        SmolRuntime::new().bind(address)
    }

    fn local_addr(listener: &Self::Listener) -> io::Result<SocketAddr> {
        SmolRuntime::local_addr(listener)
    }

    fn poll_accept(
        listener: &mut Self::Listener,
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
