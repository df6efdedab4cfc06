//! Questions at random: at names of the zones, below, above, beside and between them, for every type and in every way to ask.

use std::collections::BTreeMap;

use danelaw::dns::{Name, Rtype, rdata};
use danelaw::zone::Published;

use super::common::hashes;
use super::common::wire::{self, Ask};
use super::random::Random;
use super::zones::{label, longest, mixed_case, types};

/// One question and how it is asked.
#[derive(Clone)]
pub struct Question {
    pub name: Name,
    pub rtype: Rtype,
    pub class: u16,
    pub ask: Ask,
    /// RD, AD and CD, as they stand in the header's third and fourth octet.
    pub flags: [u8; 2],
}

impl Question {
    /// The query's octets over UDP or TCP; they are the same.
    pub fn query(&self) -> Vec<u8> {
        let mut query = wire::query(self.name.as_wire(), self.rtype.0, self.ask);
        query[2] |= self.flags[0];
        query[3] |= self.flags[1];
        let class = 12 + self.name.as_wire().len() + 2;
        query[class..class + 2].copy_from_slice(&self.class.to_be_bytes());
        query
    }

    /// The octets that a response may have.
    pub fn limit(&self) -> usize {
        match self.ask {
            Ask { tcp: true, .. } => 65_535,
            Ask { edns, .. } => edns.map_or(512, |payload| usize::from(payload).clamp(512, 1232)),
        }
    }
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Question { name, rtype, class, ask, flags } = self;
        let (edns, tcp) = (ask.edns.map_or("no EDNS".to_owned(), |size| format!("EDNS {size}")), ask.tcp);
        write!(
            f,
            "{name} {rtype} class {class} {edns} DO={} {} {flags:02x?}",
            ask.dnssec,
            if tcp { "TCP" } else { "UDP" }
        )
    }
}

const fn asking(edns: Option<u16>, dnssec: bool, tcp: bool) -> Ask {
    Ask { edns, dnssec, tcp }
}

const ASKS: [(usize, Ask); 10] = [
    (18, asking(None, false, false)),
    (10, asking(Some(1232), false, false)),
    (5, asking(Some(512), false, false)),
    (25, asking(Some(1232), true, false)),
    (12, asking(Some(512), true, false)),
    (2, asking(Some(100), true, false)),
    (5, asking(Some(800), true, false)),
    (5, asking(Some(4096), true, false)),
    (12, asking(Some(1232), true, true)),
    (6, asking(None, false, true)),
];

/// What a zone has.
struct Known {
    origin: Name,
    owners: BTreeMap<Name, Vec<Rtype>>,
    hashes: Vec<Name>,
    /// Owners, the names above them, some of NSEC3's owners, and what records point at.
    names: Vec<Name>,
}

impl Known {
    fn of(zone: &Published) -> Known {
        let origin = zone.origin().clone();
        let mut owners: BTreeMap<Name, Vec<Rtype>> = BTreeMap::new();
        let mut targets = Vec::new();
        for (owner, set) in zone.sets().filter(|(_, set)| set.rrset.rtype != Rtype::NSEC3) {
            if set.rrset.rtype != Rtype::NSEC {
                targets.extend(set.rrset.rdatas.iter().flat_map(|data| rdata::names(set.rrset.rtype, data)));
            }
            owners.entry(owner).or_default().push(set.rrset.rtype);
        }
        let hashes = hashes(zone);
        let above = owners.keys().flat_map(Name::ancestors).filter(|above| above.is_at_or_below(&origin));
        let names = owners.keys().cloned().chain(above).chain(targets).chain(hashes.iter().take(4).cloned()).collect();
        Known { origin, owners, hashes, names }
    }
}

/// So many questions about some zones.
pub fn questions(random: &mut Random, zones: &[Published], count: usize) -> Vec<Question> {
    let zones: Vec<Known> = zones.iter().map(Known::of).collect();
    (0..count)
        .map(|_| {
            let zone = random.pick(&zones);
            let name = name(random, zone);
            let rtype = rtype(random, zone, &name);
            Question {
                name: mixed_case(random, &name, 50),
                rtype,
                class: random.weighed(&[(980, 1), (5, 255), (5, 4), (5, 254)]),
                ask: random.weighed(&ASKS),
                flags: [random.weighed(&[(3, 0), (1, 1)]), random.weighed(&[(16, 0), (3, 16), (1, 32)])],
            }
        })
        .collect()
}

fn name(random: &mut Random, zone: &Known) -> Name {
    let name = random.pick(&zone.names).clone();
    let below = |name: &Name, label: &[u8]| name.prepend(label).unwrap_or_else(|_| name.clone());
    match random.below(100) {
        0..=44 => name,
        45..=64 => below(&name, label(random)),
        65..=69 => below(&below(&name, label(random)), label(random)),
        70..=79 => below(&name.parent().unwrap_or(name), label(random)),
        80..=83 => below(&name, b"*"),
        84..=87 => name.parent().unwrap_or(name),
        88..=91 => longest(&name, random.within(240..=255)),
        92..=93 => below(&name, &[b'y'; 63]),
        94..=97 => below(&zone.origin, label(random)),
        98 => below(&name, &zone.hashes.first().map_or(vec![b'0'], |owner| owner.as_wire()[1..33].to_vec())),
        _ => Name::parse("Unserved.invalid.", None).unwrap(),
    }
}

fn rtype(random: &mut Random, zone: &Known, name: &Name) -> Rtype {
    let common = [
        (15, Rtype::A),
        (5, Rtype::AAAA),
        (6, Rtype::TXT),
        (8, Rtype::DS),
        (5, Rtype::NS),
        (4, Rtype::ANY),
        (3, Rtype::RRSIG),
        (2, Rtype::NSEC),
        (2, Rtype::NSEC3),
        (3, Rtype::SOA),
        (4, Rtype::CNAME),
        (3, Rtype::DNAME),
        (2, Rtype::DNSKEY),
        (2, Rtype::MX),
    ];
    if let Some(types) = zone.owners.get(name).filter(|_| random.chance(45)) {
        return *random.pick(types);
    }
    if random.chance(80) {
        return random.weighed(&common);
    }
    *random.pick(&types().collect::<Vec<_>>())
}
