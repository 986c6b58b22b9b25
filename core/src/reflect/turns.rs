//! The reflector: what follows what.

use std::time::{Duration, Instant};

use super::backoff::after;
use super::machine::{Ask, Out, Phase, Reflector};
use super::version::usable;
use super::{OnExpired, ReflectEvent, StaleReason};
use crate::call::End;
use crate::meta::ListMeta;
use crate::resource::Object;
use crate::stream::{Bookmark, WatchEvent};
use crate::{Error, ErrorKind};

/// A watch that ends sooner than this was not worth its request.
const SHORT: Duration = Duration::from_secs(1);
/// How many pages without items may follow each other at once. A selector may leave some empty.
const EMPTY_PAGES: u32 = 10;

impl<K: Object> Reflector<K> {
    /// How to read the whole collection.
    pub(super) fn first_ask(&self) -> Ask {
        if self.facts.no_streaming {
            self.first_page()
        } else {
            Ask::Stream
        }
    }

    /// In pages, unless pages have proven too slow.
    fn first_page(&self) -> Ask {
        Ask::Page {
            token: None,
            all: self.facts.restarts > self.config.max_restarts || self.facts.fruitless > 0,
        }
    }

    fn due(&mut self, ask: Ask, at: Option<Instant>, why: &'static str) {
        self.phase = Phase::Due { ask, at, why };
    }

    /// Reads the whole collection again, which after the first time is never "any" state.
    pub(super) fn relist(&mut self, at: Option<Instant>, why: &'static str) {
        self.facts.any &= !self.ready;
        self.facts.failures = 0;
        self.facts.mute = 0;
        let ask = self.first_ask();
        self.due(ask, at, why);
    }

    pub(super) fn tell_init(&mut self) {
        if !self.listing {
            self.listing = true;
            self.events.push_back(ReflectEvent::Init);
        }
    }

    fn init_done(&mut self, version: Option<String>) {
        self.tell_init();
        self.listing = false;
        self.ready = true;
        self.version = version;
        self.facts.any = false;
        self.facts.restarts = 0;
        self.facts.failures = 0;
        self.facts.empty_pages = 0;
        self.events.push_back(ReflectEvent::InitDone {
            resource_version: self.version.clone().unwrap_or_default(),
        });
        self.tell_fresh();
    }

    pub(super) fn tell_fresh(&mut self) {
        if self.stale.take().is_some() {
            self.events.push_back(ReflectEvent::Fresh);
        }
    }

    pub(super) fn tell_stale(&mut self, now: Instant, reason: StaleReason) {
        let since = self.stale.take().map_or(now, |(since, _)| since);
        self.stale = Some((since, reason.clone()));
        self.events.push_back(ReflectEvent::Stale(reason));
    }

    /// When to give up waiting for more.
    pub(super) fn deadline(&self, out: &Out) -> (Instant, &'static str) {
        let config = &self.config;
        let answer = after(out.heard, config.answer_timeout);
        if self.facts.tells_heads && !out.opened && !out.spoke {
            return (answer, "no answer has come");
        }
        match out.ask {
            Ask::Page { .. } => (answer, "the list is silent"),
            Ask::Stream if !out.opened && !out.spoke => (answer, "no answer has come"),
            Ask::Stream => {
                let pause = after(out.heard, config.stream_pause);
                let total = after(out.started, config.stream_timeout);
                (pause.min(total), "the streaming list does not end")
            }
            Ask::Watch => {
                let most = out.lasts.saturating_add(config.margin);
                let silence = if self.facts.sends_bookmarks {
                    most.min(config.bookmark_timeout)
                } else {
                    most
                };
                (after(out.heard, silence), "the watch is silent")
            }
        }
    }

