//! Which context, cluster and user count, and what comes of them.
#![cfg(feature = "kubeconfig")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kubeconfig_support;

use std::path::Path;

use kubeconfig_support::{parse, user, with};
use kubewire::ErrorKind;
use kubewire::config::{Auth, ExecVersion, InteractiveMode, Kubeconfig, Material, Overrides, Pem};
use serde_json::{Value, json};

const TWO: &str = "
clusters:
- {name: one, cluster: {server: 'https://one'}}
- {name: two, cluster: {server: 'https://two'}}
users:
- {name: a, user: {token: a}}
- {name: b, user: {token: b}}
contexts:
- {name: first, context: {cluster: one, user: a, namespace: n1}}
- {name: second, context: {cluster: two, user: b}}
- {name: nobody, context: {cluster: two, user: ''}}
- {name: no-cluster, context: {user: a}}
- {name: lost-cluster, context: {cluster: three}}
- {name: lost-user, context: {cluster: one, user: c}}
current-context: first
";

#[test]
fn overrides_beat_the_context_and_that_beats_the_default() {
    let config = parse(TWO);
    let over = Overrides::default;
    for (overrides, server, token, namespace) in [
        (over(), "one", "a", "n1"),
        (over().context(""), "one", "a", "n1"),
        (over().context("second"), "two", "b", "default"),
        (over().cluster("two"), "two", "a", "n1"),
        (over().user("b"), "one", "b", "n1"),
        (over().namespace("n2"), "one", "a", "n2"),
        (
            over()
                .context("second")
                .namespace("n3")
                .user("a")
                .cluster("one"),
            "one",
            "a",
            "n3",
        ),
        (
            over().context("no-cluster").cluster("one"),
            "one",
            "a",
            "default",
        ),
        (over().context("lost-user").user("a"), "one", "a", "default"),
    ] {
        let got = config.resolve(&overrides).unwrap();
        assert_eq!(got.endpoint.to_string(), format!("https://{server}"));
        assert_eq!(got.auth, Auth::Token(token.into()));
        assert_eq!(got.namespace, namespace);
    }
    let nobody = config.resolve(&over().context("nobody")).unwrap();
    assert_eq!(nobody.auth, Auth::None);
}

#[test]
fn names_that_lead_nowhere_are_named() {
    let config = parse(TWO);
    let over = Overrides::default;
    let contexts = r#""first", "second", "nobody", "no-cluster", "lost-cluster", "lost-user""#;
    for (overrides, message) in [
        (
            over().context("third"),
            format!("there is no context \"third\"; the contexts are: {contexts}"),
        ),
        (
            over().context("lost-cluster"),
            "there is no cluster \"three\"; the clusters are: \"one\", \"two\"".to_owned(),
        ),
        (
            over().context("lost-user"),
            "there is no user \"c\"; the users are: \"a\", \"b\"".to_owned(),
        ),
        (
            over().cluster("x"),
            "there is no cluster \"x\"; the clusters are: \"one\", \"two\"".to_owned(),
        ),
    ] {
        let error = config.resolve(&overrides).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(
            error.to_string(),
            format!("/home/me/.kube/config: {message}")
        );
    }
    let error = config.resolve(&over().context("no-cluster")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/home/me/.kube/config:12: context \"no-cluster\": no cluster is named"
    );

    let mut config = config;
    config.current_context = None;
    let error = config.resolve(&over()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "/home/me/.kube/config: no context is asked for and current-context is not set; the contexts are: {contexts}"
        )
    );
    // Naming the cluster is enough.
    let bare = config.resolve(&over().cluster("two").user("b")).unwrap();
    assert_eq!(bare.endpoint.to_string(), "https://two");
}

