//! The machine that follows a log.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use super::pod::Stage;
use super::stamp::Stamp;
use super::{LogAnswer, LogEnd, LogEvent, LogOptions, LogWant, PodFacts};
use crate::call::{End, Operation as _};
use crate::reflect::backoff::{Row, after};
use crate::reflect::{StaleReason, WantId};
use crate::resource::HasLogs;
use crate::stream::LogLine;
use crate::{Api, Error, ErrorKind, Namespace};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Pod,
    Log,
    /// What is left of the log of the container before it was started again.
    Previous,
}

#[derive(Clone, Debug)]
struct Out {
    id: WantId,
    ask: Ask,
    started: Instant,
    heard: Instant,
    opened: bool,
}

#[derive(Clone, Debug)]
enum Phase {
    Due { ask: Ask, at: Option<Instant> },
    Out(Out),
    Ended,
}

/// Follows a container's log until there will be no more of it: over cut connections, and into
/// containers that are started again.
///
/// It asks for the pod first, then for its log from the last line's time on, and drops the lines that were given
/// before: servers look at whole seconds only. Lines of the same time are told apart by counting.
/// A line is given once, except that after a clock was set back lines may be missing after a cut. What is held is
/// the last time and a count.
///
/// The driver does the same as for a [`Reflector`](crate::reflect::Reflector).
///
/// ```
/// use std::time::Instant;
/// use kubewire::{Api, ApiResource, Dynamic};
/// use kubewire::reflect::logs::{LogFollower, LogOptions};
///
/// let pods = Api::dynamic(ApiResource::core("Pod", "pods")).in_namespace("default");
/// let mut follower = LogFollower::new(&pods, "web-0", LogOptions::default().tail_lines(10), 42)?;
/// let (id, want) = follower.poll_want(Instant::now()).unwrap();
/// assert_eq!(want.request().uri(), "/api/v1/namespaces/default/pods/web-0");
/// # Ok::<(), kubewire::Error>(())
/// ```
#[must_use = "a machine does nothing by itself"]
pub struct LogFollower {
    api: Api<PodFacts>,
    namespace: Option<String>,
    name: String,
    options: LogOptions,
    phase: Phase,
    row: Row,
    last_id: u64,
    cancelled: Option<WantId>,
    events: VecDeque<LogEvent>,
    stale: bool,
    uid: Option<String>,
    container: Option<String>,
    /// The run of the container that is followed, and whether its log ended.
    run: Option<(u64, bool)>,
    /// When the first log was opened.
    opened: Option<Instant>,
    /// The latest time of a line, as text and as a moment, and how many lines of that time were given.
    last: Option<(String, Stamp, u64)>,
    /// Up to which line the answer repeats what was given.
    skip: Option<(Stamp, u64)>,
    tells_heads: bool,
}

impl LogFollower {
    /// A follower. `seed` is random.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] if the requests cannot be built.
    pub fn new<K: HasLogs>(
        api: &Api<K>,
        pod: &str,
        options: LogOptions,
        seed: u64,
    ) -> Result<Self, Error> {
        Self::build(api, None, pod, options, seed)
    }

    /// As [`new`](Self::new), with the namespace for an `api` that inherits it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] if the requests cannot be built.
    pub fn new_in<K: HasLogs>(
        api: &Api<K>,
        namespace: &str,
        pod: &str,
        options: LogOptions,
        seed: u64,
    ) -> Result<Self, Error> {
        Self::build(api, Some(namespace.to_owned()), pod, options, seed)
    }

    fn build<K>(
        api: &Api<K>,
        namespace: Option<String>,
        pod: &str,
        options: LogOptions,
        seed: u64,
    ) -> Result<Self, Error> {
        let follower = Self {
            api: Api::of(api.resource().clone(), api.namespace().clone()),
            namespace,
            name: pod.to_owned(),
            row: Row::new(options.backoff.clone(), seed),
            options,
            phase: Phase::Due {
                ask: Ask::Pod,
                at: None,
            },
            last_id: 0,
            cancelled: None,
            events: VecDeque::new(),
            stale: false,
            uid: None,
            container: None,
            run: None,
            opened: None,
            last: None,
            skip: None,
            tells_heads: false,
        };
        drop(follower.request(Ask::Pod, Duration::ZERO)?);
        drop(follower.request(Ask::Log, Duration::ZERO)?);
        Ok(follower)
    }

