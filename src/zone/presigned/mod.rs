//! Zones that were signed elsewhere. Every signature and the whole chain are checked when the file is read; what holds is served as
//! it stands, and nothing is ever put into it.

mod chain;
mod signatures;

use super::contents::Contents;
use super::diagnostic::{Diagnostic, Severity};
use super::file::Parsed;
use super::source::Part;
use crate::dns::{Name, Rtype, Timestamp};

/// So many seconds before a signature expires it is told of.
pub const NOTICE: u64 = 3 * 86_400;
/// The most findings that are told of one zone: a missing key makes every signature one.
const MAX_FINDINGS: usize = 20;

/// Something that is wrong with a signed zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// An error keeps the zone from being served.
    pub severity: Severity,
    /// Where.
    pub owner: Name,
    /// Of which type; the owner's first record is pointed at where it has none of it.
    pub rtype: Rtype,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// What came of a check: what is wrong, each at its record.
#[derive(Debug, Default)]
pub struct Checked(pub Vec<Diagnostic>);

impl Checked {
    /// Whether the zone may be served.
    pub fn holds(&self) -> bool {
        self.0.iter().all(|one| one.severity != Severity::Error)
    }
}

/// Checks the signatures and the chain of a zone file; nothing is found of one that didn't read well. `verified` are contents that were
/// good before: what they have needs no second look. Without a time, windows are not looked at.
pub fn check(parsed: &Parsed, verified: Option<&Contents>, now: Option<Timestamp>) -> Checked {
    let Some(contents) = &parsed.contents else { return Checked::default() };
    let Findings { found, left_out } = findings(contents, verified, now);
    let mut diagnostics: Vec<Diagnostic> = found.into_iter().filter_map(|finding| place(parsed, finding)).collect();
    if let Some(last) = diagnostics.last_mut().filter(|_| left_out > 0) {
        last.message.push_str(&format!(" (and {left_out} more findings like these)"));
    }
    Checked(diagnostics)
}

fn place(parsed: &Parsed, finding: Finding) -> Option<Diagnostic> {
    let Finding { severity, owner, rtype, message, help } = finding;
    let mut records = parsed.records.iter();
    let of_type = records.clone().find(|placed| placed.record.owner == owner && placed.record.rtype == rtype);
    let placed = of_type.or_else(|| records.find(|placed| placed.record.owner == owner)).or(parsed.records.first())?;
    Some(parsed.sources.at(severity, placed, Part::Type, message, Some(help)))
}

/// The same of contents.
pub fn findings(contents: &Contents, verified: Option<&Contents>, now: Option<Timestamp>) -> Findings {
    let mut findings = Findings::default();
    let Some(keys) = signatures::keys(contents) else {
        let message = "the zone is said to be signed in its file, and there is no DNSKEY record to check it with";
        let help = "sign it first, or take `signing = \"presigned\"` out of the configuration";
        findings.error(contents.origin(), Rtype::SOA, message.to_owned(), help);
        return findings;
    };
    signatures::check(contents, &keys, verified, now, &mut findings);
    chain::check(contents, &mut findings);
    if let Some(now) = now
        && let Some((owner, rtype, expires)) = signatures::first_to_expire(contents, now)
        && (now..now + NOTICE).contains(&expires)
    {
        let message = format!("the first signature expires in {} h; the zone goes bogus then", (expires - now) / 3600);
        findings.add(Severity::Warning, &owner, rtype, message, "sign the zone again");
    }
    findings
}

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// The first findings.
    pub found: Vec<Finding>,
    /// How many more there are.
    pub left_out: usize,
}

impl Findings {
    /// Whether the zone may be served.
    pub fn is_good(&self) -> bool {
        self.found.iter().all(|finding| finding.severity != Severity::Error)
    }

    fn error(&mut self, owner: &Name, rtype: Rtype, message: String, help: &str) {
        self.add(Severity::Error, owner, rtype, message, help);
    }

    fn add(&mut self, severity: Severity, owner: &Name, rtype: Rtype, message: String, help: &str) {
        if self.found.len() >= MAX_FINDINGS {
            self.left_out += 1;
            return;
        }
        self.found.push(Finding { severity, owner: owner.clone(), rtype, message, help: help.to_owned() });
    }
}
