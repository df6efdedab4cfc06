//! What differs between two versions of a zone, record by record, as secondaries are told of it (RFC 1995 section 4); and the versions
//! that led to the one that is served.
//!
//! A difference is found at the cost of the pages that changed, and lies as octets in memory and in the store.

use std::cmp::Ordering;
use std::sync::Arc;

use super::serial;
use super::sign::Published;
use super::tree::{Inserted, Node, NodeRecord, Tree};
use crate::dns::{Name, Rtype, Timestamp, name};

/// So many versions of a zone are remembered at most.
const MAX_VERSIONS: usize = 1000;

/// What turns a version of a zone into a later one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    from: u32,
    to: u32,
    /// The older SOA, the records that go, the newer SOA, the records that come: of each owner, type, TTL, length and RDATA.
    octets: Box<[u8]>,
}

/// A record of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Changed<'a> {
    /// Its owner in wire form.
    pub owner: &'a [u8],
    /// Its type.
    pub rtype: Rtype,
    /// Its TTL in seconds.
    pub ttl: u32,
    /// Its RDATA, names uncompressed.
    pub rdata: &'a [u8],
}

impl Difference {
    /// What turns `old` into `new`, which has a later serial; none where it has not, or where one has no SOA.
    pub fn between(old: &Published, new: &Published) -> Option<Difference> {
        if !serial::is_after(new.serial, old.serial) {
            return None;
        }
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        put_soa(old, &mut gone)?;
        put_soa(new, &mut come)?;
        let apex = new.origin().as_wire();
        for changed in old.tree.differences(&new.tree) {
            let is_apex = name::is_same(changed.owner.as_wire(), apex);
            let (before, after) = (records_of(changed.old, is_apex), records_of(changed.new, is_apex));
            let old_name = changed.old.map_or(&[][..], Node::name);
            let new_name = changed.new.map_or(&[][..], Node::name);
            each_unshared(&before, &after, |record, is_new| match is_new {
                false => put(&mut gone, old_name, record),
                true => put(&mut come, new_name, record),
            });
        }
        gone.append(&mut come);
        Some(Difference { from: old.serial, to: new.serial, octets: gone.into() })
    }

    /// The version that differences lead to, one after the other: with the very signatures that were made then. None where one does not
    /// fit, or where more than one key signs, since their signatures' order is not told.
    pub fn apply(differences: &[Difference], old: &Published, now: Timestamp) -> Option<Published> {
        let (mut tree, mut serial) = (old.tree.clone(), old.serial);
        for difference in differences {
            (difference.from == serial && old.signers.len() <= 1).then_some(())?;
            difference.change(&mut tree)?;
            serial = difference.to;
        }
        Some(old.with_tree(tree, serial, now))
    }

    fn change(&self, tree: &mut Tree) -> Option<()> {
        let mut soas = 0;
        for Changed { owner, rtype, ttl, rdata } in self.records() {
            let owner = Name::from_wire(owner).ok()?;
            soas += usize::from(rtype == Rtype::SOA);
            let is_done = match soas {
                1 => tree.take(&owner, rtype, rdata),
                _ => tree.insert(&owner, ttl, rtype, rdata) == Inserted::New,
            };
            is_done.then_some(())?;
        }
        Some(())
    }

    /// Takes octets that [`Difference::octets`] gave; none where they are anything else.
    pub fn from_octets(octets: &[u8]) -> Option<Difference> {
        let mut at = 0;
        let mut serials = Vec::new();
        while at < octets.len() {
            let (record, next) = read(octets, at)?;
            at = next;
            if record.rtype == Rtype::SOA {
                serials.push(serial::of_soa(record.rdata)?);
            } else if serials.is_empty() {
                return None;
            }
        }
        match serials[..] {
            [from, to] => Some(Difference { from, to, octets: octets.into() }),
            _ => None,
        }
    }

    /// The serial of the version that it starts from.
    pub fn from(&self) -> u32 {
        self.from
    }

    /// The serial of the version that it leads to.
    pub fn to(&self) -> u32 {
        self.to
    }

    /// All of it.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// The record that begins at `at`, and where the next one does. The first begins at 0.
    pub fn record_at(&self, at: usize) -> Option<(Changed<'_>, usize)> {
        read(&self.octets, at)
    }

