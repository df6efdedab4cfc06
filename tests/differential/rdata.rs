//! RDATA at random: of the types that hold names it is made, of all others it is one that the example zone has.

use danelaw::dns::{Name, Rdata, Rtype};
use danelaw::zone::Contents;

use super::random::Random;

/// Types with one name, behind so many octets.
const NAMED: [(Rtype, usize); 15] = [
    (Rtype::MX, 2),
    (Rtype::MX, 2),
    (Rtype::SRV, 6),
    (Rtype::SRV, 6),
    (Rtype::SVCB, 2),
    (Rtype::HTTPS, 2),
    (Rtype::HTTPS, 2),
    (Rtype::PTR, 0),
    (Rtype::KX, 2),
    (Rtype::AFSDB, 2),
    (Rtype::RT, 2),
    (Rtype::MB, 0),
    (Rtype::MG, 0),
    (Rtype::MR, 0),
    (Rtype::NS, 0),
];

/// Where RDATA comes from.
pub struct Rdatas {
    examples: Vec<(Rtype, Rdata)>,
}

impl Rdatas {
    /// Takes what an example zone has of each type, but for those that mean something to the walk.
    pub fn new(contents: &Contents) -> Rdatas {
        let special = [Rtype::SOA, Rtype::NS, Rtype::CNAME, Rtype::DNAME, Rtype::DS];
        let rrsets = contents.nodes().flat_map(|node| node.sets().map(|set| set.rrset()).collect::<Vec<_>>());
        let rrsets = rrsets.filter(|rrset| !special.contains(&rrset.rtype));
        let examples = rrsets.flat_map(|rrset| rrset.rdatas.into_iter().map(move |rdata| (rrset.rtype, rdata)));
        Rdatas { examples: examples.collect() }
    }

    /// A type that may stand anywhere.
    pub fn rtype(&self, random: &mut Random) -> Rtype {
        match random.below(10) {
            0..=2 => *random.pick(&[Rtype::A, Rtype::AAAA, Rtype::TXT]),
            3..=6 => random.pick(&NAMED[..NAMED.len() - 1]).0,
            7 => *random.pick(&[Rtype::RP, Rtype::MINFO, Rtype::PX]),
            _ => random.pick(&self.examples).0,
        }
    }

    /// RDATA of a type that points at `target`, if it points anywhere.
    pub fn rdata(&self, random: &mut Random, rtype: Rtype, target: &Name) -> Rdata {
        let octet = random.next() as u8;
        let target = target.as_wire();
        // No host, no service, or this very name.
        let name = if random.chance(5) && rtype != Rtype::NS { &[0] } else { target };
        let before = [0, octet % 2, 0, octet, 0, 25];
        match rtype {
            Rtype::A => [192, 0, 2, octet].into(),
            Rtype::AAAA => [&[0x20, 0x01, 0x0d, 0xb8][..], &[0; 11], &[octet]].concat().into(),
            Rtype::TXT => [&[2, b'v'][..], &[octet]].concat().into(),
            Rtype::DS => [&[0, octet, 13, 2][..], &[octet; 32]].concat().into(),
            Rtype::RP | Rtype::MINFO => [name, target].concat().into(),
            Rtype::PX => [&[0, octet], name, target].concat().into(),
            _ => match NAMED.iter().find(|(named, _)| *named == rtype) {
                Some((_, len)) => [&before[..*len], name].concat().into(),
                None => {
                    let same: Vec<&Rdata> =
                        self.examples.iter().filter(|(other, _)| *other == rtype).map(|(_, rdata)| rdata).collect();
                    (*random.pick(&same)).clone()
                }
            },
        }
    }

    pub fn soa(&self, random: &mut Random, origin: &Name) -> Rdata {
        let minimum: u32 = *random.pick(&[0, 60, 300, 3600, 86_400]);
        let numbers = [1u32, 7200, 1800, 1_209_600, minimum].map(u32::to_be_bytes).concat();
        let (mname, rname) = (origin.prepend(b"ns").unwrap(), origin.prepend(b"host.master").unwrap());
        [mname.as_wire(), rname.as_wire(), &numbers].concat().into()
    }

    /// A TXT record of some hundred octets.
    pub fn long_text(&self, random: &mut Random) -> Rdata {
        let len = random.within(20..=250);
        [&[len as u8][..], &(0..len).map(|_| random.next() as u8).collect::<Vec<u8>>()].concat().into()
    }
}
