//! A zone's records as a map in canonical order: what a zone file says, before anything is added or signed.

use std::collections::BTreeMap;

use crate::dns::{Name, RRset, Record, Rtype};

/// The RRsets at one owner, by type.
pub type Node = BTreeMap<Rtype, RRset>;

/// The records of one zone. Owners without records (empty non-terminals) are not in the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    origin: Name,
    nodes: BTreeMap<Name, Node>,
}

/// What became of a record that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is new.
    New,
    /// The same RDATA was there already.
    Duplicate,
    /// It is new, and its TTL differs from its RRset's, which keeps the lower one (RFC 2181 section 5.2).
    TtlDiffers,
}

impl Contents {
    /// An empty zone at `origin`.
    pub fn new(origin: Name) -> Contents {
        Contents { origin, nodes: BTreeMap::new() }
    }

    /// The apex.
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// Puts a record in. Its owner must be at or below the origin.
    pub fn insert(&mut self, record: Record) -> Inserted {
        debug_assert!(record.owner.is_at_or_below(&self.origin));
        let Record { owner, ttl, rtype, rdata } = record;
        let node = self.nodes.entry(owner).or_default();
        let Some(rrset) = node.get_mut(&rtype) else {
            node.insert(rtype, RRset::new(rtype, ttl, rdata));
            return Inserted::New;
        };
        let differs = rrset.ttl != ttl;
        rrset.ttl = rrset.ttl.min(ttl);
        match (rrset.insert(rdata), differs) {
            (false, _) => Inserted::Duplicate,
            (true, true) => Inserted::TtlDiffers,
            (true, false) => Inserted::New,
        }
    }

    /// Puts a record in whose parts stand elsewhere.
    pub fn insert_parts(&mut self, owner: &Name, ttl: u32, rtype: Rtype, rdata: &[u8]) -> Inserted {
        self.insert(Record { owner: owner.clone(), ttl, rtype, rdata: rdata.into() })
    }

    /// Puts a whole RRset in the place of what its owner had of that type; an empty one takes it away.
    pub fn replace(&mut self, owner: &Name, rrset: RRset) {
        if rrset.rdatas.is_empty() {
            self.remove(owner, rrset.rtype);
        } else {
            self.nodes.entry(owner.clone()).or_default().insert(rrset.rtype, rrset);
        }
    }

    /// Takes an RRset away.
    pub fn remove(&mut self, owner: &Name, rtype: Rtype) -> Option<RRset> {
        let node = self.nodes.get_mut(owner)?;
        let gone = node.remove(&rtype);
        if node.is_empty() {
            self.nodes.remove(owner);
        }
        gone
    }

    /// The RRset of an owner and a type.
    pub fn rrset(&self, owner: &Name, rtype: Rtype) -> Option<&RRset> {
        self.nodes.get(owner)?.get(&rtype)
    }

    /// The RRsets at an owner.
    pub fn node(&self, owner: &Name) -> Option<&Node> {
        self.nodes.get(owner)
    }

    /// All owners with records, in canonical order.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = (&Name, &Node)> {
        self.nodes.iter()
    }

    /// Owners at or below `name`, in canonical order (they stand together in it).
    pub fn at_or_below<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = (&'a Name, &'a Node)> {
        self.nodes.range(name..).take_while(move |(owner, _)| owner.is_at_or_below(name))
    }

    /// The zone cut at or above `name` and below the apex: the topmost owner of an NS RRset.
    pub fn cut(&self, name: &Name) -> Option<&Name> {
        let mut found = None;
        for candidate in std::iter::once(name.clone()).chain(name.ancestors()) {
            if !candidate.is_below(&self.origin) {
                break;
            }
            if let Some((owner, node)) = self.nodes.get_key_value(&candidate)
                && node.contains_key(&Rtype::NS)
            {
                found = Some(owner);
            }
        }
        found
    }

    /// Whether `name` is below a DNAME of this zone: nothing exists there (RFC 6672 section 2.4).
    pub fn is_below_dname(&self, name: &Name) -> bool {
        let inside = name.ancestors().take_while(|above| above.is_at_or_below(&self.origin));
        inside.into_iter().any(|above| self.rrset(&above, Rtype::DNAME).is_some())
    }

    /// The SOA's RDATA.
    pub fn soa(&self) -> Option<&RRset> {
        self.rrset(&self.origin, Rtype::SOA)
    }

    /// How many records there are.
    pub fn record_count(&self) -> usize {
        self.nodes.values().flat_map(BTreeMap::values).map(|rrset| rrset.rdatas.len()).sum()
    }
}
