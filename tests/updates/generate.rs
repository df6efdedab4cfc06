//! Requests from a seed: what a zone has is in the way of half of them.

use danelaw::dns::{Name, Rtype};
use danelaw::zone::Contents;

use super::common::name;
use super::message::{ANY, IN, Message, NONE, Raw};
use super::random::Random;

pub const ZONE: &str = "update.example.";

/// What both begin with. Its servers are elsewhere: BIND refuses what takes the address of one away.
pub const TEXT: &str = "$TTL 300\n@ SOA ns.elsewhere.test. h.elsewhere.test. 1 3600 600 86400 300\n NS ns.elsewhere.test.\n\
    @ MX 10 mail\nmail A 192.0.2.1\na TXT one\nb CNAME mail\ny.z A 192.0.2.2\n*.w TXT wild\n\
    cut NS ns.cut\n DS 1 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\nns.cut A 192.0.2.3\n\
    dn DNAME elsewhere.test.\n";

/// Few names, so that requests meet: an empty non-terminal, wildcards, names at and below a cut and a DNAME, and one in capitals.
const OWNERS: &[&str] = &[
    "@",
    "a",
    "A",
    "b",
    "c",
    "mail",
    "z",
    "y.z",
    "x.y.z",
    "*.w",
    "v.w",
    "*",
    "cut",
    "ns.cut",
    "deep.below.cut",
    "dn",
    "under.dn",
    "_acme-challenge.a",
];

const TYPES: &[Rtype] = &[
    Rtype::A,
    Rtype::AAAA,
    Rtype::TXT,
    Rtype::MX,
    Rtype::CNAME,
    Rtype::CNAME,
    Rtype::NS,
    Rtype::DS,
    Rtype::DNAME,
    Rtype::SRV,
    Rtype::PTR,
    Rtype::CAA,
    Rtype::SSHFP,
    Rtype::HTTPS,
    Rtype(65_400),
];

pub fn zone() -> Name {
    name(ZONE)
}

/// What is made.
pub struct Generator {
    pub random: Random,
    id: u16,
}

impl Generator {
    pub fn new(seed: u64) -> Generator {
        Generator { random: Random::new(seed), id: 0 }
    }

    /// The next request to a zone that has these contents.
    pub fn request(&mut self, contents: &Contents) -> Message {
        let mut message = if self.random.chance(12) { self.malformed() } else { self.good(contents) };
        self.id = self.id.wrapping_add(1);
        message.id = self.id;
        message.compress = self.random.chance(50);
        message
    }

    fn good(&mut self, contents: &Contents) -> Message {
        let count = self.random.weighed(&[(5, 0), (3, 1), (2, 2), (1, 3)]);
        let mut prerequisites: Vec<Raw> = Vec::new();
        for _ in 0..count {
            for one in self.prerequisite(contents) {
                // The same record twice is BIND's and our difference: that has a test of its own.
                let is_same = |other: &Raw| {
                    other.class == IN && one.class == IN && other.owner == one.owner && other.rtype == one.rtype
                };
                if !prerequisites.iter().any(is_same) || one.class != IN {
                    prerequisites.push(one);
                }
            }
        }
        let count = self.random.weighed(&[(1, 0), (6, 1), (4, 2), (3, 4), (1, 9)]);
        let updates = (0..count).map(|_| self.update(contents)).collect();
        Message::new(&zone(), prerequisites, updates)
    }

    /// One of the forms of RFC 2136 section 2.4; about half of them hold.
    fn prerequisite(&mut self, contents: &Contents) -> Vec<Raw> {
        let (mut owner, mut rtype) = (self.owner(), *self.random.pick(TYPES));
        let (is_there, may_be_there) = (self.random.chance(60), self.random.below(4));
        if is_there && may_be_there != 1 {
            (owner, rtype) = self.existing(contents);
        }
        let raw = |class: u16, rtype: u16| Raw { owner: owner.clone(), rtype, class, ttl: 0, rdata: Vec::new() };
        match may_be_there {
            0 => vec![raw(ANY, self.random.weighed(&[(1, 255), (1, rtype.0)]))],
            1 => vec![raw(NONE, self.random.weighed(&[(1, 255), (2, rtype.0)]))],
            _ => {
                let mut rdatas: Vec<Vec<u8>> = match contents.rrset(&owner, rtype) {
                    Some(rrset) => rrset.rdatas.iter().map(|rdata| rdata.to_vec()).collect(),
                    None => vec![self.rdata(rtype)],
                };
                match self.random.below(8) {
                    0 => drop(rdatas.pop()),
                    1 if rdatas.len() == 1 && rtype != Rtype::SOA => rdatas = vec![self.rdata(rtype)],
                    _ => rdatas.reverse(),
                }
                rdatas.into_iter().map(|rdata| Raw { rdata, ..raw(IN, rtype.0) }).collect()
            }
        }
    }

    fn existing(&mut self, contents: &Contents) -> (Name, Rtype) {
        let all: Vec<(Name, Rtype)> =
            contents.nodes().flat_map(|node| node.sets().map(move |set| (node.owner(), set.rtype))).collect();
        self.random.pick(&all).clone()
    }

