//! When what is seen counts, when it is over, and when to look again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::chain::{self, APEX, good, key};
use super::name;
use crate::dane::prerequisites::Verdict;
use crate::dane::{Parameters, Tlsa};
use crate::dns::Timestamp;
use crate::outside::watched::Watched;
use crate::outside::zone::{self, Expected};
use crate::outside::{Failure, Fault, Lookup, Seen, Subject, Trust, Wanted};
use crate::tell::{self, Condition, Kind, Notice, Stands, State};

fn wanted(octet: u8, serial: u32) -> Wanted {
    let expected = Expected { keys: vec![key(octet)], serial: Some(serial), ..Expected::default() };
    Wanted::Zone { apex: name(APEX), owners: Vec::new(), expected }
}

fn seen(trust: Trust, is_delegated: bool) -> Result<Seen, Failure> {
    let ds = if is_delegated { vec![good()] } else { Vec::new() };
    let keys = Lookup { trust: Trust::Secure, found: vec![key(1)], alias: None, ttl: 60 };
    let (above, nameservers) = Default::default();
    Ok(Seen::Zone(Box::new(zone::Seen { chain: chain::seen(trust, &ds), keys, above, nameservers })))
}

fn well() -> Result<Seen, Failure> {
    seen(Trust::Secure, true)
}

fn lost() -> Result<Seen, Failure> {
    seen(Trust::Insecure, false)
}

fn seen_bogus() -> Result<Seen, Failure> {
    seen(Trust::Bogus, true)
}

fn down() -> Result<Seen, Failure> {
    Err(Failure { fault: Fault::ResolverDown, why: "no answer".to_owned() })
}

fn standing(watched: &Watched) -> BTreeSet<Fault> {
    watched.standing().filter_map(|(_, check, _)| check.fault).collect()
}

#[test]
fn what_is_well_is_looked_at_every_hour_and_what_is_not_every_five_minutes() {
    let mut watched = Watched::default();
    let (one, other) = (wanted(1, 7), wanted(2, 7));
    watched.want(vec![one.clone()], 1000);
    assert_eq!(watched.due(1000, 9), [Arc::new(one.clone())]);
    assert!(watched.due(1001, 9).is_empty() && watched.fact(&name(APEX)).is_none());
    assert_eq!(watched.due(1900, 9).len(), 1, "an answer that never came");
    assert!(watched.seen(&one, well(), 1901));
    let next = watched.next().unwrap();
    assert!((1901 + 3600..1901 + 4500).contains(&next), "{next}");
    watched.want(vec![one.clone()], 2000);
    assert_eq!(watched.next(), Some(next));
    watched.want(vec![wanted(1, 8)], 2000);
    assert_eq!(watched.next(), Some(2300), "another version is looked at soon");
    assert!(!watched.seen(&one, well(), 2301));
    watched.want(vec![other.clone()], 2302);
    assert_eq!(watched.due(2302, 9), [Arc::new(other.clone())], "its keys are others");
    assert!(watched.seen(&other, well(), 2303));
    assert_eq!(watched.fact(&name(APEX)).unwrap().0.verdict, Verdict::Held, "resolvers trust it all the same");
    watched.hurry();
    assert!(watched.due(2304, 0).is_empty(), "no room");
    assert_eq!(watched.due(2304, 9).len(), 1);
    watched.want(Vec::new(), 2305);
    assert_eq!((watched.next(), watched.all().count()), (None, 0));
    assert!(!watched.seen(&other, lost(), 2306));
}

#[test]
fn a_fault_counts_when_it_was_confirmed_and_until_it_was_long_gone() {
    let mut watched = Watched::default();
    let one = wanted(1, 7);
    watched.want(vec![one.clone()], 0);
    watched.seen(&one, lost(), 1000);
    assert_eq!(standing(&watched), BTreeSet::new());
    assert!((1030..1038).contains(&watched.next().unwrap()), "it is confirmed at once");
    watched.seen(&one, lost(), 1035);
    assert_eq!(standing(&watched), BTreeSet::from([Fault::DsMissing]));
    assert!((1335..1435).contains(&watched.next().unwrap()));
    watched.seen(&one, well(), 1400);
    watched.seen(&one, down(), 1400 + 4 * 3600);
    assert!(standing(&watched).contains(&Fault::DsMissing), "where nothing can be seen, nothing is over");
    watched.seen(&one, well(), 1035 + 3 * 3600 - 1);
    assert!(standing(&watched).contains(&Fault::DsMissing));
    watched.seen(&one, well(), 1035 + 3 * 3600);
    assert_eq!(standing(&watched), BTreeSet::new());
    watched.seen(&one, lost(), 20_000);
    watched.seen(&one, well(), 20_030);
    watched.seen(&one, lost(), 20_330);
    assert_eq!(standing(&watched), BTreeSet::new(), "once is never");
}