    fn request(&self, ask: Ask, since_opened: Duration) -> Result<LogWant, Error> {
        let namespace = match self.api.namespace() {
            Namespace::Inherit => self.namespace.as_deref(),
            Namespace::All | Namespace::Named(_) => None,
        };
        if ask == Ask::Pod {
            return Ok(LogWant::pod(
                self.api.get(&self.name).into_call_in(namespace)?,
            ));
        }
        let mut logs = self.api.logs(&self.name).timestamps(true);
        logs = match ask {
            Ask::Previous => logs.previous(true),
            Ask::Log | Ask::Pod => logs.follow(true),
        };
        if let Some(container) = self.container.as_ref().or(self.options.container.as_ref()) {
            logs = logs.container(container);
        }
        if let Some((text, ..)) = &self.last {
            logs = logs.since_time(text);
        } else if self.opened.is_some() && self.options.tail_lines.is_some() {
            // Nothing came since: what came meanwhile is wanted, not the tail of it.
            let seconds = i64::try_from(since_opened.as_secs()).unwrap_or(i64::MAX - 2);
            logs = logs.since_seconds(seconds + 2);
        } else {
            if let Some(lines) = self.options.tail_lines {
                logs = logs.tail_lines(lines);
            }
            if let Some(time) = &self.options.since_time {
                logs = logs.since_time(time);
            }
        }
        Ok(LogWant::log(logs.into_call_in(namespace)?))
    }

