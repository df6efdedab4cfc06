//! When a TLSA RRset is published and when it is withdrawn: the withdrawal law as a function.
//!
//! ```text
//!             all held                     proven loss for the hold time, `withdraw`, enabled = false
//!   Never ───────────────▶ Published ───────────────────────────────────────────▶ Withdrawn
//!                              ▲                    all held, no word against it       │
//!                              └───────────────────────────────────────────────────────┘
//! ```
//!
//! Publishing needs every prerequisite. Once published, what can't be checked keeps; a certificate file that is gone
//! keeps; a gate that never held keeps (a stronger grade was configured, or a new version checks more). A proven loss
//! starts a stopwatch which any step without the loss throws away, so that flapping never adds up. It runs by the rule of
//! [`Elapsed`]: a clock that steps back neither ends nor breaks a hold. The operator's word counts at once.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::dns::Timestamp;

use super::elapsed::Elapsed;
use super::prerequisites::{Gate, Readiness};
use super::tlsa::Parameters;

/// Whether the RRset is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It never was.
    Never,
    /// It is.
    Published,
    /// It was.
    Withdrawn(Cause),
}

/// Why a published RRset was taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A proven loss outlasted the hold time.
    Loss,
    /// `danelaw withdraw`.
    Operator,
    /// `enabled = false`.
    Disabled,
}

/// What is remembered of one TLSA owner. Stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Publication {
    /// Where it stands.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// Gates that have held since it was last published: only they can be lost.
    pub proven: BTreeSet<Gate>,
    /// Runs while a loss is proven.
    pub loss: Option<Elapsed>,
    /// The operator said `withdraw` and has not said `restore` since.
    pub withdrawn_by_operator: bool,
    /// The parameter sets of the RRset that was published last.
    #[serde(default)]
    pub sets: BTreeSet<Parameters>,
    /// The longest TTL that caches may still hold the RRset with.
    pub cached: Option<Cached>,
}

/// A TTL that the RRset was published with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Cached {
    /// The TTL in seconds.
    pub ttl: u32,
    /// Runs since it was lowered: when it has elapsed, the lower one counts.
    pub lowered: Option<Elapsed>,
}

impl Publication {
    /// Never published.
    pub fn new(now: Timestamp) -> Publication {
        Publication {
            phase: Phase::Never,
            since: now,
            proven: BTreeSet::new(),
            loss: None,
            withdrawn_by_operator: false,
            sets: BTreeSet::new(),
            cached: None,
        }
    }

    /// The RRset goes out with this TTL. A higher one counts at once, a lower one when the higher has run out in caches.
    pub fn note_ttl(&mut self, ttl: u32, now: Timestamp) {
        let mut cached = self.cached.unwrap_or(Cached { ttl, lowered: None });
        if ttl >= cached.ttl {
            cached = Cached { ttl, lowered: None };
        } else {
            let mut lowered = cached.lowered.unwrap_or_else(|| Elapsed::start(now));
            lowered.credit(now);
            let is_over = lowered.left(cached.ttl.into()) == 0;
            cached = if is_over { Cached { ttl, lowered: None } } else { Cached { lowered: Some(lowered), ..cached } };
        }
        self.cached = Some(cached);
    }

    /// The operator's `withdraw`: takes effect with the next step and holds until `restore`.
    pub fn withdraw(&mut self) {
        self.withdrawn_by_operator = true;
    }

    /// The operator's `restore`: the RRset comes back when its prerequisites hold.
    pub fn restore(&mut self) {
        self.withdrawn_by_operator = false;
    }

    fn turn(&mut self, phase: Phase, now: Timestamp) {
        if self.phase != phase {
            self.phase = phase;
            self.since = now;
        }
    }
}

/// What a step is told.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// `enabled` of the server and the zone.
    pub enabled: bool,
    /// There is something to publish: a certificate known for the host, from which records can be made.
    pub records: bool,
    /// How the prerequisites stand.
    pub readiness: &'a Readiness,
    /// The hold time in seconds.
    pub hold: u64,
}

