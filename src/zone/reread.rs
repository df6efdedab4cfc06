//! What changed between two texts of a zone file, without reading the whole of either: a change costs what it changes.
//!
//! While a file is read, marks are made in it, at which reading can begin. Of two texts the ends that they have in common
//! are passed over; what lies between is read in both, from the last mark before it until both readers stand before the
//! same text and in the same state. Whenever that is in doubt, there is no answer: the whole has to be read.

use std::collections::HashMap;

use super::file::{NoIncludes, head, unreadable};
use super::image;
use super::owners::Filter;
use super::parser::{Found, Parser, Sink, Walk};
use super::pieces::{self, Pieces};
use super::scan::BOM;
use super::tree::key;
use crate::dns::{Name, Record, Rtype};

/// How far marks stand from each other at least, in octets.
pub(super) const SPACING: usize = if cfg!(debug_assertions) { 1 << 8 } else { 1 << 16 };
/// The most that is read of a text, in octets: beyond that reading the whole is no great loss.
const MAX_WINDOW: usize = 4 << 20;

/// What no TTL is (RFC 2181 section 8).
const NO_TTL: u32 = u32::MAX;

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
    /// That of a zone file's beginning.
    pub(super) fn at(zone: &Name) -> State {
        State { origin: zone.clone(), owner: None, default_ttl: None, last_ttl: None }
    }

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

    /// Appends them as octets that outlive the process.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.length as u64).to_le_bytes());
        out.extend_from_slice(&(self.marks.len() as u32).to_le_bytes());
        for Mark { offset, state } in &self.marks {
            out.extend_from_slice(&(*offset as u64).to_le_bytes());
            image::put(out, state.origin.as_wire());
            image::put(out, state.owner.as_ref().map(Name::as_wire).unwrap_or_default());
            for ttl in [state.default_ttl, state.last_ttl] {
                out.extend_from_slice(&ttl.unwrap_or(NO_TTL).to_le_bytes());
            }
        }
        self.filter.write(out);
    }

    /// Reads what [`Marks::write`] appended; none where it is cut short.
    pub(super) fn read(zone: &Name, rest: &mut &[u8]) -> Option<Marks> {
        let length = usize::try_from(u64::from_le_bytes(*image::chunk(rest)?)).ok()?;
        let count = u32::from_le_bytes(*image::chunk(rest)?);
        let mut mark = || -> Option<Mark> {
            let offset = usize::try_from(u64::from_le_bytes(*image::chunk(rest)?)).ok()?;
            let origin = Name::from_wire(image::take(rest)?).ok()?;
            let owner = match image::take(rest)? {
                [] => None,
                wire => Some(Name::from_wire(wire).ok()?),
            };
            let mut ttl = || Some(Some(u32::from_le_bytes(*image::chunk(rest)?)).filter(|ttl| *ttl != NO_TTL));
            Some(Mark { offset, state: State { origin, owner, default_ttl: ttl()?, last_ttl: ttl()? } })
        };
        let marks = (0..count).map(|_| mark()).collect::<Option<_>>()?;
        Some(Marks { zone: zone.clone(), length, marks, filter: Filter::read(rest)? })
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
pub fn reread<T: Pieces + ?Sized>(marks: Marks, old: &T, new: &T) -> Option<Reread> {
    let Marks { zone, length, mut marks, mut filter } = marks;
    let (old_head, new_head) = (head(old)?, head(new)?);
    if old.length() != length
        || unreadable(new.length(), &new_head).is_some()
        || old_head.starts_with(BOM) != new_head.starts_with(BOM)
    {
        return None;
    }
    let (head, tail) = pieces::common(old, new)?;
    let before = marks.partition_point(|mark| mark.offset <= head);
    let start = marks.get(before.checked_sub(1)?)?;
    // So much of what both have in common at their ends is read with what changed.
    let mut beyond = SPACING;
    let (mut removed, mut added, window, (old_end, new_end)) = loop {
        let end = |text: &T| (text.length() - tail).saturating_add(beyond).min(text.length());
        if end(old) - start.offset > MAX_WINDOW || end(new) - start.offset > MAX_WINDOW {
            return None;
        }
        let texts = (part(old, start.offset, end(old))?, part(new, start.offset, end(new))?);
        match between(&zone, start, (&texts.0, &texts.1), (old.length(), new.length()), tail) {
            Some(found) => break found,
            // What ends within the texts may have been cut off there.
            None if end(old) < old.length() || end(new) < new.length() => beyond *= 8,
            None => return None,
        }
    };
    let mut behind = marks.split_off(before - 1);
    marks.extend(window.into_iter().filter(|mark| mark.offset < new_end));
    // At the end of both texts the readers may stand in different states, and what was marked there is of the old one's.
    behind.retain(|mark| mark.offset >= old_end && old_end < length);
    marks.extend(behind.into_iter().map(|mark| Mark { offset: mark.offset - old_end + new_end, state: mark.state }));
    cancel(&mut removed, &mut added);
    fits(&zone, &mut filter, &removed, &added)?;
    Some(Reread { removed, added, marks: Marks { zone, length: new.length(), marks, filter } })
}

fn part<T: Pieces + ?Sized>(text: &T, from: usize, to: usize) -> Option<Vec<u8>> {
    let mut octets = vec![0; to - from];
    text.read(from, &mut octets)?;
    Some(octets)
}

/// Records of the old and of the new text, the new one's marks, and where both were read to.
type Between = (Vec<Record>, Vec<Record>, Vec<Mark>, (usize, usize));

/// Reads two texts from a mark on, at which both given parts of them begin, until what is left is the same. `tail`: so many octets at
/// their ends are. None where one has an error or is read to the end of its part.
fn between(
    zone: &Name,
    start: &Mark,
    (old, new): (&[u8], &[u8]),
    lengths: (usize, usize),
    tail: usize,
) -> Option<Between> {
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    let mut nothing = (NoIncludes, NoIncludes);
    let mut old = Window::new(zone, old, lengths.0, start, &mut nothing.0, &mut removed);
    let mut new = Window::new(zone, new, lengths.1, start, &mut nothing.1, &mut added);
    loop {
        let (old_left, new_left) = (old.left(), new.left());
        if old_left == new_left && old_left <= tail && (old_left == 0 || old.state().is(&new.state())) {
            break;
        }
        let behind = if old_left >= new_left { &mut old } else { &mut new };
        behind.step()?;
    }
    let (ends, marks) = ((old.walk.offset(), new.walk.offset()), std::mem::take(&mut new.parser.marks));
    drop((old, new));
    Some((removed, added, marks, ends))
}

/// A text that is read from a mark on.
struct Window<'z, 't> {
    parser: Parser<'z, 't>,
    walk: Walk<'t>,
    /// Where the part of it ends that is there.
    end: usize,
    /// Its length.
    length: usize,
}

impl<'z, 't> Window<'z, 't> {
    fn new(
        zone: &'z Name,
        text: &'t [u8],
        length: usize,
        mark: &Mark,
        includes: &'z mut NoIncludes,
        records: &'z mut Vec<Record>,
    ) -> Window<'z, 't> {
        let mut parser = Parser::new(zone, "", includes, records);
        parser.sources.add("", super::source::Text::Given(text));
        parser.marks.push(mark.clone());
        let walk = parser.resume(text, mark);
        Window { parser, walk, end: mark.offset + text.len(), length }
    }

    fn left(&self) -> usize {
        self.length - self.walk.offset()
    }

    fn state(&self) -> State {
        self.parser.state(&self.walk)
    }

    /// Reads an entry. None for an error, for `$GENERATE`, which counts in the whole file, and when it is enough.
    fn step(&mut self) -> Option<()> {
        self.parser.step(&mut self.walk);
        self.parser.mark(&self.walk);
        let good = self.parser.diagnostics.is_empty() && self.parser.generated == 0;
        (good && (self.walk.offset() < self.end || self.end == self.length)).then_some(())
    }
}

impl Sink for Vec<Record> {
    fn take(&mut self, record: &Found<'_>) {
        let Found { owner, ttl, rtype, rdata, .. } = *record;
        self.push(Record { owner: owner.clone(), ttl, rtype, rdata: rdata.into() });
    }
}

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
            Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3 => true,
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
