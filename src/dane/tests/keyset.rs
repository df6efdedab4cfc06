//! Renewals: the new record at once, the old one until the caches have forgotten the set without the new one.

use std::collections::BTreeSet;

use super::{chain, pem};
use crate::dane::elapsed::STRIDE;
use crate::dane::keyset::{Keyset, Sighting, step};

const RETENTION: u64 = 86_400;
const START: u64 = 1_800_000_000;

fn sighting(pem: &str, source: &str) -> Sighting {
    Sighting { chain: chain(pem), source: source.to_owned(), presented: false }
}

fn see(keyset: Keyset, seen: &[Sighting], now: u64) -> Keyset {
    // Whatever is remembered goes through the store.
    let stored = serde_json::to_string(&keyset).expect("serialises");
    let keyset = serde_json::from_str(&stored).expect("reads back");
    step(keyset, &seen.iter().collect::<Vec<_>>(), &BTreeSet::new(), Some(RETENTION), now).0
}

fn counts(keyset: &Keyset) -> (usize, usize) {
    (keyset.current().count(), keyset.known.len())
}

#[test]
fn after_a_renewal_the_old_one_stays_for_the_retention() {
    let new = [sighting(pem!("p256-next"), "mail.pem")];
    let keyset = see(Keyset::default(), &[sighting(pem!("p256"), "mail.pem")], START);
    assert_eq!(counts(&keyset), (1, 1));
    let mut keyset = see(keyset, &new, START + 10);
    assert_eq!(counts(&keyset), (1, 2));
    let mut now = START + 10;
    let mut last = now;
    while let Some(next) = keyset.next(RETENTION) {
        assert!(next - now <= STRIDE);
        (last, now) = (now, next);
        keyset = see(keyset, &new, now);
    }
    assert_eq!(counts(&keyset), (1, 1));
    assert_eq!(now, START + 10 + RETENTION);
    assert!(last < now);
    assert_eq!(keyset.known[0].chain, new[0].chain);
}

#[test]
fn nothing_seen_and_half_written_files_replace_nothing() {
    let old = sighting(pem!("rsa"), "certs/rsa.pem");
    let keyset = see(Keyset::default(), std::slice::from_ref(&old), START);
    let gone = see(keyset.clone(), &[], START + 10 * RETENTION);
    assert_eq!(counts(&gone), (1, 1));
    assert!(!gone.known[0].present);
    // A renewal in another file would replace it, but its own file is being written.
    let new = sighting(pem!("rsa-next"), "other.pem");
    let waiting = BTreeSet::from(["certs/rsa.pem".to_owned()]);
    // Or the folder that it is in is refused.
    for waiting in [waiting, BTreeSet::from(["certs".to_owned()])] {
        let (held, _) = step(keyset.clone(), &[&new], &waiting, Some(RETENTION), START + 1);
        assert_eq!(counts(&held), (2, 2));
    }
    let (renewed, changes) = step(keyset, &[&new], &BTreeSet::new(), Some(RETENTION), START + 1);
    assert_eq!(counts(&renewed), (1, 2));
    assert_eq!((changes.added.len(), changes.replaced.len()), (1, 1));
}

#[test]
fn rsa_and_ecdsa_are_current_together_and_one_gone_stays() {
    let both = [sighting(pem!("rsa"), "rsa.pem"), sighting(pem!("p256"), "ec.pem")];
    let keyset = see(Keyset::default(), &both, START);
    assert_eq!(counts(&keyset), (2, 2));
    let keyset = see(keyset, &both[..1], START + 100 * RETENTION);
    assert_eq!(counts(&keyset), (2, 2));
    // Under the same path the key type may change.
    let keyset = see(keyset, &[sighting(pem!("ed25519"), "rsa.pem")], START + 100 * RETENTION);
    assert_eq!(counts(&keyset), (2, 3));
}

#[test]
fn a_certificate_that_comes_back_is_current_again() {
    let (old, new) = (sighting(pem!("p256"), "mail.pem"), sighting(pem!("p256-next"), "mail.pem"));
    let keyset = see(Keyset::default(), std::slice::from_ref(&old), START);
    let keyset = see(keyset, std::slice::from_ref(&new), START + 1);
    let (keyset, changes) = step(keyset, &[&old], &BTreeSet::new(), Some(RETENTION), START + 2);
    assert_eq!((changes.returned, changes.replaced.len()), (vec![old.chain.leaf().fingerprint()], 1));
    assert_eq!(keyset.current().next().expect("one").chain, old.chain);
    assert_eq!(counts(&keyset), (1, 2));
}

#[test]
fn clock_steps_never_shorten_the_retention() {
    let new = [sighting(pem!("p256-next"), "mail.pem")];
    let keyset = see(Keyset::default(), &[sighting(pem!("p256"), "mail.pem")], START);
    let mut keyset = see(keyset, &new, START);
    for now in [START + 60, 0, START + 120, u64::MAX, START] {
        keyset = see(keyset, &new, now);
        assert_eq!(counts(&keyset), (1, 2), "{now}");
    }
}

#[test]
fn the_operator_can_forget_one() {
    let mut keyset = see(Keyset::default(), &[sighting(pem!("p256"), "mail.pem")], START);
    let fingerprint = keyset.known[0].chain.leaf().fingerprint();
    assert!(keyset.forget(&fingerprint));
    assert!(!keyset.forget(&fingerprint));
}

#[test]
fn a_chain_out_of_order_is_the_same_one_after_a_restart() {
    let shuffled = [pem!("intermediate"), pem!("leaf")].concat();
    let seen = [sighting(&shuffled, "mail.pem")];
    let keyset = see(see(Keyset::default(), &seen, START), &seen, START + 1);
    assert_eq!(counts(&keyset), (1, 1));
    assert!(!keyset.known[0].chain.warnings(0).is_empty());
}
