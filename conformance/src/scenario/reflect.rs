//! What is built upon watches: reflectors, caches, waits.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::{join, join_all};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kubewire::reflect::wait::{Wait, created, deleted, pod_ready};
use kubewire::reflect::{ListMode, ReflectEvent, ReflectorConfig};
use kubewire::{ErrorKind, Patch};
use kubewire_driver::{Cache, Drive};
use serde_json::json;

use super::Need::{Embedded, Node};
use super::pods::{colour, create_map, map, run_pod, typed};
use super::{Calls, Env};

driven! { Watch;
    a_cache_holds_what_the_server_has;
    a_cache_that_lists_in_pages_is_the_same;
    a_cache_holds_what_its_selector_selects;
    several_caches_share_a_client;
    a_cache_goes_on_after_a_cut: Embedded;
    a_cache_lists_again_when_its_version_has_expired: Embedded;
    a_cache_goes_on_after_a_restart: Embedded;
    a_server_in_trouble_is_told_at_once: Embedded;
    a_reader_who_takes_its_time_is_no_silence_of_the_server: Embedded;
    a_pods_readiness_and_end_are_awaited: Node;
    a_wait_that_is_in_vain_ends_at_its_deadline;
}

fn names(cache: &Cache<ConfigMap>) -> String {
    let name = |map: &ConfigMap| map.metadata.name.clone().unwrap_or_default();
    let mut names: Vec<_> = cache.read(|store| store.list().map(|map| name(map)).collect());
    // A cluster has a config map of its own in every namespace.
    names.retain(|name| name != "kube-root-ca.crt");
    names.sort();
    names.join(" ")
}

/// Follows the config maps of the namespace until the cache is as it should be.
async fn follow<R: Drive>(
    env: &Env<R>,
    cache: &Cache<ConfigMap>,
    config: ReflectorConfig,
    mut done: impl FnMut() -> bool,
) {
    let events = env.client.reflect(env.api(), config);
    let mut events = events.expect("valid requests");
    let follow = async {
        while !cache.read(|store| store.is_ready()) || !done() {
            cache.apply(events.next().await.expect("it does not end"));
        }
    };
    let in_time = env.within(Duration::from_mins(1), follow).await.is_some();
    assert!(in_time, "it does not get there: {}", names(cache));
}

async fn a_cache_holds<R: Drive>(env: &Env<R>, config: ReflectorConfig) {
    for name in ["a", "b", "c"] {
        create_map(env, name, "green").await;
    }
    let cache = Cache::new();
    follow(env, &cache, config.clone(), || true).await;
    assert_eq!(names(&cache), "a b c");
    let change = async {
        create_map(env, "d", "green").await;
        let patch = Patch::merge(&json!({"data": {"colour": "blue"}}));
        env.send(env.api::<ConfigMap>().patch("a", patch))
            .await
            .expect("it is patched");
        env.send(env.api::<ConfigMap>().delete("b"))
            .await
            .expect("it is deleted");
        create_map(env, "last", "green").await;
    };
    let namespace = env.place().namespace();
    let last = || cache.get(namespace, "last").is_some();
    join(follow(env, &cache, config, last), change).await;
    assert_eq!(names(&cache), "a c d last");
    let a = cache.get(namespace, "a").expect("it is there");
    assert_eq!(colour(&a), Some("blue"));
}

async fn a_cache_holds_what_the_server_has<R: Drive>(env: &Env<R>) {
    a_cache_holds(env, ReflectorConfig::default()).await;
}

async fn a_cache_that_lists_in_pages_is_the_same<R: Drive>(env: &Env<R>) {
    let config = ReflectorConfig::default().list_mode(ListMode::Paged);
    a_cache_holds(env, config.page_size(2)).await;
}

async fn a_cache_holds_what_its_selector_selects<R: Drive>(env: &Env<R>) {
    for (name, inside) in [("a", "yes"), ("b", "no"), ("c", "yes")] {
        let map: ConfigMap = typed(json!({"metadata": {"name": name, "labels": {"in": inside}}}));
        env.send(env.api().create(&map)).await.expect("it is made");
    }
    let cache = Cache::new();
    let config = || ReflectorConfig::default().labels("in=yes");
    follow(env, &cache, config(), || true).await;
    assert_eq!(names(&cache), "a c");
    let leave = Patch::merge(&json!({"metadata": {"labels": {"in": "no"}}}));
    let leave = env.send(env.api::<ConfigMap>().patch("a", leave));
    let gone = || names(&cache) == "c";
    let (left, ()) = join(leave, follow(env, &cache, config(), gone)).await;
    left.expect("it is patched");
}

async fn several_caches_share_a_client<R: Drive>(env: &Env<R>) {
    create_map(env, "a", "green").await;
    let caches = (0..20).map(|_| async {
        let cache = Cache::new();
        follow(env, &cache, ReflectorConfig::default(), || true).await;
        names(&cache)
    });
    assert!(join_all(caches).await.iter().all(|names| names == "a"));
}

