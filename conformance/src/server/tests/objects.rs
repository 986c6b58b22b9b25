use serde_json::json;

use super::{MAPS, config_map, start};

#[test]
fn a_config_map_is_created_read_replaced_and_deleted() {
    let (_server, client) = start();
    let created = client.post(MAPS, &config_map("a", &json!({"k": "v"})));
    assert_eq!(
        (created.status, created.header("content-type")),
        (201, Some("application/json"))
    );
    assert!(created.header("audit-id").is_some());
    let text = created.text().to_owned();
    assert!(text.starts_with(r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","namespace":"default","uid":""#), "{text}");
    let managed =
        r#""managedFields":[{"manager":"tester","operation":"Update","apiVersion":"v1","time":""#;
    assert!(text.contains(managed), "{text}");
    assert!(
        text.ends_with(
            "\"fieldsV1\":{\"f:data\":{\".\":{},\"f:k\":{}}}}]},\"data\":{\"k\":\"v\"}}\n"
        ),
        "{text}"
    );

    let mut object = created.ok();
    let path = format!("{MAPS}/a");
    assert_eq!(client.get(&path).ok(), object);
    assert_eq!(
        client.put(&path, &object).ok(),
        object,
        "nothing changes, nor does the version"
    );
    object["data"]["k"] = "w".into();
    let replaced = client.put(&path, &object).ok();
    assert_ne!(
        replaced["metadata"]["resourceVersion"],
        object["metadata"]["resourceVersion"]
    );
    client.put(&path, &object).refused(
        409,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again",
    );
    let deleted = client.delete(&path);
    let uid = object["metadata"]["uid"].as_str().unwrap();
    let status = format!(
        "{{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{{}},\"status\":\"Success\",\"details\":{{\"name\":\"a\",\"kind\":\"configmaps\",\"uid\":\"{uid}\"}}}}\n"
    );
    assert_eq!(deleted.text(), status);
    let gone = client.get(&path);
    let not_found = "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"configmaps \\\"a\\\" not found\",\"reason\":\"NotFound\",\"details\":{\"name\":\"a\",\"kind\":\"configmaps\"},\"code\":404}\n";
    assert_eq!((gone.status, gone.text()), (404, not_found));
}

#[test]
fn creations_are_refused_as_recorded() {
    let (_server, client) = start();
    client.post(MAPS, &config_map("a", &json!({}))).ok();
    let post = |body: serde_json::Value| client.post(MAPS, &body);
    post(config_map("a", &json!({}))).refused(409, "configmaps \"a\" already exists");
    post(json!({"metadata": {}})).refused(422, "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required");
    post(json!({"metadata": {"name": "x", "namespace": "other"}})).refused(
        400,
        "the namespace of the provided object does not match the namespace sent on the request",
    );
    post(json!({"metadata": {"name": "x", "resourceVersion": "5"}})).refused(
        500,
        "resourceVersion should not be set on objects to be created",
    );
    post(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}))
        .refused(400, "Secret in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion");
    post(json!({"apiVersion": "v1", "kind": "Nope", "metadata": {"name": "x"}}))
        .refused(400, "Nope in version \"v1\" cannot be handled as a ConfigMap: no kind \"Nope\" is registered for version \"v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"");
    post(json!({"metadata": {"name": "x"}, "data": ["a"]}))
        .refused(400, "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal array into Go struct field ConfigMap.data of type map[string]string");
    let missing = client.post(
        "/api/v1/namespaces/none/configmaps",
        &config_map("x", &json!({})),
    );
    missing.refused(404, "namespaces \"none\" not found");
    let empty = client.request("POST", MAPS, &[], b"");
    empty.refused(400, "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)");
    let typed = client.request("POST", MAPS, &[("Content-Type", "text/plain")], b"hello");
    assert_eq!(typed.status, 415);
    let large = client.request("POST", MAPS, &[], &vec![b'x'; 3_145_729]);
    large.refused(413, "Request entity too large: limit is 3145728");
    let strict = client.post(
        &format!("{MAPS}?fieldValidation=Strict"),
        &json!({"metadata": {"name": "s", "nope": 1}, "dada": {}}),
    );
    strict.refused(400, "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"metadata.nope\", unknown field \"dada\"");
    let warned = post(json!({"metadata": {"name": "w"}, "dada": {}}));
    assert_eq!(
        (warned.status, warned.header("warning")),
        (201, Some("299 - \"unknown field \\\"dada\\\"\""))
    );
    let path = format!("{MAPS}?dryRun=Some");
    client.post(&path, &config_map("d", &json!({}))).refused(422, "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Some\"]: supported values: \"All\"");
    let dry = client
        .post(&format!("{MAPS}?dryRun=All"), &config_map("d", &json!({})))
        .ok();
    assert!(dry["metadata"]["uid"].is_string() && dry["metadata"]["resourceVersion"].is_null());
    assert_eq!(client.get(&format!("{MAPS}/d")).status, 404);
    let generated = post(json!({"metadata": {"generateName": "gen-"}})).ok();
    let name = generated["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("gen-") && name.len() == 9, "{name}");
}

#[test]
fn paths_methods_and_representations() {
    let (_server, client) = start();
    let get = |path: &str| client.get(path);
    for path in [
        "/nope",
        "/apis/nope.example.com/v1",
        "/apis/nope.example.com/v1/x",
    ] {
        let answer = get(path);
        assert_eq!(
            (answer.status, answer.text(), answer.header("content-type")),
            (
                404,
                "404 page not found\n",
                Some("text/plain; charset=utf-8")
            )
        );
    }
    let unknown = "the server could not find the requested resource";
    for path in [
        "/api/v1/nopes",
        "/apis/apps/v9/deployments",
        "/api/v1/namespaces/default/pods/x/nope",
        "/api/v1/namespaces/default%2Fx",
        "/api/v1/pods/x",
    ] {
        get(path).refused(404, unknown);
    }
    get(&format!("{MAPS}/%2e%2e")).refused(400, "Name parameter invalid: \"..\": may not be '..'");
    assert_eq!(
        get("/api/v1/namespaces/%64efault").ok()["metadata"]["name"],
        "default"
    );
    assert_eq!(get("/api/v1/namespaces/").ok()["kind"], "NamespaceList");
    assert_eq!(
        get("/api/v1/namespaces//services").ok()["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let not_allowed = "the server does not allow this method on the requested resource";
    client
        .request("PUT", MAPS, &[], b"{}")
        .refused(405, not_allowed);
    client
        .request("DELETE", "/api/v1/namespaces", &[], b"")
        .refused(405, not_allowed);
    client
        .request("DELETE", "/api/v1/configmaps", &[], b"")
        .refused(405, not_allowed);
    client
        .request("POST", "/api/v1/configmaps", &[], b"{}")
        .refused(405, not_allowed);
    let head = client.request("HEAD", "/api/v1/namespaces/default", &[], b"");
    assert_eq!(head.status, 405);
    let accept = |value: &str| {
        client.request(
            "GET",
            "/api/v1/namespaces/default",
            &[("Accept", value)],
            b"",
        )
    };
    assert_eq!(accept("application/*").status, 406);
    assert_eq!(
        accept("application/vnd.kubernetes.protobuf,application/json").ok()["kind"],
        "Namespace"
    );
    let yaml = accept("application/yaml");
    assert!(
        yaml.text()
            .starts_with("apiVersion: v1\nkind: Namespace\nmetadata:\n"),
        "{}",
        yaml.text()
    );
    let partial = accept("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1").ok();
    assert_eq!(
        (&partial["kind"], partial.get("spec")),
        (&json!("PartialObjectMetadata"), None)
    );
    let table = accept("application/json;as=Table;v=v1;g=meta.k8s.io").ok();
    assert_eq!(table["rows"][0]["cells"][0], "default");
    let pretty = client.request(
        "GET",
        "/api/v1/namespaces/default",
        &[("User-Agent", "curl/8")],
        b"",
    );
    assert!(pretty.text().starts_with("{\n  \"kind\": \"Namespace\","));
}

#[test]
fn discovery() {
    let (_server, client) = start();
    let accept =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    for path in ["/api", "/apis"] {
        let answer = client.request("GET", path, &[("Accept", accept)], b"");
        assert_eq!(
            answer.header("content-type"),
            Some("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
        );
        let etag = answer.header("etag").unwrap().to_owned();
        let again = client.request(
            "GET",
            path,
            &[("Accept", accept), ("If-None-Match", &etag)],
            b"",
        );
        assert_eq!((again.status, again.body.len()), (304, 0));
    }
    let core = client
        .request("GET", "/api", &[("Accept", accept)], b"")
        .json();
    let resources = core["items"][0]["versions"][0]["resources"]
        .as_array()
        .unwrap();
    let pods = resources.iter().find(|r| r["resource"] == "pods").unwrap();
    assert_eq!(
        (&pods["scope"], &pods["shortNames"]),
        (&json!("Namespaced"), &json!(["po"]))
    );
    assert!(
        pods["subresources"]
            .as_array()
            .unwrap()
            .iter()
            .any(|s| s["subresource"] == "exec")
    );
    assert_eq!(client.get("/api").ok()["versions"], json!(["v1"]));
    assert_eq!(
        client.get("/apis/apps").text(),
        "{\"kind\":\"APIGroup\",\"apiVersion\":\"v1\",\"name\":\"apps\",\"versions\":[{\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}],\"preferredVersion\":{\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}}\n"
    );
    let apps = client.get("/apis/apps/v1").ok();
    let scale = apps["resources"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["name"] == "deployments/scale")
        .unwrap()
        .clone();
    assert_eq!(
        (&scale["group"], &scale["kind"]),
        (&json!("autoscaling"), &json!("Scale"))
    );
    assert_eq!(client.get("/version").ok()["gitVersion"], "v1.36.2");
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(client.get(path).text(), "ok");
    }
    assert!(client.get("/openapi/v3").json()["paths"]["apis/apps/v1"].is_object());
}

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

#[test]
fn a_namespace_takes_its_contents_along() {
    let (_server, client) = start();
    client
        .post(
            "/api/v1/namespaces",
            &json!({"metadata": {"name": "short"}}),
        )
        .ok();
    let maps = "/api/v1/namespaces/short/configmaps";
    client
        .post(
            maps,
            &json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}}),
        )
        .ok();
    client.post(maps, &config_map("free", &json!({}))).ok();
    let deleted = client.delete("/api/v1/namespaces/short").ok();
    assert_eq!(deleted["status"]["phase"], "Terminating");
    client.post(maps, &config_map("late", &json!({}))).refused(403, "configmaps \"late\" is forbidden: unable to create new content in namespace short because it is being terminated");
    client.until(&format!("{maps}/free"), |a| a.status == 404);
    assert_eq!(client.get("/api/v1/namespaces/short").status, 200);
    client
        .patch(
            "merge",
            &format!("{maps}/held"),
            r#"{"metadata":{"finalizers":null}}"#,
        )
        .ok();
    client.until("/api/v1/namespaces/short", |a| a.status == 404);
}

#[test]
fn definitions_serve_their_resources() {
    let (_server, client) = start();
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "required": ["size"], "properties": {
        "size": {"type": "integer"}, "replicas": {"type": "integer"}, "color": {"type": "string", "default": "blue"}}},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}}});
    let definition = json!({"metadata": {"name": "gadgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "gadgets", "kind": "Gadget"}, "versions": [version]}});
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    client.post(definitions, &definition).ok();
    let gadgets = "/apis/example.com/v1/namespaces/default/gadgets";
    let listed = client.until(gadgets, |a| a.status == 200);
    let text = listed.text();
    assert!(text.starts_with(r#"{"apiVersion":"example.com/v1","items":[],"kind":"GadgetList","metadata":{"continue":"","#), "{text}");
    let created = client.post(
        gadgets,
        &json!({"metadata": {"name": "g"}, "spec": {"size": 9_007_199_254_740_993_i64, "nope": 1}}),
    );
    assert_eq!(
        created.header("warning"),
        Some("299 - \"unknown field \\\"spec.nope\\\"\"")
    );
    let created = created.ok();
    assert_eq!(
        created["spec"],
        json!({"size": 9_007_199_254_740_993_i64, "color": "blue"})
    );
    let path = format!("{gadgets}/g");
    client.put(&path, &json!({"metadata": {"name": "g"}, "spec": {"size": 1}})).refused(422, "gadgets.example.com \"g\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update");
    let status = client
        .patch(
            "merge",
            &format!("{path}/status"),
            r#"{"spec":{"size":100},"status":{"phase":"Ready"}}"#,
        )
        .ok();
    assert_eq!(
        (&status["status"], &status["spec"]["size"]),
        (&json!({"phase": "Ready"}), &created["spec"]["size"])
    );
    client.get(&format!("{path}/scale")).refused(
        500,
        "Internal error occurred: the spec replicas field \".spec.replicas\" does not exist",
    );
    assert_eq!(client.patch("strategic-merge", &path, "{}").status, 415);
    client
        .post(gadgets, &json!({"metadata": {"name": "bad"}, "spec": {}}))
        .refused(
            422,
            "Gadget.example.com \"bad\" is invalid: spec.size: Required value",
        );
    client
        .delete(&format!("{definitions}/gadgets.example.com"))
        .ok();
    client.until(gadgets, |a| {
        a.status == 404 && a.text() == "404 page not found\n"
    });
}

#[test]
fn deployments_report_and_scale() {
    let (_server, client) = start();
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let pod = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}});
    let body = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": pod}});
    let created = client.post(deployments, &body).ok();
    assert_eq!(created["spec"]["replicas"], 1);
    let path = format!("{deployments}/d");
    client.until(&path, |a| a.json()["status"]["availableReplicas"] == 1);
    let scale = client
        .patch(
            "merge",
            &format!("{path}/scale"),
            r#"{"spec":{"replicas":3}}"#,
        )
        .ok();
    assert_eq!(
        (
            &scale["kind"],
            &scale["spec"]["replicas"],
            &scale["status"]["selector"]
        ),
        (&json!("Scale"), &json!(3), &json!("a=b"))
    );
    let scaled = client
        .until(&path, |a| a.json()["status"]["availableReplicas"] == 3)
        .json();
    assert_eq!(
        scaled["status"]["observedGeneration"],
        scaled["metadata"]["generation"]
    );
    client.patch("merge", &format!("{path}/scale"), r#"{"spec":{"replicas":-1}}"#).refused(422, "Scale.autoscaling \"d\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0");
    let env = r#"{"spec":{"template":{"spec":{"containers":[{"name":"c","env":[{"name":"X","value":"1"}]},{"name":"side","image":"i"}]}}}}"#;
    let patched = client.patch("strategic-merge", &path, env).ok();
    let names: Vec<&str> = patched["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["c", "side"]);
    let foreign = client.patch(
        "apply",
        &format!("{path}?fieldManager=three"),
        &json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "other"}]}}}})
        .to_string(),
    );
    foreign.refused(409, "Apply failed with 1 conflict: conflict with \"tester\" using apps/v1: .spec.template.spec.containers[name=\"c\"].image");
    let dependent = json!({"metadata": {"name": "dep", "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": created["metadata"]["uid"]}]}});
    client.post(MAPS, &dependent).ok();
    let pending = client
        .delete(&format!("{path}?propagationPolicy=Foreground"))
        .ok();
    assert_eq!(
        pending["metadata"]["finalizers"],
        json!(["foregroundDeletion"])
    );
    client.until(&path, |a| a.status == 404);
    assert_eq!(client.get(&format!("{MAPS}/dep")).status, 404);
    let invalid = json!({"metadata": {"name": "bad"}, "spec": {"replicas": -1, "selector": {"matchLabels": {"app": "a"}}, "template": {"metadata": {"labels": {"app": "b"}}, "spec": {"containers": []}}}});
    client.post(deployments, &invalid).refused(422, "Deployment.apps \"bad\" is invalid: [spec.replicas: Invalid value: -1: must be greater than or equal to 0, spec.template.metadata.labels: Invalid value: {\"app\":\"b\"}: `selector` does not match template `labels`, spec.template.spec.containers: Required value]");
}

