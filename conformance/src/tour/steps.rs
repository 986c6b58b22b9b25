//! The steps.

use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kubewire::session::Outcome;
use kubewire::stream::WatchEvent;
use kubewire::{Api, Call, Error, ErrorKind, Json, Patch, Propagation, Verb};
use kubewire_driver::{Client, Drive};
use serde_json::{Value, json};

use super::objects;
use super::{Report, pause, within};

const MANAGER: &str = "kubewire-tour";

/// What is to be deleted at the end.
#[derive(Default)]
pub(super) struct Cleanup {
    namespace: Option<String>,
}

pub(super) async fn run<R: Drive>(
    client: &Client<R>,
    runtime: &R,
    image: &str,
    report: &mut Report,
    cleanup: &mut Cleanup,
) -> Result<(), Error> {
    let soon = Duration::from_secs(30);
    report
        .step(
            "ask for the version",
            within(runtime, soon, version(client)),
        )
        .await?;

    let namespaces = Api::<Namespace>::new();
    let namespace = report
        .step(
            "create a namespace",
            within(runtime, soon, async {
                let made = client
                    .send(
                        namespaces
                            .create(&objects::namespace())
                            .field_manager(MANAGER),
                    )
                    .await?;
                let name = made
                    .metadata
                    .name
                    .ok_or_else(|| wrong("the namespace has no name"))?;
                cleanup.namespace = Some(name.clone());
                Ok((name.clone(), name))
            }),
        )
        .await?;

    let maps = Api::<ConfigMap>::namespaced(&namespace);
    let version = config_maps(client, runtime, &maps, report).await?;
    report
        .step(
            "watch while patching",
            within(runtime, soon, watch(client, &maps, version)),
        )
        .await?;
    failures(client, runtime, &maps, report).await?;

    workloads(client, runtime, image, &namespace, &maps, report).await
}

async fn workloads<R: Drive>(
    client: &Client<R>,
    runtime: &R,
    image: &str,
    namespace: &str,
    maps: &Api<ConfigMap>,
    report: &mut Report,
) -> Result<(), Error> {
    let soon = Duration::from_secs(30);
    let pods = Api::<Pod>::namespaced(namespace);
    // A real cluster has to pull the image first.
    let patience = Duration::from_mins(3);
    report
        .step(
            "create a pod and watch it start",
            within(runtime, patience, async {
                service_account(client, runtime, namespace).await?;
                client
                    .send(
                        pods.create(&objects::pod("tour", image))
                            .field_manager(MANAGER),
                    )
                    .await?;
                let events = pod_starts(client, &pods).await?;
                Ok(((), format!("running, after {events} events")))
            }),
        )
        .await?;
    report
        .step(
            "follow a log to its end",
            within(runtime, soon, log(client, &pods)),
        )
        .await?;
    report
        .step(
            "exec with input, output, exit code",
            within(runtime, soon, exec(client, &pods)),
        )
        .await?;
    report
        .step(
            "speak HTTP through a forwarded port",
            within(runtime, soon, forward(client, &pods)),
        )
        .await?;

    let deployments = Api::<Deployment>::namespaced(namespace);
    report
        .step(
            "scale a deployment",
            within(runtime, soon, scale(client, &deployments, image)),
        )
        .await?;
    report
        .step(
            "delete pod, deployment, config maps",
            within(runtime, soon, async {
                let pod = client
                    .send(pods.delete("tour").grace_period_seconds(0))
                    .await?;
                client
                    .send(
                        deployments
                            .delete("tour")
                            .propagation_policy(Propagation::Background),
                    )
                    .await?;
                client.send(maps.delete("green")).await?;
                let gone = client.send(maps.get("green").optional()).await?.is_none();
                check(gone, "the config map is still there")?;
                let pod = if let kubewire::Deleted::Object(_) = pod {
                    "object"
                } else {
                    "status"
                };
                Ok((
                    (),
                    format!("the pod's deletion was answered with the {pod}"),
                ))
            }),
        )
        .await
}

async fn version<R: Drive>(client: &Client<R>) -> Result<((), String), Error> {
    let request = http::Request::get("/version")
        .header("accept", "application/json")
        .body(bytes::Bytes::new())
        .map_err(|error| Error::new(ErrorKind::Usage, "no request").with_source(error))?;
    let version = client
        .send(Call::new(Verb::Raw, request, Json::<Value>::default()))
        .await?;
    Ok((
        (),
        version["gitVersion"]
            .as_str()
            .unwrap_or("unknown")
            .to_owned(),
    ))
}

