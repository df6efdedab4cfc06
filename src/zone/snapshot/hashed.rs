//! The NSEC3 chain of a snapshot: found by hash, in parts that its versions share.
//!
//! Hashes are spread evenly, so their first bits tell in which part they are; a part holds some dozens in order, eight octets for each.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::dns::Rtype;
use crate::zone::denial::nsec3::{self, Fields, Hash, Parameters};
use crate::zone::tree::{Node, Page, Tree};

/// So many links a part has at most when it is made, where they are spread evenly.
const PART: usize = 128;

/// Where an NSEC3 RRset stands: 16 bits of its hash, those behind the ones that choose the part; the page's number; its place there.
type Link = u64;

fn page_of(link: Link) -> usize {
    (link >> 24 & 0xff_ffff) as usize
}

fn node_of(link: Link, tree: &Tree) -> Node<'_> {
    tree.pages()[page_of(link)].node_at((link & 0xff_ffff) as u32)
}

/// The owners of the NSEC3 RRsets in hash order.
#[derive(Clone, Debug)]
pub struct HashedChain {
    parameters: Parameters,
    /// As many as a power of two.
    parts: Vec<Arc<[Link]>>,
    len: usize,
}

impl HashedChain {
    /// The NSEC3 RRsets of one chain; a zone that changes its salt may hold the records of another one beside it. The tree has less than
    /// 2^24 pages, each of less than 16 MiB.
    pub(super) fn new(tree: &Tree, parameters: Parameters) -> HashedChain {
        let pages = tree.numbered().map(|(number, page)| (number as usize, page));
        let found: Vec<(Hash, Link)> =
            pages.flat_map(|(number, page)| links(tree, number, page, &parameters)).collect();
        let parts = found.len().div_ceil(PART).next_power_of_two();
        let none: Arc<[Link]> = Arc::new([]);
        let mut chain = HashedChain { parameters, parts: vec![none; parts], len: found.len() };
        let bits = chain.bits();
        for same in found.chunk_by(|(one, _), (other, _)| part_of(one, bits) == part_of(other, bits)) {
            chain.parts[part_of(&same[0].0, bits)] = same.iter().map(|(hash, link)| link | tag(hash, bits)).collect();
        }
        chain
    }

    /// The chain of a later version of the tree, in which these pages are others; none where it has to be made anew.
    pub(super) fn after(
        &self,
        (old, new): (&Tree, &Tree),
        changed: &[usize],
        parameters: &Parameters,
    ) -> Option<HashedChain> {
        if self.parameters != *parameters || changed.len() * 4 > old.pages().len() + 12 {
            return None;
        }
        let found = |tree: &Tree| -> Vec<(Hash, Link)> {
            let pages = changed.iter().filter_map(|number| Some((*number, tree.pages().get(*number)?)));
            pages.flat_map(|(number, page)| links(tree, number, page, parameters)).collect()
        };
        let (gone, come) = (found(old), found(new));
        let mut chain = self.clone();
        let bits = chain.bits();
        let mut touched: Vec<usize> = gone.iter().chain(&come).map(|(hash, _)| part_of(hash, bits)).collect();
        touched.sort_unstable();
        touched.dedup();
        let mut come = come;
        come.sort_unstable_by_key(|(hash, _)| part_of(hash, bits));
        for number in touched {
            let stays =
                self.parts[number].iter().filter(|link| changed.binary_search(&page_of(**link)).is_err()).copied();
            let from = come.partition_point(|(hash, _)| part_of(hash, bits) < number);
            let comes = come[from..].iter().take_while(|(hash, _)| part_of(hash, bits) == number);
            let mut part: Vec<Link> = stays.chain(comes.map(|(hash, link)| link | tag(hash, bits))).collect();
            let hash = |link: Link| label_hash(node_of(link, new));
            part.sort_unstable_by(|one, other| {
                (one >> 48).cmp(&(other >> 48)).then_with(|| hash(*one).cmp(&hash(*other)))
            });
            chain.len = chain.len + part.len() - self.parts[number].len();
            chain.parts[number] = part.into();
        }
        let room = chain.parts.len() * PART;
        (chain.len <= 2 * room && (chain.parts.len() == 1 || chain.len * 8 >= room)).then_some(chain)
    }

