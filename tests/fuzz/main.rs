//! The fuzzers' targets without a fuzzer: each goes through its corpus, and through what a fixed stream of random numbers makes of it.
//!
//! What a fuzzer finds goes into `fuzz/corpus/`, and stays found.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

/// What mutation puts in.
const WORDS: &[&[u8]] = &[
    b"\x00",
    b"\xff\xff",
    b"\xc0\x0c",
    b"\x00\xfa\x00\xff\x00\x00\x00\x00",
    b"\x0bhmac-sha256\x00",
    b"\x00\x29",
    b"\x00\x0a\x00\x08",
    b"\x0c",
    b"\n",
    b" ( ",
    b"\\",
    b"\"",
    b"\\# 4 00000000",
    b"*.",
    b" NS ",
    b" CNAME ",
    b" DNAME ",
    b" DS ",
    b" RRSIG ",
    b" NSEC3 ",
    b"$ORIGIN ",
    b"$INCLUDE part\n",
    b"$GENERATE 0-3 ",
    b"example.org.",
    b"-----END CERTIFICATE-----\n",
    b"\x30\x82",
    b"{\"command\":\"status\"}\n",
];
/// The longest input, octets.
const LONGEST: usize = 8 << 10;

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut inputs: Vec<(String, Vec<u8>)> = entries
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

/// An input of the corpus with a few changes.
fn mutated(random: &mut TestRng, corpus: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut below = |bound: usize| random.next_u32() as usize % bound.max(1);
    let mut input = corpus[below(corpus.len())].1.clone();
    for _ in 0..=below(4) {
        let at = below(input.len() + 1);
        let end = at + below(input.len() - at + 1).min(below(64));
        match below(6) {
            0 => drop(input.drain(at..end)),
            1 => drop(input.splice(at..at, WORDS[below(WORDS.len())].iter().copied())),
            2 => drop(input.splice(at..at, input[at..end].to_vec())),
            3 => {
                let other = &corpus[below(corpus.len())].1;
                let from = below(other.len() + 1);
                drop(input.splice(at.., other[from..].iter().copied()));
            }
            4 if at < input.len() => input[at] ^= 1 << below(8),
            _ if at < input.len() => input[at] = below(256) as u8,
            _ => {}
        }
    }
    input.truncate(LONGEST);
    input
}

/// The corpus, then so many inputs made of it.
fn replay(target: &str, made: usize) {
    let check = fuzz::TARGETS.iter().find(|(name, _)| *name == target).unwrap().1;
    let corpus = corpus(target);
    assert!(corpus.len() >= 20, "the corpus of {target} is missing");
    let run = |name: &str, input: &[u8]| {
        let outcome = catch_unwind(AssertUnwindSafe(|| check(input)));
        assert!(outcome.is_ok(), "{target}, {name}: \"{}\"", input.escape_ascii());
    };
    for (name, input) in &corpus {
        run(name, input);
    }
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    for number in 0..made {
        run(&format!("made input {number}"), &mutated(&mut random, &corpus));
    }
}

#[test]
fn any_file_is_a_certificate_a_key_or_refused() {
    replay("certificate", 60_000);
}

#[test]
fn a_changed_zone_is_the_zone_made_anew() {
    replay("change", 3000);
}

#[test]
fn every_line_on_the_control_socket_has_its_response() {
    replay("control_socket", 30_000);
}

#[test]
fn every_packet_has_the_right_answer_or_none() {
    replay("packet", 200_000);
}

#[test]
fn what_updates_are_allowed_to_do_can_be_served() {
    replay("update", 2500);
}

#[test]
fn any_text_is_a_zone_or_told_what_is_wrong_with_it() {
    replay("zone_text", 6000);
}
