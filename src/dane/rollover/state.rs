//! What the machine remembers of a host. Stored before any action is taken; it carries a version.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};

use crate::dane::error::Error;
use crate::dane::tlsa::Tlsa;
use crate::dns::Timestamp;

use super::clock::{Age, Clock};
use super::facts::{Alarm, Chain, Settings, Version};
use super::sets::Sets;

/// The version that this danelaw writes, and the only one that it reads.
pub const VERSION: u32 = 1;

/// Where a rollover stands: for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// There is none.
    Idle,
    /// Not every server shows both records yet.
    Publishing,
    /// Caches may hold sets without the new record.
    Holding,
    /// The new version is being put where the mail server reads.
    Installing,
    /// The mail server has to be told.
    Reloading,
    /// Not every address presents the new certificate yet.
    Confirming,
    /// The old record stays until the caches and the mail server's old processes are gone.
    Draining,
}

/// How a chain stands in a rollover: for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The mail server reads it.
    Live,
    /// It is on its way in.
    Next,
    /// Its key is known, its certificate isn't.
    NextKey,
    /// It is on its way out.
    Leaving,
}

/// A version on its way in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Next {
    pub version: Version,
    /// It was given to the installer.
    pub installing: bool,
}

/// What is left to do for the live version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct After {
    /// Since when the mail server has been told.
    pub hooked: Option<Age>,
    /// Since when every address presents it.
    #[serde(default)]
    pub served: Option<Age>,
}

/// A version on its way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Leaving {
    pub version: Version,
    /// Since when nothing presents it.
    pub unseen: Option<Age>,
}

/// An address of the MX.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Address {
    /// The leaf's fingerprint that it presented last.
    pub presents: Option<String>,
    /// That was after the mail server was told last.
    pub counts: bool,
    /// It could not be asked since.
    pub unasked: bool,
    /// That it answered lately is known from this start of the daemon: when.
    pub fresh: Option<Age>,
}

/// Something that is asked for until it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Retry {
    pub last: Option<Age>,
    pub tries: u32,
    /// The last try is known to have failed.
    pub failed: bool,
}

impl Retry {
    /// When it is asked for again: `first` seconds after the first time, then twice that, at most `most`.
    pub fn due(&self, first: u64, most: u64) -> Age {
        self.last.map_or(0, |last| last + (first << self.tries.saturating_sub(1).min(10)).min(most))
    }

    /// It is asked for now.
    pub fn ask(&mut self, age: Age) {
        self.last = Some(age);
        self.tries = self.tries.saturating_add(1);
    }
}

/// The tries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Tries {
    pub publish: Retry,
    pub ask: Retry,
    pub probe: Retry,
    pub install: Retry,
    pub hook: Retry,
}

/// What is remembered of one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct State {
    #[serde(deserialize_with = "version")]
    version: u32,
    pub(super) clock: Clock,
    pub(super) settings: Settings,
    pub(super) sets: Sets,
    pub(super) addresses: BTreeMap<String, Address>,
    pub(super) live: Option<Version>,
    pub(super) next: Option<Next>,
    pub(super) queued: Option<Version>,
    pub(super) given_up: Option<Version>,
    pub(super) next_keys: Vec<Chain>,
    pub(super) old: Vec<Leaving>,
    pub(super) after: Option<After>,
    /// The id of what somebody else put where the mail server reads.
    pub(super) swapped: Option<String>,
    /// The operator said `hold`.
    pub(super) held: bool,
    /// Records may be out: every address was seen with the live version once, or there were some before.
    pub(super) public: bool,
    /// Before anything was out, addresses presented or may have presented a chain that is not known here.
    pub(super) strange: bool,
    /// Since when what is wanted is wanted.
    pub(super) wanted_since: Age,
    pub(super) tries: Tries,
    pub(super) alarms: BTreeSet<Alarm>,
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        VERSION => Ok(VERSION),
        other => Err(serde::de::Error::custom(Error::StateVersion(other))),
    }
}

impl Default for State {
    fn default() -> State {
        State {
            version: VERSION,
            clock: Clock::default(),
            settings: Settings::default(),
            sets: Sets::default(),
            addresses: BTreeMap::new(),
            live: None,
            next: None,
            queued: None,
            given_up: None,
            next_keys: Vec::new(),
            old: Vec::new(),
            after: None,
            swapped: None,
            held: false,
            public: false,
            strange: false,
            wanted_since: 0,
            tries: Tries::default(),
            alarms: BTreeSet::new(),
        }
    }
}

impl State {
    /// Where the rollover stands.
    pub fn phase(&self) -> Phase {
        match (&self.next, &self.after) {
            (Some(next), _) if next.installing => Phase::Installing,
            (_, Some(after)) if after.hooked.is_none() => Phase::Reloading,
            (_, Some(_)) if self.is_served() => Phase::Draining,
            (_, Some(_)) => Phase::Confirming,
            (Some(_), None) if self.sets.is_shown() => Phase::Holding,
            (Some(_), None) => Phase::Publishing,
            (None, None) if !self.old.is_empty() => Phase::Draining,
            (None, None) => Phase::Idle,
        }
    }

    /// The id of the version that the mail server reads.
    pub fn live(&self) -> Option<&str> {
        self.live.as_ref().map(|version| &version.id[..])
    }

    /// The id of the version on its way in, and of the one that waits behind it.
    pub fn coming(&self) -> (Option<&str>, Option<&str>) {
        (self.next.as_ref().map(|next| &next.version.id[..]), self.queued.as_ref().map(|version| &version.id[..]))
    }

    /// The ids of those on their way out.
    pub fn leaving(&self) -> impl Iterator<Item = &str> {
        self.old.iter().map(|leaving| &leaving.version.id[..])
    }

    /// What is wrong.
    pub fn alarms(&self) -> &BTreeSet<Alarm> {
        &self.alarms
    }

    /// Whether it is the same but for what was seen of the clocks.
    pub fn is_same_but_for_clock(&self, other: &State) -> bool {
        let (mut one, mut two) = (self.clone(), other.clone());
        one.clock = Clock::default();
        two.clock = Clock::default();
        one == two
    }

    /// What is to be out; none: what is out stays.
    pub fn wanted(&self) -> Option<&[Tlsa]> {
        self.sets.wanted()
    }

    /// The chains that may be presented, or will be.
    pub fn chains(&self) -> impl Iterator<Item = (Role, &Chain)> {
        let next = self.next.iter().flat_map(|next| &next.version.chains).map(|chain| (Role::Next, chain));
        let old = self.old.iter().flat_map(|leaving| &leaving.version.chains).map(|chain| (Role::Leaving, chain));
        let live = self.live.iter().flat_map(|live| &live.chains).map(|chain| (Role::Live, chain));
        live.chain(next).chain(self.next_keys.iter().map(|chain| (Role::NextKey, chain))).chain(old)
    }

    /// Whether a version may be presented, or will be.
    pub(super) fn versions(&self) -> impl Iterator<Item = &Version> {
        let next = self.next.iter().map(|next| &next.version);
        self.live.iter().chain(next).chain(self.old.iter().map(|leaving| &leaving.version))
    }

    /// When to step at the latest; none when only a fact can change anything. By the wall clock, which may jump: whoever
    /// drives the machine looks at the clocks more often.
    pub fn next(&self) -> Option<Timestamp> {
        self.next_age().map(|age| self.clock.wall_at(age))
    }
}
