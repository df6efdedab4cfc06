//! What the machine remembers of a certificate. Stored before any action is taken; it carries a version.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};

use super::facts::{Alarm, Held, Id, Problem, Proof, Settings, Why};
use super::renewal;
use super::tasks::Step;
use crate::dane::rollover::Age;
use crate::dane::rollover::clock::Clock;
use crate::dns::{Name, Timestamp};

/// The version that this danelaw writes, and the only one that it reads.
pub const VERSION: u32 = 1;
/// An answer is waited for so many seconds.
pub(super) const PATIENCE: u64 = 600;

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// There is none.
    Resting,
    /// Whether CAA allows it is being looked at.
    Checking,
    /// The CA is asked for an order.
    Ordering,
    /// Not every nameserver shows the proofs yet.
    Proving,
    /// The CA looks at the proofs.
    Validating,
    /// The CA makes the certificate.
    Finalizing,
    /// The certificate is being fetched and laid down.
    Storing,
}

/// What certificates are ordered for: when it changes, what was ordered for something else is not wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Subject {
    pub names: BTreeSet<Name>,
    pub profile: Option<String>,
    pub directory: String,
}

impl Subject {
    pub fn of(settings: &Settings) -> Subject {
        let Settings { names, profile, directory, .. } = settings.clone();
        Subject { names, profile, directory }
    }
}

/// An order at the CA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Placed {
    pub url: String,
    pub proofs: Vec<Proof>,
    /// It is finalised with the key that lies there.
    pub reuse: bool,
    /// Since when it is there.
    pub since: Age,
}

/// The last certificate that was laid down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Laid {
    pub subject: Subject,
    pub since: Age,
    /// So many were laid down one soon after the other.
    pub quick: u32,
}

/// When the CA wants a certificate to be replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Window {
    /// From.
    pub start: Timestamp,
    /// To.
    pub end: Timestamp,
    /// A page that says why.
    pub explanation: Option<String>,
}

/// The key is to be another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Rotation {
    /// What is revoked when another one lies there.
    pub revoke: Option<Revocation>,
}

/// A certificate to revoke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Revocation {
    pub fingerprint: String,
    pub reason: u8,
    pub not_after: Timestamp,
    pub errand: Errand,
    pub failure: Option<String>,
}

impl Revocation {
    pub fn is_over(&self, wall: Timestamp) -> bool {
        wall > self.not_after
    }
}

/// What went wrong last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Failure {
    /// At what.
    pub step: Step,
    /// What.
    pub problem: Problem,
    /// When.
    pub at: Timestamp,
}

/// A time that has to go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Wait {
    pub since: Age,
    pub seconds: u64,
}

impl Wait {
    pub fn is_over(self, clock: &Clock) -> bool {
        clock.elapsed(self.since) >= self.seconds
    }

    pub fn end(self, clock: &Clock) -> Age {
        clock.end(self.since, self.seconds)
    }
}

/// Something that is asked for until it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Errand {
    /// It is asked for since.
    pub asked: Option<Age>,
    /// It is not asked for before.
    pub wait: Option<Wait>,
    /// So often it failed.
    pub tries: u32,
}

impl Errand {
    pub fn is_due(&self, clock: &Clock) -> bool {
        self.asked.is_none() && self.wait.is_none_or(|wait| wait.is_over(clock))
    }

    pub fn ask(&mut self, clock: &Clock) {
        self.asked = Some(clock.mark());
        self.wait = None;
    }

    pub fn is_unanswered(&self, clock: &Clock) -> bool {
        self.asked.is_some_and(|since| Wait { since, seconds: PATIENCE }.is_over(clock))
    }

    pub fn later(&mut self, clock: &Clock, seconds: u64) {
        self.asked = None;
        self.wait = Some(Wait { since: clock.mark(), seconds });
    }

    pub fn now(&mut self) {
        self.asked = None;
        self.wait = None;
    }

    fn next(&self, clock: &Clock) -> Age {
        let asked = self.asked.map(|since| Wait { since, seconds: PATIENCE });
        asked.or(self.wait).map_or(clock.age(), |wait| wait.end(clock))
    }
}

