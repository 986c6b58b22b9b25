//! An HTTP/1.1 server whose every byte is told to it.

use std::io::{self, BufReader, Write};
use std::net::Shutdown;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Peer, Received, lock, read_body, read_head};

/// How often a silent connection looks whether its client is there.
const TICK: Duration = Duration::from_millis(20);
/// How long a connection is silent that has more to read.
const SILENCE: Duration = Duration::from_secs(30);

/// An answer as it goes over the wire, right or wrong.
#[derive(Clone, Debug)]
pub struct Wire {
    /// What is sent.
    pub bytes: Vec<u8>,
    /// What becomes of the connection.
    pub then: Then,
    /// Whether it is sent as soon as the request's head is there.
    pub hasty: bool,
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It takes the next request.
    Next,
    /// It ends.
    Close,
    /// It stays open, and nothing is read or written any more until the client closes it.
    Silence,
}

impl Wire {
    /// An answer after which the connection takes the next request.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            then: Then::Next,
            hasty: false,
        }
    }

    /// What becomes of the connection.
    #[must_use]
    pub fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    /// Sent before the request's body is taken.
    #[must_use]
    pub fn hasty(mut self) -> Self {
        self.hasty = true;
        self
    }
}

impl Peer {
    /// An HTTP/1.1 server that answers with what `answer` says, byte for byte; on any number of connections. It is asked when
    /// a request's head is there.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn wire(answer: impl FnMut(&Received) -> Wire + Send + 'static) -> io::Result<Self> {
        let answer = Arc::new(Mutex::new(answer));
        Self::start(move |stream, seen| {
            let (answer, seen) = (answer.clone(), seen.clone());
            std::thread::spawn(move || -> io::Result<()> {
                stream.set_nodelay(true)?;
                let mut reader = BufReader::new(&stream);
                loop {
                    let mut request = read_head(&mut reader)?;
                    let wire = (lock(&answer))(&request);
                    if !wire.hasty {
                        request.body = read_body(&mut reader, &request)?;
                    }
                    lock(&seen).push(request);
                    (&stream).write_all(&wire.bytes)?;
                    match wire.then {
                        Then::Next => {}
                        Then::Close => return stream.shutdown(Shutdown::Write),
                        Then::Silence => {
                            // What is not taken hides the connection's end.
                            let end = Instant::now() + SILENCE;
                            while stream.peek(&mut [0])? > 0 && Instant::now() < end {
                                std::thread::sleep(TICK);
                            }
                            return Ok(());
                        }
                    }
                }
            });
        })
    }
}
