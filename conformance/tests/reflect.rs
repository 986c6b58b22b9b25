//! Reflectors against an embedded server that cuts and forgets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{join, join_all};
use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kubewire::reflect::{ReflectEvent, ReflectorConfig};
use kubewire::{Api, ErrorKind, Patch};
use kubewire_conformance::harness::{Harness, Smol, TokioMulti, client, within};
use kubewire_conformance::server::Server;
use kubewire_driver::{Cache, Client, Drive, Runtime as _};

fn maps() -> Api<ConfigMap> {
    Api::namespaced("default")
}

/// How many changes are made, on each runtime. `KUBEWIRE_CHURN` sets another number.
fn changes() -> usize {
    std::env::var("KUBEWIRE_CHURN")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(6_000)
}

const NAMES: usize = 400;
const CUTS: usize = 50;

/// Of the whole process, server included. Nothing where the system does not tell.
fn resident_pages() -> Option<u64> {
    let all = std::fs::read_to_string("/proc/self/statm").ok()?;
    all.split_whitespace().nth(1)?.parse().ok()
}

/// Changes objects at random while the server cuts all connections and forgets its history; what the cache holds in the
/// end is what the server has.
fn churn<H: Harness>() {
    let server = Server::start().expect("the server starts");
    H::run(async |runtime: H::Runtime| {
        let reader = client(&server, runtime.clone()).build().expect("a client");
        let writer = client(&server, runtime.clone()).build().expect("a client");
        let cache = Cache::<ConfigMap>::new();
        let done = AtomicBool::new(false);
        let mut stale = 0;
        let mut most = 0;

        let mut events = reader
            .reflect(maps(), ReflectorConfig::default())
            .expect("valid requests");
        let follow = async {
            while let Some(event) = events.next().await {
                if let ReflectEvent::Stale(_) = &event {
                    stale += 1;
                }
                cache.apply(event);
                most = most.max(cache.read(|store| store.len()));
                if done.load(Ordering::Relaxed) && cache.get("default", "last").is_some() {
                    return;
                }
            }
        };
        let change = async {
            let total = changes();
            let mut resident = Vec::new();
            let mut random = 0x2545_f491_4f6c_dd1d_u64;
            let mut next = || {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random
            };
            for round in 0..CUTS {
                let batch: Vec<_> = (0..total / CUTS).map(|_| next()).collect();
                stream::iter(batch)
                    .for_each_concurrent(16, |random| write(&writer, random))
                    .await;
                match round % 4 {
                    0 => server.close_connections(),
                    1 => {
                        server.compact();
                        server.close_connections();
                    }
                    2 => {
                        server.set_down(true);
                        let soon = runtime.now() + Duration::from_millis(50);
                        runtime.sleep_until(soon).await;
                        server.set_down(false);
                    }
                    _ => server.compact(),
                }
                resident.extend(resident_pages());
            }
            if let (Some(early), Some(late)) = (resident.get(CUTS / 5), resident.last()) {
                println!("{early} pages resident after a fifth, {late} after all");
                assert!(late <= &(early * 2), "memory is not flat: {resident:?}");
            }
            done.store(true, Ordering::Relaxed);
            // A write may meet a connection that was cut.
            while apply(&writer, "last", 0).await.is_err() {}
        };
        within(&runtime, Duration::from_mins(10), join(follow, change))
            .await
            .expect("the cache catches up");

        let truth = writer.send(maps().list()).await.expect("the list");
        let version = |map: &ConfigMap| {
            let name = map.metadata.name.clone().unwrap_or_default();
            (
                name,
                map.metadata.resource_version.clone().unwrap_or_default(),
            )
        };
        let truth: BTreeMap<_, _> = truth.items.iter().map(version).collect();
        let cached: BTreeMap<_, _> =
            cache.read(|store| store.list().map(|map| version(map)).collect());
        assert_eq!(cached, truth);
        assert!(most <= NAMES + 2, "{most} objects were held");
        println!(
            "{} changes, {CUTS} cuts, compactions and restarts, {stale} times stale, {} objects equal",
            changes(),
            truth.len()
        );
    });
}

async fn apply<R: Drive>(
    client: &Client<R>,
    name: &str,
    n: u64,
) -> Result<ConfigMap, kubewire::Error> {
    let map = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"n": n.to_string()},
    });
    client
        .send(
            maps()
                .patch(name, Patch::apply(&map))
                .field_manager("churn"),
        )
        .await
}

/// One random change. That a connection is cut under it is part of the game.
async fn write<R: Drive>(client: &Client<R>, random: u64) {
    let name = format!("map-{}", (random >> 8) as usize % NAMES);
    let failure = if random.is_multiple_of(4) {
        client.send(maps().delete(&name)).await.err()
    } else {
        apply(client, &name, random).await.err()
    };
    if let Some(error) = failure {
        let expected = error.is_not_found() || error.is_conflict();
        let cut = matches!(error.kind(), ErrorKind::Transport | ErrorKind::Truncated);
        assert!(expected || cut, "{error}");
    }
}

#[test]
fn a_cache_survives_churn_and_cuts_on_tokio() {
    churn::<TokioMulti>();
}

#[test]
fn a_cache_survives_churn_and_cuts_on_smol() {
    churn::<Smol>();
}

#[test]
fn many_caches_share_a_client() {
    kubewire_conformance::harness::scenario::<TokioMulti>(async |_, client, _| {
        apply(&client, "one", 1).await.expect("it is applied");
        let caches = join_all((0..50).map(|_| async {
            let cache = Cache::new();
            let mut events = client
                .reflect(maps(), ReflectorConfig::default())
                .expect("valid requests");
            while let Some(event) = events.next().await {
                cache.apply(event);
                if cache.read(|store| store.is_ready()) {
                    break;
                }
            }
            // The server puts its own authority into every namespace, sooner or later.
            let own = |map: &&ConfigMap| map.metadata.name.as_deref() != Some("kube-root-ca.crt");
            cache.read(|store| store.list().map(|map| &**map).filter(own).count())
        }))
        .await;
        assert!(caches.iter().all(|len| *len == 1), "{caches:?}");
    });
}
