//! What the server answers from: zones laid out as wire bytes, immutable, found by hash.
//!
//! An RRset's records stand ready for an exact match: each begins with a pointer to the question's name, and a compressed name in
//! its RDATA ends in a pointer to the apex inside the question. Elsewhere those two pointers are all that is patched.
//! The SOA stands once in a zone and never inside other answers.

mod hashed;
mod layout;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

pub use hashed::{Hashed, HashedChain};

use super::sign::Published;
use crate::dns::header::HEADER;
use crate::dns::name::canonical_cmp;
use crate::dns::{Name, Rtype, Timestamp};

/// Where a pointer to the question's name points.
pub const QUESTION_POINTER: u16 = 0xc000 | HEADER as u16;

/// All zones that are served at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    zones: HashMap<Box<[u8]>, Loaded>,
    /// The apexes of zones that are served in their last good version, since the present one can't be had.
    stale: Vec<Name>,
}

/// A zone that is ours, and its contents if there are any to serve.
type Loaded = Option<Arc<ZoneSnapshot>>;

/// One zone as wire bytes. Its arena holds names, RRsets and signatures; all else are offsets into it.
#[derive(Debug)]
pub struct ZoneSnapshot {
    arena: Vec<u8>,
    origin: Name,
    serial: u32,
    /// When the first of its signatures expires.
    expires_at: Option<Timestamp>,
    /// In canonical order, empty non-terminals among them; the apex is the first.
    nodes: Vec<Node>,
    /// Open addressing by name: a node's index + 1, or 0 for a free place.
    index: Box<[u32]>,
    sets: Vec<Set>,
    pointers: Vec<u16>,
    additional: Vec<Additional>,
    /// The nodes that have an NSEC, in canonical order.
    chain: Vec<u32>,
    /// The NSEC3 chain, where absence is proven by it.
    hashed: Option<HashedChain>,
    negative_soa: Set,
}

/// An owner, or an empty non-terminal.
#[derive(Debug)]
pub struct Node {
    name: Range<u32>,
    sets: Range<u32>,
    /// The zone cut at or above this name; [`NONE`] for authoritative data.
    cut: u32,
    /// The node of `*.<this name>`, if there is one.
    wildcard: u32,
    /// Its proofs in the NSEC3 chain; [`NONE`] where it has none.
    proofs: u32,
}

/// What is left for an RRset and its signatures in the longest message, beside header, longest question, and OPT with all its options:
/// NSID, cookie, keepalive, extended error and padding.
const RRSET_MAX: usize = 65_535 - HEADER - 255 - 4 - 11 - (4 + 128 + 28 + 6 + 6 + 4);

/// No node.
pub const NONE: u32 = u32::MAX;

/// An RRset: `count` records, then `rrsig_count` RRSIGs, each record beginning with a two-octet owner pointer.
#[derive(Clone, Debug)]
pub struct Set {
    /// Its type.
    pub rtype: Rtype,
    /// How many records.
    pub count: u16,
    /// How many signatures.
    pub rrsig_count: u16,
    records: Range<u32>,
    rrsigs: Range<u32>,
    pointers: Range<u32>,
    additional: Range<u32>,
}

/// An address node that an RRset's RDATA names.
#[derive(Clone, Copy, Debug)]
pub struct Additional {
    /// Where in the set's records the name begins.
    pub offset: u16,
    /// The node that has the addresses.
    pub node: u32,
}

/// A zone that can't be laid out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// More records than any message can carry.
    #[error("the {rtype} records at {owner} take more than 64 KiB together; no DNS message can carry them")]
    LargeRRset {
        /// Their owner.
        owner: Name,
        /// Their type.
        rtype: Rtype,
    },
    /// RDATA that does not fit its type: only a program that builds contents itself can bring it here.
    #[error("the {rtype} record at {owner} is malformed")]
    Malformed {
        /// Its owner.
        owner: Name,
        /// Its type.
        rtype: Rtype,
    },
    /// No SOA.
    #[error("the zone has no SOA record at its apex")]
    NoSoa,
    /// More than the offsets can address.
    #[error("the zone takes more than 4 GiB")]
    LargeZone,
}

impl Snapshot {
    /// A snapshot of these zones; of two with one apex the later counts. `broken` are the apexes of zones that are ours and have no good
    /// version: their names are answered SERVFAIL, so that a resolver asks another server.
    pub fn new(zones: impl IntoIterator<Item = Arc<ZoneSnapshot>>, broken: impl IntoIterator<Item = Name>) -> Snapshot {
        let key = |origin: &Name| -> Box<[u8]> { origin.to_lowercase().as_wire().into() };
        let mut keyed: HashMap<_, Loaded> = broken.into_iter().map(|origin| (key(&origin), None)).collect();
        keyed.extend(zones.into_iter().map(|zone| (key(&zone.origin), Some(zone))));
        Snapshot { zones: keyed, stale: Vec::new() }
    }

    /// The same with this zone in the place of what its apex had.
    pub fn with(&self, zone: Arc<ZoneSnapshot>) -> Snapshot {
        let mut zones = self.zones.clone();
        let stale = self.stale.iter().filter(|origin| **origin != zone.origin).cloned().collect();
        zones.insert(zone.origin.to_lowercase().as_wire().into(), Some(zone));
        Snapshot { zones, stale }
    }

    /// The same, knowing which zones are served in their last good version because the present one can't be had.
    pub fn with_stale(self, stale: Vec<Name>) -> Snapshot {
        Snapshot { stale, ..self }
    }

    /// The apexes of zones whose present version can't be had.
    pub fn stale(&self) -> &[Name] {
        &self.stale
    }

