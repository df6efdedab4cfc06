//! What is promised of rereading: the old contents with the change are what the whole new text says, or there is no answer;
//! and there is one for what people do to zone files. Marks stand closer together here than they do in service.

use proptest::prelude::*;

use super::*;
use crate::zone::contents::Contents;
use crate::zone::file::{NoIncludes, parse, read_through};
use crate::zone::tree::Inserted;

const HEAD: &str = "$TTL 300\n@ SOA ns1 hostmaster 1 7200 3600 1209600 900\n@ NS ns1\n@ NS ns2\nns1 A 192.0.2.1\n";

fn origin() -> Name {
    "example.org.".parse().expect("a name")
}

/// Contents and marks; none where there is an error. What is read piece by piece is the same.
fn read(text: &[u8]) -> Option<(Contents, Option<Marks>)> {
    let parsed = parse(&origin(), "zone", text, &mut NoIncludes);
    let through = read_through(&origin(), text, &mut NoIncludes);
    if let Some((contents, marks)) = &through {
        assert_eq!(Some(contents), parsed.contents.as_ref());
        assert_eq!(marks.as_ref().map(octets_of), parsed.marks.as_ref().map(octets_of));
    }
    Some((parsed.contents?, parsed.marks))
}

fn octets_of(marks: &Marks) -> Vec<u8> {
    let mut octets = Vec::new();
    marks.write(&mut octets);
    octets
}

/// The contents with the change; none where a record is not new.
fn change(contents: &Contents, change: &Reread) -> Option<Contents> {
    let mut contents = contents.clone();
    for record in &change.removed {
        let mut rrset = contents.rrset(&record.owner, record.rtype).expect("the RRset is there");
        assert_eq!(rrset.ttl, record.ttl);
        let place = rrset.rdatas.iter().position(|rdata| *rdata == record.rdata).expect("the record is there");
        rrset.rdatas.remove(place);
        contents.replace(&record.owner, rrset);
    }
    let mut new = |record: &Record| contents.insert(record.clone()) == Inserted::New;
    change.added.iter().all(&mut new).then_some(contents)
}

