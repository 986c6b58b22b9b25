//! One request, one answer.

use std::time::Duration;

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kubewire::discovery::{Health, ServerVersion};
use kubewire::{Api, ApiResource, Call, Deleted, Dynamic, ErrorKind, Patch, Scope};
use kubewire_driver::Drive;
use serde_json::{Value, json};

use super::Need::{Embedded, May, Node, Tls};
use super::pods::{HELD, colour, create_map, failure, free, held, map, run_pod, typed};
use super::{Calls, Env};

calls! { Rest;
    the_server_tells_its_version;
    the_server_tells_its_health;
    a_created_object_is_read_back;
    a_generated_name_begins_with_its_prefix;
    creating_twice_says_that_it_exists;
    what_is_missing_is_not_found;
    what_is_missing_may_be_none;
    an_unknown_resource_is_not_found;
    an_unknown_group_is_not_found;
    a_name_with_reserved_characters_never_leaves;
    an_empty_name_never_leaves;
    a_replacement_takes_the_place_of_the_object;
    a_stale_replacement_is_a_conflict;
    a_replacement_without_a_version_is_unconditional;
    a_deletion_says_that_the_object_is_gone;
    a_deletion_waits_for_finalizers;
    a_deletion_with_a_wrong_precondition_is_a_conflict;
    a_namespace_that_is_missing_takes_nothing;
    metadata_comes_without_the_rest;
    a_table_has_columns_and_rows;
    a_dynamic_object_loses_no_field;
    a_secret_keeps_its_bytes;
    names_with_dots_and_long_names_are_kept;
    text_in_any_script_survives;
    a_large_object_survives;
    a_token_is_issued_for_an_account;
    an_eviction_ends_a_pod: Node;
    raw_requests_are_answered;
    a_custom_resource_is_served_once_it_is_defined: May("create", "apiextensions.k8s.io", "customresourcedefinitions");
}

driven! { Rest;
    many_calls_at_once_are_answered;
    calls_share_an_http2_connection: Embedded, Tls;
    a_client_may_do_without_http2: Embedded, Tls;
}

const MAPS: ApiResource = ApiResource::core("ConfigMap", "configmaps");

async fn the_server_tells_its_version<E: Calls>(env: &E) {
    let version = env.send(ServerVersion::new()).await.expect("a version");
    assert_eq!(version.major, "1");
    assert!(version.minor_number().is_some_and(|minor| minor > 20));
    assert!(version.git_version.starts_with('v'));
}

async fn the_server_tells_its_health<E: Calls>(env: &E) {
    let health = env.send(Health::readyz().verbose(true)).await;
    assert!(health.expect("a report").healthy);
}

async fn a_created_object_is_read_back<E: Calls>(env: &E) {
    let made = create_map(env, "a", "green").await;
    assert!(made.metadata.uid.is_some());
    assert!(made.metadata.creation_timestamp.is_some());
    let read = env.send(env.api().get("a")).await.expect("it is there");
    assert_eq!(made, read);
    assert_eq!(colour(&read), Some("green"));
}

async fn a_generated_name_begins_with_its_prefix<E: Calls>(env: &E) {
    let map: ConfigMap = typed(json!({"metadata": {"generateName": "some-"}}));
    let mut names = Vec::new();
    for _ in 0..2 {
        let made = env.send(env.api().create(&map)).await.expect("it is made");
        names.push(made.metadata.name.expect("it has a name"));
    }
    assert!(
        names
            .iter()
            .all(|name| name.len() > 5 && name.starts_with("some-"))
    );
    assert_ne!(names[0], names[1]);
}

async fn creating_twice_says_that_it_exists<E: Calls>(env: &E) {
    create_map(env, "a", "green").await;
    let error = failure(env.send(env.api().create(&map("a", "red"))).await);
    assert!(error.is_already_exists() && !error.is_conflict(), "{error}");
    assert_eq!(error.code().map(|code| code.as_u16()), Some(409));
    let read = env.send(env.api().get("a")).await.expect("it is there");
    assert_eq!(colour(&read), Some("green"));
}

