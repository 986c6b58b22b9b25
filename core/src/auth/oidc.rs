//! Tokens of an `OpenID` Connect provider, refreshed with a refresh token.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::exec::Issued;
use super::expiry::Expires;
use super::redact;
use super::time::jwt_expiry;
use super::want::{ProviderCall, Want};
use crate::config::{AuthProvider, Material, Pem, Secret, is_loopback};
use crate::{Endpoint, Error, ErrorKind};

const MAX_BODY: usize = 1 << 20;
/// How long a token counts whose end cannot be read.
const UNKNOWN_LIFE: Duration = Duration::from_mins(1);

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Tokens that a provider has issued in place of those in the kubeconfig. kubewire writes no files:
/// whoever wants to keep them does.
///
/// ```
/// use std::time::{Instant, SystemTime};
/// use kubewire::Endpoint;
/// use kubewire::auth::{Credentials, Want};
/// use kubewire::config::{Auth, AuthProvider, Config};
/// use kubewire::policy::Seed;
///
/// let mut provider = AuthProvider::default();
/// for (name, value) in [
///     ("idp-issuer-url", "https://idp.example"), ("client-id", "k8s"), ("refresh-token", "old"),
/// ] {
///     provider.config.insert(name.to_owned(), value.into());
/// }
/// let mut config = Config::new(Endpoint::parse("https://10.0.0.1")?);
/// config.auth = Auth::Provider(provider);
/// let mut credentials = Credentials::new(&config, Seed::new(7))?;
///
/// let (now, wall) = (Instant::now(), SystemTime::now());
/// let _ = credentials.header(now, wall);
/// for answer in [
///     r#"{"token_endpoint": "https://idp.example/token"}"#,
///     r#"{"id_token": "a.b.c", "refresh_token": "new"}"#,
/// ] {
///     let Some((id, Want::Call(call))) = credentials.poll_want(now) else { panic!() };
///     assert_eq!(call.endpoint.host(), "idp.example");
///     credentials.handle_answer(id, Ok(http::Response::new(answer.into())), now, wall);
/// }
/// assert!(credentials.header(now, wall).is_ready());
/// let tokens = credentials.poll_rotated().unwrap();
/// assert_eq!(tokens.refresh_token.unwrap().expose(), "new");
/// # Ok::<(), kubewire::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RotatedTokens {
    /// `id-token` of the auth-provider's `config`.
    pub id_token: Secret,
    /// `refresh-token`, if there is another one. Providers may accept the old one no more.
    pub refresh_token: Option<Secret>,
}

/// How the client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Basic,
    Form,
}

impl Style {
    fn other(self) -> Self {
        match self {
            Self::Basic => Self::Form,
            Self::Form => Self::Basic,
        }
    }
}

#[derive(Clone)]
struct Url {
    endpoint: Endpoint,
    path: Uri,
}

pub(super) struct Oidc {
    issuer: Url,
    client_id: String,
    client_secret: Option<Secret>,
    id_token: Option<Secret>,
    refresh_token: Option<Secret>,
    ca: Option<Material>,
    /// What the provider said about itself.
    token_endpoint: Option<Url>,
    style: Style,
    /// The style is known to work, or the other one has been tried in this round.
    settled: bool,
    rotated: Option<RotatedTokens>,
}

pub(super) enum Progress {
    Next(Want),
    Done(Issued),
}

impl Oidc {
    pub(super) fn new(provider: &AuthProvider) -> Result<Self, Error> {
        let config = &provider.config;
        let issuer = required(config, "idp-issuer-url")?;
        let issuer = issuer.expose().trim_end_matches('/');
        let issuer = Url::parse(&format!("{issuer}/.well-known/openid-configuration"))
            .map_err(|what| wrong_config(&format!("idp-issuer-url {what}")))?;
        let client_secret = field(config, "client-secret").cloned();
        Ok(Self {
            issuer,
            client_id: required(config, "client-id")?.expose().to_owned(),
            style: client_secret.as_ref().map_or(Style::Form, |_| Style::Basic),
            settled: client_secret.is_none(),
            client_secret,
            id_token: field(config, "id-token").cloned(),
            refresh_token: field(config, "refresh-token").cloned(),
            ca: authority(config)?,
            token_endpoint: None,
            rotated: None,
        })
    }

    /// The token that was there from the start, if it says that it lasts.
    pub(super) fn initial(&self, wall: SystemTime) -> Option<Issued> {
        let token = self.id_token.as_ref()?;
        let end = jwt_expiry(token.expose()).filter(|&end| end > wall)?;
        Some(Issued {
            header: Some(token.bearer().ok()?),
            certificate: None,
            expires: Expires::At(end),
        })
    }

