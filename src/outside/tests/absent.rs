//! A TLSA that is out and that resolvers don't have yet raises no alarm, for as long as their caches may keep that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::name;
use crate::dane::{Service, Tlsa};
use crate::dns::{Name, Timestamp};
use crate::outside::host::{Seen as HostSeen, ServiceSeen};
use crate::outside::zone::{Asked, Expected, Nameserver, Shown};
use crate::outside::{Check, Failure, Fault, Level, Lookup, Seen, Trust, Wanted, absent, judge};

const NOW: Timestamp = 1_800_000_000;
const HOST: &str = "mail.example.org";
const OWNER: &str = "_25._tcp.mail.example.org";

/// A host that has this of TLSA, as resolvers see it.
fn host(trust: Trust, absent_until: &[(&str, Timestamp)]) -> (Wanted, Seen) {
    let service = Service::smtp(name(HOST));
    let wanted = Wanted::Host {
        host: name(HOST),
        domains: vec![name("example.org")],
        services: vec![service.clone()],
        absent_until: absent_until.iter().map(|(owner, until)| (name(owner), *until)).collect(),
    };
    let failure = Failure { fault: Fault::NoWayFromHere, why: "why".to_owned() };
    let address: IpAddr = [192, 0, 2, 1].into();
    let presented = BTreeMap::from([((SocketAddr::new(address, 25), None), Err(failure))]);
    let of_smtp = ServiceSeen { base: name(HOST), sources: BTreeSet::new(), tlsa: Lookup::nothing(trust), presented };
    let addresses = Lookup { found: vec![address], ..Lookup::nothing(Trust::Secure) };
    let services = BTreeMap::from([(service, of_smtp)]);
    (wanted, Seen::Host(HostSeen { addresses, services, incomplete: None, is_let_out: true }))
}

fn of_tlsa(trust: Trust, absent_until: &[(&str, Timestamp)]) -> Check {
    let (wanted, seen) = host(trust, absent_until);
    judge(&wanted, &seen, NOW).into_iter().find(|check| check.subject.starts_with("_25.")).unwrap()
}

#[test]
fn what_caches_may_still_hold_is_no_alarm_and_then_it_is_one() {
    let soft = of_tlsa(Trust::Secure, &[(OWNER, NOW + 300)]);
    assert_eq!((soft.level, soft.fault, soft.help.as_str()), (Level::Ok, None, ""), "{soft:?}");
    assert!(soft.evidence.contains("published") && soft.evidence.contains("at most 300 s"), "{soft:?}");
    for until in [&[][..], &[(OWNER, NOW)], &[("_465._tcp.mail.example.org", NOW + 300)]] {
        assert_eq!(of_tlsa(Trust::Secure, until).fault, Some(Fault::TlsaMissing), "{until:?}");
    }
    // It hides nothing else.
    assert_eq!(of_tlsa(Trust::Bogus, &[(OWNER, NOW + 300)]).fault, Some(Fault::TlsaBogus));
}

/// The zone as its nameservers have it: of each, whether it has TLSA; none: it does not say.
fn zone(apex: &str, shown: &[Option<bool>]) -> (Wanted, Seen) {
    let tlsa: Tlsa = format!("3 1 1 {}", "ab".repeat(32)).parse().unwrap();
    let failure = || Failure { fault: Fault::AnswersWrongly, why: "why".to_owned() };
    let asked = shown.iter().zip(1..).map(|(has, last)| {
        let said = has.map(|has| has.then(|| tlsa.clone()).into_iter().collect::<BTreeSet<Tlsa>>()).ok_or_else(failure);
        let shown = Shown { serial: 1, tlsa: BTreeMap::from([(name(OWNER), said)]), ..Shown::default() };
        (IpAddr::from([192, 0, 2, last]), Asked { udp: Ok(shown), tcp: Ok(1) })
    });
    let nameserver = Nameserver { addresses: Lookup::nothing(Trust::Secure), asked: asked.collect() };
    let mut seen = super::zone::whole();
    seen.nameservers = BTreeMap::from([(name("ns1.example.org"), nameserver)]);
    let wanted = Wanted::Zone { apex: name(apex), owners: vec![name(OWNER)], expected: Expected::default() };
    (wanted, Seen::Zone(Box::new(seen)))
}

#[test]
fn it_is_out_where_each_nameserver_that_answers_has_it() {
    let found = |trust: Trust, shown: &[Option<bool>]| -> Vec<(Name, Name)> {
        absent::at_nameservers(&[host(trust, &[]), zone("example.org", shown)])
    };
    assert_eq!(found(Trust::Secure, &[Some(true), Some(true)]), [(name(OWNER), name("example.org"))]);
    for shown in [&[][..], &[Some(false)], &[Some(true), Some(false)], &[Some(true), None]] {
        assert_eq!(found(Trust::Secure, shown), [], "{shown:?}");
    }
    assert_eq!(found(Trust::Unknown("SERVFAIL".to_owned()), &[Some(true)]), []);
}
