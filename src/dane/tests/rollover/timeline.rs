//! What is said of the time to come, to the second.

use std::collections::BTreeSet;

use super::{DAY, EXPIRE, START, TTL, new, old};
use crate::dane::rollover::timeline::{Assumptions, Moment, after, later, plan, settled};
use crate::dane::rollover::{Chain, Event, Reading, Settings, State, Version};
use crate::dane::tlsa::Parameters;

fn clocks(wall: u64) -> Reading {
    Reading { wall, boot: 1000, boot_id: 1, synchronised: true }
}

fn settings() -> Settings {
    let parameters = BTreeSet::from([Parameters::DEFAULT]);
    Settings { parameters, ttl: TTL, interval: DAY, expire: EXPIRE, hook: true, ..Settings::default() }
}

fn begun(settings: Settings, now: Reading) -> State {
    settled(settings, &["ns1", "ns2", "ns3"].map(str::to_owned).into(), old(), now)
}

/// Seconds from now to the first moment that says so.
fn until(moments: &[Moment], words: &str, now: Reading) -> u64 {
    let found = moments.iter().find(|moment| moment.what.contains(words));
    found.unwrap_or_else(|| panic!("no {words:?} in {moments:#?}")).at - now.wall
}

fn ids<const N: usize>(ids: [&str; N]) -> Vec<String> {
    ids.map(str::to_owned).into()
}

#[test]
fn a_rollover_takes_its_holds_and_nothing_else_whatever_the_clock_says() {
    let mut first = None;
    for wall in [0, START, START + 12_345_678, 4_000_000_000] {
        let now = clocks(wall);
        let assumptions = Assumptions { hook: 1, ..Assumptions::default() };
        let moments = after(&begun(settings(), now), Event::Source(new()), now, &assumptions);
        assert_eq!(until(&moments, "are published together", now), 0);
        assert_eq!(until(&moments, "shows both", now), 0);
        assert_eq!(until(&moments, "is installed", now), DAY);
        assert_eq!(until(&moments, "presents certificate new", now), DAY + 1);
        assert_eq!(until(&moments, "all that is published", now), DAY + 1 + 2 * u64::from(TTL));
        let cached = |words: &str| &moments.iter().find(|moment| moment.what.contains(words)).expect(words).cached;
        assert_eq!(*cached("shows both"), [ids(["new", "old"]), ids(["old"])]);
        assert_eq!(*cached("is installed"), [ids(["new", "old"])]);
        let relative: Vec<_> = moments.iter().map(|moment| (moment.at - wall, moment.what.clone())).collect();
        assert_eq!(*first.get_or_insert(relative.clone()), relative);
    }
}

#[test]
fn twice_a_long_ttl_is_longer_than_the_interval() {
    let now = clocks(START);
    let long = Settings { ttl: 50_000, ..settings() };
    let moments = after(&begun(long, now), Event::Source(new()), now, &Assumptions::default());
    assert_eq!(until(&moments, "is installed", now), 100_000);
}

#[test]
fn a_slow_nameserver_begins_the_wait() {
    let now = clocks(START);
    let assumptions = Assumptions { lag: 35, ..Assumptions::default() };
    let moments = after(&begun(settings(), now), Event::Source(new()), now, &assumptions);
    assert_eq!(until(&moments, "shows both", now), 35);
    assert_eq!(until(&moments, "is installed", now), 35 + DAY);
}

#[test]
fn a_key_that_every_cache_knows_waits_for_nothing() {
    let now = clocks(START);
    let renewed = Version { id: "renewed".to_owned(), ..old() };
    let same = after(&begun(settings(), now), Event::Source(renewed), now, &Assumptions::default());
    assert_eq!(until(&same, "is installed", now), 0);
    assert!(!same.iter().any(|moment| moment.what.contains("wait")), "{same:#?}");
    let mut key: Chain = new().chains.remove(0);
    key.records.retain(|record| record.parameters == Parameters::DEFAULT);
    let (state, now) = later(&begun(settings(), now), Event::NextKeys(vec![key]), now, DAY);
    let next = after(&state, Event::Source(new()), now, &Assumptions::default());
    assert_eq!(until(&next, "is installed", now), 0);
}

#[test]
fn a_dead_nameserver_is_waited_for_until_its_zone_has_expired() {
    let now = clocks(START);
    let assumptions = Assumptions { dead: BTreeSet::from(["ns3".to_owned()]), ..Assumptions::default() };
    let moments = after(&begun(settings(), now), Event::Source(new()), now, &assumptions);
    let wait = u64::from(EXPIRE + 2 * TTL);
    assert_eq!(until(&moments, "ns3 is waited for no longer", now), wait);
    assert_eq!(until(&moments, "is installed", now), wait);
}

#[test]
fn where_nothing_is_under_way_the_next_certificate_is_imagined() {
    let now = clocks(START);
    let moments = plan(&begun(settings(), now), now, &Assumptions::default());
    assert_eq!(until(&moments, "the next certificate is installed", now), DAY);
    let state = begun(settings(), now);
    let (state, now) = later(&state, Event::Source(new()), now, DAY / 2);
    let moments = plan(&state, now, &Assumptions::default());
    assert_eq!(until(&moments, "certificate new is installed", now), DAY / 2);
}
