//! Zones that were signed elsewhere: what holds is served, and every slip is found.

use danelaw::dns::dnssec::Algorithm;
use danelaw::dns::{Rdata, Record, Rtype};
use danelaw::zone::denial::nsec3::Parameters;
use danelaw::zone::presigned::{Finding, check, findings};
use danelaw::zone::sign::{Policy, Signatures};
use danelaw::zone::{Contents, Denial, Draft, NoIncludes, Published, Severity, parse, print};

use super::common::{EXAMPLES, denials, example, name, now, sign_denying, zone};

const TEXT: &str = "$TTL 300\n@ SOA ns h 1 2 3 4 60\n NS ns\nns A 192.0.2.1\n*.w TXT x\na.b.ent A 192.0.2.2\n\
                    cut NS ns.cut\nns.cut A 192.0.2.3\nx.deep NS ns\nds NS ns\n DS 1 13 2 \
                    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";

fn signed(denial: Denial) -> Published {
    sign_denying(&zone("example.test", TEXT), Algorithm::EcdsaP256Sha256, denial)
}

/// A zone as another server reads it.
fn reread(published: &Published) -> Contents {
    zone(&published.origin.to_host(), &print::published(published))
}

fn errors(contents: &Contents) -> Vec<String> {
    let findings = findings(contents, &Signatures::default(), Some(now()));
    assert_eq!(findings.left_out, 0);
    let errors = findings.found.into_iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(|Finding { owner, message, .. }| format!("{owner} {message}")).collect()
}

fn opt_out() -> Denial {
    Denial::Nsec3(Parameters { opt_out: true, ..Parameters::default() })
}

#[test]
fn what_danelaw_signs_holds_and_is_served_as_it_was() {
    for origin in EXAMPLES {
        for (kind, denial) in denials() {
            let published = sign_denying(&example(origin), Algorithm::Ed25519, denial);
            let contents = reread(&published);
            assert_eq!(errors(&contents), Vec::<String>::new(), "{origin} {kind}");
            let again = Draft::unsigned(&contents).unwrap().finish(published.serial).unwrap();
            assert_eq!(print::published(&again), print::published(&published), "{origin} {kind}");
            assert_eq!(again.nsec3.len(), published.nsec3.len());
            assert_eq!(matches!(again.denial, Denial::Nsec3(_)), kind != "nsec");
        }
    }
}

#[test]
fn a_missing_or_spoilt_signature_is_found() {
    let published = signed(Denial::Nsec);
    let broken = |break_it: &dyn Fn(&mut Published)| {
        let mut published = published.clone();
        break_it(&mut published);
        errors(&reread(&published))
    };
    let set = |published: &mut Published, owner: &str, rtype, edit: &dyn Fn(&mut Vec<Rdata>)| {
        edit(&mut published.nodes.get_mut(&name(owner)).unwrap().get_mut(&rtype).unwrap().rrsigs);
    };
    let spoil = |rrsigs: &mut Vec<Rdata>| *rrsigs[0].last_mut().unwrap() ^= 1;

    let found = broken(&|zone| set(zone, "ns.example.test", Rtype::A, &|rrsigs| rrsigs.clear()));
    assert!(found.len() == 1 && found[0].contains("there is no RRSIG"), "{found:?}");
    for (owner, rtype) in [("ns.example.test", Rtype::A), ("ds.example.test", Rtype::DS), ("example.test", Rtype::SOA)]
    {
        let found = broken(&|zone| set(zone, owner, rtype, &spoil));
        assert!(found.len() == 1 && found[0].contains("is not of these records"), "{found:?}");
    }
    let found = broken(&|zone| {
        let node = zone.nodes.get_mut(&name("ns.example.test")).unwrap();
        node.get_mut(&Rtype::A).unwrap().rrset.ttl = 301;
    });
    assert!(found.len() == 1 && found[0].contains("TTL is 301, and was 300"), "{found:?}");
    let found = broken(&|zone| {
        zone.nodes.get_mut(&zone.origin).unwrap().remove(&Rtype::DNSKEY);
    });
    assert!(found.len() == 1 && found[0].contains("no DNSKEY"), "{found:?}");
}

#[test]
fn a_chain_that_leaves_out_or_makes_up_anything_is_found() {
    for denial in [Denial::Nsec, Denial::Nsec3(Parameters::default()), opt_out()] {
        let published = signed(denial.clone());
        let mut with_more = reread(&published);
        let rdata = Box::from([192, 0, 2, 9]);
        with_more.insert(Record { owner: name("ns.example.test"), ttl: 300, rtype: Rtype(65280), rdata });
        let found = errors(&with_more);
        assert!(found.len() == 2 && found.iter().any(|one| one.contains("does not say what")), "{denial:?} {found:?}");

        let mut without = reread(&published);
        assert!(without.remove(&name("*.w.example.test"), Rtype::TXT).is_some());
        let found = errors(&without);
        assert!(found.iter().any(|one| one.contains("no name")), "{denial:?} {found:?}");
    }
    for denial in [Denial::Nsec3(Parameters::default()), opt_out()] {
        let published = signed(denial.clone());
        for owner in published.nsec3.keys() {
            let mut less = published.clone();
            less.nsec3.remove(owner);
            let found = errors(&reread(&less));
            assert!(!found.is_empty(), "{denial:?} without {owner}");
        }
    }
    let published = signed(Denial::Nsec);
    for owner in published.nodes.keys() {
        let mut less = published.clone();
        if less.nodes.get_mut(owner).unwrap().remove(&Rtype::NSEC).is_some() {
            assert!(!errors(&reread(&less)).is_empty(), "without the NSEC of {owner}");
        }
    }
}

