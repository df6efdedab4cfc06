//! The promise itself, with what others wrote: a Postfix sends to another one by DANE, through an unbound that validates and caches,
//! while the certificate is renewed. No mail is put off; and a renewal without danelaw's waits does put mail off.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that can't go on has failed")]

#[path = "../messages/authority.rs"]
#[expect(dead_code, reason = "each test program uses its part")]
mod authority;
#[path = "../observers/certificates.rs"]
#[expect(dead_code, reason = "each test program uses its part")]
mod certificates;
#[path = "../common/mod.rs"]
mod common;
#[path = "../daemon/house.rs"]
#[expect(dead_code, reason = "each test program uses its part")]
mod house;
#[path = "../laboratory/namespace.rs"]
#[expect(dead_code, reason = "each test program uses its part")]
mod namespace;
#[path = "../acme/pebble.rs"]
#[expect(dead_code, reason = "each test program uses its part")]
mod pebble;

mod load;
mod renewals;
mod servers;
mod tlsa;
mod world;

use std::time::{Duration, Instant};

use certificates::{Made, issued};
use house::wait_within;
use load::{LAG, Seen, under_load};
use tlsa::has;
use world::{FIRST, RESOLVER, SECOND, Setting, TTL, World};

/// What takes longer than this never happens.
const LONG: Duration = Duration::from_secs(120);
/// Before and after what is looked at.
const QUIET: Duration = Duration::from_secs(3);

const STAGED: Setting = Setting { staged: true, told: true, ordered: None };

/// The longest one begins first.
#[test]
fn a_certificate_that_danelaw_renews_by_the_clock_loses_no_mail_and_the_operator_is_told() {
    renewals::by_the_clock();
}

#[test]
fn a_rollover_loses_no_mail() {
    let (world, before) = World::new(STAGED);
    let next = issued();
    let seen = under_load(&world, || {
        rollover(&world, &before, &next, || {});
    });
    loses_nothing("a rollover", &world, &seen, [&before, &next]);
}

#[test]
fn a_lagging_secondary_is_waited_for() {
    let (world, before) = World::new(Setting { told: false, ..STAGED });
    let next = issued();
    let seen = under_load(&world, || {
        let behind = rollover(&world, &before, &next, || {});
        assert!(behind + Duration::from_secs(2) > LAG, "{behind:?}");
    });
    loses_nothing("a rollover with a secondary 30 s behind", &world, &seen, [&before, &next]);
}

#[test]
fn a_rollover_goes_on_after_a_kill_in_its_hold() {
    let (world, before) = World::new(STAGED);
    let next = issued();
    let seen = under_load(&world, || {
        rollover(&world, &before, &next, || {
            wait_within(LONG, "the hold", || (world.phase() == "holding").then_some(()));
            world.kill_danelaw();
            std::thread::sleep(Duration::from_secs(5));
            assert!(!presents(&world, &next));
            world.start_danelaw();
            assert!(!presents(&world, &next));
        });
    });
    loses_nothing("a rollover with kill -9 in its hold", &world, &seen, [&before, &next]);
}

/// What these tests see is there to be seen.
#[test]
fn the_naive_swap_defers_mail() {
    let (world, before) = World::new(Setting { staged: false, ..STAGED });
    let next = issued();
    let seen = under_load(&world, || {
        std::thread::sleep(QUIET);
        wait_within(LONG, "the resolver has just asked", || (world.ask(RESOLVER).ok()?.ttl >= TTL - 2).then_some(()));
        world.drop_in(&next);
        world.reload_postfix();
        wait_within(LONG, "the resolver has the new records", || {
            has(&world.ask(RESOLVER).ok()?.records, &world.chain(&next)).then_some(())
        });
        std::thread::sleep(QUIET);
    });
    tell("a naive swap", &seen);
    assert!(seen.deferred.len() > 1 && seen.disagreements() > 1);
    assert!(world.sent().contains("Server certificate not verified"));
    assert!(has(&world.ask(RESOLVER).unwrap().records, &world.chain(&before)), "nothing is removed");
}

