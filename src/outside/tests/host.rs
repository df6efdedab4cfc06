//! What is made of a mail server's TLSA and of what it presents: RFC 7671 sections 4 to 9, RFC 7672 sections 2 and 3.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::name;
use crate::dane::certificate::KeyType;
use crate::dane::prerequisites::Verdict;
use crate::dane::{Chain, Service, Tlsa};
use crate::dns::Timestamp;
use crate::outside::host::{Presented, Seen, ServiceSeen, judge, service};
use crate::outside::{Check, Failure, Fault, Level, Lookup, Trust};

pub(super) const NOW: Timestamp = 1_800_000_000;
pub(super) const EXPIRED: Timestamp = 5_000_000_000;
pub(super) const HOST: &str = "mail.example.org";

macro_rules! pem {
    ($name:literal) => {
        include_str!(concat!("../../../tests/golden/certificates/", $name, ".pem"))
    };
}

/// A chain as it is presented.
fn chain(pems: &[&str]) -> Chain {
    let one = |pem: &&str| Chain::parse(pem.as_bytes()).unwrap_or_else(|_| alone(pem)).leaf().der().to_vec();
    let ders: Vec<Vec<u8>> = pems.iter().map(one).collect();
    Chain::presented(&ders).unwrap()
}

/// A certificate for mail.example.org, and those above it.
pub(super) fn path() -> Chain {
    chain(&[pem!("leaf"), pem!("intermediate"), pem!("root")])
}

/// A CA's certificate, which is no leaf.
fn alone(pem: &str) -> Chain {
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    Chain::presented(&[data_encoding::BASE64.decode(text.as_bytes()).unwrap()]).unwrap()
}

pub(super) fn lookup<T>(trust: Trust, found: Vec<T>) -> Lookup<T> {
    Lookup { trust, found, alias: None, ttl: 3600 }
}

fn at(last: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::from([192, 0, 2, last]), 25)
}

fn smtp() -> Service {
    Service::smtp(name(HOST))
}

/// The record of one certificate of a chain.
pub(super) fn record(parameters: &str, chain: &Chain, index: usize) -> Tlsa {
    let parameters: crate::dane::Parameters = parameters.parse().unwrap();
    let certificate = &chain.certificates()[index];
    let selected = match parameters.selector {
        crate::dane::tlsa::Selector::Cert => certificate.der(),
        crate::dane::tlsa::Selector::Spki => certificate.spki(),
    };
    Tlsa { parameters, data: parameters.matching.digest(selected) }
}

pub(super) fn seen(records: &[Tlsa], presented: &[(u8, Option<KeyType>, Result<Chain, Fault>)]) -> Seen {
    let presented = presented.iter().map(|(last, key_type, said)| {
        let said = said.clone().map(|chain| Presented { chain, protocol: "TLS 1.3".to_owned() });
        ((at(*last), *key_type), said.map_err(|fault| Failure { fault, why: "why".to_owned() }))
    });
    let tlsa = lookup(Trust::Secure, records.iter().map(Tlsa::rdata).collect());
    let of_smtp = ServiceSeen { base: name(HOST), sources: BTreeSet::new(), tlsa, presented: presented.collect() };
    let addresses = lookup(Trust::Secure, vec![at(1).ip(), at(2).ip()]);
    Seen { addresses, services: BTreeMap::from([(smtp(), of_smtp)]), incomplete: None, is_let_out: true }
}

fn faults(seen: &Seen, now: Timestamp) -> Vec<Fault> {
    judge(&name(HOST), &[name("example.org")], seen, now).iter().filter_map(|check| check.fault).collect()
}

#[test]
fn one_record_that_is_satisfied_is_enough_and_each_set_has_to_be() {
    let (now, next) = (chain(&[pem!("p256")]), chain(&[pem!("p256-next")]));
    let path = path();
    let one = |records: &[Tlsa], chain: &Chain| faults(&seen(records, &[(1, None, Ok(chain.clone()))]), NOW);
    assert_eq!(one(&[record("3 1 1", &now, 0)], &now), []);
    assert_eq!(one(&[record("3 1 1", &next, 0), record("3 0 2", &now, 0)], &now), [Fault::TlsaPartial]);
    assert_eq!(one(&[record("3 1 1", &next, 0), record("3 1 1", &now, 0)], &now), []);
    assert_eq!(one(&[record("3 1 1", &next, 0)], &now), [Fault::TlsaMismatch]);
    for (parameters, index) in [("2 1 1", 1), ("2 0 1", 2), ("2 0 0", 2), ("2 1 0", 1), ("2 1 2", 2)] {
        assert_eq!(one(&[record(parameters, &path, index)], &path), [], "{parameters}");
    }
    assert_eq!(one(&[record("3 1 1", &path, 0), record("2 1 1", &now, 0)], &path), [Fault::TlsaPartial]);
    assert_eq!(one(&[record("1 1 1", &now, 0)], &now), [Fault::TlsaUnusable]);
}

