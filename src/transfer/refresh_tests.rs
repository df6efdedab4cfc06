//! When primaries are asked, without a socket and without a clock.

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = 1_800_000_000;

fn zone(number: usize) -> Name {
    format!("z{number}.example.").parse().unwrap()
}

fn held(serial: u32, refresh: u64, retry: u64, expire: u64) -> Held {
    Held { serial, timers: Timers { refresh, retry, expire } }
}

/// So many primaries.
fn addresses(count: usize) -> Vec<IpAddr> {
    (1..=count as u8).map(|last| [192, 0, 2, last].into()).collect()
}

/// One zone with so many primaries, of which we have nothing.
fn one(primaries: usize) -> Refreshes {
    let mut refreshes = Refreshes::new(7);
    refreshes.begin(&zone(0), addresses(primaries), None, None, NOW);
    refreshes
}

/// The one check that is due; its primary and number.
fn check(refreshes: &mut Refreshes, now: Timestamp) -> (usize, u64) {
    let checks = refreshes.due(now);
    let [check] = &checks[..] else { panic!("{checks:?}") };
    (check.primary, check.number)
}

fn nothing() -> Shown {
    Shown::Nothing("no answer".to_owned())
}

#[test]
fn a_soa_says_when_within_bounds() {
    let soa = |refresh: u32, retry: u32, expire: u32| {
        let numbers = [1, refresh, retry, expire, 300].map(u32::to_be_bytes).concat();
        Timers::of_soa(&[&[0, 0][..], &numbers].concat())
    };
    assert_eq!(soa(7200, 3600, 86_400), Some(Timers { refresh: 7200, retry: 3600, expire: 86_400 }));
    assert_eq!(soa(0, 0, 0), Some(Timers { refresh: 2, retry: 1, expire: 3 }));
    let most = soa(u32::MAX, u32::MAX, u32::MAX).unwrap();
    assert_eq!((most.refresh, most.retry, most.expire), (28 * 86_400, 14 * 86_400, u64::from(u32::MAX)));
    assert_eq!(Timers::of_soa(&[0; 15]), None);
}

#[test]
fn a_zone_is_checked_at_once_then_as_its_soa_says_and_sooner_by_a_little() {
    let mut refreshes = one(1);
    let (_, number) = check(&mut refreshes, NOW);
    assert_eq!((refreshes.due(NOW), refreshes.next()), (vec![], Some(NOW + CHECK)));
    assert!(refreshes.heard(&zone(0), number, Shown::Newer(5), NOW));
    assert_eq!(refreshes.of(&zone(0)).unwrap().state, State::Transferring(NOW + TRANSFER));
    assert!(refreshes.heard(&zone(0), number, Shown::Current(held(5, 10_000, 600, 86_400)), NOW + 100));
    let next = refreshes.next().unwrap() - NOW - 100;
    assert!((9000..=10_000).contains(&next), "{next}");
    assert_eq!(refreshes.of(&zone(0)).unwrap().expires_at(), Some(NOW + 100 + 86_400));
    let (_, number) = check(&mut refreshes, NOW + 10_100);
    refreshes.heard(&zone(0), number, nothing(), NOW + 10_100);
    let next = refreshes.next().unwrap() - NOW - 10_100;
    assert!((540..=600).contains(&next), "RETRY: {next}");
    assert_eq!(refreshes.of(&zone(0)).unwrap().expires_at(), Some(NOW + 86_500), "and it ages");
}

#[test]
fn primaries_are_asked_in_their_order_until_one_helps() {
    let mut refreshes = one(3);
    for expected in 0..3 {
        let (primary, number) = check(&mut refreshes, NOW);
        assert_eq!(primary, expected);
        assert_eq!(refreshes.of(&zone(0)).unwrap().failing, None, "not all of them yet");
        refreshes.heard(&zone(0), number, nothing(), NOW);
        assert_eq!(refreshes.of(&zone(0)).unwrap().checked, Some((NOW, expected, Some("no answer".to_owned()))));
    }
    assert_eq!(refreshes.due(NOW), []);
    let at = refreshes.next().unwrap();
    assert!(at > NOW);
    let (primary, number) = check(&mut refreshes, at);
    refreshes.heard(&zone(0), number, nothing(), at);
    assert_eq!((primary, check(&mut refreshes, at).0), (0, 1));
}

