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
}

impl Lines {
    /// A splitter that refuses lines of more than `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            partial: BytesMut::new(),
            chunk: Bytes::new(),
            max,
        }
    }

    pub(crate) fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// Adds a chunk.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) when an unfinished line is too long.
    pub fn push(&mut self, chunk: Bytes) -> Result<(), Error> {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            let mut joined = BytesMut::with_capacity(self.chunk.len() + chunk.len());
            joined.extend_from_slice(&self.chunk);
            joined.extend_from_slice(&chunk);
            self.chunk = joined.freeze();
        }
        // An endless line shows here even if nobody asks for lines.
        if self.partial.len() > self.max {
            Err(too_long())
        } else {
            Ok(())
        }
    }

    /// The next complete line, without its `\n`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) when a line is too long. It repeats.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, Error> {
        if self.partial.len() > self.max {
            return Err(too_long());
        }
        if let Some(at) = memchr(b'\n', &self.chunk) {
            if self.partial.len() + at > self.max {
                return Err(too_long());
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
            // One byte over the limit is enough to know.
            let room = (self.max + 1).saturating_sub(self.partial.len());
            self.partial
                .extend_from_slice(&self.chunk[..self.chunk.len().min(room)]);
            self.chunk = Bytes::new();
            if self.partial.len() > self.max {
                return Err(too_long());
            }
        }
        Ok(None)
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
