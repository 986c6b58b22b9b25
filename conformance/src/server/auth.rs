//! Who asks.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};

use super::random;
use super::status::{Failure, Result, quote};
use super::time::Timestamp;

/// The subprotocol by which browsers send a token.
pub(crate) const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// An authenticated user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) groups: Vec<String>,
}

impl User {
    fn new(name: &str, groups: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            groups: groups.iter().map(|&g| g.to_owned()).collect(),
        }
    }

    pub(crate) fn admin() -> Self {
        Self::new("admin", &["system:masters", "system:authenticated"])
    }
}

/// The tokens that are good.
#[derive(Debug)]
pub(crate) struct Auth {
    admin: String,
    issued: Mutex<BTreeMap<String, (User, i64)>>,
}

impl Auth {
    pub(crate) fn new() -> Self {
        Self {
            admin: random::hex(16),
            issued: Mutex::default(),
        }
    }

    pub(crate) fn admin_token(&self) -> &str {
        &self.admin
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
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        let (user, expires) = issued.get(token)?;
        (*expires > Timestamp::now().seconds).then(|| user.clone())
    }

    /// Finds out who sent a request; a client certificate counts before any token.
    pub(crate) fn authenticate(&self, certificate: bool, headers: &HeaderMap) -> Result<User> {
        let user = if certificate {
            User::admin()
        } else {
            let token = bearer(headers)
                .or_else(|| protocol_token(headers))
                .ok_or_else(Failure::unauthorized)?;
            self.token_user(&token).ok_or_else(Failure::unauthorized)?
        };
        impersonated(headers).map(|impersonated| impersonated.unwrap_or(user))
    }
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().to_owned())
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
            let mut user = User {
                name: name.to_owned(),
                groups,
            };
            user.groups.push("system:authenticated".into());
            Ok(Some(user))
        }
        None if groups.is_empty() => Ok(None),
        None => {
            let quoted: Vec<String> = groups.iter().map(|g| quote(g)).collect();
            Err(Failure::bad_request(format!(
                "requested &user.DefaultInfo{{Name:\"\", UID:\"\", Groups:[]string{{{}}}, \
                 Extra:map[string][]string(nil)}} without impersonating a user name",
                quoted.join(", ")
            )))
        }
    }
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
                .map(|u| u.name)
                .map_err(|f| f.code())
        };
        assert_eq!(
            ask("authorization", &format!("bearer {}", auth.admin_token())),
            Ok("admin".into())
        );
        assert_eq!(ask("authorization", "Bearer nope"), Err(401));
        assert_eq!(
            auth.authenticate(false, &HeaderMap::new())
                .unwrap_err()
                .code(),
            401
        );
        assert_eq!(
            auth.authenticate(true, &HeaderMap::new()).unwrap().name,
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
