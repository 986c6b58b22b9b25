//! Reading, merging and writing kubeconfig files.
#![cfg(feature = "kubeconfig")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kubeconfig_support;
mod random;

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use kubeconfig_support::parse;
use kubewire::ErrorKind;
use kubewire::config::{Kubeconfig, Overrides};
use random::Random;
use serde_json::{Value, json};

/// Every field there is, unknown ones at every level, and `hunter2` wherever a secret may be.
const FULL: &str = r#"# a comment
apiVersion: v1
kind: Config
preferences: {colors: true, x: hunter2}
current-context: main
future: {a: [1, 2.5, hunter2]}
extensions:
- name: top.example
  extension: {key: hunter2}
clusters:
- name: prod
  weight: 7
  cluster:
    server: https://10.0.0.1:6443/base/
    tls-server-name: api.example
    insecure-skip-tls-verify: false
    certificate-authority-data: |
      Y2Vy
      dGlmaWNhdGU=
    proxy-url: http://me:hunter2@proxy.example:3128
    disable-compression: true
    shard: [a, null]
    extensions:
    - name: client.authentication.k8s.io/exec
      extension: {audience: hunter2}
users:
- name: dev
  user:
    client-certificate: pki/dev.crt
    client-key-data: aHVudGVyMg==
    token: hunter2
    tokenFile: token
    as: jane
    as-uid: "0042"
    as-groups: [a, b]
    as-user-extra: {scopes: [x, "y"], none: null}
    unknown: hunter2
    extensions: []
- name: old
  user:
    username: admin
    password: hunter2
- name: oidc
  user:
    auth-provider: {name: oidc, config: {id-token: hunter2, client-id: 7}, more: hunter2}
- name: plugin
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: ./bin/login
      args: ["--secret=hunter2"]
      env: [{name: PASSWORD, value: hunter2}, {name: EMPTY, x: hunter2}]
      installHint: install it
      provideClusterInfo: true
      interactiveMode: Never
      timeout: 5
contexts:
- name: main
  context:
    cluster: prod
    user: plugin
    namespace: team-a
    color: hunter2
    extensions: [{name: ui, extension: hunter2}]
"#;

