//! A zone's records in canonical order: what a zone file says, before anything is added or signed.

use super::serial::minimum_of_soa;
use super::sign::SignedSet;
use super::tree::{self, Inserted, Node, Tree};
use crate::dns::{Name, RRset, Record, Rtype, name};

/// The records of one zone. A copy costs little: it shares what neither changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    tree: Tree,
}

impl Contents {
    /// An empty zone at `origin`.
    pub fn new(origin: Name) -> Contents {
        Contents { tree: Tree::new(origin) }
    }

    /// The records, for whoever lays them out.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The apex.
    pub fn origin(&self) -> &Name {
        self.tree.apex()
    }

    /// Puts a record in. Its owner must be at or below the origin.
    pub fn insert(&mut self, record: Record) -> Inserted {
        debug_assert!(record.owner.is_at_or_below(self.origin()));
        self.tree.insert(&record.owner, record.ttl, record.rtype, &record.rdata)
    }

    /// The same with some records less and some more. None where one of them is not there, or not new, or has another TTL than its RRset.
    pub fn with(&self, removed: &[Record], added: &[Record]) -> Option<Contents> {
        let mut tree = self.tree.clone();
        removed.iter().try_for_each(|record| tree.take(&record.owner, record.rtype, &record.rdata).then_some(()))?;
        let mut is_new =
            |record: &Record| tree.insert(&record.owner, record.ttl, record.rtype, &record.rdata) == Inserted::New;
        added.iter().all(&mut is_new).then_some(Contents { tree })
    }

    /// Puts a whole RRset in the place of what its owner had of that type, without signatures; an empty one takes it away.
    pub fn replace(&mut self, owner: &Name, rrset: RRset) {
        let rtype = rrset.rtype;
        let set = (!rrset.rdatas.is_empty()).then(|| SignedSet { rrset, rrsigs: Vec::new() });
        self.tree.change(owner, &[(rtype, set)]);
    }

    /// Takes an RRset away, its signatures too.
    pub fn remove(&mut self, owner: &Name, rtype: Rtype) -> Option<RRset> {
        let gone = self.rrset(owner, rtype);
        self.tree.change(owner, &[(rtype, None)]);
        gone
    }

    /// The RRset of an owner and a type. RRSIGs are none: each stands beside the RRset that it covers.
    pub fn rrset(&self, owner: &Name, rtype: Rtype) -> Option<RRset> {
        Some(self.node(owner)?.set(rtype)?.rrset())
    }

    /// Whether an owner has records of a type.
    pub fn has(&self, owner: &Name, rtype: Rtype) -> bool {
        self.node(owner).is_some_and(|node| node.has(rtype))
    }

    /// What an owner has; none for an empty non-terminal.
    pub fn node(&self, owner: &Name) -> Option<Node<'_>> {
        self.tree.node(owner.as_wire()).filter(|node| !node.is_empty())
    }

    /// All owners with records, in canonical order.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = Node<'_>> {
        self.tree.nodes().filter(|node| !node.is_empty())
    }

    /// Owners at or below `name`, in canonical order (they stand together in it).
    pub fn at_or_below<'a>(&'a self, above: &'a Name) -> impl Iterator<Item = Node<'a>> {
        let inside = above.is_at_or_below(self.origin());
        let from = if inside { above } else { self.origin() };
        let nodes = self.tree.nodes_from(from.as_wire());
        nodes
            .take_while(move |node| inside && name::is_at_or_below(node.name(), above.as_wire()))
            .filter(|node| !node.is_empty())
    }

    /// The zone cut at or above `name` and below the apex: the topmost owner of an NS RRset.
    pub fn cut(&self, name: &Name) -> Option<Name> {
        if self.tree.totals().barriers == 0 {
            return None;
        }
        let inside = std::iter::once(name.clone()).chain(name.ancestors());
        inside.take_while(|name| name.is_below(self.origin())).filter(|name| self.has(name, Rtype::NS)).last()
    }

    /// Whether `name` is below a DNAME of this zone: nothing exists there (RFC 6672 section 2.4).
    pub fn is_below_dname(&self, name: &Name) -> bool {
        if self.tree.totals().barriers == 0 {
            return false;
        }
        name.ancestors()
            .take_while(|above| above.is_at_or_below(self.origin()))
            .any(|above| self.has(&above, Rtype::DNAME))
    }

    /// The SOA.
    pub fn soa(&self) -> Option<RRset> {
        self.rrset(self.origin(), Rtype::SOA)
    }

    /// How long resolvers may hold that something is not there, in seconds (RFC 2308 section 5).
    pub fn negative_ttl(&self) -> Option<u32> {
        let soa = self.soa()?;
        let minimum = soa.rdatas.first().and_then(|rdata| minimum_of_soa(rdata))?;
        Some(minimum.min(soa.ttl))
    }

    /// How many records there are.
    pub fn record_count(&self) -> usize {
        self.tree.totals().records
    }
}

impl From<Tree> for Contents {
    fn from(tree: Tree) -> Contents {
        Contents { tree }
    }
}

/// Takes records in any order; those of one owner together and in canonical order cost the least.
pub struct Builder(tree::Builder);

impl Builder {
    /// An empty zone at `origin`.
    pub fn new(origin: Name) -> Builder {
        Builder(tree::Builder::new(origin))
    }

    /// Puts a record in. Its owner must be at or below the origin. A duplicate or another TTL is told where the RRset's records come
    /// together, and else passed over.
    pub fn insert(&mut self, owner: &Name, ttl: u32, rtype: Rtype, rdata: &[u8]) -> Inserted {
        self.0.insert(owner.as_wire(), ttl, rtype, rdata)
    }

    /// The zone.
    pub fn finish(self) -> Contents {
        Contents { tree: self.0.finish() }
    }
}
