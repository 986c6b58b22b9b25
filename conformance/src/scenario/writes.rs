//! Patches, server-side apply, subresources: what a write changes.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kubewire::{Api, ApiResource, Dynamic, FieldValidation, Patch};
use serde_json::{Value, json};

use super::Calls;
use super::pods::{colour, create_map, failure, map, typed};

calls! { Rest;
    a_write_that_changes_nothing_keeps_the_version;
    a_merge_patch_sets_and_removes;
    a_json_patch_is_applied_in_order;
    a_json_patch_whose_test_fails_changes_nothing;
    a_strategic_patch_merges_lists_by_key;
    an_apply_creates_and_then_changes;
    an_apply_over_anothers_field_is_a_conflict_until_forced;
    an_apply_that_drops_a_field_removes_it;
    a_dry_run_stores_nothing;
    strict_validation_refuses_unknown_fields;
    an_invalid_object_is_told_with_its_causes;
    a_scale_is_read_and_written;
    a_status_is_written_apart_from_the_rest;
    metadata_is_patched;
}

async fn a_write_that_changes_nothing_keeps_the_version<E: Calls>(env: &E) {
    let made = create_map(env, "a", "green").await;
    let patch = Patch::merge(&json!({"data": {"colour": "green"}}));
    let same = env.send(env.api::<ConfigMap>().patch("a", patch)).await;
    let same = same.expect("it is patched");
    assert_eq!(
        same.metadata.resource_version,
        made.metadata.resource_version
    );
    let same = env.send(env.api().replace("a", &made)).await;
    let same = same.expect("it is replaced");
    assert_eq!(
        same.metadata.resource_version,
        made.metadata.resource_version
    );
}

async fn a_merge_patch_sets_and_removes<E: Calls>(env: &E) {
    create_map(env, "a", "green").await;
    let patch = Patch::merge(&json!({"data": {"colour": null, "size": "small"}}));
    let map = env.send(env.api::<ConfigMap>().patch("a", patch)).await;
    let data = map.expect("it is patched").data.unwrap_or_default();
    assert_eq!(
        data.into_iter().collect::<Vec<_>>(),
        [("size".into(), "small".into())]
    );
}

async fn a_json_patch_is_applied_in_order<E: Calls>(env: &E) {
    create_map(env, "a", "green").await;
    let patch = Patch::json(&json!([
        {"op": "test", "path": "/data/colour", "value": "green"},
        {"op": "copy", "from": "/data/colour", "path": "/data/was"},
        {"op": "replace", "path": "/data/colour", "value": "blue"},
        {"op": "add", "path": "/metadata/labels", "value": {"example.com/with-slash": "x"}},
        {"op": "replace", "path": "/metadata/labels/example.com~1with-slash", "value": "y"},
    ]));
    let map = env.send(env.api::<ConfigMap>().patch("a", patch)).await;
    let map = map.expect("it is patched");
    assert_eq!(colour(&map), Some("blue"));
    assert_eq!(map.data.unwrap_or_default()["was"], "green");
    assert_eq!(
        map.metadata.labels.unwrap_or_default()["example.com/with-slash"],
        "y"
    );
}

async fn a_json_patch_whose_test_fails_changes_nothing<E: Calls>(env: &E) {
    let made = create_map(env, "a", "green").await;
    let patch = Patch::json(&json!([
        {"op": "replace", "path": "/data/colour", "value": "blue"},
        {"op": "test", "path": "/data/colour", "value": "green"},
    ]));
    let error = failure(env.send(env.api::<ConfigMap>().patch("a", patch)).await);
    assert!(error.is_invalid(), "{error}");
    let read = env.send(env.api().get("a")).await.expect("it is there");
    assert_eq!(made, read);
}

async fn a_strategic_patch_merges_lists_by_key<E: Calls>(env: &E) {
    let ports = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}]);
    let service: Service = typed(json!({"metadata": {"name": "s"}, "spec": {"ports": ports}}));
    env.send(env.api().create(&service))
        .await
        .expect("it is made");
    let patch = Patch::strategic(&json!({"spec": {"ports": [{"port": 81, "name": "c"}]}}));
    let service = env.send(env.api::<Service>().patch("s", patch)).await;
    let spec = service.expect("it is patched").spec.expect("a spec");
    let ports: Vec<_> = spec.ports.unwrap_or_default();
    let mut names: Vec<_> = ports.into_iter().filter_map(|port| port.name).collect();
    names.sort();
    assert_eq!(names, ["a", "c"]);
}

fn applied(colour: Option<&str>) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": colour.map(|c| json!({"colour": c}))})
}

async fn an_apply_creates_and_then_changes<E: Calls>(env: &E) {
    let maps = env.api::<ConfigMap>();
    for colour_ in ["green", "blue"] {
        let apply = maps.patch("a", Patch::apply(&applied(Some(colour_))));
        let map = env.send(apply.field_manager("suite")).await;
        assert_eq!(colour(&map.expect("it is applied")), Some(colour_));
    }
    let list = env.send(maps.list().fields("metadata.name=a")).await;
    assert_eq!(list.expect("a list").items.len(), 1);
}

