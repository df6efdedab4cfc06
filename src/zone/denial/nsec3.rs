//! The NSEC3 chain (RFC 5155): names are hashed, empty non-terminals among them, and each hash names the next one.
//!
//! SHA-1 is the only hash there is (RFC 5155 section 11); it hides names, it protects nothing.

use std::collections::BTreeMap;

use data_encoding::BASE32_DNSSEC;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use super::Owner;
use crate::dns::name::MAX_NAME;
use crate::dns::{Name, RRset, Rdata, Rtype, rdata};

/// A hashed name.
pub type Hash = [u8; 20];

/// SHA-1 in the registry of NSEC3's hash algorithms.
const SHA1: u8 = 1;
/// The flag that a span may skip delegations without DS (RFC 5155 section 3.1.2.1).
pub const OPT_OUT: u8 = 1;
/// More iterations than this are neither made nor served: each of them is work for every answer.
pub const MAX_ITERATIONS: u16 = 500;
/// Resolvers may take a zone with more iterations than this for unsigned (RFC 9276 section 3.2); some draw the line lower.
pub const RISKY_ITERATIONS: u16 = 50;

/// What names are hashed with, and whether delegations without DS are left out. RFC 9276 section 3.1: no salt, no iterations,
/// and no opt-out but in a huge zone of delegations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// How often the hash is hashed again.
    pub iterations: u16,
    /// At most 255 octets.
    pub salt: Box<[u8]>,
    /// Opt-out.
    pub opt_out: bool,
}

impl Parameters {
    /// Reads NSEC3PARAM (RFC 5155 section 4); none for another hash algorithm, or with flags: it is not for use then.
    pub fn from_nsec3param(rdata: &[u8]) -> Option<Parameters> {
        let [SHA1, 0, high, low, len, salt @ ..] = rdata else { return None };
        let iterations = u16::from_be_bytes([*high, *low]);
        (salt.len() == usize::from(*len)).then(|| Parameters { iterations, salt: salt.into(), opt_out: false })
    }

    /// The NSEC3PARAM RDATA. It has no opt-out flag (RFC 5155 section 4.1.2).
    pub fn nsec3param(&self) -> Rdata {
        self.head(0).into()
    }

    /// The hash of a name in wire form, any case (RFC 5155 section 5). Allocates nothing.
    pub fn hash(&self, name: &[u8]) -> Hash {
        let mut lower = [0; MAX_NAME];
        let lower = &mut lower[..name.len().min(MAX_NAME)];
        lower.copy_from_slice(&name[..lower.len()]);
        lower.make_ascii_lowercase();
        let mut hash = self.sha1(lower);
        for _ in 0..self.iterations {
            hash = self.sha1(&hash);
        }
        hash
    }

    fn sha1(&self, data: &[u8]) -> Hash {
        let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        context.update(data);
        context.update(&self.salt);
        let mut hash = [0; 20];
        hash.copy_from_slice(context.finish().as_ref());
        hash
    }

    fn head(&self, flags: u8) -> Vec<u8> {
        let mut out = vec![SHA1, flags];
        out.extend_from_slice(&self.iterations.to_be_bytes());
        out.push(self.salt.len() as u8);
        out.extend_from_slice(&self.salt);
        out
    }

    /// The NSEC3 RDATA before `next`, with a bit map as it stands there (RFC 5155 section 3.2).
    pub fn nsec3(&self, next: &Hash, bitmap: &[u8]) -> Rdata {
        let mut out = self.head(if self.opt_out { OPT_OUT } else { 0 });
        out.push(next.len() as u8);
        out.extend_from_slice(next);
        out.extend_from_slice(bitmap);
        out.into()
    }
}

/// The fields of an NSEC3 RDATA (RFC 5155 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields<'a> {
    /// The flags.
    pub flags: u8,
    /// The iterations.
    pub iterations: u16,
    /// The salt.
    pub salt: &'a [u8],
    /// The next hash.
    pub next: Hash,
    /// The bit map of types.
    pub bitmap: &'a [u8],
}

impl Fields<'_> {
    /// Reads an RDATA; none for another hash algorithm.
    pub fn parse(rdata: &[u8]) -> Option<Fields<'_>> {
        let [SHA1, flags, high, low, len, rest @ ..] = rdata else { return None };
        let (salt, rest) = rest.split_at_checked(usize::from(*len))?;
        let (20, rest) = rest.split_first().map(|(len, rest)| (*len, rest))? else { return None };
        let (next, bitmap) = rest.split_first_chunk::<20>()?;
        Some(Fields { flags: *flags, iterations: u16::from_be_bytes([*high, *low]), salt, next: *next, bitmap })
    }

    /// Whether it belongs to the chain of these parameters.
    pub fn is_of(&self, parameters: &Parameters) -> bool {
        self.iterations == parameters.iterations && *self.salt == *parameters.salt
    }
}

/// The name under which a hash stands in a zone; none where the apex leaves no room for it.
pub fn owner(hash: &Hash, origin: &Name) -> Option<Name> {
    origin.prepend(BASE32_DNSSEC.encode(hash).as_bytes()).ok()
}

