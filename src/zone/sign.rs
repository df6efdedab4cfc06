//! Denial chain and signatures: from a zone's contents to what is published of it (RFC 4034, 4035, 9077).
//!
//! In two steps, since the serial depends on whether anything changed: a [`Draft`] holds all but the SOA and has a digest;
//! [`Draft::finish`] is told the serial. A signature is kept while its RRset, key and window stay.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest, Sha256};

use super::contents::{Contents, Node};
use super::denial::{self, Denial, Owner, Standing, nsec, nsec3, standings};
use super::serial;
use crate::dns::dnssec::{self, RrsigFields, SignError, Signer, Window};
use crate::dns::text::print_moment;
use crate::dns::{Name, RRset, Rdata, Rtype, Timestamp, rdata};

/// An RRset with its signatures; unsigned where it is glue, a delegation's NS, or the zone is not signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedSet {
    /// The records.
    pub rrset: RRset,
    /// RRSIG RDATAs that cover them, with the RRset's TTL.
    pub rrsigs: Vec<Rdata>,
}

/// A zone as it is served: every RRset with its signatures, the denial chain among them.
#[derive(Clone, Debug)]
pub struct Published {
    /// The apex.
    pub origin: Name,
    /// RRsets by owner and type. RRSIG and NSEC3 are no keys here.
    pub nodes: BTreeMap<Name, BTreeMap<Rtype, SignedSet>>,
    /// NSEC3 RRsets by owner: hashes are names in the file and in a transfer, and nobody's for a query (RFC 5155 section 7.2.8).
    pub nsec3: BTreeMap<Name, SignedSet>,
    /// What absence is proven by, if the zone is signed.
    pub denial: Denial,
    /// The SOA serial.
    pub serial: u32,
    /// When the first signature wants to be made anew; none for an unsigned zone.
    pub refresh_at: Option<Timestamp>,
    /// The earliest expiration of its signatures.
    pub expires_at: Option<Timestamp>,
    /// The latest inception of its signatures.
    pub begins_at: Option<Timestamp>,
}

impl Published {
    /// Whether signatures want to be made anew: one is about to expire, or is not valid yet since the clock was set back.
    pub fn is_due(&self, now: Timestamp) -> bool {
        now >= EARLIEST && (self.refresh_at.is_some_and(|at| at <= now) || self.begins_at.is_some_and(|at| at > now))
    }
}

impl Published {
    /// Every RRset with its owner: the names' in canonical order, then those of the NSEC3 chain.
    pub fn sets(&self) -> impl Iterator<Item = (&Name, &SignedSet)> {
        let named = self.nodes.iter().flat_map(|(owner, node)| node.values().map(move |set| (owner, set)));
        named.chain(&self.nsec3)
    }

    /// The latest inception and the earliest expiration of its signatures; none of a zone without any.
    pub fn window(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let rrsigs = self.sets().flat_map(|(_, set)| &set.rrsigs).filter_map(|rrsig| RrsigFields::parse(rrsig));
        let windows = rrsigs.map(|fields| (unwrap_time(fields.inception, now), unwrap_time(fields.expiration, now)));
        windows.reduce(|(begins, expires), (inception, expiration)| (begins.max(inception), expires.min(expiration)))
    }
}

/// Whether and where a zone is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningMode {
    /// Here, with one key that is KSK and ZSK in one.
    Csk,
    /// Elsewhere: its file has the signatures, which are checked and served.
    Presigned,
    /// Not at all. What its file has of signatures is served unchecked.
    None,
}

/// How a zone is signed: how long signatures are valid and when they are renewed, in seconds, and how absence is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// From now to expiration, before jitter.
    pub validity: u64,
    /// A signature is renewed when less than this is left.
    pub refresh: u64,
    /// Expirations are spread over this much, so that not all fall due at once.
    pub jitter: u64,
    /// Inception lies this far back, for resolvers whose clocks are behind.
    pub backdate: u64,
    /// The chain.
    pub denial: Denial,
}

/// No clock that is right says less than 2026-01-01: a machine without one that runs on starts in 1970.
const EARLIEST: Timestamp = 1_767_225_600;

impl Default for Policy {
    fn default() -> Policy {
        const DAY: u64 = 86_400;
        Policy { validity: 14 * DAY, refresh: 6 * DAY, jitter: DAY, backdate: 3600, denial: Denial::Nsec }
    }
}

/// Why a zone could not be signed. Its last good version stays in service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The cryptographic library failed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// There is no key.
    #[error("the zone is to be signed, and has no key")]
    NoKey,
    /// A signature made now would be taken for expired or not yet valid.
    #[error("the clock says {}: nothing is signed before it is set", print_moment(*.0))]
    Clock(Timestamp),
    /// The contents lack what every zone has.
    #[error("the zone has no SOA record at its apex")]
    NoSoa,
    /// Two names have one hash.
    #[error("{0} and {1} have the same NSEC3 hash; another nsec3-salt, or denial = \"nsec\", helps")]
    Collision(Name, Name),
    /// A hash before the apex makes a name of more than 255 octets.
    #[error("{0} is too long for NSEC3, which puts 33 octets before it; denial = \"nsec\" helps")]
    LongOrigin(Name),
}

