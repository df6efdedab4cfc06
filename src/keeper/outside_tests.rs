//! What is seen from outside, and what becomes of it: the gates open, nothing that can't be told closes them, and what a mail server
//! presents has its record.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::tests::{CONFIG, DAY, NOW, Place, ZONE, has_problem, name, tlsa};
use super::*;
use crate::dane::Chain;
use crate::dane::certificate::KeyType;
use crate::dane::explain::Status;
use crate::dane::prerequisites::Verdict;
use crate::dane::tlsa::Service;
use crate::observe::outside::{News, Order};
use crate::outside::domain::Seen as DomainSeen;
use crate::outside::host::{Presented, Seen as HostSeen, ServiceSeen};
use crate::outside::neighbours;
use crate::outside::{Area, Failure, Fault, Lookup, Seen, Subject, Trust, Wanted};

pub(super) const HOST: &str = "mail.example.test";

fn probed() -> String {
    CONFIG.replace("\"declared\"", "\"probed\"")
        + "hold = \"1h\"\n[[certificates]]\npath = \"certs\"\nmode = \"observed\"\n"
}

pub(super) fn chain(place: &Place, file: &str) -> Chain {
    Chain::parse(&fs::read(place.path("certs").join(file)).unwrap()).unwrap()
}

/// What is presented at two addresses.
fn sees(presented: [Result<Chain, Fault>; 2]) -> Result<Seen, Failure> {
    let ips: [IpAddr; 2] = [[192, 0, 2, 25].into(), [127, 0, 0, 1].into()];
    sees_at(ips.into_iter().zip(presented).map(|(ip, said)| (ip, 25, None, said)))
}

/// What is presented at addresses, at ports, of key types.
pub(super) fn sees_at(
    said: impl IntoIterator<Item = (IpAddr, u16, Option<KeyType>, Result<Chain, Fault>)>,
) -> Result<Seen, Failure> {
    let (mut ips, mut services) = (BTreeSet::new(), BTreeMap::new());
    for (ip, port, key_type, said) in said {
        ips.insert(ip);
        let (tlsa, base, sources) = (Lookup::nothing(Trust::Secure), name(HOST), BTreeSet::new());
        let seen = ServiceSeen { base, sources, tlsa, presented: BTreeMap::new() };
        let service = Service { port, ..Service::smtp(name(HOST)) };
        let said = said.map(|chain| Presented { chain, protocol: "TLS 1.3".to_owned() });
        let said = said.map_err(|fault| Failure { fault, why: "why".to_owned() });
        services.entry(service).or_insert(seen).presented.insert((SocketAddr::new(ip, port), key_type), said);
    }
    let addresses = Lookup { trust: Trust::Secure, found: ips.into_iter().collect(), alias: None, ttl: 60 };
    Ok(Seen::Host(HostSeen { addresses, services, incomplete: None, is_let_out: true }))
}

pub(super) fn hear(keeper: &mut Keeper, seen: Result<Seen, Failure>, now: Timestamp) {
    let services = vec![Service::smtp(name(HOST))];
    hear_of(
        keeper,
        Wanted::Host { host: name(HOST), domains: vec![name("example.test")], services, absent_until: BTreeMap::new() },
        seen,
        now,
    );
}

fn hear_of(keeper: &mut Keeper, wanted: Wanted, seen: Result<Seen, Failure>, now: Timestamp) {
    let order = Order { wanted: Arc::new(wanted), outside: Arc::new(keeper.config.outside.clone()) };
    keeper.hear_outside(vec![News { order, seen }], now);
    // Decided, and then known to be served.
    keeper.cycle(&Finished::All, now);
    keeper.cycle(&Finished::All, now);
}

fn mail_service(keeper: &Keeper) -> Verdict {
    let explanation = &keeper.explain(&name(HOST), NOW)[0];
    let findings = &explanation.assessments[0].findings;
    findings.iter().find(|finding| finding.prerequisite.to_string() == "mail service").unwrap().verdict
}

