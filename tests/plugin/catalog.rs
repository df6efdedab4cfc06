//! `DaneZone` in a `Catalog`: what comes through whole, and what validates. What Catalog changes is held in `tests/differential`.

use danelaw::dns::Rtype;

use crate::client::{self, Opt, Parsed, parse, query};
use crate::{Served, zone};

const DO: Opt = Opt { payload: 4096, dnssec_ok: true, version: 0 };

fn ask(served: &Served, owner: &str, rtype: Rtype) -> Parsed {
    parse(&client::udp(served.address, &query(&zone::wire(owner), rtype, Some(DO))))
}

#[test]
fn each_kind_of_answer_has_its_records_and_proofs() {
    use danelaw::dns::Rtype as T;
    let served = Served::by_catalog();
    let (soa, nsec, sig) = (T::SOA, T::NSEC, T::RRSIG);
    for (owner, rtype, rcode, answer, authority) in [
        ("_25._tcp.mail", T::TLSA, 0, vec![T::TLSA, sig], vec![]),
        ("mail", T::TXT, 0, vec![], vec![nsec, sig, soa, sig]),
        ("_tcp.mail", T::A, 0, vec![], vec![nsec, sig, soa, sig]),
        ("nowhere", T::A, 3, vec![], vec![nsec, sig, nsec, sig, soa, sig]),
        ("www", T::A, 0, vec![T::CNAME, sig, T::A, sig], vec![]),
        ("zz.wild", T::A, 0, vec![], vec![nsec, sig, nsec, sig, soa, sig]),
        ("host.old", T::A, 0, vec![T::DNAME, sig, T::CNAME, T::A, sig], vec![]),
        ("secure", T::DS, 0, vec![T::DS, sig], vec![]),
        ("child", T::DS, 0, vec![T::DS, sig], vec![]),
        ("insecure", T::DS, 0, vec![], vec![nsec, sig, soa, sig]),
        ("www.secure", T::A, 0, vec![], vec![T::NS, T::DS, sig]),
        ("www.insecure", T::A, 0, vec![], vec![T::NS, nsec, sig]),
        ("www.child", T::A, 0, vec![T::A, sig], vec![]),
        ("example.net.", T::A, 5, vec![], vec![]),
        ("@", T::AXFR, 5, vec![], vec![]),
    ] {
        let sent = ask(&served, owner, rtype);
        let got = (sent.rcode(), sent.types(0), sent.types(1));
        assert_eq!(got, (rcode, answer, authority), "{owner} {rtype:?}");
    }
    let wildcard = ask(&served, "any.wild", Rtype::TXT);
    assert_eq!(wildcard.types(0), [Rtype::TXT, Rtype::RRSIG]);
    assert!(wildcard.types(1).contains(&Rtype::NSEC), "that nothing is nearer: {wildcard:?}");
    let referral = ask(&served, "www.secure", Rtype::A);
    assert_eq!(referral.types(2), [Rtype::A], "glue");
}

#[test]
fn delv_validates_through_the_catalog() {
    let served = Served::by_catalog();
    for (name, rtype, wanted) in [
        ("_25._tcp.mail", "TLSA", "; fully validated"),
        ("big", "TXT", "; fully validated"),
        ("mail", "TXT", "; negative response, fully validated"),
        ("nowhere", "A", "; negative response, fully validated"),
        ("any.wild", "TXT", "; fully validated"),
        ("any.wild", "A", "; negative response, fully validated"),
        ("star", "TXT", "; fully validated"),
        ("host.old", "A", "; fully validated"),
        ("insecure", "DS", "; negative response, fully validated"),
        ("www.child", "A", "; fully validated"),
        ("no.child", "A", "; negative response, fully validated"),
        ("island", "DS", "; negative response, fully validated"),
        ("www.island", "A", "; unsigned answer"),
    ] {
        let name = format!("{name}.{}", zone::APEX);
        let output = client::delv(served.address, zone::APEX, served.dnskey(), &[&name, rtype]);
        assert!(output.contains(wanted), "{name} {rtype}: {output}");
    }
}

#[test]
fn a_zone_that_the_snapshot_lost_is_servfail() {
    let served = Served::by_catalog();
    assert_eq!(ask(&served, "@", Rtype::SOA).rcode(), 0);
    served.snapshot.store(danelaw::zone::Snapshot::default());
    assert_eq!(ask(&served, "@", Rtype::SOA).rcode(), 2);
}
