//! Acting as someone else.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use http::{HeaderName, HeaderValue};

use crate::{Error, ErrorKind};

/// Who to act as. The own credentials are sent too, and need the verb `impersonate`.
///
/// ```
/// use kubewire::config::Impersonation;
///
/// let jane = Impersonation::user("jane").group("dev").extra("example.org/scopes", "view");
/// let headers: Vec<_> = jane.headers()?.into_iter()
///     .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
///     .collect();
/// assert_eq!(headers, [
///     "impersonate-user: jane",
///     "impersonate-group: dev",
///     "impersonate-extra-example.org%2fscopes: view",
/// ]);
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Impersonation {
    /// The user name. The server refuses everything else without it.
    pub user: String,
    /// The user's UID.
    pub uid: Option<String>,
    /// The groups. `system:authenticated` is added by the server.
    pub groups: Vec<String>,
    /// Extra fields of the user, by key. Keys are not case-sensitive.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Impersonation {
    /// A user without groups.
    pub fn user(name: impl Into<String>) -> Self {
        Self {
            user: name.into(),
            ..Self::default()
        }
    }

    /// Sets the UID.
    #[must_use]
    pub fn uid(mut self, uid: impl Into<String>) -> Self {
        self.uid = Some(uid.into());
        self
    }

    /// Adds a group.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.groups.push(group.into());
        self
    }

    /// Adds a value to an extra field.
    #[must_use]
    pub fn extra(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.extra.entry(key.into()).or_default().push(value.into());
        self
    }

    /// The headers to add to every request, in a fixed order. Append them: groups and extra fields
    /// repeat a name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] without a user, for an empty extra key, or for a value with control
    /// characters.
    pub fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
        if self.user.is_empty() {
            return Err(Error::new(
                ErrorKind::Config,
                "impersonation of a uid, groups or extra fields needs a user name",
            ));
        }
        let value = |field: &str, text: &str| {
            HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
                Error::new(
                    ErrorKind::Config,
                    format!("impersonation: {field} holds a control character"),
                )
            })
        };
        let mut headers = vec![(
            HeaderName::from_static("impersonate-user"),
            value("the user name", &self.user)?,
        )];
        if let Some(uid) = self.uid.as_deref().filter(|uid| !uid.is_empty()) {
            headers.push((
                HeaderName::from_static("impersonate-uid"),
                value("the uid", uid)?,
            ));
        }
        for group in &self.groups {
            headers.push((
                HeaderName::from_static("impersonate-group"),
                value("a group", group)?,
            ));
        }
        for (key, values) in &self.extra {
            let name = extra_header(key)?;
            for text in values {
                headers.push((name.clone(), value("an extra field", text)?));
            }
        }
        Ok(headers)
    }
}

fn extra_header(key: &str) -> Result<HeaderName, Error> {
    let mut name = String::from("impersonate-extra-");
    for byte in key.bytes() {
        if is_token(byte) && byte != b'%' {
            name.push(char::from(byte.to_ascii_lowercase()));
        } else {
            let _ = write!(name, "%{byte:02x}");
        }
    }
    HeaderName::from_bytes(name.as_bytes())
        .ok()
        .filter(|_| !key.is_empty())
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                "impersonation: the key of an extra field is empty or too long",
            )
        })
}

/// `tchar` of RFC 9110.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_keys_are_escaped() {
        for (key, name) in [
            ("scopes", "scopes"),
            ("Scopes", "scopes"),
            ("a%b", "a%25b"),
            ("a/b c", "a%2fb%20c"),
            ("alpha.beta-_~!#$&'*+^`|", "alpha.beta-_~!#$&'*+^`|"),
            ("é", "%c3%a9"),
            ("a:b=c\n", "a%3ab%3dc%0a"),
        ] {
            let header = extra_header(key).unwrap();
            assert_eq!(header.as_str(), format!("impersonate-extra-{name}"));
        }
        assert!(extra_header("").is_err());
        assert!(extra_header(&"x".repeat(1 << 17)).is_err());
    }

    #[test]
    fn header_injection_is_refused() {
        for wrong in [
            Impersonation::user("a\r\nx: y"),
            Impersonation::user("a").uid("\n"),
            Impersonation::user("a").group("b\nc"),
            Impersonation::user("a").extra("k", "v\r"),
            Impersonation::default().group("b"),
        ] {
            let error = wrong.headers().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
        }
        let ok = Impersonation::user("jürgen").headers().unwrap();
        assert_eq!(ok[0].1.as_bytes(), "jürgen".as_bytes());
    }

    #[test]
    fn groups_and_values_repeat() {
        let headers = Impersonation::user("u")
            .uid("7")
            .group("a")
            .group("b")
            .extra("k", "1")
            .extra("k", "2")
            .headers()
            .unwrap();
        let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "impersonate-user",
                "impersonate-uid",
                "impersonate-group",
                "impersonate-group",
                "impersonate-extra-k",
                "impersonate-extra-k"
            ]
        );
    }
}