    /// The request to carry, if one is to be made now. Only one is ever outstanding.
    #[must_use = "a want that is dropped is only made again after a timeout"]
    pub fn poll_want(&mut self, now: Instant) -> Option<(WantId, LogWant)> {
        let Phase::Due { ask, at } = self.phase else {
            return None;
        };
        if at.is_some_and(|at| at > now) {
            return None;
        }
        let since_opened = self.opened.map_or(Duration::ZERO, |opened| {
            now.saturating_duration_since(opened)
        });
        match self.request(ask, since_opened) {
            Ok(want) => {
                self.last_id += 1;
                let id = WantId(self.last_id);
                if ask != Ask::Pod {
                    self.skip = self.last.as_ref().map(|(_, stamp, count)| (*stamp, *count));
                }
                self.phase = Phase::Out(Out {
                    id,
                    ask,
                    started: now,
                    heard: now,
                    opened: false,
                });
                Some((id, want))
            }
            Err(error) => {
                self.failed(now, StaleReason::Failed(error), None);
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
    pub fn poll_event(&mut self) -> Option<LogEvent> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next, and what will be the matter then.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match &self.phase {
            Phase::Due { at, .. } => at.map(|at| (at, "look after the log again")),
            Phase::Out(out) => self.deadline(out),
            Phase::Ended => None,
        }
    }

    fn deadline(&self, out: &Out) -> Option<(Instant, &'static str)> {
        let unopened = self.tells_heads && !out.opened;
        if out.ask == Ask::Log && !unopened {
            let silence = self.options.silence?;
            return Some((after(out.heard, silence), "the log is silent"));
        }
        Some((
            after(out.heard, self.options.answer_timeout),
            "no answer has come",
        ))
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Phase::Out(out) = self.phase.clone() else {
            return;
        };
        if self.deadline(&out).is_none_or(|(at, _)| at > now) {
            return;
        }
        self.cancelled = Some(out.id);
        if out.ask == Ask::Log && (out.opened || !self.tells_heads) {
            // Silence is usual: see whether the pod is still there, and go on.
            self.phase = Phase::Due {
                ask: Ask::Pod,
                at: None,
            };
        } else {
            let after = now.saturating_duration_since(out.heard);
            self.failed(now, StaleReason::Silent { after }, None);
        }
    }

    /// A part of the answer, as [`LogWant`] decodes it: calls the method for it.
    pub fn handle_answer(&mut self, id: WantId, answer: LogAnswer, now: Instant) {
        match answer {
            LogAnswer::Opened => self.handle_opened(id, now),
            LogAnswer::Pod(pod) => self.handle_pod(id, &pod, now),
            LogAnswer::Line(line) => self.handle_line(id, &line, now),
            LogAnswer::Ended(end) => self.handle_end(id, Ok(end), now),
        }
    }

    fn answer(&mut self, id: WantId, now: Instant) -> Option<&mut Out> {
        match &mut self.phase {
            Phase::Out(out) if out.id == id => {
                out.heard = out.heard.max(now);
                Some(out)
            }
            Phase::Out(_) | Phase::Due { .. } | Phase::Ended => None,
        }
    }

    /// The head of a successful answer. A driver that never tells is served as well.
    pub fn handle_opened(&mut self, id: WantId, now: Instant) {
        self.tells_heads = true;
        let Some(out) = self.answer(id, now) else {
            return;
        };
        out.opened = true;
        if out.ask == Ask::Log {
            self.opened.get_or_insert(now);
            self.fresh();
        }
    }

    fn fresh(&mut self) {
        if std::mem::take(&mut self.stale) {
            self.events.push_back(LogEvent::Fresh);
        }
    }

    /// The pod.
    pub fn handle_pod(&mut self, id: WantId, pod: &PodFacts, now: Instant) {
        let Some(Out { ask: Ask::Pod, .. }) = self.answer(id, now) else {
            return;
        };
        if let (Some(known), Some(uid)) = (&self.uid, pod.uid())
            && known != uid
        {
            self.end(LogEnd::Replaced);
            return;
        }
        self.uid = pod.uid().map(str::to_owned);
        let container = self.options.container.as_deref();
        let Some(container) = container.or_else(|| pod.default_container()) else {
            self.end(LogEnd::NoContainer);
            return;
        };
        self.container = Some(container.to_owned());
        let stage = pod.stage(container);
        let restarts = match stage {
            Stage::Missing => {
                self.end(LogEnd::NoContainer);
                return;
            }
            Stage::NotYet => {
                self.wait(now);
                return;
            }
            Stage::Lives { restarts, .. } | Stage::Over { restarts, .. } => restarts,
        };
        let ask = match self.run {
            None => {
                self.run = Some((restarts, false));
                Ask::Log
            }
            Some((run, ended)) if run < restarts => {
                // Lines of the run before may be missing, and of any in between.
                if !ended || restarts - run > 1 {
                    self.run = Some((restarts - 1, true));
                    self.due(Ask::Previous, None);
                    return;
                }
                self.run = Some((restarts, false));
                self.events.push_back(LogEvent::Restarted { restarts });
                Ask::Log
            }
            Some((_, false)) => Ask::Log,
            Some((_, true)) => match stage {
                Stage::Over { exit_code, .. } => {
                    self.end(LogEnd::Finished { exit_code });
                    return;
                }
                // The log ended but the container did not, or its state is not known yet.
                Stage::Lives { running: true, .. } => {
                    let at = self.row.failed(now, now, false, None);
                    self.run = Some((restarts, false));
                    self.due(Ask::Log, Some(at));
                    return;
                }
                Stage::Lives { .. } | Stage::NotYet | Stage::Missing => {
                    self.wait(now);
                    return;
                }
            },
        };
        self.due(ask, None);
    }

    fn due(&mut self, ask: Ask, at: Option<Instant>) {
        self.phase = Phase::Due { ask, at };
    }

    /// Looks after the pod again, later.
    fn wait(&mut self, now: Instant) {
        let at = self.row.failed(now, now, false, None);
        self.due(Ask::Pod, Some(at));
    }

    fn end(&mut self, end: LogEnd) {
        self.phase = Phase::Ended;
        self.events.push_back(LogEvent::Ended(end));
    }

    fn failed(&mut self, now: Instant, reason: StaleReason, retry_after: Option<Duration>) {
        let at = self.row.failed(now, now, false, retry_after);
        self.stale = true;
        self.events.push_back(LogEvent::Stale(reason));
        self.due(Ask::Pod, Some(at));
    }

    /// A line of a log, with its time.
    pub fn handle_line(&mut self, id: WantId, line: &LogLine, now: Instant) {
        let Some(out) = self.answer(id, now) else {
            return;
        };
        if out.ask == Ask::Pod {
            return;
        }
        if out.ask == Ask::Log {
            self.fresh();
            self.opened.get_or_insert(now);
        }
        let stamped = line.split_timestamp();
        let Some((text, rest, stamp)) =
            stamped.and_then(|(text, rest)| Some((text, rest, Stamp::parse(text)?)))
        else {
            // What is wrong with the log is written into it, without a time.
            self.events.push_back(LogEvent::Line(line.clone()));
            return;
        };
        if let Some((last, count)) = &mut self.skip {
            if stamp < *last {
                return;
            }
            if stamp == *last && *count > 0 {
                *count -= 1;
                return;
            }
            if stamp > *last {
                self.skip = None;
            }
        }
        match &mut self.last {
            Some((_, last, count)) if *last == stamp => *count += 1,
            Some((_, last, _)) if *last > stamp => {}
            last => *last = Some((text.to_owned(), stamp, 1)),
        }
        let line = if self.options.timestamps {
            line.clone()
        } else {
            LogLine::new(rest)
        };
        self.events.push_back(LogEvent::Line(line));
    }

    /// An error of the exchange, which is its end.
    pub fn handle_error(&mut self, id: WantId, error: Error, now: Instant) {
        self.handle_end(id, Err(error), now);
    }

    /// The end of an answer, and everything that failed.
    pub fn handle_end(&mut self, id: WantId, result: Result<End, Error>, now: Instant) {
        let Some(out) = self.answer(id, now) else {
            return;
        };
        let out = out.clone();
        let lived = now.saturating_duration_since(out.started);
        match result {
            Ok(End::Clean) if out.ask == Ask::Log => {
                if let Some((_, ended)) = &mut self.run {
                    *ended = true;
                }
                let at = if lived >= self.row.policy.cap {
                    now
                } else {
                    self.row.failed(now, out.started, true, None).max(now)
                };
                self.due(Ask::Pod, Some(at));
            }
            Ok(End::Clean) if out.ask == Ask::Previous => self.due(Ask::Pod, None),
            Ok(_) => self.cut(&out, now),
            Err(error) => {
                let broke = matches!(
                    error.kind(),
                    ErrorKind::Truncated | ErrorKind::Transport | ErrorKind::Closed
                );
                if broke && out.opened && out.ask != Ask::Pod {
                    self.cut(&out, now);
                } else if error.is_not_found() {
                    self.end(LogEnd::Gone);
                } else if error.code().is_some_and(|code| code.as_u16() == 400) {
                    // The container waits to be started, or there is no log of the run before.
                    self.wait(now);
                } else {
                    let retry_after = error.retry_after();
                    let reason = if error.kind() == ErrorKind::Api {
                        StaleReason::Refused(error)
                    } else {
                        StaleReason::Failed(error)
                    };
                    self.failed(now, reason, retry_after);
                }
            }
        }
    }

    /// The connection broke: the log goes on from the last line, at once for once.
    fn cut(&mut self, out: &Out, now: Instant) {
        let at = self.row.failed(now, out.started, true, None).max(now);
        self.stale = true;
        self.events.push_back(LogEvent::Stale(StaleReason::Cut));
        let ask = if out.ask == Ask::Previous {
            Ask::Previous
        } else {
            Ask::Pod
        };
        self.due(ask, Some(at));
    }

    /// Whether there is nothing more to come.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Events that wait to be polled.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.events.len()
    }
}

impl fmt::Debug for LogFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogFollower")
            .field("pod", &self.name)
            .field("container", &self.container)
            .field("phase", &self.phase)
            .field("events", &self.events.len())
            .finish_non_exhaustive()
    }
}
