//! What follows when something fails: the same again, at once or later; the order looked at; another order.

use super::facts::{Notice, Problem};
use super::problem::Follows;
use super::state::{Failure, Phase};
use super::tasks::Step;
use super::{Machine, Timestamp};

/// So often a refused nonce is followed by another try at once, in one phase.
const NONCES: u32 = 5;
/// The CA's clock may differ by so many seconds.
const SKEW: u64 = 600;

impl Machine<'_> {
    pub(super) fn failed(&mut self, step: Step, problem: Problem) {
        self.look_at_clock(problem.ca_time);
        match (step, self.state.phase) {
            (Step::Window, _) => self.state.windows.fail(&self.state.clock),
            (Step::Look, _) => {
                self.state.folder.fail(&self.state.clock);
                self.note(step, problem);
            }
            (Step::NextKey, _) => {
                self.state.keys.fail(&self.state.clock);
                self.note(step, problem);
            }
            // The CA looks at CAA itself.
            (Step::Caa, Phase::Checking) => self.enter(Phase::Ordering),
            (Step::Order, Phase::Ordering) => self.not_ordered(problem),
            (Step::Prove | Step::Nameservers, Phase::Proving)
            | (Step::Ready | Step::Status, Phase::Validating)
            | (Step::Status | Step::Finalize, Phase::Finalizing)
            | (Step::Store, Phase::Storing) => self.stuck(step, problem),
            _ => {}
        }
    }

    pub(super) fn look_at_clock(&mut self, theirs: Option<Timestamp>) {
        let Some(theirs) = theirs else { return };
        let ours = self.state.wall();
        let skew = i64::try_from(i128::from(theirs) - i128::from(ours)).unwrap_or(i64::MAX);
        self.state.skew = Some(skew).filter(|skew| skew.unsigned_abs() > SKEW);
    }

    /// The clock here was put so many seconds ahead.
    pub(super) fn jumped(&mut self, seconds: i64) {
        let skew = self.state.skew.map(|skew| skew.saturating_sub(seconds));
        self.state.skew = skew.filter(|skew| skew.unsigned_abs() > SKEW);
    }

    fn note(&mut self, step: Step, problem: Problem) {
        let at = self.state.wall();
        self.state.failure = Some(Failure { step, problem, at });
    }

    fn is_nonce_only(&mut self, problem: &Problem) -> bool {
        let is_it = problem.follows() == Follows::AtOnce && self.state.nonces < NONCES;
        self.state.nonces += u32::from(is_it);
        is_it
    }

    fn not_ordered(&mut self, problem: Problem) {
        if self.is_nonce_only(&problem) {
            self.state.orders.pop();
            return self.state.errand.now();
        }
        let is_of_replacing = self.state.replaces
            && matches!(problem.kind.as_deref(), Some("alreadyReplaced" | "malformed" | "unauthorized"));
        if is_of_replacing {
            self.state.unreplaced = self.state.held.as_ref().map(|held| held.fingerprint.clone());
        }
        if is_of_replacing && problem.kind.as_deref() == Some("alreadyReplaced") {
            return self.enter(Phase::Ordering);
        }
        self.not_begun(Step::Order, problem);
    }

    /// There is no order yet.
    pub(super) fn not_begun(&mut self, step: Step, problem: Problem) {
        self.rest();
        self.state.errand.tries = self.state.errand.tries.saturating_add(1);
        self.later(step, problem, self.state.errand.tries);
    }

    /// The order at the CA may be good still.
    fn stuck(&mut self, step: Step, problem: Problem) {
        match problem.follows() {
            Follows::Anew | Follows::Operator => self.lost(step, problem),
            Follows::AtOnce if self.is_nonce_only(&problem) => {
                self.state.errand.now();
                self.state.say = matches!(step, Step::Ready | Step::Finalize);
            }
            Follows::AtOnce | Follows::Later | Follows::Look => {
                (self.state.say, self.state.said) = (false, false);
                self.state.errand.tries = self.state.errand.tries.saturating_add(1);
                self.later(step, problem, self.state.errand.tries);
            }
        }
    }

    /// The order is lost. CAs count failed validations: so that two types of key together stay below five an hour, the next one
    /// waits longer than a mere request does.
    pub(super) fn lost(&mut self, step: Step, problem: Problem) {
        self.tell(Notice::Failed(problem.plain()));
        self.rest();
        self.state.lost = self.state.lost.saturating_add(1);
        self.later(step, problem, self.state.lost.saturating_add(4));
    }

    /// It is tried again, the later the more tries came to nothing.
    fn later(&mut self, step: Step, problem: Problem, tries: u32) {
        let seconds = self.state.wait_after(&problem, tries);
        self.state.errand.later(&self.state.clock, seconds);
        self.note(step, problem);
    }

    pub(super) fn not_revoked(&mut self, fingerprint: &str, problem: &Problem) {
        self.look_at_clock(problem.ca_time);
        if problem.is("alreadyRevoked") {
            return self.revoked(fingerprint);
        }
        let mut revocations = self.state.revocations.iter_mut();
        if let Some(revocation) = revocations.find(|revocation| revocation.fingerprint == fingerprint) {
            revocation.errand.fail(&self.state.clock);
            revocation.failure = Some(problem.plain());
        }
    }
}

/// What a phase asks for.
pub(super) fn step_of(phase: Phase) -> Step {
    match phase {
        Phase::Resting | Phase::Checking => Step::Caa,
        Phase::Ordering => Step::Order,
        Phase::Proving => Step::Nameservers,
        Phase::Validating | Phase::Finalizing => Step::Status,
        Phase::Storing => Step::Store,
    }
}
