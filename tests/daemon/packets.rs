//! No packet stops the server.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::time::Duration;

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::common::name;
use crate::common::wire::{DNSSEC, TCP, ask, query};
use crate::house::{HOST, House};

const DATAGRAMS: usize = 4000;
const STREAMS: usize = 300;

/// A query with octets changed, cut, repeated; or no query at all.
pub fn garble(random: &mut TestRng, host: &[u8]) -> Vec<u8> {
    let mut octets = query(host, [1, 2, 15, 52, 251, 255][random.next_u32() as usize % 6], DNSSEC);
    match random.next_u32() % 5 {
        0 => {
            octets = vec![0; random.next_u32() as usize % 1400];
            random.fill_bytes(&mut octets);
        }
        1 => octets.truncate(random.next_u32() as usize % octets.len()),
        2 => octets.extend_from_slice(&query(host, 1, TCP)),
        _ => {
            for _ in 0..=random.next_u32() % 6 {
                let at = random.next_u32() as usize % octets.len();
                octets[at] = random.next_u32() as u8;
            }
        }
    }
    octets
}

#[test]
fn after_thousands_of_wrong_packets_a_query_is_answered() {
    let house = House::good();
    let mut daemon = house.start();
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let host = name(HOST);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut answer = [0; 65_535];
    let mut answered = 0;
    for _ in 0..DATAGRAMS {
        socket.send_to(&garble(&mut random, host.as_wire()), daemon.address).unwrap();
        while let Ok((length, _)) = socket.recv_from(&mut answer) {
            assert!(length >= 12 && answer[2] & 0x80 != 0, "a response");
            answered += 1;
        }
    }
    assert!(answered > 0);
    for _ in 0..STREAMS {
        let mut octets = garble(&mut random, host.as_wire());
        if random.next_u32().is_multiple_of(2) {
            // A right length in front, so that what is wrong is the message.
            octets.splice(0..0, (octets.len() as u16).to_be_bytes());
        }
        let mut stream = TcpStream::connect(daemon.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        // The server may have hung up.
        let _ = stream.write_all(&octets);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read(&mut answer);
    }
    for how in [DNSSEC, TCP] {
        let response = ask(daemon.address, host.as_wire(), 1, how);
        assert_eq!((response.rcode, response.answer.len()), (0, 2));
    }
    assert!(daemon.is_running());
    let log = daemon.log();
    assert!(!log.contains("panicked"), "{log}");
    assert!(log.lines().count() < 50, "strangers fill the log:\n{log}");
    daemon.stop();
}
