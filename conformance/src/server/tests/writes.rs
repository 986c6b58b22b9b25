use serde_json::json;

use super::{MAPS, config_map, start};

#[test]
fn patches() {
    let (_server, client) = start();
    let path = format!("{MAPS}/a");
    let created = client
        .post(MAPS, &config_map("a", &json!({"k": "v", "gone": "x"})))
        .ok();
    let merged = client
        .patch("merge", &path, r#"{"data":{"k":"w","gone":null}}"#)
        .ok();
    assert_eq!(merged["data"], json!({"k": "w"}));
    let same = client.patch("merge", &path, r#"{"data":{"k":"w"}}"#).ok();
    assert_eq!(
        same["metadata"]["resourceVersion"],
        merged["metadata"]["resourceVersion"]
    );
    let added = client.patch("json", &path, r#"[{"op":"test","path":"/data/k","value":"w"},{"op":"add","path":"/data/new","value":"1"}]"#).ok();
    assert_eq!(added["data"], json!({"k": "w", "new": "1"}));
    let generic = "the server rejected our request due to an error in our request";
    client
        .patch("json", &path, r#"[{"op":"remove","path":"/data/none"}]"#)
        .refused(422, generic);
    let version = &created["metadata"]["resourceVersion"];
    let stale = client.patch(
        "merge",
        &path,
        &format!(r#"{{"metadata":{{"resourceVersion":{version}}},"data":{{"k":"x"}}}}"#),
    );
    assert_eq!(
        (stale.status, stale.json()["reason"].clone()),
        (409, json!("Conflict"))
    );
    client
        .patch("merge", &format!("{MAPS}/none"), "{}")
        .refused(404, "configmaps \"none\" not found");
    client
        .patch("merge", &path, "{")
        .refused(400, "error decoding patch: unexpected end of JSON input");
    let plain = client.request(
        "PATCH",
        &path,
        &[("Content-Type", "application/json")],
        b"{}",
    );
    plain.refused(415, "415: Unsupported Media Type");
    client.patch("merge", &format!("{path}?force=true"), "{}").refused(422, "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch");
}

#[test]
fn server_side_apply() {
    let (_server, client) = start();
    let path = format!("{MAPS}/s");
    let apply = |query: &str, body: &str| client.patch("apply", &format!("{path}?{query}"), body);
    let one = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: s\n  labels:\n    owner: one\ndata:\n  a: \"1\"\n  b: \"2\"\n";
    let created = apply("fieldManager=one", one);
    assert_eq!(created.status, 201);
    let created = created.ok();
    let fields =
        json!({"f:data": {"f:a": {}, "f:b": {}}, "f:metadata": {"f:labels": {"f:owner": {}}}});
    assert_eq!(created["metadata"]["managedFields"][0]["fieldsV1"], fields);
    assert_eq!(
        apply("fieldManager=one", one).ok(),
        created,
        "nothing changed"
    );
    let two = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"s"},"data":{"a":"two","c":"3"}}"#;
    let conflict = apply("fieldManager=two", two);
    let body = conflict.refused(
        409,
        "Apply failed with 1 conflict: conflict with \"one\": .data.a",
    );
    assert_eq!(
        body["details"],
        json!({"causes": [{"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".data.a"}]})
    );
    let forced = apply("fieldManager=two&force=true", two).ok();
    assert_eq!(forced["data"], json!({"a": "two", "b": "2", "c": "3"}));
    let less = apply(
        "fieldManager=one",
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"s"}}"#,
    )
    .ok();
    assert_eq!(
        (&less["data"], less["metadata"].get("labels")),
        (&json!({"a": "two", "c": "3"}), None)
    );
    client
        .patch("merge", &path, r#"{"data":{"a":"merged"}}"#)
        .ok();
    apply("fieldManager=two", two).refused(
        409,
        "Apply failed with 1 conflict: conflict with \"tester\" using v1: .data.a",
    );
    apply("", one).refused(422, "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch");
    apply("fieldManager=one", r#"{"metadata":{"name":"s"}}"#)
        .refused(400, "invalid object type: /, Kind=");
    apply(
        "fieldManager=one",
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"other"}}"#,
    )
    .refused(
        400,
        "the name of the object (other) does not match the name on the URL (s)",
    );
    apply("fieldManager=one", r#"{"apiVersion":"v1","kind":"ConfigMap","dada":{"z":"1"}}"#).refused(500, "failed to create typed patch object (/s; /v1, Kind=ConfigMap): .dada: field not declared in schema");
}

#[test]
fn finalizers_hold_what_is_deleted() {
    let (_server, client) = start();
    let path = format!("{MAPS}/fin");
    client
        .post(
            MAPS,
            &json!({"metadata": {"name": "fin", "finalizers": ["example.com/hold"]}}),
        )
        .ok();
    let pending = client.delete(&path).ok();
    assert!(pending["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(pending["metadata"]["deletionGracePeriodSeconds"], 0);
    assert_eq!(client.delete(&path).ok(), pending);
    client.post(MAPS, &config_map("fin", &json!({}))).refused(
        409,
        "object is being deleted: configmaps \"fin\" already exists",
    );
    let added = client.patch(
        "merge",
        &path,
        r#"{"metadata":{"finalizers":["example.com/hold","example.com/more"]}}"#,
    );
    assert_eq!(added.status, 422);
    client
        .patch("merge", &path, r#"{"metadata":{"finalizers":null}}"#)
        .ok();
    assert_eq!(client.get(&path).status, 404);
}

#[test]
fn deletions_check_what_they_are_told() {
    let (_server, client) = start();
    let path = format!("{MAPS}/a");
    let object = client.post(MAPS, &config_map("a", &json!({}))).ok();
    let delete = |body: &str| {
        client.request(
            "DELETE",
            &path,
            &[("Content-Type", "application/json")],
            body.as_bytes(),
        )
    };
    let uid = object["metadata"]["uid"].as_str().unwrap();
    let message = format!(
        "Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (xyz) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
    );
    delete(r#"{"preconditions":{"uid":"xyz"}}"#).refused(409, &message);
    delete("{").refused(
        400,
        "couldn't get version/kind; json parse error: unexpected end of JSON input",
    );
    client.delete(&format!("{path}?propagationPolicy=Sideways")).refused(422, "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Sideways\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"");
    assert_eq!(client.delete(&format!("{path}?dryRun=All")).status, 200);
    assert_eq!(client.get(&path).status, 200);
    for i in 0..3 {
        client
            .post(
                MAPS,
                &json!({"metadata": {"name": format!("c{i}"), "labels": {"coll": "yes"}}}),
            )
            .ok();
    }
    let deleted = client
        .delete(&format!("{MAPS}?labelSelector=coll%3Dyes"))
        .ok();
    assert_eq!(
        (&deleted["kind"], deleted["items"].as_array().unwrap().len()),
        (&json!("ConfigMapList"), 3)
    );
    assert_eq!(client.get(MAPS).ok()["items"].as_array().unwrap().len(), 1);
}
