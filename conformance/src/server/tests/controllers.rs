use serde_json::json;

use super::{MAPS, config_map, start};

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
