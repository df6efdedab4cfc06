//! Many zones in one daemon: found in the folder and named in the configuration, some under one key.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::house::{CONFIG, Daemon, House, wait_until};

const FOUND: usize = 300;
const NAMED: usize = 300;

fn zone(address: &str) -> String {
    format!("$TTL 300\n@ SOA ns1 hostmaster 1 7200 3600 1209600 300\n@ NS ns1\nns1 A 192.0.2.1\nwww A {address}\n")
}

fn many() -> House {
    let house = House::empty();
    std::fs::create_dir(house.path("named")).unwrap();
    let mut config = CONFIG.to_owned();
    for number in 0..FOUND {
        house.put(&format!("zones/f{number}.test.zone"), zone("192.0.2.2"));
    }
    for number in 0..NAMED {
        house.put(&format!("named/n{number}"), zone("192.0.2.3"));
        config += &format!("[zone.\"n{number}.test\"]\nfile = \"named/n{number}\"\nkey = \"shared.pem\"\n");
    }
    house.put("danelaw.toml", config);
    house
}

#[test]
fn all_are_served_signed_and_a_change_of_one_is_a_change_of_one() {
    let house = many();
    assert!(house.danelaw_by("danelaw.toml", &["keys", "generate", "n0.test"]).status.success());
    let daemon = house.start();
    for name in ["f0.test", "f299.test", "n0.test", "n299.test"] {
        assert_eq!(daemon.records(&format!("www.{name}"), "A").len(), 1, "{name}");
        assert!(daemon.signature(&format!("www.{name}"), "A").contains(name), "{name}");
    }
    let keys: Vec<Vec<String>> =
        ["n0.test", "n299.test"].map(|name| daemon.records(name, "DNSKEY")).into_iter().collect();
    assert_eq!(keys[0], keys[1], "one key");
    assert_ne!(keys[0], daemon.records("f0.test", "DNSKEY"));
    assert_eq!(std::fs::read_dir(house.path("keys")).unwrap().count(), FOUND + 1);

    let serials = |status: serde_json::Value| -> BTreeMap<String, u64> {
        let zones = status["zones"].as_array().unwrap().clone();
        zones.iter().map(|zone| (zone["zone"].as_str().unwrap().to_owned(), zone["serial"].as_u64().unwrap())).collect()
    };
    let before = serials(daemon.status());
    assert_eq!(before.len(), FOUND + NAMED);
    house.put("named/n7", zone("192.0.2.77"));
    wait_until("the change", || daemon.records("www.n7.test", "A") == ["192.0.2.77"]);
    house.put("zones/f7.test.zone", zone("192.0.2.78"));
    wait_until("the other change", || daemon.records("www.f7.test", "A") == ["192.0.2.78"]);
    house.put("zones/new.test.zone", zone("192.0.2.79"));
    wait_until("a new zone", || daemon.records("www.new.test", "A") == ["192.0.2.79"]);
    let mut after = serials(daemon.status());
    assert_eq!(after.remove("new.test."), Some(1));
    let changed: Vec<&String> = after.keys().filter(|zone| after[*zone] != before[*zone]).collect();
    assert_eq!(changed, ["f7.test.", "n7.test."]);

    let signature = daemon.signature("www.n5.test", "A");
    let daemon = daemon.restarted();
    assert_eq!(daemon.signature("www.n5.test", "A"), signature, "nothing is signed again");
    let mut again = serials(daemon.status());
    again.remove("new.test.");
    assert_eq!(again, after);
}

#[test]
fn a_shared_key_that_is_gone_is_never_replaced() {
    let house = House::empty();
    house.put("zones/a.test.zone", zone("192.0.2.2"));
    let config = format!("{CONFIG}[zone.\"a.test\"]\nkey = \"shared.pem\"\n");
    house.put("danelaw.toml", &config);
    let daemon = house.start();
    wait_until("the reason", || daemon.problems().contains("shared.pem"));
    assert_eq!(daemon.rcode("www.a.test", "A"), "SERVFAIL");
    assert!(!house.path("keys").exists(), "no key is made in its place");
    assert!(house.danelaw_by("danelaw.toml", &["keys", "generate", "a.test"]).status.success());
    assert!(house.path("keys/shared.pem").exists());
    wait_until("it is signed", || daemon.rcode("www.a.test", "A") == "NOERROR");

    // A zone that the store knows takes no other key, and its own back.
    let kept = house.read("keys/shared.pem");
    house.remove("keys/shared.pem");
    let other = crate::common::succeed("openssl", &["genpkey", "-algorithm", "ed25519"]);
    house.put("other.pem", other);
    let import = |file: &str| {
        let file = house.path(file).display().to_string();
        house.danelaw_by("danelaw.toml", &["keys", "import", &file, "--zone", "a.test"])
    };
    let refused = import("other.pem");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("takes a rollover"), "{refused:?}");
    house.put("own.pem", kept);
    let taken = import("own.pem");
    assert!(taken.status.success(), "{taken:?}");
    wait_until("no problem", || daemon.problems().is_empty());
}