#[test]
fn servers() {
    let ca = json!("LS0t");
    for (server, ca, insecure, user, expected) in [
        (
            "https://h:6443/",
            json!(null),
            false,
            json!({}),
            "https://h:6443",
        ),
        (
            "https://h/k8s/c-1/",
            json!(null),
            false,
            json!({}),
            "https://h/k8s/c-1",
        ),
        (
            "https://[fd00::1]:6443",
            json!(null),
            false,
            json!({}),
            "https://[fd00::1]:6443",
        ),
        ("h:8080", json!(null), false, json!({}), "http://h:8080"),
        ("h:6443", ca, false, json!({}), "https://h:6443"),
        (
            "h:6443",
            json!(null),
            true,
            json!({"token": "t"}),
            "https://h:6443",
        ),
        (
            "h:6443",
            json!(null),
            false,
            json!({"client-certificate": "c", "client-key": "k"}),
            "https://h:6443",
        ),
    ] {
        let cluster = json!({
            "server": server,
            "certificate-authority-data": ca,
            "insecure-skip-tls-verify": insecure,
        });
        let config = with(&cluster, &user).unwrap();
        assert_eq!(config.endpoint.to_string(), expected);
        assert_eq!(config.tls.dangerous_insecure_skip_verify, insecure);
    }
    let config = with(
        &json!({
            "server": "https://h",
            "tls-server-name": "api.example",
            "proxy-url": "socks5://p:1080",
            "disable-compression": true,
        }),
        &json!({}),
    )
    .unwrap();
    assert_eq!(config.tls.server_name.as_deref(), Some("api.example"));
    assert_eq!(config.proxy_url.unwrap().expose(), "socks5://p:1080");
    assert!(config.disable_compression);
}

#[test]
#[cfg(unix)]
fn relative_paths_are_relative_to_the_file() {
    let file = |path: &str, name: &str| {
        let text = format!(
            "clusters: [{{name: {name}, cluster: {{server: 'https://h', certificate-authority: pki/ca.crt}}}}]
users:
- name: {name}
  user: {{client-certificate: ../c.crt, client-key: /abs/c.key, tokenFile: token}}
contexts: [{{name: {name}, context: {{cluster: {name}, user: {name}}}}}]
"
        );
        Kubeconfig::parse(text.as_bytes(), Path::new(path)).unwrap()
    };
    let merged = Kubeconfig::merge([
        file("/a/k1", "one"),
        file("rel/k2", "two"),
        file("k3", "three"),
    ]);
    for (context, ca, certificate, token) in [
        ("one", "/a/pki/ca.crt", "/a/../c.crt", "/a/token"),
        ("two", "rel/pki/ca.crt", "rel/../c.crt", "rel/token"),
        ("three", "pki/ca.crt", "../c.crt", "token"),
    ] {
        let config = merged
            .resolve(&Overrides::default().context(context))
            .unwrap();
        assert_eq!(config.tls.ca, Some(Material::File(ca.into())));
        let client = config.tls.client.unwrap();
        assert_eq!(client.certificate.path(), Some(Path::new(certificate)));
        assert_eq!(client.key.path(), Some(Path::new("/abs/c.key")));
        assert_eq!(
            config.auth,
            Auth::TokenFile {
                path: token.into(),
                initial: None
            }
        );
    }
    for (command, expected) in [
        ("login", "login"),
        ("./login", "/home/me/.kube/./login"),
        ("../bin/login", "/home/me/.kube/../bin/login"),
        ("bin/login", "/home/me/.kube/bin/login"),
        ("/usr/bin/login", "/usr/bin/login"),
    ] {
        let config = user(&json!({"exec": {
            "command": command,
            "apiVersion": "client.authentication.k8s.io/v1beta1",
        }}));
        let Auth::Exec(plugin) = config.auth else {
            panic!("{:?}", config.auth)
        };
        // As text: two paths compare equal with and without `./` in them.
        assert_eq!(plugin.command.to_str(), Some(expected));
    }
}

