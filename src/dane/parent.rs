//! What a zone's parent says of it, judged: whether validating resolvers trust the zone, and if not, who has to do what
//! (RFC 4033 section 5, RFC 4035 section 5.2).
//!
//! What resolvers see is what counts; what the parent's own servers show says why. Whoever stands between here and a resolver can
//! make a zone look insecure, by leaving out or replaying: so what is missing here keeps TLSA from coming out for the first time, and
//! takes none back ([`super::prerequisites::Gate`]).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::prerequisites::{Fact, Verdict};
use crate::dns::dnssec::{self, key_tag};
use crate::dns::text::print_rdata;
use crate::dns::{Name, Rdata, Rtype, Timestamp};

/// How a validating resolver takes records (RFC 4035 section 4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The chain of trust leads there.
    Secure,
    /// It provably ends above.
    Insecure,
    /// It should lead there, and does not.
    Bogus,
    /// It can't be told; why.
    Unknown(String),
}

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

/// The algorithms that validators know (RFC 9904), whether danelaw does or not.
const VALIDATED: [u8; 8] = [5, 7, 8, 10, 13, 14, 15, 16];

/// What a DS RRset is worth to a zone with these keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// One of them leads to a key of the zone.
    Good(u16),
    /// There is none.
    Nothing,
    /// Tag and algorithm are those of a key of the zone, and the digest is not.
    WrongDigest(u16),
    /// The digest's type or the algorithm is one that validators do not know.
    NotSupported(u16),
    /// They are of other keys.
    OtherKeys(Vec<u16>),
}

/// Whether a zone with these keys (DNSKEY RDATA) is trusted.
pub fn judge(apex: &Name, keys: &[Rdata], seen: &Seen) -> Fact {
    let mut fact = judged(apex, keys, seen);
    // Others may see something else.
    fact.evidence += &format!(" (seen from here through {})", seen.through);
    fact
}

fn judged(apex: &Name, keys: &[Rdata], seen: &Seen) -> Fact {
    if seen.anchor == *apex {
        return of_island(apex, &seen.zone);
    }
    let line = to_hand_in(apex, keys);
    let above = seen.parent.as_ref().map_or_else(|| "the zone above".to_owned(), |parent| format!("zone {parent}"));
    let worths = seen.servers.iter().filter_map(|(label, ds)| Some((label, worth(apex, keys, ds.as_ref().ok()?))));
    let worths: Vec<(&String, Worth)> = worths.collect();
    let wrong = |worth: &Worth| wrong(worth, &above, &line);
    // The worst that any of them shows.
    let bad = worths.iter().find(|(_, worth)| !matches!(worth, Worth::Good(_)));
    let shown =
        || bad.and_then(|(label, worth)| Some((format!("{} (asked {label})", wrong(worth)?.0), wrong(worth)?.1)));
    let vouched = (seen.ds.0 == Trust::Secure && !seen.ds.1.is_empty()).then(|| worth(apex, keys, &seen.ds.1));
    match (&vouched, &seen.zone) {
        (None, _) | (_, Trust::Secure) => {}
        (Some(Worth::Good(tag)), Trust::Insecure | Trust::Bogus) => {
            let evidence =
                format!("the DS of key {tag} is in {above}, and what was seen of {apex} does not validate by it");
            return Fact::unknown(evidence, to_look_at(apex));
        }
        (Some(Worth::Good(_)), Trust::Unknown(_)) => {}
        // The zone above vouches for what is wrong: no validator gets to the zone.
        (Some(bad), _) => {
            if let Some((why, help)) = wrong(bad) {
                return Fact::new(Verdict::Missing, why, help);
            }
        }
    }
    match &seen.zone {
        Trust::Secure => {
            let tag = match worth(apex, keys, &seen.ds.1) {
                Worth::Good(tag) => format!("the DS of key {tag} is in {above}, and "),
                _ => String::new(),
            };
            let evidence = format!("{tag}the chain of trust leads from {} to {apex}", called(&seen.anchor));
            match shown() {
                None => Fact::held(evidence),
                Some((why, help)) => Fact::new(Verdict::Held, format!("{evidence}; but {why}"), help),
            }
        }
        // Below what provably has no chain nothing has one, whatever a validator makes of a DS there.
        _ if seen.above == Trust::Insecure => {
            let evidence = format!("parent unsigned: {above} is not trusted itself, so nothing below it can be");
            let help = format!(
                "ask whoever runs {above} to sign it, or move {apex} below a signed one; where mail is tested among yourselves alone, \
                 set `[outside] anchors`"
            );
            Fact::new(Verdict::Missing, evidence, help)
        }
        Trust::Insecure => match (bad, shown()) {
            (Some(_), Some((why, help))) => Fact::new(Verdict::Missing, why, help),
            _ if worths.is_empty() => {
                let (why, help) = wrong(&worth(apex, keys, &[])).unwrap_or_default();
                Fact::new(Verdict::Missing, format!("{why} (as resolvers see it)"), help)
            }
            _ => Fact::new(
                Verdict::Missing,
                format!(
                    "the DS is in {above}, and resolvers do not go by it: they still hold that it is not, or don't know its algorithm"
                ),
                "wait until their caches run out",
            ),
        },
        Trust::Bogus => {
            let evidence = format!("resolvers take {apex} for bogus");
            match shown() {
                Some((why, help)) => Fact::unknown(format!("{why}, and {evidence}"), help),
                None => Fact::unknown(evidence, to_look_at(apex)),
            }
        }
        Trust::Unknown(why) => {
            let evidence = format!("resolvers can't be asked: {why}");
            match shown() {
                Some((shown, help)) => Fact::unknown(format!("{shown}, and {evidence}"), help),
                None => Fact::unknown(
                    evidence,
                    "see that a resolver is reached from here, or name one in `[outside] resolver`",
                ),
            }
        }
    }
}