    /// How many bits of a hash choose the part.
    fn bits(&self) -> u32 {
        self.parts.len().trailing_zeros()
    }

    /// The NSEC3's owner that matches a name in wire form; none where opt-out leaves the name out.
    pub fn matching<'a>(&self, tree: &'a Tree, name: &[u8]) -> Option<Node<'a>> {
        let (number, before, exact) = self.seek(tree, &self.parameters.hash(name));
        exact.then(|| node_of(self.parts[number][before - 1], tree))
    }

    /// The NSEC3's owner that matches or covers a name in wire form, any case: that of the last hash at or before the name's. The chain's
    /// last one covers what comes before its first.
    pub fn covering<'a>(&self, tree: &'a Tree, name: &[u8]) -> Option<Node<'a>> {
        let (number, before, _) = self.seek(tree, &self.parameters.hash(name));
        let link = match before.checked_sub(1) {
            Some(last) => self.parts[number][last],
            None => {
                let parts = self.parts[..number].iter().rev().chain(self.parts[number..].iter().rev());
                { parts }.find_map(|part| part.last().copied())?
            }
        };
        Some(node_of(link, tree))
    }

    /// The part of a hash, how many of it are at or before the hash, and whether the last of them has it.
    fn seek(&self, tree: &Tree, wanted: &Hash) -> (usize, usize, bool) {
        let bits = self.bits();
        let number = part_of(wanted, bits);
        let (part, wanted_tag) = (&self.parts[number], tag(wanted, bits) >> 48);
        let mut low = part.partition_point(|link| link >> 48 < wanted_tag);
        let mut high = low + part[low..].iter().take_while(|link| *link >> 48 == wanted_tag).count();
        // The same bits: the whole hashes decide.
        let mut exact = false;
        while low < high {
            let middle = (low + high) / 2;
            match label_hash(node_of(part[middle], tree)).cmp(&Some(*wanted)) {
                Ordering::Greater => high = middle,
                order => {
                    exact |= order.is_eq();
                    low = middle + 1;
                }
            }
        }
        (number, low, exact)
    }
}

/// The first `bits` bits of a hash.
fn part_of(hash: &Hash, bits: u32) -> usize {
    word(hash).checked_shr(64 - bits).unwrap_or(0) as usize
}

/// The 16 bits behind them, at the place that they have in a link.
fn tag(hash: &Hash, bits: u32) -> Link {
    word(hash) << bits & 0xffff << 48
}

fn word(hash: &Hash) -> u64 {
    hash.first_chunk::<8>().map_or(0, |octets| u64::from_be_bytes(*octets))
}

/// The NSEC3 RRsets on a page, by hash, as base32hex keeps the order (RFC 5155 section 1.3); the links without bits of the hash.
fn links(tree: &Tree, number: usize, page: &Page, parameters: &Parameters) -> Vec<(Hash, Link)> {
    let link = |index: usize| {
        let hash = hash_of(page.node(index), tree, parameters)?;
        Some((hash, (number as u64) << 24 | u64::from(page.place(index))))
    };
    (0..page.len()).filter_map(link).collect()
}

