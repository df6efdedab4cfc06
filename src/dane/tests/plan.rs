//! The room as a whole: what goes into the zone, why, and what is said of it.

use std::collections::BTreeMap;

use super::world::World;
use super::{chain, name, pem};
use crate::dane::config::ServiceConfig;
use crate::dane::explain::{SourceStatus, Status};
use crate::dane::plan::Planned;
use crate::dane::prerequisites::Verdict;
use crate::dane::publication::Reason;
use crate::dane::state::{HostState, State};
use crate::dane::{Parameters, Protocol, Tlsa};
use crate::dns::{Rdata, Rtype};

const START: u64 = 1_800_000_000;
const FILE: &str = "certs/mail.pem";

fn rdata(pem: &str, parameters: &str) -> Rdata {
    let parameters: Parameters = parameters.parse().expect("parameters");
    Tlsa::from_chain(&chain(pem), parameters).expect("a record").rdata()
}

fn rdatas(planned: &Planned) -> Vec<Rdata> {
    planned.rrset.as_ref().map(|rrset| rrset.rdatas.clone()).unwrap_or_default()
}

fn world() -> World {
    let mut world = World::new();
    world.see(pem!("p256"), FILE);
    world
}

#[test]
fn a_world_in_order_gets_its_tlsa_and_the_explanation_names_the_file() {
    let plan = world().plan(&State::default(), START);
    let [planned] = &plan.owners[..] else { panic!("{:?}", plan.owners) };
    assert_eq!((&planned.owner, &planned.zone), (&name("_25._tcp.mail.example.org"), &Some(name("example.org"))));
    let rrset = planned.rrset.as_ref().expect("served");
    assert_eq!((rrset.rtype, rrset.ttl, &rrset.rdatas), (Rtype::TLSA, 3600, &vec![rdata(pem!("p256"), "3 1 1")]));
    let explanation = &planned.explanation;
    assert_eq!(explanation.status, Status::Served(Reason::AllHeld));
    assert_eq!(explanation.records[0].sources[0].file, FILE);
    assert_eq!(explanation.records[0].sources[0].status, SourceStatus::Current);
    assert!(explanation.to_do().is_empty(), "{:?}", explanation.to_do());
    let json = serde_json::to_value(explanation).expect("serialises");
    assert_eq!(json["status"]["status"], "served");
    assert_eq!(json["status"]["reason"], "all-held");
    assert!(explanation.to_string().contains("from certs/mail.pem (current)"));
    assert_eq!(plan.changes[&name("mail.example.org")].added.len(), 1);
}

#[test]
fn a_first_publication_needs_all_and_a_published_one_outlives_what_can_be_told() {
    let mut strict = world();
    strict.config.server.dnssec = Default::default();
    let plan = strict.plan(&State::default(), START);
    assert_eq!(plan.owners[0].explanation.status, Status::Withheld(Reason::NotYet));
    assert!(plan.owners[0].explanation.to_do()[0].contains("danelaw ds example.org"));
    // Published with the weak grade, then made strict, then the certificate directory gone.
    let plan = world().plan(&State::default(), START);
    strict.certificates.seen.clear();
    let plan = strict.plan(&plan.state, START + 1);
    assert_eq!(plan.owners[0].explanation.status, Status::Served(Reason::Kept));
    assert_eq!(plan.owners[0].explanation.records[0].sources[0].status, SourceStatus::Gone);
    assert_eq!(rdatas(&plan.owners[0]), [rdata(pem!("p256"), "3 1 1")]);
}

#[test]
fn losing_the_mx_withdraws_after_the_hold_and_says_so_before() {
    let mut state = world().plan(&State::default(), START).state;
    let mut lost = world();
    lost.drop("example.org", Rtype::MX);
    let mut now = START;
    loop {
        let plan = lost.plan(&state, now);
        let [planned] = &plan.owners[..] else { panic!("{:?}", plan.owners) };
        if planned.rrset.is_none() {
            assert_eq!(planned.explanation.status, Status::Withheld(Reason::Lost));
            break;
        }
        assert!(matches!(planned.explanation.status, Status::Served(Reason::Losing { .. })));
        assert!(planned.explanation.to_do()[0].contains("no MX in the zones"));
        state = plan.state;
        now = plan.next.expect("the hold ends");
    }
    assert_eq!(now, START + 3600);
}

