//! Finds a name's node with one probe: a hash table whose parts its versions share.

use std::sync::Arc;

use smallvec::SmallVec;

use super::near;
use crate::zone::tree::{Node, Tree, key};

/// Slots of one part, where there are several.
const PART: usize = 1024;
/// Of eight slots this many are filled at most; at first one less.
const FULL: usize = 6;

/// So many octets at a node's head are what most answers need of it.
const NODE: usize = 384;

/// As many tell a node's name.
const HEAD: usize = 64;

/// A slot: 16 bits of the hash, the page's number, the node's place in it.
type Slot = u64;

/// What no node's slot can be, since none stands at these places.
const FREE: Slot = 0;
/// A slot that was taken: the search goes on behind it.
const GONE: Slot = 1;

/// The nodes of a tree by the hashes of their names.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// As many as a power of two, all of one size.
    parts: SmallVec<[Arc<[Slot]>; 1]>,
}

fn slot(hash: u64, page: usize, place: u32) -> Slot {
    (hash & 0xffff << 48) | (page as u64) << 24 | u64::from(place)
}

fn page_of(slot: Slot) -> usize {
    (slot >> 24 & 0xff_ffff) as usize
}

fn place_of(slot: Slot) -> u32 {
    (slot & 0xff_ffff) as u32
}

