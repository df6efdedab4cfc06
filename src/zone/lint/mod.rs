//! Warnings about a zone that reads well but probably does not say what was meant. Each points at its record.
//!
//! A good zone gives none. What can't be served at all is an error, and was found when the zone was read.

mod absence;
mod delegation;
mod mail;
mod names;

use std::collections::{BTreeMap, HashMap, HashSet};

pub use absence::{ABSENCE_HELP, ABSENCE_MAX, lint_absence, long_absence};

use super::contents::Contents;
use super::diagnostic::{Diagnostic, Severity};
use super::file::{Parsed, soa_number};
use super::sign::SigningMode;
use super::source::{Part, Placed};
use crate::dns::rdata::{self, canonical};
use crate::dns::{Name, Rtype};

/// The most warnings of one run.
const MAX_WARNINGS: usize = 200;

/// The warnings about a zone, in file order. None for a zone with errors: those come first. `mode` says what becomes of it.
pub fn lint(parsed: &Parsed, mode: SigningMode) -> Vec<Diagnostic> {
    let Some(contents) = &parsed.contents else { return Vec::new() };
    let mut sets: BTreeMap<(&Name, Rtype), Vec<usize>> = BTreeMap::new();
    for (index, placed) in parsed.records.iter().enumerate() {
        sets.entry((&placed.record.owner, placed.record.rtype)).or_default().push(index);
    }
    let cuts = delegation::cuts(contents);
    let mut lint = Lint { contents, records: &parsed.records, sets, cuts, found: Vec::new() };
    names::check(&mut lint);
    delegation::check(&mut lint);
    mail::check(&mut lint);
    lint.ttls();
    lint.duplicates();
    lint.soa();
    lint.tlsa();
    lint.zonemd(mode);
    lint.signed_elsewhere(mode);
    let mut found = lint.found;
    found.sort_by_key(|finding| finding.record);
    found.truncate(MAX_WARNINGS);
    let diagnostic = |finding: Finding| {
        let placed = &parsed.records[finding.record];
        parsed.sources.at(Severity::Warning, placed, finding.part, finding.message, Some(finding.help))
    };
    found.into_iter().map(diagnostic).collect()
}

/// The most findings of which the first are reported.
const MAX_FINDINGS: usize = 10_000;

struct Finding {
    record: usize,
    part: Part,
    message: String,
    help: String,
}

/// A zone under inspection.
struct Lint<'a> {
    contents: &'a Contents,
    records: &'a [Placed],
    /// The records of each owner and type, by index.
    sets: BTreeMap<(&'a Name, Rtype), Vec<usize>>,
    /// The zone cut of each owner that is at or below one.
    cuts: HashMap<Name, Name>,
    found: Vec<Finding>,
}

impl<'a> Lint<'a> {
    fn warn(&mut self, record: usize, part: Part, message: String, help: impl Into<String>) {
        if self.found.len() < MAX_FINDINGS {
            self.found.push(Finding { record, part, message, help: help.into() });
        }
    }