#[test]
fn a_renewal_adds_the_new_record_and_keeps_the_old_one_for_a_day() {
    let state = world().plan(&State::default(), START).state;
    let mut renewed = world();
    renewed.see(pem!("p256-next"), FILE);
    let mut plan = renewed.plan(&state, START + 5);
    let mut both = vec![rdata(pem!("p256"), "3 1 1"), rdata(pem!("p256-next"), "3 1 1")];
    both.sort();
    assert_eq!(rdatas(&plan.owners[0]), both);
    assert!(
        plan.owners[0]
            .explanation
            .to_string()
            .contains(&format!("old, stays until {}", crate::dns::text::print_moment(START + 5 + 86_400)))
    );
    let mut now = START + 5;
    while let Some(next) = plan.next {
        assert_eq!(rdatas(&plan.owners[0]), both);
        now = next;
        plan = renewed.plan(&plan.state, now);
    }
    assert_eq!(now, START + 5 + 86_400);
    assert_eq!(rdatas(&plan.owners[0]), [rdata(pem!("p256-next"), "3 1 1")]);
}

#[test]
fn a_renewal_with_the_same_key_needs_no_new_record() {
    let state = world().plan(&State::default(), START).state;
    let mut renewed = world();
    renewed.see(pem!("p256-renewed"), FILE);
    let plan = renewed.plan(&state, START + 5);
    assert_eq!(rdatas(&plan.owners[0]), [rdata(pem!("p256"), "3 1 1")]);
    assert_eq!(plan.owners[0].explanation.records[0].sources.len(), 2);
}

#[test]
fn several_certificates_and_parameter_sets_make_one_rrset() {
    let mut world = world();
    let full = [pem!("leaf"), pem!("intermediate")].concat();
    world.see(&full, "certs/rsa.pem");
    world.config.server.parameters = ["3 1 1", "3 1 2"].map(|text| text.parse().expect(text)).to_vec();
    assert_eq!(rdatas(&world.plan(&State::default(), START).owners[0]).len(), 4);
    // 2 1 1 can't be made for the self-signed one, so it is not published for the other either.
    world.config.server.parameters = ["3 1 1", "2 1 1"].map(|text| text.parse().expect(text)).to_vec();
    let plan = world.plan(&State::default(), START);
    assert_eq!(rdatas(&plan.owners[0]).len(), 2);
    assert!(plan.owners[0].explanation.problems[0].contains("2 1 1"), "{:?}", plan.owners[0].explanation);
    world.certificates.seen.remove(0);
    let plan = world.plan(&State::default(), START);
    assert_eq!(rdatas(&plan.owners[0]), [rdata(&full, "2 1 1"), rdata(&full, "3 1 1")]);
    // PKIX usages are refused on port 25, and then there is nothing.
    world.config.server.parameters = vec!["1 1 1".parse().expect("parameters")];
    let plan = world.plan(&State::default(), START);
    assert_eq!(plan.owners[0].explanation.status, Status::Withheld(Reason::NoCertificate));
    assert!(plan.owners[0].explanation.to_do()[0].contains("RFC 7672 section 3.1.3"));
}

#[test]
fn a_service_that_is_no_mx_needs_dnssec_a_host_and_its_certificate() {
    let mut world = world();
    world.drop("example.org", Rtype::MX);
    world.config.services = vec![ServiceConfig {
        host: name("mail.example.org"),
        port: 443,
        protocol: Protocol::Udp,
        parameters: Some(vec!["1 0 1".parse().expect("parameters")]),
        ttl: Some(1800),
    }];
    let plan = world.plan(&State::default(), START);
    let [planned] = &plan.owners[..] else { panic!("{:?}", plan.owners) };
    assert_eq!(planned.owner, name("_443._udp.mail.example.org"));
    assert_eq!(planned.rrset.as_ref().map(|rrset| rrset.ttl), Some(1800));
    assert_eq!(rdatas(planned), [rdata(pem!("p256"), "1 0 1")]);
    // Behind a wildcard it would end the wildcard.
    world.drop("mail.example.org", Rtype::A);
    let plan = world.plan(&State::default(), START);
    assert_eq!(plan.owners[0].explanation.status, Status::Withheld(Reason::NotYet));
    // Configured no longer: gone, and forgotten.
    let published = self::world().plan(&State::default(), START).state;
    world.config.services.clear();
    assert!(
        world.plan(&published, START).owners.iter().all(|planned| planned.owner != name("_443._udp.mail.example.org"))
    );
}

