//! Tokens of an `OpenID` Connect provider.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod auth_support;

use auth_support::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kubewire::auth::{Credentials, ProviderCall, Unauthorized, WantId};
use kubewire::config::{Auth, AuthProvider, Config, Material};
use kubewire::policy::Seed;
use kubewire::{Error, ErrorKind};

fn provider(fields: &[(&str, &str)]) -> Config {
    let mut provider = AuthProvider::default();
    provider.name = String::from("oidc");
    for (name, value) in [
        ("idp-issuer-url", "https://idp.example/realms/k8s/"),
        ("client-id", "kube wire"),
        ("refresh-token", "hunter/refresh"),
    ]
    .iter()
    .chain(fields)
    {
        provider.config.insert((*name).to_owned(), (*value).into());
    }
    let mut config = config();
    config.auth = Auth::Provider(provider);
    config
}

/// A token that ends so many seconds after the start.
fn token(name: &str, seconds: u64) -> String {
    let claims = format!(r#"{{"iss":"{name}","exp":{}}}"#, START + seconds);
    format!("e30.{}.{name}", URL_SAFE_NO_PAD.encode(claims))
}

const DISCOVERY: &str = r#"{"issuer":"x","token_endpoint":"https://login.example:8443/token?a=b"}"#;

impl World {
    fn discover(&mut self, document: &str) {
        assert!(self.header().is_pending());
        let (id, call) = self.call();
        assert_eq!(call.endpoint.to_string(), "https://idp.example");
        assert_eq!(call.request.method(), "GET");
        assert_eq!(
            call.request.uri(),
            "/realms/k8s/.well-known/openid-configuration"
        );
        self.answer(id, 200, document);
    }

    fn refresh(&mut self) -> (WantId, ProviderCall, String) {
        assert!(self.header().is_pending());
        let (id, call) = self.call();
        assert_eq!(call.endpoint.to_string(), "https://login.example:8443");
        assert_eq!(call.request.uri(), "/token?a=b");
        assert_eq!(call.request.method(), "POST");
        assert_eq!(
            call.request.headers()["content-type"],
            "application/x-www-form-urlencoded"
        );
        let form = String::from_utf8(call.request.body().to_vec()).unwrap();
        (id, call, form)
    }
}

fn tokens(id: &str, refresh: Option<&str>) -> String {
    let refresh = refresh.map_or(String::new(), |token| {
        format!(r#","refresh_token":"{token}""#)
    });
    format!(r#"{{"access_token":"x","token_type":"Bearer","id_token":"{id}"{refresh}}}"#)
}

#[test]
fn the_initial_token_is_used_until_it_ends() {
    let initial = token("initial", 600);
    let mut world = World::new(&provider(&[("id-token", &initial)]));
    assert_eq!(world.value(), format!("Bearer {initial}"));
    assert!(world.want().is_none());
    world.pass(550 * SECOND);
    assert_eq!(world.value(), format!("Bearer {initial}"));
    let (id, _) = world.call();
    world.answer(id, 200, DISCOVERY);
    assert_eq!(world.value(), format!("Bearer {initial}"));
    let (id, _) = world.call();
    world.answer(id, 200, &tokens(&token("new", 7200), None));
    assert_eq!(world.value(), format!("Bearer {}", token("new", 7200)));
    assert!(world.credentials.poll_rotated().is_some());

    // One that has ended, or does not tell, is not used at all.
    for initial in [token("old", 0), "a.b.c".to_owned(), "opaque".to_owned()] {
        let mut world = World::new(&provider(&[("id-token", &initial)]));
        world.discover(DISCOVERY);
    }
    let mut world = World::new(&provider(&[
        ("id-token", &token("old", 0)),
        ("refresh-token", ""),
    ]));
    assert_eq!(
        world.error().to_string(),
        "the id-token of the auth-provider oidc is missing or has expired, and there is no refresh-token"
    );
}

#[test]
fn refresh_rotate_and_report() {
    let ca = [("idp-certificate-authority-data", "UEVN\nUEVN")];
    let mut world = World::new(&provider(&ca));
    world.discover(DISCOVERY);
    let (id, call, form) = world.refresh();
    assert!(matches!(&call.ca, Some(Material::Data(pem)) if pem.as_bytes() == b"PEMPEM"));
    assert!(!call.request.headers().contains_key("authorization"));
    assert_eq!(
        form,
        "grant_type=refresh_token&refresh_token=hunter%2Frefresh&client_id=kube+wire"
    );
    assert!(!format!("{call:?} {:?}", world.credentials).contains("hunter"));
    world.answer(id, 200, &tokens(&token("one", 3600), Some("hunter-2")));
    assert_eq!(world.value(), format!("Bearer {}", token("one", 3600)));
    let rotated = world.credentials.poll_rotated().unwrap();
    assert_eq!(rotated.id_token.expose(), token("one", 3600));
    assert_eq!(rotated.refresh_token.as_ref().unwrap().expose(), "hunter-2");
    assert!(!format!("{rotated:?}").contains("hunter"));
    assert!(world.credentials.poll_rotated().is_none());

    // The endpoint is known now, and the refresh token is the new one.
    world.pass(3600 * SECOND);
    let (id, _, form) = world.refresh();
    assert!(form.contains("refresh_token=hunter-2&"), "{form}");
    world.answer(id, 200, &tokens(&token("two", 7200), Some("hunter-2")));
    world.pass(3600 * SECOND);
    let (id, _, _) = world.refresh();
    world.answer(id, 200, &tokens("opaque", None));
    assert_eq!(world.value(), "Bearer opaque");
    let rotated = world.credentials.poll_rotated().unwrap();
    assert_eq!(
        (rotated.id_token.expose(), rotated.refresh_token),
        ("opaque", None)
    );
    // Whose end cannot be read, lives for a minute.
    world.pass(60 * SECOND);
    world.refresh();
}

#[test]
fn a_client_secret_goes_where_the_provider_wants_it() {
    let secret = [("client-secret", "hunter 2:")];
    let basic = "Basic a3ViZSt3aXJlOmh1bnRlcisyJTNB";
    let in_form = "&client_id=kube+wire&client_secret=hunter+2%3A";

    let mut world = World::new(&provider(&secret));
    world.discover(DISCOVERY);
    let (id, call, form) = world.refresh();
    assert_eq!(call.request.headers()["authorization"], basic);
    assert!(!form.contains("client"), "{form}");
    world.answer(id, 401, r#"{"error":"invalid_client"}"#);
    let (id, call, form) = world.refresh();
    assert!(!call.request.headers().contains_key("authorization"));
    assert!(form.ends_with(in_form), "{form}");
    world.answer(id, 200, &tokens(&token("one", 3600), None));
    // Remembered.
    world.pass(3600 * SECOND);
    let (_, _, form) = world.refresh();
    assert!(form.ends_with(in_form), "{form}");

    let mut world = World::new(&provider(&secret));
    world.discover(&DISCOVERY.replace(
        '{',
        r#"{"token_endpoint_auth_methods_supported":["client_secret_post"],"#,
    ));
    let (id, _, form) = world.refresh();
    assert!(form.ends_with(in_form), "{form}");
    world.answer(id, 400, r#"{"error":"invalid_client"}"#);
    let (id, call, _) = world.refresh();
    assert_eq!(call.request.headers()["authorization"], basic);
    world.answer(
        id,
        400,
        r#"{"error":"invalid_client","error_description":"hunter 2: is wrong"}"#,
    );
    assert_eq!(
        world.error().to_string(),
        "the identity provider refused the refresh with 400 Bad Request: invalid_client: [hidden] is wrong"
    );

    // The client was accepted, the token was not: no second try.
    let mut world = World::new(&provider(&secret));
    world.discover(DISCOVERY);
    let (id, _, _) = world.refresh();
    world.answer(id, 400, r#"{"error":"invalid_grant"}"#);
    assert!(
        world
            .error()
            .to_string()
            .ends_with("400 Bad Request: invalid_grant")
    );
}

#[test]
fn faults() {
    for (code, body, text) in [
        (
            404,
            "not here",
            "the identity provider refused the discovery with 404 Not Found",
        ),
        (
            200,
            "<html>",
            "the identity provider's discovery document names no token_endpoint",
        ),
        (
            200,
            "{}",
            "the identity provider's discovery document names no token_endpoint",
        ),
        (
            200,
            r#"{"token_endpoint":"http://login.example/"}"#,
            "the identity provider's token_endpoint is not https",
        ),
        (
            200,
            r#"{"token_endpoint":"/token"}"#,
            "the identity provider's token_endpoint is no URL",
        ),
    ] {
        let mut world = World::new(&provider(&[]));
        let (id, _) = world.pending_want();
        world.answer(id, code, body);
        let error = world.error();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Credentials, text)
        );
    }
    for (code, body, text) in [
        (
            500,
            "",
            "the identity provider refused the refresh with 500 Internal Server Error",
        ),
        (200, "[]", "the identity provider's answer holds no tokens"),
        (
            200,
            r#"{"access_token":"hunter2"}"#,
            "the identity provider's answer holds no id_token; the refresh-token may lack the scope openid",
        ),
        (
            200,
            r#"{"id_token":"hunter2 2"}"#,
            "the token holds characters that no header can carry",
        ),
        (
            200,
            &"x".repeat((1 << 20) + 1),
            "the identity provider's answer is longer than 1 MiB",
        ),
    ] {
        let mut world = World::new(&provider(&[]));
        world.discover(DISCOVERY);
        let (id, _, _) = world.refresh();
        world.answer(id, code, body);
        let error = world.error();
        assert_eq!(error.to_string(), text);
        assert!(!format!("{error:?}").contains("hunter"));
        // From the start.
        world.pass(10 * SECOND);
        world.discover(DISCOVERY);
    }
    let mut world = World::new(&provider(&[]));
    let (id, _) = world.pending_want();
    assert_eq!(
        world.credentials.poll_timeout(),
        Some(world.now + 30 * SECOND)
    );
    let error = Error::new(ErrorKind::Transport, "refused");
    world
        .credentials
        .handle_answer(id, Err(error), world.now, world.wall);
    assert_eq!(
        world.error().to_string(),
        "the identity provider cannot be reached"
    );
}

#[test]
fn settings_are_checked() {
    for (name, value, text) in [
        (
            "idp-issuer-url",
            "",
            "auth-provider oidc: idp-issuer-url is not set",
        ),
        ("client-id", "", "auth-provider oidc: client-id is not set"),
        (
            "idp-issuer-url",
            "http://idp.example",
            "auth-provider oidc: idp-issuer-url is not https",
        ),
        (
            "idp-issuer-url",
            "https://hunter2@idp",
            "auth-provider oidc: idp-issuer-url is neither http nor https, or holds credentials",
        ),
        (
            "idp-certificate-authority-data",
            "!hunter2",
            "auth-provider oidc: idp-certificate-authority-data is not base64",
        ),
    ] {
        let error = Credentials::new(&provider(&[(name, value)]), Seed::new(1)).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Config, text)
        );
    }
    let file = provider(&[("idp-certificate-authority", "/pki/idp.crt")]);
    let mut world = World::new(&file);
    assert!(world.header().is_pending());
    let (_, call) = world.call();
    assert_eq!(call.ca, Some(Material::File("/pki/idp.crt".into())));
}

#[test]
fn a_401_refreshes_once() {
    let mut world = World::new(&provider(&[("id-token", &token("one", 3600))]));
    let generation = world.ready().generation;
    for _ in 0..50 {
        assert_eq!(world.unauthorized(generation), Unauthorized::Retry);
    }
    world.discover(DISCOVERY);
    let (id, _, _) = world.refresh();
    assert_eq!(world.unauthorized(generation), Unauthorized::Retry);
    world.answer(id, 200, &tokens(&token("two", 3600), None));
    assert_eq!(world.ready().generation, generation + 1);
    assert_eq!(world.unauthorized(generation), Unauthorized::Retry);
    assert_eq!(world.unauthorized(generation + 1), Unauthorized::GiveUp);
}
