//! Which certificates mail servers were seen to present last: it is remembered over restarts, since a record goes only after its
//! certificate was seen to be presented no more.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tracing::error;

use crate::dane::Chain;
use crate::dane::certificate::Certificate;
use crate::dane::keyset::Sighting;
use crate::dane::state::State as DaneState;
use crate::dns::Name;
use crate::keeper::Keeper;
use crate::keeper::nameservers::Ours;
use crate::observe::certificates::Scan;
use crate::outside::host::{Place, Presented};
use crate::outside::{Failure, Fault, Subject, Trust, host};
use crate::store::{State, Store, StoreError};

/// The kind of what is stored, by host.
const PRESENTED: &str = "presented";
/// The version that this danelaw writes: a list of [`Stored`]. Version 1: a list of fingerprints, without where.
const VERSION: u32 = 2;

/// What each host was seen to present last.
#[derive(Default)]
pub(super) struct Presenting {
    hosts: BTreeMap<Name, Vec<Last>>,
    /// The hosts of which something else is stored.
    unstored: BTreeSet<Name>,
}

/// The certificate that a place was seen to present last.
#[derive(Clone, PartialEq, Eq)]
struct Last {
    /// None: nobody stored where it was.
    place: Option<Place>,
    leaf: Certificate,
}

/// The same as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Stored {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
    /// Its fingerprint.
    certificate: String,
}

impl Presenting {
    /// What was stored, as far as the certificates are known.
    pub(super) fn load(store: &Store, dane: &DaneState) -> Result<Presenting, StoreError> {
        let unusable =
            |key: &str, why: String| StoreError::State { kind: PRESENTED.to_owned(), why: format!("{key}: {why}") };
        let mut presenting = Presenting::default();
        for State { key, json, version, .. } in store.load_all(PRESENTED)? {
            let host: Name = key.parse().map_err(|error| unusable(&key, format!("{error}")))?;
            let stored = stored(&json, version).map_err(|error| unusable(&key, error.to_string()))?;
            let last = |stored: Stored| {
                let mut known = dane.hosts.get(&host).into_iter().flat_map(|state| &state.keyset.known);
                let known = known.find(|known| known.chain.leaf().fingerprint() == stored.certificate)?;
                Some(Last { place: stored.place, leaf: known.chain.leaf().clone() })
            };
            let all = stored.into_iter().filter_map(last).collect();
            presenting.hosts.insert(host, all);
        }
        Ok(presenting)
    }

    /// Keeps what each place of a host presents. One that can't be asked presents what it did before, and so does one with a
    /// certificate that nobody here knows: somebody may be in between. `own`: the addresses that the zones here give the host; none
    /// where they don't say.
    pub(super) fn note(
        &mut self,
        host: &Name,
        seen: &host::Seen,
        own: Option<&[IpAddr]>,
        is_known: impl Fn(&Certificate) -> bool,
    ) {
        if seen.addresses.trust != Trust::Secure {
            return;
        }
        let asked = Asked::new(seen, own, is_known);
        let before = self.hosts.entry(host.clone()).or_default();
        let mut now: Vec<Last> = before.iter().filter(|last| asked.stays(last.place)).cloned().collect();
        now.extend(asked.known.iter().map(|(place, leaf)| Last { place: Some(*place), leaf: (*leaf).clone() }));
        now.sort_by(|one, other| (one.place, one.leaf.der()).cmp(&(other.place, other.leaf.der())));
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
                let Some(all) = self.hosts.get(host).filter(|all| !all.is_empty()) else {
                    store.remove(&kind, &key)?;
                    continue;
                };
                let stored = |last: &Last| Stored { place: last.place, certificate: last.leaf.fingerprint() };
                let json = serde_json::to_string(&all.iter().map(stored).collect::<Vec<Stored>>())
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

/// What was stored, by this version or the one before.
fn stored(json: &str, version: u32) -> serde_json::Result<Vec<Stored>> {
    if version >= VERSION {
        return serde_json::from_str(json);
    }
    let all: BTreeSet<String> = serde_json::from_str(json)?;
    Ok(all.into_iter().map(|certificate| Stored { place: None, certificate }).collect())
}

/// What came of asking a host.
struct Asked<'a> {
    /// What was asked, but for what nobody here speaks.
    places: BTreeSet<Place>,
    /// The certificates that are known here, where they are presented.
    known: BTreeMap<Place, &'a Certificate>,
    /// Of every address that was asked each certificate was seen.
    is_complete: bool,
    /// The host is nowhere else.
    is_everywhere: bool,
}

impl<'a> Asked<'a> {
    fn new(seen: &'a host::Seen, own: Option<&[IpAddr]>, is_known: impl Fn(&Certificate) -> bool) -> Asked<'a> {
        let all = || seen.services.values().flat_map(|service| &service.presented);
        let is_spoken = |said: &Result<Presented, Failure>| {
            said.as_ref().err().is_none_or(|failure| failure.fault != Fault::NotSpokenHere)
        };
        let leaf = |(place, said): (&Place, &'a Result<Presented, Failure>)| {
            let leaf = said.as_ref().ok()?.chain.leaf();
            is_known(leaf).then_some((*place, leaf))
        };
        let is_complete = seen.incomplete.is_none();
        Asked {
            places: all().filter(|(_, said)| is_spoken(said)).map(|(place, _)| *place).collect(),
            known: all().filter_map(leaf).collect(),
            is_complete,
            // Whoever stands before a resolver can have it give fewer.
            is_everywhere: is_complete && own.is_some_and(|own| own.iter().all(|ip| seen.addresses.found.contains(ip))),
        }
    }

    /// Whether what was presented at a place before still counts.
    fn stays(&self, place: Option<Place>) -> bool {
        let Some(place) = place else {
            let is_all = self.is_everywhere && !self.places.is_empty();
            return !is_all || self.places.iter().any(|place| !self.known.contains_key(place));
        };
        if self.places.contains(&place) {
            return !self.known.contains_key(&place);
        }
        let (address, key_type) = place;
        let is_asked = self.places.iter().any(|(asked, _)| *asked == address);
        match is_asked {
            true => {
                let has_none = key_type.is_some() && self.known.contains_key(&(address, None)) && self.is_complete;
                !has_none
            }
            false => !self.is_everywhere,
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
        for (host, all) in hosts {
            // Of hosts that are led the rollover knows more.
            if self.rollovers.led().contains_key(host) {
                continue;
            }
            for leaf in all.iter().map(|last| &last.leaf).filter(|leaf| !counting.contains(leaf.der())) {
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

    /// What a mail server presents is kept, as far as its certificates are known here.
    pub(super) fn note_presented(&mut self, host: &Name, seen: &host::Seen) {
        let own = Ours { config: &self.config, zones: &self.zones }.addresses(host);
        let is_known = |leaf: &Certificate| {
            let known = self.dane.hosts.get(host).into_iter().flat_map(|state| &state.keyset.known);
            let found = self.scans.iter().flat_map(|scan| scan.certificates.iter().chain(&scan.older));
            let mut chains = known.map(|known| &known.chain).chain(found.map(|found| &found.chain));
            chains.any(|chain| chain.leaf() == leaf)
        };
        self.outside.presenting.note(host, seen, own.as_deref(), is_known);
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
fn counting(scans: &[Scan]) -> HashSet<&[u8]> {
    scans.iter().flat_map(|scan| &scan.certificates).map(|found| found.chain.leaf().der()).collect()
}
