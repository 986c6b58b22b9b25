//! What the server's reason was.

use super::{Error, ErrorKind, Failure};

/// The reasons that servers give, and the codes that they come with.
const REASONS: [(&str, u16); 18] = [
    ("BadRequest", 400),
    ("Unauthorized", 401),
    ("Forbidden", 403),
    ("NotFound", 404),
    ("MethodNotAllowed", 405),
    ("NotAcceptable", 406),
    ("AlreadyExists", 409),
    ("Conflict", 409),
    ("Gone", 410),
    ("Expired", 410),
    ("RequestEntityTooLarge", 413),
    ("UnsupportedMediaType", 415),
    ("Invalid", 422),
    ("TooManyRequests", 429),
    ("InternalError", 500),
    ("ServerTimeout", 500),
    ("ServiceUnavailable", 503),
    ("Timeout", 504),
];

impl Failure {
    /// The reason that was given.
    fn given(&self) -> Option<&str> {
        let reason = self.status.as_ref()?.reason.as_deref()?;
        (!reason.is_empty()).then_some(reason)
    }

    /// The reason that an answer stands for which is no Status: a proxy's page, a filter's text.
    fn implied(&self, posted: bool) -> Option<&'static str> {
        match self.code.as_u16() {
            409 if posted => Some("AlreadyExists"),
            409 => Some("Conflict"),
            code @ (503 | 504) => by_code(code),
            code @ 500.. if code < 600 => Some("InternalError"),
            code => by_code(code),
        }
    }
}

/// The first reason of a code is its usual one.
fn by_code(code: u16) -> Option<&'static str> {
    let found = REASONS.iter().find(|(_, usual)| *usual == code)?;
    Some(found.0)
}