    /// Its records: the older SOA, what goes, the newer SOA, what comes.
    pub fn records(&self) -> impl Iterator<Item = Changed<'_>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let (record, next) = self.record_at(at)?;
            at = next;
            Some(record)
        })
    }
}

fn put_soa(zone: &Published, out: &mut Vec<u8>) -> Option<()> {
    let node = zone.tree.apex_node();
    let record = node.records().find(|record| record.rtype == Rtype::SOA)?;
    put(out, node.name(), &record);
    Some(())
}

/// A node's records in an order of their own; the SOA, which is told apart, is left out.
fn records_of(node: Option<Node<'_>>, is_apex: bool) -> Vec<NodeRecord<'_>> {
    let records = node.into_iter().flat_map(Node::records);
    let mut records: Vec<_> = records.filter(|record| !is_apex || record.rtype != Rtype::SOA).collect();
    records.sort_unstable();
    records
}

/// Tells of the records that only one of two has, and whether it is the new one.
fn each_unshared(old: &[NodeRecord<'_>], new: &[NodeRecord<'_>], mut tell: impl FnMut(&NodeRecord<'_>, bool)) {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.cmp(new),
        };
        let gone = if order.is_le() { old.next() } else { None };
        let come = if order.is_ge() { new.next() } else { None };
        if order.is_ne() {
            gone.into_iter().for_each(|record| tell(record, false));
            come.into_iter().for_each(|record| tell(record, true));
        }
    }
}

fn put(out: &mut Vec<u8>, owner: &[u8], record: &NodeRecord<'_>) {
    out.extend_from_slice(owner);
    out.extend_from_slice(&record.rtype.0.to_be_bytes());
    out.extend_from_slice(&record.ttl.to_be_bytes());
    out.extend_from_slice(&(record.rdata.len() as u16).to_be_bytes());
    out.extend_from_slice(&record.rdata);
}

fn read(octets: &[u8], at: usize) -> Option<(Changed<'_>, usize)> {
    let rest = octets.get(at..)?;
    let (owner, rest) = rest.split_at(name::wire_len(rest)?);
    let (head, rest) = rest.split_first_chunk::<8>()?;
    let rdata = rest.get(..usize::from(u16::from_be_bytes([head[6], head[7]])))?;
    let rtype = Rtype(u16::from_be_bytes([head[0], head[1]]));
    let ttl = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
    Some((Changed { owner, rtype, ttl, rdata }, at + owner.len() + head.len() + rdata.len()))
}

/// The differences that led to a version, each from where the one before it ends. A copy costs little.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<[Arc<Difference>]>);

impl History {
    /// Of stored differences, oldest first, those that lead to `serial` without a gap.
    pub fn leading_to(serial: u32, stored: Vec<Difference>) -> History {
        let mut wanted = serial;
        let leads = |difference: &&Difference| {
            let leads = difference.to == wanted;
            wanted = difference.from;
            leads
        };
        let skipped = stored.len() - stored.iter().rev().take_while(leads).count();
        History(stored.into_iter().skip(skipped).map(Arc::new).collect())
    }

    /// The same with one more at its end, and with the oldest let go that are more than `octets` or a thousand in all. Whatever does not
    /// go on from its end begins a new history.
    pub fn with(&self, difference: Difference, octets: usize) -> History {
        let goes_on = self.0.last().is_none_or(|last| last.to == difference.from);
        let before = if goes_on { &self.0[..] } else { &[] };
        let mut room = octets.saturating_sub(difference.octets.len());
        if difference.octets.len() > octets {
            return History::default();
        }
        let fits = |one: &&Arc<Difference>| {
            let fits = one.octets.len() <= room;
            room = room.saturating_sub(one.octets.len());
            fits
        };
        let kept = before.iter().rev().take(MAX_VERSIONS - 1).take_while(fits).count();
        let kept = before[before.len() - kept..].iter().cloned();
        History(kept.chain([Arc::new(difference)]).collect())
    }

    /// The differences, oldest first.
    pub fn differences(&self) -> &[Arc<Difference>] {
        &self.0
    }

    /// Those that lead from a serial to the end; none where it is not remembered.
    pub fn since(&self, serial: u32) -> Option<&[Arc<Difference>]> {
        let first = self.0.iter().position(|difference| difference.from == serial)?;
        Some(&self.0[first..])
    }
}
