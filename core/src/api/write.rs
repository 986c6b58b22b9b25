//! Creating, replacing and patching objects.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use http::Method;
use http::header::HeaderValue;
use serde::Serialize;

use super::common::{answer_options, request_options};
use super::path::Target;
use super::query::Query;
use super::{Api, json_body};
use crate::Error;
use crate::call::{Call, Json, Operation, Verb};
use crate::resource::Object;

/// What the server does with fields that it does not know, or that are there twice.
///
/// ```
/// use kubewire::{Api, ApiResource, Dynamic, FieldValidation, Operation};
/// const MAPS: ApiResource = ApiResource::core("ConfigMap", "configmaps");
/// let create = Api::dynamic(MAPS).in_namespace("default").create(&Dynamic::new(&MAPS, "settings"));
/// let call = create.field_validation(FieldValidation::Strict).into_call()?;
/// assert_eq!(call.request().uri().query(), Some("fieldValidation=Strict"));
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FieldValidation {
    /// Drops them silently.
    Ignore,
    /// Drops them and says so in `Warning` headers. The server's default.
    Warn,
    /// Refuses the request.
    Strict,
}

impl FieldValidation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ignore => "Ignore",
            Self::Warn => "Warn",
            Self::Strict => "Strict",
        }
    }
}

/// The options that every write has.
#[derive(Clone, Default)]
pub(super) struct WriteOptions {
    pub(super) dry_run: bool,
    pub(super) field_manager: Option<String>,
    pub(super) field_validation: Option<FieldValidation>,
}

impl WriteOptions {
    pub(super) fn append(&self, query: &mut Query) -> Result<(), Error> {
        if let Some(manager) = &self.field_manager {
            if manager.is_empty() || manager.len() > 128 || manager.chars().any(char::is_control) {
                return Err(Error::usage(
                    "field_manager must have 1 to 128 printable characters",
                ));
            }
            query.pair("fieldManager", manager);
        }
        if self.dry_run {
            query.pair("dryRun", "All");
        }
        query.some(
            "fieldValidation",
            self.field_validation.map(FieldValidation::as_str),
        );
        Ok(())
    }
}

macro_rules! write_options {
    ($($type:ident $(<$k:ident>)?: $field:ident;)*) => {$(
        impl$(<$k>)? $type$(<$k>)? {
            /// The server does everything but store the result.
            pub fn dry_run(mut self, dry_run: bool) -> Self {
                self.$field.dry_run = dry_run;
                self
            }

            /// Who owns the fields that are written: 1 to 128 printable characters. Set it: the
            /// server's default is the first word of the User-Agent.
            pub fn field_manager(mut self, manager: impl Into<String>) -> Self {
                self.$field.field_manager = Some(manager.into());
                self
            }

            /// What happens to unknown and duplicate fields.
            pub fn field_validation(mut self, validation: crate::FieldValidation) -> Self {
                self.$field.field_validation = Some(validation);
                self
            }
        }
    )*};
}

pub(super) use write_options;

write_options! { Create<K>: options; Replace<K>: options; PatchObject<K>: options; }
request_options! { Create<K>; Replace<K>; PatchObject<K>; }
answer_options! { Create<K>; Replace<K>; PatchObject<K>; }

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Creates an object: `POST` on the collection. See [`Api::create`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct Create<K> {
    pub(super) target: Target,
    body: Result<Bytes, Error>,
    options: WriteOptions,
    object: PhantomData<fn() -> K>,
}

impl<K: Object> Api<K> {
    /// Creates an object. Its name is `metadata.name`, or made from `metadata.generateName`.
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, Dynamic, Operation};
    /// const MAPS: ApiResource = ApiResource::core("ConfigMap", "configmaps");
    /// let maps = Api::dynamic(MAPS).in_namespace("default");
    /// let call = maps.create(&Dynamic::new(&MAPS, "settings")).field_manager("my-tool").into_call()?;
    /// assert_eq!(call.request().method(), "POST");
    /// assert_eq!(call.request().uri(), "/api/v1/namespaces/default/configmaps?fieldManager=my-tool");
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn create(&self, object: &K) -> Create<K>
    where
        K: Serialize,
    {
        let collection = Target::one_collection(&self.resource, &self.namespace);
        Create::new(self.whole(collection), object)
    }

    /// Replaces an object as a whole. What the body leaves out is cleared. With
    /// `metadata.resourceVersion` in the body the write is refused (409) if the object has changed since; without
    /// it most kinds are overwritten. The body's name, if it has one, must be the same.
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, Dynamic, Operation};
    /// let maps = Api::dynamic(ApiResource::core("ConfigMap", "configmaps")).in_namespace("default");
    /// // What was read before, with its version and with fields that nobody here knows:
    /// let mut object: Dynamic = serde_json::from_str(
    ///     r#"{"kind":"ConfigMap","metadata":{"name":"settings","resourceVersion":"7"},"future":{}}"#).unwrap();
    /// object.set("data", &serde_json::json!({"k": "v"}))?;
    /// let call = maps.replace("settings", &object).into_call()?;
    /// assert_eq!(call.request().method(), "PUT");
    /// assert_eq!(call.request().body(),
    ///     r#"{"kind":"ConfigMap","metadata":{"name":"settings","resourceVersion":"7"},"future":{},"data":{"k":"v"}}"#);
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn replace(&self, name: &str, object: &K) -> Replace<K>
    where
        K: Serialize,
    {
        Replace::new(self.whole(self.object(name)), object)
    }

    /// Changes an object.
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, Operation, Patch};
    /// let maps = Api::dynamic(ApiResource::core("ConfigMap", "configmaps")).in_namespace("default");
    /// let patch = Patch::apply(&serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "v"}}));
    /// assert!(maps.patch("settings", patch.clone()).into_call().is_err(), "apply needs a field manager");
    /// let call = maps.patch("settings", patch).field_manager("my-tool").force(true).into_call()?;
    /// assert_eq!(call.request().headers()["content-type"], "application/apply-patch+yaml");
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    pub fn patch(&self, name: &str, patch: Patch) -> PatchObject<K> {
        PatchObject::new(self.object(name), self.view.accept_object(), patch)
    }
}

