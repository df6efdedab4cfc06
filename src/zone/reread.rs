//! What changed between two texts of a zone file, without reading the whole of either: a change costs what it changes.
//!
//! While a file is read, marks are made in it, at which reading can begin. Of two texts the ends that they have in common
//! are passed over; what lies between is read in both, from the last mark before it until both readers stand before the
//! same text and in the same state. Whenever that is in doubt, there is no answer: the whole has to be read.

use std::collections::HashMap;

use super::file::{NoIncludes, unreadable};
use super::owners::Filter;
use super::parser::{Found, Parser, Sink, Walk};
use super::scan::BOM;
use super::tree::key;
use crate::dns::{Name, Record, Rtype};

/// How far marks stand from each other at least, in octets.
pub(super) const SPACING: usize = if cfg!(debug_assertions) { 1 << 8 } else { 1 << 16 };
/// The most that is read of a text, in octets: beyond that reading the whole is no great loss.
const MAX_WINDOW: usize = 4 << 20;

/// A place in a zone file at which an entry begins.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) offset: usize,
    pub(super) state: State,
}

/// All that an entry depends on of what stands before it.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) origin: Name,
    pub(super) owner: Option<Name>,
    pub(super) default_ttl: Option<u32>,
    pub(super) last_ttl: Option<u32>,
}

impl State {
    /// The same, names in the same case.
    fn is(&self, other: &State) -> bool {
        self.origin.as_wire() == other.origin.as_wire()
            && self.owner.as_ref().map(Name::as_wire) == other.owner.as_ref().map(Name::as_wire)
            && (self.default_ttl, self.last_ttl) == (other.default_ttl, other.last_ttl)
    }
}

/// What has to be known of a zone file that was read to find what changes in it.
#[derive(Clone, Debug)]
pub struct Marks {
    zone: Name,
    /// The text's length in octets.
    length: usize,
    marks: Vec<Mark>,
    filter: Filter,
}

impl Marks {
    pub(super) fn new(zone: &Name, length: usize, marks: Vec<Mark>, filter: Filter) -> Marks {
        Marks { zone: zone.clone(), length, marks, filter }
    }
}

/// What changed. No record is in both lists.
///
/// Each of `removed` is in the old contents and stood in the old text once. Each of `added` has to be new
/// ([`super::tree::Inserted::New`]) when it is put into the contents, once those of `removed` are taken out: otherwise
/// the file holds a record twice, or an RRset with several TTLs, and has to be read as a whole.
#[derive(Clone, Debug)]
pub struct Reread {
    /// The records that are gone.
    pub removed: Vec<Record>,
    /// The records that are new.
    pub added: Vec<Record>,
    /// The new text's marks.
    pub marks: Marks,
}

/// What is another in `new` than in `old`, the text that the marks are of. None where the new text has to be read as a
/// whole: it may have errors, include files, change too much, or hold records that don't count once each.
pub fn reread(marks: &Marks, old: &[u8], new: &[u8]) -> Option<Reread> {
    if old.len() != marks.length || unreadable(new).is_some() || old.starts_with(BOM) != new.starts_with(BOM) {
        return None;
    }
    let head = common_head(old, new);
    let tail = common_tail(&old[head..], &new[head..]);
    let before = marks.marks.partition_point(|mark| mark.offset <= head);
    let start = marks.marks.get(before.checked_sub(1)?)?;
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    let mut nothing = (NoIncludes, NoIncludes);
    let mut old_window = Window::new(&marks.zone, old, start, &mut nothing.0, &mut removed);
    let mut new_window = Window::new(&marks.zone, new, start, &mut nothing.1, &mut added);
    loop {
        let (old_left, new_left) = (old_window.left(), new_window.left());
        if old_left == new_left && old_left <= tail && (old_left == 0 || old_window.state().is(&new_window.state())) {
            break;
        }
        let behind = if old_left >= new_left { &mut old_window } else { &mut new_window };
        behind.step()?;
    }
    let mut all = marks.marks[..before - 1].to_vec();
    let (old_end, new_end) = (old_window.walk.offset(), new_window.walk.offset());
    all.extend(new_window.parser.marks.drain(..).filter(|mark| mark.offset < new_end));
    // At the end of both texts the readers may stand in different states, and what was marked there is of the old one's.
    let behind = marks.marks.iter().filter(|mark| mark.offset >= old_end && old_end < old.len());
    all.extend(behind.map(|mark| Mark { offset: mark.offset - old_end + new_end, state: mark.state.clone() }));
    cancel(&mut removed, &mut added);
    let mut filter = marks.filter.clone();
    fits(&marks.zone, &mut filter, &removed, &added)?;
    Some(Reread { removed, added, marks: Marks::new(&marks.zone, new.len(), all, filter) })
}

/// A text that is read from a mark on.
struct Window<'z, 't> {
    parser: Parser<'z, 't>,
    walk: Walk<'t>,
    text: &'t [u8],
    start: usize,
}

impl<'z, 't> Window<'z, 't> {
    fn new(
        zone: &'z Name,
        text: &'t [u8],
        mark: &Mark,
        includes: &'z mut NoIncludes,
        records: &'z mut Vec<Record>,
    ) -> Window<'z, 't> {
        let mut parser = Parser::new(zone, "", includes, records);
        parser.sources.add("", super::source::Text::Given(text));
        parser.marks.push(mark.clone());
        let walk = parser.resume(text, mark);
        Window { parser, walk, text, start: mark.offset }
    }

