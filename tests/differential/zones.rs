//! Zones at random, in families: a zone, often its child and grandchild, and one that has nothing to do with them.
//!
//! What no server loads (two CNAMEs, data beside a CNAME or below a DNAME, NS or DNAME at a wildcard) is not made.

use danelaw::dns::dnssec::Algorithm;
use danelaw::dns::rtype::TYPES;
use danelaw::dns::{Name, Rdata, Record, Rtype};
use danelaw::zone::denial::nsec3::Parameters;
use danelaw::zone::{Contents, Denial, Draft, Published, print};

use super::common::{example, sign_denying, zone};
use super::random::Random;
use super::rdata::Rdatas;

const LABELS: [&[u8]; 22] = [
    b"a",
    b"b",
    b"c",
    b"d",
    b"www",
    b"mail",
    b"ns",
    b"zz",
    b"_tcp",
    b"_25",
    b"MiXed",
    b"*",
    b"*",
    b"x*",
    b"*x",
    b"\x00",
    b"dot.ted",
    b"sp ace",
    b"\xff\xfe",
    b"-",
    b"[{@^",
    &[b'l'; 63],
];

/// What may stand at a name.
#[derive(Clone, Copy)]
enum Kind {
    Data,
    Large,
    Cname,
    Dname,
    Cut,
}

/// Zones of one run, some families of them.
pub fn zones(random: &mut Random, families: usize) -> Vec<Published> {
    let rdatas = Rdatas::new(&example("types.example"));
    let mut zones = Vec::new();
    for family in 0..families {
        let origins = origins(random, family);
        for origin in &origins {
            let contents = Grower::new(random, origin, &origins, &rdatas).grow();
            // Printed and read again: the reader knows which records exclude each other.
            let contents = zone(&origin.to_string(), &print::print(&contents));
            zones.push(publish(random, &contents));
        }
    }
    zones
}

fn publish(random: &mut Random, contents: &Contents) -> Published {
    let salted = Parameters { iterations: 3, salt: [0xaa, 0xbb].into(), opt_out: random.chance(50) };
    let opt_out = Parameters { opt_out: true, ..Parameters::default() };
    let denial = match random.below(10) {
        0..=1 => return Draft::unsigned(contents).unwrap().finish(1).unwrap(),
        2..=4 => Denial::Nsec,
        5..=6 => Denial::Nsec3(Parameters::default()),
        7..=8 => Denial::Nsec3(opt_out),
        _ => Denial::Nsec3(salted),
    };
    let algorithm = if random.chance(80) { Algorithm::Ed25519 } else { Algorithm::EcdsaP256Sha256 };
    sign_denying(contents, algorithm, denial)
}

/// The first is the topmost; the others may be below it, near or far.
fn origins(random: &mut Random, family: usize) -> Vec<Name> {
    let long = if random.chance(15) { "-x".repeat(25) } else { String::new() };
    let top = format!("f{family}{long}.test.");
    let mut texts = vec![top.clone()];
    for (percent, below) in [(60, "kid"), (30, "a.kid"), (20, "x.cut"), (20, "b.mail")] {
        if random.chance(percent) {
            texts.push(format!("{below}.{top}"));
        }
    }
    if random.chance(50) {
        texts.push(format!("o{family}.example."));
    }
    texts.iter().map(|text| mixed_case(random, &Name::parse(text, None).unwrap(), 20)).collect()
}

/// The name, and in so many cases of a hundred with letters in any case.
pub fn mixed_case(random: &mut Random, name: &Name, percent: usize) -> Name {
    let mut wire = name.as_wire().to_vec();
    if random.chance(percent) {
        let mut at = 0;
        while wire[at] != 0 {
            let end = at + 1 + usize::from(wire[at]);
            for octet in &mut wire[at + 1..end] {
                if octet.is_ascii_alphabetic() && random.chance(50) {
                    *octet ^= 0x20;
                }
            }
            at = end;
        }
    }
    Name::from_wire(&wire).unwrap()
}

pub fn label(random: &mut Random) -> &'static [u8] {
    LABELS[random.below(LABELS.len())]
}

/// The longest owner in octets: NSD 4.6 ends when an NSEC3 chain has a name whose wildcard is too long to be a name.
const OWNER_MAX: usize = 253;

/// The name with labels before it, so many octets of it where labels can fill them.
pub fn longest(name: &Name, octets: usize) -> Name {
    let mut name = name.clone();
    loop {
        match octets.saturating_sub(name.as_wire().len()) {
            0 | 1 => return name,
            room => name = name.prepend(&vec![b'y'; (room - 1).min(63)]).unwrap(),
        }
    }
}