#[test]
fn credentials_by_precedence() {
    let exec = json!({"command": "login", "apiVersion": "client.authentication.k8s.io/v1beta1"});
    assert_eq!(user(&json!({})).auth, Auth::None);
    assert_eq!(
        user(&json!({"token": " t\n", "exec": exec})).auth,
        Auth::Token("t".into())
    );
    assert_eq!(user(&json!({"token": " \n"})).auth, Auth::None);
    let Auth::TokenFile { path, initial } = user(&json!({"token": "t", "tokenFile": "/f"})).auth
    else {
        panic!("a token file beats a token")
    };
    assert_eq!((path.to_str(), initial), (Some("/f"), Some("t".into())));
    assert_eq!(
        user(&json!({"username": "u", "password": "p", "exec": exec})).auth,
        Auth::Basic {
            username: "u".to_owned(),
            password: "p".into()
        }
    );
    let config = user(&json!({"auth-provider": {"name": "oidc", "config": {"id-token": "t"}}}));
    assert!(matches!(config.auth, Auth::Provider(provider) if provider.name == "oidc"));

    let config = user(&json!({
        "client-certificate-data": " LS0t\n LS0t ",
        "client-key-data": "LS0tLQ",
        "exec": exec,
    }));
    assert!(matches!(config.auth, Auth::Exec(_)));
    let client = config.tls.client.unwrap();
    assert_eq!(client.certificate, Material::Data(Pem::new("------")));
    assert_eq!(client.key, Material::Data(Pem::new("----")));
}

#[test]
fn exec_plugins() {
    let cluster = json!({
        "server": "https://h:6443/base/",
        "tls-server-name": "api.example",
        "certificate-authority-data": "LS0t",
        "proxy-url": "http://p:3128",
        "extensions": [
            {"name": "other", "extension": 1},
            {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}},
        ],
    });
    let exec = json!({
        "command": "login",
        "args": ["-v"],
        "env": [{"name": "A", "value": "1"}, {"name": "B"}],
        "apiVersion": "client.authentication.k8s.io/v1",
        "installHint": "install it",
        "interactiveMode": "Always",
        "provideClusterInfo": true,
    });
    let plugin = |exec: &Value| {
        let auth = with(&cluster, &json!({"exec": exec})).unwrap().auth;
        let Auth::Exec(plugin) = auth else {
            panic!("{auth:?}")
        };
        plugin
    };
    let got = plugin(&exec);
    assert_eq!(got.args, ["-v"]);
    assert_eq!(
        got.env,
        [("A".to_owned(), "1".into()), ("B".to_owned(), "".into())]
    );
    assert_eq!(got.api_version, ExecVersion::V1);
    assert_eq!(got.interactive_mode, InteractiveMode::Always);
    assert_eq!(got.install_hint.as_deref(), Some("install it"));
    assert_eq!(
        got.info(true, None),
        "{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\
         \"spec\":{\"cluster\":{\"server\":\"https://h:6443/base\",\"tls-server-name\":\"api.example\",\
         \"certificate-authority-data\":\"LS0t\",\"proxy-url\":\"http://p:3128\",\"config\":{\"audience\":\"x\"}},\
         \"interactive\":true}}"
    );
    let mut quiet = exec.clone();
    quiet["provideClusterInfo"] = json!(false);
    quiet["apiVersion"] = json!("client.authentication.k8s.io/v1beta1");
    quiet["interactiveMode"] = json!(null);
    let got = plugin(&quiet);
    assert!(got.cluster.is_none());
    assert_eq!(got.interactive_mode, InteractiveMode::IfAvailable);

    let file = json!({"server": "https://h", "certificate-authority": "/ca.crt"});
    let config = with(&file, &json!({"exec": exec})).unwrap();
    let Auth::Exec(plugin) = config.auth else {
        panic!("{:?}", config.auth)
    };
    let ca = plugin.cluster.as_ref().unwrap().ca.as_ref().unwrap();
    assert_eq!(ca.path(), Some(Path::new("/ca.crt")));
    let info = plugin.info(false, Some(&Pem::new("---")));
    assert!(
        info.contains("\"certificate-authority-data\":\"LS0t\""),
        "{info}"
    );
}

#[test]
fn impersonation() {
    let config = user(&json!({
        "token": "t",
        "as": "jane",
        "as-uid": "7",
        "as-groups": ["g"],
        "as-user-extra": {"Example.org/k": ["v", "w"]},
    }));
    let headers: Vec<_> = config
        .impersonate
        .unwrap()
        .headers()
        .unwrap()
        .into_iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    assert_eq!(
        headers,
        [
            "impersonate-user: jane",
            "impersonate-uid: 7",
            "impersonate-group: g",
            "impersonate-extra-example.org%2fk: v",
            "impersonate-extra-example.org%2fk: w",
        ]
    );
}
