//! Whatever a caller passes as text reaches the server as exactly that, or not at all.
//!
//! Input: texts of `[n, n bytes]`, taken as they are needed.

use bytes::Bytes;
use http::{Request, Uri};
use kubewire::{
    Api, ApiResource, Call, Dynamic, Endpoint, Error, ErrorKind, Operation, Patch, UpgradeOperation,
};
use serde_json::json;

use crate::input::Input;

const PODS: ApiResource = ApiResource::core("Pod", "pods");

type Pairs = [(&'static str, String)];

/// Every operation with arbitrary names, namespaces, selectors, tokens and commands is refused as
/// [`ErrorKind::Usage`], or its URI says, to a parser of its own, exactly those segments and pairs.
///
/// # Panics
///
/// If that does not hold.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let which = input.below(16);
    let inherit = input.flag();
    let (namespace, name) = (input.text(), input.text());
    let api = if inherit {
        Api::dynamic(PODS)
    } else {
        Api::dynamic(PODS).in_namespace(namespace.clone())
    };
    let inherited = inherit.then_some(namespace.as_str());
    let test = Test {
        namespace: &namespace,
        name: Some(&name),
        inherited,
    };
    match which {
        0..8 => objects(which, &test, &api, &mut input),
        8..11 => collections(which, &test, &api, &mut input),
        _ => pods(which, &test, &api, &mut input),
    }
    endpoint(&mut input);
}

fn objects(which: usize, test: &Test<'_>, api: &Api<Dynamic>, input: &mut Input<'_>) {
    let name = test.name.unwrap_or_default();
    let version = input.text();
    match which {
        0 => test.call(api.get(name), "", &[], false),
        1 => {
            let get = api.get(name).resource_version(version.clone());
            test.call(get, "", &[("resourceVersion", version)], false);
        }
        2 => {
            let delete = api.delete(name).precondition_uid(version.clone());
            let call = test.call_of(delete, "", &[], false);
            if let Some(call) = call {
                let body: serde_json::Value =
                    serde_json::from_slice(call.request().body()).expect("JSON");
                assert_eq!(body["preconditions"], json!({"uid": version}));
            }
        }
        3 => test.call(api.get(name).optional(), "", &[], false),
        4 => test.call(api.scale(name).get(), "scale", &[], false),
        5 => {
            let call = api.status(name).get().resource_version(version.clone());
            test.call(call, "status", &[("resourceVersion", version)], false);
        }
        6 => {
            let patch = Patch::merge(&json!({}));
            let patch = api.patch(name, patch).field_manager(version.clone());
            test.call(
                patch,
                "",
                &[("fieldManager", version.clone())],
                bad_manager(&version),
            );
        }
        _ => {
            let replace = api.replace(name, &Dynamic::new(&PODS, name));
            let replace = replace.field_manager(version.clone()).dry_run(true);
            let pairs = vec![
                ("fieldManager", version.clone()),
                ("dryRun", "All".to_owned()),
            ];
            test.call(replace, "", &pairs, bad_manager(&version));
        }
    }
}

fn bad_manager(text: &str) -> bool {
    text.is_empty() || text.len() > 128 || text.chars().any(char::is_control)
}

fn collections(which: usize, test: &Test<'_>, api: &Api<Dynamic>, input: &mut Input<'_>) {
    let (labels, fields, token) = (input.text(), input.text(), input.text());
    let mut pairs = vec![
        ("labelSelector", labels.clone()),
        ("fieldSelector", fields.clone()),
    ];
    let test = &Test {
        name: None,
        ..*test
    };
    match which {
        8 => {
            let list = api.list().labels(labels).fields(fields);
            pairs.push(("continue", token.clone()));
            test.call(list.continue_token(token), "", &pairs, false);
        }
        9 => {
            let list = api.list().labels(labels).fields(fields).items();
            let Some(call) = test.call_of(list, "", &pairs, false) else {
                return;
            };
            // The next page has the token that the server gave, whatever that is.
            let (_, mut exchange) = call.begin(&kubewire::Limits::default());
            let page = json!({"items": [], "metadata": {"continue": token.clone()}});
            let fed = exchange
                .handle_head(&http::Response::new(()).into_parts().0)
                .and_then(|()| exchange.handle_data(page.to_string().into()))
                .and_then(|()| exchange.handle_end(kubewire::End::Clean));
            fed.expect("a good page");
            let next = exchange.follow_up();
            assert_eq!(next.is_some(), !token.is_empty());
            if let Some(next) = next {
                pairs.push(("continue", token));
                test.check(next.request().uri(), "", &pairs);
            }
        }
        _ => {
            let watch = api.watch().labels(labels).fields(fields);
            pairs.insert(0, ("watch", "true".to_owned()));
            pairs.push(("resourceVersion", token.clone()));
            test.call(watch.resource_version(token), "", &pairs, false);
        }
    }
}

fn pods(which: usize, test: &Test<'_>, api: &Api<Dynamic>, input: &mut Input<'_>) {
    let name = test.name.unwrap_or_default();
    let container = input.text();
    let (argument, more) = (input.text(), input.text());
    let streams = |pairs: &mut Vec<(&str, String)>, names: &[&'static str]| {
        pairs.extend(names.iter().map(|&name| (name, "true".to_owned())));
    };
    match which {
        11 => {
            let logs = api.logs(name).container(container.clone());
            // Only times are taken; what is none is refused, whatever it holds.
            let time = "2026-11-23T06:22:42.5+01:00".to_owned();
            let refused = logs.clone().since_time(argument).into_call_in(None);
            assert!(
                refused.is_ok() || refused.is_err_and(|error| error.kind() == ErrorKind::Usage)
            );
            let pairs = vec![("container", container), ("sinceTime", time.clone())];
            test.call(logs.since_time(time), "log", &pairs, false);
        }
        12 => {
            let exec = api.exec(name).container(container.clone());
            let exec = exec.command([argument.clone(), more.clone()]).stdin();
            let mut pairs = vec![("command", argument), ("command", more)];
            pairs.push(("container", container));
            streams(&mut pairs, &["stdin", "stdout", "stderr"]);
            test.upgrade(exec, "exec", &pairs);
        }
        13 => {
            let attach = api.attach(name).container(container.clone()).tty();
            let mut pairs = vec![("container", container)];
            streams(&mut pairs, &["stdout", "tty"]);
            test.upgrade(attach, "attach", &pairs);
        }
        14 => {
            let port = input.short().max(1);
            let forward = api.port_forward(name, [port, 80]);
            let pairs = vec![("ports", port.to_string()), ("ports", "80".to_owned())];
            test.upgrade(forward, "portforward", &pairs);
        }
        _ => {
            let create = api
                .create(&Dynamic::new(&PODS, name))
                .field_manager(&*argument);
            let pairs = vec![("fieldManager", argument.clone())];
            let test = &Test {
                name: None,
                ..*test
            };
            test.call(create, "", &pairs, bad_manager(&argument));
        }
    }
}

/// An operation's texts.
struct Test<'a> {
    namespace: &'a str,
    /// None for operations on the collection.
    name: Option<&'a str>,
    inherited: Option<&'a str>,
}