async fn what_is_missing_is_not_found<E: Calls>(env: &E) {
    let error = failure(env.send(env.api::<ConfigMap>().get("none")).await);
    assert!(error.is_not_found(), "{error}");
    assert_eq!(error.kind(), ErrorKind::Api);
    let details = error.status().and_then(|status| status.details.clone());
    assert_eq!(
        details.and_then(|details| details.name).as_deref(),
        Some("none")
    );
    assert!(failure(env.send(env.api::<ConfigMap>().delete("none")).await).is_not_found());
    let patch = Patch::merge(&json!({}));
    assert!(failure(env.send(env.api::<ConfigMap>().patch("none", patch)).await).is_not_found());
}

async fn what_is_missing_may_be_none<E: Calls>(env: &E) {
    let get = env.api::<ConfigMap>().get("none").optional();
    assert!(env.send(get).await.expect("an answer").is_none());
    create_map(env, "a", "green").await;
    let get = env.api::<ConfigMap>().get("a").optional();
    assert!(env.send(get).await.expect("an answer").is_some());
}

async fn an_unknown_resource_is_not_found<E: Calls>(env: &E) {
    let api = Api::dynamic(ApiResource::core("Unicorn", "unicorns"));
    let api = api.in_namespace(env.place().namespace());
    let error = failure(env.send(api.list()).await);
    assert!(error.is_not_found(), "{error}");
}

async fn an_unknown_group_is_not_found<E: Calls>(env: &E) {
    let resource = ApiResource::new(
        "nobody.example.com",
        "v1",
        "Unicorn",
        "unicorns",
        Scope::Namespaced,
    );
    // The answer is text, not a Status.
    let api = Api::dynamic(resource).in_namespace(env.place().namespace());
    let error = failure(env.send(api.get("a")).await);
    assert_eq!(error.code().map(|code| code.as_u16()), Some(404), "{error}");
    assert!(
        env.send(api.get("a").optional())
            .await
            .is_ok_and(|none| none.is_none())
    );
}

async fn a_name_with_reserved_characters_never_leaves<E: Calls>(env: &E) {
    let maps = env.api::<ConfigMap>();
    for name in ["a/b", "..", ".", "a?b", "a#b", "a%2fb", "a b"] {
        let error = failure(env.send(maps.get(name)).await);
        // Either it is refused here, or it is escaped and the server finds nothing by that name.
        assert!(
            error.kind() == ErrorKind::Usage || error.is_not_found(),
            "{name}: {error}"
        );
        let error = failure(env.send(maps.delete(name)).await);
        assert!(
            error.kind() == ErrorKind::Usage || error.is_not_found(),
            "{name}: {error}"
        );
    }
}

async fn an_empty_name_never_leaves<E: Calls>(env: &E) {
    create_map(env, "a", "green").await;
    let maps = env.api::<ConfigMap>();
    assert_eq!(
        failure(env.send(maps.get("")).await).kind(),
        ErrorKind::Usage
    );
    assert_eq!(
        failure(env.send(maps.delete("")).await).kind(),
        ErrorKind::Usage
    );
    let patch = Patch::merge(&json!({}));
    assert_eq!(
        failure(env.send(maps.patch("", patch)).await).kind(),
        ErrorKind::Usage
    );
    env.send(maps.get("a")).await.expect("nothing was deleted");
}

async fn a_replacement_takes_the_place_of_the_object<E: Calls>(env: &E) {
    let mut object = create_map(env, "a", "green").await;
    object.data = Some([("size".to_owned(), "large".to_owned())].into());
    let new = env.send(env.api().replace("a", &object)).await;
    let new = new.expect("it is replaced");
    assert_eq!(new.data, object.data);
    assert_eq!(new.metadata.uid, object.metadata.uid);
    assert_ne!(
        new.metadata.resource_version,
        object.metadata.resource_version
    );
}