#[test]
fn who_asks_for_everything_again_and_again_does_not_keep_the_last_ones_waiting() {
    let zone = |number: usize| Wanted::Zone {
        apex: name(&format!("z{number}.test")),
        owners: Vec::new(),
        expected: Expected { keys: vec![key(1)], ..Expected::default() },
    };
    let mut watched = Watched::default();
    watched.want((0..10).map(zone).collect(), 0);
    let mut heard = BTreeSet::new();
    for now in 0..10 {
        watched.hurry();
        let due = watched.due(now, 1);
        watched.hurry();
        assert_eq!(due.len(), 1);
        watched.seen(&due[0], well(), now);
        heard.insert(due[0].subject());
    }
    assert_eq!(heard.len(), 10);
    watched.hurry();
    assert_eq!(watched.due(20, 99).len(), 10);
    watched.hurry();
    assert!(watched.due(21, 99).is_empty(), "all are asked for already");
    watched.seen(&zone(3), well(), 22);
    assert_eq!(watched.due(22, 99), [Arc::new(zone(3))], "it was asked for before the last word");
}

/// When a subject is looked at in a week, where each look sees what it does at that time.
fn looks(one: &Wanted, sees: impl Fn(Timestamp) -> Result<Seen, Failure>) -> Vec<Timestamp> {
    let (mut watched, mut looks, mut now) = (Watched::default(), Vec::new(), 0);
    watched.want(vec![one.clone()], now);
    while now < 7 * 86_400 {
        assert_eq!(watched.due(now, 9).len(), 1);
        looks.push(now);
        watched.seen(one, sees(now), now + 2);
        now = watched.next().unwrap();
    }
    looks
}

#[test]
fn what_stays_wrong_is_looked_at_less_and_less_often_until_it_changes() {
    const HOUR: u64 = 3600;
    const MENDED: u64 = 6 * HOUR;
    let one = wanted(1, 7);
    for sees in [lost, down] {
        let looks = looks(&one, |_| sees());
        let until = |at| looks.iter().filter(|look| **look < at).count();
        assert!((10..15).contains(&until(HOUR)), "{looks:?}");
        assert!((140..200).contains(&looks.len()), "{} looks", looks.len());
        let longest = looks.windows(2).map(|two| two[1] - two[0]).max();
        assert!((HOUR..HOUR + HOUR / 4 + 9).contains(&longest.unwrap()), "{longest:?} s");
    }
    let mended = looks(&one, |now| if now < MENDED { lost() } else { well() });
    let seen = mended.iter().find(|look| **look >= MENDED).unwrap();
    assert!(seen - MENDED < HOUR / 2 * 5 / 4, "{seen}");
    // Another fault is another matter.
    let other = looks(&one, |now| if now < 86_400 { lost() } else { seen_bogus() });
    let first = other.iter().position(|look| *look >= 86_400).unwrap();
    let after: Vec<u64> = other[first..first + 4].windows(2).map(|two| two[1] - two[0]).collect();
    assert!(after[0] < 45 && after[1..].iter().all(|wait| (300..=380).contains(wait)), "{after:?}");
}

#[test]
fn what_may_take_a_record_away_is_looked_at_every_five_minutes_for_as_long_as_it_lasts() {
    let Wanted::Zone { apex, owners, mut expected } = wanted(1, 7) else { panic!() };
    let tlsa = Tlsa { parameters: Parameters::DEFAULT, data: vec![1; 32] };
    expected.tlsa.insert(name("_25._tcp.mail.example.org"), BTreeSet::from([tlsa]));
    let published = Wanted::Zone { apex, owners, expected };
    let of = looks(&published, |_| lost());
    assert!(of.windows(2).all(|two| two[1] - two[0] < 380), "{} looks", of.len());
    let looks = looks(&published, |_| down());
    assert!(looks.len() < 200, "{} looks: what can't be told takes nothing away", looks.len());
}

/// The notices that come of a week in which every look sees what `is_lost` says, as often as the schedule wants one.
fn week(mut is_lost: impl FnMut(u64) -> bool) -> Vec<(Timestamp, Notice)> {
    const BEGIN: Timestamp = 1_800_000_000;
    let mut watched = Watched::default();
    let one = wanted(1, 7);
    watched.want(vec![one.clone()], BEGIN);
    let (mut state, mut told, mut looks) = (State::default(), Vec::new(), 0);
    let mut now = BEGIN;
    while now < BEGIN + 7 * 86_400 {
        if watched.due(now, 1).is_empty() {
            now = watched.next().unwrap();
            continue;
        }
        looks += 1;
        watched.seen(&one, if is_lost(looks) { lost() } else { well() }, now);
        let condition = |(subject, _, since): (&Subject, _, _)| {
            let notice = Notice::new(since, Kind::Problem, &subject.to_string(), "seen from outside");
            Condition { notice, stands: Stands::Yes }
        };
        let conditions: Vec<Condition> = watched.standing().map(condition).collect();
        if let Some((next, notices)) = tell::look(&state, &BTreeSet::from([Kind::Problem]), conditions, now) {
            state = next;
            told.extend(notices.into_iter().map(|notice| (now, notice)));
        }
    }
    assert!(looks > 130, "{looks} looks");
    told
}

#[test]
fn a_week_of_flapping_is_told_once() {
    // One in three by turns is never confirmed; by chance it is, now and then.
    assert!(week(|look| look.is_multiple_of(3)).is_empty());
    for seed in 0..8u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let told = week(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33).is_multiple_of(3)
        });
        assert_eq!(told.len(), 1, "seed {seed}: {told:?}");
    }
    assert!(week(|_| false).is_empty());
    assert_eq!(week(|_| true).len(), 1);
}