#[test]
fn a_trust_anchor_counts_with_its_path_names_and_times() {
    let path = path();
    let anchor = |parameters: &str| record(parameters, &path, 2);
    let short = chain(&[pem!("leaf"), pem!("intermediate")]);
    let one = |records: &[Tlsa], chain: &Chain, now| faults(&seen(records, &[(1, None, Ok(chain.clone()))]), now);
    assert_eq!(one(&[anchor("2 1 1")], &short, NOW), [Fault::ChainWithoutAnchor]);
    assert_eq!(one(&[anchor("2 0 0")], &short, NOW), [], "RFC 7671 section 5.2.2: the record holds it");
    assert_eq!(one(&[anchor("2 1 0")], &short, NOW), []);
    assert_eq!(one(&[record("2 1 1", &path, 0)], &path, NOW), [Fault::TlsaMismatch], "never the leaf itself");
    assert_eq!(one(&[anchor("2 1 1")], &path, EXPIRED), [Fault::CertificateTime]);
    assert_eq!(one(&[record("3 1 1", &path, 0)], &path, EXPIRED), [Fault::CertificateExpired], "only told");
    let of_others = seen(&[anchor("2 1 1")], &[(1, None, Ok(path.clone()))]);
    let judged = |host: &str, domain: &str| -> Vec<Fault> {
        let of = of_others.services.values().cloned();
        let services = of.map(|of| (Service::smtp(name(host)), ServiceSeen { base: name(host), ..of })).collect();
        let seen = Seen { services, ..of_others.clone() };
        judge(&name(host), &[name(domain)], &seen, NOW).iter().filter_map(|check| check.fault).collect()
    };
    assert_eq!(
        judged("mx.example.net", "mail.example.org"),
        [],
        "RFC 7672 section 3.2.2: the domain's name is as good"
    );
    assert_eq!(judged("mx.example.net", "example.org"), [Fault::CertificateName]);
}

#[test]
fn a_signature_that_the_issuer_did_not_make_breaks_the_chain() {
    let path = path();
    let mut forged: Vec<Vec<u8>> = path.certificates().iter().map(|certificate| certificate.der().to_vec()).collect();
    let last = forged[0].len() - 1;
    forged[0][last] ^= 1;
    let forged = Chain::presented(&forged).unwrap();
    let faults = faults(&seen(&[record("2 1 1", &path, 1)], &[(1, None, Ok(forged))]), NOW);
    assert_eq!(faults, [Fault::ChainBroken]);
}

#[test]
fn every_address_counts_and_each_key_type() {
    let (ecdsa, rsa) = (chain(&[pem!("p256")]), chain(&[pem!("rsa")]));
    let next = chain(&[pem!("p256-next")]);
    let record = |chain: &Chain| record("3 1 1", chain, 0);
    let both = |second: Result<Chain, Fault>| [(1, None, Ok(ecdsa.clone())), (2, None, second)];
    assert_eq!(faults(&seen(&[record(&ecdsa)], &both(Ok(ecdsa.clone()))), NOW), []);
    let differ = seen(&[record(&ecdsa)], &both(Ok(next.clone())));
    assert_eq!(faults(&differ, NOW), [Fault::TlsaMismatch, Fault::AddressesDiffer]);
    let two = [(1, None, Ok(ecdsa.clone())), (1, Some(KeyType::Rsa), Ok(rsa.clone()))];
    assert_eq!(faults(&seen(&[record(&ecdsa), record(&rsa)], &two), NOW), []);
    let checks = judge(&name(HOST), &[], &seen(&[record(&ecdsa)], &two), NOW);
    let wrong: Vec<&Check> = checks.iter().filter(|check| check.fault.is_some()).collect();
    assert!(
        matches!(wrong[..], [check] if check.fault == Some(Fault::TlsaMismatch) && check.subject.ends_with("192.0.2.1:25 (RSA)")),
        "{wrong:?}"
    );
    for fault in [Fault::Refused, Fault::StarttlsMissing, Fault::TlsRefused, Fault::TimedOut] {
        assert_eq!(faults(&seen(&[record(&ecdsa)], &both(Err(fault))), NOW), [fault]);
    }
}

