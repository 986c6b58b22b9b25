//! Credentials that come from programs, files and identity providers.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kubewire::config::{Auth, AuthProvider, Config, ExecPlugin};
use kubewire::{Api, Endpoint, ErrorKind};
use kubewire_conformance::peers::{Peer, answer};
use kubewire_conformance::server::Server;
use kubewire_conformance::suite;
use kubewire_driver::{Client, Drive};

suite!(
    one_run_serves_all_requests,
    a_refused_token_is_replaced,
    a_failing_plugin_shows_its_stderr_only,
    a_missing_plugin_shows_its_hint,
    too_much_output_ends_the_plugin,
    a_slow_plugin_is_killed,
    a_dropped_request_hands_the_plugin_over,
    a_token_file_is_read_again_after_a_401,
    a_token_comes_from_an_identity_provider,
    a_certificate_takes_the_place_of_a_refused_token,
);

fn maps() -> Api<ConfigMap> {
    Api::namespaced("default")
}

fn config(server: &Server) -> Config {
    Config::new(Endpoint::parse(&server.url()).expect("a URL"))
}

/// A directory that is gone after the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!(
            "kubewire-credentials-{}-{count}",
            std::process::id()
        ));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    /// A plugin; each run leaves a line in `runs`. It is given to a shell, so that no file is executed that is
    /// still open for writing in a child that another test has just forked.
    fn plugin(&self, script: &str) -> ExecPlugin {
        let path = self.0.join("plugin.sh");
        let runs = self.0.join("runs");
        std::fs::write(
            &path,
            format!("echo run >> '{}'\n{script}\n", runs.display()),
        )
        .expect("a script");
        ExecPlugin::new("sh").arg(path.to_string_lossy())
    }

    fn runs(&self) -> usize {
        std::fs::read_to_string(self.0.join("runs")).map_or(0, |text| text.lines().count())
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn credential(token: &str) -> String {
    format!(
        r#"{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{{"token":"{token}"}}}}"#
    )
}

fn client<R: Drive>(config: Config, runtime: R) -> Client<R> {
    Client::builder(config, runtime).build().expect("a client")
}

async fn one_run_serves_all_requests<R: Drive>(server: &Server, _: Client<R>, runtime: R) {
    let dir = Dir::new();
    let script = format!("sleep 0.1; echo '{}'", credential(server.token()));
    let client = client(config(server).exec(dir.plugin(&script)), runtime);
    let calls = (0..50).map(|_| client.send(maps().list()));
    for result in join_all(calls).await {
        result.expect("a list");
    }
    assert_eq!(dir.runs(), 1);
}

async fn a_refused_token_is_replaced<R: Drive>(server: &Server, _: Client<R>, runtime: R) {
    let dir = Dir::new();
    let script = format!(
        "if [ $(wc -l < '{}') -lt 2 ]; then echo '{}'; else echo '{}'; fi",
        dir.path().join("runs").display(),
        credential("expired"),
        credential(server.token())
    );
    let client = client(config(server).exec(dir.plugin(&script)), runtime);
    let calls = (0..10).map(|_| client.send(maps().list()));
    for result in join_all(calls).await {
        result.expect("a list");
    }
    assert_eq!(dir.runs(), 2);
}

async fn a_failing_plugin_shows_its_stderr_only<R: Drive>(
    server: &Server,
    _: Client<R>,
    runtime: R,
) {
    let dir = Dir::new();
    let plugin = dir.plugin("echo tell-nobody; echo 'no such profile' >&2; exit 3");
    let client = client(config(server).exec(plugin), runtime);
    let error = client
        .send(maps().list())
        .await
        .expect_err("no credentials");
    assert_eq!(error.kind(), ErrorKind::Credentials);
    let text = format!("{error} {error:?}");
    assert!(text.contains("no such profile"), "{text}");
    assert!(!text.contains("tell-nobody"), "{text}");
}

async fn a_missing_plugin_shows_its_hint<R: Drive>(server: &Server, _: Client<R>, runtime: R) {
    let mut plugin = ExecPlugin::new("kubewire-there-is-no-such-program");
    plugin.install_hint = Some("get it from example.org".to_owned());
    let client = client(config(server).exec(plugin), runtime);
    let error = client
        .send(maps().list())
        .await
        .expect_err("no credentials");
    let text = format!("{error:?} {error}");
    assert!(text.contains("get it from example.org"), "{text}");
}

async fn too_much_output_ends_the_plugin<R: Drive>(server: &Server, _: Client<R>, runtime: R) {
    let dir = Dir::new();
    let client = client(config(server).exec(dir.plugin("exec yes")), runtime);
    let error = client
        .send(maps().list())
        .await
        .expect_err("no credentials");
    assert_eq!(error.kind(), ErrorKind::Credentials, "{error}");
}

async fn a_slow_plugin_is_killed<R: Drive>(server: &Server, _: Client<R>, runtime: R) {
    let dir = Dir::new();
    let plugin = dir.plugin(&format!(
        "echo $$ > '{}'; exec sleep 600",
        dir.path().join("pid").display()
    ));
    let client = Client::builder(config(server).exec(plugin), runtime.clone())
        .exec_timeout(Some(std::time::Duration::from_millis(500)))
        .build()
        .expect("a client");
    let error = client
        .send(maps().list())
        .await
        .expect_err("no credentials");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    let pid = std::fs::read_to_string(dir.path().join("pid")).expect("it ran");
    let process = PathBuf::from(format!("/proc/{}/cmdline", pid.trim()));
    for _ in 0..200 {
        // Killed; perhaps nobody has asked yet how it ended.
        if std::fs::read(&process).unwrap_or_default().is_empty() {
            return;
        }
        let soon = runtime.now() + std::time::Duration::from_millis(10);
        runtime.sleep_until(soon).await;
    }
    panic!("the plugin still runs");
}

async fn a_dropped_request_hands_the_plugin_over<R: Drive>(
    server: &Server,
    _: Client<R>,
    runtime: R,
) {
    let dir = Dir::new();
    let script = format!("sleep 0.1; echo '{}'", credential(server.token()));
    let client = client(config(server).exec(dir.plugin(&script)), runtime);
    let mut first = Box::pin(client.send(maps().list()));
    assert!(futures_util::FutureExt::now_or_never(&mut first).is_none());
    let mut second = Box::pin(client.send(maps().list()));
    assert!(futures_util::FutureExt::now_or_never(&mut second).is_none());
    drop(first);
    second.await.expect("a list");
}

async fn a_token_file_is_read_again_after_a_401<R: Drive>(_: &Server, _: Client<R>, runtime: R) {
    let dir = Dir::new();
    let path = dir.path().join("token");
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
    let client = client(Config::new(endpoint).token_file(&path), runtime);
    client.send(maps().list()).await.expect("a list");
    assert_eq!(peer.received().len(), 2);
}

async fn a_token_comes_from_an_identity_provider<R: Drive>(
    server: &Server,
    _: Client<R>,
    runtime: R,
) {
    let token = server.token().to_owned();
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
    let mut config = config(server);
    config.auth = Auth::Provider(provider);
    let client = client(config, runtime);
    let calls = (0..10).map(|_| client.send(maps().list()));
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

async fn a_certificate_takes_the_place_of_a_refused_token<R: Drive>(
    _: &Server,
    _: Client<R>,
    runtime: R,
) {
    let server = Server::builder().tls(true).start().expect("a server");
    let (certificate, key) = server.client_certificate().expect("a certificate");
    let dir = Dir::new();
    let issued = serde_json::json!({
        "kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1",
        "status": {"clientCertificateData": certificate, "clientKeyData": key},
    });
    std::fs::write(dir.path().join("issued"), issued.to_string()).expect("a file");
    let script = format!(
        "if [ $(wc -l < '{0}/runs') -lt 2 ]; then echo '{1}'; else cat '{0}/issued'; fi",
        dir.path().display(),
        credential("expired"),
    );
    let config = config(&server)
        .ca_pem(server.ca_pem().expect("an authority"))
        .exec(dir.plugin(&script));
    let client = client(config, runtime);
    // The connection of the first attempt has shown no certificate, so there is a second one.
    client.send(maps().list()).await.expect("a list");
    client.send(maps().list()).await.expect("a list");
    assert_eq!(dir.runs(), 2);
}
