//! Asks: by raw socket, by `dig`, by `delv`; and reads a response into values that can be compared.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use danelaw::dns::Rtype;
use danelaw::dns::rtype::Field;

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

/// A record with its names written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rr {
    pub owner: Vec<u8>,
    pub rtype: Rtype,
    pub class: u16,
    pub ttl: u32,
    pub rdata: Vec<u8>,
}

/// A message with its names written out; equal where the meaning is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Identifier and flags, as they stand.
    pub head: [u8; 4],
    pub question: Vec<u8>,
    /// Answer, authority, additional without OPT.
    pub sections: [Vec<Rr>; 3],
    pub opt: Option<Rr>,
}

impl Parsed {
    pub fn rcode(&self) -> u16 {
        let high = self.opt.as_ref().map_or(0, |opt| (opt.ttl >> 24) as u16);
        high << 4 | u16::from(self.head[3] & 0xf)
    }

    pub fn authoritative(&self) -> bool {
        self.head[2] & 4 != 0
    }

    pub fn truncated(&self) -> bool {
        self.head[2] & 2 != 0
    }

    /// The types of a section, each once, in order.
    pub fn types(&self, section: usize) -> Vec<Rtype> {
        let mut types: Vec<Rtype> = self.sections[section].iter().map(|rr| rr.rtype).collect();
        types.dedup();
        types
    }
}

/// Reads a message, by danelaw's table of types alone: hickory is what is under test.
pub fn parse(message: &[u8]) -> Parsed {
    let count = |index: usize| u16::from_be_bytes([message[4 + 2 * index], message[5 + 2 * index]]);
    let mut at = 12;
    for _ in 0..count(0) {
        name(message, &mut at);
        at += 4;
    }
    let question = message[12..at].to_vec();
    let mut sections = [1, 2, 3].map(|index| (0..count(index)).map(|_| record(message, &mut at)).collect::<Vec<_>>());
    assert_eq!(at, message.len(), "nothing stands after the last record");
    let opt = sections[2].iter().position(|rr| rr.rtype == Rtype::OPT).map(|index| sections[2].remove(index));
    Parsed { head: message[..4].try_into().unwrap(), question, sections, opt }
}

fn record(message: &[u8], at: &mut usize) -> Rr {
    let owner = name(message, at);
    let head = &message[*at..*at + 10];
    let u16_at = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let (rtype, class) = (Rtype(u16_at(0)), u16_at(2));
    let ttl = u32::from(u16_at(4)) << 16 | u32::from(u16_at(6));
    *at += 10;
    let end = *at + usize::from(u16_at(8));
    let mut rdata = Vec::new();
    for field in rtype.info().map_or(&[][..], |info| info.fields) {
        match field {
            Field::Name { .. } => rdata.extend(name(message, at)),
            Field::U16 => {
                rdata.extend_from_slice(&message[*at..*at + 2]);
                *at += 2;
            }
            _ => break,
        }
    }
    rdata.extend_from_slice(&message[*at..end]);
    *at = end;
    Rr { owner, rtype, class, ttl, rdata }
}

fn name(message: &[u8], at: &mut usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut place = *at;
    let mut jumped = false;
    loop {
        let octet = usize::from(message[place]);
        if octet >= 0xc0 {
            if !jumped {
                *at = place + 2;
            }
            jumped = true;
            place = (octet & 0x3f) << 8 | usize::from(message[place + 1]);
            continue;
        }
        out.extend_from_slice(&message[place..=place + octet]);
        place += 1 + octet;
        if octet == 0 {
            break;
        }
    }
    if !jumped {
        *at = place;
    }
    out
}
