//! Differences that an RFC decides for us, or that it leaves open: each rule takes away one, and no more.

use std::collections::BTreeSet;

use danelaw::dns::{Name, Rtype};

use super::common::wire::{Response, Rr};
use super::peers::Peer::{self, Bind, Knot, Nsd};
use super::proof::{denies_wildcard, is_proven};
use super::questions::Question;
use super::sections::{add, adopt, drop_extra, has, is, is_address, is_below, is_proof, lacks_proof, targets};

/// What is compared.
pub struct Case<'a> {
    pub peer: Peer,
    pub question: &'a Question,
    /// The apexes of the zones that are served.
    pub zones: &'a [Name],
}

impl Case<'_> {
    fn zone_of(&self, name: &Name) -> Option<&Name> {
        let above = self.zones.iter().filter(|origin| name.is_at_or_below(origin));
        above.max_by_key(|origin| origin.label_count())
    }
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
        peers: &[Nsd, Knot, Bind],
        apply: sibling_glue,
    },
    Rule {
        name: "RFC 2308 section 3: a negative answer's SOA has MINIMUM as its TTL, also where SOA was asked for",
        peers: &[Bind],
        apply: zero_soa,
    },
    Rule {
        name: "RFC 1035 section 6.2: an answer for class ANY is never authoritative",
        peers: &[Nsd, Knot],
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
        name: "RFC 2181 section 9: which addresses come along with an answer is a courtesy",
        peers: &[Nsd, Knot, Bind],
        apply: courtesy,
    },
    Rule {
        name: "RFC 1034 section 4.3.2 step 3a: a CNAME is followed into every zone that is served",
        peers: &[Knot, Bind],
        apply: other_zone,
    },
    Rule {
        name: "RFC 6672 section 3.2: behind a DNAME the walk begins again for every type",
        peers: &[Bind],
        apply: |case, ours, theirs| {
            matches!(case.question.rtype, Rtype::ANY | Rtype::RRSIG)
                && has(ours, Rtype::DNAME)
                && theirs.answer.is_subset(&ours.answer)
                && adopt(ours, theirs)
        },
    },
    Rule {
        name: "RFC 4035 section 3.1.4.1: of a cut the parent answers for DS alone",
        peers: &[Bind],
        apply: |case, ours, theirs| {
            case.question.rtype == Rtype::NSEC
                && ours.authority.iter().any(|one| one.rtype == Rtype::NS.0)
                && theirs.answer.difference(&ours.answer).all(|one| is(one, Rtype::NSEC))
                && adopt(ours, theirs)
        },
    },
    Rule {
        name: "RFC 1034 section 3.6.2: a loop of CNAMEs is no failure of the server's",
        peers: &[Bind],
        apply: |_, ours, theirs| {
            theirs.rcode == 2 && loops(ours) && theirs.answer == ours.answer && {
                theirs.rcode = ours.rcode;
                true
            }
        },
    },
    Rule {
        name: "RFC 2181 section 5: a record stands once in a section",
        peers: &[Knot, Nsd],
        apply: |_, _, theirs| std::mem::take(&mut theirs.doubled) > 0,
    },
    Rule {
        name: "how long a chain of CNAMEs is followed is the server's choice",
        peers: &[Nsd, Knot, Bind],
        apply: |_, ours, theirs| {
            let links = ours.answer.iter().filter(|record| record.rtype == Rtype::CNAME.0).count();
            let nested = ours.answer.is_subset(&theirs.answer) || theirs.answer.is_subset(&ours.answer);
            links >= 5 && nested && adopt(ours, theirs)
        },
    },
    Rule {
        name: "RFC 1034 section 3.6.2: a CNAME is followed for every type but its own, NSEC3 among them",
        peers: &[Nsd],
        apply: |case, ours, theirs| {
            case.question.rtype == Rtype::NSEC3
                && has(ours, Rtype::CNAME)
                && theirs.answer.is_subset(&ours.answer)
                && adopt(ours, theirs)
        },
    },
    Rule {
        name: "a refusal copies the question too",
        peers: &[Nsd],
        apply: |_, ours, theirs| {
            ours.rcode == 5 && theirs.question.is_empty() && {
                theirs.question.clone_from(&ours.question);
                true
            }
        },
    },
    Rule {
        name: "RFC 6672 section 3.2: YXDOMAIN ends the walk, and denies nothing",
        peers: &[Knot],
        apply: |_, ours, theirs| ours.rcode == 6 && ours.answer.is_subset(&theirs.answer) && adopt(ours, theirs),
    },
    Rule {
        name: "RFC 1034 section 4.3.2 step 3a: a CNAME is followed for NSEC and RRSIG where the zone has none of them",
        peers: &[Knot, Bind],
        apply: |case, ours, theirs| {
            matches!(case.question.rtype, Rtype::NSEC | Rtype::RRSIG)
                && has(ours, Rtype::CNAME)
                && theirs.answer.is_subset(&ours.answer)
                && adopt(ours, theirs)
        },
    },
    Rule {
        name: "RFC 4035 section 3.1.4.1: a child's server that has not the parent says NODATA of its DS",
        peers: &[Nsd, Knot, Bind],
        apply: |case, ours, theirs| {
            case.question.rtype == Rtype::DS
                && case.zones.contains(&case.question.name)
                && ours.aa
                && !theirs.aa
                && theirs.answer.is_empty()
                && theirs.authority.iter().any(|one| one.rtype == Rtype::NS.0)
                && adopt(ours, theirs)
        },
    },
    Rule {
        name: "RFC 4035 section 5.4, RFC 5155 section 8: the peer's denial proves nothing, danelaw's does",
        peers: &[Nsd, Knot, Bind],
        apply: |case, ours, theirs| {
            let proven = |one: &Response| is_proven(one, case.question);
            let same = Response { authority: ours.authority.clone(), ..theirs.clone() } == *ours;
            same && ours.authority.iter().any(is_proof) && proven(ours) && !proven(theirs) && adopt(ours, theirs)
        },
    },
    Rule {
        name: "RFC 5155 section 7.2.2: NXDOMAIN denies the wildcard too, whatever opt-out hides",
        peers: &[Nsd],
        apply: |case, ours, theirs| {
            let denies = |one: &Response| denies_wildcard(one, case.question);
            ours.rcode == 3 && theirs.rcode == 3 && denies(ours) && !denies(theirs) && adopt(ours, theirs)
        },
    },
    Rule {
        name: "the peer's denial has records that the proof does not need",
        peers: &[Nsd, Bind],
        apply: |case, ours, theirs| lacks_proof(theirs, ours) && is_proven(ours, case.question) && adopt(ours, theirs),
    },
    Rule {
        name: "RFC 5155 section 7.2.8: an NSEC3's owner is no name of the zone",
        peers: &[Nsd],
        apply: |case, ours, theirs| below_hash(&case.question.name) && adopt(ours, theirs),
    },
    Rule {
        name: "RFC 1034 section 4.2: the apex of another zone is no name of the zone above that does not delegate it",
        peers: &[Nsd],
        apply: |case, ours, theirs| one_tree(case, ours) && adopt(ours, theirs),
    },
    Rule {
        name: "RFC 6604 section 3: YXDOMAIN at the end of a chain is the answer's rcode",
        peers: &[Nsd, Knot],
        apply: |_, ours, theirs| {
            ours.rcode == 6 && theirs.rcode == 0 && theirs.answer.is_subset(&ours.answer) && adopt(ours, theirs)
        },
    },
    Rule {
        name: "RFC 4592 section 4.2: nothing is made from a wildcard below a cut, glue neither",
        peers: &[Nsd, Knot],
        apply: |_, ours, theirs| {
            let servers = targets(&ours.authority);
            let is_referral = ours.authority.iter().any(|record| record.rtype == Rtype::NS.0);
            is_referral
                && drop_extra(&ours.additional, &mut theirs.additional, |one| {
                    is_address(one) && servers.contains(&one.owner)
                })
        },
    },
    Rule {
        name: "Knot gives up where opt-out leaves out an encloser: no AA, no SOA",
        peers: &[Knot],
        apply: |case, ours, theirs| {
            let empty = theirs.answer.is_empty() && theirs.authority.is_empty();
            // An answer for class ANY has no AA anyway.
            ours.authority.iter().any(|one| is(one, Rtype::NSEC3))
                && (ours.aa || case.question.class == 255)
                && !theirs.aa
                && empty
                && adopt(ours, theirs)
        },
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
    let Some(cut) = ours.authority.iter().find(|record| record.rtype == Rtype::NS.0) else { return false };
    let servers = targets(&ours.authority);
    let sibling = |one: &Rr| is_address(one) && servers.contains(&one.owner) && !is_below(&one.owner, &cut.owner);
    let missing = drop_extra(&theirs.additional, &mut ours.additional, sibling);
    drop_extra(&ours.additional, &mut theirs.additional, sibling) || missing
}