#[test]
fn who_does_not_answer_is_asked_later_and_later() {
    let intervals = |refreshes: &mut Refreshes| -> Vec<u64> {
        let mut at = refreshes.next().unwrap();
        let mut all = Vec::new();
        for _ in 0..9 {
            let (_, number) = check(refreshes, at);
            refreshes.heard(&zone(0), number, nothing(), at);
            let next = refreshes.next().unwrap();
            all.push(next - at);
            at = next;
        }
        all
    };
    assert_eq!(intervals(&mut one(1)), [5, 10, 20, 40, 80, 160, 320, 600, 600]);
    let mut short = Refreshes::new(7);
    short.begin(&zone(0), addresses(1), Some(held(1, 2, 1, 1000)), None, NOW);
    assert_eq!(intervals(&mut short), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn notify_has_a_zone_checked_at_once_and_once() {
    let mut refreshes = one(2);
    let (_, number) = check(&mut refreshes, NOW);
    refreshes.heard(&zone(0), number, Shown::Current(held(5, 7200, 600, 86_400)), NOW);
    let quiet = refreshes.next();
    refreshes.notified(&zone(0), 1, Some(5), NOW + 50);
    refreshes.notified(&zone(1), 1, None, NOW + 50);
    assert_eq!(refreshes.next(), quiet, "we have it; and of another zone nothing is known");
    for _ in 0..1000 {
        refreshes.notified(&zone(0), 1, Some(6), NOW + 50);
    }
    let (primary, number) = check(&mut refreshes, NOW + 50);
    assert_eq!(primary, 1, "the one that said so");
    for _ in 0..1000 {
        refreshes.notified(&zone(0), 1, Some(7), NOW + 50);
    }
    assert_eq!(refreshes.due(NOW + 50), [], "one check at a time");
    refreshes.heard(&zone(0), number, Shown::Current(held(6, 7200, 600, 86_400)), NOW + 51);
    assert_eq!(refreshes.next(), Some(NOW + 52));
    let (_, number) = check(&mut refreshes, NOW + 52);
    refreshes.heard(&zone(0), number, nothing(), NOW + 52);
    // A failure is no reason to wait where somebody says that he is there.
    let (_, number) = check(&mut refreshes, NOW + 52);
    refreshes.heard(&zone(0), number, nothing(), NOW + 52);
    refreshes.notified(&zone(0), 0, None, NOW + 52);
    assert_eq!(refreshes.next(), Some(NOW + 53));
}

#[test]
fn what_takes_too_long_comes_to_nothing_and_is_not_heard_later() {
    let mut refreshes = one(1);
    let (_, number) = check(&mut refreshes, NOW);
    assert_eq!(refreshes.due(NOW + CHECK), []);
    let refresh = refreshes.of(&zone(0)).unwrap();
    assert!(matches!(refresh.state, State::Waiting(_)) && refresh.failing.is_some());
    assert!(!refreshes.heard(&zone(0), number, Shown::Current(held(5, 7200, 600, 86_400)), NOW + CHECK));
    let at = refreshes.next().unwrap();
    let (_, later) = check(&mut refreshes, at);
    assert!(!refreshes.heard(&zone(0), number, nothing(), at) && refreshes.heard(&zone(0), later, nothing(), at));
}

#[test]
fn expiry_counts_from_the_last_confirmation_over_restarts() {
    let mut refreshes = Refreshes::new(7);
    let kept: Kept = serde_json::from_str(&serde_json::to_string(&Kept { confirmed: NOW - 900 }).unwrap()).unwrap();
    refreshes.begin(&zone(0), addresses(1), Some(held(5, 7200, 600, 1000)), Some(kept), NOW);
    let is_expired = |refreshes: &Refreshes, at| refreshes.of(&zone(0)).unwrap().is_expired(at);
    assert!(!is_expired(&refreshes, NOW + 99) && is_expired(&refreshes, NOW + 100));
    let (_, number) = check(&mut refreshes, NOW + 200);
    refreshes.heard(&zone(0), number, Shown::Current(held(5, 7200, 600, 1000)), NOW + 200);
    assert!(!is_expired(&refreshes, NOW + 1199) && is_expired(&refreshes, NOW + 1200));
    // What we have nothing of does not expire.
    assert!(!one(1).of(&zone(0)).unwrap().is_expired(u64::MAX));
}

#[test]
fn a_clock_that_is_set_back_puts_nothing_off() {
    let mut refreshes = one(1);
    let (_, number) = check(&mut refreshes, NOW);
    refreshes.heard(&zone(0), number, Shown::Current(held(5, 7200, 600, 1000)), NOW);
    assert_eq!(refreshes.due(NOW + 10), []);
    let before = NOW - 86_400;
    let (_, number) = check(&mut refreshes, before);
    refreshes.heard(&zone(0), number, nothing(), before);
    assert_eq!(refreshes.of(&zone(0)).unwrap().expires_at(), Some(before + 1000));
    refreshes.notified(&zone(0), 0, None, before + 5);
    assert_eq!(refreshes.next(), Some(before + 5));
}

#[test]
fn a_primary_that_answers_nobody_keeps_no_other_waiting() {
    let mut refreshes = Refreshes::new(7);
    (0..30).for_each(|number| refreshes.begin(&zone(number), addresses(2), None, None, NOW));
    assert_eq!(refreshes.due(NOW).len(), WITH_ONE);
    refreshes.begin(&zone(99), vec![[192, 0, 2, 9].into()], None, None, NOW + 5);
    assert_eq!(refreshes.next(), Some(NOW + 5));
    let checks = refreshes.due(NOW + 5);
    assert_eq!(checks.iter().map(|check| &check.zone).collect::<Vec<_>>(), [&zone(99)]);
    // Its own zones go on to the next one.
    let checks = refreshes.due(NOW + CHECK);
    assert_eq!(checks.iter().map(|check| check.primary).collect::<Vec<_>>(), [[0; WITH_ONE], [1; WITH_ONE]].concat());
    (0..100).for_each(|number| refreshes.end(&zone(number)));
    assert!(refreshes.queues.is_empty() && refreshes.busy.is_empty());
}

#[test]
fn a_start_with_thousands_of_zones_is_no_flood() {
    let mut refreshes = Refreshes::new(7);
    (0..1000).for_each(|number| refreshes.begin(&zone(number), addresses(1), None, None, NOW));
    let checks = refreshes.due(NOW);
    assert_eq!((checks.len(), refreshes.due(NOW), refreshes.next()), (WITH_ONE, vec![], Some(NOW + CHECK)));
    refreshes.heard(&checks[0].zone, checks[0].number, Shown::Current(held(5, 7200, 600, 1000)), NOW);
    assert_eq!(refreshes.due(NOW).len(), 1);
    (0..1000).for_each(|number| refreshes.end(&zone(number)));
    assert_eq!((refreshes.next(), refreshes.zones().count()), (None, 0));
    assert!(!refreshes.heard(&checks[1].zone, checks[1].number, nothing(), NOW), "too late");
}

/// What happens to a zone.
#[derive(Clone, Debug)]
enum Event {
    Pass(u64),
    Heard(Shown),
    Notified(Option<u32>),
}

fn events() -> impl Strategy<Value = Vec<(usize, Event)>> {
    let timers = (0..20u64, 0..20u64, 0..50u64)
        .prop_map(|(refresh, retry, expire)| held(5, refresh.max(2), retry.max(1), expire));
    let event = prop_oneof![
        (0..90u64).prop_map(Event::Pass),
        prop_oneof![Just(nothing()), Just(Shown::Newer(6)), timers.prop_map(Shown::Current)].prop_map(Event::Heard),
        prop::option::of(4..8u32).prop_map(Event::Notified),
    ];
    prop::collection::vec((0..12usize, event), 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn there_is_always_something_to_come_and_never_two_checks_of_one_zone(events in events(), seed: u64) {
        let mut refreshes = Refreshes::new(seed);
        (0..12).for_each(|number| refreshes.begin(&zone(number), addresses(1 + number % 3), None, None, NOW));
        let mut now = NOW;
        let mut under_way: BTreeMap<Name, (u64, Timestamp)> = BTreeMap::new();
        let mut begun: BTreeMap<(Name, Timestamp), usize> = BTreeMap::new();
        for (number, event) in events {
            let zone = zone(number);
            match event {
                Event::Pass(seconds) => now += seconds,
                Event::Notified(serial) => refreshes.notified(&zone, number, serial, now),
                Event::Heard(shown) => if let Some((check, _)) = under_way.get(&zone) {
                    let is_end = !matches!(shown, Shown::Newer(_));
                    refreshes.heard(&zone, *check, shown, now);
                    if is_end {
                        under_way.remove(&zone);
                    }
                },
            }
            for check in refreshes.due(now) {
                let before = under_way.insert(check.zone.clone(), (check.number, now));
                prop_assert!(before.is_none_or(|(_, at)| now >= at + CHECK), "two at a time");
                let count = begun.entry((check.zone.clone(), now)).or_default();
                *count += 1;
                let primaries = (0..12).find(|number| self::zone(*number) == check.zone).unwrap() % 3 + 1;
                prop_assert!(*count <= primaries + 1 && check.primary < primaries, "a check a second and primary");
            }
            under_way.retain(|zone, _| !matches!(refreshes.of(zone).unwrap().state, State::Waiting(_)));
            prop_assert!(under_way.len() <= AT_ONCE);
            prop_assert!(refreshes.next().unwrap() > now, "nothing that is due is left, and something comes");
        }
    }
}
