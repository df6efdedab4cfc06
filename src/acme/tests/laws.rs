//! What holds under any order of events: answers that nobody asked for, restarts between any two steps that lose what was to be
//! done, clocks that jump, an operator who can't wait.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::{
    Action, DAY, Event, HOUR, Held, Phase, Problem, Proof, Reading, START, Settings, State, Status, Step, Task, held,
    id, names, settings, step,
};
use crate::acme::Why;

/// So many orders a day, and no more.
const ORDERS: usize = 12;
/// And so many more for another key.
const RESERVE: usize = 3;

const STEPS: [Step; 10] = [
    Step::Window,
    Step::Caa,
    Step::Order,
    Step::Prove,
    Step::Nameservers,
    Step::Ready,
    Step::Status,
    Step::Finalize,
    Step::Store,
    Step::NextKey,
];
const KINDS: [&str; 9] =
    ["", "badNonce", "rateLimited", "malformed", "caa", "alreadyReplaced", "serverInternal", "orderNotReady", "teapot"];

#[derive(Clone, Debug)]
enum Happens {
    /// What is asked for is answered well, so that most orders get somewhere.
    Answered,
    Restart {
        loses: bool,
        boots: bool,
    },
    Pass(u64),
    Clock(u64),
    Synchronised,
    Configured(u8),
    Held(Option<(u64, u64)>),
    Window(u64, u64, u64),
    NoWindow,
    MayIssue(bool),
    Unprovable(bool),
    Ordered(bool),
    /// The proofs of an order so many before.
    Shown(u32),
    NotShown,
    Status(u32, u8),
    Stored(u64, u64),
    NextKey,
    Failed(usize, usize, Option<u64>),
    Order,
    Cancel,
    Rotate(Option<u8>),
    NotRevoked(u32),
    Waits,
}

fn happens() -> impl Strategy<Value = Happens> {
    let validity = || (0u64..200 * DAY, prop_oneof![Just(6 * DAY), Just(45 * DAY), Just(90 * DAY)]);
    let passing = prop_oneof![0u64..90, 0..2 * HOUR, 0..3 * DAY];
    let failed = (0..STEPS.len(), 0..KINDS.len(), proptest::option::of(0u64..40 * DAY));
    prop_oneof![
        24 => Just(Happens::Answered),
        3 => any::<(bool, bool)>().prop_map(|(loses, boots)| Happens::Restart { loses, boots }),
        8 => passing.prop_map(Happens::Pass),
        2 => (0u64..4_000_000_000).prop_map(Happens::Clock),
        1 => Just(Happens::Synchronised),
        1 => any::<u8>().prop_map(Happens::Configured),
        1 => proptest::option::of(validity()).prop_map(Happens::Held),
        1 => (0u64..100 * DAY, 0u64..100 * DAY, 0u64..9 * DAY).prop_map(|(a, b, c)| Happens::Window(a, b, c)),
        1 => Just(Happens::NoWindow),
        1 => any::<bool>().prop_map(Happens::MayIssue),
        1 => any::<bool>().prop_map(Happens::Unprovable),
        1 => any::<bool>().prop_map(Happens::Ordered),
        1 => (0u32..3).prop_map(Happens::Shown),
        1 => Just(Happens::NotShown),
        4 => (0u32..2, 0u8..5).prop_map(|(order, status)| Happens::Status(order, status)),
        1 => validity().prop_map(|(begin, life)| Happens::Stored(begin, life)),
        1 => Just(Happens::NextKey),
        6 => failed.prop_map(|(step, kind, after)| Happens::Failed(step, kind, after)),
        3 => Just(Happens::Order),
        1 => Just(Happens::Cancel),
        1 => proptest::option::of(0u8..6).prop_map(Happens::Rotate),
        1 => (0u32..3).prop_map(Happens::NotRevoked),
        1 => Just(Happens::Waits),
    ]
}