struct Grower<'a> {
    random: &'a mut Random,
    origin: &'a Name,
    origins: &'a [Name],
    rdatas: &'a Rdatas,
    contents: Contents,
    /// Names that records go to, and that records point at.
    pool: Vec<Name>,
}

impl<'a> Grower<'a> {
    fn new(random: &'a mut Random, origin: &'a Name, origins: &'a [Name], rdatas: &'a Rdatas) -> Grower<'a> {
        let mut grower = Grower {
            random,
            origin,
            origins,
            rdatas,
            contents: Contents::new(origin.clone()),
            pool: vec![origin.clone()],
        };
        for _ in 0..grower.random.within(8..=30) {
            let name = grower.new_name();
            grower.pool.push(name);
        }
        if grower.random.chance(30) {
            let name = longest(&grower.any_name(), OWNER_MAX);
            grower.pool.push(name);
        }
        grower
    }

    fn grow(mut self) -> Contents {
        let soa = self.rdatas.soa(self.random, self.origin);
        self.put(&self.origin.clone(), Rtype::SOA, soa);
        self.name_servers();
        for child in self.origins.iter().filter(|child| child.is_below(self.origin)) {
            if self.random.chance(85) {
                self.cut(child);
            }
        }
        self.data(&self.origin.clone());
        for name in self.pool.clone().into_iter().skip(1) {
            let kinds = [(52, Kind::Data), (4, Kind::Large), (18, Kind::Cname), (9, Kind::Dname), (17, Kind::Cut)];
            match self.random.weighed(&kinds) {
                Kind::Data => self.data(&name),
                Kind::Large => self.large(&name),
                Kind::Cname => self.cname(&name),
                Kind::Dname => self.dname(&name),
                Kind::Cut => self.cut(&name),
            }
        }
        self.contents
    }

    fn any_name(&mut self) -> Name {
        self.random.pick(&self.pool).clone()
    }

    /// A name below another one, one to three labels.
    fn new_name(&mut self) -> Name {
        let mut name = if self.random.chance(50) { self.origin.clone() } else { self.any_name() };
        for _ in 0..self.random.weighed(&[(70, 1), (20, 2), (10, 3)]) {
            name = name.prepend(label(self.random)).unwrap_or(name);
        }
        mixed_case(self.random, &name, 10)
    }

    /// What a record points at: a name of the zone, one below it, one of the family's other zones, or one that nobody here serves.
    fn target(&mut self) -> Name {
        let name = match self.random.below(100) {
            0..=54 => self.any_name(),
            55..=69 => self.new_name(),
            70..=79 => {
                let other = self.random.pick(self.origins).clone();
                if self.random.chance(60) { other.prepend(label(self.random)).unwrap() } else { other }
            }
            80..=89 => Name::parse("ns.elsewhere.invalid.", None).unwrap(),
            _ => self.any_name().prepend(b"wild").unwrap_or_else(|_| self.origin.clone()),
        };
        mixed_case(self.random, &name, 10)
    }

    fn may_hold(&self, name: &Name, rtype: Rtype) -> bool {
        let node = self.contents.node(name);
        let has = |rtype: Rtype| node.is_some_and(|node| node.has(rtype));
        let has_below = || self.contents.at_or_below(name).any(|node| node.owner() != *name);
        let in_child = |child: &&Name| child.is_below(self.origin) && name.is_at_or_below(child);
        if let Some(child) = self.origins.iter().find(in_child) {
            // NSD keeps one tree of all zones' names: what is below a DNAME of the child can't be in the parent.
            let is_glue = name.parent().as_ref() == Some(child) && name.labels().next() == Some(b"ns");
            if !(name == child && rtype != Rtype::DNAME || is_glue && matches!(rtype, Rtype::A | Rtype::AAAA)) {
                return false;
            }
        }
        if has(Rtype::CNAME) || self.contents.is_below_dname(name) || name.as_wire().len() > OWNER_MAX {
            return false;
        }
        match rtype {
            Rtype::CNAME => node.is_none_or(|node| node.is_empty()),
            Rtype::DNAME => {
                let is_cut = has(Rtype::NS) && name != self.origin;
                !name.is_wildcard() && !is_cut && !has(Rtype::DNAME) && !has_below() && !self.is_above_zone(name)
            }
            Rtype::NS => !name.is_wildcard() && (!has(Rtype::DNAME) || name == self.origin),
            Rtype::DS => has(Rtype::NS) && name != self.origin,
            _ => true,
        }
    }

    fn is_above_zone(&self, name: &Name) -> bool {
        self.origins.iter().any(|origin| origin.is_below(name))
    }

    fn put(&mut self, owner: &Name, rtype: Rtype, rdata: Rdata) {
        if self.may_hold(owner, rtype) {
            let ttl = self.contents.rrset(owner, rtype).map(|rrset| rrset.ttl);
            let ttl = ttl.unwrap_or_else(|| *self.random.pick(&[0, 60, 300, 3600, 86_400, 1_000_000]));
            self.contents.insert(Record { owner: owner.clone(), ttl, rtype, rdata });
        }
    }

    fn data(&mut self, name: &Name) {
        for _ in 0..self.random.within(1..=3) {
            let rtype = self.rdatas.rtype(self.random);
            for _ in 0..self.random.weighed(&[(70, 1), (20, 2), (10, 4)]) {
                let target = self.target();
                let rdata = self.rdatas.rdata(self.random, rtype, &target);
                self.put(name, rtype, rdata);
            }
        }
    }

    fn large(&mut self, name: &Name) {
        let rtype = *self.random.pick(&[Rtype::TXT, Rtype::A, Rtype::MX, Rtype::SRV]);
        for _ in 0..self.random.within(8..=60) {
            let target = self.target();
            let rdata = match rtype {
                Rtype::TXT => self.rdatas.long_text(self.random),
                _ => self.rdatas.rdata(self.random, rtype, &target),
            };
            self.put(name, rtype, rdata);
        }
    }

    fn cname(&mut self, name: &Name) {
        let target = self.target();
        self.put(name, Rtype::CNAME, target.as_wire().into());
    }

    fn dname(&mut self, name: &Name) {
        let target = self.target();
        self.put(name, Rtype::DNAME, target.as_wire().into());
    }

    /// The apex's NS. BIND loads no zone where one of them is in the zone and has no address.
    fn name_servers(&mut self) {
        let origin = self.origin.clone();
        let elsewhere = Name::parse("ns.elsewhere.invalid.", None).unwrap();
        if self.random.chance(70) {
            self.put(&origin, Rtype::NS, elsewhere.as_wire().into());
        }
        // A DNAME at the apex redirects all that could be below. NSD takes names of the zones around it for such.
        if self.origins.len() == 1 && self.random.chance(40) && self.contents.has(&origin, Rtype::NS) {
            return self.dname(&origin);
        }
        for label in [&b"ns"[..], b"NS2"] {
            let target = origin.prepend(label).unwrap();
            self.put(&origin, Rtype::NS, target.as_wire().into());
            for rtype in [Rtype::A, Rtype::AAAA] {
                let rdata = self.rdatas.rdata(self.random, rtype, &target);
                self.put(&target, rtype, rdata);
            }
        }
    }

    /// One to three name servers, with addresses below the owner, beside it or elsewhere.
    fn delegate(&mut self, name: &Name) {
        for _ in 0..self.random.within(1..=3) {
            let target = match self.random.below(10) {
                0..=4 => name.prepend(b"ns").unwrap_or_else(|_| self.origin.clone()),
                _ => self.target(),
            };
            self.put(name, Rtype::NS, target.as_wire().into());
            if target.is_at_or_below(self.origin) && self.random.chance(80) {
                for rtype in [Rtype::A, Rtype::AAAA] {
                    let rdata = self.rdatas.rdata(self.random, rtype, &target);
                    self.put(&target, rtype, rdata);
                }
            }
        }
    }

    fn cut(&mut self, name: &Name) {
        self.delegate(name);
        if self.random.chance(50) {
            for _ in 0..self.random.within(1..=2) {
                let rdata = self.rdatas.rdata(self.random, Rtype::DS, name);
                self.put(name, Rtype::DS, rdata);
            }
        }
        // What is below is the child's, whatever stands there.
        if self.random.chance(30) {
            let below = name.prepend(label(self.random)).unwrap_or_else(|_| name.clone());
            match self.random.below(4) {
                0 => self.cname(&below),
                1 => self.dname(&below),
                2 => self.delegate(&below),
                _ => self.data(&below),
            }
        }
    }
}

/// Types that a question can have besides those that a zone has.
pub fn types() -> impl Iterator<Item = Rtype> {
    TYPES.iter().map(|info| info.rtype).chain([Rtype(65_280)])
}
