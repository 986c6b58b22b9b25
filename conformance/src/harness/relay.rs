//! A TCP relay that can go dead without a word.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often threads look whether something has changed.
const TICK: Duration = Duration::from_millis(5);

/// Passes bytes on between a client and a server, until it is frozen: then it keeps all connections open and
/// moves nothing, as a network does in which the peer has vanished.
#[derive(Debug)]
pub struct Relay {
    addr: SocketAddr,
    state: Arc<State>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    frozen: AtomicBool,
    stopped: AtomicBool,
}

impl Relay {
    /// Starts a relay to a server.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let state = Arc::new(State::default());
        let shared = state.clone();
        let acceptor = std::thread::spawn(move || {
            while !shared.stopped.load(Ordering::Relaxed) {
                let Ok((client, _)) = listener.accept() else {
                    std::thread::sleep(TICK);
                    continue;
                };
                if let Ok(server) = TcpStream::connect(server) {
                    let _ = pair(&client, &server, &shared);
                }
            }
        });
        Ok(Self {
            addr,
            state,
            acceptor: Some(acceptor),
        })
    }

    /// Where to connect to.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on nothing moves.
    pub fn freeze(&self) {
        self.state.frozen.store(true, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Relaxed);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn pair(client: &TcpStream, server: &TcpStream, state: &Arc<State>) -> io::Result<()> {
    for stream in [client, server] {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(TICK))?;
        stream.set_nodelay(true)?;
    }
    for (from, to) in [(client, server), (server, client)] {
        let (mut from, mut to, state) = (from.try_clone()?, to.try_clone()?, state.clone());
        std::thread::spawn(move || {
            let mut chunk = vec![0; 64 << 10];
            loop {
                if state.stopped.load(Ordering::Relaxed) {
                    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                    return;
                }
                if state.frozen.load(Ordering::Relaxed) {
                    std::thread::sleep(TICK);
                    continue;
                }
                match from.read(&mut chunk) {
                    Ok(n) if n > 0 => {
                        if to.write_all(&chunk[..n]).is_err() {
                            return;
                        }
                    }
                    Err(error)
                        if matches!(
                            error.kind(),
                            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                        ) => {}
                    Ok(_) | Err(_) => {
                        let _ = to.shutdown(Shutdown::Write);
                        return;
                    }
                }
            }
        });
    }
    Ok(())
}
