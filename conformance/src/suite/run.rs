//! Scenario after scenario, each in a namespace of its own.

use std::any::Any;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kubewire::config::Config;
use kubewire::{Api, Error};

use super::{Facts, LABEL, Outcome, Report};
use crate::cli::config_of;
use crate::harness::until_await;
use crate::scenario::{Calls, HELD, Need, Place, Scenario, free};
use crate::server::Server;

/// How long a scenario may take before it counts as hung. On a real cluster pods have to start.
const PATIENCE: Duration = Duration::from_mins(4);

/// How long the namespaces may take to go in the end.
const FAREWELL: Duration = Duration::from_mins(3);

/// Where the scenarios run.
#[derive(Clone, Debug)]
pub struct Site {
    /// How to reach the server.
    pub config: Config,
    /// The server, if it is embedded.
    pub server: Option<Arc<Server>>,
    /// An image with what busybox has.
    pub image: String,
    /// How many scenarios run at a time.
    pub jobs: usize,
    /// Whether each is dropped at its first await, at its second, and so on with growing steps, before it may go on to its end.
    pub drops: bool,
}

impl Site {
    fn place(&self, namespace: &str) -> Place {
        Place {
            namespace: namespace.to_owned(),
            image: self.image.clone(),
            config: self.config.clone(),
            server: self.server.clone(),
        }
    }

    /// The same with an embedded server of its own.
    fn own(&self) -> Result<Self, String> {
        let tls = self.config.endpoint.is_https();
        let server = Server::builder().tls(tls).start();
        let server = server.map_err(|error| format!("no server: {error}"))?;
        let config = config_of(&server).map_err(|error| error.to_string())?;
        Ok(Self {
            config,
            server: Some(Arc::new(server)),
            ..self.clone()
        })
    }
}

/// What makes the environments of scenarios.
pub trait Backend {
    /// An environment.
    type Env: Calls;

    /// An environment in a place, for a scenario.
    ///
    /// # Errors
    ///
    /// If the configuration is not complete, or not for this backend.
    fn env(&self, place: Place) -> Result<Self::Env, Error>;

    /// As [`env`](Self::env) for what surrounds scenarios, without any mischief.
    ///
    /// # Errors
    ///
    /// As [`env`](Self::env).
    fn quiet(&self, place: Place) -> Result<Self::Env, Error> {
        self.env(place)
    }

    /// Runs a scenario's body, and tells what is wrong with how its tasks behaved.
    fn guard<T>(
        &self,
        _: &Self::Env,
        body: impl Future<Output = T>,
    ) -> impl Future<Output = Result<T, String>> {
        body.map(Ok)
    }

    /// A need that this backend does not meet, and why.
    fn unmet(&self) -> Option<(Need, String)> {
        None
    }
}

/// Runs scenarios, and hands out reports as they come. After an interruption it begins no more.
///
/// Every scenario has a namespace of its own, which is deleted after it; in the end they are waited for, and what
/// is still there is told.
///
/// # Errors
///
/// If the cluster cannot be used at all, or namespaces stay.
pub async fn run<B: Backend>(
    backend: &B,
    site: &Site,
    scenarios: Vec<Scenario<B::Env>>,
    mut tell: impl FnMut(Report),
) -> Result<(), String> {
    let keeper = backend
        .quiet(site.place("default"))
        .map_err(|error| explain(&error))?;
    let facts = facts(backend, &keeper, site, &scenarios).await?;
    let unmet: BTreeMap<_, _> = backend.unmet().into_iter().collect();
    let (keeper, facts, unmet) = (&keeper, &facts, &unmet);
    let mut runs = stream::iter(scenarios)
        .map(|scenario| async move {
            let skip = facts.unmet(scenario.needs).or_else(|| {
                let own = scenario.needs.iter().find_map(|need| unmet.get(need));
                own.map(String::as_str)
            });
            let start = Instant::now();
            let mut time = None;
            let outcome = match skip {
                Some(why) => Outcome::Skipped(why.to_owned()),
                None if super::interrupted() => Outcome::Skipped("interrupted".to_owned()),
                None => match one(backend, keeper, site, &scenario, &mut time).await {
                    Ok(()) => Outcome::Passed,
                    Err(why) => Outcome::Failed(why),
                },
            };
            Report {
                name: scenario.name,
                group: scenario.group,
                outcome,
                time: time.unwrap_or_else(|| start.elapsed()),
            }
        })
        .buffer_unordered(site.jobs.max(1));
    while let Some(report) = runs.next().await {
        tell(report);
    }
    drop(runs);
    farewell(keeper).await
}

async fn facts<B: Backend>(
    backend: &B,
    keeper: &B::Env,
    site: &Site,
    scenarios: &[Scenario<B::Env>],
) -> Result<Facts, String> {
    let needs: BTreeSet<Need> = scenarios
        .iter()
        .flat_map(|scenario| scenario.needs.iter().copied())
        .collect();
    let namespace = make_namespace(keeper).await?;
    let facts = match backend.quiet(site.place(&namespace)) {
        Ok(env) => Ok(Facts::find(&env, needs).await),
        Err(error) => Err(explain(&error)),
    };
    delete_namespace(keeper, &namespace).await;
    facts
}

/// One scenario; why it failed.
async fn one<B: Backend>(
    backend: &B,
    keeper: &B::Env,
    site: &Site,
    scenario: &Scenario<B::Env>,
    time: &mut Option<Duration>,
) -> Result<(), String> {
    let mut awaits = site.drops.then_some(1);
    loop {
        let done = once(backend, keeper, site, scenario, time, awaits).await?;
        match &mut awaits {
            Some(awaits) if !done => *awaits += 1 + *awaits / 4,
            Some(_) | None => return Ok(()),
        }
    }
}

