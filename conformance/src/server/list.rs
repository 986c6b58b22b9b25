//! Lists and single reads.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::call::{Call, Target};
use super::negotiate;
use super::reply::{self, Reply};
use super::selector::Selector;
use super::status::{Cause, Failure, Qualified, Result};
use super::store::Object;
use super::time::parse_go_duration;

/// Go's decoder does not mind bits that are left over.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone),
);

/// How long a read waits for a revision that is still to come.
const FUTURE_REVISION_WAIT: Duration = Duration::from_secs(3);

pub(crate) async fn get(call: &Call, target: &Target) -> Result<Reply> {
    negotiate::accept(&call.headers, &call.query, false)?;
    if let Some(wanted) =
        parse_version(call.query.text("resourceVersion")).map_err(Failure::unclassified)?
    {
        wait_for(call, wanted).await?;
    }
    let object = call
        .app
        .store
        .get(&target.kind.storage(), &target.key())
        .ok_or_else(|| target.not_found())?;
    reply::object(call, &target.kind, 200, &object)
}

/// A resourceVersion: `None` if empty or `0`.
fn parse_version(text: &str) -> std::result::Result<Option<u64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<u64>() {
        Ok(0) => Ok(None),
        Ok(version) => Ok(Some(version)),
        Err(_) => Err(format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        )),
    }
}

/// Waits until the store has reached `wanted`.
async fn wait_for(call: &Call, wanted: u64) -> Result<()> {
    let limit = match call.query.get("timeout").and_then(parse_go_duration) {
        Some(limit) if limit > Duration::ZERO && limit < FUTURE_REVISION_WAIT => limit,
        _ => FUTURE_REVISION_WAIT,
    };
    let mut revisions = call.app.store.subscribe();
    let reached = tokio::time::timeout(limit, revisions.wait_for(|r| *r >= wanted)).await;
    match reached {
        Ok(Ok(_)) => Ok(()),
        _ if limit < FUTURE_REVISION_WAIT => Err(Failure::request_timeout()),
        _ => Err(Failure::resource_version_too_large(
            wanted,
            call.app.store.revision(),
        )),
    }
}

/// A continue token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Continue {
    /// -1: whatever there is now.
    pub(crate) revision: i64,
    /// The first key of the next page, relative to the collection.
    pub(crate) start: String,
}

impl Continue {
    pub(crate) fn encode(&self) -> String {
        let mut text =
            format!(r#"{{"v":"meta.k8s.io/v1","rv":{},"start":"#, self.revision).into_bytes();
        super::encode::string(&mut text, &self.start);
        text.push(b'}');
        URL_SAFE_NO_PAD.encode(text)
    }

    pub(crate) fn decode(token: &str) -> Result<Self> {
        let invalid = |why: String| {
            Failure::bad_request(format!(
                "invalid continue token: continue key is not valid: {why}"
            ))
        };
        let bytes = LENIENT
            .decode(token.trim_end_matches('='))
            .map_err(|_| invalid("illegal base64 data".into()))?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| {
            let first = bytes.first().copied().unwrap_or_default();
            let shown = if first.is_ascii_graphic() {
                char::from(first).to_string()
            } else {
                format!("\\u{first:04x}")
            };
            invalid(format!(
                "invalid character '{shown}' looking for beginning of value"
            ))
        })?;
        if value["v"] != "meta.k8s.io/v1" {
            return Err(invalid(
                "server does not recognize this encoded version \"\"".into(),
            ));
        }
        let revision = value["rv"].as_i64().filter(|r| *r != 0);
        let revision = revision.ok_or_else(|| {
            invalid("incorrect encoded start resourceVersion (version meta.k8s.io/v1)".into())
        })?;
        let start = value["start"].as_str().unwrap_or_default();
        if start.is_empty() || start.contains("..") {
            return Err(invalid(
                "encoded start key empty (version meta.k8s.io/v1)".into(),
            ));
        }
        Ok(Self {
            revision,
            start: start.trim_start_matches('/').to_owned(),
        })
    }
}

/// Refuses what the combination of parameters forbids.
pub(crate) fn validate_options(call: &Call, watch: bool) -> Result<()> {
    let field = "resourceVersionMatch";
    let (version, matching) = (call.query.text("resourceVersion"), call.query.text(field));
    let initial = call.query.flag("sendInitialEvents");
    let mut causes = Vec::new();
    if watch {
        if initial.is_some() && matching != "NotOlderThan" {
            let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            causes.push(Cause::forbidden(field, detail));
        }
        if !matching.is_empty() {
            if initial.is_none() {
                let detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                causes.push(Cause::forbidden(field, detail));
            }
            if matching != "NotOlderThan" {
                causes.push(Cause::not_supported(
                    field,
                    &format!("{matching:?}"),
                    "\"NotOlderThan\"",
                ));
            }
            if !call.query.text("continue").is_empty() {
                causes.push(Cause::forbidden(
                    field,
                    "resourceVersionMatch is forbidden when continue is provided",
                ));
            }
        }
    } else {
        if !matching.is_empty() {
            if version.is_empty() {
                let detail = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                causes.push(Cause::forbidden(field, detail));
            }
            if !call.query.text("continue").is_empty() {
                causes.push(Cause::forbidden(
                    field,
                    "resourceVersionMatch is forbidden when continue is provided",
                ));
            }
            if !matches!(matching, "Exact" | "NotOlderThan") {
                let supported = "\"Exact\", \"NotOlderThan\", \"\"";
                causes.push(Cause::not_supported(
                    field,
                    &format!("{matching:?}"),
                    supported,
                ));
            }
            if matching == "Exact" && version == "0" {
                let detail =
                    "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                causes.push(Cause::forbidden(field, detail));
            }
        }
        if initial.is_some() {
            causes.push(Cause::forbidden(
                "sendInitialEvents",
                "sendInitialEvents is forbidden for list",
            ));
        }
    }
    if causes.is_empty() {
        return Ok(());
    }
    Err(Failure::invalid(
        &Qualified {
            group: "meta.k8s.io",
            name: "ListOptions",
        },
        "",
        &causes,
    ))
}

