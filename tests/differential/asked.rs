//! Generated questions with what no other server is asked: EDNS options, a later version, other opcodes.

use danelaw::dns::{Name, Rtype};
use danelaw::zone::Published;

use super::common::name;
use super::questions::{Question, questions};
use super::random::Random;
use super::zones::longest;

pub const NSID: u16 = 3;
pub const COOKIE: u16 = 10;
pub const KEEPALIVE: u16 = 11;
pub const PADDING: u16 = 12;
pub const EXTENDED_ERROR: u16 = 15;
const STATUS: u8 = 2;
pub const NOTIFY: u8 = 4;
pub const UPDATE: u8 = 5;
const UNKNOWN: u16 = 65_001;
/// What the client puts into a COOKIE.
pub const CLIENT: [u8; 8] = [0x24, 0x64, 0xc4, 0xab, 0xcf, 0x10, 0xc9, 0x57];
/// A zone that is served and has no good version.
pub const BROKEN: &str = "broken.test.";

/// What is unusual about a query.
#[derive(Clone, Copy, Debug)]
pub enum Extra {
    Nothing,
    Options(&'static [u16]),
    Version(u8),
    Opcode(u8),
}

const EXTRAS: [(usize, Extra); 11] = [
    (60, Extra::Nothing),
    (5, Extra::Options(&[NSID, COOKIE])),
    (5, Extra::Options(&[KEEPALIVE])),
    (10, Extra::Options(&[PADDING])),
    (5, Extra::Options(&[UNKNOWN])),
    (5, Extra::Options(&[KEEPALIVE, PADDING])),
    (5, Extra::Options(&[PADDING, UNKNOWN, COOKIE, KEEPALIVE, NSID])),
    (2, Extra::Version(1)),
    (1, Extra::Opcode(STATUS)),
    (1, Extra::Opcode(NOTIFY)),
    (3, Extra::Opcode(UPDATE)),
];

/// A question in its query.
pub struct Asked {
    pub question: Question,
    pub extra: Extra,
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.question, self.extra)
    }
}

impl Asked {
    /// The query's octets, with ID 0.
    pub fn query(&self) -> Vec<u8> {
        self.query_with(&|_| true)
    }

    /// The query over QUIC, where edns-tcp-keepalive must not be sent (RFC 9250 section 5.5.2).
    pub fn query_over_quic(&self) -> Vec<u8> {
        self.query_with(&|code| code != KEEPALIVE)
    }

    fn query_with(&self, sends: &dyn Fn(u16) -> bool) -> Vec<u8> {
        let mut query = self.question.query();
        query[..2].fill(0);
        match self.extra {
            Extra::Nothing => {}
            Extra::Opcode(opcode) => query[2] |= opcode << 3,
            Extra::Version(version) => {
                let at = query.len() - 5;
                query[at] = version;
            }
            Extra::Options(codes) => {
                let options: Vec<u8> =
                    codes.iter().filter(|code| sends(**code)).flat_map(|code| option(*code)).collect();
                let at = query.len() - 2;
                query[at..].copy_from_slice(&(options.len() as u16).to_be_bytes());
                query.extend(options);
            }
        }
        query
    }

    /// Whether the query has this option.
    pub fn has(&self, code: u16) -> bool {
        matches!(self.extra, Extra::Options(codes) if codes.contains(&code))
    }

    /// How EDNS is spoken.
    pub fn form(&self) -> &'static str {
        match (self.question.ask.edns, self.question.ask.dnssec) {
            (None, _) => "no EDNS",
            (Some(..=800), _) => "a small buffer",
            (_, true) => "DO",
            (_, false) => "EDNS",
        }
    }
}

fn option(code: u16) -> Vec<u8> {
    let content = match code {
        COOKIE => &CLIENT[..],
        PADDING => &[0; 5],
        _ => &[],
    };
    [&code.to_be_bytes()[..], &(content.len() as u16).to_be_bytes(), content].concat()
}