/// From before a new certificate comes until the old one's records are gone. Gives how much later the second server showed both.
/// `meanwhile` is done when both servers do.
fn rollover(world: &World, before: &Made, next: &Made, meanwhile: impl FnOnce()) -> Duration {
    let (old, new) = (world.chain(before), world.chain(next));
    std::thread::sleep(QUIET);
    world.drop_in(next);
    let both = |server| {
        let answer = world.ask(server).ok()?;
        (has(&answer.records, &old) && has(&answer.records, &new)).then(Instant::now)
    };
    let first = wait_within(LONG, "danelaw shows both", || both(FIRST));
    let second = wait_within(LONG, "the secondary shows both", || both(SECOND));
    meanwhile();
    let installed = wait_within(LONG, "the new certificate is presented", || presents(world, next).then(Instant::now));
    // RFC 7671 section 8.1; the second TTL is for caches that ask caches. danelaw sees a little sooner than this test, or, where it
    // has asked for nothing several times, up to a minute later. A restart costs no time.
    let held = (installed - second).as_secs();
    let late = if world.setting.told { TTL } else { 60 };
    assert!((2 * TTL - 3..2 * TTL + late + 5).contains(&held), "{held} s");
    for server in [FIRST, SECOND, RESOLVER] {
        wait_within(LONG, "the old records are gone", || (!has(&world.ask(server).ok()?.records, &old)).then_some(()));
    }
    std::thread::sleep(QUIET);
    second - first
}

/// Whether every address presents a certificate.
fn presents(world: &World, made: &Made) -> bool {
    world.addresses().into_iter().all(|address| world.presented(address).is_ok_and(|chain| chain == world.chain(made)))
}

fn tell(what: &str, seen: &Seen) {
    println!(
        "{what}: {} mails, {} of them deferred, {} TLS sessions, {} verified; {} samples, {} of them disagree",
        seen.mails,
        seen.deferred.len(),
        seen.sessions,
        seen.verified,
        seen.samples.len(),
        seen.disagreements()
    );
}

/// `made`: the certificate before, and the one after.
fn loses_nothing(what: &str, world: &World, seen: &Seen, made: [&Made; 2]) {
    delivers_all(what, world, seen);
    // It was looked at all of the way, and the way was gone.
    let [old, new] = made.map(|made| world.chain(made));
    let count = |held: [bool; 2], presented: &tlsa::Chain| {
        let is_it = |sample: &&load::Sample| {
            [&old, &new].map(|chain| has(&sample.held, chain)) == held
                && sample.presented.iter().all(|chain| chain == presented)
        };
        seen.samples.iter().filter(is_it).count()
    };
    let stages =
        [count([true, false], &old), count([true, true], &old), count([true, true], &new), count([false, true], &new)];
    assert!(stages.iter().all(|count| *count > 1), "{stages:?}");
}

/// No mail was put off, every session was verified, and nothing disagreed.
fn delivers_all(what: &str, world: &World, seen: &Seen) {
    tell(what, seen);
    assert!(seen.failures.is_empty(), "{:?}", seen.failures);
    assert_eq!(seen.disagreements(), 0);
    assert!(seen.deferred.is_empty(), "{:?}", seen.deferred);
    assert_eq!((seen.delivered.len(), seen.verified, seen.sessions), (seen.mails, seen.mails, seen.mails));
    // The TTL is short and the key was made before the first start, for the parent's DS: it says so.
    let log = world.log();
    let is_known = |line: &str| ["TLSA TTL 10 s", "its key is older"].iter().any(|known| line.contains(known));
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains(" WARN ") && !is_known(line)).collect();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(
        seen.samples.len() >= seen.mails && seen.mails > 40,
        "{} samples, {} mails",
        seen.samples.len(),
        seen.mails
    );
}
