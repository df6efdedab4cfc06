//! The zone and its servers: the primary here, and secondaries that fetch it later.

use super::super::HOUR;
use super::world::{Happening, Record, World};
use crate::acme::Proof;

/// A version of the zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub records: Vec<Record>,
    pub proofs: Vec<Proof>,
}

/// Every version, and which each server has.
pub struct Zone {
    pub versions: Vec<Content>,
    pub has: [usize; 3],
}

impl Zone {
    pub fn new() -> Zone {
        Zone { versions: vec![Content::default()], has: [0; 3] }
    }

    pub fn fetch(&mut self, server: usize) {
        self.has[server] = self.versions.len() - 1;
    }

    pub fn of(&self, server: usize) -> &Content {
        &self.versions[self.has[server]]
    }

    pub fn served(&self) -> Vec<Vec<Record>> {
        (0..3).map(|server| self.of(server).records.clone()).collect()
    }

    pub fn serial(&self, server: usize) -> u32 {
        self.has[server] as u32 + 1
    }

    /// A server that does not show proofs.
    pub fn lacks(&self, proofs: &[Proof]) -> Option<usize> {
        (0..3).find(|server| !proofs.iter().all(|proof| self.of(*server).proofs.contains(proof)))
    }
}

impl World {
    /// The zone changes: here at once, elsewhere later. Whether it did.
    pub fn change(&mut self, change: impl FnOnce(&mut Content)) -> bool {
        let mut content = self.zone.of(0).clone();
        change(&mut content);
        if content == *self.zone.of(0) {
            return false;
        }
        self.zone.versions.push(content);
        self.zone.fetch(0);
        for server in 1..3 {
            let lag = match self.chance.below(40) {
                0 => 8 * HOUR,
                1..4 => HOUR,
                _ => 30,
            };
            self.within(if self.plan.calm { 5 } else { lag }, Happening::Fetch { server });
        }
        self.judge.serves(&self.zone.served(), self.now);
        true
    }
}
