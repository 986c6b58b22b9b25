//! The reflector: its face.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use super::backoff::Row;
use super::version::{is_older, usable};
use super::{Answer, ReflectEvent, ReflectorConfig, StaleReason, Want, WantId};
use crate::call::End;
use crate::meta::ListMeta;
use crate::resource::Object;
use crate::stream::WatchEvent;
use crate::{Api, Error, ErrorKind, Namespace};

/// What to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// The whole collection, as the beginning of a watch.
    Stream,
    /// A page.
    Page { token: Option<String>, all: bool },
    /// Changes.
    Watch,
}

/// A request that is out.
#[derive(Clone, Debug)]
pub(super) struct Out {
    pub(super) id: WantId,
    pub(super) ask: Ask,
    pub(super) started: Instant,
    /// When something came last.
    pub(super) heard: Instant,
    pub(super) opened: bool,
    /// Whether an event or a bookmark came, or an item.
    pub(super) spoke: bool,
    pub(super) items: u64,
    /// How long the server was asked to go on.
    pub(super) lasts: Duration,
}

#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Something is to be asked for, now or later.
    Due {
        ask: Ask,
        at: Option<Instant>,
        why: &'static str,
    },
    Out(Out),
}

/// Keeps a consumer up to date about a collection: lists it, watches it, and goes on whatever
/// happens. See the [module](super) for the states and for what to do with it.
///
/// What it holds does not grow with the collection: objects are handed on as they come.
#[must_use = "a machine does nothing by itself"]
pub struct Reflector<K> {
    pub(super) api: Api<K>,
    pub(super) namespace: Option<String>,
    pub(super) config: ReflectorConfig,
    pub(super) phase: Phase,
    pub(super) row: Row,
    last_id: u64,
    cancelled: Option<WantId>,
    pub(super) events: VecDeque<ReflectEvent<K>>,
    /// From where a watch goes on.
    pub(super) version: Option<String>,
    /// The version of the list's first page.
    pub(super) list_version: Option<String>,
    /// Whether the consumer was told of a new set that is not complete.
    pub(super) listing: bool,
    pub(super) ready: bool,
    pub(super) stale: Option<(Instant, StaleReason)>,
    pub(super) facts: Facts,
}

/// What was learnt of the server, and how often something went wrong.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent")]
pub(super) struct Facts {
    pub(super) no_streaming: bool,
    pub(super) ignored_streams: u32,
    pub(super) sends_bookmarks: bool,
    /// The driver tells of heads.
    pub(super) tells_heads: bool,
    /// The first list may be any state.
    pub(super) any: bool,
    pub(super) restarts: u32,
    /// Lists in a row whose version had expired when the watch began.
    pub(super) fruitless: u32,
    pub(super) failures: u32,
    pub(super) mute: u32,
    pub(super) empty_pages: u32,
}

impl<K: Object> Reflector<K> {
    /// A reflector of a collection. `seed` is random: it keeps clients apart that fail at the same time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] if the requests cannot be built, for instance because `api` inherits
    /// its namespace: see [`new_in`](Self::new_in).
    pub fn new(api: Api<K>, config: ReflectorConfig, seed: u64) -> Result<Self, Error> {
        Self::build(api, None, config, seed)
    }

    /// As [`new`](Self::new), with the namespace for an `api` that inherits it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] if the requests cannot be built.
    pub fn new_in(
        api: Api<K>,
        namespace: &str,
        config: ReflectorConfig,
        seed: u64,
    ) -> Result<Self, Error> {
        Self::build(api, Some(namespace.to_owned()), config, seed)
    }

    fn build(
        api: Api<K>,
        namespace: Option<String>,
        config: ReflectorConfig,
        seed: u64,
    ) -> Result<Self, Error> {
        let facts = Facts {
            no_streaming: config.list_mode == super::ListMode::Paged,
            any: config.freshness == super::Freshness::Any,
            ..Facts::default()
        };
        let mut reflector = Self {
            row: Row::new(config.backoff.clone(), seed),
            api,
            namespace,
            config,
            phase: Phase::Due {
                ask: Ask::Watch,
                at: None,
                why: "",
            },
            last_id: 0,
            cancelled: None,
            events: VecDeque::new(),
            version: None,
            list_version: None,
            listing: false,
            ready: false,
            stale: None,
            facts,
        };
        drop(reflector.request(&Ask::Watch, Duration::ZERO)?);
        reflector.phase = Phase::Due {
            ask: reflector.first_ask(),
            at: None,
            why: "start",
        };
        Ok(reflector)
    }