pub(crate) fn selector(call: &Call, target: &Target) -> Result<Selector> {
    Selector::parse(
        &target.kind,
        call.query.text("labelSelector"),
        call.query.text("fieldSelector"),
    )
}

/// One page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) items: Vec<Object>,
    pub(crate) metadata: Value,
}

pub(crate) async fn list(call: &Call, target: &Target) -> Result<Reply> {
    negotiate::accept(&call.headers, &call.query, false)?;
    let page = page(call, target).await?;
    reply::list(call, &target.kind, &page.items, page.metadata)
}

/// Reads the page that the query asks for.
pub(crate) async fn page(call: &Call, target: &Target) -> Result<Page> {
    validate_options(call, false)?;
    let selector = selector(call, target)?;
    let limit = call.query.integer("limit")?.unwrap_or(0);
    let limit = usize::try_from(limit).unwrap_or(0);
    call.query.integer("timeoutSeconds")?;
    let text = call.query.text("resourceVersion");
    let token = call.query.text("continue");
    let bad_version = |why| Failure::bad_request(format!("invalid resource version: {why}"));
    let version = parse_version(text).map_err(bad_version)?;
    let matching = call.query.text("resourceVersionMatch");

    let mut start = None;
    let mut exact = None;
    if !token.is_empty() {
        if !matches!(text, "" | "0") {
            return Err(Failure::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let token = Continue::decode(token)?;
        exact = u64::try_from(token.revision).ok();
        start = Some(token.start);
    } else if let Some(version) = version {
        wait_for(call, version).await?;
        if matching == "Exact" || (matching.is_empty() && limit > 0) {
            exact = Some(version);
        }
    }
    // Any version will do: from the cache, which knows no limit.
    let limit = if text == "0" && token.is_empty() {
        0
    } else {
        limit
    };

    let (storage, prefix) = (target.kind.storage(), target.prefix());
    let (revision, entries) = match exact {
        Some(revision) => match call.app.store.list_at(&storage, &prefix, revision) {
            Ok(entries) => (revision, entries),
            Err(_) => return Err(expired(start)),
        },
        None => call.app.store.list(&storage, &prefix),
    };
    let from = start.map(|start| format!("{prefix}{start}"));
    let from = entries.partition_point(|(key, _)| from.as_ref().is_some_and(|from| **key < **from));
    let mut items = Vec::new();
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    for (at, (key, object)) in entries.iter().enumerate().skip(from) {
        if !selector.matches(object) {
            continue;
        }
        items.push(object.clone());
        let remaining = entries.len() - at - 1;
        if limit > 0 && items.len() == limit && remaining > 0 {
            let relative = key.strip_prefix(prefix.as_str()).unwrap_or(key);
            let revision = i64::try_from(revision).unwrap_or(i64::MAX);
            metadata["continue"] = Continue {
                revision,
                start: format!("/{relative}\0"),
            }
            .encode()
            .into();
            if selector.is_empty() {
                metadata["remainingItemCount"] = remaining.into();
            }
            break;
        }
    }
    Ok(Page { items, metadata })
}

fn expired(start: Option<String>) -> Failure {
    let Some(start) = start else {
        return Failure::list_too_old();
    };
    let message = "The provided continue parameter is too old to display a consistent list result. You can start a new \
        list without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
        results. Continuing with the provided token results in an inconsistent list - objects that were created, \
        modified, or deleted between the time the first chunk was returned and now may show up in the list.";
    Failure::new(410, "Expired", message).continue_token(
        Continue {
            revision: -1,
            start,
        }
        .encode(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_those_of_a_real_server() {
        let recorded = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6NTg4MCwic3RhcnQiOiIvZ29sZGVuLWxpc3QvaXRlbS02XHUwMDAwIn0";
        let token = Continue::decode(recorded).unwrap();
        assert_eq!(
            token,
            Continue {
                revision: 5880,
                start: "golden-list/item-6\0".into()
            }
        );
        assert_eq!(
            Continue {
                start: format!("/{}", token.start),
                ..token
            }
            .encode(),
            recorded
        );
        let message = |token: &str| {
            Continue::decode(token).unwrap_err().status()["message"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let prefix = "invalid continue token: continue key is not valid: ";
        assert_eq!(
            message("aGVsbG8"),
            format!("{prefix}invalid character 'h' looking for beginning of value")
        );
        assert_eq!(
            message("not-a-token"),
            format!("{prefix}invalid character '\\u009e' looking for beginning of value")
        );
    }
}
