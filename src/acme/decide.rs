//! What follows from what is known: whether to order now, what is asked for now, and what is wrong.

use std::collections::BTreeSet;
use std::mem::discriminant;

use super::Machine;
use super::facts::{Action, Alarm, Held, Notice, Problem, Why};
use super::failures::step_of;
use super::problem::Follows;
use super::renewal::{self, chosen};
use super::state::{Errand, Failure, Laid, PATIENCE, Phase, State, Subject, Wait};
use super::tasks::{Step, Task};
use crate::dane::rollover::clock::Clock;
use crate::dns::Timestamp;

pub(super) const DAY: u64 = 86_400;
const HOUR: u64 = 3600;
/// Between two tries, in seconds: the least, and the most.
const BACKOFF: (u64, u64) = (60, 6 * HOUR);
/// The CA's `Retry-After` is followed for so many seconds.
const RETRY_AFTER: u64 = 7 * DAY;
/// So many orders are made within a day, and three more for each certificate that may expire in one.
const ORDERS: u64 = 12;
/// And so many more where the operator wants another key.
const RESERVE: u64 = 3;
/// A nameserver that does not show the proofs is told of after so many seconds.
const GRACE: u64 = 600;
/// So many failures are told of, one after the other.
const FAILURES: u32 = 3;

impl Why {
    /// Whether the operator said so.
    pub(super) fn is_word(self) -> bool {
        matches!(self, Why::Word | Why::Rotation)
    }
}

impl Errand {
    pub(super) fn fail(&mut self, clock: &Clock) {
        self.tries = self.tries.saturating_add(1);
        self.later(clock, backoff(self.tries));
    }
}

fn backoff(tries: u32) -> u64 {
    (BACKOFF.0 << tries.saturating_sub(1).min(20)).min(BACKOFF.1)
}

