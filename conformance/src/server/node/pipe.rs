//! Bounded pipes: writers wait for readers, readers see the end when the last writer goes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// As on Linux.
pub(crate) const CAPACITY: usize = 64 << 10;

/// Nobody reads any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BrokenPipe;

#[derive(Debug)]
struct State {
    buffer: VecDeque<u8>,
    readers: usize,
    writers: usize,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    readable: Notify,
    writable: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(crate) struct Reader(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Writer(Arc<Shared>);

pub(crate) fn pipe() -> (Reader, Writer) {
    let state = State {
        buffer: VecDeque::new(),
        readers: 1,
        writers: 1,
    };
    let shared = Arc::new(Shared {
        state: Mutex::new(state),
        readable: Notify::new(),
        writable: Notify::new(),
    });
    (Reader(Arc::clone(&shared)), Writer(shared))
}

impl Clone for Reader {
    fn clone(&self) -> Self {
        self.0.lock().readers += 1;
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.lock().readers -= 1;
        self.0.writable.notify_waiters();
    }
}

impl Clone for Writer {
    fn clone(&self) -> Self {
        self.0.lock().writers += 1;
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.lock().writers -= 1;
        self.0.readable.notify_waiters();
    }
}

impl Reader {
    /// Up to `most` bytes as soon as there are any; nothing at the end.
    pub(crate) async fn read(&self, most: usize) -> Vec<u8> {
        self.take(|buffer| buffer.len().min(most)).await
    }

    /// Bytes up to and including a newline, or up to `most`, or to the end.
    pub(crate) async fn read_line(&self, most: usize) -> Vec<u8> {
        let mut line = Vec::new();
        loop {
            let left = most - line.len();
            let newline = |buffer: &VecDeque<u8>| {
                let end = buffer
                    .iter()
                    .position(|b| *b == b'\n')
                    .map_or(buffer.len(), |at| at + 1);
                end.min(left)
            };
            let piece = self.take(newline).await;
            let end = piece.is_empty() || piece.ends_with(b"\n");
            line.extend(piece);
            if end || line.len() >= most {
                return line;
            }
        }
    }

    async fn take(&self, amount: impl Fn(&VecDeque<u8>) -> usize) -> Vec<u8> {
        loop {
            let readable = self.0.readable.notified();
            tokio::pin!(readable);
            readable.as_mut().enable();
            {
                let mut state = self.0.lock();
                if !state.buffer.is_empty() {
                    let amount = amount(&state.buffer);
                    let bytes = state.buffer.drain(..amount).collect();
                    drop(state);
                    self.0.writable.notify_waiters();
                    return bytes;
                }
                if state.writers == 0 {
                    return Vec::new();
                }
            }
            readable.await;
        }
    }
}

impl Writer {
    /// Writes everything, waiting for room.
    pub(crate) async fn write(&self, mut bytes: &[u8]) -> Result<(), BrokenPipe> {
        loop {
            let writable = self.0.writable.notified();
            tokio::pin!(writable);
            writable.as_mut().enable();
            {
                let mut state = self.0.lock();
                if state.readers == 0 {
                    return Err(BrokenPipe);
                }
                let room = CAPACITY.saturating_sub(state.buffer.len()).min(bytes.len());
                state.buffer.extend(&bytes[..room]);
                bytes = &bytes[room..];
                drop(state);
                if room > 0 {
                    self.0.readable.notify_waiters();
                }
                if bytes.is_empty() {
                    return Ok(());
                }
            }
            writable.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn writers_wait_for_readers() {
        let (reader, writer) = pipe();
        let blocked = tokio::time::timeout(
            Duration::from_millis(20),
            writer.write(&vec![1; CAPACITY + 1]),
        )
        .await;
        assert!(blocked.is_err());
        assert_eq!(reader.read(usize::MAX).await.len(), CAPACITY);
        writer.write(b"a\nbc").await.unwrap();
        assert_eq!(reader.read_line(100).await, b"a\n");
        drop(writer);
        assert_eq!(reader.read_line(100).await, b"bc");
        assert_eq!(reader.read(10).await, b"");
        let (reader, writer) = pipe();
        drop(reader);
        assert_eq!(writer.write(b"x").await, Err(BrokenPipe));
    }
}
