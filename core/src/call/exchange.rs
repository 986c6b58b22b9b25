//! The machine that takes the answer to one request.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::gzip::Gunzip;
use super::headers::{Warning, retry_after, warnings};
use super::{Call, Decode, End, Verb};
use crate::error::Failure;
use crate::meta::Status;
use crate::{Error, ErrorKind, Limits};

enum State {
    Head,
    Body,
    /// Collecting the body of a failed answer.
    Failure {
        code: StatusCode,
        retry_after: Option<Duration>,
        body: BytesMut,
    },
    Done,
}

/// Takes the head, the body chunks and the end of an answer; gives items.
///
/// After each `handle_*`, drain [`poll_item`](Self::poll_item) before more data is fed; [`wants_data`](Self::wants_data)
/// is false until then. A failed answer becomes an [`ErrorKind::Api`] error, whatever its body is.
/// Terminal errors repeat; items that were complete before the fault come first.
///
/// A body in gzip is inflated in small pieces as items are polled, so that a few bytes that stand for gigabytes meet
/// [`Limits`] and not the memory.
#[must_use]
pub struct Exchange<D: Decode> {
    decoder: D,
    state: State,
    verb: Verb,
    /// Whether the request was a POST: some failures mean something else then.
    posted: bool,
    gzip: Option<Gunzip>,
    /// How the compressed body ended, while some of it is still to be inflated.
    ending: Option<End>,
    max_error_body: usize,
    fault: Option<Error>,
    recovered: VecDeque<D::Item>,
    warnings: Vec<Warning>,
    audit_id: Option<HeaderValue>,
    /// The `Content-Type`, if it is not JSON.
    odd_type: Option<HeaderValue>,
}

impl<D: Decode> Exchange<D> {
    pub(super) fn new(decoder: D, verb: Verb, method: &Method, limits: &Limits) -> Self {
        Self {
            decoder,
            state: State::Head,
            verb,
            posted: method == Method::POST,
            gzip: None,
            ending: None,
            max_error_body: limits.max_error_body,
            fault: None,
            recovered: VecDeque::new(),
            warnings: Vec::new(),
            audit_id: None,
            odd_type: None,
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
        self.audit_id = head.headers.get("audit-id").cloned();
        let coding = coding(&head.headers);
        if coding == Coding::Gzip {
            self.gzip = Some(Gunzip::new());
        }
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.fail(Error::peer(
                "the server left HTTP for another protocol, which was not asked for",
            ));
        }
        if head.status.is_success() {
            if coding == Coding::Unknown {
                return self.fail(Error::peer(
                    "the answer has a content coding that was not asked for",
                ));
            }
            self.odd_type = odd_type(&head.headers);
            self.state = State::Body;
            let result = self.decoder.handle_head(head);
            return result.or_else(|error| self.fail(error));
        }
        self.state = State::Failure {
            code: head.status,
            retry_after: retry_after(&head.headers),
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
            State::Body if self.ending.is_none() => match &mut self.gzip {
                None if chunk.is_empty() => Ok(()),
                None => {
                    let result = self.decoder.handle_data(chunk);
                    result.or_else(|error| self.fail(error))
                }
                Some(gzip) => {
                    gzip.push(chunk);
                    let result = self.inflate();
                    result.or_else(|error| self.fail(error))
                }
            },
            State::Failure { body, .. } => {
                let max = self.max_error_body;
                match &mut self.gzip {
                    None => keep(body, &chunk, max),
                    Some(gzip) => {
                        gzip.push(chunk);
                        // What is wrong with the body of a failure matters less than the failure.
                        while let (true, Ok(Some(piece))) = (body.len() < max, gzip.pull()) {
                            keep(body, &piece, max);
                        }
                        gzip.discard();
                    }
                }
                Ok(())
            }
            State::Head => self.fail(Error::usage("body data came before the head")),
            State::Body | State::Done => self.fail(Error::usage("body data came after the end")),
        }
    }

    /// Gives the decoder as much of the compressed input as makes an item.
    fn inflate(&mut self) -> Result<(), Error> {
        let Some(gzip) = &mut self.gzip else {
            return Ok(());
        };
        while !self.decoder.has_items() {
            if let Some(piece) = gzip.pull()? {
                self.decoder.handle_data(piece)?;
                continue;
            }
            let Some(end) = self.ending.take() else {
                break;
            };
            self.state = State::Done;
            let whole = gzip.is_complete();
            return self
                .decoder
                .handle_end(if whole { end } else { End::Truncated });
        }
        Ok(())
    }

