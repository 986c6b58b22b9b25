//! HTTP requests to pods, services and nodes, through the API server.

use std::borrow::Cow;

use http::Method;

use super::path::Target;
use super::{Api, RawOperation};
use crate::resource::HasProxy;

/// A pod, service or node that requests can be sent to. See [`Api::proxy`].
#[derive(Clone, Debug)]
#[must_use = "choose a request"]
pub struct Proxy {
    resource: crate::ApiResource,
    namespace: super::Namespace,
    name: String,
    scheme: Option<&'static str>,
    port: Cow<'static, str>,
}

impl<K: HasProxy> Api<K> {
    /// Sends HTTP requests to a pod, service or node through the API server.
    ///
    /// Whatever HTTP server is there answers, in any form; a failure of its own is an
    /// [`ErrorKind::Api`](crate::ErrorKind::Api) error like the API server's, with its body.
    ///
    /// ```
    /// # #[cfg(feature = "k8s-openapi")] {
    /// use k8s_openapi::api::core::v1::Service;
    /// use kubewire::{Api, Operation};
    /// let web = Api::<Service>::namespaced("default").proxy("web").https().port_name("api");
    /// let call = web.get("/v1/items").query("q", "a b").into_call()?;
    /// assert_eq!(
    ///     call.request().uri(),
    ///     "/api/v1/namespaces/default/services/https:web:api/proxy/v1/items?q=a%20b"
    /// );
    /// # }
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    ///
    /// ```compile_fail
    /// # use k8s_openapi::api::core::v1::Secret;
    /// kubewire::Api::<Secret>::namespaced("default").proxy("x");
    /// ```
    pub fn proxy(&self, name: &str) -> Proxy {
        Proxy {
            resource: self.resource.clone(),
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            scheme: None,
            port: Cow::Borrowed(""),
        }
    }
}

impl Proxy {
    /// The port; without one the first of the service or pod.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Cow::Owned(port.to_string());
        self
    }

    /// The port by its name.
    pub fn port_name(mut self, name: impl Into<String>) -> Self {
        self.port = Cow::Owned(name.into());
        self
    }

    /// Over TLS; the certificate is not verified.
    pub fn https(mut self) -> Self {
        self.scheme = Some("https");
        self
    }

    /// `GET`.
    pub fn get(&self, path: &str) -> RawOperation {
        self.request(Method::GET, path)
    }

    /// Any method. The path is that of the proxied server: slashes stay, everything else is encoded, so that a query goes
    /// through [`RawOperation::query`].
    pub fn request(&self, method: Method, path: &str) -> RawOperation {
        // The server splits at colons: `name`, `name:port` or `scheme:name:port`.
        let mut id = String::with_capacity(self.name.len() + self.port.len() + 8);
        if let Some(scheme) = self.scheme {
            id.push_str(scheme);
            id.push(':');
        }
        id.push_str(&self.name);
        if self.scheme.is_some() || !self.port.is_empty() {
            id.push(':');
            id.push_str(&self.port);
        }
        let mut target = Target::object(&self.resource, &self.namespace, &id).sub("proxy");
        for (what, text) in [("name", &*self.name), ("port", &*self.port)] {
            if text.contains(':') || (what == "name" && matches!(text, "" | "." | "..")) {
                target.refuse(format!(
                    "the {what} of a proxied object may not be {text:?}"
                ));
            }
        }
        target.tail(path);
        RawOperation::new(method, target)
    }
}
