//! What a recorded request says: its path, its parameters, the forms that it takes and has.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::compare::{go_true, gzip, plain_json};
use super::intent::Common;
use super::target::{Target, go_bool, media_type};
use super::transcript::Request;
use crate::server::parse_go_duration;

/// What a path says.
pub(super) struct Place<'a> {
    pub(super) group: &'a str,
    pub(super) version: &'a str,
    pub(super) namespace: Option<&'a str>,
    pub(super) plural: &'a str,
    pub(super) name: Option<&'a str>,
    pub(super) sub: &'a [String],
}

impl<'a> Place<'a> {
    pub(super) fn parse(segments: &'a [String]) -> Option<Self> {
        let (group, version, rest) = match segments {
            [api, version, rest @ ..] if api == "api" => ("", version, rest),
            [apis, group, version, rest @ ..] if apis == "apis" && !group.is_empty() => {
                (group.as_str(), version, rest)
            }
            _ => return None,
        };
        let own = |sub: &String| sub == "status" || sub == "finalize";
        let place = |namespace, plural: &'a String, rest: &'a [String]| Self {
            group,
            version,
            namespace,
            plural,
            name: rest.first().map(String::as_str),
            sub: rest.get(1..).unwrap_or_default(),
        };
        match rest {
            [] => None,
            // `namespaces/{name}` and its own subresources are the namespace; longer is in it.
            [first, namespace, plural, tail @ ..]
                if first == "namespaces" && !(tail.is_empty() && own(plural)) =>
            {
                Some(place(Some(namespace), plural, tail))
            }
            [plural, rest @ ..] => Some(place(None, plural, rest)),
        }
    }
}

/// Takes parameters out, one by one, so that what is left is known.
pub(super) struct Parameters(BTreeMap<String, Vec<String>>);

pub(super) type Or<T> = Result<T, String>;

impl Parameters {
    pub(super) fn new(target: &Target) -> Self {
        let mut map = BTreeMap::<String, Vec<String>>::new();
        for (key, value) in &target.query {
            map.entry(key.clone()).or_default().push(value.clone());
        }
        Self(map)
    }

    /// `timeout` and `pretty`, for an operation that has them.
    pub(super) fn common(&mut self, request: &Request) -> Or<Common> {
        let timeout = self.text("timeout")?;
        let timeout = timeout.filter(|text| !text.is_empty());
        let timeout =
            timeout.map(|text| parse_go_duration(&text).ok_or("a timeout that is no duration"));
        let pretty = self.text("pretty")?;
        Ok(Common {
            timeout: timeout.transpose()?,
            pretty: pretty.as_deref().is_some_and(go_true),
            gzip: request.header("accept-encoding").is_some_and(gzip),
        })
    }

    /// All values of a parameter.
    pub(super) fn all(&mut self, key: &str) -> Vec<String> {
        self.0.remove(key).unwrap_or_default()
    }

    pub(super) fn text(&mut self, key: &str) -> Or<Option<String>> {
        let Some(mut values) = self.0.remove(key) else {
            return Ok(None);
        };
        match (values.pop(), values.is_empty()) {
            (Some(value), true) => Ok(Some(value)),
            _ => Err(format!("parameter {key} more than once")),
        }
    }

    pub(super) fn flag(&mut self, key: &str) -> Or<bool> {
        Ok(self.maybe_flag(key)?.unwrap_or(false))
    }

    pub(super) fn maybe_flag(&mut self, key: &str) -> Or<Option<bool>> {
        Ok(self.text(key)?.as_deref().map(go_bool))
    }

    pub(super) fn number<T: FromStr>(&mut self, key: &str) -> Or<Option<T>> {
        self.text(key)?
            .map(|text| text.parse())
            .transpose()
            .map_err(|_| format!("a value of {key} that the option's type has not"))
    }

    /// `dryRun=All`.
    pub(super) fn dry_run(&mut self) -> Or<bool> {
        match self.text("dryRun")?.as_deref() {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(_) => Err("a dryRun other than All".to_owned()),
        }
    }

    pub(super) fn finish(self) -> Or<()> {
        let left: Vec<_> = self.0.into_keys().collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("parameter {}", left.join(", ")))
        }
    }
}

/// What an Accept header asks for.
pub(super) enum Answer {
    Json,
    Metadata,
    MetadataList,
    Table,
}

pub(super) fn answer(request: &Request) -> Or<Answer> {
    let Some(accept) = request.header("accept") else {
        return Ok(Answer::Json);
    };
    let wrong = || Err(format!("Accept: {accept}"));
    let Some((media, parameters)) = accept_of(accept) else {
        return wrong();
    };
    let view = |name: &str| {
        parameters.len() == 3
            && parameters.get("as").is_some_and(|view| view == name)
            && parameters.get("g").is_some_and(|g| g == "meta.k8s.io")
            && parameters.get("v").is_some_and(|v| v == "v1")
    };
    match media.as_str() {
        "*/*" | "application/json" if parameters.is_empty() => Ok(Answer::Json),
        "application/json" if view("PartialObjectMetadata") => Ok(Answer::Metadata),
        "application/json" if view("PartialObjectMetadataList") => Ok(Answer::MetadataList),
        "application/json" if view("Table") => Ok(Answer::Table),
        _ => wrong(),
    }
}

/// The first form that an Accept names, if the others are forms of JSON for servers without it.
pub(super) fn accept_of(accept: &str) -> Option<(String, BTreeMap<String, String>)> {
    let mut forms = accept.split(',').map(|form| {
        let (media, mut parameters) = media_type(form);
        plain_json(&media, &mut parameters);
        (media, parameters)
    });
    let first = forms.next()?;
    let others: Vec<_> = forms.collect();
    let fallback = first.1.contains_key("as") && first.0 == "application/json";
    let json = |(media, parameters): &(String, BTreeMap<String, String>)| {
        media == "application/json" && !parameters.contains_key("q")
    };
    (others.is_empty() || (fallback && others.iter().all(json))).then_some(first)
}

pub(super) fn content_type(request: &Request) -> Option<String> {
    let (media, mut parameters) = media_type(request.header("content-type")?);
    if parameters
        .get("charset")
        .is_some_and(|set| set.eq_ignore_ascii_case("utf-8"))
    {
        parameters.remove("charset");
    }
    if parameters.is_empty() {
        Some(media)
    } else {
        Some(format!("{media} with parameters"))
    }
}
