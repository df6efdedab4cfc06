//! The NSEC3 chain of a snapshot: found by hash, and for names that exist known beforehand.

use std::ops::Range;

use super::{NONE, Node, Set};
use crate::dns::name::MAX_NAME;
use crate::zone::denial::nsec3::{Hash, Parameters};

/// The NSEC3 RRsets in hash order.
#[derive(Debug)]
pub struct HashedChain {
    parameters: Parameters,
    /// In ascending order.
    hashes: Vec<Hash>,
    /// Beside each hash its RRset.
    sets: Vec<Hashed>,
    proofs: Vec<Proofs>,
}

/// One NSEC3 RRset.
#[derive(Debug)]
pub struct Hashed {
    /// The RRset.
    pub set: Set,
    pub(super) name: Range<u32>,
}

/// What is known of an existing name without hashing it anew.
#[derive(Clone, Copy, Debug)]
struct Proofs {
    /// The RRset that matches the name; [`NONE`] where opt-out leaves it out.
    matching: u32,
    /// The RRset that matches or covers the wildcard below the name; [`NONE`] where no name is that long.
    wildcard: u32,
}

impl HashedChain {
    pub(super) fn new(parameters: Parameters) -> HashedChain {
        HashedChain { parameters, hashes: Vec::new(), sets: Vec::new(), proofs: Vec::new() }
    }

    /// Adds an RRset. Hashes come in ascending order: that of their names, as base32hex keeps it (RFC 5155 section 1.3).
    pub(super) fn push(&mut self, hash: Hash, name: Range<u32>, set: Set) {
        debug_assert!(self.hashes.last().is_none_or(|last| *last < hash));
        self.hashes.push(hash);
        self.sets.push(Hashed { set, name });
    }

    /// Notes the proofs of a name that exists; gives their number.
    pub(super) fn prove(&mut self, name: &[u8]) -> u32 {
        let matching = self.hashes.binary_search(&self.parameters.hash(name));
        let mut wildcard = [0; MAX_NAME + 2];
        wildcard[..2].copy_from_slice(b"\x01*");
        wildcard[2..2 + name.len()].copy_from_slice(name);
        let wildcard = &wildcard[..2 + name.len()];
        let covered = (wildcard.len() <= MAX_NAME).then(|| self.position(&self.parameters.hash(wildcard))).flatten();
        let number = |position: Option<usize>| position.map_or(NONE, |position| position as u32);
        self.proofs.push(Proofs { matching: number(matching.ok()), wildcard: number(covered) });
        self.proofs.len() as u32 - 1
    }

    /// The RRset that matches a name of the zone; none where opt-out leaves the name out.
    pub fn matching(&self, node: &Node) -> Option<&Hashed> {
        self.sets.get(self.proofs.get(node.proofs as usize)?.matching as usize)
    }

    /// The RRset that matches or covers the wildcard right below a name of the zone.
    pub fn wildcard(&self, node: &Node) -> Option<&Hashed> {
        self.sets.get(self.proofs.get(node.proofs as usize)?.wildcard as usize)
    }

    /// The RRset that matches or covers a name in wire form, any case.
    pub fn covering(&self, name: &[u8]) -> Option<&Hashed> {
        self.sets.get(self.position(&self.parameters.hash(name))?)
    }

    /// The RRsets, in hash order.
    pub fn sets(&self) -> &[Hashed] {
        &self.sets
    }

    /// The last hash at or before `wanted`; the chain's last one covers what comes before its first. Hashes are spread evenly, so the
    /// search begins where `wanted` would stand if they were so exactly, and needs only a few steps.
    fn position(&self, wanted: &Hash) -> Option<usize> {
        let (hashes, len) = (&self.hashes, self.hashes.len());
        let [first, second, third, fourth, ..] = *wanted;
        let guess = (u64::from(u32::from_be_bytes([first, second, third, fourth])) * len as u64) >> 32;
        let (mut low, mut high) = (guess as usize, guess as usize);
        let mut step = 4;
        while low > 0 && hashes[low] > *wanted {
            low = low.saturating_sub(step);
            step *= 2;
        }
        while high < len && hashes[high] <= *wanted {
            high = (high + step).min(len);
            step *= 2;
        }
        let after = low + hashes[low..high].partition_point(|hash| hash <= wanted);
        after.checked_sub(1).or(len.checked_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(hashes: impl IntoIterator<Item = Hash>) -> HashedChain {
        HashedChain { hashes: hashes.into_iter().collect(), ..HashedChain::new(Parameters::default()) }
    }

    #[test]
    fn the_search_finds_what_a_search_from_end_to_end_finds() {
        let parameters = Parameters::default();
        for len in [1u32, 2, 3, 17, 1000] {
            let mut hashes: Vec<Hash> = (0..len).map(|number| parameters.hash(&number.to_be_bytes())).collect();
            hashes.sort_unstable();
            let mut wanted: Vec<Hash> =
                (0..500u32).map(|number| parameters.hash(&(number << 8).to_le_bytes())).collect();
            wanted.extend([[0; 20], [255; 20]]);
            wanted.extend(&hashes);
            let chain = chain(hashes.clone());
            for wanted in wanted {
                let expected = hashes.iter().rposition(|hash| *hash <= wanted).unwrap_or(hashes.len() - 1);
                assert_eq!(chain.position(&wanted), Some(expected), "{len}");
            }
        }
        assert_eq!(chain([]).position(&[1; 20]), None);
        let skewed = chain((0..100).map(|last| {
            let mut hash = [255; 20];
            hash[19] = last;
            hash
        }));
        assert_eq!(skewed.position(&[0; 20]), Some(99));
        assert_eq!(skewed.position(&[255; 20]), Some(99));
    }
}
