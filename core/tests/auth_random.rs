//! No order of calls and outcomes makes credentials panic, ask twice, storm, or get stuck.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod auth_support;

use std::task::Poll;
use std::time::Duration;

use auth_support::*;
use kubewire::auth::{ProcessOutput, Unauthorized, Want, WantId};
use kubewire::config::{Auth, AuthProvider, Config, ExecCluster, ExecPlugin, Material};
use kubewire::policy::Seed;

fn configs() -> Vec<Config> {
    let mut plugin = ExecPlugin::new("login");
    let mut cluster = ExecCluster::new("https://x");
    cluster.ca = Some(Material::File("ca".into()));
    plugin.cluster = Some(cluster);
    let mut provider = AuthProvider::default();
    for (name, value) in [
        ("idp-issuer-url", "https://idp"),
        ("client-id", "x"),
        ("client-secret", "y"),
        ("refresh-token", "z"),
    ] {
        provider.config.insert(name.to_owned(), value.into());
    }
    let mut oidc = config();
    oidc.auth = Auth::Provider(provider);
    vec![
        config().token_file("t"),
        config().exec(ExecPlugin::new("login")),
        config().exec(plugin),
        oidc,
    ]
}

/// An outcome that may be good, bad, or nonsense.
fn finish(world: &mut World, id: WantId, want: Option<&Want>, seed: &mut Seed, good: bool) {
    let serial = seed.next_u64();
    let life = seed.below(4000);
    let (now, wall) = (world.now, world.wall);
    match want {
        Some(Want::Run(_)) if good => {
            world.process(id, 0, &expiring(&format!("t{serial}"), life), "");
        }
        Some(Want::Read(_)) if good => world.file(id, Ok(&format!("t{serial}"))),
        Some(Want::Call(call)) if good => {
            let body = if call.request.method() == "GET" {
                r#"{"token_endpoint":"https://x/token"}"#.to_owned()
            } else {
                format!(r#"{{"id_token":"t{serial}","refresh_token":"r{serial}"}}"#)
            };
            world.answer(id, 200, &body);
        }
        _ => match seed.below(7) {
            0 => world.process(id, 1, "x", "y"),
            1 => world.process(id, 0, "{", ""),
            2 => world.file(id, Err(std::io::ErrorKind::NotFound)),
            3 => world.file(id, Ok("")),
            4 => world.answer(id, 401, "{}"),
            5 => world.credentials.handle_process(
                id,
                Ok(ProcessOutput::new(None, Vec::new(), Vec::new())),
                now,
                wall,
            ),
            _ => world.credentials.handle_abandoned(id, now),
        },
    }
}

#[test]
fn any_order_of_calls() {
    let mut seed = Seed::new(2026);
    for round in 0..2000 {
        let configs = configs();
        let mut world = World::new(&configs[round % configs.len()]);
        let mut out: Option<(WantId, Want)> = None;
        let mut ids = Vec::new();
        let mut generation = 0;
        for _ in 0..60 {
            match seed.below(12) {
                0..4 => {
                    if let Poll::Ready(Ok(header)) = world.header() {
                        assert!(header.generation >= generation, "it only grows");
                        generation = header.generation;
                    }
                }
                4 | 5 => {
                    if let Some((id, want)) = world.want() {
                        if let Some((before, _)) = &out {
                            assert!(!world.credentials.is_wanted(*before), "never two at once");
                        }
                        assert!(!ids.contains(&id), "never the same id");
                        ids.push(id);
                        out = Some((id, want));
                    }
                }
                6 | 7 => {
                    if let Some((id, want)) = out.take() {
                        let good = seed.below(3) > 0;
                        finish(&mut world, id, Some(&want), &mut seed, good);
                    }
                }
                8 => {
                    // Late, repeated, or of the wrong kind.
                    if let Some(&id) = ids.first() {
                        finish(&mut world, id, None, &mut seed, false);
                    }
                }
                9 => {
                    let asked = generation.saturating_sub(seed.below(2));
                    let _: Unauthorized = world.unauthorized(asked);
                }
                10 => world.pass(Duration::from_millis(seed.below(100_000))),
                _ => match seed.below(3) {
                    0 => world.wall += Duration::from_secs(seed.below(10_000)),
                    1 => world.wall -= Duration::from_secs(seed.below(10_000)),
                    _ => world.credentials.handle_timeout(world.now, world.wall),
                },
            }
            let text = format!("{:?}", world.credentials);
            assert!(!text.contains("Bearer"), "{text}");
        }
        // Whatever happened, with a source that works it works again.
        let mut attempts = 0;
        loop {
            world.pass(Duration::from_secs(61));
            world.credentials.handle_timeout(world.now, world.wall);
            let _ = world.header();
            while let Some((id, want)) = world.want() {
                finish(&mut world, id, Some(&want), &mut seed, true);
            }
            if matches!(world.header(), Poll::Ready(Ok(_))) {
                break;
            }
            attempts += 1;
            assert!(attempts < 20, "stuck: {:?}", world.credentials);
        }
    }
}

/// However the requests come and go, the plugin is not run more often than is of any use.
#[test]
fn no_storms() {
    let mut seed = Seed::new(7);
    for failing in [false, true] {
        let mut world = World::new(&config().exec(ExecPlugin::new("login")));
        let mut runs = 0;
        // An hour with some requests a second, all of which are answered with 401.
        for _ in 0..36_000 {
            world.pass(Duration::from_millis(100));
            if let Poll::Ready(Ok(header)) = world.header() {
                let _ = world
                    .credentials
                    .handle_unauthorized(header.generation, world.now);
            }
            if let Some((id, want)) = world.want() {
                runs += 1;
                finish(&mut world, id, Some(&want), &mut seed, !failing);
                if failing {
                    world.process(id, 1, "", "");
                    // Or it was abandoned, and comes again.
                    if let Some((id, _)) = world.want() {
                        world.process(id, 1, "", "");
                    }
                }
            }
        }
        // Their lives are random, up to an hour, and 401s add one in five minutes.
        assert!(runs < 360, "{failing}: {runs} runs in an hour");
    }
}
