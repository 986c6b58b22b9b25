//! The official Python client as an independent client of the embedded server.
//!
//! Runs only if `KUBEWIRE_INTEROP_PYTHON` names a Python that has the package `kubernetes`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kubewire_conformance::server::Server;

const PATIENCE: Duration = Duration::from_mins(2);

#[test]
fn the_python_client_runs_a_session() {
    let Ok(python) = std::env::var("KUBEWIRE_INTEROP_PYTHON") else {
        println!("skipped: KUBEWIRE_INTEROP_PYTHON names no Python with the package kubernetes");
        return;
    };
    let folder = std::env::temp_dir().join(format!("kubewire-python-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let server = Server::builder()
        .tls(true)
        .start()
        .expect("the server starts");
    let kubeconfig = folder.join("config");
    std::fs::write(&kubeconfig, server.kubeconfig()).expect("the kubeconfig is written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop_python.py");
    let mut child = Command::new(python)
        .arg(script)
        .arg(&kubeconfig)
        .env("HOME", &folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().expect("its status").is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().expect("its output");
    let _ = std::fs::remove_dir_all(&folder);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(output.stdout, b"done\n");
}
