use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{PODS, start};

fn pod(name: &str, policy: &str, script: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"restartPolicy": policy, "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "image": "busybox:1.36", "command": ["sh", "-c", script]}]}})
}

#[test]
fn a_pod_lives_and_its_life_can_be_watched() {
    let (_server, client) = start();
    let list = client.get(PODS).ok();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut events = client.open(
        "GET",
        &format!("{PODS}?watch=true&resourceVersion={version}&timeoutSeconds=60"),
        &[],
        b"",
    );
    client.post(PODS, &pod("life", "Never", "sleep 0.1")).ok();
    let mut seen: Vec<String> = Vec::new();
    while let Some((kind, object)) = events.event() {
        let state = &object["status"]["containerStatuses"][0]["state"];
        let state = state
            .as_object()
            .and_then(|s| s.keys().next().cloned())
            .unwrap_or_default();
        let entry = format!(
            "{kind} {} {state}",
            object["status"]["phase"].as_str().unwrap()
        );
        if seen.last() != Some(&entry) {
            seen.push(entry);
        }
        if object["status"]["phase"] == "Succeeded" {
            break;
        }
    }
    assert_eq!(
        seen,
        [
            "ADDED Pending ",
            "MODIFIED Pending ",
            "MODIFIED Pending waiting",
            "MODIFIED Running running",
            "MODIFIED Succeeded terminated"
        ]
    );
    let done = client.get(&format!("{PODS}/life")).ok();
    let status = &done["status"];
    assert_eq!(
        status["containerStatuses"][0]["state"]["terminated"]["reason"],
        "Completed"
    );
    assert!(
        status["podIP"].is_string()
            && status["startTime"].is_string()
            && done["spec"]["nodeName"].is_string()
    );
    assert_eq!(status["conditions"].as_array().unwrap().len(), 5);
    let deleted = client.delete(&format!("{PODS}/life")).ok();
    assert_eq!(
        (
            &deleted["kind"],
            &deleted["metadata"]["deletionGracePeriodSeconds"]
        ),
        (&json!("Pod"), &json!(0))
    );
    assert_eq!(client.get(&format!("{PODS}/life")).status, 404);
}

#[test]
fn pods_end_gracefully() {
    let (_server, client) = start();
    client.post(PODS, &pod("polite", "Never", "sleep 60")).ok();
    client
        .post(PODS, &pod("stubborn", "Never", "trap '' TERM; sleep 60"))
        .ok();
    client.phase("polite", "Running");
    client.phase("stubborn", "Running");
    let begun = Instant::now();
    let terminating = client.delete(&format!("{PODS}/stubborn")).ok();
    assert_eq!(terminating["metadata"]["deletionGracePeriodSeconds"], 1);
    // Longer than this test waits: it goes because it is asked to.
    client
        .delete(&format!("{PODS}/polite?gracePeriodSeconds=600"))
        .ok();
    client.until(&format!("{PODS}/polite"), |a| a.status == 404);
    client.until(&format!("{PODS}/stubborn"), |a| a.status == 404);
    assert!(
        begun.elapsed() >= Duration::from_millis(900),
        "{:?}",
        begun.elapsed()
    );
    client
        .post(PODS, &pod("now", "Never", "trap '' TERM; sleep 60"))
        .ok();
    client.phase("now", "Running");
    client
        .delete(&format!("{PODS}/now?gracePeriodSeconds=0"))
        .ok();
    assert_eq!(client.get(&format!("{PODS}/now")).status, 404);
}

#[test]
fn containers_restart_by_their_policy() {
    let (_server, client) = start();
    client
        .post(PODS, &pod("flaky", "OnFailure", "echo run; exit 1"))
        .ok();
    client
        .post(PODS, &pod("failed", "Never", "echo bye; exit 7"))
        .ok();
    let failed = client.phase("failed", "Failed");
    let terminated = &failed["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(
        (&terminated["exitCode"], &terminated["reason"]),
        (&json!(7), &json!("Error"))
    );
    client.until(&format!("{PODS}/flaky"), |a| {
        a.json()["status"]["containerStatuses"][0]["restartCount"].as_i64() >= Some(2)
    });
    let previous = client.until(&format!("{PODS}/flaky/log?previous=true"), |a| {
        a.status == 200
    });
    assert_eq!(previous.text(), "run\n");
    client
        .get(&format!("{PODS}/failed/log?previous=true"))
        .refused(
            400,
            "previous terminated container \"main\" in pod \"failed\" not found",
        );
}

