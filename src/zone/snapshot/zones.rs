//! The zones of a snapshot by their apexes: a hash table whose parts its versions share.

use std::sync::Arc;

use super::ZoneSnapshot;
use super::name::HashedName;
use super::near;
use crate::dns::{Name, name};
use crate::zone::tree::key;

/// Slots of one part, where there are several; at most half of them are taken on average.
const PART: usize = 256;

/// A zone that is ours, and its contents if there are any to serve.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Zone(Arc<ZoneSnapshot>),
    /// It has no good version.
    Broken(Box<Name>),
}

impl Entry {
    fn origin(&self) -> &Name {
        match self {
            Entry::Zone(zone) => zone.origin(),
            Entry::Broken(origin) => origin,
        }
    }

    fn octets(&self) -> usize {
        match self {
            Entry::Zone(zone) => zone.octets,
            Entry::Broken(_) => 0,
        }
    }
}

#[derive(Clone, Debug)]
struct Slot {
    hash: u64,
    entry: Entry,
}

type Part = Arc<[Option<Slot>]>;

#[derive(Clone, Debug)]
pub(super) struct Zones {
    /// As many as a power of two, all of one size.
    parts: Vec<Part>,
    count: usize,
    octets: usize,
    /// A bit for each number of labels that an apex has.
    depths: u128,
}

impl Default for Zones {
    fn default() -> Zones {
        Zones { parts: vec![Arc::new([None, None])], count: 0, octets: 0, depths: 0 }
    }
}

impl Zones {
    /// A table of these; of two with one apex the later counts.
    pub(super) fn new(entries: Vec<Entry>) -> Zones {
        let mut parts = (2 * entries.len()).div_ceil(PART).next_power_of_two();
        let size = if parts == 1 { (2 * entries.len()).next_power_of_two().max(2) } else { PART };
        loop {
            let mut zones = Zones {
                parts: (0..parts).map(|_| (0..size).map(|_| None).collect()).collect(),
                count: 0,
                octets: 0,
                depths: 0,
            };
            if entries.iter().all(|entry| zones.put(entry.clone())) {
                return zones;
            }
            parts *= 2;
        }
    }

    /// The same with these in the place of what their apexes had.
    pub(super) fn with(&self, entries: Vec<Entry>) -> Zones {
        let mut zones = self.clone();
        let slots: usize = zones.parts.iter().map(|part| part.len()).sum();
        let fits = 2 * (self.count + entries.len()) <= slots || entries.len() == 1 && self.count * 8 < slots * 5;
        if fits && entries.iter().all(|entry| zones.put(entry.clone())) {
            return zones;
        }
        Zones::new(self.entries().cloned().chain(entries).collect())
    }

    /// False where its part is full.
    fn put(&mut self, entry: Entry) -> bool {
        let hash = key::hash(entry.origin().as_wire());
        let number = part_of(hash, self.parts.len());
        let part = &mut self.parts[number];
        if Arc::get_mut(part).is_none() {
            *part = part.iter().cloned().collect();
        }
        let Some(part) = Arc::get_mut(part) else { return false };
        let mask = part.len() - 1;
        let mut at = hash as usize & mask;
        for _ in 0..mask {
            let same = part[at].as_ref().map(|slot| slot.hash == hash && slot.entry.origin() == entry.origin());
            if same != Some(false) {
                self.count += usize::from(same.is_none());
                self.octets += entry.octets();
                self.octets -= part[at].as_ref().map_or(0, |slot| slot.entry.octets());
                self.depths |= 1 << entry.origin().label_count();
                part[at] = Some(Slot { hash, entry });
                return true;
            }
            at = (at + 1) & mask;
        }
        false
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.parts.iter().flat_map(|part| part.iter()).flatten().map(|slot| &slot.entry)
    }

    /// The entry whose apex is nearest above a name, or the name itself; `skip` labels are left out.
    pub(super) fn nearest(&self, name: &HashedName<'_>, skip: usize) -> Option<&Entry> {
        let most = name.label_count().saturating_sub(skip);
        self.depths_of(name).skip_while(|depth| *depth > most).find_map(|depth| {
            let (wire, hash) = name.suffix(depth);
            self.get(wire, hash)
        })
    }

    fn get(&self, apex: &[u8], hash: u64) -> Option<&Entry> {
        let part = &self.parts[part_of(hash, self.parts.len())];
        let mask = part.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = part[at].as_ref()?;
            if slot.hash == hash && name::is_same(slot.entry.origin().as_wire(), apex) {
                return Some(&slot.entry);
            }
            at = (at + 1) & mask;
        }
    }

    /// How many octets the zones take.
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    /// Asks for the slot of the most likely zone above a name; gives the hash of its apex.
    pub(super) fn prefetch(&self, name: &HashedName<'_>) -> u64 {
        let depth = self.depths_of(name).next().unwrap_or(0);
        let hash = name.suffix(depth).1;
        near::fetch(self.first(hash));
        hash
    }

    /// The zone of an apex as far as its hash tells.
    pub(super) fn likely(&self, hash: u64) -> Option<&ZoneSnapshot> {
        let part = &self.parts[part_of(hash, self.parts.len())];
        let mask = part.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            match part[at].as_ref()? {
                Slot { hash: its, entry: Entry::Zone(zone) } if *its == hash => return Some(zone),
                _ => at = (at + 1) & mask,
            }
        }
    }

    fn first(&self, hash: u64) -> &Option<Slot> {
        let part = &self.parts[part_of(hash, self.parts.len())];
        &part[hash as usize & (part.len() - 1)]
    }

    /// The numbers of labels that an apex above a name can have, the most first.
    fn depths_of(&self, name: &HashedName<'_>) -> impl Iterator<Item = usize> {
        let depths = self.depths;
        (0..=name.label_count()).rev().filter(move |depth| depths >> depth & 1 == 1)
    }
}

fn part_of(hash: u64, parts: usize) -> usize {
    (hash >> 24) as usize & (parts - 1)
}