async fn a_stale_replacement_is_a_conflict<E: Calls>(env: &E) {
    let mut stale = create_map(env, "a", "green").await;
    let patch = Patch::merge(&json!({"data": {"colour": "blue"}}));
    let patched = env.send(env.api::<ConfigMap>().patch("a", patch)).await;
    patched.expect("it is patched");
    stale.data = None;
    let error = failure(env.send(env.api().replace("a", &stale)).await);
    assert!(error.is_conflict() && !error.is_already_exists(), "{error}");
    assert!(!error.is_apply_conflict(), "{error}");
    let read = env.send(env.api().get("a")).await.expect("it is there");
    assert_eq!(colour(&read), Some("blue"));
}

async fn a_replacement_without_a_version_is_unconditional<E: Calls>(env: &E) {
    create_map(env, "a", "green").await;
    let replaced = env.send(env.api().replace("a", &map("a", "red"))).await;
    assert_eq!(colour(&replaced.expect("it is replaced")), Some("red"));
}

async fn a_deletion_says_that_the_object_is_gone<E: Calls>(env: &E) {
    create_map(env, "a", "green").await;
    let deleted = env.send(env.api::<ConfigMap>().delete("a")).await;
    assert!(matches!(deleted, Ok(Deleted::Gone(_))), "{deleted:?}");
    let get = env.api::<ConfigMap>().get("a").optional();
    assert!(env.send(get).await.expect("an answer").is_none());
}

async fn a_deletion_waits_for_finalizers<E: Calls>(env: &E) {
    let maps = env.api::<ConfigMap>();
    let map = held();
    env.send(maps.create(&map)).await.expect("it is made");
    let Deleted::Object(map) = env.send(maps.delete(HELD)).await.expect("it begins") else {
        panic!("nothing held it");
    };
    assert!(map.metadata.deletion_timestamp.is_some());
    env.send(maps.get(HELD)).await.expect("it is still there");
    env.send(maps.patch(HELD, free()))
        .await
        .expect("it is let go");
    assert!(
        env.send(maps.get(HELD).optional())
            .await
            .expect("an answer")
            .is_none()
    );
}

async fn a_deletion_with_a_wrong_precondition_is_a_conflict<E: Calls>(env: &E) {
    let maps = env.api::<ConfigMap>();
    let made = create_map(env, "a", "green").await;
    let wrong = maps
        .delete("a")
        .precondition_uid("00000000-0000-0000-0000-000000000000");
    let error = failure(env.send(wrong).await);
    assert!(error.is_conflict(), "{error}");
    let right = maps
        .delete("a")
        .precondition_uid(made.metadata.uid.unwrap_or_default());
    env.send(right).await.expect("it is deleted");
}

async fn a_namespace_that_is_missing_takes_nothing<E: Calls>(env: &E) {
    let none = Api::<ConfigMap>::namespaced(format!("{}-none", env.place().namespace()));
    assert!(failure(env.send(none.create(&map("a", "green"))).await).is_not_found());
    assert!(
        env.send(none.list())
            .await
            .expect("a list")
            .items
            .is_empty()
    );
}

async fn metadata_comes_without_the_rest<E: Calls>(env: &E) {
    let made = create_map(env, "a", "green").await;
    let metadata = env.api::<ConfigMap>().metadata();
    let object = env.send(metadata.get("a")).await.expect("it is there");
    assert_eq!(object.metadata.uid, made.metadata.uid);
    let list = env.send(metadata.list().fields("metadata.name=a")).await;
    assert_eq!(list.expect("a list").items.len(), 1);
    assert!(failure(env.send(metadata.get("none")).await).is_not_found());
}

async fn a_table_has_columns_and_rows<E: Calls>(env: &E) {
    create_map(env, "a", "green").await;
    let table = env.api::<ConfigMap>().table();
    let table = env.send(table.list().fields("metadata.name=a")).await;
    let table = table.expect("a table");
    let name = table.column("Name").expect("a column");
    assert_eq!(table.rows.len(), 1);
    assert_eq!(table.rows[0].cells[name], "a");
}

