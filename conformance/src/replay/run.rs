//! One transcript under replay.

use kubewire::{Call, Decode, Error, Verb};
use serde_json::{Value, json};

use super::Report;
use super::compare::{Canonical, differences};
use super::expect::{Expectation, Shape};
use super::feed::{Answer, Cut, feed};
use super::transcript::{Body, Coding, Request, Response};

/// One transcript under replay.
pub(super) struct Run<'a> {
    pub(super) request: &'a Request,
    pub(super) response: &'a Response,
    pub(super) answer: Answer,
    pub(super) body: Body,
    pub(super) canonical: Canonical,
    pub(super) report: &'a mut Report,
    pub(super) faults: Vec<String>,
}

/// How one operation is to be judged.
pub(super) struct Check<'a> {
    pub(super) what: &'a str,
    pub(super) shape: Shape,
    /// The verb that the call should have; none if the request is not to be looked at.
    pub(super) verb: Option<Verb>,
    /// Whether the body is to be compared.
    pub(super) with_body: bool,
    pub(super) types: (String, String),
    pub(super) object: &'a dyn Fn(&Value) -> Option<Value>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        request: &'a Request,
        response: &'a Response,
        report: &'a mut Report,
    ) -> Result<Self, String> {
        let body = request.body()?;
        Ok(Self {
            request,
            response,
            answer: Answer::of(response)?,
            canonical: Canonical::recorded(request, &body),
            body,
            report,
            faults: Vec::new(),
        })
    }

    pub(super) fn count_answer(&mut self) {
        let what = match self.response.status {
            None => "no answer at all",
            Some(200..=299) if self.response.coding() == Coding::Gzip => "success, compressed",
            Some(200..=299) if self.response.coding() == Coding::Other => {
                "a content coding that was not asked for: refused"
            }
            Some(200..=299) => "success",
            Some(_) => "failure",
        };
        *self.report.answers.entry(what).or_default() += 1;
    }

    /// Feeds the answer to what `make` builds, in all cuts, and compares.
    pub(super) fn exercise<D: Decode>(
        &mut self,
        check: &Check<'_>,
        make: &dyn Fn() -> Result<Call<D>, Error>,
        see: &dyn Fn(D::Item) -> Value,
    ) {
        let expected = Expectation {
            response: self.response,
            answer: &self.answer,
            shape: check.shape,
            types: check.types.clone(),
            object: check.object,
            request: Some(&self.canonical.form),
        }
        .outcome();
        for cut in Cut::all(&self.request.target, self.answer.body.len()) {
            let outcome = make()
                .map_err(|error| format!("building it again failed: {error}"))
                .and_then(|call| feed(call, &self.answer, cut, check.shape.is_streaming(), see));
            self.report.feeds += 1;
            let differences = match outcome {
                Ok(mut got) => {
                    if check.shape == Shape::Chunks && expected["items"] != json!([]) {
                        // How a body comes is not what it is.
                        let pieces = got["items"].as_array().into_iter().flatten();
                        let body: String = pieces.filter_map(Value::as_str).collect();
                        got["items"] = json!([body]);
                    }
                    self.report.items += got["items"].as_array().map_or(0, Vec::len);
                    differences(&expected, &got)
                }
                Err(breach) => vec![breach],
            };
            if !differences.is_empty() {
                self.faults.push(format!(
                    "{}, answer cut {cut:?}:\n      {}",
                    check.what,
                    differences.join("\n      ")
                ));
                return;
            }
        }
    }

    /// Compares a request and exercises its answer.
    pub(super) fn call<D: Decode>(
        &mut self,
        check: &Check<'_>,
        make: &dyn Fn() -> Result<Call<D>, Error>,
        see: &dyn Fn(D::Item) -> Value,
    ) {
        let call = match make() {
            Ok(call) => call,
            Err(error) => {
                self.faults
                    .push(format!("{}: refused: {error}", check.what));
                return;
            }
        };
        if let Some(verb) = check.verb {
            let mut built = Canonical::built(call.request());
            let mut recorded = self.canonical.clone();
            if !check.with_body || self.body == Body::Omitted {
                built.ignore_body();
                recorded.ignore_body();
            }
            let mut differences = differences(&recorded.form, &built.form);
            if call.verb() != verb {
                differences.push(format!("verb {:?} instead of {verb:?}", call.verb()));
            }
            for (name, value) in call.request().headers() {
                let known = ["accept", "content-type", "accept-encoding"].contains(&name.as_str());
                let recorded = self.request.header(name.as_str());
                if !known && recorded.map(str::as_bytes) != Some(value.as_bytes()) {
                    differences.push(format!("header {name} is too much"));
                }
            }
            if !differences.is_empty() {
                self.faults.push(format!(
                    "{}, request:\n      {}",
                    check.what,
                    differences.join("\n      ")
                ));
            }
        }
        self.exercise(check, make, see);
    }
}

pub(super) fn raw_call<D: Decode>(request: &http::Request<bytes::Bytes>, decoder: D) -> Call<D> {
    Call::new(Verb::Raw, request.clone(), decoder)
}
