//! Every name and type of the example zones, under every kind of denial.

use std::collections::BTreeSet;

use danelaw::dns::dnssec::Algorithm;
use danelaw::dns::{Name, Rtype};
use danelaw::zone::{Contents, Denial, Draft, Published};

use super::common::wire::{DNSSEC, PLAIN, TCP};
use super::common::{EXAMPLES, delegations, denials, example, hashes, name, sign_denying};
use super::questions::Question;
use super::report::Report;
use super::zones::types;

fn contents() -> Vec<Contents> {
    EXAMPLES.iter().map(|origin| example(origin)).chain([delegations()]).collect()
}

fn signed(denial: &Denial) -> Vec<Published> {
    let sign = |contents: &Contents| sign_denying(contents, Algorithm::EcdsaP256Sha256, denial.clone());
    contents().iter().map(sign).collect()
}

#[test]
fn every_answer_under_nsec_equals_the_peers() {
    every_answer(&signed(&denials()[0].1));
}

#[test]
fn every_answer_under_nsec3_equals_the_peers() {
    every_answer(&signed(&denials()[1].1));
}

#[test]
fn every_answer_under_nsec3_with_opt_out_equals_the_peers() {
    every_answer(&signed(&denials()[2].1));
}

#[test]
fn every_answer_of_unsigned_zones_equals_the_peers() {
    let unsigned = |contents: &Contents| Draft::unsigned(contents).unwrap().finish(1).unwrap();
    every_answer(&contents().iter().map(unsigned).collect::<Vec<_>>());
}

/// Every owner and empty non-terminal, every NSEC3's owner, and names beside, below and between them.
fn names(zones: &[Published]) -> BTreeSet<Name> {
    let mut names = BTreeSet::new();
    for zone in zones {
        names.extend(hashes(zone).into_iter().flat_map(|owner| [owner.prepend(b"0"), Ok(owner)]).flatten());
        let owners = zone.sets().filter(|(_, set)| set.rrset.rtype != Rtype::NSEC3).map(|(owner, _)| owner);
        for owner in owners {
            names.insert(owner.clone());
            names.extend(owner.ancestors().take_while(|above| above.is_at_or_below(zone.origin())));
            for label in ["0", "zzz", "*", "a.b"] {
                let below = label.rsplit('.').try_fold(owner.clone(), |name, label| name.prepend(label.as_bytes()));
                names.extend(below);
            }
        }
    }
    names.insert(name("unserved.test"));
    names
}

/// Asks for every name and type, in turn without EDNS, with DO, and over TCP.
pub fn every_answer(zones: &[Published]) {
    let names = names(zones);
    let pairs = names.iter().flat_map(|name| types().map(move |rtype| (name.clone(), rtype)));
    let ways = [PLAIN, DNSSEC, TCP].into_iter().cycle();
    let question = |((name, rtype), ask)| Question { name, rtype, class: 1, ask, flags: [0, 0] };
    let questions: Vec<Question> = pairs.zip(ways).map(question).collect();
    assert!(questions.len() > 10_000, "only {} questions", questions.len());
    let mut report = Report::default();
    super::ask(zones, &questions, &mut report);
    report.judge();
}
