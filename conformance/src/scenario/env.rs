//! What a scenario has around it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use kubewire::config::Config;
use kubewire::{Api, Decode, Error, Operation, Resource, Streaming, Unary};
use kubewire_driver::{Client, ClientBuilder, Drive};

use crate::server::Server;

/// Where a scenario runs.
#[derive(Clone, Debug)]
pub struct Place {
    pub(crate) namespace: String,
    pub(crate) image: String,
    pub(crate) config: Config,
    pub(crate) server: Option<Arc<Server>>,
}

impl Place {
    /// The scenario's own namespace, deleted after it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// An image with what busybox has.
    #[must_use]
    pub fn image(&self) -> &str {
        &self.image
    }

    /// The configuration of its client, for clients of its own.
    #[must_use]
    pub fn config(&self) -> Config {
        self.config.clone()
    }

    /// The embedded server, which nobody else uses.
    ///
    /// # Panics
    ///
    /// If the scenario has not asked for [`Need::Embedded`](super::Need::Embedded).
    #[must_use]
    pub fn server(&self) -> &Server {
        self.server
            .as_deref()
            .expect("only for scenarios that need the embedded server")
    }
}

/// What makes calls: the driver over some runtime, or blocking sockets.
pub trait Calls {
    /// Where the scenario runs.
    fn place(&self) -> &Place;

    /// Carries a call that has one answer.
    fn send<O>(
        &self,
        operation: O,
    ) -> impl Future<Output = Result<<O::Decoder as Decode>::Item, Error>>
    where
        O: Operation,
        O::Decoder: Unary;

    /// Carries a call that has any number of items. It is sent when the stream is first polled.
    fn stream<O>(
        &self,
        operation: O,
    ) -> impl Stream<Item = Result<<O::Decoder as Decode>::Item, Error>> + Unpin
    where
        O: Operation,
        O::Decoder: Streaming;

    /// Waits.
    fn pause(&self, time: Duration) -> impl Future<Output = ()>;

    /// Awaits a future for a limited time. Over blocking sockets it ends with the call or pause in which the time is over.
    fn within<T>(
        &self,
        time: Duration,
        future: impl Future<Output = T>,
    ) -> impl Future<Output = Option<T>>;

    /// The objects of a kind in the scenario's namespace.
    fn api<K: Resource>(&self) -> Api<K> {
        Api::namespaced(self.place().namespace())
    }
}

/// A scenario's client and runtime.
#[derive(Debug)]
pub struct Env<R: Drive> {
    /// A client with a pool of its own, that is used by nobody else.
    pub client: Client<R>,
    /// What it runs on.
    pub runtime: R,
    place: Place,
}

impl<R: Drive> Env<R> {
    /// With a client for the place.
    ///
    /// # Errors
    ///
    /// If the configuration is not complete.
    pub fn new(runtime: R, place: Place) -> Result<Self, Error> {
        let client = Client::builder(place.config(), runtime.clone()).build()?;
        Ok(Self {
            client,
            runtime,
            place,
        })
    }

    /// Another client, to be configured.
    pub fn builder(&self) -> ClientBuilder<R> {
        self.builder_with(self.place.config())
    }

    /// Another client, with another configuration.
    pub fn builder_with(&self, config: Config) -> ClientBuilder<R> {
        Client::builder(config, self.runtime.clone())
    }

    /// The embedded server, which nobody else uses.
    ///
    /// # Panics
    ///
    /// As [`Place::server`].
    #[must_use]
    pub fn server(&self) -> &Server {
        self.place.server()
    }
}

impl<R: Drive> Calls for Env<R> {
    fn place(&self) -> &Place {
        &self.place
    }

    fn send<O>(
        &self,
        operation: O,
    ) -> impl Future<Output = Result<<O::Decoder as Decode>::Item, Error>>
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
        self.client.stream(operation)
    }

    fn pause(&self, time: Duration) -> impl Future<Output = ()> {
        self.runtime.sleep_until(self.runtime.now() + time)
    }

    fn within<T>(
        &self,
        time: Duration,
        future: impl Future<Output = T>,
    ) -> impl Future<Output = Option<T>> {
        crate::harness::within(&self.runtime, time, future)
    }
}
