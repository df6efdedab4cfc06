//! The NSEC3 chain of a snapshot: found by hash.

use crate::dns::Rtype;
use crate::zone::denial::nsec3::{self, Fields, Hash, Parameters};
use crate::zone::tree::{Node, Tree};

/// The owners of the NSEC3 RRsets in hash order.
#[derive(Clone, Debug)]
pub struct HashedChain {
    parameters: Parameters,
    links: Vec<Link>,
}

/// Where an NSEC3 RRset stands.
#[derive(Clone, Copy, Debug)]
struct Link {
    /// The first eight octets of its hash.
    word: u64,
    page: u32,
    place: u32,
}

fn word(hash: &Hash) -> u64 {
    hash.first_chunk::<8>().map_or(0, |octets| u64::from_be_bytes(*octets))
}

impl HashedChain {
    /// The NSEC3 RRsets of one chain; a zone that changes its salt may hold the records of another one beside it. The order of the names
    /// is that of the hashes, as base32hex keeps it (RFC 5155 section 1.3).
    pub(super) fn new(tree: &Tree, parameters: Parameters) -> HashedChain {
        let mut links = Vec::new();
        for (number, page) in tree.numbered() {
            for index in 0..page.len() {
                let node = page.node(index);
                let Some(hash) = hash_of(node, tree, &parameters) else { continue };
                links.push(Link { word: word(&hash), page: number, place: page.place(index) });
            }
        }
        HashedChain { parameters, links }
    }

    /// The NSEC3's owner that matches a name in wire form; none where opt-out leaves the name out.
    pub fn matching<'a>(&self, tree: &'a Tree, name: &[u8]) -> Option<Node<'a>> {
        let hash = self.parameters.hash(name);
        let node = self.node(tree, self.position(tree, &hash)?);
        (label_hash(node) == Some(hash)).then_some(node)
    }

    /// The NSEC3's owner that matches or covers a name in wire form, any case.
    pub fn covering<'a>(&self, tree: &'a Tree, name: &[u8]) -> Option<Node<'a>> {
        Some(self.node(tree, self.position(tree, &self.parameters.hash(name))?))
    }

    fn node<'a>(&self, tree: &'a Tree, position: usize) -> Node<'a> {
        let link = &self.links[position];
        tree.pages()[link.page as usize].node_at(link.place)
    }

    /// The last hash at or before `wanted`; the chain's last one covers what comes before its first. Hashes are spread evenly, so the
    /// search begins where `wanted` would stand if they were so exactly, and needs only a few steps.
    fn position(&self, tree: &Tree, wanted: &Hash) -> Option<usize> {
        let (links, len) = (&self.links, self.links.len());
        let wanted_word = word(wanted);
        let is_after = |position: usize| match links[position].word.cmp(&wanted_word) {
            std::cmp::Ordering::Equal => label_hash(self.node(tree, position)).is_some_and(|hash| hash > *wanted),
            order => order.is_gt(),
        };
        let guess = ((u128::from(wanted_word) * len as u128) >> 64) as usize;
        let (mut low, mut high) = (guess, guess);
        let mut step = 4;
        while low > 0 && is_after(low) {
            low = low.saturating_sub(step);
            step *= 2;
        }
        while high < len && !is_after(high) {
            high = (high + step).min(len);
            step *= 2;
        }
        while low < high {
            let middle = (low + high) / 2;
            if is_after(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low.checked_sub(1).or(len.checked_sub(1))
    }
}

/// The hash of an owner, if it has an NSEC3 of these parameters.
fn hash_of(node: Node<'_>, tree: &Tree, parameters: &Parameters) -> Option<Hash> {
    let set = node.set(Rtype::NSEC3)?;
    let rdata = set.rdatas(tree.apex().as_wire()).next()?;
    let hash = nsec3::hash_in(&node.owner(), tree.apex())?;
    Fields::parse(&rdata).is_some_and(|fields| fields.is_of(parameters)).then_some(hash)
}

/// The hash in an owner's first label.
fn label_hash(node: Node<'_>) -> Option<Hash> {
    let mut hash = [0; 20];
    let label = node.name().get(1..33)?;
    let len = data_encoding::BASE32_DNSSEC.decode_mut(label, &mut hash).ok()?;
    (len == hash.len()).then_some(hash)
}