impl Machine<'_> {
    pub(super) fn decide(&mut self) {
        if self.state.told == (true, true) {
            self.give_up_waiting();
            self.begin();
        }
        self.prove();
        self.look();
        let is_told = self.state.told == (true, true);
        // A folder that can't be looked at hides nothing of what was known of it.
        if is_told || self.state.folder.tries >= FAILURES {
            self.alarm();
        }
        if is_told {
            self.ask();
            self.ask_besides();
        }
    }

    /// What is not answered has failed, and an order that gets old is lost.
    fn give_up_waiting(&mut self) {
        let clock = self.state.clock.clone();
        let problem = |detail: String| Problem { detail, ..Problem::default() };
        if self.state.errand.is_unanswered(&clock) {
            self.failed(step_of(self.state.phase), problem(format!("no answer within {PATIENCE} s")));
        }
        if let Some(wait) = self.state.aged().filter(|wait| wait.is_over(&clock)) {
            let detail = format!("the order was not done within {} h", wait.seconds / HOUR);
            self.lost(step_of(self.state.phase), problem(self.state.unseen.clone().unwrap_or(detail)));
        }
        let revocations = self.state.revocations.iter_mut().map(|revocation| &mut revocation.errand);
        for errand in [&mut self.state.windows, &mut self.state.keys].into_iter().chain(revocations) {
            if errand.is_unanswered(&clock) {
                errand.fail(&clock);
            }
        }
        let wall = self.state.wall();
        self.state.revocations.retain(|revocation| !revocation.is_over(wall));
    }

    fn look(&mut self) {
        if self.state.folder.is_unanswered(&self.state.clock) {
            let detail = format!("the folder could not be looked at within {PATIENCE} s");
            self.failed(Step::Look, Problem { detail, ..Problem::default() });
        }
        let state = &mut *self.state;
        if !state.told.1 && state.folder.is_due(&state.clock) {
            state.folder.ask(&state.clock);
            self.actions.push(Action::Do(Task::Look));
        }
    }

    fn begin(&mut self) {
        let state = &mut *self.state;
        if state.phase != Phase::Resting || state.paused().is_some() || !state.errand.is_due(&state.clock) {
            return;
        }
        let Some(why) = state.reason() else { return };
        if let Some(wait) = state.crowded(Some(why)) {
            state.errand.wait = Some(wait);
            return;
        }
        state.why = Some(why);
        state.subject = Some(Subject::of(&state.settings));
        self.enter(Phase::Checking);
        if (self.state.errand.tries, self.state.lost) == (0, 0) {
            self.tell(Notice::Begun(why));
        }
    }

    fn prove(&mut self) {
        let proofs = self.state.proofs().to_vec();
        if self.state.proved.as_ref() != Some(&proofs) {
            self.actions.push(Action::Prove { proofs: proofs.clone() });
            self.state.proved = Some(proofs);
        }
    }

    /// What the phase asks for.
    fn ask(&mut self) {
        let state = &mut *self.state;
        if state.phase == Phase::Resting || !state.errand.is_due(&state.clock) {
            return;
        }
        let Some(subject) = state.subject.clone() else { return };
        let action = match (state.phase, &state.order) {
            (Phase::Checking, _) => Action::AskCaa { names: subject.names },
            (Phase::Ordering, _) => {
                if let Some(wait) = state.crowded(state.why) {
                    state.errand.wait = Some(wait);
                    return;
                }
                state.orders.push(state.clock.mark());
                let replaces = state.replaced();
                state.replaces = replaces.is_some();
                Action::Do(Task::Order { names: subject.names, replaces, profile: subject.profile })
            }
            (Phase::Proving, Some(order)) => Action::AskNameservers { proofs: order.proofs.clone() },
            (Phase::Validating, Some(order)) if state.say => Action::Do(Task::SayReady { url: order.url.clone() }),
            (Phase::Finalizing, Some(order)) if state.say => {
                Action::Do(Task::Finalize { url: order.url.clone(), names: subject.names, reuse: order.reuse })
            }
            (Phase::Validating | Phase::Finalizing, Some(order)) => {
                Action::Do(Task::AskStatus { url: order.url.clone() })
            }
            (Phase::Storing, Some(order)) => Action::Do(Task::Store { url: order.url.clone(), names: subject.names }),
            _ => return,
        };
        if state.phase == Phase::Proving && state.failure.as_ref().is_some_and(|failure| failure.step == Step::Prove) {
            self.actions.push(Action::Prove { proofs: state.proofs().to_vec() });
        }
        state.said |= state.say;
        state.say = false;
        state.errand.ask(&state.clock);
        self.actions.push(action);
    }

    fn ask_besides(&mut self) {
        let state = &mut *self.state;
        let ari_id = state.held.as_ref().and_then(|held| held.ari_id.clone()).filter(|_| state.phase == Phase::Resting);
        if let Some(ari_id) = ari_id.filter(|_| state.windows.is_due(&state.clock)) {
            state.windows.ask(&state.clock);
            self.actions.push(Action::Do(Task::AskWindow { ari_id }));
        }
        if state.wants_key() && state.keys.is_due(&state.clock) {
            state.keys.ask(&state.clock);
            self.actions.push(Action::Do(Task::MakeNextKey));
        }
        for revocation in state.revocations.iter_mut().filter(|revocation| revocation.errand.is_due(&state.clock)) {
            revocation.errand.ask(&state.clock);
            let (fingerprint, reason) = (revocation.fingerprint.clone(), revocation.reason);
            self.actions.push(Action::Do(Task::Revoke { fingerprint, reason }));
        }
    }

    fn alarm(&mut self) {
        let mut alarms = self.state.standing();
        // Of each kind the first stands, whatever its words are later.
        let before = std::mem::take(&mut self.state.alarms);
        for alarm in &before {
            match alarms.iter().find(|other| discriminant(*other) == discriminant(alarm)).cloned() {
                Some(other) => {
                    alarms.remove(&other);
                    alarms.insert(alarm.clone());
                }
                None => self.actions.push(Action::Cleared(alarm.clone())),
            }
        }
        self.actions.extend(alarms.difference(&before).cloned().map(Action::Alarm));
        self.state.alarms = alarms;
    }
}

impl State {
    /// What the wall clock said last.
    pub(super) fn wall(&self) -> Timestamp {
        self.clock.wall_at(self.clock.age())
    }

    /// Why a certificate is to be ordered; none: it isn't.
    pub(super) fn reason(&self) -> Option<Why> {
        if self.settings.names.is_empty() {
            return None;
        }
        if self.why.is_some() {
            return self.why;
        }
        let Some(held) = &self.held else { return Some(Why::First) };
        // A CA may add names of its own; what was ordered last tells that one was taken out.
        let is_as_ordered = self.laid.as_ref().is_some_and(|laid| laid.subject.names == self.settings.names);
        if held.names != self.settings.names && !(is_as_ordered && held.names.is_superset(&self.settings.names)) {
            return Some(Why::Names);
        }
        if self.laid.as_ref().is_some_and(|laid| laid.subject.directory != self.settings.directory) {
            return Some(Why::Directory);
        }
        self.renewal().filter(|at| *at <= self.wall()).map(|_| Why::Due)
    }

    /// How long nothing is ordered since a certificate was laid down: one that has to be renewed at once, by the clock or the
    /// CA's word or for its names, would have to be again.
    pub(super) fn paused(&self) -> Option<Wait> {
        let laid = self.laid.as_ref()?;
        let is_other = laid.subject != Subject::of(&self.settings);
        let wait = self.pause(laid);
        (!is_other && !self.why.is_some_and(Why::is_word) && !wait.is_over(&self.clock)).then_some(wait)
    }

    fn pause(&self, laid: &Laid) -> Wait {
        let longer = laid.quick.min(5);
        let seconds = self.held.as_ref().map_or(HOUR << longer, |held| (DAY << longer).min(held.lifetime() / 3));
        Wait { since: laid.since, seconds }
    }

