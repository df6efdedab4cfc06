//! Orders that end well.

use std::os::unix::fs::PermissionsExt;

use danelaw::acme::{Event, Status, Task};
use danelaw::config::{CertificateFolder, CertificateMode};
use danelaw::dane::certificate::KeyType;
use danelaw::observe::certificates::{Found, scan};
use danelaw::observe::layouts::Layout;

use super::common::{name, now};
use super::edge::{Edge, id, names, prove};
use super::house::{Daemon, HOST, House, ZONE, wait, wait_until};
use super::pebble::{Options, Pebble};

/// What the house's own scanner takes of the folder, which it has nothing to say about.
fn taken(edge: &Edge) -> Vec<Found> {
    let folder =
        CertificateFolder { path: edge.path("certificates"), mode: CertificateMode::NextKey, roots: Vec::new() };
    let scan = scan(&folder);
    assert_eq!((scan.problems, scan.older), (Vec::new(), Vec::new()));
    scan.certificates
}

/// Both key types are ordered, and taken by the scanner: each for all names, with its key and another one that comes next.
fn order_both(daemon: &Daemon<'_>, edge: &mut Edge) -> Vec<Found> {
    for kind in [KeyType::Ecdsa, KeyType::Rsa] {
        let (url, proofs) = edge.order(&id(kind));
        let held = edge.finish(daemon, &id(kind), &url, &proofs);
        assert_eq!(held.names, names());
        assert!(held.ari_id.is_some());
    }
    let found = taken(edge);
    let kinds: Vec<KeyType> = found.iter().map(|found| found.chain.leaf().key_type).collect();
    assert_eq!(kinds, [KeyType::Ecdsa, KeyType::Rsa]);
    let folders: Vec<_> = found.iter().map(|found| found.path.parent().unwrap().file_name().unwrap()).collect();
    assert_eq!(folders, [HOST, &format!("{HOST}_rsa")]);
    for found in &found {
        assert!(found.key_checked && found.layout == Layout::Certbot);
        assert!(names().iter().all(|name| found.chain.leaf().dns_names.contains(&name.to_host())));
        assert!(found.chain.covers(&name(&format!("any.{ZONE}"))));
        assert!(found.chain.certificates().len() > 1, "the issuer is there, too");
        assert_ne!(found.next_key.as_deref().unwrap(), found.chain.leaf().spki());
        for file in found.path.parent().unwrap().read_dir().unwrap() {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600, "{:?}", file.path());
        }
    }
    found
}

#[test]
fn host_apex_and_wildcard_are_ordered_with_both_key_types_and_renewed_with_the_next_key() {
    let house = House::good();
    let daemon = house.start();
    let pebble = Pebble::start(daemon.address, &Options { life: 6 * 86_400, ..Options::default() });
    let mut edge = Edge::at(&pebble);
    let first = order_both(&daemon, &mut edge);
    for found in &first {
        let leaf = found.chain.leaf();
        assert!((leaf.not_after - leaf.not_before).abs_diff(6 * 86_400) <= 1, "the life that was configured");
    }
    let second = order_both(&daemon, &mut edge);
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(second.chain.leaf().spki(), first.next_key.as_deref().unwrap());
        assert_ne!(second.next_key, first.next_key);
    }
}

#[test]
fn a_ca_that_refuses_four_nonces_of_ten_is_asked_until_it_has_issued() {
    let house = House::good();
    let daemon = house.start();
    let pebble = Pebble::start(daemon.address, &Options { refused_nonces: 40, ..Options::default() });
    let mut edge = Edge::at(&pebble);
    order_both(&daemon, &mut edge);
    // instant-acme takes three in a row for its own affair: of a hundred requests a few end a step.
    let (url, _) = edge.order(&id(KeyType::Ecdsa));
    wait_until("a step ends with a refused nonce", || {
        edge.done(&id(KeyType::Ecdsa), Task::AskStatus { url: url.clone() });
        edge.refused > 0
    });
}

