//! What TCP clients may do, and what they may not.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::{Buffers, Connection, Wants};
use super::mailbox::{Address, Mailbox};
use crate::serve::clients::Clients;
use crate::serve::counters::Tally;
use crate::serve::tests::{Mirror, framed, is_closed, query, read_frame, serve_and_count, serve_on, tcp_client};
use crate::serve::{Counters, MAX_MESSAGE, Statistics, TcpLimits};

const LOOPBACK: &str = "127.0.0.1:0";

#[test]
fn a_client_that_ends_its_half_still_gets_all_answers() {
    let handle = serve_on(LOOPBACK, TcpLimits::default());
    let mut stream = tcp_client(handle.local_addrs()[0]);
    for id in 0..100 {
        stream.write_all(&framed(&query(id, b"long"))).unwrap();
    }
    // Half a query after them is nobody's.
    stream.write_all(&[0, 30, 1]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    for id in 0..100u16 {
        assert_eq!(read_frame(&mut stream)[..2], id.to_be_bytes());
    }
    assert!(is_closed(&mut stream));
}

#[test]
fn who_asks_faster_than_he_listens_gets_all_answers_in_order() {
    let handle = serve_on(LOOPBACK, TcpLimits::default());
    let mut stream = tcp_client(handle.local_addrs()[0]);
    let mut asking = stream.try_clone().unwrap();
    let asker = std::thread::spawn(move || {
        for id in 0..2000 {
            let what = if id % 3 == 0 { &b"long"[..] } else { b"short" };
            asking.write_all(&framed(&query(id, what))).unwrap();
        }
    });
    for id in 0..2000u16 {
        // Now and then the answers pile up.
        if id % 500 == 0 {
            std::thread::sleep(Duration::from_millis(50));
        }
        let response = read_frame(&mut stream);
        assert_eq!((&response[..2], response.len()), (&id.to_be_bytes()[..], if id % 3 == 0 { 40_000 } else { 17 }));
    }
    asker.join().unwrap();
}

/// A connection and the client's end of it.
fn pair() -> (TcpStream, Connection, Buffers) {
    let listener = TcpListener::bind(LOOPBACK).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    let (stream, peer) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let stream = Arc::new(stream);
    let place = Clients::new("connections", 9, 9).enter_with(peer, &stream).unwrap();
    let address = Address { mailbox: Arc::new(Mailbox::new().unwrap()), slot: 0 };
    (client, Connection::new(stream, peer, place, address, Instant::now()), Buffers::new(MAX_MESSAGE))
}

/// Does what a wakeup does.
fn proceed(connection: &mut Connection, buffers: &mut Buffers, tally: &Tally, now: Instant) {
    if let Some(arrived) = connection.gather(buffers, now).unwrap() {
        assert!(connection.answer(&arrived, buffers, &Mirror, tally, now).unwrap());
    }
    buffers.clear();
}

#[test]
fn a_client_that_takes_nothing_makes_the_server_hold_little() {
    let (mut client, mut connection, mut buffers) = pair();
    client.set_nonblocking(true).unwrap();
    let (counters, now) = (Counters::default(), Instant::now());
    let tally = counters.tally();
    let ask = framed(&query(1, b"long")).repeat(1000);
    let mut held = 0;
    for _ in 0..2000 {
        let _ = client.write(&ask);
        proceed(&mut connection, &mut buffers, &tally, now);
        held = held.max(connection.held());
    }
    assert_eq!(connection.wants(), Wants::Room);
    assert!((40_000..400_000).contains(&held), "{held} octets");
    let answered = counters.statistics().queries[1].ipv4;
    proceed(&mut connection, &mut buffers, &tally, now);
    assert_eq!(counters.statistics().queries[1].ipv4, answered, "nothing is answered before there is room");
}

#[test]
fn each_wait_has_its_own_limit() {
    let (mut client, mut connection, mut buffers) = pair();
    let counters = Counters::default();
    let tally = counters.tally();
    let limits = TcpLimits {
        idle: Duration::from_secs(30),
        receive: Duration::from_secs(5),
        send: Duration::from_secs(10),
        ..TcpLimits::default()
    };
    let begun = Instant::now();
    let after = |seconds| begun + Duration::from_secs(seconds);
    let mut proceed_at = |connection: &mut Connection, seconds| {
        while connection.wants() == Wants::Queries && connection.stream().peek(&mut [0]).is_err() {
            std::thread::yield_now();
        }
        proceed(connection, &mut buffers, &tally, after(seconds));
    };
    assert!(!connection.is_too_slow(&limits, after(29)) && connection.is_too_slow(&limits, after(31)));
    client.write_all(&framed(&query(1, b"x"))).unwrap();
    proceed_at(&mut connection, 20);
    assert!(
        !connection.is_too_slow(&limits, after(49)) && connection.is_too_slow(&limits, after(50)),
        "a query counts"
    );
    // An octet a second keeps nothing open.
    for (second, octet) in framed(&query(2, b"xxx"))[..9].iter().enumerate() {
        client.write_all(&[*octet]).unwrap();
        proceed_at(&mut connection, 40 + second as u64);
        assert_eq!(connection.is_too_slow(&limits, after(40 + second as u64)), second >= 5, "{second} s");
    }
    client.write_all(&framed(&query(2, b"xxx"))[9..]).unwrap();
    proceed_at(&mut connection, 49);
    assert!(!connection.is_too_slow(&limits, after(78)) && connection.is_too_slow(&limits, after(79)));
    while connection.wants() == Wants::Queries {
        client.write_all(&framed(&query(3, b"long"))).unwrap();
        proceed_at(&mut connection, 100);
    }
    proceed_at(&mut connection, 105);
    assert!(!connection.is_too_slow(&limits, after(109)) && connection.is_too_slow(&limits, after(110)), "no room");
}

#[test]
fn in_a_full_house_the_silent_one_is_closed_for_a_new_one() {
    let limits = TcpLimits { connections: 2, ..TcpLimits::default() };
    let handle = serve_on(LOOPBACK, limits);
    let ask = |stream: &mut TcpStream| {
        stream.write_all(&framed(&query(1, b"x"))).unwrap();
        assert_eq!(read_frame(stream).len(), 13);
    };
    let server = handle.local_addrs()[0];
    let (mut silent, mut talker) = (tcp_client(server), tcp_client(server));
    ask(&mut silent);
    ask(&mut talker);
    std::thread::sleep(Duration::from_secs(1));
    ask(&mut talker);
    let mut new = tcp_client(server);
    ask(&mut new);
    assert!(is_closed(&mut silent));
    ask(&mut talker);
}

/// Waits until it is so.
fn until(what: &str, counters: &Counters, is_so: impl Fn(&Statistics) -> bool) {
    let begun = Instant::now();
    while !is_so(&counters.statistics()) {
        assert!(begun.elapsed() < Duration::from_secs(5), "{what}: {:?}", counters.statistics());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn connections_are_counted_as_they_come_and_go() {
    let counters = Counters::default();
    let limits = TcpLimits { connections_per_address: 2, ..TcpLimits::default() };
    let handle = serve_and_count(LOOPBACK, limits, &counters);
    let server: SocketAddr = handle.local_addrs()[0];
    let counts = |statistics: &Statistics| {
        let tcp = statistics.connections[0];
        (tcp.open, tcp.accepted, tcp.refused)
    };
    let clients = [tcp_client(server), tcp_client(server)];
    until("two are there", &counters, |statistics| counts(statistics) == (2, 2, 0));
    assert!(is_closed(&mut tcp_client(server)));
    drop(clients);
    until("both are gone", &counters, |statistics| counts(statistics) == (0, 2, 1));
}
