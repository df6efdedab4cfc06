//! Options, cookies and rate limits of the running daemon.

use std::net::UdpSocket;
use std::time::Duration;

use crate::common::name;
use crate::common::wire::{self, DNSSEC};
use crate::house::{CONFIG, House, ZONE};

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

    let said = daemon.dig(&["+tcp", "CH", "TXT", "version.bind"]);
    assert!(said.contains("status: REFUSED"), "{said}");
    let said = daemon.dig(&["+tcp", "CH", "TXT", "id.server"]);
    assert!(said.contains("\"ns1.example.org\""), "{said}");
}