#[test]
fn the_strong_grade_opens_when_every_address_presents_and_only_a_proven_loss_that_lasts_closes_it() {
    let place = Place::new();
    place.zone("example.test", &ZONE.replace("mail A 192.0.2.25\n", "mail A 192.0.2.25\nmail A 127.0.0.1\n"));
    let mut keeper = place.keeper(&probed(), NOW);
    let good = chain(&place, "mail.pem");
    assert_eq!((tlsa(&keeper), mail_service(&keeper)), (0, Verdict::Unknown));
    let mut now = NOW;
    let mut at = |keeper: &mut Keeper, presented: [Result<Chain, Fault>; 2], later: u64| {
        now += later;
        hear(keeper, sees(presented), now);
        (tlsa(keeper), mail_service(keeper))
    };
    let one = Ok(good.clone());
    assert_eq!(at(&mut keeper, [one.clone(), Err(Fault::StarttlsMissing)], 1).0, 0);
    assert_eq!(at(&mut keeper, [one.clone(), one.clone()], 1), (1, Verdict::Held));
    for passing in [Fault::Refused, Fault::TimedOut, Fault::TurnedAway, Fault::Unreachable] {
        assert_eq!(at(&mut keeper, [one.clone(), Err(passing)], DAY), (1, Verdict::Unknown), "{passing}");
    }
    // 192.0.2.25 is no address of this machine: somebody may be in between.
    assert_eq!(at(&mut keeper, [Err(Fault::StarttlsMissing), one.clone()], 9 * DAY), (1, Verdict::Unknown));
    // 127.0.0.1 is: but one in three is no loss that lasts.
    for look in 0..672 {
        let said = if look % 3 == 0 { Err(Fault::StarttlsMissing) } else { one.clone() };
        assert_eq!(at(&mut keeper, [one.clone(), said], 900).0, 1, "look {look} of a week");
    }
    for _ in 0..12 {
        assert_eq!(at(&mut keeper, [one.clone(), Err(Fault::StarttlsMissing)], 300), (1, Verdict::Missing));
    }
    assert_eq!(at(&mut keeper, [one.clone(), Err(Fault::StarttlsMissing)], 300).0, 0, "for an hour");
    assert!(matches!(keeper.explain(&name(HOST), NOW)[0].status, Status::Withheld(_)));
    assert_eq!(at(&mut keeper, [one.clone(), one], 300).0, 1);
}

#[test]
fn a_known_certificate_that_is_presented_has_its_record_at_once_and_as_long_as_that_lasts() {
    let place = Place::new();
    let config = format!("{CONFIG}[[certificates]]\npath = \"certs\"\nmode = \"observed\"\n")
        .replace("\"declared\"", "\"probed\"");
    let old = chain(&place, "mail.pem");
    let mut keeper = place.keeper(&config, NOW);
    hear(&mut keeper, sees([Ok(old.clone()), Ok(old.clone())]), NOW + 1);
    assert_eq!(tlsa(&keeper), 1);
    // Renewed in its place, and the mail server never reads it: long after every hold the old record has to be there.
    place.certificate("mail.pem");
    let new = chain(&place, "mail.pem");
    keeper.cycle(&Finished::All, NOW + 60);
    // A look every ten minutes, for longer than a record stays.
    const LOOKS: u64 = 2 * DAY / 600;
    let mut now = NOW + 60;
    let mut look = |keeper: &mut Keeper, presented: [Result<Chain, Fault>; 2]| {
        now += 600;
        hear(keeper, sees(presented), now);
        now
    };
    for number in 0..LOOKS {
        look(&mut keeper, [Ok(old.clone()), Ok(old.clone())]);
        assert_eq!(tlsa(&keeper), 2, "look {number}");
    }
    for number in 0..LOOKS {
        look(&mut keeper, [Ok(new.clone()), Err(Fault::Refused)]);
        assert_eq!(tlsa(&keeper), 2, "look {number}: what can't be asked presents what it did");
    }
    let mut now = 0;
    for _ in 0..LOOKS {
        now = look(&mut keeper, [Ok(new.clone()), Ok(new.clone())]);
    }
    assert_eq!(tlsa(&keeper), 1, "and goes when its time is over: {}", keeper.explain(&name(HOST), now)[0]);
    // A certificate that nobody here knows gets none, and is told of when it was seen twice.
    let other = rcgen::generate_simple_self_signed(["mail.example.test".to_owned()]).unwrap();
    let other = Chain::presented(&[other.cert.der()]).unwrap();
    for later in [0, 60] {
        hear(&mut keeper, sees([Ok(new.clone()), Ok(other.clone())]), now + later);
    }
    assert_eq!(tlsa(&keeper), 1);
    // The one before is no proof that it is not presented any more.
    assert!(keeper.outside.is_wrong(&Subject::Host(name(HOST)), Area::Tlsa).is_some());
}