#[test]
fn logs_are_selected_by_the_query() {
    let (_server, client) = start();
    client.post(PODS, &pod("basic", "Never", "for i in 1 2 3; do echo line $i; done; echo to stderr >&2; sleep 0.05; printf last")).ok();
    client.phase("basic", "Succeeded");
    let log = |query: &str| client.get(&format!("{PODS}/basic/log?{query}"));
    let all = log("");
    assert_eq!(
        (all.header("content-type"), all.header("transfer-encoding")),
        (Some("text/plain"), Some("chunked"))
    );
    assert_eq!(all.text().lines().count(), 5);
    assert_eq!(log("tailLines=1").text(), "last");
    assert_eq!(log("tailLines=0").text(), "");
    assert_eq!(log("limitBytes=10").text(), "line 1\nlin");
    assert_eq!(log("sinceSeconds=3600&tailLines=1").text(), "last");
    assert_eq!(log("sinceTime=2100-01-01T00%3A00%3A00Z").text(), "");
    assert_eq!(log("follow=true&limitBytes=3").text(), "lin");
    let stamped = log("timestamps=true&tailLines=1");
    let (stamp, text) = stamped.text().split_once(' ').unwrap();
    assert_eq!((stamp.len(), text), (30, "last"));
    log("tailLines=-1").refused(422, "PodLogOptions \"basic\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0");
    log("limitBytes=0").refused(
        422,
        "PodLogOptions \"basic\" is invalid: limitBytes: Invalid value: 0: must be greater than 0",
    );
    log("stream=All").refused(
        422,
        "PodLogOptions \"basic\" is invalid: stream: Forbidden: may not be specified",
    );
    log("sinceTime=yesterday").refused(400, "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\"");
    log("container=nope").refused(400, "container nope is not valid for pod basic");
    client
        .get(&format!("{PODS}/none/log"))
        .refused(404, "pods \"none\" not found");
}

#[test]
fn a_followed_log_ends_with_its_container() {
    let (_server, client) = start();
    client
        .post(
            PODS,
            &pod(
                "counter",
                "Never",
                "for i in 1 2 3; do echo count $i; sleep 0.1; done; printf rest",
            ),
        )
        .ok();
    client.phase("counter", "Running");
    let mut log = client.open("GET", &format!("{PODS}/counter/log?follow=true"), &[], b"");
    assert_eq!(log.head.status, 200);
    assert_eq!(log.chunk().unwrap(), b"count 1\n");
    assert_eq!(log.chunk().unwrap(), b"count 2\n");
    assert_eq!(log.rest(), b"count 3\nrest");
}

#[test]
fn pods_that_wait_say_why() {
    let (_server, client) = start();
    let containers = json!([{"name": "one", "image": "busybox", "command": ["echo", "1"]}, {"name": "two", "image": "busybox", "command": ["echo", "2"]}]);
    client.post(PODS, &json!({"metadata": {"name": "multi"}, "spec": {"restartPolicy": "Never", "containers": containers}})).ok();
    client.get(&format!("{PODS}/multi/log")).refused(
        400,
        "a container name must be specified for pod multi, choose one of: [one two]",
    );
    client.phase("multi", "Succeeded");
    assert_eq!(
        client
            .get(&format!("{PODS}/multi/log?container=two"))
            .text(),
        "2\n"
    );
    let spec = json!({"nodeSelector": {"no": "where"}, "containers": [{"name": "main", "image": "busybox"}]});
    client
        .post(
            PODS,
            &json!({"metadata": {"name": "unscheduled"}, "spec": spec}),
        )
        .ok();
    let log = client.get(&format!("{PODS}/unscheduled/log"));
    assert_eq!((log.status, log.body.len()), (204, 0));
    client.until(&format!("{PODS}/unscheduled"), |a| {
        a.json()["status"]["conditions"][0]["reason"] == "Unschedulable"
    });
    client.post(PODS, &json!({"metadata": {"name": "waiting"}, "spec": {"containers": [{"name": "main", "image": "missing:1"}]}})).ok();
    client.until(&format!("{PODS}/waiting"), |a| {
        a.json()["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]
            == "ImagePullBackOff"
    });
    client.get(&format!("{PODS}/waiting/log")).refused(400, "container \"main\" in pod \"waiting\" is waiting to start: trying and failing to pull image");
    client
        .post(
            PODS,
            &json!({"metadata": {"name": "w"}, "spec": {"containers": []}}),
        )
        .refused(422, "Pod \"w\" is invalid: spec.containers: Required value");
    client.post(PODS, &json!({"metadata": {"name": "nocmd"}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox", "command": ["nope"]}]}})).ok();
    let failed = client.phase("nocmd", "Failed");
    assert_eq!(
        failed["status"]["containerStatuses"][0]["state"]["terminated"]["reason"],
        "StartError"
    );
}

#[test]
fn containers_see_configuration_and_init_containers_come_first() {
    let (_server, client) = start();
    client
        .post(
            super::MAPS,
            &super::config_map("conf", &json!({"key": "value"})),
        )
        .ok();
    let main = json!({"name": "main", "image": "busybox", "command": ["sh", "-c"], "args": ["echo $A $B $C; cat /etc/conf/key"],
        "volumeMounts": [{"name": "v", "mountPath": "/etc/conf"}],
        "env": [{"name": "A", "value": "a"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "key"}}}]});
    let body = json!({"metadata": {"name": "env"}, "spec": {"restartPolicy": "Never", "containers": [main],
        "initContainers": [{"name": "prep", "image": "busybox", "command": ["echo", "prepared"]}],
        "volumes": [{"name": "v", "configMap": {"name": "conf"}}]}});
    client.post(PODS, &body).ok();
    client.phase("env", "Succeeded");
    assert_eq!(
        client.get(&format!("{PODS}/env/log")).text(),
        "a env value\nvalue"
    );
    assert_eq!(
        client.get(&format!("{PODS}/env/log?container=prep")).text(),
        "prepared\n"
    );
}