/// Signatures by a digest of what they cover and who made them: what lets a signature be kept.
#[derive(Clone, Debug, Default)]
pub struct Signatures(HashMap<[u8; 16], Rdata>);

impl Signatures {
    /// The signatures in a published zone that these keys made.
    pub fn of(published: &Published, signers: &[&dyn Signer]) -> Signatures {
        let mut kept = Signatures::default();
        for (owner, set) in published.sets() {
            // Each key made one, in the order of the keys.
            for (signer, rrsig) in signers.iter().zip(&set.rrsigs) {
                kept.insert(signer.dnskey(), owner, &set.rrset, rrsig);
            }
        }
        kept
    }

    /// Notes that the key of this DNSKEY made a signature of an RRset.
    pub fn insert(&mut self, dnskey: &[u8], owner: &Name, rrset: &RRset, rrsig: &Rdata) {
        self.0.insert(cache_key(owner, rrset, dnskey), rrsig.clone());
    }

    /// Whether this very signature of this very RRset by this key is among them.
    pub fn holds(&self, dnskey: &[u8], owner: &Name, rrset: &RRset, rrsig: &Rdata) -> bool {
        self.0.get(&cache_key(owner, rrset, dnskey)) == Some(rrsig)
    }

    /// The image that outlives the process: an entry is a 16-octet digest, a length, an RRSIG RDATA.
    pub fn to_image(&self) -> Vec<u8> {
        let mut entries: Vec<_> = self.0.iter().collect();
        entries.sort_unstable();
        let mut out = Vec::new();
        for (key, rrsig) in entries {
            out.extend_from_slice(key);
            out.extend_from_slice(&(rrsig.len() as u16).to_be_bytes());
            out.extend_from_slice(rrsig);
        }
        out
    }

    /// Reads an image; none when it is cut short. What it says is checked only by its digests, so its file has a checksum.
    pub fn from_image(image: &[u8]) -> Option<Signatures> {
        let mut kept = HashMap::new();
        let mut rest = image;
        while !rest.is_empty() {
            let (key, after) = rest.split_first_chunk::<16>()?;
            let (len, after) = after.split_first_chunk::<2>()?;
            let (rrsig, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
            RrsigFields::parse(rrsig)?;
            kept.insert(*key, rrsig.into());
            rest = after;
        }
        Some(Signatures(kept))
    }
}

/// By the whole key, not by its tag alone: two keys can share a tag.
fn cache_key(owner: &Name, rrset: &RRset, dnskey: &[u8]) -> [u8; 16] {
    let mut data = dnskey.to_vec();
    dnssec::append_canonical(&mut data, owner, rrset);
    let digest: [u8; 32] = Sha256::digest(&data).into();
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    key
}

/// A zone that is signed but for its SOA.
pub struct Draft<'a> {
    zone: Published,
    soa: RRset,
    signing: Option<Signing<'a>>,
}

struct Signing<'a> {
    signers: &'a [&'a dyn Signer],
    kept: &'a Signatures,
    policy: Policy,
    now: Timestamp,
}

