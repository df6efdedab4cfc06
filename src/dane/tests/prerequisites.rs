//! Each prerequisite: what holds it, what it lacks, what can't be told, and that it says what to do.

use super::world::{OURS, World, dkim_ok};
use super::{name, pem};
use crate::dane::checks::{Context, assess, mail_hosts};
use crate::dane::config::{DkimPolicy, DnssecStrength, DomainDane, MailServiceStrength};
use crate::dane::plan::Plan;
use crate::dane::prerequisites::{Assessment, Fact, Finding, Gate, Prerequisite, Resolved, SignedState, Verdict};
use crate::dane::state::State;
use crate::dns::{Name, Rtype};

fn assessed(world: &World, domain: &str, host: &str) -> Assessment {
    let context = Context { served: world, config: &world.config, dkim_ok: &dkim_ok, now: 7 };
    assess(context, &name(domain), &name(host))
}

/// The verdict on one prerequisite of example.org and mail.example.org, its evidence and its help.
fn verdict(world: &World, prerequisite: Prerequisite) -> (Verdict, String, String) {
    let assessment = assessed(world, "example.org", "mail.example.org");
    let finding = assessment.findings.iter().find(|finding| finding.prerequisite == prerequisite).expect("graded");
    assert!(finding.verdict == Verdict::Held || !finding.help.is_empty(), "{finding:?} says what to do");
    assert_eq!(finding.since, 7);
    (finding.verdict, finding.evidence.clone(), finding.help.clone())
}

#[test]
fn a_world_in_order_holds_them_all() {
    let assessment = assessed(&World::new(), "example.org", "mail.example.org");
    assert_eq!(assessment.findings.len(), 4);
    assert_eq!(assessment.verdict(), Verdict::Held, "{assessment:?}");
}

#[test]
fn mx_needs_an_address_of_ours_and_no_cname() {
    let is = |change: &dyn Fn(&mut World), expected: Verdict, words: &str| {
        let mut world = World::new();
        change(&mut world);
        let (verdict, evidence, _) = verdict(&world, Prerequisite::Mx);
        assert!(verdict == expected && evidence.contains(words), "{verdict:?} {evidence}, not {words}");
    };
    is(&|_| {}, Verdict::Held, "192.0.2.1");
    is(&|world| world.drop("example.org", Rtype::MX), Verdict::Missing, "no MX");
    is(&|world| world.mx("example.org", "."), Verdict::Missing, "null MX");
    is(&|world| world.drop("mail.example.org", Rtype::A), Verdict::Missing, "no address");
    is(&|world| world.config.server.addresses.clear(), Verdict::Unknown, "no addresses are configured");
    is(&|world| world.config.server.addresses = vec![[192, 0, 2, 9].into()], Verdict::Missing, "none of which is ours");
    is(&|world| world.cname("mail.example.org", "x.example.org"), Verdict::Missing, "RFC 2181 section 10.3");
    is(&|world| world.cuts.push(name("mail.example.org")), Verdict::Missing, "no zone that is served here");
    is(
        &|world| {
            world.drop("mail.example.org", Rtype::A);
            world.put(
                "mail.example.org",
                Rtype::AAAA,
                &"2001:db8::1".parse::<std::net::Ipv6Addr>().expect("address").octets(),
            );
            world.config.server.addresses = vec!["2001:db8::1".parse().expect("address")];
        },
        Verdict::Held,
        "2001:db8::1",
    );
    is(
        &|world| {
            world.drop("mail.example.org", Rtype::A);
            world.put("*.example.org", Rtype::A, &OURS);
        },
        Verdict::Missing,
        "no address",
    );
}

#[test]
fn dkim_needs_one_key_that_parses_and_is_not_revoked() {
    let is = |change: &dyn Fn(&mut World), expected: Verdict, words: &str| {
        let mut world = World::new();
        change(&mut world);
        let (verdict, evidence, _) = verdict(&world, Prerequisite::Dkim);
        assert!(verdict == expected && evidence.contains(words), "{verdict:?} {evidence}, not {words}");
    };
    let none = |world: &mut World| world.drop("s1._domainkey.example.org", Rtype::TXT);
    is(&|_| {}, Verdict::Held, "s1._domainkey.example.org.");
    is(&none, Verdict::Missing, "no selector below _domainkey.example.org.");
    is(
        &|world| {
            none(world);
            world.txt("s1._domainkey.example.org", "v=DKIM1; p=");
        },
        Verdict::Missing,
        "revoked",
    );
    // One good key among others is enough.
    is(&|world| world.txt("a._domainkey.example.org", "v=DKIM1; p="), Verdict::Held, "s1");
    is(
        &|world| world.config.server.dkim_selectors = vec!["s2".to_owned()],
        Verdict::Missing,
        "s2._domainkey.example.org. has no TXT",
    );
    is(
        &|world| {
            none(world);
            world.cname("s1._domainkey.example.org", "s1.provider.example");
        },
        Verdict::Unknown,
        "not served here",
    );
    is(
        &|world| {
            none(world);
            world.cname("s1._domainkey.example.org", "keys.example.org");
            world.txt("keys.example.org", "v=DKIM1; p=AAAA");
        },
        Verdict::Held,
        "s1",
    );
    is(
        &|world| {
            none(world);
            world.cname("s1._domainkey.example.org", "s1._domainkey.example.org");
        },
        Verdict::Missing,
        "no TXT",
    );
    is(&|world| world.cuts.push(name("_domainkey.example.org")), Verdict::Unknown, "delegated");
}