#[test]
fn tokens_reviews_and_evictions() {
    let (_server, client) = start();
    let accounts = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let issued = client.post(accounts, &json!({"spec": {"expirationSeconds": 600}}));
    assert_eq!(issued.status, 201);
    let token = issued.json()["status"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let account = super::Client {
        token,
        ..client.clone()
    };
    let review = account
        .post(
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            &json!({}),
        )
        .ok();
    assert_eq!(
        review["status"]["userInfo"]["username"],
        "system:serviceaccount:default:default"
    );
    client.post(accounts, &json!({"spec": {"expirationSeconds": 10}})).refused(422, "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 10: may not specify a duration less than 10 minutes");
    let eviction = |name: &str| json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    client
        .post(&format!("{}/p/eviction", super::PODS), &eviction("p"))
        .refused(404, "pods \"p\" not found");
    let pod = json!({"metadata": {"name": "p"}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "i", "command": ["sleep", "60"]}]}});
    client.post(super::PODS, &pod).ok();
    client
        .post(&format!("{}/p/eviction", super::PODS), &eviction("q"))
        .refused(400, "name in URL does not match name in Eviction object");
    let evicted = client.post(&format!("{}/p/eviction", super::PODS), &eviction("p"));
    assert_eq!(
        (evicted.status, evicted.text()),
        (
            201,
            "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Success\",\"code\":201}\n"
        )
    );
    client.until(&format!("{}/p", super::PODS), |a| a.status == 404);
}
