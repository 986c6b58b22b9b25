//! Container logs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use tokio::sync::mpsc;

use super::body::Body;
use super::call::{Call, Target};
use super::negotiate;
use super::node::log::{Log, Record};
use super::node::pod::{Slot, State};
use super::reply::{self, Reply};
use super::status::{Cause, Failure, Result};
use super::time::Timestamp;

const QUEUE: usize = 4;
const BATCH: usize = 64;

#[derive(Debug)]
struct Options {
    follow: bool,
    timestamps: bool,
    tail: Option<u64>,
    limit: Option<usize>,
    since: Option<i64>,
}

/// Chooses the container of a request: the named one, or the only one.
pub(crate) fn container(call: &Call, pod: &Value, name: &str) -> Result<String> {
    let names = |field: &str| -> Vec<String> {
        let list = pod["spec"][field]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        list.iter()
            .filter_map(|c| c["name"].as_str())
            .map(str::to_owned)
            .collect()
    };
    let (main, init) = (names("containers"), names("initContainers"));
    let wanted = call.query.text("container");
    if wanted.is_empty() {
        if let [only] = main.as_slice() {
            return Ok(only.clone());
        }
        let mut message = format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            main.join(" ")
        );
        if !init.is_empty() {
            message.push_str(" or one of the init containers: [");
            message.push_str(&init.join(" "));
            message.push(']');
        }
        return Err(Failure::bad_request(message));
    }
    if main.iter().chain(&init).any(|c| c == wanted) {
        return Ok(wanted.to_owned());
    }
    Err(Failure::bad_request(format!(
        "container {wanted} is not valid for pod {name}"
    )))
}

fn options(call: &Call, name: &str) -> Result<Options> {
    let query = &call.query;
    let (tail, limit, since) = (
        query.integer("tailLines")?,
        query.integer("limitBytes")?,
        query.integer("sinceSeconds")?,
    );
    let time = query.text("sinceTime");
    let since_time = match time {
        "" | "null" => None,
        text => Some(Timestamp::parse_rfc3339(text).ok_or_else(|| {
            Failure::bad_request(format!("parsing time \"{text}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"{text}\" as \"2006\""))
        })?),
    };
    let invalid = |cause: Cause| Err(Failure::invalid_other("", "PodLogOptions", name, cause));
    if query.get("stream").is_some() {
        return invalid(Cause::forbidden("stream", "may not be specified"));
    }
    if let Some(tail) = tail.filter(|n| *n < 0) {
        return invalid(Cause::invalid(
            "tailLines",
            &tail.to_string(),
            "must be greater than or equal to 0",
        ));
    }
    if let Some(limit) = limit.filter(|n| *n < 1) {
        return invalid(Cause::invalid(
            "limitBytes",
            &limit.to_string(),
            "must be greater than 0",
        ));
    }
    if since.is_some() && since_time.is_some() {
        return invalid(Cause::forbidden(
            "",
            "at most one of `sinceTime` or `sinceSeconds` may be specified",
        ));
    }
    if let Some(since) = since.filter(|n| *n < 1) {
        return invalid(Cause::invalid(
            "sinceSeconds",
            &since.to_string(),
            "must be greater than 0",
        ));
    }
    Ok(Options {
        follow: query.flag("follow").unwrap_or(false),
        timestamps: query.flag("timestamps").unwrap_or(false),
        tail: tail.and_then(|n| u64::try_from(n).ok()),
        limit: limit.and_then(|n| usize::try_from(n).ok()),
        // Fractions do not count, as on a real server.
        since: since
            .map(|s| Timestamp::now().seconds.saturating_sub(s))
            .or_else(|| since_time.map(|t| t.seconds)),
    })
}

