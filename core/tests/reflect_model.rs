//! A random server, random faults: whatever happened, afterwards the store equals what the server
//! has, and the number of requests stays bounded.
//!
//! A run is its seed. `KUBEWIRE_SEED=n` replays one.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod random;
mod reflect_support;
#[path = "reflect_support/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kubewire::reflect::{
    Freshness, ListMode, OnExpired, ReflectEvent, Reflector, ReflectorConfig, Store, WantId,
};
use kubewire::stream::WatchEvent;
use kubewire::{End, Error, ErrorKind};
use random::Random;
use reflect_support::*;
use server::*;

const RUNS: u64 = 100_000;

struct World<'a> {
    random: Random,
    errors: &'a Errors,
    server: Server,
    reflector: Reflector<Thing>,
    store: Store<Thing>,
    /// What a consumer without a store makes of the events.
    naive: BTreeMap<String, u64>,
    naive_new: BTreeMap<String, u64>,
    flight: Option<Flight>,
    old: Vec<WantId>,
    start: Instant,
    now: Instant,
    requests: u64,
    pages: u64,
    tells_heads: bool,
    chaos: bool,
}

impl<'a> World<'a> {
    fn new(seed: u64, errors: &'a Errors, start: Instant) -> Self {
        let mut random = Random::new(seed);
        let config = ReflectorConfig::default()
            .list_mode([ListMode::Paged, ListMode::Streaming][usize::from(random.chance(50))])
            .freshness([Freshness::MostRecent, Freshness::Any][usize::from(random.chance(20))])
            .on_expired([OnExpired::Restart, OnExpired::GoOn][usize::from(random.chance(40))])
            .page_size(Some(u32::try_from(1 + random.below(4)).unwrap()));
        let mut server = Server {
            live: BTreeMap::new(),
            log: Vec::new(),
            version: 95 + random.below(10),
            floor: 0,
            streams: [
                Streams::Yes,
                Streams::Yes,
                Streams::Refuses,
                Streams::Ignores,
            ][random.below(4_usize)],
            bookmarks: random.chance(70),
        };
        for _ in 0..random.below(8) {
            server.change(&mut random);
        }
        Self {
            reflector: Reflector::new(api(), config, seed).unwrap(),
            store: Store::new(),
            naive: BTreeMap::new(),
            naive_new: BTreeMap::new(),
            flight: None,
            old: Vec::new(),
            start,
            now: start,
            requests: 0,
            pages: 0,
            tells_heads: random.chance(70),
            chaos: true,
            server,
            errors,
            random,
        }
    }

    /// Drains the machine.
    fn pump(&mut self) {
        if let Some(id) = self.reflector.poll_cancel()
            && self.flight.as_ref().is_some_and(|flight| flight.id == id)
        {
            self.drop_flight();
        }
        while let Some(event) = self.reflector.poll_event() {
            self.learn(&event);
            self.store.apply(event);
        }
        if let Some((id, want)) = self.reflector.poll_want(self.now) {
            self.drop_flight();
            self.requests += 1;
            let flight = self.answer(id, want.request().uri());
            self.flight = Some(flight);
        }
    }

    fn drop_flight(&mut self) {
        if let Some(flight) = self.flight.take() {
            self.old.push(flight.id);
        }
    }

    fn learn(&mut self, event: &ReflectEvent<Thing>) {
        let version = |thing: &Thing| thing.version.parse().unwrap();
        match event {
            ReflectEvent::Init => self.naive_new.clear(),
            ReflectEvent::InitApply(thing) => {
                self.naive_new.insert(thing.name.clone(), version(thing));
            }
            ReflectEvent::InitDone { .. } => self.naive = std::mem::take(&mut self.naive_new),
            ReflectEvent::Apply(thing) => {
                self.naive.insert(thing.name.clone(), version(thing));
            }
            ReflectEvent::Delete(thing) => {
                self.naive.remove(&thing.name);
                self.naive_new.remove(&thing.name);
            }
            ReflectEvent::Bad(error) => {
                let bad = error.bad_object().unwrap();
                if let (true, Some(name)) = (bad.is_deleted, &bad.name) {
                    self.naive.remove(name);
                    self.naive_new.remove(name);
                }
            }
            ReflectEvent::Stale(_) | ReflectEvent::Fresh => {}
            _ => panic!("unknown"),
        }
    }

