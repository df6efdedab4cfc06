//! Builds a tree from records as a zone file has them: one owner's together, owners in canonical order, or not.

use super::compose::NodeBuf;
use super::key::Key;
use super::node::Node;
use super::page::{Growing, Page};
use super::{Fence, Inserted, Pages, SignedSet, Totals, Tree};
use crate::dns::{Name, Rtype, name};

/// A tree under construction. Owners that come in canonical order cost the least.
pub struct Builder {
    apex: Name,
    /// The owner whose records come now, in wire form; empty before the first.
    owner: Vec<u8>,
    open: NodeBuf,
    growing: Growing,
    pages: Pages,
    totals: Totals,
    /// The last name that was laid out.
    last: Vec<u8>,
    last_key: Vec<u8>,
    /// Nodes that came after one that they stand before, and where each begins.
    late: Vec<u8>,
    late_starts: Vec<usize>,
}

impl Builder {
    /// An empty zone at `apex`.
    pub fn new(apex: Name) -> Builder {
        Builder {
            owner: Vec::new(),
            open: NodeBuf::default(),
            growing: Growing::default(),
            pages: Pages::new(),
            totals: Totals::default(),
            last: Vec::new(),
            last_key: Vec::new(),
            late: Vec::new(),
            late_starts: Vec::new(),
            apex,
        }
    }

    /// Puts a record in. `owner` is in wire form, at or below the apex. What it says of duplicates holds for records of one owner that
    /// come together.
    pub fn insert(&mut self, owner: &[u8], ttl: u32, rtype: Rtype, rdata: &[u8]) -> Inserted {
        self.open(owner);
        self.open.insert(rtype, ttl, rdata)
    }

    /// Puts a whole RRset in, with its signatures.
    pub fn insert_set(&mut self, owner: &[u8], set: &SignedSet) {
        self.open(owner);
        self.open.replace(set.rrset.rtype, set.rrset.ttl, &set.rrset.rdatas, &set.rrsigs);
    }

    fn open(&mut self, owner: &[u8]) {
        if !name::is_same(&self.owner, owner) {
            self.close();
            self.owner.clear();
            self.owner.extend_from_slice(owner);
        }
    }

    fn close(&mut self) {
        if self.owner.is_empty() {
            return;
        }
        let owner = std::mem::take(&mut self.owner);
        let mut open = std::mem::take(&mut self.open);
        let apex = self.apex.clone();
        self.lay_out(&owner, |out| open.write(&owner, apex.as_wire(), out));
        open.clear();
        (self.owner, self.open) = (owner, open);
    }

    /// Takes a node over as it is.
    pub fn copy(&mut self, node: Node<'_>) {
        self.close();
        self.owner.clear();
        self.lay_out(node.name(), |out| out.extend_from_slice(node.as_bytes()));
    }

    /// Puts a node at the end of what there is, the empty non-terminals above it before it; aside if it belongs elsewhere.
    fn lay_out(&mut self, owner: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        let apex_len = self.apex.as_wire().len();
        let key = Key::new(owner, apex_len);
        if self.last.is_empty() {
            if owner.len() > apex_len {
                self.lay_out_empty(self.apex.clone().as_wire());
            }
        } else if key.as_bytes() <= self.last_key.as_slice() {
            self.late_starts.push(self.late.len());
            return write(&mut self.late);
        }
        let mut starts = [0u8; name::MAX_NAME / 2 + 1];
        let (mut count, mut at) = (0, 0);
        loop {
            at += if owner.len() - at > apex_len { 1 + usize::from(owner[at]) } else { 0 };
            if owner.len() - at <= apex_len || name::is_at_or_below(&self.last, &owner[at..]) {
                break;
            }
            starts[count] = at as u8;
            count += 1;
        }
        for &start in starts[..count].iter().rev() {
            self.lay_out_empty(&owner[usize::from(start)..]);
        }
        self.push(owner, key.as_bytes(), write);
    }

    fn lay_out_empty(&mut self, name: &[u8]) {
        let apex = self.apex.clone();
        let key = Key::new(name, apex.as_wire().len());
        self.push(name, key.as_bytes(), |out| NodeBuf::default().write(name, apex.as_wire(), out));
    }

    fn push(&mut self, owner: &[u8], key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        if self.growing.is_full() {
            self.seal();
        }
        self.growing.push(key, write);
        if let Some(node) = self.growing.last() {
            self.totals.count(node, self.apex.as_wire().len(), 1);
        }
        self.last.clear();
        self.last.extend_from_slice(owner);
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
    }

    fn seal(&mut self) {
        if !self.growing.is_empty() {
            self.pages.push(self.growing.page());
            self.growing.clear();
        }
    }

    /// The tree.
    pub fn finish(mut self) -> Tree {
        self.close();
        if self.last.is_empty() {
            self.lay_out_empty(self.apex.clone().as_wire());
        }
        self.seal();
        if !self.late_starts.is_empty() {
            return self.reorder();
        }
        let order = (0..self.pages.len()).map(|page| Fence { word: 0, page: page as u32 }).collect();
        let mut tree = Tree { apex: self.apex, pages: self.pages, order, shared: Box::default(), totals: self.totals };
        tree.set_fences();
        tree
    }

    /// Builds the tree again with the nodes that came late where they belong.
    fn reorder(mut self) -> Tree {
        let pages = std::mem::take(&mut self.pages);
        let late = std::mem::take(&mut self.late);
        let apex_len = self.apex.as_wire().len();
        let early = pages.iter().flat_map(Page::nodes);
        let late = self.late_starts.iter().map(|&start| Node::at(&late[start..]));
        let mut nodes: Vec<(Box<[u8]>, Node<'_>)> = early
            .chain(late)
            .filter(|node| !node.is_empty())
            .map(|node| (Key::new(node.name(), apex_len).as_bytes().into(), node))
            .collect();
        // Of one owner those that came first stay first.
        nodes.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut builder = Builder::new(Name::clone(&self.apex));
        for same in nodes.chunk_by(|(one, _), (other, _)| one == other) {
            match same {
                [(_, node)] => builder.copy(*node),
                several => several.iter().for_each(|(_, node)| builder.add(*node)),
            }
        }
        builder.finish()
    }

    /// Puts in what a node has.
    fn add(&mut self, node: Node<'_>) {
        for set in node.sets() {
            for rdata in set.rdatas() {
                self.insert(node.name(), set.ttl(), set.rtype, &rdata);
            }
            for rrsig in set.signatures() {
                self.insert(node.name(), set.ttl(), Rtype::RRSIG, rrsig);
            }
        }
    }
}
