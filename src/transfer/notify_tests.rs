//! Who is told when, without a socket and without a clock.

use super::*;

const NOW: Timestamp = 1_800_000_000;

fn zone() -> Name {
    "example.org.".parse().unwrap()
}

fn secondary(last: u8) -> SocketAddr {
    SocketAddr::new([192, 0, 2, last].into(), 53)
}

fn copy(last: u8) -> Copy {
    Copy { zone: zone(), secondary: secondary(last) }
}

fn state(notifier: &Notifier, last: u8) -> State {
    notifier.of(&zone()).find(|(copy, _)| copy.secondary == secondary(last)).unwrap().1.state
}

#[test]
fn a_new_version_is_told_at_once_and_looked_at_until_it_is_there() {
    let mut notifier = Notifier::default();
    notifier.served(&zone(), 7, &[secondary(1)], NOW);
    assert_eq!(notifier.due(NOW), [Send::Notify(copy(1), 7)]);
    assert_eq!(notifier.due(NOW), []);
    notifier.answered(&copy(1), 7, 0, NOW);
    assert_eq!(notifier.due(NOW + 1), [Send::Soa(copy(1))]);
    notifier.shows(&copy(1), 6, NOW + 1);
    assert_eq!(notifier.due(NOW + 4), [Send::Soa(copy(1))]);
    notifier.shows(&copy(1), 7, NOW + 4);
    assert_eq!((state(&notifier, 1), notifier.next()), (State::Current, None));
}

#[test]
fn who_does_not_answer_is_asked_later_and_later_and_then_left_alone_until_there_is_more_to_tell() {
    let mut notifier = Notifier::default();
    notifier.served(&zone(), 7, &[secondary(1)], NOW);
    let mut sent = Vec::new();
    while let Some(at) = notifier.next() {
        sent.extend(notifier.due(at).into_iter().map(|_| at - NOW));
    }
    assert_eq!(sent, [0, 3, 9, 21, 45, 93]);
    assert_eq!(state(&notifier, 1), State::Silent);
    // Late is better than never.
    notifier.answered(&copy(1), 7, 0, NOW + 200);
    assert!(matches!(state(&notifier, 1), State::Transferring { .. }));
    notifier.served(&zone(), 8, &[secondary(1)], NOW + 300);
    assert_eq!(notifier.due(NOW + 300), [Send::Notify(copy(1), 8)]);
}

#[test]
fn many_changes_are_told_once_a_second_and_only_the_last_of_them() {
    let mut notifier = Notifier::default();
    notifier.served(&zone(), 1, &[secondary(1), secondary(2)], NOW);
    assert_eq!(notifier.due(NOW).len(), 2);
    for serial in 2..100 {
        notifier.served(&zone(), serial, &[secondary(1), secondary(2)], NOW);
        assert_eq!(notifier.due(NOW), []);
    }
    assert_eq!(notifier.due(NOW + APART), [Send::Notify(copy(1), 99), Send::Notify(copy(2), 99)]);
}

#[test]
fn an_answer_that_a_newer_version_has_overtaken_is_no_answer_to_that() {
    let mut notifier = Notifier::default();
    notifier.served(&zone(), 1, &[secondary(1)], NOW);
    assert_eq!(notifier.due(NOW), [Send::Notify(copy(1), 1)]);
    notifier.served(&zone(), 2, &[secondary(1)], NOW);
    for rcode in [0, 5] {
        notifier.answered(&copy(1), 1, rcode, NOW);
        assert_eq!(state(&notifier, 1), State::Waiting { at: NOW + APART, tries: 0 });
    }
    assert_eq!(notifier.due(NOW + APART), [Send::Notify(copy(1), 2)]);
}

#[test]
fn the_same_version_is_told_once() {
    let mut notifier = Notifier::default();
    notifier.served(&zone(), 1, &[secondary(1)], NOW);
    assert_eq!(notifier.due(NOW).len(), 1);
    notifier.shows(&copy(1), 1, NOW);
    notifier.served(&zone(), 1, &[secondary(1)], NOW + 50);
    assert_eq!(notifier.next(), None);
}

