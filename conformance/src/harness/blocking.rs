//! Blocking sockets: the core and `std::net`, without an executor. The client is the core's example.

#[path = "../../../core/examples/blocking.rs"]
#[allow(dead_code, reason = "the example demonstrates more than this needs")]
mod example;

use std::fmt;
use std::future::{Future, ready};
use std::time::Duration;

use futures_util::{Stream, stream};
use kubewire::{Decode, Error, ErrorKind, Operation, Streaming, Unary};

use crate::scenario::{Calls, Place};
use crate::suite::Backend;

/// Carries calls by blocking the thread: its futures are ready whenever they are polled.
pub struct Blocking {
    client: example::Blocking,
    place: Place,
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
        stream::iter(std::iter::from_fn(move || {
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
        }))
    }

    fn pause(&self, time: Duration) -> impl Future<Output = ()> {
        std::thread::sleep(time);
        ready(())
    }

    async fn within<T>(&self, _: Duration, future: impl Future<Output = T>) -> Option<T> {
        Some(future.await)
    }
}

/// Makes blocking clients.
#[derive(Clone, Copy, Debug)]
pub struct BlockingBackend;

impl Backend for BlockingBackend {
    type Env = Blocking;

    fn env(&self, place: Place) -> Result<Blocking, Error> {
        let client = example::Blocking::new(&place.config())?;
        Ok(Blocking { client, place })
    }
}
