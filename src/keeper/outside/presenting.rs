//! Which certificates mail servers were seen to present last: it is remembered over restarts, since a record goes only after its
//! certificate was seen to be presented no more.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use tracing::error;

use crate::dane::Chain;
use crate::dane::certificate::Certificate;
use crate::dane::keyset::Sighting;
use crate::dane::state::State as DaneState;
use crate::dns::Name;
use crate::keeper::Keeper;
use crate::observe::certificates::Scan;
use crate::outside::{Subject, Trust, host};
use crate::store::{State, Store, StoreError};

/// The kind of what is stored, by host: the fingerprints of its certificates.
const PRESENTED: &str = "presented";
/// The version that this danelaw writes.
const VERSION: u32 = 1;

/// What each host was seen to present last.
#[derive(Default)]
pub(super) struct Presenting {
    hosts: BTreeMap<Name, Vec<Certificate>>,
    /// The hosts of which something else is stored.
    unstored: BTreeSet<Name>,
}

impl Presenting {
    /// What was stored, as far as the certificates are known.
    pub(super) fn load(store: &Store, dane: &DaneState) -> Result<Presenting, StoreError> {
        let unusable =
            |key: &str, why: String| StoreError::State { kind: PRESENTED.to_owned(), why: format!("{key}: {why}") };
        let mut presenting = Presenting::default();
        for State { key, json, .. } in store.load_all(PRESENTED)? {
            let host: Name = key.parse().map_err(|error| unusable(&key, format!("{error}")))?;
            let stored: BTreeSet<String> =
                serde_json::from_str(&json).map_err(|error| unusable(&key, error.to_string()))?;
            let known = dane.hosts.get(&host).into_iter().flat_map(|state| &state.keyset.known);
            let known = known.map(|known| known.chain.leaf()).filter(|leaf| stored.contains(&leaf.fingerprint()));
            let mut leaves: Vec<Certificate> = known.cloned().collect();
            leaves.sort_by(|one, other| one.der().cmp(other.der()));
            presenting.hosts.insert(host, leaves);
        }
        Ok(presenting)
    }

    /// Keeps what a host presents. An address that can't be asked presents what it did before.
    pub(super) fn note(&mut self, host: &Name, seen: &host::Seen, counting: &HashSet<&[u8]>) {
        let all: Vec<_> = seen.services.values().flat_map(|service| service.presented.values()).collect();
        let known = all.iter().filter_map(|presented| presented.as_ref().ok());
        let leaves: Vec<Certificate> = known.map(|presented| presented.chain.leaf().clone()).collect();
        // Less is presented than before only where everything was seen, at addresses that are vouched for, and it is all known here.
        let is_all = seen.addresses.trust == Trust::Secure
            && seen.incomplete.is_none()
            && !all.is_empty()
            && all.iter().all(|presented| presented.is_ok())
            && leaves.iter().all(|leaf| counting.contains(leaf.der()));
        let before = self.hosts.entry(host.clone()).or_default();
        let mut now = match is_all {
            true => leaves,
            false if seen.addresses.trust == Trust::Secure => before.iter().cloned().chain(leaves).collect(),
            false => return,
        };
        now.sort_by(|one, other| one.der().cmp(other.der()));
        now.dedup();
        if now != *before {
            *before = now;
            self.unstored.insert(host.clone());
        }
    }

    /// The others are asked no more.
    pub(super) fn retain(&mut self, is_asked: impl Fn(&Name) -> bool) {
        let Presenting { hosts, unstored } = self;
        hosts.retain(|host, _| {
            let is_asked = is_asked(host);
            if !is_asked {
                unstored.insert(host.clone());
            }
            is_asked
        });
    }

    /// Stores what is not: before anything is decided by it.
    pub(super) fn save(&mut self, store: &mut Store) {
        if self.unstored.is_empty() {
            return;
        }
        let stored = store.together(|store| {
            for host in &self.unstored {
                let (kind, key) = (PRESENTED.to_owned(), host.to_lowercase().to_string());
                let Some(leaves) = self.hosts.get(host).filter(|leaves| !leaves.is_empty()) else {
                    store.remove(&kind, &key)?;
                    continue;
                };
                let leaves: BTreeSet<String> = leaves.iter().map(Certificate::fingerprint).collect();
                let json = serde_json::to_string(&leaves)
                    .map_err(|error| StoreError::State { kind: kind.clone(), why: error.to_string() })?;
                store.save(&State { kind, key, version: VERSION, json })?;
            }
            Ok(())
        });
        match stored {
            Ok(()) => self.unstored.clear(),
            Err(error) => error!("what mail servers present can't be stored: {error}"),
        }
    }
}

impl Keeper {
    /// The certificates that mail servers present though their folders have newer ones: as long as that lasts they need their records
    /// too. Only of those that are known: whoever presents one has its key, and the operator has had it.
    pub(in crate::keeper) fn presented_all_the_same(&self) -> Vec<Sighting> {
        let hosts = &self.outside.presenting.hosts;
        if hosts.is_empty() {
            return Vec::new();
        }
        let counting = counting(&self.scans);
        let mut sightings: Vec<Sighting> = Vec::new();
        for (host, leaves) in hosts {
            // Of hosts that are led the rollover knows more.
            if self.rollovers.led().contains_key(host) {
                continue;
            }
            for leaf in leaves.iter().filter(|leaf| !counting.contains(leaf.der())) {
                let of = |chain: &Chain| chain.leaf() == leaf;
                let known = self.dane.hosts.get(host).into_iter().flat_map(|state| &state.keyset.known);
                let known = known.filter(|known| of(&known.chain)).map(|known| (&known.chain, known.source.clone()));
                let older = self.scans.iter().flat_map(|scan| &scan.older).filter(|found| of(&found.chain));
                let older = older.map(|found| (&found.chain, found.path.display().to_string()));
                let sighting = known.chain(older).next().map(|(chain, source)| Sighting {
                    chain: chain.clone(),
                    source,
                    presented: true,
                });
                let is_wanted = |sighting: &Sighting| {
                    !sightings.contains(sighting)
                        && !self.outside.forgotten.contains(&sighting.chain.leaf().fingerprint())
                };
                sightings.extend(sighting.filter(is_wanted));
            }
        }
        sightings
    }

    /// What hosts present that nobody asks any more says nothing. A host whose zone is not here for now may be asked again.
    pub(super) fn forget_presented(&mut self) {
        let (watched, plans, known) = (&self.outside.watched, &self.plans, &self.dane.hosts);
        let is_away =
            |host: &Name| known.contains_key(host) && plans.of_host(host).iter().all(|one| one.zone.is_none());
        let is_asked = |host: &Name| watched.wanted(&Subject::Host(host.clone())).is_some() || is_away(host);
        self.outside.presenting.retain(is_asked);
        self.outside.presenting.save(&mut self.store);
    }
}

/// The certificates that count in their folders, in DER.
pub(super) fn counting(scans: &[Scan]) -> HashSet<&[u8]> {
    scans.iter().flat_map(|scan| &scan.certificates).map(|found| found.chain.leaf().der()).collect()
}