    /// Nothing came for too long. The request is cancelled already.
    pub(super) fn timed_out(&mut self, out: &Out, now: Instant) {
        let after = now.saturating_duration_since(out.heard);
        match &out.ask {
            Ask::Stream if out.opened || out.spoke => self.stream_ignored(),
            Ask::Stream => {
                let at = self.row.failed(now, now, false, None);
                self.tell_stale(now, StaleReason::Silent { after });
                let ask = self.first_page();
                self.due(ask, Some(at), "list in pages after silence");
            }
            Ask::Page { .. } => {
                let at = self.row.failed(now, now, false, None);
                self.tell_stale(now, StaleReason::Silent { after });
                self.page_again(out, at);
            }
            Ask::Watch => {
                if !out.spoke && (out.opened || !self.facts.tells_heads) {
                    self.facts.mute += 1;
                }
                // Bookmarks that stopped are not counted on until there is one again.
                self.facts.sends_bookmarks = false;
                let at = self.row.failed(now, out.started, true, None).max(now);
                self.tell_stale(now, StaleReason::Silent { after });
                self.watch_again(at, now, "watch again after silence");
            }
        }
    }

    /// The server gives initial events, or nothing, but no end of them: it does not know streaming lists.
    fn stream_ignored(&mut self) {
        self.facts.ignored_streams += 1;
        self.facts.no_streaming |= self.facts.ignored_streams > 1;
        let ask = self.first_page();
        self.due(ask, None, "list in pages: streaming is ignored");
    }

    /// The same page once more, or the list once more if that does not help.
    fn page_again(&mut self, out: &Out, at: Instant) {
        self.facts.failures += 1;
        if self.facts.failures >= self.config.max_failures {
            // One page of all may be too much for the server.
            self.facts.restarts = 0;
            self.facts.fruitless = 0;
            self.relist(Some(at), "list again after failed pages");
        } else {
            self.due(out.ask.clone(), Some(at), "ask for the page again");
        }
    }

    /// Watches again from the same version, if there is one and that makes sense.
    fn watch_again(&mut self, at: Instant, now: Instant, why: &'static str) {
        let mute = self
            .config
            .mute_watches
            .is_some_and(|most| self.facts.mute >= most.max(1));
        if mute {
            self.tell_stale(now, StaleReason::Mute);
        }
        if mute || self.version.is_none() {
            self.relist(Some(at), "list again to be sure");
        } else {
            self.due(Ask::Watch, Some(at), why);
        }
    }

    pub(super) fn page_done(
        &mut self,
        out: &Out,
        token: Option<&str>,
        all: bool,
        meta: &ListMeta,
        now: Instant,
    ) {
        self.tell_init();
        if token.is_none() {
            self.list_version = usable(meta.resource_version.as_deref()).map(str::to_owned);
        }
        let Some(next) = meta.next_page() else {
            let version = self.list_version.take();
            self.init_done(version);
            self.due(Ask::Watch, None, "watch");
            return;
        };
        if token == Some(next) && out.items == 0 {
            let error = Error::peer("the list goes on for ever with the same continue token");
            let at = self.row.failed(now, now, false, None);
            self.tell_stale(now, StaleReason::Failed(error));
            self.facts.restarts += 1;
            self.relist(Some(at), "list again after an endless list");
            return;
        }
        self.facts.failures = 0;
        let ask = Ask::Page {
            token: Some(next.to_owned()),
            all,
        };
        if out.items > 0 {
            self.facts.empty_pages = 0;
        } else {
            self.facts.empty_pages += 1;
        }
        let at =
            (self.facts.empty_pages > EMPTY_PAGES).then(|| self.row.failed(now, now, false, None));
        self.due(ask, at, "ask for the next page");
    }

