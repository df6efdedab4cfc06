//! Knot and BIND consume the catalogs that danelaw produces: their members come, go, and change hands there without a word to them.

use std::path::Path;

use super::common::program::Program;
use super::common::{free_port, name, run, succeed, wire};
use super::house::{CONFIG, Daemon, House, wait_until};
use super::secondaries::{KEY, key};

const CATALOG: &str = "catalog.test";
const OTHER: &str = "other.test";
const MEMBERS: &str = "[catalog.\"catalog.test\"]\n";

fn put(house: &House, zone: &str, address: &str) {
    let head = "$TTL 300\n@ SOA ns h 1 7200 3600 1209600 300\n@ NS ns\nns A 192.0.2.1\n";
    house.put(&format!("zones/{zone}.zone"), format!("{head}www A {address}\n"));
}

/// A house with three zones, its secret, and its configuration but for the catalogs.
fn house(ports: &[u16]) -> (House, String, String) {
    let house = House::empty();
    let secret = key(&house);
    for zone in ["a.test", "b.test", "c.test"] {
        put(&house, zone, "192.0.2.10");
    }
    // Each has an address of its own, so that it is known who took what: Knot tells nobody a catalog's SOA over UDP.
    let addresses = ports.iter().enumerate().map(|(index, port)| format!("\"127.0.0.{}:{port}\"", 2 - index));
    let addresses: Vec<String> = addresses.collect();
    let secondary = format!("[secondary.peers]\naddresses = [{}]\nkey = \"{KEY}\"\n", addresses.join(", "));
    (house, secret, format!("tsig-keys = [\"keys/{KEY}.key\"]\n{CONFIG}\n{secondary}"))
}

fn knot(port: u16, folder: &Path, from: u16, secret: &str) -> String {
    let folder = folder.display();
    format!(
        "server:\n  listen: 127.0.0.2@{port}\n  rundir: \"{folder}\"\n  udp-workers: 1\n  tcp-workers: 1\n  \
         background-workers: 1\ndatabase:\n  storage: \"{folder}\"\nlog:\n  - target: stderr\n    any: info\n\
         key:\n  - id: {KEY}\n    algorithm: hmac-sha256\n    secret: {secret}\n\
         remote:\n  - id: primary\n    address: 127.0.0.1@{from}\n    via: 127.0.0.2\n    key: {KEY}\n\
         acl:\n  - id: anybody\n    address: 127.0.0.1\n    action: transfer\n  - id: primary\n    key: {KEY}\n    \
         action: notify\n\
         template:\n  - id: default\n    storage: \"{folder}\"\n    master: primary\n    acl: primary\n  - id: open\n    \
         storage: \"{folder}\"\n    master: primary\n    acl: [anybody, primary]\n\
         zone:\n  - domain: {CATALOG}\n    catalog-role: interpret\n    catalog-template: [default, open]\n    acl: [anybody, primary]\n  \
         - domain: {OTHER}\n    catalog-role: interpret\n    catalog-template: [default, open]\n    acl: [anybody, primary]\n"
    )
}

fn bind(port: u16, folder: &Path, from: u16, secret: &str) -> String {
    let folder = folder.display();
    let primary = format!("127.0.0.1 port {from} key {KEY};");
    let consumed = |zone: &str| format!("zone \"{zone}\" default-primaries {{ {primary} }} min-update-interval 1;");
    let zone =
        |zone: &str| format!("zone \"{zone}\" {{ type secondary; file \"{zone}.db\"; primaries {{ {primary} }}; }};\n");
    format!(
        "options {{\n  directory \"{folder}\";\n  listen-on port {port} {{ 127.0.0.1; }};\n  listen-on-v6 {{ none; }};\n  \
         pid-file none;\n  session-keyfile none;\n  recursion no;\n  dnssec-validation no;\n  notify no;\n  \
         allow-new-zones yes;\n  allow-transfer {{ any; }};\n  catalog-zones {{ {} {} }};\n}};\ncontrols {{ }};\n\
         key \"{KEY}\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n{}{}",
        consumed(CATALOG),
        consumed(OTHER),
        zone(CATALOG),
        zone(OTHER)
    )
}

struct Consumer {
    name: &'static str,
    at: &'static str,
    port: u16,
    program: Program,
}

