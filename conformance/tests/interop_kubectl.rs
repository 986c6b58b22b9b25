//! kubectl as an independent client of the embedded server. Skipped where it is not installed.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use kubewire_conformance::server::Server;

/// How long one command may take.
const PATIENCE: Duration = Duration::from_mins(1);

struct Kubectl {
    kubeconfig: PathBuf,
    folder: PathBuf,
    _server: Server,
}

impl Kubectl {
    /// None if there is no kubectl.
    fn start(name: &str) -> Option<Self> {
        if Command::new("kubectl")
            .args(["version", "--client"])
            .output()
            .is_err()
        {
            println!("skipped: kubectl is not installed");
            return None;
        }
        let folder = std::env::temp_dir().join(format!("kubewire-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let server = Server::builder()
            .tls(true)
            .start()
            .expect("the server starts");
        let kubeconfig = folder.join("config");
        std::fs::write(&kubeconfig, server.kubeconfig()).expect("the kubeconfig is written");
        Some(Self {
            kubeconfig,
            folder,
            _server: server,
        })
    }

    /// Runs one command with this input.
    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new("kubectl")
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.folder)
            .args(["--cache-dir", &self.folder.join("cache").to_string_lossy()])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("its input");
        stdin
            .write_all(input.as_bytes())
            .expect("it reads its input");
        drop(stdin);
        finish(child, arguments)
    }

    /// What a command prints that succeeds.
    fn ok(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Kubectl {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Waits for the end, in bounded time. The output of these commands fits into a pipe.
fn finish(mut child: Child, arguments: &[&str]) -> Output {
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().expect("its status").is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("kubectl {arguments:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().expect("its output")
}

const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"box"},"spec":{"terminationGracePeriodSeconds":0,
    "containers":[{"name":"main","image":"busybox","command":["sh","-c","echo started; sleep 3600"]}]}}"#;

#[test]
fn kubectl_reads_and_writes_objects() {
    let Some(kubectl) = Kubectl::start("objects") else {
        return;
    };
    let map = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"v"}}"#;
    kubectl.ok(
        &["apply", "--server-side", "--validate=false", "-f", "-"],
        map,
    );
    assert_eq!(
        kubectl.ok(&["get", "configmap", "a", "-o", "jsonpath={.data.k}"], ""),
        "v"
    );
    kubectl.ok(
        &[
            "patch",
            "configmap",
            "a",
            "--type=merge",
            "-p",
            r#"{"data":{"k":"w"}}"#,
        ],
        "",
    );
    assert!(
        kubectl
            .ok(&["describe", "configmap", "a"], "")
            .contains('w')
    );
    assert!(kubectl.ok(&["get", "namespaces"], "").contains("default"));
    kubectl.ok(&["delete", "configmap", "a"], "");
    let missing = kubectl.run(&["get", "configmap", "a"], "");
    assert!(String::from_utf8_lossy(&missing.stderr).contains("NotFound"));
}

#[test]
fn kubectl_runs_sessions_in_pods() {
    let Some(kubectl) = Kubectl::start("pods") else {
        return;
    };
    kubectl.ok(
        &["apply", "--server-side", "--validate=false", "-f", "-"],
        POD,
    );
    kubectl.ok(
        &["wait", "--for=condition=Ready", "pod/box", "--timeout=30s"],
        "",
    );
    assert_eq!(kubectl.ok(&["logs", "box"], ""), "started\n");

    assert_eq!(
        kubectl
            .ok(&["exec", "-i", "box", "--", "wc", "-c"], "12345")
            .trim(),
        "5"
    );
    let failed = kubectl.run(
        &[
            "exec",
            "box",
            "--",
            "sh",
            "-c",
            "echo out; echo err >&2; exit 3",
        ],
        "",
    );
    assert_eq!(failed.status.code(), Some(3));
    assert_eq!(failed.stdout, b"out\n");

    let (there, back) = (kubectl.path("there"), kubectl.path("back"));
    let content = "copied\n".repeat(10_000);
    std::fs::write(&there, &content).expect("a file");
    kubectl.ok(&["cp", &there, "box:/tmp/file"], "");
    kubectl.ok(&["cp", "box:/tmp/file", &back], "");
    assert!(std::fs::read_to_string(&back).expect("it came back") == content);
    kubectl.ok(&["delete", "pod", "box"], "");
}
