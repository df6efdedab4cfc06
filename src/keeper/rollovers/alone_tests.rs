//! Hosts without TLSA of ours: what is ordered for them is installed at once, and never where it may break what others publish.

use std::fs;

use super::tests::{HOST, config, phase, place};
use super::*;
use crate::act::acme::keys;
use crate::dane::certificate::KeyType;
use crate::dane::rollover::Phase;
use crate::keeper::Finished;
use crate::keeper::tests::{DAY, NOW, Place, ZONE, has_problem, name};

const WEB: &str = "www.example.test";

/// A certificate for hosts in a folder of those that are ordered.
fn lay(place: &Place, folder: &str, hosts: &[&str], key_type: KeyType) -> String {
    let key = rcgen::KeyPair::from_pem(&keys::make(key_type).unwrap()).unwrap();
    lay_with(place, folder, hosts, &key)
}

fn lay_with(place: &Place, folder: &str, hosts: &[&str], key: &rcgen::KeyPair) -> String {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(hosts).unwrap();
    let folder = place.path("state/certificates").join(folder);
    if folder.exists() {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    }
    let made = params.self_signed(key).unwrap();
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("privkey.pem"), key.serialize_pem()).unwrap();
    fs::write(folder.join("fullchain.pem"), made.pem()).unwrap();
    made.pem()
}

fn lies(place: &Place, host: &str) -> String {
    fs::read_to_string(place.path("deployed").join(host).join("fullchain.pem")).unwrap_or_default()
}

fn is_installed(place: &Place, host: &str, pem: &str) -> bool {
    lies(place, host).trim() == pem.trim()
}

/// `more`: of the certificate, and besides.
fn ordered(more: &str) -> String {
    format!("{}[acme]\nagree-to-terms = true\n[[certificate]]\nhost = \"{WEB}\"\n{more}", config())
}

#[test]
fn what_is_ordered_for_a_host_without_tlsa_is_installed_at_once_and_its_server_told_until_it_is() {
    let place = place();
    let config = ordered("[rollover]\ninstall-hook = [\"reload\"]\n");
    let lay_down = || lay(&place, WEB, &[WEB], KeyType::Ecdsa);
    let installed = || lies(&place, WEB);
    let drive = |keeper: &mut Keeper| {
        let ((nameservers, _), (presented, _), (hooks, ran)) = (mpsc::channel(9), mpsc::channel(9), mpsc::channel(9));
        keeper.drive(RolloverOrders { nameservers, presented, hooks });
        ran
    };
    let of_web = |ran: &mut mpsc::Receiver<hook::Order>| {
        let all = std::iter::from_fn(|| ran.try_recv().ok()).filter(|order| order.host == name(WEB));
        all.map(|order| order.version).collect::<Vec<_>>()
    };
    let ends = |keeper: &mut Keeper, version: &str, outcome, now| {
        let news = hook::News { host: name(WEB), version: version.to_owned(), outcome };
        keeper.hear_rollovers(vec![RolloverNews::Hook(news)], now);
        keeper.cycle(&Finished::All, now);
    };

    let first = lay_down();
    let mut keeper = place.keeper(&config, NOW);
    let mut ran = drive(&mut keeper);
    assert_eq!(installed().trim(), first.trim());
    keeper.cycle(&Finished::All, NOW + 1);
    let version = of_web(&mut ran).remove(0);
    ends(&mut keeper, &version, Err(hook::HookError::Missing("reload".to_owned())), NOW + 2);
    assert!(has_problem(&keeper, "www.example.test: the hook failed, and is run again"), "{:?}", keeper.problems);
    assert_eq!(of_web(&mut ran), [] as [String; 0]);
    keeper.cycle(&Finished::All, NOW + 62);
    assert_eq!(of_web(&mut ran), std::slice::from_ref(&version));
    ends(&mut keeper, &version, Ok(hook::Output::default()), NOW + 63);
    assert!(!has_problem(&keeper, "the hook failed"));
    keeper.cycle(&Finished::All, NOW + DAY);
    assert_eq!(of_web(&mut ran), [] as [String; 0]);
    drop(keeper);

    let mut keeper = place.keeper(&config, NOW + DAY);
    let mut ran = drive(&mut keeper);
    keeper.cycle(&Finished::All, NOW + DAY + 1);
    assert_eq!(of_web(&mut ran), [] as [String; 0], "it is known over a restart that it has run");
    let second = lay_down();
    keeper.cycle(&Finished::All, NOW + DAY + 60);
    assert_eq!(installed().trim(), second.trim());
    let presents =
        |pem: &str| keeper.presents(&Chain::from_pem(pem.as_bytes()).unwrap().leaf().fingerprint()).is_some();
    assert!(presents(&second) && !presents(&first));
    assert_eq!(of_web(&mut ran).len(), 1);
    assert_eq!(fs::read_dir(place.path("deployed/.versions").join(WEB)).unwrap().count(), 1, "the old version is gone");

    // While a zone can't be read nobody knows what is published.
    let third = lay_down();
    fs::write(place.path("zones/other.test.zone"), "@ SOA").unwrap();
    keeper.cycle(&Finished::All, NOW + DAY + 120);
    assert_ne!(installed().trim(), third.trim());
    place.zone("other.test", ZONE);
    keeper.cycle(&Finished::All, NOW + DAY + 180);
    assert_eq!(installed().trim(), third.trim());
    let why = keeper.rollovers(Some(&name(WEB))).unwrap_err();
    assert!(
        why.contains("danelaw publishes no TLSA of it, so its certificate is installed without a rollover"),
        "{why}"
    );
}

