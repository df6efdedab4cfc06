//! A zone that was signed elsewhere, in the hands of the daemon; and the same zone signed here with NSEC3.

use danelaw::dns::dnssec::Algorithm;
use danelaw::zone::{Denial, print};

use crate::common;
use crate::house::{CONFIG, HOST, House, TLSA, ZONE, good_zone, wait_until};

fn presigned(house: &House) {
    signing(house, "presigned");
}

fn signing(house: &House, mode: &str) {
    house.put("danelaw.toml", format!("{CONFIG}\n[zone.\"example.org\"]\nsigning = \"{mode}\"\n"));
}

/// The good zone as another signer would hand it over.
fn signed(denial: Denial) -> String {
    print::published(&common::sign_denying(&common::zone(ZONE, &good_zone()), Algorithm::Ed25519, denial))
}

#[test]
fn a_pre_signed_zone_is_served_as_it_stands_and_a_broken_one_never_replaces_it() {
    let house = House::good();
    presigned(&house);
    let good = signed(Denial::Nsec3(Default::default()));
    house.put_zone(&good);
    let daemon = house.start();
    let signature = daemon.signature(HOST, "A");
    let last = signature.split_whitespace().last().unwrap();
    assert!(good.contains(last), "the file's own signature is served: {signature}");
    assert_eq!(daemon.serial(), 1, "with the file's serial");
    let absent = daemon.dig(&["+dnssec", "nowhere.example.org", "A"]);
    assert!(absent.contains("NXDOMAIN") && absent.contains("NSEC3"), "{absent}");
    assert!(!house.path("keys").exists() || house.path("keys").read_dir().unwrap().next().is_none(), "no key is made");

    assert_eq!(daemon.verdict(), "withheld presigned");
    assert_eq!(daemon.finding("dnssec"), "held");
    let text = String::from_utf8(house.danelaw(&["explain", HOST]).stdout).unwrap();
    assert!(text.contains(&format!("add this before the zone is signed: {TLSA}")), "{text}");
    assert!(daemon.tlsa().is_empty());

    house.put_zone(&good.replace("\tA\t192.0.2.25", "\tA\t192.0.2.26"));
    wait_until("status tells of the broken signature", || daemon.problems().contains("is not of these records"));
    assert_eq!(daemon.records(HOST, "A"), ["192.0.2.25"]);
    // Nor does a restart lose the last good version.
    let daemon = daemon.restarted();
    assert_eq!(daemon.records(HOST, "A"), ["192.0.2.25"]);
    assert_eq!(daemon.signature(HOST, "A"), signature);

    house.put_zone(&signed(Denial::Nsec).replace("1 14400", "2 14400"));
    wait_until("the serial was changed after signing", || daemon.problems().contains("the SOA records"));
    house.put_zone(&signed(Denial::Nsec));
    wait_until("a good one is taken", || daemon.signature(HOST, "A") != signature);
    assert_eq!(daemon.problems(), "");
}

#[test]
fn what_was_served_unchecked_does_not_count_as_checked() {
    let house = House::good();
    signing(&house, "none");
    house.put_zone(&signed(Denial::Nsec).replace("\tA\t192.0.2.25", "\tA\t192.0.2.26"));
    let daemon = house.start();
    assert_eq!(daemon.records(HOST, "A"), ["192.0.2.26"]);
    presigned(&house);
    let is_told = || daemon.problems().contains("is not of these records");
    wait_until("the broken signature is told", is_told);
    // Nor does a restart take the image for what was checked.
    let daemon = daemon.restarted();
    assert!(daemon.problems().contains("is not of these records"), "{}", daemon.problems());
}

#[test]
fn what_was_signed_here_goes_on_so_until_it_comes_signed() {
    let house = House::good();
    let daemon = house.start();
    let signature = daemon.signature(HOST, "A");
    presigned(&house);
    wait_until("the missing signatures are told", || daemon.problems().contains("no DNSKEY"));
    assert_eq!(daemon.signature(HOST, "A"), signature, "not without any, under a DS");
    house.put_zone(&signed(Denial::Nsec));
    wait_until("it comes signed", || daemon.problems().is_empty());
    assert!(![signature, String::new()].contains(&daemon.signature(HOST, "A")));
}

#[test]
fn a_zone_without_any_good_version_is_servfail() {
    let house = House::good();
    presigned(&house);
    let daemon = house.start();
    assert_eq!(daemon.rcode(HOST, "A"), "SERVFAIL");
    assert!(daemon.problems().contains("no DNSKEY"), "{}", daemon.problems());
}

#[test]
fn signatures_that_are_about_to_expire_are_told() {
    let house = House::good();
    presigned(&house);
    let (key, _) = danelaw::keys::ZoneKey::generate(Algorithm::Ed25519).unwrap();
    // Twelve days ago they were good for two weeks less a day at most.
    let then = common::now() - 12 * 86_400;
    let zone = common::zone(ZONE, &good_zone());
    let published = common::sign_with(&zone, &[&key], None, then, 1);
    house.put_zone(&print::published(&published));
    let daemon = house.start();
    assert!(daemon.problems().contains("it is signed elsewhere: sign it again there"), "{}", daemon.problems());
    assert_eq!(daemon.records(HOST, "A"), ["192.0.2.25"]);
}

#[test]
fn the_configuration_chooses_nsec3_and_changes_back() {
    let house = House::good();
    house.put("danelaw.toml", format!("{CONFIG}\n[signing]\ndenial = \"nsec3\"\nnsec3-opt-out = true\n"));
    let daemon = house.start();
    assert_eq!(daemon.records(ZONE, "NSEC3PARAM"), ["1 0 0 -"]);
    let absent = || daemon.dig(&["+dnssec", "nowhere.example.org", "A"]);
    assert!(absent().contains("NSEC3 1 1 0 -"), "{}", absent());
    let checked = String::from_utf8(house.danelaw_by("danelaw.toml", &["check"]).stdout).unwrap();
    assert!(checked.contains("nsec3-opt-out leaves"), "{checked}");
    house.put("danelaw.toml", CONFIG);
    wait_until("NSEC again", || absent().contains("IN\tNSEC\t"));
    assert_eq!(daemon.records(ZONE, "NSEC3PARAM"), Vec::<String>::new());
    assert_eq!(daemon.verdict(), "served all-held");
}