fn to_look_at(apex: &Name) -> String {
    format!(
        "see that this machine's clock is right, that no nameserver of {apex} serves old signatures, and what `delv {} SOA` says",
        apex.to_host()
    )
}

/// A zone that a configured anchor is of.
fn of_island(apex: &Name, zone: &Trust) -> Fact {
    let evidence = match zone {
        Trust::Secure => {
            return Fact::held(format!("{apex} is an island: its own anchor is configured, and it validates"));
        }
        Trust::Insecure | Trust::Bogus => "it does not validate with it".to_owned(),
        Trust::Unknown(why) => format!("resolvers can't be asked: {why}"),
    };
    let help = "see that the DNSKEY in `[outside] anchors` is the zone's, and that the resolver is reached";
    Fact::unknown(format!("{apex} is an island, its own anchor is configured, and {evidence}"), help)
}

fn called(anchor: &Name) -> String {
    if anchor.is_root() { "the root".to_owned() } else { format!("the configured anchor of {anchor}") }
}

/// What is wrong, and what to do; none of what is good.
fn wrong(worth: &Worth, above: &str, line: &str) -> Option<(String, String)> {
    let instead = format!("give the registrar this in place of what is there: {line}");
    Some(match worth {
        Worth::Good(_) => return None,
        Worth::Nothing => (format!("DS missing: {above} has none"), format!("give the registrar: {line}")),
        Worth::WrongDigest(tag) => {
            (format!("wrong digest: {above} has a DS of key {tag} whose digest is not the key's"), instead)
        }
        Worth::NotSupported(tag) => {
            (format!("algorithm not supported: {above} has a DS of key {tag} that validators do not know"), instead)
        }
        Worth::OtherKeys(tags) => {
            let tags = tags.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            (format!("DS for an unknown key: {above} has the DS of key {tags}, which the zone does not have"), instead)
        }
    })
}

/// The DS records of the keys that a parent is given.
fn to_hand_in(apex: &Name, keys: &[Rdata]) -> String {
    let secure_entry = keys.iter().filter(|key| key.get(1).is_some_and(|flags| flags & 1 == 1));
    let lines = secure_entry.map(|key| format!("{apex} IN DS {}", print_rdata(Rtype::DS, &dnssec::ds(apex, key))));
    lines.collect::<Vec<_>>().join(" | ")
}

fn worth(apex: &Name, keys: &[Rdata], ds: &[Rdata]) -> Worth {
    ds.iter().map(|ds| worth_of_one(apex, keys, ds)).reduce(better).unwrap_or(Worth::Nothing)
}

