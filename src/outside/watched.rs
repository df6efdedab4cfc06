//! Which zones are looked at from outside, what was seen of each, and when it is to be looked at again.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::chain::{Seen, judge};
use crate::dane::prerequisites::{Fact, Verdict};
use crate::dns::{Name, Rdata, Timestamp};

/// Seconds until a zone with which all is well is looked at again, and any other one.
const AGAIN: u64 = 3600;
const SOON: u64 = 300;
/// Seconds until an answer that never came is asked for again: what waits in the queue is not lost.
const PATIENCE: u64 = 900;

/// The zones that are looked at from outside, what was seen, and when each is due again.
#[derive(Debug, Default)]
pub struct Watched {
    zones: BTreeMap<Name, Zone>,
}

#[derive(Debug)]
struct Zone {
    keys: Vec<Rdata>,
    fact: Option<(Fact, Timestamp)>,
    due: Timestamp,
}

impl Watched {
    /// These are looked at, and no others; each with its DNSKEY RDATA. One with other keys is due at once.
    pub fn want(&mut self, zones: BTreeMap<Name, Vec<Rdata>>) {
        self.zones.retain(|apex, _| zones.contains_key(apex));
        for (apex, keys) in zones {
            let zone = self.zones.entry(apex).or_insert_with(|| Zone { keys: Vec::new(), fact: None, due: 0 });
            if zone.keys != keys {
                (zone.keys, zone.due) = (keys, 0);
            }
        }
    }

    /// The zones to look at now, so many at most.
    pub fn due(&mut self, now: Timestamp, room: usize) -> Vec<Name> {
        let due = self.zones.iter_mut().filter(|(_, zone)| zone.due <= now).take(room);
        due.map(|(apex, zone)| {
            zone.due = now + PATIENCE;
            apex.clone()
        })
        .collect()
    }

    /// All are due now: the operator has changed something.
    pub fn hurry(&mut self) {
        self.zones.values_mut().for_each(|zone| zone.due = 0);
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.zones.values().map(|zone| zone.due).min()
    }

    /// A zone was looked at. Whether that says something else than before.
    pub fn seen(&mut self, apex: &Name, seen: &Seen, now: Timestamp) -> bool {
        let Some(zone) = self.zones.get_mut(apex) else { return false };
        let fact = judge(apex, &zone.keys, seen).fact;
        let is_well = fact.verdict == Verdict::Held && fact.help.is_empty();
        zone.due = now + spread(apex, if is_well { AGAIN } else { SOON });
        let is_other = zone.fact.as_ref().is_none_or(|(before, _)| *before != fact);
        zone.fact = Some((fact, now));
        is_other
    }

    /// What is known of a zone, and since when.
    pub fn fact(&self, apex: &Name) -> Option<(&Fact, Timestamp)> {
        self.zones.get(apex)?.fact.as_ref().map(|(fact, at)| (fact, *at))
    }

    /// What is known of each.
    pub fn facts(&self) -> impl Iterator<Item = (&Name, &Fact)> {
        self.zones.iter().filter_map(|(apex, zone)| Some((apex, &zone.fact.as_ref()?.0)))
    }
}

/// Thousands of zones are not asked about in the same second: up to a quarter later, each always alike.
fn spread(apex: &Name, seconds: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    apex.hash(&mut hasher);
    seconds + hasher.finish() % (seconds / 4)
}