/// Checks the answer, if there is one, against the whole new text; the marks for the next change.
fn check(contents: &Contents, marks: &Marks, old: &[u8], new: &[u8]) -> Option<Marks> {
    let found = reread(marks.clone(), old, new)?;
    let changed = change(contents, &found)?;
    let show = || (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
    let (whole, whole_marks) = read(new).unwrap_or_else(|| panic!("this has an error: {:#?}", show()));
    assert_eq!(changed, whole, "{:#?}", show());
    assert!(whole_marks.is_some());
    let offsets = found.marks.marks.iter().map(|mark| mark.offset).collect::<Vec<_>>();
    assert!(offsets.is_sorted_by(|left, right| left < right) && offsets.first() <= Some(&BOM.len()), "{offsets:?}");
    Some(found.marks)
}

/// A zone of some thousand octets in which every record counts once.
fn plain() -> String {
    let host = |n: u32| {
        format!(
            "h{n} A 10.0.0.{n}\n\tAAAA 2001:db8::{n} ; a comment\n  MX 10 ( mail\n  )\nalias{n} 60 CNAME h{n}\n_443._tcp.h{n} IN TXT \"a \\\" b;\" c\n"
        )
    };
    format!("{HEAD}{}; the end\n", (1..60).map(host).collect::<String>())
}

#[test]
fn what_people_do_to_zone_files_needs_no_whole_reading() {
    let old = plain();
    let (contents, marks) = read(old.as_bytes()).expect("a good zone");
    let marks = marks.expect("marks");
    for (from, to, removed, added) in [
        ("hostmaster 1 ", "hostmaster 2 ", 1, 1),
        ("h30 A 10.0.0.30", "h30 A 10.0.1.30", 1, 1),
        ("alias30 60 CNAME h30\n", "alias30 60 CNAME h30\nnew A 10.0.2.1\n", 0, 1),
        ("h30 A 10.0.0.30\n", "h30 A 10.0.0.30\nnew A 10.0.2.1\n", 2, 3),
        ("h30 A 10.0.0.30\n", "new 60 A 10.0.2.1\nh30 A 10.0.0.30\n", 0, 1),
        ("h30 A 10.0.0.30\n", "h30 A 10.0.0.30\n A 10.0.2.1\n", 0, 1),
        ("\tAAAA 2001:db8::30 ; a comment\n", "", 1, 0),
        ("alias30 60 CNAME h30", "alias30 60 CNAME h31", 1, 1),
        ("alias30 60 CNAME h30\n", "alias30 60 CNAME h30\nother.alias30 CNAME h1\n", 0, 1),
        ("alias30 60 CNAME h30\n", "", 1, 0),
        ("h30 A 10.0.0.30\n", "renamed A 10.0.0.30\n", 3, 3),
        ("h30 A 10.0.0.30\n", "H30 A 10.0.0.30\n", 3, 3),
        ("; the end\n", "last A 10.0.2.1", 0, 1),
        ("; a comment\nalias", "; another\nalias", 0, 0),
        ("2001:db8::30 ; a comment", "2001:db8::30 ; another comment, with ( and \"", 0, 0),
        ("h30 A 10.0.0.30\n", "; h30 A 10.0.0.30\n", 3, 2),
        ("h30 A 10.0.0.30\n", "\n\n; more\n\nh30 ( A\n\n10.0.0.30 )\n", 0, 0),
        ("$TTL 300\n", "$TTL 300\n\n", 0, 0),
        ("@ NS ns1\n", "@ NS ns3\n", 1, 1),
        ("h30 A 10.0.0.30\n", "$ORIGIN sub\nx A 10.0.2.1\n$ORIGIN example.org.\nh30 A 10.0.0.30\n", 0, 1),
        ("_443._tcp.h30 IN TXT \"a \\\" b;\" c\n", "_443._tcp.h30 IN TXT \"a \\\" b;\" d\n", 1, 1),
        ("alias30", "alias30", 0, 0),
    ] {
        // A line put in or left out changes whose the lines without an owner below it are.
        let new = old.replacen(from, to, 1);
        let found = reread(marks.clone(), old.as_bytes(), new.as_bytes())
            .unwrap_or_else(|| panic!("{from} -> {to}: read whole"));
        let lengths = (found.removed.len(), found.added.len());
        assert_eq!(lengths, (removed, added), "{from} -> {to}: {found:?}");
        assert!(check(&contents, &marks, old.as_bytes(), new.as_bytes()).is_some(), "{from} -> {to}");
    }
}

#[test]
fn a_large_text_is_read_in_pieces() {
    let text = plain();
    assert!(text.len() > 2 << 11, "several pieces");
    for (text, is_read) in [
        (text.clone(), true),
        (format!("\u{feff}{text}"), true),
        (text.replace('\n', "\r\n"), true),
        (text.trim_end().to_owned(), true),
        (format!("{text}{}", ";\n".repeat(2000)), false),
        (format!("{text}x TXT ({})\n", " a".repeat(2000)), false),
        (format!("{text}x A 10.0.0.x\n"), false),
        (format!("{text}x CNAME h1\nx A 10.0.0.1\n"), false),
        (text[HEAD.len()..].to_owned(), false),
    ] {
        assert_eq!(read_through(&origin(), text.as_bytes(), &mut NoIncludes).is_some(), is_read, "{text}");
        read(text.as_bytes());
    }
}

#[test]
fn marks_outlive_the_process() {
    let (_, marks) = read(plain().as_bytes()).expect("a good zone");
    let octets = octets_of(&marks.expect("marks"));
    let again = Marks::read(&origin(), &mut &octets[..]).expect("marks");
    assert_eq!(octets_of(&again), octets);
    for length in 0..octets.len() {
        assert!(Marks::read(&origin(), &mut &octets[..length]).is_none(), "{length}");
    }
}

#[test]
fn what_is_in_doubt_is_read_whole() {
    let old = plain();
    let (_, marks) = read(old.as_bytes()).expect("a good zone");
    let marks = marks.expect("marks");
    for (from, to) in [
        ("h30 A 10.0.0.30", "h30 A 10.0.0.3x"),
        ("h30 A 10.0.0.30", "h30 A 10.0.0.30 ("),
        ("h30 A 10.0.0.30\n", "h30 A 10.0.0.30\n$INCLUDE other\n"),
        ("h30 A 10.0.0.30\n", "h30 A 10.0.0.30\n$GENERATE 1-3 g$ A 10.0.3.$\n"),
        ("h30 A 10.0.0.30\n", "h30 A 10.0.0.30\nh7 CNAME h1\n"),
        ("h30 A 10.0.0.30\n", "h30 A 10.0.0.30\nx CNAME h1\nx CNAME h2\n"),
        ("h30 A 10.0.0.30\n", "h30 A 10.0.0.30\nx CNAME h1\nX A 10.0.2.1\n"),
        ("h30 A 10.0.0.30\n", "h30 A 10.0.0.30\nalias7 A 10.0.2.1\n"),
        ("alias30 60 CNAME h30\n", "alias30 60 CNAME h31\nalias30 60 CNAME h32\n"),
        ("h30 A 10.0.0.30\n", "h30 A 10.0.0.30\n*.w NS ns1\n"),
        ("h30 A 10.0.0.30\n", "h30 A 10.0.0.30\nd DNAME h1\n"),
        ("@ SOA ns1 hostmaster 1 7200 3600 1209600 900\n", ""),
        ("h30 A 10.0.0.30\n", "h30 A 10.0.0.30\n@ SOA ns1 hostmaster 2 7200 3600 1209600 900\n"),
        ("@ NS ns1\n@ NS ns2\n", ""),
        ("$TTL", "\u{feff}$TTL"),
        ("$TTL", "\u{fffe}$TTL"),
        ("h30 A 10.0.0.30\n", "h30 A 10.0.0.30\na.example.net. A 10.0.2.1\n"),
    ] {
        let new = old.replacen(from, to, 1);
        assert!(reread(marks.clone(), old.as_bytes(), new.as_bytes()).is_none(), "{from} -> {to}");
    }
    let mut utf16 = b"\xff\xfe".to_vec();
    utf16.extend_from_slice(old.as_bytes());
    assert!(reread(marks.clone(), old.as_bytes(), &utf16).is_none());
    assert!(reread(marks.clone(), &old.as_bytes()[1..], old.as_bytes()).is_none(), "not the text of the marks");
}

#[test]
fn files_that_include_others_or_have_errors_have_no_marks() {
    let with = |more: &str| parse(&origin(), "zone", format!("{HEAD}{more}").as_bytes(), &mut Empty).marks.is_some();
    assert!(with(""));
    assert!(with("$GENERATE 1-3 g$ A 10.0.3.$\n"));
    assert!(!with("$INCLUDE other\n"));
    assert!(!with("a A x\n"));
    assert!(!with("ns1 CNAME a\n"));
}

struct Empty;

impl super::super::file::Includes for Empty {
    fn read(&mut self, _: &str) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }
}

