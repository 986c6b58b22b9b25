//! kubectl as an independent client of the embedded server. Skipped where it is not installed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Output};
use std::sync::mpsc;
use std::time::Duration;

use kubewire_conformance::harness::{Interop, output};

/// How long one command may take.
const PATIENCE: Duration = Duration::from_mins(1);

struct Kubectl(Interop);

impl Kubectl {
    /// None if there is no kubectl.
    fn start() -> Option<Self> {
        let version = Command::new("kubectl")
            .args(["version", "--client"])
            .output();
        if version.is_err() {
            println!("skipped: kubectl is not installed");
            return None;
        }
        Some(Self(Interop::start()))
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        self.0
            .command("kubectl")
            .arg("--cache-dir")
            .arg(self.0.home().join("cache"))
            .args(arguments)
            .spawn()
            .expect("kubectl starts")
    }

    /// Runs one command with this input.
    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self.spawn(arguments);
        let mut stdin = child.stdin.take().expect("its input");
        stdin
            .write_all(input.as_bytes())
            .expect("it reads its input");
        drop(stdin);
        output(child, PATIENCE)
    }

    /// Starts a command that goes on; its lines are read as they come.
    fn follow(&self, arguments: &[&str]) -> Following {
        let mut child = self.spawn(arguments);
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Following { child, lines }
    }

    fn apply(&self, object: &str) {
        let apply = ["apply", "--server-side", "--validate=false", "-f", "-"];
        self.ok(&apply, object);
    }

    /// What a command prints that succeeds.
    fn ok(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn path(&self, name: &str) -> String {
        self.0.home().join(name).to_string_lossy().into_owned()
    }
}

/// A command that prints until it is stopped.
struct Following {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Following {
    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line in time")
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"box"},"spec":{"terminationGracePeriodSeconds":0,
    "containers":[{"name":"main","image":"busybox","command":["sh","-c","echo started; sleep 3600"]}]}}"#;

#[test]
fn kubectl_reads_and_writes_objects() {
    let Some(kubectl) = Kubectl::start() else {
        return;
    };
    let map = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"v"}}"#;
    kubectl.apply(map);
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
    let Some(kubectl) = Kubectl::start() else {
        return;
    };
    kubectl.apply(POD);
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

#[test]
fn kubectl_prints_tables_and_watches() {
    let Some(kubectl) = Kubectl::start() else {
        return;
    };
    kubectl.apply(POD);
    kubectl.ok(
        &["wait", "--for=condition=Ready", "pod/box", "--timeout=30s"],
        "",
    );
    let table = kubectl.ok(&["get", "pods", "-o", "wide"], "");
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0][..4], ["NAME", "READY", "STATUS", "RESTARTS"]);
    assert_eq!(lines[1][..4], ["box", "1/1", "Running", "0"]);
    let json = kubectl.ok(&["get", "pods", "-o", "json"], "");
    let list: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(list["items"][0]["kind"], "Pod");

    let watch = kubectl.follow(&["get", "configmaps", "-w", "--no-headers"]);
    // The namespace's own.
    assert!(watch.line().starts_with("kube-root-ca.crt"));
    kubectl.apply(r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"seen"},"data":{}}"#);
    let cells = watch.line();
    let cells: Vec<&str> = cells.split_whitespace().collect();
    assert_eq!(cells[..2], ["seen", "0"]);
    let patch = r#"{"data":{"k":"w"}}"#;
    kubectl.ok(
        &["patch", "configmap", "seen", "--type=merge", "-p", patch],
        "",
    );
    let cells = watch.line();
    let cells: Vec<&str> = cells.split_whitespace().collect();
    assert_eq!(cells[..2], ["seen", "1"]);
}

#[test]
fn kubectl_scales() {
    let Some(kubectl) = Kubectl::start() else {
        return;
    };
    kubectl.apply(
        r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":1,
        "selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},
        "spec":{"containers":[{"name":"main","image":"example"}]}}}}"#,
    );
    kubectl.ok(&["scale", "deployment", "web", "--replicas=3"], "");
    let replicas = [
        "get",
        "deployment",
        "web",
        "-o",
        "jsonpath={.spec.replicas}",
    ];
    assert_eq!(kubectl.ok(&replicas, ""), "3");
    let refused = kubectl.run(
        &[
            "scale",
            "deployment",
            "web",
            "--current-replicas=1",
            "--replicas=0",
        ],
        "",
    );
    assert!(!refused.status.success());
    assert_eq!(kubectl.ok(&replicas, ""), "3");
}

#[test]
fn kubectl_follows_logs_and_attaches() {
    let Some(kubectl) = Kubectl::start() else {
        return;
    };
    let pod = |name: &str, rest: &str| {
        format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}"}},"spec":{{"restartPolicy":"Never",
            "terminationGracePeriodSeconds":0,"containers":[{{"name":"main","image":"busybox",{rest}}}]}}}}"#
        )
    };
    kubectl.apply(&pod(
        "reader",
        r#""command":["cat"],"stdin":true,"stdinOnce":true"#,
    ));
    kubectl.ok(
        &[
            "wait",
            "--for=condition=Ready",
            "pod/reader",
            "--timeout=30s",
        ],
        "",
    );
    let logs = kubectl.follow(&["logs", "-f", "reader"]);
    assert_eq!(kubectl.ok(&["attach", "-i", "reader"], "said\n"), "said\n");
    assert_eq!(logs.line(), "said");
    // It ends with the container.
    assert!(logs.lines.recv_timeout(PATIENCE).is_err());
    kubectl.ok(
        &[
            "wait",
            "--for=jsonpath={.status.phase}=Succeeded",
            "pod/reader",
            "--timeout=30s",
        ],
        "",
    );
}