impl Index {
    /// The index of those nodes of a tree that `is_named` holds for. The tree has less than 2^24 pages, each of less than 16 MiB.
    pub(super) fn of(tree: &Tree, is_named: impl Fn(Node<'_>) -> bool) -> Index {
        let wanted = (tree.totals().nodes * 8).div_ceil(FULL - 1).next_power_of_two();
        let mut parts = (wanted / PART).max(1);
        loop {
            let size = if parts == 1 { wanted.clamp(2, 2 * PART) } else { PART };
            let mut filling: Vec<Vec<Slot>> = vec![vec![0; size]; parts];
            let fits = tree.pages().iter().enumerate().all(|(number, page)| {
                if let Some(next) = tree.pages().get(number + 1) {
                    (0..next.len()).for_each(|index| near::fetch_octets(next.octets_from(next.place(index)), HEAD));
                }
                (0..page.len()).all(|index| {
                    let node = page.node(index);
                    !is_named(node) || {
                        let hash = key::hash(node.name());
                        let part = &mut filling[part_of(hash, parts)];
                        insert(part, hash, slot(hash, number, page.place(index)))
                    }
                })
            });
            if fits && filling.iter().all(|part| has_ends(part)) {
                return Index { parts: filling.into_iter().map(Arc::from).collect() };
            }
            parts *= 2;
        }
    }

    /// The index of a later version of the tree, in which these pages are others; none where it has to be made anew.
    pub(super) fn after(
        &self,
        (old, new): (&Tree, &Tree),
        changed: &[usize],
        is_named: impl Fn(Node<'_>) -> bool,
    ) -> Option<Index> {
        let slots: usize = self.parts.iter().map(|part| part.len()).sum();
        if changed.len() * 4 > old.pages().len() + 12 || new.totals().nodes * 8 > slots * FULL {
            return None;
        }
        let mut index = self.clone();
        for (tree, is_new) in [(old, false), (new, true)] {
            for (number, page) in changed.iter().filter_map(|number| Some((*number, tree.pages().get(*number)?))) {
                for at in 0..page.len() {
                    let node = page.node(at);
                    let hash = key::hash(node.name());
                    let slot = slot(hash, number, page.place(at));
                    if is_named(node) && !index.set(hash, slot, is_new) {
                        return None;
                    }
                }
            }
        }
        let mut parts = self.parts.iter().zip(&index.parts);
        parts.all(|(before, part)| Arc::ptr_eq(before, part) || has_ends(part)).then_some(index)
    }

    fn set(&mut self, hash: u64, slot: Slot, is_new: bool) -> bool {
        let number = part_of(hash, self.parts.len());
        let part = &mut self.parts[number];
        if Arc::get_mut(part).is_none() {
            *part = part.iter().copied().collect();
        }
        let Some(part) = Arc::get_mut(part) else { return false };
        if is_new {
            return insert(part, hash, slot);
        }
        remove(part, hash, slot);
        true
    }

    /// The node of this hash that `is_it` holds for.
    pub(super) fn find<'a>(&self, tree: &'a Tree, hash: u64, is_it: impl Fn(Node<'_>) -> bool) -> Option<Node<'a>> {
        let part = &self.parts[part_of(hash, self.parts.len())];
        let mask = part.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = part[at];
            if slot == FREE {
                return None;
            }
            if (slot ^ hash) >> 48 == 0 && slot != GONE {
                let node = tree.pages()[page_of(slot)].node_at(place_of(slot));
                if is_it(node) {
                    return Some(node);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// Asks for the slot that is looked at first.
    pub(super) fn prefetch(&self, hash: u64) {
        near::fetch(self.first(hash));
    }

    /// Asks for the node that a name most likely has: its name and its heads, and what comes behind them. False where it has none.
    pub(super) fn prefetch_node(&self, tree: &Tree, hash: u64) -> bool {
        let part = &self.parts[part_of(hash, self.parts.len())];
        let mask = part.len() - 1;
        let mut at = hash as usize & mask;
        while part[at] != FREE {
            let slot = part[at];
            if (slot ^ hash) >> 48 == 0 && slot != GONE {
                if let Some(page) = tree.pages().get(page_of(slot)) {
                    near::fetch_octets(page.octets_from(place_of(slot)), NODE);
                }
                return true;
            }
            at = (at + 1) & mask;
        }
        false
    }

    fn first(&self, hash: u64) -> &Slot {
        let part = &self.parts[part_of(hash, self.parts.len())];
        &part[hash as usize & (part.len() - 1)]
    }
}

fn part_of(hash: u64, parts: usize) -> usize {
    (hash >> 24) as usize & (parts - 1)
}

/// Whether a search that finds nothing ends, and soon: slots that were taken once and then left don't end one, and every change
/// leaves some.
fn has_ends(part: &[Slot]) -> bool {
    part.iter().filter(|slot| **slot == FREE).count() * 8 >= part.len()
}

/// False where the part is full.
fn insert(part: &mut [Slot], hash: u64, slot: Slot) -> bool {
    let mask = part.len() - 1;
    let mut at = hash as usize & mask;
    // Long runs tell that few slots are free.
    for _ in 0..part.len() * FULL / 8 {
        if part[at] == FREE || part[at] == GONE {
            part[at] = slot;
            return true;
        }
        at = (at + 1) & mask;
    }
    false
}

fn remove(part: &mut [Slot], hash: u64, slot: Slot) {
    let mask = part.len() - 1;
    let mut at = hash as usize & mask;
    while part[at] != slot {
        if part[at] == FREE {
            return;
        }
        at = (at + 1) & mask;
    }
    part[at] = GONE;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Name, Rtype};

    fn tree(names: &[&str]) -> Tree {
        let apex: Name = "example.org.".parse().unwrap();
        let mut tree = Tree::new(apex.clone());
        for name in names {
            let owner = Name::parse(name, Some(&apex)).unwrap();
            tree.insert(&owner, 300, Rtype::A, &[192, 0, 2, 1]);
        }
        tree
    }

    #[test]
    fn a_search_ends_however_many_names_have_come_and_gone() {
        let mut before = tree(&["@", "stays"]);
        let mut index = Index::of(&before, |_| true);
        let stays: Name = "stays.example.org.".parse().unwrap();
        let mut anew = 0;
        for number in 0..1000 {
            let name = format!("n{number}");
            let next = tree(&["@", "stays", &name]);
            index = index.after((&before, &next), &before.changed_pages(&next), |_| true).unwrap_or_else(|| {
                anew += 1;
                Index::of(&next, |_| true)
            });
            assert!(index.parts.iter().all(|part| has_ends(part)), "after {number} changes");
            let found = index.find(&next, key::hash(stays.as_wire()), |node| node.name() == stays.as_wire());
            assert!(found.is_some());
            let gone: Name = format!("n{}.example.org.", number - 1).parse().unwrap();
            let is_it = |node: Node<'_>| node.name() == gone.as_wire();
            assert!(index.find(&next, key::hash(gone.as_wire()), is_it).is_none());
            before = next;
        }
        assert!((1..500).contains(&anew), "made anew {anew} times");
    }
}