    /// The request to carry, if one is to be made now. Only one is ever outstanding: whatever was carried under an
    /// earlier id may be dropped.
    #[must_use = "a want that is dropped is only made again after a timeout"]
    pub fn poll_want(&mut self, now: Instant) -> Option<(WantId, Want<K>)> {
        let Phase::Due { ask, at, .. } = &self.phase else {
            return None;
        };
        if at.is_some_and(|at| at > now) {
            return None;
        }
        let ask = ask.clone();
        let (min, max) = self.config.watch_seconds;
        let spread = Duration::from_secs(u64::from(max.saturating_sub(min)));
        let seconds = u64::from(min) + self.row.rng.up_to(spread).as_secs();
        let lasts = Duration::from_secs(seconds.max(1));
        match self.request(&ask, lasts) {
            Ok(want) => {
                self.last_id += 1;
                let id = WantId(self.last_id);
                if matches!(ask, Ask::Stream | Ask::Page { token: None, .. }) {
                    self.listing = false;
                }
                self.phase = Phase::Out(Out {
                    id,
                    ask,
                    started: now,
                    heard: now,
                    opened: false,
                    spoke: false,
                    items: 0,
                    lasts,
                });
                Some((id, want))
            }
            Err(error) => {
                // Only a token can make a request wrong that was built before.
                let at = self.row.failed(now, now, false, None);
                self.tell_stale(now, StaleReason::Failed(error));
                self.relist(Some(at), "the request cannot be built");
                None
            }
        }
    }

    /// A request that the machine has given up: stop carrying it. Take this before [`poll_want`](Self::poll_want).
    #[must_use]
    pub fn poll_cancel(&mut self) -> Option<WantId> {
        self.cancelled.take()
    }

