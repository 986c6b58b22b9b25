//! Reading one object.

use std::marker::PhantomData;

use http::Method;
use http::header::HeaderValue;

use super::Api;
use super::common::{answer_options, request_options};
use super::path::Target;
use super::table::IncludeObject;
use crate::Error;
use crate::call::{Call, Json, Operation, Optional, Verb};
use crate::resource::Object;

/// Reads one object: `GET …/{name}`. See [`Api::get`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct Get<K> {
    pub(super) target: Target,
    accept: HeaderValue,
    resource_version: Option<String>,
    pub(super) include_object: Option<IncludeObject>,
    object: PhantomData<fn() -> K>,
}

request_options! { Get<K>; }
answer_options! { Get<K>; }

impl<K: Object> Api<K> {
    /// Reads one object.
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, Operation};
    /// let maps = Api::dynamic(ApiResource::core("ConfigMap", "configmaps")).in_namespace("default");
    /// let call = maps.get("settings").resource_version("0").into_call()?;
    /// assert_eq!(call.request().uri(), "/api/v1/namespaces/default/configmaps/settings?resourceVersion=0");
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn get(&self, name: &str) -> Get<K> {
        let target = Target::bare_object(&self.resource, &self.namespace, name);
        Get::new(target, self.view.accept_object())
    }
}

impl<K> Get<K> {
    pub(super) fn new(target: Target, accept: HeaderValue) -> Self {
        Self {
            target,
            accept,
            resource_version: None,
            include_object: None,
            object: PhantomData,
        }
    }

    /// At least this version; `0` takes any that the server has cached.
    pub fn resource_version(mut self, version: impl Into<String>) -> Self {
        self.resource_version = Some(version.into());
        self
    }

    /// `None` instead of an error if the object does not exist.
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, End, Limits, Operation};
    /// let maps = Api::dynamic(ApiResource::core("ConfigMap", "configmaps")).in_namespace("default");
    /// let (_, mut exchange) = maps.get("none").optional().into_call()?.begin(&Limits::default());
    /// exchange.handle_head(&http::Response::builder().status(404).body(()).unwrap().into_parts().0)?;
    /// exchange.handle_end(End::Clean)?;
    /// assert!(exchange.poll_item()?.unwrap().is_none());
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn optional(self) -> GetOptional<K> {
        GetOptional(self)
    }

    fn build<D: crate::Decode>(
        self,
        namespace: Option<&str>,
        decoder: D,
    ) -> Result<Call<D>, Error> {
        let mut query = self.target.query(namespace)?;
        query.some("resourceVersion", self.resource_version.as_deref());
        query.some(
            "includeObject",
            self.include_object.map(IncludeObject::as_str),
        );
        let request = query.request(Method::GET, Some(self.accept), None)?;
        Ok(Call::new(Verb::Get, request, decoder))
    }
}

impl<K: Object> Operation for Get<K> {
    type Decoder = Json<K>;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Json<K>>, Error> {
        self.build(namespace, Json::default())
    }
}

/// Reads one object that may be missing. See [`Get::optional`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct GetOptional<K>(pub(super) Get<K>);

impl<K: Object> Operation for GetOptional<K> {
    type Decoder = Optional<Json<K>>;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Self::Decoder>, Error> {
        self.0.build(namespace, Optional::new(Json::default()))
    }
}
