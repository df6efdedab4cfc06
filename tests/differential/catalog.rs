//! What hickory's `Catalog` 0.26.3 makes of danelaw's messages: every change by name, in the order in which it happens to a message.
//! What is left over is a difference; a change that is never seen is no change any more, and to be taken off the list and out of the
//! documentation of `DaneZone`.

use danelaw::dns::{Name, Rtype};

use super::asked::{Asked, Extra, UPDATE};
use super::common::parsed::{Parsed, Rr, parse_to_end};
use super::handlers::{NAME_MAX, equal};

/// MAILA: no record has this type, so that a question for it is denied wherever it may be.
const NO_SUCH_TYPE: Rtype = Rtype(254);
const FORMERR: u8 = 1;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;
const REFUSED: u8 = 5;
const YXDOMAIN: u8 = 6;

/// A question to a `Catalog`.
pub struct Case<'a> {
    pub asked: &'a Asked,
    /// The zone whose handler is asked.
    pub apex: Option<&'a Name>,
    /// Whether the zone has no good version.
    pub is_broken: bool,
    /// What danelaw answers itself, with DO where the question has it.
    pub ask: &'a dyn Fn(&Name, Rtype) -> Parsed,
}

struct Change {
    what: &'static str,
    /// What in hickory does it.
    why: &'static str,
    /// Makes it; a message that stays as it was has not been changed.
    make: fn(&Case<'_>, &mut Parsed),
}

impl Case<'_> {
    /// The type asked for, where a zone's handler is asked at all: Catalog itself has done with other opcodes, versions and transfers, and
    /// passes over a handler that skips.
    fn handled(&self) -> Option<Rtype> {
        (self.is_query() && self.apex.is_some()).then_some(self.asked.question.rtype)
    }

    fn is_query(&self) -> bool {
        let is_other = matches!(self.asked.extra, Extra::Opcode(_) | Extra::Version(_));
        !is_other && self.asked.question.rtype != Rtype::AXFR
    }

    fn is_update(&self) -> bool {
        matches!(self.asked.extra, Extra::Opcode(UPDATE))
    }

    /// Whether no handler is asked.
    fn is_elsewhere(&self) -> bool {
        self.apex.is_none() && !self.is_broken
    }

    /// NSEC and NSEC3 of the denial of every type, which [`Change`]s take in the place of those that danelaw gives.
    fn proofs(&self) -> Vec<Rr> {
        if !self.asked.question.ask.dnssec {
            return Vec::new();
        }
        let [_, authority, _] = (self.ask)(&self.asked.question.name.to_lowercase(), NO_SUCH_TYPE).sections;
        authority.into_iter().filter(is_proof).collect()
    }
}

/// An RRset's type, of its signatures too.
fn covered(rr: &Rr) -> Rtype {
    match rr.rtype {
        Rtype::RRSIG => Rtype(u16::from_be_bytes([rr.rdata[0], rr.rdata[1]])),
        rtype => rtype,
    }
}

fn is_proof(rr: &Rr) -> bool {
    matches!(covered(rr), Rtype::NSEC | Rtype::NSEC3)
}

fn rcode(message: &Parsed) -> u8 {
    message.head[3] & 15
}

fn set_rcode(message: &mut Parsed, rcode: u8) {
    message.head[3] = message.head[3] & 0xf0 | rcode;
}

fn is_referral(message: &Parsed) -> bool {
    rcode(message) == 0
        && message.sections[0].is_empty()
        && message.sections[1].first().is_some_and(|rr| rr.rtype == Rtype::NS)
}

fn is_denial(message: &Parsed) -> bool {
    matches!(rcode(message), 0 | NXDOMAIN) && message.sections[0].is_empty() && !is_referral(message)
}

/// The zone that denies.
fn soa_owner(message: &Parsed) -> Option<Name> {
    let soa = message.sections[1].iter().find(|rr| rr.rtype == Rtype::SOA)?;
    Name::from_wire(&soa.owner).ok()
}

/// Whether a signature has fewer labels than its owner, as hickory counts them: the answer was made from a wildcard.
fn is_from_wildcard(message: &Parsed) -> bool {
    let labels = |rr: &Rr| usize::from(Name::from_wire(&rr.owner).unwrap().rrsig_labels());
    message.sections[0].iter().any(|rr| rr.rtype == Rtype::RRSIG && usize::from(rr.rdata[3]) < labels(rr))
}

fn authoritative(message: &mut Parsed) {
    message.head[2] |= 4;
}

