//! Which RRsets resolvers may still hold, and what the authoritative servers of the zone were seen to have.
//!
//! A set is remembered from the moment when it is decided on until max(2 x TTL, `confirmation-interval`) after the last
//! server showed a later one: two TTLs, since one cache may have it from another. A server that can't be reached may serve
//! what it has until SOA EXPIRE after it could last have fetched it, and then there are the two TTLs; it could fetch from others
//! that can't be reached, so each of these adds its EXPIRE.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::dane::tlsa::Tlsa;

use super::clock::{Age, Clock};
use super::facts::{Settings, Version};
use super::guard::{Guard, Guards};

/// An RRset that is, was or will be out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Set {
    /// Its place: a later one has a higher number. 0: somebody else's, from before.
    number: u64,
    /// The records, in canonical order.
    pub(super) records: Vec<Tlsa>,
    /// The longest TTL that it was out with.
    pub(super) ttl: u32,
    /// The serial that it came out with; none: that is not known yet.
    serial: Option<u32>,
    /// Since when each server that can be reached is known to have a later one.
    superseded: Option<Age>,
}

/// An authoritative server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Server {
    /// It has the set with this number or a later one.
    has: Option<u64>,
    /// It could not be reached when it was asked last.
    pub(super) dead: bool,
    /// The zone names it no more; it is asked no more, and may be asked by others.
    gone: bool,
    /// When it was asked last and answered or not, since the daemon started.
    asked: Option<Age>,
    /// It was dead for so long that it is not waited for.
    pub(super) passed_over: bool,
}

/// The sets, oldest first, and the servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Sets {
    sets: Vec<Set>,
    servers: BTreeMap<String, Server>,
    /// What is to be out; none: what is out stays.
    wanted: Option<Vec<Tlsa>>,
    /// The highest serial that our zone had.
    serial: Option<u32>,
    last_number: u64,
}

impl Sets {
    /// What is to be out.
    pub(super) fn wanted(&self) -> Option<&[Tlsa]> {
        self.wanted.as_deref()
    }

    /// Those that may be cached, the coming one included.
    pub(super) fn all(&self) -> impl Iterator<Item = &Set> {
        self.sets.iter()
    }

    /// The longest TTL that anything is cached with.
    pub(super) fn ttl(&self) -> u32 {
        self.sets.iter().map(|set| set.ttl).max().unwrap_or(0)
    }

    /// Whether every set that may be cached matches a version.
    pub(super) fn satisfy(&self, version: &Version) -> bool {
        self.sets.iter().all(|set| version.satisfies(&set.records))
    }

    /// These records are to be out from now on. Whether they are others than before.
    pub(super) fn want(&mut self, records: Vec<Tlsa>, ttl: u32) -> bool {
        if self.wanted.as_ref() == Some(&records) {
            if let Some(set) = self.sets.iter_mut().find(|set| set.records == records) {
                set.ttl = set.ttl.max(ttl);
            }
            return false;
        }
        self.push(records.clone(), ttl, None);
        self.wanted = Some(records);
        true
    }

    /// Puts a set at the end, wherever it was.
    fn push(&mut self, records: Vec<Tlsa>, ttl: u32, serial: Option<u32>) {
        let before = self.sets.iter().position(|set| set.records == records).map(|at| self.sets.remove(at));
        let ttl = before.map_or(ttl, |before| before.ttl.max(ttl));
        self.last_number += 1;
        self.sets.push(Set { number: self.last_number, records, ttl, serial, superseded: None });
    }

    /// The set that our zone has now; none before it was told.
    fn newest(&self) -> Option<&Set> {
        self.sets.iter().rev().find(|set| set.serial.is_some())
    }

    /// Whether our zone has what is wanted.
    pub(super) fn is_published(&self) -> bool {
        self.wanted.is_none() || self.newest().map(|set| &set.records) == self.wanted.as_ref()
    }