fn fails(bytes: &[u8]) -> String {
    let error = Kubeconfig::parse(bytes, Path::new("/k")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

#[test]
fn every_field_is_read() {
    let config = parse(FULL);
    assert_eq!(config.current_context.as_deref(), Some("main"));
    let cluster = &config.cluster("prod").unwrap().value;
    assert_eq!(
        cluster.server.as_deref(),
        Some("https://10.0.0.1:6443/base/")
    );
    assert_eq!(cluster.tls_server_name.as_deref(), Some("api.example"));
    assert_eq!(cluster.insecure_skip_tls_verify, Some(false));
    assert_eq!(
        cluster.certificate_authority_data.as_deref(),
        Some("Y2Vy\ndGlmaWNhdGU=\n")
    );
    assert_eq!(cluster.disable_compression, Some(true));
    assert_eq!(cluster.extensions[0].value.0["audience"], "hunter2");
    let dev = &config.user("dev").unwrap().value;
    assert_eq!(
        dev.client_key_data.as_ref().unwrap().expose(),
        "aHVudGVyMg=="
    );
    assert_eq!(dev.token_file.as_deref(), Some("token"));
    assert_eq!(dev.act_as_uid.as_deref(), Some("0042"));
    assert_eq!(dev.act_as_groups, ["a", "b"]);
    assert_eq!(dev.act_as_user_extra["scopes"], ["x", "y"]);
    assert!(dev.act_as_user_extra["none"].is_empty());
    let provider = &config.user("oidc").unwrap().value.auth_provider;
    assert_eq!(provider.as_ref().unwrap().config["client-id"].expose(), "7");
    let exec = config.user("plugin").unwrap().value.exec.clone().unwrap();
    assert_eq!(exec.args, ["--secret=hunter2"]);
    assert_eq!(exec.env[0].value.as_ref().unwrap().expose(), "hunter2");
    assert!(exec.env[1].value.is_none());
    let main = config.context("main").unwrap();
    assert_eq!(main.value.namespace.as_deref(), Some("team-a"));
    let line = FULL
        .lines()
        .position(|line| line == "- name: main")
        .unwrap()
        + 1;
    assert_eq!(
        main.origin.as_ref().unwrap().to_string(),
        format!("/home/me/.kube/config:{line}")
    );
}

#[test]
fn a_round_trip_keeps_everything() {
    let config = parse(FULL);
    let json = serde_json::to_string_pretty(&config).unwrap();
    let again = parse(&json);
    assert_eq!(
        serde_json::to_value(&again).unwrap(),
        serde_json::to_value(&config).unwrap()
    );
    let value: Value = serde_json::from_str(&json).unwrap();
    for (at, expected) in [
        ("/future/a", json!([1, 2.5, "hunter2"])),
        ("/preferences", json!({"colors": true, "x": "hunter2"})),
        ("/clusters/0/weight", json!(7)),
        ("/clusters/0/cluster/shard", json!(["a", null])),
        ("/users/0/user/unknown", json!("hunter2")),
        ("/users/0/user/as-uid", json!("0042")),
        ("/users/0/user/as-user-extra/scopes", json!(["x", "y"])),
        ("/users/2/user/auth-provider/more", json!("hunter2")),
        ("/users/2/user/auth-provider/config/client-id", json!("7")),
        ("/users/3/user/exec/timeout", json!(5)),
        ("/users/3/user/exec/env/1/x", json!("hunter2")),
        ("/contexts/0/context/color", json!("hunter2")),
        (
            "/contexts/0/context/extensions/0/extension",
            json!("hunter2"),
        ),
        ("/extensions/0/extension/key", json!("hunter2")),
    ] {
        assert_eq!(value.pointer(at), Some(&expected), "{at}");
    }
}

#[test]
fn nothing_printed_holds_a_secret() {
    let config = parse(FULL);
    let shown = format!("{config:?} {config:#?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(!shown.contains("aHVudGVyMg"), "{shown}");
    let mut resolved = 0;
    for user in ["dev", "old", "oidc", "plugin"] {
        let shown = match config.resolve(&Overrides::default().user(user)) {
            Ok(config) => {
                resolved += 1;
                format!("{config:?} {config:#?}")
            }
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    assert_eq!(resolved, 4);
}

#[test]
fn encodings() {
    let expected = serde_json::to_value(parse(FULL)).unwrap();
    let with_mark = format!("\u{feff}{FULL}");
    let utf16 = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        with_mark.encode_utf16().flat_map(bytes).collect()
    };
    for bytes in [
        with_mark.clone().into_bytes(),
        FULL.replace('\n', "\r\n").into_bytes(),
        utf16(u16::to_le_bytes),
        utf16(u16::to_be_bytes),
    ] {
        let config = Kubeconfig::parse(&bytes, Path::new("/k")).unwrap();
        assert_eq!(serde_json::to_value(config).unwrap(), expected);
    }
    let mut odd = utf16(u16::to_le_bytes);
    odd.pop();
    assert_eq!(
        fails(&odd),
        "/k: this is UTF-16 with an odd number of bytes: the file is cut off"
    );
    assert_eq!(
        fails(&[0xFF, 0xFE, 0x00, 0xD8]),
        "/k: this is not valid UTF-16"
    );
    assert_eq!(
        fails(b"a: b\n\xE9"),
        "/k:2: this is neither UTF-8 nor UTF-16 with a byte order mark"
    );
}

#[test]
fn empty_files_are_empty_configurations() {
    for text in [
        "",
        "\n",
        "# nothing\n",
        "---\n",
        "---\n---\n...\n",
        "null",
        "~",
        "{}",
        "\u{feff}",
        "apiVersion: v1\nkind: Config\nclusters: null\nusers:\ncontexts: []\ncurrent-context: ''",
    ] {
        assert!(parse(text).is_empty(), "{text:?}");
    }
    assert!(!parse("current-context: x").is_empty());
}

#[test]
fn null_counts_as_not_set() {
    let config = parse(
        "users: [{name: a, user: null}, null, {name: b, user: {token: null, password: ~, exec: null, as-groups: null, tokenFile: }}]
clusters: [{name: c, cluster: {server: null, insecure-skip-tls-verify: null, extensions: null}}]",
    );
    assert_eq!(config.users.len(), 2);
    let user = &config.users[1].value;
    assert!(user.token.is_none() && user.password.is_none() && user.exec.is_none());
    assert!(user.token_file.is_none() && user.act_as_groups.is_empty());
    assert!(config.clusters[0].value.insecure_skip_tls_verify.is_none());
}

#[test]
fn text_is_taken_as_it_is_spelled() {
    let config = parse(
        "users:\n- name: 007\n  user: {token: 1e3, username: yes, password: 0x1F, as: 1_000}\n",
    );
    let user = &config.user("007").unwrap().value;
    assert_eq!(user.token.as_ref().unwrap().expose(), "1e3");
    assert_eq!(user.username.as_deref(), Some("yes"));
    assert_eq!(user.password.as_ref().unwrap().expose(), "0x1F");
    assert_eq!(user.act_as.as_deref(), Some("1_000"));
}

#[test]
fn documents_of_one_file_are_merged_in_order() {
    let config = parse(
        "clusters: [{name: c, cluster: {server: https://one}}]\n---\n---\n\
         clusters: [{name: c, cluster: {server: https://two}}, {name: d}]\ncurrent-context: x\n---\n\
         current-context: y\nusers: [{name: u}]\n",
    );
    let names: Vec<_> = config.clusters.iter().map(|entry| &*entry.name).collect();
    assert_eq!(names, ["c", "d"]);
    assert_eq!(
        config.clusters[0].value.server.as_deref(),
        Some("https://one")
    );
    assert_eq!(config.current_context.as_deref(), Some("x"));
    assert!(config.user("u").is_some());
}

#[test]
fn of_several_files_the_first_entry_counts_as_a_whole() {
    let file =
        |path: &str, text: &str| Kubeconfig::parse(text.as_bytes(), Path::new(path)).unwrap();
    let merged = Kubeconfig::merge([
        file(
            "/a/k1",
            "current-context: ''\nusers: [{name: u, user: {client-certificate: pki/c.crt}}]\nx: 1\n",
        ),
        file(
            "/b/k2",
            "current-context: two\nusers: [{name: u, user: {token: t}}, {name: v}]\nx: 2\ny: 3\npreferences: {a: 1}",
        ),
        file(
            "/c/k3",
            "current-context: three\ncontexts: [{name: two}]\nextensions: [{name: e, extension: 1}]\npreferences: {b: 1}",
        ),
    ]);
    assert_eq!(merged.current_context.as_deref(), Some("two"));
    assert_eq!(merged.users.len(), 2);
    let user = merged.user("u").unwrap();
    assert_eq!(user.value.client_certificate.as_deref(), Some("pki/c.crt"));
    assert!(user.value.token.is_none());
    assert_eq!(&*user.origin.as_ref().unwrap().file, Path::new("/a/k1"));
    assert_eq!(merged.other["x"].0, 1);
    assert_eq!(merged.other["y"].0, 3);
    assert_eq!(merged.preferences.as_ref().unwrap().0, json!({"a": 1}));
    assert_eq!(merged.extensions.len(), 1);
    assert_eq!(
        merged.files,
        ["/a/k1", "/b/k2", "/c/k3"].map(std::path::PathBuf::from)
    );
}

#[test]
fn errors_name_file_line_and_field() {
    for (text, message) in [
        (
            "users: 7",
            "/k:1: users: expected a list, found a plain value",
        ),
        (
            "\nusers: {a: b}",
            "/k:2: users: expected a list, found a mapping",
        ),
        (
            "users:\n- 7",
            "/k:2: users[0]: expected a mapping, found a plain value",
        ),
        (
            "users:\n- name: a\n  user: [x]",
            "/k:3: user \"a\": expected a mapping, found a list",
        ),
        (
            "users:\n- name: dev\n  user:\n    token: [hunter2]",
            "/k:4: user \"dev\": token: expected text, found a list",
        ),
        (
            "clusters:\n- name: c\n  cluster:\n    insecure-skip-tls-verify: \"true\"",
            "/k:4: cluster \"c\": insecure-skip-tls-verify: expected true or false",
        ),
        (
            "users:\n- name: u\n  user:\n    exec:\n      args:\n      - a\n      - {b: hunter2}",
            "/k:7: user \"u\": exec: args[1]: expected text, found a mapping",
        ),
        (
            "users:\n- name: u\n  user:\n    exec: {env: [{name: {}}]}",
            "/k:4: user \"u\": exec: env[0]: name: expected text, found a mapping",
        ),
        (
            "users: [{name: u, user: {as-user-extra: {k: hunter2}}}]",
            "/k:1: user \"u\": as-user-extra: k: expected a list, found a plain value",
        ),
        (
            "users:\n- name: a\n- name: b\n- name: a\n",
            "/k:4: user \"a\" is there twice: a name has to be unique in users",
        ),
        (
            "contexts: [{name: a}, {name: a}]",
            "/k:1: context \"a\" is there twice: a name has to be unique in contexts",
        ),
        (
            "clusters: [{name: c, cluster: {extensions: [{name: x}, {name: x}]}}]",
            "/k:1: cluster \"c\": extension \"x\" is there twice: a name has to be unique in extensions",
        ),
        (
            "users: []\nusers: []",
            "/k:2: the field \"users\" is there twice",
        ),
        (
            "kind: List",
            "/k:1: this is no kubeconfig: kind is not Config",
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment",
            "/k:1: this is no kubeconfig: kind is not Config",
        ),
        (
            "apiVersion: v2",
            "/k:1: this is no kubeconfig: apiVersion is not v1",
        ),
        ("- a", "/k:1: expected a mapping, found a list"),
        ("hunter2", "/k:1: expected a mapping, found a plain value"),
    ] {
        assert_eq!(fails(text.as_bytes()), message);
    }
    for text in [
        "a: 'hunter2",
        "a: {b: hunter2",
        "a: hunter2: b",
        "a: *hunter2",
        "- hunter2\nb: c",
    ] {
        let message = fails(format!("\n{text}\n").as_bytes());
        assert!(!message.contains("hunter2"), "{message}");
        assert!(
            message.starts_with("/k:2: ") || message.starts_with("/k:3: "),
            "{message}"
        );
    }
}

/// Parses and resolves, and gives all that can be printed.
fn try_all(bytes: &[u8]) -> String {
    match Kubeconfig::parse(bytes, Path::new("/k")) {
        Ok(config) => {
            let mut shown = format!("{config:?}");
            for user in ["dev", "old", "oidc", "plugin"] {
                let overrides = Overrides::default().user(user).cluster("prod");
                match config.resolve(&overrides) {
                    Ok(config) => write!(shown, "{config:?}").unwrap(),
                    Err(error) => write!(shown, "{error} {error:?}").unwrap(),
                }
            }
            shown
        }
        Err(error) => format!("{error} {error:?}"),
    }
}

#[test]
fn a_file_cut_off_anywhere_never_panics_or_tells_secrets() {
    let json = serde_json::to_string(&parse(FULL)).unwrap();
    for text in [FULL, &json] {
        for end in 0..text.len() {
            let shown = try_all(&text.as_bytes()[..end]);
            assert!(!shown.contains("hunter"), "{end}: {shown}");
        }
    }
    let utf16: Vec<u8> = "\u{feff}users: [{name: é}]"
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    for end in 0..utf16.len() {
        try_all(&utf16[..end]);
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Random::new(1);
    let pieces: Vec<&[u8]> = FULL
        .split_inclusive([' ', '\n'])
        .map(str::as_bytes)
        .chain([
            &b"&a "[..],
            b"*a ",
            b"<<: ",
            b"- ",
            b"? ",
            b": ",
            b"[",
            b"]",
            b"{",
            b"}",
            b"|\n",
            b">\n",
            b"!!str ",
            b"%YAML 1.2\n",
            b"---\n",
            b"...\n",
            b"\"",
            b"'",
            b"\0",
            b"\xFF\xFE",
            b"\xEF\xBB\xBF",
            b"#",
            b",",
            b"\\u",
            b"\t",
            b"\r",
        ])
        .collect();
    for _ in 0..1000 {
        // Noise, a valid file with some bytes changed, and its pieces in any order.
        let mut noise = Vec::new();
        for _ in 0..random.below(200) {
            noise.push(random.byte());
        }
        try_all(&noise);
        let mut changed = FULL.as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(changed.len());
            changed[at] = random.below(128);
        }
        try_all(&changed);
        let mut shuffled = Vec::new();
        for _ in 0..random.below(40) {
            shuffled.extend_from_slice(random.pick::<&[u8]>(&pieces));
        }
        try_all(&shuffled);
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how long it takes is what is tested"
)]
fn alias_bombs_are_refused_quickly() {
    let mut text = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..30 {
        let aliases = format!("*a{}, ", level - 1).repeat(9);
        writeln!(text, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    let start = Instant::now();
    assert!(fails(text.as_bytes()).contains("anchors and aliases expand to too much"));
    fails("[".repeat(1 << 20).as_bytes());
    fails("{a: ".repeat(1 << 16).as_bytes());
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn anchors_and_merge_keys_work() {
    let config = parse(
        "x-base: &base {server: https://a, disable-compression: true}\n\
         clusters:\n- name: one\n  cluster: *base\n- name: two\n  cluster: {<<: *base, server: https://b}\n",
    );
    let two = &config.cluster("two").unwrap().value;
    assert_eq!(two.server.as_deref(), Some("https://b"));
    assert_eq!(two.disable_compression, Some(true));
    assert_eq!(
        config.cluster("one").unwrap().value.server.as_deref(),
        Some("https://a")
    );
}

#[test]
fn large_files_are_fine() {
    let mut text = String::from("clusters:\n");
    let data = "QUJD".repeat(300);
    for n in 0..3000 {
        write!(
            text,
            "- name: c{n}\n  cluster:\n    server: https://h{n}\n    certificate-authority-data: {data}\n"
        )
        .unwrap();
    }
    assert_eq!(parse(&text).clusters.len(), 3000);
}
