//! Which kubeconfigs are refused, and which are not.
#![cfg(feature = "kubeconfig")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kubeconfig_support;

use kubeconfig_support::{parse, with};
use kubewire::ErrorKind;
use kubewire::config::{Auth, Config, Overrides};
use serde_json::{Value, json};

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
            json!({"server": "https://h:hunter2"}),
            json!({}),
            "cluster \"c\": server: the server URL's port is no port number",
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
            "cluster \"c\": proxy-url: the scheme of the proxy URL is not http, https, socks5 or socks5h",
        ),
        (
            json!({"server": "https://h", "proxy-url": "hunter2:1"}),
            json!({}),
            "cluster \"c\": proxy-url: the proxy URL has no scheme; http, https, socks5 and socks5h are known",
        ),
        (
            json!({"server": "https://h", "proxy-url": "http://"}),
            json!({}),
            "cluster \"c\": proxy-url: the host of the proxy URL does not parse",
        ),
        (
            json!({"server": "https://h", "proxy-url": "http://h:99999"}),
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
        assert_refused(&cluster, &user, message);
    }
}

fn assert_refused(cluster: &Value, user: &Value, message: &str) {
    let error = with(cluster, user).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.to_string(),
        format!("/home/me/.kube/config:1: {message}")
    );
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn a_password_of_nobody_is_refused() {
    assert_refused(
        &json!({"server": "https://h"}),
        &json!({"password": "hunter2"}),
        "user \"u\": password is set without username",
    );
}

#[test]
fn a_client_key_without_a_certificate_is_ignored() {
    for key in [
        json!({"token": "t", "client-key-data": "LS0t"}),
        json!({"token": "t", "client-key": "k"}),
        json!({"token": "t", "client-key": "k", "client-key-data": "LS0t"}),
    ] {
        let config = with(&json!({"server": "https://h"}), &key).unwrap();
        assert_eq!(config.auth, Auth::Token("t".into()));
        assert_eq!(config.tls.client, None);
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