    pub(super) fn begin(&self) -> Result<Want, Error> {
        if self.refresh_token.is_none() {
            return Err(wrong(
                "the id-token of the auth-provider oidc is missing or has expired, and there is no refresh-token",
            ));
        }
        match self.token_endpoint.clone() {
            Some(url) => self.refresh(url),
            None => Ok(self.call(self.issuer.clone(), Request::default())),
        }
    }

    fn call(&self, url: Url, mut request: Request<Bytes>) -> Want {
        *request.uri_mut() = url.path;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(ACCEPT, json);
        Want::Call(Box::new(ProviderCall {
            endpoint: url.endpoint,
            request,
            ca: self.ca.clone(),
            max_body: MAX_BODY,
        }))
    }

    fn refresh(&self, url: Url) -> Result<Want, Error> {
        let refresh_token = self.refresh_token.as_ref().map_or("", Secret::expose);
        let mut form = Zeroizing::new(String::with_capacity(1024));
        form.push_str("grant_type=refresh_token&refresh_token=");
        form_encode(refresh_token, &mut form);
        let mut request = Request::default();
        *request.method_mut() = Method::POST;
        match (&self.client_secret, self.style) {
            (Some(secret), Style::Basic) => {
                let (mut id, mut password) = (String::new(), String::new());
                form_encode(&self.client_id, &mut id);
                form_encode(secret.expose(), &mut password);
                let value = Secret::new(password).basic(&id)?;
                request.headers_mut().insert(AUTHORIZATION, value);
            }
            (secret, _) => {
                form.push_str("&client_id=");
                form_encode(&self.client_id, &mut form);
                if let Some(secret) = secret {
                    form.push_str("&client_secret=");
                    form_encode(secret.expose(), &mut form);
                }
            }
        }
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, kind);
        *request.body_mut() = Bytes::copy_from_slice(form.as_bytes());
        Ok(self.call(url, request))
    }

    pub(super) fn handle_answer(
        &mut self,
        answer: Result<Response<Bytes>, Error>,
    ) -> Result<Progress, Error> {
        let result = match answer {
            Err(error) => Err(wrong("the identity provider cannot be reached").with_source(error)),
            Ok(answer) if answer.body().len() > MAX_BODY => {
                Err(wrong("the identity provider's answer is longer than 1 MiB"))
            }
            Ok(answer) if self.token_endpoint.is_none() => self.discovered(&answer),
            Ok(answer) => self.refreshed(&answer),
        };
        if result.is_err() {
            // It may have moved.
            self.token_endpoint = None;
            self.settled = self.client_secret.is_none();
        }
        result
    }

    fn discovered(&mut self, answer: &Response<Bytes>) -> Result<Progress, Error> {
        #[derive(Deserialize)]
        struct Discovery {
            token_endpoint: String,
            #[serde(default)]
            token_endpoint_auth_methods_supported: Option<Vec<String>>,
        }
        if !answer.status().is_success() {
            return Err(self.refused("discovery", answer));
        }
        let discovery: Discovery = serde_json::from_slice(answer.body()).map_err(|_| {
            wrong("the identity provider's discovery document names no token_endpoint")
        })?;
        let url = Url::parse(&discovery.token_endpoint)
            .map_err(|what| wrong(&format!("the identity provider's token_endpoint {what}")))?;
        if let Some(methods) = discovery.token_endpoint_auth_methods_supported
            && !self.settled
        {
            let has = |name: &str| methods.iter().any(|method| method == name);
            if has("client_secret_post") && !has("client_secret_basic") {
                self.style = Style::Form;
            }
        }
        self.token_endpoint = Some(url.clone());
        self.refresh(url).map(Progress::Next)
    }

    fn refreshed(&mut self, answer: &Response<Bytes>) -> Result<Progress, Error> {
        #[derive(Deserialize)]
        struct Tokens {
            id_token: Option<String>,
            refresh_token: Option<String>,
        }
        // A grant is looked at only after the client has proved who it is.
        let unproved = answer.status() == StatusCode::UNAUTHORIZED
            || answer.status() == StatusCode::BAD_REQUEST
                && Fault::read(answer).error.as_deref() != Some("invalid_grant");
        if unproved
            && !self.settled
            && let Some(url) = self.token_endpoint.clone()
        {
            self.settled = true;
            self.style = self.style.other();
            return self.refresh(url).map(Progress::Next);
        }
        if !answer.status().is_success() {
            return Err(self.refused("refresh", answer));
        }
        let tokens: Tokens = serde_json::from_slice(answer.body())
            .map_err(|_| wrong("the identity provider's answer holds no tokens"))?;
        let refresh_token = tokens.refresh_token.filter(|token| !token.is_empty());
        let refresh_token = refresh_token.map(Secret::new);
        let Some(id_token) = tokens.id_token.filter(|token| !token.is_empty()) else {
            return Err(wrong(
                "the identity provider's answer holds no id_token; the refresh-token may lack the scope openid",
            ));
        };
        let id_token = Secret::new(id_token);
        let header = id_token.bearer()?;
        let expires = jwt_expiry(id_token.expose()).map_or(Expires::In(UNKNOWN_LIFE), Expires::At);
        self.settled = true;
        let changed = refresh_token.filter(|token| self.refresh_token.as_ref() != Some(token));
        if let Some(token) = &changed {
            self.refresh_token = Some(token.clone());
        }
        self.id_token = Some(id_token.clone());
        // One that nobody has taken yet must not get lost.
        let before = self
            .rotated
            .take()
            .and_then(|rotated| rotated.refresh_token);
        self.rotated = Some(RotatedTokens {
            id_token,
            refresh_token: changed.or(before),
        });
        Ok(Progress::Done(Issued {
            header: Some(header),
            certificate: None,
            expires,
        }))
    }

    pub(super) fn rotated(&mut self) -> Option<RotatedTokens> {
        self.rotated.take()
    }

    fn refused(&self, what: &str, answer: &Response<Bytes>) -> Error {
        let fault = Fault::read(answer);
        let mut text = format!(
            "the identity provider refused the {what} with {}",
            answer.status()
        );
        let secrets = [&self.client_secret, &self.refresh_token, &self.id_token];
        for part in [fault.error, fault.error_description].into_iter().flatten() {
            let part = redact::tail(part.as_bytes(), secrets.into_iter().flatten());
            text = format!("{text}: {part}");
        }
        wrong(&text)
    }
}

