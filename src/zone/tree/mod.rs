//! A zone's nodes in canonical order, in pages that its versions share: what a change does not touch is not copied.
//!
//! A [`Tree`] is a value: a copy costs a pointer for each page, and changing one copies the page of the node that changes. Empty
//! non-terminals are nodes too, and are kept as names come and go. So two versions differ just where their pages are not the same memory.

mod build;
mod compose;
pub mod key;
mod node;
mod octets;
mod page;

#[cfg(test)]
mod tests;

use std::cmp::Ordering;

pub use build::Builder;
pub use compose::Inserted;
use compose::NodeBuf;
use key::Key;
pub use node::{
    Node, NodeRecord, QUESTION_POINTER, RECORD_HEAD, SHARED_MAX, Set, SetPlace, Tail, Target, apex_pointer,
};
use page::Growing;
pub use page::Page;
use smallvec::SmallVec;

use crate::dns::{Name, RRset, Rdata, Rtype, name, rdata};

/// The nodes of one zone. There is always one for the apex.
#[derive(Clone)]
pub struct Tree {
    apex: Name,
    /// A page keeps its number as long as it lives.
    pages: Pages,
    /// The pages in canonical order.
    order: SmallVec<[Fence; 1]>,
    /// What the first keys of all pages but the first one begin with.
    shared: Box<[u8]>,
    totals: Totals,
}

/// Most zones have one.
type Pages = SmallVec<[Page; 1]>;

/// Where a page begins.
#[derive(Clone, Copy)]
struct Fence {
    /// Its first key behind what all share.
    word: u64,
    page: u32,
}

/// An owner that has not the same in two versions of a zone.
pub struct Difference<'a> {
    /// The owner.
    pub owner: Name,
    /// What it had.
    pub old: Option<Node<'a>>,
    /// What it has.
    pub new: Option<Node<'a>>,
}

/// What a zone has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Nodes, empty non-terminals among them.
    pub nodes: usize,
    /// Records, signatures among them.
    pub records: usize,
    /// Names with an NS RRset, the apex left out, or a DNAME RRset: what is below them is another's, or does not exist.
    pub barriers: usize,
}

/// An RRset with its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedSet {
    /// The records.
    pub rrset: RRset,
    /// RRSIG RDATAs that cover them, with the RRset's TTL.
    pub rrsigs: Vec<Rdata>,
}

impl SignedSet {
    /// What a tree has, as a value of its own.
    pub fn of(set: Set<'_>) -> SignedSet {
        SignedSet { rrset: set.rrset(), rrsigs: set.signatures().map(Into::into).collect() }
    }
}

/// Whether what is below a node is another zone's, or does not exist.
fn is_barrier(node: Node<'_>, apex_len: usize) -> bool {
    (node.name().len() > apex_len && node.has(Rtype::NS)) || node.has(Rtype::DNAME)
}

impl Totals {
    fn count(&mut self, node: Node<'_>, apex_len: usize, sign: isize) {
        let records = node.record_count();
        let is_barrier = is_barrier(node, apex_len);
        self.nodes = self.nodes.saturating_add_signed(sign);
        self.records = self.records.saturating_add_signed(sign * records as isize);
        self.barriers = self.barriers.saturating_add_signed(sign * isize::from(is_barrier));
    }
}

impl Tree {
    /// A tree without records.
    pub fn new(apex: Name) -> Tree {
        Builder::new(apex).finish()
    }

    /// The apex.
    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// What the zone has.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The pages by number; those that are gone are empty.
    pub fn pages(&self) -> &[Page] {
        &self.pages
    }

    /// The numbers of the pages that are not the same memory in another version; ascending.
    pub fn changed_pages(&self, other: &Tree) -> Vec<usize> {
        let numbers = 0..self.pages.len().max(other.pages.len());
        let is_same = |number: usize| match (self.pages.get(number), other.pages.get(number)) {
            (Some(one), Some(other)) => one.is(other),
            _ => false,
        };
        numbers.filter(|number| !is_same(*number)).collect()
    }

