//! No text of a user can change the structure of a path, or add a parameter or a header.

#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(clippy::too_many_lines, reason = "one line for each operation")]

mod random;

use bytes::Bytes;
use http::{Method, Request};
use kubewire::{Api, ApiResource, Dynamic, FieldSelector, LabelSelector, Operation, Patch, Scope};
use random::Random;

/// Text of what breaks URLs and headers, and of arbitrary characters.
fn text(random: &mut Random) -> String {
    const NASTY: [&str; 34] = [
        "/",
        "..",
        ".",
        "%",
        "%2f",
        "%2e%2e",
        "%00",
        "?",
        "#",
        "&",
        "=",
        ";",
        "+",
        " ",
        "\t",
        "\r\n",
        "\n",
        "\0",
        "\\",
        ":",
        "@",
        "//",
        "http://evil",
        "[",
        "]",
        "\"",
        "<",
        "|",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "é",
        "🦀",
        ",",
    ];
    (0..random.below(6))
        .map(|_| match random.below(4) {
            0 => char::from_u32(random.below(0x11_0000))
                .unwrap_or('\u{fffd}')
                .to_string(),
            1 => char::from(random.below(128_u8)).to_string(),
            2 => "name".to_owned(),
            _ => (*random.pick(&NASTY)).to_owned(),
        })
        .collect()
}

/// A URI as RFC 3986 splits it, by code that is not the library's.
struct Parsed {
    segments: Vec<String>,
    parameters: Vec<(String, String)>,
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let digits = text.get(at + 1..at + 3).expect("a whole escape");
            out.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).expect("UTF-8")
}

fn parse(uri: &str) -> Parsed {
    const ALLOWED: &str =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%/?&=:@,+$!*";
    assert!(uri.chars().all(|char| ALLOWED.contains(char)), "{uri}");
    let (path, query) = uri
        .split_once('?')
        .map_or((uri, None), |(path, query)| (path, Some(query)));
    let segments: Vec<String> = path
        .strip_prefix('/')
        .expect("an absolute path")
        .split('/')
        .map(decode)
        .collect();
    let parameters = query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .map(|pair| {
            let (name, value) = pair.split_once('=').expect("a name and a value");
            assert!(!value.contains(['=', '?', '+']), "{uri}");
            (decode(name), decode(value))
        });
    Parsed {
        segments,
        parameters: parameters.collect(),
    }
}

const PODS: ApiResource = ApiResource::core("Pod", "pods");
const ROLES: ApiResource = ApiResource::new(
    "rbac.authorization.k8s.io",
    "v1",
    "ClusterRole",
    "clusterroles",
    Scope::Cluster,
);

/// Checks a request, if the library built one: where the texts must be, and nowhere else.
fn check<O: Operation>(operation: O, path: &[&str], parameters: &[(&str, &str)]) -> bool {
    let Ok(call) = operation.into_call() else {
        return false;
    };
    let request: &Request<Bytes> = call.request();
    assert!(request.uri().scheme().is_none() && request.uri().authority().is_none());
    let parsed = parse(&request.uri().to_string());
    assert_eq!(parsed.segments, path);
    let expected: Vec<(String, String)> = parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    assert_eq!(parsed.parameters, expected);
    // Names that the server would take for something else never get here.
    for segment in &path[..path.len().min(7)] {
        assert!(
            !segment.is_empty()
                && *segment != "."
                && *segment != ".."
                && !segment.contains(['/', '%']),
            "{path:?}"
        );
    }
    for (name, value) in request.headers() {
        let known = [
            "accept",
            "accept-encoding",
            "content-type",
            "x-text",
            "user-agent",
        ];
        assert!(known.contains(&name.as_str()), "{name}");
        assert!(
            !value
                .as_bytes()
                .iter()
                .any(|byte| matches!(byte, b'\r' | b'\n' | 0))
        );
    }
    true
}

