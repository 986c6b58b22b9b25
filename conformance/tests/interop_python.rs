//! The official Python client as an independent client of the embedded server.
//!
//! Runs only if `KUBEWIRE_INTEROP_PYTHON` names a Python that has the package `kubernetes`.

use std::path::Path;
use std::time::Duration;

use kubewire_conformance::harness::{Interop, output};

const PATIENCE: Duration = Duration::from_mins(2);

#[test]
fn the_python_client_runs_a_session() {
    let Ok(python) = std::env::var("KUBEWIRE_INTEROP_PYTHON") else {
        println!("skipped: KUBEWIRE_INTEROP_PYTHON names no Python with the package kubernetes");
        return;
    };
    let interop = Interop::start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop_python.py");
    let mut command = interop.command(&python);
    let child = command.arg(script).arg(interop.kubeconfig()).spawn();
    let output = output(child.expect("Python starts"), PATIENCE);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(output.stdout, b"done\n");
}