/// What would reach something else.
fn is_bad(segment: &str) -> bool {
    matches!(segment, "" | "." | "..") || segment.contains(['/', '%'])
}

impl Test<'_> {
    fn call<O: Operation>(&self, operation: O, sub: &str, pairs: &Pairs, refused: bool) {
        self.call_of(operation, sub, pairs, refused);
    }

    fn call_of<O: Operation>(
        &self,
        operation: O,
        sub: &str,
        pairs: &Pairs,
        refused: bool,
    ) -> Option<Call<O::Decoder>> {
        let call = operation.into_call_in(self.inherited);
        let bad = is_bad(self.namespace) || self.name.is_some_and(is_bad) || refused;
        let call = refuse(call, bad)?;
        self.check(call.request().uri(), sub, pairs);
        for value in call.request().headers().values() {
            assert!(value.to_str().is_ok());
        }
        Some(call)
    }

    fn upgrade<O: UpgradeOperation>(&self, operation: O, sub: &str, pairs: &Pairs) {
        let upgrade = operation.into_upgrade_in(self.inherited);
        let bad = is_bad(self.namespace) || self.name.is_some_and(is_bad);
        if let Some(upgrade) = refuse(upgrade, bad) {
            self.check(upgrade.request().uri(), sub, pairs);
        }
    }

    fn check(&self, uri: &Uri, sub: &str, pairs: &Pairs) {
        let (segments, query) = take_apart(uri);
        let mut expected = vec!["api", "v1", "namespaces", self.namespace, "pods"];
        expected.extend(self.name);
        if !sub.is_empty() {
            expected.push(sub);
        }
        assert_eq!(segments, expected, "{uri}");
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        assert_eq!(query, pairs, "{uri}");
    }
}

/// The call, unless it was refused; as it had to be.
fn refuse<T>(result: Result<T, Error>, bad: bool) -> Option<T> {
    match result {
        Ok(call) => {
            assert!(!bad, "this would reach something else");
            Some(call)
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(bad, "refused for no reason: {error}");
            None
        }
    }
}

/// Path segments and query pairs, decoded as a server does.
fn take_apart(uri: &Uri) -> (Vec<String>, Vec<(String, String)>) {
    let text = uri.to_string();
    assert!(
        text.bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#')
    );
    let (path, query) = text.split_once('?').unwrap_or((&text, ""));
    let path = path.strip_prefix('/').expect("origin form");
    let segments = path.split('/').map(|segment| decode(segment, false));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (key, value) = pair.split_once('=').expect("a pair");
        (decode(key, true), decode(value, true))
    });
    (segments.collect(), pairs.collect())
}

fn decode(text: &str, plus_is_blank: bool) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || {
                    let digit = char::from(bytes.next().expect("a digit"));
                    digit.to_digit(16).expect("hexadecimal")
                };
                u8::try_from(16 * digit() + digit()).expect("two digits")
            }
            b'+' if plus_is_blank => b' ',
            other => other,
        });
    }
    String::from_utf8(out).expect("texts are UTF-8")
}

/// A base URL from anywhere is refused, or adds its prefix and nothing else.
fn endpoint(input: &mut Input<'_>) {
    let text = input.text();
    let endpoint = match Endpoint::parse(&text) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Config);
            return;
        }
    };
    let again = Endpoint::parse(&endpoint.to_string()).expect("what it says of itself");
    assert_eq!(again, endpoint);
    assert!(!endpoint.host().is_empty());
    let own = "/api/v1/pods?limit=5";
    let mut request = Request::get(own).body(Bytes::new()).expect("a request");
    endpoint.origin_form(&mut request).expect("it is short");
    let path = request.uri().to_string();
    assert!(path.starts_with('/') && path.ends_with(own), "{path}");
    assert!(request.headers().contains_key("host"));
    let mut request = Request::get(own).body(()).expect("a request");
    endpoint.absolute_form(&mut request).expect("it is short");
    assert_eq!(request.uri().to_string(), format!("{endpoint}{own}"));
    assert_eq!(
        request.uri().path_and_query().map(ToString::to_string),
        Some(path)
    );
}