const CHANGES: &[Change] = &[
    Change {
        what: "OPT says the client's payload size",
        why: "Catalog::handle_request sets max_payload to the request's",
        make: |case, message| {
            if let (Some(opt), Some(payload)) = (&mut message.opt, case.asked.question.ask.edns) {
                opt.class = payload.max(512);
            }
        },
    },
    Change {
        what: "OPT has no extended error",
        why: "a ZoneHandler has no way to OPT's options",
        make: |_, message| {
            if let Some(opt) = &mut message.opt {
                opt.rdata.clear();
            }
        },
    },
    Change {
        what: "FORMERR for an UPDATE with another type than SOA",
        why: "Catalog::update looks at the zone section before it asks a handler",
        make: |case, message| {
            if case.is_update() && case.asked.question.rtype != Rtype::SOA {
                set_rcode(message, FORMERR);
            }
        },
    },
    Change {
        what: "SERVFAIL for an UPDATE outside all zones",
        why: "Catalog::update has no other word where no handler is found",
        make: |case, message| {
            if case.is_update() && case.asked.question.rtype == Rtype::SOA && case.is_elsewhere() {
                set_rcode(message, SERVFAIL);
            }
        },
    },
    Change {
        what: "RD and CD in the answer to another opcode than QUERY",
        why: "Metadata::response_from_request copies them, and only what a handler says to an UPDATE has a header of its own",
        make: |case, message| {
            let has_own = case.is_update() && case.asked.question.rtype == Rtype::SOA && !case.is_elsewhere();
            if matches!(case.asked.extra, Extra::Opcode(_)) && !has_own {
                let [rd, ad_and_cd] = case.asked.question.flags;
                message.head[2] |= rd;
                message.head[3] |= ad_and_cd & 0x10;
            }
        },
    },
    Change {
        what: "REFUSED for FORMERR",
        why: "build_authoritative_response knows no FORMERR, which would be NOERROR; and where no handler is found nobody reads the question",
        make: |case, message| {
            if case.is_query() && rcode(message) == FORMERR {
                set_rcode(message, REFUSED);
            }
        },
    },
    Change {
        what: "SERVFAIL for whatever is asked of a zone that has no good version",
        why: "DaneZone skips it before anybody reads the question",
        make: |case, message| {
            if case.is_query() && case.is_broken {
                set_rcode(message, SERVFAIL);
            }
        },
    },
    Change {
        what: "AA on a refusal",
        why: "build_authoritative_response sets AA before it looks at the result",
        make: |case, message| {
            if case.handled().is_some() && rcode(message) == REFUSED {
                authoritative(message);
            }
        },
    },
    Change {
        what: "AA on a referral",
        why: "build_authoritative_response sets AA before it looks at the result",
        make: |case, message| {
            if case.handled().is_some() && is_referral(message) {
                authoritative(message);
            }
        },
    },
    Change {
        what: "AA on an answer for class ANY",
        why: "build_authoritative_response sets AA before it looks at the result",
        make: |case, message| {
            if case.handled().is_some() && case.asked.question.class == 255 {
                authoritative(message);
            }
        },
    },
    Change {
        what: "NOERROR for NXDOMAIN behind a CNAME or DNAME",
        why: "a LookupError has no records, and what has records is NOERROR",
        make: |_, message| {
            if rcode(message) == NXDOMAIN && !message.sections[0].is_empty() {
                set_rcode(message, 0);
            }
        },
    },
    Change {
        what: "NOERROR for YXDOMAIN",
        why: "a LookupError has no records, and what has records is NOERROR",
        make: |_, message| {
            if rcode(message) == YXDOMAIN {
                set_rcode(message, 0);
            }
        },
    },
    Change {
        what: "a wildcard's answer has the proofs of a denial",
        why: "has_wildcard_match: Catalog asks nsec_records for the question's name and knows no type",
        make: |case, message| {
            if case.handled().is_some_and(|rtype| rtype != Rtype::SOA) && is_from_wildcard(message) {
                message.sections[1] = case.proofs();
            }
        },
    },
    Change {
        what: "no SOA, proof or referral behind a chain",
        why: "AuthLookup has answers and additional records, and no authority section",
        make: |case, message| {
            let keeps = case.asked.question.rtype != Rtype::SOA && is_from_wildcard(message);
            if !message.sections[0].is_empty() && !keeps {
                message.sections[1].clear();
            }
        },
    },
    Change {
        what: "the apex's NS beside the answer for SOA",
        why: "build_authoritative_response: SOA queries should return the NS records as well",
        make: |case, message| {
            let has_records = !message.sections[0].is_empty() || is_referral(message);
            if let (Some(Rtype::SOA), Some(apex), true) = (case.handled(), case.apex, has_records) {
                let [answer, _, _] = (case.ask)(apex, Rtype::NS).sections;
                message.sections[1].extend(answer);
            }
        },
    },
    Change {
        what: "a referral is the answer for NS or ANY",
        why: "is_referral: NS records are the authority section's unless NS or ANY was asked for",
        make: |case, message| {
            if matches!(case.handled(), Some(Rtype::NS | Rtype::ANY)) && is_referral(message) {
                message.sections[0] = std::mem::take(&mut message.sections[1]);
            }
        },
    },
    Change {
        what: "a denial in the zone's own case, not the question's",
        why: "Catalog asks for SOA and proofs by the handler's origin and a LowerName",
        make: |case, message| {
            let is_own = soa_owner(message).as_ref() == case.apex;
            if let Some(rtype) = case.handled().filter(|_| is_own && is_denial(message)) {
                [_, message.sections[1], _] = (case.ask)(&case.asked.question.name.to_lowercase(), rtype).sections;
            }
        },
    },
    Change {
        what: "NODATA of the child for its DS that the parent has no name for",
        why: "NXDOMAIN would come out with the child's own SOA and proofs, which deny it: DaneZone says that the name exists",
        make: |case, message| {
            if let (Some(_), Some(apex), NXDOMAIN) = (case.handled(), case.apex, rcode(message))
                && soa_owner(message).is_some_and(|soa| is_denial(message) && soa != *apex)
            {
                set_rcode(message, 0);
                [_, message.sections[1], _] = (case.ask)(apex, NO_SUCH_TYPE).sections;
            }
        },
    },
    Change {
        what: "the parent's NS before the denial of a child's DS",
        why: "the child's handler is asked, and what begins with NS passes through whole",
        make: |case, message| {
            if let (Some(_), Some(soa), Some(apex), true) =
                (case.handled(), soa_owner(message), case.apex, is_denial(message))
                && soa != *apex
            {
                let [answer, _, _] = (case.ask)(&soa, Rtype::NS).sections;
                message.sections[1].splice(0..0, answer);
            }
        },
    },
    Change {
        what: "a denial's SOA behind its proofs",
        why: "build_authoritative_response puts nsecs before soa",
        make: |case, message| {
            if case.handled().is_some() && is_denial(message) {
                message.sections[1].sort_by_key(|rr| covered(rr) == Rtype::SOA);
            }
        },
    },
];

