//! Lists pods over TLS, as the smallest program with kubewire on smol does.

use k8s_openapi::api::core::v1::Pod;
use kubewire_smol::{Client, kubewire::Api};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    smol::block_on(async {
        let client = Client::try_default()?;
        for pod in client.send(Api::<Pod>::new().list()).await?.items {
            println!("{}", pod.metadata.name.unwrap_or_default());
        }
        Ok(())
    })
}
