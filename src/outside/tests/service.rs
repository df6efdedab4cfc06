//! What is made of services that take no mail, and of a network that lets nothing out to port 25.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::slice::from_ref;

use super::host::{EXPIRED, HOST, NOW, lookup, path, record, seen};
use super::name;
use crate::dane::{Chain, Service, Tlsa};
use crate::dns::Timestamp;
use crate::outside::host::{Presented, Seen, ServiceSeen, judge};
use crate::outside::watched::Watched;
use crate::outside::{self, Check, Failure, Fault, Level, Lookup, Trust, Wanted};

fn service(port: u16) -> Service {
    Service { port, ..Service::smtp(name(HOST)) }
}

/// One service at one address.
fn one(port: u16, records: &[Tlsa], said: Result<Chain, Fault>) -> Seen {
    let said = said.map(|chain| Presented { chain, protocol: "TLS 1.3".to_owned() });
    let said = said.map_err(|fault| Failure { fault, why: "why".to_owned() });
    let address: IpAddr = [192, 0, 2, 1].into();
    let of = ServiceSeen {
        base: name(HOST),
        sources: BTreeSet::new(),
        tlsa: lookup(Trust::Secure, records.iter().map(Tlsa::rdata).collect()),
        presented: BTreeMap::from([((SocketAddr::new(address, port), None), said)]),
    };
    let services = BTreeMap::from([(service(port), of)]);
    Seen { addresses: lookup(Trust::Secure, vec![address]), services, incomplete: None, is_let_out: false }
}

fn faults(checks: &[Check]) -> Vec<Fault> {
    checks.iter().filter_map(|check| check.fault).collect()
}

/// What is said of a service at port 993 whose certificate, for mail.example.org, is below a trust anchor, when it is looked at so.
fn named(change: impl Fn(&mut ServiceSeen), host: &str, domains: &[&str]) -> Vec<Fault> {
    let path = path();
    let mut seen = one(993, &[record("2 1 1", &path, 2)], Ok(path));
    let mut of = seen.services.remove(&service(993)).unwrap();
    of.base = name(host);
    change(&mut of);
    seen.services.insert(Service { host: name(host), ..service(993) }, of);
    let domains: Vec<_> = domains.iter().map(|domain| name(domain)).collect();
    faults(&judge(&name(host), &domains, &seen, NOW))
}

#[test]
fn a_certificate_is_for_the_base_domain_the_host_or_who_names_it_in_srv_and_for_no_mail_domain() {
    assert_eq!(named(|_| (), HOST, &[]), []);
    assert_eq!(named(|_| (), "imap.example.net", &[HOST]), [Fault::CertificateName], "RFC 7672 is of port 25 alone");
    let source = |of: &mut ServiceSeen| of.sources = BTreeSet::from([name(HOST)]);
    assert_eq!(named(source, "imap.example.net", &[HOST]), [], "RFC 7673 section 4");
    let base = |of: &mut ServiceSeen| of.base = name(HOST);
    assert_eq!(named(base, "imap.example.net", &[]), [], "RFC 7671 section 7: the name that it is an alias of");
    let other = |of: &mut ServiceSeen| of.base = name("other.example.net");
    assert_eq!(named(other, HOST, &[]), [], "the name that was asked for");
    assert_eq!(named(other, "imap.example.net", &[]), [Fault::CertificateName]);
}

#[test]
fn the_tlsa_is_told_at_the_base_domain() {
    let (path, base) = (path(), name("other.example.net"));
    let mut seen = one(993, &[], Ok(path));
    seen.services.values_mut().for_each(|of| of.base.clone_from(&base));
    let checks = judge(&name(HOST), &[], &seen, NOW);
    let missing = checks.iter().find(|check| check.fault == Some(Fault::TlsaMissing)).unwrap();
    assert_eq!(missing.subject, "_993._tcp.other.example.net.");
    assert!(missing.help.starts_with("publish _993._tcp.other.example.net. IN TLSA 3 1 1 "), "{missing:?}");
}

