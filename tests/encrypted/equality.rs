//! One answer, whatever carries it.

use std::io::Write;

use danelaw::dns::Rtype;
use danelaw::serve::Transport;

use super::clients::{self, framed, read_frame};
use super::common::wire::{DNSSEC, PLAIN, TCP, query};
use super::common::{EXAMPLES, example, name};
use super::laboratory::{Client, Laboratory};

/// A query with the ID that DoQ asks for and DoH recommends.
pub fn zero(owner: &[u8], rtype: Rtype, ask: super::common::wire::Ask) -> Vec<u8> {
    let mut query = query(owner, rtype.0, ask);
    query[..2].fill(0);
    query
}

#[test]
fn every_transport_gives_the_same_octets() {
    let laboratory = Laboratory::new();
    let mut client = Client::new(&laboratory);
    let (mut compared, mut truncated) = (0, 0);
    for origin in EXAMPLES {
        let contents = example(origin);
        let mut questions: Vec<(Vec<u8>, Rtype)> = Vec::new();
        for node in contents.nodes() {
            questions.extend(node.sets().map(|set| (node.name().to_vec(), set.rtype)));
            questions.push((node.name().to_vec(), Rtype(65_280)));
            questions.push((name(&format!("no-such-name.{origin}")).as_wire().to_vec(), Rtype::TXT));
        }
        questions.push((name("elsewhere.test").as_wire().to_vec(), Rtype::SOA));
        questions.sort();
        questions.dedup();
        for (owner, rtype) in &questions {
            for ask in [PLAIN, DNSSEC] {
                let answers = client.ask_all(&zero(owner, *rtype, ask));
                // A datagram may have to be truncated, and nothing else.
                let tc = answers[0].1[2] & 2 != 0;
                truncated += usize::from(tc);
                for (transport, answer) in &answers[usize::from(tc)..] {
                    assert_eq!(answer, &answers[1].1, "{transport}: {} {rtype}", name(origin));
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 1000 && truncated > 0, "{compared} answers compared, {truncated} truncated");
}

#[test]
fn what_can_not_be_read_is_formerr_everywhere() {
    let laboratory = Laboratory::new();
    let mut client = Client::new(&laboratory);
    let good = zero(name("mail.example.org").as_wire(), Rtype::A, DNSSEC);
    for length in [12, 20, good.len() - 1] {
        for (transport, answer) in client.ask_all(&good[..length]) {
            assert_eq!((answer[3] & 15, answer[2] & 0x80), (1, 0x80), "{transport}, {length} octets");
        }
    }
}

#[test]
fn tls_takes_pipelined_queries_in_any_pieces_and_names_its_protocol() {
    let laboratory = Laboratory::new();
    let trusted = laboratory.presented.chain().unwrap();
    let server = laboratory.address(Transport::Tls);
    let mut client = clients::dot(server, clients::config(&trusted, b"dot")).unwrap();
    assert_eq!(client.conn.alpn_protocol(), Some(&b"dot"[..]));
    let mut queries = Vec::new();
    for id in 1..=200u16 {
        let mut query = query(name("example.org").as_wire(), Rtype::DNSKEY.0, TCP);
        query[..2].copy_from_slice(&id.to_be_bytes());
        queries.extend(framed(&query));
    }
    for piece in queries.chunks(37) {
        client.write_all(piece).unwrap();
    }
    let mut ids: Vec<u16> = (0..200)
        .map(|_| read_frame(&mut client).map(|answer| u16::from_be_bytes([answer[0], answer[1]])).unwrap())
        .collect();
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(1..=200), "each query has its one answer: {ids:?}");
    // Another protocol's client is turned away, and one that names none is not (RFC 7858 knows no ALPN).
    assert!(clients::dot(server, clients::config(&trusted, b"http/1.1")).is_err());
    let mut nameless = clients::config(&trusted, b"");
    nameless.alpn_protocols.clear();
    let mut client = clients::dot(server, nameless).unwrap();
    client.write_all(&queries[..queries.len() / 200]).unwrap();
    assert_eq!(read_frame(&mut client).unwrap()[..2], [0, 1]);
}
