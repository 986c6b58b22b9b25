//! An exchange under any order of calls.
//!
//! Input: decoder, status, flags, limit, headers, then operations until the end.

use bytes::Bytes;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, HeaderName, HeaderValue, RETRY_AFTER, WARNING,
};
use http::response::Parts;
use kubewire::stream::{LogLines, Watch};
use kubewire::{
    Api, ApiResource, Call, Decode, Dynamic, End, Error, ErrorKind, Exchange, Limits, Operation,
    Raw, Verb,
};

use crate::drive::{head, shown};
use crate::input::Input;

const PODS: ApiResource = ApiResource::core("Pod", "pods");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Body,
    Failure,
    Done,
}

/// Which rules the decoder adds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unary,
    /// A missing object is a result.
    Optional,
    Stream,
}

/// In any order of head, data, end and poll: what is out of order is refused as
/// [`ErrorKind::Usage`]; faults are terminal and repeat; items that were complete come before them;
/// polling ends; failed answers become one error with their status; and what is held is bounded.
///
/// # Panics
///
/// If that does not hold.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let which = input.below(8);
    let limits = match input.below(3) {
        0 => Limits::default(),
        1 => Limits {
            max_body: 100,
            max_line: 50,
            max_item: 50,
            max_error_body: 20,
            ..Limits::default()
        },
        _ => Limits {
            max_body: 0,
            max_line: 0,
            max_item: 0,
            max_error_body: 0,
            ..Limits::default()
        },
    };
    let api = Api::dynamic(PODS).in_namespace("a");
    let get = || Call::new(Verb::Get, http::Request::default(), Raw::default());
    match which {
        0 => torment(get(), &limits, Kind::Unary, input),
        1 => torment(call(api.get("b")), &limits, Kind::Unary, input),
        2 => torment(
            call(api.get("b").optional()),
            &limits,
            Kind::Optional,
            input,
        ),
        3 => torment(call(api.list()), &limits, Kind::Unary, input),
        4 => torment(call(api.list().items()), &limits, Kind::Stream, input),
        5 => torment(call(api.delete("b")), &limits, Kind::Unary, input),
        6 => {
            let watch = Watch::<Dynamic>::new(PODS);
            let call = Call::new(Verb::Watch, http::Request::default(), watch);
            torment(call, &limits, Kind::Stream, input);
        }
        _ => {
            let call = Call::new(Verb::Get, http::Request::default(), LogLines::new());
            torment(call, &limits, Kind::Stream, input);
        }
    }
}

fn call<O: Operation>(operation: O) -> Call<O::Decoder> {
    operation.into_call().expect("a good operation")
}

fn read_head(input: &mut Input<'_>) -> Parts {
    let status = match input.below(4) {
        0 | 1 => 200,
        2 => input.pick(&[404, 409, 410, 429, 500, 204, 302, 403]),
        _ => 100 + input.short() % 900,
    };
    let mut head = head(status);
    for _ in 0..input.below(4) {
        let name = match input.below(5) {
            0 => WARNING,
            1 => RETRY_AFTER,
            2 => CONTENT_LENGTH,
            3 => CONTENT_ENCODING,
            _ => HeaderName::from_static("audit-id"),
        };
        if let Ok(value) = HeaderValue::from_bytes(input.piece()) {
            head.headers.append(name, value);
        }
    }
    head
}

/// What must be true after what was done.
struct Model {
    stage: Stage,
    kind: Kind,
    status: http::StatusCode,
    fault: Option<String>,
    fed: usize,
    /// What was fed to a failed answer.
    failure: Vec<u8>,
    items: usize,
}

impl Model {
    fn settle(&mut self, result: Result<(), Error>, allowed: &[ErrorKind]) {
        match (result, &self.fault) {
            (Ok(()), None) => {}
            (Ok(()), Some(fault)) => panic!("{fault} does not repeat"),
            (Err(error), Some(fault)) => assert_eq!(&shown(&error), fault, "faults repeat"),
            (Err(error), None) => {
                assert!(allowed.contains(&error.kind()), "{error:?}");
                self.fault = Some(shown(&error));
                self.stage = Stage::Done;
            }
        }
    }
}