/// As [`one`], dropped after so many awaits; whether it was done before.
async fn once<B: Backend>(
    backend: &B,
    keeper: &B::Env,
    site: &Site,
    scenario: &Scenario<B::Env>,
    time: &mut Option<Duration>,
    awaits: Option<usize>,
) -> Result<bool, String> {
    if !scenario.needs.contains(&Need::Embedded) {
        let namespace = make_namespace(keeper).await?;
        let env = backend.env(site.place(&namespace));
        let result = tried(backend, env, scenario, time, awaits, None).await;
        delete_namespace(keeper, &namespace).await;
        return result;
    }
    let site = site.own()?;
    let keeper = backend
        .quiet(site.place("default"))
        .map_err(|error| explain(&error))?;
    let namespace = make_namespace(&keeper).await?;
    let env = backend.env(site.place(&namespace));
    let server = site.server.as_deref();
    let result = tried(backend, env, scenario, time, awaits, server).await;
    // The end of a server takes a moment, and blocks the thread meanwhile.
    std::thread::spawn(move || drop(site));
    result
}

async fn tried<B: Backend>(
    backend: &B,
    env: Result<B::Env, Error>,
    scenario: &Scenario<B::Env>,
    time: &mut Option<Duration>,
    awaits: Option<usize>,
    server: Option<&Server>,
) -> Result<bool, String> {
    let env = env.map_err(|error| explain(&error))?;
    let start = Instant::now();
    let body = AssertUnwindSafe((scenario.body)(&env)).catch_unwind();
    let body = until_await(body, awaits.unwrap_or(usize::MAX));
    let result = env.within(PATIENCE, backend.guard(&env, body)).await;
    *time = Some(start.elapsed());
    let dropped = |why: String| match awaits {
        Some(awaits) => format!("{why} (dropped after {awaits} awaits)"),
        None => why,
    };
    match result {
        Some(Ok(Some(Ok(())))) => Ok(true),
        Some(Ok(Some(Err(panic)))) => Err(message(&*panic)),
        Some(Ok(None)) => aftermath(&env, server)
            .await
            .map_err(dropped)
            .map(|()| false),
        Some(Err(fault)) => Err(dropped(fault)),
        None => Err(dropped(format!("it hangs: no end after {PATIENCE:?}"))),
    }
}

/// After a scenario was dropped its client works, and nothing of it is left at its own server, whose faults may
/// still be to come.
async fn aftermath<E: Calls>(env: &E, server: Option<&Server>) -> Result<(), String> {
    let limit = Duration::from_secs(30);
    let Some(server) = server else {
        let get = api().get(env.place().namespace());
        return match env.within(limit, env.send(get)).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(format!("the client does not work: {}", explain(&error))),
            None => Err("the client does not answer".to_owned()),
        };
    };
    let left = || server.stats().websockets_open + server.stats().watches_open;
    let gone = async {
        while left() > 0 {
            env.pause(Duration::from_millis(2)).await;
        }
    };
    let gone = env.within(limit, gone).await;
    gone.ok_or_else(|| format!("{} sessions and watches are left", left()))
}

fn api() -> Api<Namespace> {
    Api::new()
}

async fn make_namespace<E: Calls>(keeper: &E) -> Result<String, String> {
    let mut namespace = Namespace::default();
    namespace.metadata.generate_name = Some(format!("{LABEL}-"));
    namespace.metadata.labels = Some([(LABEL.to_owned(), "true".to_owned())].into());
    let made = keeper.send(api().create(&namespace)).await;
    let made = made.map_err(|error| format!("no namespace: {}", explain(&error)))?;
    let name = made.metadata.name.ok_or("the namespace has no name")?;
    MADE.with(|made| {
        let mut names = made.take();
        names.push(name.clone());
        made.set(names);
    });
    Ok(name)
}

async fn delete_namespace<E: Calls>(keeper: &E, name: &str) {
    // If it fails, the farewell tells.
    let _ = keeper.send(api().delete(name)).await;
}

thread_local! {
    /// The namespaces that this thread's run has made.
    static MADE: Cell<Vec<String>> = const { Cell::new(Vec::new()) };
}

/// Waits until the namespaces are gone.
async fn farewell<E: Calls>(keeper: &E) -> Result<(), String> {
    let mut left = MADE.take();
    let gone = async {
        while let Some(name) = left.last() {
            match keeper.send(api().get(name).optional()).await {
                Ok(None) => drop(left.pop()),
                // Perhaps its deletion failed.
                Ok(Some(namespace)) if namespace.metadata.deletion_timestamp.is_none() => {
                    delete_namespace(keeper, name).await;
                }
                Ok(Some(_)) | Err(_) => {
                    // A scenario that did not come to its end may have left something that is held.
                    let held = Api::<ConfigMap>::namespaced(name).patch(HELD, free());
                    if keeper.send(held).await.is_err() {
                        keeper.pause(Duration::from_millis(200)).await;
                    }
                }
            }
        }
    };
    keeper.within(FAREWELL, gone).await;
    if left.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "these namespaces are still there: {}; they have the label {LABEL}",
            left.join(", ")
        ))
    }
}

/// An error with its causes.
pub(crate) fn explain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

thread_local! {
    /// Where the last panic of this thread was.
    static WHERE: Cell<Option<String>> = const { Cell::new(None) };
}

/// Panics of scenarios are reported with their place, not printed.
pub fn quiet_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let text = info.location().map(ToString::to_string);
        match text {
            Some(place) if place.contains("scenario") => WHERE.set(Some(place)),
            Some(_) | None => usual(info),
        }
    }));
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it panicked");
    match WHERE.take() {
        Some(place) => format!("{place}: {text}"),
        None => text.to_owned(),
    }
}