#[test]
fn an_rrset_whose_records_do_not_count_once_each_is_left_to_a_whole_reading() {
    let old = format!(
        "{}d 60 A 10.0.2.1\nd A 10.0.2.2\ne A 10.0.2.1\ne A 10.0.2.1\nf A 10.0.2.1\n\
         g A 10.0.2.1\ni A 10.0.2.1\ng A 10.0.2.2\ni AAAA ::1\n",
        plain()
    );
    let (contents, marks) = read(old.as_bytes()).expect("a good zone");
    let marks = marks.expect("marks");
    for (from, to, found) in [
        ("d 60 A 10.0.2.1\n", "", false),
        ("d A 10.0.2.2\n", "d A 10.0.2.3\n", false),
        ("e A 10.0.2.1\n", "", false),
        ("e A 10.0.2.1\n", "e A 10.0.2.1\ne AAAA ::1\n", true),
        ("f A 10.0.2.1\n", "f A 10.0.2.2\n", true),
        // At several places stand RRsets, or owners only.
        ("g A 10.0.2.1\n", "g A 10.0.2.3\n", false),
        ("i A 10.0.2.1\n", "i A 10.0.2.3\n", true),
    ] {
        let new = old.replacen(from, to, 1);
        assert_eq!(reread(marks.clone(), old.as_bytes(), new.as_bytes()).is_some(), found, "{from} -> {to}");
        check(&contents, &marks, old.as_bytes(), new.as_bytes());
    }
    // Only the contents can tell that a record is there already, or has another TTL.
    for line in ["h30 A 10.0.0.30\n", "h7 60 A 10.0.2.1\n"] {
        let new = format!("{old}{line}");
        let found = reread(marks.clone(), old.as_bytes(), new.as_bytes()).expect("a change");
        assert!(change(&contents, &found).is_none());
    }
}

