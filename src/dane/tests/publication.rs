//! The withdrawal law as a table, and what clocks and flapping do to a hold.

use std::collections::BTreeSet;

use crate::dane::elapsed::STRIDE;
use crate::dane::prerequisites::{Gate, Readiness};
use crate::dane::publication::{Cause, Decision, Input, Phase, Publication, Reason, step};

const HOLD: u64 = 3600;
const START: u64 = 1_800_000_000;
const ALL: [Gate; 4] = [Gate::MailServiceDeclared, Gate::Dkim, Gate::Mx, Gate::DnssecZone];

fn held() -> Readiness {
    Readiness { qualified: true, held: ALL.into(), missing: vec![BTreeSet::new()], is_partial: false }
}

fn missing(gate: Gate) -> Readiness {
    let held = ALL.into_iter().filter(|other| *other != gate).collect();
    Readiness { qualified: false, held, missing: vec![BTreeSet::from([gate])], is_partial: false }
}

fn unknown(gate: Gate) -> Readiness {
    Readiness { missing: vec![BTreeSet::new()], ..missing(gate) }
}

fn input(readiness: &Readiness) -> Input<'_> {
    Input { enabled: true, records: true, readiness, hold: HOLD }
}

fn never() -> Publication {
    Publication::new(START)
}

fn published() -> Publication {
    let (state, decision) = step(never(), &input(&held()), START);
    assert_eq!((decision.publish, decision.reason), (true, Reason::AllHeld));
    state
}

fn restarted(state: &Publication) -> Publication {
    let stored = serde_json::to_string(state).expect("serialises");
    serde_json::from_str(&stored).expect("reads back")
}