/// What few questions would come upon.
struct Rare {
    dnames: Vec<Name>,
    /// RRsets that are larger than a datagram of danelaw's.
    large: Vec<(Name, Rtype)>,
    /// Zones below another that is served: the other one has their DS.
    children: Vec<Name>,
    /// Those that the other zone does not delegate.
    orphans: Vec<Name>,
}

impl Rare {
    fn of(zones: &[Published]) -> Rare {
        let mut rare = Rare { dnames: Vec::new(), large: Vec::new(), children: Vec::new(), orphans: Vec::new() };
        let apexes: Vec<Name> = zones.iter().map(|zone| zone.origin().clone()).collect();
        for apex in &apexes {
            let parent = apex.parent().and_then(|above| zone_of(&apexes, &above));
            if let Some(parent) = zones.iter().find(|zone| Some(zone.origin()) == parent) {
                rare.children.push(apex.clone());
                rare.orphans.extend(parent.set(apex, Rtype::NS).is_none().then(|| apex.clone()));
            }
        }
        for (owner, set) in zones.iter().flat_map(Published::sets) {
            let (rtype, octets) = (set.rrset.rtype, set.rrset.rdatas.iter().map(|rdata| rdata.len()).sum::<usize>());
            match rtype {
                Rtype::DNAME => rare.dnames.push(owner),
                _ if octets > 1232 => rare.large.push((owner, rtype)),
                _ => {}
            }
        }
        let is_poor = rare.dnames.is_empty() || rare.large.is_empty() || rare.children.is_empty();
        assert!(!is_poor, "zones without DNAME, large RRsets or children");
        rare
    }
}

/// So many, about these zones and the broken one.
pub fn all(random: &mut Random, zones: &[Published], count: usize) -> Vec<Asked> {
    let rare = Rare::of(zones);
    let questions = questions(random, zones, count);
    questions.into_iter().map(|question| ask(random, question, &rare)).collect()
}

/// The question, or a rarer one, and what is unusual about its query.
fn ask(random: &mut Random, mut question: Question, rare: &Rare) -> Asked {
    let extra = match random.weighed(&EXTRAS) {
        Extra::Opcode(opcode) => Extra::Opcode(opcode),
        extra if question.ask.edns.is_some() => extra,
        _ => Extra::Nothing,
    };
    // A query has no transport of its own here: it takes all of them.
    question.ask.tcp = false;
    match random.below(100) {
        0..=2 => question.name = name(BROKEN),
        3 => question.name = name(BROKEN).prepend(b"www").unwrap(),
        // The target may be longer than a name can be.
        4..=5 => question.name = longest(random.pick(&rare.dnames), 255),
        6 => question.name = name("Unserved.invalid"),
        7 => {
            (question.name, question.rtype) = random.pick(&rare.large).clone();
            question.ask.edns = question.ask.edns.map(|_| 4096);
        }
        8 => (question.name, question.rtype) = (random.pick(&rare.children).clone(), Rtype::DS),
        9 if !rare.orphans.is_empty() => {
            (question.name, question.rtype) = (random.pick(&rare.orphans).clone(), Rtype::DS)
        }
        _ => {}
    }
    let is_broken = question.name.is_at_or_below(&name(BROKEN));
    if random.chance(if is_broken { 30 } else { 2 }) {
        // What asks for these is no question that can be answered, or a transfer.
        question.rtype = *random.pick(&[Rtype(0), Rtype::OPT, Rtype::AXFR, Rtype::IXFR]);
    }
    // The zone section of an UPDATE is a question for SOA (RFC 2136 section 2.3), of a zone of ours or not.
    if matches!(extra, Extra::Opcode(UPDATE)) && random.chance(60) {
        question.rtype = Rtype::SOA;
        question.name = if random.chance(20) { name("Unserved.invalid") } else { question.name };
    }
    Asked { question, extra }
}

/// The nearest of these apexes at or above a name.
pub fn zone_of<'a>(zones: &'a [Name], name: &Name) -> Option<&'a Name> {
    zones.iter().filter(|apex| name.is_at_or_below(apex)).max_by_key(|apex| apex.label_count())
}
