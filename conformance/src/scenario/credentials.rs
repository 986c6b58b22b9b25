//! Credentials that come from programs, files and identity providers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kubewire::config::{Auth, AuthProvider, Config, ExecPlugin};
use kubewire::{Api, Endpoint, ErrorKind};
use kubewire_driver::{Client, Drive};

use super::Need::{Embedded, Tls};
use super::auth::nobody;
use super::pods::map;
use super::{Calls, Env};
use crate::harness::Scratch;
use crate::peers::{Peer, answer};
use crate::server::Server;

driven! { Auth;
    one_run_serves_all_requests: Embedded;
    a_refused_token_is_replaced: Embedded;
    a_failing_plugin_shows_its_stderr_only;
    a_missing_plugin_shows_its_hint;
    too_much_output_ends_the_plugin;
    a_slow_plugin_is_killed;
    a_dropped_request_hands_the_plugin_over: Embedded;
    a_plugin_that_nobody_polls_holds_up_no_other_for_ever: Embedded;
    a_token_file_is_read_again_after_a_401;
    a_token_comes_from_an_identity_provider: Embedded;
    a_certificate_takes_the_place_of_a_refused_token: Embedded, Tls;
    a_token_that_ends_amid_many_requests_costs_one_run: Embedded;
    a_rotated_certificate_is_shown_by_new_connections_only: Embedded, Tls;
}

/// A plugin; each run leaves a line in `runs`. It is given to a shell, so that no file is executed that is
/// still open for writing in a child that another test has just forked.
fn plugin(dir: &Path, script: &str) -> ExecPlugin {
    let path = dir.join("plugin.sh");
    let runs = dir.join("runs");
    std::fs::write(
        &path,
        format!("echo run >> '{}'\n{script}\n", runs.display()),
    )
    .expect("a script");
    ExecPlugin::new("sh").arg(path.to_string_lossy())
}

fn runs(dir: &Path) -> usize {
    std::fs::read_to_string(dir.join("runs")).map_or(0, |text| text.lines().count())
}

fn credential(token: &str) -> String {
    format!(
        r#"{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{{"token":"{token}"}}}}"#
    )
}

fn client<R: Drive>(env: &Env<R>, config: Config) -> Client<R> {
    env.builder_with(config).build().expect("a client")
}

fn issued(certificate: &str, key: &str) -> String {
    serde_json::json!({
        "kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1",
        "status": {"clientCertificateData": certificate, "clientKeyData": key},
    })
    .to_string()
}

async fn one_run_serves_all_requests<R: Drive>(env: &Env<R>) {
    let dir = Scratch::new();
    let script = format!("sleep 0.1; echo '{}'", credential(env.server().token()));
    let client = client(env, nobody(env).exec(plugin(&dir, &script)));
    let calls = (0..50).map(|_| client.send(env.api::<ConfigMap>().list()));
    for result in join_all(calls).await {
        result.expect("a list");
    }
    assert_eq!(runs(&dir), 1);
}

async fn a_refused_token_is_replaced<R: Drive>(env: &Env<R>) {
    let dir = Scratch::new();
    let script = format!(
        "if [ $(wc -l < '{}') -lt 2 ]; then echo '{}'; else echo '{}'; fi",
        dir.join("runs").display(),
        credential("expired"),
        credential(env.server().token())
    );
    let client = client(env, nobody(env).exec(plugin(&dir, &script)));
    let calls = (0..10).map(|_| client.send(env.api::<ConfigMap>().list()));
    for result in join_all(calls).await {
        result.expect("a list");
    }
    assert_eq!(runs(&dir), 2);
}

async fn a_failing_plugin_shows_its_stderr_only<R: Drive>(env: &Env<R>) {
    let dir = Scratch::new();
    let plugin = plugin(&dir, "echo tell-nobody; echo 'no such profile' >&2; exit 3");
    let client = client(env, nobody(env).exec(plugin));
    let error = client
        .send(env.api::<ConfigMap>().list())
        .await
        .expect_err("no credentials");
    assert_eq!(error.kind(), ErrorKind::Credentials);
    let text = format!("{error} {error:?}");
    assert!(text.contains("no such profile"), "{text}");
    assert!(!text.contains("tell-nobody"), "{text}");
}

async fn a_missing_plugin_shows_its_hint<R: Drive>(env: &Env<R>) {
    let mut plugin = ExecPlugin::new("kubewire-there-is-no-such-program");
    plugin.install_hint = Some("get it from example.org".to_owned());
    let client = client(env, nobody(env).exec(plugin));
    let error = client
        .send(env.api::<ConfigMap>().list())
        .await
        .expect_err("no credentials");
    let text = format!("{error:?} {error}");
    assert!(text.contains("get it from example.org"), "{text}");
}

async fn too_much_output_ends_the_plugin<R: Drive>(env: &Env<R>) {
    let dir = Scratch::new();
    let client = client(env, nobody(env).exec(plugin(&dir, "exec yes")));
    let error = client
        .send(env.api::<ConfigMap>().list())
        .await
        .expect_err("no credentials");
    assert_eq!(error.kind(), ErrorKind::Credentials, "{error}");
}

