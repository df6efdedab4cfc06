//! Which owners may hold records that exclude each other: seen in passing, so that only a zone with such an owner is looked
//! at closely.

use std::collections::{HashMap, HashSet};

use super::image;
use super::parser::Found;
use crate::dns::Rtype;

const CNAME: u8 = 1;
const DNAME: u8 = 2;
/// A record that can't stand beside a CNAME.
const OTHER: u8 = 4;
/// Spreads what it is multiplied with over all bits.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Records of one owner that stand together in the file.
#[derive(Debug)]
struct Run {
    key: u64,
    /// Where its types begin.
    types: u32,
    bits: u8,
}

/// The owners of a zone under way.
#[derive(Debug, Default)]
pub(super) struct Owners {
    runs: Vec<Run>,
    /// The types of each run, one after the other.
    types: Vec<Rtype>,
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
            Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3 => 0,
            _ => OTHER,
        };
        self.exclusive |= bits & (CNAME | DNAME) != 0;
        match record.rtype {
            Rtype::SOA => self.conflict |= std::mem::replace(&mut self.soa, true),
            Rtype::NS | Rtype::DNAME => self.conflict |= record.owner.is_wildcard(),
            _ => {}
        }
        match self.runs.last_mut().filter(|run| run.key == record.key) {
            Some(run) => {
                self.conflict |= merge(&mut run.bits, bits);
                if self.types.last() != Some(&record.rtype) {
                    self.types.push(record.rtype);
                }
            }
            None => {
                self.runs.push(Run { key: record.key, types: self.types.len() as u32, bits });
                self.types.push(record.rtype);
            }
        }
    }

    /// False when there is no conflict for certain.
    pub(super) fn may_conflict(&self) -> bool {
        if self.conflict || !self.exclusive {
            return self.conflict;
        }
        let exclusive = self.runs.iter().filter(|run| run.bits & (CNAME | DNAME) != 0);
        let mut owners: HashMap<u64, u8> = exclusive.map(|run| (run.key, 0)).collect();
        self.runs.iter().any(|run| owners.get_mut(&run.key).is_some_and(|seen| merge(seen, run.bits)))
    }

    /// What is to be remembered of the zone; `odd` are RRsets in which records don't count once each.
    pub(super) fn filter(&self, odd: &[(u64, Rtype)]) -> Filter {
        // 32 bits for each at least: as many once more may come before it tells less.
        let words = (self.runs.len() + odd.len()).next_power_of_two().max(8);
        let mut filter = Filter { bits: vec![0; words] };
        let mut scattered = HashSet::new();
        for run in &self.runs {
            if filter.has_owner(run.key) {
                scattered.insert(run.key);
            }
            filter.add(run.key, run.bits & CNAME != 0);
        }
        for (key, rtype) in odd.iter().copied().chain(self.split(&scattered)) {
            filter.set(mix(key, odd_salt(rtype)));
        }
        filter
    }

    /// The RRsets of the scattered owners that stand at several places: nobody has compared their records.
    fn split(&self, scattered: &HashSet<u64>) -> Vec<(u64, Rtype)> {
        let mut seen: HashMap<(u64, Rtype), usize> = HashMap::new();
        let mut split = Vec::new();
        for (number, run) in self.runs.iter().enumerate().filter(|(_, run)| scattered.contains(&run.key)) {
            let end = self.runs.get(number + 1).map_or(self.types.len(), |next| next.types as usize);
            for &rtype in &self.types[run.types as usize..end] {
                let set = (run.key, rtype);
                if seen.insert(set, number).is_some_and(|other| other != number) {
                    split.push(set);
                }
            }
        }
        split
    }
}

/// Which owners a zone has, which of them have a CNAME, and which RRsets are odd: some of those that are not are taken to
/// be (one of a thousand), never the other way round (a Bloom filter).
#[derive(Clone, Debug)]
pub(super) struct Filter {
    bits: Vec<u64>,
}

impl Filter {
    /// Appends it as octets that outlive the process.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.bits.len() as u64).to_le_bytes());
        self.bits.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    }

    /// Reads what [`Filter::write`] appended; none where it is cut short.
    pub(super) fn read(rest: &mut &[u8]) -> Option<Filter> {
        let words =
            usize::try_from(u64::from_le_bytes(*image::chunk(rest)?)).ok().filter(|words| words.is_power_of_two())?;
        let (octets, after) = rest.split_at_checked(words.checked_mul(8)?)?;
        *rest = after;
        let words = octets.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
        Some(Filter { bits: words.collect() })
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
