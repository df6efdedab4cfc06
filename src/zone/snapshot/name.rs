//! A name that is looked up: in lower case, with the hashes of itself and of the names above it, on the stack.

use crate::dns::name::MAX_NAME;
use crate::zone::tree::key;

/// So many names are hashed beforehand, from the root on; longer ones when they are looked for.
const HASHED: usize = 10;

/// A wire-form name in lower case.
#[derive(Clone, Copy)]
pub struct HashedName {
    octets: [u8; MAX_NAME],
    len: u8,
    labels: u8,
    /// Where the name of so many labels begins.
    starts: [u8; MAX_NAME / 2 + 1],
    hashes: [u64; HASHED],
}

impl HashedName {
    /// Takes a whole wire-form name.
    pub fn new(wire: &[u8]) -> HashedName {
        let mut name = HashedName {
            octets: [0; MAX_NAME],
            len: wire.len() as u8,
            labels: 0,
            starts: [0; MAX_NAME / 2 + 1],
            hashes: [key::ROOT_HASH; HASHED],
        };
        name.octets[..wire.len()].copy_from_slice(wire);
        name.octets[..wire.len()].make_ascii_lowercase();
        let mut leftmost = [0u8; MAX_NAME / 2 + 1];
        let (mut count, mut at) = (0, 0);
        while wire[at] != 0 {
            leftmost[count] = at as u8;
            count += 1;
            at += 1 + usize::from(wire[at]);
        }
        name.labels = count as u8;
        name.starts[0] = at as u8;
        for depth in 1..=count {
            let start = leftmost[count - depth];
            name.starts[depth] = start;
            if depth < HASHED {
                let label = &wire[usize::from(start)..usize::from(name.starts[depth - 1])];
                name.hashes[depth] = key::fold(name.hashes[depth - 1], label);
            }
        }
        name
    }

    /// The wire form.
    pub fn as_wire(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    /// How many labels it has, the root's not counted.
    pub fn label_count(&self) -> usize {
        usize::from(self.labels)
    }

    /// The name of its last `depth` labels, and its hash.
    pub fn suffix(&self, depth: usize) -> (&[u8], u64) {
        let wire = &self.as_wire()[usize::from(self.starts[depth])..];
        (wire, if depth < HASHED { self.hashes[depth] } else { key::hash(wire) })
    }

    /// Its hash.
    pub fn hash(&self) -> u64 {
        self.suffix(self.label_count()).1
    }
}