async fn a_slow_plugin_is_killed<R: Drive>(env: &Env<R>) {
    let dir = Scratch::new();
    let plugin = plugin(
        &dir,
        &format!("echo $$ > '{}'; exec sleep 600", dir.join("pid").display()),
    );
    let client = env
        .builder_with(nobody(env).exec(plugin))
        .exec_timeout(Some(Duration::from_millis(500)))
        .build()
        .expect("a client");
    let error = client
        .send(env.api::<ConfigMap>().list())
        .await
        .expect_err("no credentials");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    let pid = std::fs::read_to_string(dir.join("pid")).expect("it ran");
    let process = PathBuf::from(format!("/proc/{}/cmdline", pid.trim()));
    for _ in 0..200 {
        // Killed; perhaps nobody has asked yet how it ended.
        if std::fs::read(&process).unwrap_or_default().is_empty() {
            return;
        }
        let soon = env.runtime.now() + Duration::from_millis(10);
        env.runtime.sleep_until(soon).await;
    }
    panic!("the plugin still runs");
}

async fn a_dropped_request_hands_the_plugin_over<R: Drive>(env: &Env<R>) {
    let dir = Scratch::new();
    let script = format!("sleep 0.1; echo '{}'", credential(env.server().token()));
    let client = client(env, nobody(env).exec(plugin(&dir, &script)));
    let mut first = Box::pin(client.send(env.api::<ConfigMap>().list()));
    assert!((&mut first).now_or_never().is_none());
    let mut second = Box::pin(client.send(env.api::<ConfigMap>().list()));
    assert!((&mut second).now_or_never().is_none());
    drop(first);
    second.await.expect("a list");
}

async fn a_plugin_that_nobody_polls_holds_up_no_other_for_ever<R: Drive>(env: &Env<R>) {
    let dir = Scratch::new();
    let script = format!("sleep 0.3; echo '{}'", credential(env.server().token()));
    let client = env
        .builder_with(nobody(env).exec(plugin(&dir, &script)))
        .exec_timeout(Some(Duration::from_secs(2)))
        .build()
        .expect("a client");
    let list = || Box::pin(client.send(env.api::<ConfigMap>().list()));
    let mut first = list();
    assert!((&mut first).now_or_never().is_none());
    // The program's time is over, since its output was not looked at.
    let second = env.within(Duration::from_secs(20), list()).await;
    let error = second.expect("no hang").expect_err("no credentials");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    let again = async {
        while let Err(error) = list().await {
            assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
            env.pause(Duration::from_millis(100)).await;
        }
    };
    let again = env.within(Duration::from_mins(1), again).await;
    again.expect("it runs once more");
    first.await.expect("a list");
}

async fn a_token_file_is_read_again_after_a_401<R: Drive>(env: &Env<R>) {
    let dir = Scratch::new();
    let path = dir.join("token");
    std::fs::write(&path, "old").expect("a file");
    let file = path.clone();
    let peer = Peer::http(move |request| {
        let new = |header: &String| header.ends_with("Bearer new");
        if request.headers.iter().any(new) {
            let body =
                r#"{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}"#;
            answer(200, "", body)
        } else {
            std::fs::write(&file, "new\n").expect("a file");
            answer(401, "", "{}")
        }
    })
    .expect("a server");
    let endpoint = Endpoint::parse(&format!("http://{}", peer.address())).expect("a URL");
    let client = client(env, Config::new(endpoint).token_file(&path));
    client
        .send(env.api::<ConfigMap>().list())
        .await
        .expect("a list");
    assert_eq!(peer.received().len(), 2);
}