/// The machine and everything around it that can be judged.
struct World {
    state: State,
    /// What really goes by.
    time: u64,
    offset: i64,
    booted: u64,
    boot_id: u64,
    /// What was to be done in the last step: done before the next one, if the daemon lives.
    todo: Vec<Action>,
    asked: Option<Action>,
    zone: Vec<Proof>,
    /// The orders so far, and whose proofs were shown.
    number: u32,
    proven: BTreeSet<String>,
    /// When orders were asked for that the CA did not refuse for their nonce.
    orders: Vec<u64>,
    reached: BTreeSet<String>,
}

impl World {
    fn new() -> World {
        World {
            state: State::new(id()),
            time: START,
            offset: 0,
            booted: START - 1000,
            boot_id: 1,
            todo: Vec::new(),
            asked: None,
            zone: Vec::new(),
            number: 0,
            proven: BTreeSet::new(),
            orders: Vec::new(),
            reached: BTreeSet::new(),
        }
    }

    fn url(&self, before: u32) -> String {
        format!("order {}", self.number.saturating_sub(before))
    }

    fn proofs(&self, before: u32) -> Vec<Proof> {
        let value = format!("proof {}", self.number.saturating_sub(before));
        vec![Proof { name: "example.org".parse().expect("a name"), value }]
    }

    fn wall(&self) -> u64 {
        self.time.saturating_add_signed(self.offset)
    }

    fn held(&self, (age, lifetime): (u64, u64)) -> Held {
        held(self.number, self.wall().saturating_sub(age), lifetime)
    }

    fn act(&mut self) {
        for action in std::mem::take(&mut self.todo) {
            match action {
                Action::Prove { proofs } => self.zone = proofs,
                Action::Alarm(_) | Action::Cleared(_) | Action::Tell(_) => {}
                other => self.asked = Some(other),
            }
        }
    }

    fn happens(&mut self, happens: Happens) -> Result<(), TestCaseError> {
        if let Happens::Restart { loses: true, .. } = happens {
            self.todo.clear();
        }
        self.act();
        let event = match happens {
            Happens::Answered => return self.answer(),
            Happens::Restart { boots, .. } => return self.restart(boots),
            Happens::Pass(seconds) => {
                self.time += seconds;
                Event::Tick
            }
            Happens::Clock(wall) => {
                self.offset = wall as i64 - self.time as i64;
                Event::Tick
            }
            Happens::Synchronised => {
                self.offset = 0;
                Event::Tick
            }
            Happens::Configured(way) => {
                let all = [names(&["mail.example.org"]), settings().names, names(&[])];
                let names = all[usize::from(way) % 3].clone();
                Event::Settings(Settings { names, reuse: way & 4 > 0, hold: u64::from(way & 8) * HOUR, ..settings() })
            }
            Happens::Held(held) => Event::Held(held.map(|held| self.held(held))),
            Happens::Window(start, end, again) => {
                let from = self.wall().saturating_sub(30 * DAY);
                let ari_id = self.state.held().and_then(|held| held.ari_id.clone()).unwrap_or_default();
                let again = self.wall() + again;
                Event::Window { ari_id, start: from + start, end: from + end, again, explanation: None }
            }
            Happens::NoWindow => Event::NoWindow { ari_id: "ari 0".to_owned(), again: 0 },
            Happens::MayIssue(may) => Event::MayIssue(may.then_some(()).ok_or_else(|| "a record".to_owned())),
            Happens::Unprovable(passes) => Event::Unprovable { why: "no alias".to_owned(), passes },
            Happens::Ordered(with) => self.ordered(with),
            Happens::Shown(before) => Event::Shown { proofs: self.proofs(before) },
            Happens::NotShown => Event::NotShown { why: "ns1".to_owned() },
            Happens::Status(before, status) => Event::Status { url: self.url(before), status: status_of(status) },
            Happens::Stored(age, lifetime) => Event::Stored(self.held((age, lifetime))),
            Happens::NextKey => Event::NextKey,
            Happens::Failed(step, kind, after) => {
                let kind = Some(KINDS[kind]).filter(|kind| !kind.is_empty()).map(str::to_owned);
                let retry_after = after.map(|after| self.wall() + after);
                Event::Failed { step: STEPS[step], problem: Problem { kind, retry_after, ..Problem::default() } }
            }
            Happens::Order => Event::Order,
            Happens::Cancel => Event::Cancel,
            Happens::Rotate(reason) => Event::Rotate { reason },
            Happens::Waits => Event::Waits { why: "the other key's".to_owned() },
            Happens::NotRevoked(before) => {
                let fingerprint = format!("certificate {}", self.number.saturating_sub(before));
                Event::NotRevoked { fingerprint, problem: Problem::default() }
            }
        };
        self.tell(event)
    }

