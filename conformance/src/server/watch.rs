//! Watches: streams of events, each a line of JSON.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::App;
use super::body::Body;
use super::call::{Call, Target};
use super::encode::{self, Style};
use super::kinds::Kind;
use super::list;
use super::negotiate::{self, Transform};
use super::random;
use super::reply::{self, Reply};
use super::selector::Selector;
use super::status::{Failure, Result};
use super::store::{Change, ChangeType};
use super::table;

/// Events that wait for a client to read; then the watch reads no more history.
const QUEUE: usize = 16;
const BATCH: usize = 64;
/// How long before its end a watch gets a last bookmark.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
const FUTURE_REVISION_WAIT: Duration = Duration::from_secs(3);

/// Answers a watch.
pub(crate) async fn watch(call: &Call, target: &Target, name: Option<&str>) -> Result<Reply> {
    list::validate_options(call, true)?;
    let mut selector = list::selector(call, target)?;
    if let Some(name) = name {
        selector = selector.with_name(name);
    }
    let seconds = call.query.integer("timeoutSeconds")?;
    call.query.integer("limit")?;
    let text = call.query.text("resourceVersion");
    let version = match text.parse::<u64>() {
        Ok(version) => version,
        Err(_) if text.is_empty() => 0,
        Err(_) => {
            let why = format!(
                "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
            );
            return Err(Failure::unclassified(why));
        }
    };
    let accepted = negotiate::accept(&call.headers, &call.query, true)?;
    let length = match seconds {
        Some(seconds) => Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
        None => Duration::from_secs(1800 + random::number(1800)),
    };
    let initial = call.query.flag("sendInitialEvents");
    let bookmarks = call.query.flag("allowWatchBookmarks").unwrap_or(false);
    if initial == Some(true) {
        // The head comes only when the version is there, or with the error.
        let mut revisions = call.app.store.subscribe();
        let reached =
            tokio::time::timeout(FUTURE_REVISION_WAIT, revisions.wait_for(|r| *r >= version)).await;
        if !matches!(reached, Ok(Ok(_))) {
            let failure = Failure::resource_version_too_large(version, call.app.store.revision());
            let mut line = event_line("ERROR", &failure_object(&failure), Style::Typed);
            line.push(b'\n');
            return Ok(reply::plain(200, "application/json", chunked(line)));
        }
    }
    let (sender, receiver) = mpsc::channel(QUEUE);
    let stream = Stream {
        app: Arc::clone(&call.app),
        kind: Arc::clone(&target.kind),
        storage: target.kind.storage(),
        prefix: target.prefix(),
        selector,
        transform: accepted.transform,
        include_object: call.query.text("includeObject").to_owned(),
        columns_sent: false,
        bookmarks,
        sender,
    };
    let start = match (initial, version) {
        (Some(false), 0) => Start::Now,
        (Some(true), _) | (None, 0) => Start::Initial {
            bookmark: bookmarks,
        },
        (Some(false) | None, version) => Start::After(version),
    };
    let open = call.app.stats.watch_opened();
    tokio::spawn(async move {
        stream.run(start, length).await;
        drop(open);
    });
    Ok(reply::plain(
        200,
        "application/json",
        Body::stream(receiver),
    ))
}

fn chunked(bytes: Vec<u8>) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    // There is room for one.
    let _ = sender.try_send(Bytes::from(bytes));
    Body::stream(receiver)
}

fn failure_object(failure: &Failure) -> Value {
    failure.status().clone()
}