    /// What to tell.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<ReflectEvent<K>> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next, and what will be the matter then.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match &self.phase {
            Phase::Due { at, why, .. } => at.map(|at| (at, *why)),
            Phase::Out(out) => Some(self.deadline(out)),
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Phase::Out(out) = &self.phase else {
            return;
        };
        if self.deadline(out).0 > now {
            return;
        }
        self.cancelled = Some(out.id);
        let out = out.clone();
        self.timed_out(&out, now);
    }

    /// A part of the answer, as [`Want`] decodes it: calls the method for it.
    pub fn handle_answer(&mut self, id: WantId, answer: Answer<K>, now: Instant) {
        match answer {
            Answer::Opened => self.handle_opened(id, now),
            Answer::Item(object) => self.handle_item(id, object, now),
            Answer::Page(meta) => self.handle_page(id, &meta, now),
            Answer::Event(event) => self.handle_event(id, event, now),
            Answer::Ended(end) => self.handle_end(id, Ok(end), now),
        }
    }

    /// The head of a successful answer. A driver that never tells is served as well, only later.
    pub fn handle_opened(&mut self, id: WantId, now: Instant) {
        self.facts.tells_heads = true;
        let Some(out) = self.answer(id, now) else {
            return;
        };
        out.opened = true;
        if out.ask == Ask::Watch {
            self.tell_fresh();
        }
    }

    /// An object of a page.
    pub fn handle_item(&mut self, id: WantId, object: K, now: Instant) {
        let Some(out) = self.answer(id, now) else {
            return;
        };
        out.spoke = true;
        if matches!(out.ask, Ask::Page { .. }) {
            out.items += 1;
            self.tell_init();
            self.events.push_back(ReflectEvent::InitApply(object));
        }
    }

    /// The end of a page, with the list's metadata.
    pub fn handle_page(&mut self, id: WantId, meta: &ListMeta, now: Instant) {
        let Some(out) = self.answer(id, now) else {
            return;
        };
        let out = out.clone();
        if let Ask::Page { token, all } = &out.ask {
            self.page_done(&out, token.as_deref(), *all, meta, now);
        }
    }

    /// An event of a watch.
    pub fn handle_event(&mut self, id: WantId, event: WatchEvent<K>, now: Instant) {
        let Some(out) = self.answer(id, now) else {
            return;
        };
        if matches!(out.ask, Ask::Page { .. }) {
            return;
        }
        if matches!(event, WatchEvent::Unknown(_)) {
            return;
        }
        out.spoke = true;
        if out.ask == Ask::Stream {
            self.initial_event(event);
        } else {
            self.live_event(event);
        }
    }

    /// The end of an answer: of a watch as it may be, of a list only if there was no
    /// [`handle_page`](Self::handle_page), and of everything that failed.
    ///
    /// An error that concerns one object ([`ErrorKind::Object`]) is for [`handle_bad`](Self::handle_bad); here it is
    /// an end.
    pub fn handle_end(&mut self, id: WantId, result: Result<End, Error>, now: Instant) {
        let Some(out) = self.answer(id, now) else {
            return;
        };
        let out = out.clone();
        match result {
            Ok(end) => self.ended(&out, end, now),
            Err(error) => {
                let broke = matches!(
                    error.kind(),
                    ErrorKind::Truncated | ErrorKind::Transport | ErrorKind::Closed
                );
                if broke && (out.opened || out.spoke) {
                    self.ended(&out, End::Truncated, now);
                } else {
                    self.failed(&out, error, now);
                }
            }
        }
    }

    /// An error of the exchange: one of [`ErrorKind::Object`] concerns one object, and the stream goes on; any
    /// other is the [end](Self::handle_end).
    pub fn handle_error(&mut self, id: WantId, error: Error, now: Instant) {
        if error.kind() == ErrorKind::Object {
            self.handle_bad(id, error, now);
        } else {
            self.handle_end(id, Err(error), now);
        }
    }

    /// An object could not be decoded. If an event of a watch cannot even be attributed to an object, the
    /// machine cancels the watch and lists again.
    pub fn handle_bad(&mut self, id: WantId, error: Error, now: Instant) {
        let Some(out) = self.answer(id, now) else {
            return;
        };
        out.spoke = true;
        out.items += 1;
        if out.ask != Ask::Watch {
            self.tell_init();
            self.events.push_back(ReflectEvent::Bad(error));
            return;
        }
        let object = error.bad_object();
        if object.is_some_and(|object| object.name.is_some()) {
            let version = object.and_then(|object| object.resource_version.clone());
            self.advance(version.as_deref());
            self.events.push_back(ReflectEvent::Bad(error));
            return;
        }
        let out = out.clone();
        self.cancelled = Some(out.id);
        let at = self.row.failed(now, out.started.max(now), true, None);
        self.tell_stale(now, StaleReason::Unreadable(error));
        self.relist(Some(at), "list again after an unreadable change");
    }

    /// The version up to which the consumer knows everything, from which a watch goes on.
    #[must_use]
    pub fn resource_version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Whether the collection was complete once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Since when changes may have been missed, and the latest reason; `None` while all is well.
    #[must_use]
    pub fn stale(&self) -> Option<(Instant, &StaleReason)> {
        self.stale.as_ref().map(|(since, reason)| (*since, reason))
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &ReflectorConfig {
        &self.config
    }

    /// Events that wait to be polled.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.events.len()
    }

    /// The request that an answer belongs to, unless it was given up.
    fn answer(&mut self, id: WantId, now: Instant) -> Option<&mut Out> {
        match &mut self.phase {
            Phase::Out(out) if out.id == id => {
                out.heard = out.heard.max(now);
                Some(out)
            }
            Phase::Out(_) | Phase::Due { .. } => None,
        }
    }

    pub(super) fn cancel(&mut self, id: WantId) {
        self.cancelled = Some(id);
    }

    pub(super) fn advance(&mut self, version: Option<&str>) {
        if let Some(new) = usable(version)
            && !self
                .version
                .as_deref()
                .is_some_and(|old| is_older(new, old))
        {
            match &mut self.version {
                Some(old) => new.clone_into(old),
                None => self.version = Some(new.to_owned()),
            }
        }
    }

    fn request(&self, ask: &Ask, lasts: Duration) -> Result<Want<K>, Error> {
        use crate::call::Operation as _;
        let namespace = match self.api.namespace() {
            Namespace::Inherit => self.namespace.as_deref(),
            Namespace::All | Namespace::Named(_) => None,
        };
        let config = &self.config;
        if let Ask::Page { token, all } = ask {
            let mut list = self.api.list();
            if let Some(labels) = &config.labels {
                list = list.labels(labels);
            }
            if let Some(fields) = &config.fields {
                list = list.fields(fields);
            }
            let any = self.facts.any && token.is_none();
            if let Some(size) = config.page_size
                && !all
                && !any
            {
                list = list.limit(size);
            }
            if any {
                list = list.resource_version("0");
            }
            if let Some(token) = token {
                list = list.continue_token(token);
            }
            return Ok(Want::list(list.items().into_call_in(namespace)?));
        }
        let mut watch = self.api.watch().bookmarks(true);
        if let Some(labels) = &config.labels {
            watch = watch.labels(labels);
        }
        if let Some(fields) = &config.fields {
            watch = watch.fields(fields);
        }
        if *ask == Ask::Stream {
            watch = watch.send_initial_events(true);
            if self.facts.any {
                watch = watch.resource_version("0");
            }
        } else if let Some(version) = &self.version {
            watch = watch.resource_version(version);
        }
        let seconds = u32::try_from(lasts.as_secs()).unwrap_or(u32::MAX);
        let call = watch.timeout_seconds(seconds).into_call_in(namespace)?;
        Ok(Want::watch(call))
    }
}

impl<K> fmt::Debug for Reflector<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reflector")
            .field("resource", self.api.resource())
            .field("phase", &self.phase)
            .field("version", &self.version)
            .field("stale", &self.stale)
            .field("events", &self.events.len())
            .finish_non_exhaustive()
    }
}
