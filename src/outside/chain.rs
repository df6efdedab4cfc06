//! What a zone's parent says of it, judged: whether validating resolvers trust the zone, and if not, who has to do what
//! (RFC 4033 section 5, RFC 4035 section 5.2).
//!
//! What resolvers see is what counts; what the parent's own servers show says why. Whoever stands between here and a resolver can
//! make a zone look insecure, by leaving out or replaying: so what is missing here keeps TLSA from coming out for the first time, and
//! takes none back ([`crate::dane::prerequisites::Gate`]).

use std::collections::{BTreeMap, BTreeSet};

use super::{Area, Check, Fault, TO_REACH, Trust};
use crate::dane::prerequisites::{Fact, Verdict};
use crate::dns::dnssec::{self, key_tag};
use crate::dns::text::print_rdata;
use crate::dns::{Name, Rdata, Rtype};

/// What was seen of a zone from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Through which resolver.
    pub through: String,
    /// Where the chain of trust begins: the root, or the zone of a configured anchor. The zone itself: it is an island.
    pub anchor: Name,
    /// How resolvers take the zone.
    pub zone: Trust,
    /// How they take the DS RRset, and what is in it.
    pub ds: (Trust, Vec<Rdata>),
    /// The zone above; none where it was not found.
    pub parent: Option<Name>,
    /// How resolvers take the zone above.
    pub above: Trust,
    /// The DS that each server of the zone above shows, or why it shows nothing.
    pub servers: BTreeMap<String, Result<Vec<Rdata>, String>>,
}

/// The algorithms that validators know (RFC 8624 section 3.1), whether danelaw does or not.
const VALIDATED: [u8; 8] = [5, 7, 8, 10, 13, 14, 15, 16];

/// Why a DS RRset leads to no key of a zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Flaw {
    /// There is none.
    Nothing,
    /// Tag and algorithm are those of a key of the zone, and the digest is not.
    WrongDigest(u16),
    /// The digest's type or the algorithm is one that validators do not know.
    NotSupported(u16),
    /// They are of other keys.
    OtherKeys(Vec<u16>),
}

/// How a zone stands in the chain of trust: for the gate of TLSA, and what is wrong by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// For the gate.
    pub fact: Fact,
    /// None: all is well.
    pub fault: Option<Fault>,
}

impl Judged {
    fn new(fault: Fault, fact: Fact) -> Judged {
        Judged { fact, fault: Some(fault) }
    }

    /// The same for people.
    pub fn check(self, apex: &Name) -> Check {
        let Fact { evidence, help, .. } = self.fact;
        match self.fault {
            None => Check::ok(Area::Chain, apex, evidence),
            Some(fault) => Check::fault(fault, apex, evidence, help),
        }
    }
}

/// Whether a zone with these keys (DNSKEY RDATA) is trusted.
pub fn judge(apex: &Name, keys: &[Rdata], seen: &Seen) -> Judged {
    let mut judged = judged(apex, keys, seen);
    // Others may see something else.
    judged.fact.evidence += &format!(" (seen from here through {})", seen.through);
    judged
}

