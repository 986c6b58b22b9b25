//! Kubeconfig files.
//!
//! Input: `[n, n bytes of decisions, file]`.

use std::path::Path;

use kubewire::ErrorKind;
use kubewire::config::{Kubeconfig, Named, Overrides, Secret};

use crate::input::Input;

const FILE: &str = "/home/me/.kube/config";
/// Stands where secrets do, and must not be seen.
const CANARY: &str = "hunter2Qx9canary";

/// What was read is written and read back the same; nothing that is picked panics; and no secret is
/// ever shown, however broken the file is.
///
/// # Panics
///
/// If that does not hold.
pub fn run(data: &[u8]) {
    let (mut choices, file) = Input::with_body(data);
    after_secrets(file);
    let Some(kubeconfig) = parse(file) else {
        return;
    };
    let text = serde_json::to_vec(&kubeconfig).expect("a kubeconfig has a JSON form");
    let again = Kubeconfig::parse(&text, Path::new(FILE)).expect("what was written can be read");
    assert_eq!(
        without_origins(again.clone()),
        without_origins(kubeconfig.clone())
    );
    let merged = Kubeconfig::merge([kubeconfig.clone(), again]);
    assert_eq!(
        without_origins(merged),
        without_origins(kubeconfig.clone()),
        "the first of a name wins"
    );
    resolve(&kubeconfig, |_| ());

    let planted = serde_json::to_string(&plant(kubeconfig)).expect("a kubeconfig has a JSON form");
    let kubeconfig = Kubeconfig::parse(planted.as_bytes(), Path::new(FILE)).expect("still good");
    hides(&format!("{kubeconfig:?} {kubeconfig:#?}"));
    resolve(&kubeconfig, hides);
    broken(&mut choices, &planted);
}

fn parse(file: &[u8]) -> Option<Kubeconfig> {
    match Kubeconfig::parse(file, Path::new(FILE)) {
        Ok(kubeconfig) => Some(kubeconfig),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().starts_with(FILE), "{error}");
            None
        }
    }
}

fn hides(shown: &str) {
    assert!(!shown.contains(CANARY), "a secret is shown: {shown}");
}

/// Every context, cluster and user is asked for.
fn resolve(kubeconfig: &Kubeconfig, look: impl Fn(&str)) {
    let mut overrides = vec![Overrides::default(), Overrides::default().context("none")];
    let few = 8;
    for context in kubeconfig.contexts.iter().take(few) {
        overrides.push(Overrides::default().context(&context.name));
    }
    for user in kubeconfig.users.iter().take(few) {
        overrides.push(Overrides::default().user(&user.name));
        for cluster in kubeconfig.clusters.iter().take(few) {
            let both = Overrides::default().user(&user.name);
            overrides.push(both.cluster(&cluster.name).namespace("n"));
        }
    }
    for overrides in overrides {
        match kubeconfig.resolve(&overrides) {
            Ok(config) => {
                look(&format!("{config:?} {config:#?}"));
                if let Err(error) = config.check() {
                    panic!("resolved and not good: {error}");
                }
                if let Ok(Some(header)) = config.auth.header() {
                    look(&format!("{header:?}"));
                }
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Config);
                look(&format!("{error} {error:?}"));
            }
        }
    }
}

fn forget<T>(list: &mut [Named<T>]) {
    for entry in list {
        entry.origin = None;
    }
}

/// Lines are not kept.
fn without_origins(mut kubeconfig: Kubeconfig) -> Kubeconfig {
    forget(&mut kubeconfig.clusters);
    forget(&mut kubeconfig.users);
    forget(&mut kubeconfig.contexts);
    forget(&mut kubeconfig.extensions);
    for cluster in &mut kubeconfig.clusters {
        forget(&mut cluster.value.extensions);
    }
    for user in &mut kubeconfig.users {
        forget(&mut user.value.extensions);
    }
    for context in &mut kubeconfig.contexts {
        forget(&mut context.value.extensions);
    }
    kubeconfig
}

/// Puts the canary wherever a secret is.
fn plant(mut kubeconfig: Kubeconfig) -> Kubeconfig {
    let plant = |secret: &mut Option<Secret>| {
        if let Some(secret) = secret {
            *secret = Secret::new(format!("a{CANARY}{}", secret.expose()));
        }
    };
    for user in &mut kubeconfig.users {
        let user = &mut user.value;
        plant(&mut user.token);
        plant(&mut user.password);
        plant(&mut user.client_key_data);
        plant(&mut user.client_certificate_data);
        if let Some(provider) = &mut user.auth_provider {
            for value in provider.config.values_mut() {
                *value = Secret::new(CANARY);
            }
        }
        if let Some(exec) = &mut user.exec {
            exec.args.push(CANARY.to_owned());
            for variable in &mut exec.env {
                plant(&mut variable.value);
            }
        }
    }
    for cluster in &mut kubeconfig.clusters {
        if let Some(proxy) = &mut cluster.value.proxy_url
            && let Some((scheme, rest)) = proxy.split_once("://")
        {
            *proxy = format!("{scheme}://me:{CANARY}@{rest}");
        }
    }
    kubeconfig
}

/// A good file that ends early, or has a byte too much or another one.
fn broken(choices: &mut Input<'_>, planted: &str) {
    let at = usize::from(choices.short()) % (planted.len() + 1);
    let (before, after) = planted.as_bytes().split_at(at);
    let inside = choices.take(1);
    let rest = after.get(1..).unwrap_or_default();
    for file in [
        before.to_vec(),
        [before, inside, rest].concat(),
        [before, b"\n", inside, rest].concat(),
    ] {
        if let Err(error) = Kubeconfig::parse(&file, Path::new(FILE)) {
            hides(&format!("{error} {error:?}"));
        }
    }
}

/// The input behind good secrets, in the same document and in the next.
fn after_secrets(file: &[u8]) {
    let start =
        format!("users:\n- name: planted\n  user:\n    password: {CANARY}\n    token: {CANARY}\n");
    for between in ["", "---\n", "  "] {
        let file = [start.as_bytes(), between.as_bytes(), file].concat();
        match Kubeconfig::parse(&file, Path::new(FILE)) {
            Ok(kubeconfig) => {
                hides(&format!("{kubeconfig:?}"));
                resolve(&kubeconfig, hides);
            }
            Err(error) => hides(&format!("{error} {error:?}")),
        }
    }
}
