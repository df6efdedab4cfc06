//! Queries made and responses decoded without any of danelaw's own code for it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// A decoded response. Sections are sets: the order of RRsets in them means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub rcode: u16,
    pub aa: bool,
    pub tc: bool,
    pub rd: bool,
    pub ra: bool,
    pub ad: bool,
    pub cd: bool,
    pub question: Vec<u8>,
    pub answer: BTreeSet<Rr>,
    pub authority: BTreeSet<Rr>,
    pub additional: BTreeSet<Rr>,
    /// Payload size, DO.
    pub edns: Option<(u16, bool)>,
    pub length: usize,
    /// How many records stand twice in their section.
    pub doubled: usize,
}

/// A record with its names expanded and in lower case where they are names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rr {
    pub owner: String,
    pub rtype: u16,
    pub ttl: u32,
    pub rdata: Vec<u8>,
}

impl std::fmt::Debug for Rr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rdata = data_encoding::HEXLOWER.encode(&self.rdata);
        write!(f, "{} {} {} {}", self.owner, self.ttl, danelaw::dns::Rtype(self.rtype), &rdata[..rdata.len().min(60)])
    }
}

/// How to ask.
#[derive(Clone, Copy)]
pub struct Ask {
    pub edns: Option<u16>,
    pub dnssec: bool,
    pub tcp: bool,
}

pub const PLAIN: Ask = Ask { edns: None, dnssec: false, tcp: false };
pub const DNSSEC: Ask = Ask { edns: Some(1232), dnssec: true, tcp: false };
pub const TCP: Ask = Ask { edns: Some(1232), dnssec: true, tcp: true };

/// A query's octets.
pub fn query(name: &[u8], rtype: u16, ask: Ask) -> Vec<u8> {
    let mut out = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(ask.edns.is_some())];
    out.extend_from_slice(name);
    out.extend_from_slice(&rtype.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    if let Some(payload) = ask.edns {
        out.extend_from_slice(&[0, 0, 41]);
        out.extend_from_slice(&payload.to_be_bytes());
        out.extend_from_slice(&[0, 0, if ask.dnssec { 0x80 } else { 0 }, 0, 0, 0]);
    }
    out
}

/// Asks a server and waits up to two seconds.
pub fn ask(server: SocketAddr, name: &[u8], rtype: u16, ask: Ask) -> Response {
    let response = exchange(server, &query(name, rtype, ask), ask.tcp);
    decode(
        &response.unwrap_or_else(|| panic!("{server} does not answer {} {}", text(name), danelaw::dns::Rtype(rtype))),
    )
}

/// Sends octets and gives what comes back, if anything does.
pub fn exchange(server: SocketAddr, query: &[u8], tcp: bool) -> Option<Vec<u8>> {
    let wait = Some(Duration::from_secs(2));
    if tcp {
        let mut stream = TcpStream::connect(server).ok()?;
        stream.set_read_timeout(wait).ok()?;
        stream.write_all(&[&(query.len() as u16).to_be_bytes(), query].concat()).ok()?;
        let mut length = [0; 2];
        stream.read_exact(&mut length).ok()?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message).ok()?;
        return Some(message);
    }
    let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
    socket.set_read_timeout(wait).ok()?;
    socket.send_to(query, server).ok()?;
    let mut message = vec![0; 65_535];
    let (len, _) = socket.recv_from(&mut message).ok()?;
    message.truncate(len);
    Some(message)
}

/// Decodes a response; panics where it is not one, or where a record stands twice in a section.
pub fn decode(message: &[u8]) -> Response {
    let response = read(message).expect("every pointer points back");
    assert_eq!(response.doubled, 0, "records that stand twice in their section: {response:?}");
    response
}

/// Decodes a response; none where a pointer does not point back. Panics where it is not one in other ways.
pub fn read(message: &[u8]) -> Option<Response> {
    let u16_at = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    assert_eq!(message[2] & 0x80, 0x80, "QR");
    let mut at = 12;
    if u16_at(4) == 1 {
        while message[at] != 0 {
            at += 1 + usize::from(message[at]);
        }
        at += 5;
    }
    let question = message[12..at].to_vec();
    let mut edns = None;
    let (mut extended, mut doubled) = (0, 0);
    let mut sections: [BTreeSet<Rr>; 3] = Default::default();
    for (section, records) in sections.iter_mut().enumerate() {
        for _ in 0..u16_at(6 + 2 * section) {
            let (owner, next) = expand(message, at)?;
            let rtype = u16_at(next);
            let length = usize::from(u16_at(next + 8));
            let rdata = next + 10..next + 10 + length;
            at = rdata.end;
            if rtype == 41 {
                edns = Some((u16_at(next + 2), message[next + 6] & 0x80 != 0));
                extended = u16::from(message[next + 4]);
                continue;
            }
            let ttl = u32::from(u16_at(next + 4)) << 16 | u32::from(u16_at(next + 6));
            let rdata = plain_rdata(message, rtype, rdata)?;
            doubled += usize::from(!records.insert(Rr { owner: text(&owner), rtype, ttl, rdata }));
        }
    }
    assert_eq!(at, message.len(), "octets after the last record");
    let [answer, authority, additional] = sections;
    Some(Response {
        rcode: extended << 4 | u16::from(message[3] & 15),
        aa: message[2] & 4 != 0,
        tc: message[2] & 2 != 0,
        rd: message[2] & 1 != 0,
        ra: message[3] & 128 != 0,
        ad: message[3] & 32 != 0,
        cd: message[3] & 16 != 0,
        question,
        answer,
        authority,
        additional,
        edns,
        length: message.len(),
        doubled,
    })
}

/// The name at an offset in lower-case wire form, and where the octets after it begin.
fn expand(message: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut name = Vec::new();
    let mut end = None;
    loop {
        match message[at] {
            0 => {
                name.push(0);
                return Some((name, end.unwrap_or(at + 1)));
            }
            pointer @ 0xc0.. => {
                let target = usize::from(pointer & 0x3f) << 8 | usize::from(message[at + 1]);
                if target >= at {
                    return None;
                }
                end.get_or_insert(at + 2);
                at = target;
            }
            length => {
                name.extend(message[at..=at + usize::from(length)].iter().map(u8::to_ascii_lowercase));
                at += 1 + usize::from(length);
            }
        }
    }
}

/// RDATA with compressed names expanded. Names are folded to lower case: servers differ in whose case they keep.
fn plain_rdata(message: &[u8], rtype: u16, span: std::ops::Range<usize>) -> Option<Vec<u8>> {
    // How many octets stand before the names, and how many names there are.
    let (before, names) = match rtype {
        2 | 5 | 7 | 8 | 9 | 12 | 39 | 47 => (0, 1),
        6 | 14 | 17 => (0, 2),
        15 | 18 | 21 | 36 => (2, 1),
        26 => (2, 2),
        33 => (6, 1),
        46 => (18, 1),
        _ => return Some(message[span].to_vec()),
    };
    let mut out = message[span.start..span.start + before].to_vec();
    let mut at = span.start + before;
    for _ in 0..names {
        let (name, next) = expand(message, at)?;
        out.extend(name);
        at = next;
    }
    out.extend_from_slice(&message[at..span.end]);
    Some(out)
}

fn text(wire: &[u8]) -> String {
    danelaw::dns::Name::from_wire(wire).unwrap().to_string()
}
