//! What the room remembers over restarts, in one value: the certificates known for each host, the publication of each
//! TLSA owner, since when each verdict stands. The store keeps it as it is serialised; it carries a version.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::dns::{Name, Timestamp};

use super::error::Error;
use super::keyset::Keyset;
use super::prerequisites::Verdict;
use super::publication::Publication;
use super::tlsa::Service;

/// The version that this danelaw writes, and the highest that it reads.
pub const VERSION: u32 = 1;

/// The state. Must be stored before what was decided with it goes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct State {
    /// The version; another one is refused.
    #[serde(deserialize_with = "version")]
    pub version: u32,
    /// The certificates known, by host.
    pub keysets: BTreeMap<Name, Keyset>,
    /// The publications, by TLSA owner.
    pub publications: BTreeMap<Name, Publication>,
    /// Each verdict and since when, by `domain host prerequisite`.
    pub verdicts: BTreeMap<String, (Verdict, Timestamp)>,
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        VERSION => Ok(VERSION),
        other => Err(serde::de::Error::custom(Error::StateVersion(other))),
    }
}

impl Default for State {
    fn default() -> State {
        State { version: VERSION, keysets: BTreeMap::new(), publications: BTreeMap::new(), verdicts: BTreeMap::new() }
    }
}

impl State {
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
        let is_about =
            |owner: &Name| owner == name || Service::from_owner(owner).is_some_and(|service| service.host == *name);
        let mut owners = Vec::new();
        for (owner, publication) in self.publications.iter_mut().filter(|(owner, _)| is_about(owner)) {
            apply(publication);
            owners.push(owner.clone());
        }
        owners
    }
}
