//! Subresources that are actions: eviction, binding, token.

use std::fmt;

use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};

use super::common::{answer_options, request_options};
use super::delete_options::{DeleteOptions, precondition_options};
use super::path::Target;
use super::write::{JSON, WriteOptions, write_options};
use super::{Api, Propagation, json_body};
use crate::Error;
use crate::call::{Call, Json, Operation, Verb};
use crate::meta::Status;
use crate::resource::{HasBinding, HasEviction, HasToken};

/// The start of every body here.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a, T: Serialize> {
    kind: &'a str,
    api_version: &'a str,
    #[serde(skip_serializing_if = "Name::is_empty")]
    metadata: Name<'a>,
    #[serde(flatten)]
    rest: T,
}

#[derive(Default, Serialize)]
struct Name<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
}

impl Name<'_> {
    fn is_empty(&self) -> bool {
        self.name.is_none() && self.uid.is_none()
    }
}

fn post<T>(
    target: Target,
    namespace: Option<&str>,
    write: &WriteOptions,
    body: Bytes,
) -> Result<Call<Json<T>>, Error>
where
    T: serde::de::DeserializeOwned,
{
    let mut query = target.query(namespace)?;
    write.append(&mut query)?;
    let request = query.request(Method::POST, Some(JSON), Some((JSON, body)))?;
    Ok(Call::new(Verb::Create, request, Json::default()))
}

/// Evicts a pod. See [`Api::evict`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct Evict {
    pub(super) target: Target,
    name: String,
    write: WriteOptions,
    options: DeleteOptions,
}

request_options! { Evict; }
answer_options! { Evict; }
write_options! { Evict: write; }
precondition_options! { Evict: options; }

impl<K: HasEviction> Api<K> {
    /// Deletes a pod if its disruption budget allows it: `pods/eviction`.
    ///
    /// If it does not, the answer is 429 with [`is_disruption_budget`](Error::is_disruption_budget). Then
    /// [`retry_after`](Error::retry_after) is given only while the budget is still being computed; when it is used up
    /// the server names no time, and the caller waits as long as it sees fit (`kubectl drain`: 5 s).
    ///
    /// ```
    /// # #[cfg(feature = "k8s-openapi")] {
    /// use k8s_openapi::api::core::v1::Pod;
    /// use kubewire::{Api, Operation};
    /// let call = Api::<Pod>::namespaced("default").evict("web-0").grace_period_seconds(5).into_call()?;
    /// assert_eq!(call.request().uri(), "/api/v1/namespaces/default/pods/web-0/eviction");
    /// assert_eq!(call.request().body(),
    ///     r#"{"kind":"Eviction","apiVersion":"policy/v1","metadata":{"name":"web-0"},"deleteOptions":{"gracePeriodSeconds":5}}"#);
    /// # }
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    ///
    /// ```compile_fail
    /// # use k8s_openapi::api::core::v1::Node;
    /// kubewire::Api::<Node>::new().evict("n");
    /// ```
    pub fn evict(&self, name: &str) -> Evict {
        Evict {
            target: self.whole(self.object(name)).sub("eviction"),
            name: name.to_owned(),
            write: WriteOptions::default(),
            options: DeleteOptions::default(),
        }
    }
}

impl Evict {
    /// How long the pod may take to end, in seconds; 0 is at once.
    pub fn grace_period_seconds(mut self, seconds: i64) -> Self {
        self.options.grace_period_seconds = Some(seconds);
        self
    }

    /// What happens to dependents.
    pub fn propagation_policy(mut self, policy: Propagation) -> Self {
        self.options.propagation_policy = Some(policy);
        self
    }
}

impl Operation for Evict {
    type Decoder = Json<Status>;