#[test]
fn a_window_without_an_end_is_given_up() {
    let lines =
        |label: char| (0..200_000).map(|n| format!("{label}{n} TXT \"some text to fill it\"\n")).collect::<String>();
    let old = format!("{HEAD}{}", lines('a'));
    let new = format!("{HEAD}{}", lines('b'));
    let (_, marks) = read(old.as_bytes()).expect("a good zone");
    assert!(reread(marks.expect("marks"), old.as_bytes(), new.as_bytes()).is_none());
}

#[test]
fn marks_stay_as_close_as_they_were() {
    let mut text = plain();
    let (mut contents, marks) = read(text.as_bytes()).expect("a good zone");
    let mut marks = marks.expect("marks");
    let count = marks.marks.len();
    for round in 0..60 {
        let next = text.replacen(&format!("10.0.{}.30", round % 7), &format!("10.0.{}.30", (round + 1) % 7), 1);
        let next = next.replacen("; a comment\n", ";\n", 1);
        marks = check(&contents, &marks, text.as_bytes(), next.as_bytes()).expect("a change");
        contents = read(next.as_bytes()).expect("a good zone").0;
        text = next;
    }
    assert!(marks.marks.windows(2).all(|pair| pair[1].offset - pair[0].offset < 3 * SPACING));
    assert!(marks.marks.len() <= count);
}

/// A mark may stand at the very end of a file: it is of that file, however its last lines came to be read.
#[test]
fn what_is_appended_stands_where_the_last_change_has_left_the_reader() {
    let mut met = 0;
    for length in 1..250 {
        let old = format!("{HEAD}$ORIGIN sub\na TXT \"{}\"\n", "x".repeat(length));
        let next = old.replacen("$ORIGIN sub\n", "", 1);
        let (contents, marks) = read(old.as_bytes()).expect("a good zone");
        let marks = marks.expect("marks");
        met += usize::from(marks.marks.last().is_some_and(|last| last.offset == old.len()));
        let Some(marks) = check(&contents, &marks, old.as_bytes(), next.as_bytes()) else { continue };
        let (contents, _) = read(next.as_bytes()).expect("a good zone");
        check(&contents, &marks, next.as_bytes(), format!("{next}c A 192.0.2.2\n").as_bytes()).expect("a change");
    }
    assert!(met > 0, "no file ends at a mark");
}

