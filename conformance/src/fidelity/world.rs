//! A server, and what is known about it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep, timeout};

use super::exchange::Content;
use super::names::Names;
use super::plan::Action;
use super::wire::{Dialer, Io, PATIENCE, Reader, Way};
use crate::replay::transcript::{Request, Transcript};
use crate::server::Server;

/// Between two looks at a state that is waited for.
const POLL: Duration = Duration::from_millis(10);
/// No state takes longer.
const STATE_LIMIT: Duration = Duration::from_secs(20);

pub(super) type Transcripts = Arc<BTreeMap<String, Arc<Transcript>>>;

/// The server of a group.
pub(super) struct World {
    server: Server,
    dialer: Dialer,
    names: Mutex<Names>,
    transcripts: Transcripts,
}

/// What a client would write, of an object that a server answered.
fn written(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|key, _| {
            matches!(
                key.as_str(),
                "name" | "labels" | "annotations" | "finalizers"
            )
        });
    }
    object
}

/// The collection that a recorded request is about.
fn collection(transcript: &Transcript) -> Result<String, String> {
    let request = transcript.request.as_ref().ok_or("no request")?;
    let path = request.target.split('?').next().unwrap_or_default();
    Ok(path.to_owned())
}

impl World {
    pub(super) fn start(bookmarks: Duration, transcripts: Transcripts) -> io::Result<Self> {
        let server = Server::builder()
            .tls(true)
            .bookmark_interval(bookmarks)
            .start()?;
        let dialer = Dialer::new(&server)?;
        Ok(Self {
            server,
            dialer,
            names: Mutex::default(),
            transcripts,
        })
    }

    pub(super) fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of whoever sent the recorded request.
    pub(super) async fn dial(&self, transcript: &Transcript) -> io::Result<Box<dyn Io>> {
        let way = match (&transcript.transport, transcript.auth.as_str()) {
            (Some(_), _) => Way::Plain,
            (None, "client-cert") => Way::Certificate,
            _ => Way::Anonymous,
        };
        self.dialer.dial(way).await
    }

    /// The recorded headers, with this server's tokens in place of the masks.
    pub(super) fn headers(
        &self,
        transcript: &Transcript,
        request: &Request,
    ) -> Vec<(String, String)> {
        let token = match transcript.auth.as_str() {
            "viewer" => self.server.viewer_token(),
            _ => self.server.token(),
        };
        let in_protocol = "base64url.bearer.authorization.k8s.io.";
        request
            .headers
            .iter()
            .map(|(name, value)| {
                let mut value = value.replace("<token>", token);
                if let Some((_, rest)) = value.split_once(in_protocol) {
                    let rest = rest.split_once(',').map_or("", |(_, rest)| rest);
                    value = format!("{in_protocol}{},{rest}", URL_SAFE_NO_PAD.encode(token));
                }
                (name.clone(), value)
            })
            .collect()
    }

    async fn ask(&self, method: &str, target: &str, body: &str) -> io::Result<(u16, Vec<u8>)> {
        let stream = self.dialer.dial(Way::Certificate).await?;
        let (read, mut write) = tokio::io::split(stream);
        let (method, content_type) = match method {
            "PATCH" => (method, "application/merge-patch+json"),
            "APPLY" => ("PATCH", "application/apply-patch+yaml"),
            _ => (method, "application/json"),
        };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: fidelity\r\nUser-Agent: golden-recorder/1.0\r\n\
             Content-Type: {content_type}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        write.write_all(head.as_bytes()).await?;
        write.flush().await?;
        let mut reader = Reader::new(read);
        let head = reader.head(method).await?;
        let mut body = Vec::new();
        while let Ok(part) = reader.part().await {
            body.extend(part);
        }
        Ok((head.status, body))
    }

    /// Asks for the present resourceVersion.
    pub(super) async fn look(&self) -> Result<(), String> {
        let target = "/apis/coordination.k8s.io/v1/leases?limit=1";
        let answer = timeout(PATIENCE, self.ask("GET", target, "")).await;
        let (_, body) = answer
            .map_err(|_| "no answer")?
            .map_err(|error| error.to_string())?;
        let list: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let version = list["metadata"]["resourceVersion"].as_str();
        let version = version.and_then(|text| text.parse().ok());
        self.names().now = version.ok_or("a list without resourceVersion")?;
        Ok(())
    }