    fn origin(&self) -> &'a Name {
        self.contents.origin()
    }

    /// The records of a type with their indices, in file order.
    fn of_type(&self, rtype: Rtype) -> Vec<(usize, &'a Placed)> {
        let records = self.records;
        records.iter().enumerate().filter(|(_, placed)| placed.record.rtype == rtype).collect()
    }

    /// Whether an owner has records of a type.
    fn has(&self, owner: &Name, rtype: Rtype) -> bool {
        self.contents.has(owner, rtype)
    }

    fn line(&self, record: usize) -> u32 {
        self.records[record].line
    }

    /// TTLs within an RRset are one (RFC 2181 section 5.2). Signatures of several types are no RRset in this sense.
    fn ttls(&mut self) {
        let records = self.records;
        let mut odd = Vec::new();
        for ((_, rtype), indices) in self.sets.iter().filter(|((_, rtype), _)| *rtype != Rtype::RRSIG) {
            let first = &records[indices[0]];
            if let Some(&other) = indices.iter().find(|&&other| records[other].record.ttl != first.record.ttl) {
                odd.push((other, *rtype, first));
            }
        }
        for (other, rtype, first) in odd {
            let Placed { record, .. } = &records[other];
            let (theirs, line) = (first.record.ttl, first.line);
            self.warn(
                other,
                Part::Type,
                format!(
                    "the {rtype} records of {} have different TTLs: {} here, {theirs} on line {line}",
                    record.owner, record.ttl
                ),
                "an RRset has one TTL: the lowest is served. Give all of them the same",
            );
        }
    }

    fn duplicates(&mut self) {
        let records = self.records;
        if self.contents.record_count() == records.len() {
            return;
        }
        let mut doubled: Vec<usize> = Vec::new();
        for ((_, rtype), indices) in &self.sets {
            let mut seen = HashSet::new();
            doubled
                .extend(indices.iter().filter(|&&index| !seen.insert(canonical(*rtype, &records[index].record.rdata))));
        }
        for index in doubled {
            let record = &records[index].record;
            let message = format!("this {} record of {} is in the zone already", record.rtype, record.owner);
            self.warn(index, Part::Type, message, "take one of the two away");
        }
    }

    /// RFC 1912 section 2.2 and RFC 2308 section 5.
    fn soa(&mut self) {
        let Some((index, placed)) = self.of_type(Rtype::SOA).into_iter().next() else { return };
        let number = |from_end: usize| u64::from(soa_number(&placed.record.rdata, from_end).unwrap_or_default());
        let (refresh, retry, expire, minimum) = (number(16), number(12), number(8), number(4));
        let mailbox = rdata::names(Rtype::SOA, &placed.record.rdata).pop();
        // The mailbox is a name whose first label is the local part (RFC 1035 section 8).
        if mailbox.is_some_and(|name| name.labels().next().is_some_and(|label| label.contains(&b'@'))) {
            let message = "an @ in the SOA's mailbox is part of a name, not of an address".to_owned();
            self.warn(index, Part::Rdata(1), message, "hostmaster@example.org is written hostmaster.example.org.");
        }
        if expire < refresh + retry {
            self.warn(
                index,
                Part::Rdata(5),
                format!("the SOA's expire ({expire} s) is shorter than refresh and retry together ({} s)", refresh + retry),
                "secondaries would drop the zone after one failed refresh: two to four weeks are usual, such as 1209600",
            );
        }
        if retry > refresh {
            let message = format!("the SOA's retry ({retry} s) is longer than its refresh ({refresh} s)");
            self.warn(index, Part::Rdata(4), message, "retry after a part of the refresh interval, such as 7200 3600");
        }
        if minimum > 86_400 {
            let message = format!("the SOA's minimum ({minimum} s) keeps a missing name missing for more than a day");
            self.warn(
                index,
                Part::Rdata(6),
                message,
                "it is the TTL of negative answers now: 300 to 3600 is usual (RFC 2308)",
            );
        }
    }

    /// A digest of the wrong length matches no certificate (RFC 6698 section 2.1.3).
    fn tlsa(&mut self) {
        for rtype in [Rtype::TLSA, Rtype::SMIMEA] {
            for (index, placed) in self.of_type(rtype) {
                let rdata = &placed.record.rdata;
                let (hash, length) = match rdata[2] {
                    1 => ("SHA-256", 32),
                    2 => ("SHA-512", 64),
                    _ => continue,
                };
                let found = rdata.len() - 3;
                if found != length {
                    let message = format!("a digest of {hash} has {length} octets, this one has {found}");
                    self.warn(index, Part::Rdata(3), message, "no certificate matches it: copy the whole digest");
                }
            }
        }
    }

    /// A digest over the zone as it is written doesn't fit the zone as it is served (RFC 8976 section 3).
    fn zonemd(&mut self, mode: SigningMode) {
        for (index, _) in self.of_type(Rtype::ZONEMD).into_iter().filter(|_| mode == SigningMode::Csk) {
            self.warn(
                index,
                Part::Type,
                "this ZONEMD digest will not match: the zone is signed here, which changes it".to_owned(),
                "take the record away",
            );
        }
    }

    /// A zone whose SOA has a signature came out of a signer.
    fn signed_elsewhere(&mut self, mode: SigningMode) {
        let message = match mode {
            SigningMode::Presigned => return,
            SigningMode::Csk => "this zone is signed already: what its file has of RRSIG, NSEC and NSEC3 is left out",
            SigningMode::None => "this zone is signed in its file, and nothing checks that: its names may be bogus",
        };
        let of_soa = |(_, placed): &(usize, &Placed)| placed.record.rdata.starts_with(&Rtype::SOA.0.to_be_bytes());
        if let Some((index, _)) = self.of_type(Rtype::RRSIG).into_iter().find(of_soa) {
            let help = "signing = \"presigned\" for the zone serves it as it stands, and checks every signature";
            self.warn(index, Part::Type, message.to_owned(), help);
        }
    }
}

#[cfg(test)]
mod tests;
