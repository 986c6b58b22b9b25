//! The store, and waiting.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod reflect_support;

use std::time::{Duration, Instant};

use kubewire::Dynamic;
use kubewire::reflect::wait::{
    Condition, Wait, WaitFault, crd_established, created, deleted, deleted_uid,
    deployment_rolled_out, has_condition, job_complete, namespace_gone, pod_ready,
};
use kubewire::reflect::{Change, ObjectKey, ReflectEvent, Store};
use reflect_support::*;

fn done<K>(version: u64) -> ReflectEvent<K> {
    ReflectEvent::InitDone {
        resource_version: version.to_string(),
    }
}

fn show_changes(changes: &[Change<Thing>]) -> String {
    let texts: Vec<String> = changes
        .iter()
        .map(|change| match change {
            Change::Added(thing) => format!("+{}@{}", thing.name, thing.version),
            Change::Updated { old, new } => {
                format!("{}@{}>{}", new.name, old.version, new.version)
            }
            Change::Deleted(thing) => format!("-{}@{}", thing.name, thing.version),
            _ => panic!("unknown"),
        })
        .collect();
    texts.join(" ")
}

fn filled() -> Store<Thing> {
    let mut store = Store::new().index("first", |thing: &Thing| vec![thing.name[..1].to_owned()]);
    store.apply(ReflectEvent::Init);
    for (name, version) in [("a1", 1), ("a2", 2), ("b", 3)] {
        store.apply(ReflectEvent::InitApply(thing(name, version)));
    }
    assert!(store.is_empty() && !store.is_ready());
    assert_eq!(show_changes(&store.apply(done(10))), "+a1@1 +a2@2 +b@3");
    store
}

