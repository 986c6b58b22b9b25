//! Lists pods over TLS, as the smallest program with kubewire on tokio does.

use k8s_openapi::api::core::v1::Pod;
use kubewire_tokio::{Client, kubewire::Api};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::try_default()?;
    for pod in client.send(Api::<Pod>::new().list()).await?.items {
        println!("{}", pod.metadata.name.unwrap_or_default());
    }
    Ok(())
}