    fn ordered(&mut self, with: bool) -> Event {
        self.number += 1;
        Event::Ordered { url: self.url(0), proofs: if with { self.proofs(0) } else { Vec::new() } }
    }

    fn answer(&mut self) -> Result<(), TestCaseError> {
        let event = match self.asked.take() {
            Some(Action::AskCaa { .. }) => Event::MayIssue(Ok(())),
            Some(Action::Do(Task::Order { .. })) => self.ordered(true),
            Some(Action::AskNameservers { proofs }) => Event::Shown { proofs },
            Some(Action::Do(Task::SayReady { url })) => Event::Status { url, status: Status::Ready },
            Some(Action::Do(Task::AskStatus { url }) | Action::Do(Task::Finalize { url, .. })) => {
                let status = if self.state.phase() == Phase::Finalizing { Status::Valid } else { Status::Ready };
                Event::Status { url, status }
            }
            Some(Action::Do(Task::Store { .. })) => Event::Stored(self.held((HOUR, 90 * DAY))),
            Some(Action::Do(Task::MakeNextKey)) => Event::NextKey,
            Some(Action::Do(Task::Revoke { fingerprint, .. })) => Event::Revoked { fingerprint },
            _ => {
                self.time += 60;
                Event::Tick
            }
        };
        self.tell(event)
    }

    fn restart(&mut self, boots: bool) -> Result<(), TestCaseError> {
        self.asked = None;
        self.time += 20;
        if boots {
            self.boot_id += 1;
            self.booted = self.time;
        }
        let (settings, held) = (self.state.settings.clone(), self.state.held.clone());
        for event in [Event::Started, Event::Settings(settings), Event::Held(held)] {
            self.act();
            self.tell(event)?;
        }
        Ok(())
    }

    fn tell(&mut self, event: Event) -> Result<(), TestCaseError> {
        let (phase, url) = (self.state.phase(), self.state.url().map(str::to_owned));
        if let Event::Shown { proofs } = &event
            && phase == Phase::Proving
            && proofs == self.state.proofs()
        {
            self.proven.extend(url.clone());
        }
        if let Event::Ordered { url, proofs } = &event
            && proofs.is_empty()
        {
            self.proven.insert(url.clone());
        }
        let is_nonce = |problem: &Problem| problem.kind.as_deref() == Some("badNonce");
        let nonce = matches!(&event, Event::Failed { step: Step::Order, problem } if is_nonce(problem));
        let waits = matches!(event, Event::Waits { .. });
        let now = Reading {
            wall: self.wall(),
            boot: self.time - self.booted,
            boot_id: self.boot_id,
            synchronised: self.offset == 0,
        };
        let (state, actions) = step(self.state.clone(), event.clone(), now);
        let text = serde_json::to_string(&state).expect("serialises");
        prop_assert_eq!(&serde_json::from_str::<State>(&text).expect("reads back"), &state);
        let is_not_made = nonce && state.phase() == Phase::Ordering || waits && state.phase() == Phase::Checking;
        if phase == Phase::Ordering && is_not_made {
            self.orders.pop();
        }
        for action in &actions {
            match action {
                Action::Do(Task::Order { .. }) => {
                    prop_assert!(state.url().is_none(), "{event:?}: another order though there is one");
                    self.orders.push(self.time);
                    let day = self.orders.iter().filter(|at| **at + DAY > self.time).count();
                    let reserve = if state.why() == Some(Why::Rotation) { RESERVE } else { 0 };
                    prop_assert!(day <= ORDERS + reserve, "{event:?}: {day} orders a day");
                }
                Action::Do(Task::Finalize { url, .. }) => {
                    prop_assert!(self.proven.contains(url), "{event:?}: finalised and not proven");
                }
                _ => {}
            }
        }
        if let (Some(before), Some(after)) = (&url, state.url()) {
            prop_assert_eq!(before, after, "{:?}: an order takes another one's place", event);
        }
        self.reached.insert(format!("{:?}", state.phase()));
        self.state = state;
        self.todo = actions;
        self.judge(&event)
    }

