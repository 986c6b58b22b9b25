//! Keeping up to date: reflectors, stores, waiting for conditions, following logs.
//!
//! A [`Reflector`] is one machine that lists a collection, watches it, and goes on whatever happens. It asks for
//! requests to be carried ([`poll_want`](Reflector::poll_want)), takes the answers under the want's id, and tells
//! what changed ([`poll_event`](Reflector::poll_event)). A [`Store`] makes a cache of its events; [`wait`] decides
//! by them when a condition is met. [`logs`] does the same for the log of a container.
//!
//! # The states of a reflector
//!
//! ```text
//!            start, or list again
//!                     |
//!      +--------------+---------------+
//!      | streaming                    | paged, or the server has no streaming lists
//!      v                              v                     (422, 405, 404 …, no end in 10 s)
//! +----------+   no such thing   +---------+ <-+ next page
//! |  STREAM  | ----------------> |  PAGE   | --+
//! +----------+                   +---------+ ----> 410, token too old: start again; after
//!      | bookmark: end of             | no token         max_restarts all in one page;
//!      | initial events               |                  or go on with the fresh token
//!      |          InitDone            |
//!      +--------------+---------------+
//!                     v
//!                +---------+   ended after long: at once         ) from the last version:
//!                |  WATCH  |   cut off: at once, for once        ) that of the list, of a
//!                +---------+   ended early, silent, 429, 5xx,    ) bookmark, or of a change
//!                     |        504, unreachable: after a wait    )
//!                     v
//!       410 as event or status, another 4xx, the same failure max_failures times,
//!       two watches without even a bookmark, a change that cannot be read:
//!                list again
//! ```
//!
//! Whatever goes wrong is told as [`Stale`](ReflectEvent::Stale) with its reason, and tried again after a
//! [`Backoff`]; there is no error that ends a reflector.
//!
//! What is never done: resuming from the versions of initial events, which come in any order; resuming from a
//! version that is too old; listing again because a connection broke.
//!
//! # How many requests
//!
//! Whatever the server answers, with the default configuration a reflector makes in any time *t* at most
//! **30 + *t* / 4 s** requests, plus one for each page of a list after its first. In practice it is
//! far below: a server that answers 410 to everything, for ever, sees some 200 requests an hour.
//! A watch that lives does not count before it has lasted half of its time or 30 s.
//!
//! # What a driver does
//!
//! After each call of a `handle_` method, and at the beginning:
//!
//! 1. [`poll_cancel`](Reflector::poll_cancel): drop the request with this id. (There is only ever one: a new want
//!    replaces it anyway.)
//! 2. [`poll_event`](Reflector::poll_event) until there is none. Take them all before more input: that is what
//!    bounds the memory.
//! 3. [`poll_want`](Reflector::poll_want): send it. A [`Want`] is an [`Operation`](crate::Operation), so a client's
//!    `stream` carries it.
//! 4. Wait for the next item of the request or for [`poll_timeout`](Reflector::poll_timeout), whichever is first; an item that
//!    is there already is first even if the instant is long past, for that nobody asked is no silence of the server:
//!    - an item: [`handle_answer`](Reflector::handle_answer);
//!    - an error: [`handle_error`](Reflector::handle_error), and go on reading if it concerns one
//!      [object](crate::ErrorKind::Object);
//!    - the end of the stream: [`handle_end`](Reflector::handle_end) with `Ok(End::Clean)`, which does no harm if the machine
//!      knows already;
//!    - the instant: [`handle_timeout`](Reflector::handle_timeout).
//!
//! The client must not repeat these requests by itself nor limit how long they take; the machine does both.
//!
//! ```
//! use std::time::Instant;
//! use kubewire::reflect::{Reflector, ReflectorConfig, Store};
//! use kubewire::{Api, ApiResource, End, ErrorKind, Limits};
//!
//! // What a server says to one request after the other.
//! let mut server = vec![
//!     r#"{"type":"ADDED","object":{"metadata":{"name":"a","namespace":"n","resourceVersion":"3"}}}
//!        {"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7","annotations":{"k8s.io/initial-events-end":"true"}}}}
//!        {"type":"DELETED","object":{"metadata":{"name":"a","namespace":"n","resourceVersion":"8"}}}
//!     "#.replace("\n        ", "\n"),
//! ];
//!
//! let pods = Api::dynamic(ApiResource::core("Pod", "pods")).in_namespace("n");
//! let mut reflector = Reflector::new(pods, ReflectorConfig::default(), 42)?;
//! let mut store = Store::new();
//! let mut changes = 0;
//! let now = Instant::now();
//! while let Some((id, want)) = reflector.poll_want(now) {
//!     let (request, mut exchange) = want.into_call().begin(&Limits::default());
//!     let Some(body) = server.pop() else {
//!         // The server is silent; the watch goes on where the other ended.
//!         assert!(request.uri().query().unwrap().contains("resourceVersion=8"));
//!         break;
//!     };
//!     exchange.handle_head(&http::Response::new(()).into_parts().0)?;
//!     exchange.handle_data(body.into())?;
//!     exchange.handle_end(End::Truncated)?;
//!     loop {
//!         match exchange.poll_item() {
//!             Ok(Some(answer)) => reflector.handle_answer(id, answer, now),
//!             Ok(None) => break,
//!             Err(error) if error.kind() == ErrorKind::Object => reflector.handle_error(id, error, now),
//!             Err(error) => {
//!                 reflector.handle_error(id, error, now);
//!                 break;
//!             }
//!         }
//!         while let Some(event) = reflector.poll_event() {
//!             changes += store.apply(event).len();
//!         }
//!     }
//! }
//! assert!(store.is_ready() && store.is_empty());
//! assert_eq!((changes, store.resource_version()), (2, Some("8")));
//! # Ok::<(), kubewire::Error>(())
//! ```

mod backoff;
mod config;
mod event;
pub mod logs;
mod machine;
mod snapshot;
mod store;
mod turns;
mod version;
pub mod wait;
mod want;

pub use backoff::Backoff;
pub use config::{Freshness, ListMode, OnExpired, ReflectorConfig};
pub use event::{ReflectEvent, StaleReason};
pub use machine::Reflector;
pub use snapshot::{ObjectKey, Snapshot};
pub use store::{Change, Store};
pub use want::{Answer, Answers, Want, WantId};
