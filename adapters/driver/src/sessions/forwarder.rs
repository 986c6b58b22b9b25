//! Port-forwarding as users want it: connections and local ports, over whatever the server has.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream as _;
use futures_util::stream::FuturesUnordered;
use hyper::rt::{Read, ReadBuf, Write};
use kubewire::PortForwardTunnelOperation;
use kubewire::session::PortForwardTunnel;
use kubewire::{Error, ErrorKind};

use super::forward::{PortStream, TunnelHandle};
use super::halves::{Reader, Writer};
use crate::time::Alarm;
use crate::{Client, Drive, Listen};

/// After so many failures in a row a listener is given up.
const MAX_FAILURES: u32 = 10;
/// How long to wait after a failure of a listener.
const PAUSE: Duration = Duration::from_secs(1);

/// Connections to ports of one pod, made when they are asked for.
///
/// They share a tunnel where the server has one (Kubernetes 1.31 and newer); otherwise each has a
/// WebSocket of its own. A tunnel that is lost is opened again for the next connection.
pub struct Forwarder<R: Drive> {
    client: Client<R>,
    operation: PortForwardTunnelOperation,
    /// None where the server has no tunnels.
    tunnel: Mutex<Option<TunnelHandle>>,
}

impl<R: Drive> Client<R> {
    /// Forwards ports of a pod: asks the server for a tunnel, and finds out if it has none.
    ///
    /// ```no_run
    /// # async fn example<R: kubewire_driver::Drive>(client: kubewire_driver::Client<R>) -> Result<(), kubewire::Error> {
    /// # let pods = kubewire::Api::dynamic(kubewire::ApiResource::core("Pod", "pods"));
    /// let forwarder = client.forward(pods.port_forward_tunnel("web-0")).await?;
    /// let mut stream = forwarder.connect(8080).await?;
    /// stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    /// stream.finish()?;
    /// while let Some(chunk) = stream.chunk().await {
    ///     println!("{} bytes", chunk.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn forward(
        &self,
        operation: PortForwardTunnelOperation,
    ) -> Result<Forwarder<R>, Error> {
        let tunnel = match self.open(operation.clone()).await {
            Ok(tunnel) => Some(tunnel),
            Err(error) if PortForwardTunnel::is_unsupported(&error) => None,
            Err(error) => return Err(error),
        };
        Ok(Forwarder {
            client: self.clone(),
            operation,
            tunnel: Mutex::new(tunnel),
        })
    }
}

impl<R: Drive> Forwarder<R> {
    /// Connects to a port of the pod.
    ///
    /// That the pod refused the connection shows as an error of the first read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] for port 0; as [`Client::open`] where a connection to the server has to be made.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the others as they are.
    pub async fn connect(&self, port: u16) -> Result<PortStream, Error> {
        let known = self
            .tunnel
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(tunnel) = known else {
            let mut forward = self.client.open(self.operation.connection(port)).await?;
            return Ok(forward.connections.remove(0));
        };
        if tunnel.can_connect() {
            return tunnel.connect(port);
        }
        let tunnel = self.client.open(self.operation.clone()).await?;
        let stream = tunnel.connect(port);
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
        stream
    }

    /// Whether connections share a tunnel, so that they have a half-close.
    #[must_use]
    pub fn has_tunnel(&self) -> bool {
        self.tunnel
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

    /// Binds a local address and forwards what connects there to a port of the pod, once
    /// [`serve`](PortListener::serve) runs.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] for the pod's port 0, [`ErrorKind::Transport`] if the address cannot be bound.
    pub async fn listen(
        self: &Arc<Self>,
        local: SocketAddr,
        port: u16,
    ) -> Result<PortListener<R>, Error>
    where
        R: Listen,
    {
        if port == 0 {
            return Err(Error::new(ErrorKind::Usage, "there is no port 0"));
        }
        let failed = |error: io::Error| {
            Error::new(ErrorKind::Transport, format!("cannot listen on {local}")).with_source(error)
        };
        let runtime = self.client.runtime();
        let listener = runtime.bind(local).await.map_err(failed)?;
        let local = R::local_addr(&listener).map_err(failed)?;
        Ok(PortListener {
            forwarder: self.clone(),
            listener,
            local,
            port,
        })
    }
}

impl<R: Drive> fmt::Debug for Forwarder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder")
            .field("has_tunnel", &self.has_tunnel())
            .finish_non_exhaustive()
    }
}

/// A local port that is forwarded to a pod.
pub struct PortListener<R: Drive + Listen> {
    forwarder: Arc<Forwarder<R>>,
    listener: R::Listener,
    local: SocketAddr,
    port: u16,
}

