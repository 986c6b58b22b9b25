//! Failures as `metav1.Status`.

use serde_json::{Map, Value, json};

pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// A request that was refused: an HTTP status code and the `Status` that goes with it.
#[derive(Clone, Debug)]
pub(crate) struct Failure(Box<Body>);

#[derive(Clone, Debug)]
struct Body {
    code: u16,
    status: Value,
    text: Option<String>,
    retry_after: Option<u64>,
    close: bool,
    silent: bool,
    /// Not made by the API server: without its headers.
    bare: bool,
    header: Option<(&'static str, &'static str)>,
}

/// One entry of `details.causes`.
pub(crate) struct Cause {
    reason: &'static str,
    message: String,
    field: String,
}

impl Cause {
    pub(crate) fn new(
        reason: &'static str,
        message: impl Into<String>,
        field: impl Into<String>,
    ) -> Self {
        Self {
            reason,
            message: message.into(),
            field: field.into(),
        }
    }

    pub(crate) fn required(field: impl Into<String>, detail: &str) -> Self {
        let message = if detail.is_empty() {
            "Required value".into()
        } else {
            format!("Required value: {detail}")
        };
        Self::new("FieldValueRequired", message, field)
    }

    pub(crate) fn invalid(field: impl Into<String>, value: &str, detail: &str) -> Self {
        Self::new(
            "FieldValueInvalid",
            format!("Invalid value: {value}: {detail}"),
            field,
        )
    }

    pub(crate) fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self::new("FieldValueForbidden", format!("Forbidden: {detail}"), field)
    }

    pub(crate) fn not_supported(field: impl Into<String>, value: &str, supported: &str) -> Self {
        Self::new(
            "FieldValueNotSupported",
            format!("Unsupported value: {value}: supported values: {supported}"),
            field,
        )
    }

    fn to_value(&self) -> Value {
        let mut cause = json!({"reason": self.reason, "message": self.message});
        if !self.field.is_empty() {
            cause["field"] = Value::String(self.field.clone());
        }
        cause
    }
}

