//! A server over one snapshot: as little as a client needs to believe it, UDP and TCP on one port of 127.0.0.1.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use danelaw::answer::{Context, MESSAGE_MAX, Settings, Transport, answer};
use danelaw::zone::Snapshot;

/// Serves until the test program ends.
pub fn serve(snapshot: Snapshot) -> SocketAddr {
    serve_with(snapshot, Settings::NONE)
}

/// [`serve`] with options and cookies.
pub fn serve_with(snapshot: Snapshot, settings: &'static Settings) -> SocketAddr {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    let snapshot = Arc::new(snapshot);
    let shared = Arc::clone(&snapshot);
    std::thread::spawn(move || {
        let (mut query, mut out) = ([0; 4096], vec![0; MESSAGE_MAX]);
        while let Ok((len, peer)) = udp.recv_from(&mut query) {
            let context = Context::new(peer.ip(), Transport::Udp, super::now()).with(settings);
            if let Some(len) = answer(&shared, &context, &query[..len], &mut out) {
                udp.send_to(&out[..len], peer).unwrap();
            }
        }
    });
    std::thread::spawn(move || {
        for stream in tcp.incoming() {
            let shared = Arc::clone(&snapshot);
            std::thread::spawn(move || serve_stream(stream.unwrap(), &shared, settings));
        }
    });
    address
}

fn serve_stream(mut stream: std::net::TcpStream, snapshot: &Snapshot, settings: &Settings) {
    let mut out = vec![0; MESSAGE_MAX];
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut query).is_err() {
            return;
        }
        let context = Context::new([127, 0, 0, 1].into(), Transport::Tcp, super::now()).with(settings);
        if let Some(len) = answer(snapshot, &context, &query, &mut out) {
            let framed = [&(len as u16).to_be_bytes(), &out[..len]].concat();
            if stream.write_all(&framed).is_err() {
                return;
            }
        }
    }
}
