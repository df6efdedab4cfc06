//! Secondaries take a change over since they are told of it, and `status` knows what each has.

use std::net::UdpSocket;
use std::time::Duration;

use super::common::free_port;
use super::house::{CONFIG, Daemon, HEAD, House, wait, wait_until};
use super::secondaries::{self, KEY, NSEC, Peer, Primary, Running};

/// Nobody looks for a change by himself while a test goes on.
const REFRESH: &str = "4h 1h";

fn house(secondaries: &[(&str, u16)], key: bool) -> (House, String) {
    let house = House::empty();
    let secret = secondaries::key(&house);
    let key = if key { format!("key = \"{KEY}\"\n") } else { String::new() };
    let tables = secondaries.iter().map(|(name, port)| {
        format!("[secondary.{name}]\naddresses = [\"127.0.0.1:{port}\"]\nzones = [\"{NSEC}\"]\n{key}")
    });
    house.put("danelaw.toml", format!("tsig-keys = [\"keys/{KEY}.key\"]\n{CONFIG}\n{}", tables.collect::<String>()));
    (house, secret)
}

fn put_zone(house: &House, host: u8) {
    assert!(HEAD.contains(REFRESH));
    house.put(&format!("zones/{NSEC}.zone"), format!("{HEAD}host A 192.0.2.{host}\n"));
}

fn serial(daemon: &Daemon<'_>) -> u32 {
    daemon.dig(&["+short", NSEC, "SOA"]).split_whitespace().nth(2).unwrap().parse().unwrap()
}

/// The state of each secondary's copy, and the serial that it was seen to have.
fn copies(daemon: &Daemon<'_>) -> Vec<(String, String, Option<u64>)> {
    let status = daemon.status();
    let copies = status["secondaries"].as_array().unwrap().iter();
    copies
        .map(|copy| {
            let text = |key: &str| copy[key].as_str().unwrap().to_owned();
            (text("secondary"), text("state"), copy["seen"].as_u64())
        })
        .collect()
}

#[test]
fn nsd_knot_and_bind_take_a_change_over_when_they_are_told() {
    let ports = [free_port(), free_port(), free_port()];
    let (house, secret) = house(&[("bind", ports[0]), ("knot", ports[1]), ("nsd", ports[2])], true);
    put_zone(&house, 1);
    let daemon = house.start();
    let primary = Primary { port: daemon.address.port(), secret, tells: true, ..Primary::default() };
    let peers = [Peer::Bind, Peer::Knot, Peer::Nsd].into_iter().zip(ports);
    let peers: Vec<Running> = peers.map(|(peer, port)| peer.start_at(port, &primary)).collect();
    let all_have = |serial: u32| {
        for peer in &peers {
            wait_until(&format!("{:?} has {serial}", peer.peer), || peer.serial(NSEC) == Some(serial));
        }
    };
    all_have(serial(&daemon));
    for host in 2..5 {
        let before = serial(&daemon);
        put_zone(&house, host);
        wait_until("it is served", || serial(&daemon) != before);
        let serial = serial(&daemon);
        all_have(serial);
        let all = |name: &str| (name.to_owned(), "current".to_owned(), Some(u64::from(serial)));
        wait_until(&format!("it is known: {:?}", copies(&daemon)), || {
            let copies = copies(&daemon);
            copies.len() == peers.len() && copies.iter().all(|copy| *copy == all(&copy.0))
        });
    }
    let shown = String::from_utf8(daemon.house.danelaw(&["status"]).stdout).unwrap();
    let lines: Vec<&str> = shown.lines().filter(|line| line.starts_with("knot")).collect();
    assert!(lines.len() == 1 && lines[0].contains("current"), "{shown}");
}

