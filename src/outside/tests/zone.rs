//! What is made of a delegation and of what each nameserver answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::chain::{self, APEX, good, key};
use super::name;
use crate::dane::Tlsa;
use crate::dns::{Name, Rtype, Timestamp};
use crate::outside::denial::Denial;
use crate::outside::zone::{Asked, Expected, Nameserver, Referral, Seen, Shown, judge};
use crate::outside::{Area, Check, Failure, Fault, Level, Lookup, Trust};

const NOW: Timestamp = 1_800_000_000;
const DAY: u32 = 86_400;
const OWNER: &str = "_25._tcp.mail.example.org";

fn lookup<T>(found: Vec<T>) -> Lookup<T> {
    Lookup { trust: Trust::Secure, found, alias: None, ttl: 3600 }
}

fn addresses(last: u8) -> BTreeSet<IpAddr> {
    BTreeSet::from([[192, 0, 2, last].into()])
}

fn tlsa(octet: u8) -> BTreeSet<Tlsa> {
    BTreeSet::from([Tlsa::from_rdata(&[&[3, 1, 1][..], &[octet; 32]].concat()).unwrap()])
}

fn names() -> BTreeSet<Name> {
    ["ns1.example.org", "ns2.example.org"].map(name).into()
}

fn shown() -> Shown {
    let now = NOW as u32;
    Shown {
        serial: 7,
        ns: names(),
        keys: vec![key(1)],
        signed: BTreeSet::from([(now - DAY, now + 10 * DAY), (now - 2 * DAY, now + 12 * DAY)]),
        unsigned: BTreeSet::new(),
        tlsa: BTreeMap::from([(name(OWNER), Ok(tlsa(1)))]),
        denial: Some(Ok(proven())),
    }
}

fn proven() -> Denial {
    let proofs = BTreeSet::from([(name(APEX), Rtype::NSEC), (name("a.example.org"), Rtype::NSEC)]);
    let signed = proofs.iter().cloned().chain([(name(APEX), Rtype::SOA)]).collect();
    Denial { is_answered: false, proofs, signed }
}

#[test]
fn what_is_not_there_is_proven_by_signed_records_unless_a_wildcard_answers() {
    let found = |denial: Denial, is_signed: bool| {
        let mut seen = whole();
        let shown = serves(&mut seen);
        shown.denial = Some(Ok(denial));
        if !is_signed {
            shown.signed.clear();
        }
        let mut checks = judged(&seen);
        checks.retain(|check| check.fault.is_some());
        checks.into_iter().map(|check| (check.fault.unwrap(), check.evidence)).collect::<Vec<_>>()
    };
    let fails = |denial: Denial, why: &str| {
        let found = found(denial, true);
        assert!(matches!(&found[..], [(Fault::DenialFails, evidence)] if evidence.contains(why)), "{found:?}");
    };
    assert_eq!(found(proven(), true), []);
    fails(Denial::default(), "neither NSEC nor NSEC3");
    fails(Denial { signed: BTreeSet::new(), ..proven() }, "its NSEC at example.org. has no signature");
    let mut one = proven();
    one.signed.remove(&(name("a.example.org"), Rtype::NSEC));
    fails(one, "its NSEC at a.example.org. has no signature");
    let hashed = BTreeSet::from([(name("0p9m.example.org"), Rtype::NSEC3)]);
    assert_eq!(found(Denial { is_answered: false, proofs: hashed.clone(), signed: hashed.clone() }, true), []);
    // The signature of another type, or of another name, is none of it.
    let of_another = BTreeSet::from([(name("0p9m.example.org"), Rtype::NSEC), (name(APEX), Rtype::NSEC3)]);
    fails(Denial { is_answered: false, proofs: hashed, signed: of_another }, "its NSEC3 at 0p9m.example.org.");
    assert_eq!(found(Denial { is_answered: true, ..Denial::default() }, true), [], "a wildcard");
    assert_eq!(found(Denial::default(), false), [], "who signs nothing: that is another fault");
}

/// A zone as it should be, with two nameservers below it.
pub(super) fn whole() -> Seen {
    let nameserver = |last| {
        let asked = Asked { udp: Ok(shown()), tcp: Ok(7) };
        let at = addresses(last);
        Nameserver {
            addresses: lookup(at.iter().copied().collect()),
            asked: at.into_iter().map(|ip| (ip, asked.clone())).collect(),
        }
    };
    let glue = BTreeMap::from([(name("ns1.example.org"), addresses(1)), (name("ns2.example.org"), addresses(2))]);
    Seen {
        chain: chain::seen(Trust::Secure, &[good()]),
        keys: lookup(vec![key(1)]),
        above: BTreeMap::from([("a.test 192.0.2.9".to_owned(), Ok(Referral { ns: names(), glue }))]),
        nameservers: BTreeMap::from([
            (name("ns1.example.org"), nameserver(1)),
            (name("ns2.example.org"), nameserver(2)),
        ]),
    }
}

