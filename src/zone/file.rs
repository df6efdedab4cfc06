//! A zone file as a whole: its contents and what is wrong with it, every error in one run, those of what it includes too.
//!
//! No file is opened here: includes are handed in. What an entry says is `parser`'s.

use std::ops::Deref;
use std::sync::OnceLock;

use super::check;
use super::contents::{Builder, Contents};
use super::diagnostic::{Diagnostic, Severity};
use super::entry::fault;
use super::owners::Owners;
use super::parser::{Found, MAX_DIAGNOSTICS, Owner, Parser, Sink};
use super::pieces::Pieces;
use super::reread::Marks;
use super::scan::{BOM, Place};
use super::source::{Placed, Sources, Text};
use super::tree::Inserted;
use crate::dns::{Name, Record, Rtype};

/// The longest file in octets.
const MAX_FILE: usize = 1 << 30;

/// Where the text of included files comes from.
pub trait Includes {
    /// The text of a file, by the path as it is written behind `$INCLUDE`; or why it can't be had.
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String>;
}

/// For zones that include nothing: every path is refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoIncludes;

impl Includes for NoIncludes {
    fn read(&mut self, _: &str) -> Result<Vec<u8>, String> {
        Err("includes are not available here".to_owned())
    }
}

/// A zone file that was read.
#[derive(Debug)]
pub struct Parsed<'t> {
    /// The zone; none when there is any error.
    pub contents: Option<Contents>,
    /// The errors, in the order in which they were met.
    pub diagnostics: Vec<Diagnostic>,
    /// The records with their places.
    pub records: Records<'t>,
    /// The files that were read.
    pub sources: Sources<'t>,
    /// The serial of the first SOA that could be read.
    pub serial: Option<u32>,
    /// For [`super::reread`]: none when there is any error, or the file includes others.
    pub marks: Option<Marks>,
}

/// The records in file order with their places, duplicates included; those with an error left out.
///
/// Only what is to be reported needs places: the text is read once more for them, when they are asked for.
#[derive(Debug)]
pub struct Records<'t> {
    zone: Name,
    sources: Sources<'t>,
    placed: OnceLock<Vec<Placed>>,
}

/// Reads the zone `origin` from `text`. `file` is the name that diagnostics carry.
pub fn parse<'t>(origin: &Name, file: &str, text: &'t [u8], includes: &mut dyn Includes) -> Parsed<'t> {
    let mut building = Building::new(origin);
    let mut parser = Parser::new(origin, file, includes, &mut building);
    let start = Place { line: 1, offset: 0, len: 1 };
    match unreadable(text.len(), text) {
        Some(reason) => {
            parser.seen.gap = true;
            let index = parser.sources.add(file, Text::Given(b""));
            parser.report(index, fault(start, reason));
        }
        None => {
            let index = parser.sources.add(file, Text::Given(text));
            parser.run(text, index, origin.clone(), Owner::None);
        }
    }
    missing(&mut parser, start);
    let Parser { mut diagnostics, sources, serial, marks, .. } = parser;
    let Building { contents, owners, odd } = building;
    let records = Records { zone: origin.clone(), sources: sources.clone(), placed: OnceLock::new() };
    if owners.may_conflict() {
        for conflict in check::conflicts(origin, &records) {
            if diagnostics.len() < MAX_DIAGNOSTICS {
                let place = &records[conflict.record];
                diagnostics.push(sources.at(Severity::Error, place, conflict.part, conflict.message, conflict.help));
            }
        }
    }
    let good = diagnostics.is_empty();
    let marks =
        (good && sources.names().count() == 1).then(|| Marks::new(origin, text.len(), marks, owners.filter(&odd)));
    Parsed { contents: good.then(|| contents.finish()), diagnostics, records, sources, serial, marks }
}

/// The contents of a zone file that is read piece by piece, and its marks. None where there is anything to say about it, or an entry is
/// very long: then [`parse`] says what there is.
pub fn read_through<T: Pieces + ?Sized>(
    origin: &Name,
    text: &T,
    includes: &mut dyn Includes,
) -> Option<(Contents, Option<Marks>)> {
    if unreadable(text.length(), &head(text)?).is_some() {
        return None;
    }
    let mut building = Building::new(origin);
    let mut parser = Parser::new(origin, "", includes, &mut building);
    parser.sources.add("", Text::Given(b""));
    parser.run_through(text)?;
    missing(&mut parser, Place { line: 1, offset: 0, len: 1 });
    let Parser { diagnostics, sources, marks, .. } = parser;
    let Building { contents, owners, odd } = building;
    if !diagnostics.is_empty() || owners.may_conflict() {
        return None;
    }
    let alone = sources.names().count() == 1;
    let marks = alone.then(|| Marks::new(origin, text.length(), marks, owners.filter(&odd)));
    Some((contents.finish(), marks))
}