/// What is remembered of one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct State {
    #[serde(deserialize_with = "version")]
    version: u32,
    pub(super) id: Id,
    pub(super) clock: Clock,
    pub(super) settings: Settings,
    pub(super) held: Option<Held>,
    /// Told since the daemon started: settings, what lies in the folder.
    pub(super) told: (bool, bool),
    pub(super) folder: Errand,
    pub(super) window: Option<Window>,
    pub(super) windows: Errand,
    pub(super) phase: Phase,
    /// Why there is an order, or will be.
    pub(super) why: Option<Why>,
    /// What the order is for, since CAA was looked at.
    pub(super) subject: Option<Subject>,
    pub(super) order: Option<Placed>,
    /// Of the phase.
    pub(super) errand: Errand,
    /// The CA is to be told something before it is asked how the order stands; it was, since the phase or the daemon began.
    pub(super) say: bool,
    pub(super) said: bool,
    /// Looks at the nameservers or the order, and refused nonces, in this phase.
    pub(super) looks: u32,
    pub(super) nonces: u32,
    /// The proofs that stand in the zones, as far as the machine of this start knows.
    pub(super) proved: Option<Vec<Proof>>,
    /// Why a nameserver doesn't show them; before there is an order, which other one is in the way.
    pub(super) unseen: Option<String>,
    /// What to do that CAA allows it.
    pub(super) caa: Option<String>,
    /// When orders were asked for, within a day.
    pub(super) orders: Vec<Age>,
    /// The last one said what it replaces; the CA did not like it of this certificate.
    pub(super) replaces: bool,
    pub(super) unreplaced: Option<String>,
    /// So many orders came to nothing since a certificate was laid down.
    pub(super) lost: u32,
    pub(super) failure: Option<Failure>,
    /// By how many seconds the CA's clock is ahead.
    pub(super) skew: Option<i64>,
    pub(super) laid: Option<Laid>,
    pub(super) next_key: bool,
    pub(super) keys: Errand,
    pub(super) rotation: Option<Rotation>,
    pub(super) revocations: Vec<Revocation>,
    pub(super) alarms: BTreeSet<Alarm>,
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        VERSION => Ok(VERSION),
        other => Err(serde::de::Error::custom(format!(
            "version {other}, and this danelaw knows {VERSION}: it was written by a newer one"
        ))),
    }
}

impl State {
    /// Of a certificate that nothing is known of.
    pub fn new(id: Id) -> State {
        State {
            version: VERSION,
            id,
            clock: Clock::default(),
            settings: Settings::default(),
            held: None,
            told: (false, false),
            folder: Errand::default(),
            window: None,
            windows: Errand::default(),
            phase: Phase::Resting,
            why: None,
            subject: None,
            order: None,
            errand: Errand::default(),
            say: false,
            said: false,
            looks: 0,
            nonces: 0,
            proved: None,
            unseen: None,
            caa: None,
            orders: Vec::new(),
            replaces: false,
            unreplaced: None,
            lost: 0,
            failure: None,
            skew: None,
            laid: None,
            next_key: false,
            keys: Errand::default(),
            rotation: None,
            revocations: Vec::new(),
            alarms: BTreeSet::new(),
        }
    }

    /// What it is of.
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// Where the order stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Why there is one, or will be.
    pub fn why(&self) -> Option<Why> {
        self.why
    }

    /// The order's URL.
    pub fn url(&self) -> Option<&str> {
        self.order.as_ref().map(|order| &order.url[..])
    }

    /// The TXT that are to stand in the zones.
    pub fn proofs(&self) -> &[Proof] {
        let order = self.order.as_ref().filter(|_| matches!(self.phase, Phase::Proving | Phase::Validating));
        order.map_or(&[], |order| &order.proofs)
    }

    /// What lies in the folder.
    pub fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// When the CA wants it to be replaced.
    pub fn window(&self) -> Option<&Window> {
        self.window.as_ref()
    }

    /// When it is renewed.
    pub fn renewal(&self) -> Option<Timestamp> {
        Some(renewal::at(&self.id, self.held.as_ref()?, self.window.as_ref(), &self.settings))
    }

    /// What went wrong since a certificate was laid down.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// When what failed is tried again; none: nothing has to be.
    pub fn next_try(&self) -> Option<Timestamp> {
        let errand = match self.failure.as_ref()?.step {
            Step::Look => &self.folder,
            Step::NextKey => &self.keys,
            _ => &self.errand,
        };
        errand.wait.map(|wait| self.clock.wall_at(wait.end(&self.clock)))
    }

    /// What it waits for: which nameserver does not show the proofs yet, and why, or another order.
    pub fn unseen(&self) -> Option<&str> {
        self.unseen.as_deref()
    }

    /// Whether a certificate is to be revoked still.
    pub fn is_to_revoke(&self) -> bool {
        !self.revocations.is_empty()
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

    /// When to step at the latest; none when only a fact can change anything. By the wall clock, which may jump: whoever drives
    /// the machine looks at the clocks more often.
    pub fn next(&self) -> Option<Timestamp> {
        let wall = self.clock.wall_at(self.clock.age());
        let moment = |age| self.clock.wall_at(age).max(wall.saturating_add(1));
        if self.told != (true, true) {
            return (!self.told.1).then(|| moment(self.folder.next(&self.clock)));
        }
        let mut ages = Vec::new();
        let mut moments = Vec::new();
        if let Some(held) = &self.held {
            moments.extend([renewal::late(held, &self.settings), held.not_after]);
            if self.phase == Phase::Resting && held.ari_id.is_some() {
                ages.push(self.windows.next(&self.clock));
            }
        }
        match self.phase {
            Phase::Resting => match (self.reason(), self.paused(), self.errand.wait) {
                (None, _, _) => moments.extend(self.renewal()),
                (Some(_), pause, wait) => {
                    ages.extend([pause, wait].into_iter().flatten().map(|wait| wait.end(&self.clock)).max());
                }
            },
            _ => ages.push(self.errand.next(&self.clock)),
        }
        if self.wants_key() {
            ages.push(self.keys.next(&self.clock));
        }
        ages.extend(self.revocations.iter().map(|revocation| revocation.errand.next(&self.clock)));
        ages.extend(self.aged().map(|wait| wait.end(&self.clock)));
        moments.into_iter().filter(|at| *at > wall).chain(ages.into_iter().map(moment)).min()
    }
}
