//! A delegated laboratory: a DNS of danelaw daemons from the root down, before validators that others wrote.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that can't go on has failed")]

#[path = "../common/mod.rs"]
mod common;

#[expect(dead_code, reason = "each test program uses its part")]
mod namespace;
mod questions;
mod resolvers;
mod surveys;
mod universe;

use questions::{Question, Trust, questions};
use universe::{KINDS, NS, RESOLVER, Universe};

#[test]
fn unbound_validates_every_kind_of_answer() {
    validates("unbound", resolvers::unbound, &[]);
}

/// PowerDNS Recursor 4.8 authenticates an alias that comes from a wildcard, though opt-out leaves its proof open.
#[test]
fn pdns_recursor_validates_every_kind_of_answer() {
    validates("pdns_recursor", resolvers::pdns_recursor, &["x.alias.optout.example"]);
}

#[test]
fn knot_resolver_validates_every_kind_of_answer() {
    validates("kresd", resolvers::knot_resolver, &[]);
}

/// `lenient` are names whose insecure answers the program may take for secure.
fn validates(program: &str, start: impl FnOnce(&mut Universe), lenient: &[&str]) {
    let mut universe = Universe::new();
    start(&mut universe);
    let questions = questions();
    let mut wrong = Vec::new();
    for (question, answer) in questions.iter().zip(ask(&universe, RESOLVER, &questions)) {
        let (rcode, ad) = match question.trust {
            Trust::Bogus => ("SERVFAIL", false),
            trust => (question.rcode, trust == Trust::Secure),
        };
        let ad = ad || (answer.ad && lenient.contains(&question.name.as_str()));
        if answer != (Answer { rcode: rcode.to_owned(), ad, holds: true }) {
            wrong.push(format!("{question:?}\n  {answer:?}"));
        }
    }
    let log = std::fs::read_to_string(universe.folder.path().join(format!("{program}.log"))).unwrap();
    assert!(wrong.is_empty(), "{} of {}:\n{}\n{log}", wrong.len(), questions.len(), wrong.join("\n"));
    let count = |trust| questions.iter().filter(|question| question.trust == trust).count();
    let counts = [Trust::Secure, Trust::Insecure, Trust::Bogus].map(count);
    println!("{program}: {} secure, {} insecure, {} bogus answers as they should be", counts[0], counts[1], counts[2]);
}

#[test]
fn what_validators_refuse_is_there_and_what_is_large_needs_tcp() {
    let universe = Universe::new();
    let bogus: Vec<Question> = questions().into_iter().filter(|question| question.trust == Trust::Bogus).collect();
    for (question, answer) in bogus.iter().zip(ask(&universe, NS[0].1, &bogus)) {
        assert_eq!(answer, Answer { rcode: question.rcode.to_owned(), ad: false, holds: true }, "{question:?}");
    }
    let server = format!("@{}", NS[0].1);
    for (kind, _) in KINDS {
        let said = universe.namespace.ask("dig", &[&server, "+ignore", &format!("large.{kind}.example"), "TXT"]);
        assert!(said.contains(" tc") && said.contains("ANSWER: 0"), "{said}");
    }
}

/// delv asks a resolver that checks nothing for it, and validates by itself from the root's DS on.
#[test]
fn delv_validates_from_the_root_down() {
    let mut universe = Universe::new();
    resolvers::unbound(&mut universe);
    let anchor = format!("trust-anchors {{ \".\" static-ds {}; }};\n", quoted_digest(&universe.anchor));
    let (anchor, server) = (universe.file("anchors", &anchor), format!("@{RESOLVER}"));
    let mut asked = 0;
    // What opt-out leaves open is read by BIND in a way of its own, see tests/peers.
    for question in questions().iter().filter(|question| !question.opted_out) {
        let said = universe.namespace.ask("delv", &[&server, "+cd", "-a", &anchor, &question.name, question.rtype]);
        let absent = question.holds.is_empty();
        let expected = match (question.trust, absent) {
            (Trust::Secure, false) => "; fully validated",
            (Trust::Secure, true) => "; negative response, fully validated",
            (Trust::Insecure, false) => "; unsigned answer",
            (Trust::Insecure, true) => "; negative response, unsigned answer",
            (Trust::Bogus, _) => ";; resolution failed: ",
        };
        assert!(said.contains(expected), "{question:?}: {expected:?} expected\n{said}");
        let validated = said.contains("fully validated") || said.contains("unsigned answer");
        assert_eq!(validated, question.trust != Trust::Bogus, "{question:?}\n{said}");
        asked += 1;
    }
    println!("delv: {asked} answers as they should be");
}

/// An anchor as BIND's configuration has it.
fn quoted_digest(ds: &str) -> String {
    let (fields, digest) = ds.rsplit_once(' ').unwrap();
    format!("{fields} \"{digest}\"")
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    rcode: String,
    ad: bool,
    /// Whether the records are those that were expected.
    holds: bool,
}

/// Asks a server one after the other.
fn ask(universe: &Universe, server: &str, questions: &[Question]) -> Vec<Answer> {
    let batch: String = questions.iter().map(|question| format!("{} {}\n", question.name, question.rtype)).collect();
    let (server, batch) = (format!("@{server}"), universe.file("batch", &batch));
    let how = [&server, "-f", &batch, "+tries=1", "+time=10", "+noall", "+comments", "+answer"];
    let said = universe.namespace.ask("dig", &how);
    let responses: Vec<&str> = said.split("->>HEADER<<-").skip(1).collect();
    assert_eq!(responses.len(), questions.len(), "{said}");
    responses.iter().zip(questions).map(|(response, question)| read(response, question)).collect()
}

fn read(response: &str, question: &Question) -> Answer {
    let after = |word: &str| response.split_once(word).unwrap_or_else(|| panic!("no {word}in {response}")).1;
    let rcode = after("status: ").split(',').next().unwrap().to_owned();
    let ad = after("flags: ").split(';').next().unwrap().split(' ').any(|flag| flag == "ad");
    let records: Vec<&str> =
        response.lines().skip(1).filter(|line| !line.is_empty() && !line.starts_with(';')).collect();
    let holds = match (question.holds, rcode.as_str()) {
        ("", _) | (_, "SERVFAIL") => records.is_empty(),
        (text, _) => records.iter().any(|record| record.contains(text)),
    };
    Answer { rcode, ad, holds }
}
