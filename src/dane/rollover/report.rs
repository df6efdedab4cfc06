//! What people and drivers are shown of a state. Decides nothing.

use std::fmt;

use crate::dane::tlsa::Tlsa;
use crate::dns::Timestamp;

use super::facts::Chain;
use super::state::{Phase, State};

/// How a nameserver stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It shows what is wanted.
    Current,
    /// It does not yet.
    Behind,
    /// It can't be reached.
    Unreachable,
    /// It could not be reached for so long that it is not waited for.
    PassedOver,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Standing::Current => "current",
            Standing::Behind => "behind, or not asked yet",
            Standing::Unreachable => "unreachable",
            Standing::PassedOver => "unreachable for too long: not waited for",
        })
    }
}

impl State {
    /// Whether the operator said `hold`.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// The zone's nameservers.
    pub fn nameservers(&self) -> impl Iterator<Item = (&str, Standing)> {
        let standing = |name: &String| match self.sets.behind().find(|(other, _)| *other == name) {
            None => Standing::Current,
            Some((_, server)) if server.passed_over => Standing::PassedOver,
            Some((_, server)) if server.dead => Standing::Unreachable,
            Some(_) => Standing::Behind,
        };
        self.sets.named().map(move |(name, _)| (name.as_str(), standing(name)))
    }

    /// Where mail servers are asked, and the fingerprint of what each presented last.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.addresses.iter().map(|(name, address)| (name.as_str(), address.presents.as_deref()))
    }

    /// The version that a leaf's fingerprint is of.
    pub fn version_of(&self, chain: &str) -> Option<&str> {
        self.versions().find(|version| version.has(chain)).map(|version| version.id.as_str())
    }

    /// What is presented where nobody can be asked and the operator vouches for it: what is deployed, or what was before
    /// anything was.
    pub fn vouched(&self) -> Option<&Chain> {
        let old = self.old.last().map(|leaving| &leaving.version);
        let next = self.next.as_ref().map(|next| &next.version);
        self.live.as_ref().or(old).or(next)?.chains.first()
    }

    /// What our zone was last seen to have: serial, records and TTL; none where that is not known.
    pub fn published(&self) -> Option<(u32, Vec<Tlsa>, u32)> {
        self.sets.published_now()
    }

    /// The RRsets that resolvers may hold, or will.
    pub fn cached(&self) -> impl Iterator<Item = &[Tlsa]> {
        self.sets.cached().map(|set| set.records.as_slice())
    }

    /// The versions that may be installed yet, or be looked for.
    pub fn needed(&self) -> impl Iterator<Item = &str> {
        let waiting = self.queued.iter().chain(&self.given_up);
        self.versions().chain(waiting).map(|version| version.id.as_str())
    }

    /// When the wait that is on ends by the wall clock, if nothing happens before. None where nothing is waited for but facts.
    pub fn goes_on(&self) -> Option<Timestamp> {
        let age = match (self.phase(), &self.next) {
            (Phase::Holding, Some(next)) => self.sets.stay_until(&next.version, &self.settings, &self.clock),
            (Phase::Draining, _) => self.drained().or_else(|| self.first_publication()),
            _ => None,
        };
        age.map(|age| self.clock.wall_at(age))
    }
}
