//! Programs that print credentials: when they are run, what they are told, and what becomes of their
//! output.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod auth_support;

use std::io;
use std::time::Duration;

use auth_support::*;
use kubewire::ErrorKind;
use kubewire::auth::{Credentials, ProcessOutput, Unauthorized, Want};
use kubewire::config::{
    ClientCertificate, Config, ExecCluster, ExecPlugin, ExecVersion, InteractiveMode, Material,
};
use kubewire::policy::Seed;

fn plugin() -> ExecPlugin {
    ExecPlugin::new("login")
        .arg("--profile=hunter-arg")
        .env("SECRET_KEY", "hunter2")
}

fn world() -> World {
    World::new(&config().exec(plugin()))
}

#[test]
fn many_requests_one_run() {
    let mut world = world();
    assert!(world.want().is_none(), "nobody needs it yet");
    for _ in 0..50 {
        assert!(world.header().is_pending());
    }
    let (id, command) = world.run();
    for _ in 0..50 {
        assert!(world.header().is_pending());
        assert!(world.want().is_none());
    }
    assert_eq!(command.args, ["--profile=hunter-arg"]);
    assert!(!command.interactive && !command.show_stderr);
    let env: Vec<_> = command
        .env
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()))
        .collect();
    assert_eq!(
        env,
        [
            ("SECRET_KEY", "hunter2"),
            (
                "KUBERNETES_EXEC_INFO",
                r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}"#
            ),
        ]
    );
    assert!(!format!("{command:?} {:?}", world.credentials).contains("hunter"));
    world.process(id, 0, &exec_credential(r#"{"token":"abc"}"#), "hello");
    for _ in 0..50 {
        assert_eq!(world.value(), "Bearer abc");
    }
    assert_eq!(world.ready().generation, 1);
    // Without an end, for ever.
    world.pass(Duration::from_hours(10_000));
    assert_eq!(world.value(), "Bearer abc");
    assert!(world.want().is_none());
}

#[test]
fn a_storm_of_401s_is_one_run() {
    let mut world = world();
    let (id, _) = world.pending_want();
    world.process(id, 0, &exec_credential(r#"{"token":"old"}"#), "");
    let old = world.ready().generation;
    for _ in 0..50 {
        assert_eq!(world.unauthorized(old), Unauthorized::Retry);
        assert!(world.header().is_pending());
    }
    let (id, _) = world.run();
    assert_eq!(world.unauthorized(old), Unauthorized::Retry);
    world.process(id, 0, &exec_credential(r#"{"token":"new"}"#), "");
    let new = world.ready();
    assert_eq!(
        (new.value.unwrap().to_str().unwrap(), new.generation),
        ("Bearer new", old + 1)
    );
    // Latecomers take the new one.
    for _ in 0..50 {
        assert_eq!(world.unauthorized(old), Unauthorized::Retry);
    }
    assert!(world.want().is_none());

    // The new one is no good either: not again at once.
    for _ in 0..50 {
        assert_eq!(world.unauthorized(new.generation), Unauthorized::GiveUp);
    }
    assert!(world.want().is_none());
    assert_eq!(world.value(), "Bearer new");
    let mut runs = 0;
    for _ in 0..600 {
        world.pass(SECOND);
        let generation = world.ready().generation;
        if world.unauthorized(generation) == Unauthorized::Retry {
            let (id, _) = world.run();
            world.process(id, 0, &exec_credential(r#"{"token":"new"}"#), "");
            runs += 1;
        }
    }
    assert!(
        (3..10).contains(&runs),
        "{runs} runs in ten minutes of 401s"
    );
}

#[test]
fn a_forced_run_that_fails_leaves_the_401() {
    let mut world = world();
    let (id, _) = world.pending_want();
    world.process(id, 0, &exec_credential(r#"{"token":"old"}"#), "");
    assert_eq!(world.unauthorized(1), Unauthorized::Retry);
    let (id, _) = world.run();
    world.process(id, 1, "", "session has ended");
    let again = world.ready();
    assert_eq!(again.generation, 1, "a driver sees that nothing is better");
    let fault = world.credentials.fault().unwrap().to_string();
    assert_eq!(
        fault,
        "the exec plugin login failed with exit code 1: session has ended"
    );
    for _ in 0..50 {
        assert_eq!(world.unauthorized(1), Unauthorized::GiveUp);
    }
    world.pass(3600 * SECOND);
    assert_eq!(
        world.unauthorized(1),
        Unauthorized::GiveUp,
        "once for each generation"
    );
}

#[test]
fn refreshed_ahead_and_never_used_after_the_end() {
    let mut world = world();
    let (id, _) = world.pending_want();
    world.process(id, 0, &expiring("one", 3600), "");
    world.pass(2800 * SECOND);
    assert_eq!(world.value(), "Bearer one");
    assert!(world.want().is_none());
    world.pass(500 * SECOND);
    assert_eq!(
        world.value(),
        "Bearer one",
        "the old one is good while the new one is made"
    );
    let (id, _) = world.run();
    assert_eq!(world.value(), "Bearer one");
    world.pass(300 * SECOND);
    // It took too long, and the old one has ended.
    let error = world.error();
    assert!(!world.credentials.is_wanted(id));
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.to_string(), "the exec plugin login took too long");
    world.process(id, 0, &expiring("late", 9000), "");
    assert_eq!(world.error().kind(), ErrorKind::Timeout, "late is too late");
    world.pass(2 * SECOND);
    let (id, _) = world.pending_want();
    world.process(id, 0, &expiring("two", 7200), "");
    assert_eq!(world.value(), "Bearer two");
}

#[test]
fn clocks_that_jump() {
    for (forward, sleeps) in [(true, false), (false, false), (true, true)] {
        let mut world = world();
        let (id, _) = world.pending_want();
        world.process(id, 0, &expiring("one", 600), "");
        if sleeps {
            // Only the wall clock went on.
            world.wall += 700 * SECOND;
        } else if forward {
            world.wall += Duration::from_hours(5);
        } else {
            world.wall -= Duration::from_hours(5);
            world.pass(599 * SECOND);
            assert_eq!(world.value(), "Bearer one");
            let (id, _) = world.run();
            world.credentials.handle_abandoned(id, world.now);
            world.pass(SECOND);
        }
        let (id, _) = world.pending_want();
        // By the wrong clock it may be over already. It is used all the same, and not asked for anew
        // with each request.
        world.process(id, 0, &expiring("two", 1200), "");
        assert_eq!(world.value(), "Bearer two");
        assert_eq!(world.value(), "Bearer two");
        assert!(world.want().is_none());
        world.pass(9 * SECOND);
        assert_eq!(world.value(), "Bearer two");
    }
}

#[test]
fn failures_wait_for_a_while() {
    let mut world = world();
    let mut runs = 0;
    for _ in 0..300 {
        if world.header().is_pending() {
            let (id, _) = world.run();
            runs += 1;
            world.process(id, 1, "", "no");
        }
        assert_eq!(world.error().kind(), ErrorKind::Credentials);
        world.pass(SECOND);
    }
    assert!((8..20).contains(&runs), "{runs} runs in five minutes");
    world.pass(60 * SECOND);
    let (id, _) = world.pending_want();
    world.process(id, 0, &exec_credential(r#"{"token":"abc"}"#), "");
    assert_eq!(world.value(), "Bearer abc");
    assert!(world.credentials.fault().is_none());
}

#[test]
fn abandoned_wants_come_again() {
    let mut world = world();
    let (first, _) = world.pending_want();
    world.credentials.handle_abandoned(first, world.now);
    assert!(!world.credentials.is_wanted(first));
    let (second, _) = world.run();
    assert_ne!(first, second);
    world.credentials.handle_abandoned(first, world.now);
    assert!(world.credentials.is_wanted(second));
    world.process(first, 0, &exec_credential(r#"{"token":"late"}"#), "");
    assert!(world.header().is_pending());
    world.process(second, 0, &exec_credential(r#"{"token":"abc"}"#), "");
    world.process(second, 0, &exec_credential(r#"{"token":"twice"}"#), "");
    world.file(second, Ok("x"));
    world.answer(second, 200, "{}");
    assert_eq!(world.value(), "Bearer abc");
}

#[test]
fn plugins_take_their_time() {
    let mut world = world();
    let (id, _) = world.pending_want();
    assert_eq!(
        world.credentials.poll_timeout(),
        Some(world.now + 300 * SECOND)
    );
    world.pass(299 * SECOND);
    world.credentials.handle_timeout(world.now, world.wall);
    assert!(world.credentials.is_wanted(id));
    world.pass(SECOND);
    world.credentials.handle_timeout(world.now, world.wall);
    assert!(!world.credentials.is_wanted(id), "kill it");
    assert_eq!(world.error().kind(), ErrorKind::Timeout);

    let credentials = Credentials::new(&config().exec(plugin()), Seed::new(1)).unwrap();
    let mut world = World::with(credentials.exec_timeout(None));
    world.pending_want();
    assert_eq!(world.credentials.poll_timeout(), None);
}

const CERTIFICATE: &str = r#""clientCertificateData":"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----","clientKeyData":"-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----""#;

#[test]
fn certificates_rotate_on_new_connections() {
    let mut world = world();
    assert!(world.credentials.certificate().is_none());
    let mut status = format!("{{{CERTIFICATE}}}");
    for (expected, token) in [(1, "-"), (1, "-"), (2, "-"), (2, "Bearer t")] {
        if world.ready_or_pending() {
            let generation = world.ready().generation;
            world.pass(3600 * SECOND);
            assert_eq!(world.unauthorized(generation), Unauthorized::Retry);
        }
        let (id, _) = world.run();
        match (expected, token) {
            (2, "-") => status = status.replace("\\nA\\n", "\\nB\\n"),
            (_, "Bearer t") => status = status.replacen('{', r#"{"token":"t","#, 1),
            _ => {}
        }
        world.process(id, 0, &exec_credential(&status), "");
        assert_eq!(world.value(), token);
        assert_eq!(world.credentials.certificate_generation(), expected);
        let Some(ClientCertificate {
            certificate: Material::Data(pem),
            ..
        }) = world.credentials.certificate()
        else {
            panic!();
        };
        assert!(pem.as_bytes().starts_with(b"-----BEGIN CERTIFICATE-----\n"));
    }
    assert!(!format!("{:?}", world.credentials).contains("hunter2"));

    // The configuration's own wins.
    let own = config().exec(plugin()).client_pem("c", "k");
    let mut world = World::new(&own);
    let (id, _) = world.pending_want();
    world.process(id, 0, &exec_credential(&status), "");
    assert_eq!(world.value(), "Bearer t");
    assert!(world.credentials.certificate().is_none());
}

impl World {
    fn ready_or_pending(&mut self) -> bool {
        self.header().is_ready()
    }
}

#[test]
fn what_it_is_told() {
    let mut plugin = plugin();
    plugin.api_version = ExecVersion::V1Beta1;
    let mut cluster = ExecCluster::new("https://10.0.0.1:6443");
    cluster.ca = Some(Material::File("/pki/ca.crt".into()));
    plugin.cluster = Some(cluster);
    let credentials = Credentials::new(&config().exec(plugin.clone()), Seed::new(1)).unwrap();
    let mut world = World::with(credentials.terminal(true));
    assert!(world.header().is_pending());
    let (id, path) = world.read();
    assert_eq!(path.to_str(), Some("/pki/ca.crt"));
    assert!(world.header().is_pending());
    world.file(id, Ok("PEM"));
    let (id, command) = world.run();
    assert!(command.interactive && command.show_stderr);
    assert_eq!(
        command.env.last().unwrap().1.expose(),
        r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","spec":{"cluster":{"server":"https://10.0.0.1:6443","certificate-authority-data":"UEVN"},"interactive":true}}"#
    );
    let output = exec_credential(r#"{"token":"abc"}"#).replace("k8s.io/v1", "k8s.io/v1beta1");
    world.process(id, 0, &output, "");
    assert_eq!(world.value(), "Bearer abc");

    let mut world = World::new(&config().exec(plugin.clone()));
    let (id, _) = world.pending_want();
    world.file(id, Err(io::ErrorKind::PermissionDenied));
    assert_eq!(
        world.error().to_string(),
        "the exec plugin login cannot be told the certificate authority, whose file cannot be read"
    );

    for (mode, terminal, interactive) in [
        (InteractiveMode::Never, false, Some(false)),
        (InteractiveMode::Never, true, Some(false)),
        (InteractiveMode::IfAvailable, false, Some(false)),
        (InteractiveMode::IfAvailable, true, Some(true)),
        (InteractiveMode::Always, false, None),
        (InteractiveMode::Always, true, Some(true)),
    ] {
        plugin.cluster = None;
        plugin.interactive_mode = mode;
        let credentials = Credentials::new(&config().exec(plugin.clone()), Seed::new(1)).unwrap();
        let mut world = World::with(credentials.terminal(terminal));
        if let Some(interactive) = interactive {
            assert!(world.header().is_pending());
            assert_eq!(world.run().1.interactive, interactive);
        } else {
            assert!(world.error().to_string().contains("has to ask the user"));
            assert!(world.want().is_none());
        }
    }
}

/// What a plugin prints, and the header or the error that comes of it.
fn outcome(stdout: &str) -> String {
    let mut world = world();
    let (id, _) = world.pending_want();
    world.process(id, 0, stdout, "to be ignored");
    match world.header() {
        std::task::Poll::Ready(Ok(_)) => world.value(),
        std::task::Poll::Ready(Err(error)) => {
            let text = error.to_string();
            assert_eq!(error.kind(), ErrorKind::Credentials);
            let debug = format!("{error:?}");
            assert!(
                !debug.contains("hunter") && !text.contains("ignored"),
                "{debug}"
            );
            text.strip_prefix("the exec plugin login ")
                .unwrap()
                .to_owned()
        }
        std::task::Poll::Pending => panic!("pending"),
    }
}

#[test]
fn outputs() {
    let v1 = "client.authentication.k8s.io/v1";
    for (status, want) in [
        (r#"{"token":"abc"}"#, "Bearer abc"),
        (
            r#"{"token":"abc","expirationTimestamp":null,"clientKeyData":"","more":[1]}"#,
            "Bearer abc",
        ),
        (
            r#"{"token":"hunter2\n"}"#,
            "printed a token with characters that no header can carry",
        ),
        (r#"{"token":7}"#, "printed a token that is no text"),
        (
            r#"{"token":""}"#,
            "printed neither a token nor a client certificate",
        ),
        ("{}", "printed neither a token nor a client certificate"),
        ("null", "printed an ExecCredential without a status"),
        (r#""hunter2""#, "printed an ExecCredential without a status"),
        (
            r#"{"clientKeyData":"hunter2"}"#,
            "printed a key without a client certificate",
        ),
        (
            r#"{"token":"hunter2","clientCertificateData":"x"}"#,
            "printed a client certificate without a key",
        ),
        (
            r#"{"clientCertificateData":"hunter2","clientKeyData":"hunter2"}"#,
            "printed a clientCertificateData that is no PEM",
        ),
        (
            r#"{"token":"hunter2","expirationTimestamp":"hunter2"}"#,
            "printed an expirationTimestamp that is no date of RFC 3339",
        ),
        (
            r#"{"token":"hunter2","expirationTimestamp":1}"#,
            "printed a expirationTimestamp that is no text",
        ),
    ] {
        assert_eq!(outcome(&exec_credential(status)), want, "{status}");
    }
    let wrong_version =
        format!("printed an ExecCredential whose apiVersion is not {v1}, which it was asked for");
    for (stdout, want) in [
        ("", "printed nothing"),
        (" \n", "printed nothing"),
        ("[]", "printed something other than an ExecCredential"),
        ("{}", "printed an object whose kind is not ExecCredential"),
        (
            r#"{"kind":"hunter2"}"#,
            "printed an object whose kind is not ExecCredential",
        ),
        (r#"{"kind":"ExecCredential"}"#, &wrong_version),
        (
            r#"{"kind":"ExecCredential","apiVersion":"hunter2"}"#,
            &wrong_version,
        ),
        (
            &exec_credential(r#"{"token":"hunter2"}"#).replace("/v1", "/v1beta1"),
            &wrong_version,
        ),
        (
            &exec_credential(r#"{"token":"hunter2"}"#).replace("/v1", "/v1alpha1"),
            &wrong_version,
        ),
    ] {
        assert_eq!(outcome(stdout), want, "{stdout}");
    }
}

#[cfg(feature = "kubeconfig")]
#[test]
fn outputs_in_yaml() {
    let yaml = |token: &str| {
        format!(
            "apiVersion: client.authentication.k8s.io/v1\nkind: ExecCredential\nstatus:\n  token: {token}\n  expirationTimestamp: 2026-06-01T00:10:00Z\n"
        )
    };
    assert_eq!(outcome(&yaml("abc")), "Bearer abc");
    assert_eq!(outcome(&format!("---\n{}", yaml("'0123'"))), "Bearer 0123");
    assert_eq!(outcome(&yaml("123")), "printed a token that is no text");
    let neither = "printed something that is neither JSON nor YAML";
    assert_eq!(outcome("hunter2: [\n"), neither);
    assert_eq!(outcome(&format!("{0}---\n{0}", yaml("hunter2"))), neither);
    assert_eq!(
        outcome("hunter2"),
        "printed something other than an ExecCredential"
    );
}

#[test]
fn failures_say_why_and_hide_secrets() {
    let fails = |config: &Config, result: io::Result<ProcessOutput>| {
        let mut world = World::new(config);
        let (id, _) = world.pending_want();
        world
            .credentials
            .handle_process(id, result, world.now, world.wall);
        let error = world.error();
        assert_eq!(error.kind(), ErrorKind::Credentials);
        let text = error.to_string();
        assert!(!format!("{error:?}").contains("hunter"), "{error:?}");
        text.strip_prefix("the exec plugin login ")
            .unwrap()
            .to_owned()
    };
    let plain = config().exec(plugin());
    let hinted = config().exec({
        let mut plugin = plugin();
        plugin.install_hint = Some("Install it with brew.\n".to_owned());
        plugin
    });
    let output = |code, stdout: &str, stderr: &str| {
        Ok(ProcessOutput::new(code, stdout.into(), stderr.into()))
    };
    let not_found = || Err(io::ErrorKind::NotFound.into());
    assert_eq!(
        fails(&plain, not_found()),
        "was not found; is it installed, and in PATH?"
    );
    assert_eq!(
        fails(&hinted, not_found()),
        "was not found. Install it with brew."
    );
    assert_eq!(
        fails(&hinted, Err(io::ErrorKind::PermissionDenied.into())),
        "cannot be run"
    );
    assert_eq!(
        fails(
            &plain,
            output(Some(7), "token: hunter2", "line 1\nkey hunter2 is wrong\n")
        ),
        "failed with exit code 7: line 1; key [hidden] is wrong"
    );
    assert_eq!(
        fails(
            &plain,
            output(Some(1), "", "got eyJhbGciOiJSUzI1NiJ9.e30.c2ln")
        ),
        "failed with exit code 1: got [hidden]"
    );
    assert_eq!(
        fails(&plain, output(None, "hunter2", "")),
        "was killed by a signal"
    );
    let much = "x".repeat((1 << 20) + 1);
    assert_eq!(
        fails(&plain, output(Some(0), &much, "")),
        "printed more than 1 MiB"
    );

    // The token in use is no secret to the program, which may print it.
    let mut world = World::new(&plain);
    let (id, _) = world.pending_want();
    world.process(id, 0, &exec_credential(r#"{"token":"hunter-token"}"#), "");
    assert_eq!(world.unauthorized(1), Unauthorized::Retry);
    let (id, _) = world.run();
    world.process(id, 1, "", "cached hunter-token is stale");
    let fault = world.credentials.fault().unwrap().to_string();
    assert!(fault.ends_with("cached [hidden] is stale"), "{fault}");
}

#[test]
fn wants_hide_secrets() {
    let mut world = world();
    let (_, want) = world.pending_want();
    assert!(matches!(want, Want::Run(_)));
    assert!(!format!("{want:?}").contains("hunter"), "{want:?}");
    let output = ProcessOutput::new(Some(0), b"hunter2".to_vec(), b"hunter2".to_vec());
    assert!(!format!("{output:?}").contains("hunter"));
}
