//! Whose addresses an answer brings along, and whose not.

use std::collections::BTreeSet;

use danelaw::dns::Rtype;
use danelaw::dns::dnssec::Algorithm;
use danelaw::zone::Snapshot;

use super::common::wire::{DNSSEC, PLAIN, Response, TCP};
use super::common::{sign, snapshot, zone};
use super::packets::ask;

const ZONE: &str = "$TTL 300\n@ SOA ns h 1 2 3 4 5\n NS ns\n NS ns.elsewhere.test.\n MX 10 mail\n MX 20 nowhere\n MX 30 mail.elsewhere.test.\n\
                    ns A 192.0.2.1\n AAAA 2001:db8::1\nmail A 192.0.2.2\n\
                    null MX 0 .\n\
                    _sip._tcp SRV 1 2 5060 mail\n SRV 2 2 5060 ns\n\
                    none SRV 0 0 0 .\n\
                    svc SVCB 1 mail port=853\n\
                    alias HTTPS 0 mail\n\
                    chain HTTPS 0 own\n\
                    other SVCB 0 own\n\
                    own HTTPS 1 . alpn=h2\n A 192.0.2.7\n AAAA 2001:db8::7\n\
                    gone HTTPS 0 .\n A 192.0.2.8\n\
                    *.wild HTTPS 1 .\n*.wild A 192.0.2.9\n\
                    to CNAME own\n\
                    child NS ns.child\nns.child A 192.0.2.3\n";

fn served() -> Snapshot {
    Snapshot::new([snapshot(&sign(&zone("x.test", ZONE), Algorithm::Ed25519))], [])
}

/// RFC 1034 section 4.3.2 step 6 asks for the address of a server at the root, too, under its own name.
#[test]
fn a_server_at_the_root_has_its_own_name() {
    let text = "$TTL 300\n. SOA a. b. 1 7200 3600 1209600 60\n NS ns.\n A 192.0.2.7\nns. A 192.0.2.1\n\
                mail. NS .\n NS ns.mail.\nns.mail. A 192.0.2.9\n";
    let snapshot = Snapshot::new([snapshot(&sign(&zone(".", text), Algorithm::Ed25519))], []);
    let response = ask(&snapshot, "www.mail.", Rtype::A, PLAIN);
    let expected = [(".", "A"), ("ns.mail.", "A")].map(|(owner, rtype)| (owner.to_owned(), rtype.to_owned()));
    assert_eq!(addresses(&response), expected.into());
}

fn addresses(response: &Response) -> BTreeSet<(String, String)> {
    response.additional.iter().map(|one| (one.owner.clone(), Rtype(one.rtype).to_string())).collect()
}

fn set(pairs: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    pairs.iter().map(|(owner, rtype)| (format!("{owner}.x.test."), (*rtype).to_owned())).collect()
}

#[test]
fn targets_within_the_zone_bring_their_addresses() {
    let snapshot = served();
    let ns = [("ns", "A"), ("ns", "AAAA")];
    for (owner, rtype, expected) in [
        ("x.test", Rtype::NS, &ns[..]),
        ("x.test", Rtype::MX, &[("mail", "A")]),
        ("null.x.test", Rtype::MX, &[]),
        ("_sip._tcp.x.test", Rtype::SRV, &[("mail", "A"), ns[0], ns[1]]),
        ("none.x.test", Rtype::SRV, &[]),
        ("svc.x.test", Rtype::SVCB, &[("mail", "A")]),
        ("alias.x.test", Rtype::HTTPS, &[("mail", "A")]),
        ("chain.x.test", Rtype::HTTPS, &[("own", "A"), ("own", "AAAA"), ("own", "HTTPS")]),
        ("other.x.test", Rtype::SVCB, &[("own", "A"), ("own", "AAAA")]),
        ("own.x.test", Rtype::HTTPS, &[("own", "A"), ("own", "AAAA")]),
        ("to.x.test", Rtype::HTTPS, &[("own", "A"), ("own", "AAAA")]),
        ("gone.x.test", Rtype::HTTPS, &[]),
        ("a.wild.x.test", Rtype::HTTPS, &[]),
        ("www.child.x.test", Rtype::A, &[("ns.child", "A")]),
        ("own.x.test", Rtype::A, &[]),
        ("nowhere.x.test", Rtype::MX, &[]),
    ] {
        let response = ask(&snapshot, owner, rtype, PLAIN);
        assert_eq!(addresses(&response), set(expected), "{owner} {rtype}");
        let signed = ask(&snapshot, owner, rtype, TCP);
        let rrsigs = signed.additional.iter().filter(|one| Rtype(one.rtype) == Rtype::RRSIG).count();
        let glue = owner.contains("child");
        assert_eq!(
            rrsigs,
            if glue { 0 } else { expected.len() },
            "{owner} {rtype}: signatures (RFC 4035 section 3.1.1)"
        );
    }
}

#[test]
fn answers_are_minimal() {
    let snapshot = served();
    for (owner, rtype) in
        [("own.x.test", Rtype::A), ("x.test", Rtype::SOA), ("x.test", Rtype::MX), ("x.test", Rtype::NS)]
    {
        let response = ask(&snapshot, owner, rtype, DNSSEC);
        assert!(
            !response.answer.is_empty() && response.authority.is_empty(),
            "{owner} {rtype}: no NS beside an answer"
        );
    }
}
