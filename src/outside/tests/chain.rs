//! What is made of a zone's place in the chain of trust (RFC 4035 section 5.2).

use std::collections::BTreeMap;

use super::name;
use crate::dane::prerequisites::{Fact, Verdict};
use crate::dns::dnssec::{self, dnskey, key_tag};
use crate::dns::{Name, Rdata};
use crate::outside::Trust;
use crate::outside::chain::{Seen, judge};

pub(super) const APEX: &str = "example.org";

pub(super) fn key(octet: u8) -> Rdata {
    dnskey(257, 13, &[octet; 64])
}

/// A DS of the first key, otherwise by `change`.
fn ds(change: impl FnOnce(&mut Vec<u8>)) -> Rdata {
    let mut ds = dnssec::ds(&name(APEX), &key(1)).to_vec();
    change(&mut ds);
    ds.into()
}

pub(super) fn good() -> Rdata {
    ds(|_| {})
}

/// Every server and every resolver sees these DS.
pub(super) fn seen(zone: Trust, ds: &[Rdata]) -> Seen {
    let servers = ["a.test 192.0.2.1", "b.test 192.0.2.2"];
    Seen {
        through: "192.0.2.9:53".to_owned(),
        anchor: Name::root(),
        zone,
        ds: (Trust::Secure, ds.to_vec()),
        parent: Some(name("org")),
        above: Trust::Secure,
        servers: servers.iter().map(|server| ((*server).to_owned(), Ok(ds.to_vec()))).collect(),
    }
}

fn judged(seen: &Seen) -> Fact {
    let fact = judge(&name(APEX), &[key(1)], seen).fact;
    assert!(fact.evidence.ends_with("(seen from here through 192.0.2.9:53)"), "{fact:?}");
    fact
}

#[track_caller]
fn is(seen: &Seen, verdict: Verdict, evidence: &str, help: &str) {
    let fact = judged(seen);
    assert_eq!(fact.verdict, verdict, "{fact:?}");
    assert!(fact.evidence.contains(evidence) && fact.help.contains(help), "{fact:?}");
    assert!(!help.is_empty() || fact.help.is_empty(), "{fact:?}");
}

fn unknown() -> Trust {
    Trust::Unknown("SERVFAIL".to_owned())
}

#[test]
fn a_chain_that_leads_to_a_key_holds() {
    let tag = key_tag(&key(1));
    is(&seen(Trust::Secure, &[good()]), Verdict::Held, &format!("the DS of key {tag} is in zone org., and"), "");
    let sha384 = ds(|ds| {
        ds.truncate(3);
        ds.push(4);
        ds.extend(dnssec::digest(&name(APEX), &key(1), 4).unwrap());
    });
    is(&seen(Trust::Secure, &[ds(|ds| ds[0] ^= 1), sha384]), Verdict::Held, &format!("the DS of key {tag}"), "");
    let mut lacking = seen(Trust::Secure, &[good()]);
    lacking.servers.insert("b.test 192.0.2.2".to_owned(), Ok(Vec::new()));
    is(&lacking, Verdict::Held, "; but DS missing: zone org. has none (asked b.test 192.0.2.2)", "give the registrar");
}

#[test]
fn each_fault_is_named_with_the_line_to_hand_in() {
    let line = "example.org. IN DS ";
    let none = Seen { ds: (Trust::Insecure, Vec::new()), ..seen(Trust::Insecure, &[]) };
    is(&none, Verdict::Missing, "DS missing: zone org. has none (asked a.test 192.0.2.1)", line);
    let unasked = Seen { servers: BTreeMap::new(), ..none.clone() };
    is(&unasked, Verdict::Missing, "DS missing: zone org. has none", line);
    let other = seen(unknown(), &[ds(|ds| (ds[0], ds[1]) = (0, 9)), ds(|ds| (ds[0], ds[1]) = (0, 8))]);
    is(&other, Verdict::Missing, "DS for an unknown key: zone org. has the DS of key 8, 9", line);
    is(&seen(Trust::Bogus, &[ds(|ds| ds[9] ^= 1)]), Verdict::Missing, "wrong digest", line);
    for digest_type in [3, 200] {
        is(&seen(Trust::Insecure, &[ds(|ds| ds[3] = digest_type)]), Verdict::Missing, "algorithm not supported", line);
    }
    is(&seen(Trust::Bogus, &[ds(|ds| ds[2] = 8)]), Verdict::Missing, "algorithm not supported", line);
    let sha1 = ds(|ds| {
        ds.truncate(3);
        ds.push(1);
        ds.extend(dnssec::digest(&name(APEX), &key(1), 1).unwrap());
    });
    is(&seen(Trust::Secure, &[sha1]), Verdict::Held, "the DS of key", "");
    let unsigned =
        Seen { above: Trust::Insecure, ds: (Trust::Insecure, Vec::new()), ..seen(Trust::Insecure, &[good()]) };
    is(&unsigned, Verdict::Missing, "parent unsigned: zone org. is not trusted itself", "ask whoever runs zone org.");
    is(&Seen { zone: Trust::Bogus, ..unsigned }, Verdict::Missing, "parent unsigned", "ask whoever runs zone org.");
    let late = Seen { ds: (Trust::Insecure, Vec::new()), ..seen(Trust::Insecure, &[good()]) };
    is(&late, Verdict::Missing, "resolvers do not go by it", "wait");
}

#[test]
fn what_can_t_be_told_is_unknown() {
    // Somebody on the way leaves the DS out, or puts another one in its place.
    for ds in [vec![], vec![ds(|ds| ds[9] ^= 1)]] {
        for zone in [Trust::Bogus, unknown()] {
            let seen = Seen { ds: (zone.clone(), Vec::new()), ..seen(zone, &ds) };
            assert_eq!(judged(&seen).verdict, Verdict::Unknown);
        }
    }
    // With a DS that is vouched for nothing else is believed.
    for zone in [Trust::Insecure, Trust::Bogus] {
        let seen = Seen { above: Trust::Insecure, ..seen(zone, &[good()]) };
        is(&seen, Verdict::Unknown, "does not validate by it", "this machine's clock");
    }
    let silent = Seen { above: Trust::Insecure, ..seen(unknown(), &[good()]) };
    is(&silent, Verdict::Unknown, "resolvers can't be asked: SERVFAIL", "[outside] resolver");
    let bogus = Seen { ds: (Trust::Bogus, Vec::new()), ..seen(Trust::Bogus, &[good()]) };
    is(&bogus, Verdict::Unknown, "resolvers take example.org. for bogus", "this machine's clock");
    let nobody = Seen { servers: BTreeMap::new(), ds: (unknown(), Vec::new()), ..seen(unknown(), &[]) };
    is(&nobody, Verdict::Unknown, "resolvers can't be asked: SERVFAIL", "[outside] resolver");
}

#[test]
fn an_island_is_one_by_its_own_anchor_and_says_so() {
    let island = |zone| Seen { anchor: name(APEX), ..seen(zone, &[]) };
    is(&island(Trust::Secure), Verdict::Held, "example.org. is an island: its own anchor is configured", "");
    for zone in [Trust::Insecure, Trust::Bogus, unknown()] {
        is(&island(zone), Verdict::Unknown, "example.org. is an island", "[outside] anchors");
    }
    let lab = Seen { anchor: name("org"), ..seen(Trust::Secure, &[good()]) };
    is(&lab, Verdict::Held, "leads from the configured anchor of org. to example.org.", "");
}
