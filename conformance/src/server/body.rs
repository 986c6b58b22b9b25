//! Response bodies.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::Sleep;

/// What a response carries.
#[derive(Debug)]
pub(crate) struct Body {
    content: Content,
    cut: Option<Cut>,
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

/// Breaks the body off after some bytes.
#[derive(Debug)]
struct Cut {
    left: usize,
    /// Gives hyper a turn to flush what was let through.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self {
            content: Content::Sized(None),
            cut: None,
        }
    }

    pub(crate) fn sized(bytes: impl Into<Bytes>) -> Self {
        Self {
            content: Content::Sized(Some(bytes.into())),
            cut: None,
        }
    }

    /// Go buffers 2 KiB before it gives up on a `Content-Length`.
    pub(crate) fn buffered(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let content = if bytes.len() > 2048 {
            Content::Chunk(Some(bytes))
        } else {
            Content::Sized(Some(bytes))
        };
        Self { content, cut: None }
    }

    pub(crate) fn stream(receiver: mpsc::Receiver<Bytes>) -> Self {
        Self {
            content: Content::Stream(receiver),
            cut: None,
        }
    }

    pub(crate) fn cut_after(mut self, bytes: usize) -> Self {
        self.cut = Some(Cut {
            left: bytes,
            pause: None,
        });
        self
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
        if let Some(cut) = &mut self.cut
            && cut.left == 0
        {
            let pause = cut
                .pause
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(20))));
            return match pause.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
                Poll::Pending => Poll::Pending,
            };
        }
        let Poll::Ready(next) = self.poll_content(context) else {
            return Poll::Pending;
        };
        let Some(mut bytes) = next else {
            return Poll::Ready(None);
        };
        if let Some(cut) = &mut self.cut {
            bytes.truncate(cut.left);
            cut.left -= bytes.len();
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.cut.is_none() && matches!(self.content, Content::Sized(None))
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