    /// Whether what is laid down now comes soon after what was before.
    pub(super) fn is_quick(&self, laid: &Laid) -> bool {
        let Wait { since, seconds } = self.pause(laid);
        !Wait { since, seconds: seconds.saturating_mul(2) }.is_over(&self.clock)
    }

    /// Until when there are too many orders; none: there may be another one for this reason.
    pub(super) fn crowded(&mut self, why: Option<Why>) -> Option<Wait> {
        let day = |since: &u64| Wait { since: *since, seconds: DAY };
        self.orders.retain(|since| !day(since).is_over(&self.clock));
        let lifetime = self.held.as_ref().map_or(u64::MAX, |held| held.lifetime().max(1));
        let reserve = if why == Some(Why::Rotation) { RESERVE } else { 0 };
        let most = (ORDERS + reserve).saturating_add(3 * (DAY / lifetime));
        let over = self.orders.len().checked_sub(usize::try_from(most).unwrap_or(usize::MAX))?;
        self.orders.get(over).map(day)
    }

    /// What the order replaces, where the CA gives windows and did not refuse to hear of it.
    fn replaced(&self) -> Option<String> {
        let held = self.held.as_ref().filter(|held| self.unreplaced.as_ref() != Some(&held.fingerprint))?;
        self.window.as_ref()?;
        held.ari_id.clone()
    }

    pub(super) fn wants_key(&self) -> bool {
        let is_before = !matches!(self.phase, Phase::Finalizing | Phase::Storing);
        is_before && !self.next_key && !self.settings.reuse && !self.settings.names.is_empty()
    }

    /// When the order at the CA is too old to go on with.
    pub(super) fn aged(&self) -> Option<Wait> {
        let most = self.held.as_ref().map_or(DAY, |held| (held.lifetime() / 12).clamp(PATIENCE, DAY));
        self.order.as_ref().map(|order| Wait { since: order.since, seconds: most })
    }

    /// How long it is waited after a problem, in seconds: longer each time, as long as the CA says, and not so long that the
    /// certificate expires meanwhile.
    pub(super) fn wait_after(&self, problem: &Problem, tries: u32) -> u64 {
        let wall = self.wall();
        let backoff = backoff(tries);
        let spread = backoff - backoff / 10 + chosen(&self.id, &[u64::from(tries), wall], backoff / 5);
        let asked = problem.retry_after.map(|at| at.saturating_sub(wall).min(RETRY_AFTER));
        let is_limited = problem.kind.as_deref() == Some("rateLimited") && asked.is_none();
        let least = if is_limited || problem.follows() == Follows::Operator { HOUR } else { 0 };
        let left = |held: &Held| held.not_after.saturating_sub(wall).saturating_sub(self.settings.hold);
        // What is left is time for several tries, and a CA's word is followed for half of it.
        let shortest = |held: &Held| HOUR.min(held.lifetime() / 24);
        let most = |part: u64| self.held.as_ref().map_or(RETRY_AFTER, |held| (left(held) / part).max(shortest(held)));
        spread.max(least).min(most(16)).max(asked.unwrap_or(0).min(most(2)))
    }

    /// What is wrong now.
    fn standing(&self) -> BTreeSet<Alarm> {
        let wall = self.wall();
        let mut alarms = BTreeSet::new();
        if let Some(held) = self.held.as_ref().filter(|_| !self.settings.names.is_empty()) {
            if held.not_after < wall {
                alarms.insert(Alarm::Expired);
            } else if renewal::late(held, &self.settings) <= wall {
                alarms.insert(Alarm::Late);
            }
            alarms.extend(renewal::refuse(&self.settings, held.lifetime()).map(Alarm::HoldTooLong));
        }
        alarms.extend(self.caa.clone().map(Alarm::Caa));
        let waits = |since| Wait { since, seconds: GRACE };
        if self.order.as_ref().is_some_and(|order| waits(order.since).is_over(&self.clock)) {
            alarms.extend(self.unseen.clone().map(Alarm::NotShown));
        }
        if let Some(Failure { problem, .. }) = &self.failure {
            let tries = self.errand.tries.max(self.keys.tries).max(self.folder.tries).saturating_add(self.lost);
            if problem.follows() == Follows::Operator {
                alarms.extend(Some(Alarm::Needed(problem.plain())).filter(|_| self.caa.is_none()));
            } else if tries >= FAILURES {
                alarms.insert(Alarm::Failing(problem.plain()));
            }
        }
        if self.paused().is_some() && self.reason().is_some() && self.phase == Phase::Resting {
            alarms.insert(Alarm::FreshIsDue);
        }
        alarms.extend(self.skew.map(Alarm::Clock));
        let failing = self.revocations.iter().filter(|revocation| revocation.errand.tries >= FAILURES);
        alarms.extend(failing.filter_map(|revocation| revocation.failure.clone()).map(Alarm::NotRevoked).take(1));
        alarms
    }
}
