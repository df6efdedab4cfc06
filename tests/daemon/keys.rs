//! Keys and serials: made once, never replaced, never back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::house::{CONFIG, Daemon, HOST, House, ZONE, good_zone, wait_until};

fn key_files(house: &House) -> Vec<PathBuf> {
    let entries = fs::read_dir(house.path("keys")).map(|entries| entries.map(|entry| entry.unwrap().path()).collect());
    entries.unwrap_or_default()
}

/// Every RRSIG of a few RRsets, as dig prints them.
fn signatures(daemon: &Daemon<'_>) -> Vec<String> {
    [(ZONE, "SOA"), (ZONE, "DNSKEY"), (ZONE, "MX"), (HOST, "A"), (crate::house::TLSA, "TLSA")]
        .map(|(name, rtype)| daemon.signature(name, rtype))
        .to_vec()
}

#[test]
fn a_key_is_made_once_and_kept() {
    let house = House::good();
    let daemon = house.start();
    let files = key_files(&house);
    assert_eq!(files.len(), 1);
    assert_eq!(fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(house.path("keys")).unwrap().permissions().mode() & 0o777, 0o700);
    let dnskey = daemon.records(ZONE, "DNSKEY");
    assert!(dnskey.len() == 1 && dnskey[0].starts_with("257 3 13 "), "{dnskey:?}");
    assert_eq!(daemon.records(ZONE, "CDNSKEY"), dnskey);
    assert_eq!(daemon.records(ZONE, "CDS").len(), 1);
    let daemon = daemon.restarted();
    assert_eq!(daemon.records(ZONE, "DNSKEY"), dnskey);
    assert_eq!(key_files(&house), files);
}

#[test]
fn a_zone_whose_key_vanished_gets_no_new_one() {
    let house = House::good();
    let daemon = house.start();
    let (dnskey, address) = (daemon.records(ZONE, "DNSKEY"), daemon.signature(HOST, "A"));
    let file = key_files(&house).remove(0);
    fs::rename(&file, house.path("hidden")).unwrap();
    wait_until("the loss is said", || daemon.problems().contains("is gone from the key folder"));
    // What was signed stays in service; a change can't be signed, and waits.
    house.put_zone(&format!("{}new A 192.0.2.7\n", good_zone()));
    wait_until("the new file is read", || daemon.log().contains("9 records"));
    assert_eq!((daemon.records(ZONE, "DNSKEY"), daemon.signature(HOST, "A")), (dnskey.clone(), address));
    assert_eq!(daemon.rcode("new.example.org", "A"), "NXDOMAIN");
    assert!(daemon.status()["zones"][0]["stale"].as_str().unwrap().contains("is gone from the key folder"));

    // After a restart nothing is signed with another key: no answer is better than a bogus one.
    let daemon = daemon.restarted();
    assert_eq!(daemon.rcode(HOST, "A"), "SERVFAIL");
    assert_eq!(daemon.rcode(ZONE, "DNSKEY"), "SERVFAIL");
    assert!(daemon.problems().contains("is gone from the key folder"), "{}", daemon.problems());
    assert!(key_files(&house).is_empty());

    fs::rename(house.path("hidden"), &file).unwrap();
    wait_until("it is served again", || daemon.records(ZONE, "DNSKEY") == dnskey);
    assert_eq!(daemon.records("new.example.org", "A"), ["192.0.2.7"]);
    daemon.await_verdict("served all-held");
    assert_eq!(daemon.problems(), "");
}