    /// The end of the body.
    ///
    /// # Errors
    ///
    /// The failure that the server answered with, or that the body is not complete.
    pub fn handle_end(&mut self, end: End) -> Result<(), Error> {
        self.check()?;
        match std::mem::replace(&mut self.state, State::Done) {
            State::Body if self.gzip.is_some() => {
                self.state = State::Body;
                self.ending.get_or_insert(end);
                let result = self.inflate();
                result.or_else(|error| self.fail(error))
            }
            State::Body => {
                let result = self.decoder.handle_end(end);
                result.or_else(|error| self.fail(error))
            }
            State::Failure {
                code,
                retry_after,
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
                    audit_id: self.audit_id().map(str::to_owned),
                })
                .posted(self.posted);
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
        loop {
            match self.decoder.poll_item() {
                Ok(Some(item)) => return Ok(Some(item)),
                Ok(None) if self.fault.is_none() && self.has_compressed() => {
                    if let Err(error) = self.inflate() {
                        let _ = self.fail(error);
                    }
                }
                Ok(None) => return self.check().map(|()| None),
                Err(error) if error.kind() == ErrorKind::Object && self.odd_type.is_none() => {
                    return Err(error);
                }
                Err(error) => {
                    let error = self.explain(error);
                    self.fault.get_or_insert(error);
                    return self.check().map(|()| None);
                }
            }
        }
    }

    /// Whether there is input that was not inflated yet, or an end that was not reached.
    fn has_compressed(&self) -> bool {
        matches!(self.state, State::Body)
            && self
                .gzip
                .as_ref()
                .is_some_and(|gzip| gzip.has_input() || self.ending.is_some())
    }

    /// False while items wait to be polled, after the end, and after a fault.
    pub fn wants_data(&self) -> bool {
        !matches!(self.state, State::Done)
            && self.fault.is_none()
            && !self.decoder.has_items()
            && !self.has_compressed()
    }

    /// Whether the body has ended and every item was polled.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done) && !self.decoder.has_items() && self.recovered.is_empty()
    }

    /// The `Warning` headers of the answer.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The `Audit-Id` of the answer, by which a cluster's audit log can be searched.
    pub fn audit_id(&self) -> Option<&str> {
        self.audit_id.as_ref()?.to_str().ok()
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
        let compressed = self.gzip.as_ref().map_or(0, Gunzip::buffered);
        own + compressed + self.decoder.buffered()
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

    /// An answer that does not decode is often somebody else's: a login page, a load balancer's excuse.
    fn explain(&self, error: Error) -> Error {
        match self.odd_type.as_ref().and_then(|odd| odd.to_str().ok()) {
            Some(odd) if matches!(error.kind(), ErrorKind::Peer | ErrorKind::Object) => {
                let odd: String = odd.chars().take(80).collect();
                Error::peer(format!(
                    "the answer cannot be decoded, its content type is {odd}"
                ))
                .with_source(error)
            }
            _ => error,
        }
    }

    fn fail(&mut self, error: Error) -> Result<(), Error> {
        let error = self.explain(error);
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

/// Adds to what is kept of a failure's body.
fn keep(body: &mut BytesMut, chunk: &[u8], max: usize) {
    let room = max.saturating_sub(body.len());
    body.extend_from_slice(&chunk[..chunk.len().min(room)]);
}

fn odd_type(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(header::CONTENT_TYPE)?;
    let json = value
        .to_str()
        .is_ok_and(|text| text.to_ascii_lowercase().contains("json"));
    (!json).then(|| value.clone())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
    Unknown,
}

fn coding(headers: &HeaderMap) -> Coding {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let is = |value: &[u8], name: &str| value.eq_ignore_ascii_case(name.as_bytes());
    match (
        codings.next().map(|value| value.as_bytes().trim_ascii()),
        codings.next(),
    ) {
        (None, _) => Coding::Identity,
        (Some(value), None) if value.is_empty() || is(value, "identity") => Coding::Identity,
        (Some(value), None) if is(value, "gzip") || is(value, "x-gzip") => Coding::Gzip,
        (Some(_), _) => Coding::Unknown,
    }
}
