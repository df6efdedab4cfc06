//! `ZoneSigner`: what it keeps, and how the serial grows.

use danelaw::dns::dnssec::Algorithm;
use danelaw::dns::{Rtype, dnssec};
use danelaw::plugin::{PluginError, ZoneSigner};
use danelaw::zone::Contents;
use danelaw::zone::sign::SigningError;

use crate::zone;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

#[test]
fn the_serial_grows_with_a_change_and_stays_without() {
    let child = zone::signer(Algorithm::Ed25519);
    let contents = zone::parent(zone::DIGEST, &child.keys()[0]);
    let mut signer = zone::signer(Algorithm::EcdsaP256Sha256);
    assert_eq!(signer.refresh_at(), None);
    assert_eq!(signer.sign(&contents, NOW).unwrap().serial(), 7);
    assert_eq!(signer.sign(&contents, NOW + DAY).unwrap().serial(), 7, "nothing changed");
    let changed = zone::parent([1; 32], &child.keys()[0]);
    assert_eq!(signer.sign(&changed, NOW + DAY).unwrap().serial(), 8);

    let refresh_at = signer.refresh_at().unwrap();
    assert!(refresh_at > NOW + DAY && refresh_at < NOW + 15 * DAY);
    assert_eq!(signer.sign(&changed, refresh_at + 1).unwrap().serial(), 9, "signatures are renewed");
    assert!(signer.refresh_at().unwrap() > refresh_at);
}

#[test]
fn the_serial_goes_on_after_a_restart() {
    let mut signer = zone::signer(Algorithm::Ed25519).after(41);
    assert_eq!(signer.sign(&zone::child("child"), NOW).unwrap().serial(), 42);
    assert_eq!(signer.sign(&zone::child("child"), NOW).unwrap().serial(), 42);
}

#[test]
fn what_cannot_be_signed_changes_nothing() {
    let mut signer = zone::signer(Algorithm::EcdsaP256Sha256);
    signer.sign(&zone::child("child"), NOW).unwrap();
    let refresh_at = signer.refresh_at();
    let nothing = Contents::new(zone::name("child"));
    assert_eq!(signer.sign(&nothing, NOW).unwrap_err(), PluginError::Signing(SigningError::NoSoa));
    assert_eq!(signer.refresh_at(), refresh_at);
    assert_eq!(signer.sign(&zone::child("child"), NOW).unwrap().serial(), 7);
    let keyless = ZoneSigner::new(Vec::new()).sign(&zone::child("child"), NOW).unwrap_err();
    assert_eq!(keyless, PluginError::Signing(SigningError::NoKey));
}

#[test]
fn cds_can_be_left_out() {
    for (signer, published) in
        [(zone::signer(Algorithm::Ed25519), true), (zone::signer(Algorithm::Ed25519).without_cds(), false)]
    {
        let mut signer = signer;
        let zone = signer.sign(&zone::child("child"), NOW).unwrap();
        let apex = zone.published().tree.apex_node();
        assert_eq!(apex.has(Rtype::CDS), published);
        assert_eq!(apex.has(Rtype::CDNSKEY), published);
        let dnskey = apex.set(Rtype::DNSKEY).unwrap();
        let rdata = &dnskey.records[12..];
        assert_eq!(dnssec::key_tag(rdata), dnssec::Signer::key_tag(&signer.keys()[0]));
    }
}