impl Failure {
    /// A `Status` with `code`, `reason` (left out if empty) and `message`.
    pub(crate) fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message.into(), "code": code,
        });
        if !reason.is_empty() {
            status["reason"] = reason.into();
        }
        Self(Box::new(Body {
            code,
            status,
            text: None,
            retry_after: None,
            close: false,
            silent: false,
            bare: false,
            header: None,
        }))
    }

    /// An answer in plain text, as those parts give it that do not speak `Status`.
    pub(crate) fn text(code: u16, text: impl Into<String>) -> Self {
        let mut failure = Self::new(code, "", "");
        failure.0.text = Some(text.into());
        failure
    }

    /// An answer of the kubelet, passed on as it is.
    pub(crate) fn kubelet(code: u16, text: impl Into<String>) -> Self {
        Self::text(code, text).bare()
    }

    /// Leaves out what the API server adds to every answer.
    pub(crate) fn bare(mut self) -> Self {
        self.0.bare = true;
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.0.header = Some((name, value));
        self
    }

    /// Adds the header by which authorization's refusals are told from others.
    pub(crate) fn nosniff(self) -> Self {
        self.header("x-content-type-options", "nosniff")
    }

    /// Ends the connection after the answer.
    pub(crate) fn closing(mut self) -> Self {
        self.0.close = true;
        self
    }

    /// Leaves out the content type: the refusals of the WebSocket library.
    pub(crate) fn untyped(mut self) -> Self {
        self.0.silent = true;
        self
    }

    pub(crate) fn details(mut self, details: Value) -> Self {
        self.0.status["details"] = details;
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        if let Some(details) = self
            .0
            .status
            .get_mut("details")
            .and_then(Value::as_object_mut)
        {
            details.insert("retryAfterSeconds".into(), seconds.into());
        }
        self
    }

    pub(crate) fn continue_token(mut self, token: String) -> Self {
        self.0.status["metadata"]["continue"] = token.into();
        self
    }

    pub(crate) fn code(&self) -> u16 {
        self.0.code
    }

    pub(crate) fn status(&self) -> &Value {
        &self.0.status
    }

    pub(crate) fn plain_text(&self) -> Option<&str> {
        self.0.text.as_deref()
    }

    pub(crate) fn retry_after_seconds(&self) -> Option<u64> {
        self.0.retry_after
    }

    pub(crate) fn closes(&self) -> bool {
        self.0.close
    }

    pub(crate) fn is_bare(&self) -> bool {
        self.0.bare
    }

    pub(crate) fn more_header(&self) -> Option<(&'static str, &'static str)> {
        self.0.header
    }

    pub(crate) fn is_untyped(&self) -> bool {
        self.0.silent
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// A Go error that nobody gave a reason: 500 without one.
    pub(crate) fn unclassified(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    pub(crate) fn internal(message: &str) -> Self {
        Self::new(
            500,
            "InternalError",
            format!("Internal error occurred: {message}"),
        )
        .details(json!({"causes": [{"message": message}]}))
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403 for a path that is no resource.
    pub(crate) fn anonymous(path: &str) -> Self {
        let why = format!(
            "forbidden: User \"system:anonymous\" cannot get path {}",
            quote(path)
        );
        Self::new(403, "Forbidden", why)
            .details(json!({}))
            .nosniff()
    }

    pub(crate) fn page_not_found() -> Self {
        Self::text(404, "404 page not found\n")
    }

    pub(crate) fn unknown_resource() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
        .details(json!({}))
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .details(json!({}))
    }

    pub(crate) fn body_too_large() -> Self {
        Self::new(
            413,
            "RequestEntityTooLarge",
            "Request entity too large: limit is 3145728",
        )
    }

    pub(crate) fn not_found(resource: &Qualified<'_>, name: &str) -> Self {
        Self::new(
            404,
            "NotFound",
            format!("{resource} {} not found", quote(name)),
        )
        .details(resource.details(name))
    }

    pub(crate) fn already_exists(resource: &Qualified<'_>, name: &str) -> Self {
        Self::new(
            409,
            "AlreadyExists",
            format!("{resource} {} already exists", quote(name)),
        )
        .details(resource.details(name))
    }

    pub(crate) fn being_deleted(resource: &Qualified<'_>, name: &str) -> Self {
        Self::new(
            409,
            "AlreadyExists",
            format!(
                "object is being deleted: {resource} {} already exists",
                quote(name)
            ),
        )
        .details(resource.details(name))
    }

    pub(crate) fn conflict(resource: &Qualified<'_>, name: &str, why: &str) -> Self {
        Self::new(
            409,
            "Conflict",
            format!(
                "Operation cannot be fulfilled on {resource} {}: {why}",
                quote(name)
            ),
        )
        .details(resource.details(name))
    }

    pub(crate) fn modified(resource: &Qualified<'_>, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    pub(crate) fn forbidden(
        resource: &Qualified<'_>,
        name: &str,
        why: &str,
        causes: &[Cause],
    ) -> Self {
        let named = if name.is_empty() {
            resource.to_string()
        } else {
            format!("{resource} {}", quote(name))
        };
        let mut details = resource.details(name);
        if !causes.is_empty() {
            details["causes"] = causes.iter().map(Cause::to_value).collect();
        }
        Self::new(403, "Forbidden", format!("{named} is forbidden: {why}")).details(details)
    }

    /// 422: `kind` is the Kind (not the resource), qualified by its group.
    pub(crate) fn invalid(kind: &Qualified<'_>, name: &str, causes: &[Cause]) -> Self {
        // A cause that comes twice is told once in the message.
        let mut texts: Vec<String> = Vec::new();
        for cause in causes {
            let text = format!("{}: {}", cause.field, cause.message);
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let text = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut details = kind.details(name);
        details["causes"] = causes.iter().map(Cause::to_value).collect();
        Self::new(
            422,
            "Invalid",
            format!("{kind} {} is invalid: {text}", quote(name)),
        )
        .details(details)
    }

    /// 422 for an object that is not stored: options, or the body of a subresource.
    pub(crate) fn invalid_other(group: &str, kind: &str, name: &str, cause: Cause) -> Self {
        Self::invalid(&Qualified { group, name: kind }, name, &[cause])
    }

    pub(crate) fn resource_version_too_large(wanted: u64, current: u64) -> Self {
        Self::new(504, "Timeout", format!("Timeout: Too large resource version: {wanted}, current: {current}"))
            .details(json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]}))
            .retry_after(1)
    }

    pub(crate) fn too_old(wanted: u64, oldest: u64) -> Self {
        Self::new(
            410,
            "Expired",
            format!("too old resource version: {wanted} ({oldest})"),
        )
    }

    pub(crate) fn list_too_old() -> Self {
        Self::new(
            410,
            "Expired",
            "The resourceVersion for the provided list is too old.",
        )
    }

    /// What the timeout filter writes: a `Status` without kind, labelled as text.
    pub(crate) fn request_timeout() -> Self {
        Self::text(
            504,
            r#"{"metadata":{},"status":"Failure","message":"Timeout: request did not complete within the allotted timeout","reason":"Timeout","details":{},"code":504}
"#,
        )
    }
}

/// Go's `%q`, for the names that people choose.
pub(crate) fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A resource or kind with its group, as messages name it: `deployments.apps`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Qualified<'a> {
    pub(crate) group: &'a str,
    pub(crate) name: &'a str,
}

impl Qualified<'_> {
    fn details(&self, name: &str) -> Value {
        let mut details = Map::new();
        if !name.is_empty() {
            details.insert("name".into(), name.into());
        }
        if !self.group.is_empty() {
            details.insert("group".into(), self.group.into());
        }
        details.insert("kind".into(), self.name.into());
        Value::Object(details)
    }
}

impl std::fmt::Display for Qualified<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.group.is_empty() {
            f.write_str(self.name)
        } else {
            write!(f, "{}.{}", self.name, self.group)
        }
    }
}