fn torment<D: Decode>(call: Call<D>, limits: &Limits, kind: Kind, mut input: Input<'_>) {
    use ErrorKind::{Api, Limit, Object, Peer, Truncated, Usage};
    let (_, mut exchange) = call.begin(limits);
    let mut model = Model {
        stage: Stage::Head,
        kind,
        status: http::StatusCode::OK,
        fault: None,
        fed: 0,
        failure: Vec::new(),
        items: 0,
    };
    let mut ended = false;
    while !ended {
        // The last thing is always an end.
        ended = input.is_empty();
        let op = if ended { 7 } else { input.below(8) };
        let stage = model.stage;
        match op {
            0 => {
                let head = read_head(&mut input);
                let result = exchange.handle_head(&head);
                if stage == Stage::Head && model.fault.is_none() {
                    model.status = head.status;
                    model.stage = if head.status.is_success() {
                        Stage::Body
                    } else {
                        Stage::Failure
                    };
                    model.settle(result, &[Peer]);
                } else {
                    model.settle(result, &[Usage]);
                    assert!(model.fault.is_some());
                }
                assert!(
                    exchange
                        .warnings()
                        .iter()
                        .all(|warning| warning.code < 1000)
                );
            }
            1..=3 => {
                let chunk = input.piece();
                let result = exchange.handle_data(Bytes::copy_from_slice(chunk));
                model.fed += chunk.len();
                match stage {
                    Stage::Body => model.settle(result, &[Peer, Limit, Object]),
                    Stage::Failure => {
                        model.failure.extend_from_slice(chunk);
                        model.settle(result, &[]);
                    }
                    Stage::Head | Stage::Done => {
                        model.settle(result, &[Usage]);
                        assert!(model.fault.is_some());
                    }
                }
            }
            4 | 5 => {
                poll(&mut exchange, &mut model);
            }
            6 => {
                let (again, done) = (exchange.wants_data(), exchange.is_done());
                assert!(!(again && done));
                assert!(!(again && (model.fault.is_some() || stage == Stage::Done)));
            }
            _ => {
                let end = if input.flag() {
                    End::Truncated
                } else {
                    End::Clean
                };
                let result = exchange.handle_end(end);
                model.stage = Stage::Done;
                let failure = result.as_ref().err().cloned();
                match stage {
                    Stage::Head => {
                        model.settle(result, &[Truncated]);
                        assert!(model.fault.is_some());
                    }
                    Stage::Body => model.settle(result, &[Truncated, Peer, Limit]),
                    Stage::Failure => {
                        if model.fault.is_none() {
                            check_failure(failure.as_ref(), &model, limits);
                        }
                        model.settle(result, &[Api]);
                    }
                    Stage::Done => model.settle(result, &[]),
                }
            }
        }
        assert!(exchange.buffered() <= model.fed);
        if model.stage == Stage::Failure {
            assert!(exchange.buffered() <= limits.max_error_body);
        }
    }
    afterwards(&mut exchange, &mut model);
}

/// After an end, whatever comes.
fn afterwards<D: Decode>(exchange: &mut Exchange<D>, model: &mut Model) {
    if poll(exchange, model) {
        return;
    }
    assert!(!exchange.wants_data());
    if model.fault.is_some() {
        assert!(exchange.follow_up().is_none());
        // Whatever comes now, it stays that way.
        model.settle(exchange.handle_head(&head(200)), &[]);
        model.settle(exchange.handle_data(Bytes::from_static(b"{}\n")), &[]);
        model.settle(exchange.handle_end(End::Clean), &[]);
        poll(exchange, model);
    } else {
        assert!(exchange.is_done());
    }
    if model.kind != Kind::Stream {
        assert!(model.items <= 1);
    }
}

fn check_failure(error: Option<&Error>, model: &Model, limits: &Limits) {
    let Some(error) = error else {
        assert!(
            model.kind == Kind::Optional,
            "a failed answer is no success"
        );
        return;
    };
    assert_eq!(error.code(), Some(model.status));
    let body = error.body().expect("a failed answer has a body");
    assert!(model.failure.starts_with(body));
    assert_eq!(body.len(), model.failure.len().min(limits.max_error_body));
    assert!(!(model.kind == Kind::Optional && error.is_not_found()));
}

/// Polls to the end. Whether that is a single answer that does not decode: it fails for good, with the same
/// kind of error as an item of a stream.
fn poll<D: Decode>(exchange: &mut Exchange<D>, model: &mut Model) -> bool {
    let mut last = None;
    for _ in 0..model.fed + 3 {
        match exchange.poll_item() {
            Ok(Some(_)) => model.items += 1,
            Ok(None) => {
                assert!(model.fault.is_none(), "faults repeat");
                assert!(model.stage != Stage::Done || exchange.is_done());
                return false;
            }
            Err(error) if model.fault.is_none() && error.kind() != ErrorKind::Object => {
                model.fault = Some(shown(&error));
                model.stage = Stage::Done;
            }
            Err(error) if model.fault.as_ref() == Some(&shown(&error)) => return false,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Object, "{:?}", model.fault);
                if last.replace(shown(&error)) == Some(shown(&error)) {
                    return true;
                }
            }
        }
    }
    panic!("polling does not end");
}
