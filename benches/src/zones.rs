//! Zone sets and the questions about them, the same at every run. Nothing is read and nothing written here.
//!
//! | set | |
//! |---|---|
//! | small | one self-hoster's mail zone |
//! | large | one zone of 100,000 names: 25,000 customers of four |
//! | many | 10,000 self-hosters' mail zones |

use std::fmt::Write;

use danelaw::dns::{Name, Rtype};

/// Customers of the large zone, four names each.
const CUSTOMERS: usize = 25_000;
/// Zones of the set of many.
const MANY: usize = 10_000;

/// A set of zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Set {
    /// One mail zone.
    Small,
    /// One zone of 100,000 names.
    Large,
    /// 10,000 mail zones.
    Many,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Workload {
    /// 40 % TLSA, 30 % other records, 20 % names that don't exist, 10 % without data; DO.
    Mix,
    /// TLSA records only; DO.
    Tlsa,
    /// MX, A, AAAA, TXT and the like; DO.
    Positive,
    /// The mix without EDNS.
    Nodo,
}

impl Workload {
    /// Its name.
    pub fn label(self) -> &'static str {
        match self {
            Workload::Mix => "mix",
            Workload::Tlsa => "tlsa",
            Workload::Positive => "positive",
            Workload::Nodo => "nodo",
        }
    }
}

/// What must come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A record of the type.
    Answer,
    /// NXDOMAIN.
    NxDomain,
    /// NOERROR without an answer.
    NoData,
}

/// A question.
#[derive(Clone, Debug)]
pub struct Question {
    /// The name, without its final dot.
    pub name: String,
    /// The type.
    pub rtype: Rtype,
    /// What must come back.
    pub expected: Expected,
}

impl Question {
    /// As a query with ID 0: with OPT and DO, or without EDNS. A name that is too long asks for the root.
    pub fn query(&self, dnssec: bool) -> Vec<u8> {
        let mut query = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(dnssec)];
        query
            .extend_from_slice(Name::parse(&self.name, Some(&Name::root())).unwrap_or_else(|_| Name::root()).as_wire());
        query.extend_from_slice(&self.rtype.0.to_be_bytes());
        query.extend_from_slice(&[0, 1]);
        if dnssec {
            query.extend_from_slice(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0]);
        }
        query
    }
}

/// Numbers that look random and are the same at every run (splitmix64).
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// `octets` of them in hexadecimal.
    pub fn hex(&mut self, octets: usize) -> String {
        let mut out = String::new();
        while out.len() < 2 * octets {
            // A String takes everything.
            let _ = write!(out, "{:016x}", self.next());
        }
        out.truncate(2 * octets);
        out
    }

    pub(crate) fn absent(&mut self) -> String {
        (0..10).map(|_| char::from(self.pick(b"abcdefghijklmnopqrstuvwxyz"))).collect()
    }
}

impl Set {
    /// Its name.
    pub fn label(self) -> &'static str {
        match self {
            Set::Small => "small",
            Set::Large => "large",
            Set::Many => "many",
        }
    }

    /// How many zones it has.
    pub fn zone_count(self) -> usize {
        if self == Set::Many { MANY } else { 1 }
    }

    /// The name of a zone of it, without its final dot.
    pub fn zone(self, number: usize) -> String {
        match self {
            Set::Small => "small.test".to_owned(),
            Set::Large => "large.test".to_owned(),
            Set::Many => format!("z{number:05}.test"),
        }
    }

    /// The names of its zones.
    pub fn zones(self) -> impl Iterator<Item = String> {
        (0..self.zone_count()).map(move |number| self.zone(number))
    }

    /// The text of a zone of it, unsigned.
    pub fn text(self, number: usize) -> String {
        let zone = self.zone(number);
        if self == Set::Large { large(&zone) } else { mail(&zone, number) }
    }

    /// A host with a TLSA record at port 25, and its zone: what changes where a change is measured.
    pub fn changing(self) -> (String, String) {
        let zone = self.zone(0);
        let host = if self == Set::Large { format!("mail.h00042.{zone}") } else { format!("mail.{zone}") };
        (zone, host)
    }

    /// So many questions.
    pub fn questions(self, workload: Workload, count: usize) -> Vec<Question> {
        let mut random = Random::new(workload as u64 + 1);
        (0..count).map(|_| self.question(workload, &mut random)).collect()
    }

    fn question(self, workload: Workload, random: &mut Random) -> Question {
        let part = match workload {
            Workload::Tlsa => 0,
            Workload::Positive => 40,
            Workload::Mix | Workload::Nodo => random.below(100),
        };
        let at = self.customer(random);
        let (expected, prefixes): (Expected, &[(&str, Rtype)]) = match part {
            0..40 => (Expected::Answer, if self == Set::Large { &TLSA[..1] } else { TLSA }),
            40..70 => (Expected::Answer, if self == Set::Large { &POSITIVE[..7] } else { POSITIVE }),
            70..90 => (Expected::NxDomain, ABSENT),
            _ => (Expected::NoData, NODATA),
        };
        let (prefix, rtype) = random.pick(prefixes);
        let name = match expected {
            Expected::NxDomain => format!("{}{at}", prefix.replace('?', &random.absent())),
            Expected::Answer | Expected::NoData => format!("{prefix}{at}"),
        };
        Question { name, rtype, expected }
    }

    /// The name that a customer's other names stand below.
    pub(crate) fn customer(self, random: &mut Random) -> String {
        match self {
            Set::Small => self.zone(0),
            Set::Large => format!("h{:05}.{}", random.below(CUSTOMERS), self.zone(0)),
            Set::Many => self.zone(random.below(MANY)),
        }
    }
}

