//! A zone that is signed but for its SOA.

use std::sync::{Mutex, PoisonError};

use super::change::Change;
use super::signing::{Alone, Signing, Workers};
use super::{Policy, Published, SigningError, is_made_by_signing, narrower, window_of};
use crate::dns::dnssec::Signer;
use crate::dns::{Name, RRset, Rtype, Timestamp, rdata};
use crate::zone::contents::Contents;
use crate::zone::denial::{self, Denial, Owner, Standing, nsec, nsec3, standings};
use crate::zone::serial;
use crate::zone::tree::{Builder, Node, SignedSet, Tree, key};

/// So many owners are signed as one piece of work.
const PIECE: usize = 256;
/// So many are laid out at a time, pieces of work to be spread.
const PIECES: usize = 16;

/// A zone that is signed but for its SOA.
pub struct Draft<'a> {
    tree: Tree,
    denial: Denial,
    /// Of all but the SOA, where it is signed here.
    digest: Option<u128>,
    soa: RRset,
    signing: Option<Signing<'a>>,
    /// Where only a part of it was signed anew: what is known of the signatures that stayed.
    stayed: Option<&'a Published>,
    /// The owners that were signed anew, then.
    signed: Vec<Name>,
}

impl<'a> Draft<'a> {
    /// A zone that is served as its contents stand. RRSIGs among them cover their RRsets, NSEC3s are its chain.
    pub fn unsigned(contents: &Contents) -> Result<Draft<'a>, SigningError> {
        let denial = match denial::in_file(contents) {
            Denial::Nsec3(parameters) if parameters.iterations > nsec3::MAX_ITERATIONS => Denial::Nsec,
            denial => denial,
        };
        Draft::new(contents, contents.tree().clone(), denial, None)
    }

    /// Builds the denial chain and signs what `before`, the version before, has no good signature of. `contents` has the apex's DNSKEY,
    /// CDS and CDNSKEY already.
    pub fn signed(
        contents: &Contents,
        signers: &'a [&'a dyn Signer],
        before: Option<&'a Published>,
        policy: Policy,
        now: Timestamp,
    ) -> Result<Draft<'a>, SigningError> {
        Draft::signed_by(&Alone, contents, signers, before, policy, now)
    }

    /// [`Draft::signed`], the signing spread over workers.
    pub fn signed_by(
        workers: &dyn Workers,
        contents: &Contents,
        signers: &'a [&'a dyn Signer],
        before: Option<&'a Published>,
        policy: Policy,
        now: Timestamp,
    ) -> Result<Draft<'a>, SigningError> {
        let origin = contents.origin();
        let denial = policy.denial.clone();
        let signing = Signing::new(signers, before, policy, now, origin.clone())?;
        let ttl = denial_ttl(contents).ok_or(SigningError::NoSoa)?;
        let owners = owners(contents, &denial);
        let mut build = Build { workers, signing: &signing, tree: Builder::new(origin.clone()), waiting: Vec::new() };
        let hashed = match &denial {
            Denial::Nsec => Vec::new(),
            Denial::Nsec3(parameters) => {
                let links = nsec3::links(origin, &owners, parameters, parameters.opt_out)
                    .map_err(|nsec3::Collision(one, other)| SigningError::Collision(one, other))?;
                nsec3::chain(origin, &links, parameters, ttl).ok_or_else(|| SigningError::LongOrigin(origin.clone()))?
            }
        };
        let mut hashed = hashed.into_iter().peekable();
        let mut chain = nsec::chain(&owners, ttl).filter(|_| denial == Denial::Nsec).peekable();
        for (node, standing) in standings(contents) {
            let owner = node.owner();
            while let Some((owner, rrset)) = hashed.next_if(|(hash, _)| *hash < owner) {
                build.add(owner, Vec::new(), vec![rrset])?;
            }
            let (plain, mut to_sign) = sets_of(contents, node, standing, (&denial, ttl));
            to_sign.extend(chain.next_if(|(name, _)| **name == owner).map(|(_, rrset)| rrset));
            build.add(owner, plain, to_sign)?;
        }
        for (owner, rrset) in hashed {
            build.add(owner, Vec::new(), vec![rrset])?;
        }
        build.flush()?;
        let tree = build.tree.finish();
        Draft::new(contents, tree, denial, Some(signing))
    }

    /// [`Draft::signed`] at the cost of the difference: `before` was signed from `old` with the same keys and policy, and `contents` differ
    /// a little. None where they differ in a large part, or in what all signatures depend on: then the whole has to be signed.
    pub fn changed(
        (old, contents): (&Contents, &Contents),
        signers: &'a [&'a dyn Signer],
        before: &'a Published,
        policy: Policy,
        now: Timestamp,
    ) -> Result<Option<Draft<'a>>, SigningError> {
        if before.signers.len() != signers.len()
            || before.signers.iter().zip(signers).any(|(dnskey, signer)| **dnskey != *signer.dnskey())
            || before.denial != policy.denial
            || denial_ttl(old) != denial_ttl(contents)
        {
            return Ok(None);
        }
        let denial = policy.denial.clone();
        let signing = Signing::new(signers, Some(before), policy, now, contents.origin().clone())?;
        let Some(Change { tree, owners }) = Change::make(&signing, old, contents, before)? else { return Ok(None) };
        let digest =
            before.digest.wrapping_sub(digest_of(&before.tree, &owners)).wrapping_add(digest_of(&tree, &owners));
        let soa = soa_of(contents)?;
        Ok(Some(Draft {
            tree,
            denial,
            digest: Some(digest),
            soa,
            signing: Some(signing),
            stayed: Some(before),
            signed: owners,
        }))
    }

    fn new(
        contents: &Contents,
        tree: Tree,
        denial: Denial,
        signing: Option<Signing<'a>>,
    ) -> Result<Draft<'a>, SigningError> {
        let digest = signing.is_some().then(|| digest_of_nodes(&tree));
        Ok(Draft { tree, denial, digest, soa: soa_of(contents)?, signing, stayed: None, signed: Vec::new() })
    }

    /// The serial that the zone file gives.
    pub fn file_serial(&self) -> u32 {
        serial::of_soa(&self.soa.rdatas[0]).unwrap_or(0)
    }

    /// Whether the file has a signature of the SOA: any other serial than the file's would break it.
    pub fn is_sealed(&self) -> bool {
        self.signing.is_none() && self.tree.apex_node().set(Rtype::SOA).is_some_and(|soa| soa.rrsig_count > 0)
    }

    /// A digest of all that would be published, the serial and the SOA's signatures left out: whether anything changed.
    pub fn digest(&self) -> u128 {
        let nodes = self.digest.unwrap_or_else(|| digest_of_nodes(&self.tree));
        nodes.wrapping_add(digest_of_soa(self.tree.apex(), &self.soa))
    }

    /// Whether the SOA with this serial has a signature that can be kept; true for an unsigned zone.
    pub fn soa_is_kept(&self, serial: u32) -> bool {
        let soa = self.soa_with(serial);
        self.signing.as_ref().is_none_or(|signing| signing.is_kept(self.tree.apex(), &soa))
    }

    /// The zone with this serial.
    pub fn finish(self, serial: u32) -> Result<Published, SigningError> {
        let rrset = self.soa_with(serial);
        let Draft { mut tree, denial, digest, signing, stayed, mut signed, soa } = self;
        let origin = tree.apex().clone();
        let is_other = rrset != soa;
        match &signing {
            Some(signing) => tree.change(&origin, &[(Rtype::SOA, Some(signing.sign(&origin, rrset)?))]),
            None if is_other => {
                let rrsigs = tree.apex_node().set(Rtype::SOA).map(|set| set.signatures().map(Into::into).collect());
                let rrsigs = rrsigs.unwrap_or_default();
                tree.change(&origin, &[(Rtype::SOA, Some(SignedSet { rrset, rrsigs }))]);
            }
            None => {}
        }
        let signers = signing.iter().flat_map(|signing| signing.signers).map(|signer| signer.dnskey().into()).collect();
        let digest = digest.unwrap_or_default();
        let mut zone =
            Published { tree, denial, serial, refresh_at: None, expires_at: None, begins_at: None, digest, signers };
        if let Some(signing) = &signing {
            let window = match stayed {
                None => zone.window(signing.now),
                // What went makes the window no narrower.
                Some(before) => {
                    signed.push(origin);
                    let nodes = signed.iter().filter_map(|owner| zone.tree.node(owner.as_wire()));
                    let anew = nodes.filter_map(|node| window_of(node, signing.now));
                    anew.chain(before.begins_at.zip(before.expires_at)).reduce(narrower)
                }
            };
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

fn soa_of(contents: &Contents) -> Result<RRset, SigningError> {
    let soa = contents.soa().filter(|soa| rdata::fields(Rtype::SOA, &soa.rdatas[0]).is_some());
    soa.ok_or(SigningError::NoSoa)
}

/// RFC 9077 section 3.1: the lesser of the SOA's MINIMUM and its TTL.
pub(super) fn denial_ttl(contents: &Contents) -> Option<u32> {
    let soa = contents.soa()?;
    Some(soa.ttl.min(serial::minimum_of_soa(&soa.rdatas[0]).unwrap_or(0)))
}

/// What the chain has to speak of.
fn owners(contents: &Contents, denial: &Denial) -> Vec<Owner> {
    standings(contents).filter_map(|(node, standing)| owner_of(contents, node, standing, denial)).collect()
}

/// What the chain has to say of a node; none where its name is another zone's, or has no types.
pub(super) fn owner_of(contents: &Contents, node: Node<'_>, standing: Standing, denial: &Denial) -> Option<Owner> {
    if matches!(standing, Standing::Glue | Standing::Hidden) {
        return None;
    }
    let mut types = types_of(node);
    if *denial != Denial::Nsec && node.name().len() == contents.origin().as_wire().len() {
        types.push(Rtype::NSEC3PARAM);
    }
    Owner::new(node.owner(), types.into_iter(), standing == Standing::Cut)
}

/// The types at a node that are not made by signing.
pub(super) fn types_of(node: Node<'_>) -> Vec<Rtype> {
    let sets = node.sets().filter(|set| set.count > 0);
    sets.map(|set| set.rtype).filter(|rtype| !is_made_by_signing(*rtype)).collect()
}

/// The RRsets of an owner that are served without a signature, and those that get one; the SOA comes last, when its serial is known.
pub(super) fn sets_of(
    contents: &Contents,
    node: Node<'_>,
    standing: Standing,
    (denial, denial_ttl): (&Denial, u32),
) -> (Vec<RRset>, Vec<RRset>) {
    let apex = contents.origin().as_wire();
    let sets = node.sets().filter(|set| set.count > 0 && !is_made_by_signing(set.rtype)).map(|set| set.rrset());
    match standing {
        Standing::Hidden => (Vec::new(), Vec::new()),
        Standing::Glue => (sets.collect(), Vec::new()),
        Standing::Cut | Standing::Authoritative => {
            let is_cut = standing == Standing::Cut;
            let unsigned = |rrset: &RRset| rrset.rtype == Rtype::SOA || (is_cut && rrset.rtype != Rtype::DS);
            let (plain, mut to_sign): (Vec<RRset>, Vec<RRset>) = sets.partition(unsigned);
            if let (true, Denial::Nsec3(parameters)) = (node.name().len() == apex.len(), denial) {
                to_sign.push(RRset::new(Rtype::NSEC3PARAM, denial_ttl, parameters.nsec3param()));
            }
            (plain, to_sign)
        }
    }
}

/// [`Draft::digest`] of what a zone that is served as its contents stand was published from.
pub fn digest_of_sealed(zone: &Published) -> u128 {
    let soa = zone.tree.apex_node().set(Rtype::SOA).map(|soa| soa.rrset());
    digest_of_nodes(&zone.tree).wrapping_add(soa.map_or(0, |soa| digest_of_soa(zone.origin(), &soa)))
}

/// Of the SOA, whatever its serial.
fn digest_of_soa(apex: &Name, soa: &RRset) -> u128 {
    key::digest(&[apex.as_wire(), &soa.ttl.to_be_bytes(), &serial::with_serial(&soa.rdatas[0], 0)])
}

/// Of all but the SOA.
pub(super) fn digest_of_nodes(tree: &Tree) -> u128 {
    let apex_len = tree.apex().as_wire().len();
    tree.nodes().fold(0, |sum, node| sum.wrapping_add(digest(node, apex_len)))
}

/// Of what one node has, the SOA left out.
fn digest(node: Node<'_>, apex_len: usize) -> u128 {
    let at_apex = node.name().len() == apex_len;
    let sets = node.sets().filter(|set| !(at_apex && set.rtype == Rtype::SOA));
    sets.fold(0, |sum, set| sum.wrapping_add(set.digest(node.name())))
}

fn digest_of(tree: &Tree, owners: &[Name]) -> u128 {
    let apex_len = tree.apex().as_wire().len();
    let nodes = owners.iter().filter_map(|owner| tree.node(owner.as_wire()));
    nodes.fold(0, |sum, node| sum.wrapping_add(digest(node, apex_len)))
}

/// An owner, its RRsets that are served as they are, and those that get a signature.
type Waiting = (Name, Vec<RRset>, Vec<RRset>);

/// A tree that grows owner by owner, some thousand of them signed at a time.
struct Build<'a, 'b> {
    workers: &'a dyn Workers,
    signing: &'a Signing<'b>,
    tree: Builder,
    waiting: Vec<Waiting>,
}

impl Build<'_, '_> {
    fn add(&mut self, owner: Name, plain: Vec<RRset>, to_sign: Vec<RRset>) -> Result<(), SigningError> {
        if !plain.is_empty() || !to_sign.is_empty() {
            self.waiting.push((owner, plain, to_sign));
        }
        if self.waiting.len() < PIECE * PIECES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), SigningError> {
        type Signed = Result<Vec<Vec<SignedSet>>, SigningError>;
        let pieces: Vec<&[Waiting]> = self.waiting.chunks(PIECE).collect();
        let results: Vec<Mutex<Signed>> = pieces.iter().map(|_| Mutex::new(Ok(Vec::new()))).collect();
        self.workers.run(pieces.len(), &|index| {
            let sign = |(owner, _, to_sign): &Waiting| {
                to_sign.iter().map(|rrset| self.signing.sign(owner, rrset.clone())).collect()
            };
            let signed: Signed = pieces[index].iter().map(sign).collect();
            *results[index].lock().unwrap_or_else(PoisonError::into_inner) = signed;
        });
        for (piece, result) in pieces.iter().zip(results) {
            let signed = result.into_inner().unwrap_or_else(PoisonError::into_inner)?;
            for ((owner, plain, _), signed) in piece.iter().zip(signed) {
                let unsigned = plain.iter().map(|rrset| SignedSet { rrset: rrset.clone(), rrsigs: Vec::new() });
                unsigned.chain(signed).for_each(|set| self.tree.insert_set(owner.as_wire(), &set));
            }
        }
        self.waiting.clear();
        Ok(())
    }
}