    fn into_call_in(mut self, namespace: Option<&str>) -> Result<Call<Json<Status>>, Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Rest {
            #[serde(skip_serializing_if = "DeleteOptions::is_empty")]
            delete_options: DeleteOptions,
        }
        self.options.check()?;
        // Servers want it in both places, or in none.
        if self.write.dry_run {
            self.options.dry_run = vec!["All"];
        }
        let body = json_body(&Body {
            kind: "Eviction",
            api_version: "policy/v1",
            metadata: Name {
                name: Some(&self.name),
                uid: None,
            },
            rest: Rest {
                delete_options: self.options,
            },
        })?;
        post(self.target, namespace, &self.write, body)
    }
}

/// Puts a pod on a node. See [`Api::bind`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct Bind {
    pub(super) target: Target,
    name: String,
    node: String,
    uid: Option<String>,
    write: WriteOptions,
}

request_options! { Bind; }
answer_options! { Bind; }
write_options! { Bind: write; }

impl<K: HasBinding> Api<K> {
    /// Puts a pod on a node, as a scheduler does: `pods/binding`. A pod that is on a node already is a conflict.
    ///
    /// ```
    /// # #[cfg(feature = "k8s-openapi")] {
    /// use k8s_openapi::api::core::v1::Pod;
    /// use kubewire::{Api, Operation};
    /// let call = Api::<Pod>::namespaced("default").bind("web-0", "n1").into_call()?;
    /// assert_eq!(call.request().body(),
    ///     r#"{"kind":"Binding","apiVersion":"v1","metadata":{"name":"web-0"},"target":{"apiVersion":"v1","kind":"Node","name":"n1"}}"#);
    /// # }
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    ///
    /// ```compile_fail
    /// # use k8s_openapi::api::core::v1::Node;
    /// kubewire::Api::<Node>::new().bind("n", "n1");
    /// ```
    pub fn bind(&self, name: &str, node: &str) -> Bind {
        Bind {
            target: self.whole(self.object(name)).sub("binding"),
            name: name.to_owned(),
            node: node.to_owned(),
            uid: None,
            write: WriteOptions::default(),
        }
    }
}

impl Bind {
    /// Only the pod with this uid, not a namesake (else 409).
    pub fn uid(mut self, uid: impl Into<String>) -> Self {
        self.uid = Some(uid.into());
        self
    }
}

impl Operation for Bind {
    type Decoder = Json<Status>;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Json<Status>>, Error> {
        #[derive(Serialize)]
        struct Rest<'a> {
            target: Reference<'a>,
        }
        if self.node.is_empty() {
            return Err(Error::usage("the node's name is empty"));
        }
        let body = json_body(&Body {
            kind: "Binding",
            api_version: "v1",
            metadata: Name {
                name: Some(&self.name),
                uid: self.uid.as_deref(),
            },
            rest: Rest {
                target: Reference {
                    api_version: "v1",
                    kind: "Node",
                    name: &self.node,
                    uid: None,
                },
            },
        })?;
        post(self.target, namespace, &self.write, body)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference<'a> {
    api_version: &'a str,
    kind: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
}

/// What a token is bound to: it is void when this is gone.
#[derive(Clone)]
struct Bound {
    kind: &'static str,
    name: String,
    uid: Option<String>,
}

/// Issues a token for a service account. See [`Api::create_token`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct CreateToken {
    pub(super) target: Target,
    audiences: Vec<String>,
    expiration_seconds: Option<i64>,
    bound: Option<Bound>,
    write: WriteOptions,
}

request_options! { CreateToken; }
answer_options! { CreateToken; }
write_options! { CreateToken: write; }

