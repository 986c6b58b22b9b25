//! Feeds an exchange as a transport would, and writes down what comes out.

use bytes::Bytes;
use http::response::Parts;
use kubewire::{Decode, End, Error, ErrorKind, Exchange};

/// How a fault reads, for comparing.
pub(crate) fn shown(error: &Error) -> String {
    format!("{:?}: {error}", error.kind())
}

pub(crate) fn head(status: u16) -> Parts {
    let mut response = http::Response::new(());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::OK);
    response.into_parts().0
}

/// What came out of an exchange: items and objects that were bad, in order, and the fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) items: Vec<Result<String, String>>,
    pub(crate) fault: Option<String>,
}

/// Feeds a whole answer with status 200. Between chunks the exchange may hold `bound` bytes.
pub(crate) fn drive<D: Decode>(
    exchange: &mut Exchange<D>,
    chunks: &[&[u8]],
    end: End,
    bound: usize,
    show: impl Fn(D::Item) -> String,
) -> Record {
    // Nothing can be more items than bytes.
    let fed: usize = chunks.iter().map(|chunk| chunk.len()).sum();
    drive_as(exchange, &head(200), chunks, end, bound, fed + 2, show)
}

/// The same with this head, and this many items at most.
pub(crate) fn drive_as<D: Decode>(
    exchange: &mut Exchange<D>,
    parts: &Parts,
    chunks: &[&[u8]],
    end: End,
    bound: usize,
    most: usize,
    show: impl Fn(D::Item) -> String,
) -> Record {
    let mut record = Record {
        items: Vec::new(),
        fault: None,
    };
    let fault = |result: Result<(), Error>, record: &mut Record| {
        if let Err(error) = result {
            let text = shown(&error);
            assert_eq!(record.fault.get_or_insert_with(|| text.clone()), &text);
        }
    };
    let poll = |exchange: &mut Exchange<D>, record: &mut Record| {
        for _ in 0..most {
            match exchange.poll_item() {
                Ok(Some(item)) => record.items.push(Ok(show(item))),
                Ok(None) => return,
                Err(error) if record.fault.as_ref() == Some(&shown(&error)) => return,
                Err(error) if error.kind() == ErrorKind::Object => {
                    record.items.push(Err(shown(&error)));
                }
                Err(error) => {
                    assert_eq!(record.fault, None, "faults repeat");
                    record.fault = Some(shown(&error));
                }
            }
        }
        panic!("polling does not end: {record:?}");
    };
    fault(exchange.handle_head(parts), &mut record);
    poll(exchange, &mut record);
    for chunk in chunks {
        if record.fault.is_none() {
            assert!(exchange.wants_data(), "drained, open and not interested");
        }
        fault(
            exchange.handle_data(Bytes::copy_from_slice(chunk)),
            &mut record,
        );
        poll(exchange, &mut record);
        if record.fault.is_none() {
            let held = exchange.buffered();
            assert!(held <= bound, "{held} bytes held, {bound} allowed");
        }
    }
    fault(exchange.handle_end(end), &mut record);
    poll(exchange, &mut record);
    assert!(!exchange.wants_data());
    assert!(record.fault.is_some() || exchange.is_done());
    if record.fault.is_some() {
        assert!(exchange.follow_up().is_none());
    }
    record
}
