//! Denial chain and signatures: from a zone's contents to what is published of it (RFC 4034, 4035, 9077).
//!
//! In two steps, since the serial depends on whether anything changed: a [`Draft`] holds all but the SOA and has a digest;
//! [`Draft::finish`] is told the serial. A signature is kept while its RRset, key and window stay.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest, Sha256};

use super::contents::{Contents, Node};
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
    /// RRsets by owner and type. RRSIG is not a key here.
    pub nodes: BTreeMap<Name, BTreeMap<Rtype, SignedSet>>,
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

/// How long signatures are valid and when they are renewed. All in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// From now to expiration, before jitter.
    pub validity: u64,
    /// A signature is renewed when less than this is left.
    pub refresh: u64,
    /// Expirations are spread over this much, so that not all fall due at once.
    pub jitter: u64,
    /// Inception lies this far back, for resolvers whose clocks are behind.
    pub backdate: u64,
}

/// No clock that is right says less than 2026-01-01: a machine without one that runs on starts in 1970.
const EARLIEST: Timestamp = 1_767_225_600;

impl Default for Policy {
    fn default() -> Policy {
        const DAY: u64 = 86_400;
        Policy { validity: 14 * DAY, refresh: 6 * DAY, jitter: DAY, backdate: 3600 }
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
}

/// Signatures by a digest of what they cover and who made them: what lets a signature be kept.
#[derive(Clone, Debug, Default)]
pub struct Signatures(HashMap<[u8; 16], Rdata>);

impl Signatures {
    /// The signatures in a published zone that these keys made.
    pub fn of(published: &Published, signers: &[&dyn Signer]) -> Signatures {
        let mut kept = HashMap::new();
        let sets = published.nodes.iter().flat_map(|(owner, node)| node.values().map(move |set| (owner, set)));
        for (owner, set) in sets {
            // Each key made one, in the order of the keys.
            for (signer, rrsig) in signers.iter().zip(&set.rrsigs) {
                kept.insert(cache_key(owner, &set.rrset, *signer), rrsig.clone());
            }
        }
        Signatures(kept)
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
fn cache_key(owner: &Name, rrset: &RRset, signer: &dyn Signer) -> [u8; 16] {
    let mut data = signer.dnskey().to_vec();
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
    /// A zone that is served as its contents stand. RRSIGs among them cover their RRsets.
    pub fn unsigned(contents: &Contents) -> Result<Draft<'a>, SigningError> {
        let mut nodes: BTreeMap<Name, BTreeMap<Rtype, SignedSet>> = BTreeMap::new();
        for (owner, node) in contents.nodes() {
            let mut sets = unsigned_sets(node);
            sets.remove(&Rtype::RRSIG);
            for rrsig in node.get(&Rtype::RRSIG).into_iter().flat_map(|rrset| &rrset.rdatas) {
                let covered = RrsigFields::parse(rrsig).and_then(|fields| sets.get_mut(&fields.covered));
                if let Some(set) = covered {
                    set.rrsigs.push(rrsig.clone());
                }
            }
            if !sets.is_empty() {
                nodes.insert(owner.clone(), sets);
            }
        }
        Draft::new(contents, nodes, None)
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
        let nsec_ttl = soa.ttl.min(serial::minimum_of_soa(&soa.rdatas[0]).unwrap_or(0));
        let signing = Signing { signers, kept, policy, now };

        let mut nodes = BTreeMap::new();
        let mut chain: Vec<(&Name, Vec<Rtype>)> = Vec::new();
        let mut hidden_below: Option<(&Name, Hides)> = None;
        for (owner, node) in contents.nodes() {
            if let Some((above, hides)) = hidden_below
                && owner.is_below(above)
            {
                // Glue is served unsigned; below a DNAME nothing exists (RFC 6672 section 2.4).
                if hides == Hides::Cut {
                    nodes.insert(owner.clone(), unsigned_sets(node));
                }
                continue;
            }
            let is_cut = owner != contents.origin() && node.contains_key(&Rtype::NS);
            hidden_below = match (is_cut, node.contains_key(&Rtype::DNAME)) {
                (true, _) => Some((owner, Hides::Cut)),
                (false, true) => Some((owner, Hides::Dname)),
                (false, false) => None,
            };
            let mut sets = unsigned_sets(node);
            sets.retain(|rtype, _| !is_made_by_signing(*rtype));
            if sets.is_empty() {
                continue;
            }
            let mut types = vec![Rtype::RRSIG, Rtype::NSEC];
            for (rtype, set) in &mut sets {
                let authoritative = !is_cut || *rtype == Rtype::DS;
                if authoritative || *rtype == Rtype::NS {
                    types.push(*rtype);
                }
                if authoritative && *rtype != Rtype::SOA {
                    set.rrsigs = signing.sign(owner, &set.rrset, contents.origin())?;
                }
            }
            nodes.insert(owner.clone(), sets);
            chain.push((owner, types));
        }

        for (index, (owner, types)) in chain.iter().enumerate() {
            let (next, _) = chain[(index + 1) % chain.len()];
            let mut nsec = next.as_wire().to_vec();
            nsec.extend_from_slice(&rdata::bitmap(types.iter().copied()));
            let rrset = RRset::new(Rtype::NSEC, nsec_ttl, nsec.into());
            let rrsigs = signing.sign(owner, &rrset, contents.origin())?;
            nodes.entry((*owner).clone()).or_default().insert(Rtype::NSEC, SignedSet { rrset, rrsigs });
        }
        Draft::new(contents, nodes, Some(signing))
    }

    fn new(
        contents: &Contents,
        nodes: BTreeMap<Name, BTreeMap<Rtype, SignedSet>>,
        signing: Option<Signing<'a>>,
    ) -> Result<Draft<'a>, SigningError> {
        let soa = contents.soa().filter(|soa| rdata::fields(Rtype::SOA, &soa.rdatas[0]).is_some());
        let soa = soa.ok_or(SigningError::NoSoa)?.clone();
        let origin = contents.origin().clone();
        Ok(Draft {
            zone: Published { origin, nodes, serial: 0, refresh_at: None, expires_at: None, begins_at: None },
            soa,
            signing,
        })
    }

    /// The serial that the zone file gives.
    pub fn file_serial(&self) -> u32 {
        serial::of_soa(&self.soa.rdatas[0]).unwrap_or(0)
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
        for (owner, node) in &self.zone.nodes {
            for set in node.values().filter(|set| set.rrset.rtype != Rtype::SOA) {
                add(owner, &set.rrset, &set.rrsigs);
            }
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
            let rrsigs = zone.nodes.values().flat_map(BTreeMap::values).flat_map(|set| &set.rrsigs);
            let (mut expires_at, mut begins_at) = (None::<Timestamp>, None::<Timestamp>);
            for fields in rrsigs.filter_map(|rrsig| RrsigFields::parse(rrsig)) {
                let expiration = unwrap_time(fields.expiration, signing.now);
                expires_at = Some(expires_at.map_or(expiration, |at| at.min(expiration)));
                begins_at = begins_at.max(Some(unwrap_time(fields.inception, signing.now)));
            }
            zone.begins_at = begins_at;
            zone.expires_at = expires_at;
            zone.refresh_at = expires_at.map(|expires| expires.saturating_sub(signing.policy.refresh));
        }
        Ok(zone)
    }

    fn soa_with(&self, serial: u32) -> RRset {
        RRset::new(Rtype::SOA, self.soa.ttl, serial::with_serial(&self.soa.rdatas[0], serial))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Hides {
    Cut,
    Dname,
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
        let rrsig = self.kept.0.get(&cache_key(owner, rrset, signer))?;
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
