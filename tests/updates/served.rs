//! What updates do to a running danelaw: what `nsupdate` sends is served, signed and outlives a power cut, and shows as a layer of its own.

use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use danelaw::dns::tsig::{Algorithm, Key, sign_request};
use danelaw::keys::ZoneKey;
use danelaw::zone::print;

use super::common::{name, now, sign_with, succeed, wire, zone};
use super::house::{CONFIG, Daemon, House, TLSA, ZONE, good_zone, wait_until};
use super::message::{ANY, IN, Message, Raw};

/// May do what anybody may.
pub const KEY: &str = "all.test";
/// May put challenges.
pub const ACME: &str = "acme.test";

const GRANTS: &str = r#"
[update.all]
key = "all.test"

[update.acme]
key = "acme.test"
zones = ["example.org"]
names = ["_acme-challenge.*"]
types = ["TXT"]
"#;

/// A house whose zone may be updated by two keys.
pub fn house() -> House {
    let house = House::good();
    house.put("danelaw.toml", ["tsig-keys = [\"keys.conf\"]\n", CONFIG, GRANTS].concat());
    house.put("keys.conf", [KEY, ACME].map(key_text).concat());
    std::fs::set_permissions(house.path("keys.conf"), std::fs::Permissions::from_mode(0o600)).unwrap();
    house
}

/// Every key's secret is its name, made long enough.
pub fn secret(key: &str) -> Vec<u8> {
    key.bytes().cycle().take(32).collect()
}

fn key_text(key: &str) -> String {
    let secret = data_encoding::BASE64.encode(&secret(key));
    format!("key \"{key}\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n")
}

