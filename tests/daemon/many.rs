//! Many zones in one daemon: found in the folder and named in the configuration, some under one key.

use std::collections::BTreeMap;

use crate::house::{CONFIG, House, wait_until};

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