#[test]
fn optional_dkim_is_shown_and_not_needed() {
    let mut world = World::new();
    world.drop("s1._domainkey.example.org", Rtype::TXT);
    assert_eq!(assessed(&world, "example.org", "mail.example.org").verdict(), Verdict::Missing);
    world.config.server.dkim = DkimPolicy::Optional;
    let assessment = assessed(&world, "example.org", "mail.example.org");
    assert_eq!(assessment.verdict(), Verdict::Held);
    assert!(assessment.findings.iter().any(|finding| finding.gate == Gate::Dkim && !finding.required));
}

#[test]
fn where_nobody_looks_the_strong_grades_are_unknown_and_the_weak_ones_below_them_count() {
    let mut world = World::new();
    world.config.server.dnssec = DnssecStrength::Parent;
    world.config.server.mail_service = MailServiceStrength::Probed;
    for prerequisite in [Prerequisite::Dnssec, Prerequisite::MailService] {
        let (verdict, evidence, _) = verdict(&world, prerequisite);
        assert_eq!(verdict, Verdict::Unknown);
        assert!(evidence.starts_with("not checked"), "{evidence}");
    }
    assert_eq!(assessed(&world, "example.org", "mail.example.org").verdict(), Verdict::Unknown);
    world.signed = SignedState::Unsigned;
    assert_eq!(verdict(&world, Prerequisite::Dnssec).0, Verdict::Missing);
    world.signed = SignedState::Unknown("its keys have vanished".to_owned());
    assert_eq!(verdict(&world, Prerequisite::Dnssec).0, Verdict::Unknown);
    world.config.server.declared = false;
    assert_eq!(verdict(&world, Prerequisite::MailService).0, Verdict::Missing);
}

#[test]
fn the_defaults_are_the_strong_grades() {
    let config = crate::dane::DaneConfig::default().zone(&Name::root());
    assert_eq!((config.dnssec, config.mail_service), (DnssecStrength::Parent, MailServiceStrength::Probed));
    assert_eq!((config.ttl, config.hold, config.confirmation_interval), (3600, 3600, 86_400));
    assert_eq!(config.retention(86_400), 172_800);
}

#[test]
fn mail_hosts_are_grouped_with_all_domains_that_name_them() {
    let mut world = World::new();
    world.mx("sub.example.org", "MAIL.example.org");
    world.mx("sub.example.org", "mx.example.net");
    world.mx("no.example.org", ".");
    world.mx("sub.example.org", "Mail.example.org");
    let hosts = |domain| mail_hosts(&world, &name(domain));
    assert_eq!(hosts("sub.example.org"), [name("mx.example.net"), name("mail.example.org")]);
    assert_eq!((hosts("example.org"), hosts("no.example.org")), (vec![name("mail.example.org")], Vec::new()));
    let plan = world.plan(&State::default(), 0);
    let owners: Vec<_> = plan.owners.iter().map(|planned| planned.owner.clone()).collect();
    assert_eq!(owners, [name("_25._tcp.mx.example.net"), name("_25._tcp.mail.example.org")]);
    let domains: Vec<_> = plan.owners[1].explanation.assessments.iter().flat_map(|one| one.domain.clone()).collect();
    assert_eq!(domains, [name("example.org"), name("sub.example.org")]);
}

#[test]
fn the_domains_own_zone_says_what_is_asked_of_dkim() {
    let mut world = World::new();
    world.zones.push(name("example.net"));
    world.mx("example.net", "mail.example.org");
    assert_eq!(assessed(&world, "example.net", "mail.example.org").verdict(), Verdict::Missing);
    let server = world.config.server.clone();
    world.config.zones.entry(name("example.net")).or_insert(server).dkim = DkimPolicy::Optional;
    assert_eq!(assessed(&world, "example.net", "mail.example.org").verdict(), Verdict::Held);
    // The grade of DNSSEC is each zone's own: an MX that is not secure leads nobody to the TLSA.
    let server = world.config.server.clone();
    world.config.zones.entry(name("example.net")).or_insert(server).dnssec = DnssecStrength::Parent;
    assert_eq!(assessed(&world, "example.net", "mail.example.org").verdict(), Verdict::Unknown);
    assert_eq!(assessed(&world, "example.org", "mail.example.org").verdict(), Verdict::Held);
}

/// A domain whose zone is elsewhere, whose mail comes to the host here.
fn elsewhere() -> World {
    let mut world = World::new();
    let hosts = vec![name("mail.example.org")];
    world.config.elsewhere.insert(name("example.net"), DomainDane { hosts: hosts.clone(), ..DomainDane::default() });
    let resolved = Resolved { mx: Ok(hosts), dnssec: Fact::held("secure"), dkim: Fact::held("a key") };
    world.resolved.insert(name("example.net"), resolved);
    world
}

