//! What requests and decoding cost in allocations and memory. The figures are printed: `--nocapture`.

#![allow(clippy::unwrap_used, reason = "a test")]
#![cfg(feature = "k8s-openapi")]

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use kubewire::stream::WatchEvent;
use kubewire::{Api, ApiResource, Decode, Dynamic, End, Exchange, Limits, Operation};

const PODS: usize = 10_000;

/// A pod of about 6 KB as a Deployment makes it, a third of it managed fields.
const POD: &str = include_str!("data/pod.json");

/// The body of a list in chunks of 16 KiB, made while it is read.
struct Body {
    template: String,
    next: usize,
    pending: Vec<u8>,
    len: usize,
}

impl Body {
    fn new() -> Self {
        let head = br#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"12345"},"items":["#;
        Self {
            template: POD.to_owned(),
            next: 0,
            pending: head.to_vec(),
            len: 0,
        }
    }
}

impl Iterator for Body {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while self.pending.len() < 16 << 10 && self.next < PODS {
            if self.next > 0 {
                self.pending.push(b',');
            }
            let start = self.pending.len();
            self.pending.extend(self.template.as_bytes());
            let digits = format!("{:05}", self.next);
            let name = start + self.template.find("-00000").unwrap() + 1;
            self.pending[name..name + 5].copy_from_slice(digits.as_bytes());
            self.next += 1;
            if self.next == PODS {
                self.pending.extend(b"]}\n");
            }
        }
        let end = self.pending.len().min(16 << 10);
        let chunk: Vec<u8> = self.pending.drain(..end).collect();
        self.len += chunk.len();
        (!chunk.is_empty()).then(|| chunk.into())
    }
}

fn pods() -> Api<Pod> {
    Api::all()
}

fn begin<O: Operation>(operation: O) -> Exchange<O::Decoder> {
    let (_, mut exchange) = operation.into_call().unwrap().begin(&Limits::default());
    exchange
        .handle_head(&http::Response::new(()).into_parts().0)
        .unwrap();
    exchange
}

fn kib(bytes: u64) -> u64 {
    bytes >> 10
}

fn current(info: &AllocationInfo) -> u64 {
    u64::try_from(info.bytes_current).unwrap()
}

#[test]
fn requests_are_built_in_few_allocations() {
    let maps = Api::dynamic(ApiResource::core("ConfigMap", "configmaps")).in_namespace("default");
    let inherit = Api::dynamic(ApiResource::core("ConfigMap", "configmaps"));
    let mut kept = Vec::with_capacity(8);
    let get = measure(|| {
        kept.push(
            maps.get("settings")
                .into_call()
                .unwrap()
                .request()
                .uri()
                .path()
                .len(),
        );
    });
    let inherited = measure(|| {
        let call = inherit
            .get("settings")
            .into_call_in(Some("default"))
            .unwrap();
        kept.push(call.request().uri().path().len());
    });
    let list = measure(|| {
        kept.push(
            maps.list()
                .limit(500)
                .into_call()
                .unwrap()
                .request()
                .uri()
                .path()
                .len(),
        );
    });
    let selected = measure(|| {
        let call = maps
            .list()
            .labels("app=web")
            .limit(500)
            .into_call()
            .unwrap();
        kept.push(call.request().uri().path().len());
    });
    println!(
        "allocations of a request: get {}, get in the client's namespace {}, list {}, list with a selector {}",
        get.count_total, inherited.count_total, list.count_total, selected.count_total
    );
    assert!(
        get.count_total <= 3 && inherited.count_total <= 4,
        "{get:?} {inherited:?}"
    );
    assert!(
        list.count_total <= 4 && selected.count_total <= 5,
        "{list:?} {selected:?}"
    );
}

#[test]
fn a_dynamic_object_costs_no_more_than_a_typed_one() {
    let json = POD;
    let typed = measure(|| drop(serde_json::from_str::<Pod>(json).unwrap()));
    let dynamic = measure(|| drop(serde_json::from_str::<Dynamic>(json).unwrap()));
    println!(
        "allocations of a pod of {} bytes: typed {}, dynamic {}",
        json.len(),
        typed.count_total,
        dynamic.count_total
    );
    assert!(dynamic.count_total * 10 <= typed.count_total * 13);
}

#[test]
fn a_streamed_list_holds_an_item_and_a_chunk() {
    for skip in [false, true] {
        let mut list = pods().list();
        if skip {
            list = list.without_managed_fields();
        }
        let mut seen = 0;
        let info = measure(|| {
            let mut exchange = begin(list.items());
            for chunk in Body::new() {
                exchange.handle_data(chunk).unwrap();
                while let Some(pod) = exchange.poll_item().unwrap() {
                    assert_eq!(pod.metadata.managed_fields.is_none(), skip);
                    seen += 1;
                }
            }
            exchange.handle_end(End::Clean).unwrap();
        });
        println!(
            "{PODS} pods streamed, managed fields {}: peak {} KiB, {} allocations a pod (making the body included)",
            if skip { "skipped" } else { "kept" },
            kib(info.bytes_max),
            info.count_total / PODS as u64,
        );
        assert_eq!(seen, PODS);
        assert!(info.bytes_max < 1_500 << 10, "{info:?}");
    }
}

#[test]
fn a_collected_list_holds_the_result() {
    fn collect<O, K>(operation: O, what: &str)
    where
        O: Operation,
        O::Decoder: Decode<Item = kubewire::stream::List<K>>,
    {
        let mut result = None;
        let mut body = Body::new();
        let info = measure(|| {
            let mut exchange = begin(operation);
            for chunk in &mut body {
                exchange.handle_data(chunk).unwrap();
            }
            exchange.handle_end(End::Clean).unwrap();
            result = exchange.poll_item().unwrap();
        });
        let list = result.unwrap();
        assert_eq!(list.items.len(), PODS);
        let over = info.bytes_max - current(&info);
        println!(
            "{PODS} pods collected, {what}: body {} KiB, result {} KiB, peak {} KiB over it",
            kib(body.len as u64),
            kib(current(&info)),
            kib(over)
        );
        assert!(over < body.len as u64 / 20, "{info:?}");
    }
    collect(pods().list(), "typed");
    let dynamic = Api::dynamic(ApiResource::core("Pod", "pods")).in_all_namespaces();
    collect(dynamic.list(), "dynamic");
    collect(dynamic.metadata().list(), "metadata");
}

#[test]
fn skipping_managed_fields_saves_most_of_their_cost() {
    let json = POD;
    let line = Bytes::from(format!("{{\"type\":\"ADDED\",\"object\":{json}}}\n"));
    let cost = |skip: bool| {
        let mut watch = pods().watch();
        if skip {
            watch = watch.without_managed_fields();
        }
        let mut exchange = begin(watch);
        // The first event pays for the buffer.
        let mut once = || {
            exchange.handle_data(line.clone()).unwrap();
            let event = exchange.poll_item().unwrap().unwrap();
            assert!(matches!(event, WatchEvent::Added(_)));
            assert!(exchange.poll_item().unwrap().is_none());
        };
        once();
        measure(once).count_total
    };
    let (kept, skipped) = (cost(false), cost(true));
    let mut without: serde_json::Value = serde_json::from_str(json).unwrap();
    without["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("managedFields");
    let without = without.to_string();
    let bare = measure(|| drop(serde_json::from_str::<Pod>(&without).unwrap())).count_total;
    println!(
        "allocations of a watch event: {kept}, managed fields skipped {skipped}, a pod that has none {bare}"
    );
    assert!(skipped <= bare + 4);
}
