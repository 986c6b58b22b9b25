//! Every option is spelled as Kubernetes spells it; what the server would refuse or silently read
//! otherwise is refused first.

#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(clippy::too_many_lines, reason = "tables")]

mod api_support;

use std::time::Duration;

use api_support::{MAPS, maps};
use http::Method;
use kubewire::{
    Api, ApiResource, Call, Dynamic, ErrorKind, FieldSelector, FieldValidation, IncludeObject,
    LabelSelector, LogStream, Operation, Patch, Propagation, Scope, VersionMatch,
};

fn jobs() -> Api<Dynamic> {
    Api::dynamic(ApiResource::new(
        "batch",
        "v1",
        "Job",
        "jobs",
        Scope::Namespaced,
    ))
    .in_namespace("ns")
}

fn shown<O: Operation>(operation: O) -> String {
    let call = operation.into_call().unwrap();
    let request = call.request();
    let body = std::str::from_utf8(request.body()).unwrap();
    let uri = request.uri().to_string();
    let short = uri.replacen("/api/v1/namespaces/ns/", "", 1).replacen(
        "/apis/batch/v1/namespaces/ns/",
        "",
        1,
    );
    format!("{} {short} {body}", request.method())
        .trim_end()
        .to_owned()
}

#[test]
fn options_are_spelled_as_kubernetes_spells_them() {
    let object = Dynamic::new(&MAPS, "n");
    let body = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"n"}}"#;
    let merge = || Patch::merge(&serde_json::json!({}));
    let second = Duration::from_secs(1);
    for (sent, expected) in [
        (shown(maps().get("n").resource_version("0").timeout(second * 90).pretty(true)),
         "GET configmaps/n?resourceVersion=0&pretty=true&timeout=90s".to_owned()),
        (shown(maps().list().labels(LabelSelector::new().eq("a", "b").exists("c")).fields(FieldSelector::new().eq("metadata.name", "n"))
            .limit(5).resource_version("7").version_match(VersionMatch::NotOlderThan).timeout_seconds(9)),
         "GET configmaps?labelSelector=a%3Db%2Cc&fieldSelector=metadata.name%3Dn&limit=5&timeoutSeconds=9&resourceVersion=7&resourceVersionMatch=NotOlderThan".to_owned()),
        (shown(maps().list().limit(5).continue_token("a+b/c=").shard_selector("shardRange(object.metadata.uid, '0x0', '0x1')")),
         "GET configmaps?shardSelector=shardRange%28object.metadata.uid%2C%20%270x0%27%2C%20%270x1%27%29&limit=5&continue=a%2Bb%2Fc%3D".to_owned()),
        (shown(maps().watch().labels("a").bookmarks(true).send_initial_events(true).timeout_seconds(9).resource_version("7")),
         "GET configmaps?watch=true&labelSelector=a&resourceVersion=7&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=9".to_owned()),
        (shown(maps().create(&object).dry_run(true).field_manager("m").field_validation(FieldValidation::Strict)),
         format!("POST configmaps?fieldManager=m&dryRun=All&fieldValidation=Strict {body}")),
        (shown(maps().replace("n", &object).dry_run(true).field_manager("m").field_validation(FieldValidation::Ignore)),
         format!("PUT configmaps/n?fieldManager=m&dryRun=All&fieldValidation=Ignore {body}")),
        (shown(maps().patch("n", merge()).dry_run(true).field_manager("m").field_validation(FieldValidation::Warn)),
         "PATCH configmaps/n?fieldManager=m&dryRun=All&fieldValidation=Warn {}".to_owned()),
        (shown(maps().patch("n", Patch::apply(&serde_json::json!({}))).field_manager("m").force(true)),
         "PATCH configmaps/n?fieldManager=m&force=true {}".to_owned()),
        (shown(maps().delete("n")), "DELETE configmaps/n".to_owned()),
        (shown(maps().delete("n").grace_period_seconds(0).propagation_policy(Propagation::Foreground).dry_run(true)
            .precondition_uid("u").precondition_resource_version("7")),
         r#"DELETE configmaps/n {"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0,"propagationPolicy":"Foreground","preconditions":{"uid":"u","resourceVersion":"7"},"dryRun":["All"]}"#.to_owned()),
        (shown(maps().delete("n").orphan_dependents(false)),
         r#"DELETE configmaps/n {"kind":"DeleteOptions","apiVersion":"v1","orphanDependents":false}"#.to_owned()),
        (shown(maps().delete("n").ignore_store_read_error_with_cluster_breaking_potential(true)),
         r#"DELETE configmaps/n {"kind":"DeleteOptions","apiVersion":"v1","ignoreStoreReadErrorWithClusterBreakingPotential":true}"#.to_owned()),
        // The two kinds whose dependents the server would leave behind:
        (shown(jobs().delete("n")),
         r#"DELETE jobs/n {"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background"}"#.to_owned()),
        (shown(Api::dynamic(ApiResource::core("ReplicationController", "replicationcontrollers")).in_namespace("ns").delete("n")),
         r#"DELETE replicationcontrollers/n {"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background"}"#.to_owned()),
        (shown(jobs().delete("n").propagation_policy(Propagation::Orphan)),
         r#"DELETE jobs/n {"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Orphan"}"#.to_owned()),
        (shown(jobs().delete("n").orphan_dependents(true)),
         r#"DELETE jobs/n {"kind":"DeleteOptions","apiVersion":"v1","orphanDependents":true}"#.to_owned()),
        (shown(jobs().delete_collection().labels("a=b").limit(3).timeout_seconds(4)),
         r#"DELETE jobs?labelSelector=a%3Db&limit=3&timeoutSeconds=4 {"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background"}"#.to_owned()),
        (shown(maps().delete_collection().everything().dry_run(true).grace_period_seconds(1)),
         r#"DELETE configmaps {"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":1,"dryRun":["All"]}"#.to_owned()),
        // A body, so that the version is not read as a precondition as well.
        (shown(maps().delete_collection().everything().resource_version("7")),
         r#"DELETE configmaps?resourceVersion=7 {"kind":"DeleteOptions","apiVersion":"v1"}"#.to_owned()),
        (shown(maps().logs("p").container("c").follow(true).previous(true).timestamps(true).since_time("2026-11-23T05:00:00.5+01:00")
            .limit_bytes(9).insecure_skip_tls_verify_backend(true).stream(LogStream::Stderr)),
         "GET configmaps/p/log?container=c&follow=true&previous=true&timestamps=true&sinceTime=2026-11-23T05%3A00%3A00.5%2B01%3A00&limitBytes=9&insecureSkipTLSVerifyBackend=true&stream=Stderr".to_owned()),
        (shown(maps().logs("p").tail_lines(0).since_seconds(1).stream(LogStream::All).text()),
         "GET configmaps/p/log?sinceSeconds=1&tailLines=0&stream=All".to_owned()),
        (shown(maps().table().watch().include_object(IncludeObject::Object)),
         "GET configmaps?watch=true&includeObject=Object".to_owned()),
        (shown(maps().evict("p").dry_run(true).precondition_uid("u").propagation_policy(Propagation::Orphan)),
         r#"POST configmaps/p/eviction?dryRun=All {"kind":"Eviction","apiVersion":"policy/v1","metadata":{"name":"p"},"deleteOptions":{"propagationPolicy":"Orphan","preconditions":{"uid":"u"},"dryRun":["All"]}}"#.to_owned()),
        (shown(maps().evict("p")),
         r#"POST configmaps/p/eviction {"kind":"Eviction","apiVersion":"policy/v1","metadata":{"name":"p"}}"#.to_owned()),
        (shown(maps().bind("p", "n").uid("u").field_manager("m")),
         r#"POST configmaps/p/binding?fieldManager=m {"kind":"Binding","apiVersion":"v1","metadata":{"name":"p","uid":"u"},"target":{"apiVersion":"v1","kind":"Node","name":"n"}}"#.to_owned()),
        (shown(maps().create_token("s").audience("a").audience("b").bound_to_pod("p", Some("u".into()))),
         r#"POST configmaps/s/token {"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","spec":{"audiences":["a","b"],"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"p","uid":"u"}}}"#.to_owned()),
        (shown(maps().proxy("p").get("")), "GET configmaps/p/proxy/".to_owned()),
        (shown(maps().proxy("p").port(80).get("/a b/c?d")), "GET configmaps/p:80/proxy/a%20b/c%3Fd".to_owned()),
        (shown(maps().proxy("p").https().request(Method::POST, "x/").body("hello")), "POST configmaps/https:p:/proxy/x/ hello".to_owned()),
        (shown(Call::raw(Method::PUT, "/x?a=1").query("b c", "&").json_body(&1)), "PUT /x?a=1&b%20c=%26 1".to_owned()),
    ] {
        assert_eq!(sent, expected);
    }
}

#[test]
fn what_cannot_mean_anything_is_refused_and_both_options_are_named() {
    fn refused<O: Operation>(operation: O) -> String {
        let error = operation.into_call().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        error.to_string()
    }
    const IGNORE: &str = "ignore_store_read_error_with_cluster_breaking_potential";
    let ignoring = || {
        maps()
            .delete("n")
            .ignore_store_read_error_with_cluster_breaking_potential(true)
    };
    let merge = || Patch::merge(&serde_json::json!({}));
    let namespaces =
        Api::<Dynamic>::dynamic(ApiResource::core("Namespace", "namespaces").cluster_scoped());
    for (message, named) in [
        (
            refused(maps().list().version_match(VersionMatch::Exact)),
            vec!["version_match", "resource_version"],
        ),
        (
            refused(
                maps()
                    .list()
                    .version_match(VersionMatch::Exact)
                    .resource_version("0"),
            ),
            vec!["version_match(Exact)", "resource_version(\"0\")"],
        ),
        (
            refused(maps().list().continue_token("t").resource_version("7")),
            vec!["continue_token", "resource_version"],
        ),
        (
            refused(
                maps()
                    .list()
                    .continue_token("t")
                    .resource_version("0")
                    .version_match(VersionMatch::NotOlderThan),
            ),
            vec!["continue_token", "version_match"],
        ),
        (
            refused(maps().list().limit(5).resource_version("0")),
            vec!["limit", "resource_version(\"0\")"],
        ),
        (
            refused(maps().list().limit(5).resource_version("7")),
            vec!["limit", "resource_version", "version_match"],
        ),
        (
            refused(maps().list().limit(5).resource_version("0").items()),
            vec!["limit", "resource_version(\"0\")"],
        ),
        (
            refused(maps().list().limit(5).resource_version("0").all_pages()),
            vec!["limit", "resource_version(\"0\")"],
        ),
        (
            refused(maps().table().list().limit(5).resource_version("0")),
            vec!["limit", "resource_version(\"0\")"],
        ),
        (
            refused(maps().list().labels(LabelSelector::new().eq("a", "b,c"))),
            vec!["\"b,c\""],
        ),
        (
            refused(maps().watch().fields(FieldSelector::new().eq("", "b"))),
            vec!["field"],
        ),
        (
            refused(
                maps()
                    .table()
                    .watch()
                    .bookmarks(true)
                    .include_object(IncludeObject::None),
            ),
            vec!["bookmarks", "include_object(None)"],
        ),
        (
            refused(maps().get("n").timeout(Duration::ZERO)),
            vec!["timeout(0)"],
        ),
        (
            refused(maps().patch("n", Patch::apply(&1))),
            vec!["Patch::apply", "field_manager"],
        ),
        (
            refused(maps().patch("n", merge()).force(true)),
            vec!["force", "Patch::apply"],
        ),
        (
            refused(maps().patch("n", merge()).force(false)),
            vec!["force", "Patch::apply"],
        ),
        (
            refused(maps().patch("n", merge()).field_manager("m\n")),
            vec!["field_manager"],
        ),
        (
            refused(
                maps()
                    .create(&Dynamic::default())
                    .field_manager("m".repeat(129)),
            ),
            vec!["field_manager", "128"],
        ),
        (
            refused(
                maps()
                    .delete("n")
                    .propagation_policy(Propagation::Orphan)
                    .orphan_dependents(true),
            ),
            vec!["propagation_policy", "orphan_dependents"],
        ),
        (
            refused(maps().delete("n").grace_period_seconds(-1)),
            vec!["grace_period_seconds"],
        ),
        (refused(ignoring().dry_run(true)), vec![IGNORE, "dry_run"]),
        (
            refused(ignoring().propagation_policy(Propagation::Orphan)),
            vec![IGNORE, "propagation_policy"],
        ),
        (
            refused(ignoring().orphan_dependents(true)),
            vec![IGNORE, "orphan_dependents"],
        ),
        (
            refused(ignoring().grace_period_seconds(1)),
            vec![IGNORE, "grace_period_seconds"],
        ),
        (
            refused(ignoring().precondition_uid("u")),
            vec![IGNORE, "precondition_uid"],
        ),
        (
            refused(ignoring().precondition_resource_version("1")),
            vec![IGNORE, "precondition_resource_version"],
        ),
        (
            refused(maps().delete_collection()),
            vec!["labels", "fields", "everything()"],
        ),
        (
            refused(maps().delete_collection().labels("")),
            vec!["labels", "everything()"],
        ),
        (
            refused(maps().delete_collection().labels("a").everything()),
            vec!["everything", "labels"],
        ),
        (
            refused(maps().in_all_namespaces().delete_collection().everything()),
            vec!["all namespaces"],
        ),
        (
            refused(namespaces.delete_collection().everything()),
            vec!["namespaces"],
        ),
        (
            refused(
                maps()
                    .delete_collection()
                    .labels("a")
                    .propagation_policy(Propagation::Orphan)
                    .orphan_dependents(true),
            ),
            vec!["propagation_policy", "orphan_dependents"],
        ),
        (
            refused(
                maps()
                    .delete_collection()
                    .labels("a")
                    .limit(1)
                    .resource_version("0"),
            ),
            vec!["limit", "resource_version(\"0\")"],
        ),
        (
            refused(maps().evict("p").grace_period_seconds(-1)),
            vec!["grace_period_seconds"],
        ),
        (refused(maps().bind("p", "")), vec!["node"]),
        (
            refused(maps().create_token("s").expiration_seconds(599)),
            vec!["expiration_seconds", "600"],
        ),
        (
            refused(
                maps()
                    .create_token("s")
                    .bound_to_pod("p", None)
                    .bound_to_node("n", None),
            ),
            vec!["bound_to_pod", "bound_to_node"],
        ),
        (
            refused(
                maps()
                    .logs("p")
                    .since_seconds(1)
                    .since_time("2026-11-23T05:00:00Z"),
            ),
            vec!["since_seconds", "since_time"],
        ),
        (
            refused(maps().logs("p").since_seconds(0)),
            vec!["since_seconds"],
        ),
        (refused(maps().logs("p").since_time("")), vec!["since_time"]),
        (
            refused(maps().logs("p").since_time("2026-11-23")),
            vec!["since_time"],
        ),
        (
            refused(maps().logs("p").since_time("2026-11-23T05:00:00")),
            vec!["since_time"],
        ),
        (refused(maps().logs("p").tail_lines(-1)), vec!["tail_lines"]),
        (
            refused(maps().logs("p").limit_bytes(0)),
            vec!["limit_bytes"],
        ),
        (
            refused(maps().logs("p").stream(LogStream::Stdout).tail_lines(1)),
            vec!["stream", "tail_lines"],
        ),
        (
            refused(maps().logs("p").follow(true).text()),
            vec!["follow", "text()"],
        ),
        (
            refused(
                maps()
                    .metadata()
                    .create(&kubewire::meta::PartialObjectMetadata::default()),
            ),
            vec!["metadata"],
        ),
        (refused(maps().proxy("a:b").get("/")), vec!["name", "a:b"]),
        (
            refused(maps().proxy("a").port_name("x:y").get("/")),
            vec!["port", "x:y"],
        ),
        (refused(maps().proxy("").port(1).get("/")), vec!["name"]),
        (refused(maps().proxy("a").get("/b/../c")), vec![".."]),
        (
            refused(maps().subresource("n", "a/b").get::<Dynamic>()),
            vec!["subresource"],
        ),
        (
            refused(maps().get("n").header("content-length", "1")),
            vec!["content-length"],
        ),
        (
            refused(maps().get("n").header("accept", "text/html")),
            vec!["accept"],
        ),
        (
            refused(maps().get("n").header("x", "a\r\nb: c")),
            vec!["header x"],
        ),
        (refused(maps().get("n").header("x y", "a")), vec!["header"]),
        (
            refused(maps().get("n").user_agent("a\nb")),
            vec!["User-Agent"],
        ),
        (refused(Call::raw(Method::GET, "relative")), vec!["path"]),
        (refused(Call::raw(Method::GET, "//host/path")), vec!["path"]),
        (refused(Call::raw(Method::GET, "/a#b")), vec!["path"]),
        (refused(Call::raw(Method::GET, "/a b")), vec!["path"]),
        (
            refused(Call::raw(Method::GET, "/").header("transfer-encoding", "chunked")),
            vec!["transfer-encoding"],
        ),
    ] {
        for option in named {
            assert!(
                message.contains(option),
                "{message:?} does not name {option:?}"
            );
        }
    }
}

#[test]
fn headers_are_added_and_compression_is_asked_for() {
    let call = maps()
        .list()
        .header("Impersonate-Group", "a")
        .header("impersonate-group", "b")
        .user_agent("my-tool/1");
    let call = call.into_call().unwrap();
    let headers = call.request().headers();
    assert_eq!(
        headers
            .get_all("impersonate-group")
            .iter()
            .collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(headers["user-agent"], "my-tool/1");
    assert_eq!(headers["accept-encoding"], "gzip");
    let plain = maps().list().accept_gzip(false).into_call().unwrap();
    assert!(!plain.request().headers().contains_key("accept-encoding"));
    let get = maps().get("n").accept_gzip(true).into_call().unwrap();
    assert_eq!(get.request().headers()["accept-encoding"], "gzip");
    for call in [
        maps()
            .get("n")
            .into_call()
            .unwrap()
            .request()
            .headers()
            .clone(),
        maps()
            .watch()
            .into_call()
            .unwrap()
            .request()
            .headers()
            .clone(),
        maps()
            .logs("n")
            .into_call()
            .unwrap()
            .request()
            .headers()
            .clone(),
    ] {
        assert!(!call.contains_key("accept-encoding"));
    }
    let raw = Call::raw(Method::GET, "/x")
        .header("Accept", "text/html")
        .into_call()
        .unwrap();
    assert_eq!(
        raw.request()
            .headers()
            .get_all("accept")
            .iter()
            .collect::<Vec<_>>(),
        ["text/html"]
    );
}