/// Reports what every zone has and this one has not.
fn missing(parser: &mut Parser<'_, '_>, start: Place) {
    if parser.seen.gap {
        return;
    }
    let missing = |what: &str| fault(start, format!("the zone {} has no {what} record at its apex", parser.zone));
    let soa = (!parser.seen.soa).then(|| {
        missing("SOA").help("begin with: @ IN SOA ns1 hostmaster 1 7200 3600 1209600 3600 (RFC 1035 section 5.2)")
    });
    let ns =
        (!parser.seen.ns).then(|| missing("NS").help("name the zone's servers: @ IN NS ns1 (RFC 1034 section 4.2.1)"));
    for fault in [soa, ns].into_iter().flatten() {
        parser.report(0, fault);
    }
}

/// The zone of a file that is being read.
struct Building {
    contents: Builder,
    owners: Owners,
    /// The RRsets, by owner, of which a record is there twice or TTLs differ.
    odd: Vec<(u64, Rtype)>,
}

impl Building {
    fn new(origin: &Name) -> Building {
        Building { contents: Builder::new(origin.clone()), owners: Owners::default(), odd: Vec::new() }
    }
}

impl Sink for Building {
    fn take(&mut self, record: &Found<'_>) {
        self.owners.note(record);
        let inserted = self.contents.insert(record.owner, record.ttl, record.rtype, record.rdata);
        let set = (record.key, record.rtype);
        if inserted != Inserted::New && self.odd.last() != Some(&set) {
            self.odd.push(set);
        }
    }
}

impl Deref for Records<'_> {
    type Target = [Placed];

    fn deref(&self) -> &[Placed] {
        self.placed.get_or_init(|| {
            let mut placed = Vec::new();
            let mut files = self.sources.texts();
            if let Some((name, text)) = files.next() {
                let mut again = Again(files);
                let mut parser = Parser::new(&self.zone, name, &mut again, &mut placed);
                let index = parser.sources.add(name, Text::Given(text));
                parser.run(text, index, self.zone.clone(), Owner::None);
            }
            placed
        })
    }
}

/// The files that were included, in the order in which they were read.
struct Again<I>(I);

impl<'s, I: Iterator<Item = (&'s str, &'s [u8])> + Clone> Includes for Again<I> {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        // What could not be read then is not among them.
        let mut ahead = self.0.clone();
        let next = ahead.next().filter(|(name, _)| *name == path);
        let (_, text) = next.ok_or_else(|| "it could not be read".to_owned())?;
        self.0 = ahead;
        Ok(text.to_vec())
    }
}

impl Sink for Vec<Placed> {
    fn take(&mut self, record: &Found<'_>) {
        self.push(Placed {
            record: Record {
                owner: record.owner.clone(),
                ttl: record.ttl,
                rtype: record.rtype,
                rdata: record.rdata.into(),
            },
            file: record.file,
            line: record.line,
            offset: record.offset,
            rdata_token: record.rdata_token,
        });
    }
}

/// The first octets of a text: enough for a byte order mark.
pub(super) fn head<T: Pieces + ?Sized>(text: &T) -> Option<Vec<u8>> {
    let mut head = vec![0; text.length().min(BOM.len())];
    text.read(0, &mut head)?;
    Some(head)
}

/// Why a file of this length that begins so is not read at all.
pub(super) fn unreadable(length: usize, head: &[u8]) -> Option<&'static str> {
    if length > MAX_FILE {
        return Some("the file is longer than 1 GiB");
    }
    let utf16 = head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff");
    utf16.then_some("the file is in UTF-16: save it as UTF-8 or ASCII")
}

/// A 32-bit number of an SOA, counted in octets from the end of its RDATA.
pub(super) fn soa_number(rdata: &[u8], from_end: usize) -> Option<u32> {
    let at = rdata.len().checked_sub(from_end)?;
    Some(u32::from_be_bytes(*rdata.get(at..)?.first_chunk::<4>()?))
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
