//! What the room remembers over restarts, host by host: the certificates known for it, the publication of each of its
//! TLSA owners, since when each verdict stands. The store keeps a host's as it is serialised; it carries a version.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};

use crate::dns::{Name, Timestamp};

use super::error::Error;
use super::keyset::Keyset;
use super::prerequisites::Verdict;
use super::publication::Publication;
use super::tlsa::Service;

/// The version that this danelaw writes, and the highest that it reads.
pub const VERSION: u32 = 1;

/// The publications, by TLSA owner. Most hosts have one: a box keeps the map's room for more of them small.
pub type Publications = BTreeMap<Name, Box<Publication>>;

/// Each verdict and since when, by `domain host prerequisite`.
pub type Verdicts = BTreeMap<String, (Verdict, Timestamp)>;

/// What is remembered of one host. Must be stored before what was decided with it goes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostState {
    /// The version; another one is refused.
    #[serde(deserialize_with = "version")]
    pub version: u32,
    /// The certificates known.
    pub keyset: Keyset,
    /// The publications of its services.
    pub publications: Publications,
    /// The verdicts about it.
    pub verdicts: Verdicts,
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        VERSION => Ok(VERSION),
        other => Err(serde::de::Error::custom(Error::StateVersion(other))),
    }
}

impl Default for HostState {
    fn default() -> HostState {
        let (publications, verdicts) = (Publications::new(), Verdicts::new());
        HostState { version: VERSION, keyset: Keyset::default(), publications, verdicts }
    }
}

impl HostState {
    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.keyset.known.is_empty() && self.publications.is_empty() && self.verdicts.is_empty()
    }

    /// Whether a stopwatch runs in it, which every step reads.
    pub fn is_timed(&self) -> bool {
        let of_publication = |publication: &Publication| {
            publication.loss.is_some() || publication.cached.is_some_and(|cached| cached.lowered.is_some())
        };
        self.keyset.known.iter().any(|known| known.old.is_some())
            || self.publications.values().any(|publication| of_publication(publication))
    }
}

/// What is remembered of all hosts; none of it is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// By host.
    pub hosts: BTreeMap<Name, HostState>,
}

/// All hosts in one document, as it was stored once.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    #[serde(rename = "version", deserialize_with = "version")]
    _version: u32,
    keysets: BTreeMap<Name, Keyset>,
    publications: Publications,
    verdicts: Verdicts,
}

impl<'de> Deserialize<'de> for State {
    /// Reads all hosts in one document.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<State, D::Error> {
        let document = Document::deserialize(deserializer)?;
        let mut state = State::default();
        for (host, keyset) in document.keysets {
            state.hosts.entry(host).or_default().keyset = keyset;
        }
        for (owner, publication) in document.publications {
            let Some(Service { host, .. }) = Service::from_owner(&owner) else { continue };
            state.hosts.entry(host).or_default().publications.insert(owner, publication);
        }
        for (key, verdict) in document.verdicts {
            let Some(host) = key.split(' ').nth(1).and_then(|host| host.parse::<Name>().ok()) else { continue };
            state.hosts.entry(host).or_default().verdicts.insert(key, verdict);
        }
        state.hosts.retain(|_, host| !host.is_empty());
        Ok(state)
    }
}

impl State {
    /// What is remembered of a host from now on.
    pub fn put(&mut self, host: &Name, state: HostState) {
        if state.is_empty() {
            self.hosts.remove(host);
        } else {
            self.hosts.insert(host.clone(), state);
        }
    }

    /// The operator's `withdraw HOST`: every known TLSA of a host, or of one owner when that is named. Takes effect
    /// with the next plan. Gives the owners that it is about; none when none is known.
    pub fn withdraw(&mut self, name: &Name) -> Vec<Name> {
        self.each(name, Publication::withdraw)
    }

    /// The operator's `restore HOST`, likewise.
    pub fn restore(&mut self, name: &Name) -> Vec<Name> {
        self.each(name, Publication::restore)
    }

    fn each(&mut self, name: &Name, apply: impl Fn(&mut Publication)) -> Vec<Name> {
        let mut owners = Vec::new();
        let of_owner = Service::from_owner(name).map(|service| service.host);
        for host in BTreeSet::from_iter(of_owner.iter().chain([name])) {
            let publications = self.hosts.get_mut(host).into_iter().flat_map(|state| &mut state.publications);
            for (owner, publication) in publications.filter(|(owner, _)| *owner == name || host == name) {
                apply(publication);
                owners.push(owner.clone());
            }
        }
        owners
    }
}