#[test]
fn hand_written_records_are_served_as_they_stand_and_a_conflict_names_both() {
    let owner = "_25._tcp.mail.example.org";
    let mut fine = world();
    fine.put(owner, Rtype::TLSA, &rdata(pem!("p256"), "3 1 2"));
    let plan = fine.plan(&State::default(), START);
    assert_eq!(plan.owners[0].rrset, None);
    assert_eq!(plan.owners[0].explanation.status, Status::HandWritten { conflict: false });
    let mut conflict = world();
    conflict.put(owner, Rtype::TLSA, &rdata(pem!("rsa"), "3 1 1"));
    let plan = conflict.plan(&State::default(), START);
    assert_eq!(plan.owners[0].rrset, None);
    assert_eq!(plan.owners[0].explanation.status, Status::HandWritten { conflict: true });
    let problem = &plan.owners[0].explanation.problems[0];
    for part in [FILE, &chain(pem!("rsa")).leaf().spki_sha256(), &chain(pem!("p256")).leaf().spki_sha256()] {
        assert!(problem.contains(part), "{problem}");
    }
    let mut alias = world();
    alias.cname(owner, "shared.example.org");
    let plan = alias.plan(&State::default(), START);
    assert_eq!(plan.owners[0].explanation.status, Status::Alias { target: name("shared.example.org") });
}

#[test]
fn into_a_zone_that_is_signed_elsewhere_nothing_is_put_and_what_belongs_there_is_told() {
    let mut world = world();
    let published = world.plan(&State::default(), START);
    assert!(published.owners[0].rrset.is_some());
    world.presigned = true;
    let plan = world.plan(&published.state, START);
    assert_eq!(plan.owners[0].rrset, None);
    let explanation = &plan.owners[0].explanation;
    assert_eq!(explanation.status, Status::Withheld(Reason::Presigned));
    let told = format!("_25._tcp.mail.example.org. 3600 IN TLSA 3 1 1 {}", chain(pem!("p256")).leaf().spki_sha256());
    assert!(explanation.to_do().iter().any(|line| line.to_lowercase().contains(&told.to_lowercase())), "{explanation}");
    // Signed here again, it goes on where it was.
    world.presigned = false;
    assert_eq!(world.plan(&plan.state, START).owners[0].rrset, published.owners[0].rrset);
}

#[test]
fn a_host_outside_our_zones_is_not_ours_to_publish() {
    let mut world = world();
    world.mx("example.org", "mx.example.net");
    let plan = world.plan(&State::default(), START);
    let foreign = plan.owners.iter().find(|planned| planned.zone.is_none()).expect("explained");
    assert_eq!(foreign.owner, name("_25._tcp.mx.example.net"));
    assert_eq!(foreign.explanation.status, Status::NotOurs);
    assert!(foreign.explanation.to_do()[0].contains("whoever serves the zone of mx.example.net"));
    // A zone that is not loaded for a while forgets nothing.
    let mut unloaded = self::world();
    unloaded.zones.clear();
    let later = unloaded.plan(&plan.state, START + 1);
    let kept = |state: &State| -> Vec<_> {
        state.hosts.values().map(|host| (host.publications.clone(), host.keyset.clone())).collect()
    };
    assert_eq!(kept(&later.state), kept(&plan.state));
}

#[test]
fn one_qualifying_domain_is_enough_for_the_host() {
    let mut world = world();
    world.mx("sub.example.org", "mail.example.org");
    let plan = world.plan(&State::default(), START);
    let verdicts: Vec<Verdict> = plan.owners[0].explanation.assessments.iter().map(|one| one.verdict()).collect();
    assert_eq!(verdicts, [Verdict::Held, Verdict::Missing]);
    assert_eq!(plan.owners[0].explanation.status, Status::Served(Reason::AllHeld));
}

