//! Which RRsets resolvers may still hold, and what the authoritative servers of the zone were seen to have.
//!
//! A set is remembered from the moment when it is decided on until max(2 x TTL, `confirmation-interval`) after the last
//! server showed a later one: two TTLs, since one cache may have it from another. A server that can't be reached may serve
//! what it has until SOA EXPIRE after it could last have fetched it, and then there are the two TTLs; it could fetch from others
//! that can't be reached, so each of these adds its EXPIRE. One that the zone names no more counts as the others do for as
//! long as a resolver may have it from the delegation.
//!
//! What is decided on while the publication is withheld does not come out, and is forgotten when something else is wanted.
//! A host may have several owners, each under parameters of its own: what is seen is a part of what is wanted where some of
//! them are withheld, and a version that matches the whole matches the part.

use std::collections::{BTreeMap, BTreeSet};

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
    /// It may have come out: it was wanted while nothing was withheld, or was seen.
    out: bool,
}

/// An authoritative server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Server {
    /// It has the set with this number or a later one.
    has: Option<u64>,
    /// It could not be reached when it was asked last.
    pub(super) dead: bool,
    /// Since when the zone names it no more. Resolvers may ask it as long as they have the delegation from before.
    gone: Option<Age>,
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
    /// The highest serial that our zone had, and what it has.
    serial: Option<u32>,
    served: Option<Vec<Tlsa>>,
    last_number: u64,
    /// What is wanted does not come out.
    withheld: bool,
}

impl Sets {
    /// What is to be out.
    pub(super) fn wanted(&self) -> Option<&[Tlsa]> {
        self.wanted.as_deref()
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
        self.sets.retain(|set| set.out);
        // What our zone has needs nothing, unless something else was to come in between.
        let is_last = self.sets.last().is_some_and(|last| last.serial.is_some());
        if !is_last || self.sets.last().is_none_or(|last| last.records != records) {
            let has_part = self.served.as_ref().is_some_and(|served| is_part(served, &records));
            self.push(records.clone(), ttl, self.serial.filter(|_| is_last && has_part));
        }
        self.wanted = Some(records);
        self.overtake();
        true
    }

    /// Puts a set at the end, wherever it was.
    fn push(&mut self, records: Vec<Tlsa>, ttl: u32, serial: Option<u32>) {
        let before = self.sets.iter().position(|set| set.records == records).map(|at| self.sets.remove(at));
        let out = !self.withheld || serial.is_some() || before.as_ref().is_some_and(|before| before.out);
        let ttl = before.map_or(ttl, |before| before.ttl.max(ttl));
        self.last_number += 1;
        self.sets.push(Set { number: self.last_number, records, ttl, serial, superseded: None, out });
    }

    /// The set that our zone has now; none before it was told.
    fn newest(&self) -> Option<&Set> {
        self.sets.iter().rev().find(|set| set.serial.is_some())
    }

    /// Those that may be cached, or will.
    pub(super) fn cached(&self) -> impl Iterator<Item = &Set> {
        self.sets.iter().filter(|set| set.out)
    }

    /// What our zone has: serial, records and TTL; none before that was told.
    pub(super) fn published_now(&self) -> Option<(u32, Vec<Tlsa>, u32)> {
        Some((self.serial?, self.served.clone()?, self.newest()?.ttl))
    }

    /// Its records.
    pub(super) fn served(&self) -> Option<&[Tlsa]> {
        self.served.as_deref()
    }

    /// Whether our zone has what is wanted.
    pub(super) fn is_published(&self) -> bool {
        self.wanted.is_none() || self.served == self.wanted
    }

    /// Whether nothing else need come: our zone has what is wanted or a part of it, or that is withheld.
    pub(super) fn is_settled(&self) -> bool {
        let has_part = |served: &Vec<Tlsa>| self.wanted.as_ref().is_none_or(|wanted| is_part(served, wanted));
        self.withheld || self.served.as_ref().is_some_and(has_part)
    }