async fn an_apply_over_anothers_field_is_a_conflict_until_forced<E: Calls>(env: &E) {
    let maps = env.api::<ConfigMap>();
    let apply = |colour, manager: &str| {
        maps.patch("a", Patch::apply(&applied(Some(colour))))
            .field_manager(manager)
    };
    env.send(apply("green", "one"))
        .await
        .expect("it is applied");
    let error = failure(env.send(apply("blue", "two")).await);
    assert!(error.is_conflict() && error.is_apply_conflict(), "{error}");
    let causes = error.status().map(|status| status.causes().to_vec());
    assert!(causes.is_some_and(|causes| !causes.is_empty()));
    let forced = env.send(apply("blue", "two").force(true)).await;
    assert_eq!(colour(&forced.expect("it is forced")), Some("blue"));
}

async fn an_apply_that_drops_a_field_removes_it<E: Calls>(env: &E) {
    let maps = env.api::<ConfigMap>();
    for map in [applied(Some("green")), applied(None)] {
        let apply = maps.patch("a", Patch::apply(&map)).field_manager("one");
        env.send(apply).await.expect("it is applied");
    }
    let map = env.send(maps.get("a")).await.expect("it is there");
    assert_eq!(colour(&map), None);
}

async fn a_dry_run_stores_nothing<E: Calls>(env: &E) {
    let maps = env.api();
    let made = env
        .send(maps.create(&map("a", "green")).dry_run(true))
        .await;
    assert!(made.expect("it would work").metadata.uid.is_some());
    assert!(
        env.send(maps.get("a").optional())
            .await
            .expect("an answer")
            .is_none()
    );
    create_map(env, "a", "green").await;
    env.send(maps.delete("a").dry_run(true))
        .await
        .expect("it would work");
    let patch = Patch::merge(&json!({"data": {"colour": "red"}}));
    let patched = env.send(maps.patch("a", patch).dry_run(true)).await;
    assert_eq!(colour(&patched.expect("it would work")), Some("red"));
    let read = env.send(maps.get("a")).await.expect("it is there");
    assert_eq!(colour(&read), Some("green"));
}

async fn strict_validation_refuses_unknown_fields<E: Calls>(env: &E) {
    let maps = ApiResource::core("ConfigMap", "configmaps");
    let api = Api::dynamic(maps.clone()).in_namespace(env.place().namespace());
    let mut map = Dynamic::new(&maps, "a");
    map.set("color", &"green").expect("a value");
    let strict = api.create(&map).field_validation(FieldValidation::Strict);
    let error = failure(env.send(strict).await);
    assert!(error.is_bad_request(), "{error}");
    assert!(error.to_string().contains("color"), "{error}");
    let lax = api.create(&map).field_validation(FieldValidation::Ignore);
    env.send(lax).await.expect("it is taken");
}

async fn an_invalid_object_is_told_with_its_causes<E: Calls>(env: &E) {
    let error = failure(env.send(env.api().create(&map("Not_A_Name", "x"))).await);
    assert!(error.is_invalid(), "{error}");
    assert_eq!(error.code().map(|code| code.as_u16()), Some(422));
    let status = error.status().expect("a status");
    let mut fields = status.causes().iter().map(|cause| cause.field.as_deref());
    assert!(
        fields.any(|field| field == Some("metadata.name")),
        "{status:?}"
    );
}

async fn a_scale_is_read_and_written<E: Calls>(env: &E) {
    // Without replicas it needs no node.
    let labels = json!({"app": "d"});
    let pod = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": env.place().image()}]}});
    let deployment: Deployment = typed(json!({
        "metadata": {"name": "d"},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod, "paused": true},
    }));
    let api = env.api::<Deployment>();
    env.send(api.create(&deployment)).await.expect("it is made");
    let scale = api.scale("d");
    let mut now = env.send(scale.get()).await.expect("a scale");
    assert_eq!(now.spec.replicas, 0);
    now.spec.replicas = 1;
    // The deployment's controller writes, too.
    now.metadata.resource_version = None;
    let now = env.send(scale.replace(&now)).await.expect("a scale");
    assert_eq!(now.spec.replicas, 1);
    let patch = Patch::merge(&json!({"spec": {"replicas": 0}}));
    let now = env.send(scale.patch(patch)).await.expect("a scale");
    assert_eq!(now.spec.replicas, 0);
    assert!(failure(env.send(api.scale("none").get()).await).is_not_found());
}

async fn a_status_is_written_apart_from_the_rest<E: Calls>(env: &E) {
    let service: Service = typed(json!({
        "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "type": "ClusterIP"},
    }));
    let api = env.api::<Service>();
    env.send(api.create(&service)).await.expect("it is made");
    let condition = json!([{
        "type": "Tested", "status": "True", "reason": "Suite", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]);
    let patch = Patch::merge(&json!({
        "spec": {"sessionAffinity": "ClientIP"}, "status": {"conditions": condition},
    }));
    let service = env
        .send(api.status("s").patch(patch))
        .await
        .expect("it is written");
    let conditions = service.status.and_then(|status| status.conditions);
    assert_eq!(conditions.map_or(0, |c| c.len()), 1);
    let affinity = service.spec.and_then(|spec| spec.session_affinity);
    assert_eq!(affinity.as_deref(), Some("None"), "only the status changes");
}

async fn metadata_is_patched<E: Calls>(env: &E) {
    create_map(env, "a", "green").await;
    let patch = Patch::merge(&json!({"metadata": {"labels": {"x": "y"}}}));
    let object = env
        .send(env.api::<ConfigMap>().metadata().patch("a", patch))
        .await;
    let labels = object.expect("it is patched").metadata.labels;
    assert_eq!(labels.get("x").map(String::as_str), Some("y"));
}