fn judged(apex: &Name, keys: &[Rdata], seen: &Seen) -> Judged {
    if seen.anchor == *apex {
        return of_island(apex, &seen.zone);
    }
    let above = seen.parent.as_ref().map_or_else(|| "the zone above".to_owned(), |parent| format!("zone {parent}"));
    let line = to_hand_in(apex, keys);
    let flawed = |flaw| Flawed::new(flaw, &above, &line);
    // What the first server has that leads to no key.
    let shown = seen.servers.iter().find_map(|(label, ds)| {
        let mut flawed = flawed(leads(apex, keys, ds.as_ref().ok()?).err()?);
        flawed.what += &format!(" (asked {label})");
        Some(flawed)
    });
    let vouched = (seen.ds.0 == Trust::Secure && !seen.ds.1.is_empty()).then(|| leads(apex, keys, &seen.ds.1));
    match (&seen.zone, vouched) {
        (Trust::Secure, vouched) => {
            let tag = match vouched {
                Some(Ok(tag)) => format!("the DS of key {tag} is in {above}, and "),
                _ => String::new(),
            };
            let evidence = format!("{tag}the chain of trust leads from {} to {apex}", called(&seen.anchor));
            match shown {
                None => Judged { fact: Fact::held(evidence), fault: None },
                Some(Flawed { what, help, .. }) => {
                    Judged::new(Fault::DsStale, Fact::new(Verdict::Held, format!("{evidence}; but {what}"), help))
                }
            }
        }
        (Trust::Unknown(why), Some(Ok(_))) => unseen(why, shown),
        (_, Some(Ok(tag))) => {
            let evidence =
                format!("the DS of key {tag} is in {above}, and what was seen of {apex} does not validate by it");
            Judged::new(Fault::ZoneBogus, Fact::unknown(evidence, to_look_at(apex)))
        }
        // The zone above vouches for what leads nowhere: no validator gets to the zone.
        (_, Some(Err(flaw))) => flawed(flaw).missing(),
        // Below what has no chain nothing has one, whatever a validator makes of a DS there.
        (_, None) if seen.above == Trust::Insecure => {
            let evidence = format!("parent unsigned: {above} is not trusted itself, so nothing below it can be");
            let help = format!(
                "ask whoever runs {above} to sign it, or move {apex} below a signed one; where mail is tested among yourselves alone, \
                 set `[outside] anchors`"
            );
            Judged::new(Fault::ParentUnsigned, Fact::new(Verdict::Missing, evidence, help))
        }
        (Trust::Insecure, None) => match shown {
            Some(flawed) => flawed.missing(),
            None if seen.servers.values().any(Result::is_ok) => {
                let evidence = format!(
                    "the DS is in {above}, and resolvers do not go by it: they still hold that it is not, or don't know its algorithm"
                );
                Judged::new(Fault::DsStale, Fact::new(Verdict::Missing, evidence, "wait until their caches run out"))
            }
            None => flawed(Flaw::Nothing).missing(),
        },
        (Trust::Bogus, None) => {
            let evidence = format!("resolvers take {apex} for bogus");
            let (fault, evidence, help) = match shown {
                Some(Flawed { what, help, fault }) => (fault, format!("{what}, and {evidence}"), help),
                None => (Fault::ZoneBogus, evidence, to_look_at(apex)),
            };
            Judged::new(fault, Fact::unknown(evidence, help))
        }
        (Trust::Unknown(why), None) => unseen(why, shown),
    }
}

/// Nobody can say how resolvers take the zone.
fn unseen(why: &str, shown: Option<Flawed>) -> Judged {
    let evidence = format!("resolvers can't be asked: {why}");
    match shown {
        Some(Flawed { what, help, fault }) => {
            Judged::new(fault, Fact::unknown(format!("{what}, and {evidence}"), help))
        }
        None => Judged::new(Fault::ChainUnknown, Fact::unknown(evidence, TO_REACH)),
    }
}

fn to_look_at(apex: &Name) -> String {
    format!(
        "see that this machine's clock is right, that no nameserver of {apex} serves old signatures, and what `delv {} SOA` says",
        apex.to_host()
    )
}

/// A zone that a configured anchor is of.
fn of_island(apex: &Name, zone: &Trust) -> Judged {
    let (fault, evidence) = match zone {
        Trust::Secure => {
            let evidence = format!("{apex} is an island: its own anchor is configured, and it validates");
            return Judged { fact: Fact::held(evidence), fault: None };
        }
        Trust::Insecure | Trust::Bogus => (Fault::ZoneBogus, "it does not validate with it".to_owned()),
        Trust::Unknown(why) => (Fault::ChainUnknown, format!("resolvers can't be asked: {why}")),
    };
    let help = "see that the DNSKEY in `[outside] anchors` is the zone's, and that the resolver is reached";
    let evidence = format!("{apex} is an island, its own anchor is configured, and {evidence}");
    Judged::new(fault, Fact::unknown(evidence, help))
}

