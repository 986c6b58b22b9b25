//! Bodies of any kind, as they come or line by line.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;

use super::Lines;
use crate::call::{Decode, End, Streaming};
use crate::{Error, ErrorKind, Limits};

/// A body line by line, split at `\n` only. A last line without a newline is a line too; if the body
/// is cut off it is given as far as it came, before the error.
///
/// ```
/// use kubewire::{Call, End, Limits, Operation};
/// let (_, mut exchange) = Call::raw(http::Method::GET, "/metrics").lines().into_call()?.begin(&Limits::default());
/// exchange.handle_head(&http::Response::new(()).into_parts().0)?;
/// exchange.handle_data("one 1\ntw".into())?;
/// assert_eq!(exchange.poll_item()?.unwrap(), "one 1");
/// assert_eq!(exchange.poll_item()?, None);
/// exchange.handle_data("o 2".into())?;
/// exchange.handle_end(End::Clean)?;
/// assert_eq!(exchange.poll_item()?.unwrap(), "two 2");
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone)]
pub struct TextLines {
    lines: Lines,
    ended: bool,
}

impl Default for TextLines {
    fn default() -> Self {
        Self {
            lines: Lines::new(0),
            ended: false,
        }
    }
}

impl Decode for TextLines {
    type Item = Bytes;

    fn begin(&mut self, limits: &Limits) {
        self.lines.set_max(limits.max_line);
    }

    fn handle_data(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.lines.push(chunk)
    }

    fn handle_end(&mut self, end: End) -> Result<(), Error> {
        self.ended = true;
        complete(end)
    }

    fn poll_item(&mut self) -> Result<Option<Bytes>, Error> {
        Ok(match self.lines.next_line()? {
            None if self.ended => self.lines.finish(),
            line => line,
        })
    }

    fn has_items(&self) -> bool {
        self.lines.has_input() || (self.ended && self.lines.buffered() > 0)
    }

    fn buffered(&self) -> usize {
        self.lines.buffered()
    }
}

impl Streaming for TextLines {}

impl fmt::Debug for TextLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextLines")
            .field("lines", &self.lines)
            .finish_non_exhaustive()
    }
}

/// A body as it comes: pieces of any size, without a bound on the whole.
///
/// ```
/// use kubewire::{Call, Limits, Operation};
/// let (_, mut exchange) = Call::raw(http::Method::GET, "/openapi/v2").chunks().into_call()?.begin(&Limits::default());
/// exchange.handle_head(&http::Response::new(()).into_parts().0)?;
/// exchange.handle_data("{\"swagger\":".into())?;
/// assert_eq!(exchange.poll_item()?.unwrap(), "{\"swagger\":");
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Chunks {
    ready: VecDeque<Bytes>,
}

impl Decode for Chunks {
    type Item = Bytes;

    fn begin(&mut self, _: &Limits) {}

    fn handle_data(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.ready.push_back(chunk);
        Ok(())
    }

    fn handle_end(&mut self, end: End) -> Result<(), Error> {
        complete(end)
    }

    fn poll_item(&mut self) -> Result<Option<Bytes>, Error> {
        Ok(self.ready.pop_front())
    }

    fn has_items(&self) -> bool {
        !self.ready.is_empty()
    }

    fn buffered(&self) -> usize {
        self.ready.iter().map(Bytes::len).sum()
    }
}

impl Streaming for Chunks {}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks")
            .field("buffered", &self.buffered())
            .finish_non_exhaustive()
    }
}

fn complete(end: End) -> Result<(), Error> {
    match end {
        End::Clean => Ok(()),
        End::Truncated => Err(Error::new(ErrorKind::Truncated, "the answer was cut off")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_line_needs_no_newline() {
        for end in [End::Clean, End::Truncated] {
            let mut lines = TextLines::default();
            lines.begin(&Limits::default());
            lines.handle_data("one\ntwo".into()).unwrap();
            assert!(lines.has_items());
            assert_eq!(lines.poll_item().unwrap().unwrap(), "one");
            assert_eq!(
                (lines.poll_item().unwrap(), lines.has_items()),
                (None, false)
            );
            assert_eq!(lines.handle_end(end).is_ok(), end == End::Clean);
            assert!(lines.has_items());
            assert_eq!(lines.poll_item().unwrap().unwrap(), "two");
            assert_eq!(
                (lines.poll_item().unwrap(), lines.has_items()),
                (None, false)
            );
        }
    }

    #[test]
    fn lines_are_as_long_as_the_limit_at_most() {
        let mut lines = TextLines::default();
        lines.begin(&Limits {
            max_line: 3,
            ..Limits::default()
        });
        lines.handle_data("abc\nabcd\n".into()).unwrap();
        assert_eq!(lines.poll_item().unwrap().unwrap(), "abc");
        assert_eq!(lines.poll_item().unwrap_err().kind(), ErrorKind::Limit);
    }

    #[test]
    fn pieces_come_as_they_are_and_an_end_that_is_missing_is_told() {
        let mut chunks = Chunks::default();
        assert!(!chunks.has_items());
        chunks.handle_data("one".into()).unwrap();
        chunks.handle_data("two2".into()).unwrap();
        assert_eq!((chunks.has_items(), chunks.buffered()), (true, 7));
        assert_eq!(chunks.poll_item().unwrap().unwrap(), "one");
        assert_eq!(chunks.buffered(), 4);
        assert!(chunks.handle_end(End::Clean).is_ok());
        let error = chunks.handle_end(End::Truncated).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated);
        let error = TextLines::default().handle_end(End::Truncated).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated);
    }

    #[test]
    fn a_line_that_has_begun_is_held() {
        let mut lines = TextLines::default();
        lines.begin(&Limits::default());
        lines.handle_data("one".into()).unwrap();
        assert_eq!((lines.poll_item().unwrap(), lines.buffered()), (None, 3));
    }
}