/// What nsupdate says to these lines.
fn nsupdate(daemon: &Daemon<'_>, key: &str, options: &[&str], lines: &str) -> Output {
    let text = format!("server {} {}\nzone {ZONE}\n{lines}\nsend\n", daemon.address.ip(), daemon.address.port());
    let file = daemon.house.path(&format!("update.{key}"));
    std::fs::write(&file, text).unwrap();
    let key = format!("hmac-sha256:{key}:{}", data_encoding::BASE64.encode(&secret(key)));
    let arguments = [&["-t", "5", "-u", "5", "-r", "1", "-y", &key], options, &[file.to_str().unwrap()]].concat();
    Command::new("nsupdate").args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn done(daemon: &Daemon<'_>, lines: &str) {
    let said = nsupdate(daemon, KEY, &[], lines);
    assert!(said.status.success(), "{lines}: {}", String::from_utf8_lossy(&said.stderr));
}

/// It is not done, for this reason.
fn not_done(daemon: &Daemon<'_>, key: &str, lines: &str, why: &str) {
    let said = nsupdate(daemon, key, &[], lines);
    let error = String::from_utf8_lossy(&said.stderr);
    assert!(!said.status.success() && error.contains(why), "{lines}: {error}");
}

/// The lines of a dump without the SOA and those that signing made.
fn layers(daemon: &Daemon<'_>) -> Vec<String> {
    let said = daemon.house.danelaw(&["zone", "dump", "--origin", ZONE]);
    let text = String::from_utf8(said.stdout).unwrap();
    text.lines()
        .filter(|line| !line.ends_with("signing") && !line.contains("\tSOA\t"))
        .map(|line| line.replace('\t', " "))
        .collect()
}

/// The signed zone is as it should be.
pub fn verify(daemon: &Daemon<'_>) {
    let dump = daemon.house.danelaw(&["zone", "dump", ZONE]).stdout;
    let file = daemon.house.path("dump");
    std::fs::write(&file, dump).unwrap();
    succeed("ldns-verify-zone", &[file.to_str().unwrap()]);
}

#[test]
fn an_update_is_served_signed_and_outlives_a_power_cut() {
    let house = house();
    let mut daemon = house.start();
    let before = daemon.serial();
    done(&daemon, "update add new.example.org 60 A 192.0.2.77\nupdate add _acme-challenge.example.org 30 TXT \"one\"");
    assert_eq!(daemon.records("new.example.org", "A"), ["192.0.2.77"]);
    assert!(daemon.serial() > before);
    verify(&daemon);
    let over_tcp = nsupdate(&daemon, KEY, &["-v"], "update add new.example.org 60 A 192.0.2.78");
    assert!(over_tcp.status.success());
    assert_eq!(daemon.records("new.example.org", "A"), ["192.0.2.77", "192.0.2.78"]);
    let after = daemon.serial();
    daemon.kill();
    daemon = house.start();
    assert_eq!(daemon.records("new.example.org", "A"), ["192.0.2.77", "192.0.2.78"]);
    assert_eq!(daemon.serial(), after, "it is what was served before");
    verify(&daemon);
    done(&daemon, "update delete new.example.org A 192.0.2.77\nupdate delete _acme-challenge.example.org TXT");
    assert_eq!(daemon.records("new.example.org", "A"), ["192.0.2.78"]);
    assert_eq!(daemon.rcode("_acme-challenge.example.org", "TXT"), "NXDOMAIN");
    verify(&daemon);
    let counted = &daemon.status()["statistics"]["updates"];
    assert_eq!((counted["done"].as_u64(), counted["refused"].as_u64()), (Some(1), Some(0)), "{counted}");
}

#[test]
fn prerequisites_hold_or_nothing_is_done() {
    let house = house();
    let daemon = house.start();
    let serial = daemon.serial();
    for (prerequisite, why) in [
        ("prereq nxdomain mail.example.org", "YXDOMAIN"),
        ("prereq yxdomain none.example.org", "NXDOMAIN"),
        ("prereq nxrrset mail.example.org A", "YXRRSET"),
        ("prereq yxrrset mail.example.org AAAA", "NXRRSET"),
        ("prereq yxrrset mail.example.org A 192.0.2.99", "NXRRSET"),
    ] {
        not_done(&daemon, KEY, &format!("{prerequisite}\nupdate add new.example.org 60 A 192.0.2.1"), why);
    }
    assert_eq!((daemon.rcode("new.example.org", "A"), daemon.serial()), ("NXDOMAIN".to_owned(), serial));
    done(&daemon, "prereq yxrrset mail.example.org A 192.0.2.25\nupdate add new.example.org 60 A 192.0.2.1");
    done(&daemon, "update add new.example.org 60 A 192.0.2.1");
    // The SOA is the one that is served: who says which version he has changes that one, or none.
    let soa = daemon.dig(&["+short", ZONE, "SOA"]);
    done(&daemon, &format!("prereq yxrrset {ZONE} SOA {}\nupdate add of.example.org 60 A 192.0.2.1", soa.trim()));
    not_done(
        &daemon,
        KEY,
        &format!("prereq yxrrset {ZONE} SOA {}\nupdate delete of.example.org", soa.trim()),
        "NXRRSET",
    );
    let counted = &daemon.status()["statistics"]["updates"];
    let counts = ["done", "unchanged", "not-met"].map(|name| counted[name].as_u64().unwrap());
    assert_eq!(counts, [2, 1, 6]);
}

#[test]
fn what_may_not_be_updated_is_refused_said_once_and_counted() {
    let house = house();
    let daemon = house.start();
    daemon.await_verdict("served all-held");
    let before = (daemon.serial(), layers(&daemon));
    let dnskey = "257 3 13 Uapfa4/HcqWu/YX74Fg1vIhAJvS7zdfgfqj5iyd5sL1QilhaHitrm2ONcl9dEQMFqccxy+w5MgDUVaMEmXvnYQ==";
    for lines in [
        &format!("update add example.org 60 DNSKEY {dnskey}"),
        "update add example.org 60 CDS 0 0 0 00",
        "update add example.org 60 NSEC3PARAM 1 0 0 -",
        "update delete example.org NS",
        "update add example.org 60 NS ns9.example.org.",
        "update add example.org 60 SOA ns1.example.org. hostmaster.example.org. 4000000000 1 1 1 1",
        &format!("update delete {TLSA} TLSA"),
        &format!("update add {TLSA} 60 TLSA 3 1 1 {}", "00".repeat(32)),
        &format!("update add {TLSA} 60 TXT here"),
        "update add mail.example.org 60 NS ns1.example.org.",
        "update add _tcp.mail.example.org 60 DNAME example.net.",
    ] {
        not_done(&daemon, KEY, lines, "REFUSED");
    }
    for lines in [
        "update add www.example.org 60 A 192.0.2.1",
        "update add _acme-challenge.example.org 60 CNAME www.example.org.",
        "update add x._acme-challenge.example.org 60 TXT x",
        "update delete mail.example.org",
    ] {
        not_done(&daemon, ACME, lines, "REFUSED");
    }
    assert!(nsupdate(&daemon, ACME, &[], "update add _acme-challenge.www.example.org 60 TXT x").status.success());
    assert!(nsupdate(&daemon, ACME, &[], "update delete _acme-challenge.www.example.org").status.success());
    let wrong_key = nsupdate(&daemon, "other.test", &[], "update add www.example.org 60 A 192.0.2.1");
    assert!(!wrong_key.status.success() && String::from_utf8_lossy(&wrong_key.stderr).contains("BADKEY"));
    assert_eq!(layers(&daemon), before.1);
    assert!(daemon.serial() > before.0, "by the challenge alone");
    // Unsigned, many times.
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(daemon.address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let message = add("www", 1).octets();
    for _ in 0..200 {
        client.send(&message).unwrap();
        let mut said = [0; 512];
        let length = client.recv(&mut said).unwrap();
        assert_eq!((said[2] & 0xf8, said[3] & 15, length), (0x80 | 5 << 3, 5, 12 + 13 + 4), "{:?}", &said[..length]);
    }
    assert_eq!(daemon.log().matches("is not signed").count(), 1);
    assert_eq!(daemon.status()["statistics"]["updates"]["refused"], 200 + 11 + 4);
    assert_eq!(daemon.problems(), "");
}

#[test]
fn layers_are_told_apart_and_the_file_takes_over_what_it_says_too() {
    let house = house();
    let daemon = house.start();
    daemon.await_verdict("served all-held");
    done(&daemon, "update add www.example.org 60 A 192.0.2.80\nupdate delete _dmarc.example.org TXT");
    let shown = layers(&daemon);
    for line in [
        "www.example.org. 60 IN A 192.0.2.80 ; update",
        "mail.example.org. 3600 IN A 192.0.2.25 ; source",
        "; _dmarc.example.org. 3600 IN TXT \"v=DMARC1; p=reject\" ; source, taken away by an update",
    ] {
        assert!(shown.iter().any(|one| one == line), "{line}\n{}", shown.join("\n"));
    }
    assert!(shown.iter().any(|line| line.starts_with(TLSA) && line.ends_with("; synthesised")));
    assert_eq!(daemon.status()["zones"][0]["updated"], 2);
    // What the file says besides shows, and what an update took away stays away.
    house.put_zone(&format!("{}ftp A 192.0.2.21\n", good_zone()));
    wait_until("the new record is served", || daemon.records("ftp.example.org", "A") == ["192.0.2.21"]);
    assert_eq!(daemon.records("www.example.org", "A"), ["192.0.2.80"]);
    assert_eq!(daemon.rcode("_dmarc.example.org", "TXT"), "NXDOMAIN");
    // Both together can't stand: the file wins, it is said, and nothing is forgotten.
    house.put_zone(&format!("{}www CNAME mail\n", good_zone()));
    wait_until("the file wins", || daemon.records("www.example.org", "CNAME") == ["mail.example.org."]);
    assert!(daemon.problems().contains("www.example.org. A came by update and can't stand"), "{}", daemon.problems());
    house.put_zone(&good_zone());
    wait_until("it is back", || daemon.records("www.example.org", "A") == ["192.0.2.80"]);
    assert_eq!(daemon.problems(), "");
    verify(&daemon);
    // What came by update goes into the file, and there is no layer any more.
    let serial = daemon.serial();
    let said = house.danelaw(&["zone", "export", "--write", ZONE]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(house.read("zones/example.org.zone~"), good_zone().as_bytes());
    wait_until("the file has it all", || daemon.status()["zones"][0]["updated"] == 0);
    assert_eq!(daemon.records("www.example.org", "A"), ["192.0.2.80"]);
    assert_eq!((daemon.rcode("_dmarc.example.org", "TXT"), daemon.serial()), ("NXDOMAIN".to_owned(), serial));
    let restarted = daemon.restarted();
    assert_eq!(restarted.records("www.example.org", "A"), ["192.0.2.80"]);
    assert_eq!(restarted.status()["zones"][0]["updated"], 0);
}

#[test]
fn a_frozen_zone_takes_no_updates_until_it_is_thawed() {
    let house = house();
    let daemon = house.start();
    assert!(house.danelaw(&["zone", "freeze", ZONE]).status.success());
    not_done(&daemon, KEY, "update add www.example.org 60 A 192.0.2.1", "REFUSED");
    let daemon = daemon.restarted();
    not_done(&daemon, KEY, "update add www.example.org 60 A 192.0.2.1", "REFUSED");
    assert_eq!(daemon.status()["zones"][0]["frozen"], true);
    assert!(house.danelaw(&["zone", "thaw", ZONE]).status.success());
    done(&daemon, "update add www.example.org 60 A 192.0.2.1");
    assert!(!house.danelaw(&["zone", "freeze", "example.net"]).status.success());
}

#[test]
fn a_zone_that_goes_and_comes_back_has_its_updates_still() {
    let house = house();
    let daemon = house.start();
    done(&daemon, "update add www.example.org 60 A 192.0.2.80");
    house.put("zones/example.net.zone", "$TTL 1h\n@ SOA ns1 hostmaster 1 4h 1h 2w 5m\n@ NS ns1\nns1 A 192.0.2.53\n");
    house.remove("zones/example.org.zone");
    wait_until("it is gone", || daemon.rcode(ZONE, "SOA") == "REFUSED");
    let daemon = daemon.restarted();
    house.put_zone(&good_zone());
    wait_until("it is back", || daemon.records("www.example.org", "A") == ["192.0.2.80"]);
}

/// An update that adds an address.
pub fn add(owner: &str, last: u8) -> Message {
    let owner = name(&format!("{owner}.{ZONE}."));
    let rdata = vec![192, 0, 2, last];
    Message::new(&name(ZONE), Vec::new(), vec![Raw { owner, rtype: 1, class: IN, ttl: 60, rdata }])
}

fn remove(owner: &str) -> Message {
    let owner = name(&format!("{owner}.{ZONE}."));
    Message::new(&name(ZONE), Vec::new(), vec![Raw { owner, rtype: 1, class: ANY, ttl: 0, rdata: Vec::new() }])
}

pub fn key() -> Arc<Key> {
    Arc::new(Key::new(&name(KEY), Algorithm::HmacSha256, &secret(KEY)).unwrap())
}

fn signed(message: &Message, at: u64) -> Vec<u8> {
    let mut octets = message.octets();
    let length = octets.len();
    octets.resize(length + 300, 0);
    let (length, _) = sign_request(&key(), &mut octets, length, at).unwrap();
    octets.truncate(length);
    octets
}

/// The response code, and the TSIG record's error where it says one.
fn send(client: &UdpSocket, server: SocketAddr, message: &[u8]) -> (u8, u16) {
    client.send_to(message, server).unwrap();
    let mut said = [0; 4096];
    let length = client.recv(&mut said).unwrap();
    let tsig = wire::read(&said[..length]).unwrap().additional.into_iter().find(|record| record.rtype == 250);
    // Algorithm, time, fudge, MAC's length, MAC, ID, error.
    let error = tsig.map_or(0, |tsig| {
        let at = 13 + 8;
        let mac = usize::from(u16::from_be_bytes([tsig.rdata[at], tsig.rdata[at + 1]]));
        u16::from_be_bytes([tsig.rdata[at + 2 + mac + 2], tsig.rdata[at + 2 + mac + 3]])
    });
    (said[3] & 15, error)
}

#[test]
fn an_update_that_is_repeated_stale_forged_or_cut_is_not_done() {
    let house = house();
    let daemon = house.start();
    let client = || {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client
    };
    let (own, other) = (client(), client());
    let update = signed(&add("www", 1), now());
    assert_eq!(send(&own, daemon.address, &update), (0, 0));
    assert_eq!(send(&own, daemon.address, &signed(&remove("www"), now())), (0, 0));
    // Sent again by who waited too long for the answer, and by who has seen it pass by.
    assert_eq!(send(&own, daemon.address, &update), (0, 0));
    assert_eq!(send(&other, daemon.address, &update), (5, 0));
    assert_eq!(daemon.rcode("www.example.org", "A"), "NXDOMAIN");
    daemon.kill();
    let daemon = house.start();
    assert_eq!(send(&other, daemon.address, &update), (5, 0), "nor after a power cut");
    let unmet = Message {
        prerequisites: vec![Raw { owner: name("ftp.example.org."), rtype: 255, class: ANY, ttl: 0, rdata: Vec::new() }],
        ..add("www", 2)
    };
    let unmet = signed(&unmet, now());
    assert_eq!(send(&own, daemon.address, &unmet), (3, 0));
    assert_eq!(send(&own, daemon.address, &signed(&add("ftp", 9), now())), (0, 0));
    assert_eq!(send(&other, daemon.address, &unmet), (5, 0), "what did not hold then is not done now");
    assert_eq!(send(&own, daemon.address, &signed(&add("www", 3), now() - 400)), (9, 18), "BADTIME");
    assert_eq!(send(&own, daemon.address, &signed(&add("www", 3), now() + 400)), (9, 18), "BADTIME");
    let mut forged = signed(&add("www", 4), now());
    let at = forged.windows(4).position(|octets| octets == [192, 0, 2, 4]).unwrap();
    forged[at + 3] = 5;
    assert_eq!(send(&own, daemon.address, &forged), (9, 16), "BADSIG");
    let whole = signed(&add("www", 6), now());
    assert_eq!(send(&own, daemon.address, &whole[..whole.len() - 5]).0, 1, "FORMERR");
    assert_eq!(daemon.rcode("www.example.org", "A"), "NXDOMAIN");
    let counted = daemon.status();
    assert_eq!(counted["statistics"]["updates"]["repeated"], 2);
    let replay = signed(&add("www", 7), now());
    assert_eq!(send(&own, daemon.address, &replay), (0, 0));
    (0..50).for_each(|_| assert_eq!(send(&other, daemon.address, &replay), (5, 0)));
    assert_eq!(daemon.log().matches("and not done again").count(), 2, "each of two daemons said it once");
    assert_eq!(counted["statistics"]["tsig"]["bad-time"], 2);
}

#[test]
fn what_came_by_update_waits_while_the_zone_is_signed_elsewhere() {
    let house = house();
    let daemon = house.start();
    done(&daemon, "update add www.example.org 60 A 192.0.2.80\nupdate delete _dmarc.example.org TXT");
    let (key, _) = ZoneKey::generate(danelaw::dns::dnssec::Algorithm::Ed25519).unwrap();
    let signed = print::published(&sign_with(&zone(ZONE, &good_zone()), &[&key], None, now(), 900_000_000));
    daemon.stop();
    let config = String::from_utf8(house.read("danelaw.toml")).unwrap();
    let acme_alone = config.replace("zones = [\"example.org\"]\n", "");
    house.put("danelaw.toml", format!("{acme_alone}\n[zone.\"{ZONE}\"]\nsigning = \"presigned\"\n"));
    house.put_zone(&signed);
    let daemon = house.start();
    verify(&daemon);
    assert_eq!((daemon.serial(), daemon.rcode("www.example.org", "A")), (900_000_000, "NXDOMAIN".to_owned()));
    assert!(daemon.problems().contains("2 RRsets came by update and are set aside"), "{}", daemon.problems());
    daemon.stop();
    house.put("danelaw.toml", config);
    house.put_zone(&good_zone());
    let daemon = house.start();
    assert_eq!(daemon.records("www.example.org", "A"), ["192.0.2.80"]);
    assert_eq!((daemon.rcode("_dmarc.example.org", "TXT"), daemon.problems()), ("NXDOMAIN".to_owned(), String::new()));
}

#[test]
fn what_comes_after_something_was_set_aside_is_the_same_after_a_restart() {
    let house = house();
    let daemon = house.start();
    done(&daemon, "update add www.example.org 60 CNAME mail.example.org.\nupdate add ftp.example.org 60 CNAME mail");
    house.put_zone(&format!("{}www A 192.0.2.80\nftp A 192.0.2.21\n", good_zone()));
    wait_until("the file wins", || daemon.records("ftp.example.org", "A") == ["192.0.2.21"]);
    // What comes displaces what waits; where the file's goes alone, what waits comes.
    done(&daemon, "update delete www.example.org A\nupdate add www.example.org 60 AAAA 2001:db8::80");
    done(&daemon, "update delete ftp.example.org A");
    let check = |daemon: &Daemon<'_>| {
        assert_eq!(daemon.records("www.example.org", "AAAA"), ["2001:db8::80"]);
        assert_eq!(daemon.records("ftp.example.org", "CNAME"), ["mail."]);
        assert_eq!(daemon.problems(), "");
    };
    check(&daemon);
    let serial = daemon.serial();
    let daemon = daemon.restarted();
    check(&daemon);
    assert_eq!(daemon.serial(), serial);
}

#[test]
fn an_export_writes_over_nothing_that_was_not_read() {
    let house = house();
    let daemon = house.start();
    done(&daemon, "update add www.example.org 60 A 192.0.2.80");
    let export = || house.danelaw(&["zone", "export", "--write", ZONE]);
    let broken = format!("{}new A 192.0.2.50\nbad A 192.0.2\n", good_zone());
    house.put_zone(&broken);
    wait_until("the mistake is told", || daemon.problems().contains("expected an IPv4 address"));
    let said = export();
    assert!(!said.status.success() && String::from_utf8_lossy(&said.stderr).contains("mend the file first"));
    assert_eq!(house.read("zones/example.org.zone"), broken.as_bytes());
    // A write that is not finished was not read yet.
    house.put_zone(&good_zone());
    wait_until("it is mended", || daemon.problems().is_empty());
    let mut file = std::fs::OpenOptions::new().append(true).open(house.path("zones/example.org.zone")).unwrap();
    file.write_all(b"new A 192.0.2.50\n").unwrap();
    let said = export();
    let error = String::from_utf8_lossy(&said.stderr);
    assert!(!said.status.success() && error.contains("it has changed since it was read"), "{error}");
    drop(file);
    wait_until("it is read", || daemon.records("new.example.org", "A") == ["192.0.2.50"]);
    // Whatever came of it, updates go on.
    done(&daemon, "update add www.example.org 60 A 192.0.2.81");
    assert!(export().status.success());
    assert_eq!(daemon.status()["zones"][0]["updated"], 0, "it is read when the command is done");
    assert_eq!(daemon.records("new.example.org", "A"), ["192.0.2.50"]);
    assert_eq!(daemon.records("www.example.org", "A"), ["192.0.2.80", "192.0.2.81"]);
    done(&daemon, "update delete www.example.org A 192.0.2.81");
    assert!(house.danelaw(&["zone", "freeze", ZONE]).status.success() && export().status.success());
    assert_eq!(daemon.status()["zones"][0]["frozen"], true, "by the operator, until he thaws it");
}
