//! The order of one certificate: when it is made, and how it goes on until the chain lies in the folder. A machine without a
//! clock, a socket or a file: facts go in, actions come out, and the state is stored in between.
//!
//! ```text
//!             it is time, or the operator's word       CAA allows it, proofs have a place
//!   Resting ─────────────────────────────▶ Checking ────────────────────▶ Ordering ── fails: later
//!    ▲  ▲                                      │ forbids: later               │ the CA gives its URL
//!    │  │                                      ▼                              ▼
//!    │  └──── invalid, gone, too old: another one, later ─────────────────  Proving     until every nameserver shows the proofs
//!    │                                                                        │    ▲
//!    │                                                                        ▼    │   the CA was not told before a restart
//!    │                                                                     Validating   until the CA has seen them
//!    │                                                                        │         the proofs are taken away
//!    │                                                                        ▼
//!    │                                                                     Finalizing   until the certificate is made
//!    │                                                                        │
//!    └──────────────── the chain lies in the folder ───────────────────── Storing
//! ```
//!
//! Whatever can come again does: what fails without a word of the order's fate is asked for again, later and later, and an
//! order whose URL is known is resumed by it. An order that is lost counts: there are so many a day and no more, whatever the
//! clock, the CA and the configuration do. Waits are measured in the credited time of [`crate::dane::rollover::clock`], the
//! validity of certificates by the wall clock.
//!
//! What is laid down is a certificate in a folder like any other client's: the rollover publishes, holds and installs it.

mod decide;
pub mod facts;
mod failures;
pub mod problem;
pub mod renewal;
pub mod state;
pub mod tasks;

#[cfg(test)]
mod tests;

pub use facts::{Action, Alarm, Event, Held, Id, Notice, Problem, Proof, Settings, Status, Why, bare, proof_owner};
pub use state::{Phase, State};
pub use tasks::{Step, Task};

use crate::dane::rollover::Reading;
use crate::dane::rollover::guard::Guards;
use crate::dns::Timestamp;
use crate::dns::text::print_moment;
use decide::DAY;
use state::{Errand, Laid, Placed, Revocation, Rotation, Subject, Window};

/// The renewal information of a certificate is asked for again after so many seconds at least, and at most
/// (RFC 9773 section 4.3.2).
const AGAIN: (u64, u64) = (60, DAY);
/// Whether it is an order's turn is looked at again after so many seconds.
const TURN: u64 = 60;

/// One step. Total: every state takes every event at any time. The state must be stored before the actions are taken.
pub fn step(mut state: State, event: Event, now: Reading) -> (State, Vec<Action>) {
    let jump = state.clock.read(now, Guards::default());
    let mut actions = Vec::new();
    let mut machine = Machine { state: &mut state, actions: &mut actions };
    machine.jumped(jump.unwrap_or_default());
    machine.take(event);
    machine.decide();
    (state, actions)
}

struct Machine<'a> {
    state: &'a mut State,
    actions: &'a mut Vec<Action>,
}

