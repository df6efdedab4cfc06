//! Zone text: what we read and print is what BIND and ldns read and print.

use danelaw::dns::Name;
use danelaw::zone::print::print;
use danelaw::zone::{Contents, NoIncludes, parse};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestRng, TestRunner};

use super::generate::zone;
use super::tools::{ORIGIN, bind, ldns, lines};

/// Generated files in a run, of some forty records each.
const FILES: u32 = 60;

fn ours(file: &str, text: &[u8]) -> Contents {
    let origin: Name = ORIGIN.parse().expect("a name");
    let parsed = parse(&origin, file, text, &mut NoIncludes);
    let shown: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
    parsed.contents.unwrap_or_else(|| panic!("{file}: {}\n{}", shown.join("\n"), String::from_utf8_lossy(text)))
}

fn agree(file: &str, text: &[u8]) {
    let zone = ours(file, text);
    let printed = print(&zone);
    let theirs = bind(text).unwrap_or_else(|error| panic!("{file}: BIND: {error}\n{}", String::from_utf8_lossy(text)));
    differ(file, &theirs, &lines(&printed));
    let again =
        bind(printed.as_bytes()).unwrap_or_else(|error| panic!("{file}: BIND on our output: {error}\n{printed}"));
    differ(file, &again, &lines(&printed));
    let theirs =
        ldns(printed.as_bytes()).unwrap_or_else(|error| panic!("{file}: ldns on our output: {error}\n{printed}"));
    // ldns prints hexadecimal in lower case, APL's addresses in full, SvcParams without quotation marks: what counts
    // is that the octets are the same.
    differ(file, &lines(&print(&ours("ldns", theirs.as_bytes()))), &lines(&printed));
}

#[track_caller]
fn differ(file: &str, theirs: &[String], ours: &[String]) {
    for (left, right) in theirs.iter().zip(ours) {
        assert_eq!(left, right, "{file}: theirs is on the left, ours on the right");
    }
    assert_eq!(theirs.len(), ours.len(), "{file}: theirs is on the left, ours on the right");
}

#[test]
fn golden_zones_are_read_and_printed_as_bind_and_ldns_do() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/zones");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect(folder) {
        let path = entry.expect("an entry").path();
        agree(&path.display().to_string(), &std::fs::read(&path).expect("a zone"));
        count += 1;
    }
    assert!(count >= 5, "zones are missing from {folder}");
}

/// What ldns reads from the source itself. Of the others it refuses: the class before the TTL (RFC 1035 section 5.1
/// has both orders) and CAA's unquoted value (RFC 8659 section 4.1.1 has both).
#[test]
fn sources_are_read_as_ldns_reads_them() {
    for file in ["crlf.zone", "opendkim.zone", "rspamd.zone"] {
        let path = format!("{}/tests/golden/zones/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read(&path).expect(&path);
        let theirs = ldns(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        differ(file, &lines(&print(&ours("ldns", theirs.as_bytes()))), &lines(&print(&ours(file, &text))));
    }
}

#[test]
fn generated_zones_are_read_and_printed_as_bind_and_ldns_do() {
    let config = Config { failure_persistence: None, ..Config::default() };
    let seed = TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = TestRunner::new_with_rng(config, seed);
    for number in 0..FILES {
        let text =
            zone().new_tree(&mut runner).map(|tree| proptest::strategy::ValueTree::current(&tree)).expect("a zone");
        agree(&format!("generated {number}"), text.as_bytes());
    }
}
