//! Clients that hold on and do nothing, or little: others are answered all the while.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use danelaw::dns::Rtype;
use danelaw::serve::encrypted::EncryptedLimits;
use danelaw::serve::{TcpLimits, Transport};

use super::clients::{self, config, doh, doq, dot, framed, read_frame};
use super::common::name;
use super::common::wire::DNSSEC;
use super::equality::zero;
use super::laboratory::{Client, Laboratory, until};

fn question() -> Vec<u8> {
    zero(name("mail.example.org").as_wire(), Rtype::A, DNSSEC)
}

/// New clients of every transport are answered.
fn others_are_answered(laboratory: &Laboratory, rounds: usize) {
    for _ in 0..rounds {
        let answers = Client::new(laboratory).ask_all(&question());
        assert!(answers.iter().all(|(_, answer)| answer == &answers[0].1));
    }
}

fn many_of_one_address() -> EncryptedLimits {
    let connection = TcpLimits { connections: 2000, connections_per_address: 2000, ..TcpLimits::default() };
    EncryptedLimits { connection, handshakes: 2000, handshakes_per_address: 2000, ..EncryptedLimits::default() }
}

fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(clients::PATIENCE)).unwrap();
    stream
}

fn is_closed(stream: &mut impl Read) -> bool {
    match stream.read(&mut [0; 1]) {
        Ok(read) => read == 0,
        Err(error) => !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
    }
}

#[test]
fn a_thousand_idle_clients_keep_nobody_waiting() {
    let laboratory = Laboratory::with(many_of_one_address());
    let trusted = laboratory.presented.chain().unwrap();
    let (tls, https) = (config(&trusted, b"dot"), config(&trusted, b"h2"));
    let idle_tls: Vec<_> = (0..500).map(|_| dot(laboratory.address(Transport::Tls), tls.clone()).unwrap()).collect();
    let idle_https: Vec<_> = laboratory.runtime.block_on(async {
        let mut idle = Vec::new();
        for _ in 0..300 {
            idle.push(doh(laboratory.address(Transport::Https), https.clone()).await.unwrap());
        }
        idle
    });
    let idle_quic: Vec<_> = laboratory.runtime.block_on(async {
        let mut idle = Vec::new();
        for _ in 0..200 {
            idle.push(doq(laboratory.address(Transport::Quic), config(&trusted, b"doq")).await.unwrap());
        }
        idle
    });
    others_are_answered(&laboratory, 5);
    assert_eq!(idle_tls.len() + idle_https.len() + idle_quic.len(), 1000);
}

#[test]
fn half_open_handshakes_keep_nobody_waiting_and_end() {
    let limits = EncryptedLimits { handshake: Duration::from_secs(1), ..many_of_one_address() };
    let laboratory = Laboratory::with(limits);
    let mut half_open = Vec::new();
    for transport in [Transport::Tls, Transport::Https] {
        for index in 0..200 {
            let mut stream = connect(laboratory.address(transport));
            // Nothing, or the beginning of a ClientHello.
            stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc][..index % 10]).unwrap();
            half_open.push(stream);
        }
    }
    others_are_answered(&laboratory, 3);
    for stream in &mut half_open {
        assert!(is_closed(stream));
    }
}

#[test]
fn a_quic_client_that_stalls_in_its_handshake_holds_up_none() {
    let limits = EncryptedLimits { handshake: Duration::from_secs(60), ..EncryptedLimits::default() };
    let laboratory = Laboratory::with(limits);
    let trusted = laboratory.presented.chain().unwrap();
    let server = laboratory.address(Transport::Quic);
    // Real first packets, each of a client of its own, whose senders never hear what comes back.
    for _ in 0..100 {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        silent.send_to(&first_packet(&laboratory, &trusted), server).unwrap();
    }
    others_are_answered(&laboratory, 3);
}

