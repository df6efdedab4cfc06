//! Denial chain and signatures: from a zone's contents to what is published of it (RFC 4034, 4035, 9077).
//!
//! In two steps, since the serial depends on whether anything changed: a [`Draft`] holds all but the SOA and has a digest;
//! [`Draft::finish`] is told the serial. A signature is kept while its RRset, key and window stay.

mod change;
mod draft;
mod ring;
mod signing;

use super::denial::Denial;
use super::tree::{self, Tree};
use crate::dns::dnssec::{RrsigFields, SignError};
use crate::dns::text::print_moment;
use crate::dns::{Name, Rdata, Rtype, Timestamp};

pub use super::tree::SignedSet;
pub use draft::{Draft, digest_of_sealed};
pub use signing::{Alone, Workers};

/// A zone as it is served: every RRset with its signatures, the denial chain among them. A copy costs little. What every answer reads
/// stands first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Published {
    /// Its nodes. NSEC3 RRsets stand at the owners that their hashes make, which are nobody's for a query (RFC 5155 section 7.2.8).
    pub tree: Tree,
    /// The earliest expiration of its signatures.
    pub expires_at: Option<Timestamp>,
    /// What absence is proven by, if the zone is signed.
    pub denial: Denial,
    /// The SOA serial.
    pub serial: u32,
    /// When the first signature wants to be made anew; none for an unsigned zone.
    pub refresh_at: Option<Timestamp>,
    /// The latest inception of its signatures.
    pub begins_at: Option<Timestamp>,
    /// Of all but the SOA, where it is signed here.
    pub(super) digest: u128,
    /// The DNSKEYs of the keys that signed it here; each RRset has a signature of each, in this order.
    pub(super) signers: Vec<Rdata>,
}

impl Published {
    /// The apex.
    pub fn origin(&self) -> &Name {
        self.tree.apex()
    }

    /// Whether signatures want to be made anew: one is about to expire, or is not valid yet since the clock was set back.
    pub fn is_due(&self, now: Timestamp) -> bool {
        now >= EARLIEST && (self.refresh_at.is_some_and(|at| at <= now) || self.begins_at.is_some_and(|at| at > now))
    }

    /// Every RRset with its owner, in canonical order.
    pub fn sets(&self) -> impl Iterator<Item = (Name, SignedSet)> {
        let signed = |node: tree::Node<'_>| -> Vec<(Name, SignedSet)> {
            let sets = node.sets().filter(|set| set.count > 0);
            sets.map(|set| (node.owner(), SignedSet::of(set))).collect()
        };
        self.tree.nodes().flat_map(signed)
    }

    /// The RRset of an owner and a type, with its signatures.
    pub fn set(&self, owner: &Name, rtype: Rtype) -> Option<SignedSet> {
        Some(SignedSet::of(self.tree.node(owner.as_wire())?.set(rtype)?))
    }

    /// Another version of it, with signatures of the same keys.
    pub(super) fn with_tree(&self, tree: Tree, serial: u32, now: Timestamp) -> Published {
        let is_signed_here = !self.signers.is_empty();
        let digest = if is_signed_here { draft::digest_of_nodes(&tree) } else { 0 };
        let refresh = self.expires_at.zip(self.refresh_at).map(|(expires, refresh)| expires.saturating_sub(refresh));
        let mut zone = Published { tree, serial, digest, ..self.clone() };
        let window = if is_signed_here { zone.window(now) } else { None };
        zone.begins_at = window.map(|(begins, _)| begins);
        zone.expires_at = window.map(|(_, expires)| expires);
        zone.refresh_at = zone.expires_at.zip(refresh).map(|(expires, refresh)| expires.saturating_sub(refresh));
        zone
    }

    /// The latest inception and the earliest expiration of its signatures; none of a zone without any.
    pub fn window(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        self.tree.nodes().filter_map(|node| window_of(node, now)).reduce(narrower)
    }
}

type Times = (Timestamp, Timestamp);

/// The latest inception and the earliest expiration at a node.
fn window_of(node: tree::Node<'_>, now: Timestamp) -> Option<Times> {
    let rrsigs = node.sets().flat_map(tree::Set::signatures).filter_map(RrsigFields::parse);
    rrsigs.map(|fields| (unwrap_time(fields.inception, now), unwrap_time(fields.expiration, now))).reduce(narrower)
}

fn narrower((begins, expires): Times, (inception, expiration): Times) -> Times {
    (begins.max(inception), expires.min(expiration))
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

/// Types that the signer makes itself; what a file has of them is left out of a zone that is signed here.
pub fn is_made_by_signing(rtype: Rtype) -> bool {
    matches!(rtype, Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3 | Rtype::NSEC3PARAM)
}

/// The time nearest to `now` that is `time` modulo 2^32 (RFC 4034 section 3.1.5).
pub fn unwrap_time(time: u32, now: Timestamp) -> Timestamp {
    let ahead = time.wrapping_sub(now as u32) as i32;
    now.saturating_add_signed(i64::from(ahead))
}