impl<K: HasToken> Api<K> {
    /// Issues a token for a service account: `serviceaccounts/token`, for an hour unless said otherwise.
    ///
    /// ```
    /// # #[cfg(feature = "k8s-openapi")] {
    /// use k8s_openapi::api::core::v1::ServiceAccount;
    /// use kubewire::{Api, Operation};
    /// let accounts = Api::<ServiceAccount>::namespaced("default");
    /// let call = accounts.create_token("ci").audience("vault").expiration_seconds(600).into_call()?;
    /// assert_eq!(call.request().uri(), "/api/v1/namespaces/default/serviceaccounts/ci/token");
    /// assert_eq!(call.request().body(),
    ///     r#"{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","spec":{"audiences":["vault"],"expirationSeconds":600}}"#);
    /// # }
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    ///
    /// ```compile_fail
    /// # use k8s_openapi::api::core::v1::Secret;
    /// kubewire::Api::<Secret>::namespaced("default").create_token("s");
    /// ```
    pub fn create_token(&self, name: &str) -> CreateToken {
        CreateToken {
            target: self.whole(self.object(name)).sub("token"),
            audiences: Vec::new(),
            expiration_seconds: None,
            bound: None,
            write: WriteOptions::default(),
        }
    }
}

impl CreateToken {
    /// For whom the token is; may be called several times. By default the API server itself.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// How long the token is wanted to live, at least 600 s. The server may choose otherwise: see
    /// [`Token::expiration_timestamp`].
    pub fn expiration_seconds(mut self, seconds: i64) -> Self {
        self.expiration_seconds = Some(seconds);
        self
    }

    /// The token is void when this pod is gone.
    pub fn bound_to_pod(self, name: impl Into<String>, uid: Option<String>) -> Self {
        self.bound("Pod", name.into(), uid)
    }

    /// The token is void when this secret is gone.
    pub fn bound_to_secret(self, name: impl Into<String>, uid: Option<String>) -> Self {
        self.bound("Secret", name.into(), uid)
    }

    /// The token is void when this node is gone.
    pub fn bound_to_node(self, name: impl Into<String>, uid: Option<String>) -> Self {
        self.bound("Node", name.into(), uid)
    }

    fn bound(mut self, kind: &'static str, name: String, uid: Option<String>) -> Self {
        if self.bound.is_some() {
            self.target.refuse(
                "a token is bound to one of bound_to_pod, bound_to_secret and bound_to_node",
            );
        }
        self.bound = Some(Bound { kind, name, uid });
        self
    }
}

impl Operation for CreateToken {
    type Decoder = Json<Token>;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Json<Token>>, Error> {
        #[derive(Serialize)]
        struct Rest<'a> {
            spec: Spec<'a>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Spec<'a> {
            audiences: &'a [String],
            #[serde(skip_serializing_if = "Option::is_none")]
            expiration_seconds: Option<i64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            bound_object_ref: Option<Reference<'a>>,
        }
        if self.expiration_seconds.is_some_and(|seconds| seconds < 600) {
            return Err(Error::usage("expiration_seconds must be at least 600"));
        }
        let body = json_body(&Body {
            kind: "TokenRequest",
            api_version: "authentication.k8s.io/v1",
            metadata: Name::default(),
            rest: Rest {
                spec: Spec {
                    audiences: &self.audiences,
                    expiration_seconds: self.expiration_seconds,
                    bound_object_ref: self.bound.as_ref().map(|bound| Reference {
                        api_version: "v1",
                        kind: bound.kind,
                        name: &bound.name,
                        uid: bound.uid.as_deref(),
                    }),
                },
            },
        })?;
        post(self.target, namespace, &self.write, body)
    }
}

/// A token of a service account.
///
/// ```
/// let token: kubewire::Token = serde_json::from_str(
///     r#"{"kind":"TokenRequest","status":{"token":"secret","expirationTimestamp":"2026-11-23T07:00:00Z"}}"#).unwrap();
/// assert_eq!(token.token, "secret");
/// assert!(!format!("{token:?}").contains("secret"));
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Token {
    /// The secret itself.
    pub token: String,
    /// When it ends, in RFC 3339.
    pub expiration_timestamp: String,
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Request {
            status: Issued,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Issued {
            token: String,
            expiration_timestamp: String,
        }
        let Request { status } = Request::deserialize(deserializer)?;
        Ok(Self {
            token: status.token,
            expiration_timestamp: status.expiration_timestamp,
        })
    }
}

/// The token is left out.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("expiration_timestamp", &self.expiration_timestamp)
            .finish_non_exhaustive()
    }
}