#[test]
fn of_a_host_that_takes_no_mail_an_alias_is_no_fault_and_what_is_has_other_names() {
    let path = path();
    let whole = one(993, &[record("3 1 1", &path, 0)], Ok(path));
    let with = |domains: &[&str], change: &dyn Fn(&mut Lookup<IpAddr>)| {
        let mut seen = whole.clone();
        change(&mut seen.addresses);
        if !domains.is_empty() {
            seen.services.insert(service(25), whole.services[&service(993)].clone());
        }
        let domains: Vec<_> = domains.iter().map(|domain| name(domain)).collect();
        faults(&judge(&name(HOST), &domains, &seen, NOW))
    };
    let alias = |addresses: &mut Lookup<IpAddr>| addresses.alias = Some(name("other.test"));
    let nothing = |addresses: &mut Lookup<IpAddr>| addresses.found.clear();
    let insecure = |addresses: &mut Lookup<IpAddr>| addresses.trust = Trust::Insecure;
    let bogus = |addresses: &mut Lookup<IpAddr>| *addresses = Lookup::nothing(Trust::Bogus);
    let silent = |addresses: &mut Lookup<IpAddr>| *addresses = Lookup::nothing(Trust::Unknown("why".to_owned()));
    let of_mail = ["example.org"];
    assert_eq!((with(&[], &alias), with(&of_mail, &alias)), (vec![], vec![Fault::MxAlias]));
    assert_eq!(with(&[], &nothing), [Fault::HostWithoutAddress]);
    assert_eq!(with(&of_mail, &nothing), [Fault::MxWithoutAddress]);
    assert_eq!((with(&[], &insecure), with(&of_mail, &insecure)), (vec![], vec![Fault::HostInsecure]));
    assert_eq!((with(&[], &bogus), with(&of_mail, &bogus)), (vec![Fault::AddressUnknown], vec![Fault::HostUnknown]));
    assert_eq!((with(&[], &silent), with(&of_mail, &silent)), (vec![Fault::AddressUnknown], vec![Fault::HostUnknown]));
}

/// Everything that can be said of a service at a port.
fn all_words(port: u16) -> String {
    let path = path();
    let (good, other, short) =
        (record("3 1 1", &path, 0), record("3 1 1", &path, 1), Chain::presented(&[path.leaf().der()]).unwrap());
    let anchor = record("2 1 1", &path, 2);
    let presented =
        |records: &[Tlsa], chain: &Chain, now: Timestamp| judge_all(&one(port, records, Ok(chain.clone())), now);
    let mut checks = [
        presented(&[other], &path, NOW),
        presented(&[], &path, NOW),
        presented(from_ref(&anchor), &path, EXPIRED),
        presented(&[anchor], &short, NOW),
        presented(from_ref(&good), &path, EXPIRED),
    ]
    .concat();
    for trust in [Trust::Bogus, Trust::Insecure, Trust::Unknown("why".to_owned())] {
        let mut seen = one(port, from_ref(&good), Ok(path.clone()));
        seen.services.values_mut().for_each(|of| of.tlsa.trust = trust.clone());
        checks.extend(judge_all(&seen, NOW));
    }
    let mut unusable = one(port, &[], Ok(path));
    unusable.services.values_mut().for_each(|of| of.tlsa.found.push([9, 9, 9, 1].to_vec().into()));
    checks.extend(judge_all(&unusable, NOW));
    for fault in Fault::ALL.iter().filter(|fault| matches!(fault.area(), outside::Area::Service | outside::Area::Here))
    {
        checks.extend(judge_all(&one(port, &[], Err(*fault)), NOW));
    }
    let mut gone = one(port, &[], Err(Fault::Refused));
    gone.addresses.found.clear();
    checks.extend(judge_all(&gone, NOW));
    checks.iter().map(|check| format!("{} {}\n", check.evidence, check.help)).collect()
}

fn judge_all(seen: &Seen, now: Timestamp) -> Vec<Check> {
    judge(&name(HOST), &[], seen, now)
}

#[test]
fn who_takes_no_mail_is_told_nothing_of_senders() {
    for port in [143, 443, 587, 993] {
        let words = all_words(port).replace(HOST, "HOST");
        for of_mail in ["sender", "mail ", "mail;", "defer", "MX", "7672", "`mail-service", "port 25"] {
            assert!(!words.contains(of_mail), "{port}: {of_mail}: {words}");
        }
    }
    let words = all_words(25);
    for of_mail in ["senders", "mail is deferred", "defer mail", "RFC 7672"] {
        assert!(words.contains(of_mail), "{of_mail}: {words}");
    }
}

