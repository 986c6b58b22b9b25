//! Blocking sockets: the core and `std::net`, without an executor. The client is the core's example.

#[path = "../../../core/examples/blocking.rs"]
#[allow(dead_code, reason = "the example demonstrates more than this needs")]
mod example;

use std::cell::Cell;
use std::fmt;
use std::future::{Future, pending};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, Stream, stream};
use kubewire::{Decode, Error, ErrorKind, Operation, Streaming, Unary};

use crate::scenario::{Calls, Place};
use crate::suite::Backend;

/// Carries calls by blocking the thread: its futures are ready whenever they are polled, until a time given with
/// [`within`](Calls::within) is over. Then they are pending.
pub struct Blocking {
    client: example::Blocking,
    place: Place,
    deadline: Cell<Option<Instant>>,
}

impl Blocking {
    fn is_over(&self) -> bool {
        self.deadline.get().is_some_and(|at| at <= Instant::now())
    }

    async fn if_in_time(&self) {
        if self.is_over() {
            pending::<()>().await;
        }
    }
}

impl fmt::Debug for Blocking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Calls for Blocking {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn send<O>(&self, operation: O) -> Result<<O::Decoder as Decode>::Item, Error>
    where
        O: Operation,
        O::Decoder: Unary,
    {
        self.if_in_time().await;
        self.client.send(operation)
    }

    fn stream<O>(
        &self,
        operation: O,
    ) -> impl Stream<Item = Result<<O::Decoder as Decode>::Item, Error>> + Unpin
    where
        O: Operation,
        O::Decoder: Streaming,
    {
        let (mut operation, mut items) = (Some(operation), None);
        let mut next = move || {
            if let Some(operation) = operation.take() {
                match self.client.stream(operation) {
                    Ok(begun) => items = Some(begun),
                    Err(error) => return Some(Err(error)),
                }
            }
            let item = items.as_mut()?.next();
            if let Some(Err(error)) = &item
                && error.kind() != ErrorKind::Object
            {
                items = None;
            }
            item
        };
        stream::poll_fn(move |_| {
            if self.is_over() {
                return Poll::Pending;
            }
            Poll::Ready(next())
        })
    }

    async fn pause(&self, time: Duration) {
        self.if_in_time().await;
        std::thread::sleep(time);
    }

    async fn within<T>(&self, time: Duration, future: impl Future<Output = T>) -> Option<T> {
        let outer = self.deadline.get();
        let end = Instant::now() + time;
        self.deadline
            .set(Some(outer.map_or(end, |outer| outer.min(end))));
        let output = std::pin::pin!(future).now_or_never();
        self.deadline.set(outer);
        output
    }
}

/// Makes blocking clients.
#[derive(Clone, Copy, Debug)]
pub struct BlockingBackend;

impl Backend for BlockingBackend {
    type Env = Blocking;

    fn env(&self, place: Place) -> Result<Blocking, Error> {
        let client = example::Blocking::new(&place.config())?;
        Ok(Blocking {
            client,
            place,
            deadline: Cell::new(None),
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
    use kubewire::Api;

    use super::*;
    use crate::cli::config_of;
    use crate::server::Server;

    const TIME: Duration = Duration::from_millis(20);

    fn with_server(scenario: impl AsyncFnOnce(&Blocking)) {
        let server = Server::start().expect("a server");
        let place = Place {
            namespace: "default".to_owned(),
            image: "busybox".to_owned(),
            config: config_of(&server).expect("a configuration"),
            server: None,
        };
        let env = BlockingBackend.env(place).expect("an environment");
        let done = scenario(&env).now_or_never();
        done.expect("nothing waits when no time is given");
    }

    #[test]
    fn time_that_is_given_ends_calls_pauses_and_streams_that_never_would() {
        with_server(async |env| {
            let calls = async {
                loop {
                    let get = Api::<Namespace>::new().get("default");
                    env.send(get).await.expect("a namespace");
                }
            };
            assert_eq!(env.within(TIME, calls).await, None);
            let pauses = async {
                loop {
                    env.pause(Duration::from_millis(1)).await;
                }
            };
            assert_eq!(env.within(TIME, pauses).await, None);
            let watches = async {
                loop {
                    let watch = Api::<ConfigMap>::namespaced("none").watch();
                    let mut events = env.stream(watch.timeout_seconds(1));
                    while events.next().await.is_some() {}
                }
            };
            assert_eq!(env.within(TIME, watches).await, None);
        });
    }

    #[test]
    fn what_is_done_in_time_has_its_value_and_later_calls_have_no_limit() {
        with_server(async |env| {
            let get = || env.send(Api::<Namespace>::new().get("default"));
            let got = env.within(Duration::from_mins(1), get()).await;
            assert!(got.is_some_and(|got| got.is_ok()));
            assert_eq!(env.within(TIME, env.pause(2 * TIME)).await, Some(()));
            assert!(get().await.is_ok());
        });
    }

    #[test]
    fn the_time_of_what_is_around_counts_inside_too() {
        with_server(async |env| {
            let around = async {
                let inside = env.within(Duration::from_mins(1), async {
                    loop {
                        env.pause(Duration::from_millis(1)).await;
                    }
                });
                assert_eq!(inside.await, None::<()>);
                env.pause(Duration::ZERO).await;
            };
            assert_eq!(env.within(TIME, around).await, None);
        });
    }
}
