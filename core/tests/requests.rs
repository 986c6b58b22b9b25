//! Whatever text a user gives, a request is refused, or says exactly that text and nothing more.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod random;

use kubewire::{
    Api, ApiResource, Call, Decode, Dynamic, Error, ErrorKind, FieldValidation, Operation, Patch,
    Propagation, Scope,
};
use random::Random;
use serde_json::json;

const MAPS: ApiResource = ApiResource::core("ConfigMap", "configmaps");
const NODES: ApiResource = ApiResource::new("", "v1", "Node", "nodes", Scope::Cluster);
const GADGETS: ApiResource = ApiResource::new(
    "golden.example.com",
    "v1",
    "Gadget",
    "gadgets",
    Scope::Namespaced,
);

/// Text that is likely to break a URL or a header.
fn text(random: &mut Random) -> String {
    const WORDS: &[&str] = &[
        "a",
        "web-0",
        "a/b",
        "/",
        "..",
        ".",
        "%",
        "%2f",
        "%2F..",
        "?",
        "&",
        "=",
        "#",
        "+",
        " ",
        ";",
        ",",
        ":",
        "@",
        "\\",
        "\"",
        "'",
        "<",
        ">",
        "\r\n",
        "\r\nX-Injected: 1",
        "\n",
        "\0",
        "\t",
        "\u{7f}",
        "ü",
        "✓",
        "💥",
        "\u{202e}",
        "\u{feff}",
        "~",
        "_",
        "-",
        "*",
        "(",
        "!",
        "watch=true",
        "?watch=true",
        "&dryRun=All",
        "http://evil.example/",
        "[::1]",
        "$(x)",
        "|",
    ];
    if random.below(4) == 0 {
        let bytes: Vec<_> = (0..random.below(12)).map(|_| random.byte()).collect();
        return String::from_utf8_lossy(&bytes).into_owned();
    }
    (0..random.below(4)).map(|_| *random.pick(WORDS)).collect()
}

/// An own strict reader of origin-form targets.
fn parse(target: &str) -> (Vec<String>, Vec<(String, String)>) {
    fn decode(text: &str) -> String {
        let mut bytes = text.bytes();
        let mut out = Vec::new();
        while let Some(byte) = bytes.next() {
            let safe = byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
            assert!(safe || byte == b'%', "{byte} is not encoded in {text}");
            out.push(if byte == b'%' {
                let mut digit = || char::from(bytes.next().unwrap()).to_digit(16).unwrap();
                u8::try_from(digit() * 16 + digit()).unwrap()
            } else {
                byte
            });
        }
        String::from_utf8(out).unwrap()
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = path.strip_prefix('/').expect("origin form");
    let segments = path.split('/').map(decode).collect();
    let query = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap();
            (decode(key), decode(value))
        })
        .collect();
    (segments, query)
}

/// What servers refuse in a path, or take for another path.
fn is_bad_segment(text: &str) -> bool {
    matches!(text, "" | "." | "..") || text.contains(['/', '%'])
}

fn is_bad_manager(text: &str) -> bool {
    text.is_empty() || text.len() > 128 || text.chars().any(char::is_control)
}