/// Where the chain of trust begins, in a sentence.
pub fn called(anchor: &Name) -> String {
    if anchor.is_root() { "the root".to_owned() } else { format!("the configured anchor of {anchor}") }
}

/// What is wrong with a DS RRset, and what to do.
struct Flawed {
    fault: Fault,
    what: String,
    help: String,
}

impl Flawed {
    /// `line`: the DS records that the zone above is to have.
    fn new(flaw: Flaw, above: &str, line: &str) -> Flawed {
        let fault = match flaw {
            Flaw::Nothing => Fault::DsMissing,
            Flaw::WrongDigest(_) => Fault::DsWrongDigest,
            Flaw::NotSupported(_) => Fault::DsAlgorithm,
            Flaw::OtherKeys(_) => Fault::DsUnknownKey,
        };
        let place = if flaw == Flaw::Nothing { "" } else { " this in place of what is there" };
        let what = match flaw {
            Flaw::Nothing => format!("DS missing: {above} has none"),
            Flaw::WrongDigest(tag) => {
                format!("wrong digest: {above} has a DS of key {tag} whose digest is not the key's")
            }
            Flaw::NotSupported(tag) => {
                format!("algorithm not supported: {above} has a DS of key {tag} that validators do not know")
            }
            Flaw::OtherKeys(tags) => {
                let tags = tags.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                format!("DS for an unknown key: {above} has the DS of key {tags}, which the zone does not have")
            }
        };
        Flawed { fault, what, help: format!("give the registrar{place}: {line}") }
    }

    fn missing(self) -> Judged {
        Judged::new(self.fault, Fact::new(Verdict::Missing, self.what, self.help))
    }
}

/// The DS records of the keys that a parent is given.
fn to_hand_in(apex: &Name, keys: &[Rdata]) -> String {
    let secure_entry = keys.iter().filter(|key| key.get(1).is_some_and(|flags| flags & 1 == 1));
    let lines = secure_entry.map(|key| format!("{apex} IN DS {}", print_rdata(Rtype::DS, &dnssec::ds(apex, key))));
    lines.collect::<Vec<_>>().join(" | ")
}

/// The tag of the key that a DS RRset leads to.
fn leads(apex: &Name, keys: &[Rdata], ds: &[Rdata]) -> Result<u16, Flaw> {
    ds.iter().map(|ds| leads_one(apex, keys, ds)).reduce(better).unwrap_or(Err(Flaw::Nothing))
}

fn better(one: Result<u16, Flaw>, other: Result<u16, Flaw>) -> Result<u16, Flaw> {
    match (one, other) {
        (Ok(tag), _) | (_, Ok(tag)) => Ok(tag),
        (Err(Flaw::OtherKeys(tags)), Err(Flaw::OtherKeys(more))) => {
            let tags: BTreeSet<u16> = tags.into_iter().chain(more).collect();
            Err(Flaw::OtherKeys(tags.into_iter().collect()))
        }
        (Err(one), Err(other)) => Err(one.min(other)),
    }
}

fn leads_one(apex: &Name, keys: &[Rdata], ds: &[u8]) -> Result<u16, Flaw> {
    let Some((&[high, low, algorithm, digest_type], digest)) = ds.split_first_chunk::<4>() else {
        return Err(Flaw::OtherKeys(Vec::new()));
    };
    let tag = u16::from_be_bytes([high, low]);
    let of_tag: Vec<&Rdata> = keys.iter().filter(|key| key_tag(key) == tag).collect();
    if of_tag.is_empty() {
        return Err(Flaw::OtherKeys(vec![tag]));
    }
    let of_both = of_tag.into_iter().filter(|key| key.get(3) == Some(&algorithm) && VALIDATED.contains(&algorithm));
    let digests = of_both.map(|key| dnssec::digest(apex, key, digest_type)).collect::<Option<Vec<Vec<u8>>>>();
    match digests.filter(|digests| !digests.is_empty()) {
        None => Err(Flaw::NotSupported(tag)),
        Some(digests) if digests.iter().any(|of_key| of_key == digest) => Ok(tag),
        Some(_) => Err(Flaw::WrongDigest(tag)),
    }
}
