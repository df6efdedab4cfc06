//! Differences that an RFC decides for us, or that it leaves open: each rule takes away one, and no more.

use std::collections::BTreeSet;

use danelaw::dns::{Name, Rtype};

use super::common::wire::{Response, Rr};
use super::peers::Peer::{self, Bind, Knot, Nsd};
use super::questions::Question;

/// What is compared.
pub struct Case<'a> {
    pub peer: Peer,
    pub question: &'a Question,
}

struct Rule {
    name: &'static str,
    peers: &'static [Peer],
    /// Takes the difference away; says whether there was one.
    apply: fn(&Case<'_>, &mut Response, &mut Response) -> bool,
}

const RULES: &[Rule] = &[
    Rule {
        name: "RFC 4035 section 3 has CD copied, section 3.1.6 has it cleared: danelaw does as the former says",
        peers: &[Nsd, Knot],
        apply: |_, ours, theirs| ours.cd && !std::mem::replace(&mut theirs.cd, ours.cd),
    },
    Rule { name: "RFC 1034 section 4.3.2 asks for no NS beside an answer", peers: &[Nsd], apply: ns_beside_answer },
    Rule { name: "RFC 8482 section 4.1: ANY may be answered with one RRset", peers: &[Nsd, Knot, Bind], apply: any },
    Rule {
        name: "RFC 9471 section 3.2: sibling glue may be left out of a referral",
        peers: &[Bind],
        apply: sibling_glue,
    },
    Rule {
        name: "RFC 2308 section 3: a negative answer's SOA has MINIMUM as its TTL, also where SOA was asked for",
        peers: &[Bind],
        apply: zero_soa,
    },
    Rule {
        name: "RFC 1035 section 6.2: an answer for class ANY is never authoritative",
        peers: &[Knot],
        apply: |case, ours, theirs| case.question.class == 255 && !ours.aa && std::mem::replace(&mut theirs.aa, false),
    },
    Rule {
        name: "RFC 2308 section 3: a negative answer has the SOA, for class ANY too",
        peers: &[Nsd],
        apply: |case, ours, theirs| {
            case.question.class == 255 && add(&ours.authority, &mut theirs.authority, |one| is(one, Rtype::SOA))
        },
    },
    Rule {
        name: "class NONE or ANY is REFUSED or answered; FORMERR is BIND's",
        peers: &[Bind],
        apply: |case, ours, theirs| case.question.class >= 254 && theirs.rcode == 1 && adopt(ours, theirs),
    },
    Rule { name: "RFC 9460 section 2.1: TargetName keeps its case", peers: &[Nsd], apply: target_case },
    Rule {
        name: "a question for RRSIG is answered with all of them",
        peers: &[Knot],
        apply: |case, ours, theirs| {
            case.question.rtype == Rtype::RRSIG
                && !theirs.answer.is_empty()
                && theirs.answer.is_subset(&ours.answer)
                && add(&ours.answer, &mut theirs.answer, |_| true)
        },
    },
    Rule {
        name: "RFC 5155 section 7.2.8: an NSEC3's owner is no name of the zone and encloses nothing",
        peers: &[Nsd],
        apply: |case, ours, theirs| below_hash(&case.question.name) && adopt(ours, theirs),
    },
];

/// Takes away what is accounted for; gives the names of the rules that did.
pub fn reconcile(case: &Case<'_>, ours: &mut Response, theirs: &mut Response) -> Vec<&'static str> {
    ours.length = 0;
    theirs.length = 0;
    let mut used = Vec::new();
    for rule in RULES.iter().filter(|rule| rule.peers.contains(&case.peer)) {
        if ours != theirs && (rule.apply)(case, ours, theirs) {
            used.push(rule.name);
        }
    }
    used
}

fn covers(record: &Rr, rtype: Rtype) -> bool {
    record.rtype == Rtype::RRSIG.0 && record.rdata[..2] == rtype.0.to_be_bytes()
}

fn is(record: &Rr, rtype: Rtype) -> bool {
    record.rtype == rtype.0 || covers(record, rtype)
}

fn is_address(record: &Rr) -> bool {
    is(record, Rtype::A) || is(record, Rtype::AAAA)
}

/// Removes what `which` says and we don't have.
fn drop_extra(ours: &BTreeSet<Rr>, theirs: &mut BTreeSet<Rr>, which: impl Fn(&Rr) -> bool) -> bool {
    let before = theirs.len();
    theirs.retain(|record| ours.contains(record) || !which(record));
    theirs.len() < before
}

fn is_below(owner: &str, above: &str) -> bool {
    owner == above || owner.ends_with(&format!(".{above}"))
}

fn ns_beside_answer(_: &Case<'_>, ours: &mut Response, theirs: &mut Response) -> bool {
    if ours.answer.is_empty() || !ours.aa {
        return false;
    }
    let extra: BTreeSet<String> = theirs
        .authority
        .difference(&ours.authority)
        .filter(|record| record.rtype == Rtype::NS.0)
        .map(|record| Name::from_wire(&record.rdata).unwrap().to_string())
        .collect();
    let dropped = drop_extra(&ours.authority, &mut theirs.authority, |record| is(record, Rtype::NS));
    drop_extra(&ours.additional, &mut theirs.additional, |record| is_address(record) && extra.contains(&record.owner));
    dropped
}

fn any(case: &Case<'_>, ours: &mut Response, theirs: &mut Response) -> bool {
    let owners = |one: &Response| one.answer.iter().map(|record| record.owner.clone()).collect::<BTreeSet<_>>();
    if case.question.rtype != Rtype::ANY || ours.answer.is_empty() || owners(ours) != owners(theirs) {
        return false;
    }
    theirs.answer.clone_from(&ours.answer);
    theirs.additional.clone_from(&ours.additional);
    true
}

fn sibling_glue(_: &Case<'_>, ours: &mut Response, theirs: &mut Response) -> bool {
    if ours.aa {
        return false;
    }
    let Some(cut) = ours.authority.iter().find(|record| record.rtype == Rtype::NS.0) else { return false };
    drop_extra(&theirs.additional, &mut ours.additional, |record| {
        is_address(record) && !is_below(&record.owner, &cut.owner)
    })
}

fn zero_soa(case: &Case<'_>, ours: &mut Response, theirs: &mut Response) -> bool {
    if case.question.rtype != Rtype::SOA || !ours.answer.is_empty() {
        return false;
    }
    let with_ttl = |record: &Rr| Rr { ttl: if is(record, Rtype::SOA) { 0 } else { record.ttl }, ..record.clone() };
    let same = ours.authority.iter().map(with_ttl).collect::<BTreeSet<_>>() == theirs.authority;
    if same {
        theirs.authority.clone_from(&ours.authority);
    }
    same
}

/// Adds what `which` says and they don't have.
fn add(ours: &BTreeSet<Rr>, theirs: &mut BTreeSet<Rr>, which: impl Fn(&Rr) -> bool) -> bool {
    let before = theirs.len();
    theirs.extend(ours.iter().filter(|record| which(record)).cloned());
    theirs.len() > before
}

/// Takes our answer for theirs.
fn adopt(ours: &Response, theirs: &mut Response) -> bool {
    theirs.clone_from(ours);
    true
}

fn target_case(_: &Case<'_>, ours: &mut Response, theirs: &mut Response) -> bool {
    let folded = |record: &Rr| match Rtype(record.rtype) {
        Rtype::SVCB | Rtype::HTTPS => Rr { rdata: record.rdata.to_ascii_lowercase(), ..record.clone() },
        _ => record.clone(),
    };
    let fold = |records: &BTreeSet<Rr>| records.iter().map(folded).collect::<BTreeSet<Rr>>();
    let same = ours.answer != theirs.answer && fold(&ours.answer) == fold(&theirs.answer);
    if same {
        theirs.answer.clone_from(&ours.answer);
    }
    same
}

/// Whether a label above the first looks like a hash of NSEC3.
fn below_hash(name: &Name) -> bool {
    let is_hash = |label: &[u8]| {
        data_encoding::BASE32_DNSSEC.decode(&label.to_ascii_lowercase()).is_ok_and(|hash| hash.len() == 20)
    };
    name.labels().skip(1).any(is_hash)
}
