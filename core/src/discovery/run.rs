//! The machine that asks a server what it serves.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use http::header::{ACCEPT, HeaderValue, IF_NONE_MATCH};
use http::{Method, Request, Uri};

use super::document::{DiscoveryAnswer, DiscoveryDecoder, Document};
use super::{Discovery, DiscoveryFailure, Group, Root, Version, group_version};
use crate::call::{Call, Verb};
use crate::{Error, ErrorKind};

/// Servers from 1.30, from 1.27, and all others.
const ACCEPT_ANY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
     application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// Asks a server what it serves.
///
/// A machine: [`poll_want`](Self::poll_want) gives calls to carry, in any order and any number at a time, until it says `None`;
/// [`handle_answer`](Self::handle_answer) takes what came of them, after which there may be more wants. When
/// [`is_done`](Self::is_done), [`finish`](Self::finish) gives the [`Discovery`].
#[must_use]
pub struct Discover {
    wants: VecDeque<DiscoveryWant>,
    pending: BTreeMap<u32, Asked>,
    next_id: u32,
    previous: Discovery,
    found: Discovery,
    /// Whether a root was read at all.
    any: bool,
}

/// A call that [`Discover`] wants to be carried.
#[derive(Debug)]
#[non_exhaustive]
pub struct DiscoveryWant {
    /// What to give to [`Discover::handle_answer`].
    pub id: u32,
    /// The call.
    pub call: Call<DiscoveryDecoder>,
}

#[derive(Clone, Debug)]
enum Asked {
    Core,
    Groups,
    Version { group: String, version: String },
}

impl Discover {
    /// Asks for everything.
    pub fn new() -> Self {
        Self::refresh(Discovery::default())
    }

    /// Asks for what has changed. What cannot be read now is kept as it was, with a failure for each part.
    pub fn refresh(previous: Discovery) -> Self {
        let mut discover = Self {
            wants: VecDeque::new(),
            pending: BTreeMap::new(),
            next_id: 0,
            previous,
            found: Discovery::default(),
            any: false,
        };
        for (asked, path) in [(Asked::Core, "/api"), (Asked::Groups, "/apis")] {
            let etag = discover.root_before(&asked).etag.clone();
            let mut request = request(Uri::from_static(path), ACCEPT_ANY);
            if let Some(etag) = etag.and_then(|etag| HeaderValue::try_from(etag).ok()) {
                request.headers_mut().insert(IF_NONE_MATCH, etag);
            }
            discover.want(asked, request, DiscoveryDecoder::default());
        }
        discover
    }

    /// The next call to carry.
    pub fn poll_want(&mut self) -> Option<DiscoveryWant> {
        self.wants.pop_front()
    }

    /// What came of a call. Answers that nobody waits for are ignored.
    pub fn handle_answer(&mut self, id: u32, answer: Result<DiscoveryAnswer, Error>) {
        let Some(asked) = self.pending.remove(&id) else {
            return;
        };
        match (asked, answer.map(|DiscoveryAnswer(document)| document)) {
            (Asked::Version { group, version }, Ok(Document::Resources(resources))) => {
                if let Some(found) = self.version_mut(&group, &version) {
                    found.stale = false;
                    found.resources = resources;
                }
            }
            (Asked::Version { group, version }, answer) => {
                let error = answer.err().unwrap_or_else(unexpected);
                self.found.failures.push(DiscoveryFailure {
                    what: group_version(&group, &version),
                    error: Some(error),
                });
            }
            (asked, Ok(Document::NotModified)) => {
                self.any = true;
                let root = self.root_before(&asked).clone();
                self.keep(&asked, root);
            }
            (asked, Ok(Document::Aggregated { etag, mut groups })) => {
                self.any = true;
                for group in &mut groups {
                    for version in group.versions.iter_mut().filter(|version| version.stale) {
                        let before = self.root_before(&asked).version(&group.name, &version.name);
                        if let (true, Some(before)) = (version.resources.is_empty(), before) {
                            version.resources.clone_from(&before.resources);
                        }
                    }
                }
                self.keep(&asked, Root { etag, groups });
            }
            (Asked::Core, Ok(Document::Versions(versions))) => {
                self.ask_each(&Asked::Core, vec![(String::new(), versions)]);
            }
            (Asked::Groups, Ok(Document::Groups(groups))) => self.ask_each(&Asked::Groups, groups),
            (asked, answer) => {
                let root = self.root_before(&asked).clone();
                *self.root_mut(&asked) = root;
                let what = if matches!(asked, Asked::Core) {
                    "/api"
                } else {
                    "/apis"
                };
                self.found.failures.push(DiscoveryFailure {
                    what: what.to_owned(),
                    error: Some(answer.err().unwrap_or_else(unexpected)),
                });
            }
        }
    }