/// The version of the collection, to watch from.
async fn config_maps<R: Drive>(
    client: &Client<R>,
    runtime: &R,
    maps: &Api<ConfigMap>,
    report: &mut Report,
) -> Result<String, Error> {
    let soon = Duration::from_secs(30);
    report
        .step(
            "apply config maps (server-side)",
            within(runtime, soon, async {
                for name in ["green", "blue", "red"] {
                    let patch = Patch::apply(&objects::config_map(name, name));
                    let map = client
                        .send(maps.patch(name, patch).field_manager(MANAGER))
                        .await?;
                    check(
                        map.data.is_some_and(|data| data["colour"] == name),
                        "the data is not what was applied",
                    )?;
                }
                Ok(((), "3 created".to_owned()))
            }),
        )
        .await?;
    report
        .step(
            "list with a selector, in pages",
            within(runtime, soon, async {
                let list = maps
                    .list()
                    .labels("app=kubewire-tour,colour in (green,blue)");
                let page = client.send(list.clone()).await?;
                check(page.items.len() == 2, "the selector did not select")?;
                let names = client
                    .stream(list.limit(1).items())
                    .map(|item| item.map(|map| map.metadata.name.unwrap_or_default()))
                    .collect::<Vec<_>>()
                    .await;
                let names = names.into_iter().collect::<Result<Vec<_>, _>>()?;
                check(names == ["blue", "green"], "the pages do not hold both")?;
                let version = page
                    .metadata
                    .resource_version
                    .ok_or_else(|| wrong("the list has no version"))?;
                Ok((
                    version.clone(),
                    format!("{} at version {version}", names.join(", ")),
                ))
            }),
        )
        .await
}

async fn watch<R: Drive>(
    client: &Client<R>,
    maps: &Api<ConfigMap>,
    version: String,
) -> Result<((), String), Error> {
    // The cluster puts a config map of its own into every namespace.
    let mut events = client.stream(
        maps.watch()
            .labels("app=kubewire-tour")
            .resource_version(version)
            .bookmarks(true)
            .timeout_seconds(60),
    );
    client
        .send(maps.patch("green", Patch::merge(&json!({"data": {"shade": "dark"}}))))
        .await?;
    let replace = Patch::json(&json!([{"op": "replace", "path": "/data/shade", "value": "light"}]));
    client.send(maps.patch("green", replace)).await?;
    client.send(maps.delete("red")).await?;
    let mut seen = Vec::new();
    while let Some(event) = events.next().await {
        match event? {
            WatchEvent::Modified(map) => {
                let shade = map.data.and_then(|mut data| data.remove("shade"));
                seen.push(shade.unwrap_or_default());
            }
            WatchEvent::Deleted(map) => {
                seen.push(format!("{} deleted", map.metadata.name.unwrap_or_default()));
                break;
            }
            WatchEvent::Bookmark(_) => {}
            other @ (WatchEvent::Added(_) | WatchEvent::Unknown(_) | _) => {
                return Err(wrong(&format!("an event that nobody caused: {other:?}")));
            }
        }
    }
    check(
        seen == ["dark", "light", "red deleted"],
        &format!("saw {seen:?}"),
    )?;
    Ok(((), seen.join(", ")))
}

async fn failures<R: Drive>(
    client: &Client<R>,
    runtime: &R,
    maps: &Api<ConfigMap>,
    report: &mut Report,
) -> Result<(), Error> {
    let soon = Duration::from_secs(30);
    report
        .step(
            "see 404 as a typed error",
            within(runtime, soon, async {
                let Err(error) = client.send(maps.get("nope")).await else {
                    return Err(wrong("an object that was never created is there"));
                };
                check(
                    error.is_not_found() && error.code().is_some_and(|code| code == 404),
                    &error.to_string(),
                )?;
                Ok(((), error.to_string()))
            }),
        )
        .await?;
    report
        .step(
            "see 409 as a typed error, in three kinds",
            within(runtime, soon, async {
                let mut green = client.send(maps.get("green")).await?;
                let mut copy = green.clone();
                copy.metadata.resource_version = None;
                copy.metadata.uid = None;
                let exists = failure(client.send(maps.create(&copy)).await)?;
                check(exists.is_already_exists(), &exists.to_string())?;

                let patch = Patch::merge(&json!({"data": {"by": "someone"}}));
                client
                    .send(maps.patch("green", patch).field_manager("someone-else"))
                    .await?;
                green
                    .data
                    .get_or_insert_default()
                    .insert("by".into(), "me".into());
                let stale = failure(client.send(maps.replace("green", &green)).await)?;
                check(
                    stale.is_conflict() && !stale.is_apply_conflict(),
                    &stale.to_string(),
                )?;

                let mut mine = objects::config_map("green", "green");
                mine["data"]["by"] = json!("me");
                let apply = maps
                    .patch("green", Patch::apply(&mine))
                    .field_manager(MANAGER);
                let owned = failure(client.send(apply.clone()).await)?;
                check(owned.is_apply_conflict(), &owned.to_string())?;
                client.send(apply.force(true)).await?;
                Ok((
                    (),
                    "already exists, stale, owned by another manager (then forced)".to_owned(),
                ))
            }),
        )
        .await
}

/// The error of a call that had to fail.
fn failure<T>(result: Result<T, Error>) -> Result<Error, Error> {
    match result {
        Ok(_) => Err(wrong("what had to be refused was done")),
        Err(error) => Ok(error),
    }
}