/// The hash in the first label of a name that stands right below `origin`.
pub fn hash_in(owner: &Name, origin: &Name) -> Option<Hash> {
    let label = owner.labels().next()?;
    let below = owner.as_wire().len() == origin.as_wire().len() + 1 + label.len();
    BASE32_DNSSEC.decode(label).ok()?.try_into().ok().filter(|_| below)
}

/// What a chain says at one hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The name that was hashed.
    pub name: Name,
    /// What its bit map names.
    pub types: Vec<Rtype>,
    /// Whether opt-out may leave it out: a delegation without DS, or an empty non-terminal that only leads to such.
    pub optional: bool,
}

/// Two names with one hash: no chain can tell them apart (RFC 5155 section 7.1). Another salt helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collision(pub Name, pub Name);

/// What a complete chain says, by hash. Owners come in canonical order.
pub fn links(
    origin: &Name,
    owners: &[Owner],
    parameters: &Parameters,
    without_optional: bool,
) -> Result<BTreeMap<Hash, Link>, Collision> {
    let mut links = BTreeMap::new();
    let mut add = |name: &Name, types: Vec<Rtype>, optional: bool| {
        let hash = parameters.hash(name.as_wire());
        match links.get(&hash) {
            None => {
                links.insert(hash, Link { name: name.clone(), types, optional });
                Ok(())
            }
            Some(link) if link.name == *name => Ok(()),
            Some(link) => Err(Collision(link.name.clone(), name.clone())),
        }
    };
    // What may be left out comes last, so that an empty non-terminal above both kinds is not taken for optional.
    for optional in [false, true] {
        let mut previous: Option<&Name> = None;
        for owner in owners.iter().filter(|owner| owner.is_signed() != optional) {
            if optional && without_optional {
                break;
            }
            add(&owner.name, owner.hashed_types(), optional)?;
            for above in owner.name.ancestors().take_while(|above| above.is_below(origin)) {
                if previous.is_some_and(|previous| previous.is_at_or_below(&above)) {
                    break;
                }
                add(&above, Vec::new(), optional)?;
            }
            previous = Some(&owner.name);
        }
    }
    Ok(links)
}

/// The NSEC3 RRsets by owner; none where the apex is too long for a hash before it. `ttl` in seconds.
pub fn chain(
    origin: &Name,
    links: &BTreeMap<Hash, Link>,
    parameters: &Parameters,
    ttl: u32,
) -> Option<Vec<(Name, RRset)>> {
    let nexts = links.keys().skip(1).chain(links.keys().next());
    let rrset = |(hash, link): (&Hash, &Link), next: &Hash| {
        let rdata = parameters.nsec3(next, &rdata::bitmap(link.types.iter().copied()));
        Some((owner(hash, origin)?, RRset::new(Rtype::NSEC3, ttl, rdata)))
    };
    links.iter().zip(nexts).map(|(link, next)| rrset(link, next)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_rfc_5155_appendix_a() {
        let parameters = Parameters { iterations: 12, salt: [0xaa, 0xbb, 0xcc, 0xdd].into(), opt_out: false };
        let vectors = [
            ("example", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"),
            ("a.example", "35mthgpgcu1qg68fab165klnsnk3dpvl"),
            ("ai.example", "gjeqe526plbf1g8mklp59enfd789njgi"),
            ("ns1.example", "2t7b4g4vsa5smi47k61mv5bv1a22bojr"),
            ("ns2.example", "q04jkcevqvmu85r014c7dkba38o0ji5r"),
            ("w.example", "k8udemvp1j2f7eg6jebps17vp3n8i58h"),
            ("*.w.example", "r53bq7cc2uvmubfu5ocmm6pers9tk9en"),
            ("x.w.example", "b4um86eghhds6nea196smvmlo4ors995"),
            ("y.w.example", "ji6neoaepv8b5o6k4ev33abha8ht9fgc"),
            ("x.y.w.example", "2vptu5timamqttgl4luu9kg21e0aor3s"),
            ("xx.example", "t644ebqk9bibcna874givr6joj62mlhv"),
        ];
        let origin: Name = "example".parse().unwrap();
        for (name, hash) in vectors {
            let name: Name = name.to_uppercase().parse().unwrap();
            let owner = owner(&parameters.hash(name.as_wire()), &origin).unwrap();
            assert_eq!(owner.to_string(), format!("{hash}.example."), "{name}");
            assert_eq!(hash_in(&owner, &origin), Some(parameters.hash(name.as_wire())));
        }
        assert_eq!(Parameters::from_nsec3param(&parameters.nsec3param()), Some(parameters));
    }

    #[test]
    fn an_rdata_that_is_cut_short_has_no_fields() {
        let parameters = Parameters { iterations: 1, salt: [7].into(), opt_out: true };
        let rdata = parameters.nsec3(&[9; 20], &rdata::bitmap([Rtype::A]));
        let fields = Fields::parse(&rdata).unwrap();
        assert_eq!((fields.flags, fields.iterations, fields.salt, fields.next), (OPT_OUT, 1, &[7][..], [9; 20]));
        assert_eq!(rdata::bitmap_types(fields.bitmap), Some(vec![Rtype::A]));
        assert!((0..27).all(|len| Fields::parse(&rdata[..len]).is_none()));
    }
}