    /// Our zone as it is served now.
    pub(super) fn published(&mut self, serial: u32, records: Vec<Tlsa>, ttl: u32) {
        if self.serial.is_some_and(|last| is_after(last, serial)) {
            return;
        }
        self.serial = Some(serial);
        let at = self.sets.iter().position(|set| set.records == records);
        match at {
            Some(at) if self.sets.iter().skip(at + 1).all(|later| later.serial.is_none()) => {
                if let Some(set) = self.sets.get_mut(at) {
                    set.serial.get_or_insert(serial);
                    set.ttl = set.ttl.max(ttl);
                }
            }
            _ => self.push(records, ttl, Some(serial)),
        }
    }

    /// What our zone has: serial, records and TTL.
    pub(super) fn published_now(&self) -> Option<(u32, Vec<Tlsa>, u32)> {
        let newest = self.newest()?;
        Some((self.serial?, newest.records.clone(), newest.ttl))
    }

    /// The servers that the zone names.
    pub(super) fn name_servers(&mut self, names: &std::collections::BTreeSet<String>) {
        for (name, server) in &mut self.servers {
            server.gone = !names.contains(name);
            server.dead |= server.gone;
        }
        for name in names {
            if !self.servers.contains_key(name) {
                self.servers.insert(name.clone(), Server::default());
                // Nobody knows what it has served until now.
                self.sets.iter_mut().for_each(|set| set.superseded = None);
            }
        }
    }

    /// What a server showed.
    pub(super) fn shown(
        &mut self,
        name: &str,
        serial: u32,
        (records, ttl): (Vec<Tlsa>, u32),
        age: Age,
        guards: Guards,
    ) {
        if self.servers.get(name).is_none_or(|server| server.gone) {
            return;
        }
        let known = self.sets.iter_mut().find(|set| set.records == records);
        let now = match known {
            Some(set) => {
                set.ttl = set.ttl.max(ttl);
                let is_later = set.serial.is_some_and(|first| !is_after(first, serial));
                if is_later || !guards.on(Guard::Serial) { set.number } else { 0 }
            }
            None => {
                self.sets.insert(0, Set { number: 0, records, ttl, serial: None, superseded: None });
                0
            }
        };
        let Some(server) = self.servers.get_mut(name) else { return };
        let before = server.has;
        server.dead = false;
        server.asked = Some(age);
        if before.is_some_and(|before| now < before) && !guards.on(Guard::SeenAgain) {
            return;
        }
        server.has = Some(now);
        let newest = self.newest().map_or(0, |set| set.number);
        for set in &mut self.sets {
            // Until now it may have served this one, or it does again.
            let may_have = before.is_none_or(|before| before <= set.number) || now <= set.number;
            if may_have && set.number < newest && guards.on(Guard::LastServer) {
                set.superseded = None;
            }
        }
        if let Some(server) = self.servers.get_mut(name) {
            server.passed_over &= now < newest;
        }
    }

    /// A server could not be reached.
    pub(super) fn unreachable(&mut self, name: &str, age: Age) {
        if let Some(server) = self.servers.get_mut(name) {
            server.asked = Some(age);
            server.dead = true;
        }
    }

    /// The servers that are not known to have what is wanted. Those that the zone names no more are not among them.
    pub(super) fn behind(&self) -> impl Iterator<Item = (&String, &Server)> {
        let newest = self.newest().map_or(0, |set| set.number);
        self.servers.iter().filter(move |(_, server)| !server.gone && server.has.is_none_or(|has| has < newest))
    }

    /// The servers that can be asked.
    pub(super) fn named(&self) -> impl Iterator<Item = &String> {
        self.servers.iter().filter(|(_, server)| !server.gone).map(|(name, _)| name)
    }

    /// Whether each server was seen with what is wanted.
    pub(super) fn is_shown(&self) -> bool {
        self.is_published() && self.named().next().is_some() && self.behind().next().is_none()
    }

    /// The daemon has started: what the servers have is asked anew before anything is built on it.
    pub(super) fn stale(&mut self) {
        self.servers.values_mut().for_each(|server| server.asked = None);
    }

    /// Whether each server was asked in the last so many seconds.
    pub(super) fn are_fresh(&self, age: Age, seconds: u64) -> bool {
        let is_fresh = |server: &Server| server.gone || server.asked.is_some_and(|at| age <= at + seconds);
        self.servers.values().all(is_fresh)
    }

