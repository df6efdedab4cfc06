//! Zones that were signed elsewhere: what holds is served, and every slip is found.

use danelaw::dns::dnssec::Algorithm;
use danelaw::dns::{Rdata, Record, Rtype};
use danelaw::zone::denial::nsec3::Parameters;
use danelaw::zone::presigned::{Finding, check, findings};
use danelaw::zone::sign::Policy;
use danelaw::zone::{Contents, Denial, Draft, NoIncludes, Published, Severity, parse, print};

use super::common::{EXAMPLES, denials, edit, example, hashes, name, now, sign_denying, zone};

const TEXT: &str = "$TTL 300\n@ SOA ns h 1 2 3 4 60\n NS ns\nns A 192.0.2.1\n*.w TXT x\na.b.ent A 192.0.2.2\n\
                    cut NS ns.cut\nns.cut A 192.0.2.3\nx.deep NS ns\nds NS ns\n DS 1 13 2 \
                    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";

fn signed(denial: Denial) -> Published {
    sign_denying(&zone("example.test", TEXT), Algorithm::EcdsaP256Sha256, denial)
}

/// A zone as another server reads it.
fn reread(published: &Published) -> Contents {
    zone(&published.origin().to_host(), &print::published(published))
}

fn errors(contents: &Contents) -> Vec<String> {
    let findings = findings(contents, None, Some(now()));
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
            assert_eq!(hashes(&again).len(), hashes(&published).len());
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
    let set = |published: &mut Published, owner: &str, rtype, change: &dyn Fn(&mut Vec<Rdata>)| {
        edit(published, &name(owner), rtype, |set| change(&mut set.rrsigs));
    };
    let spoil = |rrsigs: &mut Vec<Rdata>| *rrsigs[0].last_mut().unwrap() ^= 1;

    let found = broken(&|zone| set(zone, "ns.example.test", Rtype::A, &|rrsigs| rrsigs.clear()));
    assert!(found.len() == 1 && found[0].contains("there is no RRSIG"), "{found:?}");
    for (owner, rtype) in [("ns.example.test", Rtype::A), ("ds.example.test", Rtype::DS), ("example.test", Rtype::SOA)]
    {
        let found = broken(&|zone| set(zone, owner, rtype, &spoil));
        assert!(found.len() == 1 && found[0].contains("is not of these records"), "{found:?}");
    }
    let found = broken(&|zone| edit(zone, &name("ns.example.test"), Rtype::A, |set| set.rrset.ttl = 301));
    assert!(found.len() == 1 && found[0].contains("TTL is 301, and was 300"), "{found:?}");
    let found = broken(&|zone| {
        zone.tree.change(&name("example.test"), &[(Rtype::DNSKEY, None)]);
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
        for owner in &hashes(&published) {
            let mut less = published.clone();
            less.tree.change(owner, &[(Rtype::NSEC3, None)]);
            let found = errors(&reread(&less));
            assert!(!found.is_empty(), "{denial:?} without {owner}");
        }
    }
    let published = signed(Denial::Nsec);
    for (owner, _) in published.sets().filter(|(_, set)| set.rrset.rtype == Rtype::NSEC) {
        let mut less = published.clone();
        less.tree.change(&owner, &[(Rtype::NSEC, None)]);
        assert!(!errors(&reread(&less)).is_empty(), "without the NSEC of {owner}");
    }
}

#[test]
fn opt_out_covers_delegations_without_ds_and_the_names_that_only_lead_to_them() {
    let count = |denial| hashes(&signed(denial)).len();
    // cut, and x.deep with its empty non-terminal.
    assert_eq!(count(Denial::Nsec3(Parameters::default())) - count(opt_out()), 3);
    let mut published = signed(opt_out());
    // The same spans without their flag leave names out.
    for owner in hashes(&published) {
        edit(&mut published, &owner, Rtype::NSEC3, |set| set.rrset.rdatas[0][1] = 0);
    }
    let found = errors(&reread(&published));
    assert_eq!(found.iter().filter(|one| one.contains("leaves")).count(), 3, "{found:?}");
}

#[test]
fn windows_are_looked_at_while_there_is_a_time() {
    let contents = reread(&signed(Denial::Nsec));
    let at = |now| findings(&contents, None, now).found;
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
    let good = reread(&published);
    let count =
        |contents: &Contents, verified: Option<&Contents>| findings(contents, verified, Some(now())).found.len();
    assert_eq!(count(&good, None), 0);

    let mut spoilt = published.clone();
    edit(&mut spoilt, &name("ns.example.test"), Rtype::A, |set| *set.rrsigs[0].last_mut().unwrap() ^= 1);
    let spoilt = reread(&spoilt);
    assert_eq!(count(&spoilt, Some(&good)), 1, "another signature than the one that was verified");
    assert_eq!(count(&spoilt, Some(&spoilt)), 0, "what is given as verified is believed");

    let other = sign_denying(&zone("example.test", TEXT), Algorithm::EcdsaP256Sha256, Denial::Nsec);
    let key = other.set(&name("example.test"), Rtype::DNSKEY).unwrap();
    let mut other_key = published.clone();
    edit(&mut other_key, &name("example.test"), Rtype::DNSKEY, |set| *set = key);
    assert!(count(&reread(&other_key), Some(&good)) > 5, "with another key none is");
}

#[test]
fn each_finding_points_at_its_record() {
    let published = signed(Denial::Nsec);
    let text = print::published(&published).replace("\tA\t192.0.2.2", "\tA\t192.0.2.3");
    let parsed = parse(published.origin(), "signed.zone", text.as_bytes(), &mut NoIncludes);
    let found = check(&parsed, None, Some(now())).0;
    assert_eq!(found.len(), 1, "{found:?}");
    let line = text.lines().position(|line| line.contains("\tA\t192.0.2.3") && line.starts_with("a.b")).unwrap();
    assert_eq!((found[0].severity, found[0].line as usize), (Severity::Error, line + 1));
    assert!(found[0].message.contains("the A records of a.b.ent.example.test."), "{}", found[0].message);
}

#[test]
fn too_many_iterations_are_refused_and_what_rfc_9276_advises_against_is_warned_of() {
    let found = |parameters| {
        let found = findings(&reread(&signed(Denial::Nsec3(parameters))), None, Some(now())).found;
        found.into_iter().map(|finding| (finding.severity, finding.message)).collect::<Vec<_>>()
    };
    let many = |iterations| found(Parameters { iterations, ..Parameters::default() });
    let is_risky = |found: &[(Severity, String)]| found[0].1.contains("for unsigned");
    assert_eq!(many(0), []);
    for (iterations, severity, risky) in
        [(1, Severity::Warning, false), (50, Severity::Warning, false), (51, Severity::Warning, true)]
    {
        let found = many(iterations);
        assert!(found.len() == 1 && found[0].0 == severity && is_risky(&found) == risky, "{iterations}: {found:?}");
    }
    assert_eq!(many(501).into_iter().map(|(severity, _)| severity).collect::<Vec<_>>(), [Severity::Error]);
    let salted = found(Parameters { salt: [1, 2].into(), ..Parameters::default() });
    assert!(salted.len() == 1 && salted[0].1.contains("salt"), "{salted:?}");
}

#[test]
fn signatures_that_are_about_to_expire_are_warned_of() {
    let contents = reread(&signed(Denial::Nsec));
    let expires = signed(Denial::Nsec).expires_at.unwrap();
    let warned =
        |now| findings(&contents, None, Some(now)).found.iter().any(|one| one.message.contains("expires in 47 h"));
    assert!(!warned(now()));
    assert!(warned(expires - 2 * 86_400 + 600));
}
