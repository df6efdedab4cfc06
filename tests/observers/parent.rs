//! The zone above, through resolvers that pass nothing on or lie, and at nameservers that say what they are told to: only what is
//! validated makes a zone trusted, and without a proof nothing is told of it.

use std::time::Duration;

use danelaw::config::Outside;
use danelaw::dane::prerequisites::Verdict;
use danelaw::dns::dnssec::{dnskey, ds};
use danelaw::observe::nameservers::{NotShown, ask_ds};
use danelaw::observe::parent::look;
use danelaw::outside::Trust;
use danelaw::outside::chain::judge;

use super::common::name;
use super::liar::{AA, Liar, Query, SOA, record, soa_of};

const ZONE: &str = "lied.test";
const DS: u16 = 43;
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
            let outside = Outside { resolver: vec![liar.address], anchors };
            let seen = look(&name(ZONE), &outside).await;
            assert!(matches!(seen.zone, Trust::Unknown(_)), "{what}: {seen:?}");
            let fact = judge(&name(ZONE), std::slice::from_ref(&key), &seen).fact;
            assert_eq!(fact.verdict, Verdict::Unknown, "{what}: {fact:?}");
            assert!(fact.evidence.contains("resolvers can't be asked") && !fact.help.is_empty(), "{what}: {fact:?}");
        }
        assert!(!liar.asked().is_empty(), "{what}");
    }
}

#[tokio::test]
async fn the_ds_of_the_zone_is_taken_from_who_has_authority() {
    let limit = Duration::from_secs(2);
    let right = ds(&name(ZONE), &dnskey(257, 13, &[7; 64]));
    let rdata = right.clone();
    let good = Liar::start(true, move |query| {
        assert_eq!(query.qtype(), DS);
        Some(query.response(AA, 0, &[record("other.test", DS, &[1; 36]), record(ZONE, DS, &rdata)], &[]))
    });
    assert_eq!(ask_ds(good.address, &name(ZONE), limit).await, Ok(vec![right]));
    let none = Liar::start(true, |query| Some(query.response(AA, 0, &[], &[soa_of("test", 1)])));
    assert_eq!(ask_ds(none.address, &name(ZONE), limit).await, Ok(vec![]));
    let lame = Liar::start(true, |query| Some(query.response(RA, 0, &[], &[])));
    assert_eq!(ask_ds(lame.address, &name(ZONE), limit).await, Err(NotShown::NotAuthoritative));
}
