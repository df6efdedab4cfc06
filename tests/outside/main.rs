//! What the zone above says, in a network of its own: an NSD that delegates rightly and wrongly, an unbound on the way, and danelaw,
//! which publishes TLSA where the chain of trust leads to it alone, says what is wrong elsewhere, and takes nothing back for what
//! it can't see. And a laboratory, in which every domain has a fault of its own, and what is told of each.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../daemon/house.rs"]
#[expect(dead_code, reason = "each test program uses its part")]
mod house;
#[path = "../laboratory/namespace.rs"]
mod namespace;
#[path = "../mail/servers.rs"]
#[expect(dead_code, reason = "each test program uses its part")]
mod servers;

mod laboratory;
mod world;

use std::time::{Duration, Instant};

use house::wait_within;
use laboratory::tools::each;
use laboratory::{Laboratory, told};
use world::World;

/// What takes longer than this never happens.
const LONG: Duration = Duration::from_secs(60);

/// Waits until the zone is seen so; gives what is to be done.
fn seen(world: &World, zone: &str, verdict: &str, evidence: &[&str]) -> String {
    wait_within(LONG, &format!("{zone} is seen: {verdict}, {evidence:?}"), || {
        let report = world.outside(zone);
        let text = report["evidence"].as_str().unwrap_or_default();
        let is_it = report["verdict"] == verdict && evidence.iter().all(|part| text.contains(part));
        is_it.then(|| report["help"].as_str().unwrap_or_default().to_owned())
    })
}

#[test]
fn each_fault_of_a_delegation_is_told_and_only_a_whole_chain_publishes() {
    let world = World::new();
    seen(&world, "good.org", "held", &["the DS of key", "zone org.", "the configured anchor of org.", "62.1.7.1:53"]);
    for (zone, evidence) in [
        ("missing.org", "DS missing: zone org. has none"),
        ("unknown.org", "DS for an unknown key: zone org. has the DS of key 4711"),
        ("digest.org", "wrong digest: zone org. has a DS of key"),
        ("algorithm.org", "algorithm not supported: zone org. has a DS of key"),
    ] {
        let help = seen(&world, zone, "missing", &[evidence, "62.1.7.1:53"]);
        let ds = world.ds(zone);
        let rdata = ds.trim().split_once(" DS ").unwrap().1;
        assert!(help.contains("give the registrar") && help.contains(rdata), "{zone}: {help}");
    }
    let help = seen(&world, "below.plain.org", "missing", &["parent unsigned: zone plain.org."]);
    assert!(help.contains("ask whoever runs zone plain.org. to sign it"), "{help}");
    assert!(world.is_served("good.org"));
    for zone in world::FAULTY {
        assert!(!world.is_served(zone), "{zone}");
    }
    wait_within(LONG, "what was seen twice is a problem", || {
        world.danelaw(&["status"]).contains("\nmissing.org.: DS missing: zone org. has none").then_some(())
    });
}

#[test]
fn what_is_mended_counts_at_the_operators_word_and_what_can_t_be_seen_takes_nothing_back() {
    let mut world = World::new();
    seen(&world, "good.org", "held", &[]);
    seen(&world, "missing.org", "missing", &["DS missing"]);
    wait_within(LONG, "TLSA of good.org", || world.is_served("good.org").then_some(()));

    // The registrar got it.
    world.delegate(&["good.org", "missing.org"]);
    wait_within(LONG, "the DS counts", || {
        world.danelaw(&["reload"]);
        (world.outside("missing.org")["verdict"] == "held").then_some(())
    });
    wait_within(LONG, "TLSA of missing.org", || world.is_served("missing.org").then_some(()));

    // Nobody can be asked.
    world.stop_resolver();
    world.danelaw(&["reload"]);
    seen(&world, "good.org", "unknown", &["resolvers can't be asked"]);
    std::thread::sleep(Duration::from_secs(2 * world::HOLD));
    assert!(world.is_served("good.org") && world.is_served("missing.org"));

    // The registrar has lost it, or so it seems: nobody looks at TLSA there, and none is taken back.
    world.start_resolver();
    world.delegate(&["good.org"]);
    wait_within(LONG, "the loss is seen", || {
        world.danelaw(&["reload"]);
        (world.outside("missing.org")["verdict"] == "missing").then_some(())
    });
    std::thread::sleep(Duration::from_secs(2 * world::HOLD));
    world.danelaw(&["reload"]);
    assert!(world.is_served("missing.org") && world.is_served("good.org"));
}

/// What other tools take each fault for, what `check --online` tells of each, what the running server sees of them by itself, and that
/// none of it changes what is served.
#[test]
fn each_fault_of_the_laboratory_is_told_as_other_tools_take_it_and_no_record_changes() {
    let mut laboratory = Laboratory::new();
    let before = laboratory.served();
    let mut differences = told::whole(&laboratory);
    laboratory.spoil();
    laboratory.danelaw(&["reload"]);
    let looks = [
        told::faults,
        laboratory::tools::differences,
        laboratory::records::differences,
        laboratory::survey::differences,
    ];
    differences.extend(each(&looks, |look| look(&laboratory)).concat());
    let begun = Instant::now();
    while let unseen = told::unseen(&laboratory)
        && !unseen.is_empty()
    {
        assert!(begun.elapsed() < 2 * LONG, "danelaw never sees {unseen:?}");
        std::thread::sleep(Duration::from_secs(1));
    }
    let after = laboratory.served();
    // Of the hosts at one address each has its turn.
    let mut shown = laboratory::readme::differences(&laboratory);
    while !shown.is_empty() && begun.elapsed() < 2 * LONG {
        std::thread::sleep(Duration::from_secs(1));
        shown = laboratory::readme::differences(&laboratory);
    }
    differences.extend(shown);
    differences.extend(told::here(&mut laboratory));
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    assert_eq!(after, before);
}
