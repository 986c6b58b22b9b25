//! A reflector whose server says anything, in any order, and to requests that are over.
//!
//! Input: configuration, then operations until the end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kubewire::reflect::{
    Answers, Change, Freshness, ListMode, OnExpired, Reflector, ReflectorConfig, Store, WantId,
};
use kubewire::{Api, ApiResource, Dynamic, End, Error, ErrorKind, Exchange, Limits, Object};

use crate::drive::head;
use crate::input::Input;

const PODS: ApiResource = ApiResource::core("Pod", "pods");

/// There is one want at a time, and no id twice; what comes for another id does nothing; requests
/// stay below the bound of [`kubewire::reflect`]; no deadline is due twice at one time; the changes
/// that a store tells make what it lists.
///
/// # Panics
///
/// If that does not hold.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let config = ReflectorConfig::default()
        .list_mode(input.pick(&[ListMode::Streaming, ListMode::Paged]))
        .freshness(input.pick(&[Freshness::MostRecent, Freshness::Any]))
        .on_expired(input.pick(&[OnExpired::Restart, OnExpired::GoOn]));
    let pods = Api::<Dynamic>::dynamic(PODS).in_namespace("n");
    let start = Instant::now();
    let mut run = Run {
        reflector: Reflector::new(pods, config, u64::from(input.byte())).expect("a good one"),
        store: Store::new(),
        mirror: BTreeMap::new(),
        flights: Vec::new(),
        start,
        now: start,
        requests: 0,
        pages: 0,
    };
    run.pump();
    while !input.is_empty() {
        run.step(&mut input);
        run.pump();
    }
}

/// A request. The last one is the one that counts.
struct Flight {
    id: WantId,
    exchange: Exchange<Answers<Dynamic>>,
    opened: bool,
    cancelled: bool,
}

struct Run {
    reflector: Reflector<Dynamic>,
    store: Store<Dynamic>,
    /// What the changes of the store come to: versions by name.
    mirror: BTreeMap<String, String>,
    flights: Vec<Flight>,
    start: Instant,
    now: Instant,
    requests: u64,
    pages: u64,
}

fn entry(object: &Dynamic) -> (String, String) {
    let meta = object.meta();
    (
        meta.name.unwrap_or_default().to_owned(),
        meta.resource_version.unwrap_or_default().to_owned(),
    )
}

