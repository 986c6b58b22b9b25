//! Which context, cluster and user count, what comes of them, and what is refused.
#![cfg(feature = "kubeconfig")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use kubewire::ErrorKind;
use kubewire::config::{
    Auth, Config, ExecVersion, InteractiveMode, Kubeconfig, Material, Overrides, Pem,
};
use serde_json::{Value, json};

fn parse(text: &str) -> Kubeconfig {
    Kubeconfig::parse(text.as_bytes(), Path::new("/home/me/.kube/config")).unwrap()
}

/// One cluster `c` and one user `u` with these fields.
fn with(cluster: &Value, user: &Value) -> Result<Config, kubewire::Error> {
    let file = json!({
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    });
    parse(&file.to_string()).resolve(&Overrides::default())
}

fn user(user: &Value) -> Config {
    with(&json!({"server": "https://h"}), user).unwrap()
}

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

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn what_client_go_refuses_is_refused() {
    const V1: &str = "client.authentication.k8s.io/v1";
    let https = json!({"server": "https://h"});
    for (cluster, user, message) in [
        (json!({}), json!({}), "cluster \"c\": server is not set"),
        (
            json!({"server": ""}),
            json!({}),
            "cluster \"c\": server is not set",
        ),
        (
            json!({"server": "ftp://h"}),
            json!({}),
            "cluster \"c\": server: the server URL is neither http nor https",
        ),
        (
            json!({"server": "https://me:hunter2@h"}),
            json!({}),
            "cluster \"c\": server: the server URL holds credentials; put them in the user entry",
        ),
        (
            json!({"server": "https://h", "certificate-authority": "f", "certificate-authority-data": "LS0t"}),
            json!({}),
            "cluster \"c\": certificate-authority and certificate-authority-data are both set; remove one of them",
        ),
        (
            json!({"server": "https://h", "certificate-authority-data": "hunter2!"}),
            json!({}),
            "cluster \"c\": certificate-authority-data is not base64",
        ),
        (
            json!({"server": "https://h", "certificate-authority": "f", "insecure-skip-tls-verify": true}),
            json!({}),
            "cluster \"c\": certificate-authority(-data) and insecure-skip-tls-verify: true exclude each other",
        ),
        (
            json!({"server": "https://h", "proxy-url": "ftp://me:hunter2@p"}),
            json!({}),
            "cluster \"c\": proxy-url: the scheme of the proxy URL is not http, https or socks5",
        ),
        (
            json!({"server": "https://h", "proxy-url": "hunter2:1"}),
            json!({}),
            "cluster \"c\": proxy-url: the proxy URL has no scheme; http, https and socks5 are known",
        ),
        (
            json!({"server": "https://h", "proxy-url": "http://"}),
            json!({}),
            "cluster \"c\": proxy-url: the host of the proxy URL does not parse",
        ),
        (
            https.clone(),
            json!({"client-certificate": "f", "client-certificate-data": "LS0t", "client-key": "k"}),
            "user \"u\": client-certificate and client-certificate-data are both set; remove one of them",
        ),
        (
            https.clone(),
            json!({"client-certificate": "f", "client-key": "k", "client-key-data": "hunter2"}),
            "user \"u\": client-key and client-key-data are both set; remove one of them",
        ),
        (
            https.clone(),
            json!({"client-certificate": "f"}),
            "user \"u\": client-certificate(-data) is set without client-key or client-key-data",
        ),
        (
            https.clone(),
            json!({"client-key-data": "LS0t"}),
            "user \"u\": client-key(-data) is set without client-certificate or client-certificate-data",
        ),
        (
            https.clone(),
            json!({"client-certificate": "f", "client-key-data": "hunter2!"}),
            "user \"u\": client-key-data is not base64",
        ),
        (
            https.clone(),
            json!({"token": "hunter2", "username": "me", "password": "hunter2"}),
            "user \"u\": token and username are both set; remove one of them",
        ),
        (
            https.clone(),
            json!({"tokenFile": "f", "username": "me"}),
            "user \"u\": tokenFile and username are both set; remove one of them",
        ),
        (
            https.clone(),
            json!({"password": "hunter2"}),
            "user \"u\": password is set without username",
        ),
        (
            https.clone(),
            json!({"username": "a:b", "password": "hunter2"}),
            "user \"u\": a user name for basic authentication cannot hold a colon",
        ),
        (
            https.clone(),
            json!({"token": "hunter2\nx: y"}),
            "user \"u\": the token holds characters that no header can carry",
        ),
        (
            https.clone(),
            json!({"as-groups": ["g"]}),
            "user \"u\": as-groups is set without as",
        ),
        (
            https.clone(),
            json!({"as-uid": "1", "as": ""}),
            "user \"u\": as-uid is set without as",
        ),
        (
            https.clone(),
            json!({"as-user-extra": {"k": ["v"]}}),
            "user \"u\": as-user-extra is set without as",
        ),
        (
            https.clone(),
            json!({"as": "a\nb"}),
            "user \"u\": impersonation: the user name holds a control character",
        ),
        (
            https.clone(),
            json!({"exec": {"apiVersion": V1, "interactiveMode": "Never"}}),
            "user \"u\": exec: command is not set",
        ),
        (
            https.clone(),
            json!({"token": "t", "exec": {"command": "a", "interactiveMode": "Never"}}),
            "user \"u\": exec: apiVersion is not set",
        ),
        (
            https.clone(),
            json!({"exec": {"command": "a", "apiVersion": "client.authentication.k8s.io/v1alpha1"}}),
            "user \"u\": exec: apiVersion \"client.authentication.k8s.io/v1alpha1\" is not known; \
             it has to be client.authentication.k8s.io/v1 or client.authentication.k8s.io/v1beta1",
        ),
        (
            https.clone(),
            json!({"exec": {"command": "a", "apiVersion": V1}}),
            "user \"u\": exec: interactiveMode is not set, which client.authentication.k8s.io/v1 requires",
        ),
        (
            https.clone(),
            json!({"exec": {"command": "a", "apiVersion": V1, "interactiveMode": "Sometimes"}}),
            "user \"u\": exec: interactiveMode \"Sometimes\" is not known; it has to be Never, IfAvailable or Always",
        ),
        (
            https.clone(),
            json!({"exec": {"command": "a", "apiVersion": V1, "interactiveMode": "Never", "env": [{"value": "hunter2"}]}}),
            "user \"u\": exec: env[0] has no name",
        ),
        (
            https.clone(),
            json!({"exec": {"command": "a", "apiVersion": V1, "interactiveMode": "Never"}, "auth-provider": {"name": "oidc"}}),
            "user \"u\": exec and auth-provider are both set; remove one of them",
        ),
        (
            https.clone(),
            json!({"auth-provider": {"name": "gcp"}}),
            "user \"u\": the auth-provider \"gcp\" is not known; only oidc is left, the others have become exec plugins",
        ),
        (
            json!({"server": "http://h:8080"}),
            json!({"token": "hunter2"}),
            "user \"u\": the server http://h:8080 is not https, so the bearer token would be sent in clear text",
        ),
        (
            json!({"server": "http://h"}),
            json!({"username": "me", "password": "hunter2"}),
            "user \"u\": the server http://h is not https, so the password would be sent in clear text",
        ),
    ] {
        let error = with(&cluster, &user).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(
            error.to_string(),
            format!("/home/me/.kube/config:1: {message}")
        );
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn what_is_not_used_is_not_checked() {
    let config = parse(
        "clusters: [{name: c, cluster: {server: 'https://h'}}, {name: bad}]
users: [{name: bad, user: {token: a, username: b}}]
contexts: [{name: x, context: {cluster: c}}]
current-context: x",
    );
    assert!(config.resolve(&Overrides::default()).is_ok());
}

#[test]
fn plain_http_gets_credentials_on_loopback_only() {
    let token = json!({"token": "t"});
    for (server, sent) in [
        ("http://localhost:8001", true),
        ("http://api.localhost", true),
        ("http://127.0.0.1:8080", true),
        ("http://127.8.8.8", true),
        ("http://[::1]:8080", true),
        ("http://[::ffff:127.0.0.1]:8080", true),
        ("http://10.0.0.1", false),
        ("http://localhost.example.org", false),
        ("http://notlocalhost", false),
        ("http://[fd00::1]", false),
        ("https://10.0.0.1", true),
    ] {
        let config = with(&json!({"server": server}), &token);
        assert_eq!(config.is_ok(), sent, "{server}");
        // Without credentials there is nothing to lose, and by hand everything goes.
        let mut config = with(&json!({"server": server}), &json!({})).unwrap();
        assert_eq!(config.sends_credentials(), sent, "{server}");
        config = config.token("t");
        assert_eq!(config.check().is_ok(), sent, "{server}");
        assert!(config.credentials_over_http(true).check().is_ok());
        let by_hand = Config::new(kubewire::Endpoint::parse(server).unwrap()).token("t");
        assert!(by_hand.check().is_ok());
    }
}