impl Consumer {
    fn dig(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let output = run("dig", &[&[self.at, "-p", &port, "+tries=1", "+time=2"], arguments].concat());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn address(&self, zone: &str) -> String {
        self.dig(&["+short", &format!("www.{zone}"), "A"]).trim().to_owned()
    }

    /// Whether it knows of a zone, up to date or not.
    fn has(&self, zone: &str) -> bool {
        !self.dig(&[zone, "SOA"]).contains("REFUSED")
    }
}

fn consumers(daemon: &Daemon<'_>, secret: &str, ports: [u16; 2]) -> Vec<Consumer> {
    let start = |(name, at), arguments: &[&str], port, config: fn(u16, &Path, u16, &str) -> String| {
        let folder = tempfile::tempdir().unwrap();
        let config = config(port, folder.path(), daemon.address.port(), secret);
        Consumer { name, at, port, program: Program::start(folder, name, arguments, &config) }
    };
    vec![
        start(("knotd", "@127.0.0.2"), &["-c"], ports[0], knot),
        start(("named", "@127.0.0.1"), &["-g", "-n", "1", "-c"], ports[1], bind),
    ]
}

#[track_caller]
fn all(consumers: &mut [Consumer], what: &str, is_so: impl Fn(&Consumer) -> bool) {
    for consumer in consumers {
        wait_until(&format!("{}: {what}", consumer.name), || is_so(consumer));
        assert!(consumer.program.is_running(), "{}", consumer.program.log());
    }
}

/// The catalog's members, by an AXFR with the key.
fn members(daemon: &Daemon<'_>, catalog: &str) -> Vec<String> {
    let file = daemon.house.path(&format!("keys/{KEY}.key"));
    let said = daemon.dig(&["-k", file.to_str().unwrap(), "+noall", "+answer", "+onesoa", catalog, "AXFR"]);
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(3) == Some(&"PTR") && !line.starts_with("coo.")).then(|| fields[4].to_owned())
    };
    let mut members: Vec<String> = said.lines().filter_map(line).collect();
    members.sort();
    members
}

#[test]
fn members_come_and_go_at_knot_and_bind_and_groups_are_seen() {
    let ports = [free_port(), free_port()];
    let (house, secret, config) = house(&ports);
    house.put("danelaw.toml", format!("{config}{MEMBERS}[catalog.\"{CATALOG}\".groups]\nopen = [\"b.test\"]\n"));
    let daemon = house.start();
    let mut consumers = consumers(&daemon, &secret, ports);
    for zone in ["a.test", "b.test", "c.test"] {
        all(&mut consumers, zone, |one| one.address(zone) == "192.0.2.10");
    }
    let knot = &consumers[0];
    let transferred = |zone: &str| knot.dig(&[zone, "AXFR"]).contains("192.0.2.10");
    assert!(transferred("b.test") && !transferred("a.test"), "only the group's template opens a zone");

    put(&house, "new.test", "192.0.2.11");
    all(&mut consumers, "a new member", |one| one.address("new.test") == "192.0.2.11");
    house.remove("zones/a.test.zone");
    all(&mut consumers, "one is gone", |one| !one.has("a.test"));
    assert_eq!(members(&daemon, CATALOG), ["b.test.", "c.test.", "new.test."]);
    put(&house, "b.test", "192.0.2.12");
    all(&mut consumers, "a member changes as any zone", |one| one.address("b.test") == "192.0.2.12");
    house.put("danelaw.toml", format!("{config}{MEMBERS}zones = [\"b.test\", \"c.test\"]\n"));
    all(&mut consumers, "it is a member no longer", |one| !one.has("new.test") && one.has("c.test"));
    wait_until("all have it", || {
        let behind = |copy: &serde_json::Value| copy["zone"] == "catalog.test." && copy["state"] != "current";
        !daemon.status()["secondaries"].as_array().unwrap().iter().any(behind)
    });
    assert_eq!(daemon.problems(), "");
    let shown = String::from_utf8(house.danelaw(&["status"]).stdout).unwrap();
    assert!(shown.lines().any(|line| line.starts_with("catalog.test.") && line.trim_end().ends_with('2')), "{shown}");
    assert_eq!(daemon.status()["catalogs"][0]["members"], 2);
}

