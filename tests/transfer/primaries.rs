//! Zones come from BIND, Knot and NSD, whole and then by what changed, and are served as they are, or signed.

use std::path::Path;

use danelaw::dns::Timestamp;
use danelaw::dns::dnssec::Algorithm;
use danelaw::keys::ZoneKey;
use danelaw::zone::print;

use super::common::{free_port, now, sign_with, succeed, zone};
use super::house::{CONFIG, DKIM, Daemon, House, MX, wait_until};
use super::kinds::{KEY, Kind, Sides, head, put};
use super::secondaries::sorted;

/// What has requests signed.
pub const SIGNED: &str = "primary-key = \"transfer.test\"\n";

/// A folder for danelaw that takes these zones; each has its settings behind it.
pub fn house(zones: &[(&str, u16, &str)]) -> (House, String, u16) {
    let house = House::empty();
    assert!(house.danelaw(&["keys", "tsig", KEY]).status.success());
    let text = String::from_utf8(house.read(&format!("keys/{KEY}.key"))).unwrap();
    let secret = text.split("secret \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let port = free_port();
    let tables = zones
        .iter()
        .map(|(zone, primary, more)| format!("[zone.\"{zone}\"]\nprimary = [\"127.0.0.1:{primary}\"]\n{more}\n"));
    let config = CONFIG.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
    house.put(
        "danelaw.toml",
        format!(
            "tsig-keys = [\"keys/{KEY}.key\"]\n{config}\n[secondary.looker]\nkey = \"{KEY}\"\nnotify = false\n{}",
            tables.collect::<String>()
        ),
    );
    (house, secret, port)
}

/// A zone as whoever has the key gets it.
fn records(port: u16, secret: &str, zone: &str) -> Vec<String> {
    let (port, key) = (port.to_string(), format!("hmac-sha256:{KEY}:{secret}"));
    let text = succeed("dig", &["@127.0.0.1", "-p", &port, "-y", &key, "+noall", "+answer", "+onesoa", zone, "AXFR"]);
    sorted(&text).into_iter().filter(|line| !line.contains(" TSIG ")).collect()
}

fn verify(house: &House, zone: &str, records: &[String]) {
    let dump = house.path("dump");
    std::fs::write(&dump, records.join("\n") + "\n").unwrap();
    succeed("ldns-verify-zone", &[dump.to_str().unwrap()]);
    succeed("dnssec-verify", &["-z", "-o", zone, dump.to_str().unwrap()]);
}

fn serial(daemon: &Daemon<'_>, zone: &str) -> Option<u32> {
    daemon.dig(&["+short", zone, "SOA"]).split_whitespace().nth(2)?.parse().ok()
}

/// What `status` knows of a zone's primary.
pub fn primary(daemon: &Daemon<'_>, zone: &str) -> serde_json::Value {
    let status = daemon.status();
    let zones = status["zones"].as_array().unwrap();
    zones.iter().find(|one| one["zone"] == format!("{zone}.")).unwrap()["primary"].clone()
}

/// The zone as another signer hands it over.
fn signed(key: &ZoneKey, at: Timestamp, (origin, serial): (&str, u32), text: &str) -> String {
    print::published(&sign_with(&zone(origin, text), &[key], None, at, serial))
}

#[test]
fn bind_is_a_primary() {
    follow(Kind::Bind, "bind");
}

#[test]
fn knot_is_a_primary() {
    follow(Kind::Knot, "knot");
}

#[test]
fn nsd_is_a_primary() {
    follow(Kind::Nsd, "nsd");
}

/// Nobody looks for a change by himself while this goes on: it is told, and comes as differences.
fn follow(kind: Kind, name: &str) {
    let zones: Vec<String> = ["plain", "sealed", "wire"].map(|zone| format!("{zone}.{name}.test")).to_vec();
    let [plain, sealed, wire] = &zones[..] else { unreachable!() };
    let port = free_port();
    let [none, presigned] = ["none", "presigned"].map(|mode| format!("{SIGNED}signing = \"{mode}\""));
    let (house, secret, danelaw) = house(&[(plain, port, &none), (sealed, port, &presigned), (wire, port, SIGNED)]);
    house.certificate("mail", &[&format!("mail.{wire}")]);
    let (key, _) = ZoneKey::generate(Algorithm::Ed25519).unwrap();
    let at = now();
    let put_all = |folder: &Path, version: u32| {
        let hosts: String = (0..300).map(|host| format!("host{host}.rack{} A 192.0.2.9\n", host / 50)).collect();
        let new: String = (0..version).map(|step| format!("new{step} TXT \"version {version}\"\n")).collect();
        let text =
            [&head(version + 1, "4h 1h 2w"), MX, DKIM, &hosts, &new, "cut NS ns.cut\nns.cut A 192.0.2.3\n"].concat();
        put(folder, plain, &text);
        put(folder, sealed, &signed(&key, at, (sealed, version + 1), &text));
        put(folder, wire, &text);
    };
    let sides = Sides { port, secret: &secret, danelaw, zones: &zones };
    let server = kind.start(&sides, |folder| put_all(folder, 0));
    let daemon = house.start();
    for version in 0..4 {
        if version > 0 {
            // A file of the same second is the same one, for BIND.
            std::thread::sleep(std::time::Duration::from_millis(1100));
            put_all(&server.folder, version);
            server.program.signal("HUP");
        }
        for zone in &zones {
            wait_until(&format!("{zone} is at {}: {}", version + 1, daemon.problems()), || {
                serial(&daemon, zone).is_some_and(|serial| serial > version)
            });
        }
        for zone in [plain, sealed] {
            assert_eq!(serial(&daemon, zone), Some(version + 1), "the primary's serial");
            let (ours, theirs) = (records(danelaw, &secret, zone), records(port, &secret, zone));
            let unlike = || theirs.iter().filter(|line| !ours.contains(line)).take(5).collect::<Vec<_>>();
            assert!(ours == theirs, "{zone}: {} of {}, lacks {:?}", ours.len(), theirs.len(), unlike());
        }
        verify(&house, sealed, &records(danelaw, &secret, sealed));
        wait_until("its TLSA is there", || !daemon.records(&format!("_25._tcp.mail.{wire}"), "TLSA").is_empty());
        if version > 0 {
            let new = format!("\"version {version}\"");
            assert_eq!(daemon.records(&format!("new0.{wire}"), "TXT"), [new]);
        }
        verify(&house, wire, &records(danelaw, &secret, wire));
    }
    for zone in &zones {
        let came = |how: &str| {
            let of_zone = format!("{zone}.: serial");
            let log = daemon.log();
            log.lines()
                .filter(|line| line.contains(&of_zone) && line.contains(" came from ") && line.contains(how))
                .count()
        };
        assert_eq!((came(": whole"), came(": differences")), (1, 3), "{zone}\n{}", daemon.log());
        let primary = primary(&daemon, zone);
        assert_eq!((&primary["serial"], &primary["state"]), (&4.into(), &"current".into()), "{primary}");
    }
    assert!(daemon.status()["statistics"]["notify"]["taken"].as_u64().unwrap() >= 9);
    let shown = String::from_utf8(house.danelaw(&["status"]).stdout).unwrap();
    let line = shown.lines().find(|line| line.starts_with(wire) && line.contains(&format!("127.0.0.1:{port}")));
    assert!(line.is_some_and(|line| line.ends_with("current")), "{shown}");
}

#[test]
fn a_primary_that_is_down_is_a_problem_with_a_name_and_its_zone_outlives_a_restart() {
    let (port, zone) = (free_port(), "down.test");
    let zones = [zone.to_owned()];
    let (house, secret, danelaw) = house(&[(zone, port, SIGNED)]);
    let sides = Sides { port, secret: &secret, danelaw, zones: &zones };
    let text = |serial: u32| [&head(serial, "1h 2s 2w"), "a A 192.0.2.1\n"].concat();
    let daemon = house.start();
    assert_eq!(daemon.rcode(zone, "SOA"), "SERVFAIL", "it is ours, and nothing of it is here");
    wait_until("it is a problem", || {
        let problems = daemon.problems();
        problems.contains(&format!("primary 127.0.0.1:{port}: can't be reached"))
            && problems.contains("there is nothing")
    });
    let server = Kind::Knot.start(&sides, |folder| put(folder, zone, &text(5)));
    wait_until("it is served", || serial(&daemon, zone) == Some(5));
    wait_until("the problem is solved", || !daemon.problems().contains("primary 127.0.0.1"));
    let signature = daemon.signature(zone, "NS");
    drop(server);
    let daemon = daemon.restarted();
    assert_eq!(
        (serial(&daemon, zone), daemon.signature(zone, "NS")),
        (Some(5), signature),
        "at once, and not signed again"
    );
    wait_until("the primary is missed", || primary(&daemon, zone)["state"] == "failing");
    assert_eq!(serial(&daemon, zone), Some(5));
    let _server = Kind::Knot.start(&sides, |folder| put(folder, zone, &text(8)));
    wait_until("it goes on", || serial(&daemon, zone) == Some(8));
    assert!(daemon.log().contains("serial 8 came from"));
    // A zone whose primary is taken out of the configuration goes.
    let config = String::from_utf8(house.read("danelaw.toml")).unwrap();
    house.put("danelaw.toml", config.split("[zone.").next().unwrap());
    wait_until("it is gone", || daemon.rcode(zone, "SOA") == "REFUSED");
    assert!(!house.path(&format!("state/images/{zone}.sig")).exists());
}

#[test]
fn a_zone_that_nobody_confirms_expires_over_restarts_and_comes_back() {
    let (port, zone) = (free_port(), "short.test");
    let zones = [zone.to_owned()];
    let (house, secret, danelaw) = house(&[(zone, port, SIGNED)]);
    let sides = Sides { port, secret: &secret, danelaw, zones: &zones };
    let start = || Kind::Bind.start(&sides, |folder| put(folder, zone, &head(5, "2s 1s 6s")));
    let server = start();
    let daemon = house.start();
    wait_until("it is served", || serial(&daemon, zone) == Some(5));
    let first = primary(&daemon, zone)["confirmed-at"].as_u64().unwrap();
    wait_until("it is confirmed", || primary(&daemon, zone)["confirmed-at"].as_u64().unwrap() >= first + 4);
    assert_eq!(daemon.rcode(zone, "SOA"), "NOERROR");
    drop(server);
    let confirmed = primary(&daemon, zone)["confirmed-at"].as_u64().unwrap();
    // The time goes on while nothing runs.
    daemon.stop();
    let daemon = house.start();
    wait_until("it expires", || daemon.rcode(zone, "SOA") == "SERVFAIL");
    assert!((confirmed + 6..confirmed + 12).contains(&now()), "{confirmed} {}", now());
    let shown = primary(&daemon, zone);
    assert_eq!((&shown["confirmed-at"], &shown["expires-at"]), (&confirmed.into(), &(confirmed + 6).into()));
    wait_until("it is said", || daemon.problems().contains("it has expired"));
    let daemon = daemon.restarted();
    assert_eq!(daemon.rcode(zone, "SOA"), "SERVFAIL", "from the start");
    let _server = start();
    wait_until("it comes back", || serial(&daemon, zone) == Some(5));
    wait_until("the problem is solved", || !daemon.problems().contains("expired"));
}

#[test]
fn a_power_cut_takes_no_version_back_that_came_from_a_primary() {
    let (port, zone) = (free_port(), "cut.test");
    let zones = [zone.to_owned()];
    let (house, secret, danelaw) = house(&[(zone, port, SIGNED)]);
    let sides = Sides { port, secret: &secret, danelaw, zones: &zones };
    let text = |serial: u32| format!("{}a A 192.0.2.{serial}\n", head(serial, "4h 1h 2w"));
    let server = Kind::Knot.start(&sides, |folder| put(folder, zone, &text(1)));
    let daemon = house.start();
    wait_until("it is served", || daemon.records("a.cut.test", "A") == ["192.0.2.1"]);
    for version in 2..4 {
        put(&server.folder, zone, &text(version));
        server.program.signal("HUP");
        wait_until("it follows", || daemon.records("a.cut.test", "A") == [format!("192.0.2.{version}")]);
    }
    let before = serial(&daemon, zone);
    drop(server);
    daemon.kill();
    let daemon = house.start();
    wait_until("the primary is missed", || primary(&daemon, zone)["state"] == "failing");
    assert_eq!((daemon.records("a.cut.test", "A"), serial(&daemon, zone)), (vec!["192.0.2.3".to_owned()], before));
}

#[test]
fn a_zone_that_is_to_come_signed_is_looked_at_as_it_came() {
    let (port, bare, sealed) = (free_port(), "bare.test", "sealed.test");
    let zones = [bare, sealed].map(str::to_owned);
    let none = format!("{SIGNED}signing = \"none\"");
    let (house, secret, danelaw) = house(&[(bare, port, SIGNED), (sealed, port, &none)]);
    let sides = Sides { port, secret: &secret, danelaw, zones: &zones };
    let (key, _) = ZoneKey::generate(Algorithm::Ed25519).unwrap();
    let _server = Kind::Knot.start(&sides, |folder| {
        put(folder, bare, &head(5, "4h 1h 2w"));
        put(folder, sealed, &signed(&key, now(), (sealed, 5), &head(5, "4h 1h 2w")));
    });
    let daemon = house.start();
    wait_until("both are served", || zones.iter().all(|zone| serial(&daemon, zone).is_some()));
    let signatures = || zones.each_ref().map(|zone| daemon.signature(zone, "NS"));
    let before = signatures();
    let config = String::from_utf8(house.read("danelaw.toml")).unwrap();
    let presigned = format!("{SIGNED}signing = \"presigned\"\n");
    let presigned = config.replace(&none, SIGNED).replace(SIGNED, &presigned);
    house.put("danelaw.toml", presigned);
    wait_until("what comes unsigned is told", || {
        daemon.problems().contains("bare.test.: not published: what it sends is not well signed")
    });
    assert_eq!(signatures(), before, "neither is served without its signatures");
    assert!(!daemon.problems().contains(sealed), "{}", daemon.problems());
    house.put("danelaw.toml", config);
    wait_until("the problem is solved", || daemon.problems().is_empty());
    assert_eq!(signatures(), before);
}
