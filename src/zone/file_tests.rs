//! What is promised of reading zone files: TTLs, origins, includes, and that no octets make it panic.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::zone::print::print;

const HEAD: &str = "$TTL 300\n@ SOA ns1 hostmaster 1 7200 3600 1209600 900\n@ NS ns1\nns1 A 192.0.2.1\n";

/// Files by path.
#[derive(Default)]
struct Folder(BTreeMap<String, String>);

impl Includes for Folder {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        self.0.get(path).map(|text| text.clone().into_bytes()).ok_or_else(|| "no such file".to_owned())
    }
}

fn origin() -> Name {
    "example.org.".parse().expect("a name")
}

fn with_files<'t>(text: &'t str, files: &[(&str, &str)]) -> Parsed<'t> {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    parse(&origin(), "example.org.zone", text.as_bytes(), &mut Folder(files))
}

#[track_caller]
fn zone(text: &str) -> String {
    let parsed = with_files(text, &[]);
    assert_eq!(parsed.diagnostics, [], "{text}");
    print(&parsed.contents.expect("a zone"))
}

#[track_caller]
fn lines(text: &str, expected: &[&str]) {
    let printed = zone(text);
    for line in expected {
        assert!(printed.lines().any(|other| other.replace('\t', " ") == *line), "{line}\nis not in\n{printed}");
    }
}

fn errors(parsed: &Parsed<'_>) -> Vec<(String, u32, u32, String)> {
    let error = |one: &Diagnostic| (one.file.to_string(), one.line, one.column, one.message.clone());
    parsed.diagnostics.iter().map(error).collect()
}

#[test]
fn ttl_and_class_stand_in_either_order() {
    lines(
        &format!("{HEAD}a 60 IN A 192.0.2.1\nb IN 1m A 192.0.2.1\nc in A 192.0.2.1\nd 60 A 192.0.2.1\n\tAAAA ::1\n"),
        &[
            "a.example.org. 60 IN A 192.0.2.1",
            "b.example.org. 60 IN A 192.0.2.1",
            "c.example.org. 300 IN A 192.0.2.1",
            "d.example.org. 60 IN A 192.0.2.1",
            "d.example.org. 300 IN AAAA ::1",
        ],
    );
}

#[test]
fn without_a_ttl_directive_the_last_ttl_counts_and_at_first_the_soa_minimum() {
    let records =
        "@ SOA ns1 hostmaster 1 7200 3600 1209600 900\n@ NS ns1\nns1 A 192.0.2.1\na 60 A 192.0.2.1\nb A 192.0.2.1\n";
    lines(records, &["example.org. 900 IN NS ns1.example.org.", "b.example.org. 900 IN A 192.0.2.1"]);
    let records = "@ 50 SOA ns1 hostmaster 1 7200 3600 1209600 900\n@ NS ns1\nns1 60 A 192.0.2.1\nb A 192.0.2.1\n";
    lines(records, &["example.org. 50 IN NS ns1.example.org.", "b.example.org. 60 IN A 192.0.2.1"]);
    let parsed = with_files("@ NS ns1\n@ SOA ns1 hostmaster 1 7200 3600 1209600 900\n", &[]);
    assert!(parsed.diagnostics[0].message.contains("no TTL"));
}

#[test]
fn an_include_restores_the_origin_and_the_last_owner() {
    let text = format!("{HEAD}a A 192.0.2.1\n$INCLUDE \"hosts\" sub\n AAAA ::1\nb A 192.0.2.2\n");
    let parsed = with_files(
        &text,
        &[("hosts", "x A 192.0.2.3\n$ORIGIN deep\ny A 192.0.2.4\n$INCLUDE more\n"), ("more", " TXT z\n")],
    );
    assert_eq!(parsed.diagnostics, []);
    assert_eq!(parsed.sources.names().map(|name| &**name).collect::<Vec<_>>(), ["example.org.zone", "hosts", "more"]);
    let printed = print(&parsed.contents.expect("a zone")).replace('\t', " ");
    for line in [
        "x.sub.example.org. 300 IN A 192.0.2.3",
        "y.deep.sub.example.org. 300 IN A 192.0.2.4",
        "y.deep.sub.example.org. 300 IN TXT \"z\"",
        "a.example.org. 300 IN AAAA ::1",
        "b.example.org. 300 IN A 192.0.2.2",
    ] {
        assert!(printed.contains(line), "{line}\n{printed}");
    }
}

