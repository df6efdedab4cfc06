//! From contents and keys to a snapshot, again and again: keeps signatures that still hold, and lets the serial grow.

use std::sync::Arc;

use super::PluginError;
use crate::dns::Timestamp;
use crate::dns::dnssec::Signer;
use crate::keys::{self, ZoneKey};
use crate::zone::sign::{Draft, Policy, Published};
use crate::zone::{Contents, ZoneSnapshot, serial};

/// One zone's keys, and what is to be remembered between two signings of it.
#[derive(Debug)]
pub struct ZoneSigner {
    keys: Vec<ZoneKey>,
    policy: Policy,
    with_cds: bool,
    before: Option<Published>,
    served: Option<Served>,
}

#[derive(Debug)]
struct Served {
    serial: u32,
    /// None: the serial alone is remembered, from before a restart.
    digest: Option<u128>,
    refresh_at: Option<Timestamp>,
}

impl ZoneSigner {
    /// A signer with these keys, each signing the whole zone. CDS and CDNSKEY are published (RFC 7344).
    pub fn new(keys: Vec<ZoneKey>) -> ZoneSigner {
        ZoneSigner { keys, policy: Policy::default(), with_cds: true, before: None, served: None }
    }

    /// The same, with other times.
    pub fn with_policy(self, policy: Policy) -> ZoneSigner {
        ZoneSigner { policy, ..self }
    }

    /// The same without CDS and CDNSKEY: the parent hears of keys by other ways.
    pub fn without_cds(self) -> ZoneSigner {
        ZoneSigner { with_cds: false, ..self }
    }

    /// The same, told which serial was served before the program started, so that it never goes back.
    pub fn after(self, serial: u32) -> ZoneSigner {
        ZoneSigner { served: Some(Served { serial, digest: None, refresh_at: None }), ..self }
    }

    /// Adds the keys' records to the contents, signs, and lays the zone out. The serial stays where nothing changed; else it is the
    /// contents' own where that is ahead, and one more than was served otherwise.
    ///
    /// # Errors
    ///
    /// No key, no SOA, a failure of the cryptographic library, an RRset above 64 KiB. The signer is then as it was before.
    pub fn sign(&mut self, contents: &Contents, now: Timestamp) -> Result<Arc<ZoneSnapshot>, PluginError> {
        let signers: Vec<&dyn Signer> = self.keys.iter().map(|key| key as &dyn Signer).collect();
        let mut contents = contents.clone();
        let apex = contents.origin().clone();
        for rrset in keys::apex_rrsets(&apex, &signers, keys::KEY_TTL, self.with_cds) {
            contents.replace(&apex, rrset);
        }
        let draft = Draft::signed(&contents, &signers, self.before.as_ref(), self.policy.clone(), now)?;
        let digest = draft.digest();
        let unchanged = |served: &&Served| served.digest == Some(digest) && draft.soa_is_kept(served.serial);
        let serial = match self.served.as_ref().filter(unchanged) {
            Some(served) => served.serial,
            None => serial::next(self.served.as_ref().map(|served| served.serial), draft.file_serial()),
        };
        let published = draft.finish(serial)?;
        let zone = ZoneSnapshot::build(&published)?;
        self.served = Some(Served { serial, digest: Some(digest), refresh_at: published.refresh_at });
        self.before = Some(published);
        Ok(Arc::new(zone))
    }

    /// When to sign again at the latest, though nothing changed: seconds since 1970. None before the first signing.
    pub fn refresh_at(&self) -> Option<Timestamp> {
        self.served.as_ref()?.refresh_at
    }

    /// The keys: their DNSKEY is what the parent's DS is made from ([`crate::dns::dnssec::ds`]).
    pub fn keys(&self) -> &[ZoneKey] {
        &self.keys
    }
}
