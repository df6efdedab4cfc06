//! What the room promises: each rule, any order of events, and years of renewals against a world that is against them.

mod failures;
mod laws;
mod problems;
mod renewals;
mod rules;
mod years;

use std::collections::BTreeSet;

use super::{Action, Event, Held, Id, Phase, Problem, Proof, Settings, State, Status, Step, Task, step};
use crate::dane::certificate::KeyType;
use crate::dane::rollover::Reading;
use crate::dns::Name;

const HOUR: u64 = 3600;
const DAY: u64 = 86_400;
const START: u64 = 1_800_000_000;

fn id() -> Id {
    Id { host: "mail.example.org".parse().expect("a name"), key_type: KeyType::Ecdsa }
}

fn names(names: &[&str]) -> BTreeSet<Name> {
    names.iter().map(|name| name.parse().expect(name)).collect()
}

fn settings() -> Settings {
    Settings {
        names: names(&["mail.example.org", "*.example.org"]),
        reuse: false,
        hold: 0,
        margin: DAY,
        profile: None,
        directory: "https://ca.example/directory".to_owned(),
    }
}

/// A certificate that begins to be valid then.
fn held(number: u32, not_before: u64, lifetime: u64) -> Held {
    Held {
        not_before,
        not_after: not_before + lifetime,
        names: settings().names,
        fingerprint: format!("certificate {number}"),
        ari_id: Some(format!("ari {number}")),
    }
}

fn proofs() -> Vec<Proof> {
    let proof = |name: &str, value: &str| Proof { name: name.parse().expect(name), value: value.to_owned() };
    vec![proof("example.org", "one"), proof("mail.example.org", "two")]
}

fn problem(kind: &str) -> Problem {
    let kind = (!kind.is_empty()).then(|| kind.to_owned());
    Problem { kind, detail: "so it is".to_owned(), ..Problem::default() }
}

/// A machine, driven by hand.
struct Machine {
    state: State,
    now: Reading,
    actions: Vec<Action>,
}

impl Machine {
    /// It knows its settings and what lies in the folder.
    fn with(settings: Settings, held: Option<Held>) -> Machine {
        let now = Reading { wall: START, boot: 1000, boot_id: 1, synchronised: true };
        let mut machine = Machine { state: State::new(id()), now, actions: Vec::new() };
        machine.tell(Event::Started);
        machine.tell(Event::Settings(settings));
        machine.tell(Event::Held(held));
        machine
    }

    /// Nothing lies in the folder, and an order is under way as far as that phase.
    fn at(phase: Phase) -> Machine {
        let mut machine = Machine::with(settings(), None);
        machine.tell(Event::NextKey);
        machine.go_on_to(phase);
        machine
    }

    fn go_on_to(&mut self, phase: Phase) {
        let url = || "order 1".to_owned();
        for _ in 0..8 {
            if self.state.phase() == phase {
                return;
            }
            match self.state.phase() {
                Phase::Resting => self.tell(Event::Order),
                Phase::Checking => self.tell(Event::MayIssue(Ok(()))),
                Phase::Ordering => self.tell(Event::Ordered { url: url(), proofs: proofs() }),
                Phase::Proving => self.tell(Event::Shown { proofs: proofs() }),
                Phase::Validating => self.tell(Event::Status { url: url(), status: Status::Ready }),
                Phase::Finalizing => self.tell(Event::Status { url: url(), status: Status::Valid }),
                Phase::Storing => self.tell(Event::Stored(held(1, self.now.wall - HOUR, 90 * DAY))),
            }
        }
        panic!("{phase:?} is not reached: {:?}", self.state);
    }

    /// What is remembered goes through the store.
    fn tell(&mut self, event: Event) {
        let stored = serde_json::to_string(&self.state).expect("serialises");
        let state: State = serde_json::from_str(&stored).expect("reads back");
        assert_eq!(state, self.state);
        let (state, actions) = step(state, event, self.now);
        self.state = state;
        self.actions.extend(actions);
    }

    fn status(&mut self, status: Status) {
        let url = self.state.url().expect("there is an order").to_owned();
        self.tell(Event::Status { url, status });
    }

    fn fail(&mut self, step: Step, kind: &str) {
        self.tell(Event::Failed { step, problem: problem(kind) });
    }

    fn pass(&mut self, seconds: u64) {
        self.now.wall += seconds;
        self.now.boot += seconds;
        self.tell(Event::Tick);
    }

    /// Until the machine wants to be stepped, at most so long. Gives how long that was.
    fn sleep(&mut self, most: u64) -> u64 {
        let seconds = self.state.next().map_or(most, |next| (next - self.now.wall).min(most));
        self.pass(seconds);
        seconds
    }

    fn restart(&mut self) {
        self.tell(Event::Started);
        self.tell(Event::Settings(self.state.settings.clone()));
        self.tell(Event::Held(self.state.held.clone()));
    }

    fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// So many actions of a kind since the last look at them.
    fn count(&self, is: impl Fn(&Action) -> bool) -> usize {
        self.actions.iter().filter(|action| is(action)).count()
    }

    /// Sleeps until the machine asks for something of the kind. Gives how long that was.
    fn until(&mut self, is: impl Fn(&Action) -> bool) -> u64 {
        let begun = self.now.boot;
        self.take();
        while !self.actions.iter().any(&is) {
            assert!(self.now.boot < begun + 400 * DAY, "it never comes: {:?}", self.state);
            self.sleep(DAY);
        }
        self.now.boot - begun
    }
}

fn is_order(action: &Action) -> bool {
    matches!(action, Action::Do(Task::Order { .. }))
}

fn prove(proofs: Vec<Proof>) -> Action {
    Action::Prove { proofs }
}
