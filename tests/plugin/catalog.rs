//! `DaneZone` in a `Catalog`: what comes through whole, what validates, and what Catalog is known to change.

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
fn an_answer_section_is_what_the_handler_gives() {
    let (catalog, handler) = (Served::by_catalog(), Served::by_handler());
    // Both sign with keys of their own; unsigned answers are alike.
    let unsigned = |served: &Served, owner, rtype| {
        let query = query(&zone::wire(owner), rtype, None);
        parse(&client::tcp(served.address, &query))
    };
    for (owner, rtype) in crate::handler::questions() {
        let is_key = matches!(rtype, Rtype::DNSKEY | Rtype::CDS | Rtype::CDNSKEY | Rtype::RRSIG | Rtype::DS);
        if is_key || (owner, rtype) == ("secure", Rtype::NS) || (owner, rtype) == ("child", Rtype::NS) {
            continue;
        }
        let (ours, whole) = (unsigned(&catalog, owner, rtype), unsigned(&handler, owner, rtype));
        assert_eq!(ours.sections[0], whole.sections[0], "{owner} {rtype:?}");
        assert_eq!(ours.question, whole.question);
        if whole.sections[0].is_empty() && whole.rcode() != 5 {
            assert_eq!(ours.sections[1], whole.sections[1], "the SOA's TTL is MINIMUM: {owner} {rtype:?}");
            assert_eq!(ours.rcode(), whole.rcode(), "{owner} {rtype:?}");
        }
    }
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

/// What the documentation of `DaneZone` warns of. A failure here means that a newer hickory does better: then say so there.
#[test]
fn what_catalog_spoils_is_as_documented() {
    let served = Served::by_catalog();
    let referral = ask(&served, "www.secure", Rtype::A);
    assert!(referral.authoritative(), "AA stands on a referral");
    let moved = ask(&served, "secure", Rtype::NS);
    assert_eq!(moved.types(0), [Rtype::NS, Rtype::DS, Rtype::RRSIG], "a referral becomes an answer");
    let chain = ask(&served, "gone", Rtype::A);
    assert_eq!(
        (chain.rcode(), chain.types(0)),
        (0, vec![Rtype::CNAME, Rtype::RRSIG]),
        "NXDOMAIN behind a CNAME is lost"
    );
    assert!(chain.sections[1].is_empty());
    let soa = ask(&served, "@", Rtype::SOA);
    assert_eq!(soa.types(1), [Rtype::NS, Rtype::RRSIG], "an SOA has the NS beside it");
    assert_eq!(soa.opt.unwrap().class, DO.payload, "the client's payload size is echoed");
    let cut =
        parse(&client::udp(served.address, &query(&zone::wire("big"), Rtype::TXT, Some(Opt { payload: 1232, ..DO }))));
    assert!(cut.truncated() && !cut.sections[0].is_empty(), "an RRset is cut");
    let mut chaos = query(&zone::wire("mail"), Rtype::A, None);
    *chaos.last_mut().unwrap() = 3;
    let chaos = parse(&client::udp(served.address, &chaos));
    assert!(chaos.rcode() == 5 && chaos.authoritative(), "AA stands on REFUSED");
    let mut trailing = query(&zone::wire("mail"), Rtype::A, None);
    trailing.push(0);
    assert_eq!(parse(&client::udp(served.address, &trailing)).rcode(), 5, "for FORMERR");
    let too_long = &crate::handler::long_names()[2];
    let too_long = parse(&client::udp(served.address, &query(too_long.as_wire(), Rtype::TXT, Some(DO))));
    assert_eq!((too_long.rcode(), too_long.types(0)), (0, vec![Rtype::DNAME, Rtype::RRSIG]), "YXDOMAIN is lost");
    let island = ask(&served, "island", Rtype::DS);
    let denial = [Rtype::NS, Rtype::RRSIG, Rtype::SOA, Rtype::RRSIG, Rtype::NSEC, Rtype::RRSIG];
    assert_eq!((island.rcode(), island.types(0), island.types(1)), (0, vec![], denial.to_vec()));
    assert_eq!(island.sections[1][0].owner, zone::wire("@"), "the parent denies the DS");
    served.snapshot.store(danelaw::zone::Snapshot::default());
    assert_eq!(ask(&served, "@", Rtype::SOA).rcode(), 2, "a zone that the snapshot lacks");
}