fn better(one: Worth, other: Worth) -> Worth {
    match (one, other) {
        (Worth::OtherKeys(mut tags), Worth::OtherKeys(more)) => {
            tags.extend(more);
            tags.sort_unstable();
            tags.dedup();
            Worth::OtherKeys(tags)
        }
        (one, other) => one.min(other),
    }
}

fn worth_of_one(apex: &Name, keys: &[Rdata], ds: &[u8]) -> Worth {
    let Some((&[high, low, algorithm, digest_type], digest)) = ds.split_first_chunk::<4>() else {
        return Worth::OtherKeys(Vec::new());
    };
    let tag = u16::from_be_bytes([high, low]);
    let of_tag = || keys.iter().filter(|key| key_tag(key) == tag);
    if of_tag().next().is_none() {
        return Worth::OtherKeys(vec![tag]);
    }
    let of_both = || of_tag().filter(|key| key.get(3) == Some(&algorithm));
    if !VALIDATED.contains(&algorithm) || of_both().next().is_none() {
        return Worth::NotSupported(tag);
    }
    let digests: Option<Vec<Vec<u8>>> = of_both().map(|key| dnssec::digest(apex, key, digest_type)).collect();
    match digests {
        None => Worth::NotSupported(tag),
        Some(digests) if digests.iter().any(|of_key| of_key == digest) => Worth::Good(tag),
        Some(_) => Worth::WrongDigest(tag),
    }
}

/// Seconds until a zone with which all is well is looked at again, and any other one.
const AGAIN: u64 = 3600;
const SOON: u64 = 300;
/// Seconds until an answer that never came is asked for again: what waits in the queue is not lost.
const PATIENCE: u64 = 900;

/// The zones that are looked at from outside, what was seen, and when each is due again.
#[derive(Debug, Default)]
pub struct Watched {
    zones: BTreeMap<Name, Zone>,
}

#[derive(Debug)]
struct Zone {
    keys: Vec<Rdata>,
    fact: Option<(Fact, Timestamp)>,
    due: Timestamp,
}

impl Watched {
    /// These are looked at, and no others; each with its DNSKEY RDATA. One with other keys is due at once.
    pub fn want(&mut self, zones: BTreeMap<Name, Vec<Rdata>>) {
        self.zones.retain(|apex, _| zones.contains_key(apex));
        for (apex, keys) in zones {
            let zone = self.zones.entry(apex).or_insert_with(|| Zone { keys: Vec::new(), fact: None, due: 0 });
            if zone.keys != keys {
                (zone.keys, zone.due) = (keys, 0);
            }
        }
    }

    /// The zones to look at now, so many at most.
    pub fn due(&mut self, now: Timestamp, room: usize) -> Vec<Name> {
        let due = self.zones.iter_mut().filter(|(_, zone)| zone.due <= now).take(room);
        due.map(|(apex, zone)| {
            zone.due = now + PATIENCE;
            apex.clone()
        })
        .collect()
    }

    /// All are due now: the operator has changed something.
    pub fn hurry(&mut self) {
        self.zones.values_mut().for_each(|zone| zone.due = 0);
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.zones.values().map(|zone| zone.due).min()
    }

    /// A zone was looked at. Whether that says something else than before.
    pub fn seen(&mut self, apex: &Name, seen: &Seen, now: Timestamp) -> bool {
        let Some(zone) = self.zones.get_mut(apex) else { return false };
        let fact = judge(apex, &zone.keys, seen);
        let is_well = fact.verdict == Verdict::Held && fact.help.is_empty();
        zone.due = now + spread(apex, if is_well { AGAIN } else { SOON });
        let is_other = zone.fact.as_ref().is_none_or(|(before, _)| *before != fact);
        zone.fact = Some((fact, now));
        is_other
    }

    /// What is known of a zone, and since when.
    pub fn fact(&self, apex: &Name) -> Option<(&Fact, Timestamp)> {
        self.zones.get(apex)?.fact.as_ref().map(|(fact, at)| (fact, *at))
    }

    /// What is known of each.
    pub fn facts(&self) -> impl Iterator<Item = (&Name, &Fact)> {
        self.zones.iter().filter_map(|(apex, zone)| Some((apex, &zone.fact.as_ref()?.0)))
    }
}

/// Thousands of zones are not asked about in the same second: up to a quarter later, each always alike.
fn spread(apex: &Name, seconds: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    apex.hash(&mut hasher);
    seconds + hasher.finish() % (seconds / 4)
}