#[test]
fn a_new_set_takes_effect_at_once_with_its_difference() {
    let mut store = filled();
    store.apply(ReflectEvent::Init);
    store.apply(ReflectEvent::InitApply(thing("a2", 2)));
    store.apply(ReflectEvent::InitApply(thing("b", 12)));
    store.apply(ReflectEvent::InitApply(thing("c", 13)));
    store.apply(ReflectEvent::InitApply(thing("d", 13)));
    store.apply(ReflectEvent::Delete(thing("d", 14)));
    assert_eq!((store.len(), store.resource_version()), (3, Some("10")));
    // Begun anew: what came before is void.
    store.apply(ReflectEvent::Init);
    store.apply(ReflectEvent::InitApply(thing("a2", 2)));
    store.apply(ReflectEvent::InitApply(thing("b", 12)));
    assert_eq!(show_changes(&store.apply(done(20))), "-a1@1 b@3>12");
    assert_eq!((store.len(), store.resource_version()), (2, Some("20")));
    let names = |found: Vec<&std::sync::Arc<Thing>>| {
        found
            .iter()
            .map(|thing| thing.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(store.indexed("first", "a")), ["a2"]);
    assert_eq!(names(store.list_in("n").collect()), ["a2", "b"]);
    assert!(store.indexed("other", "a").is_empty() && store.list_in("m").count() == 0);
}

#[test]
fn changes_are_told_and_old_news_is_not() {
    let mut store = filled();
    let apply = |store: &mut Store<Thing>, name, version| {
        show_changes(&store.apply(ReflectEvent::Apply(thing(name, version))))
    };
    assert_eq!(apply(&mut store, "a1", 11), "a1@1>11");
    assert_eq!(apply(&mut store, "a1", 9), "");
    assert_eq!(
        show_changes(&store.apply(ReflectEvent::Delete(thing("a1", 9)))),
        ""
    );
    assert_eq!(
        show_changes(&store.apply(ReflectEvent::Delete(thing("a1", 12)))),
        "-a1@11"
    );
    assert_eq!(store.resource_version(), Some("12"));
    assert!(store.indexed("first", "a").len() == 1);
    // Another of the same name.
    let mut other = thing("b", 30);
    other.uid = "other".to_owned();
    assert_eq!(
        show_changes(&store.apply(ReflectEvent::Apply(other))),
        "-b@3 +b@30"
    );
}

#[test]
fn snapshots_do_not_change() {
    let mut store = filled();
    let before = store.snapshot();
    store.apply(ReflectEvent::Delete(thing("b", 12)));
    store.apply(ReflectEvent::Apply(thing("c", 13)));
    assert!(before.get("n", "b").is_some() && before.get("n", "c").is_none());
    assert!(store.get("n", "b").is_none() && store.get("n", "c").is_some());
    assert_eq!((before.len(), before.resource_version()), (3, Some("10")));
}

#[test]
fn what_does_not_decode_is_kept_as_it_was() {
    let json = |name: &str, version: u64| {
        format!(
            r#"{{"metadata":{{"namespace":"n","name":"{name}","resourceVersion":"{version}"}}}}"#
        )
    };
    let named = |store: &Store<Thing>| store.bad().map(ToString::to_string).collect::<Vec<_>>();
    let mut store = filled();
    let changed = ReflectEvent::Bad(bad(Some("MODIFIED"), &json("a1", 11)));
    assert_eq!(show_changes(&store.apply(changed)), "");
    assert_eq!(named(&store), ["n/a1"]);
    assert_eq!(store.get("n", "a1").unwrap().version, "1");
    // A list does not make it vanish.
    store.apply(ReflectEvent::Init);
    store.apply(ReflectEvent::Bad(bad(None, &json("a1", 11))));
    store.apply(ReflectEvent::Bad(bad(None, &json("new", 15))));
    assert_eq!(show_changes(&store.apply(done(20))), "-a2@2 -b@3");
    assert_eq!(named(&store), ["n/a1", "n/new"]);
    assert_eq!(store.len(), 1);
    // Its deletion does.
    let gone = ReflectEvent::Bad(bad(Some("DELETED"), &json("a1", 21)));
    assert_eq!(show_changes(&store.apply(gone)), "-a1@1");
    store.apply(ReflectEvent::Apply(thing("new", 22)));
    assert_eq!(named(&store), [""; 0]);
}

fn object(json: &serde_json::Value) -> Dynamic {
    serde_json::from_value(json.clone()).unwrap()
}

fn status(status: serde_json::Value) -> Dynamic {
    let mut json = serde_json::json!({"metadata": {"namespace": "n", "name": "x", "uid": "u"}});
    json["status"] = status;
    object(&json)
}

/// How a condition sees an object: met, or why not.
fn seen(condition: &Condition<Dynamic>, object: &Dynamic) -> String {
    format!("{:?}", condition.check(Some(object)))
}

#[test]
fn conditions_say_what_is_missing() {
    let pod = |phase: &str, ready: &str| {
        status(serde_json::json!({
            "phase": phase, "message": "hunter2",
            "conditions": [{"type": "Ready", "status": ready, "reason": "ContainersNotReady", "message": "hunter2"}],
        }))
    };
    assert_eq!(seen(&pod_ready(), &pod("Running", "True")), "Met");
    assert_eq!(
        seen(&pod_ready(), &pod("Pending", "False")),
        r#"NotYet("phase Pending, Ready=False: ContainersNotReady")"#
    );
    assert_eq!(
        seen(&pod_ready(), &pod("Failed", "False")),
        r#"Never("phase Failed")"#
    );
    assert_eq!(
        seen(&pod_ready(), &Dynamic::default()),
        r#"NotYet("Ready=(not set)")"#
    );

    let job = |name: &str| {
        status(serde_json::json!({"conditions": [{"type": name, "status": "True", "reason": "R"}]}))
    };
    assert_eq!(seen(&job_complete(), &job("Complete")), "Met");
    assert_eq!(
        seen(&job_complete(), &job("Failed")),
        r#"Never("Failed=True: R")"#
    );
    assert_eq!(seen(&crd_established(), &job("Established")), "Met");
    assert_eq!(
        seen(&namespace_gone(), &job("NamespaceContentRemaining")),
        r#"NotYet("phase unknown, NamespaceContentRemaining")"#
    );
    assert!(namespace_gone::<Dynamic>().check(None).is_met());

    let deployment = |status: serde_json::Value| {
        object(&serde_json::json!({
            "metadata": {"name": "x", "generation": 3}, "spec": {"replicas": 2}, "status": status,
        }))
    };
    let full = serde_json::json!({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
    assert_eq!(
        seen(&deployment_rolled_out(), &deployment(full.clone())),
        "Met"
    );
    for (field, value, text) in [
        (
            "observedGeneration",
            2,
            "NotYet(\"the change was not observed yet\")",
        ),
        (
            "updatedReplicas",
            1,
            "NotYet(\"1 of 2 replicas are new, 2 available, 2 in all\")",
        ),
        (
            "replicas",
            3,
            "NotYet(\"2 of 2 replicas are new, 2 available, 3 in all\")",
        ),
        (
            "availableReplicas",
            1,
            "NotYet(\"2 of 2 replicas are new, 1 available, 2 in all\")",
        ),
    ] {
        let mut status = full.clone();
        status[field] = value.into();
        assert_eq!(seen(&deployment_rolled_out(), &deployment(status)), text);
    }
    let stuck = serde_json::json!({"observedGeneration": 3, "conditions": [
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]});
    assert_eq!(
        seen(&deployment_rolled_out(), &deployment(stuck)),
        r#"Never("Progressing=False: ProgressDeadlineExceeded")"#
    );

    let terminating = object(
        &serde_json::json!({"metadata": {"name": "x", "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
    );
    assert_eq!(seen(&deleted(), &terminating), r#"NotYet("terminating")"#);
    assert!(created().check(Some(&terminating)).is_met());
}

#[test]
fn parts_of_a_status_that_do_not_fit_hide_no_others() {
    for (name, json) in [
        (
            "Healthy",
            serde_json::json!({"observedGeneration": "5", "conditions": [{"type": "Healthy", "status": "True"}]}),
        ),
        (
            "Ready",
            serde_json::json!({
                "replicas": null, "phase": {"x": 1},
                "conditions": [{"type": null}, "Ready", {"type": "Ready"}, {"type": "Ready", "status": "True", "reason": 1}],
            }),
        ),
    ] {
        assert_eq!(seen(&has_condition(name), &status(json)), "Met");
    }
    let none = status(serde_json::json!({"phase": "Running", "conditions": {"type": "Ready"}}));
    assert_eq!(
        seen(&has_condition("Ready"), &none),
        r#"NotYet("phase Running, Ready=(not set)")"#
    );
}

#[test]
fn conditions_of_an_older_generation_do_not_count() {
    let waiting = r#"NotYet("the change was not observed yet")"#;
    let absent = serde_json::json!(null);
    for (in_status, in_condition, text) in [
        (serde_json::json!(1), absent.clone(), waiting),
        (serde_json::json!(2), serde_json::json!(1), waiting),
        (serde_json::json!(1), serde_json::json!(2), "Met"),
        (serde_json::json!(1), serde_json::json!("2"), waiting),
        (serde_json::json!("1"), absent.clone(), "Met"),
        (serde_json::json!(2), absent.clone(), "Met"),
        (absent.clone(), absent, "Met"),
    ] {
        let object = object(&serde_json::json!({
            "metadata": {"name": "x", "generation": 2},
            "status": {"observedGeneration": in_status, "conditions": [
                {"type": "Ready", "status": "True", "observedGeneration": in_condition}]},
        }));
        assert_eq!(seen(&has_condition("Ready"), &object), text, "{object:?}");
    }
    let ungenerated = serde_json::json!({"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]});
    assert_eq!(seen(&has_condition("Ready"), &status(ungenerated)), "Met");
}

#[cfg(feature = "k8s-openapi")]
#[test]
fn typed_objects_meet_the_same_conditions() {
    use k8s_openapi::api::core::v1::{Namespace, Pod};
    let pod: Pod = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "x"}, "spec": {"containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }))
    .unwrap();
    assert!(pod_ready().check(Some(&pod)).is_met());
    let phase = Condition::<Pod>::so_that("runs", |pod| {
        pod.status
            .as_ref()
            .and_then(|status| status.phase.as_deref())
            == Some("Running")
    });
    assert!(phase.check(Some(&pod)).is_met());
    assert!(!namespace_gone().check(Some(&Namespace::default())).is_met());
}

fn start<K: kubewire::Object>(wait: &mut Wait<K>, objects: Vec<K>) {
    wait.handle_event(&ReflectEvent::Init);
    for object in objects {
        wait.handle_event(&ReflectEvent::InitApply(object));
    }
    wait.handle_event(&done(1));
}

#[test]
fn absence_is_known_after_the_first_list() {
    let mut wait = Wait::for_object("n", "x", deleted());
    assert!(wait.poll_outcome().is_none());
    wait.handle_event(&ReflectEvent::Init);
    assert!(wait.poll_outcome().is_none());
    wait.handle_event(&done::<Thing>(1));
    assert_eq!(wait.poll_outcome(), Some(Ok(())));

    let mut wait = Wait::for_object("n", "x", deleted_uid("ux"));
    start(&mut wait, vec![thing("x", 1)]);
    assert!(wait.poll_outcome().is_none());
    let mut other = thing("x", 2);
    other.uid = "new".to_owned();
    wait.handle_event(&ReflectEvent::Apply(other));
    assert_eq!(wait.poll_outcome(), Some(Ok(())));
}

#[test]
fn a_relist_counts_what_vanished() {
    let mut wait = Wait::for_objects(["x", "y"].map(|name| ObjectKey::new("n", name)), deleted());
    start(&mut wait, vec![thing("x", 1), thing("y", 1)]);
    wait.handle_event(&ReflectEvent::Delete(thing("x", 2)));
    assert!(wait.poll_outcome().is_none());
    start(&mut wait, vec![]);
    assert_eq!(wait.poll_outcome(), Some(Ok(())));
}

#[test]
fn sets_are_waited_for() {
    let newer =
        || Condition::<Thing>::so_that("is newer than 5", |thing| thing.version.as_str() > "5");
    let mut all = Wait::for_all(2, newer());
    start(&mut all, vec![thing("a", 7)]);
    assert!(all.poll_outcome().is_none(), "too few");
    all.handle_event(&ReflectEvent::Apply(thing("b", 2)));
    assert!(all.poll_outcome().is_none());
    all.handle_event(&ReflectEvent::Apply(thing("b", 8)));
    assert_eq!(all.poll_outcome(), Some(Ok(())));

    let mut any = Wait::for_any(newer());
    start(&mut any, vec![thing("a", 2)]);
    assert!(any.poll_outcome().is_none());
    any.handle_event(&ReflectEvent::Apply(thing("b", 8)));
    assert_eq!(any.poll_outcome(), Some(Ok(())));
}

#[test]
fn the_error_tells_the_last_state_and_no_more() {
    let now = Instant::now_for_tests();
    let later = now + Duration::from_secs(30);
    let mut wait = Wait::for_objects(
        ["x", "y"].map(|name| ObjectKey::new("n", name)),
        pod_ready(),
    )
    .deadline(later);
    assert_eq!(wait.poll_timeout().unwrap().0, later);
    start(
        &mut wait,
        vec![status(serde_json::json!({
            "phase": "Pending", "message": "hunter2",
            "conditions": [{"type": "Ready", "status": "False", "reason": "Unschedulable", "message": "hunter2"}],
        }))],
    );
    wait.handle_timeout(now);
    assert!(wait.poll_outcome().is_none());
    wait.handle_timeout(later);
    let error = wait.poll_outcome().unwrap().unwrap_err();
    assert_eq!(error.fault(), WaitFault::Deadline);
    assert_eq!(
        error.to_string(),
        "the time was over before this was so: the pod is ready (n/x: phase Pending, Ready=False: \
         Unschedulable; n/y: does not exist)"
    );
    assert_eq!(wait.poll_timeout(), None);
    assert!(wait.poll_outcome().is_some(), "it repeats");

    // What is as it should be is not mentioned.
    let mut wait = Wait::for_objects(["x", "y"].map(|name| ObjectKey::new("n", name)), deleted())
        .deadline(later);
    start(&mut wait, vec![thing("x", 1)]);
    wait.handle_timeout(later);
    let error = wait.poll_outcome().unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the time was over before this was so: it is deleted (n/x: exists)"
    );

    let mut wait = Wait::for_object("n", "x", pod_ready());
    start(
        &mut wait,
        vec![status(
            serde_json::json!({"phase": "Failed", "reason": "Evicted"}),
        )],
    );
    let error = wait.poll_outcome().unwrap().unwrap_err();
    assert_eq!(error.fault(), WaitFault::Impossible);
    assert_eq!(error.last().next().unwrap().1, "phase Failed: Evicted");
}
