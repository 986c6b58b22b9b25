//! A bounded newline splitter.

use std::fmt;

use bytes::{Bytes, BytesMut};
use memchr::memchr;

use crate::Error;

/// Splits a body into lines at `\n`, and only there.
///
/// A line inside one chunk is a slice of it, without a copy; a line over several chunks is joined.
/// No byte is looked at twice. A line that is kept keeps its chunk alive: copy it if it is to stay.
///
/// ```
/// let mut lines = kubewire::stream::Lines::new(1024);
/// lines.push("one\ntw".into())?;
/// assert_eq!(lines.next_line()?.unwrap(), "one");
/// assert_eq!(lines.next_line()?, None);
/// lines.push("o\n".into())?;
/// assert_eq!(lines.next_line()?.unwrap(), "two");
/// assert_eq!(lines.finish(), None);
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone)]
pub struct Lines {
    /// The start of a line whose end has not come.
    partial: BytesMut,
    /// What follows it, not yet searched.
    chunk: Bytes,
    max: usize,
    /// A line was too long. Nothing is taken or held any more.
    failed: bool,
}

impl Lines {
    /// A splitter that refuses lines of more than `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            partial: BytesMut::new(),
            chunk: Bytes::new(),
            max,
            failed: false,
        }
    }

    pub(crate) fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// Adds a chunk.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) after a line was too long.
    pub fn push(&mut self, chunk: Bytes) -> Result<(), Error> {
        if self.failed {
            return Err(too_long());
        }
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            let mut joined = BytesMut::with_capacity(self.chunk.len() + chunk.len());
            joined.extend_from_slice(&self.chunk);
            joined.extend_from_slice(&chunk);
            self.chunk = joined.freeze();
        }
        Ok(())
    }

    /// The next complete line, without its `\n`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) when a line is too long. It repeats.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, Error> {
        if self.failed {
            return Err(too_long());
        }
        if let Some(at) = memchr(b'\n', &self.chunk) {
            if self.partial.len() + at > self.max {
                return Err(self.fail());
            }
            let mut line = self.chunk.split_to(at + 1);
            line.truncate(at);
            if self.partial.is_empty() {
                return Ok(Some(line));
            }
            self.partial.extend_from_slice(&line);
            return Ok(Some(self.partial.split().freeze()));
        }
        if !self.chunk.is_empty() {
            if self.chunk.len() > self.max.saturating_sub(self.partial.len()) {
                return Err(self.fail());
            }
            self.partial.extend_from_slice(&self.chunk);
            self.chunk = Bytes::new();
        }
        Ok(None)
    }

    fn fail(&mut self) -> Error {
        self.failed = true;
        self.partial = BytesMut::new();
        self.chunk = Bytes::new();
        too_long()
    }

    /// Whether searching for a line may give one.
    #[must_use]
    pub fn has_input(&self) -> bool {
        !self.chunk.is_empty()
    }

    /// After the last line: what follows the last `\n`, if anything does.
    pub fn finish(&mut self) -> Option<Bytes> {
        (!self.partial.is_empty()).then(|| self.partial.split().freeze())
    }

    /// Bytes held.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.partial.len() + self.chunk.len()
    }
}

fn too_long() -> Error {
    Error::limit("a line is longer than Limits::max_line")
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("buffered", &self.buffered())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_ends_the_splitter_and_holds_nothing() {
        let mut unbounded = Lines::new(usize::MAX);
        unbounded.push(Bytes::from_static(b"a")).unwrap();
        assert_eq!(
            unbounded.next_line().unwrap(),
            None,
            "and does not overflow"
        );
        for body in [&b"ab\nlonger\nc"[..], b"ab\nlonger"] {
            let mut lines = Lines::new(3);
            lines.push(Bytes::copy_from_slice(body)).unwrap();
            assert_eq!(lines.next_line().unwrap().unwrap(), "ab");
            lines.next_line().unwrap_err();
            // Found by the fuzz target `lines`: this was taken, and held.
            lines.push(Bytes::from_static(b"more\n")).unwrap_err();
            lines.next_line().unwrap_err();
            assert_eq!((lines.buffered(), lines.has_input()), (0, false));
            assert_eq!(lines.finish(), None);
        }
    }

    #[test]
    fn a_line_may_be_exactly_as_long_as_allowed() {
        for pieces in [&["abc\nd"][..], &["a", "bc\nd"], &["abc", "\n", "d"]] {
            let mut lines = Lines::new(3);
            let mut got = Vec::new();
            for piece in pieces {
                lines.push(Bytes::from_static(piece.as_bytes())).unwrap();
                assert!(lines.has_input());
                got.extend(lines.next_line().unwrap());
            }
            assert_eq!(got, ["abc"], "{pieces:?}");
            assert_eq!(lines.buffered(), 1);
            assert_eq!(format!("{lines:?}"), "Lines { buffered: 1, .. }");
            assert_eq!(lines.next_line().unwrap(), None);
            assert_eq!(lines.finish().unwrap(), "d");
        }
    }
}