#[test]
fn a_mail_server_that_answers_nowhere_is_no_alarm_where_nothing_is_let_out_to_port_25() {
    let judged = |said: &[(u8, Option<_>, Result<Chain, Fault>)], is_let_out: bool| {
        let seen = Seen { is_let_out, ..seen(&[], said) };
        let checks = judge(&name(HOST), &[name("example.org")], &seen, NOW);
        checks.into_iter().filter(|check| check.fault != Some(Fault::TlsaMissing)).collect::<Vec<_>>()
    };
    let silent = |last| (last, None, Err(Fault::Unanswered));
    let checks = judged(&[silent(1), silent(2)], false);
    assert_eq!(faults(&checks), [Fault::OutgoingBlocked], "one for all");
    let check = &checks[0];
    assert_eq!((check.level, &check.subject[..]), (Level::Unknown, "mail.example.org."));
    assert!(check.evidence.contains("192.0.2.1:25, 192.0.2.2:25"), "{check:?}");
    assert!(check.help.contains("mail-service = \"declared\""), "{check:?}");
    let checks = judged(&[silent(1), silent(2)], true);
    assert_eq!(faults(&checks), [Fault::Unanswered; 2], "others are reached");
    assert!(checks.iter().all(|check| check.level == Level::Critical));
    // Only where it is so at every address to which there is a way.
    assert_eq!(faults(&judged(&[silent(1), (2, None, Ok(path()))], false)), [Fault::Unanswered]);
    for other in [Fault::Refused, Fault::Unreachable, Fault::TimedOut, Fault::StarttlsMissing] {
        assert_eq!(faults(&judged(&[silent(1), (2, None, Err(other))], false)), [Fault::Unanswered, other]);
    }
    let away = (2, None, Err(Fault::NoWayFromHere));
    assert_eq!(faults(&judged(&[silent(1), away.clone()], false)), [Fault::NoWayFromHere, Fault::OutgoingBlocked]);
    assert_eq!(faults(&judged(&[away], false)), [Fault::NoWayFromHere]);
    // It is port 25 that is blocked.
    assert_eq!(
        faults(&judge_all(&one(587, &[], Err(Fault::Unanswered)), NOW)),
        [Fault::TlsaMissing, Fault::Unanswered]
    );
}

#[test]
fn a_host_whose_services_a_domain_may_name_is_no_mx_by_that() {
    let path = path();
    let mut seen = one(993, &[record("2 1 1", &path, 2)], Ok(path));
    seen.addresses.alias = Some(name("imap.example.net"));
    assert_eq!(faults(&judge(&name(HOST), &[name("example.org")], &seen, NOW)), []);
}

#[test]
fn once_anything_was_reached_silence_is_an_alarm_until_the_next_start() {
    let wanted = |host: &str| Wanted::Host {
        host: name(host),
        domains: vec![name("example.org")],
        services: vec![Service::smtp(name(host))],
        absent_until: BTreeMap::new(),
    };
    let looked = |said: Result<Chain, Fault>, is_let_out: bool| {
        Ok(outside::Seen::Host(Seen { is_let_out, ..one(25, &[], said) }))
    };
    let (one, other) = (wanted(HOST), wanted("mx.example.net"));
    let mut watched = Watched::default();
    watched.want(vec![one.clone(), other.clone()], NOW);
    let has = |watched: &Watched, fault: Fault| {
        watched.found(&one.subject()).unwrap().checks.iter().any(|check| check.fault == Some(fault))
    };
    watched.seen(&one, looked(Err(Fault::Unanswered), false), NOW);
    assert!(has(&watched, Fault::OutgoingBlocked) && !has(&watched, Fault::Unanswered));
    watched.seen(&other, looked(Ok(path()), false), NOW);
    watched.seen(&one, looked(Err(Fault::Unanswered), false), NOW + 1);
    assert!(has(&watched, Fault::OutgoingBlocked), "this machine's own address proves nothing");
    watched.seen(&other, looked(Err(Fault::TurnedAway), true), NOW + 2);
    watched.seen(&one, looked(Err(Fault::Unanswered), false), NOW + 3);
    assert!(has(&watched, Fault::Unanswered) && !has(&watched, Fault::OutgoingBlocked));
}