fn zero_soa(case: &Case<'_>, ours: &mut Response, theirs: &mut Response) -> bool {
    let is_zero = |record: &Rr| record.ttl == 0 && is(record, Rtype::SOA);
    if case.question.rtype != Rtype::SOA || !theirs.authority.iter().any(is_zero) {
        return false;
    }
    let restore = |record: &Rr| match is_zero(record) {
        true => ours.authority.iter().find(|one| one.rdata == record.rdata).unwrap_or(record).clone(),
        false => record.clone(),
    };
    theirs.authority = theirs.authority.iter().map(restore).collect();
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

fn courtesy(_: &Case<'_>, ours: &mut Response, theirs: &mut Response) -> bool {
    let is_referral = ours.authority.iter().any(|record| record.rtype == Rtype::NS.0);
    if is_referral || ours.additional == theirs.additional {
        return false;
    }
    let known = &targets(&ours.answer) | &targets(&ours.authority);
    let service = |record: &Rr| is(record, Rtype::SVCB) || is(record, Rtype::HTTPS);
    let is_service = ours.answer.iter().any(service);
    // What a service's alias leads to, RFC 9460 section 4.1 lets a server follow as it likes: chains and wildcards with their proofs.
    let optional = |record: &Rr| is_service || (is_address(record) || is(record, Rtype::TLSA)) && !known.is_empty();
    let differ = ours.additional.symmetric_difference(&theirs.additional).all(optional);
    differ && {
        theirs.additional.clone_from(&ours.additional);
        true
    }
}

fn other_zone(case: &Case<'_>, ours: &mut Response, theirs: &mut Response) -> bool {
    let start = case.zone_of(&case.question.name);
    let leaves = |record: &Rr| {
        record.rtype == Rtype::CNAME.0 && {
            let target = Name::from_wire(&record.rdata).unwrap();
            let parent = target.parent().filter(|_| case.question.rtype == Rtype::DS);
            let zone = parent.and_then(|parent| case.zone_of(&parent)).or(case.zone_of(&target));
            zone.is_some_and(|zone| Some(zone) != start)
        }
    };
    let left = theirs.answer.intersection(&ours.answer).any(leaves);
    left && adopt(ours, theirs)
}

/// Whether a CNAME of the answer leads to an owner of the answer that leads on, and nowhere out of it.
fn loops(response: &Response) -> bool {
    let cnames = || response.answer.iter().filter(|record| record.rtype == Rtype::CNAME.0);
    let leads_back = |record: &Rr| {
        let target = Name::from_wire(&record.rdata).unwrap().to_string();
        cnames().any(|other| other.owner == target)
    };
    cnames().count() > 0 && cnames().all(leads_back)
}

/// Whether a label above the first looks like a hash of NSEC3.
fn below_hash(name: &Name) -> bool {
    let is_hash = |label: &[u8]| {
        data_encoding::BASE32_DNSSEC.decode(&label.to_ascii_lowercase()).is_ok_and(|hash| hash.len() == 20)
    };
    name.labels().skip(1).any(is_hash)
}

/// Whether a name on the way is at or below a name that leads to another zone's apex.
fn one_tree(case: &Case<'_>, ours: &Response) -> bool {
    let cnames = ours.answer.iter().filter(|record| record.rtype == Rtype::CNAME.0);
    let targets = cnames.map(|record| Name::from_wire(&record.rdata).unwrap());
    targets.chain([case.question.name.clone()]).any(|name| {
        let zone = name.parent().and_then(|parent| case.zone_of(&parent)).or(case.zone_of(&name));
        let inside = [name.clone()].into_iter().chain(name.ancestors());
        let mut inside = inside.take_while(|above| zone.is_some_and(|zone| above.is_below(zone)));
        inside.any(|above| case.zones.iter().any(|zone| zone.is_at_or_below(&above)))
    })
}