/// What a QUIC client sends first, caught on its way.
fn first_packet(laboratory: &Laboratory, trusted: &[rustls::pki_types::CertificateDer<'static>]) -> Vec<u8> {
    let trap = UdpSocket::bind("127.0.0.1:0").unwrap();
    trap.set_read_timeout(Some(clients::PATIENCE)).unwrap();
    let address = trap.local_addr().unwrap();
    let client = laboratory.runtime.spawn(doq(address, config(trusted, b"doq")));
    let mut packet = vec![0; 2000];
    let (length, _) = trap.recv_from(&mut packet).unwrap();
    client.abort();
    packet.truncate(length);
    packet
}

#[test]
fn a_full_house_makes_room_for_whoever_comes() {
    let connection = TcpLimits { connections: 20, connections_per_address: 2000, ..TcpLimits::default() };
    let limits =
        EncryptedLimits { connection, handshakes: 10, handshakes_per_address: 2000, ..EncryptedLimits::default() };
    let laboratory = Laboratory::with(limits);
    let trusted = laboratory.presented.chain().unwrap();
    let open = || dot(laboratory.address(Transport::Tls), config(&trusted, b"dot"));
    let mut idle = Vec::new();
    until("twenty connections", || {
        idle.extend(open().ok());
        idle.len() >= 20
    });
    let half_open: Vec<TcpStream> = (0..10).map(|_| connect(laboratory.address(Transport::Tls))).collect();
    // Room is made once the others have been silent for half a second.
    until("a newcomer is answered", || {
        open().is_ok_and(|mut client| client.write_all(&framed(&question())).is_ok() && read_frame(&mut client).is_ok())
    });
    let closed = idle.iter_mut().any(is_closed);
    assert!(closed, "whoever has been silent longest went for it");
    drop(half_open);
}

#[test]
fn one_address_has_its_places_and_no_more() {
    let connection = TcpLimits { connections_per_address: 3, ..TcpLimits::default() };
    let laboratory = Laboratory::with(EncryptedLimits { connection, ..EncryptedLimits::default() });
    let trusted = laboratory.presented.chain().unwrap();
    let runtime = &laboratory.runtime;
    let tls = || dot(laboratory.address(Transport::Tls), config(&trusted, b"dot"));
    let quic = || runtime.block_on(doq(laboratory.address(Transport::Quic), config(&trusted, b"doq")));
    let held = [tls().unwrap(), tls().unwrap(), tls().unwrap()];
    assert!(tls().is_err());
    let quic_held = [quic().unwrap(), quic().unwrap(), quic().unwrap()];
    assert!(quic().is_err());
    drop((held, quic_held));
    until("places come back", || tls().is_ok());
    until("places come back", || quic().is_ok());
}

#[test]
fn clients_of_an_octet_at_a_time_are_answered_or_end_and_others_are_answered() {
    let connection =
        TcpLimits { receive: Duration::from_secs(1), idle: Duration::from_secs(3), ..TcpLimits::default() };
    let laboratory = Laboratory::with(EncryptedLimits { connection, ..EncryptedLimits::default() });
    let trusted = laboratory.presented.chain().unwrap();
    let mut client = dot(laboratory.address(Transport::Tls), config(&trusted, b"dot")).unwrap();
    for octet in framed(&question()) {
        client.write_all(&[octet]).unwrap();
    }
    assert!(read_frame(&mut client).unwrap().len() > 12, "slow, but within its time");
    client.write_all(&framed(&question())[..7]).unwrap();
    let quic = laboratory.runtime.block_on(async {
        let client = doq(laboratory.address(Transport::Quic), config(&trusted, b"doq")).await.unwrap();
        let (mut send, receive) = client.open_bi().await.unwrap();
        send.write_all(&[0]).await.unwrap();
        (client, send, receive)
    });
    others_are_answered(&laboratory, 3);
    assert!(is_closed(&mut client), "half a query");
    let (client, _send, mut receive) = quic;
    laboratory.runtime.block_on(async {
        assert!(receive.read_to_end(10).await.is_err(), "a stream that stalls is reset");
        // Its connection may ask on, until it has been idle.
        let said = clients::doq_octets(&client, &framed(&question())).await;
        assert!(said.unwrap().len() > 14);
        tokio::time::timeout(clients::PATIENCE, client.closed()).await.expect("idle");
    });
}

#[test]
fn a_request_whose_body_never_comes_is_told_so_and_idle_connections_end() {
    let connection =
        TcpLimits { receive: Duration::from_millis(300), idle: Duration::from_secs(1), ..TcpLimits::default() };
    let laboratory = Laboratory::with(EncryptedLimits { connection, streams: 4, ..EncryptedLimits::default() });
    let trusted = laboratory.presented.chain().unwrap();
    laboratory.runtime.block_on(async {
        let mut client = doh(laboratory.address(Transport::Https), config(&trusted, b"h2")).await.unwrap();
        let head = || {
            let head = http::Request::builder().method("POST").uri("https://ns1.example.org/dns-query");
            head.header("content-type", clients::MEDIA_TYPE).body(()).unwrap()
        };
        let mut stalled = Vec::new();
        for _ in 0..4 {
            client = client.ready().await.unwrap();
            stalled.push(client.send_request(head(), false).unwrap());
        }
        for (response, _) in &mut stalled {
            assert_eq!(response.await.unwrap().status(), http::StatusCode::REQUEST_TIMEOUT);
        }
        drop(stalled);
        // All four streams are free again.
        let path = clients::get(&question());
        let said = clients::request(&client, http::Method::GET, &path, None, None).await.unwrap();
        assert_eq!(said.0, http::StatusCode::OK);
        let ended = async {
            while clients::request(&client, http::Method::GET, "/", None, None).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1500)).await;
            }
        };
        tokio::time::timeout(clients::PATIENCE, ended).await.expect("idle for too long");
    });
}

#[test]
fn requests_taken_back_at_once_by_the_thousand_keep_nobody_waiting() {
    let laboratory = Laboratory::new();
    let trusted = laboratory.presented.chain().unwrap();
    let path = format!("https://ns1.example.org{}", clients::get(&question()));
    laboratory.runtime.block_on(async {
        let mut client = doh(laboratory.address(Transport::Https), config(&trusted, b"h2")).await.unwrap();
        for _ in 0..2000 {
            // The server may end such a connection.
            let Ok(ready) = client.ready().await else { break };
            client = ready;
            let request = http::Request::get(&path).body(()).unwrap();
            let Ok((_, mut stream)) = client.send_request(request, false) else { break };
            stream.send_reset(h2::Reason::CANCEL);
            tokio::task::yield_now().await;
            let Ok(ready) = client.ready().await else { break };
            client = ready;
        }
    });
    others_are_answered(&laboratory, 2);
}