fn event_line(event: &str, object: &Value, style: Style) -> Vec<u8> {
    let mut line = format!(r#"{{"type":"{event}","object":"#).into_bytes();
    line.extend(encode::to_json(object, style));
    line.push(b'}');
    line
}

enum Start {
    /// What there is, as `ADDED` events.
    Initial {
        bookmark: bool,
    },
    Now,
    After(u64),
}

/// The client left.
struct Gone;

struct Stream {
    app: Arc<App>,
    kind: Arc<Kind>,
    storage: String,
    prefix: String,
    selector: Selector,
    transform: Transform,
    include_object: String,
    columns_sent: bool,
    bookmarks: bool,
    sender: mpsc::Sender<Bytes>,
}

impl Stream {
    async fn run(mut self, start: Start, length: Duration) {
        if length.is_zero() {
            return;
        }
        let deadline = Instant::now() + length;
        let served = async { self.serve(start, length, deadline).await };
        // A client that does not read must not keep the stream beyond its time.
        let _ = tokio::time::timeout_at(deadline, served).await;
    }

    async fn serve(
        &mut self,
        start: Start,
        length: Duration,
        deadline: Instant,
    ) -> std::result::Result<(), Gone> {
        let mut revisions = self.app.store.subscribe();
        let mut cursor = match start {
            Start::Now => self.app.store.revision(),
            Start::After(version) => version,
            Start::Initial { bookmark } => {
                let (revision, objects) = self.app.store.list(&self.storage, &self.prefix);
                for (_, object) in &objects {
                    if self.selector.matches(object) {
                        self.send("ADDED", object).await?;
                    }
                }
                if bookmark {
                    self.bookmark(revision, true).await?;
                }
                revision
            }
        };
        let interval = self.app.config.bookmark_interval;
        let mut next_bookmark = Instant::now() + interval;
        let mut last_bookmark = (length > LAST_BOOKMARK).then(|| deadline - LAST_BOOKMARK);
        loop {
            revisions.mark_unchanged();
            match self.app.store.changes(Some(&self.storage), cursor, BATCH) {
                Ok((changes, next)) => {
                    let full = changes.len() == BATCH;
                    for change in &changes {
                        self.forward(change).await?;
                    }
                    cursor = next;
                    if full {
                        continue;
                    }
                }
                Err(oldest) => {
                    let failure = Failure::too_old(cursor, oldest.0);
                    return self
                        .send_line(event_line("ERROR", &failure_object(&failure), Style::Typed))
                        .await;
                }
            }
            if self.kind.custom.is_some() && self.app.kinds.by_storage(&self.storage).is_none() {
                // The definition is gone.
                return Ok(());
            }
            let bookmark_at = last_bookmark.map_or(next_bookmark, |last| last.min(next_bookmark));
            tokio::select! {
                changed = revisions.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
                () = self.sender.closed() => return Err(Gone),
                () = tokio::time::sleep_until(bookmark_at), if self.bookmarks => {
                    // Nothing up to here is missing: the cursor has just caught up.
                    self.bookmark(cursor, false).await?;
                    if last_bookmark.is_some_and(|last| last <= bookmark_at) {
                        last_bookmark = None;
                    }
                    next_bookmark = Instant::now() + interval;
                }
            }
        }
    }

    async fn forward(&mut self, change: &Change) -> std::result::Result<(), Gone> {
        if !change.key.starts_with(&self.prefix) {
            return Ok(());
        }
        let before = change
            .previous
            .as_ref()
            .is_some_and(|previous| self.selector.matches(previous));
        let after = change.change != ChangeType::Deleted && self.selector.matches(&change.object);
        match (before, after) {
            (false, true) => self.send("ADDED", &change.object).await,
            (true, true) => self.send("MODIFIED", &change.object).await,
            (true, false) if change.change == ChangeType::Deleted => {
                self.send("DELETED", &change.object).await
            }
            (true, false) => {
                // It left the selector: its last selected state, at the new version.
                let mut last = change.previous.as_deref().cloned().unwrap_or_default();
                last["metadata"]["resourceVersion"] = change.revision.to_string().into();
                self.send("DELETED", &last).await
            }
            (false, false) => Ok(()),
        }
    }

    async fn bookmark(
        &mut self,
        revision: u64,
        initial_events_end: bool,
    ) -> std::result::Result<(), Gone> {
        let mut object = self.kind.zero();
        object["kind"] = self.kind.kind.as_str().into();
        object["apiVersion"] = self.kind.api_version().into();
        object["metadata"] = json!({"resourceVersion": revision.to_string()});
        if initial_events_end {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        self.send("BOOKMARK", &object).await
    }

    async fn send(&mut self, event: &str, object: &Value) -> std::result::Result<(), Gone> {
        let line = match self.transform {
            Transform::None => event_line(
                event,
                &reply::in_version(&self.kind, object),
                self.kind.style(),
            ),
            Transform::Metadata => event_line(event, &reply::partial(object), Style::Typed),
            Transform::Table => {
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                let mut table = table::rows(&self.kind, &[object], &metadata, &self.include_object);
                if self.columns_sent {
                    table["columnDefinitions"] = Value::Null;
                }
                self.columns_sent = true;
                event_line(event, &table, Style::Typed)
            }
            // A watch of lists: a real server sends nothing either.
            Transform::MetadataList => return Ok(()),
        };
        self.send_line(line).await
    }

    async fn send_line(&self, mut line: Vec<u8>) -> std::result::Result<(), Gone> {
        line.push(b'\n');
        self.sender.send(Bytes::from(line)).await.map_err(|_| Gone)
    }
}
