//! Log lines.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use super::Lines;
use crate::call::{Decode, End, Streaming};
use crate::{Error, ErrorKind, Limits};

/// One line of a container's log. Bytes first: containers write what they like.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LogLine {
    line: Bytes,
}

impl LogLine {
    pub(crate) fn new(line: Bytes) -> Self {
        Self { line }
    }

    /// The line as the server sent it, without its newline.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.line
    }

    /// The line as text; bytes that are no UTF-8 become U+FFFD.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.line)
    }

    /// The line into its RFC 3339 timestamp and the rest, if `timestamps(true)` was asked for. A
    /// fragment at the start of a log (after `tail_lines`) has none.
    #[must_use]
    pub fn split_timestamp(&self) -> Option<(&str, Bytes)> {
        let space = memchr::memchr(b' ', &self.line)?;
        let stamp = self.line.get(..space)?;
        let digits = stamp.first_chunk::<20>()?;
        let shape = b"dddd-dd-ddTdd:dd:dd";
        let fits = shape.iter().zip(digits).all(|(want, got)| match want {
            b'd' => got.is_ascii_digit(),
            _ => want == got,
        });
        if !fits || !matches!(digits[19], b'.' | b'Z' | b'+' | b'-') {
            return None;
        }
        Some((
            std::str::from_utf8(stamp).ok()?,
            self.line.slice(space + 1..),
        ))
    }
}

/// The length only: a log may hold secrets.
impl fmt::Debug for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogLine({} bytes)", self.line.len())
    }
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// Decodes a log into lines, split at `\n` only. A last line without a newline is a line too. If
/// the connection breaks, the last line is given as far as it came and the stream ends with
/// [`ErrorKind::Truncated`]: a followed log does not end that way by itself.
#[derive(Clone)]
pub struct LogLines {
    lines: Lines,
    ended: bool,
    /// A last line that is cut off is dropped.
    whole: bool,
}

impl LogLines {
    /// A decoder without bounds until it is begun.
    #[must_use]
    pub fn new() -> Self {
        Self {
            lines: Lines::new(0),
            ended: false,
            whole: false,
        }
    }

    /// A decoder that drops a last line which is cut off, for who reads it again.
    pub(crate) fn whole() -> Self {
        Self {
            whole: true,
            ..Self::new()
        }
    }
}

impl Default for LogLines {
    fn default() -> Self {
        Self::new()
    }
}

impl Decode for LogLines {
    type Item = LogLine;

    fn begin(&mut self, limits: &Limits) {
        self.lines.set_max(limits.max_line);
    }

    fn handle_data(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.lines.push(chunk)
    }

    fn handle_end(&mut self, end: End) -> Result<(), Error> {
        self.ended = !self.whole || end == End::Clean;
        match end {
            End::Clean => Ok(()),
            End::Truncated => Err(Error::new(ErrorKind::Truncated, "the log was cut off")),
        }
    }

    fn poll_item(&mut self) -> Result<Option<LogLine>, Error> {
        let line = match self.lines.next_line()? {
            Some(line) => Some(line),
            None if self.ended => self.lines.finish(),
            None => None,
        };
        Ok(line.map(|line| LogLine { line }))
    }

    fn has_items(&self) -> bool {
        self.lines.has_input() || (self.ended && self.lines.buffered() > 0)
    }

    fn buffered(&self) -> usize {
        self.lines.buffered()
    }
}

impl Streaming for LogLines {}

impl fmt::Debug for LogLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLines")
            .field("lines", &self.lines)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &'static str) -> LogLine {
        LogLine { line: text.into() }
    }

    #[test]
    fn timestamps_are_told_from_text() {
        for stamp in [
            "2026-11-23T06:19:55Z",
            "2026-11-23T06:19:55.123456789Z",
            "2026-11-23T06:19:55+02:00",
            "2026-11-23T06:19:55-02:00",
        ] {
            let line = LogLine {
                line: format!("{stamp} two words").into(),
            };
            let split = line.split_timestamp().unwrap();
            assert_eq!(split, (stamp, "two words".into()));
        }
        for text in [
            "",
            "no timestamp",
            "2026-11-23T06:19:55Z",
            "2026-11-23T06:19:55 x",
            "2026-11-23T06:19:5 Z",
            "2o26-11-23T06:19:55Z x",
            "2026-11-23 06:19:55Z x",
            "2026/11/23T06:19:55Z x",
        ] {
            assert_eq!(line(text).split_timestamp(), None, "{text}");
        }
    }

    #[test]
    fn a_line_is_text_but_not_in_a_debug() {
        let line = line("a secret");
        assert_eq!(line.text(), "a secret");
        assert_eq!(format!("{line:?}"), "LogLine(8 bytes)");
        let mut lines = LogLines::new();
        lines.handle_data("a secret".into()).unwrap();
        let shown = format!("{lines:?}");
        assert!(shown.starts_with("LogLines {") && !shown.contains("secret"));
    }

    #[test]
    fn a_last_line_that_is_cut_off_counts_unless_it_is_read_again() {
        for (mut lines, end, last) in [
            (LogLines::new(), End::Clean, true),
            (LogLines::new(), End::Truncated, true),
            (LogLines::whole(), End::Clean, true),
            (LogLines::whole(), End::Truncated, false),
        ] {
            lines.begin(&Limits::default());
            lines.handle_data("one\ntwo".into()).unwrap();
            assert!(lines.has_items());
            assert_eq!(lines.buffered(), "one\ntwo".len());
            let one = lines.poll_item().unwrap().unwrap();
            assert_eq!((one.to_string(), &one), ("one".to_owned(), &line("one")));
            assert_eq!(
                (lines.poll_item().unwrap(), lines.has_items()),
                (None, false)
            );
            assert_eq!(lines.handle_end(end).is_ok(), end == End::Clean);
            assert_eq!(lines.has_items(), last);
            assert_eq!(lines.poll_item().unwrap(), last.then(|| line("two")));
            assert_eq!(
                (lines.poll_item().unwrap(), lines.has_items()),
                (None, false)
            );
        }
    }
}