fn line() -> impl Strategy<Value = String> {
    let owner = || proptest::sample::select(vec!["a", "b", "B", "c.d", "*", " ", "\t", "@", "e", "f", "g", "ns1"]);
    let ttl = proptest::sample::select(vec!["", "", "", "60 ", "IN ", "1h IN "]);
    let data = prop_oneof![
        8 => (0..9u8, 0..9u8).prop_map(|(c, d)| format!("A 10.0.{c}.{d}")),
        4 => (0..99u8).prop_map(|n| format!("TXT \"t{n} ; ( \\\" \" x")),
        4 => (0..9u8).prop_map(|n| format!("MX {n} ( m ; )\n  )")),
        1 => Just("CNAME a".to_owned()),
        1 => Just("NS ns9".to_owned()),
        1 => Just("SOA ns1 hostmaster 2 7200 3600 1209600 900".to_owned()),
    ];
    prop_oneof![
        30 => (owner(), ttl, data).prop_map(|(owner, ttl, data)| format!("{owner} {ttl}{data}\n")),
        // Owners that nothing else has: the more of them, the more is found.
        30 => (0..5000u16, 0..250u8).prop_map(|(n, d)| format!("u{n} A 10.1.{}.{d}\n", n % 250)),
        2 => Just("; ( \" comment\n\n".to_owned()),
        1 => Just("$ORIGIN sub\n".to_owned()),
        1 => Just("$ORIGIN example.org.\n".to_owned()),
        1 => Just("$TTL 600\n".to_owned()),
        1 => Just("$TTL 300\n".to_owned()),
        1 => Just("$GENERATE 1-2 g$ A 10.9.0.$\n".to_owned()),
    ]
}

/// One edit: which line, which octet of it, and what becomes of it.
#[derive(Clone, Debug)]
enum Edit {
    Insert(prop::sample::Index, String),
    Delete(prop::sample::Index),
    Replace(prop::sample::Index, String),
    Move(prop::sample::Index, prop::sample::Index),
    Octet(prop::sample::Index, prop::sample::Index, Option<u8>),
}

fn edit() -> impl Strategy<Value = Edit> {
    let index = any::<prop::sample::Index>;
    let octet = proptest::option::of(proptest::sample::select(b"()\"; \n\\a1$@\r".to_vec()));
    prop_oneof![
        4 => (index(), line()).prop_map(|(at, line)| Edit::Insert(at, line)),
        3 => index().prop_map(Edit::Delete),
        4 => (index(), line()).prop_map(|(at, line)| Edit::Replace(at, line)),
        1 => (index(), index()).prop_map(|(from, to)| Edit::Move(from, to)),
        2 => (index(), index(), octet).prop_map(|(at, column, octet)| Edit::Octet(at, column, octet)),
    ]
}

fn apply(lines: &mut Vec<String>, edit: Edit) {
    match edit {
        Edit::Insert(at, line) => lines.insert(at.index(lines.len() + 1), line),
        Edit::Delete(at) => drop(lines.remove(at.index(lines.len()))),
        Edit::Replace(at, line) => {
            let at = at.index(lines.len());
            lines[at] = line;
        }
        Edit::Move(from, to) => {
            let line = lines.remove(from.index(lines.len()));
            lines.insert(to.index(lines.len() + 1), line);
        }
        Edit::Octet(at, column, octet) => {
            let at = at.index(lines.len());
            let column = column.index(lines[at].len().max(1));
            if !lines[at].is_empty() {
                lines[at]
                    .replace_range(column..column + 1, &octet.map_or(String::new(), |octet| char::from(octet).into()));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_change_makes_of_the_old_zone_what_the_new_text_says(
        more in proptest::collection::vec(line(), 5..80),
        edits in proptest::collection::vec(proptest::collection::vec(edit(), 1..3), 1..12),
    ) {
        let mut lines: Vec<String> = HEAD.split_inclusive('\n').map(str::to_owned).collect();
        // Lines that are wrong where they stand are left out: they would be all that is seen.
        for line in more {
            lines.push(line);
            if read(lines.concat().as_bytes()).is_none() {
                lines.pop();
            }
        }
        let mut text = lines.concat();
        let (mut contents, marks) = read(text.as_bytes()).expect("a good zone");
        let mut marks = marks.expect("marks");
        for step in edits {
            let mut next_lines = lines.clone();
            step.into_iter().for_each(|edit| if !next_lines.is_empty() { apply(&mut next_lines, edit) });
            let next = next_lines.concat();
            let found = check(&contents, &marks, text.as_bytes(), next.as_bytes());
            // An edit that breaks the file is taken back, as far as the next ones go.
            if let Some((whole, fresh)) = read(next.as_bytes()) {
                (contents, marks) = (whole, found.or(fresh).expect("marks"));
                (text, lines) = (next, next_lines);
            }
        }
    }
}
