//! danelaw's answers beside those of NSD, Knot and BIND that serve the same signed zones, and beside its own over every transport and
//! through the plugin: generated zones, generated questions.
//!
//! `DANELAW_COMPARISONS` says how many questions are asked, `DANELAW_SEED` which zones and questions are made.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]
#![expect(clippy::print_stdout, reason = "the report of a long run")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../encrypted/clients.rs"]
mod encrypted;
#[path = "../common/hickory.rs"]
mod hickory;

mod asked;
mod catalog;
mod clients;
mod compare;
mod examples;
mod handlers;
mod peers;
mod presigned;
mod proof;
mod questions;
mod random;
mod rdata;
mod report;
mod rules;
mod sections;
mod transports;
mod zones;

use danelaw::zone::{Published, Snapshot};

use compare::compare;
use peers::{PEERS, Running};
use questions::Question;
use random::Random;
use report::Report;

/// Questions of a run that nobody asked for more.
const COMPARISONS: usize = 5000;
/// Questions about one set of zones: each peer is started once for them.
const BATCH: usize = 5000;
/// Families of zones in a batch.
const FAMILIES: usize = 16;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// The batches of a run: what each is made from, and how many questions it has. The short run is the same every time, so that it fails
/// for a reason in what was changed; a long one looks for what is new.
fn batches(short: usize, size: usize) -> impl Iterator<Item = (Random, usize)> {
    let count = setting("DANELAW_COMPARISONS").map_or(short, |count| count as usize);
    let seed = setting("DANELAW_SEED").unwrap_or(if count > short { common::now() } else { 1 });
    println!("DANELAW_SEED={seed} DANELAW_COMPARISONS={count}");
    (0..count)
        .step_by(size)
        .map(move |start| (Random::new(seed.wrapping_add((start / size) as u64)), size.min(count - start)))
}

#[test]
fn answers_to_generated_questions_equal_those_of_nsd_knot_and_bind() {
    let mut report = Report::default();
    for (mut random, count) in batches(COMPARISONS, BATCH) {
        let zones = zones::zones(&mut random, FAMILIES);
        let questions = questions::questions(&mut random, &zones, count);
        ask(&zones, &questions, &mut report);
    }
    println!("{report}");
    report.judge();
}

/// Starts the peers over the zones, and asks everybody.
fn ask(zones: &[Published], questions: &[Question], report: &mut Report) {
    let running: Vec<Running> = std::thread::scope(|scope| {
        let starting = PEERS.map(|peer| scope.spawn(move || peer.start(zones)));
        starting.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let snapshot = Snapshot::new(zones.iter().map(common::snapshot), []);
    compare(&snapshot, &running, questions, report);
}