    /// Whether a cache may hold a record, or will.
    pub(super) fn is_out(&self) -> bool {
        self.sets.iter().any(|set| !set.records.is_empty() && set.out)
    }

    /// Whether what is wanted is withheld.
    pub(super) fn is_withheld(&self) -> bool {
        self.withheld
    }

    /// What is wanted comes out from now on, or does not.
    pub(super) fn withhold(&mut self, withheld: bool, guards: Guards) {
        self.withheld = withheld;
        if withheld && !guards.on(Guard::Withdrawn) {
            self.sets.iter_mut().for_each(|set| set.out = set.records.is_empty());
        }
        self.sets.iter_mut().for_each(|set| set.out |= !withheld);
        self.overtake();
    }

    /// Our zone as it is served now.
    pub(super) fn published(&mut self, serial: u32, records: Vec<Tlsa>, ttl: u32) {
        if self.serial.is_some_and(|last| is_after(last, serial)) {
            return;
        }
        (self.serial, self.served) = (Some(serial), Some(records.clone()));
        let is_wanted = |set: &Set| Some(&set.records) == self.wanted.as_ref() && is_part(&records, &set.records);
        let at = self.sets.iter().position(is_wanted);
        match at.or_else(|| self.sets.iter().position(|set| set.records == records)) {
            Some(at) if self.sets.iter().skip(at + 1).all(|later| later.serial.is_none()) => {
                if let Some(set) = self.sets.get_mut(at) {
                    set.serial.get_or_insert(serial);
                    set.ttl = set.ttl.max(ttl);
                    set.out = true;
                }
            }
            _ => self.push(records, ttl, Some(serial)),
        }
        self.overtake();
    }

    /// Of what was to come out and is withheld now, or was told of too late, nothing comes after what our zone has.
    fn overtake(&mut self) {
        let Some(newest) = self.newest().filter(|_| self.withheld) else { return };
        let is_later = |set: &Set| set.number > newest.number && self.wanted.as_ref() != Some(&set.records);
        if self.sets.iter().any(is_later) {
            let Set { records, ttl, .. } = newest.clone();
            self.push(records, ttl, self.serial);
        }
    }

