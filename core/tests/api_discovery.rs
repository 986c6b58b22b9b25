//! Discovery with servers of all ages, and with parts of the API that are down.

#![allow(clippy::unwrap_used, reason = "a test")]

mod api_support;

use std::collections::BTreeMap;

use api_support::{Answer, answer, feed, feed_to};
use kubewire::discovery::{Discover, Discovery, Health, ServerVersion};
use kubewire::{Error, ErrorKind, Limits, Scope};

const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

fn aggregated(body: &str) -> Answer {
    answer(200, body)
        .header("content-type", V2)
        .header("etag", "\"e1\"")
}

fn json(body: &str) -> Answer {
    answer(200, body).header("content-type", "application/json")
}

/// Answers what is asked for, newest want first; which paths were asked for, and with what tag.
fn run(
    mut discover: Discover,
    server: &BTreeMap<&str, Answer>,
) -> (Result<Discovery, Error>, Vec<String>) {
    let mut asked = Vec::new();
    let mut wants = Vec::new();
    loop {
        wants.extend(std::iter::from_fn(|| discover.poll_want()));
        let Some(want) = wants.pop() else {
            break;
        };
        assert!(!discover.is_done());
        let (request, exchange) = want.call.begin(&Limits::default());
        let path = request.uri().path().to_owned();
        let tag = request
            .headers()
            .get("if-none-match")
            .map_or("", |tag| tag.to_str().unwrap());
        asked.push(format!("{path}{tag}"));
        let missing = answer(404, "404 page not found\n");
        let (mut items, error, _) =
            feed_to(exchange, server.get(path.as_str()).unwrap_or(&missing), 9);
        let answer = items.pop().ok_or_else(|| error.unwrap());
        discover.handle_answer(want.id, answer.clone());
        // A second answer to the same is nobody's.
        discover.handle_answer(want.id, answer);
    }
    assert!(discover.is_done());
    asked.sort();
    (discover.finish(), asked)
}

fn legacy() -> BTreeMap<&'static str, Answer> {
    BTreeMap::from([
        (
            "/api",
            json(r#"{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[]}"#),
        ),
        (
            "/api/v1",
            json(
                r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[
            {"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["get","list"],"shortNames":["po"],"categories":["all"]},
            {"name":"pods/log","singularName":"","namespaced":true,"kind":"Pod","verbs":["get"]},
            {"name":"pods/eviction","singularName":"","namespaced":true,"group":"policy","version":"v1","kind":"Eviction","verbs":["create"]},
            {"name":"nodes","singularName":"node","namespaced":false,"kind":"Node","verbs":["get"],"shortNames":null}]}"#,
            ),
        ),
        (
            "/apis",
            json(
                r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[
            {"name":"autoscaling","versions":[{"groupVersion":"autoscaling/v1","version":"v1"},{"groupVersion":"autoscaling/v2","version":"v2"}],
             "preferredVersion":{"groupVersion":"autoscaling/v2","version":"v2"}},
            {"name":"metrics.example.com","versions":[{"groupVersion":"metrics.example.com/v1","version":"v1"}]},
            {"name":"bad/name","versions":[{"groupVersion":"x","version":"v1"}]}]}"#,
            ),
        ),
        (
            "/apis/autoscaling/v1",
            json(
                r#"{"kind":"APIResourceList","groupVersion":"autoscaling/v1","resources":[
            {"name":"horizontalpodautoscalers","singularName":"horizontalpodautoscaler","namespaced":true,"kind":"HorizontalPodAutoscaler","verbs":["get"],"shortNames":["hpa"]}]}"#,
            ),
        ),
        (
            "/apis/autoscaling/v2",
            json(
                r#"{"kind":"APIResourceList","groupVersion":"autoscaling/v2","resources":[
            {"name":"horizontalpodautoscalers","singularName":"horizontalpodautoscaler","namespaced":true,"kind":"HorizontalPodAutoscaler","verbs":["get"],"shortNames":["hpa"]}]}"#,
            ),
        ),
        (
            "/apis/metrics.example.com/v1",
            answer(503, "service unavailable\n"),
        ),
    ])
}