/// Why it is so. For machines; `explain` puts it into words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum Reason {
    /// Published: every prerequisite holds.
    AllHeld,
    /// Published: something can't be checked, or was never proven before; nothing is lost.
    Kept,
    /// Still published: a proven loss is being held.
    Losing {
        /// When it will be withdrawn if the loss lasts.
        until: Timestamp,
    },
    /// Withheld: not all prerequisites hold yet.
    NotYet,
    /// Withheld: withdrawn after a proven loss, and not all prerequisites hold again.
    Lost,
    /// Withheld: `enabled = false`.
    Disabled,
    /// Withheld: the operator said so.
    WithdrawnByOperator,
    /// Withheld: no certificate of the host was ever seen, or no record can be made from it.
    NoCertificate,
    /// Withheld: the host's certificate is installed here, and not every address is known to present it yet.
    NotPresented,
    /// Withheld: the zone is signed elsewhere, and nothing can be put into it here.
    Presigned,
}

/// What comes out of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Decision {
    /// Whether the RRset goes into the zone.
    pub publish: bool,
    /// Why.
    #[serde(flatten)]
    pub reason: Reason,
    /// When to step again though nothing is seen to change.
    pub next: Option<Timestamp>,
}

impl Decision {
    fn publish(reason: Reason) -> Decision {
        Decision { publish: true, reason, next: None }
    }

    fn withhold(reason: Reason) -> Decision {
        Decision { publish: false, reason, next: None }
    }
}

/// One step. Total: every state takes every input at any time.
pub fn step(mut state: Publication, input: &Input<'_>, now: Timestamp) -> (Publication, Decision) {
    if let Some((cause, reason)) = word(&state, input) {
        if state.phase == Phase::Published {
            state.turn(Phase::Withdrawn(cause), now);
        }
        state.loss = None;
        return (state, Decision::withhold(reason));
    }
    match state.phase {
        Phase::Published => published(state, input, now),
        Phase::Never | Phase::Withdrawn(_) => unpublished(state, input, now),
    }
}

/// The operator's word, in the configuration or by command. It counts at once.
fn word(state: &Publication, input: &Input<'_>) -> Option<(Cause, Reason)> {
    if !input.enabled {
        Some((Cause::Disabled, Reason::Disabled))
    } else if state.withdrawn_by_operator {
        Some((Cause::Operator, Reason::WithdrawnByOperator))
    } else {
        None
    }
}

fn unpublished(mut state: Publication, input: &Input<'_>, now: Timestamp) -> (Publication, Decision) {
    state.loss = None;
    if !input.records {
        return (state, Decision::withhold(Reason::NoCertificate));
    }
    if !input.readiness.qualified {
        let lost = state.phase == Phase::Withdrawn(Cause::Loss);
        return (state, Decision::withhold(if lost { Reason::Lost } else { Reason::NotYet }));
    }
    state.turn(Phase::Published, now);
    state.proven = input.readiness.held.clone();
    (state, Decision::publish(Reason::AllHeld))
}

fn published(mut state: Publication, input: &Input<'_>, now: Timestamp) -> (Publication, Decision) {
    state.proven.extend(&input.readiness.held);
    if !input.readiness.is_loss(&state.proven) {
        state.loss = None;
        let reason = if input.readiness.qualified { Reason::AllHeld } else { Reason::Kept };
        return (state, kept(reason, input));
    }
    let mut watch = state.loss.unwrap_or_else(|| Elapsed::start(now));
    watch.credit(now);
    if watch.left(input.hold) == 0 {
        state.loss = None;
        state.turn(Phase::Withdrawn(Cause::Loss), now);
        return (state, Decision::withhold(Reason::Lost));
    }
    state.loss = Some(watch);
    let mut decision = kept(Reason::Losing { until: watch.until(input.hold) }, input);
    decision.next = watch.next(input.hold);
    (state, decision)
}

/// Published, unless nothing is left to publish: then the phase stays, and the RRset is back with the certificate.
fn kept(reason: Reason, input: &Input<'_>) -> Decision {
    if input.records { Decision::publish(reason) } else { Decision::withhold(Reason::NoCertificate) }
}
