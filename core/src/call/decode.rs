//! The decoder of an answer's body.

use bytes::Bytes;

use super::Call;
use crate::{Error, Limits};

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// As HTTP frames it: after the last chunk, after `Content-Length` bytes, or with `END_STREAM`.
    Clean,
    /// The connection or stream broke before that.
    Truncated,
}

/// A push decoder: chunks of a body in, items out.
///
/// How the body is cut into chunks never changes the items. Failed answers never reach it: an
/// [`Exchange`](super::Exchange) takes those.
pub trait Decode {
    /// What comes out.
    type Item;

    /// Sets the bounds; called once, before anything else.
    fn begin(&mut self, limits: &Limits);

    /// The head of a successful answer.
    ///
    /// # Errors
    ///
    /// If such an answer cannot be decoded.
    fn handle_head(&mut self, _head: &http::response::Parts) -> Result<(), Error> {
        Ok(())
    }

    /// The next part of the body.
    ///
    /// # Errors
    ///
    /// Terminal: a limit, or a body that is not of the right form as a whole.
    fn handle_data(&mut self, chunk: Bytes) -> Result<(), Error>;

    /// The end of the body.
    ///
    /// # Errors
    ///
    /// If the body is not complete.
    fn handle_end(&mut self, end: End) -> Result<(), Error>;

    /// The next item. Items that were complete before a fault are still given.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Object`](crate::ErrorKind::Object) concerns one item of a stream: go on. Any other error is the end.
    fn poll_item(&mut self) -> Result<Option<Self::Item>, Error>;

    /// Whether undecoded input waits for [`poll_item`](Self::poll_item).
    fn has_items(&self) -> bool;

    /// Bytes held.
    fn buffered(&self) -> usize;

    /// Makes something of a failed answer, if that is a result too (a missing object, for instance).
    fn recover(&mut self, _failure: &Error) -> Option<Self::Item> {
        None
    }

    /// The call that continues this answer after its end: the next page of a list.
    fn follow_up(&mut self) -> Option<Call<Self>>
    where
        Self: Sized,
    {
        None
    }
}

/// A decoder that gives exactly one item, perhaps only after its [`follow_up`](Decode::follow_up)s: an answer
/// without an item goes on with the next call.
pub trait Unary: Decode {}

/// A decoder that gives any number of items.
pub trait Streaming: Decode {}
