//! The machine that takes the answer to one request.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};

use super::{Call, Decode, End, Verb};
use crate::error::Failure;
use crate::meta::Status;
use crate::{Error, ErrorKind, Limits};

/// A `Warning` header of the API server: a deprecation, an unknown field, a policy's advice.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// 299 from a Kubernetes server.
    pub code: u16,
    /// Who warns; `-` from a Kubernetes server.
    pub agent: String,
    /// For people.
    pub text: String,
}

enum State {
    Head,
    Body,
    /// Collecting the body of a failed answer.
    Failure {
        code: StatusCode,
        retry_after: Option<Duration>,
        audit_id: Option<String>,
        body: BytesMut,
    },
    Done,
}

/// Takes the head, the body chunks and the end of an answer; gives items.
///
/// After each `handle_*`, drain [`poll_item`](Self::poll_item) before more data is fed; [`wants_data`](Self::wants_data)
/// is false until then. A failed answer becomes an [`ErrorKind::Api`] error, whatever its body is.
/// Terminal errors repeat; items that were complete before the fault come first.
#[must_use]
pub struct Exchange<D: Decode> {
    decoder: D,
    state: State,
    verb: Verb,
    max_error_body: usize,
    fault: Option<Error>,
    recovered: VecDeque<D::Item>,
    warnings: Vec<Warning>,
}

impl<D: Decode> Exchange<D> {
    pub(super) fn new(decoder: D, verb: Verb, limits: &Limits) -> Self {
        Self {
            decoder,
            state: State::Head,
            verb,
            max_error_body: limits.max_error_body,
            fault: None,
            recovered: VecDeque::new(),
            warnings: Vec::new(),
        }
    }

    /// The head of the answer. Interim (1xx) heads are the transport's business.
    ///
    /// # Errors
    ///
    /// If the answer cannot be decoded. The HTTP status code alone is no error yet: the body of a
    /// failed answer says why.
    pub fn handle_head(&mut self, head: &http::response::Parts) -> Result<(), Error> {
        self.check()?;
        if !matches!(self.state, State::Head) {
            return self.fail(Error::usage("the head of this answer was handled before"));
        }
        self.warnings = head
            .headers
            .get_all(header::WARNING)
            .iter()
            .flat_map(|value| warnings(value.as_bytes()))
            .collect();
        if head.status.is_success() {
            if let Some(coding) = head.headers.get(header::CONTENT_ENCODING)
                && !coding.as_bytes().eq_ignore_ascii_case(b"identity")
            {
                return self.fail(Error::peer(
                    "the answer has a content coding that was not asked for",
                ));
            }
            self.state = State::Body;
            let result = self.decoder.handle_head(head);
            return result.or_else(|error| self.fail(error));
        }
        self.state = State::Failure {
            code: head.status,
            retry_after: retry_after(&head.headers),
            audit_id: head
                .headers
                .get("audit-id")
                .and_then(|id| Some(id.to_str().ok()?.to_owned())),
            body: BytesMut::new(),
        };
        Ok(())
    }

    /// The next part of the body, decoded from its transfer coding. Parts may be of any size; an empty one is nothing.
    ///
    /// # Errors
    ///
    /// Terminal. Items that were complete before can still be polled.
    pub fn handle_data(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.check()?;
        match &mut self.state {
            State::Body => {
                if chunk.is_empty() {
                    return Ok(());
                }
                let result = self.decoder.handle_data(chunk);
                result.or_else(|error| self.fail(error))
            }
            State::Failure { body, .. } => {
                let room = self.max_error_body.saturating_sub(body.len());
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                Ok(())
            }
            State::Head => self.fail(Error::usage("body data came before the head")),
            State::Done => self.fail(Error::usage("body data came after the end")),
        }
    }

    /// The end of the body.
    ///
    /// # Errors
    ///
    /// The failure that the server answered with, or that the body is not complete.
    pub fn handle_end(&mut self, end: End) -> Result<(), Error> {
        self.check()?;
        match std::mem::replace(&mut self.state, State::Done) {
            State::Body => {
                let result = self.decoder.handle_end(end);
                result.or_else(|error| self.fail(error))
            }
            State::Failure {
                code,
                retry_after,
                audit_id,
                body,
            } => {
                let body = body.freeze();
                let status = Status::from_slice(&body).filter(Status::is_failure);
                let retry_after = retry_after.or_else(|| status.as_ref()?.retry_after());
                let error = Error::api(Failure {
                    code,
                    status,
                    body,
                    retry_after,
                    audit_id,
                });
                if let Some(item) = self.decoder.recover(&error) {
                    self.recovered.push_back(item);
                    return Ok(());
                }
                self.fail(error)
            }
            State::Head => self.fail(Error::new(
                ErrorKind::Truncated,
                "the connection ended before an answer came",
            )),
            State::Done => Ok(()),
        }
    }