#[test]
fn names_that_were_proven_before_need_no_proof() {
    let house = House::good();
    let daemon = house.start();
    let pebble = Pebble::start(daemon.address, &Options { reused_proofs: 100, ..Options::default() });
    let mut edge = Edge::at(&pebble);
    let id = id(KeyType::Ecdsa);
    let (url, proofs) = edge.order(&id);
    assert_eq!(proofs.len(), 3, "two of them at the apex: {proofs:?}");
    edge.finish(&daemon, &id, &url, &proofs);
    let (url, proofs) = edge.order(&id);
    assert_eq!(proofs, []);
    edge.finish(&daemon, &id, &url, &proofs);
}

#[test]
fn with_reuse_the_key_stays() {
    let house = House::good();
    let daemon = house.start();
    let pebble = Pebble::start(daemon.address, &Options { reused_proofs: 100, ..Options::default() });
    let mut edge = Edge::at(&pebble);
    let id = id(KeyType::Ecdsa);
    edge.issue(&daemon, &id);
    let before = taken(&edge);
    let (url, _) = edge.order(&id);
    edge.wait_for(&id, &url, &Status::Ready);
    edge.done(&id, Task::Finalize { url: url.clone(), names: names(), reuse: true });
    edge.wait_for(&id, &url, &Status::Valid);
    edge.done(&id, Task::Store { url, names: names() });
    let after = taken(&edge);
    assert_eq!(after[0].chain.leaf().spki(), before[0].chain.leaf().spki());
    assert_ne!(after[0].chain.leaf(), before[0].chain.leaf());
    assert_eq!(after[0].next_key, before[0].next_key);
}

#[test]
fn a_proof_that_is_not_there_makes_the_order_invalid_and_the_reason_names_the_record() {
    let house = House::good();
    let daemon = house.start();
    let pebble = Pebble::start(daemon.address, &Options::default());
    let mut edge = Edge::at(&pebble);
    let id = id(KeyType::Ecdsa);
    let (url, _) = edge.order(&id);
    edge.done(&id, Task::SayReady { url: url.clone() });
    let status = wait("the order is invalid", || match edge.done(&id, Task::AskStatus { url: url.clone() }) {
        Event::Status { status: Status::Invalid(problem), .. } => Some(problem),
        _ => None,
    });
    assert!(matches!(status.kind.as_deref(), Some("dns" | "unauthorized")), "{status:?}");
    assert!(status.detail.contains(ZONE) && status.ca_time.unwrap().abs_diff(now()) < 60, "{status:?}");
    // It is not repeated by itself, and a new one is another.
    assert!(matches!(
        edge.done(&id, Task::SayReady { url: url.clone() }),
        Event::Status { status: Status::Invalid(_), .. }
    ));
    let (again, proofs) = edge.order(&id);
    assert_ne!(again, url);
    edge.finish(&daemon, &id, &again, &proofs);
}

#[test]
fn a_certificate_is_revoked_once_and_revoking_it_again_is_no_failure() {
    let house = House::good();
    let daemon = house.start();
    let pebble = Pebble::start(daemon.address, &Options::default());
    let mut edge = Edge::at(&pebble);
    let id = id(KeyType::Ecdsa);
    edge.issue(&daemon, &id);
    let fingerprint = taken(&edge)[0].chain.leaf().fingerprint();
    let revoke = |reason| Task::Revoke { fingerprint: fingerprint.clone(), reason };
    let revoked = Event::Revoked { fingerprint: fingerprint.clone() };
    assert!(edge.fails(&id, revoke(2)).detail.contains("reason 2"));
    assert_eq!(edge.done(&id, revoke(1)), revoked);
    assert_eq!(edge.done(&id, revoke(1)), revoked);
    // What it is replaced by is laid down over it.
    edge.issue(&daemon, &id);
    assert_eq!(edge.done(&id, revoke(1)), revoked);
    let problem = edge.fails(&id, Task::Revoke { fingerprint: "00".repeat(32), reason: 0 });
    assert!(problem.detail.contains("does not lie here"), "{problem:?}");
    prove(&daemon, &[]);
}