const TLSA_TYPE: Rtype = Rtype(52);
const SRV: Rtype = Rtype(33);
const TLSA: &[(&str, Rtype)] = &[("_25._tcp.mail.", TLSA_TYPE), ("_443._tcp.", TLSA_TYPE)];
/// The large zone has the first seven.
const POSITIVE: &[(&str, Rtype)] = &[
    ("", Rtype(15)),
    ("", Rtype(1)),
    ("", Rtype(28)),
    ("", Rtype(16)),
    ("mail.", Rtype(1)),
    ("mail.", Rtype(28)),
    ("_dmarc.", Rtype(16)),
    ("", Rtype(257)),
    ("sel1._domainkey.", Rtype(16)),
    ("_submission._tcp.", SRV),
    ("_imaps._tcp.", SRV),
    ("_mta-sts.", Rtype(16)),
];
const ABSENT: &[(&str, Rtype)] = &[("?.", Rtype(1)), ("_25._tcp.?.", TLSA_TYPE), ("?.mail.", Rtype(15))];
const NODATA: &[(&str, Rtype)] = &[("", SRV), ("mail.", Rtype(15)), ("_tcp.mail.", TLSA_TYPE), ("_dmarc.", TLSA_TYPE)];

const SOA: &str = "1 7200 3600 1209600 300";

fn addresses(number: usize) -> (String, String) {
    let (high, middle, low) = (number >> 16 & 255, number >> 8 & 255, number & 255);
    (format!("10.{high}.{middle}.{low}"), format!("2001:db8::{:x}:{:x}", number >> 16, number & 0xffff))
}

fn mail(zone: &str, number: usize) -> String {
    let (v4, v6) = addresses(number);
    let mut random = Random::new(number as u64 + 1000);
    let mut tlsa = || format!("TLSA 3 1 1 {}", random.hex(32));
    let (first, second, third) = (tlsa(), tlsa(), tlsa());
    let dkim = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA".repeat(9);
    let (one, other) = dkim[..360].split_at(200);
    format!(
        "\
$TTL 3600
@ SOA ns1 hostmaster {SOA}
@ NS ns1
@ NS ns2
@ A {v4}
@ AAAA {v6}
@ MX 10 mail
@ TXT \"v=spf1 mx -all\"
@ CAA 0 issue \"letsencrypt.org\"
ns1 A {v4}
ns1 AAAA {v6}
ns2 A {v4}
mail A {v4}
mail AAAA {v6}
www CNAME @
_25._tcp.mail {first}
_25._tcp.mail {second}
_443._tcp {third}
_dmarc TXT \"v=DMARC1; p=reject; rua=mailto:postmaster@{zone}\"
sel1._domainkey TXT \"v=DKIM1; k=rsa; p={one}\" \"{other}\"
_submission._tcp SRV 0 1 587 mail
_imaps._tcp SRV 0 1 993 mail
_mta-sts TXT \"v=STSv1; id=20240101000000\"
_smtp._tls TXT \"v=TLSRPTv1; rua=mailto:postmaster@{zone}\"
"
    )
}

fn large(zone: &str) -> String {
    let mut random = Random::new(7);
    let mut out = format!(
        "$TTL 3600\n@ SOA ns1 hostmaster {SOA}\n@ NS ns1\n@ NS ns2\nns1 A 10.0.0.1\nns2 A 10.0.0.2\n$ORIGIN {zone}.\n"
    );
    for number in 0..CUSTOMERS {
        let (v4, v6) = addresses(number);
        let host = format!("h{number:05}");
        let tlsa = random.hex(32);
        out += &format!(
            "{host} A {v4}\n{host} AAAA {v6}\n{host} MX 10 mail.{host}\n{host} TXT \"v=spf1 mx -all\"\n\
             mail.{host} A {v4}\nmail.{host} AAAA {v6}\n_25._tcp.mail.{host} TLSA 3 1 1 {tlsa}\n\
             _dmarc.{host} TXT \"v=DMARC1; p=reject\"\n"
        );
    }
    out
}
