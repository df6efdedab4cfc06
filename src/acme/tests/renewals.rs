//! When a certificate is renewed.

use super::{DAY, HOUR, START, held, id, settings};
use crate::acme::renewal::{at, late, lead, refuse};
use crate::acme::state::Window;
use crate::acme::{Id, Settings};

fn with_hold(hold: u64) -> Settings {
    Settings { hold, ..settings() }
}

#[test]
fn it_is_renewed_30_days_before_it_expires_or_a_third_of_its_life() {
    assert_eq!([365, 90, 45, 6].map(|days| lead(days * DAY)), [30 * DAY, 30 * DAY, 15 * DAY, 2 * DAY]);
    for days in [398, 90, 45, 6, 1] {
        for hold in [0, days * DAY / 4] {
            let held = held(1, START, days * DAY);
            let at = at(&id(), &held, None, &with_hold(hold));
            let latest = held.not_after - lead(days * DAY) - hold;
            assert!(at <= latest && at >= latest - lead(days * DAY) / 10, "{days}: {at} {latest}");
        }
    }
}

#[test]
fn renewals_of_many_hosts_are_spread_and_each_stays_where_it_is() {
    let held = held(1, START, 90 * DAY);
    let of = |number: u32| {
        let host = format!("mail{number}.example.org").parse().expect("a name");
        at(&Id { host, ..id() }, &held, None, &settings())
    };
    let mut times: Vec<u64> = (0..100).map(of).collect();
    assert_eq!(times, (0..100).map(of).collect::<Vec<_>>());
    times.sort_unstable();
    assert!(times[99] - times[0] > 2 * DAY, "{times:?}");
    times.dedup();
    assert!(times.len() > 95);
}

#[test]
fn installation_falls_into_the_window_that_the_ca_names() {
    let held = held(1, START, 90 * DAY);
    for (hold, from, to) in [(0, 50, 52), (DAY, 50, 52), (DAY, 20, 21), (0, 60, 61)] {
        let window = Window { start: START + from * DAY, end: START + to * DAY, explanation: None };
        let installed = at(&id(), &held, Some(&window), &with_hold(hold)) + hold;
        assert!((window.start..=window.end).contains(&installed), "{from}: {installed}");
    }
}

#[test]
fn a_window_at_the_very_end_is_not_waited_for() {
    let held = held(1, START, 90 * DAY);
    for from in [85, 89, 100, 1_000_000] {
        let window = Window { start: START + from * DAY, end: START + from * DAY + HOUR, explanation: None };
        assert_eq!(at(&id(), &held, Some(&window), &with_hold(DAY)), held.not_after - 15 * DAY - DAY);
    }
}

#[test]
fn a_hold_that_is_too_long_is_refused_and_changes_nothing_in_the_first_third() {
    assert_eq!(refuse(&with_hold(DAY), 6 * DAY), None);
    assert_eq!(refuse(&with_hold(2 * DAY - 1), 6 * DAY), None);
    let why = refuse(&with_hold(2 * DAY), 6 * DAY).expect("refused");
    assert!(why.contains("waits 2.0 days") && why.contains("lives 6.0 days"), "{why}");
    let held = held(1, START, 6 * DAY);
    assert_eq!(at(&id(), &held, None, &with_hold(5 * DAY)), START + 2 * DAY);
}

#[test]
fn it_is_late_when_the_hold_and_the_margin_do_not_fit_any_more() {
    let ninety = held(1, START, 90 * DAY);
    assert_eq!(late(&ninety, &Settings { hold: DAY, margin: 3 * DAY, ..settings() }), ninety.not_after - 4 * DAY);
    // A margin for long lives is no alarm before a short one is renewed at all.
    let six = held(1, START, 6 * DAY);
    let settings = Settings { hold: DAY, margin: 7 * DAY, ..settings() };
    assert_eq!(late(&six, &settings), six.not_after - 2 * DAY);
    assert!(at(&id(), &six, None, &settings) < late(&six, &settings));
}

#[test]
fn numbers_at_the_end_of_what_is_possible_do_no_harm() {
    for (begin, end) in [(0, 0), (5, 3), (0, u64::MAX), (u64::MAX, u64::MAX)] {
        let mut held = held(1, 0, 0);
        (held.not_before, held.not_after) = (begin, end);
        for hold in [0, u64::MAX] {
            let settings = Settings { hold, margin: u64::MAX, ..settings() };
            let window = Window { start: 0, end: u64::MAX, explanation: None };
            at(&id(), &held, Some(&window), &settings);
            at(&id(), &held, None, &settings);
            late(&held, &settings);
            refuse(&settings, held.lifetime());
        }
    }
}
