//! The server of the model test: objects, their history, and the answers that are under way.

#![allow(unreachable_pub, reason = "a module of several tests")]

use std::collections::BTreeMap;
use std::time::Instant;

use kubewire::reflect::WantId;
use kubewire::{Error, ErrorKind};

use super::random::Random;
use super::reflect_support::*;

pub const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// An object as the server has it. A client cannot decode bad ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    pub name: &'static str,
    pub uid: u64,
    pub version: u64,
    pub bad: bool,
}

impl Object {
    pub fn thing(self) -> Thing {
        Thing {
            name: self.name.to_owned(),
            uid: self.uid.to_string(),
            version: self.version.to_string(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub object: Object,
    pub gone: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    Yes,
    Refuses,
    Ignores,
}

pub struct Server {
    pub live: BTreeMap<&'static str, Object>,
    pub log: Vec<Entry>,
    pub version: u64,
    pub floor: u64,
    pub streams: Streams,
    pub bookmarks: bool,
}

impl Server {
    pub fn change(&mut self, random: &mut Random) {
        let name = NAMES[random.below(6_usize)];
        self.version += 1 + random.below(3);
        let version = self.version;
        let old = self.live.get(name).copied();
        let entry = match old {
            Some(old) if random.chance(40) => {
                self.live.remove(name);
                Entry {
                    object: Object { version, ..old },
                    gone: true,
                }
            }
            _ => {
                let object = Object {
                    name,
                    uid: old.map_or(version, |old| old.uid),
                    version,
                    bad: random.chance(6),
                };
                self.live.insert(name, object);
                Entry {
                    object,
                    gone: false,
                }
            }
        };
        self.log.push(entry);
    }

    pub fn at(&self, version: u64) -> Vec<Object> {
        let mut objects = BTreeMap::new();
        for entry in self
            .log
            .iter()
            .filter(|entry| entry.object.version <= version)
        {
            if entry.gone {
                objects.remove(entry.object.name);
            } else {
                objects.insert(entry.object.name, entry.object);
            }
        }
        objects.into_values().collect()
    }
}

pub enum Part {
    Item(Object),
    Page(u64, Option<String>),
    Added(Object),
    Bookmark(u64, bool),
    Fail(Error),
}

/// A request that is being answered.
pub struct Flight {
    pub id: WantId,
    pub parts: Vec<Part>,
    pub opened: bool,
    /// Up to where a watch has told; `None` for a list.
    pub cursor: Option<u64>,
    /// A watch that is to begin with what there is.
    pub lists: bool,
    /// Nothing more comes.
    pub dead: bool,
    pub ends: Instant,
    pub last: Option<Entry>,
}

pub struct Errors {
    pub transport: Error,
    pub throttled: Error,
    pub internal: Error,
    pub unavailable: Error,
    pub unauthorized: Error,
    pub behind: Error,
    pub gone: Error,
    pub timeout: Error,
    pub unnamed: Error,
    pub invalid: Error,
}

impl Errors {
    pub fn new() -> Self {
        Self {
            transport: Error::new(ErrorKind::Transport, "reset"),
            throttled: refused(429, &[("retry-after", "1")], "Too many requests"),
            internal: status(500, "InternalError"),
            unavailable: refused(503, &[], "service unavailable"),
            unauthorized: status(401, "Unauthorized"),
            behind: too_large(),
            gone: expired(None),
            timeout: status(504, "Timeout"),
            unnamed: bad(Some("ADDED"), "{}"),
            invalid: status(422, "Invalid"),
        }
    }

    pub fn any(&self, random: &mut Random) -> Error {
        let errors = [
            &self.transport,
            &self.throttled,
            &self.internal,
            &self.unavailable,
            &self.unauthorized,
            &self.behind,
            &self.gone,
            &self.timeout,
        ];
        errors[random.below(8_usize)].clone()
    }
}

pub fn bad_object(entry: Entry) -> Error {
    let Object { name, version, .. } = entry.object;
    let json = format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"n","resourceVersion":"{version}"}}}}"#
    );
    bad(Some(if entry.gone { "DELETED" } else { "MODIFIED" }), &json)
}