#[test]
fn an_older_certificate_beside_the_newer_one_gets_its_record_when_it_is_presented() {
    let place = Place::new();
    let config = format!("{CONFIG}[[certificates]]\npath = \"certs\"\nmode = \"observed\"\n")
        .replace("\"declared\"", "\"probed\"");
    let key = rcgen::KeyPair::generate().unwrap();
    let with = |year: i32, file: &str| {
        let mut params = rcgen::CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(year, 1, 1);
        let key = if year == 2026 { &key } else { &rcgen::KeyPair::generate().unwrap() };
        fs::write(place.path("certs").join(file), params.self_signed(key).unwrap().pem()).unwrap();
        chain(&place, file)
    };
    fs::remove_file(place.path("certs/mail.pem")).unwrap();
    let (older, newer) = (with(2024, "older.pem"), with(2026, "newer.pem"));
    let mut keeper = place.keeper(&config, NOW);
    assert_eq!(tlsa(&keeper), 0);
    hear(&mut keeper, sees([Ok(newer.clone()), Ok(newer.clone())]), NOW + 1);
    assert_eq!(tlsa(&keeper), 1);
    hear(&mut keeper, sees([Ok(newer), Ok(older)]), NOW + 301);
    assert_eq!(tlsa(&keeper), 2, "the union, in the next step");
    assert!(!has_problem(&keeper, "older.pem"), "{:?}", keeper.problems);
}

/// What resolvers tell of customer.example, whose zone is not here.
fn customer(mx: &str, trust: Trust) -> Result<Seen, Failure> {
    let nothing = || Lookup::nothing(Trust::Secure);
    let text =
        |text: &str| Lookup { trust: Trust::Secure, found: vec![text.as_bytes().to_vec()], alias: None, ttl: 60 };
    let key = text("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    let neighbours = neighbours::Seen {
        spf: nothing(),
        dmarc: nothing(),
        dmarc_above: Vec::new(),
        sts: nothing(),
        policy: None,
        tls_rpt: nothing(),
        caa: BTreeMap::new(),
        ptr: BTreeMap::new(),
    };
    Ok(Seen::Domain(Box::new(DomainSeen {
        mx: Lookup { trust, found: vec![(10, name(mx))], alias: None, ttl: 60 },
        dkim: Some(BTreeMap::from([(name("s1._domainkey.customer.example"), key)])),
        neighbours,
    })))
}

#[test]
fn a_mail_domain_whose_zone_is_elsewhere_opens_the_gate_of_its_host_and_only_a_proven_loss_closes_it() {
    let place = Place::new();
    place.zone("example.test", &ZONE.replace(" MX 10 mail\n", ""));
    let config = format!(
        "{CONFIG}hold = \"1h\"\n[domain.\"customer.example\"]\nhosts = [\"{HOST}\"]\ndkim-selectors = [\"s1\"]\n\
         [[certificates]]\npath = \"certs\"\nmode = \"observed\"\n"
    );
    let mut keeper = place.keeper(&config, NOW);
    let selectors = Some(vec![name("s1._domainkey.customer.example")]);
    let wanted = Wanted::Domain { domain: name("customer.example"), selectors };
    let mut orders = keeper.outside_orders();
    keeper.send_outside(NOW);
    let asked: Vec<Wanted> =
        std::iter::from_fn(|| orders.try_recv().ok()).map(|order| (*order.wanted).clone()).collect();
    assert_eq!(asked, std::slice::from_ref(&wanted), "the weak grades of the host's zone need nothing else");
    assert_eq!(tlsa(&keeper), 0, "nobody has looked yet");

    let mut now = NOW;
    let mut at = |keeper: &mut Keeper, seen: Result<Seen, Failure>, later: u64| {
        now += later;
        hear_of(keeper, wanted.clone(), seen, now);
        tlsa(keeper)
    };
    assert_eq!(at(&mut keeper, customer(HOST, Trust::Insecure), 1), 0, "nobody goes on to the TLSA");
    assert_eq!(at(&mut keeper, customer(HOST, Trust::Secure), 1), 1);
    // Nothing of this is proven.
    let failure = || Err(Failure { fault: Fault::ResolverDown, why: "why".to_owned() });
    for _ in 0..9 {
        assert_eq!(at(&mut keeper, customer("mx.provider.example", Trust::Insecure), 900), 1);
        assert_eq!(at(&mut keeper, customer(HOST, Trust::Bogus), 900), 1);
        assert_eq!(at(&mut keeper, failure(), 900), 1);
    }
    drop(keeper);
    let mut keeper = place.keeper(&config, NOW + 9 * DAY);
    for number in 0..99 {
        assert_eq!(at(&mut keeper, failure(), DAY), 1, "look {number} after a restart");
    }
    // Whoever stands before the resolver can say that its mail goes to somebody else.
    for number in 0..9 {
        assert_eq!(at(&mut keeper, customer("mx.provider.example", Trust::Secure), 600), 1, "look {number}");
    }
    // Its zone comes here, and can't be read.
    place.zone("customer.example", "@ SOA broken");
    for number in 0..9 {
        assert_eq!(at(&mut keeper, failure(), 600), 1, "look {number}");
    }
    fs::remove_file(place.path("zones/customer.example.zone")).unwrap();
    at(&mut keeper, failure(), 600);
    at(&mut keeper, failure(), 600);
    // What the operator takes away goes, after its hold.
    let without = config.split("[domain.").next().unwrap().to_owned()
        + "[[certificates]]\npath = \"certs\"\nmode = \"observed\"\n";
    keeper.configure(Config::parse(&without, "danelaw.toml", &place.path("")).unwrap());
    let left: Vec<usize> = (0..9).map(|_| at(&mut keeper, failure(), 600)).collect();
    assert_eq!((left[0], left[8]), (1, 0), "{left:?}");
}