#[test]
fn verdicts_remember_since_when_and_the_operators_word_is_kept() {
    let world = world();
    let plan = world.plan(&State::default(), START);
    let mut state = world.plan(&plan.state, START + 99).state;
    assert_eq!(state.withdraw(&name("mail.example.org")), [name("_25._tcp.mail.example.org")]);
    assert!(state.withdraw(&name("www.example.org")).is_empty());
    let plan = world.plan(&state, START + 100);
    assert_eq!(plan.owners[0].explanation.status, Status::Withheld(Reason::WithdrawnByOperator));
    assert!(plan.owners[0].explanation.assessments[0].findings.iter().all(|finding| finding.since == START));
    let mut state = plan.state;
    state.restore(&name("_25._tcp.mail.example.org"));
    assert!(world.plan(&state, START + 101).owners[0].rrset.is_some());
}

#[test]
fn the_flag_is_for_the_server_or_for_a_zone() {
    let mut world = world();
    let server = world.config.server.clone();
    world.config.zones.entry(name("example.org")).or_insert(server).enabled = false;
    let plan = world.plan(&State::default(), START);
    assert_eq!(plan.owners[0].explanation.status, Status::Withheld(Reason::Disabled));
}

#[test]
fn a_certificate_that_loses_the_name_still_gets_its_record() {
    let mut world = world();
    let state = world.plan(&State::default(), START).state;
    world.see(pem!("other-host"), FILE);
    let plan = world.plan(&state, START + 1);
    assert_eq!(rdatas(&plan.owners[0]).len(), 2);
    assert!(plan.owners[0].explanation.warnings.iter().any(|warning| warning.contains("no longer names")));
}

#[test]
fn a_state_of_another_version_is_refused() {
    let stored =
        serde_json::to_string(&HostState::default()).expect("serialises").replace("\"version\":1", "\"version\":2");
    let error = serde_json::from_str::<HostState>(&stored).expect_err("refused").to_string();
    assert!(error.contains("run the version that wrote it"), "{error}");
}

#[test]
fn a_state_in_one_document_is_that_of_its_hosts() {
    let mut world = world();
    world.mx("example.org", "mx.example.net");
    let state = world.plan(&State::default(), START).state;
    let (mut keysets, mut publications, mut verdicts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (host, of_host) in &state.hosts {
        keysets.insert(host.clone(), of_host.keyset.clone());
        publications.extend(of_host.publications.clone());
        verdicts.extend(of_host.verdicts.clone());
    }
    let document = serde_json::json!({
        "version": 1, "keysets": keysets, "publications": publications, "verdicts": verdicts,
    });
    assert!(!state.hosts[&name("mail.example.org")].verdicts.is_empty());
    assert_eq!(serde_json::from_value::<State>(document).expect("reads"), state);
}

#[test]
fn a_ttl_that_is_lowered_counts_until_the_caches_have_forgotten_it() {
    let mut world = world();
    world.config.server.ttl = 5 * 86_400;
    let state = world.plan(&State::default(), START).state;
    assert_eq!(world.plan(&state, START + 60).state, state, "nothing to store");
    world.config.server.ttl = 3600;
    world.see(pem!("p256-next"), FILE);
    let mut plan = world.plan(&state, START + 1);
    let mut now = START + 1;
    while let Some(next) = plan.next {
        now = next;
        plan = world.plan(&plan.state, now);
    }
    // The old record outlives the caches of the long TTL.
    assert!(now >= START + 5 * 86_400, "{}", now - START);
    assert_eq!(rdatas(&plan.owners[0]).len(), 1);
}

#[test]
fn a_renewal_without_its_issuer_takes_nothing_away() {
    let mut world = World::new();
    world.config.server.parameters = vec!["2 1 1".parse().expect("parameters")];
    let full = [pem!("leaf"), pem!("intermediate")].concat();
    world.see(&full, FILE);
    let state = world.plan(&State::default(), START).state;
    world.see(pem!("rsa-next"), FILE);
    let plan = world.plan(&state, START + 1);
    let expected = [rdata(&full, "2 1 1"), rdata(&full, "3 1 1"), rdata(pem!("rsa-next"), "3 1 1")];
    assert!(expected.iter().all(|rdata| rdatas(&plan.owners[0]).contains(rdata)), "{:?}", plan.owners[0]);
    assert!(plan.owners[0].explanation.problems[0].contains("needs it in the chain"));
    // Nor does a setting that is refused; only the flag and the operator's word do.
    world.config.server.parameters.clear();
    let plan = world.plan(&plan.state, START + 2);
    assert!(matches!(plan.owners[0].explanation.status, Status::Served(_)));
}
