//! Much through a forwarded port.

use futures_util::future::join;
use k8s_openapi::api::core::v1::Pod;
use kubewire::Api;
use kubewire_conformance::harness::{Harness, Smol, TokioMulti, run_pod, wait_for_port};

/// 256 MiB each way, compared byte by byte.
fn a_quarter_of_a_gibibyte<H: Harness>() {
    kubewire_conformance::harness::scenario::<H>(async |_, client, runtime| {
        run_pod(&client, "box", "nc -lk -p 7000 -e cat").await;
        let forwarder = client
            .forward(Api::<Pod>::namespaced("default").port_forward_tunnel("box"))
            .await
            .expect("a tunnel");
        wait_for_port(&runtime, &forwarder, 7000).await;
        let (mut reader, mut writer) = forwarder.connect(7000).await.expect("a connection").split();
        let block: Vec<u8> = (0..1_u32 << 20)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let write = async {
            for _ in 0..256 {
                writer.write_all(&block).await.expect("the echo reads");
            }
            writer.finish().expect("tunnels have a half-close");
        };
        let read = async {
            let mut at = 0;
            while let Some(chunk) = reader.chunk().await {
                let mut rest = &chunk[..];
                while !rest.is_empty() {
                    let from = at % block.len();
                    let n = rest.len().min(block.len() - from);
                    assert!(rest[..n] == block[from..from + n], "byte {at} is wrong");
                    (at, rest) = (at + n, &rest[n..]);
                }
            }
            at
        };
        let ((), total) = join(write, read).await;
        assert_eq!(total, 256 << 20);
    });
}

#[test]
fn a_quarter_of_a_gibibyte_is_byte_exact_on_tokio() {
    a_quarter_of_a_gibibyte::<TokioMulti>();
}

#[test]
fn a_quarter_of_a_gibibyte_is_byte_exact_on_smol() {
    a_quarter_of_a_gibibyte::<Smol>();
}