const CUT: &str = "a datagram ends between records, with TC";
const LONG: &str = "a datagram is as long as the client allows";
const PIECES: &str = "a datagram has pieces of a record behind its end";
const LOST_OPT: &str = "a datagram has no room for OPT";

const ENCODE: &str = "MessageResponse::encode cuts at the client's payload size, whatever stands there";

/// All that is on the list, and why it is.
pub fn list() -> impl Iterator<Item = (&'static str, &'static str)> {
    let datagrams = [CUT, LONG, PIECES, LOST_OPT].map(|what| (what, ENCODE));
    CHANGES.iter().map(|change| (change.what, change.why)).chain(datagrams)
}

/// Changes danelaw's message as Catalog does; gives what was changed.
pub fn change(case: &Case<'_>, message: &mut Parsed) -> Vec<&'static str> {
    let mut seen = Vec::new();
    for change in CHANGES {
        let before = message.clone();
        (change.make)(case, message);
        if *message != before {
            seen.push(change.what);
        }
    }
    seen
}

/// MessageResponse::encode: the limit is the payload size in the response's OPT, which is the client's; what does not fit is left out from
/// the first such record of each section on.
pub fn datagram(asked: &Asked, octets: &[u8], long: &[u8], whole: &Parsed) -> (Result<(), String>, Vec<&'static str>) {
    let limit = asked.question.ask.edns.map_or(512, |payload| usize::from(payload.max(512)));
    if octets.len() > limit {
        return (Err(format!("{} octets where {limit} are allowed", octets.len())), Vec::new());
    }
    let (mut sent, end) = parse_to_end(octets);
    sent.head[..2].fill(0);
    let mut seen = Vec::new();
    seen.extend((octets.len() > 1232).then_some(LONG));
    if !sent.truncated() {
        let outcome = if end == octets.len() { equal(&sent, whole) } else { Err("octets after the end".to_owned()) };
        return (outcome, seen);
    }
    if long.len() + NAME_MAX <= limit {
        return (Err(format!("TC where {} octets of {limit} are needed", long.len())), seen);
    }
    let mut expected = whole.clone();
    expected.head[2] |= 2;
    for (section, part) in expected.sections.iter_mut().zip(&sent.sections) {
        section.truncate(part.len());
    }
    if sent.opt.is_none() {
        seen.extend(expected.opt.take().map(|_| LOST_OPT));
    }
    if expected.sections == whole.sections && expected.opt == whole.opt {
        return (Err("TC, and nothing is missing".to_owned()), seen);
    }
    seen.push(CUT);
    seen.extend((end < octets.len()).then_some(PIECES));
    (equal(&sent, &expected), seen)
}
