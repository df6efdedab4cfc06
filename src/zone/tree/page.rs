//! A run of nodes in canonical order, as octets that versions of a zone share.
//!
//! ```text
//! 0  nodes, u16                        8  for each node its key's prefix, u64
//! 2  octets that all keys share, u16      for each node where it begins, u32, and whether it has an NSEC, in the highest bit
//! 4  octets of the first key, u16         the first node's key
//!                                         the nodes
//! ```

use std::sync::Arc;

use super::key::{self, Key};
use super::node::Node;
use crate::dns::Rtype;

/// A page that has so many nodes or octets is full.
const FULL_NODES: usize = 64;
const FULL_OCTETS: usize = 32 << 10;

const PAGE_HEAD: usize = 8;
const WORD: usize = 8;
const START: usize = 4;
/// The mark of a node with an NSEC RRset.
const HAS_NSEC: u32 = 1 << 31;

/// A run of nodes.
#[derive(Clone)]
pub struct Page(Arc<[u8]>);

impl Page {
    /// A page that has no nodes: the place of one that is gone.
    pub fn empty() -> Page {
        Page(Arc::new([0; PAGE_HEAD]))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The page of octets that [`Page::as_bytes`] gave; none where they are too short for any node.
    pub(super) fn from_bytes(octets: &[u8]) -> Option<Page> {
        (octets.len() > PAGE_HEAD + WORD + START).then(|| Page(octets.into()))
    }

    /// Whether both are the same memory.
    pub fn is(&self, other: &Page) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How many nodes it has.
    pub fn len(&self) -> usize {
        usize::from(self.u16_at(0))
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many octets it takes.
    pub fn octets(&self) -> usize {
        self.0.len()
    }

    /// Where a node begins.
    pub fn place(&self, index: usize) -> u32 {
        self.start(index) & !HAS_NSEC
    }

    fn start(&self, index: usize) -> u32 {
        let at = PAGE_HEAD + self.len() * WORD + index * START;
        u32::from_le_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    /// The node that begins at a place.
    pub fn node_at(&self, place: u32) -> Node<'_> {
        Node::at(&self.0[place as usize..])
    }

    /// A node by its number.
    pub fn node(&self, index: usize) -> Node<'_> {
        self.node_at(self.place(index))
    }

    /// The nodes, in order.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = Node<'_>> {
        (0..self.len()).map(|index| self.node(index))
    }

    /// The octets from a place on: to have them brought near beforehand.
    pub fn octets_from(&self, place: u32) -> &[u8] {
        self.0.get(place as usize..).unwrap_or_default()
    }

    /// What a search reads before it comes to the nodes.
    pub fn heads(&self) -> &[u8] {
        &self.0[..PAGE_HEAD + self.len() * (WORD + START)]
    }

    /// The last node with an NSEC among the first `before`.
    pub(super) fn last_nsec(&self, before: usize) -> Option<Node<'_>> {
        let index = (0..before).rev().find(|index| self.start(*index) & HAS_NSEC != 0)?;
        Some(self.node(index))
    }

    pub(super) fn first_key(&self) -> &[u8] {
        let at = PAGE_HEAD + self.len() * (WORD + START);
        &self.0[at..at + usize::from(self.u16_at(4))]
    }

    /// How many nodes are at or before a key, and whether the last of them has it.
    pub(super) fn seek(&self, wanted: &[u8], apex_len: usize) -> (usize, bool) {
        let skip = usize::from(self.u16_at(2));
        let shared = &self.first_key()[..skip];
        if !wanted.starts_with(shared) {
            return (if wanted < shared { 0 } else { self.len() }, false);
        }
        let word = key::prefix(wanted, skip);
        let words = self.words();
        let mut low = words.partition_point(|octets| u64::from_le_bytes(*octets) < word);
        let same = words[low..].iter().take_while(|octets| u64::from_le_bytes(**octets) == word).count();
        let mut high = low + same;
        // The same eight octets: the whole keys decide.
        let mut exact = false;
        while low < high {
            let middle = (low + high) / 2;
            let key = Key::new(self.node(middle).name(), apex_len);
            match key.as_bytes().cmp(wanted) {
                std::cmp::Ordering::Greater => high = middle,
                order => {
                    exact |= order.is_eq();
                    low = middle + 1;
                }
            }
        }
        (low, exact)
    }

    fn words(&self) -> &[[u8; WORD]] {
        self.0[PAGE_HEAD..PAGE_HEAD + self.len() * WORD].as_chunks().0
    }

    fn u16_at(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }
}

/// A page that grows at its end.
#[derive(Default)]
pub(super) struct Growing {
    /// The keys one behind the other, and where they end.
    keys: Vec<u8>,
    ends: Vec<u32>,
    /// Where each node begins in `nodes`.
    starts: Vec<u32>,
    marks: Vec<u32>,
    nodes: Vec<u8>,
    /// Where a page is put together.
    whole: Vec<u8>,
}

impl Growing {
    pub(super) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.starts.len() >= FULL_NODES || self.nodes.len() >= FULL_OCTETS
    }

    /// Appends the node that `write` writes.
    pub(super) fn push(&mut self, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        self.keys.extend_from_slice(key);
        self.ends.push(self.keys.len() as u32);
        let start = self.nodes.len();
        self.starts.push(start as u32);
        write(&mut self.nodes);
        self.marks.push(if Node::at(&self.nodes[start..]).has(Rtype::NSEC) { HAS_NSEC } else { 0 });
    }

    pub(super) fn last(&self) -> Option<Node<'_>> {
        self.starts.last().map(|&start| Node::at(&self.nodes[start as usize..]))
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.ends.clear();
        self.starts.clear();
        self.marks.clear();
        self.nodes.clear();
    }

    fn key(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.keys[start as usize..self.ends[index] as usize]
    }

    /// The nodes as one page.
    pub(super) fn page(&mut self) -> Page {
        self.part(0, self.starts.len())
    }

    /// The nodes as one page, or two where they are more than fit.
    pub(super) fn pages(&mut self) -> (Page, Option<Page>) {
        let count = self.starts.len();
        if count > 1 && (count > 2 * FULL_NODES || self.nodes.len() > 2 * FULL_OCTETS) {
            return (self.part(0, count / 2), Some(self.part(count / 2, count)));
        }
        (self.page(), None)
    }

    fn part(&mut self, from: usize, to: usize) -> Page {
        if from == to {
            return Page::empty();
        }
        let mut out = std::mem::take(&mut self.whole);
        out.clear();
        let first_key = self.key(from);
        let skip = key::common(first_key, self.key(to - 1));
        let base = self.starts[from] as usize;
        let nodes = &self.nodes[base..self.starts.get(to).map_or(self.nodes.len(), |end| *end as usize)];
        let head = PAGE_HEAD + (to - from) * (WORD + START) + first_key.len();
        out.extend_from_slice(&((to - from) as u16).to_le_bytes());
        out.extend_from_slice(&(skip as u16).to_le_bytes());
        out.extend_from_slice(&(first_key.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        for index in from..to {
            out.extend_from_slice(&key::prefix(self.key(index), skip).to_le_bytes());
        }
        for index in from..to {
            let start = (head + self.starts[index] as usize - base) as u32;
            out.extend_from_slice(&(start | self.marks[index]).to_le_bytes());
        }
        out.extend_from_slice(first_key);
        out.extend_from_slice(nodes);
        let page = Page(Arc::from(&*out));
        self.whole = out;
        page
    }
}