#[test]
fn an_old_server_is_asked_for_each_version_and_one_that_is_down_fails_alone() {
    let (discovery, asked) = run(Discover::new(), &legacy());
    let discovery = discovery.unwrap();
    assert_eq!(
        asked,
        [
            "/api",
            "/api/v1",
            "/apis",
            "/apis/autoscaling/v1",
            "/apis/autoscaling/v2",
            "/apis/metrics.example.com/v1"
        ]
    );
    let pods = discovery.resolve("po").unwrap();
    assert_eq!(pods.resource().scope(), Scope::Namespaced);
    assert_eq!(pods.categories(), ["all"]);
    assert_eq!(pods.subresource("log").unwrap().api_version, "v1");
    let eviction = pods.subresource("eviction").unwrap();
    assert_eq!(
        (eviction.kind.as_str(), eviction.api_version.as_str()),
        ("Eviction", "policy/v1")
    );
    assert_eq!(
        discovery.resolve("node").unwrap().resource().scope(),
        Scope::Cluster
    );
    // The preferred version first.
    assert_eq!(discovery.resolve("hpa").unwrap().resource().version(), "v2");
    let failed: Vec<_> = discovery
        .failures()
        .iter()
        .map(|failure| failure.what.as_str())
        .collect();
    assert_eq!(failed, ["bad/name/v1", "metrics.example.com/v1"]);
    let error = discovery.failures()[1].error.as_ref().unwrap();
    assert!(error.is_service_unavailable());
    // Plain JSON although the aggregated form was asked for first: the body decides nothing.
    let mut confusing = legacy();
    confusing.insert(
        "/api",
        json(r#"{"kind":"APIGroupDiscoveryList","items":[]}"#),
    );
    let (discovery, _) = run(Discover::new(), &confusing);
    assert!(
        discovery
            .unwrap()
            .failures()
            .iter()
            .any(|failure| failure.what == "/api")
    );
}

#[test]
fn what_has_not_changed_or_is_stale_is_kept() {
    let group = |name: &str, freshness: &str, resources: &str| {
        format!(
            r#"{{"metadata":{{"name":"{name}"}},"versions":[{{"version":"v1","freshness":"{freshness}","resources":{resources}}}]}}"#
        )
    };
    let things = r#"[{"resource":"things","responseKind":{"group":"","version":"","kind":"Thing"},"scope":"Cluster","verbs":["get"]}]"#;
    let core = format!(
        r#"{{"items":[{{"metadata":{{}},"versions":[{{"version":"v1","resources":{things}}}]}}]}}"#
    );
    let both = |stale: &str, freshness: &str| {
        format!(
            r#"{{"items":[{},{}]}}"#,
            group("a.example.com", "Current", things),
            group("b.example.com", freshness, stale)
        )
    };
    let mut server = BTreeMap::from([
        ("/api", aggregated(&core)),
        ("/apis", aggregated(&both(things, "Current"))),
    ]);
    let (first, asked) = run(Discover::new(), &server);
    let first = first.unwrap();
    assert_eq!(asked, ["/api", "/apis"]);
    assert_eq!((first.resources().count(), first.failures().len()), (3, 0));

    server.insert("/api", answer(304, ""));
    server.insert("/apis", aggregated(&both("[]", "Stale")));
    let (second, asked) = run(Discover::refresh(first.clone()), &server);
    let second = second.unwrap();
    assert_eq!(asked, ["/api\"e1\"", "/apis\"e1\""]);
    assert_eq!(
        second.resources().count(),
        3,
        "the old state of b.example.com"
    );
    assert_eq!(second.failures().len(), 1);
    assert!(
        second.failures()[0].what == "b.example.com/v1" && second.failures()[0].error.is_none()
    );
    assert!(second.resolve("things.b.example.com").is_some());

    // Without an old state it is missing, and that is said.
    server.insert("/api", aggregated(&core));
    let (fresh, _) = run(Discover::new(), &server);
    let fresh = fresh.unwrap();
    assert!(fresh.resolve("things.b.example.com").is_none() && fresh.failures().len() == 1);

    // A root that cannot be read is kept as well.
    server.insert("/apis", answer(500, "oops"));
    let (third, _) = run(Discover::refresh(first), &server);
    let third = third.unwrap();
    assert_eq!(
        (third.resources().count(), third.failures()[0].what.as_str()),
        (3, "/apis")
    );
}

#[test]
fn nothing_at_all_is_an_error() {
    let denied = answer(
        403,
        r#"{"kind":"Status","status":"Failure","reason":"Forbidden","code":403}"#,
    );
    let server = BTreeMap::from([("/api", denied.clone()), ("/apis", denied)]);
    assert!(run(Discover::new(), &server).0.unwrap_err().is_forbidden());
    assert!(
        run(Discover::new(), &BTreeMap::new())
            .0
            .unwrap_err()
            .is_not_found()
    );
    let html = json("<html>");
    let server = BTreeMap::from([("/api", html.clone()), ("/apis", html)]);
    assert_eq!(
        run(Discover::new(), &server).0.unwrap_err().kind(),
        ErrorKind::Peer
    );
    assert_eq!(
        Discover::new().finish().unwrap_err().kind(),
        ErrorKind::Usage
    );
}

#[test]
fn the_server_tells_its_version_and_how_it_is() {
    let version = answer(
        200,
        r#"{"major":"1","minor":"36","gitVersion":"v1.36.2","emulationMajor":"1","platform":null}"#,
    );
    let (versions, error) = feed(ServerVersion::new(), &version, 5, &Limits::default());
    assert!(error.is_none(), "{error:?}");
    assert_eq!(
        (versions[0].git_version.as_str(), versions[0].minor_number()),
        ("v1.36.2", Some(36))
    );
    let limits = Limits::default();
    let (reports, _) = feed(Health::livez(), &answer(200, "ok"), 5, &limits);
    assert!(reports[0].healthy && reports[0].checks.is_empty());
    let unwell = answer(
        500,
        "[+]ping ok\n[-]etcd failed: reason withheld\n[+]log excluded: ok\nlivez check failed\n",
    )
    .header("content-type", "text/plain; charset=utf-8");
    let (reports, error) = feed(Health::readyz().verbose(true), &unwell, 5, &limits);
    assert!(error.is_none(), "{error:?}");
    assert!(!reports[0].healthy);
    let checks: Vec<_> = reports[0]
        .checks
        .iter()
        .map(|check| (check.name.as_str(), check.healthy, check.message.as_str()))
        .collect();
    assert_eq!(
        checks,
        [
            ("ping", true, "ok"),
            ("etcd", false, "failed: reason withheld"),
            ("log", true, "excluded: ok")
        ]
    );
    for code in [401, 503] {
        let (_, error) = feed(Health::healthz(), &answer(code, "no"), 5, &limits);
        assert_eq!(error.unwrap().code().unwrap().as_u16(), code);
    }
    assert!(kubewire::Operation::into_call(Health::livez().check("")).is_err());
    assert!(kubewire::Operation::into_call(Health::livez().check("../version")).is_err());
}