#[test]
fn who_refuses_is_told_later_and_later_and_then_left_alone_until_there_is_more_to_tell() {
    let mut notifier = Notifier::default();
    notifier.served(&zone(), 1, &[secondary(1)], NOW);
    let mut sent = Vec::new();
    while let Some(at) = notifier.next() {
        sent.extend(notifier.due(at).into_iter().map(|_| at - NOW));
        notifier.answered(&copy(1), 1, 9, at);
        assert!(matches!(state(&notifier, 1), State::Refusing { rcode: 9, .. }));
    }
    assert_eq!(sent, [0, 3, 9, 21, 45, 93]);
    notifier.served(&zone(), 2, &[secondary(1)], NOW + 200);
    assert_eq!(notifier.due(NOW + 200), [Send::Notify(copy(1), 2)]);
    // It has the zone by now, from a catalog.
    notifier.answered(&copy(1), 2, 9, NOW + 200);
    assert_eq!(notifier.due(NOW + 203), [Send::Notify(copy(1), 2)]);
    notifier.answered(&copy(1), 2, 0, NOW + 203);
    assert_eq!(notifier.due(NOW + 204), [Send::Soa(copy(1))]);
    notifier.shows(&copy(1), 2, NOW + 204);
    assert_eq!((state(&notifier, 1), notifier.next()), (State::Current, None));
}

#[test]
fn what_was_transferred_counts_once_it_was_told() {
    let mut notifier = Notifier::default();
    notifier.served(&zone(), 7, &[secondary(1), secondary(2), secondary(3)], NOW);
    // Before: by whomever, it is told.
    notifier.took(&copy(1), 7, NOW);
    assert_eq!(notifier.due(NOW).len(), 3);
    notifier.answered(&copy(1), 7, 0, NOW);
    assert_eq!(state(&notifier, 1), State::Current);
    // After, and an older version.
    notifier.answered(&copy(2), 7, 0, NOW);
    notifier.took(&copy(2), 6, NOW);
    assert!(matches!(state(&notifier, 2), State::Transferring { .. }));
    notifier.took(&copy(2), 7, NOW);
    assert_eq!(state(&notifier, 2), State::Current);
    // It refuses NOTIFY and takes the version from time to time.
    notifier.answered(&copy(3), 7, 9, NOW);
    notifier.took(&copy(3), 7, NOW);
    assert_eq!((state(&notifier, 3), notifier.next()), (State::Current, None));
}

#[test]
fn a_secondary_that_is_ahead_over_the_wrap_is_current() {
    let mut notifier = Notifier::default();
    notifier.served(&zone(), u32::MAX, &[secondary(1)], NOW);
    notifier.shows(&copy(1), 3, NOW);
    assert_eq!(state(&notifier, 1), State::Current);
}

#[test]
fn secondaries_and_zones_that_are_gone_are_forgotten() {
    let mut notifier = Notifier::default();
    notifier.served(&zone(), 1, &[secondary(1), secondary(2)], NOW);
    notifier.served(&zone(), 2, &[secondary(2)], NOW);
    assert_eq!(notifier.of(&zone()).count(), 1);
    notifier.retain(|zone| *zone != self::zone());
    assert_eq!((notifier.of(&zone()).count(), notifier.next()), (0, None));
    // An answer that comes too late finds nobody.
    notifier.answered(&copy(2), 2, 0, NOW);
    notifier.shows(&copy(2), 2, NOW);
    assert_eq!(notifier.next(), None);
}

#[test]
fn a_start_with_thousands_of_zones_is_no_flood() {
    let mut notifier = Notifier::default();
    for number in 0..1000 {
        notifier.served(&format!("{number}.example.").parse().unwrap(), 1, &[secondary(1)], NOW);
    }
    assert_eq!(notifier.due(NOW).len(), TOGETHER);
    assert_eq!(notifier.due(NOW).len(), TOGETHER);
    assert_eq!(notifier.next(), Some(NOW));
}
