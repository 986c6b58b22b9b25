//! Pods as a Deployment makes them, of about 6 KB, a third of it managed fields.

use std::fmt::Write as _;
use std::ops::Range;

const POD: &str = include_str!("../../../core/tests/data/pod.json");

/// A small object.
pub const CONFIG_MAP: &str = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"settings","namespace":"default","uid":"f0a1f0a2-6a0c-4d4e-9e0e-111111111111","resourceVersion":"12345","creationTimestamp":"2026-11-23T06:19:55Z"},"data":{"colour":"green","size":"large"}}"#;

/// How objects are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// As they are.
    Full,
    /// Metadata only.
    Metadata,
}

/// One pod, without what a list says once for all.
fn pod(index: usize, view: View) -> String {
    let json = POD.replace("00000", &format!("{index:05}"));
    match view {
        View::Full => json,
        View::Metadata => {
            let end = json.find(r#","spec":"#).expect("a spec");
            format!("{}}}", &json[..end])
        }
    }
}

fn kind(view: View) -> &'static str {
    match view {
        View::Full => r#""kind":"Pod","apiVersion":"v1","#,
        View::Metadata => r#""kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","#,
    }
}

/// A page of a list of `total` pods.
#[must_use]
pub fn list(view: View, range: Range<usize>, total: usize) -> String {
    let (list, item) = match view {
        View::Full => (r#""kind":"PodList","apiVersion":"v1""#, ""),
        View::Metadata => (
            r#""kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1""#,
            kind(view),
        ),
    };
    let mut body = format!(r#"{{{list},"metadata":{{"resourceVersion":"200000""#);
    if range.end < total {
        let rest = total - range.end;
        let _ = write!(
            body,
            r#","continue":"{}","remainingItemCount":{rest}"#,
            range.end
        );
    }
    body.push_str(r#"},"items":["#);
    let start = range.start;
    for index in range {
        if index > start {
            body.push(',');
        }
        body.push('{');
        body.push_str(item);
        body.push_str(&pod(index, view)[1..]);
    }
    body.push_str("]}\n");
    body
}

/// A line of a watch.
#[must_use]
pub fn event(kind_of_event: &str, index: usize, view: View) -> String {
    let pod = pod(index, view);
    format!(
        "{{\"type\":\"{kind_of_event}\",\"object\":{{{}{}}}\n",
        kind(view),
        &pod[1..]
    )
}

/// The line that ends the initial events of a streaming list.
#[must_use]
pub fn initial_events_end(view: View) -> String {
    format!(
        "{{\"type\":\"BOOKMARK\",\"object\":{{{}\"metadata\":{{\"resourceVersion\":\"200000\",\"creationTimestamp\":null,\"annotations\":{{\"k8s.io/initial-events-end\":\"true\"}}}}}}}}\n",
        kind(view)
    )
}