/// Pods are refused until the controller has made the namespace's account.
async fn service_account<R: Drive>(
    client: &Client<R>,
    runtime: &R,
    namespace: &str,
) -> Result<(), Error> {
    let accounts = Api::<ServiceAccount>::namespaced(namespace);
    while client
        .send(accounts.get("default").optional())
        .await?
        .is_none()
    {
        pause(runtime).await;
    }
    Ok(())
}

/// How many events it took until both containers had started.
async fn pod_starts<R: Drive>(client: &Client<R>, pods: &Api<Pod>) -> Result<usize, Error> {
    let mut events = client.stream(
        pods.watch()
            .fields("metadata.name=tour")
            .timeout_seconds(170),
    );
    let mut count = 0;
    while let Some(event) = events.next().await {
        count += 1;
        let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = event? else {
            continue;
        };
        let status = pod.status.unwrap_or_default();
        if status.phase.as_deref() == Some("Failed") {
            return Err(wrong("the pod failed"));
        }
        let started = status
            .container_statuses
            .unwrap_or_default()
            .iter()
            .all(|container| {
                container
                    .state
                    .as_ref()
                    .is_some_and(|state| state.running.is_some() || state.terminated.is_some())
            });
        if status.phase.as_deref() == Some("Running") && started {
            return Ok(count);
        }
    }
    Err(wrong("the watch ended before the pod ran"))
}

async fn log<R: Drive>(client: &Client<R>, pods: &Api<Pod>) -> Result<((), String), Error> {
    let mut lines = client.stream(pods.logs("tour").container("lines").follow(true));
    let mut seen = Vec::new();
    while let Some(line) = lines.next().await {
        seen.push(line?.to_string());
    }
    let expected: Vec<_> = (1..=5).map(|n| format!("line {n}")).collect();
    check(seen == expected, &format!("the log is {seen:?}"))?;
    Ok(((), format!("{} lines", seen.len())))
}

async fn exec<R: Drive>(client: &Client<R>, pods: &Api<Pod>) -> Result<((), String), Error> {
    let command = ["sh", "-c", "cat; echo done >&2; exit 7"];
    let process = client
        .open(pods.exec("tour").container("web").command(command).stdin())
        .await?;
    let input = "kubewire\n".repeat(10_000);
    let output = process.output(input.as_bytes()).await?;
    check(
        output.stdout == input.as_bytes(),
        "the output is not the input",
    )?;
    check(output.stderr == b"done\n", "the error output is wrong")?;
    check(
        matches!(output.outcome, Outcome::Exited(7)),
        &format!("{:?}", output.outcome),
    )?;
    Ok((
        (),
        format!("{} bytes there and back, exit code 7", input.len()),
    ))
}

async fn forward<R: Drive>(client: &Client<R>, pods: &Api<Pod>) -> Result<((), String), Error> {
    let mut forward = client.open(pods.port_forward("tour", [8080])).await?;
    let mut stream = forward.connections.remove(0);
    stream
        .write_all(b"GET /index.html HTTP/1.0\r\nHost: tour\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    while let Some(chunk) = stream.chunk().await {
        answer.extend_from_slice(&chunk);
    }
    let answer = String::from_utf8_lossy(&answer);
    check(
        answer.contains(" 200 ") && answer.contains("hello from the tour"),
        &answer,
    )?;
    Ok(((), answer.lines().next().unwrap_or_default().to_owned()))
}

async fn scale<R: Drive>(
    client: &Client<R>,
    deployments: &Api<Deployment>,
    image: &str,
) -> Result<((), String), Error> {
    client
        .send(
            deployments
                .create(&objects::deployment("tour", image))
                .field_manager(MANAGER),
        )
        .await?;
    let scale = deployments.scale("tour");
    client
        .send(scale.patch(Patch::merge(&json!({"spec": {"replicas": 2}}))))
        .await?;
    let now = client.send(scale.get()).await?;
    check(now.spec.replicas == 2, "the scale did not change")?;
    let deployment = client.send(deployments.get("tour")).await?;
    let replicas = deployment.spec.and_then(|spec| spec.replicas);
    check(replicas == Some(2), "the deployment did not follow")?;
    Ok(((), "from 1 to 2".to_owned()))
}

/// Deletes what the tour made; the namespace takes everything with it.
pub(super) async fn clean_up<R: Drive>(
    client: &Client<R>,
    runtime: &R,
    report: &mut Report,
    cleanup: Cleanup,
) {
    let Some(namespace) = cleanup.namespace else {
        return;
    };
    let namespaces = Api::<Namespace>::new();
    let delete = async {
        client.send(namespaces.delete(&namespace)).await?;
        while client
            .send(namespaces.get(&namespace).optional())
            .await?
            .is_some()
        {
            pause(runtime).await;
        }
        Ok(((), format!("{namespace} is gone")))
    };
    let _ = report
        .step(
            "delete the namespace and wait",
            within(runtime, Duration::from_mins(3), delete),
        )
        .await;
}

fn check(holds: bool, otherwise: &str) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(wrong(otherwise)) }
}

fn wrong(what: &str) -> Error {
    Error::new(ErrorKind::Peer, what.to_owned())
}
