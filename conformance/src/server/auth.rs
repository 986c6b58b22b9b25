//! Who asks.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};

use serde_json::{Value, json};

use super::query::percent_decode;
use super::random;
use super::status::{Failure, Result, quote};
use super::time::Timestamp;

/// The subprotocol by which browsers send a token.
pub(crate) const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// An authenticated user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) groups: Vec<String>,
    pub(crate) extra: BTreeMap<String, Vec<String>>,
}

/// Who asks, and on whose behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: User,
    pub(crate) impersonator: Option<User>,
}

const ANONYMOUS: &str = "system:anonymous";
const VIEWER: &str = "viewer";

impl User {
    fn new(name: &str, groups: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            uid: String::new(),
            groups: groups.iter().map(|&g| g.to_owned()).collect(),
            extra: BTreeMap::new(),
        }
    }

    pub(crate) fn named<'a>(name: &str, groups: impl Iterator<Item = &'a str>) -> Self {
        Self::new(name, &groups.collect::<Vec<_>>())
    }

    fn anonymous() -> Self {
        Self::new(ANONYMOUS, &["system:unauthenticated"])
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        self.name == ANONYMOUS
    }

    pub(crate) fn is_viewer(&self) -> bool {
        self.name == VIEWER
    }

    /// As reviews tell it.
    pub(crate) fn info(&self) -> Value {
        let mut info = json!({"username": self.name, "groups": self.groups});
        if !self.uid.is_empty() {
            info["uid"] = self.uid.as_str().into();
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }

    pub(crate) fn admin() -> Self {
        Self::new("admin", &["system:masters", "system:authenticated"])
    }

    fn viewer() -> Self {
        Self::new(VIEWER, &["system:authenticated"])
    }
}

/// The tokens that are good.
#[derive(Debug)]
pub(crate) struct Auth {
    admin: String,
    viewer: String,
    issued: Mutex<BTreeMap<String, (User, i64)>>,
}

impl Auth {
    pub(crate) fn new() -> Self {
        Self {
            admin: random::hex(16),
            viewer: random::hex(16),
            issued: Mutex::default(),
        }
    }

    pub(crate) fn admin_token(&self) -> &str {
        &self.admin
    }

    pub(crate) fn viewer_token(&self) -> &str {
        &self.viewer
    }

    /// Makes a token for a service account that is good until `expires`.
    pub(crate) fn issue(&self, user: &str, expires: i64) -> String {
        let groups = ["system:serviceaccounts", "system:authenticated"];
        self.add(User::new(user, &groups), expires)
    }

    /// Makes a token of the user `admin` that is good until it is revoked.
    pub(crate) fn issue_admin(&self) -> String {
        self.add(User::admin(), i64::MAX)
    }

    pub(crate) fn revoke(&self, token: &str) {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued.remove(token);
    }

    fn add(&self, user: User, expires: i64) -> String {
        let token = format!("sa-{}", random::hex(24));
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Timestamp::now().seconds;
        issued.retain(|_, (_, until)| *until > now);
        issued.insert(token.clone(), (user, expires));
        token
    }

    pub(crate) fn token_user(&self, token: &str) -> Option<User> {
        if token == self.admin {
            return Some(User::admin());
        }
        if token == self.viewer {
            return Some(User::viewer());
        }
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        let (user, expires) = issued.get(token)?;
        (*expires > Timestamp::now().seconds).then(|| user.clone())
    }

    /// Finds out who sent a request; a client certificate counts before any token.
    pub(crate) fn authenticate(&self, certificate: bool, headers: &HeaderMap) -> Result<Identity> {
        let user = if certificate {
            User::admin()
        } else {
            match bearer(headers).or_else(|| protocol_token(headers)) {
                Some(token) => self.token_user(&token).ok_or_else(Failure::unauthorized)?,
                // A token alone is no offer: it is refused rather than overlooked.
                None if offers_token(headers) => return Err(Failure::unauthorized()),
                None => User::anonymous(),
            }
        };
        Ok(match impersonated(headers)? {
            None => Identity {
                user,
                impersonator: None,
            },
            Some(other) => Identity {
                user: other,
                impersonator: Some(user),
            },
        })
    }
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    // Other schemes, and an empty token, are no credentials.
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

fn protocol_token(headers: &HeaderMap) -> Option<String> {
    let offers = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|v| v.to_str().ok());
    let offers: Vec<&str> = offers.flat_map(|v| v.split(',')).map(str::trim).collect();
    let token = offers
        .iter()
        .find_map(|offer| offer.strip_prefix(TOKEN_PROTOCOL))?;
    // The token alone is no offer.
    let alone = offers.iter().all(|offer| offer.starts_with(TOKEN_PROTOCOL));
    let bytes = URL_SAFE_NO_PAD.decode(token).ok().filter(|_| !alone)?;
    String::from_utf8(bytes).ok()
}