/// Knot 3.2 knows no change of ownership.
#[test]
fn a_member_goes_over_to_another_catalog_at_bind_and_stays_served() {
    let ports = [free_port(), free_port()];
    let (house, secret, config) = house(&ports);
    let catalogs = |first: &str, more: &str, second: &str| {
        format!("{config}[catalog.\"{CATALOG}\"]\nzones = [{first}]\n{more}[catalog.\"{OTHER}\"]\nzones = [{second}]\n")
    };
    let coo = format!("[catalog.\"{CATALOG}\".coo]\n\"a.test\" = \"{OTHER}\"\n");
    house.put("danelaw.toml", catalogs("\"a.test\", \"b.test\"", &coo, "\"c.test\""));
    let daemon = house.start();
    let mut consumers = consumers(&daemon, &secret, ports).split_off(1);
    for zone in ["a.test", "b.test", "c.test"] {
        all(&mut consumers, zone, |one| one.address(zone) == "192.0.2.10");
    }
    let says = |one: &Consumer, text: &str| one.program.log().contains(text);
    house.put("danelaw.toml", catalogs("\"a.test\", \"b.test\"", &coo, "\"a.test\", \"c.test\""));
    wait_until("it is in both", || members(&daemon, OTHER).contains(&"a.test.".to_owned()));
    let word = format!("adding zone 'a.test' from catalog '{OTHER}' - success");
    all(&mut consumers, "it goes over", |one| says(one, &word) && one.address("a.test") == "192.0.2.10");
    // Where it went over, its old catalog has no say any more.
    house.put("danelaw.toml", catalogs("\"b.test\"", "", "\"a.test\", \"c.test\""));
    wait_until("it has left", || members(&daemon, CATALOG) == ["b.test."]);
    let serial = |catalog: &str| {
        let catalogs = daemon.status()["catalogs"].as_array().unwrap().clone();
        catalogs.iter().find(|one| one["catalog"] == format!("{catalog}.")).unwrap()["serial"].to_string()
    };
    let left = format!("updating catalog zone '{CATALOG}' with serial {}", serial(CATALOG));
    all(&mut consumers, "the old catalog", |one| {
        assert!(one.has("a.test"), "not for a moment");
        says(one, &left)
    });
    put(&house, "a.test", "192.0.2.99");
    all(&mut consumers, "it is served on", |one| one.address("a.test") == "192.0.2.99");
    house.put("danelaw.toml", catalogs("\"b.test\"", "", "\"c.test\""));
    all(&mut consumers, "the new catalog takes it away", |one| !one.has("a.test") && one.has("c.test"));
}

#[test]
fn strangers_hear_nothing_of_a_catalog_and_a_secondary_all_of_it() {
    let (house, _, config) = house(&[free_port(), free_port()]);
    // Below a zone that is served, too.
    let inside = "zones.a.test";
    house.put("danelaw.toml", format!("{config}{MEMBERS}[catalog.\"{inside}\"]\n"));
    let daemon = house.start();
    let file = house.path(&format!("keys/{KEY}.key"));
    let signed = |arguments: &[&str]| daemon.dig(&[&["-k", file.to_str().unwrap()], arguments].concat());
    for catalog in [CATALOG, inside] {
        for rtype in ["SOA", "NS", "TXT", "AXFR", "IXFR=1"] {
            let said = daemon.dig(&[catalog, rtype]);
            assert!(!said.contains("invalid"), "{catalog} {rtype}: {said}");
        }
        for tcp in ["+tcp", "+notcp"] {
            let said = signed(&[tcp, catalog, "SOA"]);
            assert!(said.contains("invalid. invalid.") && said.contains("flags: qr aa"), "{catalog}: {said}");
        }
        assert_eq!(members(&daemon, catalog), ["a.test.", "b.test.", "c.test."]);
        assert_eq!(signed(&["+noall", "+answer", catalog, "NS"]).matches("invalid").count(), 0);
        let dump = house.path("dump");
        std::fs::write(&dump, house.danelaw(&["zone", "dump", catalog]).stdout).unwrap();
        succeed("kzonecheck", &["-o", catalog, dump.to_str().unwrap()]);
        succeed("named-checkzone", &[catalog, dump.to_str().unwrap()]);
    }
    let stranger = wire::ask(daemon.address, name(CATALOG).as_wire(), 6, wire::DNSSEC);
    assert_eq!((stranger.rcode, stranger.answer.len()), (5, 0));
    // What changed is all that is sent.
    let serial = daemon.status()["catalogs"][0]["serial"].as_u64().unwrap();
    put(&house, "new.test", "192.0.2.11");
    wait_until("a new member", || members(&daemon, CATALOG).len() == 4);
    let said = signed(&["+noall", "+answer", CATALOG, &format!("IXFR={serial}")]);
    assert_eq!((said.matches("\tSOA\t").count(), said.matches(" PTR ").count()), (4, 1), "{said}");
    // A restart changes no serial.
    let serials = daemon.status()["catalogs"].clone();
    let daemon = daemon.restarted();
    wait_until("the same", || daemon.status()["catalogs"] == serials);
}