async fn a_dynamic_object_loses_no_field<E: Calls>(env: &E) {
    let api = Api::dynamic(MAPS).in_namespace(env.place().namespace());
    let mut map = Dynamic::new(&MAPS, "a");
    map.set("data", &json!({"colour": "green"}))
        .expect("a value");
    map.set("immutable", &true).expect("a value");
    let made = env.send(api.create(&map)).await.expect("it is made");
    assert_eq!(made.raw("immutable"), Some("true"));
    let again = env
        .send(api.replace("a", &made))
        .await
        .expect("it is replaced");
    assert_eq!(again.metadata.uid, made.metadata.uid);
    assert_eq!(
        again.metadata.resource_version,
        made.metadata.resource_version
    );
    assert_eq!(
        again.get::<Value>("data").expect("json"),
        Some(json!({"colour": "green"}))
    );
}

async fn a_secret_keeps_its_bytes<E: Calls>(env: &E) {
    let bytes: Vec<u8> = (0..=255).collect();
    let mut secret = Secret::default();
    secret.metadata.name = Some("s".into());
    secret.data = Some([("all".to_owned(), k8s_openapi::ByteString(bytes.clone()))].into());
    env.send(env.api().create(&secret))
        .await
        .expect("it is made");
    let read: Secret = env.send(env.api().get("s")).await.expect("it is there");
    assert_eq!(read.data.unwrap_or_default()["all"].0, bytes);
}

async fn names_with_dots_and_long_names_are_kept<E: Calls>(env: &E) {
    for name in ["a.b-c.d".to_owned(), "x".repeat(253)] {
        create_map(env, &name, "green").await;
        let map: ConfigMap = env.send(env.api().get(&name)).await.expect("it is there");
        assert_eq!(map.metadata.name.as_deref(), Some(name.as_str()));
        env.send(env.api::<ConfigMap>().delete(&name))
            .await
            .expect("it is deleted");
    }
}

async fn text_in_any_script_survives<E: Calls>(env: &E) {
    let text = "grün 文件 \u{1F600} \"quoted\" \\ \n\t\u{1} <&> \u{2028}";
    let made = create_map(env, "a", text).await;
    assert_eq!(colour(&made), Some(text));
    let read = env.send(env.api().get("a")).await.expect("it is there");
    assert_eq!(colour(&read), Some(text));
}

async fn a_large_object_survives<E: Calls>(env: &E) {
    let text = "0123456789abcdef".repeat(50_000);
    create_map(env, "a", &text).await;
    let read = env.send(env.api().get("a")).await.expect("it is there");
    assert!(colour(&read) == Some(text.as_str()));
}

async fn a_token_is_issued_for_an_account<E: Calls>(env: &E) {
    let account: ServiceAccount = typed(json!({"metadata": {"name": "someone"}}));
    let api = env.api::<ServiceAccount>();
    env.send(api.create(&account)).await.expect("it is made");
    let token = env
        .send(api.create_token("someone").expiration_seconds(600))
        .await;
    let token = token.expect("a token");
    let text = format!("{token:?}");
    assert!(!text.contains(&token.token), "it is secret");
    assert!(failure(env.send(api.create_token("none")).await).is_not_found());
}

async fn an_eviction_ends_a_pod<E: Calls>(env: &E) {
    let pods = run_pod(env, "box", "sleep 3600").await;
    env.send(pods.evict("box").grace_period_seconds(0))
        .await
        .expect("it is evicted");
    let mut left = 600;
    while let Some(pod) = env
        .send(pods.get("box").optional())
        .await
        .expect("an answer")
    {
        assert!(pod.metadata.deletion_timestamp.is_some());
        assert!(left > 0, "it stays");
        left -= 1;
        env.pause(Duration::from_millis(100)).await;
    }
    assert!(failure(env.send(pods.evict("box")).await).is_not_found());
}

