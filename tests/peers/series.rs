//! `$GENERATE`: what BIND makes of a directive, we make of it, and what it refuses, we refuse.

use danelaw::dns::Name;
use danelaw::zone::print::print;
use danelaw::zone::{NoIncludes, parse};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRng, TestRunner};

use super::tools::{ORIGIN, bind, lines};

/// Directives in a run, each a file of its own.
const DIRECTIVES: u32 = 400;
const HEAD: &str = "$TTL 300\n@ SOA ns1 hostmaster 1 7200 3600 1209600 900\n@ NS ns1\nns1 A 192.0.2.1\n";

fn range() -> impl Strategy<Value = String> {
    let step = select(vec!["", "/1", "/3", "/7", "/0", "/100000"]);
    let start = prop_oneof![0..300u32, Just(65_530), Just(2_147_483_640)];
    (start, 0..20u32, step, 0..30u32).prop_map(|(start, span, step, odd)| match odd {
        0 => format!("{}-{start}{step}", start + span + 1),
        1 => format!("{start}"),
        _ => format!("{start}-{}{step}", (start + span).min(2_147_483_647)),
    })
}

/// A template and its modifiers. The offset is the same all over: BIND carries it on to a bare `$`. A base that is
/// none is not among them: BIND 9.18 refuses the first one only.
fn template(offset: i32) -> impl Strategy<Value = String> {
    let modifier =
        (select(vec!["", ",0", ",1", ",3", ",4", ",9", ",130"]), select(vec!["", "d", "o", "x", "X", "n", "N"]))
            .prop_map(move |(width, base)| match (width, base) {
                (width, "") => format!("${{{offset}{width}}}"),
                ("", base) => format!("${{{offset},0,{base}}}"),
                (width, base) => format!("${{{offset}{width},{base}}}"),
            });
    let bare = if offset == 0 { "$" } else { "x" };
    let literal = select(vec!["a", "-", "b.c", "$$", "\\$", "\\.", bare, bare, "\\065"]).prop_map(str::to_owned);
    proptest::collection::vec(prop_oneof![1 => modifier, 2 => literal], 1..5).prop_map(|pieces| pieces.concat())
}

fn directive() -> impl Strategy<Value = String> {
    let head = select(vec!["", "60", "IN", "1h IN", "in 7"]);
    select(vec![0, 0, 1, 250, -3]).prop_flat_map(move |offset| {
        let data = (template(offset), 0..5u8).prop_map(|(text, form)| match form {
            0 => format!("TXT {text}"),
            1 => format!("TXT \"{text} \\\"{text} ;\\\" z\""),
            2 => format!("MX \"1 {text}\""),
            3 => format!("CNAME {text}"),
            _ => format!("A 192.0.2.{text}"),
        });
        (range(), template(offset), head.clone(), data)
            .prop_map(|(range, lhs, head, data)| format!("$GENERATE {range} z{lhs} {head} {data}\n"))
    })
}

#[test]
fn generated_series_are_those_of_bind() {
    let origin: Name = ORIGIN.parse().expect("a name");
    let config = Config { failure_persistence: None, ..Config::default() };
    let seed = TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = TestRunner::new_with_rng(config, seed);
    let (mut both, mut neither) = (0, 0);
    for _ in 0..DIRECTIVES {
        let line = directive().new_tree(&mut runner).map(|tree| tree.current()).expect("a directive");
        let text = format!("{HEAD}{line} TXT \"the owner before\"\nlast A 192.0.2.9\n");
        let ours = parse(&origin, "series", text.as_bytes(), &mut NoIncludes);
        match (bind(text.as_bytes()), ours.contents) {
            (Ok(theirs), Some(ours)) => {
                assert_eq!(theirs, lines(&print(&ours)), "{line}: theirs is on the left");
                both += 1;
            }
            (Err(_), None) => neither += 1,
            // BIND leaves out what is outside the zone, and says so; here it is an error as it is elsewhere.
            (Ok(_), None) if ours.diagnostics[0].message.contains("is outside the zone") => {}
            (Ok(theirs), None) => panic!("{line}: BIND reads {theirs:#?}, we don't: {}", ours.diagnostics[0]),
            (Err(why), Some(ours)) => panic!("{line}: we read\n{}BIND doesn't: {why}", print(&ours)),
        }
    }
    assert!(both > 100 && neither > 50, "{both} read by both, {neither} by none");
}