    /// One of the forms of RFC 2136 section 2.5.
    fn update(&mut self, contents: &Contents) -> Raw {
        let (mut owner, mut rtype) = (self.owner(), *self.random.pick(TYPES));
        let form = self.random.weighed(&[(60, IN), (25, NONE), (15, ANY)]);
        if form != IN && self.random.chance(70) {
            (owner, rtype) = self.existing(contents);
        }
        // BIND takes a record that comes in another case for a change.
        if form == IN {
            owner = owner.to_lowercase();
        }
        // The apex's SOA and NS are not for updates here; an SOA below it is for none anywhere.
        let is_apex = owner == zone();
        if is_apex && matches!(rtype, Rtype::SOA | Rtype::NS) {
            rtype = Rtype::MX;
        } else if !is_apex && self.random.chance(2) {
            rtype = Rtype::SOA;
        }
        let there = contents.rrset(&owner, rtype);
        let known = there.as_ref().map(|rrset| self.random.pick(&rrset.rdatas).to_vec());
        let (ttl, rdata) = match form {
            IN => (*self.random.pick(&[60, 60, 300, 0, 86_400]), self.rdata(rtype)),
            NONE => (0, known.filter(|_| self.random.chance(70)).unwrap_or_else(|| self.rdata(rtype))),
            _ => (0, Vec::new()),
        };
        let rtype = if form == ANY && self.random.chance(40) { 255 } else { rtype.0 };
        Raw { owner, rtype, class: form, ttl, rdata }
    }

    fn owner(&mut self) -> Name {
        let owner: &&str = self.random.pick(OWNERS);
        Name::parse(owner, Some(&zone())).unwrap()
    }

    /// One of a few, so that they meet.
    fn rdata(&mut self, rtype: Rtype) -> Vec<u8> {
        let few = self.random.below(3) as u8;
        let target = *self.random.pick(&["mail", "MAIL", "a", "c", "elsewhere.test."]);
        let target = Name::parse(target, Some(&zone())).unwrap();
        let target = target.as_wire();
        match rtype {
            Rtype::A => vec![192, 0, 2, few],
            Rtype::AAAA => [&[0x20, 0x01, 0x0d, 0xb8][..], &[0; 11], &[few]].concat(),
            Rtype::TXT => vec![1, b'x' + few],
            Rtype::MX => [&[0, 10 * few][..], target].concat(),
            Rtype::SRV => [&[0, few, 0, 0, 0, 25][..], target].concat(),
            Rtype::CAA => [&[0, 5][..], b"issue", &[b'a' + few]].concat(),
            Rtype::DS => [&[0, few, 13, 2][..], &[few; 32]].concat(),
            Rtype::SSHFP => [&[4, 2][..], &[few; 32]].concat(),
            Rtype::HTTPS => [&[0, 1 + few, 0][..], &[0, 3, 0, 2, 1, 187]].concat(),
            Rtype::SOA => [target, target, &[0, 0, 0, few], &[0; 16]].concat(),
            Rtype::CNAME | Rtype::NS | Rtype::DNAME | Rtype::PTR => target.to_vec(),
            _ => vec![few; usize::from(few) + 1],
        }
    }

    /// A request with one fault, and no prerequisite that could fail before it is found.
    fn malformed(&mut self) -> Message {
        let outside: &&str = self.random.pick(&["example.", "elsewhere.test.", "xupdate.example.", "."]);
        let outside = name(outside);
        let txt = || Raw { owner: zone(), rtype: 16, class: IN, ttl: 0, rdata: vec![1, b'm'] };
        let empty = |class: u16, rtype: u16| Raw { class, rtype, rdata: Vec::new(), ..txt() };
        let prerequisite = |raw: Raw| Message::new(&zone(), vec![raw], vec![txt()]);
        let update = |raw: Raw| Message::new(&zone(), Vec::new(), vec![txt(), raw]);
        let fine = || Message::new(&zone(), Vec::new(), vec![txt()]);
        match self.random.below(24) {
            0 => prerequisite(Raw { ttl: 1, ..empty(ANY, 2) }),
            1 => prerequisite(Raw { ttl: 1, ..empty(NONE, 99) }),
            2 => prerequisite(Raw { ttl: 1, ..txt() }),
            3 => prerequisite(Raw { class: 3, ..txt() }),
            4 => prerequisite(Raw { class: *self.random.pick(&[ANY, NONE]), ..txt() }),
            5 => prerequisite(Raw { owner: outside, ..empty(ANY, 255) }),
            6 => prerequisite(Raw { owner: outside, ..txt() }),
            7 => prerequisite(Raw { rtype: 1, ..txt() }),
            8 => update(Raw { owner: outside, ..txt() }),
            9 => update(Raw { owner: outside, ..empty(ANY, 255) }),
            10 => update(Raw { owner: outside, class: NONE, ..txt() }),
            11 => update(Raw { rtype: *self.random.pick(&[252, 253, 254, 251, 128, 200]), ..txt() }),
            12 => update(Raw { ttl: 1, ..empty(ANY, 16) }),
            13 => update(Raw { class: ANY, ..txt() }),
            14 => update(empty(ANY, *self.random.pick(&[252, 253, 254, 251, 128, 200]))),
            15 => update(Raw { ttl: 1, class: NONE, ..txt() }),
            16 => update(Raw { class: NONE, rtype: *self.random.pick(&[252, 253, 254, 251, 200]), ..txt() }),
            17 => update(Raw { class: *self.random.pick(&[2, 3, 4, 100]), ..txt() }),
            18 => update(Raw { rtype: *self.random.pick(&[1, 28, 15, 5, 33, 6]), ..txt() }),
            19 => update(Raw { class: NONE, rtype: *self.random.pick(&[1, 28, 15, 5, 33, 6]), ..txt() }),
            20 => Message { zones: *self.random.pick(&[0, 2]), ..fine() },
            21 => Message { zone_type: *self.random.pick(&[1, 255, 2]), ..fine() },
            22 => Message { missing: 1, ..fine() },
            _ => Message { behind: vec![0; self.random.within(1..=9)], ..fine() },
        }
    }
}