/// Steps whenever the last decision asks for it and at `end`, with a restart in between each time if wanted.
fn run(mut state: Publication, input: &Input<'_>, end: u64, restart: bool) -> (Publication, Decision) {
    let mut now = START;
    loop {
        let decision;
        (state, decision) = step(state, input, now);
        match decision.next {
            _ if now == end => return (state, decision),
            Some(next) => now = next.min(end),
            None => now = end,
        }
        if restart {
            state = restarted(&state);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Expect {
    Withhold,
    Keep,
    WithdrawAfterHold,
}

#[test]
fn the_table_of_losses() {
    use Expect::*;
    let (all, mx, dkim, unsure) = (held(), missing(Gate::Mx), missing(Gate::Dkim), unknown(Gate::DnssecZone));
    let file_gone = |readiness, phase: &Publication| Input {
        // With the file gone the last good certificate still yields records, if there ever was one.
        records: phase.phase != Phase::Never,
        ..input(readiness)
    };
    let rows: [(&str, Publication, Expect, Input<'_>); 10] = [
        ("certificate file gone", never(), Withhold, file_gone(&all, &never())),
        ("MX gone", never(), Withhold, input(&mx)),
        ("DKIM gone", never(), Withhold, input(&dkim)),
        ("flag off", never(), Withhold, Input { enabled: false, ..input(&all) }),
        ("cannot be checked", never(), Withhold, input(&unsure)),
        ("certificate file gone", published(), Keep, file_gone(&all, &published())),
        ("MX gone", published(), WithdrawAfterHold, input(&mx)),
        ("DKIM gone", published(), WithdrawAfterHold, input(&dkim)),
        ("flag off", published(), Withhold, Input { enabled: false, ..input(&all) }),
        ("cannot be checked", published(), Keep, input(&unsure)),
    ];
    for restart in [false, true] {
        for (what, state, expect, input) in rows.clone() {
            let label = format!("{what}, {:?}, restart {restart}", state.phase);
            let (_, at_once) = step(state.clone(), &input, START);
            let (_, before) = run(state.clone(), &input, START + HOLD - 1, restart);
            let (_, after) = run(state.clone(), &input, START + HOLD, restart);
            let (_, long_after) = run(state, &input, START + 100 * HOLD, restart);
            let seen = [at_once.publish, before.publish, after.publish, long_after.publish];
            let expected = match expect {
                Withhold => [false; 4],
                Keep => [true; 4],
                WithdrawAfterHold => [true, true, false, false],
            };
            assert_eq!(seen, expected, "{label}");
        }
    }
}

#[test]
fn what_was_withdrawn_comes_back_when_all_is_held_again() {
    let (state, decision) = run(published(), &input(&missing(Gate::Dkim)), START + HOLD, true);
    assert_eq!((state.phase, &decision.reason), (Phase::Withdrawn(Cause::Loss), &Reason::Lost));
    // What can't be checked is not enough, as for a first publication.
    let (state, decision) = step(state, &input(&unknown(Gate::Dkim)), START + 2 * HOLD);
    assert!(!decision.publish);
    let (state, decision) = step(state, &input(&held()), START + 3 * HOLD);
    assert_eq!((state.phase, decision.publish), (Phase::Published, true));
    assert_eq!(state.since, START + 3 * HOLD);
}

#[test]
fn flapping_never_adds_up() {
    let (lost, back) = (missing(Gate::Mx), held());
    let mut state = published();
    for round in 0..100 {
        let at = START + round * HOLD;
        for (offset, readiness) in [(0, &lost), (600, &lost), (1200, &lost), (1800, &back)] {
            let decision;
            (state, decision) = step(state, &input(readiness), at + offset);
            assert!(decision.publish, "round {round}");
        }
    }
    // Becoming unknown breaks a loss too: it is no longer proven.
    let (state, _) = step(state, &input(&lost), START);
    assert!(state.loss.is_some());
    let (state, _) = step(state, &input(&unknown(Gate::Mx)), START + 1);
    assert_eq!(state.loss, None);
}

#[test]
fn a_clock_that_steps_neither_ends_nor_breaks_a_hold() {
    let lost = missing(Gate::Mx);
    let (state, decision) = step(published(), &input(&lost), START);
    assert_eq!(decision.reason, Reason::Losing { until: START + HOLD });
    let (state, _) = step(state, &input(&lost), START + 300);
    // Back by years, ahead by years: at most one stride is credited.
    let (state, decision) = step(state, &input(&lost), 0);
    assert!(decision.publish);
    assert_eq!(state.loss.expect("runs").credited, 300);
    let (state, decision) = step(state, &input(&lost), START + 10 * 365 * 86_400);
    assert!(decision.publish);
    assert_eq!(state.loss.expect("runs").credited, 300 + STRIDE);
    // And it ends in the end.
    let mut now = START + 10 * 365 * 86_400;
    let mut state = state;
    for _ in 0..20 {
        let decision;
        (state, decision) = step(state, &input(&lost), now);
        now = decision.next.unwrap_or(now);
    }
    assert_eq!(state.phase, Phase::Withdrawn(Cause::Loss));
}

#[test]
fn a_stronger_grade_is_no_loss() {
    // Published under `declared`; `probed` is configured now, and nothing answers.
    let (state, decision) = run(published(), &input(&missing(Gate::MailServiceProbed)), START + 100 * HOLD, true);
    assert_eq!((decision.publish, decision.reason), (true, Reason::Kept));
    // Once it has held, its loss counts.
    let mut stronger = held();
    stronger.held.insert(Gate::MailServiceProbed);
    let (state, _) = step(state, &input(&stronger), START);
    let (_, decision) = run(state, &input(&missing(Gate::MailServiceProbed)), START + 100 * HOLD, true);
    assert_eq!((decision.publish, decision.reason), (false, Reason::Lost));
}

#[test]
fn a_chain_of_trust_that_seems_to_be_lost_takes_nothing_back() {
    let mut stronger = held();
    stronger.held.insert(Gate::DnssecParent);
    let (state, _) = step(published(), &input(&stronger), START);
    let (state, decision) = run(state, &input(&missing(Gate::DnssecParent)), START + 100 * HOLD, true);
    assert_eq!((decision.publish, decision.reason), (true, Reason::Kept));
    // What is lost besides counts.
    let mut both = missing(Gate::DnssecParent);
    both.missing[0].insert(Gate::Mx);
    let (_, decision) = run(state, &input(&both), START + 200 * HOLD, true);
    assert_eq!((decision.publish, decision.reason), (false, Reason::Lost));
}

#[test]
fn one_domain_that_lacks_nothing_of_what_held_keeps_the_host() {
    let mixed = Readiness { missing: vec![BTreeSet::from([Gate::Mx]), BTreeSet::new()], ..missing(Gate::Mx) };
    let (_, decision) = run(published(), &input(&mixed), START + 100 * HOLD, false);
    assert_eq!(decision.reason, Reason::Kept);
}

#[test]
fn the_operators_word_counts_at_once_and_is_remembered() {
    let mut state = published();
    state.withdraw();
    let (state, decision) = step(restarted(&state), &input(&held()), START + 1);
    assert_eq!(decision, Decision { publish: false, reason: Reason::WithdrawnByOperator, next: None });
    let (mut state, decision) = step(restarted(&state), &input(&held()), START + 1000 * HOLD);
    assert!(!decision.publish);
    state.restore();
    let (_, decision) = step(state, &input(&held()), START + 1000 * HOLD);
    assert!(decision.publish);
    // The flag: off at once, on again when all is held.
    let (state, _) = step(published(), &Input { enabled: false, ..input(&held()) }, START);
    assert_eq!(state.phase, Phase::Withdrawn(Cause::Disabled));
    assert!(!step(state.clone(), &input(&unknown(Gate::Mx)), START).1.publish);
    assert!(step(state, &input(&held()), START).1.publish);
}