#[test]
fn renewals_of_one_key_type_go_on_where_the_other_never_comes() {
    let place = place();
    lay(&place, WEB, &[WEB], KeyType::Ecdsa);
    let mut keeper = place.keeper(&ordered("keys = [\"ecdsa\", \"rsa\"]\n"), NOW);
    let second = lay(&place, WEB, &[WEB], KeyType::Ecdsa);
    keeper.cycle(&Finished::All, NOW + DAY);
    assert!(is_installed(&place, WEB, &second));
}

#[test]
fn one_of_two_that_is_out_of_sight_is_not_taken_away() {
    let place = place();
    let config = ordered("keys = [\"ecdsa\", \"rsa\"]\n");
    lay(&place, WEB, &[WEB], KeyType::Ecdsa);
    let folder = format!("{WEB}_rsa");
    lay(&place, &folder, &[WEB], KeyType::Rsa);
    let keeper = place.keeper(&config, NOW);
    let before = lies(&place, WEB);
    drop(keeper);
    let chain = place.path("state/certificates").join(folder).join("fullchain.pem");
    fs::remove_file(&chain).unwrap();
    lay(&place, WEB, &[WEB], KeyType::Ecdsa);
    let keeper = place.keeper(&config, NOW + 60);
    assert!(has_problem(&keeper, "no certificate with an RSA key lies in its folder"), "{:?}", keeper.problems);
    assert_eq!(lies(&place, WEB), before);
    drop(keeper);
    let _keeper = place.keeper(&config.replace(", \"rsa\"", ""), NOW + 120);
    assert_ne!(lies(&place, WEB), before, "it is not wanted any more");
}

#[test]
fn beside_tlsa_of_others_only_the_same_key_is_installed() {
    let by_hand = format!("{ZONE}www A 192.0.2.80\n_443._tcp.www TLSA 3 1 1 {}\n", "ab".repeat(32));
    let elsewhere = "mail.elsewhere.example";
    for (host, zone, why) in [
        (WEB, by_hand, "TLSA stand in the zone file at _443._tcp.www.example.test"),
        (elsewhere, format!("{ZONE}@ MX 20 {elsewhere}.\n"), "may publish TLSA there"),
    ] {
        let place = place();
        place.zone("example.test", &zone);
        let key = rcgen::KeyPair::generate().unwrap();
        let first = lay_with(&place, host, &[host], &key);
        let mut keeper = place.keeper(&ordered("").replace(WEB, host), NOW);
        assert!(is_installed(&place, host, &first), "where nothing is installed nobody reads it yet");
        let same = lay_with(&place, host, &[host], &key);
        keeper.cycle(&Finished::All, NOW + 60);
        assert!(is_installed(&place, host, &same), "{:?}", keeper.problems);
        let other = lay(&place, host, &[host], KeyType::Ecdsa);
        keeper.cycle(&Finished::All, NOW + 120);
        assert!(is_installed(&place, host, &same));
        assert!(has_problem(&keeper, why), "{:?}", keeper.problems);
        fs::remove_file(place.path("deployed").join(host)).unwrap();
        keeper.cycle(&Finished::All, NOW + 180);
        assert!(is_installed(&place, host, &other), "as it says");
    }
}

#[test]
fn a_zone_without_a_good_version_holds_an_installation_up_and_that_is_said() {
    let place = place();
    let first = lay(&place, WEB, &[WEB], KeyType::Ecdsa);
    let mut keeper = place.keeper(&ordered(""), NOW);
    fs::write(place.path("zones/other.test.zone"), "@ SOA").unwrap();
    lay(&place, WEB, &[WEB], KeyType::Ecdsa);
    keeper.cycle(&Finished::All, NOW + DAY);
    assert!(is_installed(&place, WEB, &first));
    assert!(has_problem(
        &keeper,
        "www.example.test: its certificate is not installed as long as other.test has no good"
    ));
}

#[test]
fn what_another_certificate_covers_does_not_take_the_place_of_a_host_s_own() {
    let wild = "[[certificate]]\nhost = \"example.test\"\nnames = [\"*.example.test\"]\n";
    for host in [WEB, HOST] {
        let place = place();
        let own = lay(&place, host, &[host], KeyType::Ecdsa);
        let mut keeper = place.keeper(&ordered(wild).replace(WEB, host), NOW);
        assert!(is_installed(&place, host, &own));
        fs::create_dir_all(place.path("state/certificates/example.test")).unwrap();
        lay(&place, "example.test", &["example.test", "*.example.test"], KeyType::Ecdsa);
        keeper.cycle(&Finished::All, NOW + 60);
        assert!(is_installed(&place, host, &own));
        assert!(host == WEB || phase(&keeper) == Phase::Idle);
    }
}