#[test]
fn an_error_in_an_included_file_is_reported_there() {
    let text = format!("{HEAD}$INCLUDE hosts\n");
    let parsed = with_files(&text, &[("hosts", "\n\nx A 192.0.2\n")]);
    assert_eq!(errors(&parsed).len(), 1);
    assert_eq!(errors(&parsed)[0].0, "hosts");
    assert_eq!((errors(&parsed)[0].1, errors(&parsed)[0].2), (3, 5));
    assert!(parsed.contents.is_none());
    assert_eq!(parsed.serial, Some(1));
}

#[test]
fn includes_that_go_in_circles_or_too_deep_are_refused() {
    let text = format!("{HEAD}$INCLUDE a\n");
    let parsed = with_files(&text, &[("a", "$INCLUDE ./b/../c\n"), ("./b/../c", "$INCLUDE ./a\n")]);
    assert_eq!(errors(&parsed).len(), 1);
    assert!(errors(&parsed)[0].3.contains("includes itself"));
    let files: Vec<(String, String)> = (0..20).map(|n| (n.to_string(), format!("$INCLUDE {}\n", n + 1))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let text = format!("{HEAD}$INCLUDE 0\n");
    let parsed = with_files(&text, &files);
    assert_eq!(errors(&parsed).len(), 1);
    assert!(errors(&parsed)[0].3.contains("16 deep"));
    assert_eq!(errors(&parsed)[0].0, "15");
}

#[test]
fn every_error_is_found_in_one_run_and_none_follows_from_another() {
    let text = "$TTL 300\n@ SOA ns1 hostmaster x 7200 3600 1209600 900\n@ NS ns1\nns1 A 192.0.2\nelse.where. A 192.0.2.1\n  AAAA ::1\n  A x\nb (\n A 192.0.2.1\nc MX mail\n";
    let places: Vec<(u32, u32)> = errors(&with_files(text, &[])).iter().map(|error| (error.1, error.2)).collect();
    assert_eq!(places, [(2, 22), (4, 7), (5, 1), (7, 5), (8, 3), (10, 6)]);
}

#[test]
fn what_a_directive_or_the_soa_would_have_given_is_not_missed_on_every_line() {
    for text in [
        "@ SOA ns1 hostmaster x 7200 3600 1209600 900\n@ NS ns1\nns1 A 192.0.2.1\na A 192.0.2.1\n",
        "@ SAO ns1 hostmaster 1 7200 3600 1209600 900\n@ 60 NS ns1\nns1 A 192.0.2.1\na A 192.0.2.1\n",
        "$TTL x\n@ SOA ns1 hostmaster 1 7200 3600 1209600 900\n@ NS ns1\nns1 A 192.0.2.1\n",
        "$TTL\n@ SOA ns1 hostmaster 1 7200 3600 1209600 900\n@ NS ns1\nns1 A 192.0.2.1\n",
        "@ NS ns1\n@ NS ns2.example.net.\n@ SOA ns1 hostmaster 1 7200 3600 1209600 900\nns1 A 192.0.2.1\n",
        &format!("{HEAD}a CNAME b\n$ORIGIN c..\na A 192.0.2.1\nb CNAME c\n"),
        &format!("{HEAD}$ORIGIN\na A 192.0.2.1\n"),
    ] {
        assert_eq!(errors(&with_files(text, &[])).len(), 1, "{text}{:?}", errors(&with_files(text, &[])));
    }
}

#[test]
fn diagnostics_are_limited_in_number_and_size() {
    let garbage = format!("{}\n", "x".repeat(100)).repeat(1000) + &"y".repeat(3 << 20);
    let parsed = with_files(&garbage, &[]);
    assert_eq!(parsed.diagnostics.len(), 200);
    assert!(parsed.diagnostics[199].message.contains("error 200"));
    let text = format!("{HEAD}a TXT ( {}", "\"x\"\n".repeat(1 << 20));
    let parsed = with_files(&text, &[]);
    assert_eq!(parsed.diagnostics.len(), 1);
    assert!(parsed.diagnostics[0].source.len() < 10_000);
}

#[test]
fn a_file_in_utf_16_is_one_error() {
    let text: Vec<u8> = format!("\u{feff}{HEAD}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let parsed = parse(&origin(), "f", &text, &mut NoIncludes);
    assert_eq!(parsed.diagnostics.len(), 1);
    assert!(parsed.diagnostics[0].message.contains("UTF-16"));
}

#[test]
fn columns_count_characters() {
    let text = format!("{HEAD}äöü TXT \"ß\" ( \"\u{fffd}\"\n\t\"é\" ) ; ü\na\tA\tx\n");
    let parsed = with_files(&text, &[]);
    assert_eq!(parsed.diagnostics.len(), 1);
    let shown = parsed.diagnostics[0].to_string();
    assert_eq!(
        shown.lines().take(3).collect::<Vec<_>>(),
        [
            "example.org.zone:7:5: error: A: expected an IPv4 address such as 192.0.2.1, found `x`",
            "  7 | a\tA\tx",
            "    |  \t \t^",
        ]
    );
}

#[test]
fn generated_records_are_like_written_ones() {
    let text = format!(
        "{HEAD}$GENERATE 1-3/2 host-$ 60 IN A 192.0.2.$\n AAAA ::1\n$GENERATE 10-10 ${{-9,3,x}} MX \"${{0}} m${{0}}\"\n\
         $ORIGIN sub\n$generate 7-7 $ TXT \"a \\\"b $\\\" $$\"\n$INCLUDE more\n"
    );
    let parsed = with_files(&text, &[("more", "$GENERATE 0-1 @ TXT $ ; comment\n")]);
    assert_eq!(parsed.diagnostics, []);
    let printed = print(&parsed.contents.expect("a zone")).replace('\t', " ");
    for line in [
        "host-1.example.org. 60 IN A 192.0.2.1",
        "host-3.example.org. 60 IN A 192.0.2.3",
        "ns1.example.org. 300 IN AAAA ::1",
        "001.example.org. 300 IN MX 10 m10.example.org.",
        "7.sub.example.org. 300 IN TXT \"a\" \"b 7\" \"$\"",
        "sub.example.org. 300 IN TXT \"0\"",
        "sub.example.org. 300 IN TXT \"1\"",
    ] {
        assert!(printed.contains(line), "{line}\n{printed}");
    }
    assert!(!printed.contains("host-2"));
}

#[test]
fn a_generate_that_is_wrong_is_one_error_at_its_word() {
    for (line, column, part) in [
        ("$GENERATE", 10, "needs a range"),
        ("$GENERATE 3-1 a$ A 192.0.2.$", 11, "`3-1` is not a range"),
        ("$GENERATE 1-3", 14, "needs an owner"),
        ("$GENERATE 0-65536 a$ A 192.0.2.1", 11, "65537 records: one $GENERATE makes at most 65536"),
        ("$GENERATE 1-3 a${0,1,q} A 192.0.2.1", 15, "`{0,1,q}` is not a modifier"),
        ("$GENERATE 1-3 a${5}$ A 192.0.2.1", 15, "write `${0}` or `${5}`"),
        ("$GENERATE 1-3 a$ A", 19, "needs data"),
        ("$GENERATE 1-3 a$ B 192.0.2.1", 18, "unknown record type"),
        ("$GENERATE 1-3 a$ MX 10 m$", 24, "unexpected `m$` behind the data"),
        ("$GENERATE 254-999 a$ A 192.0.2.$", 24, "with 256 for $: A: expected an IPv4 address"),
        ("$GENERATE 1-3 a$.example.net. A 192.0.2.$", 15, "with 1 for $: a1.example.net. is outside the zone"),
        ("$GENERATE 1-3 a..$ A 192.0.2.$", 15, "with 1 for $: `a..1` is not a domain name"),
        ("$GENERATE 1-1 @ SOA \"a b 1 2 3 4 5\"", 17, "no SOA"),
        ("$GENERATE 1-1 a TXT \"( $\"", 21, "parenthesis is never closed"),
        ("$GENERATE 1-2 a CNAME b$", 17, "a second CNAME record"),
        ("$GENERATE 2147483647-2147483647 a${1} TXT x", 33, "is above 2147483647"),
    ] {
        let found = errors(&with_files(&format!("{HEAD}{line}\n"), &[]));
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert_eq!((found[0].1, found[0].2), (5, column), "{line}: {found:?}");
        assert!(found[0].3.contains(part), "{line}: {found:?}");
    }
    let many = "$GENERATE 0-65535 x$ TXT y\n".repeat(16);
    let found = errors(&with_files(&format!("{HEAD}{many}"), &[]));
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].1, found[0].2), (20, 11), "{found:?}");
}