    fn left(&self) -> usize {
        self.text.len() - self.walk.offset()
    }

    fn state(&self) -> State {
        self.parser.state(&self.walk)
    }

    /// Reads an entry. None for an error, for `$GENERATE`, which counts in the whole file, and when it is enough.
    fn step(&mut self) -> Option<()> {
        self.parser.step(&mut self.walk);
        self.parser.mark(&self.walk);
        let good = self.parser.diagnostics.is_empty() && self.parser.generated == 0;
        (good && self.walk.offset() - self.start <= MAX_WINDOW).then_some(())
    }
}

impl Sink for Vec<Record> {
    fn take(&mut self, record: &Found<'_>) {
        let Found { owner, ttl, rtype, rdata, .. } = *record;
        self.push(Record { owner: owner.clone(), ttl, rtype, rdata: rdata.into() });
    }
}

/// How many octets at their heads are the same.
fn common_head(left: &[u8], right: &[u8]) -> usize {
    let chunks = left.chunks_exact(CHUNK).zip(right.chunks_exact(CHUNK));
    let at = chunks.take_while(|(left, right)| left == right).count() * CHUNK;
    let rest = left[at..].iter().zip(&right[at..]);
    at + rest.take_while(|(left, right)| left == right).count()
}

/// How many octets at their ends are the same.
fn common_tail(left: &[u8], right: &[u8]) -> usize {
    let chunks = left.rchunks_exact(CHUNK).zip(right.rchunks_exact(CHUNK));
    let at = chunks.take_while(|(left, right)| left == right).count() * CHUNK;
    let rest = left[..left.len() - at].iter().rev().zip(right[..right.len() - at].iter().rev());
    at + rest.take_while(|(left, right)| left == right).count()
}

/// How many octets are compared at once.
const CHUNK: usize = 1 << 10;

/// All of a record, octet for octet: the case of a name is what is served.
type Octets<'r> = (&'r [u8], Rtype, u32, &'r [u8]);

fn octets(record: &Record) -> Octets<'_> {
    (record.owner.as_wire(), record.rtype, record.ttl, &record.rdata)
}

/// Takes out of both what is in both.
fn cancel(removed: &mut Vec<Record>, added: &mut Vec<Record>) {
    // Nearly all are the same, in the same order.
    let same = |(left, right): &(&Record, &Record)| octets(left) == octets(right);
    let tail = removed.iter().rev().zip(added.iter().rev()).take_while(same).count();
    removed.truncate(removed.len() - tail);
    added.truncate(added.len() - tail);
    let head = removed.iter().zip(added.iter()).take_while(same).count();
    removed.drain(..head);
    added.drain(..head);
    let mut counts: HashMap<_, usize> = HashMap::new();
    removed.iter().for_each(|record| *counts.entry(octets(record)).or_default() += 1);
    let stays: Vec<bool> = added.iter().map(|record| count_down(&mut counts, record)).collect();
    // What is left of the counts is what is gone.
    let gone: Vec<bool> = removed.iter().map(|record| count_down(&mut counts, record)).collect();
    let (mut stays, mut gone) = (stays.into_iter(), gone.into_iter());
    added.retain(|_| stays.next() == Some(false));
    removed.retain(|_| gone.next() == Some(true));
}

/// Whether one is left to take.
fn count_down<'r>(counts: &mut HashMap<Octets<'r>, usize>, record: &'r Record) -> bool {
    let left = counts.get_mut(&octets(record)).filter(|count| **count > 0);
    left.map(|count| *count -= 1).is_some()
}

/// Whether the zone is a good one behind the change, as far as the rest of it can be left alone: no records that exclude each
/// other (as in `check`), an SOA and an NS record at the apex, and no RRset touched whose records don't count once each.
fn fits(zone: &Name, filter: &mut Filter, removed: &[Record], added: &[Record]) -> Option<()> {
    let is_odd = |record: &Record| filter.is_odd(key::hash(record.owner.as_wire()), record.rtype);
    if removed.iter().chain(added).any(is_odd) {
        return None;
    }
    let soas = |records: &[Record]| records.iter().filter(|record| record.rtype == Rtype::SOA).count();
    let apex_ns = |records: &[Record]| records.iter().any(|one| one.rtype == Rtype::NS && one.owner == *zone);
    if soas(removed) != soas(added) || (apex_ns(removed) && !apex_ns(added)) {
        return None;
    }
    // An owner that had a CNAME has nothing else that counts, and may have another one.
    let cnames = removed.iter().filter(|record| record.rtype == Rtype::CNAME);
    let mut free: Vec<u64> = cnames.map(|record| key::hash(record.owner.as_wire())).collect();
    for record in added {
        let key = key::hash(record.owner.as_wire());
        let good = match record.rtype {
            Rtype::RRSIG | Rtype::NSEC => true,
            Rtype::DNAME => false,
            Rtype::NS if record.owner.is_wildcard() => false,
            Rtype::CNAME => match free.iter().position(|other| *other == key) {
                Some(index) => free.swap_remove(index) == key,
                None => !filter.has_owner(key),
            },
            _ => !filter.has_cname(key),
        };
        if !good {
            return None;
        }
        filter.add(key, record.rtype == Rtype::CNAME);
    }
    Some(())
}

#[cfg(test)]
#[path = "reread_tests.rs"]
mod tests;