/// The hash of an owner, if it has an NSEC3 of these parameters.
fn hash_of(node: Node<'_>, tree: &Tree, parameters: &Parameters) -> Option<Hash> {
    let set = node.set(Rtype::NSEC3)?;
    let rdata = set.rdatas().next()?;
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::dns::{Name, RRset};
    use crate::zone::tree::SignedSet;

    fn apex() -> Name {
        "example.org.".parse().unwrap()
    }

    fn parameters() -> Parameters {
        Parameters { salt: [7, 8].into(), ..Parameters::default() }
    }

    fn host(number: u32) -> Name {
        format!("host-{number}.example.org.").parse().unwrap()
    }

    fn set(parameters: &Parameters) -> SignedSet {
        let rrset = RRset::new(Rtype::NSEC3, 300, parameters.nsec3(&[9; 20], &[]));
        SignedSet { rrset, rrsigs: Vec::new() }
    }

    /// Puts a name's NSEC3 in, or takes it away.
    fn put(tree: &mut Tree, model: &mut BTreeMap<Hash, Name>, name: &Name, is_there: bool) {
        let hash = parameters().hash(name.as_wire());
        let owner = nsec3::owner(&hash, &apex()).unwrap();
        tree.change(&owner, &[(Rtype::NSEC3, is_there.then(|| set(&parameters())))]);
        if is_there { drop(model.insert(hash, owner)) } else { drop(model.remove(&hash)) }
    }

    fn check(chain: &HashedChain, tree: &Tree, model: &BTreeMap<Hash, Name>) {
        assert_eq!(chain.len, model.len());
        assert!(
            chain
                .parts
                .iter()
                .flat_map(|part| part.iter())
                .map(|link| node_of(*link, tree).owner())
                .eq(model.values().cloned())
        );
        for number in 0..3000 {
            let (name, hash) = (host(number), parameters().hash(host(number).as_wire()));
            let matching = chain.matching(tree, name.as_wire()).map(|node| node.owner());
            assert_eq!(matching.as_ref(), model.get(&hash));
            let covering = model.range(..=hash).next_back().or(model.last_key_value()).map(|(_, owner)| owner.clone());
            assert_eq!(chain.covering(tree, name.as_wire()).map(|node| node.owner()), covering);
        }
    }

    #[test]
    fn a_hash_finds_its_owner_or_the_one_before_it() {
        for count in [0, 1, 2, 300, 2000] {
            let (mut tree, mut model) = (Tree::new(apex()), BTreeMap::new());
            (0..count).for_each(|number| put(&mut tree, &mut model, &host(number), true));
            // Another chain's, an ordinary name, and one that only looks like a hash.
            let other = Parameters::default();
            let stray = nsec3::owner(&other.hash(host(1).as_wire()), &apex()).unwrap();
            tree.change(&stray, &[(Rtype::NSEC3, Some(set(&other)))]);
            tree.insert(&host(1), 300, Rtype::A, &[192, 0, 2, 1]);
            tree.insert(&nsec3::owner(&[0x55; 20], &apex()).unwrap(), 300, Rtype::A, &[192, 0, 2, 1]);
            check(&HashedChain::new(&tree, parameters()), &tree, &model);
        }
    }

    #[test]
    fn a_version_shares_the_parts_that_nothing_changed_in() {
        let (mut tree, mut model) = (Tree::new(apex()), BTreeMap::new());
        (0..2000).for_each(|number| put(&mut tree, &mut model, &host(number), true));
        let mut chain = HashedChain::new(&tree, parameters());
        for number in 1990..2010 {
            let mut next = tree.clone();
            put(&mut next, &mut model, &host(number), number >= 2000);
            let after = chain.after((&tree, &next), &tree.changed_pages(&next), &parameters()).unwrap();
            check(&after, &next, &model);
            let shared = chain.parts.iter().zip(&after.parts).filter(|(one, other)| Arc::ptr_eq(one, other)).count();
            // The page that changed has the links of one part, or of some beside each other.
            assert!(chain.parts.len() >= 16 && shared + 3 >= chain.parts.len(), "{shared} of {}", chain.parts.len());
            (tree, chain) = (next, after);
        }
        assert!(chain.after((&tree, &tree), &[], &Parameters::default()).is_none(), "another chain");
    }

    #[test]
    fn a_chain_that_grew_or_shrank_much_is_made_anew() {
        let (mut tree, mut model) = (Tree::new(apex()), BTreeMap::new());
        (0..1000).for_each(|number| put(&mut tree, &mut model, &host(number), true));
        let mut chain = HashedChain::new(&tree, parameters());
        let sizes = (1000..3000).map(|number| (number, true)).chain((0..2990).map(|number| (number, false)));
        let mut anew = Vec::new();
        for (number, is_there) in sizes {
            let mut next = tree.clone();
            put(&mut next, &mut model, &host(number), is_there);
            let after = chain.after((&tree, &next), &tree.changed_pages(&next), &parameters());
            chain = after.unwrap_or_else(|| {
                anew.push(model.len());
                HashedChain::new(&next, parameters())
            });
            tree = next;
        }
        // A part has at most twice, and at least an eighth of what it was made for.
        assert!(matches!(anew[..], [2049, 511, ..]), "{anew:?}");
        check(&chain, &tree, &model);
    }
}