    /// What the server makes of a request.
    fn answer(&mut self, id: WantId, uri: &http::Uri) -> Flight {
        let mut flight = Flight {
            id,
            parts: Vec::new(),
            opened: false,
            cursor: None,
            lists: query(uri, "sendInitialEvents").is_some(),
            dead: false,
            ends: self.now + Duration::from_hours(1),
            last: None,
        };
        if self.chaos && self.random.chance(12) {
            if self.random.chance(20) {
                flight.dead = true;
            } else {
                flight.parts = vec![Part::Fail(self.errors.any(&mut self.random))];
            }
            return flight;
        }
        let number = |key| query(uri, key).and_then(|text| text.parse::<u64>().ok());
        if query(uri, "watch").is_none() {
            self.list(&mut flight, uri, number("limit"));
            return flight;
        }
        let lasts = number("timeoutSeconds").unwrap();
        flight.ends = self.now + Duration::from_secs(lasts);
        let version = number("resourceVersion").filter(|version| *version > 0);
        let server = &self.server;
        if query(uri, "sendInitialEvents").is_some() && server.streams == Streams::Refuses {
            flight.parts = vec![Part::Fail(self.errors.invalid.clone())];
            return flight;
        }
        flight.cursor = Some(version.unwrap_or(server.version));
        if let Some(version) = version {
            if version < server.floor {
                flight.parts = vec![Part::Fail(self.errors.gone.clone())];
                flight.opened = self.tells_heads && self.random.chance(80);
                if flight.opened {
                    self.reflector.handle_opened(id, self.now);
                }
            }
            return flight;
        }
        let mut objects: Vec<Object> = server.live.values().copied().collect();
        for at in (1..objects.len()).rev() {
            let other = usize::try_from(self.random.below(at as u64 + 1)).unwrap();
            objects.swap(at, other);
        }
        if query(uri, "sendInitialEvents").is_some() && server.streams == Streams::Yes {
            flight.parts.push(Part::Bookmark(server.version, true));
        }
        flight.parts.extend(objects.into_iter().map(Part::Added));
        flight
    }

    fn list(&mut self, flight: &mut Flight, uri: &http::Uri, limit: Option<u64>) {
        let server = &self.server;
        let token = query(uri, "continue").map(|token| token.split_once('-').unwrap());
        let (mut version, after) = match token {
            Some(("f", after)) => (server.version, after),
            Some((version, after)) => (version.parse().unwrap(), after),
            None => (server.version, ""),
        };
        if version < server.floor {
            let fresh = format!("f-{after}");
            let fresh = Some(fresh.as_str()).filter(|_| self.random.chance(70));
            flight.parts = vec![Part::Fail(expired(fresh))];
            return;
        }
        if query(uri, "resourceVersion") == Some("0") {
            version = server.floor + self.random.below(server.version - server.floor + 1);
        }
        let mut rest: Vec<Object> = server.at(version);
        rest.retain(|object| object.name > after);
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
        let page = &rest[..rest.len().min(limit)];
        let next = (page.len() < rest.len() || (page.len() == limit && self.random.chance(20)))
            .then(|| format!("{version}-{}", page.last().map_or(after, |last| last.name)));
        flight.parts.push(Part::Page(version, next));
        flight
            .parts
            .extend(page.iter().rev().copied().map(Part::Item));
    }

    /// Gives the next part of the answer; whether there was one.
    fn deliver(&mut self) -> bool {
        let Some(flight) = self.flight.as_mut().filter(|flight| !flight.dead) else {
            return false;
        };
        let (id, now, reflector) = (flight.id, self.now, &mut self.reflector);
        let fails = matches!(flight.parts.last(), Some(Part::Fail(_)));
        if !flight.opened && !fails && self.tells_heads {
            flight.opened = true;
            reflector.handle_opened(id, now);
        }
        let Some(part) = flight.parts.pop() else {
            let Some(cursor) = flight.cursor else {
                return false;
            };
            let next = self.server.log.iter();
            let Some(entry) = next.copied().find(|entry| entry.object.version > cursor) else {
                return false;
            };
            flight.cursor = Some(entry.object.version);
            flight.last = Some(entry);
            self.tell(id, entry);
            return true;
        };
        match part {
            Part::Item(object) | Part::Added(object) if object.bad => {
                let entry = Entry {
                    object,
                    gone: false,
                };
                reflector.handle_error(id, bad_object(entry), now);
            }
            Part::Item(object) => reflector.handle_item(id, object.thing(), now),
            Part::Added(object) => {
                reflector.handle_event(id, WatchEvent::Added(object.thing()), now);
            }
            Part::Page(version, token) => {
                self.pages += u64::from(token.is_some());
                reflector.handle_page(id, &list_meta(version, token.as_deref()), now);
                self.drop_flight();
            }
            Part::Bookmark(version, end) => reflector.handle_event(id, bookmark(version, end), now),
            Part::Fail(error) => {
                reflector.handle_error(id, error, now);
                self.drop_flight();
            }
        }
        true
    }