    /// The pages with their numbers, in canonical order.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, &Page)> {
        self.order.iter().map(|fence| (fence.page, &self.pages[fence.page as usize]))
    }

    /// All nodes in canonical order.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = Node<'_>> {
        self.order.iter().flat_map(|fence| self.pages[fence.page as usize].nodes())
    }

    /// The nodes in canonical order from a page on, each with the place of its page and its own on it. Places change with the zone.
    pub fn placed(&self, from: usize) -> impl Iterator<Item = ((usize, usize), Node<'_>)> {
        self.order.iter().enumerate().skip(from).flat_map(|(place, fence)| {
            let nodes = self.pages[fence.page as usize].nodes().enumerate();
            nodes.map(move |(index, node)| ((place, index), node))
        })
    }

    /// The nodes from a name on, in canonical order: its own is the first if it is there.
    pub fn nodes_from(&self, from: &[u8]) -> impl Iterator<Item = Node<'_>> {
        let key = self.key(from);
        let place = self.seek(key.as_bytes());
        let (after, exact) = self.page(place).seek(key.as_bytes(), self.apex_len());
        let skip = after - usize::from(exact);
        self.order[place..].iter().flat_map(|fence| self.pages[fence.page as usize].nodes()).skip(skip)
    }

    /// The nodes before a name, the nearest first.
    pub fn nodes_before(&self, name: &[u8]) -> impl Iterator<Item = Node<'_>> {
        let key = self.key(name);
        let place = self.seek(key.as_bytes());
        let page = self.page(place);
        let (after, exact) = page.seek(key.as_bytes(), self.apex_len());
        let near = (0..after - usize::from(exact)).rev().map(|index| page.node(index));
        near.chain((0..place).rev().flat_map(|before| self.page(before).nodes().rev()))
    }

    /// The node of a name in wire form, any case.
    pub fn node(&self, wanted: &[u8]) -> Option<Node<'_>> {
        if !name::is_at_or_below(wanted, self.apex.as_wire()) {
            return None;
        }
        let key = self.key(wanted);
        let page = self.page(self.seek(key.as_bytes()));
        let (after, exact) = page.seek(key.as_bytes(), self.apex_len());
        exact.then(|| page.node(after - 1))
    }

    /// The page that a name of the zone is on, or would be.
    pub fn page_of(&self, name: &[u8]) -> &Page {
        self.page(self.seek(self.key(name).as_bytes()))
    }

    /// The apex's node.
    pub fn apex_node(&self) -> Node<'_> {
        self.page(0).node(0)
    }

    /// The last node with an NSEC at or before a name of the zone, in canonical order.
    pub fn covering(&self, name: &[u8]) -> Option<Node<'_>> {
        let key = self.key(name);
        let place = self.seek(key.as_bytes());
        let page = self.page(place);
        let (after, _) = page.seek(key.as_bytes(), self.apex_len());
        page.last_nsec(after)
            .or_else(|| (0..place).rev().find_map(|before| self.page(before).last_nsec(self.page(before).len())))
    }

    /// The last node with an NSEC before a name of the zone.
    pub fn before(&self, name: &[u8]) -> Option<Node<'_>> {
        let key = self.key(name);
        let place = self.seek(key.as_bytes());
        let (after, exact) = self.page(place).seek(key.as_bytes(), self.apex_len());
        self.page(place).last_nsec(after - usize::from(exact)).or_else(|| self.last_nsec(place))
    }

    /// The first node with an NSEC after a name of the zone.
    pub fn after(&self, name: &[u8]) -> Option<Node<'_>> {
        let mut nodes = self.nodes_from(name).filter(|node| node.has(Rtype::NSEC));
        nodes.find(|node| !name::is_same(node.name(), name))
    }

    /// The last node with an NSEC on the pages before a place.
    fn last_nsec(&self, place: usize) -> Option<Node<'_>> {
        (0..place).rev().find_map(|before| self.page(before).last_nsec(self.page(before).len()))
    }

    /// The owners at which another version of the zone has something else, in canonical order.
    pub fn differences<'a>(&'a self, other: &'a Tree) -> Vec<Difference<'a>> {
        let unshared = |one: &'a Tree, other: &'a Tree| {
            let shared = |number: usize| other.pages.get(number).is_some_and(|page| page.is(&one.pages[number]));
            let fences = one.order.iter().filter(move |fence| !shared(fence.page as usize));
            fences.flat_map(|fence| one.pages[fence.page as usize].nodes())
        };
        let (mut old, mut new) = (unshared(self, other).peekable(), unshared(other, self).peekable());
        let mut found = Vec::new();
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return found,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => name::canonical_cmp(old.name(), new.name()),
            };
            let old = if order.is_le() { old.next() } else { None };
            let new = if order.is_ge() { new.next() } else { None };
            let is_same = |(old, new): (Node<'_>, Node<'_>)| old.as_bytes() == new.as_bytes();
            if !old.zip(new).is_some_and(is_same) {
                found.extend(new.or(old).map(|node| Difference { owner: node.owner(), old, new }));
            }
        }
    }

    /// Whether a node of this zone, or of another version of it, is a zone cut or has a DNAME.
    pub fn is_barrier(&self, node: Node<'_>) -> bool {
        is_barrier(node, self.apex_len())
    }

    /// The zone cut or DNAME above a name, nearest to the apex; the name itself is not looked at.
    pub fn barrier_above(&self, name: &[u8]) -> Option<Node<'_>> {
        if self.totals.barriers == 0 {
            return None;
        }
        let mut found = None;
        let mut at = 0;
        while name.len() - at > self.apex_len() {
            at += 1 + usize::from(name[at]);
            let node = self.node(&name[at..]);
            found = node.filter(|node| is_barrier(*node, self.apex_len())).or(found);
        }
        found
    }

    /// Replaces the RRsets that `changes` names at one owner; `None` takes one away, its signatures too.
    pub fn change(&mut self, owner: &Name, changes: &[(Rtype, Option<SignedSet>)]) {
        let mut buf = NodeBuf::default();
        if let Some(node) = self.node(owner.as_wire()) {
            buf.load(node);
        }
        for (rtype, set) in changes {
            match set {
                Some(set) => buf.replace(*rtype, set.rrset.ttl, &set.rrset.rdatas, &set.rrsigs),
                None => buf.remove(*rtype),
            }
        }
        self.store(owner.as_wire(), &mut buf);
    }

    /// Puts a record in. Its owner is at or below the apex.
    pub fn insert(&mut self, owner: &Name, ttl: u32, rtype: Rtype, rdata: &[u8]) -> Inserted {
        let mut buf = NodeBuf::default();
        if let Some(node) = self.node(owner.as_wire()) {
            buf.load(node);
        }
        let inserted = buf.insert(rtype, ttl, rdata);
        if inserted != Inserted::Duplicate {
            self.store(owner.as_wire(), &mut buf);
        }
        inserted
    }

    /// Takes one record out; false where it is not there.
    pub fn take(&mut self, owner: &Name, rtype: Rtype, rdata: &[u8]) -> bool {
        let Some(node) = self.node(owner.as_wire()) else { return false };
        let mut buf = NodeBuf::default();
        buf.load(node);
        let found = buf.take(rtype, rdata);
        if found {
            self.store(owner.as_wire(), &mut buf);
        }
        found
    }

    fn store(&mut self, owner: &[u8], buf: &mut NodeBuf) {
        let keeps = !buf.is_empty() || owner.len() <= self.apex_len() || self.has_below(owner);
        if keeps {
            self.put(owner, buf);
            let mut at = 0;
            // Empty non-terminals come with what is below them...
            loop {
                at += 1 + usize::from(owner[at]);
                if owner.len() - at <= self.apex_len() || self.node(&owner[at..]).is_some() {
                    return;
                }
                self.put(&owner[at..], &mut NodeBuf::default());
            }
        }
        // ... and go with it.
        let mut at = 0;
        loop {
            self.remove(&owner[at..]);
            at += 1 + usize::from(owner[at]);
            let above = &owner[at..];
            let is_left = |node: Node<'_>| node.is_empty() && !self.has_below(above);
            if above.len() <= self.apex_len() || !self.node(above).is_some_and(is_left) {
                return;
            }
        }
    }

    /// Whether there are nodes below a name.
    pub fn has_below(&self, name: &[u8]) -> bool {
        let is_below = |node: &Node<'_>| node.name().len() > name.len() && name::is_at_or_below(node.name(), name);
        self.nodes_from(name).take(2).any(|node| is_below(&node))
    }

    fn put(&mut self, owner: &[u8], buf: &mut NodeBuf) {
        let key = self.key(owner);
        let apex = self.apex.clone();
        self.rewrite(&key, |growing| {
            growing.push(key.as_bytes(), |out| buf.write(owner, apex.as_wire(), out));
        });
    }

    fn remove(&mut self, owner: &[u8]) {
        let key = self.key(owner);
        self.rewrite(&key, |_| ());
    }

    /// Writes the page of a key again, with what `put` puts in the place of that key's node.
    fn rewrite(&mut self, key: &Key, put: impl FnOnce(&mut Growing)) {
        let apex_len = self.apex_len();
        let place = self.seek(key.as_bytes());
        let page = self.page(place).clone();
        let (after, exact) = page.seek(key.as_bytes(), apex_len);
        let before = after - usize::from(exact);
        let mut growing = Growing::default();
        let copy = |growing: &mut Growing, node: Node<'_>| {
            growing.push(Key::new(node.name(), apex_len).as_bytes(), |out| out.extend_from_slice(node.as_bytes()));
        };
        page.nodes().take(before).for_each(|node| copy(&mut growing, node));
        put(&mut growing);
        page.nodes().skip(after).for_each(|node| copy(&mut growing, node));
        let (first, second) = growing.pages();
        let mut totals = self.totals;
        page.nodes().for_each(|node| totals.count(node, apex_len, -1));
        for node in first.nodes().chain(second.iter().flat_map(Page::nodes)) {
            totals.count(node, apex_len, 1);
        }
        self.totals = totals;
        self.replace_page(place, first, second);
    }

    fn replace_page(&mut self, place: usize, first: Page, second: Option<Page>) {
        let number = self.order[place].page;
        let moved = first.first_key() != self.page(place).first_key() || second.is_some();
        if first.is_empty() {
            self.order.remove(place);
        }
        self.pages[number as usize] = first;
        if let Some(second) = second {
            self.order.insert(place + 1, Fence { word: 0, page: self.pages.len() as u32 });
            self.pages.push(second);
        }
        if moved {
            self.set_fences();
        }
    }

    /// Works out what the fences say from the pages.
    fn set_fences(&mut self) {
        let first_key = |place: usize| self.pages[self.order[place].page as usize].first_key();
        let last = self.order.len() - 1;
        let shared: Box<[u8]> = match last {
            0 => Box::default(),
            _ => first_key(1)[..key::common(first_key(1), first_key(last))].into(),
        };
        let words: Vec<u64> = (0..=last).map(|place| key::prefix(first_key(place), shared.len())).collect();
        self.order.iter_mut().zip(words).for_each(|(fence, word)| fence.word = word);
        self.shared = shared;
    }

    /// The place in the order of the page that a key belongs to.
    fn seek(&self, key: &[u8]) -> usize {
        let fences = &self.order[1..];
        if !key.starts_with(&self.shared) {
            return if key < &*self.shared { 0 } else { fences.len() };
        }
        let word = key::prefix(key, self.shared.len());
        let low = fences.partition_point(|fence| fence.word < word);
        let high = low + fences[low..].iter().take_while(|fence| fence.word == word).count();
        // The same eight octets: the whole keys decide.
        low + fences[low..high].partition_point(|fence| self.pages[fence.page as usize].first_key() <= key)
    }

    fn page(&self, place: usize) -> &Page {
        &self.pages[self.order[place].page as usize]
    }

    fn key(&self, name: &[u8]) -> Key {
        Key::new(name, self.apex_len())
    }

    fn apex_len(&self) -> usize {
        self.apex.as_wire().len()
    }
}

impl PartialEq for Tree {
    fn eq(&self, other: &Tree) -> bool {
        let canonical = |set: Set<'_>| -> Vec<Vec<u8>> {
            set.rdatas().map(|rdata| rdata::canonical(set.rtype, &rdata).into_owned()).collect()
        };
        let has_same = |(one, other): (Set<'_>, Set<'_>)| {
            (one.rtype, one.ttl(), canonical(one)) == (other.rtype, other.ttl(), canonical(other))
                && one.signatures().eq(other.signatures())
        };
        let is_same = |(one, other): (Node<'_>, Node<'_>)| {
            name::is_same(one.name(), other.name())
                && one.sets().count() == other.sets().count()
                && one.sets().zip(other.sets()).all(has_same)
        };
        self.apex == other.apex && self.totals == other.totals && self.nodes().zip(other.nodes()).all(is_same)
    }
}

impl Eq for Tree {}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} with {} records", self.apex, self.totals.records)
    }
}