impl<'a> Draft<'a> {
    /// A zone that is served as its contents stand. RRSIGs among them cover their RRsets, NSEC3s are its chain.
    pub fn unsigned(contents: &Contents) -> Result<Draft<'a>, SigningError> {
        let mut draft = Draft::new(contents, None)?;
        for (owner, node) in contents.nodes() {
            let mut sets = unsigned_sets(node);
            sets.remove(&Rtype::RRSIG);
            for rrsig in node.get(&Rtype::RRSIG).into_iter().flat_map(|rrset| &rrset.rdatas) {
                let covered = RrsigFields::parse(rrsig).and_then(|fields| sets.get_mut(&fields.covered));
                if let Some(set) = covered {
                    set.rrsigs.push(rrsig.clone());
                }
            }
            if let Some(nsec3) = sets.remove(&Rtype::NSEC3) {
                draft.zone.nsec3.insert(owner.clone(), nsec3);
            }
            if !sets.is_empty() {
                draft.zone.nodes.insert(owner.clone(), sets);
            }
        }
        draft.zone.denial = match denial::in_file(contents) {
            Denial::Nsec3(parameters) if parameters.iterations > nsec3::MAX_ITERATIONS => Denial::Nsec,
            denial => denial,
        };
        Ok(draft)
    }

    /// Builds the denial chain and signs what `kept` does not hold. `contents` has the apex's DNSKEY, CDS and CDNSKEY already.
    pub fn signed(
        contents: &Contents,
        signers: &'a [&'a dyn Signer],
        kept: &'a Signatures,
        policy: Policy,
        now: Timestamp,
    ) -> Result<Draft<'a>, SigningError> {
        if signers.is_empty() {
            return Err(SigningError::NoKey);
        }
        let soa = contents.soa().ok_or(SigningError::NoSoa)?;
        // RFC 9077 section 3.1: the lesser of the SOA's MINIMUM and its TTL.
        let denial_ttl = soa.ttl.min(serial::minimum_of_soa(&soa.rdatas[0]).unwrap_or(0));
        let denial = policy.denial.clone();
        let signing = Signing { signers, kept, policy, now };
        let origin = contents.origin();

        let mut nodes: BTreeMap<Name, BTreeMap<Rtype, SignedSet>> = BTreeMap::new();
        let mut owners: Vec<Owner<'_>> = Vec::new();
        for (owner, node, standing) in standings(contents) {
            match standing {
                Standing::Hidden => continue,
                // Glue is served unsigned.
                Standing::Glue => {
                    nodes.insert(owner.clone(), unsigned_sets(node));
                    continue;
                }
                Standing::Cut | Standing::Authoritative => {}
            }
            let is_cut = standing == Standing::Cut;
            let mut sets = unsigned_sets(node);
            sets.retain(|rtype, _| !is_made_by_signing(*rtype));
            if let (true, Denial::Nsec3(parameters)) = (owner == origin, &denial) {
                let rrset = RRset::new(Rtype::NSEC3PARAM, denial_ttl, parameters.nsec3param());
                sets.insert(Rtype::NSEC3PARAM, SignedSet { rrset, rrsigs: Vec::new() });
            }
            for (rtype, set) in &mut sets {
                if *rtype != Rtype::SOA && (!is_cut || *rtype == Rtype::DS) {
                    set.rrsigs = signing.sign(owner, &set.rrset, origin)?;
                }
            }
            owners.extend(Owner::new(owner, sets.keys().copied(), is_cut));
            if !sets.is_empty() {
                nodes.insert(owner.clone(), sets);
            }
        }

        let mut draft = Draft::new(contents, None)?;
        match &denial {
            Denial::Nsec => {
                for (owner, rrset) in nsec::chain(&owners, denial_ttl) {
                    let rrsigs = signing.sign(owner, &rrset, origin)?;
                    nodes.entry(owner.clone()).or_default().insert(Rtype::NSEC, SignedSet { rrset, rrsigs });
                }
            }
            Denial::Nsec3(parameters) => {
                let links = nsec3::links(origin, &owners, parameters, parameters.opt_out)
                    .map_err(|nsec3::Collision(one, other)| SigningError::Collision(one, other))?;
                let chain = nsec3::chain(origin, &links, parameters, denial_ttl)
                    .ok_or_else(|| SigningError::LongOrigin(origin.clone()))?;
                for (owner, rrset) in chain {
                    let rrsigs = signing.sign(&owner, &rrset, origin)?;
                    draft.zone.nsec3.insert(owner, SignedSet { rrset, rrsigs });
                }
            }
        }
        draft.zone.nodes = nodes;
        draft.zone.denial = denial;
        draft.signing = Some(signing);
        Ok(draft)
    }

    fn new(contents: &Contents, signing: Option<Signing<'a>>) -> Result<Draft<'a>, SigningError> {
        let zone = Published {
            origin: contents.origin().clone(),
            nodes: BTreeMap::new(),
            nsec3: BTreeMap::new(),
            denial: Denial::Nsec,
            serial: 0,
            refresh_at: None,
            expires_at: None,
            begins_at: None,
        };
        let soa = contents.soa().filter(|soa| rdata::fields(Rtype::SOA, &soa.rdatas[0]).is_some());
        Ok(Draft { zone, soa: soa.ok_or(SigningError::NoSoa)?.clone(), signing })
    }

    /// The serial that the zone file gives.
    pub fn file_serial(&self) -> u32 {
        serial::of_soa(&self.soa.rdatas[0]).unwrap_or(0)
    }

    /// Whether the file has a signature of the SOA: any other serial than the file's would break it.
    pub fn is_sealed(&self) -> bool {
        let soa = self.zone.nodes.get(&self.zone.origin).and_then(|apex| apex.get(&Rtype::SOA));
        self.signing.is_none() && soa.is_some_and(|set| !set.rrsigs.is_empty())
    }

    /// A digest of all that would be published, the serial and the SOA's signatures left out: whether anything changed.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut data = Vec::new();
        let mut add = |owner: &Name, rrset: &RRset, rrsigs: &[Rdata]| {
            data.clear();
            dnssec::append_canonical(&mut data, owner, rrset);
            for rrsig in rrsigs {
                data.extend_from_slice(rrsig);
            }
            hash.update(&data);
        };
        for (owner, set) in self.zone.sets().filter(|(_, set)| set.rrset.rtype != Rtype::SOA) {
            add(owner, &set.rrset, &set.rrsigs);
        }
        add(&self.zone.origin, &self.soa_with(0), &[]);
        hash.finalize().into()
    }

    /// Whether the SOA with this serial has a signature that can be kept; true for an unsigned zone.
    pub fn soa_is_kept(&self, serial: u32) -> bool {
        let soa = self.soa_with(serial);
        self.signing.as_ref().is_none_or(|signing| {
            signing.signers.iter().all(|signer| signing.kept(&self.zone.origin, &soa, *signer).is_some())
        })
    }

    /// The zone with this serial.
    pub fn finish(self, serial: u32) -> Result<Published, SigningError> {
        let rrset = self.soa_with(serial);
        let Draft { mut zone, signing, .. } = self;
        zone.serial = serial;
        let apex = zone.nodes.entry(zone.origin.clone()).or_default();
        let rrsigs = match &signing {
            Some(signing) => signing.sign(&zone.origin, &rrset, &zone.origin)?,
            None => apex.remove(&Rtype::SOA).map(|set| set.rrsigs).unwrap_or_default(),
        };
        apex.insert(Rtype::SOA, SignedSet { rrset, rrsigs });
        if let Some(signing) = &signing {
            let window = zone.window(signing.now);
            zone.begins_at = window.map(|(begins, _)| begins);
            zone.expires_at = window.map(|(_, expires)| expires);
            zone.refresh_at = zone.expires_at.map(|expires| expires.saturating_sub(signing.policy.refresh));
        }
        Ok(zone)
    }

    fn soa_with(&self, serial: u32) -> RRset {
        RRset::new(Rtype::SOA, self.soa.ttl, serial::with_serial(&self.soa.rdatas[0], serial))
    }
}

