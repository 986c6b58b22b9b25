//! The life of one pod on the node.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::super::App;
use super::super::random;
use super::super::store::key;
use super::super::time::Timestamp;
use super::instance::{Instance, Plan};
use super::log::Log;
use super::net::Network;
use super::process::SIGTERM;
use super::status;

/// What a real node takes to make a sandbox, only shorter.
const CREATION: Duration = Duration::from_millis(10);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub(crate) enum State {
    Waiting {
        reason: &'static str,
        message: String,
    },
    Running {
        started: Timestamp,
    },
    Terminated(Terminated),
}

#[derive(Clone, Debug)]
pub(crate) struct Terminated {
    pub(crate) code: i32,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) started: Timestamp,
    pub(crate) finished: Timestamp,
    pub(crate) id: String,
}

/// A container over all its runs.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) init: bool,
    pub(crate) spec: Value,
    pub(crate) state: State,
    pub(crate) last: Option<Terminated>,
    pub(crate) restarts: i64,
    pub(crate) id: String,
    pub(crate) instance: Option<Arc<Instance>>,
    pub(crate) log: Option<Arc<Log>>,
    pub(crate) previous: Option<Arc<Log>>,
}

#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) ip: String,
    pub(crate) sandbox: String,
    pub(crate) network: Network,
    pub(crate) started: Timestamp,
    pub(crate) restart_policy: String,
    spec: Value,
    metadata: Value,
    slots: Mutex<Vec<Slot>>,
    /// How long the pod may take to end; `None` while it need not.
    stop: watch::Sender<Option<Duration>>,
    /// Whether the sandbox is there.
    pub(crate) ready: watch::Sender<bool>,
}