    /// The next item, if one is complete.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Object`] concerns one item of a stream; go on polling. Any other error is terminal and repeats.
    pub fn poll_item(&mut self) -> Result<Option<D::Item>, Error> {
        if let Some(item) = self.recovered.pop_front() {
            return Ok(Some(item));
        }
        match self.decoder.poll_item() {
            Ok(Some(item)) => Ok(Some(item)),
            Ok(None) => self.check().map(|()| None),
            Err(error) if error.kind() == ErrorKind::Object => Err(error),
            Err(error) => {
                self.fault.get_or_insert(error);
                self.check().map(|()| None)
            }
        }
    }

    /// False while items wait to be polled, after the end, and after a fault.
    pub fn wants_data(&self) -> bool {
        !matches!(self.state, State::Done) && self.fault.is_none() && !self.decoder.has_items()
    }

    /// Whether the body has ended and every item was polled.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done) && !self.decoder.has_items() && self.recovered.is_empty()
    }

    /// The `Warning` headers of the answer.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// What the call does.
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// The decoder, which may know more than its items (a list's metadata).
    pub fn decoder(&self) -> &D {
        &self.decoder
    }

    /// Bytes held. At most one chunk more than [`Limits`] allows for the kind of answer.
    pub fn buffered(&self) -> usize {
        let own = match &self.state {
            State::Failure { body, .. } => body.len(),
            State::Head | State::Body | State::Done => 0,
        };
        own + self.decoder.buffered()
    }

    /// After the end: the call that continues this answer (the next page of a list), if there is one.
    pub fn follow_up(&mut self) -> Option<Call<D>> {
        if !self.is_done() || self.fault.is_some() {
            return None;
        }
        self.decoder.follow_up()
    }

    fn check(&self) -> Result<(), Error> {
        self.fault.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, error: Error) -> Result<(), Error> {
        self.fault = Some(error.clone());
        self.state = State::Done;
        Err(error)
    }
}

impl<D: Decode> fmt::Debug for Exchange<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("verb", &self.verb)
            .field("buffered", &self.buffered())
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

/// Whole seconds only: API servers send nothing else.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

/// Parses the value of one `Warning` header line: `299 - "text"`, several of them separated by
/// commas (RFC 7234 section 5.5). What does not parse is left out.
fn warnings(value: &[u8]) -> Vec<Warning> {
    fn one(input: &str) -> Option<(Warning, &str)> {
        let (code, rest) = input.split_once(' ')?;
        let code = code.parse().ok().filter(|_| code.len() == 3)?;
        let (agent, rest) = rest.split_once(' ')?;
        let mut chars = rest.strip_prefix('"')?.char_indices();
        let mut text = String::new();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    let rest = &rest[at + 2..];
                    return Some((
                        Warning {
                            code,
                            agent: agent.to_owned(),
                            text,
                        },
                        rest,
                    ));
                }
                '\\' => text.push(chars.next()?.1),
                _ => text.push(char),
            }
        }
        None
    }
    let value = String::from_utf8_lossy(value);
    let mut rest = value.trim();
    let mut found = Vec::new();
    while let Some((warning, after)) = one(rest) {
        found.push(warning);
        // An optional date in quotes, which holds a comma, may follow the text.
        let after = after.trim_start();
        let after = after
            .strip_prefix('"')
            .and_then(|date| Some(date.split_once('"')?.1))
            .unwrap_or(after);
        rest = after.split_once(',').map_or("", |(_, next)| next.trim());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_unquoted_and_split() {
        let found = warnings(
            br#"299 - "unknown field \"a, b\"", 299 agent "two" "Mon, 23 Nov 2026 06:19:17 GMT", 199 - """#,
        );
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!((found[2].code, found[2].text.as_str()), (199, ""));
        assert_eq!(found[0].text, "unknown field \"a, b\"");
        assert_eq!(
            (found[1].agent.as_str(), found[1].text.as_str()),
            ("agent", "two")
        );
        for garbage in [
            &b""[..],
            b"299",
            b"299 -",
            b"299 - \"open",
            b"299 - \"a\\",
            b"abc - \"x\"",
            b"\xff\xff",
        ] {
            assert_eq!(warnings(garbage), [], "{garbage:?}");
        }
    }
}