#[test]
fn records_are_found_again_in_every_file_that_could_be_read() {
    let text = format!("{HEAD}$INCLUDE hosts\n$INCLUDE gone\na A x\n$INCLUDE hosts sub\nb A 192.0.2.2\n");
    let parsed = with_files(&text, &[("hosts", "\nx A 192.0.2.3\n$INCLUDE more\n"), ("more", "  TXT z\n")]);
    assert_eq!(errors(&parsed).len(), 2);
    let placed = |placed: &Placed| (placed.record.owner.to_string(), placed.file, placed.line);
    let expected = [
        ("example.org.", 0, 2),
        ("example.org.", 0, 3),
        ("ns1.example.org.", 0, 4),
        ("x.example.org.", 1, 2),
        ("x.example.org.", 2, 1),
        ("x.sub.example.org.", 3, 2),
        ("x.sub.example.org.", 4, 1),
        ("b.example.org.", 0, 9),
    ];
    let expected = expected.map(|(owner, file, line)| (owner.to_owned(), file, line));
    assert_eq!(parsed.records.iter().map(placed).collect::<Vec<_>>(), expected);
}

/// Lines of zone text, and the owners that they give: all that an owner may depend on.
fn owners() -> impl Strategy<Value = (String, Vec<String>)> {
    let label = proptest::sample::select(vec!["a", "A", "b", "a.b", "@", "\\097", "a.example.org.", "*", ""]);
    let line = (label, 0..8u8, any::<bool>());
    proptest::collection::vec(line, 0..40).prop_map(|lines| {
        let (mut text, mut owners) = (HEAD.to_owned(), Vec::new());
        let (mut origin, mut last) = ("example.org.".to_owned(), "ns1.example.org.".to_owned());
        for (number, (label, kind, parentheses)) in lines.into_iter().enumerate() {
            let written = label.replace("\\097", "a").to_ascii_lowercase();
            let name = match written.as_str() {
                "" => last.clone(),
                "@" => origin.clone(),
                absolute if absolute.ends_with('.') => absolute.to_owned(),
                relative => format!("{relative}.{origin}"),
            };
            if kind == 0 && !label.is_empty() {
                text += &format!("$ORIGIN {label}\n");
                // Forty times `a.b` stay below 255 octets.
                origin = name;
            } else {
                let (open, close) = if parentheses { ("(", "\n)") } else { ("", "") };
                text += &format!("{label} {open} 60 TXT n{number} {close}\n");
                last = name.clone();
                owners.push(name);
            }
        }
        (text, owners)
    })
}

