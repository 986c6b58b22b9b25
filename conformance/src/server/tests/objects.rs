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