fn offers_token(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let mut offers = offers.filter_map(|value| value.to_str().ok());
    offers.any(|value| value.contains(TOKEN_PROTOCOL))
}

fn impersonated(headers: &HeaderMap) -> Result<Option<User>> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .filter(|v| !v.is_empty())
    };
    let groups: Vec<String> = headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|v| v.to_str().ok())
        .map(str::to_owned)
        .collect();
    match text("impersonate-user") {
        Some(name) => {
            let mut user = User::new(name, &[]);
            user.groups = groups;
            if let Some(rest) = name.strip_prefix("system:serviceaccount:")
                && user.groups.is_empty()
            {
                let namespace = rest.split(':').next().unwrap_or_default();
                user.groups = vec![
                    "system:serviceaccounts".into(),
                    format!("system:serviceaccounts:{namespace}"),
                ];
            }
            user.groups.push("system:authenticated".into());
            user.uid = text("impersonate-uid").unwrap_or_default().into();
            user.extra = extra(headers);
            Ok(Some(user))
        }
        None if groups.is_empty() => Ok(None),
        None => {
            let quoted: Vec<String> = groups.iter().map(|g| quote(g)).collect();
            Err(Failure::bad_request(format!(
                "requested &user.DefaultInfo{{Name:\"\", UID:\"\", Groups:[]string{{{}}}, \
                 Extra:map[string][]string(nil)}} without impersonating a user name",
                quoted.join(", ")
            ))
            .nosniff())
        }
    }
}

/// `Impersonate-Extra-NAME`, where the name is percent-encoded.
fn extra(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let key = name.as_str().strip_prefix("impersonate-extra-");
        let key = key.and_then(|key| percent_decode(key, false));
        if let (Some(key), Ok(value)) = (key, value.to_str()) {
            extra.entry(key).or_default().push(value.to_owned());
        }
    }
    extra
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let auth = Auth::new();
        let ask = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            auth.authenticate(false, &headers)
                .map(|identity| identity.user.name)
                .map_err(|f| f.code())
        };
        assert_eq!(
            ask("authorization", &format!("bearer {}", auth.admin_token())),
            Ok("admin".into())
        );
        assert_eq!(ask("authorization", "Bearer nope"), Err(401));
        assert_eq!(ask("authorization", "Bearer "), Ok(ANONYMOUS.into()));
        assert_eq!(
            auth.authenticate(false, &HeaderMap::new())
                .unwrap()
                .user
                .name,
            ANONYMOUS
        );
        assert_eq!(
            auth.authenticate(true, &HeaderMap::new())
                .unwrap()
                .user
                .name,
            "admin"
        );
        let encoded = URL_SAFE_NO_PAD.encode(auth.admin_token());
        assert_eq!(
            ask(
                "sec-websocket-protocol",
                &format!("{TOKEN_PROTOCOL}{encoded}, v5.channel.k8s.io")
            ),
            Ok("admin".into())
        );
        assert_eq!(
            ask(
                "sec-websocket-protocol",
                &format!("{TOKEN_PROTOCOL}{encoded}")
            ),
            Err(401)
        );
        let token = auth.issue("system:serviceaccount:a:b", Timestamp::now().seconds + 60);
        assert_eq!(
            ask("authorization", &format!("Bearer {token}")),
            Ok("system:serviceaccount:a:b".into())
        );
        let expired = auth.issue("x", Timestamp::now().seconds - 1);
        assert_eq!(ask("authorization", &format!("Bearer {expired}")), Err(401));
    }
}