fn expected() -> Expected {
    Expected { keys: vec![key(1)], serial: Some(7), tlsa: BTreeMap::from([(name(OWNER), tlsa(1))]) }
}

fn judged(seen: &Seen) -> Vec<Check> {
    judge(&name(APEX), &expected(), seen, NOW)
}

fn second(seen: &mut Seen) -> &mut Nameserver {
    seen.nameservers.get_mut(&name("ns2.example.org")).unwrap()
}

fn answered(seen: &mut Seen) -> &mut Asked {
    second(seen).asked.values_mut().next().unwrap()
}

fn serves(seen: &mut Seen) -> &mut Shown {
    answered(seen).udp.as_mut().unwrap()
}

fn referral(seen: &mut Seen) -> &mut Referral {
    seen.above.values_mut().next().unwrap().as_mut().unwrap()
}

fn failure<T>(fault: Fault) -> Result<T, Failure> {
    Err(Failure { fault, why: "why".to_owned() })
}

#[test]
fn a_zone_as_it_should_be_has_no_fault() {
    for expected in [expected(), Expected::default()] {
        let checks = judge(&name(APEX), &expected, &whole(), NOW);
        assert!(checks.iter().all(|check| check.level == Level::Ok), "{checks:?}");
        let areas: Vec<Area> = checks.iter().map(|check| check.area).collect();
        assert_eq!(areas, [Area::Chain, Area::Delegation, Area::Nameserver, Area::Nameserver]);
    }
}

/// A fault, what makes it, whose it is, and what has to be said of it.
type Row = (Fault, fn(&mut Seen), &'static str, &'static str);

