//! Which owners may hold records that exclude each other: seen in passing, so that only a zone with such an owner is looked
//! at closely.

use std::collections::HashMap;

use super::parser::Found;
use crate::dns::{Name, Rtype};

const CNAME: u8 = 1;
const DNAME: u8 = 2;
/// A record that can't stand beside a CNAME.
const OTHER: u8 = 4;

/// The owners of a zone under way: for each run of records with one owner its key, and what is in the run.
#[derive(Debug, Default)]
pub(super) struct Owners {
    runs: Vec<(u64, u8)>,
    /// There is a CNAME or a DNAME.
    exclusive: bool,
    soa: bool,
    conflict: bool,
}

impl Owners {
    pub(super) fn note(&mut self, record: &Found<'_>) {
        let bits = match record.rtype {
            Rtype::CNAME => CNAME,
            Rtype::DNAME => DNAME | OTHER,
            Rtype::RRSIG | Rtype::NSEC => 0,
            _ => OTHER,
        };
        self.exclusive |= bits & (CNAME | DNAME) != 0;
        match record.rtype {
            Rtype::SOA => self.conflict |= std::mem::replace(&mut self.soa, true),
            Rtype::NS | Rtype::DNAME => self.conflict |= record.owner.is_wildcard(),
            _ => {}
        }
        match self.runs.last_mut() {
            Some((key, seen)) if *key == record.key => self.conflict |= merge(seen, bits),
            _ => self.runs.push((record.key, bits)),
        }
    }

    /// False when there is no conflict for certain.
    pub(super) fn may_conflict(&self) -> bool {
        if self.conflict || !self.exclusive {
            return self.conflict;
        }
        let exclusive = self.runs.iter().filter(|(_, bits)| bits & (CNAME | DNAME) != 0);
        let mut owners: HashMap<u64, u8> = exclusive.map(|(key, _)| (*key, 0)).collect();
        self.runs.iter().any(|(key, bits)| owners.get_mut(key).is_some_and(|seen| merge(seen, *bits)))
    }
}

/// Adds what else an owner has. Whether it excludes what was there.
fn merge(seen: &mut u8, bits: u8) -> bool {
    let twice = *seen & bits & (CNAME | DNAME) != 0;
    *seen |= bits;
    twice || *seen & (CNAME | OTHER) == CNAME | OTHER
}

/// A number for a name, the same in any case. Different names seldom have the same.
pub(super) fn key(name: &Name) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    // This bit is all that tells a capital from a small letter.
    const CASE: u64 = u64::from_ne_bytes([0x20; 8]);
    let (chunks, rest) = name.as_wire().as_chunks::<8>();
    let mut last = [0u8; 8];
    last[..rest.len()].copy_from_slice(rest);
    let words = chunks.iter().chain(std::iter::once(&last)).map(|chunk| u64::from_le_bytes(*chunk) | CASE);
    words.fold(rest.len() as u64, |sum, word| {
        let product = (sum ^ word).wrapping_mul(FACTOR);
        product ^ product >> 29
    })
}