impl<R: Drive + Listen> PortListener<R> {
    /// Where it listens; with the port that was chosen, if it was 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Takes connections and serves each of them until the pod has sent its end. `failed` is told about connections that
    /// ended otherwise, by whom they were made; the others go on.
    ///
    /// Nothing is spawned: connections move while this is polled, and dropping it ends them all.
    ///
    /// # Errors
    ///
    /// It only returns when the listener fails, ten times in a row: too many open files, for instance, are a reason to wait a second,
    /// not to end the connections that are there.
    pub async fn serve(&mut self, mut failed: impl FnMut(SocketAddr, Error)) -> Error {
        let mut connections = FuturesUnordered::new();
        let mut failures = 0;
        let mut pause = Alarm::new(self.forwarder.client.runtime().clone());
        poll_fn(|cx| {
            while failures == 0 || pause.poll(cx).is_ready() {
                match R::poll_accept(&mut self.listener, cx) {
                    Poll::Ready(Ok((io, peer))) => {
                        failures = 0;
                        let (forwarder, port) = (self.forwarder.clone(), self.port);
                        connections
                            .push(async move { (peer, serve_one(forwarder, io, port).await) });
                    }
                    // A connection that was gone before it was taken is no reason to stop.
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {
                    }
                    Poll::Ready(Err(error)) => {
                        failures += 1;
                        if failures >= MAX_FAILURES {
                            let failure = Error::new(ErrorKind::Transport, "the listener failed");
                            return Poll::Ready(failure.with_source(error));
                        }
                        pause.set(pause.now().checked_add(PAUSE));
                    }
                    Poll::Pending => {
                        failures = 0;
                        break;
                    }
                }
            }
            while let Poll::Ready(Some((peer, result))) = Pin::new(&mut connections).poll_next(cx) {
                if let Err(error) = result {
                    failed(peer, error);
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl<R: Drive + Listen> fmt::Debug for PortListener<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PortListener({} to {})", self.local, self.port)
    }
}

async fn serve_one<R: Drive>(
    forwarder: Arc<Forwarder<R>>,
    io: R::Io,
    port: u16,
) -> Result<(), Error> {
    let (reader, writer) = forwarder.connect(port).await?.split();
    let mut copy = Copy {
        io,
        reader,
        writer: Some(writer),
        buffer: vec![0; 16 << 10].into_boxed_slice(),
        up: 0..0,
        down: Bytes::new(),
    };
    poll_fn(|cx| copy.poll(cx)).await
}

/// Moves bytes both ways between a local connection and the pod.
struct Copy<Io> {
    io: Io,
    reader: Reader,
    /// Gone after the local end.
    writer: Option<Writer>,
    buffer: Box<[u8]>,
    /// What of the buffer is still to be sent to the pod.
    up: std::ops::Range<usize>,
    /// What is still to be written locally.
    down: Bytes,
}

impl<Io: Read + Write + Unpin> Copy<Io> {
    /// Done when the pod has sent its end and it has been passed on, as with `kubectl`.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // The directions are independent: one that is stuck does not stop the other.
        if let Poll::Ready(Err(error)) = self.poll_up(cx) {
            return Poll::Ready(Err(local(error)));
        }
        self.poll_down(cx)
    }

    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(writer) = &mut self.writer {
            if !self.up.is_empty() {
                match ready!(writer.poll_send(cx, &self.buffer[self.up.clone()])) {
                    Ok(n) => self.up.start += n,
                    // The pod reads no more; it may still write.
                    Err(_) => self.writer = None,
                }
                continue;
            }
            let mut buffer = ReadBuf::new(&mut self.buffer);
            ready!(Pin::new(&mut self.io).poll_read(cx, buffer.unfilled()))?;
            self.up = 0..buffer.filled().len();
            if self.up.is_empty() {
                // Without a half-close the node is not told; the pod's answer still comes.
                let _ = writer.finish();
                self.writer = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            while !self.down.is_empty() {
                let n = ready!(Pin::new(&mut self.io).poll_write(cx, &self.down)).map_err(local)?;
                if n == 0 {
                    return Poll::Ready(Err(local(io::ErrorKind::WriteZero.into())));
                }
                self.down = self.down.slice(n..);
            }
            match self.reader.poll_chunk(cx) {
                Poll::Ready(Some(chunk)) => self.down = chunk,
                Poll::Ready(None) => {
                    ready!(Pin::new(&mut self.io).poll_shutdown(cx)).map_err(local)?;
                    return Poll::Ready(self.reader.failure().map_or(Ok(()), Err));
                }
                Poll::Pending => {
                    ready!(Pin::new(&mut self.io).poll_flush(cx)).map_err(local)?;
                    return Poll::Pending;
                }
            }
        }
    }
}

fn local(error: io::Error) -> Error {
    Error::new(ErrorKind::Transport, "the local connection broke").with_source(error)
}