impl Error {
    /// The machine-readable reason of the server's Status. If the answer was no Status, the reason that its code stands
    /// for; a Status without a reason has none.
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, End, Limits, Operation};
    /// let pods = Api::dynamic(ApiResource::core("Pod", "pods")).in_namespace("default");
    /// let (_, mut exchange) = pods.get("p").into_call()?.begin(&Limits::default());
    /// exchange.handle_head(&http::Response::builder().status(503).body(()).unwrap().into_parts().0)?;
    /// exchange.handle_data("<html>try again</html>".into())?;
    /// let error = exchange.handle_end(End::Clean).unwrap_err();
    /// assert_eq!(error.reason(), Some("ServiceUnavailable"));
    /// assert!(error.is_service_unavailable());
    /// assert_eq!(error.body().unwrap(), "<html>try again</html>");
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        let failure = self.inner.failure.as_ref()?;
        match &failure.status {
            Some(_) => failure.given(),
            None => failure.implied(self.inner.posted),
        }
    }

    /// Whether this is the reason. A reason that is not known, and none at all, count as what the code stands for:
    /// webhooks make up their own.
    fn has_reason(&self, reason: &str) -> bool {
        let Some(failure) = &self.inner.failure else {
            return false;
        };
        match failure.given() {
            Some(given) if given == reason => true,
            Some(given) if REASONS.iter().any(|(known, _)| *known == given) => false,
            Some("StorageReadError") => false,
            _ => failure.implied(self.inner.posted) == Some(reason),
        }
    }

    fn has_cause(&self, cause: &str) -> bool {
        self.status().is_some_and(|status| status.has_cause(cause))
    }

    /// 400: the request makes no sense to the server.
    #[must_use]
    pub fn is_bad_request(&self) -> bool {
        self.has_reason("BadRequest")
    }

    /// 401: the credentials were not accepted.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        self.has_reason("Unauthorized")
    }

    /// 403: not permitted, or refused by admission, quota or pod security.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.has_reason("Forbidden")
    }

    /// 403 because the namespace is being deleted: nothing can be created in it any more.
    #[must_use]
    pub fn is_namespace_terminating(&self) -> bool {
        self.has_cause("NamespaceTerminating")
    }

    /// 404: the object, its namespace, or the resource itself does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.has_reason("NotFound")
    }

    /// 405: the resource does not have this verb.
    #[must_use]
    pub fn is_method_not_allowed(&self) -> bool {
        self.has_reason("MethodNotAllowed")
    }

    /// 406: the server does not have this form of the answer.
    #[must_use]
    pub fn is_not_acceptable(&self) -> bool {
        self.has_reason("NotAcceptable")
    }

    /// 409 on create: the name is taken (also by an object that is still terminating).
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.has_reason("AlreadyExists")
    }

    /// 409 that is not [`is_already_exists`](Self::is_already_exists): a stale `resourceVersion`, a
    /// failed precondition, or fields owned by another manager. See [`is_apply_conflict`](Self::is_apply_conflict).
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.has_reason("Conflict")
    }

    /// 409 of a server-side apply: other field managers own what the patch wants to set. The
    /// causes of [`status`](Self::status) name managers and fields.
    #[must_use]
    pub fn is_apply_conflict(&self) -> bool {
        self.is_conflict() && self.has_cause("FieldManagerConflict")
    }

    /// 410: a `resourceVersion` or continue token is too old. Start a new list, or see
    /// [`continue_token`](Self::continue_token).
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.has_reason("Expired") || self.has_reason("Gone")
    }

    /// With an expired continue token: another one, for the rest of the list at a **newer** version. Together with
    /// the pages before, that list is not consistent.
    #[must_use]
    pub fn continue_token(&self) -> Option<&str> {
        self.status()?.metadata.next_page()
    }

    /// 413: the body is too large, for the server or a policy.
    #[must_use]
    pub fn is_request_entity_too_large(&self) -> bool {
        self.has_reason("RequestEntityTooLarge")
    }

    /// 415: the server does not take this form of a body; strategic merge patches of custom resources, for instance.
    #[must_use]
    pub fn is_unsupported_media_type(&self) -> bool {
        self.has_reason("UnsupportedMediaType")
    }

    /// 422: the object or the options do not validate.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.has_reason("Invalid")
    }

    /// 429: throttled, or an eviction that a disruption budget does not allow now.
    #[must_use]
    pub fn is_too_many_requests(&self) -> bool {
        self.has_reason("TooManyRequests")
    }

    /// 429 of an eviction: a disruption budget does not allow it now. [`retry_after`](Self::retry_after) is given only
    /// while the budget is being computed, not when it is used up.
    ///
    /// ```
    /// use kubewire::{Api, ApiResource, End, Limits, Operation};
    /// let pods = Api::dynamic(ApiResource::core("Pod", "pods")).in_namespace("default");
    /// let (_, mut exchange) = pods.evict("web-0").into_call()?.begin(&Limits::default());
    /// exchange.handle_head(&http::Response::builder().status(429).body(()).unwrap().into_parts().0)?;
    /// exchange.handle_data(r#"{"kind":"Status","status":"Failure","reason":"TooManyRequests","code":429,
    ///     "details":{"causes":[{"reason":"DisruptionBudget"}],"retryAfterSeconds":10}}"#.into())?;
    /// let error = exchange.handle_end(End::Clean).unwrap_err();
    /// assert!(error.is_disruption_budget());
    /// assert_eq!(error.retry_after().unwrap().as_secs(), 10);
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    #[must_use]
    pub fn is_disruption_budget(&self) -> bool {
        self.has_cause("DisruptionBudget")
    }

    /// 500: something is wrong in the server or behind it.
    #[must_use]
    pub fn is_internal_error(&self) -> bool {
        self.has_reason("InternalError")
    }

    /// 500: the server could not finish in time; it may be asked again after [`retry_after`](Self::retry_after).
    #[must_use]
    pub fn is_server_timeout(&self) -> bool {
        self.has_reason("ServerTimeout")
    }

    /// 500: the stored form of an object cannot be read.
    #[must_use]
    pub fn is_storage_read_error(&self) -> bool {
        self.reason() == Some("StorageReadError")
    }

    /// 503: the server, or the aggregated API behind it, is not there now.
    #[must_use]
    pub fn is_service_unavailable(&self) -> bool {
        self.has_reason("ServiceUnavailable")
    }

    /// A deadline passed, here or in the server (504).
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.inner.kind == ErrorKind::Timeout || self.has_reason("Timeout")
    }

    /// 504: the server has not seen the `resourceVersion` yet that was asked for.
    #[must_use]
    pub fn is_resource_version_too_large(&self) -> bool {
        self.has_cause("ResourceVersionTooLarge")
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;

    use super::*;
    use crate::meta::Status;

    fn failure(code: u16, reason: Option<&str>, posted: bool) -> Error {
        let status = Status {
            reason: reason.map(str::to_owned),
            ..Status::default()
        };
        Error::api(Failure {
            code: StatusCode::from_u16(code).unwrap(),
            status: reason.map(|_| status),
            body: Bytes::new(),
            retry_after: None,
            audit_id: None,
        })
        .posted(posted)
    }

    #[test]
    fn predicates_follow_reason_then_code() {
        type Predicate = fn(&Error) -> bool;
        let predicates: [(&str, Predicate); 18] = [
            ("BadRequest", Error::is_bad_request),
            ("Unauthorized", Error::is_unauthorized),
            ("Forbidden", Error::is_forbidden),
            ("NotFound", Error::is_not_found),
            ("MethodNotAllowed", Error::is_method_not_allowed),
            ("NotAcceptable", Error::is_not_acceptable),
            ("AlreadyExists", Error::is_already_exists),
            ("Conflict", Error::is_conflict),
            ("Expired", Error::is_expired),
            ("RequestEntityTooLarge", Error::is_request_entity_too_large),
            ("UnsupportedMediaType", Error::is_unsupported_media_type),
            ("Invalid", Error::is_invalid),
            ("TooManyRequests", Error::is_too_many_requests),
            ("InternalError", Error::is_internal_error),
            ("ServerTimeout", Error::is_server_timeout),
            ("StorageReadError", Error::is_storage_read_error),
            ("ServiceUnavailable", Error::is_service_unavailable),
            ("Timeout", Error::is_timeout),
        ];
        let which = |error: &Error| -> Vec<&str> {
            let holds = predicates.iter().filter(|(_, predicate)| predicate(error));
            holds.map(|(name, _)| *name).collect()
        };
        for (name, _) in predicates {
            // The reason decides, whatever the code is.
            assert_eq!(which(&failure(418, Some(name), false)), [name]);
        }
        for (code, posted, name) in [
            (400, false, "BadRequest"),
            (401, false, "Unauthorized"),
            (403, false, "Forbidden"),
            (404, false, "NotFound"),
            (405, false, "MethodNotAllowed"),
            (406, false, "NotAcceptable"),
            (409, true, "AlreadyExists"),
            (409, false, "Conflict"),
            (410, false, "Expired"),
            (413, false, "RequestEntityTooLarge"),
            (415, false, "UnsupportedMediaType"),
            (422, false, "Invalid"),
            (429, false, "TooManyRequests"),
            (500, false, "InternalError"),
            (502, false, "InternalError"),
            (503, false, "ServiceUnavailable"),
            (504, false, "Timeout"),
        ] {
            assert_eq!(which(&failure(code, None, posted)), [name], "{code}");
            assert_eq!(which(&failure(code, Some(""), posted)), [name], "{code}");
            assert_eq!(
                which(&failure(code, Some("MadeUp"), posted)),
                [name],
                "{code}"
            );
        }
        assert_eq!(which(&failure(418, None, true)), [""; 0]);
        assert_eq!(failure(418, None, false).reason(), None);
        assert_eq!(failure(404, None, false).reason(), Some("NotFound"));
        assert_eq!(failure(500, Some(""), false).reason(), None);
    }
}
