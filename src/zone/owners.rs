//! Which owners may hold records that exclude each other: seen in passing, so that only a zone with such an owner is looked
//! at closely.

use std::collections::HashMap;

use super::parser::Found;
use crate::dns::{Name, Rtype};

const CNAME: u8 = 1;
const DNAME: u8 = 2;
/// A record that can't stand beside a CNAME.
const OTHER: u8 = 4;
/// Spreads what it is multiplied with over all bits.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

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

/// Which owners a zone has, which of them have a CNAME, and which RRsets are odd: some of those that are not are taken to
/// be (one of a thousand), never the other way round (a Bloom filter).
#[derive(Clone, Debug)]
pub(super) struct Filter {
    bits: Vec<u64>,
}

impl Filter {
    /// Of a zone that was read; the odd RRsets are those in which records don't count once each.
    pub(super) fn new(owners: &Owners, odd: &[(u64, Rtype)]) -> Filter {
        // 32 bits each, and at least as many once more for what comes later.
        let words = (owners.runs.len() + odd.len()).next_power_of_two().max(8);
        let mut filter = Filter { bits: vec![0; words] };
        for (key, bits) in &owners.runs {
            filter.add(*key, bits & CNAME != 0);
        }
        for (key, rtype) in odd {
            filter.set(mix(*key, odd_salt(*rtype)));
        }
        filter
    }

    pub(super) fn add(&mut self, key: u64, cname: bool) {
        self.set(mix(key, SALT_OWNER));
        if cname {
            self.set(mix(key, SALT_CNAME));
        }
    }

    pub(super) fn has_owner(&self, key: u64) -> bool {
        self.is_set(mix(key, SALT_OWNER))
    }

    pub(super) fn has_cname(&self, key: u64) -> bool {
        self.is_set(mix(key, SALT_CNAME))
    }

    pub(super) fn is_odd(&self, key: u64, rtype: Rtype) -> bool {
        self.is_set(mix(key, odd_salt(rtype)))
    }

    fn places(&self, hash: u64) -> [(usize, u64); 3] {
        [hash, hash >> 21, hash >> 42].map(|part| ((part >> 6) as usize & (self.bits.len() - 1), 1 << (part & 63)))
    }

    fn set(&mut self, hash: u64) {
        for (word, bit) in self.places(hash) {
            self.bits[word] |= bit;
        }
    }

    fn is_set(&self, hash: u64) -> bool {
        self.places(hash).into_iter().all(|(word, bit)| self.bits[word] & bit != 0)
    }
}

const SALT_OWNER: u64 = 1 << 32;
const SALT_CNAME: u64 = 2 << 32;

fn odd_salt(rtype: Rtype) -> u64 {
    3 << 32 | u64::from(rtype.0)
}

fn mix(key: u64, salt: u64) -> u64 {
    let product = (key ^ salt.wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
    product ^ product >> 32
}

/// Adds what else an owner has. Whether it excludes what was there.
fn merge(seen: &mut u8, bits: u8) -> bool {
    let twice = *seen & bits & (CNAME | DNAME) != 0;
    *seen |= bits;
    twice || *seen & (CNAME | OTHER) == CNAME | OTHER
}

/// A number for a name, the same in any case. Different names seldom have the same.
pub(super) fn key(name: &Name) -> u64 {
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