/// Records of which some exclude others.
fn exclusive() -> impl Strategy<Value = String> {
    let owner = proptest::sample::select(vec!["@", "a", "A", "b", "*", "*.c"]);
    let data = proptest::sample::select(vec![
        "CNAME a",
        "CNAME A",
        "CNAME b",
        "DNAME a",
        "DNAME b",
        "A 192.0.2.1",
        "NS ns1",
        "NSEC a A",
        "TXT x",
        "CNAME c",
        "SOA ns1 hostmaster 1 7200 3600 1209600 900",
        "SOA ns1 hostmaster 2 7200 3600 1209600 900",
    ]);
    let line = (owner, data).prop_map(|(owner, data)| format!("{owner} {data}\n"));
    proptest::collection::vec(line, 0..6).prop_map(|lines| format!("{HEAD}{}", lines.concat()))
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "@",
            " ",
            "\t",
            "\n",
            "(",
            ")",
            "\"",
            ";",
            "\\",
            "$TTL",
            "$ORIGIN",
            "$INCLUDE a",
            "$GENERATE 1-3",
            "x${1,3,n}",
            "IN",
            "CH",
            "300",
            "1h",
            "A",
            "MX",
            "TXT",
            "SOA",
            "SVCB",
            "LOC",
            "APL",
            "NSEC",
            "\\#",
            "ns1",
            "192.0.2.1",
            "::1",
            "alpn=",
            "\r",
            "\u{feff}",
            "é",
            "TYPE1",
            ".",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,6}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_pieces_make_reading_panic(pieces in proptest::collection::vec(piece(), 0..60)) {
        let text = format!("{HEAD}{}", pieces.join(" "));
        let parsed = with_files(&text, &[("a", &pieces.concat())]);
        prop_assert_eq!(parsed.contents.is_some(), parsed.diagnostics.is_empty());
        for diagnostic in &parsed.diagnostics {
            prop_assert!(diagnostic.line >= 1 && diagnostic.column >= 1);
            prop_assert!(!diagnostic.to_string().is_empty());
        }
    }

    #[test]
    fn no_octets_make_reading_panic(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&origin(), "f", &octets, &mut NoIncludes);
        let _ = parse(&origin(), "f", &[HEAD.as_bytes(), &octets].concat(), &mut NoIncludes);
    }

    #[test]
    fn a_zone_with_octets_changed_does_not_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut text = include_bytes!("../../tests/golden/zones/every-type.zone").to_vec();
        for (index, octet) in changes {
            let at = index.index(text.len());
            text[at] = octet;
        }
        let parsed = parse(&origin(), "f", &text, &mut NoIncludes);
        prop_assert_eq!(parsed.contents.is_some(), parsed.diagnostics.is_empty());
        if let Some(contents) = parsed.contents {
            let printed = print(&contents);
            let again = parse(&origin(), "f", printed.as_bytes(), &mut NoIncludes);
            prop_assert_eq!(again.contents, Some(contents));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn an_owner_is_what_its_line_and_those_before_say((text, owners) in owners()) {
        let parsed = with_files(&text, &[]);
        prop_assert_eq!(&parsed.diagnostics, &[]);
        let read = parsed.records[3..].iter().map(|placed| placed.record.owner.to_string().to_ascii_lowercase());
        prop_assert_eq!(read.collect::<Vec<_>>(), owners);
        let mut contents = Contents::new(origin());
        for placed in parsed.records.iter() {
            contents.insert(placed.record.clone());
        }
        prop_assert_eq!(parsed.contents, Some(contents));
    }

    #[test]
    fn no_conflict_is_overlooked(text in exclusive()) {
        let parsed = with_files(&text, &[]);
        let soa_below = parsed.diagnostics.iter().any(|one| one.message.contains("only the apex"));
        let conflicts = check::conflicts(&origin(), &parsed.records);
        prop_assert_eq!(parsed.diagnostics.is_empty(), conflicts.is_empty() && !soa_below);
    }
}
