//! Connections that are up to mischief.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

use super::{Meter, Mischief};

/// How many bytes of each direction come one at a time; beyond, they come in odd portions.
const SINGLE: usize = 2 << 10;

/// How much a gate reads ahead, to know whether it is closed.
const AHEAD: usize = 16 << 10;

/// A connection that does what its [`Mischief`] says.
#[derive(Debug)]
pub struct RigIo<I> {
    inner: I,
    mischief: Mischief,
    meter: Arc<Meter>,
    /// What was read to see whether the gate is closed.
    ahead: VecDeque<u8>,
    ended: bool,
    /// Who waits for the gate.
    writer: Option<Waker>,
    /// Who waits for something to read.
    reader: Option<Waker>,
    read: Direction,
    written: Direction,
}

#[derive(Debug, Default)]
struct Direction {
    bytes: usize,
    /// What comes next is done, or pending for a reason.
    hesitated: bool,
}

impl Direction {
    /// How much may move now; nothing if there is first to be a pause.
    fn portion(&mut self, mischief: Mischief, cx: &Context<'_>) -> Option<usize> {
        if mischief.hesitant && !std::mem::replace(&mut self.hesitated, true) {
            cx.waker().wake_by_ref();
            return None;
        }
        Some(match self.bytes {
            _ if !mischief.in_bits => usize::MAX,
            few if few < SINGLE => 1,
            many => 1 + many.wrapping_mul(2_654_435_761) % 8191,
        })
    }
}

impl<I> RigIo<I> {
    pub(super) fn new(inner: I, mischief: Mischief, meter: Arc<Meter>) -> Self {
        Self {
            inner,
            mischief,
            meter,
            ahead: VecDeque::new(),
            ended: false,
            writer: None,
            reader: None,
            read: Direction::default(),
            written: Direction::default(),
        }
    }

    fn moved<T>(&self, result: io::Result<T>) -> io::Result<T> {
        self.meter.progress();
        result
    }
}

impl<I: Read + Unpin> RigIo<I> {
    fn poll_read_portion(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<io::Result<([u8; AHEAD], usize)>> {
        let mut chunk = [0; AHEAD];
        let mut buffer = ReadBuf::new(&mut chunk[..most.clamp(1, AHEAD)]);
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer.unfilled()))?;
        let len = buffer.filled().len();
        Poll::Ready(Ok((chunk, len)))
    }

    /// Whether there is something to be read first.
    fn poll_gate(&mut self, cx: &Context<'_>) -> Poll<()> {
        if !self.mischief.gated {
            return Poll::Ready(());
        }
        if self.ahead.is_empty() && !self.ended {
            // Whoever reads is to be woken still.
            let reader = self.reader.clone().unwrap_or_else(|| cx.waker().clone());
            let mut reading = Context::from_waker(&reader);
            if let Poll::Ready(Ok((chunk, len))) = self.poll_read_portion(&mut reading, AHEAD) {
                self.ended = len == 0;
                self.ahead.extend(&chunk[..len]);
                reader.wake();
            }
        }
        if self.ahead.is_empty() {
            return Poll::Ready(());
        }
        self.writer = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<I: Read + Unpin> Read for RigIo<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.mischief == Mischief::default() {
            let result = ready!(Pin::new(&mut this.inner).poll_read(cx, cursor));
            return Poll::Ready(this.moved(result));
        }
        let Some(most) = this.read.portion(this.mischief, cx) else {
            return Poll::Pending;
        };
        let most = most.min(cursor.remaining());
        this.reader = Some(cx.waker().clone());
        if this.ahead.is_empty() && !this.ended {
            let (chunk, len) = ready!(this.poll_read_portion(cx, most))?;
            this.ended = len == 0;
            this.ahead.extend(&chunk[..len]);
        }
        for byte in this.ahead.drain(..most.min(this.ahead.len())) {
            cursor.put_slice(&[byte]);
            this.read.bytes += 1;
        }
        this.read.hesitated = false;
        if this.ahead.is_empty()
            && let Some(writer) = this.writer.take()
        {
            writer.wake();
        }
        Poll::Ready(this.moved(Ok(())))
    }
}

impl<I: Read + Write + Unpin> Write for RigIo<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_gate(cx));
        let Some(most) = this.written.portion(this.mischief, cx) else {
            return Poll::Pending;
        };
        let data = &data[..most.min(data.len())];
        let result = ready!(Pin::new(&mut this.inner).poll_write(cx, data));
        this.written.hesitated = false;
        this.written.bytes += result.as_ref().copied().unwrap_or_default();
        Poll::Ready(this.moved(result))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.mischief == Mischief::default() && self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.is_write_vectored() {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(cx, first.map_or(&[], |slice| slice));
        }
        let result = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, slices));
        Poll::Ready(self.moved(result))
    }
}