async fn raw_requests_are_answered<E: Calls>(env: &E) {
    let namespace = env.place().namespace();
    let path = format!("/api/v1/namespaces/{namespace}");
    let json = Call::raw(http::Method::GET, &path).json::<Value>();
    let value = env.send(json).await.expect("json");
    assert_eq!(value["metadata"]["name"], namespace);
    let bytes = env.send(Call::raw(http::Method::GET, "/version")).await;
    assert!(bytes.expect("an answer").starts_with(b"{"));
    let object = env.send(Api::<Namespace>::new().get(namespace)).await;
    assert_eq!(
        object.expect("a namespace").metadata.name.as_deref(),
        Some(namespace)
    );
    let error = failure(
        env.send(Call::raw(http::Method::GET, "/no/such/path"))
            .await,
    );
    assert_eq!(error.code().map(|code| code.as_u16()), Some(404), "{error}");
}

/// A name that nobody else has: what is cluster-wide is not in a namespace.
pub(super) fn unique(place: &super::Place) -> String {
    let tail = place.namespace().rsplit('-').next().unwrap_or_default();
    format!("kubewire{tail}")
}

async fn a_custom_resource_is_served_once_it_is_defined<E: Calls>(env: &E) {
    let group = format!("{}.example.com", unique(env.place()));
    let name = format!("widgets.{group}");
    let definition = json!({
        "metadata": {"name": name, "labels": {crate::suite::LABEL: "true"}},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    });
    let definitions = Api::<CustomResourceDefinition>::new();
    env.send(definitions.create(&typed(definition)))
        .await
        .expect("it is defined");
    let widgets = ApiResource::discovered(
        group,
        "v1".into(),
        "Widget".into(),
        "widgets".into(),
        Scope::Namespaced,
    );
    let api = Api::dynamic(widgets.clone()).in_namespace(env.place().namespace());
    let used = async {
        let mut widget = Dynamic::new(&widgets, "w");
        widget.set("spec", &json!({"size": 3}))?;
        // It takes a moment until it is served, and another until the server's cache of it is filled.
        while let Err(error) = env.send(api.list()).await {
            if !error.is_not_found() && !error.is_too_many_requests() {
                return Err(error);
            }
            env.pause(Duration::from_millis(100)).await;
        }
        env.send(api.create(&widget)).await?;
        let read = env.send(api.get("w")).await?;
        Ok((read, env.send(api.list()).await?))
    };
    let used = env.within(Duration::from_mins(1), used).await;
    env.send(definitions.delete(&name))
        .await
        .expect("it is deleted");
    let (read, list) = used.expect("it is served").expect("it works");
    let spec = read.get::<Value>("spec").expect("it decodes");
    assert_eq!(spec, Some(json!({"size": 3})));
    assert_eq!(list.items.len(), 1);
}

async fn many_calls_at_once_are_answered<R: Drive>(env: &Env<R>) {
    create_map(env, "a", "green").await;
    let calls = (0..50).map(|_| env.send(env.api().get("a")));
    for map in join_all(calls).await {
        assert_eq!(colour(&map.expect("it is there")), Some("green"));
    }
}

async fn calls_share_an_http2_connection<R: Drive>(env: &Env<R>) {
    let before = env.server().stats();
    let calls = (0..20).map(|_| env.send(env.api::<ConfigMap>().list()));
    assert!(join_all(calls).await.iter().all(Result::is_ok));
    let after = env.server().stats();
    assert_eq!(after.http2_requests - before.http2_requests, 20);
    assert_eq!(after.connections_opened - before.connections_opened, 1);
}

async fn a_client_may_do_without_http2<R: Drive>(env: &Env<R>) {
    let client = env.builder().http2(false).build().expect("a client");
    let before = env.server().stats();
    client
        .send(env.api::<ConfigMap>().list())
        .await
        .expect("a list");
    let after = env.server().stats();
    assert_eq!(after.http1_requests - before.http1_requests, 1);
    assert_eq!(after.http2_requests, before.http2_requests);
}
