//! What a follower wants to be asked, and the decoder of the answers.

use std::fmt;

use bytes::Bytes;

use super::PodFacts;
use crate::call::{Call, Decode, End, Json, Operation, Streaming};
use crate::stream::{LogLine, LogLines};
use crate::{Error, Limits};

/// A request that a [`LogFollower`](super::LogFollower) wants to be carried: a log, or the state of the pod.
///
/// It is an [`Operation`]: a client streams it, and each item is a [`LogAnswer`].
#[must_use = "the follower waits for the answer"]
pub struct LogWant {
    call: Call<LogAnswers>,
}

impl LogWant {
    pub(super) fn pod(call: Call<Json<PodFacts>>) -> Self {
        Self {
            call: call.map(|json| LogAnswers::new(Inner::Pod(json))),
        }
    }

    pub(super) fn log(call: Call<LogLines>) -> Self {
        Self {
            call: call.map(|_| LogAnswers::new(Inner::Log(LogLines::whole()))),
        }
    }

    /// The request.
    pub fn request(&self) -> &http::Request<Bytes> {
        self.call.request()
    }

    /// The call, ready to be carried.
    pub fn into_call(self) -> Call<LogAnswers> {
        self.call
    }
}

impl Operation for LogWant {
    type Decoder = LogAnswers;

    fn into_call_in(self, _: Option<&str>) -> Result<Call<LogAnswers>, Error> {
        Ok(self.call)
    }
}

impl fmt::Debug for LogWant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogWant").field(&self.call).finish()
    }
}

/// A part of the answer to a [`LogWant`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LogAnswer {
    /// The head of a successful answer.
    Opened,
    /// The pod.
    Pod(Box<PodFacts>),
    /// A line, with its time.
    Line(LogLine),
    /// The end of the log, as it is now.
    Ended(End),
}

/// Decodes the answer to a [`LogWant`]. Unlike [`LogLines`] it drops a line that is cut off: it comes again.
#[derive(Clone, Debug)]
pub struct LogAnswers {
    inner: Inner,
    opened: bool,
    ended: Option<End>,
}

#[derive(Clone, Debug)]
enum Inner {
    Pod(Json<PodFacts>),
    Log(LogLines),
}

impl LogAnswers {
    fn new(inner: Inner) -> Self {
        Self {
            inner,
            opened: false,
            ended: None,
        }
    }
}

impl Decode for LogAnswers {
    type Item = LogAnswer;

    fn begin(&mut self, limits: &Limits) {
        match &mut self.inner {
            Inner::Pod(pod) => pod.begin(limits),
            Inner::Log(lines) => lines.begin(limits),
        }
    }

    fn handle_head(&mut self, head: &http::response::Parts) -> Result<(), Error> {
        self.opened = true;
        match &mut self.inner {
            Inner::Pod(pod) => pod.handle_head(head),
            Inner::Log(lines) => lines.handle_head(head),
        }
    }

    fn handle_data(&mut self, chunk: Bytes) -> Result<(), Error> {
        match &mut self.inner {
            Inner::Pod(pod) => pod.handle_data(chunk),
            Inner::Log(lines) => lines.handle_data(chunk),
        }
    }

    fn handle_end(&mut self, end: End) -> Result<(), Error> {
        match &mut self.inner {
            Inner::Pod(pod) => pod.handle_end(end),
            Inner::Log(lines) => {
                lines.handle_end(end)?;
                self.ended = Some(end);
                Ok(())
            }
        }
    }

    fn poll_item(&mut self) -> Result<Option<LogAnswer>, Error> {
        if std::mem::take(&mut self.opened) {
            return Ok(Some(LogAnswer::Opened));
        }
        let item = match &mut self.inner {
            Inner::Pod(pod) => pod.poll_item()?.map(|pod| LogAnswer::Pod(Box::new(pod))),
            Inner::Log(lines) => lines.poll_item()?.map(LogAnswer::Line),
        };
        Ok(item.or_else(|| self.ended.take().map(LogAnswer::Ended)))
    }

    fn has_items(&self) -> bool {
        self.opened
            || self.ended.is_some()
            || match &self.inner {
                Inner::Pod(pod) => pod.has_items(),
                Inner::Log(lines) => lines.has_items(),
            }
    }

    fn buffered(&self) -> usize {
        match &self.inner {
            Inner::Pod(pod) => pod.buffered(),
            Inner::Log(lines) => lines.buffered(),
        }
    }
}

impl Streaming for LogAnswers {}