#[test]
fn a_first_publication_is_no_alarm_as_long_as_caches_may_hold_that_there_was_none() {
    let place = Place::new();
    let mut keeper = place.keeper(&probed(), NOW);
    let mut orders = keeper.outside_orders();
    let good = Ok(chain(&place, "mail.pem"));
    let mut at = |keeper: &mut Keeper, now: Timestamp| {
        hear(keeper, sees([good.clone(), good.clone()]), now);
        keeper.send_outside(now);
        let mut until = None;
        while let Ok(Order { wanted, .. }) = orders.try_recv() {
            if let Wanted::Host { absent_until, .. } = &*wanted {
                until = Some(absent_until.values().copied().collect::<Vec<Timestamp>>());
            }
        }
        let told = keeper.outside.about(&name(HOST), None, &[]);
        (tlsa(keeper), until, told.iter().any(|check| check.fault == Some(Fault::TlsaMissing)))
    };
    assert_eq!(at(&mut keeper, NOW + 1).0, 1);
    // Its zone's negative TTL is 300 s.
    let until = NOW + 1 + 300;
    assert_eq!(at(&mut keeper, NOW + 10), (1, Some(vec![until]), true), "it was not known yet that it is out");
    assert!(!at(&mut keeper, NOW + 20).2);
    assert!(!at(&mut keeper, until - 1).2);
    // What was kept is over: it is looked at anew.
    assert_eq!(keeper.send_outside(until - 1), Some(until));
    assert!(at(&mut keeper, until).2);
}

/// A keeper that is ended and started anew while the mail server presents an older certificate than there is.
fn restarted(is_renewed_before: bool) {
    let place = Place::new();
    let config = format!("{CONFIG}[[certificates]]\npath = \"certs\"\nmode = \"observed\"\n")
        .replace("\"declared\"", "\"probed\"");
    let down = || Err(Failure { fault: Fault::ResolverDown, why: "no answer".to_owned() });
    let old = chain(&place, "mail.pem");
    let mut keeper = place.keeper(&config, NOW);
    hear(&mut keeper, sees([Ok(old.clone()), Ok(old)]), NOW + 1);
    if is_renewed_before {
        place.certificate("mail.pem");
        keeper.cycle(&Finished::All, NOW + 60);
        assert_eq!(tlsa(&keeper), 2);
    }
    let mut now = NOW + 9 * DAY;
    keeper.close(now).unwrap();
    if !is_renewed_before {
        place.certificate("mail.pem");
    }
    let new = chain(&place, "mail.pem");
    let mut keeper = place.keeper(&config, now);
    assert_eq!(tlsa(&keeper), 2, "before the first look");
    let mut look = |keeper: &mut Keeper, seen: Result<Seen, Failure>| {
        now += 600;
        hear(keeper, seen, now);
        tlsa(keeper)
    };
    // For longer than a record stays.
    const LOOKS: u64 = 2 * DAY / 600;
    for number in 0..LOOKS {
        assert_eq!(look(&mut keeper, down()), 2, "look {number}: nothing can be seen");
    }
    for number in 0..LOOKS {
        let seen = sees([Ok(new.clone()), Err(Fault::Refused)]);
        assert_eq!(look(&mut keeper, seen), 2, "look {number}: one address can't be asked");
    }
    let went = (0..LOOKS).position(|_| look(&mut keeper, sees([Ok(new.clone()), Ok(new.clone())])) == 1);
    let stayed = went.expect("it goes when its time is over") as u64 * 600;
    assert!((DAY..DAY + 3600).contains(&stayed), "{stayed} s");
    // What is over does not come back.
    keeper.close(NOW + 20 * DAY).unwrap();
    let mut keeper = place.keeper(&config, NOW + 20 * DAY);
    assert_eq!(tlsa(&keeper), 1, "{}", keeper.explain(&name(HOST), NOW + 7 * DAY)[0]);
    assert_eq!(look(&mut keeper, down()), 1);
}

