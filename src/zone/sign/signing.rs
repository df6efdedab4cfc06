//! One signature: kept from the version before, or made.

use sha2::{Digest, Sha256};

use super::{EARLIEST, Policy, Published, SigningError, unwrap_time};
use crate::dns::dnssec::{self, RrsigFields, Signer, Window};
use crate::dns::{Name, RRset, Rdata, Rtype, Timestamp};
use crate::zone::tree::SignedSet;

/// Runs pieces of work that do not depend on each other, side by side where it can.
pub trait Workers: Sync {
    /// Runs `work(0)` to `work(count - 1)`, in any order; all are done when this returns.
    fn run(&self, count: usize, work: &(dyn Fn(usize) + Sync));
}

/// One after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Workers for Alone {
    fn run(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        (0..count).for_each(work);
    }
}

/// By whom, from what and when.
pub(super) struct Signing<'a> {
    pub(super) signers: &'a [&'a dyn Signer],
    /// Which of the keys that signed the version before each of them is.
    were: Vec<Option<usize>>,
    before: Option<&'a Published>,
    pub(super) policy: Policy,
    pub(super) now: Timestamp,
    pub(super) zone: Name,
}

impl<'a> Signing<'a> {
    pub(super) fn new(
        signers: &'a [&'a dyn Signer],
        before: Option<&'a Published>,
        policy: Policy,
        now: Timestamp,
        zone: Name,
    ) -> Result<Signing<'a>, SigningError> {
        if signers.is_empty() {
            return Err(SigningError::NoKey);
        }
        // By the whole key, not by its tag alone: two keys can share a tag.
        let was = |signer: &&dyn Signer| before?.signers.iter().position(|dnskey| **dnskey == *signer.dnskey());
        Ok(Signing { signers, were: signers.iter().map(was).collect(), before, policy, now, zone })
    }

    /// The RRset with a signature of each key.
    pub(super) fn sign(&self, owner: &Name, rrset: RRset) -> Result<SignedSet, SigningError> {
        let before = self.before.and_then(|before| self.same(before, owner, &rrset));
        let mut rrsigs: Vec<Rdata> = Vec::with_capacity(self.signers.len());
        for (signer, was) in self.signers.iter().zip(&self.were) {
            let kept = was.and_then(|was| before.as_ref()?.get(was).copied()).filter(|rrsig| self.is_good(rrsig));
            rrsigs.push(match kept {
                Some(rrsig) => rrsig.into(),
                None if self.now < EARLIEST => return Err(SigningError::Clock(self.now)),
                None => dnssec::sign(owner, &rrset, &self.zone, self.window(owner, rrset.rtype), *signer)?,
            });
        }
        Ok(SignedSet { rrset, rrsigs })
    }

    /// Whether every key's signature of this RRset can be kept.
    pub(super) fn is_kept(&self, owner: &Name, rrset: &RRset) -> bool {
        let Some(rrsigs) = self.before.and_then(|before| self.same(before, owner, rrset)) else { return false };
        self.were.iter().all(|was| was.and_then(|was| rrsigs.get(was)).is_some_and(|rrsig| self.is_good(rrsig)))
    }

    /// The signatures of the version before, where it has the same RRset.
    fn same<'b>(&self, before: &'b Published, owner: &Name, rrset: &RRset) -> Option<Vec<&'b [u8]>> {
        let set = before.tree.node(owner.as_wire())?.set(rrset.rtype)?;
        let same = set.ttl() == rrset.ttl
            && usize::from(set.count) == rrset.rdatas.len()
            && set.rdatas().zip(&rrset.rdatas).all(|(one, other)| *one == **other);
        same.then(|| set.signatures().collect())
    }

    fn is_good(&self, rrsig: &[u8]) -> bool {
        if self.now < EARLIEST {
            return true;
        }
        let Some(fields) = RrsigFields::parse(rrsig) else { return false };
        let begun = unwrap_time(fields.inception, self.now) <= self.now;
        let left = unwrap_time(fields.expiration, self.now).saturating_sub(self.now);
        // Those that fall due within the next while go along, so that a refresh is one publication and not one a signature. A validity
        // that was shortened since, or a clock that was ahead, must not keep a signature for longer than the policy says.
        let batch = (self.policy.jitter / 8).max(3600);
        begun && left > self.policy.refresh + batch && left <= self.policy.validity
    }

    /// The jitter is drawn from the owner, the type and the hour.
    fn window(&self, owner: &Name, rtype: Rtype) -> Window {
        let mut hash = Sha256::new();
        hash.update(owner.to_lowercase().as_wire());
        hash.update(rtype.0.to_be_bytes());
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