    /// Whether there is something that a server could be seen with again.
    pub(super) fn is_waiting(&self) -> bool {
        self.sets.len() > 1
    }

    /// Starts what waits have to start, and forgets what no cache holds.
    pub(super) fn settle(&mut self, settings: &Settings, clock: &Clock, guards: Guards) {
        let age = clock.age();
        let newest = self.newest().map_or(0, |set| set.number);
        let wanted = self.wanted.as_ref().and_then(|wanted| self.sets.iter().find(|set| set.records == *wanted));
        let wanted = wanted.map(|set| set.number);
        let may_go = |set: &Set| set.number < newest && Some(set.number) != wanted;
        let servers = &self.servers;
        for set in self.sets.iter_mut().filter(|set| may_go(set)) {
            let has_later = |server: &Server| server.has.is_some_and(|has| has > set.number);
            let is_over = match guards.on(Guard::EveryServer) {
                true => servers.values().all(|server| has_later(server) || server.dead),
                false => servers.values().any(has_later),
            };
            if !servers.is_empty() && (is_over || !guards.on(Guard::LastServer)) {
                set.superseded.get_or_insert(age);
            }
        }
        let mut passed_over = 0;
        let every = guards.on(Guard::EveryServer);
        self.sets.retain(|set| {
            let seen = |server: &Server| server.has.is_some_and(|has| has > set.number);
            let is_held = servers.values().any(|server| !seen(server) && !server.dead);
            let blocked = is_held && every;
            let stays =
                !may_go(set) || blocked || gone_at(set, servers, settings, clock, guards).is_none_or(|gone| age < gone);
            passed_over = if stays { passed_over } else { passed_over.max(set.number) };
            stays
        });
        let oldest = self.sets.iter().filter(|set| may_go(set)).map(|set| set.number).min().unwrap_or(newest);
        for server in self.servers.values_mut() {
            server.passed_over |= server.dead && server.has.is_none_or(|has| has <= passed_over) && passed_over > 0;
        }
        self.servers.retain(|_, server| !server.gone || server.has.is_none_or(|has| has <= oldest) && oldest < newest);
    }

    /// When the last set is forgotten that does not match a version; none where it is not known, or there is none.
    pub(super) fn stay_until(&self, version: &Version, settings: &Settings, clock: &Clock) -> Option<Age> {
        let others = self.sets.iter().filter(|set| !version.satisfies(&set.records));
        let ends: Option<Vec<Age>> =
            others.map(|set| gone_at(set, &self.servers, settings, clock, Guards::default())).collect();
        ends?.into_iter().max()
    }

    /// When the next set is forgotten.
    pub(super) fn next(&self, settings: &Settings, clock: &Clock) -> Option<Age> {
        self.sets.iter().filter_map(|set| gone_at(set, &self.servers, settings, clock, Guards::default())).min()
    }
}

/// When no cache holds a set; none while it may be served.
fn gone_at(
    set: &Set,
    servers: &BTreeMap<String, Server>,
    settings: &Settings,
    clock: &Clock,
    guards: Guards,
) -> Option<Age> {
    let caches = match (guards.on(Guard::Hold), guards.on(Guard::SecondTtl)) {
        (false, _) => 0,
        (true, false) => u64::from(set.ttl),
        (true, true) => 2 * u64::from(set.ttl),
    };
    let is_dead = |server: &Server| server.dead && server.has.is_none_or(|has| has <= set.number);
    let mut wait = caches.max(settings.interval);
    // Of several dead ones each may have had it from the one before, until that one's zone expired.
    let dead = servers.values().filter(|server| is_dead(server)).count() as u64;
    if dead > 0 && guards.on(Guard::DeadServer) {
        let caches = if guards.on(Guard::DeadCaches) { 2 * u64::from(set.ttl) } else { 0 };
        wait = wait.max(dead.saturating_mul(settings.expire.into()).saturating_add(caches));
    }
    Some(clock.end(set.superseded?, wait))
}

/// Whether a serial comes after another (RFC 1982 section 3.2).
fn is_after(left: u32, right: u32) -> bool {
    (1..0x8000_0000).contains(&left.wrapping_sub(right))
}
