//! What a run found: how many answers were compared, how often each rule was needed, what no rule explains.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use danelaw::dns::Rtype;

use super::common::wire::{Response, Rr};
use super::peers::Peer;
use super::questions::Question;

/// Differences of one kind: how many, and the first in words.
type Group = (usize, String);

#[derive(Default)]
pub struct Report {
    pub compared: usize,
    unanswered: usize,
    rules: BTreeMap<(&'static str, Peer), usize>,
    groups: BTreeMap<String, Group>,
    broken: Vec<String>,
    /// (danelaw truncated, the peer did): how often.
    truncated: BTreeMap<(Peer, bool, bool), usize>,
    /// Of answers with the same records, any at all: how many, danelaw's octets, the peer's.
    lengths: BTreeMap<Peer, (usize, usize, usize)>,
}

impl Report {
    pub fn used(&mut self, rule: &'static str, peer: Peer) {
        *self.rules.entry((rule, peer)).or_default() += 1;
    }

    /// An answer of danelaw's that breaks a law of its own.
    pub fn broken(&mut self, question: &Question, why: String) {
        self.broken.push(format!("{question}: {why}"));
    }

    /// An answer whose names can't be read. Knot 3.2 writes pointers to themselves before the NSEC of a service that a wildcard makes.
    pub fn unreadable(&mut self, peer: Peer, question: &Question) {
        self.compared += 1;
        match peer {
            Peer::Knot if matches!(question.rtype, Rtype::SVCB | Rtype::HTTPS) => {
                self.used("RFC 1035 section 4.1.4: a pointer points to a prior occurrence", peer);
            }
            _ => self.broken(question, format!("{peer:?} sends a pointer that does not point back")),
        }
    }

    /// A question that a peer does not answer: there are zones that send Knot 3.2 into an endless loop.
    pub fn unanswered(&mut self, peer: Peer, question: &Question) {
        match peer {
            Peer::Knot => self.unanswered += 1,
            _ => self.broken(question, format!("{peer:?} does not answer")),
        }
    }

    pub fn truncated(&mut self, peer: Peer, ours: bool, theirs: bool) {
        *self.truncated.entry((peer, ours, theirs)).or_default() += 1;
    }

    /// Both lengths count where both say the same.
    pub fn measured(&mut self, peer: Peer, ours: &Response, theirs: &Response) {
        let same =
            ours.answer == theirs.answer && ours.authority == theirs.authority && ours.additional == theirs.additional;
        let has_records = !ours.answer.is_empty() || !ours.authority.is_empty();
        if has_records && same && !ours.tc && !theirs.tc && ours.edns.is_some() == theirs.edns.is_some() {
            let (count, mine, other) = self.lengths.entry(peer).or_default();
            *count += 1;
            *mine += ours.length;
            *other += theirs.length;
        }
    }

    pub fn differs(&mut self, peer: Peer, question: &Question, ours: &Response, theirs: &Response) {
        let key = format!("{peer:?}: {}", kind(ours, theirs));
        let (count, _) = self.groups.entry(key).or_insert_with(|| {
            (0, format!("{question}\n    danelaw {}\n    peer    {}", but(ours, theirs), but(theirs, ours)))
        });
        *count += 1;
    }

    /// Fails where anything is left without an explanation.
    pub fn judge(&self) {
        assert!(self.unanswered * 20 <= self.compared, "Knot is hardly there:\n{self}");
        assert!(self.broken.is_empty() && self.groups.is_empty(), "{self}");
        // Names are compressed as tightly as theirs; each server finds a few chances more that the others don't look for.
        let is_as_tight = |(_, ours, theirs): &(usize, usize, usize)| 200 * ours <= 201 * theirs;
        assert!(self.lengths.values().all(is_as_tight), "longer than a peer's answers:\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} answers compared, {} not given by Knot", self.compared, self.unanswered)?;
        for ((rule, peer), count) in &self.rules {
            writeln!(f, "{count:8} {peer:?}: {rule}")?;
        }
        for ((peer, ours, theirs), count) in &self.truncated {
            writeln!(f, "{count:8} {peer:?}: TC danelaw {ours}, peer {theirs}")?;
        }
        for (peer, (count, ours, theirs)) in &self.lengths {
            let mean = |octets: &usize| *octets as f64 / *count as f64;
            writeln!(
                f,
                "{count:8} {peer:?}: equal records in {:.1} octets of danelaw, {:.1} of the peer",
                mean(ours),
                mean(theirs)
            )?;
        }
        writeln!(
            f,
            "{} broken laws{}",
            self.broken.len(),
            self.broken.iter().take(10).map(|one| format!("\n  {one}")).collect::<String>()
        )?;
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        writeln!(
            f,
            "{} unexplained in {} groups",
            groups.iter().map(|(_, (count, _))| count).sum::<usize>(),
            groups.len()
        )?;
        for (key, (count, example)) in groups.iter().take(60) {
            writeln!(f, "{count:6} {key}\n    {example}")?;
        }
        Ok(())
    }
}

/// What sets two answers apart, without names and octets.
fn kind(ours: &Response, theirs: &Response) -> String {
    let mut parts = Vec::new();
    for (mine, other) in flags(ours).iter().zip(flags(theirs)) {
        if *mine != other {
            parts.push(format!("{mine} not {other}"));
        }
    }
    let sections = [
        ("answer", &ours.answer, &theirs.answer),
        ("authority", &ours.authority, &theirs.authority),
        ("additional", &ours.additional, &theirs.additional),
    ];
    for (section, mine, other) in sections {
        if mine != other {
            parts.push(format!("{section} +{} -{}", types(mine, other), types(other, mine)));
        }
    }
    parts.join("; ")
}

fn flags(one: &Response) -> [String; 10] {
    [
        format!("rcode {}", one.rcode),
        format!("AA {}", one.aa),
        format!("TC {}", one.tc),
        format!("RD {}", one.rd),
        format!("RA {}", one.ra),
        format!("AD {}", one.ad),
        format!("CD {}", one.cd),
        format!("EDNS {:?}", one.edns),
        format!("doubled {}", one.doubled),
        format!("question of {} octets", one.question.len()),
    ]
}

fn types(one: &BTreeSet<Rr>, other: &BTreeSet<Rr>) -> String {
    let types = one.difference(other).map(|record| Rtype(record.rtype)).filter(|rtype| *rtype != Rtype::RRSIG);
    let types: BTreeSet<String> = types.map(|rtype| rtype.to_string()).collect();
    types.into_iter().collect::<Vec<_>>().join(",")
}

/// What one response has and the other lacks.
fn but(one: &Response, other: &Response) -> String {
    let records = |one: &BTreeSet<Rr>, other: &BTreeSet<Rr>| {
        let lacking = one.difference(other).filter(|record| record.rtype != Rtype::RRSIG.0);
        lacking.map(|record| format!("{record:?}; ")).collect::<String>().chars().take(500).collect::<String>()
    };
    format!(
        "rcode {} AA {} TC {} answer of {} [{}] authority of {} [{}] additional of {} [{}]",
        one.rcode,
        one.aa,
        one.tc,
        one.answer.len(),
        records(&one.answer, &other.answer),
        one.authority.len(),
        records(&one.authority, &other.authority),
        one.additional.len(),
        records(&one.additional, &other.additional)
    )
}