    /// The same with these zones in the place of what their apexes had.
    pub fn with_all(&self, zones: impl IntoIterator<Item = Arc<ZoneSnapshot>>) -> Snapshot {
        let mut all = self.zones.clone();
        all.extend(zones.into_iter().map(|zone| (zone.origin.to_lowercase().as_wire().into(), Some(zone))));
        Snapshot { zones: all, stale: self.stale.clone() }
    }

    /// The zone whose apex is nearest above `name`, or `name` itself; `Some(None)` where it has no good version. `name` is wire form in
    /// lower case.
    pub fn zone_of(&self, name: &[u8]) -> Option<Option<&ZoneSnapshot>> {
        let mut at = 0;
        loop {
            if let Some(zone) = self.zones.get(&name[at..]) {
                return Some(zone.as_deref());
            }
            match name[at] {
                0 => return None,
                len => at += 1 + usize::from(len),
            }
        }
    }

    /// The zones that are served, in no order.
    pub fn zones(&self) -> impl Iterator<Item = &Arc<ZoneSnapshot>> {
        self.zones.values().flatten()
    }
}

impl ZoneSnapshot {
    /// Lays a zone out.
    pub fn build(zone: &Published) -> Result<ZoneSnapshot, LayoutError> {
        layout::build(zone)
    }

    /// Whether the first of its signatures has expired.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires| expires < now)
    }

    /// The apex.
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// The SOA serial.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// The node of a name in wire form, any case.
    pub fn find(&self, wanted: &[u8]) -> Option<&Node> {
        let mask = self.index.len() - 1;
        let mut place = hash(wanted) as usize & mask;
        loop {
            let node = &self.nodes[(self.index[place] as usize).checked_sub(1)?];
            if self.name(node).eq_ignore_ascii_case(wanted) {
                return Some(node);
            }
            place = (place + 1) & mask;
        }
    }

    /// The node at an index that this snapshot gave; none for [`NONE`].
    pub fn node(&self, index: u32) -> Option<&Node> {
        self.nodes.get(index as usize)
    }

    /// The last node with an NSEC at or before `name` in canonical order: its NSEC covers or matches the name.
    pub fn covering(&self, name: &[u8]) -> Option<&Node> {
        let nodes = &self.nodes;
        let after = self.chain.partition_point(|&index| canonical_cmp(self.name(&nodes[index as usize]), name).is_le());
        Some(&nodes[self.chain[after.checked_sub(1)?] as usize])
    }

    /// The NSEC3 chain, where absence is proven by it.
    pub fn hashed(&self) -> Option<&HashedChain> {
        self.hashed.as_ref()
    }

    /// The owner of an NSEC3 RRset in wire form.
    pub fn hashed_name(&self, hashed: &Hashed) -> &[u8] {
        self.bytes(&hashed.name)
    }

    /// The zone cut at or above a name that need not exist.
    pub fn cut_above(&self, name: &[u8]) -> Option<&Node> {
        let mut at = 0;
        loop {
            if let Some(node) = self.find(&name[at..]) {
                return self.cut(node);
            }
            match *name.get(at)? {
                0 => return None,
                len => at += 1 + usize::from(len),
            }
        }
    }

    /// A node's name in wire form.
    pub fn name(&self, node: &Node) -> &[u8] {
        self.bytes(&node.name)
    }

    /// The zone cut at or above a node.
    pub fn cut(&self, node: &Node) -> Option<&Node> {
        self.node(node.cut)
    }

    /// The wildcard right below a node.
    pub fn wildcard(&self, node: &Node) -> Option<&Node> {
        self.node(node.wildcard)
    }

    /// A node's RRsets, by type.
    pub fn sets(&self, node: &Node) -> &[Set] {
        &self.sets[node.sets.start as usize..node.sets.end as usize]
    }

    /// A node's RRset of a type.
    pub fn set(&self, node: &Node, rtype: Rtype) -> Option<&Set> {
        self.sets(node).iter().find(|set| set.rtype == rtype)
    }

    /// The SOA for negative answers, its TTL lowered to MINIMUM (RFC 2308 section 3).
    pub fn negative_soa(&self) -> &Set {
        &self.negative_soa
    }

    /// A set's records.
    pub fn records(&self, set: &Set) -> &[u8] {
        self.bytes(&set.records)
    }

    /// A set's signatures.
    pub fn rrsigs(&self, set: &Set) -> &[u8] {
        self.bytes(&set.rrsigs)
    }

    /// Where in a set's records pointers to the apex stand.
    pub fn pointers(&self, set: &Set) -> &[u16] {
        &self.pointers[set.pointers.start as usize..set.pointers.end as usize]
    }

    /// The address nodes that a set's RDATA names.
    pub fn additional(&self, set: &Set) -> &[Additional] {
        &self.additional[set.additional.start as usize..set.additional.end as usize]
    }

    fn bytes(&self, range: &Range<u32>) -> &[u8] {
        &self.arena[range.start as usize..range.end as usize]
    }
}

impl Node {
    /// Whether the node has no records: an empty non-terminal.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }
}

/// Names differ by case only where they are equal: the hash folds it.
fn hash(wire: &[u8]) -> u64 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = wire.len() as u64;
    for chunk in wire.chunks(8) {
        let mut word = [0u8; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        // Setting bit 5 of every octet folds letters; what else it joins only costs a comparison.
        state = (state ^ (u64::from_le_bytes(word) | 0x2020_2020_2020_2020)).wrapping_mul(MULTIPLIER);
        state ^= state >> 29;
    }
    state.wrapping_mul(MULTIPLIER) >> 20
}

/// The pointer to the apex inside a question whose name has `question_len` octets.
pub fn apex_pointer(question_len: usize, apex_len: usize) -> u16 {
    0xc000 | (HEADER + question_len - apex_len) as u16
}