async fn a_token_comes_from_an_identity_provider<R: Drive>(env: &Env<R>) {
    let token = env.server().token().to_owned();
    let peer = Peer::http(move |request| {
        let host = request
            .headers
            .iter()
            .find_map(|header| {
                header
                    .split_once(": ")
                    .filter(|(name, _)| name.eq_ignore_ascii_case("host"))
            })
            .map_or("", |(_, host)| host);
        if request
            .line
            .starts_with("GET /.well-known/openid-configuration ")
        {
            answer(
                200,
                "",
                &format!(r#"{{"token_endpoint":"http://{host}/token"}}"#),
            )
        } else {
            answer(200, "", &format!(r#"{{"id_token":"{token}"}}"#))
        }
    })
    .expect("a provider");
    let mut provider = AuthProvider::default();
    provider.name = String::from("oidc");
    for (name, value) in [
        ("idp-issuer-url", format!("http://{}", peer.address())),
        ("client-id", "kubewire".to_owned()),
        ("refresh-token", "once".to_owned()),
    ] {
        provider.config.insert(name.to_owned(), value.into());
    }
    let mut config = nobody(env);
    config.auth = Auth::Provider(provider);
    let client = client(env, config);
    let calls = (0..10).map(|_| client.send(env.api::<ConfigMap>().list()));
    for result in join_all(calls).await {
        result.expect("a list");
    }
    let received = peer.received();
    assert_eq!(received.len(), 2);
    assert!(received[1].body.contains("refresh_token=once"));
    // Nothing of the cluster's goes there.
    assert!(
        received
            .iter()
            .flat_map(|request| &request.headers)
            .all(|header| !header.to_ascii_lowercase().starts_with("authorization"))
    );
}

async fn a_certificate_takes_the_place_of_a_refused_token<R: Drive>(env: &Env<R>) {
    let (certificate, key) = env.server().client_certificate().expect("a certificate");
    let dir = Scratch::new();
    std::fs::write(dir.join("issued"), issued(certificate, key)).expect("a file");
    let script = format!(
        "if [ $(wc -l < '{0}/runs') -lt 2 ]; then echo '{1}'; else cat '{0}/issued'; fi",
        dir.display(),
        credential("expired"),
    );
    let config = nobody(env).exec(plugin(&dir, &script));
    let client = client(env, config);
    // The connection of the first attempt has shown no certificate, so there is a second one.
    client
        .send(env.api::<ConfigMap>().list())
        .await
        .expect("a list");
    client
        .send(env.api::<ConfigMap>().list())
        .await
        .expect("a list");
    assert_eq!(runs(&dir), 2);
}

async fn a_token_that_ends_amid_many_requests_costs_one_run<R: Drive>(env: &Env<R>) {
    const REQUESTS: usize = 50;
    let server = env.server();
    let before = server.stats();
    let requests = || {
        let now = server.stats();
        now.http1_requests + now.http2_requests - before.http1_requests - before.http2_requests
    };
    let dir = Scratch::new();
    let token = dir.join("token");
    let first = server.issue_token();
    std::fs::write(&token, credential(&first)).expect("a file");
    let plugin = plugin(&dir, &format!("sleep 0.1; cat '{}'", token.display()));
    let client = client(env, nobody(env).exec(plugin));
    let lists = (0..REQUESTS).map(|_| client.send(env.api::<ConfigMap>().list()));
    for list in join_all(lists).await {
        list.expect("a list");
    }
    assert_eq!((runs(&dir), requests()), (1, 50));

    // Writes are refused before they are carried out, so they go out again too.
    std::fs::write(&token, credential(&server.issue_token())).expect("a file");
    server.revoke_token(&first);
    let creates = (0..REQUESTS).map(|n| {
        let map = map(&format!("map-{n}"), "green");
        client.send(env.api().create(&map))
    });
    for created in join_all(creates).await {
        created.expect("made once");
    }
    assert_eq!(runs(&dir), 2);
    // Each was refused once at most.
    let sent = requests() - 50;
    assert!((51..=100).contains(&sent), "{sent} requests");
}

async fn a_rotated_certificate_is_shown_by_new_connections_only<R: Drive>(env: &Env<R>) {
    for http2 in [false, true] {
        let server = Server::builder()
            .http2(http2)
            .require_client_certificate(true)
            .start()
            .expect("a server");
        let dir = Scratch::new();
        let (first, second) = (server.issue_certificate(), server.issue_certificate());
        for (n, certificate) in [(1, first), (2, second)] {
            let (certificate, key) = certificate.expect("a certificate");
            let path = dir.join(format!("issued-{n}"));
            std::fs::write(path, issued(&certificate, &key)).expect("a file");
        }
        let path = dir.display();
        let plugin = plugin(
            &dir,
            &format!("cat '{path}/issued-'$(wc -l < '{path}/runs' | tr -d ' ')"),
        );
        let config = Config::new(Endpoint::parse(&server.url()).expect("a URL"))
            .ca_pem(server.ca_pem().expect("an authority"))
            .exec(plugin);
        let client = client(env, config);
        let maps = Api::<ConfigMap>::namespaced("default");
        client
            .send(maps.create(&map("a", "green")))
            .await
            .expect("a map");
        let mut watch = client.stream(maps.watch().fields("metadata.name=a"));
        watch
            .next()
            .await
            .expect("an event")
            .expect("which decodes");
        client.send(maps.list()).await.expect("a list");
        let opened = server.stats().connections_opened;
        assert_eq!(opened, if http2 { 1 } else { 2 });

        // The server no longer likes the first one.
        server.faults().fail_next(1, 401, "{}");
        client.send(maps.list()).await.expect("a list");
        client.send(maps.list()).await.expect("a list");
        assert_eq!(runs(&dir), 2);
        assert_eq!(server.stats().connections_opened, opened + 1);
        assert_eq!(server.certificates_seen(), 2);

        // The old connection goes on for as long as there is something on it.
        let change = kubewire::Patch::merge(&serde_json::json!({"data": {"k": "v"}}));
        let patched = client.send(maps.patch("a", change)).await;
        patched.expect("a change");
        watch
            .next()
            .await
            .expect("an event")
            .expect("which decodes");
    }
}