#[test]
fn who_refuses_is_a_problem_with_a_name_until_it_takes_the_next_version() {
    let port = free_port();
    let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (house, _) = house(&[("ns2", port)], false);
    put_zone(&house, 1);
    let daemon = house.start();
    let mut packet = [0; 512];
    let (length, from) = socket.recv_from(&mut packet).unwrap();
    // RFC 1996 section 3.7: opcode 4, AA, one question for the SOA.
    assert_eq!((packet[2], packet[3], &packet[4..12]), (0x24, 0, &[0, 1, 0, 0, 0, 0, 0, 0][..]));
    assert_eq!(&packet[12..length], b"\x07example\x03org\0\0\x06\0\x01");
    // Who is not asked is not heard: another question's answer, and one from elsewhere.
    let mut answer = packet[..length].to_vec();
    answer[2] |= 0x80;
    let mut other = answer.clone();
    other[13] ^= 1;
    socket.send_to(&other, from).unwrap();
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&answer, from).unwrap();
    assert_eq!(copies(&daemon)[0].1, "waiting");
    answer[3] |= 9;
    socket.send_to(&answer, from).unwrap();
    wait("it is known", || (copies(&daemon)[0].1 == "refusing").then_some(()));
    wait_until("it is a problem", || {
        daemon.house.danelaw(&["reload"]);
        daemon.status()["problems"].to_string().contains("secondary ns2, 127.0.0.1")
    });
    put_zone(&house, 2);
    let (length, from) = socket.recv_from(&mut packet).unwrap();
    packet[2] |= 0x80;
    socket.send_to(&packet[..length], from).unwrap();
    // It is looked at until it has the version.
    let (length, from) = socket.recv_from(&mut packet).unwrap();
    assert_eq!((packet[2], &packet[12..length]), (0, &b"\x07example\x03org\0\0\x06\0\x01"[..]));
    let mut soa = packet[..length].to_vec();
    (soa[2], soa[7]) = (0x84, 1);
    soa.extend([0xc0, 12, 0, 6, 0, 1, 0, 0, 14, 16, 0, 22, 0, 0]);
    soa.extend(serial(&daemon).to_be_bytes());
    soa.extend([0; 16]);
    socket.send_to(&soa, from).unwrap();
    wait_until("it is current", || copies(&daemon)[0].1 == "current");
    wait_until("the problem is solved", || {
        daemon.house.danelaw(&["reload"]);
        !daemon.status()["problems"].to_string().contains("secondary ns2")
    });
}

/// A nameserver of 127.0.0.2, where nothing else is; and the house's zone with these nameservers.
fn nameserver(more: &str, records: &str) -> (UdpSocket, House) {
    let socket = UdpSocket::bind("127.0.0.2:53").expect("port 53 of 127.0.0.2: the tests run as root");
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let house = House::empty();
    house.put("danelaw.toml", format!("notify-nameservers = true\n{CONFIG}{more}"));
    house.put(&format!("zones/{NSEC}.zone"), format!("{HEAD}{records}"));
    (socket, house)
}

#[test]
fn a_nameserver_of_the_zone_is_told_and_learns_why_it_gets_nothing() {
    let (socket, house) = nameserver("", "@ NS ns2\n@ NS ns.nowhere.invalid.\nns2 A 127.0.0.2\n");
    let daemon = house.start();
    let mut packet = [0; 512];
    let (length, from) = socket.recv_from(&mut packet).unwrap();
    assert_eq!((packet[2], &packet[12..length]), (0x24, &b"\x07example\x03org\0\0\x06\0\x01"[..]));
    packet[2] |= 0x80;
    socket.send_to(&packet[..length], from).unwrap();
    let told = wait("it is known", || copies(&daemon).into_iter().next());
    assert_eq!(told.0, "ns2.example.org", "and nobody else: ns1 is the SOA's");
    assert_eq!(copies(&daemon).len(), 1);
    wait_until("the host that is nowhere is a problem", || {
        daemon.house.danelaw(&["reload"]);
        daemon.problems().contains("nameserver ns.nowhere.invalid: its address can't be looked up")
    });
    let port = daemon.address.port().to_string();
    let arguments = ["@127.0.0.1", "-b", "127.0.0.2", "-p", &port, NSEC, "AXFR"];
    let said = super::common::run("dig", &arguments);
    assert!(String::from_utf8_lossy(&said.stdout).contains("Transfer failed"), "told is not allowed");
    let log = daemon.log();
    assert!(log.contains("[secondary.\"ns2.example.org\"] addresses = [\"127.0.0.2\"]"), "{log}");

    // As a secondary it has what its table says, and is told once.
    let config = String::from_utf8(house.read("danelaw.toml")).unwrap();
    house.put("danelaw.toml", config + "[secondary.two]\naddresses = [\"127.0.0.2\"]\n");
    daemon.house.danelaw(&["reload"]);
    let said = super::common::run("dig", &arguments);
    assert!(String::from_utf8_lossy(&said.stdout).contains("ns2.example.org."), "{said:?}");
    assert_eq!(copies(&daemon).into_iter().map(|copy| copy.0).collect::<Vec<_>>(), ["two"]);
}