#[test]
fn a_domain_elsewhere_counts_as_resolvers_see_it() {
    let of = |change: &dyn Fn(&mut Resolved), prerequisite: Prerequisite| {
        let mut world = elsewhere();
        change(world.resolved.get_mut(&name("example.net")).expect("it is there"));
        let assessment = assessed(&world, "example.net", "mail.example.org");
        let of = |finding: &&Finding| finding.prerequisite == prerequisite;
        let finding = assessment.findings.iter().find(of).expect("each has one");
        (assessment.verdict(), finding.verdict)
    };
    use Prerequisite::{Dkim, Dnssec, Mx};
    use Verdict::{Held, Missing, Unknown};
    assert_eq!(of(&|_| {}, Mx), (Held, Held));
    let other = |seen: &mut Resolved| seen.mx = Ok(vec![name("mx.provider.example")]);
    assert_eq!(of(&other, Mx), (Missing, Missing));
    assert_eq!(of(&|seen| seen.mx = Ok(vec![Name::root()]), Mx), (Missing, Missing));
    assert_eq!(of(&|seen| seen.mx = Ok(Vec::new()), Mx), (Missing, Missing));
    assert_eq!(of(&|seen| seen.mx = Err("SERVFAIL".to_owned()), Mx), (Unknown, Unknown));
    assert_eq!(of(&|seen| seen.dnssec = Fact::unknown("insecure", ""), Dnssec), (Unknown, Unknown));
    assert_eq!(of(&|seen| seen.dkim = Fact::new(Missing, "none", ""), Dkim), (Missing, Missing));
}

#[test]
fn a_domain_elsewhere_is_enough_for_its_host_and_no_failure_takes_it_away() {
    let mut world = elsewhere();
    world.see(pem!("p256"), "certs/a.pem");
    world.drop("example.org", Rtype::MX);
    let first = world.plan(&State::default(), 1_800_000_000);
    let is_served = |plan: &Plan| plan.owners[0].rrset.is_some();
    assert_eq!((first.owners.len(), is_served(&first)), (1, true));
    // Nothing is known after a restart, and for long.
    let seen = world.resolved.clone();
    world.resolved.clear();
    let mut state = first.state;
    for day in 1..30 {
        let plan = world.plan(&state, 1_800_000_000 + day * 86_400);
        assert!(is_served(&plan), "day {day}");
        state = plan.state;
    }
    // Resolvers say that its MX leads elsewhere, and that it has no key: whoever stands before them can say that.
    world.resolved = seen;
    let lying = world.resolved.get_mut(&name("example.net")).expect("it is there");
    (lying.mx, lying.dkim) = (Ok(vec![name("mx.provider.example")]), Fact::new(Verdict::Missing, "none", ""));
    let mut hour = |world: &World, day: u64| {
        let mut left = true;
        for strides in 0..7 {
            let plan = world.plan(&state, 1_800_000_000 + day * 86_400 + strides * 600);
            left = is_served(&plan);
            state = plan.state;
        }
        left
    };
    assert!(hour(&world, 31));
    // Its zone comes here, and can't be read: nobody knows what is in it.
    world.zones.push(name("example.net"));
    world.whole = false;
    assert!(hour(&world, 32));
    world.zones.pop();
    world.whole = true;
    assert!(hour(&world, 33));
    // By the operator's word its mail comes here no more.
    world.config.elsewhere.clear();
    assert!(!hour(&world, 34));
}

#[test]
fn of_a_domain_whose_zone_is_here_its_zone_speaks() {
    let mut world = elsewhere();
    world.zones.push(name("example.net"));
    assert_eq!(assessed(&world, "example.net", "mail.example.org").verdict(), Verdict::Missing);
    let plan = world.plan(&State::default(), 1_800_000_000);
    let domains = |plan: &Plan| -> Vec<Name> {
        plan.owners[0].explanation.assessments.iter().flat_map(|one| one.domain.clone()).collect()
    };
    assert_eq!(domains(&plan), [name("example.org")]);
    world.zones.pop();
    let plan = world.plan(&State::default(), 1_800_000_000);
    assert_eq!(domains(&plan), [name("example.net"), name("example.org")]);
}

#[test]
fn a_key_that_is_kept_elsewhere_is_as_resolvers_see_it() {
    let mut world = World::new();
    world.drop("s1._domainkey.example.org", Rtype::TXT);
    world.cname("s1._domainkey.example.org", "s1.provider.example");
    let mut resolved = Resolved::unseen("why");
    for (fact, expected) in [
        (Fact::held("s1._domainkey.example.org. has a key"), Verdict::Held),
        (Fact::new(Verdict::Missing, "revoked", "sign with another"), Verdict::Unknown),
        (Fact::unknown("SERVFAIL", ""), Verdict::Unknown),
    ] {
        resolved.dkim = fact;
        world.resolved.insert(name("example.org"), resolved.clone());
        assert_eq!(verdict(&world, Prerequisite::Dkim).0, expected);
    }
}