/// The call is refused, if it should be, else it says what it should.
fn check<D: Decode>(
    what: &str,
    call: Result<Call<D>, Error>,
    refused: bool,
    segments: &[&str],
    query: &[(&str, &str)],
) {
    let call = match call {
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Usage, "{what}: {error}");
            assert!(refused, "{what} {segments:?} {query:?}: {error}");
            return;
        }
        Ok(call) => call,
    };
    assert!(!refused, "{what} {segments:?} {query:?} goes through");
    let uri = call.request().uri();
    assert!(uri.scheme().is_none() && uri.authority().is_none(), "{uri}");
    let target = uri.to_string();
    let (got_segments, got_query) = parse(&target);
    assert_eq!(got_segments, segments, "{what}: {target}");
    let pairs: Vec<_> = query
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    assert_eq!(got_query, pairs, "{what}: {target}");
    for (name, value) in call.request().headers() {
        let value = value.to_str().unwrap();
        if name == "accept-encoding" {
            assert_eq!(value, "gzip", "{what}");
            continue;
        }
        assert!(name == "accept" || name == "content-type", "{what}: {name}");
        assert!(
            value == "*/*" || value.starts_with("application/"),
            "{what}: {value}"
        );
    }
    let has_body = !call.request().body().is_empty();
    assert_eq!(
        call.request().headers().contains_key("content-type"),
        has_body
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of operations")]
fn text_of_users_is_refused_or_carried_exactly() {
    let mut random = Random::new(0x5EED);
    let mut draw = || text(&mut random);
    for _ in 0..5_000 {
        let (name, namespace, text) = (draw(), draw(), draw());
        let bad_place = is_bad_segment(&namespace);
        let bad = bad_place || is_bad_segment(&name);
        let api = Api::dynamic(MAPS).in_namespace(&namespace);
        let place = ["api", "v1", "namespaces", &namespace, "configmaps"];
        let object: Vec<_> = place.iter().copied().chain([name.as_str()]).collect();
        let part =
            |part: &'static str| -> Vec<&str> { object.iter().copied().chain([part]).collect() };
        let body = Dynamic::new(&MAPS, &name);
        let value = text.as_str();

        let get = api.get(&name).resource_version(value);
        check(
            "get",
            get.clone().into_call(),
            bad,
            &object,
            &[("resourceVersion", value)],
        );
        let optional = get.optional().into_call();
        check(
            "optional",
            optional,
            bad,
            &object,
            &[("resourceVersion", value)],
        );
        let view = api.metadata().get(&name).into_call();
        check("metadata", view, bad, &object, &[]);
        check("delete", api.delete(&name).into_call(), bad, &object, &[]);
        let delete = api
            .delete(&name)
            .precondition_uid(value)
            .propagation_policy(Propagation::Foreground);
        check("delete with body", delete.into_call(), bad, &object, &[]);

        let list = api
            .list()
            .labels(value)
            .fields(value)
            .limit(5)
            .continue_token(value);
        let pairs = [
            ("labelSelector", value),
            ("fieldSelector", value),
            ("limit", "5"),
            ("continue", value),
        ];
        check("list", list.clone().into_call(), bad_place, &place, &pairs);
        check("items", list.items().into_call(), bad_place, &place, &pairs);
        let watch = api
            .watch()
            .labels(value)
            .fields(value)
            .resource_version(value);
        let pairs = [
            ("watch", "true"),
            ("labelSelector", value),
            ("fieldSelector", value),
            ("resourceVersion", value),
        ];
        check("watch", watch.into_call(), bad_place, &place, &pairs);

        let logs = api
            .logs(&name)
            .container(value)
            .since_time("2026-11-23T05:00:00Z");
        let pairs = [("container", value), ("sinceTime", "2026-11-23T05:00:00Z")];
        check("logs", logs.clone().into_call(), bad, &part("log"), &pairs);
        check(
            "log text",
            logs.text().into_call(),
            bad,
            &part("log"),
            &pairs,
        );

        let bad_manager = is_bad_manager(value);
        let pairs = [("fieldManager", value), ("fieldValidation", "Strict")];
        let create = api
            .create(&body)
            .field_manager(value)
            .field_validation(FieldValidation::Strict);
        check(
            "create",
            create.into_call(),
            bad_place || bad_manager,
            &place,
            &pairs,
        );
        let pairs = [("fieldManager", value), ("dryRun", "All")];
        let replace = api.replace(&name, &body).field_manager(value).dry_run(true);
        check(
            "replace",
            replace.into_call(),
            bad || bad_manager,
            &object,
            &pairs,
        );
        let patch = Patch::apply(&json!({ "data": { "k": value } }));
        let apply = api
            .patch(&name, patch.clone())
            .field_manager(value)
            .force(true);
        let pairs = [("fieldManager", value), ("force", "true")];
        check(
            "apply",
            apply.into_call(),
            bad || bad_manager,
            &object,
            &pairs,
        );
        let scale = api.scale(&name).patch(patch).field_manager(value);
        let pairs = [("fieldManager", value)];
        check(
            "scale",
            scale.into_call(),
            bad || bad_manager,
            &part("scale"),
            &pairs,
        );
        check(
            "status",
            api.status(&name).get().into_call(),
            bad,
            &part("status"),
            &[],
        );

        // A client's namespace is checked like one that was named.
        let inherits = Api::dynamic(MAPS);
        let call = inherits.get(&name).into_call_in(Some(&namespace));
        check("inherited", call, bad, &object, &[]);
        let call = inherits.list().into_call_in(Some(&namespace));
        check("inherited list", call, bad_place, &place, &[]);
        let call = inherits.get(&name).into_call();
        check("nothing to inherit", call, true, &object, &[]);
        let nodes = Api::dynamic(NODES);
        let call = nodes.get(&name).into_call_in(Some(&namespace));
        let object = ["api", "v1", "nodes", &name];
        check("cluster", call, is_bad_segment(&name), &object, &[]);
        let gadgets = Api::dynamic(GADGETS).in_namespace(&namespace);
        let object = [
            "apis",
            "golden.example.com",
            "v1",
            "namespaces",
            &namespace,
            "gadgets",
            &name,
        ];
        check("group", gadgets.get(&name).into_call(), bad, &object, &[]);
    }
}

/// What discovery says goes into paths as it is: it must be a lower-case token.
#[test]
fn a_resource_is_a_token_or_refused() {
    let mut random = Random::new(0xB0B);
    let mut draw = || text(&mut random);
    for _ in 0..5_000 {
        let texts = [draw(), draw(), draw()];
        let fits = |text: &str| {
            !text.is_empty()
                && !text.starts_with('.')
                && text
                    .chars()
                    .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '.'))
        };
        for at in 0..3 {
            let mut parts = ["example.com", "v1", "things"];
            parts[at] = &texts[at];
            let [group, version, plural] = parts;
            let resource = ApiResource::discovered(
                group.to_owned(),
                version.to_owned(),
                "Thing".to_owned(),
                plural.to_owned(),
                Scope::Cluster,
            );
            let call = Api::dynamic(resource).list().into_call();
            let core = at == 0 && group.is_empty();
            let segments: &[&str] = if core {
                &["api", version, plural]
            } else {
                &["apis", group, version, plural]
            };
            check("discovered", call, !core && !fits(parts[at]), segments, &[]);
        }
    }
}

#[test]
fn text_that_is_too_long_for_a_url_is_refused() {
    let long = "x".repeat(70_000);
    let api = Api::dynamic(MAPS).in_namespace("default");
    check("name", api.get(&long).into_call(), true, &[], &[]);
    check(
        "selector",
        api.list().labels(&long).into_call(),
        true,
        &[],
        &[],
    );
    check(
        "namespace",
        api.in_namespace(&long).get("a").into_call(),
        true,
        &[],
        &[],
    );
}
