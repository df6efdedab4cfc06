//! Changes from a seed: what a zone's owner, his hosts and his certbot do to it in a year.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use danelaw::dns::Name;
use danelaw::dns::tsig::{Algorithm, Key, sign_request};

use super::common::{name, now, wire};
use super::house::{HEAD, MX};
use super::message::{ANY, IN, Message, NONE, Raw};
use super::random::Random;
use super::secondaries::KEY;

const A: u16 = 1;
const NS: u16 = 2;
const CNAME: u16 = 5;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const DS: u16 = 43;
const ALL: u16 = 255;

/// Hosts of the file.
const HOSTS: usize = 300;

/// The text of a zone's file; versions differ in some thirty hosts.
pub fn file(version: usize) -> String {
    let mut text = [HEAD, MX].concat();
    for host in 0..HOSTS {
        if !(host + 7 * version).is_multiple_of(20) {
            text += &format!("{} A 192.0.2.{}\n", self::host(host), host % 250);
        }
        if host % 40 == version % 40 {
            text += &format!("{} TXT \"version {version}\"\n", self::host(host));
        }
    }
    text + "fixed NS ns.fixed\nns.fixed A 192.0.2.3\nbelow.fixed TXT \"occluded\"\n"
}

fn host(number: usize) -> String {
    format!("host{number}.rack{}", number / 50)
}

/// Who sends updates, signed, over one connection.
pub struct Updater {
    server: SocketAddr,
    key: Arc<Key>,
    stream: Option<TcpStream>,
}

impl Updater {
    pub fn new(server: SocketAddr, secret: &str) -> Updater {
        let secret = data_encoding::BASE64.decode(secret.as_bytes()).unwrap();
        let key = Arc::new(Key::new(&name(KEY), Algorithm::HmacSha256, &secret).unwrap());
        Updater { server, key, stream: None }
    }

    /// The response code.
    pub fn send(&mut self, update: &Message) -> u8 {
        let stream = self.stream.get_or_insert_with(|| {
            let stream = TcpStream::connect(self.server).unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            stream
        });
        let mut octets = update.octets();
        let length = octets.len();
        octets.resize(length + 300, 0);
        let (length, mut responses) = sign_request(&self.key, &mut octets, length, now()).unwrap();
        stream.write_all(&[&(length as u16).to_be_bytes(), &octets[..length]].concat()).unwrap();
        let said = wire::read_message(stream).unwrap();
        responses.verify(&said, now()).unwrap();
        said[3] & 15
    }

    /// The server goes; another comes at its place.
    pub fn hang_up(&mut self) {
        self.stream = None;
    }
}

/// An update that adds an address, with the TTL of the files.
pub fn add(zone: &str, owner: &str, address: [u8; 4]) -> Message {
    let zone = name(zone);
    let owner = Name::parse(owner, Some(&zone)).unwrap();
    Message::new(&zone, Vec::new(), vec![Raw { owner, rtype: A, class: IN, ttl: 3600, rdata: address.to_vec() }])
}

/// One zone's updates.
struct Maker<'a> {
    zone: Name,
    random: &'a mut Random,
}

/// An update that may change something.
pub fn update(zone: &str, random: &mut Random) -> Message {
    let mut maker = Maker { zone: name(zone), random };
    let updates = match maker.random.weighed(&[(4, 0), (3, 1), (4, 2), (2, 3), (3, 4), (1, 5), (1, 6)]) {
        0 => maker.address(),
        1 => maker.gone(),
        2 => maker.deep(),
        3 => maker.wildcard(),
        4 => maker.delegation(),
        5 => maker.alias(),
        _ => (0..20).flat_map(|_| maker.address()).collect(),
    };
    Message::new(&maker.zone, Vec::new(), updates)
}

impl Maker<'_> {
    fn raw(&self, owner: &str, rtype: u16, class: u16, rdata: &[u8]) -> Raw {
        let owner = Name::parse(owner, Some(&self.zone)).unwrap();
        Raw { owner, rtype, class, ttl: if class == IN { 300 } else { 0 }, rdata: rdata.to_vec() }
    }

    fn host(&mut self) -> String {
        host(self.random.below(HOSTS))
    }

    fn one_of(&mut self, stem: &str, count: usize) -> String {
        format!("{stem}{}", self.random.below(count))
    }

    fn octet(&mut self) -> u8 {
        self.random.next() as u8
    }

    /// A host gets another address, or one more.
    fn address(&mut self) -> Vec<Raw> {
        let (host, octet) = (self.host(), self.octet());
        let v4 = self.raw(&host, A, IN, &[192, 0, 2, octet]);
        match self.random.below(3) {
            0 => vec![self.raw(&host, A, ANY, &[]), v4],
            1 => vec![v4],
            _ => vec![self.raw(&host, AAAA, IN, &[&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[octet]].concat())],
        }
    }

    /// A host loses a record, an RRset, or all.
    fn gone(&mut self) -> Vec<Raw> {
        let number = self.random.below(HOSTS);
        let (owner, rtype) = (host(number), *self.random.pick(&[A, AAAA, TXT]));
        vec![match self.random.below(3) {
            0 => self.raw(&owner, A, NONE, &[192, 0, 2, (number % 250) as u8]),
            1 => self.raw(&owner, rtype, ANY, &[]),
            _ => self.raw(&owner, ALL, ANY, &[]),
        }]
    }

    /// A name comes or goes, and the empty non-terminals above it.
    fn deep(&mut self) -> Vec<Raw> {
        let (low, middle) = (self.one_of("x", 20), self.one_of("y", 5));
        let (owner, octet) = (format!("{low}.{middle}.deep"), self.octet());
        vec![match self.random.chance(60) {
            true => self.raw(&owner, TXT, IN, &[2, b't', octet]),
            false => self.raw(&owner, ALL, ANY, &[]),
        }]
    }

    fn wildcard(&mut self) -> Vec<Raw> {
        let (owner, octet) = (self.one_of("*.wild", 6), self.octet());
        vec![match self.random.chance(60) {
            true => self.raw(&owner, A, IN, &[192, 0, 2, octet]),
            false => self.raw(&owner, ALL, ANY, &[]),
        }]
    }

    /// A delegation with glue comes, gets a DS, loses it, or goes and leaves its glue to be seen.
    fn delegation(&mut self) -> Vec<Raw> {
        let (cut, octet) = (self.one_of("cut", 8), self.octet());
        let server = Name::parse(&format!("ns.{cut}"), Some(&self.zone)).unwrap();
        let ds = self.raw(&cut, DS, IN, &[&[0, octet, 13, 2][..], &[octet; 32]].concat());
        let glue = self.raw(&format!("ns.{cut}"), A, IN, &[192, 0, 2, octet]);
        match self.random.below(5) {
            0 => vec![self.raw(&cut, NS, IN, server.as_wire()), glue],
            1 => vec![self.raw(&cut, NS, IN, server.as_wire()), glue, ds],
            2 => vec![self.raw(&cut, DS, ANY, &[]), ds],
            3 => vec![self.raw(&cut, DS, ANY, &[])],
            _ => vec![self.raw(&cut, ALL, ANY, &[])],
        }
    }

    fn alias(&mut self) -> Vec<Raw> {
        let (owner, target) = (self.one_of("alias", 6), self.host());
        let target = Name::parse(&target, Some(&self.zone)).unwrap();
        vec![match self.random.chance(70) {
            true => self.raw(&owner, CNAME, IN, target.as_wire()),
            false => self.raw(&owner, ALL, ANY, &[]),
        }]
    }
}
