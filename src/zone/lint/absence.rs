//! How long resolvers hold that something is not there, where it is put there for a while only.

use super::super::diagnostic::{Diagnostic, Severity};
use super::super::file::Parsed;
use super::super::source::Part;
use crate::dns::Rtype;

/// For so many seconds at most resolvers should hold that a proof is not there: a CA gives an order up in hours, and unbound keeps no
/// denial for longer than this by itself.
pub const ABSENCE_MAX: u32 = 3600;

/// What to do about a longer one.
pub const ABSENCE_HELP: &str =
    "set the SOA's last number to 3600 or less, such as 300, or its TTL (RFC 2308 section 5)";

/// Why that is too long for a zone that proofs of ACME are put into; none: it isn't.
pub fn long_absence(negative_ttl: u32) -> Option<String> {
    (negative_ttl > ABSENCE_MAX).then(|| {
        format!(
            "a resolver of the CA that asks for a proof before it is there holds for {negative_ttl} s that there is none (the lesser of \
             the SOA's minimum and TTL)"
        )
    })
}

/// The same where the SOA stands in a file.
pub fn lint_absence(parsed: &Parsed<'_>) -> Option<Diagnostic> {
    let why = long_absence(parsed.contents.as_ref()?.negative_ttl()?)?;
    let soa = parsed.records.iter().find(|placed| placed.record.rtype == Rtype::SOA)?;
    Some(parsed.sources.at(Severity::Warning, soa, Part::Rdata(6), why, Some(ABSENCE_HELP.to_owned())))
}
