//! What an idle watch costs. Alone in its process, as it measures memory.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kubewire::{Api, Patch};
use kubewire_conformance::harness::{Harness, TokioMulti};
use kubewire_driver::Client;

const WATCHES: usize = 1000;

/// The server in a process of its own, so that the memory of this one is the client's.
struct ServerProcess {
    child: Child,
    kubeconfig: std::path::PathBuf,
}

impl ServerProcess {
    fn start() -> Self {
        let name = format!("kubewire-watches-{}.yaml", std::process::id());
        let kubeconfig = std::env::temp_dir().join(name);
        let mut child = Command::new(env!("CARGO_BIN_EXE_apiserver"))
            .args(["--tls", "--kubeconfig"])
            .arg(&kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let ready = output
            .lines()
            .map_while(Result::ok)
            .any(|line| line.starts_with("kubeconfig: "));
        assert!(ready, "the server says where its kubeconfig is");
        Self { child, kubeconfig }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.kubeconfig);
    }
}

/// The memory that is in use, in bytes; where the system tells.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    let kib: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

#[test]
fn an_idle_watch_costs_little_memory() {
    let server = ServerProcess::start();
    let config = kubewire_driver::load::from_file(
        &server.kubeconfig,
        kubewire::config::Overrides::default(),
    )
    .expect("the kubeconfig");
    TokioMulti::run(async |runtime| {
        let client = Client::builder(config, runtime).build().expect("a client");
        let maps = Api::<ConfigMap>::namespaced("default");
        let map = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}});
        client
            .send(maps.patch("one", Patch::apply(&map)).field_manager("test"))
            .await
            .expect("it is applied");
        let before = resident();
        let watches: Vec<_> = stream::iter(0..WATCHES)
            .map(|_| async {
                let mut watch = client.stream(maps.watch().fields("metadata.name=one"));
                watch
                    .next()
                    .await
                    .expect("an event")
                    .expect("which decodes");
                watch
            })
            .buffer_unordered(50)
            .collect()
            .await;
        let after = resident();
        let (Some(before), Some(after)) = (before, after) else {
            println!("skipped: this system does not tell how much memory is in use");
            return;
        };
        let each = after.saturating_sub(before) / WATCHES;
        println!(
            "{each} bytes of memory for each of {} idle watches, connections included",
            watches.len()
        );
        // The budget is 16 KiB in a release build; a debug build has larger futures.
        assert!(each < 64 << 10, "{each} bytes");
    });
}