#[test]
fn a_removed_zones_key_is_kept_and_signs_the_zone_when_it_is_back() {
    let house = House::good();
    house.put("zones/stays.test.zone", good_zone());
    let daemon = house.start();
    let dnskey = daemon.records(ZONE, "DNSKEY");
    let of_zone = |file: &PathBuf| file.file_name().unwrap().to_string_lossy().starts_with(ZONE);
    let file = key_files(&house).into_iter().find(of_zone).unwrap();
    let aside = house.path("keys/removed").join(file.file_name().unwrap());
    house.remove("zones/example.org.zone");
    wait_until("it is gone", || daemon.rcode(ZONE, "SOA") == "REFUSED");
    wait_until("its key is kept aside", || aside.exists() && !file.exists());
    assert_eq!(fs::metadata(&aside).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(aside.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    let events = daemon.status()["events"].to_string();
    assert!(events.contains("keys-set-aside") && daemon.log().contains("no zone uses it"), "{events}");
    assert_eq!(daemon.problems(), "");

    let list = |arguments: &[&str]| String::from_utf8(house.danelaw_by("danelaw.toml", arguments).stdout).unwrap();
    let listed = list(&["keys", "list", ZONE]);
    assert!(listed.contains("removed/example.org+013"), "{listed}");
    let made = house.danelaw_by("danelaw.toml", &["keys", "generate", ZONE]);
    assert!(String::from_utf8_lossy(&made.stderr).contains("comes back with the zone"), "{made:?}");

    // The zone is back while nothing runs: a power cut may come at any moment.
    daemon.kill();
    house.put_zone(&good_zone());
    let daemon = house.start();
    assert_eq!((daemon.records(ZONE, "DNSKEY"), file.exists(), aside.exists()), (dnskey, true, false));
    wait_until("no problem", || daemon.problems().is_empty());
}

#[test]
fn a_zone_is_signed_as_the_configuration_says() {
    let house = House::good();
    house.put("danelaw.toml", format!("{CONFIG}\n[signing]\nalgorithm = \"ed25519\"\ncds = false\n"));
    let daemon = house.start();
    assert!(daemon.records(ZONE, "DNSKEY")[0].starts_with("257 3 15 "));
    assert!(daemon.signature(HOST, "A").contains("A 15 3 3600 "));
    assert!(daemon.records(ZONE, "CDS").is_empty() && daemon.records(ZONE, "CDNSKEY").is_empty());
    let serial = daemon.serial();

    // By a reload too.
    house.put("danelaw.toml", format!("{CONFIG}\n[signing]\nalgorithm = \"ed25519\"\ndnskey-ttl = \"5m\"\n"));
    wait_until("CDS comes", || daemon.records(ZONE, "CDS").len() == 1);
    wait_until("the TTL comes", || daemon.signature(ZONE, "DNSKEY").contains("DNSKEY 15 2 300 "));
    assert!(daemon.serial() > serial);

    house.put("danelaw.toml", format!("{CONFIG}\n[zone.\"example.org\"]\nsigning = \"none\"\n"));
    wait_until("unsigned", || daemon.records(ZONE, "DNSKEY").is_empty());
    assert!(!daemon.dig(&["+dnssec", HOST, "A"]).contains("RRSIG"));
    assert_eq!(daemon.records(HOST, "A"), ["192.0.2.25"]);
    assert!(daemon.tlsa().is_empty());
}

#[test]
fn ephemeral_leaves_nothing_behind() {
    let house = House::good();
    let daemon = house.start_with(&["--ephemeral"]);
    assert_eq!(daemon.records(ZONE, "DNSKEY").len(), 1);
    assert_eq!(daemon.tlsa().len(), 1);
    assert!(daemon.records(ZONE, "CDS").is_empty() && daemon.records(ZONE, "CDNSKEY").is_empty());
    daemon.stop();
    assert!(!house.path("keys").exists() && !house.path("state").exists());
}

#[test]
fn the_serial_grows_with_every_change_and_never_goes_back() {
    let house = House::good();
    let daemon = house.start();
    let mut last = daemon.serial();
    let change = |daemon: &Daemon<'_>, number: u32, last: u32| {
        house.put_zone(&format!("{}new A 192.0.2.{number}\n", good_zone()));
        let address = format!("192.0.2.{number}");
        wait_until("the change is served", || daemon.records("new.example.org", "A") == [address.as_str()]);
        let serial = daemon.serial();
        assert!(serial > last, "{serial} after {last}");
        serial
    };
    last = change(&daemon, 1, last);
    last = change(&daemon, 2, last);
    daemon.kill();
    let daemon = house.start();
    assert_eq!(daemon.serial(), last, "nothing changed");
    last = change(&daemon, 3, last);
    let daemon = daemon.restarted();
    assert_eq!(daemon.serial(), last, "nothing changed");
    last = change(&daemon, 4, last);
    // A file that is changed while nothing runs; then back to what it was before.
    daemon.stop();
    house.put_zone(&good_zone());
    let daemon = house.start();
    assert!(daemon.serial() > last);
    last = daemon.serial();

    // A serial in the file that is ahead is followed, one that is behind is not.
    house.put_zone(&good_zone().replace("hostmaster 1 ", "hostmaster 2026112401 "));
    wait_until("the file's serial", || daemon.serial() == 2026112401);
    house.put_zone(&good_zone().replace("hostmaster 1 ", &format!("hostmaster {last} ")));
    last = change(&daemon, 5, 2026112401);
    assert!(last < 2026112500);
}

#[test]
fn a_restart_signs_nothing_again() {
    let house = House::good();
    let daemon = house.start();
    let before = (daemon.serial(), signatures(&daemon));
    let daemon = daemon.restarted();
    assert_eq!((daemon.serial(), signatures(&daemon)), before);
    daemon.kill();
    let daemon = house.start();
    assert_eq!((daemon.serial(), signatures(&daemon)), before);

    // Without the image everything is signed again, which is a change.
    daemon.stop();
    fs::remove_dir_all(house.path("state/images")).unwrap();
    let daemon = house.start();
    assert!(daemon.serial() > before.0);
    assert!(signatures(&daemon).iter().all(|signature| !before.1.contains(signature)));
}