impl<K> Create<K> {
    pub(super) fn new(target: Target, body: &impl Serialize) -> Self {
        Self {
            target,
            body: json_body(body),
            options: WriteOptions::default(),
            object: PhantomData,
        }
    }
}

impl<K: Object> Operation for Create<K> {
    type Decoder = Json<K>;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Json<K>>, Error> {
        let mut query = self.target.query(namespace)?;
        self.options.append(&mut query)?;
        let request = query.request(Method::POST, Some(JSON), Some((JSON, self.body?)))?;
        Ok(Call::new(Verb::Create, request, Json::default()))
    }
}

/// Replaces an object: `PUT`. See [`Api::replace`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct Replace<K> {
    pub(super) target: Target,
    body: Result<Bytes, Error>,
    options: WriteOptions,
    object: PhantomData<fn() -> K>,
}

impl<K> Replace<K> {
    pub(super) fn new(target: Target, body: &impl Serialize) -> Self {
        Self {
            target,
            body: json_body(body),
            options: WriteOptions::default(),
            object: PhantomData,
        }
    }
}

impl<K: Object> Operation for Replace<K> {
    type Decoder = Json<K>;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Json<K>>, Error> {
        let mut query = self.target.query(namespace)?;
        self.options.append(&mut query)?;
        let request = query.request(Method::PUT, Some(JSON), Some((JSON, self.body?)))?;
        Ok(Call::new(Verb::Update, request, Json::default()))
    }
}

/// A change to an object, in one of the forms that the API takes.
#[derive(Clone)]
pub struct Patch {
    form: Form,
    body: Result<Bytes, Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl Patch {
    fn new(form: Form, body: &impl Serialize) -> Self {
        Self {
            form,
            body: json_body(body),
        }
    }

    /// JSON Patch (RFC 6902): a list of operations. Why it failed, if it does, the server does not tell.
    #[must_use]
    pub fn json(operations: &impl Serialize) -> Self {
        Self::new(Form::Json, operations)
    }

    /// JSON Merge Patch (RFC 7386): null deletes, lists are replaced as a whole.
    #[must_use]
    pub fn merge(body: &impl Serialize) -> Self {
        Self::new(Form::Merge, body)
    }

    /// Strategic merge patch: lists merge by their keys. Built-in kinds only.
    #[must_use]
    pub fn strategic(body: &impl Serialize) -> Self {
        Self::new(Form::Strategic, body)
    }

    /// Server-side apply: "these fields are mine". Creates the object if it does not exist. The body
    /// needs `apiVersion` and `kind` and may not hold `managedFields`; the call needs a field manager.
    #[must_use]
    pub fn apply(body: &impl Serialize) -> Self {
        Self::new(Form::Apply, body)
    }

    fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self.form {
            Form::Json => "application/json-patch+json",
            Form::Merge => "application/merge-patch+json",
            Form::Strategic => "application/strategic-merge-patch+json",
            Form::Apply => "application/apply-patch+yaml",
        })
    }
}

impl fmt::Debug for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patch")
            .field("form", &self.form)
            .field("len", &self.body.as_ref().map_or(0, Bytes::len))
            .finish()
    }
}

/// Patches an object. See [`Api::patch`].
#[derive(Clone)]
#[must_use = "an operation does nothing until a client carries it"]
pub struct PatchObject<K> {
    pub(super) target: Target,
    accept: HeaderValue,
    patch: Patch,
    force: Option<bool>,
    options: WriteOptions,
    object: PhantomData<fn() -> K>,
}

impl<K> PatchObject<K> {
    pub(super) fn new(target: Target, accept: HeaderValue, patch: Patch) -> Self {
        Self {
            target,
            accept,
            patch,
            force: None,
            options: WriteOptions::default(),
            object: PhantomData,
        }
    }

    /// Takes fields over from other managers instead of failing with a conflict. Server-side apply only.
    pub fn force(mut self, force: bool) -> Self {
        self.force = Some(force);
        self
    }
}

impl<K: Object> Operation for PatchObject<K> {
    type Decoder = Json<K>;

    fn into_call_in(self, namespace: Option<&str>) -> Result<Call<Json<K>>, Error> {
        let is_apply = self.patch.form == Form::Apply;
        if is_apply && self.options.field_manager.is_none() {
            return Err(Error::usage("Patch::apply needs a field_manager"));
        }
        if !is_apply && self.force.is_some() {
            return Err(Error::usage(
                "force and a patch that is not Patch::apply exclude each other: only server-side apply has conflicts",
            ));
        }
        let mut query = self.target.query(namespace)?;
        self.options.append(&mut query)?;
        query.flag("force", self.force == Some(true));
        let content_type = self.patch.content_type();
        let body = Some((content_type, self.patch.body?));
        let request = query.request(Method::PATCH, Some(self.accept), body)?;
        Ok(Call::new(Verb::Patch, request, Json::default()))
    }
}
