//! Exec, attach and port-forward: `WebSockets` whose messages begin with a channel number.

mod attach;
mod exec;
mod frames;
mod handshake;
mod portforward;
mod session;
mod spdy;
mod tunnel;

use std::sync::Arc;

use hyper::upgrade::OnUpgrade;
use serde_json::Value;

use super::call::{Call, Target};
use super::logs;
use super::node::instance::Instance;
use super::reply::Reply;
use super::status::{Failure, Result};
use handshake::Protocol;
use session::Session;

/// What a session may open, by the query.
#[derive(Clone, Copy, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent query parameters"
)]
struct Wanted {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl Wanted {
    fn read(call: &Call) -> Self {
        let flag = |name: &str| call.query.flag(name).unwrap_or(false);
        let tty = flag("tty");
        // A terminal has one output.
        Self {
            stdin: flag("stdin"),
            stdout: flag("stdout"),
            stderr: flag("stderr") && !tty,
            tty,
        }
    }

    /// The channel of the first, empty message.
    fn first_channel(self) -> u8 {
        if self.stdout {
            1
        } else if self.stderr {
            2
        } else {
            3
        }
    }
}

/// Answers an upgrade request, or refuses it as API server or kubelet would.
pub(crate) fn serve(call: &Call, target: &Target, upgrading: Option<OnUpgrade>) -> Result<Reply> {
    if call.query.all("dryRun").any(|v| !v.is_empty()) {
        return Err(Failure::bad_request("dryRun is not supported"));
    }
    let forward = target.subresource == "portforward";
    let ports = if forward {
        portforward::ports(call)?
    } else {
        Vec::new()
    };
    let pod = call
        .app
        .store
        .get("pods", &target.key())
        .ok_or_else(|| target.not_found())?;
    let container = if forward {
        String::new()
    } else {
        logs::container(call, &pod, &target.name)?
    };
    if pod["spec"]["nodeName"]
        .as_str()
        .unwrap_or_default()
        .is_empty()
    {
        return Err(Failure::bad_request(format!(
            "pod {} does not have a host assigned",
            target.name
        )));
    }
    let Some(upgrading) = upgrading else {
        return Err(Failure::bad_request("Upgrade request required"));
    };
    handshake::check_accept(call)?;
    if !call
        .header("upgrade")
        .is_some_and(|u| u.eq_ignore_ascii_case("websocket"))
    {
        return Err(Failure::kubelet(400, "only WebSockets are served here\n"));
    }
    match target.subresource.as_str() {
        "exec" => exec(call, &pod, &container, upgrading),
        "attach" => attach(call, target, &pod, &container, upgrading),
        _ => port_forward(call, target, &pod, &ports, upgrading),
    }
}

/// What a session may open, and the instance it is for; `missing` says that it does not run.
fn running(
    call: &Call,
    pod: &Value,
    container: &str,
    missing: impl FnOnce() -> String,
) -> Result<(Wanted, Arc<Instance>)> {
    let wanted = Wanted::read(call);
    if !(wanted.stdin || wanted.stdout || wanted.stderr) {
        return Err(Failure::kubelet(
            400,
            "you must specify at least 1 of stdin, stdout, stderr",
        ));
    }
    let pod = call.app.node.pod(uid(pod));
    let instance = pod
        .and_then(|pod| pod.running(container))
        .ok_or_else(|| Failure::kubelet(500, missing()))?;
    Ok((wanted, instance))
}

fn exec(call: &Call, pod: &Value, container: &str, upgrading: OnUpgrade) -> Result<Reply> {
    let missing = || format!("container not found (\"{container}\")");
    let (wanted, instance) = running(call, pod, container, missing)?;
    let command: Vec<String> = call.query.all("command").map(str::to_owned).collect();
    let (response, protocol) = handshake::accept(call, handshake::remote_command)?;
    open(call, upgrading, protocol, move |session| {
        exec::run(session, protocol, wanted, instance, command)
    });
    Ok(response)
}

fn attach(
    call: &Call,
    target: &Target,
    pod: &Value,
    container: &str,
    upgrading: OnUpgrade,
) -> Result<Reply> {
    let missing = || {
        let (name, namespace) = (&target.name, &target.namespace);
        format!("container {container} not found in pod {name}_{namespace}")
    };
    let (wanted, instance) = running(call, pod, container, missing)?;
    if instance.terminal.is_some() && wanted.stderr {
        return Err(Failure::kubelet(
            500,
            "rpc error: code = InvalidArgument desc = tty and stderr cannot both be true",
        ));
    }
    let (response, protocol) = handshake::accept(call, handshake::remote_command)?;
    open(call, upgrading, protocol, move |session| {
        attach::run(session, protocol, wanted, instance)
    });
    Ok(response)
}

fn port_forward(
    call: &Call,
    target: &Target,
    pod: &Value,
    ports: &[u16],
    upgrading: OnUpgrade,
) -> Result<Reply> {
    let tunnel = handshake::offers_tunnel(call);
    if !tunnel {
        portforward::check_ports(ports)?;
    }
    let finished = matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    );
    let running = call.app.node.pod(uid(pod)).filter(|_| !finished);
    let Some(running) = running else {
        return Err(Failure::kubelet(
            500,
            format!("pod not found (\"{}_{}\")", target.name, target.namespace),
        ));
    };
    let (response, protocol) = handshake::accept(call, handshake::port_forward)?;
    if tunnel {
        open(call, upgrading, protocol, move |session| {
            tunnel::run(session, running)
        });
    } else {
        let ports = ports.to_vec();
        open(call, upgrading, protocol, move |session| {
            portforward::run(session, running, ports)
        });
    }
    Ok(response)
}

fn uid(pod: &Value) -> &str {
    pod["metadata"]["uid"].as_str().unwrap_or_default()
}

/// Runs a session once the connection is upgraded.
fn open<F>(
    call: &Call,
    upgrading: OnUpgrade,
    protocol: Protocol,
    run: impl FnOnce(Session) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let open = call.app.stats.websocket_opened();
    tokio::spawn(async move {
        // The client may have left before the upgrade.
        let Ok(upgraded) = upgrading.await else {
            return;
        };
        run(Session::new(upgraded, protocol.is_base64()).await).await;
        drop(open);
    });
}