const CATALOG: &str = "[catalog.\"catalog.test\"]\n[secondary.ns2]\naddresses = [\"192.0.2.200\"]\nnotify = false\n";

/// So many zones come and go: `DANELAW_ZONES=10000` is what is promised, and takes a release build's speed.
fn count() -> usize {
    std::env::var("DANELAW_ZONES").map_or(1000, |text| text.parse().unwrap())
}

/// Waits for what thousands of zones take; says how long that was.
#[track_caller]
fn wait_long(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(120), "never happened: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
    eprintln!("{what}: {:.1} s", begun.elapsed().as_secs_f64());
}

/// The address that each zone's `www` is served with.
fn addresses(daemon: &Daemon<'_>, zones: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for zone in zones {
        let rcode = daemon.rcode(&format!("www.{zone}"), "A");
        let address = daemon.records(&format!("www.{zone}"), "A").concat();
        *counted.entry(if address.is_empty() { rcode } else { address }).or_default() += 1;
    }
    counted
}

/// How many zones the catalog has.
fn members(daemon: &Daemon<'_>) -> u64 {
    daemon.status()["catalogs"][0]["members"].as_u64().unwrap()
}

fn zones_served(daemon: &Daemon<'_>) -> usize {
    daemon.status()["zones"].as_array().unwrap().iter().filter(|zone| !zone["serial"].is_null()).count()
}

#[test]
fn thousands_come_change_and_go_while_others_are_answered() {
    let (count, house) = (count(), House::empty());
    house.put("danelaw.toml", [CONFIG, CATALOG].concat());
    house.put("zones/stays.test.zone", zone("192.0.2.1"));
    let daemon = house.start();
    let file = |number: usize| format!("zones/z{number}.test.zone");
    let some = |to: usize| (0..to).step_by((count / 20).max(1)).map(|number| format!("z{number}.test"));
    let keys = |folder: &str| match std::fs::read_dir(house.path(folder)) {
        Ok(entries) => entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some()).count(),
        Err(_) => 0,
    };
    let dnskeys = |zones: &mut dyn Iterator<Item = String>| -> Vec<_> {
        zones.map(|zone| daemon.records(&zone, "DNSKEY")).collect()
    };

    (0..count).for_each(|number| house.put(&file(number), zone("192.0.2.2")));
    wait_long("all are served", || zones_served(&daemon) == count + 1);
    assert_eq!(members(&daemon), count as u64 + 1);
    assert_eq!(addresses(&daemon, some(count)), BTreeMap::from([("192.0.2.2".to_owned(), 20)]));
    let before = dnskeys(&mut some(count));

    (0..count).for_each(|number| house.put(&file(number), zone("192.0.2.3")));
    let expected = BTreeMap::from([("192.0.2.3".to_owned(), 20)]);
    wait_long("all changed", || addresses(&daemon, some(count)) == expected);

    (0..count).for_each(|number| house.remove(&file(number)));
    assert_eq!(daemon.rcode("www.stays.test", "A"), "NOERROR");
    wait_long("all are gone", || zones_served(&daemon) == 1);
    assert_eq!(addresses(&daemon, some(count)), BTreeMap::from([("REFUSED".to_owned(), 20)]));
    wait_long("their keys are kept aside", || keys("keys/removed") == count);
    assert_eq!(keys("keys"), 1);

    // They come back by the configuration's word, and are who they were.
    std::fs::create_dir(house.path("named")).unwrap();
    let mut config = [CONFIG, CATALOG].concat();
    for number in 0..count {
        house.put(&format!("named/z{number}"), zone("192.0.2.4"));
        config += &format!("[zone.\"z{number}.test\"]\nfile = \"named/z{number}\"\n");
    }
    house.put("danelaw.toml", &config);
    wait_long("all are back", || zones_served(&daemon) == count + 1);
    assert_eq!(addresses(&daemon, some(count)), BTreeMap::from([("192.0.2.4".to_owned(), 20)]));
    assert_eq!(dnskeys(&mut some(count)), before);
    assert_eq!((keys("keys"), keys("keys/removed")), (count + 1, 0));

    house.put("danelaw.toml", [CONFIG, CATALOG].concat());
    wait_long("all are gone again", || zones_served(&daemon) == 1);
    assert_eq!(members(&daemon), 1);
    assert_eq!(daemon.problems(), "");
}
