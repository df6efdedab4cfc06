//! Who may not have a zone does not get it, and who takes it slowly holds nothing up.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::common::{name, run, wire};
use super::house::{CONFIG, Daemon, House, ZONE, good_zone, wait_until};

fn house(more: &str, zone: &str) -> House {
    let house = House::empty();
    for key in ["right.test", "other.test"] {
        assert!(house.danelaw(&["keys", "tsig", key]).status.success());
    }
    let keys = "tsig-keys = [\"keys/right.test.key\", \"keys/other.test.key\"]\n";
    house.put("danelaw.toml", [keys, CONFIG, more].concat());
    house.put_zone(zone);
    house
}

/// What a program says to whom it asks for the zone.
fn ask(daemon: &Daemon<'_>, program: &str, key: Option<&str>, more: &[&str]) -> String {
    let port = daemon.address.port().to_string();
    let file = key.map(|key| daemon.house.path(&format!("keys/{key}.key")));
    let text = file.map(|file| std::fs::read_to_string(file).unwrap());
    let secret = text.as_ref().map(|text| text.split("secret \"").nth(1).unwrap().split('"').next().unwrap());
    let signed = key.zip(secret).map(|(key, secret)| format!("hmac-sha256:{key}:{secret}"));
    let mut arguments = vec!["@127.0.0.1", "-p", &port];
    if let Some(signed) = &signed {
        arguments.extend(["-y", signed]);
    }
    arguments.extend(more);
    let output = run(program, &arguments);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn is_given(said: &str) -> bool {
    said.contains("192.0.2.25") && said.matches("SOA").count() >= 2
}

fn refused(daemon: &Daemon<'_>) -> u64 {
    daemon.status()["statistics"]["transfers"]["refused"].as_u64().unwrap()
}

#[test]
fn strangers_and_the_wrong_key_and_the_wrong_address_are_refused() {
    let house = house("[secondary.ns2]\nkey = \"right.test\"\naddresses = [\"127.0.0.1\"]\n", &good_zone());
    let daemon = house.start();
    for program in ["dig", "kdig"] {
        assert!(is_given(&ask(&daemon, program, Some("right.test"), &[ZONE, "AXFR"])), "{program}");
        for (key, wanted) in
            [(None, "AXFR"), (None, "IXFR=1"), (Some("other.test"), "AXFR"), (Some("other.test"), "IXFR=1")]
        {
            let said = ask(&daemon, program, key, &[ZONE, wanted]);
            assert!(!said.contains("192.0.2.25"), "{program} {key:?} {wanted}: {said}");
        }
    }
    assert_eq!(refused(&daemon), 8);
    assert_eq!(daemon.log().matches("is refused: no [secondary] is like this").count(), 1, "once a minute");
    let response = wire::ask(daemon.address, name(ZONE).as_wire(), 252, wire::TCP);
    assert_eq!((response.rcode, response.answer.len()), (5, 0));
    // Names that are no zone's apex: a stranger learns nothing, a secondary what is wrong.
    assert!(
        ask(&daemon, "dig", Some("right.test"), &["+noidnin", "mail.example.org", "AXFR"]).contains("Transfer failed")
    );
    let said = ask(&daemon, "kdig", Some("right.test"), &["mail.example.org", "AXFR"]);
    assert!(said.contains("NOTAUTH"), "{said}");
    assert!(ask(&daemon, "kdig", None, &["mail.example.org", "AXFR"]).contains("REFUSED"));
    // From the next request on.
    let config = String::from_utf8(house.read("danelaw.toml")).unwrap();
    house.put("danelaw.toml", config.replace("\"127.0.0.1\"]", "\"192.0.2.1\"]"));
    house.danelaw(&["reload"]);
    assert!(!is_given(&ask(&daemon, "dig", Some("right.test"), &[ZONE, "AXFR"])));
    house.put("danelaw.toml", config.replace("right.test\"\n", "unknown.test\"\n"));
    house.danelaw(&["reload"]);
    wait_until("the missing key is told of", || daemon.problems().contains("unknown.test. is in none of the files"));
}

#[test]
fn an_up_to_date_secondary_gets_the_soa_and_a_datagram_no_whole_zone() {
    let house = house("[secondary.ns2]\naddresses = [\"127.0.0.1\"]\n", &good_zone());
    let daemon = house.start();
    let serial = daemon.serial();
    for tcp in ["+tcp", "+notcp"] {
        let said = ask(&daemon, "dig", None, &["+noall", "+answer", tcp, ZONE, &format!("IXFR={serial}")]);
        assert_eq!(said.lines().filter(|line| line.contains("\tIN\t")).count(), 1, "{tcp}: {said}");
    }
    let datagram = wire::ask(daemon.address, name(ZONE).as_wire(), 252, wire::DNSSEC);
    assert_eq!((datagram.rcode, datagram.answer.len(), datagram.tc), (5, 0, false));
    house.put_zone(&(good_zone() + "more A 192.0.2.77\n"));
    wait_until("it is served", || daemon.serial() != serial);
    let said = ask(
        &daemon,
        "dig",
        None,
        &["+noall", "+answer", "+notcp", "+bufsize=1232", "+nocookie", ZONE, &format!("IXFR={serial}")],
    );
    assert!(said.contains("192.0.2.77") || said.matches("\tSOA\t").count() == 1, "{said}");
    let said = ask(&daemon, "dig", None, &["+noall", "+answer", "+tcp", ZONE, &format!("IXFR={serial}")]);
    assert!(said.contains("192.0.2.77") && said.matches("\tSOA\t").count() == 4, "{said}");
}

#[test]
fn slow_clients_have_no_more_than_their_places_and_others_are_answered() {
    let mut zone = good_zone();
    for number in 0..20_000 {
        zone += &format!("host{number} A 192.0.2.{}\n", number % 250);
    }
    let house = house("[secondary.ns2]\naddresses = [\"127.0.0.1\"]\n", &zone);
    let daemon = house.start();
    let ask_for_it = || {
        let mut stream = TcpStream::connect(daemon.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let query = wire::query(name(ZONE).as_wire(), 252, wire::PLAIN);
        stream.write_all(&[&(query.len() as u16).to_be_bytes(), &query[..]].concat()).unwrap();
        stream
    };
    let first = |stream: &mut TcpStream| wire::read_message(stream).unwrap();
    let mut slow: Vec<TcpStream> = (0..10).map(|_| ask_for_it()).collect();
    for stream in &mut slow {
        assert_eq!(first(stream)[3] & 15, 0);
    }
    assert_eq!(first(&mut ask_for_it())[3] & 15, 2, "the eleventh is put off");
    assert_eq!(daemon.rcode("mail.example.org", "A"), "NOERROR");
    // One of them goes on, to the end, and the next query on its connection is answered behind it.
    let mut one = slow.pop().unwrap();
    let query = wire::query(name(ZONE).as_wire(), 6, wire::PLAIN);
    one.write_all(&[&(query.len() as u16).to_be_bytes(), &query[..]].concat()).unwrap();
    let (mut soas, mut messages) = (1, 1);
    while soas < 2 {
        messages += 1;
        soas += wire::read(&first(&mut one)).unwrap().answer.iter().filter(|record| record.rtype == 6).count();
    }
    assert!(messages > 100, "{messages} messages");
    assert_eq!(wire::read(&first(&mut one)).unwrap().question[12 - 12..].len(), ZONE.len() + 2 + 4);
    wait_until("its place is free", || daemon.status()["statistics"]["transfers"]["whole"] == 1);
    drop(slow);
    wait_until("those who went have no places", || daemon.status()["statistics"]["transfers"]["broken-off"] == 9);
    let mut last = ask_for_it();
    let mut all = Vec::new();
    let _ = last.set_read_timeout(Some(Duration::from_secs(2)));
    let _ = last.read_to_end(&mut all);
    assert!(all.len() > 1_000_000, "{} octets", all.len());
}
