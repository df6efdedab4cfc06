//! A tree as octets that outlive the process.

use std::collections::HashMap;

use super::page::Page;
use super::{Fence, Pages, Totals, Tree};
use crate::dns::Name;
use crate::zone::image::{put, take};

/// A page that another tree has too is written as its place there.
const REFERENCE: usize = 4;

impl Tree {
    /// Appends the tree to `out`; of pages that `other` has too, only where.
    pub fn write(&self, other: Option<&Tree>, out: &mut Vec<u8>) {
        put(out, self.apex.as_wire());
        let Totals { nodes, records, barriers } = self.totals;
        for count in [nodes, records, barriers, self.order.len()] {
            out.extend_from_slice(&(count as u64).to_le_bytes());
        }
        let numbered = other.into_iter().flat_map(Tree::numbered).enumerate();
        let places: HashMap<*const u8, u32> =
            numbered.map(|(place, (_, page))| (page.as_bytes().as_ptr(), place as u32)).collect();
        for (_, page) in self.numbered() {
            match places.get(&page.as_bytes().as_ptr()) {
                Some(place) => put(out, &place.to_le_bytes()),
                None => put(out, page.as_bytes()),
            }
        }
    }

    /// Reads what [`Tree::write`] appended; none where it is cut short. What the pages say is not looked at.
    pub fn read(other: Option<&Tree>, rest: &mut &[u8]) -> Option<Tree> {
        let apex = Name::from_wire(take(rest)?).ok()?;
        let mut count = || -> Option<usize> {
            let (octets, after) = rest.split_first_chunk::<8>()?;
            *rest = after;
            usize::try_from(u64::from_le_bytes(*octets)).ok()
        };
        let (totals, len) = (Totals { nodes: count()?, records: count()?, barriers: count()? }, count()?);
        let others: Vec<&Page> = other.into_iter().flat_map(Tree::numbered).map(|(_, page)| page).collect();
        let mut page = || -> Option<Page> {
            let octets = take(rest)?;
            match octets.first_chunk::<REFERENCE>().filter(|_| octets.len() == REFERENCE) {
                Some(place) => others.get(u32::from_le_bytes(*place) as usize).copied().cloned(),
                None => Page::from_bytes(octets),
            }
        };
        let pages: Pages = (0..len).map(|_| page()).collect::<Option<_>>()?;
        if pages.is_empty() {
            return None;
        }
        let order = (0..pages.len()).map(|page| Fence { word: 0, page: page as u32 }).collect();
        let mut tree = Tree { apex, pages, order, shared: Box::default(), totals };
        tree.set_fences();
        Some(tree)
    }
}
