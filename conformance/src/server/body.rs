//! Response bodies.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::faults::Trouble;

/// What a response carries.
#[derive(Debug)]
pub(crate) struct Body {
    content: Content,
    trouble: Option<Trouble>,
    /// What is still to be let through, for a trouble of so many bytes.
    left: usize,
    /// What comes byte by byte.
    rest: Bytes,
    pause: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Content {
    /// Sent with a `Content-Length`.
    Sized(Option<Bytes>),
    /// Sent in one HTTP chunk.
    Chunk(Option<Bytes>),
    /// Sent as it comes: watches and logs.
    Stream(mpsc::Receiver<Bytes>),
}

/// Before a body is cut: gives hyper a turn to flush what was let through.
const FLUSH: Duration = Duration::from_millis(20);

impl Body {
    fn new(content: Content) -> Self {
        Self {
            content,
            trouble: None,
            left: 0,
            rest: Bytes::new(),
            pause: None,
        }
    }

    pub(crate) fn empty() -> Self {
        Self::new(Content::Sized(None))
    }

    pub(crate) fn sized(bytes: impl Into<Bytes>) -> Self {
        Self::new(Content::Sized(Some(bytes.into())))
    }

    /// Go buffers 2 KiB before it gives up on a `Content-Length`.
    pub(crate) fn buffered(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::new(if bytes.len() > 2048 {
            Content::Chunk(Some(bytes))
        } else {
            Content::Sized(Some(bytes))
        })
    }

    pub(crate) fn stream(receiver: mpsc::Receiver<Bytes>) -> Self {
        Self::new(Content::Stream(receiver))
    }

    pub(crate) fn with_trouble(mut self, trouble: Trouble) -> Self {
        if let Trouble::Cut(bytes) | Trouble::Stall(bytes) = trouble {
            self.left = bytes;
        }
        self.trouble = Some(trouble);
        self
    }

    /// Ready when this much time has passed since it was asked for the first time.
    fn poll_pause(&mut self, time: Duration, context: &mut Context<'_>) -> Poll<()> {
        let pause = self
            .pause
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
        ready!(pause.as_mut().poll(context));
        self.pause = None;
        Poll::Ready(())
    }

    fn poll_content(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match &mut self.content {
            Content::Sized(bytes) | Content::Chunk(bytes) => Poll::Ready(bytes.take()),
            Content::Stream(receiver) => receiver.poll_recv(context),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        match this.trouble {
            Some(Trouble::Cut(_)) if this.left == 0 => {
                ready!(this.poll_pause(FLUSH, context));
                return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())));
            }
            Some(Trouble::Stall(_)) if this.left == 0 => return Poll::Pending,
            Some(Trouble::Trickle(every)) if !this.rest.is_empty() => {
                ready!(this.poll_pause(every, context));
                return Poll::Ready(Some(Ok(Frame::data(this.rest.split_to(1)))));
            }
            Some(_) | None => {}
        }
        let Some(mut bytes) = ready!(this.poll_content(context)) else {
            return Poll::Ready(None);
        };
        match this.trouble {
            Some(Trouble::Cut(_) | Trouble::Stall(_)) => {
                bytes.truncate(this.left);
                this.left -= bytes.len();
            }
            Some(Trouble::Trickle(_)) => this.rest = bytes.split_off(bytes.len().min(1)),
            None => {}
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.trouble.is_none() && matches!(self.content, Content::Sized(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Sized(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Content::Chunk(_) | Content::Stream(_) => SizeHint::default(),
        }
    }
}
