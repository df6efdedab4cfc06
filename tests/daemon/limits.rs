//! Options, cookies and rate limits of the running daemon.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::common::name;
use crate::common::wire::{self, DNSSEC};
use crate::house::{CONFIG, House, ZONE, wait_until};

const LIMITED: &str = "[server]\nnsid = \"here\"\nversion = \"\"\nidentity = \"ns1.example.org\"\n\
                       [rate-limit]\nresponses-per-second = 5\n";

/// How many of so many queries are answered whole, and how many with TC or BADCOOKIE.
fn flood(server: std::net::SocketAddr, query: &[u8], count: usize) -> (usize, usize) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    for _ in 0..count {
        socket.send_to(query, server).unwrap();
    }
    let (mut whole, mut short) = (0, 0);
    let mut response = [0; 4096];
    while let Ok((len, _)) = socket.recv_from(&mut response) {
        let decoded = wire::decode(&response[..len]);
        if decoded.tc || decoded.rcode == 23 { short += 1 } else { whole += 1 }
    }
    (whole, short)
}

#[test]
fn a_flood_is_limited_and_a_cookie_lifts_the_limit() {
    let house = House::good();
    house.put("danelaw.toml", format!("{CONFIG}{LIMITED}"));
    let daemon = house.start();
    let query = wire::query(name(ZONE).as_wire(), 6, DNSSEC);
    let (whole, short) = flood(daemon.address, &query, 100);
    assert!((5..=15).contains(&whole) && (35..=50).contains(&short), "{whole} whole, {short} short");

    let limited = |status: &serde_json::Value| {
        let of = |what: &str| status["statistics"]["rate-limit"][what].as_u64().unwrap() as usize;
        (of("dropped"), of("slipped"))
    };
    let status = daemon.status();
    assert_eq!(limited(&status), (100 - whole - short, short));
    assert_eq!(status["statistics"]["queries"][0]["ipv4"], 100);
    assert_eq!(status["statistics"]["types"]["SOA"], 100);
    assert_eq!((&status["statistics"]["dnssec-ok"], &status["responses-per-second"]), (&100.into(), &5.into()));
    assert!(daemon.log().contains("rate limit: 127.0.0.0/24"), "{}", daemon.log());

    let said = daemon.dig(&["+cookie", "+nsid", "+tcp", ZONE, "SOA"]);
    assert!(said.contains("(good)") && said.contains("(\"here\")"), "{said}");
    let cookie = said.split("; COOKIE: ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    let cookie = data_encoding::HEXLOWER.decode(cookie.as_bytes()).unwrap();
    let mut proven = query.clone();
    let at = proven.len() - 2;
    proven[at..].copy_from_slice(&[0, 28]);
    proven.extend_from_slice(&[0, 10, 0, 24]);
    proven.extend_from_slice(&cookie);
    assert_eq!(flood(daemon.address, &proven, 100), (100, 0));
    let status = daemon.status();
    assert_eq!(limited(&status), (100 - whole - short, short), "no more than before");
    assert_eq!(status["statistics"]["cookies"], serde_json::json!({"new": 1, "valid": 100, "bad": 0}));
    let shown = String::from_utf8(house.danelaw(&["status"]).stdout).unwrap();
    assert!(
        shown.contains(&format!("5 responses a second, {} dropped, {short} sent short", 100 - whole - short)),
        "{shown}"
    );
    assert!(shown.contains("queries: 201 (udp 200, tcp 1), 0 over IPv6, 200 with DO"), "{shown}");

    let said = daemon.dig(&["+tcp", "CH", "TXT", "version.bind"]);
    assert!(said.contains("status: REFUSED"), "{said}");
    let said = daemon.dig(&["+tcp", "CH", "TXT", "id.server"]);
    assert!(said.contains("\"ns1.example.org\""), "{said}");
}

#[test]
fn without_descriptors_clients_wait_and_are_answered_once_there_are_some() {
    let house = House::good();
    let daemon = house.start();
    let open = || std::fs::read_dir(format!("/proc/{}/fd", daemon.id())).unwrap().count() as u64;
    let pid = Pid::from_raw(daemon.id() as i32).unwrap();
    let limit = open() + 8;
    let before = prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(limit), maximum: Some(limit + 1000) });
    assert!(before.unwrap().current.is_none_or(|current| current > limit));
    let query = wire::query(name(ZONE).as_wire(), 6, DNSSEC);
    let framed = [&(query.len() as u16).to_be_bytes(), &query[..]].concat();
    let connect = || {
        let mut stream = TcpStream::connect(daemon.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(&framed).unwrap();
        stream
    };
    let mut clients: Vec<TcpStream> = (0..40).map(|_| connect()).collect();
    wait_until("it is told of", || daemon.log().contains("accepting over TCP"));
    // Those that have a place are answered, whoever they are, and UDP is.
    let is_answered = |client: &TcpStream| {
        client.set_nonblocking(true).unwrap();
        let answered = client.peek(&mut [0]).is_ok();
        client.set_nonblocking(false).unwrap();
        answered
    };
    wait_until("somebody is answered", || clients.iter().any(is_answered));
    assert_eq!(daemon.serial(), daemon.serial());
    let mut last = clients.pop().unwrap();
    drop(clients);
    last.read_exact(&mut [0; 100]).unwrap();
}