#[test]
fn texts_stay_where_they_belong() {
    let mut random = Random::new(1);
    let mut draw = || text(&mut random);
    let mut built = 0;
    let mut refused = 0;
    let mut count = |was_built: bool| {
        if was_built {
            built += 1;
        } else {
            refused += 1;
        }
    };
    for _ in 0..5_000 {
        let (name, namespace, text) = (draw(), draw(), draw());
        let (name, namespace, text) = (name.as_str(), namespace.as_str(), text.as_str());
        let pods = Api::<Dynamic>::dynamic(PODS).in_namespace(namespace);
        let ok = Api::<Dynamic>::dynamic(PODS).in_namespace("ns");
        let roles = Api::<Dynamic>::dynamic(ROLES);
        let object = ["api", "v1", "namespaces", namespace, "pods", name];
        let collection = ["api", "v1", "namespaces", "ns", "pods"];
        let sub = |sub| ["api", "v1", "namespaces", namespace, "pods", name, sub];
        let merge = || Patch::merge(&1);
        let body = Dynamic::default();
        count(check(
            pods.get(name).resource_version(text),
            &object,
            &[("resourceVersion", text)],
        ));
        count(check(pods.delete(name), &object, &[]));
        count(check(pods.replace(name, &body), &object, &[]));
        count(check(
            pods.patch(name, merge()).field_manager(text),
            &object,
            &[("fieldManager", text)],
        ));
        count(check(
            pods.logs(name).container(text),
            &sub("log"),
            &[("container", text)],
        ));
        count(check(pods.evict(name), &sub("eviction"), &[]));
        count(check(pods.scale(name).get(), &sub("scale"), &[]));
        count(check(pods.bind(name, text), &sub("binding"), &[]));
        count(check(
            pods.create_token(name).audience(text),
            &sub("token"),
            &[],
        ));
        count(check(
            pods.subresource(name, text).get::<Dynamic>(),
            &sub(text),
            &[],
        ));
        count(check(
            roles.get(name),
            &[
                "apis",
                "rbac.authorization.k8s.io",
                "v1",
                "clusterroles",
                name,
            ],
            &[],
        ));
        count(check(
            ok.list()
                .labels(text)
                .fields(name)
                .continue_token(namespace),
            &collection,
            &[
                ("labelSelector", text),
                ("fieldSelector", name),
                ("continue", namespace),
            ],
        ));
        count(check(
            ok.watch().labels(text).shard_selector(name),
            &collection,
            &[
                ("watch", "true"),
                ("labelSelector", text),
                ("shardSelector", name),
            ],
        ));
        count(check(
            ok.create(&body).field_manager(text),
            &collection,
            &[("fieldManager", text)],
        ));
        count(check(
            ok.list().header("x-text", text).user_agent(name),
            &collection,
            &[],
        ));
        let proxied = format!("{name}:{text}");
        count(check(
            pods.proxy(name)
                .port_name(format!("p{text}"))
                .get("")
                .query(text, namespace),
            &[
                "api",
                "v1",
                "namespaces",
                namespace,
                "pods",
                &format!("{name}:p{text}"),
                "proxy",
                "",
            ],
            &[(text, namespace)],
        ));
        let tail: Vec<&str> = proxied
            .strip_prefix('/')
            .unwrap_or(&proxied)
            .split('/')
            .collect();
        let mut path = vec!["api", "v1", "namespaces", "ns", "pods", "p", "proxy"];
        path.extend(tail);
        count(check(
            ok.proxy("p").request(Method::POST, &proxied),
            &path,
            &[],
        ));
        raw(text);
        inherited(name, namespace);
        selectors(&ok, name, text);
    }
    println!("{built} requests were built, {refused} refused");
    assert!(built > 20_000 && refused > 20_000);
}

/// A path of one's own is sent as it is, or not at all.
fn raw(text: &str) {
    let path = format!("/x{text}");
    if let Ok(call) = kubewire::Call::raw(Method::GET, &path).into_call() {
        assert_eq!(call.request().uri().to_string(), path);
        assert!(!path.contains(|char: char| char.is_ascii_control() || char == ' ' || char == '#'));
    }
}

/// An inherited namespace is as checked as one that is named.
fn inherited(name: &str, namespace: &str) {
    let inherit = Api::<Dynamic>::dynamic(PODS);
    let named = inherit
        .clone()
        .in_namespace(namespace)
        .get(name)
        .into_call();
    let inherited = inherit.get(name).into_call_in(Some(namespace));
    match (named, inherited) {
        (Ok(named), Ok(inherited)) => assert_eq!(named.request().uri(), inherited.request().uri()),
        (named, inherited) => assert!(named.is_err() && inherited.is_err()),
    }
}

/// What a selector is built of stays one condition.
fn selectors(api: &Api<Dynamic>, key: &str, value: &str) {
    let labels = LabelSelector::new()
        .eq("a", "b")
        .eq(key, value)
        .is_in("c", [value]);
    if let Ok(call) = api.list().labels(labels.clone()).into_call() {
        let text = parse(&call.request().uri().to_string()).parameters[0]
            .1
            .clone();
        assert_eq!(text, format!("a=b,{key}={value},c in ({value})"));
        assert_eq!(text.parse::<LabelSelector>().unwrap(), labels);
    }
    let fields = FieldSelector::new().eq("a", value).ne("b", key);
    let call = api.list().fields(fields).into_call().unwrap();
    let text = parse(&call.request().uri().to_string()).parameters[0]
        .1
        .clone();
    // By the server's rules: a backslash takes the next character as it is.
    let mut terms = vec![String::new()];
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        let term = terms.last_mut().unwrap();
        match char {
            '\\' => term.push(chars.next().expect("an escaped character")),
            ',' => terms.push(String::new()),
            _ => term.push(char),
        }
    }
    assert_eq!(terms, [format!("a={value}"), format!("b!={key}")]);
}