/// Types that the signer makes itself; what a file has of them is left out of a zone that is signed here.
pub fn is_made_by_signing(rtype: Rtype) -> bool {
    matches!(rtype, Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3 | Rtype::NSEC3PARAM)
}

fn unsigned_sets(node: &Node) -> BTreeMap<Rtype, SignedSet> {
    node.iter().map(|(rtype, rrset)| (*rtype, SignedSet { rrset: rrset.clone(), rrsigs: Vec::new() })).collect()
}

impl Signing<'_> {
    fn sign(&self, owner: &Name, rrset: &RRset, zone: &Name) -> Result<Vec<Rdata>, SigningError> {
        self.signers
            .iter()
            .map(|signer| match self.kept(owner, rrset, *signer) {
                Some(rrsig) => Ok(rrsig.clone()),
                None if self.now < EARLIEST => Err(SigningError::Clock(self.now)),
                None => Ok(dnssec::sign(owner, rrset, zone, self.window(owner, rrset), *signer)?),
            })
            .collect()
    }

    fn kept(&self, owner: &Name, rrset: &RRset, signer: &dyn Signer) -> Option<&Rdata> {
        let rrsig = self.kept.0.get(&cache_key(owner, rrset, signer.dnskey()))?;
        if self.now < EARLIEST {
            return Some(rrsig);
        }
        let fields = RrsigFields::parse(rrsig)?;
        let begun = unwrap_time(fields.inception, self.now) <= self.now;
        let left = unwrap_time(fields.expiration, self.now).saturating_sub(self.now);
        // Those that fall due within the next while go along, so that a refresh is one publication and not one a signature. A validity
        // that was shortened since, or a clock that was ahead, must not keep a signature for longer than the policy says.
        let batch = (self.policy.jitter / 8).max(3600);
        (begun && left > self.policy.refresh + batch && left <= self.policy.validity).then_some(rrsig)
    }

    /// The jitter is drawn from the owner, the type and the hour.
    fn window(&self, owner: &Name, rrset: &RRset) -> Window {
        let mut hash = Sha256::new();
        hash.update(owner.to_lowercase().as_wire());
        hash.update(rrset.rtype.0.to_be_bytes());
        hash.update((self.now / 3600).to_be_bytes());
        let digest = hash.finalize();
        let draw = u64::from(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]));
        let jitter = if self.policy.jitter == 0 { 0 } else { draw % self.policy.jitter };
        Window {
            inception: self.now.saturating_sub(self.policy.backdate),
            expiration: self.now + self.policy.validity - jitter,
        }
    }
}

/// The time nearest to `now` that is `time` modulo 2^32 (RFC 4034 section 3.1.5).
pub fn unwrap_time(time: u32, now: Timestamp) -> Timestamp {
    let ahead = time.wrapping_sub(now as u32) as i32;
    now.saturating_add_signed(i64::from(ahead))
}