    /// Whether everything was answered.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.wants.is_empty() && self.pending.is_empty()
    }

    /// What the cluster serves, as far as it could be read.
    ///
    /// # Errors
    ///
    /// If nothing could be read, why; [`ErrorKind::Usage`] before [`is_done`](Self::is_done).
    pub fn finish(mut self) -> Result<Discovery, Error> {
        if !self.is_done() {
            return Err(Error::usage("discovery is not done: answers are missing"));
        }
        if self.any {
            return Ok(self.found);
        }
        let mut failures = self.found.failures.drain(..);
        let error = failures.find_map(|failure| failure.error);
        Err(error.unwrap_or_else(unexpected))
    }

    /// A server that does not aggregate is asked for each version.
    fn ask_each(&mut self, asked: &Asked, groups: Vec<(String, Vec<String>)>) {
        self.any = true;
        let mut root = Root::default();
        for (group, versions) in groups {
            let mut found = Vec::new();
            for version in versions {
                let before = self.root_before(asked).version(&group, &version);
                found.push(Version {
                    name: version.clone(),
                    stale: true,
                    resources: before
                        .map(|before| before.resources.clone())
                        .unwrap_or_default(),
                });
                let path = crate::api::group_version_path(&group, &version);
                match path.map(|path| request(path, "application/json")) {
                    Ok(request) => {
                        let decoder = DiscoveryDecoder::of_version(&group, &version);
                        let group = group.clone();
                        self.want(Asked::Version { group, version }, request, decoder);
                    }
                    Err(error) => self.found.failures.push(DiscoveryFailure {
                        what: group_version(&group, &version),
                        error: Some(error),
                    }),
                }
            }
            root.groups.push(Group {
                name: group,
                versions: found,
            });
        }
        *self.root_mut(asked) = root;
    }

    /// Takes a root over, and notes what in it is stale.
    fn keep(&mut self, asked: &Asked, root: Root) {
        for group in &root.groups {
            for version in group.versions.iter().filter(|version| version.stale) {
                self.found.failures.push(DiscoveryFailure {
                    what: group_version(&group.name, &version.name),
                    error: None,
                });
            }
        }
        *self.root_mut(asked) = root;
    }

    fn want(&mut self, asked: Asked, request: Request<bytes::Bytes>, decoder: DiscoveryDecoder) {
        let id = self.next_id;
        self.next_id += 1;
        self.pending.insert(id, asked);
        let call = Call::new(Verb::Get, request, decoder);
        self.wants.push_back(DiscoveryWant { id, call });
    }

    fn root_before(&self, asked: &Asked) -> &Root {
        match asked {
            Asked::Core => &self.previous.core,
            Asked::Groups | Asked::Version { .. } => &self.previous.groups,
        }
    }

    fn root_mut(&mut self, asked: &Asked) -> &mut Root {
        match asked {
            Asked::Core => &mut self.found.core,
            Asked::Groups | Asked::Version { .. } => &mut self.found.groups,
        }
    }

    fn version_mut(&mut self, group: &str, version: &str) -> Option<&mut Version> {
        let root = if group.is_empty() {
            &mut self.found.core
        } else {
            &mut self.found.groups
        };
        let group = root.groups.iter_mut().find(|known| known.name == group)?;
        group
            .versions
            .iter_mut()
            .find(|known| known.name == version)
    }
}

impl Default for Discover {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Discover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discover")
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}

fn request(uri: Uri, accept: &'static str) -> Request<bytes::Bytes> {
    let mut request = Request::new(bytes::Bytes::new());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = uri;
    let accept = HeaderValue::from_static(accept);
    request.headers_mut().insert(ACCEPT, accept);
    request
}

fn unexpected() -> Error {
    Error::new(
        ErrorKind::Peer,
        "the answer is another discovery document than was asked for",
    )
}