impl Run {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(10) {
            0 => self.now += Duration::from_millis(u64::from(input.short())),
            1 => self.now += Duration::from_secs(u64::from(input.byte())),
            2 => {
                if let Some((at, _)) = self.reflector.poll_timeout() {
                    self.now = self.now.max(at);
                }
            }
            op => self.answer(op, input),
        }
        for _ in 0..4 {
            self.reflector.handle_timeout(self.now);
        }
        let next = self.reflector.poll_timeout();
        // A want that waits to be fetched is due until it is.
        self.pump();
        let later = self.reflector.poll_timeout();
        assert!(
            next.is_none() || later.is_none_or(|(at, _)| at > self.now),
            "a busy loop: {later:?}"
        );
    }

    /// Something comes for one of the requests.
    fn answer(&mut self, op: usize, input: &mut Input<'_>) {
        let back = input.byte();
        let count = self.flights.len();
        // Mostly for the last one.
        let back = if back < 200 {
            0
        } else {
            usize::from(back - 199)
        };
        let Some(index) = count.checked_sub(1 + back) else {
            return;
        };
        let flight = &mut self.flights[index];
        let (id, now) = (flight.id, self.now);
        let before = (index + 1 < count).then(|| format!("{:?}", self.reflector));
        let name = input.below(5);
        let version = input.below(40);
        let meta = format!(r#""namespace":"n","name":"p{name}","resourceVersion":"{version}""#);
        let mut body = String::new();
        match op {
            3 | 4 => {
                let kind = input.pick(&["ADDED", "MODIFIED", "DELETED"]);
                body = format!(r#"{{"type":"{kind}","object":{{"metadata":{{{meta}}}}}}}"#);
            }
            5 => {
                let end =
                    input.pick(&["", r#","annotations":{"k8s.io/initial-events-end":"true"}"#]);
                body = format!(
                    r#"{{"type":"BOOKMARK","object":{{"metadata":{{"resourceVersion":"{version}"{end}}}}}}}"#
                );
            }
            6 => {
                let token = input.pick(&["", r#","continue":"more""#]);
                body = format!(
                    r#"{{"kind":"PodList","metadata":{{"resourceVersion":"{version}"{token}}},"items":[{{"metadata":{{{meta}}}}}]}}"#
                );
            }
            7 => {
                let text: &str = input
                    .pick(&[
                        r#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","code":410,"reason":"Expired"}}"#,
                        r#"{"type":"ADDED","object":{"metadata":{"namespace":"n","name":"p1","labels":7}}}"#,
                        r#"{"type":"DELETED","object":{"metadata":{"namespace":"n","name":"p2","labels":7}}}"#,
                        r#"{"type":"ADDED","object":7}"#,
                        r#"{"type":"NEW","object":{}}"#,
                        "garbage",
                    ]);
                body.push_str(text);
            }
            8 => {
                let code = input.pick(&[410, 404, 405, 422, 429, 500, 504, 403, 400, 200]);
                if !flight.opened {
                    flight.opened = true;
                    let _ = flight.exchange.handle_head(&head(code));
                }
            }
            _ => {
                let which = input.below(4);
                if which == 3 {
                    let error = Error::new(ErrorKind::Transport, "reset");
                    self.reflector.handle_error(id, error, now);
                } else {
                    let end = [End::Clean, End::Truncated][which % 2];
                    let _ = flight.exchange.handle_end(end);
                    Self::deliver(&mut self.reflector, flight, now);
                    self.reflector.handle_end(id, Ok(end), now);
                }
            }
        }
        if !body.is_empty() {
            if !flight.opened {
                flight.opened = true;
                let _ = flight.exchange.handle_head(&head(200));
            }
            body.push('\n');
            let _ = flight.exchange.handle_data(Bytes::from(body));
            if op == 6 {
                let _ = flight.exchange.handle_end(End::Clean);
            }
        }
        Self::deliver(&mut self.reflector, flight, now);
        if let Some(before) = before {
            assert_eq!(
                before,
                format!("{:?}", self.reflector),
                "of another request"
            );
        }
    }

    fn deliver(reflector: &mut Reflector<Dynamic>, flight: &mut Flight, now: Instant) {
        for _ in 0..10_000 {
            match flight.exchange.poll_item() {
                Ok(Some(answer)) => reflector.handle_answer(flight.id, answer, now),
                Ok(None) => return,
                Err(error) => {
                    let goes_on = error.kind() == ErrorKind::Object;
                    reflector.handle_error(flight.id, error, now);
                    if !goes_on {
                        return;
                    }
                }
            }
        }
        panic!("polling does not end");
    }

    fn pump(&mut self) {
        if let Some(id) = self.reflector.poll_cancel()
            && let Some(flight) = self.flights.iter_mut().find(|flight| flight.id == id)
        {
            assert!(!flight.cancelled, "cancelled twice");
            flight.cancelled = true;
        }
        while let Some(event) = self.reflector.poll_event() {
            for change in self.store.apply(event) {
                let (name, version) = entry(change.object());
                match &change {
                    Change::Added(_) => {
                        assert_eq!(self.mirror.insert(name, version), None, "added twice");
                    }
                    Change::Updated { old, .. } => {
                        let before = self.mirror.insert(name, version);
                        assert_eq!(before, Some(entry(old).1), "another one was there");
                    }
                    Change::Deleted(_) | _ => {
                        assert!(self.mirror.remove(&name).is_some(), "removed twice");
                    }
                }
            }
        }
        let listed: BTreeMap<_, _> = self.store.list().map(|object| entry(object)).collect();
        assert_eq!(listed, self.mirror);
        assert_eq!(self.store.len(), self.mirror.len());
        if let Some((id, want)) = self.reflector.poll_want(self.now) {
            assert!(
                self.flights.iter().all(|flight| flight.id != id),
                "used before"
            );
            let query = want.request().uri().query().unwrap_or_default();
            self.pages += u64::from(query.contains("continue="));
            self.requests += 1;
            let (_, exchange) = want.into_call().begin(&Limits::default());
            self.flights.push(Flight {
                id,
                exchange,
                opened: false,
                cancelled: false,
            });
            assert!(
                self.reflector.poll_want(self.now).is_none(),
                "two at a time"
            );
        }
        let passed = self.now.duration_since(self.start).as_secs();
        let bound = 30 + passed / 4 + self.pages;
        assert!(self.requests <= bound, "{} requests", self.requests);
    }
}