    /// An event before the end of a streaming list. Its versions come in any order.
    pub(super) fn initial_event(&mut self, event: WatchEvent<K>) {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                self.tell_init();
                self.events.push_back(ReflectEvent::InitApply(object));
            }
            WatchEvent::Deleted(object) => {
                self.tell_init();
                self.events.push_back(ReflectEvent::Delete(object));
            }
            WatchEvent::Bookmark(Bookmark {
                resource_version,
                initial_events_end: true,
            }) => {
                self.facts.ignored_streams = 0;
                self.init_done(usable(Some(&resource_version)).map(str::to_owned));
                if let Phase::Out(out) = &mut self.phase {
                    out.ask = Ask::Watch;
                    out.items = 0;
                }
            }
            // A server that knows streaming lists sends no other bookmark before their end.
            WatchEvent::Bookmark(_) => {
                if let Phase::Out(Out { id, .. }) = self.phase {
                    self.cancel(id);
                }
                self.stream_ignored();
            }
            WatchEvent::Unknown(_) => {}
        }
    }

    pub(super) fn live_event(&mut self, event: WatchEvent<K>) {
        self.facts.mute = 0;
        self.facts.failures = 0;
        self.facts.fruitless = 0;
        self.tell_fresh();
        // A watch without a version begins with events of any age: only a bookmark gives a version then.
        let versioned = self.version.is_some();
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                if versioned {
                    self.advance(object.meta().resource_version);
                }
                self.events.push_back(ReflectEvent::Apply(object));
            }
            WatchEvent::Deleted(object) => {
                if versioned {
                    self.advance(object.meta().resource_version);
                }
                self.events.push_back(ReflectEvent::Delete(object));
            }
            WatchEvent::Bookmark(bookmark) => {
                self.facts.sends_bookmarks = true;
                self.advance(Some(&bookmark.resource_version));
            }
            WatchEvent::Unknown(_) => {}
        }
    }

    /// An answer ended without an error.
    pub(super) fn ended(&mut self, out: &Out, end: End, now: Instant) {
        match &out.ask {
            Ask::Stream => {
                self.facts.failures += 1;
                let at = self.row.failed(now, out.started, true, None).max(now);
                self.tell_stale(now, StaleReason::Cut);
                let ask = self.stream_or_pages();
                self.due(ask, Some(at), "list again after a cut");
            }
            Ask::Page { .. } => {
                let at = self.row.failed(now, out.started, true, None).max(now);
                self.tell_stale(now, StaleReason::Cut);
                self.page_again(out, at);
            }
            Ask::Watch => self.watch_ended(out, end, now),
        }
    }

    fn watch_ended(&mut self, out: &Out, end: End, now: Instant) {
        let lived = now.saturating_duration_since(out.started);
        let enough = self.config.backoff.cap.min(out.lasts / 2);
        if lived >= enough {
            if !out.spoke {
                self.facts.mute += 1;
            } else if end == End::Clean {
                self.facts.fruitless = 0;
            }
            if end == End::Truncated {
                self.tell_stale(now, StaleReason::Cut);
            }
            self.watch_again(now, now, "watch again");
            return;
        }
        let free = end == End::Truncated || lived >= SHORT;
        let at = self.row.failed(now, out.started, free, None).max(now);
        if end == End::Truncated {
            self.tell_stale(now, StaleReason::Cut);
        } else if at > now {
            self.tell_stale(now, StaleReason::ShortLived { after: lived });
        }
        self.watch_again(at, now, "watch again after a short one");
    }

    /// A stream that fails time and again is given up for this once.
    fn stream_or_pages(&mut self) -> Ask {
        if self.facts.failures >= self.config.max_failures {
            self.facts.failures = 0;
            self.first_page()
        } else {
            self.first_ask()
        }
    }

    pub(super) fn failed(&mut self, out: &Out, error: Error, now: Instant) {
        if error.is_expired() {
            self.expired(out, error, now);
            return;
        }
        let too_large = is_too_large(&error);
        let code = error.code().map(|code| code.as_u16());
        let retry_after = error.retry_after();
        if out.ask == Ask::Stream && !out.spoke {
            match code {
                Some(400 | 405 | 406 | 415 | 422 | 501) => {
                    self.facts.no_streaming = true;
                    let ask = self.first_page();
                    self.due(ask, None, "list in pages: no streaming lists here");
                    return;
                }
                // The resource may be missing, or only its watch.
                Some(404) => {
                    let ask = self.first_page();
                    self.due(ask, None, "list in pages: no watch here");
                    return;
                }
                _ => {}
            }
        }
        let at = self.row.failed(now, now, false, retry_after);
        self.facts.any &= !too_large;
        let reason = if too_large {
            StaleReason::Behind(error.clone())
        } else if error.kind() == ErrorKind::Api {
            StaleReason::Refused(error.clone())
        } else {
            StaleReason::Failed(error.clone())
        };
        self.tell_stale(now, reason);
        match &out.ask {
            Ask::Stream => {
                self.facts.failures += 1;
                let ask = self.stream_or_pages();
                self.due(ask, Some(at), "list again after a failure");
            }
            // A token that the server does not understand.
            Ask::Page { token: Some(_), .. } if code == Some(400) => {
                self.relist(Some(at), "list again: the continue token is refused");
            }
            Ask::Page { .. } => self.page_again(out, at),
            Ask::Watch => self.watch_failed(&error, too_large, at, now),
        }
    }

    fn watch_failed(&mut self, error: &Error, too_large: bool, at: Instant, now: Instant) {
        let code = error.code().map_or(0, |code| code.as_u16());
        let fruitful = match error.kind() {
            ErrorKind::Api if too_large => false,
            ErrorKind::Api => match code {
                // Nothing is wrong with the version.
                401 | 403 | 408 | 429 | 503 | 504 => true,
                400..=499 => {
                    self.relist(Some(at), "list again: the watch is refused");
                    return;
                }
                _ => false,
            },
            ErrorKind::Transport
            | ErrorKind::Timeout
            | ErrorKind::Truncated
            | ErrorKind::Closed
            | ErrorKind::Config
            | ErrorKind::Credentials => true,
            ErrorKind::Usage | ErrorKind::Peer | ErrorKind::Object | ErrorKind::Limit => false,
        };
        if !fruitful {
            self.facts.failures += 1;
        }
        if self.facts.failures >= self.config.max_failures {
            self.relist(Some(at), "list again after failed watches");
        } else {
            self.watch_again(at, now, "watch again after a failure");
        }
    }

    /// 410, in any of its forms.
    fn expired(&mut self, out: &Out, error: Error, now: Instant) {
        let fresh = error
            .status()
            .and_then(|status| status.metadata.next_page())
            .map(str::to_owned);
        let retry_after = error.retry_after();
        // What lasted does not have to wait as long: the wait counts from its start.
        let at = self
            .row
            .failed(now, out.started, true, retry_after)
            .max(now);
        self.tell_stale(now, StaleReason::Expired(error));
        match &out.ask {
            Ask::Watch => {
                if !out.spoke {
                    self.facts.fruitless += 1;
                }
                self.relist(Some(at), "list again: the version is too old");
            }
            Ask::Stream => {
                self.facts.any = false;
                self.facts.failures += 1;
                let ask = self.stream_or_pages();
                self.due(ask, Some(at), "list again: the version is too old");
            }
            Ask::Page { token, all } => {
                if token.is_some()
                    && self.config.on_expired == OnExpired::GoOn
                    && fresh.is_some()
                    && fresh != *token
                {
                    let ask = Ask::Page {
                        token: fresh,
                        all: *all,
                    };
                    self.due(ask, Some(at), "go on with a fresh continue token");
                    return;
                }
                self.facts.any = false;
                self.facts.restarts += 1;
                if *all {
                    // It does not help: begin again with pages.
                    self.facts.restarts = 0;
                    self.facts.fruitless = 0;
                }
                let ask = self.first_page();
                self.due(ask, Some(at), "start the list again: its token is too old");
            }
        }
    }
}

fn is_too_large(error: &Error) -> bool {
    error.status().is_some_and(|status| {
        status.has_cause("ResourceVersionTooLarge")
            || (status.reason.as_deref() == Some("Timeout")
                && status
                    .message
                    .as_deref()
                    .is_some_and(|message| message.contains("Too large resource version")))
    })
}
