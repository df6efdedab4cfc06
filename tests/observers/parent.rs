//! The zone above, through resolvers that pass nothing on or lie, and at nameservers that say what they are told to: only what is
//! validated makes a zone trusted, and without a proof nothing is told of it.

use danelaw::config::Outside;
use danelaw::dns::dnssec::{dnskey, ds};
use danelaw::observe::outside::look;
use danelaw::observe::outside::zone::{above, ask};
use danelaw::observe::presented::Turns;
use danelaw::outside::zone::Expected;
use danelaw::outside::{Fault, Level, Wanted};

use super::common::name;
use super::liar::{AA, Liar, Query, SOA, record, soa_of};

const ZONE: &str = "lied.test";
const DS: u16 = 43;
const NS: u16 = 2;
const DNSKEY: u16 = 48;
const QR: u8 = 0x80;
/// Recursion available, as resolvers say.
const RA: u8 = 0x81;

#[tokio::test]
async fn a_resolver_that_gives_no_proof_is_not_believed() {
    type Answer = fn(&Query) -> Vec<u8>;
    let answers: [(&str, Answer); 5] = [
        ("no such name", |query| query.response(RA, 3, &[], &[])),
        ("no data", |query| query.response(RA, 0, &[], &[soa_of("test", 1)])),
        ("SERVFAIL", |query| query.response(RA, 2, &[], &[])),
        ("REFUSED", |query| query.response(RA, 5, &[], &[])),
        ("without signatures", |query| match query.qtype() {
            SOA => query.response(RA, 0, &[soa_of(".", 1), soa_of("test", 1), soa_of(ZONE, 1)], &[]),
            _ => query.response(RA, 0, &[], &[]),
        }),
    ];
    let key = dnskey(257, 13, &[7; 64]);
    // Where the root is trusted, where a zone above is, and an island.
    let anchors = [vec![], vec![(name("test"), key.clone())], vec![(name(ZONE), key.clone())]];
    for (what, answer) in answers {
        let liar = Liar::start(true, move |query| Some(answer(query)));
        for anchors in anchors.clone() {
            let outside = Outside { resolver: vec![liar.address], anchors, ..Outside::default() };
            let expected = Expected { keys: vec![key.clone()], ..Expected::default() };
            let wanted = Wanted::Zone { apex: name(ZONE), owners: Vec::new(), expected };
            let failure = look(&wanted, &outside, &Turns::default()).await.unwrap_err();
            assert_eq!(failure.fault.level(), Level::Unknown, "{what}: {failure:?}");
            assert!(!failure.why.is_empty(), "{what}");
        }
        assert!(!liar.asked().is_empty(), "{what}");
    }
}

#[tokio::test]
async fn the_ds_of_the_zone_is_taken_from_who_has_authority_and_the_rest_from_who_refers() {
    let right = ds(&name(ZONE), &dnskey(257, 13, &[7; 64]));
    let rdata = right.clone();
    let good = Liar::start(true, move |query| {
        Some(match query.qtype() {
            DS => query.response(AA, 0, &[record("other.test", DS, &[1; 36]), record(ZONE, DS, &rdata)], &[]),
            _ => query.response(
                QR,
                0,
                &[],
                &[record(ZONE, NS, name("ns.lied.test").as_wire()), record("x.test", NS, &[0])],
            ),
        })
    });
    let host = name("a.test");
    let said = above(&host, good.address, &name(ZONE)).await;
    assert_eq!((said.ds, said.label), (Ok(vec![right]), "a.test. 127.0.0.1".to_owned()));
    let referral = said.referral.unwrap().unwrap();
    assert_eq!(referral.ns.into_iter().collect::<Vec<_>>(), [name("ns.lied.test")]);
    let none = Liar::start(true, |query| Some(query.response(AA, 0, &[], &[soa_of("test", 1)])));
    let said = above(&host, none.address, &name(ZONE)).await;
    assert_eq!(said.ds, Ok(vec![]));
    assert!(said.referral.unwrap().unwrap().ns.is_empty(), "who has the zone above, and no delegation");
    let lame = Liar::start(true, |query| Some(query.response(RA, 0, &[], &[])));
    assert_eq!(above(&host, lame.address, &name(ZONE)).await.ds.unwrap_err().fault, Fault::Lame);
}

#[tokio::test]
async fn what_a_nameserver_answers_is_called_by_its_name() {
    type Answer = fn(&Query) -> Option<Vec<u8>>;
    let owner = name("_25._tcp.mail.lied.test");
    let answers: [(Answer, Fault); 5] = [
        (|query| Some(query.response(QR, 5, &[], &[])), Fault::Lame),
        (|query| Some(query.response(QR, 0, &[], &[soa_of(ZONE, 1)])), Fault::Lame),
        (|query| Some(query.response(AA, 0, &[], &[soa_of("test", 1)])), Fault::Lame),
        (|query| Some(query.response(AA, 2, &[], &[])), Fault::AnswersWrongly),
        (|query| Some(query.response(AA, 4, &[], &[])), Fault::AnswersWrongly),
    ];
    for (index, (answer, fault)) in answers.into_iter().enumerate() {
        let liar = Liar::start(true, answer);
        let asked = ask(liar.address, &name(ZONE), std::slice::from_ref(&owner)).await;
        assert_eq!(asked.udp.unwrap_err().fault, fault, "{index}");
        assert_eq!(asked.tcp.unwrap_err().fault, fault, "{index}");
    }
    let liar = Liar::start(false, |query| {
        Some(match query.qtype() {
            SOA | NS | DNSKEY => query.response(AA, 0, &[soa_of(ZONE, 7)], &[]),
            _ => query.response(AA, 2, &[], &[]),
        })
    });
    let asked = ask(liar.address, &name(ZONE), std::slice::from_ref(&owner)).await;
    let shown = asked.udp.unwrap();
    assert_eq!((shown.serial, shown.tlsa[&owner].as_ref().unwrap_err().fault), (7, Fault::AnswersWrongly));
    assert!(shown.denial.is_some() && shown.unsigned.contains("SOA") && shown.signed.is_empty());
    assert_eq!(asked.tcp.unwrap_err().fault, Fault::NameserverSilent, "it does not listen there");
}
