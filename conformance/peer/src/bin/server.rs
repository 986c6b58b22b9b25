//! Prints where it listens, in JSON, and serves until standard input ends.

use std::io::Read as _;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let addresses = runtime
        .block_on(kubewire_peer::server::start())
        .expect("a server");
    println!("{}", serde_json::json!(addresses));
    // Its threads go on serving.
    let _ = std::io::stdin().read(&mut [0]);
}
