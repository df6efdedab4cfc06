//! A name that is looked up: with the hashes of itself and of the names above it.

use crate::zone::tree::key;

/// So many names are hashed beforehand, from the root on; longer ones when they are looked for.
const HASHED: usize = 12;
/// As many as a power of two, so that a start's place in the ring is its number's last bits.
const RING: usize = 16;

/// A wire-form name in any case.
#[derive(Clone, Copy)]
pub struct HashedName<'a> {
    wire: &'a [u8],
    labels: u8,
    /// Where the name of so many labels begins, for those that are hashed.
    starts: [u8; HASHED],
    hashes: [u64; HASHED],
}

impl<'a> HashedName<'a> {
    /// The root.
    pub const ROOT: HashedName<'static> =
        HashedName { wire: &[0], labels: 0, starts: [0; HASHED], hashes: [key::ROOT_HASH; HASHED] };

    /// Takes a whole wire-form name.
    pub fn new(wire: &'a [u8]) -> HashedName<'a> {
        let mut name = HashedName { wire, ..HashedName::ROOT };
        // The starts of the last labels that were passed.
        let mut ring = [0u8; RING];
        let (mut count, mut at) = (0, 0);
        while wire[at] != 0 {
            ring[count % RING] = at as u8;
            count += 1;
            at += 1 + usize::from(wire[at]);
        }
        name.labels = count as u8;
        name.starts[0] = at as u8;
        let mut end = at;
        for depth in 1..=count.min(HASHED - 1) {
            let start = usize::from(ring[(count - depth) % RING]);
            name.starts[depth] = start as u8;
            name.hashes[depth] = key::fold(name.hashes[depth - 1], &wire[start..end]);
            end = start;
        }
        name
    }

    /// The wire form.
    pub fn as_wire(&self) -> &'a [u8] {
        self.wire
    }

    /// How many labels it has, the root's not counted.
    pub fn label_count(&self) -> usize {
        usize::from(self.labels)
    }

    /// The name of its last `depth` labels, and its hash.
    pub fn suffix(&self, depth: usize) -> (&'a [u8], u64) {
        if depth < HASHED {
            return (&self.wire[usize::from(self.starts[depth])..], self.hashes[depth]);
        }
        let mut wire = self.wire;
        for _ in depth..self.label_count() {
            wire = &wire[1 + usize::from(wire[0])..];
        }
        (wire, key::hash(wire))
    }

    /// Its hash.
    pub fn hash(&self) -> u64 {
        self.suffix(self.label_count()).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_above_has_its_hash() {
        for labels in [0, 1, HASHED - 1, HASHED, RING, RING + 1, 60, 127] {
            let wire: Vec<u8> = (0..labels).flat_map(|label| [1, b'A' + (label % 26) as u8]).chain([0]).collect();
            let name = HashedName::new(&wire);
            assert_eq!(name.label_count(), labels);
            for depth in 0..=labels {
                let above = &wire[2 * (labels - depth)..];
                assert_eq!(name.suffix(depth), (above, key::hash(&above.to_ascii_lowercase())), "{depth} of {labels}");
            }
        }
    }
}