    /// Does one thing to the server.
    pub(super) async fn act(
        &self,
        action: &Action,
        open: Option<&Transcript>,
    ) -> Result<(), String> {
        match action {
            Action::Request {
                method,
                target,
                body,
            } => {
                let (target, body) = {
                    let names = self.names();
                    (names.translate(target), names.translate(body))
                };
                self.write(method, &target, &body).await
            }
            Action::Seed(name) => {
                let transcript = self.transcripts.get(name).ok_or("no such exchange")?;
                let target = collection(transcript)?;
                let body = recorded_json(transcript)?;
                for item in body["items"].as_array().into_iter().flatten() {
                    self.write("POST", &target, &written(item).to_string())
                        .await?;
                }
                Ok(())
            }
            Action::Mirror { from, count } => {
                let transcript = open.ok_or("no exchange is open")?;
                let target = collection(transcript)?;
                let events = recorded_json(transcript)?;
                for event in events
                    .as_array()
                    .into_iter()
                    .flatten()
                    .skip(*from)
                    .take(*count)
                {
                    let object = written(&event["object"]);
                    let name = object["metadata"]["name"].as_str().unwrap_or_default();
                    let one = format!("{target}/{name}");
                    let body = object.to_string();
                    match event["type"].as_str() {
                        Some("ADDED") => self.write("POST", &target, &body).await?,
                        Some("MODIFIED") => self.write("PATCH", &one, &body).await?,
                        Some("DELETED") => self.write("DELETE", &one, "").await?,
                        _ => {}
                    }
                }
                Ok(())
            }
            Action::Until {
                target,
                pointer,
                value,
            } => self.until(target, pointer, value).await,
            Action::Revision(number) => {
                self.look().await?;
                let number = number.parse().map_err(|_| "no resourceVersion")?;
                self.names().is_now(number);
                Ok(())
            }
            Action::Cut => {
                self.server.close_connections();
                Ok(())
            }
            Action::Compact => {
                self.server.compact();
                Ok(())
            }
            Action::Grant {
                user,
                resource,
                verbs,
            } => {
                let verbs: Vec<_> = verbs.iter().map(String::as_str).collect();
                self.server.grant(user, &verbs, resource);
                Ok(())
            }
            Action::After(_) => Ok(()),
        }
    }

    async fn write(&self, method: &str, target: &str, body: &str) -> Result<(), String> {
        let answer = timeout(PATIENCE, self.ask(method, target, body)).await;
        let (status, answer) = answer
            .map_err(|_| format!("{method} {target}: no answer"))?
            .map_err(|error| format!("{method} {target}: {error}"))?;
        if (200..300).contains(&status) {
            return Ok(());
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        Err(format!("{method} {target}: {status} {answer}"))
    }

    async fn until(&self, target: &str, pointer: &str, value: &str) -> Result<(), String> {
        let deadline = Instant::now() + STATE_LIMIT;
        loop {
            let (status, body) = self
                .ask("GET", target, "")
                .await
                .map_err(|error| format!("{target}: {error}"))?;
            let seen = if pointer == "code" {
                status.to_string()
            } else if pointer == "text" {
                String::from_utf8_lossy(&body).trim().to_owned()
            } else {
                let object: Value = serde_json::from_slice(&body).unwrap_or_default();
                match object.pointer(pointer) {
                    Some(Value::String(text)) => text.clone(),
                    Some(other) => other.to_string(),
                    None => String::new(),
                }
            };
            if seen == value {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{target}: {pointer} is {seen:?}, not {value:?}"));
            }
            sleep(POLL).await;
        }
    }
}

/// The recorded answer, if it is JSON.
fn recorded_json(transcript: &Transcript) -> Result<Value, String> {
    let response = transcript.response.as_ref().ok_or("no response")?;
    let (media, coding) = (
        response.header("content-type"),
        response.header("content-encoding"),
    );
    let content = Content::of(media, coding, response.chunks()?.concat());
    content
        .json()
        .cloned()
        .ok_or_else(|| "an answer that is no JSON".to_owned())
}