    /// The servers that the zone names.
    pub(super) fn name_servers(&mut self, names: &BTreeSet<String>, age: Age, guards: Guards) {
        self.servers.retain(|name, _| names.contains(name) || guards.on(Guard::Gone));
        for (name, server) in &mut self.servers {
            server.gone = if names.contains(name) { None } else { server.gone.or(Some(age)) };
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
        if !self.servers.contains_key(name) {
            return;
        }
        // Of what never came out nobody shows a part.
        let is_known = |set: &&mut Set| set.records == records || set.out && is_part(&records, &set.records);
        let mut known = self.sets.iter_mut().filter(is_known).peekable();
        let mut now = 0;
        if known.peek().is_none() {
            self.sets.insert(0, Set { number: 0, records, ttl, serial: None, superseded: None, out: true });
        } else {
            for set in known {
                let is_later = set.serial.is_some_and(|first| !is_after(first, serial));
                if is_later || set.records == records {
                    (set.ttl, set.out) = (set.ttl.max(ttl), true);
                }
                if is_later || !guards.on(Guard::Serial) {
                    now = now.max(set.number);
                }
            }
        }
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
        self.named().filter(move |(_, server)| server.has.is_none_or(|has| has < newest))
    }

    /// The servers that the zone names.
    pub(super) fn named(&self) -> impl Iterator<Item = (&String, &Server)> {
        self.servers.iter().filter(|(_, server)| server.gone.is_none())
    }

    /// The servers that resolvers may ask.
    pub(super) fn servers(&self) -> impl Iterator<Item = &String> {
        self.servers.keys()
    }

    /// Whether each server that the zone names was seen with what is wanted, or with nothing where that is withheld.
    pub(super) fn is_shown(&self) -> bool {
        self.is_settled() && self.named().next().is_some() && self.behind().next().is_none()
    }

    /// The daemon has started: what the servers have is asked anew before anything is built on it.
    pub(super) fn stale(&mut self) {
        self.servers.values_mut().for_each(|server| server.asked = None);
    }

    /// Whether each server was asked in the last so many seconds.
    pub(super) fn are_fresh(&self, age: Age, seconds: u64) -> bool {
        self.servers.values().all(|server| server.asked.is_some_and(|at| age <= at + seconds))
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
        let is_past =
            |server: &Server| server.gone.is_some_and(|since| clock.elapsed(since) >= settings.delegation.into());
        for set in self.sets.iter_mut().filter(|set| may_go(set)) {
            let has_later = |server: &Server| server.has.is_some_and(|has| has > set.number);
            let is_over = match guards.on(Guard::EveryServer) {
                true => servers.values().all(|server| has_later(server) || server.dead || is_past(server)),
                false => servers.values().any(has_later),
            };
            if !servers.is_empty() && (is_over || !guards.on(Guard::LastServer)) {
                set.superseded.get_or_insert(clock.mark());
            }
        }
        let mut passed_over = 0;
        let every = guards.on(Guard::EveryServer);
        self.sets.retain(|set| {
            let seen = |server: &Server| server.has.is_some_and(|has| has > set.number);
            let is_held = servers.values().any(|server| !seen(server) && !server.dead && !is_past(server));
            let blocked = is_held && every;
            let stays =
                !may_go(set) || blocked || gone_at(set, servers, settings, clock, guards).is_none_or(|gone| age < gone);
            passed_over = if stays { passed_over } else { passed_over.max(set.number) };
            stays
        });
        for server in self.servers.values_mut() {
            server.passed_over |= server.dead && server.has.is_none_or(|has| has <= passed_over) && passed_over > 0;
        }
        let last = self.sets.iter().filter(|set| may_go(set)).map(|set| set.number).max();
        let may_matter = |server: &Server| last.is_some_and(|last| server.has.is_none_or(|has| has <= last));
        self.servers.retain(|_, server| !is_past(server) || may_matter(server));
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
        let gone = self.servers.values().filter_map(|server| server.gone).filter(|_| self.is_waiting());
        let past = gone.map(|since| clock.end(since, settings.delegation.into()));
        let sets = self.sets.iter().filter_map(|set| gone_at(set, &self.servers, settings, clock, Guards::default()));
        past.chain(sets).filter(|at| *at > clock.age()).min()
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
    let superseded = set.superseded?;
    let end = clock.end(superseded, caches.max(settings.interval));
    let is_dead = |server: &&Server| server.dead && server.has.is_none_or(|has| has <= set.number);
    let dead: Vec<&Server> = servers.values().filter(is_dead).collect();
    if dead.is_empty() || !guards.on(Guard::DeadServer) {
        return Some(end);
    }
    let caches = if guards.on(Guard::DeadCaches) { 2 * u64::from(set.ttl) } else { 0 };
    // Of several dead ones each may have had it from the one before, until that one's zone expired.
    let expired = (dead.len() as u64).saturating_mul(settings.expire.into());
    let mut until = clock.end(superseded, expired.saturating_add(caches));
    // Those that the zone names no more are asked only as long as the delegation is cached.
    let gone: Option<Vec<Age>> = dead.iter().map(|server| server.gone).collect();
    if let Some(last) = gone.and_then(|gone| gone.into_iter().max()) {
        until = until.min(clock.end(last, u64::from(settings.delegation).saturating_add(caches)));
    }
    Some(end.max(until))
}

/// Whether records are all of a whole that there are under their parameters.
fn is_part(part: &[Tlsa], whole: &[Tlsa]) -> bool {
    let has = |record: &Tlsa| part.iter().any(|other| other.parameters == record.parameters);
    part == whole
        || !part.is_empty()
            && part.iter().all(|record| whole.contains(record))
            && whole.iter().all(|record| part.contains(record) || !has(record))
}

/// Whether a serial comes after another (RFC 1982 section 3.2).
fn is_after(left: u32, right: u32) -> bool {
    (1..0x8000_0000).contains(&left.wrapping_sub(right))
}