pub(crate) fn serve(call: &Call, target: &Target) -> Result<Reply> {
    if call
        .header("accept")
        .is_some_and(|a| !a.contains("text/plain"))
    {
        negotiate::accept(&call.headers, &call.query, false)?;
    }
    let options = options(call, &target.name)?;
    let pod = call
        .app
        .store
        .get("pods", &target.key())
        .ok_or_else(|| target.not_found())?;
    let container = container(call, &pod, &target.name)?;
    if pod["spec"]["nodeName"]
        .as_str()
        .unwrap_or_default()
        .is_empty()
    {
        let mut response = reply::plain(204, "", Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    }
    let running = call
        .app
        .node
        .pod(pod["metadata"]["uid"].as_str().unwrap_or_default());
    let Some(slot) = running.and_then(|pod| pod.slot(&container)) else {
        let message = format!(
            "Get \"https://127.0.0.1:10250/containerLogs/{}/{}/{container}\": dial tcp 127.0.0.1:10250: connect: connection refused",
            target.namespace, target.name
        );
        return Err(Failure::unclassified(message));
    };
    let log = choose(call, target, &container, &slot)?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        // A client that left needs no more.
        let _ = stream(&log, &options, &sender).await;
    });
    Ok(reply::plain(200, "text/plain", Body::stream(receiver)))
}

fn choose(call: &Call, target: &Target, container: &str, slot: &Slot) -> Result<Arc<Log>> {
    let pod = &target.name;
    if call.query.flag("previous").unwrap_or(false) {
        let waiting = matches!(slot.state, State::Waiting { .. });
        let previous = if waiting {
            slot.log.as_ref().filter(|_| slot.last.is_some())
        } else {
            slot.previous.as_ref()
        };
        return previous.cloned().ok_or_else(|| {
            Failure::bad_request(format!(
                "previous terminated container \"{container}\" in pod \"{pod}\" not found"
            ))
        });
    }
    match (&slot.log, &slot.state) {
        (Some(log), _) => Ok(Arc::clone(log)),
        (None, State::Waiting { reason, .. }) => {
            let why = match *reason {
                "ImagePullBackOff" => "trying and failing to pull image",
                "ErrImagePull" => "image can't be pulled",
                other => other,
            };
            Err(Failure::bad_request(format!(
                "container \"{container}\" in pod \"{pod}\" is waiting to start: {why}"
            )))
        }
        (None, _) => Ok(Arc::new({
            let log = Log::new();
            log.finish();
            log
        })),
    }
}

/// The client left, or has all it wanted.
struct Done;

async fn stream(
    log: &Log,
    options: &Options,
    sender: &mpsc::Sender<Bytes>,
) -> std::result::Result<(), Done> {
    let mut changes = log.subscribe();
    let (first, end) = log.bounds();
    let mut at = options
        .tail
        .map_or(first, |tail| end.saturating_sub(tail).max(first));
    let mut left = options.limit.unwrap_or(usize::MAX);
    loop {
        changes.mark_unchanged();
        let (records, next, more) = log.read(at, BATCH);
        at = next;
        let full = records.len() == BATCH;
        let mut chunk = Vec::new();
        for record in records
            .iter()
            .filter(|r| options.since.is_none_or(|since| r.time.seconds >= since))
        {
            render(record, options.timestamps, &mut chunk);
            if chunk.len() >= left {
                chunk.truncate(left);
                send(sender, chunk).await?;
                return Err(Done);
            }
            // One chunk a line while following, as a kubelet flushes.
            if options.follow {
                left -= chunk.len();
                send(sender, std::mem::take(&mut chunk)).await?;
            }
        }
        left -= chunk.len();
        send(sender, chunk).await?;
        if full {
            continue;
        }
        if !options.follow || !more {
            return Ok(());
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = sender.closed() => return Err(Done),
            // The sender of changes lives as long as the log that is read here.
            () = tokio::time::sleep(Duration::from_hours(1)) => {}
        }
    }
}

fn render(record: &Record, timestamps: bool, chunk: &mut Vec<u8>) {
    if timestamps && record.starts_line {
        chunk.extend(record.time.rfc3339_nanos().bytes());
        chunk.push(b' ');
    }
    chunk.extend_from_slice(&record.bytes);
}

async fn send(sender: &mpsc::Sender<Bytes>, chunk: Vec<u8>) -> std::result::Result<(), Done> {
    if chunk.is_empty() {
        return Ok(());
    }
    sender.send(chunk.into()).await.map_err(|_| Done)
}