#[test]
fn opt_out_covers_delegations_without_ds_and_the_names_that_only_lead_to_them() {
    let hashes = |denial| signed(denial).nsec3.len();
    // cut, and x.deep with its empty non-terminal.
    assert_eq!(hashes(Denial::Nsec3(Parameters::default())) - hashes(opt_out()), 3);
    let mut published = signed(opt_out());
    // The same spans without their flag leave names out.
    for set in published.nsec3.values_mut() {
        set.rrset.rdatas[0][1] = 0;
    }
    let found = errors(&reread(&published));
    assert_eq!(found.iter().filter(|one| one.contains("leaves")).count(), 3, "{found:?}");
}

#[test]
fn windows_are_looked_at_while_there_is_a_time() {
    let contents = reread(&signed(Denial::Nsec));
    let at = |now| findings(&contents, &Signatures::default(), now).found;
    let policy = Policy::default();
    let expired = at(Some(now() + policy.validity + 10));
    assert!(expired[0].message.contains("expired at"), "{expired:?}");
    let early = at(Some(now() - policy.backdate - 10));
    assert!(early[0].message.contains("is valid from"), "{early:?}");
    assert_eq!(at(None), Vec::new());
}

#[test]
fn a_signature_that_was_verified_is_not_verified_again_unless_its_key_changed() {
    let published = signed(Denial::Nsec);
    let contents = reread(&published);
    let verified = findings(&contents, &Signatures::default(), Some(now())).verified;
    let dnskey = |zone: &Published| zone.nodes[&zone.origin][&Rtype::DNSKEY].clone();
    let key = dnskey(&published).rrset.rdatas[0].clone();
    let owner = name("ns.example.test");
    let set = &published.nodes[&owner][&Rtype::A];
    assert!(verified.holds(&key, &owner, &set.rrset, &set.rrsigs[0]));

    let mut spoilt = published.clone();
    let set = spoilt.nodes.get_mut(&owner).unwrap().get_mut(&Rtype::A).unwrap();
    *set.rrsigs[0].last_mut().unwrap() ^= 1;
    let count = |zone: &Published, verified: &Signatures| findings(&reread(zone), verified, Some(now())).found.len();
    assert_eq!(count(&spoilt, &verified), 1, "another signature than the one that was verified");
    let mut believed = verified.clone();
    let set = &spoilt.nodes[&owner][&Rtype::A];
    believed.insert(&key, &owner, &set.rrset, &set.rrsigs[0]);
    assert_eq!(count(&spoilt, &believed), 0, "what is given as verified is believed");

    let other = sign_denying(&zone("example.test", TEXT), Algorithm::EcdsaP256Sha256, Denial::Nsec);
    let mut other_key = spoilt.clone();
    other_key.nodes.get_mut(&published.origin).unwrap().insert(Rtype::DNSKEY, dnskey(&other));
    assert!(count(&other_key, &believed) > 5, "with another key none is");
}

#[test]
fn each_finding_points_at_its_record() {
    let published = signed(Denial::Nsec);
    let text = print::published(&published).replace("\tA\t192.0.2.2", "\tA\t192.0.2.3");
    let parsed = parse(&published.origin, "signed.zone", text.as_bytes(), &mut NoIncludes);
    let found = check(&parsed, &Signatures::default(), Some(now())).diagnostics;
    assert_eq!(found.len(), 1, "{found:?}");
    let line = text.lines().position(|line| line.contains("\tA\t192.0.2.3") && line.starts_with("a.b")).unwrap();
    assert_eq!((found[0].severity, found[0].line as usize), (Severity::Error, line + 1));
    assert!(found[0].message.contains("the A records of a.b.ent.example.test."), "{}", found[0].message);
}

#[test]
fn too_many_iterations_are_refused_and_many_are_warned_of() {
    let many = |iterations| Denial::Nsec3(Parameters { iterations, ..Parameters::default() });
    let severities = |iterations| {
        let found = findings(&reread(&signed(many(iterations))), &Signatures::default(), Some(now())).found;
        found.into_iter().map(|finding| finding.severity).collect::<Vec<_>>()
    };
    assert_eq!(severities(150), []);
    assert_eq!(severities(151), [Severity::Warning]);
    assert_eq!(severities(501), [Severity::Error]);
}