#[test]
fn each_fault_is_found_alone_and_says_whose_it_is() {
    let rows: &[Row] = &[
        (
            Fault::ZoneUnsigned,
            |seen| {
                seen.keys.found.clear();
                seen.nameservers
                    .values_mut()
                    .flat_map(|of| of.asked.values_mut())
                    .for_each(|asked| asked.udp.as_mut().unwrap().keys.clear());
                seen.chain.ds.1.clear();
            },
            APEX,
            "no keys",
        ),
        (
            Fault::ParentUnreachable,
            |seen| *seen.above.values_mut().next().unwrap() = failure(Fault::NameserverSilent),
            APEX,
            "a.test 192.0.2.9: why",
        ),
        (Fault::NotDelegated, |seen| *referral(seen) = Referral::default(), APEX, "has no NS of it"),
        (
            Fault::NsDiffers,
            |seen| {
                referral(seen).ns.insert(name("ns3.test"));
            },
            APEX,
            "ns3.test",
        ),
        (
            Fault::GlueMissing,
            |seen| {
                referral(seen).glue.remove(&name("ns2.example.org"));
            },
            "ns2.example.org",
            "no address",
        ),
        (
            Fault::GlueDiffers,
            |seen| {
                referral(seen).glue.insert(name("ns2.example.org"), addresses(3));
            },
            "ns2.example.org",
            "has 192.0.2.3, and the zone 192.0.2.2",
        ),
        (
            Fault::NameserverAlias,
            |seen| second(seen).addresses.alias = Some(name("other.test")),
            "ns2.example.org",
            "alias of other.test.",
        ),
        (
            Fault::NameserverWithoutAddress,
            |seen| {
                second(seen).addresses.found.clear();
                second(seen).asked.clear();
            },
            "ns2.example.org",
            "has no address",
        ),
        (
            Fault::NameserverSilent,
            |seen| {
                *answered(seen) = Asked { udp: failure(Fault::NameserverSilent), tcp: failure(Fault::NameserverSilent) }
            },
            "ns2.example.org. 192.0.2.2",
            "why",
        ),
        (
            Fault::NoTcp,
            |seen| answered(seen).tcp = failure(Fault::NameserverSilent),
            "ns2.example.org. 192.0.2.2",
            "UDP alone",
        ),
        (
            Fault::NoUdp,
            |seen| answered(seen).udp = failure(Fault::NameserverSilent),
            "ns2.example.org. 192.0.2.2",
            "TCP alone",
        ),
        (
            Fault::Lame,
            |seen| *answered(seen) = Asked { udp: failure(Fault::Lame), tcp: failure(Fault::Lame) },
            "ns2.example.org. 192.0.2.2",
            "why",
        ),
        (
            Fault::SerialBehind,
            |seen| serves(seen).serial = 4,
            "ns2.example.org. 192.0.2.2",
            "serial 4, where 7 is out: 3 behind",
        ),
        (Fault::SerialAhead, |seen| serves(seen).serial = 8, "ns2.example.org. 192.0.2.2", "serial 8, where 7 is out"),
        (
            Fault::SignatureExpired,
            |seen| {
                serves(seen).signed.insert((NOW as u32 - 9 * DAY, NOW as u32 - 1));
            },
            "ns2.example.org. 192.0.2.2",
            "expired on 2027-01-15",
        ),
        (
            Fault::SignatureExpired,
            |seen| {
                serves(seen).signed.insert((NOW as u32 + 9, NOW as u32 + DAY * 30));
            },
            "ns2.example.org. 192.0.2.2",
            "valid from",
        ),
        (
            Fault::SignatureExpiring,
            |seen| {
                serves(seen).signed.insert((NOW as u32 - 9 * DAY, NOW as u32 + DAY));
            },
            "ns2.example.org. 192.0.2.2",
            "expire on",
        ),
        (
            Fault::SignatureMissing,
            |seen| {
                serves(seen).unsigned.insert("SOA".to_owned());
            },
            "ns2.example.org. 192.0.2.2",
            "no signature with SOA",
        ),
        (
            Fault::TlsaStale,
            |seen| {
                serves(seen).tlsa.insert(name(OWNER), Ok(tlsa(2)));
            },
            "ns2.example.org. 192.0.2.2",
            "0202",
        ),
        (
            Fault::TlsaStale,
            |seen| {
                serves(seen).tlsa.insert(name(OWNER), Ok(BTreeSet::new()));
            },
            "ns2.example.org. 192.0.2.2",
            "it has none",
        ),
        (
            Fault::DenialFails,
            |seen| {
                serves(seen).tlsa.insert(name(OWNER), failure(Fault::AnswersWrongly));
            },
            "ns2.example.org. 192.0.2.2",
            "TLSA",
        ),
        (
            Fault::DenialFails,
            |seen| serves(seen).denial = Some(failure(Fault::AnswersWrongly)),
            "ns2.example.org. 192.0.2.2",
            "does not deny",
        ),
    ];
    for (fault, make, subject, evidence) in rows {
        let mut seen = whole();
        make(&mut seen);
        let expected = if *fault == Fault::ZoneUnsigned { Expected::default() } else { expected() };
        let checks = judge(&name(APEX), &expected, &seen, NOW);
        let wrong: Vec<&Check> = checks.iter().filter(|check| check.level != Level::Ok).collect();
        let [check] = &wrong[..] else { panic!("{fault}: {wrong:?}") };
        assert_eq!(check.fault, Some(*fault), "{check:?}");
        assert!(check.subject.starts_with(subject) && check.evidence.contains(evidence), "{check:?}");
        assert!(!check.help.is_empty(), "{check:?}");
    }
}

#[test]
fn where_this_machine_has_no_way_nothing_is_said_of_what_is_there() {
    let mut seen = whole();
    *answered(&mut seen) = Asked { udp: failure(Fault::NoWayFromHere), tcp: failure(Fault::NoWayFromHere) };
    let checks = judged(&seen);
    assert!(checks.iter().all(|check| check.level == Level::Ok), "{checks:?}");
    assert!(checks.iter().any(|check| check.fault == Some(Fault::NoWayFromHere)), "{checks:?}");
}

#[test]
fn one_nameserver_is_one_too_few_and_the_root_has_nothing_above() {
    let mut seen = whole();
    seen.nameservers.remove(&name("ns2.example.org"));
    seen.above.clear();
    let shown = seen.nameservers.values_mut().next().unwrap().asked.values_mut().next().unwrap();
    shown.udp.as_mut().unwrap().ns = BTreeSet::from([name("ns1.example.org")]);
    let wrong: Vec<Option<Fault>> =
        judged(&seen).into_iter().filter(|check| check.level != Level::Ok).map(|check| check.fault).collect();
    assert_eq!(wrong, [Some(Fault::OneNameserver)]);
}

#[test]
fn of_zones_of_others_the_newest_version_is_the_one_to_have() {
    let mut seen = whole();
    serves(&mut seen).serial = 9;
    serves(&mut seen).tlsa.insert(name(OWNER), Ok(tlsa(2)));
    let checks = judge(&name(APEX), &Expected::default(), &seen, NOW);
    let wrong: Vec<(&str, Option<Fault>)> =
        checks.iter().filter(|check| check.fault.is_some()).map(|check| (&check.subject[..], check.fault)).collect();
    let first = "ns1.example.org. 192.0.2.1";
    assert_eq!(wrong, [(first, Some(Fault::SerialBehind))], "and its records are those of its version");
}