impl Pod {
    pub(crate) fn new(object: &Value, index: u64) -> Self {
        let text = |name: &str| {
            object["metadata"][name]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let mut slots = Vec::new();
        for (field, init) in [("initContainers", true), ("containers", false)] {
            for spec in object["spec"][field].as_array().into_iter().flatten() {
                let reason = if init || object["spec"]["initContainers"].is_null() {
                    "ContainerCreating"
                } else {
                    "PodInitializing"
                };
                slots.push(Slot {
                    name: spec["name"].as_str().unwrap_or_default().to_owned(),
                    init,
                    spec: spec.clone(),
                    state: State::Waiting {
                        reason,
                        message: String::new(),
                    },
                    last: None,
                    restarts: 0,
                    id: String::new(),
                    instance: None,
                    log: None,
                    previous: None,
                });
            }
        }
        Self {
            namespace: text("namespace"),
            name: text("name"),
            uid: text("uid"),
            ip: format!("10.244.{}.{}", index / 254 % 256, 1 + index % 254),
            sandbox: random::hex(32),
            network: Network::default(),
            started: Timestamp::now(),
            restart_policy: object["spec"]["restartPolicy"]
                .as_str()
                .unwrap_or("Always")
                .to_owned(),
            spec: object["spec"].clone(),
            metadata: object["metadata"].clone(),
            slots: Mutex::new(slots),
            stop: watch::Sender::new(None),
            ready: watch::Sender::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn slots(&self) -> Vec<Slot> {
        self.lock().clone()
    }

    pub(crate) fn slot(&self, name: &str) -> Option<Slot> {
        self.lock().iter().find(|s| s.name == name).cloned()
    }

    /// The running instance of a container.
    pub(crate) fn running(&self, container: &str) -> Option<Arc<Instance>> {
        self.slot(container)?.instance.filter(|i| i.is_running())
    }

    fn set(&self, name: &str, change: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.lock().iter_mut().find(|s| s.name == name) {
            change(slot);
        }
    }

    /// Asks the pod to end; a shorter grace replaces a longer one.
    pub(crate) fn stop(&self, grace: Duration) {
        self.stop.send_if_modified(|current| {
            let shorter = current.is_none_or(|c| grace < c);
            if shorter {
                *current = Some(grace);
            }
            shorter
        });
    }

    fn stopping(&self) -> bool {
        self.stop.borrow().is_some()
    }

    fn report(&self, app: &App) {
        status::report(app, self);
    }

    /// Runs the pod to its end and takes it out of the store when it was deleted.
    pub(crate) async fn run(self: Arc<Self>, app: Arc<App>) {
        self.report(&app);
        tokio::time::sleep(CREATION).await;
        self.ready.send_replace(true);
        let containers = self.containers(&app);
        let mut stop = self.stop.subscribe();
        tokio::select! {
            () = containers => {
                // Everything has ended; the object stays until somebody deletes it.
                let _ = stop.wait_for(Option::is_some).await;
            }
            () = self.ended(&app) => {}
        }
        self.report(&app);
        self.remove(&app);
    }

    /// Waits for the request to stop, then for the containers.
    async fn ended(&self, app: &App) {
        let mut stop = self.stop.subscribe();
        // The sender lives as long as this pod.
        let _ = stop.wait_for(Option::is_some).await;
        let instances: Vec<Arc<Instance>> = self
            .lock()
            .iter()
            .filter_map(|s| s.instance.clone())
            .collect();
        for instance in &instances {
            instance.container.table.signal(instance.pid, SIGTERM);
        }
        let all = async {
            for instance in &instances {
                let _ = instance.exit.subscribe().wait_for(Option::is_some).await;
            }
        };
        tokio::pin!(all);
        loop {
            let grace = self.stop.borrow().unwrap_or_default();
            tokio::select! {
                () = &mut all => break,
                () = tokio::time::sleep(grace) => {
                    for instance in &instances {
                        instance.container.table.kill_all();
                    }
                    let _ = tokio::time::timeout(Duration::from_secs(1), &mut all).await;
                    break;
                }
                _ = stop.changed() => {}
            }
        }
        for slot in self.slots() {
            if let Some(code) = slot.instance.as_ref().and_then(|i| *i.exit.borrow()) {
                self.terminated(&slot.name, code, String::new());
            }
        }
        self.report(app);
    }

    fn remove(&self, app: &App) {
        app.store.transact(|tx| {
            let at = key(&self.namespace, &self.name);
            let Some(object) = tx.get("pods", &at).cloned() else {
                return;
            };
            let deleted = object["metadata"]["deletionTimestamp"].is_string()
                && object["metadata"]["uid"] == self.uid;
            let mut object = Value::clone(&object);
            object["metadata"]["deletionGracePeriodSeconds"] = 0.into();
            if deleted && super::super::update::is_finished(&object) {
                tx.delete("pods", &at, object);
            }
        });
        app.node.forget(&self.uid);
    }

    async fn containers(self: &Arc<Self>, app: &Arc<App>) {
        let slots = self.slots();
        for slot in slots.iter().filter(|s| s.init) {
            if !self.keep_running(app, &slot.name, true).await {
                // A failed init container ends the pod.
                self.report(app);
                return;
            }
        }
        let main = slots.iter().filter(|s| !s.init).map(|slot| {
            let (pod, app, name) = (Arc::clone(self), Arc::clone(app), slot.name.clone());
            async move { pod.keep_running(&app, &name, false).await }
        });
        futures_util::future::join_all(main).await;
        self.report(app);
    }

    /// Runs a container, again and again if its policy says so; whether it succeeded in the end.
    async fn keep_running(&self, app: &App, name: &str, init: bool) -> bool {
        let mut backoff = FIRST_BACKOFF;
        loop {
            let Some(slot) = self.slot(name) else {
                return false;
            };
            let image = slot.spec["image"].as_str().unwrap_or_default();
            if unavailable(image) {
                let (reason, message) = (
                    "ImagePullBackOff",
                    format!("Back-off pulling image \"{image}\""),
                );
                self.set(name, |slot| slot.state = State::Waiting { reason, message });
                self.report(app);
                std::future::pending::<()>().await;
            }
            let code = self.run_once(app, &slot).await;
            let again = match self.restart_policy.as_str() {
                "Never" => false,
                "Always" if !init => true,
                _ => code != 0,
            };
            if !again || self.stopping() {
                self.report(app);
                return code == 0;
            }
            self.report(app);
            self.set(name, |slot| {
                if let State::Terminated(terminated) = &slot.state {
                    slot.last = Some(terminated.clone());
                }
                let message = format!(
                    "back-off {}ms restarting failed container={name} pod={}",
                    backoff.as_millis(),
                    self.name
                );
                slot.state = State::Waiting {
                    reason: "CrashLoopBackOff",
                    message,
                };
            });
            self.report(app);
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
            self.set(name, |slot| slot.restarts += 1);
        }
    }

    async fn run_once(&self, app: &App, slot: &Slot) -> i32 {
        let plan = Plan {
            hostname: self.spec["hostname"]
                .as_str()
                .unwrap_or(&self.name)
                .to_owned(),
            network: self.network.clone(),
            environment: self.environment(app, &slot.spec),
            mounts: self.mounts(app, &slot.spec),
            spec: slot.spec.clone(),
        };
        let id = random::hex(32);
        let name = &slot.name;
        match plan.start() {
            Ok(instance) => {
                let mut exit = instance.exit.subscribe();
                self.set(name, |slot| {
                    slot.previous = slot.log.take().or_else(|| slot.previous.take());
                    slot.log = Some(Arc::clone(&instance.log));
                    slot.instance = Some(instance);
                    slot.state = State::Running {
                        started: Timestamp::now(),
                    };
                    slot.id.clone_from(&id);
                });
                self.report(app);
                let code = exit
                    .wait_for(Option::is_some)
                    .await
                    .ok()
                    .and_then(|code| *code)
                    .unwrap_or(255);
                self.terminated(name, code, String::new());
                code
            }
            Err(why) => {
                let now = Timestamp::now();
                self.set(name, |slot| {
                    slot.id.clone_from(&id);
                    slot.state = State::Running { started: now };
                });
                let why = format!(
                    "failed to create containerd task: failed to create shim task: OCI runtime create failed: {why}: unknown"
                );
                self.terminated(name, 128, why);
                128
            }
        }
    }

    fn terminated(&self, name: &str, code: i32, message: String) {
        self.set(name, |slot| {
            let State::Running { started } = slot.state else {
                return;
            };
            let reason = match code {
                0 => "Completed",
                128 if !message.is_empty() => "StartError",
                _ => "Error",
            };
            let finished = Timestamp::now();
            slot.state = State::Terminated(Terminated {
                code,
                reason,
                message,
                started,
                finished,
                id: slot.id.clone(),
            });
        });
    }

    fn environment(&self, app: &App, spec: &Value) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        let address = app.address;
        environment.insert("KUBERNETES_SERVICE_HOST".into(), address.ip().to_string());
        environment.insert("KUBERNETES_SERVICE_PORT".into(), address.port().to_string());
        for source in spec["envFrom"].as_array().into_iter().flatten() {
            for (field, resource) in [("configMapRef", "configmaps"), ("secretRef", "secrets")] {
                let name = source[field]["name"].as_str().unwrap_or_default();
                environment.extend(
                    self.data(app, resource, name)
                        .into_iter()
                        .map(|(k, v)| (k, String::from_utf8_lossy(&v).into_owned())),
                );
            }
        }
        for variable in spec["env"].as_array().into_iter().flatten() {
            let name = variable["name"].as_str().unwrap_or_default().to_owned();
            let from = &variable["valueFrom"];
            let value = if let Some(value) = variable["value"].as_str() {
                environment
                    .iter()
                    .fold(value.to_owned(), |text, (name, value)| {
                        text.replace(&format!("$({name})"), value)
                    })
            } else if let Some(path) = from["fieldRef"]["fieldPath"].as_str() {
                self.field(path)
            } else {
                let of = |field: &str, resource: &str| {
                    let reference = &from[field];
                    let data = self.data(
                        app,
                        resource,
                        reference["name"].as_str().unwrap_or_default(),
                    );
                    data.get(reference["key"].as_str().unwrap_or_default())
                        .map(|v| String::from_utf8_lossy(v).into_owned())
                };
                of("configMapKeyRef", "configmaps")
                    .or_else(|| of("secretKeyRef", "secrets"))
                    .unwrap_or_default()
            };
            environment.insert(name, value);
        }
        environment
    }

    fn field(&self, path: &str) -> String {
        match path {
            "status.podIP" => self.ip.clone(),
            "status.hostIP" => "127.0.0.1".into(),
            "spec.nodeName" => super::super::controllers::NODE.into(),
            "spec.serviceAccountName" => self.spec["serviceAccountName"]
                .as_str()
                .unwrap_or_default()
                .into(),
            _ => {
                let value =
                    path.strip_prefix("metadata.")
                        .and_then(|field| match field.split_once("['") {
                            Some((map, key)) => self.metadata[map].get(key.trim_end_matches("']")),
                            None => self.metadata.get(field),
                        });
                value.and_then(Value::as_str).unwrap_or_default().to_owned()
            }
        }
    }

    fn data(&self, app: &App, resource: &str, name: &str) -> BTreeMap<String, Vec<u8>> {
        let Some(object) = app.store.get(resource, &key(&self.namespace, name)) else {
            return BTreeMap::new();
        };
        let decode = |text: &str| {
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .unwrap_or_default()
        };
        let mut data = BTreeMap::new();
        for (field, encoded) in [("data", resource == "secrets"), ("binaryData", true)] {
            for (key, value) in object[field].as_object().into_iter().flatten() {
                let text = value.as_str().unwrap_or_default();
                data.insert(
                    key.clone(),
                    if encoded { decode(text) } else { text.into() },
                );
            }
        }
        data
    }

    fn mounts(&self, app: &App, spec: &Value) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for mount in spec["volumeMounts"].as_array().into_iter().flatten() {
            let path = mount["mountPath"]
                .as_str()
                .unwrap_or_default()
                .trim_end_matches('/');
            let volumes = self.spec["volumes"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            let Some(volume) = volumes.iter().find(|v| v["name"] == mount["name"]) else {
                continue;
            };
            let config = volume["configMap"]["name"]
                .as_str()
                .map(|name| self.data(app, "configmaps", name));
            let secret = || {
                volume["secret"]["secretName"]
                    .as_str()
                    .map(|name| self.data(app, "secrets", name))
            };
            for (key, content) in config.or_else(secret).unwrap_or_default() {
                files.push((format!("{path}/{key}"), content));
            }
        }
        files
    }
}

/// Images that no registry has, to make pods wait.
fn unavailable(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default();
    ["missing", "no-such", "does-not-exist"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// What the status of a pod says of a container.
pub(crate) fn container_status(slot: &Slot) -> Value {
    let state = |state: &State| match state {
        State::Waiting { reason, message } if message.is_empty() => {
            json!({"waiting": {"reason": reason}})
        }
        State::Waiting { reason, message } => {
            json!({"waiting": {"reason": reason, "message": message}})
        }
        State::Running { started } => json!({"running": {"startedAt": started.rfc3339()}}),
        State::Terminated(terminated) => {
            let mut value = json!({"exitCode": terminated.code, "reason": terminated.reason,
                "startedAt": terminated.started.rfc3339(), "finishedAt": terminated.finished.rfc3339(),
                "containerID": format!("containerd://{}", terminated.id)});
            if !terminated.message.is_empty() {
                value["message"] = terminated.message.as_str().into();
            }
            json!({"terminated": value})
        }
    };
    let running = matches!(slot.state, State::Running { .. });
    let done = slot.init && matches!(&slot.state, State::Terminated(t) if t.code == 0);
    let last = slot
        .last
        .as_ref()
        .map_or_else(|| json!({}), |t| state(&State::Terminated(t.clone())));
    let image = slot.spec["image"].as_str().unwrap_or_default();
    let mut value = json!({
        "name": slot.name, "state": state(&slot.state), "lastState": last, "ready": (running && !slot.init) || done,
        "restartCount": slot.restarts, "image": image, "imageID": "", "started": running,
    });
    if !slot.id.is_empty() {
        let first = image.split('/').next().unwrap_or_default();
        let full = if !image.contains('/') {
            format!("docker.io/library/{image}")
        } else if first.contains('.') {
            image.to_owned()
        } else {
            format!("docker.io/{image}")
        };
        value["image"] = full.into();
        value["imageID"] = format!(
            "sha256:{}{}",
            sha1_smol::Sha1::from(image).digest(),
            "0".repeat(24)
        )
        .into();
        value["containerID"] = format!("containerd://{}", slot.id).into();
    }
    value
}