#[test]
fn what_a_mail_server_presents_keeps_its_record_over_a_restart_until_it_is_seen_to_present_something_else() {
    restarted(true);
}

#[test]
fn so_does_what_was_renewed_while_nobody_looked() {
    restarted(false);
}

#[test]
fn what_a_mail_server_presents_outlasts_that_its_zone_is_away() {
    let place = Place::new();
    let config = format!("{CONFIG}[[certificates]]\npath = \"certs\"\nmode = \"observed\"\n")
        .replace("\"declared\"", "\"probed\"");
    let old = chain(&place, "mail.pem");
    let mut keeper = place.keeper(&config, NOW);
    hear(&mut keeper, sees([Ok(old.clone()), Ok(old)]), NOW + 1);
    place.certificate("mail.pem");
    keeper.cycle(&Finished::All, NOW + 60);
    keeper.close(NOW + 60).unwrap();
    let file = place.path("zones/example.test.zone");
    place.zone("other.test", ZONE);
    fs::remove_file(&file).unwrap();
    let mut keeper = place.keeper(&config, NOW + 100);
    keeper.cycle(&Finished::All, NOW + 200);
    assert!(!keeper.zones.contains_key(&name("example.test")));
    place.zone("example.test", ZONE);
    for number in 0..2 * DAY / 600 {
        keeper.cycle(&Finished::All, NOW + 300 + number * 600);
        assert_eq!(tlsa(&keeper), 2, "look {number}");
    }
    // Where nobody wants to know it, nobody is asked, and what was seen once says nothing any more.
    let declared = config.replace("\"probed\"", "\"declared\"");
    keeper.configure(Config::parse(&declared, "danelaw.toml", &place.path("")).unwrap());
    for number in 0..2 * DAY / 600 {
        keeper.cycle(&Finished::All, NOW + 5 * DAY + number * 600);
    }
    assert_eq!(tlsa(&keeper), 1, "{}", keeper.explain(&name(HOST), NOW + 7 * DAY)[0]);
}

#[test]
fn what_is_published_is_looked_for_at_once_and_what_comes_soon_after_when_that_is_due() {
    let place = Place::new();
    let mut keeper = place.keeper(&CONFIG.replace("\"declared\"", "\"probed\""), NOW);
    let mut orders = keeper.outside_orders();
    let mut serial_asked = |keeper: &mut Keeper, now: Timestamp| {
        let next = keeper.send_outside(now);
        let mut serial = None;
        while let Ok(order) = orders.try_recv() {
            if let Wanted::Zone { expected, .. } = &*order.wanted {
                serial = expected.serial;
            }
            let seen = Err(Failure { fault: Fault::ResolverDown, why: "no answer".to_owned() });
            keeper.hear_outside(vec![News { order, seen }], now);
        }
        (serial, next)
    };
    let published = |keeper: &Keeper| keeper.zones[&name("example.test")].published().map(|zone| zone.serial);
    keeper.cycle(&Finished::All, NOW + 10);
    let first = published(&keeper);
    assert_eq!(serial_asked(&mut keeper, NOW + 10).0, first);
    // Two seconds later the zone is another, with other keys to look for: nothing else wakes the keeper.
    place.zone("example.test", &ZONE.replace("MX 10 mail", "MX 20 mail"));
    keeper.cycle(&Finished::All, NOW + 12);
    assert_ne!(published(&keeper), first);
    assert_eq!(serial_asked(&mut keeper, NOW + 12), (None, Some(NOW + 15)));
    let wanted = |keeper: &Keeper| {
        let wanted = keeper.outside.watched.wanted(&Subject::Zone(name("example.test"))).cloned();
        let Some(Wanted::Zone { expected, .. }) = wanted.as_deref() else { panic!("{wanted:?}") };
        expected.serial
    };
    assert_eq!(wanted(&keeper), first);
    let (_, next) = serial_asked(&mut keeper, NOW + 15);
    assert_eq!(wanted(&keeper), published(&keeper));
    assert!(next > Some(NOW + 15), "and then there is nothing to wait for: {next:?}");
}