impl Machine<'_> {
    fn tell(&mut self, notice: Notice) {
        self.actions.push(Action::Tell(notice));
    }

    fn refuse(&mut self, why: &str) {
        self.tell(Notice::Refused(why.to_owned()));
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Started => self.started(),
            Event::Tick => {}
            Event::Settings(settings) => self.settings(settings),
            Event::Held(held) => {
                self.state.folder = Errand::default();
                self.state.failure.take_if(|failure| failure.step == Step::Look);
                self.held(held);
            }
            Event::Window { ari_id, start, end, again, explanation } => {
                self.window(&ari_id, Window { start, end, explanation }, again);
            }
            Event::NoWindow { ari_id, again } if self.is_held(&ari_id) => {
                self.state.window = None;
                self.look_at_window(again);
            }
            Event::NoWindow { .. } => {}
            Event::MayIssue(answer) => self.may_issue(answer),
            Event::Unprovable { why, passes } => self.unprovable(why, passes),
            Event::Waits { why } => self.waits(why),
            Event::Ordered { url, proofs } => self.ordered(url, proofs),
            Event::Shown { proofs } => {
                let is_it = self.state.order.as_ref().is_some_and(|order| order.proofs == proofs);
                if self.state.phase == Phase::Proving && is_it {
                    self.enter(Phase::Validating);
                    self.state.say = true;
                }
            }
            Event::NotShown { why } => {
                if self.state.phase == Phase::Proving {
                    self.state.unseen = Some(why);
                    self.look_again();
                }
            }
            Event::Status { url, status } => {
                if self.state.url() == Some(&url) {
                    self.status(status);
                }
            }
            Event::Stored(held) => self.stored(held),
            Event::NextKey => {
                self.state.next_key = true;
                self.state.keys = Errand::default();
                self.state.failure.take_if(|failure| failure.step == Step::NextKey);
            }
            Event::Revoked { fingerprint } => self.revoked(&fingerprint),
            Event::NotRevoked { fingerprint, problem } => self.not_revoked(&fingerprint, &problem),
            Event::Failed { step, problem } => self.failed(step, problem),
            Event::Order => self.word(),
            Event::Cancel => self.cancel(),
            Event::Rotate { reason } => self.rotate(reason),
        }
    }

    /// Whatever was asked for may be lost: it is asked for again, and the alarms are told again.
    fn started(&mut self) {
        let state = &mut *self.state;
        state.told = (false, false);
        let of_revocations = state.revocations.iter_mut().map(|revocation| &mut revocation.errand);
        state.folder = Errand::default();
        for errand in [&mut state.errand, &mut state.windows, &mut state.keys].into_iter().chain(of_revocations) {
            errand.asked = None;
        }
        (state.say, state.said, state.nonces) = (false, false, 0);
        state.proved = None;
        state.next_key = false;
        state.alarms.clear();
        if state.phase == Phase::Ordering {
            // The CA may have an order that nobody knows here.
            let detail = "danelaw did not hear whether there is an order now".to_owned();
            self.failed(Step::Order, Problem { detail, ..Problem::default() });
        }
    }

    fn settings(&mut self, settings: Settings) {
        self.state.told.0 = true;
        let is_other = Subject::of(&settings) != Subject::of(&self.state.settings);
        self.state.settings = settings;
        if is_other {
            self.rest();
            self.state.errand = Errand::default();
            self.state.lost = 0;
            self.state.caa = None;
        }
    }

    fn held(&mut self, held: Option<Held>) {
        let fingerprint = |held: &Option<Held>| held.as_ref().map(|held| held.fingerprint.clone());
        if fingerprint(&held) != fingerprint(&self.state.held) {
            self.state.window = None;
            self.state.windows = Errand::default();
        }
        self.state.told.1 = true;
        self.state.held = held;
    }

    fn is_held(&self, ari_id: &str) -> bool {
        self.state.held.as_ref().is_some_and(|held| held.ari_id.as_deref() == Some(ari_id))
    }

    fn window(&mut self, ari_id: &str, window: Window, again: Timestamp) {
        if !self.is_held(ari_id) {
            return;
        }
        if window.end <= window.start {
            // RFC 9773 section 4.2: as if nothing had come.
            let detail = "the window ends before it begins".to_owned();
            return self.failed(Step::Window, Problem { detail, ..Problem::default() });
        }
        let before = self.state.renewal();
        let explanation = window.explanation.clone();
        self.state.window = Some(window);
        if self.state.renewal().zip(before).is_some_and(|(now, before)| now.saturating_add(DAY) < before) {
            self.tell(Notice::Sooner(explanation));
        }
        self.look_at_window(again);
    }

    fn look_at_window(&mut self, again: Timestamp) {
        let seconds = again.saturating_sub(self.state.wall()).clamp(AGAIN.0, AGAIN.1);
        self.state.windows.later(&self.state.clock, seconds);
        self.state.windows.tries = 0;
    }

    fn may_issue(&mut self, answer: Result<(), String>) {
        if self.state.phase != Phase::Checking {
            // What forbade it is mended: there is nothing to wait for.
            if self.state.phase == Phase::Resting && answer.is_ok() && self.state.caa.take().is_some() {
                self.state.errand.wait = None;
            }
            return;
        }
        self.state.caa = answer.as_ref().err().cloned();
        match answer {
            Ok(()) => self.enter(Phase::Ordering),
            Err(detail) => {
                let kind = Some("caa".to_owned());
                self.not_begun(Step::Caa, Problem { kind, detail, ..Problem::default() });
            }
        }
    }

    fn unprovable(&mut self, why: String, passes: bool) {
        if self.state.phase == Phase::Checking {
            self.state.caa = None;
            let kind = (!passes).then(|| "unprovable".to_owned());
            self.not_begun(Step::Prove, Problem { kind, detail: why, ..Problem::default() });
        }
    }

    /// It is not its turn: nothing failed, and nothing was ordered. Whether CAA allows it is looked at again then.
    fn waits(&mut self, why: String) {
        if self.state.phase == Phase::Ordering && self.state.errand.asked.is_some() {
            self.state.orders.pop();
            self.enter(Phase::Checking);
            self.state.errand.later(&self.state.clock, TURN);
            self.state.unseen = Some(why);
        }
    }

    fn ordered(&mut self, url: String, proofs: Vec<Proof>) {
        if self.state.phase != Phase::Ordering {
            return;
        }
        let reuse = self.state.settings.reuse && self.state.held.is_some() && self.state.rotation.is_none();
        let since = self.state.clock.mark();
        self.goes_on();
        self.enter(if proofs.is_empty() { Phase::Validating } else { Phase::Proving });
        self.state.order = Some(Placed { url, proofs, reuse, since });
    }

    fn status(&mut self, status: Status) {
        match (self.state.phase, status) {
            (Phase::Validating, Status::Pending) if self.state.said => self.look_again(),
            // Whether the proofs are still shown is not known since the restart.
            (Phase::Validating | Phase::Finalizing, Status::Pending) => self.enter(Phase::Proving),
            (Phase::Validating, Status::Ready) => {
                self.goes_on();
                self.enter(Phase::Finalizing);
                self.state.say = true;
            }
            (Phase::Finalizing, Status::Ready) => {
                if self.state.said {
                    self.look_again();
                } else {
                    self.state.errand.now();
                }
                self.state.say = true;
            }
            (Phase::Validating | Phase::Finalizing, Status::Processing) => {
                if self.state.phase == Phase::Validating {
                    self.enter(Phase::Finalizing);
                }
                self.look_again();
            }
            (Phase::Validating | Phase::Finalizing, Status::Valid) => {
                self.goes_on();
                self.enter(Phase::Storing);
            }
            (Phase::Validating | Phase::Finalizing, Status::Invalid(problem)) => self.lost(Step::Status, problem),
            (Phase::Resting | Phase::Checking | Phase::Ordering | Phase::Proving | Phase::Storing, _) => {}
        }
    }

    fn stored(&mut self, held: Held) {
        if self.state.phase != Phase::Storing {
            return self.held(Some(held));
        }
        let why = self.state.why.take().unwrap_or(Why::Due);
        let subject = self.state.subject.take().unwrap_or_else(|| Subject::of(&self.state.settings));
        let since = self.state.clock.mark();
        let is_quick = |laid: &Laid| !why.is_word() && laid.subject == subject && self.state.is_quick(laid);
        let quick = self.state.laid.as_ref().filter(|laid| is_quick(laid)).map_or(0, |laid| laid.quick + 1);
        self.state.laid = Some(Laid { subject, since, quick });
        if let Some(mut revocation) = self.state.rotation.take().and_then(|rotation| rotation.revoke) {
            // What it replaces is presented until the hold is over.
            revocation.errand.later(&self.state.clock, self.state.settings.hold);
            self.will_revoke(revocation);
        }
        self.rest();
        self.state.errand = Errand::default();
        self.state.lost = 0;
        self.state.failure = None;
        self.state.unreplaced = None;
        self.state.next_key = false;
        self.state.keys = Errand::default();
        self.state.skew = None;
        self.look_at_clock(Some(held.not_before).filter(|at| *at > self.state.wall()));
        self.tell(Notice::Stored { why, not_after: held.not_after });
        self.held(Some(held));
    }

    fn will_revoke(&mut self, revocation: Revocation) {
        self.state.revocations.retain(|other| other.fingerprint != revocation.fingerprint);
        self.state.revocations.push(revocation);
    }

    fn revoked(&mut self, fingerprint: &str) {
        let before = self.state.revocations.len();
        self.state.revocations.retain(|revocation| revocation.fingerprint != fingerprint);
        if self.state.revocations.len() < before {
            self.tell(Notice::Revoked(fingerprint.to_owned()));
        }
    }

    fn word(&mut self) {
        if self.state.settings.names.is_empty() {
            return self.refuse("no names are configured for it");
        }
        if let Some(refusal) = self.barred(self.state.why.unwrap_or(Why::Word)) {
            return self.refuse(&refusal);
        }
        if self.state.phase == Phase::Resting && self.state.why != Some(Why::Rotation) {
            self.state.why = Some(Why::Word);
        }
        self.at_once();
    }

    /// Why there can't be an order that has to be made now, and when there can; none: there can, or is.
    fn barred(&mut self, why: Why) -> Option<String> {
        let State { order, phase, errand, .. } = &*self.state;
        let is_of_use = |order: &Placed| why != Why::Rotation || !order.reuse;
        if order.as_ref().is_some_and(is_of_use) || *phase == Phase::Ordering && errand.asked.is_some() {
            return None;
        }
        let wait = self.state.crowded(Some(why))?;
        let at = print_moment(self.state.clock.wall_at(wait.end(&self.state.clock)));
        Some(format!("there were too many orders within a day, and there may be another one at {at}"))
    }

    /// What waits to be tried again is tried now.
    fn at_once(&mut self) {
        for errand in [&mut self.state.errand, &mut self.state.folder, &mut self.state.keys] {
            errand.wait = None;
        }
    }

    fn cancel(&mut self) {
        if self.state.phase == Phase::Resting && !self.state.why.is_some_and(Why::is_word) {
            return self.refuse("there is nothing to give up");
        }
        (self.state.why, self.state.rotation) = (None, None);
        self.rest();
        self.state.errand.later(&self.state.clock, DAY);
        self.tell(Notice::GivenUp);
    }

    fn rotate(&mut self, reason: Option<u8>) {
        if self.state.settings.names.is_empty() {
            return self.refuse("no names are configured for it");
        }
        if let Some(refusal) = self.barred(Why::Rotation) {
            return self.refuse(&refusal);
        }
        let revoke = self.state.held.as_ref().zip(reason).map(|(held, reason)| Revocation {
            fingerprint: held.fingerprint.clone(),
            reason,
            not_after: held.not_after,
            errand: Errand::default(),
            failure: None,
        });
        let before = self.state.rotation.take().and_then(|rotation| rotation.revoke);
        let revoke = match (revoke, before) {
            (Some(revoke), Some(before)) => {
                if before.fingerprint != revoke.fingerprint {
                    // Something else has taken its place already.
                    self.will_revoke(before);
                }
                Some(revoke)
            }
            (revoke, before) => revoke.or(before),
        };
        self.state.rotation = Some(Rotation { revoke });
        if self.state.order.as_ref().is_some_and(|order| order.reuse) {
            self.rest();
        }
        self.state.why = Some(Why::Rotation);
        self.at_once();
    }

    /// The CA did what it was asked for: what failed before is over.
    fn goes_on(&mut self) {
        self.state.errand.tries = 0;
    }

    /// Another phase begins.
    fn enter(&mut self, phase: Phase) {
        self.state.phase = phase;
        self.state.errand.now();
        (self.state.say, self.state.said) = (false, false);
        (self.state.looks, self.state.nonces) = (0, 0);
        self.state.unseen = None;
    }

    /// There is no order any more.
    fn rest(&mut self) {
        self.enter(Phase::Resting);
        self.state.order = None;
        self.state.subject = None;
        self.state.why = self.state.why.filter(|why| why.is_word());
    }

    fn look_again(&mut self) {
        self.state.looks = self.state.looks.saturating_add(1);
        let seconds = match self.state.looks {
            looks @ 0..=60 => (1 << looks.min(6)).clamp(2, 60),
            _ => 300,
        };
        self.state.errand.later(&self.state.clock, seconds);
    }
}