/// A create is not repeated by itself when its connection breaks.
async fn create_anyway<R: Drive>(env: &Env<R>, name: &str) {
    while let Err(error) = env.send(env.api().create(&map(name, "green"))).await {
        if error.is_already_exists() {
            return;
        }
        assert_ne!(error.kind(), ErrorKind::Api, "{error}");
    }
}

/// Something happens to the server between one object and the next.
async fn a_cache_survives<R: Drive>(env: &Env<R>, incident: impl AsyncFn()) {
    create_map(env, "first", "green").await;
    let cache = Cache::new();
    let namespace = env.place().namespace();
    let done = || cache.get(namespace, "last").is_some();
    let follow = follow(env, &cache, ReflectorConfig::default(), done);
    let change = async {
        while cache.get(namespace, "first").is_none() {
            env.pause(Duration::from_millis(5)).await;
        }
        for round in 0..3 {
            incident().await;
            create_anyway(env, &format!("m-{round}")).await;
        }
        create_anyway(env, "last").await;
    };
    join(follow, change).await;
    assert_eq!(names(&cache), "first last m-0 m-1 m-2");
}

async fn a_cache_goes_on_after_a_cut<R: Drive>(env: &Env<R>) {
    a_cache_survives(env, async || env.server().close_connections()).await;
}

async fn a_cache_lists_again_when_its_version_has_expired<R: Drive>(env: &Env<R>) {
    a_cache_survives(env, async || {
        env.server().compact();
        env.server().close_connections();
    })
    .await;
}

async fn a_cache_goes_on_after_a_restart<R: Drive>(env: &Env<R>) {
    a_cache_survives(env, async || {
        env.server().set_down(true);
        env.pause(Duration::from_millis(50)).await;
        env.server().set_down(false);
    })
    .await;
}

/// The machine tries again by itself; a client that does so too would hide trouble, and multiply requests.
async fn a_server_in_trouble_is_told_at_once<R: Drive>(env: &Env<R>) {
    env.server().faults().fail_next(2, 503, "{}");
    let events = env
        .client
        .reflect(env.api::<ConfigMap>(), ReflectorConfig::default());
    let mut events = events.expect("valid requests");
    let first = env.within(Duration::from_secs(20), events.next()).await;
    let first = first.expect("an event").expect("it does not end");
    assert!(matches!(first, ReflectEvent::Stale(_)), "{first:?}");
    let ready =
        async { while !matches!(events.next().await, Some(ReflectEvent::InitDone { .. })) {} };
    let ready = env.within(Duration::from_mins(1), ready).await;
    ready.expect("it goes on");
}

async fn a_reader_who_takes_its_time_is_no_silence_of_the_server<R: Drive>(env: &Env<R>) {
    for name in ["a", "b", "c"] {
        create_map(env, name, "green").await;
    }
    for mode in [ListMode::Paged, ListMode::Streaming] {
        let short = Duration::from_secs(2);
        let config = ReflectorConfig::default()
            .list_mode(mode)
            .answer_timeout(short)
            .stream_pause(short);
        let events = env.client.reflect(env.api::<ConfigMap>(), config);
        let mut events = events.expect("valid requests");
        let mut objects = 0;
        loop {
            let event = events.next().await.expect("it does not end");
            assert!(!matches!(event, ReflectEvent::Stale(_)), "{event:?}");
            if matches!(event, ReflectEvent::InitDone { .. }) {
                break;
            }
            objects += usize::from(matches!(event, ReflectEvent::InitApply(_)));
            if objects == 1 {
                objects += 1;
                env.pause(short + Duration::from_millis(500)).await;
            }
        }
    }
}

async fn a_pods_readiness_and_end_are_awaited<R: Drive>(env: &Env<R>) {
    let namespace = env.place().namespace();
    let deadline = || Instant::now() + Duration::from_mins(3);
    let config = || ReflectorConfig::default().object("box");
    let ready = Wait::for_object(namespace, "box", pod_ready()).deadline(deadline());
    let ready = env.client.wait(env.api::<Pod>(), config(), ready);
    let (ready, _) = join(ready, run_pod(env, "box", "sleep 3600")).await;
    ready.expect("valid requests").expect("the pod gets ready");
    let delete = env.api::<Pod>().delete("box").grace_period_seconds(0);
    env.send(delete).await.expect("it is deleted");
    let gone = Wait::for_object(namespace, "box", deleted()).deadline(deadline());
    let gone = env.client.wait(env.api::<Pod>(), config(), gone).await;
    gone.expect("valid requests").expect("the pod goes");
}

async fn a_wait_that_is_in_vain_ends_at_its_deadline<R: Drive>(env: &Env<R>) {
    let never = Wait::for_object(env.place().namespace(), "none", created());
    let never = never.deadline(Instant::now() + Duration::from_millis(500));
    let config = ReflectorConfig::default().object("none");
    let waited = env.client.wait(env.api::<ConfigMap>(), config, never).await;
    let error = waited
        .expect("valid requests")
        .expect_err("nobody makes it");
    assert!(error.to_string().contains("none"), "{error}");
}