#[test]
fn how_the_rrset_and_the_addresses_are_trusted_counts() {
    let now = chain(&[pem!("p256")]);
    let whole = seen(&[record("3 1 1", &now, 0)], &[(1, None, Ok(now.clone()))]);
    let with = |change: &dyn Fn(&mut ServiceSeen, &mut Lookup<IpAddr>)| {
        let mut seen = whole.clone();
        change(seen.services.values_mut().next().unwrap(), &mut seen.addresses);
        faults(&seen, NOW)
    };
    assert_eq!(with(&|_, _| ()), []);
    assert_eq!(with(&|of, _| of.tlsa.trust = Trust::Insecure), [Fault::TlsaInsecure]);
    assert_eq!(with(&|of, _| of.tlsa = Lookup::nothing(Trust::Bogus)), [Fault::TlsaBogus]);
    assert_eq!(with(&|of, _| of.tlsa = Lookup::nothing(Trust::Secure)), [Fault::TlsaMissing]);
    assert_eq!(with(&|of, _| of.tlsa = Lookup::nothing(Trust::Unknown("SERVFAIL".to_owned()))), [Fault::TlsaUnknown]);
    assert_eq!(with(&|of, _| of.tlsa.ttl = 86_400), [Fault::TlsaTtl]);
    let many = |of: &mut ServiceSeen, _: &mut Lookup<IpAddr>| {
        let more = (0..12).map(|octet| [&[3, 1, 1][..], &[octet; 32]].concat().into());
        of.tlsa.found.extend(more);
    };
    assert_eq!(with(&many), [Fault::TlsaTooMany]);
    assert_eq!(with(&|_, addresses| addresses.trust = Trust::Insecure), [Fault::HostInsecure]);
    assert_eq!(with(&|_, addresses| addresses.alias = Some(name("other.test"))), [Fault::MxAlias]);
    assert_eq!(with(&|_, addresses| addresses.found.clear()), [Fault::MxWithoutAddress]);
    assert_eq!(with(&|_, addresses| *addresses = Lookup::nothing(Trust::Bogus)), [Fault::HostUnknown]);
}

#[test]
fn only_what_is_seen_at_an_address_of_this_machine_is_a_proven_loss() {
    let now = chain(&[pem!("p256")]);
    let fact = |second: Result<Chain, Fault>, ours: bool| {
        let seen = seen(&[], &[(1, None, Ok(now.clone())), (2, None, second)]);
        service(&smtp(), &seen, |ip| ours && ip == at(2).ip()).verdict
    };
    assert_eq!(fact(Ok(now.clone()), true), Verdict::Held);
    assert_eq!(fact(Err(Fault::StarttlsMissing), true), Verdict::Missing);
    assert_eq!(fact(Err(Fault::StarttlsMissing), false), Verdict::Unknown);
    for passing in [Fault::Refused, Fault::Unreachable, Fault::TimedOut, Fault::TurnedAway, Fault::TlsFails] {
        assert_eq!(fact(Err(passing), true), Verdict::Unknown, "{passing}: TLSA harms nobody while no mail comes");
    }
    assert_eq!(service(&smtp(), &seen(&[], &[]), |_| true).verdict, Verdict::Unknown);
    // Whoever stands before the resolver can name any address.
    let mut lied = seen(&[], &[(1, None, Ok(now.clone())), (2, None, Err(Fault::StarttlsMissing))]);
    lied.addresses.trust = Trust::Insecure;
    assert_eq!(service(&smtp(), &lied, |_| true).verdict, Verdict::Unknown);
    let mut half = seen(&[], &[(1, None, Ok(now.clone()))]);
    half.incomplete = Some("AAAA: no answer in time".to_owned());
    assert_eq!(service(&smtp(), &half, |_| true).verdict, Verdict::Unknown, "RFC 7672 asks for every address");
}

#[test]
fn what_is_presented_is_told_with_the_record_to_publish() {
    let now = chain(&[pem!("p256")]);
    let checks = judge(&name(HOST), &[], &seen(&[], &[(1, None, Ok(now.clone()))]), NOW);
    let missing = checks.iter().find(|check| check.fault == Some(Fault::TlsaMissing)).unwrap();
    assert_eq!(missing.level, Level::Warning);
    assert!(missing.help.contains(&format!("_25._tcp.{HOST}. IN TLSA {}", record("3 1 1", &now, 0))), "{missing:?}");
}