    /// What stands in the zones when everything is done.
    fn judge(&self, event: &Event) -> Result<(), TestCaseError> {
        let zone = self.todo.iter().rev().find_map(|action| match action {
            Action::Prove { proofs } => Some(&proofs[..]),
            _ => None,
        });
        let zone = zone.unwrap_or(&self.zone);
        prop_assert_eq!(zone, self.state.proofs(), "{:?}", event);
        let may = matches!(self.state.phase(), Phase::Proving | Phase::Validating);
        prop_assert!(may || zone.is_empty(), "{event:?}: proofs stay in {:?}", self.state.phase());
        if let Some(next) = self.state.next() {
            prop_assert!(next > self.wall(), "{event:?}: it is to be stepped at once, again and again");
        }
        Ok(())
    }
}

fn status_of(number: u8) -> Status {
    let problem = Problem { kind: Some("dns".to_owned()), ..Problem::default() };
    match number {
        0 => Status::Pending,
        1 => Status::Ready,
        2 => Status::Processing,
        3 => Status::Valid,
        _ => Status::Invalid(problem),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_laws_hold_under_any_order_of_events(events in proptest::collection::vec(happens(), 1..150)) {
        let mut world = World::new();
        world.happens(Happens::Restart { loses: false, boots: false })?;
        world.happens(Happens::Configured(1))?;
        for event in events {
            world.happens(event)?;
        }
    }

    /// The same with a CA that refuses everything and an operator who orders all the time.
    #[test]
    fn no_storm_of_orders_comes_of_it(passes in proptest::collection::vec((0u64..2 * HOUR, 0..KINDS.len(), 0u64..4_000_000_000), 1..90)) {
        let mut world = World::new();
        world.happens(Happens::Restart { loses: false, boots: false })?;
        world.happens(Happens::Configured(1))?;
        for (seconds, kind, clock) in passes {
            world.happens(Happens::Pass(seconds))?;
            world.happens(Happens::Clock(clock))?;
            world.happens(Happens::Order)?;
            world.happens(Happens::MayIssue(true))?;
            world.happens(Happens::Restart { loses: seconds % 2 == 0, boots: seconds % 3 == 0 })?;
            world.happens(Happens::Failed(2, kind, None))?;
        }
    }
}

#[test]
fn such_worlds_get_everywhere() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut reached = BTreeSet::new();
    let mut stored = 0;
    for _ in 0..60 {
        let strategy = proptest::collection::vec(happens(), 150);
        let events = strategy.new_tree(&mut runner).expect("one").current();
        let mut world = World::new();
        world.happens(Happens::Restart { loses: false, boots: false }).expect("holds");
        world.happens(Happens::Configured(1)).expect("holds");
        for event in events {
            world.happens(event).expect("holds");
        }
        stored += usize::from(world.state.laid.is_some());
        reached.extend(world.reached);
    }
    assert_eq!(reached.len(), 7, "{reached:?}");
    assert!(stored > 20, "{stored}");
}
