//! Asks: by raw socket, by `dig`, by `delv`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use danelaw::dns::Rtype;

pub use crate::parsed::{Parsed, parse};

const PATIENCE: Duration = Duration::from_secs(5);

/// The OPT record of a query.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    pub payload: u16,
    pub dnssec_ok: bool,
    pub version: u8,
}

/// A query's octets; RD and CD are set, to see them copied.
pub fn query(name: &[u8], rtype: Rtype, opt: Option<Opt>) -> Vec<u8> {
    let mut out = vec![0x12, 0x34, 0x01, 0x10, 0, 1, 0, 0, 0, 0, 0, u8::from(opt.is_some())];
    out.extend_from_slice(name);
    out.extend_from_slice(&rtype.0.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    if let Some(opt) = opt {
        let payload = opt.payload.to_be_bytes();
        let flags = if opt.dnssec_ok { 0x80 } else { 0 };
        out.extend_from_slice(&[0, 0, 41, payload[0], payload[1], 0, opt.version, flags, 0, 0, 0]);
    }
    out
}

pub fn udp(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(query, server).unwrap();
    let mut out = vec![0; 65_535];
    let len = socket.recv(&mut out).expect("an answer over UDP");
    out.truncate(len);
    out
}

pub fn tcp(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&[&(query.len() as u16).to_be_bytes(), query].concat()).unwrap();
    let mut len = [0; 2];
    stream.read_exact(&mut len).expect("an answer over TCP");
    let mut out = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut out).unwrap();
    out
}

/// Runs `dig` and gives its output.
pub fn dig(server: SocketAddr, arguments: &[&str]) -> String {
    run("dig", server, &[&["+time=5", "+tries=1", "+nocookie"], arguments].concat())
}

/// Runs `delv` with a DNSKEY as its only trust anchor.
pub fn delv(server: SocketAddr, zone: &str, dnskey: &[u8], arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let anchor = folder.path().join("anchor");
    let key = data_encoding::BASE64.encode(&dnskey[4..]);
    let flags = u16::from_be_bytes([dnskey[0], dnskey[1]]);
    let line = format!("trust-anchors {{ \"{zone}\" static-key {flags} 3 {} \"{key}\"; }};\n", dnskey[3]);
    std::fs::write(&anchor, line).unwrap();
    let root = format!("+root={zone}");
    run("delv", server, &[&["-a", anchor.to_str().unwrap(), &root], arguments].concat())
}

fn run(tool: &str, server: SocketAddr, arguments: &[&str]) -> String {
    let output = Command::new(tool)
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string()])
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{tool} does not run ({error}); it is in Debian's bind9-dnsutils"));
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
