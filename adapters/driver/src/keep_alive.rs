//! TCP connections that have gone dead without a word.

use std::io;
#[cfg(unix)]
use std::os::fd::AsFd as Socket;
#[cfg(windows)]
use std::os::windows::io::AsSocket as Socket;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// As in Go's dialer.
const INTERVAL: Duration = Duration::from_secs(30);

/// Has the operating system ask the peer whether it is still there, after 30 s of silence and, where it can be
/// told so, every 30 s from then on: for implementations of [`Runtime::dial`](crate::Runtime::dial).
///
/// A NAT that forgets a silent connection tells nobody. Over HTTP/2 there are pings; over HTTP/1.1 and in sessions
/// a watch, a followed log or a command would be pending for ever.
///
/// # Errors
///
/// The operating system's. The connection works all the same.
///
/// ```
/// # let server = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let address = server.local_addr()?;
/// let socket = std::net::TcpStream::connect(address)?;
/// kubewire_driver::keep_alive(&socket)?;
/// # std::io::Result::Ok(())
/// ```
pub fn keep_alive(socket: &impl Socket) -> io::Result<()> {
    let keep_alive = TcpKeepalive::new().with_time(INTERVAL);
    #[cfg(any(
        target_os = "android",
        target_os = "freebsd",
        target_os = "illumos",
        target_os = "linux",
        target_os = "netbsd",
        target_vendor = "apple",
        windows,
    ))]
    let keep_alive = keep_alive.with_interval(INTERVAL);
    SockRef::from(socket).set_tcp_keepalive(&keep_alive)
}
