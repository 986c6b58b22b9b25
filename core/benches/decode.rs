//! What decoding takes: `cargo bench -p kubewire --features k8s-openapi --bench decode`.

#![allow(clippy::unwrap_used, reason = "a benchmark")]

use bytes::Bytes;
use divan::Bencher;
use divan::counter::BytesCount;
use k8s_openapi::api::core::v1::Pod;
use kubewire::stream::{ItemSplitter, Lines};
use kubewire::{Api, ApiResource, End, Exchange, Limits, Operation};

const POD: &str = include_str!("../tests/data/pod.json");
const OBJECTS: usize = 100;
/// As they come over HTTP/2.
const CHUNK: usize = 16 << 10;

fn main() {
    divan::main();
}

fn chunks(body: String) -> Vec<Bytes> {
    let body = Bytes::from(body);
    (0..body.len())
        .step_by(CHUNK)
        .map(|start| body.slice(start..body.len().min(start + CHUNK)))
        .collect()
}

fn list() -> Vec<Bytes> {
    let items = vec![POD; OBJECTS].join(",");
    chunks(format!(
        r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"7"}},"items":[{items}]}}"#
    ))
}

fn watch() -> Vec<Bytes> {
    let line = format!("{{\"type\":\"MODIFIED\",\"object\":{POD}}}\n");
    chunks(line.repeat(OBJECTS))
}

fn run<O: Operation + Clone>(bencher: Bencher<'_, '_>, body: &[Bytes], operation: &O) {
    let bytes: usize = body.iter().map(Bytes::len).sum();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        let mut exchange = begin(operation.clone());
        let mut items = 0;
        for chunk in body {
            exchange.handle_data(chunk.clone()).unwrap();
            while let Some(item) = exchange.poll_item().unwrap() {
                divan::black_box_drop(item);
                items += 1;
            }
        }
        exchange.handle_end(End::Clean).unwrap();
        items + usize::from(exchange.poll_item().unwrap().is_some())
    });
}

fn begin<O: Operation>(operation: O) -> Exchange<O::Decoder> {
    let (_, mut exchange) = operation.into_call().unwrap().begin(&Limits::default());
    let head = http::Response::new(()).into_parts().0;
    exchange.handle_head(&head).unwrap();
    exchange
}

fn pods() -> Api<Pod> {
    Api::all()
}

fn unknown() -> Api<kubewire::Dynamic> {
    Api::dynamic(ApiResource::core("Pod", "pods")).in_all_namespaces()
}

#[divan::bench]
fn split_lines(bencher: Bencher<'_, '_>) {
    let body = watch();
    bencher.bench(|| {
        let mut lines = Lines::new(usize::MAX);
        let mut count = 0;
        for chunk in &body {
            lines.push(chunk.clone()).unwrap();
            while lines.next_line().unwrap().is_some() {
                count += 1;
            }
        }
        count
    });
}

#[divan::bench]
fn split_items(bencher: Bencher<'_, '_>) {
    let body = list();
    bencher.bench(|| {
        let mut splitter = ItemSplitter::new(usize::MAX);
        let mut count = 0;
        for chunk in &body {
            splitter.push(chunk).unwrap();
            while splitter.next_item().is_some() {
                count += 1;
            }
        }
        count
    });
}

#[divan::bench]
fn list_collected(bencher: Bencher<'_, '_>) {
    run(bencher, &list(), &pods().list());
}

#[divan::bench]
fn list_streamed(bencher: Bencher<'_, '_>) {
    run(bencher, &list(), &pods().list().items());
}

#[divan::bench]
fn list_without_managed_fields(bencher: Bencher<'_, '_>) {
    let list_of_pods = pods().list().without_managed_fields();
    run(bencher, &list(), &list_of_pods.items());
}

#[divan::bench]
fn list_dynamic(bencher: Bencher<'_, '_>) {
    run(bencher, &list(), &unknown().list());
}

#[divan::bench]
fn watch_typed(bencher: Bencher<'_, '_>) {
    run(bencher, &watch(), &pods().watch());
}

#[divan::bench]
fn watch_without_managed_fields(bencher: Bencher<'_, '_>) {
    run(bencher, &watch(), &pods().watch().without_managed_fields());
}

#[divan::bench]
fn watch_dynamic(bencher: Bencher<'_, '_>) {
    run(bencher, &watch(), &unknown().watch());
}

/// What the parser alone takes for the same watch.
#[divan::bench]
fn floor_from_slice(bencher: Bencher<'_, '_>) {
    bencher.bench(|| {
        for _ in 0..OBJECTS {
            divan::black_box_drop(serde_json::from_slice::<Pod>(POD.as_bytes()).unwrap());
        }
    });
}