/// What OAuth says about a refusal.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Fault {
    error: Option<String>,
    error_description: Option<String>,
}

impl Fault {
    fn read(answer: &Response<Bytes>) -> Self {
        serde_json::from_slice(answer.body()).unwrap_or_default()
    }
}

impl Url {
    /// An https URL, or one of this machine.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let uri: Uri = text.parse().map_err(|_| "does not parse")?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err("is no URL");
        };
        let endpoint = Endpoint::parse(&format!("{scheme}://{authority}"))
            .map_err(|_| "is neither http nor https, or holds credentials")?;
        if !endpoint.is_https() && !is_loopback(endpoint.host()) {
            return Err("is not https");
        }
        let path = uri.path_and_query().cloned().map(Uri::from);
        let path = path.unwrap_or_default();
        Ok(Self { endpoint, path })
    }
}

fn wrong(what: &str) -> Error {
    Error::new(ErrorKind::Credentials, what.to_owned())
}

fn wrong_config(what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("auth-provider oidc: {what}"))
}

fn field<'a>(config: &'a BTreeMap<String, Secret>, name: &str) -> Option<&'a Secret> {
    config.get(name).filter(|value| !value.is_empty())
}

fn required<'a>(config: &'a BTreeMap<String, Secret>, name: &str) -> Result<&'a Secret, Error> {
    field(config, name).ok_or_else(|| wrong_config(&format!("{name} is not set")))
}

fn authority(config: &BTreeMap<String, Secret>) -> Result<Option<Material>, Error> {
    if let Some(data) = field(config, "idp-certificate-authority-data") {
        let compact: String = data.expose().split_ascii_whitespace().collect();
        return BASE64
            .decode(compact)
            .map(|pem| Some(Material::Data(Pem::new(pem))))
            .map_err(|_| wrong_config("idp-certificate-authority-data is not base64"));
    }
    let file = field(config, "idp-certificate-authority");
    Ok(file.map(|path| Material::File(path.expose().into())))
}

/// `application/x-www-form-urlencoded`.
fn form_encode(text: &str, output: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            output.push(char::from(byte));
        } else if byte == b' ' {
            output.push('+');
        } else {
            output.push('%');
            for digit in [byte >> 4, byte & 15] {
                output.extend(HEX.get(usize::from(digit)).map(|&digit| char::from(digit)));
            }
        }
    }
}

impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oidc")
            .field("issuer", &self.issuer.endpoint)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let mut text = String::new();
        form_encode("a-B_c.9 ~+&=/é", &mut text);
        assert_eq!(text, "a-B_c.9+%7E%2B%26%3D%2F%C3%A9");
    }

    #[test]
    fn urls_are_https() {
        for (text, ok) in [
            ("https://idp.example/realms/x", true),
            ("https://idp.example", true),
            ("http://127.0.0.1:8080/x", true),
            ("http://idp.example/x", false),
            ("https://u:p@idp.example/x", false),
            ("ftp://idp.example", false),
            ("/x", false),
            ("", false),
        ] {
            assert_eq!(Url::parse(text).is_ok(), ok, "{text}");
        }
    }
}
