//! Several differences as one (RFC 1995 section 5): what came and went in between is left out, and so are the versions in between.
//!
//! No record is copied. What is sent is a list of places in the differences, of eight octets for each record.

use std::sync::Arc;

use super::difference::{Changed, Difference};
use super::tree::key;
use crate::dns::{Rtype, name};

/// What one or more differences come to.
#[derive(Clone, Debug, Default)]
pub struct Condensed {
    differences: Box<[Arc<Difference>]>,
    /// The oldest SOA, what goes, the newest SOA, what comes.
    places: Box<[Place]>,
    octets: usize,
}

/// Where a record stands: in which difference, and from which octet on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    part: u16,
    at: u32,
}

/// A record that comes or goes; in one order with those that are the same, then by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    hash: u64,
    part: u16,
    comes: bool,
    at: u32,
}

impl Condensed {
    /// Of differences that each begin where the one before ends, oldest first. None of none, and of more than 65,536 or of one with more
    /// than 4 GiB.
    pub fn of(differences: &[Arc<Difference>]) -> Option<Condensed> {
        let mut steps = Vec::new();
        let mut soas = Vec::new();
        for (part, difference) in differences.iter().enumerate() {
            let part = u16::try_from(part).ok()?;
            u32::try_from(difference.octets().len()).ok()?;
            let (mut next, mut comes) = (0, true);
            while let Some((record, after)) = difference.record_at(next) {
                let at = next as u32;
                if record.rtype == Rtype::SOA {
                    comes = !comes;
                    soas.push(Place { part, at });
                } else {
                    steps.push(Step { hash: hash(&record), part, comes, at });
                }
                next = after;
            }
        }
        let (first, last) = (*soas.first()?, *soas.last()?);
        let condensed = Condensed { differences: differences.into(), ..Condensed::default() };
        if differences.len() > 1 {
            steps = condensed.without_pairs(steps);
        }
        steps.sort_unstable_by_key(|step| (step.comes, step.part, step.at));
        let gone = steps.partition_point(|step| !step.comes);
        let place = |step: &Step| Place { part: step.part, at: step.at };
        let gone_and_come = steps[..gone].iter().map(place).chain([last]).chain(steps[gone..].iter().map(place));
        let places: Box<[Place]> = std::iter::once(first).chain(gone_and_come).collect();
        let octets = places.iter().filter_map(|place| Some(condensed.read(*place)?.1 - place.at as usize)).sum();
        Some(Condensed { places, octets, ..condensed })
    }

    /// What is left when every record that comes and goes again, or goes and comes again, is taken out.
    fn without_pairs(&self, mut steps: Vec<Step>) -> Vec<Step> {
        steps.sort_unstable();
        let mut kept: Vec<Step> = Vec::new();
        for same_hash in steps.chunk_by(|one, other| one.hash == other.hash) {
            let begin = kept.len();
            for step in same_hash {
                let undoes = |before: &Step| before.comes != step.comes && self.is_same(before, step);
                match kept[begin..].iter().position(undoes) {
                    Some(before) => drop(kept.swap_remove(begin + before)),
                    None => kept.push(*step),
                }
            }
        }
        kept
    }

    fn is_same(&self, one: &Step, other: &Step) -> bool {
        let record = |step: &Step| Some(self.read(Place { part: step.part, at: step.at })?.0);
        let (Some(one), Some(other)) = (record(one), record(other)) else { return false };
        name::is_same(one.owner, other.owner)
            && (one.rtype, one.ttl, one.rdata) == (other.rtype, other.ttl, other.rdata)
    }

    fn read(&self, place: Place) -> Option<(Changed<'_>, usize)> {
        self.differences.get(usize::from(place.part))?.record_at(place.at as usize)
    }

    /// A record by its number, from 0 on: the oldest SOA, what goes, the newest SOA, what comes.
    pub fn record(&self, number: usize) -> Option<Changed<'_>> {
        Some(self.read(*self.places.get(number)?)?.0)
    }

    /// How many octets its records take.
    pub fn octets(&self) -> usize {
        self.octets
    }
}

fn hash(record: &Changed<'_>) -> u64 {
    let head = [key::hash(record.owner), u64::from(record.rtype.0) << 32 | u64::from(record.ttl)].map(u64::to_le_bytes);
    key::digest(&[head.as_flattened(), record.rdata]) as u64
}