    fn tell(&mut self, id: WantId, entry: Entry) {
        if entry.object.bad {
            self.reflector.handle_error(id, bad_object(entry), self.now);
            return;
        }
        let thing = entry.object.thing();
        let event = if entry.gone {
            WatchEvent::Deleted(thing)
        } else if self.random.chance(50) {
            WatchEvent::Modified(thing)
        } else {
            WatchEvent::Added(thing)
        };
        self.reflector.handle_event(id, event, self.now);
    }

    fn bookmark(&mut self) {
        if let Some(flight) = &self.flight
            && self.server.bookmarks
            && !flight.dead
            && flight.parts.is_empty()
            && flight.cursor == Some(self.server.version)
        {
            let event = bookmark(self.server.version, false);
            self.reflector.handle_event(flight.id, event, self.now);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        if let Some(flight) = &self.flight
            && !flight.dead
            && flight.cursor.is_some()
            && flight.ends <= self.now
        {
            let id = flight.id;
            self.drop_flight();
            self.reflector.handle_end(id, Ok(End::Clean), self.now);
        }
        self.reflector.handle_timeout(self.now);
    }

    fn until_timeout(&mut self) {
        if let Some((at, _)) = self.reflector.poll_timeout() {
            self.pass(at.saturating_duration_since(self.now));
        }
    }

    /// Something happens.
    fn step(&mut self) {
        let flying = self
            .flight
            .as_ref()
            .map(|flight| (flight.id, flight.cursor));
        match self.random.below(40) {
            0..8 => self.server.change(&mut self.random),
            8..22 => drop(self.deliver()),
            22..24 => self.bookmark(),
            // The end comes, in one way or another.
            24 | 25 => {
                if let Some((id, _)) = flying {
                    self.drop_flight();
                    let result = match self.random.below(4) {
                        0 => Ok(End::Clean),
                        1 => Ok(End::Truncated),
                        2 => Err(self.errors.transport.clone()),
                        _ => Err(Error::new(ErrorKind::Truncated, "cut")),
                    };
                    self.reflector.handle_end(id, result, self.now);
                }
            }
            26 => {
                if let Some((id, Some(_))) = flying {
                    self.drop_flight();
                    let error = self.errors.any(&mut self.random);
                    self.reflector.handle_error(id, error, self.now);
                }
            }
            27 => {
                if let Some(flight) = &mut self.flight {
                    flight.dead = true;
                }
            }
            28 => {
                let jump = Duration::from_secs(1 + self.random.below(1500));
                self.pass(jump);
            }
            29 => self.server.floor = self.server.version - self.random.below(3),
            30 | 31 => self.late(),
            // The same once more.
            32 => {
                if let Some(flight) = self.flight.as_ref().filter(|flight| !flight.dead)
                    && let Some(entry) = flight.last
                {
                    let id = flight.id;
                    self.tell(id, entry);
                }
            }
            33 => {
                // A change that is not even readable enough to have a name.
                if let Some(flight) = self.flight.as_mut().filter(|flight| !flight.dead)
                    && flight.parts.is_empty()
                    && let Some(cursor) = flight.cursor
                    && let Some(entry) = self
                        .server
                        .log
                        .iter()
                        .find(|entry| entry.object.version > cursor)
                {
                    flight.cursor = Some(entry.object.version);
                    let (id, error) = (flight.id, self.errors.unnamed.clone());
                    self.reflector.handle_error(id, error, self.now);
                }
            }
            34 => self.until_timeout(),
            _ => {
                let time = Duration::from_millis(self.random.below(2500));
                self.pass(time);
            }
        }
    }

    /// Answers to requests that were given up.
    fn late(&mut self) {
        let Some(&id) = self.old.last() else {
            return;
        };
        let now = self.now;
        let ghost = || Thing {
            name: "ghost".to_owned(),
            uid: "0".to_owned(),
            version: "999999".to_owned(),
        };
        match self.random.below(6) {
            0 => self.reflector.handle_item(id, ghost(), now),
            1 => self
                .reflector
                .handle_page(id, &list_meta(999_999, Some("999999-z")), now),
            2 => self
                .reflector
                .handle_event(id, WatchEvent::Added(ghost()), now),
            3 => self
                .reflector
                .handle_event(id, bookmark(999_999, true), now),
            4 => self.reflector.handle_end(id, Ok(End::Clean), now),
            _ => self
                .reflector
                .handle_error(id, self.errors.gone.clone(), now),
        }
    }

    /// Nothing goes wrong any more: how the store gets to the server's state.
    fn settle(&mut self) {
        self.chaos = false;
        for _ in 0..400 {
            self.pump();
            if self.deliver() {
                continue;
            }
            let settled = self.flight.as_ref().is_some_and(|flight| {
                !flight.dead
                    && flight.cursor == Some(self.server.version)
                    && self.store.is_ready()
                    && self.is_watch(flight)
            });
            if settled {
                self.pump();
                return;
            }
            self.until_timeout();
        }
        panic!("it does not settle: {:?}", self.reflector);
    }

    /// Whether a request is a watch for changes. One that lists first is, once it has listed.
    fn is_watch(&self, flight: &Flight) -> bool {
        let (_, why) = self.reflector.poll_timeout().unwrap();
        why == "the watch is silent" || (why == "no answer has come" && !flight.lists)
    }

    fn check(&self) {
        let want: Vec<(&str, u64)> = self
            .server
            .live
            .values()
            .filter(|object| !object.bad)
            .map(|object| (object.name, object.version))
            .collect();
        let good = |name: &str| self.server.live.get(name).is_none_or(|object| !object.bad);
        let got: Vec<(&str, u64)> = self
            .store
            .list()
            .map(|thing| (thing.name.as_str(), thing.version.parse().unwrap()))
            .filter(|(name, _)| good(name))
            .collect();
        assert_eq!(got, want, "store");
        let naive: Vec<(&str, u64)> = self
            .naive
            .iter()
            .map(|(name, version)| (name.as_str(), *version))
            .filter(|(name, _)| good(name))
            .collect();
        assert_eq!(naive, want, "consumer without a store");
        let bad: Vec<&str> = self
            .server
            .live
            .values()
            .filter(|object| object.bad)
            .map(|object| object.name)
            .collect();
        let named: Vec<&str> = self.store.bad().map(|key| key.name.as_str()).collect();
        assert_eq!(named, bad, "what cannot be decoded");
        // At most 30 and one in 4 s, besides the further pages of lists.
        let bound = 30 + (self.now - self.start).as_secs() / 4 + self.pages;
        assert!(
            self.requests <= bound,
            "{} requests, {bound} allowed",
            self.requests
        );
    }
}

fn run(seed: u64, errors: &Errors, start: Instant) -> u64 {
    let mut world = World::new(seed, errors, start);
    for _ in 0..30 + seed % 40 {
        world.pump();
        world.step();
    }
    world.settle();
    world.check();
    world.requests
}

/// The environment's seed, for a replay.
#[expect(clippy::disallowed_methods, reason = "how a failed run is repeated")]
fn replayed() -> Option<u64> {
    std::env::var("KUBEWIRE_SEED").ok()?.parse().ok()
}

fn runs(from: u64, to: u64) {
    struct Name(u64);
    impl Drop for Name {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("replay with KUBEWIRE_SEED={}", self.0);
            }
        }
    }
    let (errors, start) = (Errors::new(), Instant::now_for_tests());
    let mut requests = 0;
    let range = replayed().map_or(from..to, |seed| seed..seed + 1);
    for seed in range {
        let name = Name(seed);
        requests += run(seed, &errors, start);
        std::mem::forget(name);
    }
    assert!(requests > 0);
}

#[test]
fn the_store_gets_to_the_servers_state_1() {
    runs(0, RUNS / 4);
}

#[test]
fn the_store_gets_to_the_servers_state_2() {
    runs(RUNS / 4, RUNS / 2);
}

#[test]
fn the_store_gets_to_the_servers_state_3() {
    runs(RUNS / 2, RUNS / 4 * 3);
}

#[test]
fn the_store_gets_to_the_servers_state_4() {
    runs(RUNS / 4 * 3, RUNS);
}
