//! Tokens that are just there, and tokens in files that somebody else keeps current.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod auth_support;

use std::io;
use std::time::Duration;

use auth_support::*;
use kubewire::ErrorKind;
use kubewire::auth::{Credentials, Unauthorized, Want};
use kubewire::config::{Auth, Config, Impersonation};
use kubewire::policy::Seed;

fn world() -> World {
    World::new(&config().token_file("/run/token"))
}

#[test]
fn fixed_credentials_want_nothing() {
    for (config, value) in [
        (config(), "-"),
        (config().client_pem("c", "k"), "-"),
        (config().token("abc"), "Bearer abc"),
        (config().basic("me", "pw"), "Basic bWU6cHc="),
    ] {
        let mut world = World::new(&config);
        assert_eq!(world.value(), value);
        assert!(world.want().is_none() && world.credentials.poll_timeout().is_none());
        let generation = world.ready().generation;
        assert_eq!(world.unauthorized(generation), Unauthorized::GiveUp);
        assert_eq!(world.value(), value);
    }
    let header = World::new(&config().token("abc")).ready();
    assert!(header.value.unwrap().is_sensitive());
}

#[test]
fn what_does_not_fit_is_refused_at_once() {
    for config in [
        config().token("a\nb"),
        config().token(""),
        Config::new(kubewire::Endpoint::parse("http://example.org").unwrap())
            .credentials_over_http(false)
            .token("hunter2"),
        config().impersonate(Impersonation::default()),
    ] {
        let error = Credentials::new(&config, Seed::new(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[test]
fn impersonation_goes_along() {
    let who = Impersonation::user("jane").group("a").group("b");
    let world = World::new(&config().token("abc").impersonate(who));
    let names: Vec<_> = world
        .credentials
        .impersonation()
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        ["impersonate-user", "impersonate-group", "impersonate-group"]
    );
}

#[test]
fn a_file_is_read_each_minute_by_whoever_needs_it() {
    let mut world = world();
    assert!(world.want().is_none());
    for _ in 0..10 {
        assert!(world.header().is_pending());
    }
    let (id, path) = world.read();
    assert_eq!(path.to_str(), Some("/run/token"));
    world.file(id, Ok(" \n one\r\n"));
    assert_eq!(world.value(), "Bearer one");
    assert_eq!(world.ready().generation, 1);

    world.pass(59 * SECOND);
    assert_eq!(world.value(), "Bearer one");
    assert!(world.want().is_none());
    world.pass(SECOND);
    let (id, _) = world.pending_want();
    world.file(id, Ok("one"));
    assert_eq!(world.ready().generation, 1, "the same");

    world.pass(3600 * SECOND);
    let (id, _) = world.pending_want();
    world.file(id, Ok("two"));
    assert_eq!(world.value(), "Bearer two");
    assert_eq!(world.ready().generation, 2);
    // A laptop slept for an hour.
    world.wall += Duration::from_hours(1);
    assert!(world.header().is_pending());
}

#[test]
fn the_last_good_token_stays() {
    let mut world = world();
    let (id, _) = world.pending_want();
    world.file(id, Ok("one"));
    let mut reads = 0;
    for bad in [Err(io::ErrorKind::NotFound), Ok(""), Ok("  \n"), Ok("a b")] {
        for _ in 0..120 {
            world.pass(SECOND);
            if world.header().is_pending() {
                let (id, _) = world.read();
                world.file(id, bad);
                reads += 1;
            }
            assert_eq!(world.value(), "Bearer one");
        }
    }
    assert!((8..40).contains(&reads), "{reads} reads in eight minutes");
    assert!(world.credentials.fault().is_some());
    world.pass(60 * SECOND);
    let (id, _) = world.pending_want();
    world.file(id, Ok("two"));
    assert_eq!(world.value(), "Bearer two");
    assert!(world.credentials.fault().is_none());
}

#[test]
fn without_any_good_token_there_is_an_error() {
    for (content, text) in [
        (
            Err(io::ErrorKind::NotFound),
            "the token file /run/token cannot be read",
        ),
        (Ok("\n"), "the token file is empty"),
        (
            Ok("hunter2 hunter2"),
            "the token file holds characters that no header can carry",
        ),
    ] {
        let mut world = world();
        let (id, _) = world.pending_want();
        world.file(id, content);
        let error = world.error();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Credentials, text)
        );
        assert!(!format!("{error:?}").contains("hunter2"));
        world.pass(2 * SECOND);
        let (id, _) = world.pending_want();
        world.file(id, Ok("one"));
        assert_eq!(world.value(), "Bearer one");
    }
}

#[test]
fn a_token_beside_a_file_is_for_the_start() {
    let mut with_token = config();
    with_token.auth = Auth::TokenFile {
        path: "/run/token".into(),
        initial: Some("start".into()),
    };
    let mut world = World::new(&with_token);
    let (id, _) = world.pending_want();
    world.file(id, Ok("one"));
    assert_eq!(world.value(), "Bearer one");

    let mut world = World::new(&with_token);
    let (id, _) = world.pending_want();
    world.file(id, Err(io::ErrorKind::NotFound));
    assert_eq!(world.value(), "Bearer start");
    world.pass(60 * SECOND);
    let (id, _) = world.pending_want();
    world.file(id, Ok("one"));
    assert_eq!(world.value(), "Bearer one");
    world.pass(60 * SECOND);
    let (id, _) = world.pending_want();
    world.file(id, Err(io::ErrorKind::NotFound));
    assert_eq!(world.value(), "Bearer one", "the file has won for good");
}

#[test]
fn a_401_reads_the_file_once_more() {
    let mut world = world();
    let (id, _) = world.pending_want();
    world.file(id, Ok("one"));
    let old = world.ready().generation;
    for _ in 0..50 {
        assert_eq!(world.unauthorized(old), Unauthorized::Retry);
    }
    let (id, want) = world.pending_want();
    assert!(matches!(want, Want::Read(_)));
    world.file(id, Ok("two"));
    let new = world.ready();
    assert_eq!(
        (new.generation, world.value().as_str()),
        (old + 1, "Bearer two")
    );
    assert_eq!(world.unauthorized(old), Unauthorized::Retry);
    assert_eq!(
        world.unauthorized(new.generation),
        Unauthorized::GiveUp,
        "too early"
    );

    world.pass(30 * SECOND);
    assert_eq!(world.unauthorized(new.generation), Unauthorized::Retry);
    let (id, _) = world.pending_want();
    world.file(id, Ok("two"));
    assert_eq!(
        world.ready().generation,
        new.generation,
        "a driver sees that nothing is better"
    );
    world.pass(50 * SECOND);
    assert_eq!(world.unauthorized(new.generation), Unauthorized::GiveUp);
}

#[test]
fn a_file_that_hangs_is_given_up() {
    let mut world = world();
    let (id, _) = world.pending_want();
    world.file(id, Ok("one"));
    world.pass(60 * SECOND);
    let (id, _) = world.pending_want();
    let deadline = world.credentials.poll_timeout().unwrap();
    assert_eq!(deadline, world.now + 10 * SECOND);
    world.pass(10 * SECOND);
    world.credentials.handle_timeout(world.now, world.wall);
    assert!(!world.credentials.is_wanted(id));
    assert_eq!(world.value(), "Bearer one");
    world.file(id, Ok("late"));
    assert_eq!(world.value(), "Bearer one");
}
